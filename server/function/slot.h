/* A slot: one fresh instance of a function with its store and host side, ready for one request. */
#ifndef SERVER_FUNCTION_SLOT_H
#define SERVER_FUNCTION_SLOT_H

#include "runtime/checkpoint.h"
#include "runtime/host/handler.h"
#include "runtime/host/wasi/wasi.h"
#include "runtime/receipt/leaf.h"
#include "server/function/function.h"

struct receipt_chain;

struct slot {
  struct slot *next; /* in its pool's or its loop's list */
  struct pool *pool;
  struct function *function;
  const struct function_limits *limits; /* that it was made with; where others count by now it is not used again */
  enum gw_tier tier;
  struct gw_store *store;
  struct gw_instance *instance;
  struct wasi *wasi; /* NULL when the module imports none of it */
  struct handler handler;
  struct guest_clock clock;    /* what both of them tell, unless limits say fine clocks */
  struct func_ref *initialize; /* _initialize of a handler, or NULL */
  struct func_ref *start;      /* the module's start function, or NULL */
  bool is_kept;                /* resets go back to an image behind the start function, _initialize or a checkpoint */
  uint64_t instance_gas;       /* of a fresh instance, for every request */
  uint64_t start_gas;          /* of the start function, where the image is one behind it; else 0 */
  bool is_initialized;         /* the image is one behind _initialize, which used initialize_gas */
  uint64_t initialize_gas;
  struct func_ref *entry;   /* handle or _start */
  union gw_value values[1]; /* parameters and results: none, but gw_store_start wants a place */
  bool is_counted;          /* among its fate's instances, with so many bytes */
  uint64_t counted_memory;
  uint64_t used_at;            /* loop time in ms of the last return */
  struct receipt_chain *chain; /* of its function's receipts; and what their leaves begin with, once there was one */
  struct leaf_head leaf_head;
  struct buffer settings; /* what its receipts have a digest of, once inputs were kept of it; else empty */
};

/* Retains `function`, whose module must be there. `limits` must outlive the slot. */
struct slot *slot_create(struct gw_engine *engine, struct function *function, enum gw_tier tier,
                         const struct function_limits *limits, struct gw_error *err);
/* Fresh again: nothing of the last request is left. On failure the slot can only be destroyed. */
bool slot_reset(struct slot *slot, struct gw_error *err);
/* Its function's fate has what it takes now: where its memories may have grown. */
void slot_count_memory(struct slot *slot);
/* How many times longer than compiled code it takes for the same gas, about. */
uint64_t slot_slowness(const struct slot *slot);
/* Runs the start function, on the present thread until it ends: for slots that get no request. */
bool slot_try_start(struct slot *slot, const struct function_limits *limits, struct gw_error *err);
/* After the start function, with its gas: from now on the slot is fresh behind it, where that is the same every time. False: the
 * slot can only be destroyed. */
bool slot_keep_start(struct slot *slot, uint64_t gas, struct gw_error *err);
/* After _initialize, with its gas: from now on the slot is fresh behind it, where that is the same every time. False: the slot
 * can only be destroyed. */
bool slot_keep(struct slot *slot, uint64_t gas, struct gw_error *err);
/* Behind the start function: from now on a command's slot looks for a checkpoint, and is fresh behind it once it has one. */
void slot_want_checkpoint(struct slot *slot);
/* Gas of what a fresh slot is behind. */
uint64_t slot_gas_before(const struct slot *slot);
void slot_destroy(struct slot *slot);

#endif
