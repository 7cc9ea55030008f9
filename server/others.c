#include "server/others.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_MS = 250, ANYWAY_MS = 30000 };

struct others {
  struct state_store *state;
  struct access *access;
  struct registry *registry;
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  bool is_ending;
};

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

/* False: it is over. */
static bool rest(struct others *o) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += LOOK_MS * 1000000L;
  if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
  pthread_mutex_lock(&o->mutex);
  if (!o->is_ending) pthread_cond_timedwait(&o->ended, &o->mutex, &until);
  bool goes_on = !o->is_ending;
  pthread_mutex_unlock(&o->mutex);
  return goes_on;
}

/* Where the store does not answer it is tried again: what it had to say is not lost. */
static void *watch(void *arg) {
  struct others *o = arg;
  uint64_t seen = 0, number, looked_ms = 0;
  while (rest(o)) {
    struct gw_error err = {0};
    if (!state_read_changes(o->state, &number, &err)) continue;
    if (number == seen && now_ms() - looked_ms < ANYWAY_MS) continue;
    if (!access_refresh(o->access, &err) || !registry_refresh(o->registry, &err)) continue;
    seen = number;
    looked_ms = now_ms();
  }
  return NULL;
}

struct others *others_watch(struct state_store *state, struct access *access, struct registry *registry, struct gw_error *err) {
  struct others *o = heap_new(1, sizeof *o);
  pthread_condattr_t clock;
  *o = (struct others){.state = state, .access = access, .registry = registry, .mutex = PTHREAD_MUTEX_INITIALIZER};
  pthread_condattr_init(&clock);
  pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  pthread_cond_init(&o->ended, &clock);
  pthread_condattr_destroy(&clock);
  int rc = pthread_create(&o->thread, NULL, watch, o);
  if (!rc) return o;
  error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the thread that watches other nodes: %s", strerror(rc));
  pthread_cond_destroy(&o->ended);
  free(o);
  return NULL;
}

void others_end(struct others *o) {
  if (!o) return;
  pthread_mutex_lock(&o->mutex);
  o->is_ending = true;
  pthread_cond_signal(&o->ended);
  pthread_mutex_unlock(&o->mutex);
  pthread_join(o->thread, NULL);
  pthread_cond_destroy(&o->ended);
  pthread_mutex_destroy(&o->mutex);
  free(o);
}
