/* The thread that makes room: blocks on disk ahead of what is given out, for two seconds at the present rate. A sync may take
 * that long, and what waits for the file system waits here. It also faults in the pages that come next, so that loops need not.
 * When the disk is full it tries again ten times a second. */
#include "base/clock.h"
#include "base/error.h"
#include "runtime/receipt/private.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
  TICK_NS = 100000000,
  TICKS_AHEAD = 20,  /* of room */
  TICKS_TOUCHED = 3, /* of pages that are faulted in; a sync writes those that are not used yet, too */
  LEAST_TOUCHED = 64 << 10,
  SPARE_BYTES = 128 << 10,
  SPARE_LEAVES = 512, /* with less than these there is no room */
  MAX_SPARES = 8,
};

/* What one tick took, the most of late. */
struct rate {
  uint64_t at, n, bytes;       /* as of the last tick */
  uint64_t leaves, leaf_bytes; /* in a tick */
};

/* --- how much there is --------------------------------------------------------------------------------------------- */

static struct segment_room room_left(const struct receipt_log *log) {
  const struct segment *s = log->current;
  size_t at = log->n - s->number * FILES_SEGMENT, end = s->room.leaves;
  return (struct segment_room){s->room.bytes - s->used, end - at + (end == FILES_SEGMENT ? log->spare_leaves : 0)};
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Of `wanted` bytes those that the segment's last leaves may take, if each has `most`: behind them comes the next segment. */
static size_t of_segment(const struct receipt_log *log, size_t wanted, size_t most) {
  return smaller(wanted, ((log->current->number + 1) * FILES_SEGMENT - log->n) * most);
}

void receipt_room_look(struct receipt_log *log) {
  struct segment_room left = room_left(log);
  bool has_room = !log->has_failed && !log->is_late && left.leaves >= SPARE_LEAVES &&
                  left.bytes >= of_segment(log, SPARE_BYTES, LEAF_MAX + 2);
  size_t low = of_segment(log, log->low.bytes, log->leaf_bytes) + ROOM_BYTES / 2;
  bool is_short = left.leaves < log->low.leaves || left.bytes < of_segment(log, low, LEAF_MAX + 2);
  if (has_room != receipt_log_has_room(log)) atomic_store_explicit(&log->has_room, has_room, memory_order_relaxed);
  if ((!is_short && !log->room_is_idle) || log->room_is_awake) return;
  log->room_is_awake = true;
  pthread_cond_signal(&log->wake_room);
}

/* --- making more --------------------------------------------------------------------------------------------------- */

/* Up to where pages should be faulted in. */
static struct segment_room touched_behind(const struct segment_room *at, const struct segment_room *room,
                                          const struct rate *rate) {
  size_t bytes = at->bytes + larger(rate->leaf_bytes * TICKS_TOUCHED, LEAST_TOUCHED);
  size_t leaves = at->leaves + larger(rate->leaves * TICKS_TOUCHED, ROOM_PIECE);
  return (struct segment_room){smaller(bytes, room->bytes), smaller(leaves, room->leaves)};
}

/* Of the present segment, up to `ahead` of what is given out. */
static bool extend(struct receipt_log *log, const struct segment_room *ahead) {
  struct gw_error ignored = {0};
  pthread_mutex_lock(&log->mutex);
  struct segment *s = log->growing = log->current;
  struct segment_room wanted = {s->used + of_segment(log, ahead->bytes, log->leaf_bytes) + ROOM_BYTES,
                                log->n - s->number * FILES_SEGMENT + ahead->leaves};
  pthread_mutex_unlock(&log->mutex);
  bool ok = receipt_segment_extend(s, &wanted, &ignored);
  pthread_mutex_lock(&log->mutex);
  s->room = wanted;
  log->growing = NULL;
  receipt_room_look(log);
  pthread_mutex_unlock(&log->mutex);
  return ok;
}

static void add_spare(struct receipt_log *log, struct segment *spare) {
  struct segment **end = &log->spares;
  while (*end) end = &(*end)->next;
  *end = spare;
  log->spare_leaves += spare->room.leaves;
}

/* One more segment behind the last, if what is there is not enough. */
static bool make_spare(struct receipt_log *log, const struct segment_room *ahead, const struct rate *rate, bool *is_made) {
  struct gw_error ignored = {0};
  pthread_mutex_lock(&log->mutex);
  size_t n = 1, left = room_left(log).leaves;
  bool is_whole = log->current->room.leaves == FILES_SEGMENT;
  for (struct segment *s = log->spares; s; s = s->next) n++;
  uint64_t number = log->current->number + n;
  pthread_mutex_unlock(&log->mutex);
  *is_made = is_whole && left < ahead->leaves && n <= MAX_SPARES;
  if (!*is_made) return true;
  size_t leaves = larger(ahead->leaves - left, ROOM_LEAVES);
  struct segment_room room = {log->leaf_bytes * smaller(leaves, FILES_SEGMENT) + ROOM_BYTES, leaves};
  struct segment *spare = receipt_segment_open(log->options.directory, number, &room, &ignored);
  if (!spare) return false;
  struct segment_room touched = touched_behind(&(struct segment_room){0}, &spare->room, rate);
  receipt_segment_touch(spare, &touched);
  pthread_mutex_lock(&log->mutex);
  add_spare(log, spare);
  receipt_room_look(log);
  pthread_mutex_unlock(&log->mutex);
  return true;
}

/* Reservations may have gone on to a spare by now, which then is extended at the next tick. */
static void touch(struct receipt_log *log, const struct rate *rate) {
  pthread_mutex_lock(&log->mutex);
  struct segment *s = log->growing = log->current;
  struct segment_room at = {s->used, log->n - s->number * FILES_SEGMENT}, room = s->room;
  pthread_mutex_unlock(&log->mutex);
  struct segment_room to = touched_behind(&at, &room, rate);
  if (s->touched.bytes < at.bytes) s->touched.bytes = at.bytes;
  if (s->touched.leaves < at.leaves) s->touched.leaves = at.leaves;
  receipt_segment_touch(s, &to);
  pthread_mutex_lock(&log->mutex);
  log->growing = NULL;
  pthread_mutex_unlock(&log->mutex);
}

/* --- the thread ---------------------------------------------------------------------------------------------------- */

/* A tick that is not over yet counts, too: a burst is seen when it has used half of the room. */
static void measure(struct receipt_log *log, struct rate *rate) {
  uint64_t now = clock_ns(CLOCK_MONOTONIC), ns = larger(now - rate->at, TICK_NS / 32);
  bool is_over = ns >= TICK_NS;
  pthread_mutex_lock(&log->mutex);
  uint64_t leaves = log->n - rate->n, bytes = log->bytes - rate->bytes;
  if (is_over) rate->n = log->n, rate->bytes = log->bytes, rate->at = now;
  pthread_mutex_unlock(&log->mutex);
  double ticks = (double)ns / TICK_NS;
  rate->leaves = larger((uint64_t)((double)leaves / ticks), is_over ? rate->leaves * 7 / 8 : rate->leaves);
  rate->leaf_bytes = larger((uint64_t)((double)bytes / ticks), is_over ? rate->leaf_bytes * 7 / 8 : rate->leaf_bytes);
}

/* False: the disk is full. */
static bool make_room(struct receipt_log *log, const struct rate *rate) {
  size_t leaves = smaller(rate->leaves * TICKS_AHEAD, MAX_SPARES * FILES_SEGMENT);
  size_t leaf_bytes = rate->leaves ? rate->leaf_bytes / rate->leaves * 5 / 4 : 0;
  struct segment_room ahead = {leaves * leaf_bytes, larger(leaves, ROOM_LEAVES)};
  pthread_mutex_lock(&log->mutex);
  log->leaf_bytes = leaf_bytes;
  log->low = (struct segment_room){ahead.bytes / 2, ahead.leaves / 2};
  pthread_mutex_unlock(&log->mutex);
  bool ok = extend(log, &ahead), is_made = true;
  while (ok && is_made) ok = make_spare(log, &ahead, rate, &is_made);
  touch(log, rate);
  return ok;
}

/* Until the next tick, or until it is woken, which a full disk is no reason for; for ever where nothing happens. */
static void sleep_tick(struct receipt_log *log, bool is_full, bool is_quiet) {
  uint64_t at = clock_ns(CLOCK_MONOTONIC) + TICK_NS;
  struct timespec until = {.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)};
  log->room_is_awake = is_full;
  receipt_room_look(log); /* what was taken meanwhile */
  log->room_is_idle = is_quiet && !is_full;
  int rc = 0;
  while (!log->is_stopping && rc != ETIMEDOUT && (is_full || !log->room_is_awake))
    rc = log->room_is_idle ? pthread_cond_wait(&log->wake_room, &log->mutex)
                           : pthread_cond_timedwait(&log->wake_room, &log->mutex, &until);
  log->room_is_awake = true;
  log->room_is_idle = false;
}

