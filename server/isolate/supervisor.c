#define _GNU_SOURCE /* pidfd, posix_spawn attributes */
#include "server/isolate/supervisor.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "server/loop/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One that dies young again and again waits longer and longer before it is started. */
enum { MAX_ARGUMENTS = 256, MAX_PATH = 4096, PAUSE_MS = 50, MAX_PAUSE_MS = 5000, LONG_ENOUGH_MS = 1000 };
/* A worker may be anybody's by now: how long it is listened to, how much it may say, and how late behind its grace it may end. */
enum { ASK_MS = 5000, MAX_ANSWER = 64 << 20, LATE_MS = 3000 };

struct worker {
  struct worker *next;
  char tenant[SUPERVISOR_NAME_SIZE];
  char directory[MAX_PATH];
  pid_t pid;   /* 0: not running */
  int pidfd;   /* -1 likewise */
  int channel; /* our end; -1 likewise */
  bool is_leaving;
  uint64_t started_ms, start_at_ms, pause_ms, kill_at_ms; /* 0: it was not asked to end */
};

struct supervisor {
  char *data_dir;
  const char *const *arguments;
  struct log_writer *log;
  struct log_share lines;
  uint32_t grace_ms;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed; /* a worker is gone */
  struct worker *workers;
  int wake; /* eventfd */
  bool has_thread, is_ending;
};

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

/* --- starting ----------------------------------------------------------------------------------------------------- */

static int spawn(const struct supervisor *s, struct worker *w, int channel) {
  const char *argv[MAX_ARGUMENTS + 8];
  char cache[MAX_PATH + 8];
  size_t n = 0;
  bool has_cache = true;
  for (; s->arguments[n] && n < MAX_ARGUMENTS; n++) {
    argv[n] = s->arguments[n];
    if (strcmp(argv[n], "--cache=off") == 0 || (n && strcmp(argv[n - 1], "--cache") == 0 && strcmp(argv[n], "off") == 0))
      has_cache = false;
  }
  snprintf(cache, sizeof cache, "%s/cache", w->directory);
  argv[n++] = "--quiet";
  argv[n++] = "--data", argv[n++] = w->directory;
  argv[n++] = "--worker-of", argv[n++] = w->tenant;
  if (has_cache) argv[n++] = "--cache", argv[n++] = cache; /* code that a tenant could falsify is for itself only */
  argv[n] = NULL;

  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  sigset_t none;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, channel, WORKER_CHANNEL);
  posix_spawn_file_actions_addclosefrom_np(&files, WORKER_CHANNEL + 1); /* whatever a library forgot to close at the exec */
  posix_spawnattr_init(&how);
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setpgroup(&how, 0); /* a terminal's Ctrl-C is for this process, which ends its workers */
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  int failed = posix_spawn(&w->pid, "/proc/self/exe", &files, &how, (char *const *)argv, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  return failed;
}

/* `lock` held. */
static bool start(struct supervisor *s, struct worker *w, struct gw_error *err) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return error_set(err, GW_ERROR_IO, "cannot make a socket: %s", strerror(errno));
  /* posix_spawn's dup2 of a descriptor onto itself would leave it to be closed at the exec */
  int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, WORKER_CHANNEL + 1);
  close(pair[1]);
  w->started_ms = now_ms();
  int failed = theirs < 0 ? errno : spawn(s, w, theirs);
  if (theirs >= 0) close(theirs);
  if (!failed) w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
  if (failed || w->pidfd < 0) {
    if (!failed) kill(w->pid, SIGKILL), waitpid(w->pid, NULL, 0);
    w->pid = 0;
    close(pair[0]);
    return error_set(err, GW_ERROR_IO, "cannot start a worker for tenant %s: %s", w->tenant, strerror(failed ? failed : errno));
  }
  fcntl(w->pidfd, F_SETFD, FD_CLOEXEC);
  fcntl(pair[0], F_SETFL, O_NONBLOCK);
  w->channel = pair[0];
  return true;
}

