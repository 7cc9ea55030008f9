/* Gas in slices (essay in slice.c). On the thread that runs the store. */
#ifndef RUNTIME_SLICE_H
#define RUNTIME_SLICE_H

#include <stdbool.h>
#include <stdint.h>

struct gw_store;

/* For a new invocation, by the store's options. */
void slice_begin(struct gw_store *store);

/* Gas in hand: takes `amount` and what exec.gas is short of already. */
enum gas_take {
  GAS_TAKEN,
  GAS_REFILLED, /* the slice had run out, a new one has begun */
  GAS_OUT,      /* the limit is reached: nothing is left */
};
enum gas_take slice_take(struct gw_store *store, uint64_t amount);
/* Whether that would not be GAS_OUT; true when nothing is metered. */
bool slice_affords(const struct gw_store *store, uint64_t amount);

#endif
