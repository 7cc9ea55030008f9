/* What functions of WASI cost beyond their base (docs/gas.md, section 3): every row of the table there, by schedule and by count.
 * The prices are powers of ten here, so that a sum shows what it is made of. */
#include "runtime/host/wasi/wasi.h"

#include "tests/fake_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

enum { SUCCESS = 0, NOENT = 44, NOTCAPABLE = 76 };
enum { OUT = 64, IOV = 1024, PATH = 16384, DATA = 32768 };
enum { STDOUT = 1, ROOT = 3, FILE_FD = 4 };
enum { READ = 1 << 1, SEEK = 1 << 2, WRITE = 1 << 6, FILESTAT = 1 << 21, CREAT = 1 };

static struct wasi *wasi;
static char directory[64];
static enum gw_trap trap;

static uint32_t call_values(const char *name, const uint64_t *parameters, size_t n) {
  return guest_call_wasi(wasi_resolve, wasi, name, parameters, n, &trap);
}
#define CALL(name, ...) call_values(name, (uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8)

static void run_shell(const char *command) {
  char text[512];
  snprintf(text, sizeof text, "cd %s && %s", directory, command);
  if (system(text) != 0) fail_msg("%s", text);
}

static int setup(void **state) {
  (void)state;
  static const char *const args[] = {"program", "argument", NULL}, *const env[] = {"A=1", "B=2", "C=3", NULL};
  struct gw_error err = {0};
  snprintf(directory, sizeof directory, "/tmp/gasworks-wasi-gas-XXXXXX");
  if (!mkdtemp(directory)) return -1;
  run_shell("mkdir -p d/d && printf content >f && ln -s f link");
  struct wasi_preopen preopen = {.guest_path = "/", .host_path = directory};
  guest_init();
  wasi = wasi_create(
      &(struct wasi_options){
          .args = args, .env = env, .preopens = &preopen, .n_preopens = 1, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1},
      &err);
  return wasi ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  wasi_destroy(wasi);
  guest_clear();
  run_shell("rm -rf $PWD");
  return 0;
}

/* --- units -------------------------------------------------------------------------------------------------------- */

struct units {
  uint64_t calls, components, items, entries, random, bytes;
};

static uint64_t price(struct units u) {
  const uint32_t *gas = schedule_default()->gas;
  return u.calls * gas[COST_HOST_SYSTEM_CALL] + u.components * gas[COST_HOST_PATH_COMPONENT] + u.items * gas[COST_HOST_ITEM] +
         u.entries * gas[COST_HOST_ENTRY] + u.random * gas[COST_HOST_RANDOM_BYTE] + u.bytes * gas[COST_HOST_BYTE];
}

