/* Instances: linking, initialisation, resets, sharing. */
#include "runtime/object.h"
#include "tests/short.h"
#include "tests/wat.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static struct gw_engine *engine;

static struct gw_store *open_store(void) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){0}, &err);
  assert_non_null(store);
  return store;
}

/* Instantiates; the store keeps the module alive. */
static struct gw_instance *make(struct gw_store *store, const char *text, gw_resolve_fn resolve, void *env,
                                struct gw_error *err) {
  struct gw_module *module = wat_module(engine, text);
  struct gw_instance *instance = gw_instance_create(store, module, resolve, env, err);
  gw_module_release(module);
  return instance;
}

static struct gw_instance *must_make(struct gw_store *store, const char *text, gw_resolve_fn resolve, void *env) {
  struct gw_error err = {0};
  struct gw_instance *instance = make(store, text, resolve, env, &err);
  if (!instance) fail_msg("%s", err.message);
  return instance;
}

static int64_t call(struct gw_instance *instance, const char *name, size_t n, int64_t a, int64_t b) {
  struct gw_error err = {0};
  union gw_value values[2] = {{.i64 = a}, {.i64 = b}};
  if (!gw_call_export(instance, name, values, n, &err)) fail_msg("%s: %s", name, err.message);
  return values[0].i64;
}

static int32_t call32(struct gw_instance *instance, const char *name, size_t n, int64_t a, int64_t b) {
  return (int32_t)call(instance, name, n, a, b);
}

/* Gives whatever another instance exports under the field's name; module names do not matter. */
static bool from_instance(void *env, const struct gw_import *import, struct gw_extern *out) {
  return gw_instance_export(env, import->field, import->field_size, out);
}

/* --- linking ------------------------------------------------------------------------------------------------------ */

static void expect_link_error(const char *exporter, const char *importer, const char *message) {
  struct gw_store *store = open_store();
  struct gw_instance *other = must_make(store, exporter, NULL, NULL);
  struct gw_error err = {0};
  assert_null(make(store, importer, from_instance, other, &err));
  assert_int_equal(err.code, GW_ERROR_LINK);
  if (!strstr(err.message, message) || strstr(err.message, message) != err.message) fail_msg("%s", err.message);
  gw_store_destroy(store);
}

static void test_link_errors(void **state) {
  (void)state;
  static const char exporter[] = "(module (func (export \"f\") (param i32)) (memory (export \"m\") 1 3)"
                                 " (table (export \"t\") 2 funcref) (global (export \"g\") i32 (i32.const 1))"
                                 " (global (export \"v\") (mut i32) (i32.const 1)))";
  expect_link_error(exporter, "(module (import \"a\" \"x\" (func)))", "unknown import a.x");
  expect_link_error(exporter, "(module (import \"a\" \"f\" (func)))", "incompatible import type of a.f");
  expect_link_error(exporter, "(module (import \"a\" \"f\" (func (param i64))))", "incompatible import type of a.f");
  expect_link_error(exporter, "(module (import \"a\" \"f\" (memory 1)))", "incompatible import type of a.f");
  expect_link_error(exporter, "(module (import \"a\" \"m\" (memory 2)))", "incompatible import type of a.m");
  expect_link_error(exporter, "(module (import \"a\" \"m\" (memory 1 2)))", "incompatible import type of a.m");
  expect_link_error(exporter, "(module (import \"a\" \"m\" (func)))", "incompatible import type of a.m");
  expect_link_error(exporter, "(module (import \"a\" \"t\" (table 2 externref)))", "incompatible import type of a.t");
  expect_link_error(exporter, "(module (import \"a\" \"t\" (table 2 5 funcref)))", "incompatible import type of a.t");
  expect_link_error(exporter, "(module (import \"a\" \"g\" (global i64)))", "incompatible import type of a.g");
  expect_link_error(exporter, "(module (import \"a\" \"g\" (global (mut i32))))", "incompatible import type of a.g");
  expect_link_error(exporter, "(module (import \"a\" \"v\" (global i32)))", "incompatible import type of a.v");
}

static enum gw_trap add_env(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller;
  values[0].i64 = values[1].i64 + values[0].i32 + *(int *)env;
  return GW_TRAP_NONE;
}

