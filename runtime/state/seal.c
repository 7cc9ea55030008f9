/* Digests of what a transaction read and wrote, and what is stored with it (docs/receipts.md). */
#include "base/digest.h"
#include "runtime/state/private.h"

#include <string.h>

enum write_record { WRITTEN_DELETE, WRITTEN_VALUE, WRITTEN_ADD, WRITTEN_LARGE = 4 };

static void add_sized(struct sha256 *s, const void *bytes, size_t size) {
  uint64_t n = size;
  sha256_add(s, &n, sizeof n);
  if (size) sha256_add(s, bytes, size);
}

/* A large one by its digest: SHA-256 may take 4 ms for the largest where the processor has no instructions for it, BLAKE2b one,
 * and reads are noted on the loop. */
static void add_value(struct sha256 *s, const void *value, size_t size) {
  enum { LARGE_VALUE = 64 << 10 };
  if (size <= LARGE_VALUE) {
    add_sized(s, value, size);
    return;
  }
  uint64_t n = size;
  struct digest digest = digest_of(value, size);
  sha256_add(s, &n, sizeof n);
  sha256_add(s, digest.bytes, sizeof digest.bytes);
}

void state_digest_read(struct sha256 *s, enum read_record kind, const void *key, size_t key_size, const void *value,
                       size_t size) {
  uint8_t byte = (uint8_t)kind;
  sha256_add(s, &byte, 1);
  add_sized(s, key, key_size);
  if (kind != READ_NOTHING) add_value(s, value, size);
}

void state_note_read(struct state_txn *txn, enum read_record kind, const struct store_key *key, const void *value, size_t size) {
  if (!txn->has_read) sha256_begin(&txn->read);
  txn->has_read = true;
  state_digest_read(&txn->read, kind, key ? key->bytes : NULL, key ? key->size : 0, value, size);
  if (txn->kept_limit) state_keep_read(txn, (uint8_t)kind, key, value, size);
}

bool state_txn_read_digest(const struct state_txn *txn, uint8_t out[SHA256_SIZE]) {
  struct sha256 copy = txn->read;
  if (!txn->has_read) return false;
  sha256_end(&copy, out);
  return true;
}

static void add_written(struct sha256 *s, const struct store_key *k) {
  uint8_t byte = k->is_delete ? WRITTEN_DELETE : k->is_add ? WRITTEN_ADD : k->is_large ? WRITTEN_LARGE : WRITTEN_VALUE;
  sha256_add(s, &byte, 1);
  add_sized(s, k->bytes, k->size);
  if (k->is_add)
    add_sized(s, &k->delta, sizeof k->delta);
  else if (!k->is_delete)
    add_value(s, k->value, k->value_size);
  if (k->is_large && !k->is_delete) sha256_add(s, &k->kept, sizeof k->kept);
}

void state_txn_seal(struct state_txn *txn, struct state_seal *seal) { txn->seal = seal; }

static void digest_written(const struct store_key *keys, uint8_t out[SHA256_SIZE]) {
  struct sha256 s;
  sha256_begin(&s);
  for (const struct store_key *k = keys; k; k = k->next)
    if (k->is_written) add_written(&s, k);
  sha256_end(&s, out);
}

bool state_txn_written_digest(struct state_txn *txn, uint8_t out[SHA256_SIZE]) {
  state_large_settle(txn);
  if (state_txn_is_read_only(txn)) return false;
  digest_written(txn->keys, out);
  return true;
}

bool state_seal_make(struct store_commit *commit) {
  uint8_t written[SHA256_SIZE];
  digest_written(commit->keys, written);
  commit->is_unsealed = !commit->seal->make(commit->seal, written);
  return !commit->is_unsealed;
}

/* --- reading them again ------------------------------------------------------------------------------------------- */

#define SPACE "seals/" /* no function is called so */

void state_seal_space(uint8_t out[SPACE_SIZE]) { state_space_digest(out, SPACE); }

void state_garbage_space(uint8_t out[SPACE_SIZE]) { state_space_digest(out, "garbage/"); }

struct each {
  state_each_seal_fn each;
  void *arg;
};

static bool on_seal(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  const struct each *each = arg;
  uint64_t index;
  if (key_size != sizeof index || !value) return true;
  memcpy(&index, key, sizeof index);
  return each->each(each->arg, __builtin_bswap64(index), value, value_size);
}

bool state_each_seal(struct state_store *store, state_each_seal_fn each, void *arg, struct gw_error *err) {
  struct each e = {each, arg};
  return state_each(store, SPACE, on_seal, &e, err);
}

bool state_forget_seals(struct state_store *store, struct gw_error *err) { return state_clear(store, SPACE, err); }
