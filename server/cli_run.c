/* gasworks run: a WASI program with the real standard streams, one export with arguments, or a handler with an empty request. */
#include "server/cli.h"

#include "base/error.h"
#include "frontend/types.h"
#include "runtime/handler.h"
#include "runtime/store.h"
#include "runtime/wasi.h"
#include "server/cli_gas.h"
#include "server/cli_profile.h"
#include "server/cli_values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Everything of one run, freed in one place. */
struct run {
  bool gas, wants_stats, wants_profile, wants_json, is_deterministic;
  enum gw_tier tier;
  uint32_t opt_level, max_stack;
  uint64_t gas_limit, max_memory;
  const char *invoke, *schedule_path, *folded_path;
  struct schedule schedule;
  struct cli_list dirs, env;

  struct wasi_preopen *preopens;
  struct buffer bytes;
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
  struct wasi *wasi;
  struct handler handler;
  double seconds_instantiate, seconds_run;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* WASI first, then the handler interface: a function may use both. */
static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  struct run *r = env;
  return wasi_resolve(r->wasi, import, out) || handler_resolve(&r->handler, import, out);
}

/* HOST[:GUEST] as preopened directories; the guest's name is the host's unless said. Cuts the strings in place. */
static bool parse_dirs(struct run *r, struct gw_error *err) {
  r->preopens = calloc(r->dirs.n + 1, sizeof *r->preopens);
  if (!r->preopens) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "out of memory");
  for (size_t i = 0; i < r->dirs.n; i++) {
    char *host = (char *)r->dirs.items[i], *colon = strrchr(host, ':');
    if (colon) *colon = 0;
    r->preopens[i] = (struct wasi_preopen){.host_path = host, .guest_path = colon && colon[1] ? colon + 1 : host};
  }
  return true;
}

static bool create_wasi(struct run *r, char **arguments, struct gw_error *err) {
  static const char *const no_env[] = {NULL};
  if (!parse_dirs(r, err)) return false;
  struct wasi_options options = {
      .args = (const char *const *)arguments,
      .env = r->env.items ? r->env.items : no_env,
      .preopens = r->preopens,
      .n_preopens = r->dirs.n,
      .stdin_fd = STDIN_FILENO,
      .stdout_fd = STDOUT_FILENO,
      .stderr_fd = STDERR_FILENO,
      .deterministic = r->is_deterministic,
  };
  r->wasi = wasi_create(&options, err);
  return r->wasi != NULL;
}

static bool instantiate(struct run *r, const char *path, struct gw_error *err) {
  if (r->tier == GW_TIER_PRECISE && (r->wants_profile || r->folded_path))
    return error_set(err, GW_ERROR_USAGE, "--profile and --folded need compiled code: they do not go with --tier precise");
  struct gw_engine_options engine_options = {.opt_level = r->opt_level,
                                             .gas = r->gas,
                                             .profile = r->gas && (r->wants_profile || r->folded_path),
                                             .schedule = &r->schedule};
  struct gw_store_options store_options = {
      .gas_limit = r->gas_limit, .max_memory_bytes = r->max_memory, .max_depth = r->max_stack, .tier = r->tier};
  if (!cli_read_schedule(r->schedule_path, &r->schedule, err) || !cli_read_file(&r->bytes, path, err)) return false;
  r->engine = gw_engine_create(&engine_options, err);
  if (!r->engine) return false;
  r->module = gw_module_create(r->engine, r->bytes.bytes, r->bytes.size, err);
  if (!r->module || (r->tier == GW_TIER_FAST && !gw_module_compile(r->module, err))) return false;
  r->store = gw_store_create(r->engine, &store_options, err);
  if (!r->store) return false;
  double start = now();
  r->instance = gw_instance_create(r->store, r->module, resolve, r, err);
  r->seconds_instantiate = now() - start;
  return r->instance != NULL;
}

