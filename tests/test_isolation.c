/* Nothing of one request is visible to the next: a sentinel writes a pattern wherever it can, and ends in every way that there
 * is; who comes next, in the same slot or in another, looks for it everywhere. test_isolation [REQUESTS], 20,000 unless told
 * (2,000 in the precise tier); what WASI remembers is in test_isolation_wasi.c. */
#include "runtime/object.h"
#include "runtime/store.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>

static struct gw_engine *engine;
static uint32_t n_requests = IS_PRECISE ? 2000 : 20000;

/* Locals that hold the pattern, and locals that should be zero: as many as do not fit into registers. */
#define LOCALS "(local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)"
#define SET(n) "(local.set " #n " (i64.add (local.get $x) (i64.const " #n ")))"
#define OR(n) "(local.set $s (i64.or (local.get $s) (local.get " #n ")))"
#define FOR_LOCALS(X) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21)

/* spoil(seed, end, ref): writes to pages that follow from the seed, grows memories and tables, changes globals, tables and
 * segments, and the stack; then returns (0), divides by zero (1), loads out of bounds (2), calls without end (3), loops for ever
 * (4), asks the host (5). look(): a digest of everything that there is; only what the module says may be in it. look_grown(): of
 * what is new. */
static const char module_text[] =
    "(module (import \"h\" \"write\" (func $write (param i32 i32)))"
    " (memory $m (export \"memory\") 4 12) (data (i32.const 70000) \"image\") (data $d \"segment\")"
    " (memory $n i64 1 4)"
    " (table $t 10 100 funcref) (elem (i32.const 1) $one) (elem $e func $one $two)"
    " (global $g (mut i64) (i64.const 5)) (global $v (mut v128) (v128.const i64x2 1 2)) (global $r (mut funcref) (ref.null func))"
    " (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))"
    " (table $x 3 50 externref) (global $y (mut externref) (ref.null extern))"
    " (func $over (param $n i32) (param $x i64) (result i64) (local $s i64)" LOCALS FOR_LOCALS(
        SET) "   (if (local.get $n) (then (drop (call $over (i32.sub (local.get $n) (i32.const 1)) (local.get $x)))))"
             "   " FOR_LOCALS(
                 OR) " (local.get $s))"
                     " (func $under (param $n i32) (param $x i64) (result i64) (local $s i64)" LOCALS
                     "   (if (local.get $n) (then (local.set $s (call $under (i32.sub (local.get $n) (i32.const 1)) (local.get "
                     "$x)))))"
                     "   " FOR_LOCALS(
                         OR) " (local.get $s))"
                             " (func $deep (param i64 i64 i64) (call $deep (local.get 0) (local.get 0) (local.get 0)))"
                             " (func $fill (param $at i32) (param $x i64)"
                             "   (i64.store (local.get $at) (local.get $x))"
                             "   (memory.fill (i32.add (local.get $at) (i32.const 100)) (i32.const 0xa5) (i32.and (i32.wrap_i64 "
                             "(local.get $x)) "
                             "(i32.const 0x1fff))))"
                             " (func (export \"spoil\") (param $seed i32) (param $end i32) (param $ref externref)"
                             "   (local $i i32) (local $x i64)"
                             "   (local.set $x (i64.or (i64.const 0x5e5e5e5e00000001) (i64.extend_i32_u (local.get $seed))))"
                             "   (global.set $g (local.get $x)) (global.set $v (i64x2.splat (local.get $x))) (global.set $r "
                             "(ref.func $two))"
                             "   (table.set $t (i32.rem_u (local.get $seed) (i32.const 10)) (ref.func $two))"
                             "   (if (i32.and (local.get $seed) (i32.const 1)) (then"
                             "     (drop (memory.grow $m (i32.const 2))) (drop (table.grow $t (ref.func $two) (i32.const 9)))"
                             "     (drop (memory.grow $n (i64.const 1))) (i64.store $n (i64.const 100000) (local.get $x))"
                             "     (drop (table.grow $x (local.get $ref) (i32.const 9)))"
                             "     (call $fill (i32.const 300000) (local.get $x))"
                             "     (if (i32.and (local.get $seed) (i32.const 2)) (then"
                             "       (memory.fill $m (i32.const 262144) (i32.const 0xa5) (i32.const 131072))))))"
                             "   (global.set $y (local.get $ref)) (table.fill $x (i32.const 0) (local.get $ref) (i32.const 3))"
                             "   (drop (call $over (i32.and (local.get $seed) (i32.const 63)) (local.get $x)))"
                             "   (i64.store $n (i64.extend_i32_u (i32.and (local.get $seed) (i32.const 0xfff8))) (local.get $x))"
                             "   (data.drop $d) (elem.drop $e)"
                             "   (local.set $i (i32.and (local.get $seed) (i32.const 7)))"
                             "   (loop $l"
                             "     (call $fill (i32.rem_u (i32.mul (i32.add (local.get $seed) (local.get $i)) (i32.const 40503)) "
                             "(i32.const 250000)) "
                             "(local.get $x))"
                             "     (br_if $l (i32.ge_s (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const 0))))"
                             "   (call $write (i32.and (local.get $seed) (i32.const 0x3fff0)) (i32.const 16))"
                             "   (if (i32.eq (local.get $end) (i32.const 1)) (then (drop (i32.div_u (i32.const 1) (i32.const "
                             "0)))))"
                             "   (if (i32.eq (local.get $end) (i32.const 2)) (then (drop (i32.load (i32.const -8)))))"
                             "   (if (i32.eq (local.get $end) (i32.const 3)) (then (call $deep (local.get $x) (local.get $x) "
                             "(local.get $x))))"
                             "   (if (i32.eq (local.get $end) (i32.const 4)) (then (loop $ever (br $ever))))"
                             "   (if (i32.eq (local.get $end) (i32.const 5)) (then (call $write (i32.const -1) (i32.const 1)))))"
                             " (func (export \"look\") (result i64)"
                             "   (local $i i32) (local $s i64)"
                             "   (local.set $s (i64.add (global.get $g) (i64.extend_i32_u (i32.add (memory.size $m) (i32.mul "
                             "(table.size $t) (i32.const "
                             "77))))))"
                             "   (local.set $s (i64.add (local.get $s) (i64.mul (memory.size $n) (i64.const 1001))))"
                             "   (local.set $s (i64.add (local.get $s) (i64x2.extract_lane 0 (global.get $v))))"
                             "   (local.set $s (i64.add (local.get $s) (i64.extend_i32_u (ref.is_null (global.get $r)))))"
                             "   (local.set $s (i64.add (local.get $s) (i64.extend_i32_u (i32.mul (table.size $x) (i32.const "
                             "7777)))))"
                             "   (local.set $s (i64.add (local.get $s) (i64.extend_i32_u (i32.add (i32.add (ref.is_null "
                             "(global.get $y))"
                             "     (ref.is_null (table.get $x (i32.const 0)))) (i32.add (ref.is_null (table.get $x (i32.const "
                             "1)))"
                             "     (ref.is_null (table.get $x (i32.const 2))))))))"
                             "   (local.set $s (i64.add (local.get $s) (i64.mul (call $under (i32.const 40) (i64.const 0)) "
                             "(i64.const 3))))"
                             "   (loop $l"
                             "     (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.load (local.get $i))))"
                             "     (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const "
                             "262144))))"
                             "   (local.set $i (i32.const 0))"
                             "   (loop $k"
                             "     (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.load $n (i64.extend_i32_u "
                             "(local.get $i)))))"
                             "     (br_if $k (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 65536))))"
                             "   (local.set $i (i32.const 0))"
                             "   (loop $t"
                             "     (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 3)) (i64.extend_i32_u (ref.is_null "
                             "(table.get $t (local.get "
                             "$i))))))"
                             "     (br_if $t (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))"
                             "   (memory.init $m $d (i32.const 0) (i32.const 0) (i32.const 7)) (table.init $t $e (i32.const 0) "
                             "(i32.const 0) (i32.const "
                             "2))"
                             "   (i64.add (local.get $s) (i64.extend_i32_u (call_indirect $t (result i32) (i32.const 1)))))"
                             " (func (export \"look_grown\") (result i64)"
                             "   (local $i i32) (local $s i64)"
                             "   (drop (memory.grow $m (i32.const 2)))"
                             "   (local.set $i (i32.const 262144))"
                             "   (loop $l"
                             "     (local.set $s (i64.or (local.get $s) (i64.load (local.get $i))))"
                             "     (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const "
                             "393216))))"
                             "   (drop (memory.grow $n (i64.const 1)))"
                             "   (drop (table.grow $t (ref.null func) (i32.const 9))) (drop (table.grow $x (ref.null extern) "
                             "(i32.const 9)))"
                             "   (local.set $i (i32.const 18))"
                             "   (loop $t"
                             "     (local.set $s (i64.or (local.get $s) (i64.extend_i32_u (i32.eqz (ref.is_null (table.get $t "
                             "(local.get $i)))))))"
                             "     (local.set $s (i64.or (local.get $s) (i64.extend_i32_u (i32.eqz (ref.is_null (table.get $x "
                             "(i32.sub (local.get $i) "
                             "(i32.const 7))))))))"
                             "     (br_if $t (i32.ge_s (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const 10))))"
                             "   (i64.or (local.get $s) (i64.load $n (i64.const 100000)))))";

