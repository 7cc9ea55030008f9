/* Files in /state are files: the same random calls on the state and on a directory of this machine, both through WASI, give the
 * same errnos and the same bytes in the guest's memory, also when transactions end between them. And what only the state has. */
#include "runtime/host/wasi/wasi.h"
#include "runtime/state/state.h"

#include "tests/fake_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUCCESS = 0, FBIG = 22, NODEV = 43, NOENT = 44, NOSPC = 51 };
enum { ROOT = 3, CREAT = 1, DIRECTORY = 2, EXCL = 4, TRUNC = 8, APPEND = 1, READ = 1 << 1, WRITE = 1 << 6 };
#define ALL UINT64_MAX

/* Guest memory. */
enum { OUT = 64, IOV = 256, NAME = 1024, NAME2 = 2048, DATA = 8192, ROOM = 32768, ROOM_SIZE = 16384 };

static char directory[64];
static struct state_store *store;
static struct state_txn *txn;
static struct wasi *host, *state; /* two worlds */
static uint64_t seed;

static uint32_t below(uint32_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t)(seed >> 33) % n;
}

/* --- worlds ------------------------------------------------------------------------------------------------------- */

static struct wasi *world(struct wasi *before, bool is_state) {
  char path[80];
  struct gw_error err = {0};
  snprintf(path, sizeof path, "%s/host", directory);
  struct wasi_preopen preopen = {.guest_path = "/state", .host_path = path};
  struct wasi_options options = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .preopens = &preopen};
  options.n_preopens = !is_state;
  options.has_state = is_state;
  bool ok = !before || wasi_reset(before, &options, &err);
  struct wasi *wasi = before ? before : wasi_create(&options, &err);
  if (!ok || !wasi) fail_msg("%s", err.message);
  wasi_use_state(wasi, txn);
  return wasi;
}

/* The invocation ends, and the next one begins. */
static void next_invocation(void) {
  struct gw_error err = {0};
  if (txn && !state_txn_commit_wait(txn, &err)) fail_msg("%s", err.message);
  txn = state_txn_begin(store, "f");
  host = world(host, false);
  state = world(state, true);
}

static int setup(void **unused) {
  char path[80];
  struct gw_error err = {0};
  (void)unused;
  guest_init();
  guest.gas = guest.limit = (uint64_t)1 << 60;
  snprintf(directory, sizeof directory, "/tmp/gasworks-files-XXXXXX");
  if (!mkdtemp(directory)) return -1;
  snprintf(path, sizeof path, "%s/host", directory);
  if (mkdir(path, 0700)) return -1;
  snprintf(path, sizeof path, "%s/state", directory);
  store = state_store_open(path, 256 << 20, false, &err);
  if (!store) return -1;
  txn = NULL;
  next_invocation();
  return 0;
}

