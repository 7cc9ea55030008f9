/* Profiles of calls: all gas is put down to somebody, as much as a call uses, and nothing that a profile writes stays. */
#include "tests/http_client.h"
#include "tests/wat.h"

static struct server *server;
static uint16_t port;
static char *data_dir;

static const char WORK[] = "(module " REPLY IMPORT("state_set", "(param i32 i32 i32 i32)") IMPORT(
    "state_get",
    "(param i32 i32 i32 i32) (result i32)") "(memory (export \"memory\") 1) (data (i32.const 16) \"key\")"
                                            "(func $spin (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) "
                                            "(i32.const 1))))))"
                                            "(func $down (param i32) (result i32)"
                                            "  (if (result i32) (local.get 0) (then (i32.add (call $down (i32.sub (local.get 0) "
                                            "(i32.const 1))) (i32.const 1)))"
                                            "    (else (call $spin (i32.const 50)) (i32.const 0))))"
                                            "(func $last (param i32) (call $spin (local.get 0)))"
                                            "(func $tail (param i32) (return_call $last (local.get 0)))"
                                            "(func (export \"handle\") (call $spin (i32.const 1000)) (drop (call $down "
                                            "(i32.const 20))) (call $tail (i32.const 300))"
                                            "  (i32.store8 (i32.const 40) (i32.add (i32.const 48) (i32.ne (call $state_get "
                                            "(i32.const 16) (i32.const 3) (i32.const 64) (i32.const 8)) (i32.const -1))))"
                                            "  (call $state_set (i32.const 16) (i32.const 3) (i32.const 16) (i32.const 3))"
                                            "  (call $reply (i32.const 40) (i32.const 1))))";

static int set_up(void **state) {
  (void)state;
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
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

static double number(const struct reply *r, const char *name) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\":", name);
  const char *at = strstr(r->body, key);
  if (!at) fail_msg("no %s in %s", name, r->body);
  return strtod(at + strlen(key), NULL);
}

/* What stands behind the folded stack, which is a line of its own. */
static double of_stack(const struct reply *r, const char *stack) {
  char line[256];
  snprintf(line, sizeof line, "\\n%s ", stack);
  const char *at = strstr(r->body, line);
  if (!at) fail_msg("no %s in %s", stack, r->body);
  return strtod(at + strlen(line), NULL);
}

static double sum_of_stacks(const struct reply *r) {
  double sum = 0;
  const char *at = strstr(r->body, "\"folded\":\"");
  assert_non_null(at);
  for (at += strlen("\"folded\":\""); *at != '"';) {
    const char *end = strstr(at, "\\n"), *space = end;
    assert_non_null(end);
    while (space[-1] != ' ') space--;
    sum += strtod(space, NULL);
    at = end + 2;
  }
  return sum;
}

static void test_all_gas(void **state) {
  (void)state;
  struct buffer bytes = wat_bytes(WORK);
  char gas[32];
  assert_int_equal(deploy_bytes(port, "work", bytes.bytes, bytes.size), 201);
  buffer_clear(&bytes);
  struct reply profile = call(port, "/v1/functions/work/profile/a"), profile2 = call(port, "/v1/functions/work/profile/a");
  struct reply real = call(port, "/f/work/a");
  assert_int_equal(profile.status, 200);
  assert_int_equal(number(&profile, "status"), 200);
  assert_string_equal(profile.body, profile2.body); /* exact, not sampled */
  assert_true(header(&real, "Gasworks-Gas", gas, sizeof gas));
  assert_int_equal(number(&profile, "gas"), strtol(gas, NULL, 10));
  assert_int_equal(sum_of_stacks(&profile), number(&profile, "gas"));
  assert_string_equal(real.body, "0"); /* the profiles wrote nothing */
  double spin = of_stack(&profile, "handle;spin");
  assert_true(spin > 1000 && spin < 20000);
  assert_true(of_stack(&profile, "handle;down") > of_stack(&profile, "handle;down;spin"));
  assert_true(of_stack(&profile, "handle;last;spin") > 300); /* the tail call took its caller's place */
  reply_clear(&profile);
  reply_clear(&profile2);
  reply_clear(&real);
}

