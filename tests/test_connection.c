/* Connections that take long, much, or leave: each test has a server of its own with one loop, so that all share it. */
#include "tests/http_client.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#define WAT_LOOP "(module (func (export \"handle\") (loop $l (br $l))))"
/* More than what the kernel holds. */
#define WAT_LARGE                                                                                   \
  "(module " REPLY "(memory (export \"memory\") 1)"                                                 \
  "(func (export \"handle\") (local $i i32) (loop $l (call $reply (i32.const 0) (i32.const 65536))" \
  "(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200))))))"
/* Some 100 us of work. */
#define WAT_WORK                                                                                                        \
  "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 0) \"x\") (func (export \"handle\") (local $i i32)" \
  "(loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50000))))"             \
  "(call $reply (i32.const 0) (i32.const 1))))"

static struct server *server;
static uint16_t port;
static char *data_dir;

static struct server_options options(void) {
  struct server_options o = test_options(data_dir);
  o.n_loops = 1;
  return o;
}

static void begin(const struct server_options *o) {
  server = start(o);
  port = server_port(server);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  assert_int_equal(deploy(port, "loop", WAT_LOOP), 201);
  assert_int_equal(deploy(port, "work", WAT_WORK), 201);
  assert_int_equal(deploy(port, "large", WAT_LARGE), 201);
}

