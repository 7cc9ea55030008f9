/* A tenant gets the name of one that was deleted. Sums go by names, and stay as they are: bills of the former tenant are made of
 * them. What it used is remembered beside them, function by function, and taken off where the present one asks. */
#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/usage/private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 1000 /* functions in one transaction */ };

struct functions {
  struct usage_function **items; /* which stay where they are */
  size_t n, capacity;
};

static void find_functions(struct usage *u, const char *tenant, struct functions *found) {
  size_t size = strlen(tenant);
  pthread_mutex_lock(&u->mutex);
  for (int i = 0; i < USAGE_BUCKETS; i++) {
    for (struct usage_function *f = u->functions[i]; f; f = f->next) {
      if (strncmp(f->name, tenant, size) != 0 || f->name[size] != '/') continue;
      if (found->n == found->capacity) array_grow(found->items, found->capacity, 16);
      found->items[found->n++] = f;
    }
  }
  pthread_mutex_unlock(&u->mutex);
}

/* All is settled, and nothing of the function runs: what is stored is all. */
static bool note_former(struct usage *u, struct usage_function *f, struct gw_error *err) {
  struct usage_former *former = heap_new(1, sizeof *former);
  struct usage_row row = {.day = (uint32_t)(clock_ns(CLOCK_REALTIME) / 1000000000 / USAGE_DAY_SECONDS)};
  memcpy(row.function, f->name, strlen(f->name));
  row.table = former->table = u->table;
  pthread_mutex_lock(&u->mutex);
  row.version = f->version;
  former->sum = f->sum;
  pthread_mutex_unlock(&u->mutex);
  bool ok = usage_load_row(u, &row, err);
  former->day = row.day;
  former->version = row.version;
  former->last = row.sum;
  pthread_mutex_lock(&u->mutex);
  free(f->former);
  f->former = former;
  pthread_mutex_unlock(&u->mutex);
  return ok;
}

bool usage_hand_over(struct usage *u, const char *tenant, struct gw_error *err) {
  char name[USAGE_MAX_NAME + 1];
  struct account_view view;
  struct functions found = {0};
  snprintf(name, sizeof name, "%s/", tenant);
  account_look(usage_account(u, name), &view);
  if (view.n_running)
    return error_set(err, GW_ERROR_IN_USE, "invocations of a tenant %s that was deleted are still under way: try again", tenant);
  bool ok = usage_settle(u, err);
  if (ok) find_functions(u, tenant, &found);
  for (size_t i = 0; i < found.n && ok; i++) ok = note_former(u, found.items[i], err);
  for (size_t i = 0; i < found.n && ok; i += AT_ONCE)
    ok = usage_store_former(u, found.items + i, found.n - i < AT_ONCE ? found.n - i : AT_ONCE, err);
  if (ok) usage_hand_over_account(u, tenant);
  free(found.items);
  return ok;
}
