/* gasworks_state.h: transactions from the host, and functions each of whose invocations is one. */
#include "gasworks_state.h"

#include "tests/wat.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct gw_engine *engine;
static struct gw_state *state;
static char directory[64];

static void no_error(const struct gw_error *err) {
  if (err->code) print_error("%s\n", err->message);
  assert_int_equal(err->code, 0);
}

static int open_state(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  snprintf(directory, sizeof directory, "/tmp/gasworks-embed-XXXXXX");
  if (!mkdtemp(directory)) return -1;
  state = gw_state_open(directory, &(struct gw_state_options){.max_bytes = 1 << 30, .survives_kill = true}, &err);
  engine = gw_engine_create(&(struct gw_engine_options){.gas = true}, &err);
  no_error(&err);
  return 0;
}

static int close_state(void **unused) {
  (void)unused;
  char command[128];
  gw_state_close(state);
  gw_engine_destroy(engine);
  snprintf(command, sizeof command, "rm -r %s", directory);
  return system(command);
}

/* --- transactions ------------------------------------------------------------------------------------------------- */

static struct gw_txn *begin(const char *space) {
  struct gw_error err = {0};
  struct gw_txn *txn = gw_txn_begin(state, space, &err);
  no_error(&err);
  return txn;
}

static void set(struct gw_txn *txn, const char *key, const char *value) {
  struct gw_error err = {0};
  assert_true(gw_txn_set(txn, key, strlen(key), value, strlen(value), &err));
}

static enum gw_outcome commit(struct gw_txn *txn) {
  struct gw_error err = {0};
  enum gw_outcome outcome = gw_txn_commit(txn, &err);
  no_error(&err);
  return outcome;
}

/* NULL: there is none. */
static void expect(struct gw_txn *txn, const char *key, const char *value) {
  struct gw_error err = {0};
  const void *bytes;
  size_t size;
  int found = gw_txn_get(txn, key, strlen(key), &bytes, &size, &err);
  no_error(&err);
  assert_int_equal(found, value != NULL);
  if (!value) return;
  assert_int_equal(size, strlen(value));
  assert_memory_equal(bytes, value, size);
}

static void test_transaction(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_txn *txn = begin("a");
  expect(txn, "k", NULL);
  set(txn, "k", "one");
  expect(txn, "k", "one");
  assert_int_equal(commit(txn), GW_COMMITTED);
  txn = begin("b");
  expect(txn, "k", NULL);
  gw_txn_abort(txn);
  txn = begin("a");
  assert_true(gw_txn_delete(txn, "k", 1, &err));
  gw_txn_abort(txn);
  txn = begin("a");
  expect(txn, "k", "one");
  gw_txn_abort(txn);
  gw_txn_abort(NULL);
  assert_true(gw_state_clear(state, "a", &err));
  txn = begin("a");
  expect(txn, "k", NULL);
  gw_txn_abort(txn);
}

static void test_conflict(void **unused) {
  (void)unused;
  struct gw_txn *first = begin("c"), *second = begin("c");
  expect(first, "k", NULL);
  expect(second, "k", NULL);
  set(first, "k", "1");
  set(second, "k", "2");
  assert_int_equal(commit(first), GW_COMMITTED);
  assert_int_equal(commit(second), GW_CONFLICT);
  first = begin("c");
  expect(first, "k", "1");
  gw_txn_abort(first);
}

/* On one thread, where each conflicts with the other again and again: none waits for the other. */
static void test_two_open(void **unused) {
  (void)unused;
  for (int i = 0; i < 10; i++) {
    struct gw_txn *txns[] = {begin("open"), begin("open")};
    for (int j = 0; j < 2; j++) {
      expect(txns[j], "k", i ? "1" : NULL);
      set(txns[j], "k", "1");
    }
    assert_int_equal(commit(txns[0]), GW_COMMITTED);
    assert_int_equal(commit(txns[1]), GW_CONFLICT);
  }
}