static struct worker *find(const struct supervisor *s, const char *tenant) {
  struct worker *w = s->workers;
  while (w && strcmp(w->tenant, tenant) != 0) w = w->next;
  return w;
}

static void wake(const struct supervisor *s) {
  uint64_t one = 1;
  if (write(s->wake, &one, sizeof one) < 0) {
  } /* full means that it was said already */
}

/* DIR/tenants must be there. */
static bool make_directory(const struct supervisor *s, struct worker *w, struct gw_error *err) {
  int size = snprintf(w->directory, sizeof w->directory, "%s/tenants/%s", s->data_dir, w->tenant);
  if ((size_t)size >= sizeof w->directory) return error_set(err, GW_ERROR_USAGE, "the data directory's path is too long");
  return directory_make(w->directory, err);
}

bool supervisor_start(struct supervisor *s, const char *tenant, struct gw_error *err) {
  bool ok = true;
  struct worker *before;
  pthread_mutex_lock(&s->lock);
  while ((before = find(s, tenant)) && before->is_leaving) pthread_cond_wait(&s->changed, &s->lock);
  if (!before) {
    struct worker *w = heap_new(1, sizeof *w);
    w->pidfd = w->channel = -1;
    snprintf(w->tenant, sizeof w->tenant, "%s", tenant);
    ok = make_directory(s, w, err) && start(s, w, err);
    if (ok) {
      w->next = s->workers;
      s->workers = w;
      wake(s);
    } else {
      free(w);
    }
  }
  pthread_mutex_unlock(&s->lock);
  return ok;
}

/* --- watching ----------------------------------------------------------------------------------------------------- */

