/* Nothing that WASI remembers of one request is visible to the next: open, closed, renumbered descriptors, their offsets, flags
 * and rights, listings of directories, output, exit code, clock, random numbers. test_isolation_wasi [REQUESTS], 5,000 unless
 * told. */
#include "runtime/host/wasi/wasi.h"
#include "tests/host_fds.h"
#include "tests/wat.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

static uint32_t n_requests = 5000;

/* spoil(seed, end): some of all that changes a descriptor, the input's and the output's too; then it returns (0), exits (1),
 * traps (2), or loops for ever (3). look(): a digest of what all descriptors, arguments, variables, the clock and the random
 * numbers say. */
static const char module_text[] =
    "(module"
    " (import \"wasi_snapshot_preview1\" \"path_open\" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_seek\" (func $seek (param i32 i64 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_tell\" (func $tell (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_close\" (func $close (param i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_renumber\" (func $renumber (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_readdir\" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_fdstat_get\" (func $stat (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_fdstat_set_flags\" (func $flags (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_fdstat_set_rights\" (func $rights (param i32 i64 i64) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_filestat_get\" (func $filestat (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_prestat_get\" (func $prestat (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_prestat_dir_name\" (func $name (param i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"args_get\" (func $args (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"environ_get\" (func $environ (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $clock (param i32 i64 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
    " (memory (export \"memory\") 1)"
    " (data (i32.const 16) \"file\") (data (i32.const 24) \"folder\") (data (i32.const 32) \"sentinel\")"
    " (data (i32.const 40) \"\\20\\00\\00\\00\\08\\00\\00\\00\")" /* an iovec: the pattern */
    " (data (i32.const 48) \"\\00\\20\\00\\00\\05\\00\\00\\00\")" /* an iovec: 5 bytes to 8192 */
    " (global $x (mut i32) (i32.const 0)) (global $digest (mut i64) (i64.const 0))"
    " (func $next (param $n i32) (result i32)"
    "   (global.set $x (i32.add (i32.mul (global.get $x) (i32.const 1664525)) (i32.const 1013904223)))"
    "   (i32.rem_u (i32.shr_u (global.get $x) (i32.const 8)) (local.get $n)))"
    " (func $step (param $what i32) (param $fd i32)"
    "   (block $a (block $b (block $c (block $d (block $e (block $f (block $g (block $h (block $i (block $j"
    "     (br_table $a $b $c $d $e $f $g $h $i $j (local.get $what)))"
    "     (drop (call $open (i32.const 3) (i32.const 0) (i32.const 24) (i32.const 6) (i32.const 2) (i64.const -1) (i64.const -1) "
    "(i32.const 0) (i32.const 64))) (return))"
    "     (drop (call $random (i32.const 64) (i32.const 8))) (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 64))) "
    "(return))"
    "     (drop (call $readdir (local.get $fd) (i32.const 1024) (i32.const 60) (i64.const 0) (i32.const 64))) (return))"
    "     (drop (call $rights (local.get $fd) (i64.const 2) (i64.const 0))) (return))"
    "     (drop (call $flags (local.get $fd) (i32.const 4))) (return))"
    "     (drop (call $renumber (local.get $fd) (call $next (i32.const 9)))) (return))"
    "     (drop (call $close (local.get $fd))) (return))"
    "     (drop (call $seek (local.get $fd) (i64.const 3) (i32.const 1) (i32.const 64)))"
    "     (drop (call $read (local.get $fd) (i32.const 48) (i32.const 1) (i32.const 64))) (return))"
    "     (drop (call $write (local.get $fd) (i32.const 40) (i32.const 1) (i32.const 64))) (return))"
    "   (drop (call $open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 4) (i32.const 0) (i64.const -1) (i64.const -1) "
    "(i32.const 1) (i32.const 64))))"
    " (func (export \"spoil\") (param $seed i32) (param $end i32) (local $n i32)"
    "   (global.set $x (local.get $seed)) (local.set $n (i32.const 24))"
    "   (loop $l"
    "     (call $step (call $next (i32.const 10)) (call $next (i32.const 10)))"
    "     (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    "   (if (i32.eq (local.get $end) (i32.const 1)) (then (call $exit (i32.const 77))))"
    "   (if (i32.eq (local.get $end) (i32.const 2)) (then (unreachable)))"
    "   (if (i32.eq (local.get $end) (i32.const 3)) (then (loop $ever (br $ever)))))"
    /* Adds an errno and `size` bytes at 4096, which it clears. */
    " (func $add (param $e i32) (param $size i32)"
    "   (global.set $digest (i64.add (i64.mul (global.get $digest) (i64.const 31)) (i64.extend_i32_u (local.get $e))))"
    "   (loop $l"
    "     (local.set $size (i32.sub (local.get $size) (i32.const 8)))"
    "     (global.set $digest (i64.add (i64.mul (global.get $digest) (i64.const 31)) (i64.load offset=4096 (local.get $size))))"
    "     (i64.store offset=4096 (local.get $size) (i64.const 0))"
    "     (br_if $l (local.get $size))))"
    " (func (export \"look\") (result i64) (local $fd i32)"
    "   (global.set $digest (i64.const 0))"
    "   (loop $l"
    "     (call $add (call $stat (local.get $fd) (i32.const 4096)) (i32.const 24))"
    "     (call $add (call $tell (local.get $fd) (i32.const 4096)) (i32.const 8))"
    "     (call $add (call $filestat (local.get $fd) (i32.const 4096)) (i32.const 64))"
    "     (call $add (call $prestat (local.get $fd) (i32.const 4096)) (i32.const 8))"
    "     (call $add (call $name (local.get $fd) (i32.const 4096) (i32.const 1)) (i32.const 8))"
    "     (call $add (call $readdir (local.get $fd) (i32.const 4096) (i32.const 200) (i64.const 0) (i32.const 5000)) "
    "(i32.const 256))"
    "     (br_if $l (i32.lt_u (local.tee $fd (i32.add (local.get $fd) (i32.const 1))) (i32.const 40))))"
    "   (call $add (call $args (i32.const 4096) (i32.const 4160)) (i32.const 256))"
    "   (call $add (call $environ (i32.const 4096) (i32.const 4160)) (i32.const 256))"
    "   (call $add (call $clock (i32.const 0) (i64.const 1) (i32.const 4096)) (i32.const 8))"
    "   (call $add (call $random (i32.const 4096) (i32.const 32)) (i32.const 32))"
    "   (call $add (call $read (i32.const 0) (i32.const 48) (i32.const 1) (i32.const 4096)) (i32.const 8))"
    "   (call $add (i32.load (i32.const 8192)) (i32.const 8))"
    "   (call $add (call $open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 4) (i32.const 0) (i64.const 2) (i64.const "
    "0) "
    "(i32.const 0) (i32.const 4096)) (i32.const 8))"
    "   (global.get $digest)))";

