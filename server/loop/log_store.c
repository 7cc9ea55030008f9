/* Lines wait in a buffer of their function, at most PENDING_BYTES. The thread makes rounds: it takes one function's buffer after
 * another, the longest dirty first, and appends it to the function's file; a file that has half of the size becomes the old one,
 * in place of the last old one. Readers have what waits of their function written first, so that files are all there is to read.
 * Between two functions, and between rounds, readers get the files: nobody waits for all that others log. */
#define _GNU_SOURCE /* memrchr */
#include "server/loop/log_store.h"

#include "base/error.h"
#include "base/files.h"
#include "base/heap.h"
#include "base/json_text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  PENDING_BYTES = 256 << 10,
  PENDING_LEAST = 4 << 10,
  PENDING_ALL = 32 << 20,
  BUCKETS = 1024,
  NAME_SIZE = 160,
  PATH_SIZE = 512,
  WRITE_MS = 20
};

/* A function that has logged since the start. */
struct keeper {
  struct keeper *next;  /* in its bucket */
  struct keeper *dirty; /* the next one with lines that wait */
  bool is_dirty;
  char name[NAME_SIZE];
  uint64_t last, lost; /* lost: lines that the next one tells of */
  struct buffer pending;
};

struct log_store {
  char directory[PATH_SIZE - NAME_SIZE - 16];
  uint64_t size;
  pthread_t thread;
  pthread_mutex_t files; /* held while files are written, read or removed; before `lock` */
  pthread_mutex_t lock;  /* guards what follows */
  pthread_cond_t changed;
  struct keeper *buckets[BUCKETS];
  struct keeper *dirty, **dirty_end; /* a queue */
  size_t n_dirty;
  uint64_t lost;
  bool is_stopping;
};

/* --- names -------------------------------------------------------------------------------------------------------- */

static uint32_t hash(const char *name) {
  uint32_t h = 2166136261u;
  for (const char *p = name; *p; p++) h = (h ^ (unsigned char)*p) * 16777619u;
  return h % BUCKETS;
}

/* `lock` held. NULL: it has not logged yet. */
static struct keeper *find(struct log_store *s, const char *name) {
  struct keeper *k = s->buckets[hash(name)];
  while (k && strcmp(k->name, name) != 0) k = k->next;
  return k;
}

static struct keeper *find_or_make(struct log_store *s, const char *name) {
  struct keeper *k = find(s, name);
  if (k) return k;
  k = heap_new(1, sizeof *k);
  snprintf(k->name, sizeof k->name, "%s", name);
  k->next = s->buckets[hash(name)];
  return s->buckets[hash(name)] = k;
}

