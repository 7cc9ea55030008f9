/* Scans: keys in order, what the transaction itself has written among them. The store gives what is in the snapshot; on the way
 * the two are merged into a page of pairs, on the thread that answers.
 *
 * A range remembers how many keys it met and the sum of their digests. Before the commit the store counts and adds up again, so a
 * key that came, went or changed is noticed wherever in the range it is. A range ends where the scan did: what lies behind was
 * not seen, and does not matter. */
#include "runtime/state/private.h"

#include "base/buffer.h"
#include "base/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 64 << 10, PAGE_MET = 256, SORTED_AT_ONCE = 1024 };

/* One scan under way; the next one takes its place. */
struct txn_scan {
  struct store_scan scan; /* first */
  struct state_txn *txn;
  struct store_range *range;
  struct buffer page;
  struct state_page answer;
  uint32_t most;
  size_t room;
  size_t own;     /* forward: the next of txn->sorted; backward: behind it */
  bool has_begun; /* a page was asked for */
  bool is_full, is_over, is_damaged, is_stale;
  size_t n_new;     /* keys of the snapshot that this page met, for the range */
  uint64_t new_sum; /* of their digests */
  /* Where the page begins and ends, without space, and where the next one begins, or ends if backward. 0 bytes are no bound. */
  uint8_t first[STATE_MAX_KEY + 1], end[STATE_MAX_KEY + 1], at[STATE_MAX_KEY + 1];
  size_t first_size, end_size, at_size;
};

uint64_t state_range_digest(const void *key, size_t size, uint64_t version) { return XXH3_64bits_withSeed(key, size, version); }

void state_scan_free(struct state_txn *txn) {
  if (txn->scan) buffer_clear(&txn->scan->page);
}

/* --- what is written, in order ------------------------------------------------------------------------------------ */

static int order(const void *a, size_t a_size, const void *b, size_t b_size) {
  int by_bytes = memcmp(a, b, a_size < b_size ? a_size : b_size);
  return by_bytes ? by_bytes : (a_size > b_size) - (a_size < b_size);
}

static int by_key(const void *a, const void *b) {
  const struct store_key *x = &(*(struct txn_key *const *)a)->key, *y = &(*(struct txn_key *const *)b)->key;
  return order(x->bytes, x->size, y->bytes, y->size);
}

