/* Exceptions, by looking after calls.
 *
 * A thrown exception is exec->exception until a clause takes it; NULL means that none is pending. Whoever called looks, and
 * branches to the handler of the innermost try around the call, or returns: a load and a branch that is never taken, and
 * nothing at all in modules that are compiled without (DIALECT_EXCEPTIONS). Calls of leaves are not looked after.
 *
 * A handler is a chain of blocks, one per clause, that compare the exception's tag with those of the instance. What no clause
 * takes goes to the handler around it. For try_table all of it is made when the construct opens, as clauses are branches to
 * labels; for the legacy form link by link, as the clauses' bodies come. */
#include "frontend/lower/internal.h"

static LLVMValueRef exception_address(const struct lower_func *f) {
  return ir_exec(&f->l->ir, offsetof(struct exec_ctx, exception));
}

static LLVMValueRef load_pending(const struct lower_func *f) {
  return ir_load(&f->l->ir, ALIAS_EXEC, f->l->ir.ptr, exception_address(f), "exception");
}

static void set_pending(const struct lower_func *f, LLVMValueRef exception) {
  ir_store(&f->l->ir, ALIAS_EXEC, exception, exception_address(f));
}

static LLVMValueRef value_address(const struct lower_func *f, LLVMValueRef exception, uint32_t i) {
  return ir_offset(&f->l->ir, exception, offsetof(struct exception, values) + i * sizeof(union gw_value));
}

static const struct func_type *tag_type(const struct lower_func *f, uint32_t tag) {
  return &f->l->m->types[f->l->m->tags[tag].type].func;
}

/* --- where exceptions go ------------------------------------------------------------------------------------------ */

/* Returns to a caller that will find the exception pending, and so does not use the result. */
static LLVMBasicBlockRef unwind_block(struct lower_func *f) {
  if (f->unwind) return f->unwind;
  LLVMBuilderRef builder = f->l->ir.builder;
  LLVMBasicBlockRef from = LLVMGetInsertBlock(builder);
  LLVMTypeRef result = LLVMGetReturnType(LLVMGlobalGetValueType(f->value));
  f->unwind = lower_new_block(f, "unwind");
  LLVMPositionBuilderAtEnd(builder, f->unwind);
  lower_profile_leave(f);
  if (result == f->l->ir.void_type)
    LLVMBuildRetVoid(builder);
  else
    LLVMBuildRet(builder, LLVMConstNull(result));
  LLVMPositionBuilderAtEnd(builder, from);
  return f->unwind;
}

/* The handler for code directly inside of `c`, or NULL. The bodies of legacy clauses are outside of their try. */
static LLVMBasicBlockRef inner_handler(const struct control *c) {
  bool is_tried = c->handler && (c->op == OP_TRY_TABLE || c->op == OP_TRY);
  return is_tried ? c->handler : c->outer;
}

void lower_nest_exceptions(const struct lower_func *f, struct control *c) {
  if (c == f->controls) return;
  const struct control *around = c - 1;
  c->outer = inner_handler(around);
  c->catch_level = around->catch_level + (around->caught != NULL);
}

/* Where an exception goes that is thrown directly inside of the outermost n controls. */
static LLVMBasicBlockRef handler_within(struct lower_func *f, uint32_t n) {
  LLVMBasicBlockRef handler = n ? inner_handler(&f->controls[n - 1]) : NULL;
  return handler ? handler : unwind_block(f);
}

static void weigh_unlikely(const struct lower *l, LLVMValueRef branch) {
  LLVMContextRef c = l->ir.context;
  LLVMMetadataRef fields[3] = {LLVMMDStringInContext2(c, "branch_weights", 14), LLVMValueAsMetadata(ir_i32(&l->ir, 1)),
                               LLVMValueAsMetadata(ir_i32(&l->ir, 100000))};
  LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(c, "prof", 4), LLVMMetadataAsValue(c, LLVMMDNodeInContext2(c, fields, 3)));
}

