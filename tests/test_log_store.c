/* The functions' own logs: bounds, loss, order over restarts, hostile text; and over HTTP, with readers that wait. */
#include "tests/http_client.h"

#include "server/loop/log_store.h"

#include <cjson/cJSON.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

static char *directory;
static struct log_store *store;

static void open_store(uint64_t size) {
  char path[128];
  struct gw_error err = {0};
  snprintf(path, sizeof path, "%s/logs", directory);
  store = log_store_open(path, size, &err);
  if (!store) fail_msg("%s", err.message);
}

static void add(const char *function, const char *text) {
  log_store_add(store, function, &(struct log_event){.request = "0-1", .version = 3, .kind = "log"}, text, strlen(text));
}

/* An array of the lines, each of which is JSON. */
static cJSON *lines_of(const char *function, uint64_t after, size_t limit) {
  struct buffer out = {0};
  struct gw_error err = {0};
  if (!log_store_read(store, function, after, limit, &out, &err)) fail_msg("%s", err.message);
  cJSON *array = cJSON_CreateArray();
  for (char *at = (char *)out.bytes, *end = at + out.size, *newline; at < end; at = newline + 1) {
    newline = memchr(at, '\n', (size_t)(end - at));
    assert_non_null(newline);
    cJSON *line = cJSON_ParseWithLength(at, (size_t)(newline - at));
    if (!line) fail_msg("no JSON: %.*s", (int)(newline - at), at);
    cJSON_AddItemToArray(array, line);
  }
  buffer_clear(&out);
  return array;
}

static const char *text_at(const cJSON *lines, int i) {
  return cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(lines, i), "text"));
}

static uint64_t number_at(const cJSON *lines, int i) {
  return (uint64_t)cJSON_GetNumberValue(cJSON_GetObjectItem(cJSON_GetArrayItem(lines, i), "seq"));
}

static void expect_lines(const char *function, int n) {
  cJSON *lines = lines_of(function, 0, 10000);
  assert_int_equal(cJSON_GetArraySize(lines), n);
  cJSON_Delete(lines);
}

static int set_up(void **state) {
  (void)state;
  directory = make_data_dir();
  open_store(1 << 20);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  log_store_close(store);
  remove_data_dir(directory);
  return 0;
}

/* --- alone -------------------------------------------------------------------------------------------------------- */

static void test_order(void **state) {
  (void)state;
  add("f", "one\ntwo\n");
  add("acme/f", "other");
  log_store_close(store);
  open_store(1 << 20);
  add("f", "three");
  cJSON *lines = lines_of("f", 0, 100);
  assert_int_equal(cJSON_GetArraySize(lines), 3);
  assert_string_equal(text_at(lines, 0), "one");
  assert_string_equal(text_at(lines, 2), "three");
  assert_true(number_at(lines, 0) < number_at(lines, 1) && number_at(lines, 1) < number_at(lines, 2));
  assert_int_equal(log_store_last(store, "f"), number_at(lines, 2));
  cJSON *behind = lines_of("f", number_at(lines, 0), 1), *last = lines_of("f", 0, 1),
        *none = lines_of("f", number_at(lines, 2), 9);
  assert_string_equal(text_at(behind, 0), "two");
  assert_int_equal(cJSON_GetArraySize(behind), 1);
  assert_string_equal(text_at(last, 0), "three");
  assert_int_equal(cJSON_GetArraySize(none), 0);
  cJSON_Delete(lines);
  cJSON_Delete(behind);
  cJSON_Delete(last);
  cJSON_Delete(none);
  expect_lines("acme/f", 1);
  log_store_remove(store, "f");
  expect_lines("f", 0);
  expect_lines("acme/f", 1);
}

