/* Which blocks of a function lie in a loop without another inside: those that LLVM may vectorise. */
#ifndef FRONTEND_LOWER_NEST_H
#define FRONTEND_LOWER_NEST_H

#include "frontend/lower_values.h"

/* Adds the terminators of these blocks to `ends`. Of very many blocks or very deep nests it finds none. */
void nest_find_innermost(LLVMValueRef function, struct value_set *ends);

#endif
