/* One function body: structured control becomes basic blocks and phis.
 *
 * Locals are allocas (mem2reg makes them SSA); the operand stack is SSA from the start. Every construct has a target block,
 * made when it opens, with one phi per branch operand. Code that cannot be reached is read but not lowered: while is_dead, only
 * nesting is tracked. */
#include "frontend/lower/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/walk.h"

void lower_push(struct lower_func *f, LLVMValueRef v) { f->stack[f->height++] = v; }

LLVMValueRef lower_pop(struct lower_func *f) {
  assert(f->height > 0);
  return f->stack[--f->height];
}

LLVMBasicBlockRef lower_new_block(struct lower_func *f, const char *name) {
  return LLVMAppendBasicBlockInContext(f->l->ir.context, f->value, name);
}

static LLVMBasicBlockRef current_block(const struct lower_func *f) { return LLVMGetInsertBlock(f->l->ir.builder); }

/* --- traps ------------------------------------------------------------------------------------------------------ */

/* The call needs no register that the rest of the function would have to keep for it: so LLVM saves registers behind the checks
 * at a function's start, and only on ways that need them. */
LLVMBasicBlockRef lower_trap_block(struct lower_func *f, enum gw_trap trap) {
  const struct lower *l = f->l;
  LLVMBasicBlockRef *block = &(f->inlined ? f->inlined->outermost : f)->traps[trap];
  if (*block) return *block;
  LLVMBuilderRef builder = l->ir.builder;
  LLVMBasicBlockRef from = current_block(f);
  *block = lower_new_block(f, "trap");
  LLVMPositionBuilderAtEnd(builder, *block);
  LLVMValueRef code = ir_i32(&l->ir, trap),
               callee = ir_load(&l->ir, ALIAS_EXEC, l->ir.ptr, ir_exec(&l->ir, offsetof(struct exec_ctx, trap)), "");
  LLVMTypeRef param = l->ir.i32, type = LLVMFunctionType(l->ir.void_type, &param, 1, false);
  LLVMValueRef call = LLVMBuildCall2(builder, type, callee, &code, 1, "");
  LLVMSetTailCallKind(call, LLVMTailCallKindNoTail); /* the function is found from the return address */
  LLVMBuildUnreachable(builder);
  LLVMPositionBuilderAtEnd(builder, from);
  return *block;
}

void lower_trap_if(struct lower_func *f, LLVMValueRef condition, enum gw_trap trap) {
  LLVMBasicBlockRef trap_block = lower_trap_block(f, trap), next = lower_new_block(f, "");
  LLVMBuildCondBr(f->l->ir.builder, condition, trap_block, next);
  LLVMPositionBuilderAtEnd(f->l->ir.builder, next);
}

/* --- gas blocks ------------------------------------------------------------------------------------------------- */

/* The price is known when the block ends: until then the marker says 0. */
void close_gas_block(struct lower_func *f) {
  if (!f->marker) return;
  if (f->marker_gas == 0 && LLVMGetCalledValue(f->marker) == f->l->charge)
    LLVMInstructionEraseFromParent(f->marker);
  else
    LLVMSetOperand(f->marker, 0, ir_i64(&f->l->ir, f->marker_gas));
  f->marker = NULL;
}

/* --- profiles --- */

static void profile_enter(struct lower_func *f) {
  LLVMValueRef func = ir_i32(&f->l->ir, f->index);
  if (f->l->options->blocks)
    ir_call_helper(&f->l->ir, f->vmctx, HELPER_OFFSET_profile_enter, helper_signature_profile_enter, &func);
}

void lower_profile_leave(struct lower_func *f) {
  if (f->l->options->blocks)
    ir_call_helper(&f->l->ir, f->vmctx, HELPER_OFFSET_profile_leave, helper_signature_profile_leave, NULL);
}

static void count_block(struct lower_func *f) {
  const struct lower *l = f->l;
  if (!l->options->blocks) return;
  f->block = gas_blocks_add(l->options->blocks, f->index);
  LLVMValueRef counts = ir_load_constant(&l->ir, l->ir.ptr, f->vmctx, offsetof(struct vmctx, block_counts));
  LLVMValueRef cell = ir_offset(&l->ir, counts, f->block * sizeof(uint64_t));
  LLVMValueRef count = ir_load(&l->ir, ALIAS_EXEC, l->ir.i64, cell, "");
  ir_store(&l->ir, ALIAS_EXEC, LLVMBuildAdd(l->ir.builder, count, ir_i64(&l->ir, 1), ""), cell);
}

