#include "server/function/background.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/function/crash.h"
#include "server/function/function.h"

#include <stdlib.h>
#include <string.h>

struct job {
  struct job *next;
  struct function *function;
};

struct background {
  pthread_t thread;
  pthread_mutex_t lock; /* a leaf; guards what follows */
  pthread_cond_t changed;
  struct job *first;
  bool is_stopping;
  struct background_totals totals;
};

static uint64_t now_us(void) { return clock_ns(CLOCK_MONOTONIC) / 1000; }

/* Takes the job with the smallest module: a large one must not keep many small ones waiting. `lock` held. */
static struct job *take_smallest(struct background *b) {
  struct job **smallest = &b->first;
  for (struct job **at = &b->first; *at; at = &(*at)->next)
    if ((*at)->function->size < (*smallest)->function->size) smallest = at;
  struct job *job = *smallest;
  if (job) *smallest = job->next;
  return job;
}

/* The next function, or NULL when it is time to stop. */
static struct function *take(struct background *b) {
  pthread_mutex_lock(&b->lock);
  while (!b->first && !b->is_stopping) pthread_cond_wait(&b->changed, &b->lock);
  struct job *job = b->is_stopping ? NULL : take_smallest(b);
  pthread_mutex_unlock(&b->lock);
  struct function *f = job ? job->function : NULL;
  free(job);
  return f;
}

static void compile(struct background *b, struct function *f) {
  uint64_t start = now_us();
  crash_enter(f);
  bool ok = gw_module_compile(f->module, &f->code_error);
  crash_enter(NULL);
  atomic_store_explicit(&f->code_state, ok ? CODE_READY : CODE_FAILED, memory_order_release);
  pthread_mutex_lock(&b->lock);
  b->totals.microseconds += now_us() - start;
  b->totals.n_done += ok;
  b->totals.n_failed += !ok;
  pthread_mutex_unlock(&b->lock);
}

static void *run(void *arg) {
  struct background *b = arg;
  for (struct function *f; (f = take(b));) {
    bool is_wanted = atomic_load(&f->refs) > 1;
    if (is_wanted) compile(b, f);
    function_release(f);
  }
  return NULL;
}

struct background *background_create(struct gw_error *err) {
  struct background *b = heap_new(1, sizeof *b);
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->changed, NULL);
  int problem = pthread_create(&b->thread, NULL, run, b);
  if (!problem) return b;
  error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the thread that compiles: %s", strerror(problem));
  pthread_cond_destroy(&b->changed);
  pthread_mutex_destroy(&b->lock);
  free(b);
  return NULL;
}

void background_destroy(struct background *b) {
  if (!b) return;
  pthread_mutex_lock(&b->lock);
  b->is_stopping = true;
  pthread_cond_signal(&b->changed);
  pthread_mutex_unlock(&b->lock);
  pthread_join(b->thread, NULL);
  while (b->first) {
    struct job *job = b->first;
    b->first = job->next;
    function_release(job->function);
    free(job);
  }
  pthread_cond_destroy(&b->changed);
  pthread_mutex_destroy(&b->lock);
  free(b);
}

void background_compile(struct background *b, struct function *f) {
  struct job *job = heap_new(1, sizeof *job);
  job->function = function_retain(f);
  pthread_mutex_lock(&b->lock);
  job->next = b->first;
  b->first = job;
  pthread_cond_signal(&b->changed);
  pthread_mutex_unlock(&b->lock);
}

struct background_totals background_totals(struct background *b) {
  pthread_mutex_lock(&b->lock);
  struct background_totals totals = b->totals;
  pthread_mutex_unlock(&b->lock);
  return totals;
}
