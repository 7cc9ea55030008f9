/* Versions of a function and the aliases that lead to them: over HTTP, over restarts, under load, and from records of before. */
#include "tests/http_client.h"

#include "base/digest.h"
#include "runtime/state/state.h"
#include "server/function/entry.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

static struct server *server;
static uint16_t port;
static char *data_dir;

static void begin(uint32_t keep) {
  struct server_options o = test_options(data_dir);
  if (keep) o.keep_versions = keep;
  server = start(&o);
  port = server_port(server);
}

static void restart(void) {
  server_destroy(server);
  begin(0);
}

static int set_up(void **state) {
  (void)state;
  data_dir = make_data_dir();
  begin(0);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  server_destroy(server);
  remove_data_dir(data_dir);
  return 0;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* A function that replies one letter. */
static struct buffer letter(char c) {
  char text[512];
  snprintf(text, sizeof text,
           "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 16) \"%c\")"
           "(func (export \"handle\") (call $reply (i32.const 16) (i32.const 1))))",
           c);
  return wat(text);
}

static struct reply ask(const char *method, const char *path, const char *header_line, const void *body, size_t size) {
  char head[512];
  int fd = dial(port);
  snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n%s\r\n", method, path, size, header_line);
  send_text(fd, head);
  if (size) send_all(fd, body, size);
  struct reply r = receive(fd, true);
  close(fd);
  return r;
}

/* The status; `words`, if not NULL, must be in the body. */
static int answer(struct reply r, const char *words) {
  int status = r.status;
  if (words && !strstr(r.body, words)) fail_msg("no %s in %s", words, r.body);
  reply_clear(&r);
  return status;
}

static int put(const char *path, char c, const char *header_line) {
  struct buffer bytes = letter(c);
  int status = answer(ask("PUT", path, header_line, bytes.bytes, bytes.size), NULL);
  buffer_clear(&bytes);
  return status;
}

static int lead(const char *path, const char *body) { return answer(ask("PUT", path, "", body, strlen(body)), NULL); }

/* What is called replies this letter; 0: another status than 200. */
static char called(const char *path) {
  struct reply r = call(port, path);
  char c = r.status == 200 && r.size == 1 ? r.body[0] : 0;
  reply_clear(&r);
  return c;
}

static void expect_view(const char *path, const char *words) { assert_int_equal(answer(call(port, path), words), 200); }

static void deploy_abc(void) {
  assert_int_equal(put("/v1/functions/f", 'a', ""), 201);
  assert_int_equal(put("/v1/functions/f", 'b', ""), 200);
  assert_int_equal(put("/v1/functions/f", 'c', ""), 200);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_rollback(void **state) {
  (void)state;
  deploy_abc();
  assert_int_equal(called("/f/f"), 'c');
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":\"previous\"}"), 200);
  for (int i = 0; i < 10; i++) assert_int_equal(called("/f/f"), 'b'); /* on every loop */
  expect_view("/v1/functions/f", "\"version\":2,");
  expect_view("/v1/functions/f", "\"previous\":3,");
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":\"previous\"}"), 200);
  assert_int_equal(called("/f/f"), 'c');
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":1}"), 200);
  restart();
  assert_int_equal(called("/f/f"), 'a');
  expect_view("/v1/functions/f", "\"previous\":3,");
  assert_int_equal(put("/v1/functions/f", 'd', ""), 200);
  expect_view("/v1/functions/f", "\"version\":4,");
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":9}"), 404);
  assert_int_equal(lead("/v1/functions/g/aliases/live", "{\"version\":1}"), 404);
  assert_int_equal(called("/f/f"), 'd');
}

