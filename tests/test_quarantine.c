/* A server that dies of a fault comes back without the function that ran then. Servers are processes of their own here. */
#define _GNU_SOURCE /* memfd_create and the like */
#include "tests/http_client.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WAT_SPIN "(module (func (export \"handle\") (loop $l (br $l))))"
#define WAT_SPIN_2 "(module (func (export \"handle\") (nop) (loop $l (br $l))))"

struct node {
  pid_t pid;
  uint16_t port;
};

static char *directory;

/* In the child. Slices are long, so that a signal meets the function and not the loop between two slices. */
static void serve(int port_fd) {
  struct server_options o = test_options(directory);
  struct gw_error err = {0};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  o.n_loops = 1;
  o.gas_limit = (uint64_t)1 << 50;
  o.slice = (uint64_t)1 << 34;
  struct server *server = server_start(&o, &err);
  uint16_t port = server ? server_port(server) : 0;
  if (write(port_fd, &port, sizeof port) != sizeof port || !server) _exit(9);
  server_run(server, &err);
  server_destroy(server);
  _exit(0);
}

static struct node begin(void) {
  int fds[2];
  struct node node = {0};
  assert_int_equal(pipe(fds), 0);
  node.pid = fork();
  if (node.pid == 0) serve(fds[1]);
  close(fds[1]);
  assert_int_equal(read(fds[0], &node.port, sizeof node.port), sizeof node.port);
  close(fds[0]);
  return node;
}

static void end(struct node node, int number) {
  int status;
  kill(node.pid, number);
  assert_int_equal(waitpid(node.pid, &status, 0), node.pid);
}

/* The thread of the only loop; those that it makes later inherit its name. */
static pid_t find_loop(struct node node) {
  char path[64], name[32];
  pid_t found = 0;
  snprintf(path, sizeof path, "/proc/%d/task", node.pid);
  DIR *tasks = opendir(path);
  assert_non_null(tasks);
  for (struct dirent *entry; (entry = readdir(tasks));) {
    snprintf(path, sizeof path, "/proc/%d/task/%.16s/comm", node.pid, entry->d_name);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    pid_t id = atoi(entry->d_name);
    if (fgets(name, sizeof name, file) && strcmp(name, "gw-loop-0\n") == 0 && (!found || id < found)) found = id;
    fclose(file);
  }
  closedir(tasks);
  assert_true(found > 0);
  return found;
}

/* What was sent does not end; its thread dies of the signal. */
static void die_while(struct node node, int fd, int number) {
  int status;
  usleep(300000);
  syscall(SYS_tgkill, node.pid, find_loop(node), number);
  assert_int_equal(waitpid(node.pid, &status, 0), node.pid);
  assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  close(fd);
}

static void die_in(struct node node, const char *name, int number) {
  char text[128];
  int fd = dial(node.port);
  snprintf(text, sizeof text, "GET /f/%s HTTP/1.1\r\nHost: t\r\n\r\n", name);
  send_text(fd, text);
  die_while(node, fd, number);
}

static int set_up(void **state) {
  (void)state;
  directory = make_data_dir();
  struct node node = begin();
  assert_int_equal(deploy(node.port, "spin", WAT_SPIN), 201);
  assert_int_equal(deploy(node.port, "hello", WAT_HELLO), 201);
  end(node, SIGTERM);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  remove_data_dir(directory);
  return 0;
}

static void assert_reply(struct node node, const char *path, int status, const char *part) {
  struct reply r = call(node.port, path);
  assert_int_equal(r.status, status);
  if (!strstr(r.body, part)) fail_msg("%s: %s lacks %s", path, r.body, part);
  reply_clear(&r);
}