/* Any bytes at all make lines of JSON. */
static void test_hostile_text(void **state) {
  (void)state;
  char text[4096];
  uint32_t random = 1;
  for (int round = 0; round < 200; round++) {
    for (size_t i = 0; i < sizeof text; i++) {
      random = random * 1664525 + 1013904223;
      text[i] = (char)(random >> 24);
    }
    log_store_add(store, "f", &(struct log_event){.request = "-", .kind = "log"}, text, sizeof text);
  }
  add("g", "\xf0\x9f\x98\x80 \xc3\xa4 \xed\xa0\x80 \xc0\xaf \xf4\x90\x80\x80 \xe2\x82 \"\\\x1b[31m\x7f");
  cJSON *lines = lines_of("f", 0, 10000), *odd = lines_of("g", 0, 1);
  assert_true(cJSON_GetArraySize(lines) > 200);
  assert_string_equal(text_at(odd, 0), "\xf0\x9f\x98\x80 \xc3\xa4 ??? ?? ???? ?? \"\\\x1b[31m\x7f");
  cJSON_Delete(lines);
  cJSON_Delete(odd);
}

static void test_long_lines(void **state) {
  (void)state;
  char *text = calloc(1, 2 * LOG_MAX_TEXT);
  memset(text, 'x', 2 * LOG_MAX_TEXT - 1);
  add("f", text);
  cJSON *lines = lines_of("f", 0, 1);
  assert_int_equal(strlen(text_at(lines, 0)), LOG_MAX_TEXT);
  assert_true(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetArrayItem(lines, 0), "is_cut")));
  cJSON_Delete(lines);
  free(text);
}

static uint64_t bytes_on_disk(void) {
  char command[200];
  unsigned long long n = 0;
  snprintf(command, sizeof command, "cat %s/logs/* | wc -c", directory);
  FILE *f = popen(command, "r");
  assert_int_equal(fscanf(f, "%llu", &n), 1);
  pclose(f);
  return n;
}

/* The files stay within their size, the newest lines are there, and a function that talks less keeps all of its own. */
static void test_bounds(void **state) {
  (void)state;
  enum { SIZE = 64 << 10, ROUNDS = 300 };
  char line[1000];
  log_store_close(store);
  open_store(SIZE);
  add("quiet", "here");
  memset(line, 'x', sizeof line);
  for (int round = 0; round < ROUNDS; round++) {
    snprintf(line + 900, 100, " %d", round);
    add("loud", line);
    if (round % 10 == 0) cJSON_Delete(lines_of("loud", 0, 1)); /* which writes */
  }
  expect_lines("quiet", 1);
  cJSON *lines = lines_of("loud", 0, 10000);
  int n = cJSON_GetArraySize(lines);
  assert_in_range(n, 10, ROUNDS - 1);
  assert_string_equal(text_at(lines, n - 1) + 900, " 299");
  assert_true(bytes_on_disk() <= SIZE + 20000);
  cJSON_Delete(lines);
}

/* What comes faster than it is written is counted and told, and takes nothing from others. */
static void test_loss(void **state) {
  (void)state;
  char line[8000], words[64];
  memset(line, 'x', sizeof line);
  line[sizeof line - 1] = 0;
  for (int i = 0; i < 100000 && !log_store_lost(store); i++) add("loud", line); /* however fast the writer is */
  add("quiet", "here");
  uint64_t lost = log_store_lost(store);
  assert_true(lost > 0);
  expect_lines("quiet", 1);
  cJSON_Delete(lines_of("loud", 0, 1)); /* which writes */
  add("loud", "after");
  cJSON *lines = lines_of("loud", 0, 2);
  snprintf(words, sizeof words, "%llu lines were lost", (unsigned long long)lost);
  assert_string_equal(text_at(lines, 0), words);
  assert_string_equal(text_at(lines, 1), "after");
  cJSON_Delete(lines);
}

