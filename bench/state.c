/* What commits wait for each other, and what reads take: bench_state DIRECTORY [KEYS]. A small transaction is committed over and
 * over, alone and beside one that commits KEYS keys (16,384 unless said); durably, so DIRECTORY decides much. Then reads, what
 * reading alone saves, and transactions that read and write one key, many at one time, against LMDB with batches of as many. */
#include "runtime/state/state.h"

#include <lmdb.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* --- reading alone ------------------------------------------------------------------------------------------------ */

static double cpu_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* A transaction of N_ALONE gets and a scan of as many keys; CPU time of this thread, as it never waits. */
static double read_once(struct state_store *store, bool is_alone) {
  enum { N_ALONE = 10000 };
  struct gw_error err = {0};
  struct state_page page = {0};
  const void *value;
  size_t size;
  double start = cpu_now();
  struct state_txn *txn = state_txn_begin(store, "large0");
  if (is_alone) state_txn_only_reads(txn);
  for (unsigned i = 0; i < N_ALONE; i++) {
    unsigned key[2] = {i * 2654435761u, 0};
    if (state_txn_get_wait(txn, key, sizeof key, &value, &size, &err) < 0) fprintf(stderr, "%s\n", err.message), exit(1);
  }
  if (!state_txn_scan(txn, &(struct state_range){0}, &err)) exit(1);
  for (unsigned n = 0; n < N_ALONE && !page.is_last; n += page.n_pairs)
    if (state_txn_scan_next_wait(txn, UINT32_MAX, 1 << 20, &page, &err) != 1) fprintf(stderr, "%s\n", err.message), exit(1);
  state_txn_abort(txn);
  return cpu_now() - start;
}

static void read_alone(struct state_store *store) {
  static double ms[2][N_READS];
  for (int i = 0; i < N_READS; i++)
    for (int alone = 0; alone < 2; alone++) ms[alone][i] = read_once(store, alone);
  show("10,000 gets and 10,000 keys scanned", ms[0], N_READS);
  show("the same, only to read", ms[1], N_READS);
}

/* --- read, change, write ------------------------------------------------------------------------------------------ */

enum { IN_FLIGHT = 64, N_RMW = 100 * IN_FLIGHT, N_ACCOUNTS = 100000 };

static sem_t room;
static atomic_int n_conflicts;

static void on_rmw(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  (void)arg, (void)err;
  n_conflicts += outcome != STATE_COMMITTED;
  sem_post(&room);
}

static unsigned account(int i) { return (unsigned)i * 2654435761u % N_ACCOUNTS; }

static double rmw_store(struct state_store *store, int from) {
  struct gw_error err = {0};
  sem_init(&room, 0, IN_FLIGHT);
  double start = now();
  for (int i = from; i < from + N_RMW; i++) {
    unsigned key = account(i);
    uint64_t n = 0;
    const void *value;
    size_t size;
    sem_wait(&room);
    struct state_txn *txn = state_txn_begin(store, "accounts");
    if (state_txn_get_wait(txn, &key, sizeof key, &value, &size, &err) == 1) memcpy(&n, value, sizeof n);
    n++;
    state_txn_set(txn, &key, sizeof key, &n, sizeof n, &err);
    state_txn_commit(txn, on_rmw, NULL);
  }
  for (int i = 0; i < IN_FLIGHT; i++) sem_wait(&room);
  sem_destroy(&room);
  return N_RMW / (now() - start) * 1e3;
}

static void check(int rc) {
  if (rc) fprintf(stderr, "LMDB: %s\n", mdb_strerror(rc)), exit(1);
}

/* With keys and values as large as a function's are. */
static void rmw_key(MDB_txn *txn, MDB_dbi dbi, unsigned key) {
  uint8_t bytes[28] = {0}, value[24] = {0};
  MDB_val k = {sizeof bytes, bytes}, v;
  uint64_t n = 0;
  memcpy(bytes + 24, &key, sizeof key);
  if (!mdb_get(txn, dbi, &k, &v)) memcpy(&n, (uint8_t *)v.mv_data + 16, sizeof n);
  n++;
  memcpy(value + 16, &n, sizeof n);
  check(mdb_put(txn, dbi, &k, &(MDB_val){sizeof value, value}, 0));
}

static double rmw_lmdb(MDB_env *env, MDB_dbi dbi, int from) {
  double start = now();
  for (int i = from; i < from + N_RMW; i += IN_FLIGHT) {
    MDB_txn *txn;
    check(mdb_txn_begin(env, NULL, 0, &txn));
    for (int j = 0; j < IN_FLIGHT; j++) rmw_key(txn, dbi, account(i + j));
    check(mdb_txn_commit(txn));
  }
  return N_RMW / (now() - start) * 1e3;
}

static void read_and_write(struct state_store *store, const char *directory) {
  enum { ROUNDS = 9 };
  MDB_env *env;
  MDB_dbi dbi;
  MDB_txn *txn;
  char path[512];
  double rates[2][ROUNDS];
  snprintf(path, sizeof path, "%s/lmdb", directory);
  mkdir(path, 0700);
  check(mdb_env_create(&env));
  check(mdb_env_set_mapsize(env, (size_t)1 << 30));
  check(mdb_env_open(env, path, 0, 0600));
  check(mdb_txn_begin(env, NULL, 0, &txn));
  check(mdb_dbi_open(txn, NULL, 0, &dbi));
  check(mdb_txn_commit(txn));
  for (int i = -4; i < ROUNDS; i++) { /* the first ones fill */
    double ours = rmw_store(store, (i + 4) * N_RMW), theirs = rmw_lmdb(env, dbi, (i + 4) * N_RMW);
    if (i >= 0) rates[0][i] = ours, rates[1][i] = theirs;
  }
  for (int i = 0; i < 2; i++) qsort(rates[i], ROUNDS, sizeof(double), by_value);
  printf("durable get and set, %d at one time: %.0f/s, %d conflicts; LMDB in batches of %d: %.0f/s (medians of %d; %.2f)\n",
         IN_FLIGHT, rates[0][ROUNDS / 2], n_conflicts, IN_FLIGHT, rates[1][ROUNDS / 2], ROUNDS,
         rates[0][ROUNDS / 2] / rates[1][ROUNDS / 2]);
  mdb_env_close(env);
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
  read_alone(store);
  read_and_write(store, argv[1]);
  state_store_close(store);
  return 0;
}
