#include "frontend/lower/values.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t slot_of(const struct value_set *s, LLVMValueRef v) {
  size_t i = ((uintptr_t)v >> 4) * 0x9e3779b97f4a7c15ull >> 20 & (s->capacity - 1);
  while (s->slots[i] && s->slots[i] != v) i = (i + 1) & (s->capacity - 1);
  return i;
}

void value_set_grow(struct value_set *s) {
  s->capacity = s->capacity ? s->capacity * 2 : 1024;
  free(s->slots);
  s->slots = calloc(s->capacity, sizeof *s->slots);
  s->list = realloc(s->list, s->capacity / 2 * sizeof *s->list);
  if (!s->slots || !s->list) abort();
  for (size_t i = 0; i < s->n; i++) s->slots[slot_of(s, s->list[i])] = s->list[i];
}

void value_set_add(struct value_set *s, LLVMValueRef v) {
  if (!LLVMIsAInstruction(v)) return;
  if (s->n >= s->capacity / 2) value_set_grow(s);
  size_t i = slot_of(s, v);
  if (s->slots[i]) return;
  s->slots[i] = v;
  s->list[s->n++] = v;
}

bool value_set_has(const struct value_set *s, LLVMValueRef v) { return s->slots[slot_of(s, v)] != NULL; }

void value_set_empty(struct value_set *s) {
  if (s->n > s->capacity / 8) {
    memset(s->slots, 0, s->capacity * sizeof *s->slots);
  } else {
    for (size_t i = s->n; i-- > 0;) s->slots[slot_of(s, s->list[i])] = NULL;
  }
  s->n = s->at = 0;
}

void value_set_free(struct value_set *s) {
  free(s->slots);
  free(s->list);
}

bool value_is_guest_access(LLVMValueRef v) { return value_is_guest_load(v) || value_is_guest_store(v); }

bool value_is_guest_load(LLVMValueRef v) { return LLVMIsALoadInst(v) && LLVMGetAlignment(v) == VALUE_GUEST_ALIGNMENT; }

bool value_is_guest_store(LLVMValueRef v) { return LLVMIsAStoreInst(v) && LLVMGetAlignment(v) == VALUE_GUEST_ALIGNMENT; }

bool value_has_effect(LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMStore:
  case LLVMRet: return true;
  case LLVMCall: return !LLVMIsAIntrinsicInst(v);
  default: return false;
  }
}

bool value_is_addition(LLVMValueRef v) {
  if (!LLVMIsAInstruction(v)) return false;
  LLVMOpcode op = LLVMGetInstructionOpcode(v);
  return op == LLVMAdd || (op == LLVMOr && LLVMGetIsDisjoint(v));
}

bool value_is_byte_gep(LLVMValueRef v) {
  if (!LLVMIsAGetElementPtrInst(v) || LLVMGetNumIndices(v) != 1) return false;
  LLVMTypeRef type = LLVMGetGEPSourceElementType(v);
  return LLVMGetTypeKind(type) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(type) == 8;
}

bool value_is_boolean(LLVMTypeRef type) {
  if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) type = LLVMGetElementType(type);
  return LLVMGetTypeKind(type) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(type) == 1;
}

/* All bits or none, or all bits but one or none: what a select may be made of. */
static bool is_mask(LLVMValueRef v) {
  while (LLVMIsABitCastInst(v) || LLVMIsAFreezeInst(v)) v = LLVMGetOperand(v, 0);
  return (LLVMIsASExtInst(v) || LLVMIsAZExtInst(v)) && value_is_boolean(LLVMTypeOf(LLVMGetOperand(v, 0)));
}

LLVMTypeRef value_lane_type(LLVMTypeRef type) {
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

/* The sign of a magnitude, and the magnitude of a sign, are not needed. */
static bool is_sign_operation(LLVMValueRef call) {
  size_t size;
  const char *name = LLVMIsAIntrinsicInst(call) ? LLVMGetValueName2(LLVMGetCalledValue(call), &size) : "";
  return strncmp(name, "llvm.copysign.", 14) == 0 || strncmp(name, "llvm.fabs.", 10) == 0;
}

bool value_needs(LLVMValueRef user, LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(user)) {
  case LLVMSelect: return LLVMGetOperand(user, 0) == v;
  case LLVMAnd: return LLVMIsConstant(LLVMGetOperand(user, 1));
  case LLVMCall: return !is_sign_operation(user);
  case LLVMMul:
  case LLVMOr: return !is_mask(LLVMGetOperand(user, 0)) && !is_mask(LLVMGetOperand(user, 1));
  case LLVMExtractElement:
  case LLVMInsertElement:
  case LLVMShuffleVector: return LLVMGetTypeKind(LLVMTypeOf(v)) != LLVMVectorTypeKind;
  default: return true;
  }
}

const char *value_constraint(LLVMTargetDataRef layout, LLVMTypeRef type) {
  unsigned long long bits = LLVMTypeIsSized(type) ? LLVMSizeOfTypeInBits(layout, type) : 0;
  switch (LLVMGetTypeKind(type)) {
  case LLVMIntegerTypeKind: return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? "=r,0" : NULL;
  case LLVMFloatTypeKind:
  case LLVMDoubleTypeKind: return "=x,0";
  case LLVMVectorTypeKind: return bits == 128 && !value_is_boolean(type) ? "=x,0" : NULL;
  default: return NULL;
  }
}

LLVMValueRef value_hide(LLVMBuilderRef builder, LLVMTargetDataRef layout, LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v), asm_type = LLVMFunctionType(type, &type, 1, false);
  const char *constraint = value_constraint(layout, type);
  LLVMValueRef code =
      LLVMGetInlineAsm(asm_type, "", 0, constraint, strlen(constraint), true, false, LLVMInlineAsmDialectATT, false);
  return LLVMBuildCall2(builder, asm_type, code, &v, 1, "");
}

bool value_is_hidden(LLVMValueRef v) {
  size_t size = 1;
  LLVMValueRef code = LLVMIsACallInst(v) ? LLVMGetCalledValue(v) : NULL;
  return code && LLVMIsAInlineAsm(code) && LLVMGetInlineAsmAsmString(code, &size) && !size;
}
