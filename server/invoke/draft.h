/* The receipt of one invocation while it is being written (docs/receipts.md). Of its loop, except what says otherwise. */
#ifndef SERVER_INVOKE_DRAFT_H
#define SERVER_INVOKE_DRAFT_H

#include "runtime/debug/record.h"
#include "runtime/receipt/receipt.h"
#include "runtime/state/state.h"
#include "server/function/slot.h"
#include "server/http/exchange.h"

/* From so many bytes on, a worker thread makes the digest: half a millisecond's work without instructions for it. */
enum { DRAFT_LARGE = 128 << 10 };

struct draft {
  struct state_seal seal;  /* first */
  struct receipt_log *log; /* NULL: there are no receipts here */
  struct receipt_chain *chain;
  bool is_due;      /* the function has begun: there must be a receipt */
  bool is_made;     /* the leaf stands in the log */
  bool is_stored;   /* it is in the state store, too */
  bool is_reserved; /* its index is given out, to be settled when the commit is over */
  bool has_request, has_reply, has_read;
  uint8_t request[SHA256_SIZE], reply[SHA256_SIZE], read[SHA256_SIZE], host[SHA256_SIZE], written[SHA256_SIZE],
      module[SHA256_SIZE];
  struct buffer request_head;   /* what its digest is of, but for the body */
  const struct leaf_head *head; /* of the slot; NULL: all is in `leaf` */
  struct leaf leaf;
  uint8_t bytes[LEAF_MAX];
  struct receipt_place place;
  struct tree_hash hash;
};

/* How the invocation ended, for its leaf. */
struct draft_facts {
  enum leaf_outcome outcome;
  const char *function; /* its full name */
  struct slot *slot;    /* NULL: it was in none */
  const struct record *record;
  enum gw_trap trap; /* of TRAPPED */
  uint32_t status;   /* 0: no reply */
  uint64_t gas;
  uint64_t sent;   /* bytes of the function's reply: headers and body */
  uint64_t cpu_ns; /* of the run that counts; of the judge's, too */
};

/* All zero, or as it was left. */
void draft_begin(struct draft *d, struct receipt_log *log);
void draft_clear(struct draft *d);
/* Digests; on any thread. */
void draft_hash_request(struct draft *d, const struct request *request);
void draft_hash_reply(struct draft *d, const struct handler *reply);
/* Of what was read, when the transaction goes before the receipt is made. */
void draft_keep_read(struct draft *d, const struct state_txn *txn);
/* Before the commit, which stores the leaf together with what was written; without `txn` nothing is stored. */
void draft_prepare(struct draft *d, const struct draft_facts *facts, struct state_txn *txn);
/* The commit is over. */
void draft_settle(struct draft *d, bool is_committed);
/* There was no commit, or none that made a leaf. False: there is no room for it. */
bool draft_finish(struct draft *d, const struct draft_facts *facts, const struct state_txn *txn);
/* The leaf alone, of a run that is in no log. */
void draft_make(struct draft *d, const struct draft_facts *facts, struct state_txn *txn);
/* "LOG/INDEX/HASH" of what is made. */
void draft_print(const struct draft *d, char out[EXCHANGE_RECEIPT_SIZE]);

#endif
