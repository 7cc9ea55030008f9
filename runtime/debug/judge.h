/* The judge: compiled code says that it trapped, but not always after how much gas, and never where in the function. So what
 * trapped runs again in the precise tier on the same record, and the verdict is what both runs make together. The server, `run`
 * and tests ask the same judge; who asks makes the second run, in slices or in one go:
 *
 *   if (judge_wants(&judged, &err)) { judge_begin(&judge, &record, &err); the run again, in the precise tier, into err;
 *                                     judge_end(&judge, its CPU time, whom, &err); }
 *
 * The second run has a limit of CPU time (judge_limit_ns). What compiled code took says little about what it needs: a loop whose
 * range is looked at (jit/access/ranges.c) traps at once, and the interpreter does all of its rounds before. */
#ifndef RUNTIME_DEBUG_JUDGE_H
#define RUNTIME_DEBUG_JUDGE_H

#include "gasworks.h"
#include "runtime/debug/record.h"

/* CPU time that a second run may take, in ns: what the longest run that is judged takes there, and no more than the limit of
 * CPU time, 0 for none. */
uint64_t judge_limit_ns(uint64_t cpu_limit_ns);
/* CPU time of compiled code beyond which nobody waits for the interpreter, which takes some fifteen times that: the second run
 * would hardly end within the limit of CPU time, 0 for none. */
double judge_most_seconds(uint64_t cpu_limit_ns);

/* A run that is over. */
struct judged {
  enum gw_tier tier;
  const struct gw_module *module;
  const struct record *record;  /* what the host answered it */
  double seconds, most_seconds; /* what it took; more is not judged, 0: however long it took */
};

/* A judgement under way. All zero: none is. */
struct judge {
  struct record *record;
  uint64_t limit_ns;     /* of the second run's CPU time */
  struct gw_error first; /* the trap of compiled code */
};

enum judge_verdict {
  JUDGE_CONFIRMED, /* the precise tier's end is the answer */
  JUDGE_LATE,      /* the second run took too long: the first one's trap is the answer, as if nobody had judged */
  JUDGE_CANCELLED, /* the second run was ended, and so is the whole: no verdict */
  JUDGE_DISAGREED  /* one of the tiers is wrong: the answer has both ends */
};

/* Whether this end must and can be judged. Of both askers' conditions the stricter one holds for all:
 *   the run was one of compiled code, and trapped;
 *   the trap is one that the guest made by itself; or one of a host function, where the record answers for all of them;
 *   the record is whole;
 *   what has a limit of time kept it. */
bool judge_wants(const struct judged *run, const struct gw_error *err);

/* The second run may begin, on `record`, which now replays; cpu_limit_ns: the limit of CPU time, 0 for none. */
void judge_begin(struct judge *judge, struct record *record, uint64_t cpu_limit_ns, const struct gw_error *err);
static inline bool judge_is_under_way(const struct judge *judge) { return judge->record != NULL; }
/* Whether a second run that took so long must be cancelled. */
static inline bool judge_is_late(const struct judge *judge, uint64_t cpu_ns) {
  return judge_is_under_way(judge) && cpu_ns > judge->limit_ns;
}
/* The second run is over, after so much CPU time, with `err`, without a code where it succeeded; *err becomes the verdict's.
 * `whom`: " about function x", or "". */
enum judge_verdict judge_end(struct judge *judge, uint64_t cpu_ns, const char *whom, struct gw_error *err);
/* There will be no verdict: the second run was given up. */
static inline void judge_drop(struct judge *judge) { judge->record = NULL; }

/* The comparison alone: whether the precise tier's end confirms that of compiled code. */
bool judge_confirms(const struct gw_error *fast, const struct gw_error *precise);

#endif
