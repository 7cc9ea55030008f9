/* Mappings for what guests' data moves in, with pages without access before and behind: what runs over an end faults there, and
 * never reaches a neighbour. */
#ifndef RUNTIME_GUARDED_H
#define RUNTIME_GUARDED_H

#include <stddef.h>

/* Zero bytes, committed as they are touched; `size` is rounded up to pages. NULL with errno set. */
void *guarded_map(size_t size);
void guarded_unmap(void *p, size_t size);

#endif
