/* The deterministic profile's NaNs: every operation that makes floats, for operands that give NaNs and some that do not, before
 * everything that sees bits. Exactly one answer, in both tiers, at every level, for several CPUs, metered and not. */
#include "tests/for_cpu.h"
#include "tests/wat.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A float of either width or a vector of them, as bits of lanes. */
struct lanes {
  uint64_t at[4];
  unsigned n, bits;
};

static uint64_t sign_of(const struct lanes *v) { return UINT64_C(1) << (v->bits - 1); }
static uint64_t canonical_of(unsigned bits) { return bits == 32 ? 0x7fc00000 : 0x7ff8000000000000; }

static double number_of(uint64_t lane, unsigned bits) {
  union gw_value v = {.u64 = lane};
  return bits == 32 ? (double)v.f32 : v.f64;
}

static uint64_t lane_of(double number, unsigned bits) {
  if (isnan(number)) return canonical_of(bits);
  union gw_value v = {.u64 = 0};
  if (bits == 32)
    v.f32 = (float)number;
  else
    v.f64 = number;
  return v.u64;
}

/* --- operations: of `a`, or of `a` and `b` ------------------------------------------------------------------------------- */

static double least(double a, double b) {
  return isnan(a) || isnan(b) ? (double)NAN : a == b ? (signbit(a) ? a : b) : a < b ? a : b;
}
static double op_add(double a, double b) { return a + b; }
static double op_sub(double a, double b) { return a - b; }
static double op_mul(double a, double b) { return a * b; }
static double op_div(double a, double b) { return a / b; }
static double op_min(double a, double b) { return least(a, b); }
static double op_max(double a, double b) { return -least(-a, -b); }
static double op_min_one(double a, double b) { return least(a, a < b ? 1 : -1); }
static double op_max_one(double a, double b) { return op_max(a, a < b ? 1 : -1); }
static double op_sqrt(double a, double b) { return (void)b, sqrt(a); }
static double op_ceil(double a, double b) { return (void)b, ceil(a); }
static double op_floor(double a, double b) { return (void)b, floor(a); }
static double op_trunc(double a, double b) { return (void)b, trunc(a); }
static double op_nearest(double a, double b) { return (void)b, nearbyint(a); }
static double op_first(double a, double b) { return (void)b, a; }
static double op_minus(double a, double b) { return (void)b, -a; }
static double op_madd(double a, double b) { return a * b + a; }
static double op_nmadd(double a, double b) { return -a * b + a; }

enum { SCALARS = 1, VECTORS = 2, ALL = 3 };

static const struct operation {
  const char *text; /* %T: the type, %V: that of values, a and b: operands, others in full */
  double (*of)(double a, double b);
  int kinds;
} operations[] = {
    {"(%T.add (local.get $a) (local.get $b))", op_add, ALL},
    {"(%T.sub (local.get $a) (local.get $b))", op_sub, ALL},
    {"(%T.mul (local.get $a) (local.get $b))", op_mul, ALL},
    {"(%T.div (local.get $a) (local.get $b))", op_div, ALL},
    {"(%T.min (local.get $a) (local.get $b))", op_min, ALL},
    {"(%T.max (local.get $a) (local.get $b))", op_max, ALL},
    {"(%T.sqrt (local.get $a))", op_sqrt, ALL},
    {"(%T.ceil (local.get $a))", op_ceil, ALL},
    {"(%T.floor (local.get $a))", op_floor, ALL},
    {"(%T.trunc (local.get $a))", op_trunc, ALL},
    {"(%T.nearest (local.get $a))", op_nearest, ALL},
    {"(%T.relaxed_min (local.get $a) (local.get $b))", op_min, VECTORS},
    {"(%T.relaxed_max (local.get $a) (local.get $b))", op_max, VECTORS},
    {"(%T.relaxed_madd (local.get $a) (local.get $b) (local.get $a))", op_madd, VECTORS},
    {"(%T.relaxed_nmadd (local.get $a) (local.get $b) (local.get $a))", op_nmadd, VECTORS},
    /* What LLVM folds to the operand, or to a change of its sign. */
    {"(%T.mul (local.get $a) %1)", op_first, ALL},
    {"(%T.mul %- (local.get $a))", op_minus, ALL},
    {"(%T.div (local.get $a) %-)", op_minus, ALL},
    {"(%T.sub %0 (local.get $a))", op_minus, ALL},
    {"(%T.add (local.get $a) %0)", op_first, ALL},
    {"(%T.sub (%T.add (local.get $a) %0) (%T.neg %0))", op_first, ALL},
    {"%C", op_first, ALL}, /* to the other width and back */
    /* Beside what LLVM knows to be a number, another instruction is enough for it. */
    {"(%T.min (local.get $a) (select %1 %- (%T.lt (local.get $a) (local.get $b))))", op_min_one, SCALARS},
    {"(%T.max (select %1 %- (%T.lt (local.get $a) (local.get $b))) (local.get $a))", op_max_one, SCALARS},
    {"(%T.min (v128.bitselect %1 %- (%T.lt (local.get $a) (local.get $b))) (local.get $a))", op_min_one, VECTORS},
    {"(%T.max (local.get $a) (v128.bitselect %1 %- (%T.lt (local.get $a) (local.get $b))))", op_max_one, VECTORS},
};

