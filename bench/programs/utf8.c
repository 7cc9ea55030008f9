/* Branches on bytes: checks that a text of four scripts is UTF-8 (Unicode 15, table 3-7), counting its characters. */
#include "bench.h"

enum { SIZE = 256 << 10, ERROR = -1 };

const uint32_t bench_rounds = 1700;

static uint8_t text[SIZE];

static int write_character(uint8_t *at, uint32_t c) {
  if (c < 0x80) return at[0] = (uint8_t)c, 1;
  int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; i--, c >>= 6) at[i] = (uint8_t)(0x80 | (c & 63));
  at[0] = (uint8_t)(0xf00 >> n | c);
  return n;
}

static void write_text(uint64_t *seed) {
  static const uint32_t first[] = {' ', ' ', ' ', 0x3b1, 0x430, 0x4e00, 0x1f600, ' '};
  static const uint32_t mask[] = {63, 63, 63, 15, 31, 0xfff, 63, 63};
  int at = 0;
  while (at < SIZE - 4) {
    uint32_t r = bench_random(seed), script = r & 7;
    for (uint32_t n = r >> 3 & 15; n && at < SIZE - 4; n--)
      at += write_character(text + at, first[script] + ((r += 0x9e3779b9) >> 12 & mask[script]));
  }
  while (at < SIZE) text[at++] = '.';
}

/* Characters from `at` to `end`, or ERROR. */
static int check(const uint8_t *at, const uint8_t *end) {
  int n = 0;
  for (; at < end; n++) {
    uint8_t lead = *at++;
    if (lead < 0x80) continue;
    int more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0xc2 || lead > 0xf4 || end - at < more || *at < low || *at > high) return ERROR;
    for (int i = 1; i < more; i++)
      if ((at[i] & 0xc0) != 0x80) return ERROR;
    at += more;
  }
  return n;
}

uint64_t bench_round(uint64_t seed) {
  if (!text[0]) write_text(&seed);
  int at = (int)(bench_random(&seed) % 64) * 64; /* perhaps within a character */
  while (at < SIZE && (text[at] & 0xc0) == 0x80) at++;
  return bench_mix(seed, (uint64_t)check(text + at, text + SIZE));
}
