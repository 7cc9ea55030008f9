/* Who may do what: every row of routes.def with every kind of wrong token, Host and Origin, from that table itself, so that a new
 * route without a sample fails; what is the same for who may not know; tokens over their life. */
#include "tests/http_client.h"

#include "server/access/access.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

enum { MAX_TEXT = 8192 };

static struct server *server;
static uint16_t port;
static char *data_dir;

/* --- asking ------------------------------------------------------------------------------------------------------- */

struct question {
  const char *method, *path, *token, *host, *origin, *body; /* NULL: none, or localhost */
  const void *bytes;
  size_t size;
};

static void send_question(int fd, const struct question *q) {
  char head[2048];
  size_t size = q->bytes ? q->size : q->body ? strlen(q->body) : 0;
  int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n", q->method, q->path,
                   q->host ? q->host : "localhost", size);
  if (q->token) n += snprintf(head + n, sizeof head - (size_t)n, "Authorization: Bearer %s\r\n", q->token);
  if (q->origin) n += snprintf(head + n, sizeof head - (size_t)n, "Origin: %s\r\n", q->origin);
  snprintf(head + n, sizeof head - (size_t)n, "\r\n");
  send_text(fd, head);
  /* who refuses at the head closes behind its reply, and sending more may fail */
  if (size) send(fd, q->bytes ? q->bytes : q->body, size, MSG_NOSIGNAL);
}

static struct reply ask_on(int fd, const struct question *q) {
  send_question(fd, q);
  return receive(fd, strcmp(q->method, "HEAD") != 0);
}

static struct reply ask(const struct question *q) {
  int fd = dial(port);
  struct reply r = ask_on(fd, q);
  close(fd);
  return r;
}

#define ASK(...) ask(&(struct question){__VA_ARGS__})

static int status(const struct question *q) {
  struct reply r = ask(q);
  int found = r.status;
  reply_clear(&r);
  return found;
}

#define STATUS(...) status(&(struct question){__VA_ARGS__})

/* All of a reply but its date. */
static void print_reply(const struct reply *r, char out[MAX_TEXT]) {
  const char *date = strstr(r->head, "Date: "), *behind = date ? strchr(date, '\n') + 1 : r->head;
  snprintf(out, MAX_TEXT, "%.*s%s%s", date ? (int)(date - r->head) : 0, r->head, behind, r->body);
}

static void text_of(const struct question *q, char out[MAX_TEXT]) {
  struct reply r = ask(q);
  print_reply(&r, out);
  reply_clear(&r);
}

/* A string member of a JSON reply. */
static void member(const struct reply *r, const char *name, char *out, size_t size) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\":\"", name);
  const char *at = r->body ? strstr(r->body, key) : NULL;
  if (!at) fail_msg("no %s in %s", name, r->body);
  at += strlen(key);
  snprintf(out, size, "%.*s", (int)strcspn(at, "\""), at);
}

/* --- tokens ------------------------------------------------------------------------------------------------------- */

struct made {
  char text[TOKEN_SIZE], id[TOKEN_ID_SIZE];
};

static char admin[TOKEN_SIZE];

static void read_admin_token(void) {
  char path[256];
  struct buffer file = {0};
  struct gw_error err = {0};
  struct stat s;
  snprintf(path, sizeof path, "%s/" ADMIN_TOKEN_FILE, data_dir);
  assert_int_equal(stat(path, &s), 0);
  assert_int_equal(s.st_mode & 0777, 0600);
  assert_true(buffer_read_file(&file, path, 4096, &err));
  snprintf(admin, sizeof admin, "%.*s", (int)file.size - 1, (const char *)file.bytes);
  buffer_clear(&file);
}

/* `where`: "" or "/t/TENANT"; `body`: what POST /v1/tokens wants. */
static struct made make(const char *where, const char *body) {
  char path[128];
  struct made made;
  snprintf(path, sizeof path, "%s/v1/tokens", where);
  struct reply r = ASK(.method = "POST", .path = path, .token = admin, .body = body);
  if (r.status != 201) fail_msg("POST %s %s: %d %s", path, body, r.status, r.body);
  member(&r, "token", made.text, sizeof made.text);
  member(&r, "id", made.id, sizeof made.id);
  reply_clear(&r);
  return made;
}

static void end_token(const struct made *token) {
  char path[128];
  snprintf(path, sizeof path, "/v1/tokens/%s", token->id);
  assert_int_equal(STATUS(.method = "DELETE", .path = path, .token = admin), 204);
}

static void deploy_as(const char *token, const char *path, const char *text, int expected) {
  struct buffer bytes = wat(text);
  struct reply r = ASK(.method = "PUT", .path = path, .token = token, .bytes = bytes.bytes, .size = bytes.size);
  if (r.status != expected) fail_msg("PUT %s: %d %s", path, r.status, r.body);
  reply_clear(&r);
  buffer_clear(&bytes);
}

/* --- the server --------------------------------------------------------------------------------------------------- */

static void begin(bool is_insecure) {
  struct server_options o = test_options(data_dir);
  o.is_insecure = is_insecure;
  o.hosts = NULL;
  o.n_hosts = 0;
  o.gas_limit = UINT64_C(1000000000000); /* what runs while something else happens ends when its client goes */
  server = start(&o);
  port = server_port(server);
  read_admin_token();
}

static int set_up(void **state) {
  (void)state;
  data_dir = make_data_dir();
  begin(false);
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/acme", .token = admin), 201);
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/other", .token = admin), 201);
  deploy_as(admin, "/v1/functions/hello", WAT_HELLO, 201);
  deploy_as(admin, "/t/acme/v1/functions/hello?access=private", WAT_HELLO, 201);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  server_destroy(server);
  remove_data_dir(data_dir);
  return 0;
}

