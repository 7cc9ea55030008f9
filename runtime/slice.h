/* Gas in slices (essay in slice.c). On the thread that runs the store. */
#ifndef RUNTIME_SLICE_H
#define RUNTIME_SLICE_H

#include "base/cpu_clock.h"
#include "gasworks.h"

/* The present slice, and the invocation's CPU time. */
struct slice {
  struct cpu_clock clock;
  struct gw_pace *pace, own_pace;
  uint64_t gas, ns;  /* that were put into the counter since it began; how long it has lasted */
  uint64_t seen_gas; /* of the invocation at the last look */
  uint64_t cpu_ns;   /* of the invocation */
  uint64_t owed_ns;  /* what the next invocation has used already when it begins */
  bool has_touched;  /* since the last look: its time says nothing about gas */
};

/* For a new invocation, by the store's options. */
void slice_begin(struct gw_store *store);
/* The guest goes on, and will run for long, probably; or it has stopped. On the host's side of the fiber. */
void slice_enter(struct gw_store *store, bool is_long);
void slice_leave(struct gw_store *store);
/* Whether others should run now; always false without slices. */
bool slice_is_over(const struct gw_store *store);
bool slice_is_beyond_cpu_limit(const struct gw_store *store);

/* The guest touches a block of memory for the first time, wherever its counter is. Then slice_is_over knows. */
void slice_touch(struct gw_store *store);

/* Code whose counter is exec.gas touches a block: its next charge looks at the clock. Safe in a signal handler. */
void slice_look_soon(struct gw_store *store);

/* Gas in hand: takes `amount` and what exec.gas is short of already. */
enum gas_take {
  GAS_TAKEN,
  GAS_REFILLED, /* the counter had run out, and has gas again: ask whether the slice is over */
  GAS_OUT,      /* the limit is reached: nothing is left */
};
enum gas_take slice_take(struct gw_store *store, uint64_t amount);
/* Whether that would not be GAS_OUT; true when nothing is metered. */
bool slice_affords(const struct gw_store *store, uint64_t amount);

#endif
