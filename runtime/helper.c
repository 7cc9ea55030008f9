/* What compiled code calls in the runtime (abi/helper.def). All run on the guest's fiber.
 *
 * Order in every one: bounds (64-bit, nothing can wrap), then gas for the size of the work, then the work. Only the last has
 * an effect, so a trap or a lack of gas leaves everything as it was. */
#include "frontend/types.h"
#include "runtime/arch/exhausted.h"
#include "runtime/debug/record.h"
#include "runtime/instance.h"
#include "runtime/invocation.h"
#include "runtime/slice.h"

#include <string.h>

/* Host functions may count on this much native stack, helpers on the other. */
enum { HOST_STACK = 256 << 10, HELPER_STACK = 64 << 10 };

/* In a helper itself: where in guest code it was called. */
#define CALLER ((uintptr_t)__builtin_return_address(0))

static struct gw_store *store_of(struct exec_ctx *exec) {
  return (struct gw_store *)(void *)((char *)exec - offsetof(struct gw_store, exec));
}

static uint64_t bytes_gas(const struct gw_store *store, uint64_t n) {
  return (n + 15) / 16 * store->schedule->gas[COST_MEMORY_BYTES_16];
}

static uint64_t entries_gas(const struct gw_store *store, uint64_t n) { return n * store->schedule->gas[COST_TABLE_ENTRY]; }

/* Work by size goes in pieces: each is paid, which may end the slice, and then done. Work that is not affordable as a whole is
 * not begun. */
struct pieces {
  struct gw_store *store;
  uint64_t (*gas)(const struct gw_store *store, uint64_t n);
  uint64_t at, size, n, most; /* `size` at `at` is the present piece of n */
  uintptr_t pc;
};

enum { PIECE_BYTES = 64 << 10, PIECE_ENTRIES = PIECE_BYTES / sizeof(void *) }; /* some 10 us, on untouched pages 100 */

static struct pieces begin_pieces(struct gw_store *store, uint64_t n, bool is_bytes, uintptr_t pc) {
  struct pieces p = {.store = store, .n = n, .gas = is_bytes ? bytes_gas : entries_gas, .pc = pc};
  p.most = is_bytes ? PIECE_BYTES : PIECE_ENTRIES;
  uint64_t gas = p.gas(store, n);
  if (!slice_affords(store, gas)) invocation_charge(store, gas, pc);
  return p;
}

static bool next_piece(struct pieces *p) {
  p->at += p->size;
  if (p->at == p->n) return false;
  p->size = p->n - p->at < p->most ? p->n - p->at : p->most;
  invocation_charge(p->store, p->gas(p->store, p->size), p->pc);
  return true;
}

/* Copies go backwards where the end of the source would be overwritten. */
static void copy_pieces(struct pieces *p, uint8_t *to, const uint8_t *from, uint64_t unit) {
  bool is_backwards = (uintptr_t)to > (uintptr_t)from;
  while (next_piece(p)) {
    uint64_t at = (is_backwards ? p->n - p->at - p->size : p->at) * unit;
    memmove(to + at, from + at, p->size * unit);
  }
}

static void require(struct gw_store *store, bool is_true, enum gw_trap otherwise, uintptr_t pc) {
  if (!is_true) trap_raise(store, otherwise, pc);
}

/* First in every helper that does more than look: the guest's frames must have left enough of the stack. Nothing may fault in the
 * guard below it that holds a lock of libc. */
static inline void require_stack(struct gw_store *store, size_t bytes, uintptr_t pc) {
  bool has_stack = (uint8_t *)__builtin_frame_address(0) > store->fiber.low + bytes;
  require(store, has_stack, GW_TRAP_STACK_OVERFLOW, pc);
}

_Noreturn void helper_trap(uint32_t trap) {
  struct exec_ctx *exec;
  __asm__("movq %%gs:%c1, %0" : "=r"(exec) : "i"(EXEC_SELF));
  trap_raise(store_of(exec), trap, CALLER);
}

void gas_exhausted(struct exec_ctx *exec, uintptr_t pc) {
  require_stack(store_of(exec), HELPER_STACK, pc);
  invocation_charge(store_of(exec), 0, pc);
}

void helper_touched(struct exec_ctx *exec) {
  struct gw_store *store = store_of(exec);
  slice_touch(store);
  if (slice_is_over(store)) invocation_yield(store);
}

/* As invocation_charge, which it leaves all but the usual case to. */
static inline void charge_host_call(struct gw_store *store, uintptr_t pc) {
  int64_t gas = (int64_t)store->schedule->gas[COST_HOST_CALL];
  if (store->engine->options.gas && store->exec.gas >= gas)
    store->exec.gas -= gas;
  else
    invocation_charge(store, (uint64_t)gas, pc);
}

