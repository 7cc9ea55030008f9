/* Profiles: exact gas by function and by way of calls, and counts of instructions by class. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "instrument/blocks.h"
#include "runtime/debug/profile.h"
#include "tests/wat.h"

/* Every way a function can be entered and left: calls, tail calls, traps, host calls, recursion, through a table. */
static const char *const module_text =
    "(module (import \"host\" \"work\" (func $host (param i32)))"
    " (memory 1) (type $t (func (param i32) (result i32))) (table funcref (elem $leaf $middle))"
    " (func $leaf (type $t) (i32.mul (local.get 0) (i32.const 3)))"
    " (func $middle (type $t)"
    "  (i32.add (call $leaf (local.get 0)) (call_indirect (type $t) (local.get 0) (i32.const 0))))"
    " (func $count (param i32) (result i32)"
    "  (if (result i32) (local.get 0) (then (call $count (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 7))))"
    " (func $tail (param i32) (result i32)"
    "  (if (i32.eqz (local.get 0)) (then (return (call $leaf (i32.const 1)))))"
    "  (return_call $other (i32.sub (local.get 0) (i32.const 1))))"
    " (func $other (param i32) (result i32) (return_call $tail (local.get 0)))"
    " (func $loop (param i32) (result i32) (local i32)"
    "  (loop (local.set 1 (i32.add (local.get 1) (local.get 0)))"
    "   (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "  (local.get 1))"
    " (func (export \"run\") (param i32) (result i32)"
    "  (memory.fill (i32.const 0) (i32.const 0) (i32.const 160))"
    "  (call $host (i32.const 5))"
    "  (drop (call $count (local.get 0))) (drop (call $tail (local.get 0))) (drop (call $loop (i32.const 1000)))"
    "  (call $middle (i32.const 1)))"
    " (func (export \"trap\") (param i32) (result i32) (drop (call $leaf (i32.const 1))) (call $divide (i32.const 0)))"
    " (func $divide (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))"
    " (func (export \"spin\") (param i32) (result i32) (drop (call $leaf (i32.const 1))) (loop (br 0)) (i32.const 0)))";

enum { HOST, LEAF, MIDDLE, COUNT, TAIL, OTHER, LOOP, RUN, TRAP, DIVIDE, SPIN, FUNCS };

static enum gw_trap work(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  return gw_instance_charge(caller, values[0].u32) ? GW_TRAP_NONE : GW_TRAP_OUT_OF_GAS;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func host = {"host", "work", "_i", work};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &host};
  return true;
}

struct fixture {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
};

static struct fixture open_fixture(uint32_t level, bool profile, uint64_t limit, uint64_t slice) {
  struct fixture f;
  struct gw_error err = {0};
  f.engine = gw_engine_create(
      &(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = true, .verify = true, .profile = profile},
      &err);
  f.module = wat_module(f.engine, module_text);
  f.store = gw_store_create(f.engine, &(struct gw_store_options){.gas_limit = limit, .slice = slice}, &err);
  f.instance = gw_instance_create(f.store, f.module, resolve, NULL, &err);
  if (!f.instance) fail_msg("%s", err.message);
  return f;
}

static void close_fixture(struct fixture *f) {
  gw_store_destroy(f->store);
  gw_module_release(f->module);
  gw_engine_destroy(f->engine);
}

static uint64_t call(struct fixture *f, const char *name, int32_t argument, enum gw_trap expected) {
  struct gw_error err = {0};
  union gw_value value = {.i32 = argument};
  gw_call_export(f->instance, name, &value, 1, &err);
  if (err.trap != expected) fail_msg("%s: %s", name, err.message);
  return gw_store_gas_used(f->store);
}

/* Gas and calls of every function; answers the sum of the gas, the root's with it. */
static uint64_t collect(const struct fixture *f, uint64_t *gas, uint64_t *calls) {
  const struct profile *p = profile_of_store(f->store);
  uint64_t sum = 0;
  memset(gas, 0, FUNCS * sizeof *gas);
  memset(calls, 0, FUNCS * sizeof *calls);
  for (uint32_t i = 0; i < p->n; i++) {
    sum += p->nodes[i].gas;
    if (!p->nodes[i].instance) continue;
    assert_ptr_equal(p->nodes[i].instance, f->instance);
    gas[p->nodes[i].func] += p->nodes[i].gas;
    calls[p->nodes[i].func] += p->nodes[i].calls;
  }
  return sum;
}

static uint64_t price(enum cost c) { return schedule_default()->gas[c]; }

