#include "base/array.h"

#include <stdlib.h>

void *array_resize(void *items, size_t n, size_t item_size) {
  void *p = reallocarray(items, n, item_size);
  if (!p) abort();
  return p;
}
