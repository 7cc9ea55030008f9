/* Shared by the parts of lowering. */
#ifndef FRONTEND_LOWER_INTERNAL_H
#define FRONTEND_LOWER_INTERNAL_H

#include "frontend/instruction.h"
#include "frontend/lower/ir.h"
#include "frontend/lower/lower.h"

#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>

enum { C_CC = 0, TAIL_CC = 18 };

struct local {
  LLVMValueRef slot; /* alloca; NULL: not yet used */
  LLVMTypeRef type;
};

/* Debug information (frontend/lower/debug.c); builder is NULL where nobody wants it. */
struct lower_debug {
  LLVMDIBuilderRef builder;
  LLVMMetadataRef module_file, type, last_file;
  const char *last_path;
  LLVMMetadataRef *functions; /* [n_funcs]; NULL until used */
};

/* One module being lowered. */
struct lower {
  const struct module *m;
  const struct lower_options *options;
  const struct lower_part *part;
  struct vmctx_layout layout;
  struct ir ir;
  struct lower_debug debug;
  LLVMValueRef *funcs;     /* [n_funcs]: bodies; thunks for imported ones; NULL until used: lower_callee */
  LLVMTypeRef *func_types; /* [n_types]: the internal calling convention */
  LLVMValueRef charge, charge_check;
  LLVMTypeRef charge_type;
  struct arena scratch; /* of functions, one after the other */
  /* Locals of the function under way (frontend/lower/local.c). */
  struct local *locals;
  uint32_t *used_locals, n_used_locals, locals_capacity;
};

/* One open control construct. */
struct control {
  enum op op; /* OP_BLOCK, OP_LOOP, OP_IF, OP_ELSE, OP_TRY_TABLE, OP_TRY, OP_CATCH, OP_CATCH_ALL; the function's own: OP_BLOCK */
  bool is_dead; /* opened in unreachable code: nothing is emitted for it */
  struct func_type type;
  val_type storage;            /* of a single result; `type` may point here */
  size_t height;               /* of the value stack below the parameters */
  LLVMBasicBlockRef target;    /* where a branch goes: the header of a loop, else the continuation */
  LLVMValueRef *phis;          /* at target: one per branch operand */
  LLVMBasicBlockRef otherwise; /* OP_IF: the else arm, not yet filled */
  LLVMValueRef *params;        /* OP_IF: operands that the else arm starts with */
  bool is_target_reached;      /* something branches to target */
  LLVMBasicBlockRef outer;     /* the handler in effect outside, or NULL */
  LLVMBasicBlockRef handler;   /* OP_TRY_TABLE, OP_TRY: where exceptions of the body go; later in OP_TRY: to the next clause */
  LLVMValueRef caught;         /* OP_CATCH, OP_CATCH_ALL: the exception */
  uint32_t catch_level;        /* number of clause bodies around */
};

/* Where a body stands in the place of a call. */
struct inlined {
  struct lower_func *caller, *outermost; /* what called it; the function that LLVM sees */
  uint32_t level;                        /* of calls replaced around */
  LLVMValueRef *arguments;
  struct local *locals;
  LLVMValueRef locals_set; /* terminator of the block that gives locals their first values */
};

/* One function being lowered. */
struct lower_func {
  struct lower *l;
  const struct func *func;
  uint32_t index;
  struct arena arena;
  LLVMValueRef value, vmctx, depth;
  LLVMValueRef locals_end; /* terminator of the entry block: allocas go before it */
  uint32_t *run_ends;      /* see frontend/lower/local.c */
  LLVMBasicBlockRef split_block;
  uint32_t split_count; /* instructions since split_block began */
  LLVMValueRef *stack;
  size_t height;
  struct control *controls; /* indexed by nesting */
  uint32_t n_controls, controls_capacity;
  bool is_dead; /* the code being read is unreachable */
  LLVMBasicBlockRef traps[GW_TRAP_COUNT];
  LLVMBasicBlockRef unwind; /* returns with the exception pending, or NULL */
  LLVMValueRef marker;      /* charge of the open gas block, or NULL */
  uint64_t marker_gas;
  uint32_t marker_instructions; /* of the block so far */
  struct block_prices prices;
  uint32_t block;                       /* the open gas block's number in options->blocks */
  uint32_t n_inlined;                   /* bytes of bodies that calls were replaced by */
  struct inlined *inlined;              /* where this is a body in the place of a call (frontend/lower/inline.c), or NULL */
  LLVMMetadataRef described, called_at; /* for debug information: the function, and the call in whose place it stands */
};

/* --- frontend/lower/lower.c --- */
/* A function of the module, for calling or defining it. */
LLVMValueRef lower_callee(struct lower *l, uint32_t index);
/* Whether functions of the type take an f64 behind their parameters that says nothing. */
bool lower_is_padded(const struct lower *l, const struct func_type *type);