/* A full name has one slash at most, which no file's name may have. */
static void file_path(const struct log_store *s, const char *name, const char *end, char out[PATH_SIZE]) {
  int n = snprintf(out, PATH_SIZE, "%s/", s->directory);
  snprintf(out + n, PATH_SIZE - (size_t)n, "%s%s", name, end);
  for (char *c = out + n; *c; c++)
    if (*c == '/') *c = '@';
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* `lock` held. */
static void mark_dirty(struct log_store *s, struct keeper *k) {
  if (k->is_dirty) return;
  k->is_dirty = true;
  k->dirty = NULL;
  *s->dirty_end = k;
  s->dirty_end = &k->dirty;
  s->n_dirty++;
}

/* Out of the queue, with its lines. `lock` held. */
static struct buffer take(struct log_store *s, struct keeper *k) {
  struct buffer lines = k->pending;
  struct keeper **at = &s->dirty;
  k->pending = (struct buffer){0};
  if (!k->is_dirty) return lines;
  while (*at != k) at = &(*at)->dirty;
  *at = k->dirty;
  if (!*at) s->dirty_end = at;
  k->is_dirty = false;
  s->n_dirty--;
  return lines;
}

static size_t count_lines(const struct buffer *b) {
  size_t n = 0;
  for (size_t i = 0; i < b->size; i++) n += b->bytes[i] == '\n';
  return n;
}

static void count_lost(struct log_store *s, const char *name, size_t lines) {
  pthread_mutex_lock(&s->lock);
  find_or_make(s, name)->lost += lines;
  s->lost += lines;
  pthread_mutex_unlock(&s->lock);
}

/* Bytes, or 0 where there is none. */
static uint64_t file_size(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Bytes of whole lines: a process that died while it wrote leaves part of one, and what comes behind must not become its end. */
static off_t whole_size(int fd) {
  char bytes[4096];
  off_t end = lseek(fd, 0, SEEK_END);
  while (end > 0) {
    off_t from = end > (off_t)sizeof bytes ? end - (off_t)sizeof bytes : 0;
    ssize_t n = pread(fd, bytes, (size_t)(end - from), from);
    if (n != end - from) return -1;
    const char *newline = memrchr(bytes, '\n', (size_t)n);
    if (newline) return from + (newline + 1 - bytes);
    end = from;
  }
  return end;
}

/* What was written in part has no end of its line: it is taken back. */
static bool append(const char *path, const struct buffer *lines) {
  int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return false;
  off_t before = whole_size(fd);
  bool is_torn = before != lseek(fd, 0, SEEK_END);
  size_t done = 0;
  bool can = before >= 0 && (!is_torn || ftruncate(fd, before) == 0);
  while (can && done < lines->size) {
    ssize_t n = write(fd, lines->bytes + done, lines->size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += (size_t)n;
  }
  bool ok = can && done == lines->size;
  if (can && !ok && ftruncate(fd, before) != 0) ok = false;
  return close(fd) == 0 && ok;
}

static void write_lines(struct log_store *s, const char *name, const struct buffer *lines) {
  char path[PATH_SIZE], old[PATH_SIZE];
  file_path(s, name, ".log", path);
  file_path(s, name, ".old", old);
  if (file_size(path) + lines->size > s->size / 2) rename(path, old);
  if (!append(path, lines)) count_lost(s, name, count_lines(lines));
}

/* What waits of the function. `files` held. */
static void write_one(struct log_store *s, const char *name) {
  pthread_mutex_lock(&s->lock);
  struct keeper *k = find(s, name);
  struct buffer lines = k ? take(s, k) : (struct buffer){0};
  pthread_mutex_unlock(&s->lock);
  if (lines.size) write_lines(s, name, &lines);
  buffer_clear(&lines);
}

/* Whose lines wait longest; false: nobody's. */
static bool next_dirty(struct log_store *s, char name[NAME_SIZE]) {
  pthread_mutex_lock(&s->lock);
  bool is_any = s->dirty != NULL;
  if (is_any) memcpy(name, s->dirty->name, NAME_SIZE);
  pthread_mutex_unlock(&s->lock);
  return is_any;
}

/* Of each function that had lines at the beginning. */
static void write_round(struct log_store *s) {
  char name[NAME_SIZE];
  pthread_mutex_lock(&s->lock);
  size_t n = s->n_dirty;
  pthread_mutex_unlock(&s->lock);
  while (n-- && next_dirty(s, name)) {
    pthread_mutex_lock(&s->files);
    write_one(s, name);
    pthread_mutex_unlock(&s->files);
  }
}

/* False when it is time to stop. Lines that come together are written together. */
static bool wait_for_lines(struct log_store *s) {
  struct timespec pause = {.tv_nsec = WRITE_MS * 1000000};
  pthread_mutex_lock(&s->lock);
  while (!s->dirty && !s->is_stopping) pthread_cond_wait(&s->changed, &s->lock);
  bool goes_on = !s->is_stopping;
  pthread_mutex_unlock(&s->lock);
  if (goes_on) nanosleep(&pause, NULL);
  return goes_on;
}

static void *run(void *arg) {
  struct log_store *s = arg;
  while (wait_for_lines(s)) write_round(s);
  return NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct log_store *log_store_open(const char *directory, uint64_t size, struct gw_error *err) {
  struct log_store *s = heap_new(1, sizeof *s);
  s->size = size;
  s->dirty_end = &s->dirty;
  pthread_mutex_init(&s->files, NULL);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->changed, NULL);
  bool fits = (size_t)snprintf(s->directory, sizeof s->directory, "%s", directory) < sizeof s->directory;
  bool ok = fits || error_set(err, GW_ERROR_IO, "the path %.64s... is too long", directory);
  ok = ok && directory_make(directory, err);
  int problem = ok ? pthread_create(&s->thread, NULL, run, s) : 0;
  if (problem) ok = error_set(err, GW_ERROR_UNAVAILABLE, "cannot start the thread of logs: %s", strerror(problem));
  if (ok) return s;
  pthread_mutex_destroy(&s->files);
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->changed);
  free(s);
  return NULL;
}

static void free_keepers(struct log_store *s) {
  for (size_t i = 0; i < BUCKETS; i++)
    for (struct keeper *k; (k = s->buckets[i]);) {
      s->buckets[i] = k->next;
      buffer_clear(&k->pending);
      free(k);
    }
}

void log_store_close(struct log_store *s) {
  if (!s) return;
  pthread_mutex_lock(&s->lock);
  s->is_stopping = true;
  pthread_cond_signal(&s->changed);
  pthread_mutex_unlock(&s->lock);
  pthread_join(s->thread, NULL);
  write_round(s);
  free_keepers(s);
  pthread_mutex_destroy(&s->files);
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->changed);
  free(s);
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

/* Numbers are microseconds since 1970, or more: so they ascend over restarts, and nothing must be read to know the last one. */
static uint64_t next_number(struct keeper *k, const struct timespec *now) {
  uint64_t us = (uint64_t)now->tv_sec * 1000000 + (uint64_t)now->tv_nsec / 1000;
  return k->last = us > k->last ? us : k->last + 1;
}

/* What lines of one event have in common: printed once, because a request may log a line for each of its bytes. */
struct stamp {
  struct timespec now;
  char text[256];
  size_t size;
};

static struct stamp stamp_of(const struct timespec *now, const struct log_event *event) {
  struct stamp s = {.now = *now};
  struct tm tm;
  char when[32], status[32] = "", trace[64] = "";
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now->tv_sec, &tm));
  if (event->status) snprintf(status, sizeof status, "\"status\":%u,", event->status);
  if (event->trace && *event->trace) snprintf(trace, sizeof trace, "\"trace_id\":\"%.32s\",", event->trace);
  int n =
      snprintf(s.text, sizeof s.text, ",\"time\":\"%s.%03ldZ\",\"request\":\"%.40s\",\"version\":%llu,\"kind\":\"%.16s\",%s%s",
               when, now->tv_nsec / 1000000, event->request, (unsigned long long)event->version, event->kind, status, trace);
  s.size = (size_t)n;
  return s;
}

