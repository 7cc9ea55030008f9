/* WASI preview 1, function by function, on a guest without an engine. */
#include "runtime/host/wasi/wasi.h"

#include "tests/fake_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  SUCCESS = 0,
  ACCES = 2,
  BADF = 8,
  FAULT = 21,
  FBIG = 22,
  ILSEQ = 25,
  INVAL = 28,
  ISDIR = 31,
  LOOP = 32,
  MFILE = 33,
  NAMETOOLONG = 37,
  NOENT = 44,
  NOTDIR = 54,
  ROFS = 69,
  NOTCAPABLE = 76
};
enum { RIGHT_READ = 1 << 1, RIGHT_SEEK = 1 << 2, RIGHT_WRITE = 1 << 6 };
#define ALL_RIGHTS (~(uint64_t)RIGHT_WRITE)
enum { OUT_OF_BOUNDS = GUEST_BYTES - 3 };

static struct wasi *wasi;
static char directory[64];

/* The one call form: name, then the parameters as i64; narrow ones keep their low bits. Returns the errno. */
static enum gw_trap last_trap;
static uint32_t call_values(const char *name, const uint64_t *parameters, size_t n) {
  return guest_call_wasi(wasi_resolve, wasi, name, parameters, n, &last_trap);
}
#define CALL(name, ...) call_values(name, (uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8)

static void open_wasi(const struct wasi_options *options) {
  struct gw_error err = {0};
  guest_init();
  wasi = wasi_create(options, &err);
  if (!wasi) print_error("%s\n", err.message);
  assert_non_null(wasi);
}

static const char *const args[] = {"program", "-x", NULL}, *const env[] = {"A=1", "LONG=value", NULL};

static int setup(void **state) {
  (void)state;
  open_wasi(&(struct wasi_options){.args = args,
                                   .env = env,
                                   .stdin_fd = -1,
                                   .stdout_fd = -1,
                                   .stderr_fd = -1,
                                   .stdin_bytes = "the input",
                                   .stdin_size = 9,
                                   .output_limit = 100});
  return 0;
}

static int teardown(void **state) {
  (void)state;
  wasi_destroy(wasi);
  guest_clear();
  return 0;
}

/* --- arguments, clocks, random, exit ------------------------------------------------------------------------------ */

static void test_args(void **state) {
  (void)state;
  assert_int_equal(CALL("args_sizes_get", 0, 4), SUCCESS);
  assert_int_equal(guest_u32(0), 2);
  assert_int_equal(guest_u32(4), 11);
  assert_int_equal(CALL("args_get", 16, 100), SUCCESS);
  assert_string_equal((char *)guest.memory + guest_u32(16), "program");
  assert_string_equal((char *)guest.memory + guest_u32(20), "-x");
  assert_int_equal(CALL("environ_sizes_get", 0, 4), SUCCESS);
  assert_int_equal(guest_u32(4), 15);
  assert_int_equal(CALL("environ_get", 16, GUEST_BYTES - 15), SUCCESS);
  assert_string_equal((char *)guest.memory + guest_u32(20), "LONG=value");
  assert_int_equal(CALL("environ_get", 16, GUEST_BYTES - 14), FAULT);
  assert_int_equal(CALL("environ_get", GUEST_BYTES - 7, 0), FAULT);
  assert_int_equal(CALL("args_sizes_get", OUT_OF_BOUNDS, 0), FAULT);
  assert_int_equal(CALL("args_sizes_get", 0, UINT32_MAX), FAULT);
}

static void test_clocks_and_random(void **state) {
  (void)state;
  assert_false(guest.is_unrepeatable);
  assert_int_equal(CALL("clock_res_get", 0, 0), SUCCESS);
  assert_int_equal(CALL("clock_res_get", 4, 0), INVAL);
  assert_false(guest.is_unrepeatable);
  for (uint64_t id = 0; id < 4; id++) assert_int_equal(CALL("clock_time_get", id, 0, 8 * id), SUCCESS);
  assert_true(guest_u64(0) > 1600000000000000000);
  assert_int_equal(CALL("clock_time_get", 4, 0, 0), INVAL);
  assert_int_equal(CALL("clock_time_get", 0, 0, GUEST_BYTES - 7), FAULT);
  assert_true(guest.is_unrepeatable);
  teardown(NULL);
  setup(NULL);
  assert_int_equal(CALL("random_get", 100, 16), SUCCESS);
  assert_true(guest_u64(100) != guest_u64(108));
  assert_true(guest.is_unrepeatable);
  assert_int_equal(CALL("random_get", 1, GUEST_BYTES), FAULT);
  uint64_t before = guest_gas_used();
  CALL("random_get", 0, 1000);
  const uint32_t *gas = schedule_default()->gas;
  assert_int_equal(guest_gas_used() - before, gas[COST_HOST_SYSTEM_CALL] + 1000 * gas[COST_HOST_RANDOM_BYTE]);
}