/* The calling convention of Wasm functions. */
static inline unsigned lower_convention(const struct lower *l) {
  return l->options->dialect & DIALECT_TAIL_CALLS ? TAIL_CC : C_CC;
}
/* Whether Wasm functions hand the gas counter over in a register (abi/abi.h). */
static inline bool lower_hands_over(const struct lower *l) {
  return l->options->gas && !(l->options->dialect & DIALECT_TAIL_CALLS);
}
/* --- frontend/lower/debug.c: without options->lines nothing is done --- */
void lower_debug_begin(struct lower *l, struct arena *arena);
void lower_debug_end(struct lower *l);
/* What is built from now on belongs to the function, or no longer. */
void lower_debug_enter(struct lower_func *f);
void lower_debug_leave(struct lower_func *f);
/* What is built from now on belongs to the instruction at `offset` of the module. */
void lower_debug_at(struct lower_func *f, uint64_t offset);
/* --- frontend/lower/function.c --- */
void lower_function(struct lower *l, uint32_t index);
/* From the first instruction to the last. Leaves the results on the stack, or is_dead. */
void lower_body(struct lower_func *f, bool checks_gas);
/* What the function takes of the logical stack, of which `depth` is left. */
void lower_depth_check(struct lower_func *f, LLVMValueRef depth);
void lower_push(struct lower_func *f, LLVMValueRef v);
LLVMValueRef lower_pop(struct lower_func *f);
LLVMBasicBlockRef lower_new_block(struct lower_func *f, const char *name);
/* Goes on only if `condition` (i1) is false; otherwise traps. */
void lower_trap_if(struct lower_func *f, LLVMValueRef condition, enum gw_trap trap);
LLVMBasicBlockRef lower_trap_block(struct lower_func *f, enum gw_trap trap);
/* The lesser of `index` and `limit` (both i32 or i64, unsigned), also where a processor has guessed how they compare. */
LLVMValueRef lower_clamp(const struct lower *l, LLVMValueRef index, LLVMValueRef limit);

/* Notes the edge from the current block to `c`: the top operands of the stack go into its phis. Returns where to branch to. */
LLVMBasicBlockRef add_edge(struct lower_func *f, struct control *c);
/* What follows cannot be reached until the construct ends or its next arm begins. */
void begin_dead_code(struct lower_func *f);
bool lower_checks_gas_at_entry(const struct func *func);
void open_gas_block(struct lower_func *f, bool is_checked);
void close_gas_block(struct lower_func *f);
/* Profiles only: the function is about to return, or to be replaced by the one that it tail-calls. */
void lower_profile_leave(struct lower_func *f);

/* --- frontend/lower/inline.c --- */
/* Lowers the body of function `index` in place of a call of it, if that is worth it. */
bool lower_inlined_call(struct lower_func *f, uint32_t index);

/* --- frontend/lower/exception.c --- */
/* Tells a control that is being pushed what is around it. */
void lower_nest_exceptions(const struct lower_func *f, struct control *c);
/* After a call that may throw: goes on only if no exception is pending. */
void lower_check_exception(struct lower_func *f);
/* try_table and legacy try, when their control has been pushed: where exceptions of the body go. */
void lower_try(struct lower_func *f, const struct instruction *in);
/* Legacy catch and catch_all. */
void lower_catch(struct lower_func *f, const struct instruction *in);
/* The legacy try `c` has been popped, by `delegate` where `in` is one: what no clause caught goes on to the next handler. */
void lower_end_try(struct lower_func *f, struct control *c, const struct instruction *in);
/* throw, throw_ref, rethrow. */
void lower_throw(struct lower_func *f, const struct instruction *in);

/* --- frontend/lower/numeric.c: false if the instruction is not one of the table-driven ones --- */
bool lower_numeric(struct lower_func *f, const struct instruction *in);

/* --- frontend/lower/nans.c --- */
/* The result of an operation, canonical where LLVM folded it to a NaN at once. */
LLVMValueRef lower_folded(LLVMValueRef v);
/* The square root, canonical at once: LLVM 22 folds (x < 0 or x is a NaN) ? NaN : sqrt(x) to sqrt(x), which gives other NaNs. It
 * does not know this form, in which x is compared with the greatest negative number. */
LLVMValueRef lower_root(struct lower_func *f, LLVMValueRef v);

/* --- frontend/lower/simd.c: likewise, for vectors --- */
bool lower_simd(struct lower_func *f, const struct instruction *in);

/* --- frontend/lower/local.c --- */
void lower_locals_begin(struct lower_func *f); /* ends the entry block and begins the body */
void lower_locals_end(struct lower_func *f);
void lower_locals_split(struct lower_func *f); /* before each instruction: bounds the length of blocks */
const struct local *lower_local(struct lower_func *f, uint32_t index);

/* --- frontend/lower/memory.c --- */
/* Address of the `access_size` bytes at `index` + in->mem.offset of memory in->mem.memory. What is outside of the memory traps:
 * here, or by the fault that the access makes. `index` is as wide as the memory's address type. */
LLVMValueRef lower_address(struct lower_func *f, const struct instruction *in, LLVMValueRef index, uint32_t access_size);
/* In pages, of the memory's address type. */
LLVMValueRef lower_memory_size(struct lower_func *f, uint32_t memory);

/* --- frontend/lower/access.c: variables, memories, tables, references, calls --- */
void lower_access(struct lower_func *f, const struct instruction *in);

#endif
