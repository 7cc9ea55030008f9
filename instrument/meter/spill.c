/* Where the counter moves between its local variable, what calls hand over, and exec->gas.
 *
 * Wasm functions hand it to one another in a register (abi/abi.h), which costs nothing to write; that takes the memory out of
 * the chain of subtractions, which in recursive functions was longer than their work. Helpers find it in exec->gas, and so do
 * Wasm functions in stores with tail calls, where nothing can be handed over: there it is written before calls and returns, if it
 * has changed since it was read, and read at entry and after calls. Calls that hand it over write it as well: what a fault finds.
 * Where paths join of which only some changed it, those write it before they join: a function that calls on one path should not
 * write twice there. Reads that nobody needs are deleted by LLVM. */
#include "instrument/meter/internal.h"

#include "abi/abi.h"

/* What a block does to the counter, in sum. */
struct effect {
  bool is_dirty_in, is_dirty_out; /* changed since it was last in exec->gas */
  bool writes_first;              /* the first thing it does with a changed counter is to write it back */
  bool is_transparent;            /* neither changes it nor needs it written */
  bool is_written_at_end;         /* by decision, because of a join */
};

static void fill(struct gas_pass *p) {
  LLVMBuildStore(p->ir.builder, ir_load(&p->ir, ALIAS_EXEC, p->ir.i64, ir_exec(&p->ir, offsetof(struct exec_ctx, gas)), ""),
                 p->counter);
}

static void spill(struct gas_pass *p) {
  ir_store(&p->ir, ALIAS_EXEC, LLVMBuildLoad2(p->ir.builder, p->ir.i64, p->counter, ""),
           ir_exec(&p->ir, offsetof(struct exec_ctx, gas)));
}

bool gas_is_handing_call(const struct gas_pass *p, LLVMValueRef v) {
  if (!p->handed || !LLVMIsACallInst(v)) return false;
  unsigned n = LLVMGetNumArgOperands(v);
  return n && LLVMGetOperand(v, n - 1) == p->handed;
}

static void take(struct gas_pass *p) { LLVMBuildStore(p->ir.builder, ir_load_handed(&p->ir, p->handed), p->counter); }

static void hand(struct gas_pass *p) {
  ir_store_handed(&p->ir, LLVMBuildLoad2(p->ir.builder, p->ir.i64, p->counter, ""), p->handed);
}

static bool changes_counter(const struct gas_pass *p, LLVMValueRef v) {
  return LLVMGetInstructionOpcode(v) == LLVMStore && LLVMGetOperand(v, 1) == p->counter;
}

/* A guaranteed tail call: its return must follow at once, and the callee has the counter from here on. */
static bool is_tail_call(LLVMValueRef v) { return v && LLVMIsACallInst(v) && LLVMGetTailCallKind(v) == LLVMTailCallKindMustTail; }

static bool needs_written(const struct gas_pass *p, LLVMValueRef v) {
  if (LLVMGetInstructionOpcode(v) == LLVMRet) return !p->handed && !is_tail_call(LLVMGetPreviousInstruction(v));
  return gas_is_call(p, v);
}

static void note_effect(const struct gas_pass *p, struct effect *e, LLVMBasicBlockRef block) {
  bool has_changed = false;
  e->is_transparent = true;
  for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v)) {
    bool changes = changes_counter(p, v), needs = needs_written(p, v);
    if (needs && e->is_transparent) e->writes_first = true;
    if (changes) has_changed = true;
    if (needs) has_changed = gas_is_handing_call(p, v);
    if (changes || needs) e->is_transparent = false;
  }
  e->is_dirty_out = has_changed;
}

static bool is_dirty_at_end(const struct effect *e) {
  if (e->is_written_at_end) return false;
  return e->is_transparent ? e->is_dirty_in : e->is_dirty_out;
}