static void test_add(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  const void *bytes;
  size_t size;
  uint64_t n = 0;
  struct gw_txn *first = begin("add"), *second = begin("add");
  assert_true(gw_txn_add(first, "n", 1, 5, &err) && gw_txn_add(second, "n", 1, -2, &err));
  assert_int_equal(commit(first), GW_COMMITTED);
  assert_int_equal(commit(second), GW_COMMITTED);
  first = begin("add");
  assert_int_equal(gw_txn_get(first, "n", 1, &bytes, &size, &err), 1);
  assert_int_equal(size, sizeof n);
  memcpy(&n, bytes, sizeof n);
  assert_int_equal(n, 3);
  set(first, "n", "three");
  assert_false(gw_txn_add(first, "n", 1, 1, &err));
  assert_int_not_equal(err.code, 0);
  gw_txn_abort(first);
}

static void test_parts(void **unused) {
  (void)unused;
  enum { END = 3 << 20 };
  struct gw_error err = {0};
  const void *bytes;
  size_t size = 4;
  char out[8];
  struct gw_txn *txn = begin("parts");
  assert_true(gw_txn_read(txn, "v", 1, 0, out, &size, &err));
  assert_int_equal(size, 0); /* nothing is there */
  assert_true(gw_txn_write(txn, "v", 1, END, "tail", 4, &err));
  assert_int_equal(commit(txn), GW_COMMITTED);
  txn = begin("parts");
  size = sizeof out;
  assert_true(gw_txn_read(txn, "v", 1, END - 2, out, &size, &err));
  assert_int_equal(size, 6);
  assert_memory_equal(out, "\0\0tail", 6);
  size = sizeof out;
  assert_true(gw_txn_read(txn, "v", 1, UINT64_MAX, out, &size, &err));
  assert_int_equal(size, 0);
  assert_int_equal(gw_txn_get(txn, "v", 1, &bytes, &size, &err), 1);
  assert_int_equal(size, END + 4);
  assert_memory_equal((const char *)bytes + END, "tail", 4);
  assert_false(gw_txn_write(txn, "v", 1, GW_STATE_MAX_LARGE, "x", 1, &err));
  assert_int_not_equal(err.code, 0);
  gw_txn_abort(txn);
}

struct found {
  char keys[256];
  int n, most;
};

static bool on_pair(void *env, const void *key, size_t key_size, const void *value, size_t size) {
  struct found *found = env;
  snprintf(found->keys + strlen(found->keys), sizeof found->keys - strlen(found->keys), "%.*s=%.*s ", (int)key_size,
           (const char *)key, value ? (int)size : 5, value ? (const char *)value : "parts");
  return ++found->n < found->most;
}

static void expect_scan(const char *first, const char *end, bool is_backward, int most, const char *wanted) {
  struct gw_error err = {0};
  struct found found = {.most = most};
  struct gw_range range = {first, end, strlen(first), strlen(end), is_backward, {0}};
  struct gw_txn *txn = begin("scan");
  assert_true(gw_txn_scan(txn, &range, on_pair, &found, &err));
  no_error(&err);
  assert_string_equal(found.keys, wanted);
  gw_txn_abort(txn);
}

static void test_scan(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct found found = {.most = INT32_MAX};
  struct gw_txn *txn = begin("scan");
  set(txn, "a", "1");
  set(txn, "b", "2");
  set(txn, "c", "3");
  assert_true(gw_txn_write(txn, "d", 1, 0, "4", 1, &err));
  assert_int_equal(commit(txn), GW_COMMITTED);
  expect_scan("", "", false, 9, "a=1 b=2 c=3 d=parts ");
  expect_scan("b", "d", false, 9, "b=2 c=3 ");
  expect_scan("", "c", true, 9, "b=2 a=1 ");
  expect_scan("", "", false, 1, "a=1 ");
  txn = begin("scan"); /* a phantom conflicts */
  assert_true(gw_txn_scan(txn, NULL, on_pair, &found, &err));
  struct gw_txn *other = begin("scan");
  set(other, "bb", "new");
  assert_int_equal(commit(other), GW_COMMITTED);
  set(txn, "z", "sum");
  assert_int_equal(commit(txn), GW_CONFLICT);
  other = begin("many"); /* more than a page */
  for (int i = 0; i < 10000; i++) {
    char key[16];
    snprintf(key, sizeof key, "%08d", i);
    assert_true(gw_txn_set(other, key, 8, key, 8, &err));
  }
  assert_int_equal(commit(other), GW_COMMITTED);
  other = begin("many");
  found = (struct found){.most = INT32_MAX};
  assert_true(gw_txn_scan(other, NULL, on_pair, &found, &err));
  assert_int_equal(found.n, 10000);
  gw_txn_abort(other);
}