static bool give_add(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func row = {"env", "add", "I_iI", add_env};
  if (import->field_size != 3 || memcmp(import->field, "add", 3)) return false;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = &row, .env = env}};
  return true;
}

static void test_host_function(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  int env = 1000;
  struct gw_instance *a = must_make(store,
                                    "(module (import \"env\" \"add\" (func $add (param i32 i64) (result i64)))"
                                    " (export \"again\" (func $add))"
                                    " (func (export \"call\") (param i32 i64) (result i64)"
                                    "   (call $add (local.get 0) (local.get 1))))",
                                    give_add, &env);
  assert_int_equal(call(a, "call", 2, 7, INT64_C(1) << 40), (INT64_C(1) << 40) + 1007);
  assert_int_equal(call(a, "again", 2, 7, 5), 1012);
  /* Through a second instance, as a Wasm import. */
  struct gw_instance *b = must_make(store,
                                    "(module (import \"a\" \"again\" (func $add (param i32 i64) (result i64)))"
                                    " (table funcref (elem $add)) (type $t (func (param i32 i64) (result i64)))"
                                    " (func (export \"call\") (param i32 i64) (result i64)"
                                    "   (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 0))))",
                                    from_instance, a);
  assert_int_equal(call(b, "call", 2, 1, 1), 1002);
  struct gw_error err = {0};
  assert_null(make(store, "(module (import \"env\" \"add\" (func (param i32 i32) (result i64))))", give_add, &env, &err));
  assert_string_equal(err.message, "incompatible import type of env.add: the host's function is \"I_iI\", the module wants "
                                   "[i32 i32] -> [i64] (at byte 0x14)");
  gw_store_destroy(store);
}

static void test_host_objects(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_error err = {0};
  struct gw_memory *memory = gw_memory_create(store, 1, 2, &err);
  struct gw_table *table = gw_table_create(store, "externref", 3, UINT64_MAX, &err);
  struct gw_global *global = gw_global_create(store, "i64", true, (union gw_value){.i64 = -5});
  assert_non_null(memory);
  assert_non_null(table);
  assert_int_equal(gw_global_get(global).i64, -5);
  assert_null(gw_table_create(store, "i32", 1, 1, &err));
  assert_int_equal(err.code, GW_ERROR_USAGE);
  gw_store_destroy(store);
}

/* --- initialisation ----------------------------------------------------------------------------------------------- */

