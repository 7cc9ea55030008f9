/* How fast a loop works: gas, or time as gas, by the clock. Where others use the machine, too, that is less than what its cores
 * could do. Pure functions; of the loop's thread. */
#ifndef SERVER_LOOP_RATE_H
#define SERVER_LOOP_RATE_H

#include <stdint.h>

struct rate {
  uint64_t work, ns; /* since it was last measured */
  uint64_t at;       /* when that was, in nanoseconds; 0: never */
  uint64_t per_us;
};

enum { RATE_USUAL = 10000 /* gas in a microsecond: about, of compiled code on a core of its own */ };

/* So much was done in so much time, up to `now`, while something was there to do. */
void rate_add(struct rate *rate, uint64_t work, uint64_t ns, uint64_t now);
/* Gas in a microsecond, as the last ones were: at least 1. The usual one where nothing was measured for some seconds. */
uint64_t rate_per_us(const struct rate *rate, uint64_t now);

#endif
