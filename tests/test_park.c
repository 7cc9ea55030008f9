/* Invocations that wait for an answer: a store that answers late (late_store.h) under transactions, under one Wasm store, and
 * under a whole server. */
#include "base/files.h"
#include "runtime/debug/profile.h"
#include "runtime/debug/record.h"
#include "runtime/host/handler.h"
#include "tests/http_client.h"
#include "tests/late_store.h"
#include "tests/wat.h"

static struct late_data disk;
static struct late_store *late;
static struct state_store *states;

static int open_states(void **state) {
  (void)state;
  struct gw_error err = {0};
  late = late_store_open(&disk);
  states = state_store_create(&late->store, &err);
  return states ? 0 : -1;
}

static int close_states(void **state) {
  (void)state;
  state_store_close(states);
  late_data_clear(&disk);
  return 0;
}

static void put_number(const char *space, uint64_t n) {
  struct gw_error err = {0};
  if (!state_put(states, space, "n", 1, &n, sizeof n, &err)) fail_msg("%s", err.message);
}

static uint64_t get_number(const char *space) {
  struct gw_error err = {0};
  struct state_txn *txn = state_txn_begin(states, space);
  const void *value;
  size_t size;
  uint64_t n = 0;
  if (state_txn_get_wait(txn, "n", 1, &value, &size, &err) == 1) memcpy(&n, value, sizeof n);
  state_txn_abort(txn);
  return n;
}

/* --- transactions --------------------------------------------------------------------------------------------------- */

static void count(void *arg) { ++*(atomic_int *)arg; }

static void wait_for(atomic_int *n, int wanted) {
  for (int i = 0; i < 5000 && *n < wanted; i++) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  assert_int_equal(*n, wanted);
}

/* Whether the answer is still to come; a thread may have been faster. */
static bool is_pending(struct state_txn *txn) {
  struct gw_error err = {0};
  const void *value;
  size_t size;
  int found = state_txn_get(txn, "n", 1, &value, &size, &err);
  assert_int_not_equal(found, -1);
  return found == STATE_PENDING;
}

/* Whoever waits is woken once, before the answer or behind it. */
static void test_wakes_once(void **state) {
  (void)state;
  int pending = 0;
  put_number("f", 7);
  for (int i = 0; i < 200; i++) {
    atomic_int wakes = 0;
    const void *value;
    size_t size;
    struct gw_error err = {0};
    struct state_txn *txn = state_txn_begin(states, "f");
    if (is_pending(txn)) {
      pending++;
      if (i % 3 == 0) nanosleep(&(struct timespec){.tv_nsec = i * 2000}, NULL);
      state_txn_await(txn, count, &wakes);
      wait_for(&wakes, 1);
      assert_int_equal(state_txn_answer(txn, &value, &size, &err), 1);
      assert_int_equal(*(const uint64_t *)value, 7);
    }
    state_txn_abort(txn);
  }
  assert_true(pending > 50);
}

/* The answer comes to nobody, and still wakes. */
static void test_abort_while_pending(void **state) {
  (void)state;
  atomic_int wakes = 0;
  int awaited = 0;
  put_number("f", 7);
  for (int i = 0; i < 200; i++) {
    struct state_txn *txn = state_txn_begin(states, "f");
    if (is_pending(txn) && i % 2) {
      awaited++;
      state_txn_await(txn, count, &wakes);
    }
    if (i % 3 == 0) nanosleep(&(struct timespec){.tv_nsec = i * 2000}, NULL);
    state_txn_abort(txn);
  }
  wait_for(&wakes, awaited);
  assert_true(awaited > 25);
}

/* Closing answers what nobody has waited for. */
static void test_close_while_pending(void **state) {
  (void)state;
  late->is_held = true;
  for (int i = 0; i < 10; i++) {
    struct state_txn *txn = state_txn_begin(states, "f");
    assert_true(is_pending(txn));
    state_txn_abort(txn);
  }
}

