/* Watching an invocation of a server from outside, as it runs again. */
#ifndef CLI_RETRACE_H
#define CLI_RETRACE_H

#include "cli/rerun.h"
#include "cli/trace.h"

enum { EXIT_ENDED_BEFORE = 1 };

/* Prints lines of that kind on standard error, up to so much gas (0: the end), where it shows all there is; the exit code. */
int retrace(struct rerun *rerun, const char *id, enum trace_kind kind, uint64_t until_gas);

#endif
