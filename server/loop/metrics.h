/* What a loop counts, for GET /metrics. Each loop counts for itself, without locks; who asks adds them up. */
#ifndef SERVER_LOOP_METRICS_H
#define SERVER_LOOP_METRICS_H

#include "gasworks.h"

#include <stdatomic.h>

enum { TURN_KINDS = 22 }; /* 1, 2, 4 ... 2^20 microseconds, and longer ones */

/* Written by its loop's thread only. */
struct metrics {
#define COUNTER(name, text, help) _Atomic uint64_t name;
#define COUNTERS(name, text, help, size, label, word) _Atomic uint64_t name[size];
#define GAUGE(name, text, help) _Atomic uint64_t name;
#include "server/loop/metrics.def"
#undef COUNTER
#undef COUNTERS
#undef GAUGE
};

static inline void metrics_add(_Atomic uint64_t *counter, uint64_t n) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
