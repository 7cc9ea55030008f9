/* A request into a slot, and the reply out of it. A repetition does the same (server/replay/replay.h). */
#ifndef SERVER_INVOKE_FILL_H
#define SERVER_INVOKE_FILL_H

#include "server/function/slot.h"
#include "server/http/exchange.h"

/* What a function sees of the request beside the request. */
struct asked {
  uint16_t port;
  const char *peer;
  size_t max_reply; /* bytes */
};

/* False when it does not fit. What it points to outlives the run; memory comes from the request's arena. */
bool fill_slot_with(struct slot *slot, struct request *request, const struct asked *asked, struct state_txn *txn,
                    struct gw_error *err);
/* The guest has returned. False: there is no reply that could be sent. *has_failed: there is, and nothing it wrote counts. */
bool fill_take_reply(struct slot *slot, size_t max_reply, bool *has_failed, struct gw_error *err);

#endif
