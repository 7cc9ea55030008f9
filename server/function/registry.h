/* Deployed functions: names, versions and module bytes that survive a restart. */
#ifndef SERVER_FUNCTION_REGISTRY_H
#define SERVER_FUNCTION_REGISTRY_H

#include "gasworks.h"
#include "runtime/state/state.h"
#include "runtime/host/wasi/wasi.h"
#include "server/function/background.h"
#include "server/function/crash.h"
#include "server/tier.h"

#include <pthread.h>
#include <stdatomic.h>

enum { FUNCTION_MAX_NAME = 63, DIGEST_SIZE = 32, DIGEST_HEX_SIZE = 2 * DIGEST_SIZE + 1 };

enum interface { INTERFACE_HANDLE, INTERFACE_CGI };

/* What every instance gets; the same for all functions today. */
struct function_limits {
  uint64_t gas_limit, slice;    /* per invocation */
  uint64_t max_memory;          /* bytes per linear memory */
  uint64_t memory_limit;        /* bytes of all memories and tables of the server; 0: none */
  size_t max_reply;             /* bytes a CGI program may print */
  enum tier_choice tier;        /* of functions */
  const uint8_t (*trusted)[32]; /* public keys: whose artifacts may be deployed */
  size_t n_trusted;
  bool has_fine_clocks; /* functions see the system's clocks; else those of runtime/guest_clock.h */
  bool has_bundles;     /* whether functions may have files: NAME in the directory `bundles` */
  int bundles;
};

/* One version of a function. Immutable and shared between threads once the registry has published it, except for the module,
 * which is loaded by the first function_load. */
struct function {
  _Atomic uint32_t refs;
  char name[FUNCTION_MAX_NAME + 1];
  char digest[DIGEST_HEX_SIZE]; /* BLAKE2b-256 of the module */
  uint64_t version;             /* counts deployments of the name from 1 */
  uint64_t size;                /* bytes of the module */
  uint64_t created_ms;          /* since 1970 */
  double compile_ms;            /* of the deployment */
  enum interface interface;
  struct registry *registry;

  pthread_mutex_t lock;     /* held while loading */
  _Atomic int load_state;   /* enum load_state; what follows is constant once it is not LOAD_PENDING */
  struct gw_module *module; /* NULL after a failure */
  struct gw_error error;
  bool uses_state, uses_wasi, has_initialize;
  struct wasi_preopen bundle; /* its files, or host_fd -1 */

  _Atomic uint32_t quarantine; /* the signal that ended the process while it ran, 0: callable */
  uint64_t quarantine_ms;      /* since 1970; constant */

  _Atomic int code_state;     /* enum code_state */
  struct gw_error code_error; /* constant once it is CODE_FAILED */
};

enum load_state { LOAD_PENDING, LOAD_READY, LOAD_FAILED };

/* Whether there is compiled code: CODE_NONE before the module is loaded, and where functions are interpreted. */
enum code_state { CODE_NONE, CODE_WAITING, CODE_READY, CODE_FAILED };

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
struct function *function_retain(struct function *function);
void function_release(struct function *function);

/* Calls `each` in name order with a reader lock held: it must not call the registry. */
void registry_each(struct registry *registry, void (*each)(void *arg, const struct function *function), void *arg);

/* Whether the name is one: [a-z0-9][a-z0-9_-]{0,62}. */
bool function_name_is_valid(const char *name, size_t size);

/* Names of deleted functions whose state is still there. Any thread. */
bool registry_each_kept(struct registry *registry, void (*each)(void *arg, const char *name), void *arg, struct gw_error *err);

/* The four below block on compilation and disk: worker threads only. */

/* `bytes` are a module, or an artifact that is signed by somebody trusted, or that this server made itself, whose code is then
 * used. Validates, compiles unless that has time (TIER_AUTO), tries an instance, stores durably and publishes. `*is_new`: the
 * name was free. */
struct function *registry_put(struct registry *registry, const char *name, const void *bytes, size_t size, bool *is_new,
                              struct gw_error *err);
/* GW_ERROR_NOT_FOUND when there is no such function. Its state stays unless `with_state`, which also removes what a function that
 * was deleted earlier has left. */
bool registry_delete(struct registry *registry, const char *name, bool with_state, struct gw_error *err);
/* A function in quarantine can be called again. GW_ERROR_NOT_FOUND when there is no such function, or it is in none. */
bool registry_lift(struct registry *registry, const char *name, struct gw_error *err);
/* Reads and checks the stored module, and makes it callable, unless that is done. */
bool function_load(struct function *function);

static inline enum load_state function_load_state(const struct function *f) {
  return (enum load_state)atomic_load_explicit(&f->load_state, memory_order_acquire);
}

static inline enum code_state function_code_state(const struct function *f) {
  return (enum code_state)atomic_load_explicit(&f->code_state, memory_order_acquire);
}

/* What a new instance of a loaded function runs in. */
static inline enum gw_tier function_tier(const struct function *f) {
  return function_code_state(f) == CODE_READY ? GW_TIER_FAST : GW_TIER_PRECISE;
}

/* The same for any function, loaded or not. Any thread. */
enum gw_tier function_next_tier(const struct function *f);

/* 0: it can be called; else the signal that it is in quarantine for. */
static inline int function_quarantine(const struct function *f) {
  return (int)atomic_load_explicit(&f->quarantine, memory_order_relaxed);
}

/* Its name, SIGSEGV and so on. */
const char *function_quarantine_signal(const struct function *f, char *out, size_t size);
/* Says that and why, for people. */
void function_describe_quarantine(const struct function *f, char *out, size_t size);

/* The mapped file of signal handlers. */
struct crash_file *registry_crashes(const struct registry *registry);

/* What was compiled in the background. Any thread. */
struct background_totals registry_compilations(struct registry *registry);

#endif
