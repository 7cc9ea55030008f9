/* Lowering: a validated module becomes LLVM IR. */
#ifndef FRONTEND_LOWER_LOWER_H
#define FRONTEND_LOWER_LOWER_H

#include "frontend/lines.h"
#include "frontend/module.h"
#include "instrument/blocks.h"
#include "instrument/schedule.h"

#include <llvm-c/Core.h>

/* Symbols of what a module defines: its functions, thunks for imported ones, and entry thunks of types. */
#define LOWER_FUNC "f"
#define LOWER_IMPORT "import"
#define LOWER_ENTRY "entry"

struct lower_options {
  bool gas;                         /* emit charge markers (instrument/marker.h) */
  bool exact;                       /* stores and loads keep their order (struct ir) */
  uint32_t dialect;                 /* DIALECT_* */
  bool inlining;                    /* put small bodies in the place of some calls (frontend/lower/inline.c) */
  const struct schedule *schedule;  /* prices of the markers */
  struct gas_blocks *blocks;        /* to be filled when the runtime wants a profile, or NULL */
  const struct source_lines *lines; /* make debug information with these lines; NULL: none */
};

/* What one LLVM module defines of a Wasm module; other parts' functions are declared in it where they are used. */
struct lower_part {
  const uint32_t *funcs; /* [n]: imported ones are left out */
  uint32_t n;
  bool has_thunks;         /* and all thunks */
  const uint32_t *twins;   /* [n_funcs], of all parts: the function that is compiled in the place of each; NULL: itself */
  const bool *is_compiled; /* [n_funcs], by any part: others are called through the instance's func_refs, and there are entry
                              thunks for types of these functions only; NULL: all are */
};

/* A fresh LLVM module in `context`, owned by the caller. Cannot fail on a validated module. Thread-safe, but for options->blocks.
 */
LLVMModuleRef lower_module(LLVMContextRef context, const struct module *m, const struct lower_options *options,
                           const struct lower_part *part);

/* The type whose entry thunk serves `type`, a function type: equal types share one. */
uint32_t lower_entry_type(const struct module *m, uint32_t type);

/* Makes the NaNs of operations canonical wherever their bits can be seen (frontend/lower/nans.c). Run on SSA form before anything
 * else. */
void lower_canonical_nans(LLVMModuleRef llvm_module);

#endif