/* --- what sees their bits ------------------------------------------------------------------------------------------------- */

typedef void see_fn(struct lanes *v, const struct lanes *a, bool condition);

static void see(struct lanes *v, const struct lanes *a, bool condition) { (void)v, (void)a, (void)condition; }
static void see_neg(struct lanes *v, const struct lanes *a, bool condition) {
  (void)a, (void)condition;
  for (unsigned i = 0; i < v->n; i++) v->at[i] ^= sign_of(v);
}
static void see_abs(struct lanes *v, const struct lanes *a, bool condition) {
  (void)a, (void)condition;
  for (unsigned i = 0; i < v->n; i++) v->at[i] &= ~sign_of(v);
}
static void see_minus_abs(struct lanes *v, const struct lanes *a, bool condition) {
  (void)a, (void)condition;
  for (unsigned i = 0; i < v->n; i++) v->at[i] |= sign_of(v);
}
static void see_sign(struct lanes *v, const struct lanes *a, bool condition) {
  (void)a, (void)condition;
  v->at[0] = lane_of(1, v->bits) | (v->at[0] & sign_of(v));
}
static void see_sign_twice(struct lanes *v, const struct lanes *a, bool condition) {
  (void)a, (void)condition;
  v->at[0] = lane_of(v->at[0] & sign_of(v) ? -2 : 2, v->bits);
}
static void see_chosen(struct lanes *v, const struct lanes *a, bool condition) {
  if (!condition) *v = *a;
}
static void see_chosen_neg(struct lanes *v, const struct lanes *a, bool condition) {
  if (!condition) *v = *a;
  see_neg(v, a, condition);
}
static void see_minus(struct lanes *v, const struct lanes *a, bool condition) {
  (void)a, (void)condition;
  for (unsigned i = 0; i < v->n; i++) v->at[i] = lane_of(-number_of(v->at[i], v->bits), v->bits);
}
static void see_sum(struct lanes *v, const struct lanes *a, bool condition) {
  (void)condition;
  for (unsigned i = 0; i < v->n; i++) v->at[i] = lane_of(number_of(v->at[i], v->bits) + number_of(a->at[i], v->bits), v->bits);
}
static void see_less(struct lanes *v, const struct lanes *a, bool condition) {
  (void)condition;
  for (unsigned i = 0; i < v->n; i++)
    if (number_of(a->at[i], v->bits) < number_of(v->at[i], v->bits)) v->at[i] = a->at[i];
}
static void see_swapped(struct lanes *v, const struct lanes *a, bool condition) {
  (void)a, (void)condition;
  struct lanes from = *v;
  for (unsigned i = 0; i < v->n; i++) v->at[i] = from.at[v->n - 1 - i];
}
static void see_first_lane(struct lanes *v, const struct lanes *a, bool condition) {
  (void)condition;
  for (unsigned i = 1; i < v->n; i++) v->at[i] = a->at[i];
}