void lower_check_exception(struct lower_func *f) {
  const struct lower *l = f->l;
  if (!(l->options->dialect & DIALECT_EXCEPTIONS)) return;
  LLVMValueRef is_pending = LLVMBuildIsNotNull(l->ir.builder, load_pending(f), "");
  LLVMBasicBlockRef handler = handler_within(f, f->n_controls), next = lower_new_block(f, "");
  weigh_unlikely(l, LLVMBuildCondBr(l->ir.builder, is_pending, handler, next));
  LLVMPositionBuilderAtEnd(l->ir.builder, next);
}

void lower_throw(struct lower_func *f, const struct instruction *in) {
  const struct lower *l = f->l;
  if (in->op == OP_THROW) {
    LLVMValueRef tag = ir_i32(&l->ir, in->index);
    LLVMValueRef e = ir_call_helper(&l->ir, f->vmctx, HELPER_OFFSET_throw_new, helper_signature_throw_new, &tag);
    for (uint32_t i = tag_type(f, in->index)->n_params; i-- > 0;)
      ir_store(&l->ir, ALIAS_EXEC, lower_pop(f), value_address(f, e, i));
  } else if (in->op == OP_THROW_REF) {
    LLVMValueRef e = lower_pop(f);
    lower_trap_if(f, LLVMBuildIsNull(l->ir.builder, e, ""), GW_TRAP_NULL_EXCEPTION);
    set_pending(f, e);
  } else {
    LLVMValueRef e = f->controls[f->n_controls - 1 - in->index].caught;
    ir_call_helper(&l->ir, f->vmctx, HELPER_OFFSET_rethrow, helper_signature_rethrow, &e);
  }
  LLVMBuildBr(l->ir.builder, handler_within(f, f->n_controls));
  begin_dead_code(f);
}

/* --- clauses ------------------------------------------------------------------------------------------------------ */

/* A clause that is looked at costs as much as a branch. */
static void charge_clause(struct lower_func *f) {
  const struct lower *l = f->l;
  if (!l->options->gas) return;
  LLVMValueRef price = ir_i64(&l->ir, l->options->schedule->gas[COST_BRANCH]);
  LLVMBuildCall2(l->ir.builder, l->charge_type, l->charge, &price, 1, "");
}

/* Goes on where the exception has this tag; elsewhere `next` does. */
static LLVMBasicBlockRef match_tag(struct lower_func *f, LLVMValueRef exception, uint32_t tag) {
  const struct lower *l = f->l;
  LLVMBasicBlockRef matched = lower_new_block(f, "caught"), next = lower_new_block(f, "handler");
  LLVMValueRef expected = ir_load_constant(&l->ir, l->ir.ptr, f->vmctx, l->layout.tags + (uint64_t)tag * sizeof(void *));
  LLVMValueRef actual = ir_load(&l->ir, ALIAS_EXEC, l->ir.ptr, ir_offset(&l->ir, exception, offsetof(struct exception, tag)), "");
  LLVMBuildCondBr(l->ir.builder, LLVMBuildICmp(l->ir.builder, LLVMIntEQ, actual, expected, ""), matched, next);
  LLVMPositionBuilderAtEnd(l->ir.builder, matched);
  return next;
}

static void push_values(struct lower_func *f, LLVMValueRef exception, uint32_t tag) {
  const struct func_type *type = tag_type(f, tag);
  for (uint32_t i = 0; i < type->n_params; i++)
    lower_push(f, ir_load(&f->l->ir, ALIAS_EXEC, ir_type(&f->l->ir, type->params[i]), value_address(f, exception, i), ""));
}

/* Nothing is pending any more, and nobody needs the exception. */
static void drop(struct lower_func *f, LLVMValueRef exception) {
  set_pending(f, LLVMConstNull(f->l->ir.ptr));
  ir_call_helper(&f->l->ir, f->vmctx, HELPER_OFFSET_exception_drop, helper_signature_exception_drop, &exception);
}

/* The reference is an operand. */
static void push_shared(struct lower_func *f, LLVMValueRef exception) {
  LLVMValueRef flag = ir_offset(&f->l->ir, exception, offsetof(struct exception, is_shared));
  set_pending(f, LLVMConstNull(f->l->ir.ptr));
  ir_store(&f->l->ir, ALIAS_EXEC, ir_i32(&f->l->ir, 1), flag);
  lower_push(f, exception);
}

