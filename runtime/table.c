/* Tables of references, and globals.
 *
 * A table goes back to what it was by chunks: whoever writes to one notes it, so a reset costs what was written, not what there
 * is. The image holds the entries up to the last that segments wrote; those behind it are all the same. So a large table
 * takes its entries and little more, and those that are null and never written take no memory at all. */
#include "runtime/object.h"

#include "base/error.h"
#include "frontend/types.h"
#include "runtime/describe.h"
#include "runtime/engine.h"
#include "runtime/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { DEFAULT_MAX_ENTRIES = 10000000, KEPT_CAPACITY = 8192, HUGE_PAGE = 2 << 20 };

/* Of all tables of a store together. */
static uint64_t most_entries(const struct gw_store *store) {
  return store->options.max_table_entries ? store->options.max_table_entries : DEFAULT_MAX_ENTRIES;
}

static bool has_room(const struct gw_store *store, uint64_t n) {
  uint64_t most = most_entries(store);
  return store->n_table_entries <= most && n <= most - store->n_table_entries;
}

/* Entries of images are the host's matter: they are in the engine's total only. Sums of what wraps are right. */
static void count_image(const struct gw_table *table, uint64_t change) {
  uint64_t bytes = change * sizeof *table->ctx.entries;
  if (change) atomic_fetch_add_explicit(&table->store->engine->memory_bytes, bytes, memory_order_relaxed);
}

void table_set_size(struct gw_table *table, uint64_t size) {
  uint64_t change = size - table->ctx.size;
  store_hold(table->store, change * sizeof *table->ctx.entries);
  table->store->n_table_entries += change;
  table->ctx.size = size;
}

static bool check_size(const struct gw_store *store, uint64_t min, uint64_t max, struct gw_error *err) {
  if (min > max)
    return error_set(err, GW_ERROR_LIMIT, "the table starts with %llu entries, the limit is %llu", (unsigned long long)min,
                     (unsigned long long)max);
  if (has_room(store, min)) return store_check_held(store, min * sizeof(void *), err);
  return error_set(err, GW_ERROR_LIMIT, "tables start with more than %llu entries together, which is the limit",
                   (unsigned long long)most_entries(store));
}

static uint64_t chunks(uint64_t entries) { return (entries + TABLE_CHUNK - 1) / TABLE_CHUNK; }

/* Both arrays, with room for so many entries. The old ones stay where one cannot be had. */
static bool resize(struct gw_table *table, uint64_t capacity) {
  uint64_t before = chunks(table->capacity), after = chunks(capacity);
  void **entries = realloc(table->ctx.entries, capacity * sizeof *entries);
  if (!entries) return false;
  table->ctx.entries = entries;
  uint8_t *written = realloc(table->ctx.written, after);
  if (!written && after > before) return false;
  if (after > before) memset(written + before, 0, after - before);
  if (written) table->ctx.written = written;
  table->capacity = capacity;
  return true;
}

struct gw_table *table_create(struct gw_store *store, const struct table_type *type, struct gw_error *err) {
  uint64_t max = most_entries(store);
  if (type->limits.max < max) max = type->limits.max;
  if (!check_size(store, type->limits.min, max, err)) return NULL;
  uint64_t capacity = type->limits.min ? type->limits.min : 1;
  void **entries = calloc(capacity, sizeof *entries);
  uint8_t *written = calloc(chunks(capacity), 1);
  if (!entries || !written) {
    free(entries);
    free(written);
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a table of %llu entries", (unsigned long long)capacity);
    return NULL;
  }
  struct gw_table *table = arena_alloc(&store->arena, sizeof *table);
  table->ctx = (struct table_ctx){.entries = entries, .written = written};
  table->store = store;
  table_set_size(table, type->limits.min);
  table->type = *type;
  table->max = max;
  table->capacity = capacity;
  table->next = store->tables;
  store->tables = table;
  return table;
}

void table_destroy(struct gw_table *table) {
  table_set_size(table, 0);
  count_image(table, -table->n_initial);
  free(table->ctx.entries);
  free(table->ctx.written);
  free(table->initial);
}

void table_note(struct gw_table *table, uint64_t at, uint64_t n) {
  if (n) memset(table->ctx.written + at / TABLE_CHUNK, 1, chunks(at + n) - at / TABLE_CHUNK);
}

/* What it grew by was written, whatever is noted. */
uint64_t table_next_written(const struct gw_table *table, uint64_t at) {
  uint64_t grown = table->type.limits.min, n = chunks(grown);
  const uint8_t *written = table->ctx.written;
  if (at >= grown || written[at / TABLE_CHUNK]) return at;
  const uint8_t *next = memchr(written + at / TABLE_CHUNK, 1, (size_t)(n - at / TABLE_CHUNK));
  return next ? (uint64_t)(next - written) * TABLE_CHUNK : grown;
}