/* --- */

void open_gas_block(struct lower_func *f, bool is_checked) {
  close_gas_block(f);
  if (!f->l->options->gas || f->is_dead) return;
  const struct lower *l = f->l;
  LLVMValueRef zero = ir_i64(&l->ir, 0);
  f->marker_gas = 0;
  f->marker_instructions = 0;
  f->marker = LLVMBuildCall2(l->ir.builder, l->charge_type, is_checked ? l->charge_check : l->charge, &zero, 1, "");
  if (is_checked) {
    LLVMBasicBlockRef next = lower_new_block(f, "");
    LLVMBuildBr(l->ir.builder, next);
    LLVMPositionBuilderAtEnd(l->ir.builder, next);
  }
  count_block(f);
}

/* Leaves do not check the counter, as their callers do. That is enough while leaves are short; longer ones look for themselves,
 * which is a small part of what they do. */
enum { LONG_LEAF = 2000 /* bytes */ };

bool lower_checks_gas_at_entry(const struct func *func) { return func->n_calls > 0 || func->end - func->body > LONG_LEAF; }

static void count_gas(struct lower_func *f, const struct instruction *in) {
  enum cost class = op_table[in->op].cost;
  if (!f->marker) return;
  if (f->marker_instructions++ == 0) f->marker_gas = price_at(&f->prices, in->offset);
  if (!f->l->options->blocks) return;
  struct gas_block_info *block = &f->l->options->blocks->items[f->block];
  if (!block->offset) block->offset = in->offset;
  block->instructions[class]++;
}

/* --- branches --------------------------------------------------------------------------------------------------- */

static uint32_t branch_arity(const struct control *c) { return c->op == OP_LOOP ? c->type.n_params : c->type.n_results; }

static const val_type *branch_types(const struct control *c) { return c->op == OP_LOOP ? c->type.params : c->type.results; }

static struct control *label(struct lower_func *f, uint32_t depth) { return &f->controls[f->n_controls - 1 - depth]; }

LLVMBasicBlockRef add_edge(struct lower_func *f, struct control *c) {
  LLVMBasicBlockRef from = current_block(f);
  uint32_t n = branch_arity(c);
  for (uint32_t i = 0; i < n; i++) LLVMAddIncoming(c->phis[i], &f->stack[f->height - n + i], &from, 1);
  c->is_target_reached = true;
  return c->target;
}

void begin_dead_code(struct lower_func *f) {
  close_gas_block(f);
  f->is_dead = true;
}

static void lower_branch(struct lower_func *f, struct control *c) {
  LLVMBuildBr(f->l->ir.builder, add_edge(f, c));
  begin_dead_code(f);
}

static LLVMValueRef pop_condition(struct lower_func *f) {
  return LLVMBuildICmp(f->l->ir.builder, LLVMIntNE, lower_pop(f), ir_i32(&f->l->ir, 0), "");
}

static void lower_br_if(struct lower_func *f, uint32_t depth) {
  LLVMValueRef condition = pop_condition(f);
  LLVMBasicBlockRef target = add_edge(f, label(f, depth)), next = lower_new_block(f, "");
  LLVMBuildCondBr(f->l->ir.builder, condition, target, next);
  LLVMPositionBuilderAtEnd(f->l->ir.builder, next);
  open_gas_block(f, false);
}

/* A branch on a null leaves the reference behind, one on what is not null takes it along. */
static void lower_br_on_null(struct lower_func *f, uint32_t depth, bool is_on_null) {
  LLVMValueRef ref = f->stack[f->height - 1], is_null = LLVMBuildIsNull(f->l->ir.builder, ref, "");
  if (is_on_null) f->height--;
  LLVMBasicBlockRef target = add_edge(f, label(f, depth)), next = lower_new_block(f, "");
  LLVMBuildCondBr(f->l->ir.builder, is_null, is_on_null ? target : next, is_on_null ? next : target);
  LLVMPositionBuilderAtEnd(f->l->ir.builder, next);
  f->height += is_on_null ? 1 : -1;
  open_gas_block(f, false);
}

