/* Scans, numbers that are added to, limits and batches of transactions. Built a second time on a store that answers late
 * (TEST_LATE) or in PostgreSQL (TEST_POSTGRES), without what is LMDB's own. */
#include "tests/state_kit.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

/* --- scans against a model ---------------------------------------------------------------------------------------- */

enum { MAX_MODEL = 256, MODEL_KEY = 3, ROUNDS = IS_LMDB ? 600 : IS_LATE ? 60 : 20 };

struct pair {
  size_t key_size, size;
  uint8_t key[MODEL_KEY], value[16];
};

/* What a space holds, in order. */
struct model {
  size_t n;
  struct pair pairs[MAX_MODEL];
};

static uint64_t seed;

static uint32_t below(uint32_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t)(seed >> 33) % n;
}

static int compare(const void *a, size_t a_size, const void *b, size_t b_size) {
  int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
  return order ? order : (int)a_size - (int)b_size;
}

static size_t model_place(const struct model *m, const uint8_t *key, size_t size, bool *is_there) {
  size_t i = 0;
  while (i < m->n && compare(m->pairs[i].key, m->pairs[i].key_size, key, size) < 0) i++;
  *is_there = i < m->n && compare(m->pairs[i].key, m->pairs[i].key_size, key, size) == 0;
  return i;
}

/* A NULL value deletes. */
static void model_put(struct model *m, const uint8_t *key, size_t key_size, const void *value, size_t size) {
  bool is_there;
  size_t i = model_place(m, key, key_size, &is_there);
  if (is_there && !value) memmove(m->pairs + i, m->pairs + i + 1, (--m->n - i) * sizeof *m->pairs);
  if (!value) return;
  if (!is_there) memmove(m->pairs + i + 1, m->pairs + i, (m->n++ - i) * sizeof *m->pairs);
  m->pairs[i] = (struct pair){.key_size = key_size, .size = size};
  memcpy(m->pairs[i].key, key, key_size);
  memcpy(m->pairs[i].value, value, size);
}

static size_t random_key(uint8_t out[MODEL_KEY]) {
  static const uint8_t bytes[] = {0, 1, 'a', 'b', 0xff};
  size_t n = 1 + below(MODEL_KEY);
  for (size_t i = 0; i < n; i++) out[i] = bytes[below(5)];
  return n;
}

/* Numbers are values of 8 bytes; other values have other sizes, so that what may be added to is known. */
static void random_write(struct state_txn *txn, struct model *m) {
  struct gw_error err = {0};
  uint8_t key[MODEL_KEY], value[16];
  size_t size = random_key(key), n = below(16);
  uint64_t number = 0;
  bool is_there;
  for (size_t i = 0; i < n; i++) value[i] = (uint8_t)below(256);
  size_t at = model_place(m, key, size, &is_there);
  bool is_number = !is_there || m->pairs[at].size == sizeof number;
  switch (below(4)) {
  case 0:
    assert_true(state_txn_delete(txn, key, size, &err));
    model_put(m, key, size, NULL, 0);
    break;
  case 1: {
    int64_t delta = (int64_t)below(1000) - 500;
    int done = state_txn_add(txn, key, size, delta, &err);
    if (done == STATE_PENDING) {
      struct outcome woken = OUTCOME;
      state_txn_await(txn, outcome_wake, &woken);
      outcome_wait(&woken);
      done = state_txn_add_answer(txn, &err);
    }
    assert_int_equal(done, is_number ? 1 : -1);
    if (!is_number) break;
    if (is_there) memcpy(&number, m->pairs[at].value, sizeof number);
    number += (uint64_t)delta;
    model_put(m, key, size, &number, sizeof number);
    break;
  }
  default: assert_true(state_txn_set(txn, key, size, value, n, &err)); model_put(m, key, size, value, n);
  }
}

static int next_page(struct state_txn *txn, uint32_t most, size_t room, struct state_page *page, struct gw_error *err) {
  int done = state_txn_scan_next(txn, most, room, page, err);
  if (done != STATE_PENDING) return done;
  struct outcome woken = OUTCOME;
  state_txn_await(txn, outcome_wake, &woken);
  outcome_wait(&woken);
  return state_txn_scan_answer(txn, page, err);
}

