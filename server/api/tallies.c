/* GET /v1/metrics: the numbers of a tenant's functions, for its dashboard; and the same of all functions as a part of /metrics.
 */
#include "server/api/tallies.h"

#include "base/heap.h"
#include "base/array.h"
#include "server/api/control.h"
#include "server/function/tally.h"
#include "server/loop/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct row {
  char name[FUNCTION_MAX_FULL_NAME + 1];
  uint64_t version, cpu_ns, tier_gas; /* of slices, of versions that are there */
  uint64_t n_instances, memory_bytes;
  struct tally_part sum;
};

struct rows {
  struct row *items;
  size_t n, capacity;
  bool with_idle; /* also those that nobody has called */
};

static void add_slices(struct row *row, const struct entry *entry) {
  row->cpu_ns = row->tier_gas = 0;
  for (size_t v = 0; v < entry->n_versions; v++) {
    for (size_t i = 0; i < N_TIERS; i++) {
      row->cpu_ns += atomic_load_explicit(&entry->versions[v]->usage[i].cpu_ns, memory_order_relaxed);
      row->tier_gas += atomic_load_explicit(&entry->versions[v]->usage[i].gas, memory_order_relaxed);
    }
  }
}

static void add_row(void *arg, const struct entry *entry) {
  struct rows *rows = arg;
  const struct function *f = entry_live(entry);
  if (rows->n == rows->capacity) array_grow(rows->items, rows->capacity, 64);
  struct row *row = &rows->items[rows->n];
  tally_sum(f->fate->tally, &row->sum);
  if (!row->sum.requests && !rows->with_idle) return;
  memcpy(row->name, entry->name, sizeof row->name);
  row->version = f->version;
  row->n_instances = atomic_load_explicit(&f->fate->n_instances, memory_order_relaxed);
  row->memory_bytes = atomic_load_explicit(&f->fate->memory_bytes, memory_order_relaxed);
  add_slices(row, entry);
  rows->n++;
}

/* --- Prometheus --------------------------------------------------------------------------------------------------- */

/* Names are of letters, digits, _ and -: nothing to escape. */
static void put_labels(struct buffer *out, const struct row *row) {
  const char *name = function_short_name(row->name);
  int tenant = name > row->name ? (int)(name - 1 - row->name) : 0;
  buffer_format(out, "{tenant=\"%.*s\",function=\"%s\"", tenant ? tenant : (int)strlen(DEFAULT_TENANT),
                tenant ? row->name : DEFAULT_TENANT, name);
}

static void begin(struct buffer *out, const char *name, const char *type, const char *help) {
  buffer_format(out, "# HELP gasworks_function_%s %s\n# TYPE gasworks_function_%s %s\n", name, help, name, type);
}

static void put_number(struct buffer *out, const char *name, const struct row *row, uint64_t number) {
  buffer_format(out, "gasworks_function_%s", name);
  put_labels(out, row);
  buffer_format(out, "} %" PRIu64 "\n", number);
}

/* Every second power of two from 32 microseconds on: of the buckets that are counted, enough for a picture. */
static void put_histogram(struct buffer *out, const struct row *row) {
  uint64_t n = 0, next = 32;
  for (int i = 0; i < TALLY_BOUNDS; i++) {
    n += row->sum.latency[i];
    if (tally_bound(i) != next) continue;
    buffer_append_string(out, "gasworks_function_duration_seconds_bucket");
    put_labels(out, row);
    buffer_format(out, ",le=\"%.6f\"} %" PRIu64 "\n", (double)next / 1e6, n);
    next *= 4;
  }
  n += row->sum.latency[TALLY_BOUNDS];
  buffer_append_string(out, "gasworks_function_duration_seconds_bucket");
  put_labels(out, row);
  buffer_format(out, ",le=\"+Inf\"} %" PRIu64 "\ngasworks_function_duration_seconds_sum", n);
  put_labels(out, row);
  buffer_format(out, "} %.6f\ngasworks_function_duration_seconds_count", (double)row->sum.microseconds / 1e6);
  put_labels(out, row);
  buffer_format(out, "} %" PRIu64 "\n", n);
}