static void test_deterministic(void **state) {
  (void)state;
  wasi_destroy(wasi);
  uint64_t first[3];
  for (int round = 0; round < 2; round++) {
    open_wasi(&(struct wasi_options){.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .deterministic = true});
    assert_int_equal(CALL("random_get", 0, 8), SUCCESS);
    assert_int_equal(CALL("random_get", 8, 8), SUCCESS);
    assert_int_equal(CALL("clock_time_get", 0, 0, 16), SUCCESS);
    assert_true(guest_u64(0) != guest_u64(8));
    assert_int_equal(guest_u64(16), 946684800000001000);
    assert_false(guest.is_unrepeatable);
    if (round) assert_memory_equal(first, guest.memory, sizeof first);
    memcpy(first, guest.memory, sizeof first);
    if (!round) wasi_destroy(wasi);
  }
}

static void test_exit(void **state) {
  (void)state;
  CALL("proc_exit", 42);
  assert_int_equal(last_trap, GW_TRAP_EXIT);
  assert_int_equal(wasi_exit_code(wasi), 42);
  assert_int_equal(CALL("sched_yield", 0), SUCCESS);
  assert_int_equal(last_trap, GW_TRAP_NONE);
}

/* --- standard streams --------------------------------------------------------------------------------------------- */

/* An iovec at `at`. */
static void put_iovec(uint32_t at, uint32_t ptr, uint32_t size) {
  guest_put_u32(at, ptr);
  guest_put_u32(at + 4, size);
}

static void test_write(void **state) {
  (void)state;
  guest_put(1000, "hello world");
  put_iovec(0, 1000, 5);
  put_iovec(8, 1000, 0);
  put_iovec(16, 1005, 6);
  uint64_t before = guest_gas_used();
  assert_int_equal(CALL("fd_write", 1, 0, 3, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 11);
  assert_int_equal(guest_gas_used() - before, 11 + 3 * schedule_default()->gas[COST_HOST_ITEM]);
  assert_int_equal(wasi_stdout(wasi)->size, 11);
  assert_memory_equal(wasi_stdout(wasi)->bytes, "hello world", 11);
  assert_int_equal(CALL("fd_write", 2, 0, 1, 100), SUCCESS);
  assert_int_equal(wasi_stderr(wasi)->size, 5);
  assert_int_equal(CALL("fd_write", 0, 0, 1, 100), NOTCAPABLE);
  assert_int_equal(CALL("fd_write", 3, 0, 1, 100), BADF);
  assert_int_equal(CALL("fd_write", UINT32_MAX, 0, 1, 100), BADF);
  assert_int_equal(CALL("fd_write", 1, 0, 1, OUT_OF_BOUNDS), FAULT);
  assert_int_equal(CALL("fd_write", 1, GUEST_BYTES - 8, 2, 100), FAULT);
  assert_int_equal(CALL("fd_write", 1, 0, 0x20000001, 100), INVAL); /* count times 8 wraps in 32 bits */
  put_iovec(0, GUEST_BYTES - 4, 5);
  assert_int_equal(CALL("fd_write", 1, 0, 1, 100), FAULT);
  put_iovec(0, UINT32_MAX, UINT32_MAX);
  assert_int_equal(CALL("fd_write", 1, 0, 1, 100), FAULT);
  assert_int_equal(wasi_stdout(wasi)->size, 11);
  put_iovec(0, 0, 90); /* 11 + 90 is beyond the limit of 100 */
  assert_int_equal(CALL("fd_write", 1, 0, 1, 100), FBIG);
  put_iovec(0, 0, 89);
  assert_int_equal(CALL("fd_write", 1, 0, 1, 100), SUCCESS);
}

static void test_many_iovecs_make_a_short_write(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 80; i++) put_iovec(8 * i, 1000, 1);
  assert_int_equal(CALL("fd_write", 1, 0, 80, 2000), SUCCESS);
  assert_int_equal(guest_u32(2000), 64);
  for (uint32_t i = 0; i < 79; i++) put_iovec(8 * i, 1000, 0);
  put_iovec(8 * 79, 1000, 3);
  assert_int_equal(CALL("fd_write", 1, 0, 80, 2000), SUCCESS);
  assert_int_equal(guest_u32(2000), 3);
}

