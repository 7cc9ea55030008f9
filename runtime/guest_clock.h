/* Time as functions on a server see it. A clock fine enough tells a function how long its own instructions took, and by that what
 * others left in the caches it shares with them (Spectre, NetSpectre). So it goes in steps of a millisecond, and within one slice
 * it stands still: a function cannot time what it does itself. */
#ifndef RUNTIME_GUEST_CLOCK_H
#define RUNTIME_GUEST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { GUEST_CLOCK_STEP_NS = 1000000 };

/* One per instance; all zero at first. One thread at a time. */
struct guest_clock {
  bool is_read; /* in this slice: the two times are what they are until the next one */
  uint64_t realtime_ns, monotonic_ns;
};

/* The time of clock `id`, in nanoseconds; clocks of CPU time go like the monotonic one, because a process is everybody's. With
 * `clock` NULL it is the system's, as fine as it goes. False: the system has no such clock. */
bool guest_clock_now(struct guest_clock *clock, clockid_t id, uint64_t *ns);

/* A slice begins: the next reading is a new one. */
static inline void guest_clock_turn(struct guest_clock *clock) { clock->is_read = false; }

#endif
