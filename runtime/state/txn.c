/* Transactions: reads on a snapshot, buffered writes, one table of keys. */
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
  state_space_digest(txn->space, space);
  return txn;
}

void state_txn_limit(struct state_txn *txn, uint64_t bytes) { txn->limit = bytes; }

void state_txn_destroy(struct state_txn *txn) {
  state_txn_return_snapshot(txn);
  arena_clear(&txn->arena);
  free(txn);
}

void state_txn_abort(struct state_txn *txn) {
  if (!txn) return;
  enum get_state state = atomic_load_explicit(&txn->get_state, memory_order_acquire);
  while (state == GET_ASKED || state == GET_AWAITED)
    if (atomic_compare_exchange_strong(&txn->get_state, &state, GET_FORSAKEN)) return;
  state_txn_destroy(txn);
}

void state_txn_rewind(struct state_txn *txn) {
  for (struct store_key *k = txn->keys; k; k = k->next) k->is_written = k->is_delete = false;
  txn->n_writes = 0;
}

bool state_txn_is_read_only(const struct state_txn *txn) { return txn->n_writes == 0; }

/* --- the table of keys -------------------------------------------------------------------------------------------- */

static bool txn_has_room(const struct state_txn *txn, size_t size, struct gw_error *err) {
  if (txn->arena.used + size <= TXN_MAX_BYTES) return true;
  return error_set(err, GW_ERROR_LIMIT, "one invocation's state exceeds the limit of %d bytes", TXN_MAX_BYTES);
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

/* The entry of a key, made when it is new; NULL: err says why. */
static struct txn_key *txn_key(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err) {
  if (key_size < 1 || key_size > STATE_MAX_KEY) {
    error_set(err, GW_ERROR_LIMIT, "a state key has 1 to %d bytes, this one has %zu", STATE_MAX_KEY, key_size);
    return NULL;
  }
  if (2 * (txn->n_keys + 1) > txn->n_table) {
    if (!txn_has_room(txn, 2 * txn->n_table * sizeof *txn->table, err)) return NULL;
    table_grow(txn);
  }
  uint8_t bytes[SPACE_SIZE + STATE_MAX_KEY];
  size_t size = SPACE_SIZE + key_size;
  memcpy(bytes, txn->space, SPACE_SIZE);
  memcpy(bytes + SPACE_SIZE, key, key_size);
  uint64_t hash;
  crypto_shorthash((uint8_t *)&hash, bytes, size, txn->store->hash_key);
  struct txn_key **place = table_place(txn->table, txn->n_table, hash, bytes, size);
  if (*place) return *place;
  if (!txn_has_room(txn, sizeof **place + size, err)) return NULL;
  struct txn_key *k = arena_alloc(&txn->arena, sizeof *k + size);
  k->hash = hash;
  k->key.size = size;
  k->key.bytes = memcpy(k->bytes, bytes, size);
  *txn->keys_end = &k->key;
  txn->keys_end = &k->key.next;
  txn->n_keys++;
  *place = k;
  return k;
}

/* --- snapshots ---------------------------------------------------------------------------------------------------- */

enum { MAX_SNAPSHOT_AGE_MS = 200 };

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000; }

void state_txn_return_snapshot(struct state_txn *txn) {
  struct store *store = txn->store->store;
  if (txn->snapshot) store->ops->give_back(store, txn->snapshot);
  txn->snapshot = NULL;
}

void state_txn_refresh(struct state_txn *txn) {
  if (!txn->snapshot || now_ms() - txn->taken_ms < MAX_SNAPSHOT_AGE_MS) return;
  state_txn_return_snapshot(txn);
  txn->must_validate = true;
}

bool state_txn_is_stale(const struct state_txn *txn) { return txn->is_stale; }