/* A host function that lets the kernel write into the guest's memory. */
static enum gw_trap host_write(struct gw_instance *caller, void *env, union gw_value *values) {
  int *zero_fd = env;
  void *to = gw_instance_memory(caller, values[0].u32, values[1].u32);
  if (!to) return GW_TRAP_HOST;
  FILE *source = fmemopen((char[16]){"kernel's bytes"}, 16, "r");
  bool ok = source && fread(to, 1, values[1].u32, source) && pread(*zero_fd, to, values[1].u32, 0) == (ssize_t)values[1].u32;
  if (source) fclose(source);
  return ok ? GW_TRAP_NONE : GW_TRAP_HOST;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func write_func = {"h", "write", "_ii", host_write};
  (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&write_func, env}};
  return true;
}

static int64_t call(struct gw_instance *instance, const char *name) {
  struct gw_error err = {0};
  union gw_value value = {0};
  if (!gw_call_export(instance, name, &value, 1, &err)) fail_msg("%s: %s", name, err.message);
  return value.i64;
}

static void reset(struct gw_instance *instance) {
  struct gw_error err = {0};
  if (!gw_instance_reset(instance, &err)) fail_msg("reset: %s", err.message);
}

/* The system takes pages away, and gives them back when they are touched. */
static void reclaim(struct gw_store *store) {
#ifdef MADV_PAGEOUT
  for (struct gw_memory *m = store->memories; m; m = m->next) {
    madvise(m->ctx.base, m->ctx.bytes, MADV_PAGEOUT);
    if (m->dirty.n_pages) madvise(m->dirty.image, (size_t)m->dirty.n_pages * 4096, MADV_PAGEOUT);
  }
  if (store->fiber.low) madvise(store->fiber.low, (size_t)(store->fiber.high - store->fiber.low), MADV_PAGEOUT);
#else
  (void)store;
#endif
}

