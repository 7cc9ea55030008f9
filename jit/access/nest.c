/* Loops are strongly connected components (Tarjan's algorithm) of the graph of blocks, and those that remain in one without its
 * header are the loops inside. A header is where control comes in from outside; WebAssembly's loops have one. */
#define _GNU_SOURCE /* qsort_r */
#include "jit/access/nest.h"

#include "base/array.h"
#include "base/heap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BLOCKS = 1 << 17, MOST_DEPTH = 32, NONE = UINT32_MAX };

struct block {
  LLVMValueRef end;
  uint32_t first;      /* of its successors in `successors` */
  uint32_t region;     /* NONE: taken out */
  uint32_t index, low; /* Tarjan's; 0: not seen */
  uint32_t next;       /* successor to look at */
  uint32_t component;  /* by the index of its last block found */
  bool is_entry;       /* of its component */
  bool is_on_stack;
};

struct nest {
  struct block *blocks;
  uint32_t *successors, *stack, *path;
  struct index_map numbers;                   /* of blocks, by their ends */
  uint32_t *predecessors, *first_predecessor; /* [n + 1]: where a block's begin */
  uint32_t n, n_stack, n_path, n_seen, region;
  struct value_set *ends;
  struct nest_loops *loops;
};

/* --- the graph ------------------------------------------------------------------------------------------------------- */

/* False: there are too many blocks. */
static bool make_graph(struct nest *g, LLVMValueRef function) {
  uint32_t n_edges = 0;
  g->n = LLVMCountBasicBlocks(function);
  if (g->n > MOST_BLOCKS) return false;
  g->blocks = heap_new((size_t)g->n + 1, sizeof *g->blocks);
  uint32_t i = 0;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(function); b; b = LLVMGetNextBasicBlock(b), i++) {
    g->blocks[i] = (struct block){.end = LLVMGetBasicBlockTerminator(b), .first = n_edges};
    index_map_add(&g->numbers, g->blocks[i].end, i);
    n_edges += LLVMGetNumSuccessors(g->blocks[i].end);
  }
  g->blocks[g->n].first = n_edges;
  g->successors = heap_new(n_edges, sizeof *g->successors);
  for (i = 0; i < g->n; i++)
    for (uint32_t k = g->blocks[i].first; k < g->blocks[i + 1].first; k++) {
      LLVMBasicBlockRef to = LLVMGetSuccessor(g->blocks[i].end, k - g->blocks[i].first);
      g->successors[k] = index_map_find(&g->numbers, LLVMGetBasicBlockTerminator(to));
    }
  g->predecessors = heap_new(n_edges, sizeof *g->predecessors);
  g->first_predecessor = heap_new((size_t)g->n + 2, sizeof *g->first_predecessor);
  for (uint32_t k = 0; k < n_edges; k++) g->first_predecessor[g->successors[k] + 2]++;
  for (i = 2; i <= g->n + 1; i++) g->first_predecessor[i] += g->first_predecessor[i - 1];
  for (i = 0; i < g->n; i++)
    for (uint32_t k = g->blocks[i].first; k < g->blocks[i + 1].first; k++)
      g->predecessors[g->first_predecessor[g->successors[k] + 1]++] = i;
  g->stack = heap_new(g->n, sizeof *g->stack);
  g->path = heap_new(g->n, sizeof *g->path);
  return true;
}

static void free_graph(struct nest *g) {
  free(g->blocks);
  free(g->successors);
  free(g->predecessors);
  free(g->first_predecessor);
  free(g->stack);
  free(g->path);
  index_map_free(&g->numbers);
}

/* --- components ------------------------------------------------------------------------------------------------------- */

static void enter(struct nest *g, uint32_t i) {
  struct block *b = &g->blocks[i];
  b->index = b->low = ++g->n_seen;
  b->next = b->first;
  b->is_on_stack = true;
  g->stack[g->n_stack++] = i;
  g->path[g->n_path++] = i;
}

static void leave(struct nest *g, uint32_t i) {
  struct block *b = &g->blocks[i];
  g->n_path--;
  if (g->n_path && g->blocks[g->path[g->n_path - 1]].low > b->low) g->blocks[g->path[g->n_path - 1]].low = b->low;
  if (b->low != b->index) return;
  uint32_t member;
  do {
    member = g->stack[--g->n_stack];
    g->blocks[member].is_on_stack = false;
    g->blocks[member].component = i;
  } while (member != i);
}