/* --- every route -------------------------------------------------------------------------------------------------- */

enum who { WHO_ALL, WHO_CALLERS, WHO_TENANT, WHO_OPERATOR, WHO_SERVER };

static const struct route {
  const char *name, *methods, *path;
  enum who who;
  enum scope scope;
} routes[] = {
#define ROUTE(name, methods, path, who, scope, body, at) {#name, #methods, path, WHO_##who, SCOPE_##scope},
#include "server/api/routes.def"
#undef ROUTE
};

enum { N_ROUTES = sizeof routes / sizeof *routes };

/* What a route is tried with: in place of {}, what is there when it is refused (NULL: a token's id), and what is answered to who
 * may, in the order of the table. */
static const struct sample {
  const char *name, *there, *body;
  int expected;
} samples[] = {
    {"call", "hello", NULL, 200},
    {"list", "", NULL, 200},
    {"get", "hello", NULL, 200},
    {"put", "hello", "module", 200},
    {"configure", "hello", "{\"gas_limit\":1000000}", 200},
    {"logs", "hello", NULL, 200},
    {"profile", "hello", NULL, 200},
    {"receipts", "hello", NULL, 200},
    {"settings", "hello", NULL, 200},
    {"list_versions", "hello", NULL, 200},
    {"drop_version", "hello", NULL, 204}, /* which is no longer the live one */
    {"set_alias", "hello", "{\"version\":2}", 200},
    {"drop_alias", "hello", NULL, 204},
    {"delete", "hello", NULL, 204},
    {"lift", "hello", NULL, 404}, /* it is gone by now */
    {"drop_group", "hello", NULL, 404},
    {"receipt", "999999999", NULL, 404},
    {"usage", "", NULL, 200},
    {"budget", "", NULL, 200},
    {"set_budget", "", "{\"concurrency\":100}", 200},
    {"inputs", "999999999", NULL, 404},
    {"module", "999999999", NULL, 404},
    {"checkpoint", "", NULL, 200},
    {"log_keys", "", NULL, 200},
    {"tile", "", NULL, 404}, /* no tile is named */
    {"rotate_log", "", NULL, 200},
    {"list_tokens", "", NULL, 200},
    {"create_token", "", "{\"scopes\":[\"read\"]}", 201},
    {"rotate_token", NULL, NULL, 200},
    {"revoke_token", NULL, NULL, 204},
    {"list_tenants", "", NULL, 200},
    {"create_tenant", "other", NULL, 200},
    {"delete_tenant", "other", NULL, 204},
    {"run", "", "module", 200},
    {"mcp", "", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", 200},
    {"numbers", "", NULL, 200},
    {"metrics", "", NULL, 200},
    {"ui", "", NULL, 308}, /* to /ui/ */
    {"healthz", "", NULL, 200},
    {"readyz", "", NULL, 200},
};

static const struct sample *sample_of(const struct route *route) {
  for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
    if (strcmp(samples[i].name, route->name) == 0) return &samples[i];
  fail_msg("routes.def has a route %s that this test has no sample for", route->name);
  return NULL;
}

static struct made victim; /* a token of acme's that others try to change */
static struct buffer hello_module;

/* The question of a route about `subject`; its path is kept in `path`. */
static struct question question_of(const struct route *route, const char *where, const char *subject, char path[256]) {
  const struct sample *sample = sample_of(route);
  const char *hole = strstr(route->path, "{}"), *rest = strstr(route->path, "/...");
  size_t size = strlen(route->path) - (rest ? strlen(rest) : 0), before = hole ? (size_t)(hole - route->path) : size;
  const char *behind = hole ? hole + 2 : "", *second = strstr(behind, "{}");
  size_t left = second ? (size_t)(second - behind) : hole ? size - before - 2 : 0;
  snprintf(path, 256, "%s%.*s%s%.*s%s", where, (int)before, route->path, hole ? subject : "", (int)left, behind,
           !second                           ? ""
           : strstr(route->path, "versions") ? "1"
                                             : "beta");
  const char *method = strcmp(route->methods, "ANY") == 0 ? "GET" : route->methods;
  struct question q = {.method = method, .path = path, .body = sample->body};
  if (sample->body && strcmp(sample->body, "module") == 0)
    q.bytes = hello_module.bytes, q.size = hello_module.size, q.body = NULL;
  return q;
}

static const char *subject_of(const struct route *route) {
  const struct sample *sample = sample_of(route);
  return sample->there ? sample->there : victim.id;
}

/* Asks about what is there and about what is not: the answers must be the expected one and differ in nothing but the name that
 * the question had. */
static void expect_denied(const struct route *route, const char *where, struct question like, int expected, const char *what) {
  char path[256], there[MAX_TEXT], absent[MAX_TEXT], got[16];
  struct question q = question_of(route, where, subject_of(route), path);
  const char *subject = subject_of(route), *nobody = "zzzzzzzzzzzzzzz";
  q.token = like.token, q.host = like.host, q.origin = like.origin;
  text_of(&q, there);
  snprintf(got, sizeof got, "HTTP/1.1 %d", expected);
  if (strncmp(there, got, strlen(got)) != 0) fail_msg("%s %s with %s: not %d: %s", q.method, path, what, expected, there);
  if (!strstr(route->path, "{}")) return;
  char same_size[32];
  snprintf(same_size, sizeof same_size, "%.*s", (int)strlen(subject), nobody);
  struct question other = question_of(route, where, same_size, path);
  other.token = like.token, other.host = like.host, other.origin = like.origin;
  text_of(&other, absent);
  for (char *at = absent; (at = strstr(at, same_size));) memcpy(at, subject, strlen(subject));
  if (strcmp(there, absent) != 0)
    fail_msg("%s %s with %s tells whether it is there:\n%s\n%s", q.method, path, what, there, absent);
}

struct wrong {
  const char *what;
  const char *token;
};

enum { N_WRONG = 6 };

/* Tokens that are nobody's, each for another reason. */
static void make_wrong(struct wrong out[N_WRONG], char texts[N_WRONG][TOKEN_SIZE]) {
  struct made revoked = make("", "{\"scopes\":[\"admin\"]}"), rotated = make("/t/acme", "{\"scopes\":[\"admin\"]}");
  struct made expired = make("", "{\"scopes\":[\"admin\"],\"expires_in\":0.001}");
  char path[128];
  end_token(&revoked);
  snprintf(path, sizeof path, "/v1/tokens/%s/rotate", rotated.id);
  assert_int_equal(STATUS(.method = "POST", .path = path, .token = admin), 200);
  nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
  snprintf(texts[0], TOKEN_SIZE, "gw_000000000000_%s", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
  snprintf(texts[1], TOKEN_SIZE, "%s", admin);
  texts[1][strlen(admin) - 5] ^= 1;
  snprintf(texts[2], TOKEN_SIZE, "gw_");
  snprintf(texts[3], TOKEN_SIZE, "%s", revoked.text);
  snprintf(texts[4], TOKEN_SIZE, "%s", rotated.text);
  snprintf(texts[5], TOKEN_SIZE, "%s", expired.text);
  static const char *const whats[N_WRONG] = {
      "a wrong token",   "one letter wrong", "a token's beginning", "a revoked token", "a token before its rotation",
      "an expired token"};
  for (size_t i = 0; i < N_WRONG; i++) out[i] = (struct wrong){whats[i], texts[i]};
}

/* All scopes but admin and this one. */
static struct made make_without(const char *where, enum scope scope) {
  char body[128];
  snprintf(body, sizeof body, "{\"scopes\":[%s%s%s\"%s\"]}", scope == SCOPE_DEPLOY ? "" : "\"deploy\",",
           scope == SCOPE_INVOKE ? "" : "\"invoke\",", scope == SCOPE_READ ? "" : "\"read\",",
           scope == SCOPE_READ     ? "invoke"
           : scope == SCOPE_INVOKE ? "read"
                                   : "invoke");
  return make(where, body);
}

static void deny_tokens(const struct route *route, const char *where, const struct wrong *wrong, int expected, int for_none) {
  expect_denied(route, where, (struct question){.token = NULL}, for_none, "no token");
  for (size_t i = 0; i < N_WRONG; i++)
    expect_denied(route, where, (struct question){.token = wrong[i].token}, expected, wrong[i].what);
}

static void deny_pages(const struct route *route, const char *where) {
  static const char *const hosts[] = {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080"};
  static const char *const origins[] = {"http://evil.example", "null", "https://localhost.evil.example", "http://localhost:1"};
  for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
    expect_denied(route, where, (struct question){.token = admin, .host = hosts[i]}, 421, hosts[i]);
  for (size_t i = 0; i < sizeof origins / sizeof *origins; i++)
    expect_denied(route, where, (struct question){.token = admin, .origin = origins[i]}, 403, origins[i]);
}

static void deny_route(const struct route *route, const struct wrong *wrong, const struct made *other, const struct made *small) {
  switch (route->who) {
  case WHO_ALL: break;
  case WHO_CALLERS:
    deny_tokens(route, "/t/acme", wrong, 404, 404);
    expect_denied(route, "/t/acme", (struct question){.token = other->text}, 404, "another tenant's token");
    expect_denied(route, "/t/acme", (struct question){.token = small->text}, 404, "too small a scope");
    break;
  case WHO_TENANT:
    deny_tokens(route, "/t/acme", wrong, 401, 401);
    deny_tokens(route, "", wrong, 401, 401);
    expect_denied(route, "/t/acme", (struct question){.token = other->text}, 404, "another tenant's token");
    expect_denied(route, "/t/acme", (struct question){.token = small->text}, 403, "too small a scope");
    expect_denied(route, "", (struct question){.token = small->text}, 403, "too small a scope");
    deny_pages(route, "/t/acme");
    deny_pages(route, "");
    break;
  case WHO_OPERATOR:
    deny_tokens(route, "/t/acme", wrong, 401, 401);
    expect_denied(route, "/t/acme", (struct question){.token = other->text}, 403, "another tenant's token");
    expect_denied(route, "/t/acme", (struct question){.token = small->text}, 403, "too small a scope");
    expect_denied(route, "/t/other", (struct question){.token = other->text}, 403, "a tenant's token");
    deny_pages(route, "/t/acme");
    break;
  case WHO_SERVER:
    deny_tokens(route, "", wrong, 401, 401);
    expect_denied(route, "", (struct question){.token = other->text}, 403, "a tenant's token");
    expect_denied(route, "", (struct question){.token = small->text}, 403, "too small a scope");
    deny_pages(route, "");
    break;
  }
}

static void allow_route(const struct route *route) {
  const char *where = route->who == WHO_ALL || route->who == WHO_SERVER ? "" : "/t/acme";
  char path[256];
  struct question q = question_of(route, where, subject_of(route), path);
  q.token = route->who == WHO_ALL ? NULL : admin;
  struct reply r = ask(&q);
  if (r.status != sample_of(route)->expected) fail_msg("%s %s by who may: %d %s", q.method, path, r.status, r.body);
  reply_clear(&r);
}

static void test_routes(void **state) {
  struct wrong wrong[N_WRONG];
  char texts[N_WRONG][TOKEN_SIZE];
  (void)state;
  hello_module = wat(WAT_HELLO);
  victim = make("/t/acme", "{\"scopes\":[\"read\"],\"name\":\"victim\"}");
  struct made other = make("/t/other", "{\"scopes\":[\"admin\",\"deploy\",\"invoke\",\"read\"]}");
  make_wrong(wrong, texts);
  for (size_t i = 0; i < N_ROUTES; i++) {
    struct made small = make_without(routes[i].who == WHO_SERVER ? "" : "/t/acme", routes[i].scope);
    deny_route(&routes[i], wrong, &other, &small);
    end_token(&small);
  }
  for (size_t i = 0; i < N_ROUTES; i++) allow_route(&routes[i]); /* so nothing was changed by who may not */
  buffer_clear(&hello_module);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/tokens", .token = other.text), 401); /* it went with its tenant */
}

/* What is wrong with a token is told to nobody. */
static void test_same_answer(void **state) {
  struct wrong wrong[N_WRONG];
  char texts[N_WRONG][TOKEN_SIZE], first[MAX_TEXT], text[MAX_TEXT];
  (void)state;
  make_wrong(wrong, texts);
  text_of(&(struct question){.method = "GET", .path = "/v1/functions", .token = wrong[0].token}, first);
  for (size_t i = 1; i < N_WRONG; i++) {
    text_of(&(struct question){.method = "DELETE", .path = "/v1/tenants/acme", .token = wrong[i].token}, text);
    assert_string_equal(text, first);
  }
  assert_non_null(strstr(first, "\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\n"));
}

/* A tenant that is not there is as one that is another's. */
static void test_tenant_of_others(void **state) {
  (void)state;
  struct made token = make("/t/acme", "{\"scopes\":[\"admin\"]}");
  char there[MAX_TEXT], absent[MAX_TEXT];
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/third", .token = admin), 201);
  text_of(&(struct question){.method = "GET", .path = "/t/third/v1/functions", .token = token.text}, there);
  text_of(&(struct question){.method = "GET", .path = "/t/thirf/v1/functions", .token = token.text}, absent);
  *strstr(absent, "thirf") = 't', memcpy(strstr(absent, "thirf"), "third", 5);
  assert_string_equal(there, absent);
  assert_int_equal(STATUS(.method = "GET", .path = "/t/third/v1/functions", .token = admin), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/t/thirf/v1/functions", .token = admin), 404);
  assert_int_equal(STATUS(.method = "GET", .path = "/t/Upper/v1/functions", .token = admin), 404);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/third", .token = admin), 204);
}

/* --- tenants ------------------------------------------------------------------------------------------------------- */

static void expect_body(const char *path, const char *token, const char *expected) {
  struct reply r = ASK(.method = "GET", .path = path, .token = token);
  if (!r.body || !strstr(r.body, expected)) fail_msg("GET %s: no %s in %d %s", path, expected, r.status, r.body);
  reply_clear(&r);
}

#define WAT_COUNTER                                                                                                              \
  "(module " REPLY IMPORT("state_get", "(param i32 i32 i32 i32) (result i32)") IMPORT(                                           \
      "state_set", "(param i32 i32 i32 i32)") "(memory (export \"memory\") 1) (data (i32.const 0) \"n0\")"                       \
                                              "(func (export \"handle\")"                                                        \
                                              "  (if (i32.ne (call $state_get (i32.const 0) (i32.const 1) (i32.const 1) "        \
                                              "(i32.const 1)) (i32.const 1))"                                                    \
                                              "    (then (i32.store8 (i32.const 1) (i32.const 48))))"                            \
                                              "  (i32.store8 (i32.const 1) (i32.add (i32.load8_u (i32.const 1)) (i32.const 1)))" \
                                              "  (call $state_set (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1))"      \
                                              "  (call $reply (i32.const 1) (i32.const 1))))"

/* One name in two tenants is two functions, with a state each; and tenants see only their own. */
static void test_tenants_are_apart(void **state) {
  (void)state;
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/beta", .token = admin), 201);
  struct made acme = make("/t/acme", "{\"scopes\":[\"deploy\",\"read\"]}"),
              beta = make("/t/beta", "{\"scopes\":[\"deploy\",\"read\"]}");
  deploy_as(acme.text, "/v1/functions/count", WAT_COUNTER, 201);
  deploy_as(beta.text, "/v1/functions/count", WAT_COUNTER, 201);
  expect_body("/t/acme/f/count", NULL, "1");
  expect_body("/t/acme/f/count", NULL, "2");
  expect_body("/t/beta/f/count", NULL, "1");
  expect_body("/t/default/f/hello", NULL, "hello");
  assert_int_equal(STATUS(.method = "GET", .path = "/f/count"), 404);
  expect_body("/v1/functions", acme.text, "\"path\":\"/t/acme/f/count\"");
  expect_body("/v1/functions", beta.text, "{\"tenant\":\"beta\",\"functions\":[{\"name\":\"count\",\"version\":1,");
  struct reply r = ASK(.method = "GET", .path = "/v1/functions", .token = beta.text);
  assert_null(strstr(r.body, "acme"));
  reply_clear(&r);
  /* neither functions nor what they left may meet a later tenant of the name */
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/beta", .token = admin), 409);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/functions/count", .token = beta.text), 204);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/beta", .token = admin), 409);
  expect_body("/t/acme/f/count", NULL, "3");
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/functions/count?state=delete", .token = beta.text), 204);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/beta", .token = admin), 204);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/beta", .token = admin), 404);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/default", .token = admin), 409);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = beta.text), 401);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/functions/count?state=delete", .token = acme.text), 204);
}

