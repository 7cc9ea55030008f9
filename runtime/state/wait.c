/* State for those who may block: the registry and tests. */
#include "runtime/state/private.h"

#include "base/error.h"

#include <stddef.h>
#include <string.h>

struct waiter {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool is_done;
};

#define WAITER \
  { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER }

static void waiter_wake(void *arg) {
  struct waiter *w = arg;
  pthread_mutex_lock(&w->mutex);
  w->is_done = true;
  pthread_cond_signal(&w->cond); /* under the mutex: the waiter's frame is gone once it can lock it */
  pthread_mutex_unlock(&w->mutex);
}

static void waiter_wait(struct waiter *w) {
  pthread_mutex_lock(&w->mutex);
  while (!w->is_done) pthread_cond_wait(&w->cond, &w->mutex);
  pthread_mutex_unlock(&w->mutex);
  pthread_cond_destroy(&w->cond);
  pthread_mutex_destroy(&w->mutex);
}

static bool take_over(const struct gw_error *from, struct gw_error *err) {
  return !from->code || error_set(err, from->code, "%s", from->message);
}

static void block(void *arg, struct state_txn *txn) {
  struct waiter w = WAITER;
  (void)arg;
  state_txn_await(txn, waiter_wake, &w);
  waiter_wait(&w);
}

int state_txn_get_wait(struct state_txn *txn, const void *key, size_t key_size, const void **value, size_t *value_size,
                       struct gw_error *err) {
  int found = state_txn_get(txn, key, key_size, value, value_size, err);
  if (found != STATE_PENDING) return found;
  block(NULL, txn);
  return state_txn_answer(txn, value, value_size, err);
}

void state_txn_on_wait(struct state_txn *txn, state_wait_fn wait, void *arg) {
  txn->wait = wait;
  txn->wait_arg = arg;
}

int state_txn_get_waiting(struct state_txn *txn, struct txn_key *k, const void **value, size_t *value_size,
                          struct gw_error *err) {
  int found = state_txn_get_key(txn, k, value, value_size, err);
  if (found != STATE_PENDING) return found;
  (txn->wait ? txn->wait : block)(txn->wait_arg, txn);
  return state_txn_answer(txn, value, value_size, err);
}

int state_txn_scan_next_wait(struct state_txn *txn, uint32_t most, size_t room, struct state_page *page, struct gw_error *err) {
  int done = state_txn_scan_next(txn, most, room, page, err);
  if (done != STATE_PENDING) return done;
  block(NULL, txn);
  return state_txn_scan_answer(txn, page, err);
}

