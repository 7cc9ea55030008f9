/* `run --trace` and `run --until-gas`: watching a guest of the precise tier from outside. */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include "cli/guest.h"

enum trace_kind { TRACE_NONE, TRACE_CALLS, TRACE_BLOCKS, TRACE_INSTRUCTIONS };

/* All zero but for what it is to do; trace_clear frees it. */
struct trace {
  enum trace_kind kind;
  uint64_t until_gas; /* 0: to the end */
  bool has_stopped;   /* there */
  bool is_json;       /* lines of JSON on standard output, in place of lines on standard error */

  struct trace_call *calls; /* under way, outermost first */
  uint32_t n_calls, capacity;
  const void *last_instance; /* whose function was named last */
  uint32_t last_func;
  bool has_host_call; /* its results are the next to be seen */
  const struct func_type *host_type;
  struct buffer line;
  uint64_t gas; /* of the line, as JSON has them */
  uint32_t depth;
};

/* "calls", "blocks", "instructions"; "" is the last of them. */
bool trace_parse(const char *text, enum trace_kind *out);

/* A precise_watch with a struct trace: prints; true where gas has come to until_gas, once that is printed. */
bool trace_watch(void *trace, struct gw_store *store, const struct precise_step *step);

/* What returned when the outermost call did. */
void trace_end(struct trace *t);
void trace_clear(struct trace *t);

#endif
