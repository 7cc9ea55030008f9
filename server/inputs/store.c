/* A file is a row of records, each with its size and checksum in front, so that what a crash left half written ends it:
 *
 *   PIECE  a request or settings: their digest, then their bytes
 *   ENTRY  digests of request and settings (zeros: it has none), then the other fields
 *
 * The file that grows is called NUMBER.inputs. When it is full, its name also says the least and the greatest index in it, so
 * that who looks for one opens few files. */
#define _GNU_SOURCE /* pthread_setname_np */
#include "server/inputs/store.h"

#include "base/array.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "server/inputs/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

_Static_assert((int)INPUTS_DIGEST == (int)DIGEST_SIZE, "digests of base/digest.h");

enum {
  MOST_WAITING = 16 << 20, /* bytes that the thread has not taken yet */
  MOST_PIECE = 5 << 20,    /* of an entry: all of one fit into what may wait */
  PERIOD_MS = 50,          /* between two looks at them */
  SWEEP_SECONDS = 10,
  LEAST_FILE = 64 << 10,
  MOST_FILE = 16 << 20,
  N_FILES = 16, /* that share keep_bytes, about */
  SEEN = 1 << 14,
  NAME = 80,
};

struct inputs_store {
  char *directory;
  uint64_t keep_bytes, keep_seconds, file_bytes;
  time_t file_seconds, sweep_seconds; /* how long a file may grow, 0: as it likes; between two sweeps */
  _Atomic uint64_t dropped;

  pthread_mutex_t mutex;
  pthread_cond_t wake, done;
  struct buffer waiting;       /* struct waiting_head, fields, settings, request; and again */
  uint64_t n_taken, n_written; /* how often the thread has taken what waits, and written it */
  bool is_idle, is_stopping;

  pthread_t thread;
  /* The thread's. */
  int fd;
  uint64_t number, size, least, greatest;
  time_t swept, opened;
  bool is_told;
  struct buffer taken, out;
  uint8_t (*seen)[INPUTS_DIGEST]; /* digests of pieces in the file, by their first bytes; zeros: none */
};

struct waiting_head {
  uint64_t index;
  uint8_t request[INPUTS_DIGEST], settings[INPUTS_DIGEST];
  uint32_t fields, settings_size, request_size;
};

/* --- keeping ------------------------------------------------------------------------------------------------------ */

/* Under the mutex. */
static void wake(struct inputs_store *s) {
  if (s->is_idle) pthread_cond_signal(&s->wake);
  s->is_idle = false;
}

/* What could never wait is kept without its large pieces. */
static void lose_large(struct inputs *in) {
  static const struct {
    enum input_field field;
    uint64_t lost;
  } pieces[] = {{INPUT_REQUEST, INPUT_LOST_REQUEST}, {INPUT_READS, INPUT_LOST_READS}, {INPUT_HOST, INPUT_LOST_HOST}};
  uint64_t lost = in->fields[INPUT_LOST].number;
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
    if (in->fields[pieces[i].field].size <= MOST_PIECE) continue;
    in->fields[pieces[i].field] = (struct input_value){0};
    lost |= pieces[i].lost;
  }
  inputs_set_number(in, INPUT_LOST, lost);
}

static void keep(struct inputs_store *s, const struct inputs *in, const uint8_t request[INPUTS_DIGEST],
                 const uint8_t settings[INPUTS_DIGEST]) {
  const struct input_value *own = &in->fields[INPUT_SETTINGS], *r = &in->fields[INPUT_REQUEST];
  struct waiting_head head = {
      .index = in->fields[INPUT_INDEX].number, .settings_size = (uint32_t)own->size, .request_size = (uint32_t)r->size};
  size_t most = own->size + r->size + inputs_most(in, 0, INPUT_SETTINGS);
  memcpy(head.request, request, INPUTS_DIGEST);
  memcpy(head.settings, settings, INPUTS_DIGEST);
  pthread_mutex_lock(&s->mutex);
  if (s->waiting.size + most > MOST_WAITING) {
    atomic_fetch_add_explicit(&s->dropped, 1, memory_order_relaxed);
  } else {
    size_t at = s->waiting.size;
    buffer_append(&s->waiting, &head, sizeof head);
    inputs_encode(in, 0, INPUT_SETTINGS, &s->waiting);
    head.fields = (uint32_t)(s->waiting.size - at - sizeof head);
    memcpy(s->waiting.bytes + at, &head, sizeof head);
    if (own->size) buffer_append(&s->waiting, own->bytes, own->size);
    if (r->size) buffer_append(&s->waiting, r->bytes, r->size);
    wake(s);
  }
  pthread_mutex_unlock(&s->mutex);
}

