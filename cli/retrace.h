/* Watching an invocation of a server from outside, as it runs again. */
#ifndef CLI_RETRACE_H
#define CLI_RETRACE_H

#include "cli/rerun.h"
#include "cli/trace.h"

enum { EXIT_ENDED_BEFORE = 1 };

struct retrace {
  enum trace_kind kind;
  uint64_t until_gas; /* 0: to the end; else where it stops and shows all there is */
  bool is_json;       /* lines of JSON on standard output, in place of lines on standard error */
};

/* Prints lines of that kind; the exit code. */
int retrace(struct rerun *rerun, const char *id, const struct retrace *how);

#endif