static bool take_snapshot(struct state_txn *txn, struct gw_error *err) {
  struct store *store = txn->store->store;
  if (!(txn->snapshot = store->ops->take(store, err))) return false;
  txn->taken_ms = now_ms();
  return true;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Where the store answers, on any thread. Whoever comes last of it and an abort frees the transaction; and once the state says
 * that it is answered, the transaction may be gone. */
static void on_get(struct store_get *get) {
  struct state_txn *txn = (struct state_txn *)((char *)get - offsetof(struct state_txn, get));
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

/* Hands the question over. A snapshot that replaces another is good only if what was read is the same there, which the store
 * finds out with the first read. */
static void ask(struct state_txn *txn, struct txn_key *k) {
  struct store *store = txn->store->store;
  txn->asked = k;
  txn->wake = NULL;
  txn->get.done = on_get;
  txn->get.snapshot = txn->snapshot;
  txn->get.key = &k->key;
  txn->get.check = txn->must_validate ? txn->keys : NULL;
  atomic_store_explicit(&txn->get_state, GET_ASKED, memory_order_relaxed);
  store->ops->get(store, &txn->get);
}

static int fail_get(struct state_txn *txn, struct gw_error *err) {
  struct store_get *get = &txn->get;
  error_set(err, get->err.code, "%s", get->err.message);
  get->err = (struct gw_error){0};
  return -1;
}

int state_txn_answer(struct state_txn *txn, const void **value, size_t *value_size, struct gw_error *err) {
  struct store_get *get = &txn->get;
  struct store_key *k = &txn->asked->key;
  *value = NULL;
  *value_size = 0;
  if (get->err.code) return fail_get(txn, err);
  if (get->is_stale) {
    txn->is_stale = true;
    error_set(err, GW_ERROR_CONFLICT, "what was read has changed since");
    return -1;
  }
  txn->must_validate = false;
  k->is_read = true;
  k->version = get->version;
  if (!get->version) return 0;
  *value = get->value;
  *value_size = get->value_size;
  return 1;
}

int state_txn_get(struct state_txn *txn, const void *key, size_t key_size, const void **value, size_t *value_size,
                  struct gw_error *err) {
  *value = NULL;
  *value_size = 0;
  struct txn_key *k = txn_key(txn, key, key_size, err);
  if (!k) return -1;
  if (k->key.is_written) {
    if (k->key.is_delete) return 0;
    *value = k->key.value;
    *value_size = k->key.value_size;
    return 1;
  }
  if (!txn->snapshot && !take_snapshot(txn, err)) return -1;
  ask(txn, k);
  if (atomic_load_explicit(&txn->get_state, memory_order_acquire) != GET_ANSWERED) return STATE_PENDING;
  return state_txn_answer(txn, value, value_size, err);
}

void state_txn_await(struct state_txn *txn, state_wake_fn wake, void *arg) {
  enum get_state state = GET_ASKED;
  txn->wake = wake;
  txn->wake_arg = arg;
  if (!atomic_compare_exchange_strong(&txn->get_state, &state, GET_AWAITED)) wake(arg);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void key_mark_written(struct state_txn *txn, struct txn_key *k, bool is_delete) {
  if (!k->key.is_written) txn->n_writes++;
  k->key.is_written = true;
  k->key.is_delete = is_delete;
}

/* A key written again and again reuses its room, so that only what a transaction really holds counts. */
static bool key_reserve(struct state_txn *txn, struct txn_key *k, size_t size, struct gw_error *err) {
  if (k->key.value && k->value_capacity >= size) return true;
  size_t capacity = k->key.value ? 2 * k->value_capacity : size;
  if (capacity < size) capacity = size;
  if (capacity < 16) capacity = 16;
  if (!txn_has_room(txn, capacity, err)) return false;
  k->key.value = arena_alloc(&txn->arena, capacity);
  k->value_capacity = capacity;
  return true;
}

bool state_txn_set(struct state_txn *txn, const void *key, size_t key_size, const void *value, size_t value_size,
                   struct gw_error *err) {
  if (value_size > STATE_MAX_VALUE)
    return error_set(err, GW_ERROR_LIMIT, "a state value has at most %d bytes, this one has %zu", STATE_MAX_VALUE, value_size);
  struct txn_key *k = txn_key(txn, key, key_size, err);
  if (!k || !key_reserve(txn, k, value_size, err)) return false;
  if (value_size) memmove(k->key.value, value, value_size); /* it may come from a get of this key */
  k->key.value_size = value_size;
  key_mark_written(txn, k, false);
  return true;
}

bool state_txn_delete(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err) {
  struct txn_key *k = txn_key(txn, key, key_size, err);
  if (!k) return false;
  key_mark_written(txn, k, true);
  return true;
}
