/* Loops with known counts: what is found by looking at the instructions is what happens. */
#include "instrument/rounds.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Bodies of [] -> []; each round of the loop in question does $round. */
static const struct {
  const char *body;
  bool is_found, is_exact;
} rows[] = {
    /* up to a bound, down to zero, by other steps, with other comparisons */
    {"(local i32) (loop $l (call $round) (br_if $l (i32.ne (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const "
     "100))))",
     true, true},
    {"(local i32) (local.set 0 (i32.const 64)) (loop $l (call $round) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const "
     "1)))))",
     true, true},
    {"(local i32) (local.set 0 (i32.const 64)) (loop $l (call $round) (local.set 0 (i32.add (local.get 0) (i32.const -2)))"
     " (br_if $l (local.get 0)))",
     true, true},
    {"(local i32) (loop $l (call $round) (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 7))) (i32.const "
     "100))))",
     true, true},
    {"(local i32) (local.set 0 (i32.const 50)) (loop $l (call $round) (br_if $l (i32.gt_s (local.tee 0 (i32.sub (local.get 0) "
     "(i32.const 3)))"
     " (i32.const -9))))",
     true, true},
    {"(local i64) (loop $l (call $round) (br_if $l (i64.le_s (local.tee 0 (i64.add (local.get 0) (i64.const 5))) (i64.const "
     "77))))",
     true, true},
    {"(local i32) (loop $l (call $round) (br_if $l (i32.ge_u (local.tee 0 (i32.add (local.get 0) (i32.const 0x10000000)))"
     " (i32.const 0x10000000))))",
     true, true}, /* until it wraps around */
    {"(local i32) (loop $l (call $round) (br_if $l (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const "
     "-5))))",
     true, true},
    /* a way out of the middle */
    {"(local i32) (block $out (loop $l (call $round) (br_if $out (i32.eq (local.get 0) (i32.const 1000)))"
     " (br_if $l (i32.ne (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 30)))))",
     true, false},
    {"(local i32) (loop $l (call $round) (if (i32.eq (local.get 0) (i32.const 1000)) (then (return_call $round)))"
     " (br_if $l (i32.ne (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 30))))",
     true, false},
    /* the start is not known, or may be another */
    {"(local i32) (local.set 0 (i32.load (i32.const 0))) (loop $l (call $round)"
     " (br_if $l (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 10))))",
     false, false},
    {"(local i32) (if (i32.load (i32.const 0)) (then (local.set 0 (i32.const 3)))) (loop $l (call $round)"
     " (br_if $l (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 10))))",
     false, false},
    {"(local i32) (block (br_if 0 (i32.load (i32.const 0))) (local.set 0 (i32.const 3))) (loop $l (call $round)"
     " (br_if $l (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 10))))",
     false, false},
    /* the step is not one of every round, or not the only one, or comes behind */
    {"(local i32) (loop $l (call $round) (if (i32.eqz (i32.load (i32.const 0))) (then (local.set 0 (i32.add (local.get 0) "
     "(i32.const 1)))))"
     " (br_if $l (i32.lt_s (local.get 0) (i32.const 10))))",
     false, false},
    {"(local i32) (loop $l (call $round) (local.set 0 (i32.add (local.get 0) (i32.const 1)))"
     " (br_if $l (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 10))))",
     false, false},
    {"(local i32) (loop $l (call $round) (br_if $l (i32.gt_s (local.get 0) (i32.const 10))) (local.set 0 (i32.add (local.get 0) "
     "(i32.const 1))))",
     false, false},
    {"(local i32 i32) (loop $l (call $round) (local.set 0 (i32.add (local.get 0) (i32.const 1)))"
     " (br_if $l (i32.eq (local.tee 1 (i32.xor (local.get 1) (i32.const 1))) (i32.const 1)))"
     " (br_if $l (i32.lt_s (local.get 0) (i32.const 10))))",
     false, false},
};

enum { N_ROWS = sizeof rows / sizeof *rows };

static struct gw_module *module_of(struct gw_engine *engine, const char *body) {
  struct buffer text = {0};
  buffer_format(&text,
                "(module (memory 1) (global $n (mut i64) (i64.const 0)) (func $round (global.set $n (i64.add (global.get $n) "
                "(i64.const 1))))"
                " (func $f %s) (func (export \"count\") (result i64) (call $f) (global.get $n)))",
                body);
  buffer_append(&text, "", 1);
  struct gw_module *module = wat_module(engine, (const char *)text.bytes);
  buffer_clear(&text);
  return module;
}

static uint64_t rounds_that_happen(struct gw_engine *engine, struct gw_module *module) {
  struct gw_error err = {0};
  union gw_value value;
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.tier = GW_TIER_PRECISE}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance || !gw_call_export(instance, "count", &value, 1, &err)) fail_msg("%s", err.message);
  gw_store_destroy(store);
  return value.u64;
}

