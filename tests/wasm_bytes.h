/* For tests that write modules byte by byte. */
#ifndef TESTS_WASM_BYTES_H
#define TESTS_WASM_BYTES_H

#include "base/buffer.h"

static inline void wasm_byte(struct buffer *b, uint32_t v) { buffer_append(b, &(uint8_t){(uint8_t)v}, 1); }

static inline void wasm_leb(struct buffer *b, uint64_t v) {
  for (; v > 0x7f; v >>= 7) wasm_byte(b, (uint32_t)(v & 0x7f) | 0x80);
  wasm_byte(b, (uint32_t)v);
}

static inline void wasm_signed_leb(struct buffer *b, int64_t v) {
  for (; v < -64 || v > 63; v >>= 7) wasm_byte(b, (uint32_t)(v & 0x7f) | 0x80);
  wasm_byte(b, (uint32_t)(v & 0x7f));
}

/* The bytes of `content`, behind their number. */
static inline void wasm_sized(struct buffer *b, const struct buffer *content) {
  wasm_leb(b, content->size);
  buffer_append(b, content->bytes, content->size);
}

static inline void wasm_section(struct buffer *b, uint32_t id, const struct buffer *content) {
  wasm_byte(b, id);
  wasm_sized(b, content);
}

#endif
