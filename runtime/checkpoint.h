/* A checkpoint: an invocation as it was just before it first asked for something from outside, to go on from there again and
 * again (essay in checkpoint.c). */
#ifndef RUNTIME_CHECKPOINT_H
#define RUNTIME_CHECKPOINT_H

#include "gasworks.h"
#include "runtime/host_api.h"

/* A store's. All zero: none is wanted. */
struct checkpoint {
  struct gw_instance *instance; /* of which one is wanted; NULL: of none */
  uint64_t min_gas;             /* what must lie before it */
  bool is_decided;              /* the place was reached: there is one, or there never will be */
  bool is_wanted;               /* the invocation that runs looks for the place */
  bool is_starting;             /* the invocation that starts goes on from it */
  bool is_failed;               /* half of it could be kept: the instance cannot be reset any more */
  uint64_t gas;                 /* used before it */
  uint64_t host_gas[HOST_GAS_COUNT];
  uint64_t n_calls; /* of host functions before it, as the record counts them */
  struct func_ref *func;
  union gw_value *values;
  uint8_t *frames; /* the fiber's, from the stack pointer up; NULL: there is no checkpoint */
  size_t size;
};

/* From now on the store's invocations look for the place, until one comes to it: where it first calls a host function that
 * `is_same` does not know. Those that it knows must answer the same in every invocation, and change nothing but the caller's
 * memory. When more than `min_gas` was used until then, and what led there can be kept, gw_instance_reset goes back to that
 * moment from then on. The instance must be the only one of its store, fresh, and either without a start function or kept behind
 * it. Nothing happens in stores of the precise tier, and where the frames cannot be put back (runtime/sanitizer.h). */
void checkpoint_want(struct gw_instance *instance, bool (*is_same)(gw_host_fn fn), uint64_t min_gas);

/* Whether there is one. A reset may fail then, as after gw_instance_keep. */
bool checkpoint_is_kept(const struct gw_store *store);
/* Gas that was used before it: what goes on from there is to be billed for it, and gets so much less. 0 without one. */
uint64_t checkpoint_gas(const struct gw_store *store);
/* Instead of gw_store_start, on the fresh instance: the invocation goes on from the checkpoint, with results where the first
 * one's were. The gas limit is for what follows. Without a checkpoint nothing is started. */
void checkpoint_start(struct gw_store *store);

/* --- for the runtime --- */
/* On the fiber, before the host function that ends the search has done anything. */
void checkpoint_reach(struct gw_store *store);
/* Off the fiber, while it is suspended there. */
void checkpoint_take(struct gw_store *store);
void checkpoint_restore(struct gw_store *store);
void checkpoint_clear(struct gw_store *store);

#endif
