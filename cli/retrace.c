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

static void show_end(const struct guest *g, bool ok, const struct gw_error *err) {
  uint64_t gas = g->store ? gw_store_gas_used(g->store) : 0;
  fprintf(stderr, "%14" PRIu64 "  %s%s\n", gas, ok ? "the end" : "trap: ", ok ? "" : err->message);
}

int retrace(struct rerun *r, const char *id, enum trace_kind kind, uint64_t until_gas) {
  struct gw_error err = {0};
  struct guest *g = heap_new(1, sizeof *g);
  struct trace trace = {.kind = kind, .until_gas = until_gas};
  g->watch = trace_watch;
  g->watch_env = &trace;
  g->on_stop = stays_stopped;
  bool ok = rerun_load_guest(r, id, g, &err), is_loaded = ok;
  if (ok) ok = guest_run(g, GW_TIER_PRECISE, &err);
  trace_end(&trace);
  bool has_ended = is_loaded && (ok || err.code == GW_ERROR_TRAP) && !g->was_dropped;
  if (has_ended) show_end(g, ok, &err);
  int exit_code = has_ended || g->was_dropped ? 0 : cli_fail(&err);
  if (has_ended && until_gas) {
    fprintf(stderr, "gasworks: the invocation ended before it used %" PRIu64 " gas\n", until_gas);
    exit_code = EXIT_ENDED_BEFORE;
  }
  trace_clear(&trace);
  guest_clear(g);
  free(g);
  return exit_code;
}

int cli_trace(int argc, char **argv) {
  struct rerun r = {.client = client_default(), .files = -1};
  const char *word = "calls";
  uint64_t until_gas = 0;
  enum trace_kind kind;
  const struct cli_option options[] = {
      RERUN_OPTIONS(&r),
      {"kind", 0, CLI_TEXT, &word, "calls|blocks|instructions", "what there is a line of; calls unless told"},
      {"until-gas", 0, CLI_NUMBER, &until_gas, "N", "stop there and show calls, locals, operands, memory"},
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
    exit_code = trace_parse(word, &kind) ? retrace(&r, argv[0], kind, until_gas)
                                         : cli_misuse("trace", "--kind wants calls, blocks or instructions, not %s", word);
  rerun_clear(&r);
  return exit_code;
}
