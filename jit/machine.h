/* LLVM's code generator for this machine. */
#ifndef JIT_MACHINE_H
#define JIT_MACHINE_H

#include "gasworks/error.h"

#include <llvm-c/TargetMachine.h>

#include <stdbool.h>
#include <stdint.h>

/* A target machine for one optimisation level (0 to 3) and CPU (LLVM's name; NULL: this machine's), the caller's alone until it
 * is returned; NULL with err set. Making one takes longer than compiling a small module, so those for this machine are kept for
 * the next when they are returned. Thread-safe. */
LLVMTargetMachineRef machine_take(uint32_t opt_level, const char *cpu, struct gw_error *err);
void machine_return(LLVMTargetMachineRef machine, uint32_t opt_level, const char *cpu);

/* Parts of AVX-512. A machine must have been made. */
bool machine_has_avx512vl(const char *cpu); /* vectors of all widths */
bool machine_has_avx512dq(const char *cpu); /* VFPCLASS */

/* For the IR; a machine must have been made. */
const char *machine_triple(void);

#endif
