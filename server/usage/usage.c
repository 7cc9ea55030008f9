#include "server/usage/usage.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "server/usage/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STORE_SECONDS = 5, LOOK_SECONDS = 60 };

/* --- the thread --------------------------------------------------------------------------------------------------- */

/* On the log's thread. */
static void on_checkpoint(void *arg) {
  struct usage *u = arg;
  pthread_mutex_lock(&u->mutex);
  u->has_more = true;
  pthread_cond_signal(&u->wake);
  pthread_mutex_unlock(&u->mutex);
}

/* Storing costs a sync, so it waits for some seconds' sums, unless somebody wants them. */
static bool work(struct usage *u, bool is_wanted, uint64_t *stored_at, struct gw_error *err) {
  uint64_t now = clock_ns(CLOCK_MONOTONIC);
  if (!usage_follow(u, receipt_log_durable(u->options.log), err) || !usage_add_rent(u, is_wanted, err)) return false;
  if (!is_wanted && now - *stored_at < (uint64_t)STORE_SECONDS * 1000000000) return true;
  *stored_at = now;
  return usage_store(u, err);
}

/* Under the mutex: until there is something to do. Days end without anything being called, so at times it looks. */
static void wait_for_work(struct usage *u) {
  uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + (u->n_rows ? (uint64_t)STORE_SECONDS : LOOK_SECONDS) * 1000000000;
  struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000), .tv_nsec = (long)(until_ns % 1000000000)};
  while (!u->has_more && u->n_asked == u->n_served && !u->is_stopping)
    if (pthread_cond_timedwait(&u->wake, &u->mutex, &until) == ETIMEDOUT) break;
}

static void usage_free(struct usage *u) {
  receipt_log_follow(u->options.log, NULL, NULL, 0);
  usage_free_table(u);
  usage_free_accounts(u);
  free(u->tables);
  pthread_mutex_destroy(&u->mutex);
  pthread_mutex_destroy(&u->changing);
  pthread_cond_destroy(&u->wake);
  pthread_cond_destroy(&u->settled);
  free(u);
}

/* Under the mutex, which it unlocks. What was left to this thread nobody else has any more. */
static void end(struct usage *u) {
  void (*closed)(void *arg) = u->closed;
  void *closed_arg = u->closed_arg;
  u->has_ended = true;
  pthread_cond_broadcast(&u->settled);
  pthread_mutex_unlock(&u->mutex);
  if (!closed) return;
  usage_free(u);
  closed(closed_arg);
}

static void *run(void *arg) {
  struct usage *u = arg;
  uint64_t stored_at = clock_ns(CLOCK_MONOTONIC);
  bool is_told = false;
  pthread_mutex_lock(&u->mutex);
  while (!u->is_stopping) {
    wait_for_work(u);
    if (u->is_stopping) break;
    uint64_t asked = u->n_asked;
    bool is_wanted = asked != u->n_served;
    struct gw_error err = {0};
    u->has_more = false;
    pthread_mutex_unlock(&u->mutex);
    bool ok = work(u, is_wanted, &stored_at, &err);
    if (!ok && !is_told) fprintf(stderr, "[server] usage: %s\n", err.message);
    is_told = !ok;
    pthread_mutex_lock(&u->mutex);
    u->error = err;
    u->n_served = asked;
    pthread_cond_broadcast(&u->settled);
  }
  end(u);
  return NULL;
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static bool start(struct usage *u, struct gw_error *err) {
  int rc = pthread_create(&u->thread, NULL, run, u);
  u->has_thread = !rc;
  return !rc || error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the thread of usage: %s", strerror(rc));
}

struct usage *usage_open(const struct usage_options *options, struct gw_error *err) {
  struct usage *u = heap_new(1, sizeof *u);
  pthread_condattr_t monotonic;
  u->options = *options;
  snprintf(u->space, sizeof u->space, USAGE_SPACE "%s", state_store_node(options->state));
  u->prices = options->prices ? *options->prices : (struct prices){.currency = "XXX"};
  pthread_mutex_init(&u->mutex, NULL);
  pthread_mutex_init(&u->changing, NULL);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&u->wake, &monotonic);
  pthread_cond_init(&u->settled, &monotonic);
  pthread_condattr_destroy(&monotonic);
  bool ok = usage_load(u, err);
  if (ok) receipt_log_follow(u->options.log, on_checkpoint, u, u->next);
  ok = ok && usage_follow(u, receipt_log_durable(u->options.log), err) && usage_add_rent(u, true, err) && usage_store(u, err);
  if (ok) usage_open_accounts(u);
  u->is_open = ok;
  ok = ok && usage_take_prices(u, err) && start(u, err);
  if (ok) return u;
  usage_free(u);
  return NULL;
}

bool usage_settle(struct usage *u, struct gw_error *err) {
  bool is_whole = receipt_log_settle(u->options.log); /* if not, the disk is full: then as far as it goes */
  (void)is_whole;
  pthread_mutex_lock(&u->mutex);
  uint64_t asked = ++u->n_asked;
  pthread_cond_signal(&u->wake);
  while (u->n_served < asked && !u->is_stopping) pthread_cond_wait(&u->settled, &u->mutex);
  struct gw_error last = u->error;
  pthread_mutex_unlock(&u->mutex);
  return !last.code || error_set(err, last.code, "usage: %s", last.message);
}

const char *usage_log_id(const struct usage *u) { return receipt_log_id(u->options.log); }

uint64_t usage_as_of(struct usage *u) {
  pthread_mutex_lock(&u->mutex);
  uint64_t next = u->stored_next;
  pthread_mutex_unlock(&u->mutex);
  return next;
}

/* Under the mutex: until all that was asked for is stored, or could not be; or until the thread has ended. */
static void wait_for_thread(struct usage *u, const struct timespec *until, bool is_to_end) {
  while (!u->has_ended && (is_to_end || u->n_served < u->n_asked))
    if (pthread_cond_timedwait(&u->settled, &u->mutex, until) == ETIMEDOUT) break;
}

bool usage_close(struct usage *u, void (*closed)(void *arg), void *arg) {
  if (!u) return true;
  receipt_log_settle(u->options.log);
  uint64_t ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)USAGE_CLOSE_MS * 1000000;
  struct timespec until = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
  pthread_mutex_lock(&u->mutex);
  u->n_asked++;
  pthread_cond_signal(&u->wake);
  wait_for_thread(u, &until, false); /* what could not be stored is added at the next start */
  u->is_stopping = true;
  pthread_cond_signal(&u->wake);
  wait_for_thread(u, &until, true);
  bool has_ended = u->has_ended;
  if (!has_ended) {
    fprintf(stderr, "[server] usage: the state store does not answer; what it has not taken is added at the next start\n");
    u->closed = closed;
    u->closed_arg = arg;
    pthread_detach(u->thread);
  }
  pthread_mutex_unlock(&u->mutex);
  if (!has_ended) return false;
  pthread_join(u->thread, NULL);
  usage_free(u);
  return true;
}
