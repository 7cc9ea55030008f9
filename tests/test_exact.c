/* What a run that trapped leaves behind, for embedders, who may go on with the instance: memory, globals and tables are those of
 * the precise tier. Code with loose traps must differ somewhere here, or this would test nothing. */
#include "gasworks.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define OUT "(i32.const 65536)"

static const char *const module_text =
    "(module (memory (export \"memory\") 1) (global $g (export \"g\") (mut i32) (i32.const 0))"
    "(table $t (export \"t\") 4 funcref) (elem declare func $f) (func $f)"
    /* the same place twice, around loads and stores that fail */
    "(func (export \"around_load\") (param i32) (i32.store (i32.const 16) (i32.const 1)) (drop (i32.load (local.get 0)))"
    " (i32.store (i32.const 16) (i32.const 2)))"
    "(func (export \"around_store\") (param i32) (i32.store (i32.const 16) (i32.const 1)) (i32.store (local.get 0) (i32.const 6))"
    " (i32.store (i32.const 16) (i32.const 2)))"
    "(func (export \"global\") (param i32) (global.set $g (i32.const 1)) (drop (i32.load (local.get 0)))"
    " (global.set $g (i32.const 2)))"
    "(func (export \"table\") (param i32) (table.set $t (i32.const 1) (ref.func $f)) (i32.store (local.get 0) (i32.const 1))"
    " (table.set $t (i32.const 2) (ref.func $f)) (table.set $t (i32.const 1) (ref.null func)))"
    /* bytes that become one store */
    "(func (export \"merged\") (param i32) (i32.store8 (i32.const 32) (i32.const 1)) (i32.store8 (i32.const 33) (i32.const 2))"
    " (drop (i32.load8_u (local.get 0))) (i32.store8 (i32.const 34) (i32.const 3)) (i32.store8 (i32.const 35) (i32.const 4)))"
    "(func (export \"merged_at_end\") (param i32)"
    " (i32.store8 (i32.const 65533) (i32.const 1)) (i32.store8 (i32.const 65534) (i32.const 2))"
    " (i32.store8 (i32.const 65535) (i32.const 3)) (i32.store8 (local.get 0) (i32.const 4)))"
    /* loops that leave the memory: filling, copying, adding, counting in one place */
    "(func (export \"fill\") (param i32) (local $i i32) (local.set $i (i32.const 65000))"
    " (loop $l (i32.store8 (local.get $i) (i32.const 7))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 70000)))))"
    "(func (export \"copy\") (param i32) (local $i i32)"
    " (loop $l (i32.store (i32.add (i32.const 1024) (local.get $i)) (i32.add (i32.const 3) (i32.load (i32.add (i32.const 60000) "
    "(local.get $i)))))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 16000)))))"
    "(func (export \"add\") (param i32) (local $i i32)"
    " (loop $l (f64.store (i32.add (i32.const 64000) (local.get $i)) (f64.add (f64.const 1) (f64.load (i32.add (i32.const 2048) "
    "(local.get $i)))))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 16000)))))"
    "(func (export \"count\") (param i32) (local $i i32) (local.set $i (i32.const 65000))"
    " (loop $l (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.load8_u (local.get $i))))"
    "  (i32.store (i32.const 12) (local.get $i)) (global.set $g (local.get $i))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 70000)))))"
    /* traps by call and calls */
    "(func $deep (param i32) (i32.store (i32.const 48) (local.get 0)) (drop (i32.load (local.get 0))))"
    "(func (export \"calls\") (param i32) (call $deep (i32.const 4)) (call $deep (local.get 0)) (call $deep (i32.const 8)))"
    "(func (export \"divides\") (param i32) (i32.store (i32.const 52) (i32.const 9))"
    " (drop (i32.div_u (i32.const 1) (i32.sub (local.get 0) (local.get 0)))) (i32.store (i32.const 52) (i32.const 10)))"
    "(func (export \"bulk\") (param i32) (i32.store (i32.const 56) (i32.const 1)) (memory.fill (i32.const 65500) (i32.const 1) "
    "(i32.const 100))"
    " (i32.store (i32.const 56) (i32.const 2)))"
    "(func (export \"vector\") (param i32) (v128.store (i32.const 64) (v128.const i32x4 -1 -1 -1 -1))"
    " (v128.store (i32.const 64) (v128.load8_splat (local.get 0)))))";

