/* One load from a table per byte, each waiting for the last: CRC-32 (IEEE 802.3) of 256 KiB. */
#include "bench.h"

enum { SIZE = 256 << 10 };

const uint32_t bench_rounds = 600;

static uint32_t table[256];
static uint8_t bytes[SIZE];

static void make_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
    table[i] = c;
  }
}

uint64_t bench_round(uint64_t seed) {
  uint32_t crc = ~0u;
  if (!table[1]) make_table();
  for (int i = 0; i < SIZE; i += 64) bytes[i] = (uint8_t)bench_random(&seed);
  for (int i = 0; i < SIZE; i++) crc = table[(crc ^ bytes[i]) & 255] ^ crc >> 8;
  return ~crc;
}