static bool model_has(const struct pair *p, const struct state_range *r) {
  if (r->first_size && compare(p->key, p->key_size, r->first, r->first_size) < 0) return false;
  return !r->end_size || compare(p->key, p->key_size, r->end, r->end_size) < 0;
}

static void expect_pair(const uint8_t **at, const struct pair *p, bool is_for_keys) {
  uint32_t sizes[2];
  memcpy(sizes, *at, sizeof sizes);
  *at += sizeof sizes;
  assert_int_equal(sizes[0], p->key_size);
  assert_int_equal(sizes[1], p->size);
  assert_memory_equal(*at, p->key, p->key_size);
  *at += p->key_size;
  if (is_for_keys) return;
  assert_memory_equal(*at, p->value, p->size);
  *at += p->size;
}

/* A scan in pages of any size gives what the model has. */
static void expect_scan(struct state_txn *txn, const struct model *m) {
  uint8_t first[MODEL_KEY], end[MODEL_KEY];
  struct state_range r = {.first = first, .end = end, .is_backward = below(2), .is_for_keys = below(4) == 0};
  struct gw_error err = {0};
  struct state_page page = {0};
  if (below(3)) r.first_size = random_key(first);
  if (below(3)) r.end_size = random_key(end);
  assert_true(state_txn_scan(txn, &r, &err));
  for (size_t i = 0; i < m->n;) {
    const struct pair *p = &m->pairs[r.is_backward ? m->n - 1 - i : i];
    if (!model_has(p, &r)) {
      i++;
      continue;
    }
    assert_int_equal(next_page(txn, 1 + below(4), 64 + below(64), &page, &err), 1);
    const uint8_t *at = page.bytes;
    for (uint32_t k = 0; k < page.n_pairs; k++) {
      while (!model_has(p, &r)) p = &m->pairs[r.is_backward ? m->n - 1 - ++i : ++i];
      expect_pair(&at, p, r.is_for_keys);
      if (++i < m->n) p = &m->pairs[r.is_backward ? m->n - 1 - i : i];
    }
    assert_int_equal(at - page.bytes, page.size);
    if (page.is_last) break; /* what had no room ends a scan: begun again by whoever wants the rest */
    assert_true(page.n_pairs > 0 || page.n_met > 0);
  }
  if (!page.is_last) assert_int_equal(next_page(txn, 1, 64, &page, &err), 1);
}

static void test_scan_is_the_models(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct model committed = {0}, m;
  seed = 88172645463325252u;
  put(store, "e", "zz", "of another space");
  put(store, "g", "a", "of another space");
  for (int round = 0; round < ROUNDS; round++) {
    struct state_txn *txn = state_txn_begin(store, "f");
    m = committed;
    for (int i = 0; i < 12; i++) {
      if (m.n < MAX_MODEL - 1 && below(3)) random_write(txn, &m);
      if (below(3) == 0) expect_scan(txn, &m);
    }
    if (below(4) == 0) { /* as for a second run */
      state_txn_rewind(txn);
      m = committed;
      expect_scan(txn, &m);
      for (int i = 0; i < 4; i++) random_write(txn, &m);
      expect_scan(txn, &m);
    }
    assert_int_equal(commit(txn), STATE_COMMITTED);
    committed = m;
  }
  state_store_close(store);
}

static bool scan_all(struct state_txn *txn, struct gw_error *err) {
  struct state_page page = {0};
  if (!state_txn_scan(txn, &(struct state_range){0}, err)) return false;
  while (!page.is_last)
    if (next_page(txn, UINT32_MAX, SIZE_MAX, &page, err) != 1) return false;
  return true;
}

/* The second run may read as much as the first, and no more. */
static void note_answer(void *answered) { atomic_store((atomic_bool *)answered, true); }

/* The first page, which is answered elsewhere: to sort all that was written would take this thread milliseconds. */
static void first_page(struct state_txn *txn, struct state_page *page) {
  struct gw_error err = {0};
  atomic_bool is_answered = false;
  assert_int_equal(state_txn_scan_next(txn, UINT32_MAX, 1 << 20, page, &err), STATE_PENDING);
  state_txn_await(txn, note_answer, &is_answered);
  while (!atomic_load(&is_answered)) usleep(100);
  assert_int_equal(state_txn_scan_answer(txn, page, &err), 1);
}

