/* Canonical types. A recursive group is written as a string of words in which references to types inside the group are
 * relative and those to earlier types are canonical ids; two groups are equal exactly when the strings are.
 *
 * The registry is the process's. A group is there as long as a module that has it: what is compared by id, be it in tables, tags
 * or calls, belongs to stores, which hold their modules. Whoever holds a group holds those that its words name, as they come
 * before it in the same module. Ids of groups that are gone are given again, so redeploying for ever takes neither memory nor
 * ids. */
#include "frontend/types.h"

#include "base/array.h"
#include "base/error.h"
#include "base/heap.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct words {
  uint32_t *at;
  uint32_t n, capacity;
};

struct type_group {
  uint64_t hash;
  uint32_t first_id; /* of the group's first type; the others follow */
  uint32_t size;     /* types, and ids */
  uint64_t references;
  uint32_t n_words;
  uint32_t words[];
};

struct id_range {
  uint32_t first, n;
};

static struct {
  pthread_mutex_t lock;      /* a leaf: nothing else is locked under it */
  struct type_group **slots; /* open addressing; NULL: free */
  uint32_t n_slots, n_groups, next_id;
  struct id_range *free_ids; /* below next_id */
  size_t n_free, free_capacity;
  uint64_t seed; /* of the hash, so that nobody can prepare types that all collide */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void put(struct words *w, uint32_t word) {
  if (w->n == w->capacity) array_grow(w->at, w->capacity, 64);
  w->at[w->n++] = word;
}

enum { MARK_INSIDE = 0x10000000, MARK_OUTSIDE = 0x20000000 };

static void put_type_index(struct words *w, const struct module *m, uint32_t group, uint32_t index) {
  bool is_inside = index >= group && index - group < m->types[group].group_size;
  put(w, is_inside ? MARK_INSIDE : MARK_OUTSIDE);
  put(w, is_inside ? index - group : m->types[index].canonical);
}

static void put_val_type(struct words *w, const struct module *m, uint32_t group, val_type t) {
  if (val_kind(t) != VAL_REF || val_heap(t) >= HEAP_FIRST) {
    put(w, t);
    return;
  }
  put(w, t & 0x1ff); /* kind and nullability: as a whole type this word would be a reference to type 0 */
  put_type_index(w, m, group, val_heap(t));
}

static void put_func(struct words *w, const struct module *m, uint32_t group, const struct func_type *f) {
  put(w, f->n_params);
  put(w, f->n_results);
  for (uint32_t i = 0; i < f->n_params; i++) put_val_type(w, m, group, f->params[i]);
  for (uint32_t i = 0; i < f->n_results; i++) put_val_type(w, m, group, f->results[i]);
}

static void put_def(struct words *w, const struct module *m, uint32_t group, const struct type_def *t) {
  put(w, (uint32_t)t->kind << 1 | t->is_final);
  if (t->super == NO_INDEX)
    put(w, NO_INDEX);
  else
    put_type_index(w, m, group, t->super);
  put_func(w, m, group, &t->func);
}

static uint64_t hash_words(const struct words *w) {
  uint64_t h = registry.seed;
  for (uint32_t i = 0; i < w->n; i++) {
    h = (h ^ w->at[i]) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
  }
  return h;
}

/* --- the table, all with the lock held ------------------------------------------------------------------------------ */

/* Where the group is, or where it belongs. */
static struct type_group **find_slot(uint64_t hash, const uint32_t *words, uint32_t n) {
  for (uint32_t i = (uint32_t)hash & (registry.n_slots - 1);; i = (i + 1) & (registry.n_slots - 1)) {
    struct type_group *g = registry.slots[i];
    if (!g || (g->hash == hash && g->n_words == n && !memcmp(g->words, words, n * sizeof *words))) return &registry.slots[i];
  }
}

static void resize(uint32_t n_slots) {
  struct type_group **old = registry.slots;
  uint32_t n_old = registry.n_slots;
  registry.n_slots = n_slots;
  registry.slots = heap_new(n_slots, sizeof *registry.slots);
  for (uint32_t i = 0; i < n_old; i++)
    if (old[i]) *find_slot(old[i]->hash, old[i]->words, old[i]->n_words) = old[i];
  free(old);
}

/* What lies behind an emptied slot and was pushed over it moves up, so that it is still found. */
static void empty_slot(uint32_t i) {
  uint32_t mask = registry.n_slots - 1;
  for (uint32_t k = i;;) {
    registry.slots[i] = NULL;
    uint32_t home;
    do {
      k = (k + 1) & mask;
      if (!registry.slots[k]) return;
      home = (uint32_t)registry.slots[k]->hash & mask;
    } while (((k - home) & mask) < ((k - i) & mask));
    registry.slots[i] = registry.slots[k];
    i = k;
  }
}

/* False: none are left. */
static bool take_ids(uint32_t n, uint32_t *first) {
  enum { MOST_LOOKED_AT = 32 };
  bool has_new = registry.next_id <= UINT32_MAX - n;
  for (size_t k = 0; k < registry.n_free && (k < MOST_LOOKED_AT || !has_new); k++) {
    struct id_range *range = &registry.free_ids[registry.n_free - 1 - k];
    if (range->n < n) continue;
    *first = range->first;
    range->first += n;
    range->n -= n;
    if (!range->n) *range = registry.free_ids[--registry.n_free];
    return true;
  }
  *first = registry.next_id;
  if (has_new) registry.next_id += n;
  return has_new;
}

static void give_ids(uint32_t first, uint32_t n) {
  struct id_range *last = registry.n_free ? &registry.free_ids[registry.n_free - 1] : NULL;
  if (last && last->first + last->n == first) {
    last->n += n;
    return;
  }
  if (registry.n_free == registry.free_capacity) array_grow(registry.free_ids, registry.free_capacity, 64);
  registry.free_ids[registry.n_free++] = (struct id_range){first, n};
}

static struct type_group *create_group(uint64_t hash, const struct words *w, uint32_t size) {
  uint32_t first;
  if (!take_ids(size, &first)) return NULL;
  struct type_group *g = heap_new(1, sizeof *g + w->n * sizeof *w->at);
  *g = (struct type_group){.hash = hash, .first_id = first, .size = size, .n_words = w->n};
  memcpy(g->words, w->at, w->n * sizeof *w->at);
  registry.n_groups++;
  return g;
}

enum { FEWEST_SLOTS = 256 };

static void release(struct type_group *g) {
  if (--g->references) return;
  empty_slot((uint32_t)(find_slot(g->hash, g->words, g->n_words) - registry.slots));
  give_ids(g->first_id, g->size);
  registry.n_groups--;
  free(g);
  if (registry.n_slots > FEWEST_SLOTS && 8 * registry.n_groups < registry.n_slots) resize(registry.n_slots / 2);
}

/* --- groups of modules ------------------------------------------------------------------------------------------------ */

static void choose_seed(void) {
  if (getentropy(&registry.seed, sizeof registry.seed)) registry.seed = 0x9e3779b97f4a7c15u; /* early boot: any will do */
}

/* With one reference more. NULL: no ids are left. */
static struct type_group *intern(const struct words *w, uint32_t size) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, choose_seed);
  uint64_t hash = hash_words(w);
  pthread_mutex_lock(&registry.lock);
  if (2 * registry.n_groups >= registry.n_slots) resize(registry.n_slots ? 2 * registry.n_slots : FEWEST_SLOTS);
  struct type_group **slot = find_slot(hash, w->at, w->n);
  if (!*slot) *slot = create_group(hash, w, size);
  struct type_group *g = *slot;
  if (g) g->references++;
  pthread_mutex_unlock(&registry.lock);
  return g;
}

