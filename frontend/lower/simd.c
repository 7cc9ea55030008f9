/* Vector instructions (spec 4.3.3 to 4.3.6), driven by the LOWER column of opcode.def.
 *
 * A v128 is <2 x i64> everywhere outside of this file. Operands are cast to the shape in the row's first argument, the rule makes
 * its value in whatever vector type is natural, and the result is cast back: casts between vectors of 128 bits cost nothing.
 * Patterns are written in the form that LLVM's x86 backend recognises (pmaddwd, packuswb, pavgb, pmulhrsw, ptest ...).
 *
 * Relaxed instructions give what the deterministic profile of the specification gives: each is its strict counterpart,
 * multiply-add rounds twice, and dot products are signed. */
#include "frontend/lower/internal.h"

#include <assert.h>
#include <string.h>

enum shape { SHAPE_i8x16, SHAPE_i16x8, SHAPE_i32x4, SHAPE_i64x2, SHAPE_f32x4, SHAPE_f64x2 };
enum { UNSIGNED, SIGNED };
enum { LOW, HIGH };
enum { LLVMNONE = 0 }; /* in place of an extension */

/* One instruction under way. */
struct simd {
  struct lower_func *f;
  const struct lower *l;
  LLVMBuilderRef builder;
  const struct instruction *in;
  const struct simd_row *row;
  LLVMTypeRef type; /* of vector operands */
  unsigned lanes;   /* in it */
};

/* Makes the result from the operands; NULL where there is none. */
typedef LLVMValueRef simd_rule(const struct simd *s, LLVMValueRef *args);

struct simd_row {
  simd_rule *rule;
  uint8_t shape;    /* of the operands */
  uint8_t code;     /* LLVM opcode, predicate, extension, signedness or half */
  uint8_t more;     /* extension, where code is a half */
  const char *name; /* of an intrinsic */
};

/* --- types and lanes -------------------------------------------------------------------------------------------- */

static LLVMTypeRef lane_type(const struct lower *l, enum shape shape) {
  switch (shape) {
  case SHAPE_i8x16: return l->ir.i8;
  case SHAPE_i16x8: return l->ir.i16;
  case SHAPE_i32x4: return l->ir.i32;
  case SHAPE_i64x2: return l->ir.i64;
  case SHAPE_f32x4: return l->ir.f32;
  default: return l->ir.f64;
  }
}

static unsigned lane_count(enum shape shape) {
  static const uint8_t counts[] = {
      [SHAPE_i8x16] = 16, [SHAPE_i16x8] = 8, [SHAPE_i32x4] = 4, [SHAPE_i64x2] = 2, [SHAPE_f32x4] = 4, [SHAPE_f64x2] = 2};
  return counts[shape];
}

static LLVMTypeRef vector_of(LLVMTypeRef lane, unsigned lanes) { return LLVMVectorType(lane, lanes); }

static LLVMTypeRef shape_type(const struct lower *l, enum shape shape) {
  return vector_of(lane_type(l, shape), lane_count(shape));
}

static LLVMTypeRef int_type(const struct lower *l, unsigned bits) { return LLVMIntTypeInContext(l->ir.context, bits); }

/* Integer lanes of twice the width, as many as `v` has. */
static LLVMTypeRef widened(const struct lower *l, LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v);
  return vector_of(int_type(l, 2 * LLVMGetIntTypeWidth(LLVMGetElementType(type))), LLVMGetVectorSize(type));
}

static LLVMValueRef cast(const struct simd *s, LLVMValueRef v, LLVMTypeRef type) {
  return LLVMBuildBitCast(s->builder, v, type, "");
}

/* A vector of integer type with the same number in every lane. */
static LLVMValueRef constant(LLVMTypeRef type, int64_t n) {
  LLVMValueRef lanes[16];
  unsigned count = LLVMGetVectorSize(type);
  for (unsigned i = 0; i < count; i++) lanes[i] = LLVMConstInt(LLVMGetElementType(type), (uint64_t)n, true);
  return LLVMConstVector(lanes, count);
}

