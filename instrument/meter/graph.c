/* Depth-first numbers of a function's blocks: LLVM's C interface knows neither loops nor dominators. */
#include "instrument/meter/internal.h"

uint32_t gas_graph_find(const struct gas_graph *g, LLVMBasicBlockRef block) { return index_map_find(&g->numbers, block); }

bool gas_graph_is_back_edge(const struct gas_graph *g, uint32_t from, uint32_t to) {
  return g->blocks[to].before <= g->blocks[from].before && g->blocks[from].after <= g->blocks[to].after;
}

static uint32_t add_block(struct gas_graph *g, LLVMBasicBlockRef block, uint32_t clock) {
  g->blocks[g->n] = (struct gas_block){.block = block, .before = clock};
  return index_map_add(&g->numbers, block, g->n++);
}

void gas_graph_build(struct gas_graph *g, LLVMValueRef func) {
  *g = (struct gas_graph){0};
  uint32_t count = LLVMCountBasicBlocks(func), depth = 0, clock = 0;
  g->blocks = arena_alloc_array(&g->arena, count, sizeof *g->blocks);
  struct frame {
    uint32_t block;
    unsigned next;
  } *stack = arena_alloc_array(&g->arena, count, sizeof *stack);
  stack[depth++] = (struct frame){add_block(g, LLVMGetEntryBasicBlock(func), clock++), 0};
  while (depth) {
    struct frame *top = &stack[depth - 1];
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(g->blocks[top->block].block);
    if (top->next == LLVMGetNumSuccessors(terminator)) {
      g->blocks[top->block].after = clock++;
      depth--;
      continue;
    }
    LLVMBasicBlockRef successor = LLVMGetSuccessor(terminator, top->next++);
    if (gas_graph_find(g, successor) == NO_BLOCK) stack[depth++] = (struct frame){add_block(g, successor, clock++), 0};
  }
}

void gas_graph_clear(struct gas_graph *g) {
  index_map_free(&g->numbers);
  arena_clear(&g->arena);
}
