/* State: each function's ordered key-value space, and one transaction per invocation.
 *
 * An invocation reads a snapshot and buffers its writes; commit hands reads and writes to the store's committer, which validates
 * that nothing read has changed, applies the writes, makes them durable (many transactions share one sync) and answers. */
#ifndef RUNTIME_STATE_STATE_H
#define RUNTIME_STATE_STATE_H

#include "base/buffer.h"
#include "base/sha256.h"
#include "gasworks.h"

enum {
  STATE_MAX_KEY = 480,
  STATE_MAX_VALUE = 1 << 20,
  STATE_MAX_WRITES = 16384, /* keys that a transaction may write, */
  STATE_MAX_READS = 100000, /* and read, each time that a scan meets one included */
  STATE_PENDING = 2,
  STATE_CHUNK = 4096,        /* bytes of a large value that are stored together */
  STATE_MAX_LARGE = 1 << 30, /* bytes of one */
  STATE_MAX_READING_MS = 10000,
};

struct state_store; /* one per process, thread-safe */
struct state_txn;   /* one per invocation, one thread at a time */

enum state_outcome { STATE_COMMITTED, STATE_CONFLICT, STATE_FAILED };

/* Called on the committer's thread, exactly once per state_txn_commit; must not block. err is set when FAILED. */
typedef void (*state_done_fn)(void *arg, enum state_outcome outcome, const struct gw_error *err);

/* An LMDB environment in `directory` (made if missing). `sync`: commits survive a power failure, not only kill -9. */
struct state_store *state_store_open(const char *directory, size_t map_size, bool sync, struct gw_error *err);
/* To read only, beside a server that has the directory open: another process must have made it. What is committed meanwhile is
 * seen by transactions that begin later. */
struct state_store *state_store_open_to_read(const char *directory, struct gw_error *err);
/* On a PostgreSQL server, which several processes share: docs/cluster.md. */
struct state_postgres {
  const char *url;      /* postgres://..., as libpq reads it */
  uint32_t connections; /* that read; one more writes */
  uint32_t wait_ms;     /* for the server, before opening fails */
  uint8_t node[16];     /* no two processes at one time, and always the same with the same log of receipts: state_node_read */
  bool is_durable;      /* as `sync` */
};
struct state_store *state_store_open_postgres(const struct state_postgres *options, struct gw_error *err);
/* Random bytes that are kept in the file, and made where there is none. */
bool state_node_read(const char *path, uint8_t node[16], struct gw_error *err);
/* Other processes may write to it while this one has it open. */
bool state_store_is_shared(const struct state_store *store);
/* Which of them this is, for what each keeps for itself; "": the only one. */
const char *state_store_node(const struct state_store *store);
/* The store cannot be reached just now: what it is asked fails with GW_ERROR_UNAVAILABLE. Any thread. */
bool state_store_is_away(const struct state_store *store);
/* The file of a store as it is at one moment, without what is free in it, to a descriptor: it becomes data.mdb of another
 * directory. Writers go on meanwhile. */
bool state_store_copy(struct state_store *store, int fd, struct gw_error *err);
/* Waits for all that the store was asked. Every transaction must be over: committed or aborted. */
void state_store_close(struct state_store *store);

/* `space` names the function's own key space (at most 128 bytes); copied. The snapshot is taken at the first read. */
struct state_txn *state_txn_begin(struct state_store *store, const char *space);
/* Its commit fails with GW_ERROR_LIMIT when the space grows by it and then takes more than so many bytes; 0: any number. Counted
 * are keys and values, with 40 bytes for each pair. */
void state_txn_limit(struct state_txn *txn, uint64_t bytes);
/* Keys are those of another space from here on, of the same tenant's; NULL: of its own again. They do not count towards the
 * limit. */
void state_txn_in(struct state_txn *txn, const char *space);
/* It will likely write nothing: it need not wait where others queue for a key (lane.c). If it does write, it may conflict. */
void state_txn_expect_no_writes(struct state_txn *txn);
/* All that it reads is of one moment, and it can write nothing (GW_ERROR_FORBIDDEN). So it meets no conflict, waits in no lane
 * and keeps no record of what it reads. It keeps its snapshot until it ends, but a slice that ends after STATE_MAX_READING_MS
 * gives it up, and what is read then fails. Said before it reads anything. */
void state_txn_only_reads(struct state_txn *txn);
bool state_txn_is_for_reading(const struct state_txn *txn);
/* In lanes it may go on with what the one before has written, when that is under way to the disk, and then conflicts if that
 * fails. Before its commit nothing that came of it may be told to anybody, also where it wrote nothing, or failed. Its commit may
 * conflict at once, `done` being called on this thread, where somebody before it is about to write what it has read. */
