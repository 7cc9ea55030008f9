/* The log is a row of entries: struct entry, results, message, then for each piece of memory that changed a struct change and its
 * bytes. What a host function may have written is found by comparing: every piece of memory that it asked for is copied when it
 * asks and looked at when it returns, so that reading costs no space in the log. Where only few calls are kept, and those write
 * little, all that they asked for is kept instead, and the others cost nothing. */
#include "runtime/debug/record.h"

#include "runtime/host_api.h"
#include "runtime/instance.h"

#include <stdlib.h>
#include <string.h>

struct entry {
  uint64_t call; /* which one of the run it was */
  uint64_t gas;
  uint32_t func, trap;
  uint32_t n_results, n_changes, message_size;
};

struct change {
  uint64_t offset, size;
};

struct record_range {
  uint64_t offset, size;
  size_t before; /* where its bytes are in `before` */
};

void record_begin(struct record *r, enum record_scope scope, size_t limit) {
  struct buffer log = r->log, ranges = r->ranges, before = r->before;
  *r = (struct record){.scope = scope, .limit = limit, .log = log, .ranges = ranges, .before = before};
  r->log.size = 0;
}

void record_replay(struct record *r, enum record_end end) {
  r->is_replaying = true;
  r->has_parted = false;
  r->is_inside = false; /* where the first run ended in a call */
  r->end = end;
  r->at = 0;
  r->n_calls = 0;
}

void record_clear(struct record *r) {
  buffer_clear(&r->log);
  buffer_clear(&r->ranges);
  buffer_clear(&r->before);
}

void gw_store_set_record(struct gw_store *store, struct record *r) { store->record = r; }

/* --- for embedders ------------------------------------------------------------------------------------------------------ */

struct gw_record {
  struct record record;
  size_t limit;
};

struct gw_record *gw_record_create(size_t limit) {
  struct gw_record *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->limit = limit;
  gw_record_begin(r);
  return r;
}

void gw_record_destroy(struct gw_record *record) {
  if (record) record_clear(&record->record);
  free(record);
}

void gw_record_attach(struct gw_store *store, struct gw_record *record) { store->record = record ? &record->record : NULL; }

void gw_record_begin(struct gw_record *record) { record_begin(&record->record, RECORD_ALL, record->limit); }

bool gw_record_replay(struct gw_record *record) {
  if (record->record.is_full) return false;
  record_replay(&record->record, RECORD_ENDS);
  return true;
}

bool gw_record_has_parted(const struct gw_record *record) { return record->record.has_parted; }

void gw_instance_unrepeatable(struct gw_instance *instance) {
  struct record *r = instance->store->record;
  if (r) r->is_unrepeatable = true;
}

/* --- the call under way ------------------------------------------------------------------------------------------------- */

static void fill(struct record *r) {
  r->is_full = true;
  buffer_clear(&r->log);
  buffer_clear(&r->before);
}

/* Guests choose what calls ask for, again and again: nothing is copied that the limit has no room for. */
void record_note(struct record *r, uint64_t offset, const void *bytes, uint64_t size) {
  if (!r->is_inside || !size || r->is_full || r->is_replaying) return;
  struct record_range range = {.offset = offset, .size = size, .before = r->before.size};
  buffer_append(&r->ranges, &range, sizeof range);
  if (r->scope != RECORD_ALL) return;
  if (r->before.size > r->limit || size > r->limit - r->before.size)
    fill(r);
  else
    buffer_append(&r->before, bytes, size);
}

static const struct func_type *type_of(const struct gw_instance *instance, uint32_t func) {
  const struct module *m = &instance->module->decoded;
  return &m->types[m->funcs[func].type].func;
}

/* The part of a range that is not as it was; size 0 when all of it is. */
static struct change find_change(const uint8_t *before, const uint8_t *now, uint64_t offset, uint64_t size) {
  uint64_t first = 0, end = size;
  if (memcmp(before, now, size) == 0) return (struct change){0};
  while (before[first] == now[first]) first++;
  while (before[end - 1] == now[end - 1]) end--;
  return (struct change){.offset = offset + first, .size = end - first};
}

static void append(struct record *r, const void *bytes, uint64_t size) {
  if (!r->is_full && (r->log.size > r->limit || size > r->limit - r->log.size)) fill(r);
  if (!r->is_full) buffer_append(&r->log, bytes, size);
}

