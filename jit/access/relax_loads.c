/* Which guest loads LLVM may treat as plain loads.
 *
 * A guest load must trap when it is out of bounds, even if nobody uses what it reads, and whichever way the code goes on after
 * it. But LLVM deletes a plain load that no effect depends on, and may sink one into the only branch that uses it. If every load
 * were volatile, nothing could be folded, hoisted or vectorised. So loads are born volatile. In loops that count,
 * jit/access/ranges.c takes the trap in front of the loop, and loads are plain because nothing can be lost. Elsewhere a first
 * simplification folds what is the same whatever they read (x ^ x), and then a load becomes plain if something in its own block
 * needs its value: a call, a result, or the address of another load.
 *
 * Between the two lie instructions of the block that need all of what they take. A select does not need its arms: LLVM makes
 * branches of selects, and sinks into a branch what only it uses. For the same reason phis do not count. What else such an
 * instruction takes may turn out late to make the load needless, a factor to be 0: then only sums count.
 *
 * Stores do not count, for LLVM may find out that a later one writes to the same place, or that this one writes what is there.
 * Such a rule, with all that LLVM may find out in loops, stood here, and five attacks broke it (docs/fuzzing.md).
 *
 * The loads left over decide branches, are stored or are selected; producers put most others next to their uses. What LLVM's code
 * generator does with either kind of load is the business of jit/access/pin.c.
 *
 * LLVM also narrows a load of which only some bits or lanes matter, and then its other bytes would not trap. Where no use needs
 * the whole value, a `freeze` stands between: it costs nothing, can be vectorised, and nothing is narrowed through it. The code
 * generator sees through that of a vector, and for CPUs without AVX-512 it even narrows volatile ones (pmovzx and its like read
 * half of the bytes), so vectors needed in part are loaded in two volatile halves. */
#include "frontend/lower/values.h"
#include "jit/access/access.h"

#include <stdint.h>
#include <string.h>

/* What is known of a function. */
struct marks {
  struct value_set live, whole; /* what an effect depends on; what it needs in full */
  struct value_set anchored;    /* of the block at hand */
  struct value_set exact;       /* those of which other values give others to an effect */
  struct value_set read;        /* values of the block at hand that are made of what it reads */
};

/* LLVM looks into functions of the module, and drops the arguments that they do not use: as a use, such a call proves nothing. */
static bool keeps_operands(LLVMValueRef v) {
  return LLVMGetInstructionOpcode(v) != LLVMCall || !LLVMIsAFunction(LLVMGetCalledValue(v)) || LLVMIsAIntrinsicInst(v);
}

static bool has_guest_loads(LLVMValueRef func) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (value_is_guest_load(v)) return true;
  return false;
}

/* Adds to `live` everything that an effect depends on. */
static void mark_live(LLVMValueRef func, struct value_set *live) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (value_has_effect(v)) value_set_add(live, v);
  while (live->at < live->n) {
    LLVMValueRef v = live->list[live->at++];
    int n = keeps_operands(v) ? LLVMGetNumOperands(v) : 0;
    for (int i = 0; i < n; i++) value_set_add(live, LLVMGetOperand(v, (unsigned)i));
  }
}

/* Whether `v`, if all of it matters, needs all of its operands, as far as LLVM could tell. */
static bool needs_whole_operands(LLVMValueRef v) {
  size_t size; /* a rotation by what is read needs five bits of it */
  if (LLVMIsAIntrinsicInst(v) && strncmp(LLVMGetValueName2(LLVMGetCalledValue(v), &size), "llvm.fsh", 8) == 0)
    return LLVMIsConstant(LLVMGetOperand(v, 2));
  bool has_constant =
      LLVMGetNumOperands(v) == 2 && (LLVMIsConstant(LLVMGetOperand(v, 0)) || LLVMIsConstant(LLVMGetOperand(v, 1)));
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMTrunc:
  case LLVMShl:
  case LLVMLShr:
  case LLVMAShr:
  case LLVMExtractElement:
  case LLVMShuffleVector: return false;
  case LLVMAnd: /* by a constant: a mask, or may become one */
  case LLVMOr:
  case LLVMXor:
  case LLVMMul:
  case LLVMUDiv:
  case LLVMSDiv:
  case LLVMURem:
  case LLVMSRem: return !has_constant;
  case LLVMICmp: return !has_constant || LLVMGetICmpPredicate(v) == LLVMIntEQ || LLVMGetICmpPredicate(v) == LLVMIntNE;
  default: return true;
  }
}

