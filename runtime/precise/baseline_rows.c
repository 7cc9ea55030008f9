/* What the baseline tier makes of each instruction: the LOWER column of opcode.def, read as machine code. */
#include "base/heap.h"
#include "runtime/precise/baseline.h"

#include <pthread.h>

/* Kind, detail, flags; what is left out is 0. */
#define ROW_KIND(kind, ...) ROW_OF(BASELINE_##kind, __VA_ARGS__, 0, 0)
#define ROW_OF(kind, detail, flags, ...) \
  { kind, detail, flags, NULL }
#define ___ ROW_KIND(HANDLER, 0)
#define BIN(op) ROW_KIND(BIN, BIN_##op)
#define BIN_Add 0x03
#define BIN_Sub 0x2b
#define BIN_Mul 0x0faf
#define BIN_And 0x23
#define BIN_Or 0x0b
#define BIN_Xor 0x33
#define SHIFT(op) ROW_KIND(SHIFT, SHIFT_##op)
#define SHIFT_Shl 4
#define SHIFT_LShr 5
#define SHIFT_AShr 7
#define ROT(op) ROW_KIND(SHIFT, ROT_##op)
#define ROT_fshl 0
#define ROT_fshr 1
#define ICMP(p) ROW_KIND(ICMP, ICMP_##p)
#define ICMP_EQ CC_E
#define ICMP_NE CC_NE
#define ICMP_SLT CC_L
#define ICMP_SGT CC_G
#define ICMP_SLE CC_LE
#define ICMP_SGE CC_GE
#define ICMP_ULT CC_B
#define ICMP_UGT CC_A
#define ICMP_ULE CC_BE
#define ICMP_UGE CC_AE
#define EQZ() ROW_KIND(EQZ, 0)
#define DIV(op) ROW_KIND(DIV, DIV_##op)
#define DIV_SDiv 2
#define DIV_UDiv 0
#define DIV_SRem 3
#define DIV_URem 1
#define BITCOUNT(op) BITCOUNT_##op
#define BITCOUNT_ctlz ROW_KIND(BITCOUNT, 0)
#define BITCOUNT_cttz ROW_KIND(BITCOUNT, 1)
#define BITCOUNT_ctpop ROW_KIND(POPCOUNT, 0)
#define EXTEND(type) ROW_KIND(EXTEND, EXTEND_##type)
#define EXTEND_i8 8
#define EXTEND_i16 16
#define EXTEND_i32 32
#define CAST(op, to) CAST_##op
#define CAST_Trunc ROW_KIND(WRAP, 0)
#define CAST_SExt ROW_KIND(EXTEND_SIGNED, 0)
#define CAST_ZExt ROW_KIND(EXTEND_UNSIGNED, 0)
#define CAST_SIToFP ROW_KIND(FROM_SIGNED, 0)
#define CAST_UIToFP ROW_KIND(FROM_UNSIGNED, 0)
#define CAST_BitCast ROW_KIND(BITS, 0)
#define FBIN(op) ROW_KIND(FBIN, FBIN_##op)
#define FBIN_FAdd 0x0f58
#define FBIN_FSub 0x0f5c
#define FBIN_FMul 0x0f59
#define FBIN_FDiv 0x0f5e
#define FCMP(p) ROW_KIND(FCMP, RELATION_##p)
#define FMINMAX(op) ROW_KIND(FMINMAX, FMINMAX_##op)
#define FMINMAX_minimum 0x0f5d
#define FMINMAX_maximum 0x0f5f
#define FUN(name) FUN_##name
#define FUN_ceil ROW_KIND(ROUND, 2)
#define FUN_floor ROW_KIND(ROUND, 1)
#define FUN_trunc ROW_KIND(ROUND, 3)
#define FUN_roundeven ROW_KIND(ROUND, 0)
#define FUN_sqrt ROW_KIND(SQRT, 0)
#define FABS() ROW_KIND(FABS, 0)
#define FNEG() ROW_KIND(FNEG, 0)
#define COPYSIGN() ROW_KIND(COPYSIGN, 0)
#define DEMOTE() ROW_KIND(DEMOTE, 0)
#define PROMOTE() ROW_KIND(PROMOTE, 0)
#define TRUNC(to, sign) TRUNC_##to##_##sign
#define TRUNC_i32_SIGNED ROW_KIND(TRUNC, 0)
#define TRUNC_i32_UNSIGNED ROW_KIND(TRUNC, 1)
#define TRUNC_i64_SIGNED ROW_KIND(TRUNC_LONG, 0)
#define TRUNC_i64_UNSIGNED ___
#define TRUNC_SAT(to, sign) TRUNC_SAT_##to##_##sign
#define TRUNC_SAT_i32_SIGNED ROW_KIND(TRUNC_SAT, 0)
#define TRUNC_SAT_i32_UNSIGNED ROW_KIND(TRUNC_SAT, 1)
#define TRUNC_SAT_i64_SIGNED ROW_KIND(TRUNC_SAT_LONG, 0)
#define TRUNC_SAT_i64_UNSIGNED ___
#define WIDE(op) ___
#define WIDE_MUL(how) ___
/* detail: opcode, | 1 << 16: with REX.W. */
#define LOAD(type, extension) ROW_KIND(LOAD, LOAD_##type##_##extension)
#define LOAD_i8_SEXT 0x0fbe
#define LOAD_i8_ZEXT 0x0fb6
#define LOAD_i16_SEXT 0x0fbf
#define LOAD_i16_ZEXT 0x0fb7
#define LOAD_i32_NONE 0x8b
#define LOAD_i32_SEXT 0x63
#define LOAD_i32_ZEXT 0x8b
#define LOAD_i64_NONE 0x8b
#define LOAD_f32_NONE PF3(0x0f10)
#define LOAD_f64_NONE PF2(0x0f10)
#define STORE(type) ROW_KIND(STORE, STORE_##type)
#define STORE_i8 0x88
#define STORE_i16 P66(0x89)
#define STORE_i32 0x89
#define STORE_i64 0x89
#define STORE_f32 PF3(0x0f11)
#define STORE_f64 PF2(0x0f11)