struct slot {
  struct gw_store *store;
  struct gw_instance *instance;
};

static void open_slot(struct slot *slot, struct gw_engine *of, struct gw_module *module, bool is_kept, int *fd) {
  struct gw_error err = {0};
  slot->store = gw_store_create(of, &(struct gw_store_options){.gas_limit = 100000000, .slice = 20000}, &err);
  slot->instance = slot->store ? gw_instance_create(slot->store, module, resolve, fd, &err) : NULL;
  if (!slot->instance) fail_msg("%s", err.message);
  if (is_kept && !gw_instance_keep(slot->instance, &err)) fail_msg("%s", err.message);
}

/* Runs to its end, to the end of its gas, or for `slices`, and is cancelled then. */
static void spoil(struct slot *slot, uint32_t seed, uint32_t end, uint32_t slices) {
  struct gw_error err = {0};
  struct gw_extern found;
  union gw_value values[3] = {{.u32 = seed}, {.u32 = end}, {.ref = slot}};
  assert_true(gw_instance_export(slot->instance, "spoil", 5, &found));
  gw_store_start(slot->store, found.of.func, values);
  for (uint32_t i = 0; gw_store_resume(slot->store, &err) == GW_STATUS_YIELDED; i++) {
    if (i == 2 && seed % 8 == 0) reclaim(slot->store);
    if (i < slices) continue;
    gw_store_cancel(slot->store);
    return;
  }
  static const enum gw_trap traps[] = {
      GW_TRAP_NONE, GW_TRAP_INTEGER_DIVIDE_BY_ZERO, GW_TRAP_MEMORY_OUT_OF_BOUNDS, GW_TRAP_STACK_OVERFLOW, GW_TRAP_OUT_OF_GAS,
      GW_TRAP_HOST};
  if (err.trap != GW_TRAP_OUT_OF_GAS) assert_int_equal(err.trap, traps[end]);
}

