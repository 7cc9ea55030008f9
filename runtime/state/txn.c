/* Transactions: reads on a snapshot, buffered writes, one table of keys. Scans are in scan.c. */
#include "runtime/state/private.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void state_space_digest(uint8_t out[SPACE_SIZE], const char *space) {
  crypto_generichash(out, SPACE_SIZE, (const uint8_t *)space, strlen(space), NULL, 0);
}

struct state_txn *state_txn_begin(struct state_store *store, const char *space) {
  struct state_txn *txn = heap_new(1, sizeof *txn);
  txn->store = store;
  txn->keys_end = &txn->keys;
  txn->began = store->store->ops->moment(store->store);
  state_space_digest(txn->own_space, space);
  memcpy(txn->space, txn->own_space, SPACE_SIZE);
  return txn;
}

void state_txn_in(struct state_txn *txn, const char *space) {
  if (space)
    state_space_digest(txn->space, space);
  else
    memcpy(txn->space, txn->own_space, SPACE_SIZE);
}

void state_txn_expect_no_writes(struct state_txn *txn) { txn->skips_lanes = true; }

void state_txn_only_reads(struct state_txn *txn) { txn->only_reads = txn->skips_lanes = true; }
bool state_txn_is_for_reading(const struct state_txn *txn) { return txn->only_reads; }

void state_txn_run_ahead(struct state_txn *txn) { txn->may_run_ahead = true; }
bool state_txn_has_run_ahead(const struct state_txn *txn) { return txn->has_run_ahead; }

void state_txn_take_turns(struct state_txn *txn, struct state_turns *turns) {
  txn->turns = turns;
  txn->wanted = *turns;
}

void state_txn_note_turns(struct state_txn *txn) {
  if (txn->turns && txn->n_lanes) state_lane_note(txn, 0);
}

void state_txn_limit(struct state_txn *txn, uint64_t bytes) { txn->limit = bytes; }

void state_txn_destroy(struct state_txn *txn) {
  state_txn_return_snapshot(txn);
  state_lane_leave(txn);
  for (int i = 0; i < txn->n_took; i++) state_ahead_release(txn->took[i]);
  state_scan_free(txn);
  buffer_clear(&txn->kept);
  arena_clear(&txn->arena);
  free(txn);
}

void state_txn_abort(struct state_txn *txn) {
  if (!txn) return;
  enum get_state state = atomic_load_explicit(&txn->get_state, memory_order_acquire);
  if ((state == GET_ASKED || state == GET_AWAITED) && state_lane_unqueue(txn)) { /* nobody was asked yet */
    state_wake_fn wake = state == GET_AWAITED ? txn->wake : NULL;
    void *arg = txn->wake_arg;
    state_txn_destroy(txn);
    if (wake) wake(arg);
    return;
  }
  while (state == GET_ASKED || state == GET_AWAITED)
    if (atomic_compare_exchange_strong(&txn->get_state, &state, GET_FORSAKEN)) return;
  state_txn_destroy(txn);
}

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000; }

void state_txn_rewind(struct state_txn *txn) {
  for (struct store_key *k = txn->keys; k; k = k->next) {
    k->is_written = k->is_delete = k->is_add = k->is_large = k->is_moved = k->is_fresh = false;
    ((struct txn_key *)k)->large = NULL;
  }
  txn->larges = NULL;
  txn->n_ids = 0;
  if (txn->only_reads) txn->taken_ms = now_ms(); /* it reads as long again */
  txn->n_writes = txn->n_sorted = 0;
  txn->is_sorted = txn->has_read = txn->is_kept_full = false;
  txn->kept.size = txn->told_at = 0;
  /* Scans are made and values opened again. What they met before must still be the same in a newer snapshot. */
  txn->rewound_reads = 0;
  txn->rewound_bytes = txn->passing_bytes;
  for (const struct store_range *r = txn->reads.ranges; r; r = r->next) {
    txn->rewound_reads += 1 + r->n;
    txn->rewound_bytes += RANGE_BYTES;
  }
}

bool state_txn_is_read_only(const struct state_txn *txn) { return txn->n_writes == 0; }

