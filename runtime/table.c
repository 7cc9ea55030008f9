/* Tables of references, and globals. */
#include "runtime/object.h"

#include "base/error.h"
#include "frontend/types.h"
#include "runtime/engine.h"
#include "runtime/store.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_MAX_ENTRIES = 10000000, WIPE_LIMIT = 8192 };

/* Of all tables of a store together. */
static uint64_t most_entries(const struct gw_store *store) {
  return store->options.max_table_entries ? store->options.max_table_entries : DEFAULT_MAX_ENTRIES;
}

static bool has_room(const struct gw_store *store, uint64_t n) {
  uint64_t most = most_entries(store);
  return store->n_table_entries <= most && n <= most - store->n_table_entries;
}

/* Changes the engine's total by so many entries: sums of what wraps are right. */
static void count_entries(const struct gw_table *table, uint64_t change) {
  uint64_t bytes = change * sizeof *table->ctx.entries;
  if (change) atomic_fetch_add_explicit(&table->store->engine->memory_bytes, bytes, memory_order_relaxed);
}

void table_set_size(struct gw_table *table, uint64_t size) {
  uint64_t change = size - table->ctx.size;
  count_entries(table, change);
  table->store->n_table_entries += change;
  table->ctx.size = size;
}

static bool check_size(const struct gw_store *store, uint64_t min, uint64_t max, struct gw_error *err) {
  if (min > max)
    return error_set(err, GW_ERROR_LIMIT, "the table starts with %llu entries, the limit is %llu", (unsigned long long)min,
                     (unsigned long long)max);
  return has_room(store, min) ||
         error_set(err, GW_ERROR_LIMIT, "tables start with more than %llu entries together, which is the limit",
                   (unsigned long long)most_entries(store));
}

struct gw_table *table_create(struct gw_store *store, const struct table_type *type, struct gw_error *err) {
  uint64_t max = most_entries(store);
  if (type->limits.max < max) max = type->limits.max;
  if (!check_size(store, type->limits.min, max, err)) return NULL;
  uint64_t capacity = type->limits.min ? type->limits.min : 1;
  void **entries = calloc(capacity, sizeof *entries);
  if (!entries) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a table of %llu entries", (unsigned long long)capacity);
    return NULL;
  }
  struct gw_table *table = arena_alloc(&store->arena, sizeof *table);
  table->ctx = (struct table_ctx){.entries = entries};
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
  count_entries(table, -table->n_initial);
  free(table->ctx.entries);
  free(table->initial);
}

bool table_can_grow(const struct gw_table *table, uint64_t n) {
  return n <= table->max - table->ctx.size && has_room(table->store, n);
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
  void **entries = realloc(table->ctx.entries, capacity * sizeof *entries);
  if (!entries) {
    table->store->was_refused = true;
    return false;
  }
  table->ctx.entries = entries;
  table->capacity = capacity;
  return true;
}

bool table_snapshot(struct gw_table *table) {
  uint64_t n = table->written;
  table->initial = malloc(n ? n * sizeof *table->initial : 1);
  count_entries(table, (table->initial ? n : 0) - table->n_initial);
  table->n_initial = table->initial ? n : 0;
  if (!table->initial) return false;
  if (n) memcpy(table->initial, table->ctx.entries, n * sizeof *table->initial);
  return true;
}

bool table_keep(struct gw_table *table) {
  if (table->ctx.size != table->type.limits.min) return false;
  free(table->initial);
  table->written = table->ctx.size;
  return table_snapshot(table);
}

/* Large tables are allocated anew: the system's zero pages cost less than writing zeros. */
bool table_restore(struct gw_table *table) {
  uint64_t size = table->type.limits.min, n_initial = table->n_initial;
  if (size > WIPE_LIMIT || table->capacity > WIPE_LIMIT) {
    void **entries = calloc(size ? size : 1, sizeof *entries);
    if (!entries) return false;
    free(table->ctx.entries);
    table->ctx.entries = entries;
    table->capacity = size ? size : 1;
  } else if (size > n_initial) {
    memset(table->ctx.entries + n_initial, 0, (size - n_initial) * sizeof *table->ctx.entries);
  }
  table_set_size(table, size);
  if (n_initial) memcpy(table->ctx.entries, table->initial, n_initial * sizeof *table->initial);
  return true;
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

struct gw_global *gw_global_create(struct gw_store *store, const char *type, bool is_mutable, union gw_value value) {
  struct gw_global *global = arena_alloc(&store->arena, sizeof *global);
  global->store = store;
  global->type = (struct global_type){.type = val_type_parse(type), .is_mutable = is_mutable};
  global->cell = arena_copy(&store->arena, &value, sizeof value);
  return global;
}

union gw_value gw_global_get(const struct gw_global *global) {
  return *global->cell;
}
