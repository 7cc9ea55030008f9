#include "server/loop/rate.h"

#include <stdbool.h>

/* Long enough for some slices of each flow, and for the system to give others their turns: with thirty others on a core those
 * come once in a tenth of a second, and what is shorter takes the loop's own turn for its rate. */
#define WINDOW_NS UINT64_C(200000000)
#define FRESH_NS UINT64_C(5000000000)

static bool is_fresh(const struct rate *rate, uint64_t now) { return rate->at && now - rate->at < FRESH_NS; }

void rate_add(struct rate *rate, uint64_t work, uint64_t ns, uint64_t now) {
  rate->work += work;
  rate->ns += ns;
  if (rate->ns < WINDOW_NS) return;
  unsigned __int128 whole = (unsigned __int128)rate->work * 1000 / rate->ns;
  uint64_t last = whole > UINT32_MAX ? UINT32_MAX : (uint64_t)whole;
  last = is_fresh(rate, now) ? (rate->per_us + last) / 2 : last;
  *rate = (struct rate){.at = now, .per_us = last ? last : 1};
}

uint64_t rate_per_us(const struct rate *rate, uint64_t now) { return is_fresh(rate, now) ? rate->per_us : RATE_USUAL; }
