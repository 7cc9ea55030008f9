/* From compiled code to a function that has none. */
#ifndef RUNTIME_ARCH_CROSSING_H
#define RUNTIME_ARCH_CROSSING_H

#include "abi/abi.h"

/* A call as its registers have it. Assembly knows the offsets. */
struct crossing {
  uint64_t ints[4]; /* behind vmctx and depth */
  _Alignas(16) uint64_t floats[8][2];
  uint64_t gas;         /* the counter, to be changed */
  const uint8_t *stack; /* arguments that found no register */
  uint64_t result[2];   /* of any type */
};

/* What stubs of functions jump to, with the function's number in eax (runtime/arch/x86_64/crossing.S). */
void crossing_leave(void);

/* By it: calls the function on the runtime's side. runtime/precise/compiled.c. */
void compiled_leave(struct vmctx *vmctx, int32_t depth, uint32_t index, struct crossing *crossing);

#endif