/* The least fixed point of "some predecessor leaves it changed". Every block is looked at once or twice. */
static void propagate(struct gas_pass *p, struct effect *effects) {
  const struct gas_graph *g = &p->graph;
  uint32_t *list = arena_alloc_array(&p->graph.arena, 2 * (size_t)g->n, sizeof *list), n_list = 0;
  for (uint32_t i = 0; i < g->n; i++) {
    effects[i].is_dirty_in = false;
    if (is_dirty_at_end(&effects[i])) list[n_list++] = i;
  }
  while (n_list) {
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(g->blocks[list[--n_list]].block);
    unsigned n = LLVMGetNumSuccessors(terminator);
    for (unsigned s = 0; s < n; s++) {
      uint32_t next = gas_graph_find(g, LLVMGetSuccessor(terminator, s));
      if (effects[next].is_dirty_in) continue;
      effects[next].is_dirty_in = true;
      if (effects[next].is_transparent && is_dirty_at_end(&effects[next])) list[n_list++] = next;
    }
  }
}

/* Whether the block, or the one that it leads on to without doing anything, writes first. */
static bool will_write(const struct gas_pass *p, const struct effect *effects, uint32_t i) {
  for (int steps = 0; steps < 8; steps++) {
    if (effects[i].writes_first) return true;
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(p->graph.blocks[i].block);
    if (!effects[i].is_transparent || LLVMGetNumSuccessors(terminator) != 1) return false;
    i = gas_graph_find(&p->graph, LLVMGetSuccessor(terminator, 0));
  }
  return false;
}

/* Moves writes from joins of changed and unchanged paths to the changed ones. */
static void place_writes(struct gas_pass *p, struct effect *effects) {
  const struct gas_graph *g = &p->graph;
  bool *has_clean = arena_alloc_array(&p->graph.arena, g->n, sizeof *has_clean);
  for (uint32_t i = 0; i < g->n; i++) {
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(g->blocks[i].block);
    if (is_dirty_at_end(&effects[i])) continue;
    unsigned n = LLVMGetNumSuccessors(terminator);
    for (unsigned s = 0; s < n; s++) has_clean[gas_graph_find(g, LLVMGetSuccessor(terminator, s))] = true;
  }
  for (uint32_t i = 0; i < g->n; i++) {
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(g->blocks[i].block);
    if (!is_dirty_at_end(&effects[i]) || LLVMGetNumSuccessors(terminator) != 1) continue;
    uint32_t next = gas_graph_find(g, LLVMGetSuccessor(terminator, 0));
    effects[i].is_written_at_end = has_clean[next] && will_write(p, effects, next);
  }
}

static void rewrite_block(struct gas_pass *p, const struct effect *e, LLVMBasicBlockRef block) {
  bool is_dirty = e->is_dirty_in;
  for (LLVMValueRef v = LLVMGetFirstInstruction(block), next; v; v = next) {
    next = LLVMGetNextInstruction(v);
    if (changes_counter(p, v)) is_dirty = true;
    LLVMPositionBuilderBefore(p->ir.builder, v);
    if (p->handed && (gas_is_handing_call(p, v) || LLVMGetInstructionOpcode(v) == LLVMRet)) hand(p);
    if (!needs_written(p, v)) continue;
    if (is_dirty) spill(p);
    is_dirty = gas_is_handing_call(p, v);
    if (!next || LLVMGetInstructionOpcode(next) == LLVMUnreachable || is_tail_call(v)) continue;
    LLVMPositionBuilderBefore(p->ir.builder, next);
    if (gas_is_handing_call(p, v))
      take(p);
    else
      fill(p);
  }
  if (!e->is_written_at_end) return;
  LLVMPositionBuilderBefore(p->ir.builder, LLVMGetBasicBlockTerminator(block));
  spill(p);
}

void gas_spill_counter(struct gas_pass *p) {
  gas_graph_build(&p->graph, p->func);
  struct gas_graph *g = &p->graph;
  struct effect *effects = arena_alloc_array(&g->arena, g->n, sizeof *effects);
  for (uint32_t i = 0; i < g->n; i++) note_effect(p, &effects[i], g->blocks[i].block);
  propagate(p, effects);
  place_writes(p, effects);
  propagate(p, effects);
  for (uint32_t i = 0; i < g->n; i++) rewrite_block(p, &effects[i], g->blocks[i].block);
  /* Last, because as a change of the variable it would count as one of the counter. */
  LLVMPositionBuilderBefore(p->ir.builder, LLVMGetNextInstruction(p->counter));
  if (p->handed)
    take(p);
  else
    fill(p);
  gas_graph_clear(g);
}
