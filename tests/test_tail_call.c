/* Tail calls never run out of stack, whatever the signatures, the instances and the optimisation level; and they are paid for. */
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { ROUNDS = IS_PRECISE ? 1000000 : 10000000 };

static const char tail_calls[] =
    "(module (type $one (func (param i64) (result i64)))"
    " (type $many (func (param i64 f64 i64 i64 i64 i64 i64 i64 i64 i64 f32) (result i64)))"
    " (import \"host\" \"half\" (func $half (param i64) (result i64)))"
    " (table funcref (elem $count_indirect $ping_indirect $pong_indirect))"
    " (func $count (export \"count\") (param i64) (result i64)"
    "  (if (i64.eqz (local.get 0)) (then (return (i64.const 7)))) (return_call $count (i64.sub (local.get 0) (i64.const 1))))"
    " (func $count_indirect (export \"count_indirect\") (param i64) (result i64)"
    "  (if (i64.eqz (local.get 0)) (then (return (i64.const 7))))"
    "  (return_call_indirect (type $one) (i64.sub (local.get 0) (i64.const 1)) (i32.const 0)))"
    " (func $ping (export \"ping\") (param i64) (result i64)"
    "  (if (i64.eqz (local.get 0)) (then (return (i64.const 7))))"
    "  (return_call $pong (local.get 0) (f64.const 0.5) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)"
    "   (i64.const 7) (i64.const 8) (i64.const 9) (f32.const 0.5)))"
    " (func $pong (type $many)"
    "  (return_call $ping (i64.sub (i64.add (local.get 0) (i64.sub (local.get 9) (i64.const 9)))"
    "   (i64.trunc_f64_s (f64.add (local.get 1) (f64.promote_f32 (local.get 10)))))))"
    " (func $ping_indirect (export \"ping_indirect\") (param i64) (result i64)"
    "  (if (i64.eqz (local.get 0)) (then (return (i64.const 7))))"
    "  (return_call_indirect (type $many) (local.get 0) (f64.const 0.5) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5)"
    "   (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9) (f32.const 0.5) (i32.const 2)))"
    " (func $pong_indirect (type $many)"
    "  (return_call_indirect (type $one) (i64.sub (i64.add (local.get 0) (i64.sub (local.get 9) (i64.const 9)))"
    "   (i64.const 1)) (i32.const 1)))"
    " (func $three (param i64) (result i64 f64 i64)"
    "  (if (i64.eqz (local.get 0)) (then (return (i64.const 3) (f64.const 2) (i64.const 2))))"
    "  (return_call $three (i64.sub (local.get 0) (i64.const 1))))"
    " (func (export \"results\") (param i64) (result i64) (local f64 i64) (call $three (local.get 0)) (local.set 2)"
    "  (local.set 1) (i64.add (local.get 2)) (i64.add (i64.trunc_f64_s (local.get 1))))"
    " (func $to_host (param i64) (result i64) (return_call $half (local.get 0)))"
    " (func (export \"host\") (param i64) (result i64) (local i64 i64)"
    "  (loop $next (local.set 1 (call $to_host (i64.const 14)))"
    "   (br_if $next (i64.ne (local.get 0) (local.tee 2 (i64.add (local.get 2) (i64.const 1))))))"
    "  (local.get 1))"
    /* Every level of recursion is a call, each behind two tail calls that must not cost depth of their own. */
    " (func $deep (export \"deep\") (param i64) (result i64) (return_call $deep1 (local.get 0)))"
    " (func $deep1 (param i64) (result i64) (return_call $deep2 (local.get 0)))"
    " (func $deep2 (param i64) (result i64) (if (i64.eqz (local.get 0)) (then (return (i64.const 7))))"
    "  (i64.add (call $deep (i64.sub (local.get 0) (i64.const 1))) (i64.const 0)))"
    /* Arguments on the stack change places: none may be overwritten before it is read. */
    " (func $rotate (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)"
    "  (if (i64.eqz (local.get 0)) (then (return (local.get 1))))"
    "  (return_call $rotate (i64.sub (local.get 0) (i64.const 1)) (local.get 2) (local.get 3) (local.get 4) (local.get 5)"
    "   (local.get 6) (local.get 7) (local.get 8) (local.get 9) (local.get 10) (local.get 11) (local.get 1)))"
    " (func (export \"rotate\") (param i64) (result i64) (return_call $rotate (i64.rem_u (local.get 0) (i64.const 12))"
    "  (i64.const 11) (i64.const 12) (i64.const 13) (i64.const 14) (i64.const 7) (i64.const 16) (i64.const 17) (i64.const 18)"
    "  (i64.const 19) (i64.const 20) (i64.const 21)))"
    /* One way out needs more stack than the function got, another less, a third a frame. */
    " (func $branches (export \"branches\") (param i64) (result i64)"
    "  (if (i64.eqz (local.get 0)) (then (return (i64.const 7))))"
    "  (if (i64.eqz (i64.and (local.get 0) (i64.const 1))) (then (return_call $less (local.get 0))))"
    "  (if (i64.eqz (i64.and (local.get 0) (i64.const 14))) (then (return (call $half (i64.const 14)))))"
    "  (return_call $more (local.get 0) (f64.const 0.5) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)"
    "   (i64.const 7) (i64.const 8) (i64.const 9) (f32.const 0.5)))"
    " (func $less (param i64) (result i64) (return_call $branches (i64.sub (local.get 0) (i64.const 1))))"
    " (func $more (type $many)"
    "  (if (i64.eqz (i64.and (local.get 0) (i64.const 2)))"
    "   (then (return_call $more (i64.sub (local.get 0) (i64.const 2)) (local.get 1) (local.get 9) (local.get 2) (local.get 3)"
    "    (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 8) (local.get 10))))"
    "  (return_call $branches (i64.sub (local.get 0) (i64.const 1))))"
    " (func $forever (export \"forever\") (param i64) (result i64) (return_call $forever (local.get 0))))";