/* %X: the operation; %< and %>: around a float, its bits; %S, %L: stores, and loads bits; %R: the type of bits. */
static const struct observer {
  const char *text;
  see_fn *see;
  int kinds;
} observers[] = {
    {"%<%X%>", see, ALL},
    {"(%S (i32.const 16) %X) (%L (i32.const 16))", see, ALL},
    {"(local.set $x %X) (%S (i32.const 16) (%T.mul (local.get $x) (local.get $x))) (%S (i32.const 16) (local.get $x)) (%L "
     "(i32.const 16))",
     see, ALL},
    {"(global.set $%V %X) %<(global.get $%V)%>", see, ALL},
    {"(call $bits_%V %X)", see, ALL},
    {"(call_indirect (param %V) (result %R) %X (i32.const %Q))", see, ALL},
    {"(call $host_%V %X)", see, ALL},
    {"(local.set $x %X) %<(call_indirect (param %V %V i32) (result %V) (local.get $x) (local.get $x) (i32.const 1) (i32.add "
     "(i32.const %Q) (i32.const 1)))%>",
     see, ALL},
    {"(call $two_%V %X) (local.set $x) (drop) %<(local.get $x)%>", see, ALL},
    {"(try (result %R) (do (throw $e_%V %X)) (catch $e_%V (local.set $x) %<(local.get $x)%>))", see, ALL},
    {"%<(%T.neg %X)%>", see_neg, ALL},
    {"(%S (i32.const 16) (%T.neg %X)) (%L (i32.const 16))", see_neg, ALL},
    {"%<(%T.abs %X)%>", see_abs, ALL},
    {"%<(%T.abs (%T.neg %X))%>", see_abs, ALL},
    {"%<(%T.neg (%T.abs %X))%>", see_minus_abs, ALL},
    {"%<(%T.neg (%T.neg %X))%>", see, ALL},
    {"%<(%T.copysign %X (%V.const -1))%>", see_minus_abs, SCALARS},
    {"%<(%T.copysign (%V.const 1) %X)%>", see_sign, SCALARS},
    {"(local.set $x (%T.copysign (%V.const 1) %X)) %<(%T.add (local.get $x) (local.get $x))%>", see_sign_twice, SCALARS},
    {"%<(select %X (local.get $a) (local.get $c))%>", see_chosen, ALL},
    {"%<(%T.neg (select %X (local.get $a) (local.get $c)))%>", see_chosen_neg, ALL},
    {"%<(if (result %V) (local.get $c) (then %X) (else (local.get $a)))%>", see_chosen, ALL},
    {"(local.set $x (local.get $a)) (if (local.get $c) (then (local.set $x %X))) (%S (i32.const 16) (local.get $x)) (%L "
     "(i32.const "
     "16))",
     see_chosen, ALL},
    {"(local.set $x %X) (local.set $n (i32.const 2)) (loop $l (%S (i32.const 32) (local.get $x)) (local.set $x (%T.mul "
     "(local.get "
     "$x) %1)) (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) %<(local.get $x)%>",
     see, ALL},
    {"(local.set $n (i32.const 3)) (loop $l (local.set $x %X) (br_if $l (local.tee $n (i32.sub (local.get "
     "$n) (i32.const 1))))) (if (i32.eqz (local.get $c)) (then (local.set $x (local.get $a)))) %<(local.get $x)%>",
     see_chosen, ALL},
    {"%<(block $out (result %V) (br_table $out $out $out (local.set $x %X) (local.get $x) (local.get $c)))%>", see, ALL},
    {"%<(%T.mul %X %-)%>", see_minus, ALL},
    {"%<(%T.sub %0 %X)%>", see_minus, ALL},
    {"%<(%T.add (local.get $a) %X)%>", see_sum, ALL},
    {"%<(%T.pmin %X (local.get $a))%>", see_less, VECTORS},
    {"(i8x16.shuffle %W %X (local.get $a))", see_swapped, VECTORS},
    {"(i8x16.shuffle %W (i8x16.shuffle 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 (i8x16.shuffle 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 "
     "0 "
     "%X %X) %X) %X)",
     see_swapped, VECTORS},
    {"(%T.replace_lane 0 (local.get $a) (%T.extract_lane 0 %X))", see_first_lane, VECTORS},
    {"(v128.store (i32.const 16) (local.get $a)) (v128.store%Z_lane 0 (i32.const 16) %X) (v128.load (i32.const 16))",
     see_first_lane, VECTORS},
    {"(v128.bitselect %X (local.get $a) (v128.const i32x4 -1 -1 -1 -1))", see, VECTORS},
    {"(v128.xor (v128.const i32x4 0x55 0x55 0x55 0x55) (i32x4.add (v128.xor %X (v128.const i32x4 0x55 0x55 0x55 0x55)) "
     "(v128.const "
     "i32x4 0 0 0 0)))",
     see, VECTORS},
};

