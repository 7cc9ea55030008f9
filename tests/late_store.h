/* A store in memory that answers from a thread of its own, late and in no order: what a store over a network looks like to
 * transactions (runtime/state/store_ops.h). What it stores lives in a struct late_data, as on a disk, which outlives the store.
 *
 * All versions of all keys are kept in one list; a snapshot is a place in it. */
#ifndef TESTS_LATE_STORE_H
#define TESTS_LATE_STORE_H

#include "base/error.h"
#include "runtime/state/store_ops.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct late_value {
  struct late_value *older;
  uint64_t version;
  bool is_delete, is_large;
  size_t key_size, size;
  uint8_t *bytes; /* key, then value */
};

struct late_cleared {
  struct late_cleared *next;
  uint8_t space[SPACE_SIZE];
  uint64_t at;
};

struct late_data {
  struct late_value *newest;
  uint64_t version;
};

struct snapshot {
  struct late_value *newest;
  void *value; /* of the last get, and gone with the next */
};

enum late_kind { LATE_GET, LATE_SCAN, LATE_COMMIT, LATE_CLEAR };

struct late_question {
  struct late_question *next;
  enum late_kind kind;
  void *what;
};

struct late_store {
  struct store store; /* first */
  struct late_data *data;
  _Atomic uint64_t n_clears;
  struct late_cleared *cleared;
  uint64_t random;
  pthread_t thread;
  pthread_mutex_t mutex; /* guards all, but no answer is given under it */
  pthread_cond_t changed;
  struct late_question *questions;
  bool is_closing;

  /* set by tests at any time, read where they matter */
  atomic_uint delay_us;  /* up to so much before each answer */
  atomic_uint fail_gets; /* every so manyth get fails; 0: none */
  atomic_bool is_held;   /* gets are not answered for now */
  atomic_bool is_prompt; /* gets are answered before the call returns */
  atomic_uint n_gets, n_snapshots, n_waiting;
};

static uint32_t late_random(struct late_store *s, uint32_t below) {
  s->random ^= s->random << 13;
  s->random ^= s->random >> 7;
  s->random ^= s->random << 17;
  return (uint32_t)(s->random >> 20) % below;
}

/* --- what is stored ------------------------------------------------------------------------------------------------ */

static void late_data_clear(struct late_data *data) {
  for (struct late_value *v = data->newest, *older; v; v = older) {
    older = v->older;
    free(v->bytes);
    free(v);
  }
  *data = (struct late_data){0};
}

/* The key's value as of `newest`; NULL: none, or deleted. */
static struct late_value *late_find(struct late_value *newest, const uint8_t *key, size_t size) {
  for (struct late_value *v = newest; v; v = v->older)
    if (v->key_size == size && !memcmp(v->bytes, key, size)) return v->is_delete ? NULL : v;
  return NULL;
}

static void late_put(struct late_data *data, const uint8_t *key, size_t key_size, bool is_delete, const void *value,
                     size_t size) {
  struct late_value *v = calloc(1, sizeof *v);
  *v = (struct late_value){data->newest, data->version, is_delete, false, key_size, size, malloc(key_size + size)};
  memcpy(v->bytes, key, key_size);
  if (size) memcpy(v->bytes + key_size, value, size);
  data->newest = v;
}