static void test_aliases(void **state) {
  (void)state;
  deploy_abc();
  assert_int_equal(lead("/v1/functions/f/aliases/beta", "{\"version\":2}"), 200);
  assert_int_equal(called("/f/f@beta"), 'b');
  assert_int_equal(called("/f/f%40beta/x?y"), 'b');
  assert_int_equal(called("/f/f@live"), 'c');
  assert_int_equal(called("/f/f@1"), 'a');
  assert_int_equal(called("/f/f@4"), 0);
  assert_int_equal(status_of(port, "GET", "/f/f@gamma"), 404);
  assert_int_equal(status_of(port, "GET", "/f/f@"), 404);
  assert_int_equal(status_of(port, "GET", "/f/@beta"), 404);
  assert_int_equal(status_of(port, "GET", "/f/f@beta@beta"), 404);
  assert_int_equal(put("/v1/functions/f?alias=beta", 'd', ""), 200);
  assert_int_equal(called("/f/f@beta"), 'd');
  assert_int_equal(called("/f/f"), 'c');
  assert_int_equal(put("/v1/functions/g?alias=beta", 'g', ""), 201);
  assert_int_equal(called("/f/g"), 'g'); /* the first version is live, too */
  restart();
  assert_int_equal(called("/f/f@beta"), 'd');
  expect_view("/v1/functions/f/versions", "{\"alias\":\"beta\",\"version\":4}");
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f/versions/4"), 409);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f/aliases/beta"), 204);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f/aliases/beta"), 404);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f/aliases/live"), 409);
  assert_int_equal(called("/f/f@beta"), 0);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f/versions/4"), 204);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f/versions/4"), 404);
  assert_int_equal(put("/v1/functions/f", 'e', ""), 200);
  expect_view("/v1/functions/f", "\"version\":5,"); /* no number comes twice */
}

static void test_bad_aliases(void **state) {
  (void)state;
  static const char *const bodies[] = {"",
                                       "[]",
                                       "{}",
                                       "{\"version\":0}",
                                       "{\"version\":1.5}",
                                       "{\"version\":\"1\"}",
                                       "{\"version\":1e300}",
                                       "{\"version\":1,\"canary\":2}",
                                       "{\"version\":1,\"percent\":5}",
                                       "{\"version\":1,\"canary\":2,\"percent\":0}",
                                       "{\"version\":1,\"canary\":2,\"percent\":100}",
                                       "{\"version\":1,\"canary\":2,\"percent\":-1}",
                                       "{\"version\":1,\"canary\":\"x\",\"percent\":5}",
                                       "{\"version\":1,\"weight\":5}"};
  deploy_abc();
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
    if (lead("/v1/functions/f/aliases/beta", bodies[i]) != 400) fail_msg("%s is taken", bodies[i]);
  assert_int_equal(lead("/v1/functions/f/aliases/7", "{\"version\":1}"), 400);
  assert_int_equal(lead("/v1/functions/f/aliases/-x", "{\"version\":1}"), 400);
  assert_int_equal(lead("/v1/functions/f/aliases/beta", "{\"version\":1,\"canary\":8,\"percent\":5}"), 404);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f/versions/x"), 400);
  assert_int_equal(status_of(port, "PUT", "/v1/functions/f?alias=9"), 400);
  char path[64];
  for (int i = 1; i < ENTRY_MAX_ALIASES; i++) {
    snprintf(path, sizeof path, "/v1/functions/f/aliases/a%d", i);
    assert_int_equal(lead(path, "{\"version\":1}"), 200);
  }
  assert_int_equal(lead("/v1/functions/f/aliases/more", "{\"version\":1}"), 422);
  assert_int_equal(lead("/v1/functions/f/aliases/a7", "{\"version\":2}"), 200);
}

/* A canary gets about its share, and nothing when it is over. */
static void test_canary(void **state) {
  (void)state;
  enum { CALLS = 2000, PERCENT = 25 };
  deploy_abc();
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":3,\"canary\":1,\"percent\":25}"), 200);
  expect_view("/v1/functions/f", "\"canary\":1,\"percent\":25,");
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f/versions/1"), 409);
  int n = 0, fd = dial(port);
  for (int i = 0; i < CALLS; i++) {
    send_text(fd, "GET /f/f HTTP/1.1\r\nHost: t\r\n\r\n");
    struct reply r = receive(fd, true);
    assert_int_equal(r.status, 200);
    assert_true(r.body[0] == 'a' || r.body[0] == 'c');
    n += r.body[0] == 'a';
    reply_clear(&r);
  }
  close(fd);
  assert_in_range(n, CALLS * PERCENT / 100 - 120, CALLS * PERCENT / 100 + 120); /* six standard deviations */
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":3}"), 200);
  for (int i = 0; i < 50; i++) assert_int_equal(called("/f/f"), 'c');
}

