/* Gas in slices.
 *
 * Compiled code subtracts from exec.gas and calls gas_exhausted when it finds it negative. What an invocation may use beyond the
 * present slice waits in `reserve`, so limit = used + exec.gas + reserve at all times, and being out of gas means that exec.gas
 * is short by more than the reserve. Compiled code may check late, so every end of an invocation settles first (invocation.c):
 * one that overdrew its limit was out of gas, whatever else it did after.
 *
 * The counter never holds more than a millisecond's worth, as another thread may want to end the invocation: it looks for that
 * when it is used up. Where slices are bounded by time, too, the counter holds less than a slice: gas for one *look* at the
 * clock. When it is used up the clock says whether the slice is over; if not, the counter gets gas for another look, and nobody
 * else runs. Compiled code keeps the counter in a register, so no other thread and no signal could make it stop earlier: all that
 * bounds the time is how much gas there is to the next look, which is what pace.c is about. Only where code touches fresh memory
 * it faults anyway, and looks at the clock then (blocks.c). Neither gas nor results depend on any of that. */
#include "runtime/slice.h"

#include "runtime/engine.h"
#include "runtime/pace.h"
#include "runtime/store.h"

void gw_store_set_gas_limit(struct gw_store *store, uint64_t gas_limit) { store->options.gas_limit = gas_limit; }

void gw_store_owe(struct gw_store *store, uint64_t gas) { store->owed = gas; }

void gw_store_owe_cpu(struct gw_store *store, uint64_t ns) { store->slice.owed_ns = ns; }

/* About a millisecond: how late an interrupt may be noticed. */
#define MAX_SLICE ((uint64_t)10000000)

static bool is_timed(const struct gw_store *store) { return store->options.slice_ns || store->options.cpu_limit_ns; }

/* What the counter gets at a time. */
static uint64_t portion(const struct gw_store *store) {
  uint64_t slice = store->options.slice, look = is_timed(store) ? pace_look(store->slice.pace) : MAX_SLICE;
  if (!slice || slice > MAX_SLICE) slice = MAX_SLICE;
  return look < slice ? look : slice;
}

void gw_store_set_pace(struct gw_store *store, struct gw_pace *pace) { store->slice.pace = pace ? pace : &store->slice.own_pace; }

/* One that owes more than its limit is overdrawn: it ends at its first gas check, or where it is settled. */
static void pay_owed(struct gw_store *store) {
  uint64_t owed = store->owed;
  store->owed = 0;
  if (owed && slice_take(store, owed) == GAS_OUT) store->exec.gas = -1;
}

void slice_begin(struct gw_store *store) {
  const struct gw_store_options *o = &store->options;
  store->limit = o->gas_limit && o->gas_limit < INT64_MAX ? o->gas_limit : INT64_MAX;
  uint64_t first = portion(store);
  store->exec.gas = (int64_t)(first < store->limit ? first : store->limit);
  store->reserve = store->limit - (uint64_t)store->exec.gas;
  store->slice.cpu_ns = store->slice.owed_ns;
  store->slice.owed_ns = store->slice.seen_gas = 0;
  if (store->engine->options.gas) pay_owed(store);
}

/* Looking at a clock takes longer than a short call. */
static bool has_clock(const struct gw_store *store) { return is_timed(store) || store->options.measures_cpu; }

void slice_enter(struct gw_store *store, bool is_long) {
  struct slice *s = &store->slice;
  s->gas = store->exec.gas > 0 ? (uint64_t)store->exec.gas : 0;
  s->ns = 0;
  if (has_clock(store)) cpu_clock_begin(&s->clock, is_long);
}

static uint64_t take_lap(struct slice *s) {
  uint64_t lap = cpu_clock_lap(&s->clock);
  s->cpu_ns += lap;
  s->ns += lap;
  return lap;
}

static void look(struct gw_store *store) {
  struct slice *s = &store->slice;
  uint64_t lap = take_lap(s), used = gw_store_gas_used(store);
  if (is_timed(store) && !s->has_touched) pace_learn(s->pace, used - s->seen_gas, lap);
  s->seen_gas = used;
  s->has_touched = false;
}

void slice_touch(struct gw_store *store) {
  take_lap(&store->slice);
  store->slice.has_touched = true;
}

void slice_look_soon(struct gw_store *store) {
  store->slice.has_touched = true;
  if (!store->engine->options.gas || store->exec.gas <= 0) return;
  uint64_t gas = (uint64_t)store->exec.gas;
  store->slice.gas -= gas < store->slice.gas ? gas : store->slice.gas;
  store->reserve += gas;
  store->exec.gas = 0;
}

void slice_leave(struct gw_store *store) {
  if (has_clock(store)) look(store);
}

bool slice_is_over(const struct gw_store *store) {
  const struct gw_store_options *o = &store->options;
  return o->slice && (store->slice.gas >= o->slice || (o->slice_ns && store->slice.ns >= o->slice_ns));
}

bool slice_is_beyond_cpu_limit(const struct gw_store *store) {
  return store->options.cpu_limit_ns && store->slice.cpu_ns > store->options.cpu_limit_ns;
}

uint64_t gw_store_cpu_ns(const struct gw_store *store) { return store->slice.cpu_ns; }

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
  if (store->state == RUN_RUNNING && is_timed(store)) look(store);
  uint64_t unit = portion(store), refill = store->reserve, whole;
  if (!__builtin_mul_overflow(missing / unit + (missing % unit != 0), unit, &whole) && whole < refill) refill = whole;
  store->slice.gas += refill;
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
