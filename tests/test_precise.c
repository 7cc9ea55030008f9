/* What only the precise tier does: exact gas, places and memory at memory faults. What both tiers do is tested by the programs
 * that are built for both (CMakeLists.txt), the official suite and random modules. */
#include "frontend/module.h"
#include "runtime/precise/precise.h"
#include "runtime/store.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char text[] = "(module $demo"
                           "  (memory (export \"memory\") 1)"
                           /* A store that the next one overwrites, with a fault in between. */
                           "  (func $inner (param i32)"
                           "    (i32.store (i32.const 0) (i32.const 1))"
                           "    (drop (i32.load (local.get 0)))"
                           "    (i32.store (i32.const 0) (i32.const 2)))"
                           "  (func $outer (export \"outer\") (param i32) (call $inner (local.get 0)))"
                           /* Stores of a loop that a compiler keeps back, until one is out of bounds. */
                           "  (func (export \"sweep\") (param i32)"
                           "    (loop $l"
                           "      (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
                           "      (i32.store (local.get 0) (i32.const 7))"
                           "      (local.set 0 (i32.add (local.get 0) (i32.const 4)))"
                           "      (br $l)))"
                           /* Operands that wait as locals while the locals change. */
                           "  (func (export \"waiting\") (param i32 i32) (result i32)"
                           "    local.get 0 local.get 1 (local.set 0 (local.get 1)) (local.set 1 (i32.const 100))"
                           "    i32.sub local.get 0 i32.add local.get 1 i32.add)"
                           "  (func (export \"branches\") (param i32) (result i32) (local i32)"
                           "    local.get 0"
                           "    (block (br_if 0 (i32.gt_s (local.get 0) (i32.const -5))) (local.set 0 (i32.const 50)))"
                           "    local.get 0 i32.add)"
                           "  (func (export \"swap\") (param i32 i32) (result i32 i32) local.get 1 local.get 0)"
                           "  (func $deep (export \"deep\") (param i64) (result i64)"
                           "    (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (i64.const 1))))";

static struct gw_engine *engine;
static struct gw_module *module;

struct fixture {
  struct gw_store *store;
  struct gw_instance *instance;
  union gw_value values[2];
  struct gw_error err;
};

static struct fixture open_fixture(enum gw_tier tier) {
  struct fixture f = {0};
  f.store = gw_store_create(engine, &(struct gw_store_options){.tier = tier}, &f.err);
  if (f.store) f.instance = gw_instance_create(f.store, module, NULL, NULL, &f.err);
  if (!f.instance) fail_msg("%s", f.err.message);
  return f;
}

static bool call(struct fixture *f, const char *name, size_t n, int32_t a, int32_t b) {
  f->err = (struct gw_error){0};
  f->values[0] = (union gw_value){.i32 = a};
  f->values[1] = (union gw_value){.i32 = b};
  return gw_call_export(f->instance, name, f->values, n, &f->err);
}

static int32_t word(struct fixture *f, uint64_t at) { return *(int32_t *)gw_instance_memory(f->instance, at, 4); }

static uint64_t price(enum cost class) { return schedule_default()->gas[class]; }

static void test_fault_is_exact(void **state) {
  (void)state;
  struct fixture f = open_fixture(GW_TIER_PRECISE);
  assert_false(call(&f, "outer", 1, 70000, 0));
  assert_int_equal(f.err.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  assert_int_equal(word(&f, 0), 1);
  /* Both blocks, whole: a block is paid when it is entered. The ends of functions cost what control costs. */
  uint64_t outer = price(COST_LOCAL) + price(COST_CALL) + price(COST_MOVE) + price(COST_CTL);
  uint64_t inner = 4 * price(COST_CONST) + 2 * price(COST_STORE) + price(COST_LOCAL) + price(COST_LOAD) + 2 * price(COST_CTL);
  assert_int_equal(gw_store_gas_used(f.store), outer + inner);
  gw_store_destroy(f.store);
}

/* Places: the load in $inner, called from the call in $outer. */
static void test_backtrace(void **state) {
  (void)state;
  struct fixture f = open_fixture(GW_TIER_PRECISE);
  assert_false(call(&f, "outer", 1, 70000, 0));
  struct precise_place places[4];
  assert_int_equal(precise_backtrace(f.store, places, 4), 2);
  const struct module *m = gw_module_decoded(module);
  assert_int_equal(m->bytes[places[0].offset], 0x28); /* i32.load */
  assert_int_equal(places[0].func, 0);
  assert_int_equal(m->bytes[places[1].offset], 0x10); /* call */
  assert_int_equal(places[1].func, 1);
  assert_int_equal(f.err.offset, places[0].offset);
  assert_non_null(strstr(f.err.message, "out of bounds memory access in function inner (module demo) at byte 0x"));
  assert_false(call(&f, "deep", 1, 0, 0));
  assert_int_equal(f.err.trap, GW_TRAP_STACK_OVERFLOW);
  assert_true(precise_backtrace(f.store, places, 4) > 1000);
  gw_store_destroy(f.store);
}

static void test_stores_before_a_fault(void **state) {
  (void)state;
  struct fixture f = open_fixture(GW_TIER_PRECISE);
  assert_false(call(&f, "sweep", 1, 65536 - 400, 0));
  assert_int_equal(f.err.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  assert_int_equal(word(&f, 8), 101);
  assert_int_equal(word(&f, 65532), 7);
  gw_store_destroy(f.store);
}

static void test_operands_wait(void **state) {
  (void)state;
  struct fixture f = open_fixture(GW_TIER_PRECISE);
  assert_true(call(&f, "waiting", 2, 30, 4));
  assert_int_equal(f.values[0].i32, (30 - 4) + 4 + 100);
  assert_true(call(&f, "branches", 1, -5, 0));
  assert_int_equal(f.values[0].i32, 45);
  assert_true(call(&f, "branches", 1, -4, 0));
  assert_int_equal(f.values[0].i32, -8);
  assert_true(call(&f, "swap", 2, 1, 2));
  assert_int_equal(f.values[0].i32, 2);
  assert_int_equal(f.values[1].i32, 1);
  gw_store_destroy(f.store);
}

/* The same verdict, at the same depth, after the same gas. */
static void test_tiers_agree(void **state) {
  (void)state;
  struct fixture fast = open_fixture(GW_TIER_FAST), precise = open_fixture(GW_TIER_PRECISE);
  assert_false(call(&fast, "deep", 1, 0, 0));
  assert_false(call(&precise, "deep", 1, 0, 0));
  assert_int_equal(fast.err.trap, precise.err.trap);
  assert_int_equal(gw_store_gas_used(fast.store), gw_store_gas_used(precise.store));
  gw_store_destroy(fast.store);
  gw_store_destroy(precise.store);
}

static int set_up(void **state) {
  (void)state;
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true, .verify = true}, &err);
  module = wat_module(engine, text);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  gw_module_release(module);
  gw_engine_destroy(engine);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fault_is_exact), cmocka_unit_test(test_backtrace),   cmocka_unit_test(test_stores_before_a_fault),
      cmocka_unit_test(test_operands_wait),  cmocka_unit_test(test_tiers_agree),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
