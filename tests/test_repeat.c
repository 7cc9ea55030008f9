/* Records of answers: what is a repetition, and what goes when. Over HTTP: tests/e2e/45_repeats.sh. */
#include "server/invoke/repeat.h"
#include "tests/state_kit.h"

static struct request *request_of(const char *method, const char *target, const char *body) {
  static struct request r;
  buffer_clear(&r.body);
  r = (struct request){.method = strcmp(method, "POST") ? HTTP_GET : HTTP_POST, .method_name = method, .target = target};
  buffer_append_string(&r.body, body);
  return &r;
}

static void add_header(struct request *r, const char *name, const char *value) {
  r->headers[r->n_headers++] = (struct handler_header){name, value};
}

static struct repeat begin(struct request *r) {
  struct repeat repeat;
  const char *why;
  if (!repeat_begin(&repeat, r, &why)) fail_msg("%s", why);
  return repeat;
}

static void test_which_requests(void **state) {
  (void)state;
  struct request *r = request_of("POST", "/f/x", "body");
  const char *why;
  assert_false(begin(r).has_key);
  add_header(r, "idempotency-key", "one");
  struct repeat one = begin(r);
  assert_true(one.has_key);
  r->headers[0].value = "\"one\"";
  assert_memory_equal(begin(r).key, one.key, REPEAT_DIGEST);
  r->headers[0].value = "two";
  assert_memory_not_equal(begin(r).key, one.key, REPEAT_DIGEST);
  assert_memory_equal(begin(r).request, one.request, REPEAT_DIGEST);
  r->headers[0].value = "one";
  add_header(r, "Cookie", "session=1");
  struct repeat session = begin(r);
  assert_memory_equal(session.key, one.key, REPEAT_DIGEST);
  assert_memory_not_equal(session.request, one.request, REPEAT_DIGEST);
  r->headers[1].value = "session=2";
  assert_memory_not_equal(begin(r).request, session.request, REPEAT_DIGEST);
  r->n_headers = 1;
  r->headers[0].value = "\"\"";
  assert_false(repeat_begin(&one, r, &why));
  assert_string_equal(why, "an Idempotency-Key has 1 to 255 characters");
  r->headers[0].value = "one";
  add_header(r, "Idempotency-Key", "one");
  assert_false(repeat_begin(&one, r, &why));
  assert_string_equal(why, "a request has one Idempotency-Key at most");
  r = request_of("GET", "/f/x", "");
  add_header(r, "Idempotency-Key", "one");
  assert_false(begin(r).has_key);
  buffer_clear(&r->body);
}

static struct repeat repeat_of(int i) {
  char key[16];
  struct request *r = request_of("POST", "/f/x", "");
  snprintf(key, sizeof key, "key %d", i);
  add_header(r, "Idempotency-Key", key);
  return begin(r);
}

static void record(struct state_store *store, int i, uint64_t now, size_t size) {
  struct repeat r = repeat_of(i);
  struct handler reply = {.status = 201};
  struct gw_error err = {0};
  uint8_t *body = calloc(1, size);
  buffer_append(&reply.reply, body, size);
  buffer_append_string(&reply.reply_headers, "A: b\r\n");
  struct state_txn *txn = state_txn_begin(store, "x");
  assert_true(repeat_record(&r, txn, "x", &reply, now, &err));
  assert_int_equal(commit(txn), STATE_COMMITTED);
  handler_clear(&reply);
  free(body);
}

static const struct repeat_limits limits = {.keep_ms = 1000, .size = 10000};

