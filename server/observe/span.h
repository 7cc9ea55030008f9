/* A span that waits to be sent, and what it is as OTLP's JSON (opentelemetry-proto 1.x: protobuf's JSON mapping, with numbers of
 * traces and spans in hexadecimal, and enums as numbers). */
#ifndef SERVER_OBSERVE_SPAN_H
#define SERVER_OBSERVE_SPAN_H

#include "server/observe/tracer.h"

enum { SPAN_TEXT = 1024 /* bytes of a stranger's string that are kept */ };

struct span {
  struct span *next;
  unsigned tenant; /* the tracer's, which counts them */
  struct trail trail;
  struct span_request request; /* its strings are behind it */
  uint64_t to, since_1970;     /* to: of the trail's clock; since_1970: what is added to it for the time of day, in nanoseconds */
};

/* The caller's, to be freed. */
struct span *span_create(const struct span_request *request, const struct trail *trail);
/* Appends the bodies of an ExportTraceServiceRequest: of all spans of the list. `resource` is a JSON array of attributes. */
void span_print_batch(struct buffer *out, const struct span *spans, const char *resource);
/* How many spans of OTLP that is: with those of its phases. */
uint32_t span_count(const struct span *span);

#endif