/* Ends of a guest that are successes: a return, and proc_exit. */
static bool call(struct run *r, const char *name, union gw_value *values, size_t n, struct gw_error *err) {
  double start = now();
  bool ok = gw_call_export(r->instance, name, values, n, err);
  r->seconds_run += now() - start;
  return ok || (err->code == GW_ERROR_TRAP && err->trap == GW_TRAP_EXIT);
}

static const struct func_type *find_function(struct run *r, const char *name) {
  const struct module *m = gw_module_decoded(r->module);
  const struct export *e = module_find_export(m, name, strlen(name));
  return e && e->kind == EXTERN_FUNC ? &m->types[m->funcs[e->index].type].func : NULL;
}

/* Reactors want their initialiser called before anything else. */
static bool initialize(struct run *r, struct gw_error *err) {
  const struct func_type *type = find_function(r, "_initialize");
  return !type || type->n_params || type->n_results || call(r, "_initialize", NULL, 0, err);
}

static bool parse_arguments(const struct func_type *type, const char *name, int argc, char **argv, union gw_value *values,
                            struct gw_error *err) {
  char text[512], type_name[32];
  if ((uint32_t)argc != type->n_params)
    return error_set(err, GW_ERROR_USAGE, "%s has the type %s, and %d arguments were given", name,
                     func_type_print(type, text, sizeof text), argc);
  for (int i = 0; i < argc; i++) {
    if (!cli_parse_value(argv[i], type->params[i], &values[i]))
      return error_set(err, GW_ERROR_USAGE, "argument %d of %s, %s, is no %s", i + 1, name, argv[i],
                       val_type_name(type->params[i], type_name, sizeof type_name));
  }
  return true;
}

static void print_results(const struct run *r, const struct func_type *type, const union gw_value *values) {
  char text[CLI_VALUE_SIZE];
  cJSON *array = cJSON_CreateArray();
  for (uint32_t i = 0; i < type->n_results; i++) {
    cli_print_value(values[i], type->results[i], text);
    if (!r->wants_json)
      puts(text);
    else if (val_kind(type->results[i]) == VAL_V128)
      cJSON_AddItemToArray(array, cJSON_CreateString(text));
    else
      cJSON_AddItemToArray(array, cJSON_CreateRaw(strpbrk(text, "fl?a") ? "null" : text));
  }
  if (r->wants_json)
    cli_print_json(array, false);
  else
    cJSON_Delete(array);
}

/* One export with arguments from the command line. */
static bool run_export(struct run *r, const char *name, int argc, char **argv, struct gw_error *err) {
  const struct func_type *type = find_function(r, name);
  if (!type) return error_set(err, GW_ERROR_INTERFACE, "the module exports no function %s", name);
  if (!initialize(r, err)) return false;
  uint32_t n_values = type->n_params > type->n_results ? type->n_params : type->n_results;
  union gw_value *values = calloc(n_values + 1, sizeof *values);
  bool ok = values && parse_arguments(type, name, argc, argv, values, err) && call(r, name, values, n_values, err);
  if (ok) print_results(r, type, values);
  free(values);
  return ok;
}

/* A handler gets an empty GET request; its reply goes to standard output, its log to standard error. */
static bool run_handler(struct run *r, struct gw_error *err) {
  bool ok = initialize(r, err) && call(r, "handle", NULL, 0, err);
  fwrite(r->handler.log.bytes, 1, r->handler.log.size, stderr);
  if (ok) fwrite(r->handler.reply.bytes, 1, r->handler.reply.size, stdout);
  return ok;
}

static bool run_module(struct run *r, int argc, char **argv, struct gw_error *err) {
  if (r->invoke) return run_export(r, r->invoke, argc - 1, argv + 1, err);
  if (find_function(r, "_start")) return call(r, "_start", NULL, 0, err);
  if (find_function(r, "handle")) return run_handler(r, err);
  return error_set(err, GW_ERROR_INTERFACE, "the module exports neither _start nor handle; name a function with --invoke");
}

