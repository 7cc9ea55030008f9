/* What Gasworks has beyond the standard C interface of wasm.h: the objects behind its objects, for all of gasworks.h. */
#ifndef GASWORKS_WASM_H
#define GASWORKS_WASM_H

#include "gasworks.h"
#include "wasm.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* The options of the engine that will be made of it, to be changed: -O2, with gas. What they point to must outlive the engine. */
struct gw_engine_options *gw_wasm_config_options(wasm_config_t *config);
/* Which tier the engine's stores run. GW_TIER_PRECISE needs no compiler, and its traps have whole traces. */
void gw_wasm_config_set_tier(wasm_config_t *config, enum gw_tier tier);

/* Borrowed: they live as long as what they are asked of. */
struct gw_engine *gw_wasm_engine(wasm_engine_t *engine);
struct gw_store *gw_wasm_store(wasm_store_t *store); /* gas: gw_store_set_gas_limit, gw_store_gas_used */
struct gw_module *gw_wasm_module(wasm_module_t *module);
struct gw_instance *gw_wasm_instance(wasm_instance_t *instance);
/* Why the last function that gave NULL or false in this store did. */
const struct gw_error *gw_wasm_last_error(const wasm_store_t *store);
/* What kind of trap it is; GW_TRAP_HOST: one that the host made. */
enum gw_trap gw_wasm_trap_kind(const wasm_trap_t *trap);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
