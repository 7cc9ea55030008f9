/* Lanes: transactions that would conflict on a key run one behind the other instead.
 *
 * When commits conflict on a key twice within a second, the key has a lane: who is about to read it enters, and waits there while
 * another transaction is in it. A transaction stays in its lanes until it is over, committed or not, and the first that waits
 * comes next, with a snapshot of then. So a counter that everybody adds to by a get and a set loses no request. A lane where
 * nobody has met anybody for a second is given up. What a range has lanes for are its bounds, as somebody scanned it.
 *
 * No circle of waiting: a transaction waits only for a lane behind all those that it is in, in the order of their hashes. Others
 * it enters if they are free; if not it goes on without, and may conflict. So it does where it is in MAX_LANES already.
 *
 * Who went on without and conflicted would again: it holds the lane of the key that it reads first, always. So the next attempt
 * enters the lanes of all that the last ones met before it reads anything, in the order of their hashes. One that may run ahead
 * does so at once, instead of going on to a conflict that it would hear of behind a sync.
 *
 * Running ahead. A lane would go at the pace of the disk's syncs if each waited until the one before is durable. So who commits
 * leaves the lane at once, and what it has written to the lane's key stays there: the next one reads that, and its commit comes
 * behind in the committer's queue, perhaps in the same batch. There the store compares: it must find the version that the one
 * before got. If that one conflicted, or anybody else wrote in between, the next conflicts, too, and all behind it. Its reply
 * leaves when its own commit is durable, so what it read is as well. Who does not run ahead waits until nothing in the lane is
 * under way.
 *
 * Lanes are the store's, for all threads. state_store.lanes.mutex guards them and is held for a few instructions; nothing is
 * called under it. Whoever leaves a lane hands it on: on its thread the store is asked what the next one wants to know. */
#include "runtime/state/private.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

_Static_assert(sizeof(((struct state_turns *)0)->hashes) / sizeof(uint64_t) == MAX_LANES, "a transaction has as many turns");

enum { COLD_MS = 1000 /* unless a test says otherwise */, HOT = 2, MOST_LANES = 4096 };

/* A key on which commits have conflicted. */
struct lane {
  struct lane *next;
  uint64_t hash;
  uint64_t met_ms; /* when somebody last met somebody */
  uint32_t heat;   /* conflicts, up to HOT: from then on it is open */
  bool is_range;   /* of scans, not of a key */
  struct state_txn *inside, *first, **end;
  struct ahead *pending; /* what the last one wrote, until that is durable */
};

void state_ahead_release(struct ahead *a) {
  if (a && atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1) free(a);
}

static struct ahead *retain(struct ahead *a) {
  atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
  return a;
}

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000; }

static struct lane **lane_place(struct lanes *lanes, uint64_t hash) {
  struct lane **place = &lanes->table[hash % LANE_TABLE];
  while (*place && (*place)->hash != hash) place = &(*place)->next;
  return place;
}

static void lane_remove(struct lanes *lanes, struct lane **place) {
  struct lane *lane = *place;
  *place = lane->next;
  if (lane->heat == HOT) atomic_fetch_sub(&lanes->n_open[lane->hash % LANE_TABLE], 1);
  lanes->n--;
  state_ahead_release(lane->pending);
  free(lane);
}

static bool lane_is_cold(const struct lanes *lanes, const struct lane *lane, uint64_t now) {
  return !lane->inside && !lane->pending && now - lane->met_ms > lanes->cold_ms;
}

static void sweep(struct lanes *lanes, uint64_t now) {
  for (size_t i = 0; i < LANE_TABLE; i++)
    for (struct lane **place = &lanes->table[i]; *place;)
      if (lane_is_cold(lanes, *place, now))
        lane_remove(lanes, place);
      else
        place = &(*place)->next;
}

