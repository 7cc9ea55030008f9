/* The store in LMDB: in this process, on this machine's file system. It answers at once, and knows LMDB alone.
 *
 * LMDB keys have at most 511 bytes, so the digest of a space's name stands before a key, and not the name. Before every value
 * stand a version, the id of the LMDB write transaction that put it there, and a checksum. The digest alone is the key of what a
 * space takes: eight bytes, which every commit keeps, and which are counted anew where they are missing.
 *
 * Locks: lmdb.mutex guards the pool of snapshots, and is never held while LMDB runs. */
#include "runtime/state/store_ops.h"

#include "base/error.h"

#include <lmdb.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
  VERSION_SIZE = 8,       /* before each stored value, */
  HEADER_SIZE = 16,       /* with a checksum of key, version and value behind it */
  VALUE_DAMAGED = -20000, /* beside LMDB's errors: the checksum is wrong */
  MAX_SNAPSHOTS = 1024,   /* that are out at one time */
};

_Static_assert(SPACE_SIZE + STATE_MAX_KEY <= 511, "LMDB's longest key");

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

/* Stores a value with its header. An error of LMDB, or 0. */
static int write_value(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, const void *value, size_t value_size) {
  MDB_val k = {key_size, (void *)key}, stored = {HEADER_SIZE + value_size, NULL};
  int rc = mdb_put(txn, dbi, &k, &stored, MDB_RESERVE);
  if (rc) return rc;
  uint64_t version = mdb_txn_id(txn), sum = checksum(key, key_size, version, value_size ? value : "", value_size);
  uint8_t *to = stored.mv_data;
  memcpy(to, &version, VERSION_SIZE);
  memcpy(to + VERSION_SIZE, &sum, sizeof sum);
  if (value_size) memcpy(to + HEADER_SIZE, value, value_size);
  return 0;
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
  if ((uint64_t)st.st_size >= needed) return true;
  return error_set(err, GW_ERROR_STATE, "the state store %s is damaged: data.mdb has %llu bytes, its header tells of %llu",
                   store->directory, (unsigned long long)st.st_size, (unsigned long long)needed);
}

/* NOTLS: a snapshot belongs to a transaction, which may move between threads. */
static int store_open_env(struct lmdb *store, bool sync) {
  int rc = mdb_env_create(&store->env), dead = 0;
  mdb_filehandle_t fd;
  if (!rc) rc = mdb_env_set_mapsize(store->env, store->map_size);
  if (!rc) rc = mdb_env_set_maxdbs(store->env, 4);
  if (!rc) rc = mdb_env_set_maxreaders(store->env, MAX_SNAPSHOTS);
  if (!rc) rc = mdb_env_open(store->env, store->directory, MDB_NOTLS | (sync ? 0 : MDB_NOSYNC), 0600);
  if (!rc) rc = mdb_env_get_fd(store->env, &fd);
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
  free(store->directory);
  free(store);
}

static const struct store_ops store_lmdb;

static struct lmdb *lmdb_open(const char *directory, size_t map_size, bool sync, struct gw_error *err) {
  struct lmdb *store = calloc(1, sizeof *store);
  if (!store || !(store->directory = strdup(directory))) {
    free(store);
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for the state store");
    return NULL;
  }
  store->store.ops = &store_lmdb;
  pthread_mutex_init(&store->mutex, NULL);
  store->map_size = (map_size + 65535) & ~(size_t)65535;
  if (!store_make_directory(store, err) || !store_register(store, err)) goto fail;
  int rc = store_open_env(store, sync);
  if (!rc && !store_is_whole(store, err)) goto fail;
  if (!rc) rc = store_open_database(store);
  if (!rc) return store;
  fail(store, "open", rc, err);
fail:
  store_free(store);
  return NULL;
}

struct state_store *state_store_open(const char *directory, size_t map_size, bool sync, struct gw_error *err) {
  struct lmdb *store = lmdb_open(directory, map_size, sync, err);
  return store ? state_store_create(&store->store, err) : NULL;
}

