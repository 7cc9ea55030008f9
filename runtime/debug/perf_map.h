/* Compiled functions by name for Linux's perf. */
#ifndef RUNTIME_DEBUG_PERF_MAP_H
#define RUNTIME_DEBUG_PERF_MAP_H

#include "runtime/engine.h"

/* Adds a line for each piece of the code to /tmp/perf-PID.map, which this process makes at its first call. The code must stay
 * where it is while the process is watched. The file is left for `perf report`. Thread-safe. */
bool perf_map_add(const struct module *m, const struct code *code, struct gw_error *err);

#endif