static void test_conditions(void **state) {
  (void)state;
  char tag[64], line[128];
  assert_int_equal(put("/v1/functions/f", 'a', "If-Match: *\r\n"), 412);
  assert_int_equal(put("/v1/functions/f", 'a', "If-Match: \"r1\"\r\n"), 412);
  assert_int_equal(put("/v1/functions/f", 'a', "If-None-Match: *\r\n"), 201);
  assert_int_equal(put("/v1/functions/f", 'b', "If-None-Match: *\r\n"), 412);
  struct reply r = call(port, "/v1/functions/f");
  assert_true(header(&r, "etag", tag, sizeof tag));
  assert_string_equal(tag, "\"r1\"");
  reply_clear(&r);
  snprintf(line, sizeof line, "If-Match: \"x\", %s\r\n", tag);
  assert_int_equal(put("/v1/functions/f", 'b', line), 200);
  assert_int_equal(put("/v1/functions/f", 'c', line), 412);
  assert_int_equal(called("/f/f"), 'b');
  assert_int_equal(answer(ask("PUT", "/v1/functions/f/aliases/live", line, "{\"version\":1}", 13), NULL), 412);
  assert_int_equal(answer(ask("DELETE", "/v1/functions/f/versions/1", line, NULL, 0), NULL), 412);
  assert_int_equal(put("/v1/functions/f", 'c', "If-Match: *\r\n"), 200);
  static const char *const bad[] = {"If-Match: \r\n", "If-Match: \"r1\" \"r2\"\r\n", "If-None-Match: \"r1\"\r\n",
                                    "If-Match: 1,2,3,4,5\r\n"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(put("/v1/functions/f", 'd', bad[i]), 400);
  assert_int_equal(put("/v1/functions/f", 'd', "If-Match: W/\"r3\", \"r03\", r3\r\n"), 412);
}

/* A tag of a function that was deleted is no later one's. */
static void test_tags_of_the_deleted(void **state) {
  (void)state;
  assert_int_equal(put("/v1/functions/f", 'a', ""), 201);
  assert_int_equal(put("/v1/functions/f", 'b', "If-Match: \"r1\"\r\n"), 200);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(status_of(port, "DELETE", "/v1/functions/f"), 204);
    if (i) restart();
    assert_int_equal(put("/v1/functions/f", 'c', ""), 201);
    for (int revision = 1; revision <= 2; revision++) {
      char line[64];
      snprintf(line, sizeof line, "If-Match: \"r%d\"\r\n", revision);
      assert_int_equal(put("/v1/functions/f", 'd', line), 412);
    }
  }
  expect_view("/v1/functions/f", "\"version\":4,");
}

/* Who may not call a private canary gets the public version each time; and a public one of a private version tells nobody of it.
 */
static void test_private_canary(void **state) {
  (void)state;
  assert_int_equal(put("/v1/functions/f", 'a', ""), 201);
  assert_int_equal(put("/v1/functions/f?alias=side&access=private", 'b', ""), 200);
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":1,\"canary\":2,\"percent\":90}"), 200);
  assert_int_equal(lead("/v1/functions/f/aliases/hidden", "{\"version\":2,\"canary\":1,\"percent\":90}"), 200);
  int n = 0;
  for (int i = 0; i < 100; i++) {
    n += called("/f/f") == 'b';
    assert_int_equal(answer(ask("GET", "/f/f", "Origin: http://elsewhere\r\n", NULL, 0), "a"), 200);
    assert_int_equal(answer(ask("GET", "/f/f@hidden", "Origin: http://elsewhere\r\n", NULL, 0), NULL), 404);
  }
  assert_in_range(n, 50, 100);
}

