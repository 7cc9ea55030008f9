/* The mixed tier: functions of a module that LLVM has compiled by themselves, beside all others, which run baseline code.
 *
 * Calls cross both ways on one fiber. Baseline code and the interpreter enter a function by a frame on their own stack, whatever
 * it runs; one that was compiled runs the instruction precise_compiled there, which calls LLVM's code on the native stack, with
 * the frame's slots as the values of an entry thunk. Compiled code calls what was not compiled with it through the func_ref of
 * the instance, and finds there either compiled code or a stub: a number in a register and a jump to crossing_leave,
 * assembly that puts the arguments' registers where C finds them. compiled_leave then runs the function above the frame that the
 * compiled code was entered by. So the two stacks grow in turns, and both unwind together.
 *
 * Logical stack and gas are handed over as between functions of one kind, and mean the same in both. An interpreted function
 * takes no native stack, but its share of it is there: that is what a crossing lies in.
 *
 * New code is published while others run: functions change one by one, by one store each, under the module's lock; who has called
 * the old code returns to it. An instance's func_refs belong to its store's thread, which changes them when it next enters
 * compiled code (precise_attach). Sets of code are never taken back before the module goes. */
#include "runtime/arch/crossing.h"
#include "runtime/precise/private.h"

#include <stdlib.h>
#include <sys/mman.h>

/* What was compiled at a time. */
struct compiled_set {
  struct compiled_set *next;
  struct code *code;
};

struct compiled {
  _Atomic(struct compiled_set *) sets; /* the newest first */
  atomic_uint n_sets;
  uint8_t *stubs;
  size_t stubs_size;
};

/* --- stubs ----------------------------------------------------------------------------------------------------------- */

enum { STUB = 16 };

static void write_stub(uint8_t *at, uint32_t index) {
  static const uint8_t code[STUB] = {0xb8, 0, 0, 0, 0, 0xe9}; /* mov eax, index; jmp to the beginning */
  int32_t back = -(int32_t)((index + 1) * STUB + 10);
  memcpy(at, code, sizeof code);
  memcpy(at + 1, &index, sizeof index);
  memcpy(at + 6, &back, sizeof back);
}

/* In front of all others: goes to the assembly, wherever that lies. */
static void write_way_out(uint8_t *at) {
  static const uint8_t code[STUB] = {0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0xff, 0xe3}; /* mov r11, address; jmp r11 */
  void (*to)(void) = crossing_leave;
  memcpy(at, code, sizeof code);
  memcpy(at + 2, &to, sizeof to);
}

static uint8_t *stub_of(const struct compiled *c, uint32_t index) { return c->stubs + (size_t)(index + 1) * STUB; }

struct compiled *compiled_create(const struct module *m) {
  struct compiled *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->stubs_size = ((size_t)m->n_funcs + 1) * STUB;
  void *at = mmap(NULL, c->stubs_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  c->stubs = at == MAP_FAILED ? NULL : at;
  if (c->stubs) {
    write_way_out(c->stubs);
    for (uint32_t i = 0; i < m->n_funcs; i++) write_stub(stub_of(c, i), i);
    if (mprotect(c->stubs, c->stubs_size, PROT_READ | PROT_EXEC) == 0) return c;
  }
  compiled_destroy(c);
  return NULL;
}

void compiled_destroy(struct compiled *c) {
  if (!c) return;
  for (struct compiled_set *set = atomic_load(&c->sets), *next; set; set = next) {
    next = set->next;
    code_destroy(set->code);
    free(set);
  }
  if (c->stubs) munmap(c->stubs, c->stubs_size);
  free(c);
}

/* --- publishing --------------------------------------------------------------------------------------------------------- */

/* Interpreted functions, for whose baseline code there was no memory, stay. So do those that have been compiled. */
static bool may_change(const struct precise_func *func) {
  return (!func->code || func->native) && func->code != &precise_compiled;
}

static void change(struct precise_func *func, const struct code *code, const struct baseline *baseline) {
  const struct module *m = &func->module->module->decoded;
  uint32_t least = func->header + HEADER_SLOTS * SLOT_SIZE;
  func->compiled = code->funcs[func->index];
  func->enter = code->entries[m->funcs[func->index].type];
  if (!func->code) func->frame_bytes = least;
  atomic_store_explicit(&func->fast, baseline_call_stub(baseline), memory_order_release);
  atomic_store_explicit(&func->code, &precise_compiled, memory_order_release);
}

bool precise_module_publish(struct precise_module *p, struct code *code) {
  const struct module *m = &p->module->decoded;
  struct compiled_set *set = malloc(sizeof *set);
  if (!set) {
    code_destroy(code);
    return false;
  }
  pthread_mutex_lock(&p->module->precise_lock);
  *set = (struct compiled_set){.next = atomic_load(&p->compiled->sets), .code = code};
  atomic_store(&p->compiled->sets, set); /* first: a fault in the code finds it */
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++)
    if (code->funcs[i] && may_change(&p->funcs[i])) change(&p->funcs[i], code, p->baseline);
  atomic_fetch_add(&p->compiled->n_sets, 1);
  pthread_mutex_unlock(&p->module->precise_lock);
  return true;
}

bool compiled_is_ahead(const struct gw_instance *instance) {
  const struct compiled *c = instance->precise->compiled;
  return atomic_load_explicit(&c->n_sets, memory_order_acquire) != instance->n_compiled_sets;
}

