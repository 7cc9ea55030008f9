/* CPU time of the present thread, cheap enough for every slice.
 *
 * The system's clock of a thread is a system call (some 2 us here), the monotonic clock is none (30 ns) but goes on while others
 * have the core. So a lap is one of the monotonic clock; only one so long that the thread may have been interrupted asks the
 * thread's clock, too, and is no longer than what that has gone on since it was asked last. */
#ifndef BASE_CPU_CLOCK_H
#define BASE_CPU_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* All zero is one of the system's. */
struct cpu_clock {
  uint64_t (*now)(void); /* tests have their own, in nanoseconds; NULL: the system's */
  uint64_t at;           /* when the present lap began */
};

/* A lap begins. `is_long`: it will probably take long, so the thread's own clock is worth asking now. */
void cpu_clock_begin(struct cpu_clock *clock, bool is_long);
/* Ends a lap and begins the next: its nanoseconds. On the thread that began it. */
uint64_t cpu_clock_lap(struct cpu_clock *clock);

#endif