/* --- the module's text ------------------------------------------------------------------------------------------------------ */

static const struct type {
  const char *name, *value, *bits, *begin, *end, *store, *load, *swap, *lane;
  unsigned n, width;
  const char *one, *minus_one, *minus_zero, *around;
} types[] = {
    {"f32", "f32", "i32", "(i32.reinterpret_f32 ", ")", "f32.store", "i32.load", "", "", 1, 32, "(f32.const 1)", "(f32.const -1)",
     "(f32.const -0)", "(f32.demote_f64 (f64.promote_f32 (local.get $a)))"},
    {"f64", "f64", "i64", "(i64.reinterpret_f64 ", ")", "f64.store", "i64.load", "", "", 1, 64, "(f64.const 1)", "(f64.const -1)",
     "(f64.const -0)", "(f64.promote_f32 (f32.demote_f64 (local.get $a)))"},
    {"f32x4", "v128", "v128", "", "", "v128.store", "v128.load", "12 13 14 15 8 9 10 11 4 5 6 7 0 1 2 3", "32", 4, 32,
     "(v128.const f32x4 1 1 1 1)", "(v128.const f32x4 -1 -1 -1 -1)", "(v128.const f32x4 -0 -0 -0 -0)",
     "(i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 (f32x4.demote_f64x2_zero (f64x2.promote_low_f32x4 (local.get $a))) "
     "(f32x4.demote_f64x2_zero (f64x2.promote_low_f32x4 (i8x16.shuffle 8 9 10 11 12 13 14 15 0 0 0 0 0 0 0 0 (local.get $a) "
     "(local.get $a)))))"},
    {"f64x2", "v128", "v128", "", "", "v128.store", "v128.load", "8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7", "64", 2, 64,
     "(v128.const f64x2 1 1)", "(v128.const f64x2 -1 -1)", "(v128.const f64x2 -0 -0)",
     "(f64x2.promote_low_f32x4 (f32x4.demote_f64x2_zero (local.get $a)))"},
};

enum { N_TYPES = 4, N_OPERATIONS = sizeof operations / sizeof *operations, N_OBSERVERS = sizeof observers / sizeof *observers };

static int kind_of(const struct type *t) { return t->n == 1 ? SCALARS : VECTORS; }
static bool is_tried(const struct type *t, int kinds) { return kinds & kind_of(t); }

static void expand(struct buffer *out, const char *text, const struct type *t, const char *operation) {
  static const char *const places[] = {"0", "2", "4", "4"};
  for (; *text; text++) {
    const char *with = NULL;
    if (*text == '%') switch (*++text) {
      case 'X': expand(out, operation, t, NULL); continue;
      case 'T': with = t->name; break;
      case 'V': with = t->value; break;
      case 'R': with = t->bits; break;
      case '<': with = t->begin; break;
      case '>': with = t->end; break;
      case 'S': with = t->store; break;
      case 'L': with = t->load; break;
      case 'W': with = t->swap; break;
      case 'Z': with = t->lane; break;
      case '1': with = t->one; break;
      case '-': with = t->minus_one; break;
      case '0': with = t->minus_zero; break;
      case 'C': with = t->around; break;
      case 'Q': with = places[t - types]; break;
      }
    buffer_append(out, with ? with : text, with ? strlen(with) : 1);
  }
}

