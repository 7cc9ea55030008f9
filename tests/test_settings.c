/* Settings of versions: patches, secrets and their key, and what invocations make of them. */
#define _GNU_SOURCE /* memmem */
#include "tests/http_client.h"

#include "server/function/settings.h"

#include <fcntl.h>
#include <sys/stat.h>

/* --- alone -------------------------------------------------------------------------------------------------------- */

static const struct settings_key key = {{1, 2, 3}}, other_key = {{1, 2, 4}};

/* NULL: it is refused. */
static struct settings *patch(const struct settings *old, const char *text, struct gw_error *err) {
  cJSON *json = cJSON_Parse(text);
  if (!json) fail_msg("%s is no JSON", text);
  struct settings *s = settings_patch("f", old, json, &key, err);
  cJSON_Delete(json);
  return s;
}

static struct settings *apply(struct settings *old, const char *text) {
  struct gw_error err = {0};
  struct settings *s = patch(old, text, &err);
  if (!s) fail_msg("%s: %s", text, err.message);
  settings_release(old);
  return s;
}

static bool has_env(const struct settings *s, const char *text) {
  for (size_t i = 0; s->env[i]; i++)
    if (strcmp(s->env[i], text) == 0) return true;
  return false;
}

static void test_patch(void **state) {
  (void)state;
  struct settings *s = apply(NULL, "{\"env\":{\"A\":\"1\",\"B\":\"2\"},\"gas_limit\":7,\"headers\":{\"X-A\":\"y\"}}");
  assert_true(has_env(s, "A=1") && has_env(s, "B=2") && s->gas_limit == 7);
  s = apply(s, "{\"env\":{\"A\":null,\"C\":\"a=b\"},\"secrets\":{\"S\":\"hush\"},\"headers\":{\"x-a\":\"z\"}}");
  assert_true(!has_env(s, "A=1") && has_env(s, "B=2") && has_env(s, "C=a=b") && has_env(s, "S=hush"));
  assert_int_equal(s->headers.size, strlen("x-a: z\r\n"));
  s = apply(s, "{\"secrets\":{\"S\":\"other\"},\"gas_limit\":null,\"max_running\":3}");
  assert_true(has_env(s, "S=other") && !s->gas_limit && s->max_running == 3);
  s = apply(s, "{\"secrets\":null,\"env\":null}");
  assert_null(s->env[0]);
  settings_release(s);
}

static void test_bad_patches(void **state) {
  (void)state;
  static const char *const bad[] = {
      "{\"x\":1}",
      "{\"env\":[]}",
      "{\"env\":{\"A\":1}}",
      "{\"env\":{\"\":\"1\"}}",
      "{\"env\":{\"1A\":\"1\"}}",
      "{\"env\":{\"A=B\":\"1\"}}",
      "{\"env\":{\"HTTP_HOST\":\"1\"}}",
      "{\"env\":{\"REQUEST_METHOD\":\"GET\"}}",
      "{\"secrets\":{\"QUERY_STRING\":\"1\"}}",
      "{\"env\":{\"A\":\"1\"},\"secrets\":{\"A\":\"1\"}}",
      "{\"headers\":{\"A B\":\"1\"}}",
      "{\"headers\":{\"A\":\"1\\r\\nB: 2\"}}",
      "{\"headers\":{\"Content-Length\":\"1\"}}",
      "{\"headers\":{\"Gasworks-Gas\":\"1\"}}",
      "{\"gas_limit\":0}",
      "{\"gas_limit\":-1}",
      "{\"gas_limit\":1.5}",
      "{\"gas_limit\":\"1\"}",
      "{\"cpu_ms\":4294967296}",
      "{\"deadline_ms\":0}",
      "{\"tier\":\"auto\"}",
      "{\"tier\":1}",
      "{\"state_group\":1}",
      "{\"state_group\":\"\"}",
      "{\"state_group\":\"other/g\"}",
      "{\"state_group\":\"A\"}",
      "{\"state_group\":[]}",
      "{\"read_only_get\":1}",
      "{\"read_only_get\":\"on\"}",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct gw_error err = {0};
    if (patch(NULL, bad[i], &err)) fail_msg("%s is taken", bad[i]);
    assert_int_equal(err.code, GW_ERROR_REQUEST);
  }
  struct gw_error err = {0};
  char large[SETTINGS_MAX_BYTES + 64], many[4096] = "{\"env\":{\"A0\":\"\"";
  int n = snprintf(large, sizeof large, "{\"env\":{\"A\":\"");
  memset(large + n, 'x', SETTINGS_MAX_BYTES);
  memcpy(large + n + SETTINGS_MAX_BYTES, "\"}}", 4);
  assert_null(patch(NULL, large, &err));
  assert_int_equal(err.code, GW_ERROR_LIMIT);
  for (int i = 1; i <= SETTINGS_MAX_VARIABLES; i++) snprintf(many + strlen(many), 16, ",\"A%d\":\"\"", i);
  memcpy(many + strlen(many), "}}", 3);
  err = (struct gw_error){0};
  assert_null(patch(NULL, many, &err));
  assert_int_equal(err.code, GW_ERROR_LIMIT);
}

