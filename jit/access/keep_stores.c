/* Stores that LLVM may not take out of a loop, for code without gas.
 *
 * LLVM moves a store whose address does not change out of its loop, behind it. Where the loop never ends, nothing is behind it,
 * and a store that must trap never comes. With gas the loop ends, and the judge finds the trap. Without, such stores are
 * volatile.
 *
 * An address does not change on a way around, if none of the values that it is made of is new on that way: a phi, what a call
 * returns, what was read from memory. So a store's place is looked for on a way from its block back to it, through no block that
 * makes one of them. A load of the same place in front of the store traps first, and is kept by other passes: that is how sums in
 * memory stay fast. */
#include "frontend/lower/values.h"
#include "jit/access/access.h"

#include "base/heap.h"
#include "base/index_map.h"

#include <llvm-c/Target.h>

#include <stdlib.h>
#include <string.h>

enum {
  MOST_LEAVES = 16,      /* values that an address is made of */
  MOST_NODES = 64,       /* what stands between */
  MOST_VISITS = 1 << 24, /* blocks on all ways of a function; beyond, every store of a loop is kept */
};

struct graph {
  LLVMValueRef *ends;           /* of the blocks */
  uint32_t *first, *successors; /* first: [n + 1] */
  uint32_t *component;          /* blocks of one number are on ways around with each other */
  bool *has_way;                /* by component: whether there is a way around */
  uint32_t *seen, *stack;       /* seen: the round in which a block was met */
  uint32_t n, round, visits;
  struct index_map numbers; /* of blocks, by their ends */
};

/* --- the graph ---------------------------------------------------------------------------------------------------- */

static void make_graph(struct graph *g, LLVMValueRef function) {
  uint32_t n_edges = 0, i = 0;
  g->n = LLVMCountBasicBlocks(function);
  g->ends = heap_new(g->n, sizeof *g->ends);
  g->first = heap_new((size_t)g->n + 1, sizeof *g->first);
  g->component = heap_new(g->n, sizeof *g->component);
  g->has_way = heap_new((size_t)g->n + 1, sizeof *g->has_way);
  g->seen = heap_new(g->n, sizeof *g->seen);
  g->stack = heap_new((size_t)g->n + 1, sizeof *g->stack);
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(function); b; b = LLVMGetNextBasicBlock(b), i++) {
    g->ends[i] = LLVMGetBasicBlockTerminator(b);
    index_map_add(&g->numbers, g->ends[i], i);
    g->first[i] = n_edges;
    n_edges += LLVMGetNumSuccessors(g->ends[i]);
  }
  g->first[g->n] = n_edges;
  g->successors = heap_new(n_edges, sizeof *g->successors);
  for (i = 0; i < g->n; i++)
    for (uint32_t k = g->first[i]; k < g->first[i + 1]; k++)
      g->successors[k] = index_map_find(&g->numbers, LLVMGetBasicBlockTerminator(LLVMGetSuccessor(g->ends[i], k - g->first[i])));
}

static void free_graph(struct graph *g) {
  free(g->ends);
  free(g->first);
  free(g->successors);
  free(g->component);
  free(g->has_way);
  free(g->seen);
  free(g->stack);
  index_map_free(&g->numbers);
  *g = (struct graph){0};
}

/* Tarjan's algorithm, without recursion: `low` is 0 before a block is met, and `next` the edge to follow. */
struct tarjan {
  uint32_t *low, *index, *next, *path, *open;
  uint32_t n_path, n_open, n_met, n_components;
};

static void meet(struct tarjan *t, uint32_t block) {
  t->low[block] = t->index[block] = ++t->n_met;
  t->path[t->n_path++] = t->open[t->n_open++] = block;
}

/* All open blocks from `block` on are a component. */
static void close_component(struct graph *g, struct tarjan *t, uint32_t block) {
  uint32_t size = 0, member;
  t->n_components++;
  do {
    member = t->open[--t->n_open];
    g->component[member] = t->n_components;
    size++;
  } while (member != block);
  g->has_way[t->n_components] = size > 1;
  for (uint32_t k = g->first[block]; k < g->first[block + 1]; k++) g->has_way[t->n_components] |= g->successors[k] == block;
}

static void leave(struct graph *g, struct tarjan *t, uint32_t block) {
  t->n_path--;
  if (t->low[block] == t->index[block]) close_component(g, t, block);
  if (!t->n_path) return;
  uint32_t from = t->path[t->n_path - 1];
  if (t->low[block] < t->low[from]) t->low[from] = t->low[block];
}

static void step(struct graph *g, struct tarjan *t) {
  uint32_t block = t->path[t->n_path - 1], edge = g->first[block] + t->next[block]++;
  if (edge == g->first[block + 1]) {
    leave(g, t, block);
    return;
  }
  uint32_t to = g->successors[edge];
  if (!t->low[to])
    meet(t, to);
  else if (!g->component[to] && t->index[to] < t->low[block])
    t->low[block] = t->index[to];
}