/* Two instances that call each other: the table is the first one's, its entry the second one's. */
static const char first[] = "(module (type $one (func (param i64) (result i64))) (table (export \"table\") 1 funcref)"
                            " (func (export \"back\") (param i64) (result i64)"
                            "  (if (i64.eqz (local.get 0)) (then (return (i64.const 7))))"
                            "  (return_call_indirect (type $one) (i64.sub (local.get 0) (i64.const 1)) (i32.const 0))))";
static const char second[] = "(module (import \"first\" \"table\" (table 1 funcref))"
                             " (import \"first\" \"back\" (func $back (param i64) (result i64)))"
                             " (func $forth (export \"forth\") (param i64) (result i64) (return_call $back (local.get 0)))"
                             " (elem (i32.const 0) $forth))";

/* A module that has no tail calls, and one that has them and joins its store later. They call each other with more arguments than
 * go in registers; sum is (params) . (1, 10, 100, ...). */
#define SEVEN "(type $seven (func (param i64 i64 i64 i64 i64 i64 i64) (result i64)))"
static const char plain[] =
    "(module " SEVEN " (table (export \"table\") 2 funcref) (elem (i32.const 0) $sum)"
    " (func $sum (export \"sum\") (type $seven) (i64.add (local.get 0) (i64.mul (i64.const 10) (i64.add (local.get 1) (i64.mul "
    "(i64.const 10)"
    "  (i64.add (local.get 2) (i64.mul (i64.const 10) (i64.add (local.get 3) (i64.mul (i64.const 10) (i64.add (local.get 4) "
    "(i64.mul (i64.const 10)"
    "  (i64.add (local.get 5) (i64.mul (i64.const 10) (local.get 6))))))))))))))"
    " (func $at (param i64 i32) (result i64) (call_indirect (type $seven) (local.get 0) (i64.const 2) (i64.const 3) (i64.const 4)"
    "  (i64.const 5) (i64.const 6) (i64.const 7) (local.get 1)))"
    " (func (export \"own\") (param i64) (result i64) (call $at (local.get 0) (i32.const 0)))"
    " (func (export \"other\") (param i64) (result i64) (i64.add (i64.const 1000000000) (call $at (local.get 0) (i32.const "
    "1)))))";
