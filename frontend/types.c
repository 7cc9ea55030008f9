/* Canonical types. A recursive group is written as a string of words in which references to types inside the group are
 * relative and those to earlier types are canonical ids; two groups are equal exactly when the strings are. The
 * registry lives as long as the process, and only grows: ids stay valid in the tables and host functions of every module. */
#include "frontend/types.h"

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

struct entry {
  uint64_t hash;
  uint32_t first_id; /* of the group's first type; the others follow */
  uint32_t n_words;
  uint32_t *words;
};

static struct {
  pthread_mutex_t lock; /* a leaf: nothing else is locked under it */
  struct entry *slots;  /* open addressing; n_words 0: free */
  uint32_t n_slots, n_entries, next_id;
  uint64_t seed; /* of the hash, so that nobody can prepare types that all collide */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *check(void *p) {
  if (p) return p;
  heap_missing();
}

static void put(struct words *w, uint32_t word) {
  if (w->n == w->capacity) {
    w->capacity = w->capacity ? 2 * w->capacity : 64;
    w->at = check(realloc(w->at, w->capacity * sizeof *w->at));
  }
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

/* m may be NULL for a group of one plain function type without references to other types. */
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

static struct entry *find_slot(uint64_t hash, const struct words *w) {
  for (uint32_t i = (uint32_t)hash & (registry.n_slots - 1);; i = (i + 1) & (registry.n_slots - 1)) {
    struct entry *e = &registry.slots[i];
    if (!e->n_words) return e;
    if (w && e->hash == hash && e->n_words == w->n && !memcmp(e->words, w->at, w->n * sizeof *w->at)) return e;
  }
}

static void grow_registry(void) {
  struct entry *old = registry.slots;
  uint32_t n_old = registry.n_slots;
  registry.n_slots = n_old ? 2 * n_old : 256;
  registry.slots = check(calloc(registry.n_slots, sizeof *registry.slots));
  for (uint32_t i = 0; i < n_old; i++)
    if (old[i].n_words) *find_slot(old[i].hash, NULL) = old[i];
  free(old);
}

static void choose_seed(void) {
  if (getentropy(&registry.seed, sizeof registry.seed)) registry.seed = 0x9e3779b97f4a7c15u; /* early boot: any will do */
}

/* The id of the group's first type. */
static uint32_t intern(const struct words *w, uint32_t group_size) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, choose_seed);
  uint64_t hash = hash_words(w);
  pthread_mutex_lock(&registry.lock);
  if (2 * registry.n_entries >= registry.n_slots) grow_registry();
  struct entry *e = find_slot(hash, w);
  if (!e->n_words) {
    *e = (struct entry){hash, registry.next_id, w->n, check(malloc(w->n * sizeof *w->at))};
    memcpy(e->words, w->at, w->n * sizeof *w->at);
    registry.next_id += group_size;
    registry.n_entries++;
  }
  uint32_t id = e->first_id;
  pthread_mutex_unlock(&registry.lock);
  return id;
}

void types_canonicalize(struct module *m, uint32_t group) {
  struct words w = {0};
  uint32_t n = m->types[group].group_size;
  put(&w, n);
  for (uint32_t i = 0; i < n; i++) put_def(&w, m, group, &m->types[group + i]);
  uint32_t id = intern(&w, n);
  for (uint32_t i = 0; i < n; i++) m->types[group + i].canonical = id + i;
  free(w.at);
}

uint32_t types_canonical_func(const struct func_type *type) {
  struct words w = {0};
  struct type_def def = {.kind = COMP_FUNC, .is_final = true, .super = NO_INDEX, .group_size = 1, .func = *type};
  put(&w, 1);
  put_def(&w, NULL, 0, &def);
  uint32_t id = intern(&w, 1);
  free(w.at);
  return id;
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