/* From this many cases on LLVM jumps through a table, by an index that must not be guessed to lie in it (lower_clamp). */
enum { MIN_JUMP_TABLE = 4 };

/* Whether the instruction before has cut the index down to what the table has. */
static bool is_cut_down(LLVMValueRef index, uint32_t n) {
  if (!LLVMIsAInstruction(index) || LLVMGetInstructionOpcode(index) != LLVMAnd) return false;
  LLVMValueRef mask = LLVMGetOperand(index, 1);
  return LLVMIsAConstantInt(mask) && LLVMConstIntGetZExtValue(mask) < n;
}

static void lower_br_table(struct lower_func *f, const struct instruction *in) {
  struct gw_error ignored = {0}; /* validated */
  struct reader r;
  reader_init(&r, in->list, in->list, f->func->end, &ignored);
  LLVMValueRef index = lower_pop(f);
  uint32_t *labels = arena_alloc_array(&f->arena, (size_t)in->count + 1, sizeof *labels);
  for (uint32_t i = 0; i <= in->count; i++) labels[i] = read_u32(&r);
  LLVMBasicBlockRef otherwise = add_edge(f, label(f, labels[in->count]));
  bool is_clamped = in->count >= MIN_JUMP_TABLE && !LLVMIsConstant(index) && !is_cut_down(index, in->count);
  LLVMBasicBlockRef never = is_clamped ? lower_new_block(f, "") : otherwise;
  if (is_clamped)
    index = lower_clamp(f->l, LLVMBuildZExt(f->l->ir.builder, index, f->l->ir.i64, ""), ir_i64(&f->l->ir, in->count));
  LLVMValueRef branch = LLVMBuildSwitch(f->l->ir.builder, index, never, in->count + is_clamped);
  for (uint32_t i = 0; i < in->count; i++)
    LLVMAddCase(branch, LLVMConstInt(LLVMTypeOf(index), i, false), add_edge(f, label(f, labels[i])));
  if (is_clamped) { /* what lies beyond becomes the last entry, so there is no branch before the jump */
    LLVMAddCase(branch, ir_i64(&f->l->ir, in->count), otherwise);
    LLVMPositionBuilderAtEnd(f->l->ir.builder, never);
    LLVMBuildUnreachable(f->l->ir.builder);
  }
  begin_dead_code(f);
}

/* --- constructs ------------------------------------------------------------------------------------------------- */

static struct control *push_control(struct lower_func *f, enum op op) {
  if (f->n_controls == f->controls_capacity) {
    uint32_t capacity = f->controls_capacity ? f->controls_capacity * 2 : 32;
    struct control *grown = arena_alloc_array(&f->arena, capacity, sizeof *grown);
    if (f->n_controls) memcpy(grown, f->controls, f->n_controls * sizeof *grown);
    f->controls = grown;
    f->controls_capacity = capacity;
  }
  struct control *c = &f->controls[f->n_controls++];
  *c = (struct control){.op = op, .is_dead = f->is_dead};
  lower_nest_exceptions(f, c);
  return c;
}

/* The block that branches to `c` lead to, with a phi per operand. */
static void make_target(struct lower_func *f, struct control *c) {
  const struct lower *l = f->l;
  LLVMBasicBlockRef from = current_block(f);
  uint32_t n = branch_arity(c);
  c->target = lower_new_block(f, c->op == OP_LOOP ? "loop" : "join");
  c->phis = arena_alloc_array(&f->arena, n, sizeof *c->phis);
  LLVMPositionBuilderAtEnd(l->ir.builder, c->target);
  for (uint32_t i = 0; i < n; i++) c->phis[i] = LLVMBuildPhi(l->ir.builder, ir_type(&l->ir, branch_types(c)[i]), "");
  if (from) LLVMPositionBuilderAtEnd(l->ir.builder, from);
}

