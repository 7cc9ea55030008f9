/* Sums in memory: all functions, and the rows that are being added to. */
#include "base/heap.h"
#include "server/usage/private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *word, *unit;
} quantities[] = {
#define QUANTITY(name, word, unit, field) {word, unit},
#include "server/usage/usage.def"
#undef QUANTITY
};

const char *usage_word(enum usage_quantity quantity) { return quantities[quantity].word; }
const char *usage_unit(enum usage_quantity quantity) { return quantities[quantity].unit; }

uint64_t usage_gas(const struct usage_sum *sum) {
  return sum->n[USAGE_COMPUTE] + sum->n[USAGE_CALLS] + sum->n[USAGE_MOVED] + sum->n[USAGE_STORAGE];
}

void usage_add(struct usage_sum *to, const struct usage_sum *sum) {
  for (int i = 0; i < USAGE_COUNT; i++) to->n[i] += sum->n[i];
}

static size_t hash_of(const char *name) {
  uint64_t hash = 14695981039346656037u; /* FNV-1a: names are those of deployed functions */
  for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
  return hash ^ hash >> 32;
}

struct usage_function *usage_find_function(struct usage *u, const char *name, bool makes) {
  struct usage_function **bucket = &u->functions[hash_of(name) % USAGE_BUCKETS], *f = *bucket;
  while (f && strcmp(f->name, name) != 0) f = f->next;
  if (f || !makes) return f;
  size_t size = strlen(name) + 1;
  f = heap_new(1, sizeof *f + size);
  memcpy(f->name, name, size);
  f->next = *bucket;
  return *bucket = f;
}

struct usage_row *usage_row_of(struct usage *u, const char *function, uint64_t version, uint32_t day, struct gw_error *err) {
  struct usage_open_row **bucket = &u->rows[(hash_of(function) + version * 31 + day) % USAGE_BUCKETS], *r = *bucket;
  while (r && (r->row.version != version || r->row.day != day || strcmp(r->row.function, function) != 0)) r = r->next;
  if (r) return &r->row;
  r = heap_new(1, sizeof *r);
  snprintf(r->row.function, sizeof r->row.function, "%s", function);
  r->row.version = version;
  r->row.day = day;
  r->row.table = u->table;
  if (!usage_load_row(u, &r->row, err)) {
    free(r);
    return NULL;
  }
  r->next = *bucket;
  *bucket = r;
  u->n_rows++;
  return &r->row;
}

void usage_forget_rows(struct usage *u) {
  for (int i = 0; i < USAGE_BUCKETS; i++) {
    for (struct usage_open_row *r = u->rows[i], *next; r; r = next) {
      next = r->next;
      free(r);
    }
    u->rows[i] = NULL;
  }
  u->n_rows = 0;
}

void usage_free_table(struct usage *u) {
  usage_forget_rows(u);
  for (int i = 0; i < USAGE_BUCKETS; i++) {
    for (struct usage_function *f = u->functions[i], *next; f; f = next) {
      next = f->next;
      free(f->former);
      free(f);
    }
  }
}

static struct usage_sum less(const struct usage_sum *sum, const struct usage_sum *part) {
  struct usage_sum rest;
  for (int i = 0; i < USAGE_COUNT; i++) rest.n[i] = sum->n[i] > part->n[i] ? sum->n[i] - part->n[i] : 0;
  return rest;
}

struct usage_sum usage_own_sum(const struct usage_function *f) {
  return f->former ? less(&f->sum, &f->former->sum) : f->sum;
}

bool usage_is_own(struct usage *u, struct usage_row *row) {
  bool is_own = true;
  pthread_mutex_lock(&u->mutex);
  const struct usage_function *f = usage_find_function(u, row->function, false);
  const struct usage_former *former = f ? f->former : NULL;
  if (former && row->day <= former->day) is_own = row->day == former->day && row->version >= former->version;
  bool is_last = former && row->day == former->day && row->version == former->version;
  if (is_last && row->table < former->table) is_own = false;
  if (is_last && row->table == former->table) {
    static const struct usage_sum nothing;
    row->sum = less(&row->sum, &former->last);
    is_own = memcmp(&row->sum, &nothing, sizeof nothing) != 0;
  }
  pthread_mutex_unlock(&u->mutex);
  return is_own;
}

bool usage_of_function(struct usage *u, const char *function, struct usage_sum *sum, uint64_t *stored) {
  pthread_mutex_lock(&u->mutex);
  const struct usage_function *f = usage_find_function(u, function, false);
  if (f) *sum = usage_own_sum(f);
  if (f) *stored = f->stored;
  pthread_mutex_unlock(&u->mutex);
  return f != NULL;
}

void usage_each_function(struct usage *u, void (*each)(void *arg, const char *function, const struct usage_sum *sum), void *arg) {
  pthread_mutex_lock(&u->mutex);
  for (int i = 0; i < USAGE_BUCKETS; i++)
    for (const struct usage_function *f = u->functions[i]; f; f = f->next) each(arg, f->name, &f->sum);
  pthread_mutex_unlock(&u->mutex);
}
