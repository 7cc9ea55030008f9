/* Exceptions: propagation, lifetimes, gas, and what they must not disturb. The legacy form is written as text; try_table and
 * exnref, which wat2wasm does not know, as bytes. */
#include "runtime/store.h"
#include "tests/wat.h"

#include "frontend/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MANY = 400000 }; /* exceptions: all together take more than what may live at once */

static struct gw_engine *engine; /* -O2 */

static struct gw_store *open_store(struct gw_engine *of) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(of, &(struct gw_store_options){.gas_limit = UINT64_C(10000000000)}, &err);
  assert_non_null(store);
  return store;
}

/* Gives whatever the instance `env` exports under the field's name. */
static bool from_instance(void *env, const struct gw_import *import, struct gw_extern *out) {
  return gw_instance_export(env, import->field, import->field_size, out);
}

static struct gw_instance *instantiate(struct gw_store *store, struct gw_module *module, struct gw_instance *exporter,
                                       struct gw_error *err) {
  struct gw_instance *instance = gw_instance_create(store, module, exporter ? from_instance : NULL, exporter, err);
  gw_module_release(module);
  return instance;
}

static struct gw_instance *make(struct gw_store *store, const char *text, struct gw_instance *exporter) {
  struct gw_error err = {0};
  struct gw_instance *instance = instantiate(store, wat_module(store->engine, text), exporter, &err);
  if (!instance) fail_msg("%s", err.message);
  return instance;
}

static int32_t call(struct gw_instance *instance, const char *name, size_t n, int32_t a) {
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = a}};
  if (!gw_call_export(instance, name, values, n, &err)) fail_msg("%s: %s", name, err.message);
  assert_null(gw_instance_store(instance)->exec.exception);
  return values[0].i32;
}

static void expect_trap(struct gw_instance *instance, const char *name, size_t n, int32_t a, enum gw_trap trap) {
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = a}};
  assert_false(gw_call_export(instance, name, values, n, &err));
  if (err.code != GW_ERROR_TRAP || err.trap != trap) fail_msg("%s: %s", name, err.message);
  assert_null(gw_instance_store(instance)->exec.exception);
}

/* --- propagation -------------------------------------------------------------------------------------------------- */

static const char deep[] =
    "(module (tag $t (param i32 f64 i64))"
    "  (func $down (param i32) (result i32)"
    "    (if (i32.eqz (local.get 0)) (then (throw $t (i32.const 42) (f64.const 1.5) (i64.const -1))))"
    "    (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))"
    "  (func (export \"deep\") (param i32) (result i32)"
    "    (try (result i32) (do (call $down (local.get 0))) (catch $t (drop) (drop))))"
    "  (func (export \"uncaught\") (param i32) (result i32) (call $down (local.get 0)))"
    "  (func (export \"multi\") (result i32) (local i32)"
    "    (try (do (call $two) (drop) (local.set 0)) (catch_all (local.set 0 (i32.add (local.get 0) (i32.const 7)))))"
    "    (local.get 0))"
    "  (func $two (result i32 i32) (throw $t (i32.const 1) (f64.const 0) (i64.const 0))))";

/* The body around still holds what it has rethrown, and may do so again, whatever was caught in between. */
static const char again[] = "(module (tag $t (param i32)) (func (export \"again\") (param i32) (result i32)"
                            " try (result i32) try (result i32) i32.const 42 throw $t"
                            "  catch $t drop"
                            "   try rethrow 1 catch $t drop end"
                            "   try i32.const 7 throw $t catch $t drop end"
                            "   try rethrow 1 catch_all end"
                            "   rethrow 0 end"
                            " catch $t end)"
                            /* Bodies between the one that caught it and the one that rethrows it are open still. */
                            " (func (export \"between\") (param i32) (result i32)"
                            " try (result i32) try (result i32) i32.const 1 throw $t"
                            "  catch $t drop"
                            "   try (result i32) i32.const 42 throw $t"
                            "   catch $t drop"
                            "    try rethrow 2 catch $t drop end"
                            "    try i32.const 7 throw $t catch $t drop end"
                            "    rethrow 0 end end"
                            " catch $t end))";

