/* docs/gas.md, sentence by sentence: what blocks, dynamic work, traps and slices cost, and what running out leaves behind. Whole
 * programs and generated loops are the business of the oracle (gas_oracle.js). */
#include "instrument/schedule.h"
#include "tests/gas_escape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LEVELS = 4 };

static struct gw_engine *engines[LEVELS];
static const uint64_t slices[] = {0, 1, 7, 100, 5000};
enum { N_SLICES = sizeof slices / sizeof *slices };

#define G(id) ((uint64_t)schedule_default()->gas[COST_##id])

/* --- running rows ------------------------------------------------------------------------------------------------- */

/* One function without parameters: what it costs and how it ends. */
struct row {
  const char *what, *items, *body; /* `items` stand beside the function in the module */
  uint64_t gas;
  enum gw_trap trap;
};

static enum gw_trap host_nothing(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env, (void)values;
  return GW_TRAP_NONE;
}

/* Charges what it is told, then may trap. */
static enum gw_trap host_charge(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  if (!gw_instance_charge(caller, values[0].u32)) return GW_TRAP_OUT_OF_GAS;
  return values[1].i32 == 1 ? GW_TRAP_HOST : values[1].i32 == 2 ? GW_TRAP_EXIT : GW_TRAP_NONE;
}

static bool resolve_host(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func rows[] = {{"host", "nothing", "_", host_nothing}, {"host", "charge", "_ii", host_charge}};
  (void)env;
  bool is_charge = import->field_size == strlen("charge") && memcmp(import->field, "charge", import->field_size) == 0;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &rows[is_charge]};
  return true;
}

static struct gw_store *open_store(struct gw_engine *engine, uint64_t limit, uint64_t slice) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = limit, .slice = slice}, &err);
  if (!store) fail_msg("%s", err.message);
  return store;
}

static struct gw_instance *instantiate(struct gw_store *store, struct gw_module *module, gw_resolve_fn resolve, void *env) {
  struct gw_error err = {0};
  struct gw_instance *instance = gw_instance_create(store, module, resolve, env, &err);
  if (!instance) fail_msg("%s", err.message);
  return instance;
}

static struct func_ref *find(struct gw_instance *instance, const char *name) {
  struct gw_extern found;
  if (!gw_instance_export(instance, name, strlen(name), &found)) fail_msg("no export %s", name);
  return found.of.func;
}

static void run_row(const struct row *r, struct gw_module *module, int level, uint64_t slice) {
  union gw_value values[4] = {0};
  struct gw_error err = {0};
  struct gw_store *store = open_store(engines[level], 0, slice);
  struct gw_instance *instance = instantiate(store, module, resolve_host, NULL);
  bool ok = gw_call(store, find(instance, "f"), values, &err);
  enum gw_trap trap = ok ? GW_TRAP_NONE : err.trap;
  if (trap != r->trap || gw_store_gas_used(store) != r->gas)
    fail_msg("%s, -O%d, slice %d: %s, gas %d; must be %s, gas %d", r->what, level, (int)slice, gw_trap_message(trap),
             (int)gw_store_gas_used(store), gw_trap_message(r->trap), (int)r->gas);
  gw_store_destroy(store);
}

static void run_rows(const struct row *rows, size_t n) {
  for (size_t i = 0; i < n; i++) {
    char text[8192];
    snprintf(text, sizeof text, "(module %s (func (export \"f\") %s))", rows[i].items ? rows[i].items : "", rows[i].body);
    for (int level = 0; level < LEVELS; level++) {
      struct gw_module *module = wat_module(engines[level], text);
      for (int s = 0; s < N_SLICES; s++) run_row(&rows[i], module, level, slices[s]);
      gw_module_release(module);
    }
  }
}
#define RUN(rows) run_rows(rows, sizeof rows / sizeof *rows)

/* --- section 2: blocks -------------------------------------------------------------------------------------------- */

/* A trap that nobody can foresee, and work that costs one ALU each. */
#define CELL "(global $zero (export \"zero\") (mut i32) (i32.const 0))"
#define TRAP_HERE "(drop (i32.div_u (i32.const 1) (global.get $zero)))"
#define ALU1 "(global.set $zero (i32.eqz (i32.eqz (global.get $zero))))"

/* Costs of the above. */
static uint64_t trap_here(void) { return G(DIV) + G(GLOBAL); }
static uint64_t alu1(void) { return 2 * G(ALU) + 2 * G(GLOBAL); }

static void test_block_starts(void **state) {
  (void)state;
  const uint64_t t = trap_here(), w = alu1(), cond = G(GLOBAL);
  const struct row rows[] = {
      {"an empty function", NULL, "", 0, GW_TRAP_NONE},
      {"a block is charged when it is entered", CELL, TRAP_HERE ALU1 ALU1, t + 2 * w, GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"block, nop and drop end nothing", CELL, "(block " TRAP_HERE "nop " ALU1 ")", t + w, GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"the end of a block ends one", CELL, "(block " TRAP_HERE ")" ALU1, t, GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"the loop's own cost belongs to the block behind it", CELL, TRAP_HERE "(loop " ALU1 ")", t,
       GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"loop starts one", CELL, ALU1 "(loop " TRAP_HERE ")", w + G(LOOP) + t, GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"the end of a loop ends none", CELL, "(loop " TRAP_HERE ")" ALU1, G(LOOP) + t + w, GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"if belongs to the block it ends", CELL, TRAP_HERE "(if (global.get $zero) (then " ALU1 "))", t + cond + G(BRANCH),
       GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"an arm not taken costs nothing", CELL, "(if (global.get $zero) (then " ALU1 "))", cond + G(BRANCH), GW_TRAP_NONE},
      {"else starts one", CELL, "(if (global.get $zero) (then " ALU1 ALU1 ") (else " ALU1 "))", cond + G(BRANCH) + w,
       GW_TRAP_NONE},
      {"the end of an arm ends one", CELL, "(if (i32.eqz (global.get $zero)) (then " TRAP_HERE "))" ALU1,
       cond + G(ALU) + G(BRANCH) + t, GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"br_if ends one, taken or not", CELL, "(block " TRAP_HERE "(br_if 0 (global.get $zero)) " ALU1 ")", t + cond + G(BRANCH),
       GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"br_if not taken", CELL, "(block (br_if 0 (global.get $zero)) " ALU1 ")", cond + G(BRANCH) + w, GW_TRAP_NONE},
      {"br_if taken", CELL, "(block (br_if 0 (i32.eqz (global.get $zero))) " ALU1 ")", cond + G(ALU) + G(BRANCH), GW_TRAP_NONE},
      {"behind br", CELL, "(block (br 0) " ALU1 ")", G(BRANCH), GW_TRAP_NONE},
      {"behind br_table", CELL, "(block (block (br_table 0 1 (global.get $zero)) " ALU1 ")" ALU1 ")", cond + G(BR_TABLE) + w,
       GW_TRAP_NONE},
      {"behind return", CELL, "(block (return) " ALU1 ")" ALU1, 0, GW_TRAP_NONE},
      {"behind unreachable", CELL, ALU1 "(unreachable) " ALU1, w, GW_TRAP_UNREACHABLE},
      {"unreachable code, up to else", CELL, "(if (global.get $zero) (then (return) " ALU1 ") (else " ALU1 "))",
       cond + G(BRANCH) + w, GW_TRAP_NONE},
      {"blocks in unreachable code", CELL, "(return) (block (loop " ALU1 " (br_if 0 (global.get $zero))) " ALU1 ")" ALU1, 0,
       GW_TRAP_NONE},
      {"behind a block that nobody leaves", CELL, "(block (return) " ALU1 ") " ALU1, 0, GW_TRAP_NONE},
  };
  RUN(rows);
}

