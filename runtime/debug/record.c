/* The log is a row of entries: struct entry, results, message, then for each piece of memory that changed a struct change and its
 * bytes. What a host function may have written is found by comparing: every piece of memory that it asked for is copied when it
 * asks and looked at when it returns, so that reading costs no space in the log. Where only few calls are kept, and those write
 * little, all that they asked for is kept instead, and the others cost nothing. */
#include "runtime/debug/record.h"

#include "runtime/host_api.h"
#include "runtime/instance.h"

#include <stddef.h>
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

/* Which call it was says nothing where the second run is loose; there the number says whether the entry was used. */
enum { LOOSE_NEW, LOOSE_USED };

static void mark_used(struct record *r, size_t at, uint64_t mark) {
  memcpy(r->log.bytes + at + offsetof(struct entry, call), &mark, sizeof mark);
}

static bool skip_entry(const uint8_t *log, size_t size, size_t *at);

void record_replay(struct record *r, enum record_end end) {
  for (size_t at = 0;
       r->is_loose && at < r->log.size && (mark_used(r, at, LOOSE_NEW), skip_entry(r->log.bytes, r->log.size, &at));) {
  }
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

static bool skip(size_t *at, size_t size, uint64_t n) {
  if (n > size - *at) return false;
  *at += n;
  return true;
}

/* The entry at `*at`, which moves behind it. */
static bool skip_entry(const uint8_t *log, size_t size, size_t *at) {
  struct entry entry;
  size_t start = *at;
  if (!skip(at, size, sizeof entry)) return false;
  memcpy(&entry, log + start, sizeof entry);
  if (!skip(at, size, (uint64_t)entry.n_results * sizeof(union gw_value)) || !skip(at, size, entry.message_size)) return false;
  for (uint32_t i = 0; i < entry.n_changes; i++) {
    struct change change;
    start = *at;
    if (!skip(at, size, sizeof change)) return false;
    memcpy(&change, log + start, sizeof change);
    if (!skip(at, size, change.size)) return false;
  }
  return true;
}

bool record_load(struct record *r, enum record_scope scope, const void *log, size_t size) {
  record_begin(r, scope, size);
  for (size_t at = 0; at < size;)
    if (!skip_entry(log, size, &at)) return false;
  if (size) buffer_append(&r->log, log, size);
  return true;
}

static uint32_t find_import(const struct module *m, const struct import *wanted) {
  for (uint32_t i = 0; i < m->n_imported_funcs; i++) {
    const struct import *at = &m->imports[m->funcs[i].import];
    if (at->module.size == wanted->module.size && at->field.size == wanted->field.size &&
        !memcmp(at->module.bytes, wanted->module.bytes, wanted->module.size) &&
        !memcmp(at->field.bytes, wanted->field.bytes, wanted->field.size))
      return i;
  }
  return UINT32_MAX;
}

void record_rename(struct record *r, const struct module *from, const struct module *to) {
  r->is_loose = true;
  for (size_t at = 0, start = 0; at < r->log.size; start = at) {
    struct entry entry;
    if (!skip_entry(r->log.bytes, r->log.size, &at)) return;
    memcpy(&entry, r->log.bytes + start, sizeof entry);
    entry.func =
        entry.func < from->n_imported_funcs ? find_import(to, &from->imports[from->funcs[entry.func].import]) : UINT32_MAX;
    memcpy(r->log.bytes + start, &entry, sizeof entry);
  }
}

bool record_is_used_up(const struct record *r) { return r->at == r->log.size; }

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
  for (; r; r = r->source) r->is_unrepeatable = true;
}

/* --- the call under way ------------------------------------------------------------------------------------------------- */

static void fill(struct record *r) {
  r->is_full = true;
  buffer_clear(&r->log);
  buffer_clear(&r->before);
}