static int late_order(const struct late_value *a, const struct late_value *b) {
  int order = memcmp(a->bytes, b->bytes, a->key_size < b->key_size ? a->key_size : b->key_size);
  return order ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

/* Counts what is there now, key by key. */
static bool late_range_is_same(struct late_value *newest, const struct store_range *range) {
  struct late_value first = {.bytes = range->first, .key_size = range->first_size};
  struct late_value end = {.bytes = range->end, .key_size = range->end_size};
  uint64_t n = 0, sum = 0;
  for (const struct late_value *v = newest; v; v = v->older) {
    if (late_order(v, &first) < 0 || late_order(v, &end) >= 0 || late_find(newest, v->bytes, v->key_size) != v) continue;
    n++;
    sum += state_range_digest(v->bytes, v->key_size, v->version);
  }
  return n == range->n && sum == range->sum;
}

static bool late_is_same(struct late_value *newest, const struct store_key *keys, const struct store_range *ranges,
                         bool is_commit) {
  for (const struct store_key *k = keys; k; k = k->next) {
    const struct late_value *v = k->is_read ? late_find(newest, k->bytes, k->size) : NULL;
    if (!k->is_read || (k->ahead && !is_commit)) continue;
    if ((v ? v->version : 0) != (k->ahead ? k->ahead->version : k->version) || (k->ahead && !v)) return false;
  }
  for (const struct store_range *r = ranges; r; r = r->next)
    if (!late_range_is_same(newest, r)) return false;
  return true;
}

static bool late_check(const struct late_value *newest, const struct store_reads *check) {
  return !check || late_is_same((struct late_value *)newest, check->keys, check->ranges, false);
}

/* The next key of a space behind `last`, NULL: the first; or the one before it, NULL: the last. */
static struct late_value *late_step(struct late_value *newest, const uint8_t *space, const struct late_value *last,
                                    bool is_backward) {
  int sign = is_backward ? -1 : 1;
  struct late_value *best = NULL;
  for (struct late_value *v = newest; v; v = v->older) {
    if (v->key_size <= SPACE_SIZE || memcmp(v->bytes, space, SPACE_SIZE) != 0) continue;
    if (last && sign * late_order(v, last) <= 0) continue;
    if (best && sign * late_order(v, best) >= 0) continue;
    best = v; /* of versions of one key, the first met: the newest */
  }
  return best;
}

static struct late_value *late_next(struct late_value *newest, const uint8_t *space, const struct late_value *last) {
  return late_step(newest, space, last, false);
}

/* --- answers -------------------------------------------------------------------------------------------------------- */

static void late_answer_get(struct late_store *s, struct store_get *get) {
  unsigned every = s->fail_gets, n = ++s->n_gets;
  free(get->snapshot->value);
  get->snapshot->value = NULL;
  get->version = 0;
  get->value = NULL;
  get->value_size = 0;
  get->is_large = false;
  get->is_stale = !late_check(get->snapshot->newest, get->check);
  const struct late_value *v = late_find(get->snapshot->newest, get->key->bytes, get->key->size);
  if (every && n % every == 0) {
    error_set(&get->err, GW_ERROR_STATE, "the store is far away");
  } else if (v && !get->is_stale) {
    get->version = v->version;
    get->is_large = v->is_large;
    get->snapshot->value = malloc(v->size + 1);
    memcpy(get->snapshot->value, v->bytes + v->key_size, v->size);
    get->value = get->snapshot->value;
    get->value_size = v->size;
  }
}

/* Of a key in its space. */
static bool late_is_before(const struct late_value *v, const void *bound, size_t size) {
  struct late_value key = {.bytes = v->bytes + SPACE_SIZE, .key_size = v->key_size - SPACE_SIZE};
  struct late_value other = {.bytes = (uint8_t *)bound, .key_size = size};
  return late_order(&key, &other) < 0;
}

static void late_answer_scan(struct store_scan *scan) {
  scan->is_stale = !late_check(scan->snapshot->newest, scan->check);
  if (scan->is_stale) return;
  for (struct late_value *v = NULL; (v = late_step(scan->snapshot->newest, scan->space, v, scan->is_backward));) {
    if (v->is_delete || (scan->first && late_is_before(v, scan->first, scan->first_size))) continue;
    if (scan->end && !late_is_before(v, scan->end, scan->end_size)) continue;
    scan->version = v->version;
    scan->is_large = v->is_large;
    if (!scan->each(scan, v->bytes + SPACE_SIZE, v->key_size - SPACE_SIZE, v->bytes + v->key_size, v->size)) break;
  }
}

static void late_remove_chunks(struct late_data *data, const uint8_t *space, const uint8_t *id, uint32_t from) {
  uint8_t first[CHUNK_KEY];
  struct late_value *before = data->newest, bound = {.bytes = first, .key_size = CHUNK_KEY};
  state_chunk_key(first, space, id, from);
  for (struct late_value *v = before; v; v = v->older) {
    if (v->key_size != CHUNK_KEY || memcmp(v->bytes, first, CHUNK_KEY - 4) != 0 || late_order(v, &bound) < 0) continue;
    if (late_find(before, v->bytes, v->key_size) == v) late_put(data, v->bytes, v->key_size, true, NULL, 0);
  }
}

static void late_remove_superfluous(struct late_data *data, const struct store_key *k) {
  const struct late_value *old = k->is_written ? late_find(data->newest, k->bytes, k->size) : NULL;
  const uint8_t *id = old ? old->bytes + old->key_size : NULL;
  if (!k->is_written) return;
  if (old && old->is_large && !k->is_moved && !(k->is_large && !memcmp(id, k->value, LARGE_ID)))
    late_remove_chunks(data, k->bytes, id, 0);
  if (k->is_large && k->kept != CHUNKS_ALL_KEPT) late_remove_chunks(data, k->bytes, k->value, k->kept);
}

static bool late_writes_to(const struct store_commit *c, const uint8_t *space) {
  bool writes = !memcmp(space, c->space, SPACE_SIZE);
  for (const struct store_key *k = c->keys; k; k = k->next)
    writes |=
        k->is_written && !memcmp(space, k->bytes, SPACE_SIZE - 1) && (space[SPACE_SIZE - 1] ^ k->bytes[SPACE_SIZE - 1]) <= 1;
  return writes;
}

static void late_put_seal(struct late_data *data, const struct state_seal *seal) {
  uint8_t key[SPACE_SIZE + sizeof seal->index];
  uint64_t index = __builtin_bswap64(seal->index);
  state_seal_space(key);
  memcpy(key + SPACE_SIZE, &index, sizeof index);
  late_put(data, key, sizeof key, false, seal->bytes, seal->size);
}

/* Its seal cannot fail here. */
static void late_apply(struct late_store *s, struct store_commit *c) {
  bool is_valid = late_is_same(s->data->newest, c->keys, c->ranges, true);
  for (const struct late_cleared *i = s->cleared; i; i = i->next)
    if (late_writes_to(c, i->space) && i->at > c->began) is_valid = false;
  for (const struct store_key *k = c->keys; k; k = k->next) {
    const struct late_value *v = k->is_add ? late_find(s->data->newest, k->bytes, k->size) : NULL;
    if (v && v->size != sizeof k->delta) is_valid = false;
  }
  c->outcome = is_valid ? STATE_COMMITTED : STATE_CONFLICT;
  if (!is_valid) return;
  s->data->version++;
  if (c->seal && state_seal_make(c)) late_put_seal(s->data, c->seal);
  for (const struct store_key *k = c->keys; k; k = k->next) late_remove_superfluous(s->data, k);
  for (const struct store_key *k = c->keys; k; k = k->next) {
    const struct late_value *v = k->is_add ? late_find(s->data->newest, k->bytes, k->size) : NULL;
    uint64_t number = 0;
    if (v) memcpy(&number, v->bytes + v->key_size, sizeof number);
    number += (uint64_t)k->delta;
    if (k->is_add)
      late_put(s->data, k->bytes, k->size, false, &number, sizeof number);
    else if (k->is_written)
      late_put(s->data, k->bytes, k->size, k->is_delete, k->value, k->is_delete ? 0 : k->value_size);
    if (k->is_written) s->data->newest->is_large = k->is_large;
    if (k->is_written && k->hands_on) k->hands_on->version = s->data->newest->version;
  }
}

static void late_apply_clear(struct late_store *s, const struct store_clear *clear) {
  struct late_cleared *c = calloc(1, sizeof *c);
  memcpy(c->space, clear->space, SPACE_SIZE);
  c->at = ++s->n_clears;
  c->next = s->cleared;
  s->cleared = c;
  s->data->version++;
  struct late_value *before = s->data->newest;
  uint8_t chunks[SPACE_SIZE];
  state_chunk_space(chunks, clear->space);
  for (struct late_value *v = NULL; (v = late_next(before, clear->space, v));)
    if (!v->is_delete) late_put(s->data, v->bytes, v->key_size, true, NULL, 0);
  for (struct late_value *v = NULL; (v = late_next(before, chunks, v));)
    if (!v->is_delete) late_put(s->data, v->bytes, v->key_size, true, NULL, 0);
  if (clear->also) late_put(s->data, clear->also->bytes, clear->also->size, true, NULL, 0);
}

/* Under the mutex. */
static void late_work(struct late_store *s, const struct late_question *q) {
  switch (q->kind) {
  case LATE_GET: late_answer_get(s, q->what); break;
  case LATE_SCAN: break; /* calls the asker */
  case LATE_COMMIT:
    for (struct store_commit *c = q->what; c; c = c->next) late_apply(s, c);
    break;
  case LATE_CLEAR: late_apply_clear(s, q->what); break;
  }
}

/* The last one first, for a change. */
static void late_answer_commits(struct store_commit *c) {
  if (!c) return;
  late_answer_commits(c->next);
  c->done(c, c->outcome, NULL);
}

static void late_answer(const struct late_question *q) {
  switch (q->kind) {
  case LATE_GET: ((struct store_get *)q->what)->done(q->what); break;
  case LATE_SCAN:
    late_answer_scan(q->what);
    ((struct store_scan *)q->what)->done(q->what);
    break;
  case LATE_COMMIT: late_answer_commits(q->what); break;
  case LATE_CLEAR: ((struct store_clear *)q->what)->done(q->what); break;
  }
}

/* Any one that may be answered, unlinked. Under the mutex. */
static struct late_question *late_pick(struct late_store *s) {
  uint32_t n = 0, at;
  bool is_held = s->is_held && !s->is_closing;
  for (struct late_question *q = s->questions; q; q = q->next) n += !is_held || q->kind != LATE_GET;
  if (!n) return NULL;
  at = late_random(s, n);
  for (struct late_question **q = &s->questions; *q; q = &(*q)->next) {
    struct late_question *found = *q;
    if ((is_held && found->kind == LATE_GET) || at--) continue;
    *q = found->next;
    return found;
  }
  return NULL;
}

static void *late_run(void *arg) {
  struct late_store *s = arg;
  pthread_mutex_lock(&s->mutex);
  for (;;) {
    struct late_question *q = late_pick(s);
    if (!q && s->is_closing) break;
    if (!q) {
      pthread_cond_wait(&s->changed, &s->mutex);
      continue;
    }
    uint32_t delay = s->delay_us ? late_random(s, s->delay_us) : 0;
    if (q->kind != LATE_GET) delay /= 8;
    pthread_mutex_unlock(&s->mutex);
    if (delay) nanosleep(&(struct timespec){.tv_nsec = delay * 1000L}, NULL);
    pthread_mutex_lock(&s->mutex);
    late_work(s, q);
    pthread_mutex_unlock(&s->mutex);
    if (q->kind == LATE_GET) s->n_waiting--;
    late_answer(q);
    free(q);
    pthread_mutex_lock(&s->mutex);
  }
  pthread_mutex_unlock(&s->mutex);
  return NULL;
}

/* --- operations ----------------------------------------------------------------------------------------------------- */

static void late_ask(struct store *self, enum late_kind kind, void *what) {
  struct late_store *s = (struct late_store *)self;
  struct late_question *q = calloc(1, sizeof *q);
  *q = (struct late_question){.kind = kind, .what = what};
  pthread_mutex_lock(&s->mutex);
  q->next = s->questions;
  s->questions = q;
  pthread_cond_signal(&s->changed);
  pthread_mutex_unlock(&s->mutex);
}

static void late_get(struct store *self, struct store_get *get) {
  struct late_store *s = (struct late_store *)self;
  if (!s->is_prompt) {
    s->n_waiting++;
    late_ask(self, LATE_GET, get);
    return;
  }
  pthread_mutex_lock(&s->mutex);
  late_answer_get(s, get);
  pthread_mutex_unlock(&s->mutex);
  get->done(get);
}

static void late_scan(struct store *self, struct store_scan *scan) { late_ask(self, LATE_SCAN, scan); }
static void late_commit(struct store *self, struct store_commit *first) { late_ask(self, LATE_COMMIT, first); }
static void late_clear(struct store *self, struct store_clear *clear) { late_ask(self, LATE_CLEAR, clear); }

static uint64_t late_moment(const struct store *self) { return ((const struct late_store *)self)->n_clears; }

static struct snapshot *late_take(struct store *self, struct gw_error *err) {
  struct late_store *s = (struct late_store *)self;
  struct snapshot *snapshot = calloc(1, sizeof *snapshot);
  (void)err;
  pthread_mutex_lock(&s->mutex);
  snapshot->newest = s->data->newest;
  pthread_mutex_unlock(&s->mutex);
  s->n_snapshots++;
  return snapshot;
}

static void late_give_back(struct store *self, struct snapshot *snapshot) {
  ((struct late_store *)self)->n_snapshots--;
  free(snapshot->value);
  free(snapshot);
}

static void late_close(struct store *self) {
  struct late_store *s = (struct late_store *)self;
  pthread_mutex_lock(&s->mutex);
  s->is_closing = true;
  pthread_cond_signal(&s->changed);
  pthread_mutex_unlock(&s->mutex);
  pthread_join(s->thread, NULL);
  if (s->n_snapshots) abort(); /* somebody still has one */
  for (struct late_cleared *c = s->cleared, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  pthread_mutex_destroy(&s->mutex);
  pthread_cond_destroy(&s->changed);
  free(s);
}

static const struct store_ops store_late = {.close = late_close,
                                            .moment = late_moment,
                                            .take = late_take,
                                            .give_back = late_give_back,
                                            .get = late_get,
                                            .scan = late_scan,
                                            .commit = late_commit,
                                            .clear = late_clear};

static struct late_store *late_store_open(struct late_data *data) {
  struct late_store *s = calloc(1, sizeof *s);
  s->store.ops = &store_late;
  s->data = data;
  s->random = 88172645463325252u;
  s->delay_us = 200;
  pthread_mutex_init(&s->mutex, NULL);
  pthread_cond_init(&s->changed, NULL);
  if (pthread_create(&s->thread, NULL, late_run, s)) abort();
  return s;
}

/* Lets the gets go that were held. */
static inline void late_release(struct late_store *s) {
  pthread_mutex_lock(&s->mutex);
  s->is_held = false;
  pthread_cond_signal(&s->changed);
  pthread_mutex_unlock(&s->mutex);
}

/* Until so many gets wait for answers. */
static inline void late_await(struct late_store *s, unsigned n) {
  while (s->n_waiting < n) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

#endif
