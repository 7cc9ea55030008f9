/* State: transactions are serializable, durable, bounded, and fail alone. Built a second time on a store that answers late
 * (TEST_LATE) or in PostgreSQL (TEST_POSTGRES), without what is LMDB's own. */
#define _GNU_SOURCE /* memmem */
#include "tests/state_kit.h"

#include <lmdb.h>
#include <sodium.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- one transaction ---------------------------------------------------------------------------------------------- */

static void test_reads_its_own_writes(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  assert_true(state_txn_is_read_only(txn));
  assert_string_equal(get(txn, "a"), "-");
  set(txn, "a", "1");
  assert_string_equal(get(txn, "a"), "1");
  set(txn, "a", "a longer value than before");
  assert_string_equal(get(txn, "a"), "a longer value than before");
  set(txn, "a", "");
  assert_string_equal(get(txn, "a"), "");
  remove_key(txn, "a");
  assert_string_equal(get(txn, "a"), "-");
  set(txn, "a", "2");
  assert_false(state_txn_is_read_only(txn));
  expect(store, "f", "a", "-");
  assert_int_equal(commit(txn), STATE_COMMITTED);
  expect(store, "f", "a", "2");
  expect(store, "g", "a", "-");
  state_store_close(store);
}

static void test_abort_leaves_nothing(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  set(txn, "a", "1");
  state_txn_abort(txn);
  expect(store, "f", "a", "-");
  state_store_close(store);
}