static void test_shared_objects(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_instance *a = must_make(store,
                                    "(module (memory (export \"m\") 1) (table (export \"t\") 4 funcref)"
                                    " (global (export \"g\") (mut i32) (i32.const 3)) (global (export \"k\") i32 (i32.const 8))"
                                    " (type $n (func (result i32)))"
                                    " (func (export \"load\") (param i32) (result i32) (i32.load8_u (local.get 0)))"
                                    " (func (export \"get\") (result i32) (global.get 0))"
                                    " (func (export \"call\") (param i32) (result i32) (call_indirect (type $n) (local.get 0))))",
                                    NULL, NULL);
  must_make(store,
            "(module (import \"a\" \"m\" (memory 1)) (import \"a\" \"t\" (table 4 funcref))"
            " (import \"a\" \"g\" (global $g (mut i32))) (import \"a\" \"k\" (global $k i32))"
            " (global $own i32 (i32.add (global.get $k) (i32.mul (i32.const 2) (i32.const 3))))"
            " (elem (i32.const 1) $f) (data (global.get $k) \"hello\") (data (i32.add (global.get $k) (i32.const 100)) \"x\")"
            " (func $f (result i32) (global.get $own)) (func $start (global.set $g (i32.const 77))) (start $start))",
            from_instance, a);
  assert_int_equal(call32(a, "load", 1, 8, 0), 'h');
  assert_int_equal(call32(a, "load", 1, 108, 0), 'x');
  assert_int_equal(call32(a, "get", 1, 0, 0), 77);
  assert_int_equal(call32(a, "call", 1, 1, 0), 14);
  /* What was written before the segment that does not fit stays. */
  struct gw_error err = {0};
  assert_null(make(store,
                   "(module (import \"a\" \"m\" (memory 1)) (import \"a\" \"t\" (table 4 funcref))"
                   " (elem (i32.const 2) $f) (data (i32.const 0) \"y\") (data (i32.const 65535) \"zz\")"
                   " (func $f (result i32) (i32.const 99)))",
                   from_instance, a, &err));
  assert_int_equal(err.code, GW_ERROR_TRAP);
  assert_int_equal(err.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  assert_string_equal(err.message, "out of bounds memory access by data segment 1");
  assert_int_equal(call32(a, "load", 1, 0, 0), 'y');
  assert_int_equal(call32(a, "load", 1, 65535, 0), 0);
  assert_int_equal(call32(a, "call", 1, 2, 0), 99);
  gw_store_destroy(store);
}

/* A reset has made the exporter's memory one that is written to only where it has been learned. */
static void test_segments_into_watched_memory(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_error err = {0};
  struct gw_instance *a = must_make(store,
                                    "(module (memory (export \"m\") 2) (data (i32.const 0) \"own\")"
                                    " (func (export \"load\") (param i32) (result i32) (i32.load8_u (local.get 0))))",
                                    NULL, NULL);
  if (!gw_instance_reset(a, &err)) fail_msg("%s", err.message);
  struct gw_instance *b = must_make(store,
                                    "(module (import \"a\" \"m\" (memory 2)) (data (i32.const 1) \"W\")"
                                    " (data (i32.const 65535) \"<>\"))",
                                    from_instance, a);
  assert_non_null(b);
  assert_int_equal(call32(a, "load", 1, 0, 0), 'o');
  assert_int_equal(call32(a, "load", 1, 1, 0), 'W');
  assert_int_equal(call32(a, "load", 1, 65535, 0), '<');
  assert_int_equal(call32(a, "load", 1, 65536, 0), '>');
  if (!gw_instance_reset(a, &err)) fail_msg("%s", err.message);
  assert_int_equal(call32(a, "load", 1, 1, 0), 'w');
  assert_int_equal(call32(a, "load", 1, 65535, 0), 0);
  gw_store_destroy(store);
}

static enum gw_trap call_inner(struct gw_instance *caller, void *env, union gw_value *values) {
  struct gw_error err = {0};
  union gw_value inner[1] = {{.i32 = 100}};
  (void)caller, (void)values;
  if (env && !gw_call_export(env, "spend", inner, 1, &err)) fail_msg("%s", err.message);
  return GW_TRAP_NONE;
}

static bool give_inner(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"env", "inner", "_", call_inner};
  (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&func, env}};
  return true;
}

#define SPEND                                                         \
  "(func $spend (export \"spend\") (param i32) (loop $l (call $leaf)" \
  " (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))" \
  "(func $leaf (if (i32.const 0) (then (call $leaf))))"

/* One store runs inside of a host function of another: each pays for its own. */
static void test_stores_inside_of_each_other(void **state) {
  (void)state;
  struct gw_store *inner_store = open_store();
  struct gw_instance *inner = must_make(inner_store, "(module " SPEND ")", NULL, NULL);
  call(inner, "spend", 1, 100, 0);
  uint64_t inner_gas = gw_store_gas_used(inner_store), outer_gas[2];
  for (int i = 0; i < 2; i++) {
    struct gw_store *store = open_store();
    struct gw_instance *outer =
        must_make(store,
                  "(module (import \"env\" \"inner\" (func $inner)) " SPEND
                  " (func (export \"f\") (call $spend (i32.const 7)) (call $inner) (call $spend (i32.const 9))))",
                  give_inner, i ? inner : NULL);
    call(outer, "f", 0, 0, 0);
    outer_gas[i] = gw_store_gas_used(store);
    gw_store_destroy(store);
  }
  assert_int_equal(outer_gas[0], outer_gas[1]);
  assert_int_equal(gw_store_gas_used(inner_store), inner_gas);
  gw_store_destroy(inner_store);
}

static void test_start_trap(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_error err = {0};
  assert_null(make(store, "(module (func $s unreachable) (start $s))", NULL, NULL, &err));
  assert_int_equal(err.trap, GW_TRAP_UNREACHABLE);
  gw_store_destroy(store);
}

