#define _GNU_SOURCE /* pthread_timedjoin_np */
#include "server/observe/access_log.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* HAND_OVER: bytes that a loop keeps at most. AT_ONCE: a pipe that can be written takes so much without waiting. */
enum { HAND_OVER = 16 << 10, MAX_QUEUE = 4 << 20, AT_ONCE = 4096, OPEN_AGAIN_MS = 1000 };

struct access_log {
  pthread_t thread;
  char *path;
  bool is_json, is_own; /* is_own: a file, not standard output */
  struct tell tell;
  int wake; /* eventfd: something changed, for the thread that waits for a reader */
  /* The thread's. */
  int fd;                /* -1: not open */
  bool is_file, is_torn; /* is_torn: the last line lacks its end */
  uint64_t tried_ms, told;
  struct buffer writing;
  /* Any thread's. */
  _Atomic uint64_t lost;
  pthread_mutex_t lock; /* a leaf; guards what follows */
  pthread_cond_t changed;
  struct buffer queue;
  bool is_stopping, wants_reopen;
};

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

/* --- the file ----------------------------------------------------------------------------------------------------------- */

/* A pipe without a reader (ENXIO) is tried again later. */
static bool open_file(struct access_log *l) {
  struct stat s;
  l->tried_ms = now_ms();
  l->fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
  l->is_file = l->fd >= 0 && fstat(l->fd, &s) == 0 && S_ISREG(s.st_mode);
  return l->fd >= 0;
}

static void close_file(struct access_log *l) {
  if (l->is_own && l->fd >= 0) close(l->fd);
  if (l->is_own) l->fd = -1;
}

static uint64_t count_lines(const uint8_t *bytes, size_t size) {
  uint64_t n = 0;
  for (const uint8_t *at = bytes, *end = bytes + size; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++) n++;
  return n;
}

static void lose(struct access_log *l, const uint8_t *bytes, size_t size) {
  atomic_fetch_add_explicit(&l->lost, count_lines(bytes, size), memory_order_relaxed);
}

/* --- the thread --------------------------------------------------------------------------------------------------------- */

/* Takes what is queued, if anything; false when it is time to stop. */
static bool take(struct access_log *l) {
  struct buffer spare = l->writing;
  spare.size = 0;
  pthread_mutex_lock(&l->lock);
  while (!l->queue.size && !l->is_stopping && !l->wants_reopen) pthread_cond_wait(&l->changed, &l->lock);
  l->writing = l->queue;
  l->queue = spare;
  bool goes_on = l->writing.size || !l->is_stopping;
  pthread_mutex_unlock(&l->lock);
  return goes_on;
}

/* In the server's log, in which nobody has more than some lines a second. */
static void tell_lost(struct access_log *l, const char *why) {
  char text[256];
  uint64_t lost = access_log_lost(l);
  if (lost == l->told) return;
  int size = snprintf(text, sizeof text, "%llu lines of the access log were lost%s%s", (unsigned long long)(lost - l->told),
                      why ? ": " : "", why ? why : ": they were not taken fast enough");
  l->told = lost;
  l->tell.line(l->tell.arg, text, (size_t)size);
}

static bool wants_reopen(struct access_log *l) {
  pthread_mutex_lock(&l->lock);
  bool wants = l->wants_reopen;
  l->wants_reopen = false;
  pthread_mutex_unlock(&l->lock);
  return wants;
}

/* Of what is no file, as much as goes without waiting, whole lines where they are short. */
static size_t piece(const uint8_t *bytes, size_t size) {
  if (size <= AT_ONCE) return size;
  const uint8_t *end = memrchr(bytes, '\n', AT_ONCE);
  return end ? (size_t)(end + 1 - bytes) : AT_ONCE;
}

/* Waits until the reader takes more, or something else is to be done. Here and in a write the thread can be cancelled. */
static void wait_for_reader(const struct access_log *l) {
  struct pollfd fds[] = {{.fd = l->fd, .events = POLLOUT}, {.fd = l->wake, .events = POLLIN}};
  uint64_t count;
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  poll(fds, 2, -1);
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  if (read(l->wake, &count, sizeof count) < 0) {
  } /* nothing is there to be read, mostly */
}

static ssize_t write_some(struct access_log *l, const uint8_t *bytes, size_t size) {
  if (!l->is_file) {
    size = piece(bytes, size);
    wait_for_reader(l);
  }
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  if (l->is_torn && write(l->fd, "\n", 1) == 1) l->is_torn = false;
  ssize_t n = write(l->fd, bytes, size);
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  return n;
}

