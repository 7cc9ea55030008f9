/* A fresh instance for every request: bench_instance [--requests N] [--threads N] [--pages N] [--grow N]
 *
 * Calls an export that writes to N pages (4 unless told) of a memory of 1 MB, with --grow behind growing it by so many Wasm pages
 * and writing to all that is new, and resets the instance, N times (100,000), after a hundred that are not counted. Printed are
 * the median and the 99th percentile of call and reset together, by the clock, requests per second, and what the process did
 * meanwhile: page faults, and involuntary switches, which explain a high percentile. `strace -f -c` shows that no system call is
 * made. With several threads each has its own store. */
#include "tests/wat.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

enum { WARM_UP = 100, MAX_THREADS = 64 };

struct worker {
  pthread_t thread;
  struct gw_engine *engine;
  struct gw_module *module;
  uint32_t n_requests;
  int32_t pages, grow;
  int64_t *times;
  int64_t total; /* ns */
};

static const char program[] =
    "(module (memory (export \"memory\") 16) (data (i32.const 8192) \"data\")"
    " (func (export \"touch\") (param $n i32) (param $grow i32)"
    "   (if (local.get $grow) (then"
    "     (drop (memory.grow (local.get $grow))) (local.set $grow (i32.mul (local.get $grow) (i32.const 65536)))"
    "     (loop $l"
    "       (local.set $grow (i32.sub (local.get $grow) (i32.const 4096)))"
    "       (i32.store offset=0x100000 (local.get $grow) (i32.const 7))"
    "       (br_if $l (local.get $grow)))))"
    "   (loop $l"
    "     (if (local.get $n) (then"
    "       (local.set $n (i32.sub (local.get $n) (i32.const 1)))"
    "       (i32.store (i32.mul (local.get $n) (i32.const 4096)) (i32.const 7))"
    "       (br $l))))))";

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void request(struct gw_instance *instance, struct gw_store *store, const struct worker *w, struct func_ref *func) {
  struct gw_error err = {0};
  union gw_value values[2] = {{.i32 = w->pages}, {.i32 = w->grow}};
  gw_store_start(store, func, values);
  if (gw_store_resume(store, &err) != GW_STATUS_DONE || !gw_instance_reset(instance, &err)) wat_fail("request", err.message);
}

static void *work(void *arg) {
  struct worker *w = arg;
  struct gw_error err = {0};
  struct gw_extern touch;
  struct gw_store_options options = {.gas_limit = 10000000000, .slice = 10000000, .max_memory_bytes = 256 << 20};
  struct gw_store *store = gw_store_create(w->engine, &options, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, w->module, NULL, NULL, &err) : NULL;
  if (!instance || !gw_instance_export(instance, "touch", 5, &touch)) wat_fail("instance", err.message);
  for (int i = 0; i < WARM_UP; i++) request(instance, store, w, touch.of.func);
  int64_t begin = now(), before = begin;
  for (uint32_t i = 0; i < w->n_requests; i++) {
    request(instance, store, w, touch.of.func);
    int64_t after = now();
    w->times[i] = after - before;
    before = after;
  }
  w->total = before - begin;
  gw_store_destroy(store);
  return NULL;
}

static void report(struct worker *w) {
  qsort(w->times, w->n_requests, sizeof *w->times, by_size);
  printf("median %" PRId64 " ns, 99 %% %" PRId64 " ns, longest %" PRId64 " ns, %.0f requests/s\n", w->times[w->n_requests / 2],
         w->times[(uint64_t)w->n_requests * 99 / 100], w->times[w->n_requests - 1], w->n_requests / ((double)w->total / 1e9));
}

int main(int argc, char **argv) {
  static struct worker workers[MAX_THREADS];
  uint32_t n_requests = 100000, n_threads = 1, pages = 4, grow = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    uint32_t value = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--requests") == 0) n_requests = value;
    if (strcmp(argv[i], "--threads") == 0) n_threads = value;
    if (strcmp(argv[i], "--pages") == 0) pages = value;
    if (strcmp(argv[i], "--grow") == 0) grow = value;
  }
  if (!n_requests || !n_threads || n_threads > MAX_THREADS || pages > 256 || grow > 4096)
    wat_fail("bench_instance", "a number is out of range");
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true}, &err);
  struct gw_module *module = engine ? wat_module(engine, program) : NULL;
  if (!module || !gw_module_compile(module, &err)) wat_fail("bench_instance", err.message);
  for (uint32_t i = 0; i < n_threads; i++) {
    workers[i] = (struct worker){
        .engine = engine, .module = module, .n_requests = n_requests, .pages = (int32_t)pages, .grow = (int32_t)grow};
    workers[i].times = calloc(n_requests, sizeof *workers[i].times);
    if (!workers[i].times) wat_fail("bench_instance", "no memory");
    memset(workers[i].times, 1, n_requests * sizeof *workers[i].times); /* its pages are there before anything is counted */
  }
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  for (uint32_t i = 0; i < n_threads; i++) pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  for (uint32_t i = 0; i < n_threads; i++) pthread_join(workers[i].thread, NULL);
  getrusage(RUSAGE_SELF, &after);
  for (uint32_t i = 0; i < n_threads; i++) report(&workers[i]);
  printf("page faults %ld, involuntary switches %ld\n", after.ru_minflt - before.ru_minflt, after.ru_nivcsw - before.ru_nivcsw);
  for (uint32_t i = 0; i < n_threads; i++) free(workers[i].times);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return 0;
}
