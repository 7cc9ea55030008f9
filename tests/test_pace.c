/* Slices bounded by time, with a clock of our own: whatever it says, results and gas are the same. */
#include "runtime/pace.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* behind those */
#include <cmocka.h>

static const char loop[] =
    "(module (func (export \"f\") (result i32) (local $i i32)"
    " (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 500000))))"
    " (local.get $i)))";

static uint64_t time_now, step;

/* Time goes on by `step` whenever somebody asks. */
static uint64_t fake(void) { return time_now += step; }

struct end {
  enum gw_status status;
  enum gw_trap trap;
  uint64_t gas, cpu_ns;
  unsigned n_yields;
  uint32_t result;
};

static struct end run(enum gw_tier tier, uint64_t slice_ns, uint64_t limit_ns, uint64_t owed_ns) {
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  struct gw_module *module = wat_module(engine, loop);
  struct gw_store_options options = {
      .slice = 5000000, .slice_ns = slice_ns, .cpu_limit_ns = limit_ns, .clock = fake, .tier = tier};
  struct gw_store *store = gw_store_create(engine, &options, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  struct gw_extern found;
  union gw_value values[1] = {{0}};
  struct end end = {0};
  assert_true(gw_instance_export(instance, "f", 1, &found));
  gw_store_owe_cpu(store, owed_ns);
  gw_store_start(store, found.of.func, values);
  while ((end.status = gw_store_resume(store, &err)) == GW_STATUS_YIELDED) end.n_yields++;
  end.trap = err.trap;
  end.gas = gw_store_gas_used(store);
  end.cpu_ns = gw_store_cpu_ns(store);
  end.result = (uint32_t)values[0].i32;
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return end;
}

static void test_same_for_any_clock(void **state) {
  (void)state;
  static const uint64_t steps[] = {0, 1000, 64000, 300000, 1000000000};
  for (int tier = GW_TIER_FAST; tier <= GW_TIER_BASELINE; tier++) {
    step = 0;
    struct end first = run((enum gw_tier)tier, 0, 0, 0);
    assert_int_equal(first.result, 500000);
    assert_int_equal(first.n_yields, 0);
    unsigned before = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
      step = steps[i];
      struct end end = run((enum gw_tier)tier, 500000, 0, 0);
      assert_int_equal(end.status, GW_STATUS_DONE);
      assert_int_equal(end.result, first.result);
      assert_int_equal(end.gas, first.gas);
      assert_true(end.n_yields >= before);
      before = end.n_yields;
    }
    assert_true(before > 100);
  }
}

static void test_cpu_limit(void **state) {
  (void)state;
  for (int tier = GW_TIER_FAST; tier <= GW_TIER_BASELINE; tier++) {
    step = 1000000;
    struct end end = run((enum gw_tier)tier, 0, 10000000, 0);
    assert_int_equal(end.status, GW_STATUS_FAILED);
    assert_int_equal(end.trap, GW_TRAP_CANCELLED);
    assert_true(end.cpu_ns > 10000000 && end.cpu_ns < 15000000);
    step = 1;
    assert_int_equal(run((enum gw_tier)tier, 0, 10000000, 0).status, GW_STATUS_DONE);
    assert_int_equal(run((enum gw_tier)tier, 0, 10000000, 9000000).status, GW_STATUS_DONE);
    end = run((enum gw_tier)tier, 0, 10000000, 10000000);
    assert_int_equal(end.trap, GW_TRAP_CANCELLED);
    assert_true(end.cpu_ns > 10000000);
  }
}

/* Early looks double it, late ones cut it; then it takes ever more early ones, and all is forgotten in the end. */
static void test_learning(void **state) {
  (void)state;
  struct gw_pace pace = {0};
  uint64_t first = pace_look(&pace);
  pace_learn(&pace, first, 1000);
  assert_int_equal(pace_look(&pace), 2 * first);
  for (int i = 0; i < 30; i++) pace_learn(&pace, pace_look(&pace), 1000);
  uint64_t most = pace_look(&pace);
  pace_learn(&pace, most, 400000);
  uint64_t cut = pace_look(&pace);
  assert_in_range(cut, most * 64 / 400 - 1, most * 64 / 400);
  for (int i = 0; i < 7; i++) pace_learn(&pace, pace_look(&pace), 1000);
  assert_int_equal(pace_look(&pace), cut);
  pace_learn(&pace, pace_look(&pace), 1000);
  assert_int_equal(pace_look(&pace), 2 * cut);
  pace_learn(&pace, pace_look(&pace), 100000); /* neither early nor late */
  assert_int_equal(pace_look(&pace), 2 * cut);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_for_any_clock), cmocka_unit_test(test_cpu_limit),
                                     cmocka_unit_test(test_learning)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
