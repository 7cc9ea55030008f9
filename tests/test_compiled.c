/* Compiled code is right or not at all: what rerolling, the gas pass and the judge once got wrong, on every level and with
 * profiles. */
#include "runtime/debug/judge.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TYPE "(param i32) (result i32)"

/* What `run` gives, or its trap. */
static uint32_t run(const char *text, struct gw_engine_options options, enum gw_tier tier, uint64_t limit, uint32_t n,
                    struct gw_error *end) {
  struct gw_error err = {0};
  union gw_value value = {.u32 = n};
  options.gas = options.verify = true;
  struct gw_engine *engine = gw_engine_create(&options, &err);
  struct gw_module *module = wat_module(engine, text);
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = limit, .tier = tier}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  gw_call_export(instance, "run", &value, 1, end);
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return value.u32;
}

/* On all levels, with and without a profile. */
static void expect(const char *text, uint32_t n, uint32_t expected) {
  struct gw_error err = {0};
  assert_int_equal(run(text, (struct gw_engine_options){.loose_traps = true}, GW_TIER_PRECISE, 1000000, n, &err), expected);
  for (uint32_t i = 0; i < 8; i++) {
    struct gw_engine_options options = {.loose_traps = true, .opt_level = i % 4, .profile = i >= 4};
    uint32_t result = run(text, options, GW_TIER_FAST, 1000000, n, &err);
    if (err.code) fail_msg("%s", err.message);
    assert_int_equal(result, expected);
  }
}

/* What a look was put between: a tail call, of a leaf or through a table, and its return. */
static void test_tail_calls(void **state) {
  (void)state;
  expect(
      "(module (type $t (func " TYPE ")) (table funcref (elem $leaf)) (func $leaf " TYPE " (local.get 0))"
      " (func $calls " TYPE " (if (result i32) (local.get 0) (then (call $calls (i32.sub (local.get 0) (i32.const 1))))"
      "  (else (i32.const 7))))"
      " (func $through " TYPE " (drop (call $calls (local.get 0))) (return_call_indirect (type $t) (local.get 0) (i32.const 0)))"
      " (func (export \"run\") " TYPE " (drop (call $calls (call $through (local.get 0)))) (return_call $leaf (local.get 0))))",
      5, 5);
  expect("(module (func $g " TYPE " (local.get 0)) (func (export \"run\") " TYPE " (return_call $g (local.get 0))))", 5, 5);
}

/* LLVM empties what a condition that folds never leads to, its looks included. */
static void test_dead_loops(void **state) {
  (void)state;
  expect(
      "(module (func (export \"run\") " TYPE
      " (if (i32.eqz (i32.add (i32.and (i32.shl (local.get 0) (i32.const 1)) (i32.const 6)) (i32.const 1))) (then (loop (br 0))))"
      " (local.get 0)))",
      5, 5);
  expect("(module (func (export \"run\") " TYPE " (if (i32.ge_u (i32.add (i32.and (local.get 0) (i32.const 3)) (i32.shl (i32.and "
         "(local.get 0) (i32.const 1)) (i32.const 3)))"
         "  (i32.const 16)) (then (loop (br 0)))) (local.get 0)))",
         5, 5);
  expect("(module (func (export \"run\") " TYPE " (local i32) (local.set 1 (i32.mul (local.get 0) (local.get 0))) (if (i32.and "
         "(i32.eq (local.get 0) (local.get 1)) (i32.ne (local.get 0)"
         " (local.get 1))) (then (loop (br 0)))) (local.get 0)))",
         5, 5);
}

#define PART(OFFSET, VALUE) "(v128.store offset=" OFFSET " (local.get 1) (i32x4.add " VALUE " (local.get 3)))"
#define IN(OFFSET) "(local.tee 3 (v128.load offset=" OFFSET " (local.get 1)))"
#define AGAIN "(local.get 3)"
#define UNROLLED(FIRST, SECOND)                                                                                                  \
  "(module (memory 1) (func (export \"run\") " TYPE " (local i32 i32 v128)"                                                      \
  " (loop (i32.store (local.get 1) (i32.mul (local.get 1) (i32.const 0x9e3779b1)))"                                              \
  "  (br_if 0 (i32.ne (local.tee 1 (i32.add (local.get 1) (i32.const 4))) (i32.const 4096)))) (local.set 1 (i32.const 0))"       \
  " (loop " PART("8192", FIRST) PART(                                                                                            \
      "8208",                                                                                                                    \
      SECOND) "  (br_if 0 (i32.ne (local.tee 1 (i32.add (local.get 1) (i32.const 32))) (i32.const 2048))))"                      \
              " (loop (local.set 2 (i32.add (i32.mul (local.get 2) (i32.const 31)) (i32.load offset=8192 (local.tee 1 (i32.sub " \
              "(local.get 1) (i32.const 4)))))) (br_if 0 (local.get 1))) (local.get 2)))"

