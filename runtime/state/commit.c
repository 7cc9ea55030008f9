/* Committing: one thread takes every transaction that is waiting, validates and applies them in order within one LMDB write
 * transaction, and so pays for one sync. While it syncs, the next batch gathers. */
#include "runtime/state/private.h"

#include "base/error.h"

#include <string.h>

void state_txn_commit(struct state_txn *txn, state_done_fn done, void *arg) {
  struct state_store *store = txn->store;
  if (state_txn_is_read_only(txn)) {
    state_txn_destroy(txn);
    done(arg, STATE_COMMITTED, NULL);
    return;
  }
  snapshot_return(store, txn->snapshot); /* the versions suffice from here on; old pages are free sooner */
  txn->snapshot = NULL;
  txn->done = done;
  txn->arg = arg;
  txn->next = NULL;
  pthread_mutex_lock(&store->mutex);
  *store->queue_end = txn;
  store->queue_end = &txn->next;
  pthread_cond_signal(&store->wake);
  pthread_mutex_unlock(&store->mutex);
}

/* --- one batch ---------------------------------------------------------------------------------------------------- */

static int key_apply(const struct txn_key *k, MDB_txn *write, MDB_dbi dbi) {
  MDB_val key = {k->size, (void *)k->bytes};
  if (k->is_delete) {
    int rc = mdb_del(write, dbi, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
  }
  return state_write(write, dbi, k->bytes, k->size, k->value, k->value_size);
}

static int txn_apply(struct state_txn *txn, MDB_txn *write) {
  bool is_valid;
  int rc = state_validate(txn, write, &is_valid);
  if (state_was_cleared(txn->store, txn->space, txn->began)) is_valid = false;
  txn->outcome = is_valid ? STATE_COMMITTED : STATE_CONFLICT;
  if (!is_valid) return rc;
  for (struct txn_key *k = txn->keys; k && !rc; k = k->next)
    if (k->is_written) rc = key_apply(k, write, txn->store->dbi);
  return rc;
}

/* Applies the transactions from `first` up to `end`; on an error nothing has happened. */
static int try_batch(struct state_store *store, struct state_txn *first, const struct state_txn *end) {
  MDB_txn *write;
  int rc = mdb_txn_begin(store->env, NULL, 0, &write);
  if (rc) return rc;
  bool is_any = false;
  for (struct state_txn *t = first; t != end && !rc; t = t->next) {
    rc = txn_apply(t, write);
    is_any |= t->outcome == STATE_COMMITTED;
  }
  if (!rc && is_any) return mdb_txn_commit(write);
  mdb_txn_abort(write);
  return rc;
}

/* Tells the owner and forgets the transaction. */
static void txn_finish(struct state_txn *txn, int rc) {
  struct gw_error err = {0};
  if (rc) {
    state_fail(txn->store, "write to", rc, &err);
    txn->outcome = STATE_FAILED;
  }
  state_done_fn done = txn->done;
  void *arg = txn->arg;
  enum state_outcome outcome = txn->outcome;
  state_txn_destroy(txn);
  done(arg, outcome, rc ? &err : NULL);
}

/* One transaction may be too large for what is left of the map; that must not fail its neighbours. */
static bool is_of_one_txn(int rc) { return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL; }

static void commit_batch(struct state_store *store, struct state_txn *first) {
  int rc = try_batch(store, first, NULL);
  bool one_by_one = is_of_one_txn(rc) && first->next;
  for (struct state_txn *t = first, *next; t; t = next) {
    next = t->next;
    if (one_by_one) rc = try_batch(store, t, next);
    txn_finish(t, rc);
  }
}

void *state_committer(void *arg) {
  struct state_store *store = arg;
  for (;;) {
    pthread_mutex_lock(&store->mutex);
    while (!store->queue && !store->is_closing) pthread_cond_wait(&store->wake, &store->mutex);
    struct state_txn *batch = store->queue;
    store->queue = NULL;
    store->queue_end = &store->queue;
    pthread_mutex_unlock(&store->mutex);
    if (!batch) return NULL;
    commit_batch(store, batch);
  }
}

/* --- synchronous forms -------------------------------------------------------------------------------------------- */

struct waiter {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool is_done;
  enum state_outcome outcome;
  struct gw_error *err;
};

static void waiter_done(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  struct waiter *w = arg;
  pthread_mutex_lock(&w->mutex);
  w->outcome = outcome;
  if (err && w->err && w->err->code == GW_ERROR_NONE) *w->err = *err;
  w->is_done = true;
  pthread_cond_signal(&w->cond); /* under the mutex: the waiter's frame is gone once it can lock it */
  pthread_mutex_unlock(&w->mutex);
}

/* Blind writes never conflict, so committed and failed are the only outcomes here. */
static bool commit_and_wait(struct state_txn *txn, struct gw_error *err) {
  struct waiter w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .err = err};
  state_txn_commit(txn, waiter_done, &w);
  pthread_mutex_lock(&w.mutex);
  while (!w.is_done) pthread_cond_wait(&w.cond, &w.mutex);
  pthread_mutex_unlock(&w.mutex);
  pthread_cond_destroy(&w.cond);
  pthread_mutex_destroy(&w.mutex);
  return w.outcome == STATE_COMMITTED;
}

bool state_put(struct state_store *store, const char *space, const void *key, size_t key_size, const void *value,
               size_t value_size, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(store, space);
  if (state_txn_set(txn, key, key_size, value, value_size, err)) return commit_and_wait(txn, err);
  state_txn_abort(txn);
  return false;
}

bool state_remove(struct state_store *store, const char *space, const void *key, size_t key_size, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(store, space);
  if (state_txn_delete(txn, key, key_size, err)) return commit_and_wait(txn, err);
  state_txn_abort(txn);
  return false;
}
