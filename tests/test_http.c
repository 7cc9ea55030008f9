/* The server over real sockets: HTTP itself, routes, and what functions can do to it. */
#define _GNU_SOURCE /* memmem */
#include "instrument/schedule.h"
#include "tests/http_client.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

static struct server *server;
static uint16_t port;
static char *data_dir;

#define WAT_ECHO                                                                                                               \
  "(module " REPLY IMPORT("request_body",                                                                                      \
                          "(param i32 i32 i32) (result i32)") "(memory (export \"memory\") 16)"                                \
                                                              "(func (export \"handle\") (call $reply (i32.const 1024) (call " \
                                                              "$request_body (i32.const 0) (i32.const 1024) "                  \
                                                              "(i32.const 1000000)))))"
#define WAT_PATH                                                                                                           \
  "(module " REPLY IMPORT("request_path",                                                                                  \
                          "(param i32 i32) (result i32)") "(memory (export \"memory\") 1)"                                 \
                                                          "(func (export \"handle\") (call $reply (i32.const 1024) (call " \
                                                          "$request_path (i32.const 1024) (i32.const 9999)))))"
#define WAT_STATUS                                                                                                       \
  "(module " IMPORT("reply_status", "(param i32)")                                                                       \
      IMPORT("reply_header",                                                                                             \
             "(param i32 i32 i32 i32)") "(memory (export \"memory\") 1) (data (i32.const 16) \"X-Testmagicconnection\")" \
                                        "(func (export \"handle\") (call $reply_status (i32.const 418))"                 \
                                        "(call $reply_header (i32.const 16) (i32.const 6) (i32.const 22) (i32.const 5))))"
/* Replies how often it was called in this instance, as a digit: always 1. Also grows its memory. */
#define WAT_FRESH                                                                                                   \
  "(module " REPLY "(memory (export \"memory\") 1) (global $n (mut i32) (i32.const 48)) (data (i32.const 8) \"0\")" \
  "(func (export \"handle\") (drop (memory.grow (i32.const 1)))"                                                    \
  "(i32.store8 (i32.const 8) (i32.add (i32.load8_u (i32.const 8)) (i32.const 1)))"                                  \
  "(global.set $n (i32.add (global.get $n) (i32.const 1))) (i32.store8 (i32.const 9) (global.get $n))"              \
  "(i32.store8 (i32.const 10) (i32.add (i32.const 48) (memory.size)))"                                              \
  "(call $reply (i32.const 8) (i32.const 3))))"
#define WAT_INITIALIZE                                                               \
  "(module " REPLY "(memory (export \"memory\") 1) (func (export \"_initialize\")"   \
  "(i32.store8 (i32.const 8) (i32.add (i32.load8_u (i32.const 8)) (i32.const 49))))" \
  "(func (export \"handle\") (call $reply (i32.const 8) (i32.const 1))))"
#define WAT_LOOP "(module (func (export \"handle\") (loop $l (br $l))))"
#define WAT_UNREACHABLE "(module (func (export \"handle\") unreachable))"
#define WAT_DIVIDE "(module (func (export \"handle\") (drop (i32.div_u (i32.const 1) (i32.const 0)))))"
#define WAT_BOUNDS "(module (memory 1) (func (export \"handle\") (drop (i32.load (i32.const 0x7fffffff)))))"
#define WAT_FAULT                                                                        \
  "(module (memory 1) (func (export \"handle\") (i32.store (i32.const 0) (i32.const 1))" \
  "(drop (i32.load (i32.const 0x7fffffff)))))"
#define WAT_LATE "(module " IMPORT("clock_ms", "(result i64)") "(func (export \"handle\") (drop (call $clock_ms)) unreachable))"
/* As many rounds as the body's four bytes say, then a counted loop that leaves the memory in its 16,385th round. */
#define WAT_STRIDE                                                                                                              \
  "(module " IMPORT("request_body",                                                                                             \
                    "(param i32 i32 i32) (result i32)") "(memory (export \"memory\") 1) (func (export \"handle\") (local i32)"  \
                                                        "(drop (call $request_body (i32.const 0) (i32.const 0) (i32.const 4)))" \
                                                        "(local.set 0 (i32.load (i32.const 0)))"                                \
                                                        "(loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"  \
                                                        "(loop (i32.store (local.get 0) (i32.const 1))"                         \
                                                        "(local.set 0 (i32.add (local.get 0) (i32.const 4)))"                   \
                                                        "(br_if 0 (i32.ne (local.get 0) (i32.const 0x100000))))))"
#define WAT_RECURSE "(module (func $f (export \"handle\") (call $f) (call $f)))"
/* Adds one to an i32 under the key "n" and replies it in four bytes; state is written before the trap when there is a body. */
#define WAT_COUNTER                                                                                                           \
  "(module " REPLY IMPORT("state_get", "(param i32 i32 i32 i32) (result i32)") IMPORT("state_set", "(param i32 i32 i32 i32)") \
      IMPORT("request_body_size",                                                                                             \
             "(result i32)") "(memory (export \"memory\") 1) (data (i32.const 16) \"n\") (func (export \"handle\")"           \
                             "(drop (call $state_get (i32.const 16) (i32.const 1) (i32.const 32) (i32.const 4)))"             \
                             "(i32.store (i32.const 32) (i32.add (i32.load (i32.const 32)) (i32.const 1)))"                   \
                             "(call $state_set (i32.const 16) (i32.const 1) (i32.const 32) (i32.const 4))"                    \
                             "(if (call $request_body_size) (then unreachable))"                                              \
                             "(call $reply (i32.const 32) (i32.const 4))))"
