/* Stores, gas in slices, and invocations as steps of a fiber.
 *
 * Gas. Compiled code subtracts from exec.gas and calls gas_exhausted when it finds it negative. What an invocation may use
 * beyond the present slice waits in `reserve`, so limit = used + exec.gas + reserve at all times, and being out of gas means
 * that exec.gas is short by more than the reserve. Compiled code may notice late, so every end of an invocation settles first:
 * one that overdrew its limit was out of gas, whatever else it did after. */
#include "runtime/store.h"

#include "base/error.h"
#include "runtime/arch/exhausted.h"
#include "runtime/arch/x86_64/gs_base.h"
#include "runtime/exception.h"
#include "runtime/instance.h"

#include <stdlib.h>
#include <string.h>

enum {
  DEFAULT_DEPTH = 1 << 20,
  MAX_DEPTH = 256 << 20,
  MIN_STACK = 16 << 20,
  /* Below the deepest guest frame: for helpers, host functions, and signals that find no other stack; then for what leads to
   * them, with 1,000 values at most. */
  STACK_ROOM = (256 << 10) + (64 << 10),
};

static void (*exhausted_for_cpu(void))(void) {
  if (__builtin_cpu_supports("avx512bw")) return gas_exhausted_avx512;
  return __builtin_cpu_supports("avx") ? gas_exhausted_avx : gas_exhausted_sse;
}

struct gw_store *gw_store_create(struct gw_engine *engine, const struct gw_store_options *options, struct gw_error *err) {
  if (!trap_handlers_install(err)) return NULL;
  struct gw_store *store = calloc(1, sizeof *store);
  if (!store) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a store");
    return NULL;
  }
  store->engine = engine;
  store->schedule = &engine->schedule;
  store->exec.self = &store->exec;
  store->exec.exhausted = exhausted_for_cpu();
  store->exec.trap = helper_trap;
  if (options) store->options = *options;
  if (!store->options.max_depth) store->options.max_depth = DEFAULT_DEPTH;
  if (store->options.max_depth > MAX_DEPTH) store->options.max_depth = MAX_DEPTH;
  return store;
}

static void close_stack(struct gw_store *store);

/* Functions, globals and segments are a few bytes of a module and 30 to 100 of an instance. */
void store_count_instances(struct gw_store *store) {
  enum { USUAL = 64 << 10 };
  uint64_t more = store->arena.used > USUAL ? store->arena.used - USUAL : 0;
  atomic_fetch_add_explicit(&store->engine->memory_bytes, more - store->counted, memory_order_relaxed);
  store->counted = more;
}

void gw_store_destroy(struct gw_store *store) {
  if (!store) return;
  for (struct gw_memory *m = store->memories, *next; m; m = next) {
    next = m->next;
    memory_destroy(m);
  }
  for (struct gw_table *t = store->tables; t; t = t->next) table_destroy(t);
  exceptions_clear(store);
  checkpoint_clear(store);
  precise_stack_close(&store->precise);
  profile_clear(&store->profile);
  for (struct gw_instance *i = store->instances; i; i = i->next) gw_module_release(i->module);
  close_stack(store);
  arena_clear(&store->arena);
  store_count_instances(store);
  free(store);
}

void gw_store_set_gas_limit(struct gw_store *store, uint64_t gas_limit) { store->options.gas_limit = gas_limit; }

void gw_store_set_user(struct gw_store *store, void *user) { store->user = user; }

void *gw_store_user(const struct gw_store *store) { return store->user; }

/* --- gas ---------------------------------------------------------------------------------------------------------- */

/* Compiled code may add to the counter what it will subtract a little later (instrument/meter/sink.c). */
#define MAX_SLICE ((uint64_t)INT64_MAX / 2)

static void begin_gas(struct gw_store *store) {
  const struct gw_store_options *o = &store->options;
  store->limit = o->gas_limit && o->gas_limit < INT64_MAX ? o->gas_limit : INT64_MAX;
  uint64_t slice = o->slice && o->slice < MAX_SLICE ? o->slice : MAX_SLICE;
  store->exec.gas = (int64_t)(slice < store->limit ? slice : store->limit);
  store->reserve = store->limit - (uint64_t)store->exec.gas;
  profile_begin(store);
}

uint64_t gw_store_gas_limit(const struct gw_store *store) { return store->limit; }

