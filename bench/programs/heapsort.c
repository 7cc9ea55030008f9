/* Loads whose addresses depend on the data: heapsort of doubles. */
#include "bench.h"

enum { N = 60000 };

const uint32_t bench_rounds = 80;

static double items[N];

static void sink(uint32_t at, uint32_t size) {
  double item = items[at];
  for (uint32_t child; (child = 2 * at + 1) < size; at = child) {
    if (child + 1 < size && items[child + 1] > items[child]) child++;
    if (items[child] <= item) break;
    items[at] = items[child];
  }
  items[at] = item;
}

uint64_t bench_round(uint64_t seed) {
  uint64_t hash = 0;
  for (uint32_t i = 0; i < N; i++) items[i] = (double)bench_random(&seed);
  for (uint32_t i = N / 2; i-- > 0;) sink(i, N);
  for (uint32_t i = N - 1; i > 0; i--) {
    double greatest = items[0];
    items[0] = items[i];
    items[i] = greatest;
    sink(0, i);
  }
  for (uint32_t i = 0; i < N; i += 97) hash = bench_mix_double(hash, items[i]);
  return hash;
}
