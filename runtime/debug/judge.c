#include "runtime/debug/judge.h"

#include "base/error.h"
#include "runtime/trap.h"

#include <string.h>

bool judge_wants(const struct judged *run, const struct gw_error *err) {
  bool has_compiled = run->tier == GW_TIER_FAST || run->tier == GW_TIER_MIXED;
  if (!has_compiled || err->code != GW_ERROR_TRAP || run->record->is_full) return false;
  bool is_answered = err->trap == GW_TRAP_HOST && run->record->scope == RECORD_ALL;
  if (!trap_is_guests(err->trap) && !is_answered) return false;
  return run->most_seconds <= 0 || run->seconds < run->most_seconds;
}

enum { MOST_SECONDS = 2, SLOWNESS = 16 };

uint64_t judge_limit_ns(uint64_t cpu_limit_ns) {
  uint64_t most = UINT64_C(1000000000) * MOST_SECONDS * SLOWNESS;
  return cpu_limit_ns && cpu_limit_ns < most ? cpu_limit_ns : most;
}

double judge_most_seconds(uint64_t cpu_limit_ns) { return (double)judge_limit_ns(cpu_limit_ns) * 1e-9 / SLOWNESS; }

void judge_begin(struct judge *judge, struct record *record, uint64_t cpu_limit_ns, const struct gw_error *err) {
  judge->record = record;
  judge->limit_ns = judge_limit_ns(cpu_limit_ns);
  judge->first = *err;
  record_replay(record, RECORD_ENDS);
}

/* Gas is noticed late in compiled code, up to a chunk of a counted loop and what lies between two gas checks (docs/gas.md,
 * section 4). A trap there comes after the end that counts, whichever trap it is. The other way round there is nothing to accept:
 * compiled code that ran out of gas is not judged. */
bool judge_confirms(const struct gw_error *fast, const struct gw_error *precise) {
  if (precise->code != GW_ERROR_TRAP) return false;
  return precise->trap == fast->trap || precise->trap == GW_TRAP_OUT_OF_GAS;
}

enum { MOST_TEXT = 90 }; /* of each end */

/* Cut between words where it is too long. */
static void shorten(char *out, const char *message) {
  size_t n = strlen(message);
  if (n > MOST_TEXT) {
    n = MOST_TEXT;
    while (n && message[n] != ' ') n--;
    if (!n) n = MOST_TEXT;
    while (n && strchr(" ,;:", message[n - 1])) n--;
  }
  memcpy(out, message, n);
  out[n] = '\0';
}

/* Both ends as one error. */
static void disagree(struct gw_error *out, const char *whom, const struct gw_error *fast, const struct gw_error *precise) {
  char first[MOST_TEXT + 1], second[MOST_TEXT + 1];
  shorten(first, fast->message);
  shorten(second, precise->code ? precise->message : "success");
  struct gw_error report = {0};
  error_set(&report, GW_ERROR_TRAP, "the tiers disagree%s: compiled code says \"%s\", the interpreter says \"%s\"", whom, first,
            second);
  report.trap = fast->trap;
  *out = report;
}

/* A run that has left the record's way traps as a host function does, so its trap alone could pass for the first run's. */
enum judge_verdict judge_end(struct judge *judge, uint64_t cpu_ns, const char *whom, struct gw_error *err) {
  bool is_late = judge_is_late(judge, cpu_ns), is_confirmed = judge_confirms(&judge->first, err) && !judge->record->has_parted;
  judge_drop(judge);
  bool is_cancelled = err->code == GW_ERROR_TRAP && err->trap == GW_TRAP_CANCELLED;
  if (is_cancelled && is_late) *err = judge->first;
  if (is_cancelled) return is_late ? JUDGE_LATE : JUDGE_CANCELLED;
  if (is_confirmed) return JUDGE_CONFIRMED;
  disagree(err, whom, &judge->first, err);
  return JUDGE_DISAGREED;
}
