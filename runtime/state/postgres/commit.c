/* Commits: a batch of transactions is one of the server's, with two exchanges.
 *
 * 1. It takes the locks of all spaces that the batch reads or writes, in the order of their numbers, and then asks what is there:
 *    versions, sizes, sums of ranges. A statement of READ COMMITTED sees all that was committed when it began, and the locks are
 *    held until the commit is visible to all. So nobody changes what was found, on any node.
 * 2. Validating happens here, transaction by transaction, each on top of those before it (struct slot). Only those that are
 *    valid are written, each key once, with the number of the batch as this node's last one; and that is committed.
 *
 * SERIALIZABLE would find conflicts, too, but its locks are of pages: batches of several nodes would fail as a whole for
 * neighbours in the index (docs/cluster.md has figures).
 *
 * When the connection is lost behind the commit, nobody knows what became of it. Then the same locks are taken again, which waits
 * for the end of the session that is lost, and the node's last batch says it.
 *
 * Large values. What a commit makes superfluous is known when their records are. So a transaction that writes or replaces a
 * record is a batch of its own, with one more exchange, which asks for the bytes of those chunks. */
#include "runtime/state/postgres/private.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/heap.h"

#include <stdlib.h>
#include <string.h>

enum {
  CLEARS = 256, /* behind the locks of spaces that of those who clear: so their numbers become visible in their order */
  PLACE_BITS = 20,
  MOST_TRIES = 5,
};

/* A key of the batch: as it is stored, and as it is behind the transactions so far. */
struct slot {
  struct slot *next; /* in order of first use, */
  struct slot *same; /* and with the same place in the table */
  const uint8_t *key;
  size_t size;
  bool was_there, is_there, is_large, is_written;
  uint64_t first_version, version;
  uint64_t value_size;
  const uint8_t *value; /* what is written; or what was there, when it is short */
};

struct batch {
  struct postgres *store;
  struct store_commit *first, *end;
  struct arena arena;
  struct slot *slots, **slots_end, **table;
  size_t n_slots, n_table;
  uint8_t lock[CLEARS + 1]; /* 1: shared, 2 or 3: exclusive */
  uint64_t number, now, until_ms;
  bool is_any, locks_clears;
  bool is_unknown; /* what became of the commit */
  struct answers answers;
  struct pq_params params;
  uint64_t settled; /* of the last seal */
  struct gw_error err;
};

/* Connecting has less time than what comes then: who waits for it should hear soon that there is no database. */
static PGconn *conn_of(struct batch *b) {
  uint64_t soon = postgres_now_ms() + WAIT_MS;
  return postgres_writer_connect(b->store->writer, soon < b->until_ms ? soon : b->until_ms, &b->err);
}

/* --- keys ---------------------------------------------------------------------------------------------------------- */

static struct slot *slot_of(struct batch *b, const uint8_t *key, size_t size) {
  struct slot **place = &b->table[state_range_digest(key, size, b->store->seed) % b->n_table];
  for (struct slot *s = *place; s; s = s->same)
    if (s->size == size && !memcmp(s->key, key, size)) return s;
  struct slot *s = arena_alloc(&b->arena, sizeof *s);
  *s = (struct slot){.same = *place, .key = arena_copy(&b->arena, key, size), .size = size};
  *place = s;
  *b->slots_end = s;
  b->slots_end = &s->next;
  b->n_slots++;
  return s;
}

/* A space and that of its chunks have one lock. */
static void lock_space(struct batch *b, const uint8_t *space, bool is_exclusive) {
  uint8_t *lock = &b->lock[space[0]];
  *lock |= is_exclusive ? 2 : 1;
}

static void note_keys(struct batch *b) {
  size_t n = 1;
  for (const struct store_commit *c = b->first; c != b->end; c = c->next)
    for (const struct store_key *k = c->keys; k; k = k->next) n++;
  b->n_table = 2 * n + 16;
  b->table = arena_alloc_array(&b->arena, b->n_table, sizeof *b->table);
  b->slots_end = &b->slots;
  for (const struct store_commit *c = b->first; c != b->end; c = c->next) {
    lock_space(b, c->space, true);
    slot_of(b, c->space, SPACE_SIZE);
    for (const struct store_key *k = c->keys; k; k = k->next) {
      if (!k->is_read && !k->is_written) continue;
      lock_space(b, k->bytes, k->is_written);
      slot_of(b, k->bytes, k->size);
    }
    for (const struct store_range *r = c->ranges; r; r = r->next) lock_space(b, r->first, false);
  }
}

