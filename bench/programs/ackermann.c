/* Deep recursion: Ackermann's function. */
#include "bench.h"

const uint32_t bench_rounds = 800;

static __attribute__((noinline)) uint32_t ackermann(uint32_t m, uint32_t n) {
  if (m == 0) return n + 1;
  return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

uint64_t bench_round(uint64_t seed) { return bench_mix(seed, ackermann(2 + (uint32_t)(seed >> 8 & 1), 7)); }
