/* What LLVM's code generator gets wrong, or makes slow, for CPUs with AVX-512. */
#ifndef JIT_FIXUP_H
#define JIT_FIXUP_H

#include <llvm-c/Core.h>
#include <stdbool.h>

/* Last of all, for CPUs with AVX-512: what makes a NaN canonical becomes one instruction (jit/fixup.c). */
void fixup_nans(LLVMModuleRef module);
/* At every level, for CPUs with VFPCLASS: minimum and maximum see no signalling NaN, which LLVM forgets (jit/fixup.c).
 * `has_passes`: LLVM's have optimised the module. */
void fixup_quiet_operands(LLVMModuleRef module, bool has_passes);

#endif
