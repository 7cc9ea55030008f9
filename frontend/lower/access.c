/* Variables, memories, tables, references and calls: everything that goes through the vmctx. */
#include "frontend/lower/internal.h"
#include "frontend/types.h"

#include <string.h>

static LLVMValueRef vmctx_pointer(const struct lower_func *f, uint32_t array, uint32_t index) {
  return ir_load_constant(&f->l->ir, f->l->ir.ptr, f->vmctx, array + (uint64_t)index * sizeof(void *));
}

/* An index or a size as the runtime has it: 64 bits. */
static LLVMValueRef wide(const struct lower_func *f, LLVMValueRef v) {
  return LLVMTypeOf(v) == f->l->ir.i64 ? v : LLVMBuildZExt(f->l->ir.builder, v, f->l->ir.i64, "");
}

/* A size from the runtime, as wide as the address type. */
static void push_size(struct lower_func *f, const struct limits *limits, LLVMValueRef v) {
  lower_push(f, limits->is_64 ? v : LLVMBuildTrunc(f->l->ir.builder, v, f->l->ir.i32, ""));
}

/* --- variables -------------------------------------------------------------------------------------------------- */

static void local_get(struct lower_func *f, uint32_t index) {
  const struct local *local = lower_local(f, index);
  lower_push(f, LLVMBuildLoad2(f->l->ir.builder, local->type, local->slot, ""));
}

static LLVMValueRef global_address(const struct lower_func *f, uint32_t index) {
  const struct lower *l = f->l;
  if (l->m->globals[index].import != NO_INDEX) return vmctx_pointer(f, l->layout.globals, index);
  uint64_t cell = index - l->m->n_imported_globals;
  return ir_offset(&l->ir, f->vmctx, l->layout.cells + cell * sizeof(union gw_value));
}

static void global_get(struct lower_func *f, uint32_t index) {
  const struct lower *l = f->l;
  const struct global_type *type = &l->m->globals[index].type;
  LLVMValueRef address = global_address(f, index);
  lower_push(f, type->is_mutable ? ir_load(&l->ir, ALIAS_GLOBAL, ir_type(&l->ir, type->type), address, "")
                                 : ir_load_constant(&l->ir, ir_type(&l->ir, type->type), address, 0));
}

/* --- memories --------------------------------------------------------------------------------------------------- */

/* The bulk instructions call a helper whose leading arguments are the instruction's indices and whose others are the operands,
 * widened where the helper takes 64 bits. */
static LLVMValueRef call_bulk(struct lower_func *f, size_t helper, const char *signature, const uint32_t *indices,
                              unsigned n_indices) {
  const struct lower *l = f->l;
  LLVMValueRef args[8];
  const char *params = strchr(signature, '_') + 1;
  unsigned n = (unsigned)strlen(params);
  for (unsigned i = 0; i < n_indices; i++) args[i] = ir_i32(&l->ir, indices[i]);
  for (unsigned i = n; i-- > n_indices;) {
    args[i] = lower_pop(f);
    if (params[i] == 'I') args[i] = wide(f, args[i]);
  }
  return ir_call_helper(&l->ir, f->vmctx, helper, signature, args);
}

/* --- tables ----------------------------------------------------------------------------------------------------- */

static LLVMValueRef table_size(const struct lower_func *f, LLVMValueRef table) {
  const struct lower *l = f->l;
  return ir_load(&l->ir, ALIAS_TABLE, l->ir.i64, ir_offset(&l->ir, table, offsetof(struct table_ctx, size)), "");
}

/* The processor guesses what a check will say and goes on; a guest that makes it guess wrong could read, or jump by, whatever
 * lies at its index, and see in the cache what that was (Spectre, variant 1). So the index follows from the comparison, not from
 * the guess: by a conditional move, in assembly, as LLVM may make a branch of one, or drop it, for it does nothing where nothing
 * is guessed. */
LLVMValueRef lower_clamp(const struct lower *l, LLVMValueRef index, LLVMValueRef limit) {
  static const char narrow[] = "cmpl $2, $0\n\tcmovael $2, $0", wide[] = "cmpq $2, $0\n\tcmovaeq $2, $0";
  static const char constraints[] = "=r,0,r,~{flags}";
  bool is_wide = LLVMTypeOf(index) == l->ir.i64;
  LLVMTypeRef params[2] = {LLVMTypeOf(index), LLVMTypeOf(index)}, type = LLVMFunctionType(params[0], params, 2, false);
  LLVMValueRef code = LLVMGetInlineAsm(type, is_wide ? wide : narrow, sizeof wide - 1, constraints, sizeof constraints - 1, false,
                                       false, LLVMInlineAsmDialectATT, false);
  LLVMValueRef args[2] = {index, limit};
  return LLVMBuildCall2(l->ir.builder, type, code, args, 2, "");
}

