/* Bodies in the place of calls: what a guest sees, its gas and its logical stack are those of calls, which the interpreter and
 * code without optimisation make. */
#define _GNU_SOURCE /* memmem */
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TYPE "(param i32) (result i32)"

static const char text[] =
    "(module (memory 1) (global $g (mut i32) (i32.const 5)) (type $t (func " TYPE ")) (table funcref (elem $twice))"
    " (func $twice " TYPE " (i32.mul (local.get 0) (i32.const 2)))"
    " (func $leave " TYPE " (if (local.get 0) (then (return (i32.const 7)))) (block (br 1 (i32.const 9))) (unreachable))"
    " (func $pair (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))"
    " (func $none)"
    " (func $count " TYPE " (local i32 i32)" /* declared locals are 0 again at every call */
    "  (local.set 1 (i32.add (local.get 1) (local.get 0))) (local.set 2 (i32.add (local.get 2) (local.get 1))) (local.get 2))"
    " (func $change " TYPE " (local.set 0 (i32.add (local.get 0) (i32.const 1))) (local.get 0))"
    " (func $divide " TYPE " (i32.div_u (i32.const 100) (local.get 0)))"
    " (func $stop " TYPE " (unreachable))"
    " (func $sum " TYPE " (local i32) (loop (local.set 1 (i32.add (local.get 1) (local.get 0)))"
    "  (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 1))"
    " (func $spin " TYPE " (loop (br 0)) (unreachable))"
    " (func $load " TYPE " (i32.load (local.get 0)))"
    " (func $store " TYPE " (i32.store (i32.const 8) (local.get 0)) (i32.load16_u (i32.const 9)))"
    " (func $vector " TYPE " (i32x4.extract_lane 2 (i32x4.mul (i32x4.splat (local.get 0)) (v128.const i32x4 1 2 3 4))))"
    " (func (export \"twice\") " TYPE " (i32.add (call $twice (local.get 0)) (call $twice (i32.const 4))))"
    " (func (export \"leave\") " TYPE " (i32.add (call $leave (local.get 0)) (call $leave (i32.eqz (local.get 0)))))"
    " (func (export \"pair\") " TYPE " (local i64) (call $pair (local.get 0) (i64.const 40)) (local.set 0) (local.set 1)"
    "  (call $none) (i32.sub (i32.wrap_i64 (local.get 1)) (local.get 0)))"
    " (func (export \"count\") " TYPE " (local i32)"
    "  (loop (local.set 1 (i32.add (local.get 1) (call $count (local.get 0))))"
    "   (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 1))"
    " (func (export \"change\") " TYPE " (i32.mul (call $change (local.get 0)) (call $change (local.get 0))))"
    " (func (export \"divide\") " TYPE " (i32.add (call $divide (local.get 0)) (call $divide (i32.const 9))))"
    " (func (export \"stop\") " TYPE " (if (local.get 0) (then (drop (i32.add (call $stop (i32.const 1)) (i32.const 1)))"
    "   (global.set $g (i32.const 1)) (loop (br_if 0 (call $stop (i32.const 1)))))) (global.get $g))"
    " (func (export \"sum\") " TYPE " (i32.add (call $sum (local.get 0)) (call $sum (i32.const 1000))))"
    " (func (export \"spin\") " TYPE " (if (local.get 0) (then (drop (call $spin (i32.const 1))))) (i32.const 3))"
    " (func (export \"load\") " TYPE " (i32.add (call $load (local.get 0)) (call $load (i32.const 8))))"
    " (func (export \"store\") " TYPE " (i32.add (call $store (local.get 0)) (call $store (i32.const 77))))"
    " (func (export \"vector\") " TYPE " (call $vector (call $vector (local.get 0))))"
    " (func $fib (export \"fib\") " TYPE " (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))"
    "  (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))"
    " (func $tree (export \"tree\") " TYPE " (local i32 i32)" /* in a loop, with a leaf, locals that are 0 again */
    "  (loop (if (local.get 0) (then (local.set 1 (i32.add (local.get 1) (call $tree (i32.sub (local.get 0) (i32.const 1)))))"
    "    (local.set 1 (i32.add (local.get 1) (call $twice (local.get 2))))))"
    "   (br_if 0 (i32.lt_u (local.tee 2 (i32.add (local.get 2) (i32.const 1))) (local.get 0)))) (i32.add (local.get 1) "
    "(local.get 2)))"
    " (func $deep (export \"deep\") " TYPE " (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))"
    " (func $odd (export \"odd\") " TYPE " (if (i32.eqz (local.get 0)) (then (return (call $divide (global.get $g)))))"
    "  (global.set $g (i32.sub (global.get $g) (i32.const 1))) (call_indirect (type $t) (call $odd (i32.sub (local.get 0)"
    "  (i32.const 1))) (i32.const 0))))";