/* A secret is nowhere in the record, and is read with its key, as that function's and under that name only. */
static void test_secrets(void **state) {
  (void)state;
  struct settings *s = apply(NULL, "{\"secrets\":{\"S\":\"hush-hush\"}}"), *again;
  struct gw_error err = {0};
  char *record = cJSON_PrintUnformatted(s->record), *shown;
  assert_null(strstr(record, "hush"));
  cJSON *json = settings_json(s);
  shown = cJSON_PrintUnformatted(json);
  assert_string_equal(shown, "{\"secrets\":[\"S\"]}");
  assert_true(settings_parse("f", s->record, &key, &again, &err) && has_env(again, "S=hush-hush"));
  settings_release(again);
  assert_false(settings_parse("f", s->record, &other_key, &again, &err));
  settings_release(again);
  err = (struct gw_error){0};
  assert_false(settings_parse("g", s->record, &key, &again, &err));
  assert_non_null(again->record); /* it is still there when its key comes back */
  settings_release(again);
  char *at = strstr(record, "\"S\"");
  at[1] = 'T';
  cJSON *renamed = cJSON_Parse(record);
  err = (struct gw_error){0};
  assert_false(settings_parse("f", renamed, &key, &again, &err));
  settings_release(again);
  cJSON_Delete(renamed);
  cJSON_Delete(json);
  cJSON_free(record);
  cJSON_free(shown);
  settings_release(s);
}

/* Every bit of a stored secret counts. */
static void test_changed_secrets(void **state) {
  (void)state;
  struct settings *s = apply(NULL, "{\"secrets\":{\"S\":\"x\"}}"), *again;
  cJSON *item = cJSON_GetObjectItem(cJSON_GetObjectItem(s->record, "secrets"), "S");
  for (size_t i = 0; item->valuestring[i]; i++) {
    struct gw_error err = {0};
    char before = item->valuestring[i];
    item->valuestring[i] = before == 'A' ? 'B' : 'A';
    bool ok = settings_parse("f", s->record, &key, &again, &err);
    if (ok && item->valuestring[i + 1] && item->valuestring[i + 1] != '=') fail_msg("character %zu does not count", i);
    settings_release(again);
    item->valuestring[i] = before;
  }
  settings_release(s);
}

static void test_key(void **state) {
  (void)state;
  char *directory = make_data_dir(), path[256];
  struct settings_key first, second;
  struct gw_error err = {0};
  struct stat s;
  snprintf(path, sizeof path, "%s/secret-key", directory);
  assert_true(settings_open_key(directory, &first, &err) && settings_open_key(directory, &second, &err));
  assert_memory_equal(&first, &second, sizeof first);
  assert_int_equal(stat(path, &s), 0);
  assert_int_equal(s.st_mode & 0777, 0600);
  assert_int_equal(chmod(path, 0640), 0);
  assert_false(settings_open_key(directory, &second, &err));
  err = (struct gw_error){0};
  assert_int_equal(chmod(path, 0600) | truncate(path, 31), 0);
  assert_false(settings_open_key(directory, &second, &err));
  assert_non_null(strstr(err.message, "is damaged"));
  remove_data_dir(directory);
}

/* --- on a server -------------------------------------------------------------------------------------------------- */

static struct server *server;
static uint16_t port;
static char *data_dir;