/* Lanes first, first + step, ... of the concatenation of a and b. */
static LLVMValueRef pick(const struct simd *s, LLVMValueRef a, LLVMValueRef b, unsigned first, unsigned step, unsigned count) {
  LLVMValueRef mask[32];
  for (unsigned i = 0; i < count; i++) mask[i] = ir_i32(&s->l->ir, first + i * step);
  return LLVMBuildShuffleVector(s->builder, a, b, LLVMConstVector(mask, count), "");
}

static LLVMValueRef pick_one(const struct simd *s, LLVMValueRef v, unsigned first, unsigned step, unsigned count) {
  return pick(s, v, LLVMGetPoison(LLVMTypeOf(v)), first, step, count);
}

static LLVMValueRef splat(const struct simd *s, LLVMValueRef lane, unsigned lanes) {
  LLVMTypeRef type = vector_of(LLVMTypeOf(lane), lanes);
  LLVMValueRef v = LLVMBuildInsertElement(s->builder, LLVMGetPoison(type), lane, ir_i32(&s->l->ir, 0), "");
  return pick_one(s, v, 0, 0, lanes);
}

/* The lower lanes from `v`, zeros above. */
static LLVMValueRef zero_above(const struct simd *s, LLVMValueRef v) {
  return pick(s, v, LLVMConstNull(LLVMTypeOf(v)), 0, 1, 2 * LLVMGetVectorSize(LLVMTypeOf(v)));
}

static LLVMValueRef extend(const struct simd *s, LLVMValueRef v, LLVMOpcode how) {
  return LLVMBuildCast(s->builder, how, v, widened(s->l, v), "");
}

static LLVMValueRef binary(const struct simd *s, LLVMOpcode op, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildBinOp(s->builder, op, a, b, "");
}

static LLVMValueRef call2(const struct simd *s, const char *name, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef args[2] = {a, b};
  return ir_intrinsic(&s->l->ir, name, LLVMTypeOf(a), args, 2);
}

/* A scalar operand, cut to the width of a lane. */
static LLVMValueRef to_lane(const struct simd *s, LLVMValueRef scalar) {
  LLVMTypeRef type = lane_type(s->l, s->row->shape);
  return LLVMTypeOf(scalar) == type ? scalar : LLVMBuildTrunc(s->builder, scalar, type, "");
}

/* --- memory ----------------------------------------------------------------------------------------------------- */

static LLVMValueRef address(const struct simd *s, LLVMValueRef index, LLVMTypeRef type) {
  unsigned bits = LLVMGetTypeKind(type) == LLVMVectorTypeKind
                      ? LLVMGetVectorSize(type) * LLVMGetIntTypeWidth(LLVMGetElementType(type))
                      : LLVMGetIntTypeWidth(type);
  return lower_address(s->f, s->in, index, bits / 8);
}

static LLVMValueRef load(const struct simd *s, LLVMTypeRef type, LLVMValueRef index) {
  return ir_load(&s->l->ir, ALIAS_GUEST, type, address(s, index, type), "");
}

static void store(const struct simd *s, LLVMValueRef v, LLVMValueRef index) {
  ir_store(&s->l->ir, ALIAS_GUEST, v, address(s, index, LLVMTypeOf(v)));
}

static LLVMValueRef rule_load(const struct simd *s, LLVMValueRef *args) { return load(s, s->type, args[0]); }

static LLVMValueRef rule_load_extend(const struct simd *s, LLVMValueRef *args) {
  unsigned bits = 64 / s->lanes;
  return extend(s, load(s, vector_of(int_type(s->l, bits), s->lanes), args[0]), s->row->code);
}

static LLVMValueRef rule_load_splat(const struct simd *s, LLVMValueRef *args) {
  return splat(s, load(s, lane_type(s->l, s->row->shape), args[0]), s->lanes);
}

static LLVMValueRef rule_load_zero(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef lane = load(s, lane_type(s->l, s->row->shape), args[0]);
  return LLVMBuildInsertElement(s->builder, LLVMConstNull(s->type), lane, ir_i32(&s->l->ir, 0), "");
}

