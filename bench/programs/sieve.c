/* Bytes written with a stride: the sieve of Eratosthenes. */
#include "bench.h"

#include <string.h>

enum { LIMIT = 1 << 20 };

const uint32_t bench_rounds = 180;

static uint8_t is_composite[LIMIT];

uint64_t bench_round(uint64_t seed) {
  uint32_t limit = LIMIT - (uint32_t)(seed & 1023), primes = 0;
  memset(is_composite, 0, sizeof is_composite);
  for (uint32_t i = 2; i < limit; i++) {
    if (is_composite[i]) continue;
    primes++;
    for (uint64_t j = (uint64_t)i * i; j < limit; j += i) is_composite[j] = 1;
  }
  return primes;
}
