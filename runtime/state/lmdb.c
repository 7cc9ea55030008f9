/* The LMDB environment: opening, closing, snapshots, and the operations on whole spaces. */
#include "runtime/state/private.h"

#include "base/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Every store open in this process, by directory. */
static struct state_store *open_stores;
static pthread_mutex_t open_stores_mutex = PTHREAD_MUTEX_INITIALIZER;

bool state_fail(const struct state_store *store, const char *what, int rc, struct gw_error *err) {
  switch (rc) {
  case MDB_MAP_FULL:
    return error_set(err, GW_ERROR_STATE, "the state store %s is full (map size %zu bytes)", store->directory, store->map_size);
  case VALUE_DAMAGED:
    return error_set(err, GW_ERROR_STATE, "a value in the state store %s is damaged: its checksum is wrong", store->directory);
  case MDB_READERS_FULL: return error_set(err, GW_ERROR_STATE, "more than %d transactions read state at one time", MAX_SNAPSHOTS);
  default: return error_set(err, GW_ERROR_STATE, "cannot %s the state store %s: %s", what, store->directory, mdb_strerror(rc));
  }
}

void state_space_digest(uint8_t out[SPACE_SIZE], const char *space) {
  crypto_generichash(out, SPACE_SIZE, (const uint8_t *)space, strlen(space), NULL, 0);
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static bool store_register(struct state_store *store, struct gw_error *err) {
  bool is_free = true;
  pthread_mutex_lock(&open_stores_mutex);
  for (struct state_store *s = open_stores; s; s = s->next_open)
    if (s->device == store->device && s->inode == store->inode) is_free = false;
  if (is_free) {
    store->next_open = open_stores;
    open_stores = store;
  }
  pthread_mutex_unlock(&open_stores_mutex);
  return is_free || error_set(err, GW_ERROR_STATE, "the state store %s is open in this process already", store->directory);
}

static void store_unregister(struct state_store *store) {
  pthread_mutex_lock(&open_stores_mutex);
  for (struct state_store **s = &open_stores; *s; s = &(*s)->next_open) {
    if (*s != store) continue;
    *s = store->next_open;
    break;
  }
  pthread_mutex_unlock(&open_stores_mutex);
}

static bool store_make_directory(struct state_store *store, struct gw_error *err) {
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
    rc = state_write(txn, to, key.mv_data, key.mv_size, (uint8_t *)value.mv_data + VERSION_SIZE, value.mv_size - VERSION_SIZE);
    if (rc) break;
  }
  mdb_cursor_close(cursor);
  if (!rc) rc = MDB_CORRUPTED; /* a value without a version */
  return rc == MDB_NOTFOUND ? mdb_drop(txn, from, 1) : rc;
}