static void *run(void *arg) {
  struct receipt_log *log = arg;
  struct rate rate = {.at = clock_ns(CLOCK_MONOTONIC)};
  pthread_mutex_lock(&log->mutex);
  rate.n = log->n;
  while (!log->is_stopping) {
    pthread_mutex_unlock(&log->mutex);
    measure(log, &rate);
    bool is_full = !make_room(log, &rate);
    pthread_mutex_lock(&log->mutex);
    if (!log->is_stopping) sleep_tick(log, is_full, !rate.leaves);
  }
  pthread_mutex_unlock(&log->mutex);
  return NULL;
}

bool receipt_room_start(struct receipt_log *log, struct gw_error *err) {
  pthread_mutex_lock(&log->mutex);
  log->room_is_awake = true;
  receipt_room_look(log);
  pthread_mutex_unlock(&log->mutex);
  int rc = pthread_create(&log->room, NULL, run, log);
  log->has_room_thread = !rc;
  return !rc || error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the thread of receipts: %s", strerror(rc));
}

void receipt_room_stop(struct receipt_log *log) {
  pthread_mutex_lock(&log->mutex);
  log->is_stopping = true;
  pthread_cond_signal(&log->wake_room);
  pthread_mutex_unlock(&log->mutex);
  if (log->has_room_thread) pthread_join(log->room, NULL);
}
