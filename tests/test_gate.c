/* The gate in front of a deployment: what differs, what there is nothing to compare with, who pays, and who has to wait. That
 * every tier finds what it should is in replay.py. */
#include "tests/http_client.h"

#include "server/usage/price.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct server *server;
static uint16_t port;
static char *data_dir;

#define NUMBER(n)                                                                   \
  "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 16) \"" n "\")" \
  "(func (export \"handle\") (call $reply (i32.const 16) (i32.const 1))))"
/* The same reply from other bytes. */
#define NUMBER_TOO(n)                                                               \
  "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 32) \"" n "\")" \
  "(func (export \"handle\") (call $reply (i32.const 32) (i32.const 1))))"
/* It never ends by itself: a gate has a long time for it. */
#define ENDLESS "(module (memory (export \"memory\") 1) (func (export \"handle\") (loop $l (br $l))))"

static int set_up(void **state) {
  struct gw_error err = {0};
  struct prices prices;
  static const char text[] = "{\"currency\":\"EUR\",\"gas\":\"1\"}";
  (void)state;
  data_dir = make_data_dir();
  assert_true(price_parse(&prices, text, sizeof text - 1, &err));
  struct server_options o = test_options(data_dir);
  o.gas_limit = UINT64_C(1000000000000);
  o.prices = &prices;
  server = start(&o);
  port = server_port(server);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  server_destroy(server);
  remove_data_dir(data_dir);
  return 0;
}

static struct reply put(const char *path, const char *text) {
  struct buffer bytes = wat(text);
  struct reply r = request(port, "PUT", path, bytes.bytes, bytes.size);
  buffer_clear(&bytes);
  return r;
}

static void expect_reply(struct reply r, int status, const char *word) {
  if (r.status != status || !strstr(r.body, word)) fail_msg("%d %s; not %d %s", r.status, r.body, status, word);
  reply_clear(&r);
}

static void expect_put(const char *path, const char *text, int status, const char *word) {
  expect_reply(put(path, text), status, word);
}

static void expect_get(const char *path, const char *word) { expect_reply(call(port, path), 200, word); }

static void call_often(const char *path, int n) {
  while (n--) assert_int_equal(status_of(port, "GET", path), 200);
}

/* Whether something differs is what was asked; that nothing could be compared is no answer. */
static void test_nothing_to_compare(void **state) {
  (void)state;
  expect_put("/v1/functions/new?gate=10", NUMBER("1"), 412, "nothing to compare with");
  assert_int_equal(status_of(port, "GET", "/v1/functions/new"), 404);
  expect_put("/v1/functions/new?gate=10&gate-empty=pass", NUMBER("1"), 201, "\"version\":1");
  expect_put("/v1/functions/new?gate=10", NUMBER("1"), 412, "has compared nothing: 0 invocations");
  expect_put("/v1/functions/new?gate=10&gate-empty=fail", NUMBER("1"), 412, "has compared nothing");
  expect_put("/v1/functions/new?gate=10&gate-empty=pass", NUMBER("1"), 200, "\"gate\":{\"run\":0,");
  expect_put("/v1/functions/new?gate=10&gate-empty=perhaps", NUMBER("1"), 400, "gate-empty=fail|pass");
}

static void test_what_differs(void **state) {
  (void)state;
  expect_put("/v1/functions/one", NUMBER("1"), 201, "");
  call_often("/f/one", 3);
  expect_put("/v1/functions/one?gate=10", NUMBER("2"), 412, "\"title\":\"it does something else\"");
  expect_put("/v1/functions/one?gate=10", NUMBER("2"), 412, "of 3 invocations 3 differ");
  expect_put("/v1/functions/one?gate=2", NUMBER("2"), 412, "of 2 invocations 2 differ");
  expect_put("/v1/functions/one?gate=10", NUMBER_TOO("1"), 200, "\"gate\":{\"run\":3,\"different\":0,");
}

