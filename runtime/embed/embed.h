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

bool embed_check_space(const char *space, struct gw_error *err);
/* As gw_txn_begin, but it may wait in lanes, and others for it. */
struct gw_txn *embed_txn_begin(struct gw_state *state, const char *space, struct gw_error *err);
/* The transaction without its handle, which is gone. */
struct state_txn *embed_txn_release(struct gw_txn *txn);

#endif