static void test_block_calls(void **state) {
  (void)state;
  const uint64_t t = trap_here(), w = alu1();
  const char *callee = CELL "(type $t (func)) (table 2 funcref) (elem (i32.const 0) $g $g) (func $g " TRAP_HERE ALU1 ")";
  const char *tail = CELL "(func $g " ALU1 ")";
  const struct row rows[] = {
      {"a call ends no block", callee, "(call $g) " ALU1, G(CALL) + w + t + w, GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"an indirect call neither", callee, "(call_indirect (type $t) (global.get $zero)) " ALU1,
       G(CALL_INDIRECT) + G(GLOBAL) + w + t + w, GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"a tail call ends one", tail, "(return_call $g) " ALU1, G(CALL) + w, GW_TRAP_NONE},
      {"callee and caller add up", tail, "(call $g) (call $g) " ALU1, 2 * G(CALL) + 3 * w, GW_TRAP_NONE},
  };
  RUN(rows);
}

static void test_loops(void **state) {
  (void)state;
  const uint64_t w = alu1(), turn = G(LOOP) + w + G(ALU) + G(BRANCH);
  const char *count = CELL "(global $n (mut i32) (i32.const 37))";
#define DOWN                                                                                                                \
  "(local $i i32) (local.set $i (global.get $n)) (loop " ALU1 " (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const " \
  "1)))))"
  const struct row rows[] = {
      {"every iteration pays for its loop", count, DOWN, G(GLOBAL) + 37 * turn, GW_TRAP_NONE},
      {"a loop that does nothing is not free", "(global $n (mut i32) (i32.const 1000))",
       "(local $i i32) (local.set $i (global.get $n)) (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))",
       G(GLOBAL) + 1000 * (G(LOOP) + G(ALU) + G(BRANCH)), GW_TRAP_NONE},
      {"a loop with a result that nobody uses", "",
       "(local $i i32) (local.set $i (i32.const 10000)) "
       "(loop (drop (i32.mul (local.get $i) (i32.const 3))) (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))",
       10000 * (G(LOOP) + G(MUL) + G(ALU) + G(BRANCH)), GW_TRAP_NONE},
  };
  RUN(rows);
}

/* --- section 3: work that depends on an operand -------------------------------------------------------------------- */

#define MEMORY "(memory 1 5) (data $d \"0123456789abcdefghij\")"

static void test_memory_work(void **state) {
  (void)state;
  const uint64_t unit = G(MEMORY_BYTES_16), page = G(MEMORY_PAGE);
  const struct row rows[] = {
      {"memory.fill of nothing", MEMORY, "(memory.fill (i32.const 9) (i32.const 1) (i32.const 0))", G(BULK), GW_TRAP_NONE},
      {"memory.fill of 1 byte", MEMORY, "(memory.fill (i32.const 9) (i32.const 1) (i32.const 1))", G(BULK) + unit, GW_TRAP_NONE},
      {"memory.fill of 16 bytes", MEMORY, "(memory.fill (i32.const 9) (i32.const 1) (i32.const 16))", G(BULK) + unit,
       GW_TRAP_NONE},
      {"memory.fill of 17 bytes", MEMORY, "(memory.fill (i32.const 9) (i32.const 1) (i32.const 17))", G(BULK) + 2 * unit,
       GW_TRAP_NONE},
      {"memory.fill of all", MEMORY, "(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))", G(BULK) + 4096 * unit,
       GW_TRAP_NONE},
      {"memory.fill that fails", MEMORY, "(memory.fill (i32.const 1) (i32.const 1) (i32.const 65536))", G(BULK),
       GW_TRAP_MEMORY_OUT_OF_BOUNDS},
      {"memory.copy", MEMORY, "(memory.copy (i32.const 0) (i32.const 40) (i32.const 100))", G(BULK) + 7 * unit, GW_TRAP_NONE},
      {"memory.copy that fails", MEMORY, "(memory.copy (i32.const 0) (i32.const 65500) (i32.const 37))", G(BULK),
       GW_TRAP_MEMORY_OUT_OF_BOUNDS},
      {"memory.init", MEMORY, "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 20))", G(BULK) + 2 * unit, GW_TRAP_NONE},
      {"memory.init that fails", MEMORY, "(memory.init $d (i32.const 0) (i32.const 1) (i32.const 20))", G(BULK),
       GW_TRAP_MEMORY_OUT_OF_BOUNDS},
      {"data.drop", MEMORY, "(data.drop $d)", G(BULK), GW_TRAP_NONE},
      {"memory.init of what was dropped", MEMORY, "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))",
       2 * G(BULK), GW_TRAP_MEMORY_OUT_OF_BOUNDS},
      {"memory.grow", MEMORY, "(drop (memory.grow (i32.const 3)))", G(MEMORY_GROW) + 3 * page, GW_TRAP_NONE},
      {"memory.grow by nothing", MEMORY, "(drop (memory.grow (i32.const 0)))", G(MEMORY_GROW), GW_TRAP_NONE},
      {"memory.grow that fails", MEMORY, "(drop (memory.grow (i32.const 5)))", G(MEMORY_GROW), GW_TRAP_NONE},
      {"memory.grow far beyond", MEMORY, "(drop (memory.grow (i32.const -1)))", G(MEMORY_GROW), GW_TRAP_NONE},
      {"memory.size", MEMORY, "(drop (memory.size))", G(MEMORY), GW_TRAP_NONE},
  };
  RUN(rows);
}