/* --- what is there ------------------------------------------------------------------------------------------------- */

static bool send_locks(struct batch *b, PGconn *conn) {
  struct pq_params *p = &b->params;
  size_t n = 0;
  b->lock[CLEARS] = b->locks_clears ? 2 : 0;
  for (int i = 0; i <= CLEARS; i++) n += b->lock[i] != 0;
  pq_params_reset(p);
  pq_array_begin(p, PQ_INT4, n);
  for (int i = 0; i <= CLEARS; i++)
    if (b->lock[i]) pq_item_int4(p, i);
  pq_array_end(p);
  pq_array_begin(p, PQ_BOOL, n);
  for (int i = 0; i <= CLEARS; i++)
    if (b->lock[i]) pq_item_bool(p, b->lock[i] & 2);
  pq_array_end(p);
  return pq_send(conn, "begin", NULL) && pq_send(conn, "lock", p);
}

static void clear_key(uint8_t out[SPACE_SIZE], const uint8_t *space) {
  memcpy(out, space, SPACE_SIZE);
  out[SPACE_SIZE - 1] &= 0xfe; /* of a space and its chunks */
}

static bool send_find(struct batch *b, PGconn *conn) {
  struct pq_params *p = &b->params;
  pq_params_reset(p);
  pq_array_begin(p, PQ_BYTEA, b->n_slots);
  for (const struct slot *s = b->slots; s; s = s->next) pq_item_bytes(p, s->key, s->size);
  pq_array_end(p);
  if (!pq_send(conn, "find", p)) return false;
  size_t n = 0;
  for (const struct slot *s = b->slots; s; s = s->next) n += s->size >= SPACE_SIZE;
  pq_params_reset(p);
  pq_array_begin(p, PQ_BYTEA, n);
  for (const struct slot *s = b->slots; s; s = s->next) {
    uint8_t space[SPACE_SIZE];
    clear_key(space, s->key);
    pq_item_bytes(p, space, SPACE_SIZE);
  }
  pq_array_end(p);
  return pq_send(conn, "find_cleared", p);
}

/* As many keys as would still be the same range, with all that this batch may change, and one. */
static bool send_ranges(struct batch *b, PGconn *conn) {
  struct pq_params *p = &b->params;
  for (const struct store_commit *c = b->first; c != b->end; c = c->next)
    for (const struct store_range *r = c->ranges; r; r = r->next) {
      pq_params_reset(p);
      pq_add_bytes(p, r->first, r->first_size);
      pq_add_bytes(p, r->end, r->end_size);
      pq_add_int8(p, (int64_t)(r->n + b->n_slots + 1));
      if (!pq_send(conn, "sum_range", p)) return false;
    }
  return true;
}

static enum exchanged find(struct batch *b) {
  PGconn *conn = conn_of(b);
  if (!conn) return EXCHANGE_REFUSED;
  answers_clear(&b->answers);
  if (!send_locks(b, conn) || !send_find(b, conn) || !send_ranges(b, conn)) {
    /* the exchange meets the same */
  }
  enum exchanged result = postgres_writer_exchange(b->store->writer, b->until_ms, &b->answers, &b->err);
  if (result != EXCHANGE_OK) return result;
  b->number = (uint64_t)pq_int8(b->answers.items[1], 0, 1);
  const PGresult *found = b->answers.items[2];
  struct slot **slots = arena_alloc_array(&b->arena, b->n_slots + 1, sizeof *slots);
  size_t n = 0;
  for (struct slot *s = b->slots; s; s = s->next) slots[n++] = s;
  for (int i = 0; i < pq.PQntuples(found); i++) {
    struct slot *s = slots[(size_t)pq_int8(found, i, 0) - 1];
    s->was_there = s->is_there = true;
    s->first_version = s->version = (uint64_t)pq_int8(found, i, 1);
    s->is_large = pq_bool(found, i, 2);
    s->value_size = (uint64_t)pq_int4(found, i, 3);
    if (!pq.PQgetisnull(found, i, 4)) s->value = (const uint8_t *)pq.PQgetvalue(found, i, 4);
  }
  return EXCHANGE_OK;
}