static struct lane *lane_make(struct lanes *lanes, struct lane **place, uint64_t hash, uint64_t now) {
  if (lanes->n == MOST_LANES && now - lanes->swept_ms > lanes->cold_ms) {
    lanes->swept_ms = now;
    sweep(lanes, now);
    place = lane_place(lanes, hash);
  }
  if (lanes->n == MOST_LANES) return NULL;
  struct lane *lane = calloc(1, sizeof *lane);
  if (!lane) return NULL;
  *lane = (struct lane){.next = *place, .hash = hash, .end = &lane->first};
  *place = lane;
  lanes->n++;
  return lane;
}

void state_lane_heat(struct state_store *store, uint64_t hash, bool is_range) {
  struct lanes *lanes = &store->lanes;
  uint64_t now = now_ms();
  pthread_mutex_lock(&lanes->mutex);
  struct lane **place = lane_place(lanes, hash), *lane = *place ? *place : lane_make(lanes, place, hash, now);
  if (lane && !lane->heat) lane->is_range = is_range; /* nobody is in it yet */
  if (lane && lane->heat < HOT) {
    if (now - lane->met_ms > lanes->cold_ms) lane->heat = 0;
    if (++lane->heat == HOT) atomic_fetch_add(&lanes->n_open[hash % LANE_TABLE], 1);
  }
  if (lane) lane->met_ms = now;
  pthread_mutex_unlock(&lanes->mutex);
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

static bool is_in(const struct state_txn *txn, const struct lane *lane) {
  for (int i = 0; i < txn->n_lanes; i++)
    if (txn->lanes[i] == lane) return true;
  return false;
}

static bool may_wait(const struct state_txn *txn, const struct lane *lane) {
  for (int i = 0; i < txn->n_lanes; i++)
    if (txn->lanes[i]->hash > lane->hash) return false;
  return true;
}

static void take_lane(struct state_txn *txn, struct lane *lane) {
  lane->inside = txn;
  txn->lanes[txn->n_lanes++] = lane;
  if (lane->pending) txn->took[txn->n_took++] = retain(lane->pending);
}

/* Nobody is inside, and nothing is under way that the transaction would have to wait for. */
static bool is_free_for(const struct lane *lane, const struct state_txn *txn) {
  return !lane->inside && (!lane->pending || (txn->waits_ahead && txn->n_took < MAX_LANES));
}

static void queue(struct state_txn *txn, struct lane *lane, state_resume_fn resume) {
  txn->resume = resume;
  txn->waits_for = lane;
  txn->next_in_lane = NULL;
  *lane->end = txn;
  lane->end = &txn->next_in_lane;
}

/* Under the mutex: what becomes of a transaction that is about to read what the open lane is for. */
static enum lane_entry enter(struct lanes *lanes, struct lane **place, struct state_txn *txn, state_resume_fn resume) {
  struct lane *lane = *place;
  uint64_t now = now_ms();
  if (!lane || lane->heat < HOT || is_in(txn, lane)) return LANE_NONE;
  if (lane_is_cold(lanes, lane, now)) {
    lane_remove(lanes, place);
    return LANE_NONE;
  }
  if (txn->n_lanes == MAX_LANES) return LANE_NONE;
  if (is_free_for(lane, txn) && !lane->first) {
    take_lane(txn, lane);
    return LANE_ENTERED;
  }
  lane->met_ms = now;
  if (!may_wait(txn, lane)) return txn->waits_ahead && txn->turns ? LANE_CROSSED : LANE_NONE;
  queue(txn, lane, resume);
  return LANE_WAITS;
}

/* When it waits, it may be gone already. */
static enum lane_entry enter_one(struct state_txn *txn, uint64_t hash, state_resume_fn resume) {
  struct lanes *lanes = &txn->store->lanes;
  pthread_mutex_lock(&lanes->mutex);
  enum lane_entry entry = enter(lanes, lane_place(lanes, hash), txn, resume);
  pthread_mutex_unlock(&lanes->mutex);
  return entry;
}

static void resume_wanted(struct state_txn *txn);

/* The rest of what is wanted, and then what is read. */
static enum lane_entry enter_all(struct state_txn *txn) {
  enum lane_entry all = LANE_NONE;
  while (txn->n_tried < txn->wanted.n) {
    enum lane_entry entry = enter_one(txn, txn->wanted.hashes[txn->n_tried++], resume_wanted);
    if (entry == LANE_WAITS) return LANE_WAITS;
    if (entry == LANE_ENTERED) all = LANE_ENTERED;
  }
  enum lane_entry last = enter_one(txn, txn->then, txn->then_resume);
  return last == LANE_NONE ? all : last;
}

/* Its turn has come in one of them. */
static void resume_wanted(struct state_txn *txn) {
  state_resume_fn resume = txn->then_resume;
  if (enter_all(txn) != LANE_WAITS) resume(txn);
}

static void turns_add(struct state_turns *turns, uint64_t hash) {
  uint32_t at = 0;
  while (at < turns->n && turns->hashes[at] < hash) at++;
  if (turns->n == MAX_LANES || (at < turns->n && turns->hashes[at] == hash)) return;
  memmove(turns->hashes + at + 1, turns->hashes + at, (turns->n - at) * sizeof *turns->hashes);
  turns->hashes[at] = hash;
  turns->n++;
}

enum lane_entry state_lane_enter(struct state_txn *txn, uint64_t hash, state_resume_fn resume) {
  struct lanes *lanes = &txn->store->lanes;
  bool is_open = atomic_load_explicit(&lanes->n_open[hash % LANE_TABLE], memory_order_relaxed);
  if (txn->skips_lanes || (!is_open && txn->n_tried == txn->wanted.n)) return LANE_NONE;
  txn->then = hash;
  txn->then_resume = resume;
  txn->waits_ahead = txn->may_run_ahead && !memcmp(txn->space, txn->own_space, SPACE_SIZE);
  state_txn_begin_ask(txn); /* before others can see it */
  enum lane_entry entry = enter_all(txn);
  if (entry == LANE_CROSSED) turns_add(txn->turns, hash);
  if (entry != LANE_WAITS) atomic_store_explicit(&txn->get_state, GET_NONE, memory_order_relaxed);
  return entry;
}

void state_lane_note(struct state_txn *txn, uint64_t hash) {
  if (hash) turns_add(txn->turns, hash);
  for (int i = 0; i < txn->n_lanes; i++) turns_add(txn->turns, txn->lanes[i]->hash);
}

bool state_lane_unqueue(struct state_txn *txn) {
  struct lanes *lanes = &txn->store->lanes;
  pthread_mutex_lock(&lanes->mutex);
  struct lane *lane = txn->waits_for;
  txn->waits_for = NULL;
  if (lane) {
    struct state_txn **at = &lane->first;
    while (*at != txn) at = &(*at)->next_in_lane;
    *at = txn->next_in_lane;
    if (!*at) lane->end = at;
  }
  pthread_mutex_unlock(&lanes->mutex);
  return lane != NULL;
}

/* Under the mutex: who comes next in the lane, or NULL. */
static struct state_txn *let_in(struct lane *lane) {
  struct state_txn *next = lane->first;
  if (!next || !is_free_for(lane, next)) return NULL;
  lane->first = next->next_in_lane;
  if (!lane->first) lane->end = &lane->first;
  next->waits_for = NULL;
  lane->met_ms = now_ms();
  take_lane(next, lane);
  return next;
}

static struct state_txn *hand_on(struct lanes *lanes, struct lane *lane) {
  pthread_mutex_lock(&lanes->mutex);
  lane->inside = NULL;
  struct state_txn *next = let_in(lane);
  pthread_mutex_unlock(&lanes->mutex);
  return next;
}

void state_lane_leave(struct state_txn *txn) {
  while (txn->n_lanes) {
    struct state_txn *next = hand_on(&txn->store->lanes, txn->lanes[--txn->n_lanes]);
    if (next) next->resume(next);
  }
}

/* --- running ahead ------------------------------------------------------------------------------------------------ */

enum { MOST_AHEAD = 64 << 10 /* bytes of a value that is handed on */ };

static struct txn_key *key_of(const struct state_txn *txn, const struct lane *lane) {
  for (struct store_key *k = txn->keys; k; k = k->next)
    if (((struct txn_key *)k)->hash == lane->hash) return (struct txn_key *)k;
  return NULL;
}

/* What is plain enough. */
static bool can_hand_on(const struct txn_key *k) {
  const struct store_key *s = &k->key;
  return s->is_written && !s->is_delete && !s->is_add && !s->is_large && !s->is_moved && s->value_size <= MOST_AHEAD;
}

static struct ahead *ahead_of(struct txn_key *k) {
  struct ahead *a = malloc(sizeof *a + k->key.size + k->key.value_size);
  if (!a) return NULL;
  *a = (struct ahead){.hash = k->hash, .key_size = k->key.size, .value_size = k->key.value_size};
  atomic_init(&a->refs, 2); /* the transaction's and the lane's */
  memcpy(a->bytes, k->bytes, k->key.size);
  if (k->key.value_size) memcpy(a->bytes + k->key.size, k->key.value, k->key.value_size);
  k->key.hands_on = &a->store;
  return a;
}

/* Whether the transaction has left the lane; a lane of a range, or of what it has not written so, it keeps until it is over. */
static bool pass(struct state_txn *txn, struct lane *lane, struct state_txn **next) {
  struct lanes *lanes = &txn->store->lanes;
  struct txn_key *k = key_of(txn, lane);
  bool is_unchanged = !lane->is_range && !(k && k->key.is_written); /* it may have come for what it met before, and not here */
  struct ahead *a = k && can_hand_on(k) ? ahead_of(k) : NULL;
  if (!a && !is_unchanged) return false;
  if (a) txn->handed[txn->n_handed++] = a;
  if (txn->turns) turns_add(txn->turns, lane->hash); /* it may conflict after all */
  pthread_mutex_lock(&lanes->mutex);
  lane->inside = NULL;
  if (a) {
    state_ahead_release(lane->pending);
    lane->pending = a;
  }
  *next = let_in(lane);
  pthread_mutex_unlock(&lanes->mutex);
  return true;
}

int state_lane_pass(struct state_txn *txn, struct state_txn *next[MAX_LANES]) {
  int n_next = 0, n_kept = 0;
  for (int i = 0; i < txn->n_lanes; i++) {
    struct lane *lane = txn->lanes[i];
    struct state_txn *one = NULL;
    if (!pass(txn, lane, &one)) txn->lanes[n_kept++] = lane;
    if (one) next[n_next++] = one;
  }
  txn->n_lanes = n_kept;
  return n_next;
}

void state_lane_resume(struct state_txn *const next[MAX_LANES], int n) {
  for (int i = 0; i < n; i++) next[i]->resume(next[i]);
}

/* The lane may have a later one's by now, or be gone. */
static struct state_txn *settle(struct lanes *lanes, struct ahead *a) {
  struct state_txn *next = NULL;
  pthread_mutex_lock(&lanes->mutex);
  struct lane *lane = *lane_place(lanes, a->hash);
  if (lane && lane->pending == a) {
    lane->pending = NULL;
    state_ahead_release(a);
    next = let_in(lane);
  }
  pthread_mutex_unlock(&lanes->mutex);
  state_ahead_release(a);
  return next;
}

void state_lane_settle(struct state_txn *txn) {
  while (txn->n_handed) {
    struct state_txn *next = settle(&txn->store->lanes, txn->handed[--txn->n_handed]);
    if (next) next->resume(next);
  }
}

/* --- the store's -------------------------------------------------------------------------------------------------- */

void state_lanes_init(struct lanes *lanes) {
  pthread_mutex_init(&lanes->mutex, NULL);
  lanes->cold_ms = COLD_MS;
}

void state_lanes_clear(struct lanes *lanes) {
  for (size_t i = 0; i < LANE_TABLE; i++)
    while (lanes->table[i]) lane_remove(lanes, &lanes->table[i]);
  pthread_mutex_destroy(&lanes->mutex);
}