/* --- the table of keys -------------------------------------------------------------------------------------------- */

bool state_txn_has_room(const struct state_txn *txn, size_t size, struct gw_error *err) {
  if (txn->arena.used + size <= TXN_MAX_BYTES + txn->rewound_bytes) return true;
  return error_set(err, GW_ERROR_LIMIT, "one invocation's state exceeds the limit of %d bytes", TXN_MAX_BYTES);
}

bool state_txn_count_reads(struct state_txn *txn, size_t n, struct gw_error *err) {
  if (txn->only_reads) return true;
  if (txn->reads.n + n <= STATE_MAX_READS + txn->rewound_reads) {
    txn->reads.n += n;
    return true;
  }
  return error_set(err, GW_ERROR_LIMIT, "one invocation reads at most %d keys", STATE_MAX_READS);
}

static struct txn_key **table_place(struct txn_key **table, size_t n_table, uint64_t hash, const uint8_t *bytes, size_t size) {
  for (size_t i = hash & (n_table - 1);; i = (i + 1) & (n_table - 1)) {
    struct txn_key *k = table[i];
    if (!k || (k->hash == hash && k->key.size == size && !memcmp(k->bytes, bytes, size))) return &table[i];
  }
}

static void table_grow(struct state_txn *txn) {
  size_t n = txn->n_table ? 2 * txn->n_table : 16;
  struct txn_key **table = arena_alloc_array(&txn->arena, n, sizeof *table);
  for (struct store_key *i = txn->keys; i; i = i->next) {
    struct txn_key *k = (struct txn_key *)i;
    *table_place(table, n, k->hash, k->bytes, i->size) = k;
  }
  txn->table = table;
  txn->n_table = n;
}

static struct txn_key *pass_key(struct state_txn *txn, uint64_t hash, const uint8_t *bytes, size_t size) {
  if (!txn->passing) txn->passing = arena_alloc(&txn->arena, sizeof *txn->passing + SPACE_SIZE + STATE_MAX_KEY);
  *txn->passing = (struct txn_key){.hash = hash, .key = {.size = size, .bytes = txn->passing->bytes}};
  memcpy(txn->passing->bytes, bytes, size);
  return txn->passing;
}

static struct txn_key *add_key(struct state_txn *txn, struct txn_key **place, uint64_t hash, const uint8_t *bytes, size_t size,
                               struct gw_error *err) {
  if (!state_txn_has_room(txn, sizeof **place + size, err)) return NULL;
  struct txn_key *k = arena_alloc(&txn->arena, sizeof *k + size);
  k->hash = hash;
  k->key.size = size;
  k->key.bytes = memcpy(k->bytes, bytes, size);
  *txn->keys_end = &k->key;
  txn->reads.keys = txn->keys;
  txn->keys_end = &k->key.next;
  txn->n_keys++;
  return *place = k;
}

static bool table_has_room(struct state_txn *txn, struct gw_error *err) {
  if (2 * (txn->n_keys + 1) <= txn->n_table) return true;
  if (!state_txn_has_room(txn, 2 * txn->n_table * sizeof *txn->table, err)) return false;
  table_grow(txn);
  return true;
}

struct txn_key *state_txn_keep_key(struct state_txn *txn, struct txn_key *k, struct gw_error *err) {
  if (k != txn->passing) return k;
  if (!table_has_room(txn, err)) return NULL;
  struct txn_key **place = table_place(txn->table, txn->n_table, k->hash, k->bytes, k->key.size);
  return *place ? *place : add_key(txn, place, k->hash, k->bytes, k->key.size, err);
}

