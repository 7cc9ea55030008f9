#include "jit/artifact/cache.h"

#include "base/error.h"
#include "base/heap.h"
#include "gasworks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SUFFIX ".gwa"

/* Files under construction are called tmp-PID-NUMBER. One this old has no process any more that writes it. */
enum { OLD_SECONDS = 3600, NAME_SIZE = 80 };

struct gw_cache {
  char *path;
  int directory;
  uint64_t max_bytes;
  _Atomic uint64_t guessed_bytes; /* since the last look at the directory: what it held then and what was added here */
  atomic_uint n_made;
};

/* --- opening --------------------------------------------------------------------------------------------------------- */

/* Makes the directory and those above it. */
static bool make_directories(char *path) {
  for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = 0;
    bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
    *slash = '/';
    if (!ok) return false;
  }
  return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool check_owner(const struct gw_cache *c, struct gw_error *err) {
  struct stat st;
  if (fstat(c->directory, &st)) return error_set(err, GW_ERROR_IO, "cannot look at cache %s: %s", c->path, strerror(errno));
  if (st.st_uid == geteuid() && !(st.st_mode & 022)) return true;
  return error_set(err, GW_ERROR_IO, "cache %s is not used: others than its user could write code into it", c->path);
}

struct gw_cache *gw_cache_open(const char *path, uint64_t max_bytes, struct gw_error *err) {
  struct gw_cache *c = calloc(1, sizeof *c);
  if (!c || !(c->path = strdup(path))) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a cache");
    free(c);
    return NULL;
  }
  c->max_bytes = max_bytes ? max_bytes : GW_CACHE_DEFAULT_BYTES;
  c->directory = make_directories(c->path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (c->directory < 0) error_set(err, GW_ERROR_IO, "cannot open cache %s: %s", path, strerror(errno));
  if (c->directory >= 0 && check_owner(c, err)) return c;
  gw_cache_close(c);
  return NULL;
}

void gw_cache_close(struct gw_cache *c) {
  if (!c) return;
  if (c->directory >= 0) close(c->directory);
  free(c->path);
  free(c);
}

bool cache_claim(struct gw_cache *c) { return flock(c->directory, LOCK_EX | LOCK_NB) == 0; }

const char *cache_directory(const struct gw_cache *c) { return c->path; }

/* --- reading --------------------------------------------------------------------------------------------------------- */

static void entry_file(const char *name, char out[NAME_SIZE]) { snprintf(out, NAME_SIZE, "%s" SUFFIX, name); }

static struct artifact *map_entry(struct gw_cache *c, const char *file, bool is_use, struct gw_error *err) {
  int fd = openat(c->directory, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    error_set(err, GW_ERROR_IO, "cannot open %s/%s: %s", c->path, file, strerror(errno));
    return NULL;
  }
  struct artifact *a = artifact_map(fd, err);
  if (a && is_use) futimens(fd, (struct timespec[2]){{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}});
  close(fd);
  return a;
}

struct artifact *cache_find(struct gw_cache *c, const struct artifact_key *key) {
  char name[DIGEST_HEX_SIZE], file[NAME_SIZE];
  struct gw_error err = {0};
  artifact_key_hex(key, name);
  entry_file(name, file);
  struct artifact *a = map_entry(c, file, true, &err);
  bool is_it = a && memcmp(a->key, key, sizeof *key) == 0;
  if (is_it) return a;
  if (a || err.code == GW_ERROR_ARTIFACT) unlinkat(c->directory, file, 0);
  artifact_unmap(a);
  return NULL;
}

struct artifact *cache_open_entry(struct gw_cache *c, const struct cache_entry *entry, struct gw_error *err) {
  char file[NAME_SIZE];
  entry_file(entry->name, file);
  return map_entry(c, file, false, err);
}

/* --- keeping within bounds --------------------------------------------------------------------------------------------- */

static int compare_use(const void *a, const void *b) {
  const struct cache_entry *x = a, *y = b;
  if (x->used_s != y->used_s) return x->used_s < y->used_s ? -1 : 1;
  return strcmp(x->name, y->name);
}

static bool is_entry_name(const char *file) {
  return strlen(file) == DIGEST_HEX_SIZE - 1 + strlen(SUFFIX) && strcmp(file + DIGEST_HEX_SIZE - 1, SUFFIX) == 0;
}

