/* Prices of gas blocks, sentence by sentence of docs/gas.md, section 2. Whole programs and random modules are the oracle's
 * (gas_price.js); here each rule has the smallest body that shows it, by prices that no two of them share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/engine.h"
#include "tests/wat.h"

#include "frontend/price.c"

enum { MOST = 8, MOVE = 10000, LOAD = 500, ALU = 20, MUL = 70 };

static struct gw_engine *engine;
static uint32_t gas[COST_COUNT], latency[COST_COUNT];
static const struct price_rates rates = {gas, latency};

/* Prices of the last function's blocks; 0 ends the list. Work costs nothing here but where a row says so. */
static void expect(const char *what, const char *items, const char *body, const uint64_t *prices) {
  char text[20000];
  struct block_prices got;
  snprintf(text, sizeof text, "(module %s (func $it %s))", items, body);
  struct gw_module *module = wat_module(engine, text);
  const struct module *m = gw_module_decoded(module);
  price_blocks(m, m->n_funcs - 1, &rates, NULL, &got);
  uint32_t n = 0;
  for (uint32_t i = 0; i < got.n; i++) {
    if (!got.items[i].gas) continue;
    if (got.items[i].gas != prices[n]) fail_msg("%s: block %u costs %d, not %d", what, i, (int)got.items[i].gas, (int)prices[n]);
    n++;
  }
  if (prices[n]) fail_msg("%s: no block for %d", what, (int)prices[n]);
  prices_clear(&got);
  gw_module_release(module);
}
#define EXPECT(what, items, body, ...) expect(what, items, body, (const uint64_t[MOST]){__VA_ARGS__})

#define P "(local.get $p)"
#define NEXT "(i32.load " P ")"
#define AGAIN "(br_if $l " P ")"
#define LOCALS "(param $p i32) (local $q i32) (local $r i32)"

static void test_waiting(void **state) {
  (void)state;
  const char *memory = "(memory 1)";
  EXPECT("a chain from round to round", memory, LOCALS "(loop $l (local.set $p " NEXT ") " AGAIN ")", LOAD);
  EXPECT("two of it", memory, LOCALS "(loop $l (local.set $p (i32.load (i32.load " P "))) " AGAIN ")", 2 * LOAD);
  EXPECT("through another local", memory, LOCALS "(loop $l (local.set $q " NEXT ") (local.set $p (local.get $q)) " AGAIN ")",
         LOAD);
  EXPECT("a tee hands on", memory, LOCALS "(loop $l (br_if $l (local.tee $p (i32.load (local.tee $q " NEXT ")))))", 2 * LOAD);
  EXPECT("what is read beside it", memory,
         LOCALS "(loop $l (local.set $r (i32.load (local.get $q))) (local.set $q (i32.add (local.get $q) (i32.const 4))) "
                "(br_if $l (local.get $r)))",
         ALU);
  EXPECT("the longest counts", memory,
         LOCALS "(loop $l (local.set $p " NEXT ") (local.set $q (i32.mul (local.get $q) (local.get $q))) " AGAIN ")", LOAD);
  EXPECT("of each block its own", memory,
         LOCALS "(loop $l (if " P " (then (local.set $p " NEXT "))) (local.set $p (i32.mul " P " " P ")) " AGAIN ")", LOAD, MUL);
  EXPECT("over blocks", memory,
         LOCALS "(loop $l (if " P " (then (local.set $q " NEXT "))) (local.set $p (i32.add (local.get $q) " P ")) " AGAIN ")",
         LOAD, ALU);
  EXPECT("an operand that waits on the stack", memory,
         LOCALS "(loop $l " NEXT " (if " P " (then)) (local.set $p (i32.eqz)) " AGAIN ")", LOAD, ALU);
  EXPECT("a cycle through what stands elsewhere", memory, LOCALS "(local.set $q " NEXT ") (block) (local.set $p (local.get $q))",
         LOAD);
  EXPECT("a store ends it", memory, LOCALS "(loop $l (i32.store " P " " NEXT ") " AGAIN ")", 0);
  EXPECT("a call hands on", "(memory 1) (func $f (param i32) (result i32) (local.get 0))",
         LOCALS "(loop $l (local.set $p (call $f " NEXT ")) " AGAIN ")", 2 * MOVE + LOAD);
  EXPECT("a condition does", memory, LOCALS "(loop $l (local.set $p (select (i32.const 1) (i32.const 2) " NEXT ")) " AGAIN ")",
         LOAD);
  EXPECT("what cannot be reached does not", memory, LOCALS "(loop $l " AGAIN " (return) (local.set $p " NEXT "))", 0);
}

