/* What survives: restarts, kill -9, damaged files. */
#define _GNU_SOURCE /* memmem */
#include "tests/http_client.h"

#include "runtime/state/state.h"
#include "server/function/registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Adds one to an i32 under the key "n" and replies it in four bytes. */
#define WAT_COUNTER                                                                                                            \
  "(module " REPLY IMPORT("state_get", "(param i32 i32 i32 i32) (result i32)")                                                 \
      IMPORT("state_set",                                                                                                      \
             "(param i32 i32 i32 i32)") "(memory (export \"memory\") 1) (data (i32.const 16) \"n\") (func (export \"handle\")" \
                                        "(drop (call $state_get (i32.const 16) (i32.const 1) (i32.const 32) (i32.const 4)))"   \
                                        "(i32.store (i32.const 32) (i32.add (i32.load (i32.const 32)) (i32.const 1)))"         \
                                        "(call $state_set (i32.const 16) (i32.const 1) (i32.const 32) (i32.const 4))"          \
                                        "(call $reply (i32.const 32) (i32.const 4))))"

static int counter(uint16_t port) {
  int n = -1;
  struct reply r = call(port, "/f/counter");
  if (r.status == 200 && r.size == 4) memcpy(&n, r.body, 4);
  reply_clear(&r);
  return n;
}

static bool is_hello(uint16_t port, const char *path) {
  struct reply r = call(port, path);
  bool ok = r.status == 200 && strcmp(r.body, "hello\n") == 0;
  reply_clear(&r);
  return ok;
}

/* Names of the module files, and how many. */
static int module_files(const char *data_dir, char paths[8][256]) {
  char directory[128];
  int n = 0;
  snprintf(directory, sizeof directory, "%s/modules", data_dir);
  DIR *d = opendir(directory);
  assert_non_null(d);
  struct dirent *entry;
  while ((entry = readdir(d)) && n < 8)
    if (entry->d_name[0] != '.') snprintf(paths[n++], 256, "%.100s/%.100s", directory, entry->d_name);
  closedir(d);
  return n;
}

/* The file of the only module whose bytes contain `text`. */
static void find_module(const char *data_dir, const char *text, char out[256]) {
  char paths[8][256];
  int n = module_files(data_dir, paths);
  for (int i = 0; i < n; i++) {
    struct buffer b = {0};
    assert_true(buffer_read_file(&b, paths[i], 1 << 20, NULL));
    bool is_it = memmem(b.bytes, b.size, text, strlen(text)) != NULL;
    buffer_clear(&b);
    if (!is_it) continue;
    memcpy(out, paths[i], 256);
    return;
  }
  fail_msg("no module holds %s", text);
}

/* --- kill -9 ----------------------------------------------------------------------------------------------------- */

static pid_t serve_in_child(const char *data_dir, uint16_t *port) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    struct server_options o = test_options(data_dir);
    struct gw_error err = {0};
    struct server *server = server_start(&o, &err);
    *port = server ? server_port(server) : 0;
    if (write(ends[1], port, sizeof *port) != sizeof *port || !server) _exit(1);
    server_run(server, &err);
    _exit(0);
  }
  close(ends[1]);
  assert_int_equal(read(ends[0], port, sizeof *port), sizeof *port);
  assert_int_not_equal(*port, 0);
  close(ends[0]);
  return pid;
}

/* What was acknowledged is there after kill -9 in the middle of writes, functions and state both. Runs first: it forks. */
static void test_kill(void **state) {
  (void)state;
  char *data_dir = make_data_dir();
  int acknowledged = 0;
  for (int round = 0; round < 5; round++) {
    uint16_t port;
    pid_t pid = serve_in_child(data_dir, &port);
    if (round == 0) assert_int_equal(deploy(port, "counter", WAT_COUNTER), 201);
    int fd = dial(port);
    for (int i = 0; i < 30 + 7 * round; i++) {
      send_text(fd, "GET /f/counter HTTP/1.1\r\nHost: t\r\n\r\n");
      struct reply r = receive(fd, true);
      assert_int_equal(r.status, 200);
      int n;
      memcpy(&n, r.body, 4);
      assert_true(n > acknowledged);
      acknowledged = n;
      reply_clear(&r);
    }
    for (int i = 0; i < 10; i++) send_text(fd, "GET /f/counter HTTP/1.1\r\nHost: t\r\n\r\n"); /* in flight */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(fd);
  }
  uint16_t port;
  pid_t pid = serve_in_child(data_dir, &port);
  int n = counter(port);
  assert_in_range(n, acknowledged + 1, acknowledged + 11);
  kill(pid, SIGTERM);
  int status;
  waitpid(pid, &status, 0);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  remove_data_dir(data_dir);
}

