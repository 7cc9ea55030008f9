/* Transactions inside: their key tables and the committer. Private to runtime/state/.
 *
 * A transaction remembers the version of each key that it read, 0 for an absent one. The read is still good when the version is
 * still the same; a value of 1 MiB need be neither kept nor hashed for that.
 *
 * Locks: state_store.mutex guards the queue, and is never held while the store or `done` runs. */
#ifndef RUNTIME_STATE_PRIVATE_H
#define RUNTIME_STATE_PRIVATE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "runtime/state/store_ops.h"

#include <sodium.h>

#include <pthread.h>
#include <stdatomic.h>

enum {
  TXN_MAX_BYTES = 64 << 20, /* what a transaction may hold in memory */
  /* Beyond these a transaction is large: it is committed by itself. */
  SMALL_KEYS = 1024,
  SMALL_BYTES = 256 << 10,
  /* A batch of small ones ends with these. */
  BATCH_KEYS = 4096,
  BATCH_BYTES = 4 << 20,
  BOUND_SIZE = SPACE_SIZE + STATE_MAX_KEY + 1,                      /* of a scan, with its space, */
  RANGE_BYTES = sizeof(struct store_range) + 2 * (BOUND_SIZE + 16), /* which is remembered in so many at most */
};

/* What a transaction knows about one key. */
struct txn_key {
  struct store_key key; /* first; in order of first use */
  uint64_t hash;
  size_t value_capacity;
  uint64_t sum;               /* of a number that was added to, for whoever gets it */
  struct state_large *large;  /* that the key names, or whose chunk it is */
  struct txn_key *next_chunk; /* that was written, of the same value */
  uint8_t bytes[];            /* of the key */
};

/* What a transaction has written to the key of a lane, for the next ones there, until it is durable. Counted. */
struct ahead {
  struct store_ahead store; /* first */
  _Atomic uint32_t refs;
  uint64_t hash;
  size_t key_size, value_size;
  uint8_t bytes[]; /* the key, with its space, and the value */
};

/* Lanes of hot keys (lane.c). */
enum { LANE_TABLE = 4096, MAX_LANES = 4 /* that a transaction is in at one time */ };
struct lane;
struct lanes {
  pthread_mutex_t mutex;
  struct lane *table[LANE_TABLE];
  atomic_uint n_open[LANE_TABLE]; /* lanes with waiting, by place in the table */
  size_t n;
  uint64_t swept_ms;
  uint64_t cold_ms; /* a lane where nobody has met anybody for so long is given up */
};

enum lane_entry {
  LANE_NONE,    /* no lane, or none that is to be entered */
  LANE_ENTERED, /* the snapshot may be older than what the last one there wrote */
  LANE_CROSSED, /* it cannot wait there, would conflict, and rather begins again: it is noted in its turns */
  LANE_WAITS,   /* the transaction's question is asked when its turn comes */
};
/* On the thread of whoever left the lane. */
typedef void (*state_resume_fn)(struct state_txn *txn);

/* Of a get or scan, so that asker and answerer know who is last. */
enum { UNDER_WAY = 1 << 17 };

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
  struct store_reads reads; /* for the store; `keys` are all keys */
  size_t rewound_reads;     /* of those, the ranges' before it was rewound: they count towards no limit, */
  size_t rewound_bytes;     /* and neither does what remembers them, and values that were opened */
  size_t passing_bytes;     /* of the arena, for values opened since it began */
  struct txn_scan *scan;    /* the last one; NULL before the first */
  struct txn_key **sorted;  /* what is written, in order, from the first scan on */
  size_t n_sorted, n_sorted_max;
  bool is_sorted;
  uint8_t sorted_space[SPACE_SIZE];                 /* of what is sorted */
  uint8_t space[SPACE_SIZE], own_space[SPACE_SIZE]; /* where keys are; whose transaction it is */
  uint64_t began;                                   /* the store's moment then */
  uint64_t limit;                                   /* of the space's bytes; 0: none */
  struct state_large *larges;                       /* that were opened */
  uint8_t id_seed[16];                              /* of their ids, from the first one on, */
  uint64_t n_ids;                                   /* and how many were made */
  bool has_id_seed, found_large;                    /* the last value found is a record */
  state_wait_fn wait;
  void *wait_arg;
  uint64_t taken_ms;  /* when the snapshot was */
  bool must_validate; /* a snapshot was given up: what was read must be the same in the next one */
  bool is_stale;      /* and it was not */
  bool is_away;       /* the store could not be reached */
  struct sha256 read; /* what was read, if has_read */
  bool has_read;
  struct buffer kept;                  /* the same whole, where it is kept (reads.c) */
  size_t kept_limit;                   /* bytes of it; 0: it is not */
  bool is_kept_full;                   /* there was more */
  bool is_told, is_strict, has_parted; /* instead of a store: what another run read */
  const uint8_t *told;
  size_t told_size, told_at;
  uint64_t told_number;
  struct state_seal *seal;

  struct store_get get;
  _Atomic(enum get_state) get_state;
  struct txn_key *asked; /* for this key */
  bool asks_for_version;
  int64_t delta;      /* that is to be added to it */
  state_wake_fn wake; /* NULL unless awaited */
  void *wake_arg;

  bool skips_lanes;
  bool only_reads, is_expired;
  struct txn_key *passing; /* where only_reads: the key of a question, of which nothing is kept */
  int n_lanes;
  struct lane *lanes[MAX_LANES];   /* that it is in */
  struct ahead *took[MAX_LANES];   /* what was there when it came */
  struct ahead *handed[MAX_LANES]; /* what it left there */
  int n_took, n_handed;
  bool may_run_ahead, waits_ahead; /* waits_ahead: with what it reads now */
  bool has_run_ahead, is_answered_ahead;
  struct lane *waits_for; /* guarded by the lanes' mutex, as is the next */
  struct state_txn *next_in_lane;
  state_resume_fn resume;
  struct state_turns wanted; /* lanes to enter before the first read, */
  uint32_t n_tried;          /* of which so many are behind it, */
  uint64_t then;             /* and that of what it reads itself, */
  state_resume_fn then_resume;
  struct state_turns *turns; /* where it says what it met; NULL: nowhere */

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
  struct commit_queue {
    struct store_commit *first, **end;
  } small, large;
  bool was_large; /* the last batch */
  bool is_closing, is_answered;
  struct lanes lanes;
  _Atomic uint16_t under_way[UNDER_WAY]; /* writes that the committer has, by their keys' hashes */
  _Atomic size_t n_unanswered;           /* of the batch that the store has */
};

