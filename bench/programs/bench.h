/* A bench program: rounds of the same work, each on what the one before left, so that none can be left out. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

/* One round; the result goes into the next round's seed and into the checksum that is printed. */
uint64_t bench_round(uint64_t seed);

/* Rounds that take 0.3 to 0.5 s in native code. */
extern const uint32_t bench_rounds;

/* xorshift64*: the inputs. */
static inline uint32_t bench_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return (uint32_t)((*state * 2685821657736338717ull) >> 32);
}

/* Joins a 64-bit word into a checksum. */
static inline uint64_t bench_mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
  return hash ^ (hash >> 29);
}

static inline uint64_t bench_mix_double(uint64_t hash, double value) {
  union {
    double value;
    uint64_t bits;
  } u = {value};
  return bench_mix(hash, u.bits);
}

#endif