static void test_limits(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  char *big = calloc(1, STATE_MAX_VALUE + 1);
  struct gw_error err = {0};
  assert_false(state_txn_set(txn, "", 0, "x", 1, &err));
  assert_non_null(strstr(err.message, "1 to 480 bytes"));
  err = (struct gw_error){0};
  assert_false(state_txn_set(txn, big, STATE_MAX_KEY + 1, "x", 1, &err));
  err = (struct gw_error){0};
  assert_false(state_txn_set(txn, "k", 1, big, STATE_MAX_VALUE + 1, &err));
  assert_true(state_txn_is_read_only(txn));
  err = (struct gw_error){0};
  assert_true(state_txn_set(txn, big, STATE_MAX_KEY, big, STATE_MAX_VALUE, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  txn = state_txn_begin(store, "f");
  const void *value;
  size_t size;
  assert_int_equal(state_txn_get_wait(txn, big, STATE_MAX_KEY, &value, &size, &err), 1);
  assert_int_equal(size, STATE_MAX_VALUE);
  /* one key written again and again is no matter; many keys are */
  for (int i = 0; i < 200; i++) assert_true(state_txn_set(txn, "k", 1, big, STATE_MAX_VALUE, &err));
  int n = 0;
  while (n < 100 && state_txn_set(txn, &n, sizeof n, big, STATE_MAX_VALUE, &err)) n++;
  assert_in_range(n, 50, 64);
  assert_int_equal(err.code, GW_ERROR_LIMIT);
  state_txn_abort(txn);
  free(big);
  state_store_close(store);
}

static void test_many_keys(void **state) {
  (void)state;
  enum { N = 5000 };
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  struct gw_error err = {0};
  for (int i = 0; i < N; i++) assert_true(state_txn_set(txn, &i, sizeof i, &i, sizeof i, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  txn = state_txn_begin(store, "f");
  for (int i = 0; i < N; i++) {
    const void *value;
    size_t size;
    assert_int_equal(state_txn_get_wait(txn, &i, sizeof i, &value, &size, &err), 1);
    assert_memory_equal(value, &i, sizeof i);
  }
  state_txn_abort(txn);
  assert_true(state_clear(store, "f", &err));
  expect_all(store, "f", "");
  state_store_close(store);
}

/* --- two transactions --------------------------------------------------------------------------------------------- */

static void test_one_of_two_conflicts(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  put(store, "f", "n", "0");
  struct state_txn *a = state_txn_begin(store, "f"), *b = state_txn_begin(store, "f");
  assert_string_equal(get(a, "n"), "0");
  assert_string_equal(get(b, "n"), "0");
  set(a, "n", "a");
  set(b, "n", "b");
  assert_int_equal(commit(a), STATE_COMMITTED);
  assert_int_equal(commit(b), STATE_CONFLICT);
  expect(store, "f", "n", "a");
  state_store_close(store);
}

/* Absence is something read, and a value that went and came back has changed. */
static void test_what_conflicts(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct state_txn *a = state_txn_begin(store, "f");
  assert_string_equal(get(a, "new"), "-");
  set(a, "x", "1");
  put(store, "f", "new", "1");
  assert_int_equal(commit(a), STATE_CONFLICT);
  expect(store, "f", "x", "-");

  struct gw_error err = {0};
  a = state_txn_begin(store, "f");
  assert_string_equal(get(a, "new"), "1");
  set(a, "x", "1");
  assert_true(state_remove(store, "f", "new", 3, &err));
  put(store, "f", "new", "1");
  assert_int_equal(commit(a), STATE_CONFLICT);

  a = state_txn_begin(store, "f");
  assert_string_equal(get(a, "new"), "1");
  set(a, "x", "1");
  assert_true(state_clear(store, "f", &err));
  assert_int_equal(commit(a), STATE_CONFLICT);
  state_store_close(store);
}

static void test_what_does_not_conflict(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  put(store, "f", "a", "1");
  /* blind writes, and reads of a transaction's own writes */
  struct state_txn *a = state_txn_begin(store, "f"), *b = state_txn_begin(store, "f");
  set(a, "k", "a");
  set(b, "k", "b");
  assert_string_equal(get(b, "k"), "b");
  assert_int_equal(commit(a), STATE_COMMITTED);
  assert_int_equal(commit(b), STATE_COMMITTED);
  expect(store, "f", "k", "b");
  /* another space */
  a = state_txn_begin(store, "f");
  assert_string_equal(get(a, "a"), "1");
  put(store, "g", "a", "2");
  set(a, "a", "3");
  assert_int_equal(commit(a), STATE_COMMITTED);
  /* a transaction that only reads has its snapshot; that in PostgreSQL is told before */
  a = state_txn_begin(store, "f");
  if (IS_POSTGRES) state_txn_only_reads(a);
  assert_string_equal(get(a, "a"), "3");
  put(store, "f", "a", "4");
  put(store, "f", "c", "4");
  assert_string_equal(get(a, "a"), "3");
  assert_string_equal(get(a, "c"), "-");
  assert_int_equal(commit(a), STATE_COMMITTED);
  state_store_close(store);
}

/* Write skew: each reads what the other writes. A store with snapshot isolation only would let both through. */
static void test_write_skew(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  put(store, "f", "a", "1");
  put(store, "f", "b", "1");
  struct state_txn *a = state_txn_begin(store, "f"), *b = state_txn_begin(store, "f");
  get(a, "a"), get(a, "b"), get(b, "a"), get(b, "b");
  set(a, "a", "0");
  set(b, "b", "0");
  struct outcome oa = OUTCOME, ob = OUTCOME; /* likely in one batch */
  state_txn_commit(a, outcome_set, &oa);
  state_txn_commit(b, outcome_set, &ob);
  assert_int_equal(outcome_wait(&oa), STATE_COMMITTED);
  assert_int_equal(outcome_wait(&ob), STATE_CONFLICT);
  state_store_close(store);
}

/* --- many threads ------------------------------------------------------------------------------------------------- */

enum { N_THREADS = 4, N_INCREMENTS = 250 };

struct worker {
  pthread_t thread;
  struct state_store *store;
  int conflicts;
};

static enum state_outcome increment(struct state_store *store, const char *key) {
  struct state_txn *txn = state_txn_begin(store, "counter");
  uint64_t n = 0;
  const void *value;
  size_t size;
  struct gw_error err = {0};
  if (state_txn_get_wait(txn, key, strlen(key), &value, &size, &err) == 1) memcpy(&n, value, sizeof n);
  n++;
  state_txn_set(txn, key, strlen(key), &n, sizeof n, &err);
  return commit(txn);
}

static void *count_up(void *arg) {
  struct worker *w = arg;
  for (int done = 0; done < N_INCREMENTS;) {
    if (increment(w->store, "n") == STATE_COMMITTED)
      done++;
    else
      w->conflicts++;
  }
  return NULL;
}

static uint64_t counter(struct state_store *store) {
  struct state_txn *txn = state_txn_begin(store, "counter");
  uint64_t n = 0;
  const void *value;
  size_t size;
  struct gw_error err = {0};
  if (state_txn_get_wait(txn, "n", 1, &value, &size, &err) == 1) memcpy(&n, value, sizeof n);
  state_txn_abort(txn);
  return n;
}

static void test_no_update_is_lost(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct worker workers[N_THREADS] = {0};
  for (int i = 0; i < N_THREADS; i++) {
    workers[i].store = store;
    assert_int_equal(pthread_create(&workers[i].thread, NULL, count_up, &workers[i]), 0);
  }
  for (int i = 0; i < N_THREADS; i++) pthread_join(workers[i].thread, NULL);
  assert_int_equal(counter(store), N_THREADS * N_INCREMENTS);
  state_store_close(store);
}

/* --- crashes, reopening, full stores ------------------------------------------------------------------------------ */

/* Child: increments for ever and writes each acknowledged one to the pipe. */
static void write_acknowledgements(int pipe_fd) {
  struct gw_error err = {0};
  struct state_store *store = try_open_store(MAP_SIZE, true, &err);
  while (store && increment(store, "n") == STATE_COMMITTED && write(pipe_fd, "+", 1) == 1) {
  }
  _exit(1);
}

static void kill_in_the_middle(int acks_before_kill, uint64_t *acknowledged) {
  int pipe_fds[2];
  assert_int_equal(pipe(pipe_fds), 0);
  pid_t child = fork();
  if (child == 0) {
    close(pipe_fds[0]);
    write_acknowledgements(pipe_fds[1]);
  }
  close(pipe_fds[1]);
  char byte;
  for (int i = 0; i < acks_before_kill; i++) {
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    ++*acknowledged;
  }
  kill(child, SIGKILL);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  while (read(pipe_fds[0], &byte, 1) == 1) ++*acknowledged; /* what it had still acknowledged */
  close(pipe_fds[0]);
}

static void test_kill_loses_nothing_acknowledged(void **state) {
  (void)state;
  uint64_t acknowledged = 0, kills = 0;
  for (int n = 1; n < 60; n += 13) {
    kill_in_the_middle(n, &acknowledged);
    kills++;
    struct state_store *store = open_store(MAP_SIZE);
    uint64_t stored = counter(store);
    assert_in_range(stored, acknowledged, acknowledged + kills); /* each kill may cut off one acknowledgement */
    state_store_close(store);
  }
}

static void test_reopening(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  put(store, "f", "a", "1");
  if (IS_LMDB) {
    struct gw_error err = {0};
    assert_null(state_store_open(directory, MAP_SIZE, false, &err));
    assert_non_null(strstr(err.message, "open in this process already"));
  }
  state_store_close(store);
  store = open_store(MAP_SIZE);
  expect(store, "f", "a", "1");
  /* versions go on where they were: a snapshot of this run sees changes of this run */
  struct state_txn *txn = state_txn_begin(store, "f");
  get(txn, "a");
  set(txn, "b", "1");
  put(store, "f", "a", "1");
  assert_int_equal(commit(txn), STATE_CONFLICT);
  state_store_close(store);
}

static void test_directory_errors(void **state) {
  (void)state;
  struct gw_error err = {0};
  assert_null(state_store_open("/proc/no/such/place", MAP_SIZE, false, &err));
  assert_non_null(strstr(err.message, "/proc/no/such/place"));
  err = (struct gw_error){0};
  assert_null(state_store_open("/dev/null", MAP_SIZE, false, &err));
  assert_non_null(strstr(err.message, "/dev/null"));

  char path[128];
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  FILE *file = fopen(path, "w");
  for (int i = 0; i < 20000; i++) fputc('x', file);
  fclose(file);
  err = (struct gw_error){0};
  assert_null(state_store_open(directory, MAP_SIZE, false, &err));
  assert_non_null(strstr(err.message, directory));
}

static void test_full_store_fails_one(void **state) {
  (void)state;
  struct state_store *store = open_store(1 << 20);
  put(store, "f", "a", "1");
  char *big = calloc(1, STATE_MAX_VALUE);
  struct outcome small[8] = {OUTCOME, OUTCOME, OUTCOME, OUTCOME, OUTCOME, OUTCOME, OUTCOME, OUTCOME}, large = OUTCOME;
  struct gw_error err = {0};
  for (int i = 0; i < 8; i++) {
    char key[2] = {(char)('b' + i), 0};
    struct state_txn *txn = state_txn_begin(store, "f");
    set(txn, key, "2");
    if (i == 4) {
      struct state_txn *too_large = state_txn_begin(store, "f");
      assert_true(state_txn_set(too_large, "z", 1, big, STATE_MAX_VALUE, &err));
      state_txn_commit(too_large, outcome_set, &large);
    }
    state_txn_commit(txn, outcome_set, &small[i]);
  }
  for (int i = 0; i < 8; i++) assert_int_equal(outcome_wait(&small[i]), STATE_COMMITTED);
  assert_int_equal(outcome_wait(&large), STATE_FAILED);
  assert_non_null(strstr(large.message, "is full (map size 1048576 bytes)"));
  expect_all(store, "f", "a=1 b=2 c=2 d=2 e=2 f=2 g=2 h=2 i=2 ");
  free(big);
  state_store_close(store);
}

enum { PAIR = 40 /* bytes that a pair takes beside key and value */ };

static enum state_outcome commit_one(struct state_store *store, uint64_t limit, const char *key, const char *value) {
  struct state_txn *txn = state_txn_begin(store, "f");
  struct gw_error err = {0};
  state_txn_limit(txn, limit);
  if (value)
    set(txn, key, value);
  else
    assert_true(state_txn_delete(txn, key, strlen(key), &err));
  return commit(txn);
}

/* One more than the limit fails, and nothing of it happens; what makes less of a space that is over its limit does not. */
static void test_space_has_a_limit(void **state) {
  (void)state;
  static const struct {
    const char *key, *value;
    uint64_t after;
  } steps[] = {{"a", "12345", PAIR + 6},   {"bc", "1", 2 * PAIR + 9}, {"a", "123456789", 2 * PAIR + 13},
               {"a", "1", 2 * PAIR + 5},   {"bc", NULL, PAIR + 2},    {"never there", NULL, PAIR + 2},
               {"d", "", 2 * PAIR + 3},    {"d", NULL, PAIR + 2},     {"a", NULL, 0},
               {"e", "12345678", PAIR + 9}};
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  uint64_t before = 0;
  put(store, "g", "of another space", "1234567890");
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    bool grows = steps[i].after > before;
    if (grows) assert_int_equal(commit_one(store, steps[i].after - 1, steps[i].key, steps[i].value), STATE_FAILED);
    assert_int_equal(commit_one(store, grows ? steps[i].after : 1, steps[i].key, steps[i].value), STATE_COMMITTED);
    before = steps[i].after;
    if (i % 3 == 0) { /* kept in the store, not in the process */
      state_store_close(store);
      store = open_store(MAP_SIZE);
    }
  }
  expect_all(store, "f", "e=12345678 ");
  assert_true(state_clear(store, "f", &err));
  assert_int_equal(commit_one(store, PAIR + 1, "k", "1"), STATE_FAILED);
  assert_int_equal(commit_one(store, PAIR + 2, "k", "1"), STATE_COMMITTED);
  expect_all(store, "g", "of another space=1234567890 ");

  struct state_txn *txn = state_txn_begin(store, "f");
  struct outcome o = OUTCOME;
  state_txn_limit(txn, 77);
  set(txn, "l", "123456789012345678901234567890");
  state_txn_commit(txn, outcome_set, &o);
  assert_int_equal(outcome_wait(&o), STATE_FAILED);
  assert_string_equal(o.message, "its state would take more than 77 bytes, which is the limit");
  state_store_close(store);
}

/* What a space has cost, by a clock that goes back, stands still and never ends. */
static void test_rent_is_size_times_seconds(void **state) {
  struct store_use use;
  struct state_seal seal = {0};
  (void)state;
  assert_false(state_use_read(&use, NULL, 0, 1000));
  use.bytes = 10;
  state_use_settle(&use, 1003);
  assert_int_equal(use.rent, 30);
  state_use_settle(&use, 1001); /* back */
  assert_int_equal(use.rent, 30);
  state_use_settle(&use, 1004); /* and only what is new */
  assert_int_equal(use.rent, 40);
  state_use_tell(&use, &seal);
  assert_int_equal(seal.rent, 40);
  state_use_told(&use);
  state_use_tell(&use, &seal);
  assert_int_equal(seal.rent, 0);
  struct store_use again;
  assert_true(state_use_read(&again, &use, sizeof use, 2000));
  assert_memory_equal(&again, &use, sizeof use);
  assert_true(state_use_read(&again, &use, sizeof use.bytes, 2000)); /* as before there was rent */
  assert_int_equal(again.since, 2000);
  assert_int_equal(again.rent, 0);
  use.bytes = UINT64_MAX / 2;
  state_use_settle(&use, 5000);
  assert_true(use.rent == UINT64_MAX);
}

static uint64_t told_rent;

static bool make_seal(struct state_seal *seal, const uint8_t written[SHA256_SIZE]) {
  (void)written;
  told_rent += seal->rent;
  seal->bytes = "x";
  seal->size = 1;
  return true;
}

static void commit_sealed(struct state_store *store, const char *key, const char *value) {
  struct state_seal seal = {.make = make_seal, .index = 1};
  struct state_txn *txn = state_txn_begin(store, "f");
  state_txn_seal(txn, &seal);
  set(txn, key, value);
  assert_int_equal(commit(txn), STATE_COMMITTED);
}

static struct state_use use_of(struct state_store *store, const char *space) {
  struct state_use use;
  struct gw_error err = {0};
  if (!state_read_use(store, space, &use, &err)) fail_msg("%s", err.message);
  return use;
}

static void wait_for_rent(struct state_store *store, uint64_t more_than) {
  while (use_of(store, "f").rent <= more_than) usleep(20000);
}

/* Each commit and each clear settles it, receipts tell all of it once, and it outlives the process. */
static void test_rent_is_kept_with_commits(void **state) {
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  (void)state;
  told_rent = 0;
  assert_int_equal(use_of(store, "f").rent, 0);
  commit_sealed(store, "a", "12345");
  assert_int_equal(use_of(store, "f").bytes, PAIR + 6);
  wait_for_rent(store, 0);
  assert_int_equal(use_of(store, "f").rent % (PAIR + 6), 0);
  state_store_close(store);
  store = open_store(MAP_SIZE);
  commit_sealed(store, "a", "67890"); /* as large: still its rent is told */
  struct state_use use = use_of(store, "f");
  assert_true(told_rent > 0);
  assert_int_equal(use.receipted, told_rent);
  assert_int_equal(use.rent % (PAIR + 6), 0);
  put(store, "f", "b", "1"); /* without a receipt */
  wait_for_rent(store, use.rent);
  commit_sealed(store, "b", "2");
  use = use_of(store, "f");
  assert_int_equal(use.receipted, told_rent);
  wait_for_rent(store, use.rent);
  assert_true(state_clear(store, "f", &err));
  struct state_use cleared = use_of(store, "f");
  assert_int_equal(cleared.bytes, 0);
  assert_true(cleared.rent > use.rent);
  usleep(1100000);
  assert_int_equal(use_of(store, "f").rent, cleared.rent);
  uint64_t told = told_rent;
  commit_sealed(store, "a", "1"); /* another's: nothing of before is on his receipts */
  assert_int_equal(told_rent, told);
  assert_int_equal(use_of(store, "f").rent, cleared.rent);
  state_store_close(store);
}

static void test_each_in_order(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  put(store, "f", "b", "2");
  put(store, "f", "a", "1");
  put(store, "f", "ab", "3");
  put(store, "g", "0", "0");
  put(store, "e", "z", "0");
  expect_all(store, "f", "a=1 ab=3 b=2 ");
  struct gw_error err = {0};
  assert_true(state_remove(store, "f", "ab", 2, &err));
  assert_true(state_remove(store, "f", "never there", 11, &err));
  expect_all(store, "f", "a=1 b=2 ");
  assert_true(state_clear(store, "f", &err));
  expect_all(store, "f", "");
  expect_all(store, "g", "0=0 ");
  expect_all(store, "e", "z=0 ");
  state_store_close(store);
}

struct range {
  struct store_scan scan; /* first */
  char text[64];
  size_t most;
  atomic_bool is_done;
};

static bool range_one(struct store_scan *scan, const void *key, size_t key_size, const void *value, size_t value_size) {
  struct range *r = (struct range *)scan;
  size_t n = strlen(r->text);
  (void)value;
  assert_int_equal(value_size, 1);
  snprintf(r->text + n, sizeof r->text - n, "%.*s ", (int)key_size, (const char *)key);
  return --r->most > 0;
}

static void range_done(struct store_scan *scan) { ((struct range *)scan)->is_done = true; }

static void expect_range(struct state_store *of, const char *first, const char *end, size_t most, const char *expected) {
  struct store *store = of->store;
  struct gw_error err = {0};
  uint8_t space[SPACE_SIZE];
  struct range r = {.scan = {.done = range_done, .space = space, .each = range_one}, .most = most};
  state_space_digest(space, "f");
  r.scan.first = first;
  r.scan.first_size = first ? strlen(first) : 0;
  r.scan.end = end;
  r.scan.end_size = end ? strlen(end) : 0;
  r.scan.snapshot = store->ops->take(store, &err);
  store->ops->scan(store, &r.scan);
  while (!r.is_done) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
  store->ops->give_back(store, r.scan.snapshot);
  assert_int_equal(r.scan.err.code, GW_ERROR_NONE);
  assert_string_equal(r.text, expected);
}

/* What a store is asked: from the first to before the end, as many as wanted. */
static void test_scans_a_range(void **state) {
  (void)state;
  static const char *const keys[] = {"a", "aa", "ab", "b", "c"};
  struct state_store *store = open_store(MAP_SIZE);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) put(store, "f", keys[i], "1");
  put(store, "g", "aa", "1");
  expect_range(store, NULL, NULL, 99, "a aa ab b c ");
  expect_range(store, "aa", NULL, 99, "aa ab b c ");
  expect_range(store, "a0", "b", 99, "aa ab ");
  expect_range(store, NULL, "aa", 99, "a ");
  expect_range(store, NULL, "", 99, "");
  expect_range(store, "d", NULL, 99, "");
  expect_range(store, "aa", "c", 2, "aa ab ");
  state_store_close(store);
}

/* Closing waits for what is under way. */
static void test_close_finishes_commits(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  enum { N = 50 };
  static struct outcome outcomes[N];
  for (int i = 0; i < N; i++) {
    outcomes[i] = (struct outcome)OUTCOME;
    struct state_txn *txn = state_txn_begin(store, "f");
    char key[16];
    snprintf(key, sizeof key, "k%d", i);
    set(txn, key, "1");
    state_txn_commit(txn, outcome_set, &outcomes[i]);
  }
  state_store_close(store);
  for (int i = 0; i < N; i++) assert_int_equal(outcomes[i].calls, 1);
  store = open_store(MAP_SIZE);
  expect(store, "f", "k49", "1");
  state_store_close(store);
}

/* --- old snapshots and spaces that are cleared --------------------------------------------------------------------- */

static void age(struct state_txn *txn) {
  nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
  state_txn_refresh(txn);
}

/* What was read and has not changed is as good on a newer snapshot; the rest of it is new. */
static void test_old_snapshot_is_given_up(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  put(store, "f", "a", "1");
  put(store, "f", "b", "1");
  struct state_txn *txn = state_txn_begin(store, "f");
  fix_snapshot(txn);
  assert_string_equal(get(txn, "a"), "1");
  assert_string_equal(get(txn, "none"), "-");
  put(store, "f", "b", "2");
  assert_string_equal(get(txn, "b"), "1");
  age(txn);
  struct gw_error err = {0};
  const void *value;
  size_t size;
  assert_int_equal(state_txn_get_wait(txn, "a", 1, &value, &size, &err), -1); /* b has changed */
  assert_true(state_txn_is_stale(txn));
  assert_int_equal(err.code, GW_ERROR_CONFLICT);
  state_txn_abort(txn);
  txn = state_txn_begin(store, "f");
  assert_string_equal(get(txn, "a"), "1");
  put(store, "f", "b", "3");
  age(txn);
  assert_string_equal(get(txn, "b"), "3");
  assert_false(state_txn_is_stale(txn));
  set(txn, "c", "1");
  assert_int_equal(commit(txn), STATE_COMMITTED);
  txn = state_txn_begin(store, "f");
  assert_string_equal(get(txn, "a"), "1");
  age(txn);
  put(store, "f", "a", "2");
  assert_int_equal(commit(txn), STATE_COMMITTED); /* it read one snapshot, and wrote nothing */
  state_store_close(store);
}

/* Somebody who reads and then takes his time does not fill the store. */
static void test_long_reader_holds_nothing_back(void **state) {
  (void)state;
  enum { LITTLE = 2 << 20 };
  char *big = calloc(1, 60000);
  struct state_store *store = open_store(LITTLE);
  struct gw_error err = {0};
  put(store, "f", "a", "1");
  struct state_txn *reader = state_txn_begin(store, "f");
  assert_string_equal(get(reader, "a"), "1");
  age(reader);
  for (int i = 0; i < 200; i++) {
    big[0] = (char)i;
    if (!state_put(store, "g", "k", 1, big, 60000, &err)) fail_msg("write %d: %s", i, err.message);
  }
  assert_string_equal(get(reader, "a"), "1");
  state_txn_abort(reader);
  free(big);
  state_store_close(store);
}

/* Whoever began before a space was cleared does not write into what comes after, even without having read. */
static void test_clear_is_a_barrier(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  put(store, "names", "f", "record");
  put(store, "names", "g", "record");
  struct state_txn *blind = state_txn_begin(store, "f"), *other = state_txn_begin(store, "g");
  set(blind, "a", "1");
  set(other, "a", "1");
  assert_true(state_clear_and_remove(store, "f", "names", "f", 1, &err));
  struct state_txn *later = state_txn_begin(store, "f");
  set(later, "b", "1");
  assert_int_equal(commit(blind), STATE_CONFLICT);
  assert_int_equal(commit(other), STATE_COMMITTED);
  assert_int_equal(commit(later), STATE_COMMITTED);
  expect_all(store, "f", "b=1 ");
  expect_all(store, "names", "g=record ");
  state_store_close(store);
}

/* Every bit of a stored value, flipped in the file, is found when the value is read; other values stay. */
static void test_flipped_byte_is_found(void **state) {
  (void)state;
  char path[128];
  static const char mark[] = "a value that nobody else has in the file";
  struct state_store *store = open_store(MAP_SIZE);
  put(store, "f", "bad", mark);
  put(store, "f", "good", "2");
  state_store_close(store);
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  FILE *file = fopen(path, "r+b");
  static char bytes[1 << 20];
  size_t n = fread(bytes, 1, sizeof bytes, file);
  for (char *at = bytes; (at = memmem(at, n - (size_t)(at - bytes), mark, strlen(mark))); at++) {
    fseek(file, at - bytes + 7, SEEK_SET);
    fputc(at[7] ^ 1, file);
  }
  fclose(file);
  store = open_store(MAP_SIZE);
  struct state_txn *txn = state_txn_begin(store, "f");
  struct gw_error err = {0};
  const void *value;
  size_t size;
  assert_int_equal(state_txn_get_wait(txn, "bad", 3, &value, &size, &err), -1);
  assert_non_null(strstr(err.message, "is damaged: its checksum is wrong"));
  assert_string_equal(get(txn, "good"), "2");
  state_txn_abort(txn);
  expect_all(store, "f", "bad= good=2 ");
  put(store, "f", "bad", "new"); /* which heals it */
  expect(store, "f", "bad", "new");
  state_store_close(store);
}

/* What an earlier version wrote, without checksums. */
static void test_layout_1_is_converted(void **state) {
  (void)state;
  MDB_env *env;
  MDB_txn *txn;
  MDB_dbi dbi;
  uint8_t key[25] = {0}, value[11] = {1, 0, 0, 0, 0, 0, 0, 0, 'o', 'l', 'd'};
  crypto_generichash(key, 24, (const uint8_t *)"f", 1, NULL, 0);
  key[24] = 'k';
  assert_int_equal(mdb_env_create(&env), 0);
  mdb_env_set_maxdbs(env, 4);
  assert_int_equal(mdb_env_open(env, directory, 0, 0600), 0);
  assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
  assert_int_equal(mdb_dbi_open(txn, "state.1", MDB_CREATE, &dbi), 0);
  assert_int_equal(mdb_put(txn, dbi, &(MDB_val){sizeof key, key}, &(MDB_val){sizeof value, value}, 0), 0);
  assert_int_equal(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
  for (int i = 0; i < 2; i++) {
    struct state_store *store = open_store(MAP_SIZE);
    expect_all(store, "f", "k=old ");
    expect(store, "f", "k", "old");
    state_store_close(store);
  }
}

static void test_truncated_file_is_found(void **state) {
  (void)state;
  char path[128], big[5000] = "";
  struct gw_error err = {0};
  struct state_store *store = open_store(MAP_SIZE);
  for (int i = 0; i < 50; i++) assert_true(state_put(store, "f", &i, sizeof i, big, sizeof big, &err));
  state_store_close(store);
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(truncate(path, st.st_size / 2), 0);
  assert_null(state_store_open(directory, MAP_SIZE, false, &err));
  assert_non_null(strstr(err.message, "is damaged: data.mdb has "));
  assert_int_equal(truncate(path, 100), 0);
  err = (struct gw_error){0};
  assert_null(state_store_open(directory, MAP_SIZE, false, &err));
}

/* The last pages may be free before they were ever written; a file without them lacks nothing. */
static void test_free_pages_at_the_end(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  for (int i = 0; i < 8; i++) put(store, "f", "a", "1"); /* so that there are free pages, which LMDB looks at first */
  state_store_close(store);
  MDB_env *env;
  MDB_txn *txn;
  MDB_dbi dbi;
  MDB_envinfo info;
  struct stat st;
  char path[128];
  MDB_val key = {3, "big"}, value = {100000, NULL};
  assert_int_equal(mdb_env_create(&env), 0);
  assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
  assert_int_equal(mdb_env_open(env, directory, 0, 0600), 0);
  assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
  assert_int_equal(mdb_dbi_open(txn, "state.2", 0, &dbi), 0);
  assert_int_equal(mdb_put(txn, dbi, &key, &value, MDB_RESERVE), 0);
  assert_int_equal(mdb_del(txn, dbi, &key, NULL), 0);
  assert_int_equal(mdb_txn_commit(txn), 0);
  assert_int_equal(mdb_env_info(env, &info), 0);
  mdb_env_close(env);
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  assert_int_equal(stat(path, &st), 0);
  assert_true((size_t)st.st_size < (info.me_last_pgno + 1) * 4096);
  store = open_store(MAP_SIZE);
  expect(store, "f", "a", "1");
  put(store, "f", "b", "2");
  state_store_close(store);
}

/* Who writes to another space than its own does not bring back what was cleared there. */
static void test_clear_is_a_barrier_for_others(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  for (int large = 0; large < 2; large++) {
    struct state_txn *a = state_txn_begin(store, "group");
    struct state_large *l;
    set(a, "k", "1");
    state_txn_in(a, "answers");
    if (large)
      assert_true(state_large_create(a, "x", 1, &l, &err) && state_large_write(a, l, 0, "2", 1, &err));
    else
      set(a, "x", "2");
    state_txn_in(a, NULL);
    assert_true(state_clear(store, "answers", &err));
    assert_int_equal(commit(a), STATE_CONFLICT);
    expect_all(store, "answers", "");
    expect_all(store, "group", "");
  }
  struct state_txn *b = state_txn_begin(store, "group");
  assert_true(state_clear(store, "third", &err));
  set(b, "k", "1");
  assert_int_equal(commit(b), STATE_COMMITTED);
  state_store_close(store);
}

/* Of one moment, whatever others commit and however long it takes, and never a conflict. */
static void test_only_reads(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  struct state_large *large;
  struct state_page page;
  put(store, "f", "a", "1");
  put(store, "f", "b", "1");
  struct state_txn *r = state_txn_begin(store, "f");
  state_txn_only_reads(r);
  assert_string_equal(get(r, "a"), "1");
  put(store, "f", "a", "2");
  put(store, "f", "b", "2");
  usleep(250000);
  state_txn_refresh(r);
  assert_string_equal(get(r, "b"), "1");
  assert_string_equal(get(r, "a"), "1");
  assert_true(state_txn_scan(r, &(struct state_range){0}, &err));
  assert_int_equal(state_txn_scan_next_wait(r, 10, 1000, &page, &err), 1);
  assert_int_equal(page.n_pairs, 2);
  assert_true(page.is_last);
  assert_false(state_txn_set(r, "a", 1, "3", 1, &err));
  assert_int_equal(err.code, GW_ERROR_FORBIDDEN);
  err = (struct gw_error){0};
  assert_false(state_txn_delete(r, "a", 1, &err));
  err = (struct gw_error){0};
  assert_int_equal(state_large_open(r, "new", 3, true, &large, &err), -1);
  assert_int_equal(err.code, GW_ERROR_FORBIDDEN);
  err = (struct gw_error){0};
  assert_int_equal(state_large_open(r, "a", 1, true, &large, &err), 1);
  assert_int_equal(state_large_size(large), 1);
  assert_false(state_large_write(r, large, 0, "x", 1, &err));
  err = (struct gw_error){0};
  assert_false(state_large_resize(r, large, 0, &err));
  assert_int_equal(err.code, GW_ERROR_FORBIDDEN);
  state_txn_rewind(r);
  assert_string_equal(get(r, "a"), "1");
  assert_true(state_txn_is_read_only(r));
  assert_int_equal(commit(r), STATE_COMMITTED);
  expect_all(store, "f", "a=2 b=2 ");
  state_store_close(store);
}

/* As many reads as it likes: none is counted, and none takes memory. */
static void test_only_reads_keep_nothing(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  const void *value;
  size_t size;
  put(store, "f", "here", "1");
  struct state_txn *r = state_txn_begin(store, "f");
  state_txn_only_reads(r);
  assert_string_equal(get(r, "here"), "1");
  size_t before = r->arena.used;
  for (int i = 0; i < (IS_LMDB ? STATE_MAX_READS + 1000 : 1000); i++) {
    assert_int_equal(state_txn_get_wait(r, &i, sizeof i, &value, &size, &err), 0);
    if (i % 100) continue;
    struct state_page page;
    assert_true(state_txn_scan(r, &(struct state_range){0}, &err));
    assert_int_equal(state_txn_scan_next_wait(r, 10, 1000, &page, &err), 1);
    assert_int_equal(page.n_pairs, 1);
  }
  assert_in_range(r->arena.used - before, 0, 8192); /* one scan */
  assert_string_equal(get(r, "here"), "1");
  state_txn_abort(r);
  state_store_close(store);
}

/* --- garbage ------------------------------------------------------------------------------------------------------ */

enum { GARBAGE = 8 << 20, GARBAGE_CHUNKS = GARBAGE / STATE_CHUNK };

/* Those of the space's large values. */
static size_t count_chunks(struct state_store *store, const char *space) {
  struct gw_error err = {0};
  struct state_page page = {0};
  size_t n = 0;
  struct state_txn *txn = state_txn_begin(store, space);
  state_txn_only_reads(txn);
  state_chunk_space(txn->space, txn->own_space);
  assert_true(state_txn_scan(txn, &(struct state_range){.is_for_keys = true}, &err));
  while (!page.is_last) {
    assert_int_equal(state_txn_scan_next_wait(txn, UINT32_MAX, 1 << 20, &page, &err), 1);
    n += page.n_pairs;
  }
  state_txn_abort(txn);
  return n;
}

/* A large value in the place of what is there. */
static enum state_outcome put_large(struct state_store *store, uint64_t limit) {
  static uint8_t bytes[GARBAGE];
  struct state_txn *txn = state_txn_begin(store, "f");
  struct state_large *large;
  struct gw_error err = {0};
  memset(bytes, 1, sizeof bytes);
  if (limit) state_txn_limit(txn, limit);
  assert_true(state_large_create(txn, "k", 1, &large, &err) && state_large_write(txn, large, 0, bytes, sizeof bytes, &err));
  return commit(txn);
}

static void await_chunks(struct state_store *store, size_t n) {
  for (int i = 0; i < 20000 && count_chunks(store, "f") != n; i++) usleep(1000);
  assert_int_equal(count_chunks(store, "f"), n);
}

/* Chunks of a large value go later, some at a time, over a restart too. */
static void test_garbage_is_collected(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct gw_error err = {0};
  for (int restarts = 0; restarts < 2; restarts++) {
    assert_int_equal(put_large(store, 0), STATE_COMMITTED);
    await_chunks(store, GARBAGE_CHUNKS);
    assert_true(state_remove(store, "f", "k", 1, &err));
    expect_all(store, "f", "");
    if (restarts) {
      state_store_close(store);
      store = open_store(MAP_SIZE);
    }
    await_chunks(store, 0);
  }
  assert_int_equal(put_large(store, 0), STATE_COMMITTED);
  assert_int_equal(put_large(store, 0), STATE_COMMITTED); /* over it */
  await_chunks(store, GARBAGE_CHUNKS);
  assert_true(state_clear(store, "f", &err));
  await_chunks(store, 0);
  /* and then it takes nothing of its space */
  assert_int_equal(commit_one(store, PAIR + 1, "k", "1"), STATE_FAILED);
  assert_int_equal(commit_one(store, PAIR + 2, "k", "1"), STATE_COMMITTED);
  state_store_close(store);
}

static atomic_int syncs_left = INT_MAX; /* before they fail */
static atomic_int n_failed;

/* Of LMDB, too, which finds it if it is to be seen. */
__attribute__((visibility("default"))) int fdatasync(int fd) {
  if (atomic_load(&syncs_left) == INT_MAX || atomic_fetch_sub(&syncs_left, 1) > 0) return (int)syscall(SYS_fdatasync, fd);
  atomic_fetch_add(&n_failed, 1);
  errno = EIO;
  return -1;
}

/* Nobody writes any more, and the disk has failed, for a while, when what was deleted should have gone. */
static void test_garbage_goes_after_an_error(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct state_store *store = state_store_open(directory, MAP_SIZE, true, &err);
  assert_non_null(store);
  assert_int_equal(put_large(store, 0), STATE_COMMITTED);
  atomic_store(&syncs_left, 1);
  assert_true(state_remove(store, "f", "k", 1, &err));
  for (int i = 0; i < 5000 && atomic_load(&n_failed) < 2; i++) usleep(1000);
  assert_true(atomic_load(&n_failed) >= 2);
  atomic_store(&syncs_left, INT_MAX);
  await_chunks(store, 0);
  state_store_close(store);
}

/* Who has room when what was deleted is gone has it at once. */
static void test_garbage_takes_no_room(void **state) {
  (void)state;
  enum { LIMIT = GARBAGE + (1 << 20) };
  struct state_store *store = open_store(2 * MAP_SIZE);
  struct gw_error err = {0};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(put_large(store, LIMIT), STATE_COMMITTED);
    assert_true(state_remove(store, "f", "k", 1, &err));
  }
  for (int i = 0; i < 3; i++) assert_int_equal(put_large(store, LIMIT), STATE_COMMITTED);
  assert_int_equal(put_large(store, GARBAGE / 2), STATE_COMMITTED); /* it does not grow */
  await_chunks(store, GARBAGE_CHUNKS);
  state_store_close(store);
}

static void not_here(void **state) {
  (void)state;
  skip();
}

int main(void) {
#define LMDB(name) \
  { "test_" #name, IS_LMDB ? test_##name : not_here, make_directory, remove_directory, NULL }
#define DURABLE(name) \
  { "test_" #name, IS_LATE ? not_here : test_##name, make_directory, remove_directory, NULL }
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, make_directory, remove_directory)
  const struct CMUnitTest tests[] = {
      DURABLE(kill_loses_nothing_acknowledged), /* first: it forks, and no other test's thread may be there */
      TEST(reads_its_own_writes),
      TEST(abort_leaves_nothing),
      TEST(limits),
      TEST(many_keys),
      TEST(one_of_two_conflicts),
      TEST(what_conflicts),
      TEST(what_does_not_conflict),
      TEST(write_skew),
      TEST(no_update_is_lost),
      TEST(reopening),
      LMDB(directory_errors),
      LMDB(full_store_fails_one),
      DURABLE(space_has_a_limit),
      TEST(rent_is_size_times_seconds),
      DURABLE(rent_is_kept_with_commits),
      TEST(each_in_order),
      TEST(scans_a_range),
      TEST(close_finishes_commits),
      TEST(old_snapshot_is_given_up),
      TEST(long_reader_holds_nothing_back),
      TEST(clear_is_a_barrier),
      TEST(clear_is_a_barrier_for_others),
      TEST(only_reads),
      TEST(only_reads_keep_nothing),
      LMDB(flipped_byte_is_found),
      LMDB(layout_1_is_converted),
      LMDB(truncated_file_is_found),
      LMDB(free_pages_at_the_end),
      LMDB(garbage_is_collected),
      LMDB(garbage_goes_after_an_error),
      LMDB(garbage_takes_no_room),
  };
  return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