/* --- functions ----------------------------------------------------------------------------------------------------- */

/* Private stays private until somebody says otherwise. */
static void test_private(void **state) {
  (void)state;
  struct made caller = make("/t/default", "{\"scopes\":[\"invoke\"]}");
  deploy_as(admin, "/v1/functions/own?access=private", WAT_HELLO, 201);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/own"), 404);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/own", .token = caller.text), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/own", .token = admin), 200);
  deploy_as(admin, "/v1/functions/own", WAT_HELLO, 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/own"), 404);
  expect_body("/v1/functions/own", admin, "\"access\":\"private\"");
  deploy_as(admin, "/v1/functions/own?access=public", WAT_HELLO, 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/own"), 200);
  deploy_as(admin, "/v1/functions/own?access=secret", WAT_HELLO, 400);
  deploy_as(admin, "/v1/functions/own?other=private", WAT_HELLO, 400);
  end_token(&caller);
}

/* A token may not be read by the function that is called with it. */
#define WAT_HEADERS                                                                                                              \
  "(module " REPLY IMPORT("request_header_name", "(param i32 i32 i32) (result i32)") IMPORT(                                     \
      "request_header_value", "(param i32 i32 i32) (result i32)") "(memory (export \"memory\") 1)"                               \
                                                                  "(func (export \"handle\") (local $i i32) (local $n i32)"      \
                                                                  "  (block $end (loop $next"                                    \
                                                                  "    (local.set $n (call $request_header_name (local.get $i) " \
                                                                  "(i32.const 0) (i32.const 4096)))"                             \
                                                                  "    (br_if $end (i32.lt_s (local.get $n) (i32.const 0)))"     \
                                                                  "    (call $reply (i32.const 0) (local.get $n))"               \
                                                                  "    (call $reply (i32.const 0) (call $request_header_value "  \
                                                                  "(local.get $i) (i32.const 0) (i32.const 4096)))"              \
                                                                  "    (local.set $i (i32.add (local.get $i) (i32.const 1)))"    \
                                                                  "    (br $next)))))"

static void test_token_is_hidden(void **state) {
  (void)state;
  char head[1024];
  deploy_as(admin, "/v1/functions/heads?access=private", WAT_HEADERS, 201);
  int fd = dial(port);
  snprintf(head, sizeof head,
           "GET /f/heads HTTP/1.1\r\nHost: t\r\nAuthorization: Basic its-own\r\nGasworks-Authorization: Bearer %s\r\n"
           "authorization: bearer %s\r\nX-Last: 1\r\n\r\n",
           admin, admin);
  send_text(fd, head);
  struct reply r = receive(fd, true);
  assert_int_equal(r.status, 200);
  assert_string_equal(r.body, "HosttAuthorizationBasic its-ownX-Last1");
  reply_clear(&r);
  close(fd);
}

#define WAT_TRAP "(module (func $inner (unreachable)) (func (export \"handle\") (call $inner)))"

static void test_backtrace_is_the_owners(void **state) {
  (void)state;
  struct made reader = make("/t/default", "{\"scopes\":[\"read\"]}"), caller = make("/t/default", "{\"scopes\":[\"invoke\"]}");
  const char *tokens[] = {NULL, caller.text, reader.text, admin};
  deploy_as(admin, "/v1/functions/trap", WAT_TRAP, 201);
  for (size_t i = 0; i < 4; i++) {
    struct reply r = ASK(.method = "GET", .path = "/f/trap", .token = tokens[i]);
    assert_int_equal(r.status, 500);
    assert_int_equal(strstr(r.body, "backtrace") != NULL, i >= 2);
    assert_int_equal(strstr(r.body, "at byte") != NULL, i >= 2);
    assert_non_null(strstr(r.body, "\"trap\":\"unreachable\""));
    reply_clear(&r);
  }
  deploy_as(admin, "/v1/functions/trap?backtraces=on", WAT_TRAP, 200);
  expect_body("/f/trap", NULL, "\"backtrace\":[");
}

/* --- tokens over their life ---------------------------------------------------------------------------------------- */

/* At the next request of a connection that has used it already. */
static void test_revoked_at_once(void **state) {
  (void)state;
  struct made token = make("/t/acme", "{\"scopes\":[\"read\"]}");
  struct question q = {.method = "GET", .path = "/v1/functions", .token = token.text};
  int fd = dial(port);
  for (int i = 0; i < 3; i++) {
    struct reply r = ask_on(fd, &q);
    assert_int_equal(r.status, i < 2 ? 200 : 401);
    reply_clear(&r);
    if (i == 1) end_token(&token);
  }
  close(fd);
}

/* A reader who waited for a function's log with a token that has ended meanwhile gets none of it. */
static void test_revoked_while_waiting(void **state) {
  (void)state;
  struct made token = make("/t/acme", "{\"scopes\":[\"read\"]}");
  struct question q = {.method = "GET", .path = "/v1/functions/talks/logs?wait=60", .token = token.text};
  deploy_as(admin, "/t/acme/v1/functions/talks",
            "(module (import \"gasworks\" \"log\" (func $log (param i32 i32))) (memory (export \"memory\") 1)"
            "(data (i32.const 0) \"tick\") (func (export \"handle\") (call $log (i32.const 0) (i32.const 4))))",
            201);
  int fd = dial(port);
  send_question(fd, &q);
  usleep(200000);
  end_token(&token);
  assert_int_equal(STATUS(.method = "GET", .path = "/t/acme/f/talks"), 200);
  struct reply r = receive(fd, true);
  assert_int_equal(r.status, 401);
  assert_null(strstr(r.body, "tick"));
  reply_clear(&r);
  close(fd);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/t/acme/v1/functions/talks", .token = admin), 204);
}

/* The old one is good for as long as the new one says, on a connection that remembers it, too. */
static void test_rotation(void **state) {
  (void)state;
  struct made token = make("", "{\"scopes\":[\"read\"]}");
  char path[128], fresh[TOKEN_SIZE];
  snprintf(path, sizeof path, "/v1/tokens/%s/rotate", token.id);
  struct reply r = ASK(.method = "POST", .path = path, .token = admin, .body = "{\"grace\":3600}");
  member(&r, "token", fresh, sizeof fresh);
  reply_clear(&r);
  assert_string_not_equal(fresh, token.text);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = fresh), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = token.text), 200);
  r = ASK(.method = "POST", .path = path, .token = admin, .body = "{\"grace\":0.001}");
  nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
  reply_clear(&r);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = fresh), 401);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = token.text), 401);
}

