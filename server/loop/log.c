/* Standard error may be shared with other processes, so it cannot be made non-blocking. The writer takes the whole queue, writes
 * it without the lock, and comes back; loops only append. */
#define _GNU_SOURCE /* pthread_timedjoin_np */
#include "server/loop/log.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/plain_text.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINES_PER_SECOND = 200, MAX_LINE = 512, MAX_QUEUE = 1 << 20 };

struct log_writer {
  pthread_t thread;
  int fd;
  struct buffer writing; /* the thread's */
  pthread_mutex_t lock;  /* a leaf; guards what follows */
  pthread_cond_t changed;
  struct buffer queue;
  uint64_t lost; /* lines */
  bool is_stopping;
};

/* --- the thread ------------------------------------------------------------------------------------------------------ */

/* Takes what is queued; false when it is time to stop. */
static bool take(struct log_writer *w) {
  struct buffer spare = w->writing;
  spare.size = 0;
  pthread_mutex_lock(&w->lock);
  while (!w->queue.size && !w->is_stopping) pthread_cond_wait(&w->changed, &w->lock);
  w->writing = w->queue;
  w->queue = spare;
  if (w->lost)
    buffer_format(&w->writing, "[server] %llu lines of the log were lost: standard error was not read fast enough\n",
                  (unsigned long long)w->lost);
  w->lost = 0;
  pthread_mutex_unlock(&w->lock);
  return w->writing.size > 0;
}

/* A log that cannot be written is lost: there is nowhere to say so. The one place where the thread can be cancelled. */
static void write_out(const struct log_writer *w) {
  for (size_t done = 0; done < w->writing.size;) {
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    ssize_t n = write(w->fd, w->writing.bytes + done, w->writing.size - done);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    if (n < 0 && errno != EINTR) return;
    if (n > 0) done += (size_t)n;
  }
}

static void *run(void *arg) {
  struct log_writer *w = arg;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  while (take(w)) write_out(w);
  return NULL;
}

struct log_writer *log_writer_create(int fd, struct gw_error *err) {
  struct log_writer *w = heap_new(1, sizeof *w);
  sigset_t pipe, old;
  w->fd = fd;
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->changed, NULL);
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE); /* a reader that has gone must not end the server */
  pthread_sigmask(SIG_BLOCK, &pipe, &old);
  int problem = pthread_create(&w->thread, NULL, run, w);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (!problem) return w;
  error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the log's thread: %s", strerror(problem));
  pthread_mutex_destroy(&w->lock);
  pthread_cond_destroy(&w->changed);
  free(w);
  return NULL;
}

void log_writer_destroy(struct log_writer *w) {
  struct timespec until;
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  w->is_stopping = true;
  pthread_cond_signal(&w->changed);
  pthread_mutex_unlock(&w->lock);
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec++;
  if (pthread_timedjoin_np(w->thread, NULL, &until)) {
    pthread_cancel(w->thread);
    pthread_join(w->thread, NULL);
  }
  buffer_clear(&w->writing);
  buffer_clear(&w->queue);
  pthread_cond_destroy(&w->changed);
  pthread_mutex_destroy(&w->lock);
  free(w);
}

/* --- lines ----------------------------------------------------------------------------------------------------------- */

static void put(struct log_writer *w, const struct buffer *lines) {
  if (!lines->size) return;
  pthread_mutex_lock(&w->lock);
  if (w->queue.size + lines->size <= MAX_QUEUE)
    buffer_append(&w->queue, lines->bytes, lines->size);
  else
    for (size_t i = 0; i < lines->size; i++) w->lost += lines->bytes[i] == '\n';
  pthread_cond_signal(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

/* True when one more line fits this second's share; says it when one does not for the first time. */
static bool share_allows(struct log_share *share, uint64_t now_ms, const char *name, struct buffer *out) {
  if (share->second != now_ms / 1000) {
    if (share->dropped) buffer_format(out, "[%s] %llu log lines were dropped\n", name, (unsigned long long)share->dropped);
    *share = (struct log_share){.second = now_ms / 1000};
  }
  if (share->lines < MAX_LINES_PER_SECOND) {
    share->lines++;
    return true;
  }
  if (share->dropped++ == 0)
    buffer_format(out, "[%s] more than %d log lines in a second: the rest is dropped\n", name, MAX_LINES_PER_SECOND);
  return false;
}

/* Terminal escapes and the like have no business in a log. */
static void append_safe(struct buffer *out, const char *text, size_t size) {
  bool is_cut = size > MAX_LINE;
  if (is_cut) size = MAX_LINE;
  size_t at = out->size;
  buffer_append(out, text, size);
  plain_text((char *)out->bytes + at, size, "\t");
  buffer_append_string(out, is_cut ? "... (cut)\n" : "\n");
}

void log_function(struct log_writer *w, struct log_share *share, uint64_t now_ms, const char *name, const void *text,
                  size_t size) {
  struct buffer out = {0};
  const char *at = text, *end = at + size;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
    if (share_allows(share, now_ms, name, &out)) {
      buffer_format(&out, "[%s] ", name);
      append_safe(&out, at, (size_t)(stop - at));
    }
    at = stop + 1;
  }
  put(w, &out);
  buffer_clear(&out);
}

void log_failure(struct log_writer *w, struct log_share *share, uint64_t now_ms, const char *name, const char *id,
                 uint32_t status, const char *text) {
  struct buffer out = {0};
  struct timespec now;
  struct tm tm;
  char when[32];
  if (share_allows(share, now_ms, name, &out)) {
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
    buffer_format(&out, "[%s] %s.%03ldZ request %s: %u ", name, when, now.tv_nsec / 1000000, id, status);
    append_safe(&out, text, strlen(text));
  }
  put(w, &out);
  buffer_clear(&out);
}