static void set_number(struct state_txn *txn, uint32_t n) {
  struct gw_error err = {0};
  uint8_t key[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
  assert_true(state_txn_set(txn, key, sizeof key, "v", 1, &err));
}

/* Pages of what is written from the range's one end to the other; returns how many keys. */
static uint32_t check_order(struct state_txn *txn, const struct state_page *first, bool is_backward) {
  struct state_page page = *first;
  struct gw_error err = {0};
  uint32_t n = 0, before = 0;
  for (;;) {
    const uint8_t *at = page.bytes;
    for (uint32_t i = 0; i < page.n_pairs; i++, n++) {
      uint32_t sizes[2], now;
      memcpy(sizes, at, sizeof sizes);
      at += sizeof sizes;
      now = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
      if (n) assert_true(is_backward ? now < before : now > before);
      before = now;
      at += sizes[0] + sizes[1];
    }
    if (page.is_last) return n;
    assert_int_equal(state_txn_scan_next_wait(txn, UINT32_MAX, 1 << 20, &page, &err), 1);
  }
}

/* As many own keys as there can be, some of them written between the scan's begin and its first page, and between pages. */
static void test_much_that_is_written(void **state) {
  enum { LATE_KEYS = 384, FIRST_KEYS = STATE_MAX_WRITES - 2 * LATE_KEYS };
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  (void)state;
  for (int is_backward = 0; is_backward < 2; is_backward++) {
    struct state_txn *txn = state_txn_begin(store, "f");
    struct state_range range = {.is_backward = is_backward};
    struct state_page page = {0};
    uint32_t number = 0;
    for (int i = 0; i < FIRST_KEYS; i++) set_number(txn, number += 2654435761u); /* each once, in no order */
    assert_true(state_txn_scan(txn, &range, &err));
    for (int i = 0; i < LATE_KEYS; i++) set_number(txn, number += 2654435761u);
    first_page(txn, &page);
    assert_int_equal(check_order(txn, &page, is_backward), FIRST_KEYS + LATE_KEYS);
    for (int i = 0; i < LATE_KEYS; i++) set_number(txn, number += 2654435761u);
    assert_true(state_txn_scan(txn, &range, &err));
    assert_int_equal(state_txn_scan_next_wait(txn, UINT32_MAX, 1 << 20, &page, &err), 1);
    assert_int_equal(check_order(txn, &page, is_backward), STATE_MAX_WRITES);
    state_txn_abort(txn);
  }
  state_store_close(store);
}

static void test_rewound_scans_do_not_count(void **state) {
  (void)state;
  enum { KEYS = 999, SCANS = 100, RUNS = IS_LMDB ? 3 : 1 };
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  struct state_txn *txn = state_txn_begin(store, "f");
  for (int i = 0; i < KEYS; i++) assert_true(state_txn_set(txn, &i, sizeof i, "", 0, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  txn = state_txn_begin(store, "f");
  for (int run = 0; run < RUNS; run++) {
    for (int i = 0; i < SCANS; i++) assert_true(scan_all(txn, &err));
    assert_false(scan_all(txn, &err));
    assert_int_equal(err.code, GW_ERROR_LIMIT);
    err = (struct gw_error){0};
    state_txn_rewind(txn);
  }
  state_txn_abort(txn);
  state_store_close(store);
}

/* --- what a scan has read ----------------------------------------------------------------------------------------- */

/* Pairs as "key=value ", at most so many. */
static const char *scan(struct state_txn *txn, const char *first, const char *end, bool is_backward, uint32_t most) {
  static char text[512];
  struct state_range r = {first, end, strlen(first), strlen(end), is_backward, false};
  struct gw_error err = {0};
  struct state_page page = {0};
  text[0] = 0;
  assert_true(state_txn_scan(txn, &r, &err));
  for (uint32_t n = 0; n < most && !page.is_last; n += page.n_pairs) {
    if (next_page(txn, most - n, 4096, &page, &err) < 0) return err.message[0] ? "failed" : "?";
    for (const uint8_t *at = page.bytes; at < page.bytes + page.size;) {
      uint32_t sizes[2];
      memcpy(sizes, at, sizeof sizes);
      at += sizeof sizes;
      size_t used = strlen(text);
      snprintf(text + used, sizeof text - used, "%.*s=%.*s ", (int)sizes[0], at, (int)sizes[1], at + sizes[0]);
      at += sizes[0] + sizes[1];
    }
  }
  return text;
}

static void test_phantoms_conflict(void **state) {
  (void)state;
  static const struct {
    const char *first, *end;
    bool is_backward;
    uint32_t most;
    const char *found, *written, *value; /* NULL: deleted */
    enum state_outcome expected;
  } rows[] = {
      {"", "", false, 99, "b=1 d=1 f=1 ", "a", "1", STATE_CONFLICT},
      {"", "", false, 99, "b=1 d=1 f=1 ", "z", "1", STATE_CONFLICT},
      {"", "", true, 99, "f=1 d=1 b=1 ", "a", "1", STATE_CONFLICT},
      {"", "", true, 99, "f=1 d=1 b=1 ", "z", "1", STATE_CONFLICT},
      {"", "", false, 99, "b=1 d=1 f=1 ", "d", NULL, STATE_CONFLICT},
      {"", "", false, 99, "b=1 d=1 f=1 ", "d", "2", STATE_CONFLICT},
      {"", "", false, 2, "b=1 d=1 ", "c", "1", STATE_CONFLICT},
      {"", "", false, 2, "b=1 d=1 ", "e", "1", STATE_COMMITTED}, /* not seen */
      {"", "", true, 2, "f=1 d=1 ", "e", "1", STATE_CONFLICT},
      {"", "", true, 2, "f=1 d=1 ", "c", "1", STATE_COMMITTED},
      {"", "", true, 2, "f=1 d=1 ", "g", "1", STATE_CONFLICT},
      {"c", "e", false, 99, "d=1 ", "b", "2", STATE_COMMITTED},
      {"c", "e", false, 99, "d=1 ", "c", "1", STATE_CONFLICT},
      {"c", "e", false, 99, "d=1 ", "e", "1", STATE_COMMITTED},
      {"c", "e", true, 99, "d=1 ", "c", "1", STATE_CONFLICT},
      {"x", "y", false, 99, "", "xx", "1", STATE_CONFLICT},
      {"x", "y", true, 99, "", "y", "1", STATE_COMMITTED},
      {"y", "x", false, 99, "", "xx", "1", STATE_COMMITTED}, /* nothing lies between them */
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct state_store *store = open_store(MAP_SIZE);
    struct gw_error err = {0};
    assert_true(state_clear(store, "f", &err));
    put(store, "f", "b", "1");
    put(store, "f", "d", "1");
    put(store, "f", "f", "1");
    struct state_txn *txn = state_txn_begin(store, "f");
    assert_string_equal(scan(txn, rows[i].first, rows[i].end, rows[i].is_backward, rows[i].most), rows[i].found);
    set(txn, "other", "1");
    if (rows[i].value)
      put(store, "f", rows[i].written, rows[i].value);
    else
      assert_true(state_remove(store, "f", rows[i].written, strlen(rows[i].written), &err));
    if (commit(txn) != rows[i].expected) fail_msg("row %zu", i);
    state_store_close(store);
  }
}

/* The key that has no room is one that was met. */
static void test_what_has_no_room(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  struct state_page page;
  put(store, "f", "a", "12345");
  put(store, "f", "b", "1234567890");
  struct state_txn *txn = state_txn_begin(store, "f");
  assert_true(state_txn_scan(txn, &(struct state_range){0}, &err));
  assert_int_equal(next_page(txn, 9, 13, &page, &err), 1);
  assert_int_equal(page.needed, 14);
  assert_int_equal(page.n_pairs, 0);
  assert_true(page.is_last);
  assert_true(state_txn_scan(txn, &(struct state_range){0}, &err));
  assert_int_equal(next_page(txn, 9, 14, &page, &err), 1);
  assert_int_equal(page.needed, 0);
  assert_int_equal(page.n_pairs, 1);
  assert_int_equal(page.n_met, 2);
  assert_int_equal(page.n_units, 2);
  assert_true(page.is_last);
  set(txn, "c", "1");
  put(store, "f", "b", "2");
  assert_int_equal(commit(txn), STATE_CONFLICT);
  char bound[STATE_MAX_KEY + 2] = "";
  txn = state_txn_begin(store, "f");
  assert_false(state_txn_scan(txn, &(struct state_range){.end = bound, .end_size = sizeof bound}, &err));
  assert_string_equal(err.message, "a bound of a scan has at most 481 bytes, this one has 482");
  state_txn_abort(txn);
  state_store_close(store);
}

/* A scan whose snapshot was given up goes on, if what it saw is the same. */
static void test_scan_on_a_newer_snapshot(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  struct state_page page;
  put(store, "f", "a", "1");
  put(store, "f", "c", "1");
  for (int changes = 0; changes < 2; changes++) {
    struct state_txn *txn = state_txn_begin(store, "f");
    assert_true(state_txn_scan(txn, &(struct state_range){0}, &err));
    assert_int_equal(next_page(txn, 1, 99, &page, &err), 1);
    put(store, "f", changes ? "A" : "b", "1");
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    state_txn_refresh(txn);
    int done = next_page(txn, 9, 99, &page, &err);
    assert_int_equal(done, changes ? -1 : 1);
    assert_int_equal(state_txn_is_stale(txn), changes);
    if (!changes) assert_int_equal(page.n_pairs, 2);
    state_txn_abort(txn);
  }
  state_store_close(store);
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static int add(struct state_txn *txn, const char *key, int64_t delta) {
  struct gw_error err = {0};
  int done = state_txn_add(txn, key, strlen(key), delta, &err);
  if (done != STATE_PENDING) return done;
  struct outcome woken = OUTCOME;
  state_txn_await(txn, outcome_wake, &woken);
  outcome_wait(&woken);
  return state_txn_add_answer(txn, &err);
}

static uint64_t number(struct state_txn *txn, const char *key) {
  struct gw_error err = {0};
  const void *value;
  size_t size;
  uint64_t n = 0;
  int found = state_txn_get_wait(txn, key, strlen(key), &value, &size, &err);
  assert_int_not_equal(found, -1);
  if (found) assert_int_equal(size, sizeof n);
  if (found) memcpy(&n, value, sizeof n);
  return n;
}

static void expect_number(struct state_store *store, const char *key, uint64_t n) {
  struct state_txn *txn = state_txn_begin(store, "f");
  assert_int_equal(number(txn, key), n);
  state_txn_abort(txn);
}

static void test_adds_do_not_conflict(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  enum { N = 20 };
  struct state_txn *txns[N];
  static struct outcome outcomes[N];
  for (int i = 0; i < N; i++) {
    txns[i] = state_txn_begin(store, "f");
    assert_int_equal(add(txns[i], "n", i), 1);
    assert_int_equal(add(txns[i], "n", 100), 1);
  }
  for (int i = 0; i < N; i++) {
    outcomes[i] = (struct outcome)OUTCOME;
    state_txn_commit(txns[i], outcome_set, &outcomes[i]);
  }
  for (int i = 0; i < N; i++) assert_int_equal(outcome_wait(&outcomes[i]), STATE_COMMITTED);
  expect_number(store, "n", 20 * 100 + 190);
  /* who has seen the number depends on it */
  struct state_txn *a = state_txn_begin(store, "f"), *b = state_txn_begin(store, "f"), *c = state_txn_begin(store, "f");
  assert_int_equal(add(a, "n", 1), 1);
  assert_int_equal(add(b, "n", 1), 1);
  assert_int_equal(number(b, "n"), 2191);
  assert_int_equal(add(c, "n", 1), 1);
  scan(c, "", "", false, 9);
  assert_int_equal(commit(a), STATE_COMMITTED);
  assert_int_equal(commit(b), STATE_CONFLICT);
  assert_int_equal(commit(c), STATE_CONFLICT);
  expect_number(store, "n", 2191);
  state_store_close(store);
}

static void test_what_adding_does(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  assert_int_equal(add(txn, "n", INT64_MIN), 1);
  assert_int_equal(add(txn, "n", INT64_MIN), 1);
  assert_int_equal(number(txn, "n"), 0); /* modulo 2^64 */
  assert_int_equal(add(txn, "n", -1), 1);
  assert_int_equal(number(txn, "n"), UINT64_MAX);
  set(txn, "m", "12345678");
  assert_int_equal(add(txn, "m", 1), 1);
  assert_string_equal(get(txn, "m"), "22345678");
  set(txn, "short", "1");
  assert_int_equal(add(txn, "short", 1), -1);
  remove_key(txn, "short");
  assert_int_equal(add(txn, "short", 7), 1);
  assert_int_equal(number(txn, "short"), 7);
  assert_int_equal(add(txn, "set", 1), 1);
  set(txn, "set", "x");
  assert_string_equal(get(txn, "set"), "x");
  assert_int_equal(add(txn, "gone", 1), 1);
  remove_key(txn, "gone");
  assert_int_equal(commit(txn), STATE_COMMITTED);
  expect_number(store, "n", UINT64_MAX);
  expect_number(store, "short", 7);
  expect(store, "f", "set", "x");
  expect(store, "f", "gone", "-");
  expect(store, "f", "m", "22345678");

  txn = state_txn_begin(store, "f");
  assert_int_equal(add(txn, "set", 1), -1);
  state_txn_abort(txn);
  txn = state_txn_begin(store, "f"); /* what was a number is none any more: the second run will say so */
  assert_int_equal(add(txn, "n", 1), 1);
  put(store, "f", "n", "x");
  assert_int_equal(commit(txn), STATE_CONFLICT);
  expect(store, "f", "n", "x");
  state_store_close(store);
}

static int exists(struct state_txn *txn, const char *key) {
  struct gw_error err = {0};
  const void *value;
  size_t size;
  int found = state_txn_exists(txn, key, strlen(key), &err);
  if (found != STATE_PENDING) return found;
  struct outcome woken = OUTCOME;
  state_txn_await(txn, outcome_wake, &woken);
  outcome_wait(&woken);
  return state_txn_answer(txn, &value, &size, &err);
}

static void test_exists(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  put(store, "f", "a", "1");
  struct state_txn *txn = state_txn_begin(store, "f");
  set(txn, "own", "1");
  remove_key(txn, "gone");
  assert_int_equal(add(txn, "n", 0), 1);
  const char *there[] = {"a", "own", "n"}, *absent[] = {"gone", "b"};
  for (int i = 0; i < 3; i++) assert_int_equal(exists(txn, there[i]), 1);
  for (int i = 0; i < 2; i++) assert_int_equal(exists(txn, absent[i]), 0);
  assert_int_equal(exists(txn, ""), -1);
  put(store, "f", "b", "1");
  assert_int_equal(commit(txn), STATE_CONFLICT);
  state_store_close(store);
}

/* --- limits and batches ------------------------------------------------------------------------------------------- */

static void test_keys_are_limited(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  struct gw_error err = {0};
  for (int i = 0; i < STATE_MAX_WRITES; i++) assert_true(state_txn_set(txn, &i, sizeof i, "", 0, &err));
  assert_true(state_txn_delete(txn, "\0\0\0", 4, &err)); /* one of them */
  assert_false(state_txn_set(txn, "one more", 8, "", 0, &err));
  assert_int_equal(err.code, GW_ERROR_LIMIT);
  assert_string_equal(err.message, "one invocation writes at most 16384 keys");
  assert_int_equal(add(txn, "one more", 1), -1);
  if (!IS_LATE) assert_int_equal(commit(txn), STATE_COMMITTED);
  if (IS_LATE) state_txn_abort(txn);
  if (!IS_LATE) {
    struct state_page page;
    int done = 1;
    err = (struct gw_error){0};
    txn = state_txn_begin(store, "f");
    for (int i = 0; i < 8 && done == 1; i++) {
      assert_true(state_txn_scan(txn, &(struct state_range){.is_for_keys = true}, &err));
      do done = next_page(txn, UINT32_MAX, 1 << 20, &page, &err);
      while (done == 1 && !page.is_last);
    }
    assert_int_equal(done, -1);
    assert_string_equal(err.message, "one invocation reads at most 100000 keys");
    state_txn_abort(txn);
  }
  state_store_close(store);
}

/* What takes long to compare is compared on a thread of the store's. */
static void test_much_to_check(void **state) {
  (void)state;
  if (IS_LATE) skip();
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  struct gw_error err = {0};
  const void *value;
  size_t size;
  for (int i = 0; i < 1000; i++) assert_int_equal(state_txn_get_wait(txn, &i, sizeof i, &value, &size, &err), 0);
  put(store, "f", "new", "1");
  nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
  state_txn_refresh(txn);
  assert_int_equal(state_txn_get_wait(txn, "new", 3, &value, &size, &err), 1);
  state_txn_abort(txn);
  /* aborted while it looks: whoever is last frees it */
  for (int i = 0; i < 20; i++) {
    txn = state_txn_begin(store, "f");
    for (int k = 0; k < 600; k++) assert_int_equal(state_txn_get_wait(txn, &k, sizeof k, &value, &size, &err), 0);
    txn->must_validate = true;
    assert_int_not_equal(state_txn_get(txn, "new", 3, &value, &size, &err), -1); /* pending, or answered as fast */
    state_txn_abort(txn);
  }
  state_store_close(store);
}

/* A store that notes the sizes of batches, and takes the next one when it is told to. */
struct noting {
  struct store store; /* first */
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool is_open;
  int n, sizes[64], keys[64];
};

static void noting_commit(struct store *self, struct store_commit *first) {
  struct noting *s = (struct noting *)self;
  pthread_mutex_lock(&s->mutex);
  assert_true(s->n < 64);
  for (const struct store_commit *c = first; c; c = c->next) {
    s->sizes[s->n]++;
    for (const struct store_key *k = c->keys; k; k = k->next) s->keys[s->n]++;
  }
  s->n++;
  pthread_cond_broadcast(&s->cond);
  while (!s->is_open) pthread_cond_wait(&s->cond, &s->mutex);
  pthread_mutex_unlock(&s->mutex);
  for (struct store_commit *c = first, *next; c; c = next) {
    next = c->next;
    c->done(c, STATE_COMMITTED, NULL);
  }
}

static void noting_close(struct store *self) { (void)self; }
static uint64_t noting_moment(const struct store *self) { return self ? 0 : 1; }
static void ignore(void *arg, enum state_outcome outcome, const struct gw_error *err) { (void)arg, (void)outcome, (void)err; }

static void commit_keys(struct state_store *store, int n) {
  struct state_txn *txn = state_txn_begin(store, "f");
  struct gw_error err = {0};
  for (int i = 0; i < n; i++) assert_true(state_txn_set(txn, &i, sizeof i, "", 0, &err));
  state_txn_commit(txn, ignore, NULL);
}

/* Small ones wait for one large one at most, however many there are, and large ones for one batch of small ones. */
static void test_batches(void **state) {
  (void)state;
  static const struct store_ops ops = {.close = noting_close, .moment = noting_moment, .commit = noting_commit};
  struct noting s = {.store = {.ops = &ops}, .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
  struct gw_error err = {0};
  struct state_store *store = state_store_create(&s.store, &err);
  assert_non_null(store);
  commit_keys(store, 1);
  pthread_mutex_lock(&s.mutex);
  while (!s.n) pthread_cond_wait(&s.cond, &s.mutex);
  pthread_mutex_unlock(&s.mutex);
  for (int i = 0; i < 3; i++) commit_keys(store, SMALL_KEYS + 1);
  for (int i = 0; i < 100; i++) commit_keys(store, 100);
  pthread_mutex_lock(&s.mutex);
  s.is_open = true;
  pthread_cond_broadcast(&s.cond);
  pthread_mutex_unlock(&s.mutex);
  state_store_close(store);
  static const int expected[][2] = {{1, 1}, {1, 1025}, {40, 4000}, {1, 1025}, {40, 4000}, {1, 1025}, {20, 2000}};
  assert_int_equal(s.n, 7);
  for (int i = 0; i < 7; i++) {
    assert_int_equal(s.sizes[i], expected[i][0]);
    assert_int_equal(s.keys[i], expected[i][1]);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

/* --- what is not in memory ------------------------------------------------------------------------------------------ */

#ifdef TEST_LMDB
enum { N_COLD = 1500, COLD_BYTES = 600 };

static void cold_pair(int i, char key[16], uint8_t value[COLD_BYTES]) {
  snprintf(key, 16, "key%06d", i);
  memset(value, i, COLD_BYTES);
}

/* Where the store's file is mapped. */
static uint8_t *find_map(size_t *size) {
  char line[512], path[160];
  unsigned long first = 0, end = 0;
  bool is_found = false;
  FILE *maps = fopen("/proc/self/maps", "re");
  assert_non_null(maps);
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  while (!is_found && fgets(line, sizeof line, maps)) is_found = strstr(line, path) && sscanf(line, "%lx-%lx", &first, &end) == 2;
  fclose(maps);
  assert_true(is_found);
  *size = end - first;
  return (uint8_t *)first;
}

/* Whether the system has let go of the file's pages, which not all file systems can. It reads no more than is asked for then. */
static bool make_cold(void) {
  char path[128];
  struct stat st;
  size_t mapped, n_there = 0;
  uint8_t *map = find_map(&mapped);
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0 && fdatasync(fd) == 0 && fstat(fd, &st) == 0 && (size_t)st.st_size <= mapped);
  assert_int_equal(madvise(map, mapped, MADV_RANDOM), 0);
  assert_int_equal(madvise(map, mapped, MADV_DONTNEED), 0);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  size_t n = ((size_t)st.st_size + 4095) / 4096;
  unsigned char *pages = calloc(n, 1);
  assert_true(pages && mincore(map, (size_t)st.st_size, pages) == 0);
  for (size_t i = 0; i < n; i++) n_there += pages[i] & 1;
  free(pages);
  close(fd);
  return n_there < n / 2;
}

/* All pairs in order; how many pages were answered by another thread. */
static int scan_cold(struct state_store *store, bool is_backward) {
  struct gw_error err = {0};
  struct state_page page = {0};
  struct state_txn *txn = state_txn_begin(store, "f");
  int n = 0, n_late = 0;
  assert_true(state_txn_scan(txn, &(struct state_range){.is_backward = is_backward}, &err));
  while (!page.is_last) {
    int done = state_txn_scan_next(txn, 1000, 1 << 20, &page, &err);
    if (done == STATE_PENDING) {
      struct outcome woken = OUTCOME;
      state_txn_await(txn, outcome_wake, &woken);
      outcome_wait(&woken);
      done = state_txn_scan_answer(txn, &page, &err);
      n_late++;
    }
    assert_int_equal(done, 1);
    const uint8_t *at = page.bytes;
    for (uint32_t i = 0; i < page.n_pairs; i++, n++) {
      char key[16];
      uint8_t value[COLD_BYTES];
      cold_pair(is_backward ? N_COLD - 1 - n : n, key, value);
      assert_memory_equal(at + 8, key, strlen(key));
      assert_memory_equal(at + 8 + strlen(key), value, COLD_BYTES);
      at += 8 + strlen(key) + COLD_BYTES;
    }
  }
  assert_int_equal(n, N_COLD);
  state_txn_abort(txn);
  return n_late;
}

/* Where the asker's thread would wait for the disk, another one goes on, at the same key. */
static void test_cold(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  for (int i = 0; i < N_COLD; i++) {
    char key[16];
    uint8_t value[COLD_BYTES];
    cold_pair(i, key, value);
    assert_true(state_txn_set(txn, key, strlen(key), value, COLD_BYTES, &err));
  }
  assert_true(state_txn_commit_wait(txn, &err));
  for (int is_backward = 0; is_backward < 2; is_backward++) {
    bool is_cold = make_cold();
    int n_late = scan_cold(store, is_backward);
    if (is_cold) assert_true(n_late > 0);
    scan_cold(store, is_backward);
  }
  state_store_close(store);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_scan_is_the_models),
      TEST(test_much_that_is_written),
      TEST(test_rewound_scans_do_not_count),
      TEST(test_phantoms_conflict),
      TEST(test_what_has_no_room),
      TEST(test_scan_on_a_newer_snapshot),
      TEST(test_adds_do_not_conflict),
      TEST(test_what_adding_does),
      TEST(test_exists),
      TEST(test_keys_are_limited),
      TEST(test_much_to_check),
      TEST(test_batches),
#ifdef TEST_LMDB
      TEST(test_cold),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