static void test_receipt(void **state) {
  (void)state;
  struct reply r = call(port, "/v1/functions/work/profile");
  char id[160];
  assert_int_equal(r.status, 200);
  assert_false(header(&r, "Gasworks-Gas", id, sizeof id));
  reply_clear(&r);
  r = call(port, "/v1/functions/work/receipts?limit=1");
  assert_non_null(strstr(r.body, "\"outcome\":\"cancelled\""));
  reply_clear(&r);
}

static void test_ends(void **state) {
  (void)state;
  assert_int_equal(deploy(port, "trap", "(module (func (export \"handle\") unreachable))"), 201);
  struct reply r = call(port, "/v1/functions/trap/profile/");
  assert_int_equal(r.status, 200);
  assert_non_null(strstr(r.body, "\"trap\":\"unreachable"));
  reply_clear(&r);
  assert_int_equal(deploy(port, "endless", "(module (func (export \"handle\") (loop (br 0))))"), 201);
  r = call(port, "/v1/functions/endless/profile/");
  assert_non_null(strstr(r.body, "\"trap\":\"out of gas"));
  assert_int_equal(sum_of_stacks(&r), number(&r, "gas"));
  reply_clear(&r);
  assert_int_equal(status_of(port, "GET", "/v1/functions/nobody/profile/"), 404);
  assert_int_equal(status_of(port, "GET", "/v1/functions/trap/profile/%zz"), 400);
}

/* Each call deeper is a way of its own with a line as long as it is deep: what a module of 300 bytes makes of that is bounded,
 * and no gas is lost. */
static void test_deep(void **state) {
  (void)state;
  enum { LONG = 90, MOST_TEXT = 4 << 20, NUMBERS = 1 << 20 };
  char one[LONG + 1], other[LONG + 1], text[1024];
  memset(one, 'a', LONG);
  memset(other, 'b', LONG);
  one[LONG] = other[LONG] = 0;
  snprintf(
      text, sizeof text,
      "(module (memory (export \"memory\") 1) (func $%s (param i32) (if (local.get 0) (then (call $%s (i32.sub (local.get 0) "
      "(i32.const 1)))))) (func $%s (param i32) (if (local.get 0) (then (call $%s (i32.sub (local.get 0) (i32.const 1))))))"
      "(func (export \"handle\") (call $%s (i32.const 2000))))",
      one, other, other, one, one);
  struct buffer bytes = wat_bytes(text);
  assert_int_equal(deploy_bytes(port, "deep", bytes.bytes, bytes.size), 201);
  buffer_clear(&bytes);
  struct reply r = call(port, "/v1/functions/deep/profile");
  assert_int_equal(r.status, 200);
  assert_true(strlen(r.body) < MOST_TEXT + NUMBERS);
  assert_int_equal(sum_of_stacks(&r), number(&r, "gas"));
  reply_clear(&r);
}

/* Who goes away while it is made. */
static void test_cancelled(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    int fd = dial(port);
    send_text(fd, "GET /v1/functions/endless/profile/ HTTP/1.1\r\nHost: t\r\n\r\n");
    usleep(20000);
    close(fd);
  }
  for (int tries = 0;; tries++) { /* none of them is counted as under way any more */
    struct reply r = call(port, "/v1/functions/work/profile/");
    int status = r.status;
    reply_clear(&r);
    if (status == 200) break;
    assert_true(status == 503 && tries < 1000);
    usleep(20000);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_gas), cmocka_unit_test(test_receipt), cmocka_unit_test(test_ends),
                                     cmocka_unit_test(test_deep), cmocka_unit_test(test_cancelled)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
