/* SHA-256 (FIPS 180-4), with the processor's instructions for it where there are some: receipts hash three short texts for each
 * request, and libsodium's SHA-256 knows no such instructions. Any thread. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32 };

struct sha256 {
  uint32_t state[8];
  uint64_t size; /* bytes so far */
  uint8_t block[64];
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *bytes, size_t size);
void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE]);

/* The compression of `n` blocks of 64 bytes: by instructions, where sha256_has_instructions, and by arithmetic. */
void sha256_fast(uint32_t state[8], const uint8_t *blocks, size_t n);
void sha256_plain(uint32_t state[8], const uint8_t *blocks, size_t n);
int sha256_has_instructions(void);

#endif
