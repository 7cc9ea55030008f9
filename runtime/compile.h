/* How a module comes by its machine code. */
#ifndef RUNTIME_COMPILE_H
#define RUNTIME_COMPILE_H

#include "runtime/engine.h"

/* What artifacts of the engine's own are made with. */
struct artifact_options module_artifact_options(const struct gw_engine *engine);

struct gw_cache *engine_cache(const struct gw_engine *engine);
/* Whether the artifact is what the engine would make of the module itself; says what differs. */
bool engine_accepts(const struct gw_engine *engine, const struct artifact *artifact, struct gw_error *err);

/* Makes the code in the module's own dialect of what module->artifact holds. */
bool module_adopt_code(struct gw_module *module, struct gw_error *err);

#endif
