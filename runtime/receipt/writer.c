/* The thread that hashes what is filled, and once in a while syncs and signs. A checkpoint is made known
 * when all below it and itself are on disk, so that it is a prefix of whatever the log becomes. */
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "runtime/receipt/private.h"

#include <sodium.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* LATE_NS: no longer than that a sync waits for the system without anybody being told. */
enum { PRUNE_SECONDS = 10, RETRY_NS = 10000000 };
#define LATE_NS UINT64_C(5000000000)

/* --- settling ----------------------------------------------------------------------------------------------------- */

static int open_level(struct receipt_log *log, unsigned level) {
  char path[FILES_PATH];
  snprintf(path, sizeof path, "%s/level.%u", log->options.directory, level);
  if (log->levels[level] < 0) log->levels[level] = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  return log->levels[level];
}

/* `size` leaves will be settled, a multiple of 256: the tiles that end there have a hash in the next level. */
static bool end_tiles(struct receipt_log *log, uint64_t size, const struct tree_hash *leaves) {
  struct tree_hash tile[TREE_TILE], hash = tree_of(leaves, TREE_TILE);
  uint64_t n = size / TREE_TILE;
  for (unsigned level = 1; level < TREE_LEVELS; level++, n /= TREE_TILE) {
    int fd = open_level(log, level);
    if (fd < 0 || pwrite(fd, &hash, sizeof hash, (off_t)((n - 1) * sizeof hash)) != sizeof hash) return false;
    if (n % TREE_TILE) return true;
    if (pread(fd, tile, sizeof tile, (off_t)((n - TREE_TILE) * sizeof hash)) != sizeof tile) return false;
    hash = tree_of(tile, TREE_TILE);
  }
  return true;
}

static bool is_filled(const struct tree_hash *hash) {
  return __atomic_load_n((const uint64_t *)(const void *)hash->bytes, __ATOMIC_ACQUIRE) != 0;
}

/* For ever: see SYNC_LOST. */
static bool fail(struct receipt_log *log) {
  pthread_mutex_lock(&log->mutex);
  log->has_failed = true;
  atomic_store(&log->has_room, false);
  pthread_mutex_unlock(&log->mutex);
  return false;
}

static struct segment *next_segment(struct receipt_log *log, const struct segment *s) {
  pthread_mutex_lock(&log->mutex);
  struct segment *next = s->next;
  pthread_mutex_unlock(&log->mutex);
  return next;
}

/* The next leaf is filled. False: its tile cannot be written now, and nothing happened. */
static bool settle_one(struct receipt_log *log, size_t at) {
  struct segment *s = log->settling;
  uint64_t n = log->settled + 1;
  if (n % TREE_TILE == 0 && !end_tiles(log, n, &s->hashes->hashes[at + 1 - TREE_TILE])) return false;
  if (s->chains[at]) s->chains[at]->settled = log->settled;
  log->settled = n;
  return true;
}