static void test_bad_requests(void **state) {
  static const char *const bodies[] = {"",
                                       "[]",
                                       "{",
                                       "{\"scopes\":[]}",
                                       "{\"scopes\":[\"root\"]}",
                                       "{\"scopes\":[1]}",
                                       "{\"scopes\":\"read\"}",
                                       "{\"scopes\":{\"x\":\"read\"}}",
                                       "{\"scopes\":[\"read\"],\"expires_in\":-1}",
                                       "{\"scopes\":[\"read\"],\"expires_in\":0}",
                                       "{\"scopes\":[\"read\"],\"expires_in\":0.0001}",
                                       "{\"scopes\":[\"read\"],\"name\":\"\\u001b]0;x\\u0007\"}",
                                       "{\"scopes\":[\"read\"],\"name\":\"a\\u0085\"}",
                                       "{\"scopes\":[\"read\"],\"expires_in\":\"1d\"}",
                                       "{\"scopes\":[\"read\"],\"expires_in\":1e300}",
                                       "{\"scopes\":[\"read\"],\"name\":7}",
                                       "{\"scopes\":[\"read\"],\"tenant\":\"acme\"}"};
  (void)state;
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    struct reply r = ASK(.method = "POST", .path = "/v1/tokens", .token = admin, .body = bodies[i]);
    if (r.status != 400) fail_msg("%s: %d", bodies[i], r.status);
    reply_clear(&r);
  }
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/Upper", .token = admin), 400);
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/a%2Fb", .token = admin), 400);
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/functions/a%2Fb", .token = admin), 400);
  assert_int_equal(STATUS(.method = "GET", .path = "/t/acme/healthz"), 404);
  assert_int_equal(STATUS(.method = "GET", .path = "/t//f/hello"), 404);
  assert_int_equal(STATUS(.method = "GET", .path = "/t/a%2Fb/f/hello"), 404);
  assert_int_equal(STATUS(.method = "PATCH", .path = "/v1/tokens"), 405);
}