static void helper_host_call(struct vmctx *vmctx, uint32_t func, union gw_value *values) {
  struct gw_instance *instance = vmctx->instance;
  struct gw_store *store = instance->store;
  uintptr_t pc = CALLER;
  require_stack(store, HOST_STACK, pc);
  const struct host_import *host = &instance->hosts[func];
  if (store->checkpoint.is_wanted && !host->is_same) checkpoint_reach(store);
  store->n_host_calls++;
  bool is_profiled = store->engine->options.profile;
  if (is_profiled) profile_enter(store, instance, func);
  charge_host_call(store, pc);
  if (invocation_is_to_end(store)) trap_raise(store, GW_TRAP_CANCELLED, pc);
  enum gw_trap trap = store->record ? record_call(store->record, instance, func, values) : host->fn(instance, host->env, values);
  if ((unsigned)trap >= GW_TRAP_COUNT) trap = GW_TRAP_HOST;
  if (is_profiled) profile_leave(store);
  if (trap == GW_TRAP_NONE && store->is_cancelled) trap = GW_TRAP_CANCELLED; /* it went on behind its end */
  if (trap == GW_TRAP_NONE) {
    store->trap.message[0] = 0; /* of a failure that the host function got over */
    return;
  }
  store->trap.instance = instance;
  store->trap.func = func;
  trap_raise(store, trap, 0);
}

/* --- memories ----------------------------------------------------------------------------------------------------- */

static uint64_t growth_gas(const struct gw_store *store, const struct gw_memory *m, uint64_t pages) {
  return gas_of_pages(pages << m->limits.page_size_log2, store->schedule->gas[COST_MEMORY_PAGE]);
}

static int64_t helper_memory_grow(struct vmctx *vmctx, uint32_t memory, uint64_t pages) {
  struct gw_memory *m = vmctx->instance->memories[memory];
  struct gw_store *store = vmctx->instance->store;
  require_stack(store, HELPER_STACK, CALLER);
  uint64_t before = memory_pages(m);
  if (!memory_can_grow(m, pages)) return -1;
  invocation_charge(store, growth_gas(store, m, pages), CALLER);
  return memory_grow(m, pages) ? (int64_t)before : -1;
}

static void helper_memory_fill(struct vmctx *vmctx, uint32_t memory, uint64_t dst, uint32_t value, uint64_t n) {
  struct memory_ctx *m = &vmctx->instance->memories[memory]->ctx;
  struct gw_store *store = vmctx->instance->store;
  require_stack(store, HELPER_STACK, CALLER);
  require(store, is_within(dst, n, m->bytes), GW_TRAP_MEMORY_OUT_OF_BOUNDS, CALLER);
  struct pieces p = begin_pieces(store, n, true, CALLER);
  while (next_piece(&p)) memset(m->base + dst + p.at, (int)(value & 0xff), p.size);
}

static void helper_memory_copy(struct vmctx *vmctx, uint32_t dst_memory, uint32_t src_memory, uint64_t dst, uint64_t src,
                               uint64_t n) {
  struct memory_ctx *to = &vmctx->instance->memories[dst_memory]->ctx;
  struct memory_ctx *from = &vmctx->instance->memories[src_memory]->ctx;
  struct gw_store *store = vmctx->instance->store;
  require_stack(store, HELPER_STACK, CALLER);
  bool ok = is_within(dst, n, to->bytes) && is_within(src, n, from->bytes);
  require(store, ok, GW_TRAP_MEMORY_OUT_OF_BOUNDS, CALLER);
  struct pieces p = begin_pieces(store, n, true, CALLER);
  copy_pieces(&p, to->base + dst, from->base + src, 1);
}

static void helper_memory_init(struct vmctx *vmctx, uint32_t memory, uint32_t segment, uint64_t dst, uint32_t src, uint32_t n) {
  struct gw_instance *instance = vmctx->instance;
  require_stack(instance->store, HELPER_STACK, CALLER);
  bool ok = segment_has_data(instance, segment, src, n) && is_within(dst, n, instance->memories[memory]->ctx.bytes);
  require(instance->store, ok, GW_TRAP_MEMORY_OUT_OF_BOUNDS, CALLER);
  struct pieces p = begin_pieces(instance->store, n, true, CALLER);
  while (next_piece(&p)) segment_init_memory(instance, memory, segment, dst + p.at, src + (uint32_t)p.at, (uint32_t)p.size);
}

static void helper_data_drop(struct vmctx *vmctx, uint32_t segment) { vmctx->instance->is_data_dropped[segment] = true; }

/* --- tables ------------------------------------------------------------------------------------------------------- */

static void fill_entries(void **entries, void *ref, uint64_t n) {
  for (uint64_t i = 0; i < n; i++) entries[i] = ref;
}

/* Until the last piece is filled, the new entries lie behind the table's end. */
static int64_t helper_table_grow(struct vmctx *vmctx, uint32_t table, uint64_t n, void *ref) {
  struct gw_table *t = vmctx->instance->tables[table];
  require_stack(vmctx->instance->store, HELPER_STACK, CALLER);
  uint64_t before = t->ctx.size;
  if (!table_can_grow(t, n)) return -1;
  struct pieces p = begin_pieces(vmctx->instance->store, n, false, CALLER);
  if (!table_reserve(t, n)) return -1;
  while (next_piece(&p)) fill_entries(t->ctx.entries + before + p.at, ref, p.size);
  table_set_size(t, before + n);
  return (int64_t)before;
}

