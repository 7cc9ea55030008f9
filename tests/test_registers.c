/* Which register holds which local, in the baseline tier: programs that make registers scarce, need two locals in registers of
 * the other kind at once, and bring ways together on which the same local was left in different states. Results, traps and gas
 * are the interpreter's. test_registers FIRST LAST: the programs of those seeds. */
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { TYPE_I32, TYPE_I64, TYPE_F32, TYPE_F64, N_TYPES, MOST_LOCALS = 9, N_FUNCS = 6, N_ARGUMENTS = 4 };
static const char *const type_names[] = {"i32", "i64", "f32", "f64"};

static uint32_t first_seed = 1, last_seed = 25;

/* --- programs -------------------------------------------------------------------------------------------------------------- */

struct program {
  uint64_t random;
  FILE *out;
  uint32_t n_locals[N_TYPES], n_labels, n_loops;
  int quiet; /* loops only copy values of this type, so that nothing tells of its locals */
};

static uint32_t pick(struct program *p, uint32_t n) {
  p->random = p->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(p->random >> 33) % n;
}

#define SAY(...) fprintf(p->out, __VA_ARGS__)

static void local_name(struct program *p, const char *verb, int type) {
  SAY("(local.%s $%s_%u", verb, type_names[type], pick(p, p->n_locals[type]));
}

static bool is_quiet(const struct program *p, int type) { return p->n_loops && type == p->quiet; }

static void expression(struct program *p, int type, int depth);

static void operation(struct program *p, const char *name, int left, int right, int depth) {
  SAY("(%s ", name);
  expression(p, left, depth);
  if (right >= 0) expression(p, right, depth);
  SAY(")");
}

static void arithmetic(struct program *p, int type, int depth) {
  static const char *const of_integers[] = {"add",   "sub",  "mul",  "and",   "or",    "xor",   "shl",  "shr_s",
                                            "shr_u", "rotl", "rotr", "div_s", "div_u", "rem_s", "rem_u"};
  static const char *const of_floats[] = {"add", "sub", "mul", "div", "min", "copysign"};
  char name[32];
  if (type <= TYPE_I64)
    snprintf(name, sizeof name, "%s.%s", type_names[type], of_integers[pick(p, sizeof of_integers / sizeof *of_integers)]);
  else
    snprintf(name, sizeof name, "%s.%s", type_names[type], of_floats[pick(p, sizeof of_floats / sizeof *of_floats)]);
  if (!strstr(name, "div_") && !strstr(name, "rem_")) {
    operation(p, name, type, type, depth);
    return;
  }
  SAY("(%s ", name);
  expression(p, type, depth);
  if (pick(p, 8))
    SAY("(%s.or (%s.const 1) ", type_names[type], type_names[type]); /* seldom by 0 */
  else
    SAY("(%s.add (%s.const 1) ", type_names[type], type_names[type]);
  expression(p, type, depth);
  SAY("))");
}

static void constant(struct program *p, int type) {
  static const char *const integers[] = {"0", "1", "-1", "7", "0x7fffffff", "0x80000000", "255", "-128"};
  static const char *const floats[] = {"0", "-0", "1.5", "-1e30", "nan", "inf", "3", "0x1p-140"};
  SAY("(%s.const %s)", type_names[type], type <= TYPE_I64 ? integers[pick(p, 8)] : floats[pick(p, 8)]);
}

struct unary {
  const char *name;
  int from;
};

static void convert(struct program *p, int type, int depth) {
  static const struct unary to[N_TYPES][9] = {{{"i32.wrap_i64", TYPE_I64},
                                               {"i32.reinterpret_f32", TYPE_F32},
                                               {"i32.eqz", TYPE_I32},
                                               {"i32.clz", TYPE_I32},
                                               {"i32.extend8_s", TYPE_I32},
                                               {"i64.eqz", TYPE_I64},
                                               {"i32.trunc_sat_f64_s", TYPE_F64},
                                               {"i32.ctz", TYPE_I32},
                                               {"i32.popcnt", TYPE_I32}},
                                              {{"i64.extend_i32_u", TYPE_I32},
                                               {"i64.reinterpret_f64", TYPE_F64},
                                               {"i64.extend_i32_s", TYPE_I32},
                                               {"i64.clz", TYPE_I64},
                                               {"i64.extend8_s", TYPE_I64},
                                               {"i64.extend32_s", TYPE_I64},
                                               {"i64.trunc_sat_f32_u", TYPE_F32},
                                               {"i64.ctz", TYPE_I64},
                                               {"i64.extend16_s", TYPE_I64}},
                                              {{"f32.sqrt", TYPE_F32},
                                               {"f32.demote_f64", TYPE_F64},
                                               {"f32.reinterpret_i32", TYPE_I32},
                                               {"f32.neg", TYPE_F32},
                                               {"f32.abs", TYPE_F32},
                                               {"f32.convert_i32_u", TYPE_I32},
                                               {"f32.convert_i64_s", TYPE_I64},
                                               {"f32.floor", TYPE_F32},
                                               {"f32.nearest", TYPE_F32}},
                                              {{"f64.sqrt", TYPE_F64},
                                               {"f64.promote_f32", TYPE_F32},
                                               {"f64.reinterpret_i64", TYPE_I64},
                                               {"f64.neg", TYPE_F64},
                                               {"f64.abs", TYPE_F64},
                                               {"f64.convert_i32_s", TYPE_I32},
                                               {"f64.convert_i64_u", TYPE_I64},
                                               {"f64.ceil", TYPE_F64},
                                               {"f64.trunc", TYPE_F64}}};
  const struct unary *u = &to[type][pick(p, 9)];
  if (is_quiet(p, u->from)) {
    constant(p, type);
    return;
  }
  operation(p, u->name, u->from, -1, depth);
}