/* --- one Wasm store ------------------------------------------------------------------------------------------------- */

#define STATE                                                 \
  IMPORT("state_get", "(param i32 i32 i32 i32) (result i32)") \
  IMPORT("state_set", "(param i32 i32 i32 i32)") REPLY "(memory (export \"memory\") 1) (data (i32.const 0) \"n\")"

/* Counts by one and replies with the number; works a little before and behind. */
#define COUNTER                                                                                                     \
  "(module " STATE "(func $work (local $i i32) (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) " \
  "(i32.const 1))) (i32.const 3000))))) (func (export \"handle\") (call $work) "                                    \
  "(drop (call $state_get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8))) "                               \
  "(i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1))) (call $work) "                        \
  "(call $state_set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8)) (call $reply (i32.const 8) (i32.const 8))))"

struct runner {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
  struct handler handler;
  atomic_int wakes;
};

static void runner_open(struct runner *r, enum gw_tier tier, uint64_t slice, struct record *record) {
  struct gw_error err = {0};
  *r = (struct runner){0};
  r->engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true, .profile = true}, &err);
  r->module = wat_module(r->engine, COUNTER);
  r->store = gw_store_create(r->engine, &(struct gw_store_options){.gas_limit = 100000000, .slice = slice, .tier = tier}, &err);
  if (record) gw_store_set_record(r->store, record);
  r->instance = gw_instance_create(r->store, r->module, handler_resolve, &r->handler, &err);
  if (!r->instance) fail_msg("%s", err.message);
  handler_reset(&r->handler);
  r->handler.txn = state_txn_begin(states, "f");
}

static void runner_close(struct runner *r) {
  state_txn_abort(r->handler.txn);
  gw_store_destroy(r->store);
  gw_module_release(r->module);
  gw_engine_destroy(r->engine);
  handler_clear(&r->handler);
}

static void runner_start(struct runner *r) {
  struct gw_extern found;
  assert_true(gw_instance_export(r->instance, "handle", 6, &found));
  gw_store_set_wake(r->store, count, &r->wakes);
  gw_store_start(r->store, found.of.func, NULL);
}

static uint64_t replied(const struct runner *r) {
  uint64_t n = 0;
  assert_int_equal(r->handler.reply.size, 8);
  memcpy(&n, r->handler.reply.bytes, sizeof n);
  return n;
}

/* What one run is: gas, reply, the profile's nodes, the record's bytes. */
struct outcome {
  uint64_t gas, reply, nodes[64];
  uint32_t n_nodes;
  size_t log;
};

static struct outcome run_by_call(enum gw_tier tier, bool is_prompt) {
  struct runner r;
  struct record record = {0};
  struct outcome o = {0};
  struct gw_error err = {0};
  late->is_prompt = is_prompt;
  record_begin(&record, RECORD_ALL, 1 << 20);
  runner_open(&r, tier, 0, &record);
  if (!gw_call_export(r.instance, "handle", NULL, 0, &err)) fail_msg("%s", err.message);
  const struct profile *p = profile_of_store(r.store);
  o = (struct outcome){.gas = gw_store_gas_used(r.store), .reply = replied(&r), .n_nodes = p->n, .log = record.log.size};
  for (uint32_t i = 0; i < p->n && i < 32; i++) o.nodes[2 * i] = p->nodes[i].gas, o.nodes[2 * i + 1] = p->nodes[i].calls;
  /* once more from the record: nobody is asked */
  unsigned gets = late->n_gets;
  record_replay(&record, RECORD_ENDS);
  assert_true(gw_instance_reset(r.instance, &err));
  if (!gw_call_export(r.instance, "handle", NULL, 0, &err)) fail_msg("%s", err.message);
  assert_int_equal(gw_store_gas_used(r.store), o.gas);
  assert_int_equal(late->n_gets, gets);
  assert_false(record.has_parted);
  runner_close(&r);
  record_clear(&record);
  return o;
}