/* --- statistics -------------------------------------------------------------------------------------------------- */

struct run_stats {
  struct gw_module_stats module;
  uint64_t gas, memory;
  int exit_code;
};

static void print_stats(const struct run *r, const struct run_stats *s) {
  const struct {
    const char *name;
    double seconds;
  } times[] = {
      {"decode", s->module.seconds_decode},
      {"validate", s->module.seconds_validate},
      {"lower", s->module.seconds_lower},
      {"optimize", s->module.seconds_optimize},
      {"emit", s->module.seconds_emit},
      {"instantiate", r->seconds_instantiate},
      {"run", r->seconds_run},
  };
  size_t n_times = sizeof times / sizeof *times;
  if (!r->wants_json) {
    fprintf(stderr, "%-12s %12llu\n", "gas", (unsigned long long)s->gas);
    fprintf(stderr, "%-12s %12llu bytes\n", "memory", (unsigned long long)s->memory);
    fprintf(stderr, "%-12s %12zu bytes\n", "module", r->bytes.size);
    fprintf(stderr, "%-12s %12zu bytes\n", "code", s->module.code_bytes);
    for (size_t i = 0; i < n_times; i++) fprintf(stderr, "%-12s %12.3f ms\n", times[i].name, times[i].seconds * 1e3);
    if (r->wants_profile && r->instance) cli_print_profile(r->instance);
    return;
  }
  cJSON *json = cJSON_CreateObject(), *seconds = cJSON_CreateObject();
  cli_json_count(json, "gas", s->gas);
  cJSON_AddNullToObject(json, "instructions"); /* compiled code does not count them */
  cli_json_count(json, "memory_bytes", s->memory);
  cli_json_count(json, "module_bytes", r->bytes.size);
  cli_json_count(json, "code_bytes", s->module.code_bytes);
  cJSON_AddNumberToObject(json, "exit_code", s->exit_code);
  for (size_t i = 0; i < n_times; i++) cJSON_AddNumberToObject(seconds, times[i].name, times[i].seconds);
  cJSON_AddItemToObject(json, "seconds", seconds);
  if (r->wants_profile && r->instance) cJSON_AddItemToObject(json, "functions", cli_json_profile(r->instance));
  cli_print_json(json, true);
}

static void show_stats(const struct run *r, int exit_code) {
  struct run_stats s = {.exit_code = exit_code};
  if (!r->module) return;
  gw_module_stats(r->module, &s.module);
  if (r->store) s.gas = gw_store_gas_used(r->store);
  if (r->instance) s.memory = gw_instance_memory_size(r->instance);
  print_stats(r, &s);
}

/* --- the verb ---------------------------------------------------------------------------------------------------- */

static void run_clear(struct run *r) {
  gw_store_destroy(r->store);
  gw_module_release(r->module);
  gw_engine_destroy(r->engine);
  if (r->wasi) wasi_destroy(r->wasi);
  handler_clear(&r->handler);
  buffer_clear(&r->bytes);
  free(r->preopens);
  cli_list_clear(&r->dirs);
  cli_list_clear(&r->env);
}

static bool check_env(const struct run *r, struct gw_error *err) {
  for (size_t i = 0; i < r->env.n; i++)
    if (!strchr(r->env.items[i], '=')) return error_set(err, GW_ERROR_USAGE, "--env wants NAME=VALUE, not %s", r->env.items[i]);
  return true;
}

/* The calls that led to a trap, innermost first; the precise tier knows them. */
static void print_backtrace(const struct run *r) {
  enum { MOST = 16 };
  struct precise_place places[MOST];
  char name[128];
  size_t n = precise_backtrace(r->store, places, MOST);
  for (size_t i = 0; i < n && i < MOST; i++) {
    const struct module *m = gw_module_decoded(gw_instance_module(places[i].instance));
    fprintf(stderr, "  %2zu: %s at byte 0x%llx\n", i, func_display_name(m, places[i].func, name, sizeof name),
            (unsigned long long)places[i].offset);
  }
  if (n > MOST) fprintf(stderr, "  ... %zu more\n", n - MOST);
}

