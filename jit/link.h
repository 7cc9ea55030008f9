/* Object files become one image, or code in this process. */
#ifndef JIT_LINK_H
#define JIT_LINK_H

#include "jit/compiler.h"

#include <llvm-c/Core.h>

/* Lays out the parts' objects in their order and applies their relocations. Fills bytes, sizes and offsets of *out; the offsets
 * of types that share another's entry thunk stay IMAGE_NONE. The objects stay the caller's. Thread-safe. */
bool link_objects(const LLVMMemoryBufferRef *objects, uint32_t n, const struct module *m, struct image *out,
                  struct gw_error *err);

/* Which of a module's n_funcs + n_types places the symbol is for, as in an image's offsets; IMAGE_NONE: none of them. */
uint32_t link_index(const struct module *m, const char *name);

/* Has ORC load the parts' objects into this process, with a jitdump if one is wanted. Fills owner, funcs and pieces of *out; else
 * as link_objects. */
bool link_load(const LLVMMemoryBufferRef *objects, uint32_t n, const struct module *m, bool wants_dump, struct loaded *out,
               struct gw_error *err);

#endif
