/* Locals: allocas that mem2reg turns into SSA. One is made when the body first names it, because a declaration of 50,000 takes
 * six bytes and may stand in a million functions. The table from index to alloca belongs to the module and is as long as the
 * longest declaration; each function notes what it used and leaves the table empty.
 *
 * mem2reg looks for the first access to an alloca from the start of a block, for every alloca: many locals in a long block take
 * quadratic time. So functions with many locals get their blocks cut in pieces. Where many locals meet many blocks, or code
 * runs on without a branch (both far beyond what any producer makes), the function is left unoptimised. */
#include "base/heap.h"
#include "frontend/lower/internal.h"

#include <stdlib.h>
#include <string.h>

void lower_locals_begin(struct lower_func *f) {
  struct lower *l = f->l;
  uint32_t n = l->m->types[f->func->type].func.n_params + f->func->n_locals;
  if (n > l->locals_capacity) {
    free(l->locals);
    free(l->used_locals);
    l->locals_capacity = 2 * n;
    l->locals = heap_new(l->locals_capacity, sizeof *l->locals);
    l->used_locals = heap_new(l->locals_capacity, sizeof *l->used_locals);
  }
  LLVMBasicBlockRef body = lower_new_block(f, "body");
  f->locals_end = LLVMBuildBr(l->ir.builder, body);
  LLVMPositionBuilderAtEnd(l->ir.builder, body);
}

/* The greatest number of LLVM instructions in a row without a conditional branch. Blocks that an unconditional branch joins
 * count as one, since LLVM makes one of them. */
static uint64_t longest_run(LLVMValueRef func) {
  uint64_t longest = 0, run = 0;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b)) {
    for (LLVMValueRef at = LLVMGetFirstInstruction(b); at; at = LLVMGetNextInstruction(at)) run++;
    if (run > longest) longest = run;
    LLVMValueRef last = LLVMGetBasicBlockTerminator(b);
    if (!last || LLVMGetNumSuccessors(last) != 1) run = 0;
  }
  return longest;
}

/* What LLVM needs to follow locals through blocks grows with the product of both; what its SLP vectoriser and its machine
 * scheduler need grows with the square of a block (measured at -O1: 0.2 s for a run of 50,000, 33 s for ten times that). */
static bool is_too_large_to_optimize(const struct lower_func *f) {
  enum { MOST_PAIRS = 30000000, LONGEST_RUN = 50000 };
  if ((uint64_t)f->l->n_used_locals * LLVMCountBasicBlocks(f->value) > MOST_PAIRS) return true;
  return f->func->end - f->func->body > LONGEST_RUN / 8 && longest_run(f->value) > LONGEST_RUN;
}

void lower_locals_end(struct lower_func *f) {
  struct lower *l = f->l;
  if (is_too_large_to_optimize(f)) ir_set_unoptimized(&l->ir, f->value);
  for (uint32_t i = 0; i < l->n_used_locals; i++) l->locals[l->used_locals[i]] = (struct local){0};
  l->n_used_locals = 0;
}

void lower_locals_split(struct lower_func *f) {
  enum { MANY_LOCALS = 256, LONGEST_BLOCK = 512, LONGEST_WITH_FEW = 8192 };
  const struct lower *l = f->l;
  LLVMBasicBlockRef block = LLVMGetInsertBlock(l->ir.builder);
  if (block != f->split_block) {
    f->split_block = block;
    f->split_count = 0;
  }
  if (f->is_dead || ++f->split_count < (l->n_used_locals < MANY_LOCALS ? LONGEST_WITH_FEW : LONGEST_BLOCK)) return;
  LLVMBasicBlockRef next = lower_new_block(f, "");
  LLVMBuildBr(l->ir.builder, next);
  LLVMPositionBuilderAtEnd(l->ir.builder, next);
}

/* Behind which local each run ends, for the search below. */
static void find_run_ends(struct lower_func *f) {
  f->run_ends = arena_alloc_array(&f->arena, f->func->n_runs, sizeof *f->run_ends);
  uint32_t end = f->l->m->types[f->func->type].func.n_params;
  for (uint32_t i = 0; i < f->func->n_runs; i++) f->run_ends[i] = end += f->func->runs[i].count;
}

static val_type declared_type(struct lower_func *f, uint32_t index) {
  if (!f->run_ends) find_run_ends(f);
  uint32_t low = 0, high = f->func->n_runs - 1;
  while (low < high) { /* the first run that ends behind the local */
    uint32_t middle = low + (high - low) / 2;
    if (f->run_ends[middle] > index)
      high = middle;
    else
      low = middle + 1;
  }
  return f->func->runs[low].type;
}

static struct local make_local(struct lower_func *f, uint32_t index) {
  const struct lower *l = f->l;
  const struct func_type *type = &l->m->types[f->func->type].func;
  bool is_param = index < type->n_params;
  LLVMBasicBlockRef from = LLVMGetInsertBlock(l->ir.builder);
  LLVMMetadataRef location = LLVMGetCurrentDebugLocation2(l->ir.builder);
  struct local local = {.type = ir_type(&l->ir, is_param ? type->params[index] : declared_type(f, index))};
  LLVMValueRef first = LLVMConstNull(local.type);
  if (is_param) first = f->inlined ? f->inlined->arguments[index] : LLVMGetParam(f->value, index + 2);
  LLVMPositionBuilderBefore(l->ir.builder, f->locals_end);
  local.slot = LLVMBuildAlloca(l->ir.builder, local.type, "");
  if (f->inlined) LLVMPositionBuilderBefore(l->ir.builder, f->inlined->locals_set);
  LLVMBuildStore(l->ir.builder, first, local.slot);
  LLVMPositionBuilderAtEnd(l->ir.builder, from);
  LLVMSetCurrentDebugLocation2(l->ir.builder, location); /* the builder took over that of where it was */
  return local;
}

const struct local *lower_local(struct lower_func *f, uint32_t index) {
  struct lower *l = f->l;
  struct local *local = f->inlined ? &f->inlined->locals[index] : &l->locals[index];
  if (local->slot) return local;
  *local = make_local(f, index);
  if (!f->inlined) l->used_locals[l->n_used_locals++] = index;
  return local;
}