/* Who may not deploy cannot make the server read a module first. */
static void test_body_is_not_read(void **state) {
  (void)state;
  int fd = dial(port);
  send_text(fd, "PUT /v1/functions/large HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n");
  struct reply r = receive(fd, true);
  assert_int_equal(r.status, 401);
  assert_non_null(strstr(r.head, "Connection: close"));
  reply_clear(&r);
  close(fd);
}

/* Whether some file below the data directory holds the text. */
static bool is_on_disk(const char *text) {
  char command[256];
  snprintf(command, sizeof command, "grep -rqaF --exclude=" ADMIN_TOKEN_FILE " -- '%s' %s", text, data_dir);
  return system(command) == 0;
}

/* Behind "gw_", the id and a '_'. The secret may have one, too, so that the last one says nothing. */
static const char *secret_of(const char *token) { return strchr(strchr(token, '_') + 1, '_') + 1; }

static void test_restart(void **state) {
  (void)state;
  struct made token = make("/t/acme", "{\"scopes\":[\"read\"],\"name\":\"after the restart\"}");
  char before[TOKEN_SIZE], path[256], aside[264];
  assert_true(is_on_disk("after the restart"));
  assert_false(is_on_disk(token.text));
  assert_true(strlen(secret_of(token.text)) >= 32 && strlen(secret_of(admin)) >= 32);
  assert_false(is_on_disk(secret_of(token.text)));
  assert_false(is_on_disk(secret_of(admin)));
  memcpy(before, admin, sizeof before);
  server_destroy(server);
  begin(false);
  assert_string_equal(admin, before);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = token.text), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/t/acme/v1/functions", .token = admin), 200);

  /* a file that is gone, damaged, for everybody to read, or none, is made again, for its owner only, and its token is another */
  snprintf(path, sizeof path, "%s/" ADMIN_TOKEN_FILE, data_dir);
  snprintf(aside, sizeof aside, "%s.tmp", path);
  for (int i = 0; i < 4; i++) {
    server_destroy(server);
    memcpy(before, admin, sizeof before);
    if (i == 0 || i == 3) assert_int_equal(unlink(path), 0);
    if (i == 1) assert_int_equal(truncate(path, 10), 0);
    if (i == 2) assert_int_equal(chmod(path, 0644), 0);
    if (i == 3) assert_int_equal(mkfifo(path, 0600), 0);
    int planted = open(aside, O_CREAT | O_WRONLY, 0666); /* by whom it would be read */
    assert_true(planted >= 0 && fchmod(planted, 0666) == 0);
    close(planted);
    begin(false);
    assert_string_not_equal(admin, before);
    assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = before), 401);
    assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = admin), 200);
  }

  /* its rotation writes the file, or does nothing */
  assert_int_equal(mkdir(aside, 0700), 0);
  assert_int_equal(STATUS(.method = "POST", .path = "/v1/tokens/" ADMIN_TOKEN_ID "/rotate", .token = admin), 500);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/tokens", .token = admin), 200);
  assert_int_equal(rmdir(aside), 0);
  memcpy(before, admin, sizeof before);
  assert_int_equal(STATUS(.method = "POST", .path = "/v1/tokens/" ADMIN_TOKEN_ID "/rotate", .token = admin), 200);
  read_admin_token();
  assert_string_not_equal(admin, before);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/tokens", .token = admin), 200);
}

