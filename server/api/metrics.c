/* GET /metrics: what the loops have counted, and what there is, in Prometheus' text format, version 0.0.4. */
#define _GNU_SOURCE /* memrchr */
#include "base/heap.h"
#include "server/api/route.h"
#include "server/api/tallies.h"
#include "server/function/background.h"
#include "server/function/registry.h"
#include "server/http/reply.h"
#include "server/inputs/store.h"
#include "server/isolate/supervisor.h"
#include "server/loop/log_store.h"
#include "server/loop/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
  uint64_t by_tier[N_TIERS], waiting, failed, quarantine, slow, hasty;
};

static void count_function(void *arg, const struct entry *entry) {
  struct census *census = arg;
  const struct function *f = entry_live(entry);
  enum code_state state = function_code_state(f);
  census->by_tier[function_next_tier(f)]++;
  census->waiting += state == CODE_WAITING;
  census->failed += state == CODE_FAILED;
  census->slow += function_band(f) == BAND_SLOW;
  census->hasty += function_band(f) == BAND_FAST;
  census->quarantine += function_quarantine(f) != 0;
}

static void print_functions(struct registry *registry, uint64_t lost, uint64_t dropped, struct buffer *out) {
  struct census census = {0};
  registry_each(registry, count_function, &census);
  struct background_totals totals = registry_compilations(registry);
  begin(out, "functions", "gauge", "Deployed functions by what runs their next invocation.");
  for (int tier = 0; tier < N_TIERS; tier++)
    put_labelled(out, "functions", "tier", function_tier_name((enum gw_tier)tier), census.by_tier[tier]);
  put_one(out, "functions_waiting_for_code", "gauge", "Functions that are being compiled or wait for it.", census.waiting);
  put_one(out, "functions_without_code", "gauge", "Functions that could not be compiled.", census.failed);
  put_one(out, "functions_in_quarantine", "gauge", "Functions that ran when the process died of a fault.", census.quarantine);
  begin(out, "functions_out_of_band", "gauge",
        "Functions whose time per gas is more than 20 times what gas stands for, or less.");
  put_labelled(out, "functions_out_of_band", "side", "slow", census.slow);
  put_labelled(out, "functions_out_of_band", "side", "fast", census.hasty);
  put_one(out, "code_bytes", "gauge", "Modules in memory with the code they may take.", registry_code_bytes(registry));
  put_one(out, "function_log_lines_lost_total", "counter", "Lines of functions' own logs that were lost.", lost);
  put_one(out, "inputs_dropped_total", "counter", "Invocations whose inputs were not kept: the disk was too slow or full.",
          dropped);
  begin(out, "compilations_total", "counter", "Compilations in the background.");
  put_labelled(out, "compilations_total", "result", "done", totals.n_done);
  put_labelled(out, "compilations_total", "result", "failed", totals.n_failed);
  begin(out, "compile_seconds_total", "counter", "Time that they took.");
  buffer_format(out, "gasworks_compile_seconds_total %.6f\n", (double)totals.microseconds / 1e6);
}

/* --- what loops count: server/loop/metrics.def ------------------------------------------------------------------------ */

static const char *word_status(int digit) {
  static const char *const classes[6] = {[2] = "2xx", [3] = "3xx", [4] = "4xx", [5] = "5xx"};
  return classes[digit];
}

static const char *word_tier(int tier) { return function_tier_name((enum gw_tier)tier); }

static const char *word_trap(int trap) { return trap == GW_TRAP_NONE ? NULL : gw_trap_message((enum gw_trap)trap); }

static const char *word_turn(int kind) {
  static _Thread_local char word[16];
  if (kind == TURN_KINDS - 1) return "more";
  snprintf(word, sizeof word, "%d", 1 << kind);
  return word;
}

static void print_kinds(struct buffer *out, const char *name, const char *label, const char *(*word)(int),
                        const _Atomic uint64_t *counters, int n) {
  for (int i = 0; i < n; i++)
    if (word(i)) put_labelled(out, name, label, word(i), counters[i]);
}