/* Gas, profile and record are those of an answer at once. */
static void test_parked_costs_nothing(void **state) {
  (void)state;
  put_number("f", 7);
  for (int tier = 0; tier < 2; tier++) {
    struct outcome at_once = run_by_call((enum gw_tier)tier, true), later = run_by_call((enum gw_tier)tier, false);
    assert_int_equal(at_once.reply, 8);
    assert_true(at_once.gas > 6000);
    assert_memory_equal(&at_once, &later, sizeof later);
  }
}

/* Slices begin and end where they do without; one that is resumed too early is still parked. */
static void test_steps(void **state) {
  (void)state;
  put_number("f", 7);
  int yields[2];
  for (int is_late = 0; is_late < 2; is_late++) {
    struct runner r;
    struct gw_error err = {0};
    enum gw_status status;
    int parks = 0;
    late->is_prompt = !is_late;
    late->is_held = true;
    runner_open(&r, GW_TIER_FAST, 1000, NULL);
    runner_start(&r);
    yields[is_late] = 0;
    while ((status = gw_store_resume(r.store, &err)) != GW_STATUS_DONE) {
      if (status == GW_STATUS_YIELDED) yields[is_late]++;
      assert_int_not_equal(status, GW_STATUS_FAILED);
      if (status != GW_STATUS_PARKED) continue;
      if (++parks == 3) late_release(late);
      if (parks > 3) gw_store_wait(r.store);
    }
    assert_int_equal(replied(&r), 8);
    if (is_late) assert_true(parks >= 3);
    wait_for(&r.wakes, is_late);
    runner_close(&r);
  }
  assert_int_equal(yields[0], yields[1]);
  assert_true(yields[0] >= 5);
}

/* Cancelled before the answer, at the same time, or behind it: nobody is woken after that. */
static void test_cancel_while_parked(void **state) {
  (void)state;
  put_number("f", 7);
  for (int i = 0; i < 60; i++) {
    struct runner r;
    struct gw_error err = {0};
    late->is_held = i % 2 == 0;
    runner_open(&r, i % 4 < 2 ? GW_TIER_FAST : GW_TIER_PRECISE, 0, NULL);
    runner_start(&r);
    if (gw_store_resume(r.store, &err) == GW_STATUS_PARKED && i % 2) nanosleep(&(struct timespec){.tv_nsec = i * 3000}, NULL);
    gw_store_cancel(r.store);
    int wakes = r.wakes;
    assert_int_equal(gw_store_resume(r.store, &err), GW_STATUS_FAILED);
    if (i % 2 == 0) late_release(late);
    nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    assert_int_equal(r.wakes, wakes);
    runner_close(&r);
  }
}

/* --- a server ------------------------------------------------------------------------------------------------------- */

static struct server *server;
static char *directory;

static void server_open_with(uint32_t grace_ms, bool receipts) {
  directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.state = states;
  o.grace_ms = grace_ms;
  o.quiet = true;
  o.receipts = receipts;
  server = start(&o);
  assert_true(deploy(server_port(server), "hello", WAT_HELLO) < 300); /* their records may be there already */
  assert_true(deploy(server_port(server), "counter", COUNTER) < 300);
}

static void server_open(uint32_t grace_ms) { server_open_with(grace_ms, true); }

static void server_close(void) {
  server_destroy(server);
  server = NULL;
  remove_data_dir(directory);
}

static int ask_counter(void) {
  int fd = dial(server_port(server));
  send_text(fd, "GET /f/counter/ HTTP/1.1\r\nHost: t\r\n\r\n");
  return fd;
}

enum { CLIENTS = 64, EACH = 8 };

struct client {
  pthread_t thread;
  uint32_t counted, conflicts, failures;
};