/* One tenant's tokens are not without end; those that have expired make room. */
static void test_many_tokens(void **state) {
  static const char good[] = "{\"scopes\":[\"read\"]}", brief[] = "{\"scopes\":[\"read\"],\"expires_in\":0.001}";
  (void)state;
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/many", .token = admin), 201);
  for (int i = 0; i < ACCESS_MAX_TOKENS; i++)
    assert_int_equal(STATUS(.method = "POST", .path = "/t/many/v1/tokens", .token = admin, .body = i % 100 ? good : brief), 201);
  for (int i = 0; i < ACCESS_MAX_TOKENS / 100; i++)
    assert_int_equal(STATUS(.method = "POST", .path = "/t/many/v1/tokens", .token = admin, .body = good), 201);
  assert_int_equal(STATUS(.method = "POST", .path = "/t/many/v1/tokens", .token = admin, .body = good), 422);
  assert_int_equal(STATUS(.method = "POST", .path = "/t/acme/v1/tokens", .token = admin, .body = good), 201);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/many", .token = admin), 204);
}

/* What an invocation that is under way writes when its function and its tenant go is not the next tenant's. */
static void test_state_of_the_deleted(void **state) {
  static const char slow[] =
      "(module (import \"gasworks\" \"state_set\" (func $set (param i32 i32 i32 i32))) (memory (export \"memory\") 1)"
      "(func (export \"handle\") (local $i i32) (loop $l (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (local.get "
      "$i)))"
      "(local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 20000000))))"
      "(call $set (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 6))))";
  (void)state;
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/brief", .token = admin), 201);
  deploy_as(admin, "/t/brief/v1/functions/slow", slow, 201);
  int fd = dial(port);
  send_text(fd, "GET /t/brief/f/slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
  assert_int_equal(STATUS(.method = "DELETE", .path = "/t/brief/v1/functions/slow", .token = admin), 204);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/brief", .token = admin), 409);
  struct reply r = receive(fd, true);
  reply_clear(&r);
  close(fd);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/t/brief/v1/functions/slow?state=delete", .token = admin), 204);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/brief", .token = admin), 204);
}