/* A receipt of each gate has the gas of its runs, and so it is in usage and in the balance. */
static void test_the_tenant_pays(void **state) {
  (void)state;
  assert_int_equal(status_of(port, "PUT", "/v1/tenants/payer"), 201);
  expect_put("/t/payer/v1/functions/one", NUMBER("1"), 201, "");
  call_often("/t/payer/f/one", 3);
  expect_get("/t/payer/v1/usage", "\"requests\":3");
  expect_put("/t/payer/v1/functions/one?gate=10", NUMBER_TOO("1"), 200, "\"run\":3,");
  expect_put("/t/payer/v1/functions/one?gate=10", NUMBER("2"), 412, "3 differ");
  struct reply row = call(port, "/t/payer/v1/usage?by=function");
  const char *of_gate = strstr(row.body, "\"function\":\"+gate\",\"gas\":"),
             *of_one = strstr(row.body, "\"function\":\"one\",\"gas\":");
  assert_true(of_gate && of_one);
  unsigned long long paid = strtoull(strstr(of_gate, "\"gas\":") + 6, NULL, 10);
  unsigned long long asked = strtoull(strstr(of_one, "\"gas\":") + 6, NULL, 10);
  assert_true(asked > 0 && paid == 2 * asked);
  reply_clear(&row);
  expect_reply(request(port, "PATCH", "/t/payer/v1/budget", "{\"credit\":\"0\"}", 14), 200, "");
  expect_put("/t/payer/v1/functions/one?gate=10", NUMBER_TOO("1"), 402, "balance is used up"); /* as without a gate */
}

static int send_put(const char *path, const char *text) {
  char head[256];
  struct buffer bytes = wat(text);
  int fd = dial(port);
  snprintf(head, sizeof head, "PUT %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", path, bytes.size);
  send_text(fd, head);
  send_all(fd, bytes.bytes, bytes.size);
  buffer_clear(&bytes);
  return fd;
}

static void make_tenant(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/v1/tenants/%s", name);
  assert_int_equal(status_of(port, "PUT", path), 201);
  snprintf(path, sizeof path, "/t/%s/v1/functions/f", name);
  expect_put(path, NUMBER("1"), 201, "");
  snprintf(path, sizeof path, "/t/%s/f/f", name);
  call_often(path, 5);
}

/* The status of one that is sent again and again until it is `wanted`: until then the gates before it have not begun yet. */
static void expect_soon(const char *path, const char *text, int wanted) {
  struct reply r = {0};
  for (int i = 0; i < 300 && r.status != wanted; i++) {
    reply_clear(&r);
    usleep(1000);
    r = put(path, text);
  }
  if (r.status != wanted) fail_msg("%s: %d %s", path, r.status, r.body);
  reply_clear(&r);
}

/* One of each tenant, so many of all: who waits for a gate does not wait for another's. A balance that a gate uses up ends it,
 * and so does the end of the server. */
static void test_several(void **state) {
  (void)state;
  make_tenant("a");
  make_tenant("b");
  make_tenant("c");
  int a = send_put("/t/a/v1/functions/f?gate=10", ENDLESS);
  expect_soon("/t/a/v1/functions/f?gate=1", NUMBER("1"), 409);
  expect_put("/t/c/v1/functions/f?gate=10", NUMBER("1"), 200, "\"run\":5,");
  int b = send_put("/t/b/v1/functions/f?gate=10", ENDLESS);
  expect_soon("/t/c/v1/functions/f?gate=1", NUMBER("1"), 503);
  expect_reply(request(port, "PATCH", "/t/a/v1/budget", "{\"credit\":\"0\"}", 14), 200, "");
  expect_reply(receive(a, true), 422, "used up the tenant's balance");
  time_t before = time(NULL);
  server_destroy(server);
  assert_true(time(NULL) - before < 10);
  close(a);
  close(b);
  struct server_options o = test_options(data_dir);
  server = start(&o);
  port = server_port(server);
}

/* Half of a core at most, also where nothing runs: here files have names, of which none has the index. Who sleeps gives its core
 * away. */
static void test_looking_gives_way(void **state) {
  (void)state;
  enum { FILES = 3000, CALLS = 300 };
  char path[256];
  struct rusage before, after;
  expect_put("/v1/functions/idle", NUMBER("1"), 201, "");
  call_often("/f/idle", CALLS);
  expect_put("/v1/functions/idle?gate=1", NUMBER("1"), 200, "\"run\":1,"); /* so that all is on disk */
  for (unsigned i = 1; i < FILES; i++) {
    snprintf(path, sizeof path, "%s/receipts/inputs/%016x.inputs", data_dir, i);
    unlink(path);
    snprintf(path, sizeof path, "%s/receipts/inputs/%016x-ffffffff-ffffffff.inputs", data_dir, i + FILES);
    close(open(path, O_CREAT | O_WRONLY, 0600));
  }
  assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
  expect_put("/v1/functions/idle?gate=1000", NUMBER("2"), 412, "has compared nothing: 300 invocations");
  assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
  assert_true(after.ru_nvcsw - before.ru_nvcsw > CALLS / 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_to_compare), cmocka_unit_test(test_what_differs),
      cmocka_unit_test(test_the_tenant_pays),    cmocka_unit_test(test_several),
      cmocka_unit_test(test_looking_gives_way), /* the server keeps no inputs behind it */
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
