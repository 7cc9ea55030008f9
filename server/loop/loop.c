#define _GNU_SOURCE /* pthread_setname_np */
#include "server/loop/loop.h"

#include "base/error.h"
#include "server/server.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TICK_MS = 100, TRIM_TICKS = 20, PRESSURE_TICKS = 5, BACKLOG = 1024, ABORT_MS = 1000, TRIM_AFTER_MS = 35000 };

uint32_t loop_random(struct loop *loop) { /* xorshift64* */
  uint64_t x = loop->random;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  loop->random = x;
  return (uint32_t)((x * 2685821657736338717ull) >> 32);
}

/* --- messages ---------------------------------------------------------------------------------------------------- */

void loop_post(struct loop *loop, struct message *message) {
  pthread_mutex_lock(&loop->inbox_lock);
  message->next = loop->inbox;
  loop->inbox = message;
  uv_async_send(&loop->wake); /* under the lock: the handle is closed only after the last message was taken */
  pthread_mutex_unlock(&loop->inbox_lock);
}

void loop_stop(struct loop *loop) {
  pthread_mutex_lock(&loop->inbox_lock);
  if (!loop->stop_requested) uv_async_send(&loop->wake);
  loop->stop_requested = true;
  pthread_mutex_unlock(&loop->inbox_lock);
}

static void deliver_all(struct message *newest) {
  struct message *oldest = NULL;
  while (newest) {
    struct message *next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest) {
    struct message *next = oldest->next;
    oldest->deliver(oldest);
    oldest = next;
  }
}

/* --- stopping ---------------------------------------------------------------------------------------------------- */

static void close_handle(void *handle) {
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* With the last connection gone nothing can begin any more; loads under way keep uv_run going by themselves. */
static void end_if_done(struct loop *loop) {
  if (!loop->is_stopping || loop->connections) return;
  close_handle(&loop->wake);
  close_handle(&loop->tick);
  close_handle(&loop->retry);
  close_handle(&loop->run);
  close_handle(&loop->more);
  close_handle(&loop->turn);
}

static void begin_stop(struct loop *loop) {
  if (loop->is_stopping) return;
  loop->is_stopping = true;
  loop->stop_at = loop_now(loop) + loop->options->grace_ms;
  close_handle(&loop->listener);
  if (loop->has_channel) close_handle(&loop->channel);
  loop->ops->stop(loop);
}

static void check_grace(struct loop *loop) {
  if (loop_now(loop) >= loop->stop_at) loop->ops->cancel(loop, loop_now(loop) >= loop->stop_at + ABORT_MS);
}

/* --- callbacks --------------------------------------------------------------------------------------------------- */

static void on_wake(uv_async_t *handle) {
  struct loop *loop = handle->data;
  pthread_mutex_lock(&loop->inbox_lock);
  struct message *inbox = loop->inbox;
  bool stop = loop->stop_requested;
  loop->inbox = NULL;
  pthread_mutex_unlock(&loop->inbox_lock);
  deliver_all(inbox);
  if (stop) begin_stop(loop);
  end_if_done(loop);
}

/* Memory that was freed goes back to the system when nothing has begun for a while. It takes milliseconds, so not before. */
static void give_memory_back(struct loop *loop) {
  if (loop->is_trimmed || loop->n_running || loop->n_paused || loop_now(loop) - loop->last_begin < TRIM_AFTER_MS) return;
  loop->is_trimmed = true;
  malloc_trim(0);
}

static void set(_Atomic uint64_t *gauge, uint64_t value) { atomic_store_explicit(gauge, value, memory_order_relaxed); }

static uint64_t count(const struct waiter_queue *queue) {
  uint64_t n = 0;
  for (const struct waiter *w = queue->first; w; w = w->next) n++;
  return n;
}

static void tell_gauges(struct loop *loop) {
  struct metrics *m = &loop->metrics;
  set(&m->connections, loop->n_connections);
  set(&m->running, loop->n_running + loop->n_paused);
  set(&m->throttled, count(&loop->throttled));
  set(&m->delayed, count(&loop->delayed));
  set(&m->idle, loop->n_idle);
  set(&m->body_bytes, loop->body_bytes);
  set(&m->reply_bytes, loop->reply_bytes);
}

static void on_tick(uv_timer_t *handle) {
  struct loop *loop = handle->data;
  tell_gauges(loop);
  loop->ops->tick(loop);
  loop->ops->shed(loop);
  if (loop->access_log) access_log_flush(loop->access_log, &loop->access_lines);
  if (++loop->ticks % TRIM_TICKS == 0) {
    loop->ops->trim(loop, IDLE_MS);
    give_memory_back(loop);
  }
  if (loop->ticks % PRESSURE_TICKS == 0 && pressure_is_high(&loop->pressure, loop_now(loop)))
    loop->ops->trim(loop, IDLE_UNDER_PRESSURE_MS);
  if (loop->is_stopping) check_grace(loop);
  end_if_done(loop);
}

static void on_connection(uv_stream_t *listener, int status) {
  struct loop *loop = listener->data;
  if (status == 0) loop->ops->accept(loop);
}

/* One connection of those that the front has sent; another loop may have been faster. */
static void on_channel(uv_poll_t *handle, int status, int events) {
  struct loop *loop = handle->data;
  char byte, control[CMSG_SPACE(sizeof(int))];
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  (void)status, (void)events;
  ssize_t n = recvmsg(loop->channel_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  const struct cmsghdr *header = n == 1 ? CMSG_FIRSTHDR(&message) : NULL;
  int fd;
  if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof fd)) {
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    loop->ops->adopt(loop, fd);
  } else if (n == 0) {
    uv_poll_stop(&loop->channel);
    loop->ops->orphaned(loop);
  }
}

