/* Transactions that would conflict queue instead: in order, without circles, and whoever leaves hands on. */
#include "tests/state_kit.h"

#include <stdatomic.h>
#include <time.h>

/* Lanes stay, however slow the machine is. */
static struct state_store *open_lanes(size_t map_size) {
  struct state_store *store = open_store(map_size);
  store->lanes.cold_ms = 3600000;
  return store;
}

static struct state_txn *begin(struct state_store *store) { return state_txn_begin(store, "f"); }

/* One that has the number, and will set it. */
static void read_and_add(struct state_txn *txn, const char *key) {
  const void *value;
  size_t size;
  uint64_t n = 0;
  struct gw_error err = {0};
  if (state_txn_get_wait(txn, key, strlen(key), &value, &size, &err) == 1) memcpy(&n, value, sizeof n);
  n++;
  assert_true(state_txn_set(txn, key, strlen(key), &n, sizeof n, &err));
}

/* Two conflicts. */
static void make_hot(struct state_store *store, const char *key) {
  for (int i = 0; i < 2; i++) {
    struct state_txn *a = begin(store), *b = begin(store);
    state_txn_expect_no_writes(a);
    state_txn_expect_no_writes(b);
    read_and_add(a, key);
    read_and_add(b, key);
    assert_int_equal(commit(a), STATE_COMMITTED);
    assert_int_equal(commit(b), STATE_CONFLICT);
  }
}

static int try_get(struct state_txn *txn, const char *key) {
  const void *value;
  size_t size;
  struct gw_error err = {0};
  return state_txn_get(txn, key, strlen(key), &value, &size, &err);
}

static uint64_t answer(struct state_txn *txn) {
  const void *value;
  size_t size;
  uint64_t n = 0;
  struct gw_error err = {0};
  int found = state_txn_answer(txn, &value, &size, &err);
  if (found < 0) print_error("%s\n", err.message);
  assert_int_not_equal(found, -1);
  if (found) memcpy(&n, value, sizeof n);
  return n;
}

static void count_wake(void *arg) { ++*(atomic_int *)arg; }