#define WASI(name, type) "(import \"wasi_snapshot_preview1\" \"" name "\" (func $" name " " type "))"
#define WAT_CGI                                                                                                               \
  "(module " WASI("fd_write",                                                                                                 \
                  "(param i32 i32 i32 i32) (result i32)") "(memory (export \"memory\") 1) (data (i32.const 0) "               \
                                                          "\"\\10\\00\\00\\00\\21\\00\\00\\00\")"                             \
                                                          "(data (i32.const 16) \"Status: 201 Made\\nX-Cgi: yes\\n\\nbody\")" \
                                                          "(func (export \"_start\") (drop (call $fd_write (i32.const 1) "    \
                                                          "(i32.const 0) (i32.const 1) (i32.const 8)))))"
#define WAT_EXIT                                                               \
  "(module " WASI("proc_exit", "(param i32)") "(memory (export \"memory\") 1)" \
                                              "(func (export \"_start\") (call $proc_exit (i32.const 3))))"

/* WAT_LONG writes a page as often as `times` says, and does not look whether that works. WAT_HALF writes its head and
 * exits with 3. */
#define WAT_LONG(head_size, head, times)                                                                                   \
  "(module " WASI("fd_write", "(param i32 i32 i32 i32) (result i32)")                                                      \
      WASI("proc_exit", "(param i32)") "(memory (export \"memory\") 2) (data (i32.const 0) \"\\40\\00\\00\\00\\" head_size \
                                       "\\00\\00\\00\\40\\00\\00\\00\\00\\00\\01\\00\")"                                   \
                                       "(data (i32.const 64) \"" head "\") (func (export \"_start\") (local $i i32)"       \
                                       "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))"  \
                                       "(loop (br_if 1 (i32.ge_u (local.get $i) (i32.const " times ")))"                   \
                                       "(drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))"  \
                                       "(local.set $i (i32.add (local.get $i) (i32.const 1))) (br 0))))"
#define WAT_HALF(head_size, head)                                                                                                \
  "(module " WASI("fd_write", "(param i32 i32 i32 i32) (result i32)")                                                            \
      WASI("proc_exit", "(param i32)") "(memory (export \"memory\") 1) (data (i32.const 0) \"\\40\\00\\00\\00\\" head_size       \
                                       "\\00\\00\\00\")"                                                                         \
                                       "(data (i32.const 64) \"" head "\") (func (export \"_start\")"                            \
                                       "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32))) (call " \
                                       "$proc_exit (i32.const 3))))"

static const struct {
  const char *name, *text;
} functions[] = {
    {"hello", WAT_HELLO},
    {"echo", WAT_ECHO},
    {"path", WAT_PATH},
    {"status", WAT_STATUS},
    {"fresh", WAT_FRESH},
    {"init", WAT_INITIALIZE},
    {"loop", WAT_LOOP},
    {"unreachable", WAT_UNREACHABLE},
    {"divide", WAT_DIVIDE},
    {"bounds", WAT_BOUNDS},
    {"fault", WAT_FAULT},
    {"late", WAT_LATE},
    {"recurse", WAT_RECURSE},
    {"counter", WAT_COUNTER},
    {"cgi", WAT_CGI},
    {"exit", WAT_EXIT},
    {"cut", WAT_LONG("06", "A: b\\n\\n", "100")},
    {"whole", WAT_LONG("06", "A: b\\n\\n", "10")},
    {"half", WAT_HALF("08", "A: b\\n\\nxy")},
    {"said", WAT_HALF("0d", "Status: 404\\n\\n")},
};

static int set_up(void **state) {
  (void)state;
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  o.header_timeout_ms = 1000;
  o.max_reply = 1 << 20;
  server = start(&o);
  port = server_port(server);
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    assert_int_equal(deploy(port, functions[i].name, functions[i].text), 201);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  server_destroy(server);
  remove_data_dir(data_dir);
  return 0;
}

/* Sends `text` on a fresh connection and expects one reply with this status and, if it is an error of the client's, the end. */
static void expect(const char *text, size_t size, int status) {
  int fd = dial(port);
  send_all(fd, text, size);
  struct reply r = receive(fd, true);
  if (r.status != status) print_message("for: %.60s\n%s%s\n", text, r.head, r.body ? r.body : "");
  assert_int_equal(r.status, status);
  if (status >= 400) assert_non_null(strstr(r.head, "application/problem+json"));
  reply_clear(&r);
  close(fd);
}

#define EXPECT(text, status) expect(text, sizeof(text) - 1, status)

/* --- HTTP -------------------------------------------------------------------------------------------------------- */

static void test_keep_alive(void **state) {
  (void)state;
  int fd = dial(port);
  for (int i = 0; i < 5; i++) {
    send_text(fd, "GET /f/hello HTTP/1.1\r\nHost: t\r\n\r\n");
    struct reply r = receive(fd, true);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "hello\n");
    reply_clear(&r);
  }
  send_text(fd, "GET /f/hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  struct reply r = receive(fd, true);
  assert_non_null(strstr(r.head, "Connection: close\r\n"));
  assert_true(is_closed(fd));
  reply_clear(&r);
  close(fd);
  fd = dial(port);
  send_text(fd, "GET /f/hello HTTP/1.0\r\n\r\n");
  r = receive(fd, true);
  assert_int_equal(r.status, 200);
  assert_true(is_closed(fd));
  reply_clear(&r);
  close(fd);
}