static void look(struct slot *slot, int64_t fresh, uint32_t seed) {
  if (call(slot->instance, "look") != fresh) fail_msg("something is left of request %u", seed);
  reset(slot->instance);
  if (seed % 16) return;
  if (call(slot->instance, "look_grown") != 0) fail_msg("something is left of request %u where memory or a table grew", seed);
  reset(slot->instance);
}

enum { N_SLOTS = 3 };

/* One slot starts fresh every time, one from an image that is kept; one is given up now and then, as idle ones are. */
static void expect_clean(struct gw_engine *of, uint32_t rounds) {
  FILE *pattern = tmpfile();
  assert_non_null(pattern);
  int fd = fileno(pattern);
  assert_int_equal(pwrite(fd, "sentinelsentinel", 16, 0), 16);
  struct gw_module *module = wat_module(of, module_text);
  struct slot slots[N_SLOTS];
  for (int i = 0; i < N_SLOTS; i++) open_slot(&slots[i], of, module, i == 1, &fd);
  int64_t fresh = call(slots[0].instance, "look");
  for (int i = 0; i < N_SLOTS; i++) reset(slots[i].instance);
  for (uint32_t seed = 0; seed < rounds; seed++) {
    uint32_t mixed = seed * 2654435761u >> 7;
    struct slot *slot = &slots[mixed % N_SLOTS];
    gw_store_set_gas_limit(slot->store, seed % 5 == 4 ? mixed % 50000 : 1000000); /* out of gas anywhere */
    spoil(slot, mixed, seed % 6, seed % 7 == 6 ? mixed % 50 : UINT32_MAX);
    if (seed % 64 == 0) reclaim(slot->store);
    gw_store_set_gas_limit(slot->store, 100000000);
    reset(slot->instance);
    if (seed % 256 == 0) {
      gw_store_destroy(slots[2].store);
      open_slot(&slots[2], of, module, false, &fd);
    }
    look(seed % 9 == 0 ? &slots[seed % N_SLOTS] : slot, fresh, seed);
  }
  for (int i = 0; i < N_SLOTS; i++) {
    look(&slots[i], fresh, 0);
    gw_store_destroy(slots[i].store);
  }
  gw_module_release(module);
  fclose(pattern);
}

static void test_sentinel(void **state) {
  (void)state;
  expect_clean(engine, n_requests);
}

/* Without optimisation locals are on the stack, where the pattern was. */
static void test_sentinel_unoptimized(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_engine *plain = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  if (!plain) fail_msg("%s", err.message);
  expect_clean(plain, n_requests / 20);
  gw_engine_destroy(plain);
}

