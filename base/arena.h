/* Bump allocation: everything of a module, a compilation or a request is freed in one place. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
  struct arena_chunk *chunks;
  size_t used; /* bytes handed out, for limits and statistics */
};

/* `*a` may be all zero instead. */
void arena_init(struct arena *a);
void arena_clear(struct arena *a);
/* Empty, but with some room at hand. */
void arena_reset(struct arena *a);

/* Zeroed, aligned to 16 bytes, freed with the arena. Ends the process when the system has no memory left:
 * sizes are bounded by limits long before. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_alloc_array(struct arena *a, size_t count, size_t item_size);
void *arena_copy(struct arena *a, const void *bytes, size_t size);
char *arena_format(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
