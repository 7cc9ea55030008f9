#include "frontend/lower/lower.h"

#include "frontend/lower/internal.h"
#include "instrument/meter/meter.h"

#include <llvm-c/IRReader.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

LLVMTypeRef lower_type(const struct lower *l, val_type t) {
  switch (val_kind(t)) {
  case VAL_I32: return l->i32;
  case VAL_I64: return l->i64;
  case VAL_F32: return l->f32;
  case VAL_F64: return l->f64;
  case VAL_V128: return LLVMVectorType(l->i64, 2);
  default: return l->ptr;
  }
}

LLVMValueRef lower_i32(const struct lower *l, uint32_t v) { return LLVMConstInt(l->i32, v, false); }
LLVMValueRef lower_i64(const struct lower *l, uint64_t v) { return LLVMConstInt(l->i64, v, false); }

LLVMValueRef lower_offset(const struct lower *l, LLVMValueRef base, uint64_t offset) {
  LLVMValueRef index = lower_i64(l, offset);
  return offset ? LLVMBuildInBoundsGEP2(l->builder, l->i8, base, &index, 1, "") : base;
}

LLVMValueRef lower_load_constant(const struct lower *l, LLVMTypeRef type, LLVMValueRef base, uint64_t offset) {
  LLVMValueRef v = LLVMBuildLoad2(l->builder, type, lower_offset(l, base, offset), "");
  LLVMSetMetadata(v, l->invariant_kind, l->empty_node);
  return v;
}

LLVMValueRef lower_load(const struct lower *l, enum alias alias, LLVMTypeRef type, LLVMValueRef address, const char *name) {
  LLVMValueRef v = LLVMBuildLoad2(l->builder, type, address, name);
  LLVMSetMetadata(v, l->tbaa_kind, l->alias_tags[alias]);
  if (alias == ALIAS_GUEST) {
    LLVMSetAlignment(v, 1);
    LLVMSetVolatile(v, true); /* for now: jit/access/relax_loads.c */
  }
  return v;
}

LLVMValueRef lower_store(const struct lower *l, enum alias alias, LLVMValueRef value, LLVMValueRef address) {
  LLVMValueRef v = LLVMBuildStore(l->builder, value, address);
  LLVMSetMetadata(v, l->tbaa_kind, l->alias_tags[alias]);
  return v;
}

static LLVMValueRef call_intrinsic(const struct lower *l, const char *name, LLVMTypeRef *overload, unsigned n_overload,
                                   LLVMValueRef *args, unsigned n) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef decl = LLVMGetIntrinsicDeclaration(l->module, id, overload, n_overload);
  return LLVMBuildCall2(l->builder, LLVMIntrinsicGetType(l->context, id, overload, n_overload), decl, args, n, "");
}

LLVMValueRef lower_intrinsic(const struct lower *l, const char *name, LLVMTypeRef type, LLVMValueRef *args, unsigned n) {
  return call_intrinsic(l, name, &type, type ? 1 : 0, args, n);
}

LLVMValueRef lower_intrinsic2(const struct lower *l, const char *name, LLVMTypeRef result, LLVMTypeRef type, LLVMValueRef arg) {
  LLVMTypeRef overload[2] = {result, type};
  return call_intrinsic(l, name, overload, 2, &arg, 1);
}

static LLVMTypeRef signature_type(const struct lower *l, char c) { return c == 'i' ? l->i32 : c == 'I' ? l->i64 : l->ptr; }

LLVMTypeRef lower_helper_type(const struct lower *l, const char *signature, unsigned *n_params) {
  LLVMTypeRef params[8] = {l->ptr};
  unsigned n = 1;
  const char *params_at = strchr(signature, '_') + 1;
  for (const char *c = params_at; *c; c++) params[n++] = signature_type(l, *c);
  *n_params = n;
  return LLVMFunctionType(*signature == '_' ? l->void_type : signature_type(l, *signature), params, n, false);
}

LLVMValueRef lower_exec(const struct lower *l, uint64_t offset) {
  return LLVMConstIntToPtr(lower_i64(l, offset), LLVMPointerTypeInContext(l->context, EXEC_ADDRESS_SPACE));
}

