/* A guest that wants out: random WASI calls on directories full of links that lead out of them, while another thread swaps a
 * directory for such a link all the time. What lies outside, and what was given read-only, stays as it was and is never seen. */
#define _GNU_SOURCE /* renameat2, nftw */
#include "runtime/host/wasi/wasi.h"

#include "tests/fake_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLS = 16000, LOOK = 1000 };
/* Guest memory; a path at its very end, too. */
enum { OUT = 64, IOVS = 1024, NAME = 4096, NAME2 = 12288, DATA = 20480, ROOM = 32768 };
enum { NOTCAPABLE = 76 };
enum { ROOT = 3, OTHER, READONLY, OPENED, MOST_FDS = 40 };

static struct wasi *wasi;
static char directory[64];
static uint64_t random_state = 88172645463325252;
static const char secret[] = "7e57-5ec2e7"; /* in no other file */

static uint64_t any(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static uint32_t below(uint32_t n) { return (uint32_t)((any() >> 20) % n); }

static void run_shell(const char *command) {
  char in_directory[1200];
  snprintf(in_directory, sizeof in_directory, "cd %s && %s", directory, command);
  if (system(in_directory) != 0) fail_msg("%s", in_directory);
}

/* --- what must stay as it is -------------------------------------------------------------------------------------------- */

static struct {
  uint64_t sum;
  uint64_t inodes[32];
  size_t n;
} outside;

static void mix(const void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) outside.sum = (outside.sum ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
}

/* Names, types, links, sizes, times of change, contents. */
static int add_file(const char *path, const struct stat *st, int type, struct FTW *at) {
  char bytes[64] = {0};
  (void)at;
  int fd = type == FTW_F ? open(path, O_RDONLY | O_NOFOLLOW) : -1;
  if (fd >= 0 && read(fd, bytes, sizeof bytes) < 0) return -1;
  if (fd >= 0) close(fd);
  mix(path, strlen(path));
  mix(bytes, sizeof bytes);
  const uint64_t facts[] = {
      st->st_mode, st->st_nlink, (uint64_t)st->st_size, st->st_ino, (uint64_t)st->st_ctim.tv_nsec, (uint64_t)st->st_mtim.tv_nsec};
  mix(facts, sizeof facts);
  if (outside.n < sizeof outside.inodes / sizeof *outside.inodes) outside.inodes[outside.n++] = st->st_ino;
  return 0;
}

static uint64_t sum_outside(void) {
  static const char *const trees[] = {"out", "r"};
  char path[80];
  outside.sum = outside.n = 0;
  for (size_t i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", directory, trees[i]);
    assert_int_equal(nftw(path, add_file, 8, FTW_PHYS), 0);
    if (i == 0) outside.inodes[outside.n] = 0; /* the read-only one may be seen */
    if (i == 0 && outside.n == 0) fail();
  }
  return outside.sum;
}

/* Those of "out" alone. */
static void note_inodes(void) {
  char path[80];
  snprintf(path, sizeof path, "%s/out", directory);
  outside.n = 0;
  assert_int_equal(nftw(path, add_file, 8, FTW_PHYS), 0);
}

static void expect_inside(uint64_t inode) {
  for (size_t i = 0; i < outside.n; i++) assert_int_not_equal(inode, outside.inodes[i]);
}

/* --- the guest ------------------------------------------------------------------------------------------------------------ */

static uint32_t n_done, n_refused;

static uint32_t call(const char *name, const uint64_t *parameters, size_t n) {
  union gw_value values[12] = {0};
  for (size_t i = 0; i < n; i++) values[i].u64 = parameters[i];
  guest_call(wasi_resolve, wasi, below(8) ? "wasi_snapshot_preview1" : "wasi_unstable", name, values);
  guest.gas = guest.limit;
  n_done += values[0].u32 == 0;
  n_refused += values[0].u32 == NOTCAPABLE;
  return values[0].u32;
}
#define CALL(name, ...) call(name, (uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8)

static const char *const parts[] = {"..", ".", "up",   "abs",  "proc", "outfile", "sub", "deep",   "swap",
                                    "f",  "g", "loop", "back", "new",  "out",     "",    "secret", "dangling"};

/* A path of a few of these, sometimes long, sometimes with a NUL, at the end of memory, or behind it. */
static uint32_t make_path(uint32_t *at, uint32_t where) {
  char text[6000] = "";
  uint32_t n = 1 + below(below(2) ? 2 : 4), kind = below(60);
  if (below(20) == 0) strcpy(text, "/");
  for (uint32_t i = 0; i < n; i++) {
    strcat(text, parts[below(sizeof parts / sizeof *parts)]);
    if (i + 1 < n || below(6) == 0) strcat(text, "/");
  }
  if (kind == 0)
    for (uint32_t room = 4080 + below(30); strlen(text) + 2 < room;) strcat(text, below(2) ? "./" : "//");
  uint32_t size = (uint32_t)strlen(text);
  *at = kind < 4 ? GUEST_BYTES - size : where;
  memcpy(guest.memory + *at, text, size);
  if (kind == 5 && size) guest.memory[*at + below(size)] = 0;
  if (kind == 6) *at = GUEST_BYTES - below(size + 1);
  if (kind == 7) size = UINT32_MAX - below(70000);
  return size;
}

static uint64_t any_fd(void) {
  if (!below(40)) return any();
  return below(3) ? ROOT + below(below(3) ? 2 : 3) : OPENED + below(below(2) ? 3 : MOST_FDS);
}

/* Of a file or directory that the guest opened, if it did. */
static uint64_t opened_fd(void) { return below(6) ? OPENED + below(6) : any_fd(); }

/* Numbers of bytes and addresses at all edges. */
static uint64_t any_number(void) {
  switch (below(6)) {
  case 0: return GUEST_BYTES - below(70);
  case 1: return UINT32_MAX - below(70);
  case 2: return any();
  case 3: return 0;
  default: return below(300);
  }
}

static void expect_no_secret(uint32_t at, size_t size) {
  assert_null(memmem(guest.memory + at, size, secret, strlen(secret)));
  assert_null(memmem(guest.memory + at, size, "outsider", 8));
}

static void make_iovecs(void) {
  for (uint32_t i = 0; i < 64; i++) {
    guest_put_u32(IOVS + 8 * i, below(40) ? DATA + below(1000) : (uint32_t)any_number());
    guest_put_u32(IOVS + 8 * i + 4, below(40) ? below(40) : (uint32_t)any_number());
  }
}

static void call_with_path(void) {
  uint32_t path, path2, size = make_path(&path, NAME), size2 = make_path(&path2, NAME2);
  uint64_t fd = any_fd(), fd2 = any_fd(), follow = below(2);
  switch (below(12)) {
  case 0: CALL("path_create_directory", fd, path, size); break;
  case 1: CALL("path_remove_directory", fd, path, size); break;
  case 2: CALL("path_unlink_file", fd, path, size); break;
  case 3: CALL("path_symlink", path, size, fd, path2, size2); break;
  case 4: CALL("path_link", fd, follow, path, size, fd2, path2, size2); break;
  case 5: CALL("path_rename", fd, path, size, fd2, path2, size2); break;
  case 6: CALL("path_readlink", fd, path, size, ROOM, any_number(), OUT); break;
  case 7: CALL("path_filestat_set_times", fd, follow, path, size, any(), any(), below(16)); break;
  case 8:
    if (CALL("path_filestat_get", fd, follow, path, size, ROOM) == 0) expect_inside(guest_u64(ROOM + 8));
    break;
  default: {
    static const uint32_t usual[] = {0, 0, 1, 1, 2, 8, 9};
    uint64_t oflags = below(8) ? usual[below(7)] : below(16);
    uint64_t rights = below(2) ? UINT64_MAX : below(2) ? ~UINT64_C(64) : any(); /* all; all but writing, as directories want */
    CALL("path_open", fd, follow, path, size, oflags, rights, below(3) ? UINT64_MAX : any(), below(10) ? 0 : below(40), OUT);
  }
  }
}

static void call_with_fd(void) {
  uint64_t fd = opened_fd(), n = below(3) ? below(65) : any_number(), at = below(4) ? below(100) : any();
  make_iovecs();
  switch (below(14)) {
  case 0: CALL("fd_read", fd, IOVS, n, OUT); break;
  case 1: CALL("fd_pread", fd, IOVS, n, at, OUT); break;
  case 2: CALL("fd_write", fd, IOVS, n, OUT); break;
  case 3: CALL("fd_pwrite", fd, IOVS, n, at % 100000, OUT); break;
  case 4: CALL("fd_seek", fd, at, below(4), OUT); break;
  case 5: CALL("fd_readdir", fd, ROOM, any_number(), below(2) ? 0 : at, OUT); break;
  case 6:
    if (CALL("fd_filestat_get", fd, ROOM) == 0) expect_inside(guest_u64(ROOM + 8));
    break;
  case 7: CALL("fd_filestat_set_size", fd, below(2) ? at % 100000 : UINT64_MAX); break;
  case 8: CALL("fd_filestat_set_times", fd, any(), any(), below(16)); break;
  case 9: CALL("fd_allocate", fd, at % 100000, below(2) ? at % 1000 : UINT64_MAX - at % 1000); break;
  case 10: CALL("fd_renumber", fd, OPENED + below(6)); break;
  case 11: CALL("poll_oneoff", IOVS, ROOM, below(4) ? n : any_number(), OUT); break;
  case 12: CALL("fd_fdstat_set_rights", fd < OPENED ? OPENED : fd, any() | any() | any(), UINT64_MAX); break;
  default: CALL("fd_close", OPENED + below(MOST_FDS)); break;
  }
}

/* --- the others ------------------------------------------------------------------------------------------------------------- */

static atomic_bool is_over;

/* Somebody exchanges the directory a/swap and a link to "out", again and again; what the guest did to either is mended. */
static void *swap(void *arg) {
  char link[80], place[80], target[80];
  (void)arg;
  snprintf(link, sizeof link, "%s/swapped", directory);
  snprintf(place, sizeof place, "%s/a/swap", directory);
  snprintf(target, sizeof target, "%s/out", directory);
  while (!is_over) {
    if (syscall(SYS_renameat2, AT_FDCWD, link, AT_FDCWD, place, 2 /* RENAME_EXCHANGE */) == 0) continue;
    mkdir(place, 0700);
    if (symlink(target, link)) usleep(100);
  }
  return NULL;
}

static void open_wasi(bool is_deterministic) {
  char paths[3][80];
  static const char *const names[3] = {"a", "b", "r"};
  struct wasi_preopen preopens[3];
  struct gw_error err = {0};
  for (int i = 0; i < 3; i++) {
    snprintf(paths[i], sizeof paths[i], "%s/%s", directory, names[i]);
    preopens[i] = (struct wasi_preopen){.guest_path = names[i], .host_path = paths[i], .is_readonly = i == 2};
  }
  struct wasi_options options = {.preopens = preopens, .n_preopens = 3, .deterministic = is_deterministic};
  options.stdin_fd = options.stdout_fd = options.stderr_fd = -1;
  guest_init();
  wasi = wasi_create(&options, &err);
  if (!wasi) fail_msg("%s", err.message);
}

/* Links of every kind that lead out. */
static void fill_directory(const char *name) {
  char command[1024];
  snprintf(command, sizeof command,
           "mkdir -p %s && cd %s && rm -rf f g up abs proc outfile loop dangling sub new back deep secret && mkdir -p sub/deep &&"
           " { mkdir -p swap 2>/dev/null || :; } &&" /* the guest may have put a file there, which the other thread moves about */
           " printf inside >f && ln f g && ln -s .. up && ln -s %s/out abs && ln -s /proc/self/cwd proc && ln -s loop loop &&"
           " ln -s ../out/secret outfile && ln -s ../out/new dangling && ln -s ../.. sub/back && ln -s ../../../out/secret "
           "sub/deep/secret",
           name, name, directory);
  run_shell(command);
}

static void begin_round(void) {
  char command[200];
  snprintf(directory, sizeof directory, "/tmp/gasworks-escape-XXXXXX");
  assert_non_null(mkdtemp(directory));
  snprintf(command, sizeof command, "mkdir -p out/outsider && printf %s >out/secret && ln -s %s/out swapped", secret, directory);
  run_shell(command);
  fill_directory("r");
}

/* Some calls by a guest that finds all links in their places. */
static void run_guest(bool is_deterministic) {
  fill_directory("a");
  fill_directory("b");
  note_inodes();
  if (is_deterministic) outside.n = 0; /* it sees no true numbers */
  open_wasi(is_deterministic);
  for (int i = 0; i < LOOK; i++) {
    if (below(5) < 3)
      call_with_path();
    else
      call_with_fd();
    expect_no_secret(DATA, 1100);
    expect_no_secret(ROOM, 1000);
  }
  wasi_destroy(wasi);
  guest_clear();
}

static void test_no_way_out(void **state) {
  (void)state;
  pthread_t thread;
  for (int round = 0; round < 2; round++) {
    begin_round();
    uint64_t sum = sum_outside();
    is_over = false;
    assert_int_equal(pthread_create(&thread, NULL, swap, NULL), 0);
    for (int i = 0; i < CALLS; i += LOOK) {
      run_guest(round);
      assert_int_equal(sum_outside(), sum);
    }
    is_over = true;
    pthread_join(thread, NULL);
    run_shell("rm -rf a b r out swapped && rmdir ../$(basename $PWD)");
  }
  assert_true(n_done > CALLS / 20 && n_refused > CALLS / 20); /* or these are not the calls that tell */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_way_out)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
