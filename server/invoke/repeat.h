/* Repeated requests: the answer of one with an Idempotency-Key is recorded in the commit that makes its effects durable, and
 * given again to whoever sends the same request with the same key (draft-ietf-httpapi-idempotency-key-header, docs/http.md).
 *
 * Answers lie in a space of their own for each function, beside its state: under "a" and a digest, and by time under "t". */
#ifndef SERVER_INVOKE_REPEAT_H
#define SERVER_INVOKE_REPEAT_H

#include "runtime/host/handler.h"
#include "runtime/state/state.h"
#include "server/http/exchange.h"

enum { REPEAT_DIGEST = 32 };

/* Of one request. */
struct repeat {
  bool has_key;
  uint8_t key[REPEAT_DIGEST];     /* of the header and of who sent it */
  uint8_t request[REPEAT_DIGEST]; /* of method, target, body and cookies */
};

/* How long answers are kept, and how much of them. */
struct repeat_limits {
  uint64_t keep_ms; /* 0: requests with a key are as others */
  uint64_t size;    /* bytes of each function's */
};

enum repeat_outcome {
  REPEAT_NEW,  /* it has not been asked */
  REPEAT_SAME, /* the answer is there */
  REPEAT_OTHER /* the key was another request's */
};

struct pool;
struct server_options;

uint64_t repeat_now_ms(void); /* since 1970 */
struct repeat_limits repeat_limits(const struct server_options *o);

/* Finds the request's key. False: it cannot be one, and `*why` says so. */
bool repeat_begin(struct repeat *r, const struct request *request, const char **why);
/* Looks for the record: as state_txn_get. The transaction has then read that there is none, so of two that run at the same time
 * one conflicts, and finds the other's answer when it runs again. */
int repeat_look(const struct repeat *r, struct state_txn *txn, const char *function, const void **value, size_t *size,
                struct gw_error *err);
/* What the record says; `reply` gets the answer when it is the same request's. `now_ms` since 1970. */
enum repeat_outcome repeat_read(const struct repeat *r, const void *value, size_t size, uint64_t now_ms,
                                const struct repeat_limits *limits, struct handler *reply);
/* What the record of the answer takes in the store, about. */
uint64_t repeat_size(const struct handler *reply);
/* Writes the record into the transaction that is about to be committed. */
bool repeat_record(const struct repeat *r, struct state_txn *txn, const char *function, const struct handler *reply,
                   uint64_t now_ms, struct gw_error *err);
/* An answer of the pool's function was recorded: now and then, and when many were, a worker thread sweeps. On the pool's loop. */
void repeat_recorded(struct pool *pool, const struct handler *reply);
/* Deletes answers of the function that are too old, and the oldest where they are too many. Blocks: not for loops. */
void repeat_sweep(struct state_store *store, const char *function, uint64_t now_ms, const struct repeat_limits *limits);

#endif