static const char joining[] =
    "(module " SEVEN " (import \"plain\" \"table\" (table 2 funcref)) (import \"plain\" \"sum\" (func $sum (type $seven)))"
    " (import \"plain\" \"other\" (func $other (param i64) (result i64)))"
    " (elem (i32.const 1) $turn)"
    " (func $turn (type $seven) (return_call $sum (local.get 6) (local.get 5) (local.get 4) (local.get 3) (local.get 2) "
    "(local.get 1)"
    "  (local.get 0)))"
    " (func (export \"there\") (param i64) (result i64) (return_call_indirect (type $seven) (i64.const 7) (i64.const 6) "
    "(i64.const 5)"
    "  (i64.const 4) (i64.const 3) (i64.const 2) (local.get 0) (i32.const 0)))"
    " (func (export \"back\") (param i64) (result i64) (i64.add (call $other (local.get 0)) (call $other (i64.const 0)))))";

/* ping and pong by return_call_ref, with one parameter and with ten; "null" calls a null reference. Assembled by hand. */
static const uint8_t by_reference[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, /* types */ 0x01, 0x14, 0x02, 0x60, 0x01, 0x7e, 0x01, 0x7e, 0x60, 0x0a, 0x7e,
    0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x7e, 0x01, 0x7e, /* functions */ 0x03, 0x04, 0x03, 0x00, 0x01, 0x00,
    /* exports */ 0x07, 0x0f, 0x02, 0x04, 'p', 'i', 'n', 'g', 0x00, 0x00, 0x04, 'n', 'u', 'l', 'l', 0x00, 0x02,
    /* declared */ 0x09, 0x06, 0x01, 0x03, 0x00, 0x02, 0x00, 0x01, /* code */ 0x0a, 0x40, 0x03,
    /* ping: if n = 0 return 7; tail call pong(n - 1, 1, ... 9) */
    0x26, 0x00, 0x20, 0x00, 0x50, 0x04, 0x40, 0x42, 0x07, 0x0f, 0x0b, 0x20, 0x00, 0x42, 0x01, 0x7d, 0x42, 0x01, 0x42, 0x02, 0x42,
    0x03, 0x42, 0x04, 0x42, 0x05, 0x42, 0x06, 0x42, 0x07, 0x42, 0x08, 0x42, 0x09, 0xd2, 0x01, 0x15, 0x01, 0x0b,
    /* pong: tail call ping(first + last - 9) */
    0x0e, 0x00, 0x20, 0x00, 0x20, 0x09, 0x7c, 0x42, 0x09, 0x7d, 0xd2, 0x00, 0x15, 0x00, 0x0b,
    /* null */ 0x08, 0x00, 0x20, 0x00, 0xd0, 0x00, 0x15, 0x00, 0x0b};

static enum gw_trap half(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env;
  values[0].i64 /= 2;
  return GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func host = {"host", "half", "I_I", half};
  if (env) return gw_instance_export(env, import->field, import->field_size, out);
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &host};
  return true;
}

