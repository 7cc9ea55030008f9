/* A park belongs to two: the store and the one who wakes. Its mutex makes it certain that nobody is told of a wake once the store
 * has let go. That is so before gw_store_cancel returns, and whom the store told of may be freed then. */
#include "runtime/park.h"

#include "base/heap.h"
#include "runtime/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct park {
  atomic_int owners;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool is_woken, is_left, is_over;
  void (*wake)(void *arg);
  void *arg;
};

static void release(struct park *p) {
  if (atomic_fetch_sub(&p->owners, 1) != 1) return;
  pthread_mutex_destroy(&p->mutex);
  pthread_cond_destroy(&p->cond);
  free(p);
}

struct park *park_begin(struct gw_store *store) {
  struct park *p = heap_new(1, sizeof *p);
  pthread_mutex_init(&p->mutex, NULL);
  pthread_cond_init(&p->cond, NULL);
  p->owners = 2;
  p->wake = store->wake;
  p->arg = store->wake_arg;
  store->park = p;
  return p;
}

void park_wake(void *park) {
  struct park *p = park;
  pthread_mutex_lock(&p->mutex);
  p->is_woken = true;
  if (p->is_left && !p->is_over && p->wake) p->wake(p->arg);
  pthread_cond_signal(&p->cond);
  pthread_mutex_unlock(&p->mutex);
  release(p);
}

bool park_is_woken(struct park *p) {
  pthread_mutex_lock(&p->mutex);
  bool is_woken = p->is_woken;
  pthread_mutex_unlock(&p->mutex);
  return is_woken;
}

bool park_leave(struct park *p) {
  pthread_mutex_lock(&p->mutex);
  bool is_left = p->is_left = !p->is_woken;
  pthread_mutex_unlock(&p->mutex);
  return is_left;
}

void park_end(struct gw_store *store) {
  struct park *p = store->park;
  store->park = NULL;
  pthread_mutex_lock(&p->mutex);
  p->is_over = true;
  pthread_mutex_unlock(&p->mutex);
  release(p);
}

/* Whether cancelled or woken, the fiber itself lets go. */
void park_here(struct gw_store *store) {
  store->state = RUN_PARKED;
  fiber_suspend(&store->fiber);
  park_end(store);
  if (store->is_cancelled) trap_raise(store, GW_TRAP_CANCELLED, 0);
}

void gw_store_set_wake(struct gw_store *store, void (*wake)(void *arg), void *arg) {
  store->wake = wake;
  store->wake_arg = arg;
}

void gw_store_wait(struct gw_store *store) {
  struct park *p = store->park;
  if (store->state != RUN_PARKED) return;
  pthread_mutex_lock(&p->mutex);
  while (!p->is_woken) pthread_cond_wait(&p->cond, &p->mutex);
  pthread_mutex_unlock(&p->mutex);
}
