/* A compressor by matches found through a hash of three bytes, and its decompressor; the result is compared with the text. */
#include "bench.h"

#include <string.h>

enum { SIZE = 64 << 10, HASHES = 1 << 12, MIN_MATCH = 4, MAX_MATCH = 131, MAX_LITERALS = 128 };

const uint32_t bench_rounds = 1000;

static uint8_t text[SIZE], packed[SIZE * 2], unpacked[SIZE];
static uint32_t last[HASHES];

static void write_text(uint64_t *seed) {
  static const char *const words[] = {"gas ", "meter ", "block ", "charge ", "loop ", "of ", "the ", "instruction "};
  for (int at = 0; at < SIZE;) {
    uint32_t r = bench_random(seed);
    if ((r & 31) == 0) text[at++] = (uint8_t)(r >> 8);
    for (const char *word = words[r >> 5 & 7]; *word && at < SIZE;) text[at++] = (uint8_t)*word++;
  }
}

static uint32_t hash(const uint8_t *at) { return (((uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2]) * 2654435761u) >> 20; }

static uint8_t *put_literals(uint8_t *out, const uint8_t *from, const uint8_t *end) {
  while (from < end) {
    int n = end - from < MAX_LITERALS ? (int)(end - from) : MAX_LITERALS;
    *out++ = (uint8_t)(n - 1);
    for (int i = 0; i < n; i++) *out++ = *from++;
  }
  return out;
}

static int match_size(const uint8_t *a, const uint8_t *b, const uint8_t *end) {
  int n = 0;
  while (n < MAX_MATCH && b + n < end && a[n] == b[n]) n++;
  return n;
}

/* 0LLLLLLL: L + 1 literals; 1LLLLLLL and two bytes of distance: a match of L + 4. */
static uint32_t pack(void) {
  const uint8_t *at = text, *literals = text, *end = text + SIZE;
  uint8_t *out = packed;
  memset(last, 0, sizeof last);
  while (at + MIN_MATCH <= end) {
    uint32_t h = hash(at), distance = (uint32_t)(at - text) - last[h];
    int n = distance - 1 < 65535 ? match_size(at - distance, at, end) : 0;
    last[h] = (uint32_t)(at - text);
    if (n < MIN_MATCH) {
      at++;
      continue;
    }
    out = put_literals(out, literals, at);
    *out++ = (uint8_t)(128 | (n - MIN_MATCH));
    *out++ = (uint8_t)distance;
    *out++ = (uint8_t)(distance >> 8);
    literals = at += n;
  }
  return (uint32_t)(put_literals(out, literals, end) - packed);
}

static void unpack(uint32_t size) {
  uint8_t *out = unpacked;
  for (const uint8_t *at = packed; at < packed + size;) {
    uint8_t token = *at++;
    if (token & 128) {
      const uint8_t *from = out - (at[0] | at[1] << 8);
      at += 2;
      for (int n = (token & 127) + MIN_MATCH; n; n--) *out++ = *from++;
    } else {
      for (int n = token + 1; n; n--) *out++ = *at++;
    }
  }
}

uint64_t bench_round(uint64_t seed) {
  if (!text[0]) write_text(&seed);
  for (int i = 0; i < 16; i++) text[bench_random(&seed) % SIZE] = (uint8_t)i;
  uint32_t size = pack();
  unpack(size);
  return bench_mix(size, (uint64_t)(memcmp(text, unpacked, SIZE) == 0));
}
