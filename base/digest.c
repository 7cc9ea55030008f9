#include "base/digest.h"

#include <sodium.h>

#include <string.h>

struct digest digest_of(const void *bytes, size_t size) {
  struct digest digest;
  crypto_generichash(digest.bytes, sizeof digest.bytes, bytes, size, NULL, 0);
  return digest;
}

bool digest_is(const struct digest *a, const struct digest *b) { return memcmp(a, b, sizeof *a) == 0; }

void digest_print(const struct digest *digest, char hex[DIGEST_HEX_SIZE]) {
  sodium_bin2hex(hex, DIGEST_HEX_SIZE, digest->bytes, sizeof digest->bytes);
}

bool digest_is_hex(const char *text) {
  return strlen(text) == DIGEST_HEX_SIZE - 1 && strspn(text, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}