static DIR *open_listing(struct gw_cache *c, struct gw_error *err) {
  int fd = openat(c->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
  if (listing) return listing;
  error_set(err, GW_ERROR_IO, "cannot list cache %s: %s", c->path, strerror(errno));
  if (fd >= 0) close(fd);
  return NULL;
}

struct cache_entry *cache_list(struct gw_cache *c, size_t *n, struct gw_error *err) {
  DIR *listing = open_listing(c, err);
  struct cache_entry *entries = malloc(sizeof *entries);
  size_t capacity = 1;
  *n = 0;
  for (struct dirent *d; listing && entries && (d = readdir(listing));) {
    struct stat st;
    if (!is_entry_name(d->d_name) || fstatat(c->directory, d->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
    if (*n == capacity) entries = heap_resize(entries, (capacity *= 2), sizeof *entries);
    struct cache_entry *e = &entries[(*n)++];
    *e = (struct cache_entry){.size = (uint64_t)st.st_size, .used_s = st.st_mtim.tv_sec};
    memcpy(e->name, d->d_name, DIGEST_HEX_SIZE - 1);
  }
  if (!listing) {
    free(entries);
    return NULL;
  }
  closedir(listing);
  qsort(entries, *n, sizeof *entries, compare_use);
  return entries;
}

static void remove_leftovers(struct gw_cache *c) {
  DIR *listing = open_listing(c, NULL);
  time_t now = time(NULL);
  for (struct dirent *d; listing && (d = readdir(listing));) {
    struct stat st;
    if (strncmp(d->d_name, "tmp-", 4) != 0 || fstatat(c->directory, d->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
    if (now - st.st_mtim.tv_sec > OLD_SECONDS) unlinkat(c->directory, d->d_name, 0);
  }
  if (listing) closedir(listing);
}

bool cache_prune(struct gw_cache *c, uint64_t max_bytes, size_t *n, uint64_t *bytes, struct gw_error *err) {
  size_t n_entries;
  struct cache_entry *entries = cache_list(c, &n_entries, err);
  if (!entries) return false;
  uint64_t total = 0;
  for (size_t i = 0; i < n_entries; i++) total += entries[i].size;
  for (size_t i = 0; i < n_entries && total > max_bytes; i++) {
    char file[NAME_SIZE];
    entry_file(entries[i].name, file);
    total -= entries[i].size;
    if (unlinkat(c->directory, file, 0)) continue; /* another process was faster */
    *bytes += entries[i].size;
    ++*n;
  }
  free(entries);
  remove_leftovers(c);
  atomic_store(&c->guessed_bytes, total);
  return true;
}

/* --- writing ----------------------------------------------------------------------------------------------------------- */

/* Not synced: after a power failure a checksum tells what is not whole. */
static bool write_entry(struct gw_cache *c, const char *file, const void *bytes, size_t size) {
  char aside[NAME_SIZE];
  unsigned number = atomic_fetch_add(&c->n_made, 1);
  snprintf(aside, sizeof aside, "tmp-%ld-%lx-%u", (long)getpid(), (unsigned long)(uintptr_t)c, number);
  int fd = openat(c->directory, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool ok = fd_write_all(fd, bytes, size);
  ok = close(fd) == 0 && ok;
  ok = ok && renameat(c->directory, aside, c->directory, file) == 0;
  int saved = errno;
  if (!ok) unlinkat(c->directory, aside, 0);
  errno = saved;
  return ok;
}

/* The bound is kept from the first entry on that this process adds, and then whenever it may have been passed. */
static void keep_bound(struct gw_cache *c, size_t added) {
  uint64_t before = atomic_fetch_add(&c->guessed_bytes, added);
  if (before && before + added <= c->max_bytes) return;
  size_t n = 0;
  uint64_t bytes = 0;
  cache_prune(c, c->max_bytes, &n, &bytes, NULL);
}

bool cache_store(struct gw_cache *c, const struct artifact_key *key, const void *bytes, size_t size, struct gw_error *err) {
  char name[DIGEST_HEX_SIZE], file[NAME_SIZE];
  artifact_key_hex(key, name);
  entry_file(name, file);
  if (size > c->max_bytes)
    return error_set(err, GW_ERROR_TOO_LARGE, "the cache holds %llu bytes, an artifact has %zu", (unsigned long long)c->max_bytes,
                     size);
  if (!write_entry(c, file, bytes, size))
    return error_set(err, GW_ERROR_IO, "cannot write into cache %s: %s", c->path, strerror(errno));
  keep_bound(c, size);
  return true;
}
