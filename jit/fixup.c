/* What AVX-512 wants otherwise.
 *
 * fixup_nans: a canonical NaN takes a comparison and a masked move, and in a loop that stores what it computes those are
 * most of its work. VFIXUPIMM looks up in a table what to do with each kind of number: NaNs leave the destination as it is, which
 * holds the canonical one, and everything else is moved there. LLVM does not choose it by itself.
 *
 * fixup_quiet_operands: LLVM 22 makes minimum and maximum of VFPCLASS, and where it knows that one operand is a number it asks of
 * the other only whether it is a quiet NaN. With a signalling one, the result is the number. So none gets there. */
#include "jit/fixup.h"
#include "frontend/lower/values.h"

#include <stdio.h>
#include <string.h>

/* A nibble for each kind, from the lowest: quiet and signalling NaN, then six of numbers. 0: leave the destination; 1: move. */
enum { TABLE = 0x11111100 };
enum { SCALAR_BITS = 128, MXCSR_ROUNDING = 4 };

struct fixup {
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder;
};

static uint64_t canonical_of(LLVMTypeRef type) {
  return LLVMGetTypeKind(value_lane_type(type)) == LLVMFloatTypeKind ? VALUE_NAN_F32 : VALUE_NAN_F64;
}

static bool is_canonical_lane(const struct fixup *x, LLVMValueRef v) {
  unsigned bits = LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMFloatTypeKind ? 32 : 64;
  if (!LLVMIsAConstantFP(v)) return false;
  LLVMValueRef raw = LLVMConstBitCast(v, LLVMIntTypeInContext(x->context, bits));
  return LLVMIsAConstantInt(raw) && LLVMConstIntGetZExtValue(raw) == canonical_of(LLVMTypeOf(v));
}

static bool is_canonical_nan(const struct fixup *x, LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v);
  if (!LLVMIsConstant(v) || LLVMGetTypeKind(type) != LLVMVectorTypeKind) return is_canonical_lane(x, v);
  bool is = true;
  for (unsigned i = 0, n = LLVMGetVectorSize(type); i < n && is; i++) {
    LLVMValueRef lane = LLVMGetAggregateElement(v, i);
    is = lane && is_canonical_lane(x, lane);
  }
  return is;
}

/* Whether a lane is a NaN: compared with itself, or with a number. */
static bool asks_for_nan(LLVMValueRef condition, LLVMValueRef v) {
  if (!LLVMIsAFCmpInst(condition) || LLVMGetOperand(condition, 0) != v) return false;
  LLVMValueRef other = LLVMGetOperand(condition, 1);
  return other == v || LLVMIsNull(other);
}

/* What `select` makes canonical, or NULL. */
static LLVMValueRef mended_by(const struct fixup *x, LLVMValueRef select) {
  LLVMTypeKind kind = LLVMGetTypeKind(value_lane_type(LLVMTypeOf(select)));
  if (kind != LLVMFloatTypeKind && kind != LLVMDoubleTypeKind) return NULL;
  LLVMValueRef condition = LLVMGetOperand(select, 0), nan = LLVMGetOperand(select, 1), v = LLVMGetOperand(select, 2);
  bool is_ordered = LLVMIsAFCmpInst(condition) && LLVMGetFCmpPredicate(condition) == LLVMRealORD;
  bool is_unordered = LLVMIsAFCmpInst(condition) && LLVMGetFCmpPredicate(condition) == LLVMRealUNO;
  if (is_ordered) {
    LLVMValueRef number = nan;
    nan = v;
    v = number;
  }
  return (is_ordered || is_unordered) && asks_for_nan(condition, v) && is_canonical_nan(x, nan) ? v : NULL;
}

static LLVMValueRef splat(unsigned n, LLVMValueRef lane) {
  LLVMValueRef lanes[16];
  for (unsigned i = 0; i < n; i++) lanes[i] = lane;
  return LLVMConstVector(lanes, n);
}

static LLVMValueRef build(struct fixup *x, LLVMValueRef v, unsigned bits, bool is_scalar) {
  char name[64];
  LLVMTypeRef type = LLVMTypeOf(v), lane = value_lane_type(type);
  unsigned width = LLVMGetTypeKind(lane) == LLVMFloatTypeKind ? 32 : 64, n = LLVMGetVectorSize(type);
  LLVMTypeRef word = LLVMIntTypeInContext(x->context, width), i32 = LLVMInt32TypeInContext(x->context);
  LLVMTypeRef mask = LLVMIntTypeInContext(x->context, n > 8 ? n : 8);
  const char *letter = width == 32 ? "s" : "d";
  if (is_scalar)
    snprintf(name, sizeof name, "llvm.x86.avx512.mask.fixupimm.s%s", letter);
  else
    snprintf(name, sizeof name, "llvm.x86.avx512.mask.fixupimm.p%s.%u", letter, bits);
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  bool has_rounding = is_scalar || bits == 512;
  LLVMValueRef nan = LLVMConstBitCast(LLVMConstInt(word, canonical_of(type), false), lane);
  LLVMValueRef args[] = {splat(n, nan),
                         v,
                         splat(n, LLVMConstInt(word, TABLE, false)),
                         LLVMConstInt(i32, 0, false),
                         LLVMConstAllOnes(mask),
                         LLVMConstInt(i32, MXCSR_ROUNDING, false)};
  return LLVMBuildCall2(x->builder, LLVMIntrinsicGetType(x->context, id, NULL, 0),
                        LLVMGetIntrinsicDeclaration(x->module, id, NULL, 0), args, has_rounding ? 6 : 5, "");
}

