/* Which guest loads LLVM may treat as plain loads.
 *
 * A guest load must trap when it is out of bounds, even if nobody uses what it reads, and whichever way the code goes on after
 * it. But LLVM deletes a plain load that no effect depends on, and may sink one into the only branch that uses it. If every load
 * were volatile, nothing could be folded, hoisted or vectorised. So loads are born volatile, a first simplification folds what is
 * the same whatever they read (x ^ x), and then a load becomes plain if
 *
 *   - something with an effect (a store, a call, a result) depends on it, and
 *   - already in its own block: through instructions of that block, to an effect there or to a phi that the block leads to.
 *
 * The loads left over are those that only decide branches, which LLVM drops when both ways do the same, and few others, because
 * producers put loads next to their uses.
 *
 * LLVM also narrows a load of which only some bits or lanes matter, and then its other bytes would not trap. Where no use needs
 * the whole value, a `freeze` stands between: it costs nothing, can be vectorised, and nothing is narrowed through it. The code
 * generator sees through that of a vector, and for CPUs without AVX-512 it even narrows volatile ones (pmovzx and its like read
 * half of the bytes), so vectors needed in part are loaded in two volatile halves. */
#include "frontend/lower.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* An open-addressing set of values that also is the worklist. */
struct value_set {
  LLVMValueRef *slots, *list;
  size_t capacity, n, at;
};

static size_t slot_of(const struct value_set *s, LLVMValueRef v) {
  size_t i = ((uintptr_t)v >> 4) * 0x9e3779b97f4a7c15ull >> 20 & (s->capacity - 1);
  while (s->slots[i] && s->slots[i] != v) i = (i + 1) & (s->capacity - 1);
  return i;
}

static void set_grow(struct value_set *s) {
  s->capacity = s->capacity ? s->capacity * 2 : 1024;
  free(s->slots);
  s->slots = calloc(s->capacity, sizeof *s->slots);
  s->list = realloc(s->list, s->capacity / 2 * sizeof *s->list);
  if (!s->slots || !s->list) abort();
  for (size_t i = 0; i < s->n; i++) s->slots[slot_of(s, s->list[i])] = s->list[i];
}

static void set_add(struct value_set *s, LLVMValueRef v) {
  if (!LLVMIsAInstruction(v)) return;
  if (s->n >= s->capacity / 2) set_grow(s);
  size_t i = slot_of(s, v);
  if (s->slots[i]) return;
  s->slots[i] = v;
  s->list[s->n++] = v;
}

static bool set_has(const struct value_set *s, LLVMValueRef v) { return s->slots[slot_of(s, v)] != NULL; }

/* In time that follows what is in it, not how large it once was. */
static void set_empty(struct value_set *s) {
  if (s->n > s->capacity / 8) {
    memset(s->slots, 0, s->capacity * sizeof *s->slots);
  } else {
    for (size_t i = s->n; i-- > 0;) s->slots[slot_of(s, s->list[i])] = NULL;
  }
  s->n = s->at = 0;
}

static void set_free(struct value_set *s) {
  free(s->slots);
  free(s->list);
}

static bool is_intrinsic(LLVMValueRef call) {
  LLVMValueRef callee = LLVMGetCalledValue(call);
  return LLVMIsAFunction(callee) && LLVMGetIntrinsicID(callee) != 0;
}

/* Branches are not effects: arms that do the same, or turn out to, are merged, and the branch goes. */
static bool has_effect(LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMStore:
  case LLVMRet: return true;
  case LLVMCall: return !is_intrinsic(v);
  default: return false;
  }
}

/* LLVM looks into functions of the module, and drops the arguments that they do not use: as a use, such a call proves nothing. */
static bool keeps_operands(LLVMValueRef v) {
  return LLVMGetInstructionOpcode(v) != LLVMCall || !LLVMIsAFunction(LLVMGetCalledValue(v)) || is_intrinsic(v);
}

static bool is_guest_load(LLVMValueRef v) { return LLVMGetInstructionOpcode(v) == LLVMLoad && LLVMGetAlignment(v) == 1; }

static bool has_guest_loads(LLVMValueRef func) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (is_guest_load(v)) return true;
  return false;
}

/* Adds to `live` everything that an effect depends on. */
static void mark_live(LLVMValueRef func, struct value_set *live) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (has_effect(v)) set_add(live, v);
  while (live->at < live->n) {
    LLVMValueRef v = live->list[live->at++];
    int n = keeps_operands(v) ? LLVMGetNumOperands(v) : 0;
    for (int i = 0; i < n; i++) set_add(live, LLVMGetOperand(v, (unsigned)i));
  }
}

/* Whether `v`, if all of it matters, needs all of its operands, as far as LLVM could tell. */
static bool needs_whole_operands(LLVMValueRef v) {
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
    if (has_effect(live->list[i])) set_add(whole, live->list[i]);
  while (whole->at < whole->n) {
    LLVMValueRef v = whole->list[whole->at++];
    int n = keeps_operands(v) && needs_whole_operands(v) ? LLVMGetNumOperands(v) : 0;
    for (int i = 0; i < n; i++) set_add(whole, LLVMGetOperand(v, (unsigned)i));
  }
}

/* Whether an effect in the value's own block, or a phi behind it, depends on it; `anchored` holds the answer for all later
 * instructions of the block. */
static bool is_anchored(LLVMValueRef v, const struct value_set *live, const struct value_set *anchored) {
  if (has_effect(v)) return true;
  for (LLVMUseRef use = LLVMGetFirstUse(v); use; use = LLVMGetNextUse(use)) {
    LLVMValueRef user = LLVMGetUser(use);
    bool is_phi = LLVMGetInstructionOpcode(user) == LLVMPHI;
    if (is_phi ? set_has(live, user) : set_has(anchored, user) && keeps_operands(user)) return true;
  }
  return false;
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
  LLVMSetAlignment(v, 1);
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

void lower_pin_vectors(LLVMModuleRef llvm_module) {
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(llvm_module));
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
        if (is_guest_load(v) && LLVMGetVolatile(v) && is_v128(v)) v = load_in_halves(builder, v);
  LLVMDisposeBuilder(builder);
}

struct marks {
  struct value_set live, whole, anchored;
};

static void relax_in_block(LLVMBuilderRef builder, LLVMBasicBlockRef block, struct marks *m) {
  set_empty(&m->anchored);
  for (LLVMValueRef v = LLVMGetLastInstruction(block); v; v = LLVMGetPreviousInstruction(v)) {
    if (LLVMIsAPHINode(v) || !is_anchored(v, &m->live, &m->anchored)) continue;
    set_add(&m->anchored, v);
    if (!is_guest_load(v)) continue;
    bool is_whole = set_has(&m->whole, v) || is_byte(v);
    if (!is_whole && LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind) continue;
    LLVMSetVolatile(v, false);
    if (!is_whole) freeze(builder, v);
  }
}

void lower_relax_loads(LLVMModuleRef llvm_module) {
  struct marks m = {0};
  struct value_set *sets[] = {&m.live, &m.whole, &m.anchored};
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(llvm_module));
  for (int i = 0; i < 3; i++) set_grow(sets[i]);
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f)) {
    if (!has_guest_loads(f)) continue;
    set_empty(&m.live);
    set_empty(&m.whole);
    mark_live(f, &m.live);
    mark_whole(&m.live, &m.whole);
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b)) relax_in_block(builder, b, &m);
  }
  for (int i = 0; i < 3; i++) set_free(sets[i]);
  LLVMDisposeBuilder(builder);
}