struct tenant {
  struct wasi *wasi;
  struct gw_store *store;
  struct gw_instance *instance;
  struct wasi_options options;
};

static void freshen(struct tenant *t) {
  struct gw_error err = {0};
  if (!wasi_reset(t->wasi, &t->options, &err) || !gw_instance_reset(t->instance, &err)) fail_msg("%s", err.message);
  gw_store_set_gas_limit(t->store, 1000000000);
  assert_int_equal(wasi_stdout(t->wasi)->size + wasi_stderr(t->wasi)->size + wasi_exit_code(t->wasi), 0);
}

static int64_t look(struct tenant *t) {
  struct gw_error err = {0};
  union gw_value value;
  if (!gw_call_export(t->instance, "look", &value, 1, &err)) fail_msg("look: %s", err.message);
  return value.i64;
}

static void spoil(struct tenant *t, uint32_t seed, uint32_t end, uint32_t slices) {
  struct gw_extern found;
  union gw_value values[2] = {{.u32 = seed}, {.u32 = end}};
  assert_true(gw_instance_export(t->instance, "spoil", 5, &found));
  gw_store_set_gas_limit(t->store, seed % 5 == 4 ? seed % 60000 : 1000000); /* out of gas anywhere */
  gw_store_start(t->store, found.of.func, values);
  for (uint32_t i = 0; gw_store_resume(t->store, &(struct gw_error){0}) == GW_STATUS_YIELDED; i++) {
    if (i < slices) continue;
    gw_store_cancel(t->store);
    return;
  }
}

