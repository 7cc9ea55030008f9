/* Records of answers. A record is a head, the reply's header lines and its body. */
#include "server/invoke/repeat.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/function/pool.h"
#include "server/server.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

_Static_assert((int)REPEAT_DIGEST == (int)DIGEST_SIZE, "digests of base/digest.h");

enum {
  MAX_KEY = 255,
  TIME_KEY = 1 + 8 + REPEAT_DIGEST,
  MOST_DELETED = 2000,
  MOST_READ = 50000,
  SWEEP_MS = 10000,
  OVERHEAD = 200 /* of an answer in the store, keys included */
};

struct head {
  uint8_t request[REPEAT_DIGEST];
  uint64_t created_ms;
  uint32_t status, headers_size;
};

uint64_t repeat_now_ms(void) { return clock_ns(CLOCK_REALTIME) / 1000000; }

struct repeat_limits repeat_limits(const struct server_options *o) {
  return (struct repeat_limits){o->idempotency_keep * (uint64_t)1000, o->idempotency_size};
}

static void record_key(const struct repeat *r, uint8_t out[1 + REPEAT_DIGEST]) {
  out[0] = 'a';
  memcpy(out + 1, r->key, REPEAT_DIGEST);
}

/* In the order of time. */
static void time_key(uint64_t created_ms, const uint8_t digest[REPEAT_DIGEST], uint8_t out[TIME_KEY]) {
  out[0] = 't';
  for (int i = 0; i < 8; i++) out[1 + i] = (uint8_t)(created_ms >> (56 - 8 * i));
  memcpy(out + 9, digest, REPEAT_DIGEST);
}

