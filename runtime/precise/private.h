/* Instructions, frames and handlers of the precise tier. */
#ifndef RUNTIME_PRECISE_PRIVATE_H
#define RUNTIME_PRECISE_PRIVATE_H

#include "frontend/opcode.h"
#include "frontend/price.h"
#include "runtime/instance.h"
#include "runtime/precise/precise.h"

#include <assert.h>
#include <stdatomic.h>

struct precise_insn;
struct precise_frame;

/* Every handler gets the state of the interpreter in registers: the instruction, the frame's slots, the store (whose first field
 * is the gas counter), the running instance's vmctx, and its memory 0. */
#define PARAMS const struct precise_insn *pc, uint8_t *fp, struct gw_store *store, struct vmctx *vmctx, struct memory_ctx *memory
#define ARGS pc, fp, store, vmctx, memory
typedef __attribute__((preserve_none)) void precise_handler(PARAMS);
#define HANDLER(name) __attribute__((preserve_none)) void name(PARAMS)

/* Ends a handler: goes on with the instruction at pc. Tail calls, so that handlers are the loop. These macros hide a return:
 * every handler ends in one of them. */
#define DISPATCH __attribute__((musttail)) return pc->run(ARGS)
#define NEXT  \
  do {        \
    pc++;     \
    DISPATCH; \
  } while (0)
#define JUMP              \
  do {                    \
    pc += (int32_t)pc->c; \
    DISPATCH;             \
  } while (0)

/* a, b, c and d are byte offsets of slots from fp, or what the handler says. Branches have the distance to their target in c. */
struct precise_insn {
  precise_handler *run;
  uint32_t a, b;
  union {
    struct {
      uint32_t c, d;
    };
    uint64_t imm;
    const void *pointer;
  };
};

#define WATCH_STARTS_BLOCK (1u << 31)

enum { SLOT_SIZE = sizeof(union gw_value) };
#define SLOT(offset) (*precise_slots(store, fp, (offset), 1))

/* Slots of a frame: parameters, locals, this header, what legacy catch bodies hold, operands. A call's arguments are the last
 * operands of the caller, so frames overlap there and nothing is copied. Results go where the parameters were. */
struct precise_frame {
  const struct precise_insn *return_pc;
  uint8_t *return_fp;
  struct precise_frame *caller; /* NULL: the host */
  struct vmctx *vmctx;
  const struct precise_func *func;
  int32_t depth_in, depth; /* logical stack left: before this function took its part, and after */
};
enum { HEADER_SLOTS = sizeof(struct precise_frame) / SLOT_SIZE };

struct precise_func {
  /* NULL until translated; n_insns long, or one that leads to `native`, or precise_compiled. */
  _Atomic(const struct precise_insn *) code;
  _Atomic(const void *) fast;         /* where baseline code goes to call it; unused by the interpreter */
  const uint8_t *native;              /* its code in the baseline tier, or NULL; native_bytes long */
  uint32_t native_bytes, native_fast; /* its size; where in it `fast` is */
  uint32_t n_insns;
  uint32_t index;
  uint32_t n_params, n_zero; /* locals that begin as 0 */
  uint32_t header;           /* offset of the frame's header */
  uint32_t operands;         /* offset of the first operand */
  uint32_t frame_bytes;
  int32_t cost; /* of the logical stack; 0 for leaves */
  struct precise_module *module;
  void *compiled; /* once `code` is precise_compiled: LLVM's code, and what enters it */
  entry_thunk enter;
};

/* The most bytes of a frame whose cost is `cost`. Slots beyond the cost's are used by the frame on top alone: results of a host
 * function in a tail call, and what a clause takes before it branches. */
#define PRECISE_FRAME_BEYOND(cost) (2 * (size_t)(cost) + (size_t)(ABI_MAX_RESULTS + HEADER_SLOTS + 1) * SLOT_SIZE)

/* Memory for translating one function after another; all zero: none yet. */
struct precise_room {
  struct price_room prices;
  struct precise_insn *insns;
  struct operand *stack;
  struct control *controls;
  uint32_t *locals;
  uint32_t insns_capacity, stack_capacity, controls_capacity, locals_capacity;
};
void precise_room_clear(struct precise_room *room);

struct precise_module {
  struct gw_module *module;
  struct precise_func *funcs; /* [functions]; unused for imports */
  struct baseline *baseline;  /* of the baseline and the mixed tier, else NULL */
  struct compiled *compiled;  /* in stores of the mixed tier, else NULL */
  struct precise_room room;   /* guarded by module->precise_lock */
};

/* What a function runs instead of translated code when it has been compiled. */
extern const struct precise_insn precise_compiled;

/* Runs `func` in *host, a frame on the store's stack with vmctx and depth, behind which the arguments lie and then the results.
 * For the store's fiber. Returns with exec.exception set when an exception was not caught. */