static void open_tenant(struct tenant *t, struct gw_engine *engine, struct gw_module *module) {
  struct gw_error err = {0};
  t->wasi = wasi_create(&t->options, &err);
  t->store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 1000000000, .slice = 5000}, &err);
  t->instance = t->store && t->wasi ? gw_instance_create(t->store, module, wasi_resolve, t->wasi, &err) : NULL;
  if (!t->instance) fail_msg("%s", err.message);
}

static void close_tenant(struct tenant *t) {
  gw_store_destroy(t->store);
  wasi_destroy(t->wasi);
}

/* A directory with a file and a folder, as a bundle of the server is: opened once, read-only, shared by all. */
static int make_bundle(char *path) {
  char name[64];
  assert_non_null(mkdtemp(path));
  snprintf(name, sizeof name, "%s/folder", path);
  assert_int_equal(mkdir(name, 0755), 0);
  snprintf(name, sizeof name, "%s/file", path);
  int fd = open(name, O_CREAT | O_WRONLY, 0644);
  assert_true(fd >= 0 && write(fd, "what the file holds", 19) == 19);
  close(fd);
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void test_sentinel(void **state) {
  (void)state;
  struct gw_error err = {0};
  char path[] = "/tmp/gasworks-isolation-XXXXXX", command[64];
  struct wasi_preopen bundle = {.guest_path = "/", .host_fd = make_bundle(path), .is_readonly = true};
  const char *args[] = {"program", "argument", NULL}, *env[] = {"K=V", NULL};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 1, .gas = true}, &err);
  if (!engine) fail_msg("%s", err.message);
  struct gw_module *module = wat_module(engine, module_text);
  struct tenant tenants[2];
  for (int i = 0; i < 2; i++) {
    tenants[i].options = (struct wasi_options){.args = args,
                                               .env = env,
                                               .preopens = &bundle,
                                               .n_preopens = 1,
                                               .stdin_fd = -1,
                                               .stdout_fd = -1,
                                               .stderr_fd = -1,
                                               .stdin_bytes = "body of a request",
                                               .stdin_size = 17,
                                               .deterministic = true,
                                               .seed = 7};
    open_tenant(&tenants[i], engine, module);
  }
  int64_t fresh = look(&tenants[0]);
  assert_int_equal(look(&tenants[1]), fresh);
  for (int i = 0; i < 2; i++) freshen(&tenants[i]);
  int n_fds = count_host_fds();
  for (uint32_t round = 0; round < n_requests; round++) {
    uint32_t seed = round * 2654435761u >> 3;
    struct tenant *t = &tenants[seed & 1];
    spoil(t, seed, round % 4, round % 7 == 6 ? seed % 8 : UINT32_MAX);
    if (round % 3 == 0 && look(&tenants[~seed & 1]) != fresh) fail_msg("another tenant sees something of request %u", round);
    for (int i = 0; i < 2; i++) freshen(&tenants[i]);
    if (look(t) != fresh) fail_msg("something is left of request %u", round);
    freshen(t);
    if (round % 100 == 0 && count_host_fds() != n_fds) fail_msg("a descriptor is open after request %u", round);
  }
  for (int i = 0; i < 2; i++) close_tenant(&tenants[i]);
  gw_module_release(module);
  gw_engine_destroy(engine);
  close(bundle.host_fd);
  snprintf(command, sizeof command, "rm -r %s", path);
  assert_int_equal(system(command), 0);
}

int main(int argc, char **argv) {
  if (argc > 1) n_requests = (uint32_t)strtoul(argv[1], NULL, 10);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sentinel)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
