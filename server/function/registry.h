/* The table of deployed functions: names, versions and module bytes that survive a restart. */
#ifndef SERVER_FUNCTION_REGISTRY_H
#define SERVER_FUNCTION_REGISTRY_H

#include "runtime/state/state.h"
#include "server/function/background.h"
#include "server/function/entry.h"

struct registry;

/* Reads all records; modules are loaded when they are first called. `engine`, `state` and `limits` must outlive the registry.
 * A damaged record or module concerns its function only. */
struct registry *registry_open(const char *data_dir, struct gw_engine *engine, struct state_store *state,
                               const struct function_limits *limits, struct gw_error *err);
/* Takes on what other nodes have changed in the store that they share. Blocks; any thread. */
bool registry_refresh(struct registry *registry, struct gw_error *err);
/* From now on others count, which must outlive it likewise; tier and bundles are the same. Any thread. */
void registry_limit(struct registry *registry, const struct function_limits *limits);
/* Nobody may hold a function any more. */
void registry_close(struct registry *registry);

/* Changes whenever some name means something else than before. Any thread. */
uint64_t registry_epoch(const struct registry *registry);

/* An alias may lead to two versions: another one, which has an address of its own, gets a share of ENTRY_WHOLE calls. */
struct registry_split {
  uint64_t canary;
  uint32_t share; /* 0: there is no other */
};

/* The version that the address leads to, the larger part of its calls, with a reference for the caller; or NULL. Any thread. */
struct function *registry_look(struct registry *registry, const char *address, struct registry_split *split);
struct function *registry_find(struct registry *registry, const char *address);
/* function_print_settings, with the registry's key. */
void registry_print_settings(const struct registry *registry, const struct function *function, struct buffer *out);

/* Calls `each` in name order with a reader lock held: it must not call the registry, and must be short, because who changes
 * something waits for it. */
void registry_each(struct registry *registry, void (*each)(void *arg, const struct entry *entry), void *arg);
/* The same for one name; false where it means nothing. */
bool registry_with(struct registry *registry, const char *name, void (*visit)(void *arg, const struct entry *entry), void *arg);

/* For what takes longer: the entry, to be destroyed, or NULL; and the tenant's entries in name order. No lock is held meanwhile,
 * and what changes between two may be seen or not. Worker threads only: what they hold last, they free. */
struct entry *registry_entry(struct registry *registry, const char *name);
void registry_each_of(struct registry *registry, const char *tenant, void (*each)(void *arg, const struct entry *entry),
                      void *arg);

/* Names of deleted functions whose state is still there. Any thread. */
bool registry_each_kept(struct registry *registry, void (*each)(void *arg, const char *name), void *arg, struct gw_error *err);

/* Groups of functions that share state, and groups that nobody is in any more, whose state is still there. `members`: short names
 * with commas between them. `tenant` NULL: of all. Worker threads only. */
bool registry_each_group(struct registry *registry, const char *tenant,
                         void (*each)(void *arg, const char *name, const char *members), void *arg, struct gw_error *err);

/* What a change wants to find, else it fails with GW_ERROR_PRECONDITION (RFC 9110 section 13.1). */
struct registry_condition {
  bool must_exist, must_be_new;
  size_t n_revisions;
  uint64_t revisions[4]; /* the entry is at one of them, or must_exist is true */
};

/* A deployment. */
struct registry_wish {
  struct function_choice choice;
  struct registry_condition condition;
  char alias[FUNCTION_MAX_NAME + 1]; /* that leads to the new version; "": the live one */
  const void *bytes;
  size_t size;
  const cJSON *settings; /* a merge patch of those that it would have; NULL: none. Of registry_put only */
};

struct registry_outcome {
  bool is_new; /* the name was free */
  uint64_t revision;
};

/* A module to be run that nobody deployed. */
struct registry_run {
  const char *name;     /* full, with FUNCTION_RUN */
  const char *digest;   /* of the module */
  struct buffer *bytes; /* where it is; taken over */
  size_t at, size;
  uint64_t gas, memory, cpu_ms; /* of each run; not 0 */
};

/* A function of it, with no more than these limits: no state, no secrets, no files. It is loaded by registry_load, and is in no
 * table; the caller has the only reference. NULL for limits that are none. Any thread. */