static void append_number(struct buffer *out, uint64_t n) {
  char digits[20];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + n % 10);
  while (n /= 10);
  buffer_append(out, digits + at, sizeof digits - at);
}

static void append_line(struct buffer *out, uint64_t number, const struct stamp *stamp, const char *text, size_t size) {
  bool is_cut = size > LOG_MAX_TEXT;
  buffer_append_string(out, "{\"seq\":");
  append_number(out, number);
  buffer_append(out, stamp->text, stamp->size);
  if (is_cut) buffer_append_string(out, "\"is_cut\":true,");
  buffer_append_string(out, "\"text\":\"");
  json_text_append(out, text, is_cut ? LOG_MAX_TEXT : size);
  buffer_append_string(out, "\"}\n");
}

/* How many bytes may wait of one function: where many log much, each has its share, and whoever comes late has some, too. */
static size_t room_of_each(const struct log_store *s) {
  size_t share = PENDING_ALL / (s->n_dirty + 1);
  return share > PENDING_BYTES ? PENDING_BYTES : share < PENDING_LEAST ? PENDING_LEAST : share;
}

/* `lock` held. */
static void add_line(struct log_store *s, struct keeper *k, const struct stamp *stamp, const char *text, size_t size) {
  if (k->pending.size >= room_of_each(s)) {
    k->lost++;
    s->lost++;
    return;
  }
  if (k->lost) {
    char words[64];
    int n = snprintf(words, sizeof words, "%llu lines were lost", (unsigned long long)k->lost);
    struct stamp loss = stamp_of(&stamp->now, &(struct log_event){.request = "-", .kind = "lost"});
    append_line(&k->pending, next_number(k, &stamp->now), &loss, words, (size_t)n);
    k->lost = 0;
  }
  append_line(&k->pending, next_number(k, &stamp->now), stamp, text, size);
  mark_dirty(s, k);
}

void log_store_add(struct log_store *s, const char *function, const struct log_event *event, const void *text, size_t size) {
  struct timespec now;
  const char *at = text, *end = at + size;
  if (!s->size || !size) return;
  clock_gettime(CLOCK_REALTIME, &now);
  struct stamp stamp = stamp_of(&now, event);
  pthread_mutex_lock(&s->lock);
  struct keeper *k = find_or_make(s, function);
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
    add_line(s, k, &stamp, at, (size_t)(stop - at));
    at = stop + 1;
  }
  pthread_cond_signal(&s->changed);
  pthread_mutex_unlock(&s->lock);
}

uint64_t log_store_last(struct log_store *s, const char *function) {
  pthread_mutex_lock(&s->lock);
  const struct keeper *k = find(s, function);
  uint64_t last = k ? k->last : 0;
  pthread_mutex_unlock(&s->lock);
  return last;
}

