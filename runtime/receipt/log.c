/* The sequence: who gets which index, and where its leaf goes. */
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "base/sha256.h"
#include "runtime/receipt/private.h"

#include <sodium.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *receipt_log_id(const struct receipt_log *log) { return log->id; }
const char *receipt_log_directory(const struct receipt_log *log) { return log->options.directory; }

/* --- chains ------------------------------------------------------------------------------------------------------- */

static struct receipt_chain **bucket_of(struct receipt_log *log, const char *name) {
  uint64_t hash = 14695981039346656037u; /* FNV-1a: names are those of deployed functions */
  for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
  return &log->buckets[(hash ^ hash >> 32) % CHAIN_BUCKETS];
}

/* Under the mutex; NULL: it is not there. */
static struct receipt_chain *find_chain(struct receipt_chain *bucket, const char *function) {
  while (bucket && strcmp(bucket->name, function) != 0) bucket = bucket->next_in_bucket;
  return bucket;
}

bool receipt_log_last(struct receipt_log *log, const char *function, uint64_t *index) {
  pthread_mutex_lock(&log->mutex);
  const struct receipt_chain *chain = find_chain(*bucket_of(log, function), function);
  *index = chain ? chain->last : RECEIPT_NO_INDEX;
  pthread_mutex_unlock(&log->mutex);
  return *index != RECEIPT_NO_INDEX;
}

uint64_t receipt_log_end(struct receipt_log *log) {
  pthread_mutex_lock(&log->mutex);
  uint64_t n = log->n;
  pthread_mutex_unlock(&log->mutex);
  return n;
}

struct receipt_chain *receipt_log_chain(struct receipt_log *log, const char *function) {
  pthread_mutex_lock(&log->mutex);
  struct receipt_chain **bucket = bucket_of(log, function), *chain = find_chain(*bucket, function);
  if (!chain) {
    size_t size = strlen(function) + 1;
    chain = heap_new(1, sizeof *chain + size);
    memcpy(chain->name, function, size);
    chain->last = chain->settled = RECEIPT_NO_INDEX;
    chain->next_in_bucket = *bucket;
    *bucket = chain;
    chain->next = log->chains;
    log->chains = chain;
  }
  pthread_mutex_unlock(&log->mutex);
  return chain;
}

/* --- the sequence ------------------------------------------------------------------------------------------------- */

bool receipt_log_has_room(const struct receipt_log *log) { return atomic_load_explicit(&log->has_room, memory_order_relaxed); }

bool receipt_log_has_failed(struct receipt_log *log) {
  pthread_mutex_lock(&log->mutex);
  bool has_failed = log->has_failed;
  pthread_mutex_unlock(&log->mutex);
  return has_failed;
}

bool receipt_log_is_late(struct receipt_log *log) {
  pthread_mutex_lock(&log->mutex);
  bool is_late = log->is_late;
  pthread_mutex_unlock(&log->mutex);
  return is_late;
}

/* Where the next index goes; NULL: nowhere. */
static struct segment *segment_for(struct receipt_log *log, size_t size) {
  struct segment *s = log->current;
  if (log->has_failed) return NULL;
  if (log->n == (s->number + 1) * FILES_SEGMENT) {
    if (!log->spares) return NULL;
    s->next = log->spares;
    log->current = s = log->spares;
    log->spares = s->next;
    log->spare_leaves -= s->room.leaves;
    s->next = NULL;
  }
  return s->room.bytes - s->used >= size + 2 && s->room.leaves > log->n % FILES_SEGMENT ? s : NULL;
}

bool receipt_log_reserve(struct receipt_log *log, struct receipt_chain *chain, uint8_t leaf[LEAF_MAX], size_t size, size_t behind,
                         struct receipt_place *place) {
  pthread_mutex_lock(&log->mutex);
  uint64_t previous = chain->last;
  size_t whole = size + (previous == RECEIPT_NO_INDEX ? 0 : leaf_previous_size(previous));
  struct segment *s = segment_for(log, whole);
  if (s) {
    receipt_segment_take(s, log->n, whole, place);
    s->chains[log->n % FILES_SEGMENT] = chain;
    chain->last = log->n++;
    log->bytes += whole + 2;
  }
  receipt_room_look(log);
  if (log->is_idle) receipt_writer_wake(log);
  pthread_mutex_unlock(&log->mutex);
  if (!s) return false;
  if (previous != RECEIPT_NO_INDEX) leaf_add_previous(leaf, size, behind, previous);
  return true;
}

