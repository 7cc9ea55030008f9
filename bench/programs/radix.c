/* Scattered stores: radix sort of 32-bit numbers, a byte at a time. */
#include "bench.h"

enum { N = 100000 };

const uint32_t bench_rounds = 850;

static uint32_t items[2][N];

static void sort_by_byte(uint32_t *to, const uint32_t *from, int shift) {
  uint32_t places[257] = {0};
  for (int i = 0; i < N; i++) places[(from[i] >> shift & 255) + 1]++;
  for (int i = 1; i < 256; i++) places[i] += places[i - 1];
  for (int i = 0; i < N; i++) to[places[from[i] >> shift & 255]++] = from[i];
}

uint64_t bench_round(uint64_t seed) {
  uint64_t hash = 0;
  for (int i = 0; i < N; i++) items[0][i] = bench_random(&seed);
  for (int pass = 0; pass < 4; pass++) sort_by_byte(items[(pass + 1) & 1], items[pass & 1], 8 * pass);
  for (int i = 0; i < N; i += 97) hash = bench_mix(hash, items[0][i]);
  return hash;
}
