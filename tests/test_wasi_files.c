/* WASI preview 1: what files and directories do, that nothing leads out of them, and what a deterministic guest sees of them. */
#define _GNU_SOURCE /* renameat2 */
#include "runtime/host/wasi/wasi.h"

#include "tests/host_fds.h"
#include "tests/fake_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, BADF = 8, INVAL = 28, ISDIR = 31, NOTDIR = 54, NOTCAPABLE = 76 };
enum { READ = 1 << 1, WRITE = 1 << 6, APPEND = 1, CREAT = 1, DIRECTORY = 2, TRUNC = 8, FOLLOW = 1 };
#define ALL UINT64_MAX

/* Guest memory. */
enum { OUT = 64, NAME = 3000, NAME2 = 3500, IOV = 128, DATA = 8192, ROOM = 16384 };
enum { ROOT = 3, FIRST = 4 };

static struct wasi *wasi;
static char directory[64];

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static uint32_t call_values(const char *name, const uint64_t *parameters, size_t n) {
  enum gw_trap trap;
  return guest_call_wasi(wasi_resolve, wasi, name, parameters, n, &trap);
}
#define CALL(name, ...) call_values(name, (uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8)
#define OK(name, ...) assert_int_equal(CALL(name, __VA_ARGS__), SUCCESS)

static void run_shell(const char *format, ...) {
  char command[512], in_directory[600];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  snprintf(in_directory, sizeof in_directory, "cd %s && %s", directory, command);
  if (system(in_directory) != 0) fail_msg("%s", in_directory);
}

static struct wasi *open_guest(bool is_deterministic, struct gw_error *err) {
  char path[80];
  snprintf(path, sizeof path, "%s/in", directory);
  struct wasi_preopen preopen = {.guest_path = "/", .host_path = path};
  guest_init();
  return wasi_create(&(struct wasi_options){.preopens = &preopen,
                                            .n_preopens = 1,
                                            .stdin_fd = -1,
                                            .stdout_fd = -1,
                                            .stderr_fd = -1,
                                            .deterministic = is_deterministic},
                     err);
}

static int setup(void **state) {
  struct gw_error err = {0};
  snprintf(directory, sizeof directory, "/tmp/gasworks-files-XXXXXX");
  if (!mkdtemp(directory)) return -1;
  run_shell("mkdir in && printf secret >secret && ln -s .. in/up");
  wasi = open_guest(*state != NULL, &err);
  return wasi ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  wasi_destroy(wasi);
  guest_clear();
  run_shell("rm -rf %s", directory);
  return 0;
}

static uint32_t open_path(const char *path, uint32_t oflags, uint64_t rights, uint32_t fdflags) {
  uint32_t size = guest_put(NAME, path);
  return CALL("path_open", ROOT, FOLLOW, NAME, size, oflags, rights, rights, fdflags, OUT);
}

static uint32_t must_open(const char *path, uint32_t oflags, uint64_t rights, uint32_t fdflags) {
  assert_int_equal(open_path(path, oflags, rights, fdflags), SUCCESS);
  return guest_u32(OUT);
}

static void put_data(const char *text) {
  guest_put_u32(IOV, DATA);
  guest_put_u32(IOV + 4, guest_put(DATA, text));
}

static void write_text(uint32_t fd, const char *text) {
  put_data(text);
  OK("fd_write", fd, IOV, 1, OUT);
  assert_int_equal(guest_u32(OUT), strlen(text));
}

static void expect_content(uint32_t fd, const char *text) {
  guest_put_u32(IOV, DATA);
  guest_put_u32(IOV + 4, 100);
  OK("fd_pread", fd, IOV, 1, 0, OUT);
  assert_int_equal(guest_u32(OUT), strlen(text));
  assert_memory_equal(guest.memory + DATA, text, strlen(text));
}

static uint32_t call_path(const char *function, const char *path) { return CALL(function, ROOT, NAME, guest_put(NAME, path)); }

/* --- files -------------------------------------------------------------------------------------------------------- */