static const char *const names[] = {"around_load", "around_store", "global", "table", "merged",  "merged_at_end", "fill",
                                    "copy",        "add",          "count",  "calls", "divides", "bulk",          "vector"};
enum { N_NAMES = sizeof names / sizeof names[0] };

struct left {
  uint8_t memory[65536];
  int32_t global;
  uint32_t set; /* entries of the table that are not null */
  enum gw_trap trap;
};

struct guest {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
};

static void open_guest(struct guest *g, uint32_t level, bool gas, bool loose, enum gw_tier tier) {
  struct gw_error err = {0};
  g->engine = gw_engine_create(&(struct gw_engine_options){.opt_level = level, .gas = gas, .loose_traps = loose}, &err);
  g->module = wat_module(g->engine, module_text);
  g->store = gw_store_create(g->engine, &(struct gw_store_options){.tier = tier}, &err);
  g->instance = gw_instance_create(g->store, g->module, NULL, NULL, &err);
  if (!g->instance) fail_msg("%s", err.message);
}

static void close_guest(struct guest *g) {
  gw_store_destroy(g->store);
  gw_module_release(g->module);
  gw_engine_destroy(g->engine);
}

/* After one function, in a fresh instance whose memory holds numbers. */
static void run(struct guest *g, const char *name, struct left *out) {
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = 65536}};
  struct gw_extern found;
  assert_true(gw_instance_reset(g->instance, &err));
  uint8_t *memory = gw_instance_memory(g->instance, 0, 65536);
  for (int i = 0; i < 65536; i++) memory[i] = (uint8_t)(i * 7 + i / 256);
  memset(memory + 2048, 0, 16384);
  assert_false(gw_call_export(g->instance, name, values, 1, &err));
  assert_int_equal(err.code, GW_ERROR_TRAP);
  out->trap = err.trap;
  memcpy(out->memory, memory, sizeof out->memory);
  assert_true(gw_instance_export(g->instance, "g", 1, &found));
  out->global = gw_global_get(found.of.global).i32;
  assert_true(gw_instance_export(g->instance, "t", 1, &found));
  out->set = 0;
  for (uint32_t i = 0; i < 4; i++) {
    union gw_value entry;
    assert_true(gw_table_get(found.of.table, i, &entry));
    out->set |= (uint32_t)(entry.ref != NULL) << i;
  }
}

static int count_differences(uint32_t level, bool gas, bool loose, bool is_told) {
  static struct left left[2];
  struct guest precise, fast;
  int n = 0;
  open_guest(&precise, level, gas, loose, GW_TIER_PRECISE);
  open_guest(&fast, level, gas, loose, GW_TIER_FAST);
  for (int i = 0; i < N_NAMES; i++) {
    memset(left, 0, sizeof left);
    run(&precise, names[i], &left[0]);
    run(&fast, names[i], &left[1]);
    if (memcmp(&left[0], &left[1], sizeof left[0]) == 0) continue;
    n++;
    if (is_told) print_error("%s at -O%u, gas %d: another state\n", names[i], level, gas);
  }
  close_guest(&precise);
  close_guest(&fast);
  return n;
}

static void test_state_behind_traps(void **state) {
  (void)state;
  for (uint32_t level = 0; level < 4; level++)
    for (int gas = 0; gas < 2; gas++) assert_int_equal(count_differences(level, gas, false, true), 0);
}

static void test_can_fail(void **state) {
  (void)state;
  assert_true(count_differences(2, true, true, false) >= 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_state_behind_traps), cmocka_unit_test(test_can_fail)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
