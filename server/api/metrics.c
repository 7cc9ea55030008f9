#include "server/api/metrics.h"

#include "server/function/background.h"
#include "server/function/registry.h"

#include <inttypes.h>

static void begin(struct buffer *out, const char *name, const char *type, const char *help) {
  buffer_format(out, "# HELP gasworks_%s %s\n# TYPE gasworks_%s %s\n", name, help, name, type);
}

static void put_one(struct buffer *out, const char *name, const char *type, const char *help, uint64_t value) {
  begin(out, name, type, help);
  buffer_format(out, "gasworks_%s %" PRIu64 "\n", name, value);
}

/* Label values are words of ours: nothing to escape. */
static void put_labelled(struct buffer *out, const char *name, const char *label, const char *value, uint64_t n) {
  buffer_format(out, "gasworks_%s{%s=\"%s\"} %" PRIu64 "\n", name, label, value, n);
}

struct census {
  uint64_t fast, precise, waiting, failed, quarantine;
};

static void count_function(void *arg, const struct function *f) {
  struct census *census = arg;
  enum code_state state = function_code_state(f);
  *(function_next_tier(f) == GW_TIER_FAST ? &census->fast : &census->precise) += 1;
  census->waiting += state == CODE_WAITING;
  census->failed += state == CODE_FAILED;
  census->quarantine += function_quarantine(f) != 0;
}

static void print_functions(struct registry *registry, struct buffer *out) {
  struct census census = {0};
  registry_each(registry, count_function, &census);
  struct background_totals totals = registry_compilations(registry);
  begin(out, "functions", "gauge", "Deployed functions by what runs their next invocation.");
  put_labelled(out, "functions", "tier", "fast", census.fast);
  put_labelled(out, "functions", "tier", "precise", census.precise);
  put_one(out, "functions_waiting_for_code", "gauge", "Functions that are being compiled or wait for it.", census.waiting);
  put_one(out, "functions_without_code", "gauge", "Functions that could not be compiled.", census.failed);
  put_one(out, "functions_in_quarantine", "gauge", "Functions that ran when the process died of a fault.", census.quarantine);
  begin(out, "compilations_total", "counter", "Compilations in the background.");
  put_labelled(out, "compilations_total", "result", "done", totals.n_done);
  put_labelled(out, "compilations_total", "result", "failed", totals.n_failed);
  begin(out, "compile_seconds_total", "counter", "Time that they took.");
  buffer_format(out, "gasworks_compile_seconds_total %.6f\n", (double)totals.microseconds / 1e6);
}

void metrics_print(const struct metrics *sum, struct registry *registry, struct buffer *out) {
  static const char *const classes[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
  begin(out, "replies_total", "counter", "Replies by class of status.");
  for (int i = 1; i < 5; i++) put_labelled(out, "replies_total", "status", classes[i], sum->replies[i + 1]);
  begin(out, "invocations_total", "counter", "Invocations of functions by tier.");
  put_labelled(out, "invocations_total", "tier", "fast", sum->invocations[GW_TIER_FAST]);
  put_labelled(out, "invocations_total", "tier", "precise", sum->invocations[GW_TIER_PRECISE]);
  put_one(out, "checkpointed_total", "counter", "Invocations that went on from a checkpoint.", sum->checkpointed);
  begin(out, "traps_total", "counter", "Invocations that ended with a trap.");
  for (int i = 1; i < GW_TRAP_COUNT; i++)
    put_labelled(out, "traps_total", "trap", gw_trap_message((enum gw_trap)i), sum->traps[i]);
  put_one(out, "gas_total", "counter", "Gas that invocations used.", sum->gas);
  put_one(out, "judgements_total", "counter", "Traps of compiled code that were run again in the precise tier.", sum->judgements);
  put_one(out, "tier_disagreements_total", "counter", "Those that the precise tier did not confirm: one of the tiers is wrong.",
          sum->disagreements);
  print_functions(registry, out);
}
