/* What processes behind walls are refused, tried from inside: in a server, by its first thread and by one made later, and in a
 * process that compiles. What their work needs still goes. */
#define _GNU_SOURCE /* memfd_create and the like */
#include "tests/http_client.h"

#include "server/walls.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

static uint16_t listening; /* a port of this machine that accepts */
static int parent_value;   /* what the other process must not see */

/* --- what must not go ---------------------------------------------------------------------------------------------------- */

static bool opens(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

static bool reads_outside(void) { return opens("/etc/passwd", O_RDONLY); }
static bool lists_outside(void) { return opens("/tmp", O_RDONLY | O_DIRECTORY); }
static bool writes_outside(void) { return opens("/tmp/gasworks-beyond-the-walls", O_WRONLY | O_CREAT); }

static bool starts_program(void) {
  char *argv[] = {"true", NULL};
  pid_t pid;
  int status = -1;
  if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, NULL)) return false;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* By the system call alone: glibc's would run handlers of sanitizers. */
static bool forks(void) {
  pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (pid == 0) syscall(SYS_exit_group, 0);
  if (pid > 0) waitpid(pid, NULL, 0);
  return pid > 0;
}

static bool connects(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(listening), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
  if (fd >= 0) close(fd);
  return ok;
}

static bool traces(void) {
  bool ok = ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0;
  if (ok) ptrace(PTRACE_DETACH, getppid(), NULL, NULL);
  return ok;
}

static bool looks_into_parent(void) {
  int copy = 0;
  struct iovec here = {&copy, sizeof copy}, there = {&parent_value, sizeof parent_value};
  return process_vm_readv(getppid(), &here, 1, &there, 1, 0) == sizeof copy;
}

static bool gains_privileges(void) {
  return opens("/proc/1/environ", O_RDONLY) || syscall(SYS_unshare, 0x10000000 /* users */) == 0;
}

static const char *secret; /* a variable that the shell gave us */

static bool knows_environment(void) { return getenv("GASWORKS_SECRET") || strstr(secret, "beyond"); }

static const struct {
  const char *what;
  bool (*does)(void);
} attempts[] = {
    {"reads a file outside", reads_outside},
    {"lists a directory outside", lists_outside},
    {"writes a file outside", writes_outside},
    {"starts a program", starts_program},
    {"forks", forks},
    {"connects", connects},
    {"traces", traces},
    {"looks into another process", looks_into_parent},
    {"gains privileges", gains_privileges},
    {"knows the environment", knows_environment},
};

enum { N_ATTEMPTS = sizeof attempts / sizeof *attempts };

/* LeakSanitizer needs two of them in a server (server/walls.c). */
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
static const uint32_t left_open = 1 << 4;
#else
static const uint32_t left_open = 0;
#endif

/* Bits of those that went. */
static uint32_t attempt_all(void) {
  uint32_t went = 0;
  for (int i = 0; i < N_ATTEMPTS; i++)
    if (attempts[i].does()) went |= 1u << i;
  return went;
}

static void check(uint32_t went, const char *who) {
  for (int i = 0; i < N_ATTEMPTS; i++)
    if (went >> i & 1) fail_msg("%s %s", who, attempts[i].what);
}

/* --- processes behind walls --------------------------------------------------------------------------------------------------
 */

struct report {
  uint32_t by_first, by_later; /* what went */
  bool works;                  /* what must go did */
};

static void *attempt_later(void *went) {
  *(uint32_t *)went = attempt_all();
  return NULL;
}

static void report_all(struct report *r) {
  pthread_t thread;
  r->by_first = attempt_all();
  r->by_later = UINT32_MAX;
  r->works = pthread_create(&thread, NULL, attempt_later, &r->by_later) == 0 && pthread_join(thread, NULL) == 0;
}

/* Runs `act` in a process of its own and returns what it reports. */
static struct report in_process(void (*act)(struct report *)) {
  struct report r = {0};
  int fds[2], status;
  assert_int_equal(pipe(fds), 0);
  pid_t pid = fork();
  if (pid == 0) {
    act(&r);
    _exit(write(fds[1], &r, sizeof r) != sizeof r);
  }
  close(fds[1]);
  ssize_t n = read(fds[0], &r, sizeof r);
  close(fds[0]);
  waitpid(pid, &status, 0);
  assert_int_equal(n, sizeof r);
  return r;
}

static void be_open(struct report *r) { report_all(r); }

static void be_compiler(struct report *r) {
  struct gw_error err = {0};
  int fd = memfd_create("walls", MFD_CLOEXEC);
  if (!walls_around_compiler(&err)) return;
  report_all(r);
  r->works = r->works && write(fd, "x", 1) == 1 && lseek(fd, 0, SEEK_SET) == 0;
  void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  r->works = r->works && p != MAP_FAILED && munmap(p, 1 << 20) == 0;
}

static char *data_dir;

static void be_server(struct report *r) {
  struct server_options o = test_options(data_dir);
  struct gw_error err = {0};
  char path[256];
  o.has_walls = true;
  o.compiler_program = "/proc/self/exe";
  struct server *server = server_start(&o, &err);
  if (!server) return;
  report_all(r);
  snprintf(path, sizeof path, "%s/a file of the server's", data_dir);
  r->works = r->works && opens(path, O_WRONLY | O_CREAT) && unlink(path) == 0;
  server_destroy(server);
}

/* --- tests --------------------------------------------------------------------------------------------------------------------
 */

/* Each attempt can go, or its refusal would prove nothing. What this system forbids by itself is not asked for. */
static uint32_t possible(void) { return in_process(be_open).by_first; }

static void test_without_walls(void **state) {
  (void)state;
  uint32_t sure = 0x23f; /* the environment, files, programs, processes and connections; containers may forbid the rest */
  assert_int_equal(possible() & sure, sure);
  unlink("/tmp/gasworks-beyond-the-walls");
}

static void test_compiler(void **state) {
  (void)state;
  if (walls_missing()) return print_message("%s; nothing was tested\n", walls_missing()), skip();
  struct report r = in_process(be_compiler);
  check(r.by_first, "a compiling process");
  check(r.by_later, "a compiling process's later thread");
  assert_true(r.works);
}

static void test_server(void **state) {
  (void)state;
  if (walls_missing()) return print_message("%s; nothing was tested\n", walls_missing()), skip();
  data_dir = make_data_dir();
  struct report r = in_process(be_server);
  check(r.by_first & ~left_open, "a server");
  check(r.by_later & ~left_open, "a server's later thread");
  assert_true(r.works);
  remove_data_dir(data_dir);
}

static int listen_somewhere(void **state) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  (void)state;
  bool ok =
      bind(fd, (struct sockaddr *)&at, size) == 0 && listen(fd, 64) == 0 && getsockname(fd, (struct sockaddr *)&at, &size) == 0;
  listening = ntohs(at.sin_port);
  if (setenv("GASWORKS_SECRET", "what is beyond the walls", 1)) return -1;
  secret = getenv("GASWORKS_SECRET");
  return ok ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_without_walls),
      cmocka_unit_test(test_compiler),
      cmocka_unit_test(test_server),
  };
  return cmocka_run_group_tests(tests, listen_somewhere, NULL);
}