void state_txn_run_ahead(struct state_txn *txn);
bool state_txn_has_run_ahead(const struct state_txn *txn);
/* What a transaction that conflicted had met, for the next attempt at the same: it queues for all of that before it reads, in an
 * order that all keep, and so cannot lose again to who reads the same keys in another order. Zeroed before the first attempt. */
struct state_turns {
  uint32_t n;
  uint64_t hashes[4]; /* ascending */
};
/* `turns` outlives the transaction, and its commit adds to it on a conflict, before `done` is called. */
void state_txn_take_turns(struct state_txn *txn, struct state_turns *turns);
/* The same for one that is stale, before it is aborted. */
void state_txn_note_turns(struct state_txn *txn);
/* 1 found (`*value` valid until the next call on txn), 0 not found, -1 failed. Sees the transaction's own writes. STATE_PENDING:
 * the store answers later; until then only state_txn_await and state_txn_abort may be called on txn. */
int state_txn_get(struct state_txn *txn, const void *key, size_t key_size, const void **value, size_t *value_size,
                  struct gw_error *err);
/* Once after STATE_PENDING: `wake` is called exactly once, when the answer is there. That may be now, on this thread, or on
 * another; it must not block. It is called even when txn was aborted meanwhile, which forgets the answer. */
typedef void (*state_wake_fn)(void *arg);
void state_txn_await(struct state_txn *txn, state_wake_fn wake, void *arg);
/* After `wake`: what state_txn_get could not say; never STATE_PENDING. */
int state_txn_answer(struct state_txn *txn, const void **value, size_t *value_size, struct gw_error *err);
/* state_txn_get for threads that may block. */
int state_txn_get_wait(struct state_txn *txn, const void *key, size_t key_size, const void **value, size_t *value_size,
                       struct gw_error *err);
bool state_txn_set(struct state_txn *txn, const void *key, size_t key_size, const void *value, size_t value_size,
                   struct gw_error *err);
bool state_txn_delete(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err);
/* Whether the key has a value: 1, 0, -1 failed or STATE_PENDING, and then state_txn_answer says it. */
int state_txn_exists(struct state_txn *txn, const void *key, size_t key_size, struct gw_error *err);
/* Adds to the number that the key's 8 bytes are, least first, modulo 2^64; no value is 0. That reads nothing, so it conflicts
 * with no other write: what is there at the commit is added to. 1 done, -1 failed (the value has another size), or STATE_PENDING,
 * and then state_txn_add_answer says it. */
int state_txn_add(struct state_txn *txn, const void *key, size_t key_size, int64_t delta, struct gw_error *err);
int state_txn_add_answer(struct state_txn *txn, struct gw_error *err);
/* state_txn_add for threads that may block. */
int state_txn_add_wait(struct state_txn *txn, const void *key, size_t key_size, int64_t delta, struct gw_error *err);

/* --- large values
 *
 * A value may also be read and written by parts. From the first such write on it is stored in chunks, each of which is read,
 * compared and written by itself. All these functions may have to wait for the store. */

/* How the owner waits: until an answer that state_txn_await tells of. */
typedef void (*state_wait_fn)(void *arg, struct state_txn *txn);
/* NULL, and unless told: it blocks. */
void state_txn_on_wait(struct state_txn *txn, state_wait_fn wait, void *arg);

/* A value opened: the transaction's, until that ends or is rewound. It stays what it is when its key gets another value. */
struct state_large;
/* 1, 0: no value, -1 failed. `makes`: there is an empty one then, and the answer is 1. */
int state_large_open(struct state_txn *txn, const void *key, size_t key_size, bool makes, struct state_large **out,
                     struct gw_error *err);
/* A new empty one in its place, whatever is there. */
bool state_large_create(struct state_txn *txn, const void *key, size_t key_size, struct state_large **out, struct gw_error *err);
uint64_t state_large_size(const struct state_large *large);
/* A number that no other value of the space has, as long as it is not replaced. */
uint64_t state_large_number(const struct state_large *large);
/* Chunks that the transaction has written. */
uint64_t state_large_n_written(const struct state_large *large);
/* It is a single record so far, as others set it. */
bool state_large_is_one(const struct state_large *large);
bool state_large_has_key(const struct state_large *large);
/* What lies within the value. */
bool state_large_read(struct state_txn *txn, struct state_large *large, uint64_t offset, void *out, size_t n,
                      struct gw_error *err);
/* Beyond the end it grows, and what lies between is zeros. On an error some of the first bytes within its size may be
 * written, and nothing behind it. */
bool state_large_write(struct state_txn *txn, struct state_large *large, uint64_t offset, const void *bytes, size_t n,
                       struct gw_error *err);
