/* Looks should come every LOOK_NS, and hardly ever LONG_NS apart. What code does next, nobody knows: a function that adds numbers
 * for a second may then miss the cache with every load. So what it was worst at counts for a while. New code begins with little
 * gas. A look that came early lets the next one have twice the gas; one that came late cuts it to what fits, and from then on
 * BACKOFF times as many early ones are needed for each doubling. Who alternates to make others wait may do so once in a second.
 *
 * A thread that waits for its core looks like one that is slow, where the system's clocks cannot tell. So one late look cuts by
 * MOST_CUT only, and what was held against a function is forgotten again. */
#include "runtime/pace.h"

enum { LOOK_NS = 64000, LONG_NS = 250000, BACKOFF = 8, FIRST = 2000, LEAST = 100, MOST = 1 << 20 };
enum { MOST_CUT = 16, MOST_WANTED = 4096 };

static uint64_t clamp(double gas) { return gas < LEAST ? LEAST : gas > MOST ? MOST : (uint64_t)gas; }

uint64_t pace_look(const struct gw_pace *pace) { return pace->look ? pace->look : FIRST; }

static void slow_down(struct gw_pace *pace, uint64_t look) {
  uint64_t now = pace_look(pace), least = now / MOST_CUT;
  if (look >= now) return;
  if (look < least) look = least;
  uint32_t wanted = (pace->wanted ? pace->wanted : 1) * BACKOFF;
  pace->look = clamp((double)look);
  pace->wanted = wanted < MOST_WANTED ? wanted : MOST_WANTED;
  pace->n_early = 0;
}

static void speed_up(struct gw_pace *pace) {
  if (++pace->n_early < pace->wanted) return;
  pace->n_early = 0;
  if (pace->look == MOST) pace->wanted /= 2;
  pace->look = clamp(2. * (double)pace_look(pace));
}

void pace_learn(struct gw_pace *pace, uint64_t gas, uint64_t ns) {
  if (ns > LONG_NS)
    slow_down(pace, clamp((double)gas * LOOK_NS / (double)ns));
  else if (ns < LOOK_NS / 2 && gas >= pace_look(pace))
    speed_up(pace);
}