LLVMValueRef lower_result(const struct lower *l, uint32_t i) {
  return lower_exec(l, offsetof(struct exec_ctx, results) + i * sizeof(union gw_value));
}

LLVMValueRef lower_call_helper(const struct lower *l, LLVMValueRef vmctx, size_t offset, const char *signature,
                               LLVMValueRef *args) {
  unsigned n;
  LLVMTypeRef type = lower_helper_type(l, signature, &n);
  LLVMValueRef values[8] = {vmctx};
  for (unsigned i = 1; i < n; i++) values[i] = args[i - 1];
  LLVMValueRef table = lower_load_constant(l, l->ptr, vmctx, offsetof(struct vmctx, helpers));
  LLVMValueRef callee = lower_load_constant(l, l->ptr, table, offset);
  LLVMValueRef call = LLVMBuildCall2(l->builder, type, callee, values, n, "");
  LLVMSetTailCallKind(call, LLVMTailCallKindNoTail); /* the helper finds its caller from the return address */
  return call;
}

/* --- the module ------------------------------------------------------------------------------------------------- */

static void init_types(struct lower *l) {
  LLVMContextRef c = l->context;
  l->i1 = LLVMInt1TypeInContext(c);
  l->i8 = LLVMInt8TypeInContext(c);
  l->i16 = LLVMInt16TypeInContext(c);
  l->i32 = LLVMInt32TypeInContext(c);
  l->i64 = LLVMInt64TypeInContext(c);
  l->f32 = LLVMFloatTypeInContext(c);
  l->f64 = LLVMDoubleTypeInContext(c);
  l->ptr = LLVMPointerTypeInContext(c, 0);
  l->void_type = LLVMVoidTypeInContext(c);
}

static LLVMMetadataRef md_string(const struct lower *l, const char *s) {
  return LLVMMDStringInContext2(l->context, s, strlen(s));
}

/* One TBAA type per kind of memory, siblings under one root, each used as its own access tag. */
static void init_aliases(struct lower *l) {
  static const char *const names[ALIAS_COUNT] = {
      [ALIAS_GUEST] = "guest memory", [ALIAS_GLOBAL] = "global", [ALIAS_TABLE] = "table",
      [ALIAS_ENTRY] = "table entry",  [ALIAS_EXEC] = "exec",
  };
  l->tbaa_kind = LLVMGetMDKindIDInContext(l->context, "tbaa", 4);
  l->invariant_kind = LLVMGetMDKindIDInContext(l->context, "invariant.load", 14);
  l->empty_node = LLVMMetadataAsValue(l->context, LLVMMDNodeInContext2(l->context, NULL, 0));
  LLVMMetadataRef root_name = md_string(l, "gasworks");
  LLVMMetadataRef root = LLVMMDNodeInContext2(l->context, &root_name, 1);
  LLVMMetadataRef zero = LLVMValueAsMetadata(lower_i64(l, 0));
  for (int i = 0; i < ALIAS_COUNT; i++) {
    LLVMMetadataRef fields[3] = {md_string(l, names[i]), root, zero};
    LLVMMetadataRef type = LLVMMDNodeInContext2(l->context, fields, 3);
    LLVMMetadataRef tag[3] = {type, type, zero};
    l->alias_tags[i] = LLVMMetadataAsValue(l->context, LLVMMDNodeInContext2(l->context, tag, 3));
  }
}

static void init_markers(struct lower *l) {
  l->charge_type = LLVMFunctionType(l->void_type, &l->i64, 1, false);
  l->charge = LLVMAddFunction(l->module, GAS_CHARGE, l->charge_type);
  l->charge_check = LLVMAddFunction(l->module, GAS_CHARGE_CHECK, l->charge_type);
}

/* The internal calling convention of abi/abi.h. */
static LLVMTypeRef internal_type(const struct lower *l, const struct func_type *type, struct arena *arena) {
  uint32_t n = type->n_params + 2;
  LLVMTypeRef *params = arena_alloc_array(arena, n + 1, sizeof *params);
  params[0] = l->ptr;
  params[1] = l->i32;
  for (uint32_t i = 0; i < type->n_params; i++) params[i + 2] = lower_type(l, type->params[i]);
  if (lower_hands_over(l)) params[n++] = l->ptr;
  LLVMTypeRef result = type->n_results == 1 ? lower_type(l, type->results[0]) : l->void_type;
  return LLVMFunctionType(result, params, n, false);
}

