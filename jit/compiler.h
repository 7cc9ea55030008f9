/* The compiler as the runtime sees it: one small vtable in a shared object that is loaded at the first compile, so that
 * nothing else maps libLLVM. */
#ifndef JIT_COMPILER_H
#define JIT_COMPILER_H

#include "frontend/module.h"
#include "instrument/blocks.h"
#include "instrument/cost.h"

enum { COMPILER_VERSION = 3 };

enum dump_kind { DUMP_NONE, DUMP_IR_FRESH, DUMP_IR, DUMP_ASM };

struct compile_options {
  uint32_t opt_level;              /* 0..3 */
  bool gas;                        /* charge gas */
  bool exceptions;                 /* look for a pending exception after calls; must be set if the module has_exceptions */
  bool verify;                     /* run LLVM's verifier on what lowering and instrumentation made */
  const struct schedule *schedule; /* prices; must be set when gas is */
  struct gas_blocks *blocks;       /* to be filled: count how often each gas block is entered, and tell the runtime about calls;
                                      NULL: do neither. Slow */
};

/* Where a function's machine code lies. Sorted by `begin`, not overlapping. */
struct code_range {
  uintptr_t begin, end;
  uint32_t func; /* function index, or GW_NO_FUNC for thunks */
};

/* Executable code of one module. Immutable, shared between threads, freed by `release`. */
struct code {
  void *const *funcs;         /* [n_funcs]: internal convention; for imported functions: the thunk that calls the host
                                 through helpers->host_call with the importing instance's vmctx */
  const entry_thunk *entries; /* [n_types]; NULL for types that are not functions */
  const struct code_range *ranges;
  uint32_t n_ranges;
  size_t code_bytes; /* machine code */
  double seconds_lower, seconds_optimize, seconds_emit;
};

struct compiler_ops {
  uint32_t version; /* COMPILER_VERSION */
  /* Machine code for a validated module, or NULL with `err` set. Thread-safe. The module may be freed afterwards. */
  struct code *(*compile)(const struct module *m, const struct compile_options *options, struct gw_error *err);
  void (*release)(struct code *code);
  /* Text of one stage of the compilation, malloc'd for the caller, or NULL with `err` set. */
  char *(*dump)(const struct module *m, const struct compile_options *options, enum dump_kind kind, struct gw_error *err);
  const char *(*describe)(void); /* "LLVM 22.1.8, CPU znver5", static */
};

/* The one symbol that the shared object exports. */
#define COMPILER_SYMBOL "gasworks_compiler"
extern const struct compiler_ops gasworks_compiler;

#endif
