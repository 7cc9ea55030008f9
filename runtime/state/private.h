/* State inside: snapshots, transactions' key tables, the committer. Private to runtime/state/.
 *
 * In LMDB every key is preceded by a digest of its space's name (LMDB keys have at most 511 bytes, so the name itself does not
 * fit beside a key of 480) and every value by a version, the id of the LMDB write transaction that put it there, and a checksum.
 * A transaction remembers the version of each key that it read, 0 for an absent one. No two values a key ever had share a
 * version, so the read is still good when the version is still the same; a value of 1 MiB need be neither kept nor hashed for
 * that.
 *
 * Locks: state_store.mutex guards the queue and the pool of snapshots, and is never held while LMDB or `done` runs. */
#ifndef RUNTIME_STATE_PRIVATE_H
#define RUNTIME_STATE_PRIVATE_H

#include "base/arena.h"
#include "runtime/state/state.h"

#include <lmdb.h>
#include <sodium.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum {
  SPACE_SIZE = 24,          /* digest of the space's name: nobody finds two names with one */
  VERSION_SIZE = 8,         /* before each stored value, */
  HEADER_SIZE = 16,         /* with a checksum of key, version and value behind it */
  VALUE_DAMAGED = -20000,   /* beside LMDB's errors: the checksum is wrong */
  MAX_SNAPSHOTS = 1024,     /* transactions that may read at one time */
  TXN_MAX_BYTES = 64 << 20, /* what a transaction may hold in memory */
};

_Static_assert(SPACE_SIZE + STATE_MAX_KEY <= 511, "LMDB's longest key");

/* A pooled read transaction: taken (renewed) at a transaction's first read, returned (reset) at its end. */
struct snapshot {
  struct snapshot *next;
  MDB_txn *txn;
};

/* What a transaction knows about one key. */
struct txn_key {
  struct txn_key *next; /* in order of first use */
  uint64_t hash;
  bool is_read, is_written, is_delete;
  uint64_t version; /* when is_read */
  uint8_t *value;   /* when is_written and not is_delete */
  size_t value_size, value_capacity;
  size_t size; /* of the key with its space */
  uint8_t bytes[];
};

struct state_txn {
  struct state_store *store;
  struct arena arena; /* keys, values, table */
  struct snapshot *snapshot;
  struct txn_key *keys, **keys_end;
  struct txn_key **table; /* open addressing, n_table is a power of two or 0 */
  size_t n_table, n_keys, n_writes;
  uint8_t space[SPACE_SIZE];
  uint64_t began;     /* store.n_clears then */
  uint64_t taken_ms;  /* when the snapshot was */
  bool must_validate; /* a snapshot was given up: what was read must be the same in the next one */
  bool is_stale;      /* and it was not */

  /* for the committer */
  struct state_txn *next;
  enum state_outcome outcome;
  state_done_fn done;
  void *arg;
};

/* A space that was cleared since the store was opened. */
struct cleared {
  struct cleared *next;
  uint8_t space[SPACE_SIZE];
  uint64_t at; /* store.n_clears behind the last time */
};

struct state_store {
  MDB_env *env;
  MDB_dbi dbi;
  size_t map_size;
  uint8_t hash_key[crypto_shorthash_KEYBYTES]; /* guests choose the keys: they must not choose the collisions */
  char *directory;
  dev_t device; /* of the directory: LMDB environments must not be opened twice in a process */
  ino_t inode;
  struct state_store *next_open;

  _Atomic uint64_t n_clears; /* written within LMDB's write transactions, of which there is one at a time */
  struct cleared *cleared;   /* likewise, and only read there */

  pthread_t committer;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  struct state_txn *queue, **queue_end;
  bool is_closing;
  struct snapshot *free_snapshots;
};

/* runtime/state/lmdb.c. Errors of LMDB as a sentence; always false. */
bool state_fail(const struct state_store *store, const char *what, int rc, struct gw_error *err);
void state_space_digest(uint8_t out[SPACE_SIZE], const char *space);
struct snapshot *snapshot_take(struct state_store *store, struct gw_error *err);
void snapshot_return(struct state_store *store, struct snapshot *snapshot);
/* The version of what is stored, or 0. False: *rc says why. */
bool state_read_version(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, uint64_t *version, int *rc);
/* The stored value, checked, and its version; *version is 0 and *value NULL when there is none. False: *rc says why. */
bool state_read(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, MDB_val *value, uint64_t *version, int *rc);
/* Stores a value with its header. An error of LMDB, or 0. */
int state_write(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, const void *value, size_t value_size);

/* Whether the space was cleared after the store had counted `began` clears. Within a write transaction. */
bool state_was_cleared(const struct state_store *store, const uint8_t space[SPACE_SIZE], uint64_t began);

/* runtime/state/txn.c */
void state_txn_destroy(struct state_txn *txn);
/* Whether every key read still has the version it was read with, as another LMDB transaction sees it. An error of LMDB, or 0. */
int state_validate(const struct state_txn *txn, MDB_txn *now, bool *is_valid);

/* runtime/state/commit.c: the committer's thread; `arg` is the store. */
void *state_committer(void *arg);

#endif
