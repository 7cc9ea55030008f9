#include "cli/guest.h"

#include "base/clock.h"
#include "base/error.h"
#include "cli/cache.h"
#include "cli/gas.h"
#include "cli/module.h"
#include "cli/progress.h"
#include "cli/values.h"
#include "frontend/types.h"
#include "jit/artifact/artifact.h"
#include "jit/artifact/file_kind.h"
#include "runtime/compile.h"
#include "runtime/debug/judge.h"
#include "runtime/engine.h"
#include "runtime/host/abort.h"
#include "runtime/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  MAX_RECORD = 64 << 20, /* of what the host answered; a run with more is neither judged nor handed over */
  SLICE = 5000000,       /* gas between looks whether the compiler is done: some 10 ms of the interpreter */
};

/* --- the host side ------------------------------------------------------------------------------------------------ */

static enum gw_trap call_unknown(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)values;
  gw_instance_fail(caller, "unknown import %s was called", (const char *)env);
  return GW_TRAP_HOST;
}

/* Only for functions: what else is missing stays missing, as it has the wrong kind. */
static bool resolve_unknown(struct guest *g, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func any = {"", "", NULL, call_unknown};
  struct buffer name = {0};
  if (!g->accepts_unknown) return false;
  buffer_format(&name, "%.*s.%.*s", (int)import->module_size, import->module, (int)import->field_size, import->field);
  buffer_append(&name, "", 1);
  cli_list_add(&g->unknown, (const char *)name.bytes);
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = &any, .env = name.bytes}};
  return true;
}

/* WASI first, then the handler interface: a function may use both. `env.abort` is AssemblyScript's. */
static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  struct guest *g = env;
  return wasi_resolve(g->wasi, import, out) || handler_resolve(&g->handler, import, out) || abort_resolve(NULL, import, out) ||
         resolve_unknown(g, import, out);
}

static bool check_env(const struct guest *g, struct gw_error *err) {
  for (size_t i = 0; i < g->env.n; i++)
    if (!strchr(g->env.items[i], '=')) return error_set(err, GW_ERROR_USAGE, "--env wants NAME=VALUE, not %s", g->env.items[i]);
  return true;
}

/* HOST[::GUEST][:ro]; the guest's name is the host's unless said. Cuts the string in place. */
static struct wasi_preopen parse_dir(char *text) {
  size_t size = strlen(text);
  bool is_readonly = size > 3 && strcmp(text + size - 3, ":ro") == 0;
  if (is_readonly) text[size - 3] = 0;
  char *colons = strstr(text, "::");
  if (colons) *colons = 0;
  const char *guest = colons && colons[2] ? colons + 2 : text;
  return (struct wasi_preopen){.host_path = text, .guest_path = guest, .is_readonly = is_readonly};
}

static bool parse_dirs(struct guest *g, struct gw_error *err) {
  g->preopens = calloc(g->dirs.n + 1, sizeof *g->preopens);
  if (!g->preopens) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "out of memory");
  for (size_t i = 0; i < g->dirs.n; i++) g->preopens[i] = parse_dir((char *)g->dirs.items[i]);
  return true;
}

static bool create_wasi(struct guest *g, struct gw_error *err) {
  static const char *const no_env[] = {NULL};
  if (!parse_dirs(g, err)) return false;
  struct wasi_options options = {
      .args = (const char *const *)g->arguments,
      .env = g->env.items ? g->env.items : no_env,
      .preopens = g->preopens,
      .n_preopens = g->dirs.n,
      .stdin_fd = g->stdin_fd,
      .stdout_fd = g->is_output_err ? STDERR_FILENO : STDOUT_FILENO,
      .stderr_fd = STDERR_FILENO,
      .deterministic = g->is_deterministic,
      .seed = g->seed,
  };
  if (g->seed && !g->is_deterministic) return error_set(err, GW_ERROR_USAGE, "--seed goes with --deterministic");
  g->wasi = wasi_create(&options, err);
  if (g->is_deterministic) g->handler.world = g->wasi;
  return g->wasi != NULL;
}

/* One that the user names must work; without the usual one it goes more slowly. */
static bool open_cache(struct guest *g, struct gw_error *err) {
  struct gw_error problem = {0};
  g->cache = cli_open_cache(g->cache_path, &problem);
  if (!problem.code) return true;
  if (g->cache_path) return error_set(err, problem.code, "%s", problem.message);
  fprintf(stderr, "gasworks: warning: %s\n", problem.message);
  return true;
}

static bool is_artifact_file(const char *path) {
  char start[ARTIFACT_MAGIC_SIZE];
  FILE *file = strcmp(path, "-") == 0 ? NULL : fopen(path, "rb");
  size_t n = file ? fread(start, 1, sizeof start, file) : 0;
  if (file) fclose(file);
  return artifact_is(start, n);
}