/* Of the blocks of the region at hand, on a path of its own, as functions may have very many blocks. */
static void find_components(struct nest *g, const uint32_t *members, uint32_t n) {
  g->n_seen = 0;
  for (uint32_t i = 0; i < n; i++) g->blocks[members[i]].index = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (!g->blocks[members[i]].index) enter(g, members[i]);
    while (g->n_path) {
      uint32_t at = g->path[g->n_path - 1];
      struct block *b = &g->blocks[at];
      if (b->next == g->blocks[at + 1].first) {
        leave(g, at);
        continue;
      }
      const uint32_t to = g->successors[b->next++];
      struct block *other = &g->blocks[to];
      if (other->region != g->region) continue;
      if (!other->index)
        enter(g, to);
      else if (other->is_on_stack && other->index < b->low)
        b->low = other->index;
    }
  }
}

static bool goes_to_itself(const struct nest *g, uint32_t i) {
  for (uint32_t k = g->blocks[i].first; k < g->blocks[i + 1].first; k++)
    if (g->successors[k] == i) return true;
  return false;
}

/* Whether control comes into the block from outside of its component. */
static bool is_entry(const struct nest *g, uint32_t i) {
  const struct block *to = &g->blocks[i];
  for (uint32_t k = g->first_predecessor[i]; k < g->first_predecessor[i + 1]; k++) {
    const struct block *from = &g->blocks[g->predecessors[k]];
    if (from->region != to->region || from->component != to->component) return true;
  }
  return false;
}

static int compare(const void *a, const void *b, void *env) {
  const struct nest *g = env;
  uint32_t p = g->blocks[*(const uint32_t *)a].component, q = g->blocks[*(const uint32_t *)b].component;
  return (p > q) - (p < q);
}

static void end_loop(struct nest *g) {
  struct nest_loops *l = g->loops;
  if (l->n == l->capacity) array_grow(l->ends, l->capacity, 16);
  l->ends[l->n++] = g->ends->n;
}

/* Adds to `ends` those of `members` that lie in innermost loops; returns whether there was any loop. */
static bool search(struct nest *g, uint32_t *members, uint32_t n, int depth) {
  bool found = false;
  uint32_t region = ++g->region;
  for (uint32_t i = 0; i < n; i++) g->blocks[members[i]].region = region;
  find_components(g, members, n);
  for (uint32_t i = 0; i < n; i++) g->blocks[members[i]].is_entry = is_entry(g, members[i]);
  qsort_r(members, n, sizeof *members, compare, g);
  for (uint32_t from = 0, to; from < n; from = to) {
    uint32_t component = g->blocks[members[from]].component, kept = from;
    for (to = from; to < n && g->blocks[members[to]].component == component; to++) {
    }
    if (to == from + 1 && !goes_to_itself(g, members[from])) continue;
    found = true;
    for (uint32_t i = from; i < to; i++) {
      uint32_t member = members[i];
      bool is_header = g->blocks[member].is_entry;
      if (!is_header)
        members[i] = members[kept], members[kept++] = member;
      else
        g->blocks[member].region = NONE;
    }
    bool has_loops = depth == MOST_DEPTH || (kept < to && search(g, members + from, kept - from, depth + 1));
    for (uint32_t i = from; i < to && !has_loops; i++) value_set_add(g->ends, g->blocks[members[i]].end);
    if (!has_loops) end_loop(g);
  }
  return found;
}

void nest_free(struct nest_loops *loops) { free(loops->ends); }

void nest_find_innermost(LLVMValueRef function, struct value_set *ends, struct nest_loops *loops) {
  struct nest g = {.ends = ends, .loops = loops};
  loops->n = 0;
  if (make_graph(&g, function)) {
    uint32_t *members = heap_new(g.n, sizeof *members);
    for (uint32_t i = 0; i < g.n; i++) members[i] = i;
    search(&g, members, g.n, 0);
    free(members);
  }
  free_graph(&g);
}
