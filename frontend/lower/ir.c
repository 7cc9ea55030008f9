#include "frontend/lower/ir.h"

#include "frontend/lower/values.h"

#include <string.h>

LLVMTypeRef ir_type(const struct ir *ir, val_type t) {
  switch (val_kind(t)) {
  case VAL_I32: return ir->i32;
  case VAL_I64: return ir->i64;
  case VAL_F32: return ir->f32;
  case VAL_F64: return ir->f64;
  case VAL_V128: return LLVMVectorType(ir->i64, 2);
  default: return ir->ptr;
  }
}

LLVMValueRef ir_i32(const struct ir *ir, uint32_t v) { return LLVMConstInt(ir->i32, v, false); }
LLVMValueRef ir_i64(const struct ir *ir, uint64_t v) { return LLVMConstInt(ir->i64, v, false); }

LLVMValueRef ir_offset(const struct ir *ir, LLVMValueRef base, uint64_t offset) {
  LLVMValueRef index = ir_i64(ir, offset);
  return offset ? LLVMBuildInBoundsGEP2(ir->builder, ir->i8, base, &index, 1, "") : base;
}

LLVMValueRef ir_load_constant(const struct ir *ir, LLVMTypeRef type, LLVMValueRef base, uint64_t offset) {
  LLVMValueRef v = LLVMBuildLoad2(ir->builder, type, ir_offset(ir, base, offset), "");
  LLVMSetMetadata(v, ir->invariant_kind, ir->empty_node);
  return v;
}

LLVMValueRef ir_load(const struct ir *ir, enum alias alias, LLVMTypeRef type, LLVMValueRef address, const char *name) {
  LLVMValueRef v = LLVMBuildLoad2(ir->builder, type, address, name);
  LLVMSetMetadata(v, ir->tbaa_kind, ir->alias_tags[alias]);
  if (alias == ALIAS_GUEST) {
    LLVMSetAlignment(v, VALUE_GUEST_ALIGNMENT);
    LLVMSetVolatile(v, true); /* for now: jit/access/relax_loads.c */
  }
  return v;
}

LLVMValueRef ir_store(const struct ir *ir, enum alias alias, LLVMValueRef value, LLVMValueRef address) {
  LLVMValueRef v = LLVMBuildStore(ir->builder, value, address);
  LLVMSetMetadata(v, ir->tbaa_kind, ir->alias_tags[alias]);
  if (alias == ALIAS_GUEST) LLVMSetAlignment(v, VALUE_GUEST_ALIGNMENT);
  if (ir->is_exact && alias != ALIAS_EXEC) LLVMSetVolatile(v, true);
  return v;
}

static LLVMValueRef call_intrinsic(const struct ir *ir, const char *name, LLVMTypeRef *overload, unsigned n_overload,
                                   LLVMValueRef *args, unsigned n) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef decl = LLVMGetIntrinsicDeclaration(ir->module, id, overload, n_overload);
  return LLVMBuildCall2(ir->builder, LLVMIntrinsicGetType(ir->context, id, overload, n_overload), decl, args, n, "");
}

LLVMValueRef ir_intrinsic(const struct ir *ir, const char *name, LLVMTypeRef type, LLVMValueRef *args, unsigned n) {
  return call_intrinsic(ir, name, &type, type ? 1 : 0, args, n);
}

LLVMValueRef ir_intrinsic2(const struct ir *ir, const char *name, LLVMTypeRef result, LLVMTypeRef type, LLVMValueRef arg) {
  LLVMTypeRef overload[2] = {result, type};
  return call_intrinsic(ir, name, overload, 2, &arg, 1);
}

static LLVMTypeRef signature_type(const struct ir *ir, char c) { return c == 'i' ? ir->i32 : c == 'I' ? ir->i64 : ir->ptr; }

LLVMTypeRef ir_helper_type(const struct ir *ir, const char *signature, unsigned *n_params) {
  LLVMTypeRef params[8] = {ir->ptr};
  unsigned n = 1;
  const char *params_at = strchr(signature, '_') + 1;
  for (const char *c = params_at; *c; c++) params[n++] = signature_type(ir, *c);
  *n_params = n;
  return LLVMFunctionType(*signature == '_' ? ir->void_type : signature_type(ir, *signature), params, n, false);
}

LLVMValueRef ir_exec(const struct ir *ir, uint64_t offset) {
  return LLVMConstIntToPtr(ir_i64(ir, offset), LLVMPointerTypeInContext(ir->context, EXEC_ADDRESS_SPACE));
}

LLVMValueRef ir_result(const struct ir *ir, uint32_t i) {
  return ir_exec(ir, offsetof(struct exec_ctx, results) + i * sizeof(union gw_value));
}

LLVMValueRef ir_call_helper(const struct ir *ir, LLVMValueRef vmctx, size_t offset, const char *signature, LLVMValueRef *args) {
  unsigned n;
  LLVMTypeRef type = ir_helper_type(ir, signature, &n);
  LLVMValueRef values[8] = {vmctx};
  for (unsigned i = 1; i < n; i++) values[i] = args[i - 1];
  LLVMValueRef table = ir_load_constant(ir, ir->ptr, vmctx, offsetof(struct vmctx, helpers));
  LLVMValueRef callee = ir_load_constant(ir, ir->ptr, table, offset);
  LLVMValueRef call = LLVMBuildCall2(ir->builder, type, callee, values, n, "");
  LLVMSetTailCallKind(call, LLVMTailCallKindNoTail); /* the helper finds its caller from the return address */
  return call;
}