static void add_attribute(const struct lower *l, LLVMValueRef func, LLVMAttributeIndex at, const char *name, uint64_t value) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(func, at, LLVMCreateEnumAttribute(l->context, kind, value));
}

static void add_string_attribute(const struct lower *l, LLVMValueRef func, const char *name, const char *value) {
  LLVMAddAttributeAtIndex(func, LLVMAttributeFunctionIndex,
                          LLVMCreateStringAttribute(l->context, name, strlen(name), value, strlen(value)));
}

void lower_set_unoptimized(const struct lower *l, LLVMValueRef func) {
  add_attribute(l, func, LLVMAttributeFunctionIndex, "optnone", 0); /* wants noinline, which all have */
}

static LLVMValueRef add_function(struct lower *l, const char *name, LLVMTypeRef type) {
  LLVMValueRef func = LLVMAddFunction(l->module, name, type);
  LLVMSetVisibility(func, LLVMHiddenVisibility); /* another part may call it; nobody else sees it */
  add_attribute(l, func, LLVMAttributeFunctionIndex, "nounwind", 0);
  /* The producer inlined already, and a fault's function is found from its address. */
  add_attribute(l, func, LLVMAttributeFunctionIndex, "noinline", 0);
  add_attribute(l, func, LLVMAttributeFunctionIndex, "noredzone", 0); /* checks call from the middle of leaves, too */
  /* A fault must happen at an address of ours: neither calls to libc (memcpy for a copy loop) nor a frame that
   * jumps over the stack's guard page. */
  add_string_attribute(l, func, "no-builtins", "");
  add_string_attribute(l, func, "probe-stack", "inline-asm");
  return func;
}

static void init_function_types(struct lower *l, struct arena *arena) {
  const struct module *m = l->m;
  l->func_types = arena_alloc_array(arena, m->n_types, sizeof *l->func_types);
  for (uint32_t i = 0; i < m->n_types; i++)
    if (m->types[i].kind == COMP_FUNC) l->func_types[i] = internal_type(l, &m->types[i].func, arena);
  l->funcs = arena_alloc_array(arena, m->n_funcs, sizeof *l->funcs);
}

/* --- the counter that is handed over ------------------------------------------------------------------------------- */

static LLVMAttributeRef handed_attribute(const struct lower *l) {
  static const char name[] = "swifterror";
  return LLVMCreateEnumAttribute(l->context, LLVMGetEnumAttributeKindForName(name, sizeof name - 1), 0);
}

LLVMValueRef lower_handed(const struct lower *l, LLVMValueRef func) {
  unsigned n = LLVMCountParams(func), kind = LLVMGetEnumAttributeKind(handed_attribute(l));
  return n && LLVMGetEnumAttributeAtIndex(func, n, kind) ? LLVMGetParam(func, n - 1) : NULL;
}

void lower_hand_over(const struct lower *l, LLVMValueRef call) {
  LLVMAddCallSiteAttribute(call, LLVMGetNumArgOperands(call), handed_attribute(l));
}

/* LLVM wants what it keeps there to be a pointer. */
LLVMValueRef lower_load_handed(const struct lower *l, LLVMValueRef handed) {
  return LLVMBuildPtrToInt(l->builder, lower_load(l, ALIAS_EXEC, l->ptr, handed, ""), l->i64, "");
}

void lower_store_handed(const struct lower *l, LLVMValueRef value, LLVMValueRef handed) {
  lower_store(l, ALIAS_EXEC, LLVMBuildIntToPtr(l->builder, value, l->ptr, ""), handed);
}

/* A place for it. LLVM's C interface cannot make one: it is a copy of one that LLVM has read. */
static LLVMValueRef make_place(const struct lower *l) {
  static const char text[] = "define void @f() {\n  %place = alloca swifterror ptr\n  ret void\n}\n";
  LLVMModuleRef module;
  char *message = NULL;
  LLVMMemoryBufferRef source = LLVMCreateMemoryBufferWithMemoryRange(text, sizeof text - 1, "place", true);
  if (LLVMParseIRInContext(l->context, source, &module, &message)) abort();
  LLVMValueRef f = LLVMGetFirstFunction(module);
  LLVMValueRef place = LLVMInstructionClone(LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(f)));
  LLVMInsertIntoBuilder(l->builder, place);
  LLVMDisposeModule(module);
  return place;
}