/* A file that cannot be written loses lines, and ends nothing; one that is damaged is read as far as it is ours. */
static void test_bad_files(void **state) {
  (void)state;
  char path[160];
  snprintf(path, sizeof path, "%s/logs/f.log", directory);
  assert_int_equal(mkdir(path, 0700), 0);
  add("f", "one");
  struct buffer out = {0};
  struct gw_error err = {0};
  assert_false(log_store_read(store, "f", 0, 10, &out, &err));
  assert_int_equal(log_store_lost(store), 1);
  assert_int_equal(rmdir(path), 0);
  add("f", "two");
  expect_lines("f", 2); /* one of them tells of the loss */
  snprintf(path, sizeof path, "%s/logs/g.log", directory);
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  static const char junk[] = "junk\n\n{\"seq\":99999999999999999999999999999999}\n";
  assert_int_equal(write(fd, junk, sizeof junk - 1), sizeof junk - 1);
  close(fd);
  err = (struct gw_error){0};
  assert_true(log_store_read(store, "g", 0, 10, &out, &err));
  assert_true(log_store_read(store, "g", 5, 10, &out, &err));
  buffer_clear(&out);
}

/* Those who log all the time hold up no reader of others. */
static atomic_bool is_over;

static void *talk(void *arg) {
  char name[32];
  (void)arg;
  for (unsigned i = 0; !atomic_load(&is_over); i++) {
    snprintf(name, sizeof name, "f%u", i % 300);
    add(name, "word");
  }
  return NULL;
}

static void test_talkers(void **state) {
  (void)state;
  enum { THREADS = 3 };
  pthread_t threads[THREADS];
  atomic_store(&is_over, false);
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, talk, NULL);
  for (int i = 1; i <= 20; i++) {
    add("quiet", "here");
    expect_lines("quiet", i);
  }
  atomic_store(&is_over, true);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* However many fill their room, who comes late has some. */
static void test_room(void **state) {
  (void)state;
  enum { TALKERS = 140, LINES = 6 };
  char name[32], line[LOG_MAX_TEXT];
  memset(line, 1, sizeof line); /* six bytes each */
  for (int round = 0; round < LINES; round++)
    for (int i = 0; i < TALKERS; i++) {
      snprintf(name, sizeof name, "f%d", i);
      log_store_add(store, name, &(struct log_event){.request = "-", .kind = "log"}, line, sizeof line);
    }
  add("late", "here");
  expect_lines("late", 1);
}

/* What a process that died has written in part goes, and is no part of the lines behind it: in either file. */
static void test_torn_line(void **state) {
  (void)state;
  static const char torn[] = "{\"seq\":1000,\"time\":\"2026-01-01T00:00:00.000Z\",\"request\":\"-\",\"vers";
  static const char *const ends[] = {"log", "old"};
  char path[160];
  add("f", "one");
  expect_lines("f", 1);
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/logs/f.%s", directory, ends[i]);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_int_equal(write(fd, torn, sizeof torn - 1), sizeof torn - 1);
    close(fd);
    expect_lines("f", i + 1);
    if (i == 0) add("f", "two");
    expect_lines("f", 2);
  }
}

/* --- on a server -------------------------------------------------------------------------------------------------- */

static struct server *server;
static uint16_t port;

static int begin(void **state) {
  (void)state;
  directory = make_data_dir();
  struct server_options o = test_options(directory);
  server = start(&o);
  port = server_port(server);
  return 0;
}

static int end(void **state) {
  (void)state;
  server_destroy(server);
  remove_data_dir(directory);
  return 0;
}

#define WAT_LOG                                                                                              \
  "(module " IMPORT("log", "(param i32 i32)") "(memory (export \"memory\") 1) (data (i32.const 0) \"tick\")" \
                                              "(func (export \"handle\") (call $log (i32.const 0) (i32.const 4))))"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool has(const char *path, const char *words) {
  struct reply r = call(port, path);
  bool found = r.status == 200 && strstr(r.body, words);
  reply_clear(&r);
  return found;
}