static int module_files(void) {
  char directory[128];
  int n = 0;
  snprintf(directory, sizeof directory, "%s/modules", data_dir);
  DIR *d = opendir(directory);
  for (struct dirent *entry; (entry = readdir(d));) n += entry->d_name[0] != '.';
  closedir(d);
  return n;
}

/* What is not needed goes with its file, the oldest first. */
static void test_trimming(void **state) {
  (void)state;
  server_destroy(server);
  begin(3);
  deploy_abc();
  assert_int_equal(lead("/v1/functions/f/aliases/old", "{\"version\":1}"), 200);
  for (char c = 'd'; c < 'h'; c++) assert_int_equal(put("/v1/functions/f", c, ""), 200);
  assert_int_equal(module_files(), 3); /* a, f and g */
  assert_int_equal(called("/f/f@old"), 'a');
  assert_int_equal(called("/f/f@6"), 'f');
  assert_int_equal(called("/f/f@5"), 0);
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":\"previous\"}"), 200);
  assert_int_equal(called("/f/f"), 'f');
  server_destroy(server);
  begin(1);
  assert_int_equal(put("/v1/functions/f", 'h', ""), 200);
  assert_int_equal(module_files(), 2); /* a and h */
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":\"previous\"}"), 404);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f"), 204);
  assert_int_equal(module_files(), 0);
}

/* What a deployment changed. */
static void test_changes(void **state) {
  (void)state;
  struct buffer bytes = wat("(module " IMPORT("gas_left", "(result i64)")
                                IMPORT("clock_ms", "(result i64)") "(func (export \"handle\") (drop (call $gas_left))))");
  assert_int_equal(put("/v1/functions/f", 'a', ""), 201);
  struct reply r = ask("PUT", "/v1/functions/f", "", bytes.bytes, bytes.size);
  assert_non_null(strstr(r.body, "\"from\":1,"));
  assert_non_null(strstr(r.body, "\"imports_added\":[\"gasworks.gas_left\",\"gasworks.clock_ms\"]"));
  assert_non_null(strstr(r.body, "\"imports_removed\":[\"gasworks.reply\"]"));
  reply_clear(&r);
  buffer_clear(&bytes);
}

/* --- under load --------------------------------------------------------------------------------------------------- */

struct load {
  const char *path;
  atomic_bool is_over;
  _Atomic uint32_t expected;               /* bit i: the letter 'a' + i; 0: a change is under way */
  _Atomic int n_failed, n_late, n_checked; /* checked: between two changes */
};

#define LETTER(c) ((uint32_t)1 << ((c) - 'a'))
enum { CALLERS = 4, CHANGES = 60 };

/* Calls on one connection. Whatever is asked after a change was acknowledged must see it. */
static void *call_on(void *arg) {
  struct load *load = arg;
  int fd = dial(port);
  while (!atomic_load(&load->is_over)) {
    uint32_t before = atomic_load(&load->expected);
    send_text(fd, "GET ");
    send_text(fd, load->path);
    send_text(fd, " HTTP/1.1\r\nHost: t\r\n\r\n");
    struct reply r = receive(fd, true);
    uint32_t after = atomic_load(&load->expected);
    bool is_checked = before && before == after;
    if (r.status != 200)
      atomic_fetch_add(&load->n_failed, 1);
    else if (is_checked && !(before & LETTER(r.body[0])))
      atomic_fetch_add(&load->n_late, 1);
    atomic_fetch_add(&load->n_checked, is_checked);
    reply_clear(&r);
  }
  close(fd);
  return NULL;
}

