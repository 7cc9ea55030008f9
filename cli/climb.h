/* While a guest runs in the mixed tier: which of its functions are compiled, and when. */
#ifndef CLI_CLIMB_H
#define CLI_CLIMB_H

#include "gasworks.h"

#include <pthread.h>
#include <stdatomic.h>

/* All zero before climb_begin. */
struct climb {
  struct gw_module *module;
  /* Of the thread that runs the guest. */
  uint32_t *heat;    /* [n_funcs]: how often each ran baseline code when a slice ended, or called what did */
  uint8_t *is_asked; /* [n_funcs]: for its code */
  uint32_t n_samples, n_stuck, n_again;
  bool is_over; /* the compiler has failed, or there is none */
  /* Between it and the compiling thread, under the lock. */
  pthread_t thread;
  bool has_thread;
  pthread_mutex_t lock;
  pthread_cond_t has_work;
  uint32_t *funcs; /* [n_wanted], the hottest first */
  uint32_t n_wanted;
  bool is_ending;
  atomic_uint n_published; /* sets */
};

/* What the guest's caller does next. */
enum climb_step { CLIMB_ON, CLIMB_AGAIN };

/* Does nothing the second time. */
void climb_begin(struct climb *c, struct gw_module *module);

/* A slice of the guest has ended. CLIMB_AGAIN: it stays in a loop whose function has been compiled, which it does not leave, so a
 * run from the beginning would be faster. */
enum climb_step climb_sample(struct climb *c, const struct gw_store *store, const struct gw_instance *instance);

/* Gas of the next slice. */
uint64_t climb_slice(const struct climb *c);

/* Waits for the compiler, if it is at work. */
void climb_end(struct climb *c);

#endif