static void *count_up(void *arg) {
  struct client *c = arg;
  for (int i = 0; i < 20 * EACH && c->counted < EACH; i++) {
    struct reply r = call(server_port(server), "/f/counter/");
    if (r.status == 200)
      c->counted++;
    else if (r.status == 503 && strstr(r.body, "met conflicting writes"))
      c->conflicts++;
    else
      c->failures++;
    reply_clear(&r);
  }
  return NULL;
}

static struct client count_together(void) {
  static struct client clients[CLIENTS];
  struct client sum = {0};
  memset(clients, 0, sizeof clients);
  for (int i = 0; i < CLIENTS; i++) assert_int_equal(pthread_create(&clients[i].thread, NULL, count_up, &clients[i]), 0);
  for (int i = 0; i < CLIENTS; i++) {
    pthread_join(clients[i].thread, NULL);
    sum.counted += clients[i].counted;
    sum.conflicts += clients[i].conflicts;
    sum.failures += clients[i].failures;
  }
  return sum;
}

static void test_no_increment_is_lost(void **state) {
  (void)state;
  server_open(5000);
  struct client sum = count_together();
  assert_int_equal(sum.failures, 0);
  assert_true(sum.counted > CLIENTS);
  assert_int_equal(get_number("counter"), sum.counted);
  server_close();
}

/* What the store cannot do is the invocation's error, and nothing else's. */
static void test_errors_of_the_store(void **state) {
  (void)state;
  server_open(5000);
  late->fail_gets = 3;
  struct client sum = count_together();
  late->fail_gets = 1;
  struct reply r = call(server_port(server), "/f/counter/");
  assert_int_equal(r.status, 500);
  assert_non_null(strstr(r.body, "gasworks.state_get: the store is far away"));
  reply_clear(&r);
  late->fail_gets = 0;
  assert_true(sum.failures > 0);
  assert_int_equal(get_number("counter"), sum.counted);
  server_close();
}

/* Reads, then traps: the judge's run parks, too, and agrees. */
#define TRAPS                                   \
  "(module " STATE "(func (export \"handle\") " \
  "(drop (call $state_get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8))) (unreachable)))"

static void test_judge_parks(void **state) {
  (void)state;
  server_open(5000);
  put_number("traps", 7);
  assert_true(deploy(server_port(server), "traps", TRAPS) < 300);
  for (int i = 0; i < 5; i++) {
    unsigned before = late->n_gets;
    struct reply r = call(server_port(server), "/f/traps/");
    assert_int_equal(r.status, 500);
    assert_non_null(strstr(r.body, "unreachable"));
    assert_null(strstr(r.body, "disagree"));
    assert_int_equal(late->n_gets - before, 2);
    reply_clear(&r);
  }
  server_close();
}

/* Deploying, listing and deleting wait for the store, on threads that may. */
static void test_control_plane(void **state) {
  (void)state;
  server_open(5000);
  uint16_t port = server_port(server);
  assert_int_equal(status_of(port, "GET", "/f/counter/"), 200);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/counter"), 204);
  struct reply r = call(port, "/v1/functions");
  assert_non_null(strstr(r.body, "\"kept_state\":[\"counter\"]"));
  reply_clear(&r);
  assert_int_equal(get_number("counter"), 1);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/counter?state=delete"), 204);
  assert_int_equal(get_number("counter"), 0);
  server_close();
}

/* Those that are parked keep nobody from anything. */
static void test_parked_hold_no_thread(void **state) {
  (void)state;
  server_open(5000);
  int fds[50];
  late->is_held = true;
  for (int i = 0; i < 50; i++) fds[i] = ask_counter();
  late_await(late, 50);
  for (int i = 0; i < 20; i++) assert_int_equal(status_of(server_port(server), "GET", "/f/hello/"), 200);
  late_release(late);
  uint32_t counted = 0;
  for (int i = 0; i < 50; i++) {
    struct reply r = receive(fds[i], true);
    assert_true(r.status == 200 || strstr(r.body, "met conflicting writes"));
    counted += r.status == 200;
    reply_clear(&r);
    close(fds[i]);
  }
  assert_int_equal(get_number("counter"), counted);
  server_close();
}

