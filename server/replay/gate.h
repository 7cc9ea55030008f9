/* The gate before a deployment: the newest invocations of a function run again with a new version, and what it does otherwise is
 * counted (docs/replay.md). On a worker thread: it blocks, for GATE_SECONDS at most and a little longer.
 *
 * It takes half of a core at most: behind each slice and leaf it sleeps as long as that took. Its tenant pays: slices are charged
 * to the account, and one receipt of FUNCTION_GATE has the gas of all runs. */
#ifndef SERVER_REPLAY_GATE_H
#define SERVER_REPLAY_GATE_H

#include "server/access/access.h"
#include "server/function/registry.h"
#include "server/replay/replay.h"

#include <cjson/cJSON.h>

#include <stdatomic.h>

struct receipt_log;
struct inputs_store;
struct usage;

/* GATES_AT_ONCE: of all tenants, with a worker thread each, of four; one of each tenant. */
enum { GATE_MOST = 100000, GATE_SECONDS = 60, GATE_EACH_SECONDS = 5, GATES_AT_ONCE = 2 };

struct gate {
  struct gw_engine *engine;
  struct receipt_log *receipts;
  struct inputs_store *inputs;
  struct registry *registry;
  struct usage *usage;                  /* NULL only where there are no receipts */
  const struct function_limits *limits; /* the server's: slices, and memory */
  const char *tenant;
  struct tenure tenure;          /* of that tenant: what was asked before is not for it */
  const struct function *before; /* the version whose secrets and files it gets; NULL: there is none */
  const void *bytes;             /* of the new module */
  size_t size;
  uint32_t most;                /* invocations */
  uint32_t gas_percent;         /* so much more gas is no difference */
  bool may_be_empty;            /* it is passed where nothing could be run again */
  const atomic_bool *is_ending; /* the server ends, and waits for this */
};

/* Runs it. False: it was not passed, or could not be tried, and err says why: GW_ERROR_DIFFERS where anything differs,
 * GW_ERROR_PRECONDITION where nothing could be run again, GW_ERROR_LIMIT where the tenant's budget does not allow it,
 * GW_ERROR_IN_USE while another one of the tenant is under way, GW_ERROR_UNAVAILABLE where too many are, there is no room for the
 * receipt, or the server ends. `*summary` is JSON of what was counted, for who passed; delete it. */
bool gate_pass(const struct gate *gate, cJSON **summary, struct gw_error *err);

#endif
