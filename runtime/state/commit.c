/* Committing: one thread hands the store every transaction that is waiting, which validates and applies them in order and pays
 * for one sync. While it does, the next batch gathers. */
#include "runtime/state/private.h"

#include "base/error.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* On the store's thread: tells the owner and forgets the transaction. */
static void on_commit(struct store_commit *commit, enum state_outcome outcome, const struct gw_error *err) {
  struct state_txn *txn = (struct state_txn *)((char *)commit - offsetof(struct state_txn, commit));
  struct state_store *store = txn->store;
  state_done_fn done = txn->done;
  void *arg = txn->done_arg;
  state_txn_destroy(txn);
  done(arg, outcome, err);
  if (atomic_fetch_sub(&store->n_unanswered, 1) != 1) return;
  pthread_mutex_lock(&store->mutex);
  store->is_answered = true;
  pthread_cond_signal(&store->answered);
  pthread_mutex_unlock(&store->mutex);
}

void state_txn_commit(struct state_txn *txn, state_done_fn done, void *arg) {
  struct state_store *store = txn->store;
  if (state_txn_is_read_only(txn)) {
    state_txn_destroy(txn);
    done(arg, STATE_COMMITTED, NULL);
    return;
  }
  state_txn_return_snapshot(txn); /* the versions suffice from here on; old pages are free sooner */
  txn->done = done;
  txn->done_arg = arg;
  txn->commit =
      (struct store_commit){.space = txn->space, .began = txn->began, .limit = txn->limit, .keys = txn->keys, .done = on_commit};
  pthread_mutex_lock(&store->mutex);
  *store->queue_end = &txn->commit;
  store->queue_end = &txn->commit.next;
  pthread_cond_signal(&store->wake);
  pthread_mutex_unlock(&store->mutex);
}

/* --- the committer ------------------------------------------------------------------------------------------------ */

/* All that waits, or NULL: nothing ever will. */
static struct store_commit *next_batch(struct state_store *store) {
  pthread_mutex_lock(&store->mutex);
  while (!store->queue && !store->is_closing) pthread_cond_wait(&store->wake, &store->mutex);
  struct store_commit *batch = store->queue;
  store->queue = NULL;
  store->queue_end = &store->queue;
  store->is_answered = false;
  pthread_mutex_unlock(&store->mutex);
  return batch;
}

static void wait_for_answers(struct state_store *store) {
  pthread_mutex_lock(&store->mutex);
  while (!store->is_answered) pthread_cond_wait(&store->answered, &store->mutex);
  pthread_mutex_unlock(&store->mutex);
}

static void *run_committer(void *arg) {
  struct state_store *store = arg;
  struct store_commit *batch;
  while ((batch = next_batch(store))) {
    size_t n = 0;
    for (const struct store_commit *c = batch; c; c = c->next) n++;
    atomic_store(&store->n_unanswered, n);
    store->store->ops->commit(store->store, batch);
    wait_for_answers(store);
  }
  return NULL;
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static void store_free(struct state_store *store) {
  store->store->ops->close(store->store);
  pthread_mutex_destroy(&store->mutex);
  pthread_cond_destroy(&store->wake);
  pthread_cond_destroy(&store->answered);
  free(store);
}

struct state_store *state_store_create(struct store *of, struct gw_error *err) {
  struct state_store *store = calloc(1, sizeof *store);
  if (!store || sodium_init() < 0) {
    of->ops->close(of);
    free(store);
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for the state store");
    return NULL;
  }
  pthread_mutex_init(&store->mutex, NULL);
  pthread_cond_init(&store->wake, NULL);
  pthread_cond_init(&store->answered, NULL);
  store->store = of;
  store->queue_end = &store->queue;
  randombytes_buf(store->hash_key, sizeof store->hash_key);
  int rc = pthread_create(&store->committer, NULL, run_committer, store);
  if (!rc) return store;
  error_set(err, GW_ERROR_STATE, "cannot start the state committer: %s", strerror(rc));
  store_free(store);
  return NULL;
}

void state_store_close(struct state_store *store) {
  if (!store) return;
  pthread_mutex_lock(&store->mutex);
  store->is_closing = true;
  pthread_cond_signal(&store->wake);
  pthread_mutex_unlock(&store->mutex);
  pthread_join(store->committer, NULL);
  store_free(store);
}
