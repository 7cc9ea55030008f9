/* 64-bit additions, rotations and exclusive ors: SipHash-2-4 of many short keys. */
#include "bench.h"

#include <string.h>

enum { KEYS = 4096, STRIDE = 8, MAX_KEY = 48 };

const uint32_t bench_rounds = 6000;

static uint8_t bytes[KEYS * STRIDE + MAX_KEY];

struct state {
  uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static inline void mix(struct state *s, int rounds) {
  for (; rounds; rounds--) {
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
  }
}

static uint64_t siphash(uint64_t k0, uint64_t k1, const uint8_t *key, uint32_t size) {
  struct state s = {k0 ^ 0x736f6d6570736575ull, k1 ^ 0x646f72616e646f6dull, k0 ^ 0x6c7967656e657261ull,
                    k1 ^ 0x7465646279746573ull};
  uint64_t word = 0;
  uint32_t i = 0;
  for (; i + 8 <= size; i += 8) {
    memcpy(&word, key + i, 8);
    s.v3 ^= word;
    mix(&s, 2);
    s.v0 ^= word;
  }
  word = (uint64_t)size << 56;
  for (uint32_t j = 0; i + j < size; j++) word |= (uint64_t)key[i + j] << (8 * j);
  s.v3 ^= word;
  mix(&s, 2);
  s.v0 ^= word;
  s.v2 ^= 255;
  mix(&s, 4);
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t bench_round(uint64_t seed) {
  uint64_t hash = seed;
  for (uint32_t i = 0; i < sizeof bytes; i += 64) bytes[i] = (uint8_t)bench_random(&seed);
  for (uint32_t i = 0; i < KEYS; i++) hash = siphash(hash, seed, bytes + i * STRIDE, 4 + i % (MAX_KEY - 4));
  return hash;
}
