/* The server's tiers: functions that are called while they are being compiled, what /metrics says, and tiers that disagree. */
#include "tests/break_opcode.h"
#include "tests/http_client.h"

#include <time.h>

/* Replies "hi"; compiling the rest takes a second or more. */
static void make_slow(struct buffer *text, int seed) {
  enum { FUNCS = 8, ROUNDS = 1200 };
  buffer_append_string(text, "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 16) \"hi\")");
  for (int f = 0; f < FUNCS; f++) {
    buffer_format(text, "(func (export \"f%d\") (param i64) (result i64) (local.set 0 (i64.add (local.get 0) (i64.const %d)))", f,
                  seed);
    for (int i = 0; i < ROUNDS; i++)
      buffer_append_string(
          text, "(local.set 0 (i64.xor (i64.mul (local.get 0) (i64.load (i32.wrap_i64 (local.get 0)))) (i64.const 3)))");
    buffer_append_string(text, "(local.get 0))");
  }
  buffer_append_string(text, "(func (export \"handle\") (call $reply (i32.const 16) (i32.const 2))))");
  buffer_append(text, "", 1);
}

static bool describes(uint16_t port, const char *name, const char *what) {
  char path[64];
  snprintf(path, sizeof path, "/v1/functions/%s", name);
  struct reply r = call(port, path);
  assert_int_equal(r.status, 200);
  bool is_there = strstr(r.body, what) != NULL;
  reply_clear(&r);
  return is_there;
}

/* The value behind a metric's name and labels. */
static double metric(uint16_t port, const char *name) {
  char type[64], line[128];
  struct reply r = call(port, "/metrics");
  assert_int_equal(r.status, 200);
  assert_true(header(&r, "Content-Type", type, sizeof type));
  assert_string_equal(type, "text/plain; version=0.0.4; charset=utf-8");
  snprintf(line, sizeof line, "\ngasworks_%s ", name);
  const char *at = strstr(r.body, line);
  if (!at) fail_msg("no %s in: %s", name, r.body);
  double value = strtod(at + strlen(line), NULL);
  reply_clear(&r);
  return value;
}

static void expect_hi(uint16_t port, const char *path, char *gas, size_t size) {
  struct reply r = call(port, path);
  assert_int_equal(r.status, 200);
  assert_int_equal(r.size, 2);
  assert_memory_equal(r.body, "hi", 2);
  assert_true(header(&r, "Gasworks-Gas", gas, size));
  reply_clear(&r);
}

static void wait_for(uint16_t port, const char *name, const char *what) {
  for (int i = 0; i < 3000; i++) {
    if (describes(port, name, what)) return;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  }
  fail_msg("%s is not %s after a minute", name, what);
}

static void test_called_while_compiling(void **state) {
  (void)state;
  char *data_dir = make_data_dir(), before[32], after[32];
  struct server_options o = test_options(data_dir);
  struct buffer text = {0};
  o.tier = TIER_AUTO;
  o.opt_level = 2;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  make_slow(&text, 1);
  assert_int_equal(deploy(port, "slow", (const char *)text.bytes), 201);
  assert_true(describes(port, "slow", "\"tier\":\"baseline\""));
  expect_hi(port, "/f/slow", before, sizeof before);
  assert_true(describes(port, "slow", "\"is_compiling\":true")); /* still */
  assert_true(metric(port, "invocations_total{tier=\"baseline\"}") == 1);
  assert_true(metric(port, "functions_waiting_for_code") == 1);
  /* A small one does not wait for the end of the queue. */
  text.size = 0;
  make_slow(&text, 2);
  assert_int_equal(deploy(port, "slow-too", (const char *)text.bytes), 201);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  wait_for(port, "hello", "\"tier\":\"fast\"");
  assert_true(describes(port, "slow-too", "\"is_compiling\":true"));
  /* Replaced and deleted while it is compiled or waits for it. */
  assert_int_equal(deploy(port, "slow-too", WAT_HELLO), 200);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/slow-too"), 204);
  wait_for(port, "slow", "\"tier\":\"fast\"");
  expect_hi(port, "/f/slow", after, sizeof after);
  assert_string_equal(before, after);
  assert_true(metric(port, "invocations_total{tier=\"fast\"}") == 1);
  assert_true(metric(port, "functions{tier=\"fast\"}") == 2);
  assert_true(metric(port, "compilations_total{result=\"done\"}") >= 2);
  assert_true(metric(port, "gas_total") == 2 * strtod(after, NULL));
  /* What is being compiled when the server ends. */
  text.size = 0;
  make_slow(&text, 3);
  assert_int_equal(deploy(port, "slow", (const char *)text.bytes), 200);
  expect_hi(port, "/f/slow", after, sizeof after);
  server_destroy(server);
  /* Stored functions are called before they are compiled, too: again, as the end waited for the code and the cache has it. */
  o.cache_dir = "off";
  server = start(&o);
  port = server_port(server);
  expect_hi(port, "/f/slow", after, sizeof after);
  assert_true(metric(port, "invocations_total{tier=\"baseline\"}") == 1);
  server_destroy(server);
  remove_data_dir(data_dir);
  buffer_clear(&text);
}

