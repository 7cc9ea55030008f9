/* Branches that cannot be predicted: quicksort of 32-bit numbers. */
#include "bench.h"

enum { N = 200000, SMALL = 12 };

const uint32_t bench_rounds = 30;

static uint32_t items[N];

static void sort_small(uint32_t *from, uint32_t *end) {
  for (uint32_t *i = from + 1; i < end; i++) {
    uint32_t item = *i, *j = i;
    for (; j > from && j[-1] > item; j--) *j = j[-1];
    *j = item;
  }
}

static void swap(uint32_t *a, uint32_t *b) {
  uint32_t t = *a;
  *a = *b;
  *b = t;
}

static void sort(uint32_t *from, uint32_t *end) {
  while (end - from > SMALL) {
    uint32_t *middle = from + (end - from) / 2, *low = from, *high = end - 1;
    if (*middle < *from) swap(middle, from);
    if (*high < *from) swap(high, from);
    if (*high < *middle) swap(high, middle);
    uint32_t pivot = *middle;
    while (low <= high) {
      while (*low < pivot) low++;
      while (*high > pivot) high--;
      if (low <= high) swap(low++, high--);
    }
    sort(from, high + 1);
    from = low;
  }
  sort_small(from, end);
}

uint64_t bench_round(uint64_t seed) {
  uint64_t hash = 0;
  for (int i = 0; i < N; i++) items[i] = bench_random(&seed);
  sort(items, items + N);
  for (int i = 0; i < N; i += 97) hash = bench_mix(hash, items[i]);
  return hash;
}
