/* The log: what fails leaves a line, and nobody waits for whoever reads it. */
#define _GNU_SOURCE /* F_SETPIPE_SZ */
#include "tests/http_client.h"

#include "server/loop/log.h"

#include <fcntl.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* All that is in the pipe until nothing more comes for a moment, with NUL. */
static struct buffer drain(int fd) {
  struct buffer text = {0};
  struct pollfd more = {.fd = fd, .events = POLLIN};
  while (poll(&more, 1, 500) == 1) {
    ssize_t n = read(fd, buffer_reserve(&text, 65536), 65536);
    if (n <= 0) break;
    text.size += (size_t)n;
  }
  buffer_append(&text, "", 1);
  return text;
}

static int count(const char *text, const char *part) {
  int n = 0;
  for (; (text = strstr(text, part)); text++) n++;
  return n;
}

/* --- the writer ------------------------------------------------------------------------------------------------------ */

static void test_stalled_reader(void **state) {
  (void)state;
  int fds[2];
  char line[100];
  assert_int_equal(pipe(fds), 0);
  struct log_writer *w = log_writer_create(fds[1], NULL);
  double begin = now();
  memset(line, 'x', sizeof line);
  for (uint64_t second = 1; second < 200; second++)
    for (int i = 0; i < 200; i++) {
      struct log_share share = {.second = second};
      log_function(w, &share, second * 1000, "f", line, sizeof line);
    }
  assert_true(now() - begin < 5);
  struct buffer text = drain(fds[0]);
  assert_non_null(strstr((char *)text.bytes, "[f] xxx"));
  assert_non_null(strstr((char *)text.bytes, "[server] "));
  assert_non_null(strstr((char *)text.bytes, " lines of the log were lost: standard error was not read fast enough\n"));
  buffer_clear(&text);
  for (int i = 0; i < 2000; i++) {
    struct log_share share = {0};
    log_function(w, &share, 0, "f", line, sizeof line);
  }
  begin = now();
  log_writer_destroy(w); /* nobody reads any more */
  assert_true(now() - begin < 5);
  close(fds[0]);
  close(fds[1]);
}

/* One function's flood takes nothing from another's lines, and the cut is told. */
static void test_shares(void **state) {
  (void)state;
  int fds[2];
  char long_line[2000];
  struct log_share noisy = {0}, quiet = {0};
  assert_int_equal(pipe(fds), 0);
  struct log_writer *w = log_writer_create(fds[1], NULL);
  memset(long_line, 'y', sizeof long_line);
  for (int i = 0; i < 1000; i++) log_function(w, &noisy, 1000, "noisy", "a\nb\x1b[31m\n", 9);
  log_function(w, &quiet, 1000, "quiet", "hello", 5);
  log_function(w, &quiet, 1000, "quiet", long_line, sizeof long_line);
  log_function(w, &noisy, 2000, "noisy", "again", 5);
  struct buffer text = drain(fds[0]);
  const char *all = (const char *)text.bytes;
  assert_int_equal(count(all, "[noisy] a\n") + count(all, "[noisy] b?[31m\n"), 200);
  assert_int_equal(count(all, "[noisy] more than 200 log lines in a second: the rest is dropped\n"), 1);
  assert_int_equal(count(all, "[noisy] 1800 log lines were dropped\n[noisy] again\n"), 1);
  assert_int_equal(count(all, "[quiet] hello\n"), 1);
  assert_int_equal(count(all, "yyy... (cut)\n"), 1);
  buffer_clear(&text);
  log_writer_destroy(w);
  close(fds[0]);
  close(fds[1]);
}

/* --- the server ------------------------------------------------------------------------------------------------------ */

static int saved_stderr, reading;

static struct server *start_logged(const char *directory, enum tier_choice tier) {
  int fds[2];
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.tier = tier;
  assert_int_equal(pipe(fds), 0);
  reading = fds[0];
  saved_stderr = dup(STDERR_FILENO);
  dup2(fds[1], STDERR_FILENO);
  close(fds[1]);
  return start(&o);
}

static void stop_logged(struct server *server, char *directory) {
  server_destroy(server);
  dup2(saved_stderr, STDERR_FILENO);
  close(saved_stderr);
  close(reading);
  remove_data_dir(directory);
}