static int teardown(void **unused) {
  char command[128];
  (void)unused;
  state_txn_abort(txn);
  wasi_destroy(host);
  wasi_destroy(state);
  host = state = NULL;
  state_store_close(store);
  snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -r %s", directory, directory);
  guest_clear();
  return system(command);
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static uint32_t call_in(struct wasi *wasi, const char *name, const uint64_t *parameters, size_t n) {
  enum gw_trap trap;
  uint32_t e = guest_call_wasi(wasi_resolve, wasi, name, parameters, n, &trap);
  if (trap) fail_msg("%s trapped: %s", name, guest.message);
  return e;
}

/* What files are is the same but for who they are, and when; a directory has other sizes. */
static void forget_identity(const char *name, uint32_t e) {
  uint8_t *stat = guest.memory + OUT, *entry = guest.memory + ROOM;
  if (e) return;
  if (strstr(name, "filestat_get")) {
    memset(stat, 0, 16);
    memset(stat + 40, 0, 24);
    if (stat[16] == 3) memset(stat + 24, 0, 16);
  }
  for (uint32_t used = strcmp(name, "fd_readdir") ? 0 : guest_u32(OUT), size; used > 8; used -= 24 + size, entry += 24 + size) {
    memset(entry + 8, 0, used < 16 ? used - 8 : 8);
    memcpy(&size, entry + 16, 4);
    if (used < 24 + size) break;
  }
}

static uint32_t both_values(const char *name, const uint64_t *parameters, size_t n) {
  static uint8_t before[GUEST_BYTES], after[GUEST_BYTES];
  memcpy(before, guest.memory, GUEST_BYTES);
  uint32_t on_host = call_in(host, name, parameters, n);
  forget_identity(name, on_host);
  memcpy(after, guest.memory, GUEST_BYTES);
  memcpy(guest.memory, before, GUEST_BYTES);
  uint32_t in_state = call_in(state, name, parameters, n);
  forget_identity(name, in_state);
  bool is_same = on_host == in_state && !memcmp(after, guest.memory, GUEST_BYTES);
  if (!is_same) {
    print_error("%s(", name);
    for (size_t i = 0; i < n; i++) print_error("%llu ", (unsigned long long)parameters[i]);
    print_error(") of \"%.300s\" and \"%.300s\": %u on the host, %u in the state\n", (char *)guest.memory + NAME,
                (char *)guest.memory + NAME2, on_host, in_state);
    for (size_t i = 0; i < GUEST_BYTES; i++)
      if (after[i] != guest.memory[i]) {
        print_error("the first byte that differs is %zu: %u and %u\n", i, after[i], guest.memory[i]);
        break;
      }
    fail();
  }
  return on_host;
}
#define BOTH(name, ...) both_values(name, (uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8)

static uint32_t put_name(uint32_t at, const char *name) {
  memset(guest.memory + at, 0, 1024);
  return guest_put(at, name);
}

/* --- random calls ------------------------------------------------------------------------------------------------- */

static uint32_t some_name(uint32_t at) {
  static const char *const names[] = {
      "a",   "b",    "c",      "d",     "e",      "d/a",    "d/b", "d/e",       "d/e/a",        "d/e/f", "e/a",
      "e/f", "./a",  "d/../a", "..",    "../a",   ".",      "d/",  "a/",        "d/.",          "d/..",  "x/y",
      "/a",  "d//a", "a/b",    "d/./e", "e/../d", "d/e/..", "e//", "d/e/../..", "d/e/../../..", "a-",    "d-/a"};
  static char long_name[400];
  uint32_t which = below(80);
  if (which == 0) memset(long_name, 'n', 256), long_name[256] = 0;
  if (which == 1)
    memset(long_name, 'n', 30),
        long_name[30] = 0; /* where directories are moved into others, paths must not get too long for a key */
  if (which == 2) memset(long_name, 'n', 399);
  return put_name(at, which < 3 ? long_name : which < 36 ? names[which % 9] : names[below(sizeof names / sizeof *names)]);
}

static uint32_t some_fd(void) { return below(4) ? ROOT + 1 + below(8) : ROOT; }

static uint64_t some_offset(void) {
  static const uint64_t odd[] = {0, 1, 4095, 4096, 4097, 8192, 20000, UINT64_MAX, INT64_MAX, (uint64_t)1 << 63};
  return below(3) ? below(20000) : odd[below(9 + !below(4))];
}

static void vectors(uint32_t base) {
  for (uint32_t i = 0; i < 3; i++) {
    guest_put_u32(IOV + 8 * i, base + below(2000));
    guest_put_u32(IOV + 8 * i + 4, below(4) ? below(500) : below(5000));
  }
  for (uint32_t i = 0; i < 16; i++) guest.memory[DATA + below(8000)] = (uint8_t)below(256);
}

static void open_something(void) {
  uint32_t n = some_name(NAME), oflags = below(3) ? below(2) : below(16), flags = below(4) ? 0 : APPEND;
  uint64_t rights = below(4) ? ALL : READ | 1 << 2 | 1 << 5 | 1 << 21 | 1 << 14 | 1 << 13 | 1 << 18;
  if (oflags & DIRECTORY || below(3) == 0) rights &= ~(uint64_t)(WRITE | 1 << 8 | 1 << 22);
  BOTH("path_open", below(3) ? ROOT : some_fd(), 1, NAME, n, oflags, rights, ALL, flags, OUT);
}

static void use_file(void) {
  uint32_t fd = ROOT + 1 + below(8);
  switch (below(10)) {
  case 0: vectors(ROOM), BOTH("fd_read", fd, IOV, 1 + below(3), OUT); break;
  case 1: vectors(ROOM), BOTH("fd_pread", fd, IOV, 1 + below(3), some_offset() & INT64_MAX, OUT); break;
  case 2: vectors(DATA), BOTH("fd_write", fd, IOV, below(4), OUT); break;
  case 3: vectors(DATA), BOTH("fd_pwrite", fd, IOV, below(4), below(20000), OUT); break;
  case 4: BOTH("fd_seek", fd, below(2) ? below(20000) : (uint64_t) - (int64_t)below(9000), below(4), OUT); break;
  case 5: BOTH("fd_tell", fd, OUT); break;
  case 6: BOTH("fd_filestat_set_size", fd, below(2) ? 0 : below(20000)); break;
  case 7: BOTH("fd_allocate", fd, below(9000), below(4) ? below(9000) : some_offset() >> 63 << 63); break;
  case 8: BOTH("fd_filestat_get", fd, OUT); break;
  default: BOTH("fd_fdstat_get", fd, OUT);
  }
}

static void change_names(void) {
  uint32_t n = some_name(NAME), fd = below(3) ? ROOT : some_fd();
  switch (below(7)) {
  case 0:
  case 1: BOTH("path_create_directory", fd, NAME, n); break;
  case 2: BOTH("path_remove_directory", fd, NAME, n); break;
  case 3: BOTH("path_unlink_file", fd, NAME, n); break;
  case 4: BOTH("path_filestat_get", fd, 1, NAME, n, OUT); break;
  default: {
    uint32_t n2 = some_name(NAME2);
    BOTH("path_rename", fd, NAME, n, below(3) ? ROOT : some_fd(), NAME2, n2);
  }
  }
}

static void something_else(void) {
  switch (below(6)) {
  case 0: BOTH("fd_readdir", some_fd(), ROOM, ROOM_SIZE, 0, OUT); break;
  case 1: BOTH("fd_readdir", some_fd(), ROOM, below(200), below(4), OUT); break;
  case 2: BOTH("fd_sync", ROOT + 1 + below(8)); break;
  case 3: BOTH("fd_datasync", ROOT + 1 + below(8)); break;
  case 4: BOTH("fd_renumber", ROOT + 1 + below(8), ROOT + 1 + below(8)); break;
  default: BOTH("fd_advise", ROOT + 1 + below(8), 0, 100, below(6));
  }
}

static void random_call(void) {
  uint32_t kind = below(20);
  if (kind < 4)
    open_something();
  else if (kind < 12)
    use_file();
  else if (kind < 17)
    change_names();
  else if (kind < 19)
    something_else();
  else
    BOTH("fd_close", ROOT + 1 + below(8));
}

static void test_state_is_like_a_directory(void **unused) {
  (void)unused;
  const char *seeds = getenv("GASWORKS_TEST_SEEDS");
  int n = seeds ? atoi(seeds) : 6;
  for (int s = 1; s <= n; s++) {
    seed = (uint64_t)s * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 3000; i++) {
      random_call();
      if (below(200) == 0) next_invocation();
    }
  }
}