/* Two parts that differ in one thing that no operand shows. */
static void test_nearly_unrolled(void **state) {
  static const char *const texts[] = {
      UNROLLED("(i8x16.shuffle 4 5 6 7 0 1 2 3 12 13 14 15 8 9 10 11 " IN("0") AGAIN ")",
               "(i8x16.shuffle 12 13 14 15 8 9 10 11 4 5 6 7 0 1 2 3 " IN("16") AGAIN ")"),
      UNROLLED("(i32x4.lt_s " IN("0") "(v128.const i32x4 1 2 3 4))", "(i32x4.gt_s " IN("16") "(v128.const i32x4 1 2 3 4))"),
      UNROLLED("(i32x4.replace_lane 1 " IN("0") "(local.get 0))", "(i32x4.replace_lane 2 " IN("16") "(local.get 0))"),
      UNROLLED("(i32x4.extend_low_i16x8_s " IN("0") ")", "(i32x4.extend_low_i16x8_u " IN("16") ")"),
      UNROLLED("(i16x8.min_s " IN("0") AGAIN ")", "(i16x8.max_s " IN("16") AGAIN ")"),
      UNROLLED("(i32x4.trunc_sat_f32x4_s (f32x4.convert_i32x4_s " IN("0") "))",
               "(i32x4.trunc_sat_f32x4_s (f32x4.convert_i32x4_u " IN("16") "))"),
  };
  struct gw_error err = {0};
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    expect(texts[i], 5, run(texts[i], (struct gw_engine_options){.loose_traps = true}, GW_TIER_PRECISE, 1000000, 5, &err));
}

/* Gas runs out after 100 rounds, the trap of compiled code comes in round 16385. */
static void test_gas_before_trap(void **state) {
  static const char *const traps[] = {"(i32.store (local.get 1) (i32.const 1))",
                                      "(i32.store offset=32768 (local.get 1) (i32.const 1))"};
  char text[600];
  (void)state;
  for (int i = 0; i < 2; i++)
    for (uint32_t level = 0; level < 4; level++) {
      struct gw_error fast = {0}, precise = {0};
      snprintf(text, sizeof text,
               "(module (memory 1) (func (export \"run\") " TYPE " (local i32) (loop %s (local.set 1 (i32.add (local.get 1)"
               " (i32.const 4))) (br_if 0 (i32.ne (local.get 1) (i32.const 0x100000)))) (local.get 1)))",
               traps[i]);
      run(text, (struct gw_engine_options){.loose_traps = true, .opt_level = level}, GW_TIER_FAST, 1000, 0, &fast);
      run(text, (struct gw_engine_options){.loose_traps = true}, GW_TIER_PRECISE, 1000, 0, &precise);
      assert_int_equal(precise.trap, GW_TRAP_OUT_OF_GAS);
      assert_true(judge_confirms(&fast, &precise));
    }
}

/* Who is judged: rows of a run that is, each with one thing else. */
static void test_conditions(void **state) {
  enum { ALL = RECORD_ALL, SOME = RECORD_UNREPEATABLE };
  static const struct {
    enum gw_tier tier;
    enum gw_error_code code;
    enum gw_trap trap;
    int scope;
    bool is_full;
    double seconds, most;
    bool is_judged;
  } rows[] = {
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_UNREACHABLE, SOME, false, 9, 0, true},
      {GW_TIER_PRECISE, GW_ERROR_TRAP, GW_TRAP_UNREACHABLE, SOME, false, 9, 0, false},
      {GW_TIER_FAST, GW_ERROR_BAD_REPLY, 0, SOME, false, 9, 0, false},
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_STACK_OVERFLOW, SOME, false, 9, 0, true},
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_OUT_OF_GAS, ALL, false, 9, 0, false},
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_HOST, SOME, false, 9, 0, false},
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_HOST, ALL, false, 9, 0, true},
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_CANCELLED, ALL, false, 9, 0, false},
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_UNREACHABLE, ALL, true, 9, 0, false},
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_UNREACHABLE, ALL, false, 1.9, 2, true},
      {GW_TIER_FAST, GW_ERROR_TRAP, GW_TRAP_UNREACHABLE, ALL, false, 2, 2, false},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct record record = {.scope = (enum record_scope)rows[i].scope, .is_full = rows[i].is_full};
    struct judged run = {.tier = rows[i].tier, .record = &record, .seconds = rows[i].seconds, .most_seconds = rows[i].most};
    struct gw_error err = {.code = rows[i].code, .trap = rows[i].trap};
    if (judge_wants(&run, &err) != rows[i].is_judged) fail_msg("row %zu", i);
  }
}