/* `lock` held. */
static void ended(struct supervisor *s, struct worker *w) {
  char text[SUPERVISOR_NAME_SIZE + 96];
  int status = 0;
  waitpid(w->pid, &status, 0);
  close(w->pidfd);
  close(w->channel);
  w->pidfd = w->channel = -1;
  w->pid = 0;
  w->kill_at_ms = 0;
  bool was_young = now_ms() - w->started_ms < LONG_ENOUGH_MS;
  w->pause_ms = !was_young ? 0 : !w->pause_ms ? PAUSE_MS : 2 * w->pause_ms < MAX_PAUSE_MS ? 2 * w->pause_ms : MAX_PAUSE_MS;
  w->start_at_ms = now_ms() + w->pause_ms;
  pthread_cond_broadcast(&s->changed);
  if (w->is_leaving || s->is_ending) return;
  int size = snprintf(text, sizeof text, "the worker of tenant %s ended with %s %d; it is started again", w->tenant,
                      WIFSIGNALED(status) ? "signal" : "code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  log_function(s->log, &s->lines, now_ms(), "server", text, (size_t)size);
}

/* `lock` held. */
static void end(const struct supervisor *s, struct worker *w) {
  if (!w->pid) return;
  w->kill_at_ms = now_ms() + s->grace_ms + LATE_MS;
  kill(w->pid, SIGINT);
}

/* Starts those again that have ended, and kills those that should have; returns when to look next, in milliseconds, -1: when
 * something happens. `lock` held. */
static int start_again(struct supervisor *s) {
  int timeout = -1;
  for (struct worker *w = s->workers; w; w = w->next) {
    struct gw_error err = {0};
    if (w->pid && w->kill_at_ms) {
      if (w->kill_at_ms <= now_ms()) kill(w->pid, SIGKILL);
      timeout = PAUSE_MS;
    }
    if (w->pid || w->is_leaving || s->is_ending) continue;
    if (w->start_at_ms > now_ms() || !start(s, w, &err)) timeout = PAUSE_MS;
  }
  return timeout;
}

static size_t list_pidfds(const struct supervisor *s, struct pollfd **fds) {
  size_t n = 1;
  for (const struct worker *w = s->workers; w; w = w->next) n += w->pid != 0;
  *fds = heap_resize(*fds, n, sizeof **fds);
  (*fds)[0] = (struct pollfd){.fd = s->wake, .events = POLLIN};
  n = 1;
  for (const struct worker *w = s->workers; w; w = w->next)
    if (w->pid) (*fds)[n++] = (struct pollfd){.fd = w->pidfd, .events = POLLIN};
  return n;
}

static bool is_any_left(const struct supervisor *s) {
  for (const struct worker *w = s->workers; w; w = w->next)
    if (w->pid) return true;
  return false;
}

/* Workers are this thread's children alone, so they hear of its end. */
static void *watch(void *arg) {
  struct supervisor *s = arg;
  struct pollfd *fds = NULL;
  pthread_mutex_lock(&s->lock);
  while (!s->is_ending || is_any_left(s)) {
    int timeout = start_again(s);
    size_t n = list_pidfds(s, &fds);
    uint64_t count;
    pthread_mutex_unlock(&s->lock);
    poll(fds, n, timeout);
    if (read(s->wake, &count, sizeof count) < 0) {
    }
    pthread_mutex_lock(&s->lock);
    for (struct worker *w = s->workers; w; w = w->next) {
      struct pollfd one = {.fd = w->pidfd, .events = POLLIN};
      if (w->pid && poll(&one, 1, 0) > 0) ended(s, w);
    }
  }
  pthread_mutex_unlock(&s->lock);
  free(fds);
  return NULL;
}

void supervisor_reload(struct supervisor *s, const char *const *arguments, uint32_t grace_ms) {
  pthread_mutex_lock(&s->lock);
  s->arguments = arguments;
  s->grace_ms = grace_ms;
  for (const struct worker *w = s->workers; w; w = w->next)
    if (w->pid) kill(w->pid, SIGHUP);
  pthread_mutex_unlock(&s->lock);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static bool send_descriptor(int channel, int fd) {
  char byte = 0, control[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return sendmsg(channel, &message, MSG_NOSIGNAL) == 1;
}

int supervisor_connect(struct supervisor *s, const char *tenant) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return -1;
  pthread_mutex_lock(&s->lock);
  const struct worker *w = find(s, tenant);
  bool ok = w && !w->is_leaving && w->channel >= 0 && send_descriptor(w->channel, pair[1]);
  pthread_mutex_unlock(&s->lock);
  close(pair[1]);
  if (ok) return pair[0];
  close(pair[0]);
  return -1;
}

/* Until the other side ends. False where it says too much, or takes too long. */
static bool receive_all(int fd, struct buffer *out) {
  uint64_t end = now_ms() + ASK_MS;
  for (;;) {
    char bytes[16384];
    struct pollfd one = {.fd = fd, .events = POLLIN};
    uint64_t now = now_ms();
    if (now >= end || out->size > MAX_ANSWER || poll(&one, 1, (int)(end - now)) <= 0) return false;
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n <= 0) return n == 0;
    buffer_append(out, bytes, (size_t)n);
  }
}

bool supervisor_ask(struct supervisor *s, const char *tenant, const char *path, struct buffer *body) {
  struct buffer reply = {0}, request = {0};
  int fd = supervisor_connect(s, tenant);
  if (fd < 0) return false;
  buffer_format(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nGasworks-Identity: 1\r\nConnection: close\r\n\r\n", path);
  bool ok = send(fd, request.bytes, request.size, MSG_NOSIGNAL) == (ssize_t)request.size && receive_all(fd, &reply);
  close(fd);
  buffer_append(&reply, "", 1);
  const char *head_end = strstr((const char *)reply.bytes, "\r\n\r\n");
  ok = ok && head_end && strncmp((const char *)reply.bytes, "HTTP/1.1 200", 12) == 0;
  if (ok) buffer_append(body, head_end + 4, strlen(head_end + 4) + 1);
  buffer_clear(&reply);
  buffer_clear(&request);
  return ok;
}

size_t supervisor_tenants(struct supervisor *s, char (**names)[SUPERVISOR_NAME_SIZE]) {
  size_t n = 0;
  *names = NULL;
  pthread_mutex_lock(&s->lock);
  for (const struct worker *w = s->workers; w; w = w->next) {
    *names = heap_resize(*names, n + 1, sizeof **names);
    memcpy((*names)[n++], w->tenant, sizeof w->tenant);
  }
  pthread_mutex_unlock(&s->lock);
  return n;
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *where) {
  (void)s, (void)kind, (void)where;
  return remove(path);
}

static void remove_tree(const char *path) { nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

/* Who is leaving stays in the list until its files are gone: so nobody starts another in its directory. */
static void remove_worker(struct supervisor *s, struct worker *w) {
  pthread_mutex_lock(&s->lock);
  end(s, w);
  wake(s);
  while (w->pid) pthread_cond_wait(&s->changed, &s->lock);
  pthread_mutex_unlock(&s->lock);
  remove_tree(w->directory);
  pthread_mutex_lock(&s->lock);
  struct worker **at = &s->workers;
  while (*at != w) at = &(*at)->next;
  *at = w->next;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
  free(w);
}

bool supervisor_remove(struct supervisor *s, const char *tenant, bool (*decide)(void *arg), void *arg) {
  pthread_mutex_lock(&s->lock);
  struct worker *w = find(s, tenant);
  if (w && w->is_leaving) w = NULL; /* somebody else removes it */
  if (w) w->is_leaving = true;
  pthread_mutex_unlock(&s->lock);
  bool ok = decide(arg);
  if (w && ok) {
    remove_worker(s, w);
  } else if (w) {
    pthread_mutex_lock(&s->lock);
    w->is_leaving = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    wake(s); /* it may have ended meanwhile */
  }
  return ok;
}

void supervisor_sweep(struct supervisor *s) {
  char path[MAX_PATH + SUPERVISOR_NAME_SIZE];
  snprintf(path, sizeof path, "%s/tenants", s->data_dir);
  DIR *directory = opendir(path);
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    pthread_mutex_lock(&s->lock);
    bool is_wanted = *entry->d_name == '.' || find(s, entry->d_name);
    pthread_mutex_unlock(&s->lock);
    if (!is_wanted && (size_t)snprintf(path, sizeof path, "%s/tenants/%s", s->data_dir, entry->d_name) < sizeof path)
      remove_tree(path);
  }
  if (directory) closedir(directory);
}

struct supervisor *supervisor_create(const char *data_dir, const char *const *arguments, uint32_t grace_ms,
                                     struct log_writer *log, struct gw_error *err) {
  struct supervisor *s = heap_new(1, sizeof *s);
  char tenants[MAX_PATH];
  s->data_dir = strdup(data_dir);
  s->arguments = arguments;
  s->grace_ms = grace_ms;
  s->log = log;
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->changed, NULL);
  snprintf(tenants, sizeof tenants, "%s/tenants", data_dir);
  s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  bool ok = s->wake >= 0 || error_set(err, GW_ERROR_IO, "cannot make an eventfd: %s", strerror(errno));
  ok = ok && directory_make(tenants, err);
  int failed = ok ? pthread_create(&s->thread, NULL, watch, s) : 0;
  if (ok && failed) ok = error_set(err, GW_ERROR_IO, "cannot start a thread: %s", strerror(failed));
  s->has_thread = ok;
  if (ok) return s;
  supervisor_destroy(s);
  return NULL;
}

void supervisor_destroy(struct supervisor *s) {
  if (!s) return;
  pthread_mutex_lock(&s->lock);
  s->is_ending = true;
  for (struct worker *w = s->workers; w; w = w->next) end(s, w);
  pthread_mutex_unlock(&s->lock);
  if (s->has_thread) {
    wake(s);
    pthread_join(s->thread, NULL);
  }
  for (struct worker *w = s->workers, *next; w; w = next) {
    next = w->next;
    free(w);
  }
  if (s->wake >= 0) close(s->wake);
  free(s->data_dir);
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->changed);
  free(s);
}