static LLVMValueRef rule_load_lane(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef lane = load(s, lane_type(s->l, s->row->shape), args[0]);
  return LLVMBuildInsertElement(s->builder, args[1], lane, ir_i32(&s->l->ir, s->in->lane), "");
}

static LLVMValueRef rule_store(const struct simd *s, LLVMValueRef *args) {
  store(s, args[1], args[0]);
  return NULL;
}

static LLVMValueRef rule_store_lane(const struct simd *s, LLVMValueRef *args) {
  store(s, LLVMBuildExtractElement(s->builder, args[1], ir_i32(&s->l->ir, s->in->lane), ""), args[0]);
  return NULL;
}

/* --- constants and lanes ---------------------------------------------------------------------------------------- */

static LLVMValueRef rule_const(const struct simd *s, LLVMValueRef *args) {
  (void)args;
  uint64_t halves[2];
  memcpy(halves, s->in->value.v128, sizeof halves);
  LLVMValueRef lanes[2] = {ir_i64(&s->l->ir, halves[0]), ir_i64(&s->l->ir, halves[1])};
  return LLVMConstVector(lanes, 2);
}

static LLVMValueRef rule_splat(const struct simd *s, LLVMValueRef *args) { return splat(s, to_lane(s, args[0]), s->lanes); }

static LLVMValueRef rule_extract(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef lane = LLVMBuildExtractElement(s->builder, args[0], ir_i32(&s->l->ir, s->in->lane), "");
  return s->row->code == LLVMNONE ? lane : LLVMBuildCast(s->builder, s->row->code, lane, s->l->ir.i32, "");
}

static LLVMValueRef rule_replace(const struct simd *s, LLVMValueRef *args) {
  return LLVMBuildInsertElement(s->builder, args[0], to_lane(s, args[1]), ir_i32(&s->l->ir, s->in->lane), "");
}

static LLVMValueRef rule_shuffle(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef mask[16];
  for (int i = 0; i < 16; i++) mask[i] = ir_i32(&s->l->ir, s->in->value.v128[i]);
  return LLVMBuildShuffleVector(s->builder, args[0], args[1], LLVMConstVector(mask, 16), "");
}

/* pshufb gives 0 where bit 7 of the index is set: adding 0x70 sets it for all from 16 up. */
static LLVMValueRef rule_swizzle(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef operands[2] = {args[0], call2(s, "llvm.uadd.sat", args[1], constant(s->type, 0x70))};
  return ir_intrinsic(&s->l->ir, "llvm.x86.ssse3.pshuf.b.128", NULL, operands, 2);
}

/* --- bits and tests --------------------------------------------------------------------------------------------- */

static LLVMValueRef rule_not(const struct simd *s, LLVMValueRef *args) { return LLVMBuildNot(s->builder, args[0], ""); }

static LLVMValueRef rule_andnot(const struct simd *s, LLVMValueRef *args) {
  return binary(s, LLVMAnd, args[0], LLVMBuildNot(s->builder, args[1], ""));
}

static LLVMValueRef rule_bitselect(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef yes = binary(s, LLVMAnd, args[0], args[2]);
  return binary(s, LLVMOr, yes, binary(s, LLVMAnd, args[1], LLVMBuildNot(s->builder, args[2], "")));
}

/* A vector of conditions as an integer, lane 0 in bit 0. */
static LLVMValueRef condition_bits(const struct simd *s, LLVMIntPredicate p, LLVMValueRef v) {
  LLVMValueRef conditions = LLVMBuildICmp(s->builder, p, v, LLVMConstNull(s->type), "");
  return cast(s, conditions, int_type(s->l, s->lanes));
}

static LLVMValueRef is_true(const struct simd *s, LLVMIntPredicate p, LLVMValueRef v) {
  return LLVMBuildZExt(s->builder, LLVMBuildICmp(s->builder, p, v, LLVMConstNull(LLVMTypeOf(v)), ""), s->l->ir.i32, "");
}

