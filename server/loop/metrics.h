/* What a loop counts, for GET /metrics. Each loop counts for itself, without locks; who asks adds them up. */
#ifndef SERVER_LOOP_METRICS_H
#define SERVER_LOOP_METRICS_H

#include "gasworks.h"

#include <stdatomic.h>

/* Written by its loop's thread only. */
struct metrics {
  _Atomic uint64_t replies[6];                /* by the first digit of their status */
  _Atomic uint64_t invocations[2];            /* by enum gw_tier, judgements not counted */
  _Atomic uint64_t traps[GW_TRAP_COUNT];      /* that invocations ended with */
  _Atomic uint64_t checkpointed;              /* those that went on from a checkpoint */
  _Atomic uint64_t gas;                       /* of all invocations */
  _Atomic uint64_t judgements, disagreements; /* second runs in the precise tier, and those that did not confirm the first */
};

static inline void metrics_add(_Atomic uint64_t *counter, uint64_t n) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