/* --- a name that had another tenant -------------------------------------------------------------------------------- */

#define HEIR "{\"scopes\":[\"deploy\",\"read\",\"run\"]}"

/* Calls the function and returns the index of its receipt, which a checkpoint covers. */
static unsigned long long call_for_receipt(const char *path, const char *body) {
  char receipt[128], one[64];
  struct reply r = ASK(.method = "POST", .path = path, .body = body);
  assert_true(r.status == 200 && header(&r, "Gasworks-Receipt", receipt, sizeof receipt));
  reply_clear(&r);
  unsigned long long index = strtoull(strchr(receipt, '/') + 1, NULL, 10);
  snprintf(one, sizeof one, "/v1/receipts/%llu", index);
  for (int i = 0; i < 500; i++, usleep(10000)) {
    r = ASK(.method = "GET", .path = one, .token = admin);
    bool is_covered = r.status == 200 && strstr(r.body, "\"proof\"");
    reply_clear(&r);
    if (is_covered) return index;
  }
  fail_msg("receipt %llu is in no checkpoint", index);
  return 0;
}

/* Whether a word is in what GET answers. */
static bool answer_has(const char *path, const char *token, const char *word) {
  struct reply r = ASK(.method = "GET", .path = path, .token = token);
  assert_int_equal(r.status, 200);
  bool has = r.body && strstr(r.body, word);
  reply_clear(&r);
  return has;
}

static int get_part(unsigned long long index, const char *part, const char *token) {
  char path[64];
  snprintf(path, sizeof path, "/v1/receipts/%llu%s", index, part);
  return STATUS(.method = "GET", .path = path, .token = token);
}

static void run_once(const char *token) {
  struct buffer bytes = wat(WAT_HELLO);
  struct reply r = ASK(.method = "POST", .path = "/v1/run", .token = token, .bytes = bytes.bytes, .size = bytes.size);
  if (r.status != 200) fail_msg("POST /v1/run: %d %s", r.status, r.body);
  reply_clear(&r);
  buffer_clear(&bytes);
}

static const char *const parts[] = {"", "/inputs", "/module"};
enum { N_PARTS = sizeof parts / sizeof *parts };

/* What of the former is hidden from the heir, whether or not it has a function of the same name, and a server that knows so still
 * after its restart. */
static void expect_nothing_of(unsigned long long former, const char *heir, bool has_own) {
  for (int i = 0; i < N_PARTS; i++) assert_int_equal(get_part(former, parts[i], heir), 404);
  for (int i = 0; i < N_PARTS; i++) assert_int_not_equal(get_part(former, parts[i], admin), 404);
  if (!has_own) {
    assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions/left/receipts", .token = heir), 404);
    assert_true(answer_has("/v1/usage", heir, "\"rows\":[]"));
    assert_true(answer_has("/t/heir/v1/budget", admin, "\"requests\":0"));
  }
  assert_int_equal(STATUS(.method = "GET", .path = "/t/heir/v1/functions/left/receipts", .token = admin), has_own ? 200 : 404);
}

/* History goes by names: receipts, kept inputs, modules, usage, budgets, logs, the gate. Who gets the name of a tenant that was
 * deleted has none of that one's, not even on the same day; who runs the server still has all of it. */