/* Calls f while `change` makes its n-th change, which says which letters may be answered from then on. */
static void change_under_load(const char *path, uint32_t expected, uint32_t (*change)(int n)) {
  struct load load = {.path = path};
  pthread_t threads[CALLERS];
  atomic_store(&load.expected, expected);
  for (int i = 0; i < CALLERS; i++) pthread_create(&threads[i], NULL, call_on, &load);
  for (int i = 0; i < CHANGES; i++) {
    atomic_store(&load.expected, 0);
    expected = change(i);
    int checked = atomic_load(&load.n_checked);
    atomic_store(&load.expected, expected);
    while (atomic_load(&load.n_checked) - checked < CALLERS) usleep(200);
  }
  atomic_store(&load.is_over, true);
  for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(load.n_failed, 0);
  assert_int_equal(load.n_late, 0);
}

static uint32_t roll(int n) {
  char body[32];
  int version = n % 3 + 1;
  snprintf(body, sizeof body, "{\"version\":%d}", version);
  assert_int_equal(lead("/v1/functions/f/aliases/live", body), 200);
  if (n % 10 == 9) assert_int_equal(put("/v1/functions/f?alias=side", (char)('h' + n % 7), ""), 200);
  return LETTER('a' + version - 1);
}

static void test_rollbacks_under_load(void **state) {
  (void)state;
  deploy_abc();
  change_under_load("/f/f", LETTER('c'), roll);
}

/* Two versions share the calls, and another one gets none. */
static uint32_t shift(int n) {
  char body[64];
  int version = n % 3 + 1, canary = (n + 1) % 3 + 1;
  snprintf(body, sizeof body, "{\"version\":%d,\"canary\":%d,\"percent\":%d}", version, canary, n % 99 + 1);
  assert_int_equal(lead("/v1/functions/f/aliases/live", body), 200);
  return LETTER('a' + version - 1) | LETTER('a' + canary - 1);
}

static void test_canaries_under_load(void **state) {
  (void)state;
  deploy_abc();
  change_under_load("/f/f", LETTER('c'), shift);
}

/* Replies the first letter of its last variable, S. */
static const char tells_secret[] =
    "(module " REPLY "(import \"wasi_snapshot_preview1\" \"environ_get\" (func $get (param i32 i32) (result i32)))"
    "(import \"wasi_snapshot_preview1\" \"environ_sizes_get\" (func $sizes (param i32 i32) (result i32)))"
    "(memory (export \"memory\") 1)"
    "(func (export \"handle\")"
    "  (drop (call $sizes (i32.const 0) (i32.const 4))) (drop (call $get (i32.const 16) (i32.const 4096)))"
    "  (call $reply"
    "    (i32.add (i32.load (i32.add (i32.const 12) (i32.shl (i32.load (i32.const 0)) (i32.const 2)))) (i32.const 2))"
    "    (i32.const 1))))";

static uint32_t rotate(int n) {
  char body[64];
  snprintf(body, sizeof body, "{\"secrets\":{\"S\":\"%c-secret\"}}", 'a' + n % 26);
  assert_int_equal(answer(ask("PATCH", "/v1/functions/s", "Content-Type: application/json\r\n", body, strlen(body)), NULL), 200);
  return LETTER('a' + n % 26);
}

static void test_secrets_under_load(void **state) {
  (void)state;
  struct buffer bytes = wat(tells_secret);
  assert_int_equal(answer(ask("PUT", "/v1/functions/s", "", bytes.bytes, bytes.size), NULL), 201);
  buffer_clear(&bytes);
  uint32_t first = rotate(25);
  assert_int_equal(called("/f/s"), 'z');
  change_under_load("/f/s", first, rotate);
}

/* --- records of before -------------------------------------------------------------------------------------------- */

