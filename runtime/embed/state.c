/* gasworks_state.h: state and transactions, by runtime/state. */
#include "base/error.h"
#include "runtime/embed/embed.h"
#include "runtime/host/wasi/wasi.h"

#include <stdlib.h>

static const uint64_t default_bytes = UINT64_C(64) << 30;

_Static_assert(GW_STATE_MAX_KEY == STATE_MAX_KEY && GW_STATE_MAX_VALUE == STATE_MAX_VALUE &&
                   GW_STATE_MAX_LARGE == STATE_MAX_LARGE,
               "one limit has one number");

/* The public handle is the store itself. */
static struct state_store *store_of(struct gw_state *state) { return (struct state_store *)state; }

struct gw_state *gw_state_open(const char *directory, const struct gw_state_options *options, struct gw_error *err) {
  uint64_t bytes = options && options->max_bytes ? options->max_bytes : default_bytes;
  bool syncs = !options || !options->survives_kill;
  return (struct gw_state *)state_store_open(directory, bytes, syncs, err);
}

void gw_state_close(struct gw_state *state) { state_store_close(store_of(state)); }

bool gw_state_backup(struct gw_state *state, int fd, struct gw_error *err) { return state_store_copy(store_of(state), fd, err); }

bool embed_check_space(const char *space, struct gw_error *err) {
  if (space && *space && strlen(space) <= GW_STATE_MAX_SPACE) return true;
  return error_set(err, GW_ERROR_USAGE, "a space has a name of 1 to %d bytes", GW_STATE_MAX_SPACE);
}