bool types_canonicalize(struct module *m, uint32_t group, struct gw_error *err) {
  struct words w = {0};
  uint32_t n = m->types[group].group_size;
  put(&w, n);
  for (uint32_t i = 0; i < n; i++) put_def(&w, m, group, &m->types[group + i]);
  struct type_group *g = intern(&w, n);
  free(w.at);
  if (!g) return error_set(err, GW_ERROR_LIMIT, "the types of all modules are too many");
  m->types[group].held = g;
  for (uint32_t i = 0; i < n; i++) m->types[group + i].canonical = g->first_id + i;
  return true;
}

void types_release(struct module *m) {
  pthread_mutex_lock(&registry.lock);
  for (uint32_t i = 0; i < m->n_types; i++) {
    if (m->types[i].held) release(m->types[i].held);
    m->types[i].held = NULL;
  }
  pthread_mutex_unlock(&registry.lock);
}

struct types_totals types_totals(void) {
  pthread_mutex_lock(&registry.lock);
  struct types_totals totals = {registry.n_groups, registry.next_id};
  pthread_mutex_unlock(&registry.lock);
  return totals;
}

/* --- for messages ------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {
    [VAL_BOT] = "any value", [VAL_I32] = "i32", [VAL_I64] = "i64", [VAL_F32] = "f32", [VAL_F64] = "f64", [VAL_V128] = "v128"};

static const char *const heap_names[] = {"func", "extern", "any",    "eq",       "i31",   "struct", "array",
                                         "exn",  "none",   "nofunc", "noextern", "noexn", "bottom"};

const char *val_type_name(val_type t, char *out, size_t size) {
  const char *null = val_is_nullable(t) ? "null " : "";
  if (val_kind(t) != VAL_REF)
    snprintf(out, size, "%s", kind_names[val_kind(t)]);
  else if (t == TYPE_FUNCREF || t == TYPE_EXTERNREF)
    snprintf(out, size, "%sref", heap_names[val_heap(t) - HEAP_FIRST]);
  else if (val_heap(t) >= HEAP_FIRST)
    snprintf(out, size, "(ref %s%s)", null, heap_names[val_heap(t) - HEAP_FIRST]);
  else
    snprintf(out, size, "(ref %s%u)", null, val_heap(t));
  return out;
}

static size_t print_list(const val_type *types, uint32_t n, char *out, size_t size, size_t at) {
  char name[32];
  for (uint32_t i = 0; i < n && at < size; i++)
    at += (size_t)snprintf(out + at, size - at, i ? " %s" : "%s", val_type_name(types[i], name, sizeof name));
  return at;
}

static size_t print_text(const char *text, char *out, size_t size, size_t at) {
  return at < size ? at + (size_t)snprintf(out + at, size - at, "%s", text) : at;
}

const char *func_type_print(const struct func_type *type, char *out, size_t size) {
  size_t at = print_text("[", out, size, 0);
  at = print_list(type->params, type->n_params, out, size, at);
  at = print_text("] -> [", out, size, at);
  at = print_list(type->results, type->n_results, out, size, at);
  print_text("]", out, size, at);
  return out;
}

val_type val_type_parse(const char *text) {
  static const struct {
    const char *text;
    val_type type;
  } names[] = {
      {"i32", VAL_I32},
      {"i64", VAL_I64},
      {"f32", VAL_F32},
      {"f64", VAL_F64},
      {"v128", VAL_V128},
      {"funcref", TYPE_FUNCREF},
      {"externref", TYPE_EXTERNREF},
  };
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!strcmp(text, names[i].text)) return names[i].type;
  return VAL_BOT;
}