static void test_kinds(void **state) {
  (void)state;
  assert_int_equal(deploy(port, "f", WAT_LOG), 201);
  assert_true(has("/v1/functions/f/logs", "{\"lines\":[],\"next\":0}"));
  assert_int_equal(status_of(port, "GET", "/f/f"), 200);
  assert_true(has("/v1/functions/f/logs", "\"version\":1,\"kind\":\"log\",\"text\":\"tick\"}],\"next\":"));
  assert_int_equal(deploy(port, "f", "(module (func (export \"handle\") unreachable))"), 200);
  assert_int_equal(status_of(port, "GET", "/f/f"), 500);
  assert_true(has("/v1/functions/f/logs", "\"version\":2,\"kind\":\"trap\",\"text\":\"trap: unreachable"));
  assert_true(has("/v1/functions/f/logs", "\"version\":2,\"kind\":\"failure\",\"status\":500,"));
  assert_int_equal(status_of(port, "GET", "/v1/functions/g/logs"), 404);
  static const char *const bad[] = {"after=x", "limit=0", "limit=10001", "wait=61",
                                    "x=1",     "after=",  "after=-1",    "after=99999999999999999999"};
  char path[128];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(path, sizeof path, "/v1/functions/f/logs?%s", bad[i]);
    if (status_of(port, "GET", path) != 400) fail_msg("%s is taken", bad[i]);
  }
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f"), 204);
  assert_int_equal(deploy(port, "f", WAT_LOG), 201);
  assert_true(has("/v1/functions/f/logs", "{\"lines\":[],\"next\":0}"));
}

/* Who waits hears of a line soon, whichever loop it came on; who has waited long enough hears of none. */
static void test_waiting(void **state) {
  (void)state;
  enum { N = 8 };
  int fds[N];
  assert_int_equal(deploy(port, "f", WAT_LOG), 201);
  double began = now();
  for (int i = 0; i < N; i++) send_text(fds[i] = dial(port), "GET /v1/functions/f/logs?wait=30 HTTP/1.1\r\nHost: t\r\n\r\n");
  close(fds[0]); /* this one is gone before */
  usleep(300000);
  assert_int_equal(status_of(port, "GET", "/f/f"), 200);
  for (int i = 1; i < N; i++) {
    struct reply r = receive(fds[i], true);
    assert_non_null(strstr(r.body, "\"text\":\"tick\""));
    reply_clear(&r);
    close(fds[i]);
  }
  assert_true(now() - began < 20);
  assert_true(has("/v1/functions/f/logs?after=9000000000000000&wait=1", "{\"lines\":[],\"next\":9000000000000000}"));
}

/* A function that works for some time, and then logs a line. */
#define WAT_SLOW(end)                                                                                              \
  "(module " IMPORT("log", "(param i32 i32)") "(memory (export \"memory\") 1) (data (i32.const 0) \"late\")"       \
                                              "(func (export \"handle\") (local $i i32)"                           \
                                              "(loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i)" \
                                              "(i32.const 1))) (i32.const 9000000))))"                             \
                                              "(call $log (i32.const 0) (i32.const 4))" end "))"

/* Calls it, and returns when it runs. */
static int call_slow(void) {
  int fd = dial(port);
  send_text(fd, "GET /f/f HTTP/1.1\r\nHost: t\r\n\r\n");
  while (!has("/v1/functions/f", "\"gas\":") || has("/v1/functions/f", "\"gas\":0,")) usleep(1000);
  return fd;
}

static int hang_up(int fd) {
  struct reply r = receive(fd, true);
  int status = r.status;
  reply_clear(&r);
  close(fd);
  return status;
}

/* A failure is of the version that failed, whatever was deployed meanwhile. */
static void test_version_of_failure(void **state) {
  (void)state;
  assert_int_equal(deploy(port, "f", WAT_SLOW("unreachable")), 201);
  int fd = call_slow();
  assert_int_equal(deploy(port, "f", WAT_HELLO), 200);
  assert_int_equal(status_of(port, "GET", "/f/f"), 200); /* perhaps on the same loop */
  assert_int_equal(status_of(port, "GET", "/f/f"), 200);
  assert_int_equal(hang_up(fd), 500);
  assert_true(has("/v1/functions/f/logs", "\"version\":1,\"kind\":\"failure\",\"status\":500,"));
}

/* What runs on when its function is deleted logs for nobody: a later function of the name may be another's. */
static void test_log_of_deleted(void **state) {
  (void)state;
  assert_int_equal(deploy(port, "f", WAT_SLOW("unreachable")), 201);
  int fd = call_slow();
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/f"), 204);
  assert_int_equal(deploy(port, "f", WAT_LOG), 201);
  assert_int_equal(hang_up(fd), 500);
  assert_true(has("/v1/functions/f/logs", "{\"lines\":[],\"next\":0}"));
}