/* Between its place in exec_ctx and the register. */
static void take_counter(const struct lower *l, LLVMValueRef handed) {
  lower_store_handed(l, lower_load(l, ALIAS_EXEC, l->i64, lower_exec(l, offsetof(struct exec_ctx, gas)), ""), handed);
}

static void give_counter(const struct lower *l, LLVMValueRef handed) {
  lower_store(l, ALIAS_EXEC, lower_load_handed(l, handed), lower_exec(l, offsetof(struct exec_ctx, gas)));
}

/* --- functions and thunks ------------------------------------------------------------------------------------------- */

static LLVMValueRef declare_function(struct lower *l, uint32_t index) {
  const struct func *func = &l->m->funcs[index];
  char name[32];
  snprintf(name, sizeof name, func->import == NO_INDEX ? LOWER_FUNC "%u" : LOWER_IMPORT "%u", index);
  LLVMValueRef value = add_function(l, name, l->func_types[func->type]);
  LLVMSetFunctionCallConv(value, lower_convention(l));
  if (lower_checks_gas_at_entry(func)) add_string_attribute(l, value, GAS_CHECKS, "");
  if (func->import == NO_INDEX) {
    char limit[16];
    snprintf(limit, sizeof limit, "%u", func_frame_cost(l->m, index) * ABI_STACK_FACTOR - ABI_FRAME_HEAD);
    add_string_attribute(l, value, "warn-stack-size", limit);
  }
  add_attribute(l, value, 1, "nonnull", 0);
  add_attribute(l, value, 1, "noundef", 0);
  add_attribute(l, value, 1, "dereferenceable", l->layout.size);
  if (lower_hands_over(l)) LLVMAddAttributeAtIndex(value, LLVMCountParams(value), handed_attribute(l));
  return value;
}

/* Of any part: the others leave out their twins, too. */
static uint32_t find_twin(const struct lower *l, uint32_t index) { return l->part->twins ? l->part->twins[index] : index; }

LLVMValueRef lower_callee(struct lower *l, uint32_t index) {
  index = find_twin(l, index);
  if (!l->funcs[index]) l->funcs[index] = declare_function(l, index);
  return l->funcs[index];
}

/* Values as an array of union gw_value, for host calls and entries. */
static LLVMValueRef slot(const struct lower *l, LLVMValueRef values, uint32_t i) {
  return lower_offset(l, values, (uint64_t)i * sizeof(union gw_value));
}

/* What an imported host function looks like to compiled code: packs the parameters, calls the runtime, unpacks. */
static void lower_import_thunk(struct lower *l, uint32_t index) {
  const struct func_type *type = &l->m->types[l->m->funcs[index].type].func;
  LLVMValueRef func = lower_callee(l, index), vmctx = LLVMGetParam(func, 0);
  LLVMPositionBuilderAtEnd(l->builder, LLVMAppendBasicBlockInContext(l->context, func, ""));
  uint32_t n = type->n_params > type->n_results ? type->n_params : type->n_results;
  LLVMValueRef values = LLVMBuildArrayAlloca(l->builder, LLVMArrayType2(l->i64, 2), lower_i32(l, n ? n : 1), "");
  LLVMSetAlignment(values, 16);
  for (uint32_t i = 0; i < type->n_params; i++) LLVMBuildStore(l->builder, LLVMGetParam(func, i + 2), slot(l, values, i));
  LLVMValueRef args[2] = {lower_i32(l, index), values}, handed = lower_handed(l, func);
  if (handed) give_counter(l, handed);
  lower_call_helper(l, vmctx, HELPER_OFFSET_host_call, helper_signature_host_call, args);
  if (handed) take_counter(l, handed);
  if (type->n_results == 1) {
    LLVMBuildRet(l->builder, LLVMBuildLoad2(l->builder, lower_type(l, type->results[0]), values, ""));
    return;
  }
  for (uint32_t i = 0; i < type->n_results; i++) {
    LLVMValueRef v = LLVMBuildLoad2(l->builder, lower_type(l, type->results[i]), slot(l, values, i), "");
    lower_store(l, ALIAS_EXEC, v, lower_result(l, i));
  }
  LLVMBuildRetVoid(l->builder);
}

