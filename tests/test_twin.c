/* Functions with the same body share their code (jit/twin.c) only where nobody can tell. */
#include "base/buffer.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MANY = 3000 };

static size_t code_bytes(const char *text, struct gw_engine_options options) {
  struct gw_error err = {0};
  struct gw_module_stats stats;
  options.gas = options.verify = true;
  struct gw_engine *engine = gw_engine_create(&options, &err);
  struct gw_module *module = wat_module(engine, text);
  if (!gw_module_compile(module, &err)) fail_msg("%s", err.message);
  gw_module_stats(module, &stats);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return stats.code_bytes;
}

static void test_many(void **state) {
  (void)state;
  struct buffer text = {0};
  buffer_append_string(&text, "(module");
  for (uint32_t i = 0; i < MANY; i++)
    buffer_append_string(&text, "(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))");
  buffer_append(&text, ")", 2);
  for (uint32_t level = 0; level < 4; level++)
    assert_in_range(code_bytes((char *)text.bytes, (struct gw_engine_options){.loose_traps = true, .opt_level = level}), 1, MANY);
  buffer_clear(&text);
}

/* Twins, and what is nearly one: another type, other locals, another constant, what can trap. */
static const char alike[] =
    "(module (memory 1) (table funcref (elem $a $b $c $d $e $f $g $h)) (type $t (func (param i32) (result i32)))"
    " (func $a (type $t) (i32.add (local.get 0) (i32.const 1)))"
    " (func $b (type $t) (i32.add (local.get 0) (i32.const 1)))"
    " (func $c (type $t) (i32.add (local.get 0) (i32.const 2)))"
    " (func $d (type $t) (local i32) (i32.add (local.get 0) (local.get 1)))"
    " (func $e (type $t) (local i64) (i32.add (local.get 0) (local.get 0)))"
    " (func $f (type $t) (i32.load (local.get 0)))"
    " (func $g (type $t) (i32.load (local.get 0)))"
    " (func $h (type $t) (i32.add (local.get 0) (i32.const 1)))"
    " (func $wide (param i64) (result i64) (local.get 0))"
    " (func $narrow (param i32) (result i32) (local.get 0))"
    " (func (export \"run\") (param i32 i32) (result i32)"
    "  (i32.add (call_indirect (type $t) (local.get 0) (local.get 1))"
    "   (i32.add (call $b (local.get 0)) (i32.add (call $narrow (i32.const 3)) (i32.wrap_i64 (call $wide (i64.const 4))))))))";

struct result {
  uint32_t value;
  uint64_t gas;
  struct gw_error err;
};

static struct result run_text(const char *text, struct gw_engine_options options, enum gw_tier tier, uint32_t n, uint32_t func) {
  struct result r = {0};
  struct gw_error err = {0};
  union gw_value values[2] = {{.u32 = n}, {.u32 = func}};
  options.gas = options.verify = true;
  struct gw_engine *engine = gw_engine_create(&options, &err);
  struct gw_module *module = wat_module(engine, text);
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 100000, .tier = tier}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  gw_call_export(instance, "run", values, 2, &r.err);
  r.value = values[0].u32;
  r.gas = gw_store_gas_used(store);
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return r;
}

static struct result run(struct gw_engine_options options, enum gw_tier tier, uint32_t n, uint32_t func) {
  return run_text(alike, options, tier, n, func);
}

static void test_results(void **state) {
  (void)state;
  for (uint32_t func = 0; func < 8; func++) {
    struct result expected = run((struct gw_engine_options){.loose_traps = true}, GW_TIER_PRECISE, 8, func);
    for (uint32_t i = 0; i < 8; i++) {
      struct result r =
          run((struct gw_engine_options){.loose_traps = true, .opt_level = i % 4, .profile = i >= 4}, GW_TIER_FAST, 8, func);
      if (r.err.code) fail_msg("%s", r.err.message);
      assert_int_equal(r.value, expected.value);
      assert_int_equal(r.gas, expected.gas);
    }
  }
}

static void test_trap_names_its_function(void **state) {
  (void)state;
  for (uint32_t level = 0; level < 4; level++)
    for (uint32_t func = 5; func < 7; func++) {
      struct result r = run((struct gw_engine_options){.loose_traps = true, .opt_level = level}, GW_TIER_FAST, 0x100000, func);
      assert_int_equal(r.err.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
      assert_int_equal(r.err.func, func);
    }
}

/* Calls of twins from all parts of a module that is compiled in several. Every function adds one and calls two leaves. */
static void test_parts(void **state) {
  enum { FUNCS = 1200, CALLS = 60 };
  (void)state;
  struct buffer text = {0};
  char line[96];
  buffer_append_string(&text, "(module");
  for (uint32_t i = 0; i < FUNCS; i++) {
    if (i % 2 == 0) {
      buffer_append_string(&text, "(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))");
      continue;
    }
    buffer_append_string(&text, "(func (param i32) (result i32) (local.get 0)");
    for (uint32_t k = 0; k < CALLS; k++) {
      snprintf(line, sizeof line, "(call %u)", (i * 37 + k * 101) % FUNCS / 2 * 2);
      buffer_append_string(&text, line);
    }
    buffer_append_string(&text, ")");
  }
  snprintf(line, sizeof line, "(func (export \"run\") (param i32 i32) (result i32) (call %d (local.get 0))))", FUNCS - 1);
  buffer_append_string(&text, line);
  buffer_append(&text, "", 1);
  for (uint32_t level = 0; level < 3; level++) {
    struct result r =
        run_text((char *)text.bytes, (struct gw_engine_options){.loose_traps = true, .opt_level = level}, GW_TIER_FAST, 5, 0);
    if (r.err.code) fail_msg("%s", r.err.message);
    assert_int_equal(r.value, 5 + CALLS);
  }
  buffer_clear(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_many),
      cmocka_unit_test(test_parts),
      cmocka_unit_test(test_results),
      cmocka_unit_test(test_trap_names_its_function),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
