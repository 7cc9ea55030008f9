#include "runtime/guarded.h"

#include <stdint.h>
#include <sys/mman.h>

/* More than any host function's results, 16,000 bytes, which are what is written at once without a look. */
enum { PAGE = 4096, GUARD = 64 << 10 };

static size_t whole(size_t size) { return (size + PAGE - 1) & ~(size_t)(PAGE - 1); }

void *guarded_map(size_t size) {
  size = whole(size);
  uint8_t *p = mmap(NULL, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return NULL;
  if (mprotect(p + GUARD, size, PROT_READ | PROT_WRITE) == 0) return p + GUARD;
  munmap(p, size + 2 * GUARD);
  return NULL;
}

void guarded_unmap(void *p, size_t size) { munmap((uint8_t *)p - GUARD, whole(size) + 2 * GUARD); }
