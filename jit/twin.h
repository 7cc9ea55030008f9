/* Functions that share their machine code. */
#ifndef JIT_TWIN_H
#define JIT_TWIN_H

#include "frontend/module.h"

/* Fills twins[i] for each of the n functions in `funcs`: the first of them that has the same code, which may be the function
 * itself. Thread-safe. */
void twins_find(const struct module *m, const uint32_t *funcs, uint32_t n, uint32_t *twins);

#endif
