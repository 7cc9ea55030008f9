/* Spans of invocations on their way to a collector (OTLP over HTTP, JSON). Loops give what they know of a request that was
 * chosen; a thread makes batches of them, and a process of its own sends them (sender.h). The queue is bounded: what has no room
 * is dropped and counted. */
#ifndef SERVER_OBSERVE_TRACER_H
#define SERVER_OBSERVE_TRACER_H

#include "gasworks/error.h"
#include "server/observe/tell.h"
#include "server/observe/trail.h"

struct buffer;
struct tracer;

/* How traces are chosen that begin here, and whether what the caller has chosen counts. */
enum sampler { SAMPLER_ON, SAMPLER_OFF, SAMPLER_RATIO };

/* Strings must live until tracer_open returns. */
struct tracer_options {
  const char *program;  /* the gasworks program, which sends as a child process */
  const char *endpoint; /* the URL that spans are posted to; NULL: there are no spans */
  const char *headers;  /* "Name: value" lines, each with its line feed; "": none */
  const char *resource; /* attributes of the server: a JSON array as OTLP has it */
  uint32_t timeout_ms;  /* that an answer may take */
  enum sampler sampler;
  bool is_parent_based;
  double ratio; /* of SAMPLER_RATIO */
};

struct tracer_totals {
  uint64_t n_sent, n_dropped;
};

/* Before the walls: starts the process that sends. */
struct tracer *tracer_open(const struct tracer_options *options, struct gw_error *err);
/* Behind them: starts the thread. */
bool tracer_start(struct tracer *tracer, const struct tell *tell, struct gw_error *err);
/* Sends what there is, but waits no longer than some seconds. NULL is allowed. */
void tracer_close(struct tracer *tracer);

/* Gives a trail whose trace is known a span, and decides whether it is kept. */
void tracer_begin(const struct tracer *tracer, struct trail *trail, struct context_source *source);

/* What a span says besides its trail. Strings are copied; NULL: none. */
struct span_request {
  const char *method, *target, *agent, *peer, *address, *function; /* address: of the function, as it was called */
  bool is_http10;
  uint16_t port;   /* of the server */
  uint32_t status; /* 0: the client had gone */
  uint64_t sent, received;
};

/* An invocation has ended. Any thread. */
void tracer_add(struct tracer *tracer, const struct span_request *request, const struct trail *trail);
/* Any thread. */
struct tracer_totals tracer_totals(const struct tracer *tracer);

#endif