/* --- the rest, in this process ----------------------------------------------------------------------------------- */

static struct server *restart(struct server *server, const char *data_dir, uint16_t *port) {
  server_destroy(server);
  struct server_options o = test_options(data_dir);
  server = start(&o);
  *port = server_port(server);
  return server;
}

static void test_restart(void **state) {
  (void)state;
  char *data_dir = make_data_dir(), paths[8][256];
  uint16_t port;
  struct server *server = restart(NULL, data_dir, &port);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  assert_int_equal(deploy(port, "counter", WAT_COUNTER), 201);
  assert_int_equal(counter(port), 1);
  struct reply before = call(port, "/v1/functions");
  server = restart(server, data_dir, &port);
  struct reply after = call(port, "/v1/functions");
  assert_string_equal(before.body, after.body);
  assert_true(is_hello(port, "/f/hello"));
  assert_int_equal(counter(port), 2);
  assert_int_equal(module_files(data_dir, paths), 2);
  reply_clear(&before);
  reply_clear(&after);
  server_destroy(server);
  remove_data_dir(data_dir);
}

/* Many first requests at once, on both loops: the module is compiled and all are answered. */
static void test_first_requests(void **state) {
  (void)state;
  enum { N = 16 };
  char *data_dir = make_data_dir();
  uint16_t port;
  struct server *server = restart(NULL, data_dir, &port);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  server = restart(server, data_dir, &port);
  int fds[N];
  for (int i = 0; i < N; i++) {
    fds[i] = dial(port);
    send_text(fds[i], "GET /f/hello HTTP/1.1\r\nHost: t\r\n\r\n");
  }
  close(fds[0]); /* this one does not wait for it */
  for (int i = 1; i < N; i++) {
    struct reply r = receive(fds[i], true);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "hello\n");
    reply_clear(&r);
    close(fds[i]);
  }
  server_destroy(server);
  remove_data_dir(data_dir);
}

static void test_versions(void **state) {
  (void)state;
  char *data_dir = make_data_dir(), paths[8][256];
  uint16_t port;
  struct server *server = restart(NULL, data_dir, &port);
  assert_int_equal(deploy(port, "a", "(module (func (export \"handle\")))"), 201);
  assert_int_equal(status_of(port, "GET", "/f/a"), 200);
  assert_int_equal(deploy(port, "a", WAT_HELLO), 200);
  for (int i = 0; i < 10; i++) assert_true(is_hello(port, "/f/a")); /* on every loop */
  struct reply r = call(port, "/v1/functions/a");
  assert_non_null(strstr(r.body, "\"version\":2,"));
  reply_clear(&r);
  assert_int_equal(module_files(data_dir, paths), 2); /* the replaced one can be gone back to */
  assert_int_equal(deploy(port, "b", WAT_HELLO), 201);
  assert_int_equal(module_files(data_dir, paths), 2); /* same bytes, one file */
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/a"), 204);
  assert_int_equal(status_of(port, "GET", "/f/a"), 404);
  server = restart(server, data_dir, &port);
  assert_int_equal(status_of(port, "GET", "/f/a"), 404);
  assert_true(is_hello(port, "/f/b"));
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/b"), 204);
  assert_int_equal(module_files(data_dir, paths), 0);
  server = restart(server, data_dir, &port);
  assert_int_equal(deploy(port, "a", WAT_HELLO), 201); /* after 1 and 2, which were deleted */
  r = call(port, "/v1/functions/a");
  assert_non_null(strstr(r.body, "\"version\":3,"));
  reply_clear(&r);
  server_destroy(server);
  remove_data_dir(data_dir);
}

static void test_delete_state(void **state) {
  (void)state;
  char *data_dir = make_data_dir();
  uint16_t port;
  struct server *server = restart(NULL, data_dir, &port);
  assert_int_equal(deploy(port, "counter", WAT_COUNTER), 201);
  assert_int_equal(counter(port), 1);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/counter"), 204);
  assert_int_equal(deploy(port, "counter", WAT_COUNTER), 201);
  assert_int_equal(counter(port), 2);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/counter?state=delete"), 204);
  assert_int_equal(deploy(port, "counter", WAT_COUNTER), 201);
  assert_int_equal(counter(port), 1);
  server_destroy(server);
  remove_data_dir(data_dir);
}