/* A second run that left the record's way traps as a host function does, which is no confirmation of a host function's trap. */
static void test_parted(void **state) {
  struct gw_error fast = {.code = GW_ERROR_TRAP, .trap = GW_TRAP_HOST, .message = "the host's word"};
  struct gw_error precise = {.code = GW_ERROR_TRAP, .trap = GW_TRAP_HOST, .message = "another call"};
  struct judge trial = {0};
  struct record record = {0};
  (void)state;
  record_begin(&record, RECORD_ALL, 100);
  judge_begin(&trial, &record, 0, &fast);
  assert_true(judge_is_under_way(&trial));
  record.has_parted = true;
  assert_int_equal(judge_end(&trial, 0, " about x", &precise), JUDGE_DISAGREED);
  assert_non_null(strstr(precise.message, "the tiers disagree about x: compiled code says \"the host's word\""));
  precise = fast;
  judge_begin(&trial, &record, 0, &fast);
  assert_int_equal(judge_end(&trial, 0, "", &precise), JUDGE_CONFIRMED);
  record_clear(&record);
}

static void test_verdicts(void **state) {
  struct gw_error fast = {.code = GW_ERROR_TRAP, .trap = GW_TRAP_MEMORY_OUT_OF_BOUNDS}, precise = fast, report = {0};
  struct judge trial = {0};
  struct record record = {0};
  (void)state;
  assert_true(judge_confirms(&fast, &precise));
  precise.trap = GW_TRAP_UNREACHABLE;
  assert_false(judge_confirms(&fast, &precise));
  precise.trap = GW_TRAP_OUT_OF_GAS;
  assert_true(judge_confirms(&fast, &precise));
  precise = (struct gw_error){0};
  assert_false(judge_confirms(&fast, &precise));
  snprintf(
      fast.message, sizeof fast.message,
      "out of bounds memory access in function with_a_long_name at address 0x10000, memory size 65536 and more words than fit");
  judge_begin(&trial, &record, 0, &fast);
  assert_int_equal(judge_end(&trial, 0, "", &report), JUDGE_DISAGREED);
  assert_false(judge_is_under_way(&trial));
  assert_null(strstr(report.message, "6553\"")); /* numbers are whole */
  assert_non_null(strstr(report.message, "the interpreter says \"success\""));
  report = (struct gw_error){.code = GW_ERROR_TRAP, .trap = GW_TRAP_CANCELLED};
  judge_begin(&trial, &record, 0, &fast);
  assert_int_equal(judge_end(&trial, 0, "", &report), JUDGE_CANCELLED);
  assert_int_equal(report.trap, GW_TRAP_CANCELLED);
  judge_begin(&trial, &record, 1000, &fast);
  assert_int_equal(judge_end(&trial, 1000, "", &report), JUDGE_CANCELLED);
  judge_begin(&trial, &record, 1000, &fast);
  assert_int_equal(judge_end(&trial, 1001, "", &report), JUDGE_LATE);
  assert_int_equal(report.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  assert_true(judge_limit_ns(0) == 32000000000 && judge_limit_ns(UINT64_MAX) == 32000000000 && judge_limit_ns(1) == 1);
  assert_true(judge_most_seconds(0) == 2 && judge_most_seconds(UINT64_MAX) == 2);
  assert_true(judge_most_seconds(1600000000) == 0.1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tail_calls),      cmocka_unit_test(test_dead_loops), cmocka_unit_test(test_nearly_unrolled),
      cmocka_unit_test(test_gas_before_trap), cmocka_unit_test(test_verdicts),   cmocka_unit_test(test_conditions),
      cmocka_unit_test(test_parted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
