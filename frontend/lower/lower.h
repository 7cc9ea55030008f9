/* Lowering: a validated module becomes LLVM IR. */
#ifndef FRONTEND_LOWER_LOWER_H
#define FRONTEND_LOWER_LOWER_H

#include "frontend/module.h"
#include "instrument/blocks.h"
#include "instrument/cost.h"

#include <llvm-c/Core.h>

/* Symbols of what a module defines: its functions, thunks for imported ones, and entry thunks of types. */
#define LOWER_FUNC "f"
#define LOWER_IMPORT "import"
#define LOWER_ENTRY "entry"

struct lower_options {
  bool gas;                        /* emit charge markers (instrument/meter/meter.h) */
  uint32_t dialect;                /* DIALECT_* */
  bool inlining;                   /* put small bodies in the place of some calls (frontend/lower/inline.c) */
  const struct schedule *schedule; /* prices of the markers */
  struct gas_blocks *blocks;       /* to be filled when the runtime wants a profile, or NULL */
};

/* What one LLVM module defines of a Wasm module; other parts' functions are declared in it where they are used. */
struct lower_part {
  uint32_t first, end;   /* functions [first, end), imported ones left out */
  bool has_thunks;       /* and all thunks */
  const uint32_t *twins; /* [n_funcs], of all parts: the function that is compiled in the place of each; NULL: itself */
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

/* Before and behind passes that make one of guest loads that read the same (jit/access/merge_loads.c). */
void lower_hold_loads(LLVMModuleRef module);
void lower_release_loads(LLVMModuleRef module);

/* Makes plain loads of the volatile guest loads that an effect depends on (jit/access/relax_loads.c). Run on simplified SSA form,
 * before anything that moves instructions. */
void lower_relax_loads(LLVMModuleRef llvm_module);

/* Whether all accesses are to a memory that ends before the last page of indices (runtime/memory.c), as the next two want. */
bool lower_spares_last_page(const struct module *m);
/* Computes the addresses of neighbours from one another (jit/access/join_offsets.c). Run on simplified SSA form, before loads
 * are made one. */
void lower_join_offsets(LLVMModuleRef llvm_module);
/* Rolls loops again that the producer has unrolled (jit/access/reroll.c). Run after that, and after the gas pass. */
void lower_reroll_loops(LLVMModuleRef llvm_module);
/* After lower_relax_loads: vectors that are still volatile are loaded so that the code generator cannot narrow them. */
void lower_pin_vectors(LLVMModuleRef module);

/* Before code generation, which must not drop a load, or a part of it, whatever its value is used for (jit/access/pin.c). */
void lower_pin_loads(LLVMModuleRef module);
/* Last of all, for CPUs with AVX-512: what makes a NaN canonical becomes one instruction (jit/fixup.c). */
void lower_fixup_nans(LLVMModuleRef module);
/* At every level, for CPUs with VFPCLASS: minimum and maximum see no signalling NaN, which LLVM forgets (jit/fixup.c).
 * `has_passes`: LLVM's have optimised the module. */
void lower_quiet_operands(LLVMModuleRef module, bool has_passes);

#endif