/* --- what the state has alone ------------------------------------------------------------------------------------- */

static uint32_t state_values(const char *name, const uint64_t *parameters, size_t n) {
  return call_in(state, name, parameters, n);
}
#define CALL(name, ...) state_values(name, (uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8)
#define OK(name, ...) assert_int_equal(CALL(name, __VA_ARGS__), SUCCESS)

static uint32_t open_file(const char *name, uint32_t oflags) {
  uint32_t n = put_name(NAME, name);
  OK("path_open", ROOT, 0, NAME, n, oflags, ALL, ALL, 0, OUT);
  return guest_u32(OUT);
}

static uint32_t write_to(uint32_t fd, uint64_t offset, const char *text) {
  guest_put_u32(IOV, DATA);
  guest_put_u32(IOV + 4, guest_put(DATA, text));
  return CALL("fd_pwrite", fd, IOV, 1, offset, OUT);
}

static void test_sizes(void **unused) {
  (void)unused;
  uint32_t fd = open_file("f", CREAT);
  const uint64_t most = (uint64_t)1 << 30;
  assert_int_equal(write_to(fd, most, "x"), FBIG);
  assert_int_equal(write_to(fd, most - 2, "xyz"), SUCCESS);
  assert_int_equal(guest_u32(OUT), 2); /* as much as there was room for */
  assert_int_equal(write_to(fd, INT64_MAX, "x"), 28);
  assert_int_equal(CALL("fd_filestat_set_size", fd, most + 1), FBIG);
  assert_int_equal(CALL("fd_filestat_set_size", fd, INT64_MAX), FBIG);
  assert_int_equal(CALL("fd_filestat_set_size", fd, (uint64_t)1 << 63), 28);
  assert_int_equal(CALL("fd_allocate", fd, 1, most), FBIG);
  OK("fd_filestat_get", fd, OUT);
  assert_int_equal(guest_u64(OUT + 32), most);
  OK("fd_allocate", fd, 0, most);
  OK("fd_filestat_set_size", fd, 1);
  OK("fd_close", fd);
  next_invocation();
  fd = open_file("f", 0);
  OK("fd_filestat_get", fd, OUT);
  assert_int_equal(guest_u64(OUT + 32), 1);
}