/* True when there is one. */
static bool ready_file(struct access_log *l) {
  if (wants_reopen(l)) {
    close_file(l);
    l->is_torn = false;
    return open_file(l);
  }
  return l->fd >= 0 || (now_ms() - l->tried_ms >= OPEN_AGAIN_MS && open_file(l));
}

/* A failure is of what there was to be written; the next lines are tried again. */
static void write_out(struct access_log *l) {
  const uint8_t *bytes = l->writing.bytes;
  size_t done = 0, size = l->writing.size;
  errno = 0;
  while (ready_file(l) && done < size) {
    ssize_t n = write_some(l, bytes + done, size - done);
    if (n > 0) done += (size_t)n;
    if (n < 0 && errno != EINTR && errno != EAGAIN) break;
  }
  if (done == size) {
    tell_lost(l, NULL);
    return;
  }
  const char *why = strerror(errno);
  if (done) l->is_torn = bytes[done - 1] != '\n';
  if (errno == EPIPE) close_file(l);
  lose(l, bytes + done, size - done);
  tell_lost(l, why);
}

static void *run(void *arg) {
  struct access_log *l = arg;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  pthread_setname_np(pthread_self(), "gw-access-log");
  while (take(l)) write_out(l);
  return NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static void access_log_free(struct access_log *l) {
  close_file(l);
  if (l->wake >= 0) close(l->wake);
  buffer_clear(&l->writing);
  buffer_clear(&l->queue);
  pthread_cond_destroy(&l->changed);
  pthread_mutex_destroy(&l->lock);
  free(l->path);
  free(l);
}

struct access_log *access_log_open(const char *path, bool is_json, const struct tell *tell, struct gw_error *err) {
  struct access_log *l = heap_new(1, sizeof *l);
  l->is_json = is_json;
  l->is_own = strcmp(path, "-") != 0;
  l->path = heap_new(strlen(path) + 1, 1);
  memcpy(l->path, path, strlen(path));
  l->tell = *tell;
  l->fd = l->is_own ? -1 : STDOUT_FILENO;
  l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  pthread_mutex_init(&l->lock, NULL);
  pthread_cond_init(&l->changed, NULL);
  bool ok = !l->is_own || open_file(l) || errno == ENXIO ||
            error_set(err, GW_ERROR_IO, "cannot open the access log %.200s: %s", path, strerror(errno));
  int problem = ok ? pthread_create(&l->thread, NULL, run, l) : 0;
  if (problem) error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the access log's thread: %s", strerror(problem));
  if (ok && !problem) return l;
  access_log_free(l);
  return NULL;
}

static void wake(struct access_log *l) {
  uint64_t one = 1;
  pthread_cond_signal(&l->changed);
  if (write(l->wake, &one, sizeof one) < 0) {
  } /* full means that it was said already */
}

void access_log_close(struct access_log *l) {
  struct timespec until;
  if (!l) return;
  pthread_mutex_lock(&l->lock);
  l->is_stopping = true;
  pthread_mutex_unlock(&l->lock);
  wake(l);
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec++;
  if (pthread_timedjoin_np(l->thread, NULL, &until)) {
    pthread_cancel(l->thread);
    pthread_join(l->thread, NULL);
  }
  access_log_free(l);
}

void access_log_reopen(struct access_log *l) {
  if (!l->is_own) return;
  pthread_mutex_lock(&l->lock);
  l->wants_reopen = true;
  pthread_mutex_unlock(&l->lock);
  wake(l);
}

uint64_t access_log_lost(const struct access_log *l) { return atomic_load_explicit(&l->lost, memory_order_relaxed); }

/* --- loops -------------------------------------------------------------------------------------------------------------- */

void access_log_flush(struct access_log *l, struct access_lines *lines) {
  if (!lines->text.size) return;
  pthread_mutex_lock(&l->lock);
  bool has_room = l->queue.size + lines->text.size <= MAX_QUEUE;
  if (has_room) buffer_append(&l->queue, lines->text.bytes, lines->text.size);
  pthread_cond_signal(&l->changed);
  pthread_mutex_unlock(&l->lock);
  if (!has_room) atomic_fetch_add_explicit(&l->lost, lines->n, memory_order_relaxed);
  lines->text.size = 0;
  lines->n = 0;
}

void access_log_add(struct access_log *l, struct access_lines *lines, const struct access_request *request,
                    const struct trail *trail) {
  uint64_t took = trail->began ? clock_ns(CLOCK_MONOTONIC) - trail->began : 0;
  access_log_print(lines, request, trail, l->is_json, clock_ns(CLOCK_REALTIME), took);
  lines->n++;
  if (lines->text.size >= HAND_OVER) access_log_flush(l, lines);
}