int state_txn_add_wait(struct state_txn *txn, const void *key, size_t key_size, int64_t delta, struct gw_error *err) {
  int done = state_txn_add(txn, key, key_size, delta, err);
  if (done != STATE_PENDING) return done;
  block(NULL, txn);
  return state_txn_add_answer(txn, err);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

struct writer {
  struct waiter waiter;
  enum state_outcome outcome;
  struct gw_error err;
};

static void on_commit(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  struct writer *w = arg;
  w->outcome = outcome;
  if (err) w->err = *err;
  waiter_wake(&w->waiter);
}

enum state_outcome state_txn_commit_outcome(struct state_txn *txn, struct gw_error *err) {
  struct writer w = {.waiter = WAITER};
  state_txn_commit(txn, on_commit, &w);
  waiter_wait(&w.waiter);
  take_over(&w.err, err);
  return w.outcome;
}

/* Blind writes never conflict, so committed and failed are the only outcomes here. */
bool state_txn_commit_wait(struct state_txn *txn, struct gw_error *err) {
  return state_txn_commit_outcome(txn, err) == STATE_COMMITTED;
}

bool state_put(struct state_store *store, const char *space, const void *key, size_t key_size, const void *value,
               size_t value_size, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(store, space);
  if (state_txn_set(txn, key, key_size, value, value_size, err)) return state_txn_commit_wait(txn, err);
  state_txn_abort(txn);
  return false;
}

bool state_remove(struct state_store *store, const char *space, const void *key, size_t key_size, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(store, space);
  if (state_txn_delete(txn, key, key_size, err)) return state_txn_commit_wait(txn, err);
  state_txn_abort(txn);
  return false;
}

/* --- telling others ----------------------------------------------------------------------------------------------- */

#define CHANGES "changes/" /* no function is called so: a random number, which nobody has to read to change it */

static bool set_changes(struct state_txn *txn, struct gw_error *err) {
  uint64_t number;
  randombytes_buf(&number, sizeof number);
  return state_txn_set(txn, "n", 1, &number, sizeof number, err);
}

bool state_txn_tell_others(struct state_txn *txn, struct gw_error *err) {
  if (!state_store_is_shared(txn->store)) return true;
  state_txn_in(txn, CHANGES);
  bool ok = set_changes(txn, err);
  state_txn_in(txn, NULL);
  return ok;
}

static bool commit_for_all(struct state_txn *txn, bool ok, struct gw_error *err) {
  if (ok && state_txn_tell_others(txn, err)) return state_txn_commit_wait(txn, err);
  state_txn_abort(txn);
  return false;
}

bool state_put_for_all(struct state_store *store, const char *space, const void *key, size_t key_size, const void *value,
                       size_t value_size, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(store, space);
  return commit_for_all(txn, state_txn_set(txn, key, key_size, value, value_size, err), err);
}

bool state_remove_for_all(struct state_store *store, const char *space, const void *key, size_t key_size, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(store, space);
  return commit_for_all(txn, state_txn_delete(txn, key, key_size, err), err);
}

bool state_tell_others(struct state_store *store, struct gw_error *err) {
  if (!state_store_is_shared(store)) return true;
  struct state_txn *txn = state_txn_begin(store, CHANGES);
  return commit_for_all(txn, true, err);
}

bool state_read_changes(struct state_store *store, uint64_t *number, struct gw_error *err) {
  struct state_txn *txn = state_txn_begin(store, CHANGES);
  const void *value;
  size_t size;
  int found = state_txn_get_wait(txn, "n", 1, &value, &size, err);
  *number = 0;
  if (found == 1 && size == sizeof *number) memcpy(number, value, size);
  state_txn_abort(txn);
  return found >= 0;
}

/* --- whole spaces ------------------------------------------------------------------------------------------------- */

struct clearer {
  struct store_clear clear; /* first */
  struct waiter waiter;
};

static void on_clear(struct store_clear *clear) { waiter_wake(&((struct clearer *)clear)->waiter); }

bool state_clear_and_remove(struct state_store *store, const char *space, const char *other, const void *key, size_t key_size,
                            struct gw_error *err) {
  uint8_t digest[SPACE_SIZE], bytes[SPACE_SIZE + STATE_MAX_KEY];
  struct store_key also = {.bytes = bytes, .size = SPACE_SIZE + key_size};
  struct clearer c = {.clear = {.done = on_clear, .space = digest}, .waiter = WAITER};
  state_space_digest(digest, space);
  if (other) {
    if (key_size > STATE_MAX_KEY) return error_set(err, GW_ERROR_LIMIT, "a state key has at most %d bytes", STATE_MAX_KEY);
    state_space_digest(bytes, other);
    memcpy(bytes + SPACE_SIZE, key, key_size);
    c.clear.also = &also;
  }
  store->store->ops->clear(store->store, &c.clear);
  waiter_wait(&c.waiter);
  return take_over(&c.clear.err, err);
}

bool state_clear(struct state_store *store, const char *space, struct gw_error *err) {
  return state_clear_and_remove(store, space, NULL, NULL, 0, err);
}

struct scanner {
  struct store_scan scan; /* first */
  struct waiter waiter;
  state_each_fn each;
  state_piece_fn piece; /* or NULL */
  void *arg;
  struct buffer bytes;  /* of a piece */
  struct buffer larges; /* for later: of each the key's size, its record and the key */
};

static void on_scan(struct store_scan *scan) { waiter_wake(&((struct scanner *)scan)->waiter); }

static bool scan_one(struct store_scan *scan, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct scanner *s = (struct scanner *)scan;
  if (!scan->is_large || !value) return s->each(s->arg, key, key_size, value, value_size);
  buffer_append(&s->larges, &key_size, sizeof key_size);
  buffer_append(&s->larges, value, LARGE_RECORD);
  buffer_append(&s->larges, key, key_size);
  return s->each(s->arg, key, key_size, "", state_large_record_size(value) | STATE_LARGE_BIT);
}

struct getter {
  struct store_get get; /* first */
  struct waiter waiter;
};

static void on_get(struct store_get *get) { waiter_wake(&((struct getter *)get)->waiter); }

bool state_read_use(struct state_store *store, const char *space, struct state_use *out, struct gw_error *err) {
  uint8_t digest[SPACE_SIZE];
  struct store_key key = {.bytes = digest, .size = sizeof digest};
  struct getter g = {.get = {.done = on_get, .key = &key}, .waiter = WAITER};
  struct store *of = store->store;
  struct store_use use = {0};
  state_space_digest(digest, space);
  *out = (struct state_use){0};
  if (!(g.get.snapshot = of->ops->take(of, err))) return false;
  uint64_t now = state_use_now();
  of->ops->get(of, &g.get);
  waiter_wait(&g.waiter);
  if (g.get.value && state_use_read(&use, g.get.value, g.get.value_size, now)) {
    state_use_settle(&use, now);
    *out = (struct state_use){.bytes = use.bytes, .rent = use.rent, .receipted = use.receipted};
  }
  of->ops->give_back(of, g.get.snapshot);
  return take_over(&g.get.err, err);
}

/* One of a large value, into `out`, which is zeros. */
static bool get_chunk(struct store *of, const struct scanner *s, const uint8_t *record, uint32_t number, uint8_t *out, size_t n,
                      bool *is_there, struct gw_error *err) {
  uint8_t bytes[CHUNK_KEY];
  struct store_key key = {.bytes = bytes, .size = CHUNK_KEY};
  struct getter g = {.get = {.done = on_get, .key = &key, .snapshot = s->scan.snapshot}, .waiter = WAITER};
  state_chunk_key(bytes, s->scan.space, record, number);
  of->ops->get(of, &g.get);
  waiter_wait(&g.waiter);
  *is_there |= g.get.version != 0;
  if (g.get.version && g.get.value_size) memcpy(out, g.get.value, g.get.value_size < n ? g.get.value_size : n);
  return take_over(&g.get.err, err);
}

static bool give_pieces(struct store *of, struct scanner *s, const uint8_t *record, const uint8_t *key, size_t key_size,
                        struct gw_error *err) {
  enum { CHUNKS = 256 };
  s->bytes.size = 0;
  uint8_t *bytes = buffer_reserve(&s->bytes, CHUNKS * STATE_CHUNK);
  uint64_t size = state_large_record_size(record), n;
  for (uint64_t at = 0; at < size || !at; at += n ? n : 1) {
    n = size - at < CHUNKS * STATE_CHUNK ? size - at : CHUNKS * STATE_CHUNK;
    bool is_there = false;
    memset(bytes, 0, n);
    for (uint64_t i = 0; i < n; i += STATE_CHUNK) {
      uint32_t number = (uint32_t)((at + i) / STATE_CHUNK);
      if (!get_chunk(of, s, record, number, bytes + i, n - i < STATE_CHUNK ? n - i : STATE_CHUNK, &is_there, err)) return false;
    }
    if (!s->piece(s->arg, key, key_size, size, at, is_there || !n ? bytes : NULL, n)) return false;
  }
  return true;
}

static bool give_larges(struct store *of, struct scanner *s, struct gw_error *err) {
  size_t key_size;
  for (const uint8_t *at = s->larges.bytes, *record; at && at < s->larges.bytes + s->larges.size;
       at = record + LARGE_RECORD + key_size) {
    memcpy(&key_size, at, sizeof key_size);
    record = at + sizeof key_size;
    if (!give_pieces(of, s, record, record + LARGE_RECORD, key_size, err)) return false;
  }
  return true;
}

bool state_each_piece(struct state_store *store, const char *space, state_each_fn each, state_piece_fn piece, void *arg,
                      struct gw_error *err) {
  uint8_t digest[SPACE_SIZE];
  struct scanner s = {
      .scan = {.done = on_scan, .space = digest, .each = scan_one}, .waiter = WAITER, .each = each, .piece = piece, .arg = arg};
  struct store *of = store->store;
  state_space_digest(digest, space);
  if (!(s.scan.snapshot = of->ops->take(of, err))) return false;
  of->ops->scan(of, &s.scan);
  waiter_wait(&s.waiter);
  bool ok = take_over(&s.scan.err, err);
  if (ok && piece) give_larges(of, &s, err);
  of->ops->give_back(of, s.scan.snapshot);
  buffer_clear(&s.larges);
  buffer_clear(&s.bytes);
  return ok && !err->code;
}

bool state_each(struct state_store *store, const char *space, state_each_fn each, void *arg, struct gw_error *err) {
  struct gw_error ignored = {0};
  return state_each_piece(store, space, each, NULL, arg, err ? err : &ignored);
}
