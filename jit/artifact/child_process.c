/* The child is `gasworks compile - --output -`, which sets its own limits before it reads the module from standard input; its
 * artifact goes to standard output, its error to standard error. All of these are files in memory, so nobody waits for a pipe. It
 * ends when the thread that started it does (--parent). */
#define _GNU_SOURCE /* memfd_create */
#include "jit/artifact/child_process.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGEST_SCHEDULE = 16384, WALL_FACTOR = 4 };

/* --- files ----------------------------------------------------------------------------------------------------------- */

static bool write_file(int fd, const void *bytes, size_t size) {
  return fd_write_all(fd, bytes, size) && lseek(fd, 0, SEEK_SET) == 0;
}

bool process_open_files(const struct child_pool *pool, const void *bytes, size_t size, int fds[CHILD_FILES]) {
  char schedule[LARGEST_SCHEDULE];
  size_t schedule_size = schedule_print(pool->schedule, schedule, sizeof schedule);
  for (int i = 0; i < CHILD_FILES; i++) fds[i] = -1;
  for (int i = 0; i < CHILD_SOCKET; i++) {
    fds[i] = memfd_create("gasworks-compile", MFD_CLOEXEC);
    if (fds[i] < 0) return false;
  }
  return schedule_size < sizeof schedule && write_file(fds[CHILD_MODULE], bytes, size) &&
         write_file(fds[CHILD_SCHEDULE], schedule, schedule_size);
}

void process_close_files(const int fds[CHILD_FILES]) {
  for (int i = 0; i < CHILD_FILES; i++)
    if (fds[i] >= 0) close(fds[i]);
}

/* The descriptors' order in the child may be anything here: those in the way are moved first. */
static bool place_files(posix_spawn_file_actions_t *actions, int fds[CHILD_FILES]) {
  for (int i = 0; i < CHILD_FILES; i++) {
    if (fds[i] < 0 || fds[i] >= CHILD_FILES) continue;
    int moved = fcntl(fds[i], F_DUPFD_CLOEXEC, CHILD_FILES);
    if (moved < 0) return false;
    close(fds[i]);
    fds[i] = moved;
  }
  for (int i = 0; i < CHILD_FILES; i++)
    if (fds[i] >= 0 && posix_spawn_file_actions_adddup2(actions, fds[i], i)) return false;
  return true;
}

void process_read_message(int fd, char *out, size_t size) {
  static const char prefix[] = "gasworks: ";
  char text[1024];
  off_t end = lseek(fd, 0, SEEK_END), start = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
  ssize_t n = pread(fd, text, sizeof text - 1, start);
  if (n < 0) n = 0;
  while (n && text[n - 1] == '\n') n--;
  text[n] = 0;
  char *line = strrchr(text, '\n');
  line = line ? line + 1 : text;
  if (strncmp(line, prefix, sizeof prefix - 1) == 0) line += sizeof prefix - 1;
  snprintf(out, size, "%s", line);
}

/* --- start ----------------------------------------------------------------------------------------------------------- */

/* -1 with errno set. */
static pid_t spawn(const struct child_pool *pool, uint32_t opt_level, int fds[CHILD_FILES]) {
  char level[16], threads[16], limit_seconds[16], limit_memory[32], parent[16];
  snprintf(level, sizeof level, "%u", opt_level);
  snprintf(threads, sizeof threads, "%u", pool->threads);
  snprintf(limit_seconds, sizeof limit_seconds, "%u", pool->max_seconds);
  snprintf(limit_memory, sizeof limit_memory, "%llu", (unsigned long long)pool->max_memory);
  snprintf(parent, sizeof parent, "%d", (int)getpid());
  /* clang-format off */
  const char *argv[] = {"gasworks", "compile", "-", "--output", "-", "--nice", "--parent", parent,
                        "--optimize", level, "--gas", pool->gas ? "on" : "off", "--schedule", "/proc/self/fd/3",
                        "--threads", threads, "--max-seconds", limit_seconds, "--max-memory", limit_memory,
                        fds[CHILD_SOCKET] >= 0 ? "--batch" : NULL, NULL};
  /* clang-format on */
  char *const environment[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  pid_t pid = -1;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &none); /* the server's threads block signals */
  int problem = place_files(&actions, fds)
                    ? posix_spawn(&pid, pool->program, &actions, &attributes, (char *const *)argv, environment)
                    : errno;
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  errno = problem;
  return problem ? -1 : pid;
}

/* Under the lock, so that nobody is missed when all are ended. */
bool process_start(struct child_pool *pool, uint32_t opt_level, int fds[CHILD_FILES], struct compile_child *child,
                   struct gw_error *err) {
  *child = (struct compile_child){.pid = -1, .pidfd = -1};
  pthread_mutex_lock(&pool->lock);
  bool is_stopping = pool->is_stopping;
  if (!is_stopping) child->pid = spawn(pool, opt_level, fds);
  int problem = errno;
  if (child->pid >= 0) {
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    child->next = pool->children;
    pool->children = child;
  }
  pthread_mutex_unlock(&pool->lock);
  if (is_stopping) return error_set(err, GW_ERROR_UNAVAILABLE, "nothing is compiled any more: the end has begun");
  return child->pid >= 0 ||
         error_set(err, GW_ERROR_COMPILE, "cannot start the compiler %.200s: %s", pool->program, strerror(problem));
}

/* --- end ------------------------------------------------------------------------------------------------------------- */

int process_wall_ms(const struct child_pool *pool) {
  uint64_t seconds = pool->wall_seconds;
  if (!seconds) seconds = (uint64_t)pool->max_seconds * WALL_FACTOR;
  return seconds < INT_MAX / 1000 ? (int)seconds * 1000 : INT_MAX;
}

/* A process is in the list as long as its number is its own. */
static int reap(struct child_pool *pool, struct compile_child *child) {
  siginfo_t info;
  int status = 0;
  while (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOWAIT) && errno == EINTR) {
  }
  pthread_mutex_lock(&pool->lock);
  struct compile_child **at = &pool->children;
  while (*at != child) at = &(*at)->next;
  *at = child->next;
  waitpid(child->pid, &status, 0);
  pthread_mutex_unlock(&pool->lock);
  if (child->pidfd >= 0) close(child->pidfd);
  return status;
}

int process_wait(struct child_pool *pool, struct compile_child *child) {
  struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
  int n = 1;
  if (child->pidfd >= 0) /* kernels before 5.3 have none, and then there is no such limit */
    do n = poll(&end, 1, process_wall_ms(pool));
    while (n < 0 && errno == EINTR);
  if (n == 0) {
    child->is_late = true;
    kill(child->pid, SIGKILL);
  }
  return reap(pool, child);
}

int process_kill(struct child_pool *pool, struct compile_child *child) {
  kill(child->pid, SIGKILL);
  return reap(pool, child);
}

bool process_pool_is_stopping(struct child_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  bool is_stopping = pool->is_stopping;
  pthread_mutex_unlock(&pool->lock);
  return is_stopping;
}