static void test_pipelining(void **state) {
  (void)state;
  struct buffer all = {0};
  int fd = dial(port);
  for (int i = 0; i < 100; i++)
    buffer_format(&all, "POST /f/%s HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\n%03d", i % 10 == 3 ? "counter" : "echo", i);
  send_all(fd, all.bytes, all.size);
  for (int i = 0; i < 100; i++) {
    char expected[8];
    snprintf(expected, sizeof expected, "%03d", i);
    struct reply r = receive(fd, true);
    assert_int_equal(r.status, i % 10 == 3 ? 500 : 200); /* the counter traps with a body */
    if (i % 10 != 3) assert_string_equal(r.body, expected);
    reply_clear(&r);
  }
  close(fd);
  buffer_clear(&all);
}

/* Ten functions of many slices each, and their replies still come in order, with a fast one behind each. */
static void test_pipelining_slow(void **state) {
  (void)state;
  struct buffer all = {0};
  int fd = dial(port);
  for (int i = 0; i < 3; i++)
    buffer_format(&all, "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\nGET /f/path/%d HTTP/1.1\r\nHost: t\r\n\r\n", i);
  send_all(fd, all.bytes, all.size);
  for (int i = 0; i < 3; i++) {
    char expected[8];
    snprintf(expected, sizeof expected, "/%d", i);
    struct reply slow = receive(fd, true), fast = receive(fd, true);
    assert_int_equal(slow.status, 402);
    assert_string_equal(fast.body, expected);
    reply_clear(&slow);
    reply_clear(&fast);
  }
  close(fd);
  buffer_clear(&all);
}

static void test_byte_by_byte(void **state) {
  (void)state;
  const char text[] = "POST /f/echo?q=1 HTTP/1.1\r\nHost:   t  \r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n";
  int fd = dial(port);
  for (size_t i = 0; i < sizeof text - 1; i++) send_all(fd, text + i, 1);
  struct reply r = receive(fd, true);
  assert_int_equal(r.status, 200);
  assert_string_equal(r.body, "abcdefg");
  reply_clear(&r);
  close(fd);
}

static void test_large_body(void **state) {
  (void)state;
  size_t size = 900000;
  char *body = malloc(size);
  for (size_t i = 0; i < size; i++) body[i] = (char)(i * 7919 >> 3);
  struct reply r = request(port, "POST", "/f/echo", body, size);
  assert_int_equal(r.status, 200);
  assert_int_equal(r.size, size);
  assert_memory_equal(r.body, body, size);
  reply_clear(&r);
  free(body);
}

/* A client that sends much and reads late: the server waits for it. */
static void test_backpressure(void **state) {
  (void)state;
  enum { N = 60, SIZE = 200000 };
  char *body = calloc(1, SIZE);
  memset(body, 'x', SIZE);
  int fd = dial(port);
  pid_t pid = fork();
  if (pid == 0) { /* the sender */
    for (int i = 0; i < N; i++) {
      char head[128];
      int n = snprintf(head, sizeof head, "POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", SIZE);
      if (send(fd, head, (size_t)n, MSG_NOSIGNAL) != n) _exit(1);
      for (size_t sent = 0; sent < SIZE;) {
        ssize_t m = send(fd, body + sent, SIZE - sent, MSG_NOSIGNAL);
        if (m <= 0) _exit(1);
        sent += (size_t)m;
      }
    }
    _exit(0);
  }
  usleep(300000);
  for (int i = 0; i < N; i++) {
    struct reply r = receive(fd, true);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.size, SIZE);
    reply_clear(&r);
  }
  close(fd);
  free(body);
}

static void test_head(void **state) {
  (void)state;
  int fd = dial(port);
  send_text(fd, "HEAD /f/hello HTTP/1.1\r\nHost: t\r\n\r\nGET /f/hello HTTP/1.1\r\nHost: t\r\n\r\n");
  struct reply head = receive(fd, false), get = receive(fd, true);
  char length[16];
  assert_int_equal(head.status, 200);
  assert_true(header(&head, "content-length", length, sizeof length));
  assert_string_equal(length, "6");
  assert_string_equal(get.body, "hello\n");
  reply_clear(&head);
  reply_clear(&get);
  close(fd);
}

static void test_expect_continue(void **state) {
  (void)state;
  int fd = dial(port);
  send_text(fd, "POST /f/echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  struct reply r = receive(fd, true);
  assert_int_equal(r.status, 100);
  reply_clear(&r);
  send_text(fd, "ok");
  r = receive(fd, true);
  assert_int_equal(r.status, 200);
  assert_string_equal(r.body, "ok");
  reply_clear(&r);
  close(fd);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n", 413);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nExpect: miracles\r\nContent-Length: 9\r\n\r\n", 417);
}

static void test_malformed(void **state) {
  (void)state;
  EXPECT("garbage\r\n\r\n", 400);
  EXPECT("GET /f/hello HTTP/1.1\r\n\r\n", 400); /* no Host */
  EXPECT("GET /f/hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
  EXPECT("GET /f/hello HTTP/2.0\r\nHost: t\r\n\r\n", 505);
  EXPECT("GET /f/hello HTTP/1.1\r\nHost: t\r\nBad Header: x\r\n\r\n", 400);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400);
  EXPECT("GET /f/hello HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n", 400);
  EXPECT("GET /f/he\x01llo HTTP/1.1\r\nHost: t\r\n\r\n", 400);
  /* request smuggling */
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n", 400);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n", 400);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400);
  EXPECT("POST /f/echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
}