static void await_wake(atomic_int *n, int wanted) {
  while (*n < wanted) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

/* Each comes when the one before is over, however it ended, and sees what that wrote. */
static void test_one_behind_the_other(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  struct state_txn *txns[4];
  static atomic_int wakes[4];
  make_hot(store, "n");
  for (int i = 0; i < 4; i++) txns[i] = begin(store);
  read_and_add(txns[0], "n");
  for (int i = 1; i < 4; i++) {
    wakes[i] = 0;
    set(txns[i], "other", "1");
    assert_int_equal(try_get(txns[i], "n"), STATE_PENDING);
    state_txn_await(txns[i], count_wake, &wakes[i]);
  }
  struct state_txn *reader = begin(store); /* of the snapshot before, and without waiting */
  state_txn_expect_no_writes(reader);
  assert_int_equal(try_get(reader, "n"), 1);
  assert_int_equal(wakes[1], 0);
  assert_int_equal(commit(txns[0]), STATE_COMMITTED);
  await_wake(&wakes[1], 1);
  assert_int_equal(answer(txns[1]), 3);
  read_and_add(txns[1], "n");
  assert_int_equal(wakes[2], 0);
  state_txn_abort(txns[1]);
  await_wake(&wakes[2], 1);
  assert_int_equal(answer(txns[2]), 3);
  read_and_add(txns[2], "n");
  assert_int_equal(wakes[3], 0);
  assert_int_equal(commit(txns[2]), STATE_COMMITTED);
  await_wake(&wakes[3], 1);
  assert_int_equal(answer(txns[3]), 4);
  read_and_add(txns[3], "n");
  assert_int_equal(commit(txns[3]), STATE_COMMITTED);
  assert_int_equal(commit(reader), STATE_COMMITTED);
  state_store_close(store);
}

/* Who waits may go, in any place of the queue, and is woken nevertheless. */
static void test_leaving_the_queue(void **state) {
  (void)state;
  enum { N = 5 };
  struct state_store *store = open_lanes(MAP_SIZE);
  static atomic_int wakes[N];
  make_hot(store, "n");
  for (int gone = 1; gone < N; gone++) {
    struct state_txn *txns[N];
    for (int i = 0; i < N; i++) {
      wakes[i] = 0;
      txns[i] = begin(store);
      if (i == 0) read_and_add(txns[0], "n");
      if (i > 0) assert_int_equal(try_get(txns[i], "n"), STATE_PENDING);
      if (i > 0 && i != 2) state_txn_await(txns[i], count_wake, &wakes[i]);
    }
    state_txn_abort(txns[gone]);
    assert_int_equal(wakes[gone], gone != 2);
    assert_int_equal(commit(txns[0]), STATE_COMMITTED);
    for (int i = 1; i < N; i++) {
      if (i == gone) continue;
      if (i == 2) state_txn_await(txns[i], count_wake, &wakes[i]);
      await_wake(&wakes[i], 1);
      answer(txns[i]);
      state_txn_abort(txns[i]);
    }
  }
  state_store_close(store);
}

/* What was read before the turn came must be the same in the snapshot that comes with it. */
static void test_read_before(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  struct gw_error err = {0};
  const void *value;
  size_t size;
  static atomic_int wakes;
  make_hot(store, "n");
  for (int changes = 0; changes < 2; changes++) {
    wakes = 0;
    put(store, "f", "before", "1");
    struct state_txn *a = begin(store), *b = begin(store);
    read_and_add(a, "n");
    assert_string_equal(get(b, "before"), "1");
    assert_int_equal(try_get(b, "n"), STATE_PENDING);
    state_txn_await(b, count_wake, &wakes);
    if (changes) set(a, "before", "2");
    assert_int_equal(commit(a), STATE_COMMITTED);
    await_wake(&wakes, 1);
    assert_int_equal(state_txn_answer(b, &value, &size, &err), changes ? -1 : 1);
    assert_int_equal(state_txn_is_stale(b), changes);
    state_txn_abort(b);
  }
  state_store_close(store);
}

/* Each has what the other one wants: one of the two does not wait. */
static void test_no_circle(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  make_hot(store, "m");
  make_hot(store, "n");
  struct state_txn *a = begin(store), *b = begin(store);
  read_and_add(a, "m");
  read_and_add(b, "n");
  int of_a = try_get(a, "n"), of_b = try_get(b, "m");
  assert_true((of_a == STATE_PENDING) != (of_b == STATE_PENDING));
  struct state_txn *first = of_a == STATE_PENDING ? b : a, *second = of_a == STATE_PENDING ? a : b;
  static atomic_int wakes;
  state_txn_await(second, count_wake, &wakes);
  assert_int_equal(commit(first), STATE_COMMITTED);
  await_wake(&wakes, 1);
  answer(second);
  assert_int_equal(commit(second), STATE_COMMITTED);
  state_store_close(store);
}

/* Where nobody has met anybody for a second, nobody waits. */
/* Who lost to one that reads in another order waits for both before it reads again. */
static void meet_crossed(struct state_store *store, const char *first, const char *second) {
  struct state_turns turns = {0};
  atomic_int n_y = 0, n_z = 0;
  struct state_txn *other = begin(store), *txn = begin(store);
  state_txn_expect_no_writes(other);
  state_txn_take_turns(txn, &turns);
  read_and_add(other, second);
  read_and_add(txn, first);
  read_and_add(txn, second);
  assert_int_equal(commit(other), STATE_COMMITTED);
  assert_int_equal(commit(txn), STATE_CONFLICT);
  assert_int_equal(turns.n, 2);
  assert_true(turns.hashes[0] < turns.hashes[1]);
  struct state_txn *x = begin(store), *y = begin(store), *z = begin(store);
  read_and_add(x, second);
  state_txn_take_turns(y, &turns);
  assert_int_equal(try_get(y, first), STATE_PENDING);
  state_txn_await(y, count_wake, &n_y);
  assert_int_equal(n_y, 0);
  assert_int_equal(commit(x), STATE_COMMITTED);
  await_wake(&n_y, 1);
  answer(y);
  assert_int_equal(try_get(z, second), STATE_PENDING); /* y is in that lane, though it did not read the key */
  state_txn_await(z, count_wake, &n_z);
  read_and_add(y, second);
  read_and_add(y, first);
  assert_int_equal(commit(y), STATE_COMMITTED);
  await_wake(&n_z, 1);
  answer(z);
  state_txn_abort(z);
  /* and leaves the queue of the second when it gives up in it */
  x = begin(store), y = begin(store);
  atomic_int n_left = 0;
  read_and_add(x, second);
  state_txn_take_turns(y, &turns);
  assert_int_equal(try_get(y, first), STATE_PENDING);
  state_txn_await(y, count_wake, &n_left);
  state_txn_abort(y);
  await_wake(&n_left, 1);
  assert_int_equal(commit(x), STATE_COMMITTED);
}

static void test_crossed_orders(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  make_hot(store, "k");
  make_hot(store, "l");
  meet_crossed(store, "k", "l");
  meet_crossed(store, "l", "k");
  state_store_close(store);
}

static void test_a_lane_goes_cold(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  make_hot(store, "n");
  store->lanes.cold_ms = 10;
  nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
  struct state_txn *a = begin(store), *b = begin(store);
  read_and_add(a, "n");
  assert_int_equal(try_get(b, "n"), 1);
  assert_int_equal(commit(a), STATE_COMMITTED);
  state_txn_abort(b);
  state_store_close(store);
}

/* Those who scan the same and write into it queue, too. */
static void test_scans_queue(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  struct gw_error err = {0};
  struct state_page page;
  struct state_range all = {0};
  struct state_txn *txns[2];
  static atomic_int wakes;
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 2; k++) {
      txns[k] = begin(store);
      assert_true(state_txn_scan(txns[k], &all, &err));
      int done = state_txn_scan_next(txns[k], 9, 999, &page, &err);
      assert_int_equal(done, i == 2 && k == 1 ? STATE_PENDING : 1);
      set(txns[k], k ? "a" : "b", "1");
    }
    if (i == 2) state_txn_await(txns[1], count_wake, &wakes);
    assert_int_equal(commit(txns[0]), STATE_COMMITTED);
    if (i < 2) assert_int_equal(commit(txns[1]), STATE_CONFLICT);
  }
  await_wake(&wakes, 1);
  assert_int_equal(state_txn_scan_answer(txns[1], &page, &err), 1);
  assert_int_equal(page.n_pairs, 2);
  assert_int_equal(commit(txns[1]), STATE_COMMITTED);
  state_store_close(store);
}