/* One clause of the try_table on top of the controls, in the current block. False: no later one can be reached. */
static bool lower_clause(struct lower_func *f, LLVMValueRef exception, struct reader *r) {
  LLVMBuilderRef builder = f->l->ir.builder;
  uint8_t kind = read_u8(r);
  bool has_tag = kind == CATCH_TAG || kind == CATCH_TAG_REF;
  uint32_t tag = has_tag ? read_u32(r) : 0, label = read_u32(r);
  size_t height = f->height;
  charge_clause(f);
  LLVMBasicBlockRef next = has_tag ? match_tag(f, exception, tag) : NULL;
  if (has_tag) push_values(f, exception, tag);
  if (kind == CATCH_TAG_REF || kind == CATCH_EVERY_REF)
    push_shared(f, exception);
  else
    drop(f, exception);
  LLVMBuildBr(builder, add_edge(f, &f->controls[f->n_controls - 2 - label]));
  f->height = height;
  if (next) LLVMPositionBuilderAtEnd(builder, next);
  return next;
}

void lower_try(struct lower_func *f, const struct instruction *in) {
  struct control *c = &f->controls[f->n_controls - 1];
  if (c->is_dead) return;
  if (in->op == OP_TRY_TABLE && in->count == 0) return;
  c->handler = lower_new_block(f, "handler");
  if (in->op == OP_TRY) return;
  LLVMBuilderRef builder = f->l->ir.builder;
  LLVMBasicBlockRef from = LLVMGetInsertBlock(builder);
  LLVMPositionBuilderAtEnd(builder, c->handler);
  LLVMValueRef exception = load_pending(f);
  struct gw_error ignored = {0}; /* validated */
  struct reader r;
  reader_init(&r, in->list, in->list, f->func->end, &ignored);
  uint32_t n = 0;
  bool is_open = true;
  while (n++ < in->count && is_open) is_open = lower_clause(f, exception, &r);
  if (is_open) LLVMBuildBr(builder, handler_within(f, f->n_controls - 1));
  LLVMPositionBuilderAtEnd(builder, from);
}

/* --- the legacy form ---------------------------------------------------------------------------------------------- */

/* Nothing is pending any more; what the body may rethrow is kept, and only that. */
static LLVMValueRef take(struct lower_func *f, LLVMValueRef exception, uint32_t level) {
  const struct lower *l = f->l;
  if (!f->func->has_rethrow) {
    drop(f, exception);
    return exception;
  }
  set_pending(f, LLVMConstNull(l->ir.ptr));
  LLVMValueRef args[3] = {exception, f->depth, ir_i32(&l->ir, level)};
  return ir_call_helper(&l->ir, f->vmctx, HELPER_OFFSET_exception_hold, helper_signature_exception_hold, args);
}

void lower_catch(struct lower_func *f, const struct instruction *in) {
  struct control *c = &f->controls[f->n_controls - 1];
  if (c->is_dead) return;
  LLVMBuilderRef builder = f->l->ir.builder;
  if (!f->is_dead) LLVMBuildBr(builder, add_edge(f, c));
  close_gas_block(f);
  f->is_dead = false;
  f->height = c->height;
  c->op = in->op;
  LLVMPositionBuilderAtEnd(builder, c->handler);
  c->handler = NULL;
  charge_clause(f);
  LLVMValueRef exception = load_pending(f);
  if (in->op == OP_CATCH) {
    c->handler = match_tag(f, exception, in->index);
    push_values(f, exception, in->index);
  }
  c->caught = take(f, exception, c->catch_level);
  open_gas_block(f, false);
}

void lower_end_try(struct lower_func *f, struct control *c, const struct instruction *in) {
  LLVMBuilderRef builder = f->l->ir.builder;
  uint32_t n = in->op == OP_DELEGATE ? f->n_controls - in->index : f->n_controls;
  LLVMPositionBuilderAtEnd(builder, c->handler);
  LLVMBuildBr(builder, handler_within(f, n));
}
