/* The GS segment, through which compiled code finds its execution context (abi/abi.h). */
#ifndef RUNTIME_ARCH_X86_64_GS_BASE_H
#define RUNTIME_ARCH_X86_64_GS_BASE_H

#include <stdbool.h>
#include <stdint.h>

extern bool gs_base_has_instructions;
uintptr_t gs_base_set_by_kernel(uintptr_t base);

/* Makes `base` the base of the calling thread's GS segment. Returns what it was, which the caller sets again when it is done:
 * no one else need use the segment, but stores run inside of each other. Costs a few cycles; a system call each way on
 * kernels that keep the instructions to themselves. Writing takes some ten times as long as reading. */
static inline uintptr_t gs_base_set(uintptr_t base) {
  uintptr_t old;
  if (!gs_base_has_instructions) return gs_base_set_by_kernel(base);
  __asm__ volatile("rdgsbase %0" : "=r"(old));
  if (old != base) __asm__ volatile("wrgsbase %0" ::"r"(base) : "memory");
  return old;
}

#endif