static void test_limits(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_store_options options = {.max_memory_bytes = (3 << 16) + 800, .max_table_entries = 100};
  struct gw_store *store = gw_store_create(engine, &options, &err);
  struct gw_instance *a = must_make(store,
                                    "(module (memory 1) (table 10 externref)"
                                    " (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0)))"
                                    " (func (export \"more\") (param i32) (result i32)"
                                    "   (table.grow 0 (ref.null extern) (local.get 0))))",
                                    NULL, NULL);
  assert_int_equal(call32(a, "grow", 1, 3, 0), -1);
  assert_int_equal(call32(a, "grow", 1, 2, 0), 1);
  assert_int_equal(call32(a, "grow", 1, 1, 0), -1);
  assert_int_equal(call32(a, "more", 1, 91, 0), -1);
  assert_int_equal(call32(a, "more", 1, -1, 0), -1);
  assert_int_equal(call32(a, "more", 1, 90, 0), 10);
  assert_null(make(store, "(module (memory 4))", NULL, NULL, &err));
  assert_int_equal(err.code, GW_ERROR_LIMIT);
  err = (struct gw_error){0};
  assert_null(make(store, "(module (table 101 funcref))", NULL, NULL, &err));
  assert_int_equal(err.code, GW_ERROR_LIMIT);
  gw_store_destroy(store);
}

static void test_wrong_calls(void **state) {
  (void)state;
  struct gw_store *store = open_store(), *other = open_store();
  struct gw_instance *a = must_make(store, "(module (memory (export \"m\") 1) (func (export \"f\") (param i32)))", NULL, NULL);
  struct gw_error err = {0};
  assert_false(gw_call_export(a, "g", NULL, 0, &err));
  assert_int_equal(err.code, GW_ERROR_NOT_FOUND);
  err = (struct gw_error){0};
  assert_false(gw_call_export(a, "m", NULL, 0, &err));
  assert_int_equal(err.code, GW_ERROR_NOT_FOUND);
  err = (struct gw_error){0};
  assert_false(gw_call_export(a, "f", NULL, 0, &err));
  assert_int_equal(err.code, GW_ERROR_USAGE);
  struct gw_extern f;
  union gw_value value = {.i32 = 0};
  assert_true(gw_instance_export(a, "f", 1, &f));
  err = (struct gw_error){0};
  assert_false(gw_call(other, f.of.func, &value, &err));
  assert_int_equal(err.code, GW_ERROR_USAGE);
  err = (struct gw_error){0};
  assert_null(make(other, "(module (import \"a\" \"m\" (memory 1)))", from_instance, a, &err));
  assert_int_equal(err.code, GW_ERROR_LINK);
  gw_store_destroy(other);
  gw_store_destroy(store);
}

/* --- resets ------------------------------------------------------------------------------------------------------- */

/* Everything an invocation can change, and a digest of all that it can see. */
static const char changeling[] =
    "(module (memory 2 40) (table $t 4 20 funcref) (global $g (mut i64) (i64.const 5)) (global $starts (mut i32) (i32.const 0))"
    " (elem $e func $one $two) (elem (table $t) (i32.const 1) func $one) (data $d \"passive\") (data (i32.const 100) \"active\")"
    " (type $n (func (result i32))) (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))"
    " (func $start (global.set $starts (i32.add (global.get $starts) (i32.const 1)))"
    "   (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1)))) (start $start)"
    " (func (export \"spoil\")"
    "   (global.set $g (i64.const -1)) (drop (memory.grow (i32.const 3))) (drop (table.grow $t (ref.func $two) (i32.const 5)))"
    "   (memory.fill (i32.const 0) (i32.const 0xaa) (i32.const 327680))"
    "   (table.fill $t (i32.const 0) (ref.func $two) (i32.const 9)) (data.drop $d) (elem.drop $e))"
    " (func (export \"touch\") (i32.store (i32.const 131068) (i32.const 1)) (i32.store8 (i32.const 100) (i32.const 1)))"
    " (func (export \"sum\") (result i64) (local $i i32) (local $s i64)"
    "   (local.set $s (i64.add (i64.mul (global.get $g) (i64.const 1000003))"
    "                          (i64.extend_i32_u (i32.add (memory.size) (i32.mul (table.size $t) (i32.const 77))))))"
    "   (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.extend_i32_u (global.get $starts))))"
    "   (loop $l"
    "     (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.load (local.get $i))))"
    "     (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 131072))))"
    "   (local.set $s (i64.add (local.get $s) (i64.extend_i32_u (ref.is_null (table.get $t (i32.const 0))))))"
    "   (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.extend_i32_u (call_indirect $t (type $n) (i32.const 1)))))"
    " (func (export \"use_segments\") (result i32) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 7))"
    "   (table.init $t $e (i32.const 2) (i32.const 0) (i32.const 2)) (call_indirect $t (type $n) (i32.const 3))))";