/* One damaged function answers with a problem, the others are not affected, and deploying again heals it. */
static void expect_damaged(uint16_t port, const char *words) {
  struct reply r = call(port, "/f/hello");
  assert_int_equal(r.status, 500);
  if (!strstr(r.body, words)) print_message("%s\n", r.body);
  assert_non_null(strstr(r.body, words));
  assert_non_null(strstr(r.head, "application/problem+json"));
  reply_clear(&r);
  assert_int_equal(counter(port) > 0, true);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 200);
  assert_true(is_hello(port, "/f/hello"));
}

static void flip_byte(const char *path) {
  int fd = open(path, O_RDWR);
  char byte;
  assert_int_equal(pread(fd, &byte, 1, 40), 1);
  byte ^= 1;
  assert_int_equal(pwrite(fd, &byte, 1, 40), 1);
  close(fd);
}

static void test_damage(void **state) {
  (void)state;
  char *data_dir = make_data_dir(), path[256], aside[272], directory[128];
  uint16_t port;
  struct gw_error err = {0};
  struct server *server = restart(NULL, data_dir, &port);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  assert_int_equal(deploy(port, "counter", WAT_COUNTER), 201);
  find_module(data_dir, "hello\n", path);
  flip_byte(path);
  server = restart(server, data_dir, &port);
  expect_damaged(port, "is damaged");
  assert_int_equal(truncate(path, 10), 0);
  server = restart(server, data_dir, &port);
  expect_damaged(port, "is damaged");
  snprintf(aside, sizeof aside, "%s/aside", data_dir);
  assert_int_equal(rename(path, aside), 0);
  server = restart(server, data_dir, &port);
  assert_false(is_hello(port, "/f/hello"));
  assert_int_equal(rename(aside, path), 0);
  for (int i = 0; i < 600 && !is_hello(port, "/f/hello"); i++) usleep(100000); /* what it needs is there again */
  assert_true(is_hello(port, "/f/hello"));
  assert_int_equal(unlink(path), 0);
  server = restart(server, data_dir, &port);
  expect_damaged(port, "the server's log says why"); /* where its files are is not for callers */
  server_destroy(server);
  snprintf(directory, sizeof directory, "%s/state", data_dir);
  struct state_store *store = state_store_open(directory, 64 << 20, false, &err);
  assert_non_null(store);
  assert_true(state_put(store, "\x01registry", "hello", 5, "{\"digest\":\"../../x\"}", 20, &err));
  assert_true(state_put(store, "\x01registry", "../odd", 6, "?", 1, &err));
  state_store_close(store);
  server = restart(NULL, data_dir, &port);
  expect_damaged(port, "record of function hello is damaged");
  server_destroy(server);
  remove_data_dir(data_dir);
}

static void test_leftovers(void **state) {
  (void)state;
  char *data_dir = make_data_dir(), path[256], paths[8][256];
  uint16_t port;
  struct server *server = restart(NULL, data_dir, &port);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  snprintf(path, sizeof path, "%s/modules/half.wasm.tmp", data_dir);
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  assert_true(fd >= 0);
  close(fd);
  server = restart(server, data_dir, &port);
  assert_int_equal(module_files(data_dir, paths), 1);
  assert_true(is_hello(port, "/f/hello"));
  server_destroy(server);
  remove_data_dir(data_dir);
}

static void test_names(void **state) {
  (void)state;
  static const char *const good[] = {"a", "0", "a-b_c9", "x123456789x123456789x123456789x123456789x123456789x123456789x12"};
  static const char *const bad[] = {"",    "A",   "-a",       "_a",
                                    "a.b", "a/b", "\xc3\xa4", "x123456789x123456789x123456789x123456789x123456789x123456789x123"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(function_name_is_valid(good[i], strlen(good[i])));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(function_name_is_valid(bad[i], strlen(bad[i])));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kill),      cmocka_unit_test(test_restart),      cmocka_unit_test(test_first_requests),
      cmocka_unit_test(test_versions),  cmocka_unit_test(test_delete_state), cmocka_unit_test(test_damage),
      cmocka_unit_test(test_leftovers), cmocka_unit_test(test_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