static void test_rethrown_twice(void **state) {
  (void)state;
  struct gw_store *store = open_store(engine);
  struct gw_instance *instance = make(store, again, NULL);
  for (int i = 0; i < 100; i++) assert_int_equal(call(instance, "again", 1, i), 42);
  for (int i = 0; i < 100; i++) assert_int_equal(call(instance, "between", 1, i), 42);
  assert_int_equal(store->exceptions.bytes, 0);
  gw_store_destroy(store);
}

static void test_deep(void **state) {
  (void)state;
  uint64_t gas[4];
  for (uint32_t level = 0; level < 4; level++) {
    struct gw_error err = {0};
    struct gw_engine *of =
        gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = true, .verify = true}, &err);
    struct gw_store *store = open_store(of);
    struct gw_instance *instance = make(store, deep, NULL);
    assert_int_equal(call(instance, "deep", 1, 10000), 42);
    gas[level] = gw_store_gas_used(store);
    assert_int_equal(gas[level], gas[0]);
    assert_int_equal(call(instance, "multi", 1, 0), 7);
    expect_trap(instance, "uncaught", 1, 10000, GW_TRAP_EXCEPTION);
    assert_int_equal(call(instance, "deep", 1, 3), 42);
    assert_int_equal(store->exceptions.bytes, 0);
    gw_store_destroy(store);
    gw_engine_destroy(of);
  }
}

static void test_message_and_reset(void **state) {
  (void)state;
  struct gw_store *store = open_store(engine);
  struct gw_instance *instance = make(store, deep, NULL);
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = 3}};
  assert_false(gw_call_export(instance, "uncaught", values, 1, &err));
  assert_string_equal(wat_message(&err), "uncaught exception in function down");
  assert_int_equal(gw_error_http_status(&err), 500);
  err = (struct gw_error){0};
  assert_true(gw_instance_reset(instance, &err));
  assert_int_equal(call(instance, "deep", 1, 3), 42);
  gw_store_destroy(store);
}

