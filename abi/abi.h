/* The machine interface between compiled code and the runtime. The layout stands here once; lowering reads it
 * through offsetof, the runtime uses it as C.
 *
 * Internal calling convention, for a Wasm function type [p...] -> [r...], that of C, or LLVM's `tailcc` where a module of the
 * store has tail calls:
 *   r f(struct vmctx *vmctx, int32_t depth, p...)     one result
 *   void f(...)                                       no result, or several: those are stored to exec->results[0..]
 * `depth` is what is left of the logical stack, in bytes of the deterministic frame cost. References are pointers.
 * With gas, and without tail calls, a last parameter hands the counter over, to the callee and back in a register, r12 (LLVM's
 * `swifterror`). Before a call it is stored to exec->gas, too, where a fault finds it.
 * A function that returns with exec->exception set has no results: the values it returns mean nothing.
 *
 * Compiled code reaches the world only through vmctx and its helper table: no symbols to resolve. */
#ifndef ABI_ABI_H
#define ABI_ABI_H

#include "abi/exec_offset.h"
#include "gasworks/error.h"
#include "gasworks/value.h"

#include <stddef.h>
#include <stdint.h>

enum { ABI_MAX_RESULTS = 1000, WASM_PAGE_SIZE = 65536 };

/* Pages of a 32-bit memory that starts with them. One that starts with fewer stays below, so that indices of its last page always
 * fault (jit/access/join_offsets.c). */
enum { MEMORY_MAX_PAGES_32 = 65536 };

/* Native stack for each byte of a function's cost (func_frame_cost): frames that take more are reported by the code generator,
 * and struct image has their factor. Its sizes lack the return address; arguments on the stack, at most 16 bytes for an operand
 * that cost 8, come on top. */
enum { ABI_STACK_FACTOR = 16, ABI_FRAME_HEAD = 16, ABI_ARGUMENTS_FACTOR = 2 };

/* Guests choose the factor, so it has a limit: a module with larger frames is not compiled, and the precise tier runs it. Real
 * programs have 16 at -O2 and 26 at -O0. */
enum { ABI_MAX_STACK_FACTOR = 128 };

/* Stores that run functions before they are compiled open stacks for this factor. */
enum { MIXED_STACK_FACTOR = 2 * ABI_STACK_FACTOR };

/* While compiled code runs, the base of the GS segment is its struct exec_ctx: the counter, which every call reads and writes,
 * needs no register that leads to it. LLVM's name for addresses relative to GS: */
enum { EXEC_ADDRESS_SPACE = 256 };

/* The part of an invocation that compiled code touches; shared by all instances of one store. */
struct exec_ctx {
  int64_t gas;                 /* left in the current slice; negative: exhausted */
  struct exception *exception; /* thrown and not yet caught: the caller looks after every call that may throw */
  void (*exhausted)(void);     /* what checks call when the counter is negative (runtime/arch/exhausted.h) */
  struct exec_ctx *self;
  void (*trap)(uint32_t trap); /* does not return */
  _Alignas(16) union gw_value results[ABI_MAX_RESULTS];
};

_Static_assert(offsetof(struct exec_ctx, exhausted) == EXEC_EXHAUSTED && offsetof(struct exec_ctx, self) == EXEC_SELF,
               "as assembly has it");

/* A thrown exception, and what an exnref points to. helpers->throw_new makes one and exec->exception point to it; the thrower
 * fills in the values, which never change from then on. */
struct exception {
  const void *tag;    /* identity: compared with the pointers of vmctx_layout.tags */
  uint32_t is_shared; /* an exnref to it was made (set by compiled code): who catches it later does not own it */
  _Alignas(16) union gw_value values[];
};

/* What a funcref points to. Lives as long as its instance's store. */
struct func_ref {
  void *code;          /* internal calling convention */
  struct vmctx *vmctx; /* the callee's */
  uint32_t type_id;    /* canonical, process-wide (frontend/types.h) */
  uint32_t index;      /* in the callee's module */
};

/* A linear memory as compiled code sees it; the runtime's struct memory begins with this. */
struct memory_ctx {
  uint8_t *base;  /* never changes: the whole index range is reserved */
  uint64_t bytes; /* current size */
};

/* A table likewise. `entries` and `written` may change when the table grows. Whoever writes to entry i sets
 * written[i / TABLE_CHUNK] to 1: a reset looks there for what it has to put back. */
enum { TABLE_CHUNK = 64 };

struct table_ctx {
  void **entries;
  uint64_t size;
  uint8_t *written;
};

struct helpers {
#define HELPER(id, result, params, sig, flags) result(*id) params;
#include "abi/helper.def"
#undef HELPER
};

/* Per instance. The fixed part is followed by arrays whose offsets follow from the module's counts (struct
 * vmctx_layout): pointers first, then global cells. Everything but the cells and what pointers lead to is constant
 * for the life of the instance. */
struct vmctx {
  struct exec_ctx *exec;
  const struct helpers *helpers;
  uint8_t *memory0; /* base of memory 0, NULL without one */
  struct gw_instance *instance;
  uint64_t *block_counts; /* how often each gas block was entered, where that is counted (instrument/blocks.h) */
};

struct vmctx_counts {
  uint32_t types, funcs, memories, tables, globals, imported_globals, tags;
};

/* Byte offsets from the vmctx. */
struct vmctx_layout {
  uint32_t funcs;    /* struct func_ref *[funcs] */
  uint32_t memories; /* struct memory_ctx *[memories] */
  uint32_t tables;   /* struct table_ctx *[tables] */
  uint32_t globals;  /* union gw_value *[globals]: imported ones point into the exporter, own ones to their cells */
  uint32_t tags;     /* void *[tags]: what exception.tag is compared with */
  uint32_t type_ids; /* uint32_t[types], canonical */
  uint32_t cells;    /* union gw_value[globals - imported_globals], 16-byte aligned */
  uint32_t size;
};

static inline struct vmctx_layout vmctx_layout(const struct vmctx_counts *c) {
  struct vmctx_layout l;
  l.funcs = sizeof(struct vmctx);
  l.memories = l.funcs + c->funcs * (uint32_t)sizeof(void *);
  l.tables = l.memories + c->memories * (uint32_t)sizeof(void *);
  l.globals = l.tables + c->tables * (uint32_t)sizeof(void *);
  l.tags = l.globals + c->globals * (uint32_t)sizeof(void *);
  l.type_ids = l.tags + c->tags * (uint32_t)sizeof(void *);
  l.cells = (l.type_ids + c->types * (uint32_t)sizeof(uint32_t) + 15) & ~15u;
  l.size = l.cells + (c->globals - c->imported_globals) * (uint32_t)sizeof(union gw_value);
  return l;
}

/* C-callable entry into compiled code, one per function type: loads the parameters from values[0..], calls `code`, stores
 * the results to values[0..]. */
typedef void (*entry_thunk)(struct vmctx *vmctx, int32_t depth, void *code, union gw_value *values);

#endif
