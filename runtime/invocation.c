/* Invocations as steps of a fiber: started, resumed until they end, yield, park or trap, and settled. */
#include "runtime/invocation.h"

#include "base/error.h"
#include "runtime/arch/x86_64/gs_base.h"
#include "runtime/exception.h"
#include "runtime/instance.h"
#include "runtime/park.h"
#include "runtime/report.h"
#include "runtime/slice.h"

#include <stdio.h>
#include <string.h>

enum {
  MIN_STACK = 16 << 20,
  /* Below the deepest guest frame: for helpers, host functions, and signals that find no other stack; then for what leads to
   * them, with 1,000 values at most. */
  STACK_ROOM = (256 << 10) + (64 << 10),
};

/* The entry is machine code without the type hash that -fsanitize=function looks for. */
__attribute__((no_sanitize("function"))) static void run(void *arg) {
  struct gw_store *store = arg;
  struct func_ref *func = store->func;
  if (atomic_load_explicit(&store->is_interrupted, memory_order_relaxed) && invocation_is_to_end(store))
    trap_raise(store, GW_TRAP_CANCELLED, 0);
  if (store->options.tier != GW_TIER_FAST) {
    precise_call(store, func, store->values);
  } else {
    const struct gw_module *module = func->vmctx->instance->module;
    const struct code *code = func->vmctx->instance->code;
    entry_thunk enter = code->entries[module->decoded.funcs[func->index].type];
    enter(func->vmctx, (int32_t)store->options.max_depth, func->code, store->values);
  }
  if (store->exec.exception) trap_raise(store, GW_TRAP_EXCEPTION, exception_place(store->exec.exception));
  store->state = RUN_FINISHED;
}

void gw_store_start(struct gw_store *store, struct func_ref *func, union gw_value *values) {
  if (store->state == RUN_RUNNING || store_is_suspended(store)) return; /* gw_store_resume says so */
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
  memset(store->host_gas, 0, sizeof store->host_gas);
  slice_begin(store);
  if (store->engine->options.profile) profile_begin(store);
}