static void test_traps_pass(void **state) {
  (void)state;
  struct gw_store *store = open_store(engine);
  struct gw_instance *instance = make(store,
                                      "(module (memory 1) (tag)"
                                      "  (func $f (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))"
                                      "  (func $g (param i32) (result i32) (i32.load (i32.mul (local.get 0) (i32.const -65536))))"
                                      "  (func (export \"div\") (param i32) (result i32)"
                                      "    (try (result i32) (do (call $f (local.get 0))) (catch_all (i32.const 5))))"
                                      "  (func (export \"load\") (param i32) (result i32)"
                                      "    (try (result i32) (do (call $g (local.get 0))) (catch_all (i32.const 5))))"
                                      "  (func $deeper (export \"deeper\") (param i32) (result i32)"
                                      "    (try (result i32) (do (i32.add (call $deeper (local.get 0)) (i32.const 1)))"
                                      "      (catch_all (i32.const 5)))))",
                                      NULL);
  expect_trap(instance, "div", 1, 0, GW_TRAP_INTEGER_DIVIDE_BY_ZERO);
  expect_trap(instance, "load", 1, 1, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  expect_trap(instance, "deeper", 1, 1, GW_TRAP_STACK_OVERFLOW);
  gw_store_set_gas_limit(store, 2000);
  expect_trap(instance, "deeper", 1, 1, GW_TRAP_OUT_OF_GAS);
  gw_store_destroy(store);
}

static void test_uncaught_in_start(void **state) {
  (void)state;
  struct gw_store *store = open_store(engine);
  struct gw_error err = {0};
  struct gw_module *module = wat_module(engine, "(module (tag $t) (func $f (throw $t)) (start $f))");
  assert_null(instantiate(store, module, NULL, &err));
  assert_int_equal(err.trap, GW_TRAP_EXCEPTION);
  gw_store_destroy(store);
}

/* --- modules without exceptions between those with ------------------------------------------------------------------ */

static const char thrower[] = "(module (tag $t (export \"tag\") (param i32))"
                              "  (func (export \"f\") (param i32) (result i32)"
                              "    (if (local.get 0) (then (throw $t (local.get 0)))) (i32.const 1)))";

static const char between[] = "(module (import \"\" \"f\" (func $f (param i32) (result i32))) (memory 1)"
                              "  (global $n (export \"n\") (mut i32) (i32.const 0))"
                              "  (func (export \"g\") (param i32) (result i32) (local i32)"
                              "    (local.set 1 (i32.add (call $f (local.get 0)) (i32.const 100)))"
                              "    (global.set $n (i32.add (global.get $n) (i32.const 1))) (local.get 1))"
                              "  (func (export \"count\") (result i32) (global.get $n)))";

/* Resolves from two instances: the field tells which. */
static bool from_two(void *env, const struct gw_import *import, struct gw_extern *out) {
  struct gw_instance **pair = env;
  return gw_instance_export(pair[0], import->field, import->field_size, out) ||
         gw_instance_export(pair[1], import->field, import->field_size, out);
}

static void test_through_other_module(void **state) {
  (void)state;
  struct gw_store *store = open_store(engine);
  struct gw_error err = {0};
  struct gw_instance *pair[2];
  pair[0] = make(store, thrower, NULL);
  pair[1] = make(store, between, pair[0]);
  struct gw_module *module = wat_module(
      engine, "(module (import \"\" \"tag\" (tag $t (param i32))) (import \"\" \"g\" (func $g (param i32) (result i32)))"
              "  (func (export \"h\") (param i32) (result i32)"
              "    (try (result i32) (do (call $g (local.get 0))) (catch $t (i32.const 1000) (i32.add)))))");
  struct gw_instance *top = gw_instance_create(store, module, from_two, pair, &err);
  gw_module_release(module);
  assert_non_null(top);
  assert_int_equal(call(top, "h", 1, 0), 101);
  assert_int_equal(call(top, "h", 1, 5), 1005);
  assert_int_equal(call(pair[1], "count", 1, 0), 1); /* what follows the call did not happen */
  expect_trap(pair[1], "g", 1, 5, GW_TRAP_EXCEPTION);
  gw_store_destroy(store);
}

/* The module without exceptions is compiled and running before anybody knows of any. */
static void test_late_arrival(void **state) {
  (void)state;
  struct gw_store *store = open_store(engine);
  struct gw_instance *first = make(store,
                                   "(module (table (export \"table\") 2 funcref) (global $n (mut i32) (i32.const 0))"
                                   "  (type $ii (func (param i32) (result i32))) (elem (i32.const 1) $self)"
                                   "  (func $self (param i32) (result i32) (local.get 0))"
                                   "  (func (export \"call\") (param i32) (result i32)"
                                   "    (call_indirect (type $ii) (i32.const 3) (local.get 0))"
                                   "    (global.set $n (i32.add (global.get $n) (i32.const 1))))"
                                   "  (func (export \"count\") (result i32) (global.get $n)))",
                                   NULL);
  assert_int_equal(call(first, "call", 1, 1), 3);
  struct gw_instance *last = make(store,
                                  "(module (import \"\" \"table\" (table 2 funcref))"
                                  "  (import \"\" \"call\" (func $call (param i32) (result i32)))"
                                  "  (tag $t) (elem (i32.const 0) $bad)"
                                  "  (func $bad (param i32) (result i32) (throw $t))"
                                  "  (func (export \"try\") (param i32) (result i32)"
                                  "    (try (result i32) (do (call $call (local.get 0))) (catch $t (i32.const -1)))))",
                                  first);
  assert_int_equal(call(last, "try", 1, 0), -1);
  assert_int_equal(call(last, "try", 1, 1), 3);
  assert_int_equal(call(first, "count", 1, 0), 2);
  expect_trap(first, "call", 1, 0, GW_TRAP_EXCEPTION);
  gw_store_destroy(store);
}

/* --- lifetimes ---------------------------------------------------------------------------------------------------- */

/* Catch bodies are left by their end, by a branch, by rethrowing and by another exception. */
static const char loops[] =
    "(module (tag $t (param i32)) (tag $u)"
    "  (func $throw (param i32) (throw $t (local.get 0)))"
    "  (func $cleanup (param i32) (try (do (call $throw (local.get 0))) (catch_all (rethrow 0))))"
    "  (func $replace (param i32)"
    "    (try (do (call $throw (local.get 0)))"
    "      (catch_all (if (local.get 0) (then (call $throw (local.get 0)))) (rethrow 0))))"
    "  (func (export \"plain\") (param i32) (result i32) (local i32)"
    "    (loop $l"
    "      (try (do (call $throw (i32.const 1))) (catch $t (local.set 1 (i32.add (local.get 1)))))"
    "      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "    (local.get 1))"
    "  (func (export \"cleanups\") (param i32) (result i32) (local i32)"
    "    (loop $l"
    "      (try (do (call $cleanup (i32.const 1))) (catch $t (local.set 1 (i32.add (local.get 1)))))"
    "      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "    (local.get 1))"
    "  (func (export \"replaced\") (param i32) (result i32) (local i32)"
    "    (loop $l"
    "      (try (do (call $replace (i32.const 1))) (catch $t (local.set 1 (i32.add (local.get 1)))))"
    "      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "    (local.get 1))"
    "  (func (export \"left\") (param i32) (result i32)"
    "    (loop $l"
    "      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))"
    "      (try (do (call $throw (i32.const 1)))"
    "        (catch_all (br_if $l (local.get 0)) (if (i32.const 0) (then (rethrow 1))))))"
    "    (local.get 0))"
    /* An inner body holds another exception while the outer one keeps its own. */
    "  (func (export \"nested\") (param i32) (result i32)"
    "    (try (result i32) (do"
    "        (try (result i32) (do (call $throw (local.get 0)) (i32.const 0))"
    "          (catch_all"
    "            (try (do (call $cleanup (i32.const 5))) (catch_all (try (do (rethrow 1)) (catch $t (drop)))))"
    "            (rethrow 0))))"
    "      (catch $t)))"
    /* A tail call out of a body; the callee's bodies have the same depth. */
    "  (func $spin (export \"spin\") (param i32) (result i32)"
    "    (if (i32.eqz (local.get 0)) (then (return (i32.const 9))))"
    "    (try (do (call $throw (i32.const 1)))"
    "      (catch_all (if (i32.const 0) (then (rethrow 1)))"
    "        (return_call $spin (i32.sub (local.get 0) (i32.const 1)))))"
    "    (i32.const 3)))";