static uint32_t keep_changes(struct record *r, struct gw_instance *caller) {
  const struct record_range *ranges = (const struct record_range *)(const void *)r->ranges.bytes;
  uint32_t n = 0;
  for (size_t i = 0; i < r->ranges.size / sizeof *ranges && !r->is_full; i++) {
    const uint8_t *now = caller->memories[0]->ctx.base + ranges[i].offset;
    struct change change = {.offset = ranges[i].offset, .size = ranges[i].size};
    if (r->scope == RECORD_ALL) change = find_change(r->before.bytes + ranges[i].before, now, change.offset, change.size);
    if (!change.size) continue;
    append(r, &change, sizeof change);
    append(r, caller->memories[0]->ctx.base + change.offset, change.size);
    n++;
  }
  return n;
}

/* The call has been made: into the log, where it belongs there. */
static void keep(struct record *r, struct gw_instance *caller, struct entry entry, const union gw_value *values) {
  size_t start = r->log.size;
  if (r->is_full || (r->scope == RECORD_UNREPEATABLE && !r->is_unrepeatable)) return;
  const char *message = caller->store->trap.message;
  entry.n_results = type_of(caller, entry.func)->n_results;
  entry.message_size = entry.trap ? (uint32_t)strlen(message) : 0;
  append(r, &entry, sizeof entry);
  append(r, values, entry.n_results * sizeof *values);
  append(r, message, entry.message_size);
  entry.n_changes = keep_changes(r, caller);
  if (!r->is_full) memcpy(r->log.bytes + start, &entry, sizeof entry);
  r->at = r->log.size;
}

static enum gw_trap make(struct record *r, struct gw_instance *caller, uint32_t func, union gw_value *values) {
  const struct host_import *host = &caller->hosts[func];
  uint64_t before = gw_store_gas_used(caller->store);
  r->ranges.size = r->before.size = 0;
  r->is_inside = true;
  r->is_unrepeatable = false;
  enum gw_trap trap = host->fn(caller, host->env, values);
  r->is_inside = false;
  struct entry entry = {.call = r->n_calls, .func = func, .trap = trap};
  entry.gas = gw_store_gas_used(caller->store) - before;
  if (!r->is_replaying) keep(r, caller, entry, values);
  return trap;
}

/* --- the second run -------------------------------------------------------------------------------------------------------- */

static enum gw_trap part(struct record *r, struct gw_instance *caller) {
  r->has_parted = true;
  gw_instance_fail(caller, "a second run made a host call that the first did not make");
  return GW_TRAP_HOST;
}

/* The next `size` bytes of the log. */
static const void *take(struct record *r, size_t size) {
  const void *bytes = r->log.bytes + r->at;
  r->at += size;
  return bytes;
}

static bool apply_changes(struct record *r, struct gw_instance *caller, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    struct change change;
    memcpy(&change, take(r, sizeof change), sizeof change);
    void *to = gw_instance_memory(caller, change.offset, change.size);
    const void *bytes = take(r, change.size);
    if (!to) return false; /* the memory is smaller than it was */
    memcpy(to, bytes, change.size);
  }
  return true;
}

static enum gw_trap answer(struct record *r, struct gw_instance *caller, const struct entry *entry, union gw_value *values) {
  struct trap *trap = &caller->store->trap;
  take(r, sizeof *entry);
  memcpy(values, take(r, entry->n_results * sizeof *values), entry->n_results * sizeof *values);
  size_t size = entry->message_size < sizeof trap->message ? entry->message_size : sizeof trap->message - 1;
  memcpy(trap->message, take(r, entry->message_size), size);
  trap->message[size] = 0;
  if (!apply_changes(r, caller, entry->n_changes)) return part(r, caller);
  if (entry->trap != GW_TRAP_OUT_OF_GAS && !host_api_charge_gas(caller, HOST_GAS_CALLS, entry->gas)) return GW_TRAP_OUT_OF_GAS;
  return (enum gw_trap)entry->trap;
}

enum gw_trap record_call(struct record *r, struct gw_instance *caller, uint32_t func, union gw_value *values) {
  struct entry next = {.call = UINT64_MAX};
  bool is_over = r->at == r->log.size;
  r->n_calls++;
  if (r->is_replaying && is_over && r->end == RECORD_CONTINUES) r->is_replaying = false;
  if (!r->is_replaying) return make(r, caller, func, values);
  if (!is_over) memcpy(&next, r->log.bytes + r->at, sizeof next);
  if (next.call == r->n_calls) return next.func == func ? answer(r, caller, &next, values) : part(r, caller);
  if (r->scope == RECORD_ALL) return part(r, caller);
  enum gw_trap trap = make(r, caller, func, values);
  return r->is_unrepeatable ? part(r, caller) : trap;
}