static bool count_up(void *env, struct gw_txn *txn, struct gw_error *err) {
  const void *bytes;
  size_t size;
  uint64_t n = 0;
  int found = gw_txn_get(txn, "n", 1, &bytes, &size, err);
  if (found < 0) return false;
  if (found) memcpy(&n, bytes, sizeof n);
  n += *(uint64_t *)env;
  return gw_txn_set(txn, "n", 1, &n, sizeof n, err);
}

enum { N_THREADS = 8, N_CALLS = 50 };

static void *count_often(void *unused) {
  (void)unused;
  struct gw_error err = {0};
  for (int i = 0; i < N_CALLS; i++)
    if (!gw_state_transact(state, "transact", count_up, &(uint64_t){3}, &err)) break;
  if (err.code) fprintf(stderr, "%s\n", err.message);
  return (void *)(uintptr_t)err.code;
}

static void run_threads(void *(*fn)(void *)) {
  pthread_t threads[N_THREADS];
  void *codes[N_THREADS];
  for (int i = 0; i < N_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, fn, NULL), 0);
  for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], &codes[i]);
  for (int i = 0; i < N_THREADS; i++) assert_null(codes[i]);
}

static uint64_t number(const char *space) {
  struct gw_error err = {0};
  const void *bytes;
  size_t size;
  uint64_t n = 0;
  struct gw_txn *txn = begin(space);
  assert_int_equal(gw_txn_get(txn, "n", 1, &bytes, &size, &err), 1);
  memcpy(&n, bytes, sizeof n);
  gw_txn_abort(txn);
  return n;
}

static void test_transact(void **unused) {
  (void)unused;
  run_threads(count_often);
  assert_int_equal(number("transact"), 3 * N_THREADS * N_CALLS);
}

/* Takes from one key and gives to another, either way round: whoever waits for the second has read the first. */
static bool transfer(void *env, struct gw_txn *txn, struct gw_error *err) {
  static const char *const keys[] = {"n", "m"};
  bool is_turned = *(int *)env;
  for (int i = 0; i < 2; i++) {
    const char *key = keys[i ^ is_turned];
    const void *bytes;
    size_t size;
    int64_t n = 0;
    int found = gw_txn_get(txn, key, 1, &bytes, &size, err);
    if (found < 0) return false;
    if (found) memcpy(&n, bytes, sizeof n);
    n += i ? 1 : -1;
    if (!gw_txn_set(txn, key, 1, &n, sizeof n, err)) return false;
  }
  return true;
}

static void *transfer_often(void *unused) {
  (void)unused;
  struct gw_error err = {0};
  for (int i = 0; i < N_CALLS; i++)
    if (!gw_state_transact(state, "transfer", transfer, &(int){i & 1}, &err)) break;
  if (err.code) fprintf(stderr, "%s\n", err.message);
  return (void *)(uintptr_t)err.code;
}

static void test_transfers(void **unused) {
  (void)unused;
  run_threads(transfer_often);
  assert_int_equal(number("transfer"), 0);
}

static void test_refusals(void **unused) {
  (void)unused;
  char name[GW_STATE_MAX_SPACE + 2];
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = 0;
  const char *const names[] = {NULL, "", name};
  for (size_t i = 0; i < 3; i++) {
    struct gw_error err = {0};
    assert_null(gw_txn_begin(state, names[i], &err));
    assert_int_equal(err.code, GW_ERROR_USAGE);
  }
  struct gw_error err = {0};
  struct gw_txn *txn = begin(name + 1); /* as long as may be */
  assert_false(gw_txn_set(txn, name, GW_STATE_MAX_KEY + 1, "", 0, &err));
  assert_int_not_equal(err.code, 0);
  gw_txn_abort(txn);
  err = (struct gw_error){0};
  assert_null(gw_state_open("/proc/nothing", NULL, &err));
  assert_int_not_equal(err.code, 0);
}

