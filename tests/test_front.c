/* A front whose tenant's process has been taken over, and says what no worker says. This program is that process, too: the
 * supervisor starts what it was started as. */
#include "tests/http_client.h"

#include "server/isolate/supervisor.h"

#include <signal.h>
#include <unistd.h>

static struct server *server;
static uint16_t port;
static char *data_dir;

/* --- the process that was taken over -------------------------------------------------------------------------------- */

static int take_connection(void) {
  int fd = -1;
  char byte, control[CMSG_SPACE(sizeof fd)];
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(WORKER_CHANNEL, &message, 0) <= 0) _exit(0);
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

static void say(int fd, const char *text) { send(fd, text, strlen(text), MSG_NOSIGNAL); }

static void flood(int fd) {
  static char block[1 << 16];
  while (send(fd, block, sizeof block, MSG_NOSIGNAL) > 0) {
  }
}

static void answer(int fd) {
  char request[4096] = "";
  if (recv(fd, request, sizeof request - 1, 0) <= 0) return;
  if (strstr(request, "/f/early")) say(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse");
  if (strstr(request, "/f/switch")) say(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
  if (strstr(request, "/f/status")) say(fd, "HTTP/1.1 999 Much\r\nContent-Length: 0\r\n\r\n");
  if (strstr(request, "/f/noise")) say(fd, "SSH-2.0-noise\r\n");
  if (strstr(request, "/f/half")) say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
  if (strstr(request, "/f/head")) {
    say(fd, "HTTP/1.1 200 OK\r\nX: ");
    flood(fd);
  }
  if (strstr(request, "/f/flood")) {
    say(fd, "HTTP/1.1 200 OK\r\n\r\n");
    flood(fd);
  }
  if (strstr(request, "/f/good")) say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
  if (strstr(request, "/metrics")) {
    say(fd, "HTTP/1.1 200 OK\r\n\r\n");
    flood(fd);
  }
}

static int be_worker(void) {
  signal(SIGINT, SIG_IGN);
  for (;;) {
    int fd = take_connection();
    answer(fd);
    close(fd);
  }
}

/* --- its front -------------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
  static const char *const arguments[] = {"test_front", NULL};
  struct server_options o = test_options(data_dir = make_data_dir());
  (void)state;
  o.isolated = arguments;
  o.is_insecure = true;
  o.max_reply = 1 << 20;
  o.grace_ms = 100;
  server = start(&o);
  port = server_port(server);
  return 0;
}

/* It does not end by itself. */
static int tear_down(void **state) {
  (void)state;
  server_destroy(server);
  remove_data_dir(data_dir);
  return 0;
}

static void expect(const char *path, int status) {
  char text[256];
  int fd = dial(port);
  snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
  send_text(fd, text);
  struct reply first = receive(fd, true), second = receive(fd, true);
  if (first.status != status || second.status != 200) fail_msg("%s: %d, then %d", path, first.status, second.status);
  assert_non_null(strstr(second.body, "ok"));
  reply_clear(&first);
  reply_clear(&second);
  close(fd);
}

/* Each request gets one reply, and that is the front's own where the worker's is none. */
static void test_replies(void **state) {
  static const char *const bad[] = {"/f/early", "/f/switch", "/f/status", "/f/noise",
                                    "/f/half",  "/f/head",   "/f/flood",  "/f/none"};
  (void)state;
  expect("/f/good", 200);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect(bad[i], 503);
  expect("/f/good", 200);
}

/* What it says when it is asked has an end for the front, too. */
static void test_metrics(void **state) {
  (void)state;
  expect("/metrics", 200);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--worker-of") == 0) return be_worker();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_replies), cmocka_unit_test(test_metrics)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