static LLVMValueRef rule_any_true(const struct simd *s, LLVMValueRef *args) {
  return is_true(s, LLVMIntNE, cast(s, args[0], int_type(s->l, 128)));
}

static LLVMValueRef rule_all_true(const struct simd *s, LLVMValueRef *args) {
  return is_true(s, LLVMIntEQ, condition_bits(s, LLVMIntEQ, args[0]));
}

static LLVMValueRef rule_bitmask(const struct simd *s, LLVMValueRef *args) {
  return LLVMBuildZExt(s->builder, condition_bits(s, LLVMIntSLT, args[0]), s->l->ir.i32, "");
}

/* All bits of a lane tell whether the comparison holds. */
static LLVMValueRef lane_masks(const struct simd *s, LLVMValueRef conditions) {
  return LLVMBuildSExt(s->builder, conditions, vector_of(int_type(s->l, 128 / s->lanes), s->lanes), "");
}

static LLVMValueRef rule_icmp(const struct simd *s, LLVMValueRef *args) {
  return lane_masks(s, LLVMBuildICmp(s->builder, s->row->code, args[0], args[1], ""));
}

static LLVMValueRef rule_fcmp(const struct simd *s, LLVMValueRef *args) {
  return lane_masks(s, LLVMBuildFCmp(s->builder, s->row->code, args[0], args[1], ""));
}

/* --- integers --------------------------------------------------------------------------------------------------- */

static LLVMValueRef rule_binary(const struct simd *s, LLVMValueRef *args) { return binary(s, s->row->code, args[0], args[1]); }

static LLVMValueRef rule_neg(const struct simd *s, LLVMValueRef *args) { return LLVMBuildNeg(s->builder, args[0], ""); }

static LLVMValueRef rule_abs(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef operands[2] = {args[0], LLVMConstInt(s->l->ir.i1, 0, false)}; /* of the least number: itself, not poison */
  return ir_intrinsic(&s->l->ir, "llvm.abs", s->type, operands, 2);
}

/* An intrinsic that takes the instruction's operands as they are. */
static LLVMValueRef rule_function(const struct simd *s, LLVMValueRef *args) {
  if (s->in->op == OP_F32X4_SQRT || s->in->op == OP_F64X2_SQRT) return lower_root(s->f, args[0]);
  return ir_intrinsic(&s->l->ir, s->row->name, s->type, args, (unsigned)strlen(op_table[s->in->op].signature + 2));
}

static LLVMValueRef rule_shift(const struct simd *s, LLVMValueRef *args) {
  unsigned bits = 128 / s->lanes;
  LLVMTypeRef lane = lane_type(s->l, s->row->shape);
  LLVMValueRef amount = LLVMBuildAnd(s->builder, args[1], ir_i32(&s->l->ir, bits - 1), "");
  return binary(s, s->row->code, args[0], splat(s, LLVMBuildIntCast2(s->builder, amount, lane, false, ""), s->lanes));
}

static LLVMValueRef rule_avgr(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef sum = binary(s, LLVMAdd, extend(s, args[0], LLVMZExt), extend(s, args[1], LLVMZExt));
  LLVMTypeRef wide = LLVMTypeOf(sum);
  LLVMValueRef rounded = binary(s, LLVMAdd, sum, constant(wide, 1));
  return LLVMBuildTrunc(s->builder, binary(s, LLVMLShr, rounded, constant(wide, 1)), s->type, "");
}

/* Operands are signed in both forms; what differs is the range they are clamped to. */
static LLVMValueRef rule_narrow(const struct simd *s, LLVMValueRef *args) {
  unsigned bits = 64 / s->lanes;
  int64_t range = (int64_t)1 << bits;
  LLVMValueRef both = pick(s, args[0], args[1], 0, 1, 2 * s->lanes);
  LLVMTypeRef type = LLVMTypeOf(both);
  both = call2(s, "llvm.smax", both, constant(type, s->row->code == SIGNED ? -range / 2 : 0));
  both = call2(s, "llvm.smin", both, constant(type, s->row->code == SIGNED ? range / 2 - 1 : range - 1));
  return LLVMBuildTrunc(s->builder, both, vector_of(int_type(s->l, bits), 2 * s->lanes), "");
}