static void test_limits(void **state) {
  (void)state;
  struct buffer text = {0};
  buffer_append_string(&text, "GET /f/");
  for (int i = 0; i < 9000; i++) buffer_append_string(&text, "x");
  buffer_append_string(&text, " HTTP/1.1\r\nHost: t\r\n\r\n");
  expect((char *)text.bytes, text.size, 414);
  text.size = 0;
  buffer_append_string(&text, "GET /f/hello HTTP/1.1\r\nHost: t\r\nX: ");
  for (int i = 0; i < 70000; i++) buffer_append_string(&text, "y");
  buffer_append_string(&text, "\r\n\r\n");
  expect((char *)text.bytes, text.size, 431);
  text.size = 0;
  buffer_append_string(&text, "GET /f/hello HTTP/1.1\r\nHost: t\r\n");
  for (int i = 0; i < 200; i++) buffer_format(&text, "X-%d: 1\r\n", i);
  buffer_append_string(&text, "\r\n");
  expect((char *)text.bytes, text.size, 431);
  text.size = 0;
  buffer_append_string(&text, "POST /f/echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; i++) {
    buffer_append_string(&text, "10000\r\n");
    for (int j = 0; j < 65536; j++) buffer_append(&text, "z", 1);
    buffer_append_string(&text, "\r\n");
  }
  expect((char *)text.bytes, text.size, 413);
  EXPECT("POST /f/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1048577\r\n\r\n", 413);
  EXPECT("POST /healthz HTTP/1.1\r\nHost: t\r\nContent-Length: 1048576\r\n\r\n", 413);
  buffer_clear(&text);
}

/* Requests with random damage, in random pieces: whatever comes back, the server goes on. */
static void test_mutations(void **state) {
  (void)state;
  static const char seed[] = "POST /f/echo?a=b HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nX: y\r\n\r\nabc"
                             "PUT /v1/functions/m HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
                             "DELETE /v1/functions/m HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n\r\n"
                             "GET http://t/f/path/%41 HTTP/1.1\r\nHost: t\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
  unsigned random = 1;
  for (int i = 0; i < 600; i++) {
    char text[sizeof seed], scrap[4096];
    memcpy(text, seed, sizeof seed);
    for (int k = 0; k < 1 + i % 5; k++) {
      random = random * 1103515245 + 12345;
      text[(random >> 8) % (sizeof seed - 1)] = (char)(random >> 20);
    }
    int fd = dial(port);
    size_t half = (random >> 4) % sizeof seed;
    if (send(fd, text, half, MSG_NOSIGNAL) > 0 && i % 3 == 0) sched_yield();
    if (send(fd, text + half, sizeof seed - 1 - half, MSG_NOSIGNAL) < 0) random++;
    if (i % 2) shutdown(fd, SHUT_WR);
    if (i % 4 == 1)
      while (recv(fd, scrap, sizeof scrap, 0) > 0) {
      }
    close(fd);
  }
  assert_int_equal(status_of(port, "GET", "/f/hello"), 200);
}

static void test_slow_client(void **state) {
  (void)state;
  int fd = dial(port), silent = dial(port);
  send_text(fd, "GET /f/hello HTT");
  struct reply r = receive(fd, true);
  assert_int_equal(r.status, 408);
  reply_clear(&r);
  assert_true(is_closed(silent));
  close(fd);
  close(silent);
}

/* --- routes ------------------------------------------------------------------------------------------------------ */

static void test_routes(void **state) {
  (void)state;
  assert_int_equal(status_of(port, "GET", "/healthz"), 200);
  assert_int_equal(status_of(port, "GET", "/readyz"), 200);
  assert_int_equal(status_of(port, "GET", "/"), 404);
  assert_int_equal(status_of(port, "GET", "/f/absent"), 404);
  assert_int_equal(status_of(port, "GET", "/f/../etc"), 404);
  assert_int_equal(status_of(port, "GET", "/v1/functions/absent"), 404);
  assert_int_equal(status_of(port, "GET", "/v1/functions/Upper"), 400);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/absent"), 404);
  assert_int_equal(status_of(port, "DELETE", "/v1/functions/hello?state=maybe"), 400);
  assert_int_equal(status_of(port, "GET", "/f/path/%zz"), 400);
  assert_int_equal(status_of(port, "GET", "/f/path/%00"), 400);
  struct reply r = request(port, "POST", "/v1/functions/hello", NULL, 0);
  char allow[64];
  assert_int_equal(r.status, 405);
  assert_true(header(&r, "allow", allow, sizeof allow));
  assert_string_equal(allow, "GET, HEAD, PUT, PATCH, DELETE");
  reply_clear(&r);
  r = call(port, "/v1/functions/hello");
  assert_non_null(strstr(r.body, "\"name\":\"hello\",\"version\":1,"));
  assert_non_null(strstr(r.body, "\"interface\":\"handle\""));
  reply_clear(&r);
  r = call(port, "/v1/functions");
  assert_non_null(strstr(r.body, "\"name\":\"cgi\""));
  reply_clear(&r);
  r = call(port, "/f/path/a%20b/%C3%A9?x=%20");
  assert_string_equal(r.body, "/a b/\xc3\xa9");
  reply_clear(&r);
}