static void test_functions(void **state) {
  (void)state;
  for (uint32_t level = 0; level <= 3; level++) {
    struct fixture plain = open_fixture(level, false, 0, 0), f = open_fixture(level, true, 0, level == 1 ? 50 : 0);
    uint64_t gas[FUNCS], calls[FUNCS], used = call(&f, "run", 10, GW_TRAP_NONE);
    assert_int_equal(used, call(&plain, "run", 10, GW_TRAP_NONE)); /* looking on changes nothing */
    assert_int_equal(collect(&f, gas, calls), used);
    assert_int_equal(gas[HOST], price(COST_HOST_CALL) + 5);
    uint64_t leaf = 3 * (price(COST_LOCAL) + price(COST_CONST) + price(COST_MUL) + price(COST_CTL));
    assert_int_equal(gas[LEAF], leaf);
    static const uint64_t expected[FUNCS] = {
        [HOST] = 1, [LEAF] = 3, [MIDDLE] = 1, [COUNT] = 11, [TAIL] = 11, [OTHER] = 10, [LOOP] = 1, [RUN] = 1};
    assert_memory_equal(calls, expected, sizeof expected);
    close_fixture(&plain);
    close_fixture(&f);
  }
}

/* $count calls itself ten times and is one node; $tail and $other replace each other and lie side by side. */
static void test_ways(void **state) {
  (void)state;
  struct fixture f = open_fixture(2, true, 0, 0);
  call(&f, "run", 10, GW_TRAP_NONE);
  const struct profile *p = profile_of_store(f.store);
  unsigned leaves = 0;
  for (uint32_t i = 1; i < p->n; i++) {
    const struct profile_node *node = &p->nodes[i], *parent = &p->nodes[node->parent];
    if (node->func == RUN) assert_int_equal(node->parent, 0);
    if (node->func == COUNT || node->func == TAIL || node->func == OTHER) assert_int_equal(parent->func, RUN);
    leaves += node->func == LEAF;
    assert_int_equal(node->nested, 0);
  }
  assert_int_equal(leaves, 2);      /* below $tail and below $middle */
  call(&f, "run", 0, GW_TRAP_NONE); /* a fresh start */
  assert_int_equal(profile_of_store(f.store)->nodes[1].calls, 1);
  close_fixture(&f);
}

/* However it ends, what was spent is put down. */
static void test_other_ends(void **state) {
  (void)state;
  struct fixture f = open_fixture(2, true, 100000, 0);
  uint64_t gas[FUNCS], calls[FUNCS], used = call(&f, "trap", 0, GW_TRAP_INTEGER_DIVIDE_BY_ZERO);
  assert_int_equal(collect(&f, gas, calls), used);
  assert_int_equal(calls[DIVIDE], 1);
  assert_int_equal(gas[DIVIDE], price(COST_CONST) + price(COST_LOCAL) + price(COST_DIV) + price(COST_CTL));
  used = call(&f, "spin", 0, GW_TRAP_OUT_OF_GAS);
  assert_int_equal(used, 100000);
  assert_int_equal(collect(&f, gas, calls), used);
  assert_true(gas[SPIN] > 99000);
  close_fixture(&f);
}

/* What its gas blocks cost, by what is said of each; adds up their instructions. */
static uint64_t count_blocks(const struct gw_instance *instance, uint64_t *instructions) {
  const uint64_t *entered;
  const struct gas_blocks *blocks = profile_blocks(instance, &entered);
  struct price_rates rates = schedule_rates(schedule_default());
  uint64_t sum = 0;
  for (uint32_t i = 0; i < blocks->n; i++) {
    const struct gas_block_info *block = &blocks->items[i];
    struct block_prices prices;
    if (!block->offset) continue;
    price_blocks(gw_module_decoded(gw_instance_module(instance)), block->func, &rates, NULL, &prices);
    sum += entered[i] * price_at(&prices, block->offset);
    for (int c = 0; c < COST_COUNT; c++) instructions[c] += entered[i] * block->instructions[c];
    prices_clear(&prices);
  }
  return sum;
}

static void test_blocks(void **state) {
  (void)state;
  for (uint32_t level = 0; level <= 3; level++) {
    struct fixture f = open_fixture(level, true, 0, 0);
    uint64_t counts[COST_COUNT] = {0}, used = call(&f, "run", 10, GW_TRAP_NONE), sum = count_blocks(f.instance, counts);
    /* What is not paid for instructions: the host's call and its charge, and 160 bytes. */
    assert_int_equal(used - sum, price(COST_HOST_CALL) + 5 + 10 * price(COST_MEMORY_BYTES_16));
    assert_int_equal(counts[COST_LOOP], 1000);
    assert_int_equal(counts[COST_MUL], 3);
    assert_int_equal(counts[COST_BULK], 1);
    assert_int_equal(counts[COST_CALL_INDIRECT], 1);
    close_fixture(&f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_functions),
      cmocka_unit_test(test_ways),
      cmocka_unit_test(test_other_ends),
      cmocka_unit_test(test_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