/* struct entry_thunk of abi/abi.h for one function type. */
static void lower_entry(struct lower *l, uint32_t type_index, struct arena *arena) {
  const struct func_type *type = &l->m->types[type_index].func;
  LLVMTypeRef params[4] = {l->ptr, l->i32, l->ptr, l->ptr};
  char name[32];
  snprintf(name, sizeof name, LOWER_ENTRY "%u", type_index);
  LLVMValueRef func = add_function(l, name, LLVMFunctionType(l->void_type, params, 4, false));
  LLVMPositionBuilderAtEnd(l->builder, LLVMAppendBasicBlockInContext(l->context, func, ""));
  uint32_t n = type->n_params + 2;
  LLVMValueRef *args = arena_alloc_array(arena, n + 1, sizeof *args);
  LLVMValueRef values = LLVMGetParam(func, 3), handed = NULL;
  args[0] = LLVMGetParam(func, 0);
  args[1] = LLVMGetParam(func, 1);
  for (uint32_t i = 0; i < type->n_params; i++)
    args[i + 2] = LLVMBuildLoad2(l->builder, lower_type(l, type->params[i]), slot(l, values, i), "");
  if (lower_hands_over(l)) {
    args[n++] = handed = make_place(l);
    take_counter(l, handed);
  }
  LLVMValueRef call = LLVMBuildCall2(l->builder, l->func_types[type_index], LLVMGetParam(func, 2), args, n, "");
  LLVMSetInstructionCallConv(call, lower_convention(l));
  if (handed) {
    lower_hand_over(l, call);
    give_counter(l, handed);
  }
  if (type->n_results == 1) {
    LLVMBuildStore(l->builder, call, values);
  } else {
    for (uint32_t i = 0; i < type->n_results; i++) {
      LLVMValueRef v = lower_load(l, ALIAS_EXEC, lower_type(l, type->results[i]), lower_result(l, i), "");
      LLVMBuildStore(l->builder, v, slot(l, values, i));
    }
  }
  LLVMBuildRetVoid(l->builder);
}

uint32_t lower_entry_type(const struct module *m, uint32_t type) {
  enum { MOST = 64 }; /* looked at: modules have no more copies than this of types that matter */
  for (uint32_t i = 0; i < type && i < MOST; i++)
    if (m->types[i].canonical == m->types[type].canonical) return i;
  return type;
}

static void lower_thunks(struct lower *l, struct arena *arena) {
  const struct module *m = l->m;
  for (uint32_t i = 0; i < m->n_imported_funcs; i++) lower_import_thunk(l, i);
  for (uint32_t i = 0; i < m->n_types; i++)
    if (m->types[i].kind == COMP_FUNC && lower_entry_type(m, i) == i) lower_entry(l, i, arena);
}

void lower_init(struct lower *l, LLVMModuleRef module) {
  l->module = module;
  l->context = LLVMGetModuleContext(module);
  l->builder = LLVMCreateBuilderInContext(l->context);
  init_types(l);
  init_aliases(l);
}

LLVMModuleRef lower_module(LLVMContextRef context, const struct module *m, const struct lower_options *options,
                           const struct lower_part *part) {
  struct vmctx_counts counts = module_vmctx_counts(m);
  struct lower l = {.m = m, .options = options, .part = part, .layout = vmctx_layout(&counts)};
  struct arena arena = {0};
  lower_init(&l, LLVMModuleCreateWithNameInContext("wasm", context));
  init_markers(&l);
  init_function_types(&l, &arena);
  for (uint32_t i = part->first; i < part->end; i++)
    if (m->funcs[i].import == NO_INDEX && find_twin(&l, i) == i) lower_function(&l, i);
  if (part->has_thunks) lower_thunks(&l, &arena);
  LLVMDisposeBuilder(l.builder);
  arena_clear(&arena);
  arena_clear(&l.scratch);
  free(l.locals);
  free(l.used_locals);
  return l.module;
}