/* Without a transaction, as while a module is tried. */
static void test_no_state(void **unused) {
  (void)unused;
  uint32_t n = put_name(NAME, "f");
  wasi_use_state(state, NULL);
  assert_int_equal(CALL("path_open", ROOT, 0, NAME, n, CREAT, ALL, ALL, 0, OUT), NODEV);
  assert_int_equal(CALL("path_rename", ROOT, NAME, n, ROOT, NAME, n), NODEV);
  assert_int_equal(CALL("fd_readdir", ROOT, ROOM, ROOM_SIZE, 0, OUT), NODEV);
}

static void test_no_links(void **unused) {
  (void)unused;
  open_file("f", CREAT);
  uint32_t n = put_name(NAME, "f"), n2 = put_name(NAME2, "g");
  assert_int_equal(CALL("path_symlink", NAME, n, ROOT, NAME2, n2), 63);
  assert_int_equal(CALL("path_link", ROOT, 0, NAME, n, ROOT, NAME2, n2), 63);
  assert_int_equal(CALL("path_readlink", ROOT, NAME, n, ROOM, 100, OUT), 28);
  assert_int_equal(CALL("path_readlink", ROOT, NAME2, n2, ROOM, 100, OUT), NOENT);
}

/* What others set under a key is a file, and slashes in keys make directories. */
static void test_keys_are_files(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  const void *value;
  size_t size;
  assert_true(state_txn_set(txn, "p/q/r", 5, "text", 4, &err));
  uint32_t n = put_name(NAME, "p/q"), fd = open_file("p/q/r", 0);
  OK("path_filestat_get", ROOT, 0, NAME, n, OUT);
  guest_put_u32(IOV, ROOM);
  guest_put_u32(IOV + 4, 100);
  OK("fd_read", fd, IOV, 1, OUT);
  assert_int_equal(guest_u32(OUT), 4);
  assert_memory_equal(guest.memory + ROOM, "text", 4);
  assert_int_equal(write_to(fd, 4, "s"), SUCCESS);
  assert_int_equal(state_txn_get_wait(txn, "p/q/r", 5, &value, &size, &err), 1);
  assert_true(state_txn_found_large(txn));
  OK("fd_readdir", ROOT, ROOM, ROOM_SIZE, 2, OUT);
  assert_int_equal(guest_u32(OUT), 24 + 1);
  assert_memory_equal(guest.memory + ROOM + 24, "p", 1);
}

