/* Commands do the same work at the beginning of every request: constructors, tables, parsing what is built in. What they do
 * before they ask for anything from outside can only be the same every time, so it is done once in an instance's life.
 *
 * The place is in the call of the host function that asks, before it has charged, counted or done anything. The fiber suspends
 * there as for a slice, and what it would go on with is copied: its frames from the stack pointer up, callee-saved registers
 * among them, because fiber_switch has pushed them. The memories, globals, tables and segments are kept as after an initialiser
 * (instance.c). Going on is putting all of it back where it was. Frames hold addresses: of the stack, the store, the
 * instance, its memories and code, and of what the caller of gw_store_start gave for results. None of these changes as long as
 * the store lives. What differs between requests (the record, the gas, what host functions see) is reached through the store and
 * the environment of the host functions, never from a frame, because the helper reads it after the place.
 *
 * Gas: the counter is in exec.gas there, and the sum is exact as at every call of a helper. So an invocation that goes on from
 * there with the limit less what was used ends where it would have ended: the place exists only when less than the limit was
 * used.
 *
 * One thing in the beginning is not the same every time: what the system refuses, as it does when it has no memory. Such a
 * beginning is not kept.
 *
 * Exceptions lie on the heap, so there must be none. Tables must not have grown; memories may have, and begin at that size. Which
 * pages a request writes to is learned anew: those of the beginning need not be the same. */
#include "runtime/checkpoint.h"

#include "runtime/debug/record.h"
#include "runtime/instance.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FRAMES = 64 << 10 };

void checkpoint_want(struct gw_instance *instance, bool (*is_same)(gw_host_fn fn), uint64_t min_gas) {
  struct gw_store *store = instance->store;
  if (store->options.tier != GW_TIER_FAST || store->engine->options.profile || !sanitizer_can_restore()) return;
  for (uint32_t i = 0; i < instance->module->decoded.n_imported_funcs; i++)
    instance->hosts[i].is_same = instance->hosts[i].fn && is_same(instance->hosts[i].fn);
  store->checkpoint.instance = instance;
  store->checkpoint.min_gas = min_gas;
}

bool checkpoint_is_kept(const struct gw_store *store) { return store->checkpoint.frames; }

uint64_t checkpoint_gas(const struct gw_store *store) { return store->checkpoint.gas; }

void checkpoint_start(struct gw_store *store) {
  struct checkpoint *c = &store->checkpoint;
  if (!c->frames) return;
  gw_store_start(store, c->func, c->values);
  c->is_starting = true;
}

/* A run that has overdrawn its limit ends at this call, whatever it is. */
static bool is_worth_it(const struct gw_store *store) {
  uint64_t used = gw_store_gas_used(store);
  return used >= store->checkpoint.min_gas && used < store->limit;
}

static bool can_take(const struct gw_store *store) {
  const struct record *record = store->record;
  bool is_whole = store->instances == store->checkpoint.instance && !store->instances->next;
  if (!is_whole || store->exceptions.all || fiber_depth(&store->fiber) > MAX_FRAMES) return false;
  if (record && (record->is_replaying || record->scope != RECORD_UNREPEATABLE)) return false;
  return instance_can_keep_grown(store->checkpoint.instance);
}

void checkpoint_reach(struct gw_store *store) {
  store->checkpoint.is_wanted = false;
  if (store->was_refused) return; /* the next invocation may get what this one did not: that one looks */
  store->checkpoint.is_decided = true;
  if (!is_worth_it(store)) return;
  store->state = RUN_AT_CHECKPOINT;
  fiber_suspend(&store->fiber);
}

void checkpoint_take(struct gw_store *store) {
  struct checkpoint *c = &store->checkpoint;
  size_t size = fiber_depth(&store->fiber);
  if (!can_take(store)) return;
  uint8_t *frames = malloc(size);
  if (!frames) return;
  fiber_save(&store->fiber, frames);
  c->is_failed = !instance_keep_grown(c->instance);
  c->frames = frames;
  c->size = size;
  c->gas = gw_store_gas_used(store);
  memcpy(c->host_gas, store->host_gas, sizeof c->host_gas);
  c->n_calls = store->record ? store->record->n_calls : 0;
  c->func = store->func;
  c->values = store->values;
  atomic_fetch_add_explicit(&store->engine->memory_bytes, size, memory_order_relaxed);
}

void checkpoint_restore(struct gw_store *store) {
  const struct checkpoint *c = &store->checkpoint;
  fiber_restore(&store->fiber, c->frames, c->size);
  for (int i = 0; i < HOST_GAS_COUNT; i++) store->host_gas[i] += c->host_gas[i];
  if (store->record) store->record->n_calls = c->n_calls;
}

void checkpoint_clear(struct gw_store *store) {
  struct checkpoint *c = &store->checkpoint;
  atomic_fetch_sub_explicit(&store->engine->memory_bytes, c->size, memory_order_relaxed);
  free(c->frames);
  *c = (struct checkpoint){0};
}
