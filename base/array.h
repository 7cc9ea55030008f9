/* Arrays that grow by doubling. */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include "base/heap.h"

/* Makes room for more items: twice as many as there was room for, or `first`. Ends the process where memory is out, so this is
 * for what is bounded by the module's size, not for what a guest may choose. `items` and `capacity` are the caller's variables.
 */
#define array_grow(items, capacity, first) \
  ((capacity) = (capacity) ? (capacity)*2 : (first), (items) = heap_resize((items), (capacity), sizeof *(items)))

#endif
