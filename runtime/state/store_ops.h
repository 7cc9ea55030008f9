/* What a store of keys and values must do, seen from transactions: struct store_ops. Included by transactions and stores only.
 *
 * A store keeps values by keys in order, each with a version: a number that no two values a key ever had share, never 0. It knows
 * nothing of guests. Keys of transactions, what they wrote and read, limits and batches are the transactions' business (txn.c,
 * commit.c); checksums, the pool of snapshots, validating and making durable are the store's.
 *
 * A question is a struct that the asker keeps in place until it is answered; so asking allocates nothing. `get`, `scan`, `commit`
 * and `clear` answer by calling `done` exactly once: before they return, or later and on another thread. Nothing is locked while
 * `done` runs, and within it other operations may be called. `get` and `scan` must not block: a loop calls them. The others may.
 *
 * Every question is answered: a store that may wait for ever gives up by itself, with an error.
 *
 * Large values. One that is written by parts is a record, `is_large`, of LARGE_RECORD bytes: an id of LARGE_ID bytes that no
 * other value ever has, and its size, 32 bits, least byte first. Its bytes are values of their own, chunks, in the space whose
 * digest differs in the last bit (state_chunk_space), with keys of the id and a number, 32 bits, most significant byte first. A
 * chunk that is not there, or is short, is zeros. Transactions keep all this, but removing chunks is the store's business:
 * - A commit that writes or deletes a key where a large value is, unless `is_moved`, removes all its chunks; unless it writes one
 *   with the same id.
 * - One that writes a large value first removes its chunks from the number `kept` on.
 * The store may remove the chunks of a value later, which nobody can read any more: its id never comes again.
 * Both count towards a space's limit, what is not removed yet too unless that is what exceeds it, and clearing a space clears its
 * chunks.
 *
 * All operations are thread-safe, except that `commit` is called again only when the whole batch before is answered. */
#ifndef RUNTIME_STATE_STORE_OPS_H
#define RUNTIME_STATE_STORE_OPS_H

#include "gasworks.h"
#include "runtime/state/state.h"

#include <stdatomic.h>

enum {
  SPACE_SIZE = 24, /* digest of a space's name: nobody finds two names with one */
  LARGE_ID = 12,
  LARGE_RECORD = LARGE_ID + 4,
  CHUNK_KEY = SPACE_SIZE + LARGE_ID + 4,
};
#define CHUNKS_ALL_KEPT UINT32_MAX

struct snapshot; /* each store has its own */

/* The version that a write gets which others have read before it was stored. Of the thread that commits. */
struct store_ahead {
  uint64_t version; /* 0: not stored, perhaps never */
};

/* A key with its space's digest in front, and what a transaction did with it. */
struct store_key {
  struct store_key *next;
  const uint8_t *bytes;
  size_t size;
  bool is_read, is_written;
  bool is_delete, is_add;       /* when is_written; neither: `value` is set */
  bool is_large;                /* when it is set: it is a record */
  bool is_moved;                /* the large value that was there has another key now */
  bool is_fresh;                /* a chunk, of which nothing is there when chunks have been removed */
  uint32_t kept;                /* when is_large */
  uint64_t version;             /* when is_read: the one that was there, 0: none */
  struct store_ahead *ahead;    /* when is_read: it must be this one instead, which an earlier commit gives; NULL */
  struct store_ahead *hands_on; /* when is_written: gets the version; NULL */
  int64_t delta;                /* when is_add: for the number of 8 bytes, least first, that is there then; none is 0 */
  uint8_t *value;
  size_t value_size;
};

/* A piece of a space that was read in order. It is the same as long as it has as many keys with the same sum of digests. */
struct store_range {
  struct store_range *next;
  uint8_t *first, *end; /* with the space in front; `end` itself is behind it */
  size_t first_size, end_size;
  uint64_t n, sum;
  uint64_t hash; /* the transactions': of the bounds that it began with */
};

/* What `sum` is a sum of. The key has its space in front. */
uint64_t state_range_digest(const void *key, size_t size, uint64_t version);

/* Where the chunks of a space's large values are, and where those are whose chunks a space has. */
static inline void state_chunk_space(uint8_t out[SPACE_SIZE], const uint8_t space[SPACE_SIZE]) {
  for (int i = 0; i < SPACE_SIZE; i++) out[i] = space[i];
  out[SPACE_SIZE - 1] ^= 1;
}

/* The key of a chunk of the large value with this record or id, which is in `space`. */
static inline void state_chunk_key(uint8_t out[CHUNK_KEY], const uint8_t space[SPACE_SIZE], const uint8_t id[LARGE_ID],
                                   uint32_t number) {
  state_chunk_space(out, space);
  for (int i = 0; i < LARGE_ID; i++) out[SPACE_SIZE + i] = id[i];
  for (int i = 0; i < 4; i++) out[SPACE_SIZE + LARGE_ID + i] = (uint8_t)(number >> (24 - 8 * i));
}