static void test_heir(void **state) {
  static const char *const list = "/v1/functions/left/receipts";
  (void)state;
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/heir", .token = admin), 201);
  struct made first = make("/t/heir", HEIR);
  deploy_as(first.text, "/v1/functions/left", WAT_HELLO, 201);
  call_for_receipt("/t/heir/f/left", "secret one");
  unsigned long long former = call_for_receipt("/t/heir/f/left", "secret two");
  run_once(first.text);
  for (int i = 0; i < N_PARTS; i++) assert_int_equal(get_part(former, parts[i], first.text), 200);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/functions/left?state=delete", .token = first.text), 204);

  /* the same tenant sees what its deleted function did, also when it has another one of the name */
  assert_int_equal(get_part(former, "/inputs", first.text), 200);
  assert_true(answer_has(list, first.text, "\"version\":1"));
  deploy_as(first.text, "/v1/functions/left", WAT_HELLO, 201);
  unsigned long long again = call_for_receipt("/t/heir/f/left", "secret three");
  assert_int_equal(get_part(former, "/inputs", first.text), 200);
  assert_true(answer_has(list, first.text, "\"version\":1"));
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/functions/left?state=delete", .token = first.text), 204);

  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/heir", .token = admin), 204);
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/heir", .token = admin), 201);
  struct made second = make("/t/heir", HEIR);
  expect_nothing_of(former, second.text, false);
  expect_nothing_of(again, second.text, false);
  deploy_as(second.text, "/v1/functions/left", WAT_HELLO, 201);
  assert_int_equal(STATUS(.method = "GET", .path = list, .token = second.text), 404);
  assert_true(answer_has("/v1/functions/left", second.text, "\"requests\":0"));
  unsigned long long own = call_for_receipt("/t/heir/f/left", "mine");
  run_once(second.text);
  for (int restarts = 0; restarts < 2; restarts++) {
    expect_nothing_of(former, second.text, true);
    expect_nothing_of(again, second.text, true);
    for (int i = 0; i < N_PARTS; i++) assert_int_equal(get_part(own, parts[i], second.text), 200);
    assert_false(answer_has(list, second.text, "\"version\":2"));
    assert_true(answer_has(list, second.text, "\"version\":3"));
    assert_true(answer_has("/v1/usage?by=tenant", second.text, "\"requests\":2,"));
    assert_true(answer_has("/t/heir/v1/usage?by=function", admin, "\"function\":\"left\",\"gas\""));
    assert_true(answer_has("/v1/usage?by=tenant,function", admin, "\"function\":\"left\""));
    assert_true(answer_has("/v1/functions/left", second.text, "\"requests\":1,"));
    assert_true(answer_has("/t/heir/v1/budget", admin, "\"requests\":2"));
    if (restarts) break;
    server_destroy(server);
    begin(false);
  }
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/functions/left?state=delete", .token = second.text), 204);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/heir", .token = admin), 204);
}

/* An invocation that is under way when function and tenant go would end behind the heir's first: the name is given when it is
 * over. */
static void test_heir_waits(void **state) {
  static const char slow[] = "(module (memory (export \"memory\") 1) (func (export \"handle\") (loop $l (br $l))))";
  (void)state;
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/late", .token = admin), 201);
  deploy_as(admin, "/t/late/v1/functions/slow", slow, 201);
  int fd = dial(port), found = 0;
  send_text(fd, "GET /t/late/f/slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (int i = 0; i < 500 && !answer_has("/t/late/v1/budget", admin, "\"running\":1"); i++) usleep(1000);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/t/late/v1/functions/slow?state=delete", .token = admin), 204);
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/late", .token = admin), 204);
  assert_int_equal(STATUS(.method = "PUT", .path = "/v1/tenants/late", .token = admin), 409);
  close(fd); /* which cancels it */
  for (int i = 0; i < 500 && found != 201; i++, usleep(10000))
    found = STATUS(.method = "PUT", .path = "/v1/tenants/late", .token = admin);
  assert_int_equal(found, 201);
  assert_true(answer_has("/t/late/v1/budget", admin, "\"requests\":0"));
  assert_int_equal(STATUS(.method = "DELETE", .path = "/v1/tenants/late", .token = admin), 204);
}

/* Without tokens a web page of elsewhere still may do nothing. */
static void test_insecure(void **state) {
  (void)state;
  server_destroy(server);
  begin(true);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions"), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .token = "gw_wrong"), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/t/acme/v1/tokens"), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/own"), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .host = "evil.example"), 421);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .origin = "http://evil.example"), 403);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .host = "localhost:1234", .origin = "http://localhost:1234"),
                   200);
  deploy_as(NULL, "/v1/functions/closed?access=private", WAT_HELLO, 201);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/closed"), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/closed", .host = "evil.example"), 404);
  assert_int_equal(STATUS(.method = "GET", .path = "/f/closed", .origin = "http://evil.example"), 404);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .origin = "http://localhost\r\nOrigin: http://evil.example"),
                   403);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .host = "[::1]:80"), 200);
  assert_int_equal(STATUS(.method = "GET", .path = "/v1/functions", .host = "10.0.0.1:80"), 200);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_same_answer),
      cmocka_unit_test(test_tenant_of_others),
      cmocka_unit_test(test_tenants_are_apart),
      cmocka_unit_test(test_private),
      cmocka_unit_test(test_token_is_hidden),
      cmocka_unit_test(test_backtrace_is_the_owners),
      cmocka_unit_test(test_revoked_at_once),
      cmocka_unit_test(test_rotation),
      cmocka_unit_test(test_revoked_while_waiting),
      cmocka_unit_test(test_bad_requests),
      cmocka_unit_test(test_body_is_not_read),
      cmocka_unit_test(test_restart),
      cmocka_unit_test(test_routes),
      cmocka_unit_test(test_many_tokens),
      cmocka_unit_test(test_state_of_the_deleted),
      cmocka_unit_test(test_heir),
      cmocka_unit_test(test_heir_waits),
      cmocka_unit_test(test_insecure),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