static void helper_table_fill(struct vmctx *vmctx, uint32_t table, uint64_t dst, void *ref, uint64_t n) {
  struct gw_table *t = vmctx->instance->tables[table];
  struct gw_store *store = vmctx->instance->store;
  require_stack(store, HELPER_STACK, CALLER);
  require(store, is_within(dst, n, t->ctx.size), GW_TRAP_TABLE_OUT_OF_BOUNDS, CALLER);
  struct pieces p = begin_pieces(store, n, false, CALLER);
  table_note(t, dst, n);
  while (next_piece(&p)) fill_entries(t->ctx.entries + dst + p.at, ref, p.size);
}

static void helper_table_copy(struct vmctx *vmctx, uint32_t dst_table, uint32_t src_table, uint64_t dst, uint64_t src,
                              uint64_t n) {
  struct table_ctx *to = &vmctx->instance->tables[dst_table]->ctx, *from = &vmctx->instance->tables[src_table]->ctx;
  struct gw_store *store = vmctx->instance->store;
  require_stack(store, HELPER_STACK, CALLER);
  bool ok = is_within(dst, n, to->size) && is_within(src, n, from->size);
  require(store, ok, GW_TRAP_TABLE_OUT_OF_BOUNDS, CALLER);
  struct pieces p = begin_pieces(store, n, false, CALLER);
  table_note(vmctx->instance->tables[dst_table], dst, n);
  copy_pieces(&p, (uint8_t *)(to->entries + dst), (uint8_t *)(from->entries + src), sizeof *to->entries);
}

static void helper_table_init(struct vmctx *vmctx, uint32_t table, uint32_t segment, uint64_t dst, uint32_t src, uint32_t n) {
  struct gw_instance *instance = vmctx->instance;
  require_stack(instance->store, HELPER_STACK, CALLER);
  bool ok = segment_has_elems(instance, segment, src, n) && is_within(dst, n, instance->tables[table]->ctx.size);
  require(instance->store, ok, GW_TRAP_TABLE_OUT_OF_BOUNDS, CALLER);
  struct pieces p = begin_pieces(instance->store, n, false, CALLER);
  while (next_piece(&p)) segment_init_table(instance, table, segment, dst + p.at, src + (uint32_t)p.at, (uint32_t)p.size);
}

/* Whether the function may be called as a type that its own is not, but may have been declared to lie below. */
static uint32_t helper_is_subtype(struct vmctx *vmctx, const struct func_ref *func, uint32_t type_id) {
  (void)vmctx;
  const struct module *m = &func->vmctx->instance->module->decoded;
  return type_matches(m, m->funcs[func->index].type, type_id);
}

/* --- exceptions --------------------------------------------------------------------------------------------------- */

static void *helper_throw_new(struct vmctx *vmctx, uint32_t tag) {
  struct gw_store *store = vmctx->instance->store;
  require_stack(store, HELPER_STACK, CALLER);
  struct exception *e = exception_create(&store->exceptions, vmctx->instance->tags[tag], CALLER);
  require(store, e, GW_TRAP_EXCEPTION_MEMORY, CALLER);
  store->exec.exception = e;
  return e;
}

static void helper_rethrow(struct vmctx *vmctx, void *exception) {
  struct gw_store *store = vmctx->instance->store;
  require_stack(store, HELPER_STACK, CALLER);
  struct exception *again = exception_rethrow(&store->exceptions, exception);
  require(store, again, GW_TRAP_EXCEPTION_MEMORY, CALLER);
  store->exec.exception = again;
}

static void helper_exception_drop(struct vmctx *vmctx, void *exception) {
  require_stack(vmctx->instance->store, HELPER_STACK, CALLER);
  exception_destroy(&vmctx->instance->store->exceptions, exception);
}

static void *helper_exception_hold(struct vmctx *vmctx, void *exception, uint32_t depth, uint32_t level) {
  struct gw_store *store = vmctx->instance->store;
  require_stack(store, HELPER_STACK, CALLER);
  struct exception *held = exception_hold(&store->exceptions, exception, depth, level);
  require(store, held, GW_TRAP_EXCEPTION_MEMORY, CALLER);
  return held;
}

static void helper_elem_drop(struct vmctx *vmctx, uint32_t segment) { vmctx->instance->is_elem_dropped[segment] = true; }

static void helper_profile_enter(struct vmctx *vmctx, uint32_t func) {
  profile_enter(vmctx->instance->store, vmctx->instance, func);
}

static void helper_profile_leave(struct vmctx *vmctx) { profile_leave(vmctx->instance->store); }

const struct helpers runtime_helpers = {
#define HELPER(id, result, params, sig, flags) .id = helper_##id,
#include "abi/helper.def"
#undef HELPER
};