/* The call's result, and that it costs these units. */
#define COSTS(result, units, name, ...)                                             \
  do {                                                                              \
    uint64_t before = guest_gas_used();                                             \
    assert_int_equal(CALL(name, __VA_ARGS__), result);                              \
    uint64_t used = guest_gas_used() - before;                                      \
    if (used != price units) fail_msg("%s: %llu", #name, (unsigned long long)used); \
  } while (0)
#define UNITS(...) ((struct units){__VA_ARGS__})

static uint32_t put_path(const char *path) { return guest_put(PATH, path); }

/* --- paths -------------------------------------------------------------------------------------------------------- */

static void test_paths(void **state) {
  (void)state;
  COSTS(SUCCESS, UNITS(.calls = 4, .components = 1, .bytes = 1), "path_filestat_get", ROOT, 1, PATH, put_path("f"), OUT);
  COSTS(SUCCESS, UNITS(.calls = 4, .components = 2, .bytes = 3), "path_filestat_get", ROOT, 1, PATH, put_path("d/d"), OUT);
  COSTS(SUCCESS, UNITS(.calls = 4, .components = 3, .bytes = 6), "path_filestat_get", ROOT, 1, PATH, put_path("d/../f"), OUT);
  COSTS(SUCCESS, UNITS(.calls = 4, .components = 2, .bytes = 8), "path_filestat_get", ROOT, 1, PATH, put_path("d////d//"), OUT);
  COSTS(NOENT, UNITS(.calls = 4, .components = 2, .bytes = 6), "path_filestat_get", ROOT, 1, PATH, put_path("d/none"), OUT);
  COSTS(NOTCAPABLE, UNITS(.calls = 4, .components = 1, .bytes = 2), "path_filestat_get", ROOT, 1, PATH, put_path("/d"), OUT);
  COSTS(SUCCESS, UNITS(.calls = 5, .components = 1, .bytes = 4 + 1), "path_readlink", ROOT, PATH, put_path("link"), DATA, 100,
        OUT);
}

static void test_changes(void **state) {
  (void)state;
  COSTS(SUCCESS, UNITS(.calls = 30, .components = 1, .bytes = 3), "path_create_directory", ROOT, PATH, put_path("new"));
  COSTS(SUCCESS, UNITS(.calls = 30, .components = 1, .bytes = 3), "path_remove_directory", ROOT, PATH, put_path("new"));
  COSTS(SUCCESS, UNITS(.calls = 8 + 15, .components = 1, .bytes = 3), "path_open", ROOT, 1, PATH, put_path("new"), CREAT, WRITE,
        0, 0, OUT);
  COSTS(SUCCESS, UNITS(.calls = 15, .components = 1, .bytes = 3), "path_unlink_file", ROOT, PATH, put_path("new"));
  guest_put(DATA, "d/x");
  COSTS(SUCCESS, UNITS(.calls = 15, .components = 2 + 1, .bytes = 3 + 1), "path_symlink", DATA, 3, ROOT, PATH, put_path("s"));
  COSTS(SUCCESS, UNITS(.calls = 25, .components = 1 + 2, .bytes = 1 + 3), "path_rename", ROOT, PATH, put_path("s"), ROOT, DATA,
        3);
}

/* --- descriptors -------------------------------------------------------------------------------------------------- */

static void put_vectors(uint32_t n, uint32_t size) {
  for (uint32_t i = 0; i < n; i++) {
    guest_put_u32(IOV + 8 * i, DATA);
    guest_put_u32(IOV + 8 * i + 4, size);
  }
}

/* What they are on the host, a buffer or a file, costs the same. */
static void test_standard_streams(void **state) {
  (void)state;
  put_vectors(100, 0);
  COSTS(SUCCESS, UNITS(.items = 100), "fd_write", STDOUT, IOV, 100, OUT);
  COSTS(SUCCESS, UNITS(.items = 100), "fd_read", 0, IOV, 100, OUT);
  put_vectors(2, 10);
  COSTS(SUCCESS, UNITS(.items = 2, .bytes = 20), "fd_write", STDOUT, IOV, 2, OUT);
  COSTS(SUCCESS, UNITS(0), "fd_filestat_get", STDOUT, OUT);
}

static void test_files(void **state) {
  (void)state;
  COSTS(SUCCESS, UNITS(.calls = 8, .components = 1, .bytes = 1), "path_open", ROOT, 1, PATH, put_path("f"), 0,
        READ | WRITE | SEEK | FILESTAT, 0, 0, OUT);
  COSTS(SUCCESS, UNITS(.calls = 1), "fd_seek", FILE_FD, 0, 2, OUT);
  COSTS(SUCCESS, UNITS(.calls = 1), "fd_filestat_get", FILE_FD, OUT);
  put_vectors(64, 1);
  COSTS(SUCCESS, UNITS(.calls = 4 + 8, .items = 64, .bytes = 64), "fd_write", FILE_FD, IOV, 64, OUT);
  COSTS(SUCCESS, UNITS(.calls = 2 + 1, .items = 15, .bytes = 15), "fd_pread", FILE_FD, IOV, 15, 0, OUT);
  put_vectors(64, 0);
  COSTS(SUCCESS, UNITS(.calls = 2, .items = 64), "fd_read", FILE_FD, IOV, 64, OUT);
  COSTS(SUCCESS, UNITS(0), "fd_close", FILE_FD);
}

/* d, f, link, "." and "..": by entry when the listing begins, by what is copied at each call. */
static void test_listing(void **state) {
  (void)state;
  const uint64_t all = 5 * 24 + 1 + 1 + 4 + 1 + 2;
  COSTS(SUCCESS, UNITS(.calls = 6, .entries = 5, .bytes = all + all), "fd_readdir", ROOT, DATA, 1000, 0, OUT);
  COSTS(SUCCESS, UNITS(.calls = 6, .entries = 5, .bytes = all + 7), "fd_readdir", ROOT, DATA, 7, 0, OUT);
  COSTS(SUCCESS, UNITS(.bytes = 7), "fd_readdir", ROOT, DATA, 7, 1, OUT);
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

static void test_clocks_and_random_numbers(void **state) {
  (void)state;
  for (uint64_t id = 0; id < 4; id++) COSTS(SUCCESS, UNITS(.calls = id >= 2), "clock_time_get", id, 0, OUT);
  COSTS(SUCCESS, UNITS(.calls = 1, .random = 1000), "random_get", DATA, 1000);
  COSTS(SUCCESS, UNITS(.items = 2), "args_sizes_get", OUT, OUT + 4);
  COSTS(SUCCESS, UNITS(.items = 2, .bytes = 8 + 9 + 2 * 4), "args_get", DATA, DATA + 100);
  COSTS(SUCCESS, UNITS(.items = 3), "environ_sizes_get", OUT, OUT + 4);
  COSTS(SUCCESS, UNITS(.items = 3, .bytes = 3 * 4 + 3 * 4), "environ_get", DATA, DATA + 100);
}

/* A clock of CPU time and a descriptor are asked of the system, another clock is not. */
static void test_subscriptions(void **state) {
  (void)state;
  static const struct {
    uint8_t type, clock, calls;
  } rows[] = {{0, 0, 0}, {0, 1, 0}, {0, 2, 1}, {0, 3, 1}, {1, ROOT, 2}, {2, STDOUT, 2}};
  for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    memset(guest.memory + DATA, 0, 96);
    for (uint32_t k = 0; k < 2; k++) {
      guest.memory[DATA + 48 * k + 8] = rows[i].type;
      guest.memory[DATA + 48 * k + 16] = rows[i].clock;
    }
    COSTS(SUCCESS, UNITS(.calls = 1 + 2u * rows[i].calls, .items = 2, .bytes = 96), "poll_oneoff", DATA, DATA + 200, 2, OUT);
  }
}

/* Paid before anything is done: one gas less than a call costs, and nothing has changed. */
static void test_paid_before_it_happens(void **state) {
  (void)state;
  uint32_t size = put_path("new");
  guest.gas = (int64_t)price(UNITS(.calls = 30, .components = 1, .bytes = 3)) - 1;
  CALL("path_create_directory", ROOT, PATH, size);
  assert_int_equal(trap, GW_TRAP_OUT_OF_GAS);
  run_shell("test ! -e new");
  guest.gas = (int64_t)price(UNITS(.calls = 6, .entries = 5)) - 1;
  CALL("fd_readdir", ROOT, DATA, 1000, 0, OUT);
  assert_int_equal(trap, GW_TRAP_OUT_OF_GAS);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(paths),
      TEST(changes),
      TEST(standard_streams),
      TEST(files),
      TEST(listing),
      TEST(clocks_and_random_numbers),
      TEST(subscriptions),
      TEST(paid_before_it_happens),
  };
  return cmocka_run_group_tests_name("gas of WASI", tests, NULL, NULL);
}