static void test_write_and_read(void **state) {
  (void)state;
  uint32_t fd = must_open("new", CREAT, ALL, 0);
  write_text(fd, "0123456789");
  expect_content(fd, "0123456789");
  put_data("ab");
  OK("fd_pwrite", fd, IOV, 1, 4, OUT);
  expect_content(fd, "0123ab6789");
  OK("fd_tell", fd, OUT);
  assert_int_equal(guest_u64(OUT), 10); /* pwrite leaves it */
  OK("fd_filestat_set_size", fd, 3);
  expect_content(fd, "012");
  OK("fd_allocate", fd, 0, 5);
  OK("fd_filestat_get", fd, ROOM);
  assert_int_equal(guest_u64(ROOM + 32), 5);
  OK("fd_close", fd);
  fd = must_open("new", TRUNC, ALL, 0);
  expect_content(fd, "");
}

/* Appending is a flag of the descriptor that may come and go; writes at an offset do not append. */
static void test_append(void **state) {
  (void)state;
  uint32_t fd = must_open("log", CREAT, ALL, APPEND);
  write_text(fd, "one ");
  OK("fd_seek", fd, 0, 0, OUT);
  write_text(fd, "two ");
  put_data("ONE");
  OK("fd_pwrite", fd, IOV, 1, 0, OUT);
  expect_content(fd, "ONE two ");
  OK("fd_fdstat_set_flags", fd, 0);
  OK("fd_seek", fd, 4, 0, OUT);
  write_text(fd, "TWO");
  expect_content(fd, "ONE TWO ");
  OK("fd_fdstat_set_flags", fd, APPEND);
  write_text(fd, "three");
  expect_content(fd, "ONE TWO three");
  OK("fd_tell", fd, OUT);
  assert_int_equal(guest_u64(OUT), 13);
}

static void test_vectors_may_overlap(void **state) {
  (void)state;
  uint32_t fd = must_open("new", CREAT, ALL, 0);
  write_text(fd, "abcdefgh");
  guest_put_u32(IOV, DATA), guest_put_u32(IOV + 4, 4);
  guest_put_u32(IOV + 8, DATA + 2), guest_put_u32(IOV + 12, 4);
  OK("fd_pread", fd, IOV, 2, 0, OUT);
  assert_memory_equal(guest.memory + DATA, "abefgh", 6);
  OK("fd_pread", fd, IOV, 1, 0, IOV); /* the count over the vector itself */
  assert_int_equal(guest_u32(IOV), 4);
}

static void test_rights_narrow(void **state) {
  (void)state;
  must_open("new", CREAT, ALL, 0);
  uint32_t fd = must_open("new", 0, READ, 0);
  put_data("x");
  assert_int_equal(CALL("fd_write", fd, IOV, 1, OUT), NOTCAPABLE);
  assert_int_equal(CALL("fd_seek", fd, 0, 0, OUT), NOTCAPABLE);
  OK("fd_fdstat_get", fd, ROOM);
  assert_int_equal(guest_u64(ROOM + 8), READ);
  assert_int_equal(guest_u64(ROOM + 16), 0);
  OK("path_create_directory", ROOT, NAME, guest_put(NAME, "sub"));
  uint32_t size = guest_put(NAME, "sub"), n_file = guest_put(NAME2, "file");
  assert_int_equal(CALL("path_open", ROOT, 0, NAME, size, DIRECTORY, READ | WRITE, 0, 0, OUT), ISDIR);
  OK("path_open", ROOT, 0, NAME, size, DIRECTORY, ALL & ~(uint64_t)WRITE, READ, 0, OUT);
  uint32_t sub = guest_u32(OUT);
  assert_int_equal(CALL("path_open", sub, 0, NAME2, n_file, CREAT, WRITE, 0, 0, OUT), NOTCAPABLE);
  OK("path_open", sub, 0, NAME2, n_file, CREAT, ALL & ~(uint64_t)WRITE, 0, 0, OUT);
  OK("fd_fdstat_get", guest_u32(OUT), ROOM);
  assert_int_equal(guest_u64(ROOM + 8), READ);
  OK("fd_fdstat_set_rights", ROOT, 1 << 13, 0);
  assert_int_equal(call_path("path_unlink_file", "new"), NOTCAPABLE);
}