#define TABLE "(table $t 4 10 funcref) (elem $e func $x $x $x) (func $x)"

static void test_table_work(void **state) {
  (void)state;
  const uint64_t entry = G(TABLE_ENTRY);
  const struct row rows[] = {
      {"table.grow", TABLE, "(drop (table.grow $t (ref.null func) (i32.const 6)))", G(BULK) + G(REF) + 6 * entry, GW_TRAP_NONE},
      {"table.grow that fails", TABLE, "(drop (table.grow $t (ref.null func) (i32.const 7)))", G(BULK) + G(REF), GW_TRAP_NONE},
      {"table.fill", TABLE, "(table.fill $t (i32.const 1) (ref.null func) (i32.const 3))", G(BULK) + G(REF) + 3 * entry,
       GW_TRAP_NONE},
      {"table.fill that fails", TABLE, "(table.fill $t (i32.const 2) (ref.null func) (i32.const 3))", G(BULK) + G(REF),
       GW_TRAP_TABLE_OUT_OF_BOUNDS},
      {"table.copy", TABLE, "(table.copy (i32.const 0) (i32.const 1) (i32.const 3))", G(BULK) + 3 * entry, GW_TRAP_NONE},
      {"table.copy that fails", TABLE, "(table.copy (i32.const 0) (i32.const 2) (i32.const 3))", G(BULK),
       GW_TRAP_TABLE_OUT_OF_BOUNDS},
      {"table.init", TABLE, "(table.init $e (i32.const 1) (i32.const 0) (i32.const 3))", G(BULK) + 3 * entry, GW_TRAP_NONE},
      {"table.init that fails", TABLE, "(table.init $e (i32.const 2) (i32.const 0) (i32.const 3))", G(BULK),
       GW_TRAP_TABLE_OUT_OF_BOUNDS},
      {"elem.drop", TABLE, "(elem.drop $e)", G(BULK), GW_TRAP_NONE},
      {"table.get", TABLE, "(drop (table.get $t (i32.const 3)))", G(TABLE), GW_TRAP_NONE},
      {"table.get that fails", TABLE, "(drop (table.get $t (i32.const 4)))", G(TABLE), GW_TRAP_TABLE_OUT_OF_BOUNDS},
  };
  RUN(rows);
}

#define HOST "(import \"host\" \"nothing\" (func $nothing)) (import \"host\" \"charge\" (func $charge (param i32 i32)))"

static void test_host_work(void **state) {
  (void)state;
  const uint64_t call = G(CALL) + G(HOST_CALL);
  const struct row rows[] = {
      {"a host call", HOST, "(call $nothing)", call, GW_TRAP_NONE},
      {"an indirect host call", HOST "(table funcref (elem $nothing))", "(call_indirect (i32.const 0))",
       G(CALL_INDIRECT) + G(HOST_CALL), GW_TRAP_NONE},
      {"a host function that charges", HOST, "(call $charge (i32.const 12345) (i32.const 0))", call + 2 * G(MOVE) + 12345,
       GW_TRAP_NONE},
      {"and traps", HOST CELL, "(call $charge (i32.const 12345) (i32.const 1)) " ALU1, call + 2 * G(MOVE) + 12345 + alu1(),
       GW_TRAP_HOST},
      {"and ends the program", HOST, "(call $charge (i32.const 12345) (i32.const 2))", call + 2 * G(MOVE) + 12345, GW_TRAP_NONE},
  };
  RUN(rows);
}

/* --- section 5: traps --------------------------------------------------------------------------------------------- */

static void test_exact_traps(void **state) {
  (void)state;
  const uint64_t w = alu1();
  const char *table = CELL "(type $t (func)) (type $i (func (param i32))) (table 3 funcref) (elem (i32.const 0) $g) (func $g)";
  const char *deep =
      "(global $n (mut i32) (i32.const 5)) (func $g (param i32) (if (local.get 0) (then (call $g (i32.sub (local.get 0) "
      "(i32.const 1)))) (else (unreachable))))";
  const struct row rows[] = {
      {"unreachable", CELL, ALU1 "(unreachable)", w, GW_TRAP_UNREACHABLE},
      {"division", CELL, ALU1 "(drop (i64.rem_s (i64.const 1) (i64.extend_i32_u (global.get $zero))))",
       w + G(DIV) + G(GLOBAL) + G(ALU), GW_TRAP_INTEGER_DIVIDE_BY_ZERO},
      {"overflow", CELL, ALU1 "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (global.get $zero) (i32.const 1))))",
       w + G(DIV) + G(GLOBAL) + G(ALU), GW_TRAP_INTEGER_OVERFLOW},
      {"conversion", CELL, ALU1 "(drop (i32.trunc_f32_s (f32.div (f32.const 0) (f32.const 0))))", w + G(FDIV) + G(CVT),
       GW_TRAP_INVALID_CONVERSION},
      {"an undefined element", table, ALU1 "(call_indirect (type $t) (i32.const 3))", w + G(CALL_INDIRECT),
       GW_TRAP_UNDEFINED_ELEMENT},
      {"an uninitialized element", table, ALU1 "(call_indirect (type $t) (i32.const 2))", w + G(CALL_INDIRECT),
       GW_TRAP_UNINITIALIZED_ELEMENT},
      {"a call of another type", table, ALU1 "(call_indirect (type $i) (i32.const 1) (i32.const 0))",
       w + G(CALL_INDIRECT) + G(MOVE), GW_TRAP_INDIRECT_CALL_TYPE},
      {"deep in calls", deep, "(call $g (global.get $n))", G(GLOBAL) + 6 * (G(CALL) + G(MOVE)) + 5 * G(ALU) + 6 * G(BRANCH),
       GW_TRAP_UNREACHABLE},
  };
  RUN(rows);
}

