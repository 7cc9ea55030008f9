/* A guest of the command line: a module with the host side that `run` and `debug` give it. It may run more than once: what the
 * host answered is recorded, and a second run gets the same answers (runtime/debug/record.h). */
#ifndef CLI_GUEST_H
#define CLI_GUEST_H

#include "cli/cli.h"
#include "cli/climb.h"
#include "instrument/schedule.h"
#include "runtime/debug/record.h"
#include "runtime/host/handler.h"
#include "runtime/host/wasi/wasi.h"
#include "runtime/precise/precise.h"

#include <pthread.h>
#include <stdatomic.h>

struct func_type;

/* All zero but for what options set; guest_clear frees it. */
struct guest {
  /* What the user says. */
  bool gas, profile, debug_info, perf, is_deterministic, is_judged, accepts_unknown;
  bool is_output_err;   /* its standard output goes to standard error */
  precise_watch *watch; /* of runs of the precise tier, or NULL */
  void *watch_env;
  bool (*on_stop)(void *watch_env); /* when the watch has stopped the guest: whether it goes on */
  enum tier_choice tier;
  uint32_t opt_level, max_stack, cpu_limit_ms;
  uint64_t gas_limit, max_memory, seed;
  uint64_t judge_limit_ns; /* of CPU time, while the judge runs; 0 */
  const char *invoke, *schedule_path, *cache_path;
  struct cli_list dirs, env;
  int stdin_fd;     /* the program's; not closed */
  char **arguments; /* the module's path, then the guest's own */
  int n_arguments;

  struct schedule schedule;
  struct wasi_preopen *preopens;
  struct cli_list unknown; /* "MODULE.FIELD" of imports that trap when called, malloc'd */
  size_t module_bytes;
  struct gw_cache *cache;
  struct gw_engine *engine;
  struct gw_module *module;
  struct wasi *wasi;
  struct handler handler;
  struct record record;

  /* Of the present run. */
  enum gw_tier running;
  struct gw_store *store;
  struct gw_instance *instance;
  uint64_t gas_before;          /* what the next call is billed for already: the instance and what ran in it */
  uint64_t cpu_before;          /* likewise, ns, and by runs that this one takes the place of */
  const struct func_type *type; /* of the export that was named, once it has been found */
  union gw_value *values;       /* its arguments, then its results */
  double seconds_instantiate, seconds_run;
  bool was_dropped; /* by on_stop */

  /* TIER_AUTO: compiling beside baseline code, function by function, or, with tail calls, the module as a whole. */
  struct climb climb;
  pthread_t compiler;
  bool has_compiler;
  bool may_switch, is_switching; /* the interpreter's run may end, or has ended, for compiled code to take over */
  atomic_int compiled;           /* 0: under way, 1: done, -1: failed with compile_error */
  struct gw_error compile_error;
};

/* clang-format off */
/* Rows of a verb's option table for what both verbs understand. */
#define GUEST_OPTIONS(g)                                                                                                    \
  {"invoke", 0, CLI_TEXT, &(g)->invoke, "NAME", "call this export with ARGS, print its results one per line"},              \
  {"gas-limit", 0, CLI_NUMBER, &(g)->gas_limit, "N", "end with out of gas beyond N (k M G T allowed); unlimited unless told"}, \
  {"cpu-limit", 0, CLI_U32, &(g)->cpu_limit_ms, "MS",                                                                       \
   "end as cancelled beyond so much CPU time; unlimited unless told"},                                                      \
  {"schedule", 0, CLI_TEXT, &(g)->schedule_path, "FILE",                                                                    \
   "prices, as `gasworks schedule --text` prints them; built in unless told"},                                              \
  {"max-memory", 0, CLI_SIZE, &(g)->max_memory, "BYTES",                                                                    \
   "limit of all memories and tables together (K M G allowed); 64G unless told"},                                                   \
  {"max-stack", 0, CLI_U32, &(g)->max_stack, "BYTES", "limit of the logical stack; 1 MiB unless told"},                     \
  {"dir", 0, CLI_LIST, &(g)->dirs, "HOST[::GUEST][:ro]",                                                                    \
   "give the program this directory, under the name GUEST, with :ro only to read"},                                         \
  {"env", 0, CLI_LIST, &(g)->env, "NAME=VALUE", "set an environment variable; none is inherited"},                          \
  {"unknown-imports-trap", 0, CLI_FLAG, &(g)->accepts_unknown, NULL,                                                        \
   "run a module with unknown imports; calling one is a trap"},                                                             \
  {"deterministic", 0, CLI_FLAG, &(g)->is_deterministic, NULL,                                                              \
   "equal inputs give equal outputs: a clock of its own, random numbers from the seed"},                                    \
  {"seed", 0, CLI_NUMBER, &(g)->seed, "N", "of random numbers, with --deterministic; 0 unless told"}
/* clang-format on */

/* Reads the module and makes the host side. `arguments` must live as long as the guest. */
bool guest_load(struct guest *g, int n_arguments, char **arguments, struct gw_error *err);

/* One run: a fresh instance in `tier`, its initialiser, then the export that was named, or _start, or handle. False with *err on
 * a trap, too; proc_exit is a success. */
bool guest_run(struct guest *g, enum gw_tier tier, struct gw_error *err);

/* A run as the user wants it: by g->tier, begun by the interpreter and handed over to compiled code, and judged if it trapped.
 * *err is the verdict. */
bool guest_run_judged(struct guest *g, struct gw_error *err);

/* Whether the last run was of no compiled code: then all calls that led to a trap are known. */
bool guest_is_exact(const struct guest *g);

void guest_clear(struct guest *g);

#endif
