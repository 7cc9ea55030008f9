/* What the parts of the public interface for state share. Private to runtime/embed. */
#ifndef RUNTIME_EMBED_EMBED_H
#define RUNTIME_EMBED_EMBED_H

#include "base/buffer.h"
#include "gasworks_state.h"
#include "runtime/state/state.h"

struct gw_txn {
  struct state_txn *txn;
  struct buffer value; /* one that was put together */
};

/* Runs fn with a transaction that may be kept from writing, and says how often; NULL: nobody asks. */
bool embed_transact(struct gw_state *state, const char *space, bool only_reads, gw_transact_fn fn, void *env,
                    uint32_t *n_attempts, struct gw_error *err);

#endif