static void test_times(void **state) {
  (void)state;
  uint32_t fd = must_open("new", CREAT, ALL, 0);
  OK("fd_filestat_set_times", fd, 1000000001, 2000000002, 1 | 4);
  OK("fd_filestat_get", fd, ROOM);
  assert_int_equal(guest_u64(ROOM + 40), 1000000001);
  assert_int_equal(guest_u64(ROOM + 48), 2000000002);
  uint32_t size = guest_put(NAME, "up"); /* the link itself, not the directory outside */
  OK("path_filestat_set_times", ROOT, 0, NAME, size, 0, 3000000003, 4);
  OK("path_filestat_get", ROOT, 0, NAME, size, ROOM);
  assert_int_equal(guest_u64(ROOM + 48), 3000000003);
  assert_int_equal(CALL("path_filestat_set_times", ROOT, FOLLOW, NAME, size, 0, 1, 4), NOTCAPABLE);
}

/* --- directories -------------------------------------------------------------------------------------------------- */

/* All names, each followed by a space, read with a buffer of `room` bytes. */
static void list(uint32_t fd, uint32_t room, char *out, uint64_t *first_cookie) {
  uint64_t cookie = *first_cookie;
  *out = 0;
  for (;;) {
    OK("fd_readdir", fd, ROOM, room, cookie, OUT);
    uint32_t used = guest_u32(OUT), at = 0;
    while (at + 24 <= used && at + 24 + guest_u32(ROOM + at + 16) <= used) {
      uint32_t size = guest_u32(ROOM + at + 16);
      sprintf(out + strlen(out), "%.*s ", (int)size, (char *)guest.memory + ROOM + at + 24);
      cookie = guest_u64(ROOM + at);
      at += 24 + size;
    }
    *first_cookie = cookie;
    if (used < room || at == 0) return;
  }
}

static void test_listing(void **state) {
  (void)state;
  char names[200];
  uint64_t cookie = 0;
  run_shell("cd in && mkdir b && touch c a B");
  for (uint32_t room = 26; room < 200; room += 7) {
    cookie = 0;
    list(ROOT, room, names, &cookie);
    assert_string_equal(names, ". .. B a b c up ");
  }
  /* A cookie keeps its place, whatever happens to the directory; cookie 0 looks again. */
  OK("fd_readdir", ROOT, ROOM, 24 + 1 + 24 + 2 + 24 + 1 + 24 + 1, 0, OUT);
  cookie = guest_u64(ROOM + 24 + 1 + 24 + 2 + 24 + 1);
  run_shell("cd in && rm a b -r && touch aa");
  list(ROOT, 100, names, &cookie);
  assert_string_equal(names, "b c up ");
  cookie = 0;
  list(ROOT, 100, names, &cookie);
  assert_string_equal(names, ". .. B aa c up ");
  cookie = 1000;
  list(ROOT, 100, names, &cookie);
  assert_string_equal(names, "");
  OK("fd_readdir", ROOT, ROOM, 0, 0, OUT);
  assert_int_equal(guest_u32(OUT), 0);
}

/* Beginning anew reads the directory, however small the buffer. */
static void test_listing_has_its_price(void **state) {
  (void)state;
  run_shell("cd in && for i in $(seq 100); do touch name$i; done");
  uint64_t before = guest_gas_used();
  OK("fd_readdir", ROOT, ROOM, 1, 0, OUT);
  assert_true(guest_gas_used() - before > 100 * 29);
  before = guest_gas_used();
  OK("fd_readdir", ROOT, ROOM, 1, 1, OUT);
  assert_int_equal(guest_gas_used() - before, 1);
}

static void test_making_and_removing(void **state) {
  (void)state;
  assert_int_equal(call_path("path_create_directory", "a"), SUCCESS);
  assert_int_equal(call_path("path_create_directory", "a/b/"), SUCCESS);
  must_open("a/b/file", CREAT, ALL, 0);
  OK("path_rename", ROOT, NAME, guest_put(NAME, "a/b/file"), ROOT, NAME2, guest_put(NAME2, "moved"));
  OK("path_link", ROOT, 0, NAME, guest_put(NAME, "moved"), ROOT, NAME2, guest_put(NAME2, "a/other"));
  OK("path_symlink", NAME, guest_put(NAME, "../moved"), ROOT, NAME2, guest_put(NAME2, "a/soft"));
  write_text(must_open("a/soft", 0, ALL, 0), "through the link");
  expect_content(must_open("a/other", 0, ALL, 0), "through the link");
  assert_int_equal(call_path("path_unlink_file", "a/soft"), SUCCESS);
  assert_int_equal(call_path("path_unlink_file", "a/other"), SUCCESS);
  assert_int_equal(call_path("path_remove_directory", "a/b"), SUCCESS);
  assert_int_equal(call_path("path_remove_directory", "a/"), SUCCESS);
  run_shell("test ! -e in/a && test -e in/moved");
}

