/* What a processor must not guess. */
#ifndef BASE_SPECULATION_H
#define BASE_SPECULATION_H

#include <stdint.h>

/* The lesser of both, by a conditional move: for an index behind its check, which the processor may guess to have passed
 * (lower_clamp in frontend/lower/access.c does the same for compiled code). */
static inline uint64_t clamp_index(uint64_t index, uint64_t limit) {
  __asm__("cmpq %1, %0\n\tcmovaeq %1, %0" : "+r"(index) : "r"(limit) : "cc");
  return index;
}

#endif
