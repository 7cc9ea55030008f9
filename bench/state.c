/* What commits wait for each other, and what reads take: bench_state DIRECTORY [KEYS]. A small transaction is committed over and
 * over, alone and beside one that commits KEYS keys (16,384 unless said); durably, so DIRECTORY decides much. Then reads. */
#include "runtime/state/state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_SMALL = 1000, N_READS = 200, LARGE = 1 << 20 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void show(const char *what, double *ms, int n) {
  qsort(ms, (size_t)n, sizeof *ms, by_value);
  printf("%-44s p50 %8.3f ms, p99 %8.3f ms, most %8.3f ms\n", what, ms[n / 2], ms[n - 1 - n / 100], ms[n - 1]);
}

static atomic_bool is_over;
static int n_keys = 16384;

struct writer {
  struct state_store *store;
  int space, commits;
};

static void *write_large(void *arg) {
  struct writer *w = arg;
  struct gw_error err = {0};
  char space[16];
  snprintf(space, sizeof space, "large%d", w->space);
  for (unsigned round = 0; !is_over; round++) {
    struct state_txn *txn = state_txn_begin(w->store, space);
    for (unsigned i = 0; i < (unsigned)n_keys; i++) {
      unsigned key[2] = {i * 2654435761u, round % 4};
      state_txn_set(txn, key, sizeof key, "value", 5, &err);
    }
    if (!state_txn_commit_wait(txn, &err)) fprintf(stderr, "%s\n", err.message), exit(1);
    w->commits++;
  }
  return NULL;
}

static void commit_small(struct state_store *store, const char *what) {
  static double ms[N_SMALL];
  struct gw_error err = {0};
  int n = 0;
  for (double begin = now(); n < N_SMALL && now() - begin < 10000; n++) {
    double start = now();
    if (!state_put(store, "small", &n, sizeof n, "value", 5, &err)) fprintf(stderr, "%s\n", err.message), exit(1);
    ms[n] = now() - start;
  }
  show(what, ms, n);
}

static void read_large(struct state_store *store) {
  static double ms[N_READS];
  struct gw_error err = {0};
  char *bytes = calloc(1, LARGE);
  for (int i = 0; i < 16; i++) state_put(store, "values", &i, sizeof i, bytes, LARGE, &err);
  for (int i = 0; i < N_READS; i++) {
    struct state_txn *txn = state_txn_begin(store, "values");
    const void *value;
    size_t size;
    int key = i % 16;
    double start = now();
    state_txn_get_wait(txn, &key, sizeof key, &value, &size, &err);
    ms[i] = now() - start;
    state_txn_abort(txn);
  }
  show("a get of 1 MiB that is in memory", ms, N_READS);
  free(bytes);
}

static void scan_all(struct state_store *store) {
  struct gw_error err = {0};
  struct state_txn *txn = state_txn_begin(store, "large0");
  struct state_page page = {0};
  size_t n = 0;
  double start = now();
  if (!state_txn_scan(txn, &(struct state_range){0}, &err)) return;
  while (!page.is_last && state_txn_scan_next(txn, UINT32_MAX, 1 << 20, &page, &err) == 1) n += page.n_pairs;
  double scanned = now();
  if (n) printf("a scan of %zu keys: %.0f ns each\n", n, (scanned - start) * 1e6 / (double)n);
  state_txn_set(txn, "x", 1, "", 0, &err);
  start = now();
  state_txn_commit_wait(txn, &err);
  if (n) printf("the commit that compares them: %.3f ms\n", now() - start);
}

int main(int argc, char **argv) {
  struct gw_error err = {0};
  struct state_store *store = argc > 1 ? state_store_open(argv[1], (size_t)8 << 30, true, &err) : NULL;
  if (!store) {
    fprintf(stderr, "usage: bench_state DIRECTORY [KEYS] %s\n", err.message);
    return 1;
  }
  if (argc > 2) n_keys = atoi(argv[2]);
  commit_small(store, "small commits alone");
  pthread_t threads[4];
  struct writer writers[4];
  for (int i = 0; i < 4; i++) {
    writers[i] = (struct writer){store, i, 0};
    pthread_create(&threads[i], NULL, write_large, &writers[i]);
  }
  commit_small(store, "beside four that commit many keys");
  is_over = true;
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  printf("large commits meanwhile: %d\n", writers[0].commits + writers[1].commits + writers[2].commits + writers[3].commits);
  read_large(store);
  scan_all(store);
  state_store_close(store);
  return 0;
}