static void find_components(struct graph *g) {
  struct tarjan t = {.low = heap_new(g->n, 4), .index = heap_new(g->n, 4), .next = heap_new(g->n, 4)};
  t.path = heap_new(g->n, 4);
  t.open = heap_new(g->n, 4);
  for (uint32_t i = 0; i < g->n; i++) {
    if (!t.low[i]) meet(&t, i);
    while (t.n_path) step(g, &t);
  }
  free(t.low);
  free(t.index);
  free(t.next);
  free(t.path);
  free(t.open);
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

static uint32_t block_of(const struct graph *g, LLVMValueRef v) {
  return index_map_find(&g->numbers, LLVMGetBasicBlockTerminator(LLVMGetInstructionParent(v)));
}

/* What may be another value each time that it is come to. What is read from elsewhere than guests' memory may be moved. */
static bool is_leaf(LLVMValueRef v) { return LLVMIsAPHINode(v) || LLVMIsACallInst(v) || value_is_guest_load(v); }

/* The blocks of the leaves of `v`, each once or more; false: there are too many. */
static bool find_leaves(const struct graph *g, LLVMValueRef v, uint32_t leaves[MOST_LEAVES], uint32_t *n) {
  LLVMValueRef nodes[MOST_NODES] = {v};
  for (size_t at = 0, end = 1; at < end; at++) {
    LLVMValueRef node = nodes[at];
    if (!LLVMIsAInstruction(node)) continue;
    if (is_leaf(node)) {
      if (*n == MOST_LEAVES) return false;
      leaves[(*n)++] = block_of(g, node);
      continue;
    }
    for (unsigned k = 0; k < (unsigned)LLVMGetNumOperands(node); k++) {
      if (end == MOST_NODES) return false;
      nodes[end++] = LLVMGetOperand(node, k);
    }
  }
  return true;
}

/* Whether a way leads from `block` back to it and through none of the leaves. */
static bool comes_around(struct graph *g, uint32_t block, const uint32_t *leaves, uint32_t n_leaves) {
  uint32_t n = 0;
  g->round++;
  for (uint32_t i = 0; i < n_leaves; i++) {
    if (leaves[i] == block) return false;
    g->seen[leaves[i]] = g->round;
  }
  g->stack[n++] = block;
  while (n) {
    uint32_t at = g->stack[--n];
    for (uint32_t k = g->first[at]; k < g->first[at + 1]; k++) {
      uint32_t to = g->successors[k];
      if (to == block || ++g->visits > MOST_VISITS) return true;
      if (g->seen[to] == g->round || g->component[to] != g->component[block]) continue;
      g->seen[to] = g->round;
      g->stack[n++] = to;
    }
  }
  return false;
}

/* Whether a load in front of the store, of its block, reads the same bytes. */
static bool is_read_before(LLVMTargetDataRef layout, LLVMValueRef store) {
  LLVMValueRef address = LLVMGetOperand(store, 1);
  unsigned long long size = LLVMStoreSizeOfType(layout, LLVMTypeOf(LLVMGetOperand(store, 0)));
  for (LLVMValueRef v = LLVMGetPreviousInstruction(store); v; v = LLVMGetPreviousInstruction(v))
    if (value_is_guest_load(v) && LLVMGetOperand(v, 0) == address && LLVMStoreSizeOfType(layout, LLVMTypeOf(v)) >= size)
      return true;
  return false;
}

/* --- the pass ------------------------------------------------------------------------------------------------------ */

static void keep(struct graph *g, LLVMTargetDataRef layout, LLVMValueRef store, uint32_t block) {
  uint32_t leaves[MOST_LEAVES], n = 0;
  if (!g->has_way[g->component[block]] || is_read_before(layout, store)) return;
  bool is_known = find_leaves(g, LLVMGetOperand(store, 1), leaves, &n);
  if (!is_known || comes_around(g, block, leaves, n)) LLVMSetVolatile(store, true);
}

static bool has_stores(LLVMValueRef function) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(function); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (value_is_guest_store(v)) return true;
  return false;
}

void access_keep_stores(LLVMModuleRef module) {
  struct graph g = {0};
  LLVMTargetDataRef layout = LLVMGetModuleDataLayout(module);
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f)) {
    if (!has_stores(f)) continue;
    make_graph(&g, f);
    find_components(&g);
    for (uint32_t i = 0; i < g.n; i++)
      for (LLVMValueRef v = LLVMGetFirstInstruction(LLVMGetInstructionParent(g.ends[i])); v; v = LLVMGetNextInstruction(v))
        if (value_is_guest_store(v)) keep(&g, layout, v, i);
    free_graph(&g);
  }
}