static void test_backup(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  char copy[96], path[112];
  struct gw_txn *txn = begin("backup");
  set(txn, "k", "kept");
  assert_int_equal(commit(txn), GW_COMMITTED);
  snprintf(copy, sizeof copy, "%s/copy", directory);
  snprintf(path, sizeof path, "%s/data.mdb", copy);
  char command[256];
  snprintf(command, sizeof command, "mkdir -m 700 %s && : >%s", copy, path);
  assert_int_equal(system(command), 0);
  FILE *file = fopen(path, "w");
  assert_true(gw_state_backup(state, fileno(file), &err));
  fclose(file);
  struct gw_state *here = state;
  state = gw_state_open(copy, NULL, &err);
  no_error(&err);
  txn = begin("backup");
  expect(txn, "k", "kept");
  gw_txn_abort(txn);
  gw_state_close(state);
  state = here;
}

/* --- invocations -------------------------------------------------------------------------------------------------- */

/* Counts in its state, and says in which memory it does: each run's is new. A path "/trap" traps behind the write. */
static const char counter[] = "(module\
  (import \"gasworks\" \"request_path\" (func $path (param i32 i32) (result i32)))\
  (import \"gasworks\" \"request_header\" (func $header (param i32 i32 i32 i32) (result i32)))\
  (import \"gasworks\" \"state_get\" (func $get (param i32 i32 i32 i32) (result i32)))\
  (import \"gasworks\" \"state_set\" (func $set (param i32 i32 i32 i32)))\
  (import \"gasworks\" \"reply\" (func $reply (param i32 i32)))\
  (import \"gasworks\" \"reply_status\" (func $status (param i32)))\
  (import \"host\" \"look\" (func $look))\
  (memory (export \"memory\") 1) (data (i32.const 0) \"n\") (data (i32.const 1) \"x-mark\")\
  (func (export \"_initialize\") (i32.store8 (i32.const 32) (i32.add (i32.load8_u (i32.const 32)) (i32.const 65))))\
  (func (export \"handle\")\
    (drop (call $path (i32.const 64) (i32.const 64)))\
    (if (i32.eq (i32.load8_u (i32.const 65)) (i32.const 114)) (then (return)))\
    (drop (call $get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8)))\
    (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))\
    (call $set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8))\
    (call $look)\
    (if (i32.eq (i32.load8_u (i32.const 65)) (i32.const 116)) (then (unreachable)))\
    (drop (call $header (i32.const 1) (i32.const 6) (i32.const 33) (i32.const 4)))\
    (call $status (i32.const 201))\
    (call $reply (i32.const 32) (i32.const 5))))";

struct guest {
  struct gw_exchange *exchange;
  struct gw_store *store;
  struct gw_module *module;
  struct gw_instance *instance;
  uint64_t seen; /* by the host's own function, within the transaction */
};

static enum gw_trap look(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)values;
  struct guest *guest = env;
  struct gw_error err = {0};
  const void *bytes;
  size_t size;
  struct gw_txn *txn = gw_exchange_txn(guest->exchange);
  if (txn && gw_txn_get(txn, "n", 1, &bytes, &size, &err) == 1) memcpy(&guest->seen, bytes, sizeof guest->seen);
  if (!err.code) return GW_TRAP_NONE;
  gw_instance_fail(caller, "%s", err.message);
  return GW_TRAP_HOST;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func row = {"host", "look", "_", look};
  struct guest *guest = env;
  if (gw_exchange_resolve(guest->exchange, import, out)) return true;
  if (import->module_size != 4 || memcmp(import->module, "host", 4) != 0) return false;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = &row, .env = env}};
  return true;
}

static void guest_open(struct guest *guest, enum gw_tier tier, uint64_t slice) {
  struct gw_error err = {0};
  guest->seen = 0;
  guest->module = wat_module(engine, counter);
  guest->exchange = gw_exchange_create(&err);
  guest->store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 100000000, .tier = tier, .slice = slice}, &err);
  guest->instance = gw_instance_create(guest->store, guest->module, resolve, guest, &err);
  no_error(&err);
}

