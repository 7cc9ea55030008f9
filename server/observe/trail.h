/* What is known of a request when its reply goes, for the access log and its span. Of the exchange; those who answer it write
 * down what they know, and only where somebody wants it. */
#ifndef SERVER_OBSERVE_TRAIL_H
#define SERVER_OBSERVE_TRAIL_H

#include "base/clock.h"
#include "server/observe/context.h"

enum trail_phase {
#define PHASE(name, text, help) TRAIL_##name,
#include "server/observe/phase.def"
#undef PHASE
  TRAIL_PHASES
};

enum { TRAIL_ID_SIZE = 40 };

struct trail {
  bool is_kept;    /* there is an access log, or a span is made of it */
  bool is_sampled; /* a span is made of it */
  bool is_call;    /* of a function: what follows its name is known */
  bool is_cold;    /* it had to wait for an instance, or for the module */
  bool has_gas;
  uint32_t attempts; /* runs that conflicts ended */
  uint64_t began;    /* of the monotonic clock, in nanoseconds: its first byte was there */
  uint64_t gas, version;
  const char *tier, *outcome, *trap; /* static; NULL: not known, or none */
  char id[TRAIL_ID_SIZE];            /* of the invocation, as logs have it; "": none */
  struct {
    uint64_t from, to; /* of the same clock; 0: it did not take place, or has not ended */
  } phases[TRAIL_PHASES];
  struct context context;
  char traceparent[CONTEXT_HEADER_SIZE]; /* where the request's header is ours */
};

/* A request begins. Where nobody wants its trail, what of it is looked at all the same says so. */
static inline void trail_begin(struct trail *trail, bool is_kept, bool is_timed) {
  if (!is_timed) {
    trail->is_kept = trail->is_sampled = false;
    *trail->context.id = 0;
    return;
  }
  *trail = (struct trail){.is_kept = is_kept, .began = clock_ns(CLOCK_MONOTONIC)};
}

/* A phase that comes again goes on. */
static inline void trail_enter(struct trail *trail, enum trail_phase phase) {
  if (trail->is_sampled && !trail->phases[phase].from) trail->phases[phase].from = clock_ns(CLOCK_MONOTONIC);
}

/* One that was not entered does not end. */
static inline void trail_leave(struct trail *trail, enum trail_phase phase) {
  if (trail->is_sampled && trail->phases[phase].from) trail->phases[phase].to = clock_ns(CLOCK_MONOTONIC);
}

#endif
