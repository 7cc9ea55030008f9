/* For tests of the server: modules from text, raw sockets, replies taken apart. */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include "base/buffer.h"
#include "runtime/trap.h"
#include "server/server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* libuv closes descriptors by a bare system call, which the thread sanitizer does not see: it takes a number's next use for a
 * race with the last one. */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void) {
  return "race:epoll_ctl\nrace:interceptor_close\n";
}

/* The module for a text, by wat2wasm. Sanity is the caller's: a bad text fails the test. */
static inline struct buffer wat(const char *text) {
  char source[] = "/tmp/gasworks-test-XXXXXX", output[64], command[160];
  int fd = mkstemp(source);
  assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
  snprintf(output, sizeof output, "%s.wasm", source);
  snprintf(command, sizeof command, "wat2wasm %s -o %s", source, output);
  assert_int_equal(system(command), 0);
  struct buffer bytes = {0};
  struct gw_error err = {0};
  assert_true(buffer_read_file(&bytes, output, 4 << 20, &err));
  unlink(source);
  unlink(output);
  return bytes;
}

/* For each test cmocka puts its signal handlers in front of the engine's, which comes back with new slots only: the server of a
 * whole group may need none. */
static int dial(uint16_t port) {
  struct gw_error err = {0};
  if (!trap_handlers_install(&err)) fail_msg("%s", err.message);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  struct timeval limit = {.tv_sec = 30};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  return fd;
}

static void send_all(int fd, const void *bytes, size_t size) {
  for (size_t sent = 0; sent < size;) {
    ssize_t n = send(fd, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
    assert_true(n > 0);
    sent += (size_t)n;
  }
}

static void send_text(int fd, const char *text) { send_all(fd, text, strlen(text)); }

/* What came back. `head` and `body` are NUL-terminated. */
struct reply {
  int status; /* 0: the connection ended before a reply */
  char head[4096];
  char *body;
  size_t size;
};

static void reply_clear(struct reply *r) {
  free(r->body);
  *r = (struct reply){0};
}

static bool header(const struct reply *r, const char *name, char *out, size_t size) {
  for (const char *line = strstr(r->head, "\r\n"); line; line = strstr(line, "\r\n")) {
    line += 2;
    if (strncasecmp(line, name, strlen(name)) != 0 || line[strlen(name)] != ':') continue;
    snprintf(out, size, "%.*s", (int)strcspn(line + strlen(name) + 2, "\r"), line + strlen(name) + 2);
    return true;
  }
  return false;
}

/* Reads exactly one reply, byte by byte in the head so that the next one stays in the socket. */
static struct reply receive(int fd, bool has_body) {
  struct reply r = {0};
  char length[32] = "0";
  size_t n = 0;
  while (n < sizeof r.head - 1 && (n < 4 || memcmp(r.head + n - 4, "\r\n\r\n", 4) != 0)) {
    if (recv(fd, r.head + n, 1, 0) <= 0) return (struct reply){0};
    n++;
  }
  assert_int_equal(sscanf(r.head, "HTTP/1.1 %d", &r.status), 1);
  header(&r, "content-length", length, sizeof length);
  r.size = has_body && r.status >= 200 ? strtoul(length, NULL, 10) : 0;
  r.body = calloc(1, r.size + 1);
  for (size_t got = 0; got < r.size;) {
    ssize_t m = recv(fd, r.body + got, r.size - got, 0);
    assert_true(m > 0);
    got += (size_t)m;
  }
  return r;
}

/* True when the server has closed the connection (with everything read). */
static inline bool is_closed(int fd) {
  char byte;
  return recv(fd, &byte, 1, 0) <= 0;
}

/* One request on a connection of its own. */
static struct reply request(uint16_t port, const char *method, const char *path, const void *body, size_t size) {
  char head[1024];
  int fd = dial(port);
  snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", method, path,
           size);
  send_text(fd, head);
  if (size) send_all(fd, body, size);
  struct reply r = receive(fd, strcmp(method, "HEAD") != 0);
  close(fd);
  return r;
}

static inline int status_of(uint16_t port, const char *method, const char *path) {
  struct reply r = request(port, method, path, NULL, 0);
  int status = r.status;
  reply_clear(&r);
  return status;
}

static inline int deploy_bytes(uint16_t port, const char *name, const void *bytes, size_t size) {
  char path[128];
  snprintf(path, sizeof path, "/v1/functions/%s", name);
  struct reply r = request(port, "PUT", path, bytes, size);
  int status = r.status;
  if (status >= 300) print_message("PUT %s: %s\n", name, r.body);
  reply_clear(&r);
  return status;
}

static inline int deploy(uint16_t port, const char *name, const char *text) {
  struct buffer bytes = wat(text);
  int status = deploy_bytes(port, name, bytes.bytes, bytes.size);
  buffer_clear(&bytes);
  return status;
}

static inline struct reply call(uint16_t port, const char *path) { return request(port, "GET", path, NULL, 0); }

/* A data directory of its own. */
static char *make_data_dir(void) {
  char *path = strdup("/tmp/gasworks-data-XXXXXX");
  assert_non_null(mkdtemp(path));
  return path;
}

static void remove_data_dir(char *path) {
  char command[256];
  snprintf(command, sizeof command, "rm -rf %s", path);
  assert_int_equal(system(command), 0);
  free(path);
}

/* Nobody needs a token, and the server answers to the Host of the requests above. */
static struct server_options test_options(const char *data_dir) {
  static const char *const hosts[] = {"t", "x"};
  struct server_options o;
  server_options_init(&o);
  o.is_insecure = true;
  o.hosts = hosts;
  o.n_hosts = sizeof hosts / sizeof *hosts;
  o.port = 0;
  o.data_dir = data_dir;
  o.n_loops = 2;
  o.opt_level = 0;
  o.tier = TIER_FAST; /* functions are compiled when they have been deployed */
  o.sync = false;
  o.map_size = 64 << 20;
  o.gas_limit = 100000000;
  o.slice = 1000000;
  o.max_memory = 1 << 20;
  o.max_body = 1 << 20;
  o.max_module = 2 << 20;
  o.grace_ms = 5000;
  return o;
}

static inline struct server *start(const struct server_options *o) {
  struct gw_error err = {0};
  struct server *server = server_start(o, &err);
  if (!server) fail_msg("%s", err.message);
  return server;
}

#define IMPORT(name, type) "(import \"gasworks\" \"" name "\" (func $" name " " type "))"
#define REPLY IMPORT("reply", "(param i32 i32)")

#define WAT_HELLO                                                                      \
  "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 16) \"hello\\n\")" \
  "(func (export \"handle\") (call $reply (i32.const 16) (i32.const 6))))"

#endif
