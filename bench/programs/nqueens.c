/* Recursion with a loop in every call: ways to place queens on a board, by bit sets. */
#include "bench.h"

enum { SIZE = 11 };

const uint32_t bench_rounds = 700;

static uint32_t count(uint32_t free, uint32_t columns, uint32_t left, uint32_t right) {
  uint32_t n = 0;
  if (columns == free) return 1;
  for (uint32_t places = free & ~(columns | left | right); places; places &= places - 1) {
    uint32_t place = places & -places;
    n += count(free, columns | place, (left | place) << 1, (right | place) >> 1);
  }
  return n;
}

/* Some squares of the first row are taken: the seed says which. */
uint64_t bench_round(uint64_t seed) {
  uint32_t board = (1u << SIZE) - 1, blocked = 1u << bench_random(&seed) % SIZE;
  return bench_mix(seed, count(board, 0, blocked, 0));
}