struct function *registry_make(struct registry *registry, const struct registry_run *run, struct gw_error *err);

/* The others below block on compilation and disk: worker threads only. Names are full names. */

/* `bytes` are a module, or an artifact that is signed by somebody trusted, or that this server made itself, whose code is then
 * used. Validates, compiles unless that has time (TIER_AUTO), tries an instance, stores durably and publishes. The first version
 * of a name is always live. Versions that nothing leads to are kept as the limits say, the newest ones. */
struct function *registry_put(struct registry *registry, const char *name, const struct registry_wish *wish,
                              struct registry_outcome *outcome, struct gw_error *err);
/* The next version: the module of the one that `wish->alias`, or the live alias, leads to, with settings changed by the merge
 * patch, and otherwise as the wish says, which has no bytes. GW_ERROR_PRECONDITION where another change came between. */
struct function *registry_configure(struct registry *registry, const char *name, const struct registry_wish *wish,
                                    const cJSON *patch, struct registry_outcome *outcome, struct gw_error *err);
/* Makes `alias` lead to a version, REGISTRY_PREVIOUS being the one that was live before; calls that begin later see that, and
 * wait for no module. GW_ERROR_NOT_FOUND when there is no such function or version. */
#define REGISTRY_PREVIOUS UINT64_MAX
bool registry_set_alias(struct registry *registry, const char *name, const struct entry_alias *alias,
                        const struct registry_condition *condition, struct gw_error *err);
/* Takes away a version (digits) or an alias. GW_ERROR_IN_USE for the live alias, and for versions that an alias leads to. */
bool registry_remove(struct registry *registry, const char *name, const char *word, const struct registry_condition *condition,
                     struct gw_error *err);
/* GW_ERROR_NOT_FOUND when there is no such function. Its state stays unless `with_state`, which also removes what a function that
 * was deleted earlier has left, and the state of a group that it was the last one of. */
bool registry_delete(struct registry *registry, const char *name, bool with_state, struct gw_error *err);
/* Deletes a group's state, and so the group. GW_ERROR_IN_USE while a version of any function is in it; GW_ERROR_NOT_FOUND when
 * there is no such group. */
bool registry_drop_group(struct registry *registry, const char *group, struct gw_error *err);
/* A function in quarantine can be called again. GW_ERROR_NOT_FOUND when there is no such function, or it is in none. */
bool registry_lift(struct registry *registry, const char *name, struct gw_error *err);
/* Reads and checks the stored module of a function of the registry, and makes it callable, unless that is done. */
bool registry_load(struct registry *registry, struct function *function);
/* The module with this digest, of a version of some function of the tenant. GW_ERROR_NOT_FOUND where there is none. */
bool registry_read_module_of(struct registry *registry, const char *tenant, const char *digest, struct buffer *out,
                             struct gw_error *err);
/* Bytes of the modules that are in memory and of their code, at most, and whether that is more than a quarter of the memory
 * limit. Any thread. */
uint64_t registry_code_bytes(const struct registry *registry);
bool registry_has_much_code(const struct registry *registry);
/* The same, with what is let go of already and somebody still holds. */
bool registry_is_over_its_part(const struct registry *registry);
/* Then forgets those that nobody called for the longest time, a second at least; they are read again when they are called. May
 * wait for a deployment. */
void registry_limit_code(struct registry *registry);
/* Modules could not be loaded, and forgetting that: who calls them next has them loaded again. May wait for the disk. */
bool registry_has_failed(const struct registry *registry);
void registry_forget_failures(struct registry *registry);

/* A copy of the function, for a slot of its own: with a module of an engine that watches (runtime/precise/precise.h), which the
 * registry makes when it is first needed, and closes. NULL: it failed. */
struct function *registry_load_watched(struct registry *registry, const struct function *function, struct gw_engine **engine,
                                       struct gw_error *err);

/* The bytes that a version was deployed with, by their digest; false, where no version has them any more. Blocks. */
bool registry_read_module(struct registry *registry, const char *digest, struct buffer *out, struct gw_error *err);

/* What was compiled in the background. Any thread. */
struct background_totals registry_compilations(struct registry *registry);

#endif