/* --- validating ---------------------------------------------------------------------------------------------------- */

/* Between the bounds of a range, as the server orders keys. */
static bool is_before(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
  int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
  return order < 0 || (!order && a_size < b_size);
}

/* `result` is what is stored; those before in the batch have changed it. */
static bool range_is_same(const struct batch *b, const struct store_range *r, const PGresult *result) {
  uint64_t n = (uint64_t)pq_int8(result, 0, 0);
  uint64_t sum = ((uint64_t)pq_int8(result, 0, 1) << 32) + (uint64_t)pq_int8(result, 0, 2);
  for (const struct slot *s = b->slots; s; s = s->next) {
    if (!s->is_written || is_before(s->key, s->size, r->first, r->first_size) || !is_before(s->key, s->size, r->end, r->end_size))
      continue;
    n += (uint64_t)s->is_there - (uint64_t)s->was_there;
    if (s->is_there) sum += state_range_digest(s->key, s->size, s->version);
    if (s->was_there) sum -= state_range_digest(s->key, s->size, s->first_version);
  }
  return n == r->n && sum == r->sum;
}

static bool meets_clear(const struct batch *b, const struct store_commit *c) {
  const PGresult *cleared = b->answers.items[3];
  uint8_t space[SPACE_SIZE];
  for (int i = 0; i < pq.PQntuples(cleared); i++) {
    uint64_t at = (uint64_t)pq_int8(cleared, i, 1), known = atomic_load(&b->store->moment);
    if (at > known) atomic_store(&b->store->moment, at);
    if (at <= c->began) continue;
    const char *of = pq.PQgetvalue(cleared, i, 0);
    clear_key(space, c->space);
    if (!memcmp(space, of, SPACE_SIZE)) return true;
    for (const struct store_key *k = c->keys; k; k = k->next) {
      clear_key(space, k->bytes);
      if (k->is_written && !memcmp(space, of, SPACE_SIZE)) return true;
    }
  }
  return false;
}

/* Whether all that was read is the same; `range_at` is the answer to the commit's first range. */
static bool is_valid(struct batch *b, struct store_commit *c, size_t range_at) {
  c->changed_key = NULL;
  c->changed_range = NULL;
  for (const struct store_key *k = c->keys; k; k = k->next) {
    if (!k->is_read) continue;
    const struct slot *s = slot_of(b, k->bytes, k->size);
    uint64_t version = s->is_there ? s->version : 0, wanted = k->ahead ? k->ahead->version : k->version;
    if (version == wanted && !(k->ahead && !version)) continue;
    c->changed_key = k;
    return false;
  }
  for (const struct store_range *r = c->ranges; r; r = r->next)
    if (!range_is_same(b, r, b->answers.items[range_at++])) {
      c->changed_range = r;
      return false;
    }
  return !meets_clear(b, c);
}

static bool is_same_space(const uint8_t *a, const uint8_t *b) {
  return !memcmp(a, b, SPACE_SIZE - 1) && (a[SPACE_SIZE - 1] ^ b[SPACE_SIZE - 1]) <= 1;
}

static bool writes_large(struct batch *b, const struct store_commit *c) {
  for (const struct store_key *k = c->keys; k; k = k->next)
    if (k->is_written && (k->is_large || (slot_of(b, k->bytes, k->size)->is_there && slot_of(b, k->bytes, k->size)->is_large)))
      return true;
  return false;
}

/* --- chunks that go ------------------------------------------------------------------------------------------------ */

struct chunks {
  struct chunks *next;
  bool counts; /* they are of the commit's own space */
  uint8_t first[CHUNK_KEY], end[CHUNK_KEY];
};