struct spot {
  LLVMValueRef table, i;
};

/* An entry's place, after the bounds check. */
static struct spot table_spot(struct lower_func *f, uint32_t index, LLVMValueRef at, enum gw_trap trap) {
  const struct lower *l = f->l;
  LLVMValueRef table = vmctx_pointer(f, l->layout.tables, index), i = wide(f, at);
  LLVMValueRef size = table_size(f, table);
  lower_trap_if(f, LLVMBuildICmp(l->ir.builder, LLVMIntUGE, i, size, ""), trap);
  return (struct spot){table, LLVMIsConstant(i) ? i : lower_clamp(l, i, size)};
}

static LLVMValueRef spot_entry(const struct lower *l, struct spot spot) {
  LLVMValueRef entries =
      ir_load(&l->ir, ALIAS_TABLE, l->ir.ptr, ir_offset(&l->ir, spot.table, offsetof(struct table_ctx, entries)), "");
  return LLVMBuildInBoundsGEP2(l->ir.builder, l->ir.ptr, entries, &spot.i, 1, "");
}

static void note_write(const struct lower *l, struct spot spot) {
  LLVMBuilderRef b = l->ir.builder;
  LLVMTypeRef byte = LLVMIntTypeInContext(l->ir.context, 8);
  LLVMValueRef written =
      ir_load(&l->ir, ALIAS_TABLE, l->ir.ptr, ir_offset(&l->ir, spot.table, offsetof(struct table_ctx, written)), "");
  LLVMValueRef chunk = LLVMBuildUDiv(b, spot.i, LLVMConstInt(l->ir.i64, TABLE_CHUNK, false), "");
  ir_store(&l->ir, ALIAS_ENTRY, LLVMConstInt(byte, 1, false), LLVMBuildInBoundsGEP2(b, byte, written, &chunk, 1, ""));
}

static LLVMValueRef table_entry(struct lower_func *f, uint32_t index, LLVMValueRef at, enum gw_trap trap) {
  return spot_entry(f->l, table_spot(f, index, at, trap));
}

static void table_get(struct lower_func *f, uint32_t index) {
  LLVMValueRef entry = table_entry(f, index, lower_pop(f), GW_TRAP_TABLE_OUT_OF_BOUNDS);
  lower_push(f, ir_load(&f->l->ir, ALIAS_ENTRY, f->l->ir.ptr, entry, ""));
}

static void table_set(struct lower_func *f, uint32_t index) {
  LLVMValueRef ref = lower_pop(f);
  struct spot spot = table_spot(f, index, lower_pop(f), GW_TRAP_TABLE_OUT_OF_BOUNDS);
  ir_store(&f->l->ir, ALIAS_ENTRY, ref, spot_entry(f->l, spot));
  note_write(f->l, spot);
}

/* --- calls ------------------------------------------------------------------------------------------------------ */

/* A tail call gives what it gets, and starts with the logical stack that the caller started with. */
static void return_call(struct lower_func *f, const struct func_type *type, LLVMValueRef call) {
  LLVMSetTailCallKind(call, LLVMTailCallKindMustTail);
  if (type->n_results == 1)
    LLVMBuildRet(f->l->ir.builder, call);
  else
    LLVMBuildRetVoid(f->l->ir.builder);
}

struct callee {
  LLVMValueRef code, vmctx;
  bool is_leaf; /* known to call nothing and to throw nothing */
};

/* Pops the arguments, calls, pushes the results. */
static void call(struct lower_func *f, uint32_t type_index, struct callee callee, bool is_tail) {
  const struct lower *l = f->l;
  const struct func_type *type = &l->m->types[type_index].func;
  uint32_t n = type->n_params + 2;
  LLVMValueRef *args = arena_alloc_array(&f->arena, n + 1, sizeof *args);
  for (uint32_t i = type->n_params; i-- > 0;) args[i + 2] = lower_pop(f);
  args[0] = callee.vmctx;
  args[1] = is_tail ? LLVMGetParam(f->value, 1) : f->depth;
  if (is_tail) lower_profile_leave(f);
  if (lower_is_padded(l, type)) args[n++] = LLVMGetPoison(l->ir.f64);
  if (lower_hands_over(l)) args[n++] = ir_handed(&l->ir, f->value);
  LLVMValueRef v = LLVMBuildCall2(l->ir.builder, l->func_types[type_index], callee.code, args, n, "");
  LLVMSetInstructionCallConv(v, lower_convention(l));
  if (lower_hands_over(l)) ir_hand_over(&l->ir, v);
  if (is_tail) {
    return_call(f, type, v);
    return;
  }
  if (!callee.is_leaf) lower_check_exception(f);
  if (type->n_results == 1) lower_push(f, v);
  if (type->n_results <= 1) return;
  for (uint32_t i = 0; i < type->n_results; i++)
    lower_push(f, ir_load(&l->ir, ALIAS_EXEC, ir_type(&l->ir, type->results[i]), ir_result(&l->ir, i), ""));
}

