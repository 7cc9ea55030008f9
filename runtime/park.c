/* A park belongs to two: the store and the one who wakes. Its mutex makes it certain that nobody is told of a wake once the store
 * has let go. That is so before gw_store_cancel returns, and whom the store told of may be freed then. */
#include "runtime/park.h"

#include "base/heap.h"
#include "runtime/instance.h"
#include "runtime/invocation.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct park {
  atomic_int owners;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool is_woken, is_left, is_over, is_interrupted, was_told;
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
  pthread_mutex_lock(&store->park_mutex);
  p->is_interrupted = atomic_load(&store->is_interrupted);
  store->park = p;
  pthread_mutex_unlock(&store->park_mutex);
  return p;
}

/* Whoever resumes is told once. Under the park's mutex. */
static void tell(struct park *p) {
  if (p->is_left && !p->is_over && !p->was_told && p->wake) {
    p->was_told = true;
    p->wake(p->arg);
  }
  pthread_cond_signal(&p->cond);
}

void park_wake(void *park) {
  struct park *p = park;
  pthread_mutex_lock(&p->mutex);
  p->is_woken = true;
  tell(p);
  pthread_mutex_unlock(&p->mutex);
  release(p);
}

/* A park that begins later finds the store's flag. */
void gw_store_interrupt(struct gw_store *store) {
  atomic_store(&store->is_interrupted, true);
  pthread_mutex_lock(&store->park_mutex);
  struct park *p = store->park;
  if (p) {
    pthread_mutex_lock(&p->mutex);
    p->is_interrupted = true;
    tell(p);
    pthread_mutex_unlock(&p->mutex);
  }
  pthread_mutex_unlock(&store->park_mutex);
}

bool gw_store_clear_interrupt(struct gw_store *store) { return atomic_exchange(&store->is_interrupted, false); }

bool park_is_woken(struct park *p) {
  pthread_mutex_lock(&p->mutex);
  bool is_woken = p->is_woken || p->is_interrupted;
  pthread_mutex_unlock(&p->mutex);
  return is_woken;
}

bool park_leave(struct park *p) {
  pthread_mutex_lock(&p->mutex);
  bool is_left = p->is_left = !p->is_woken && !p->is_interrupted;
  pthread_mutex_unlock(&p->mutex);
  return is_left;
}

void park_end(struct gw_store *store) {
  struct park *p = store->park;
  pthread_mutex_lock(&store->park_mutex);
  store->park = NULL;
  pthread_mutex_unlock(&store->park_mutex);
  pthread_mutex_lock(&p->mutex);
  p->is_over = true;
  pthread_mutex_unlock(&p->mutex);
  release(p);
}

/* Whether cancelled or woken, the fiber itself lets go. One that is cancelled already does not wait. */
bool park_return(struct gw_store *store) {
  if (!store->is_cancelled) {
    store->state = RUN_PARKED;
    fiber_suspend(&store->fiber);
  }
  park_end(store);
  return !invocation_is_to_end(store);
}

void park_here(struct gw_store *store) {
  if (!park_return(store)) trap_raise(store, GW_TRAP_CANCELLED, 0);
}

struct gw_park *gw_park_begin(struct gw_instance *caller) {
  return (struct gw_park *)park_begin(caller->store);
}

enum gw_trap gw_park_here(struct gw_instance *caller) { return park_return(caller->store) ? GW_TRAP_NONE : GW_TRAP_CANCELLED; }

void gw_park_wake(struct gw_park *park) { park_wake(park); }

void gw_store_set_wake(struct gw_store *store, void (*wake)(void *arg), void *arg) {
  store->wake = wake;
  store->wake_arg = arg;
}

void gw_store_wait(struct gw_store *store) {
  struct park *p = store->park;
  if (store->state != RUN_PARKED) return;
  pthread_mutex_lock(&p->mutex);
  while (!p->is_woken && !p->is_interrupted) pthread_cond_wait(&p->cond, &p->mutex);
  pthread_mutex_unlock(&p->mutex);
}