/* Without end: the stack's limit is a number of frames, not of seconds. */
static void test_stack_overflow(void **state) {
  (void)state;
  uint64_t expected = 0;
  for (int level = 0; level < LEVELS; level++) {
    struct gw_error err = {0};
    struct gw_module *module = wat_module(engines[level], "(module (func $f (export \"f\") (call $f) (call $f)))");
    struct gw_store *store = open_store(engines[level], 0, 0);
    struct gw_instance *instance = instantiate(store, module, NULL, NULL);
    assert_false(gw_call(store, find(instance, "f"), NULL, &err));
    assert_int_equal(err.trap, GW_TRAP_STACK_OVERFLOW);
    if (!level) expected = gw_store_gas_used(store);
    assert_true(expected > 0 && expected % (2 * G(CALL)) == 0);
    assert_int_equal(gw_store_gas_used(store), expected);
    gw_store_destroy(store);
    gw_module_release(module);
  }
}

/* At least what was charged when the last call before the fault began, at most what was entered. */
static void test_fault_bounds(void **state) {
  (void)state;
  static const char text[] =
      "(module (memory 1) (global $n (mut i32) (i32.const 10)) (table funcref (elem $g)) (type $t (func))"
      "  (func $g (global.set $n (i32.const 65536)))"
      "  (func (export \"f\") (local $i i32) (call_indirect (type $t) (i32.const 0)) (local.set $i (i32.const 20))"
      "    (loop (i32.store (i32.mul (i32.eqz (local.get $i)) (global.get $n)) (i32.const 1))"
      "      (br_if 0 (i32.ge_s (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const 0))))))";
  const uint64_t turn = G(LOOP) + G(STORE) + G(MUL) + 3 * G(ALU) + G(GLOBAL) + G(BRANCH);
  const uint64_t least = G(CALL_INDIRECT), most = G(CALL_INDIRECT) + 2 * G(CONST) + G(GLOBAL) + 21 * turn;
  for (int level = 0; level < LEVELS; level++) {
    struct gw_error err = {0};
    struct gw_module *module = wat_module(engines[level], text);
    struct gw_store *store = open_store(engines[level], 0, 0);
    struct gw_instance *instance = instantiate(store, module, NULL, NULL);
    assert_false(gw_call(store, find(instance, "f"), NULL, &err));
    assert_int_equal(err.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
    assert_in_range(gw_store_gas_used(store), least, most);
    gw_store_destroy(store);
    gw_module_release(module);
  }
}

/* --- section 4: running out at every limit -------------------------------------------------------------------------- */

/* What the outside saw: every value with the gas that was used when it came. */
struct seen {
  uint32_t n;
  uint64_t gas[64];
  uint32_t values[64];
};

static enum gw_trap host_emit(struct gw_instance *caller, void *env, union gw_value *values) {
  struct seen *seen = env;
  assert_true(seen->n < 64);
  seen->values[seen->n] = values[0].u32;
  seen->gas[seen->n++] = gw_store_gas_used(gw_instance_store(caller));
  return GW_TRAP_NONE;
}

static bool resolve_emit(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func row = {"host", "emit", "_i", host_emit};
  (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&row, env}};
  return true;
}

#define EMIT "(import \"host\" \"emit\" (func $emit (param i32)))"
#define EXPORTED_MEMORY "(memory (export \"memory\") 1 4) (data (i32.const 0) \"abcdefgh\")"

static const struct {
  const char *what, *text;
} programs[] = {
    {"straight code", "(module " EMIT EXPORTED_MEMORY
                      "(func (export \"f\") (result i32) (i32.store (i32.const 0) (i32.const 1)) (call $emit (i32.const 1))"
                      "  (i32.store (i32.const 4) (i32.div_u (i32.load (i32.const 0)) (i32.const 3))) (call $emit (i32.const 2)) "
                      "(i32.load (i32.const 4))))"},
    {"counted loops", "(module " EMIT EXPORTED_MEMORY
                      "(global $n (mut i32) (i32.const 40)) (func (export \"f\") (result i32) (local $i i32) (local $a i32)"
                      "  (loop $l (i32.store8 (local.get $i) (local.get $a)) (local.set $a (i32.add (local.get $a) (i32.mul "
                      "(local.get $i) (i32.const 3))))"
                      "    (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (global.get $n))))"
                      "  (call $emit (local.get $a)) (local.set $i (i32.const 9))"
                      "  (loop $m (call $emit (local.get $i)) (br_if $m (local.tee $i (i32.sub (local.get $i) (i32.const 3)))))"
                      "  (loop $k (local.set $a (i32.rotl (local.get $a) (i32.const 3))) (br_if $k (i32.ne (local.tee $i "
                      "(i32.add (local.get $i) (i32.const 2)))"
                      "    (i32.const 60))))"
                      "  (local.get $a)))"},
    {"recursion",
     "(module " EMIT EXPORTED_MEMORY "(func $fib (param i32) (result i32) (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))"
     "  (then (i32.store8 (local.get 0) (i32.const 1)) (local.get 0))"
     "  (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))"
     "  (func (export \"f\") (result i32) (call $emit (call $fib (i32.const 5))) (call $fib (i32.const 6))))"},
    {"work by size",
     "(module " EMIT EXPORTED_MEMORY "(table $t 1 9 funcref) (func (export \"f\") (result i32)"
     "  (memory.fill (i32.const 100) (i32.const 7) (i32.const 1000)) (call $emit (i32.const 1)) (drop (memory.grow (i32.const "
     "1)))"
     "  (call $emit (memory.size)) (memory.copy (i32.const 65536) (i32.const 90) (i32.const 77))"
     "  (drop (table.grow $t (ref.null func) (i32.const 5))) (call $emit (table.size $t)) (drop (memory.grow (i32.const 100)))"
     "  (i32.load (i32.const 65540))))"},
    {"indirect calls and a table of branches",
     "(module " EMIT EXPORTED_MEMORY
     "(type $u (func (param i32) (result i32))) (table funcref (elem $a $b $c)) (global $s (mut i32) (i32.const 0))"
     "  (func $a (type $u) (global.set $s (i32.add (global.get $s) (i32.const 1))) (i32.add (local.get 0) (i32.const 1)))"
     "  (func $b (type $u) (i32.store (i32.const 8) (local.get 0)) (i32.mul (local.get 0) (i32.const 3)))"
     "  (func $c (type $u) (call $emit (local.get 0)) (local.get 0))"
     "  (func (export \"f\") (result i32) (local $x i32) (local $i i32)"
     "    (loop $l (local.set $x (call_indirect (type $u) (local.get $x) (i32.rem_u (local.get $i) (i32.const 3))))"
     "      (block $q (block $p (br_table $p $q (i32.and (local.get $x) (i32.const 1)))) (local.set $x (i32.xor (local.get $x) "
     "(i32.const 9))))"
     "      (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12))))"
     "    (local.get $x)))"},
};