/* Adds to `whole` everything of which an effect needs all bits. */
static void mark_whole(const struct value_set *live, struct value_set *whole) {
  for (size_t i = 0; i < live->n; i++)
    if (value_has_effect(live->list[i])) value_set_add(whole, live->list[i]);
  while (whole->at < whole->n) {
    LLVMValueRef v = whole->list[whole->at++];
    int n = keeps_operands(v) && needs_whole_operands(v) ? LLVMGetNumOperands(v) : 0;
    for (int i = 0; i < n; i++) value_set_add(whole, LLVMGetOperand(v, (unsigned)i));
  }
}

/* --- anchors ----------------------------------------------------------------------------------------------------------- */

/* Whether other values of the operand `v` always give other results, whatever the other operands are. */
static bool is_one_to_one(LLVMValueRef user, LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(user)) {
  case LLVMAdd:
  case LLVMSub:
  case LLVMXor: return LLVMGetOperand(user, 0) != LLVMGetOperand(user, 1);
  case LLVMZExt:
  case LLVMSExt:
  case LLVMBitCast:
  case LLVMFreeze: return true;
  case LLVMGetElementPtr: return LLVMGetOperand(user, 0) != v;
  default: return false;
  }
}

/* Whether `user` has other operands that are not known yet. */
static bool has_others(LLVMValueRef user, LLVMValueRef v) {
  int n = LLVMIsACallInst(user) ? (int)LLVMGetNumArgOperands(user) : LLVMGetNumOperands(user);
  for (int i = 0; i < n; i++) {
    LLVMValueRef w = LLVMGetOperand(user, (unsigned)i);
    if (w != v && !LLVMIsConstant(w)) return true;
  }
  return false;
}

/* Whether `user` has another operand that is made of what its block reads, which may turn out to be the same. */
static bool has_other_read(const struct marks *m, LLVMValueRef user, LLVMValueRef v) {
  for (int i = 0, n = LLVMGetNumOperands(user); i < n; i++) {
    LLVMValueRef w = LLVMGetOperand(user, (unsigned)i);
    if (w != v && LLVMIsAInstruction(w) && value_set_has(&m->read, w)) return true;
  }
  return false;
}

static bool ends_there(LLVMValueRef user) { return value_has_effect(user) && !LLVMIsAStoreInst(user) && keeps_operands(user); }

/* Whether an effect of its own block depends on `v` by `user`, and adds to `exact` what does by sums alone; the two sets hold the
 * answer for all later instructions of the block. Behind a sum with what is not known yet nothing else may follow: of a byte and
 * what turns out to be 0 it is known how it compares with 256. A load whose address depends on it stays: it is volatile or
 * anchored itself, and ranges.c takes no address from its own block. */
static bool is_anchored_by(struct marks *m, LLVMValueRef v, LLVMValueRef user, LLVMBasicBlockRef block) {
  if (LLVMIsAPHINode(user) || LLVMGetInstructionParent(user) != block) return false;
  bool is_end = ends_there(user) || value_is_guest_load(user);
  if (is_end || (value_set_has(&m->exact, user) && is_one_to_one(user, v) && !has_other_read(m, user, v))) {
    value_set_add(&m->exact, v);
    return true;
  }
  return value_set_has(&m->anchored, user) && value_needs(user, v) && !has_others(user, v);
}

static bool is_anchored(struct marks *m, LLVMValueRef v) {
  LLVMBasicBlockRef block = LLVMGetInstructionParent(v);
  bool is = false;
  for (LLVMUseRef use = LLVMGetFirstUse(v); use && !value_set_has(&m->exact, v); use = LLVMGetNextUse(use))
    is |= is_anchored_by(m, v, LLVMGetUser(use), block);
  return is;
}

static bool is_byte(LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v);
  return LLVMGetTypeKind(type) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(type) == 8;
}

/* Puts a freeze between a load and its uses. */
static void freeze(LLVMBuilderRef builder, LLVMValueRef load) {
  LLVMPositionBuilderBefore(builder, LLVMGetNextInstruction(load));
  LLVMValueRef frozen = LLVMBuildFreeze(builder, load, "");
  LLVMReplaceAllUsesWith(load, frozen);
  LLVMSetOperand(frozen, 0, load);
}