static int begin(void **state) {
  (void)state;
  if (!data_dir) data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  if (state && *state) o.gas_limit = UINT64_MAX; /* the name of a test that needs time */
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

static int change(const char *path, const char *body) {
  struct reply r = request(port, "PATCH", path, body, strlen(body));
  int status = r.status;
  if (status >= 300) print_message("%s: %s\n", body, r.body);
  reply_clear(&r);
  return status;
}

/* Replies its environment, as it lies in memory. */
#define WAT_ENV                                                                                                           \
  "(module " REPLY "(import \"wasi_snapshot_preview1\" \"environ_sizes_get\" (func $sizes (param i32 i32) (result i32)))" \
  "(import \"wasi_snapshot_preview1\" \"environ_get\" (func $get (param i32 i32) (result i32)))"                          \
  "(memory (export \"memory\") 2) (func (export \"handle\") (drop (call $sizes (i32.const 0) (i32.const 4)))"             \
  "(drop (call $get (i32.const 8) (i32.const 4096))) (call $reply (i32.const 4096) (i32.load (i32.const 4)))))"

static bool body_has(const char *path, const char *words) {
  struct reply r = call(port, path);
  bool has = r.status == 200 && memmem(r.body, r.size, words, strlen(words));
  reply_clear(&r);
  return has;
}

static void test_environment(void **state) {
  (void)state;
  char path[256];
  assert_int_equal(deploy(port, "f", WAT_ENV), 201);
  assert_int_equal(change("/v1/functions/f", "{\"env\":{\"PLACE\":\"here\"},\"secrets\":{\"KEY\":\"hush\"}}"), 200);
  assert_true(body_has("/f/f", "PLACE=here") && body_has("/f/f", "KEY=hush"));
  assert_false(body_has("/v1/functions/f", "hush"));
  assert_true(body_has("/v1/functions/f", "\"secrets\":[\"KEY\"]"));
  assert_true(body_has("/v1/functions/f", "\"version\":2,"));
  assert_int_equal(deploy(port, "f", WAT_ENV " "), 200); /* which keeps them */
  server_destroy(server);
  begin(NULL);
  assert_true(body_has("/f/f", "PLACE=here") && body_has("/f/f", "KEY=hush"));
  assert_int_equal(change("/v1/functions/f?alias=beta", "{\"env\":{\"PLACE\":\"there\"}}"), 200);
  assert_true(body_has("/f/f", "PLACE=here") && body_has("/f/f@beta", "PLACE=there"));
  assert_int_equal(change("/v1/functions/f?alias=beta", "{\"env\":{\"MORE\":\"x\"}}"), 200);
  assert_true(body_has("/f/f@beta", "PLACE=there") && body_has("/f/f@beta", "MORE=x"));
  /* without its key the function says so, and setting the secret again heals it */
  snprintf(path, sizeof path, "%s/secret-key", data_dir);
  server_destroy(server);
  assert_int_equal(unlink(path), 0);
  begin(NULL);
  assert_int_equal(status_of(port, "GET", "/f/f"), 500);
  assert_int_equal(deploy(port, "f", WAT_ENV "  "), 500); /* it would run without its secret */
  assert_int_equal(status_of(port, "GET", "/f/f"), 500);
  assert_int_equal(change("/v1/functions/f", "{\"env\":{\"PLACE\":\"there\"}}"), 500);
  assert_int_equal(change("/v1/functions/f", "{\"secrets\":{\"KEY\":\"new\"}}"), 200);
  assert_true(body_has("/f/f", "PLACE=here") && body_has("/f/f", "KEY=new"));
}

/* 255 times as much gas as one round of the loop. */
#define WAT_LOOP                                                                             \
  "(module " REPLY "(memory (export \"memory\") 1) (func (export \"handle\") (local $i i32)" \
  "(loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000))))))"

#define WAT_GROW                                                                             \
  "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 0) \"noyes\")"           \
  "(func (export \"handle\") (call $reply (i32.const 0) (select (i32.const 2) (i32.const 5)" \
  "(i32.eq (memory.grow (i32.const 4)) (i32.const -1))))))"

static void test_limits(void **state) {
  (void)state;
  assert_int_equal(deploy(port, "loop", WAT_LOOP), 201);
  assert_int_equal(status_of(port, "GET", "/f/loop"), 200);
  assert_int_equal(change("/v1/functions/loop", "{\"gas_limit\":1000}"), 200);
  assert_int_equal(status_of(port, "GET", "/f/loop"), 402);
  assert_int_equal(change("/v1/functions/loop", "{\"gas_limit\":1000000000000}"), 200); /* the server's is less, and enough */
  assert_int_equal(status_of(port, "GET", "/f/loop"), 200);
  assert_int_equal(deploy(port, "grow", WAT_GROW), 201);
  assert_true(body_has("/f/grow", "noyes"));
  assert_int_equal(change("/v1/functions/grow", "{\"max_memory\":131072}"), 200);
  assert_false(body_has("/f/grow", "noyes"));
  assert_true(body_has("/f/grow", "no"));
  assert_int_equal(change("/v1/functions/grow", "{\"max_memory\":1024}"), 422); /* it could never run */
  assert_true(body_has("/f/grow", "no"));
}

static void test_max_running(void **state) {
  (void)state;
  enum { N = 12 };
  static const char endless[] = "(module " REPLY "(memory (export \"memory\") 1) (func (export \"handle\") (loop $l (br $l))))";
  int fds[N], refused = 0;
  assert_int_equal(deploy(port, "f", endless), 201);
  assert_int_equal(change("/v1/functions/f", "{\"max_running\":3}"), 200);
  for (int i = 0; i < N; i++) send_text(fds[i] = dial(port), "GET /f/f HTTP/1.1\r\nHost: t\r\n\r\n");
  for (int i = 0; i < N; i++) {
    struct reply r = receive(fds[i], true);
    assert_true(r.status == 503 || r.status == 402);
    refused += r.status == 503;
    reply_clear(&r);
    close(fds[i]);
  }
  assert_in_range(refused, 1, N - 3);
  assert_int_equal(status_of(port, "GET", "/f/f"), 402); /* and their places are free again */
}

/* Whatever runs or waits for its turn at the deadline gets 504, and its writes are not there; what answers before does not. */
static void test_deadline(void **state) {
  (void)state;
  static const char waits[] = "(module " REPLY IMPORT("request_body_size", "(result i32)")
      IMPORT("state_set",
             "(param i32 i32 i32 i32)") "(memory (export \"memory\") 1) (data (i32.const 0) \"key\") (func (export \"handle\")"
                                        "(call $state_set (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 3))"
                                        "(if (call $request_body_size) (then (loop $l (br $l))))"
                                        "(call $reply (i32.const 0) (i32.const 3))))";
  enum { N = 3 };
  int fds[N];
  assert_int_equal(deploy(port, "f", waits), 201);
  assert_int_equal(change("/v1/functions/f", "{\"deadline_ms\":300}"), 200);
  assert_true(body_has("/f/f", "key"));
  for (int i = 0; i < N; i++) send_text(fds[i] = dial(port), "POST /f/f HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx");
  for (int i = 0; i < N; i++) {
    struct reply r = receive(fds[i], true);
    assert_int_equal(r.status, 504);
    assert_non_null(strstr(r.body, "the function did not answer within its deadline of 300 ms"));
    reply_clear(&r);
    close(fds[i]);
  }
  assert_true(body_has("/f/f", "key"));
  assert_int_equal(change("/v1/functions/f", "{\"deadline_ms\":null}"), 200);
  assert_true(body_has("/f/f", "key"));
}

static bool has_tier(const char *tier) {
  struct reply r = call(port, "/v1/functions/f");
  char words[40];
  snprintf(words, sizeof words, "\"tier\":\"%s\"", tier);
  cJSON *json = cJSON_Parse(r.body);
  char *text = cJSON_PrintUnformatted(json);
  bool has = text && strstr(text, words);
  cJSON_free(text);
  cJSON_Delete(json);
  reply_clear(&r);
  return has;
}

static void test_tier(void **state) {
  (void)state;
  assert_int_equal(deploy(port, "f", WAT_HELLO), 201);
  static const char *const tiers[] = {"precise", "baseline", "fast"};
  for (int i = 0; i < 3; i++) {
    char patch[40];
    snprintf(patch, sizeof patch, "{\"tier\":\"%s\"}", tiers[i]);
    assert_int_equal(change("/v1/functions/f", patch), 200);
    assert_true(has_tier(tiers[i]));
    assert_int_equal(deploy(port, "f", WAT_HELLO " "), 200); /* which keeps it */
    assert_true(has_tier(tiers[i]));
    assert_int_equal(status_of(port, "GET", "/f/f"), 200);
  }
}

static void test_headers(void **state) {
  (void)state;
  char value[64];
  assert_int_equal(deploy(port, "f", WAT_HELLO), 201);
  assert_int_equal(change("/v1/functions/f", "{\"headers\":{\"X-Place\":\"here\",\"Content-Type\":\"text/x-hello\"}}"), 200);
  struct reply r = call(port, "/f/f");
  assert_true(header(&r, "x-place", value, sizeof value));
  assert_string_equal(value, "here");
  assert_true(header(&r, "content-type", value, sizeof value));
  assert_string_equal(value, "text/x-hello");
  reply_clear(&r);
  static const char own[] = "(module " REPLY IMPORT(
      "reply_header", "(param i32 i32 i32 i32)") "(memory (export \"memory\") 1)"
                                                 "(data (i32.const 0) \"x-placethere\") (func (export \"handle\")"
                                                 "(call $reply_header (i32.const 0) (i32.const 7) (i32.const 7) (i32.const 5)) "
                                                 "(call $reply (i32.const 0) (i32.const 1))))";
  assert_int_equal(deploy(port, "f", own), 200);
  r = call(port, "/f/f");
  assert_true(header(&r, "x-place", value, sizeof value));
  assert_string_equal(value, "there");
  assert_null(strcasestr(strcasestr(r.head, "x-place") + 1, "x-place"));
  reply_clear(&r);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)
#define TEST_WITH_TIME(function) cmocka_unit_test_prestate_setup_teardown(function, begin, end, #function)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_patch),
      cmocka_unit_test(test_bad_patches),
      cmocka_unit_test(test_secrets),
      cmocka_unit_test(test_changed_secrets),
      cmocka_unit_test(test_key),
      TEST(test_environment),
      TEST(test_limits),
      TEST(test_max_running),
      TEST_WITH_TIME(test_deadline),
      TEST(test_tier),
      TEST(test_headers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