/* --- running ahead ------------------------------------------------------------------------------------------------ */

static struct state_txn *begin_ahead(struct state_store *store) {
  struct state_txn *txn = begin(store);
  state_txn_run_ahead(txn);
  return txn;
}

/* What state_txn_commit does before the committer has it. */
static void pass_on(struct state_txn *txn) {
  struct state_txn *next[MAX_LANES];
  int n = state_lane_pass(txn, next);
  assert_int_equal(txn->n_lanes, 0);
  state_lane_resume(next, n);
}

/* The next one reads what the first has written before that is stored, and is stored behind it; or not at all. */
static void test_ahead(void **state) {
  (void)state;
  enum { FIRST_COMMITS, FIRST_COMES_LATE, FIRST_ABORTS, ANOTHER_BETWEEN, N_WAYS };
  struct state_store *store = open_lanes(MAP_SIZE);
  make_hot(store, "n");
  uint64_t n = 2;
  for (int way = 0; way < N_WAYS; way++) {
    for (int writes = 0; writes < 2; writes++) {
      struct state_txn *first = begin(store), *next = begin_ahead(store), *careful = begin(store);
      atomic_int wakes = 0, careful_wakes = 0;
      read_and_add(first, "n");
      assert_int_equal(try_get(next, "n"), STATE_PENDING);
      state_txn_await(next, count_wake, &wakes);
      assert_int_equal(try_get(careful, "n"), STATE_PENDING);
      state_txn_await(careful, count_wake, &careful_wakes);
      pass_on(first);
      assert_int_equal(wakes, 1);
      assert_int_equal(answer(next), n + 1);
      assert_true(state_txn_has_run_ahead(next));
      assert_int_equal(try_get(next, "n"), 1);
      assert_int_equal(answer(next), n + 1);
      if (writes) read_and_add(next, "n");
      if (way == FIRST_COMMITS) assert_int_equal(commit(first), STATE_COMMITTED);
      if (way == FIRST_ABORTS) state_lane_settle(first), state_txn_abort(first);
      if (way == ANOTHER_BETWEEN) {
        assert_int_equal(commit(first), STATE_COMMITTED);
        uint64_t same = n + 1;
        struct gw_error err = {0};
        assert_true(state_put(store, "f", "n", 1, &same, sizeof same, &err));
      }
      assert_int_equal(careful_wakes, 0); /* it waits for all that is under way */
      assert_int_equal(commit(next), way == FIRST_COMMITS ? STATE_COMMITTED : STATE_CONFLICT);
      if (way == FIRST_COMES_LATE) assert_int_equal(commit(first), STATE_COMMITTED);
      await_wake(&careful_wakes, 1);
      uint64_t before = n;
      n += way == FIRST_ABORTS ? 0 : way == FIRST_COMMITS ? 1 + (uint64_t)writes : 1;
      /* where what was handed on last has failed, nothing is known to be under way */
      assert_int_equal(answer(careful), way == FIRST_COMES_LATE && writes ? before : n);
      assert_false(state_txn_has_run_ahead(careful));
      state_txn_abort(careful);
    }
  }
  state_store_close(store);
}

