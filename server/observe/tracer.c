#define _GNU_SOURCE /* posix_spawn's closefrom, pthread_setname_np */
#include "server/observe/tracer.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/observe/sender.h"
#include "server/observe/span.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* As OpenTelemetry's batch processor has them, but for the delay, which is shorter. One request has a batch and what its phases
 * add. */
enum { MAX_QUEUE = 2048, BATCH = 512, DELAY_MS = 1000, END_MS = 3000, TELL_MS = 60000, TENANTS = 64 };

struct tracer {
  pthread_t thread;
  bool has_thread;
  pid_t pid;
  int stream; /* to the process that sends */
  char *resource;
  enum sampler sampler;
  bool is_parent_based;
  double ratio;
  struct tell tell;
  /* The thread's. */
  uint64_t told, told_ms; /* dropped ones, and when */
  struct buffer frame;
  /* Any thread's. */
  _Atomic uint64_t n_sent, n_dropped;
  atomic_bool is_broken; /* the process has gone: it cannot be started again behind walls */
  pthread_mutex_t lock;  /* a leaf; guards what follows */
  pthread_cond_t changed;
  struct span *first, **end; /* a queue */
  uint32_t n_queued, n_queued_of[TENANTS];
  bool is_stopping;
  uint64_t stop_ms;
};

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

static void count(_Atomic uint64_t *counter, uint64_t n) { atomic_fetch_add_explicit(counter, n, memory_order_relaxed); }

/* --- what loops do ------------------------------------------------------------------------------------------------------- */

static bool is_chosen(const struct tracer *t, const struct context *context) {
  if (t->is_parent_based && *context->parent) return context->flags & CONTEXT_SAMPLED;
  switch (t->sampler) {
  case SAMPLER_ON: return true;
  case SAMPLER_OFF: return false;
  case SAMPLER_RATIO: break;
  }
  return context_is_in_ratio(context, t->ratio);
}

void tracer_begin(const struct tracer *t, struct trail *trail, struct context_source *source) {
  struct context *context = &trail->context;
  context_add_span(context, source);
  trail->is_sampled = is_chosen(t, context);
  context->flags = (uint8_t)((context->flags & CONTEXT_RANDOM) | (trail->is_sampled ? CONTEXT_SAMPLED : 0));
  trail->is_kept |= trail->is_sampled;
}

/* Whose span it is, where some share a place. Who calls what is not there may make up its name: all of these are one's. */
static unsigned tenant_of(const struct span_request *request, const struct trail *trail) {
  if (!request->function || !(trail->version || trail->has_gas)) return 0;
  const char *slash = strchr(request->function, '/');
  uint32_t hash = 2166136261u;
  for (const char *at = request->function; slash && at < slash; at++) hash = (hash ^ (unsigned char)*at) * 16777619u;
  return 1 + hash % (TENANTS - 1);
}

/* The more a tenant has there, the more must be left to others: one that floods a slow collector leaves them a quarter. */
static bool has_room_for(const struct tracer *t, unsigned tenant) {
  enum { TIMES = 3 };
  return t->n_queued < MAX_QUEUE && t->n_queued_of[tenant] <= TIMES * (MAX_QUEUE - t->n_queued);
}

void tracer_add(struct tracer *t, const struct span_request *request, const struct trail *trail) {
  bool has_room = !atomic_load_explicit(&t->is_broken, memory_order_relaxed);
  unsigned tenant = tenant_of(request, trail);
  struct span *span = has_room ? span_create(request, trail) : NULL;
  pthread_mutex_lock(&t->lock);
  has_room = has_room && has_room_for(t, tenant);
  if (has_room) {
    span->tenant = tenant;
    t->n_queued_of[tenant]++;
    *t->end = span;
    t->end = &span->next;
    t->n_queued++;
    pthread_cond_signal(&t->changed);
  }
  pthread_mutex_unlock(&t->lock);
  if (has_room) return;
  count(&t->n_dropped, 1);
  free(span);
}