static void guest_close(struct guest *guest) {
  gw_store_destroy(guest->store);
  gw_exchange_destroy(guest->exchange);
  gw_module_release(guest->module);
}

static void test_exchange(void **unused) {
  (void)unused;
  static const struct gw_header headers[] = {{"X-Mark", "here"}};
  const struct gw_request request = {.path = "/count", .headers = headers, .n_headers = 1};
  uint64_t gas[3];
  for (enum gw_tier tier = GW_TIER_FAST; tier <= GW_TIER_BASELINE; tier++) {
    struct gw_error err = {0};
    struct gw_reply reply;
    struct guest guest;
    guest_open(&guest, tier, 0);
    assert_true(gw_state_clear(state, "tier", &err));
    for (uint64_t i = 1; i < 4; i++) {
      bool ok = gw_exchange_run(guest.exchange, guest.instance, state, "tier", &request, &reply, &err);
      no_error(&err);
      assert_true(ok);
      assert_int_equal(reply.status, 201);
      assert_int_equal(reply.n_attempts, 1);
      assert_int_equal(reply.body_size, 5);
      assert_memory_equal(reply.body, "Ahere", 5); /* initialised once in each run */
      assert_int_equal(number("tier"), i);
      assert_int_equal(guest.seen, i);
    }
    gas[tier] = gw_store_gas_used(guest.store);
    assert_true(gas[tier] > gw_instance_gas(guest.instance));
    guest_close(&guest);
  }
  assert_int_equal(gas[GW_TIER_FAST], gas[GW_TIER_PRECISE]);
  assert_int_equal(gas[GW_TIER_FAST], gas[GW_TIER_BASELINE]);
}

static void test_failures(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_reply reply;
  struct guest guest;
  guest_open(&guest, GW_TIER_PRECISE, 0);
  assert_true(gw_exchange_run(guest.exchange, guest.instance, state, "fail", &(struct gw_request){0}, &reply, &err));
  assert_false(
      gw_exchange_run(guest.exchange, guest.instance, state, "fail", &(struct gw_request){.path = "/trap"}, &reply, &err));
  assert_int_equal(err.trap, GW_TRAP_UNREACHABLE);
  assert_int_equal(number("fail"), 1); /* as before */
  err = (struct gw_error){0};
  assert_false(gw_exchange_run(guest.exchange, guest.instance, NULL, NULL, &(struct gw_request){0}, &reply, &err));
  assert_int_equal(err.trap, GW_TRAP_HOST); /* there is no state */
  err = (struct gw_error){0};
  struct gw_request reads = {.only_reads = true};
  assert_false(gw_exchange_run(guest.exchange, guest.instance, state, "fail", &reads, &reply, &err));
  assert_int_equal(err.trap, GW_TRAP_HOST); /* it wrote */
  err = (struct gw_error){0};
  reads.path = "/read";
  assert_true(gw_exchange_run(guest.exchange, guest.instance, state, "fail", &reads, &reply, &err));
  assert_int_equal(reply.status, 200);
  err = (struct gw_error){0};
  assert_false(gw_exchange_run(guest.exchange, guest.instance, state, "", &(struct gw_request){0}, &reply, &err));
  assert_int_equal(err.code, GW_ERROR_USAGE);
  assert_null(gw_exchange_txn(guest.exchange));
  guest_close(&guest);
}

static void *count_by_guest(void *unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_reply reply;
  struct guest guest;
  guest_open(&guest, GW_TIER_PRECISE, 0);
  for (int i = 0; i < N_CALLS && !err.code; i++)
    gw_exchange_run(guest.exchange, guest.instance, state, "hot", &(struct gw_request){0}, &reply, &err);
  if (err.code) fprintf(stderr, "%s\n", err.message);
  guest_close(&guest);
  return (void *)(uintptr_t)err.code;
}

static void test_hot_counter(void **unused) {
  (void)unused;
  run_threads(count_by_guest);
  assert_int_equal(number("hot"), N_THREADS * N_CALLS);
}

static void on_wake(void *arg) { atomic_fetch_add((atomic_int *)arg, 1); }