static const char prologue[] =
    "(module\n"
    "(import \"host\" \"f32\" (func $host_f32 (param f32) (result i32))) (import \"host\" \"f64\" (func $host_f64 (param f64) "
    "(result "
    "i64)))\n"
    "(import \"host\" \"v128\" (func $host_v128 (param v128) (result v128)))\n"
    "(memory 1) (global $f32 (mut f32) (f32.const 0)) (global $f64 (mut f64) (f64.const 0))\n"
    "(global $v128 (mut v128) (v128.const i32x4 0 0 0 0)) (tag $e_f32 (param f32)) (tag $e_f64 (param f64)) (tag $e_v128 (param "
    "v128))\n"
    "(func $bits_f32 (param f32) (result i32) (i32.reinterpret_f32 (local.get 0)))\n"
    "(func $bits_f64 (param f64) (result i64) (i64.reinterpret_f64 (local.get 0)))\n"
    "(func $bits_v128 (param v128) (result v128) (local.get 0))\n"
    "(func $pick_f32 (param f32 f32 i32) (result f32) (select (local.get 0) (f32.mul (local.get 1) (local.get 0)) (local.get "
    "2)))\n"
    "(func $pick_f64 (param f64 f64 i32) (result f64) (select (local.get 0) (f64.mul (local.get 1) (local.get 0)) (local.get "
    "2)))\n"
    "(func $pick_v128 (param v128 v128 i32) (result v128) (select (local.get 0) (f32x4.mul (local.get 1) (local.get 0)) "
    "(local.get "
    "2)))\n"
    "(func $two_f32 (param f32) (result f32 f32) (local.get 0) (local.get 0))\n"
    "(func $two_f64 (param f64) (result f64 f64) (local.get 0) (local.get 0))\n"
    "(func $two_v128 (param v128) (result v128 v128) (local.get 0) (local.get 0))\n"
    "(table funcref (elem $bits_f32 $pick_f32 $bits_f64 $pick_f64 $bits_v128 $pick_v128))\n";

static void add_function(struct buffer *out, const char *name, const struct type *t, const char *operation,
                         const struct observer *o) {
  char head[256];
  snprintf(head, sizeof head,
           "(func (export \"%s\") (param $a %s) (param $b %s) (param $c i32) (result %s) (local $x %s) (local $n i32) ", name,
           t->value, t->value, t->bits, t->value);
  buffer_append_string(out, head);
  expand(out, o->text, t, operation);
  buffer_append_string(out, ")\n");
}

static char *matrix_text(void) {
  struct buffer out = {0};
  char name[64];
  buffer_append_string(&out, prologue);
  for (int t = 0; t < N_TYPES; t++)
    for (int i = 0; i < N_OPERATIONS; i++)
      for (int j = 0; j < N_OBSERVERS; j++) {
        if (!is_tried(&types[t], operations[i].kinds & observers[j].kinds)) continue;
        snprintf(name, sizeof name, "%d %d %d", t, i, j);
        add_function(&out, name, &types[t], operations[i].text, &observers[j]);
      }
  buffer_append(&out, ")", 2);
  return (char *)out.bytes;
}

/* --- running ------------------------------------------------------------------------------------------------------------------
 */

static enum gw_trap host(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env, (void)values; /* bits stay where they are */
  return GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func rows[] = {
      {"host", "f32", "i_f", host}, {"host", "f64", "I_F", host}, {"host", "v128", "v_v", host}};
  (void)env;
  int i = import->field_size == 4 ? 2 : import->field[1] == '6';
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &rows[i]};
  return true;
}

static const uint32_t inputs_32[] = {0x7f800000, 0xff800000, 0,          0x80000000, 0x3f800000, 0xc0000000,
                                     0x7fc00000, 0xffc00000, 0x7fa00000, 0x7fc12345, 0xff812345};
static const uint64_t inputs_64[] = {0x7ff0000000000000, 0xfff0000000000000, 0,
                                     0x8000000000000000, 0x3ff0000000000000, 0xc000000000000000,
                                     0x7ff8000000000000, 0xfff8000000000000, 0x7ff4000000000000,
                                     0x7ff8000000012345, 0xfff0000000012345};