/* A chain, all in the committer's hands at one time. */
static void test_chain(void **state) {
  (void)state;
  enum { N = 50 };
  struct state_store *store = open_lanes(MAP_SIZE);
  static struct outcome outcomes[N];
  make_hot(store, "n");
  for (int breaks = 0; breaks < 2; breaks++) {
    uint64_t before = 0, start = 0;
    for (int i = 0; i < N; i++) {
      struct state_txn *txn = begin_ahead(store);
      outcomes[i] = (struct outcome)OUTCOME;
      assert_int_equal(try_get(txn, "n"), 1);
      uint64_t n = answer(txn);
      if (i && i <= N / 2) assert_int_equal(n, before + 1);
      if (!i) start = n;
      before = n;
      read_and_add(txn, "n");
      if (breaks && i == N / 2) { /* it loses, and so do all behind it */
        assert_string_equal(get(txn, "x"), "-");
        put(store, "f", "x", "1");
      }
      state_txn_commit(txn, outcome_set, &outcomes[i]);
    }
    int n_committed = 0;
    for (int i = 0; i < N; i++) n_committed += outcome_wait(&outcomes[i]) == STATE_COMMITTED;
    struct state_txn *txn = begin(store);
    assert_int_equal(try_get(txn, "n"), 1);
    if (!breaks) assert_int_equal(n_committed, N);
    assert_int_equal(answer(txn), start + (uint64_t)n_committed);
    state_txn_abort(txn);
  }
  state_store_close(store);
}

/* By its place in the table what somebody else writes may be what the transaction has read. */
static bool collides(struct state_txn *txn) { return txn->store->under_way[((struct txn_key *)txn->keys)->hash % UNDER_WAY]; }

/* A write between the two is noticed also where all three are in one batch, which gathers while a large commit is under way. */
static void test_between_in_one_batch(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  struct gw_error err = {0};
  make_hot(store, "n");
  for (int i = 0; i < 5; i++) {
    struct outcome outcomes[4] = {OUTCOME, OUTCOME, OUTCOME, OUTCOME};
    struct state_txn *large = begin(store), *first = begin_ahead(store), *other = begin(store), *last = begin_ahead(store);
    for (int k = 0; k < STATE_MAX_WRITES; k++) assert_true(state_txn_set(large, &k, sizeof k, "", 0, &err));
    state_txn_commit(large, outcome_set, &outcomes[0]);
    read_and_add(first, "n");
    bool may_lose = collides(first);
    state_txn_commit(first, outcome_set, &outcomes[1]);
    read_and_add(last, "n");
    uint64_t n = 1000;
    assert_true(state_txn_set(other, "n", 1, &n, sizeof n, &err));
    state_txn_commit(other, outcome_set, &outcomes[2]);
    bool has_run_ahead = state_txn_has_run_ahead(last);
    state_txn_commit(last, outcome_set, &outcomes[3]);
    for (int k = 0; k < 4; k++) outcome_wait(&outcomes[k]);
    if (may_lose) continue;
    for (int k = 0; k < 3; k++) assert_int_equal(outcomes[k].outcome, STATE_COMMITTED);
    assert_int_equal(outcomes[3].outcome, STATE_CONFLICT);
    if (has_run_ahead) break; /* else the committer was faster */
  }
  state_store_close(store);
}