static void compare_two(struct program *p, int depth) {
  static const char *const of_integers[] = {"eq", "ne", "lt_s", "lt_u", "gt_s", "ge_u", "le_s"};
  static const char *const of_floats[] = {"eq", "ne", "lt", "gt", "le", "ge", "eq"};
  int type = (int)pick(p, N_TYPES);
  char name[32];
  if (is_quiet(p, type)) type = TYPE_I32;
  snprintf(name, sizeof name, "%s.%s", type_names[type], (type <= TYPE_I64 ? of_integers : of_floats)[pick(p, 7)]);
  operation(p, name, type, type, depth);
}

/* Addresses are within the first 256 bytes, or anywhere, which mostly traps. */
static void address(struct program *p, int depth) {
  if (pick(p, 50) == 0) {
    expression(p, TYPE_I32, depth);
    return;
  }
  SAY("(i32.and (i32.const 255) ");
  expression(p, TYPE_I32, depth);
  SAY(")");
}

static void choose(struct program *p, int type, int depth) {
  SAY("(select ");
  expression(p, type, depth);
  expression(p, type, depth);
  if (pick(p, 2))
    expression(p, TYPE_I32, depth);
  else
    compare_two(p, depth);
  SAY(")");
}

static void load(struct program *p, int type, int depth) {
  SAY("(%s.load%s ", type_names[type], pick(p, 50) ? "" : " offset=0xfffffff0");
  address(p, depth);
  SAY(")");
}

static void expression(struct program *p, int type, int depth) {
  if (is_quiet(p, type) && depth > 0 && pick(p, 3) == 0) {
    choose(p, type, 0);
    return;
  }
  if (depth <= 0 || is_quiet(p, type)) {
    if (pick(p, 5) == 0) {
      constant(p, type);
    } else {
      local_name(p, "get", type);
      SAY(")");
    }
    return;
  }
  switch (pick(p, 10)) {
  case 0: constant(p, type); return;
  case 1:
  case 2: convert(p, type, depth - 1); return;
  case 3: choose(p, type, depth - 1); return;
  case 4: load(p, type, depth - 1); return;
  case 5:
    local_name(p, "tee", type);
    expression(p, type, depth - 1);
    SAY(")");
    return;
  case 6: SAY("(global.get $%s)", type_names[type]); return;
  case 7:
    if (type == TYPE_I32) {
      compare_two(p, depth - 1);
      return;
    }
    /* fall through */
  default: arithmetic(p, type, depth - 1); return;
  }
}

static void statements(struct program *p, int depth);

/* Two locals change their values, and nothing else is known of them. */
static void exchange(struct program *p) {
  int type = (int)pick(p, N_TYPES);
  uint32_t a = pick(p, p->n_locals[type]), b = pick(p, p->n_locals[type]);
  const char *t = type_names[type];
  SAY("(local.get $%s_%u) (local.get $%s_%u) (local.set $%s_%u) (local.set $%s_%u)", t, a, t, b, t, a, t, b);
}

/* Of locals alone, mostly of such as no register is left for: what is divided, by what, and the result. */
static void divide(struct program *p) {
  static const char *const how[] = {"div_s", "div_u", "rem_s", "rem_u"};
  int type = (int)pick(p, 2);
  local_name(p, "set", type);
  SAY("(%s.%s ", type_names[type], how[pick(p, 4)]);
  local_name(p, "get", type);
  SAY(")");
  local_name(p, "get", type);
  SAY(")))");
}

static void loop(struct program *p, int depth) {
  uint32_t label = p->n_labels++;
  SAY("(loop $l%u\n", label);
  p->n_loops++;
  statements(p, depth - 1);
  p->n_loops--;
  SAY("(local.set $count (i32.sub (local.get $count) (i32.const 1))) (br_if $l%u (i32.gt_s (local.get $count) (i32.const 0))))\n",
      label);
}

