/* State that functions share, and GETs that may only read it: over HTTP, over restarts, and at once. */
#include "tests/http_client.h"

#include "server/function/settings.h"

#include <pthread.h>
#include <stdatomic.h>

static struct server *server;
static uint16_t port;
static char *data_dir;

static int begin(void **state) {
  (void)state;
  if (!data_dir) data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  server = start(&o);
  port = server_port(server);
  return 0;
}

static int end(void **state) {
  (void)state;
  server_destroy(server);
  remove_data_dir(data_dir);
  data_dir = NULL;
  return 0;
}

static void restart(void) {
  server_destroy(server);
  begin(NULL);
}

/* --- functions and requests --------------------------------------------------------------------------------------- */

#define STATE                                                 \
  IMPORT("state_get", "(param i32 i32 i32 i32) (result i32)") \
  IMPORT("state_set", "(param i32 i32 i32 i32)")              \
  REPLY "(memory (export \"memory\") 1)"                      \
        "(data (i32.const 0) \"n\")"                          \
        "(data (i32.const 8) \"00000000\")"                   \
        "(func $read (drop (call $state_get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8))))"
#define SHOW "(call $reply (i32.const 8) (i32.const 8))"
/* Counts in a decimal number of eight digits, which it replies. */
#define WAT_COUNT                                                                                                  \
  "(module " STATE "(func (export \"handle\") (local $i i32) (call $read) (local.set $i (i32.const 15))"           \
  "(block $end (loop $carry"                                                                                       \
  "(i32.store8 (local.get $i) (i32.add (i32.load8_u (local.get $i)) (i32.const 1)))"                               \
  "(br_if $end (i32.le_u (i32.load8_u (local.get $i)) (i32.const 57)))"                                            \
  "(i32.store8 (local.get $i) (i32.const 48)) (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br $carry)))" \
  "(call $state_set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8))" SHOW "))"
#define WAT_READ "(module " STATE "(func (export \"handle\") (call $read) " SHOW "))"

static int put(const char *path, const char *text) {
  struct buffer bytes = wat(text);
  struct reply r = request(port, "PUT", path, bytes.bytes, bytes.size);
  int status = r.status;
  if (status >= 300) print_message("%s: %s\n", path, r.body);
  reply_clear(&r);
  buffer_clear(&bytes);
  return status;
}

static int change(const char *path, const char *body) {
  struct reply r = request(port, "PATCH", path, body, strlen(body));
  int status = r.status;
  reply_clear(&r);
  return status;
}

/* The number that a function replies, or minus the status. */
static int number(const char *method, const char *path) {
  struct reply r = request(port, method, path, NULL, 0);
  int n = r.status == 200 ? atoi(r.body) : -r.status;
  reply_clear(&r);
  return n;
}

static int count(const char *path) { return number("POST", path); }
static int value(const char *path) { return number("GET", path); }

static void expect_words(const char *path, const char *words, bool are_there) {
  struct reply r = call(port, path);
  assert_int_equal(r.status, 200);
  if (!strstr(r.body, words) == are_there) fail_msg("%s in %s", words, r.body);
  reply_clear(&r);
}