/* Its hash says that the leaf is there, so the hash's first word comes last. */
struct tree_hash receipt_log_fill(const struct receipt_place *place, const uint8_t *leaf) {
  uint64_t word;
  struct tree_hash hash = tree_leaf(leaf, place->size);
  memcpy(place->leaf, leaf, place->size);
  memcpy(place->hash->bytes + sizeof word, hash.bytes + sizeof word, sizeof hash - sizeof word);
  memcpy(&word, hash.bytes, sizeof word);
  __atomic_store_n((uint64_t *)(void *)place->hash->bytes, word, __ATOMIC_RELEASE);
  return hash;
}

uint64_t receipt_log_durable(const struct receipt_log *log) { return atomic_load(&log->durable); }

void receipt_log_checkpoint(struct receipt_log *log, struct buffer *out) {
  pthread_mutex_lock(&log->head_mutex);
  buffer_append(out, log->head.bytes, log->head.size);
  pthread_mutex_unlock(&log->head_mutex);
}

void receipt_log_await(struct receipt_log *log, struct receipt_waiter *waiter) {
  pthread_mutex_lock(&log->mutex);
  bool has_failed = log->has_failed;
  if (!has_failed) {
    waiter->next = log->waiters;
    log->waiters = waiter;
    receipt_writer_wake(log);
  }
  pthread_mutex_unlock(&log->mutex);
  if (has_failed) waiter->done(waiter, false);
}

/* Whatever the writer does now may have begun before this was asked: what it begins next has not. */
static bool wait_for_writer(struct receipt_log *log) {
  uint64_t seen = log->n_checkpoints + 1 + log->is_awake;
  log->wants_now = true;
  receipt_writer_wake(log);
  while (log->n_checkpoints < seen && !log->has_failed) {
    log->wants_now = true;
    receipt_writer_wake(log);
    pthread_cond_wait(&log->settled_more, &log->mutex);
  }
  return !log->has_failed;
}

bool receipt_log_settle(struct receipt_log *log) {
  pthread_mutex_lock(&log->mutex);
  uint64_t n = log->n;
  bool ok = wait_for_writer(log);
  pthread_mutex_unlock(&log->mutex);
  return ok && receipt_log_durable(log) >= n;
}

void receipt_log_follow(struct receipt_log *log, receipt_follow_fn call, void *arg, uint64_t from) {
  pthread_mutex_lock(&log->follow_mutex);
  log->follow = call;
  log->follow_arg = arg;
  atomic_store(&log->wanted_from, call ? from : UINT64_MAX);
  pthread_mutex_unlock(&log->follow_mutex);
}

void receipt_log_release(struct receipt_log *log, uint64_t from) { atomic_store(&log->wanted_from, from); }

