#include "server/function/background.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/function/crash.h"
#include "server/function/function.h"

#include <stdlib.h>
#include <string.h>

/* Small modules are tried for a moment each. One that takes longer goes to the slow lane, where large ones are: so nobody waits
 * behind a bomb for longer than that moment, however many there are, but those in the slow lane.
 *
 * In a lane who is due first comes first: a module has as long as it may take by its size, and longer when it was found to be
 * slow. So a large one keeps no small one waiting, and however many small ones come, it has its turn. */
enum lane { QUICK, SLOW, LANES };
enum { LARGEST_QUICK = 64 << 10, US_OF_BYTE = 61, US_OF_SLOW = 60000000 };

struct job {
  struct job *next;
  struct function *function;
  uint64_t due_us;
};

struct worker {
  struct background *background;
  enum lane lane;
  pthread_t thread;
  struct job *first;
};

struct background {
  pthread_mutex_t lock; /* a leaf; guards what follows, and the workers' jobs */
  pthread_cond_t changed;
  bool is_stopping;
  struct background_totals totals;
  struct worker workers[LANES];
  size_t n_started;
};

static uint64_t now_us(void) { return clock_ns(CLOCK_MONOTONIC) / 1000; }

/* `lock` held. */
static struct job *take_first(struct worker *w) {
  struct job **first = &w->first;
  for (struct job **at = &w->first; *at; at = &(*at)->next)
    if ((*at)->due_us < (*first)->due_us) first = at;
  struct job *job = *first;
  if (job) *first = job->next;
  return job;
}

/* NULL when it is time to stop. */
static struct job *take(struct worker *w) {
  struct background *b = w->background;
  pthread_mutex_lock(&b->lock);
  while (!w->first && !b->is_stopping) pthread_cond_wait(&b->changed, &b->lock);
  struct job *job = b->is_stopping ? NULL : take_first(w);
  pthread_mutex_unlock(&b->lock);
  return job;
}

static void put(struct background *b, enum lane lane, struct job *job) {
  pthread_mutex_lock(&b->lock);
  job->next = b->workers[lane].first;
  b->workers[lane].first = job;
  pthread_cond_broadcast(&b->changed);
  pthread_mutex_unlock(&b->lock);
}

static bool compile_in(enum lane lane, struct function *f, bool *is_slow) {
  const struct function *before = crash_enter(f);
  bool ok = lane == QUICK ? gw_module_compile_quickly(f->module, is_slow, &f->code_error)
                          : gw_module_compile(f->module, &f->code_error);
  crash_enter(before);
  return ok;
}

static void count(struct background *b, uint64_t start, bool ok, bool is_over) {
  pthread_mutex_lock(&b->lock);
  b->totals.microseconds += now_us() - start;
  b->totals.n_done += ok;
  b->totals.n_failed += is_over && !ok;
  pthread_mutex_unlock(&b->lock);
}

/* False: it is to be compiled in the slow lane. */
static bool compile(struct worker *w, struct function *f) {
  uint64_t start = now_us();
  bool is_slow = false, ok = compile_in(w->lane, f, &is_slow);
  if (is_slow)
    f->code_error = (struct gw_error){0};
  else
    atomic_store_explicit(&f->code_state, ok ? CODE_READY : CODE_FAILED, memory_order_release);
  count(w->background, start, ok, !is_slow);
  return !is_slow;
}

static void finish(struct job *job) {
  function_release(job->function);
  free(job);
}

/* Nobody else holds its function, so nobody else can come to. */
static bool is_wanted(const struct job *job) { return atomic_load(&job->function->refs) > 1; }

/* Unlinks those that nobody wants, in front of `others`. `lock` held. */
static struct job *take_unwanted(struct worker *w, struct job *others) {
  for (struct job **at = &w->first, *job; (job = *at);) {
    if (is_wanted(job)) {
      at = &job->next;
      continue;
    }
    *at = job->next;
    job->next = others;
    others = job;
  }
  return others;
}

void background_drop_unwanted(struct background *b) {
  struct job *unwanted = NULL;
  pthread_mutex_lock(&b->lock);
  for (int i = 0; i < LANES; i++) unwanted = take_unwanted(&b->workers[i], unwanted);
  pthread_mutex_unlock(&b->lock);
  for (struct job *job; (job = unwanted);) {
    unwanted = job->next;
    finish(job);
  }
}

static void *run(void *arg) {
  struct worker *w = arg;
  for (struct job *job; (job = take(w));) {
    if (!is_wanted(job) || compile(w, job->function)) {
      finish(job);
    } else {
      job->due_us += US_OF_SLOW;
      put(w->background, SLOW, job);
    }
  }
  return NULL;
}

static bool start(struct background *b, enum lane lane, struct gw_error *err) {
  b->workers[lane].background = b;
  b->workers[lane].lane = lane;
  int problem = pthread_create(&b->workers[lane].thread, NULL, run, &b->workers[lane]);
  b->n_started += !problem;
  return !problem || error_set(err, GW_ERROR_UNAVAILABLE, "cannot start a thread that compiles: %s", strerror(problem));
}

struct background *background_create(struct gw_error *err) {
  struct background *b = heap_new(1, sizeof *b);
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->changed, NULL);
  if (start(b, QUICK, err) && start(b, SLOW, err)) return b;
  background_destroy(b);
  return NULL;
}

static void stop(struct background *b) {
  pthread_mutex_lock(&b->lock);
  b->is_stopping = true;
  pthread_cond_broadcast(&b->changed);
  pthread_mutex_unlock(&b->lock);
  for (size_t i = 0; i < b->n_started; i++) pthread_join(b->workers[i].thread, NULL);
}

void background_destroy(struct background *b) {
  if (!b) return;
  stop(b);
  for (int i = 0; i < LANES; i++)
    for (struct job *job; (job = b->workers[i].first);) {
      b->workers[i].first = job->next;
      finish(job);
    }
  pthread_cond_destroy(&b->changed);
  pthread_mutex_destroy(&b->lock);
  free(b);
}

void background_compile(struct background *b, struct function *f) {
  background_drop_unwanted(b); /* however often a function is deployed, it waits once */
  struct job *job = heap_new(1, sizeof *job);
  job->function = function_retain(f);
  job->due_us = now_us() + f->size * US_OF_BYTE;
  put(b, f->size <= LARGEST_QUICK ? QUICK : SLOW, job);
}

struct background_totals background_totals(struct background *b) {
  pthread_mutex_lock(&b->lock);
  struct background_totals totals = b->totals;
  pthread_mutex_unlock(&b->lock);
  return totals;
}
