/* The system's clocks as numbers. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Of clocks that every Linux has. Thread-safe. */
static inline uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline double clock_seconds(clockid_t clock) { return (double)clock_ns(clock) * 1e-9; }

#endif