/* The record of version 7 as it was before there were several. */
static void test_old_record(void **state) {
  (void)state;
  char directory[128], hex[DIGEST_HEX_SIZE], record[512];
  struct gw_error err = {0};
  struct buffer bytes = letter('a');
  struct digest digest = digest_of(bytes.bytes, bytes.size);
  digest_print(&digest, hex);
  assert_int_equal(put("/v1/functions/f", 'a', ""), 201);
  server_destroy(server);
  snprintf(directory, sizeof directory, "%s/state", data_dir);
  struct state_store *store = state_store_open(directory, 64 << 20, false, &err);
  assert_non_null(store);
  snprintf(record, sizeof record,
           "{\"digest\":\"%s\",\"version\":7,\"size\":%zu,\"created_ms\":1000,\"compile_ms\":1.5,\"interface\":\"handle\","
           "\"private\":true}",
           hex, bytes.size);
  assert_true(state_put(store, "\x01registry", "f", 1, record, strlen(record), &err));
  state_store_close(store);
  begin(0);
  assert_int_equal(called("/f/f"), 'a');
  expect_view("/v1/functions/f", "\"version\":7,");
  expect_view("/v1/functions/f", "\"access\":\"private\"");
  assert_int_equal(put("/v1/functions/f", 'b', ""), 200);
  assert_int_equal(lead("/v1/functions/f/aliases/live", "{\"version\":\"previous\"}"), 200);
  assert_int_equal(called("/f/f"), 'a');
  buffer_clear(&bytes);
}

/* Records that nobody of us wrote: none is followed, none ends the process, and the next deployment heals it. */
static void test_damaged_records(void **state) {
  (void)state;
#define VERSION(n) \
  "{\"digest\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"version\":" #n ",\"interface\":\"cgi\"}"
  static const char *const records[] = {
      "{\"revision\":1,\"last\":1,\"aliases\":[],\"versions\":[]}",
      "{\"revision\":1,\"last\":1,\"aliases\":[],\"versions\":[" VERSION(1) "]}",
      "{\"revision\":1,\"last\":1,\"aliases\":[{\"name\":\"live\",\"version\":2}],\"versions\":[" VERSION(1) "]}",
      "{\"revision\":1,\"last\":1,\"aliases\":[{\"name\":\"live\",\"version\":1,\"canary\":3,\"share\":9}],\"versions\":"
      "[" VERSION(1) "]}",
      "{\"revision\":0,\"last\":1,\"aliases\":[{\"name\":\"live\",\"version\":1}],\"versions\":[" VERSION(1) "]}",
      "{\"revision\":1,\"aliases\":[{\"name\":\"live\",\"version\":1}],\"versions\":[" VERSION(1) "," VERSION(1) "]}",
      "{\"revision\":1,\"aliases\":[{\"name\":\"../x\",\"version\":1}],\"versions\":[" VERSION(1) "]}",
      "{\"revision\":1,\"aliases\":[{\"name\":\"live\",\"version\":1}],\"versions\":7}",
      "{\"revision\":1,\"aliases\":[{\"version\":1}],\"versions\":[" VERSION(1) "]}",
      "[]",
      "{\"versions\":{}}",
  };
  char directory[128];
  for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
    struct gw_error err = {0};
    server_destroy(server);
    snprintf(directory, sizeof directory, "%s/state", data_dir);
    struct state_store *store = state_store_open(directory, 64 << 20, false, &err);
    assert_true(state_put(store, "\x01registry", "f", 1, records[i], strlen(records[i]), &err));
    state_store_close(store);
    begin(0);
    if (status_of(port, "GET", "/f/f") != 500) fail_msg("%s is followed", records[i]);
    assert_int_equal(status_of(port, "GET", "/v1/functions/f"), 200);
    assert_int_equal(put("/v1/functions/f", 'a', ""), 200);
    assert_int_equal(called("/f/f"), 'a');
  }
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_rollback),
      TEST(test_aliases),
      TEST(test_bad_aliases),
      TEST(test_canary),
      TEST(test_conditions),
      TEST(test_tags_of_the_deleted),
      TEST(test_private_canary),
      TEST(test_trimming),
      TEST(test_changes),
      TEST(test_rollbacks_under_load),
      TEST(test_canaries_under_load),
      TEST(test_secrets_under_load),
      TEST(test_old_record),
      TEST(test_damaged_records),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
