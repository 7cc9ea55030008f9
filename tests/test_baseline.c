/* The baseline tier beside the interpreter: the same traps at the same places through the same calls, code for whole modules, and
 * for several threads at once. */
#include "runtime/engine.h"
#include "runtime/precise/precise.h"
#include "tests/wat.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* On six locals, which are used most. */
#define SUMS                                                                                                   \
  "      (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 3)) (i32.xor (local.get 2) (local.get 0))))"  \
  "      (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 6)) (i32.xor (local.get 2) (local.get 0))))"  \
  "      (local.set 2 (i32.add (i32.mul (local.get 2) (i32.const 4)) (i32.xor (local.get 3) (local.get 0))))"  \
  "      (local.set 2 (i32.add (i32.mul (local.get 2) (i32.const 7)) (i32.xor (local.get 3) (local.get 0))))"  \
  "      (local.set 3 (i32.add (i32.mul (local.get 3) (i32.const 5)) (i32.xor (local.get 4) (local.get 0))))"  \
  "      (local.set 3 (i32.add (i32.mul (local.get 3) (i32.const 8)) (i32.xor (local.get 4) (local.get 0))))"  \
  "      (local.set 4 (i32.add (i32.mul (local.get 4) (i32.const 6)) (i32.xor (local.get 5) (local.get 0))))"  \
  "      (local.set 4 (i32.add (i32.mul (local.get 4) (i32.const 9)) (i32.xor (local.get 5) (local.get 0))))"  \
  "      (local.set 5 (i32.add (i32.mul (local.get 5) (i32.const 7)) (i32.xor (local.get 6) (local.get 0))))"  \
  "      (local.set 5 (i32.add (i32.mul (local.get 5) (i32.const 10)) (i32.xor (local.get 6) (local.get 0))))" \
  "      (local.set 6 (i32.add (i32.mul (local.get 6) (i32.const 8)) (i32.xor (local.get 1) (local.get 0))))"  \
  "      (local.set 6 (i32.add (i32.mul (local.get 6) (i32.const 11)) (i32.xor (local.get 1) (local.get 0))))"

