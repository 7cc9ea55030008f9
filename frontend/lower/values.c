#include "frontend/lower/values.h"

#include "base/array.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void value_set_add(struct value_set *s, LLVMValueRef v) {
  if (!LLVMIsAInstruction(v) || index_map_add(&s->members, v, (uint32_t)s->n) != s->n) return;
  if (s->n == s->capacity) array_grow(s->list, s->capacity, 512);
  s->list[s->n++] = v;
}

bool value_set_has(const struct value_set *s, LLVMValueRef v) { return index_map_find(&s->members, v) != INDEX_NONE; }

void value_set_empty(struct value_set *s) {
  index_map_empty(&s->members);
  s->n = s->at = 0;
}

void value_set_free(struct value_set *s) {
  index_map_free(&s->members);
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