static LLVMValueRef even(const struct simd *s, LLVMValueRef v) {
  return pick_one(s, v, 0, 2, LLVMGetVectorSize(LLVMTypeOf(v)) / 2);
}
static LLVMValueRef odd(const struct simd *s, LLVMValueRef v) {
  return pick_one(s, v, 1, 2, LLVMGetVectorSize(LLVMTypeOf(v)) / 2);
}

static LLVMValueRef half(const struct simd *s, LLVMValueRef v) {
  return pick_one(s, v, s->row->code == HIGH ? s->lanes / 2 : 0, 1, s->lanes / 2);
}

static LLVMValueRef rule_extend(const struct simd *s, LLVMValueRef *args) { return extend(s, half(s, args[0]), s->row->more); }

static LLVMValueRef rule_extmul(const struct simd *s, LLVMValueRef *args) {
  return binary(s, LLVMMul, extend(s, half(s, args[0]), s->row->more), extend(s, half(s, args[1]), s->row->more));
}

static LLVMValueRef add_pairs(const struct simd *s, LLVMValueRef v, LLVMOpcode how) {
  return binary(s, LLVMAdd, extend(s, even(s, v), how), extend(s, odd(s, v), how));
}

static LLVMValueRef rule_extadd(const struct simd *s, LLVMValueRef *args) { return add_pairs(s, args[0], s->row->code); }

/* Signed products in twice the width, for the lanes that `side` picks. */
static LLVMValueRef multiply(const struct simd *s, LLVMValueRef *args, LLVMValueRef (*side)(const struct simd *, LLVMValueRef)) {
  return binary(s, LLVMMul, extend(s, side(s, args[0]), LLVMSExt), extend(s, side(s, args[1]), LLVMSExt));
}

static LLVMValueRef rule_dot(const struct simd *s, LLVMValueRef *args) {
  return binary(s, LLVMAdd, multiply(s, args, even), multiply(s, args, odd));
}

/* The sum of two products of -128 and -128 is one too many for 16 bits. */
static LLVMValueRef rule_relaxed_dot(const struct simd *s, LLVMValueRef *args) {
  return call2(s, "llvm.sadd.sat", multiply(s, args, even), multiply(s, args, odd));
}

static LLVMValueRef rule_relaxed_dot_add(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef sum = add_pairs(s, rule_relaxed_dot(s, args), LLVMSExt);
  return binary(s, LLVMAdd, sum, cast(s, args[2], LLVMTypeOf(sum)));
}

/* (a * b + 2^14) >> 15 in the form of pmulhrsw, whose result is the least number only where it should be the greatest. */
static LLVMValueRef rule_q15mulr(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef product = binary(s, LLVMMul, extend(s, args[0], LLVMSExt), extend(s, args[1], LLVMSExt));
  LLVMTypeRef wide = LLVMTypeOf(product);
  LLVMValueRef v = binary(s, LLVMLShr, product, constant(wide, 14));
  v = binary(s, LLVMLShr, binary(s, LLVMAdd, v, constant(wide, 1)), constant(wide, 1));
  v = LLVMBuildTrunc(s->builder, v, s->type, "");
  LLVMValueRef overflows = LLVMBuildICmp(s->builder, LLVMIntEQ, v, constant(s->type, INT16_MIN), "");
  return binary(s, LLVMXor, v, LLVMBuildSExt(s->builder, overflows, s->type, ""));
}

/* --- floats ----------------------------------------------------------------------------------------------------- */

static LLVMValueRef float_binary(const struct simd *s, LLVMOpcode op, LLVMValueRef a, LLVMValueRef b) {
  return lower_folded(binary(s, op, a, b));
}

static LLVMValueRef rule_float_binary(const struct simd *s, LLVMValueRef *args) {
  return float_binary(s, s->row->code, args[0], args[1]);
}

static LLVMValueRef rule_fneg(const struct simd *s, LLVMValueRef *args) { return LLVMBuildFNeg(s->builder, args[0], ""); }

