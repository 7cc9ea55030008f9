/* Memory of a size that no module, request or file decides. That it is missing is no error anybody could handle: the process
 * ends with a sentence. What strangers decide about, and what a caller can be told, uses malloc and an error. Thread-safe. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stddef.h>

_Noreturn void heap_missing(void);
/* Zeroed, for free(). */
void *heap_new(size_t n, size_t item_size) __attribute__((returns_nonnull, malloc));
/* As reallocarray. */
void *heap_resize(void *items, size_t n, size_t item_size) __attribute__((returns_nonnull));

#endif
