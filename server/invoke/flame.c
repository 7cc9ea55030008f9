#include "server/invoke/flame.h"

#include "base/array.h"
#include "base/heap.h"
#include "frontend/module.h"
#include "runtime/precise/precise.h"
#include "server/function/function.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* What a profile has at most, whatever the module does: MOST_NODES ways of calls, each of MOST_FRAMES, and MOST_TEXT bytes of
 * lines without their numbers. A way beyond them counts as who called. */
enum { MOST_NODES = 1 << 16, MOST_FRAMES = 256, NAME_SIZE = 96, MOST_TEXT = 4 << 20, N_BUCKETS = 2 * MOST_NODES };

/* One way of calls. A function that calls itself is on no new way. */
struct node {
  uint32_t func, parent;    /* a node's number; 0: none */
  uint32_t name, name_size; /* where in the names */
  uint32_t depth, line_size;
  uint64_t gas; /* its own */
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
  uint32_t *buckets; /* a node's number by its parent and function; 0: free */
  uint8_t key[crypto_shorthash_KEYBYTES];
  struct buffer names;
  size_t text_size; /* of all lines */
  bool is_full;
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
  flame->buckets = heap_new(N_BUCKETS, sizeof *flame->buckets);
  randombytes_buf(flame->key, sizeof flame->key);
  return flame;
}

bool flame_may_begin(void) { return atomic_load(&under_way) < FLAME_MOST; }

void flame_destroy(struct flame *flame) {
  if (!flame) return;
  atomic_fetch_sub(&under_way, 1);
  function_release(flame->function);
  free(flame->nodes);
  free(flame->buckets);
  free(flame->calls);
  buffer_clear(&flame->names);
  free(flame);
}

struct gw_engine *flame_engine(const struct flame *flame) {
  return flame->engine;
}

struct function *flame_function(const struct flame *flame) {
  return flame->function;
}

/* --- watching ----------------------------------------------------------------------------------------------------- */

/* Blanks and semicolons mean something in the format, and names are the module's. */
static void put_name(struct flame *flame, struct node *node) {
  char name[NAME_SIZE];
  func_display_name(gw_module_decoded(flame->function->module), node->func, name, sizeof name);
  for (char *c = name; *c; c++)
    if (*c == ';' || (unsigned char)*c <= ' ' || *c == 127) *c = '_';
  node->name = (uint32_t)flame->names.size;
  node->name_size = (uint32_t)strlen(name);
  buffer_append(&flame->names, name, node->name_size);
}

/* Where the way is, or a free place for it. Keyed: what the module chooses must not meet in one place. */
static uint32_t *bucket_of(const struct flame *flame, uint32_t parent, uint32_t func) {
  uint32_t way[2] = {parent, func};
  uint64_t hash;
  crypto_shorthash((uint8_t *)&hash, (const uint8_t *)way, sizeof way, flame->key);
  uint32_t *at = &flame->buckets[hash % N_BUCKETS];
  while (*at && (flame->nodes[*at].parent != parent || flame->nodes[*at].func != func))
    if (++at == flame->buckets + N_BUCKETS) at = flame->buckets;
  return at;
}

static void push_node(struct flame *flame, const struct node *node) {
  if (flame->n_nodes == flame->nodes_capacity) array_grow(flame->nodes, flame->nodes_capacity, 64);
  flame->nodes[flame->n_nodes++] = *node;
}

/* 0: there is no room for it. */
static uint32_t add_node(struct flame *flame, uint32_t parent, uint32_t func) {
  const struct node *caller = &flame->nodes[parent];
  struct node node = {.func = func, .parent = parent, .depth = caller->depth + 1};
  if (node.depth > MOST_FRAMES || flame->is_full) return 0;
  put_name(flame, &node);
  node.line_size = caller->line_size + node.name_size + 1;
  flame->text_size += node.line_size;
  flame->is_full = flame->n_nodes == MOST_NODES || flame->text_size > MOST_TEXT;
  if (flame->is_full) return 0;
  push_node(flame, &node);
  return (uint32_t)flame->n_nodes - 1;
}

static uint32_t way_to(struct flame *flame, uint32_t parent, uint32_t func) {
  if (parent && flame->nodes[parent].func == func) return parent;
  uint32_t *at = bucket_of(flame, parent, func);
  if (!*at) *at = add_node(flame, parent, func);
  return *at ? *at : parent;
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
  flame->n_nodes = flame->n_calls = flame->text_size = 0;
  flame->current = 0;
  flame->seen = 0;
  flame->is_full = false;
  buffer_clear(&flame->names);
  memset(flame->buckets, 0, N_BUCKETS * sizeof *flame->buckets);
  push_node(flame, &(struct node){0});
  precise_set_watch(store, watch, flame);
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static void put_line(const struct flame *flame, uint32_t node, struct buffer *out) {
  uint32_t way[MOST_FRAMES];
  size_t depth = 0;
  for (uint32_t i = node; i; i = flame->nodes[i].parent) way[depth++] = i;
  while (depth) {
    const struct node *frame = &flame->nodes[way[--depth]];
    buffer_append(out, flame->names.bytes + frame->name, frame->name_size);
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
