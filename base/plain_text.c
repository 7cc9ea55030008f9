#include "base/plain_text.h"

#include "base/utf8.h"

#include <string.h>

/* C1 are U+0080 to U+009F: terminals take U+009B for ESC [. */
static bool is_harmless(const uint8_t *s, size_t n, const char *kept) {
  if (n == 1) return (s[0] >= 0x20 && s[0] != 0x7f) || (s[0] && strchr(kept, s[0]));
  return n > 2 || (n == 2 && (s[0] > 0xc2 || s[1] > 0x9f));
}

void plain_text(char *text, size_t size, const char *kept) {
  uint8_t *s = (uint8_t *)text;
  for (size_t i = 0, n; i < size; i += n ? n : 1) {
    n = utf8_sequence(s + i, size - i);
    if (!is_harmless(s + i, n, kept)) memset(s + i, '?', n ? n : 1);
  }
}
