/* What the processor does with the lanes of a vector and C has no words for. For files that are compiled for SSSE3. */
#ifndef RUNTIME_ARCH_X86_64_LANES_H
#define RUNTIME_ARCH_X86_64_LANES_H

#include <stdint.h>

typedef uint8_t lanes_bytes __attribute__((vector_size(16)));

/* Of each index the byte that it names; 0 where it names none (i8x16.swizzle). */
static inline lanes_bytes lanes_select(lanes_bytes from, lanes_bytes index) {
  typedef char signed_bytes __attribute__((vector_size(16)));
  lanes_bytes out_of_reach =
      __builtin_elementwise_add_sat(index, (uint8_t)(0x80 - 16) - (lanes_bytes){0}); /* 16 and more: bit 7 */
  return (lanes_bytes)__builtin_ia32_pshufb128((signed_bytes)from, (signed_bytes)out_of_reach);
}

#endif
