#include "base/sha256.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

enum { BLOCK = 64 };

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

int sha256_has_instructions(void) {
  static _Atomic int known; /* 1: no, 2: yes */
  unsigned a, b, c, d;
  if (!known) {
    bool has_sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
    bool has_sse = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);
    known = has_sha && has_sse ? 2 : 1;
  }
  return known == 2;
}

/* --- by arithmetic ------------------------------------------------------------------------------------------------ */

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void expand(uint32_t w[64], const uint8_t *block) {
  for (int i = 0; i < 16; i++) {
    memcpy(&w[i], block + 4 * i, 4);
    w[i] = __builtin_bswap32(w[i]);
  }
  for (int i = 16; i < 64; i++) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
  }
}

static void compress(uint32_t state[8], const uint8_t *block) {
  uint32_t w[64], v[8]; /* a to h */
  expand(w, block);
  memcpy(v, state, sizeof v);
  for (int i = 0; i < 64; i++) {
    uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]), majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
    uint32_t one = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) + choice + constants[i] + w[i];
    uint32_t two = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) + majority;
    memmove(v + 1, v, 7 * sizeof *v);
    v[4] += one;
    v[0] = one + two;
  }
  for (int i = 0; i < 8; i++) state[i] += v[i];
}

void sha256_plain(uint32_t state[8], const uint8_t *blocks, size_t n) {
  for (size_t i = 0; i < n; i++) compress(state, blocks + i * BLOCK);
}

/* --- by instructions ---------------------------------------------------------------------------------------------- */

#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))

/* The instructions have the state as (f, e, b, a) and (h, g, d, c), lowest lane first. */
struct halves {
  __m128i abef, cdgh;
};

WITH_SHA static struct halves load_state(const uint32_t state[8]) {
  __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);        /* b a d c */
  __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b); /* h g f e */
  return (struct halves){_mm_alignr_epi8(low, high, 8), _mm_blend_epi16(high, low, 0xf0)};
}

WITH_SHA static void store_state(uint32_t state[8], struct halves s) {
  __m128i low = _mm_shuffle_epi32(s.abef, 0x1b), high = _mm_shuffle_epi32(s.cdgh, 0xb1);
  _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(low, high, 0xf0));
  _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

/* Words 4i to 4i + 3 of the schedule from the 16 before them, of which the first four are replaced. */
WITH_SHA static inline __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3) {
  __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
  return _mm_sha256msg2_epu32(sum, w3);
}

WITH_SHA static inline void four_rounds(struct halves *s, __m128i words, int i) {
  __m128i sum = _mm_add_epi32(words, _mm_load_si128((const __m128i *)(constants + 4 * i)));
  s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, sum);
  s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

WITH_SHA static void compress_fast(struct halves *s, const uint8_t *block) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  struct halves before = *s;
  __m128i w[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), swap);
    four_rounds(s, w[i], i);
  }
#pragma GCC unroll 12
  for (int i = 4; i < 16; i++) {
    w[i & 3] = next_words(w[i & 3], w[(i + 1) & 3], w[(i + 2) & 3], w[(i + 3) & 3]);
    four_rounds(s, w[i & 3], i);
  }
  s->abef = _mm_add_epi32(s->abef, before.abef);
  s->cdgh = _mm_add_epi32(s->cdgh, before.cdgh);
}

WITH_SHA void sha256_fast(uint32_t state[8], const uint8_t *blocks, size_t n) {
  struct halves s = load_state(state);
  for (size_t i = 0; i < n; i++) compress_fast(&s, blocks + i * BLOCK);
  store_state(state, s);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static void compress_blocks(struct sha256 *s, const uint8_t *blocks, size_t n) {
  if (sha256_has_instructions())
    sha256_fast(s->state, blocks, n);
  else
    sha256_plain(s->state, blocks, n);
}

void sha256_begin(struct sha256 *s) {
  static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(s->state, first, sizeof first);
  s->size = 0;
}

void sha256_add(struct sha256 *s, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  size_t filled = s->size % BLOCK;
  s->size += size;
  if (filled) {
    size_t n = BLOCK - filled < size ? BLOCK - filled : size;
    if (n) memcpy(s->block + filled, at, n);
    if (filled + n < BLOCK) return;
    compress_blocks(s, s->block, 1);
    at += n;
    size -= n;
  }
  if (size >= BLOCK) compress_blocks(s, at, size / BLOCK);
  if (size % BLOCK) memcpy(s->block, at + size / BLOCK * BLOCK, size % BLOCK);
}

void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE]) {
  size_t filled = s->size % BLOCK;
  uint64_t bits = __builtin_bswap64(s->size * 8);
  s->block[filled++] = 0x80;
  if (filled > BLOCK - sizeof bits) {
    memset(s->block + filled, 0, BLOCK - filled);
    compress_blocks(s, s->block, 1);
    filled = 0;
  }
  memset(s->block + filled, 0, BLOCK - sizeof bits - filled);
  memcpy(s->block + BLOCK - sizeof bits, &bits, sizeof bits);
  compress_blocks(s, s->block, 1);
  for (int i = 0; i < 8; i++) {
    uint32_t word = __builtin_bswap32(s->state[i]);
    memcpy(out + 4 * i, &word, sizeof word);
  }
}