/* Size of the answer's body; -1: there is none. */
static int look(struct state_store *store, int i, uint64_t now) {
  struct repeat r = repeat_of(i);
  struct handler reply = {0};
  struct gw_error err = {0};
  const void *value;
  size_t size;
  int n = -1;
  struct state_txn *txn = state_txn_begin(store, "x");
  if (repeat_look(&r, txn, "x", &value, &size, &err) == 1 && repeat_read(&r, value, size, now, &limits, &reply) == REPEAT_SAME) {
    assert_int_equal(reply.status, 201);
    assert_int_equal(reply.reply_headers.size, strlen("A: b\r\nIdempotency-Replayed: true\r\n"));
    n = (int)reply.reply.size;
  }
  r.request[0] ^= 1;
  if (n >= 0) assert_int_equal(repeat_read(&r, value, size, now, &limits, &reply), REPEAT_OTHER);
  state_txn_abort(txn);
  handler_clear(&reply);
  return n;
}

static bool count_one(void *arg, const void *key, size_t key_size, const void *value, size_t value_size) {
  (void)key, (void)key_size, (void)value, (void)value_size;
  ++*(int *)arg;
  return true;
}

static int count_records(struct state_store *store) {
  struct gw_error err = {0};
  int n = 0;
  assert_true(state_each(store, "x#answers", count_one, &n, &err));
  return n;
}

static void test_what_is_kept(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  for (int i = 0; i < 5; i++) record(store, i, 1000 + 100 * (uint64_t)i, 10);
  assert_int_equal(count_records(store), 10);
  assert_int_equal(look(store, 0, 2000), 10);
  assert_int_equal(look(store, 0, 2001), -1);
  assert_int_equal(look(store, 9, 1000), -1);
  repeat_sweep(store, "x", 2000, &limits);
  assert_int_equal(count_records(store), 10);
  repeat_sweep(store, "x", 2101, &limits);
  assert_int_equal(count_records(store), 6);
  assert_int_equal(look(store, 2, 2101), 10);
  record(store, 2, 2150, 20); /* written again: the old time is no reason to delete it */
  repeat_sweep(store, "x", 2201, &limits);
  assert_int_equal(look(store, 2, 2201), 20);
  repeat_sweep(store, "x", 9999, &limits);
  assert_int_equal(count_records(store), 0);
  /* the oldest go where there are too many bytes, with some 250 for each answer and its headers */
  for (int i = 0; i < 5; i++) record(store, i, 1000 + 100 * (uint64_t)i, 3000);
  repeat_sweep(store, "x", 1500, &limits);
  assert_int_equal(look(store, 1, 1500), -1);
  assert_int_equal(look(store, 2, 1500), 3000);
  assert_int_equal(count_records(store), 6);
  state_store_close(store);
}

/* One sweep deletes all that is too much: others record thousands in a second. */
static void test_many(void **state) {
  (void)state;
  enum { N = 2500 };
  struct state_store *store = open_store(MAP_SIZE);
  for (int i = 0; i < N; i++) record(store, i, 1000, 10);
  record(store, N, 2500, 10);
  assert_int_equal(count_records(store), 2 * N + 2);
  repeat_sweep(store, "x", 2500, &limits);
  assert_int_equal(count_records(store), 2);
  assert_int_equal(look(store, N, 2500), 10);
  /* small ones take more than their bytes */
  for (int i = 0; i < 200; i++) record(store, i, 2500, 1);
  repeat_sweep(store, "x", 2500, &limits);
  assert_true(count_records(store) < 2 * 10000 / 200);
  state_store_close(store);
}

static void test_too_large(void **state) {
  (void)state;
  struct state_store *store = open_store(MAP_SIZE);
  struct repeat r = repeat_of(1);
  struct handler reply = {.status = 200};
  struct gw_error err = {0};
  uint8_t *body = calloc(1, STATE_MAX_VALUE);
  buffer_append(&reply.reply, body, STATE_MAX_VALUE);
  struct state_txn *txn = state_txn_begin(store, "x");
  assert_false(repeat_record(&r, txn, "x", &reply, 1, &err));
  assert_int_equal(err.code, GW_ERROR_BAD_REPLY);
  state_txn_abort(txn);
  handler_clear(&reply);
  free(body);
  state_store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_which_requests), TEST(test_what_is_kept), TEST(test_many), TEST(test_too_large)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  buffer_clear(&request_of("GET", "", "")->body);
  return failed;
}
