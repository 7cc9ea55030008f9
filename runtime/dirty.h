/* The pages of a memory that requests write to: learned, and copied back from an image (essay in dirty.c). */
#ifndef RUNTIME_DIRTY_H
#define RUNTIME_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

enum { DIRTY_MAX_RANGES = 8 };

struct dirty_range {
  uint32_t first, end; /* host pages from the base */
};

/* All zero: nothing is watched. */
struct dirty_set {
  uint8_t *base, *image; /* image: as many bytes as are watched; holds what the dirty pages were */
  uint32_t n_pages;      /* watched, from the base; 0: none */
  bool is_given_up;      /* too much was written: never watched again */
  bool is_broken;        /* the system refused to make pages writable: which ones are is not known, and they cannot be put back */
  uint32_t n_ranges;
  struct dirty_range ranges[DIRTY_MAX_RANGES + 1]; /* writable ones, in order; the last is for making room */
};

/* Whether watching so many bytes is worth it. */
bool dirty_can_watch(const struct dirty_set *d, uint64_t bytes);
/* Makes [base, base + bytes), whole host pages, the image. False: not worth it, or the system refuses; then nothing has changed.
 */
bool dirty_watch(struct dirty_set *d, uint8_t *base, uint64_t bytes);
void dirty_close(struct dirty_set *d);

/* Makes [at, at + size) writable, bytes from the base. Safe in a signal handler. False: the system refuses. */
bool dirty_join(struct dirty_set *d, uint64_t at, uint64_t size);
/* The write to this address is one to a watched page that was not writable, and now it is. Safe in a signal handler. */
bool dirty_fault(struct dirty_set *d, uintptr_t address);
/* Whether all of a host page is zero. */
bool dirty_is_zero(const uint8_t *page);

/* Back to the image: no system call. For sets that are watched. */
void dirty_restore(const struct dirty_set *d);
/* What is there now is the image. For sets that are watched. */
void dirty_keep(struct dirty_set *d);

#endif