static int set_up(void **state) {
  (void)state;
  data_dir = make_data_dir();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  server_destroy(server);
  server = NULL;
  remove_data_dir(data_dir);
  return 0;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pipeline(struct buffer *all, const char *path, int n) {
  for (int i = 0; i < n; i++) buffer_format(all, "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", path);
}

/* Sends what the other side takes within a second. */
static size_t send_much(int fd, const void *bytes, size_t size) {
  size_t sent = 0;
  for (double end = now() + 1; sent < size && now() < end;) {
    ssize_t n = send(fd, (const char *)bytes + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
      sent += (size_t)n;
    else
      usleep(10000);
  }
  return sent;
}

/* --- turns --------------------------------------------------------------------------------------------------------- */

/* Successful replies that have come so far; `all` keeps them. */
static int replies_there(int fd, struct buffer *all) {
  char bytes[4096];
  int n = 0;
  for (ssize_t m; (m = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;) buffer_append(all, bytes, (size_t)m);
  buffer_append(all, "", 1);
  all->size--;
  for (const char *at = (const char *)all->bytes; (at = strstr(at, "HTTP/1.1 200")); at++) n++;
  return n;
}

/* Hundreds of requests of one client are there before the only one of another. */
static void test_turns(void **state) {
  (void)state;
  enum { N = 800 };
  struct server_options o = options();
  begin(&o);
  struct buffer all = {0}, replies = {0};
  int greedy = dial(port), other = dial(port);
  pipeline(&all, "/f/work", N);
  send_all(greedy, all.bytes, all.size);
  usleep(20000); /* they are being answered */
  send_text(other, "GET /f/hello HTTP/1.1\r\nHost: t\r\n\r\n");
  struct reply r = receive(other, true);
  int before = replies_there(greedy, &replies), after = before;
  assert_int_equal(r.status, 200);
  reply_clear(&r);
  assert_in_range(before, 1, N / 2);
  for (double end = now() + 60; after < N && now() < end; usleep(10000)) after = replies_there(greedy, &replies);
  assert_int_equal(after, N); /* in the end all are answered */
  close(greedy);
  close(other);
  buffer_clear(&replies);
  buffer_clear(&all);
}

/* A client that leaves while its turn is waited for. */
static void test_turns_abandoned(void **state) {
  (void)state;
  struct server_options o = options();
  begin(&o);
  struct buffer all = {0};
  pipeline(&all, "/f/work", 1000);
  for (int i = 0; i < 20; i++) {
    int fd = dial(port);
    send_much(fd, all.bytes, all.size);
    struct linger reset = {.l_onoff = 1};
    if (i % 2) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
  }
  assert_int_equal(status_of(port, "GET", "/f/hello"), 200);
  buffer_clear(&all);
}

/* --- behind a running request -------------------------------------------------------------------------------------- */

/* However much stands behind a running request: when its client has gone, it ends. */
static void leave_behind(size_t size) {
  struct server_options o = options();
  o.gas_limit = 1000000000000;
  begin(&o);
  struct buffer all = {0};
  int fd = dial(port);
  pipeline(&all, "/f/loop", 1);
  while (all.size < size) pipeline(&all, "/f/hello", 1);
  send_much(fd, all.bytes, all.size);
  close(fd);
  double begun = now();
  server_stop(server); /* would take the whole grace period if it still ran */
  server_destroy(server);
  server = NULL;
  assert_true(now() - begun < 4);
  buffer_clear(&all);
}

static void test_leave_some(void **state) {
  (void)state;
  leave_behind(100 << 10);
}

static void test_leave_more(void **state) {
  (void)state;
  leave_behind(300 << 10);
}

/* Nothing of it is in sight while the buffers of both kernels are full. */
static void test_leave_much(void **state) {
  (void)state;
  leave_behind(8 << 20);
}

/* --- time ---------------------------------------------------------------------------------------------------------- */

/* Sends a body of `size` bytes in pieces with a pause behind each; returns the status. */
static int send_slowly(size_t size, size_t piece, useconds_t pause) {
  char head[128], bytes[4096] = {0};
  int fd = dial(port);
  snprintf(head, sizeof head, "POST /f/hello HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", size);
  send_text(fd, head);
  for (size_t sent = 0; sent < size; sent += piece) {
    if (send(fd, bytes, piece, MSG_NOSIGNAL) < 0) break;
    usleep(pause);
  }
  struct reply r = receive(fd, true);
  int status = r.status;
  reply_clear(&r);
  close(fd);
  return status;
}

/* A body may take long, but not do nothing. */
static void test_slow_body(void **state) {
  (void)state;
  struct server_options o = options();
  o.body_timeout_ms = 1000;
  begin(&o);
  assert_int_equal(send_slowly(30 * 400, 400, 100000), 200); /* 3 s at 4,000 bytes a second */
  double begun = now();
  assert_int_equal(send_slowly(100, 2, 100000), 408);
  assert_true(now() - begun < 5);
}

/* Reads a large reply in pieces; returns how much came. */
static size_t read_slowly(size_t piece, useconds_t pause, double seconds) {
  static char bytes[1 << 20];
  int small = 32 << 10, fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  send_text(fd, "GET /f/large HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  size_t size = 0;
  ssize_t n;
  for (double end = now() + seconds; now() < end && (n = recv(fd, bytes, piece, 0)) > 0; usleep(pause)) size += (size_t)n;
  for (usleep(2000000); (n = recv(fd, bytes, sizeof bytes, 0)) > 0;) size += (size_t)n;
  close(fd);
  return size;
}

/* So may a reply. */
static void test_slow_reader(void **state) {
  (void)state;
  enum { ALL = 200 * 65536 };
  struct server_options o = options();
  o.idle_timeout_ms = 2000;
  begin(&o);
  assert_true(read_slowly(1 << 20, 50000, 60) >= ALL);
  assert_true(read_slowly(10, 100000, 5) < ALL);
}

/* --- the end ------------------------------------------------------------------------------------------------------- */

static void *run(void *arg) {
  struct gw_error err = {0};
  assert_true(server_run(arg, &err));
  return NULL;
}

/* After SIGTERM the server says that it will go, and goes on for a while: who looks at /readyz sends its requests elsewhere. */
static void test_drain(void **state) {
  (void)state;
  struct server_options o = options();
  o.drain_ms = 1500;
  begin(&o);
  pthread_t thread;
  pthread_create(&thread, NULL, run, server);
  assert_int_equal(status_of(port, "GET", "/readyz"), 200);
  double begun = now();
  kill(getpid(), SIGTERM);
  usleep(300000);
  assert_int_equal(status_of(port, "GET", "/readyz"), 503);
  assert_int_equal(status_of(port, "GET", "/healthz"), 200);
  assert_int_equal(status_of(port, "GET", "/f/hello"), 200);
  int fd = dial(port);
  send_text(fd, "GET /f/hello HTTP/1.1\r\nHost: t\r\n\r\n");
  struct reply r = receive(fd, true);
  assert_non_null(strstr(r.head, "Connection: close\r\n")); /* nor on a connection that is there */
  reply_clear(&r);
  close(fd);
  pthread_join(thread, NULL);
  assert_true(now() - begun >= 1.4);
}

/* A second signal, or one from a terminal, ends it at once. */
static void test_no_drain(void **state) {
  (void)state;
  struct server_options o = options();
  o.drain_ms = 20000;
  begin(&o);
  pthread_t thread;
  pthread_create(&thread, NULL, run, server);
  usleep(100000);
  kill(getpid(), SIGTERM);
  usleep(200000);
  kill(getpid(), SIGINT);
  double begun = now();
  pthread_join(thread, NULL);
  assert_true(now() - begun < 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_turns),     TEST(test_turns_abandoned), TEST(test_leave_some), TEST(test_leave_more), TEST(test_leave_much),
      TEST(test_slow_body), TEST(test_slow_reader),     TEST(test_drain),      TEST(test_no_drain),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
