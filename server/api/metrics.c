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
#include "server/observe/tracer.h"

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

/* --- what is counted when somebody asks, and what others have: server/api/totals.def ------------------------------------ */

struct totals {
#define TOTAL(name, type, text, help) uint64_t name;
#define TOTALS(name, type, text, help, size, label, word) uint64_t name[size];
#include "server/api/totals.def"
#undef TOTAL
#undef TOTALS
};

enum side { SIDE_SLOW, SIDE_FAST };
enum result { RESULT_DONE, RESULT_FAILED };

static const char *word_tier(int tier) { return function_tier_name((enum gw_tier)tier); }

static const char *word_side(int side) { return side == SIDE_SLOW ? "slow" : "fast"; }

static const char *word_result(int result) { return result == RESULT_DONE ? "done" : "failed"; }

static void count_function(void *arg, const struct entry *entry) {
  struct totals *t = arg;
  const struct function *f = entry_live(entry);
  enum code_state state = function_code_state(f);
  t->functions[function_next_tier(f)]++;
  t->waiting += state == CODE_WAITING;
  t->failed += state == CODE_FAILED;
  t->out_of_band[SIDE_SLOW] += function_band(f) == BAND_SLOW;
  t->out_of_band[SIDE_FAST] += function_band(f) == BAND_FAST;
  t->quarantine += function_quarantine(f) != 0;
}

static void count_registry(struct registry *registry, struct totals *t) {
  registry_each(registry, count_function, t);
  struct background_totals compiled = registry_compilations(registry);
  t->code_bytes = registry_code_bytes(registry);
  t->compilations[RESULT_DONE] = compiled.n_done;
  t->compilations[RESULT_FAILED] = compiled.n_failed;
  t->compile_us = compiled.microseconds;
}

/* What needs no worker thread. */
static void count_loop(const struct loop *loop, struct totals *t) {
  struct tracer_totals spans = loop->tracer ? tracer_totals(loop->tracer) : (struct tracer_totals){0};
  t->log_lost = log_store_lost(loop->logs);
  t->access_lost = loop->access_log ? access_log_lost(loop->access_log) : 0;
  t->spans_sent = spans.n_sent;
  t->spans_dropped = spans.n_dropped;
  t->inputs_dropped = loop->inputs ? inputs_store_dropped(loop->inputs) : 0;
}

enum total_type { COUNTER, GAUGE, SECONDS };

static const char *end_of(enum total_type type) { return type == GAUGE ? "" : "_total"; }

static const char *name_of(enum total_type type) { return type == GAUGE ? "gauge" : "counter"; }

static void print_total(struct buffer *out, enum total_type type, const char *text, const char *help, uint64_t value) {
  char name[64];
  snprintf(name, sizeof name, "%s%s", text, end_of(type));
  if (type != SECONDS) {
    put_one(out, name, name_of(type), help, value);
    return;
  }
  begin(out, name, name_of(type), help);
  buffer_format(out, "gasworks_%s %.6f\n", name, (double)value / 1e6);
}

static void print_totals_of(struct buffer *out, enum total_type type, const char *text, const char *help, const char *label,
                            const char *(*word)(int), const uint64_t *values, int n) {
  char name[64];
  snprintf(name, sizeof name, "%s%s", text, end_of(type));
  begin(out, name, name_of(type), help);
  for (int i = 0; i < n; i++) put_labelled(out, name, label, word(i), values[i]);
}

static void print_totals(const struct totals *t, struct buffer *out) {
#define TOTAL(name, type, text, help) print_total(out, type, text, help, t->name);
#define TOTALS(name, type, text, help, size, label, word) \
  print_totals_of(out, type, text, help, label, word_##word, t->name, size);
#include "server/api/totals.def"
#undef TOTAL
#undef TOTALS
}

/* --- what loops count: server/loop/metrics.def ------------------------------------------------------------------------ */

static const char *word_status(int digit) {
  static const char *const classes[6] = {[2] = "2xx", [3] = "3xx", [4] = "4xx", [5] = "5xx"};
  return classes[digit];
}

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
  struct totals totals;
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
  count_registry(g->registry, &g->totals);
  print_totals(&g->totals, &g->own);
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
  *g = (struct gathering){.work.data = g, .exchange = x, .supervisor = loop->supervisor, .registry = loop->registry, .own = text};
  count_loop(loop, &g->totals);
  uv_queue_work(&loop->uv, &g->work, gather_work, gather_done);
}