static void lower_block(struct lower_func *f, const struct instruction *in) {
  struct control *c = push_control(f, in->op);
  if (c->is_dead) return;
  LLVMBuilderRef builder = f->l->ir.builder;
  c->type = block_func_type(f->l->m, in, &c->storage);
  LLVMValueRef condition = in->op == OP_IF ? pop_condition(f) : NULL;
  uint32_t n = c->type.n_params;
  c->height = f->height - n;
  if (in->op == OP_IF && n) {
    c->params = arena_alloc_array(&f->arena, n, sizeof *c->params);
    memcpy(c->params, f->stack + c->height, n * sizeof *c->params);
  }
  make_target(f, c);
  if (in->op == OP_LOOP) {
    LLVMBuildBr(builder, add_edge(f, c));
    LLVMPositionBuilderAtEnd(builder, c->target);
    if (n) memcpy(f->stack + c->height, c->phis, n * sizeof *c->phis);
    open_gas_block(f, true);
    count_gas(f, in);
  } else if (in->op == OP_IF) {
    LLVMBasicBlockRef then = lower_new_block(f, "then");
    c->otherwise = lower_new_block(f, "else");
    LLVMBuildCondBr(builder, condition, then, c->otherwise);
    LLVMPositionBuilderAtEnd(builder, then);
    open_gas_block(f, false);
  }
}

static void lower_else(struct lower_func *f) {
  struct control *c = label(f, 0);
  if (c->is_dead) return;
  if (!f->is_dead) {
    LLVMBuildBr(f->l->ir.builder, add_edge(f, c));
    close_gas_block(f);
  }
  f->is_dead = false;
  f->height = c->height;
  for (uint32_t i = 0; i < c->type.n_params; i++) lower_push(f, c->params[i]);
  LLVMPositionBuilderAtEnd(f->l->ir.builder, c->otherwise);
  c->op = OP_ELSE;
  open_gas_block(f, false);
}

/* An `if` without `else` passes its operands through. */
static void finish_if(struct lower_func *f, struct control *c) {
  LLVMBasicBlockRef from = current_block(f);
  size_t height = f->height;
  f->height = c->height;
  for (uint32_t i = 0; i < c->type.n_params; i++) lower_push(f, c->params[i]);
  LLVMPositionBuilderAtEnd(f->l->ir.builder, c->otherwise);
  LLVMBuildBr(f->l->ir.builder, add_edge(f, c));
  f->height = height;
  LLVMPositionBuilderAtEnd(f->l->ir.builder, from);
}

static void lower_end(struct lower_func *f, const struct instruction *in) {
  struct control *c = label(f, 0);
  f->n_controls--;
  if (c->is_dead) return;
  if (c->op == OP_LOOP) return; /* straight on, or dead */
  if (!f->is_dead) LLVMBuildBr(f->l->ir.builder, add_edge(f, c));
  if (c->op == OP_IF) finish_if(f, c);
  close_gas_block(f);
  if (c->op == OP_TRY || c->op == OP_CATCH) lower_end_try(f, c, in);
  if (!c->is_target_reached) {
    LLVMDeleteBasicBlock(c->target);
    f->is_dead = true;
    return;
  }
  f->is_dead = false;
  f->height = c->height;
  for (uint32_t i = 0; i < c->type.n_results; i++) lower_push(f, c->phis[i]);
  LLVMPositionBuilderAtEnd(f->l->ir.builder, c->target);
  if (f->n_controls) open_gas_block(f, false);
}

/* --- the function ----------------------------------------------------------------------------------------------- */

static void lower_open(struct lower_func *f, const struct instruction *in) {
  lower_block(f, in);
  if (in->op == OP_TRY_TABLE || in->op == OP_TRY) lower_try(f, in);
}

static bool lower_control(struct lower_func *f, const struct instruction *in) {
  unsigned flow = op_table[in->op].flow;
  if (flow & FLOW_OPENS) lower_open(f, in);
  if (flow & FLOW_SPLITS) in->op == OP_ELSE ? lower_else(f) : lower_catch(f, in);
  if (flow & FLOW_CLOSES) lower_end(f, in);
  if (flow & (FLOW_OPENS | FLOW_SPLITS | FLOW_CLOSES) || f->is_dead) return true;
  switch (in->op) {
  case OP_UNREACHABLE:
    LLVMBuildBr(f->l->ir.builder, lower_trap_block(f, GW_TRAP_UNREACHABLE));
    begin_dead_code(f);
    return true;
  case OP_BR: lower_branch(f, label(f, in->index)); return true;
  case OP_BR_IF: lower_br_if(f, in->index); return true;
  case OP_BR_ON_NULL:
  case OP_BR_ON_NON_NULL: lower_br_on_null(f, in->index, in->op == OP_BR_ON_NULL); return true;
  case OP_BR_TABLE: lower_br_table(f, in); return true;
  case OP_RETURN: lower_branch(f, &f->controls[0]); return true;
  case OP_THROW:
  case OP_THROW_REF:
  case OP_RETHROW: lower_throw(f, in); return true;
  default: return false;
  }
}