bool gw_state_clear(struct gw_state *state, const char *space, struct gw_error *err) {
  return embed_check_space(space, err) && state_clear(store_of(state), space, err);
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

struct gw_txn *embed_txn_begin(struct gw_state *state, const char *space, struct gw_error *err) {
  if (!embed_check_space(space, err)) return NULL;
  struct gw_txn *txn = calloc(1, sizeof *txn);
  if (txn) txn->txn = state_txn_begin(store_of(state), space);
  if (txn && txn->txn) return txn;
  free(txn);
  error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a transaction");
  return NULL;
}

/* Who holds several at a time, or one for long, must not wait for itself, nor others for it: so it is in no lane. */
struct gw_txn *gw_txn_begin(struct gw_state *state, const char *space, struct gw_error *err) {
  struct gw_txn *txn = embed_txn_begin(state, space, err);
  if (txn) state_txn_expect_no_writes(txn->txn);
  return txn;
}

struct state_txn *embed_txn_release(struct gw_txn *txn) {
  struct state_txn *of = txn->txn;
  buffer_clear(&txn->value);
  free(txn);
  return of;
}

void gw_txn_abort(struct gw_txn *txn) {
  if (txn) state_txn_abort(embed_txn_release(txn));
}

/* All bytes of the value that is opened. */
static bool put_together(struct gw_txn *txn, struct state_large *large, struct gw_error *err) {
  size_t size = state_large_size(large);
  txn->value.size = 0;
  uint8_t *bytes = buffer_reserve(&txn->value, size);
  if (!state_large_read(txn->txn, large, 0, bytes, size, err)) return false;
  txn->value.size = size;
  return true;
}

int gw_txn_get(struct gw_txn *txn, const void *key, size_t key_size, const void **value, size_t *size, struct gw_error *err) {
  int found = state_txn_get_wait(txn->txn, key, key_size, value, size, err);
  if (found <= 0 || !state_txn_found_large(txn->txn)) return found;
  struct state_large *large;
  found = state_large_open(txn->txn, key, key_size, false, &large, err);
  if (found <= 0) return found;
  if (!put_together(txn, large, err)) return -1;
  *value = txn->value.bytes;
  *size = txn->value.size;
  return 1;
}

bool gw_txn_set(struct gw_txn *txn, const void *key, size_t key_size, const void *value, size_t size, struct gw_error *err) {
  return state_txn_set(txn->txn, key, key_size, value, size, err);
}

bool gw_txn_delete(struct gw_txn *txn, const void *key, size_t key_size, struct gw_error *err) {
  return state_txn_delete(txn->txn, key, key_size, err);
}

bool gw_txn_add(struct gw_txn *txn, const void *key, size_t key_size, int64_t delta, struct gw_error *err) {
  return state_txn_add_wait(txn->txn, key, key_size, delta, err) > 0;
}

/* --- parts of values --- */

bool gw_txn_read(struct gw_txn *txn, const void *key, size_t key_size, uint64_t offset, void *out, size_t *n,
                 struct gw_error *err) {
  struct state_large *large;
  int found = state_large_open(txn->txn, key, key_size, false, &large, err);
  uint64_t size = found > 0 ? state_large_size(large) : 0;
  uint64_t left = offset < size ? size - offset : 0;
  if (*n > left) *n = left;
  return found >= 0 && (!*n || state_large_read(txn->txn, large, offset, out, *n, err));
}

bool gw_txn_write(struct gw_txn *txn, const void *key, size_t key_size, uint64_t offset, const void *bytes, size_t n,
                  struct gw_error *err) {
  struct state_large *large;
  return state_large_open(txn->txn, key, key_size, true, &large, err) > 0 &&
         state_large_write(txn->txn, large, offset, bytes, n, err);
}

/* --- scans --- */

static uint32_t read_u32(const uint8_t *p) {
  uint32_t n;
  memcpy(&n, p, sizeof n);
  return n;
}

/* False: no more are wanted. */
static bool tell_page(const struct state_page *page, gw_pair_fn fn, void *env) {
  const uint8_t *at = page->bytes;
  for (uint32_t i = 0; i < page->n_pairs; i++) {
    uint32_t key_size = read_u32(at), size = read_u32(at + 4);
    bool is_large = size & STATE_LARGE_BIT;
    const uint8_t *key = at + 8, *value = key + key_size;
    if (!fn(env, key, key_size, is_large ? NULL : value, size & ~STATE_LARGE_BIT)) return false;
    at = value + (is_large ? 0 : size);
  }
  return true;
}

bool gw_txn_scan(struct gw_txn *txn, const struct gw_range *range, gw_pair_fn fn, void *env, struct gw_error *err) {
  struct state_range all = {0};
  struct state_page page = {0};
  if (range) all = (struct state_range){range->first, range->end, range->first_size, range->end_size, range->is_backward, false};
  if (!state_txn_scan(txn->txn, &all, err)) return false;
  while (!page.is_last) {
    if (state_txn_scan_next_wait(txn->txn, UINT32_MAX, SIZE_MAX, &page, err) != 1) return false;
    if (!tell_page(&page, fn, env)) return true;
  }
  return true;
}

/* --- commits ------------------------------------------------------------------------------------------------------ */

enum gw_outcome gw_txn_commit(struct gw_txn *txn, struct gw_error *err) {
  static const enum gw_outcome outcomes[] = {
      [STATE_COMMITTED] = GW_COMMITTED, [STATE_CONFLICT] = GW_CONFLICT, [STATE_FAILED] = GW_FAILED};
  return outcomes[state_txn_commit_outcome(embed_txn_release(txn), err)];
}

bool gw_state_transact(struct gw_state *state, const char *space, gw_transact_fn fn, void *env, struct gw_error *err) {
  struct state_turns turns = {0};
  enum gw_outcome outcome = GW_CONFLICT;
  for (int i = 0; i < GW_STATE_MOST_ATTEMPTS && outcome == GW_CONFLICT; i++) {
    struct gw_txn *txn = embed_txn_begin(state, space, err);
    if (!txn) return false;
    state_txn_take_turns(txn->txn, &turns);
    bool ok = fn(env, txn, err), is_stale = state_txn_is_stale(txn->txn);
    if (ok) {
      outcome = gw_txn_commit(txn, err);
      continue;
    }
    state_txn_note_turns(txn->txn);
    gw_txn_abort(txn);
    if (!is_stale) return false;
    *err = (struct gw_error){0}; /* a conflict that it met before its commit */
  }
  if (outcome == GW_CONFLICT)
    error_set(err, GW_ERROR_CONFLICT, "space %s met conflicting writes in each of %d attempts", space, GW_STATE_MOST_ATTEMPTS);
  return outcome == GW_COMMITTED;
}

void gw_wasi_use_state(struct gw_wasi *wasi, struct gw_txn *txn) { wasi_use_state((struct wasi *)wasi, txn ? txn->txn : NULL); }