static void call_func_ref(struct lower_func *f, uint32_t type_index, LLVMValueRef ref, bool is_tail) {
  const struct lower *l = f->l;
  LLVMValueRef code = ir_load_constant(&l->ir, l->ir.ptr, ref, offsetof(struct func_ref, code));
  LLVMValueRef vmctx = ir_load_constant(&l->ir, l->ir.ptr, ref, offsetof(struct func_ref, vmctx));
  call(f, type_index, (struct callee){.code = code, .vmctx = vmctx}, is_tail);
}

static void call_direct(struct lower_func *f, uint32_t index, bool is_tail) {
  if (!is_tail && lower_inlined_call(f, index)) return;
  const struct func *callee = &f->l->m->funcs[index];
  const bool *is_compiled = f->l->part->is_compiled;
  if (callee->import == NO_INDEX && (!is_compiled || is_compiled[index]))
    call(f, callee->type, (struct callee){lower_callee(f->l, index), f->vmctx, !callee->n_calls && !callee->has_throw}, is_tail);
  else
    call_func_ref(f, callee->type, vmctx_pointer(f, f->l->layout.funcs, index), is_tail);
}

/* The check of an indirect call. A function's own type may lie below a type that is not final, and then the runtime tells. */
static void check_func_type(struct lower_func *f, uint32_t type_index, LLVMValueRef ref) {
  const struct lower *l = f->l;
  LLVMValueRef actual = ir_load_constant(&l->ir, l->ir.i32, ref, offsetof(struct func_ref, type_id));
  LLVMValueRef expected = ir_load_constant(&l->ir, l->ir.i32, f->vmctx, l->layout.type_ids + (uint64_t)type_index * 4);
  LLVMValueRef is_other = LLVMBuildICmp(l->ir.builder, LLVMIntNE, actual, expected, "");
  if (l->m->types[type_index].is_final) {
    lower_trap_if(f, is_other, GW_TRAP_INDIRECT_CALL_TYPE);
    return;
  }
  LLVMBasicBlockRef ask = lower_new_block(f, "subtype"), next = lower_new_block(f, "");
  LLVMBuildCondBr(l->ir.builder, is_other, ask, next);
  LLVMPositionBuilderAtEnd(l->ir.builder, ask);
  LLVMValueRef args[2] = {ref, expected};
  LLVMValueRef is_below = ir_call_helper(&l->ir, f->vmctx, HELPER_OFFSET_is_subtype, helper_signature_is_subtype, args);
  lower_trap_if(f, LLVMBuildICmp(l->ir.builder, LLVMIntEQ, is_below, ir_i32(&l->ir, 0), ""), GW_TRAP_INDIRECT_CALL_TYPE);
  LLVMBuildBr(l->ir.builder, next);
  LLVMPositionBuilderAtEnd(l->ir.builder, next);
}

static void call_indirect(struct lower_func *f, uint32_t type_index, uint32_t table, bool is_tail) {
  const struct lower *l = f->l;
  LLVMValueRef entry = table_entry(f, table, lower_pop(f), GW_TRAP_UNDEFINED_ELEMENT);
  LLVMValueRef ref = ir_load(&l->ir, ALIAS_ENTRY, l->ir.ptr, entry, "");
  lower_trap_if(f, LLVMBuildIsNull(l->ir.builder, ref, ""), GW_TRAP_UNINITIALIZED_ELEMENT);
  /* A table may hold nothing but functions of the type. */
  if (!val_type_matches(l->m, l->m->tables[table].type.elem, REF_TYPE(true, type_index))) check_func_type(f, type_index, ref);
  call_func_ref(f, type_index, ref, is_tail);
}

/* Pops a reference that must not be null. */
static LLVMValueRef pop_non_null(struct lower_func *f, enum gw_trap trap) {
  LLVMValueRef ref = lower_pop(f);
  lower_trap_if(f, LLVMBuildIsNull(f->l->ir.builder, ref, ""), trap);
  return ref;
}

static void select_value(struct lower_func *f) {
  const struct lower *l = f->l;
  LLVMValueRef condition = lower_pop(f), b = lower_pop(f), a = lower_pop(f);
  condition = LLVMBuildICmp(l->ir.builder, LLVMIntNE, condition, ir_i32(&l->ir, 0), "");
  lower_push(f, LLVMBuildSelect(l->ir.builder, condition, a, b, ""));
}