static void print_counters(const struct metrics *sum, struct buffer *out) {
#define COUNTER(name, text, help) put_one(out, text "_total", "counter", help, sum->name);
#define COUNTERS(name, text, help, size, label, word) \
  begin(out, text "_total", "counter", help);         \
  print_kinds(out, text "_total", label, word_##word, sum->name, size);
#define GAUGE(name, text, help) put_one(out, text, "gauge", help, sum->name);
#include "server/loop/metrics.def"
#undef COUNTER
#undef COUNTERS
#undef GAUGE
}

static void answer_text(struct exchange *x, struct buffer *text) {
  reply_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", text);
  buffer_clear(text);
}

/* --- of a front and its workers --------------------------------------------------------------------------------------- */

/* What is being gathered. */
struct gathering {
  uv_work_t work;
  struct exchange *exchange;
  struct supervisor *supervisor; /* NULL: there are no workers */
  struct registry *registry;
  uint64_t lost, dropped;
  struct buffer own, sum; /* texts */
};

/* What each request is counted once for is counted in the front. */
static bool is_fronts(const char *line) {
  return strncmp(line, "gasworks_replies_total", 22) == 0 || strncmp(line, "gasworks_denied_total", 21) == 0;
}

/* The number behind the same name and labels in another text, or 0. */
static double value_in(const struct buffer *text, const char *line, size_t key_size) {
  const char *at = (const char *)text->bytes;
  while (at && *at) {
    if (strncmp(at, line, key_size) == 0 && at[key_size] == ' ') return strtod(at + key_size, NULL);
    at = strchr(at, '\n');
    at += at != NULL;
  }
  return 0;
}

/* Whether the line is a number of the metric NAME, of a histogram's kinds too, with labels. */
static bool is_of_metric(const char *line, const char *name, size_t size) {
  static const char *const ends[] = {"{", "_bucket{", "_sum{", "_count{"};
  if (strncmp(line, name, size) != 0) return false;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (strncmp(line + size, ends[i], strlen(ends[i])) == 0) return true;
  return false;
}

/* Functions are the workers' alone: their lines, behind the metric's heading. */
static void add_lines_of_functions(const struct buffer *texts, size_t n, const char *heading, struct buffer *out) {
  static const char begins[] = "# TYPE gasworks_function_";
  if (strncmp(heading, begins, sizeof begins - 1) != 0) return;
  const char *name = heading + strlen("# TYPE ");
  size_t size = strcspn(name, " ");
  for (size_t i = 0; i < n; i++)
    for (const char *line = (const char *)texts[i].bytes, *end; (end = strchr(line, '\n')); line = end + 1)
      if (is_of_metric(line, name, size)) buffer_append(out, line, (size_t)(end + 1 - line));
}

/* A line of the front's text, with what the workers have. */
static void add_line(const struct buffer *texts, size_t n, const char *line, size_t size, struct buffer *out) {
  const char *space = memrchr(line, ' ', size);
  if (*line == '#' || !space || is_fronts(line)) {
    buffer_append(out, line, size);
    add_lines_of_functions(texts, n, line, out);
    return;
  }
  size_t key_size = (size_t)(space - line);
  double value = strtod(space, NULL);
  for (size_t i = 0; i < n; i++) value += value_in(&texts[i], line, key_size);
  buffer_append(out, line, key_size);
  if (memchr(space, '.', size - key_size))
    buffer_format(out, " %.6f\n", value);
  else
    buffer_format(out, " %.0f\n", value);
}

static void gather(struct gathering *g) {
  char(*names)[SUPERVISOR_NAME_SIZE];
  size_t n = supervisor_tenants(g->supervisor, &names);
  struct buffer *texts = heap_new(n + 1, sizeof *texts);
  for (size_t i = 0; i < n; i++)
    if (!supervisor_ask(g->supervisor, names[i], "/metrics", &texts[i])) buffer_append(&texts[i], "", 1);
  buffer_append(&g->own, "", 1);
  for (const char *line = (const char *)g->own.bytes, *end; (end = strchr(line, '\n')); line = end + 1)
    add_line(texts, n, line, (size_t)(end + 1 - line), &g->sum);
  for (size_t i = 0; i < n; i++) buffer_clear(&texts[i]);
  free(texts);
  free(names);
}

static void gather_work(uv_work_t *work) {
  struct gathering *g = work->data;
  print_functions(g->registry, g->lost, g->dropped, &g->own);
  tallies_print(g->registry, &g->own);
  if (g->supervisor)
    gather(g);
  else
    g->sum = g->own, g->own = (struct buffer){0};
}

static void gather_done(uv_work_t *work, int status) {
  struct gathering *g = work->data;
  struct exchange *x = g->exchange;
  struct buffer sum = g->sum;
  (void)status;
  buffer_clear(&g->own);
  free(g);
  answer_text(x, &sum);
}

void route_metrics(struct exchange *x, const struct place *place) {
  struct metrics sum = {0};
  struct buffer text = {0};
  struct loop *loop = x->loop;
  (void)place;
  loop->ops->sum(loop, &sum);
  print_counters(&sum, &text);
  struct gathering *g = heap_new(1, sizeof *g);
  *g = (struct gathering){.work.data = g,
                          .exchange = x,
                          .supervisor = loop->supervisor,
                          .registry = loop->registry,
                          .lost = log_store_lost(loop->logs),
                          .dropped = loop->inputs ? inputs_store_dropped(loop->inputs) : 0,
                          .own = text};
  uv_queue_work(&loop->uv, &g->work, gather_work, gather_done);
}