/* Traps behind calls, in the middle of blocks, in loops, in handlers and in code of the tier's own. $n: what it fails of. */
static const char traps[] =
    "(module (memory 1) (table 2 funcref) (elem (i32.const 0) $leaf) (type $t (func (param i32 i32) (result i32))) (tag $e "
    "(param i32)) (type $v (func (param i32))) (table $u 4 funcref) (elem (table $u) (i32.const 0) func $leaf $throw $leaf)"
    "  (global $g (mut i32) (i32.const 3)) (global $h (mut f64) (f64.const 1))"
    "  (func $leaf (type $t) (i32.div_s (local.get 0) (local.get 1)))"
    "  (func $middle (param i32 i32) (result i32) (local i32 f64)"
    "    (loop $l"
    "      (local.set 2 (i32.add (local.get 2) (i32.const 1)))"
    "      (local.set 3 (f64.add (local.get 3) (f64.convert_i32_s (local.get 0))))"
    "      (global.set $g (i32.add (global.get $g) (local.get 2)))"
    "      (br_if $l (i32.lt_u (local.get 2) (i32.const 40))))"
    "    (i32.add (local.get 2) (i32.add (call $leaf (local.get 0) (local.get 1)) (i32.trunc_f64_s (local.get 3)))))"
    "  (func (export \"divide\") (param i32) (result i32)"
    "    (i32.sub (i32.const 9) (call $middle (i32.const 1) (i32.and (local.get 0) (i32.const 1)))))"
    "  (func (export \"overflow\") (param i32) (result i32) (call $leaf (i32.const 0x80000000) (i32.sub (local.get 0) (i32.const "
    "3))))"
    "  (func (export \"load\") (param i32) (result i32) (local i64)"
    "    (local.set 1 (i64.const 5))"
    "    (i64.store (i32.const 8) (i64.mul (local.get 1) (i64.const 3)))"
    "    (i32.add (i32.wrap_i64 (i64.load (i32.const 8))) (i32.load16_s offset=65535 (local.get 0))))"
    "  (func (export \"store\") (param i32) (result i32)"
    "    (i32.store8 (i32.const 1) (local.get 0)) (f64.store offset=0xfffffff0 (local.get 0) (global.get $h)) (i32.const 1))"
    "  (func (export \"trunc\") (param i32) (result i32)"
    "    (i32.trunc_f64_u (f64.mul (f64.convert_i32_s (local.get 0)) (f64.const -1e9))))"
    "  (func (export \"indirect\") (param i32) (result i32)"
    "    (call_indirect (type $t) (i32.const 8) (i32.const 2) (i32.rem_u (local.get 0) (i32.const 3))))"
    "  (func (export \"vector\") (param i32) (result i32)"
    "    (i32x4.extract_lane 1 (i32x4.add (v128.load (local.get 0)) (v128.load offset=65530 (local.get 0)))))"
    "  (func $deep (export \"deep\") (param i32) (result i32)"
    "    (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))"
    "  (func $throw (param i32) (throw $e (local.get 0)))"
    "  (func (export \"caught\") (param i32) (result i32)"
    "    (drop (try (result i32) (do (call $throw (local.get 0)) (i32.const 0)) (catch $e)))"
    "    (i32.rem_s (i32.const 100) (i32.sub (local.get 0) (i32.const 7))))"
    "  (func (export \"thrown\") (param i32) (result i32) (call $throw (local.get 0)) (i32.const 1))"
    "  (func (export \"switch\") (param i32) (result i32)"
    "    (block (block (block (br_table 0 1 2 (local.get 0))) unreachable) (return (i32.const 5))) (call $leaf (i32.const 1) "
    "(i32.const 0)))"
    "  (func (export \"pressure\") (param i32) (result i32) (local i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 f64)"
    "    (loop $l" SUMS SUMS SUMS SUMS
    "      (local.set 7 (i32.div_s (i32.add (local.get 8) (i32.const 77)) (i32.or (local.get 9) (i32.const 3))))"
    "      (local.set 9 (i32.div_s (local.get 7) (i32.or (local.get 8) (i32.const 3))))"
    "      (local.set 8 (i32.div_s (local.get 7) (local.tee 9 (i32.or (local.get 9) (i32.const 1)))))"
    "      (local.set 10 (i64.div_s (i64.add (local.get 10) (i64.const 5)) (local.tee 11 (i64.or (local.get 11) "
    "(i64.extend_i32_s (local.get 9))))))"
    "      (local.set 7 (i32.div_u (i32.add (local.get 8) (i32.const 77)) (i32.or (local.get 9) (i32.const 3))))"
    "      (local.set 9 (i32.div_u (local.get 7) (i32.or (local.get 8) (i32.const 3))))"
    "      (local.set 8 (i32.div_u (local.get 7) (local.tee 9 (i32.or (local.get 9) (i32.const 1)))))"
    "      (local.set 10 (i64.div_u (i64.add (local.get 10) (i64.const 5)) (local.tee 11 (i64.or (local.get 11) "
    "(i64.extend_i32_s (local.get 9))))))"
    "      (local.set 7 (i32.rem_s (i32.add (local.get 8) (i32.const 77)) (i32.or (local.get 9) (i32.const 3))))"
    "      (local.set 9 (i32.rem_s (local.get 7) (i32.or (local.get 8) (i32.const 3))))"
    "      (local.set 8 (i32.rem_s (local.get 7) (local.tee 9 (i32.or (local.get 9) (i32.const 1)))))"
    "      (local.set 10 (i64.rem_s (i64.add (local.get 10) (i64.const 5)) (local.tee 11 (i64.or (local.get 11) "
    "(i64.extend_i32_s (local.get 9))))))"
    "      (local.set 7 (i32.rem_u (i32.add (local.get 8) (i32.const 77)) (i32.or (local.get 9) (i32.const 3))))"
    "      (local.set 9 (i32.rem_u (local.get 7) (i32.or (local.get 8) (i32.const 3))))"
    "      (local.set 8 (i32.rem_u (local.get 7) (local.tee 9 (i32.or (local.get 9) (i32.const 1)))))"
    "      (local.set 10 (i64.rem_u (i64.add (local.get 10) (i64.const 5)) (local.tee 11 (i64.or (local.get 11) "
    "(i64.extend_i32_s (local.get 9))))))"
    "      (local.set 7 (select (local.get 8) (local.get 9) (i32.lt_s (local.get 7) (local.get 8))))"
    "      (local.set 8 (select (local.get 7) (local.get 9) (local.get 8)))"
    "      (i32.store offset=64 (i32.and (local.get 7) (i32.const 1023)) (i32.rotl (local.get 8) (local.get 9)))"
    "      (i64.store offset=64 (i32.and (local.get 9) (i32.const 1023)) (i64.shl (local.get 10) (local.get 11)))"
    "      (local.set 9 (i32.add (local.get 9) (i32.load offset=64 (i32.and (local.get 8) (i32.const 1023)))))"
    "      (local.set 12 (f64.div (f64.convert_i32_u (local.get 7)) (f64.add (local.get 12) (f64.const 1.5))))"
    "      (local.set 11 (i64.xor (i64.reinterpret_f64 (local.get 12)) (i64.extend_i32_u (i32.clz (local.get 8)))))"
    "      (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 60))))"
    "    (i32.add (i32.add (local.get 7) (i32.wrap_i64 (local.get 10))) (i32.add (local.get 3) (local.get 9))))"
    "  (func (export \"entry\") (param i32) (result i32)"
    "    (i32.add (call_indirect $u (type $t) (i32.const 8) (i32.const 2) (i32.rem_u (local.get 0) (i32.const 5)))"
    "      (ref.is_null (table.get $u (local.get 0)))))"
    "  (func (export \"thrown_entry\") (param i32) (result i32)"
    "    (drop (try (result i32) (do (call_indirect $u (type $v) (local.get 0) (i32.const 1)) (i32.const 0)) (catch $e)))"
    "    (i32.rem_s (i32.const 100) (i32.sub (local.get 0) (i32.const 7))))"
    "  (func (export \"floats\") (param i32) (result i32) (local f64 f32)"
    "    (local.set 1 (f64.mul (f64.convert_i32_s (local.get 0)) (f64.const 0x1p61)))"
    "    (local.set 2 (f32.demote_f64 (f64.copysign (local.get 1) (f64.convert_i32_s (i32.sub (i32.const 3) (local.get 0))))))"
    "    (i32.xor (i32.xor (i32.trunc_sat_f64_u (f64.min (local.get 1) (f64.const 3e9))) (i32.trunc_sat_f32_s (local.get 2)))"
    "      (i32.wrap_i64 (i64.add (i64.shr_u (i64.reinterpret_f64 (f64.min (f64.const 0) (f64.mul (local.get 1) (f64.const "
    "-0)))) (i64.const 63))"
    "        (i64.add (i64.popcnt (i64.trunc_sat_f64_s (local.get 1)))"
    "        (i64.xor (i64.trunc_f64_s (f64.neg (local.get 1))) (i64.trunc_f32_s (f32.max (local.get 2) (f32.const "
    "-0x1p64)))))))))"
    "  (func (export \"forever\") (param i32) (result i32) (loop $l (br_if $l (i32.const 1))) (i32.const 1)))";

