/* Searching text for words, by the bad-character rule of Boyer, Moore and Horspool, and by memchr and memcmp. */
#include "bench.h"

#include <string.h>

enum { SIZE = 128 << 10, WORD = 8 };

const uint32_t bench_rounds = 360;

static char text[SIZE];

static void write_text(uint64_t *seed) {
  for (int i = 0; i < SIZE; i++) {
    uint32_t r = bench_random(seed);
    text[i] = (char)((r & 7) == 0 ? ' ' : 'a' + (r >> 3) % 20);
  }
}

static int search_by_skips(const char *word, int size) {
  int skips[256], n = 0;
  for (int i = 0; i < 256; i++) skips[i] = size;
  for (int i = 0; i < size - 1; i++) skips[(uint8_t)word[i]] = size - 1 - i;
  for (int at = 0; at <= SIZE - size; at += skips[(uint8_t)text[at + size - 1]]) {
    int i = size - 1;
    while (i >= 0 && text[at + i] == word[i]) i--;
    n += i < 0;
  }
  return n;
}

static int search_by_first(const char *word, int size) {
  const char *at = text, *end = text + SIZE - size + 1;
  int n = 0;
  while (at < end && (at = memchr(at, word[0], (size_t)(end - at)))) {
    n += memcmp(at, word, (size_t)size) == 0;
    at++;
  }
  return n;
}

uint64_t bench_round(uint64_t seed) {
  uint64_t hash = seed;
  if (!text[0]) write_text(&seed);
  for (int size = 3; size <= WORD; size++) {
    const char *word = text + bench_random(&seed) % (SIZE - WORD);
    hash = bench_mix(hash, (uint64_t)search_by_skips(word, size));
    hash = bench_mix(hash, (uint64_t)search_by_first(word, size));
  }
  return hash;
}
