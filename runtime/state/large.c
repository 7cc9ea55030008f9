/* Large values as a transaction sees them: bytes that are read and written at offsets, in chunks which are keys of their own.
 * Their records and chunks are described in store_ops.h.
 *
 * What is open is a struct state_large, whose key may change or go away; with the last key the chunks go, too. A value that is
 * one record is copied when it is opened, and becomes a large one with the first write.
 *
 * The record says the size, so a write within it changes chunks alone. Of a chunk that is written as a whole nothing is read. */
#include "runtime/state/private.h"

#include "base/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

struct state_large {
  struct state_large *next;
  struct txn_key *name;    /* NULL: none any more */
  struct txn_key *origin;  /* where the store has the record; NULL: nowhere */
  struct txn_key *written; /* chunks */
  uint8_t id[LARGE_ID];
  uint32_t size, n_written;
  uint32_t kept;        /* chunks of the store from here on are gone */
  const uint8_t *plain; /* it is one record still, with these bytes */
};

static uint32_t n_chunks(uint64_t size) { return (uint32_t)((size + STATE_CHUNK - 1) / STATE_CHUNK); }

uint64_t state_large_size(const struct state_large *large) { return large->size; }
uint64_t state_large_n_written(const struct state_large *large) { return large->n_written; }
bool state_large_is_one(const struct state_large *large) { return large->plain; }
bool state_large_has_key(const struct state_large *large) { return large->name; }