/* --- turns ------------------------------------------------------------------------------------------------------- */

/* Between two polls nobody new is heard, so how long that takes is what a neighbour may have to wait. */
static void count_turn(struct metrics *metrics, uint64_t ns) {
  uint64_t us = (ns + 999) / 1000;
  int kind = us <= 1 ? 0 : 64 - __builtin_clzll(us - 1);
  metrics_add(&metrics->turns[kind < TURN_KINDS ? kind : TURN_KINDS - 1], 1);
}

/* What a poll waited is nobody's turn. */
static void on_turn(uv_prepare_t *handle) {
  struct loop *loop = handle->data;
  uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(&loop->uv);
  if (loop->turn_began) count_turn(&loop->metrics, now - loop->turn_began - (idle - loop->idle_before));
  loop->turn_began = now;
  loop->idle_before = idle;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static void *loop_main(void *arg) {
  struct loop *loop = arg;
  char name[16];
  loop->self = pthread_self();
  snprintf(name, sizeof name, "gw-loop-%u", loop->index % 10000000);
  pthread_setname_np(loop->self, name);
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  return NULL;
}

static void init_handles(struct loop *loop) {
  uv_async_init(&loop->uv, &loop->wake, on_wake);
  uv_timer_init(&loop->uv, &loop->tick);
  uv_timer_init(&loop->uv, &loop->retry);
  uv_idle_init(&loop->uv, &loop->run);
  uv_idle_init(&loop->uv, &loop->more);
  uv_prepare_init(&loop->uv, &loop->turn);
  uv_tcp_init(&loop->uv, &loop->listener);
  loop->turn.data = loop->wake.data = loop->tick.data = loop->retry.data = loop->run.data = loop->more.data =
      loop->listener.data = loop;
  uv_timer_start(&loop->tick, on_tick, TICK_MS, TICK_MS);
  uv_prepare_start(&loop->turn, on_turn);
}

/* Signals are for the thread in server_run, except those that traps raise; a client that has gone must not end the process. */
static int create_thread(struct loop *loop) {
  static const int for_traps[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  sigset_t all, old;
  sigfillset(&all);
  for (size_t i = 0; i < sizeof for_traps / sizeof *for_traps; i++) sigdelset(&all, for_traps[i]);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  int failed = pthread_create(&loop->thread, NULL, loop_main, loop);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return failed;
}

static int open_channel(struct loop *loop, int fd) {
  int failed = uv_poll_init(&loop->uv, &loop->channel, fd);
  loop->channel_fd = fd;
  loop->channel.data = loop;
  loop->has_channel = !failed;
  return failed ? failed : uv_poll_start(&loop->channel, UV_READABLE, on_channel);
}

static int open_listener(struct loop *loop, int fd) {
  int failed = uv_tcp_open(&loop->listener, fd);
  return failed ? failed : uv_listen((uv_stream_t *)&loop->listener, BACKLOG, on_connection);
}

bool loop_start(struct loop *loop, int fd, bool is_channel, struct gw_error *err) {
  /* The first use makes glibc's heap, which two loops must not do at once: under sanitizers it is nobody else's. */
  malloc_trim(0);
  pthread_mutex_init(&loop->inbox_lock, NULL);
  loop->random = ((uint64_t)loop->index + 1) * 0x9e3779b97f4a7c15ull ^ uv_hrtime();
  if (!context_source_init(&loop->traces)) return error_set(err, GW_ERROR_IO, "the system gives no random numbers");
  int failed = uv_loop_init(&loop->uv);
  if (failed) return error_set(err, GW_ERROR_IO, "cannot make an event loop: %s", uv_strerror(failed));
  loop->has_loop = true;
  uv_loop_configure(&loop->uv, UV_METRICS_IDLE_TIME);
  init_handles(loop);
  pressure_open(&loop->pressure, loop->options->pressure_file);
  failed = is_channel ? open_channel(loop, fd) : open_listener(loop, fd);
  if (failed) return error_set(err, GW_ERROR_IO, "cannot listen: %s", uv_strerror(failed));
  failed = create_thread(loop);
  if (failed) return error_set(err, GW_ERROR_IO, "cannot start a thread: %s", strerror(failed));
  loop->has_thread = true;
  return true;
}

void loop_join(struct loop *loop) {
  if (loop->has_thread) {
    pthread_join(loop->thread, NULL);
  } else if (loop->has_loop) {
    begin_stop(loop);
    end_if_done(loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
  }
  if (!loop->has_loop) return;
  loop->has_loop = loop->has_thread = false;
  loop->ops->trim(loop, 0);
  if (loop->access_log) access_log_flush(loop->access_log, &loop->access_lines);
  buffer_clear(&loop->access_lines.text);
  pressure_close(&loop->pressure);
  if (loop->has_channel) close(loop->channel_fd);
  uv_loop_close(&loop->uv);
  pthread_mutex_destroy(&loop->inbox_lock);
}
