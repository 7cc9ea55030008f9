/* Where a server's spans go: `serve --otlp-endpoint` and OpenTelemetry's environment variables. */
#ifndef CLI_TRACING_H
#define CLI_TRACING_H

#include "base/arena.h"
#include "server/observe/tracer.h"

/* Fills the options from the environment, and from `endpoint`, which goes before it; NULL: not given. Without either they say
 * that there are no spans. What the environment has wrong is told on standard error and passed over, as OpenTelemetry wants it.
 * False with err set: the endpoint is none. */
bool tracing_read(struct tracer_options *options, const char *endpoint, struct arena *arena, struct gw_error *err);

#endif