static void test_out_of_gas_comes_before_the_write(void **state) {
  (void)state;
  put_iovec(0, 1000, 50);
  guest.gas = schedule_default()->gas[COST_HOST_ITEM] + 49;
  CALL("fd_write", 1, 0, 1, 100);
  assert_int_equal(last_trap, GW_TRAP_OUT_OF_GAS);
  assert_int_equal(wasi_stdout(wasi)->size, 0);
}

static void test_read(void **state) {
  (void)state;
  put_iovec(0, 1000, 3);
  put_iovec(8, 2000, 100);
  assert_int_equal(CALL("fd_read", 0, 0, 2, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 9);
  assert_memory_equal(guest.memory + 1000, "the", 3);
  assert_memory_equal(guest.memory + 2000, " input", 6);
  assert_int_equal(CALL("fd_read", 0, 0, 2, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 0);
  assert_int_equal(CALL("fd_pread", 0, 0, 1, 4, 100), SUCCESS);
  assert_memory_equal(guest.memory + 1000, "inp", 3);
  assert_int_equal(CALL("fd_pread", 0, 0, 1, UINT64_MAX, 100), INVAL);
  assert_int_equal(CALL("fd_tell", 0, 200), SUCCESS);
  assert_int_equal(guest_u64(200), 9);
  assert_int_equal(CALL("fd_seek", 0, (uint64_t)-2, 1, 200), SUCCESS);
  assert_int_equal(guest_u64(200), 7);
  assert_int_equal(CALL("fd_seek", 0, (uint64_t)-10, 2, 200), INVAL);
  assert_int_equal(CALL("fd_seek", 0, INT64_MAX, 1, 200), INVAL);
  assert_int_equal(CALL("fd_seek", 0, 0, 3, 200), INVAL);
  assert_int_equal(CALL("fd_seek", 0, 100, 0, 200), SUCCESS);
  assert_int_equal(CALL("fd_read", 0, 0, 1, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 0);
  assert_int_equal(CALL("fd_read", 1, 0, 1, 100), NOTCAPABLE);
  assert_int_equal(CALL("fd_seek", 1, 0, 0, 200), NOTCAPABLE);
}

static void test_fdstat(void **state) {
  (void)state;
  assert_int_equal(CALL("fd_fdstat_get", 1, 0), SUCCESS);
  assert_int_equal(guest.memory[0], 4); /* a regular file */
  assert_true(guest_u64(8) & RIGHT_WRITE);
  assert_false(guest_u64(8) & (RIGHT_READ | RIGHT_SEEK));
  assert_int_equal(CALL("fd_fdstat_get", 1, GUEST_BYTES - 23), FAULT);
  assert_int_equal(CALL("fd_filestat_get", 0, 0), SUCCESS);
  assert_int_equal(guest_u64(32), 9);
  assert_int_equal(CALL("fd_fdstat_set_flags", 0, 4), SUCCESS);
  assert_int_equal(CALL("fd_fdstat_get", 0, 0), SUCCESS);
  assert_int_equal(guest.memory[2], 4);
  assert_int_equal(CALL("fd_fdstat_set_flags", 0, 32), INVAL);
  assert_int_equal(CALL("fd_fdstat_set_rights", 1, UINT64_MAX, 0), NOTCAPABLE);
  assert_int_equal(CALL("fd_fdstat_set_rights", 1, 0, 0), SUCCESS);
  put_iovec(0, 1000, 1);
  assert_int_equal(CALL("fd_write", 1, 0, 1, 100), NOTCAPABLE);
}

static void test_close_and_renumber(void **state) {
  (void)state;
  assert_int_equal(CALL("fd_renumber", 2, 1), SUCCESS);
  put_iovec(0, 1000, 1);
  assert_int_equal(CALL("fd_write", 1, 0, 1, 100), SUCCESS);
  assert_int_equal(wasi_stderr(wasi)->size, 1);
  assert_int_equal(CALL("fd_write", 2, 0, 1, 100), BADF);
  assert_int_equal(CALL("fd_renumber", 1, 7), BADF);
  assert_int_equal(CALL("fd_close", 1), SUCCESS);
  assert_int_equal(CALL("fd_close", 1), BADF);
}

static void test_reset(void **state) {
  (void)state;
  put_iovec(0, 1000, 5);
  CALL("fd_write", 1, 0, 1, 100);
  CALL("fd_close", 0);
  CALL("proc_exit", 3);
  struct gw_error err = {0};
  const char *const other[] = {"other", NULL};
  struct wasi_options options = {
      .args = other, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .stdin_bytes = "x", .stdin_size = 1};
  assert_true(wasi_reset(wasi, &options, &err));
  assert_int_equal(wasi_stdout(wasi)->size, 0);
  assert_int_equal(wasi_exit_code(wasi), 0);
  assert_int_equal(CALL("args_sizes_get", 0, 4), SUCCESS);
  assert_int_equal(guest_u32(4), 6);
  assert_int_equal(CALL("environ_sizes_get", 0, 4), SUCCESS);
  assert_int_equal(guest_u32(0), 0);
  put_iovec(0, 1000, 5);
  assert_int_equal(CALL("fd_read", 0, 0, 1, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 1);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void write_file(const char *name, const char *text) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void make_link(const char *name, const char *target) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  assert_int_equal(symlink(target, path), 0);
}

/* What one invocation wrote is not kept by an instance that is idle: neither stream's buffer. */
static void test_large_outputs_are_given_back(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct wasi_options options = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
  assert_true(wasi_reset(wasi, &options, &err));
  guest_put_u32(0, 0);
  guest_put_u32(4, GUEST_BYTES);
  for (uint32_t fd = 1; fd <= 2; fd++)
    for (int i = 0; i < 100; i++) assert_int_equal(CALL("fd_write", fd, 0, 1, 8), SUCCESS);
  guest.gas = guest.limit;
  assert_int_equal(wasi_stderr(wasi)->size, 100 * GUEST_BYTES);
  assert_true(wasi_reset(wasi, &options, &err));
  assert_in_range(wasi_stdout(wasi)->capacity + wasi_stderr(wasi)->capacity, 0, 2 << 20);
}

static int setup_files(void **state) {
  (void)state;
  char path[128];
  snprintf(directory, sizeof directory, "/tmp/gasworks-wasi-XXXXXX");
  if (!mkdtemp(directory)) return -1;
  write_file("secret", "outside");
  snprintf(path, sizeof path, "%s/in", directory);
  mkdir(path, 0700);
  snprintf(path, sizeof path, "%s/in/sub", directory);
  mkdir(path, 0700);
  write_file("in/file", "0123456789");
  snprintf(path, sizeof path, "%s/in/pipe", directory);
  mkfifo(path, 0600);
  make_link("in/good", "file");
  make_link("in/up", "../secret");
  make_link("in/absolute", "/etc/passwd");
  snprintf(path, sizeof path, "%s/in", directory);
  struct wasi_preopen preopen = {.guest_path = "/data", .host_path = path, .is_readonly = true};
  open_wasi(&(struct wasi_options){.preopens = &preopen, .n_preopens = 1, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1});
  return 0;
}

static int teardown_files(void **state) {
  static const char *const names[] = {"in/file", "in/pipe", "in/good", "in/up", "in/absolute", "secret"};
  char path[128];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", directory, names[i]);
    unlink(path);
  }
  snprintf(path, sizeof path, "%s/in/sub", directory);
  rmdir(path);
  snprintf(path, sizeof path, "%s/in", directory);
  rmdir(path);
  rmdir(directory);
  return teardown(state);
}

/* Opens beneath descriptor 3; the number of the new descriptor is at 500. */
static uint32_t open_path(const char *path, uint32_t follow, uint32_t oflags, uint64_t rights) {
  uint32_t size = guest_put(3000, path);
  return CALL("path_open", 3, follow, 3000, size, oflags, rights, rights, 0, 500);
}

static void test_preopens(void **state) {
  (void)state;
  assert_int_equal(CALL("fd_prestat_get", 3, 0), SUCCESS);
  assert_int_equal(guest.memory[0], 0);
  assert_int_equal(guest_u32(4), 5);
  assert_int_equal(CALL("fd_prestat_dir_name", 3, 100, 5), SUCCESS);
  assert_memory_equal(guest.memory + 100, "/data", 5);
  assert_int_equal(CALL("fd_prestat_dir_name", 3, 100, 4), NAMETOOLONG);
  assert_int_equal(CALL("fd_prestat_dir_name", 3, GUEST_BYTES - 4, 5), FAULT);
  assert_int_equal(CALL("fd_prestat_get", 4, 0), BADF);
  assert_int_equal(CALL("fd_prestat_get", 1, 0), BADF);
  assert_int_equal(CALL("fd_fdstat_get", 3, 0), SUCCESS);
  assert_int_equal(guest.memory[0], 3);
  assert_true(guest_u64(16) & RIGHT_READ);
  put_iovec(0, 1000, 5);
  assert_int_equal(CALL("fd_read", 3, 0, 1, 100), ISDIR);
}

static void test_open_and_read(void **state) {
  (void)state;
  assert_int_equal(open_path("file", 1, 0, ALL_RIGHTS), SUCCESS);
  uint32_t fd = guest_u32(500);
  assert_int_equal(fd, 4);
  put_iovec(0, 1000, 4);
  assert_int_equal(CALL("fd_read", fd, 0, 1, 100), SUCCESS);
  assert_memory_equal(guest.memory + 1000, "0123", 4);
  assert_int_equal(CALL("fd_pread", fd, 0, 1, 8, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 2);
  assert_int_equal(CALL("fd_seek", fd, (uint64_t)-1, 2, 200), SUCCESS);
  assert_int_equal(guest_u64(200), 9);
  assert_int_equal(CALL("fd_filestat_get", fd, 0), SUCCESS);
  assert_int_equal(guest_u64(32), 10);
  assert_int_equal(guest.memory[16], 4);
  assert_int_equal(CALL("fd_advise", fd, 0, 0, 1), SUCCESS);
  assert_int_equal(CALL("fd_advise", fd, 0, 0, 6), INVAL);
  put_iovec(0, 1000, 4);
  assert_int_equal(CALL("fd_write", fd, 0, 1, 100), NOTCAPABLE);
  assert_int_equal(CALL("path_open", fd, 1, 3000, 4, 0, ALL_RIGHTS, 0, 0, 500), NOTDIR);
  assert_int_equal(CALL("fd_close", fd), SUCCESS);
  assert_int_equal(open_path("good", 1, 0, ALL_RIGHTS), SUCCESS);
  assert_int_equal(open_path("good", 0, 0, ALL_RIGHTS), LOOP);
  assert_int_equal(open_path("file", 1, 0, 0), SUCCESS); /* no rights asked for, none given */
  assert_int_equal(CALL("fd_read", guest_u32(500), 0, 1, 100), NOTCAPABLE);
}

static void test_no_way_out(void **state) {
  (void)state;
  static const char *const outside[] = {"../secret", "sub/../../secret", "/etc/passwd", "up", "absolute", "..", "/"};
  for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
    assert_int_equal(open_path(outside[i], 1, 0, ALL_RIGHTS), NOTCAPABLE);
    uint32_t size = guest_put(3000, outside[i]);
    assert_int_equal(CALL("path_filestat_get", 3, 1, 3000, size, 0), NOTCAPABLE);
  }
  assert_int_equal(open_path("sub/../file", 1, 0, ALL_RIGHTS), SUCCESS); /* it stays inside */
  assert_int_equal(open_path("pipe", 1, 0, ALL_RIGHTS), ACCES);
  assert_int_equal(open_path("missing", 1, 0, ALL_RIGHTS), NOENT);
  assert_int_equal(open_path("", 1, 0, ALL_RIGHTS), NOENT);
  assert_int_equal(open_path("file", 1, 2, ALL_RIGHTS), NOTDIR);
  memcpy(guest.memory + 3000, "fi\0e", 4);
  assert_int_equal(CALL("path_open", 3, 1, 3000, 4, 0, ALL_RIGHTS, 0, 0, 500), ILSEQ);
  assert_int_equal(CALL("path_open", 3, 1, 3000, 4096, 0, ALL_RIGHTS, 0, 0, 500), NAMETOOLONG);
  assert_int_equal(CALL("path_open", 3, 1, GUEST_BYTES - 1, 2, 0, ALL_RIGHTS, 0, 0, 500), FAULT);
  assert_int_equal(CALL("path_open", 3, 1, 3000, 4, 0, ALL_RIGHTS, 0, 0, OUT_OF_BOUNDS), FAULT);
}

static void test_nothing_can_be_written(void **state) {
  (void)state;
  assert_int_equal(open_path("file", 1, 1, ALL_RIGHTS), ROFS);
  assert_int_equal(open_path("file", 1, 8, ALL_RIGHTS), ROFS);
  assert_int_equal(open_path("file", 1, 0, RIGHT_WRITE), ROFS);
  guest_put(3000, "file");
  assert_int_equal(CALL("path_unlink_file", 3, 3000, 4), ROFS);
  assert_int_equal(CALL("path_create_directory", 3, 3000, 4), ROFS);
  assert_int_equal(CALL("path_remove_directory", 3, 3000, 4), ROFS);
  assert_int_equal(CALL("path_rename", 3, 3000, 4, 3, 3000, 4), ROFS);
  assert_int_equal(CALL("path_symlink", 3000, 4, 3, 3000, 4), ROFS);
  assert_int_equal(CALL("path_symlink", 3000, 4, 9, 3000, 4), BADF);
  assert_int_equal(CALL("path_link", 3, 0, 3000, 4, 3, 3000, 4), ROFS);
  assert_int_equal(CALL("path_filestat_set_times", 3, 0, 3000, 4, 0, 0, 0), ROFS);
  assert_int_equal(CALL("fd_allocate", 3, 0, 0), ISDIR);
  assert_int_equal(CALL("fd_pwrite", 3, 0, 0, 0, 0), ISDIR);
  assert_int_equal(CALL("fd_filestat_set_size", 9, 0), BADF);
}

static void test_looking(void **state) {
  (void)state;
  guest_put(3000, "good");
  assert_int_equal(CALL("path_filestat_get", 3, 1, 3000, 4, 0), SUCCESS);
  assert_int_equal(guest.memory[16], 4);
  assert_int_equal(guest_u64(32), 10);
  assert_true(guest_u64(48) > 1600000000000000000);
  assert_int_equal(CALL("path_filestat_get", 3, 0, 3000, 4, 0), SUCCESS);
  assert_int_equal(guest.memory[16], 7);
  assert_int_equal(CALL("path_filestat_get", 3, 1, 3000, 4, GUEST_BYTES - 63), FAULT);
  assert_int_equal(CALL("path_readlink", 3, 3000, 4, 100, 64, 0), SUCCESS);
  assert_int_equal(guest_u32(0), 4);
  assert_memory_equal(guest.memory + 100, "file", 4);
  assert_int_equal(CALL("path_readlink", 3, 3000, 4, 200, 2, 0), SUCCESS);
  assert_int_equal(guest_u32(0), 2);
  assert_memory_equal(guest.memory + 200, "fi\0", 3);
  guest_put(3000, "file");
  assert_int_equal(CALL("path_readlink", 3, 3000, 4, 100, 64, 0), INVAL);
}

static void test_readdir(void **state) {
  (void)state;
  int files = 0, directories = 0, links = 0;
  uint64_t cookie = 0;
  for (;;) { /* a buffer so small that it holds one entry, or part of the second */
    assert_int_equal(CALL("fd_readdir", 3, 1000, 40, cookie, 0), SUCCESS);
    uint32_t used = guest_u32(0);
    if (used < 24) break;
    assert_true(used >= 24 + guest_u32(1016));
    files += guest.memory[1020] == 4 && !memcmp(guest.memory + 1024, "file", 4);
    directories += guest.memory[1020] == 3;
    links += guest.memory[1020] == 7;
    cookie = guest_u64(1000);
  }
  assert_int_equal(files, 1);
  assert_int_equal(directories, 3); /* ".", "..", sub */
  assert_int_equal(links, 3);
  assert_int_equal(CALL("fd_readdir", 3, 1000, 4096, 0, 0), SUCCESS);
  assert_in_range(guest_u32(0), 8 * 24, 4095);
  assert_int_equal(CALL("fd_readdir", 1, 1000, 4096, 0, 0), NOTDIR);
  assert_int_equal(CALL("fd_readdir", 3, 1000, GUEST_BYTES, 0, 0), FAULT);
}

static void test_descriptors_are_bounded(void **state) {
  (void)state;
  int opened = 0;
  while (opened < 1000 && open_path("file", 1, 0, ALL_RIGHTS) == SUCCESS) opened++;
  assert_int_equal(opened, 256 - 4);
  assert_int_equal(open_path("file", 1, 0, ALL_RIGHTS), MFILE);
}

static void test_missing_preopen(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct wasi_preopen preopen = {.guest_path = "/", .host_path = "/no/such/directory"};
  struct wasi_options options = {.preopens = &preopen, .n_preopens = 1, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
  assert_null(wasi_create(&options, &err));
  assert_non_null(strstr(err.message, "/no/such/directory"));
}

/* --- host streams and polling ------------------------------------------------------------------------------------- */

static void put_clock(uint32_t at, uint64_t userdata, uint64_t ns) {
  memset(guest.memory + at, 0, 48);
  guest_put_u64(at, userdata);
  guest_put_u32(at + 16, 1);
  guest_put_u64(at + 24, ns);
}

static void put_poll_fd(uint32_t at, uint64_t userdata, uint8_t type, uint32_t fd) {
  memset(guest.memory + at, 0, 48);
  guest_put_u64(at, userdata);
  guest.memory[at + 8] = type;
  guest_put_u32(at + 16, fd);
}

static void test_host_streams(void **state) {
  (void)state;
  int in[2], out[2];
  assert_int_equal(pipe(in) | pipe(out), 0);
  teardown(NULL);
  open_wasi(&(struct wasi_options){.stdin_fd = in[0], .stdout_fd = out[1], .stderr_fd = -1});
  put_iovec(0, 1000, 10);
  assert_int_equal(CALL("fd_fdstat_set_flags", 0, 4), SUCCESS);
  assert_int_equal(CALL("fd_read", 0, 0, 1, 100), 6); /* EAGAIN */
  put_clock(3000, 7, 20 * 1000000);
  put_poll_fd(3048, 8, 1, 0);
  assert_int_equal(CALL("poll_oneoff", 3000, 4000, 2, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 1);
  assert_int_equal(guest_u64(4000), 7);
  assert_int_equal(write(in[1], "abc", 3), 3);
  assert_int_equal(CALL("poll_oneoff", 3000, 4000, 2, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 1);
  assert_int_equal(guest_u64(4000), 8);
  assert_int_equal(guest.memory[4010], 1);
  assert_int_equal(CALL("fd_read", 0, 0, 1, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 3);
  assert_int_equal(CALL("fd_write", 1, 0, 1, 100), SUCCESS);
  char bytes[16];
  assert_int_equal(read(out[0], bytes, sizeof bytes), 10);
  assert_memory_equal(bytes, "abc", 3);
  close(in[1]); /* the other end has hung up: that is an event too, beside a clock that has rung */
  put_clock(3000, 7, 0);
  assert_int_equal(CALL("poll_oneoff", 3000, 4000, 2, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 2);
  assert_int_equal(guest_u64(4000), 7);
  assert_int_equal(guest_u64(4032), 8);
  assert_int_equal(guest_u64(4032 + 16), 0);
  assert_int_equal(guest.memory[4032 + 24], 1);
  assert_int_equal(CALL("fd_close", 1), SUCCESS);
  assert_true(fcntl(out[1], F_GETFD) >= 0); /* not the guest's to close */
  close(in[0]), close(out[0]), close(out[1]);
}

static void test_poll(void **state) {
  (void)state;
  put_clock(3000, 7, UINT64_MAX); /* on a server a sleep ends at once */
  assert_int_equal(CALL("poll_oneoff", 3000, 4000, 1, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 1);
  put_poll_fd(3048, 8, 1, 0);
  put_poll_fd(3096, 9, 2, 77);
  put_poll_fd(3144, 10, 3, 0);
  assert_int_equal(CALL("poll_oneoff", 3000, 4000, 4, 100), SUCCESS);
  assert_int_equal(guest_u32(100), 4);
  assert_int_equal(guest_u64(4032 + 16), 9); /* bytes of the input */
  assert_int_equal(guest.memory[4064 + 8], BADF);
  assert_int_equal(guest.memory[4096 + 8], INVAL);
  assert_int_equal(CALL("poll_oneoff", 3000, 4000, 0, 100), INVAL);
  assert_int_equal(CALL("poll_oneoff", 0, 0, 1025, 100), INVAL);
  assert_int_equal(CALL("poll_oneoff", GUEST_BYTES - 47, 4000, 1, 100), FAULT);
  assert_int_equal(CALL("poll_oneoff", 3000, GUEST_BYTES - 31, 1, 100), FAULT);
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name, *signature;
} functions[] = {
#define WASI(name, signature, fd, kind, same, calls, rights) {#name, signature},
#include "runtime/host/wasi/wasi.def"
#undef WASI
};

/* Whatever numbers a guest passes: no crash, no sanitizer report; the table's columns are well formed. */
static void test_hostile_parameters(void **state) {
  (void)state;
  static const uint64_t odd[] = {0, 1, 3, 8, 65528, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, 1ull << 63};
  uint32_t random = 1;
  assert_int_equal(sizeof functions / sizeof *functions, 46);
  for (size_t f = 0; f < 46; f++) {
    const char *signature = functions[f].signature;
    assert_true(strspn(signature, "iI_") == strlen(signature) && strchr(signature, '_'));
    for (int round = 0; round < 2000; round++) {
      uint64_t parameters[10];
      for (int i = 0; i < 10; i++)
        parameters[i] = odd[(random = random * 1664525 + 1013904223) >> 16 & 7 ? (random >> 20) % 12 : 3];
      guest.gas = guest.limit;
      call_values(functions[f].name, parameters, 10);
    }
  }
}

/* The old module name: other numbers for "whence", smaller filestat. */
static void test_unstable(void **state) {
  (void)state;
  union gw_value values[4] = {{.i32 = 0}, {.i64 = 2}, {.i32 = 2}, {.i32 = 200}};
  guest_call(wasi_resolve, wasi, "wasi_unstable", "fd_seek", values);
  assert_int_equal(values[0].u32, SUCCESS);
  assert_int_equal(guest_u64(200), 2);
  memset(guest.memory, 0xee, 100);
  values[0].i32 = 0;
  values[1].i64 = 0;
  guest_call(wasi_resolve, wasi, "wasi_unstable", "fd_filestat_get", values);
  assert_int_equal(guest_u64(24), 9);
  assert_int_equal(guest.memory[56], 0xee);
  struct gw_import import = {"wasi_snapshot_preview2", "fd_read", 22, 7};
  struct gw_extern found;
  assert_false(wasi_resolve(wasi, &import, &found));
  import = (struct gw_import){"wasi_snapshot_preview1", "fd_rea", 22, 6};
  assert_false(wasi_resolve(wasi, &import, &found));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define TEST_FILES(name) cmocka_unit_test_setup_teardown(test_##name, setup_files, teardown_files)
  const struct CMUnitTest tests[] = {
      TEST(args),
      TEST(clocks_and_random),
      TEST(deterministic),
      TEST(exit),
      TEST(write),
      TEST(many_iovecs_make_a_short_write),
      TEST(out_of_gas_comes_before_the_write),
      TEST(read),
      TEST(fdstat),
      TEST(close_and_renumber),
      TEST(reset),
      TEST(large_outputs_are_given_back),
      TEST_FILES(preopens),
      TEST_FILES(open_and_read),
      TEST_FILES(no_way_out),
      TEST_FILES(nothing_can_be_written),
      TEST_FILES(looking),
      TEST_FILES(readdir),
      TEST_FILES(descriptors_are_bounded),
      TEST(missing_preopen),
      TEST(host_streams),
      TEST(poll),
      TEST(hostile_parameters),
      TEST_FILES(hostile_parameters),
      TEST(unstable),
  };
  return cmocka_run_group_tests_name("wasi", tests, NULL, NULL);
}
