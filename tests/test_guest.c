/* Programs made by a real toolchain, on the real engine: WASI and the handle interface from end to end, without the server. */
#include "runtime/host/handler.h"
#include "runtime/host/wasi/wasi.h"

#include "base/buffer.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];

/* --- helpers ------------------------------------------------------------------------------------------------------ */

static const char *path_of(const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static void run_shell(const char *format, ...) {
  char command[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  if (system(command) != 0) fail_msg("%s", command);
}

static int setup(void **state) {
  (void)state;
  snprintf(directory, sizeof directory, "/tmp/gasworks-guest-XXXXXX");
  if (!mkdtemp(directory)) return -1;
  run_shell("cd %s && mkdir data data/sub && printf 'hello file' >data/file && echo x >secret && ln -s ../secret data/up && "
            "ln -s file data/link",
            directory);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  run_shell("rm -r %s", directory);
  return 0;
}

/* Compiles tests/guest/NAME.c. */
static struct gw_module *build(struct gw_engine *engine, const char *name, const char *flags) {
  run_shell("clang-22 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 -I %s/sdk/c %s %s/tests/guest/%s.c -o %s",
            SOURCE_DIR, flags, SOURCE_DIR, name, path_of("guest.wasm"));
  struct buffer bytes = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&bytes, path_of("guest.wasm"), 16 << 20, &err));
  struct gw_module *module = gw_module_create(engine, bytes.bytes, bytes.size, &err);
  buffer_clear(&bytes);
  if (!module) fail_msg("%s", err.message);
  return module;
}

static void expect_text(const struct buffer *b, const char *expected) {
  if (b->size != strlen(expected) || memcmp(b->bytes, expected, b->size))
    fail_msg("expected:\n%s\ngot:\n%.*s", expected, (int)b->size, (char *)b->bytes);
}

/* --- WASI --------------------------------------------------------------------------------------------------------- */

static const char files_expected[] = "2 arguments, x y, KEY=value\n"
                                     "hello file, third byte l\n"
                                     "10 bytes\n"
                                     "6 entries\n"
                                     "/data/link: open\n"
                                     "/data/sub/../../secret: Capabilities insufficient\n"
                                     "/data/up: Capabilities insufficient\n"
                                     "/other: Capabilities insufficient\n"
                                     "/data/new: Read-only file system\n"
                                     "unlink: Read-only file system\n"
                                     "> one\n"
                                     "> two\n";

/* Returns the gas it took. */
static uint64_t run_files(uint32_t opt_level, bool gas) {
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = opt_level, .gas = gas}, &err);
  struct gw_module *module = build(engine, "wasi_files", "");
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){0}, &err);
  const char *const args[] = {"program", "x y", NULL}, *const env[] = {"KEY=value", NULL};
  struct wasi_preopen preopen = {.guest_path = "/data", .host_path = path_of("data"), .is_readonly = true};
  struct wasi_options options = {.args = args,
                                 .env = env,
                                 .preopens = &preopen,
                                 .n_preopens = 1,
                                 .stdin_fd = -1,
                                 .stdout_fd = -1,
                                 .stderr_fd = -1,
                                 .stdin_bytes = "one\ntwo\n",
                                 .stdin_size = 8};
  struct wasi *wasi = wasi_create(&options, &err);
  struct gw_instance *instance = gw_instance_create(store, module, wasi_resolve, wasi, &err);
  if (!instance || !gw_call_export(instance, "_start", NULL, 0, &err)) fail_msg("%s", err.message);
  expect_text(wasi_stdout(wasi), files_expected);
  expect_text(wasi_stderr(wasi), "done\n");
  assert_int_equal(wasi_exit_code(wasi), 7);
  uint64_t used = gw_store_gas_used(store);
  gw_store_destroy(store);
  wasi_destroy(wasi);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return used;
}

static void test_wasi_program(void **state) {
  (void)state;
  uint64_t gas = run_files(2, true);
  assert_true(gas > 0);
  assert_int_equal(run_files(0, true), gas);
  assert_int_equal(run_files(2, false), 0);
}

/* --- handle ------------------------------------------------------------------------------------------------------- */

static void on_commit(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  (void)err;
  *(enum state_outcome *)arg = outcome;
}

static void run_handle(struct gw_instance *instance, struct handler *h, struct state_store *store, const char *expected) {
  struct gw_error err = {0};
  handler_reset(h);
  h->txn = state_txn_begin(store, "guest");
  if (!gw_call_export(instance, "handle", NULL, 0, &err)) fail_msg("%s", err.message);
  expect_text(&h->reply, expected);
  expect_text(&h->reply_headers, "X-Count: many\r\n");
  expect_text(&h->log, "a line\n");
  assert_int_equal(h->status, 201);
  enum state_outcome outcome = STATE_FAILED;
  state_txn_commit(h->txn, on_commit, &outcome);
  h->txn = NULL;
  /* a commit is over when a later one is */
  assert_true(state_put(store, "other", "k", 1, "v", 1, &err));
  assert_int_equal(outcome, STATE_COMMITTED);
}