struct txn_key *state_txn_key(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err) {
  if (key_size < 1 || key_size > STATE_MAX_KEY) {
    error_set(err, GW_ERROR_LIMIT, "a state key has 1 to %d bytes, this one has %zu", STATE_MAX_KEY, key_size);
    return NULL;
  }
  if (!table_has_room(txn, err)) return NULL;
  uint8_t bytes[SPACE_SIZE + STATE_MAX_KEY];
  size_t size = SPACE_SIZE + key_size;
  memcpy(bytes, txn->space, SPACE_SIZE);
  memcpy(bytes + SPACE_SIZE, key, key_size);
  uint64_t hash;
  crypto_shorthash((uint8_t *)&hash, bytes, size, txn->store->hash_key);
  struct txn_key **place = table_place(txn->table, txn->n_table, hash, bytes, size);
  if (*place) return *place;
  return txn->only_reads ? pass_key(txn, hash, bytes, size) : add_key(txn, place, hash, bytes, size, err);
}

/* --- snapshots ---------------------------------------------------------------------------------------------------- */

enum { MAX_SNAPSHOT_AGE_MS = 200 };

void state_txn_return_snapshot(struct state_txn *txn) {
  struct store *store = txn->store->store;
  if (txn->snapshot) store->ops->give_back(store, txn->snapshot);
  txn->snapshot = NULL;
}

void state_txn_renew(struct state_txn *txn) {
  if (!txn->snapshot) return;
  state_txn_return_snapshot(txn);
  txn->must_validate |= txn->reads.n > 0;
}

void state_txn_refresh(struct state_txn *txn) {
  if (txn->only_reads && txn->snapshot && now_ms() - txn->taken_ms >= STATE_MAX_READING_MS) {
    state_txn_return_snapshot(txn);
    txn->is_expired = true;
  }
  if (txn->only_reads) return;
  if (txn->snapshot && now_ms() - txn->taken_ms >= MAX_SNAPSHOT_AGE_MS) state_txn_renew(txn);
}

bool state_txn_is_stale(const struct state_txn *txn) { return txn->is_stale; }

bool state_txn_is_away(const struct state_txn *txn) { return txn->is_away; }