/* --- no way out --------------------------------------------------------------------------------------------------- */

/* Another process swaps a directory for a link to the outside, all the time; whatever the guest meets, it is never outside. */
static void test_race(void **state) {
  (void)state;
  run_shell("mkdir in/d && printf inside >in/d/secret && ln -s ../.. in/d/x && ln -s .. in/l");
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* where the test fails it goes, too */
    if (chdir(directory) || chdir("in")) _exit(1);
    for (;;) syscall(SYS_renameat2, AT_FDCWD, "d", AT_FDCWD, "l", 2 /* RENAME_EXCHANGE */);
  }
  guest.gas = UINT64_MAX; /* as many calls as a fast machine does in that time */
  int inside = 0, refused = 0;
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  do {
    uint32_t e = open_path("d/secret", 0, ALL, 0);
    if (e == SUCCESS) {
      uint32_t fd = guest_u32(OUT);
      expect_content(fd, "inside");
      OK("fd_close", fd);
      inside++;
    } else {
      refused += e == NOTCAPABLE;
    }
    call_path("path_unlink_file", "d/gone");
    call_path("path_create_directory", "d/made");
    call_path("path_remove_directory", "d/made");
    guest_put(NAME, "file");
    CALL("path_symlink", NAME, 4, ROOT, NAME2, guest_put(NAME2, "d/made"));
    call_path("path_unlink_file", "d/made");
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while (now.tv_sec - start.tv_sec < 2);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  assert_true(inside > 0 && refused > 0);
  run_shell("test ! -e made && test \"$(cat secret)\" = secret && test $(ls | wc -l) = 2");
}

/* Paths of all kinds of components, also as targets of links: whatever they do inside, nothing happens outside. */
static uint32_t random_state = 1;

static uint32_t pick(uint32_t n) {
  random_state = random_state * 1664525 + 1013904223;
  return (random_state >> 16) % n;
}

static uint32_t put_random_path(uint32_t at) {
  static const char *const parts[] = {"..", ".", "a", "b", "up", "l", "", "secret", "in", "c"};
  char path[64] = "";
  for (uint32_t i = 1 + pick(4); i > 0; i--) {
    strcat(path, parts[pick(sizeof parts / sizeof *parts)]);
    if (i > 1 || pick(4) == 0) strcat(path, "/");
  }
  return guest_put(at, path);
}

static bool do_something(void) {
  uint32_t size = put_random_path(NAME), size2 = put_random_path(NAME2), follow = pick(2);
  switch (pick(8)) {
  case 0: return !CALL("path_create_directory", ROOT, NAME, size);
  case 1: return pick(4) == 0 && !CALL("path_remove_directory", ROOT, NAME, size);
  case 2: return pick(4) == 0 && !CALL("path_unlink_file", ROOT, NAME, size);
  case 3: return !CALL("path_symlink", NAME, size, ROOT, NAME2, size2);
  case 4: return !CALL("path_link", ROOT, follow, NAME, size, ROOT, NAME2, size2);
  case 5: return !CALL("path_rename", ROOT, NAME, size, ROOT, NAME2, size2);
  case 6: return !CALL("path_filestat_set_times", ROOT, follow, NAME, size, 1, 1, 5);
  }
  if (CALL("path_open", ROOT, follow, NAME, size, pick(16), ALL, ALL, 0, OUT)) return false;
  uint32_t fd = guest_u32(OUT);
  CALL("fd_write", fd, IOV, 1, OUT);
  return !CALL("fd_close", fd);
}

static void test_random_paths(void **state) {
  (void)state;
  int done = 0;
  put_data("changed");
  run_shell("touch -d @1000000 secret");
  for (int i = 0; i < 40000; i++) {
    guest.gas = guest.limit;
    done += do_something();
  }
  assert_true(done > 1000);
  run_shell("test \"$(cat secret)\" = secret && test $(stat -c %%Y%%h secret) = 10000001 && test $(ls | wc -l) = 2");
}

/* A system without openat2: directories are refused, by a filter that says ENOSYS as old kernels do. */
static void forbid_openat2(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) _exit(2);
}