/* The version in its name is that of the layout described in runtime/state/private.h. */
static int store_open_database(struct state_store *store) {
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
static bool store_is_whole(struct state_store *store, struct gw_error *err) {
  MDB_envinfo info;
  MDB_stat stat_of_env;
  struct stat st;
  mdb_filehandle_t fd;
  int rc = mdb_env_info(store->env, &info);
  if (!rc) rc = mdb_env_stat(store->env, &stat_of_env);
  if (!rc) rc = mdb_env_get_fd(store->env, &fd);
  if (rc) return state_fail(store, "open", rc, err);
  if (fstat(fd, &st)) return state_fail(store, "open", errno, err);
  uint64_t needed = ((uint64_t)info.me_last_pgno + 1) * stat_of_env.ms_psize;
  if ((uint64_t)st.st_size >= needed) return true;
  return error_set(err, GW_ERROR_STATE, "the state store %s is damaged: data.mdb has %llu bytes, its header tells of %llu",
                   store->directory, (unsigned long long)st.st_size, (unsigned long long)needed);
}

/* NOTLS: a snapshot belongs to a transaction, which may move between threads. */
static int store_open_env(struct state_store *store, bool sync) {
  int rc = mdb_env_create(&store->env), dead = 0;
  if (!rc) rc = mdb_env_set_mapsize(store->env, store->map_size);
  if (!rc) rc = mdb_env_set_maxdbs(store->env, 4);
  if (!rc) rc = mdb_env_set_maxreaders(store->env, MAX_SNAPSHOTS);
  if (!rc) rc = mdb_env_open(store->env, store->directory, MDB_NOTLS | (sync ? 0 : MDB_NOSYNC), 0600);
  if (!rc) rc = mdb_reader_check(store->env, &dead); /* slots of killed processes would hold back old pages for ever */
  return rc;
}

static void store_free(struct state_store *store) {
  for (struct cleared *c = store->cleared, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  if (store->env) mdb_env_close(store->env);
  store_unregister(store);
  pthread_mutex_destroy(&store->mutex);
  pthread_cond_destroy(&store->wake);
  free(store->directory);
  free(store);
}

struct state_store *state_store_open(const char *directory, size_t map_size, bool sync, struct gw_error *err) {
  struct state_store *store = calloc(1, sizeof *store);
  if (!store || sodium_init() < 0 || !(store->directory = strdup(directory))) {
    free(store);
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for the state store");
    return NULL;
  }
  pthread_mutex_init(&store->mutex, NULL);
  pthread_cond_init(&store->wake, NULL);
  store->queue_end = &store->queue;
  store->map_size = (map_size + 65535) & ~(size_t)65535;
  randombytes_buf(store->hash_key, sizeof store->hash_key);
  if (!store_make_directory(store, err) || !store_register(store, err)) goto fail;
  int rc = store_open_env(store, sync);
  if (!rc && !store_is_whole(store, err)) goto fail;
  if (!rc) rc = store_open_database(store);
  if (rc) {
    state_fail(store, "open", rc, err);
    goto fail;
  }
  rc = pthread_create(&store->committer, NULL, state_committer, store);
  if (rc) {
    error_set(err, GW_ERROR_STATE, "cannot start the state committer: %s", strerror(rc));
    goto fail;
  }
  return store;
fail:
  store_free(store);
  return NULL;
}

void state_store_close(struct state_store *store) {
  if (!store) return;
  pthread_mutex_lock(&store->mutex);
  store->is_closing = true;
  pthread_cond_signal(&store->wake);
  pthread_mutex_unlock(&store->mutex);
  pthread_join(store->committer, NULL);
  for (struct snapshot *s = store->free_snapshots, *next; s; s = next) {
    next = s->next;
    mdb_txn_abort(s->txn);
    free(s);
  }
  store_free(store);
}

/* --- snapshots ---------------------------------------------------------------------------------------------------- */

struct snapshot *snapshot_take(struct state_store *store, struct gw_error *err) {
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
  state_fail(store, "read", rc, err);
  return NULL;
}

void snapshot_return(struct state_store *store, struct snapshot *snapshot) {
  if (!snapshot) return;
  mdb_txn_reset(snapshot->txn);
  pthread_mutex_lock(&store->mutex);
  snapshot->next = store->free_snapshots;
  store->free_snapshots = snapshot;
  pthread_mutex_unlock(&store->mutex);
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

bool state_read_version(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, uint64_t *version, int *rc) {
  MDB_val k = {key_size, (void *)key}, value;
  *version = 0;
  *rc = find(txn, dbi, &k, &value);
  if (!*rc && value.mv_data && value.mv_size < HEADER_SIZE) *rc = VALUE_DAMAGED;
  if (!*rc && value.mv_data) memcpy(version, value.mv_data, VERSION_SIZE);
  return *rc == 0;
}

bool state_read(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, MDB_val *value, uint64_t *version, int *rc) {
  MDB_val k = {key_size, (void *)key};
  *version = 0;
  *rc = find(txn, dbi, &k, value);
  if (!*rc && value->mv_data && !open_value(&k, value, version)) *rc = VALUE_DAMAGED;
  return *rc == 0;
}

int state_write(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, const void *value, size_t value_size) {
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

/* --- whole spaces ------------------------------------------------------------------------------------------------- */

static bool key_is_in_space(const MDB_val *key, const uint8_t space[SPACE_SIZE]) {
  return key->mv_size > SPACE_SIZE && !memcmp(key->mv_data, space, SPACE_SIZE);
}

static int each_in_space(MDB_cursor *cursor, const uint8_t space[SPACE_SIZE], state_each_fn each, void *arg) {
  MDB_val key = {SPACE_SIZE, (void *)space}, value;
  int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  for (; !rc && key_is_in_space(&key, space); rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
    uint64_t version;
    if (!open_value(&key, &value, &version)) value = (MDB_val){0};
    if (!each(arg, (uint8_t *)key.mv_data + SPACE_SIZE, key.mv_size - SPACE_SIZE, value.mv_data, value.mv_size)) break;
  }
  return rc == MDB_NOTFOUND ? 0 : rc;
}

bool state_each(struct state_store *store, const char *space, state_each_fn each, void *arg, struct gw_error *err) {
  uint8_t digest[SPACE_SIZE];
  state_space_digest(digest, space);
  struct snapshot *snapshot = snapshot_take(store, err);
  if (!snapshot) return false;
  MDB_cursor *cursor;
  int rc = mdb_cursor_open(snapshot->txn, store->dbi, &cursor);
  if (!rc) {
    rc = each_in_space(cursor, digest, each, arg);
    mdb_cursor_close(cursor);
  }
  snapshot_return(store, snapshot);
  return rc ? state_fail(store, "read", rc, err) : true;
}

static int clear_space(MDB_txn *txn, MDB_dbi dbi, const uint8_t space[SPACE_SIZE]) {
  MDB_cursor *cursor;
  int rc = mdb_cursor_open(txn, dbi, &cursor);
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

bool state_was_cleared(const struct state_store *store, const uint8_t space[SPACE_SIZE], uint64_t began) {
  if (began == atomic_load_explicit(&store->n_clears, memory_order_relaxed)) return false;
  for (const struct cleared *c = store->cleared; c; c = c->next)
    if (memcmp(c->space, space, SPACE_SIZE) == 0) return c->at > began;
  return false;
}

/* In the write transaction that clears; if it fails after all, those that began before conflict for nothing. */
static int note_cleared(struct state_store *store, const uint8_t space[SPACE_SIZE]) {
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

static int remove_key(MDB_txn *txn, MDB_dbi dbi, const char *space, const void *key, size_t key_size) {
  uint8_t bytes[SPACE_SIZE + STATE_MAX_KEY];
  MDB_val whole = {SPACE_SIZE + key_size, bytes};
  if (key_size > STATE_MAX_KEY) return MDB_BAD_VALSIZE;
  state_space_digest(bytes, space);
  memcpy(bytes + SPACE_SIZE, key, key_size);
  int rc = mdb_del(txn, dbi, &whole, NULL);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* On the caller's thread: LMDB itself lets one writer in at a time. */
bool state_clear_and_remove(struct state_store *store, const char *space, const char *other, const void *key, size_t key_size,
                            struct gw_error *err) {
  uint8_t digest[SPACE_SIZE];
  state_space_digest(digest, space);
  MDB_txn *txn;
  int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
  if (rc) return state_fail(store, "write to", rc, err);
  rc = note_cleared(store, digest);
  if (!rc) rc = clear_space(txn, store->dbi, digest);
  if (!rc && other) rc = remove_key(txn, store->dbi, other, key, key_size);
  if (rc)
    mdb_txn_abort(txn);
  else
    rc = mdb_txn_commit(txn);
  return rc ? state_fail(store, "write to", rc, err) : true;
}

bool state_clear(struct state_store *store, const char *space, struct gw_error *err) {
  return state_clear_and_remove(store, space, NULL, NULL, 0, err);
}
