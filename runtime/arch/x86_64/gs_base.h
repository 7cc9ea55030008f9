/* The GS segment, through which compiled code finds its execution context (abi/abi.h). */
#ifndef RUNTIME_ARCH_X86_64_GS_BASE_H
#define RUNTIME_ARCH_X86_64_GS_BASE_H

#include <stdint.h>

/* Makes `base` the base of the calling thread's GS segment. Returns what it was, which the caller sets again when it is done:
 * no one else need use the segment, but stores run inside of each other. Costs a few cycles; a system call each way on
 * kernels that keep the instructions to themselves. */
uintptr_t gs_base_set(uintptr_t base);

#endif