static void test_no_openat2(void **state) {
  (void)state;
  int status;
  pid_t child = fork();
  if (child == 0) {
    struct gw_error err = {0};
    forbid_openat2();
    bool is_refused = !open_guest(false, &err) && strstr(err.message, "openat2");
    bool is_nosys = open_path("new", CREAT, ALL, 0) == 52; /* the guest that was there before */
    _exit(!is_refused || !is_nosys);
  }
  waitpid(child, &status, 0);
  assert_int_equal(status, 0);
}

/* --- descriptors -------------------------------------------------------------------------------------------------- */

static void test_nothing_stays_open(void **state) {
  (void)state;
  struct gw_error err = {0};
  char path[80];
  snprintf(path, sizeof path, "%s/in", directory);
  int host = open(path, O_RDONLY | O_DIRECTORY);
  struct wasi_preopen preopen = {.guest_path = "/", .host_fd = host, .is_readonly = true};
  struct wasi_options options = {.preopens = &preopen, .n_preopens = 1, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
  run_shell("mkdir in/sub && touch in/file");
  assert_true(wasi_reset(wasi, &options, &err));
  int before = count_host_fds();
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 20; i++) must_open(i & 1 ? "sub" : "file", 0, READ | 1 << 14, 0);
    OK("fd_readdir", ROOT, ROOM, 1000, 0, OUT);
    OK("fd_renumber", FIRST, 0);
    OK("fd_renumber", ROOT, FIRST + 1);
    assert_int_equal(count_host_fds(), before + 19);
    assert_true(wasi_reset(wasi, &options, &err));
    assert_int_equal(count_host_fds(), before);
    assert_int_equal(CALL("fd_close", FIRST), BADF);
  }
  assert_true(fcntl(host, F_GETFD) >= 0);
  close(host);
}

/* --- a deterministic guest ---------------------------------------------------------------------------------------- */

static uint64_t inode_of(const char *path) {
  OK("path_filestat_get", ROOT, 0, NAME, guest_put(NAME, path), ROOM);
  for (int i = 40; i < 64; i += 8) assert_int_equal(guest_u64(ROOM + (uint32_t)i), 946684800000000000); /* as old as the clock */
  assert_int_equal(guest_u64(ROOM), 1);
  return guest_u64(ROOM + 8);
}

static void test_deterministic_files(void **state) {
  (void)state;
  run_shell("cd in && touch c b a && ln a d && mkdir sub");
  assert_int_equal(inode_of("b"), 1);
  assert_int_equal(inode_of("a"), 2);
  assert_int_equal(inode_of("d"), 2);
  assert_int_equal(inode_of("b"), 1);
  OK("fd_readdir", ROOT, ROOM, 1000, 0, OUT);
  assert_int_equal(guest_u64(ROOM + 8), 3);           /* . */
  assert_int_equal(guest_u64(ROOM + 25 + 8), 0);      /* .. */
  assert_int_equal(guest_u64(ROOM + 25 + 26 + 8), 2); /* a */
  /* A number that the host gives again is another file's, and that of a file with a second name stays. */
  assert_int_equal(call_path("path_unlink_file", "b"), SUCCESS);
  must_open("new", CREAT, ALL, 0);
  assert_int_equal(inode_of("new"), 7); /* the listing went on to 6 */
  assert_int_equal(call_path("path_unlink_file", "a"), SUCCESS);
  assert_int_equal(inode_of("d"), 2);
  OK("path_rename", ROOT, NAME, guest_put(NAME, "new"), ROOT, NAME2, guest_put(NAME2, "c"));
  assert_int_equal(inode_of("c"), 7);
  OK("path_filestat_get", ROOT, 0, NAME, guest_put(NAME, "sub"), ROOM);
  assert_int_equal(guest_u64(ROOM + 24), 1);
  assert_int_equal(guest_u64(ROOM + 32), 0);
}

static uint64_t clock_ns(uint32_t id) {
  OK("clock_time_get", id, 0, OUT);
  return guest_u64(OUT);
}

static void put_clock(uint32_t at, uint64_t ns, uint8_t flags) {
  memset(guest.memory + at, 0, 48);
  guest_put_u32(at + 16, 1);
  guest_put_u64(at + 24, ns);
  guest.memory[at + 40] = flags;
}

