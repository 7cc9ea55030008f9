/* Object files become one image. */
#ifndef JIT_LINK_H
#define JIT_LINK_H

#include "jit/compiler.h"

#include <llvm-c/Core.h>

/* Lays out the parts' objects in their order and applies their relocations. Fills bytes, sizes and offsets of *out; the offsets
 * of types that share another's entry thunk stay IMAGE_NONE. The objects stay the caller's. Thread-safe. */
bool link_objects(const LLVMMemoryBufferRef *objects, uint32_t n, const struct module *m, struct image *out,
                  struct gw_error *err);

#endif