static LLVMValueRef rule_minmax(const struct simd *s, LLVMValueRef *args) { return call2(s, s->row->name, args[0], args[1]); }

/* The second operand where it is less (or, for pmax, greater): NaNs pass as they are. */
static LLVMValueRef rule_pseudo_minmax(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef takes_second = LLVMBuildFCmp(s->builder, s->row->code, args[1], args[0], "");
  return LLVMBuildSelect(s->builder, takes_second, args[1], args[0], "");
}

/* Rounds twice. */
static LLVMValueRef rule_madd(const struct simd *s, LLVMValueRef *args) {
  LLVMValueRef a = s->row->code ? LLVMBuildFNeg(s->builder, args[0], "") : args[0];
  return float_binary(s, LLVMFAdd, float_binary(s, LLVMFMul, a, args[1]), args[2]);
}

static LLVMValueRef rule_convert(const struct simd *s, LLVMValueRef *args) {
  LLVMTypeRef to = shape_type(s->l, s->row->more);
  unsigned lanes = lane_count(s->row->more);
  LLVMValueRef v = lanes == s->lanes ? args[0] : pick_one(s, args[0], 0, 1, lanes);
  return LLVMBuildCast(s->builder, s->row->code, v, to, "");
}

static LLVMValueRef rule_trunc_sat(const struct simd *s, LLVMValueRef *args) {
  LLVMTypeRef to = vector_of(s->l->ir.i32, s->lanes);
  LLVMValueRef v = ir_intrinsic2(&s->l->ir, s->row->code == SIGNED ? "llvm.fptosi.sat" : "llvm.fptoui.sat", to, s->type, args[0]);
  return s->lanes == 4 ? v : zero_above(s, v);
}

static LLVMValueRef rule_demote(const struct simd *s, LLVMValueRef *args) {
  return zero_above(s, lower_folded(LLVMBuildFPTrunc(s->builder, args[0], vector_of(s->l->ir.f32, s->lanes), "")));
}

static LLVMValueRef rule_promote(const struct simd *s, LLVMValueRef *args) {
  return lower_folded(LLVMBuildFPExt(s->builder, pick_one(s, args[0], 0, 1, 2), vector_of(s->l->ir.f64, 2), ""));
}

/* --- the table -------------------------------------------------------------------------------------------------- */

