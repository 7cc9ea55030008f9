/* What an invocation was asked, read and heard, for the store of inputs (docs/replay.md). Of its loop. */
#ifndef SERVER_INVOKE_KEEP_H
#define SERVER_INVOKE_KEEP_H

#include "runtime/state/state.h"
#include "server/invoke/fill.h"

struct invocation;

/* All zero at first; buffers stay from request to request. */
struct keep {
  struct buffer reads;
  struct state_id_seed seed;
  bool has_reads, has_lost_reads;
};

/* Its transaction has just begun. */
void keep_begin(struct invocation *inv);
/* Before the transaction goes, however it does. */
void keep_reads(struct invocation *inv);
/* Its receipt is made, and nothing of it has gone but the transaction. */
void keep_inputs(struct invocation *inv, const struct asked *asked);
void keep_clear(struct keep *keep);

#endif