bool state_large_resize(struct state_txn *txn, struct state_large *large, uint64_t size, struct gw_error *err);
/* The value that has a key gets another one, and what was there none. */
bool state_large_move(struct state_txn *txn, struct state_large *large, const void *key, size_t key_size, struct gw_error *err);
/* After a get or an answer that found something: it is a large value, and what was found says nothing to others. */
bool state_txn_found_large(const struct state_txn *txn);

/* Keys from `first` to before `end` in order, or backwards. A bound of 0 bytes is none. */
struct state_range {
  const void *first, *end;
  size_t first_size, end_size;
  bool is_backward, is_for_keys; /* without the values, but with their sizes */
};

/* Some of a scan's pairs: for each the sizes of key and value as 32-bit numbers, least byte first, then key and value. Of a large
 * value there is the size alone, with STATE_LARGE_BIT. */
#define STATE_LARGE_BIT ((uint32_t)1 << 31)
struct state_page {
  const uint8_t *bytes; /* until the next call on the transaction */
  size_t size;
  uint32_t n_pairs;
  uint32_t n_met;   /* keys that were met, those that are not in `bytes` included: deleted ones, and what had no room */
  uint64_t n_units; /* of 16 bytes, or part of them, of their values, unless it is for keys */
  size_t needed;    /* by the next pair, which has no room; else 0 */
  bool is_last;     /* the scan has ended */
};

/* Begins a scan, which sees the transaction's own writes. What lies between its bounds, or between the first and the last key met
 * where it goes no further, must be the same at the commit: keys that appear there conflict, too. */
bool state_txn_scan(struct state_txn *txn, const struct state_range *range, struct gw_error *err);
/* The next pairs, at most `most` and no more than `room` bytes: 1, -1 failed, or STATE_PENDING, and then
 * state_txn_scan_answer says it. A page has about 64 KiB and one pair at most. Writes between pages are seen or not. */
int state_txn_scan_next(struct state_txn *txn, uint32_t most, size_t room, struct state_page *page, struct gw_error *err);
/* For threads that may block. */
int state_txn_scan_next_wait(struct state_txn *txn, uint32_t most, size_t room, struct state_page *page, struct gw_error *err);
int state_txn_scan_answer(struct state_txn *txn, struct state_page *page, struct gw_error *err);
bool state_txn_is_read_only(const struct state_txn *txn);
/* Between two slices of an invocation: a snapshot that is old is given up, so that the file need not keep what others overwrite.
 * The next read takes a newer one, if nothing that was read has changed; else it fails, and the transaction is stale: only
 * running the invocation again helps. */
void state_txn_refresh(struct state_txn *txn);
bool state_txn_is_stale(const struct state_txn *txn);
/* It failed because the store could not be reached: the same may succeed later. */
bool state_txn_is_away(const struct state_txn *txn);
/* Consumes txn. A transaction that wrote nothing has read one snapshot and needs no validation: done is called at once, on this
 * thread; unless it has run ahead. */
void state_txn_commit(struct state_txn *txn, state_done_fn done, void *arg);
/* Forgets what was written: the invocation runs again, on the same snapshot. */
void state_txn_rewind(struct state_txn *txn);
/* Consumes txn, nothing happened. A get may be pending. */
void state_txn_abort(struct state_txn *txn);

/* state_txn_commit for threads that may block; err is set when FAILED. */
enum state_outcome state_txn_commit_outcome(struct state_txn *txn, struct gw_error *err);
/* The same of a transaction that only wrote: whether it is committed. */
bool state_txn_commit_wait(struct state_txn *txn, struct gw_error *err);

/* What a commit stores beside the transaction's keys, in the same transaction of the store: a receipt of it. */
struct state_seal {
  /* On the store's thread, when nothing stands against the commit any more; only the store itself may still fail. With SHA-256 of
   * what was written; fills in the rest. False: the commit fails, because there can be no receipt. Called again when the store
   * tries again. */
  bool (*make)(struct state_seal *seal, const uint8_t written[SHA256_SIZE]);
  uint64_t rent;  /* set before `make`: byte-seconds of the space since the seal before */
  uint64_t index; /* by which it is stored */
  const void *bytes;
  size_t size;
  uint64_t settled; /* those with a lower index are not needed any more */
};
/* `seal` outlives the commit. A transaction that wrote nothing is not sealed. */
void state_txn_seal(struct state_txn *txn, struct state_seal *seal);
/* What is stored so, by ascending index. */
typedef bool (*state_each_seal_fn)(void *arg, uint64_t index, const void *bytes, size_t size);
bool state_each_seal(struct state_store *store, state_each_seal_fn each, void *arg, struct gw_error *err);
/* They are of a log that is not here any more. Blocks. */
bool state_forget_seals(struct state_store *store, struct gw_error *err);
/* SHA-256 of what the transaction has read so far (docs/receipts.md); false: nothing. */
bool state_txn_read_digest(const struct state_txn *txn, uint8_t out[SHA256_SIZE]);