static void test_loops_are_bounded(void **state) {
  (void)state;
  for (int level = 0; level <= 2; level += 2) {
    struct gw_error err = {0};
    struct gw_engine *of = gw_engine_create(
        &(struct gw_engine_options){.loose_traps = true, .opt_level = (uint32_t)level, .gas = true, .verify = true}, &err);
    struct gw_store *store = open_store(of);
    struct gw_instance *instance = make(store, loops, NULL);
    assert_int_equal(call(instance, "plain", 1, MANY), MANY);
    assert_int_equal(call(instance, "cleanups", 1, MANY), MANY);
    assert_int_equal(call(instance, "replaced", 1, MANY), MANY);
    assert_int_equal(call(instance, "left", 1, MANY), 0);
    assert_int_equal(call(instance, "spin", 1, MANY), 9);
    assert_int_equal(call(instance, "nested", 1, 77), 77);
    assert_int_equal(store->exceptions.bytes, 0);
    gw_store_destroy(store);
    gw_engine_destroy(of);
  }
}

/* What wat2wasm cannot say: one section after the other, the code as in the comments. */
#define BYTES(text) text, sizeof(text) - 1

static void put_section(struct buffer *out, uint8_t id, const char *bytes, size_t size) {
  uint8_t head[3] = {id, (uint8_t)(size & 0x7f) | 0x80, (uint8_t)(size >> 7)};
  buffer_append(out, head, sizeof head);
  buffer_append(out, bytes, size);
}