void receipt_writer_settle(struct receipt_log *log) {
  pthread_mutex_lock(&log->mutex);
  uint64_t n = log->has_failed ? log->settled : log->n;
  pthread_mutex_unlock(&log->mutex);
  while (log->settled < n) {
    if (log->settled == (log->settling->number + 1) * FILES_SEGMENT) log->settling = next_segment(log, log->settling);
    size_t at = log->settled % FILES_SEGMENT;
    if (!is_filled(&log->settling->hashes->hashes[at]) || !settle_one(log, at)) return;
  }
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

static enum receipt_synced sync_leaves(struct receipt_log *log) {
  enum receipt_synced synced = SYNC_DONE;
  for (struct segment *s = log->first; s && synced == SYNC_DONE; s = next_segment(log, s))
    synced = receipt_segment_sync(s, log->options.directory);
  return synced;
}

static enum receipt_synced sync_all(struct receipt_log *log) {
  enum receipt_synced synced = sync_leaves(log);
  for (int i = 0; i < TREE_LEVELS && synced == SYNC_DONE; i++)
    if (log->levels[i] >= 0) synced = receipt_sync(log->levels[i]);
  return synced;
}

static void set_late(struct receipt_log *log, bool is_late) {
  pthread_mutex_lock(&log->mutex);
  log->is_late = is_late;
  receipt_room_look(log);
  pthread_mutex_unlock(&log->mutex);
}

/* A sync waits for the system. Always false. */
static bool note_late(struct receipt_log *log) {
  uint64_t now = clock_ns(CLOCK_MONOTONIC);
  if (!log->late_since) log->late_since = now;
  if (now - log->late_since > LATE_NS) set_late(log, true);
  return false;
}

static void note_in_time(struct receipt_log *log) {
  if (log->late_since) set_late(log, false);
  log->late_since = 0;
}

/* Complete segments, all of which a checkpoint covers. */
static void leave_segments(struct receipt_log *log) {
  struct gw_error ignored = {0};
  bool has_left = false;
  while (log->first != log->settling) {
    struct segment *s = log->first;
    pthread_mutex_lock(&log->mutex);
    bool is_free = log->growing != s;
    if (is_free) log->first = s->next;
    pthread_mutex_unlock(&log->mutex);
    if (!is_free) break; /* the next time */
    receipt_segment_close(s, true);
    has_left = true;
  }
  if (has_left) receipt_chains_write(log, &ignored); /* if it cannot be written, starting takes longer */
}

static void sign(struct receipt_log *log, const struct note_checkpoint *checkpoint, struct buffer *out) {
  size_t n = log->has_old_secret ? 2 : 1;
  struct note_key keys[2] = {log->keys[log->n_keys - 1], log->keys[log->n_keys - n]};
  note_append_checkpoint(out, checkpoint, keys, (const uint8_t(*)[NOTE_SECRET_SIZE])log->secrets, n);
}

bool receipt_writer_checkpoint(struct receipt_log *log, struct gw_error *err) {
  struct note_checkpoint checkpoint = {.size = log->settled};
  struct tree_source source = {files_read_hashes, (void *)log->options.directory};
  struct buffer text = {0};
  char path[FILES_PATH];
  snprintf(checkpoint.origin, sizeof checkpoint.origin, "%s", log->options.origin);
  snprintf(path, sizeof path, "%s/checkpoint", log->options.directory);
  enum receipt_synced synced = sync_all(log);
  if (synced != SYNC_DONE) {
    error_set(err, GW_ERROR_IO, "cannot sync %s: %s", log->options.directory, strerror(errno));
    return synced == SYNC_LATER ? note_late(log) : fail(log);
  }
  errno = 0;
  if (!tree_root(&source, checkpoint.size, &checkpoint.root)) {
    if (files_is_passing(errno)) {
      error_set(err, GW_ERROR_IO, "cannot read hashes in %s: %s", log->options.directory, strerror(errno));
      return note_late(log);
    }
    error_set(err, GW_ERROR_STATE, "hashes are missing in %s", log->options.directory);
    return fail(log);
  }
  sign(log, &checkpoint, &text);
  errno = 0;
  if (!file_write_durably(path, text.bytes, text.size, 0644, err)) {
    if (files_is_passing(errno)) note_late(log);
    buffer_clear(&text);
    return false;
  }
  note_in_time(log);
  sodium_memzero(log->secrets[1], sizeof log->secrets[1]);
  log->has_old_secret = false;
  pthread_mutex_lock(&log->head_mutex);
  struct buffer old = log->head;
  log->head = text;
  pthread_mutex_unlock(&log->head_mutex);
  atomic_store(&log->durable, checkpoint.size);
  buffer_clear(&old);
  leave_segments(log);
  return true;
}

/* --- forgetting --------------------------------------------------------------------------------------------------- */

/* The leaves of complete segments, the oldest first. Their hashes stay: so do all proofs. */
static void prune(struct receipt_log *log) {
  char path[FILES_PATH];
  struct stat st;
  uint64_t bytes = 0, end = log->n_chained / FILES_SEGMENT, now = (uint64_t)time(NULL);
  uint64_t wanted = atomic_load(&log->wanted_from) / FILES_SEGMENT;
  if (end > wanted) end = wanted;
  if (!log->options.keep_bytes && !log->options.keep_seconds) return;
  if (end == log->pruned_to && now < log->pruned_at + PRUNE_SECONDS) return;
  log->pruned_at = now;
  log->pruned_to = end;
  for (uint64_t i = log->oldest; i < end; i++) {
    files_path(path, log->options.directory, i, "leaves");
    if (!stat(path, &st)) bytes += (uint64_t)st.st_size;
  }
  for (; log->oldest < end; log->oldest++) {
    files_path(path, log->options.directory, log->oldest, "leaves");
    if (stat(path, &st)) continue;
    bool is_old = log->options.keep_seconds && (uint64_t)st.st_mtime + log->options.keep_seconds < now;
    bool is_much = log->options.keep_bytes && bytes > log->options.keep_bytes;
    if ((!is_old && !is_much) || unlink(path)) return;
    bytes -= (uint64_t)st.st_size;
  }
}

/* --- those who wait ----------------------------------------------------------------------------------------------- */

static void wait_on(struct receipt_log *log, struct receipt_waiter *waiters) {
  struct receipt_waiter **end = &waiters;
  while (*end) end = &(*end)->next;
  pthread_mutex_lock(&log->mutex);
  *end = log->waiters;
  log->waiters = waiters;
  pthread_mutex_unlock(&log->mutex);
  nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
}

/* They filled their leaves before they began to wait. Leaves that are not filled yet may be in front of them: after a crash these
 * are void. No checkpoint is needed: recovery finds what is whole. What passes they wait for, but not for ever. */
static void answer_waiters(struct receipt_log *log, struct receipt_waiter *waiters) {
  if (!waiters) return;
  enum receipt_synced synced = log->has_failed ? SYNC_LOST : sync_leaves(log);
  if (synced == SYNC_LATER) {
    note_late(log);
    if (!log->is_late) {
      wait_on(log, waiters);
      return;
    }
  }
  if (synced == SYNC_LOST) fail(log);
  for (struct receipt_waiter *w = waiters, *next; w; w = next) {
    next = w->next; /* it may be gone when that returns */
    w->done(w, synced == SYNC_DONE);
  }
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

void receipt_writer_wake(struct receipt_log *log) {
  log->is_idle = false;
  if (!log->is_awake) pthread_cond_signal(&log->wake);
  log->is_awake = true;
}

static void tell_follower(struct receipt_log *log) {
  pthread_mutex_lock(&log->follow_mutex);
  if (log->follow) log->follow(log->follow_arg);
  pthread_mutex_unlock(&log->follow_mutex);
}

/* A sync that failed may have lost what it was to write, and the next one would not say so: nothing is promised any more. A disk
 * that is full is tried again. */
static void work(struct receipt_log *log, bool is_time, bool wants_key, struct receipt_waiter *waiters) {
  struct gw_error err = {0};
  answer_waiters(log, waiters);
  receipt_writer_settle(log);
  bool has_key = wants_key && receipt_writer_new_key(log, &err);
  err = (struct gw_error){0};
  if (is_time && !log->has_failed && (log->settled != atomic_load(&log->durable) || log->has_old_secret)) {
    bool ok = receipt_writer_checkpoint(log, &err);
    if (!ok && !log->is_told) fprintf(stderr, "[server] receipts: %s\n", err.message);
    log->is_told = !ok;
    if (ok) tell_follower(log);
  }
  if (is_time) prune(log);
  pthread_mutex_lock(&log->mutex);
  if (has_key) log->wants_key = false;
  if (is_time) log->n_checkpoints++;
  pthread_cond_broadcast(&log->settled_more);
  pthread_mutex_unlock(&log->mutex);
}

/* Sleeps until it is woken, or until `at`, in nanoseconds. */
static void sleep_until(struct receipt_log *log, uint64_t at) {
  struct timespec until = {.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)};
  log->is_awake = false;
  while (!log->is_awake && !log->is_stopping)
    if (pthread_cond_timedwait(&log->wake, &log->mutex, &until) == ETIMEDOUT) break;
  log->is_awake = true;
}

static void sleep_idle(struct receipt_log *log) {
  log->is_awake = false;
  log->is_idle = true;
  while (!log->is_awake && !log->is_stopping) pthread_cond_wait(&log->wake, &log->mutex);
  log->is_idle = false;
  log->is_awake = true;
}

static void *run(void *arg) {
  struct receipt_log *log = arg;
  uint64_t period = (uint64_t)log->options.period_ms * 1000000, next = clock_ns(CLOCK_MONOTONIC) + period;
  pthread_mutex_lock(&log->mutex);
  while (!log->is_stopping) {
    bool is_quiet = !log->waiters && (log->has_failed || (log->n == atomic_load(&log->durable) && !log->wants_now));
    if (is_quiet)
      sleep_idle(log);
    else if (!log->wants_now && !log->waiters)
      sleep_until(log, next);
    if (log->is_stopping) break;
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    if (is_quiet && now >= next) next = now + period; /* the first leaf in a while: others will follow */
    bool is_time = now >= next || log->wants_now, wants_key = log->wants_key;
    struct receipt_waiter *waiters = log->waiters;
    log->waiters = NULL;
    log->wants_now = false;
    pthread_mutex_unlock(&log->mutex);
    work(log, is_time, wants_key, waiters);
    pthread_mutex_lock(&log->mutex);
    if (is_time) next = clock_ns(CLOCK_MONOTONIC) + period;
  }
  pthread_mutex_unlock(&log->mutex);
  return NULL;
}

bool receipt_writer_start(struct receipt_log *log, struct gw_error *err) {
  int rc = pthread_create(&log->writer, NULL, run, log);
  log->has_writer = !rc;
  return !rc || error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the thread of receipts: %s", strerror(rc));
}

void receipt_writer_stop(struct receipt_log *log) {
  struct gw_error ignored = {0};
  pthread_mutex_lock(&log->mutex);
  log->is_stopping = true;
  pthread_cond_signal(&log->wake);
  pthread_mutex_unlock(&log->mutex);
  if (log->has_writer) pthread_join(log->writer, NULL);
  receipt_writer_settle(log);
  if (log->has_failed) return;
  receipt_writer_checkpoint(log, &ignored);
  receipt_chains_write(log, &ignored);
}
