/* Large values: whatever is written, resized, moved and removed, in transactions that commit, abort or begin again, values are
 * what bytes in memory would be, and nothing of those that are gone is left. Built a second time on a store that answers late,
 * and a third on PostgreSQL. */
#include "tests/state_kit.h"

enum { N_KEYS = 5, MAX_SIZE = 9 * STATE_CHUNK, N_STEPS = IS_LMDB ? 20000 : IS_LATE ? 700 : 250 };

struct model {
  struct {
    bool is_there;
    size_t size;
    uint8_t bytes[MAX_SIZE];
  } values[N_KEYS];
};

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint32_t below(uint32_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (uint32_t)(seed >> 33) % n;
}

/* Often at the border of a chunk. */
static size_t some_offset(void) {
  size_t at = below(2) ? below(MAX_SIZE / STATE_CHUNK) * STATE_CHUNK + below(3) : below(MAX_SIZE);
  if (at && below(4) == 0) at--;
  return at < MAX_SIZE ? at : MAX_SIZE - 1;
}

static struct state_large *open_large(struct state_txn *txn, int key, bool makes) {
  struct gw_error err = {0};
  struct state_large *large;
  char name = (char)('a' + key);
  int found = state_large_open(txn, &name, 1, makes, &large, &err);
  assert_int_not_equal(found, -1);
  return found ? large : NULL;
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static void step_write(struct state_txn *txn, struct model *m, int key) {
  static uint8_t bytes[MAX_SIZE];
  struct gw_error err = {0};
  size_t at = some_offset(), n = below(3) ? below(300) : below(3 * STATE_CHUNK);
  if (n > MAX_SIZE - at) n = MAX_SIZE - at;
  for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(1 + below(255));
  assert_true(state_large_write(txn, open_large(txn, key, true), at, bytes, n, &err));
  m->values[key].is_there = true;
  if (n) memcpy(m->values[key].bytes + at, bytes, n);
  if (n && m->values[key].size < at + n) m->values[key].size = at + n;
}

static void step_resize(struct state_txn *txn, struct model *m, int key) {
  struct gw_error err = {0};
  size_t size = below(4) ? some_offset() : 0, *now = &m->values[key].size;
  assert_true(state_large_resize(txn, open_large(txn, key, true), size, &err));
  m->values[key].is_there = true;
  if (size < *now) memset(m->values[key].bytes + size, 0, *now - size);
  *now = size;
}

static void step_set(struct state_txn *txn, struct model *m, int key) {
  struct gw_error err = {0};
  char name = (char)('a' + key);
  size_t n = below(2 * STATE_CHUNK);
  memset(m->values[key].bytes, 0, MAX_SIZE);
  for (size_t i = 0; i < n; i++) m->values[key].bytes[i] = (uint8_t)below(256);
  assert_true(state_txn_set(txn, &name, 1, m->values[key].bytes, n, &err));
  m->values[key].is_there = true;
  m->values[key].size = n;
}

static void step_remove(struct state_txn *txn, struct model *m, int key) {
  struct gw_error err = {0};
  char name = (char)('a' + key);
  assert_true(state_txn_delete(txn, &name, 1, &err));
  memset(&m->values[key], 0, sizeof m->values[key]);
}

static void step_create(struct state_txn *txn, struct model *m, int key) {
  struct gw_error err = {0};
  struct state_large *large;
  char name = (char)('a' + key);
  assert_true(state_large_create(txn, &name, 1, &large, &err));
  memset(&m->values[key], 0, sizeof m->values[key]);
  m->values[key].is_there = true;
}

static void step_move(struct state_txn *txn, struct model *m, int key) {
  struct gw_error err = {0};
  int to = (int)below(N_KEYS);
  char name = (char)('a' + to);
  struct state_large *large = open_large(txn, key, false);
  if (!large) return;
  assert_true(state_large_move(txn, large, &name, 1, &err));
  if (to == key) return;
  m->values[to] = m->values[key];
  memset(&m->values[key], 0, sizeof m->values[key]);
}

static void compare(struct state_txn *txn, const struct model *m, int key, size_t at, size_t n) {
  static uint8_t bytes[MAX_SIZE];
  struct gw_error err = {0};
  struct state_large *large = open_large(txn, key, false);
  assert_int_equal(large != NULL, m->values[key].is_there);
  if (!large) return;
  assert_int_equal(state_large_size(large), m->values[key].size);
  if (at > m->values[key].size) at = m->values[key].size;
  if (n > m->values[key].size - at) n = m->values[key].size - at;
  memset(bytes, 0xee, n);
  assert_true(state_large_read(txn, large, at, bytes, n, &err));
  assert_memory_equal(bytes, m->values[key].bytes + at, n);
}

static void step(struct state_txn *txn, struct model *m) {
  int key = (int)below(N_KEYS);
  switch (below(12)) {
  case 0:
  case 1:
  case 2:
  case 3: step_write(txn, m, key); break;
  case 4:
  case 5: step_resize(txn, m, key); break;
  case 6: step_set(txn, m, key); break;
  case 7: step_remove(txn, m, key); break;
  case 8: step_create(txn, m, key); break;
  case 9: step_move(txn, m, key); break;
  default: compare(txn, m, key, some_offset(), below(2 * STATE_CHUNK));
  }
}

/* --- what is stored ----------------------------------------------------------------------------------------------- */

struct count {
  struct store_scan scan; /* first */
  uint64_t n, bytes;
  struct outcome outcome;
};

static bool count_one(struct store_scan *scan, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct count *c = (struct count *)scan;
  (void)key, (void)value;
  c->n++;
  c->bytes += SPACE_SIZE + key_size + 16 + value_size;
  return true;
}

static void count_done(struct store_scan *scan) { outcome_set(&((struct count *)scan)->outcome, STATE_COMMITTED, NULL); }

/* What lies in a space, or its chunks. */
static struct count count_stored(struct state_store *store, bool of_chunks) {
  struct store *of = store->store;
  struct gw_error err = {0};
  uint8_t space[SPACE_SIZE], chunks[SPACE_SIZE];
  state_space_digest(space, "f");
  state_chunk_space(chunks, space);
  struct count c = {.scan = {.done = count_done, .each = count_one, .space = of_chunks ? chunks : space}, .outcome = OUTCOME};
  c.scan.snapshot = of->ops->take(of, &err);
  of->ops->scan(of, &c.scan);
  outcome_wait(&c.outcome);
  of->ops->give_back(of, c.scan.snapshot);
  return c;
}

/* What the store has written down that the space takes. */
static uint64_t noted_usage(struct state_store *store) {
  struct gw_error err = {0};
  struct state_use use;
  assert_true(state_read_use(store, "f", &use, &err));
  return use.bytes;
}

static uint64_t n_chunks_of(const struct model *m) {
  uint64_t n = 0;
  for (int key = 0; key < N_KEYS; key++) n += (m->values[key].size + STATE_CHUNK - 1) / STATE_CHUNK;
  return n;
}

static void check_all(struct state_store *store, const struct model *m) {
  struct state_txn *txn = state_txn_begin(store, "f");
  for (int key = 0; key < N_KEYS; key++) compare(txn, m, key, 0, MAX_SIZE);
  state_txn_abort(txn);
  struct count values = count_stored(store, false), chunks = count_stored(store, true);
  assert_true(chunks.n <= n_chunks_of(m));
  if (!IS_LATE) assert_int_equal(noted_usage(store), values.bytes + chunks.bytes);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_values_are_as_in_memory(void **state) {
  (void)state;
  static struct model committed, now;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  for (int n = 0; n < N_STEPS;) {
    struct state_txn *txn = state_txn_begin(store, "f");
    now = committed;
    for (uint32_t i = below(30); i > 0; i--, n++) {
      step(txn, &now);
      if (below(40)) continue;
      state_txn_rewind(txn);
      now = committed;
    }
    if (below(4) == 0) {
      state_txn_abort(txn);
      continue;
    }
    assert_int_equal(commit(txn), STATE_COMMITTED);
    committed = now;
    check_all(store, &committed);
  }
  assert_true(state_clear(store, "f", &err));
  assert_int_equal(count_stored(store, true).n, 0);
  assert_int_equal(count_stored(store, false).n, 0);
  state_store_close(store);
}

static void write_at(struct state_txn *txn, uint64_t at, const char *text) {
  struct gw_error err = {0};
  assert_true(state_large_write(txn, open_large(txn, 0, true), at, text, strlen(text), &err));
}

/* Two transactions that write at these offsets of a value of two chunks, one behind the other: what the second comes to. */
static enum state_outcome write_both(uint64_t first, uint64_t second) {
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  assert_true(state_clear(store, "f", &err));
  struct state_txn *txn = state_txn_begin(store, "f");
  assert_true(state_large_resize(txn, open_large(txn, 0, true), 2 * STATE_CHUNK, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  struct state_txn *a = state_txn_begin(store, "f"), *b = state_txn_begin(store, "f");
  state_txn_expect_no_writes(a);
  state_txn_expect_no_writes(b);
  write_at(a, first, "one");
  write_at(b, second, "two");
  assert_int_equal(commit(a), STATE_COMMITTED);
  enum state_outcome outcome = commit(b);
  state_store_close(store);
  return outcome;
}

static void test_chunks_conflict_by_themselves(void **state) {
  (void)state;
  assert_int_equal(write_both(0, STATE_CHUNK), STATE_COMMITTED);
  assert_int_equal(write_both(0, 100), STATE_CONFLICT);
  assert_int_equal(write_both(2 * STATE_CHUNK, 3 * STATE_CHUNK), STATE_CONFLICT); /* both change the size */
  assert_int_equal(write_both(0, 2 * STATE_CHUNK), STATE_COMMITTED);              /* one does, and the other has not seen that */
  assert_int_equal(write_both(2 * STATE_CHUNK, 0), STATE_CONFLICT);               /* it has */
}

/* A chunk that is written as a whole is not read. */
static void test_whole_chunks_are_not_read(void **state) {
  (void)state;
  static char whole[STATE_CHUNK + 1];
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  memset(whole, 'x', STATE_CHUNK);
  struct state_txn *txn = state_txn_begin(store, "f");
  assert_true(state_large_resize(txn, open_large(txn, 0, true), 2 * STATE_CHUNK, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  struct state_txn *a = state_txn_begin(store, "f"), *b = state_txn_begin(store, "f");
  write_at(a, STATE_CHUNK, whole);
  write_at(b, STATE_CHUNK, whole);
  assert_int_equal(commit(a), STATE_COMMITTED);
  assert_int_equal(commit(b), STATE_COMMITTED);
  state_store_close(store);
}

/* A gibibyte with a byte at its end is one chunk. */
static void test_sparse(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  uint8_t bytes[8];
  struct state_txn *txn = state_txn_begin(store, "f");
  write_at(txn, STATE_MAX_LARGE - 3, "end");
  assert_false(state_large_write(txn, open_large(txn, 0, true), STATE_MAX_LARGE - 2, "end", 3, &err));
  assert_int_equal(err.code, GW_ERROR_LIMIT);
  assert_false(state_large_write(txn, open_large(txn, 0, true), UINT64_MAX, "end", 3, &err));
  assert_false(state_large_resize(txn, open_large(txn, 0, true), (uint64_t)1 << 63, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  assert_int_equal(count_stored(store, true).n, 1);
  txn = state_txn_begin(store, "f");
  struct state_large *large = open_large(txn, 0, false);
  assert_int_equal(state_large_size(large), STATE_MAX_LARGE);
  assert_true(state_large_read(txn, large, STATE_MAX_LARGE - 8, bytes, 8, &err));
  assert_memory_equal(bytes, "\0\0\0\0\0end", 8);
  assert_true(state_large_resize(txn, large, 0, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  assert_int_equal(count_stored(store, true).n, 0);
  state_store_close(store);
}

struct pieces {
  uint64_t n, n_stored, bytes;
};

static bool count_pair(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  (void)arg, (void)key, (void)key_size, (void)value, (void)value_size;
  return true;
}

static bool count_piece(void *arg, const void *key, size_t key_size, uint64_t size, uint64_t offset, const void *bytes,
                        size_t n) {
  struct pieces *p = arg;
  (void)key, (void)key_size, (void)size, (void)offset;
  p->n++;
  p->n_stored += bytes != NULL;
  p->bytes += n;
  return true;
}

/* Who goes over all bytes is told where nothing is stored. */
static void test_sparse_pieces(void **state) {
  (void)state;
  enum { SIZE = 64 << 20 };
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  struct pieces p = {0};
  struct state_txn *txn = state_txn_begin(store, "f");
  write_at(txn, SIZE - 3, "end");
  assert_int_equal(commit(txn), STATE_COMMITTED);
  assert_true(state_each_piece(store, "f", count_pair, count_piece, &p, &err));
  assert_int_equal(p.bytes, SIZE);
  assert_int_equal(p.n_stored, 1);
  assert_int_equal(p.n, SIZE >> 20);
  state_store_close(store);
}

/* What has no key any more can be used until the transaction ends, and leaves nothing. */
static void test_without_a_key(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  uint8_t bytes[3];
  struct state_txn *txn = state_txn_begin(store, "f");
  write_at(txn, 0, "abc");
  assert_int_equal(commit(txn), STATE_COMMITTED);
  txn = state_txn_begin(store, "f");
  struct state_large *large = open_large(txn, 0, false);
  remove_key(txn, "a");
  set(txn, "a", "other");
  assert_false(state_large_has_key(large));
  assert_true(state_large_write(txn, large, STATE_CHUNK, "xyz", 3, &err));
  assert_true(state_large_read(txn, large, 0, bytes, 3, &err));
  assert_memory_equal(bytes, "abc", 3);
  assert_string_equal(get(txn, "a"), "other");
  assert_int_equal(commit(txn), STATE_COMMITTED);
  assert_int_equal(count_stored(store, true).n, 0);
  expect(store, "f", "a", "other");
  state_store_close(store);
}

/* Fills the transaction up to `left` more keys. */
static void fill_up(struct state_txn *txn, int left) {
  struct gw_error err = {0};
  char key[16];
  for (int i = 0; i < STATE_MAX_WRITES - left; i++) {
    int n = snprintf(key, sizeof key, "full%d", i);
    assert_true(state_txn_set(txn, key, (size_t)n, "", 0, &err));
  }
}

/* A write for which there is no room leaves nothing behind the value's end, and no chunks that no record tells of. */
static void test_failed_writes_leave_nothing(void **state) {
  (void)state;
  static uint8_t bytes[8 * STATE_CHUNK], there[8 * STATE_CHUNK];
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  memset(bytes, 'x', sizeof bytes);
  struct state_txn *txn = state_txn_begin(store, "f");
  assert_true(state_txn_set(txn, "b", 1, bytes, sizeof bytes, &err));
  write_at(txn, 0, "text");
  assert_int_equal(commit(txn), STATE_COMMITTED);
  txn = state_txn_begin(store, "f");
  struct state_large *chunks = open_large(txn, 0, false), *one = open_large(txn, 1, false);
  fill_up(txn, 4);
  assert_false(state_large_write(txn, one, 0, "y", 1, &err));
  assert_int_equal(state_large_n_written(one), 0);
  assert_true(state_large_is_one(one));
  assert_false(state_large_write(txn, chunks, 2, bytes, sizeof bytes - 2, &err));
  assert_int_equal(state_large_size(chunks), 4);
  assert_int_equal(state_large_n_written(chunks), 1);
  assert_true(state_large_resize(txn, chunks, sizeof there, &err));
  assert_true(state_large_read(txn, chunks, 0, there, sizeof there, &err));
  assert_memory_equal(there, "tex", 2);
  for (size_t i = 4; i < sizeof there; i++) assert_int_equal(there[i], 0);
  assert_int_equal(commit(txn), STATE_COMMITTED);
  assert_int_equal(count_stored(store, true).n, 1);
  state_store_close(store);
}

/* Values that are opened again have as much room as they had. */
static void test_rewound_values_have_room(void **state) {
  (void)state;
  static uint8_t bytes[STATE_MAX_VALUE];
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  struct state_txn *txn = state_txn_begin(store, "f");
  assert_true(state_txn_set(txn, "b", 1, bytes, sizeof bytes, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  txn = state_txn_begin(store, "f");
  for (int run = 0; run < 2; run++) {
    for (int i = 0; i < 40; i++) {
      struct state_large *one = open_large(txn, 1, false);
      assert_true(state_large_move(txn, one, "c", 1, &err));
      assert_true(state_large_move(txn, one, "b", 1, &err));
      assert_true(state_txn_set(txn, "b", 1, bytes, sizeof bytes, &err));
    }
    state_txn_rewind(txn);
  }
  state_txn_abort(txn);
  state_store_close(store);
}

/* They are no numbers, and a scan shows their sizes. */
static void test_beside_other_values(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  for (int is_stored = 0; is_stored < 2; is_stored++) {
    struct state_txn *txn = state_txn_begin(store, "f");
    struct state_range range = {0};
    struct state_page page;
    uint32_t sizes[2];
    if (!is_stored) write_at(txn, 0, "12345678");
    int done = state_txn_add(txn, "a", 1, 1, &err);
    if (done == STATE_PENDING) {
      struct outcome woken = OUTCOME;
      state_txn_await(txn, outcome_wake, &woken);
      outcome_wait(&woken);
      done = state_txn_add_answer(txn, &err);
    }
    assert_int_equal(done, -1);
    assert_true(state_txn_scan(txn, &range, &err));
    assert_int_equal(state_txn_scan_next_wait(txn, 10, 1000, &page, &err), 1);
    memcpy(sizes, page.bytes, sizeof sizes);
    assert_int_equal(page.size, 9);
    assert_int_equal(sizes[1], 8 | STATE_LARGE_BIT);
    assert_int_equal(commit(txn), STATE_COMMITTED);
  }
  state_store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_values_are_as_in_memory),
                                     TEST(test_failed_writes_leave_nothing),
                                     TEST(test_rewound_values_have_room),
                                     TEST(test_chunks_conflict_by_themselves),
                                     TEST(test_whole_chunks_are_not_read),
                                     TEST(test_sparse),
                                     TEST(test_sparse_pieces),
                                     TEST(test_without_a_key),
                                     TEST(test_beside_other_values)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