/* All that an outsider may see of an instance. */
struct outcome {
  bool ok;
  int32_t result;
  uint64_t gas;
  enum gw_trap trap;
  struct seen seen;
};

static struct outcome run_program(struct gw_instance *instance, struct seen *seen, uint64_t limit) {
  struct gw_store *store = gw_instance_store(instance);
  struct gw_error err = {0};
  union gw_value value = {0};
  *seen = (struct seen){0};
  gw_store_set_gas_limit(store, limit);
  struct outcome o = {.ok = gw_call(store, find(instance, "f"), &value, &err)};
  o.result = value.i32;
  o.trap = o.ok ? GW_TRAP_NONE : err.trap;
  o.gas = gw_store_gas_used(store);
  o.seen = *seen;
  return o;
}

static void expect_fresh(struct gw_instance *instance) {
  struct gw_error err = {0};
  if (!gw_instance_reset(instance, &err)) fail_msg("%s", err.message);
  assert_int_equal(gw_instance_memory_size(instance), 65536);
  const uint8_t *memory = gw_instance_memory(instance, 0, 65536);
  assert_memory_equal(memory, "abcdefgh", 8);
  for (int i = 8; i < 65536; i++)
    if (memory[i]) fail_msg("byte %d of a reset memory is %d", i, memory[i]);
}

/* Out of gas: the limit is used up, and seen is what was paid for. */
static void expect_out_of_gas(const char *what, int level, uint64_t limit, const struct outcome *o, const struct outcome *full) {
  uint32_t paid = 0;
  while (paid < full->seen.n && full->seen.gas[paid] <= limit) paid++;
  if (o->ok || o->trap != GW_TRAP_OUT_OF_GAS || o->gas != limit || o->seen.n != paid)
    fail_msg("%s, -O%d, limit %d: %s, gas %d, %u effects; %u were paid for", what, level, (int)limit, gw_trap_message(o->trap),
             (int)o->gas, o->seen.n, paid);
  assert_memory_equal(o->seen.values, full->seen.values, paid * sizeof *full->seen.values);
}

static void expect_same(const struct outcome *o, const struct outcome *full) {
  assert_true(o->ok);
  assert_int_equal(o->gas, full->gas);
  assert_int_equal(o->result, full->result);
  assert_int_equal(o->seen.n, full->seen.n);
  assert_memory_equal(&o->seen, &full->seen, sizeof o->seen);
}

/* Limits from 1 (0 is none) to the total; `step` skips some, but never the last hundred. */
static void run_limits(size_t program, int level, uint64_t slice, uint64_t step, const struct outcome *full) {
  struct seen seen;
  struct gw_module *module = wat_module(engines[level], programs[program].text);
  struct gw_store *store = open_store(engines[level], 0, slice);
  struct gw_instance *instance = instantiate(store, module, resolve_emit, &seen);
  struct outcome o = run_program(instance, &seen, 0);
  expect_same(&o, full);
  for (uint64_t limit = 1; limit<full->gas; limit += full->gas - limit> 100 ? step : 1) {
    expect_fresh(instance);
    o = run_program(instance, &seen, limit);
    expect_out_of_gas(programs[program].what, level, limit, &o, full);
  }
  expect_fresh(instance);
  o = run_program(instance, &seen, full->gas);
  expect_same(&o, full);
  gw_store_destroy(store);
  gw_module_release(module);
}

static void test_every_limit(void **state) {
  (void)state;
  for (size_t p = 0; p < sizeof programs / sizeof *programs; p++) {
    struct seen seen;
    struct gw_module *module = wat_module(engines[0], programs[p].text);
    struct gw_store *store = open_store(engines[0], 0, 0);
    struct gw_instance *instance = instantiate(store, module, resolve_emit, &seen);
    struct outcome full = run_program(instance, &seen, 0);
    if (!full.ok) fail_msg("%s: %s", programs[p].what, gw_trap_message(full.trap));
    gw_store_destroy(store);
    gw_module_release(module);
    for (int level = 0; level < (IS_PRECISE ? 1 : LEVELS); level++) { /* which are one to the interpreter */
      run_limits(p, level, 0, 1 + full.gas / 3000, &full);
      run_limits(p, level, 33, 7, &full);
      run_limits(p, level, 1, 101, &full);
    }
  }
}

/* --- section 6: slices ---------------------------------------------------------------------------------------------- */

