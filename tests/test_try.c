/* POST /v1/run: modules that nobody deployed. What is kept of them (nothing), what they may use, and who sends what is none. */
#include "tests/http_client.h"

#include "server/api/parts.h"
#include "tests/bombs.h"

#include "base/digest.h"

enum { MAX_RUNS = 16 /* server/api/run.c */ };

#define LOG IMPORT("log", "(param i32 i32)")
#define READ IMPORT("request_body", "(param i32 i32 i32) (result i32)")
/* Replies with its input. */
#define WAT_ECHO                                                                   \
  "(module " REPLY READ "(memory (export \"memory\") 1) (func (export \"handle\")" \
  "(call $reply (i32.const 0) (call $request_body (i32.const 0) (i32.const 0) (i32.const 65536)))))"
#define WAT_SPIN "(module (func (export \"handle\") (loop $l (br $l))))"
#define WAT_LOG                                                                                                          \
  "(module " REPLY LOG "(memory (export \"memory\") 1) (data (i32.const 16) \"\\ff\\00word\") (func (export \"handle\")" \
  "(call $log (i32.const 16) (i32.const 6)) (call $reply (i32.const 16) (i32.const 6))))"
#define WAT_LOG_AND_TRAP                                                                                         \
  "(module " LOG "(memory (export \"memory\") 1) (data (i32.const 16) \"last words\") (func (export \"handle\")" \
  "(call $log (i32.const 16) (i32.const 10)) unreachable))"
#define WAT_GROW                                                                                               \
  "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 16) \"no yes\") (func (export \"handle\")" \
  "(if (i32.eq (memory.grow (i32.const 4)) (i32.const -1)) (then (call $reply (i32.const 16) (i32.const 2)))"  \
  "(else (call $reply (i32.const 19) (i32.const 3))))))"

static struct server *server;
static uint16_t port;
static char *data_dir;

