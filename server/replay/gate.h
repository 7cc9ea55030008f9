/* The gate before a deployment: the newest invocations of a function run again with a new version, and what it does otherwise is
 * counted (docs/replay.md). On a worker thread: it blocks, for GATE_SECONDS at most and a little longer. */
#ifndef SERVER_REPLAY_GATE_H
#define SERVER_REPLAY_GATE_H

#include "server/function/registry.h"
#include "server/replay/replay.h"

#include <cjson/cJSON.h>

#include <stdatomic.h>

struct receipt_log;
struct inputs_store;

enum { GATE_MOST = 100000, GATE_SECONDS = 60, GATE_EACH_SECONDS = 5 };

struct gate {
  struct gw_engine *engine;
  struct receipt_log *receipts;
  struct inputs_store *inputs;
  struct registry *registry;
  const struct function *before; /* the version whose secrets and files it gets */
  const void *bytes;             /* of the new module */
  size_t size;
  uint32_t most;                /* invocations */
  uint32_t gas_percent;         /* so much more gas is no difference */
  const atomic_bool *is_ending; /* the server ends, and waits for this */
};

/* Runs it. False: it was not passed, or could not be tried, and err says why: GW_ERROR_PRECONDITION with a summary where anything
 * differs, GW_ERROR_IN_USE while another one is under way, GW_ERROR_UNAVAILABLE where the server ends. `*summary` is JSON of what
 * was counted, for who passed; delete it. */
bool gate_pass(const struct gate *gate, cJSON **summary, struct gw_error *err);

#endif
