/* Instructions that opcode.def translates by its LOWER column. */
#include "frontend/lower/internal.h"

#include <assert.h>

enum lower_class {
  LOWER_NONE,
  LOWER_BIN,
  LOWER_DIV,
  LOWER_SHIFT,
  LOWER_ROT,
  LOWER_EQZ,
  LOWER_ICMP,
  LOWER_FCMP,
  LOWER_BITCOUNT,
  LOWER_CAST,
  LOWER_EXTEND,
  LOWER_FABS,
  LOWER_FNEG,
  LOWER_FUN,
  LOWER_FBIN,
  LOWER_FMINMAX,
  LOWER_COPYSIGN,
  LOWER_TRUNC,
  LOWER_TRUNC_SAT,
  LOWER_DEMOTE,
  LOWER_PROMOTE,
  LOWER_WIDE,
  LOWER_WIDE_MUL,
  LOWER_LOAD,
  LOWER_STORE,
};

enum { TYPE_i8, TYPE_i16, TYPE_i32, TYPE_i64, TYPE_f32, TYPE_f64 };
enum { EXTEND_NONE, EXTEND_SEXT, EXTEND_ZEXT };
enum { UNSIGNED, SIGNED };

/* One LOWER cell: the class and what its arguments mean to it. */
struct lower_row {
  uint8_t kind;
  uint8_t code; /* LLVM opcode, predicate, type or signedness */
  uint8_t more; /* type or extension */
  const char *intrinsic;
};

#define ___ \
  { LOWER_NONE, 0, 0, NULL }