static void test_reset(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_instance *a = must_make(store, changeling, NULL, NULL);
  struct gw_error err = {0};
  int64_t fresh = call(a, "sum", 1, 0, 0);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(call32(a, "use_segments", 1, 0, 0), 2);
    call(a, i % 2 ? "spoil" : "touch", 0, 0, 0);
    assert_int_not_equal(call(a, "sum", 1, 0, 0), fresh);
    if (i % 2) assert_int_equal(gw_instance_memory_size(a), 5 * 65536);
    assert_true(gw_instance_reset(a, &err));
    assert_int_equal(gw_instance_memory_size(a), 2 * 65536);
    assert_null(gw_instance_memory(a, 2 * 65536, 1));
    assert_int_equal(call(a, "sum", 1, 0, 0), fresh);
  }
  /* Pages that come back by growing are empty too. */
  call(a, "spoil", 0, 0, 0);
  assert_true(gw_instance_reset(a, &err));
  union gw_value none[1];
  assert_true(gw_call_export(a, "spoil", none, 0, &err));
  assert_true(gw_instance_reset(a, &err));
  assert_int_equal(call(a, "sum", 1, 0, 0), fresh);
  gw_store_destroy(store);
}

static void test_reset_grown_memory_is_zero(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_instance *a = must_make(store,
                                    "(module (memory 1 10) (func (export \"grow\") (result i32) (memory.grow (i32.const 1)))"
                                    " (func (export \"store\") (i32.store (i32.const 65536) (i32.const 9)))"
                                    " (func (export \"load\") (result i32) (i32.load (i32.const 65536))))",
                                    NULL, NULL);
  struct gw_error err = {0};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(call32(a, "grow", 1, 0, 0), 1);
    assert_int_equal(call32(a, "load", 1, 0, 0), 0);
    call(a, "store", 0, 0, 0);
    assert_int_equal(call32(a, "load", 1, 0, 0), 9);
    assert_true(gw_instance_reset(a, &err));
    assert_false(gw_call_export(a, "load", &(union gw_value){0}, 1, &(struct gw_error){0}));
  }
  gw_store_destroy(store);
}

/* Large memories take the other way to be cleared. */
static void test_reset_large(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_instance *a =
      must_make(store,
                "(module (memory 300) (data (i32.const 5000000) \"data\")"
                " (func (export \"fill\") (param i32) (memory.fill (i32.const 0) (i32.const 7) (local.get 0)))"
                " (func (export \"load\") (param i32) (result i32) (i32.load8_u (local.get 0))))",
                NULL, NULL);
  struct gw_error err = {0};
  static const int sizes[] = {1, 65536, 3 << 20, 300 << 16};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    call(a, "fill", 1, sizes[i], 0);
    assert_true(gw_instance_reset(a, &err));
    assert_int_equal(call32(a, "load", 1, 0, 0), 0);
    assert_int_equal(call32(a, "load", 1, sizes[i] - 1, 0), 0);
    assert_int_equal(call32(a, "load", 1, 5000000, 0), 'd');
  }
  gw_store_destroy(store);
}