/* Vectors: what SSE4.1 has. */
#define VLOAD() ROW_KIND(VECTOR_LOAD, 0x0f10)
#define VLOAD_EXTEND(shape, how) ROW_KIND(VECTOR_LOAD, WIDEN_##how##_##shape)
#define WIDEN_SExt_i16x8 P66(0x0f3820)
#define WIDEN_ZExt_i16x8 P66(0x0f3830)
#define WIDEN_SExt_i32x4 P66(0x0f3823)
#define WIDEN_ZExt_i32x4 P66(0x0f3833)
#define WIDEN_SExt_i64x2 P66(0x0f3825)
#define WIDEN_ZExt_i64x2 P66(0x0f3835)
#define VLOAD_SPLAT(shape) ROW_KIND(VECTOR_LOAD_SPLAT, LANE_##shape)
#define LANE_i8x16 0x0fb6
#define LANE_i16x8 0x0fb7
#define LANE_i32x4 0x8b
#define LANE_i64x2 0x8b
#define VLOAD_ZERO(shape) ROW_KIND(VECTOR_LOAD, ZERO_##shape)
#define ZERO_i32x4 PF3(0x0f10)
#define ZERO_i64x2 PF2(0x0f10)
#define VLOAD_LANE(shape) ___
#define VSTORE() ROW_KIND(VECTOR_STORE, 0)
#define VSTORE_LANE(shape) ___
#define VCONST() ___
#define VSPLAT(shape) ROW_KIND(VECTOR_SPLAT, BYTES_##shape)
#define BYTES_i8x16 1
#define BYTES_i16x8 2
#define BYTES_i32x4 4
#define BYTES_i64x2 8
#define BYTES_f32x4 4
#define BYTES_f64x2 8
#define VEXTRACT(shape, how) ROW_KIND(VECTOR_EXTRACT, EXTRACT_##how##_##shape, BYTES_##shape)
#define EXTRACT_SExt_i8x16 0x0fbe
#define EXTRACT_ZExt_i8x16 0x0fb6
#define EXTRACT_SExt_i16x8 0x0fbf
#define EXTRACT_ZExt_i16x8 0x0fb7
#define EXTRACT_NONE_i32x4 0x8b
#define EXTRACT_NONE_i64x2 0x8b
#define EXTRACT_NONE_f32x4 PF3(0x0f10)
#define EXTRACT_NONE_f64x2 PF2(0x0f10)
#define VREPLACE(shape) ROW_KIND(VECTOR_REPLACE, REPLACE_##shape, BYTES_##shape)
#define REPLACE_i8x16 0x88
#define REPLACE_i16x8 P66(0x89)
#define REPLACE_i32x4 0x89
#define REPLACE_i64x2 0x89
#define REPLACE_f32x4 PF3(0x0f11)
#define REPLACE_f64x2 PF2(0x0f11)
#define VSHUFFLE() ROW_KIND(VECTOR_SHUFFLE, 0)
#define VSWIZZLE() ROW_KIND(VECTOR_SWIZZLE, 0)
#define VNOT() ROW_KIND(VECTOR_NOT, 0)
#define VANDNOT() ROW_KIND(VECTOR_TWO, P66(0x0fdf), VECTOR_SWAPPED)
#define VBITSELECT() ROW_KIND(VECTOR_SELECT, 0)
#define VANY_TRUE() ROW_KIND(VECTOR_TEST, 0)
#define VALL_TRUE(shape) ROW_KIND(VECTOR_TEST, EQUAL_##shape)
#define EQUAL_i8x16 P66(0x0f74)
#define EQUAL_i16x8 P66(0x0f75)
#define EQUAL_i32x4 P66(0x0f76)
#define EQUAL_i64x2 P66(0x0f3829)
#define VBITMASK(shape) ROW_KIND(VECTOR_BITMASK, BITMASK_##shape)
#define BITMASK_i8x16 P66(0x0fd7)
#define BITMASK_i16x8 P66(0x0fd7), 1
#define BITMASK_i32x4 0x0f50
#define BITMASK_i64x2 P66(0x0f50)
#define VICMP(shape, p) VICMP_##p(shape)
#define VICMP_EQ(shape) ROW_KIND(VECTOR_TWO, EQUAL_##shape)
#define VICMP_NE(shape) ROW_KIND(VECTOR_TWO, EQUAL_##shape, VECTOR_NEGATED)
#define VICMP_SGT(shape) GREATER_##shape(0)
#define VICMP_SLT(shape) GREATER_##shape(VECTOR_SWAPPED)
#define VICMP_SLE(shape) GREATER_##shape(VECTOR_NEGATED)
#define VICMP_SGE(shape) GREATER_##shape(VECTOR_SWAPPED | VECTOR_NEGATED)
#define GREATER_i8x16(flags) ROW_KIND(VECTOR_TWO, P66(0x0f64), flags)
#define GREATER_i16x8(flags) ROW_KIND(VECTOR_TWO, P66(0x0f65), flags)
#define GREATER_i32x4(flags) ROW_KIND(VECTOR_TWO, P66(0x0f66), flags)
#define GREATER_i64x2(flags) ___
#define VICMP_ULE(shape) ROW_KIND(VECTOR_ORDER, LESSER_##shape)
#define VICMP_UGT(shape) ROW_KIND(VECTOR_ORDER, LESSER_##shape | VECTOR_NEGATED)
#define VICMP_UGE(shape) ROW_KIND(VECTOR_ORDER, LARGER_##shape)
#define VICMP_ULT(shape) ROW_KIND(VECTOR_ORDER, LARGER_##shape | VECTOR_NEGATED)
#define LESSER_i8x16 P66(0x0fda), 0 << VECTOR_LANES
#define LESSER_i16x8 P66(0x0f383a), 1 << VECTOR_LANES
#define LESSER_i32x4 P66(0x0f383b), 2 << VECTOR_LANES
#define LARGER_i8x16 P66(0x0fde), 0 << VECTOR_LANES
#define LARGER_i16x8 P66(0x0f383e), 1 << VECTOR_LANES
#define LARGER_i32x4 P66(0x0f383f), 2 << VECTOR_LANES
#define VFCMP(shape, p) ROW_KIND(VECTOR_FCMP, VFCMP_##p | WIDE_##shape)
#define VFCMP_OEQ 0, 0
#define VFCMP_UNE 4, 0
#define VFCMP_OLT 1, 0
#define VFCMP_OLE 2, 0
#define VFCMP_OGT 1, VECTOR_SWAPPED
#define VFCMP_OGE 2, VECTOR_SWAPPED
#define WIDE_f32x4 0
#define WIDE_f64x2 VECTOR_WIDE
#define VBIN(shape, op) VBIN_##shape##_##op
#define VTWO(opcode) ROW_KIND(VECTOR_TWO, P66(opcode))
#define VBIN_i8x16_Add VTWO(0x0ffc)
#define VBIN_i16x8_Add VTWO(0x0ffd)
#define VBIN_i32x4_Add VTWO(0x0ffe)
#define VBIN_i64x2_Add VTWO(0x0fd4)
#define VBIN_i8x16_Sub VTWO(0x0ff8)
#define VBIN_i16x8_Sub VTWO(0x0ff9)
#define VBIN_i32x4_Sub VTWO(0x0ffa)
#define VBIN_i64x2_Sub VTWO(0x0ffb)
#define VBIN_i16x8_Mul VTWO(0x0fd5)
#define VBIN_i32x4_Mul VTWO(0x0f3840)
#define VBIN_i64x2_Mul ___
#define VBIN_i64x2_And VTWO(0x0fdb)
#define VBIN_i64x2_Or VTWO(0x0feb)
#define VBIN_i64x2_Xor VTWO(0x0fef)
#define VNEG(shape) ROW_KIND(VECTOR_NEGATIVE, MINUS_##shape)
#define MINUS_i8x16 P66(0x0ff8)
#define MINUS_i16x8 P66(0x0ff9)
#define MINUS_i32x4 P66(0x0ffa)
#define MINUS_i64x2 P66(0x0ffb)
#define VABS(shape) VABS_##shape
#define VABS_i8x16 ROW_KIND(VECTOR_ONE, P66(0x0f381c))
#define VABS_i16x8 ROW_KIND(VECTOR_ONE, P66(0x0f381d))
#define VABS_i32x4 ROW_KIND(VECTOR_ONE, P66(0x0f381e))
#define VABS_i64x2 ___
#define VSHIFT(shape, op) VSHIFT_##shape##_##op
#define VSHIFT_i8x16_Shl ___
#define VSHIFT_i8x16_LShr ___
#define VSHIFT_i8x16_AShr ___
#define VSHIFT_i16x8_Shl ROW_KIND(VECTOR_SHIFT, P66(0x0ff1), 15)
#define VSHIFT_i16x8_LShr ROW_KIND(VECTOR_SHIFT, P66(0x0fd1), 15)
#define VSHIFT_i16x8_AShr ROW_KIND(VECTOR_SHIFT, P66(0x0fe1), 15)
#define VSHIFT_i32x4_Shl ROW_KIND(VECTOR_SHIFT, P66(0x0ff2), 31)
#define VSHIFT_i32x4_LShr ROW_KIND(VECTOR_SHIFT, P66(0x0fd2), 31)
#define VSHIFT_i32x4_AShr ROW_KIND(VECTOR_SHIFT, P66(0x0fe2), 31)
#define VSHIFT_i64x2_Shl ROW_KIND(VECTOR_SHIFT, P66(0x0ff3), 63)
#define VSHIFT_i64x2_LShr ROW_KIND(VECTOR_SHIFT, P66(0x0fd3), 63)
#define VSHIFT_i64x2_AShr ___
/* Names have dots, so they are text: see `functions`. */
#define VFUN(...) \
  { BASELINE_HANDLER, 0, 0, #__VA_ARGS__ }
#define VAVGR(shape) VAVGR_##shape
#define VAVGR_i8x16 VTWO(0x0fe0)
#define VAVGR_i16x8 VTWO(0x0fe3)
#define VNARROW(shape, sign) VNARROW_##shape##_##sign
#define VNARROW_i16x8_SIGNED VTWO(0x0f63)
#define VNARROW_i16x8_UNSIGNED VTWO(0x0f67)
#define VNARROW_i32x4_SIGNED VTWO(0x0f6b)
#define VNARROW_i32x4_UNSIGNED VTWO(0x0f382b)
#define VEXTEND(shape, half, how) ROW_KIND(VECTOR_ONE, VEXTEND_##how##_##shape, VEXTEND_##half)
#define VEXTEND_SExt_i8x16 WIDEN_SExt_i16x8
#define VEXTEND_ZExt_i8x16 WIDEN_ZExt_i16x8
#define VEXTEND_SExt_i16x8 WIDEN_SExt_i32x4
#define VEXTEND_ZExt_i16x8 WIDEN_ZExt_i32x4
#define VEXTEND_SExt_i32x4 WIDEN_SExt_i64x2
#define VEXTEND_ZExt_i32x4 WIDEN_ZExt_i64x2
#define VEXTEND_LOW 0
#define VEXTEND_HIGH VECTOR_HIGH
#define VEXTMUL(...) ___
#define VEXTADD(...) ___
#define VDOT() VTWO(0x0ff5)
#define VQ15MULR() ___
#define VRELAXED_DOT() ___
#define VRELAXED_DOT_ADD() ___
#define VFBIN(shape, op) ROW_KIND(VECTOR_FLOAT, VFLOAT_##shape(FBIN_##op), WIDE_##shape)
#define VFLOAT_f32x4(opcode) opcode
#define VFLOAT_f64x2(opcode) P66(opcode)
#define VFNEG(shape) ROW_KIND(VECTOR_FNEG, 0, WIDE_##shape)
#define VFMINMAX(...) ___
#define VPMIN(shape) ROW_KIND(VECTOR_TWO, VFLOAT_##shape(0x0f5d), VECTOR_SWAPPED)
#define VPMAX(shape) ROW_KIND(VECTOR_TWO, VFLOAT_##shape(0x0f5f), VECTOR_SWAPPED)
#define VMADD(...) ___
#define VCONVERT(to, op) VCONVERT_##to##_##op
#define VCONVERT_f32x4_SIToFP ROW_KIND(VECTOR_ONE, 0x0f5b)
#define VCONVERT_f32x4_UIToFP ___
#define VCONVERT_f64x2_SIToFP ROW_KIND(VECTOR_ONE, PF3(0x0fe6))
#define VCONVERT_f64x2_UIToFP ___
#define VTRUNC_SAT(...) ___
#define VDEMOTE() ___
#define VPROMOTE() ___

#define PREFIX_0(...) __VA_ARGS__
#define PREFIX_0xfb(...) ___
#define PREFIX_0xfc(...) __VA_ARGS__
#define PREFIX_0xfd(...) __VA_ARGS__
#define PREFIX_0xfe(...) ___

static const struct baseline_row rows[OP_COUNT] = {
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) [OP_##id] = PREFIX_##prefix(lower),
#include "frontend/opcode.def"
#undef OP
};

static const struct baseline_row functions[] = {
    {BASELINE_VECTOR_TWO, P66(0x0fec), 0, "i8x16, sadd.sat"},
    {BASELINE_VECTOR_TWO, P66(0x0fdc), 0, "i8x16, uadd.sat"},
    {BASELINE_VECTOR_TWO, P66(0x0fe8), 0, "i8x16, ssub.sat"},
    {BASELINE_VECTOR_TWO, P66(0x0fd8), 0, "i8x16, usub.sat"},
    {BASELINE_VECTOR_TWO, P66(0x0f3838), 0, "i8x16, smin"},
    {BASELINE_VECTOR_TWO, P66(0x0f383c), 0, "i8x16, smax"},
    {BASELINE_VECTOR_TWO, P66(0x0fda), 0, "i8x16, umin"},
    {BASELINE_VECTOR_TWO, P66(0x0fde), 0, "i8x16, umax"},
    {BASELINE_VECTOR_TWO, P66(0x0fed), 0, "i16x8, sadd.sat"},
    {BASELINE_VECTOR_TWO, P66(0x0fdd), 0, "i16x8, uadd.sat"},
    {BASELINE_VECTOR_TWO, P66(0x0fe9), 0, "i16x8, ssub.sat"},
    {BASELINE_VECTOR_TWO, P66(0x0fd9), 0, "i16x8, usub.sat"},
    {BASELINE_VECTOR_TWO, P66(0x0fea), 0, "i16x8, smin"},
    {BASELINE_VECTOR_TWO, P66(0x0fee), 0, "i16x8, smax"},
    {BASELINE_VECTOR_TWO, P66(0x0f383a), 0, "i16x8, umin"},
    {BASELINE_VECTOR_TWO, P66(0x0f383e), 0, "i16x8, umax"},
    {BASELINE_VECTOR_TWO, P66(0x0f3839), 0, "i32x4, smin"},
    {BASELINE_VECTOR_TWO, P66(0x0f383d), 0, "i32x4, smax"},
    {BASELINE_VECTOR_TWO, P66(0x0f383b), 0, "i32x4, umin"},
    {BASELINE_VECTOR_TWO, P66(0x0f383f), 0, "i32x4, umax"},
    {BASELINE_VECTOR_FABS, 0, 0, "f32x4, fabs"},
    {BASELINE_VECTOR_FABS, 0, VECTOR_WIDE, "f64x2, fabs"},
    {BASELINE_VECTOR_FONE, 0x0f51, 0, "f32x4, sqrt"},
    {BASELINE_VECTOR_FONE, P66(0x0f51), VECTOR_WIDE, "f64x2, sqrt"},
    {BASELINE_VECTOR_FONE, P66(0x0f3a08), 3 << VECTOR_LANES, "f32x4, ceil"},
    {BASELINE_VECTOR_FONE, P66(0x0f3a08), 2 << VECTOR_LANES, "f32x4, floor"},
    {BASELINE_VECTOR_FONE, P66(0x0f3a08), 4 << VECTOR_LANES, "f32x4, trunc"},
    {BASELINE_VECTOR_FONE, P66(0x0f3a08), 1 << VECTOR_LANES, "f32x4, roundeven"},
    {BASELINE_VECTOR_FONE, P66(0x0f3a09), 3 << VECTOR_LANES | VECTOR_WIDE, "f64x2, ceil"},
    {BASELINE_VECTOR_FONE, P66(0x0f3a09), 2 << VECTOR_LANES | VECTOR_WIDE, "f64x2, floor"},
    {BASELINE_VECTOR_FONE, P66(0x0f3a09), 4 << VECTOR_LANES | VECTOR_WIDE, "f64x2, trunc"},
    {BASELINE_VECTOR_FONE, P66(0x0f3a09), 1 << VECTOR_LANES | VECTOR_WIDE, "f64x2, roundeven"},
};

static struct baseline_row row_of(enum op op) {
  for (size_t i = 0; rows[op].name && i < sizeof functions / sizeof *functions; i++)
    if (strcmp(functions[i].name, rows[op].name) == 0) return functions[i];
  return rows[op];
}

/* Handlers by address: open addressing. */
enum { N_ENTRIES = 8192 };
static struct baseline_entry entries[N_ENTRIES];

static struct baseline_entry *place_of(precise_handler *run) {
  size_t i = ((uintptr_t)run >> 4) * 0x9e3779b97f4a7c15u >> 51;
  while (entries[i].run && entries[i].run != run) i = (i + 1) % N_ENTRIES;
  return &entries[i];
}

static void enter(precise_handler *run, struct baseline_entry entry) {
  if (!run) return;
  entry.run = run;
  *place_of(run) = entry;
}

static uint8_t access_size(enum op op) {
  switch (op_table[op].immediate) {
  case IMM_MEM1: return 1;
  case IMM_MEM2: return 2;
  case IMM_MEM4: return 4;
  case IMM_MEM8: return 8;
  default: return 16;
  }
}

static void enter_op(enum op op) {
  const struct precise_handlers *h = op_table[op].prefix == 0xfd ? &precise_vector[op] : &precise_scalar[op];
  const char *operands = strchr(op_table[op].signature, '_');
  struct baseline_row row = row_of(op);
  if (!h->plain || row.kind == BASELINE_HANDLER) return;
  if (row.kind == BASELINE_POPCOUNT && !__builtin_cpu_supports("popcnt")) return;
  struct baseline_entry e = {.kind = row.kind, .detail = row.detail, .size = access_size(op)};
  e.flags = row.flags;
  e.result = op_table[op].signature[0];
  e.operand = e.kind == BASELINE_STORE || e.kind == BASELINE_VECTOR_REPLACE ? operands[2] : operands[1];
  enter(h->plain, e);
  e.form = FORM_CONSTANT;
  enter(h->constant, e);
  e.form = FORM_BRANCH;
  enter(h->branch_if, e);
  e.is_unless = true;
  enter(h->branch_unless, e);
  e.form = FORM_CONSTANT_BRANCH;
  enter(h->constant_branch_unless, e);
  e.is_unless = false;
  enter(h->constant_branch_if, e);
}

static void enter_control(precise_handler *run, enum baseline_kind kind, uint32_t detail) {
  enter(run, (struct baseline_entry){.kind = (uint8_t)kind, .detail = detail});
}

static void enter_all(void) {
  for (int op = 0; op < OP_COUNT; op++) enter_op((enum op)op);
  enter_control(do_charge, BASELINE_CHARGE, 0);
  enter_control(do_constant, BASELINE_CONSTANT, 0);
  enter_control(do_copy, BASELINE_COPY, 0);
  enter_control(do_constant_v128, BASELINE_VECTOR_CONSTANT, 0);
  enter_control(do_copy_v128, BASELINE_VECTOR_COPY, 0);
  enter_control(do_select_v128, BASELINE_VECTOR_CHOICE, 0);
  enter_control(do_global_get_v128, BASELINE_VECTOR_GLOBAL_GET, 0);
  enter_control(do_global_set_v128, BASELINE_VECTOR_GLOBAL_SET, 0);
  enter_control(do_select, BASELINE_SELECT, 0);
  enter_control(do_branch, BASELINE_BRANCH, 0);
  enter_control(do_branch_if, BASELINE_BRANCH_IF, CC_NE);
  enter_control(do_branch_unless, BASELINE_BRANCH_IF, CC_E);
  enter_control(do_branch_null, BASELINE_BRANCH_IF, CC_E | 16);
  enter_control(do_branch_not_null, BASELINE_BRANCH_IF, CC_NE | 16);
  enter_control(do_branch_table, BASELINE_BRANCH_TABLE, 0);
  enter_control(do_unreachable, BASELINE_LEAVE, 0);
  enter_control(do_finish, BASELINE_FINISH, 0);
  enter_control(do_finish_one, BASELINE_FINISH_ONE, 0);
  enter_control(do_finish_many, BASELINE_LEAVE, 0);
  enter_control(do_call, BASELINE_CALL, 0);
  enter_control(do_call_import, BASELINE_CALL_HANDLER, 0);
  enter_control(do_call_ref, BASELINE_CALL_REF, 0);
  enter_control(do_tail_call, BASELINE_LEAVE, 0);
  enter_control(do_tail_call_import, BASELINE_LEAVE, 0);
  enter_control(do_tail_call_ref, BASELINE_LEAVE, 0);
  enter_control(do_table_func, BASELINE_TABLE_GET, 1);
  enter_control(do_table_get, BASELINE_TABLE_GET, 0);
  enter_control(do_check_type, BASELINE_CHECK_TYPE, 0);
  enter_control(do_ref_non_null, BASELINE_NON_NULL, 0);
  enter_control(do_ref_func, BASELINE_REF_FUNC, 0);
  enter(do_ref_is_null, (struct baseline_entry){.kind = BASELINE_EQZ, .result = 'i', .operand = 'I'});
  enter_control(do_global_get, BASELINE_GLOBAL_GET, 0);
  enter_control(do_global_set, BASELINE_GLOBAL_SET, 0);
  enter_control(do_throw_tag, BASELINE_THROW, 0);
  enter_control(do_throw_ref, BASELINE_THROW, 0);
  enter_control(do_rethrow, BASELINE_THROW, 0);
  enter_control(do_unwind, BASELINE_LEAVE, 0);
  enter_control(do_on_exception, BASELINE_ON_EXCEPTION, 0);
  enter_control(do_clause_tag, BASELINE_CLAUSE_TAG, 0);
}

void baseline_rows_init(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, enter_all);
}

const struct baseline_entry *baseline_find(precise_handler *run) {
  static const struct baseline_entry handler = {.kind = BASELINE_HANDLER};
  const struct baseline_entry *e = place_of(run);
  return e->run ? e : &handler;
}
