#define _GNU_SOURCE /* reallocarray */
#include "base/heap.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void heap_missing(void) {
  fputs("gasworks: out of memory\n", stderr);
  abort();
}

void *heap_new(size_t n, size_t item_size) {
  void *p = calloc(n ? n : 1, item_size ? item_size : 1);
  if (!p) heap_missing();
  return p;
}

void *heap_resize(void *items, size_t n, size_t item_size) {
  void *p = reallocarray(items, n ? n : 1, item_size ? item_size : 1);
  if (!p) heap_missing();
  return p;
}
