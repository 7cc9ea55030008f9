/* Records of host calls: a second run of the same guest meets the same host, in any tier, and the host is not asked again. */
#include "runtime/debug/record.h"
#include "runtime/store.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>

#include <cmocka.h>

/* `ask` gives the host 64 bytes to write to, and sums what came; then a fault, if the parameter says so. */
static const char text[] = "(module (import \"host\" \"ask\" (func $ask (param i32) (result i32)))"
                           " (import \"host\" \"peek\" (func $peek (param i32) (result i32)))"
                           " (import \"host\" \"fail\" (func $fail)) (memory 1)"
                           " (func (export \"run\") (param $n i32) (param $address i32) (result i32) (local $sum i32)"
                           "  (loop $l"
                           "   (local.set $sum (i32.add (local.get $sum) (call $ask (i32.const 100))))"
                           "   (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 104))))"
                           "   (local.set $sum (i32.add (local.get $sum) (call $peek (i32.const 100))))"
                           "   (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
                           "  (drop (i32.load (local.get $address)))"
                           "  (local.get $sum))"
                           " (func (export \"fails\") (param i32 i32) (result i32) (call $fail) (i32.const 0)))";

/* A host that never answers the same twice. */
static int n_asked, n_peeked;

static enum gw_trap ask(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  uint8_t *out = gw_instance_memory(caller, values[0].u32, 64);
  if (!out) return GW_TRAP_HOST;
  n_asked++;
  gw_instance_unrepeatable(caller);
  if (!gw_instance_charge(caller, 1000 + (uint64_t)n_asked)) return GW_TRAP_OUT_OF_GAS;
  out[5] = (uint8_t)(n_asked * 7); /* few of the bytes that it asked for */
  out[6] = (uint8_t)n_asked;
  values[0].u64 = (uint32_t)(n_asked * 1000003);
  return GW_TRAP_NONE;
}

/* Only reads. */
static enum gw_trap peek(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  const uint8_t *in = gw_instance_memory(caller, values[0].u32, 32768);
  n_peeked++;
  values[0].u64 = in ? in[5] : 0;
  return GW_TRAP_NONE;
}

static enum gw_trap refuse(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env, (void)values;
  gw_instance_unrepeatable(caller);
  gw_instance_fail(caller, "the host has had enough, for the %dth time", ++n_asked);
  return GW_TRAP_HOST;
}

/* Asks for all of the caller's memory, as often as the guest says. */
static enum gw_trap hoard(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  gw_instance_unrepeatable(caller);
  for (uint32_t i = 0; i < values[0].u32; i++)
    if (!gw_instance_memory(caller, 0, gw_instance_memory_size(caller))) return GW_TRAP_HOST;
  return GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func funcs[] = {
      {"host", "ask", "i_i", ask}, {"host", "peek", "i_i", peek}, {"host", "fail", "_", refuse}, {"host", "hoard", "i_i", hoard}};
  (void)env;
  for (size_t i = 0; i < sizeof funcs / sizeof *funcs; i++) {
    if (strlen(funcs[i].name) != import->field_size || memcmp(import->field, funcs[i].name, import->field_size)) continue;
    *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = &funcs[i]}};
    return true;
  }
  return false;
}

static struct gw_engine *engine;
static struct gw_module *module;

struct outcome {
  bool ok;
  int32_t result;
  uint64_t gas;
  struct gw_error err;
  uint8_t memory[200];
};

static struct outcome run(enum gw_tier tier, struct record *record, const char *name, int32_t n, int32_t address) {
  struct outcome o = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.tier = tier}, &o.err);
  assert_non_null(store);
  gw_store_set_record(store, record);
  struct gw_instance *instance = gw_instance_create(store, module, resolve, NULL, &o.err);
  if (!instance) fail_msg("%s", o.err.message);
  union gw_value values[2] = {{.i32 = n}, {.i32 = address}};
  o.ok = gw_call_export(instance, name, values, 2, &o.err);
  o.result = values[0].i32;
  o.gas = gw_store_gas_used(store);
  gw_store_set_record(store, NULL);
  memcpy(o.memory, gw_instance_memory(instance, 0, sizeof o.memory), sizeof o.memory);
  gw_store_destroy(store);
  return o;
}

static void expect_same(const struct outcome *a, const struct outcome *b) {
  assert_int_equal(a->ok, b->ok);
  assert_int_equal(a->err.trap, b->err.trap);
  assert_int_equal(a->result, b->result);
  assert_int_equal(a->gas, b->gas);
  assert_memory_equal(a->memory, b->memory, sizeof a->memory);
}

static const enum gw_tier tiers[] = {GW_TIER_FAST, GW_TIER_PRECISE, GW_TIER_BASELINE};
enum { N_TIERS = sizeof tiers / sizeof *tiers };

static void test_second_run(void **state) {
  (void)state;
  struct record record = {0};
  for (int scope = RECORD_UNREPEATABLE; scope <= RECORD_ALL; scope++)
    for (int i = 0; i < N_TIERS * N_TIERS; i++) {
      record_begin(&record, (enum record_scope)scope, 1 << 20);
      n_peeked = 0;
      struct outcome first = run(tiers[i % N_TIERS], &record, "run", 10, 0);
      assert_true(first.ok);
      int asked = n_asked, peeked = n_peeked;
      record_replay(&record, RECORD_ENDS);
      struct outcome second = run(tiers[i / N_TIERS], &record, "run", 10, 0);
      expect_same(&first, &second);
      assert_int_equal(n_asked, asked);
      assert_int_equal(n_peeked - peeked, scope == RECORD_ALL ? 0 : 10);
      assert_false(record.has_parted);
      /* What was only read, and what was left as it was, takes no room. */
      if (scope == RECORD_ALL) assert_in_range(record.log.size, 10 * 2, 10 * 200);
    }
  record_clear(&record);
}