/* A counted loop with bounds from a global, so that nobody can foresee them; $first and $last are set from outside. */
static void test_many_slices(void **state) {
  (void)state;
  static const char text[] =
      "(module (memory 1)"
      "  (func (export \"f\") (param $i i32) (param $last i32) (result i32) (local $a i32)"
      "    (loop (local.set $a (i32.add (i32.rotl (local.get $a) (i32.const 5)) (local.get $i)))"
      "      (br_if 0 (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $last)))) (local.get $a))"
      "  (func (export \"s\") (param $i i32) (param $last i32) (result i32) (local $a i32)"
      "    (loop (i32.store8 (i32.and (local.get $i) (i32.const 0xffff)) (local.get $a)) (local.set $a (i32.add (local.get $a) "
      "(local.get $i)))"
      "      (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $last)))) (local.get $a))"
      "  (func (export \"u\") (param $i i32) (param $last i32) (result i32) (local $a i32)"
      "    (loop (local.set $a (i32.xor (local.get $a) (i32.mul (local.get $i) (i32.const 3))))"
      "      (br_if 0 (i32.le_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $last)))) (local.get $a)))";
  const uint64_t f = G(LOOP) + 4 * G(ALU) + G(BRANCH), s = G(LOOP) + 4 * G(ALU) + G(STORE) + G(BRANCH),
                 u = G(LOOP) + 3 * G(ALU) + G(MUL) + G(BRANCH);
  const struct {
    const char *name;
    uint32_t first, last;
    uint64_t gas;
  } rows[] = {
      {"f", INT32_MAX - 2000, (uint32_t)INT32_MAX + 2000, 4000 * f},
      {"f", UINT32_MAX - 2000, 2000, 4001 * f},
      {"f", 0, 20003, 20003 * f},
      {"s", INT32_MAX - 5000, INT32_MAX, 5000 * s},
      {"s", (uint32_t)INT32_MIN, (uint32_t)INT32_MIN + 5000, 5000 * s},
      {"s", (uint32_t)-3000, 3000, 6000 * s},
      {"u", UINT32_MAX - 5000, UINT32_MAX - 1, 5000 * u},
      {"u", INT32_MAX - 100, (uint32_t)INT32_MAX + 5000, 5101 * u},
      {"s", INT32_MAX - 1, INT32_MAX, s},
      {"u", UINT32_MAX, 3, 5 * u},
  };
  static const uint64_t sizes[] = {0, 1, 13, 50, 997, 65536, 10000000};
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    uint32_t expected = 0;
    for (int level = 0; level < LEVELS; level++) {
      struct gw_module *module = wat_module(engines[level], text);
      for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct gw_error err = {0};
        union gw_value values[2] = {{.u32 = rows[r].first}, {.u32 = rows[r].last}};
        struct gw_store *store = open_store(engines[level], 0, sizes[i]);
        struct gw_instance *instance = instantiate(store, module, NULL, NULL);
        if (!gw_call(store, find(instance, rows[r].name), values, &err)) fail_msg("%s", err.message);
        if (!level && !i) expected = values[0].u32;
        if (values[0].u32 != expected || gw_store_gas_used(store) != rows[r].gas)
          fail_msg("%s %u..%u, -O%d, slice %d: gas %d, must be %d", rows[r].name, rows[r].first, rows[r].last, level,
                   (int)sizes[i], (int)gw_store_gas_used(store), (int)rows[r].gas);
        gw_store_destroy(store);
      }
      gw_module_release(module);
    }
  }
}

/* LLVM counts these iterations in 128 bits, which takes a division that the processor does not have. */
static void test_wide_count(void **state) {
  (void)state;
  static const char text[] =
      "(module (memory 1) (func (export \"f\") (param $i i64) (param $last i64) (result i32) (local $old i64) (local $acc i32) "
      "(local $n i32)"
      "  (loop (local.set $n (i32.add (local.get $n) (i32.const 1)))"
      "    (local.set $acc (i32.add (local.get $acc) (i32.load8_u (i32.and (local.get $n) (i32.const 0xff)))))"
      "    (local.set $old (local.get $i)) (local.set $i (i64.add (local.get $i) (i64.const 7)))"
      "    (br_if 0 (i64.le_u (local.get $old) (local.get $last)))) (local.get $acc)))";
  for (int level = 0; level < LEVELS; level++) {
    struct gw_error err = {0};
    union gw_value values[2] = {{.i64 = 5}, {.i64 = 700}};
    struct gw_module *module = wat_module(engines[level], text);
    struct gw_store *store = open_store(engines[level], 0, 0);
    struct gw_instance *instance = instantiate(store, module, NULL, NULL);
    if (!gw_call(store, find(instance, "f"), values, &err)) fail_msg("%s", err.message);
    assert_int_equal(gw_store_gas_used(store), 101 * (G(LOOP) + 5 * G(ALU) + G(LOAD) + G(BRANCH)));
    gw_store_destroy(store);
    gw_module_release(module);
  }
}

/* As many times around as a 32-bit counter cannot tell. */
static void test_whole_range(void **state) {
  (void)state;
  if (IS_PRECISE) skip(); /* 2^33 rounds of the interpreter; it counts no loops ahead */
  struct gw_error err = {0};
  struct gw_module *module =
      wat_module(engines[2], "(module (func (export \"f\") (param $i i32) (param $last i32) (loop"
                             " (br_if 0 (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $last))))))");
  for (int i = 0; i < 2; i++) {
    union gw_value values[2] = {{.u32 = 77}, {.u32 = 77}};
    struct gw_store *store = open_store(engines[2], 0, i ? 1000000007 : 0);
    struct gw_instance *instance = instantiate(store, module, NULL, NULL);
    if (!gw_call(store, find(instance, "f"), values, &err)) fail_msg("%s", err.message);
    assert_int_equal(gw_store_gas_used(store), (G(LOOP) + 2 * G(ALU) + G(BRANCH)) << 32);
    gw_store_destroy(store);
  }
  gw_module_release(module);
}

/* Work by size goes in pieces of 64 KiB, with a look before each; what it does must not show where the pieces lie. */
static void test_pieces(void **state) {
  (void)state;
  enum { SIZE = 8 * 65536, MANY = 20000 };
  static const char text[] =
      "(module (memory 8) (table $t 1 30000 funcref) (elem declare func $x) (func $x (export \"x\"))"
      "  (func (export \"copy\") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))"
      "  (func (export \"fill\") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))"
      "  (func (export \"grow\") (param i32 i32 i32) (drop (table.grow $t (ref.func $x) (local.get 0))) (drop (table.grow $t "
      "(ref.null func)"
      "    (local.get 1))) (table.copy (i32.const 3) (i32.const 1) (local.get 0)) (table.copy (i32.const 0) (i32.const 7) "
      "(local.get 2)))"
      "  (func (export \"null\") (param i32 i32 i32) (result i32) (ref.is_null (table.get $t (local.get 0)))))";
  static const struct {
    const char *name;
    uint32_t a, b, c;
  } rows[] = {{"fill", 5, 77, 300001},    {"fill", 100001, 3, 65536}, {"copy", 1, 0, SIZE - 1},  {"copy", 0, 1, SIZE - 1},
              {"copy", 70000, 9, 400000}, {"copy", 9, 70000, 400000}, {"copy", 65536, 0, 65537}, {"copy", 12, 12, 200000},
              {"fill", 0, 0, 0},          {"fill", SIZE, 0, 0}};
  static uint8_t model[SIZE];
  struct gw_module *module = wat_module(engines[2], text);
  struct gw_error err = {0};
  struct gw_store *store = open_store(engines[2], 0, 100);
  struct gw_instance *instance = instantiate(store, module, NULL, NULL);
  uint8_t *memory = gw_instance_memory(instance, 0, SIZE);
  for (uint32_t i = 0; i < SIZE; i++) model[i] = memory[i] = (uint8_t)(i * 2654435761u >> 13);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint32_t a = rows[i].a, b = rows[i].b, c = rows[i].c;
    union gw_value values[3] = {{.u32 = a}, {.u32 = b}, {.u32 = c}};
    if (!gw_call(store, find(instance, rows[i].name), values, &err)) fail_msg("%s", err.message);
    assert_int_equal(gw_store_gas_used(store), G(BULK) + (c + 15) / 16 * G(MEMORY_BYTES_16));
    if (rows[i].name[0] == 'c')
      memmove(model + a, model + b, c);
    else
      memset(model + a, (int)b, c);
    assert_memory_equal(memory, model, SIZE);
  }
  union gw_value sizes[3] = {{.u32 = MANY}, {.u32 = 50}, {.u32 = 9000}};
  if (!gw_call(store, find(instance, "grow"), sizes, &err)) fail_msg("%s", err.message);
  assert_int_equal(gw_store_gas_used(store), 4 * G(BULK) + 2 * G(REF) + (2 * MANY + 9050) * G(TABLE_ENTRY));
  for (uint32_t i = 0; i < MANY + 51; i++) { /* entry 0 was null, and copied over */
    union gw_value value[3] = {{.u32 = i}};
    if (!gw_call(store, find(instance, "null"), value, &err)) fail_msg("%s", err.message);
    if (value[0].i32 != (i > MANY + 2)) fail_msg("entry %u is %s", i, value[0].i32 ? "null" : "not null");
  }
  gw_store_destroy(store);
  gw_module_release(module);
}

