#include "runtime/arch/x86_64/gs_base.h"

#include <asm/hwcap2.h>
#include <asm/prctl.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux allows RDGSBASE and WRGSBASE since 5.9, unless it was told not to. Asked once: every call does it twice. */
bool gs_base_has_instructions;

__attribute__((constructor)) static void ask(void) { gs_base_has_instructions = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE; }

uintptr_t gs_base_set_by_kernel(uintptr_t base) {
  uintptr_t old = 0;
  syscall(SYS_arch_prctl, ARCH_GET_GS, &old);
  syscall(SYS_arch_prctl, ARCH_SET_GS, base);
  return old;
}
