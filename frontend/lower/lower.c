#include "frontend/lower/lower.h"

#include "frontend/lower/internal.h"
#include "instrument/marker.h"

#include <llvm-c/IRReader.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the module ------------------------------------------------------------------------------------------------- */

static void init_markers(struct lower *l) {
  l->charge_type = LLVMFunctionType(l->ir.void_type, &l->ir.i64, 1, false);
  l->charge = LLVMAddFunction(l->ir.module, GAS_CHARGE, l->charge_type);
  l->charge_check = LLVMAddFunction(l->ir.module, GAS_CHARGE_CHECK, l->charge_type);
}

/* Where a callee takes its arguments off the stack, LLVM 22's x86-64 code generator rounds their size up to 16 bytes in the
 * caller if a vector is among them, and not in the callee: with an odd number of 8 bytes the caller's stack pointer is wrong
 * behind the call. One more number, which lies on the stack because the vectors have taken all registers for floats, makes it
 * even. */
bool lower_is_padded(const struct lower *l, const struct func_type *type) {
  uint32_t n_ints = 4 /* registers beside the vmctx's and the depth's */, n_floats = 8, bytes = 0;
  bool has_vector = false;
  if (lower_convention(l) != TAIL_CC) return false;
  for (uint32_t i = 0; i < type->n_params; i++) {
    bool is_vector = val_kind(type->params[i]) == VAL_V128;
    bool is_float = val_kind(type->params[i]) == VAL_F32 || val_kind(type->params[i]) == VAL_F64;
    uint32_t *left = is_vector || is_float ? &n_floats : &n_ints;
    if (*left) {
      --*left;
      continue;
    }
    has_vector |= is_vector;
    bytes = is_vector ? ((bytes + 15) & ~15u) + 16 : bytes + 8;
  }
  return has_vector && bytes % 16;
}

/* The internal calling convention of abi/abi.h. */
static LLVMTypeRef internal_type(const struct lower *l, const struct func_type *type, struct arena *arena) {
  uint32_t n = type->n_params + 2;
  LLVMTypeRef *params = arena_alloc_array(arena, n + 1, sizeof *params);
  params[0] = l->ir.ptr;
  params[1] = l->ir.i32;
  for (uint32_t i = 0; i < type->n_params; i++) params[i + 2] = ir_type(&l->ir, type->params[i]);
  if (lower_is_padded(l, type)) params[n++] = l->ir.f64;
  if (lower_hands_over(l)) params[n++] = l->ir.ptr;
  LLVMTypeRef result = type->n_results == 1 ? ir_type(&l->ir, type->results[0]) : l->ir.void_type;
  return LLVMFunctionType(result, params, n, false);
}

static LLVMValueRef add_function(struct lower *l, const char *name, LLVMTypeRef type) {
  LLVMValueRef func = LLVMAddFunction(l->ir.module, name, type);
  LLVMSetVisibility(func, LLVMHiddenVisibility); /* another part may call it; nobody else sees it */
  ir_add_attribute(&l->ir, func, LLVMAttributeFunctionIndex, "nounwind", 0);
  /* The producer inlined already, and a fault's function is found from its address. */
  ir_add_attribute(&l->ir, func, LLVMAttributeFunctionIndex, "noinline", 0);
  ir_add_attribute(&l->ir, func, LLVMAttributeFunctionIndex, "noredzone", 0); /* checks call from the middle of leaves, too */
  /* A fault must happen at an address of ours: neither calls to libc (memcpy for a copy loop) nor a frame that
   * jumps over the stack's guard page. */
  ir_add_string_attribute(&l->ir, func, "no-builtins", "");
  ir_add_string_attribute(&l->ir, func, "probe-stack", "inline-asm");
  return func;
}

static void init_function_types(struct lower *l, struct arena *arena) {
  const struct module *m = l->m;
  l->func_types = arena_alloc_array(arena, m->n_types, sizeof *l->func_types);
  for (uint32_t i = 0; i < m->n_types; i++)
    if (m->types[i].kind == COMP_FUNC) l->func_types[i] = internal_type(l, &m->types[i].func, arena);
  l->funcs = arena_alloc_array(arena, m->n_funcs, sizeof *l->funcs);
}

