/* Which blocks of a function lie in a loop without another inside: those that LLVM may vectorise. */
#ifndef JIT_ACCESS_NEST_H
#define JIT_ACCESS_NEST_H

#include "frontend/lower/values.h"

/* Where each loop's blocks end in a set of them. */
struct nest_loops {
  size_t *ends, n, capacity;
};

/* Puts the terminators of these blocks into the empty `ends`, those of one loop together. Of very many blocks or very deep nests
 * it finds none. */
void nest_find_innermost(LLVMValueRef function, struct value_set *ends, struct nest_loops *loops);
void nest_free(struct nest_loops *loops);

#endif
