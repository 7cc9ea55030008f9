/* Object files into executable memory, by ORC's LLJIT with JITLink. */
#ifndef JIT_LINK_H
#define JIT_LINK_H

#include "gasworks/error.h"

#include <llvm-c/Core.h>

struct linked;

/* Links `object` (consumed) and looks up `symbol`, which no other object that is linked may define. The object may refer to
 * nothing outside of itself. Thread-safe. */
struct linked *link_object(LLVMMemoryBufferRef object, const char *symbol, const void **address, struct gw_error *err);
/* Unmaps the code: nothing may run in it any more. */
void link_release(struct linked *linked);

#endif