#define BIN(op) \
  { LOWER_BIN, LLVM##op, 0, NULL }
#define DIV(op) \
  { LOWER_DIV, LLVM##op, 0, NULL }
#define SHIFT(op) \
  { LOWER_SHIFT, LLVM##op, 0, NULL }
#define ROT(name) \
  { LOWER_ROT, 0, 0, "llvm." #name }
#define EQZ() \
  { LOWER_EQZ, 0, 0, NULL }
#define ICMP(p) \
  { LOWER_ICMP, LLVMInt##p, 0, NULL }
#define FCMP(p) \
  { LOWER_FCMP, LLVMReal##p, 0, NULL }
#define BITCOUNT(name) \
  { LOWER_BITCOUNT, 0, 0, "llvm." #name }
#define CAST(op, type) \
  { LOWER_CAST, LLVM##op, TYPE_##type, NULL }
#define EXTEND(type) \
  { LOWER_EXTEND, 0, TYPE_##type, NULL }
#define FABS() \
  { LOWER_FABS, 0, 0, "llvm.fabs" }
#define FNEG() \
  { LOWER_FNEG, 0, 0, NULL }
#define FUN(name) \
  { LOWER_FUN, 0, 0, "llvm." #name }
#define FBIN(op) \
  { LOWER_FBIN, LLVM##op, 0, NULL }
#define FMINMAX(name) \
  { LOWER_FMINMAX, 0, 0, "llvm." #name }
#define COPYSIGN() \
  { LOWER_COPYSIGN, 0, 0, "llvm.copysign" }
#define TRUNC(type, sign) \
  { LOWER_TRUNC, sign, TYPE_##type, NULL }
#define TRUNC_SAT(type, sign) \
  { LOWER_TRUNC_SAT, sign, TYPE_##type, sign ? "llvm.fptosi.sat" : "llvm.fptoui.sat" }
#define DEMOTE() \
  { LOWER_DEMOTE, 0, 0, NULL }
#define PROMOTE() \
  { LOWER_PROMOTE, 0, 0, NULL }
#define WIDE(op) \
  { LOWER_WIDE, LLVM##op, 0, NULL }
#define WIDE_MUL(extend) \
  { LOWER_WIDE_MUL, LLVM##extend, 0, NULL }
#define LOAD(type, extend) \
  { LOWER_LOAD, TYPE_##type, EXTEND_##extend, NULL }
#define STORE(type) \
  { LOWER_STORE, TYPE_##type, 0, NULL }

/* Prefix 0xfd is frontend/lower/simd.c's. */
#define ROW_0(id, ...) [OP_##id] = __VA_ARGS__,
#define ROW_0xfb(id, ...) ROW_0(id, __VA_ARGS__)
#define ROW_0xfc(id, ...) ROW_0(id, __VA_ARGS__)
#define ROW_0xfd(id, ...)
#define ROW_0xfe(id, ...) ROW_0(id, __VA_ARGS__)

static const struct lower_row rows[OP_COUNT] = {
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) ROW_##prefix(id, lower)
#include "frontend/opcode.def"
#undef OP
};

static LLVMTypeRef row_type(const struct lower *l, int type) {
  switch (type) {
  case TYPE_i8: return l->ir.i8;
  case TYPE_i16: return l->ir.i16;
  case TYPE_i32: return l->ir.i32;
  case TYPE_i64: return l->ir.i64;
  case TYPE_f32: return l->ir.f32;
  default: return l->ir.f64;
  }
}

static LLVMTypeRef result_type(const struct lower *l, enum op op) {
  switch (op_table[op].signature[0]) {
  case 'i': return l->ir.i32;
  case 'I': return l->ir.i64;
  case 'f': return l->ir.f32;
  default: return l->ir.f64;
  }
}

static void push_bool(struct lower_func *f, LLVMValueRef condition) {
  lower_push(f, LLVMBuildZExt(f->l->ir.builder, condition, f->l->ir.i32, ""));
}

static LLVMValueRef is_equal(struct lower_func *f, LLVMValueRef v, uint64_t constant) {
  return LLVMBuildICmp(f->l->ir.builder, LLVMIntEQ, v, LLVMConstInt(LLVMTypeOf(v), constant, true), "");
}

/* LLVM's division is undefined where Wasm's traps, and its remainder for MIN % -1, which is 0 in Wasm. */
static LLVMValueRef divide(struct lower_func *f, LLVMOpcode op, LLVMValueRef a, LLVMValueRef b) {
  LLVMBuilderRef builder = f->l->ir.builder;
  LLVMTypeRef type = LLVMTypeOf(a);
  bool is_64 = type == f->l->ir.i64;
  long long constant = LLVMIsAConstantInt(b) ? LLVMConstIntGetSExtValue(b) : 0;
  if (constant == 0) lower_trap_if(f, is_equal(f, b, 0), GW_TRAP_INTEGER_DIVIDE_BY_ZERO);
  bool maybe_minus_one = constant == 0 || constant == -1;
  if (op == LLVMSDiv && maybe_minus_one) {
    LLVMValueRef is_min = is_equal(f, a, is_64 ? (uint64_t)INT64_MIN : (uint64_t)(int64_t)INT32_MIN);
    LLVMValueRef overflows = LLVMBuildAnd(builder, is_min, is_equal(f, b, UINT64_MAX), "");
    lower_trap_if(f, overflows, GW_TRAP_INTEGER_OVERFLOW);
  }
  if (op == LLVMSRem && maybe_minus_one)
    b = LLVMBuildSelect(builder, is_equal(f, b, UINT64_MAX), LLVMConstInt(type, 1, false), b, "");
  return LLVMBuildBinOp(builder, op, a, b, "");
}

/* The open interval (low, high) of values whose truncation fits, exactly representable in the source type. */
static void truncation_bounds(bool from_f32, bool to_64, bool is_signed, double *low, bool *low_included, double *high) {
  *high = is_signed ? (to_64 ? 0x1p63 : 0x1p31) : (to_64 ? 0x1p64 : 0x1p32);
  if (!is_signed) {
    *low = -1.0;
    *low_included = false;
  } else if (to_64) {
    *low = -0x1p63;
    *low_included = true;
  } else {
    *low = from_f32 ? -0x1p31 : -0x1p31 - 1;
    *low_included = from_f32;
  }
}

static LLVMValueRef truncate(struct lower_func *f, LLVMValueRef v, LLVMTypeRef to, bool is_signed) {
  const struct lower *l = f->l;
  LLVMBuilderRef builder = l->ir.builder;
  LLVMTypeRef from = LLVMTypeOf(v);
  double low, high;
  bool low_included;
  truncation_bounds(from == l->ir.f32, to == l->ir.i64, is_signed, &low, &low_included, &high);
  LLVMValueRef above = LLVMBuildFCmp(builder, low_included ? LLVMRealOGE : LLVMRealOGT, v, LLVMConstReal(from, low), "");
  LLVMValueRef below = LLVMBuildFCmp(builder, LLVMRealOLT, v, LLVMConstReal(from, high), "");
  LLVMBasicBlockRef bad = lower_new_block(f, "trunc.bad"), good = lower_new_block(f, "trunc");
  LLVMBuildCondBr(builder, LLVMBuildAnd(builder, above, below, ""), good, bad);
  LLVMPositionBuilderAtEnd(builder, bad);
  LLVMBuildCondBr(builder, LLVMBuildFCmp(builder, LLVMRealUNO, v, v, ""), lower_trap_block(f, GW_TRAP_INVALID_CONVERSION),
                  lower_trap_block(f, GW_TRAP_INTEGER_OVERFLOW));
  LLVMPositionBuilderAtEnd(builder, good);
  return LLVMBuildCast(builder, is_signed ? LLVMFPToSI : LLVMFPToUI, v, to, "");
}

/* Bytes of a type in linear memory. */
static uint32_t row_size(int type) {
  static const uint8_t sizes[] = {[TYPE_i8] = 1, [TYPE_i16] = 2, [TYPE_i32] = 4, [TYPE_i64] = 8, [TYPE_f32] = 4, [TYPE_f64] = 8};
  return sizes[type];
}

static void lower_guest_load(struct lower_func *f, const struct instruction *in, const struct lower_row *row) {
  const struct lower *l = f->l;
  LLVMValueRef address = lower_address(f, in, lower_pop(f), row_size(row->code));
  LLVMValueRef v = ir_load(&l->ir, ALIAS_GUEST, row_type(l, row->code), address, "");
  LLVMTypeRef type = result_type(l, in->op);
  if (row->more == EXTEND_SEXT) v = LLVMBuildSExt(l->ir.builder, v, type, "");
  if (row->more == EXTEND_ZEXT) v = LLVMBuildZExt(l->ir.builder, v, type, "");
  lower_push(f, v);
}

static void lower_guest_store(struct lower_func *f, const struct instruction *in, const struct lower_row *row) {
  const struct lower *l = f->l;
  LLVMValueRef v = lower_pop(f);
  LLVMTypeRef type = row_type(l, row->code);
  if (LLVMTypeOf(v) != type) v = LLVMBuildTrunc(l->ir.builder, v, type, "");
  LLVMValueRef address = lower_address(f, in, lower_pop(f), row_size(row->code));
  ir_store(&l->ir, ALIAS_GUEST, v, address);
}

static LLVMValueRef lower_unary(struct lower_func *f, const struct instruction *in, const struct lower_row *row, LLVMValueRef a) {
  const struct lower *l = f->l;
  LLVMBuilderRef builder = l->ir.builder;
  LLVMTypeRef type = LLVMTypeOf(a), result = result_type(l, in->op);
  switch (row->kind) {
  case LOWER_BITCOUNT: {
    LLVMValueRef args[2] = {a, LLVMConstInt(l->ir.i1, 0, false)}; /* of zero: the width, not poison */
    return ir_intrinsic(&l->ir, row->intrinsic, type, args, in->op == OP_I32_POPCNT || in->op == OP_I64_POPCNT ? 1 : 2);
  }
  case LOWER_CAST: return LLVMBuildCast(builder, row->code, a, row_type(l, row->more), "");
  case LOWER_EXTEND: return LLVMBuildSExt(builder, LLVMBuildTrunc(builder, a, row_type(l, row->more), ""), result, "");
  case LOWER_FNEG: return LLVMBuildFNeg(builder, a, "");
  case LOWER_TRUNC: return truncate(f, a, row_type(l, row->more), row->code == SIGNED);
  case LOWER_TRUNC_SAT: return ir_intrinsic2(&l->ir, row->intrinsic, row_type(l, row->more), type, a);
  case LOWER_DEMOTE: return lower_folded(LLVMBuildFPTrunc(builder, a, l->ir.f32, ""));
  case LOWER_PROMOTE: return lower_folded(LLVMBuildFPExt(builder, a, l->ir.f64, ""));
  default: /* FABS, FUN */
    assert(row->intrinsic);
    if (in->op == OP_F32_SQRT || in->op == OP_F64_SQRT) return lower_root(f, a);
    return ir_intrinsic(&l->ir, row->intrinsic, type, &a, 1);
  }
}

static LLVMValueRef lower_binary(struct lower_func *f, const struct lower_row *row, LLVMValueRef a, LLVMValueRef b) {
  const struct lower *l = f->l;
  LLVMBuilderRef builder = l->ir.builder;
  LLVMTypeRef type = LLVMTypeOf(a);
  LLVMValueRef args[3] = {a, b, b};
  switch (row->kind) {
  case LOWER_BIN: return LLVMBuildBinOp(builder, row->code, a, b, "");
  case LOWER_DIV: return divide(f, row->code, a, b);
  case LOWER_SHIFT: {
    LLVMValueRef mask = LLVMConstInt(type, type == l->ir.i64 ? 63 : 31, false);
    return LLVMBuildBinOp(builder, row->code, a, LLVMBuildAnd(builder, b, mask, ""), "");
  }
  case LOWER_ROT: args[1] = a; return ir_intrinsic(&l->ir, row->intrinsic, type, args, 3);
  case LOWER_FBIN: return lower_folded(LLVMBuildBinOp(builder, row->code, a, b, ""));
  default: /* FMINMAX, COPYSIGN */ assert(row->intrinsic); return ir_intrinsic(&l->ir, row->intrinsic, type, args, 2);
  }
}

/* --- wide arithmetic: 128 bits on the stack as two i64, the low half first ------------------------------------------ */

static LLVMTypeRef i128(const struct lower *l) { return LLVMIntTypeInContext(l->ir.context, 128); }

static LLVMValueRef pop_wide(struct lower_func *f) {
  const struct lower *l = f->l;
  LLVMTypeRef type = i128(l);
  LLVMValueRef high = LLVMBuildZExt(l->ir.builder, lower_pop(f), type, "");
  LLVMValueRef low = LLVMBuildZExt(l->ir.builder, lower_pop(f), type, "");
  return LLVMBuildOr(l->ir.builder, LLVMBuildShl(l->ir.builder, high, LLVMConstInt(type, 64, false), ""), low, "");
}

static void push_wide(struct lower_func *f, LLVMValueRef v) {
  const struct lower *l = f->l;
  lower_push(f, LLVMBuildTrunc(l->ir.builder, v, l->ir.i64, ""));
  lower_push(f,
             LLVMBuildTrunc(l->ir.builder, LLVMBuildLShr(l->ir.builder, v, LLVMConstInt(i128(l), 64, false), ""), l->ir.i64, ""));
}

static void lower_wide(struct lower_func *f, const struct lower_row *row) {
  LLVMBuilderRef builder = f->l->ir.builder;
  if (row->kind == LOWER_WIDE) {
    LLVMValueRef b = pop_wide(f), a = pop_wide(f);
    push_wide(f, LLVMBuildBinOp(builder, row->code, a, b, ""));
    return;
  }
  LLVMValueRef b = LLVMBuildCast(builder, row->code, lower_pop(f), i128(f->l), "");
  LLVMValueRef a = LLVMBuildCast(builder, row->code, lower_pop(f), i128(f->l), "");
  push_wide(f, LLVMBuildMul(builder, a, b, ""));
}

bool lower_numeric(struct lower_func *f, const struct instruction *in) {
  const struct lower_row *row = &rows[in->op];
  LLVMBuilderRef builder = f->l->ir.builder;
  switch (row->kind) {
  case LOWER_NONE: return false;
  case LOWER_LOAD: lower_guest_load(f, in, row); return true;
  case LOWER_STORE: lower_guest_store(f, in, row); return true;
  case LOWER_WIDE:
  case LOWER_WIDE_MUL: lower_wide(f, row); return true;
  case LOWER_EQZ: push_bool(f, is_equal(f, lower_pop(f), 0)); return true;
  case LOWER_BITCOUNT:
  case LOWER_CAST:
  case LOWER_EXTEND:
  case LOWER_FABS:
  case LOWER_FNEG:
  case LOWER_FUN:
  case LOWER_TRUNC:
  case LOWER_TRUNC_SAT:
  case LOWER_DEMOTE:
  case LOWER_PROMOTE: lower_push(f, lower_unary(f, in, row, lower_pop(f))); return true;
  default: break;
  }
  LLVMValueRef b = lower_pop(f), a = lower_pop(f);
  if (row->kind == LOWER_ICMP)
    push_bool(f, LLVMBuildICmp(builder, row->code, a, b, ""));
  else if (row->kind == LOWER_FCMP)
    push_bool(f, LLVMBuildFCmp(builder, row->code, a, b, ""));
  else
    lower_push(f, lower_binary(f, row, a, b));
  return true;
}