void precise_run(struct gw_store *store, struct precise_frame *host, const struct func_ref *func);

/* The slots from `offset` on, n of them. Builds with assertions make sure of every slot that any handler reads or writes: it lies
 * inside of what translation accounted for. */
static inline union gw_value *precise_slots(const struct gw_store *store, uint8_t *fp, uint32_t offset, uint32_t n) {
  assert(offset + (uint64_t)n * SLOT_SIZE <= store->precise.frame->func->frame_bytes);
  (void)store;
  (void)n;
  return (union gw_value *)(void *)(fp + offset);
}

/* Handlers of an instruction that the opcode table describes; NULL where there is none.
 * plain: a = result, b, c, d = operands. constant: the second operand is in imm. branch_if, branch_unless: compare a with b and
 * jump by c; constant_...: compare with b as a signed number. elsewhere: accesses to what MEMORY selected. */
struct precise_handlers {
  precise_handler *plain, *constant;
  precise_handler *branch_if, *branch_unless, *constant_branch_if, *constant_branch_unless;
  precise_handler *elsewhere;
};
extern const struct precise_handlers precise_scalar[OP_COUNT], precise_vector[OP_COUNT];

/* clang-format off */
/* Handlers that translation emits by itself. The frame is store->precise.frame. */
#define PRECISE_CONTROL(X)                                                                                            \
  X(watch)             /* a: offset in the module, b: gas of the block from here on, c: operands, d: enum op, 1 << 31: block starts */ \
  X(charge)            /* imm: gas of a block, checked */                                                             \
  X(constant)          /* a = imm */                                                                                  \
  X(constant_v128)     /* a = the 16 bytes at pointer */                                                              \
  X(copy)              /* a = b, of 64 bits */                                                                        \
  X(copy_v128)         /* a = b */                                                                                    \
  X(copy_many)         /* c slots from b to a, which lies below */                                                    \
  X(select)            /* a = d ? b : c, of 64 bits */                                                                \
  X(select_v128)                                                                                                      \
  X(branch)            /* by c */                                                                                     \
  X(branch_if)         /* a != 0 */                                                                                   \
  X(branch_unless)     /* a == 0 */                                                                                   \
  X(branch_null)       /* reference a */                                                                              \
  X(branch_not_null)                                                                                                  \
  X(branch_table)      /* a: index, b: greatest one; an instruction for each follows */                               \
  X(unreachable)                                                                                                      \
  X(finish)            /* without results */                                                                          \
  X(finish_one)        /* a: result of 64 bits */                                                                     \
  X(finish_many)       /* a: first result, c: number */                                                               \
  X(call)              /* a: first argument, pointer: struct precise_func */                                          \
  X(call_import)       /* a: first argument, c: function */                                                           \
  X(call_ref)          /* a: first argument, c: slot of the reference */                                              \
  X(tail_call)         /* the same; b: number of arguments */                                                         \
  X(tail_call_import)                                                                                                 \
  X(tail_call_ref)                                                                                                    \
  X(table_func)        /* a = the function in table c at index b, traps as an indirect call does */                   \
  X(check_type)        /* a: function reference, b: type index, c: whether the type is final */                       \
  X(global_get)        /* a = global whose cell's address is at vmctx + b */                                          \
  X(global_set)        /* the same, from a */                                                                         \
  X(global_get_v128)                                                                                                  \
  X(global_set_v128)                                                                                                  \
  X(table_get)         /* a = table c [b] */                                                                          \
  X(table_set)         /* table c [a] = b */                                                                          \
  X(table_size)        /* a = size of table c */                                                                      \
  X(table_grow)        /* a: reference, then number; a = old size or -1; c: table, d: whether 64-bit */               \
  X(table_fill)        /* c: table, operands from a on, widened */                                                    \
  X(table_copy)        /* c, d: tables */                                                                             \
  X(table_init)        /* c: table, d: segment */                                                                     \
  X(elem_drop)         /* c: segment */                                                                               \
  X(memory_select)     /* memory c is what the next access is to; d: whether 64-bit */                                \
  X(lane_select)       /* the next access is to lane b of the vector in a */                                          \
  X(memory_size)       /* a = pages of memory c */                                                                    \
  X(memory_grow)       /* a = old pages or -1; memory c by b; d: whether 64-bit */                                    \
  X(memory_fill)       /* c: memory, operands from a on, widened */                                                   \
  X(memory_copy)       /* c, d: memories */                                                                           \
  X(memory_init)       /* c: memory, d: segment */                                                                    \
  X(data_drop)         /* c: segment */                                                                               \
  X(ref_func)          /* a = function c of the instance */                                                           \
  X(ref_is_null)       /* a = b is null */                                                                            \
  X(ref_non_null)      /* a, or trap c */                                                                             \
  X(throw_tag)         /* tag c, values from a on */                                                                  \
  X(throw_ref)         /* a */                                                                                        \
  X(rethrow)           /* what slot a holds */                                                                        \
  X(on_exception)      /* behind a call or throw: its exceptions go to c; does nothing itself */                      \
  X(unwind)            /* the pending exception leaves the function */                                                \
  X(clause_charge)     /* imm: gas, not checked */                                                                    \
  X(clause_tag)        /* jumps by c unless the pending exception has tag b; else its values go to a on */            \
  X(clause_take)       /* nothing is pending any more; a = reference to what was, shared */                           \
  X(clause_drop)       /* nothing is pending any more, and nobody has it */                                           \
  X(clause_hold)       /* nothing is pending any more; slot a holds it; c: nesting */