/* A path is a key: 479 bytes at most, and the space for a slash. */
static void test_long_paths(void **unused) {
  (void)unused;
  char path[600];
  memset(path, 'n', sizeof path);
  for (int at = 200; at < 500; at += 200) path[at] = '/';
  path[200] = 0;
  uint32_t n = put_name(NAME, path);
  OK("path_create_directory", ROOT, NAME, n);
  path[200] = '/', path[400] = 0;
  n = put_name(NAME, path);
  OK("path_create_directory", ROOT, NAME, n);
  path[400] = '/', path[479] = 0;
  open_file(path, CREAT);
  path[479] = 'n', path[480] = 0;
  n = put_name(NAME, path);
  assert_int_equal(CALL("path_open", ROOT, 0, NAME, n, CREAT, ALL, ALL, 0, OUT), 37);
  put_name(NAME, "a\0b");
  guest.memory[NAME + 1] = 0;
  assert_int_equal(CALL("path_open", ROOT, 0, NAME, 3, CREAT, ALL, ALL, 0, OUT), 25);
}

/* All descriptors of one file, which then goes away, and what is written to it. */
static void test_unlinked_files(void **unused) {
  (void)unused;
  uint32_t fd = open_file("f", CREAT), n = put_name(NAME, "f"), last = fd;
  while (CALL("path_open", ROOT, 0, NAME, n, 0, ALL, ALL, 0, OUT) == SUCCESS) last = guest_u32(OUT);
  assert_int_equal(last, 255);
  OK("path_unlink_file", ROOT, NAME, n);
  assert_int_equal(write_to(fd, 0, "text"), SUCCESS);
  OK("fd_filestat_get", last, OUT);
  assert_int_equal(guest_u64(OUT + 32), 4);
  assert_int_equal(guest_u64(OUT + 24), 0);
  OK("fd_close", last);
  open_file("f", CREAT | EXCL);
  OK("fd_filestat_get", last, OUT);
  assert_int_equal(guest_u64(OUT + 32), 0);
}

/* More than one transaction may write is no space left, and what was written stays readable. */
static void test_full(void **unused) {
  (void)unused;
  uint32_t fd = open_file("f", CREAT), e = SUCCESS;
  guest_put_u32(IOV, ROOM);
  guest_put_u32(IOV + 4, ROOM_SIZE);
  int n = 0;
  for (; n < 10000 && (e = CALL("fd_write", fd, IOV, 1, OUT)) == SUCCESS; n++) {
  }
  assert_int_equal(e, NOSPC);
  assert_in_range(n, 1000, 4096);
  OK("fd_pread", fd, IOV, 1, 0, OUT);
  assert_int_equal(guest_u32(OUT), ROOM_SIZE);
}

/* A directory that a key alone makes is gone with it; nothing says so to a descriptor of it, whose path must stay one. */
static void test_moved_without_keys(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  char key[STATE_MAX_KEY + 1] = "a/", longer[256];
  memset(key + 2, 'n', 470);
  key[200] = key[400] = '/';
  key[472] = 0;
  memset(longer, 'm', 250);
  longer[250] = 0;
  assert_true(state_txn_set(txn, key, 472, "", 0, &err));
  assert_true(state_txn_set(txn, "a/x", 3, "", 0, &err));
  key[400] = 0;
  uint32_t n = put_name(NAME, key);
  OK("path_open", ROOT, 0, NAME, n, DIRECTORY, READ | 1 << 14 | 1 << 13 | 1 << 9, ALL, 0, OUT);
  uint32_t fd = guest_u32(OUT);
  key[400] = '/';
  n = put_name(NAME, key);
  OK("path_unlink_file", ROOT, NAME, n);
  n = put_name(NAME, "a");
  uint32_t n2 = put_name(NAME2, longer);
  OK("path_rename", ROOT, NAME, n, ROOT, NAME2, n2);
  n = put_name(NAME, "y");
  assert_int_equal(CALL("path_open", fd, 0, NAME, n, 0, ALL, ALL, 0, OUT), NOENT);
  assert_int_equal(CALL("fd_readdir", fd, ROOM, ROOM_SIZE, 0, OUT), NOENT);
}

