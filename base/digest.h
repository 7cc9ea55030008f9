/* What modules, schedules, keys of artifacts and builds are told apart by. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_SIZE = 32, DIGEST_HEX_SIZE = 2 * DIGEST_SIZE + 1 };

/* BLAKE2b-256, without a key. As plain bytes it lies in artifacts and in notes about crashes. */
struct digest {
  uint8_t bytes[DIGEST_SIZE];
};

struct digest digest_of(const void *bytes, size_t size);
bool digest_is(const struct digest *a, const struct digest *b);
/* In lower case, with a 0 behind. */
void digest_print(const struct digest *digest, char hex[DIGEST_HEX_SIZE]);
/* Whether the text is a digest in that form. */
bool digest_is_hex(const char *text);

#endif
