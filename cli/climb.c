/* Whenever a slice of gas is over, whoever runs gets a mark, and so does its caller, as calls between compiled and baseline code
 * cost more than calls of one kind. That is a profile by gas, and costs what a yield costs. A thread compiles the functions with
 * the most marks, a few at a time, so that the hottest are there first; what never gets a mark never sees LLVM.
 *
 * A function that is compiled while it runs stays as it is until it returns. If it does not, the run begins anew
 * (runtime/debug/record.h). */
#include "cli/climb.h"

#include "base/heap.h"
#include "frontend/module.h"
#include "runtime/compile.h"
#include "runtime/precise/precise.h"

#include <stdlib.h>

enum {
  FINE_SLICE = 250000,    /* while functions are to be found: some 50 us of baseline code */
  COARSE_SLICE = 2000000, /* when the hottest have been compiled */
  FIRST = 20,             /* samples before the compiler is loaded; short programs end before */
  FEW = 2,                /* marks of a function that is compiled */
  BYTES_FOR_MARK = 64,    /* of a body: longer ones need more marks, as they take longer to compile */
  SET_BYTES = 6 << 10,    /* of bodies that are compiled at a time, if it is more than one */
  STUCK = 12,             /* samples in a row */
  MOST_AGAIN = 3,         /* runs that begin anew: what does not get faster goes on */
};

static uint64_t body_size(const struct func *f) { return (uint64_t)(f->end - f->body); }

/* --- the compiling thread ----------------------------------------------------------------------------------------------- */

/* Returns how many functions are wanted, in c->funcs; 0: no more. */
static uint32_t wait_for_work(struct climb *c) {
  pthread_mutex_lock(&c->lock);
  while (!c->n_wanted && !c->is_ending) pthread_cond_wait(&c->has_work, &c->lock);
  uint32_t n = c->is_ending ? 0 : c->n_wanted;
  pthread_mutex_unlock(&c->lock);
  return n;
}

static void be_idle(struct climb *c, bool ok) {
  pthread_mutex_lock(&c->lock);
  c->n_wanted = 0;
  c->is_ending |= !ok;
  pthread_mutex_unlock(&c->lock);
  if (ok) atomic_fetch_add(&c->n_published, 1);
}

static void *work(void *arg) {
  struct climb *c = arg;
  for (uint32_t n; (n = wait_for_work(c));) {
    struct gw_error ignored = {0}; /* what cannot be compiled goes on as it is */
    be_idle(c, module_compile_functions(c->module, c->funcs, n, &ignored));
  }
  return NULL;
}

/* --- the guest's thread --------------------------------------------------------------------------------------------------- */

void climb_begin(struct climb *c, struct gw_module *module) {
  if (c->module) return;
  const struct module *m = gw_module_decoded(module);
  c->module = module;
  c->heat = heap_new((size_t)m->n_funcs + 1, sizeof *c->heat);
  c->is_asked = heap_new((size_t)m->n_funcs + 1, 1);
  c->funcs = heap_new((size_t)m->n_funcs + 1, sizeof *c->funcs);
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->has_work, NULL);
}

static bool is_worth_it(const struct climb *c, const struct module *m, uint32_t func) {
  uint64_t least = body_size(&m->funcs[func]) / BYTES_FOR_MARK;
  return !c->is_asked[func] && c->heat[func] >= (least < FEW ? FEW : least);
}

/* NO_INDEX: none is worth it. */
static uint32_t find_hottest(const struct climb *c, const struct module *m) {
  uint32_t hottest = NO_INDEX;
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++)
    if (is_worth_it(c, m, i) && (hottest == NO_INDEX || c->heat[i] > c->heat[hottest])) hottest = i;
  return hottest;
}

/* With the lock. */
static void choose(struct climb *c) {
  const struct module *m = gw_module_decoded(c->module);
  uint64_t bytes = 0;
  for (uint32_t func; (func = find_hottest(c, m)) != NO_INDEX;) {
    bytes += body_size(&m->funcs[func]);
    if (c->n_wanted && bytes > SET_BYTES) return;
    c->is_asked[func] = 1;
    c->funcs[c->n_wanted++] = func;
  }
}

static void give_work(struct climb *c) {
  pthread_mutex_lock(&c->lock);
  if (!c->n_wanted && !c->is_ending) choose(c);
  c->is_over = c->is_ending;
  bool has_work = c->n_wanted;
  pthread_cond_signal(&c->has_work);
  pthread_mutex_unlock(&c->lock);
  if (!has_work || c->has_thread) return;
  c->has_thread = pthread_create(&c->thread, NULL, work, c) == 0;
  c->is_over |= !c->has_thread;
}

/* It has been compiled, or is being compiled, and yet runs. */
static bool is_stuck(struct climb *c, uint32_t func) {
  bool is_busy = true;
  if (pthread_mutex_trylock(&c->lock) == 0) {
    is_busy = c->n_wanted;
    pthread_mutex_unlock(&c->lock);
  }
  return c->is_asked[func] && !is_busy && !c->is_over && c->n_again < MOST_AGAIN;
}

enum climb_step climb_sample(struct climb *c, const struct gw_store *store, const struct gw_instance *instance) {
  uint32_t running[2];
  bool is_translated;
  uint32_t n = precise_list_running(store, instance, running, 2, &is_translated);
  c->n_samples++;
  if (n && is_translated) c->heat[running[0]] += 2;
  if (n > 1) c->heat[running[1]]++;
  c->n_stuck = n && is_translated && is_stuck(c, running[0]) ? c->n_stuck + 1 : 0;
  if (c->n_stuck >= STUCK) {
    c->n_stuck = 0;
    c->n_again++;
    return CLIMB_AGAIN;
  }
  const struct module *m = gw_module_decoded(c->module);
  bool is_news = (n && is_worth_it(c, m, running[0])) || (n > 1 && is_worth_it(c, m, running[1]));
  if (is_news && c->n_samples >= FIRST && !c->is_over) give_work(c);
  return CLIMB_ON;
}

uint64_t climb_slice(const struct climb *c) { return atomic_load(&c->n_published) ? COARSE_SLICE : FINE_SLICE; }

void climb_end(struct climb *c) {
  if (!c->module) return;
  pthread_mutex_lock(&c->lock);
  c->is_ending = true;
  pthread_cond_signal(&c->has_work);
  pthread_mutex_unlock(&c->lock);
  if (c->has_thread) pthread_join(c->thread, NULL);
  pthread_mutex_destroy(&c->lock);
  pthread_cond_destroy(&c->has_work);
  free(c->heat);
  free(c->is_asked);
  free(c->funcs);
}
