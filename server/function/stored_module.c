#include "server/function/stored_module.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A module is pieces, by digest and number, and behind them its size by the digest alone. So one that is there is whole. */
static const char SPACE[] = "\x01modules";
enum { PIECE = STATE_MAX_VALUE, KEY = 96, MOST_BYTES = 1 << 30 };

static size_t piece_key(char key[KEY], const char *digest, size_t number) {
  return (size_t)snprintf(key, KEY, "%s/%zu", digest, number);
}

/* The value, copied behind the buffer's end; 0: there is none, -1: failed. */
static int read_value(struct state_store *state, const char *key, struct buffer *out, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(state, SPACE);
  const void *value;
  size_t size;
  int found = state_txn_get_wait(txn, key, strlen(key), &value, &size, err);
  if (found == 1) buffer_append(out, value, size);
  state_txn_abort(txn);
  return found;
}

static bool read_size(struct state_store *state, const char *digest, uint64_t *size, bool *is_there, struct gw_error *err) {
  struct buffer value = {0};
  int found = read_value(state, digest, &value, err);
  *is_there = found == 1 && value.size == sizeof *size;
  if (*is_there) memcpy(size, value.bytes, sizeof *size);
  buffer_clear(&value);
  return found >= 0;
}

bool stored_module_keep(struct state_store *state, const char *digest, const void *bytes, size_t size, struct gw_error *err) {
  uint64_t n = size;
  bool is_there;
  char key[KEY];
  if (!state_store_is_shared(state)) return true;
  if (!read_size(state, digest, &n, &is_there, err)) return false;
  if (is_there) return true;
  for (size_t at = 0; at < size; at += PIECE) {
    size_t piece = size - at < PIECE ? size - at : PIECE, key_size = piece_key(key, digest, at / PIECE);
    if (!state_put(state, SPACE, key, key_size, (const uint8_t *)bytes + at, piece, err)) return false;
  }
  n = size;
  return state_put(state, SPACE, digest, strlen(digest), &n, sizeof n, err);
}

bool stored_module_read(struct state_store *state, const char *digest, struct buffer *out, struct gw_error *err) {
  uint64_t size = 0;
  bool is_there;
  char key[KEY];
  size_t before = out->size;
  if (!read_size(state, digest, &size, &is_there, err)) return false;
  if (!is_there || size > MOST_BYTES) return error_set(err, GW_ERROR_NOT_FOUND, "the database has no module %.16s...", digest);
  for (size_t number = 0; out->size - before < size; number++) {
    piece_key(key, digest, number);
    size_t had = out->size;
    if (read_value(state, key, out, err) < 0) return false;
    if (out->size == had || out->size - before > size)
      return error_set(err, GW_ERROR_STATE, "the module %.16s... in the database is damaged", digest);
  }
  return true;
}