static void test_rows(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  for (int i = 0; i < N_ROWS; i++) {
    struct gw_module *module = module_of(engine, rows[i].body);
    size_t n;
    struct loop_rounds *found = find_loop_rounds(gw_module_decoded(module), 1, &n);
    if (n != rows[i].is_found) fail_msg("%s: %zu found", rows[i].body, n);
    if (n) {
      uint64_t happen = rounds_that_happen(engine, module);
      if (found[0].rounds != happen || found[0].is_exact != rows[i].is_exact)
        fail_msg("%s: %llu rounds, not %llu", rows[i].body, (unsigned long long)found[0].rounds, (unsigned long long)happen);
    }
    free(found);
    gw_module_release(module);
  }
  gw_engine_destroy(engine);
}

/* Loops in loops: the inner one starts anew in every round of the outer. */
static void test_nests(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  struct gw_module *module =
      module_of(engine, "(local i32 i32) (loop $o (local.set 1 (i32.const 12)) (loop $i (call $round)"
                        " (br_if $i (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))"
                        " (br_if $o (i32.ne (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))");
  size_t n;
  struct loop_rounds *found = find_loop_rounds(gw_module_decoded(module), 1, &n);
  assert_int_equal(n, 2);
  assert_int_equal(found[0].rounds, 12);
  assert_int_equal(found[1].rounds, 9);
  assert_true(found[0].is_exact && found[1].is_exact && found[0].offset > found[1].offset);
  assert_int_equal(rounds_that_happen(engine, module), 12 * 9);
  free(found);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* Hostile nesting: nothing is found, and nothing is lost. */
static void test_limits(void **state) {
  (void)state;
  enum { DEPTH = 5000 };
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  struct buffer body = {0};
  size_t n;
  buffer_append_string(&body, "(local i32)");
  for (int i = 0; i < DEPTH; i++) buffer_append_string(&body, " loop");
  for (int i = 0; i < DEPTH; i++) buffer_append_string(&body, " end");
  buffer_append_string(&body,
                       "(loop $l (br_if $l (i32.ne (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100))))");
  buffer_append(&body, "", 1);
  struct gw_module *module = module_of(engine, (const char *)body.bytes);
  struct loop_rounds *found = find_loop_rounds(gw_module_decoded(module), 1, &n);
  assert_int_equal(n, 0);
  free(found);
  gw_module_release(module);
  module = module_of(
      engine, "(local i32) (loop $l (br_if $l (i32.ne (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 0))))");
  found = find_loop_rounds(gw_module_decoded(module), 1, &n); /* 2^32 rounds */
  assert_int_equal(n, 0);
  free(found);
  gw_module_release(module);
  buffer_clear(&body);
  gw_engine_destroy(engine);
}

/* An exception out of a call leaves the loop, here in the fifth round. */
static void test_exception(void **state) {
  (void)state;
  struct gw_error err = {0};
  size_t n;
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  struct gw_module *module =
      wat_module(engine, "(module (tag $e) (func $throw (throw $e)) (global $n (mut i64) (i64.const 0))"
                         " (func $f (local i32) (loop $l (global.set $n (i64.add (global.get $n) (i64.const 1)))"
                         "  (call $maybe (i32.eq (local.get 0) (i32.const 4)))"
                         "  (br_if $l (i32.ne (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 30)))))"
                         " (func $maybe (param i32) (if (local.get 0) (then (call $throw))))"
                         " (func (export \"count\") (result i64) (try (do (call $f)) (catch_all)) (global.get $n)))");
  struct loop_rounds *found = find_loop_rounds(gw_module_decoded(module), 1, &n);
  assert_int_equal(n, 1);
  assert_int_equal(found[0].rounds, 30);
  assert_int_equal(rounds_that_happen(engine, module), 5);
  assert_false(found[0].is_exact);
  free(found);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* loop { try_table (catch_all: the loop) { call 0 } br_if (++local < 30) }: a clause begins a round, too. */
static void test_clause(void **state) {
  (void)state;
  static const uint8_t bytes[] = {0,    'a',  's',  'm',  1,    0,  0,    0,    1,    4,    1,    0x60, 0,   0,
                                  3,    3,    2,    0,    0,    10, 34,   2,    2,    0,    0x0b, 29,   1,   1,
                                  0x7f, 0x03, 0x40, 0x1f, 0x40, 1,  2,    0,    0x10, 0,    0x0b, 0x20, 0,   0x41,
                                  1,    0x6a, 0x22, 0,    0x41, 30, 0x48, 0x0d, 0,    0x01, 0x01, 0x0b, 0x0b};
  struct gw_error err = {0};
  size_t n;
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  struct gw_module *module = gw_module_create(engine, bytes, sizeof bytes, &err);
  if (!module) fail_msg("%s", err.message);
  free(find_loop_rounds(gw_module_decoded(module), 1, &n));
  assert_int_equal(n, 0);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_exception), cmocka_unit_test(test_clause),
                                     cmocka_unit_test(test_nests), cmocka_unit_test(test_limits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
