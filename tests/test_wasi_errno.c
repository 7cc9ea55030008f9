/* WASI preview 1: every function succeeds, and gives every errno that docs/wasi.md says it can give, and no other.
 *
 * A row is a call as text: the function, then its parameters: numbers, names from the table below, and 'paths', which are a
 * pointer and a size. Calls before a semicolon make the case and succeed. Each row has a world of its own. */
#include "runtime/host/wasi/wasi.h"

#include "base/buffer.h"
#include "tests/fake_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* --- the tables of the implementation ----------------------------------------------------------------------------- */

enum errno_code {
#define ERRNO(name, code, host) name = code,
#include "runtime/host/wasi/errno.def"
#undef ERRNO
};

static const struct {
  const char *name;
  int code;
} errnos[] = {
#define ERRNO(name, code, host) {#name, code},
#include "runtime/host/wasi/errno.def"
#undef ERRNO
};
enum { N_ERRNOS = sizeof errnos / sizeof *errnos };

static const struct {
  const char *name, *signature, *rights;
} functions[] = {
#define WASI(name, signature, fd, kind, same, calls, rights) {#name, signature, #rights},
#include "runtime/host/wasi/wasi.def"
#undef WASI
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

static bool was_seen[N_FUNCTIONS][256];

/* --- the world ---------------------------------------------------------------------------------------------------- */

/* Guest memory: results from 0, iovecs, subscriptions, strings. */
enum { OUT = 64, ZERO = 512, DATA = 1024, IOV = 2048, IOV_BAD = 2056, POLL = 4096, STRINGS = 16384, OUTSIDE = GUEST_BYTES - 1 };
enum { MAX_FILE = 1 << 20 /* as the process may make them, so that every file system says so */ };

static const struct {
  const char *name;
  uint64_t value;
} names[] = {
    {"in", 0},
    {"output", 1},
    {"rw", 3},
    {"ro", 4},
    {"file", 5},
    {"sub", 6},
    {"poor", 7},
    {"peer", 8},
    {"new", 9}, /* the next that is opened */
    {"closed", 77},
    {"out", OUT},
    {"data", DATA},
    {"zero", ZERO},
    {"iov", IOV},
    {"iov_bad", IOV_BAD},
    {"poll", POLL},
    {"bad", OUTSIDE},
    {"all", UINT64_MAX},
    {"list", UINT64_MAX - (1 << 6)}, /* what a directory can have */
    {"minus", UINT64_MAX},
    {"max64", INT64_MAX},
    {"far", MAX_FILE},
    {"write", 1 << 6},
    {"read", 1 << 1},
};

static struct wasi *wasi;
static char directory[64];
static int stream[2]; /* standard input, and its other end */

static void make(const char *format, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", directory, format);
  int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) fail_msg("%s: %s", path, strerror(errno));
  close(fd);
}

static void make_world(void) {
  snprintf(directory, sizeof directory, "/tmp/gasworks-errno-XXXXXX");
  char command[1024];
  if (!mkdtemp(directory)) abort();
  snprintf(command, sizeof command,
           "cd %s && mkdir -p rw/sub/full ro/sub && mkfifo rw/pipe && ln -s file rw/link && ln -s loop rw/loop && "
           "ln -s ../outside rw/up && ln -s missing rw/dangling && ln -s sub rw/sublink && mkdir rw/empty",
           directory);
  if (system(command)) abort();
  make("outside", "secret");
  make("rw/file", "0123456789");
  make("rw/sub/full/file", "x");
  make("ro/file", "read only");
}

static uint64_t number_of(const char *word, size_t size) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strlen(names[i].name) == size && memcmp(names[i].name, word, size) == 0) return names[i].value;
  if (!isdigit((unsigned char)*word)) fail_msg("no name %.*s", (int)size, word);
  return strtoull(word, NULL, 0);
}

static size_t function_of(const char *word, size_t size) {
  for (size_t i = 0; i < N_FUNCTIONS; i++)
    if (strlen(functions[i].name) == size && memcmp(functions[i].name, word, size) == 0) return i;
  fail_msg("no function %.*s", (int)size, word);
  return 0;
}

/* One call of the text, up to ';' or its end; returns the errno. */
static uint32_t run_call(const char **text, size_t *function, enum gw_trap *trap) {
  union gw_value values[12] = {0};
  size_t n = 0, strings = STRINGS;
  const char *p = *text + strspn(*text, " ");
  size_t size = strcspn(p, " ;");
  *function = function_of(p, size);
  for (p += size; *p && *p != ';'; p += size) {
    p += strspn(p, " ");
    size = strcspn(p, " ;");
    if (*p == '\'') {
      const char *end = strchr(p + 1, '\'');
      size = (size_t)(end + 1 - p);
      values[n++].u64 = strings;
      values[n++].u64 = size - 2;
      memcpy(guest.memory + strings, p + 1, size - 2);
      strings += size;
    } else if (size) {
      values[n++].u64 = number_of(p, size);
    }
  }
  *text = *p ? p + 1 : p;
  size_t expected = strlen(strchr(functions[*function].signature, '_') + 1);
  if (n != expected) fail_msg("%s takes %zu parameters, not %zu", functions[*function].name, expected, n);
  *trap = guest_call(wasi_resolve, wasi, "wasi_snapshot_preview1", functions[*function].name, values);
  return values[0].u32;
}