enum { N_INPUTS = sizeof inputs_32 / sizeof *inputs_32, N_TRIED = 16 };

static struct lanes operand(const struct type *t, unsigned first, unsigned step) {
  struct lanes v = {.n = t->n, .bits = t->width};
  for (unsigned i = 0; i < v.n; i++) {
    unsigned at = (first + i * step) % N_INPUTS;
    v.at[i] = v.bits == 32 ? inputs_32[at] : inputs_64[at];
  }
  return v;
}

static void pack(const struct lanes *v, union gw_value *out) {
  if (v->n == 1)
    out->u64 = v->at[0];
  else
    for (unsigned i = 0; i < v->n; i++) memcpy(out->v128 + i * v->bits / 8, &v->at[i], v->bits / 8);
}

static struct lanes expected(const struct operation *op, const struct observer *o, const struct lanes *a, const struct lanes *b,
                             bool condition) {
  struct lanes v = *a;
  for (unsigned i = 0; i < v.n; i++) {
    double result = op->of(number_of(a->at[i], a->bits), number_of(b->at[i], a->bits));
    v.at[i] = lane_of(result, v.bits);
  }
  o->see(&v, a, condition);
  return v;
}

struct setting {
  const char *what, *cpu;
  uint32_t level;
  bool gas;
  enum gw_tier tier;
};

static void try_inputs(struct gw_instance *instance, const struct setting *s, int t, int op, int o) {
  char name[64];
  snprintf(name, sizeof name, "%d %d %d", t, op, o);
  for (unsigned i = 0; i < N_TRIED; i++) { /* with another start for each function */
    unsigned at = (unsigned)(t + 5 * op + 7 * o) * 31 + i * 53;
    bool condition = at & 1;
    struct lanes a = operand(&types[t], at / 2, 1), b = operand(&types[t], at / 2 / N_INPUTS, 3);
    struct lanes wanted = expected(&operations[op], &observers[o], &a, &b, condition);
    union gw_value values[3] = {{0}}, out = {0};
    struct gw_error err = {0};
    pack(&a, &values[0]);
    pack(&b, &values[1]);
    values[2].u32 = condition;
    pack(&wanted, &out);
    if (!gw_call_export(instance, name, values, 3, &err)) fail_msg("%s: %s", name, err.message);
    size_t size = wanted.n * wanted.bits / 8;
    if (memcmp(&values[0], &out, size) == 0) continue;
    fail_msg("%s, %s: %s before %s, of %016lx and %016lx, condition %d: %016lx %016lx, not %016lx %016lx", s->what, types[t].name,
             operations[op].text, observers[o].text, a.at[0], b.at[0], condition, values[0].u64, ((uint64_t *)&values[0])[1],
             out.u64, ((uint64_t *)&out)[1]);
  }
}

/* An instance of a text, compiled as a setting says. */
struct opened {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
};

static struct opened open_text(const struct setting *s, const char *text) {
  struct gw_error err = {0};
  struct opened o = {
      .engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = s->level, .gas = s->gas}, &err)};
  o.module = wat_module(o.engine, text);
  if (s->cpu) o.module = module_for_cpu(o.engine, o.module, s->cpu, &err);
  if (!o.module) fail_msg("%s", err.message);
  o.store = gw_store_create(o.engine, &(struct gw_store_options){.tier = s->tier}, &err);
  o.instance = gw_instance_create(o.store, o.module, resolve, NULL, &err);
  if (!o.instance) fail_msg("%s: %s", s->what, err.message);
  return o;
}

static void close_text(struct opened *o) {
  gw_store_destroy(o->store);
  gw_module_release(o->module);
  gw_engine_destroy(o->engine);
}

static void run(const struct setting *s) {
  char *text = matrix_text();
  struct opened opened = open_text(s, text);
  free(text);
  for (int t = 0; t < N_TYPES; t++)
    for (int i = 0; i < N_OPERATIONS; i++)
      for (int j = 0; j < N_OBSERVERS; j++)
        if (is_tried(&types[t], operations[i].kinds & observers[j].kinds)) try_inputs(opened.instance, s, t, i, j);
  close_text(&opened);
}