static void add_chunks(struct batch *b, struct chunks **list, const uint8_t *space, const uint8_t *id, uint32_t from,
                       bool counts) {
  struct chunks *c = arena_alloc(&b->arena, sizeof *c);
  *c = (struct chunks){.next = *list, .counts = counts};
  state_chunk_key(c->first, space, id, from);
  state_chunk_key(c->end, space, id, 0);
  for (int i = CHUNK_KEY - 4; i-- > 0 && !++c->end[i];) {
  }
  *list = c;
}

static struct chunks *superfluous_chunks(struct batch *b, const struct store_commit *c) {
  struct chunks *list = NULL;
  for (const struct store_key *k = c->keys; k; k = k->next) {
    if (!k->is_written) continue;
    const struct slot *s = slot_of(b, k->bytes, k->size);
    bool was_large = s->is_there && s->is_large && s->value && s->value_size == LARGE_RECORD;
    bool is_same = was_large && k->is_large && !memcmp(s->value, k->value, LARGE_ID), counts = is_same_space(k->bytes, c->space);
    if (was_large && !k->is_moved && !is_same) add_chunks(b, &list, k->bytes, s->value, 0, counts);
    if (k->is_large && k->kept != CHUNKS_ALL_KEPT) add_chunks(b, &list, k->bytes, k->value, k->kept, counts);
  }
  return list;
}

/* What they take, of the commit's own space. */
static enum exchanged count_chunks(struct batch *b, const struct chunks *list, uint64_t *bytes) {
  PGconn *conn = conn_of(b);
  struct answers answers = {0};
  *bytes = 0;
  if (!list) return EXCHANGE_OK;
  for (const struct chunks *c = list; c; c = c->next) {
    pq_params_reset(&b->params);
    pq_add_bytes(&b->params, c->first, CHUNK_KEY);
    pq_add_bytes(&b->params, c->end, CHUNK_KEY);
    if (!pq_send(conn, "sum_bytes", &b->params)) break;
  }
  enum exchanged result = postgres_writer_exchange(b->store->writer, b->until_ms, &answers, &b->err);
  const struct chunks *c = list;
  for (size_t i = 0; result == EXCHANGE_OK && i < answers.n; i++, c = c->next)
    if (c->counts) *bytes += (uint64_t)pq_int8(answers.items[i], 0, 0);
  answers_clear(&answers);
  return result;
}

/* --- applying ------------------------------------------------------------------------------------------------------ */

static void read_use(const struct batch *b, const struct slot *s, struct store_use *use) {
  if (state_use_read(use, s->is_there ? s->value : NULL, s->is_there ? s->value_size : 0, b->now)) state_use_settle(use, b->now);
}

/* A key's new value; NULL: none any more. */
static void write_slot(struct slot *s, const void *value, size_t size, bool is_large, uint64_t version) {
  s->is_written = true;
  s->is_there = value != NULL;
  s->is_large = is_large;
  s->value = value;
  s->value_size = size;
  s->version = version;
}

static void write_use(struct batch *b, struct slot *s, const struct store_use *use, uint64_t version) {
  write_slot(s, arena_copy(&b->arena, use, sizeof *use), sizeof *use, false, version);
}

/* The bytes of its space behind the commit; false: it adds to what is no number. */
static bool reckon(struct batch *b, const struct store_commit *c, uint64_t chunks, uint64_t *after) {
  bool can_add = true;
  for (const struct store_key *k = c->keys; k; k = k->next) {
    if (!k->is_written) continue;
    const struct slot *s = slot_of(b, k->bytes, k->size);
    if (k->is_add && s->is_there && s->value_size != sizeof k->delta) can_add = false;
    if (!is_same_space(k->bytes, c->space)) continue;
    if (s->is_there && !k->is_fresh) *after -= k->size + PAIR_BYTES + s->value_size;
    if (!k->is_delete) *after += k->size + PAIR_BYTES + (k->is_add ? sizeof k->delta : k->value_size);
  }
  *after -= chunks;
  return can_add;
}

static void write_key(struct batch *b, const struct store_key *k, uint64_t version) {
  struct slot *s = slot_of(b, k->bytes, k->size);
  if (k->hands_on) k->hands_on->version = version;
  if (k->is_delete) {
    write_slot(s, NULL, 0, false, version);
  } else if (k->is_add) {
    uint64_t number = 0;
    if (s->is_there) memcpy(&number, s->value, sizeof number);
    number += (uint64_t)k->delta;
    write_slot(s, arena_copy(&b->arena, &number, sizeof number), sizeof number, false, version);
  } else {
    write_slot(s, k->value_size ? k->value : (const uint8_t *)"", k->value_size, k->is_large, version);
  }
}

