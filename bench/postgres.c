/* Transactions a second of many clients on a store: bench_postgres STORE CLIENTS SECONDS [ACCOUNTS]. STORE is a directory, for
 * LMDB, or postgres://... Each client reads two accounts and writes both, over and over, again where that conflicts; by itself,
 * without a server around. bench/postgres.sh has the same in SQL. */
#include "base/error.h"
#include "runtime/state/state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CLIENTS = 256 };

struct client {
  pthread_t thread;
  struct state_store *store;
  uint64_t random, n_done, n_conflicts;
};

static atomic_bool is_over;
static uint32_t n_accounts = 100000;

struct outcome {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool is_there;
  enum state_outcome outcome;
};

static void on_commit(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  struct outcome *o = arg;
  if (outcome == STATE_FAILED) fprintf(stderr, "%s\n", err->message), exit(1);
  pthread_mutex_lock(&o->mutex);
  o->is_there = true;
  o->outcome = outcome;
  pthread_cond_signal(&o->cond);
  pthread_mutex_unlock(&o->mutex);
}

static bool commit(struct state_txn *txn) {
  struct outcome o = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, STATE_FAILED};
  state_txn_commit(txn, on_commit, &o);
  pthread_mutex_lock(&o.mutex);
  while (!o.is_there) pthread_cond_wait(&o.cond, &o.mutex);
  pthread_mutex_unlock(&o.mutex);
  return o.outcome == STATE_COMMITTED;
}

static bool add(struct state_txn *txn, uint32_t account, int64_t by) {
  struct gw_error err = {0};
  const void *value;
  size_t size;
  int64_t balance = 0;
  int found = state_txn_get_wait(txn, &account, sizeof account, &value, &size, &err);
  if (found < 0 && !state_txn_is_stale(txn)) fprintf(stderr, "%s\n", err.message), exit(1);
  if (found < 0) return false;
  if (found) memcpy(&balance, value, sizeof balance);
  balance += by;
  return state_txn_set(txn, &account, sizeof account, &balance, sizeof balance, &err);
}

static uint32_t any_account(struct client *c) {
  c->random ^= c->random << 13;
  c->random ^= c->random >> 7;
  c->random ^= c->random << 17;
  return (uint32_t)(c->random >> 20) % n_accounts;
}

static void *run(void *arg) {
  struct client *c = arg;
  while (!is_over) {
    uint32_t from = any_account(c), to = any_account(c);
    for (bool is_done = false; !is_done && !is_over;) {
      struct state_txn *txn = state_txn_begin(c->store, "bank");
      bool ok = add(txn, from, -1) && add(txn, to, 1);
      if (ok)
        is_done = commit(txn);
      else
        state_txn_abort(txn);
      c->n_done += is_done;
      c->n_conflicts += !is_done;
    }
  }
  return NULL;
}

int main(int argc, char **argv) {
  static struct client clients[MOST_CLIENTS];
  struct gw_error err = {0};
  int n = argc > 3 ? atoi(argv[2]) : 0;
  uint64_t n_done = 0, n_conflicts = 0;
  if (n < 1 || n > MOST_CLIENTS) {
    fprintf(stderr, "usage: bench_postgres STORE CLIENTS SECONDS [ACCOUNTS]\n");
    return 2;
  }
  if (argc > 4) n_accounts = (uint32_t)atoi(argv[4]);
  struct state_postgres options = {.url = argv[1], .connections = 16, .wait_ms = 5000, .node = "bench", .is_durable = true};
  struct state_store *store = strncmp(argv[1], "postgres", 8) == 0 ? state_store_open_postgres(&options, &err)
                                                                   : state_store_open(argv[1], (size_t)4 << 30, true, &err);
  if (!store) {
    fprintf(stderr, "%s\n", err.message);
    return 1;
  }
  for (int i = 0; i < n; i++) {
    clients[i] = (struct client){.store = store, .random = 88172645463325252u + (uint64_t)i * 7919};
    pthread_create(&clients[i].thread, NULL, run, &clients[i]);
  }
  sleep((unsigned)atoi(argv[3]));
  is_over = true;
  for (int i = 0; i < n; i++) {
    pthread_join(clients[i].thread, NULL);
    n_done += clients[i].n_done;
    n_conflicts += clients[i].n_conflicts;
  }
  printf("%.0f %.0f\n", (double)n_done / atoi(argv[3]), (double)n_conflicts / atoi(argv[3]));
  state_store_close(store);
  return 0;
}