static void change(struct fixup *x, LLVMValueRef select, LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v), i32 = LLVMInt32TypeInContext(x->context);
  bool is_scalar = LLVMGetTypeKind(type) != LLVMVectorTypeKind;
  unsigned width = LLVMGetTypeKind(value_lane_type(type)) == LLVMFloatTypeKind ? 32 : 64;
  unsigned bits = is_scalar ? SCALAR_BITS : width * LLVMGetVectorSize(type);
  if (bits != 128 && bits != 256 && bits != 512) return;
  LLVMPositionBuilderBefore(x->builder, select);
  LLVMValueRef first = LLVMConstInt(i32, 0, false);
  if (is_scalar) v = LLVMBuildInsertElement(x->builder, LLVMGetPoison(LLVMVectorType(type, SCALAR_BITS / width)), v, first, "");
  LLVMValueRef mended = build(x, v, bits, is_scalar);
  if (is_scalar) mended = LLVMBuildExtractElement(x->builder, mended, first, "");
  LLVMReplaceAllUsesWith(select, mended);
  LLVMInstructionEraseFromParent(select);
}

void fixup_nans(LLVMModuleRef module) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  struct fixup x = {.context = context, .module = module, .builder = LLVMCreateBuilderInContext(context)};
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b), next; v; v = next) {
        next = LLVMGetNextInstruction(v);
        LLVMValueRef before = LLVMIsASelectInst(v) ? mended_by(&x, v) : NULL;
        if (before) change(&x, v, before);
      }
  LLVMDisposeBuilder(x.builder);
}

/* Whether the code generator may take arithmetic with `c` for its other operand, or that with its sign changed. */
static bool may_fold(LLVMValueRef c) {
  LLVMBool is_inexact;
  if (!LLVMIsConstant(c)) return false;
  if (!LLVMIsAConstantFP(c) || LLVMGetTypeKind(LLVMTypeOf(c)) == LLVMVectorTypeKind) return true;
  double number = LLVMConstRealGetDouble(c, &is_inexact);
  return number == 0 || number == 1 || number == -1;
}

/* Whether `v`, of optimised code, cannot be a signalling NaN. Arithmetic makes quiet ones, but LLVM folds what changes nothing
 * else: a product with 1 is its operand, also where that signals. */
static bool is_quiet(LLVMValueRef v) {
  if (!LLVMIsAInstruction(v)) return false;
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMFAdd:
  case LLVMFSub:
  case LLVMFMul:
  case LLVMFDiv: return !may_fold(LLVMGetOperand(v, 0)) && !may_fold(LLVMGetOperand(v, 1));
  case LLVMFPTrunc: return !LLVMIsAFPExtInst(LLVMGetOperand(v, 0));
  case LLVMFPExt: return !LLVMIsAFPTruncInst(LLVMGetOperand(v, 0));
  case LLVMSIToFP:
  case LLVMUIToFP: return true;
  default: return false;
  }
}

static LLVMValueRef quiet_whole(struct fixup *x, LLVMValueRef v) {
  static const char name[] = "llvm.canonicalize";
  LLVMTypeRef type = LLVMTypeOf(v);
  unsigned id = LLVMLookupIntrinsicID(name, sizeof name - 1);
  return LLVMBuildCall2(x->builder, LLVMIntrinsicGetType(x->context, id, &type, 1),
                        LLVMGetIntrinsicDeclaration(x->module, id, &type, 1), &v, 1, "");
}

/* LLVM 22 ends the process for vectors that it must widen first, as <2 x float>. */
static LLVMValueRef quiet(struct fixup *x, LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v), i32 = LLVMInt32TypeInContext(x->context);
  unsigned n = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetVectorSize(type) : 0;
  unsigned bits = n * (canonical_of(type) == VALUE_NAN_F32 ? 32 : 64);
  if (!n || (bits >= 128 && !(bits & (bits - 1)))) return quiet_whole(x, v);
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef at = LLVMConstInt(i32, i, false);
    v = LLVMBuildInsertElement(x->builder, v, quiet_whole(x, LLVMBuildExtractElement(x->builder, v, at, "")), at, "");
  }
  return v;
}

/* Without optimisation constants are where they were written, and what they come to shows only in the code generator. */
static bool is_optimized(LLVMValueRef func) {
  static const char name[] = "optnone";
  unsigned kind = LLVMGetEnumAttributeKindForName(name, sizeof name - 1);
  return !LLVMGetEnumAttributeAtIndex(func, LLVMAttributeFunctionIndex, kind);
}

void fixup_quiet_operands(LLVMModuleRef module, bool has_passes) {
  static const char minimum[] = "llvm.minimum", maximum[] = "llvm.maximum";
  const unsigned ids[] = {LLVMLookupIntrinsicID(minimum, sizeof minimum - 1), LLVMLookupIntrinsicID(maximum, sizeof maximum - 1)};
  LLVMContextRef context = LLVMGetModuleContext(module);
  struct fixup x = {.context = context, .module = module, .builder = LLVMCreateBuilderInContext(context)};
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f)) {
    bool may_be_quiet = has_passes && is_optimized(f);
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v)) {
        unsigned id = LLVMIsAIntrinsicInst(v) ? LLVMGetIntrinsicID(LLVMGetCalledValue(v)) : 0;
        if (id != ids[0] && id != ids[1]) continue;
        LLVMPositionBuilderBefore(x.builder, v);
        for (unsigned i = 0; i < 2; i++)
          if (!may_be_quiet || !is_quiet(LLVMGetOperand(v, i))) LLVMSetOperand(v, i, quiet(&x, LLVMGetOperand(v, i)));
      }
  }
  LLVMDisposeBuilder(x.builder);
}