static void test_globals(void **state) {
  (void)state;
  const char *items = "(memory 1) (global $g (mut i32) (i32.const 0)) (global $h (mut i32) (i32.const 0))";
  EXPECT("a global", items, "(global.set $g (i32.load (global.get $g)))", LOAD);
  EXPECT("another is the same place", items, "(global.set $g (i32.load (global.get $h)))", LOAD);
  EXPECT("what was set before", items,
         "(global.set $g (i32.load (global.get $g))) (global.set $h (i32.const 1)) (global.set $g (i32.load (global.get $g)))",
         2 * LOAD);
}

static void test_constructs(void **state) {
  (void)state;
  const char *items = "(memory 1) (type $i_i (func (param i32) (result i32)))";
  EXPECT("parameters of a loop", items, "(i32.const 1) (loop $l (param i32) (i32.load) (br $l))", LOAD + 2 * MOVE);
  EXPECT("results of a block", items,
         "(local $p i32) (loop $l (block $b (result i32) (br $b (i32.load " P "))) (local.set $p) " AGAIN ")", LOAD + MOVE);
  EXPECT("both arms", items,
         "(local $p i32) (loop $l (if (result i32) " P " (then " NEXT ") (else (i32.mul " P " " P "))) (local.set $p) " AGAIN ")",
         LOAD + MOVE, MUL + MOVE);
  EXPECT("an if without else", items,
         "(local $p i32) (loop $l (i32.load " P ") (if (param i32) (result i32) " P " (then)) (local.set $p) " AGAIN ")",
         LOAD + MOVE, MOVE);
  EXPECT("results of a loop are what lies there", items, "(local $p i32) (local.set $p (loop (result i32) (i32.load " P ")))",
         LOAD);
  EXPECT("a table of branches", items, "(i32.const 1) (loop $l (param i32) (i32.load) (br_table $l $l (i32.const 0)))",
         LOAD + 2 * MOVE);
}

static void test_moves(void **state) {
  (void)state;
  const char *items = "(type $t (func (param i32 i64) (result f32 f64 i32))) (func $f (type $t) unreachable) (table 1 funcref)";
  EXPECT("of a call", items, "(call $f (i32.const 1) (i64.const 1)) (drop) (drop) (drop)", 5 * MOVE);
  EXPECT("of one through a table", items,
         "(call_indirect (type $t) (i32.const 1) (i64.const 1) (i32.const 0)) (drop) (drop) (drop)", 5 * MOVE);
  EXPECT("none of the body", items, "(result i32 i32) (i32.const 1) (i32.const 2)", 0);
  EXPECT("none of a return", items, "(result i32 i32) (return (i32.const 1) (i32.const 2))", 0);
  EXPECT("at an end", items, "(block (result i32 i32) (i32.const 1) (i32.const 2)) (drop) (drop)", 2 * MOVE);
  EXPECT("none at a loop's", items, "(loop (result i32 i32) (i32.const 1) (i32.const 2)) (drop) (drop)", 0);
  EXPECT("none at an end that is not reached", items, "(block (result i32) (unreachable)) (drop)", 0);
  EXPECT("what is thrown", "(tag $e (param i32 i32 i32))", "(throw $e (i32.const 1) (i32.const 2) (i32.const 3))",
         3 * THROWN_MOVES * MOVE);
}

/* A loop that rotates `n` locals. */
static void expect_rotation(uint32_t n, uint64_t price) {
  char body[16384];
  int at = snprintf(body, sizeof body, "(param");
  for (uint32_t i = 0; i < n; i++) at += snprintf(body + at, sizeof body - (size_t)at, " i32");
  at += snprintf(body + at, sizeof body - (size_t)at, ") (loop $l (local.get 0)");
  for (uint32_t i = 0; i + 1 < n; i++)
    at += snprintf(body + at, sizeof body - (size_t)at, "(local.set %u (local.get %u))", i, i + 1);
  snprintf(body + at, sizeof body - (size_t)at, "(local.set %u) (br $l))", n - 1);
  EXPECT("rotated locals", "", body, price);
}