static void block(struct program *p, int depth) {
  uint32_t label = p->n_labels++;
  SAY("(block $l%u\n", label);
  statements(p, depth - 1);
  SAY("(br_if $l%u ", label);
  pick(p, 2) ? compare_two(p, 1) : expression(p, TYPE_I32, 1);
  SAY(")\n");
  statements(p, depth - 1);
  SAY(")\n");
}

static void choice(struct program *p, int depth) {
  SAY("(if ");
  expression(p, TYPE_I32, 1);
  SAY("(then\n");
  statements(p, depth - 1);
  SAY(") (else\n");
  statements(p, depth - 1);
  SAY("))\n");
}

static void statement(struct program *p, int depth) {
  int type = (int)pick(p, N_TYPES);
  switch (pick(p, depth > 0 ? 12 : 8)) {
  case 0: pick(p, 3) ? exchange(p) : divide(p); break;
  case 1:
    SAY("(global.set $%s ", type_names[type]);
    expression(p, type, 2);
    SAY(")");
    break;
  case 2:
    if (is_quiet(p, type)) type = TYPE_I64;
    SAY("(%s.store%s ", type_names[type], pick(p, 50) ? "" : " offset=0xfffffff0");
    address(p, 2);
    expression(p, type, 2);
    SAY(")");
    break;
  case 3:
    if (pick(p, 2))
      SAY("(call $nothing (local.get $count))");
    else
      SAY("(drop (memory.grow (i32.const 0)))");
    break;
  case 8: block(p, depth); break;
  case 9: choice(p, depth); break;
  case 10:
  case 11: loop(p, depth); break;
  default:
    local_name(p, "set", type);
    expression(p, type, (int)pick(p, 4));
    SAY(")");
  }
  SAY("\n");
}

static void statements(struct program *p, int depth) {
  for (uint32_t i = 0, n = 1 + pick(p, 5); i < n; i++) statement(p, depth);
}

/* All locals in one number. */
static void say_sum(struct program *p) {
  static const char *const bits[] = {"i64.extend_i32_u", "", "i64.extend_i32_s (i32.reinterpret_f32", "i64.reinterpret_f64"};
  SAY("(i64.const 1)");
  for (int type = 0; type < N_TYPES; type++)
    for (uint32_t i = 0; i < p->n_locals[type]; i++)
      SAY("(i64.const 0x9e3779b97f4a7c15) i64.mul %s%s (local.get $%s_%u)%s i64.xor\n", *bits[type] ? "(" : "", bits[type],
          type_names[type], i,
          !*bits[type]       ? ""
          : type == TYPE_F32 ? "))"
                             : ")");
}

static void say_func(struct program *p, uint32_t index) {
  SAY("(func (export \"f%u\") (param $count i32) (result i64) ", index);
  for (int type = 0; type < N_TYPES; type++) {
    p->n_locals[type] = 1 + pick(p, MOST_LOCALS);
    for (uint32_t i = 0; i < p->n_locals[type]; i++) SAY("(local $%s_%u %s)", type_names[type], i, type_names[type]);
  }
  p->quiet = (int)pick(p, N_TYPES + 2);
  statements(p, 3);
  loop(p, 2);
  statements(p, 2);
  statements(p, 1);
  say_sum(p);
  SAY(")\n");
}

static char *write_program(uint32_t seed) {
  char *text = NULL;
  size_t size = 0;
  struct program program = {.random = seed * UINT64_C(0x9e3779b97f4a7c15), .out = open_memstream(&text, &size)}, *p = &program;
  assert_non_null(p->out);
  SAY("(module (memory 1) (func $nothing (param i32))");
  for (int type = 0; type < N_TYPES; type++)
    SAY("(global $%s (mut %s) (%s.const %d))", type_names[type], type_names[type], type_names[type], type + 2);
  for (uint32_t i = 0; i < N_FUNCS; i++) say_func(p, i);
  SAY(")");
  fclose(p->out);
  return text;
}

/* --- both tiers ------------------------------------------------------------------------------------------------------------- */

struct outcome {
  struct gw_error err;
  union gw_value result;
  uint64_t gas;
};

static struct outcome call(struct gw_engine *engine, struct gw_module *module, enum gw_tier tier, const char *name,
                           uint32_t argument) {
  struct outcome out = {.result = {.u32 = argument}};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.tier = tier, .gas_limit = 100000}, &out.err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &out.err);
  assert_non_null(instance);
  gw_call_export(instance, name, &out.result, 1, &out.err);
  out.gas = gw_store_gas_used(store);
  gw_store_destroy(store);
  return out;
}

