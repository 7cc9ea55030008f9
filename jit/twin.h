/* Functions that share their machine code. */
#ifndef JIT_TWIN_H
#define JIT_TWIN_H

#include "frontend/module.h"

/* Fills twins[first] to twins[end - 1]: the first of these functions that has the same code, which may be the function itself.
 * Thread-safe. */
void twins_find(const struct module *m, uint32_t first, uint32_t end, uint32_t *twins);

#endif