bool receipt_log_rotate(struct receipt_log *log, struct gw_error *err) {
  pthread_mutex_lock(&log->mutex);
  log->wants_key = true;
  bool ok = wait_for_writer(log) && !log->wants_key;
  log->wants_key = false;
  pthread_mutex_unlock(&log->mutex);
  return ok || error_set(err, GW_ERROR_STATE, "the log of receipts cannot get a new key");
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static char *path_in(const struct receipt_log *log, const char *name, char out[FILES_PATH]) {
  snprintf(out, FILES_PATH, "%s/%s", log->options.directory, name);
  return out;
}

void receipt_log_id_of(const char *origin, char id[RECEIPT_ID_SIZE]) {
  struct sha256 s;
  uint8_t hash[SHA256_SIZE];
  sha256_begin(&s);
  sha256_add(&s, origin, strlen(origin));
  sha256_end(&s, hash);
  sodium_bin2hex(id, RECEIPT_ID_SIZE, hash, (RECEIPT_ID_SIZE - 1) / 2);
}

bool receipt_log_exists(const char *directory) {
  char path[FILES_PATH];
  snprintf(path, sizeof path, "%s/checkpoint", directory);
  return access(path, F_OK) == 0;
}

/* What is missing is made for a new log only: another origin or key would begin another log in this one's place. */
static bool may_make(const struct receipt_log *log, const char *path, struct gw_error *err) {
  return !receipt_log_exists(log->options.directory) ||
         error_set(err, GW_ERROR_STATE, "the log of receipts is damaged: %s is missing", path);
}

/* A new log has a random origin, unless somebody names it: two logs of one name would be one that forks. */
static bool open_origin(struct receipt_log *log, const char *wanted, struct gw_error *err) {
  char path[FILES_PATH], random[64];
  struct buffer text = {0};
  if (access(path_in(log, "origin", path), F_OK) == 0) {
    if (!buffer_read_file(&text, path, NOTE_MAX_NAME, err)) return false;
    buffer_append(&text, "", 1);
    log->options.origin = (char *)text.bytes;
    return note_name_is_valid(log->options.origin) || error_set(err, GW_ERROR_STATE, "%s holds no name", path);
  }
  if (!may_make(log, path, err)) return false;
  uint8_t bytes[16];
  randombytes_buf(bytes, sizeof bytes);
  int n = snprintf(random, sizeof random, "gasworks.invalid/");
  sodium_bin2hex(random + n, sizeof random - (size_t)n, bytes, sizeof bytes);
  log->options.origin = strdup(wanted ? wanted : random);
  if (!note_name_is_valid(log->options.origin))
    return error_set(err, GW_ERROR_USAGE, "a log cannot be called %s: it takes printable ASCII without blanks and '+'", wanted);
  return file_write_durably(path, log->options.origin, strlen(log->options.origin), 0600, err);
}

/* `keys` is written first: a key that never signed does not hurt. */
bool receipt_writer_new_key(struct receipt_log *log, struct gw_error *err) {
  char path[FILES_PATH], line[NOTE_MAX_VKEY];
  struct buffer text = {0};
  struct note_key key = {0};
  uint8_t secret[NOTE_SECRET_SIZE];
  if (log->n_keys == FILES_MAX_KEYS) return error_set(err, GW_ERROR_LIMIT, "a log has at most %d keys", FILES_MAX_KEYS);
  strcpy(key.name, log->options.origin);
  crypto_sign_keypair(key.public_key, secret);
  for (size_t i = 0; i <= log->n_keys; i++) {
    note_print_key(i < log->n_keys ? &log->keys[i] : &key, line);
    buffer_format(&text, "%s\n", line);
  }
  bool ok = file_write_durably(path_in(log, "keys", path), text.bytes, text.size, 0644, err);
  ok = ok && file_write_durably(path_in(log, "key", path), secret, sizeof secret, 0600, err);
  buffer_clear(&text);
  if (ok) {
    log->has_old_secret = log->has_secret; /* one that is lost signs nothing */
    memcpy(log->secrets[1], log->secrets[0], sizeof secret);
    memcpy(log->secrets[0], secret, sizeof secret);
    log->has_secret = true;
    log->keys[log->n_keys++] = key;
  }
  sodium_memzero(secret, sizeof secret);
  return ok;
}

/* Whether the file holds a key: its first half is what the second, the public key, is made of. */
static bool read_secret(int fd, const char *path, uint8_t secret[NOTE_SECRET_SIZE], struct gw_error *err) {
  uint8_t public_key[NOTE_PUBLIC_SIZE], again[NOTE_SECRET_SIZE];
  struct stat s;
  bool is_private = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && (s.st_mode & 077) == 0;
  if (!is_private) return error_set(err, GW_ERROR_STATE, "%s is for its owner only: it wants the mode 0600", path);
  bool ok = s.st_size == NOTE_SECRET_SIZE && read(fd, secret, NOTE_SECRET_SIZE) == NOTE_SECRET_SIZE;
  if (ok) crypto_sign_seed_keypair(public_key, again, secret);
  ok = ok && sodium_memcmp(again, secret, sizeof again) == 0;
  sodium_memzero(again, sizeof again);
  return ok || error_set(err, GW_ERROR_STATE, "%s holds no key", path);
}

/* After a crash between the two files the last of `keys` may be one that is lost. */
static bool open_keys(struct receipt_log *log, struct gw_error *err) {
  char path[FILES_PATH];
  if (access(path_in(log, "keys", path), F_OK) != 0) return may_make(log, path, err) && receipt_writer_new_key(log, err);
  log->n_keys = files_read_keys(log->options.directory, log->keys, err);
  if (!log->n_keys) return false;
  int fd = open(path_in(log, "key", path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) return may_make(log, path, err) && receipt_writer_new_key(log, err);
  if (fd < 0) return error_set(err, GW_ERROR_STATE, "cannot read %s: %s", path, strerror(errno));
  bool ok = log->has_secret = read_secret(fd, path, log->secrets[0], err);
  close(fd);
  for (size_t i = 0; ok && i < log->n_keys; i++) {
    if (memcmp(log->keys[i].public_key, log->secrets[0] + 32, NOTE_PUBLIC_SIZE) != 0) continue;
    struct note_key key = log->keys[i]; /* the one that signs is the last */
    log->keys[i] = log->keys[log->n_keys - 1];
    log->keys[log->n_keys - 1] = key;
    return true;
  }
  return ok && error_set(err, GW_ERROR_STATE, "%s is not among the log's keys", path);
}

static void log_free(struct receipt_log *log) {
  for (struct segment *s = log->first, *next; s; s = next) {
    next = s->next;
    receipt_segment_close(s, log->is_closed);
  }
  for (struct segment *s = log->spares, *next; s; s = next) {
    next = s->next;
    receipt_segment_discard(s, log->options.directory);
  }
  for (struct receipt_chain *c = log->chains, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  for (int i = 0; i < TREE_LEVELS; i++)
    if (log->levels[i] >= 0) close(log->levels[i]);
  sodium_memzero(log->secrets, sizeof log->secrets);
  pthread_mutex_destroy(&log->mutex);
  pthread_mutex_destroy(&log->head_mutex);
  pthread_mutex_destroy(&log->follow_mutex);
  pthread_cond_destroy(&log->wake);
  pthread_cond_destroy(&log->wake_room);
  pthread_cond_destroy(&log->settled_more);
  buffer_clear(&log->head);
  free((void *)log->options.origin);
  free((void *)log->options.directory);
  free(log);
}

struct receipt_log *receipt_log_open(const struct receipt_options *options, const struct receipt_kept *kept, size_t n_kept,
                                     struct gw_error *err) {
  struct receipt_log *log = heap_new(1, sizeof *log);
  pthread_condattr_t monotonic;
  log->options = *options;
  log->options.directory = strdup(options->directory);
  log->options.origin = NULL;
  for (int i = 0; i < TREE_LEVELS; i++) log->levels[i] = -1;
  pthread_mutex_init(&log->mutex, NULL);
  pthread_mutex_init(&log->head_mutex, NULL);
  pthread_mutex_init(&log->follow_mutex, NULL);
  atomic_init(&log->wanted_from, UINT64_MAX);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&log->wake, &monotonic);
  pthread_cond_init(&log->wake_room, &monotonic);
  pthread_cond_init(&log->settled_more, NULL);
  pthread_condattr_destroy(&monotonic);
  bool ok = sodium_init() >= 0 && directory_make(options->directory, err) && open_origin(log, options->origin, err) &&
            open_keys(log, err);
  if (ok) {
    receipt_log_id_of(log->options.origin, log->id);
    ok = receipt_recover(log, kept, n_kept, err) && receipt_writer_checkpoint(log, err) && receipt_writer_start(log, err) &&
         receipt_room_start(log, err);
  }
  if (ok) return log;
  if (log->has_writer) receipt_writer_stop(log);
  log_free(log);
  return NULL;
}

void receipt_log_close(struct receipt_log *log) {
  if (!log) return;
  receipt_room_stop(log);
  receipt_writer_stop(log);
  log->is_closed = true;
  log_free(log);
}