static int set_up(void **state) {
  (void)state;
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  o.n_loops = 1;
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

/* --- asking ------------------------------------------------------------------------------------------------------- */

static void begin_part(struct buffer *b, const char *name) {
  buffer_format(b, "--x\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"f\"\r\nContent-Type: text/plain\r\n\r\n",
                name);
}

static void send_form(int fd, const char *path, const struct buffer *body) {
  char head[256];
  snprintf(head, sizeof head,
           "POST %s HTTP/1.1\r\nHost: t\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: %zu\r\n\r\n", path,
           body->size);
  send_text(fd, head);
  send_all(fd, body->bytes, body->size);
}

static struct reply ask_form(const char *path, const struct buffer *body) {
  int fd = dial(port);
  send_form(fd, path, body);
  struct reply r = receive(fd, true);
  close(fd);
  return r;
}

static struct reply run_form(const char *path, const char *text, const char *input) {
  struct buffer module = wat(text), body = {0};
  begin_part(&body, "module");
  buffer_append(&body, module.bytes, module.size);
  buffer_append_string(&body, "\r\n");
  begin_part(&body, "input");
  buffer_format(&body, "%s\r\n--x--\r\n", input);
  struct reply r = ask_form(path, &body);
  buffer_clear(&module);
  buffer_clear(&body);
  return r;
}

static struct reply run_bytes(const char *path, const char *text) {
  struct buffer module = wat(text);
  struct reply r = request(port, "POST", path, module.bytes, module.size);
  buffer_clear(&module);
  return r;
}

static void expect(struct reply r, int status, const char *part) {
  if (r.status != status || !strstr(r.body, part)) fail_msg("not %d with %s: %d %s", status, part, r.status, r.body);
  reply_clear(&r);
}

static void digest_of_text(const char *text, char out[DIGEST_HEX_SIZE]) {
  struct buffer module = wat(text);
  struct digest digest = digest_of(module.bytes, module.size);
  digest_print(&digest, out);
  buffer_clear(&module);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_forms(void **state) {
  char digest[DIGEST_HEX_SIZE], path[160], gas[32] = "", receipt[128] = "";
  (void)state;
  struct reply r = run_form("/v1/run", WAT_ECHO, "in and out");
  assert_true(header(&r, "gasworks-gas", gas, sizeof gas) && header(&r, "gasworks-receipt", receipt, sizeof receipt));
  expect(r, 200, "in and out");
  expect(run_form("/v1/run", WAT_ECHO, ""), 200, "");
  expect(run_bytes("/v1/run", WAT_HELLO), 200, "hello\n");
  digest_of_text(WAT_ECHO, digest);
  snprintf(path, sizeof path, "/v1/run?module=%s", digest);
  expect(request(port, "POST", path, "again", 5), 200, "again"); /* it has run a moment ago */
  digest_of_text(WAT_GROW, digest);
  snprintf(path, sizeof path, "/v1/run?module=%s", digest);
  expect(request(port, "POST", path, "", 0), 404, "no function of the tenant has a module with this digest");
}

static void test_deployed(void **state) {
  char digest[DIGEST_HEX_SIZE], path[160];
  struct buffer module = wat(WAT_ECHO " ;; deployed");
  (void)state;
  assert_int_equal(status_of(port, "PUT", "/v1/tenants/acme"), 201);
  struct reply r = request(port, "PUT", "/t/acme/v1/functions/echo?access=private", module.bytes, module.size);
  expect(r, 201, "");
  buffer_clear(&module);
  digest_of_text(WAT_ECHO, digest);
  snprintf(path, sizeof path, "/t/acme/v1/run?module=%s", digest);
  expect(request(port, "POST", path, "as deployed", 11), 200, "as deployed");
  assert_int_equal(status_of(port, "PUT", "/v1/tenants/other"), 201);
  snprintf(path, sizeof path, "/t/other/v1/run?module=%s", digest);
  expect(request(port, "POST", path, "", 0), 404, "no function of the tenant");
}

static void test_report(void **state) {
  (void)state;
  expect(run_form("/v1/run?as=json", WAT_ECHO, "a \\\"b\\\""), 200, "{\"status\":200,\"headers\":[],\"body\":\"a \\\\\\\"b");
  expect(run_bytes("/v1/run?as=json", WAT_LOG), 200, "\"body_base64\":\"/wB3b3Jk\",\"log\":\"\xef\xbf\xbd");
  expect(run_bytes("/v1/run", WAT_LOG_AND_TRAP), 500, "\"log\":\"last words");
  expect(run_bytes("/v1/run", WAT_LOG_AND_TRAP), 500, "\"function\":\"+run\",\"trap\":\"unreachable\",\"backtrace\":[\"0: ");
}

static void test_nothing_is_kept(void **state) {
  static const char COUNT[] = "(module " REPLY IMPORT("state_get", "(param i32 i32 i32 i32) (result i32)") IMPORT(
      "state_set", "(param i32 i32 i32 i32)") "(memory (export \"memory\") 1) (data (i32.const 16) \"k01\")"
                                              "(func (export \"handle\") (drop (call $state_get (i32.const 16) (i32.const 1) "
                                              "(i32.const 32) (i32.const 1)))"
                                              "(call $state_set (i32.const 16) (i32.const 1) (i32.const 18) (i32.const 1))"
                                              "(drop (call $state_get (i32.const 16) (i32.const 1) (i32.const 33) (i32.const 1)))"
                                              "(i32.store8 (i32.const 32) (i32.add (i32.load8_u (i32.const 32)) (i32.const 48)))"
                                              "(call $reply (i32.const 32) (i32.const 2))))";
  (void)state;
  for (int i = 0; i < 3; i++) expect(run_bytes("/v1/run", COUNT), 200, "01"); /* nothing before, then what it wrote itself */
  expect(request(port, "GET", "/v1/functions", NULL, 0), 200, "\"functions\":[],\"kept_state\":[]");
  expect(request(port, "GET", "/f/+run", NULL, 0), 404, "");
  expect(request(port, "GET", "/v1/functions/+run/logs", NULL, 0), 400, "");
}

static void test_limits(void **state) {
  (void)state;
  expect(run_bytes("/v1/run", WAT_SPIN), 402, "out of gas");
  expect(run_bytes("/v1/run?gas=10", WAT_HELLO), 402, "\"gas\":10");
  expect(run_bytes("/v1/run", WAT_GROW), 200, "yes");
  expect(run_bytes("/v1/run?memory=100000", WAT_GROW), 200, "no");
  expect(run_bytes("/v1/run?memory=1000", WAT_GROW), 422, "");
  expect(run_bytes("/v1/run?gas=100000001", WAT_HELLO), 400, "gas is at most 100000000 here");
  expect(run_bytes("/v1/run?gas=0", WAT_HELLO), 400, "gas is a whole number from 1 on");
  expect(run_bytes("/v1/run?gas=1e9", WAT_HELLO), 400, "gas is a whole number");
  expect(run_bytes("/v1/run?gas=99999999999999999999999", WAT_HELLO), 400, "gas is a whole number");
  expect(run_bytes("/v1/run?cpu_ms=", WAT_HELLO), 400, "cpu_ms is a whole number");
  expect(run_bytes("/v1/run?memory=9999999", WAT_HELLO), 400, "memory is at most");
  expect(run_bytes("/v1/run?as=xml", WAT_HELLO), 400, "the parameters of a run are");
  expect(run_bytes("/v1/run?module=00", WAT_HELLO), 400, "module is a digest");
}

static void test_no_modules(void **state) {
  (void)state;
  expect(request(port, "POST", "/v1/run", "", 0), 400, "curl -F module=@FILE.wasm");
  expect(request(port, "POST", "/v1/run", "(module)", 8), 400, "curl -F module=@FILE.wasm");
  expect(request(port, "POST", "/v1/run", "\0asm", 4), 400, "malformed module");
  expect(request(port, "POST", "/v1/run", "\0asm\1\0\0\0", 8), 422, "exports neither a function handle");
  expect(run_bytes("/v1/run", "(module (import \"a\" \"b\" (func)) (func (export \"handle\")))"), 422, "");
  expect(run_form("/v1/run", "(module (func $f unreachable) (start $f) (func (export \"handle\")))", ""), 500, "unreachable");
}

static void test_forms_that_are_none(void **state) {
  static const struct {
    const char *body, *why;
  } rows[] = {
      {"", "does not begin with its boundary"},
      {"--y\r\n", "does not begin with its boundary"},
      {"--x", "has no head with a name"},
      {"--x--", "the part module is missing"},
      {"--x\r\n", "has no head with a name"},
      {"--x\r\n\r\n", "has no head with a name"},
      {"--x\r\nContent-Disposition: form-data; name=module\r\n\r\n", "has no head with a name"},
      {"--x\r\nContent-Disposition: form-data; name=\"module\r\n\r\n", "has no head with a name"},
      {"--x\r\nContent-Disposition: form-data; name=\"module\"\r\n\r\n", "ends within a part"},
      {"--x\r\nContent-Disposition: form-data; name=\"module\"\r\n\r\n\r\n--x", "has no head with a name"},
      {"--x\r\nContent-Disposition: form-data; name=\"input\"\r\n\r\n\r\n--x--", "the part module is missing"},
      {"--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n\r\n--x--", "are module and input, each once"},
      {"--x\r\nContent-Disposition: form-data; name=\"input\"\r\n\r\n\r\n--x\r\nContent-Disposition: form-data; "
       "name=\"input\"\r\n\r\n\r\n--x--",
       "are module and input, each once"},
      {"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--x\r\nContent-Disposition: form-data; "
       "name=\"b\"\r\n\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n\r\n--x--",
       "more parts than are known here"},
      {"--x\r\nContent-Disposition: form-data; name=\"module\"\r\nContent-Type: a\tb\r\n\r\n\r\n--x--",
       "has no head with a name"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct buffer body = {0};
    buffer_append_string(&body, rows[i].body);
    expect(ask_form("/v1/run", &body), 400, rows[i].why);
    buffer_clear(&body);
  }
}

static void test_boundaries(void **state) {
  char out[PARTS_MAX_BOUNDARY + 1];
  (void)state;
  assert_true(parts_boundary("multipart/form-data; boundary=a-b", out) && strcmp(out, "a-b") == 0);
  assert_true(parts_boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a'b\"; x=y", out) && strcmp(out, "a'b") == 0);
  assert_false(parts_boundary(NULL, out));
  assert_false(parts_boundary("multipart/mixed; boundary=a", out));
  assert_false(parts_boundary("multipart/form-data", out));
  assert_false(parts_boundary("multipart/form-data; boundary=", out));
  assert_false(parts_boundary("multipart/form-data; boundary=\"a", out));
  assert_false(parts_boundary("multipart/form-data; boundary="
                              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                              out));
}

/* An endless module, each its own by a number in it. */
static int begin_endless(int n) {
  char text[128];
  snprintf(text, sizeof text, "(module (func (export \"handle\") (drop (i32.const %d)) (loop $l (br $l))))", n);
  struct buffer module = wat(text), head = {0};
  int fd = dial(port);
  buffer_format(&head, "POST /v1/run HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", module.size);
  buffer_append(&head, module.bytes, module.size);
  send_all(fd, head.bytes, head.size);
  buffer_clear(&head);
  buffer_clear(&module);
  return fd;
}

static bool is_full(void) {
  struct reply r = run_bytes("/v1/run", WAT_HELLO);
  char after[16] = "";
  bool is_it = r.status == 429 && header(&r, "retry-after", after, sizeof after);
  if (!is_it && r.status != 200) fail_msg("%d %s", r.status, r.body);
  reply_clear(&r);
  return is_it;
}

/* More distinct modules at once than may run: the rest are told to come again, nobody else waits, and who leaves makes room. */
static void test_many_at_once(void **state) {
  struct server *before = server;
  uint16_t port_before = port;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  int fds[MAX_RUNS];
  (void)state;
  o.n_loops = 1;
  o.gas_limit = (uint64_t)1 << 50;
  server = start(&o);
  port = server_port(server);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  for (int i = 0; i < MAX_RUNS; i++) fds[i] = begin_endless(i);
  while (!is_full()) continue; /* all of them are there */
  expect(call(port, "/f/hello"), 200, "hello\n");
  struct buffer module = wat(WAT_HELLO);
  assert_int_equal(status_of(port, "PUT", "/v1/tenants/acme"), 201);
  expect(request(port, "POST", "/t/acme/v1/run", module.bytes, module.size), 200, "hello\n"); /* another tenant's */
  buffer_clear(&module);
  for (int i = 0; i < MAX_RUNS; i++) close(fds[i]);
  while (is_full()) continue;
  for (int i = 0; i < 3 * MAX_RUNS; i++) close(begin_endless(100 + i)); /* who leaves before it runs */
  while (is_full()) continue;
  server_destroy(server);
  remove_data_dir(directory);
  server = before;
  port = port_before;
}

static void test_bombs(void **state) {
  (void)state;
  for (size_t i = 0; i < BOMBS; i++) {
    struct buffer text = bomb_text(i);
    expect(run_bytes("/v1/run", (const char *)text.bytes), 200, "hi"); /* it is not compiled */
    buffer_clear(&text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_is_kept),
      cmocka_unit_test(test_forms),
      cmocka_unit_test(test_deployed),
      cmocka_unit_test(test_report),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_no_modules),
      cmocka_unit_test(test_forms_that_are_none),
      cmocka_unit_test(test_boundaries),
      cmocka_unit_test(test_many_at_once),
      cmocka_unit_test(test_bombs),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
