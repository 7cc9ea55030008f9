/* Pieces of replies' text. */
#ifndef SERVER_HTTP_TEXT_H
#define SERVER_HTTP_TEXT_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

#define APPEND_LITERAL(out, text) buffer_append(out, text, sizeof text - 1)

static inline void append_number(struct buffer *out, uint64_t n) {
  char digits[20], *at = digits + sizeof digits;
  do *--at = (char)('0' + n % 10);
  while (n /= 10);
  buffer_append(out, at, (size_t)(digits + sizeof digits - at));
}

/* RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5. */
static inline bool has_no_content(uint32_t status) { return status == 204 || status == 205 || status == 304; }

#endif
