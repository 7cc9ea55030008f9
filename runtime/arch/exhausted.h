/* What compiled code calls through exec_ctx. */
#ifndef RUNTIME_ARCH_EXHAUSTED_H
#define RUNTIME_ARCH_EXHAUSTED_H

#include "abi/abi.h"

/* For exec_ctx.exhausted; which one depends on the vector registers that the CPU has (runtime/arch/x86_64/exhausted.S). */
void gas_exhausted_sse(void);
void gas_exhausted_avx(void);
void gas_exhausted_avx512(void);

/* By the call of the runtime proper: takes the next slice, may let others run first, or ends the invocation. `pc` is the place in
 * guest code, 0 if it is noted already. */
void gas_exhausted(struct exec_ctx *exec, uintptr_t pc);

/* Where code that touched a closed block is led by the signal handler, also by vector registers (runtime/arch/x86_64/touched.S).
 */
void touched_sse(void);
void touched_avx(void);
void touched_avx512(void);

/* By those: the slice may end here. */
void helper_touched(struct exec_ctx *exec);

/* For exec_ctx.trap: ends the invocation that runs, in the function that calls. */
_Noreturn void helper_trap(uint32_t trap);

#endif
