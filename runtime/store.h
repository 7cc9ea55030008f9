/* Stores, and the one invocation that each may have under way. */
#ifndef RUNTIME_STORE_H
#define RUNTIME_STORE_H

#include "abi/abi.h"
#include "base/arena.h"
#include "gasworks.h"
#include "instrument/schedule.h"
#include "runtime/checkpoint.h"
#include "runtime/debug/profile.h"
#include "runtime/exception.h"
#include "runtime/fiber.h"
#include "runtime/precise/precise.h"
#include "runtime/slice.h"
#include "runtime/trap.h"

#include <pthread.h>
#include <stdatomic.h>

enum run_state {
  RUN_NONE,
  RUN_READY, /* started, not yet resumed */
  RUN_RUNNING,
  RUN_YIELDED,
  RUN_PARKED,        /* see park */
  RUN_AT_CHECKPOINT, /* suspended, within gw_store_resume */
  RUN_FINISHED,      /* returned to its entry */
  RUN_TRAPPED,       /* see trap */
};

struct gw_store {
  struct exec_ctx exec; /* what compiled code sees; exec.gas is what is left of the slice, or to the next look at the clock */
  struct gw_engine *engine;
  const struct schedule *schedule;
  struct gw_store_options options;
  void *user;
  struct arena arena; /* instances and what they are made of */
  uint64_t counted;   /* how many of its bytes are in the engine's memory_bytes */
  struct gw_instance *instances;
  struct gw_memory *memories;
  struct gw_table *tables;
  uint64_t n_table_entries; /* of all of them */
  uint64_t held;            /* bytes: see store_hold */

  struct exceptions exceptions;
  uint32_t dialect; /* of the code of all its instances: what one of them needs, all have */

  struct precise_stack precise;           /* used only by stores of the precise tier */
  struct fiber fiber;                     /* opened by the first invocation and used again */
  const struct gw_instance *stack_is_for; /* the newest instance when its size was looked at; NULL: look again */
  void (*touched)(void);                  /* where code that touched fresh memory goes on: runtime/arch/exhausted.h */
  enum run_state state;
  uint64_t n_host_calls;       /* since the last reset of an instance */
  bool was_refused;            /* since then, too: the system had no memory for what the guest may have, and the guest was told */
  bool is_cancelled;           /* the next step of the fiber is its end */
  _Atomic bool is_interrupted; /* another thread wants the invocation to end: gw_store_interrupt */
  pthread_mutex_t park_mutex;  /* other threads look at `park` under it */
  struct park *park;           /* while it is parked: see runtime/park.h */
  void (*wake)(void *arg);
  void *wake_arg;
  struct checkpoint checkpoint;
  struct func_ref *func;
  union gw_value *values;
  uint64_t limit;                    /* gas of this invocation */
  uint64_t owed;                     /* used already when the next one begins */
  uint64_t host_gas[HOST_GAS_COUNT]; /* of the invocation's, what host functions charged */
  struct profile profile;            /* used only by engines that profile */
  uint64_t reserve;                  /* gas that is not yet in a slice; limit = used + exec.gas + reserve */
  struct slice slice;
  struct trap trap;
  struct host_finish *finishes; /* of the host functions that it owns: runtime/host_func.c */
  uint32_t n_nested;            /* invocations that host functions of others have begun */
  struct record *record;        /* the embedder's, or NULL: see runtime/debug/record.h */
};

/* Between two steps of its invocation. */
static inline bool store_is_suspended(const struct gw_store *store) {
  return store->state == RUN_YIELDED || store->state == RUN_PARKED;
}

/* What guests hold, in bytes: memories and tables at their size, and exceptions that were kept when an invocation ended. It has
 * one limit, and is counted here alone, in the engine's total, too. Only what guests do changes it, so what they are
 * refused is the same in both tiers, in every slot and on every machine. `change` may wrap. */
bool store_may_hold(const struct gw_store *store, uint64_t more);
void store_hold(struct gw_store *store, uint64_t change);
/* False, with the error: nothing may begin with so much more. */
bool store_check_held(const struct gw_store *store, uint64_t more, struct gw_error *err);

/* runtime/host_func.c: tells the owners of its host functions. */
void host_funcs_finish(struct gw_store *store);

/* When instances were made: what they are made of, beyond what is usual, counts as the guest's memory. */
void store_count_instances(struct gw_store *store);

#endif