/* What is thrown holds what was thrown with it, whatever lay in that memory. */
static void test_payloads(void **state) {
  (void)state;
  struct gw_error err = {0};
  static const char text[] =
      "(module (tag $t (param i32 v128 externref i64))"
      " (func $throw (param $x i64) (param $r externref) (throw $t (i32.wrap_i64 (local.get $x)) (i64x2.splat (local.get $x))"
      "   (local.get $r) (local.get $x)))"
      " (func (export \"spoil\") (param $x i64) (param $r externref) (call $throw (local.get $x) (local.get $r)))"
      " (func (export \"look\") (result i64) (local $s i64) (local $r externref) (local $v v128) (local $i i32)"
      "   (try (do (call $throw (i64.const 0) (ref.null extern))) (catch $t"
      "     (local.set $s) (local.set $r) (local.set $v) (local.set $i)"
      "     (local.set $s (i64.or (local.get $s) (i64.extend_i32_u (local.get $i))))"
      "     (local.set $s (i64.or (local.get $s) (i64x2.extract_lane 0 (local.get $v))))"
      "     (local.set $s (i64.or (local.get $s) (i64x2.extract_lane 1 (local.get $v))))"
      "     (local.set $s (i64.or (local.get $s) (i64.extend_i32_u (i32.eqz (ref.is_null (local.get $r))))))))"
      "   (local.get $s)))";
  struct gw_module *module = wat_module(engine, text);
  struct gw_store *store = gw_store_create(engine, NULL, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  for (int i = 0; i < 1000; i++) {
    union gw_value values[2] = {{.i64 = 0x5e5e5e5e5e5e5e5e}, {.ref = store}};
    assert_false(gw_call_export(instance, "spoil", values, 2, &(struct gw_error){0}));
    reset(instance);
    assert_int_equal(call(instance, "look"), 0);
    reset(instance);
  }
  gw_store_destroy(store);
  gw_module_release(module);
}

/* Writes to more and more pages: watched, in ranges that merge, given up. */
static void test_more_and_more(void **state) {
  (void)state;
  struct gw_error err = {0};
  static const char text[] =
      "(module (memory 200) (data (i32.const 5000000) \"data\")"
      " (func (export \"touch\") (param $n i32) (param $step i32)"
      "   (loop $l (if (local.get $n) (then"
      "     (local.set $n (i32.sub (local.get $n) (i32.const 1)))"
      "     (i32.store (i32.mul (local.get $n) (local.get $step)) (i32.const -1)) (br $l)))))"
      " (func (export \"look\") (result i64) (local $i i32) (local $s i64)"
      "   (loop $l"
      "     (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.load (local.get $i))))"
      "     (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 13107200))))"
      "   (local.get $s)))";
  struct gw_module *module = wat_module(engine, text);
  struct gw_store *store = gw_store_create(engine, NULL, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  int64_t fresh = call(instance, "look");
  static const uint32_t steps[][2] = {{4, 4096}, {40, 81920}, {300, 4096}, {100, 131000}, {3000, 4096}, {9, 900000}};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    for (int k = 0; k < 3; k++) {
      reset(instance);
      union gw_value values[2] = {{.u32 = steps[i][0]}, {.u32 = steps[i][1]}};
      assert_true(gw_call_export(instance, "touch", values, 2, &err));
    }
    assert_int_not_equal(call(instance, "look"), fresh);
    reset(instance);
    assert_int_equal(call(instance, "look"), fresh);
  }
  gw_store_destroy(store);
  gw_module_release(module);
}

/* What a start function and an initialiser left can be what resets go back to. */
static void test_keep(void **state) {
  (void)state;
  struct gw_error err = {0};
  static const char text[] =
      "(module (import \"h\" \"write\" (func $write (param i32 i32)))"
      " (memory 1) (table 2 2 funcref) (global $g (mut i32) (i32.const 1)) (elem declare func $f) (data $d \"x\")"
      " (func $f (result i32) (i32.const 9))"
      " (func $start (global.set $g (i32.add (global.get $g) (i32.const 1))) (i32.store (i32.const 8) (i32.const 7))"
      "   (table.set 0 (i32.const 1) (ref.func $f)) (data.drop $d))"
      " (start $start)"
      " (func (export \"init\") (i32.store (i32.const 9000) (i32.const 100)))"
      " (func (export \"look\") (result i64) (i64.extend_i32_u (i32.add (i32.add (i32.load (i32.const 8)) (i32.load (i32.const "
      "9000)))"
      "   (i32.add (global.get $g) (call_indirect (result i32) (i32.const 1))))))"
      " (func (export \"spoil\") (i32.store (i32.const 8) (i32.const 70)) (i32.store (i32.const 9000) (i32.const 1))"
      "   (global.set $g (i32.const 50)) (table.set 0 (i32.const 1) (ref.null func)))"
      " (func (export \"ask\") (call $write (i32.const 0) (i32.const 0))))";
  struct gw_module *module = wat_module(engine, text);
  struct gw_store *store = gw_store_create(engine, NULL, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, resolve, &(int){-1}, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  assert_true(gw_call_export(instance, "init", &(union gw_value){0}, 0, &err));
  assert_true(gw_instance_can_keep(instance));
  assert_true(gw_instance_keep(instance, &err));
  for (int i = 0; i < 4; i++) {
    assert_int_equal(call(instance, "look"), 7 + 100 + 2 + 9);
    assert_true(gw_call_export(instance, "spoil", &(union gw_value){0}, 0, &err));
    reset(instance);
  }
  gw_call_export(instance, "ask", &(union gw_value){0}, 0, &(struct gw_error){0});
  assert_false(gw_instance_can_keep(instance)); /* the host's answer may be another next time */
  gw_store_destroy(store);
  gw_module_release(module);
}

int main(int argc, char **argv) {
  struct gw_error err = {0};
  if (argc > 1) n_requests = (uint32_t)strtoul(argv[1], NULL, 10);
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 1, .gas = true}, &err);
  if (!engine) wat_fail("engine", err.message);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sentinel), cmocka_unit_test(test_sentinel_unoptimized),
                                     cmocka_unit_test(test_payloads), cmocka_unit_test(test_more_and_more),
                                     cmocka_unit_test(test_keep)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  gw_engine_destroy(engine);
  return failed;
}
