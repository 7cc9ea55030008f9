#include "server/invoke/flame.h"

#include "base/array.h"
#include "base/heap.h"
#include "frontend/module.h"
#include "runtime/precise/precise.h"
#include "server/function/function.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

/* MOST_NODES: ways of calls beyond them count as who called. MOST_FRAMES: of a line; the innermost ones are left out. */
enum { MOST_NODES = 1 << 16, MOST_FRAMES = 256, NAME_SIZE = 96 };

/* One way of calls. A function that calls itself is on no new way. */
struct node {
  uint32_t func, parent, child, sibling; /* numbers of nodes; 0: none */
  uint64_t gas;                          /* its own */
};

/* A call under way. */
struct call {
  uintptr_t level;
  uint32_t func, node;
};

struct flame {
  struct gw_engine *engine;
  struct function *function;
  struct node *nodes; /* the first one is the root */
  size_t n_nodes, nodes_capacity;
  struct call *calls;
  size_t n_calls, calls_capacity;
  uint32_t current;
  uint64_t seen; /* of the phase's gas, has been put down */
};

static _Atomic int under_way;

struct flame *flame_create(struct gw_engine *engine, struct function *function) {
  if (atomic_fetch_add(&under_way, 1) >= FLAME_MOST) {
    atomic_fetch_sub(&under_way, 1);
    return NULL;
  }
  struct flame *flame = heap_new(1, sizeof *flame);
  flame->engine = engine;
  flame->function = function;
  return flame;
}

void flame_destroy(struct flame *flame) {
  if (!flame) return;
  atomic_fetch_sub(&under_way, 1);
  function_release(flame->function);
  free(flame->nodes);
  free(flame->calls);
  free(flame);
}

struct gw_engine *flame_engine(const struct flame *flame) {
  return flame->engine;
}

struct function *flame_function(const struct flame *flame) {
  return flame->function;
}

/* --- watching ----------------------------------------------------------------------------------------------------- */

static uint32_t add_node(struct flame *flame, uint32_t parent, uint32_t func) {
  if (flame->n_nodes == flame->nodes_capacity) array_grow(flame->nodes, flame->nodes_capacity, 64);
  struct node node = {.func = func, .parent = parent};
  if (flame->n_nodes) node.sibling = flame->nodes[parent].child;
  flame->nodes[flame->n_nodes] = node;
  if (flame->n_nodes) flame->nodes[parent].child = (uint32_t)flame->n_nodes;
  return (uint32_t)flame->n_nodes++;
}

static uint32_t way_to(struct flame *flame, uint32_t parent, uint32_t func) {
  const struct node *nodes = flame->nodes;
  if (parent && nodes[parent].func == func) return parent;
  uint32_t i = nodes[parent].child;
  while (i && nodes[i].func != func) i = nodes[i].sibling;
  if (i) return i;
  return flame->n_nodes < MOST_NODES ? add_node(flame, parent, func) : parent;
}

/* Frames on a higher level than before were called, on a lower one who called goes on; another function on the same level took
 * its caller's place, by a tail call or by the next call. */
static void follow(struct flame *flame, const struct precise_step *step) {
  uint32_t func = step->place.func;
  while (flame->n_calls && flame->calls[flame->n_calls - 1].level > step->level) flame->n_calls--;
  const struct call *top = flame->n_calls ? &flame->calls[flame->n_calls - 1] : NULL;
  if (top && top->level == step->level && top->func == func) {
    flame->current = top->node;
    return;
  }
  if (top && top->level == step->level) flame->n_calls--;
  uint32_t parent = flame->n_calls ? flame->calls[flame->n_calls - 1].node : 0;
  if (flame->n_calls == flame->calls_capacity) array_grow(flame->calls, flame->calls_capacity, 64);
  flame->current = way_to(flame, parent, func);
  flame->calls[flame->n_calls++] = (struct call){.level = step->level, .func = func, .node = flame->current};
}

/* The start function, _initialize and the function itself count gas from 0 each. */
static void put_down(struct flame *flame, uint64_t gas) {
  if (gas < flame->seen) flame->seen = flame->n_calls = flame->current = 0;
  flame->nodes[flame->current].gas += gas - flame->seen;
  flame->seen = gas;
}

static bool watch(void *env, struct gw_store *store, const struct precise_step *step) {
  struct flame *flame = env;
  (void)store;
  put_down(flame, step->gas);
  follow(flame, step);
  return false;
}

void flame_begin(struct flame *flame, struct gw_store *store) {
  flame->n_nodes = flame->n_calls = 0;
  flame->current = 0;
  flame->seen = 0;
  add_node(flame, 0, 0);
  precise_set_watch(store, watch, flame);
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

/* Blanks and semicolons mean something in the format, and names are the module's. */
static void put_frame(const struct module *m, uint32_t func, struct buffer *out) {
  char name[NAME_SIZE];
  func_display_name(m, func, name, sizeof name);
  for (char *c = name; *c; c++)
    if (*c == ';' || (unsigned char)*c <= ' ' || *c == 127) *c = '_';
  buffer_append_string(out, name);
}

static void put_line(const struct flame *flame, uint32_t node, struct buffer *out) {
  const struct module *m = gw_module_decoded(flame->function->module);
  uint32_t way[MOST_FRAMES];
  size_t depth = 0, all = 0;
  for (uint32_t i = node; i; i = flame->nodes[i].parent) all++;
  for (uint32_t i = node; i; i = flame->nodes[i].parent)
    if (all-- <= MOST_FRAMES) way[depth++] = i;
  while (depth) {
    put_frame(m, flame->nodes[way[--depth]].func, out);
    if (depth) buffer_append_string(out, ";");
  }
  buffer_format(out, " %" PRIu64 "\n", flame->nodes[node].gas);
}

void flame_print(struct flame *flame, uint64_t gas, struct buffer *out) {
  uint64_t inside = 0;
  for (uint32_t i = 1; i < flame->n_nodes; i++) inside += flame->nodes[i].gas;
  if (gas > inside) buffer_format(out, "(outside) %" PRIu64 "\n", gas - inside);
  for (uint32_t i = 1; i < flame->n_nodes; i++)
    if (flame->nodes[i].gas) put_line(flame, i, out);
}