/* docs/http.md has a row for every metric. */
static void expect_documented_metrics(uint16_t port) {
  struct buffer page = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/http.md", 1 << 20, &err));
  buffer_append(&page, "", 1);
  struct reply r = call(port, "/metrics");
  assert_int_equal(r.status, 200);
  for (const char *at = r.body; (at = strstr(at, "# TYPE "));) {
    char row[128];
    at += strlen("# TYPE ");
    snprintf(row, sizeof row, "\n| `%.*s`", (int)strcspn(at, " "), at);
    if (!strstr((const char *)page.bytes, row)) fail_msg("docs/http.md has no row of %s", row + 4);
  }
  reply_clear(&r);
  buffer_clear(&page);
}

static void test_never_compiled(void **state) {
  (void)state;
  char *data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  o.tier = TIER_PRECISE;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  for (int i = 0; i < 3; i++) assert_int_equal(status_of(port, "GET", "/f/hello"), 200);
  assert_true(describes(port, "hello", "\"tier\":\"precise\""));
  assert_false(describes(port, "hello", "is_compiling"));
  assert_true(metric(port, "invocations_total{tier=\"precise\"}") == 3);
  assert_int_equal(deploy(port, "trap", "(module (func (export \"handle\") unreachable))"), 201);
  assert_int_equal(status_of(port, "GET", "/f/trap"), 500);
  assert_true(metric(port, "traps_total{trap=\"unreachable\"}") == 1);
  assert_true(metric(port, "judgements_total") == 0);
  assert_int_equal(status_of(port, "POST", "/metrics"), 405);
  expect_documented_metrics(port);
  server_destroy(server);
  remove_data_dir(data_dir);
}

/* The interpreter is made to divide without signs: it does not overflow where compiled code does. */
static void test_disagreement(void **state) {
  (void)state;
  static const char text[] = "(module (memory 1) (data (i32.const 3) \"\\80\\ff\\ff\\ff\\ff\") (func (export \"handle\")"
                             " (drop (i32.div_s (i32.load (i32.const 0)) (i32.load (i32.const 4))))))";
  char *data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  assert_int_equal(deploy(port, "overflow", text), 201);
  struct reply r = call(port, "/f/overflow");
  assert_int_equal(r.status, 500);
  assert_non_null(strstr(r.body, "\"detail\":\"integer overflow in function handle at byte 0x"));
  reply_clear(&r);
  assert_true(metric(port, "judgements_total") == 1);
  assert_true(metric(port, "tier_disagreements_total") == 0);
  assert_true(break_opcode("i32.div_s"));
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/overflow"), 204);
  assert_int_equal(deploy(port, "overflow", text), 201); /* not yet translated */
  r = call(port, "/f/overflow");
  assert_int_equal(r.status, 500);
  assert_non_null(strstr(r.body, "the tiers disagree about function overflow: compiled code says \\\"integer overflow"));
  reply_clear(&r);
  assert_true(metric(port, "judgements_total") == 2);
  assert_true(metric(port, "tier_disagreements_total") == 1);
  server_destroy(server);
  remove_data_dir(data_dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_called_while_compiling), cmocka_unit_test(test_never_compiled),
      cmocka_unit_test(test_disagreement), /* breaks the interpreter for good */
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