/* Two on one thread in turns, of which one must lose at first. */
static void test_steps(void **unused) {
  (void)unused;
  enum { N = 2 };
  struct guest guests[N];
  struct gw_reply replies[N];
  enum gw_status status[N];
  atomic_int woken = 0;
  struct gw_error err = {0};
  for (int i = 0; i < N; i++) {
    guest_open(&guests[i], GW_TIER_PRECISE, 1000);
    gw_exchange_set_wake(guests[i].exchange, on_wake, &woken);
    assert_true(gw_exchange_start(guests[i].exchange, guests[i].instance, state, "steps", NULL, &err));
    assert_false(gw_exchange_start(guests[i].exchange, guests[i].instance, state, "steps", NULL, &err));
    assert_int_equal(err.code, GW_ERROR_USAGE); /* one is under way */
    err = (struct gw_error){0};
    status[i] = GW_STATUS_YIELDED;
  }
  for (int left = N; left;)
    for (int i = 0; i < N; i++) {
      if (status[i] == GW_STATUS_DONE) continue;
      status[i] = gw_exchange_resume(guests[i].exchange, &replies[i], &err);
      no_error(&err);
      left -= status[i] == GW_STATUS_DONE;
    }
  assert_int_equal(number("steps"), N);
  assert_true(replies[0].n_attempts + replies[1].n_attempts > N);
  assert_true(atomic_load(&woken) >= N);
  assert_int_equal(gw_exchange_resume(guests[0].exchange, &replies[0], &err), GW_STATUS_FAILED);
  assert_int_equal(err.code, GW_ERROR_USAGE); /* nothing is under way */
  for (int i = 0; i < N; i++) guest_close(&guests[i]);
}

/* At every step that there is: what was cancelled is written as a whole or not at all. */
static void test_cancel(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_reply reply;
  struct guest guest;
  uint64_t n = 1;
  enum gw_status status = GW_STATUS_YIELDED;
  guest_open(&guest, GW_TIER_PRECISE, 1);
  gw_exchange_cancel(guest.exchange);
  assert_true(gw_exchange_run(guest.exchange, guest.instance, state, "cancel", NULL, &reply, &err));
  for (int steps = 0; status != GW_STATUS_DONE; steps++) {
    assert_true(gw_exchange_start(guest.exchange, guest.instance, state, "cancel", NULL, &err));
    for (int i = 0; i < steps && status != GW_STATUS_DONE; i++) status = gw_exchange_resume(guest.exchange, &reply, &err);
    no_error(&err);
    gw_exchange_cancel(guest.exchange);
    uint64_t now = number("cancel");
    assert_true(now == n || (now == n + 1 && (status == GW_STATUS_PARKED || status == GW_STATUS_DONE)));
    n = now;
  }
  assert_true(gw_exchange_run(guest.exchange, guest.instance, state, "cancel", NULL, &reply, &err));
  guest_close(&guest);
}

/* An end of the exchange while its commit is under way. */
static void test_destroy(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_reply reply;
  for (uint64_t i = 1; i < 20; i++) {
    struct guest guest;
    enum gw_status status;
    guest_open(&guest, GW_TIER_PRECISE, 0);
    assert_true(gw_exchange_start(guest.exchange, guest.instance, state, "destroy", NULL, &err));
    while ((status = gw_exchange_resume(guest.exchange, &reply, &err)) == GW_STATUS_YIELDED) continue;
    no_error(&err);
    assert_true(status == GW_STATUS_PARKED || status == GW_STATUS_DONE);
    guest_close(&guest);
    assert_int_equal(number("destroy"), i);
  }
}

/* Who is told is who was, when the invocation started. */
static void test_wakes(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_reply reply;
  struct guest guest;
  atomic_int first = 0, second = 0;
  guest_open(&guest, GW_TIER_PRECISE, 0);
  gw_exchange_set_wake(guest.exchange, on_wake, &first);
  for (int i = 0; i < 50; i++) {
    enum gw_status status;
    assert_true(gw_exchange_start(guest.exchange, guest.instance, state, "wakes", NULL, &err));
    do {
      status = gw_exchange_resume(guest.exchange, &reply, &err);
      gw_exchange_set_wake(guest.exchange, on_wake, &second);
    } while (status == GW_STATUS_YIELDED);
    no_error(&err);
    gw_exchange_wait(guest.exchange);
    while (status != GW_STATUS_DONE) status = gw_exchange_resume(guest.exchange, &reply, &err);
    assert_int_equal(atomic_load(&second), 0);
    gw_exchange_set_wake(guest.exchange, on_wake, &first);
  }
  assert_true(atomic_load(&first) >= 50);
  guest_close(&guest);
}