static void lmdb_close(struct store *self) {
  struct lmdb *store = lmdb_of(self);
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

/* Whether every key read still has the version it was read with, as another LMDB transaction sees it. An error of LMDB, or 0. */
static int validate(const struct lmdb *store, const struct store_key *keys, MDB_txn *now, bool *is_valid) {
  *is_valid = true;
  int rc = 0;
  for (const struct store_key *k = keys; k && *is_valid && !rc; k = k->next) {
    uint64_t version;
    if (k->is_read && read_version(now, store->dbi, k->bytes, k->size, &version, &rc)) *is_valid = version == k->version;
  }
  return rc;
}

static void lmdb_get(struct store *self, struct store_get *get) {
  const struct lmdb *store = lmdb_of(self);
  const struct store_key *k = get->key;
  MDB_txn *txn = get->snapshot->txn;
  MDB_val stored = {0};
  bool is_valid = true;
  int rc = get->check ? validate(store, get->check, txn, &is_valid) : 0;
  get->version = 0;
  get->is_stale = !is_valid;
  if (!rc && is_valid) read_value(txn, store->dbi, k->bytes, k->size, &stored, &get->version, &rc);
  if (rc) fail(store, "read", rc, &get->err);
  get->value = stored.mv_data;
  get->value_size = stored.mv_size;
  get->done(get);
}

static bool key_is_in_space(const MDB_val *key, const uint8_t space[SPACE_SIZE]) {
  return key->mv_size > SPACE_SIZE && !memcmp(key->mv_data, space, SPACE_SIZE);
}

/* Of a key in the scan's space. */
static bool is_before_end(const struct store_scan *scan, const MDB_val *key) {
  if (!scan->end) return true;
  size_t size = key->mv_size - SPACE_SIZE, both = size < scan->end_size ? size : scan->end_size;
  int order = both ? memcmp((uint8_t *)key->mv_data + SPACE_SIZE, scan->end, both) : 0;
  return order < 0 || (order == 0 && size < scan->end_size);
}

static int scan_with(MDB_cursor *cursor, struct store_scan *scan) {
  uint8_t first[SPACE_SIZE + STATE_MAX_KEY] = {0};
  size_t n = scan->first_size < STATE_MAX_KEY ? scan->first_size : STATE_MAX_KEY;
  memcpy(first, scan->space, SPACE_SIZE);
  if (n) memcpy(first + SPACE_SIZE, scan->first, n);
  if (!n) n = 1; /* the least key that a space can have: what it takes is not one */
  MDB_val key = {SPACE_SIZE + n, first}, value;
  int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  for (; !rc && key_is_in_space(&key, scan->space) && is_before_end(scan, &key);
       rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
    uint64_t version;
    if (!open_value(&key, &value, &version)) value = (MDB_val){0};
    if (!scan->each(scan, (uint8_t *)key.mv_data + SPACE_SIZE, key.mv_size - SPACE_SIZE, value.mv_data, value.mv_size)) break;
  }
  return rc == MDB_NOTFOUND ? 0 : rc;
}

static void lmdb_scan(struct store *self, struct store_scan *scan) {
  const struct lmdb *store = lmdb_of(self);
  MDB_cursor *cursor;
  int rc = mdb_cursor_open(scan->snapshot->txn, store->dbi, &cursor);
  if (!rc) {
    rc = scan_with(cursor, scan);
    mdb_cursor_close(cursor);
  }
  if (rc) fail(store, "read", rc, &scan->err);
  scan->done(scan);
}

/* --- committing --------------------------------------------------------------------------------------------------- */

/* Whether the space was cleared after the store had counted `began` clears. Within a write transaction. */
static bool was_cleared(const struct lmdb *store, const uint8_t space[SPACE_SIZE], uint64_t began) {
  if (began == atomic_load_explicit(&store->n_clears, memory_order_relaxed)) return false;
  for (const struct cleared *c = store->cleared; c; c = c->next)
    if (memcmp(c->space, space, SPACE_SIZE) == 0) return c->at > began;
  return false;
}

static uint64_t lmdb_moment(const struct store *self) { return atomic_load(&((const struct lmdb *)self)->n_clears); }

static int remove_key(MDB_txn *write, MDB_dbi dbi, const struct store_key *k) {
  MDB_val key = {k->size, (void *)k->bytes};
  int rc = mdb_del(write, dbi, &key, NULL);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* --- what a space takes */

static int count_space(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE], uint64_t *bytes) {
  MDB_cursor *cursor;
  uint8_t least[SPACE_SIZE + 1] = {0};
  MDB_val key = {sizeof least, least}, value;
  int rc = mdb_cursor_open(txn, dbi, &cursor);
  if (rc) return rc;
  memcpy(least, space, SPACE_SIZE);
  *bytes = 0;
  for (rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE); !rc && key_is_in_space(&key, space);
       rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
    *bytes += key.mv_size + value.mv_size;
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

static int read_usage(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE], uint64_t *bytes) {
  MDB_val value;
  uint64_t version;
  int rc;
  if (!read_value(txn, dbi, space, SPACE_SIZE, &value, &version, &rc) && rc != VALUE_DAMAGED) return rc;
  if (rc || !version || value.mv_size != sizeof *bytes) return count_space(txn, dbi, space, bytes);
  memcpy(bytes, value.mv_data, sizeof *bytes);
  return 0;
}

/* What the space will take, beside what it takes. */
static int reckon(const struct lmdb *store, const struct store_commit *c, MDB_txn *write, uint64_t *before, uint64_t *after) {
  int rc = read_usage(write, store->dbi, c->space, before);
  *after = *before;
  for (const struct store_key *k = c->keys; k && !rc; k = k->next) {
    if (!k->is_written) continue;
    MDB_val key = {k->size, (void *)k->bytes}, old;
    rc = find(write, store->dbi, &key, &old);
    if (!rc && old.mv_data) *after -= k->size + old.mv_size;
    if (!k->is_delete) *after += k->size + HEADER_SIZE + k->value_size;
  }
  return rc;
}

static int apply(const struct lmdb *store, struct store_commit *c, MDB_txn *write) {
  bool is_valid;
  uint64_t before, after;
  int rc = validate(store, c->keys, write, &is_valid);
  if (was_cleared(store, c->space, c->began)) is_valid = false;
  c->outcome = is_valid ? STATE_COMMITTED : STATE_CONFLICT;
  if (!is_valid || rc) return rc;
  rc = reckon(store, c, write, &before, &after);
  if (!rc && c->limit && after > before && after > c->limit) {
    c->outcome = STATE_FAILED;
    return 0;
  }
  if (!rc && after != before) rc = write_value(write, store->dbi, c->space, SPACE_SIZE, &after, sizeof after);
  for (const struct store_key *k = c->keys; k && !rc; k = k->next) {
    if (k->is_written && k->is_delete)
      rc = remove_key(write, store->dbi, k);
    else if (k->is_written)
      rc = write_value(write, store->dbi, k->bytes, k->size, k->value, k->value_size);
  }
  return rc;
}

/* Applies the transactions from `first` up to `end`; on an error nothing has happened. */
static int try_batch(const struct lmdb *store, struct store_commit *first, const struct store_commit *end) {
  MDB_txn *write;
  int rc = mdb_txn_begin(store->env, NULL, 0, &write);
  if (rc) return rc;
  bool is_any = false;
  for (struct store_commit *c = first; c != end && !rc; c = c->next) {
    rc = apply(store, c, write);
    is_any |= c->outcome == STATE_COMMITTED;
  }
  if (!rc && is_any) return mdb_txn_commit(write);
  mdb_txn_abort(write);
  return rc;
}

static void answer(const struct lmdb *store, struct store_commit *c, int rc) {
  struct gw_error err = {0};
  if (rc)
    fail(store, "write to", rc, &err);
  else if (c->outcome == STATE_FAILED)
    error_set(&err, GW_ERROR_LIMIT, "its state would take more than %llu bytes, which is the limit",
              (unsigned long long)c->limit);
  c->done(c, rc ? STATE_FAILED : c->outcome, err.code ? &err : NULL);
}

/* One transaction may be too large for what is left of the map; that must not fail its neighbours. */
static bool is_of_one_txn(int rc) { return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL; }

static void lmdb_commit(struct store *self, struct store_commit *first) {
  const struct lmdb *store = lmdb_of(self);
  int rc = try_batch(store, first, NULL);
  bool one_by_one = is_of_one_txn(rc) && first->next;
  for (struct store_commit *c = first, *next; c; c = next) {
    next = c->next;
    if (one_by_one) rc = try_batch(store, c, next);
    answer(store, c, rc);
  }
}

/* --- clearing ----------------------------------------------------------------------------------------------------- */

static int clear_space(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE]) {
  MDB_cursor *cursor;
  MDB_val usage = {SPACE_SIZE, (void *)space};
  int rc = mdb_del(txn, dbi, &usage, NULL);
  if (!rc || rc == MDB_NOTFOUND) rc = mdb_cursor_open(txn, dbi, &cursor);
  if (rc) return rc;
  while (!rc) {
    MDB_val key = {SPACE_SIZE, (void *)space}, value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (!rc && !key_is_in_space(&key, space)) rc = MDB_NOTFOUND;
    if (!rc) rc = mdb_cursor_del(cursor, 0);
  }
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND ? 0 : rc;
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
                                            .clear = lmdb_clear};