/* A new table is null already. The allocator has nothing of its own between two pages of one allocation. */
void table_fill(struct gw_table *table, void *ref) {
  if (!ref) return;
  uintptr_t first = ((uintptr_t)table->ctx.entries + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  uintptr_t end = (uintptr_t)(table->ctx.entries + table->ctx.size) / HUGE_PAGE * HUGE_PAGE;
  if (first < end) madvise((void *)first, end - first, MADV_HUGEPAGE);
  for (uint64_t i = 0; i < table->ctx.size; i++) table->ctx.entries[i] = ref;
  table->fill = ref;
}

bool table_can_grow(const struct gw_table *table, uint64_t n) {
  return n <= table->max - table->ctx.size && has_room(table->store, n) &&
         store_may_hold(table->store, n * sizeof *table->ctx.entries);
}

/* A table that has become large gets all the room that it may ever need, which is only touched as it grows: moving many pages
 * takes milliseconds in which nobody looks at the gas. */
bool table_reserve(struct gw_table *table, uint64_t n) {
  enum { LARGE = 65536, MOST_AT_ONCE = 16 << 20 };
  uint64_t size = table->ctx.size + n;
  if (size <= table->capacity) return true;
  uint64_t capacity = size > LARGE && table->max <= MOST_AT_ONCE ? table->max : table->capacity * 2;
  if (capacity > table->max) capacity = table->max;
  if (capacity < size) capacity = size;
  if (resize(table, capacity)) return true;
  table->store->was_refused = true;
  return false;
}

/* Behind the last chunk that was written, up to `size`, and what the image had already: the rest is `fill`. */
static uint64_t last_written(const struct gw_table *table, uint64_t size) {
  uint64_t n = chunks(size);
  while (n && !table->ctx.written[n - 1]) n--;
  uint64_t end = n * TABLE_CHUNK;
  if (end < table->n_initial) end = table->n_initial;
  return end < size ? end : size;
}

bool table_snapshot(struct gw_table *table) {
  uint64_t n = last_written(table, table->ctx.size);
  void **initial = malloc(n ? n * sizeof *initial : 1);
  if (!initial) return false;
  if (n) memcpy(initial, table->ctx.entries, n * sizeof *initial);
  free(table->initial);
  table->initial = initial;
  count_image(table, n - table->n_initial);
  table->n_initial = n;
  memset(table->ctx.written, 0, chunks(table->capacity));
  return true;
}

bool table_keep(struct gw_table *table) { return table->ctx.size == table->type.limits.min && table_snapshot(table); }

static void restore_chunk(struct gw_table *table, uint64_t chunk, uint64_t size) {
  uint64_t at = chunk * TABLE_CHUNK, end = at + TABLE_CHUNK < size ? at + TABLE_CHUNK : size;
  for (; at < end; at++) table->ctx.entries[at] = at < table->n_initial ? table->initial[at] : table->fill;
}

/* What a table grew by goes back to the system when it is much. */
bool table_restore(struct gw_table *table) {
  uint64_t size = table->type.limits.min, n = chunks(size), least = size ? size : 1;
  uint8_t *written = table->ctx.written;
  for (uint8_t *at = written; n && (at = memchr(at, 1, (size_t)(written + n - at))); *at = 0)
    restore_chunk(table, (uint64_t)(at - written), size);
  table_set_size(table, size);
  return table->capacity == least || table->capacity <= KEPT_CAPACITY || resize(table, least);
}

struct gw_table *gw_table_create(struct gw_store *store, const char *type, uint64_t min, uint64_t max, struct gw_error *err) {
  bool is_64 = strncmp(type, "i64 ", 4) == 0;
  struct table_type t = {.elem = val_type_parse(is_64 ? type + 4 : type),
                         .limits = {.min = min, .max = max, .has_max = max != UINT64_MAX, .is_64 = is_64}};
  if (val_kind(t.elem) != VAL_REF) {
    error_set(err, GW_ERROR_USAGE, "\"%s\" is no reference type for a table", type);
    return NULL;
  }
  return table_create(store, &t, err);
}

uint64_t gw_table_size(const struct gw_table *table) { return table->ctx.size; }

bool gw_table_get(const struct gw_table *table, uint64_t index, union gw_value *out) {
  if (index >= table->ctx.size) return false;
  *out = (union gw_value){.ref = table->ctx.entries[index]};
  return true;
}

bool gw_table_set(struct gw_table *table, uint64_t index, union gw_value value) {
  if (index >= table->ctx.size || !describe_allows(table->store, table->type.elem, table->module, value)) return false;
  table_note(table, index, 1);
  table->ctx.entries[index] = value.ref;
  return true;
}

bool gw_table_grow(struct gw_table *table, uint64_t n, union gw_value value) {
  uint64_t size = table->ctx.size;
  if (!describe_allows(table->store, table->type.elem, table->module, value)) return false;
  if (!table_can_grow(table, n) || !table_reserve(table, n)) return false;
  for (uint64_t i = 0; i < n; i++) table->ctx.entries[size + i] = value.ref;
  table_set_size(table, size + n);
  return true;
}

bool gw_global_set(struct gw_global *global, union gw_value value) {
  bool ok = global->type.is_mutable && describe_allows(global->store, global->type.type, global->module, value);
  if (ok) *global->cell = value;
  return ok;
}

struct gw_global *gw_global_create(struct gw_store *store, const char *type, bool is_mutable, union gw_value value) {
  struct global_type t = {.type = val_type_parse(type), .is_mutable = is_mutable};
  if (t.type == VAL_BOT || !describe_allows(store, t.type, NULL, value)) return NULL;
  struct gw_global *global = arena_alloc(&store->arena, sizeof *global);
  global->store = store;
  global->type = t;
  global->cell = arena_copy(&store->arena, &value, sizeof value);
  return global;
}

union gw_value gw_global_get(const struct gw_global *global) {
  return *global->cell;
}
