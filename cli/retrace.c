/* gasworks trace: what an invocation of a server did, call by call or instruction by instruction. */
#include "cli/retrace.h"

#include "base/error.h"
#include "base/heap.h"
#include "cli/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool stays_stopped(void *trace) {
  (void)trace;
  return false;
}

static void show_end_json(uint64_t gas, bool ok, const struct gw_error *err) {
  cJSON *json = cJSON_CreateObject();
  cli_json_count(json, "gas", gas);
  cJSON_AddBoolToObject(json, "has_ended", true);
  if (!ok) cJSON_AddStringToObject(json, "trap", err->message);
  cli_print_json_line(json);
}

static void show_end(const struct guest *g, bool is_json, bool ok, const struct gw_error *err) {
  uint64_t gas = g->store ? gw_store_gas_used(g->store) : 0;
  if (is_json) {
    show_end_json(gas, ok, err);
    return;
  }
  fprintf(stderr, "%14" PRIu64 "  %s%s\n", gas, ok ? "the end" : "trap: ", ok ? "" : err->message);
}

int retrace(struct rerun *r, const char *id, const struct retrace *how) {
  struct gw_error err = {0};
  struct guest *g = heap_new(1, sizeof *g);
  struct trace trace = {.kind = how->kind, .until_gas = how->until_gas, .is_json = how->is_json};
  g->watch = trace_watch;
  g->watch_env = &trace;
  g->on_stop = stays_stopped;
  bool ok = rerun_load_guest(r, id, g, &err), is_loaded = ok;
  if (ok) ok = guest_run(g, GW_TIER_PRECISE, &err);
  trace_end(&trace);
  bool has_ended = is_loaded && (ok || err.code == GW_ERROR_TRAP) && !g->was_dropped;
  if (has_ended) show_end(g, how->is_json, ok, &err);
  int exit_code = has_ended || g->was_dropped ? 0 : cli_fail(&err);
  if (has_ended && how->until_gas) {
    if (!how->is_json) fprintf(stderr, "gasworks: the invocation ended before it used %" PRIu64 " gas\n", how->until_gas);
    exit_code = EXIT_ENDED_BEFORE;
  }
  trace_clear(&trace);
  guest_clear(g);
  free(g);
  return exit_code;
}

int cli_trace(int argc, char **argv) {
  struct rerun r = {.client = client_default(), .files = -1};
  struct retrace how = {0};
  const char *word = "calls";
  const struct cli_option options[] = {
      RERUN_OPTIONS(&r),
      {"kind", 0, CLI_TEXT, &word, "calls|blocks|instructions", "what there is a line of; calls unless told"},
      {"until-gas", 0, CLI_NUMBER, &how.until_gas, "N", "stop there and show calls, locals, operands, memory"},
      {"json", 0, CLI_FLAG, &how.is_json, NULL, "each line as JSON, on standard output"},
  };
  const struct cli_command command = {
      .name = "trace",
      .arguments = "ID",
      .description =
          "Says on standard error what an invocation of a server did, with the gas that it had used before: it runs again, as\n"
          "with `gasworks replay`, in the precise tier. ID is LOG/INDEX/HASH, as `invoke -v` shows it, or INDEX alone.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .min_operands = 1,
      .max_operands = 1,
  };
  int exit_code;
  if (cli_parse(&command, &argc, &argv, &exit_code))
    exit_code = trace_parse(word, &how.kind) ? retrace(&r, argv[0], &how)
                                             : cli_misuse("trace", "--kind wants calls, blocks or instructions, not %s", word);
  rerun_clear(&r);
  return exit_code;
}
