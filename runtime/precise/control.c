/* Control, calls, exceptions and everything else of the precise tier that the opcode table does not describe; and the way in.
 *
 * Frames lie on a stack of their own, and a call is a jump: the native stack (the fiber's) stays where it is, so that host
 * functions find all of it. What may trap, throw or yield in the runtime's helpers notes pc first. */
#include "base/clock.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/speculation.h"
#include "frontend/types.h"
#include "runtime/arch/exhausted.h"
#include "runtime/beside.h"
#include "runtime/guarded.h"
#include "runtime/park.h"
#include "runtime/precise/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_PLACE (store->precise.pc = pc)

_Noreturn void precise_trap(const struct precise_insn *pc, struct gw_store *store, enum gw_trap trap) {
  store->precise.pc = pc;
  trap_raise(store, trap, 0);
}

_Noreturn void precise_trap_access(const struct precise_insn *pc, struct gw_store *store, const struct memory_ctx *memory,
                                   uint64_t address) {
  store->trap.memory = (const struct gw_memory *)memory;
  store->trap.address = address < memory->bytes ? memory->bytes : address; /* the first byte that is not there */
  precise_trap(pc, store, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
}

/* --- gas, values, branches ------------------------------------------------------------------------------------------ */

HANDLER(do_charge) {
  if (__builtin_expect((store->exec.gas -= (int64_t)pc->imm) < 0, 0)) {
    NOTE_PLACE;
    gas_exhausted(vmctx->exec, 0);
  }
  NEXT;
}

HANDLER(do_constant) {
  SLOT(pc->a).u64 = pc->imm;
  NEXT;
}

HANDLER(do_constant_v128) {
  memcpy(&SLOT(pc->a), pc->pointer, SLOT_SIZE);
  NEXT;
}

HANDLER(do_copy) {
  SLOT(pc->a).u64 = SLOT(pc->b).u64;
  NEXT;
}

HANDLER(do_copy_v128) {
  SLOT(pc->a) = SLOT(pc->b);
  NEXT;
}

HANDLER(do_copy_many) {
  memmove(precise_slots(store, fp, pc->a, pc->c), precise_slots(store, fp, pc->b, pc->c), (size_t)pc->c * SLOT_SIZE);
  NEXT;
}

HANDLER(do_select) {
  SLOT(pc->a).u64 = SLOT(SLOT(pc->d).u32 ? pc->b : pc->c).u64;
  NEXT;
}

HANDLER(do_select_v128) {
  SLOT(pc->a) = SLOT(SLOT(pc->d).u32 ? pc->b : pc->c);
  NEXT;
}

HANDLER(do_branch) { JUMP; }

HANDLER(do_branch_if) {
  if (SLOT(pc->a).u32) JUMP;
  NEXT;
}

HANDLER(do_branch_unless) {
  if (!SLOT(pc->a).u32) JUMP;
  NEXT;
}

HANDLER(do_branch_null) {
  if (!SLOT(pc->a).ref) JUMP;
  NEXT;
}

HANDLER(do_branch_not_null) {
  if (SLOT(pc->a).ref) JUMP;
  NEXT;
}

HANDLER(do_branch_table) {
  pc += 1 + clamp_index(SLOT(pc->a).u32, pc->b);
  DISPATCH;
}

HANDLER(do_unreachable) {
  (void)fp, (void)vmctx, (void)memory;
  precise_trap(pc, store, GW_TRAP_UNREACHABLE);
}

/* --- calls ---------------------------------------------------------------------------------------------------------- */

struct memory_ctx *precise_memory0(const struct vmctx *vmctx) {
  static struct memory_ctx none;
  const struct gw_instance *instance = vmctx->instance;
  return instance->module->decoded.n_memories ? &instance->memories[0]->ctx : &none;
}

static struct precise_module *module_of(const struct vmctx *vmctx) { return vmctx->instance->precise; }

/* Interpreted modules keep nothing: there are many, and translating is rare. */
static void drop_large_room(struct precise_module *p) {
  enum { MOST_KEPT = 1 << 20 };
  const struct precise_room *room = &p->room;
  size_t bytes = price_room_bytes(&room->prices) + room->insns_capacity * sizeof *room->insns;
  if (!p->baseline || bytes > MOST_KEPT) precise_room_clear(&p->room);
}

/* n functions from `funcs` on, those that are not yet. Callers hold the lock. */
static void translate_some(struct precise_module *p, struct precise_func *funcs, uint32_t n) {
  double start = p->baseline ? clock_seconds(CLOCK_MONOTONIC) : 0;
  for (uint32_t i = 0; i < n; i++)
    if (!atomic_load_explicit(&funcs[i].code, memory_order_relaxed)) precise_translate(&funcs[i], NULL);
  drop_large_room(p);
  if (!p->baseline) return;
  if (!baseline_publish(p->baseline, funcs, n)) translate_some(p, funcs, n); /* without: to be interpreted */
  baseline_add_seconds(p->baseline, clock_seconds(CLOCK_MONOTONIC) - start);
}

/* Bytes of a body that take more than a millisecond or two. */
enum { LONG_BODY = 8 << 10 };

struct beside {
  struct gw_module *module; /* retained */
  struct precise_func *func;
  struct park *park;
};

/* Callers hold the lock, and let go of it here. */
static void translate_locked(struct precise_func *func) {
  if (!atomic_load_explicit(&func->code, memory_order_relaxed)) translate_some(func->module, func, 1);
  pthread_mutex_unlock(&func->module->module->precise_lock);
}

static void translate_waiting(struct precise_func *func) {
  pthread_mutex_lock(&func->module->module->precise_lock);
  translate_locked(func);
}

static void work_beside(void *arg) {
  struct beside b = *(struct beside *)arg;
  free(arg);
  translate_waiting(b.func);
  park_wake(b.park);
  gw_module_release(b.module);
}

/* On another thread, while others run on this one. */
static void translate_beside(struct gw_store *store, struct precise_func *func) {
  struct beside *b = heap_new(1, sizeof *b);
  *b = (struct beside){gw_module_retain(func->module->module), func, park_begin(store)};
  if (!beside_run(store->engine, work_beside, b)) work_beside(b);
  park_here(store);
}

/* Where slices are bounded by time, nobody waits for more than a short function here, and then the clock is looked at. */
__attribute__((noinline)) static const struct precise_insn *translate(struct gw_store *store, struct precise_func *func) {
  struct gw_module *module = func->module->module;
  const struct func *body = &module->decoded.funcs[func->index];
  bool is_timed = store->options.slice_ns && store->wake;
  if (!is_timed)
    translate_waiting(func);
  else if (body->end - body->body > LONG_BODY || pthread_mutex_trylock(&module->precise_lock) != 0)
    translate_beside(store, func);
  else
    translate_locked(func);
  if (is_timed) slice_look_soon(store);
  return func->code;
}

void precise_module_translate(struct precise_module *p) {
  const struct module *m = &p->module->decoded;
  pthread_mutex_lock(&p->module->precise_lock);
  translate_some(p, p->funcs + m->n_imported_funcs, m->n_funcs - m->n_imported_funcs);
  pthread_mutex_unlock(&p->module->precise_lock);
}

/* A frame that ends behind the stack costs more than is left, too (PRECISE_FRAME_BEYOND). The call's own frame may be gone
 * already: a tail call's arguments lie on it. Its caller's is whole. */
__attribute__((noinline)) _Noreturn static void trap_at_caller(struct gw_store *store, struct precise_frame *caller,
                                                               const struct precise_insn *return_pc) {
  store->precise.frame = caller;
  precise_trap(return_pc - (caller->caller != NULL), store, GW_TRAP_STACK_OVERFLOW);
}

/* A new frame at `at`, where the arguments are. The caller's part of it is filled in already. Returns the first instruction. */
__attribute__((always_inline)) static inline const struct precise_insn *
enter(struct gw_store *store, struct precise_func *func, struct vmctx *vmctx, uint8_t *at, struct precise_frame from) {
  const struct precise_insn *code = atomic_load_explicit(&func->code, memory_order_acquire);
  if (__builtin_expect(!code, 0)) code = translate(store, func);
  from.vmctx = vmctx;
  from.func = func;
  if (__builtin_expect(at + func->frame_bytes > store->precise.high, 0)) {
    assert(from.depth_in < func->cost);
    trap_at_caller(store, from.caller, from.return_pc); /* not `from` by its address, which would put it in memory */
  }
  struct precise_frame *frame = (struct precise_frame *)(void *)(at + func->header);
  from.depth = from.depth_in - func->cost;
  *frame = from;
  store->precise.frame = frame;
  if (__builtin_expect(from.depth < 0, 0)) precise_trap(code, store, GW_TRAP_STACK_OVERFLOW);
  if (func->n_zero) memset(at + (size_t)func->n_params * SLOT_SIZE, 0, (size_t)func->n_zero * SLOT_SIZE);
  return code;
}

static inline struct precise_frame call_from(struct gw_store *store, const struct precise_insn *pc, uint8_t *fp) {
  struct precise_frame *caller = store->precise.frame;
  return (struct precise_frame){.return_pc = pc + 1, .return_fp = fp, .caller = caller, .depth_in = caller->depth};
}

/* A tail call's frame takes the place of the caller's, whose arguments it gets. */
static inline struct precise_frame tail_from(struct gw_store *store, const struct precise_insn *pc, uint8_t *fp) {
  struct precise_frame caller = *store->precise.frame;
  memmove(precise_slots(store, fp, 0, pc->b), precise_slots(store, fp, pc->a, pc->b), (size_t)pc->b * SLOT_SIZE);
  return caller;
}

/* Whether a host function's parameters and results at `at` lie inside of the frame that calls. */
__attribute__((unused)) static inline bool has_room_for(const struct func_ref *ref, const struct precise_frame *frame,
                                                        const uint8_t *at) {
  const struct module *m = &ref->vmctx->instance->module->decoded;
  const struct func_type *type = &m->types[m->funcs[ref->index].type].func;
  uint32_t n = type->n_params > type->n_results ? type->n_params : type->n_results;
  return at + (size_t)n * SLOT_SIZE <= (const uint8_t *)frame - frame->func->header + frame->func->frame_bytes;
}

/* Host functions throw no exceptions. */
static inline void call_host(struct gw_store *store, const struct precise_insn *pc, const struct func_ref *ref, uint8_t *at) {
  NOTE_PLACE;
  assert(!store->precise.frame->caller || has_room_for(ref, store->precise.frame, at));
  runtime_helpers.host_call(ref->vmctx, ref->index, (union gw_value *)(void *)at);
}

HANDLER(do_call) {
  uint8_t *at = fp + pc->a;
  pc = enter(store, (struct precise_func *)pc->pointer, vmctx, at, call_from(store, pc, fp));
  fp = at;
  DISPATCH;
}

HANDLER(do_tail_call) {
  struct precise_func *func = (struct precise_func *)pc->pointer;
  pc = enter(store, func, vmctx, fp, tail_from(store, pc, fp));
  DISPATCH;
}

/* Whether a function is the host's, imported by the instance whose vmctx the reference has. */
static bool is_host(const struct func_ref *ref) { return ref->index < ref->vmctx->instance->module->decoded.n_imported_funcs; }

/* Calls what a reference leads to, with arguments at slot a. */
#define CALL_REFERENCE(reference)                                             \
  do {                                                                        \
    const struct func_ref *ref = (reference);                                 \
    uint8_t *at = fp + pc->a;                                                 \
    if (is_host(ref)) {                                                       \
      call_host(store, pc, ref, at);                                          \
      NEXT;                                                                   \
    }                                                                         \
    struct precise_frame from = call_from(store, pc, fp);                     \
    if (ref->vmctx != vmctx) memory = precise_memory0(ref->vmctx);            \
    vmctx = ref->vmctx;                                                       \
    pc = enter(store, &module_of(vmctx)->funcs[ref->index], vmctx, at, from); \
    fp = at;                                                                  \
    DISPATCH;                                                                 \
  } while (0)

HANDLER(do_call_import) { CALL_REFERENCE(vmctx->instance->funcs[pc->c]); }

HANDLER(do_call_ref) { CALL_REFERENCE((const struct func_ref *)SLOT(pc->c).ref); }

/* Goes back to the caller of a frame, of which this is a copy: results may lie on the frame itself by now. */
#define LEAVE(frame)                                           \
  do {                                                         \
    pc = (frame).return_pc;                                    \
    fp = (frame).return_fp;                                    \
    store->precise.frame = (frame).caller;                     \
    if (__builtin_expect((frame).caller->vmctx != vmctx, 0)) { \
      vmctx = (frame).caller->vmctx;                           \
      memory = precise_memory0(vmctx);                         \
    }                                                          \
    DISPATCH;                                                  \
  } while (0)

#define TAIL_CALL_REFERENCE(reference)                                               \
  do {                                                                               \
    const struct func_ref *ref = (reference);                                        \
    if (is_host(ref)) {                                                              \
      uint8_t *values = fp + pc->a;                                                  \
      call_host(store, pc, ref, values);                                             \
      uint32_t type = ref->vmctx->instance->module->decoded.funcs[ref->index].type;  \
      uint32_t n = ref->vmctx->instance->module->decoded.types[type].func.n_results; \
      struct precise_frame frame = *store->precise.frame;                            \
      memmove(precise_slots(store, fp, 0, n), values, (size_t)n *SLOT_SIZE);         \
      LEAVE(frame);                                                                  \
    }                                                                                \
    struct precise_frame from = tail_from(store, pc, fp);                            \
    vmctx = ref->vmctx;                                                              \
    memory = precise_memory0(vmctx);                                                 \
    pc = enter(store, &module_of(vmctx)->funcs[ref->index], vmctx, fp, from);        \
    DISPATCH;                                                                        \
  } while (0)

HANDLER(do_tail_call_import) { TAIL_CALL_REFERENCE(vmctx->instance->funcs[pc->c]); }

HANDLER(do_tail_call_ref) { TAIL_CALL_REFERENCE((const struct func_ref *)SLOT(pc->c).ref); }

HANDLER(do_finish) {
  struct precise_frame frame = *store->precise.frame;
  LEAVE(frame);
}

HANDLER(do_finish_one) {
  struct precise_frame frame = *store->precise.frame;
  SLOT(0).u64 = SLOT(pc->a).u64;
  LEAVE(frame);
}

HANDLER(do_finish_many) {
  struct precise_frame frame = *store->precise.frame;
  memmove(precise_slots(store, fp, 0, pc->c), precise_slots(store, fp, pc->a, pc->c), (size_t)pc->c * SLOT_SIZE);
  LEAVE(frame);
}

HANDLER(do_table_func) {
  const struct table_ctx *t = &vmctx->instance->tables[pc->c]->ctx;
  uint64_t i = pc->d ? SLOT(pc->b).u64 : SLOT(pc->b).u32;
  if (i >= t->size) precise_trap(pc, store, GW_TRAP_UNDEFINED_ELEMENT);
  i = clamp_index(i, t->size);
  if (!t->entries[i]) precise_trap(pc, store, GW_TRAP_UNINITIALIZED_ELEMENT);
  SLOT(pc->a).ref = t->entries[i];
  NEXT;
}

HANDLER(do_check_type) {
  const struct func_ref *ref = SLOT(pc->a).ref;
  uint32_t wanted = vmctx->instance->module->decoded.types[pc->b].canonical;
  if (__builtin_expect(ref->type_id != wanted, 0) && (pc->c || !runtime_helpers.is_subtype(vmctx, ref, wanted)))
    precise_trap(pc, store, GW_TRAP_INDIRECT_CALL_TYPE);
  NEXT;
}

/* --- globals, tables, memories, references ------------------------------------------------------------------------------ */

static inline union gw_value *global_cell(const struct vmctx *vmctx, uint32_t offset) {
  return *(union gw_value *const *)(const void *)((const uint8_t *)vmctx + offset);
}

HANDLER(do_global_get) {
  SLOT(pc->a).u64 = global_cell(vmctx, pc->b)->u64;
  NEXT;
}

HANDLER(do_global_set) {
  global_cell(vmctx, pc->b)->u64 = SLOT(pc->a).u64;
  NEXT;
}

HANDLER(do_global_get_v128) {
  SLOT(pc->a) = *global_cell(vmctx, pc->b);
  NEXT;
}

HANDLER(do_global_set_v128) {
  *global_cell(vmctx, pc->b) = SLOT(pc->a);
  NEXT;
}

static struct table_ctx *table(const struct vmctx *vmctx, uint32_t index) { return &vmctx->instance->tables[index]->ctx; }

HANDLER(do_table_get) {
  const struct table_ctx *t = table(vmctx, pc->c);
  uint64_t i = pc->d ? SLOT(pc->b).u64 : SLOT(pc->b).u32;
  if (i >= t->size) precise_trap(pc, store, GW_TRAP_TABLE_OUT_OF_BOUNDS);
  i = clamp_index(i, t->size);
  SLOT(pc->a).ref = t->entries[i];
  NEXT;
}

HANDLER(do_table_set) {
  const struct table_ctx *t = table(vmctx, pc->c);
  uint64_t i = pc->d ? SLOT(pc->a).u64 : SLOT(pc->a).u32;
  if (i >= t->size) precise_trap(pc, store, GW_TRAP_TABLE_OUT_OF_BOUNDS);
  i = clamp_index(i, t->size);
  t->entries[i] = SLOT(pc->b).ref;
  t->written[i / TABLE_CHUNK] = 1;
  NEXT;
}

HANDLER(do_table_size) {
  SLOT(pc->a).u64 = table(vmctx, pc->c)->size;
  NEXT;
}

/* Sizes, and -1, in the width of the index. */
static uint64_t sized(int64_t v, uint32_t is_64) { return is_64 ? (uint64_t)v : (uint32_t)v; }

HANDLER(do_table_grow) {
  NOTE_PLACE;
  int64_t old = runtime_helpers.table_grow(vmctx, pc->c, SLOT(pc->a + SLOT_SIZE).u64, SLOT(pc->a).ref);
  SLOT(pc->a).u64 = sized(old, pc->d);
  NEXT;
}

#define ARGUMENT(i) (SLOT(pc->a + (i)*SLOT_SIZE).u64)

HANDLER(do_table_fill) {
  NOTE_PLACE;
  runtime_helpers.table_fill(vmctx, pc->c, ARGUMENT(0), SLOT(pc->a + SLOT_SIZE).ref, ARGUMENT(2));
  NEXT;
}

HANDLER(do_table_copy) {
  NOTE_PLACE;
  runtime_helpers.table_copy(vmctx, pc->c, pc->d, ARGUMENT(0), ARGUMENT(1), ARGUMENT(2));
  NEXT;
}

HANDLER(do_table_init) {
  NOTE_PLACE;
  runtime_helpers.table_init(vmctx, pc->c, pc->d, ARGUMENT(0), (uint32_t)ARGUMENT(1), (uint32_t)ARGUMENT(2));
  NEXT;
}

HANDLER(do_elem_drop) {
  runtime_helpers.elem_drop(vmctx, pc->c);
  NEXT;
}

HANDLER(do_memory_select) {
  store->precise.selected = &vmctx->instance->memories[pc->c]->ctx;
  store->precise.is_selected_64 = pc->d;
  NEXT;
}

HANDLER(do_lane_select) {
  store->precise.vector = SLOT(pc->a);
  store->precise.lane = (uint8_t)pc->b;
  NEXT;
}

HANDLER(do_memory_size) {
  SLOT(pc->a).u64 = memory_pages(vmctx->instance->memories[pc->c]);
  NEXT;
}

HANDLER(do_memory_grow) {
  NOTE_PLACE;
  uint64_t pages = pc->d ? SLOT(pc->b).u64 : SLOT(pc->b).u32;
  SLOT(pc->a).u64 = sized(runtime_helpers.memory_grow(vmctx, pc->c, pages), pc->d);
  NEXT;
}

HANDLER(do_memory_fill) {
  NOTE_PLACE;
  runtime_helpers.memory_fill(vmctx, pc->c, ARGUMENT(0), (uint32_t)ARGUMENT(1), ARGUMENT(2));
  NEXT;
}

HANDLER(do_memory_copy) {
  NOTE_PLACE;
  runtime_helpers.memory_copy(vmctx, pc->c, pc->d, ARGUMENT(0), ARGUMENT(1), ARGUMENT(2));
  NEXT;
}

HANDLER(do_memory_init) {
  NOTE_PLACE;
  runtime_helpers.memory_init(vmctx, pc->c, pc->d, ARGUMENT(0), (uint32_t)ARGUMENT(1), (uint32_t)ARGUMENT(2));
  NEXT;
}

HANDLER(do_data_drop) {
  runtime_helpers.data_drop(vmctx, pc->c);
  NEXT;
}

HANDLER(do_ref_func) {
  SLOT(pc->a).ref = vmctx->instance->funcs[pc->c];
  NEXT;
}

HANDLER(do_ref_is_null) {
  SLOT(pc->a).u64 = !SLOT(pc->b).ref;
  NEXT;
}

HANDLER(do_ref_non_null) {
  if (!SLOT(pc->a).ref) precise_trap(pc, store, pc->c);
  NEXT;
}

/* --- exceptions: exec.exception is pending until a clause takes it ------------------------------------------------------ */

/* Where a pending exception goes from the call or throw before `pc`: its handler, or out of the frame, and so on. */
static const struct precise_insn *find_handler(struct gw_store *store, const struct precise_insn *pc, uint8_t **fp) {
  while (pc->run != do_on_exception && store->precise.frame->caller) {
    const struct precise_frame *frame = store->precise.frame;
    pc = frame->return_pc;
    *fp = frame->return_fp;
    store->precise.frame = frame->caller;
  }
  return pc->run == do_on_exception ? pc + (int32_t)pc->c : pc;
}

#define PROPAGATE(from)                  \
  do {                                   \
    pc = find_handler(store, from, &fp); \
    vmctx = store->precise.frame->vmctx; \
    memory = precise_memory0(vmctx);     \
    DISPATCH;                            \
  } while (0)

HANDLER(do_throw_tag) {
  struct gw_instance *instance = vmctx->instance;
  const struct gw_tag *tag = instance->tags[pc->c];
  struct exception *e = exception_create(&store->exceptions, tag, (uintptr_t)pc);
  if (!e) precise_trap(pc, store, GW_TRAP_EXCEPTION_MEMORY);
  if (tag->type->n_params) memcpy(e->values, &SLOT(pc->a), (size_t)tag->type->n_params * SLOT_SIZE);
  store->exec.exception = e;
  PROPAGATE(pc + 1);
}

HANDLER(do_throw_ref) {
  if (!SLOT(pc->a).ref) precise_trap(pc, store, GW_TRAP_NULL_EXCEPTION);
  store->exec.exception = SLOT(pc->a).ref;
  PROPAGATE(pc + 1);
}

HANDLER(do_rethrow) {
  NOTE_PLACE;
  runtime_helpers.rethrow(vmctx, SLOT(pc->a).ref);
  PROPAGATE(pc + 1);
}

HANDLER(do_on_exception) { NEXT; }

static const struct precise_insn leave_frame = {.run = do_finish};

HANDLER(do_unwind) { PROPAGATE(&leave_frame); }

/* Compiled code makes no frame here: this one is what it was entered by. Results may lie where the frame was. */
__attribute__((no_sanitize("function"))) static HANDLER(do_compiled) {
  struct precise_frame *at = store->precise.frame, frame = *at;
  NOTE_PLACE;
  if (__builtin_expect(compiled_is_ahead(vmctx->instance), 0)) precise_attach(vmctx->instance);
  frame.func->enter(vmctx, frame.depth_in, frame.func->compiled, (union gw_value *)(void *)fp);
  if (__builtin_expect(store->exec.exception != NULL, 0)) {
    *at = frame;
    PROPAGATE(&leave_frame);
  }
  LEAVE(frame);
}

const struct precise_insn precise_compiled = {.run = do_compiled};

HANDLER(do_clause_charge) {
  store->exec.gas -= (int64_t)pc->imm;
  NEXT;
}

HANDLER(do_clause_tag) {
  const struct exception *e = store->exec.exception;
  const struct gw_tag *tag = vmctx->instance->tags[pc->b];
  if (e->tag != tag) JUMP;
  memcpy(precise_slots(store, fp, pc->a, tag->type->n_params), e->values, (size_t)tag->type->n_params * SLOT_SIZE);
  NEXT;
}

HANDLER(do_clause_take) {
  struct exception *e = store->exec.exception;
  store->exec.exception = NULL;
  e->is_shared = 1;
  SLOT(pc->a).ref = e;
  NEXT;
}

HANDLER(do_clause_drop) {
  struct exception *e = store->exec.exception;
  store->exec.exception = NULL;
  runtime_helpers.exception_drop(vmctx, e);
  NEXT;
}

HANDLER(do_clause_hold) {
  struct exception *e = store->exec.exception;
  store->exec.exception = NULL;
  e = exception_hold(&store->exceptions, e, (uint32_t)store->precise.frame->depth, pc->c);
  if (!e) precise_trap(pc, store, GW_TRAP_EXCEPTION_MEMORY);
  SLOT(pc->a).ref = e;
  NEXT;
}

/* --- the way in --------------------------------------------------------------------------------------------------------- */

bool precise_stack_open(struct gw_store *store, struct gw_error *err) {
  /* A slot has twice the bytes that the logical stack counts. Beyond it lie the host's frame with results, and the last one's:
   * a small leaf's, and slots of results or caught values that are not operands (precise_translate makes sure). */
  size_t size = (size_t)store->options.max_depth * 2 + PRECISE_FRAME_BEYOND(FREE_LEAF) + PRECISE_FRAME_BEYOND(0);
  struct precise_stack *s = &store->precise;
  if (s->low) return true;
  s->low = guarded_map(size);
  if (!s->low) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a stack: %s", strerror(errno));
  s->high = s->low + size;
  return true;
}

void precise_stack_close(struct precise_stack *s) {
  if (s->low) guarded_unmap(s->low, (size_t)(s->high - s->low));
}

/* Returns, and so ends the chain of handlers. */
static HANDLER(do_stop) { (void)pc, (void)fp, (void)store, (void)vmctx, (void)memory; }

void precise_run(struct gw_store *store, struct precise_frame *host, const struct func_ref *func) {
  static const struct precise_insn stop[2] = {{.run = do_stop}, {.run = do_stop}};
  uint8_t *fp = (uint8_t *)(host + 1);
  store->precise.frame = host;
  if (is_host(func)) {
    call_host(store, stop, func, fp);
    return;
  }
  struct precise_frame from = {.return_pc = stop, .return_fp = fp, .caller = host, .depth_in = host->depth};
  const struct precise_insn *pc = enter(store, &module_of(func->vmctx)->funcs[func->index], func->vmctx, fp, from);
  pc->run(pc, fp, store, func->vmctx, precise_memory0(func->vmctx));
}

void precise_call(struct gw_store *store, struct func_ref *func, union gw_value *values) {
  const struct module *m = &func->vmctx->instance->module->decoded;
  const struct func_type *type = &m->types[m->funcs[func->index].type].func;
  struct precise_frame *host = (struct precise_frame *)(void *)store->precise.low;
  *host = (struct precise_frame){.vmctx = func->vmctx, .depth = (int32_t)store->options.max_depth};
  store->precise.watched = NULL;
  uint8_t *fp = store->precise.low + sizeof *host;
  if (type->n_params) memcpy(fp, values, type->n_params * sizeof *values);
  precise_run(store, host, func);
  if (type->n_results && !store->exec.exception) memcpy(values, fp, type->n_results * sizeof *values);
}

/* --- places --------------------------------------------------------------------------------------------------------------- */

/* Whether an instruction of the function is at `insn`, or machine code for one. */
static bool is_of(const struct precise_func *func, const struct precise_insn *insn) {
  const struct precise_insn *code = atomic_load(&func->code);
  const uint8_t *at = (const uint8_t *)insn;
  return func->native ? at >= func->native && at < func->native + func->native_bytes
                      : code && insn >= code && insn < code + func->n_insns;
}

/* The offset of the instruction that `insn` was made for: the function is translated once more, keeping offsets this time. Code
 * of the compiler's has none. */
static void locate(const struct precise_func *func, const struct precise_insn *insn, struct precise_place *place) {
  struct precise_listing listing = {0};
  place->func = func->index;
  (void)atomic_load_explicit(&func->fast, memory_order_acquire); /* as machine code did that has called it, seen by nobody */
  place->offset = GW_NO_OFFSET;
  if (!is_of(func, insn)) return;
  struct precise_func copy = {.index = func->index, .header = func->header, .module = func->module};
  precise_translate(&copy, &listing);
  size_t index = func->native ? baseline_index(func, listing.insns, listing.n, insn) : (size_t)(insn - func->code);
  place->offset = listing.offsets[index];
  free(listing.insns);
  free(listing.offsets);
}

size_t precise_backtrace(const struct gw_store *store, struct precise_place *places, size_t most) {
  const struct precise_insn *pc = store->precise.pc;
  size_t n = 0;
  for (const struct precise_frame *f = store->precise.frame; f && f->caller; pc = f->return_pc - 1, f = f->caller, n++) {
    if (n >= most) continue;
    places[n] = (struct precise_place){.instance = f->vmctx->instance};
    locate(f->func, pc, &places[n]);
  }
  return n;
}

/* The function that has an instruction or machine code there, or NULL. */
static const struct precise_func *find_func(const struct gw_store *store, const struct precise_insn *pc,
                                            const struct gw_instance **instance) {
  for (const struct gw_instance *i = store->instances; i; i = i->next) {
    const struct precise_module *p = i->precise;
    *instance = i;
    for (uint32_t k = 0; p && k < i->module->decoded.n_funcs; k++)
      if (is_of(&p->funcs[k], pc)) return &p->funcs[k];
  }
  return NULL;
}

bool precise_find(const struct gw_store *store, uintptr_t at, struct precise_place *place) {
  const struct precise_insn *pc = (const struct precise_insn *)at;
  const struct gw_instance *instance = NULL;
  const struct precise_func *f = find_func(store, pc, &instance);
  if (!f) return false;
  *place = (struct precise_place){.instance = instance};
  locate(f, pc, place);
  return true;
}

bool precise_find_func(const struct gw_store *store, uintptr_t at, struct precise_place *place) {
  const struct precise_frame *frame = store->precise.frame;
  const struct gw_instance *instance = NULL;
  const struct precise_func *f = NULL;
  if (at) {
    f = find_func(store, (const struct precise_insn *)at, &instance);
  } else if (frame && frame->caller) {
    f = frame->func;
    instance = frame->vmctx->instance;
  }
  if (f) *place = (struct precise_place){.instance = instance, .func = f->index, .offset = GW_NO_OFFSET};
  return f != NULL;
}

/* --- modules ---------------------------------------------------------------------------------------------------------------- */

struct precise_module *precise_module_create(struct gw_module *module, enum precise_kind kind) {
  const struct module *m = &module->decoded;
  struct precise_module *p = malloc(sizeof *p);
  struct precise_func *funcs = calloc(m->n_funcs ? m->n_funcs : 1, sizeof *funcs);
  struct baseline *baseline = kind != PRECISE_INTERPRETER ? baseline_create(m) : NULL;
  bool is_mixed = kind == PRECISE_MIXED || kind == PRECISE_APART;
  struct compiled *compiled = is_mixed ? compiled_create(m) : NULL;
  if (!p || !funcs || (kind != PRECISE_INTERPRETER && !baseline) || (is_mixed && !compiled)) {
    free(p);
    free(funcs);
    baseline_destroy(baseline);
    compiled_destroy(compiled);
    return NULL;
  }
  *p = (struct precise_module){.module = module, .funcs = funcs, .baseline = baseline, .compiled = compiled};
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) {
    const struct func *f = &m->funcs[i];
    uint32_t n_params = m->types[f->type].func.n_params;
    funcs[i] = (struct precise_func){.index = i, .n_params = n_params, .n_zero = f->n_locals, .module = p};
    funcs[i].header = (n_params + f->n_locals) * SLOT_SIZE;
    funcs[i].cost = (int32_t)func_depth_cost(m, i);
    if (baseline) funcs[i].fast = baseline_call_stub(baseline);
  }
  return p;
}

bool precise_fault(struct gw_store *store, uintptr_t pc, int64_t gas) {
  for (const struct gw_instance *i = store->instances; i; i = i->next) {
    if (!i->precise || !i->precise->baseline || !baseline_has_code(i->precise->baseline, pc)) continue;
    store->precise.pc = (const struct precise_insn *)pc;
    store->exec.gas = gas;
    return true;
  }
  return false;
}

struct precise_stats precise_module_stats(const struct precise_module *p) {
  return p && p->baseline ? baseline_stats(p->baseline) : (struct precise_stats){0};
}

void precise_module_destroy(struct precise_module *p) {
  if (!p) return;
  for (uint32_t i = 0; i < p->module->decoded.n_funcs; i++)
    if (!p->funcs[i].native && p->funcs[i].code != &precise_compiled) free((void *)(uintptr_t)p->funcs[i].code);
  baseline_destroy(p->baseline);
  compiled_destroy(p->compiled);
  precise_room_clear(&p->room);
  free(p->funcs);
  free(p);
}