static bool load_module(struct guest *g, const char *path, struct gw_error *err) {
  struct buffer bytes = {0};
  if (is_artifact_file(path)) {
    g->module = gw_module_open_artifact(g->engine, path, err);
  } else if (cli_read_file(&bytes, path, err)) {
    if (file_is_module(bytes.bytes, bytes.size, err)) g->module = gw_module_create(g->engine, bytes.bytes, bytes.size, err);
    buffer_clear(&bytes); /* the module has its own copy */
  }
  if (g->module) g->module_bytes = gw_module_decoded(g->module)->size;
  return g->module != NULL;
}

bool guest_load(struct guest *g, int n_arguments, char **arguments, struct gw_error *err) {
  g->arguments = arguments;
  g->n_arguments = n_arguments;
  g->handler = (struct handler){.method = "GET", .path = "", .query = "", .status = 200};
  if (g->cpu_limit_ms && !g->gas) return error_set(err, GW_ERROR_USAGE, "--cpu-limit needs --gas on");
  if (!check_env(g, err) || !create_wasi(g, err)) return false;
  struct gw_engine_options options = {.opt_level = g->opt_level,
                                      .loose_traps = true, /* the judge says how it was */
                                      .gas = g->gas,
                                      .profile = g->profile,
                                      .debug_info = g->debug_info,
                                      .perf = g->perf,
                                      .watch = g->watch,
                                      .schedule = &g->schedule};
  if (!cli_read_schedule(g->schedule_path, &g->schedule, err)) return false;
  if (g->tier != TIER_PRECISE && g->tier != TIER_BASELINE && !open_cache(g, err)) return false;
  options.cache = g->cache;
  if (g->tier == TIER_FAST) cli_show_progress(&options); /* auto compiles beside the program's own output */
  g->engine = gw_engine_create(&options, err);
  if (!g->engine) return false;
  /* imports first: nobody wants to wait for the compiler to hear that one is unknown */
  if (!load_module(g, arguments[0], err) || (!g->accepts_unknown && !cli_check_imports(g->module, resolve, g, err))) {
    cli_name_file(err, arguments[0]);
    return false;
  }
  record_begin(&g->record, RECORD_ALL, MAX_RECORD);
  return true;
}

/* --- one run -------------------------------------------------------------------------------------------------------- */

static uint64_t limit_of(const struct guest *g) { return (uint64_t)g->cpu_limit_ms * 1000000; }

static bool open_run(struct guest *g, enum gw_tier tier, struct gw_error *err) {
  struct gw_store_options options = {.measures_cpu = true,
                                     .gas_limit = g->gas_limit,
                                     .max_memory_bytes = g->max_memory,
                                     .max_depth = g->max_stack,
                                     .cpu_limit_ns = g->judge_limit_ns ? g->judge_limit_ns : limit_of(g),
                                     .tier = tier};
  if (g->may_switch) options.slice = tier == GW_TIER_MIXED ? climb_slice(&g->climb) : SLICE;
  gw_store_destroy(g->store);
  g->instance = NULL;
  g->running = tier;
  g->store = NULL;
  if (tier == GW_TIER_FAST && !gw_module_compile(g->module, err)) return false;
  g->store = gw_store_create(g->engine, &options, err);
  if (!g->store) return false;
  gw_store_set_record(g->store, &g->record);
  if (tier == GW_TIER_PRECISE) precise_set_watch(g->store, g->watch, g->watch_env);
  gw_store_owe_cpu(g->store, g->cpu_before);
  double start = clock_seconds(CLOCK_MONOTONIC);
  g->instance = gw_instance_create(g->store, g->module, resolve, g, err);
  g->seconds_instantiate = clock_seconds(CLOCK_MONOTONIC) - start;
  if (!g->instance) return false;
  bool has_start = gw_module_decoded(g->module)->start != NO_INDEX;
  g->gas_before = gw_instance_gas(g->instance) + (has_start ? gw_store_gas_used(g->store) : 0);
  if (has_start) g->cpu_before = gw_store_cpu_ns(g->store);
  return true;
}

static const struct func_type *find_function(struct guest *g, const char *name) {
  const struct module *m = gw_module_decoded(g->module);
  const struct export *e = module_find_export(m, name, strlen(name));
  return e && e->kind == EXTERN_FUNC ? &m->types[m->funcs[e->index].type].func : NULL;
}

/* Whether this run goes on in compiled code: the interpreter's is dropped then. Not in the middle of a host call: the record has
 * that one when it is over, and another run would make it a second time. */
