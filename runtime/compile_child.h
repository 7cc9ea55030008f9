/* Compiling in another process. */
#ifndef RUNTIME_COMPILE_CHILD_H
#define RUNTIME_COMPILE_CHILD_H

#include "jit/artifact/artifact.h"
#include "runtime/engine.h"

/* Has a child process compile the module in its own dialect, within the engine's limits, and waits for it. A child that crashes,
 * or that a limit ends, is GW_ERROR_COMPILE, after another try without optimisation where that may help: then the artifact's
 * level is 0. So is an artifact for something else than what was asked for. Thread-safe. The
 * caller unmaps the artifact. */
struct artifact *compile_in_child(const struct gw_module *module, const struct artifact_key *key, struct gw_error *err);

#endif