struct tracer_totals tracer_totals(const struct tracer *t) {
  return (struct tracer_totals){atomic_load_explicit(&t->n_sent, memory_order_relaxed),
                                atomic_load_explicit(&t->n_dropped, memory_order_relaxed)};
}

/* --- the thread ---------------------------------------------------------------------------------------------------------- */

static struct timespec time_of_day(uint64_t in_ms) {
  uint64_t ns = clock_ns(CLOCK_REALTIME) + in_ms * 1000000;
  return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

/* Waits for a batch: a full one, or what there is some time after the first. NULL: it is time to stop. */
static struct span *take(struct tracer *t, uint32_t *n) {
  pthread_mutex_lock(&t->lock);
  while (!t->n_queued && !t->is_stopping) pthread_cond_wait(&t->changed, &t->lock);
  struct timespec until = time_of_day(DELAY_MS);
  while (t->n_queued < BATCH && !t->is_stopping && pthread_cond_timedwait(&t->changed, &t->lock, &until) == 0) {
  }
  struct span *batch = t->first, **last = &batch;
  for (*n = 0; *n < BATCH && *last; ++*n) {
    t->n_queued_of[(*last)->tenant]--;
    last = &(*last)->next;
  }
  t->first = *last;
  *last = NULL;
  if (!t->first) t->end = &t->first;
  t->n_queued -= *n;
  pthread_mutex_unlock(&t->lock);
  return batch;
}

/* How long to wait for the other side, in milliseconds, -1: for ever. */
static int time_left(struct tracer *t) {
  enum { LOOK_MS = 200 };
  pthread_mutex_lock(&t->lock);
  uint64_t stop = t->is_stopping ? t->stop_ms : 0, now = now_ms();
  pthread_mutex_unlock(&t->lock);
  if (!stop) return LOOK_MS;
  return stop > now ? (int)(stop - now) : 0;
}

/* False: time is over, or the other side has gone. */
static bool await(struct tracer *t, short events) {
  for (;;) {
    struct pollfd fd = {.fd = t->stream, .events = events};
    int left = time_left(t), n = poll(&fd, 1, left);
    if (n > 0) return true;
    if ((n == 0 && left == 0) || (n < 0 && errno != EINTR)) return false;
  }
}

static bool send_all(struct tracer *t, const void *bytes, size_t size) {
  const char *at = bytes;
  while (size) {
    ssize_t n = await(t, POLLOUT) ? send(t->stream, at, size, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

static bool receive_all(struct tracer *t, void *bytes, size_t size) {
  char *at = bytes;
  while (size) {
    ssize_t n = await(t, POLLIN) ? recv(t->stream, at, size, MSG_DONTWAIT) : -1;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

static void tell_lost(struct tracer *t, const char *why) {
  char text[320];
  uint64_t dropped = tracer_totals(t).n_dropped, now = now_ms();
  if (dropped == t->told || (t->told && now - t->told_ms < TELL_MS)) return;
  int size = snprintf(text, sizeof text, "%llu spans were dropped: %s", (unsigned long long)(dropped - t->told),
                      *why ? why : "they came faster than the collector takes them");
  t->told = dropped;
  t->told_ms = now;
  t->tell.line(t->tell.arg, text, (size_t)size);
}

static bool send_frame(struct tracer *t) {
  uint32_t size = (uint32_t)t->frame.size;
  return t->frame.size <= SENDER_MAX_FRAME && send_all(t, &size, sizeof size) && send_all(t, t->frame.bytes, size);
}

static void send_batch(struct tracer *t, const struct span *batch, uint32_t n) {
  struct sender_answer answer = {.outcome = SENDER_FAILED};
  t->frame.size = 0;
  span_print_batch(&t->frame, batch, t->resource);
  errno = 0;
  bool is_answered = send_frame(t) && receive_all(t, &answer, sizeof answer);
  answer.text[SENDER_TEXT_SIZE - 1] = 0;
  if (!is_answered) {
    atomic_store_explicit(&t->is_broken, true, memory_order_relaxed);
    snprintf(answer.text, sizeof answer.text, "the process that sends them has gone");
  }
  uint32_t rejected = answer.n_rejected < n ? answer.n_rejected : n;
  uint32_t dropped = answer.outcome == SENDER_SENT ? rejected : n;
  count(&t->n_sent, n - dropped);
  count(&t->n_dropped, dropped);
  tell_lost(t, answer.text);
}

static void free_all(struct span *span) {
  while (span) {
    struct span *next = span->next;
    free(span);
    span = next;
  }
}

static void *run(void *arg) {
  struct tracer *t = arg;
  struct span *batch;
  uint32_t n;
  pthread_setname_np(pthread_self(), "gw-tracer");
  while ((batch = take(t, &n))) {
    if (atomic_load_explicit(&t->is_broken, memory_order_relaxed))
      count(&t->n_dropped, n);
    else
      send_batch(t, batch, n);
    free_all(batch);
  }
  return NULL;
}

/* --- life ---------------------------------------------------------------------------------------------------------------- */

/* The other end becomes its standard input. */
static int spawn(const struct tracer_options *options, int end, pid_t *pid) {
  char *const argv[] = {(char *)"gasworks", (char *)SENDER_VERB, NULL};
  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  sigset_t none;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, end, STDIN_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_init(&how);
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setpgroup(&how, 0); /* a terminal's Ctrl-C is for the server, which has spans to send then */
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  int failed = posix_spawn(pid, options->program, &files, &how, argv, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  return failed;
}

/* What it needs to know goes over the stream: command lines and environments are read by others of the same user. */
static bool send_first(struct tracer *t, const struct tracer_options *options) {
  buffer_append(&t->frame, options->endpoint, strlen(options->endpoint) + 1);
  buffer_format(&t->frame, "%u", options->timeout_ms);
  buffer_append(&t->frame, "", 1);
  buffer_append(&t->frame, options->headers, strlen(options->headers) + 1);
  bool ok = send_frame(t);
  explicit_bzero(t->frame.bytes, t->frame.size);
  return ok;
}

struct tracer *tracer_open(const struct tracer_options *options, struct gw_error *err) {
  struct tracer *t = heap_new(1, sizeof *t);
  int pair[2] = {-1, -1};
  t->end = &t->first;
  t->sampler = options->sampler;
  t->is_parent_based = options->is_parent_based;
  t->ratio = options->ratio;
  t->resource = strdup(options->resource);
  pthread_mutex_init(&t->lock, NULL);
  pthread_cond_init(&t->changed, NULL);
  int failed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ? errno : 0;
  t->stream = pair[0];
  if (!failed) failed = spawn(options, pair[1], &t->pid);
  if (pair[1] >= 0) close(pair[1]);
  if (!failed && !send_first(t, options)) failed = EPIPE;
  if (!failed) return t;
  error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the process that sends spans: %s", strerror(failed));
  tracer_close(t);
  return NULL;
}

bool tracer_start(struct tracer *t, const struct tell *tell, struct gw_error *err) {
  t->tell = *tell;
  int failed = pthread_create(&t->thread, NULL, run, t);
  t->has_thread = !failed;
  return !failed || error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the thread of spans: %s", strerror(failed));
}

/* It ends when its stream does, whatever it is at; it is no longer waited for than that takes. Landlock lets nobody behind walls
 * send signals to it. */
static void end_process(const struct tracer *t) {
  enum { STEP_MS = 10 };
  if (t->stream >= 0) close(t->stream);
  if (t->pid <= 0) return;
  for (int ms = 0; ms < END_MS && waitpid(t->pid, NULL, WNOHANG) == 0; ms += STEP_MS) poll(NULL, 0, STEP_MS);
}

void tracer_close(struct tracer *t) {
  if (!t) return;
  pthread_mutex_lock(&t->lock);
  t->is_stopping = true;
  t->stop_ms = now_ms() + END_MS;
  pthread_cond_signal(&t->changed);
  pthread_mutex_unlock(&t->lock);
  if (t->has_thread) pthread_join(t->thread, NULL);
  end_process(t);
  free_all(t->first);
  buffer_clear(&t->frame);
  pthread_cond_destroy(&t->changed);
  pthread_mutex_destroy(&t->lock);
  free(t->resource);
  free(t);
}
