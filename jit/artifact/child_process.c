/* The child is `gasworks compile-child`, which takes requests from the socket that is its standard input (child_protocol.h). It
 * sets its own limits when the first one comes, before it reads a module. What libraries print goes to a file in memory, so
 * nobody waits for a pipe. It ends when the thread that started it does. */
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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WALL_FACTOR = 4 };

/* --- start ----------------------------------------------------------------------------------------------------------- */

/* Makes `*fd` the child's descriptors from `first` to `last`. It must not be one of those that are replaced. */
static bool place_file(posix_spawn_file_actions_t *actions, int *fd, int first, int last) {
  if (*fd <= STDERR_FILENO) {
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (moved < 0) return false;
    close(*fd);
    *fd = moved;
  }
  for (int i = first; i <= last; i++)
    if (posix_spawn_file_actions_adddup2(actions, *fd, i)) return false;
  return true;
}

/* -1 with errno set. */
static pid_t spawn(const char *program, int *socket, int *said) {
  char *const argv[] = {(char *)"gasworks", (char *)CHILD_VERB, NULL}, *const environment[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  pid_t pid = -1;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &none); /* the server's threads block signals */
  bool is_placed =
      place_file(&actions, socket, STDIN_FILENO, STDIN_FILENO) && place_file(&actions, said, STDOUT_FILENO, STDERR_FILENO);
  is_placed = is_placed && posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1) == 0;
  int problem = is_placed ? posix_spawn(&pid, program, &actions, &attributes, argv, environment) : errno;
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  errno = problem;
  return problem ? -1 : pid;
}

/* Under the lock, so that nobody is missed when all are ended. `socket` is the child's. */
static bool start(struct child_pool *pool, struct child_process *p, int *socket, struct gw_error *err) {
  pthread_mutex_lock(&pool->lock);
  bool is_stopping = pool->is_stopping;
  if (!is_stopping) p->pid = spawn(pool->program, socket, &p->said);
  int problem = errno;
  if (p->pid >= 0) {
    p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    p->next = pool->processes;
    pool->processes = p;
  }
  pthread_mutex_unlock(&pool->lock);
  if (is_stopping) return error_set(err, GW_ERROR_UNAVAILABLE, "nothing is compiled any more: the end has begun");
  return p->pid >= 0 ||
         error_set(err, GW_ERROR_COMPILE, "cannot start the compiler %.200s: %s", pool->program, strerror(problem));
}

static void clear(struct child_process *p) {
  if (p->socket >= 0) close(p->socket);
  if (p->said >= 0) close(p->said);
  if (p->pidfd >= 0) close(p->pidfd);
  free(p);
}

struct child_process *child_process_create(struct child_pool *pool, struct gw_error *err) {
  struct child_process *p = malloc(sizeof *p);
  int pair[2] = {-1, -1};
  if (p) *p = (struct child_process){.pid = -1, .pidfd = -1, .socket = -1, .said = memfd_create("gasworks-compile", MFD_CLOEXEC)};
  bool ok = p && p->said >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0;
  if (p) p->socket = pair[0];
  ok = ok ? start(pool, p, &pair[1], err)
          : error_set(err, GW_ERROR_IO, "no memory or descriptors for a compiler process: %s", strerror(errno));
  if (pair[1] >= 0) close(pair[1]);
  if (ok) return p;
  if (p) clear(p);
  return NULL;
}

/* --- work ------------------------------------------------------------------------------------------------------------ */

uint32_t child_pool_wall_seconds(const struct child_pool *pool) {
  uint64_t seconds = pool->wall_seconds ? pool->wall_seconds : (uint64_t)pool->max_seconds * WALL_FACTOR;
  return seconds < INT_MAX / 1000 ? (uint32_t)seconds : INT_MAX / 1000;
}

/* Whether something happens to one of them before a compilation's time is over. */
static bool wait_for(const struct child_pool *pool, struct pollfd *fds, nfds_t n) {
  int ready;
  do ready = poll(fds, n, (int)child_pool_wall_seconds(pool) * 1000);
  while (ready < 0 && errno == EINTR);
  return ready != 0;
}

static enum child_word ask(const struct child_pool *pool, struct child_process *p, const struct compile_request *request,
                           const int fds[CHILD_FILES], struct child_reply *reply) {
  struct pollfd both[2] = {{.fd = p->socket, .events = POLLIN}, {.fd = p->pidfd, .events = POLLIN}};
  if (!child_send_request(p->socket, request, fds)) return CHILD_GONE;
  if (!wait_for(pool, both, 2)) return CHILD_LATE;
  ssize_t n = child_receive_answer(p->socket, &reply->answer);
  reply->size = n > 0 ? (size_t)n : 0;
  return n > 0 ? CHILD_SPOKE : CHILD_SILENT;
}

/* Its end is waited for, too, as others may hold its socket open. What it said before is still there. */
void child_process_ask(const struct child_pool *pool, struct child_process *p, const struct compile_request *request,
                       const int fds[CHILD_FILES], struct child_reply *reply) {
  reply->word = ask(pool, p, request, fds, reply);
}

/* --- end ------------------------------------------------------------------------------------------------------------- */

bool child_process_wait(const struct child_pool *pool, const struct child_process *p) {
  struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
  siginfo_t info;
  if (p->pidfd >= 0) return wait_for(pool, &end, 1);
  while (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT) && errno == EINTR) {
  }
  return true;
}

void child_process_last_words(const struct child_process *p, char *out, size_t size) {
  static const char prefix[] = "gasworks: ";
  char text[1024];
  off_t end = lseek(p->said, 0, SEEK_END), start = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
  ssize_t n = pread(p->said, text, sizeof text - 1, start);
  if (n < 0) n = 0;
  while (n && text[n - 1] == '\n') n--;
  text[n] = 0;
  char *line = strrchr(text, '\n');
  line = line ? line + 1 : text;
  if (strncmp(line, prefix, sizeof prefix - 1) == 0) line += sizeof prefix - 1;
  snprintf(out, size, "%s", line);
}

/* A process is in the list as long as its number is its own. */
int child_process_destroy(struct child_pool *pool, struct child_process *p) {
  siginfo_t info;
  int status = 0;
  kill(p->pid, SIGKILL);
  while (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT) && errno == EINTR) {
  }
  pthread_mutex_lock(&pool->lock);
  struct child_process **at = &pool->processes;
  while (*at != p) at = &(*at)->next;
  *at = p->next;
  waitpid(p->pid, &status, 0);
  pthread_mutex_unlock(&pool->lock);
  clear(p);
  return status;
}

bool child_pool_is_stopping(struct child_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  bool is_stopping = pool->is_stopping;
  pthread_mutex_unlock(&pool->lock);
  return is_stopping;
}