static const char *const names[] = {"divide", "overflow", "load",   "store",    "trunc", "indirect",     "vector", "deep",
                                    "caught", "thrown",   "switch", "pressure", "entry", "thrown_entry", "floats", "forever"};
enum { N_NAMES = sizeof names / sizeof *names, MOST_FRAMES = 50, N_ARGUMENTS = 9 };

struct outcome {
  struct gw_error err;
  union gw_value result;
  uint64_t gas;
  struct gw_frame frames[MOST_FRAMES];
  size_t n;
};

static void call(struct gw_module *module, enum gw_tier tier, const char *name, uint32_t argument, struct outcome *out) {
  memset(out, 0, sizeof *out);
  struct gw_store_options options = {.tier = tier, .gas_limit = 200000, .max_depth = 20000};
  struct gw_store *store = gw_store_create(module->engine, &options, &out->err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &out->err);
  assert_non_null(instance);
  out->result = (union gw_value){.u32 = argument};
  gw_call_export(instance, name, &out->result, 1, &out->err);
  out->gas = gw_store_gas_used(store);
  out->n = gw_store_backtrace(store, out->frames, MOST_FRAMES);
  gw_store_destroy(store);
}

static void compare(const char *name, uint32_t argument, const struct outcome *a, const struct outcome *b) {
  if (strcmp(a->err.message, b->err.message) != 0 || a->err.trap != b->err.trap || a->gas != b->gas || a->n != b->n)
    fail_msg("%s %u: \"%s\", gas %lu, %zu calls; \"%s\", gas %lu, %zu calls", name, argument, a->err.message, a->gas, a->n,
             b->err.message, b->gas, b->n);
  if (!a->err.code) assert_int_equal(a->result.u32, b->result.u32);
  for (size_t i = 0; i < a->n && i < MOST_FRAMES; i++) {
    assert_int_equal(a->frames[i].func, b->frames[i].func);
    assert_int_equal(a->frames[i].offset, b->frames[i].offset);
  }
}

static struct gw_module *open_traps(struct gw_engine **engine, const struct gw_engine_options *options) {
  struct gw_error err = {0};
  *engine = gw_engine_create(options, &err);
  assert_non_null(*engine);
  return wat_module(*engine, traps);
}

static void close_traps(struct gw_engine *engine, struct gw_module *module) {
  gw_module_release(module);
  gw_engine_destroy(engine);
}