uint64_t log_store_lost(struct log_store *s) {
  pthread_mutex_lock(&s->lock);
  uint64_t lost = s->lost;
  pthread_mutex_unlock(&s->lock);
  return lost;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The file's whole lines. */
static bool read_file(struct log_store *s, const char *name, const char *end, struct buffer *out, struct gw_error *err) {
  char path[PATH_SIZE];
  size_t before = out->size;
  file_path(s, name, end, path);
  if (access(path, F_OK) != 0) return true;
  if (!buffer_read_file(out, path, 2 * (s->size + PENDING_BYTES), err)) return false;
  if (out->size == before) return true;
  const char *newline = memrchr(out->bytes + before, '\n', out->size - before);
  out->size = newline ? (size_t)(newline + 1 - (const char *)out->bytes) : before;
  return true;
}

/* Of a line; 0: it is none of ours. */
static uint64_t number_of(const char *line, size_t size) {
  static const char begin[] = "{\"seq\":";
  uint64_t n = 0;
  if (size < sizeof begin || memcmp(line, begin, sizeof begin - 1) != 0) return 0;
  for (size_t i = sizeof begin - 1; i < size && line[i] >= '0' && line[i] <= '9' && n < UINT64_MAX / 16; i++)
    n = n * 10 + (uint64_t)(line[i] - '0');
  return n;
}

/* Where the line before `end` begins. */
static size_t line_before(const char *bytes, size_t end) {
  size_t at = end - 1;
  while (at && bytes[at - 1] != '\n') at--;
  return at;
}

/* Where the last `limit` lines behind number `after` begin. */
static size_t find_start(const struct buffer *all, uint64_t after, size_t limit) {
  const char *bytes = (const char *)all->bytes;
  size_t start = all->size;
  for (size_t end = all->size; end && limit; limit--) {
    size_t at = line_before(bytes, end);
    if (number_of(bytes + at, end - at) <= after) break;
    start = end = at;
  }
  return start;
}

static void select_lines(const struct buffer *all, uint64_t after, size_t limit, struct buffer *out) {
  const char *bytes = (const char *)all->bytes;
  size_t start = find_start(all, after, after ? SIZE_MAX : limit), end = start;
  for (const char *newline; end < all->size && limit; limit--) {
    newline = memchr(bytes + end, '\n', all->size - end);
    if (!newline || !number_of(bytes + end, all->size - end)) break;
    end = (size_t)(newline + 1 - bytes);
  }
  buffer_append(out, bytes + start, end - start);
}

bool log_store_read(struct log_store *s, const char *function, uint64_t after, size_t limit, struct buffer *out,
                    struct gw_error *err) {
  struct buffer all = {0};
  pthread_mutex_lock(&s->files);
  write_one(s, function);
  bool ok = read_file(s, function, ".old", &all, err) && read_file(s, function, ".log", &all, err);
  pthread_mutex_unlock(&s->files);
  if (ok && all.size) select_lines(&all, after, limit, out);
  buffer_clear(&all);
  return ok;
}

/* Unless somebody has logged again meanwhile. */
static void forget(struct log_store *s, const char *name) {
  pthread_mutex_lock(&s->lock);
  struct keeper **at = &s->buckets[hash(name)];
  while (*at && strcmp((*at)->name, name) != 0) at = &(*at)->next;
  struct keeper *k = *at;
  if (k && !k->is_dirty) {
    *at = k->next;
    buffer_clear(&k->pending);
    free(k);
  }
  pthread_mutex_unlock(&s->lock);
}

void log_store_remove(struct log_store *s, const char *function) {
  char path[PATH_SIZE];
  pthread_mutex_lock(&s->files);
  write_one(s, function);
  file_path(s, function, ".log", path);
  remove(path);
  file_path(s, function, ".old", path);
  remove(path);
  forget(s, function);
  pthread_mutex_unlock(&s->files);
}

/* --- sweeping ----------------------------------------------------------------------------------------------------- */

struct sweeping {
  bool (*is_wanted)(void *arg, const char *function);
  void *arg;
};

static bool file_is_wanted(void *arg, const char *file_name) {
  const struct sweeping *sweeping = arg;
  char name[NAME_SIZE];
  size_t size = strlen(file_name);
  if (size <= 4 || size >= sizeof name) return false;
  if (strcmp(file_name + size - 4, ".log") != 0 && strcmp(file_name + size - 4, ".old") != 0) return false;
  memcpy(name, file_name, size - 4);
  name[size - 4] = 0;
  char *at = strchr(name, '@');
  if (at) *at = '/';
  return sweeping->is_wanted(sweeping->arg, name);
}

void log_store_sweep(struct log_store *s, bool (*is_wanted)(void *arg, const char *function), void *arg) {
  struct sweeping sweeping = {is_wanted, arg};
  pthread_mutex_lock(&s->files);
  directory_sweep(s->directory, file_is_wanted, &sweeping);
  pthread_mutex_unlock(&s->files);
}
