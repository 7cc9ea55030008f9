/* Which guest loads LLVM may treat as plain loads.
 *
 * A guest load must trap when it is out of bounds, even if nobody uses what it reads, and whichever way the code goes on after
 * it. But LLVM deletes a plain load that no effect depends on, and may sink one into the only branch that uses it. If every load
 * were volatile, nothing could be folded, hoisted or vectorised. So loads are born volatile, a first simplification folds what is
 * the same whatever they read (x ^ x), and then a load becomes plain if
 *
 *   - something with an effect (a store, a call, control flow) depends on it, and
 *   - already in its own block: through instructions of that block, to an effect there or to a phi that the block leads to.
 *
 * The loads left over are few, because producers put loads next to their uses. */
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

static bool has_effect(LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMStore:
  case LLVMRet:
  case LLVMBr:
  case LLVMSwitch: return true;
  case LLVMCall: return !is_intrinsic(v);
  default: return false;
  }
}

static bool is_guest_load(LLVMValueRef v) { return LLVMGetInstructionOpcode(v) == LLVMLoad && LLVMGetAlignment(v) == 1; }

/* Adds to `live` everything that an effect depends on. Returns whether there are guest loads at all. */
static bool mark_live(LLVMValueRef func, struct value_set *live) {
  bool has_loads = false;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v)) {
      if (has_effect(v)) set_add(live, v);
      has_loads |= is_guest_load(v);
    }
  while (has_loads && live->at < live->n) {
    LLVMValueRef v = live->list[live->at++];
    int n = LLVMGetNumOperands(v);
    for (int i = 0; i < n; i++) set_add(live, LLVMGetOperand(v, (unsigned)i));
  }
  return has_loads;
}

/* Whether an effect in the value's own block, or a phi behind it, depends on it; `anchored` holds the answer for all later
 * instructions of the block. */
static bool is_anchored(LLVMValueRef v, const struct value_set *live, const struct value_set *anchored) {
  if (has_effect(v)) return true;
  for (LLVMUseRef use = LLVMGetFirstUse(v); use; use = LLVMGetNextUse(use)) {
    LLVMValueRef user = LLVMGetUser(use);
    bool is_phi = LLVMGetInstructionOpcode(user) == LLVMPHI;
    if (is_phi ? set_has(live, user) : set_has(anchored, user)) return true;
  }
  return false;
}

static void relax_in_block(LLVMBasicBlockRef block, const struct value_set *live, struct value_set *anchored) {
  set_empty(anchored);
  for (LLVMValueRef v = LLVMGetLastInstruction(block); v; v = LLVMGetPreviousInstruction(v)) {
    if (LLVMGetInstructionOpcode(v) == LLVMPHI || !is_anchored(v, live, anchored)) continue;
    set_add(anchored, v);
    if (is_guest_load(v)) LLVMSetVolatile(v, false);
  }
}

void lower_relax_loads(LLVMModuleRef llvm_module) {
  struct value_set live = {0}, anchored = {0};
  set_grow(&live);
  set_grow(&anchored);
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f)) {
    set_empty(&live);
    if (!mark_live(f, &live)) continue;
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b)) relax_in_block(b, &live, &anchored);
  }
  set_free(&live);
  set_free(&anchored);
}