/* Guests choose what calls ask for, again and again: nothing is copied that the limit has no room for. */
void record_note(struct record *r, uint64_t offset, const void *bytes, uint64_t size) {
  if (!r->is_inside || !size || r->is_full || (r->is_replaying && !r->is_loose)) return;
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
  enum gw_trap trap = r->source ? record_call(r->source, caller, func, values) : host->fn(caller, host->env, values);
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
  if (n && !caller->module->decoded.n_memories) return false;
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
  if (entry->n_results != type_of(caller, entry->func)->n_results) return part(r, caller);
  take(r, sizeof *entry);
  memcpy(values, take(r, entry->n_results * sizeof *values), entry->n_results * sizeof *values);
  size_t size = entry->message_size < sizeof trap->message ? entry->message_size : sizeof trap->message - 1;
  memcpy(trap->message, take(r, entry->message_size), size);
  trap->message[size] = 0;
  if (!apply_changes(r, caller, entry->n_changes)) return part(r, caller);
  if (entry->trap != GW_TRAP_OUT_OF_GAS && !host_api_charge_gas(caller, HOST_GAS_CALLS, entry->gas)) return GW_TRAP_OUT_OF_GAS;
  return (enum gw_trap)entry->trap;
}

/* Results and bytes of the entry in place of those that the host has just given, where they are as many. */
static void put_over(struct record *r, struct gw_instance *caller, const struct entry *entry, union gw_value *values) {
  const struct record_range *ranges = (const struct record_range *)(const void *)r->ranges.bytes;
  size_t n = r->ranges.size / sizeof *ranges;
  take(r, sizeof *entry);
  const void *results = take(r, entry->n_results * sizeof *values);
  if (entry->n_results == type_of(caller, entry->func)->n_results) memcpy(values, results, entry->n_results * sizeof *values);
  take(r, entry->message_size);
  for (uint32_t i = 0; i < entry->n_changes; i++) {
    struct change change;
    memcpy(&change, take(r, sizeof change), sizeof change);
    const void *bytes = take(r, change.size);
    if (i < n && ranges[i].size == change.size) memcpy(caller->memories[0]->ctx.base + ranges[i].offset, bytes, change.size);
  }
}

/* The function's first entry that was not used yet. */
static bool find_entry(struct record *r, uint32_t func, struct entry *entry) {
  for (size_t at = 0, start = 0; at < r->log.size; start = at) {
    if (!skip_entry(r->log.bytes, r->log.size, &at)) return false;
    memcpy(entry, r->log.bytes + start, sizeof *entry);
    if (entry->func != func || entry->trap || entry->call == LOOSE_USED) continue;
    mark_used(r, start, LOOSE_USED);
    r->at = start;
    return true;
  }
  return false;
}

static enum gw_trap answer_loosely(struct record *r, struct gw_instance *caller, uint32_t func, union gw_value *values) {
  struct entry entry;
  enum gw_trap trap = make(r, caller, func, values);
  if (trap == GW_TRAP_NONE && r->is_unrepeatable && find_entry(r, func, &entry)) put_over(r, caller, &entry, values);
  return trap;
}

enum gw_trap record_call(struct record *r, struct gw_instance *caller, uint32_t func, union gw_value *values) {
  struct entry next = {.call = UINT64_MAX};
  bool is_over = r->at == r->log.size;
  r->n_calls++;
  if (r->is_loose) return answer_loosely(r, caller, func, values);
  if (r->is_replaying && is_over && r->end == RECORD_CONTINUES) r->is_replaying = false;
  if (!r->is_replaying) return make(r, caller, func, values);
  if (!is_over) memcpy(&next, r->log.bytes + r->at, sizeof next);
  if (next.call == r->n_calls) return next.func == func ? answer(r, caller, &next, values) : part(r, caller);
  if (r->scope == RECORD_ALL) return part(r, caller);
  enum gw_trap trap = make(r, caller, func, values);
  return r->is_unrepeatable ? part(r, caller) : trap;
}
