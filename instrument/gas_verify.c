/* Whether a function can go on without end and never look at the counter: section 4 of docs/gas.md, made sure of for every
 * function where the engine verifies.
 *
 * Blocks without a look, and the edges between them, must have no cycle but those of loops that gas_loop.c converted, which go
 * round for CHUNK_GAS at most. Then what lies between two looks is a path, and no longer than the function. Calls of functions
 * that look when they are entered are looks; leaves are short. */
#include "instrument/gas_internal.h"

struct frame {
  uint32_t block;
  unsigned next;
};

static bool looks(const struct gas_pass *p, LLVMBasicBlockRef block) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v)) {
    if (LLVMGetInstructionOpcode(v) != LLVMCall) continue;
    LLVMValueRef callee = LLVMGetCalledValue(v);
    if (callee == p->charge_check || LLVMIsAInlineAsm(callee) || gas_is_checking_call(p, v)) return true;
  }
  return false;
}

static bool is_counted_edge(const struct gas_pass *p, uint32_t from, uint32_t to) {
  for (uint32_t i = 0; i < p->n_converted; i++)
    if (p->converted[i] == p->graph.blocks[to].block) return gas_graph_is_back_edge(&p->graph, from, to);
  return false;
}

enum colour { NOT_SEEN, OPEN, DONE };

/* Depth first from `start`. False: a cycle. */
static bool walk(const struct gas_pass *p, enum colour *colours, struct frame *stack, uint32_t start) {
  uint32_t depth = 0;
  if (colours[start] == NOT_SEEN) stack[depth++] = (struct frame){start, 0};
  while (depth) {
    struct frame *top = &stack[depth - 1];
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(p->graph.blocks[top->block].block);
    if (top->next == LLVMGetNumSuccessors(terminator) || (top->next == 0 && looks(p, p->graph.blocks[top->block].block))) {
      colours[top->block] = DONE;
      depth--;
      continue;
    }
    colours[top->block] = OPEN;
    uint32_t to = gas_graph_find(&p->graph, LLVMGetSuccessor(terminator, top->next++));
    if (colours[to] == DONE || is_counted_edge(p, top->block, to)) continue;
    if (colours[to] == OPEN) return false;
    stack[depth++] = (struct frame){to, 0};
  }
  return true;
}

bool gas_always_looks(struct gas_pass *p) {
  gas_graph_build(&p->graph, p->func);
  struct gas_graph *g = &p->graph;
  enum colour *colours = arena_alloc_array(&g->arena, g->n, sizeof *colours);
  struct frame *stack = arena_alloc_array(&g->arena, g->n, sizeof *stack);
  bool ok = true;
  for (uint32_t i = 0; i < g->n && ok; i++) ok = walk(p, colours, stack, i);
  gas_graph_clear(g);
  return ok;
}