/* Clients go away; the answers come before, while, or after the server notices. */
static void test_client_leaves_while_parked(void **state) {
  (void)state;
  server_open(5000);
  struct linger reset = {.l_onoff = 1};
  for (int round = 0; round < 6; round++) {
    int fds[20];
    late->is_held = true;
    for (int i = 0; i < 20; i++) fds[i] = ask_counter();
    late_await(late, 20);
    if (round % 3 == 1) late_release(late);
    for (int i = 0; i < 20; i++) {
      setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      close(fds[i]);
    }
    if (round % 3 == 2) nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    late_release(late);
    assert_int_equal(status_of(server_port(server), "GET", "/f/hello/"), 200);
  }
  uint64_t before = get_number("counter");
  assert_int_equal(status_of(server_port(server), "GET", "/f/counter/"), 200);
  assert_true(get_number("counter") > before);
  server_close();
}

static void *close_server(void *arg) {
  server_destroy(server);
  return arg;
}

/* Until nobody has the data directory any more. */
static void await_end(void) {
  struct gw_error ignored = {0};
  int fd = -1;
  for (int i = 0; i < 20000 && fd < 0; i++) {
    fd = directory_lock(directory, &ignored);
    if (fd < 0) usleep(1000);
  }
  assert_true(fd >= 0);
  close(fd);
}

/* The receipts of those that were cancelled are there, and in usage. */
static void expect_usage_later(void) {
  await_end();
  struct server_options o = test_options(directory);
  o.state = states;
  server = start(&o);
  struct reply r = call(server_port(server), "/v1/usage?by=function&function=counter");
  if (r.status != 200 || !strstr(r.body, "\"requests\":20,\"failures\":20")) fail_msg("%d %s", r.status, r.body);
  reply_clear(&r);
  server_close();
}

/* The grace period ends while they are parked: they get a 503, and the server ends without the store's answers. So it does where
 * receipts are added up to usage, which takes it some seconds, and leaves what has to wait to the thread that waits; the next
 * server adds what that one did not. */
static void test_shutdown_while_parked(void **state) {
  (void)state;
  for (int round = 0; round < 5; round++) {
    bool has_usage = round == 4;
    server_open_with(200, has_usage);
    int fds[20];
    pthread_t thread;
    late->is_held = true;
    for (int i = 0; i < 20; i++) fds[i] = ask_counter();
    late_await(late, 20);
    assert_int_equal(pthread_create(&thread, NULL, close_server, NULL), 0);
    if (round == 3) { /* just when they are cancelled */
      nanosleep(&(struct timespec){.tv_nsec = 195000000}, NULL);
      late_release(late);
    }
    for (int i = 0; i < 20; i++) {
      struct reply r = receive(fds[i], true);
      if (round == 3)
        assert_true(r.status == 503 || r.status == 200);
      else
        assert_int_equal(r.status, 503);
      reply_clear(&r);
      close(fds[i]);
    }
    pthread_join(thread, NULL);
    if (has_usage) assert_int_equal(directory_lock(directory, &(struct gw_error){0}), -1);
    if (!has_usage) remove_data_dir(directory);
    late_release(late);
    while (late->n_waiting) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (has_usage) expect_usage_later();
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, open_states, close_states)
  const struct CMUnitTest tests[] = {
      TEST(wakes_once),
      TEST(abort_while_pending),
      TEST(close_while_pending),
      TEST(parked_costs_nothing),
      TEST(steps),
      TEST(cancel_while_parked),
      TEST(no_increment_is_lost),
      TEST(errors_of_the_store),
      TEST(judge_parks),
      TEST(control_plane),
      TEST(parked_hold_no_thread),
      TEST(client_leaves_while_parked),
      TEST(shutdown_while_parked),
  };
  return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
