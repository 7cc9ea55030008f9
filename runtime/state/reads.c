/* What a transaction read, kept and told again (docs/replay.md). The reads are the records of the digest `read`, with all values
 * whole, and between them what a second run needs besides: how a page of a scan came about, and what an addition met.
 *
 * A transaction that is told asks no store: its questions must be those of the first run, in their order, or, where it need not
 * be strict, any that the first run asked. */
#include "runtime/state/private.h"

#include "base/error.h"

#include <string.h>

/* Beside enum read_record; not of the digest. */
enum { READ_MORE = 0x80, READ_PAGE_FACTS = READ_MORE, READ_ADDED };

struct page_facts {
  uint64_t n_units, n_new;
  uint32_t n_pairs, n_met;
  uint64_t needed;
  uint8_t is_last, is_over, pad[6];
};

/* --- keeping ------------------------------------------------------------------------------------------------------ */

void state_txn_keep_reads(struct state_txn *txn, size_t limit) {
  txn->kept_limit = limit;
  txn->kept.size = 0;
  txn->is_kept_full = false;
}

void state_keep_read(struct state_txn *txn, uint8_t kind, const struct store_key *key, const void *value, size_t size) {
  uint64_t key_size = key ? key->size : 0, value_size = size;
  size_t total = 1 + sizeof key_size + key_size + sizeof value_size + value_size;
  if (!txn->kept_limit || txn->is_kept_full) return;
  if (total > txn->kept_limit - txn->kept.size) {
    txn->is_kept_full = true;
    return;
  }
  buffer_append(&txn->kept, &kind, 1);
  buffer_append(&txn->kept, &key_size, sizeof key_size);
  if (key_size) buffer_append(&txn->kept, key->bytes, key_size);
  if (kind == READ_NOTHING) return;
  buffer_append(&txn->kept, &value_size, sizeof value_size);
  if (size) buffer_append(&txn->kept, value, size);
}

void state_keep_page(struct state_txn *txn, const struct state_page *page, size_t n_new, bool is_over) {
  struct page_facts facts = {.n_units = page->n_units,
                             .n_new = n_new,
                             .n_pairs = page->n_pairs,
                             .n_met = page->n_met,
                             .needed = page->needed,
                             .is_last = page->is_last,
                             .is_over = is_over};
  state_keep_read(txn, READ_PAGE_FACTS, NULL, &facts, sizeof facts);
}

/* Whether there is a number, or room for one: else the size of what is there. */
void state_keep_added(struct state_txn *txn) {
  const struct store_get *get = &txn->get;
  uint64_t met[3] = {get->version != 0, get->is_large, get->value_size};
  if (get->is_large && get->value) met[2] = state_large_record_size(get->value);
  state_keep_read(txn, READ_ADDED, &txn->asked->key, met, sizeof met);
}

bool state_txn_take_reads(struct state_txn *txn, struct buffer *out, struct state_id_seed *seed) {
  seed->is_there = txn->has_id_seed;
  memcpy(seed->bytes, txn->id_seed, sizeof seed->bytes);
  if (txn->is_kept_full) return false;
  struct buffer empty = *out;
  *out = txn->kept;
  empty.size = 0;
  txn->kept = empty;
  txn->kept_limit = 0;
  return true;
}

/* --- reading them again ------------------------------------------------------------------------------------------- */

struct told {
  uint8_t kind;
  const uint8_t *key, *value;
  uint64_t key_size, value_size;
};

static bool take_sized(const uint8_t *bytes, size_t size, size_t *at, const uint8_t **out, uint64_t *n) {
  if (size - *at < sizeof *n) return false;
  memcpy(n, bytes + *at, sizeof *n);
  *at += sizeof *n;
  if (*n > size - *at) return false;
  *out = bytes + *at;
  *at += *n;
  return true;
}

