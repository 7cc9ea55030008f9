/* Where a request belongs among those of other programs: W3C Trace Context, level 1, with the flag of level 2 that says that a
 * trace's number is random. Pure functions over a request's header values. */
#ifndef SERVER_OBSERVE_CONTEXT_H
#define SERVER_OBSERVE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  CONTEXT_ID_SIZE = 32,    /* hexadecimal digits */
  CONTEXT_SPAN_SIZE = 16,  /* likewise */
  CONTEXT_HEADER_SIZE = 56 /* of a traceparent with its NUL */
};

enum context_flag { CONTEXT_SAMPLED = 1, CONTEXT_RANDOM = 2 };

struct context {
  char id[CONTEXT_ID_SIZE + 1];       /* "": the request has none */
  char parent[CONTEXT_SPAN_SIZE + 1]; /* the caller's span; "": it is the first one */
  char span[CONTEXT_SPAN_SIZE + 1];   /* ours; "": we make none */
  uint8_t flags;
};

/* Makes numbers; of one thread. */
struct context_source {
  uint64_t state[2];
};

/* False: the system has no random numbers to begin with. */
bool context_source_init(struct context_source *source);

/* A traceparent's value without spaces around it. False, and nothing in `context`, where it is not one: of a version that is
 * unknown yet the beginning counts. */
bool context_parse(struct context *context, const char *value);
/* A trace that begins here, with a span of ours. */
void context_begin(struct context *context, struct context_source *source);
/* A span of ours in it, in place of what there was. */
void context_add_span(struct context *context, struct context_source *source);
/* As traceparent, for those that are called from here: with our span, or the caller's where we make none. */
void context_print(const struct context *context, char out[CONTEXT_HEADER_SIZE]);
/* Whether it is among the given share of all traces: the same ones in every program that decides by the trace's number. */
bool context_is_in_ratio(const struct context *context, double ratio);

/* Whether a tracestate's value, of all its headers in their order with commas between, is a list as the specification has it: 32
 * members at most, "key=value" each, no key twice. */
bool context_state_is_valid(const char *value);

#endif