static void must(const char *text) {
  size_t function;
  enum gw_trap trap;
  const char *at = text;
  uint32_t code = run_call(&at, &function, &trap);
  if (code) fail_msg("%s: errno %u", text, code);
}

static void put_memory(void) {
  guest_put(DATA, "some data");
  guest_put_u32(IOV, DATA);
  guest_put_u32(IOV + 4, 9);
  guest_put_u32(IOV_BAD, OUTSIDE);
  guest_put_u32(IOV_BAD + 4, 9);
  guest_put_u32(POLL + 16, 1); /* a monotonic clock that has rung */
}

/* Standard input is one end of a connection, or a socket that listens and has a connection waiting. */
static void open_stream(bool listens) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", directory);
  if (!listens) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
    return;
  }
  for (int i = 0; i < 2; i++) stream[i] = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(bind(stream[0], (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(stream[0], 4), 0);
  assert_int_equal(connect(stream[1], (struct sockaddr *)&address, sizeof address), 0);
}

static void open_world(bool listens) {
  struct gw_error err = {0};
  char rw[80], ro[80];
  guest_init();
  snprintf(rw, sizeof rw, "%s/rw", directory);
  snprintf(ro, sizeof ro, "%s/ro", directory);
  static const char *const args[] = {"program", NULL}, *const env[] = {"A=1", NULL};
  struct wasi_preopen preopens[] = {{.guest_path = "/rw", .host_path = rw},
                                    {.guest_path = "/ro", .host_path = ro, .is_readonly = true}};
  open_stream(listens);
  struct wasi_options options = {.args = args, .env = env, .preopens = preopens, .n_preopens = 2, .output_limit = 16};
  options.stdin_fd = stream[0];
  options.stdout_fd = options.stderr_fd = -1;
  wasi = wasi_create(&options, &err);
  if (!wasi) fail_msg("%s", err.message);
  put_memory();
  must("path_open rw 1 'file' 0 all all 0 out"); /* file */
  must("path_open rw 1 'sub' 2 list all 0 out"); /* sub */
  must("path_open rw 1 'file' 0 0 0 0 out");     /* poor */
  must("path_open rw 1 'sub' 2 0 0 0 out");      /* peer: a directory without rights */
}

static void close_world(void) {
  wasi_destroy(wasi);
  guest_clear();
  close(stream[0]);
  close(stream[1]);
}

static void remove_world(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", directory);
  if (system(command)) abort();
}

/* --- the rows ----------------------------------------------------------------------------------------------------- */

struct row {
  const char *text;
  int code;
};

static const struct row rows[] = {
    {"args_get out data", SUCCESS},
    {"args_get bad data", FAULT},
    {"args_sizes_get out data", SUCCESS},
    {"args_sizes_get out bad", FAULT},
    {"environ_get out data", SUCCESS},
    {"environ_get out bad", FAULT},
    {"environ_sizes_get out data", SUCCESS},
    {"environ_sizes_get bad out", FAULT},
    {"clock_res_get 0 out", SUCCESS},
    {"clock_res_get 4 out", INVAL},
    {"clock_res_get 0 bad", FAULT},
    {"clock_time_get 1 0 out", SUCCESS},
    {"clock_time_get 4 0 out", INVAL},
    {"clock_time_get 1 0 bad", FAULT},
    {"random_get out 16", SUCCESS},
    {"random_get bad 16", FAULT},
    {"random_get bad 0", SUCCESS},
    {"proc_raise 0", SUCCESS},
    {"proc_raise 16", SUCCESS},
    {"proc_raise 31", INVAL},
    {"proc_raise 18", NOTSUP},
    {"sched_yield", SUCCESS},
    {"poll_oneoff poll data 1 out", SUCCESS},
    {"poll_oneoff poll data 0 out", INVAL},
    {"poll_oneoff poll data 1025 out", INVAL},
    {"poll_oneoff bad data 1 out", FAULT},
    {"poll_oneoff poll bad 1 out", FAULT},
    {"poll_oneoff poll data 1 bad", FAULT},

    {"fd_advise file 0 10 3", SUCCESS},
    {"fd_advise file 0 10 6", INVAL},
    {"fd_advise file all 10 0", INVAL},
    {"fd_advise file max64 10 0", INVAL},
    {"fd_advise closed 0 0 0", BADF},
    {"fd_advise rw 0 0 0", NOTCAPABLE},
    {"fd_allocate file 0 100", SUCCESS},
    {"fd_allocate file 0 0", INVAL},
    {"fd_allocate file max64 1", INVAL},
    {"fd_allocate file far 1", FBIG},
    {"fd_allocate closed 0 1", BADF},
    {"fd_allocate rw 0 1", ISDIR},
    {"fd_allocate poor 0 1", NOTCAPABLE},
    {"path_open ro 1 'file' 0 read all 0 out; fd_allocate new 0 1", ROFS},
    {"fd_close file", SUCCESS},
    {"fd_close closed", BADF},
    {"fd_datasync file", SUCCESS},
    {"fd_datasync output", SUCCESS},
    {"fd_datasync in", INVAL},
    {"fd_datasync closed", BADF},
    {"fd_datasync poor", NOTCAPABLE},
    {"fd_fdstat_get file out", SUCCESS},
    {"fd_fdstat_get closed out", BADF},
    {"fd_fdstat_get file bad", FAULT},
    {"fd_fdstat_set_flags file 31", SUCCESS},
    {"fd_fdstat_set_flags file 32", INVAL},
    {"fd_fdstat_set_flags closed 0", BADF},
    {"fd_fdstat_set_flags poor 0", NOTCAPABLE},
    {"fd_fdstat_set_rights file 0 0", SUCCESS},
    {"fd_fdstat_set_rights file all 0", NOTCAPABLE},
    {"fd_fdstat_set_rights file 0 all", NOTCAPABLE},
    {"fd_fdstat_set_rights closed 0 0", BADF},
    {"fd_filestat_get file out", SUCCESS},
    {"fd_filestat_get closed out", BADF},
    {"fd_filestat_get file bad", FAULT},
    {"fd_filestat_get poor out", NOTCAPABLE},
    {"fd_filestat_set_size file 5", SUCCESS},
    {"fd_filestat_set_size file all", INVAL},
    {"fd_filestat_set_size file max64", FBIG},
    {"fd_filestat_set_size closed 0", BADF},
    {"fd_filestat_set_size rw 0", ISDIR},
    {"fd_filestat_set_size poor 0", NOTCAPABLE},
    {"path_open ro 1 'file' 0 read all 0 out; fd_filestat_set_size new 0", ROFS},
    {"fd_filestat_set_times file 1 1 5", SUCCESS},
    {"fd_filestat_set_times rw 0 0 10", SUCCESS},
    {"fd_filestat_set_times file 1 1 3", INVAL},
    {"fd_filestat_set_times file 1 1 16", INVAL},
    {"fd_filestat_set_times closed 1 1 1", BADF},
    {"fd_filestat_set_times poor 1 1 1", NOTCAPABLE},
    {"fd_filestat_set_times ro 1 1 1", ROFS},
    {"fd_pread file iov 1 0 out", SUCCESS},
    {"fd_pread file iov 1 all out", INVAL},
    {"fd_pread file iov 1025 0 out", INVAL},
    {"fd_pread file iov_bad 1 0 out", FAULT},
    {"fd_pread file iov 1 0 bad", FAULT},
    {"fd_pread closed iov 1 0 out", BADF},
    {"fd_pread rw iov 1 0 out", ISDIR},
    {"fd_pread poor iov 1 0 out", NOTCAPABLE},
    {"fd_pread in iov 1 0 out", NOTCAPABLE},
    {"fd_prestat_get rw out", SUCCESS},
    {"fd_prestat_get sub out", BADF},
    {"fd_prestat_get rw bad", FAULT},
    {"fd_prestat_dir_name rw out 3", SUCCESS},
    {"fd_prestat_dir_name sub out 3", BADF},
    {"fd_prestat_dir_name rw bad 3", FAULT},
    {"fd_prestat_dir_name rw out 2", NAMETOOLONG},
    {"fd_pwrite file iov 1 2 out", SUCCESS},
    {"fd_pwrite file iov 1 all out", INVAL},
    {"fd_pwrite file iov 1025 0 out", INVAL},
    {"fd_pwrite file iov 1 far out", FBIG},
    {"fd_pwrite file iov_bad 1 0 out", FAULT},
    {"fd_pwrite closed iov 1 0 out", BADF},
    {"fd_pwrite rw iov 1 0 out", ISDIR},
    {"fd_pwrite poor iov 1 0 out", NOTCAPABLE},
    {"path_open ro 1 'file' 0 read all 0 out; fd_pwrite new iov 1 0 out", NOTCAPABLE},
    {"fd_read file iov 1 out", SUCCESS},
    {"fd_read file iov 1025 out", INVAL},
    {"fd_read file iov_bad 1 out", FAULT},
    {"fd_read closed iov 1 out", BADF},
    {"fd_read rw iov 1 out", ISDIR},
    {"fd_read output iov 1 out", NOTCAPABLE},
    {"fd_fdstat_set_flags in 4; fd_read in iov 1 out", AGAIN},
    {"fd_readdir rw data 1000 0 out", SUCCESS},
    {"fd_readdir rw data 1000 999 out", SUCCESS},
    {"fd_readdir closed data 1000 0 out", BADF},
    {"fd_readdir rw bad 1000 0 out", FAULT},
    {"fd_readdir file data 1000 0 out", NOTDIR},
    {"fd_readdir peer data 1000 0 out", NOTCAPABLE},
    {"fd_renumber file output", SUCCESS},
    {"fd_renumber file file", SUCCESS},
    {"fd_renumber closed file", BADF},
    {"fd_renumber file closed", BADF},
    {"fd_seek file 1 0 out", SUCCESS},
    {"fd_seek file 0 3 out", INVAL},
    {"fd_seek file minus 0 out", INVAL},
    {"fd_seek file 0 0 bad", FAULT},
    {"fd_seek closed 0 0 out", BADF},
    {"fd_seek poor 0 0 out", NOTCAPABLE},
    {"fd_sync file", SUCCESS},
    {"fd_sync rw", SUCCESS},
    {"fd_sync in", INVAL},
    {"fd_sync closed", BADF},
    {"fd_sync poor", NOTCAPABLE},
    {"fd_tell file out", SUCCESS},
    {"fd_tell file bad", FAULT},
    {"fd_tell closed out", BADF},
    {"fd_tell in out", NOTCAPABLE},
    {"fd_write file iov 1 out", SUCCESS},
    {"fd_write file iov 1025 out", INVAL},
    {"fd_write file iov_bad 1 out", FAULT},
    {"fd_write closed iov 1 out", BADF},
    {"fd_write rw iov 1 out", ISDIR},
    {"fd_write poor iov 1 out", NOTCAPABLE},
    {"fd_seek file far 0 out; fd_write file iov 1 out", FBIG},
    {"fd_write output iov 1 out; fd_write output iov 1 out", FBIG},
    {"sock_shutdown in 2; fd_write in iov 1 out", PIPE},

    {"path_create_directory rw 'made'", SUCCESS},
    {"path_create_directory rw 'made/'", SUCCESS},
    {"path_create_directory rw 'sub'", EXIST},
    {"path_create_directory rw '.'", EXIST},
    {"path_create_directory rw 'sub/..'", EXIST},
    {"path_create_directory rw 'dangling/'", EXIST},
    {"path_create_directory closed 'a'", BADF},
    {"path_create_directory rw bad 10", FAULT},
    {"path_create_directory file 'a'", NOTDIR},
    {"path_create_directory rw 'file/a'", NOTDIR},
    {"path_create_directory peer 'a'", NOTCAPABLE},
    {"path_create_directory rw '../a'", NOTCAPABLE},
    {"path_create_directory rw '..'", NOTCAPABLE},
    {"path_create_directory rw '/a'", NOTCAPABLE},
    {"path_create_directory ro 'a'", ROFS},
    {"path_create_directory rw 'missing/a'", NOENT},
    {"path_create_directory rw ''", NOENT},
    {"path_create_directory rw zero 1", ILSEQ},
    {"path_create_directory rw data 5000", NAMETOOLONG},
    {"path_create_directory rw 'loop/a'", LOOP},

    {"path_filestat_get rw 1 'link' out", SUCCESS},
    {"path_filestat_get rw 0 'up' out", SUCCESS},
    {"path_filestat_get rw 1 'pipe' out", SUCCESS},
    {"path_filestat_get closed 1 'file' out", BADF},
    {"path_filestat_get rw 1 'file' bad", FAULT},
    {"path_filestat_get file 1 'file' out", NOTDIR},
    {"path_filestat_get peer 1 'full' out", NOTCAPABLE},
    {"path_filestat_get rw 1 'up' out", NOTCAPABLE},
    {"path_filestat_get rw 1 'sub/../../outside' out", NOTCAPABLE},
    {"path_filestat_get rw 1 'dangling' out", NOENT},
    {"path_filestat_get rw 1 zero 1 out", ILSEQ},
    {"path_filestat_get rw 1 data 5000 out", NAMETOOLONG},
    {"path_filestat_get rw 1 'loop' out", LOOP},

    {"path_filestat_set_times rw 1 'link' 1 1 5", SUCCESS},
    {"path_filestat_set_times rw 0 'up' 1 1 5", SUCCESS},
    {"path_filestat_set_times rw 1 'file' 1 1 12", INVAL},
    {"path_filestat_set_times closed 1 'file' 1 1 5", BADF},
    {"path_filestat_set_times rw 1 bad 10 1 1 5", FAULT},
    {"path_filestat_set_times file 1 'file' 1 1 5", NOTDIR},
    {"path_filestat_set_times peer 1 'full' 1 1 5", NOTCAPABLE},
    {"path_filestat_set_times rw 1 'up' 1 1 5", NOTCAPABLE},
    {"path_filestat_set_times ro 1 'file' 1 1 5", ROFS},
    {"path_filestat_set_times rw 1 'missing' 1 1 5", NOENT},
    {"path_filestat_set_times rw 1 zero 1 1 1 5", ILSEQ},
    {"path_filestat_set_times rw 1 data 5000 1 1 5", NAMETOOLONG},
    {"path_filestat_set_times rw 1 'loop' 1 1 5", LOOP},

    {"path_link rw 0 'file' rw 'other'", SUCCESS},
    {"path_link rw 1 'link' rw 'other'", SUCCESS},
    {"path_link rw 0 'up' rw 'other'", SUCCESS}, /* the link, not what it leads to */
    {"path_link closed 0 'file' rw 'other'", BADF},
    {"path_link rw 0 'file' closed 'other'", BADF},
    {"path_link rw 0 bad 10 rw 'other'", FAULT},
    {"path_link file 0 'file' rw 'other'", NOTDIR},
    {"path_link rw 0 'file' file 'other'", NOTDIR},
    {"path_link rw 0 'file/' rw 'other'", NOTDIR},
    {"path_link rw 0 'up/' rw 'other'", NOTCAPABLE},
    {"path_link rw 1 'up' rw 'other'", NOTCAPABLE},
    {"path_link rw 0 '../outside' rw 'other'", NOTCAPABLE},
    {"path_link rw 0 'file' rw '../other'", NOTCAPABLE},
    {"path_link rw 0 'file' peer 'other'", NOTCAPABLE},
    {"path_link ro 0 'file' rw 'other'", ROFS},
    {"path_link rw 0 'file' ro 'other'", ROFS},
    {"path_link rw 0 'missing' rw 'other'", NOENT},
    {"path_link rw 0 'file' rw 'link'", EXIST},
    {"path_link rw 0 'sub' rw 'other'", PERM},
    {"path_link rw 0 'sub/' rw 'other'", PERM},
    {"path_link rw 0 zero 1 rw 'other'", ILSEQ},
    {"path_link rw 0 data 5000 rw 'other'", NAMETOOLONG},
    {"path_link rw 1 'loop' rw 'other'", LOOP},

    {"path_open rw 1 'link' 0 all all 0 out", SUCCESS},
    {"path_open rw 1 'fresh' 5 all all 31 out", SUCCESS},
    {"path_open rw 1 'dangling' 1 all all 0 out", SUCCESS},
    {"path_open rw 1 'sublink' 2 list all 0 out", SUCCESS},
    {"path_open rw 1 'sub/../file' 8 all all 0 out", SUCCESS},
    {"path_open rw 1 'file' 16 all all 0 out", INVAL},
    {"path_open rw 1 'file' 0 all all 32 out", INVAL},
    {"path_open rw 1 'new' 3 all all 0 out", INVAL},
    {"path_open closed 1 'file' 0 all all 0 out", BADF},
    {"path_open rw 1 'file' 0 all all 0 bad", FAULT},
    {"path_open rw 1 bad 10 0 all all 0 out", FAULT},
    {"path_open file 1 'file' 0 all all 0 out", NOTDIR},
    {"path_open rw 1 'file' 2 all all 0 out", NOTDIR},
    {"path_open rw 1 'file/' 0 read all 0 out", NOTDIR},
    {"path_open peer 1 'full' 0 0 0 0 out", NOTCAPABLE},
    {"path_open rw 1 'up' 0 all all 0 out", NOTCAPABLE},
    {"path_open rw 1 'up' 1 all all 0 out", NOTCAPABLE},
    {"path_open rw 1 '/etc/passwd' 0 read 0 0 out", NOTCAPABLE},
    {"path_open rw 1 '..' 0 read 0 0 out", NOTCAPABLE},
    {"path_open ro 1 'file' 0 write 0 0 out", ROFS},
    {"path_open ro 1 'fresh' 1 read 0 0 out", ROFS},
    {"path_open ro 1 'file' 8 read 0 0 out", ROFS},
    {"path_open rw 1 'missing' 0 all all 0 out", NOENT},
    {"path_open rw 1 '' 0 all all 0 out", NOENT},
    {"path_open rw 1 'file' 5 all all 0 out", EXIST},
    {"path_open rw 0 'dangling' 5 all all 0 out", EXIST},
    {"path_open rw 1 'sub' 0 write all 0 out", ISDIR},
    {"path_open rw 1 'sub' 2 all all 0 out", ISDIR},
    {"path_open rw 1 'pipe' 0 read all 0 out", ACCES},
    {"path_open rw 1 'pipe' 0 write all 0 out", NXIO},
    {"path_open rw 1 zero 1 0 all all 0 out", ILSEQ},
    {"path_open rw 1 data 5000 0 all all 0 out", NAMETOOLONG},
    {"path_open rw 0 'link' 0 all all 0 out", LOOP},
    {"path_open rw 1 'loop' 0 all all 0 out", LOOP},

    {"path_readlink rw 'up' data 100 out", SUCCESS},
    {"path_readlink rw 'up' data 0 out", SUCCESS},
    {"path_readlink rw 'file' data 100 out", INVAL},
    {"path_readlink closed 'up' data 100 out", BADF},
    {"path_readlink rw 'up' bad 100 out", FAULT},
    {"path_readlink file 'up' data 100 out", NOTDIR},
    {"path_readlink peer 'full' data 100 out", NOTCAPABLE},
    {"path_readlink rw 'up/' data 100 out", NOTCAPABLE},
    {"path_readlink rw 'missing' data 100 out", NOENT},
    {"path_readlink rw zero 1 data 100 out", ILSEQ},
    {"path_readlink rw data 5000 data 100 out", NAMETOOLONG},
    {"path_readlink rw 'loop/a' data 100 out", LOOP},

    {"path_remove_directory rw 'empty'", SUCCESS},
    {"path_remove_directory rw 'empty/'", SUCCESS},
    {"path_remove_directory rw 'empty/.'", INVAL},
    {"path_remove_directory closed 'empty'", BADF},
    {"path_remove_directory rw bad 10", FAULT},
    {"path_remove_directory file 'empty'", NOTDIR},
    {"path_remove_directory rw 'sublink'", NOTDIR},
    {"path_remove_directory rw 'sublink/'", NOTDIR},
    {"path_remove_directory peer 'full'", NOTCAPABLE},
    {"path_remove_directory rw '../rw'", NOTCAPABLE},
    {"path_remove_directory ro 'sub'", ROFS},
    {"path_remove_directory rw 'missing'", NOENT},
    {"path_remove_directory rw 'sub'", NOTEMPTY},
    {"path_remove_directory rw 'sub/..'", NOTEMPTY},
    {"path_remove_directory rw zero 1", ILSEQ},
    {"path_remove_directory rw data 5000", NAMETOOLONG},
    {"path_remove_directory rw 'loop/a'", LOOP},

    {"path_rename rw 'file' sub 'file'", SUCCESS},
    {"path_rename rw 'up' rw 'link'", SUCCESS},
    {"path_rename rw 'empty/' rw 'other/'", SUCCESS},
    {"path_rename rw 'sub' rw 'sub/a'", INVAL},
    {"path_rename closed 'file' rw 'a'", BADF},
    {"path_rename rw 'file' closed 'a'", BADF},
    {"path_rename rw bad 10 rw 'a'", FAULT},
    {"path_rename file 'file' rw 'a'", NOTDIR},
    {"path_rename rw 'file' file 'a'", NOTDIR},
    {"path_rename rw 'sub' rw 'file'", NOTDIR},
    {"path_rename rw 'file' rw 'empty'", ISDIR},
    {"path_rename peer 'full' rw 'a'", NOTCAPABLE},
    {"path_rename rw 'file' peer 'a'", NOTCAPABLE},
    {"path_rename rw 'file' rw '../a'", NOTCAPABLE},
    {"path_rename rw '../outside' rw 'a'", NOTCAPABLE},
    {"path_rename ro 'file' rw 'a'", ROFS},
    {"path_rename rw 'file' ro 'a'", ROFS},
    {"path_rename rw 'missing' rw 'a'", NOENT},
    {"path_rename rw 'empty' rw 'sub'", NOTEMPTY},
    {"path_rename rw '.' rw 'a'", BUSY},
    {"path_rename rw zero 1 rw 'a'", ILSEQ},
    {"path_rename rw data 5000 rw 'a'", NAMETOOLONG},
    {"path_rename rw 'loop/a' rw 'a'", LOOP},

    {"path_symlink 'file' rw 'fresh'", SUCCESS},
    {"path_symlink '../outside' rw 'fresh'", SUCCESS},
    {"path_symlink '/etc/passwd' rw 'fresh'", NOTCAPABLE},
    {"path_symlink 'file' rw '../fresh'", NOTCAPABLE},
    {"path_symlink 'file' peer 'fresh'", NOTCAPABLE},
    {"path_symlink 'file' closed 'fresh'", BADF},
    {"path_symlink bad 10 rw 'fresh'", FAULT},
    {"path_symlink 'file' file 'fresh'", NOTDIR},
    {"path_symlink 'file' ro 'fresh'", ROFS},
    {"path_symlink 'file' rw 'fresh/'", NOENT},
    {"path_symlink 'file' rw 'file'", EXIST},
    {"path_symlink zero 1 rw 'fresh'", ILSEQ},
    {"path_symlink 'file' rw data 5000", NAMETOOLONG},
    {"path_symlink 'file' rw 'loop/a'", LOOP},

    {"path_unlink_file rw 'file'", SUCCESS},
    {"path_unlink_file rw 'up'", SUCCESS},
    {"path_unlink_file closed 'file'", BADF},
    {"path_unlink_file rw bad 10", FAULT},
    {"path_unlink_file file 'file'", NOTDIR},
    {"path_unlink_file rw 'file/'", NOTDIR},
    {"path_unlink_file peer 'full'", NOTCAPABLE},
    {"path_unlink_file rw '../outside'", NOTCAPABLE},
    {"path_unlink_file ro 'file'", ROFS},
    {"path_unlink_file rw 'missing'", NOENT},
    {"path_unlink_file rw 'sub'", ISDIR},
    {"path_unlink_file rw zero 1", ILSEQ},
    {"path_unlink_file rw data 5000", NAMETOOLONG},
    {"path_unlink_file rw 'loop/a'", LOOP},

    {"sock_accept in 4 out", INVAL},
    {"sock_accept in 1 out", INVAL},
    {"sock_accept in 0 bad", FAULT},
    {"sock_accept closed 0 out", BADF},
    {"sock_accept file 0 out", NOTSOCK},
    {"fd_fdstat_set_rights in 0 0; sock_accept in 0 out", NOTCAPABLE},
    {"fd_fdstat_set_flags in 4; sock_accept in 0 out", AGAIN},
    {"fd_fdstat_set_flags in 4; sock_recv in iov 1 0 out data", AGAIN},
    {"sock_recv in iov 1 4 out data", INVAL},
    {"sock_recv in iov 1025 0 out data", INVAL},
    {"sock_recv in iov_bad 1 0 out data", FAULT},
    {"sock_recv in iov 1 0 bad data", FAULT},
    {"sock_recv closed iov 1 0 out data", BADF},
    {"sock_recv output iov 1 0 out data", NOTSOCK},
    {"fd_fdstat_set_rights in 0 0; sock_recv in iov 1 0 out data", NOTCAPABLE},
    {"sock_shutdown in 1; sock_recv in iov 1 0 out data", SUCCESS},
    {"sock_send in iov 1 0 out", SUCCESS},
    {"sock_send in iov 1 1 out", INVAL},
    {"sock_send in iov_bad 1 0 out", FAULT},
    {"sock_send closed iov 1 0 out", BADF},
    {"sock_send output iov 1 0 out", NOTSOCK},
    {"fd_fdstat_set_rights in 0 0; sock_send in iov 1 0 out", NOTCAPABLE},
    {"sock_shutdown in 2; sock_send in iov 1 0 out", PIPE},
    {"sock_shutdown in 3", SUCCESS},
    {"sock_shutdown in 0", INVAL},
    {"sock_shutdown in 4", INVAL},
    {"sock_shutdown closed 1", BADF},
    {"sock_shutdown file 1", NOTSOCK},
    {"fd_fdstat_set_rights in 0 0; sock_shutdown in 1", NOTCAPABLE},
};

static const struct row listener_rows[] = {
    {"sock_accept in 0 out", SUCCESS},
    {"sock_accept in 4 out; sock_recv new iov 1 0 out data", AGAIN},
    {"sock_accept in 4 out; fd_read new iov 1 out", AGAIN},
    {"sock_accept in 0 out; sock_send new iov 1 0 out", SUCCESS},
    {"sock_accept in 0 out; fd_write new iov 1 out", SUCCESS},
    {"sock_recv in iov 1 0 out data", INVAL},
    {"sock_send in iov 1 0 out", NOTCONN},
};

static uint32_t run_row(const char *text) {
  uint32_t code = SUCCESS;
  for (const char *at = text; *at;) {
    size_t function;
    enum gw_trap trap;
    if (code) print_error("%s: errno %u before the last call\n", text, code);
    code = run_call(&at, &function, &trap);
    if (trap || code >= 256) fail_msg("%s: trap %d, errno %u", text, trap, code);
    was_seen[function][code] = true;
  }
  return code;
}

/* Returns how many went otherwise. */
static int run_rows(const struct row *at, size_t n, bool listens) {
  int wrong = 0;
  for (; n--; at++) {
    make_world();
    open_world(listens);
    uint32_t code = run_row(at->text);
    if (code != (uint32_t)at->code) print_error("%s: errno %u, not %d\n", at->text, code, at->code);
    wrong += code != (uint32_t)at->code;
    close_world();
    remove_world();
  }
  return wrong;
}

static void test_rows(void **state) {
  (void)state;
  int wrong = run_rows(rows, sizeof rows / sizeof *rows, false);
  wrong += run_rows(listener_rows, sizeof listener_rows / sizeof *listener_rows, true);
  assert_int_equal(wrong, 0);
}

/* --- what needs more than a row ----------------------------------------------------------------------------------- */

static void test_full_table(void **state) {
  (void)state;
  make_world();
  open_world(true);
  int n = 0;
  while (run_row("path_open rw 1 'file' 0 all all 0 out") == SUCCESS) n++;
  assert_int_equal(n, 256 - 9);
  assert_int_equal(run_row("path_open rw 1 'file' 0 all all 0 out"), MFILE);
  assert_int_equal(run_row("sock_accept in 0 out"), MFILE);
  close_world();
  remove_world();
}

static void test_full_stream(void **state) {
  (void)state;
  make_world();
  open_world(false);
  must("fd_fdstat_set_flags in 4");
  uint32_t code = SUCCESS;
  for (int i = 0; i < 100000 && !code; i++) code = run_row(i & 1 ? "fd_write in iov 1 out" : "sock_send in iov 1 0 out");
  assert_int_equal(code, AGAIN);
  assert_int_equal(run_row("fd_write in iov 1 out"), AGAIN);
  assert_int_equal(run_row("sock_send in iov 1 0 out"), AGAIN);
  close_world();
  remove_world();
}

static void test_ends(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint32_t exit_code;
  } ends[] = {{"proc_exit 0", 0}, {"proc_exit 42", 42}, {"proc_raise 6", 134}, {"proc_raise 9", 137}, {"proc_raise 30", 158}};
  make_world();
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    size_t function;
    enum gw_trap trap;
    const char *at = ends[i].text;
    open_world(false);
    run_call(&at, &function, &trap);
    assert_int_equal(trap, GW_TRAP_EXIT);
    assert_int_equal(wasi_exit_code(wasi), ends[i].exit_code);
    close_world();
  }
  remove_world();
}