static void leave_log(const char *name) {
  char path[160];
  static const char line[] = "{\"seq\":1000,\"text\":\"of before\"}\n";
  snprintf(path, sizeof path, "%s/logs/%s.log", directory, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_int_equal(write(fd, line, sizeof line - 1), sizeof line - 1);
  close(fd);
}

/* Nor is what was left by a process that died between a function's end and its log's. */
static void test_logs_of_nobody(void **state) {
  (void)state;
  char path[160];
  assert_int_equal(deploy(port, "f", WAT_LOG), 201);
  leave_log("new");
  assert_int_equal(deploy(port, "new", WAT_LOG), 201);
  assert_true(has("/v1/functions/new/logs", "{\"lines\":[],\"next\":0}"));
  leave_log("f");
  leave_log("gone");
  leave_log("acme@gone");
  server_destroy(server);
  struct server_options o = test_options(directory);
  server = start(&o);
  port = server_port(server);
  assert_true(has("/v1/functions/f/logs", "of before"));
  snprintf(path, sizeof path, "%s/logs/gone.log", directory);
  assert_int_not_equal(access(path, F_OK), 0);
  snprintf(path, sizeof path, "%s/logs/acme@gone.log", directory);
  assert_int_not_equal(access(path, F_OK), 0);
}

static struct reply ask_stream(const char *last) {
  char text[256];
  int fd = dial(port);
  snprintf(text, sizeof text, "GET /v1/functions/f/logs HTTP/1.1\r\nHost: t\r\nAccept: text/event-stream\r\n%s\r\n", last);
  send_text(fd, text);
  struct reply r = receive(fd, true);
  close(fd);
  return r;
}

static void test_stream(void **state) {
  (void)state;
  char type[64], last[64];
  assert_int_equal(deploy(port, "f", WAT_LOG), 201);
  assert_int_equal(status_of(port, "GET", "/f/f"), 200);
  struct reply r = ask_stream("");
  assert_true(header(&r, "content-type", type, sizeof type));
  assert_string_equal(type, "text/event-stream");
  unsigned long long number;
  assert_int_equal(sscanf(r.body, "retry: 100\n\nid: %llu\ndata: {\"seq\":", &number), 1);
  reply_clear(&r);
  assert_int_equal(status_of(port, "GET", "/f/f"), 200);
  snprintf(last, sizeof last, "Last-Event-ID: %llu\r\n", number);
  r = ask_stream(last);
  assert_null(strstr(strstr(r.body, "id: ") + 1, "id: ")); /* one line only */
  assert_non_null(strstr(r.body, "\"text\":\"tick\"}\n\n"));
  reply_clear(&r);
}

/* A server ends beside readers that would wait for long. */
static void test_stopping(void **state) {
  (void)state;
  assert_int_equal(deploy(port, "f", WAT_LOG), 201);
  int fd = dial(port);
  send_text(fd, "GET /v1/functions/f/logs?wait=60 HTTP/1.1\r\nHost: t\r\n\r\n");
  usleep(200000);
  double began = now();
  server_destroy(server);
  assert_true(now() - began < 8);
  close(fd);
  struct server_options o = test_options(directory);
  server = start(&o);
}

int main(void) {
#define ALONE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define SERVED(function) cmocka_unit_test_setup_teardown(function, begin, end)
  const struct CMUnitTest tests[] = {
      ALONE(test_order),     ALONE(test_hostile_text),        ALONE(test_long_lines),      ALONE(test_bounds),
      ALONE(test_loss),      ALONE(test_bad_files),           SERVED(test_kinds),          SERVED(test_waiting),
      SERVED(test_stream),   SERVED(test_stopping),           ALONE(test_talkers),         ALONE(test_room),
      ALONE(test_torn_line), SERVED(test_version_of_failure), SERVED(test_log_of_deleted), SERVED(test_logs_of_nobody),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