/* A volatile load of 64 bits at `load`'s address and `offset` on, in front of it. */
static LLVMValueRef load_half(LLVMBuilderRef builder, LLVMValueRef load, uint64_t offset) {
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(load));
  LLVMTypeRef i64 = LLVMInt64TypeInContext(context), i8 = LLVMInt8TypeInContext(context);
  unsigned tbaa = LLVMGetMDKindIDInContext(context, "tbaa", 4);
  LLVMValueRef at = LLVMConstInt(i64, offset, false);
  LLVMValueRef v = LLVMBuildLoad2(builder, i64, LLVMBuildGEP2(builder, i8, LLVMGetOperand(load, 0), &at, 1, ""), "");
  LLVMSetAlignment(v, VALUE_GUEST_ALIGNMENT);
  LLVMSetVolatile(v, true);
  if (LLVMGetMetadata(load, tbaa)) LLVMSetMetadata(v, tbaa, LLVMGetMetadata(load, tbaa));
  return v;
}

/* Loads the vector in two halves; returns the last instruction that stands in place of `load`. */
static LLVMValueRef load_in_halves(LLVMBuilderRef builder, LLVMValueRef load) {
  LLVMTypeRef type = LLVMTypeOf(load), i32 = LLVMInt32TypeInContext(LLVMGetTypeContext(type));
  LLVMValueRef v = LLVMGetPoison(type);
  LLVMPositionBuilderBefore(builder, load);
  for (unsigned i = 0; i < 2; i++)
    v = LLVMBuildInsertElement(builder, v, load_half(builder, load, 8 * i), LLVMConstInt(i32, i, false), "");
  LLVMReplaceAllUsesWith(load, v);
  LLVMInstructionEraseFromParent(load);
  return v;
}

/* What v128.load reads; other vector loads are of 64 bits, all of them needed. */
static bool is_v128(LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v);
  if (LLVMGetTypeKind(type) != LLVMVectorTypeKind || LLVMGetVectorSize(type) != 2) return false;
  LLVMTypeRef lane = LLVMGetElementType(type);
  return LLVMGetTypeKind(lane) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(lane) == 64;
}

void access_pin_vectors(LLVMModuleRef llvm_module) {
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(llvm_module));
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
        if (value_is_guest_load(v) && LLVMGetVolatile(v) && is_v128(v)) v = load_in_halves(builder, v);
  LLVMDisposeBuilder(builder);
}

static void mark_read(struct marks *m, LLVMBasicBlockRef block) {
  value_set_empty(&m->read);
  for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v)) {
    bool is_read = value_is_guest_load(v);
    for (int i = 0, n = LLVMIsAPHINode(v) ? 0 : LLVMGetNumOperands(v); i < n && !is_read; i++)
      is_read = LLVMIsAInstruction(LLVMGetOperand(v, (unsigned)i)) && value_set_has(&m->read, LLVMGetOperand(v, (unsigned)i));
    if (is_read) value_set_add(&m->read, v);
  }
}

static void relax_in_block(LLVMBuilderRef builder, LLVMBasicBlockRef block, struct marks *m) {
  value_set_empty(&m->anchored);
  value_set_empty(&m->exact);
  mark_read(m, block);
  for (LLVMValueRef v = LLVMGetLastInstruction(block); v; v = LLVMGetPreviousInstruction(v)) {
    if (value_is_guest_load(v) && !LLVMGetVolatile(v)) continue; /* its range is looked at */
    if (!value_set_has(&m->read, v) || !is_anchored(m, v)) continue;
    value_set_add(&m->anchored, v);
    if (!value_is_guest_load(v)) continue;
    bool is_whole = value_set_has(&m->whole, v) || is_byte(v);
    if (!is_whole && LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind) continue;
    LLVMSetVolatile(v, false);
    if (!is_whole) freeze(builder, v);
  }
}

bool access_are_checked(const struct module *m) {
  for (uint32_t i = 0; i < m->n_memories; i++)
    if (!m->memories[i].type.limits.is_64 && m->memories[i].type.limits.page_size_log2 == 16) return false;
  return true;
}

void access_free_loads(LLVMModuleRef llvm_module) {
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
        if (value_is_guest_load(v)) LLVMSetVolatile(v, false);
}

void access_relax_loads(LLVMModuleRef llvm_module) {
  struct marks m = {0};
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(llvm_module));
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f)) {
    if (!has_guest_loads(f)) continue;
    value_set_empty(&m.live);
    value_set_empty(&m.whole);
    mark_live(f, &m.live);
    mark_whole(&m.live, &m.whole);
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b)) relax_in_block(builder, b, &m);
  }
  value_set_free(&m.live);
  value_set_free(&m.whole);
  value_set_free(&m.anchored);
  value_set_free(&m.exact);
  value_set_free(&m.read);
  LLVMDisposeBuilder(builder);
}