/* --- against the page --------------------------------------------------------------------------------------------- */

/* The next cell of a table's row; false behind the last. */
static bool next_cell(const char **at, char cell[512]) {
  const char *start = strchr(*at, '|'), *end = start ? strpbrk(start + 1, "|\n") : NULL;
  if (!end || *end == '\n') return false;
  snprintf(cell, 512, "%.*s", (int)(end - start - 1), start + 1);
  *at = end;
  return true;
}

/* Whether the words of `list`, cut at anything but letters, digits and "_", have this one, in any case. */
static bool has_word(const char *list, const char *word) {
  size_t size = strlen(word);
  for (const char *p = list; *p; p += strspn(p, "abcdefghijklmnopqrstuvwxyz_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    p += strcspn(p, "abcdefghijklmnopqrstuvwxyz_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (n == size && strncasecmp(p, word, size) == 0) return true;
  }
  return false;
}

static const char *const rights[] = {
#define RIGHT(name, bit, of, writes) #name,
#include "runtime/host/wasi/right.def"
#undef RIGHT
};

static int check_row(size_t f, const char *rights_cell, const char *errnos_cell) {
  int wrong = 0;
  for (size_t i = 0; i < sizeof rights / sizeof *rights; i++)
    if (has_word(rights_cell, rights[i]) != has_word(functions[f].rights, rights[i])) {
      print_error("%s: the page and wasi.def differ about the right %s\n", functions[f].name, rights[i]);
      wrong++;
    }
  for (size_t i = 1; i < N_ERRNOS; i++) {
    bool is_said = has_word(errnos_cell, errnos[i].name);
    if (is_said == was_seen[f][errnos[i].code]) continue;
    print_error("%s: errno %s is %s\n", functions[f].name, errnos[i].name,
                is_said ? "on the page, not tested" : "not on the page");
    wrong++;
  }
  return wrong;
}

static void test_page(void **state) {
  (void)state;
  struct buffer page = {0};
  struct gw_error err = {0};
  int wrong = 0;
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/wasi.md", 1 << 20, &err));
  buffer_append(&page, "", 1);
  for (size_t f = 0; f < N_FUNCTIONS; f++) {
    char start[64], cells[3][512];
    snprintf(start, sizeof start, "\n| `%s` ", functions[f].name);
    const char *at = strstr((const char *)page.bytes, start);
    if (!at || !next_cell(&at, cells[0]) || !next_cell(&at, cells[1]) || !next_cell(&at, cells[2])) {
      print_error("docs/wasi.md has no row of %s\n", functions[f].name);
      wrong++;
      continue;
    }
    wrong += check_row(f, cells[1], cells[2]);
    bool succeeds = was_seen[f][SUCCESS] || strcmp(functions[f].name, "proc_exit") == 0;
    if (!succeeds) print_error("%s never succeeded\n", functions[f].name);
    wrong += !succeeds;
  }
  buffer_clear(&page);
  assert_int_equal(wrong, 0);
}

int main(void) {
  struct rlimit limit = {.rlim_cur = MAX_FILE, .rlim_max = MAX_FILE};
  signal(SIGXFSZ, SIG_IGN), signal(SIGPIPE, SIG_IGN);
  if (setrlimit(RLIMIT_FSIZE, &limit)) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows), cmocka_unit_test(test_full_table), cmocka_unit_test(test_full_stream),
      cmocka_unit_test(test_ends), cmocka_unit_test(test_page), /* the last: it looks at what the others have seen */
  };
  return cmocka_run_group_tests_name("wasi errno", tests, NULL, NULL);
}