/* runtime/state/txn.c */
void state_txn_destroy(struct state_txn *txn);
void state_txn_return_snapshot(struct state_txn *txn);
void state_space_digest(uint8_t out[SPACE_SIZE], const char *space);
bool state_txn_has_room(const struct state_txn *txn, size_t size, struct gw_error *err);
bool state_txn_take_snapshot(struct state_txn *txn, struct gw_error *err);
/* More keys to compare; false: too many. */
bool state_txn_count_reads(struct state_txn *txn, size_t n, struct gw_error *err);
/* Of a question that the store will answer by state_txn_on_answer. */
/* The entry of a key, made when it is new; NULL: err says why. */
struct txn_key *state_txn_key(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err);
/* The key, with an entry that stays. */
struct txn_key *state_txn_keep_key(struct state_txn *txn, struct txn_key *k, struct gw_error *err);
/* A key written again and again reuses its room, so that only what a transaction really holds counts. */
bool state_txn_reserve(struct state_txn *txn, struct txn_key *k, size_t size, struct gw_error *err);
bool state_txn_may_write(struct state_txn *txn, struct txn_key *k, struct gw_error *err);
void state_txn_mark_written(struct state_txn *txn, struct txn_key *k, bool is_delete);
int state_txn_get_key(struct state_txn *txn, struct txn_key *k, const void **value, size_t *value_size, struct gw_error *err);
/* state_txn_get and then waiting as the transaction's owner does. */
int state_txn_get_waiting(struct state_txn *txn, struct txn_key *k, const void **value, size_t *value_size, struct gw_error *err);
void state_txn_begin_ask(struct state_txn *txn);
void state_txn_on_answer(struct state_txn *txn);
bool state_txn_is_answered(const struct state_txn *txn);

/* runtime/state/seal.c: an answer that the transaction got, for its digest. */
enum read_record { READ_NOTHING, READ_VALUE, READ_PAGE, READ_EXISTS, READ_LARGE };
void state_digest_read(struct sha256 *s, enum read_record kind, const void *key, size_t key_size, const void *value, size_t size);
void state_note_read(struct state_txn *txn, enum read_record kind, const struct store_key *key, const void *value, size_t size);

/* runtime/state/reads.c: keeping them whole, */
void state_keep_read(struct state_txn *txn, uint8_t kind, const struct store_key *key, const void *value, size_t size);
void state_keep_page(struct state_txn *txn, const struct state_page *page, size_t n_new, bool is_over);
void state_keep_added(struct state_txn *txn);
/* and telling them again: fill txn->get, or the page. False: the other run did not ask for that. */
bool state_told_get(struct state_txn *txn, bool is_to_add);
bool state_told_page(struct state_txn *txn, struct state_page *page, size_t *n_new, bool *is_over, struct gw_error *err);

/* A newer snapshot for the next read. */
void state_txn_renew(struct state_txn *txn);

/* runtime/state/lane.c */
void state_lanes_init(struct lanes *lanes);
void state_lanes_clear(struct lanes *lanes);
/* A commit conflicted. */
void state_lane_heat(struct state_store *store, uint64_t hash, bool is_range);
/* The transaction is about to read; hash is the key's, or that of a scan's bounds. */
enum lane_entry state_lane_enter(struct state_txn *txn, uint64_t hash, state_resume_fn resume);
/* It waits no longer; false: its turn has come already. */
bool state_lane_unqueue(struct state_txn *txn);
void state_lane_leave(struct state_txn *txn);
/* It is about to be given to the committer: leaves lanes whose next may go on with what it has written. Those are in `next`, for
 * state_lane_resume behind that, when the transaction itself may be gone. */
int state_lane_pass(struct state_txn *txn, struct state_txn *next[MAX_LANES]);
void state_lane_resume(struct state_txn *const next[MAX_LANES], int n);
/* Its commit is over: nobody who comes now needs what it handed on. Those who have it keep it. */
void state_lane_settle(struct state_txn *txn);
void state_ahead_release(struct ahead *ahead);
/* For txn->turns: the lanes that it is in, and another's hash. */
void state_lane_note(struct state_txn *txn, uint64_t hash);

/* runtime/state/large.c */
/* The key gets another value: what it named has no name any more. */
void state_large_detach(struct txn_key *k);
/* Before a commit: forgets what was written to values without a name. */
void state_large_settle(struct state_txn *txn);

/* runtime/state/scan.c */
/* A key is written for the first time since the transaction began or was rewound. */
bool state_sorted_insert(struct state_txn *txn, struct txn_key *k, struct gw_error *err);
void state_scan_free(struct state_txn *txn);

#endif