/* Returns how many calls came to a result. */
static uint32_t compare(const char *text, const char *const *names, uint32_t n_names, const char *title) {
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.gas = true}, &err);
  assert_non_null(engine);
  struct gw_module *module = wat_module(engine, text);
  uint32_t n_results = 0;
  for (uint32_t i = 0; i < n_names; i++)
    for (uint32_t argument = 1; argument <= N_ARGUMENTS; argument++) {
      struct outcome a = call(engine, module, GW_TIER_PRECISE, names[i], argument);
      struct outcome b = call(engine, module, GW_TIER_BASELINE, names[i], argument);
      bool is_same = strcmp(a.err.message, b.err.message) == 0 && a.gas == b.gas;
      if (!is_same || (!a.err.code && a.result.u64 != b.result.u64))
        fail_msg("%s, %s(%u): \"%s\", %lx, gas %lu; \"%s\", %lx, gas %lu", title, names[i], argument, a.err.message, a.result.u64,
                 a.gas, b.err.message, b.result.u64, b.gas);
      n_results += !a.err.code;
    }
  struct gw_module_stats stats;
  gw_module_stats(module, &stats);
  assert_true(stats.baseline_functions > 0);
  assert_int_equal(stats.baseline_refused, 0);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return n_results;
}

static void test_programs(void **state) {
  (void)state;
  static const char *const names[] = {"f0", "f1", "f2", "f3", "f4", "f5"};
  uint32_t n_results = 0;
  for (uint32_t seed = first_seed; seed <= last_seed; seed++) {
    char title[32], *text = write_program(seed);
    snprintf(title, sizeof title, "seed %u", seed);
    n_results += compare(text, names, N_FUNCS, title);
    free(text);
  }
  printf("%u calls of %u came to a result\n", n_results, (last_seed - first_seed + 1) * N_FUNCS * N_ARGUMENTS);
  assert_true(n_results > last_seed - first_seed); /* else it compares traps only */
}

/* Locals that a loop only copies are in general registers, whatever they hold. */
#define EXCHANGE                                                         \
  "(param $n i32) (result i64) (local $a f64) (local $b f64)"            \
  "(local.set $a (f64.const 5)) (local.set $b (f64.const 7))"            \
  "(loop $l (local.get $a) (local.get $b) (local.set $a) (local.set $b)" \
  "  (br_if $l (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))"

static void test_found(void **state) {
  (void)state;
  static const char *const names[] = {"two", "sign", "constant", "stale", "choice", "narrow"};
  compare("(module (memory 1) (global $f (mut f64) (f64.const 3)) (func $nothing (param i32))"
          "(func (export \"two\") " EXCHANGE "(i64.reinterpret_f64 (f64.sub (local.get $a) (local.get $b))))"
          "(func (export \"sign\") " EXCHANGE "(i64.reinterpret_f64 (f64.neg (local.get $a))))"
          "(func (export \"constant\") " EXCHANGE "(i64.reinterpret_f64 (f64.add (local.get $a) (f64.const 100))))"
          "(func (export \"stale\") " EXCHANGE "(local.set $a (f64.add (local.get $b) (f64.const 100)))"
          "  (local.set $a (global.get $f)) (call $nothing (i32.const 0)) (i64.reinterpret_f64 (local.get $a)))"
          "(func (export \"choice\") (param $n i32) (result i64) (local $a f64) (local $b f64) (local $c f64)"
          "  (loop $l"
          "    (local.set $a (f64.add (local.get $a) (f64.const 1)))"
          "    (local.set $b (f64.add (local.get $b) (f64.const 2)))"
          "    (call $nothing (local.get $n))"
          "    (local.set $c (select (local.get $a) (local.get $b) (i32.and (local.get $n) (i32.const 1))))"
          "    (br_if $l (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))"
          "  (i64.reinterpret_f64 (local.get $c)))"
          /* What a float leaves in the upper half of a register, under an integer that is an address where ways meet. */
          "(func (export \"narrow\") (param $n i32) (result i64)"
          "  (local $x i32) (local $f f32) (local $g f64) (local $h f64)"
          "  (loop $l"
          "    (local.set $g (f64.add (local.get $g) (f64.const 1.23456789)))"
          "    (local.set $h (f64.sqrt (local.get $g)))"
          "    (block $b"
          "      (local.set $x (i32.reinterpret_f32 (f32.sqrt (local.get $f))))"
          "      (br_if $b (i32.and (local.get $n) (i32.const 1)))"
          "      (local.set $x (i32.const 5)))"
          "    (local.set $f (f32.convert_i32_s (i32.load8_u (local.get $x))))"
          "    (br_if $l (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))"
          "  (i64.extend_i32_u (local.get $x))))",
          names, sizeof names / sizeof *names, "found");
}

int main(int argc, char **argv) {
  if (argc == 3) first_seed = (uint32_t)atol(argv[1]), last_seed = (uint32_t)atol(argv[2]);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_found), cmocka_unit_test(test_programs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