/* What a checkpoint may lie behind (SAME in wasi.def) leaves nothing that later answers tell. */
static void test_deterministic_start(void **state) {
  (void)state;
  OK("args_sizes_get", OUT, OUT + 4);
  OK("args_get", OUT, ROOM);
  OK("clock_res_get", 0, OUT);
  OK("sched_yield", 0);
  for (uint32_t fd = 0; fd <= ROOT; fd++) OK("fd_fdstat_get", fd, ROOM);
  OK("fd_prestat_get", ROOT, OUT);
  OK("fd_prestat_dir_name", ROOT, ROOM, 1);
  uint32_t fd = must_open("new", CREAT, ALL, 0);
  OK("fd_filestat_get", fd, ROOM);
  assert_int_equal(guest_u64(ROOM + 8), 1); /* the first file that it meets */
  OK("fd_filestat_get", ROOT, ROOM);
  assert_int_equal(guest_u64(ROOM + 8), 2);
  OK("clock_time_get", 1, 0, OUT);
  assert_int_equal(guest_u64(OUT), 1000);
}

static void test_deterministic_clock(void **state) {
  (void)state;
  assert_int_equal(clock_ns(1), 1000);
  assert_int_equal(clock_ns(0), 946684800ull * 1000000000 + 2000);
  put_clock(ROOM, 3600ull * 1000000000, 0);
  put_clock(ROOM + 48, 60ull * 1000000000, 0);
  OK("poll_oneoff", ROOM, DATA, 2, OUT); /* the shorter ends it, at once */
  assert_int_equal(guest_u32(OUT), 1);
  uint64_t now = clock_ns(1);
  assert_in_range(now, 60000000000, 60000010000);
  put_clock(ROOM, 90ull * 1000000000, 1);
  OK("poll_oneoff", ROOM, DATA, 1, OUT);
  assert_in_range(clock_ns(1), 90000000000, 90000010000);
  put_clock(ROOM, UINT64_MAX, 0);
  OK("poll_oneoff", ROOM, DATA, 1, OUT);
  assert_int_equal(clock_ns(1), UINT64_MAX);
  assert_int_equal(clock_ns(0), UINT64_MAX);
  assert_false(guest.is_unrepeatable);
}

/* All that is there, of a pipe that gives it in pieces. */
static void test_deterministic_stream(void **state) {
  (void)state;
  struct gw_error err = {0};
  int in[2], status;
  assert_int_equal(pipe(in), 0);
  assert_true(
      wasi_reset(wasi, &(struct wasi_options){.stdin_fd = in[0], .stdout_fd = -1, .stderr_fd = -1, .deterministic = true}, &err));
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 20; i++)
      if (usleep(1000) || write(in[1], "0123456789", 10) != 10) _exit(1);
    _exit(0);
  }
  close(in[1]);
  guest_put_u32(IOV, DATA), guest_put_u32(IOV + 4, 15);
  guest_put_u32(IOV + 8, DATA + 100), guest_put_u32(IOV + 12, 150);
  OK("fd_read", 0, IOV, 2, OUT);
  assert_int_equal(guest_u32(OUT), 165);
  assert_memory_equal(guest.memory + DATA, "012345678901234", 15);
  assert_memory_equal(guest.memory + DATA + 100, "5678901", 7);
  OK("fd_read", 0, IOV, 2, OUT);
  assert_int_equal(guest_u32(OUT), 35);
  OK("fd_read", 0, IOV, 2, OUT);
  assert_int_equal(guest_u32(OUT), 0);
  waitpid(child, &status, 0);
  close(in[0]);
}

int main(void) {
  static bool deterministic = true;
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define TEST_DETERMINISTIC(name) \
  { "test_deterministic_" #name, test_deterministic_##name, setup, teardown, &deterministic }
  const struct CMUnitTest tests[] = {
      TEST(write_and_read),
      TEST(append),
      TEST(vectors_may_overlap),
      TEST(rights_narrow),
      TEST(times),
      TEST(listing),
      TEST(listing_has_its_price),
      TEST(making_and_removing),
      TEST(random_paths),
      TEST(race),
      TEST(no_openat2),
      TEST(nothing_stays_open),
      TEST_DETERMINISTIC(files),
      TEST_DETERMINISTIC(start),
      TEST_DETERMINISTIC(clock),
      TEST_DETERMINISTIC(stream),
  };
  return cmocka_run_group_tests_name("wasi files", tests, NULL, NULL);
}
