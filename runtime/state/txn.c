/* Transactions: reads on a snapshot, buffered writes, one table of keys. */
#include "runtime/state/private.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct state_txn *state_txn_begin(struct state_store *store, const char *space) {
  struct state_txn *txn = calloc(1, sizeof *txn);
  if (!txn) {
    fputs("gasworks: out of memory\n", stderr);
    abort();
  }
  txn->store = store;
  txn->keys_end = &txn->keys;
  txn->began = atomic_load(&store->n_clears);
  state_space_digest(txn->space, space);
  return txn;
}

void state_txn_destroy(struct state_txn *txn) {
  snapshot_return(txn->store, txn->snapshot);
  arena_clear(&txn->arena);
  free(txn);
}

void state_txn_abort(struct state_txn *txn) {
  if (txn) state_txn_destroy(txn);
}

void state_txn_rewind(struct state_txn *txn) {
  for (struct txn_key *k = txn->keys; k; k = k->next) k->is_written = k->is_delete = false;
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
    if (!k || (k->hash == hash && k->size == size && !memcmp(k->bytes, bytes, size))) return &table[i];
  }
}

static void table_grow(struct state_txn *txn) {
  size_t n = txn->n_table ? 2 * txn->n_table : 16;
  struct txn_key **table = arena_alloc_array(&txn->arena, n, sizeof *table);
  for (struct txn_key *k = txn->keys; k; k = k->next) *table_place(table, n, k->hash, k->bytes, k->size) = k;
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
  k->size = size;
  memcpy(k->bytes, bytes, size);
  *txn->keys_end = k;
  txn->keys_end = &k->next;
  txn->n_keys++;
  *place = k;
  return k;
}

/* --- validation --------------------------------------------------------------------------------------------------- */

int state_validate(const struct state_txn *txn, MDB_txn *now, bool *is_valid) {
  *is_valid = true;
  int rc = 0;
  for (const struct txn_key *k = txn->keys; k && *is_valid && !rc; k = k->next) {
    uint64_t version;
    if (k->is_read && state_read_version(now, txn->store->dbi, k->bytes, k->size, &version, &rc))
      *is_valid = version == k->version;
  }
  return rc;
}

/* --- snapshots ---------------------------------------------------------------------------------------------------- */

enum { MAX_SNAPSHOT_AGE_MS = 200 };

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000; }

void state_txn_refresh(struct state_txn *txn) {
  if (!txn->snapshot || now_ms() - txn->taken_ms < MAX_SNAPSHOT_AGE_MS) return;
  snapshot_return(txn->store, txn->snapshot);
  txn->snapshot = NULL;
  txn->must_validate = true;
}

bool state_txn_is_stale(const struct state_txn *txn) { return txn->is_stale; }

static bool take_snapshot(struct state_txn *txn, struct gw_error *err) {
  bool is_valid = true;
  int rc = 0;
  if (!(txn->snapshot = snapshot_take(txn->store, err))) return false;
  txn->taken_ms = now_ms();
  if (txn->must_validate) rc = state_validate(txn, txn->snapshot->txn, &is_valid);
  if (rc) return state_fail(txn->store, "read", rc, err);
  txn->must_validate = false;
  txn->is_stale = !is_valid;
  return is_valid || error_set(err, GW_ERROR_CONFLICT, "what was read has changed since");
}

/* --- reading and writing ------------------------------------------------------------------------------------------ */

int state_txn_get(struct state_txn *txn, const void *key, size_t key_size, const void **value, size_t *value_size,
                  struct gw_error *err) {
  *value = NULL;
  *value_size = 0;
  struct txn_key *k = txn_key(txn, key, key_size, err);
  if (!k) return -1;
  if (k->is_written) {
    if (k->is_delete) return 0;
    *value = k->value;
    *value_size = k->value_size;
    return 1;
  }
  if (!txn->snapshot && !take_snapshot(txn, err)) return -1;
  MDB_val stored;
  uint64_t version;
  int rc;
  if (!state_read(txn->snapshot->txn, txn->store->dbi, k->bytes, k->size, &stored, &version, &rc)) {
    state_fail(txn->store, "read", rc, err);
    return -1;
  }
  k->is_read = true;
  k->version = version;
  if (!version) return 0;
  *value = stored.mv_data;
  *value_size = stored.mv_size;
  return 1;
}

static void key_mark_written(struct state_txn *txn, struct txn_key *k, bool is_delete) {
  if (!k->is_written) txn->n_writes++;
  k->is_written = true;
  k->is_delete = is_delete;
}

/* A key written again and again reuses its room, so that only what a transaction really holds counts. */
static bool key_reserve(struct state_txn *txn, struct txn_key *k, size_t size, struct gw_error *err) {
  if (k->value && k->value_capacity >= size) return true;
  size_t capacity = k->value ? 2 * k->value_capacity : size;
  if (capacity < size) capacity = size;
  if (capacity < 16) capacity = 16;
  if (!txn_has_room(txn, capacity, err)) return false;
  k->value = arena_alloc(&txn->arena, capacity);
  k->value_capacity = capacity;
  return true;
}

bool state_txn_set(struct state_txn *txn, const void *key, size_t key_size, const void *value, size_t value_size,
                   struct gw_error *err) {
  if (value_size > STATE_MAX_VALUE)
    return error_set(err, GW_ERROR_LIMIT, "a state value has at most %d bytes, this one has %zu", STATE_MAX_VALUE, value_size);
  struct txn_key *k = txn_key(txn, key, key_size, err);
  if (!k || !key_reserve(txn, k, value_size, err)) return false;
  if (value_size) memmove(k->value, value, value_size); /* it may come from a get of this key */
  k->value_size = value_size;
  key_mark_written(txn, k, false);
  return true;
}

bool state_txn_delete(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err) {
  struct txn_key *k = txn_key(txn, key, key_size, err);
  if (!k) return false;
  key_mark_written(txn, k, true);
  return true;
}
