/* The store in LMDB: in this process, on this machine's file system. It knows LMDB alone. It answers at once, unless that would
 * take long: then a thread of its own looks, be it that a large value is not in memory or that much has to be compared. A scan
 * goes over to that thread where it had to wait for the disk once. Chunks of a large value that was deleted are garbage: another
 * thread removes them, some at a time, so that no commit waits for them all. What they are is stored, so a crash forgets none.
 *
 * LMDB keys have at most 511 bytes, so the digest of a space's name stands before a key, and not the name. Before every value
 * stand a version, the id of the LMDB write transaction that put it there, and a checksum. The digest alone is the key of what a
 * space takes: eight bytes, which every commit keeps, and which are counted anew where they are missing. The version of a large
 * value's record has LARGE_BIT.
 *
 * Locks: lmdb.mutex guards the pool of snapshots and the questions of the reading thread, and is never held while LMDB runs. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "runtime/state/store_ops.h"

#include "base/error.h"
#include "base/files.h"

#include <lmdb.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  VERSION_SIZE = 8,                 /* before each stored value, */
  HEADER_SIZE = 16,                 /* with a checksum of key, version and value behind it */
  VALUE_DAMAGED = -20000,           /* beside LMDB's errors: the checksum is wrong */
  MAX_SNAPSHOTS = 1024,             /* that are out at one time */
  MAX_CHECKS_AT_ONCE = 512,         /* keys to compare on the asker's thread: about 0.3 ms */
  LARGE_VALUE = 64 << 10,           /* from here on it is asked whether its pages are in memory, */
  MAX_PAGES = (2 << 20) / 4096 + 1, /* which are so many at most */
  TREE_PAGE = 4096,                 /* about: values apart by more lie in different ones */
};

_Static_assert(SPACE_SIZE + STATE_MAX_KEY <= 511, "LMDB's longest key");

#define LARGE_BIT ((uint64_t)1 << 63)

static bool is_large(uint64_t version) { return version & LARGE_BIT; }

/* A pooled read transaction: renewed when it is taken, reset when it is given back. */
struct snapshot {
  struct snapshot *next;
  MDB_txn *txn;
};

/* A space that was cleared since the store was opened. */
struct cleared {
  struct cleared *next;
  uint8_t space[SPACE_SIZE];
  uint64_t at; /* lmdb.n_clears behind the last time */
};

struct lmdb {
  struct store store; /* first */
  MDB_env *env;
  MDB_dbi dbi;
  size_t map_size;
  char *directory;
  dev_t device; /* of the directory: LMDB environments must not be opened twice in a process */
  ino_t inode;
  struct lmdb *next_open;

  _Atomic uint64_t n_clears; /* written within LMDB's write transactions, of which there is one at a time */
  struct cleared *cleared;   /* likewise, and only read there */

  pthread_mutex_t mutex;
  struct snapshot *free_snapshots;

  pthread_t reader; /* if has_reader */
  pthread_cond_t asked;
  struct store_ask *asks, **asks_end; /* what it has to look for */
  bool has_reader, is_closing;

  pthread_t collector; /* if has_collector */
  pthread_cond_t littered;
  bool has_collector, has_garbage;
};

/* Every store open in this process, by directory. */
static struct lmdb *open_stores;
static pthread_mutex_t open_stores_mutex = PTHREAD_MUTEX_INITIALIZER;

static struct lmdb *lmdb_of(struct store *store) { return (struct lmdb *)store; }