/* Its start function counts to 1,000, looks at the request and adds to a key; handle adds to what it left. */
static const char starter[] = "(module\
  (import \"gasworks\" \"request_body_size\" (func $size (result i32)))\
  (import \"gasworks\" \"request_body\" (func $body (param i32 i32 i32) (result i32)))\
  (import \"gasworks\" \"state_get\" (func $get (param i32 i32 i32 i32) (result i32)))\
  (import \"gasworks\" \"state_set\" (func $set (param i32 i32 i32 i32)))\
  (import \"gasworks\" \"reply\" (func $reply (param i32 i32)))\
  (memory (export \"memory\") 1) (data (i32.const 0) \"n\")\
  (func $start (local i32)\
    (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 1000))))\
    (if (i32.eqz (call $size)) (then (return)))\
    (drop (call $body (i32.const 0) (i32.const 64) (i32.const 64)))\
    (drop (call $get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8)))\
    (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))\
    (call $set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8)))\
  (start $start)\
  (func (export \"handle\") (call $reply (i32.const 64) (call $size))))";

static void open_starter(struct guest *guest, const struct gw_store_options *options) {
  struct gw_error err = {0};
  guest->module = wat_module(engine, starter);
  guest->exchange = gw_exchange_create(&err);
  guest->store = gw_store_create(engine, options, &err);
  guest->instance = gw_instance_create(guest->store, guest->module, gw_exchange_resolve, guest->exchange, &err);
  no_error(&err);
}

/* A start function is a step of the invocation, whether the store defers it or not; it is paid for and runs once in each. */
static void test_start(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_reply reply;
  for (int defers = 0; defers < 2; defers++) {
    struct guest guest;
    open_starter(&guest, &(struct gw_store_options){
                             .gas_limit = 1000000, .tier = GW_TIER_PRECISE, .slice = 100, .defers_start = defers != 0});
    assert_true(gw_state_clear(state, "start", &err));
    for (uint64_t i = 1; i < 4; i++) {
      char *body = strdup("asked"); /* gone behind the run */
      struct gw_request request = {.body = body, .body_size = 5};
      bool ok = gw_exchange_run(guest.exchange, guest.instance, state, "start", &request, &reply, &err);
      no_error(&err);
      assert_true(ok);
      free(body);
      assert_int_equal(reply.body_size, 5);
      assert_memory_equal(reply.body, "asked", 5);
      assert_int_equal(number("start"), i);
      assert_true(gw_store_gas_used(guest.store) > 3000);
    }
    /* of another instance: there is no request */
    struct gw_instance *other = gw_instance_create(guest.store, guest.module, gw_exchange_resolve, guest.exchange, &err);
    no_error(&err);
    assert_non_null(other);
    assert_int_equal(number("start"), 3);
    guest_close(&guest);
  }
}

static void *count_by_starter(void *unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_reply reply;
  struct guest guest;
  open_starter(&guest, &(struct gw_store_options){.gas_limit = 1000000, .tier = GW_TIER_PRECISE});
  for (int i = 0; i < N_CALLS && !err.code; i++)
    gw_exchange_run(guest.exchange, guest.instance, state, "starts", &(struct gw_request){.body = "x", .body_size = 1}, &reply,
                    &err);
  if (err.code) fprintf(stderr, "%s\n", err.message);
  guest_close(&guest);
  return (void *)(uintptr_t)err.code;
}

/* What it met in a start function is a conflict as any. */
static void test_starts(void **unused) {
  (void)unused;
  run_threads(count_by_starter);
  assert_int_equal(number("starts"), N_THREADS * N_CALLS);
}

