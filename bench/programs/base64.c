/* Bytes to text and back: base64 (RFC 4648), checked while decoding. */
#include "bench.h"

enum { SIZE = 96 << 10, TEXT = SIZE / 3 * 4 };

const uint32_t bench_rounds = 5000;

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static uint8_t bytes[SIZE], back[SIZE], values[256];
static char text[TEXT];

static void encode(char *out, const uint8_t *in, int size) {
  for (int i = 0; i < size; i += 3, out += 4) {
    uint32_t three = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
    for (int j = 0; j < 4; j++) out[j] = alphabet[three >> (18 - 6 * j) & 63];
  }
}

/* Where the first bad character stands, or `size`. */
static int decode(uint8_t *out, const char *in, int size) {
  for (int i = 0; i < size; i += 4, out += 3) {
    uint32_t three = 0;
    for (int j = 0; j < 4; j++) {
      uint8_t value = values[(uint8_t)in[i + j]];
      if (value == 255) return i + j;
      three = three << 6 | value;
    }
    out[0] = (uint8_t)(three >> 16);
    out[1] = (uint8_t)(three >> 8);
    out[2] = (uint8_t)three;
  }
  return size;
}

uint64_t bench_round(uint64_t seed) {
  if (!values['B']) {
    for (int i = 0; i < 256; i++) values[i] = 255;
    for (int i = 0; i < 64; i++) values[(uint8_t)alphabet[i]] = (uint8_t)i;
  }
  for (int i = 0; i < SIZE; i += 16) bytes[i] = (uint8_t)bench_random(&seed);
  encode(text, bytes, SIZE);
  text[bench_random(&seed) % TEXT] ^= (char)(seed & 128);
  int good = decode(back, text, TEXT);
  return bench_mix(bench_mix(seed, (uint64_t)good), back[good / 4 * 3 ? good / 4 * 3 - 1 : 0]);
}
