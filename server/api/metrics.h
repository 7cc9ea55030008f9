/* GET /metrics: what the loops have counted, and what there is. */
#ifndef SERVER_API_METRICS_H
#define SERVER_API_METRICS_H

#include "base/buffer.h"
#include "server/loop/metrics.h"

struct server;
struct registry;

/* Appends them and the registry's in Prometheus' text format, version 0.0.4. */
void metrics_print(const struct metrics *sum, struct registry *registry, struct buffer *out);

#endif
