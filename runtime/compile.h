/* How a module comes by its machine code. */
#ifndef RUNTIME_COMPILE_H
#define RUNTIME_COMPILE_H

#include "runtime/engine.h"

/* What artifacts of the engine's own are made with. */
struct artifact_options module_artifact_options(const struct gw_engine *engine);

struct gw_cache *engine_cache(const struct gw_engine *engine);
/* Whether the artifact is what the engine would make of the module itself; says what differs. */
bool engine_accepts(const struct gw_engine *engine, const struct artifact *artifact, struct gw_error *err);

/* What each function used of gas in a run, [n_funcs], malloc'd and taken over: gw_module_make_artifact spends less on functions
 * that used next to none (struct compile_options). Before anything is compiled. */
void module_set_heat(struct gw_module *module, uint64_t *heat);

/* Whether functions of the module can be compiled by themselves. */
bool module_can_mix(const struct gw_module *module);

/* Compiles n functions, in this process, and has stores of the mixed tier call them (GW_TIER_MIXED). Those that call each other
 * often belong in one set, the hottest first. Thread-safe. */
bool module_compile_functions(struct gw_module *module, const uint32_t *funcs, uint32_t n, struct gw_error *err);

/* Makes the code in the module's own dialect of what module->artifact holds. */
bool module_adopt_code(struct gw_module *module, struct gw_error *err);

#endif
