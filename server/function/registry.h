/* The table of deployed functions: names, versions and module bytes that survive a restart. */
#ifndef SERVER_FUNCTION_REGISTRY_H
#define SERVER_FUNCTION_REGISTRY_H

#include "runtime/state/state.h"
#include "server/function/background.h"
#include "server/function/function.h"

struct registry;

/* Reads all records; modules are loaded when they are first called. `engine` and `state` must outlive the registry.
 * A damaged record or module concerns its function only. */
struct registry *registry_open(const char *data_dir, struct gw_engine *engine, struct state_store *state,
                               const struct function_limits *limits, struct gw_error *err);
/* Nobody may hold a function any more. */
void registry_close(struct registry *registry);

/* Changes whenever some name means something else than before. Any thread. */
uint64_t registry_epoch(const struct registry *registry);

/* The current version, with a reference for the caller, or NULL. Any thread. */
struct function *registry_find(struct registry *registry, const char *name);

/* Calls `each` in name order with a reader lock held: it must not call the registry. */
void registry_each(struct registry *registry, void (*each)(void *arg, const struct function *function), void *arg);

/* Names of deleted functions whose state is still there. Any thread. */
bool registry_each_kept(struct registry *registry, void (*each)(void *arg, const char *name), void *arg, struct gw_error *err);

/* The four below block on compilation and disk: worker threads only. */

/* `bytes` are a module, or an artifact that is signed by somebody trusted, or that this server made itself, whose code is then
 * used. Validates, compiles unless that has time (TIER_AUTO), tries an instance, stores durably and publishes. `*is_new`: the
 * name was free. Names are full names. */
struct function *registry_put(struct registry *registry, const char *name, const struct function_choice *choice,
                              const void *bytes, size_t size, bool *is_new, struct gw_error *err);
/* GW_ERROR_NOT_FOUND when there is no such function. Its state stays unless `with_state`, which also removes what a function that
 * was deleted earlier has left. */
bool registry_delete(struct registry *registry, const char *name, bool with_state, struct gw_error *err);
/* A function in quarantine can be called again. GW_ERROR_NOT_FOUND when there is no such function, or it is in none. */
bool registry_lift(struct registry *registry, const char *name, struct gw_error *err);
/* Reads and checks the stored module of a function of the registry, and makes it callable, unless that is done. */
bool registry_load(struct registry *registry, struct function *function);

/* What was compiled in the background. Any thread. */
struct background_totals registry_compilations(struct registry *registry);

#endif