static uint64_t time_of(const uint8_t *key) {
  uint64_t ms = 0;
  for (int i = 0; i < 8; i++) ms = ms << 8 | key[1 + i];
  return ms;
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static const char *header(const struct request *r, const char *name, int *n) {
  const char *value = NULL;
  *n = 0;
  for (uint32_t i = 0; i < r->n_headers; i++) {
    if (strcasecmp(r->headers[i].name, name) != 0) continue;
    value = r->headers[i].value;
    ++*n;
  }
  return value;
}

/* A piece of what is digested: its own digest, so that none runs into the next. */
static void add_piece(struct buffer *pieces, const void *bytes, size_t size) {
  struct digest digest = digest_of(size ? bytes : "", size);
  buffer_append(pieces, digest.bytes, sizeof digest.bytes);
}

static void add_text(struct buffer *pieces, const char *text) { add_piece(pieces, text, text ? strlen(text) : 0); }

static void finish_digest(struct buffer *pieces, uint8_t out[REPEAT_DIGEST]) {
  struct digest digest = digest_of(pieces->bytes, pieces->size);
  memcpy(out, digest.bytes, REPEAT_DIGEST);
  buffer_clear(pieces);
}

/* Who has another session does not get this one's answer. But the key stays the same: cookies change between two tries, and then
 * the effect must not come twice. */
static void add_cookies(struct buffer *pieces, const struct request *r) {
  for (uint32_t i = 0; i < r->n_headers; i++)
    if (!strcasecmp(r->headers[i].name, "Cookie")) add_text(pieces, r->headers[i].value);
}

/* Others' keys are others: what an Authorization header says, and our token, belongs to the key. */
bool repeat_begin(struct repeat *r, const struct request *request, const char **why) {
  int n, n_credentials;
  const char *key = header(request, "Idempotency-Key", &n);
  r->has_key = false;
  *why = NULL;
  if (!key || request_is_safe(request)) return true; /* which is not repeated, but made again */
  const char *credentials = header(request, "Authorization", &n_credentials);
  size_t size = strlen(key);
  if (n > 1) *why = "a request has one Idempotency-Key at most";
  bool is_string = size >= 2 && key[0] == '"' && key[size - 1] == '"';
  if (is_string) key++, size -= 2;
  if (!size || size > MAX_KEY) *why = "an Idempotency-Key has 1 to 255 characters";
  if (*why) return false;
  struct buffer of_key = {0}, of_request = {0};
  add_piece(&of_key, key, size);
  add_text(&of_key, credentials);
  add_text(&of_key, request->token);
  finish_digest(&of_key, r->key);
  add_text(&of_request, request->method_name);
  add_text(&of_request, request->target);
  add_piece(&of_request, request->body.bytes, request->body.size);
  add_cookies(&of_request, request);
  finish_digest(&of_request, r->request);
  r->has_key = true;
  return true;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static void enter_answers(struct state_txn *txn, const char *function) {
  char space[FUNCTION_ANSWERS_SIZE];
  state_txn_in(txn, function_answers(function, space));
}

int repeat_look(const struct repeat *r, struct state_txn *txn, const char *function, const void **value, size_t *size,
                struct gw_error *err) {
  uint8_t key[1 + REPEAT_DIGEST];
  record_key(r, key);
  enter_answers(txn, function);
  int found = state_txn_get(txn, key, sizeof key, value, size, err);
  state_txn_in(txn, NULL);
  return found;
}

enum repeat_outcome repeat_read(const struct repeat *r, const void *value, size_t size, uint64_t now_ms,
                                const struct repeat_limits *limits, struct handler *reply) {
  static const char note[] = "Idempotency-Replayed: true\r\n";
  struct head head;
  if (size < sizeof head) return REPEAT_NEW;
  memcpy(&head, value, sizeof head);
  if (now_ms > head.created_ms && now_ms - head.created_ms > limits->keep_ms) return REPEAT_NEW;
  if (memcmp(head.request, r->request, REPEAT_DIGEST) != 0) return REPEAT_OTHER;
  if (head.headers_size > size - sizeof head) return REPEAT_NEW;
  const uint8_t *headers = (const uint8_t *)value + sizeof head;
  handler_reset(reply);
  reply->status = head.status;
  buffer_append(&reply->reply_headers, headers, head.headers_size);
  buffer_append(&reply->reply_headers, note, sizeof note - 1);
  buffer_append(&reply->reply, headers + head.headers_size, size - sizeof head - head.headers_size);
  return REPEAT_SAME;
}

uint64_t repeat_size(const struct handler *reply) {
  return OVERHEAD + sizeof(struct head) + reply->reply_headers.size + reply->reply.size;
}

bool repeat_record(const struct repeat *r, struct state_txn *txn, const char *function, const struct handler *reply,
                   uint64_t now_ms, struct gw_error *err) {
  struct head head = {.created_ms = now_ms, .status = reply->status, .headers_size = (uint32_t)reply->reply_headers.size};
  struct buffer record = {0};
  uint8_t key[1 + REPEAT_DIGEST], time[TIME_KEY];
  uint64_t size = sizeof head + reply->reply_headers.size + reply->reply.size, stored = repeat_size(reply);
  if (size > STATE_MAX_VALUE)
    return error_set(err, GW_ERROR_BAD_REPLY,
                     "the reply to a request with an Idempotency-Key has %llu bytes with its headers, %d can be kept",
                     (unsigned long long)size, STATE_MAX_VALUE);
  memcpy(head.request, r->request, REPEAT_DIGEST);
  buffer_append(&record, &head, sizeof head);
  buffer_append(&record, reply->reply_headers.bytes, reply->reply_headers.size);
  buffer_append(&record, reply->reply.bytes, reply->reply.size);
  record_key(r, key);
  time_key(now_ms, r->key, time);
  enter_answers(txn, function);
  bool ok = state_txn_set(txn, key, sizeof key, record.bytes, record.size, err) &&
            state_txn_set(txn, time, sizeof time, &stored, sizeof stored, err);
  state_txn_in(txn, NULL);
  buffer_clear(&record);
  return ok;
}

/* --- sweeping ----------------------------------------------------------------------------------------------------- */

/* Answers by time, the oldest first. */
struct index {
  size_t n;
  uint64_t size;
  struct buffer keys, sizes;
};

/* How many pairs there were. */
static size_t read_page(struct index *index, const struct state_page *page) {
  for (const uint8_t *at = page->bytes; at < page->bytes + page->size;) {
    uint32_t sizes[2];
    uint64_t size = 0;
    memcpy(sizes, at, sizeof sizes);
    at += sizeof sizes;
    if (sizes[0] == TIME_KEY && sizes[1] == sizeof size) {
      memcpy(&size, at + sizes[0], sizeof size);
      buffer_append(&index->keys, at, TIME_KEY);
      buffer_append(&index->sizes, &size, sizeof size);
      index->n++;
      index->size += size;
    }
    at += sizes[0] + sizes[1];
  }
  return page->n_pairs;
}

/* One transaction's part of the index, behind what was read; false: there is no more. A transaction must not read them all. */
static bool read_part(struct state_store *store, const char *function, struct index *index) {
  struct state_txn *txn = state_txn_begin(store, function);
  struct gw_error err = {0};
  struct state_page page = {0};
  uint8_t first[TIME_KEY + 1] = "t"; /* the least key behind the last one */
  if (index->n) memcpy(first, index->keys.bytes + (index->n - 1) * TIME_KEY, TIME_KEY);
  struct state_range range = {.first = first, .end = "u", .first_size = index->n ? sizeof first : 1, .end_size = 1};
  size_t n = 0;
  state_txn_expect_no_writes(txn);
  enter_answers(txn, function);
  bool ok = state_txn_scan(txn, &range, &err);
  while (ok && !page.is_last && n < MOST_READ) {
    ok = state_txn_scan_next_wait(txn, UINT32_MAX, SIZE_MAX, &page, &err) == 1;
    if (ok) n += read_page(index, &page);
  }
  state_txn_abort(txn);
  return ok && !page.is_last;
}

static void read_index(struct state_store *store, const char *function, struct index *index) {
  for (size_t before; before = index->n, read_part(store, function, index) && index->n > before;) {
  }
}

/* A record that was written again since belongs to a later time. */
static bool delete_one(struct state_txn *txn, const uint8_t *time) {
  uint8_t key[1 + REPEAT_DIGEST] = {'a'};
  struct gw_error err = {0};
  struct head head;
  const void *value;
  size_t size;
  memcpy(key + 1, time + 9, REPEAT_DIGEST);
  int found = state_txn_get_wait(txn, key, sizeof key, &value, &size, &err);
  if (found < 0) return false;
  if (found && size >= sizeof head) memcpy(&head, value, sizeof head);
  if (found && size >= sizeof head && head.created_ms == time_of(time) && !state_txn_delete(txn, key, sizeof key, &err))
    return false;
  return state_txn_delete(txn, time, TIME_KEY, &err);
}

/* Whether the oldest that is left, at `i`, has to go. */
static bool is_too_much(const struct index *index, size_t i, uint64_t now_ms, const struct repeat_limits *limits) {
  if (i == index->n) return false;
  uint64_t created = time_of(index->keys.bytes + i * TIME_KEY);
  return index->size > limits->size || (created <= now_ms && now_ms - created > limits->keep_ms);
}

/* One transaction's part of them, from *i on; false: that failed. */
static bool delete_part(struct state_store *store, const char *function, struct index *index, size_t *i, uint64_t now_ms,
                        const struct repeat_limits *limits) {
  struct state_txn *txn = state_txn_begin(store, function);
  struct gw_error err = {0};
  bool ok = true;
  state_txn_expect_no_writes(txn);
  enter_answers(txn, function);
  for (size_t n = 0; ok && n < MOST_DELETED && is_too_much(index, *i, now_ms, limits); n++, ++*i) {
    uint64_t size;
    memcpy(&size, index->sizes.bytes + *i * sizeof size, sizeof size);
    index->size -= size;
    ok = delete_one(txn, index->keys.bytes + *i * TIME_KEY);
  }
  if (ok) return state_txn_commit_wait(txn, &err); /* what conflicts is left to the next time */
  state_txn_abort(txn);
  return false;
}

void repeat_sweep(struct state_store *store, const char *function, uint64_t now_ms, const struct repeat_limits *limits) {
  struct index index = {0};
  size_t i = 0;
  read_index(store, function, &index);
  while (is_too_much(&index, i, now_ms, limits) && delete_part(store, function, &index, &i, now_ms, limits)) {
  }
  buffer_clear(&index.keys);
  buffer_clear(&index.sizes);
}

/* --- when to sweep ------------------------------------------------------------------------------------------------ */

struct sweep {
  uv_work_t work; /* first */
  struct state_store *store;
  struct repeat_limits limits;
  char function[FUNCTION_MAX_FULL_NAME + 1];
};

/* One at a time: two of the same function would conflict, and worker threads have other things to do. */
static atomic_flag is_sweeping = ATOMIC_FLAG_INIT;

static void sweep_work(uv_work_t *work) {
  struct sweep *s = (struct sweep *)work;
  repeat_sweep(s->store, s->function, repeat_now_ms(), &s->limits);
}

static void sweep_done(uv_work_t *work, int status) {
  (void)status;
  free(work);
  atomic_flag_clear(&is_sweeping);
}

void repeat_recorded(struct pool *pool, const struct handler *reply) {
  struct loop *loop = pool->loop;
  pool->answers_size += repeat_size(reply);
  bool is_time = !pool->answers_swept_at || loop_now(loop) - pool->answers_swept_at >= SWEEP_MS;
  if (!is_time && pool->answers_size < loop->options->idempotency_size / 8) return;
  if (atomic_flag_test_and_set(&is_sweeping)) return; /* the next answer asks again */
  pool->answers_swept_at = loop_now(loop);
  pool->answers_size = 0;
  struct sweep *s = heap_new(1, sizeof *s);
  s->store = loop->state;
  s->limits = repeat_limits(loop->options);
  function_split_address(pool->address, s->function);
  uv_queue_work(&loop->uv, &s->work, sweep_work, sweep_done);
}