/* (tag $t (param i32)) (tag $e (param exnref)) (global $g (mut exnref) (ref.null exn)) and functions on them. */
static struct gw_module *exnref_module(void) {
  struct buffer b = {0};
  struct gw_error err = {0};
  buffer_append(&b, "\0asm\1\0\0\0", 8);
  put_section(&b, 1, BYTES("\7\x60\0\0\x60\1\x7f\0\x60\0\1\x69\x60\0\1\x7f\x60\0\2\x7f\x69\x60\1\x69\1\x7f\x60\1\x69\0"));
  put_section(&b, 3, BYTES("\7\1\3\1\0\2\5\0"));
  put_section(&b, 13, BYTES("\2\0\1\0\6"));
  put_section(&b, 6, BYTES("\1\x69\1\xd0\x69\x0b"));
  put_section(&b, 7, BYTES("\7\4keep\0\0\5again\0\1\4many\0\2\4null\0\3\4give\0\4\4take\0\5\4wrap\0\6"));
  put_section(&b, 10,
              BYTES("\7"
                    /* keep(n): block (result i32 exnref) try_table (catch_ref $t 0) local.get 0 throw $t end unreachable end
                     * global.set $g drop */
                    "\x14\0\x02\4\x1f\x40\1\1\0\0\x20\0\x08\0\x0b\0\x0b\x24\0\x1a\x0b"
                    /* again: block (result i32) try_table (catch $t 0) global.get $g throw_ref end unreachable end */
                    "\x10\0\x02\x7f\x1f\x40\1\0\0\0\x23\0\x0a\x0b\0\x0b\x0b"
                    /* many(n): loop local.get 0 call keep local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end */
                    "\x12\0\x03\x40\x20\0\x10\0\x20\0\x41\1\x6b\x22\0\x0d\0\x0b\x0b"
                    /* null: ref.null exn throw_ref */
                    "\5\0\xd0\x69\x0a\x0b"
                    /* give: global.get $g */
                    "\4\0\x23\0\x0b"
                    /* take(e): block (result i32) try_table (catch $t 0) local.get 0 throw_ref end unreachable end */
                    "\x10\0\x02\x7f\x1f\x40\1\0\0\0\x20\0\x0a\x0b\0\x0b\x0b"
                    /* wrap: block (result exnref) try_table (catch_all_ref 0) global.get $g throw $e end unreachable end
                     * global.set $g */
                    "\x12\0\x02\x69\x1f\x40\1\3\0\x23\0\x08\1\x0b\0\x0b\x24\0\x0b"));
  struct gw_module *module = gw_module_create(engine, b.bytes, b.size, &err);
  if (!module) fail_msg("%s", err.message);
  buffer_clear(&b);
  return module;
}

static void test_exnref_lives_as_long_as_something_leads_to_it(void **state) {
  (void)state;
  struct gw_store *store = open_store(engine);
  struct gw_error err = {0};
  struct gw_instance *instance = instantiate(store, exnref_module(), NULL, &err);
  assert_non_null(instance);
  uint64_t before = gw_engine_memory_bytes(engine);
  call(instance, "keep", 1, 31);
  uint64_t one = store->exceptions.bytes;
  assert_int_equal(gw_engine_memory_bytes(engine), before + one); /* it outlives the invocation */
  assert_true(one > 0);
  assert_int_equal(call(instance, "again", 1, 0), 31);
  assert_int_equal(call(instance, "again", 1, 0), 31);
  call(instance, "keep", 1, 32);
  assert_int_equal(store->exceptions.bytes, one); /* the first is gone */
  call(instance, "many", 1, 1000);
  assert_int_equal(store->exceptions.bytes, one);
  assert_int_equal(call(instance, "again", 1, 0), 1);
  union gw_value values[1] = {{.ref = NULL}};
  assert_true(gw_call_export(instance, "give", values, 1, &err));
  assert_true(gw_call_export(instance, "take", values, 1, &err));
  assert_int_equal(values[0].i32, 1);
  call(instance, "wrap", 0, 0);
  call(instance, "wrap", 0, 0);
  assert_int_equal(store->exceptions.bytes, 3 * one); /* each is a value of the next */
  expect_trap(instance, "again", 1, 0, GW_TRAP_EXCEPTION);
  assert_int_equal(store->exceptions.bytes, 3 * one);
  expect_trap(instance, "null", 0, 0, GW_TRAP_NULL_EXCEPTION);
  assert_true(gw_instance_reset(instance, &err));
  assert_int_equal(store->exceptions.bytes, 0);
  assert_int_equal(gw_engine_memory_bytes(engine), before);
  expect_trap(instance, "again", 1, 0, GW_TRAP_NULL_EXCEPTION);
  expect_trap(instance, "many", 1, 100 * MANY, GW_TRAP_EXCEPTION_MEMORY);
  assert_int_equal(store->exceptions.bytes, one);
  gw_store_destroy(store);
}

