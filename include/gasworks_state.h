/* State and requests for embedders: an ordered key-value store on disk, transactions on it, and functions written for the
 * `handle` interface (docs/interface.md), each of whose invocations is one transaction.
 *
 *   struct gw_state *state = gw_state_open("data", NULL, &err);
 *   struct gw_exchange *exchange = gw_exchange_create(&err);
 *   struct gw_instance *instance = gw_instance_create(store, module, gw_exchange_resolve, exchange, &err);
 *   struct gw_reply reply;
 *   bool ok = gw_exchange_run(exchange, instance, state, "counter", &(struct gw_request){.path = "/hits"}, &reply, &err);
 *
 * Transactions are serializable: what one has read is compared at its commit, ranges included, and where something has changed it
 * has had no effect and runs again. A commit is durable when it returns; many share one sync.
 *
 * Threads: a state may be used by many threads at once, a transaction and an exchange by one at a time. Functions block where the
 * store has to read or to sync. Errors as in gasworks.h. */
#ifndef GASWORKS_STATE_H
#define GASWORKS_STATE_H

#include "gasworks.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define GW_STATE_MAX_SPACE 128       /* bytes of a space's name */
#define GW_STATE_MAX_KEY 480         /* bytes of a key */
#define GW_STATE_MAX_VALUE (1 << 20) /* bytes that are set at once; by parts a value grows up to */
#define GW_STATE_MAX_LARGE (1 << 30) /* so many */
#define GW_STATE_MOST_ATTEMPTS 16    /* of an invocation that meets conflicts */

/* --- state -------------------------------------------------------------------------------------------------------- */

struct gw_state;

struct gw_state_options {
  uint64_t max_bytes;   /* the file grows up to so many; 0: 64 GiB */
  bool survives_kill;   /* commits survive the end of the process only, not a power failure: they do not wait for the disk */
  uint64_t reserved[6]; /* zero */
};

/* An LMDB environment in a directory, which is made if it is missing. One process has it open at a time. options may be NULL. */
struct gw_state *gw_state_open(const char *directory, const struct gw_state_options *options, struct gw_error *err);
/* Waits for what is under way. Every transaction must be over. NULL is allowed. */
void gw_state_close(struct gw_state *state);
/* A copy of the file as it is at one moment, to a descriptor: data.mdb of another directory. Writers go on meanwhile. */
bool gw_state_backup(struct gw_state *state, int fd, struct gw_error *err);
/* Deletes every key of a space, in one transaction. */
bool gw_state_clear(struct gw_state *state, const char *space, struct gw_error *err);

/* --- transactions ------------------------------------------------------------------------------------------------- */

struct gw_txn;

/* On a space of keys, each of which is apart from the others; the name is copied. It sees one moment of the space, that of its
 * first read, and its own writes. It waits for no other one, so a thread may have several. */
struct gw_txn *gw_txn_begin(struct gw_state *state, const char *space, struct gw_error *err);
/* 1: found, and *value is valid until the next call on txn; 0: no such key; -1: failed. A value that was written by parts is put
 * together, so that *size may be GW_STATE_MAX_LARGE. */
int gw_txn_get(struct gw_txn *txn, const void *key, size_t key_size, const void **value, size_t *size, struct gw_error *err);
bool gw_txn_set(struct gw_txn *txn, const void *key, size_t key_size, const void *value, size_t size, struct gw_error *err);
bool gw_txn_delete(struct gw_txn *txn, const void *key, size_t key_size, struct gw_error *err);
/* Adds to the number that the key's 8 bytes are, least first, modulo 2^64; no value is 0. It conflicts with no other addition. */
bool gw_txn_add(struct gw_txn *txn, const void *key, size_t key_size, int64_t delta, struct gw_error *err);

/* Parts of a value. Only the pieces of 4 KiB that they touch are stored and compared. What lies beyond the end is not read: *n
 * bytes become those there were. Writing beyond it leaves zeros between. */
bool gw_txn_read(struct gw_txn *txn, const void *key, size_t key_size, uint64_t offset, void *out, size_t *n,
                 struct gw_error *err);
bool gw_txn_write(struct gw_txn *txn, const void *key, size_t key_size, uint64_t offset, const void *bytes, size_t n,
                  struct gw_error *err);

/* Keys from `first` to before `end` in the order of their bytes; a bound of 0 bytes is none. */
struct gw_range {
  const void *first, *end;
  size_t first_size, end_size;
  bool is_backward;
  uint64_t reserved[3]; /* zero */
};

/* A value that was written by parts comes as NULL, with its size. False ends the scan. No calls on the transaction. */
typedef bool (*gw_pair_fn)(void *env, const void *key, size_t key_size, const void *value, size_t size);
/* range may be NULL: all keys. Keys that appear between its bounds before the commit conflict, too. */
bool gw_txn_scan(struct gw_txn *txn, const struct gw_range *range, gw_pair_fn fn, void *env, struct gw_error *err);

