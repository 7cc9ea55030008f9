/* `env.abort`, which AssemblyScript calls when an exception is thrown or an assertion fails. */
#ifndef RUNTIME_HOST_ABORT_H
#define RUNTIME_HOST_ABORT_H

#include "gasworks.h"

/* A gw_resolve_fn; env is not used. A call traps as `unreachable` does, with the message and the place that the guest gives. */
bool abort_resolve(void *env, const struct gw_import *import, struct gw_extern *out);

#endif