void tallies_print(struct registry *registry, struct buffer *out) {
  struct rows rows = {0};
  registry_each(registry, add_row, &rows);
#define TALLY(member, text, help)             \
  begin(out, text "_total", "counter", help); \
  for (size_t i = 0; i < rows.n; i++) put_number(out, text "_total", &rows.items[i], rows.items[i].sum.member);
#include "server/function/tally.def"
#undef TALLY
  begin(out, "cpu_nanoseconds_total", "counter", "CPU time that its versions used which are there still.");
  for (size_t i = 0; i < rows.n; i++) put_number(out, "cpu_nanoseconds_total", &rows.items[i], rows.items[i].cpu_ns);
  begin(out, "nanoseconds_per_gas", "gauge", "That, by the gas that they used: 0.1 where gas is priced right.");
  for (size_t i = 0; i < rows.n; i++) {
    const struct row *row = &rows.items[i];
    buffer_append_string(out, "gasworks_function_nanoseconds_per_gas");
    put_labels(out, row);
    buffer_format(out, "} %.6f\n", row->tier_gas ? (double)row->cpu_ns / (double)row->tier_gas : 0.0);
  }
  begin(out, "instances", "gauge", "Instances that are there, idle ones too.");
  for (size_t i = 0; i < rows.n; i++) put_number(out, "instances", &rows.items[i], rows.items[i].n_instances);
  begin(out, "memory_bytes", "gauge", "What their memories and tables take.");
  for (size_t i = 0; i < rows.n; i++) put_number(out, "memory_bytes", &rows.items[i], rows.items[i].memory_bytes);
  begin(out, "duration_seconds", "histogram", "How long requests took, from when they were read to the reply.");
  for (size_t i = 0; i < rows.n; i++) put_histogram(out, &rows.items[i]);
  free(rows.items);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static void put_bounds(struct buffer *out) {
  buffer_append_string(out, "\"bounds_us\":[");
  for (int i = 0; i < TALLY_BOUNDS; i++) buffer_format(out, "%s%" PRIu64, i ? "," : "", tally_bound(i));
  buffer_append_string(out, "]");
}

/* [BUCKET, COUNT] of those that are not empty. */
static void put_latency(struct buffer *out, const struct tally_part *sum) {
  const char *comma = "";
  buffer_append_string(out, ",\"latency\":[");
  for (int i = 0; i < TALLY_BUCKETS; i++) {
    if (!sum->latency[i]) continue;
    buffer_format(out, "%s[%d,%" PRIu64 "]", comma, i, sum->latency[i]);
    comma = ",";
  }
  buffer_append_string(out, "]");
}

static void put_row(struct buffer *out, const struct row *row) {
  buffer_format(out, "{\"name\":\"%s\",\"version\":%" PRIu64, function_short_name(row->name), row->version);
#define TALLY(member, text, help) buffer_format(out, ",\"" #member "\":%" PRIu64, row->sum.member);
#include "server/function/tally.def"
#undef TALLY
  buffer_format(out, ",\"cpu_ms\":%.1f,\"microseconds\":%" PRIu64, (double)row->cpu_ns / 1e6, row->sum.microseconds);
  buffer_format(out, ",\"instances\":%" PRIu64 ",\"memory_bytes\":%" PRIu64, row->n_instances, row->memory_bytes);
  put_latency(out, &row->sum);
  buffer_append_string(out, "}");
}

static void numbers_work(uv_work_t *work) {
  struct control_task *task = work->data;
  struct rows rows = {.with_idle = true};
  struct buffer out = {0};
  struct timespec now;
  registry_each_of(task->registry, task->tenant, add_row, &rows);
  clock_gettime(CLOCK_REALTIME, &now);
  buffer_format(&out, "{\"time\":%lld.%03ld,\"tenant\":\"%s\",", (long long)now.tv_sec, now.tv_nsec / 1000000, task->tenant);
  put_bounds(&out);
  buffer_append_string(&out, ",\"functions\":[");
  for (size_t i = 0; i < rows.n; i++) {
    if (i) buffer_append_string(&out, ",");
    put_row(&out, &rows.items[i]);
  }
  buffer_append(&out, "]}", 3);
  free(rows.items);
  task->text = (char *)out.bytes;
}

void route_numbers(struct exchange *x, const struct place *place) {
  control_start(control_create(x, place), numbers_work, control_printed);
}