static void test_many_locals(void **state) {
  (void)state;
  expect_rotation(FREE_LOCALS, 0);
  expect_rotation(FREE_LOCALS + 1, (FREE_LOCALS + 1) * (uint64_t)MOVE);
  expect_rotation(FAR_LOCALS, FAR_LOCALS * (uint64_t)MOVE);
  expect_rotation(FAR_LOCALS + 1, (FAR_LOCALS + 1) * 2 * (uint64_t)MOVE);
}

/* Shifted ones are on no cycle, and moved all the same. A set in a loop inside does not hide the one behind it. */
static void test_shifted_locals(void **state) {
  (void)state;
  char body[4096];
  int at = snprintf(body, sizeof body, "(param");
  for (int i = 0; i < 20; i++) at += snprintf(body + at, sizeof body - (size_t)at, " i32");
  at += snprintf(body + at, sizeof body - (size_t)at, ") (loop $l ");
  for (int i = 19; i > 0; i--) at += snprintf(body + at, sizeof body - (size_t)at, "(local.set %d (local.get %d))", i, i - 1);
  snprintf(body + at, sizeof body - (size_t)at, "(br $l))");
  EXPECT("shifted locals", "", body, 19 * (uint64_t)MOVE);
}

static void test_declared_locals(void **state) {
  (void)state;
  EXPECT("few", "", "(local i32 i32 i32 i32 i32 i32 i32)", 0);
  EXPECT("many", "", "(local i32 i32 i32 i32 i32 i32 i32 i64) (local f32 f32 f32 f32 f32 f32 f32 i64)", 2 * MOVE);
}

static void test_free_instructions(void **state) {
  (void)state;
  gas[COST_FOUR] = 3;
  EXPECT("three and the end", "", "nop nop nop", 3);
  EXPECT("two and the end", "", "nop nop", 0);
  gas[COST_FOUR] = 0;
}

/* A chain that starts anew each round: what of it lies beyond the window waits. Instructions: the first, the loads,
 * two, and the end. */
static void test_far_chain(void **state) {
  (void)state;
  enum { LOADS = 600, ALL = 2 + LOADS + 1 + 1 };
  struct buffer body = {0};
  buffer_append_string(&body, "(param i32) local.get 0 ");
  for (int i = 0; i < LOADS; i++) buffer_append_string(&body, "i32.load ");
  buffer_append_string(&body, "drop nop");
  buffer_append(&body, "", 1);
  EXPECT("a long chain", "(memory 1)", (const char *)body.bytes, (uint64_t)LOADS * LOAD * (ALL - WINDOW) / ALL);
  buffer_clear(&body);
}

static void test_work(void **state) {
  (void)state;
  gas[COST_ALU] = 7;
  EXPECT("more than what waits", "",
         "(local $p i32) (local.set $p (i32.eqz (i32.eqz (i32.eqz " P ")))) (drop (i32.eqz (i32.const 1)))", 3 * ALU);
  gas[COST_ALU] = 3 * ALU;
  EXPECT("less than the work", "", "(local $p i32) (local.set $p (i32.eqz (i32.eqz " P ")))", 6 * ALU);
  gas[COST_ALU] = 0;
}

static int set_up(void **state) {
  (void)state;
  struct gw_error err = {0};
  gas[COST_MOVE] = MOVE;
  latency[COST_LOAD] = LOAD;
  latency[COST_ALU] = ALU;
  latency[COST_MUL] = MUL;
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  return engine ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  gw_engine_destroy(engine);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_waiting),         cmocka_unit_test(test_globals),
      cmocka_unit_test(test_constructs),      cmocka_unit_test(test_moves),
      cmocka_unit_test(test_many_locals),     cmocka_unit_test(test_shifted_locals),
      cmocka_unit_test(test_declared_locals), cmocka_unit_test(test_free_instructions),
      cmocka_unit_test(test_far_chain),       cmocka_unit_test(test_work),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