static struct gw_instance *make(struct gw_store *store, struct gw_module *module, void *env) {
  struct gw_error err = {0};
  struct gw_instance *instance = module ? gw_instance_create(store, module, resolve, env, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  gw_module_release(module);
  return instance;
}

static int64_t call(struct gw_instance *instance, const char *name, int64_t n) {
  struct gw_error err = {0};
  union gw_value values[1] = {{.i64 = n}};
  if (!gw_call_export(instance, name, values, 1, &err)) fail_msg("%s: %s", name, err.message);
  return values[0].i64;
}

static uint64_t expect_7(struct gw_instance *instance, const char *name, int64_t n) {
  assert_int_equal(call(instance, name, n), 7);
  return gw_store_gas_used(gw_instance_store(instance));
}

static void expect_trap(struct gw_instance *instance, const char *name, int64_t n, enum gw_trap trap) {
  struct gw_error err = {0};
  union gw_value values[1] = {{.i64 = n}};
  assert_false(gw_call_export(instance, name, values, 1, &err));
  assert_int_equal(err.trap, trap);
}

static struct gw_module *load(struct gw_engine *engine, const uint8_t *bytes, size_t size) {
  struct gw_error err = {0};
  struct gw_module *module = gw_module_create(engine, bytes, size, &err);
  if (!module) fail_msg("%s", err.message);
  return module;
}

/* The greatest n for which a function that recurses n deep returns. */
static int64_t greatest_depth(struct gw_instance *instance, const char *name) {
  int64_t low = 0, high = 1 << 20;
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    union gw_value values[1] = {{.i64 = middle}};
    struct gw_error err = {0};
    if (gw_call_export(instance, name, values, 1, &err))
      low = middle;
    else
      high = middle;
  }
  return low;
}

static struct gw_engine_options variants[4] = {{.loose_traps = true, .opt_level = 0, .gas = true, .verify = true},
                                               {.loose_traps = true, .opt_level = 2, .gas = true, .verify = true},
                                               {.loose_traps = true, .opt_level = 0, .verify = true},
                                               {.loose_traps = true, .opt_level = 2, .verify = true}};

static void test_no_stack(void **state) {
  (void)state;
  static const char *const names[] = {"count", "count_indirect", "ping", "ping_indirect", "results", "rotate", "branches"};
  enum { N_NAMES = sizeof names / sizeof names[0] };
  uint64_t gas[2][N_NAMES], by_ref[2], across[2];
  int64_t depth[4];
  for (int v = 0; v < 4; v++) {
    struct gw_error err = {0};
    struct gw_engine *engine = gw_engine_create(&variants[v], &err);
    struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.slice = 1000000}, &err);
    struct gw_instance *instance = make(store, wat_module(engine, tail_calls), NULL);
    for (int i = 0; i < N_NAMES; i++) gas[v & 1][i] = expect_7(instance, names[i], ROUNDS);
    expect_7(instance, "host", 100000);
    depth[v] = greatest_depth(instance, "deep");
    struct gw_instance *references = make(store, load(engine, by_reference, sizeof by_reference), NULL);
    by_ref[v & 1] = expect_7(references, "ping", ROUNDS);
    expect_trap(references, "null", 0, GW_TRAP_NULL_FUNCTION);
    struct gw_instance *one = make(store, wat_module(engine, first), NULL), *two = make(store, wat_module(engine, second), one);
    across[v & 1] = expect_7(two, "forth", ROUNDS);
    gw_store_destroy(store);
    gw_engine_destroy(engine);
    if (v != 1) continue; /* both levels were metered: the same gas */
    assert_memory_equal(gas[0], gas[1], sizeof gas[0]);
    assert_int_equal(by_ref[0], by_ref[1]);
    assert_int_equal(across[0], across[1]);
  }
  assert_true(depth[0] > 5000);
  for (int v = 1; v < 4; v++) assert_int_equal(depth[v], depth[0]);
}

/* A cycle of tail calls is a loop: it ends when the gas does. */
static void test_endless(void **state) {
  (void)state;
  for (int v = 0; v < 2; v++) {
    struct gw_error err = {0};
    struct gw_engine *engine = gw_engine_create(&variants[v], &err);
    struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.slice = 1000, .gas_limit = 1000000}, &err);
    struct gw_instance *instance = make(store, wat_module(engine, tail_calls), NULL);
    expect_trap(instance, "forever", 0, GW_TRAP_OUT_OF_GAS);
    assert_int_equal(gw_store_gas_used(store), 1000000);
    gw_store_destroy(store);
    gw_engine_destroy(engine);
  }
}

/* The convention without guaranteed tail calls is the faster one, and another: once a module that needs it is there, all have it.
 */