/* A long fill is cancelled in the middle, and not begun where it cannot be paid. */
static void test_fill_ends(void **state) {
  (void)state;
  static const char text[] =
      "(module (memory 4096) (func (export \"f\") (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x10000000))))";
  struct gw_module *module = wat_module(engines[2], text);
  struct gw_error err = {0};
  struct gw_store *store = open_store(engines[2], 0, 5000);
  struct gw_instance *instance = instantiate(store, module, NULL, NULL);
  const uint8_t *memory = gw_instance_memory(instance, 0, 1 << 28);
  gw_store_start(store, find(instance, "f"), NULL);
  for (int i = 0; i < 3; i++) assert_int_equal(gw_store_resume(store, &err), GW_STATUS_YIELDED);
  gw_store_cancel(store);
  assert_int_equal(memory[0], 1);
  assert_int_equal(memory[1 << 20], 0);
  assert_true(gw_instance_reset(instance, &err));
  gw_store_set_gas_limit(store, G(BULK) + (1 << 24) * G(MEMORY_BYTES_16) - 1);
  assert_false(gw_call(store, find(instance, "f"), NULL, &err));
  assert_int_equal(err.trap, GW_TRAP_OUT_OF_GAS);
  assert_int_equal(memory[0], 0);
  gw_store_destroy(store);
  gw_module_release(module);
}

/* The runtime may end a sliced invocation by not giving it the next slice; the store is usable after it. */
static void test_cancel(void **state) {
  (void)state;
  for (int level = 0; level < LEVELS; level++) {
    struct gw_error err = {0};
    struct gw_module *module = wat_module(engines[level], "(module (func (export \"f\") (loop (br 0))) (func (export \"g\")))");
    struct gw_store *store = open_store(engines[level], 0, 1000);
    struct gw_instance *instance = instantiate(store, module, NULL, NULL);
    gw_store_start(store, find(instance, "f"), NULL);
    for (int i = 0; i < 10; i++) {
      assert_int_equal(gw_store_resume(store, &err), GW_STATUS_YIELDED);
      assert_true(gw_store_gas_used(store) >= 1000 * ((uint64_t)i + 1));
    }
    gw_store_cancel(store);
    assert_true(gw_call(store, find(instance, "g"), NULL, &err));
    assert_int_equal(gw_store_gas_used(store), 0);
    gw_store_destroy(store);
    gw_module_release(module);
  }
}

static unsigned count_yields(struct gw_module *module, uint32_t level, uint64_t *gas) {
  struct gw_error err = {0};
  unsigned n = 0;
  struct gw_store *store = open_store(engines[level], 0, 1);
  struct gw_instance *instance = instantiate(store, module, NULL, NULL);
  gw_store_start(store, find(instance, "f"), NULL);
  for (enum gw_status status; (status = gw_store_resume(store, &err)) != GW_STATUS_DONE; n++)
    if (status != GW_STATUS_YIELDED) fail_msg("%s", err.message);
  *gas = gw_store_gas_used(store);
  gw_store_destroy(store);
  return n;
}

/* A loop with two ways out that leaves behind `last` iterations at the latest, and really behind `stop`. Looks, with slices of 1.
 */
static unsigned count_looks_of_loop(uint32_t level, unsigned last, unsigned stop) {
  char text[400];
  const uint64_t turn = G(LOOP) + 3 * G(ALU) + 3 * G(BRANCH) + G(GLOBAL);
  uint64_t gas, wanted = G(CTL) + G(CALL) + stop * turn + G(LOOP) + 2 * (G(ALU) + G(BRANCH)) + G(GLOBAL);
  snprintf(text, sizeof text,
           "(module (global $stop (mut i32) (i32.const %u)) (func $g) (func (export \"f\") (local $i i32) (call $g) (block (loop "
           "(br_if 1 (i32.eq (local.get $i) (i32.const %u))) (br_if 1 (i32.eq (local.get $i) (global.get $stop)))"
           "(local.set $i (i32.add (local.get $i) (i32.const 1))) (br 0)))))",
           stop, last);
  struct gw_module *module = wat_module(engines[level], text);
  unsigned n = count_yields(module, level, &gas);
  if (gas != wanted) fail_msg("-O%u: gas %llu, not %llu", level, (unsigned long long)gas, (unsigned long long)wanted);
  gw_module_release(module);
  return n;
}

/* Those that cannot take long do not look in every iteration, in optimised code. */
static void test_bounded_loops(void **state) {
  (void)state;
  for (uint32_t level = 0; level < LEVELS; level++) {
    assert_in_range(count_looks_of_loop(level, 100, 37), 1, level && !IS_PRECISE ? 4 : 200);
    assert_in_range(count_looks_of_loop(level, 100, 0), 1, IS_PRECISE ? 20 : 4);
    assert_in_range(count_looks_of_loop(level, 100000000, 37), 37, 200);
  }
}

