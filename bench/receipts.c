/* Leaves per second of the log of receipts alone: bench_receipts DIRECTORY [LEAVES [THREADS]]. Each leaf is that of a small
 * request, so that its size is what servers have; it is encoded, given an index, hashed and put in its place, while the log makes
 * room, syncs and signs beside it. For one core: taskset -c 0. */
#include "runtime/receipt/receipt.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 16 };

static struct receipt_log *log_;
static atomic_ullong waits, most_ns;
static unsigned long long n_each;

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t make_leaf(uint8_t out[LEAF_MAX], uint64_t gas) {
  static const uint8_t digest[LEAF_DIGEST_SIZE] = {7};
  static const enum leaf_field digests[] = {FIELD_MODULE, FIELD_SCHEDULE, FIELD_REQUEST, FIELD_REPLY};
  struct leaf leaf = {0};
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_OUTCOME, OUTCOME_REPLIED);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, "hello", 5);
  leaf_set_number(&leaf, FIELD_SEMANTICS, LEAF_SEMANTICS);
  leaf_set_number(&leaf, FIELD_TIME, (uint64_t)time(NULL));
  leaf_set_number(&leaf, FIELD_STATUS, 200);
  leaf_set_number(&leaf, FIELD_COMPUTE, gas);
  leaf_set_number(&leaf, FIELD_CALLS, 500);
  leaf_set_number(&leaf, FIELD_MOVED, 70);
  for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) leaf_set_bytes(&leaf, digests[i], digest, sizeof digest);
  return leaf_encode(&leaf, out);
}

/* A server would have answered 503. */
static void wait_for_room(void) {
  if (receipt_log_has_room(log_)) return;
  atomic_fetch_add(&waits, 1);
  while (!receipt_log_has_room(log_)) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void note_most(double s) {
  unsigned long long ns = (unsigned long long)(s * 1e9), seen = atomic_load(&most_ns);
  while (ns > seen && !atomic_compare_exchange_weak(&most_ns, &seen, ns)) {
  }
}

static void *append(void *arg) {
  struct receipt_chain *chain = receipt_log_chain(log_, arg);
  uint8_t leaf[LEAF_MAX];
  struct receipt_place place;
  for (unsigned long long i = 0; i < n_each; i++) {
    size_t size = make_leaf(leaf, i);
    wait_for_room();
    double start = seconds(CLOCK_MONOTONIC);
    if (!receipt_log_reserve(log_, chain, leaf, size, 0, &place)) fprintf(stderr, "there is no room\n"), exit(1);
    receipt_log_fill(&place, leaf);
    note_most(seconds(CLOCK_MONOTONIC) - start);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "bench_receipts DIRECTORY [LEAVES [THREADS]]\n");
    return 2;
  }
  struct receipt_options options = {.directory = argv[1], .period_ms = 1000};
  struct gw_error err = {0};
  unsigned long long n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
  int n_threads = argc > 3 ? atoi(argv[3]) : 1;
  pthread_t threads[MAX_THREADS];
  char names[MAX_THREADS][8];
  if (n_threads < 1 || n_threads > MAX_THREADS || !n) return 2;
  log_ = receipt_log_open(&options, NULL, 0, &err);
  if (!log_) fprintf(stderr, "%s\n", err.message), exit(1);
  n_each = n / (unsigned)n_threads;
  double clock = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  for (int i = 0; i < n_threads; i++) {
    snprintf(names[i], sizeof names[i], "f%d", i);
    if (pthread_create(&threads[i], NULL, append, names[i])) return 1;
  }
  for (int i = 0; i < n_threads; i++) pthread_join(threads[i], NULL);
  double filled = seconds(CLOCK_MONOTONIC) - clock;
  if (!receipt_log_settle(log_)) fprintf(stderr, "the log has failed\n"), exit(1);
  clock = seconds(CLOCK_MONOTONIC) - clock;
  cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  n = n_each * (unsigned)n_threads;
  printf("%llu leaves: %.0f/s by the clock until all are filled, %.0f/s until all are durable, %.0f/s by CPU time\n", n,
         (double)n / filled, (double)n / clock, (double)n / cpu);
  printf("waits for room: %llu; the longest reservation and fill: %.3f ms\n", atomic_load(&waits),
         (double)atomic_load(&most_ns) * 1e-6);
  receipt_log_close(log_);
  return 0;
}