#define BULK(id, ...)                                                                      \
  call_bulk(f, HELPER_OFFSET_##id, helper_signature_##id, (const uint32_t[]){__VA_ARGS__}, \
            sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void lower_bulk(struct lower_func *f, const struct instruction *in) {
  switch (in->op) {
  case OP_MEMORY_GROW: push_size(f, &f->l->m->memories[in->index].type.limits, BULK(memory_grow, in->index)); return;
  case OP_MEMORY_FILL: BULK(memory_fill, in->index); return;
  case OP_MEMORY_COPY: BULK(memory_copy, in->index, in->index2); return;
  case OP_MEMORY_INIT: BULK(memory_init, in->index2, in->index); return;
  case OP_DATA_DROP: BULK(data_drop, in->index); return;
  case OP_TABLE_FILL: BULK(table_fill, in->index); return;
  case OP_TABLE_COPY: BULK(table_copy, in->index, in->index2); return;
  case OP_TABLE_INIT: BULK(table_init, in->index2, in->index); return;
  case OP_ELEM_DROP: BULK(elem_drop, in->index); return;
  default: __builtin_unreachable();
  }
}

/* table.grow's operands stand in another order than the helper's parameters. */
static void table_grow(struct lower_func *f, uint32_t index) {
  const struct lower *l = f->l;
  LLVMValueRef n = lower_pop(f), ref = lower_pop(f);
  LLVMValueRef args[3] = {ir_i32(&l->ir, index), wide(f, n), ref};
  LLVMValueRef old = ir_call_helper(&l->ir, f->vmctx, HELPER_OFFSET_table_grow, helper_signature_table_grow, args);
  push_size(f, &l->m->tables[index].type.limits, old);
}

void lower_access(struct lower_func *f, const struct instruction *in) {
  const struct lower *l = f->l;
  LLVMBuilderRef builder = l->ir.builder;
  switch (in->op) {
  case OP_NOP: return;
  case OP_DROP: lower_pop(f); return;
  case OP_SELECT:
  case OP_SELECT_T: select_value(f); return;
  case OP_LOCAL_GET: local_get(f, in->index); return;
  case OP_LOCAL_SET: LLVMBuildStore(builder, lower_pop(f), lower_local(f, in->index)->slot); return;
  case OP_LOCAL_TEE: LLVMBuildStore(builder, f->stack[f->height - 1], lower_local(f, in->index)->slot); return;
  case OP_GLOBAL_GET: global_get(f, in->index); return;
  case OP_GLOBAL_SET: ir_store(&l->ir, ALIAS_GLOBAL, lower_pop(f), global_address(f, in->index)); return;
  case OP_I32_CONST: lower_push(f, ir_i32(&l->ir, (uint32_t)in->value.i64)); return;
  case OP_I64_CONST: lower_push(f, ir_i64(&l->ir, (uint64_t)in->value.i64)); return;
  case OP_F32_CONST: lower_push(f, LLVMConstBitCast(ir_i32(&l->ir, (uint32_t)in->value.bits), l->ir.f32)); return;
  case OP_F64_CONST: lower_push(f, LLVMConstBitCast(ir_i64(&l->ir, in->value.bits), l->ir.f64)); return;
  case OP_MEMORY_SIZE: lower_push(f, lower_memory_size(f, in->index)); return;
  case OP_TABLE_GET: table_get(f, in->index); return;
  case OP_TABLE_SET: table_set(f, in->index); return;
  case OP_TABLE_SIZE:
    push_size(f, &l->m->tables[in->index].type.limits, table_size(f, vmctx_pointer(f, l->layout.tables, in->index)));
    return;
  case OP_TABLE_GROW: table_grow(f, in->index); return;
  case OP_REF_NULL: lower_push(f, LLVMConstNull(l->ir.ptr)); return;
  case OP_REF_IS_NULL: lower_push(f, LLVMBuildZExt(builder, LLVMBuildIsNull(builder, lower_pop(f), ""), l->ir.i32, "")); return;
  case OP_REF_FUNC: lower_push(f, vmctx_pointer(f, l->layout.funcs, in->index)); return;
  case OP_REF_AS_NON_NULL: lower_push(f, pop_non_null(f, GW_TRAP_NULL_REFERENCE)); return;
  case OP_CALL:
  case OP_RETURN_CALL: call_direct(f, in->index, in->op == OP_RETURN_CALL); return;
  case OP_CALL_INDIRECT:
  case OP_RETURN_CALL_INDIRECT: call_indirect(f, in->index, in->index2, in->op == OP_RETURN_CALL_INDIRECT); return;
  case OP_CALL_REF:
  case OP_RETURN_CALL_REF:
    call_func_ref(f, in->index, pop_non_null(f, GW_TRAP_NULL_FUNCTION), in->op == OP_RETURN_CALL_REF);
    return;
  default: lower_bulk(f, in); return;
  }
}