/* Two exchanges on one instance: the second is refused while the first runs, and takes nothing from it. */
static void test_two_exchanges(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct gw_reply reply;
  struct guest guest;
  atomic_int woken = 0, other_woken = 0;
  guest_open(&guest, GW_TIER_PRECISE, 1);
  struct gw_exchange *other = gw_exchange_create(&err);
  gw_exchange_set_wake(guest.exchange, on_wake, &woken);
  gw_exchange_set_wake(other, on_wake, &other_woken);
  assert_true(gw_exchange_start(guest.exchange, guest.instance, state, "two", NULL, &err));
  assert_int_equal(gw_exchange_resume(guest.exchange, &reply, &err), GW_STATUS_YIELDED);
  assert_true(gw_exchange_start(other, guest.instance, state, "two", NULL, &err));
  assert_int_equal(gw_exchange_resume(other, &reply, &err), GW_STATUS_FAILED);
  assert_int_equal(err.code, GW_ERROR_USAGE);
  err = (struct gw_error){0};
  enum gw_status status;
  do {
    gw_exchange_wait(guest.exchange);
    status = gw_exchange_resume(guest.exchange, &reply, &err);
  } while (status == GW_STATUS_YIELDED || status == GW_STATUS_PARKED);
  no_error(&err);
  assert_int_equal(status, GW_STATUS_DONE);
  assert_int_equal(atomic_load(&other_woken), 0);
  gw_exchange_destroy(other);
  guest_close(&guest);
}

/* --- files of a WASI program -------------------------------------------------------------------------------------- */

static const char writer[] = "(module\
  (import \"wasi_snapshot_preview1\" \"path_open\"\
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))\
  (import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))\
  (memory (export \"memory\") 1) (data (i32.const 0) \"note\") (data (i32.const 16) \"text\")\
  (data (i32.const 32) \"\\10\\00\\00\\00\\04\\00\\00\\00\")\
  (func (export \"_start\")\
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1) (i64.const 64) (i64.const 0)\
          (i32.const 0) (i32.const 48)) (then (unreachable)))\
    (if (call $write (i32.load (i32.const 48)) (i32.const 32) (i32.const 1) (i32.const 56)) (then (unreachable)))))";

static void test_files(void **unused) {
  (void)unused;
  struct gw_error err = {0};
  struct found found = {.most = INT32_MAX};
  struct gw_wasi *wasi = gw_wasi_create(&(struct gw_wasi_options){.has_state = true}, &err);
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.tier = GW_TIER_PRECISE}, &err);
  struct gw_module *module = wat_module(engine, writer);
  struct gw_txn *txn = begin("files");
  gw_wasi_use_state(wasi, txn);
  struct gw_instance *instance = gw_instance_create(store, module, gw_wasi_resolve, wasi, &err);
  bool ok = gw_call_export(instance, "_start", NULL, 0, &err);
  no_error(&err);
  assert_true(ok);
  gw_wasi_use_state(wasi, NULL);
  assert_int_equal(commit(txn), GW_COMMITTED);
  txn = begin("files");
  assert_true(gw_txn_scan(txn, NULL, on_pair, &found, &err));
  assert_string_equal(found.keys, "note=parts ");
  char out[8];
  size_t size = sizeof out;
  assert_true(gw_txn_read(txn, "note", 4, 0, out, &size, &err));
  assert_int_equal(size, 4);
  assert_memory_equal(out, "text", 4);
  gw_txn_abort(txn);
  gw_store_destroy(store);
  gw_wasi_destroy(wasi);
  gw_module_release(module);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_transaction), cmocka_unit_test(test_conflict),  cmocka_unit_test(test_two_open),
      cmocka_unit_test(test_add),         cmocka_unit_test(test_parts),     cmocka_unit_test(test_scan),
      cmocka_unit_test(test_transact),    cmocka_unit_test(test_transfers), cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_backup),      cmocka_unit_test(test_exchange),  cmocka_unit_test(test_failures),
      cmocka_unit_test(test_hot_counter), cmocka_unit_test(test_files),     cmocka_unit_test(test_steps),
      cmocka_unit_test(test_cancel),      cmocka_unit_test(test_destroy),   cmocka_unit_test(test_wakes),
      cmocka_unit_test(test_start),       cmocka_unit_test(test_starts),    cmocka_unit_test(test_two_exchanges),
  };
  return cmocka_run_group_tests(tests, open_state, close_state);
}