/* The first of txn->sorted that is not before the key, which has no space in front. */
static size_t sorted_find(const struct state_txn *txn, const void *key, size_t size) {
  size_t low = 0, high = txn->n_sorted;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const struct store_key *k = &txn->sorted[middle]->key;
    if (order(k->bytes + SPACE_SIZE, k->size - SPACE_SIZE, key, size) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool sorted_reserve(struct state_txn *txn, size_t n, struct gw_error *err) {
  if (n <= txn->n_sorted_max) return true;
  size_t most = 2 * txn->n_sorted_max > n ? 2 * txn->n_sorted_max : n + 16;
  if (!state_txn_has_room(txn, most * sizeof *txn->sorted, err)) return false;
  struct txn_key **sorted = arena_alloc_array(&txn->arena, most, sizeof *sorted);
  if (txn->n_sorted) memcpy(sorted, txn->sorted, txn->n_sorted * sizeof *sorted);
  txn->sorted = sorted;
  txn->n_sorted_max = most;
  return true;
}

bool state_sorted_insert(struct state_txn *txn, struct txn_key *k, struct gw_error *err) {
  if (!txn->scan || memcmp(k->bytes, txn->sorted_space, SPACE_SIZE) != 0) return true;
  if (!txn->is_sorted) return sorted_reserve(txn, txn->n_writes + 1, err); /* the first page will have it */
  if (!sorted_reserve(txn, txn->n_sorted + 1, err)) return false;
  size_t at = sorted_find(txn, k->bytes + SPACE_SIZE, k->key.size - SPACE_SIZE);
  memmove(txn->sorted + at + 1, txn->sorted + at, (txn->n_sorted - at) * sizeof *txn->sorted);
  txn->sorted[at] = k;
  txn->n_sorted++;
  return true;
}

static bool is_in_order(const struct state_txn *txn) {
  return txn->is_sorted && !memcmp(txn->space, txn->sorted_space, SPACE_SIZE);
}

/* There is room for all. */
static void sort_writes(struct state_txn *txn) {
  for (struct store_key *k = txn->keys; k; k = k->next)
    if (k->is_written && !memcmp(k->bytes, txn->space, SPACE_SIZE)) txn->sorted[txn->n_sorted++] = (struct txn_key *)k;
  if (txn->n_sorted) qsort(txn->sorted, txn->n_sorted, sizeof *txn->sorted, by_key);
  txn->is_sorted = true;
}

/* Many keys take milliseconds, in which a loop does nothing else: they are sorted where the first page is answered. */
static bool begin_sorting(struct state_txn *txn, struct gw_error *err) {
  if (is_in_order(txn)) return true;
  txn->n_sorted = 0;
  txn->is_sorted = false;
  memcpy(txn->sorted_space, txn->space, SPACE_SIZE);
  if (!sorted_reserve(txn, txn->n_writes, err)) return false;
  if (txn->n_keys <= SORTED_AT_ONCE) sort_writes(txn);
  return true;
}

/* --- a page ------------------------------------------------------------------------------------------------------- */

/* The scan goes on behind this key, or before it. */
static void move_to(struct txn_scan *s, const void *key, size_t size) {
  memcpy(s->at, key, size);
  s->at_size = size;
  if (!s->scan.is_backward) s->at[s->at_size++] = 0;
}

/* A pair of the answer. */
static void emit(struct txn_scan *s, const void *key, size_t key_size, const void *value, size_t value_size, bool is_large) {
  uint32_t sizes[2] = {(uint32_t)key_size, (uint32_t)value_size};
  size_t n = s->scan.is_for_keys || is_large ? 0 : value_size, pair = sizeof sizes + key_size + n;
  if (is_large) sizes[1] = state_large_record_size(value) | STATE_LARGE_BIT;
  if (!s->scan.is_for_keys) s->answer.n_units += (value_size + 15) / 16;
  if (pair > s->room - s->page.size) {
    if (!s->answer.n_pairs) s->answer.needed = pair;
    s->is_full = s->is_over = true;
    return;
  }
  buffer_append(&s->page, sizes, sizeof sizes);
  buffer_append(&s->page, key, key_size);
  if (n) buffer_append(&s->page, value, n);
  if (++s->answer.n_pairs == s->most || s->page.size >= PAGE_BYTES) s->is_full = true;
}

/* What the transaction has written, which may have been added to what is there. */
static void emit_own(struct txn_scan *s, const struct txn_key *k, const void *there, size_t there_size) {
  const uint8_t *key = k->bytes + SPACE_SIZE;
  size_t size = k->key.size - SPACE_SIZE;
  uint64_t number = 0;
  if (k->key.is_delete) return;
  if (!k->key.is_add) {
    emit(s, key, size, k->key.value, k->key.value_size, k->key.is_large);
    return;
  }
  if (there_size && there_size != sizeof number) {
    s->is_stale = s->is_full = true; /* it has changed since it was added to */
    return;
  }
  if (there) memcpy(&number, there, sizeof number);
  number += (uint64_t)k->key.delta;
  emit(s, key, size, &number, sizeof number, false);
}

/* The next key of the transaction's own, or NULL. */
static const struct txn_key *next_own(const struct txn_scan *s) {
  const struct state_txn *txn = s->txn;
  if (s->scan.is_backward) {
    const struct txn_key *k = s->own ? txn->sorted[s->own - 1] : NULL;
    bool is_inside = k && order(k->bytes + SPACE_SIZE, k->key.size - SPACE_SIZE, s->first, s->first_size) >= 0;
    return is_inside ? k : NULL;
  }
  const struct txn_key *k = s->own < txn->n_sorted ? txn->sorted[s->own] : NULL;
  if (!k || !s->end_size) return k;
  return order(k->bytes + SPACE_SIZE, k->key.size - SPACE_SIZE, s->end, s->end_size) < 0 ? k : NULL;
}

static void met(struct txn_scan *s) {
  if (++s->answer.n_met == PAGE_MET) s->is_full = true;
}

/* Past the next own key, with what the snapshot has there. */
static void take_own(struct txn_scan *s, const struct txn_key *k, const void *there, size_t there_size) {
  s->own = s->scan.is_backward ? s->own - 1 : s->own + 1;
  met(s);
  emit_own(s, k, there, there_size);
  move_to(s, k->bytes + SPACE_SIZE, k->key.size - SPACE_SIZE);
}

/* Where the next own key stands to a key of the snapshot: <0 the scan comes to it first, 0 it is the same, >0 later. */
static int own_order(const struct txn_scan *s, const struct txn_key *k, const void *key, size_t size) {
  if (!k) return 1;
  int o = order(k->bytes + SPACE_SIZE, k->key.size - SPACE_SIZE, key, size);
  return s->scan.is_backward ? -o : o;
}

/* The first own key of the page, by its place in txn->sorted. */
static size_t first_own(const struct txn_scan *s) {
  const struct state_txn *txn = s->txn;
  if (!s->scan.is_backward) return sorted_find(txn, s->first, s->first_size);
  return s->end_size ? sorted_find(txn, s->end, s->end_size) : txn->n_sorted;
}

/* On the thread that answers; the transaction waits for it. */
static void sort_late(struct txn_scan *s) {
  sort_writes(s->txn);
  s->own = first_own(s);
  s->scan.is_long = false;
}

static bool on_key(struct store_scan *scan, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct txn_scan *s = (struct txn_scan *)scan;
  uint8_t whole[SPACE_SIZE + STATE_MAX_KEY];
  if (scan->is_long) sort_late(s);
  const struct txn_key *k = next_own(s);
  while (!s->is_full && own_order(s, k, key, key_size) < 0) {
    take_own(s, k, NULL, 0);
    k = next_own(s);
  }
  if (s->is_full) return false;
  if (!s->txn->only_reads) {
    memcpy(whole, s->txn->space, SPACE_SIZE);
    memcpy(whole + SPACE_SIZE, key, key_size);
    s->n_new++;
    s->new_sum += state_range_digest(whole, SPACE_SIZE + key_size, scan->version);
  }
  if (!value && !scan->is_for_keys) {
    s->is_damaged = true;
    return false;
  }
  if (own_order(s, k, key, key_size) == 0) {
    if (!scan->is_for_keys) s->answer.n_units += (value_size + 15) / 16;
    take_own(s, k, value, value_size);
  } else {
    met(s);
    emit(s, key, key_size, value, value_size, scan->is_large);
    move_to(s, key, key_size);
  }
  return !s->is_full;
}

/* The store has no more keys, or the page is full. */
static void on_done(struct store_scan *scan) {
  struct txn_scan *s = (struct txn_scan *)scan;
  bool failed = scan->err.code || scan->is_stale || s->is_damaged;
  if (scan->is_long && !failed) sort_late(s);
  for (const struct txn_key *k; !failed && !s->is_full && (k = next_own(s));) take_own(s, k, NULL, 0);
  if (!s->is_full) s->is_over = true, s->answer.is_last = true;
  state_txn_on_answer(s->txn);
}

/* --- scans -------------------------------------------------------------------------------------------------------- */

static bool bound_is_valid(size_t size, struct gw_error *err) {
  if (size <= STATE_MAX_KEY + 1) return true; /* what lies behind the longest key is a bound */
  return error_set(err, GW_ERROR_LIMIT, "a bound of a scan has at most %d bytes, this one has %zu", STATE_MAX_KEY + 1, size);
}

/* A bound with the space in front. None is the least key there can be, or the next space's first. */
static size_t whole_bound(const struct state_txn *txn, uint8_t *out, const uint8_t *bound, size_t size, bool is_end) {
  memcpy(out, txn->space, SPACE_SIZE);
  if (size) memcpy(out + SPACE_SIZE, bound, size);
  if (size) return SPACE_SIZE + size;
  if (!is_end) {
    out[SPACE_SIZE] = 0;
    return SPACE_SIZE + 1;
  }
  for (int i = SPACE_SIZE; i-- > 0 && !++out[i];) {
  }
  return SPACE_SIZE;
}

/* Scans of the same bounds have the same lane. */
static uint64_t range_hash(const struct txn_scan *s) {
  uint8_t bytes[SPACE_SIZE + 2 * sizeof s->first + 2] = {0};
  size_t n = SPACE_SIZE;
  uint64_t hash;
  memcpy(bytes, s->txn->space, SPACE_SIZE);
  memcpy(bytes + n, &s->first_size, 2);
  memcpy(bytes + n + 2, s->first, s->first_size);
  n += 2 + s->first_size;
  memcpy(bytes + n, s->end, s->end_size);
  crypto_shorthash((uint8_t *)&hash, bytes, n + s->end_size, s->txn->store->hash_key);
  return hash;
}

static void place_range(const struct txn_scan *s, struct store_range *r) {
  if (s->scan.is_backward) {
    r->end_size = whole_bound(s->txn, r->end, s->end, s->end_size, true);
    memcpy(r->first, r->end, r->first_size = r->end_size);
  } else {
    r->first_size = whole_bound(s->txn, r->first, s->first, s->first_size, false);
    memcpy(r->end, r->first, r->end_size = r->first_size);
  }
}

/* A range that has seen nothing yet, where the scan begins. */
static bool begin_range(struct txn_scan *s, struct gw_error *err) {
  struct state_txn *txn = s->txn;
  struct store_range *r = txn->only_reads ? (struct store_range *)txn->reads.ranges : NULL; /* nothing is kept of the last one */
  if (r) {
    r->n = r->sum = 0;
    place_range(s, r);
    s->range = r;
    return true;
  }
  if (!state_txn_has_room(txn, RANGE_BYTES, err) || !state_txn_count_reads(txn, 1, err)) return false;
  r = arena_alloc(&txn->arena, sizeof *r);
  r->first = arena_alloc(&txn->arena, BOUND_SIZE);
  r->end = arena_alloc(&txn->arena, BOUND_SIZE);
  place_range(s, r);
  r->hash = range_hash(s);
  r->next = (struct store_range *)txn->reads.ranges;
  txn->reads.ranges = s->range = r;
  return true;
}

bool state_txn_scan(struct state_txn *txn, const struct state_range *range, struct gw_error *err) {
  if (!bound_is_valid(range->first_size, err) || !bound_is_valid(range->end_size, err)) return false;
  if (!begin_sorting(txn, err)) return false;
  if (!txn->scan) txn->scan = arena_alloc(&txn->arena, sizeof *txn->scan);
  struct txn_scan *s = txn->scan;
  struct buffer page = s->page;
  *s = (struct txn_scan){.txn = txn, .page = page, .first_size = range->first_size, .end_size = range->end_size};
  if (range->first_size) memcpy(s->first, range->first, range->first_size);
  if (range->end_size) memcpy(s->end, range->end, range->end_size);
  s->scan = (struct store_scan){
      .done = on_done, .space = txn->space, .is_backward = range->is_backward, .is_for_keys = range->is_for_keys, .each = on_key};
  if (range->first_size && range->end_size && order(s->first, s->first_size, s->end, s->end_size) >= 0) {
    s->is_over = true; /* nothing lies between them */
    return true;
  }
  return begin_range(s, err);
}

static int no_more(struct state_page *page) {
  *page = (struct state_page){.bytes = (const uint8_t *)"", .is_last = true};
  return 1;
}

/* From where the last page ended. */
static void send_scan(struct txn_scan *s) {
  struct state_txn *txn = s->txn;
  s->scan.snapshot = txn->snapshot;
  s->scan.first = s->first_size ? s->first : NULL;
  s->scan.end = s->end_size ? s->end : NULL;
  s->scan.first_size = s->first_size;
  s->scan.end_size = s->end_size;
  s->scan.check = txn->must_validate ? &txn->reads : NULL;
  txn->store->store->ops->scan(txn->store->store, &s->scan);
}

/* Its turn has come in the lane of these bounds. */
static void resume_scan(struct state_txn *txn) {
  state_txn_renew(txn);
  if (state_txn_take_snapshot(txn, &txn->scan->scan.err))
    send_scan(txn->scan);
  else
    state_txn_on_answer(txn);
}

int state_txn_scan_next(struct state_txn *txn, uint32_t most, size_t room, struct state_page *page, struct gw_error *err) {
  struct txn_scan *s = txn->scan;
  if (s->is_over) return no_more(page);
  s->most = most;
  s->room = room;
  s->page.size = 0;
  s->is_full = false;
  s->answer = (struct state_page){0};
  s->n_new = 0;
  s->new_sum = 0;
  s->at_size = 0;
  s->scan.is_long = !is_in_order(txn);
  s->own = s->scan.is_long ? 0 : first_own(s);
  if (txn->is_told) {
    bool is_over;
    if (!state_told_page(txn, &s->answer, &s->n_new, &is_over, err)) return -1;
    s->page.size = 0;
    buffer_append(&s->page, s->answer.bytes, s->answer.size);
    s->is_over = is_over;
    return state_txn_scan_answer(txn, page, err);
  }
  enum lane_entry entry = s->has_begun ? LANE_NONE : state_lane_enter(txn, s->range->hash, resume_scan);
  s->has_begun = true;
  if (entry == LANE_WAITS) return STATE_PENDING;
  if (entry == LANE_ENTERED) state_txn_renew(txn);
  if (!state_txn_take_snapshot(txn, err)) return -1;
  state_txn_begin_ask(txn);
  send_scan(s);
  return state_txn_is_answered(txn) ? state_txn_scan_answer(txn, page, err) : STATE_PENDING;
}

/* What this page met counts as read. */
static bool extend_range(struct txn_scan *s, struct gw_error *err) {
  struct store_range *r = s->range;
  if (!state_txn_count_reads(s->txn, s->n_new, err)) return false;
  r->n += s->n_new;
  r->sum += s->new_sum;
  if (s->scan.is_backward && s->at_size)
    memcpy(s->end, s->at, s->end_size = s->at_size);
  else if (s->at_size)
    memcpy(s->first, s->at, s->first_size = s->at_size);
  if (s->scan.is_backward)
    r->first_size = whole_bound(s->txn, r->first, s->answer.is_last ? s->first : s->end,
                                s->answer.is_last ? s->first_size : s->end_size, false);
  else
    r->end_size =
        whole_bound(s->txn, r->end, s->answer.is_last ? s->end : s->first, s->answer.is_last ? s->end_size : s->first_size, true);
  return true;
}

int state_txn_scan_answer(struct state_txn *txn, struct state_page *page, struct gw_error *err) {
  struct txn_scan *s = txn->scan;
  if (s->scan.err.code) {
    txn->is_away |= s->scan.err.code == GW_ERROR_UNAVAILABLE;
    error_set(err, s->scan.err.code, "%s", s->scan.err.message);
    s->scan.err = (struct gw_error){0};
    return -1;
  }
  if (s->scan.is_stale || s->is_stale) {
    txn->is_stale = true;
    error_set(err, GW_ERROR_CONFLICT, "what was read has changed since");
    return -1;
  }
  txn->must_validate = false;
  if (s->is_damaged) {
    error_set(err, GW_ERROR_STATE, "a value in the state store is damaged: its checksum is wrong");
    return -1;
  }
  if (!extend_range(s, err)) return -1;
  s->answer.bytes = s->page.bytes ? s->page.bytes : (const uint8_t *)"";
  s->answer.size = s->page.size;
  s->answer.is_last |= s->is_over;
  *page = s->answer;
  if (txn->kept_limit) state_keep_page(txn, page, s->n_new, s->is_over);
  state_note_read(txn, READ_PAGE, NULL, page->bytes, page->size);
  return 1;
}