/* A place for it. LLVM's C interface cannot make one: it is a copy of one that LLVM has read. */
static LLVMValueRef make_place(const struct lower *l) {
  static const char text[] = "define void @f() {\n  %place = alloca swifterror ptr\n  ret void\n}\n";
  LLVMModuleRef module;
  char *message = NULL;
  LLVMMemoryBufferRef source = LLVMCreateMemoryBufferWithMemoryRange(text, sizeof text - 1, "place", true);
  if (LLVMParseIRInContext(l->ir.context, source, &module, &message)) abort(); /* the text is ours */
  LLVMValueRef f = LLVMGetFirstFunction(module);
  LLVMValueRef place = LLVMInstructionClone(LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(f)));
  LLVMInsertIntoBuilder(l->ir.builder, place);
  LLVMDisposeModule(module);
  return place;
}

/* Between its place in exec_ctx and the register. */
static void take_counter(const struct lower *l, LLVMValueRef handed) {
  ir_store_handed(&l->ir, ir_load(&l->ir, ALIAS_EXEC, l->ir.i64, ir_exec(&l->ir, offsetof(struct exec_ctx, gas)), ""), handed);
}

static void give_counter(const struct lower *l, LLVMValueRef handed) {
  ir_store(&l->ir, ALIAS_EXEC, ir_load_handed(&l->ir, handed), ir_exec(&l->ir, offsetof(struct exec_ctx, gas)));
}

/* --- functions and thunks ------------------------------------------------------------------------------------------- */

static LLVMValueRef declare_function(struct lower *l, uint32_t index) {
  const struct func *func = &l->m->funcs[index];
  char name[32];
  snprintf(name, sizeof name, func->import == NO_INDEX ? LOWER_FUNC "%u" : LOWER_IMPORT "%u", index);
  LLVMValueRef value = add_function(l, name, l->func_types[func->type]);
  LLVMSetFunctionCallConv(value, lower_convention(l));
  if (lower_checks_gas_at_entry(func)) ir_add_string_attribute(&l->ir, value, GAS_CHECKS, "");
  if (func->import == NO_INDEX) {
    char limit[16];
    snprintf(limit, sizeof limit, "%u", func_frame_cost(l->m, index) * ABI_STACK_FACTOR - ABI_FRAME_HEAD);
    ir_add_string_attribute(&l->ir, value, "warn-stack-size", limit);
  }
  ir_add_attribute(&l->ir, value, 1, "nonnull", 0);
  ir_add_attribute(&l->ir, value, 1, "noundef", 0);
  ir_add_attribute(&l->ir, value, 1, "dereferenceable", l->layout.size);
  if (lower_hands_over(l)) LLVMAddAttributeAtIndex(value, LLVMCountParams(value), ir_handed_attribute(&l->ir));
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
  return ir_offset(&l->ir, values, (uint64_t)i * sizeof(union gw_value));
}

/* What an imported host function looks like to compiled code: packs the parameters, calls the runtime, unpacks. */
static void lower_import_thunk(struct lower *l, uint32_t index) {
  const struct func_type *type = &l->m->types[l->m->funcs[index].type].func;
  LLVMValueRef func = lower_callee(l, index), vmctx = LLVMGetParam(func, 0);
  LLVMPositionBuilderAtEnd(l->ir.builder, LLVMAppendBasicBlockInContext(l->ir.context, func, ""));
  uint32_t n = type->n_params > type->n_results ? type->n_params : type->n_results;
  LLVMValueRef values = LLVMBuildArrayAlloca(l->ir.builder, LLVMArrayType2(l->ir.i64, 2), ir_i32(&l->ir, n ? n : 1), "");
  LLVMSetAlignment(values, 16);
  for (uint32_t i = 0; i < type->n_params; i++) LLVMBuildStore(l->ir.builder, LLVMGetParam(func, i + 2), slot(l, values, i));
  LLVMValueRef args[2] = {ir_i32(&l->ir, index), values}, handed = ir_handed(&l->ir, func);
  if (handed) give_counter(l, handed);
  ir_call_helper(&l->ir, vmctx, HELPER_OFFSET_host_call, helper_signature_host_call, args);
  if (handed) take_counter(l, handed);
  if (type->n_results == 1) {
    LLVMBuildRet(l->ir.builder, LLVMBuildLoad2(l->ir.builder, ir_type(&l->ir, type->results[0]), values, ""));
    return;
  }
  for (uint32_t i = 0; i < type->n_results; i++) {
    LLVMValueRef v = LLVMBuildLoad2(l->ir.builder, ir_type(&l->ir, type->results[i]), slot(l, values, i), "");
    ir_store(&l->ir, ALIAS_EXEC, v, ir_result(&l->ir, i));
  }
  LLVMBuildRetVoid(l->ir.builder);
}

