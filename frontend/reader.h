/* Sticky reader: after an error every read returns 0 and nothing moves, so callers test once per section or loop. */
#ifndef FRONTEND_READER_H
#define FRONTEND_READER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
  const uint8_t *start; /* of the whole module: offsets in errors count from here */
  const uint8_t *at, *end;
  struct gw_error *err; /* never NULL */
  bool failed;
};

void reader_init(struct reader *r, const uint8_t *start, const uint8_t *at, const uint8_t *end, struct gw_error *err);

uint8_t read_u8(struct reader *r);
uint32_t read_u32(struct reader *r);  /* LEB128 */
uint64_t read_u64(struct reader *r);
int32_t read_s32(struct reader *r);
int64_t read_s33(struct reader *r);
int64_t read_s64(struct reader *r);
uint32_t read_f32_bits(struct reader *r);
uint64_t read_f64_bits(struct reader *r);
const uint8_t *read_bytes(struct reader *r, size_t size); /* NULL on failure */

/* Records a malformed-module error at the current offset. */
void reader_fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline size_t reader_left(const struct reader *r) { return r->failed ? 0 : (size_t)(r->end - r->at); }

#endif