/* The judge: the exact trap of a run that asked an unsteady host. */
static void test_trap(void **state) {
  (void)state;
  struct record record = {0};
  record_begin(&record, RECORD_ALL, 1 << 20);
  struct outcome fast = run(GW_TIER_FAST, &record, "run", 3, 65536);
  assert_int_equal(fast.err.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  record_replay(&record, RECORD_ENDS);
  struct outcome precise = run(GW_TIER_PRECISE, &record, "run", 3, 65536);
  assert_int_equal(precise.err.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  assert_non_null(strstr(precise.err.message, " at byte 0x"));
  assert_memory_equal(fast.memory, precise.memory, sizeof fast.memory);
  record_begin(&record, RECORD_ALL, 1 << 20);
  fast = run(GW_TIER_FAST, &record, "fails", 0, 0);
  int asked = n_asked;
  record_replay(&record, RECORD_ENDS);
  precise = run(GW_TIER_PRECISE, &record, "fails", 0, 0);
  assert_int_equal(n_asked, asked);
  assert_int_equal(precise.err.trap, GW_TRAP_HOST);
  assert_string_equal(wat_message(&precise.err), wat_message(&fast.err));
  record_clear(&record);
}

/* A second run that goes beyond the first: it parts, or goes on with the host. */
static void test_end(void **state) {
  (void)state;
  struct record record = {0};
  for (int scope = RECORD_UNREPEATABLE; scope <= RECORD_ALL; scope++) {
    record_begin(&record, (enum record_scope)scope, 1 << 20);
    assert_true(run(GW_TIER_FAST, &record, "run", 3, 0).ok);
    record_replay(&record, RECORD_ENDS);
    struct outcome longer = run(GW_TIER_PRECISE, &record, "run", 4, 0);
    assert_int_equal(longer.err.trap, GW_TRAP_HOST);
    assert_true(record.has_parted);
  }
  record_begin(&record, RECORD_ALL, 1 << 20);
  assert_true(run(GW_TIER_PRECISE, &record, "run", 3, 0).ok);
  int asked = n_asked;
  record_replay(&record, RECORD_CONTINUES);
  struct outcome whole = run(GW_TIER_FAST, &record, "run", 8, 0);
  assert_true(whole.ok);
  assert_int_equal(n_asked, asked + 5);
  record_replay(&record, RECORD_ENDS); /* all eight are in the record now */
  struct outcome again = run(GW_TIER_PRECISE, &record, "run", 8, 0);
  expect_same(&whole, &again);
  assert_int_equal(n_asked, asked + 5);
  record_clear(&record);
}

static void test_full(void **state) {
  (void)state;
  struct record record = {0};
  record_begin(&record, RECORD_ALL, 500);
  assert_true(run(GW_TIER_FAST, &record, "run", 100, 0).ok);
  assert_true(record.is_full);
  assert_int_equal(record.log.size, 0);
  record_begin(&record, RECORD_ALL, 1 << 20);
  assert_true(run(GW_TIER_FAST, &record, "run", 2, 0).ok);
  assert_false(record.is_full);
  record_clear(&record);
}

static uint64_t peak_bytes(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (uint64_t)used.ru_maxrss << 10;
}

/* What a guest can make calls ask for is many times its memory, and is not copied beyond the limit. */
static void test_hoarder(void **state) {
  (void)state;
  static const char hoarder[] = "(module (import \"host\" \"hoard\" (func $h (param i32) (result i32))) (memory 2048)"
                                " (func (export \"run\") (param i32) (result i32) (call $h (local.get 0))))";
  struct gw_error err = {0};
  struct record record = {0};
  struct gw_module *m = wat_module(engine, hoarder);
  uint64_t before = peak_bytes();
  for (int scope = RECORD_UNREPEATABLE; scope <= RECORD_ALL; scope++)
    for (uint32_t times = 1; times <= 3; times += 2) {
      record_begin(&record, (enum record_scope)scope, 1 << 20);
      struct gw_store *store = gw_store_create(engine, NULL, &err);
      gw_store_set_record(store, &record);
      struct gw_instance *instance = gw_instance_create(store, m, resolve, NULL, &err);
      union gw_value value = {.u32 = times};
      if (!instance || !gw_call_export(instance, "run", &value, 1, &err)) fail_msg("%s", err.message);
      assert_true(record.is_full);
      gw_store_destroy(store);
    }
  assert_in_range(peak_bytes() - before, 0, 64 << 20);
  record_clear(&record);
  gw_module_release(m);
}

static int setup(void **state) {
  (void)state;
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true}, &err);
  if (!engine) wat_fail("engine", err.message);
  module = wat_module(engine, text);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  gw_module_release(module);
  gw_engine_destroy(engine);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_second_run), cmocka_unit_test(test_trap),    cmocka_unit_test(test_end),
      cmocka_unit_test(test_full),       cmocka_unit_test(test_hoarder),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
