/* What is counted of each function: buckets of latencies, and what /metrics and GET /v1/metrics say. */
#include "server/function/tally.h"

#include "tests/http_client.h"

/* --- buckets ------------------------------------------------------------------------------------------------------ */

static int bucket_of(uint64_t us) {
  struct tally *tally = tally_create();
  struct tally_part *part = tally_part(tally, tally), sum;
  tally_add_latency(part, us);
  tally_sum(tally, &sum);
  tally_destroy(tally);
  assert_int_equal(sum.microseconds, us);
  for (int i = 0; i < TALLY_BUCKETS; i++)
    if (sum.latency[i]) return i;
  return -1;
}

static void test_buckets(void **state) {
  (void)state;
  for (int i = 0; i < TALLY_BOUNDS; i++) {
    assert_int_equal(bucket_of(tally_bound(i)), i);
    assert_int_equal(bucket_of(tally_bound(i) + 1), i + 1);
    if (i > 4) assert_true(4 * tally_bound(i) <= 5 * tally_bound(i - 1)); /* a quarter too high at most */
  }
  assert_int_equal(bucket_of(0), 0);
  assert_int_equal(tally_bound(TALLY_BOUNDS - 1), 1 << (TALLY_TOP + 1));
  assert_int_equal(bucket_of(UINT64_MAX), TALLY_BOUNDS);
}

static void test_parts(void **state) {
  (void)state;
  struct tally *tally = tally_create();
  struct tally_part *a = tally_part(tally, &tally), *b = tally_part(tally, state), sum;
  assert_ptr_not_equal(a, b);
  assert_ptr_equal(tally_part(tally, &tally), a);
  tally_add(&a->requests, 2);
  tally_add(&b->requests, 3);
  tally_sum(tally, &sum);
  assert_int_equal(sum.requests, 5);
  tally_destroy(tally);
}

/* --- a server ----------------------------------------------------------------------------------------------------- */

static const char MIXED[] =
    "(module " REPLY "(import \"gasworks\" \"request_path\" (func $path (param i32 i32) (result i32)))"
    "(import \"gasworks\" \"reply_status\" (func $status (param i32))) (memory (export \"memory\") 1)"
    "(func (export \"handle\") (drop (call $path (i32.const 0) (i32.const 8)))"
    "  (if (i32.eq (i32.load8_u (i32.const 1)) (i32.const 116)) (then unreachable))"                   /* /t */
    "  (if (i32.eq (i32.load8_u (i32.const 1)) (i32.const 108)) (then (loop (br 0))))"                 /* /l */
    "  (if (i32.eq (i32.load8_u (i32.const 1)) (i32.const 52)) (then (call $status (i32.const 404))))" /* /4 */
    "  (if (i32.eq (i32.load8_u (i32.const 1)) (i32.const 53)) (then (call $status (i32.const 503))))" /* /5 */
    "  (call $reply (i32.const 0) (i32.const 2))))";

/* The number of a member, of the first function with that name. */
static double number(uint16_t port, const char *path, const char *function, const char *member) {
  char key[128];
  struct reply r = call(port, path);
  assert_int_equal(r.status, 200);
  snprintf(key, sizeof key, "{\"name\":\"%s\",", function);
  const char *at = strstr(r.body, key);
  if (!at) fail_msg("no %s in %s", function, r.body);
  snprintf(key, sizeof key, "\"%s\":", member);
  at = strstr(at, key);
  if (!at) fail_msg("no %s in %s", member, r.body);
  double value = strtod(at + strlen(key), NULL);
  reply_clear(&r);
  return value;
}

static void expect_line(uint16_t port, const char *line) {
  char text[256];
  struct reply r = call(port, "/metrics");
  snprintf(text, sizeof text, "\ngasworks_function_%s\n", line);
  if (!strstr(r.body, text)) fail_msg("no %s in %s", line, strstr(r.body, "# HELP gasworks_function_requests"));
  reply_clear(&r);
}

static void test_numbers(void **state) {
  (void)state;
  char *data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  o.gas_limit = 1000000;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  assert_int_equal(deploy(port, "mixed", MIXED), 201);
  assert_int_equal(number(port, "/v1/metrics", "mixed", "requests"), 0);
  static const struct {
    const char *path;
    int status, times;
  } calls[] = {
      {"/f/mixed", 200, 5}, {"/f/mixed/t", 500, 3}, {"/f/mixed/l", 402, 1}, {"/f/mixed/4", 404, 2}, {"/f/mixed/5", 503, 4}};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    for (int n = 0; n < calls[i].times; n++) assert_int_equal(status_of(port, "GET", calls[i].path), calls[i].status);
  assert_int_equal(status_of(port, "GET", "/f/nobody"), 404);
  assert_int_equal(number(port, "/v1/metrics", "mixed", "requests"), 15);
  assert_int_equal(number(port, "/v1/metrics", "mixed", "errors"), 8);
  assert_int_equal(number(port, "/v1/metrics", "mixed", "client_errors"), 2);
  assert_int_equal(number(port, "/v1/metrics", "mixed", "traps"), 4); /* out of gas is one, too */
  assert_int_equal(number(port, "/v1/metrics", "mixed", "cancelled"), 0);
  assert_true(number(port, "/v1/metrics", "mixed", "cold") >= 1);
  assert_true(number(port, "/v1/metrics", "mixed", "gas") > 1000000);
  expect_line(port, "requests_total{tenant=\"default\",function=\"mixed\"} 15");
  expect_line(port, "errors_total{tenant=\"default\",function=\"mixed\"} 8");
  expect_line(port, "duration_seconds_bucket{tenant=\"default\",function=\"mixed\",le=\"+Inf\"} 15");
  expect_line(port, "duration_seconds_bucket{tenant=\"default\",function=\"mixed\",le=\"33.554432\"} 15");
  expect_line(port, "duration_seconds_count{tenant=\"default\",function=\"mixed\"} 15");
  /* The next version goes on counting, a function of the same name behind a deletion begins anew. */
  assert_int_equal(deploy(port, "mixed", WAT_HELLO), 200);
  assert_int_equal(status_of(port, "GET", "/f/mixed"), 200);
  assert_int_equal(status_of(port, "GET", "/f/mixed@1"), 200);
  assert_int_equal(number(port, "/v1/metrics", "mixed", "requests"), 17);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/mixed"), 204);
  assert_int_equal(deploy(port, "mixed", WAT_HELLO), 201);
  assert_int_equal(number(port, "/v1/metrics", "mixed", "requests"), 0);
  server_destroy(server);
  remove_data_dir(data_dir);
}

/* Whoever goes away is counted, with the gas that was used until then. */
static void test_cancelled(void **state) {
  (void)state;
  char *data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  o.gas_limit = 1000000000000;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  assert_int_equal(deploy(port, "mixed", MIXED), 201);
  int fd = dial(port);
  send_text(fd, "GET /f/mixed/l HTTP/1.1\r\nHost: t\r\n\r\n");
  while (number(port, "/v1/functions", "mixed", "version") != 1 || !number(port, "/v1/metrics", "mixed", "cold")) usleep(10000);
  usleep(50000);
  struct linger reset = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
  while (!number(port, "/v1/metrics", "mixed", "cancelled")) usleep(10000);
  assert_true(number(port, "/v1/metrics", "mixed", "cancelled_gas") > 0);
  assert_int_equal(number(port, "/v1/metrics", "mixed", "errors"), 0);
  server_destroy(server);
  remove_data_dir(data_dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_buckets), cmocka_unit_test(test_parts), cmocka_unit_test(test_numbers),
                                     cmocka_unit_test(test_cancelled)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