uint64_t state_large_number(const struct state_large *large) {
  uint64_t number;
  memcpy(&number, large->id, sizeof number);
  return number;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

void state_large_detach(struct txn_key *k) {
  struct state_large *l = k->large;
  if (!l || l->name != k) return;
  l->name = NULL;
  if (l->origin) l->origin->key.is_moved = false;
  k->large = NULL;
}

static void encode(const struct state_large *l, uint8_t out[LARGE_RECORD]) {
  memcpy(out, l->id, LARGE_ID);
  for (int i = 0; i < 4; i++) out[LARGE_ID + i] = (uint8_t)(l->size >> 8 * i);
}

/* The key's value is this one from here on. */
static bool attach(struct state_txn *txn, struct state_large *l, struct txn_key *k, struct gw_error *err) {
  size_t size = l->plain ? l->size : LARGE_RECORD;
  if (!state_txn_reserve(txn, k, size, err) || !state_txn_may_write(txn, k, err)) return false;
  state_txn_mark_written(txn, k, false);
  if (l->plain && size)
    memcpy(k->key.value, l->plain, size);
  else if (!l->plain)
    encode(l, k->key.value);
  k->key.value_size = size;
  k->key.is_large = !l->plain;
  k->key.kept = l->kept;
  k->large = l;
  l->name = k;
  if (l->origin) l->origin->key.is_moved = l->origin != k;
  return true;
}

/* Its size has changed, or what is kept. */
static bool update(struct state_txn *txn, struct state_large *l, struct gw_error *err) {
  struct txn_key *k = l->name;
  return !k || attach(txn, l, k, err);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* Nobody can guess them, and they are the same when the invocation runs again on what it has recorded. */
static void make_id(struct state_txn *txn, uint8_t out[LARGE_ID]) {
  uint8_t digest[16];
  _Static_assert(sizeof digest >= LARGE_ID, "an id is a part of it");
  if (!txn->has_id_seed) randombytes_buf(txn->id_seed, sizeof txn->id_seed);
  txn->has_id_seed = true;
  uint64_t n = txn->n_ids++;
  crypto_generichash(digest, sizeof digest, (const uint8_t *)&n, sizeof n, txn->id_seed, sizeof txn->id_seed);
  memcpy(out, digest, LARGE_ID);
}

/* What is not used any more when the transaction is rewound. */
static void *alloc_passing(struct state_txn *txn, size_t size) {
  size_t before = txn->arena.used;
  void *p = arena_alloc(&txn->arena, size);
  txn->passing_bytes += txn->arena.used - before;
  return p;
}

static struct state_large *new_large(struct state_txn *txn, struct gw_error *err) {
  if (!state_txn_has_room(txn, sizeof(struct state_large), err)) return NULL;
  struct state_large *l = alloc_passing(txn, sizeof *l);
  *l = (struct state_large){.next = txn->larges, .kept = CHUNKS_ALL_KEPT};
  txn->larges = l;
  return l;
}

static struct state_large *make(struct state_txn *txn, struct txn_key *k, struct gw_error *err) {
  struct state_large *l = new_large(txn, err);
  if (!l) return NULL;
  make_id(txn, l->id);
  return attach(txn, l, k, err) ? l : NULL;
}

/* What a get has found. */
static struct state_large *open_found(struct state_txn *txn, struct txn_key *k, const uint8_t *value, size_t size,
                                      struct gw_error *err) {
  bool is_large = txn->found_large;
  struct state_large *l = new_large(txn, err);
  if (!l || !(k = state_txn_keep_key(txn, k, err))) return NULL;
  if (is_large) {
    memcpy(l->id, value, LARGE_ID);
    l->size = state_large_record_size(value);
    l->origin = k;
  } else {
    if (!state_txn_has_room(txn, size + 1, err)) return NULL;
    uint8_t *bytes = alloc_passing(txn, size + 1);
    if (size) memcpy(bytes, value, size);
    l->plain = bytes;
    l->size = (uint32_t)size;
    uint64_t number = XXH3_64bits(k->bytes, k->key.size); /* guests see it, so it is the same in every process */
    memcpy(l->id, &number, sizeof number);
  }
  l->name = k;
  return k->large = l;
}

int state_large_open(struct state_txn *txn, const void *key, size_t key_size, bool makes, struct state_large **out,
                     struct gw_error *err) {
  const void *value;
  size_t size;
  struct txn_key *k = state_txn_key(txn, key, key_size, err);
  *out = NULL;
  if (!k) return -1;
  if ((*out = k->large)) return 1;
  int found = state_txn_get_waiting(txn, k, &value, &size, err);
  if (found < 0 || (!found && !makes)) return found;
  *out = found ? open_found(txn, k, value, size, err) : make(txn, k, err);
  return *out ? 1 : -1;
}

bool state_large_create(struct state_txn *txn, const void *key, size_t key_size, struct state_large **out, struct gw_error *err) {
  struct txn_key *k = state_txn_key(txn, key, key_size, err);
  return k && (*out = make(txn, k, err));
}

/* --- chunks ------------------------------------------------------------------------------------------------------- */

static struct txn_key *chunk(struct state_txn *txn, const struct state_large *l, uint32_t number, struct gw_error *err) {
  uint8_t key[CHUNK_KEY], space[SPACE_SIZE];
  memcpy(space, txn->space, SPACE_SIZE);
  state_chunk_key(key, space, l->id, number);
  memcpy(txn->space, key, SPACE_SIZE);
  struct txn_key *k = state_txn_key(txn, key + SPACE_SIZE, CHUNK_KEY - SPACE_SIZE, err);
  memcpy(txn->space, space, SPACE_SIZE);
  return k;
}

static bool is_in_store(const struct state_large *l, uint32_t number) { return l->origin && number < l->kept; }

/* Its bytes; what is missing of them is zeros. */
static bool get_chunk(struct state_txn *txn, const struct state_large *l, struct txn_key *k, uint32_t number,
                      const uint8_t **bytes, size_t *size, struct gw_error *err) {
  const void *value = NULL;
  *size = 0;
  bool is_there = k->key.is_written || is_in_store(l, number);
  int found = is_there ? state_txn_get_waiting(txn, k, &value, size, err) : 0;
  *bytes = value;
  return found >= 0;
}

static bool write_chunk(struct state_txn *txn, struct state_large *l, uint32_t number, size_t at, const void *bytes, size_t n,
                        struct gw_error *err) {
  const uint8_t *old = NULL;
  size_t old_size = 0;
  struct txn_key *k = chunk(txn, l, number, err);
  if (!k || (n < STATE_CHUNK && !get_chunk(txn, l, k, number, &old, &old_size, err))) return false;
  size_t size = old_size > at + n ? old_size : at + n;
  bool was_written = k->key.is_written;
  if (!state_txn_reserve(txn, k, size, err) || !state_txn_may_write(txn, k, err)) return false;
  if (old_size) memmove(k->key.value, old, old_size); /* it may be the key's own, in another place */
  if (at > old_size) memset(k->key.value + old_size, 0, at - old_size);
  if (n) memcpy(k->key.value + at, bytes, n);
  k->key.value_size = size;
  state_txn_mark_written(txn, k, false);
  k->key.is_fresh = !is_in_store(l, number);
  k->large = l;
  if (was_written) return true;
  k->next_chunk = l->written;
  l->written = k;
  l->n_written++;
  return true;
}

static void forget(struct state_txn *txn, struct txn_key *k) {
  k->key.is_written = k->key.is_fresh = false;
  txn->n_writes--;
}

static uint32_t number_of(const struct txn_key *k) {
  const uint8_t *p = k->bytes + SPACE_SIZE + LARGE_ID;
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Those from `first` on. */
static void forget_chunks(struct state_txn *txn, struct state_large *l, uint32_t first) {
  for (struct txn_key **at = &l->written, *k; (k = *at);) {
    if (number_of(k) < first) {
      at = &k->next_chunk;
      continue;
    }
    *at = k->next_chunk;
    l->n_written--;
    forget(txn, k);
  }
}

void state_large_settle(struct state_txn *txn) {
  for (struct state_large *l = txn->larges; l; l = l->next)
    if (!l->name) forget_chunks(txn, l, 0);
}

/* --- reading and writing ------------------------------------------------------------------------------------------ */

static size_t piece_of(uint64_t offset, size_t n) {
  size_t left = STATE_CHUNK - offset % STATE_CHUNK;
  return n < left ? n : left;
}

static bool read_chunk(struct state_txn *txn, const struct state_large *l, uint64_t offset, uint8_t *out, size_t n,
                       struct gw_error *err) {
  const uint8_t *bytes;
  size_t at = offset % STATE_CHUNK, size;
  uint32_t number = (uint32_t)(offset / STATE_CHUNK);
  struct txn_key *k = chunk(txn, l, number, err);
  if (!k || !get_chunk(txn, l, k, number, &bytes, &size, err)) return false;
  size_t there = size <= at ? 0 : size - at < n ? size - at : n;
  if (there) memcpy(out, bytes + at, there);
  memset(out + there, 0, n - there);
  return true;
}

bool state_large_read(struct state_txn *txn, struct state_large *l, uint64_t offset, void *out, size_t n, struct gw_error *err) {
  if (l->plain) {
    if (n) memcpy(out, l->plain + offset, n);
    return true;
  }
  for (size_t done = 0, piece; done < n; done += piece) {
    piece = piece_of(offset + done, n - done);
    if (!read_chunk(txn, l, offset + done, (uint8_t *)out + done, piece, err)) return false;
  }
  return true;
}

static bool write_pieces(struct state_txn *txn, struct state_large *l, uint64_t offset, const uint8_t *bytes, size_t n,
                         struct gw_error *err) {
  for (size_t done = 0, piece; done < n; done += piece) {
    piece = piece_of(offset + done, n - done);
    if (!write_chunk(txn, l, (uint32_t)((offset + done) / STATE_CHUNK), (offset + done) % STATE_CHUNK, bytes + done, piece, err))
      return false;
  }
  return true;
}

/* The transaction has written nothing behind the end. */
static void cut_written(struct state_txn *txn, struct state_large *l) {
  forget_chunks(txn, l, n_chunks(l->size));
  for (struct txn_key *k = l->written; k && l->size % STATE_CHUNK; k = k->next_chunk)
    if (number_of(k) == l->size / STATE_CHUNK && k->key.value_size > l->size % STATE_CHUNK)
      k->key.value_size = l->size % STATE_CHUNK;
}

/* One record becomes chunks. */
static bool convert(struct state_txn *txn, struct state_large *l, struct gw_error *err) {
  const uint8_t *plain = l->plain;
  if (!plain) return true;
  make_id(txn, l->id);
  bool ok = write_pieces(txn, l, 0, plain, l->size, err);
  l->plain = NULL;
  if (ok && update(txn, l, err)) return true;
  l->plain = plain;
  forget_chunks(txn, l, 0); /* no record would tell of them */
  return false;
}

static bool size_is_valid(uint64_t size, struct gw_error *err) {
  if (size <= STATE_MAX_LARGE) return true;
  return error_set(err, GW_ERROR_LIMIT, "a state value has at most %d bytes", STATE_MAX_LARGE);
}

bool state_large_write(struct state_txn *txn, struct state_large *l, uint64_t offset, const void *bytes, size_t n,
                       struct gw_error *err) {
  if (!n) return true;
  if (!size_is_valid(offset, err) || !size_is_valid(offset + n, err) || !convert(txn, l, err)) return false;
  bool ok = write_pieces(txn, l, offset, bytes, n, err);
  if (ok && offset + n <= l->size) return true;
  uint32_t before = l->size;
  if (ok) l->size = (uint32_t)(offset + n);
  if (ok && update(txn, l, err)) return true;
  l->size = before;
  cut_written(txn, l);
  return false;
}

/* The last chunk that stays keeps nothing behind the end. */
static bool cut_chunk(struct state_txn *txn, struct state_large *l, uint32_t size, struct gw_error *err) {
  const uint8_t *bytes;
  uint32_t number = size / STATE_CHUNK;
  size_t stays = size % STATE_CHUNK, there;
  if (!stays) return true;
  struct txn_key *k = chunk(txn, l, number, err);
  if (!k || !get_chunk(txn, l, k, number, &bytes, &there, err)) return false;
  if (there <= stays) return true;
  if (!write_chunk(txn, l, number, 0, NULL, 0, err)) return false; /* as it is */
  k->key.value_size = stays;
  return true;
}

bool state_large_resize(struct state_txn *txn, struct state_large *l, uint64_t size, struct gw_error *err) {
  if (size == l->size) return true;
  if (!size_is_valid(size, err) || !convert(txn, l, err)) return false;
  if (size < l->size) {
    if (!cut_chunk(txn, l, (uint32_t)size, err)) return false;
    forget_chunks(txn, l, n_chunks(size));
    if (l->origin && n_chunks(size) < l->kept) l->kept = n_chunks(size);
  }
  l->size = (uint32_t)size;
  return update(txn, l, err);
}

bool state_large_move(struct state_txn *txn, struct state_large *l, const void *key, size_t key_size, struct gw_error *err) {
  struct txn_key *from = l->name, *to = state_txn_key(txn, key, key_size, err);
  if (!to || to == from) return to;
  if (!state_txn_may_write(txn, from, err)) return false;
  from->large = NULL;
  state_txn_mark_written(txn, from, true);
  return attach(txn, l, to, err);
}
