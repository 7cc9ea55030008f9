#include "server/invoke/verdict.h"

#include "base/error.h"

#include <string.h>

/* Gas is noticed late in compiled code, up to a chunk of a counted loop and what lies between two looks (docs/gas.md, section 4).
 * A trap there comes after the end that counts, whichever trap it is. The other way round there is nothing to accept: compiled
 * code that ran out of gas is not judged. */
bool verdict_is_confirmed(const struct gw_error *fast, const struct gw_error *precise) {
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

void verdict_disagreement(struct gw_error *out, const char *whom, const struct gw_error *fast, const struct gw_error *precise) {
  char first[MOST_TEXT + 1], second[MOST_TEXT + 1];
  shorten(first, fast->message);
  shorten(second, precise->code ? precise->message : "success");
  struct gw_error report = {0};
  error_set(&report, GW_ERROR_TRAP, "the tiers disagree%s: compiled code says \"%s\", the interpreter says \"%s\"", whom, first,
            second);
  report.trap = fast->trap;
  *out = report;
}