/* Small and large tables, written and grown in every way. */
static void test_reset_tables(void **state) {
  (void)state;
  static const char text[] =
      "(module (table $t %d externref) (table $f %d funcref) (elem (table $f) (i32.const 3) func $g) (elem $e func $g $g)"
      " (func $g) (func (export \"spoil\") (param i32) (param externref)"
      "   (table.init $f $e (local.get 0) (i32.const 0) (i32.const 2)) (table.fill $f (i32.const 0) (ref.func $g) (i32.const 2))"
      "   (table.set $f (i32.const 3) (ref.null func)) (drop (table.grow $f (ref.func $g) (i32.const 9)))"
      "   (table.set $t (local.get 0) (local.get 1)))"
      " (func (export \"count\") (result i32) (local $i i32) (local $n i32)"
      "   (loop $l"
      "     (local.set $n (i32.add (local.get $n) (i32.mul (local.get $i) (i32.eqz (ref.is_null (table.get $f (local.get "
      "$i)))))))"
      "     (local.set $n (i32.add (local.get $n) (i32.eqz (ref.is_null (table.get $t (local.get $i))))))"
      "     (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (table.size $t))))"
      "   (i32.add (local.get $n) (table.size $f))))";
  static const int sizes[] = {10, 8192, 8193, 20000};
  struct gw_store *store = open_store();
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    char filled[sizeof text + 32];
    snprintf(filled, sizeof filled, text, sizes[i], sizes[i]);
    struct gw_instance *a = must_make(store, filled, NULL, NULL);
    struct gw_error err = {0};
    for (int k = 0; k < 3; k++) {
      assert_int_equal(call32(a, "count", 1, 0, 0), sizes[i] + 3);
      union gw_value values[2] = {{.i32 = sizes[i] - 3}, {.ref = &err}};
      assert_true(gw_call_export(a, "spoil", values, 2, &err));
      assert_int_equal(call32(a, "count", 1, 0, 0), sizes[i] + 9 + 1 + (sizes[i] - 3) + (sizes[i] - 2) + 1);
      assert_true(gw_instance_reset(a, &err));
    }
  }
  gw_store_destroy(store);
}

/* A reset goes by what was noted as written: what is scribbled behind its back stays, however large the table. */
static void test_reset_costs_what_was_written(void **state) {
  (void)state;
  /* (table (export "t") 10000000 funcref (ref.func 0)) (func (export "set") (param i32)
   *   (table.set 0 (local.get 0) (ref.null func))) */
  static const char bytes[] = "\0asm\1\0\0\0\1\5\1\x60\1\x7f\0\3\2\1\0\4\x0c\1\x40\0\x70\0\x80\xad\xe2\4\xd2\0\x0b"
                              "\7\x0b\2\1t\1\0\3set\0\0\x0a\x0a\1\x08\0\x20\0\xd0\x70\x26\0\x0b";
  static const int32_t written[] = {0, 63, 64, 4999999, 9999999, 5000001}; /* a chunk begins with 5,000,000 */
  struct gw_error err = {0};
  struct gw_module *module = gw_module_create(engine, bytes, sizeof bytes - 1, &err);
  uint64_t before = gw_engine_memory_bytes(engine);
  struct gw_store *store = open_store();
  struct gw_instance *a = gw_instance_create(store, module, NULL, NULL, &err);
  struct gw_extern out;
  if (!a || !gw_instance_export(a, "t", 1, &out)) fail_msg("%s", err.message);
  assert_int_equal(gw_engine_memory_bytes(engine) - before, 80000000); /* nothing but the entries */
  void **entries = out.of.table->ctx.entries, *first = entries[0];
  assert_non_null(first);
  entries[5000000] = &err;
  for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
    assert_ptr_equal(entries[5000000], &err);
    call(a, "set", 1, written[i], 0);
    assert_null(entries[written[i]]);
    assert_true(gw_instance_reset(a, &err));
    assert_ptr_equal(entries[written[i]], first);
  }
  assert_ptr_equal(entries[5000000], first);
  gw_store_destroy(store);
  gw_module_release(module);
}

static void test_reset_refused(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_instance *a = must_make(store, "(module (memory (export \"m\") 1))", NULL, NULL);
  struct gw_instance *b = must_make(store, "(module (import \"a\" \"m\" (memory 1)))", from_instance, a);
  struct gw_error err = {0};
  assert_false(gw_instance_reset(b, &err));
  assert_int_equal(err.code, GW_ERROR_USAGE);
  gw_store_destroy(store);
}