#define ROW(rule, shape, code, more, name) \
  { rule_##rule, SHAPE_##shape, code, more, name }

#define VLOAD() ROW(load, i64x2, 0, 0, NULL)
#define VLOAD_EXTEND(shape, how) ROW(load_extend, shape, LLVM##how, 0, NULL)
#define VLOAD_SPLAT(shape) ROW(load_splat, shape, 0, 0, NULL)
#define VLOAD_ZERO(shape) ROW(load_zero, shape, 0, 0, NULL)
#define VLOAD_LANE(shape) ROW(load_lane, shape, 0, 0, NULL)
#define VSTORE() ROW(store, i64x2, 0, 0, NULL)
#define VSTORE_LANE(shape) ROW(store_lane, shape, 0, 0, NULL)
#define VCONST() ROW(const, i64x2, 0, 0, NULL)
#define VSPLAT(shape) ROW(splat, shape, 0, 0, NULL)
#define VEXTRACT(shape, how) ROW(extract, shape, LLVM##how, 0, NULL)
#define VREPLACE(shape) ROW(replace, shape, 0, 0, NULL)
#define VSHUFFLE() ROW(shuffle, i8x16, 0, 0, NULL)
#define VSWIZZLE() ROW(swizzle, i8x16, 0, 0, NULL)
#define VNOT() ROW(not, i64x2, 0, 0, NULL)
#define VANDNOT() ROW(andnot, i64x2, 0, 0, NULL)
#define VBITSELECT() ROW(bitselect, i64x2, 0, 0, NULL)
#define VANY_TRUE() ROW(any_true, i64x2, 0, 0, NULL)
#define VALL_TRUE(shape) ROW(all_true, shape, 0, 0, NULL)
#define VBITMASK(shape) ROW(bitmask, shape, 0, 0, NULL)
#define VICMP(shape, p) ROW(icmp, shape, LLVMInt##p, 0, NULL)
#define VFCMP(shape, p) ROW(fcmp, shape, LLVMReal##p, 0, NULL)
#define VBIN(shape, op) ROW(binary, shape, LLVM##op, 0, NULL)
#define VNEG(shape) ROW(neg, shape, 0, 0, NULL)
#define VABS(shape) ROW(abs, shape, 0, 0, NULL)
#define VFUN(shape, name) ROW(function, shape, 0, 0, "llvm." #name)
#define VSHIFT(shape, op) ROW(shift, shape, LLVM##op, 0, NULL)
#define VAVGR(shape) ROW(avgr, shape, 0, 0, NULL)
#define VNARROW(shape, sign) ROW(narrow, shape, sign, 0, NULL)
#define VEXTEND(shape, half, how) ROW(extend, shape, half, LLVM##how, NULL)
#define VEXTMUL(shape, half, how) ROW(extmul, shape, half, LLVM##how, NULL)
#define VEXTADD(shape, how) ROW(extadd, shape, LLVM##how, 0, NULL)
#define VDOT() ROW(dot, i16x8, 0, 0, NULL)
#define VRELAXED_DOT() ROW(relaxed_dot, i8x16, 0, 0, NULL)
#define VRELAXED_DOT_ADD() ROW(relaxed_dot_add, i8x16, 0, 0, NULL)
#define VQ15MULR() ROW(q15mulr, i16x8, 0, 0, NULL)
#define VFBIN(shape, op) ROW(float_binary, shape, LLVM##op, 0, NULL)
#define VFNEG(shape) ROW(fneg, shape, 0, 0, NULL)
#define VFMINMAX(shape, name) ROW(minmax, shape, 0, 0, "llvm." #name)
#define VPMIN(shape) ROW(pseudo_minmax, shape, LLVMRealOLT, 0, NULL)
#define VPMAX(shape) ROW(pseudo_minmax, shape, LLVMRealOGT, 0, NULL)
#define VMADD(shape, is_negated) ROW(madd, shape, is_negated, 0, NULL)
#define VCONVERT(to, op) ROW(convert, i32x4, LLVM##op, SHAPE_##to, NULL)
#define VTRUNC_SAT(shape, sign) ROW(trunc_sat, shape, sign, 0, NULL)
#define VDEMOTE() ROW(demote, f64x2, 0, 0, NULL)
#define VPROMOTE() ROW(promote, f32x4, 0, 0, NULL)

/* Only prefix 0xfd is here. */
#define ROW_0(id, ...)
#define ROW_0xfb(id, ...)
#define ROW_0xfc(id, ...)
#define ROW_0xfd(id, ...) [OP_##id] = __VA_ARGS__,
#define ROW_0xfe(id, ...)

static const struct simd_row rows[OP_COUNT] = {
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) ROW_##prefix(id, lower)
#include "frontend/opcode.def"
#undef OP
};

bool lower_simd(struct lower_func *f, const struct instruction *in) {
  const struct lower *l = f->l;
  const struct simd_row *row = &rows[in->op];
  if (!row->rule) return false;
  struct simd s = {.f = f, .l = l, .builder = l->ir.builder, .in = in, .row = row};
  s.type = shape_type(l, row->shape);
  s.lanes = lane_count(row->shape);
  const char *signature = op_table[in->op].signature, *operands = strchr(signature, '_') + 1;
  LLVMValueRef args[3];
  for (size_t i = strlen(operands); i-- > 0;) {
    args[i] = lower_pop(f);
    if (operands[i] == 'v') args[i] = cast(&s, args[i], s.type);
  }
  LLVMValueRef v = row->rule(&s, args);
  assert((v == NULL) == (*signature == '_'));
  if (v) lower_push(f, *signature == 'v' ? cast(&s, v, ir_type(&l->ir, VAL_V128)) : v);
  return true;
}
