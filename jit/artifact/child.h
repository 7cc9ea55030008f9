/* Compiling in another process. */
#ifndef JIT_ARTIFACT_CHILD_H
#define JIT_ARTIFACT_CHILD_H

#include "instrument/schedule.h"
#include "jit/artifact/artifact.h"

#include <pthread.h>

struct child_process;

/* Whom to have compile, and within which limits; then the processes that do. One belongs to an engine. */
struct child_pool {
  const char *program;             /* gasworks; started with CHILD_VERB (child_protocol.h) */
  const struct schedule *schedule; /* prices, with gas */
  bool gas;
  uint32_t threads;                   /* of one compilation; 0: one for each core */
  uint32_t max_seconds, wall_seconds; /* CPU time of any module, and by the clock; 0: four times that */
  uint64_t max_memory;                /* bytes of address space */
  pthread_mutex_t lock;               /* a leaf; guards what follows */
  struct child_process *processes;
  struct child_process *idle; /* those of them that wait for a small module */
  bool is_stopping;           /* no more of them */
};

/* The fields before the lock are the caller's. */
void child_pool_init(struct child_pool *pool);
/* Ends those processes that are idle; nobody may be compiling. */
void child_pool_clear(struct child_pool *pool);
/* Ends all, and lets no more begin: who waits for them gets an error. Thread-safe. */
void child_pool_stop(struct child_pool *pool);

/* Has a child process make the artifact of `key` for the module in `bytes`, and waits for it. A child that crashes, or that a
 * limit ends, is GW_ERROR_COMPILE, after another try without optimisation where that may help: then the artifact's level is 0. So
 * is an artifact for something else than what was asked for. Thread-safe. The caller unmaps the artifact.
 * With `is_slow` it is only tried for a moment of CPU time; true then: that was not enough, and nothing else was tried. */
struct artifact *child_compile(struct child_pool *pool, const void *bytes, size_t size, const struct artifact_key *key,
                               bool *is_slow, struct gw_error *err);

#endif