uint64_t gw_store_gas_used(const struct gw_store *store) {
  if (!store->engine->options.gas) return 0;
  if (store->exec.gas >= 0) return store->limit - store->reserve - (uint64_t)store->exec.gas;
  uint64_t overdrawn = -(uint64_t)store->exec.gas;
  return overdrawn > store->reserve ? store->limit : store->limit - store->reserve + overdrawn;
}

enum gas_take store_take_gas(struct gw_store *store, uint64_t amount) {
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

bool store_has_gas(const struct gw_store *store, uint64_t amount) {
  uint64_t gas = (uint64_t)store->exec.gas, left;
  if (!store->engine->options.gas) return true;
  if (store->exec.gas >= 0) return amount <= gas || amount - gas <= store->reserve;
  return !__builtin_sub_overflow(store->reserve, -gas, &left) && amount <= left;
}

/* --- running ------------------------------------------------------------------------------------------------------ */

/* The entry is machine code without the type hash that -fsanitize=function looks for. */
__attribute__((no_sanitize("function"))) static void run(void *arg) {
  struct gw_store *store = arg;
  struct func_ref *func = store->func;
  if (store->options.tier == GW_TIER_PRECISE) {
    precise_call(store, func, store->values);
  } else {
    const struct gw_module *module = func->vmctx->instance->module;
    const struct code *code = func->vmctx->instance->code;
    entry_thunk enter = code->entries[module->decoded.funcs[func->index].type];
    enter(func->vmctx, (int32_t)store->options.max_depth, func->code, store->values);
  }
  if (store->exec.exception) trap_raise(store, GW_TRAP_EXCEPTION, exception_place(store->exec.exception));
  store->state = RUN_FINISHED;
  fiber_end(&store->fiber);
}

void gw_store_start(struct gw_store *store, struct func_ref *func, union gw_value *values) {
  if (store->state == RUN_RUNNING || store->state == RUN_YIELDED) return; /* gw_store_resume says so */
  store->func = func;
  store->values = values;
  store->state = RUN_READY;
  store->is_cancelled = false;
  store->trap.code = GW_TRAP_NONE;
  store->trap.instance = NULL;
  store->trap.memory = NULL;
  store->trap.message[0] = 0;
  store->exec.exception = NULL;
  store->checkpoint.is_starting = false;
  store->checkpoint.is_wanted = store->checkpoint.instance && !store->checkpoint.is_decided;
  begin_gas(store);
}

/* So much that the logical limit comes first, whatever the code generator made of the functions. */
static size_t stack_size(const struct gw_store *store) {
  uint64_t factor = ABI_STACK_FACTOR;
  if (store->options.tier == GW_TIER_PRECISE) return MIN_STACK;
  for (const struct gw_instance *i = store->instances; i; i = i->next)
    if (i->code && i->code->stack_factor > factor) factor = i->code->stack_factor;
  uint64_t size = ((uint64_t)store->options.max_depth + FREE_LEAF) * (factor + ABI_ARGUMENTS_FACTOR) + STACK_ROOM;
  return size < MIN_STACK ? MIN_STACK : size;
}

/* What a stack is larger than usual, because of what the guest's frames are, counts as the guest's memory: recursion may touch
 * all of it, and nobody sees when. */
static void count_stack(struct gw_store *store, bool is_open) {
  uint64_t usual = ((uint64_t)store->options.max_depth + FREE_LEAF) * (ABI_STACK_FACTOR + ABI_ARGUMENTS_FACTOR) + STACK_ROOM;
  uint64_t size = (uint64_t)(store->fiber.high - store->fiber.low);
  if (usual < MIN_STACK) usual = MIN_STACK;
  if (size <= usual + FIBER_ROUNDING) return;
  uint64_t more = size - usual;
  atomic_fetch_add_explicit(&store->engine->memory_bytes, is_open ? more : -more, memory_order_relaxed);
}

static void close_stack(struct gw_store *store) {
  if (store->fiber.guard) count_stack(store, false);
  fiber_close(&store->fiber);
}

/* The stack may have been opened for other instances. */
static bool prepare_stack(struct gw_store *store, struct gw_error *err) {
  struct fiber *f = &store->fiber;
  size_t size = stack_size(store);
  if (f->guard && (size_t)(f->high - f->low) >= size) return true;
  close_stack(store);
  if (!fiber_open(f, size, err)) return false;
  count_stack(store, true);
  return true;
}

static bool prepare(struct gw_store *store, struct gw_error *err) {
  if (!trap_thread_prepare(err)) return false;
  if (store->state == RUN_YIELDED) return true;
  if (store->func->vmctx->exec != &store->exec) return error_set(err, GW_ERROR_USAGE, "the function belongs to another store");
  if (store->options.tier == GW_TIER_PRECISE && !precise_stack_open(store, err)) return false;
  if (!prepare_stack(store, err)) return false;
  if (store->checkpoint.is_starting)
    checkpoint_restore(store);
  else
    fiber_start(&store->fiber, run, store);
  return true;
}

static void step(struct gw_store *store) {
  struct gw_store *outer = trap_set_current(store);
  uintptr_t outer_gs = gs_base_set((uintptr_t)&store->exec);
  store->state = RUN_RUNNING;
  fiber_resume(&store->fiber);
  if (store->state == RUN_AT_CHECKPOINT) {
    checkpoint_take(store);
    store->state = RUN_RUNNING;
    fiber_resume(&store->fiber);
  }
  gs_base_set(outer_gs);
  trap_set_current(outer);
}

/* An invocation that overdrew its limit before it ended has run out of gas there. */
static void settle(struct gw_store *store) {
  if (!store->engine->options.gas || store->exec.gas >= 0) return;
  if (store_take_gas(store, 0) != GAS_OUT) return;
  store->trap = (struct trap){.code = GW_TRAP_OUT_OF_GAS};
  store->state = RUN_TRAPPED;
}

enum gw_status gw_store_resume(struct gw_store *store, struct gw_error *err) {
  if (store->state != RUN_READY && store->state != RUN_YIELDED) {
    error_set(err, GW_ERROR_USAGE, "no invocation to resume");
    return GW_STATUS_FAILED;
  }
  if (!prepare(store, err)) {
    if (store->state == RUN_READY) store->state = RUN_NONE;
    return GW_STATUS_FAILED;
  }
  step(store);
  if (store->state == RUN_YIELDED) return GW_STATUS_YIELDED;
  settle(store);
  bool ok = store->state == RUN_FINISHED || store->trap.code == GW_TRAP_EXIT;
  if (!ok) trap_describe(store, err);
  profile_end(store);
  exceptions_collect(store, store->state == RUN_FINISHED);
  store->state = RUN_NONE;
  return ok ? GW_STATUS_DONE : GW_STATUS_FAILED;
}

void store_yield(struct gw_store *store) {
  store->state = RUN_YIELDED;
  fiber_suspend(&store->fiber);
  if (store->is_cancelled) trap_raise(store, GW_TRAP_CANCELLED, 0);
}

/* The fiber ends itself: only so do sanitizers see it end. */
void gw_store_cancel(struct gw_store *store) {
  if (store->state == RUN_YIELDED) {
    store->is_cancelled = true;
    step(store);
    exceptions_collect(store, false);
  }
  if (store->state != RUN_RUNNING) store->state = RUN_NONE;
}

bool gw_call(struct gw_store *store, struct func_ref *func, union gw_value *values, struct gw_error *err) {
  if (store->state != RUN_NONE) return error_set(err, GW_ERROR_USAGE, "the store has an invocation under way");
  gw_store_start(store, func, values);
  enum gw_status status;
  do status = gw_store_resume(store, err);
  while (status == GW_STATUS_YIELDED);
  return status == GW_STATUS_DONE;
}

bool gw_call_export(struct gw_instance *instance, const char *name, union gw_value *values, size_t n_values,
                    struct gw_error *err) {
  struct gw_extern found;
  if (!gw_instance_export(instance, name, strlen(name), &found) || found.kind != GW_EXTERN_FUNC)
    return error_set(err, GW_ERROR_NOT_FOUND, "no function is exported as \"%.100s\"", name);
  const struct module *m = &found.of.func->vmctx->instance->module->decoded;
  const struct func_type *type = &m->types[m->funcs[found.of.func->index].type].func;
  uint32_t wanted = type->n_params > type->n_results ? type->n_params : type->n_results;
  if (n_values != wanted)
    return error_set(err, GW_ERROR_USAGE, "function \"%.100s\" takes %u parameters and gives %u results, %zu values are given",
                     name, type->n_params, type->n_results, n_values);
  return gw_call(instance->store, found.of.func, values, err);
}
