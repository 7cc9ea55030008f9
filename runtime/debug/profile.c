/* A tree of calls. Between two reports of compiled code all gas was spent by the function that is on top, so the difference of
 * the counter is put down to it: nothing is estimated, and nothing is lost. */
#include "runtime/debug/profile.h"

#include "base/array.h"
#include "runtime/instance.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 1 << 20 }; /* deeper ways count as their parents */

static bool is_on(const struct gw_store *store) { return store->engine->options.profile; }

static void put_down(struct gw_store *store) {
  struct profile *p = &store->profile;
  uint64_t used = gw_store_gas_used(store);
  p->nodes[p->current].gas += used - p->seen;
  p->seen = used;
}

static uint32_t add_node(struct profile *p, const struct profile_node *node) {
  if (p->n == p->capacity) array_grow(p->nodes, p->capacity, 64);
  p->nodes[p->n] = *node;
  return p->n++;
}

void profile_begin(struct gw_store *store) {
  struct profile *p = &store->profile;
  if (!is_on(store)) return;
  p->n = p->current = 0;
  p->seen = gw_store_gas_used(store); /* of the instance */
  add_node(p, &(struct profile_node){0});
}

void profile_end(struct gw_store *store) {
  if (is_on(store)) put_down(store);
}

static uint32_t find_child(const struct profile *p, const struct gw_instance *instance, uint32_t func) {
  uint32_t i = p->nodes[p->current].child;
  while (i && (p->nodes[i].instance != instance || p->nodes[i].func != func)) i = p->nodes[i].sibling;
  return i;
}

void profile_enter(struct gw_store *store, const struct gw_instance *instance, uint32_t func) {
  struct profile *p = &store->profile;
  if (!is_on(store)) return;
  put_down(store);
  struct profile_node *top = &p->nodes[p->current];
  if ((top->instance == instance && top->func == func) || p->n == MAX_NODES) {
    top->nested++;
    top->calls++;
    return;
  }
  uint32_t child = find_child(p, instance, func);
  if (!child) {
    struct profile_node node = {.instance = instance, .func = func, .parent = p->current, .sibling = top->child};
    child = add_node(p, &node);
    p->nodes[p->current].child = child;
  }
  p->nodes[child].calls++;
  p->current = child;
}

void profile_leave(struct gw_store *store) {
  struct profile *p = &store->profile;
  if (!is_on(store)) return;
  put_down(store);
  struct profile_node *top = &p->nodes[p->current];
  if (top->nested)
    top->nested--;
  else
    p->current = top->parent;
}

void profile_clear(struct profile *profile) {
  free(profile->nodes);
  *profile = (struct profile){0};
}

const struct profile *profile_of_store(const struct gw_store *store) { return &store->profile; }

/* --- blocks ------------------------------------------------------------------------------------------------------- */

/* Those of the code that the instance runs. */
static const struct gas_blocks *blocks_of(const struct gw_instance *instance) {
  return &instance->module->blocks[instance->store->dialect];
}

void profile_attach(struct gw_instance *instance) {
  if (!is_on(instance->store)) return;
  const struct gas_blocks *blocks = blocks_of(instance);
  instance->vmctx->block_counts = arena_alloc_array(&instance->store->arena, (size_t)blocks->n + 1, sizeof(uint64_t));
}

const struct gas_blocks *profile_blocks(const struct gw_instance *instance, const uint64_t **counts) {
  if (!is_on(instance->store)) return NULL;
  *counts = instance->vmctx->block_counts;
  return blocks_of(instance);
}