/* A handler that uses the C library's printing imports some of WASI, too. */
struct both {
  struct handler *handler;
  struct wasi *wasi;
};

static bool resolve_both(void *env, const struct gw_import *import, struct gw_extern *out) {
  const struct both *both = env;
  return handler_resolve(both->handler, import, out) || wasi_resolve(both->wasi, import, out);
}

static void test_handle_program(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct state_store *states = state_store_open(path_of("state"), 1 << 20, false, &err);
  assert_non_null(states);
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true}, &err);
  struct gw_module *module = build(engine, "handle", "-mexec-model=reactor");
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 1000000000}, &err);
  const struct handler_header headers[] = {{"accept", "text/html"}};
  struct handler h = {
      .method = "PUT", .path = "/x", .query = "a=b", .headers = headers, .n_headers = 1, .body = "body", .body_size = 4};
  struct wasi_options options = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
  struct both both = {&h, wasi_create(&options, &err)};
  struct gw_instance *instance = gw_instance_create(store, module, resolve_both, &both, &err);
  if (!instance) fail_msg("%s", err.message);
  run_handle(instance, &h, states, "PUT /x?a=b text/html 1 3/4 ody 1 1 87187836108905 1\n");
  assert_true(gw_instance_reset(instance, &err));
  run_handle(instance, &h, states, "PUT /x?a=b text/html 1 3/4 ody 0 2 173087182029005 1\n");

  /* without a transaction the first state call traps, and says so */
  handler_reset(&h);
  assert_false(gw_call_export(instance, "handle", NULL, 0, &err));
  assert_int_equal(err.trap, GW_TRAP_HOST);
  assert_non_null(strstr(err.message, "gasworks.state_get: this invocation has no state"));
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
  wasi_destroy(both.wasi);
  handler_clear(&h);
  state_store_close(states);
}

/* --- long work of the host ------------------------------------------------------------------------------------------ */

/* Random numbers for 4 MiB come in pieces, between which others run; they can be cancelled, and are not begun unpaid. */
static void test_random_in_pieces(void **state) {
  (void)state;
  enum { SIZE = 4 << 20, PIECES = SIZE / (64 << 10) };
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  struct gw_module *module = wat_module(
      engine, "(module (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result i32))) (memory 65)"
              " (func (export \"f\") (result i32) (call $random (i32.const 16) (i32.const 0x400000))))");
  for (int is_fixed = 0; is_fixed < 2; is_fixed++) {
    struct wasi_options options = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .deterministic = is_fixed};
    struct wasi *wasi = wasi_create(&options, &err);
    struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.slice = 1000}, &err);
    struct gw_instance *instance = gw_instance_create(store, module, wasi_resolve, wasi, &err);
    if (!instance) fail_msg("%s", err.message);
    struct gw_extern f;
    union gw_value value;
    assert_true(gw_instance_export(instance, "f", 1, &f));
    gw_store_start(store, f.of.func, &value);
    int n = 0;
    enum gw_status status;
    while ((status = gw_store_resume(store, &err)) == GW_STATUS_YIELDED) n++;
    assert_int_equal(status, GW_STATUS_DONE);
    assert_in_range(n, PIECES, PIECES + 10);
    uint64_t gas = gw_store_gas_used(store);
    const uint8_t *memory = gw_instance_memory(instance, 0, SIZE + 32);
    assert_true(memory[15] == 0 && memory[SIZE + 16] == 0);
    gw_store_start(store, f.of.func, &value);
    assert_int_equal(gw_store_resume(store, &err), GW_STATUS_YIELDED);
    gw_store_cancel(store);
    gw_store_set_gas_limit(store, gas - 1);
    assert_true(gw_instance_reset(instance, &err));
    assert_false(gw_call(store, f.of.func, &value, &err));
    assert_int_equal(err.trap, GW_TRAP_OUT_OF_GAS);
    assert_true(memory[16] == 0 && memory[1000] == 0);
    err = (struct gw_error){0};
    gw_store_set_gas_limit(store, gas);
    if (!gw_call(store, f.of.func, &value, &err)) fail_msg("%s", err.message);
    gw_store_destroy(store);
    wasi_destroy(wasi);
  }
  gw_module_release(module);
  gw_engine_destroy(engine);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_wasi_program, setup, teardown),
      cmocka_unit_test_setup_teardown(test_handle_program, setup, teardown),
      cmocka_unit_test(test_random_in_pieces),
  };
  return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