static void test_places(void **state) {
  (void)state;
  struct gw_engine *engine;
  static struct outcome precise, baseline;
  uint32_t n_traps = 0, n_frames = 0;
  for (int gas = 0; gas < 2; gas++) {
    struct gw_module *module = open_traps(&engine, &(struct gw_engine_options){.gas = gas});
    for (size_t i = 0; i < N_NAMES - !gas; i++)
      for (uint32_t argument = 0; argument < N_ARGUMENTS; argument++) {
        call(module, GW_TIER_PRECISE, names[i], argument, &precise);
        call(module, GW_TIER_BASELINE, names[i], argument, &baseline);
        compare(names[i], argument, &precise, &baseline);
        n_traps += precise.err.code != 0;
        n_frames += precise.n > 1;
      }
    struct gw_module_stats stats;
    gw_module_stats(module, &stats);
    assert_true(stats.baseline_functions > N_NAMES - 2 && stats.baseline_bytes > 0);
    assert_int_equal(stats.baseline_refused, 0);
    close_traps(engine, module);
  }
  assert_true(n_traps > 60 && n_frames > 10); /* else it compares nothing */
}

/* Every function at once, then calls. */
static void test_whole_modules(void **state) {
  (void)state;
  struct gw_engine *engine;
  struct gw_error err = {0};
  static struct outcome precise, baseline;
  struct gw_module_stats before, after;
  struct gw_module *module = open_traps(&engine, &(struct gw_engine_options){.gas = true});
  precise_module_translate(module_interpret(module, true, &err));
  gw_module_stats(module, &before);
  assert_int_equal(before.baseline_functions, module->decoded.n_funcs);
  for (size_t i = 0; i < N_NAMES; i++) {
    call(module, GW_TIER_PRECISE, names[i], 1, &precise);
    call(module, GW_TIER_BASELINE, names[i], 1, &baseline);
    compare(names[i], 1, &precise, &baseline);
  }
  gw_module_stats(module, &after);
  assert_int_equal(before.baseline_bytes, after.baseline_bytes);
  close_traps(engine, module);
}

/* Buffers for a large function's code do not stay. */
static void test_large_function(void **state) {
  enum { N = 200000, ROOM = 16 * N };
  (void)state;
  struct gw_engine *engine;
  struct gw_error err = {0};
  gw_module_release(open_traps(&engine, &(struct gw_engine_options){.gas = true}));
  char *text = test_malloc(ROOM), *at = text;
  at += sprintf(at, "(module (func (param i32) (result i32) local.get 0\n");
  for (int i = 0; i < N; i++) at += sprintf(at, "i32.eqz\n");
  sprintf(at, "))");
  struct gw_module *module = wat_module(engine, text);
  struct precise_module *p = module_interpret(module, true, &err);
  precise_module_translate(p);
  struct precise_stats stats = precise_module_stats(p);
  assert_true(stats.bytes > N);
  assert_true(stats.kept <= 1 << 20);
  test_free(text);
  close_traps(engine, module);
}

/* Who watches sees each instruction, so it is interpreted. */
static void test_watching(void **state) {
  (void)state;
  struct gw_engine *engine;
  static struct outcome out;
  struct gw_module_stats stats;
  struct gw_module *module = open_traps(&engine, &(struct gw_engine_options){.gas = true, .watch = true});
  call(module, GW_TIER_BASELINE, "divide", 1, &out);
  gw_module_stats(module, &stats);
  assert_int_equal(stats.baseline_functions, 0);
  close_traps(engine, module);
}

static void *call_all(void *module) {
  static _Thread_local struct outcome out;
  for (uint32_t i = 0; i < 5 * N_NAMES; i++) call(module, GW_TIER_BASELINE, names[i % N_NAMES], i, &out);
  return NULL;
}

/* Code is made by whoever calls first, while others run what is there. */
static void test_threads(void **state) {
  (void)state;
  enum { N_THREADS = 4 };
  struct gw_engine *engine;
  pthread_t threads[N_THREADS];
  struct gw_module_stats stats;
  struct gw_module *module = open_traps(&engine, &(struct gw_engine_options){.gas = true});
  for (int i = 0; i < N_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, call_all, module), 0);
  for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
  gw_module_stats(module, &stats);
  assert_int_equal(stats.baseline_functions, module->decoded.n_funcs);
  close_traps(engine, module);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_places), cmocka_unit_test(test_whole_modules),
                                     cmocka_unit_test(test_watching), cmocka_unit_test(test_large_function),
                                     cmocka_unit_test(test_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
