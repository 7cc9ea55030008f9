/* Compiled functions by name for Linux's perf. */
#ifndef RUNTIME_DEBUG_PERF_MAP_H
#define RUNTIME_DEBUG_PERF_MAP_H

#include "runtime/engine.h"

/* Writes /tmp/perf-PID.map, a line for each piece of the module's code, which must stay where it is while the process is watched.
 * The file is left for `perf report`. */
bool perf_map_write(const struct gw_module *module, struct gw_error *err);

#endif