/* What a space takes, and what it has taken, in bytes times seconds, until now; all zero where there never was something. Exact
 * at each commit, clears included. */
struct state_use {
  uint64_t bytes;
  uint64_t rent;      /* byte-seconds */
  uint64_t receipted; /* of that, how much was told to seals */
};
/* Blocks. */
bool state_read_use(struct state_store *store, const char *space, struct state_use *use, struct gw_error *err);

/* --- reads that are kept
 *
 * What a transaction read can be kept whole, and told to a transaction of another run instead of a store (docs/replay.md). */

/* What ids of large values are made from. */
struct state_id_seed {
  bool is_there;
  uint8_t bytes[16];
};
/* From here on, up to so many bytes. */
void state_txn_keep_reads(struct state_txn *txn, size_t limit);
/* What was kept, in exchange for the buffer's memory; false: it was more than the limit. Then nothing is kept any more. */
bool state_txn_take_reads(struct state_txn *txn, struct buffer *out, struct state_id_seed *seed);
/* Of kept reads what state_txn_read_digest says of the transaction; false: they are no such bytes. */
bool state_reads_digest(const void *bytes, size_t size, uint8_t out[SHA256_SIZE]);
/* Whether their first is of a key of the space. */
bool state_reads_begin_in(const void *bytes, size_t size, const char *space);
/* A store of nothing, for transactions that are told. */
struct state_store *state_store_open_told(struct gw_error *err);
/* The transaction, which has just begun, reads these. `is_strict`: in their order, and nothing else; otherwise a key may be asked
 * for at any time. They outlive it. */
void state_txn_tell(struct state_txn *txn, const void *bytes, size_t size, const struct state_id_seed *seed, bool is_strict);
/* It asked for what the other run had not read, and was refused. */
bool state_txn_has_parted(const struct state_txn *txn);
/* Whether it has asked for all of them. */
bool state_txn_is_told_all(const struct state_txn *txn);
/* SHA-256 of what it would write, as its seal would have it; false: nothing. The transaction can only be aborted then. */
bool state_txn_written_digest(struct state_txn *txn, uint8_t out[SHA256_SIZE]);

/* Synchronous forms for the registry and tests: each one durable transaction. They block, so not on a loop. */
bool state_put(struct state_store *store, const char *space, const void *key, size_t key_size, const void *value,
               size_t value_size, struct gw_error *err);
bool state_remove(struct state_store *store, const char *space, const void *key, size_t key_size, struct gw_error *err);
/* The same of what other processes keep in memory, where the store is shared: state_read_changes tells them. */
bool state_put_for_all(struct state_store *store, const char *space, const void *key, size_t key_size, const void *value,
                       size_t value_size, struct gw_error *err);
bool state_remove_for_all(struct state_store *store, const char *space, const void *key, size_t key_size, struct gw_error *err);
/* What the transaction writes is such; or something was, that no transaction wrote. */
bool state_txn_tell_others(struct state_txn *txn, struct gw_error *err);
bool state_tell_others(struct state_store *store, struct gw_error *err);
/* A number that is another one when others were told of something. */
bool state_read_changes(struct state_store *store, uint64_t *number, struct gw_error *err);
/* Deletes every key of the space. Transactions of the space that began before will conflict, whatever they read. */
bool state_clear(struct state_store *store, const char *space, struct gw_error *err);
/* The same and state_remove of a key of another space, in one transaction. */
bool state_clear_and_remove(struct state_store *store, const char *space, const char *other, const void *key, size_t key_size,
                            struct gw_error *err);
/* Calls `each` in key order until it returns false. A damaged value is NULL; a large one has STATE_LARGE_BIT in its size, and no
 * bytes. */
typedef bool (*state_each_fn)(void *arg, const void *key, size_t key_size, const void *value, size_t value_size);
bool state_each(struct state_store *store, const char *space, state_each_fn each, void *arg, struct gw_error *err);
/* The same, and then all bytes of large values at the same moment, in pieces, of an empty one a piece of 0 bytes.
 * A piece of which nothing is stored is NULL: it is zeros. */
typedef bool (*state_piece_fn)(void *arg, const void *key, size_t key_size, uint64_t size, uint64_t offset, const void *bytes,
                               size_t n);
bool state_each_piece(struct state_store *store, const char *space, state_each_fn each, state_piece_fn piece, void *arg,
                      struct gw_error *err);

#endif