static void deploy_three(void) {
  assert_int_equal(put("/v1/functions/a?state_group=g", WAT_COUNT), 201);
  assert_int_equal(put("/v1/functions/b?state_group=g", WAT_READ), 201);
  assert_int_equal(put("/v1/functions/c", WAT_READ), 201);
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

static void test_group_shares(void **state) {
  (void)state;
  deploy_three();
  assert_int_equal(count("/f/a"), 1);
  assert_int_equal(count("/f/a"), 2);
  assert_int_equal(value("/f/b"), 2);
  assert_int_equal(value("/f/c"), 0);
  expect_words("/v1/functions/a", "\"state_group\":\"g\"", true);
  expect_words("/v1/functions", "\"state_groups\":[{\"name\":\"g\",\"members\":[\"a\",\"b\"]}]", true);
  assert_int_equal(put("/v1/functions/a", WAT_COUNT " "), 200); /* a setting, which stays */
  assert_int_equal(count("/f/a"), 3);
  restart();
  assert_int_equal(value("/f/b"), 3);
  assert_int_equal(count("/f/a"), 4);
}

/* Nothing moves: a group's state is the group's, and a function's own is there again when it leaves. */
static void test_join_and_leave(void **state) {
  (void)state;
  deploy_three();
  assert_int_equal(put("/v1/functions/a?state_group=", WAT_COUNT), 200);
  for (int i = 1; i <= 5; i++) assert_int_equal(count("/f/a"), i);
  assert_int_equal(change("/v1/functions/a", "{\"state_group\":\"g\"}"), 200);
  assert_int_equal(count("/f/a"), 1);
  assert_int_equal(change("/v1/functions/c", "{\"state_group\":\"g\"}"), 200);
  assert_int_equal(value("/f/c"), 1);
  assert_int_equal(change("/v1/functions/a", "{\"state_group\":null}"), 200);
  assert_int_equal(count("/f/a"), 6);
  assert_int_equal(value("/f/b"), 1);
  static const char previous[] = "{\"version\":\"previous\"}";
  struct reply r = request(port, "PUT", "/v1/functions/a/aliases/live", previous, sizeof previous - 1);
  assert_int_equal(r.status, 200);
  reply_clear(&r);
  assert_int_equal(count("/f/a"), 2); /* a version has it as every setting */
  assert_int_equal(change("/v1/functions/b", "{\"state_group\":\"h\"}"), 200);
  assert_int_equal(value("/f/b"), 0);
  assert_int_equal(status_of(port, "PUT", "/v1/functions/a?state_group=no/group"), 400);
  assert_int_equal(change("/v1/functions/b", "{\"state_group\":\"no/group\"}"), 400);
}

/* What others share is never lost by a deletion; with the last one it goes if that is asked for. */
static void test_deletion(void **state) {
  (void)state;
  deploy_three();
  assert_int_equal(count("/f/a"), 1);
  assert_int_equal(status_of(port, "DELETE", "/v1/groups/g"), 409);
  assert_int_equal(status_of(port, "DELETE", "/v1/groups/none"), 404);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/a?state=delete"), 204);
  assert_int_equal(value("/f/b"), 1);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/b"), 204);
  expect_words("/v1/functions", "\"state_groups\":[{\"name\":\"g\",\"members\":[]}]", true);
  restart();
  assert_int_equal(put("/v1/functions/b?state_group=g", WAT_READ), 201);
  assert_int_equal(value("/f/b"), 1);
  assert_int_equal(change("/v1/functions/b", "{\"state_group\":null}"), 200);
  assert_int_equal(status_of(port, "DELETE", "/v1/groups/g"), 409); /* the version before is in it */
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/b?state=delete"), 204);
  expect_words("/v1/functions", "\"state_groups\":[]", true);
  assert_int_equal(put("/v1/functions/a?state_group=g", WAT_COUNT), 201);
  assert_int_equal(count("/f/a"), 1);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/a"), 204);
  assert_int_equal(status_of(port, "DELETE", "/v1/groups/g"), 204);
  assert_int_equal(status_of(port, "DELETE", "/v1/groups/g"), 404);
  assert_int_equal(put("/v1/functions/a?state_group=g", WAT_COUNT), 201);
  assert_int_equal(count("/f/a"), 1);
}

/* Another tenant's group of the same name is another one. */
static void test_tenants(void **state) {
  (void)state;
  struct settings_key key = {{1}};
  struct gw_error err = {0};
  cJSON *patch = cJSON_Parse("{\"state_group\":\"g\"}");
  struct settings *ours = settings_patch("f", NULL, patch, &key, &err),
                  *theirs = settings_patch("acme/f", NULL, patch, &key, &err);
  assert_string_equal(ours->space, "g#group");
  assert_string_equal(theirs->space, "acme/g#group");
  settings_release(ours);
  settings_release(theirs);
  cJSON_Delete(patch);
  deploy_three();
  assert_int_equal(count("/f/a"), 1);
  assert_int_equal(status_of(port, "PUT", "/v1/tenants/acme"), 201);
  assert_int_equal(put("/t/acme/v1/functions/a?state_group=g", WAT_COUNT), 201);
  assert_int_equal(count("/t/acme/f/a"), 1);
  assert_int_equal(count("/t/acme/f/a"), 2);
  assert_int_equal(value("/f/b"), 1);
  expect_words("/t/acme/v1/functions", "\"state_groups\":[{\"name\":\"g\",\"members\":[\"a\"]}]", true);
  assert_int_equal(status_of(port, "DELETE", "/t/acme/v1/functions/a"), 204);
  assert_int_equal(status_of(port, "DELETE", "/v1/tenants/acme"), 409);
  assert_int_equal(status_of(port, "DELETE", "/t/acme/v1/functions/a?state=delete"), 204);
  assert_int_equal(status_of(port, "DELETE", "/v1/tenants/acme"), 409); /* the group is still there */
  assert_int_equal(status_of(port, "DELETE", "/t/acme/v1/groups/g"), 204);
  assert_int_equal(status_of(port, "DELETE", "/v1/tenants/acme"), 204);
  assert_int_equal(value("/f/b"), 1);
}

enum { N_CLIENTS = 8, N_EACH = 25 };

static atomic_int n_replied[N_CLIENTS * N_EACH + 1];

static void *keep_counting(void *arg) {
  for (int i = 0; i < N_EACH; i++) {
    int n = count(arg);
    if (n <= 0 || n > N_CLIENTS * N_EACH) return arg;
    n_replied[n]++;
  }
  return NULL;
}

/* Conflicts are between members, too: no count is lost, and no reply tells of one that was not stored. */
static void test_members_at_once(void **state) {
  (void)state;
  static char *const paths[] = {"/f/a", "/f/d"};
  pthread_t threads[N_CLIENTS];
  deploy_three();
  assert_int_equal(put("/v1/functions/d?state_group=g", WAT_COUNT), 201);
  for (int i = 0; i < N_CLIENTS; i++) assert_int_equal(pthread_create(&threads[i], NULL, keep_counting, paths[i % 2]), 0);
  for (int i = 0; i < N_CLIENTS; i++) {
    void *failed;
    pthread_join(threads[i], &failed);
    assert_null(failed);
  }
  for (int n = 1; n <= N_CLIENTS * N_EACH; n++) assert_int_equal(n_replied[n], 1);
  assert_int_equal(value("/f/b"), N_CLIENTS * N_EACH);
}

/* --- GETs that only read ------------------------------------------------------------------------------------------ */

static void test_read_only_get(void **state) {
  (void)state;
  assert_int_equal(put("/v1/functions/a?read_only_get=on", WAT_COUNT), 201);
  expect_words("/v1/functions/a", "\"read_only_get\":true", true);
  assert_int_equal(count("/f/a"), 1);
  struct reply r = call(port, "/f/a");
  assert_int_equal(r.status, 500);
  assert_non_null(strstr(r.body, "this invocation may only read state (read_only_get)"));
  reply_clear(&r);
  r = request(port, "HEAD", "/f/a", NULL, 0);
  assert_int_equal(r.status, 500);
  reply_clear(&r);
  assert_int_equal(count("/f/a"), 2);
  restart();
  assert_int_equal(value("/f/a"), -500);
  assert_int_equal(change("/v1/functions/a", "{\"read_only_get\":false}"), 200);
  expect_words("/v1/functions/a", "read_only_get", false);
  assert_int_equal(value("/f/a"), 3);
  assert_int_equal(status_of(port, "PUT", "/v1/functions/a?read_only_get=yes"), 400);
  assert_int_equal(put("/v1/functions/b?read_only_get=on", WAT_READ), 201);
  assert_int_equal(value("/f/b"), 0);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(test_group_shares), TEST(test_join_and_leave),  TEST(test_deletion),
      TEST(test_tenants),      TEST(test_members_at_once), TEST(test_read_only_get),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
