/* Committing: one thread hands the store transactions that are waiting, which validates and applies them in order and pays
 * for one sync. While it does, the next batch gathers.
 *
 * A batch is small ones, as many as take some ten milliseconds, or a large one by itself. Where both wait they take turns. So a
 * small one waits for what is under way, and perhaps for one large one, however many of those there are. */
#include "runtime/state/private.h"

#include "base/error.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static struct state_txn *txn_of(struct store_commit *commit) {
  return (struct state_txn *)((char *)commit - offsetof(struct state_txn, commit));
}

/* Others will likely conflict on the same. */
static void heat(struct state_txn *txn) {
  const struct store_commit *c = &txn->commit;
  if (!c->changed_key && !c->changed_range) return;
  uint64_t hash = c->changed_key ? ((const struct txn_key *)c->changed_key)->hash : c->changed_range->hash;
  state_lane_heat(txn->store, hash, !c->changed_key);
  if (txn->turns) state_lane_note(txn, hash);
}

/* --- what is under way -------------------------------------------------------------------------------------------- */

static _Atomic uint16_t *under_way(struct state_txn *txn, const struct store_key *k) {
  return &txn->store->under_way[((const struct txn_key *)k)->hash % UNDER_WAY];
}

static void count_writes(struct state_txn *txn, uint16_t step) {
  for (const struct store_key *k = txn->keys; k; k = k->next)
    if (k->is_written) atomic_fetch_add_explicit(under_way(txn, k), step, memory_order_relaxed);
}

/* What it has read and somebody is about to write, who comes before: it will conflict, and so would all that ran ahead of it.
 * Better it begins again now. NULL: nothing that is known. */
static const struct store_key *lost_key(struct state_txn *txn) {
  if (!txn->may_run_ahead || !txn->n_lanes) return NULL;
  for (const struct store_key *k = txn->keys; k; k = k->next)
    if (k->is_read && !k->ahead && atomic_load_explicit(under_way(txn, k), memory_order_relaxed)) return k;
  return NULL;
}

static void lose(struct state_txn *txn, const struct store_key *k, state_done_fn done, void *arg) {
  txn->commit.changed_key = k;
  heat(txn);
  state_txn_destroy(txn);
  done(arg, STATE_CONFLICT, NULL);
}

/* On the store's thread: tells the owner and forgets the transaction. */
static void on_commit(struct store_commit *commit, enum state_outcome outcome, const struct gw_error *err) {
  struct state_txn *txn = txn_of(commit);
  struct state_store *store = txn->store;
  state_done_fn done = txn->done;
  if (outcome == STATE_CONFLICT) heat(txn);
  count_writes(txn, (uint16_t)-1);
  void *arg = txn->done_arg;
  state_lane_settle(txn);
  state_txn_destroy(txn);
  done(arg, outcome, err);
  if (atomic_fetch_sub(&store->n_unanswered, 1) != 1) return;
  pthread_mutex_lock(&store->mutex);
  store->is_answered = true;
  pthread_cond_signal(&store->answered);
  pthread_mutex_unlock(&store->mutex);
}

/* --- the queues --------------------------------------------------------------------------------------------------- */

static size_t n_keys(const struct state_txn *txn) { return txn->reads.n + txn->n_writes; }

static bool is_large(const struct state_txn *txn) { return n_keys(txn) > SMALL_KEYS || txn->arena.used > SMALL_BYTES; }

static void queue_init(struct commit_queue *queue) {
  queue->first = NULL;
  queue->end = &queue->first;
}

static void queue_push(struct commit_queue *queue, struct store_commit *commit) {
  *queue->end = commit;
  queue->end = &commit->next;
}

