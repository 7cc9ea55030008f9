/* How long a program goes without a look at the counter: bench_gas_latency [-O LEVEL] [--slice GAS] [--instructions N]
 * [--seconds S] [NAME...]
 *
 * Runs the programs of tests/gas_escape.h (all, or those whose names contain a NAME) in slices. With slices of 1 gas every look
 * ends one, so the time of a resume is the time between two looks, plus that of two switches of stacks. Printed are the median,
 * the 99.9th percentile and the longest, by the clock and by the thread's own CPU time, which other programs do not lengthen. */
#include "tests/gas_escape.h"

#include <inttypes.h>
#include <time.h>

enum { MAX_LOOKS = 1000000 };

struct options {
  uint32_t level, instructions;
  uint64_t slice;
  double seconds;
  char **names;
  int n_names;
};

struct sample {
  int64_t wall, cpu; /* ns */
};

static int64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* Resumes until the time is over. Returns the number of looks. */
static size_t measure(const struct options *o, struct gw_store *store, struct sample *out) {
  struct gw_error err = {0};
  int64_t end = now(CLOCK_MONOTONIC) + (int64_t)(o->seconds * 1e9);
  size_t n = 0;
  while (n < MAX_LOOKS) {
    int64_t cpu = now(CLOCK_THREAD_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
    enum gw_status status = gw_store_resume(store, &err);
    out[n++] = (struct sample){now(CLOCK_MONOTONIC) - wall, now(CLOCK_THREAD_CPUTIME_ID) - cpu};
    if (status != GW_STATUS_YIELDED) {
      fprintf(stderr, "%s\n", err.message);
      break;
    }
    if (wall > end) break;
  }
  gw_store_cancel(store);
  return n;
}

static double microseconds(const int64_t *sorted, size_t n, double share) {
  return (double)sorted[(size_t)((double)(n - 1) * share)] / 1e3;
}

static void report(const char *name, const struct sample *samples, size_t n) {
  static int64_t wall[MAX_LOOKS], cpu[MAX_LOOKS];
  for (size_t i = 0; i < n; i++) {
    wall[i] = samples[i].wall;
    cpu[i] = samples[i].cpu;
  }
  qsort(wall, n, sizeof *wall, by_size);
  qsort(cpu, n, sizeof *cpu, by_size);
  printf("%-38s %8zu %10.2f %10.2f %12.1f %12.1f\n", name, n, microseconds(wall, n, 0.5), microseconds(wall, n, 0.999),
         microseconds(wall, n, 1), microseconds(cpu, n, 1));
  fflush(stdout);
}

static bool run(const struct options *o, struct gw_engine *engine, const struct escape *e) {
  static struct sample samples[MAX_LOOKS];
  struct gw_error err = {0};
  union gw_value value = {0};
  struct gw_extern found;
  struct gw_module *module = escape_module(engine, e, o->instructions);
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.slice = o->slice}, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  bool ok = instance && gw_instance_export(instance, "f", 1, &found);
  if (ok) {
    gw_store_start(store, found.of.func, &value);
    report(e->name, samples, measure(o, store, samples));
  } else {
    fprintf(stderr, "%s: %s\n", e->name, err.message);
  }
  gw_store_destroy(store);
  gw_module_release(module);
  return ok;
}

static bool is_wanted(const struct options *o, const char *name) {
  for (int i = 0; i < o->n_names; i++)
    if (strstr(name, o->names[i])) return true;
  return o->n_names == 0;
}

static void read_arguments(struct options *o, int argc, char **argv) {
  *o = (struct options){.level = 2, .slice = 1, .instructions = 1000000, .seconds = 1, .names = argv};
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (argv[i][0] != '-') {
      o->names[o->n_names++] = argv[i];
      continue;
    }
    i++;
    if (strcmp(argv[i - 1], "-O") == 0) o->level = (uint32_t)atoi(value);
    if (strcmp(argv[i - 1], "--slice") == 0) o->slice = strtoull(value, NULL, 10);
    if (strcmp(argv[i - 1], "--instructions") == 0) o->instructions = (uint32_t)strtoul(value, NULL, 10);
    if (strcmp(argv[i - 1], "--seconds") == 0) o->seconds = strtod(value, NULL);
  }
}

int main(int argc, char **argv) {
  struct options o;
  struct gw_error err = {0};
  bool ok = true;
  read_arguments(&o, argc, argv);
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = o.level, .gas = true}, &err);
  if (!engine) wat_fail("bench_gas_latency", err.message);
  printf("-O%" PRIu32 ", slices of %" PRIu64 " gas, straight-line code of %" PRIu32 " instructions; microseconds\n", o.level,
         o.slice, o.instructions);
  printf("%-38s %8s %10s %10s %12s %12s\n", "program", "looks", "median", "99.9 %", "longest", "longest CPU");
  for (int i = 0; i < N_ESCAPES; i++)
    if (is_wanted(&o, escapes[i].name)) ok = run(&o, engine, &escapes[i]) && ok;
  gw_engine_destroy(engine);
  return !ok;
}