/* Errors of LMDB as a sentence; always false. */
static bool fail(const struct lmdb *store, const char *what, int rc, struct gw_error *err) {
  switch (rc) {
  case MDB_MAP_FULL:
    return error_set(err, GW_ERROR_STATE, "the state store %s is full (map size %zu bytes)", store->directory, store->map_size);
  case VALUE_DAMAGED:
    return error_set(err, GW_ERROR_STATE, "a value in the state store %s is damaged: its checksum is wrong", store->directory);
  case MDB_READERS_FULL: return error_set(err, GW_ERROR_STATE, "more than %d transactions read state at one time", MAX_SNAPSHOTS);
  default: return error_set(err, GW_ERROR_STATE, "cannot %s the state store %s: %s", what, store->directory, mdb_strerror(rc));
  }
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static uint64_t checksum(const void *key, size_t key_size, uint64_t version, const void *value, size_t size) {
  return XXH3_64bits_withSeed(value, size, XXH3_64bits_withSeed(key, key_size, version));
}

/* Cuts the header off; false when the value is not what was written. */
static bool open_value(const MDB_val *key, MDB_val *value, uint64_t *version) {
  uint64_t sum;
  if (value->mv_size < HEADER_SIZE) return false;
  memcpy(version, value->mv_data, VERSION_SIZE);
  memcpy(&sum, (uint8_t *)value->mv_data + VERSION_SIZE, sizeof sum);
  value->mv_data = (uint8_t *)value->mv_data + HEADER_SIZE;
  value->mv_size -= HEADER_SIZE;
  return *version && sum == checksum(key->mv_data, key->mv_size, *version, value->mv_data, value->mv_size);
}

/* The value as it is stored, or NULL. */
static int find(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value) {
  *value = (MDB_val){0};
  int rc = mdb_get(txn, dbi, key, value);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The version of what is stored, or 0. False: *rc says why. */
static bool read_version(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, uint64_t *version, int *rc) {
  MDB_val k = {key_size, (void *)key}, value;
  *version = 0;
  *rc = find(txn, dbi, &k, &value);
  if (!*rc && value.mv_data && value.mv_size < HEADER_SIZE) *rc = VALUE_DAMAGED;
  if (!*rc && value.mv_data) memcpy(version, value.mv_data, VERSION_SIZE);
  return *rc == 0;
}

/* The stored value, checked, and its version; *version is 0 and *value NULL when there is none. False: *rc says why. */
static bool read_value(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, MDB_val *value, uint64_t *version, int *rc) {
  MDB_val k = {key_size, (void *)key};
  *version = 0;
  *rc = find(txn, dbi, &k, value);
  if (!*rc && value->mv_data && !open_value(&k, value, version)) *rc = VALUE_DAMAGED;
  return *rc == 0;
}

/* Those of one LMDB transaction differ by their place in it; those of before were its id alone, so these are greater. */
static uint64_t version_of(MDB_txn *txn, uint32_t place) { return (uint64_t)mdb_txn_id(txn) << 20 | (place & 0xfffff); }

/* Stores a value with its header; `bits` are the version's, beside its number. An error of LMDB, or 0. */
static int write_bits(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, uint64_t bits, const void *value,
                      size_t value_size) {
  MDB_val k = {key_size, (void *)key}, stored = {HEADER_SIZE + value_size, NULL};
  int rc = mdb_put(txn, dbi, &k, &stored, MDB_RESERVE);
  if (rc) return rc;
  uint64_t version = version_of(txn, 0) | bits, sum = checksum(key, key_size, version, value_size ? value : "", value_size);
  uint8_t *to = stored.mv_data;
  memcpy(to, &version, VERSION_SIZE);
  memcpy(to + VERSION_SIZE, &sum, sizeof sum);
  if (value_size) memcpy(to + HEADER_SIZE, value, value_size);
  return 0;
}

static int write_value(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, const void *value, size_t value_size) {
  return write_bits(txn, dbi, key, key_size, 0, value, value_size);
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static bool store_register(struct lmdb *store, struct gw_error *err) {
  bool is_free = true;
  pthread_mutex_lock(&open_stores_mutex);
  for (struct lmdb *s = open_stores; s; s = s->next_open)
    if (s->device == store->device && s->inode == store->inode) is_free = false;
  if (is_free) {
    store->next_open = open_stores;
    open_stores = store;
  }
  pthread_mutex_unlock(&open_stores_mutex);
  return is_free || error_set(err, GW_ERROR_STATE, "the state store %s is open in this process already", store->directory);
}

static void store_unregister(struct lmdb *store) {
  pthread_mutex_lock(&open_stores_mutex);
  for (struct lmdb **s = &open_stores; *s; s = &(*s)->next_open) {
    if (*s != store) continue;
    *s = store->next_open;
    break;
  }
  pthread_mutex_unlock(&open_stores_mutex);
}

static bool store_make_directory(struct lmdb *store, struct gw_error *err) {
  struct stat st;
  if (mkdir(store->directory, 0700) && errno != EEXIST)
    return error_set(err, GW_ERROR_IO, "cannot make the state directory %s: %s", store->directory, strerror(errno));
  if (stat(store->directory, &st))
    return error_set(err, GW_ERROR_IO, "cannot use the state directory %s: %s", store->directory, strerror(errno));
  if (!S_ISDIR(st.st_mode)) return error_set(err, GW_ERROR_IO, "the state directory %s is not a directory", store->directory);
  store->device = st.st_dev;
  store->inode = st.st_ino;
  return true;
}

/* Values of layout 1 had no checksum. All are written again in the transaction that removes them. */
static int convert_layout_1(MDB_txn *txn, MDB_dbi to) {
  MDB_dbi from;
  MDB_cursor *cursor;
  MDB_val key, value;
  int rc = mdb_dbi_open(txn, "state.1", 0, &from);
  if (rc) return rc == MDB_NOTFOUND ? 0 : rc;
  rc = mdb_cursor_open(txn, from, &cursor);
  if (rc) return rc;
  while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) && value.mv_size >= VERSION_SIZE) {
    rc = write_value(txn, to, key.mv_data, key.mv_size, (uint8_t *)value.mv_data + VERSION_SIZE, value.mv_size - VERSION_SIZE);
    if (rc) break;
  }
  mdb_cursor_close(cursor);
  if (!rc) rc = MDB_CORRUPTED; /* a value without a version */
  return rc == MDB_NOTFOUND ? mdb_drop(txn, from, 1) : rc;
}

/* The version in its name is that of the layout described at the top. */
static int store_open_database(struct lmdb *store) {
  MDB_txn *txn;
  int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
  if (rc) return rc;
  rc = mdb_dbi_open(txn, "state.2", MDB_CREATE, &store->dbi);
  if (!rc) rc = convert_layout_1(txn, store->dbi);
  if (rc) {
    mdb_txn_abort(txn);
    return rc;
  }
  return mdb_txn_commit(txn);
}

/* How many of the pages from `first` to before `end` LMDB knows to be free. */
static int count_free_pages(struct lmdb *store, uint64_t first, uint64_t end, uint64_t *n) {
  MDB_txn *txn;
  MDB_cursor *cursor;
  MDB_val key, value;
  *n = 0;
  int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
  if (rc) return rc;
  rc = mdb_cursor_open(txn, 0, &cursor); /* LMDB's own: lists of page numbers, their length in front */
  if (!rc) {
    while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)))
      for (size_t i = 1; i < value.mv_size / sizeof(size_t); i++) {
        size_t page = ((const size_t *)value.mv_data)[i];
        *n += page >= first && page < end;
      }
    mdb_cursor_close(cursor);
  }
  mdb_txn_abort(txn);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Whether a file that is too short lacks nothing: the last pages of a transaction may be free again before they were ever
 * written. Then it gets its length. */
static bool lacks_free_pages(struct lmdb *store, int fd, uint64_t have, uint64_t needed, size_t page_size) {
  uint64_t n;
  if (ftruncate(fd, (off_t)needed)) return false;
  if (!count_free_pages(store, have / page_size, needed / page_size, &n) && n == needed / page_size - have / page_size)
    return true;
  if (ftruncate(fd, (off_t)have)) return false; /* as it was found */
  return false;
}

/* Pages that LMDB's header counts must be there: a read behind the file's end would be a SIGBUS. */
static bool store_is_whole(struct lmdb *store, struct gw_error *err) {
  MDB_envinfo info;
  MDB_stat stat_of_env;
  struct stat st;
  mdb_filehandle_t fd;
  int rc = mdb_env_info(store->env, &info);
  if (!rc) rc = mdb_env_stat(store->env, &stat_of_env);
  if (!rc) rc = mdb_env_get_fd(store->env, &fd);
  if (rc) return fail(store, "open", rc, err);
  if (fstat(fd, &st)) return fail(store, "open", errno, err);
  uint64_t needed = ((uint64_t)info.me_last_pgno + 1) * stat_of_env.ms_psize;
  if ((uint64_t)st.st_size >= needed || lacks_free_pages(store, fd, (uint64_t)st.st_size, needed, stat_of_env.ms_psize))
    return true;
  return error_set(err, GW_ERROR_STATE, "the state store %s is damaged: data.mdb has %llu bytes, its header tells of %llu",
                   store->directory, (unsigned long long)st.st_size, (unsigned long long)needed);
}

/* NOTLS: a snapshot belongs to a transaction, which may move between threads. */
static int store_open_env(struct lmdb *store, unsigned flags) {
  int rc = mdb_env_create(&store->env), dead = 0;
  mdb_filehandle_t fd;
  if (!rc && store->map_size) rc = mdb_env_set_mapsize(store->env, store->map_size); /* else what the file says */
  if (!rc) rc = mdb_env_set_maxdbs(store->env, 4);
  if (!rc) rc = mdb_env_set_maxreaders(store->env, MAX_SNAPSHOTS);
  if (!rc) rc = mdb_env_open(store->env, store->directory, MDB_NOTLS | flags, 0600);
  if (!rc) rc = mdb_env_get_fd(store->env, &fd);
  if (!rc && !(flags & (MDB_RDONLY | MDB_NOSYNC)) && !directory_sync(store->directory)) rc = errno; /* which LMDB leaves, too */
  if (!rc && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) rc = errno; /* which LMDB leaves to whatever this process starts */
  if (!rc) rc = mdb_reader_check(store->env, &dead);          /* slots of killed processes would hold back old pages for ever */
  return rc;
}