#define WASI(name, type) "(import \"wasi_snapshot_preview1\" \"" name "\" (func $" name " " type "))"

/* Every way in which a request fails leaves one line with time, function, request and status. */
static void test_failures(void **state) {
  (void)state;
  static const struct {
    const char *name, *text;
    int status;
    const char *part;
  } rows[] = {
      {"trap", "(module (func (export \"handle\") (unreachable)))", 500, "unreachable"},
      {"start", "(module " REPLY "(memory (export \"memory\") 1) (func $s) (start $s) (func (export \"handle\") (unreachable)))",
       500, "unreachable"},
      {"fault", "(module (memory 1) (func (export \"handle\") (drop (i32.load (i32.const 70000)))))", 500, "out of bounds"},
      {"gas", "(module (func (export \"handle\") (loop $l (br $l))))", 402, "out of gas"},
      {"exit",
       "(module " WASI("proc_exit", "(param i32)") "(memory (export \"memory\") 1) (func (export \"_start\") (call $proc_exit "
                                                   "(i32.const 3))))",
       502, "exited with code 3"},
      {"own",
       "(module (import \"gasworks\" \"reply_status\" (func $s (param i32))) (func (export \"handle\") (call $s (i32.const "
       "500))))",
       500, "is what the function replied"},
      {"none", "(module (memory (export \"memory\") 1) (func (export \"_start\")))", 0, NULL},
  };
  for (int tier = 0; tier < 2; tier++) {
    char *directory = make_data_dir(), path[64], expected[64];
    struct server *server = start_logged(directory, tier ? TIER_PRECISE : TIER_FAST);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      assert_int_equal(deploy(server_port(server), rows[i].name, rows[i].text), 201);
      snprintf(path, sizeof path, "/f/%s", rows[i].name);
      int status = status_of(server_port(server), "GET", path);
      if (rows[i].status) assert_int_equal(status, rows[i].status);
      struct buffer text = drain(reading);
      snprintf(expected, sizeof expected, "Z request 0-%zu: %d ", i + 1, rows[i].status);
      const char *line = strstr((const char *)text.bytes, expected);
      if (rows[i].status && (!line || !strstr(line, rows[i].part) || count((char *)text.bytes, expected) != 1))
        fail_msg("%s: no \"%s\" with \"%s\" in: %s", rows[i].name, expected, rows[i].part, (char *)text.bytes);
      buffer_clear(&text);
    }
    stop_logged(server, directory);
  }
}

/* Nobody reads standard error: requests go on. */
static void test_server_goes_on(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server *server = start_logged(directory, TIER_FAST);
  assert_int_equal(deploy(server_port(server), "trap", "(module (func (export \"handle\") (unreachable)))"), 201);
  assert_int_equal(deploy(server_port(server), "hello", WAT_HELLO), 201);
  fcntl(reading, F_SETPIPE_SZ, 4096);
  for (int i = 0; i < 150; i++) assert_int_equal(status_of(server_port(server), "GET", "/f/trap"), 500);
  double begin = now();
  assert_int_equal(status_of(server_port(server), "GET", "/f/hello"), 200);
  assert_true(now() - begin < 5);
  stop_logged(server, directory);
}

/* A client that goes away ends its invocation, which counts like any other. */
static void test_cancelled_counts(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.gas_limit = (uint64_t)1 << 50;
  o.n_loops = 1;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  assert_int_equal(deploy(port, "loop", "(module (func (export \"handle\") (loop $l (br $l))))"), 201);
  int fd = dial(port);
  send_text(fd, "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  usleep(300000);
  close(fd);
  for (int i = 0;; i++) {
    struct reply r = call(port, "/metrics");
    const char *gas = strstr(r.body, "\ngasworks_gas_total ");
    bool is_counted =
        strstr(r.body, "gasworks_traps_total{trap=\"cancelled\"} 1\n") && gas && strtoull(gas + 20, NULL, 10) > 1000;
    reply_clear(&r);
    if (is_counted) break;
    assert_true(i < 100);
    usleep(50000);
  }
  server_destroy(server);
  remove_data_dir(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_stalled_reader), cmocka_unit_test(test_shares),           cmocka_unit_test(test_failures),
      cmocka_unit_test(test_server_goes_on), cmocka_unit_test(test_cancelled_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