static void write_seal(struct batch *b, const struct state_seal *seal, uint64_t version) {
  uint8_t seals[SPACE_SIZE], key[SPACE_SIZE + sizeof seal->index];
  uint64_t index = __builtin_bswap64(seal->index);
  state_seal_space(seals);
  postgres_space(b->store, seals, key);
  memcpy(key + SPACE_SIZE, &index, sizeof index);
  write_slot(slot_of(b, key, sizeof key), arena_copy(&b->arena, seal->bytes, seal->size), seal->size, false, version);
  if (seal->settled > b->settled) b->settled = seal->settled;
}

static void apply(struct batch *b, struct store_commit *c, uint64_t chunks) {
  struct slot *space = slot_of(b, c->space, SPACE_SIZE);
  struct store_use use;
  uint64_t version = b->number << PLACE_BITS | (c->place & ((1u << PLACE_BITS) - 1));
  read_use(b, space, &use);
  uint64_t before = use.bytes, after = before;
  bool can_add = reckon(b, c, chunks, &after);
  c->outcome = can_add ? STATE_COMMITTED : STATE_CONFLICT;
  if (!can_add) return;
  bool is_over = c->limit && after > before && after > c->limit;
  if (c->seal && !is_over) state_use_tell(&use, c->seal);
  if (is_over || (c->seal && !state_seal_make(c))) {
    c->outcome = STATE_FAILED;
    return;
  }
  if (c->seal) write_seal(b, c->seal, version);
  bool is_told = c->seal && c->seal->rent;
  if (is_told) state_use_told(&use);
  use.bytes = after;
  if (after != before || is_told) write_use(b, space, &use, version);
  for (const struct store_key *k = c->keys; k; k = k->next)
    if (k->is_written) {
      write_key(b, k, version);
      b->is_any = true;
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------- */

static bool is_put(const struct slot *s) { return s->is_written && s->is_there; }
static bool is_removed(const struct slot *s) { return s->is_written && !s->is_there && s->was_there; }

static bool send_put(struct batch *b, PGconn *conn) {
  struct pq_params *p = &b->params;
  size_t n = 0;
  for (const struct slot *s = b->slots; s; s = s->next) n += is_put(s);
  if (!n) return true;
#define ARRAY(TYPE, ITEM)                               \
  pq_array_begin(p, TYPE, n);                           \
  for (const struct slot *s = b->slots; s; s = s->next) \
    if (is_put(s)) ITEM;                                \
  pq_array_end(p)
  pq_params_reset(p);
  ARRAY(PQ_BYTEA, pq_item_bytes(p, s->key, s->size));
  ARRAY(PQ_INT8, pq_item_int8(p, (int64_t)s->version));
  ARRAY(PQ_INT8, pq_item_int8(p, (int64_t)state_range_digest(s->key, s->size, s->version)));
  ARRAY(PQ_BOOL, pq_item_bool(p, s->is_large));
  ARRAY(PQ_BYTEA, pq_item_bytes(p, s->value, s->value_size));
#undef ARRAY
  return pq_send(conn, "put", p);
}

static bool send_remove(struct batch *b, PGconn *conn) {
  struct pq_params *p = &b->params;
  size_t n = 0;
  for (const struct slot *s = b->slots; s; s = s->next) n += is_removed(s);
  if (!n) return true;
  pq_params_reset(p);
  pq_array_begin(p, PQ_BYTEA, n);
  for (const struct slot *s = b->slots; s; s = s->next)
    if (is_removed(s)) pq_item_bytes(p, s->key, s->size);
  pq_array_end(p);
  return pq_send(conn, "remove", p);
}

static bool send_remove_range(struct batch *b, PGconn *conn, const uint8_t *first, size_t first_size, const uint8_t *end,
                              size_t end_size) {
  pq_params_reset(&b->params);
  pq_add_bytes(&b->params, first, first_size);
  pq_add_bytes(&b->params, end, end_size);
  return pq_send(conn, "remove_range", &b->params);
}

/* Seals that nobody needs any more. */
static bool send_settled(struct batch *b, PGconn *conn) {
  uint8_t seals[SPACE_SIZE], first[SPACE_SIZE + 1] = {0}, end[SPACE_SIZE + sizeof b->settled];
  uint64_t settled = __builtin_bswap64(b->settled);
  if (!b->settled) return true;
  state_seal_space(seals);
  postgres_space(b->store, seals, first);
  memcpy(end, first, SPACE_SIZE);
  memcpy(end + SPACE_SIZE, &settled, sizeof settled);
  return send_remove_range(b, conn, first, sizeof first, end, sizeof end);
}

static bool send_end(struct batch *b, PGconn *conn) {
  pq_params_reset(&b->params);
  pq_add_bytes(&b->params, b->store->node, sizeof b->store->node);
  pq_add_int8(&b->params, (int64_t)b->number);
  return pq_send(conn, "note_batch", &b->params) && pq_send(conn, "commit", NULL);
}

static bool is_committed(const struct answers *answers) {
  return answers->n && !strcmp(pq.PQcmdStatus(answers->items[answers->n - 1]), "COMMIT");
}

/* What became of a commit whose answer never came. */
static enum exchanged find_out(struct batch *b) {
  struct gw_error ignored = {0};
  b->until_ms = postgres_now_ms() + DEADLINE_MS;
  for (int i = 0; i < MOST_TRIES; i++) {
    PGconn *conn = postgres_writer_connect(b->store->writer, b->until_ms, &ignored);
    answers_clear(&b->answers);
    if (!conn) break;
    bool ok = send_locks(b, conn);
    pq_params_reset(&b->params);
    pq_add_bytes(&b->params, b->store->node, sizeof b->store->node);
    ok = ok && pq_send(conn, "last_batch", &b->params) && pq_send(conn, "rollback", NULL);
    enum exchanged result = postgres_writer_exchange(b->store->writer, b->until_ms, &b->answers, &ignored);
    if (!ok || result == EXCHANGE_LOST || result == EXCHANGE_AGAIN) continue;
    if (result != EXCHANGE_OK) break;
    const PGresult *last = b->answers.items[2];
    bool is_ours = pq.PQntuples(last) && (uint64_t)pq_int8(last, 0, 0) == b->number;
    return is_ours ? EXCHANGE_OK : EXCHANGE_AGAIN;
  }
  b->err = (struct gw_error){0};
  b->is_unknown = true;
  error_set(&b->err, GW_ERROR_UNAVAILABLE,
            "the connection to the database was lost while it committed: it is not known whether this was stored");
  return EXCHANGE_LOST;
}

static enum exchanged finish(struct batch *b, const struct chunks *chunks) {
  PGconn *conn = conn_of(b);
  bool ok = conn != NULL;
  answers_clear(&b->answers);
  for (const struct chunks *c = chunks; ok && c; c = c->next)
    ok = send_remove_range(b, conn, c->first, CHUNK_KEY, c->end, CHUNK_KEY);
  ok = ok && send_settled(b, conn) && send_remove(b, conn) && send_put(b, conn) && send_end(b, conn);
  enum exchanged result = postgres_writer_exchange(b->store->writer, b->until_ms, &b->answers, &b->err);
  if (result == EXCHANGE_LOST) return find_out(b);
  return result == EXCHANGE_OK && !is_committed(&b->answers) ? EXCHANGE_AGAIN : result;
}

static void give_up(struct batch *b) {
  struct answers ignored = {0};
  PGconn *conn = conn_of(b);
  if (conn && pq_send(conn, "rollback", NULL))
    postgres_writer_exchange(b->store->writer, b->until_ms, &ignored, &(struct gw_error){0});
  answers_clear(&ignored);
}

/* --- batches ------------------------------------------------------------------------------------------------------- */

/* Validates and applies, up to one that must be a batch of its own: b->end. */
static enum exchanged validate(struct batch *b, struct chunks **chunks) {
  size_t range_at = 4;
  for (struct store_commit *c = b->first; c != b->end; c = c->next) {
    uint64_t bytes = 0;
    bool valid = is_valid(b, c, range_at);
    for (const struct store_range *r = c->ranges; r; r = r->next) range_at++;
    c->outcome = STATE_CONFLICT;
    if (!valid) continue;
    bool is_large = writes_large(b, c);
    if (is_large && b->first->next != b->end) {
      if (c == b->first) {
        b->end = c->next; /* it is the only one: what was found is still locked */
      } else {
        b->end = c;
        break;
      }
    }
    if (is_large) {
      *chunks = superfluous_chunks(b, c);
      enum exchanged result = count_chunks(b, *chunks, &bytes);
      if (result != EXCHANGE_OK) return result;
    }
    apply(b, c, bytes);
    if (c->outcome != STATE_COMMITTED) *chunks = NULL;
  }
  return EXCHANGE_OK;
}

static void batch_reset(struct batch *b) {
  arena_clear(&b->arena);
  answers_clear(&b->answers);
  b->slots = NULL;
  b->n_slots = 0;
  b->is_any = b->locks_clears = b->is_unknown = false;
  b->settled = 0;
  b->err = (struct gw_error){0};
  memset(b->lock, 0, sizeof b->lock);
}

static enum exchanged try_batch(struct batch *b) {
  struct chunks *chunks = NULL;
  batch_reset(b);
  b->now = state_use_now();
  note_keys(b);
  enum exchanged result = find(b);
  if (result == EXCHANGE_LOST) return EXCHANGE_AGAIN; /* nothing was written yet */
  if (result != EXCHANGE_OK) return result;
  result = validate(b, &chunks);
  if (result == EXCHANGE_LOST) return EXCHANGE_AGAIN;
  if (result != EXCHANGE_OK) return result;
  if (b->is_any) return finish(b, chunks);
  give_up(b);
  return EXCHANGE_OK;
}

static void take_back(const struct store_commit *c) {
  for (const struct store_key *k = c->keys; k; k = k->next)
    if (k->hands_on) k->hands_on->version = 0;
}

static void answer(const struct batch *b, struct store_commit *c, bool ok) {
  struct gw_error err = {0};
  if (!ok || c->outcome != STATE_COMMITTED) take_back(c);
  if (!ok && !b->is_unknown)
    postgres_hide(&b->err, &err);
  else if (!ok)
    err = b->err;
  else if (c->outcome == STATE_FAILED && c->is_unsealed)
    error_set(&err, GW_ERROR_UNAVAILABLE, "its receipt cannot be stored");
  else if (c->outcome == STATE_FAILED)
    error_set(&err, GW_ERROR_LIMIT, "its state would take more than %llu bytes, which is the limit",
              (unsigned long long)c->limit);
  c->done(c, ok ? c->outcome : STATE_FAILED, err.code ? &err : NULL);
}

/* Tries from the first on, as far as one batch goes; b->end is where that is. */
static bool run_batch(struct batch *b) {
  enum exchanged result = EXCHANGE_AGAIN;
  struct store_commit *end = b->end;
  postgres_writer_lock(b->store->writer);
  for (int i = 0; i < MOST_TRIES && result == EXCHANGE_AGAIN; i++) {
    b->until_ms = postgres_now_ms() + DEADLINE_MS;
    b->end = end;
    result = try_batch(b);
    for (struct store_commit *c = b->first; result == EXCHANGE_AGAIN && c != b->end; c = c->next) take_back(c);
    bool is_of_one = result == EXCHANGE_REFUSED && b->err.code != GW_ERROR_UNAVAILABLE && b->first->next != b->end;
    if (!is_of_one) continue;
    end = b->first->next; /* what the server does not take must not fail its neighbours */
    result = EXCHANGE_AGAIN;
  }
  postgres_writer_unlock(b->store->writer);
  if (result == EXCHANGE_AGAIN) error_set(&b->err, GW_ERROR_UNAVAILABLE, "others were in the way of the commit");
  return result == EXCHANGE_OK;
}

void postgres_commit(struct store *self, struct store_commit *first) {
  struct batch b = {.store = postgres_of(self)};
  uint32_t place = 0;
  for (struct store_commit *c = first; c; c = c->next) c->place = place++;
  for (struct store_commit *c = first, *next; c;) {
    b.first = c;
    b.end = NULL;
    bool ok = run_batch(&b);
    for (; c != b.end; c = next) {
      next = c->next;
      answer(&b, c, ok);
    }
  }
  batch_reset(&b);
  pq_params_clear(&b.params);
}

/* --- clearing ------------------------------------------------------------------------------------------------------ */

enum { NOTED_AT = 2 /* the answer to `note_cleared` among those to send_clear's */ };

static bool send_clear(struct batch *b, PGconn *conn, const struct store_clear *clear, const uint8_t *space,
                       struct store_use *use) {
  uint8_t first[SPACE_SIZE + 1] = {0}, end[SPACE_SIZE], key[SPACE_SIZE], chunks[SPACE_SIZE];
  bool ok = true;
  state_chunk_space(chunks, space);
  for (int i = 0; ok && i < 2; i++) {
    memcpy(first, i ? chunks : space, SPACE_SIZE);
    memcpy(end, first, SPACE_SIZE);
    for (int k = SPACE_SIZE; k-- > 0 && !++end[k];) {
    }
    ok = send_remove_range(b, conn, first, sizeof first, end, sizeof end);
  }
  struct slot *s = slot_of(b, space, SPACE_SIZE);
  if (use->bytes || use->rent) {
    use->bytes = 0;
    state_use_told(use);
    write_use(b, s, use, b->number << PLACE_BITS);
  }
  if (clear->also) write_slot(slot_of(b, clear->also->bytes, clear->also->size), NULL, 0, false, 0);
  clear_key(key, space);
  pq_params_reset(&b->params);
  pq_add_bytes(&b->params, key, SPACE_SIZE);
  return ok && pq_send(conn, "note_cleared", &b->params) && send_remove(b, conn) && send_put(b, conn) && send_end(b, conn);
}

static enum exchanged try_clear(struct batch *b, const struct store_clear *clear) {
  struct store_key keys[2] = {0};
  struct store_commit of = {.keys = keys};
  struct store_use use;
  uint8_t space[SPACE_SIZE];
  batch_reset(b);
  b->now = state_use_now();
  postgres_space(b->store, clear->space, space);
  of.space = space;
  keys[0] = clear->also ? *clear->also : (struct store_key){.bytes = space, .size = SPACE_SIZE};
  keys[0].is_written = true;
  keys[0].next = NULL;
  b->first = &of;
  b->end = NULL;
  note_keys(b);
  b->locks_clears = true;
  enum exchanged result = find(b);
  if (result != EXCHANGE_OK) return result == EXCHANGE_LOST ? EXCHANGE_AGAIN : result;
  read_use(b, slot_of(b, space, SPACE_SIZE), &use);
  PGconn *conn = conn_of(b);
  answers_clear(&b->answers);
  if (!conn || !send_clear(b, conn, clear, space, &use)) {
    /* the exchange meets the same */
  }
  result = postgres_writer_exchange(b->store->writer, b->until_ms, &b->answers, &b->err);
  if (result == EXCHANGE_LOST) return find_out(b); /* the moment stays old */
  if (result == EXCHANGE_OK && !is_committed(&b->answers)) return EXCHANGE_AGAIN;
  if (result == EXCHANGE_OK) atomic_store(&b->store->moment, (uint64_t)pq_int8(b->answers.items[NOTED_AT], 0, 0));
  return result;
}

void postgres_clear(struct store *self, struct store_clear *clear) {
  struct batch b = {.store = postgres_of(self)};
  enum exchanged result = EXCHANGE_AGAIN;
  postgres_writer_lock(b.store->writer);
  for (int i = 0; i < MOST_TRIES && result == EXCHANGE_AGAIN; i++) {
    b.until_ms = postgres_now_ms() + DEADLINE_MS;
    result = try_clear(&b, clear);
  }
  postgres_writer_unlock(b.store->writer);
  if (result != EXCHANGE_OK) {
    error_set(&b.err, GW_ERROR_UNAVAILABLE, "others were in the way");
    postgres_hide(&b.err, &clear->err);
  }
  batch_reset(&b);
  pq_params_clear(&b.params);
  clear->done(clear);
}