/* struct entry_thunk of abi/abi.h for one function type. */
static void lower_entry(struct lower *l, uint32_t type_index, struct arena *arena) {
  const struct func_type *type = &l->m->types[type_index].func;
  LLVMTypeRef params[4] = {l->ir.ptr, l->ir.i32, l->ir.ptr, l->ir.ptr};
  char name[32];
  snprintf(name, sizeof name, LOWER_ENTRY "%u", type_index);
  LLVMValueRef func = add_function(l, name, LLVMFunctionType(l->ir.void_type, params, 4, false));
  LLVMPositionBuilderAtEnd(l->ir.builder, LLVMAppendBasicBlockInContext(l->ir.context, func, ""));
  uint32_t n = type->n_params + 2;
  LLVMValueRef *args = arena_alloc_array(arena, n + 1, sizeof *args);
  LLVMValueRef values = LLVMGetParam(func, 3), handed = NULL;
  args[0] = LLVMGetParam(func, 0);
  args[1] = LLVMGetParam(func, 1);
  for (uint32_t i = 0; i < type->n_params; i++)
    args[i + 2] = LLVMBuildLoad2(l->ir.builder, ir_type(&l->ir, type->params[i]), slot(l, values, i), "");
  if (lower_is_padded(l, type)) args[n++] = LLVMGetPoison(l->ir.f64);
  if (lower_hands_over(l)) {
    args[n++] = handed = make_place(l);
    take_counter(l, handed);
  }
  LLVMValueRef call = LLVMBuildCall2(l->ir.builder, l->func_types[type_index], LLVMGetParam(func, 2), args, n, "");
  LLVMSetInstructionCallConv(call, lower_convention(l));
  if (handed) {
    ir_hand_over(&l->ir, call);
    give_counter(l, handed);
  }
  if (type->n_results == 1) {
    LLVMBuildStore(l->ir.builder, call, values);
  } else {
    for (uint32_t i = 0; i < type->n_results; i++) {
      LLVMValueRef v = ir_load(&l->ir, ALIAS_EXEC, ir_type(&l->ir, type->results[i]), ir_result(&l->ir, i), "");
      LLVMBuildStore(l->ir.builder, v, slot(l, values, i));
    }
  }
  LLVMBuildRetVoid(l->ir.builder);
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

/* Of imported functions there are none: who calls them finds them in a func_ref. */
static void lower_some_thunks(struct lower *l, struct arena *arena) {
  const struct module *m = l->m;
  bool *is_wanted = arena_alloc_array(arena, m->n_types, sizeof *is_wanted);
  for (uint32_t i = 0; i < m->n_funcs; i++)
    if (l->part->is_compiled[i]) is_wanted[lower_entry_type(m, m->funcs[i].type)] = true;
  for (uint32_t i = 0; i < m->n_types; i++)
    if (is_wanted[i]) lower_entry(l, i, arena);
}

LLVMModuleRef lower_module(LLVMContextRef context, const struct module *m, const struct lower_options *options,
                           const struct lower_part *part) {
  struct vmctx_counts counts = module_vmctx_counts(m);
  struct lower l = {.m = m, .options = options, .part = part, .layout = vmctx_layout(&counts)};
  struct arena arena = {0};
  ir_init(&l.ir, LLVMModuleCreateWithNameInContext("wasm", context));
  l.ir.is_exact = options->exact;
  init_markers(&l);
  init_function_types(&l, &arena);
  lower_debug_begin(&l, &arena);
  for (uint32_t i = 0; i < part->n; i++)
    if (m->funcs[part->funcs[i]].import == NO_INDEX && find_twin(&l, part->funcs[i]) == part->funcs[i])
      lower_function(&l, part->funcs[i]);
  if (part->has_thunks) (part->is_compiled ? lower_some_thunks : lower_thunks)(&l, &arena);
  lower_debug_end(&l);
  LLVMDisposeBuilder(l.ir.builder);
  arena_clear(&arena);
  arena_clear(&l.scratch);
  free(l.locals);
  free(l.used_locals);
  return l.ir.module;
}