static void test_bad_modules(void **state) {
  (void)state;
  assert_int_equal(deploy_bytes(port, "bad", "", 0), 400);
  assert_int_equal(deploy_bytes(port, "bad", "\0asm\1\0\0\0\1", 9), 400);
  assert_int_equal(deploy(port, "bad", "(module)"), 422);
  assert_int_equal(deploy(port, "bad", "(module (import \"env\" \"f\" (func)) (func (export \"handle\")))"), 422);
  assert_int_equal(deploy(port, "bad", "(module (func (export \"handle\") (result i32) i32.const 1))"), 422);
  assert_int_equal(deploy(port, "bad", "(module (func $s unreachable) (start $s) (func (export \"handle\")))"), 422);
  assert_int_equal(status_of(port, "GET", "/f/bad"), 404);
  struct buffer module = wat(WAT_HELLO);
  uint8_t *call_end = memmem(module.bytes, module.size, "\x10\x00\x0b", 3);
  assert_non_null(call_end);
  call_end[0] = 0xff; /* no instruction */
  struct reply r = request(port, "PUT", "/v1/functions/bad", module.bytes, module.size);
  assert_true(r.status == 400 || r.status == 422);
  assert_non_null(strstr(r.body, "\"offset\":"));
  reply_clear(&r);
  buffer_clear(&module);
}

/* --- functions --------------------------------------------------------------------------------------------------- */

static void test_fresh_instances(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    struct reply r = call(port, "/f/fresh");
    assert_string_equal(r.body, "112");
    reply_clear(&r);
    r = call(port, "/f/init");
    assert_string_equal(r.body, "1");
    reply_clear(&r);
  }
}

static void test_same_gas(void **state) {
  (void)state;
  char first[32] = "", gas[32];
  for (int i = 0; i < 20; i++) {
    struct reply r = call(port, "/f/fresh");
    assert_true(header(&r, "gasworks-gas", gas, sizeof gas));
    if (!*first) memcpy(first, gas, sizeof gas);
    assert_string_equal(gas, first);
    assert_true(atoi(gas) > 0);
    reply_clear(&r);
  }
}

static void test_reply_headers(void **state) {
  (void)state;
  struct reply r = call(port, "/f/status");
  char value[32];
  assert_int_equal(r.status, 418);
  assert_true(header(&r, "x-test", value, sizeof value));
  assert_string_equal(value, "magic");
  reply_clear(&r);
}

/* A command that asks for nothing of WASI is a command all the same. */
static void test_empty_command(void **state) {
  (void)state;
  assert_int_equal(deploy(port, "empty", "(module (func (export \"_start\")))"), 201);
  for (int i = 0; i < 3; i++) {
    struct reply r = call(port, "/f/empty");
    assert_int_equal(r.status, 200);
    reply_clear(&r);
  }
}

static void test_cgi(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    struct reply r = call(port, "/f/cgi");
    char value[32];
    assert_int_equal(r.status, 201);
    assert_true(header(&r, "x-cgi", value, sizeof value));
    assert_string_equal(r.body, "body");
    reply_clear(&r);
  }
  struct reply r = call(port, "/f/exit");
  assert_int_equal(r.status, 502);
  assert_non_null(strstr(r.body, "function exit exited with code 3"));
  reply_clear(&r);
  static const struct {
    const char *path;
    int status;
  } ends[] = {{"/f/cut", 502}, {"/f/whole", 200}, {"/f/half", 502}, {"/f/said", 404}};
  for (int i = 0; i < 8; i++) { /* again: a slot that was cut is not spoilt for the next */
    r = call(port, ends[i % 4].path);
    if (r.status != ends[i % 4].status) fail_msg("%s: %d %.200s", ends[i % 4].path, r.status, r.body);
    reply_clear(&r);
  }
}

static void test_traps(void **state) {
  (void)state;
  static const struct {
    const char *path, *trap;
    int status;
  } cases[] = {
      {"/f/unreachable", "unreachable", 500},
      {"/f/divide", "integer divide by zero", 500},
      {"/f/bounds", "out of bounds memory access", 500},
      {"/f/recurse", "call stack exhausted", 500},
      {"/f/loop", "out of gas", 402},
  };
  for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
    size_t k = i % (sizeof cases / sizeof *cases);
    char trap[64];
    snprintf(trap, sizeof trap, "\"trap\":\"%s\"", cases[k].trap);
    struct reply r = call(port, cases[k].path);
    assert_int_equal(r.status, cases[k].status);
    assert_non_null(strstr(r.body, trap));
    assert_non_null(strstr(r.body, "\"gas\":"));
    reply_clear(&r);
    assert_int_equal(status_of(port, "GET", "/f/hello"), 200);
  }
}

/* A trap runs again in the precise tier, which knows the place and the gas to the unit: also behind a write of state, which is
 * not kept, but not where the first run looked at the clock. */
static void test_judge(void **state) {
  (void)state;
  const uint32_t *price = schedule_default()->gas;
  uint64_t wanted = 3 * price[COST_CONST] + price[COST_STORE] + price[COST_LOAD] + 2 * price[COST_CTL] + price[COST_INITIAL_PAGE];
  for (int i = 0; i < 3; i++) {
    struct reply fault = call(port, "/f/fault");
    assert_int_equal(fault.status, 500);
    assert_non_null(strstr(fault.body, "out of bounds memory access in function handle at byte 0x"));
    assert_int_equal(strtoull(strstr(fault.body, "\"gas\":") + 6, NULL, 10), wanted);
    assert_non_null(strstr(fault.body, "\"backtrace\":[\"0: handle at byte 0x"));
    reply_clear(&fault);
  }
  struct reply counted = request(port, "POST", "/f/counter", "x", 1);
  assert_int_equal(counted.status, 500);
  assert_non_null(strstr(counted.body, "unreachable in function handle at byte 0x"));
  reply_clear(&counted);
  struct reply late = call(port, "/f/late");
  assert_int_equal(late.status, 500);
  assert_non_null(strstr(late.body, "at byte")); /* the second run read the same clock */
  reply_clear(&late);
}