/* The record at `*at`, which moves behind it; false: there is none that is whole. */
static bool next_told(const uint8_t *bytes, size_t size, size_t *at, struct told *out) {
  *out = (struct told){0};
  if (*at >= size) return false;
  out->kind = bytes[(*at)++];
  if (!take_sized(bytes, size, at, &out->key, &out->key_size)) return false;
  return out->kind == READ_NOTHING || take_sized(bytes, size, at, &out->value, &out->value_size);
}

bool state_reads_digest(const void *bytes, size_t size, uint8_t out[SHA256_SIZE]) {
  struct sha256 s;
  struct told told;
  size_t at = 0;
  sha256_begin(&s);
  while (at < size) {
    if (!next_told(bytes, size, &at, &told)) return false;
    if (told.kind >= READ_MORE) continue;
    if (told.key_size > SPACE_SIZE + STATE_MAX_KEY || told.kind > READ_LARGE) return false;
    state_digest_read(&s, (enum read_record)told.kind, told.key, told.key_size, told.value, told.value_size);
  }
  sha256_end(&s, out);
  return true;
}

bool state_reads_begin_in(const void *bytes, size_t size, const char *space) {
  uint8_t digest[SPACE_SIZE];
  struct told told;
  size_t at = 0;
  state_space_digest(digest, space);
  return next_told(bytes, size, &at, &told) && told.key_size > SPACE_SIZE && memcmp(told.key, digest, SPACE_SIZE) == 0;
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

void state_txn_tell(struct state_txn *txn, const void *bytes, size_t size, const struct state_id_seed *seed, bool is_strict) {
  txn->is_told = true;
  txn->is_strict = is_strict;
  txn->told = bytes;
  txn->told_size = size;
  txn->told_at = 0;
  txn->has_parted = false;
  txn->has_id_seed = seed->is_there;
  memcpy(txn->id_seed, seed->bytes, sizeof txn->id_seed);
}

bool state_txn_has_parted(const struct state_txn *txn) { return txn->has_parted; }
bool state_txn_is_told_all(const struct state_txn *txn) { return txn->told_at == txn->told_size; }

static bool part(struct state_txn *txn, struct gw_error *err) {
  txn->has_parted = true;
  return error_set(err, GW_ERROR_STATE, "the second run asks for state that the first did not read");
}

static bool answers(const struct told *told, const struct store_key *key, bool is_for_version, bool is_to_add) {
  bool is_kind = is_to_add        ? told->kind == READ_ADDED
                 : is_for_version ? told->kind == READ_EXISTS
                                  : told->kind == READ_NOTHING || told->kind == READ_VALUE || told->kind == READ_LARGE;
  return is_kind && told->key_size == key->size && memcmp(told->key, key->bytes, key->size) == 0;
}

/* What the first run heard of the key: next, or, where it need not be strict, first of all. */
static bool find_told(struct state_txn *txn, const struct store_key *key, bool is_to_add, struct told *out) {
  size_t at = txn->told_at;
  if (next_told(txn->told, txn->told_size, &at, out) && answers(out, key, txn->asks_for_version, is_to_add)) {
    txn->told_at = at;
    return true;
  }
  if (txn->is_strict) return false;
  for (at = 0; next_told(txn->told, txn->told_size, &at, out);)
    if (answers(out, key, txn->asks_for_version, is_to_add)) return true;
  return false;
}

static bool tell_added(struct store_get *get, const struct told *told) {
  uint64_t met[3];
  static const uint8_t nothing[LARGE_RECORD] = {0};
  if (told->value_size != sizeof met) return false;
  memcpy(met, told->value, sizeof met);
  get->version = met[0];
  get->is_large = met[1];
  get->value = nothing;
  get->value_size = met[2];
  return !get->is_large;
}

bool state_told_get(struct state_txn *txn, bool is_to_add) {
  struct store_get *get = &txn->get;
  struct store_key *key = &txn->asked->key;
  struct told told;
  get->value = NULL;
  get->value_size = 0;
  get->version = 0;
  get->is_large = get->is_stale = false;
  get->is_for_version = txn->asks_for_version;
  if (!find_told(txn, key, is_to_add, &told)) return part(txn, &get->err);
  if (is_to_add) return tell_added(get, &told) || part(txn, &get->err);
  get->is_large = told.kind == READ_LARGE;
  get->value = told.value;
  get->value_size = told.value_size;
  get->version = told.kind == READ_EXISTS ? told.value_size == 1 && told.value[0] : told.kind != READ_NOTHING;
  if (get->is_large && told.value_size != LARGE_RECORD) return part(txn, &get->err);
  if (!key->is_add) return true;
  if (told.value_size != sizeof txn->told_number) return part(txn, &get->err);
  memcpy(&txn->told_number, told.value, sizeof txn->told_number);
  txn->told_number -= (uint64_t)key->delta; /* what was told is the sum */
  get->value = &txn->told_number;
  get->version = 1;
  return true;
}

/* Pages are told in their order only: what lies between two runs' bounds nobody knows. */
bool state_told_page(struct state_txn *txn, struct state_page *page, size_t *n_new, bool *is_over, struct gw_error *err) {
  struct told told;
  struct page_facts facts;
  size_t at = txn->told_at;
  bool ok = next_told(txn->told, txn->told_size, &at, &told) && told.kind == READ_PAGE_FACTS && told.value_size == sizeof facts;
  if (ok) memcpy(&facts, told.value, sizeof facts);
  ok = ok && next_told(txn->told, txn->told_size, &at, &told) && told.kind == READ_PAGE;
  if (!ok) return part(txn, err);
  txn->told_at = at;
  *page = (struct state_page){.bytes = told.value,
                              .size = told.value_size,
                              .n_pairs = facts.n_pairs,
                              .n_met = facts.n_met,
                              .n_units = facts.n_units,
                              .needed = facts.needed,
                              .is_last = facts.is_last};
  *n_new = facts.n_new;
  *is_over = facts.is_over;
  return true;
}

/* --- a store of nothing ------------------------------------------------------------------------------------------- */

static void close_nothing(struct store *self) { (void)self; }
static uint64_t no_moment(const struct store *self) { return (void)self, 0; }
static struct snapshot *take_nothing(struct store *self, struct gw_error *err) {
  (void)self;
  error_set(err, GW_ERROR_STATE, "there is no store behind a second run");
  return NULL;
}
static void give_back_nothing(struct store *self, struct snapshot *snapshot) { (void)self, (void)snapshot; }
static void get_nothing(struct store *self, struct store_get *get) {
  (void)self;
  get->done(get);
}
static void scan_nothing(struct store *self, struct store_scan *scan) {
  (void)self;
  scan->done(scan);
}
static void commit_nothing(struct store *self, struct store_commit *first) {
  struct gw_error err = {0};
  (void)self;
  error_set(&err, GW_ERROR_STATE, "there is no store behind a second run");
  for (struct store_commit *next; first; first = next) {
    next = first->next;
    first->done(first, STATE_FAILED, &err);
  }
}
static bool copy_nothing(struct store *self, int fd, struct gw_error *err) {
  (void)self, (void)fd;
  return error_set(err, GW_ERROR_STATE, "there is no store behind a second run");
}
static void clear_nothing(struct store *self, struct store_clear *clear) {
  (void)self;
  clear->done(clear);
}

static const struct store_ops store_nothing = {.close = close_nothing,
                                               .moment = no_moment,
                                               .take = take_nothing,
                                               .give_back = give_back_nothing,
                                               .get = get_nothing,
                                               .scan = scan_nothing,
                                               .commit = commit_nothing,
                                               .copy = copy_nothing,
                                               .clear = clear_nothing};

struct state_store *state_store_open_told(struct gw_error *err) {
  static struct store nothing = {.ops = &store_nothing};
  return state_store_create(&nothing, err);
}