void inputs_store_keep(struct inputs_store *s, const struct inputs *in, const uint8_t request[INPUTS_DIGEST],
                       const uint8_t settings[INPUTS_DIGEST]) {
  struct inputs smaller = *in;
  lose_large(&smaller);
  keep(s, &smaller, request, settings);
}

uint64_t inputs_store_dropped(const struct inputs_store *s) { return atomic_load_explicit(&s->dropped, memory_order_relaxed); }

void inputs_store_flush(struct inputs_store *s) {
  pthread_mutex_lock(&s->mutex);
  uint64_t wanted = s->n_taken + 1;
  while (s->n_written < wanted && !s->is_stopping) {
    wake(s);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_cond_timedwait(&s->done, &s->mutex, &until);
  }
  pthread_mutex_unlock(&s->mutex);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static char *path_of(const struct inputs_store *s, const char *name) {
  size_t size = strlen(s->directory) + strlen(name) + 2;
  char *path = heap_new(size, 1);
  snprintf(path, size, "%s/%s", s->directory, name);
  return path;
}

static void print_name(const struct inputs_store *s, bool is_full, char out[NAME]) {
  if (is_full)
    snprintf(out, NAME, "%016" PRIx64 "-%" PRIx64 "-%" PRIx64 ".inputs", s->number, s->least, s->greatest);
  else
    snprintf(out, NAME, "%016" PRIx64 ".inputs", s->number);
}

static bool open_file(struct inputs_store *s, struct gw_error *err) {
  char name[NAME];
  s->number++;
  print_name(s, false, name);
  char *path = path_of(s, name);
  s->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool ok = s->fd >= 0 || error_set(err, GW_ERROR_IO, "cannot make %s: %s", path, strerror(errno));
  free(path);
  s->size = s->greatest = 0;
  s->opened = time(NULL);
  s->least = UINT64_MAX;
  memset(s->seen, 0, SEEN * sizeof *s->seen);
  return ok;
}

static void close_file(struct inputs_store *s) {
  char from[NAME], to[NAME];
  if (s->fd < 0) return;
  close(s->fd);
  s->fd = -1;
  print_name(s, false, from);
  print_name(s, true, to);
  char *old = path_of(s, from), *new = path_of(s, to);
  if (s->size)
    rename(old, new);
  else
    unlink(old);
  free(old);
  free(new);
}

/* The oldest go until the others are few and young enough. */
static void sweep(struct inputs_store *s) {
  struct inputs_files files;
  struct stat st;
  uint64_t total = 0;
  time_t now = time(NULL);
  s->swept = now;
  inputs_files_list(&files, s->directory);
  for (size_t i = files.n; i-- > 0;) {
    char *path = path_of(s, files.items[i].name);
    if (stat(path, &st) == 0) {
      bool is_old = s->keep_seconds && now - st.st_mtime > (time_t)s->keep_seconds;
      total += (uint64_t)st.st_size;
      bool is_open = s->fd >= 0 && files.items[i].number == s->number;
      if (!is_open && (is_old || total > s->keep_bytes)) unlink(path);
    }
    free(path);
  }
  inputs_files_clear(&files);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void put_record(struct inputs_store *s, uint32_t kind, const void *head, size_t head_size, const void *body, size_t size) {
  struct inputs_record r = {.size = (uint32_t)(sizeof r + head_size + size), .kind = kind};
  size_t at = s->out.size;
  buffer_append(&s->out, &r, sizeof r);
  buffer_append(&s->out, head, head_size);
  if (size) buffer_append(&s->out, body, size);
  r.sum = inputs_checksum(s->out.bytes + at + sizeof r.sum, r.size - sizeof r.sum);
  memcpy(s->out.bytes + at, &r, sizeof r);
}

/* True the first time in this file, as far as there is room to remember. */
static bool is_new(struct inputs_store *s, const uint8_t digest[INPUTS_DIGEST]) {
  static const uint8_t none[INPUTS_DIGEST];
  uint32_t at;
  memcpy(&at, digest, sizeof at);
  for (uint32_t i = 0; i < 8; i++) {
    uint8_t *seen = s->seen[(at + i) % SEEN];
    if (memcmp(seen, digest, INPUTS_DIGEST) == 0) return false;
    if (memcmp(seen, none, INPUTS_DIGEST) != 0) continue;
    memcpy(seen, digest, INPUTS_DIGEST);
    return true;
  }
  return true;
}

static void put_piece(struct inputs_store *s, const uint8_t digest[INPUTS_DIGEST], const void *bytes, size_t size) {
  if (size && is_new(s, digest)) put_record(s, INPUTS_PIECE, digest, INPUTS_DIGEST, bytes, size);
}

static void put_entry(struct inputs_store *s, const struct waiting_head *head, const uint8_t *fields) {
  struct inputs_entry entry = {.index = head->index};
  const uint8_t *settings = fields + head->fields, *request = settings + head->settings_size;
  if (head->request_size) memcpy(entry.request, head->request, INPUTS_DIGEST);
  if (head->settings_size) memcpy(entry.settings, head->settings, INPUTS_DIGEST);
  put_piece(s, entry.settings, settings, head->settings_size);
  put_piece(s, entry.request, request, head->request_size);
  put_record(s, INPUTS_ENTRY, &entry, sizeof entry, fields, head->fields);
  if (entry.index < s->least) s->least = entry.index;
  if (entry.index > s->greatest) s->greatest = entry.index;
}

/* What does not get to disk is gone; the file ends there, as half a record would end it for who reads. */
static void write_out(struct inputs_store *s, size_t n_entries) {
  if (!s->out.size) return;
  if (fd_write_all(s->fd, s->out.bytes, s->out.size)) {
    s->size += s->out.size;
    s->is_told = false;
  } else {
    if (!s->is_told) fprintf(stderr, "gasworks: inputs of invocations cannot be kept: %s\n", strerror(errno));
    s->is_told = true;
    atomic_fetch_add_explicit(&s->dropped, n_entries, memory_order_relaxed);
    if (ftruncate(s->fd, (off_t)s->size)) s->is_told = true; /* who reads sees a damaged end */
    close_file(s);
  }
  s->out.size = 0;
  if (s->size >= s->file_bytes) {
    close_file(s);
    sweep(s);
  }
}

static void write_taken(struct inputs_store *s) {
  struct gw_error ignored = {0};
  size_t n = 0;
  for (size_t at = 0; at < s->taken.size;) {
    struct waiting_head head;
    memcpy(&head, s->taken.bytes + at, sizeof head);
    const uint8_t *fields = s->taken.bytes + at + sizeof head;
    at += sizeof head + head.fields + head.settings_size + head.request_size;
    if (s->fd < 0 && !open_file(s, &ignored)) {
      atomic_fetch_add_explicit(&s->dropped, 1, memory_order_relaxed);
      continue;
    }
    put_entry(s, &head, fields);
    n++;
    if (s->out.size + s->size < s->file_bytes && s->out.size < 1 << 20) continue;
    write_out(s, n);
    n = 0;
  }
  write_out(s, n);
  s->taken.size = 0;
}

/* So that what is old is not kept for what comes into the same file. */
static void close_old(struct inputs_store *s, time_t now) {
  if (s->fd >= 0 && s->file_seconds && now - s->opened >= s->file_seconds) close_file(s);
}

/* Under the mutex: until there is something to do, and then a little longer, so that much is done at a time. */
static void wait_for_more(struct inputs_store *s) {
  struct timespec until;
  if (s->is_stopping) return;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += s->sweep_seconds;
  s->is_idle = !s->waiting.size;
  if (s->is_idle) pthread_cond_timedwait(&s->wake, &s->mutex, &until);
  s->is_idle = false;
  if (s->is_stopping || !s->waiting.size) return;
  pthread_mutex_unlock(&s->mutex);
  usleep(PERIOD_MS * 1000);
  pthread_mutex_lock(&s->mutex);
}

static void *run(void *arg) {
  struct inputs_store *s = arg;
  pthread_setname_np(pthread_self(), "inputs");
  pthread_mutex_lock(&s->mutex);
  for (bool is_last = false; !is_last;) {
    wait_for_more(s);
    is_last = s->is_stopping;
    struct buffer empty = s->taken;
    s->taken = s->waiting;
    s->waiting = empty;
    uint64_t turn = ++s->n_taken;
    pthread_mutex_unlock(&s->mutex);
    write_taken(s);
    time_t now = time(NULL);
    close_old(s, now);
    if (now - s->swept >= s->sweep_seconds) sweep(s);
    pthread_mutex_lock(&s->mutex);
    s->n_written = turn;
    pthread_cond_broadcast(&s->done);
  }
  pthread_mutex_unlock(&s->mutex);
  return NULL;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void release(struct inputs_store *s) {
  pthread_mutex_destroy(&s->mutex);
  pthread_cond_destroy(&s->wake);
  pthread_cond_destroy(&s->done);
  buffer_clear(&s->waiting);
  buffer_clear(&s->taken);
  buffer_clear(&s->out);
  free(s->seen);
  free(s->directory);
  free(s);
}

/* Numbers go on behind those that are there. */
static void find_number(struct inputs_store *s) {
  struct inputs_files files;
  inputs_files_list(&files, s->directory);
  if (files.n) s->number = files.items[files.n - 1].number;
  inputs_files_clear(&files);
}

struct inputs_store *inputs_store_open(const struct inputs_options *o, struct gw_error *err) {
  if (!directory_make(o->directory, err)) return NULL;
  struct inputs_store *s = heap_new(1, sizeof *s);
  s->directory = strdup(o->directory);
  s->seen = heap_new(SEEN, sizeof *s->seen);
  s->keep_bytes = o->keep_bytes;
  s->keep_seconds = o->keep_seconds;
  s->file_bytes = o->keep_bytes / N_FILES;
  if (s->file_bytes < LEAST_FILE) s->file_bytes = LEAST_FILE;
  if (s->file_bytes > MOST_FILE) s->file_bytes = MOST_FILE;
  if (o->keep_seconds) s->file_seconds = (time_t)(o->keep_seconds / N_FILES + 1);
  s->sweep_seconds = s->file_seconds && s->file_seconds < SWEEP_SECONDS ? s->file_seconds : SWEEP_SECONDS;
  s->fd = -1;
  pthread_mutex_init(&s->mutex, NULL);
  pthread_cond_init(&s->wake, NULL);
  pthread_cond_init(&s->done, NULL);
  find_number(s);
  int rc = pthread_create(&s->thread, NULL, run, s);
  if (!rc) return s;
  error_set(err, GW_ERROR_IO, "cannot start the thread that keeps inputs: %s", strerror(rc));
  release(s);
  return NULL;
}

void inputs_store_close(struct inputs_store *s) {
  if (!s) return;
  pthread_mutex_lock(&s->mutex);
  s->is_stopping = true;
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->mutex);
  pthread_join(s->thread, NULL);
  close_file(s);
  release(s);
}
