/* gasworks run: a WASI program with the real standard streams, one export with arguments, or a handler with an empty request. */
#include "frontend/types.h"
#include "cli/gas.h"
#include "cli/guest.h"
#include "cli/later.h"
#include "cli/profile.h"
#include "cli/trace.h"
#include "cli/values.h"
#include "runtime/store.h"
#include "server/invoke/backtrace.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What `run` wants besides the guest. */
struct run {
  struct guest guest;
  bool wants_stats, wants_profile, wants_json;
  const char *folded_path, *trace_kind;
  struct trace trace;
};

static void print_results(const struct run *r) {
  char text[CLI_VALUE_SIZE];
  const struct func_type *type = r->guest.type;
  cJSON *array = cJSON_CreateArray();
  for (uint32_t i = 0; i < type->n_results; i++) {
    cli_print_value(r->guest.values[i], type->results[i], text);
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

/* A handler's reply goes to standard output, its log to standard error. */
static void print_output(const struct run *r, bool ok) {
  const struct handler *h = &r->guest.handler;
  fwrite(h->log.bytes, 1, h->log.size, stderr);
  if (ok) fwrite(h->reply.bytes, 1, h->reply.size, stdout);
  if (ok && r->guest.type) print_results(r);
  fflush(stdout);
}

/* --- statistics -------------------------------------------------------------------------------------------------- */

struct run_stats {
  struct gw_module_stats module;
  uint64_t gas, cpu_ns, memory;
  int exit_code;
};

/* In which the program ended. */
static const char *tier_name(const struct run *r) {
  static const char *const names[] = {[GW_TIER_FAST] = "fast", [GW_TIER_PRECISE] = "precise", [GW_TIER_BASELINE] = "baseline"};
  if (r->guest.running == GW_TIER_MIXED) return guest_is_exact(&r->guest) ? "baseline" : "mixed";
  return names[r->guest.running];
}

static void print_stats(const struct run *r, const struct run_stats *s) {
  const struct {
    const char *name;
    double seconds;
  } times[] = {
      {"decode", s->module.seconds_decode},
      {"validate", s->module.seconds_validate},
      {"lower", s->module.seconds_lower},
      {"charge", s->module.seconds_charge},
      {"optimize", s->module.seconds_optimize},
      {"emit", s->module.seconds_emit},
      {"link", s->module.seconds_link},
      {"baseline", s->module.seconds_baseline},
      {"instantiate", r->guest.seconds_instantiate},
      {"run", r->guest.seconds_run},
  };
  size_t n_times = sizeof times / sizeof *times;
  if (!r->wants_json) {
    fprintf(stderr, "%-12s %12llu\n", "gas", (unsigned long long)s->gas);
    fprintf(stderr, "%-12s %12s\n", "tier", tier_name(r));
    fprintf(stderr, "%-12s %12llu bytes\n", "memory", (unsigned long long)s->memory);
    fprintf(stderr, "%-12s %12zu bytes\n", "module", r->guest.module_bytes);
    fprintf(stderr, "%-12s %12zu bytes\n", "code", s->module.code_bytes + s->module.baseline_bytes);
    if (s->module.baseline_refused)
      fprintf(stderr, "%-12s %12u functions, as memory was short\n", "interpreted", s->module.baseline_refused);
    fprintf(stderr, "%-12s %12.3f ms\n", "CPU", (double)s->cpu_ns * 1e-6);
    if (s->gas) fprintf(stderr, "%-12s %12.4f ns\n", "CPU per gas", (double)s->cpu_ns / (double)s->gas);
    for (size_t i = 0; i < n_times; i++) fprintf(stderr, "%-12s %12.3f ms\n", times[i].name, times[i].seconds * 1e3);
    if (r->wants_profile && r->guest.instance) cli_print_profile(r->guest.instance);
    return;
  }
  cJSON *json = cJSON_CreateObject(), *seconds = cJSON_CreateObject();
  cli_json_count(json, "gas", s->gas);
  cli_json_count(json, "cpu_ns", s->cpu_ns);
  cJSON_AddStringToObject(json, "tier", tier_name(r));
  cJSON_AddNullToObject(json, "instructions"); /* compiled code does not count them */
  cli_json_count(json, "memory_bytes", s->memory);
  cli_json_count(json, "module_bytes", r->guest.module_bytes);
  cli_json_count(json, "code_bytes", s->module.code_bytes);
  cli_json_count(json, "baseline_bytes", s->module.baseline_bytes);
  cli_json_count(json, "baseline_functions", s->module.baseline_functions);
  cli_json_count(json, "baseline_refused", s->module.baseline_refused);
  cJSON_AddNumberToObject(json, "exit_code", s->exit_code);
  for (size_t i = 0; i < n_times; i++) cJSON_AddNumberToObject(seconds, times[i].name, times[i].seconds);
  cJSON_AddItemToObject(json, "seconds", seconds);
  if (r->wants_profile && r->guest.instance) cJSON_AddItemToObject(json, "functions", cli_json_profile(r->guest.instance));
  cli_print_json(json, true);
}

static void show_stats(const struct run *r, int exit_code) {
  struct run_stats s = {.exit_code = exit_code};
  if (!r->guest.module) return;
  gw_module_stats(r->guest.module, &s.module);
  if (r->guest.store) s.gas = gw_store_gas_used(r->guest.store);
  if (r->guest.store) s.cpu_ns = gw_store_cpu_ns(r->guest.store);
  if (r->guest.instance) s.memory = gw_instance_memory_size(r->guest.instance);
  print_stats(r, &s);
}

/* --- the verb ---------------------------------------------------------------------------------------------------- */

/* Where compiled code ran, some of the calls that led to a trap are not known. */
static int fail(const struct run *r, const struct gw_error *err) {
  struct buffer backtrace = {0};
  if (err->code == GW_ERROR_TRAP && guest_is_exact(&r->guest)) backtrace_append(r->guest.store, &backtrace);
  buffer_append(&backtrace, "", 1);
  int exit_code = cli_fail_at(err, (const char *)backtrace.bytes);
  buffer_clear(&backtrace);
  return exit_code;
}

static bool stays_stopped(void *trace) {
  (void)trace;
  return false;
}

static bool check_trace(struct run *r, struct gw_error *err) {
  struct guest *g = &r->guest;
  if (r->trace_kind && !trace_parse(r->trace_kind, &r->trace.kind))
    return error_set(err, GW_ERROR_USAGE, "--trace wants calls, blocks or instructions, not %s", r->trace_kind);
  if (!r->trace.kind && !r->trace.until_gas) return true;
  if (r->trace.until_gas && !g->gas) return error_set(err, GW_ERROR_USAGE, "--until-gas needs --gas on");
  if (g->tier != TIER_PRECISE) return error_set(err, GW_ERROR_USAGE, "--trace and --until-gas go with --tier precise only");
  g->watch = trace_watch;
  g->watch_env = &r->trace;
  g->on_stop = stays_stopped;
  return true;
}

static bool needs_code(const struct run *r) { return r->wants_profile || r->folded_path || r->guest.perf || r->guest.debug_info; }

/* A tier that the user names stays, and what does not go with it is an error. */
static void choose_tier(struct run *r) {
  struct guest *g = &r->guest;
  if (g->tier != TIER_UNTOLD) return;
  if (r->trace_kind || r->trace.until_gas)
    g->tier = TIER_PRECISE;
  else
    g->tier = needs_code(r) || !g->gas ? TIER_FAST : TIER_AUTO;
}

static bool check(struct run *r, struct gw_error *err) {
  choose_tier(r);
  if (!check_trace(r, err)) return false;
  if (!needs_code(r) || r->guest.tier == TIER_FAST) return true;
  return error_set(err, GW_ERROR_USAGE,
                   "--profile, --folded, --perf and --debug-info need compiled code: they go with --tier fast only");
}

static int run(struct run *r, int argc, char **argv) {
  struct gw_error err = {0};
  struct guest *g = &r->guest;
  g->debug_info |= g->perf;
  g->profile = g->gas && (r->wants_profile || r->folded_path);
  bool ok = check(r, &err) && guest_load(g, argc, argv, &err) && guest_run_judged(g, &err);
  int exit_code = ok ? (int)(wasi_exit_code(g->wasi) & 0xff) : 0;
  trace_end(&r->trace);
  print_output(r, ok);
  if (!ok && !g->was_dropped) exit_code = fail(r, &err);
  if (r->wants_stats || r->wants_profile) show_stats(r, exit_code);
  struct gw_error io = {0};
  if (r->folded_path && g->instance && !cli_write_folded(g->instance, r->folded_path, &io)) exit_code = cli_fail(&io);
  return exit_code;
}

/* The program is over, the compiler that was to make it faster is not: nobody waits for it, but a later run finds its work. */
static void leave_compiler(const struct run *r, int exit_code) {
  if (!r->guest.has_compiler || r->guest.compiled) return;
  fflush(stderr);
  later_compile(&r->guest);
  _exit(exit_code);
}

int cli_run(int argc, char **argv) {
  struct run r = {.guest = {.gas = true, .opt_level = 2, .is_judged = true, .tier = TIER_UNTOLD}};
  struct guest *g = &r.guest;
  const struct cli_option options[] = {
      GUEST_OPTIONS(g),
      {"gas", 0, CLI_ON_OFF, &g->gas, "on|off", "meter; on unless told; off chooses --tier fast"},
      {"optimize", 'O', CLI_LEVEL, &g->opt_level, "0..3", "optimisation level of compiled code; 2 unless told"},
      {"tier", 0, CLI_TIER, &g->tier, "fast|precise|baseline|auto",
       "compile first, or interpret, or run baseline code, or that until compiled: auto, unless other options need another"},
      {"judge", 0, CLI_ON_OFF, &g->is_judged, "on|off",
       "let the interpreter say exactly where compiled code trapped (after at most 2 s of it); on unless told"},
      {"trace", 0, CLI_MAYBE, &r.trace_kind, "calls|blocks|instructions",
       "say on standard error what is called or done; chooses --tier precise"},
      {"until-gas", 0, CLI_NUMBER, &r.trace.until_gas, "N",
       "stop there and show calls, locals, operands, memory; chooses --tier precise"},
      {"cache", 0, CLI_TEXT, &g->cache_path, "DIR|off", "where compiled code is kept; `gasworks cache` tells the usual place"},
      {"stats", 0, CLI_FLAG, &r.wants_stats, NULL, "gas, memory, code size and times on standard error"},
      {"profile", 0, CLI_FLAG, &r.wants_profile, NULL,
       "the same with the gas of every function, exactly; runs slower, chooses --tier fast"},
      {"folded", 0, CLI_TEXT, &r.folded_path, "FILE", "write gas by stack of calls, for flame graphs; likewise"},
      {"debug-info", 'g', CLI_FLAG, &g->debug_info, NULL,
       "show compiled functions and their source lines to gdb; always compiles, chooses --tier fast"},
      {"perf", 0, CLI_FLAG, &g->perf, NULL, "show them to Linux's perf, by /tmp/perf-PID.map and a jitdump; likewise"},
      {"json", 0, CLI_FLAG, &r.wants_json, NULL, "statistics and results as JSON"},
  };
  const struct cli_command command = {
      .name = "run",
      .arguments = "FILE.{wasm,gwa} [ARGS...]",
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
  exit_code = cli_end(exit_code);
  leave_compiler(&r, exit_code);
  trace_clear(&r.trace);
  guest_clear(g);
  return exit_code;
}