/* Arithmetic on a signalling NaN that the code generator folds to its operand, in the block before the minimum or maximum of it
 * and a number. Counting bits in a vector keeps LLVM's quick selection, which folds nothing, from all that is before. */
static const char *const folded[] = {
    "(f64.mul (local.get $n) (local.get $one))",         "(f64.mul (f64.neg (local.get $one)) (local.get $n))",
    "(f64.div (local.get $n) (local.get $one))",         "(f64.div (local.get $n) (f64.neg (local.get $one)))",
    "(f64.add (local.get $n) (f64.const -0))",           "(f64.sub (local.get $n) (f64.const 0))",
    "(f64.sub (f64.const -0) (local.get $n))",           "(f64.mul (local.get $n) (f64.trunc (f64.const 1.5)))",
    "(f64.promote_f32 (f32.demote_f64 (local.get $n)))",
};
enum { N_FOLDED = sizeof folded / sizeof *folded };

static void add_folded(struct buffer *text, int i, const char *by) {
  char function[1024];
  snprintf(function, sizeof function,
           "(func (export \"%d %s\") (param i64 i64) (result i64 i64 i64 i64) (local $n f64) (local $one f64) (local $x f64) "
           "(local $v v128) (local.set $n (f64.const nan:0x4000000000001)) (local.set $one (f64.const 1)) (local.set $x %s) "
           "(local.set $v (i8x16.popcnt (local.get $v))) "
           "(local.set 0 (i64.rem_s (local.get 0) (i64.or (local.get 1) (i64.const 1)))) "
           "(i64.reinterpret_f64 (f64.%s (local.get $x) (local.get $one))) (i64.reinterpret_f64 (local.get $x)) "
           "(i64x2.extract_lane 0 (local.get $v)) (i64.reinterpret_f64 (local.get $n)))\n",
           i, by, folded[i], by);
  buffer_append_string(text, function);
}

static void run_folded(const struct setting *s) {
  static const char *const by[] = {"min", "max"};
  struct gw_error err = {0};
  struct buffer text = {0};
  buffer_append_string(&text, "(module\n");
  for (int i = 0; i < 2 * N_FOLDED; i++) add_folded(&text, i / 2, by[i % 2]);
  buffer_append(&text, ")", 2);
  struct opened opened = open_text(s, (const char *)text.bytes);
  buffer_clear(&text);
  for (int i = 0; i < 2 * N_FOLDED; i++) {
    char name[32];
    union gw_value values[4] = {{0}};
    snprintf(name, sizeof name, "%d %s", i / 2, by[i % 2]);
    if (!gw_call_export(opened.instance, name, values, 4, &err)) fail_msg("%s: %s", name, err.message);
    if (values[0].u64 != canonical_of(64) || values[1].u64 != canonical_of(64))
      fail_msg("%s: the %s of %s and 1 is %016lx", s->what, by[i % 2], folded[i / 2], values[0].u64);
  }
  close_text(&opened);
}

static struct setting settings[] = {
    {.what = "precise", .tier = GW_TIER_PRECISE, .gas = true},
    {.what = "baseline", .tier = GW_TIER_BASELINE, .gas = true},
    {.what = "-O0", .level = 0, .gas = true},
    {.what = "-O1", .level = 1, .gas = true},
    {.what = "-O2", .level = 2, .gas = true},
    {.what = "-O3", .level = 3, .gas = true},
    {.what = "-O2, no gas", .level = 2},
    {.what = "-O2, v2", .level = 2, .gas = true, .cpu = "x86-64-v2"},
    {.what = "-O2, v3", .level = 2, .gas = true, .cpu = "x86-64-v3"},
};

static void test_matrix(void **state) {
  run(*state);
  run_folded(*state);
}

int main(void) {
  enum { N = sizeof settings / sizeof *settings };
  struct CMUnitTest tests[N] = {0};
  for (int i = 0; i < N; i++)
    tests[i] = (struct CMUnitTest){.name = settings[i].what, .test_func = test_matrix, .initial_state = &settings[i]};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