static void test_joins_later(void **state) {
  (void)state;
  for (int v = 0; v < 4; v++) {
    struct gw_error err = {0};
    struct gw_engine *engine = gw_engine_create(&variants[v], &err);
    struct gw_store *store = gw_store_create(engine, NULL, &err);
    struct gw_instance *one = make(store, wat_module(engine, plain), NULL);
    assert_int_equal(call(one, "own", 1), 7654321);
    struct gw_instance *two = make(store, wat_module(engine, joining), one);
    assert_int_equal(call(one, "own", 1), 7654321);
    assert_int_equal(call(one, "other", 1), 1001234567);
    assert_int_equal(call(two, "there", 1), 1234567);
    assert_int_equal(call(two, "back", 1), 1001234567 + 1000234567);
    gw_store_destroy(store);
    gw_engine_destroy(engine);
  }
}

static unsigned kind_of(char letter) { return letter == 'i' ? 0 : letter == 'I' ? 1 : letter == 'f' ? 2 : 3; }

/* Writes what stands for each letter of `kinds`; returns where it ends. */
static char *list(char *out, const char *kinds, const char *const by_kind[4]) {
  for (; *kinds; kinds++) out += sprintf(out, "%s ", by_kind[kind_of(*kinds)]);
  return out;
}

/* Sums 3 for each i32, 4 for i64, 5 for f64 and 7 for a vector's upper half, each times its place. */
static uint64_t write_sums(char *out, const char *kinds) {
  static const char *const types[] = {"i32", "i64", "f64", "v128"},
                           *const constants[] = {"(i32.const 3)", "(i64.const 4)", "(f64.const 5)", "(v128.const i64x2 6 7)"},
                           *const as_i64[] = {"i64.extend_i32_u", "", "i64.trunc_f64_u", "i64x2.extract_lane 1"};
  uint64_t sum = 0;
  out += sprintf(out, "(module (type $all (func (param ");
  out = list(out, kinds, types);
  out += sprintf(out, ") (result i64))) (table funcref (elem $sum)) (func $sum (type $all) (i64.const 0) ");
  for (unsigned i = 0; kinds[i]; i++) {
    unsigned kind = kind_of(kinds[i]);
    out += sprintf(out, "(local.get %u) %s (i64.const %u) i64.mul i64.add ", i, as_i64[kind], i + 1);
    sum += (i + 1) * (uint64_t[]){3, 4, 5, 7}[kind];
  }
  out += sprintf(out, ") (func $also (type $all) ");
  out = list(out, kinds, constants);
  out +=
      sprintf(out, "return_call $sum) (func (export \"ten\") (param i64) (result i64) (local i64 i32) (loop $l (local.get 1) ");
  for (int i = 0; i < 3; i++) {
    out = list(out, kinds, constants);
    out += sprintf(out, "%s i64.add ", i == 0 ? "call $sum" : i == 1 ? "call $also" : "i32.const 0 call_indirect (type $all)");
  }
  sprintf(
      out,
      "local.set 1 (br_if $l (i32.lt_u (local.tee 2 (i32.add (local.get 2) (i32.const 1))) (i32.const 10)))) (local.get 1)))");
  return 30 * sum;
}

/* The caller and the callee agree on how much of the stack arguments take, whatever they are. */
static void test_vectors_on_stack(void **state) {
  (void)state;
  static char text[65536];
  uint32_t random = 1;
  for (int v = 0; v < 4; v++) {
    struct gw_error err = {0};
    struct gw_engine *engine = gw_engine_create(&variants[v], &err);
    for (unsigned n = 10; n < 34; n++) {
      char kinds[40] = {0};
      for (unsigned i = 0; i < n; i++) kinds[i] = "iIfvvf"[((random = random * 1103515245 + 12345) >> 16) % 6];
      uint64_t sum = write_sums(text, kinds);
      struct gw_store *store = gw_store_create(engine, NULL, &err);
      assert_int_equal(call(make(store, wat_module(engine, text), NULL), "ten", 0), sum);
      gw_store_destroy(store);
    }
    gw_engine_destroy(engine);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_stack), cmocka_unit_test(test_joins_later),
                                     cmocka_unit_test(test_vectors_on_stack), cmocka_unit_test(test_endless)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