enum gw_outcome { GW_COMMITTED, GW_CONFLICT, GW_FAILED };
/* Consumes txn, and returns when it is durable. GW_CONFLICT: somebody else changed what it has read, and nothing happened: do it
 * again. err is set with GW_FAILED. */
enum gw_outcome gw_txn_commit(struct gw_txn *txn, struct gw_error *err);
/* Consumes txn: nothing happened. NULL is allowed. */
void gw_txn_abort(struct gw_txn *txn);

/* Runs fn and commits, up to GW_STATE_MOST_ATTEMPTS times while there are conflicts. What conflicted once queues for the same
 * keys, so a counter that many count is counted by one after another. False: fn said so, with err set, or the commit failed. What
 * fn is told may be a conflict already, so where a call fails it returns false, and runs again. Others may queue behind it, so fn
 * waits for none of them: it calls neither this nor gw_exchange_run for the same state, nor does a host function of a run. */
typedef bool (*gw_transact_fn)(void *env, struct gw_txn *txn, struct gw_error *err);
bool gw_state_transact(struct gw_state *state, const char *space, gw_transact_fn fn, void *env, struct gw_error *err);

/* /state of a WASI program that was made with has_state is in this transaction until the next reset, or until it is NULL. Without
 * one every call there is ENODEV. */
void gw_wasi_use_state(struct gw_wasi *wasi, struct gw_txn *txn);

/* --- requests: what module "gasworks" is for a guest ---------------------------------------------------------------- */

struct gw_header {
  const char *name, *value;
};

/* All strings outlive the invocation. NULL: GET, "/", no query; `target` is path and query as they were sent, or NULL. */
struct gw_request {
  const char *method, *path, *query, *target;
  const struct gw_header *headers;
  size_t n_headers;
  const void *body;
  size_t body_size;
  bool only_reads;      /* it can write no state, and so meets no conflict */
  uint64_t reserved[6]; /* zero */
};

/* The exchange's, until its next run or its end. */
struct gw_reply {
  uint32_t status;
  const char *headers; /* "Name: value\r\n" lines */
  size_t headers_size;
  const void *body;
  size_t body_size;
  const void *log; /* lines that the function logged */
  size_t log_size;
  uint32_t n_attempts; /* 1 without conflicts */
};

/* One request and its reply, for one instance at a time. */
struct gw_exchange;

struct gw_exchange *gw_exchange_create(struct gw_error *err);
/* The instances that import from it must not run any more. What is under way in it writes nothing, but a commit that has begun is
 * waited for. NULL is allowed. */
void gw_exchange_destroy(struct gw_exchange *exchange);
/* A gw_resolve_fn; env is the struct gw_exchange. For imports of module "gasworks". */
bool gw_exchange_resolve(void *exchange, const struct gw_import *import, struct gw_extern *out);
/* One invocation: resets the instance, calls its start function and its export `_initialize` (if there are such), and `handle`,
 * and commits what was written, up to GW_STATE_MOST_ATTEMPTS times while there are conflicts. gw_store_gas_used is what the last
 * attempt cost, instance, start function and initialiser included; the store's limits are of all that. On a trap nothing is
 * written. state may be NULL: then a function that asks for state traps. request may be NULL. */
bool gw_exchange_run(struct gw_exchange *exchange, struct gw_instance *instance, struct gw_state *state, const char *space,
                     const struct gw_request *request, struct gw_reply *reply, struct gw_error *err);

/* The same in steps, for event loops: start, then resume until it is done or has failed, which fills *reply. Parked: resume again
 * when `wake` was called. While it commits, it is parked. */
bool gw_exchange_start(struct gw_exchange *exchange, struct gw_instance *instance, struct gw_state *state, const char *space,
                       const struct gw_request *request, struct gw_error *err);
enum gw_status gw_exchange_resume(struct gw_exchange *exchange, struct gw_reply *reply, struct gw_error *err);
/* For invocations that start from now on, which take the store's wake: as gw_store_set_wake. */
void gw_exchange_set_wake(struct gw_exchange *exchange, void (*wake)(void *arg), void *arg);
/* Blocks until one that is parked can be resumed. */
void gw_exchange_wait(struct gw_exchange *exchange);
/* Ends what is under way, which writes nothing; but a commit that has begun is waited for. */
void gw_exchange_cancel(struct gw_exchange *exchange);
/* Whether its commit is under way: whoever wants to know if that succeeds resumes it instead of cancelling. */
bool gw_exchange_is_committing(const struct gw_exchange *exchange);
/* Within a host function of a run: its transaction, to read and write in it; NULL: there is none. Not to be committed. */
struct gw_txn *gw_exchange_txn(struct gw_exchange *exchange);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