/* From the front up to so much, but one at least. */
static struct store_commit *queue_pop(struct commit_queue *queue, size_t most_keys, size_t most_bytes, size_t *n) {
  struct store_commit *first = queue->first, *last = first;
  size_t keys = n_keys(txn_of(first)), bytes = txn_of(first)->arena.used;
  *n = 1;
  while (last->next) {
    const struct state_txn *next = txn_of(last->next);
    keys += n_keys(next);
    bytes += next->arena.used;
    if (keys > most_keys || bytes > most_bytes) break;
    last = last->next;
    ++*n;
  }
  queue->first = last->next;
  if (!queue->first) queue->end = &queue->first;
  last->next = NULL;
  return first;
}

void state_txn_commit(struct state_txn *txn, state_done_fn done, void *arg) {
  struct state_store *store = txn->store;
  state_large_settle(txn);
  bool is_read_only = state_txn_is_read_only(txn);
  struct state_txn *next[MAX_LANES];
  if (is_read_only && !txn->has_run_ahead) {
    state_txn_destroy(txn);
    done(arg, STATE_COMMITTED, NULL);
    return;
  }
  const struct store_key *lost = lost_key(txn);
  if (lost) {
    lose(txn, lost, done, arg);
    return;
  }
  state_txn_return_snapshot(txn); /* the versions suffice from here on; old pages are free sooner */
  txn->done = done;
  txn->done_arg = arg;
  txn->commit = (struct store_commit){.space = txn->own_space,
                                      .began = txn->began,
                                      .limit = txn->limit,
                                      .keys = txn->keys,
                                      .ranges = txn->reads.ranges,
                                      .seal = is_read_only ? NULL : txn->seal,
                                      .done = on_commit};
  count_writes(txn, 1);
  int n_next = is_large(txn) ? 0 : state_lane_pass(txn, next);
  pthread_mutex_lock(&store->mutex);
  queue_push(is_large(txn) ? &store->large : &store->small, &txn->commit);
  pthread_cond_signal(&store->wake);
  pthread_mutex_unlock(&store->mutex);
  state_lane_resume(next, n_next); /* behind this one in the queue, so that it is stored when they are looked at */
}

/* --- the committer ------------------------------------------------------------------------------------------------ */

/* What comes next, or NULL: nothing ever will. */
static struct store_commit *next_batch(struct state_store *store, size_t *n) {
  struct commit_queue *small = &store->small, *large = &store->large;
  struct store_commit *batch = NULL;
  pthread_mutex_lock(&store->mutex);
  while (!small->first && !large->first && !store->is_closing) pthread_cond_wait(&store->wake, &store->mutex);
  bool is_large_next = large->first && (!small->first || !store->was_large);
  if (is_large_next)
    batch = queue_pop(large, 0, 0, n);
  else if (small->first)
    batch = queue_pop(small, BATCH_KEYS, BATCH_BYTES, n);
  store->was_large = is_large_next;
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
  size_t n;
  while ((batch = next_batch(store, &n))) {
    atomic_store(&store->n_unanswered, n);
    store->store->ops->commit(store->store, batch);
    wait_for_answers(store);
  }
  return NULL;
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static void store_free(struct state_store *store) {
  store->store->ops->close(store->store);
  state_lanes_clear(&store->lanes);
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
  state_lanes_init(&store->lanes);
  queue_init(&store->small);
  queue_init(&store->large);
  randombytes_buf(store->hash_key, sizeof store->hash_key);
  int rc = pthread_create(&store->committer, NULL, run_committer, store);
  if (!rc) return store;
  error_set(err, GW_ERROR_STATE, "cannot start the state committer: %s", strerror(rc));
  store_free(store);
  return NULL;
}

bool state_store_is_shared(const struct state_store *store) { return store->store->is_shared; }

const char *state_store_node(const struct state_store *store) { return store->store->node; }

bool state_store_is_away(const struct state_store *store) { return atomic_load(&store->store->is_away); }

bool state_store_copy(struct state_store *store, int fd, struct gw_error *err) {
  return store->store->ops->copy(store->store, fd, err);
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