/* (table 130 exnref) and put(i, e), get(i), grow(e) */
static struct gw_module *exnref_table_module(void) {
  struct buffer b = {0};
  struct gw_error err = {0};
  buffer_append(&b, "\0asm\1\0\0\0", 8);
  put_section(&b, 1, BYTES("\3\x60\2\x7f\x69\0\x60\1\x7f\1\x69\x60\1\x69\1\x7f"));
  put_section(&b, 3, BYTES("\3\0\1\2"));
  put_section(&b, 4, BYTES("\1\x69\0\x82\1"));
  put_section(&b, 7, BYTES("\3\3put\0\0\3get\0\1\4grow\0\2"));
  put_section(&b, 10, BYTES("\3\x08\0\x20\0\x20\1\x26\0\x0b\6\0\x20\0\x25\0\x0b\x09\0\x20\0\x41\1\xfc\x0f\0\x0b"));
  struct gw_module *module = gw_module_create(engine, b.bytes, b.size, &err);
  if (!module) fail_msg("%s", err.message);
  buffer_clear(&b);
  return module;
}

/* What only a table leads to lives, in whichever chunk it is, and so does what a table grew by. */
static void test_exnref_lives_in_tables(void **state) {
  (void)state;
  static const int32_t places[] = {0, 64, 129, 130};
  struct gw_store *store = open_store(engine);
  struct gw_error err = {0};
  struct gw_instance *maker = instantiate(store, exnref_module(), NULL, &err);
  struct gw_instance *holder = instantiate(store, exnref_table_module(), NULL, &err);
  if (!maker || !holder) fail_msg("%s", err.message);
  for (int32_t i = 0; i < 4; i++) {
    union gw_value values[2];
    call(maker, "keep", 1, i);
    assert_true(gw_call_export(maker, "give", values, 1, &err));
    values[1] = values[0];
    values[0].i32 = places[i];
    bool is_grown = places[i] == 130;
    assert_true(gw_call_export(holder, is_grown ? "grow" : "put", is_grown ? &values[1] : values, is_grown ? 1 : 2, &err));
  }
  call(maker, "keep", 1, 77);
  for (int32_t i = 0; i < 4; i++) {
    union gw_value value = {.i32 = places[i]};
    assert_true(gw_call_export(holder, "get", &value, 1, &err));
    assert_true(gw_call_export(maker, "take", &value, 1, &err));
    assert_int_equal(value.i32, i);
  }
  assert_false(gw_instance_can_keep(holder));
  uint64_t five = store->exceptions.bytes;
  assert_true(gw_instance_reset(holder, &err));
  assert_int_equal(store->exceptions.bytes, five / 5);
  gw_store_destroy(store);
}

/* --- invocations under way ------------------------------------------------------------------------------------------ */