static const char *const names[] = {"twice", "leave", "pair",  "count",  "change", "divide", "stop", "sum",
                                    "spin",  "load",  "store", "vector", "fib",    "tree",   "deep", "odd"};
enum { N_NAMES = sizeof names / sizeof *names, LEVELS = 4 };

struct outcome {
  int32_t value;
  enum gw_trap trap;
  uint64_t gas;
};

static struct gw_engine *open_engine(uint32_t level, bool gas) {
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = gas, .verify = true}, &err);
  if (!engine) wat_fail("engine", err.message);
  return engine;
}

/* In a fresh instance. */
static struct outcome run(struct gw_engine *engine, struct gw_module *module, const struct gw_store_options *options,
                          const char *name, int32_t argument) {
  struct gw_error err = {0};
  union gw_value value = {.i32 = argument};
  struct gw_store *store = gw_store_create(engine, options, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  bool ok = gw_call_export(instance, name, &value, 1, &err);
  struct outcome o = {ok ? value.i32 : 0, err.trap, gw_store_gas_used(store)};
  gw_store_destroy(store);
  return o;
}

/* Gas at a fault is exact in the interpreter only. */
static void expect_equal(struct outcome a, struct outcome b, const char *name, int32_t argument, uint32_t level) {
  bool is_equal = a.value == b.value && a.trap == b.trap && (a.gas == b.gas || a.trap == GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  if (!is_equal)
    fail_msg("%s(%d) at -O%u: %d, trap %d, gas %llu; wanted %d, trap %d, gas %llu", name, argument, level, b.value, b.trap,
             (unsigned long long)b.gas, a.value, a.trap, (unsigned long long)a.gas);
}

static void test_equal(void **state) {
  (void)state;
  static const int32_t arguments[] = {0, 2, 9, 65534};
  for (uint32_t level = 0; level < LEVELS; level++) {
    struct gw_engine *engine = open_engine(level, true);
    struct gw_module *module = wat_module(engine, text);
    for (uint32_t i = 0; i < N_NAMES; i++)
      for (uint32_t k = 0; k < sizeof arguments / sizeof *arguments; k++) {
        struct gw_store_options options = {.gas_limit = 3000000, .tier = GW_TIER_PRECISE};
        struct outcome wanted = run(engine, module, &options, names[i], arguments[k]);
        options.tier = GW_TIER_FAST;
        expect_equal(wanted, run(engine, module, &options, names[i], arguments[k]), names[i], arguments[k], level);
        options.slice = wanted.gas / 3000 | 7; /* a switch takes 30 us where the kernel sets GS */
        expect_equal(wanted, run(engine, module, &options, names[i], arguments[k]), names[i], arguments[k], level);
      }
    gw_module_release(module);
    gw_engine_destroy(engine);
  }
}

/* The logical stack ends at the same call, whatever its size. */
static void test_depth(void **state) {
  (void)state;
  for (uint32_t level = 0; level < LEVELS; level++) {
    struct gw_engine *engine = open_engine(level, true);
    struct gw_module *module = wat_module(engine, text);
    for (uint32_t depth = 200; depth < 900; depth += 56)
      for (uint32_t i = 0; i < 2; i++) {
        const char *name = i ? "deep" : "fib";
        struct gw_store_options options = {.gas_limit = 1000000, .max_depth = depth, .tier = GW_TIER_PRECISE};
        struct outcome wanted = run(engine, module, &options, name, 7);
        options.tier = GW_TIER_FAST;
        expect_equal(wanted, run(engine, module, &options, name, 7), name, 7, level);
      }
    gw_module_release(module);
    gw_engine_destroy(engine);
  }
}

static uint32_t count(const char *listing, const char *what) {
  uint32_t n = 0;
  const char *end = listing + strlen(listing);
  for (const char *at = listing; (at = memmem(at, (size_t)(end - at), what, strlen(what))); at++) n++;
  return n;
}

/* Calls that are left in optimised code: of none of the leaves, and of $fib only where bodies end. */
static void test_calls(void **state) {
  (void)state;
  struct gw_error err = {0};
  for (uint32_t level = 0; level < LEVELS; level += 2) {
    struct gw_engine *engine = open_engine(level, false);
    struct gw_module *module = wat_module(engine, text);
    char *listing = gw_module_dump(module, GW_DUMP_ASM, "x86-64-v2", &err);
    if (!listing) fail_msg("%s", err.message);
    assert_int_equal(count(listing, "callq\tf0\n"), level ? 0 : 3);
    assert_int_equal(count(listing, "callq\tf11\n"), level ? 0 : 2);
    free(listing);
    gw_module_release(module);
    gw_engine_destroy(engine);
  }
}

/* Functions do not grow without end: thousands of calls, of leaves with many locals, and of functions that call themselves. */
static void test_growth(void **state) {
  (void)state;
  enum { CALLS = 2000 };
  struct gw_error err = {0};
  struct buffer module_text = {0};
  buffer_append_string(&module_text, "(module (func $leaf " TYPE " (local");
  for (int i = 0; i < 50000; i++) buffer_append_string(&module_text, " i64");
  buffer_append_string(&module_text, ") (local.get 0)) (func $small " TYPE " (local.get 0)) (func $f (export \"f\") " TYPE
                                     " (if (i32.eqz (local.get 0)) (then (return (i32.const 1)))) (local.set 0 (i32.const 0))");
  for (int i = 0; i < CALLS; i++)
    buffer_append_string(&module_text, "(drop (call $leaf (i32.const 1))) (drop (call $small (i32.const 1)))");
  buffer_append_string(&module_text, "(i32.const 2)) (func $g (export \"g\") " TYPE
                                     " (if (i32.eqz (local.get 0)) (then (return (i32.const 1)))) (local.set 0 (i32.const 0))");
  for (int i = 0; i < 50; i++) buffer_append_string(&module_text, "(drop (call $g (local.get 0)))");
  buffer_append_string(&module_text, "(i32.const 2)))");
  buffer_append(&module_text, "", 1);
  struct gw_engine *engine = open_engine(2, true);
  struct gw_module *module = wat_module(engine, (const char *)module_text.bytes);
  char *listing = gw_module_dump(module, GW_DUMP_ASM, "x86-64-v2", &err);
  if (!listing) fail_msg("%s", err.message);
  assert_in_range(count(listing, "callq\tf0\n"), CALLS, CALLS);
  assert_in_range(count(listing, "callq\tf1\n"), CALLS - 256, CALLS - 100);
  free(listing);
  for (int i = 0; i < 2; i++) {
    struct gw_store_options options = {.gas_limit = 3000000, .tier = GW_TIER_PRECISE};
    struct outcome wanted = run(engine, module, &options, i ? "g" : "f", 1);
    options.tier = GW_TIER_FAST;
    expect_equal(wanted, run(engine, module, &options, i ? "g" : "f", 1), i ? "g" : "f", 1, 2);
  }
  gw_module_release(module);
  gw_engine_destroy(engine);
  buffer_clear(&module_text);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_equal), cmocka_unit_test(test_depth), cmocka_unit_test(test_calls),
                                     cmocka_unit_test(test_growth)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