static uint64_t gas_of_stat(const char *name) {
  uint64_t before = guest_gas_used();
  uint32_t n = put_name(NAME, name);
  assert_int_equal(CALL("path_filestat_get", ROOT, 0, NAME, n, OUT), NOENT);
  return guest_gas_used() - before;
}

/* Whether something is a directory may take a walk over all that was deleted there. */
static void test_deleted_names_are_paid_for(void **unused) {
  (void)unused;
  enum { N = 5000 };
  struct gw_error err = {0};
  char key[16];
  uint64_t before = gas_of_stat("d");
  for (int i = 0; i < N; i++) {
    int n = snprintf(key, sizeof key, "d/%d", i);
    assert_true(state_txn_set(txn, key, (size_t)n, "", 0, &err));
    assert_true(state_txn_delete(txn, key, (size_t)n, &err));
  }
  uint64_t price = gas_of_stat("d"), entry = schedule_default()->gas[COST_HOST_ENTRY];
  assert_in_range(price, before + (N - 100) * entry, before + N * entry);
  guest.gas = price - 1;
  uint64_t values[] = {ROOT, 0, NAME, put_name(NAME, "d"), OUT};
  enum gw_trap trap;
  guest_call_wasi(wasi_resolve, state, "path_filestat_get", values, 5, &trap);
  assert_int_equal(trap, GW_TRAP_OUT_OF_GAS);
}

/* Listings are kept until their descriptors are closed, all together in bounded memory. */
static void test_listings_are_bounded(void **unused) {
  (void)unused;
  enum { N = 8000, MOST = 100, NOMEM = 48 };
  struct gw_error err = {0};
  char key[251];
  uint32_t e = SUCCESS, n = put_name(NAME, "d"), fds[MOST];
  memset(key, 'n', sizeof key);
  memcpy(key, "d/", 2);
  for (int i = 0; i < N; i++) {
    for (int j = 0, rest = i; j < 4; j++, rest /= 10) key[5 - j] = (char)('0' + rest % 10);
    assert_true(state_txn_set(txn, key, 250, "", 0, &err));
  }
  int i = 0;
  for (; i < MOST && e == SUCCESS; i++) {
    OK("path_open", ROOT, 0, NAME, n, DIRECTORY, READ | 1 << 14, ALL, 0, OUT);
    fds[i] = guest_u32(OUT);
    e = CALL("fd_readdir", fds[i], ROOM, ROOM_SIZE, 0, OUT);
  }
  assert_int_equal(e, NOMEM);
  assert_in_range(i, 10, 20);
  OK("fd_close", fds[0]);
  OK("fd_readdir", fds[i - 1], ROOM, ROOM_SIZE, 0, OUT);
}

