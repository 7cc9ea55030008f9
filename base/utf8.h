/* UTF-8, where bytes of strangers must be it. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the UTF-8 sequence at `s`, of which `left` bytes are there, one at least; or 0. Rejects overlong forms, surrogates
 * and what is above U+10FFFF. */
static inline size_t utf8_sequence(const uint8_t *s, size_t left) {
  if (s[0] < 0x80) return 1;
  size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
  if (s[0] < 0xc2 || s[0] > 0xf4 || left < n) return 0;
  uint8_t low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
  uint8_t high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
  if (s[1] < low || s[1] > high) return 0;
  for (size_t i = 2; i < n; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  return n;
}

/* Whether it can be a string of JSON that C programs read, too: UTF-8 without a NUL. */
static inline bool utf8_is_text(const void *bytes, size_t size) {
  const uint8_t *s = bytes;
  for (size_t i = 0, n; i < size; i += n)
    if (!s[i] || !(n = utf8_sequence(s + i, size - i))) return false;
  return true;
}

#endif