static int run(struct run *r, int argc, char **argv) {
  struct gw_error err = {0};
  bool ok = check_env(r, &err) && create_wasi(r, argv, &err) && instantiate(r, argv[0], &err) && run_module(r, argc, argv, &err);
  bool is_exit = ok || (err.code == GW_ERROR_TRAP && err.trap == GW_TRAP_EXIT);
  int exit_code = is_exit ? (int)(wasi_exit_code(r->wasi) & 0xff) : 0;
  fflush(stdout);
  if (!is_exit) exit_code = cli_fail(&err);
  if (!is_exit && err.code == GW_ERROR_TRAP && r->tier == GW_TIER_PRECISE) print_backtrace(r);
  if (r->wants_stats || r->wants_profile) show_stats(r, exit_code);
  struct gw_error io = {0};
  if (r->folded_path && r->instance && !cli_write_folded(r->instance, r->folded_path, &io)) exit_code = cli_fail(&io);
  return exit_code;
}

int cli_run(int argc, char **argv) {
  struct run r = {.gas = true, .opt_level = 2};
  r.handler = (struct handler){.method = "GET", .path = "", .query = "", .status = 200};
  const struct cli_option options[] = {
      {"invoke", 0, CLI_TEXT, &r.invoke, "NAME", "call this export with ARGS, print its results one per line"},
      {"gas", 0, CLI_ON_OFF, &r.gas, "on|off", "meter; on unless told"},
      {"gas-limit", 0, CLI_NUMBER, &r.gas_limit, "N", "end with out of gas beyond N (k M G T allowed); unlimited unless told"},
      {"schedule", 0, CLI_TEXT, &r.schedule_path, "FILE",
       "prices, as `gasworks schedule --text` prints them; built in unless told"},
      {"max-memory", 0, CLI_SIZE, &r.max_memory, "BYTES", "limit of each memory (K M G allowed); the module's own unless told"},
      {"max-stack", 0, CLI_U32, &r.max_stack, "BYTES", "limit of the logical stack; 1 MiB unless told"},
      {"optimize", 'O', CLI_LEVEL, &r.opt_level, "0..3", "optimisation level; 2 unless told"},
      {"tier", 0, CLI_TIER, &r.tier, "fast|precise", "compile, or interpret: starts at once, traps exactly; fast unless told"},
      {"dir", 0, CLI_LIST, &r.dirs, "HOST[:GUEST]", "let the program read this directory, under the name GUEST"},
      {"env", 0, CLI_LIST, &r.env, "NAME=VALUE", "set an environment variable; none is inherited"},
      {"deterministic", 0, CLI_FLAG, &r.is_deterministic, NULL, "clocks stand at 0, random numbers come from a fixed seed"},
      {"stats", 0, CLI_FLAG, &r.wants_stats, NULL, "gas, memory, code size and times on standard error"},
      {"profile", 0, CLI_FLAG, &r.wants_profile, NULL, "the same with the gas of every function, exactly; runs slower"},
      {"folded", 0, CLI_TEXT, &r.folded_path, "FILE", "write gas by stack of calls, for flame graphs; runs slower"},
      {"json", 0, CLI_FLAG, &r.wants_json, NULL, "statistics and results as JSON"},
  };
  const struct cli_command command = {
      .name = "run",
      .arguments = "FILE.wasm [ARGS...]",
      .description =
          "Runs a module: a WASI program (export _start) with the standard streams and ARGS, a handler (export handle)\n"
          "with an empty request, or the export named by --invoke. FILE - is standard input. What follows FILE\n"
          "belongs to the program.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = INT32_MAX,
      .ends_at_operand = true,
  };
  int exit_code;
  if (cli_parse(&command, &argc, &argv, &exit_code)) exit_code = run(&r, argc, argv);
  run_clear(&r);
  return exit_code;
}
