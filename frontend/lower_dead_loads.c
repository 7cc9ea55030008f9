/* A guest load must trap when it is out of bounds, even if nobody uses what it reads. Making every load volatile would keep
 * them all and forbid folding, hoisting and vectorising. So: mark what effects depend on (stores, calls, control flow),
 * backwards through operands; the guest loads left over are few, and only those become volatile. */
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

static void set_empty(struct value_set *s) {
  if (s->n) memset(s->slots, 0, s->capacity * sizeof *s->slots);
  s->n = s->at = 0;
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

static void pin_in_function(LLVMValueRef func, struct value_set *live) {
  bool has_loads = false;
  set_empty(live);
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v)) {
      if (has_effect(v)) set_add(live, v);
      has_loads |= is_guest_load(v);
    }
  if (!has_loads) return;
  while (live->at < live->n) {
    LLVMValueRef v = live->list[live->at++];
    int n = LLVMGetNumOperands(v);
    for (int i = 0; i < n; i++) set_add(live, LLVMGetOperand(v, (unsigned)i));
  }
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (is_guest_load(v) && live->slots[slot_of(live, v)] == NULL) LLVMSetVolatile(v, true);
}

void lower_pin_dead_loads(LLVMModuleRef llvm_module) {
  struct value_set live = {0};
  set_grow(&live);
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f)) pin_in_function(f, &live);
  free(live.slots);
  free(live.list);
}