static void test_no_module_joins_a_running_store(void **state) {
  (void)state;
  if (IS_PRECISE) skip(); /* which has no code to change, and lets it join */
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.slice = 1000}, &err);
  struct gw_instance *instance = make(store, "(module (func (export \"spin\") (loop $l (br $l))))", NULL);
  struct gw_extern spin;
  assert_true(gw_instance_export(instance, "spin", 4, &spin));
  gw_store_start(store, spin.of.func, NULL);
  assert_int_equal(gw_store_resume(store, &err), GW_STATUS_YIELDED);
  assert_null(instantiate(store, wat_module(engine, "(module (tag))"), NULL, &err));
  assert_int_equal(err.code, GW_ERROR_USAGE);
  gw_store_cancel(store);
  err = (struct gw_error){0};
  assert_non_null(instantiate(store, wat_module(engine, "(module (tag))"), NULL, &err));
  gw_store_destroy(store);
}

/* A handler with as many clauses as there may be, and one more. */
static void test_clause_limit(void **state) {
  (void)state;
  uint32_t most = (uint32_t)limit_table[LIMIT_CATCHES].value;
  for (uint32_t n = most; n <= most + 1; n++) {
    struct buffer b = {0}, code = {0};
    struct gw_error err = {0};
    uint8_t head[] = {1, 0x80, 0x80, 0x80, 0, 0, 0x1f, 0x40, (uint8_t)(n | 0x80), (uint8_t)(n >> 7)};
    buffer_append(&code, head, sizeof head);
    for (uint32_t i = 0; i < n; i++) buffer_append(&code, "\2\0", 2);
    buffer_append(&code, "\x0b\x0b", 2);
    size_t body = code.size - 5;
    for (int i = 0; i < 3; i++) code.bytes[1 + i] = (uint8_t)((body >> 7 * i) & 0x7f) | 0x80;
    buffer_append(&b, "\0asm\1\0\0\0", 8);
    put_section(&b, 1, BYTES("\1\x60\0\0"));
    put_section(&b, 3, BYTES("\1\0"));
    uint8_t section[] = {10, (uint8_t)(code.size & 0x7f) | 0x80, (uint8_t)(code.size >> 7 & 0x7f) | 0x80,
                         (uint8_t)(code.size >> 14)};
    buffer_append(&b, section, sizeof section);
    buffer_append(&b, code.bytes, code.size);
    struct gw_module *module = gw_module_create(engine, b.bytes, b.size, &err);
    if (n == most && !module) fail_msg("%s", err.message);
    if (n > most) {
      assert_null(module);
      assert_int_equal(err.code, GW_ERROR_LIMIT);
    }
    gw_module_release(module);
    buffer_clear(&b);
    buffer_clear(&code);
  }
}

/* Modules without exceptions pay nothing: their code does not mention them. */
static void test_costs_nothing_without(void **state) {
  (void)state;
  static const char *const texts[] = {"(module (import \"\" \"f\" (func)) (func (call 0)))",
                                      "(module (import \"\" \"f\" (func)) (tag) (func (call 0)))"};
  for (int i = 0; i < 2; i++) {
    struct gw_error err = {0};
    struct gw_module *module = wat_module(engine, texts[i]);
    char *ir = gw_module_dump(module, GW_DUMP_IR_FRESH, NULL, &err);
    assert_non_null(ir);
    assert_int_equal(strstr(ir, "%exception = load") != NULL, i);
    free(ir);
    gw_module_release(module);
  }
}

static int set_up(void **state) {
  (void)state;
  struct gw_error err = {0};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true, .verify = true}, &err);
  return engine ? 0 : 1;
}

static int tear_down(void **state) {
  (void)state;
  gw_engine_destroy(engine);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_deep),
      cmocka_unit_test(test_rethrown_twice),
      cmocka_unit_test(test_message_and_reset),
      cmocka_unit_test(test_traps_pass),
      cmocka_unit_test(test_uncaught_in_start),
      cmocka_unit_test(test_through_other_module),
      cmocka_unit_test(test_late_arrival),
      cmocka_unit_test(test_loops_are_bounded),
      cmocka_unit_test(test_exnref_lives_as_long_as_something_leads_to_it),
      cmocka_unit_test(test_exnref_lives_in_tables),
      cmocka_unit_test(test_no_module_joins_a_running_store),
      cmocka_unit_test(test_clause_limit),
      cmocka_unit_test(test_costs_nothing_without),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
