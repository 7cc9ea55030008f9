/* The inputs of one invocation as bytes: all that it was asked, read and heard from outside, so that it can be repeated
 * (docs/replay.md). Pure functions, any thread. */
#ifndef SERVER_INPUTS_INPUTS_H
#define SERVER_INPUTS_INPUTS_H

#include "base/buffer.h"
#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum input_field {
#define INPUT(key, name, kind, word) INPUT_##name,
#include "server/inputs/inputs.def"
#undef INPUT
  INPUT_COUNT
};

enum input_kind { INPUT_IS_NUMBER, INPUT_IS_TEXT, INPUT_IS_BYTES };

/* Bits of the field LOST: what was more than is kept of one invocation, of which its leaf has the digest. */
enum { INPUT_LOST_REQUEST = 1, INPUT_LOST_READS = 2, INPUT_LOST_HOST = 4, INPUT_LOST_FILES = 8 };

/* `bytes` are borrowed. Text has no 0 behind it. */
struct input_value {
  bool is_there;
  uint64_t number;
  const uint8_t *bytes;
  size_t size;
};

struct inputs {
  struct input_value fields[INPUT_COUNT];
};

static inline void inputs_set_number(struct inputs *in, enum input_field field, uint64_t number) {
  in->fields[field] = (struct input_value){.is_there = number != 0, .number = number};
}

static inline void inputs_set_bytes(struct inputs *in, enum input_field field, const void *bytes, size_t size) {
  in->fields[field] = (struct input_value){.is_there = size != 0, .bytes = bytes, .size = size};
}

const char *inputs_word(enum input_field field);
enum input_kind inputs_kind(enum input_field field);

/* At least as many bytes as they take, from `first` to before `end`. */
size_t inputs_most(const struct inputs *in, enum input_field first, enum input_field end);
/* Appends the fields that are there, from `first` to before `end`. */
void inputs_encode(const struct inputs *in, enum input_field first, enum input_field end, struct buffer *out);
/* The whole as it is handed out: a magic word, all fields, a checksum of all that. */
void inputs_print(const struct inputs *in, struct buffer *out);
/* Adds fields; false: they are no such bytes. Values borrow. */
bool inputs_decode(struct inputs *in, const void *bytes, size_t size);
/* Of what inputs_print wrote: any other byte is an error. */
bool inputs_parse(struct inputs *in, const void *bytes, size_t size, struct gw_error *err);

/* XXH3, with 64 bits. */
uint64_t inputs_checksum(const void *bytes, size_t size);

#endif