/* So much that the logical limit comes first, whatever the code generator made of the functions. */
static size_t stack_size(const struct gw_store *store) {
  uint64_t factor = ABI_STACK_FACTOR;
  if (store->options.tier == GW_TIER_MIXED)
    factor = MIXED_STACK_FACTOR;
  else if (store->options.tier != GW_TIER_FAST)
    return MIN_STACK;
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

void invocation_close_stack(struct gw_store *store) {
  if (store->fiber.guard) count_stack(store, false);
  store->stack_is_for = NULL;
  fiber_close(&store->fiber);
}

/* The stack may have been opened for other instances. */
static bool prepare_stack(struct gw_store *store, struct gw_error *err) {
  struct fiber *f = &store->fiber;
  if (f->guard && store->stack_is_for == store->instances) return true;
  size_t size = stack_size(store);
  store->stack_is_for = store->instances;
  if (f->guard && (size_t)(f->high - f->low) >= size) return true;
  invocation_close_stack(store);
  if (!fiber_open(f, size, err)) return false;
  count_stack(store, true);
  return true;
}

static bool prepare(struct gw_store *store, struct gw_error *err) {
  if (!trap_thread_prepare(err)) return false;
  if (store_is_suspended(store)) return true;
  if (store->func->vmctx->exec != &store->exec) return error_set(err, GW_ERROR_USAGE, "the function belongs to another store");
  if (store->options.tier != GW_TIER_FAST && !precise_stack_open(store, err)) return false;
  if (!prepare_stack(store, err)) return false;
  if (store->checkpoint.is_starting)
    checkpoint_restore(store);
  else
    fiber_start(&store->fiber, run, store);
  return true;
}

/* Whether somebody else uses the segment on this thread. What a store left there, nobody looks at, and the next run of that store
 * need not set it again. */
static bool is_foreign(uintptr_t base, const struct exec_ctx *exec) {
  static _Thread_local uintptr_t left;
  bool is_others = base && base != left;
  if (!is_others) left = (uintptr_t)exec;
  return is_others;
}

static void step(struct gw_store *store) {
  struct gw_store *outer = trap_set_current(store);
  uintptr_t outer_gs = gs_base_set((uintptr_t)&store->exec);
  slice_enter(store, store->state == RUN_YIELDED);
  store->state = RUN_RUNNING;
  fiber_resume(&store->fiber);
  if (store->state == RUN_AT_CHECKPOINT) {
    checkpoint_take(store);
    store->state = RUN_RUNNING;
    fiber_resume(&store->fiber);
  }
  slice_leave(store);
  if (outer || is_foreign(outer_gs, &store->exec)) gs_base_set(outer_gs);
  trap_set_current(outer);
}

/* An invocation that overdrew its limit before it ended has run out of gas there. */
static void settle(struct gw_store *store) {
  if (!store->engine->options.gas || store->exec.gas >= 0) return;
  if (slice_take(store, 0) != GAS_OUT) return;
  store->trap = (struct trap){.code = GW_TRAP_OUT_OF_GAS};
  store->state = RUN_TRAPPED;
}

enum gw_status gw_store_resume(struct gw_store *store, struct gw_error *err) {
  if (store->state != RUN_READY && !store_is_suspended(store)) {
    error_set(err, GW_ERROR_USAGE, "no invocation to resume");
    return GW_STATUS_FAILED;
  }
  if (store->state == RUN_PARKED && !park_is_woken(store->park)) return GW_STATUS_PARKED;
  if (!prepare(store, err)) {
    if (store->state == RUN_READY) store->state = RUN_NONE;
    return GW_STATUS_FAILED;
  }
  do step(store);
  while (store->state == RUN_PARKED && !park_leave(store->park));
  if (store->state == RUN_YIELDED) return GW_STATUS_YIELDED;
  if (store->state == RUN_PARKED) return GW_STATUS_PARKED;
  settle(store);
  bool ok = store->state == RUN_FINISHED || store->trap.code == GW_TRAP_EXIT;
  bool is_brief = store->options.slice_ns && store->wake; /* a loop, which asks again beside itself */
  if (!ok) (is_brief ? report_briefly : report_error)(store, err);
  if (store->engine->options.profile) profile_end(store);
  exceptions_collect(store, store->state == RUN_FINISHED);
  store->state = RUN_NONE;
  return ok ? GW_STATUS_DONE : GW_STATUS_FAILED;
}

bool invocation_is_to_end(struct gw_store *store) {
  if (atomic_load_explicit(&store->is_interrupted, memory_order_relaxed) && gw_store_clear_interrupt(store))
    store->is_cancelled = true;
  return store->is_cancelled;
}

void invocation_yield(struct gw_store *store) {
  if (!store->is_cancelled) {
    store->state = RUN_YIELDED;
    fiber_suspend(&store->fiber);
  }
  if (invocation_is_to_end(store)) trap_raise(store, GW_TRAP_CANCELLED, 0);
}

/* Nobody can say after how much gas, so it is no verdict about the function. */
_Noreturn static void end_beyond_cpu_limit(struct gw_store *store, uintptr_t pc) {
  snprintf(store->trap.message, sizeof store->trap.message, "cancelled: it used more than %llu ms of CPU time",
           (unsigned long long)(store->options.cpu_limit_ns / 1000000));
  trap_raise(store, GW_TRAP_CANCELLED, pc);
}

void invocation_charge(struct gw_store *store, uint64_t gas, uintptr_t pc) {
  if (!store->engine->options.gas) return;
  enum gas_take taken = slice_take(store, gas);
  if (taken == GAS_OUT) trap_raise(store, GW_TRAP_OUT_OF_GAS, pc);
  if (taken == GAS_TAKEN) return;
  if (invocation_is_to_end(store)) trap_raise(store, GW_TRAP_CANCELLED, pc);
  if (slice_is_beyond_cpu_limit(store)) end_beyond_cpu_limit(store, pc);
  if (slice_is_over(store)) invocation_yield(store);
}

/* The fiber ends itself: only so do sanitizers see it end. */
void gw_store_cancel(struct gw_store *store) {
  if (store_is_suspended(store)) {
    store->is_cancelled = true;
    step(store);
    exceptions_collect(store, false);
  }
  if (store->state != RUN_RUNNING) store->state = RUN_NONE;
}

/* --- calls back -------------------------------------------------------------------------------------------------------
 *
 * A host function that calls back gets a fiber of its own for that. While it runs, the store's fields about the invocation are
 * its, and the outer one's lie here, on the outer fiber. It shares counter, limit and slice with the outer one: when it yields or
 * parks, the outer fiber does so on its behalf, and resumes it when it is resumed itself. */
struct outer {
  struct fiber fiber;
  struct precise_stack precise;
  struct func_ref *func;
  union gw_value *values;
  struct trap trap;
};

static void swap_fibers(struct fiber *a, struct fiber *b) {
  struct fiber c = *a;
  *a = *b;
  *b = c;
}

/* The inner fiber is suspended: so is the outer one, in the same state. */
static void suspend_both(struct gw_store *store, struct outer *outer) {
  swap_fibers(&store->fiber, &outer->fiber);
  fiber_suspend(&store->fiber);
  swap_fibers(&store->fiber, &outer->fiber);
}

static bool run_inner(struct gw_store *store, struct outer *outer, struct gw_error *err) {
  bool is_ready = (store->options.tier == GW_TIER_FAST || precise_stack_open(store, err)) && prepare_stack(store, err);
  if (!is_ready) return false;
  fiber_start(&store->fiber, run, store);
  while (true) {
    store->state = RUN_RUNNING;
    fiber_resume(&store->fiber);
    if (!store_is_suspended(store)) break;
    suspend_both(store, outer);
  }
  settle(store);
  if (store->state == RUN_FINISHED) return true;
  if (store->trap.code == GW_TRAP_OUT_OF_GAS) store->exec.gas = -1; /* for the outer one, too */
  report_error(store, err);
  return false;
}

static bool check_nested(const struct gw_store *store, const struct func_ref *func, struct gw_error *err) {
  if (func->vmctx->exec != &store->exec) return error_set(err, GW_ERROR_USAGE, "the function belongs to another store");
  if (store->record || store->engine->options.profile)
    return error_set(err, GW_ERROR_USAGE, "host functions cannot call back while a record or a profile is kept");
  if (store->n_nested < GW_MOST_NESTED) return true;
  error_set(err, GW_ERROR_TRAP, "call stack exhausted: host functions call back more than %d deep", GW_MOST_NESTED);
  if (err && err->code == GW_ERROR_TRAP) err->trap = GW_TRAP_STACK_OVERFLOW;
  return false;
}

static bool call_back(struct gw_store *store, struct func_ref *func, union gw_value *values, struct gw_error *err) {
  if (!check_nested(store, func, err)) return false;
  struct outer outer = {
      .fiber = store->fiber, .precise = store->precise, .func = store->func, .values = store->values, .trap = store->trap};
  store->fiber = (struct fiber){0};
  store->precise = (struct precise_stack){0};
  store->func = func;
  store->values = values;
  store->trap = (struct trap){.code = GW_TRAP_NONE};
  store->checkpoint.is_wanted = false;
  store->n_nested++;
  bool ok = run_inner(store, &outer, err);
  store->n_nested--;
  precise_stack_close(&store->precise);
  invocation_close_stack(store);
  store->fiber = outer.fiber;
  store->precise = outer.precise;
  store->func = outer.func;
  store->values = outer.values;
  store->trap = outer.trap;
  store->exec.exception = NULL;
  store->state = RUN_RUNNING;
  return ok;
}

bool gw_call(struct gw_store *store, struct func_ref *func, union gw_value *values, struct gw_error *err) {
  if (store->state == RUN_RUNNING && trap_current() == store) return call_back(store, func, values, err);
  if (store->state != RUN_NONE) return error_set(err, GW_ERROR_USAGE, "the store has an invocation under way");
  gw_store_start(store, func, values);
  enum gw_status status;
  do {
    gw_store_wait(store);
    status = gw_store_resume(store, err);
  } while (status == GW_STATUS_YIELDED || status == GW_STATUS_PARKED);
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