/* Asks for more than the system has, which then makes nothing writable. */
static enum gw_trap touch_much(struct gw_instance *caller, void *env, union gw_value *values) {
  bool *was_there = env;
  (void)values;
  be_short(6 << 20);
  *was_there = gw_instance_memory(caller, 0, 12 << 20) != NULL;
  be_short(UINT64_MAX);
  return GW_TRAP_NONE;
}

static bool resolve_touch(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func row = {"host", "touch", "_", touch_much};
  (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&row, env}};
  return true;
}

/* Then nobody knows what is, so the instance cannot be reset any more. */
static void test_reset_broken(void **state) {
  (void)state;
  bool was_there = true;
  struct gw_store *store = open_store();
  struct gw_instance *instance =
      must_make(store, "(module (import \"host\" \"touch\" (func $touch)) (memory 200) (func (export \"f\") (call $touch)))",
                resolve_touch, &was_there);
  struct gw_error err = {0};
  assert_true(gw_instance_reset(instance, &err));
  call(instance, "f", 0, 0, 0);
  assert_false(was_there);
  assert_false(gw_instance_reset(instance, &err));
  assert_int_equal(err.code, GW_ERROR_OUT_OF_MEMORY);
  gw_store_destroy(store);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static void *use_module(void *arg) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){0}, &err);
  struct gw_instance *instance = gw_instance_create(store, arg, NULL, NULL, &err);
  const char *why = instance ? NULL : "not instantiated";
  union gw_value values[1];
  for (int i = 0; instance && i < 200 && !why; i++) {
    values[0].i32 = 15;
    if (!gw_call_export(instance, "fib", values, 1, &err) || values[0].i32 != 610) why = "wrong result";
    if (!gw_instance_reset(instance, &err)) why = "not reset";
  }
  gw_store_destroy(store);
  return (void *)why;
}

static void test_threads(void **state) {
  (void)state;
  struct gw_module *module = wat_module(engine, "(module (memory 1) (func $fib (export \"fib\") (param i32) (result i32)"
                                                " (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))"
                                                "  (then (local.get 0))"
                                                "  (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))"
                                                "                 (call $fib (i32.sub (local.get 0) (i32.const 2))))))))");
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, use_module, module), 0);
  for (int i = 0; i < 2; i++) {
    void *why;
    pthread_join(threads[i], &why);
    if (why) fail_msg("%s", (char *)why);
  }
  gw_module_release(module);
}

/* A call and a reset must not cost more than a small part of a request. Prints, and fails only when far off. */
static void test_cost(void **state) {
  (void)state;
  struct gw_store *store = open_store();
  struct gw_instance *a = must_make(store, changeling, NULL, NULL);
  struct gw_error err = {0};
  struct timespec t[2];
  enum { ROUNDS = 20000 };
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t[0]);
  for (int i = 0; i < ROUNDS; i++)
    if (!gw_call_export(a, "touch", NULL, 0, &err) || !gw_instance_reset(a, &err)) fail_msg("%s", err.message);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t[1]);
  double us = ((double)(t[1].tv_sec - t[0].tv_sec) * 1e9 + (double)(t[1].tv_nsec - t[0].tv_nsec)) / 1e3 / ROUNDS;
  print_message("call and reset: %.2f us\n", us);
  assert_true(us < 500);
  gw_store_destroy(store);
}

int main(void) {
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true, .verify = true}, &err);
  if (!engine) wat_fail("engine", err.message);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_link_errors),
      cmocka_unit_test(test_host_function),
      cmocka_unit_test(test_host_objects),
      cmocka_unit_test(test_shared_objects),
      cmocka_unit_test(test_segments_into_watched_memory),
      cmocka_unit_test(test_stores_inside_of_each_other),
      cmocka_unit_test(test_start_trap),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_wrong_calls),
      cmocka_unit_test(test_reset),
      cmocka_unit_test(test_reset_grown_memory_is_zero),
      cmocka_unit_test(test_reset_large),
      cmocka_unit_test(test_reset_tables),
      cmocka_unit_test(test_reset_costs_what_was_written),
      cmocka_unit_test(test_reset_refused),
      cmocka_unit_test(test_reset_broken),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_cost),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  gw_engine_destroy(engine);
  return failed;
}
