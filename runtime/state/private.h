/* Transactions inside: their key tables and the committer. Private to txn.c, commit.c and wait.c.
 *
 * A transaction remembers the version of each key that it read, 0 for an absent one. The read is still good when the version is
 * still the same; a value of 1 MiB need be neither kept nor hashed for that.
 *
 * Locks: state_store.mutex guards the queue, and is never held while the store or `done` runs. */
#ifndef RUNTIME_STATE_PRIVATE_H
#define RUNTIME_STATE_PRIVATE_H

#include "base/arena.h"
#include "runtime/state/store_ops.h"

#include <sodium.h>

#include <pthread.h>
#include <stdatomic.h>

enum { TXN_MAX_BYTES = 64 << 20 /* what a transaction may hold in memory */ };

/* What a transaction knows about one key. */
struct txn_key {
  struct store_key key; /* first; in order of first use */
  uint64_t hash;
  size_t value_capacity;
  uint8_t bytes[]; /* of the key */
};

/* Of a get, so that asker and answerer know who is last. */
enum get_state {
  GET_NONE,
  GET_ASKED,    /* the store has it */
  GET_AWAITED,  /* and somebody is to be woken */
  GET_ANSWERED, /* the store is through with it */
  GET_FORSAKEN, /* the transaction was aborted meanwhile: whoever answers frees it */
};

struct state_txn {
  struct state_store *store;
  struct arena arena; /* keys, values, table */
  struct snapshot *snapshot;
  struct store_key *keys, **keys_end;
  struct txn_key **table; /* open addressing, n_table is a power of two or 0 */
  size_t n_table, n_keys, n_writes;
  uint8_t space[SPACE_SIZE];
  uint64_t began;     /* the store's moment then */
  uint64_t limit;     /* of the space's bytes; 0: none */
  uint64_t taken_ms;  /* when the snapshot was */
  bool must_validate; /* a snapshot was given up: what was read must be the same in the next one */
  bool is_stale;      /* and it was not */

  struct store_get get;
  _Atomic(enum get_state) get_state;
  struct txn_key *asked; /* for this key */
  state_wake_fn wake;    /* NULL unless awaited */
  void *wake_arg;

  /* for the committer */
  struct store_commit commit;
  state_done_fn done;
  void *done_arg;
};

struct state_store {
  struct store *store;
  uint8_t hash_key[crypto_shorthash_KEYBYTES]; /* guests choose the keys: they must not choose the collisions */

  pthread_t committer;
  pthread_mutex_t mutex;
  pthread_cond_t wake;     /* there is something to commit, or nothing ever more */
  pthread_cond_t answered; /* a batch is through */
  struct store_commit *queue, **queue_end;
  bool is_closing, is_answered;
  _Atomic size_t n_unanswered; /* of the batch that the store has */
};

/* runtime/state/txn.c */
void state_txn_destroy(struct state_txn *txn);
void state_txn_return_snapshot(struct state_txn *txn);
void state_space_digest(uint8_t out[SPACE_SIZE], const char *space);

#endif