/* Where many are sorted by pieces: a directory and what begins with its name are not in the order of keys. */
static void test_large_listings_are_sorted(void **unused) {
  (void)unused;
  enum { N = 5000 };
  struct gw_error err = {0};
  static char last[40], name[40];
  char key[40];
  for (int i = 0; i < N; i++) {
    int n = snprintf(key, sizeof key, i % 3 ? "%d/x" : "%d.x", i / 3);
    assert_true(state_txn_set(txn, key, (size_t)n, "", 0, &err));
    n = snprintf(key, sizeof key, "%d-", i);
    assert_true(state_txn_set(txn, key, (size_t)n, "", 0, &err));
  }
  int n = 0;
  last[0] = 0;
  for (uint64_t cookie = 0, used = 1; used; n += used > 0) {
    OK("fd_readdir", ROOT, ROOM, 24 + 39, cookie, OUT);
    used = guest_u32(OUT);
    if (!used) break;
    uint32_t size;
    memcpy(&size, guest.memory + ROOM + 16, 4);
    memcpy(&cookie, guest.memory + ROOM, 8);
    assert_in_range(size, 1, sizeof name - 1);
    memcpy(name, guest.memory + ROOM + 24, size);
    name[size] = 0;
    assert_true(strcmp(last, name) < 0);
    memcpy(last, name, sizeof last);
  }
  assert_int_equal(n, 2 + N + (N + 2) / 3 + (N + 2) / 3);
}

/* As on a file system that is mounted to be read. */
static void test_read_only(void **unused) {
  (void)unused;
  enum { ROFS = 69, EXIST = 20 };
  struct gw_error err = {0};
  assert_true(state_txn_set(txn, "f", 1, "text", 4, &err) && state_txn_set(txn, "d/g", 3, "", 0, &err));
  assert_true(state_txn_commit_wait(txn, &err));
  txn = state_txn_begin(store, "f");
  state_txn_only_reads(txn);
  state = world(state, true);
  uint32_t f = put_name(NAME, "f"), g = 0;
  assert_int_equal(CALL("path_open", ROOT, 0, NAME, f, 0, READ | WRITE, 0, 0, OUT), ROFS);
  assert_int_equal(CALL("path_open", ROOT, 0, NAME, f, TRUNC, WRITE, 0, 0, OUT), ROFS);
  OK("path_open", ROOT, 0, NAME, f, CREAT, READ, 0, 0, OUT); /* it is there */
  OK("path_open", ROOT, 0, NAME, f, 0, READ, 0, 0, OUT);
  guest_put_u32(IOV, DATA);
  guest_put_u32(IOV + 4, 100);
  OK("fd_read", guest_u32(OUT), IOV, 1, OUT + 8);
  assert_int_equal(guest_u32(OUT + 8), 4);
  assert_memory_equal(guest.memory + DATA, "text", 4);
  assert_int_equal(CALL("path_unlink_file", ROOT, NAME, f), ROFS);
  g = put_name(NAME2, "new");
  assert_int_equal(CALL("path_rename", ROOT, NAME, f, ROOT, NAME2, g), ROFS);
  assert_int_equal(CALL("path_open", ROOT, 0, NAME2, g, CREAT, READ, 0, 0, OUT), ROFS);
  assert_int_equal(CALL("path_open", ROOT, 0, NAME2, g, 0, READ | WRITE, 0, 0, OUT), NOENT);
  assert_int_equal(CALL("path_create_directory", ROOT, NAME2, g), ROFS);
  g = put_name(NAME2, "d");
  assert_int_equal(CALL("path_create_directory", ROOT, NAME2, g), EXIST);
  assert_int_equal(CALL("path_remove_directory", ROOT, NAME2, g), ROFS);
  f = put_name(NAME, "e");
  assert_int_equal(CALL("path_rename", ROOT, NAME2, g, ROOT, NAME, f), ROFS); /* a directory with what is in it */
  OK("path_filestat_get", ROOT, 0, NAME2, g, OUT);
  assert_true(state_txn_is_read_only(txn));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_state_is_like_a_directory),
                                     TEST(test_sizes),
                                     TEST(test_no_state),
                                     TEST(test_no_links),
                                     TEST(test_read_only),
                                     TEST(test_keys_are_files),
                                     TEST(test_long_paths),
                                     TEST(test_unlinked_files),
                                     TEST(test_full),
                                     TEST(test_moved_without_keys),
                                     TEST(test_deleted_names_are_paid_for),
                                     TEST(test_listings_are_bounded),
                                     TEST(test_large_listings_are_sorted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
