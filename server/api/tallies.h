/* What is counted of each function, as /metrics and GET /v1/metrics show it. */
#ifndef SERVER_API_TALLIES_H
#define SERVER_API_TALLIES_H

#include "base/buffer.h"

struct registry;

/* In Prometheus' text format: of functions that have been called. */
void tallies_print(struct registry *registry, struct buffer *out);

#endif
