/* Passes over IR about guest memory: which loads must trap, which may move, what LLVM may know of addresses. */
#ifndef JIT_ACCESS_ACCESS_H
#define JIT_ACCESS_ACCESS_H

#include "frontend/module.h"

#include <llvm-c/Core.h>

/* Before and behind passes that make one of guest loads that read the same (jit/access/merge_loads.c). */
void access_hold_loads(LLVMModuleRef module);
void access_release_loads(LLVMModuleRef module);

/* Makes plain loads of the volatile guest loads that an effect depends on (jit/access/relax_loads.c). Run on simplified SSA form,
 * before anything that moves instructions. */
void access_relax_loads(LLVMModuleRef llvm_module);
/* Whether all memories have their bounds checked in code (frontend/lower/memory.c), so that no load faults. */
bool access_are_checked(const struct module *m);
/* Makes all guest loads plain. */
void access_free_loads(LLVMModuleRef llvm_module);

/* Whether no memory of the module has its bounds checked in code, or may reach into the last page of indices. */
bool access_are_guarded(const struct module *m);
/* Makes plain the guest loads of counting loops whose range is looked at in front of the loop (jit/access/ranges.c). For modules
 * whose memories are guarded; run before access_relax_loads. */
void access_check_ranges(LLVMModuleRef module);

/* Makes volatile the stores that would be lost with a loop that never ends (jit/access/keep_stores.c). For code without gas. */
void access_keep_stores(LLVMModuleRef module);

/* Whether all accesses are to a memory that ends before the last page of indices (runtime/memory.c), as the next two want. */
bool access_spares_last_page(const struct module *m);
/* Computes the addresses of neighbours from one another (jit/access/join_offsets.c). Run on simplified SSA form, before loads
 * are made one. */
void access_join_offsets(LLVMModuleRef llvm_module);
/* Rolls loops again that the producer has unrolled (jit/access/reroll.c). Run after that, and after the gas pass. */
void access_reroll_loops(LLVMModuleRef llvm_module);
/* After access_relax_loads: vectors that are still volatile are loaded so that the code generator cannot narrow them. */
void access_pin_vectors(LLVMModuleRef module);

/* Before code generation, which must not drop a load, or a part of it, whatever its value is used for (jit/access/pin.c). */
void access_pin_loads(LLVMModuleRef module);

#endif