/* The logical stack: what this function takes of it is a constant; a small leaf's is covered by the native stack's headroom. */
void lower_depth_check(struct lower_func *f, LLVMValueRef depth) {
  const struct lower *l = f->l;
  f->depth = depth;
  uint32_t cost = func_depth_cost(l->m, f->index);
  if (cost == 0) return;
  f->depth = LLVMBuildSub(l->ir.builder, depth, ir_i32(&l->ir, cost), "depth");
  lower_trap_if(f, LLVMBuildICmp(l->ir.builder, LLVMIntSLT, f->depth, ir_i32(&l->ir, 0), ""), GW_TRAP_STACK_OVERFLOW);
}

static void lower_return(struct lower_func *f) {
  const struct lower *l = f->l;
  uint32_t n = l->m->types[f->func->type].func.n_results;
  lower_profile_leave(f);
  if (n == 1) {
    LLVMBuildRet(l->ir.builder, lower_pop(f));
    return;
  }
  for (uint32_t i = n; i-- > 0;) ir_store(&l->ir, ALIAS_EXEC, lower_pop(f), ir_result(&l->ir, i));
  LLVMBuildRetVoid(l->ir.builder);
}

static void begin_body(struct lower_func *f) {
  const struct func_type *type = &f->l->m->types[f->func->type].func;
  uint32_t room = f->func->max_stack > type->n_results ? f->func->max_stack : type->n_results;
  f->stack = arena_alloc_array(&f->arena, (size_t)room + 1, sizeof *f->stack);
  struct control *c = push_control(f, OP_BLOCK);
  c->type = (struct func_type){.n_results = type->n_results, .results = type->results};
  make_target(f, c);
}

void lower_body(struct lower_func *f, bool checks_gas) {
  struct gw_error ignored = {0}; /* validated: reading cannot fail */
  struct reader r;
  struct instruction in;
  struct price_rates rates = schedule_rates(f->l->options->schedule);
  begin_body(f);
  if (f->l->options->gas) price_blocks(f->l->m, f->index, &rates, NULL, &f->prices);
  profile_enter(f);
  open_gas_block(f, checks_gas);
  reader_init(&r, f->l->m->bytes, f->func->body, f->func->end, &ignored);
  while (f->n_controls && instruction_read(&r, &in)) {
    lower_debug_at(f, in.offset);
    lower_locals_split(f);
    if (in.op != OP_LOOP) { /* its own cost is part of every iteration */
      if (f->marker && f->marker_instructions == GAS_BLOCK_MOST) open_gas_block(f, false);
      count_gas(f, &in);
    }
    if (lower_control(f, &in)) continue;
    if (!lower_numeric(f, &in) && !lower_simd(f, &in)) lower_access(f, &in);
    if (op_does(in.op, FLOW_DEAD_BEHIND)) begin_dead_code(f); /* a tail call */
  }
  assert(!r.failed);
  prices_clear(&f->prices);
}

void lower_function(struct lower *l, uint32_t index) {
  const struct func *func = &l->m->funcs[index];
  struct lower_func f = {.l = l, .func = func, .index = index, .value = lower_callee(l, index), .arena = l->scratch};
  f.vmctx = LLVMGetParam(f.value, 0);
  LLVMPositionBuilderAtEnd(l->ir.builder, lower_new_block(&f, "entry"));
  lower_debug_enter(&f);
  lower_locals_begin(&f);
  lower_depth_check(&f, LLVMGetParam(f.value, 1));
  lower_body(&f, lower_checks_gas_at_entry(func));
  if (!f.is_dead) lower_return(&f);
  lower_debug_leave(&f);
  lower_locals_end(&f);
  arena_reset(&f.arena);
  l->scratch = f.arena;
}