/* Status and gas of the failure. */
static int stride(uint16_t at, uint32_t rounds, uint64_t *gas) {
  struct reply r = request(at, "POST", "/f/stride", &rounds, sizeof rounds);
  int status = r.status;
  const char *member = strstr(r.body, "\"gas\":");
  assert_non_null(member);
  *gas = strtoull(member + 6, NULL, 10);
  assert_non_null(strstr(r.body, status == 402 ? "out of gas" : "out of bounds memory access"));
  reply_clear(&r);
  return status;
}

/* Compiled code notices after a chunk of a counted loop that gas ran out; what traps before that came too late. */
static void test_gas_before_trap(void **state) {
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  uint64_t one, many, gas;
  (void)state;
  o.opt_level = 2;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  assert_int_equal(deploy(at, "stride", WAT_STRIDE), 201);
  assert_int_equal(stride(at, 1, &one), 500);
  assert_int_equal(stride(at, 1001, &many), 500);
  uint64_t round = (many - one) / 1000, rounds = (o.gas_limit - one) / round;
  for (uint32_t i = 0; i < 3; i++) { /* the last two, three or four rounds have no gas */
    assert_int_equal(stride(at, (uint32_t)rounds + 2 + i, &gas), 402);
    assert_int_equal(gas, o.gas_limit);
  }
  assert_int_equal(stride(at, (uint32_t)rounds, &gas), 500);
  assert_in_range(gas, o.gas_limit - 2 * round, o.gas_limit);
  server_stop(own);
  server_destroy(own);
  remove_data_dir(directory);
}

static int counter(void) {
  int n = -1;
  struct reply r = call(port, "/f/counter");
  if (r.status == 200 && r.size == 4) memcpy(&n, r.body, 4);
  reply_clear(&r);
  return n;
}

static void test_state(void **state) {
  (void)state;
  int n = counter();
  assert_true(n > 0);
  assert_int_equal(counter(), n + 1);
  struct reply r = request(port, "POST", "/f/counter", "x", 1); /* writes, then traps */
  assert_int_equal(r.status, 500);
  reply_clear(&r);
  assert_int_equal(counter(), n + 2);
}

static void *count_fifty(void *arg) {
  int *ok = arg;
  for (int i = 0; i < 50; i++) *ok += counter() > 0;
  return NULL;
}

