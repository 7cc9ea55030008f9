/* The log of receipts: leaves by index, their tree, and a signed checkpoint every second (docs/receipts.md).
 *
 * An index is given out by `receipt_log_reserve`, in one order for the process, and with it a place in a mapped file. Who fills
 * the place needs no system call, and what stands there survives the process. The log's own thread hashes what is filled, syncs
 * and signs. What was reserved and is not filled when the process dies becomes void, so the tree has no holes; a leaf that is
 * stored together with state is filled from there (`struct receipt_kept`).
 *
 * Any thread, unless it says otherwise. */
#ifndef RUNTIME_RECEIPT_RECEIPT_H
#define RUNTIME_RECEIPT_RECEIPT_H

#include "base/buffer.h"
#include "gasworks/error.h"
#include "runtime/receipt/leaf.h"
#include "runtime/receipt/note.h"
#include "runtime/receipt/tree.h"

struct receipt_log;

/* The leaves of one function, one behind the other. The log's, as long as that. */
struct receipt_chain;

struct receipt_options {
  const char *directory; /* made if missing */
  const char *origin;    /* of a new log; NULL: a random one */
  uint64_t keep_bytes;   /* of leaves, beyond which the oldest are forgotten; 0: none is */
  uint64_t keep_seconds; /* likewise by age */
  uint32_t period_ms;    /* from checkpoint to checkpoint */
};

/* A leaf that was stored elsewhere, in the same transaction as what it tells of. */
struct receipt_kept {
  uint64_t index;
  const uint8_t *bytes;
  size_t size;
};

enum { RECEIPT_ID_SIZE = 17 /* of a log: 16 hexadecimal digits, the first of SHA-256 of its origin, and a 0 */ };

/* Whether a log is there: each has a checkpoint before its first leaf. */
bool receipt_log_exists(const char *directory);
/* Opens or makes the log, and finishes what a crash has interrupted. `kept` ascends by index; for a new log there is none.
 * Blocks. */
struct receipt_log *receipt_log_open(const struct receipt_options *options, const struct receipt_kept *kept, size_t n_kept,
                                     struct gw_error *err);
/* With a last checkpoint. Everything that was reserved must be filled. NULL is allowed. Blocks. */
void receipt_log_close(struct receipt_log *log);

const char *receipt_log_id(const struct receipt_log *log);
/* Of a log of that origin. */
void receipt_log_id_of(const char *origin, char id[RECEIPT_ID_SIZE]);
const char *receipt_log_directory(const struct receipt_log *log);

/* Of the function of that full name. */
struct receipt_chain *receipt_log_chain(struct receipt_log *log, const char *function);
/* The index of its newest leaf, which need not be filled yet; false: it has none. */
bool receipt_log_last(struct receipt_log *log, const char *function, uint64_t *index);

/* Indices from here on are not given out yet. */
uint64_t receipt_log_end(struct receipt_log *log);

/* Whether there is room for some more leaves. If not, `receipt_log_reserve` will soon fail. */
bool receipt_log_has_room(const struct receipt_log *log);
/* If not: whether it is because a sync has failed, so that there will be none until the log is opened again; and whether because
 * the system has had no descriptors or memory for syncs for some seconds, which passes. */
bool receipt_log_has_failed(struct receipt_log *log);
bool receipt_log_is_late(struct receipt_log *log);

struct receipt_place {
  uint64_t index;
  uint8_t *leaf;
  struct tree_hash *hash;
  size_t size;
};

/* Adds the chain's last index to the leaf, in front of its last `behind` bytes, and makes this one the last. place->size is how
 * long it is then. False: there is no room, and nothing happened. */
bool receipt_log_reserve(struct receipt_log *log, struct receipt_chain *chain, uint8_t leaf[LEAF_MAX], size_t size, size_t behind,
                         struct receipt_place *place);
/* Puts the leaf, of the reserved size, in its place: once for each place. Returns its hash. */
struct tree_hash receipt_log_fill(const struct receipt_place *place, const uint8_t *leaf);

/* Who waits until what is filled by now is on disk. */
struct receipt_waiter {
  struct receipt_waiter *next;
  void (*done)(struct receipt_waiter *waiter, bool is_durable); /* once, on any thread; it must not block */
};
/* Those who wait at the same time share one sync. */
void receipt_log_await(struct receipt_log *log, struct receipt_waiter *waiter);
/* Leaves below this index are durable in the log itself, and a checkpoint covers them. */
uint64_t receipt_log_durable(const struct receipt_log *log);
/* Appends the last checkpoint. */
void receipt_log_checkpoint(struct receipt_log *log, struct buffer *out);
/* Waits until a checkpoint covers all that is filled now. False: it cannot be made. Blocks. */
bool receipt_log_settle(struct receipt_log *log);
/* Whoever follows the log: `call` is called on the log's thread after each checkpoint, and must be short. Leaves from index
 * `from` on are not forgotten, whatever the limits say. NULL: nobody does any more; then `call` is not running. */
typedef void (*receipt_follow_fn)(void *arg);
void receipt_log_follow(struct receipt_log *log, receipt_follow_fn call, void *arg, uint64_t from);
/* He has all that he wants of those below. */
void receipt_log_release(struct receipt_log *log, uint64_t from);

/* A new key from the next checkpoint on, which the old one signs, too. Blocks. */
bool receipt_log_rotate(struct receipt_log *log, struct gw_error *err);

#endif