/* A block has 4,096 instructions at most: what lies behind is not paid where it is not reached, in front of it or in its middle.
 */
static void test_long_blocks(void **state) {
  (void)state;
  enum { LINES = 4500, AT = 1500, LINES_OF_BLOCK = 4096 / 4 };
  static const char line[] = "(local.set 1 (i32.add (local.get 1) (i32.const 1)))";
  const uint64_t line_gas = schedule_default()->latency[COST_ALU]; /* each waits for the one before */
  const uint64_t whole = LINES * line_gas, until_trap = (2 * LINES_OF_BLOCK - 1) * line_gas;
  struct buffer text = {0};
  buffer_append_string(&text, "(module (func (export \"f\") (param i32) (result i32) (local i32)");
  for (int i = 0; i < AT; i++) buffer_append_string(&text, line);
  buffer_append_string(&text, "(drop (i32.div_u (i32.const 1) (local.get 0)))");
  for (int i = AT; i < LINES; i++) buffer_append_string(&text, line);
  buffer_append_string(&text, "(local.get 1)))");
  buffer_append(&text, "", 1);
  for (int level = 0; level < LEVELS; level++) {
    struct gw_module *module = wat_module(engines[level], (const char *)text.bytes);
    for (int is_trap = 0; is_trap < 2; is_trap++) {
      struct gw_error err = {0};
      union gw_value value = {.i32 = !is_trap};
      struct gw_store *store = open_store(engines[level], 0, 0);
      struct gw_instance *instance = instantiate(store, module, NULL, NULL);
      assert_int_equal(gw_call(store, find(instance, "f"), &value, &err), !is_trap);
      assert_int_equal(gw_store_gas_used(store), is_trap ? until_trap : whole);
      if (!is_trap) assert_int_equal(value.i32, LINES);
      gw_store_destroy(store);
    }
    gw_module_release(module);
  }
  buffer_clear(&text);
}

/* Leaves do not look at the counter, but long ones do, and so do functions that call many. */
static void test_leaves(void **state) {
  (void)state;
  enum { CALLS = 1500, INLINED = 256, LONG_CALLS = 40, STEPS = 400 };
  for (uint32_t level = 0; level < LEVELS; level++) {
    struct buffer text = {0};
    uint64_t gas, wanted = CALLS * (G(CALL) + G(CONST) + G(GLOBAL) + G(CTL)) + G(CTL);
    buffer_append_string(&text, "(module (global $g (mut i32) (i32.const 0)) (func $leaf (global.set $g (i32.const 1)))"
                                " (func (export \"f\") ");
    for (int i = 0; i < CALLS; i++) buffer_append_string(&text, "(call $leaf)");
    buffer_append_string(&text, "))");
    buffer_append(&text, "", 1);
    struct gw_module *module = wat_module(engines[level], (const char *)text.bytes);
    unsigned n = count_yields(module, level, &gas);
    assert_true(n >= (CALLS - INLINED) / 32);
    if (gas != wanted) fail_msg("-O%u: gas %llu, not %llu", level, (unsigned long long)gas, (unsigned long long)wanted);
    gw_module_release(module);
    text.size = 0;
    buffer_append_string(&text, "(module (global $g (mut i32) (i32.const 0)) (func $leaf (local i32)");
    for (int i = 0; i < STEPS; i++) buffer_append_string(&text, "(local.set 0 (i32.mul (local.get 0) (global.get $g)))");
    buffer_append_string(&text, "(global.set $g (local.get 0))) (func (export \"f\") ");
    for (int i = 0; i < LONG_CALLS; i++) buffer_append_string(&text, "(call $leaf)");
    buffer_append_string(&text, "))");
    buffer_append(&text, "", 1);
    module = wat_module(engines[level], (const char *)text.bytes);
    assert_true(count_yields(module, level, &gas) >= LONG_CALLS);
    gw_module_release(module);
    buffer_clear(&text);
  }
}

/* --- no program escapes --------------------------------------------------------------------------------------------- */

static void test_escapes(void **state) {
  (void)state;
  const uint64_t limit = 3000000;
  static const uint64_t some[] = {0, 10000};
  for (int level = 0; level < LEVELS; level++) {
    for (int i = 0; i < N_ESCAPES; i++) {
      struct gw_module *module = escape_module(engines[level], &escapes[i], 6000);
      for (int s = 0; s < 2; s++) {
        struct gw_error err = {0};
        union gw_value value = {0};
        struct gw_store *store = open_store(engines[level], limit, some[s]);
        struct gw_instance *instance = instantiate(store, module, NULL, NULL);
        bool ok = gw_call(store, find(instance, "f"), &value, &err);
        if (ok || err.trap != GW_TRAP_OUT_OF_GAS || gw_store_gas_used(store) != limit)
          fail_msg("%s, -O%d: %s, gas %d", escapes[i].name, level, ok ? "ended" : err.message, (int)gw_store_gas_used(store));
        gw_store_destroy(store);
      }
      gw_module_release(module);
    }
  }
}

static int open_engines(void **state) {
  (void)state;
  for (uint32_t level = 0; level < LEVELS; level++) {
    struct gw_error err = {0};
    engines[level] =
        gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = true, .verify = true}, &err);
    if (!engines[level]) return 1;
  }
  return 0;
}

static int close_engines(void **state) {
  (void)state;
  for (int level = 0; level < LEVELS; level++) gw_engine_destroy(engines[level]);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_block_starts), cmocka_unit_test(test_block_calls),    cmocka_unit_test(test_loops),
      cmocka_unit_test(test_memory_work),  cmocka_unit_test(test_table_work),     cmocka_unit_test(test_host_work),
      cmocka_unit_test(test_exact_traps),  cmocka_unit_test(test_stack_overflow), cmocka_unit_test(test_fault_bounds),
      cmocka_unit_test(test_every_limit),  cmocka_unit_test(test_many_slices),    cmocka_unit_test(test_whole_range),
      cmocka_unit_test(test_wide_count),   cmocka_unit_test(test_cancel),         cmocka_unit_test(test_pieces),
      cmocka_unit_test(test_fill_ends),    cmocka_unit_test(test_bounded_loops),  cmocka_unit_test(test_long_blocks),
      cmocka_unit_test(test_leaves),       cmocka_unit_test(test_escapes),
  };
  return cmocka_run_group_tests(tests, open_engines, close_engines);
}