/* What the one before wrote was not stored, and somebody else's write is the first of the next batch, whose LMDB transaction has
 * the same number: that is not what was read. */
static void test_first_fails(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct state_store *store = open_lanes(1 << 20);
  static uint8_t bytes[200 << 10];
  make_hot(store, "n");
  while (state_put(store, "f", bytes, 4, bytes, sizeof bytes, &err)) ++*(uint32_t *)bytes; /* until the map is full */
  for (int i = 0; i < 2; i++) {
    struct state_txn *first = begin_ahead(store), *next = begin_ahead(store), *other = begin(store);
    uint64_t n = 1000;
    read_and_add(first, "n");
    assert_true(state_txn_set(first, "large", 5, bytes, sizeof bytes, &err));
    atomic_int wakes = 0;
    assert_int_equal(try_get(next, "n"), STATE_PENDING);
    state_txn_await(next, count_wake, &wakes);
    assert_true(state_txn_set(other, "n", 1, &n, sizeof n, &err));
    assert_int_equal(commit(first), STATE_FAILED);
    await_wake(&wakes, 1);
    answer(next);
    assert_true(state_txn_has_run_ahead(next));
    if (i) read_and_add(next, "n");
    assert_int_equal(commit(other), STATE_COMMITTED);
    assert_int_equal(commit(next), STATE_CONFLICT);
    struct state_txn *txn = begin(store);
    assert_int_equal(try_get(txn, "n"), 1);
    assert_int_equal(answer(txn), 1000);
    state_txn_abort(txn);
  }
  state_store_close(store);
}

/* Who has read what another one is about to write loses at once, and hands nothing on; and leaves lanes that it did not need. */
static void test_known_conflict(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  struct gw_error err = {0};
  make_hot(store, "n");
  make_hot(store, "m");
  struct outcome outcomes[3] = {OUTCOME, OUTCOME, OUTCOME};
  struct state_txn *large = begin(store), *other = begin(store), *txn = begin_ahead(store), *next = begin_ahead(store);
  for (int k = 0; k < STATE_MAX_WRITES; k++) assert_true(state_txn_set(large, &k, sizeof k, "", 0, &err));
  read_and_add(txn, "n");
  assert_string_equal(get(txn, "cold"), "-");
  assert_int_equal(try_get(next, "n"), STATE_PENDING);
  atomic_int wakes = 0;
  state_txn_await(next, count_wake, &wakes);
  state_txn_commit(large, outcome_set, &outcomes[0]);
  set(other, "cold", "1");
  state_txn_commit(other, outcome_set, &outcomes[1]);
  bool is_known = !outcomes[1].calls; /* else the committer was faster */
  state_txn_commit(txn, outcome_set, &outcomes[2]);
  if (is_known && !outcomes[1].calls) assert_int_equal(outcomes[2].calls, 1);
  assert_int_equal(outcome_wait(&outcomes[2]), STATE_CONFLICT);
  await_wake(&wakes, 1);
  if (is_known) assert_int_equal(answer(next), 2);
  state_txn_abort(next);
  for (int i = 0; i < 2; i++) assert_int_equal(outcome_wait(&outcomes[i]), STATE_COMMITTED);
  for (int i = 0; i < STATE_MAX_WRITES; i++) assert_int_equal(store->under_way[i], 0);
  /* what it waited for in vain is free when it commits, before that is durable */
  struct state_turns turns = {0};
  struct state_txn *a = begin(store), *b = begin_ahead(store);
  state_txn_take_turns(a, &turns);
  read_and_add(a, "m");
  state_txn_note_turns(a);
  state_txn_abort(a);
  assert_int_equal(turns.n, 1);
  state_txn_take_turns(b, &turns);
  read_and_add(b, "elsewhere");
  assert_int_equal(b->n_lanes, 1);
  pass_on(b);
  assert_int_equal(commit(b), STATE_COMMITTED);
  state_store_close(store);
}

