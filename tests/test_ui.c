/* The dashboard's files: that they come as they are, and what keeps pages of functions away from them. What they do in a browser:
 * tests/ui.js. */
#include "server/ui/ui.h"

#include "tests/http_client.h"

#include <cjson/cJSON.h>

static struct server *server;
static uint16_t port;
static char *data_dir;

static int set_up(void **state) {
  (void)state;
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  o.is_insecure = false; /* files need no token */
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

/* With one more header line. */
static struct reply get(const char *method, const char *path, const char *line) {
  char head[512];
  int fd = dial(port);
  snprintf(head, sizeof head, "%s %s HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n", method, path, line);
  send_text(fd, head);
  struct reply r = receive(fd, strcmp(method, "HEAD") != 0);
  close(fd);
  return r;
}

static void expect_header(const struct reply *r, const char *name, const char *part) {
  char value[1024];
  if (!header(r, name, value, sizeof value)) fail_msg("no %s", name);
  if (!strstr(value, part)) fail_msg("%s: %s", name, value);
}

static void test_every_file(void **state) {
  (void)state;
#define UI_FILE(symbol, name, type)                                                            \
  {                                                                                            \
    struct buffer file = {0};                                                                  \
    struct gw_error err = {0};                                                                 \
    struct reply r = call(port, "/ui/" name);                                                  \
    assert_true(buffer_read_file(&file, SOURCE_DIR "/server/ui/static/" name, 1 << 20, &err)); \
    assert_int_equal(r.status, 200);                                                           \
    assert_int_equal(r.size, file.size);                                                       \
    assert_memory_equal(r.body, file.bytes, file.size);                                        \
    expect_header(&r, "Content-Type", type);                                                   \
    reply_clear(&r);                                                                           \
    buffer_clear(&file);                                                                       \
  }
#define UI_MADE(symbol, name, type)
#include "server/ui/files.def"
#undef UI_FILE
#undef UI_MADE
}

/* The table of a leaf's fields, as the page has it. */
static void test_fields(void **state) {
  (void)state;
  struct reply r = call(port, "/ui/fields.js");
  const char *at = r.body;
  assert_int_equal(r.status, 200);
#define FIELD(key, name, kind, word) \
  if (!(at = strstr(at, "['" word "', '" #kind "'],"))) fail_msg("no " word);
#include "runtime/receipt/leaf.def"
#undef FIELD
  reply_clear(&r);
}

/* Everything in the folder is in the program, or the page would miss it. */
static void test_no_file_is_missing(void **state) {
  (void)state;
  FILE *list = popen("ls " SOURCE_DIR "/server/ui/static", "r");
  char name[128];
  int n = 0;
  assert_non_null(list);
  for (; fgets(name, sizeof name, list); n++) {
    name[strcspn(name, "\n")] = 0;
    if (!ui_find(name)) fail_msg("server/ui/files.def has no row of %s", name);
  }
  pclose(list);
  assert_true(n > 10);
}

static void test_page(void **state) {
  (void)state;
  struct reply page = call(port, "/ui/");
  assert_int_equal(page.status, 200);
  assert_non_null(strstr(page.body, "<script type=\"module\" src=\"app.js\">"));
  expect_header(&page, "Content-Security-Policy", "default-src 'none'; script-src 'self';");
  expect_header(&page, "Content-Security-Policy", "frame-ancestors 'none'");
  expect_header(&page, "Content-Security-Policy", "require-trusted-types-for 'script'");
  expect_header(&page, "Cross-Origin-Opener-Policy", "noopener-allow-popups");
  expect_header(&page, "X-Content-Type-Options", "nosniff");
  expect_header(&page, "Referrer-Policy", "no-referrer");
  expect_header(&page, "Cache-Control", "no-cache");
  reply_clear(&page);
  struct reply moved = call(port, "/ui");
  assert_int_equal(moved.status, 308);
  expect_header(&moved, "Location", "ui/");
  reply_clear(&moved);
  static const char *const nothing[] = {"/ui/nothing",       "/ui/app.js/", "/ui//app.js",   "/ui/..",
                                        "/ui/%2e%2e/app.js", "/uix",        "/t/default/ui/"};
  for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
    if (status_of(port, "GET", nothing[i]) != 404) fail_msg("%s is there", nothing[i]);
  assert_int_equal(status_of(port, "POST", "/ui/"), 405);
}

static void test_tags(void **state) {
  (void)state;
  char tag[128], line[256];
  struct reply r = call(port, "/ui/app.js");
  assert_true(header(&r, "ETag", tag, sizeof tag));
  reply_clear(&r);
  snprintf(line, sizeof line, "Host: t\r\nIf-None-Match: \"other\", W/%s", tag);
  r = get("GET", "/ui/app.js", line);
  assert_int_equal(r.status, 304);
  expect_header(&r, "ETag", tag);
  reply_clear(&r);
  r = get("GET", "/ui/style.css", line);
  assert_int_equal(r.status, 200);
  reply_clear(&r);
  r = get("HEAD", "/ui/app.js", "Host: t");
  assert_int_equal(r.status, 200);
  assert_int_equal(r.size, 0);
  reply_clear(&r);
}

/* A page of elsewhere whose name points here, and one that asks from elsewhere. */
static void test_strangers(void **state) {
  (void)state;
  struct reply r = get("GET", "/ui/", "Host: elsewhere.example");
  assert_int_equal(r.status, 421);
  reply_clear(&r);
  r = get("GET", "/ui/", "Host: t\r\nOrigin: http://elsewhere.example");
  assert_int_equal(r.status, 403);
  reply_clear(&r);
}

/* A worker of all paths would stand between the page and the server. */
static void test_no_worker_of_all_paths(void **state) {
  (void)state;
  char *data = make_data_dir(), value[64];
  struct server_options o = test_options(data);
  struct server *open = start(&o);
  assert_int_equal(deploy(server_port(open), "worker",
                          "(module " REPLY "(import \"gasworks\" \"reply_header\" (func $header (param i32 i32 i32 i32)))"
                          "(memory (export \"memory\") 1) (data (i32.const 0) \"Service-Worker-Allowed/X-Mine\")"
                          "(func (export \"handle\")"
                          "  (call $header (i32.const 0) (i32.const 22) (i32.const 22) (i32.const 1))"
                          "  (call $header (i32.const 23) (i32.const 6) (i32.const 22) (i32.const 1))"
                          "  (call $reply (i32.const 22) (i32.const 1))))"),
                   201);
  struct reply r = call(server_port(open), "/f/worker");
  assert_int_equal(r.status, 200);
  assert_true(header(&r, "X-Mine", value, sizeof value));
  assert_false(header(&r, "Service-Worker-Allowed", value, sizeof value));
  reply_clear(&r);
  static const struct {
    const char *path;
    int status;
  } scripts[] = {{"/f/worker", 403},           {"/f/worker?a=/", 403}, {"/f/%77orker", 403},   {"/f/worker@live", 403},
                 {"/t/default/f/worker", 403}, {"/f/worker/", 200},    {"/f/worker/a.js", 200}};
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) { /* its folder is whose requests it would see */
    char text[160];
    int fd = dial(server_port(open));
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nService-Worker: script\r\n\r\n", scripts[i].path);
    send_text(fd, text);
    r = receive(fd, true);
    close(fd);
    assert_int_equal(r.status, scripts[i].status);
    reply_clear(&r);
  }
  server_destroy(open);
  remove_data_dir(data);
}

/* --- docs/grafana.json ----------------------------------------------------------------------------------------------- */

static char *read_text(const char *path) {
  struct buffer file = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&file, path, 1 << 20, &err));
  buffer_append(&file, "", 1);
  return (char *)file.bytes;
}

/* Its queries name metrics that there are: docs/http.md has a row for each of them (test_first_tier.c). */
static void test_grafana(void **state) {
  (void)state;
  char *dashboard = read_text(SOURCE_DIR "/docs/grafana.json"), *page = read_text(SOURCE_DIR "/docs/http.md");
  int n = 0;
  for (const char *at = dashboard; (at = strstr(at, "gasworks_")); n++) {
    char row[128];
    size_t size = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
    if (size > 7 && memcmp(at + size - 7, "_bucket", 7) == 0) size -= 7;
    snprintf(row, sizeof row, "\n| `%.*s` |", (int)size, at);
    if (!strstr(page, row)) fail_msg("docs/http.md has no row of %s", row + 3);
    at += size;
  }
  assert_true(n > 30);
  cJSON *json = cJSON_Parse(dashboard);
  assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(json, "panels")) > 10);
  cJSON_Delete(json);
  free(dashboard);
  free(page);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_file), cmocka_unit_test(test_fields),
      cmocka_unit_test(test_grafana),    cmocka_unit_test(test_no_file_is_missing),
      cmocka_unit_test(test_page),       cmocka_unit_test(test_tags),
      cmocka_unit_test(test_strangers),  cmocka_unit_test(test_no_worker_of_all_paths),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
