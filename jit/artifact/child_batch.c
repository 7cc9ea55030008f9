/* Processes that compile one small module after another: starting one takes longer than such a module. A job is a message with
 * three descriptors: the module, where the artifact goes, where an error goes. The answer is one byte. Whoever waits has the
 * process for himself, so there is one for each thread that compiles.
 *
 * A process that dies takes no other module with it than the one it had. It is replaced after MAX_JOBS, so that it cannot grow
 * for ever, and ends by itself when it was idle for a while (cli/compile.c). */
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include "jit/artifact/child_process.h"

#include "base/error.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGEST = 64 << 10, MAX_JOBS = 256, N_SENT = CHILD_SCHEDULE };

struct batch_process {
  struct batch_process *next; /* in pool.batch, idle */
  struct compile_child child;
  int socket;
  uint32_t n_jobs;
};

static int destroy(struct child_pool *pool, struct batch_process *p) {
  close(p->socket);
  int status = process_kill(pool, &p->child);
  free(p);
  return status;
}

static struct batch_process *create(struct child_pool *pool) {
  struct batch_process *p = calloc(1, sizeof *p);
  int fds[CHILD_FILES], pair[2];
  if (!p) return NULL;
  bool ok = process_open_files(pool, NULL, 0, fds) && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0;
  if (ok) {
    fds[CHILD_SOCKET] = pair[1];
    p->socket = pair[0];
    ok = process_start(pool, pool->opt_level, fds, &p->child, NULL);
    if (!ok) close(pair[0]);
  }
  process_close_files(fds);
  if (ok) return p;
  free(p);
  return NULL;
}

static struct batch_process *take(struct child_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  struct batch_process *p = pool->batch;
  if (p) pool->batch = p->next;
  pthread_mutex_unlock(&pool->lock);
  return p;
}

static void give_back(struct child_pool *pool, struct batch_process *p) {
  if (++p->n_jobs >= MAX_JOBS) {
    destroy(pool, p);
    return;
  }
  pthread_mutex_lock(&pool->lock);
  p->next = pool->batch;
  pool->batch = p;
  pthread_mutex_unlock(&pool->lock);
}

void batch_stop(struct child_pool *pool) {
  for (struct batch_process *p; (p = take(pool));) destroy(pool, p);
}

static bool send_job(int socket, const int fds[CHILD_FILES]) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(N_SENT * sizeof(int))];
  } control = {0};
  char byte = 0;
  struct iovec data = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  struct cmsghdr *c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(N_SENT * sizeof(int));
  memcpy(CMSG_DATA(c), fds, N_SENT * sizeof(int));
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

/* 1: done, 0: it says that it cannot, -1: no answer comes. */
static int receive_answer(struct child_pool *pool, struct batch_process *p) {
  struct pollfd answer = {.fd = p->socket, .events = POLLIN};
  char byte;
  int n;
  do n = poll(&answer, 1, process_wall_ms(pool));
  while (n < 0 && errno == EINTR);
  p->child.is_late = n == 0;
  if (n != 1 || recv(p->socket, &byte, 1, 0) != 1) return -1;
  return byte == 1;
}

/* It died of this module, or was too slow. Limits of time are the last word; for what else may be wrong it tries alone. */
static enum batch_result bury(struct child_pool *pool, struct batch_process *p, struct gw_error *err) {
  bool is_late = p->child.is_late;
  close(p->socket);
  int status = is_late ? process_kill(pool, &p->child) : process_wait(pool, &p->child);
  free(p);
  if (is_late)
    error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %d seconds", process_wall_ms(pool) / 1000);
  else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
    error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %u seconds of CPU time", pool->max_seconds);
  else
    return BATCH_NONE;
  return BATCH_FAILED;
}

static void say_failed(int fd, struct gw_error *err) {
  char message[256];
  process_read_message(fd, message, sizeof message);
  error_set(err, GW_ERROR_COMPILE, "%s", message[0] ? message : "the compiler failed without saying why");
}

/* Sends the job to one that was idle, which may have ended meanwhile, or to a new one. */
static struct batch_process *start_job(struct child_pool *pool, const int fds[CHILD_FILES]) {
  struct batch_process *p;
  while ((p = take(pool))) {
    if (send_job(p->socket, fds)) return p;
    destroy(pool, p);
  }
  p = create(pool);
  if (!p || send_job(p->socket, fds)) return p;
  destroy(pool, p);
  return NULL;
}

enum batch_result batch_compile(struct child_pool *pool, size_t size, const int fds[CHILD_FILES], struct gw_error *err) {
  struct batch_process *p = size <= LARGEST ? start_job(pool, fds) : NULL;
  if (!p) return BATCH_NONE;
  int answer = receive_answer(pool, p);
  if (answer < 0) return bury(pool, p, err);
  give_back(pool, p);
  if (answer) return BATCH_DONE;
  say_failed(fds[CHILD_ERROR], err);
  return BATCH_FAILED;
}