static void test_faults(void **state) {
  (void)state;
  static const struct {
    int number;
    const char *name;
  } signals[] = {{SIGABRT, "SIGABRT"}, {SIGILL, "SIGILL"}, {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"}};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    die_in(begin(), "spin", signals[i].number);
    struct node node = begin();
    assert_reply(node, "/f/spin", 503, "in quarantine");
    assert_reply(node, "/f/spin", 503, signals[i].name);
    assert_reply(node, "/f/hello", 200, "hello");
    assert_reply(node, "/v1/functions/spin", 200, "\"quarantine\"");
    assert_reply(node, "/metrics", 200, "\ngasworks_functions_in_quarantine 1\n");
    end(node, SIGKILL); /* which changes nothing */
    node = begin();
    assert_reply(node, "/f/spin", 503, signals[i].name);
    assert_int_equal(deploy(node.port, "spin", WAT_SPIN), 200); /* the same bytes do the same again */
    assert_reply(node, "/f/spin", 503, signals[i].name);
    assert_int_equal(status_of(node.port, "GET", "/v1/functions/spin/quarantine"), 405);
    assert_int_equal(status_of(node.port, "DELETE", "/v1/functions/hello/quarantine"), 404);
    assert_int_equal(status_of(node.port, "DELETE", "/v1/functions/none/quarantine"), 404);
    assert_int_equal(status_of(node.port, "DELETE", "/v1/functions/spin/quarantine"), 204);
    assert_int_equal(status_of(node.port, "DELETE", "/v1/functions/spin/quarantine"), 404);
    assert_reply(node, "/metrics", 200, "\ngasworks_functions_in_quarantine 0\n");
    end(node, SIGTERM);
  }
}

/* It runs again, and other bytes under its name are another function. */
static void test_lifted_and_replaced(void **state) {
  (void)state;
  die_in(begin(), "spin", SIGABRT);
  struct node node = begin();
  assert_int_equal(status_of(node.port, "DELETE", "/v1/functions/spin/quarantine"), 204);
  die_in(node, "spin", SIGABRT);
  node = begin();
  assert_reply(node, "/f/spin", 503, "in quarantine");
  assert_int_equal(deploy(node.port, "spin", WAT_SPIN_2), 200);
  assert_reply(node, "/v1/functions/spin", 200, "\"version\"");
  die_in(node, "spin", SIGABRT);
  node = begin();
  assert_reply(node, "/f/spin", 503, "in quarantine");
  end(node, SIGTERM);
}

/* Killed from outside, or dead while nothing ran: nobody is to blame. */
static void test_innocent(void **state) {
  (void)state;
  struct node node = begin();
  deploy(node.port, "spin", WAT_SPIN);
  status_of(node.port, "DELETE", "/v1/functions/spin/quarantine");
  die_in(node, "spin", SIGKILL);
  node = begin();
  assert_reply(node, "/metrics", 200, "\ngasworks_functions_in_quarantine 0\n");
  assert_reply(node, "/f/hello", 200, "hello");
  usleep(500000); /* its instance is made fresh behind the reply, and that would be its time, too */
  syscall(SYS_tgkill, node.pid, find_loop(node), SIGABRT);
  assert_int_equal(waitpid(node.pid, NULL, 0), node.pid);
  node = begin();
  assert_reply(node, "/metrics", 200, "\ngasworks_functions_in_quarantine 0\n");
  assert_reply(node, "/f/hello", 200, "hello");
  end(node, SIGTERM);
}

/* Whatever the file of signal handlers holds, the server starts. */
static void test_damaged_file(void **state) {
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/crash", directory);
  for (int round = 0; round < 2; round++) {
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, round ? 8 : 0, SEEK_SET);
    for (int i = 0; i < 5000; i++) fputc(0xff, file);
    fclose(file);
    struct node node = begin();
    assert_reply(node, "/f/hello", 200, "hello");
    end(node, SIGTERM);
  }
}

/* A module that nobody deployed is not run again for a day; others are. */
static void test_run(void **state) {
  (void)state;
  char head[128];
  struct buffer spin = wat("(module (func (export \"handle\") (nop) (nop) (loop $l (br $l))))"), hello = wat(WAT_HELLO);
  struct node node = begin();
  int fd = dial(node.port);
  snprintf(head, sizeof head, "POST /v1/run HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", spin.size);
  send_text(fd, head);
  send_all(fd, spin.bytes, spin.size);
  die_while(node, fd, SIGABRT);
  node = begin();
  struct reply r = request(node.port, "POST", "/v1/run", spin.bytes, spin.size);
  if (r.status != 503 || !strstr(r.body, "died of SIGABRT")) fail_msg("%d %s", r.status, r.body);
  reply_clear(&r);
  r = request(node.port, "POST", "/v1/run", hello.bytes, hello.size);
  assert_int_equal(r.status, 200);
  reply_clear(&r);
  end(node, SIGTERM);
  buffer_clear(&spin);
  buffer_clear(&hello);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_faults), cmocka_unit_test(test_lifted_and_replaced), cmocka_unit_test(test_innocent),
      cmocka_unit_test(test_run),    cmocka_unit_test(test_damaged_file),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