static inline uint32_t state_large_record_size(const uint8_t record[LARGE_RECORD]) {
  const uint8_t *p = record + LARGE_ID;
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* All that a transaction has read. */
struct store_reads {
  const struct store_key *keys; /* those with is_read */
  const struct store_range *ranges;
  size_t n; /* keys to look at, in ranges too */
};

/* The store's own in a question, until it is answered. */
struct store_ask {
  struct store_ask *next;
  bool is_scan;
  void *place; /* where a scan that has begun goes on, or NULL */
};

struct store_get {
  struct store_ask ask; /* first, as in a scan */
  void (*done)(struct store_get *get);
  struct snapshot *snapshot;
  const struct store_key *key;
  const struct store_reads *check; /* must be the same in this snapshot, but for keys with `ahead`; NULL: no need to look */
  bool is_for_version;             /* the value itself need not be looked at */
  bool is_of_one_moment;           /* a snapshot of which it is the first must not become stale by itself */
  /* the answer */
  const void *value; /* lives until the next get on the snapshot, or its return; NULL: none, or not asked for */
  size_t value_size;
  uint64_t version;    /* 0: no value */
  bool is_large;       /* the value is a record, even when it was not asked for */
  bool is_stale;       /* `check` was not met, there is no value */
  struct gw_error err; /* zero, unless the store failed */
};

/* The keys of a space from `first` to before `end`, in order or in the opposite one. Keys here have no space in front. */
struct store_scan {
  struct store_ask ask;
  void (*done)(struct store_scan *scan);
  struct snapshot *snapshot;
  const uint8_t *space;
  const void *first, *end; /* NULL: from the first, to the last */
  size_t first_size, end_size;
  bool is_backward;
  bool is_long;                    /* `each` and `done` take long: not on the caller's thread */
  bool is_for_keys;                /* values are NULL, but have their sizes; records of large ones are there */
  const struct store_reads *check; /* as of a get */
  /* False: enough. On any thread, one call at a time. A damaged value is NULL. */
  bool (*each)(struct store_scan *scan, const void *key, size_t key_size, const void *value, size_t value_size);
  uint64_t version; /* of what `each` is called with, */
  bool is_large;    /* and whether that is a record */
  /* the answer */
  bool is_stale; /* `check` was not met, nothing was scanned */
  struct gw_error err;
};

/* One transaction of a batch. */
struct store_commit {
  struct store_commit *next;
  const uint8_t *space;
  uint64_t began; /* what `moment` said then */
  uint64_t limit; /* bytes that the space may come to take by it; 0: any number */
  const struct store_key *keys;
  const struct store_range *ranges;
  struct state_seal *seal; /* NULL: none */
  bool is_unsealed;        /* FAILED, because the seal could not be made */
  /* Once for each, in any order. err is set when FAILED. The question is gone afterwards. */
  void (*done)(struct store_commit *commit, enum state_outcome outcome, const struct gw_error *err);
  /* When it conflicted: what had changed first, if the store can tell. */
  const struct store_key *changed_key;
  const struct store_range *changed_range;
  enum state_outcome outcome; /* the store's own, for its use until then; FAILED: the limit */
  uint32_t place;             /* likewise */
};

/* A space that is no function's, for stores: what they still have to remove. */
void state_garbage_space(uint8_t out[SPACE_SIZE]);

/* What a space takes and has cost, as stores keep it: the value of the key that is the space's digest alone. Each commit and each
 * clear that changes something brings it up to date in the same transaction, so that it is exact: what the space took between two
 * commits, times the seconds between them, is in `rent` once. It outlives a clear. */
struct store_use {
  uint64_t bytes;     /* of keys and values, with what a store adds to each */
  uint64_t since;     /* seconds since 1970: `rent` is right until then */
  uint64_t rent;      /* byte-seconds */
  uint64_t receipted; /* of that, how much receipts tell of */
};

/* The present time, for those below. */
uint64_t state_use_now(void);
/* From what is stored. False: `bytes` must be counted. */
bool state_use_read(struct store_use *use, const void *value, size_t size, uint64_t now);
/* Brings `rent` up to date. A clock that goes backwards adds nothing, and nothing twice when it comes to where it was. */
void state_use_settle(struct store_use *use, uint64_t now);
/* Before a commit's seal is made, and behind it. */
void state_use_tell(const struct store_use *use, struct state_seal *seal);
void state_use_told(struct store_use *use);

/* The space where seals are, by index, the greatest byte first. */
void state_seal_space(uint8_t out[SPACE_SIZE]);
/* Calls the seal's `make`; false: is_unsealed is set. */
bool state_seal_make(struct store_commit *commit);

struct store_clear {
  void (*done)(struct store_clear *clear);
  const uint8_t *space;
  const struct store_key *also; /* a key of another space, removed in the same transaction; NULL: none */
  struct gw_error err;
};

/* The first member of every store. */
struct store {
  const struct store_ops *ops;
  atomic_bool is_away; /* set by the store while it cannot be reached */
  bool is_shared;      /* other processes write to it, too */
  char node[33];       /* then: which one this is, in digits; else "" */
};

struct store_ops {
  /* Answers all that was asked, and frees the store. */
  void (*close)(struct store *self);
  /* A number for the transactions that begin now: a clear conflicts with those that began before it. It may be old, then they
   * conflict for nothing. Does not block. */
  uint64_t (*moment)(const struct store *self);
  /* A view of one moment, the store's until `give_back`, which must come after the answers to all that was asked of it. NULL
   * with err set. Both do not block: a store that must ask somebody does that with the first get. */
  struct snapshot *(*take)(struct store *self, struct gw_error *err);
  void (*give_back)(struct store *self, struct snapshot *snapshot);
  void (*get)(struct store *self, struct store_get *get);
  void (*scan)(struct store *self, struct store_scan *scan);
  /* For each transaction, in order: when no space of its own or of what it writes was cleared since it began and all that it read
   * has the same version still, and its ranges are the same, earlier ones of the batch included, and where it adds there is
   * nothing or 8 bytes, what it wrote is stored, durably before `done`; else it conflicts. One that fails, for its limit or
   * otherwise, fails alone. */
  void (*commit)(struct store *self, struct store_commit *first);
  /* All of it to a descriptor, of one moment. Blocks. */
  bool (*copy)(struct store *self, int fd, struct gw_error *err);
  /* Deletes all keys of the space. */
  void (*clear)(struct store *self, struct store_clear *clear);
};

/* Transactions on a store, which is closed with them, or at once when this fails. */
struct state_store *state_store_create(struct store *store, struct gw_error *err);

#endif