static bool wants_switch(const struct guest *g) {
  return g->may_switch && g->compiled == 1 && !g->record.is_full && !g->record.is_inside;
}

static void *compile(void *arg) {
  struct guest *g = arg;
  g->compiled = gw_module_compile(g->module, &g->compile_error) ? 1 : -1;
  return NULL;
}

/* Short programs end before this. Where there is no thread for it, the interpreter does all. */
static void start_compiler(struct guest *g) {
  if (g->may_switch && !g->has_compiler && !g->compiled && pthread_create(&g->compiler, NULL, compile, g) == 0)
    g->has_compiler = true;
}

/* By functions: the run goes on, or begins anew in compiled code. In a host call it goes on, as
 * above, and what the host works on is no mark of the guest's. */
static bool climbs_again(struct guest *g) {
  if (g->record.is_inside) return false;
  enum climb_step step = climb_sample(&g->climb, g->store, g->instance);
  g->has_compiler = g->climb.has_thread;
  g->store->options.slice = climb_slice(&g->climb);
  return step == CLIMB_AGAIN && !g->record.is_full;
}

/* The guest has yielded: whether it goes on. */
static bool goes_on(struct guest *g) {
  if (g->running != GW_TIER_MIXED) start_compiler(g);
  g->is_switching = g->running == GW_TIER_MIXED ? climbs_again(g) : wants_switch(g);
  g->was_dropped = g->on_stop && !g->on_stop(g->watch_env);
  return !g->is_switching && !g->was_dropped;
}

/* Ends of a guest that are successes: a return, and proc_exit. */
static bool call(struct guest *g, const char *name, union gw_value *values, struct gw_error *err) {
  struct gw_extern found;
  if (!gw_instance_export(g->instance, name, strlen(name), &found)) return false; /* found before */
  double start = clock_seconds(CLOCK_MONOTONIC);
  enum gw_status status;
  gw_store_owe(g->store, g->gas_before);
  gw_store_owe_cpu(g->store, g->cpu_before);
  gw_store_start(g->store, found.of.func, values);
  do {
    gw_store_wait(g->store);
    status = gw_store_resume(g->store, err);
  } while (status == GW_STATUS_PARKED || (status == GW_STATUS_YIELDED && goes_on(g)));
  g->seconds_run += clock_seconds(CLOCK_MONOTONIC) - start;
  g->gas_before = gw_store_gas_used(g->store);
  g->cpu_before = gw_store_cpu_ns(g->store);
  if (status != GW_STATUS_YIELDED) return status == GW_STATUS_DONE;
  gw_store_cancel(g->store);
  return false;
}

/* Reactors want their initialiser called before anything else. */
static bool initialize(struct guest *g, struct gw_error *err) {
  const struct func_type *type = find_function(g, "_initialize");
  return !type || type->n_params || type->n_results || call(g, "_initialize", NULL, err);
}

static bool parse_arguments(struct guest *g, struct gw_error *err) {
  char text[512], type_name[32];
  const struct func_type *type = g->type;
  int n = g->n_arguments - 1;
  if ((uint32_t)n != type->n_params)
    return error_set(err, GW_ERROR_USAGE, "%s has the type %s, and %d arguments were given", g->invoke,
                     func_type_print(type, text, sizeof text), n);
  for (int i = 0; i < n; i++) {
    if (!cli_parse_value(g->arguments[i + 1], type->params[i], &g->values[i]))
      return error_set(err, GW_ERROR_USAGE, "argument %d of %s, %s, is no %s", i + 1, g->invoke, g->arguments[i + 1],
                       val_type_name(type->params[i], type_name, sizeof type_name));
  }
  return true;
}

/* One export with arguments from the command line. */
static bool call_export(struct guest *g, struct gw_error *err) {
  g->type = find_function(g, g->invoke);
  if (!g->type) return error_set(err, GW_ERROR_INTERFACE, "the module exports no function %s", g->invoke);
  if (!initialize(g, err)) return false;
  uint32_t n = g->type->n_params > g->type->n_results ? g->type->n_params : g->type->n_results;
  free(g->values);
  g->values = calloc(n + 1, sizeof *g->values);
  return g->values && parse_arguments(g, err) && call(g, g->invoke, g->values, err);
}

static bool call_all(struct guest *g, struct gw_error *err) {
  if (g->invoke) return call_export(g, err);
  if (find_function(g, "_start")) return call(g, "_start", NULL, err);
  if (find_function(g, "handle")) return initialize(g, err) && call(g, "handle", NULL, err);
  return error_set(err, GW_ERROR_INTERFACE, "the module exports neither _start nor handle; name a function with --invoke");
}