bool state_txn_take_snapshot(struct state_txn *txn, struct gw_error *err) {
  struct store *store = txn->store->store;
  if (txn->snapshot) return true;
  if (txn->is_expired)
    return error_set(err, GW_ERROR_STATE, "an invocation that may only read state reads for %d s at most",
                     STATE_MAX_READING_MS / 1000);
  if (!(txn->snapshot = store->ops->take(store, err))) return false;
  txn->taken_ms = now_ms();
  return true;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Where the store answers, on any thread. Whoever comes last of it and an abort frees the transaction; and once the state says
 * that it is answered, the transaction may be gone. */
void state_txn_on_answer(struct state_txn *txn) {
  enum get_state state = atomic_load_explicit(&txn->get_state, memory_order_acquire);
  state_wake_fn wake;
  void *arg;
  do {
    wake = state == GET_ASKED ? NULL : txn->wake;
    arg = state == GET_ASKED ? NULL : txn->wake_arg;
    if (state == GET_FORSAKEN) break;
  } while (!atomic_compare_exchange_strong(&txn->get_state, &state, GET_ANSWERED));
  if (state == GET_FORSAKEN) state_txn_destroy(txn);
  if (wake) wake(arg);
}

void state_txn_begin_ask(struct state_txn *txn) {
  txn->wake = NULL;
  atomic_store_explicit(&txn->get_state, GET_ASKED, memory_order_relaxed);
}

bool state_txn_is_answered(const struct state_txn *txn) {
  return atomic_load_explicit(&txn->get_state, memory_order_acquire) == GET_ANSWERED;
}

static void on_get(struct store_get *get) {
  state_txn_on_answer((struct state_txn *)((char *)get - offsetof(struct state_txn, get)));
}

/* Where the answer is what the transaction before has written, and the store does not have yet. */
static bool answer_ahead(struct state_txn *txn) {
  struct txn_key *k = txn->asked;
  if (k->key.is_read && !k->key.ahead) return false;
  for (int i = 0; i < txn->n_took; i++) {
    struct ahead *a = txn->took[i];
    if (a->hash != k->hash || a->key_size != k->key.size || memcmp(a->bytes, k->bytes, a->key_size) != 0) continue;
    txn->get.is_for_version = txn->asks_for_version;
    txn->get.value = a->bytes + a->key_size;
    txn->get.value_size = a->value_size;
    txn->get.version = 1; /* it is there; which one it is will be known at the commit */
    txn->get.is_large = txn->get.is_stale = false;
    k->key.ahead = &a->store;
    txn->has_run_ahead = txn->is_answered_ahead = true;
    return true;
  }
  return false;
}

static void send_get(struct state_txn *txn) {
  txn->is_answered_ahead = false;
  txn->get.done = on_get;
  txn->get.snapshot = txn->snapshot;
  txn->get.key = &txn->asked->key;
  txn->get.is_for_version = txn->asks_for_version;
  txn->get.is_of_one_moment = txn->only_reads;
  txn->get.check = txn->must_validate ? &txn->reads : NULL;
  txn->store->store->ops->get(txn->store->store, &txn->get);
}

/* Hands the question over: 1 answered, -1 failed, or STATE_PENDING. A snapshot that replaces another is good only if what was
 * read is the same there, which the store finds out with the first read. */
static int ask_store(struct state_txn *txn, struct gw_error *err) {
  if (!state_txn_take_snapshot(txn, err)) return -1;
  state_txn_begin_ask(txn);
  send_get(txn);
  return state_txn_is_answered(txn) ? 1 : STATE_PENDING;
}

/* Its turn has come in the key's lane. The state of the question stays what it is: the owner may wait for the answer already. */
static void resume_get(struct state_txn *txn) {
  state_txn_renew(txn);
  if (answer_ahead(txn))
    state_txn_on_answer(txn);
  else if (state_txn_take_snapshot(txn, &txn->get.err))
    send_get(txn);
  else
    state_txn_on_answer(txn);
}

enum question { ASK_VALUE, ASK_VERSION, ASK_TO_ADD };

/* ask_store, when it is the transaction's turn. To add is no reading; but what was read is what is added to. */
static int ask(struct state_txn *txn, struct txn_key *k, enum question question, struct gw_error *err) {
  txn->asked = k;
  txn->asks_for_version = question == ASK_VERSION;
  if (txn->is_told) return state_told_get(txn, question == ASK_TO_ADD), 1; /* what went wrong is in the answer */
  enum lane_entry entry = LANE_NONE;
  if (question != ASK_TO_ADD && !k->key.is_read) entry = state_lane_enter(txn, k->hash, resume_get);
  if (entry == LANE_WAITS) return STATE_PENDING;
  if (entry == LANE_CROSSED) {
    txn->is_stale = true;
    error_set(err, GW_ERROR_CONFLICT, "others are about to write what is read");
    return -1;
  }
  if (entry == LANE_ENTERED) state_txn_renew(txn);
  if ((question != ASK_TO_ADD || k->key.ahead) && txn->n_took && answer_ahead(txn)) return 1;
  return ask_store(txn, err);
}

static int fail_get(struct state_txn *txn, struct gw_error *err) {
  struct store_get *get = &txn->get;
  txn->is_away |= get->err.code == GW_ERROR_UNAVAILABLE;
  error_set(err, get->err.code, "%s", get->err.message);
  get->err = (struct gw_error){0};
  return -1;
}

/* Whether the store could answer the last get, on the same state as those before. */
static bool take_answer(struct state_txn *txn, struct gw_error *err) {
  const struct store_get *get = &txn->get;
  if (get->err.code) return fail_get(txn, err) >= 0;
  if (get->is_stale) {
    txn->is_stale = true;
    return error_set(err, GW_ERROR_CONFLICT, "what was read has changed since");
  }
  if (!txn->is_answered_ahead) txn->must_validate = false; /* the store has looked */
  return true;
}

static bool is_number(const struct store_get *get) { return !get->version || get->value_size == sizeof(int64_t); }

/* What was added, together with what is there. */
static int answer_sum(struct state_txn *txn, const void **value, size_t *value_size, struct gw_error *err) {
  const struct store_get *get = &txn->get;
  struct txn_key *k = txn->asked;
  k->sum = 0;
  if (!get->is_for_version && !is_number(get)) { /* since it was added to */
    txn->is_stale = true;
    error_set(err, GW_ERROR_CONFLICT, "what was added to has changed since");
    return -1;
  }
  if (get->version && !get->is_for_version) memcpy(&k->sum, get->value, sizeof k->sum);
  k->sum += (uint64_t)k->key.delta;
  txn->found_large = false;
  *value = &k->sum;
  *value_size = sizeof k->sum;
  state_note_read(txn, READ_VALUE, &k->key, &k->sum, sizeof k->sum);
  return 1;
}

int state_txn_answer(struct state_txn *txn, const void **value, size_t *value_size, struct gw_error *err) {
  const struct store_get *get = &txn->get;
  struct store_key *k = &txn->asked->key;
  *value = NULL;
  *value_size = 0;
  if (!take_answer(txn, err) || (!k->is_read && !state_txn_count_reads(txn, 1, err))) return -1;
  k->is_read = true;
  k->version = get->version;
  if (k->is_add) return answer_sum(txn, value, value_size, err);
  if (get->is_for_version)
    state_note_read(txn, READ_EXISTS, k, &(uint8_t){get->version != 0}, 1);
  else
    state_note_read(txn, !get->version ? READ_NOTHING : get->is_large ? READ_LARGE : READ_VALUE, k, get->value, get->value_size);
  if (!get->version) return 0;
  txn->found_large = get->is_large;
  *value = get->value;
  *value_size = get->value_size;
  return 1;
}

bool state_txn_found_large(const struct state_txn *txn) { return txn->found_large; }

int state_txn_get_key(struct state_txn *txn, struct txn_key *k, const void **value, size_t *value_size, struct gw_error *err) {
  *value = NULL;
  *value_size = 0;
  if (k->key.is_written && !k->key.is_add) {
    if (k->key.is_delete) return 0;
    txn->found_large = k->key.is_large;
    *value = k->key.value;
    *value_size = k->key.value_size;
    return 1;
  }
  int answered = ask(txn, k, ASK_VALUE, err);
  return answered == 1 ? state_txn_answer(txn, value, value_size, err) : answered;
}

int state_txn_get(struct state_txn *txn, const void *key, size_t key_size, const void **value, size_t *value_size,
                  struct gw_error *err) {
  struct txn_key *k = state_txn_key(txn, key, key_size, err);
  *value = NULL;
  *value_size = 0;
  return k ? state_txn_get_key(txn, k, value, value_size, err) : -1;
}

int state_txn_exists(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err) {
  const void *value;
  size_t value_size;
  struct txn_key *k = state_txn_key(txn, key, key_size, err);
  if (!k) return -1;
  if (k->key.is_written) return !k->key.is_delete;
  int answered = ask(txn, k, ASK_VERSION, err);
  return answered == 1 ? state_txn_answer(txn, &value, &value_size, err) : answered;
}

void state_txn_await(struct state_txn *txn, state_wake_fn wake, void *arg) {
  enum get_state state = GET_ASKED;
  txn->wake = wake;
  txn->wake_arg = arg;
  if (!atomic_compare_exchange_strong(&txn->get_state, &state, GET_AWAITED)) wake(arg);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

bool state_txn_may_write(struct state_txn *txn, struct txn_key *k, struct gw_error *err) {
  if (k->key.is_written) return true;
  if (txn->only_reads) return error_set(err, GW_ERROR_FORBIDDEN, "this invocation may only read state (read_only_get)");
  if (txn->n_writes == STATE_MAX_WRITES)
    return error_set(err, GW_ERROR_LIMIT, "one invocation writes at most %d keys", STATE_MAX_WRITES);
  return state_sorted_insert(txn, k, err);
}

/* What was added to gets a value of its own. The commit looks at numbers where something is added only, so that this was one is
 * something read from here on. */
static void read_added(struct state_txn *txn, struct txn_key *k) {
  if (!k->key.is_add || k->key.is_read) return;
  k->key.is_read = true;
  txn->reads.n++;
}

void state_txn_mark_written(struct state_txn *txn, struct txn_key *k, bool is_delete) {
  state_large_detach(k);
  read_added(txn, k);
  if (!k->key.is_written) txn->n_writes++;
  k->key.is_written = true;
  k->key.is_delete = is_delete;
  k->key.is_add = k->key.is_large = false;
}

bool state_txn_reserve(struct state_txn *txn, struct txn_key *k, size_t size, struct gw_error *err) {
  if (k->key.value && k->value_capacity >= size) return true;
  size_t capacity = k->key.value ? 2 * k->value_capacity : size;
  if (capacity < size) capacity = size;
  if (capacity < 16) capacity = 16;
  if (!state_txn_has_room(txn, capacity, err)) return false;
  k->key.value = arena_alloc(&txn->arena, capacity);
  k->value_capacity = capacity;
  return true;
}

bool state_txn_set(struct state_txn *txn, const void *key, size_t key_size, const void *value, size_t value_size,
                   struct gw_error *err) {
  if (value_size > STATE_MAX_VALUE)
    return error_set(err, GW_ERROR_LIMIT, "a state value has at most %d bytes, this one has %zu", STATE_MAX_VALUE, value_size);
  struct txn_key *k = state_txn_key(txn, key, key_size, err);
  if (!k || !state_txn_reserve(txn, k, value_size, err) || !state_txn_may_write(txn, k, err)) return false;
  if (value_size) memmove(k->key.value, value, value_size); /* it may come from a get of this key */
  k->key.value_size = value_size;
  state_txn_mark_written(txn, k, false);
  return true;
}

bool state_txn_delete(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err) {
  struct txn_key *k = state_txn_key(txn, key, key_size, err);
  if (!k || !state_txn_may_write(txn, k, err)) return false;
  state_txn_mark_written(txn, k, true);
  return true;
}

static int fail_add(size_t size, struct gw_error *err) {
  error_set(err, GW_ERROR_LIMIT, "only a value of 8 bytes is a number, this one has %zu", size);
  return -1;
}

/* To what the transaction itself has written. */
static int add_to_own(struct state_txn *txn, struct txn_key *k, int64_t delta, struct gw_error *err) {
  uint64_t number = 0;
  if (k->key.is_add) {
    state_large_detach(k); /* who has opened it has the number before */
    k->key.delta = (int64_t)((uint64_t)k->key.delta + (uint64_t)delta);
    return 1;
  }
  if (k->key.is_large) return fail_add(state_large_record_size(k->key.value), err);
  if (!k->key.is_delete && k->key.value_size != sizeof number) return fail_add(k->key.value_size, err);
  if (!k->key.is_delete) memcpy(&number, k->key.value, sizeof number);
  number += (uint64_t)delta;
  if (!state_txn_reserve(txn, k, sizeof number, err)) return -1;
  memcpy(k->key.value, &number, sizeof number);
  k->key.value_size = sizeof number;
  state_txn_mark_written(txn, k, false);
  return 1;
}

int state_txn_add(struct state_txn *txn, const void *key, size_t key_size, int64_t delta, struct gw_error *err) {
  struct txn_key *k = state_txn_key(txn, key, key_size, err);
  if (!k) return -1;
  if (k->key.is_written) return add_to_own(txn, k, delta, err);
  txn->delta = delta;
  int answered = ask(txn, k, ASK_TO_ADD, err);
  return answered == 1 ? state_txn_add_answer(txn, err) : answered;
}

/* Nothing depends on what is there but its size, which is looked at again at the commit; so it was not read. */
int state_txn_add_answer(struct state_txn *txn, struct gw_error *err) {
  struct txn_key *k = txn->asked;
  if (!take_answer(txn, err)) return -1;
  if (txn->kept_limit) state_keep_added(txn);
  if (txn->get.is_large) return fail_add(state_large_record_size(txn->get.value), err);
  if (!is_number(&txn->get)) return fail_add(txn->get.value_size, err);
  if (!state_txn_may_write(txn, k, err)) return -1;
  state_txn_mark_written(txn, k, false);
  if (!k->key.is_read) k->key.version = txn->get.version;
  k->key.is_add = true;
  k->key.delta = txn->delta;
  return 1;
}
