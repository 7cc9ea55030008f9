/* Gas in slices.
 *
 * Compiled code subtracts from exec.gas and calls gas_exhausted when it finds it negative. What an invocation may use beyond the
 * present slice waits in `reserve`, so limit = used + exec.gas + reserve at all times, and being out of gas means that exec.gas
 * is short by more than the reserve. Compiled code may check late, so every end of an invocation settles first (invocation.c):
 * one that overdrew its limit was out of gas, whatever else it did after. */
#include "runtime/slice.h"

#include "runtime/engine.h"
#include "runtime/store.h"

void gw_store_set_gas_limit(struct gw_store *store, uint64_t gas_limit) { store->options.gas_limit = gas_limit; }

void gw_store_owe(struct gw_store *store, uint64_t gas) { store->owed = gas; }

/* Compiled code may add to the counter what it will subtract a little later (instrument/meter/sink.c). */
#define MAX_SLICE ((uint64_t)INT64_MAX / 2)

/* One that owes more than its limit is overdrawn: it ends at its first gas check, or where it is settled. */
static void pay_owed(struct gw_store *store) {
  uint64_t owed = store->owed;
  store->owed = 0;
  if (owed && slice_take(store, owed) == GAS_OUT) store->exec.gas = -1;
}

void slice_begin(struct gw_store *store) {
  const struct gw_store_options *o = &store->options;
  store->limit = o->gas_limit && o->gas_limit < INT64_MAX ? o->gas_limit : INT64_MAX;
  uint64_t slice = o->slice && o->slice < MAX_SLICE ? o->slice : MAX_SLICE;
  store->exec.gas = (int64_t)(slice < store->limit ? slice : store->limit);
  store->reserve = store->limit - (uint64_t)store->exec.gas;
  if (store->engine->options.gas) pay_owed(store);
}

uint64_t gw_store_gas_limit(const struct gw_store *store) { return store->limit; }

uint64_t gw_store_gas_used(const struct gw_store *store) {
  if (!store->engine->options.gas) return 0;
  if (store->exec.gas >= 0) return store->limit - store->reserve - (uint64_t)store->exec.gas;
  uint64_t overdrawn = -(uint64_t)store->exec.gas;
  return overdrawn > store->reserve ? store->limit : store->limit - store->reserve + overdrawn;
}

enum gas_take slice_take(struct gw_store *store, uint64_t amount) {
  int64_t gas = store->exec.gas;
  uint64_t missing; /* what the reserve must cover */
  if (gas >= 0) {
    if (amount <= (uint64_t)gas) {
      store->exec.gas = gas - (int64_t)amount;
      return GAS_TAKEN;
    }
    missing = amount - (uint64_t)gas;
  } else if (__builtin_add_overflow(amount, -(uint64_t)gas, &missing)) {
    missing = UINT64_MAX;
  }
  if (missing > store->reserve) {
    store->exec.gas = 0;
    store->reserve = 0;
    return GAS_OUT;
  }
  uint64_t slice = store->options.slice, refill = store->reserve;
  if (slice) {
    uint64_t slices = missing / slice + (missing % slice != 0), whole;
    if (!__builtin_mul_overflow(slices, slice, &whole) && whole < refill) refill = whole;
  }
  store->exec.gas = (int64_t)(refill - missing);
  store->reserve -= refill;
  return GAS_REFILLED;
}

bool slice_affords(const struct gw_store *store, uint64_t amount) {
  uint64_t gas = (uint64_t)store->exec.gas, left;
  if (!store->engine->options.gas) return true;
  if (store->exec.gas >= 0) return amount <= gas || amount - gas <= store->reserve;
  return !__builtin_sub_overflow(store->reserve, -gas, &left) && amount <= left;
}
