#include "frontend/reader.h"

#include <string.h>

void reader_init(struct reader *r, const uint8_t *start, const uint8_t *at, const uint8_t *end, struct gw_error *err) {
  *r = (struct reader){.start = start, .at = at, .end = end, .err = err};
}

static void fail(struct reader *r, enum gw_error_code code, const uint8_t *at, const char *format, va_list args) {
  if (!r->failed) error_vset(r->err, code, (uint64_t)(at - r->start), format, args);
  r->failed = true;
  r->at = r->end; /* so that the inline reads need no test of their own */
}

void reader_fail(struct reader *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fail(r, GW_ERROR_MALFORMED, r->at, format, args);
  va_end(args);
}

void reader_fail_at(struct reader *r, enum gw_error_code code, const uint8_t *at, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fail(r, code, at, format, args);
  va_end(args);
}

void reader_fail_end(struct reader *r) {
  reader_fail(r, r->is_part ? "unexpected end of section or function" : "unexpected end");
}

uint8_t read_u8_at_end(struct reader *r) {
  reader_fail_end(r);
  return 0;
}

uint64_t read_leb_unsigned(struct reader *r, unsigned bits) {
  const uint8_t *start = r->at;
  uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    if (r->at == r->end) return read_u8_at_end(r);
    uint8_t byte = *r->at++;
    unsigned left = bits - shift; /* bits of the number that are still to come */
    if (left < 7 && (byte & 0x7f) >> left) {
      reader_fail_at(r, GW_ERROR_MALFORMED, start, byte & 0x80 ? "integer representation too long" : "integer too large");
      return 0;
    }
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
    if (left <= 7) {
      reader_fail_at(r, GW_ERROR_MALFORMED, start, "integer representation too long");
      return 0;
    }
  }
}

int64_t read_leb_signed(struct reader *r, unsigned bits) {
  const uint8_t *start = r->at;
  uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    if (r->at == r->end) return read_u8_at_end(r);
    uint8_t byte = *r->at++;
    unsigned left = bits - shift;
    if (left <= 7 && byte & 0x80) {
      reader_fail_at(r, GW_ERROR_MALFORMED, start, "integer representation too long");
      return 0;
    }
    /* In the last byte the bits above the number must all equal its sign bit. */
    int8_t top = (int8_t)((int8_t)(byte << 1) >> (left <= 7 ? left : 1));
    if (left <= 7 && top != 0 && top != -1) {
      reader_fail_at(r, GW_ERROR_MALFORMED, start, "integer too large");
      return 0;
    }
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte & 0x80) continue;
    if (shift + 7 < 64 && byte & 0x40) value |= ~(uint64_t)0 << (shift + 7);
    return (int64_t)value;
  }
}

uint32_t read_f32_bits(struct reader *r) {
  uint32_t bits = 0;
  const uint8_t *bytes = read_bytes(r, sizeof bits);
  if (bytes) memcpy(&bits, bytes, sizeof bits);
  return bits;
}

uint64_t read_f64_bits(struct reader *r) {
  uint64_t bits = 0;
  const uint8_t *bytes = read_bytes(r, sizeof bits);
  if (bytes) memcpy(&bits, bytes, sizeof bits);
  return bits;
}

const uint8_t *read_bytes(struct reader *r, size_t size) {
  if (size > reader_left(r)) {
    reader_fail_end(r);
    return NULL;
  }
  const uint8_t *bytes = r->at;
  r->at += size;
  return bytes;
}