static void store_free(struct lmdb *store) {
  for (struct cleared *c = store->cleared, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  if (store->env) mdb_env_close(store->env);
  store_unregister(store);
  pthread_mutex_destroy(&store->mutex);
  pthread_cond_destroy(&store->asked);
  pthread_cond_destroy(&store->littered);
  free(store->directory);
  free(store);
}

static const struct store_ops store_lmdb;
static void *run_reader(void *arg);
static void *run_collector(void *arg);

static int start_reader(struct lmdb *store) {
  int rc = pthread_create(&store->reader, NULL, run_reader, store);
  store->has_reader = !rc;
  return rc;
}

/* It looks at once what a crash has left. */
static int start_collector(struct lmdb *store) {
  store->has_garbage = true;
  int rc = pthread_create(&store->collector, NULL, run_collector, store);
  store->has_collector = !rc;
  return rc;
}

/* The reader behind all that it was asked; garbage may stay. */
static void stop_threads(struct lmdb *store) {
  pthread_mutex_lock(&store->mutex);
  store->is_closing = true;
  pthread_cond_signal(&store->asked);
  pthread_cond_signal(&store->littered);
  pthread_mutex_unlock(&store->mutex);
  if (store->has_reader) pthread_join(store->reader, NULL);
  if (store->has_collector) pthread_join(store->collector, NULL);
}

static int open_to_read(struct lmdb *store) {
  MDB_txn *txn;
  int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
  if (rc) return rc;
  rc = mdb_dbi_open(txn, "state.2", 0, &store->dbi);
  if (!rc) return mdb_txn_commit(txn); /* which keeps the handle */
  mdb_txn_abort(txn);
  return rc;
}

/* flags: MDB_NOSYNC, MDB_RDONLY. */
static struct lmdb *lmdb_open(const char *directory, size_t map_size, unsigned flags, struct gw_error *err) {
  bool is_to_read = flags & MDB_RDONLY;
  struct lmdb *store = calloc(1, sizeof *store);
  if (!store || !(store->directory = strdup(directory))) {
    free(store);
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for the state store");
    return NULL;
  }
  store->store.ops = &store_lmdb;
  pthread_mutex_init(&store->mutex, NULL);
  pthread_cond_init(&store->asked, NULL);
  pthread_cond_init(&store->littered, NULL);
  store->asks_end = &store->asks;
  store->map_size = (map_size + 65535) & ~(size_t)65535;
  if (!store_make_directory(store, err) || !store_register(store, err)) goto fail;
  int rc = store_open_env(store, flags);
  if (!rc && !is_to_read && !store_is_whole(store, err)) goto fail;
  if (!rc) rc = is_to_read ? open_to_read(store) : store_open_database(store);
  if (!rc) rc = start_reader(store);
  if (!rc && !is_to_read) rc = start_collector(store);
  if (!rc) return store;
  fail(store, "open", rc, err);
fail:
  stop_threads(store);
  store_free(store);
  return NULL;
}

struct state_store *state_store_open(const char *directory, size_t map_size, bool sync, struct gw_error *err) {
  struct lmdb *store = lmdb_open(directory, map_size, sync ? 0 : MDB_NOSYNC, err);
  return store ? state_store_create(&store->store, err) : NULL;
}

struct state_store *state_store_open_to_read(const char *directory, struct gw_error *err) {
  struct stat st;
  if (stat(directory, &st)) {
    error_set(err, GW_ERROR_NOT_FOUND, "there is no state in %s: %s", directory, strerror(errno));
    return NULL;
  }
  struct lmdb *store = lmdb_open(directory, 0, MDB_RDONLY, err);
  return store ? state_store_create(&store->store, err) : NULL;
}

static void lmdb_close(struct store *self) {
  struct lmdb *store = lmdb_of(self);
  stop_threads(store);
  for (struct snapshot *s = store->free_snapshots, *next; s; s = next) {
    next = s->next;
    mdb_txn_abort(s->txn);
    free(s);
  }
  store_free(store);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static struct snapshot *lmdb_take(struct store *self, struct gw_error *err) {
  struct lmdb *store = lmdb_of(self);
  pthread_mutex_lock(&store->mutex);
  struct snapshot *s = store->free_snapshots;
  if (s) store->free_snapshots = s->next;
  pthread_mutex_unlock(&store->mutex);
  int rc;
  if (s) {
    rc = mdb_txn_renew(s->txn);
    if (rc) mdb_txn_abort(s->txn);
  } else {
    s = calloc(1, sizeof *s);
    rc = s ? mdb_txn_begin(store->env, NULL, MDB_RDONLY, &s->txn) : ENOMEM;
  }
  if (!rc) return s;
  free(s);
  fail(store, "read", rc, err);
  return NULL;
}

static void lmdb_give_back(struct store *self, struct snapshot *snapshot) {
  struct lmdb *store = lmdb_of(self);
  mdb_txn_reset(snapshot->txn);
  pthread_mutex_lock(&store->mutex);
  snapshot->next = store->free_snapshots;
  store->free_snapshots = snapshot;
  pthread_mutex_unlock(&store->mutex);
}

static bool key_is_in_space(const MDB_val *key, const uint8_t space[SPACE_SIZE]) {
  return key->mv_size > SPACE_SIZE && !memcmp(key->mv_data, space, SPACE_SIZE);
}

/* As LMDB orders keys. */
static bool key_is_before(const MDB_val *key, const void *other, size_t size) {
  size_t both = key->mv_size < size ? key->mv_size : size;
  int order = both ? memcmp(key->mv_data, other, both) : 0;
  return order < 0 || (order == 0 && key->mv_size < size);
}

/* Whether a range still has the keys and versions it was read with. */
static int validate_range(const struct lmdb *store, const struct store_range *range, MDB_txn *now, bool *is_valid) {
  MDB_cursor *cursor;
  MDB_val key = {range->first_size, range->first}, value;
  uint64_t n = 0, sum = 0, version;
  int rc = mdb_cursor_open(now, store->dbi, &cursor);
  if (rc) return rc;
  for (rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); !rc && key_is_before(&key, range->end, range->end_size);
       rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
    if (++n > range->n) break;
    if (value.mv_size < HEADER_SIZE) rc = VALUE_DAMAGED;
    if (rc) break;
    memcpy(&version, value.mv_data, VERSION_SIZE);
    sum += state_range_digest(key.mv_data, key.mv_size, version);
  }
  mdb_cursor_close(cursor);
  *is_valid = n == range->n && sum == range->sum;
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Whether all that was read is the same, as another LMDB transaction sees it: else the key or range is given that is not. An
 * error of LMDB, or 0. */
static int validate(const struct lmdb *store, const struct store_key **keys, const struct store_range **ranges, MDB_txn *now,
                    bool is_commit) {
  int rc = 0;
  bool is_valid = true;
  for (; *keys && !rc; *keys = (*keys)->next) {
    uint64_t version;
    const struct store_key *k = *keys;
    if (!k->is_read || (k->ahead && !is_commit)) continue;
    if (!read_version(now, store->dbi, k->bytes, k->size, &version, &rc)) continue;
    if (version != (k->ahead ? k->ahead->version : k->version) || (k->ahead && !version)) return 0;
  }
  for (; *ranges && !rc; *ranges = (*ranges)->next) {
    rc = validate_range(store, *ranges, now, &is_valid);
    if (!is_valid) break;
  }
  return rc;
}

static int check(const struct lmdb *store, const struct store_reads *reads, MDB_txn *txn, bool *is_stale) {
  const struct store_key *keys = reads ? reads->keys : NULL;
  const struct store_range *ranges = reads ? reads->ranges : NULL;
  int rc = validate(store, &keys, &ranges, txn, false);
  *is_stale = keys || ranges;
  return rc;
}

/* Whether a value can be read without waiting for the disk. Where nobody can say, it can. */
static bool is_in_memory(const MDB_val *value) {
  unsigned char pages[MAX_PAGES];
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  uintptr_t first = (uintptr_t)value->mv_data & ~(page - 1), end = (uintptr_t)value->mv_data + value->mv_size;
  size_t n = (end - first + page - 1) / page;
  if (value->mv_size < LARGE_VALUE || n > MAX_PAGES || mincore((void *)first, end - first, pages)) return true;
  for (size_t i = 0; i < n; i++)
    if (!(pages[i] & 1)) return false;
  return true;
}

/* False: the value is not in memory, and this thread must not wait for it. */
static bool get_value(const struct lmdb *store, struct store_get *get, bool may_wait) {
  MDB_val key = {get->key->size, (void *)get->key->bytes}, stored = {0};
  int rc = check(store, get->check, get->snapshot->txn, &get->is_stale);
  get->version = 0;
  if (!rc && !get->is_stale) rc = find(get->snapshot->txn, store->dbi, &key, &stored);
  if (!rc && stored.mv_data && stored.mv_size < HEADER_SIZE) rc = VALUE_DAMAGED;
  if (!rc && stored.mv_data && get->is_for_version) {
    memcpy(&get->version, stored.mv_data, VERSION_SIZE);
    stored = (MDB_val){0};
  } else if (!rc && stored.mv_data) {
    if (!may_wait && !is_in_memory(&stored)) return false;
    if (!open_value(&key, &stored, &get->version)) rc = VALUE_DAMAGED;
  }
  if (rc) fail(store, "read", rc, &get->err);
  get->value = stored.mv_data;
  get->value_size = stored.mv_size;
  get->is_large = is_large(get->version);
  return true;
}

/* Of a key in the scan's space. */
static bool is_in_scan(const struct store_scan *scan, const MDB_val *key) {
  MDB_val rest = {key->mv_size - SPACE_SIZE, (uint8_t *)key->mv_data + SPACE_SIZE};
  if (scan->is_backward) return !key_is_before(&rest, scan->first ? scan->first : "", scan->first ? scan->first_size : 0);
  return !scan->end || key_is_before(&rest, scan->end, scan->end_size);
}

/* Where a scan begins: at the first key not before `bound`, or at the last one before it. */
static int scan_seek(MDB_cursor *cursor, const struct store_scan *scan, MDB_val *key, MDB_val *value) {
  uint8_t bytes[SPACE_SIZE + STATE_MAX_KEY + 1] = {0};
  const void *bound = scan->is_backward ? scan->end : scan->first;
  size_t n = scan->is_backward ? scan->end_size : scan->first_size;
  if (n > STATE_MAX_KEY + 1) n = STATE_MAX_KEY + 1;
  memcpy(bytes, scan->space, SPACE_SIZE);
  if (bound && n) memcpy(bytes + SPACE_SIZE, bound, n);
  *key = (MDB_val){SPACE_SIZE + n, bytes};
  if (!bound || !n) key->mv_size = SPACE_SIZE + 1; /* the least key that a space can have: what it takes is not one */
  if (scan->is_backward && !bound) {
    key->mv_size = SPACE_SIZE;
    for (int i = SPACE_SIZE; i-- > 0 && !++bytes[i];) { /* the next space */
    }
  }
  int rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
  if (!scan->is_backward) return rc;
  if (rc == MDB_NOTFOUND) return mdb_cursor_get(cursor, key, value, MDB_LAST);
  return rc ? rc : mdb_cursor_get(cursor, key, value, MDB_PREV);
}

static int scan_one(struct store_scan *scan, MDB_val key, MDB_val value, bool *goes_on) {
  if (value.mv_size < HEADER_SIZE) return VALUE_DAMAGED;
  memcpy(&scan->version, value.mv_data, VERSION_SIZE);
  scan->is_large = is_large(scan->version);
  if (scan->is_for_keys && !scan->is_large)
    value = (MDB_val){value.mv_size - HEADER_SIZE, NULL};
  else if (!open_value(&key, &value, &scan->version))
    value = (MDB_val){0};
  *goes_on = scan->each(scan, (uint8_t *)key.mv_data + SPACE_SIZE, key.mv_size - SPACE_SIZE, value.mv_data, value.mv_size);
  return 0;
}

/* How often this thread has waited for the disk: nobody can say before a page of the tree is read whether it will. */
static long count_waits(void) {
  struct rusage usage;
  return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_majflt;
}

/* What a scan on the asker's thread may wait for: one page that is not in memory, with what leads to it. */
struct patience {
  bool is_endless;
  long n_waits;
  uintptr_t page; /* looked at last: a page has many small values */
};

static bool is_at_end(struct patience *p, const MDB_val *value) {
  if (p->is_endless) return false;
  if (value->mv_size >= LARGE_VALUE) return !is_in_memory(value);
  uintptr_t page = (uintptr_t)value->mv_data / TREE_PAGE;
  if (page == p->page) return false;
  p->page = page;
  return count_waits() != p->n_waits;
}

/* *is_left: patience was at its end, and the cursor is where to go on. */
static int scan_with(MDB_cursor *cursor, struct store_scan *scan, struct patience patience, bool *is_left) {
  MDB_val key, value;
  bool goes_on = true;
  MDB_cursor_op next = scan->is_backward ? MDB_PREV : MDB_NEXT;
  int rc = scan->ask.place ? mdb_cursor_get(cursor, &key, &value, MDB_GET_CURRENT) : scan_seek(cursor, scan, &key, &value);
  *is_left = false;
  while (!rc && key_is_in_space(&key, scan->space) && is_in_scan(scan, &key)) {
    *is_left = is_at_end(&patience, &value);
    if (*is_left) break;
    rc = scan_one(scan, key, value, &goes_on);
    if (rc || !goes_on) break;
    rc = mdb_cursor_get(cursor, &key, &value, next);
  }
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* False: it would wait for the disk, and scan->ask.place is where another thread goes on. */
static bool scan_range(const struct lmdb *store, struct store_scan *scan, bool may_wait) {
  MDB_txn *txn = scan->snapshot->txn;
  MDB_cursor *cursor = scan->ask.place;
  struct patience patience = {.is_endless = may_wait, .n_waits = may_wait ? 0 : count_waits()};
  bool is_left = false;
  int rc = cursor ? 0 : check(store, scan->check, txn, &scan->is_stale);
  if (!rc && !scan->is_stale && !cursor) rc = mdb_cursor_open(txn, store->dbi, &cursor);
  if (!rc && !scan->is_stale) {
    rc = scan_with(cursor, scan, patience, &is_left);
    scan->ask.place = is_left ? cursor : NULL;
    if (!is_left) mdb_cursor_close(cursor);
  }
  if (rc) fail(store, "read", rc, &scan->err);
  return !is_left;
}

/* --- what takes long */

static void answer_ask(const struct lmdb *store, struct store_ask *ask) {
  if (ask->is_scan) {
    struct store_scan *scan = (struct store_scan *)ask;
    scan_range(store, scan, true);
    scan->done(scan);
  } else {
    struct store_get *get = (struct store_get *)ask;
    get_value(store, get, true);
    get->done(get);
  }
}

static void *run_reader(void *arg) {
  struct lmdb *store = arg;
  pthread_mutex_lock(&store->mutex);
  for (;;) {
    while (!store->asks && !store->is_closing) pthread_cond_wait(&store->asked, &store->mutex);
    struct store_ask *ask = store->asks;
    if (!ask) break;
    store->asks = ask->next;
    if (!ask->next) store->asks_end = &store->asks;
    pthread_mutex_unlock(&store->mutex);
    answer_ask(store, ask);
    pthread_mutex_lock(&store->mutex);
  }
  pthread_mutex_unlock(&store->mutex);
  return NULL;
}

static void ask_reader(struct lmdb *store, struct store_ask *ask, bool is_scan) {
  *ask = (struct store_ask){.is_scan = is_scan, .place = ask->place};
  pthread_mutex_lock(&store->mutex);
  *store->asks_end = ask;
  store->asks_end = &ask->next;
  pthread_cond_signal(&store->asked);
  pthread_mutex_unlock(&store->mutex);
}

static bool takes_long(const struct store_reads *reads) { return reads && reads->n > MAX_CHECKS_AT_ONCE; }

static void lmdb_get(struct store *self, struct store_get *get) {
  struct lmdb *store = lmdb_of(self);
  get->ask.place = NULL;
  if (takes_long(get->check) || !get_value(store, get, false))
    ask_reader(store, &get->ask, false);
  else
    get->done(get);
}

static void lmdb_scan(struct store *self, struct store_scan *scan) {
  struct lmdb *store = lmdb_of(self);
  scan->ask.place = NULL;
  if (scan->is_long || takes_long(scan->check) || !scan_range(store, scan, false))
    ask_reader(store, &scan->ask, true);
  else
    scan->done(scan);
}

/* --- committing --------------------------------------------------------------------------------------------------- */

/* A space and that of its chunks are one. */
static bool is_same_space(const uint8_t *a, const uint8_t *b) {
  return !memcmp(a, b, SPACE_SIZE - 1) && (a[SPACE_SIZE - 1] ^ b[SPACE_SIZE - 1]) <= 1;
}

/* Whether the space was cleared after the store had counted `began` clears. Within a write transaction. */
static bool was_cleared(const struct lmdb *store, const uint8_t space[SPACE_SIZE], uint64_t began) {
  for (const struct cleared *c = store->cleared; c; c = c->next)
    if (is_same_space(c->space, space)) return c->at > began;
  return false;
}

/* Its own space, or another one that it writes to: what was deleted must not come back. */
static bool meets_clear(const struct lmdb *store, const struct store_commit *c) {
  const uint8_t *last = c->space;
  if (c->began == atomic_load_explicit(&store->n_clears, memory_order_relaxed)) return false;
  if (was_cleared(store, c->space, c->began)) return true;
  for (const struct store_key *k = c->keys; k; k = k->next) {
    if (!k->is_written || is_same_space(k->bytes, last)) continue;
    last = k->bytes;
    if (was_cleared(store, k->bytes, c->began)) return true;
  }
  return false;
}

static uint64_t lmdb_moment(const struct store *self) { return atomic_load(&((const struct lmdb *)self)->n_clears); }

static int remove_key(MDB_txn *write, MDB_dbi dbi, const struct store_key *k) {
  MDB_val key = {k->size, (void *)k->bytes};
  int rc = mdb_del(write, dbi, &key, NULL);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* --- what a space takes */

static int count_one_space(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE], uint64_t *bytes) {
  MDB_cursor *cursor;
  uint8_t least[SPACE_SIZE + 1] = {0};
  MDB_val key = {sizeof least, least}, value;
  int rc = mdb_cursor_open(txn, dbi, &cursor);
  if (rc) return rc;
  memcpy(least, space, SPACE_SIZE);
  for (rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); !rc && key_is_in_space(&key, space);
       rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
    *bytes += key.mv_size + value.mv_size;
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

static int count_space(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE], uint64_t *bytes) {
  uint8_t chunks[SPACE_SIZE];
  state_chunk_space(chunks, space);
  *bytes = 0;
  int rc = count_one_space(txn, dbi, space, bytes);
  return rc ? rc : count_one_space(txn, dbi, chunks, bytes);
}

/* Up to date. */
static int read_use(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE], struct store_use *use) {
  MDB_val value;
  uint64_t version, now = state_use_now();
  int rc;
  if (!read_value(txn, dbi, space, SPACE_SIZE, &value, &version, &rc) && rc != VALUE_DAMAGED) return rc;
  bool is_whole = !rc && version;
  if (!state_use_read(use, is_whole ? value.mv_data : NULL, is_whole ? value.mv_size : 0, now))
    return count_space(txn, dbi, space, &use->bytes);
  state_use_settle(use, now);
  return 0;
}

static int write_use(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE], const struct store_use *use) {
  return write_value(txn, dbi, space, SPACE_SIZE, use, sizeof *use);
}

/* --- chunks */

/* Those of a large value from a number on: adds up their bytes, or removes them. The space is the value's. */
static int each_chunk(MDB_txn *write, MDB_dbi dbi, const uint8_t *space, const uint8_t *id, uint32_t from, uint64_t *bytes) {
  uint8_t first[CHUNK_KEY];
  MDB_cursor *cursor;
  MDB_val key = {sizeof first, first}, value;
  state_chunk_key(first, space, id, from);
  int rc = mdb_cursor_open(write, dbi, &cursor);
  if (rc) return rc;
  rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  while (!rc && key.mv_size == CHUNK_KEY && !memcmp(key.mv_data, first, CHUNK_KEY - 4)) {
    if (bytes) *bytes += key.mv_size + value.mv_size;
    if (!bytes) rc = mdb_cursor_del(cursor, 0);
    if (!bytes) key = (MDB_val){sizeof first, first};
    if (!rc) rc = mdb_cursor_get(cursor, &key, &value, bytes ? MDB_NEXT : MDB_SET_RANGE);
  }
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

struct reckoning {
  struct store_use use;   /* of the space, as it is */
  uint64_t before, after; /* bytes that it takes, and will */
  uint64_t chunks;        /* of that, in chunks that go */
  bool has_chunks;        /* there are such, also of other spaces */
  bool can_add;           /* where it adds to something, that has the right size */
  bool is_garbage;        /* it leaves chunks that go later, */
  bool removes_now;       /* which it may not */
};

enum { LARGE_GARBAGE = 1 << 20, GARBAGE_KEY = SPACE_SIZE + SPACE_SIZE + LARGE_ID };

/* The chunks of a value that goes are many enough to be removed later. */
static bool is_for_later(const uint8_t record[LARGE_RECORD]) { return state_large_record_size(record) > LARGE_GARBAGE; }

static int write_garbage(MDB_txn *write, MDB_dbi dbi, const uint8_t *space, const uint8_t *id) {
  uint8_t key[SPACE_SIZE + CHUNK_KEY];
  state_garbage_space(key);
  state_chunk_key(key + SPACE_SIZE, space, id, 0);
  return write_value(write, dbi, key, GARBAGE_KEY, "", 0);
}

/* Those that a key of a commit makes superfluous; `old` is what is stored there, and may move when they are removed. */
static int each_superfluous(MDB_txn *write, MDB_dbi dbi, const struct store_key *k, const MDB_val *old, uint64_t *bytes,
                            struct reckoning *r) {
  uint8_t record[HEADER_SIZE + LARGE_RECORD] = {0}, *id = record + HEADER_SIZE;
  uint64_t version;
  int rc = 0;
  if (old->mv_data && old->mv_size == sizeof record) memcpy(record, old->mv_data, sizeof record);
  memcpy(&version, record, VERSION_SIZE);
  bool is_same = k->is_large && !memcmp(id, k->value, LARGE_ID);
  bool goes = is_large(version) && !k->is_moved && !is_same, goes_later = goes && !r->removes_now && is_for_later(id);
  if (goes && !goes_later) rc = each_chunk(write, dbi, k->bytes, id, 0, bytes);
  if (goes_later) r->is_garbage = true;
  if (goes_later && !bytes) rc = write_garbage(write, dbi, k->bytes, id);
  if (!rc && k->is_large && k->kept != CHUNKS_ALL_KEPT) rc = each_chunk(write, dbi, k->bytes, k->value, k->kept, bytes);
  return rc;
}

static int remove_chunks(const struct lmdb *store, const struct store_commit *c, struct reckoning *r, MDB_txn *write) {
  int rc = 0;
  for (const struct store_key *k = c->keys; k && !rc; k = k->next) {
    MDB_val key = {k->size, (void *)k->bytes}, old;
    if (!k->is_written) continue;
    rc = find(write, store->dbi, &key, &old);
    if (!rc) rc = each_superfluous(write, store->dbi, k, &old, NULL, r);
  }
  return rc;
}

static int reckon(const struct lmdb *store, const struct store_commit *c, MDB_txn *write, struct reckoning *r) {
  *r = (struct reckoning){.can_add = true, .removes_now = r->removes_now};
  int rc = read_use(write, store->dbi, c->space, &r->use);
  r->after = r->before = r->use.bytes;
  for (const struct store_key *k = c->keys; k && !rc; k = k->next) {
    uint64_t chunks = 0;
    if (!k->is_written) continue;
    MDB_val key = {k->size, (void *)k->bytes}, old;
    rc = find(write, store->dbi, &key, &old);
    if (!rc && k->is_add && old.mv_data && old.mv_size != HEADER_SIZE + sizeof k->delta) r->can_add = false;
    if (!rc) rc = each_superfluous(write, store->dbi, k, &old, &chunks, r);
    r->has_chunks |= chunks;
    if (!is_same_space(k->bytes, c->space)) continue;
    r->chunks += chunks;
    if (!rc && old.mv_data && !k->is_fresh) r->after -= k->size + old.mv_size;
    if (!k->is_delete) r->after += k->size + HEADER_SIZE + (k->is_add ? sizeof k->delta : k->value_size);
  }
  r->after -= r->chunks;
  return rc;
}

static int add_to_key(MDB_txn *write, MDB_dbi dbi, const struct store_key *k, uint64_t place) {
  MDB_val value;
  uint64_t version, number = 0;
  int rc;
  if (!read_value(write, dbi, k->bytes, k->size, &value, &version, &rc)) return rc;
  if (version) memcpy(&number, value.mv_data, sizeof number);
  number += (uint64_t)k->delta;
  return write_bits(write, dbi, k->bytes, k->size, place, &number, sizeof number);
}

static int write_key(const struct lmdb *store, const struct store_key *k, uint32_t place, MDB_txn *write) {
  if (k->hands_on) k->hands_on->version = version_of(write, place);
  if (k->is_delete) return remove_key(write, store->dbi, k);
  if (k->is_add) return add_to_key(write, store->dbi, k, place);
  return write_bits(write, store->dbi, k->bytes, k->size, place | (k->is_large ? LARGE_BIT : 0), k->value, k->value_size);
}

/* --- seals */

enum { MOST_UNSEALED = 64 /* that one commit removes: more than it adds */ };

static int remove_seals(MDB_txn *write, MDB_dbi dbi, const uint8_t space[SPACE_SIZE], uint64_t settled) {
  MDB_cursor *cursor;
  uint8_t least[SPACE_SIZE + 1] = {0};
  MDB_val key = {sizeof least, least}, value;
  uint64_t index;
  int rc = mdb_cursor_open(write, dbi, &cursor);
  if (rc) return rc;
  memcpy(least, space, SPACE_SIZE);
  rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  for (int i = 0; !rc && i < MOST_UNSEALED && key_is_in_space(&key, space) && key.mv_size == SPACE_SIZE + sizeof index; i++) {
    memcpy(&index, (uint8_t *)key.mv_data + SPACE_SIZE, sizeof index);
    if (__builtin_bswap64(index) >= settled) break;
    rc = mdb_cursor_del(cursor, 0);
    if (!rc) rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_seal(const struct lmdb *store, const struct state_seal *seal, MDB_txn *write) {
  uint8_t key[SPACE_SIZE + sizeof seal->index];
  uint64_t index = __builtin_bswap64(seal->index);
  state_seal_space(key);
  memcpy(key + SPACE_SIZE, &index, sizeof index);
  int rc = remove_seals(write, store->dbi, key, seal->settled);
  return rc ? rc : write_value(write, store->dbi, key, sizeof key, seal->bytes, seal->size);
}

/* --- garbage */

enum { COLLECTED = 1024 /* chunks at one time, which others wait for */ };

/* Removes chunks that begin with the key of their first, `most` at most, and what they take of their space. */
static int collect_chunks(MDB_txn *write, MDB_dbi dbi, const uint8_t *prefix, size_t most, size_t *n) {
  MDB_cursor *cursor;
  uint8_t first[CHUNK_KEY] = {0}, space[SPACE_SIZE];
  uint64_t bytes = 0;
  struct store_use use;
  int rc = mdb_cursor_open(write, dbi, &cursor);
  if (rc) return rc;
  memcpy(first, prefix, CHUNK_KEY - 4);
  state_chunk_space(space, prefix); /* the space that has them */
  for (*n = 0; !rc && *n < most; ++*n) {
    MDB_val key = {sizeof first, first}, value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (!rc && (key.mv_size != CHUNK_KEY || memcmp(key.mv_data, first, CHUNK_KEY - 4) != 0)) rc = MDB_NOTFOUND;
    if (rc) break;
    bytes += key.mv_size + value.mv_size;
    rc = mdb_cursor_del(cursor, 0);
  }
  mdb_cursor_close(cursor);
  if (rc == MDB_NOTFOUND) rc = 0;
  if (!rc && bytes) rc = read_use(write, dbi, space, &use);
  if (rc || !bytes) return rc;
  use.bytes = use.bytes > bytes ? use.bytes - bytes : 0;
  return write_use(write, dbi, space, &use);
}

/* The first piece of garbage behind a key, as the chunks' key without a number; false: there is none. */
static bool find_garbage(MDB_txn *txn, MDB_dbi dbi, uint8_t record[GARBAGE_KEY], int *rc) {
  MDB_cursor *cursor;
  MDB_val key = {GARBAGE_KEY, record}, value;
  uint8_t space[SPACE_SIZE];
  state_garbage_space(space);
  *rc = mdb_cursor_open(txn, dbi, &cursor);
  if (*rc) return false;
  *rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  bool is_there = !*rc && key.mv_size == GARBAGE_KEY && !memcmp(key.mv_data, space, SPACE_SIZE);
  if (is_there) memcpy(record, key.mv_data, GARBAGE_KEY);
  mdb_cursor_close(cursor);
  if (*rc == MDB_NOTFOUND) *rc = 0;
  return is_there;
}

/* Some of it, in one transaction, and its record when nothing is left. */
static int collect_some(MDB_txn *write, MDB_dbi dbi, const uint8_t record[GARBAGE_KEY], size_t most) {
  size_t n;
  MDB_val key = {GARBAGE_KEY, (void *)record};
  int rc = collect_chunks(write, dbi, record + SPACE_SIZE, most, &n);
  return rc || n == most ? rc : mdb_del(write, dbi, &key, NULL);
}

/* All that a space has: it needs the room now. */
static int collect_space(MDB_txn *write, MDB_dbi dbi, const uint8_t space[SPACE_SIZE]) {
  uint8_t record[GARBAGE_KEY] = {0};
  int rc;
  state_garbage_space(record);
  state_chunk_space(record + SPACE_SIZE, space);
  while (find_garbage(write, dbi, record, &rc)) {
    if (!is_same_space(record + SPACE_SIZE, space)) break;
    rc = collect_some(write, dbi, record, SIZE_MAX);
    if (rc) break;
  }
  return rc;
}

/* *is_left: there may be more. */
static int collect(const struct lmdb *store, bool *is_left) {
  MDB_txn *write;
  uint8_t record[GARBAGE_KEY] = {0};
  int rc = mdb_txn_begin(store->env, NULL, 0, &write);
  if (rc) return rc;
  state_garbage_space(record);
  *is_left = find_garbage(write, store->dbi, record, &rc);
  if (*is_left) rc = collect_some(write, store->dbi, record, COLLECTED);
  if (!rc && *is_left) return mdb_txn_commit(write);
  mdb_txn_abort(write);
  return rc;
}

static void pause_collecting(struct lmdb *store, unsigned ms) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += (long)(ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
  pthread_cond_timedwait(&store->littered, &store->mutex, &until);
}

/* Between two times those who commit have the store, for about as long. After an error, as where the disk is full, it waits, each
 * time longer, and tries again: nobody else would, before there is more. */
static void *run_collector(void *arg) {
  enum { BETWEEN_MS = 10, AFTER_ERROR_MS = 50, LONGEST_MS = 60000 };
  struct lmdb *store = arg;
  unsigned wait_ms = AFTER_ERROR_MS;
  pthread_mutex_lock(&store->mutex);
  while (!store->is_closing) {
    bool is_left = false;
    if (!store->has_garbage) pthread_cond_wait(&store->littered, &store->mutex);
    if (store->is_closing || !store->has_garbage) continue;
    store->has_garbage = false;
    pthread_mutex_unlock(&store->mutex);
    bool has_failed = collect(store, &is_left) != 0;
    pthread_mutex_lock(&store->mutex);
    store->has_garbage |= is_left || has_failed;
    if (!has_failed) wait_ms = AFTER_ERROR_MS;
    if (store->has_garbage && !store->is_closing) pause_collecting(store, has_failed ? wait_ms : BETWEEN_MS);
    if (has_failed) wait_ms = 2 * wait_ms < LONGEST_MS ? 2 * wait_ms : LONGEST_MS;
  }
  pthread_mutex_unlock(&store->mutex);
  return NULL;
}

static void wake_collector(struct lmdb *store) {
  pthread_mutex_lock(&store->mutex);
  store->has_garbage = true;
  pthread_cond_signal(&store->littered);
  pthread_mutex_unlock(&store->mutex);
}

static bool is_over(const struct store_commit *c, const struct reckoning *r) {
  return c->limit && r->after > r->before && r->after > c->limit;
}

static int apply(const struct lmdb *store, struct store_commit *c, MDB_txn *write, bool *is_garbage) {
  struct reckoning r = {.can_add = true};
  c->changed_key = c->keys;
  c->changed_range = c->ranges;
  int rc = validate(store, &c->changed_key, &c->changed_range, write, true);
  bool is_valid = !c->changed_key && !c->changed_range;
  if (meets_clear(store, c)) is_valid = false;
  if (!rc && is_valid) rc = reckon(store, c, write, &r);
  c->outcome = is_valid && r.can_add ? STATE_COMMITTED : STATE_CONFLICT;
  if (c->outcome == STATE_CONFLICT || rc) return rc;
  if (is_over(c, &r)) {
    r.removes_now = true;
    rc = collect_space(write, store->dbi, c->space);
    if (!rc) rc = reckon(store, c, write, &r);
  }
  if (rc) return rc;
  if (is_over(c, &r)) {
    c->outcome = STATE_FAILED;
    return 0;
  }
  if (c->seal) state_use_tell(&r.use, c->seal);
  if (c->seal && !state_seal_make(c)) {
    c->outcome = STATE_FAILED;
    return 0;
  }
  if (c->seal) rc = write_seal(store, c->seal, write);
  bool is_told = c->seal && c->seal->rent;
  if (is_told) state_use_told(&r.use);
  r.use.bytes = r.after;
  if (!rc && (r.after != r.before || is_told)) rc = write_use(write, store->dbi, c->space, &r.use);
  if (!rc && (r.has_chunks || r.is_garbage)) rc = remove_chunks(store, c, &r, write);
  *is_garbage |= r.is_garbage;
  for (const struct store_key *k = c->keys; k && !rc; k = k->next)
    if (k->is_written) rc = write_key(store, k, c->place, write);
  return rc;
}

/* Applies the transactions from `first` up to `end`; on an error nothing has happened. */
static int try_batch(struct lmdb *store, struct store_commit *first, const struct store_commit *end) {
  MDB_txn *write;
  int rc = mdb_txn_begin(store->env, NULL, 0, &write);
  if (rc) return rc;
  bool is_any = false, is_garbage = false;
  for (struct store_commit *c = first; c != end && !rc; c = c->next) {
    rc = apply(store, c, write, &is_garbage);
    is_any |= c->outcome == STATE_COMMITTED;
  }
  if (!rc && is_any) {
    rc = mdb_txn_commit(write);
    if (!rc && is_garbage) wake_collector(store);
    return rc;
  }
  mdb_txn_abort(write);
  return rc;
}

/* What it hands on was never stored. Another commit may get the version yet: LMDB gives the number of a transaction that failed
 * to the next one. */
static void take_back(const struct store_commit *c) {
  for (const struct store_key *k = c->keys; k; k = k->next)
    if (k->hands_on) k->hands_on->version = 0;
}

static void answer(const struct lmdb *store, struct store_commit *c, int rc) {
  struct gw_error err = {0};
  if (rc || c->outcome != STATE_COMMITTED) take_back(c);
  if (rc)
    fail(store, "write to", rc, &err);
  else if (c->is_unsealed)
    error_set(&err, GW_ERROR_UNAVAILABLE, "its receipt cannot be stored");
  else if (c->outcome == STATE_FAILED)
    error_set(&err, GW_ERROR_LIMIT, "its state would take more than %llu bytes, which is the limit",
              (unsigned long long)c->limit);
  c->done(c, rc ? STATE_FAILED : c->outcome, err.code ? &err : NULL);
}

/* One transaction may be too large for what is left of the map; that must not fail its neighbours. */
static bool is_of_one_txn(int rc) { return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL; }

static void lmdb_commit(struct store *self, struct store_commit *first) {
  struct lmdb *store = lmdb_of(self);
  uint32_t place = 0;
  for (struct store_commit *c = first; c; c = c->next) c->place = place++;
  int rc = try_batch(store, first, NULL);
  bool one_by_one = is_of_one_txn(rc) && first->next;
  for (struct store_commit *c = first, *next; c; c = next) {
    next = c->next;
    if (one_by_one) rc = try_batch(store, c, next);
    answer(store, c, rc);
  }
}

/* --- clearing ----------------------------------------------------------------------------------------------------- */

static int clear_one_space(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE]) {
  MDB_cursor *cursor;
  uint8_t least[SPACE_SIZE + 1] = {0}; /* behind the record of what it takes */
  int rc = mdb_cursor_open(txn, dbi, &cursor);
  if (rc) return rc;
  memcpy(least, space, SPACE_SIZE);
  while (!rc) {
    MDB_val key = {sizeof least, least}, value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (!rc && !key_is_in_space(&key, space)) rc = MDB_NOTFOUND;
    if (!rc) rc = mdb_cursor_del(cursor, 0);
  }
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

static int clear_space(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE]) {
  uint8_t chunks[SPACE_SIZE];
  struct store_use use;
  state_chunk_space(chunks, space);
  int rc = read_use(txn, dbi, space, &use);
  bool is_used = !rc && (use.bytes || use.rent);
  use.bytes = 0;
  state_use_told(&use); /* whose the name is next has receipts of his own time alone */
  if (is_used) rc = write_use(txn, dbi, space, &use);
  if (!rc) rc = clear_one_space(txn, dbi, space);
  return rc ? rc : clear_one_space(txn, dbi, chunks);
}

/* In the write transaction that clears; if it fails after all, those that began before conflict for nothing. */
static int note_cleared(struct lmdb *store, const uint8_t space[SPACE_SIZE]) {
  struct cleared *c = store->cleared;
  while (c && memcmp(c->space, space, SPACE_SIZE) != 0) c = c->next;
  if (!c) {
    c = calloc(1, sizeof *c);
    if (!c) return ENOMEM;
    memcpy(c->space, space, SPACE_SIZE);
    c->next = store->cleared;
    store->cleared = c;
  }
  c->at = atomic_fetch_add(&store->n_clears, 1) + 1;
  return 0;
}

static int clear_and_remove(struct lmdb *store, const struct store_clear *clear) {
  MDB_txn *txn;
  int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
  if (rc) return rc;
  rc = note_cleared(store, clear->space);
  if (!rc) rc = clear_space(txn, store->dbi, clear->space);
  if (!rc && clear->also) rc = remove_key(txn, store->dbi, clear->also);
  if (!rc) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return rc;
}

static bool lmdb_copy(struct store *self, int fd, struct gw_error *err) {
  const struct lmdb *store = lmdb_of(self);
  int rc = mdb_env_copyfd2(store->env, fd, MDB_CP_COMPACT);
  return rc ? fail(store, "copy", rc, err) : true;
}

/* On the caller's thread: LMDB itself lets one writer in at a time. */
static void lmdb_clear(struct store *self, struct store_clear *clear) {
  struct lmdb *store = lmdb_of(self);
  int rc = clear_and_remove(store, clear);
  if (rc) fail(store, "write to", rc, &clear->err);
  clear->done(clear);
}

static const struct store_ops store_lmdb = {.close = lmdb_close,
                                            .moment = lmdb_moment,
                                            .take = lmdb_take,
                                            .give_back = lmdb_give_back,
                                            .get = lmdb_get,
                                            .scan = lmdb_scan,
                                            .commit = lmdb_commit,
                                            .copy = lmdb_copy,
                                            .clear = lmdb_clear};
