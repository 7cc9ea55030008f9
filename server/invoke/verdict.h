/* What the judge makes of two runs of one invocation (invoke.c, cli/guest.c): compiled code trapped, the precise tier ran it
 * again. */
#ifndef SERVER_INVOKE_VERDICT_H
#define SERVER_INVOKE_VERDICT_H

#include "gasworks/error.h"

#include <stdbool.h>

/* Whether the precise tier's end confirms that of compiled code; then it is the answer. */
bool verdict_is_confirmed(const struct gw_error *fast, const struct gw_error *precise);

/* Both ends as one error. `whom`: " about function x", or "". `precise` has no code where that run succeeded. */
void verdict_disagreement(struct gw_error *out, const char *whom, const struct gw_error *fast, const struct gw_error *precise);

#endif