/* --- attributes ---------------------------------------------------------------------------------------------------- */

void ir_add_attribute(const struct ir *ir, LLVMValueRef func, LLVMAttributeIndex at, const char *name, uint64_t value) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(func, at, LLVMCreateEnumAttribute(ir->context, kind, value));
}

void ir_add_string_attribute(const struct ir *ir, LLVMValueRef func, const char *name, const char *value) {
  LLVMAddAttributeAtIndex(func, LLVMAttributeFunctionIndex,
                          LLVMCreateStringAttribute(ir->context, name, strlen(name), value, strlen(value)));
}

void ir_set_unoptimized(const struct ir *ir, LLVMValueRef func) {
  ir_add_attribute(ir, func, LLVMAttributeFunctionIndex, "optnone", 0); /* wants noinline, which all have */
}

/* --- the counter that is handed over ------------------------------------------------------------------------------- */

LLVMAttributeRef ir_handed_attribute(const struct ir *ir) {
  static const char name[] = "swifterror";
  return LLVMCreateEnumAttribute(ir->context, LLVMGetEnumAttributeKindForName(name, sizeof name - 1), 0);
}

LLVMValueRef ir_handed(const struct ir *ir, LLVMValueRef func) {
  unsigned n = LLVMCountParams(func), kind = LLVMGetEnumAttributeKind(ir_handed_attribute(ir));
  return n && LLVMGetEnumAttributeAtIndex(func, n, kind) ? LLVMGetParam(func, n - 1) : NULL;
}

void ir_hand_over(const struct ir *ir, LLVMValueRef call) {
  LLVMAddCallSiteAttribute(call, LLVMGetNumArgOperands(call), ir_handed_attribute(ir));
}

/* LLVM wants what it keeps there to be a pointer. */
LLVMValueRef ir_load_handed(const struct ir *ir, LLVMValueRef handed) {
  return LLVMBuildPtrToInt(ir->builder, ir_load(ir, ALIAS_EXEC, ir->ptr, handed, ""), ir->i64, "");
}

void ir_store_handed(const struct ir *ir, LLVMValueRef value, LLVMValueRef handed) {
  ir_store(ir, ALIAS_EXEC, LLVMBuildIntToPtr(ir->builder, value, ir->ptr, ""), handed);
}

/* --- types and alias facts ----------------------------------------------------------------------------------------- */

static void init_types(struct ir *ir) {
  LLVMContextRef c = ir->context;
  ir->i1 = LLVMInt1TypeInContext(c);
  ir->i8 = LLVMInt8TypeInContext(c);
  ir->i16 = LLVMInt16TypeInContext(c);
  ir->i32 = LLVMInt32TypeInContext(c);
  ir->i64 = LLVMInt64TypeInContext(c);
  ir->f32 = LLVMFloatTypeInContext(c);
  ir->f64 = LLVMDoubleTypeInContext(c);
  ir->ptr = LLVMPointerTypeInContext(c, 0);
  ir->void_type = LLVMVoidTypeInContext(c);
}

static LLVMMetadataRef md_string(const struct ir *ir, const char *s) { return LLVMMDStringInContext2(ir->context, s, strlen(s)); }

/* One TBAA type per kind of memory, siblings under one root, each used as its own access tag. */
static void init_aliases(struct ir *ir) {
  static const char *const names[ALIAS_COUNT] = {
      [ALIAS_GUEST] = "guest memory", [ALIAS_GLOBAL] = "global", [ALIAS_TABLE] = "table",
      [ALIAS_ENTRY] = "table entry",  [ALIAS_EXEC] = "exec",
  };
  ir->tbaa_kind = LLVMGetMDKindIDInContext(ir->context, "tbaa", 4);
  ir->invariant_kind = LLVMGetMDKindIDInContext(ir->context, "invariant.load", 14);
  ir->empty_node = LLVMMetadataAsValue(ir->context, LLVMMDNodeInContext2(ir->context, NULL, 0));
  LLVMMetadataRef root_name = md_string(ir, "gasworks");
  LLVMMetadataRef root = LLVMMDNodeInContext2(ir->context, &root_name, 1);
  LLVMMetadataRef zero = LLVMValueAsMetadata(ir_i64(ir, 0));
  for (int i = 0; i < ALIAS_COUNT; i++) {
    LLVMMetadataRef fields[3] = {md_string(ir, names[i]), root, zero};
    LLVMMetadataRef type = LLVMMDNodeInContext2(ir->context, fields, 3);
    LLVMMetadataRef tag[3] = {type, type, zero};
    ir->alias_tags[i] = LLVMMetadataAsValue(ir->context, LLVMMDNodeInContext2(ir->context, tag, 3));
  }
}

void ir_init(struct ir *ir, LLVMModuleRef module) {
  ir->module = module;
  ir->context = LLVMGetModuleContext(module);
  ir->builder = LLVMCreateBuilderInContext(ir->context);
  init_types(ir);
  init_aliases(ir);
}