/* Conflicts are run again: no increment is lost among those that were answered. */
static void test_state_conflicts(void **state) {
  (void)state;
  pthread_t threads[4];
  int ok[4] = {0}, before = counter(), sum = 0;
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, count_fifty, &ok[i]);
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    sum += ok[i];
  }
  assert_true(sum > 100);
  assert_int_equal(counter(), before + sum + 1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Endless functions on both loops; others answer while they run, and a client that leaves ends its own. */
static void test_slices(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.gas_limit = 1000000000000;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  assert_int_equal(deploy(at, "hello", WAT_HELLO), 201);
  assert_int_equal(deploy(at, "loop", WAT_LOOP), 201);
  int loops[8];
  for (int i = 0; i < 8; i++) {
    loops[i] = dial(at);
    send_text(loops[i], "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  }
  usleep(100000);
  double begin = now();
  for (int i = 0; i < 20; i++) assert_int_equal(status_of(at, "GET", "/f/hello"), 200);
  assert_true(now() - begin < 10);
  struct pollfd none = {.fd = loops[0], .events = POLLIN};
  assert_int_equal(poll(&none, 1, 0), 0); /* still running */
  for (int i = 0; i < 8; i++) close(loops[i]);
  begin = now();
  server_destroy(own); /* would take the whole grace period if they still ran */
  assert_true(now() - begin < 4);
  remove_data_dir(directory);
}

#define STATE_SET IMPORT("state_set", "(param i32 i32 i32 i32)")
#define STATE_GET IMPORT("state_get", "(param i32 i32 i32 i32) (result i32)")
/* Reads, computes for long, reads again and writes. */
#define WAT_LONG_READER                                                                                         \
  "(module " STATE_SET STATE_GET "(memory (export \"memory\") 2) (func (export \"handle\") (local $i i32)"      \
  "(drop (call $state_get (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 8)))"                           \
  "(loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300000000))))" \
  "(drop (call $state_get (i32.const 0) (i32.const 2) (i32.const 16) (i32.const 8)))"                           \
  "(call $state_set (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 8))))"
#define WAT_WRITER                                                                \
  "(module " STATE_SET "(memory (export \"memory\") 2) (func (export \"handle\")" \
  "(call $state_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 65536))))"

/* Functions that read and then compute for seconds: others' writes go on in a store of little room. */
static void test_long_readers(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.map_size = 3 << 20;
  o.gas_limit = 10000000000;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  assert_int_equal(deploy(at, "reader", WAT_LONG_READER), 201);
  assert_int_equal(deploy(at, "writer", WAT_WRITER), 201);
  int readers[2];
  for (int i = 0; i < 2; i++) {
    readers[i] = dial(at);
    send_text(readers[i], "GET /f/reader HTTP/1.1\r\nHost: t\r\n\r\n");
  }
  usleep(400000);
  for (int i = 0; i < 150; i++) assert_int_equal(status_of(at, "GET", "/f/writer"), 200);
  for (int i = 0; i < 2; i++) {
    struct reply r = receive(readers[i], true);
    assert_int_equal(r.status, 200);
    reply_clear(&r);
    close(readers[i]);
  }
  server_destroy(own);
  remove_data_dir(directory);
}

#define WAT_SET                                                                                                             \
  "(module " STATE_SET "(memory (export \"memory\") 1) (data (i32.const 0) \"k\") (func (export \"handle\") (local $i i32)" \
  "(loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const %d))))"                    \
  "(call $state_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))))"
#define WAT_HAS                                                                                                         \
  "(module " STATE_GET REPLY "(memory (export \"memory\") 1) (data (i32.const 0) \"knoyes\") (func (export \"handle\")" \
  "(if (i32.lt_s (call $state_get (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 8)) (i32.const 0))"             \
  "(then (call $reply (i32.const 1) (i32.const 2))) (else (call $reply (i32.const 3) (i32.const 3))))))"

static void expect_body(uint16_t at, const char *path, const char *part, bool is_there) {
  struct reply r = call(at, path);
  if ((strstr(r.body, part) != NULL) != is_there) fail_msg("%s: %s", path, r.body);
  reply_clear(&r);
}

/* State that stays is listed and can be removed; state that goes does not come back by whoever still ran. */
static void test_deleted_state(void **state) {
  (void)state;
  char *directory = make_data_dir(), slow[1024], fast[1024];
  struct server_options o = test_options(directory);
  o.gas_limit = 10000000000;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  snprintf(slow, sizeof slow, WAT_SET, 300000000);
  snprintf(fast, sizeof fast, WAT_SET, 1);
  assert_int_equal(deploy(at, "s", fast), 201);
  assert_int_equal(status_of(at, "GET", "/f/s"), 200);
  assert_int_equal(status_of(at, "DELETE", "/v1/functions/s"), 204);
  expect_body(at, "/v1/functions", "\"kept_state\":[\"s\"]", true);
  assert_int_equal(deploy(at, "s", WAT_HAS), 201);
  expect_body(at, "/v1/functions", "\"kept_state\":[]", true);
  expect_body(at, "/f/s", "yes", true);
  assert_int_equal(status_of(at, "DELETE", "/v1/functions/s"), 204);
  assert_int_equal(status_of(at, "DELETE", "/v1/functions/s"), 404);
  assert_int_equal(status_of(at, "DELETE", "/v1/functions/s?state=delete"), 204);
  assert_int_equal(status_of(at, "DELETE", "/v1/functions/s?state=delete"), 404);
  expect_body(at, "/v1/functions", "\"kept_state\":[]", true);
  assert_int_equal(deploy(at, "s", slow), 201);
  int fd = dial(at);
  send_text(fd, "GET /f/s HTTP/1.1\r\nHost: t\r\n\r\n");
  usleep(100000);
  assert_int_equal(status_of(at, "DELETE", "/v1/functions/s?state=delete"), 204);
  assert_int_equal(deploy(at, "s", WAT_HAS), 201);
  struct reply r = receive(fd, true);
  expect_body(at, "/f/s", "no", true);
  reply_clear(&r);
  close(fd);
  server_destroy(own);
  remove_data_dir(directory);
}

/* Clients that do not read their replies lose them when they are too many; others are served. */
static void test_replies_that_wait(void **state) {
  (void)state;
  enum { N = 12 };
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.max_memory = 64 << 20;
  o.max_waiting = 48 << 20;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  int fds[N], n_closed = 0;
  assert_int_equal(deploy(at, "big",
                          "(module " REPLY "(memory (export \"memory\") 256) (func (export \"handle\") (call $reply "
                          "(i32.const 0) (i32.const 16777216))))"),
                   201);
  assert_int_equal(deploy(at, "hello", WAT_HELLO), 201);
  for (int i = 0; i < N; i++) {
    fds[i] = dial(at);
    send_text(fds[i], "GET /f/big HTTP/1.1\r\nHost: t\r\n\r\n");
  }
  usleep(500000);
  for (int i = 0; i < 4; i++) assert_int_equal(status_of(at, "GET", "/f/hello"), 200);
  for (int i = 0; i < N; i++) {
    size_t got = 0;
    ssize_t n;
    struct timeval limit = {.tv_sec = 1};
    setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (char part[65536]; (n = recv(fds[i], part, sizeof part, 0)) > 0;) got += (size_t)n;
    n_closed += got < 16777216;
    close(fds[i]);
  }
  if (n_closed < N / 3 || n_closed == N) fail_msg("%d of %d were closed", n_closed, N);
  server_destroy(own);
  remove_data_dir(directory);
}

/* One function's invocations take at most half of the places. */
static void test_overload_by_one(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.max_running = 8;
  o.gas_limit = 1000000000000;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  int loops[8];
  assert_int_equal(deploy(at, "loop", WAT_LOOP), 201);
  assert_int_equal(deploy(at, "hello", WAT_HELLO), 201);
  for (int i = 0; i < 8; i++) {
    loops[i] = dial(at);
    send_text(loops[i], "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  }
  usleep(200000);
  assert_int_equal(status_of(at, "GET", "/f/loop"), 503);
  for (int i = 0; i < 4; i++) assert_int_equal(status_of(at, "GET", "/f/hello"), 200);
  for (int i = 0; i < 8; i++) close(loops[i]);
  usleep(2000000);      /* more than EOF_GRACE_MS */
  int again = dial(at); /* they have given their places back */
  send_text(again, "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  struct pollfd none = {.fd = again, .events = POLLIN};
  assert_int_equal(poll(&none, 1, 300), 0);
  close(again);
  server_destroy(own);
  remove_data_dir(directory);
}

/* More invocations than allowed get 503 at once; others of the loop go on. */
static void test_overload(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.max_running = 2;
  o.gas_limit = 1000000000000;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  assert_int_equal(deploy(at, "loop", WAT_LOOP), 201);
  int loops[2];
  for (int i = 0; i < 2; i++) {
    loops[i] = dial(at);
    send_text(loops[i], "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  }
  usleep(100000);
  struct reply r = call(at, "/f/loop");
  char after[16];
  assert_int_equal(r.status, 503);
  assert_true(header(&r, "retry-after", after, sizeof after));
  reply_clear(&r);
  assert_int_equal(status_of(at, "GET", "/healthz"), 200);
  for (int i = 0; i < 2; i++) close(loops[i]);
  server_destroy(own);
  remove_data_dir(directory);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

/* A request that runs when the shutdown begins gets its answer; new connections do not. */
static void test_shutdown(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.gas_limit = 3000000000;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  assert_int_equal(deploy(at, "loop", WAT_LOOP), 201);
  int idle = dial(at), busy = dial(at);
  send_text(busy, "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  usleep(50000);
  server_stop(own);
  assert_true(is_closed(idle));
  struct reply r = receive(busy, true);
  assert_true(r.status == 402 || r.status == 503); /* 503: slower than the grace period */
  assert_true(is_closed(busy));
  reply_clear(&r);
  struct gw_error err = {0};
  assert_true(server_run(own, &err));
  server_destroy(own);
  close(idle);
  close(busy);
  remove_data_dir(directory);
}

static void test_grace(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.gas_limit = 1000000000000;
  o.grace_ms = 200;
  struct server *own = start(&o);
  uint16_t at = server_port(own);
  assert_int_equal(deploy(at, "loop", WAT_LOOP), 201);
  int busy = dial(at);
  send_text(busy, "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  usleep(50000);
  double begin = now();
  server_stop(own);
  struct reply r = receive(busy, true);
  assert_int_equal(r.status, 503);
  reply_clear(&r);
  server_destroy(own);
  assert_true(now() - begin < 5);
  close(busy);
  remove_data_dir(directory);
}

/* The last invocation ends, and its connection with it, while the server stops: its pool is freed, though its flow has not been
 * forgotten yet (LeakSanitizer). */
static void test_stop_behind_last(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    char *directory = make_data_dir();
    struct server_options o = test_options(directory);
    o.n_loops = 1;
    o.gas_limit = 30000000;
    struct server *own = start(&o);
    uint16_t at = server_port(own);
    assert_int_equal(deploy(at, "loop", WAT_LOOP), 201);
    int busy = dial(at);
    send_text(busy, "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
    usleep(10000);
    server_stop(own);
    server_destroy(own);
    close(busy);
    remove_data_dir(directory);
  }
}

static void *stop_by_signal(void *arg) {
  usleep(100000);
  kill(getpid(), SIGTERM);
  return arg;
}

static void test_sigterm(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  struct server *own = start(&o);
  struct gw_error err = {0};
  pthread_t thread;
  pthread_create(&thread, NULL, stop_by_signal, NULL);
  assert_true(server_run(own, &err));
  pthread_join(thread, NULL);
  server_destroy(own);
  remove_data_dir(directory);
}

static void test_busy_address(void **state) {
  (void)state;
  struct gw_error err = {0};
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.port = port;
  assert_null(server_start(&o, &err));
  assert_non_null(strstr(err.message, "cannot listen"));
  o = test_options(data_dir);
  err = (struct gw_error){0};
  assert_null(server_start(&o, &err));
  assert_non_null(strstr(err.message, "in use"));
  remove_data_dir(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_keep_alive),
      cmocka_unit_test(test_pipelining),
      cmocka_unit_test(test_pipelining_slow),
      cmocka_unit_test(test_byte_by_byte),
      cmocka_unit_test(test_large_body),
      cmocka_unit_test(test_backpressure),
      cmocka_unit_test(test_head),
      cmocka_unit_test(test_expect_continue),
      cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_mutations),
      cmocka_unit_test(test_slow_client),
      cmocka_unit_test(test_routes),
      cmocka_unit_test(test_bad_modules),
      cmocka_unit_test(test_fresh_instances),
      cmocka_unit_test(test_same_gas),
      cmocka_unit_test(test_reply_headers),
      cmocka_unit_test(test_empty_command),
      cmocka_unit_test(test_cgi),
      cmocka_unit_test(test_traps),
      cmocka_unit_test(test_judge),
      cmocka_unit_test(test_gas_before_trap),
      cmocka_unit_test(test_state),
      cmocka_unit_test(test_state_conflicts),
      cmocka_unit_test(test_slices),
      cmocka_unit_test(test_overload),
      cmocka_unit_test(test_deleted_state),
      cmocka_unit_test(test_long_readers),
      cmocka_unit_test(test_replies_that_wait),
      cmocka_unit_test(test_overload_by_one),
      cmocka_unit_test(test_shutdown),
      cmocka_unit_test(test_grace),
      cmocka_unit_test(test_stop_behind_last),
      cmocka_unit_test(test_sigterm),
      cmocka_unit_test(test_busy_address),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