/* Who can wait nowhere begins again at once. */
static void test_crossed_ahead(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  make_hot(store, "k");
  make_hot(store, "l");
  struct state_txn *a = begin_ahead(store), *b = begin_ahead(store);
  struct state_turns of_a = {0}, of_b = {0};
  state_txn_take_turns(a, &of_a);
  state_txn_take_turns(b, &of_b);
  read_and_add(a, "k");
  read_and_add(b, "l");
  int in_a = try_get(a, "l"), in_b = try_get(b, "k");
  struct state_txn *loser = in_a == -1 ? a : b, *winner = in_a == -1 ? b : a;
  struct state_turns *turns = in_a == -1 ? &of_a : &of_b;
  assert_true((in_a == -1 && in_b == STATE_PENDING) || (in_b == -1 && in_a == STATE_PENDING));
  assert_true(state_txn_is_stale(loser));
  state_txn_note_turns(loser);
  assert_int_equal(turns->n, 2);
  atomic_int wakes = 0;
  state_txn_await(winner, count_wake, &wakes);
  state_txn_abort(loser);
  await_wake(&wakes, 1);
  answer(winner);
  assert_int_equal(commit(winner), STATE_COMMITTED);
  state_store_close(store);
}

/* --- many threads ------------------------------------------------------------------------------------------------- */

enum { N_THREADS = 8, N_ADDS = 200 };

static atomic_int conflicts;

/* Two of three numbers, in any order; some go away in the middle. */
static void *add_up(void *arg) {
  static const char *const keys[] = {"a", "b", "c"};
  uint32_t seed = (uint32_t)(uintptr_t)&seed | 1;
  for (int done = 0; done < N_ADDS;) {
    struct state_txn *txn = begin(arg);
    seed = seed * 1664525u + 1013904223u;
    uint32_t first = (seed >> 16) % 3, second = (first + 1 + (seed >> 20) % 2) % 3;
    if (seed >> 28 == 0 && try_get(txn, keys[first]) != -1) {
      state_txn_abort(txn);
      continue;
    }
    struct gw_error err = {0};
    const void *value;
    size_t size;
    uint64_t n[2] = {0};
    int a = state_txn_get_wait(txn, keys[first], 1, &value, &size, &err);
    if (a == 1) memcpy(&n[0], value, 8);
    int b = a < 0 ? a : state_txn_get_wait(txn, keys[second], 1, &value, &size, &err);
    if (b == 1) memcpy(&n[1], value, 8);
    if (b < 0) {
      assert_true(state_txn_is_stale(txn));
      state_txn_abort(txn);
      conflicts++;
      continue;
    }
    n[0]++, n[1]++;
    assert_true(state_txn_set(txn, keys[first], 1, &n[0], 8, &err));
    assert_true(state_txn_set(txn, keys[second], 1, &n[1], 8, &err));
    if (commit(txn) == STATE_COMMITTED)
      done++;
    else
      conflicts++;
  }
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  struct state_store *store = open_lanes(MAP_SIZE);
  pthread_t threads[N_THREADS];
  for (int i = 0; i < N_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, add_up, store), 0);
  for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
  uint64_t sum = 0;
  for (int i = 0; i < 3; i++) {
    struct state_txn *txn = begin(store);
    char key[2] = {(char)('a' + i), 0};
    uint64_t n = 0;
    const void *value;
    size_t size;
    struct gw_error err = {0};
    if (state_txn_get_wait(txn, key, 1, &value, &size, &err) == 1) memcpy(&n, value, 8);
    sum += n;
    state_txn_abort(txn);
  }
  assert_int_equal(sum, 2 * N_THREADS * N_ADDS);
  print_message("%d conflicts of %d\n", (int)conflicts, N_THREADS * N_ADDS);
  state_store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_one_behind_the_other),
      TEST(test_leaving_the_queue),
      TEST(test_read_before),
      TEST(test_no_circle),
      TEST(test_crossed_orders),
      TEST(test_a_lane_goes_cold),
      TEST(test_scans_queue),
      TEST(test_ahead),
      TEST(test_chain),
      TEST(test_first_fails),
      TEST(test_between_in_one_batch),
      TEST(test_known_conflict),
      TEST(test_crossed_ahead),
      TEST(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