/* A run that begins anew where another one left off owes its CPU time: the limit is of both together. */
static bool run_on(struct guest *g, enum gw_tier tier, struct gw_error *err) {
  return open_run(g, tier, err) && call_all(g, err);
}

bool guest_run(struct guest *g, enum gw_tier tier, struct gw_error *err) {
  g->cpu_before = 0;
  return run_on(g, tier, err);
}

/* --- baseline code first ------------------------------------------------------------------------------------------------ */

/* Function by function, in one run, or in several where a loop does not end: each begins anew with what the host has answered so
 * far, and so catches up in a fraction of the time before it goes on. */
static bool run_mixed(struct guest *g, struct gw_error *err) {
  bool ok;
  climb_begin(&g->climb, g->module);
  g->may_switch = true;
  do {
    if (g->is_switching) record_replay(&g->record, RECORD_CONTINUES);
    g->is_switching = false;
    ok = run_on(g, GW_TIER_MIXED, err);
  } while (g->is_switching);
  g->may_switch = false;
  return ok;
}

/* In the baseline tier, from the end of the first slice on while the compiler works. Compiled code then begins anew, as above. */
static bool run_both(struct guest *g, struct gw_error *err) {
  if (!g->gas) return error_set(err, GW_ERROR_USAGE, "--tier auto needs --gas on: gas is the clock by which tiers change");
  if (module_is_compiled(g->module)) return guest_run(g, GW_TIER_FAST, err);
  if (module_can_mix(g->module)) return run_mixed(g, err);
  g->may_switch = true;
  bool ok = guest_run(g, GW_TIER_BASELINE, err);
  g->may_switch = false;
  if (!g->is_switching) return ok;
  g->is_switching = false;
  record_replay(&g->record, RECORD_CONTINUES);
  return run_on(g, GW_TIER_FAST, err);
}

/* --- the judge ------------------------------------------------------------------------------------------------------------ */

bool guest_is_exact(const struct guest *g) {
  struct gw_module_stats stats;
  if (g->running != GW_TIER_MIXED) return g->running != GW_TIER_FAST;
  gw_module_stats(g->module, &stats); /* asked last: what the thread publishes runs before it says so */
  return !stats.code_bytes;
}

static bool must_judge(const struct guest *g, const struct gw_error *err) {
  struct judged run = {.tier = guest_is_exact(g) ? GW_TIER_BASELINE : g->running,
                       .module = g->module,
                       .record = &g->record,
                       .seconds = g->seconds_run,
                       .most_seconds = judge_most_seconds(limit_of(g))};
  return g->is_judged && !g->profile && judge_wants(&run, err);
}

/* Compiled code trapped: what the interpreter says of it, run on the same answers of the host, is the verdict. */
static void judge(struct guest *g, struct gw_error *err) {
  struct judge trial = {0};
  struct gw_error second = {0};
  double seconds_instantiate = g->seconds_instantiate, seconds_run = g->seconds_run;
  judge_begin(&trial, &g->record, limit_of(g), err);
  if (g->gas) g->judge_limit_ns = trial.limit_ns; /* nothing else asks for the time */
  bool ok = guest_run(g, GW_TIER_PRECISE, &second);
  g->seconds_instantiate = seconds_instantiate;
  g->seconds_run = seconds_run;
  *err = ok ? (struct gw_error){0} : second;
  judge_end(&trial, gw_store_cpu_ns(g->store), "", err);
}

bool guest_run_judged(struct guest *g, struct gw_error *err) {
  static const enum gw_tier tiers[] = {
      [TIER_FAST] = GW_TIER_FAST, [TIER_PRECISE] = GW_TIER_PRECISE, [TIER_BASELINE] = GW_TIER_BASELINE};
  bool ok = g->tier == TIER_AUTO ? run_both(g, err) : guest_run(g, tiers[g->tier], err);
  if (!ok && must_judge(g, err)) judge(g, err);
  return ok;
}

void guest_clear(struct guest *g) {
  if (g->has_compiler && !g->climb.has_thread) pthread_join(g->compiler, NULL);
  climb_end(&g->climb);
  gw_store_destroy(g->store);
  gw_module_release(g->module);
  gw_engine_destroy(g->engine);
  gw_cache_close(g->cache);
  if (g->wasi) wasi_destroy(g->wasi);
  handler_clear(&g->handler);
  record_clear(&g->record);
  free(g->values);
  free(g->preopens);
  for (size_t i = 0; i < g->unknown.n; i++) free((char *)g->unknown.items[i]);
  cli_list_clear(&g->unknown);
  cli_list_clear(&g->dirs);
  cli_list_clear(&g->env);
}