void precise_attach(struct gw_instance *instance) {
  const struct module *m = &instance->module->decoded;
  const struct precise_module *p = instance->precise;
  if (!p || !p->compiled) return;
  instance->n_compiled_sets = atomic_load_explicit(&p->compiled->n_sets, memory_order_acquire);
  for (uint32_t i = 0; i < m->n_funcs; i++) {
    const struct precise_func *func = &p->funcs[i];
    bool is_compiled = atomic_load_explicit(&func->code, memory_order_acquire) == &precise_compiled;
    instance->refs[i].code = is_compiled ? func->compiled : stub_of(p->compiled, i);
  }
}

const struct code_range *precise_find_compiled(const struct precise_module *p, uintptr_t pc) {
  if (!p || !p->compiled) return NULL;
  for (const struct compiled_set *set = atomic_load(&p->compiled->sets); set; set = set->next) {
    const struct code_range *range = code_find(set->code, pc);
    if (range) return range;
  }
  return NULL;
}

/* --- out of compiled code ----------------------------------------------------------------------------------------------- */

/* Where the next argument lies: in a register of its kind as long as there are any, then on the stack. */
struct arguments {
  const struct crossing *from;
  uint32_t n_ints, n_floats;
  uint64_t at; /* bytes of the stack's */
};

static void take_argument(struct arguments *a, val_type type, union gw_value *out) {
  enum { INTS = sizeof a->from->ints / sizeof a->from->ints[0], FLOATS = sizeof a->from->floats / sizeof a->from->floats[0] };
  bool is_vector = val_kind(type) == VAL_V128, is_float = val_kind(type) == VAL_F32 || val_kind(type) == VAL_F64;
  *out = (union gw_value){0};
  size_t size = is_vector ? 16 : val_kind(type) == VAL_I32 || val_kind(type) == VAL_F32 ? 4 : 8;
  if ((is_vector || is_float) && a->n_floats < FLOATS) {
    memcpy(out, &a->from->floats[a->n_floats++], size);
  } else if (!is_vector && !is_float && a->n_ints < INTS) {
    memcpy(out, &a->from->ints[a->n_ints++], size);
  } else {
    if (is_vector) a->at = (a->at + 15) & ~UINT64_C(15);
    memcpy(out, a->from->stack + a->at, size);
    a->at += is_vector ? 16 : 8;
  }
}

static void give_results(struct gw_store *store, const struct func_type *type, const union gw_value *values,
                         struct crossing *to) {
  if (type->n_results == 1)
    memcpy(&to->result, values, sizeof to->result);
  else if (type->n_results)
    memcpy(store->exec.results, values, type->n_results * sizeof *values);
}

/* What a crossing needs of the native stack, and what it leads to. */
enum { CROSSING_STACK = 64 << 10 };

static _Noreturn void trap_without_stack(struct gw_store *store) {
  store->precise.pc = &precise_compiled;
  trap_raise(store, GW_TRAP_STACK_OVERFLOW, 0);
}

void compiled_leave(struct vmctx *vmctx, int32_t depth, uint32_t index, struct crossing *crossing) {
  struct gw_instance *instance = vmctx->instance;
  struct gw_store *store = instance->store;
  const struct module *m = &instance->module->decoded;
  const struct func_type *type = &m->types[m->funcs[index].type].func;
  struct precise_frame *outer = store->precise.frame, *host = outer + 1;
  union gw_value *values = (union gw_value *)(void *)(host + 1);
  uint32_t n = type->n_params > type->n_results ? type->n_params : type->n_results;
  bool has_gas = store->engine->options.gas;
  if (has_gas) store->exec.gas = (int64_t)crossing->gas;
  if ((uint8_t *)__builtin_frame_address(0) < store->fiber.low + CROSSING_STACK) trap_without_stack(store);
  if ((uint8_t *)(values + n) > store->precise.high) trap_without_stack(store);
  struct arguments arguments = {.from = crossing};
  for (uint32_t i = 0; i < type->n_params; i++) take_argument(&arguments, type->params[i], &values[i]);
  *host = (struct precise_frame){.vmctx = vmctx, .depth = depth};
  precise_run(store, host, &instance->refs[index]);
  if (!store->exec.exception) give_results(store, type, values, crossing);
  store->precise.frame = outer;
  store->precise.pc = &precise_compiled;
  if (has_gas) crossing->gas = (uint64_t)store->exec.gas;
}

/* --- who runs ----------------------------------------------------------------------------------------------------------- */

uint32_t precise_list_running(const struct gw_store *store, const struct gw_instance *instance, uint32_t *funcs, uint32_t most,
                              bool *is_translated) {
  uint32_t n = 0;
  const struct precise_frame *f = store->precise.frame;
  *is_translated = store->precise.pc != &precise_compiled;
  for (; n < most && f && f->caller; f = f->caller)
    if (f->vmctx->instance == instance) funcs[n++] = f->func->index;
  return n;
}

void precise_add_published(const struct precise_module *p, struct gw_module_stats *out) {
  const struct compiled_set *set = p && p->compiled ? atomic_load(&p->compiled->sets) : NULL;
  for (; set; set = set->next) {
    out->code_bytes += set->code->code_bytes;
    out->seconds_lower += set->code->seconds.lower;
    out->seconds_charge += set->code->seconds.charge;
    out->seconds_optimize += set->code->seconds.optimize;
    out->seconds_emit += set->code->seconds.emit;
    out->seconds_link += set->code->seconds.link;
  }
}