/* clang-format on */
#define DECLARE(name) HANDLER(do_##name);
PRECISE_CONTROL(DECLARE)
#undef DECLARE

/* Instructions, and where each comes from in the module's bytes. */
struct precise_listing {
  struct precise_insn *insns;
  uint64_t *offsets;
  uint32_t n;
};

/* Translates, in the baseline tier to machine code; the result is owned by the module. Callers hold module->precise_lock. With a
 * listing, whose arrays are malloc'd, nothing else is kept. */
void precise_translate(struct precise_func *func, struct precise_listing *listing);

/* The memory that handlers are given for an instance. */
struct memory_ctx *precise_memory0(const struct vmctx *vmctx);

/* compiled.c. NULL: there is no memory. */
struct compiled *compiled_create(const struct module *m);
void compiled_destroy(struct compiled *c);
/* Whether functions have been compiled since the instance was given the best code. */
bool compiled_is_ahead(const struct gw_instance *instance);

/* baseline.c. The code memory of a module; NULL: there is none to be had. */
struct baseline *baseline_create(const struct module *m);
void baseline_destroy(struct baseline *b);
/* Whether pc lies in its range. Safe in a signal handler. */
bool baseline_has_code(const struct baseline *b, uintptr_t pc);
/* Where callers go as long as a function has no code. */
const void *baseline_call_stub(const struct baseline *b);
/* Makes code of n instructions; func->native is it, to be published. False: there was no room. */
bool baseline_compile(struct baseline *b, struct precise_func *func, const struct precise_insn *insns, uint32_t n);
/* Code that was made since the last time, for some of these functions, may be run. False: it cannot, and they have none. */
bool baseline_publish(struct baseline *b, struct precise_func *funcs, uint32_t n);
void baseline_add_seconds(struct baseline *b, double seconds);
/* Which of the instructions that func->native was made of an address in it belongs to. */
uint32_t baseline_index(const struct precise_func *func, const struct precise_insn *insns, uint32_t n, const void *address);
struct precise_stats baseline_stats(const struct baseline *b);

/* Ends the invocation at the instruction pc. */
_Noreturn void precise_trap(const struct precise_insn *pc, struct gw_store *store, enum gw_trap trap);

/* Ends it at an access to `address`, which is out of bounds. */
_Noreturn void precise_trap_access(const struct precise_insn *pc, struct gw_store *store, const struct memory_ctx *memory,
                                   uint64_t address);

/* --- accesses to memory ------------------------------------------------------------------------------------------- */

static inline uint8_t *precise_within(const struct precise_insn *pc, struct gw_store *store, const struct memory_ctx *memory,
                                      uint64_t index, uint64_t size) {
  uint64_t address, end;
  bool overflows = __builtin_add_overflow(index, pc->imm, &address) || __builtin_add_overflow(address, size, &end);
  if (__builtin_expect(overflows || end > memory->bytes, 0))
    precise_trap_access(pc, store, memory, overflows ? UINT64_MAX : address);
  return memory->base + address;
}

/* Where an access of `size` bytes goes whose index is in `slot`, with the offset in imm: in a 32-bit memory 0, ... */
static inline uint8_t *precise_address(const struct precise_insn *pc, struct gw_store *store, const struct memory_ctx *memory,
                                       const union gw_value *slot, uint64_t size) {
  uint64_t address = slot->u32 + pc->imm; /* the offset has 32 bits too */
  if (__builtin_expect(address + size > memory->bytes, 0)) precise_trap_access(pc, store, memory, address);
  return memory->base + address;
}

/* ... or in the memory that was selected. */
static inline uint8_t *precise_address_elsewhere(const struct precise_insn *pc, struct gw_store *store,
                                                 const union gw_value *slot, uint64_t size) {
  const struct precise_stack *p = &store->precise;
  return precise_within(pc, store, p->selected, p->is_selected_64 ? slot->u64 : slot->u32, size);
}

#endif
