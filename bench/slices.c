/* How long slices are: bench_slices [--precise | --baseline] [--seconds S] FILE.wasm...
 *
 * Runs each module's export `handle` (no imports) in slices as the server does, 5M gas each, bounded by gas alone and then by
 * 500 us, too, for S seconds (1) each. Printed are the median, the 99.9th percentile and the longest slice in CPU time, the most
 * gas between two yields, and the time per gas. What is endless is better than what ends. */
#include "base/clock.h"
#include "base/heap.h"
#include "base/buffer.h"
#include "gasworks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1000000, SLICE = 5000000, SLICE_NS = 500000 };

static enum gw_tier tier = GW_TIER_FAST;
static double seconds = 1;
static uint64_t *times;

static int by_size(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static void fail(const char *what) {
  fprintf(stderr, "bench_slices: %s\n", what);
  exit(1);
}

/* Resumes until the time is over; the most gas of a slice. */
static uint64_t measure(struct gw_store *store, size_t *n) {
  struct gw_error err = {0};
  uint64_t most = 0, gas = 0, start = clock_ns(CLOCK_THREAD_CPUTIME_ID), before = start;
  enum gw_status status = GW_STATUS_YIELDED;
  for (*n = 0; *n < MOST && status == GW_STATUS_YIELDED && (double)(before - start) < seconds * 1e9;) {
    status = gw_store_resume(store, &err);
    uint64_t now = clock_ns(CLOCK_THREAD_CPUTIME_ID), used = gw_store_gas_used(store);
    if (used - gas > most) most = used - gas;
    times[(*n)++] = now - before;
    before = now;
    gas = used;
  }
  if (status == GW_STATUS_FAILED) fail(err.message);
  return most;
}

static void run(struct gw_engine *engine, struct gw_module *module, const char *name, uint64_t slice_ns) {
  struct gw_error err = {0};
  struct gw_store_options options = {.slice = tier == GW_TIER_FAST       ? SLICE
                                              : tier == GW_TIER_BASELINE ? SLICE / 3
                                                                         : SLICE / 16,
                                     .slice_ns = slice_ns,
                                     .tier = tier};
  struct gw_store *store = gw_store_create(engine, &options, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  struct gw_extern found;
  union gw_value values[1];
  size_t n;
  if (!instance) fail(err.message);
  if (!gw_instance_export(instance, "handle", 6, &found)) fail("no handle is exported");
  gw_store_start(store, found.of.func, values);
  uint64_t most = measure(store, &n);
  double ns_per_gas = (double)gw_store_cpu_ns(store) / (double)gw_store_gas_used(store);
  qsort(times, n, sizeof *times, by_size);
  printf("%-24s %-4s %8zu %10.3f %10.3f %10.3f %12" PRIu64 " %9.4f\n", name, slice_ns ? "time" : "gas", n,
         (double)times[n / 2] * 1e-6, (double)times[(size_t)((double)(n - 1) * 0.999)] * 1e-6, (double)times[n - 1] * 1e-6, most,
         ns_per_gas);
  gw_store_cancel(store);
  gw_store_destroy(store);
}

static void bench(struct gw_engine *engine, const char *path) {
  struct gw_error err = {0};
  struct buffer bytes = {0};
  const char *slash = strrchr(path, '/');
  if (!buffer_read_file(&bytes, path, SIZE_MAX, &err)) fail(err.message);
  struct gw_module *module = gw_module_create(engine, bytes.bytes, bytes.size, &err);
  if (!module) fail(err.message);
  run(engine, module, slash ? slash + 1 : path, 0);
  run(engine, module, slash ? slash + 1 : path, SLICE_NS);
  gw_module_release(module);
  buffer_clear(&bytes);
}

int main(int argc, char **argv) {
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true}, &err);
  if (!engine) fail(err.message);
  times = heap_new(MOST, sizeof *times);
  printf("%-24s %-4s %8s %10s %10s %10s %12s %9s\n", "", "by", "slices", "median ms", "99.9 % ms", "most ms", "most gas",
         "ns/gas");
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--precise") == 0)
      tier = GW_TIER_PRECISE;
    else if (strcmp(argv[i], "--baseline") == 0)
      tier = GW_TIER_BASELINE;
    else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
      seconds = atof(argv[++i]);
    else
      bench(engine, argv[i]);
  }
  free(times);
  gw_engine_destroy(engine);
  return 0;
}
