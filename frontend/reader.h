/* Sticky reader: after an error every read returns 0 and nothing is left, so callers test once per section or loop. */
#ifndef FRONTEND_READER_H
#define FRONTEND_READER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
  const uint8_t *start;    /* of the whole module: offsets in errors count from here */
  const uint8_t *at, *end; /* equal after a failure */
  struct gw_error *err;    /* never NULL */
  bool is_part;            /* `end` is the end of a section or function: for the words of "unexpected end" */
  bool failed;
};

void reader_init(struct reader *r, const uint8_t *start, const uint8_t *at, const uint8_t *end, struct gw_error *err);

/* Records an error (malformed module, at the current offset, unless said otherwise) and makes the reader fail. */
void reader_fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reader_fail_at(struct reader *r, enum gw_error_code code, const uint8_t *at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* What reader_fail says when the bytes run out. */
void reader_fail_end(struct reader *r);

/* The general forms behind the one-byte cases below. */
uint64_t read_leb_unsigned(struct reader *r, unsigned bits);
int64_t read_leb_signed(struct reader *r, unsigned bits);
uint8_t read_u8_at_end(struct reader *r);

static inline bool reader_at_short_leb(const struct reader *r) { return r->at < r->end && *r->at < 0x80; }

static inline uint8_t read_u8(struct reader *r) { return r->at < r->end ? *r->at++ : read_u8_at_end(r); }

static inline uint32_t read_u32(struct reader *r) {
  return reader_at_short_leb(r) ? *r->at++ : (uint32_t)read_leb_unsigned(r, 32);
}

static inline uint64_t read_u64(struct reader *r) { return reader_at_short_leb(r) ? *r->at++ : read_leb_unsigned(r, 64); }

static inline int64_t read_signed(struct reader *r, unsigned bits) {
  return reader_at_short_leb(r) ? (int64_t)(((uint64_t)*r->at++ ^ 0x40) - 0x40) : read_leb_signed(r, bits);
}

static inline int32_t read_s32(struct reader *r) { return (int32_t)read_signed(r, 32); }
static inline int64_t read_s33(struct reader *r) { return read_signed(r, 33); }
static inline int64_t read_s64(struct reader *r) { return read_signed(r, 64); }

uint32_t read_f32_bits(struct reader *r);
uint64_t read_f64_bits(struct reader *r);
const uint8_t *read_bytes(struct reader *r, size_t size); /* NULL on failure */

static inline size_t reader_left(const struct reader *r) { return (size_t)(r->end - r->at); }

#endif
