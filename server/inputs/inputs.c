/* A field is its key in one byte, its size in four, the least first, and its bytes; numbers have as many as they need, the least
 * first. A field without bytes is left out. */
#define _GNU_SOURCE /* mempcpy */
#include "server/inputs/inputs.h"

#include "base/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

static const uint8_t magic[8] = {'g', 'w', 'i', 'n', 'p', 'u', 't', '1'};

enum { HEAD = 5 /* of a field */, SUM = sizeof(uint64_t) };

static const struct {
  const char *word;
  enum input_kind kind;
} table[] = {
#define NUMBER INPUT_IS_NUMBER
#define TEXT INPUT_IS_TEXT
#define BYTES INPUT_IS_BYTES
#define INPUT(key, name, kind, word) {word, kind},
#include "server/inputs/inputs.def"
#undef INPUT
#undef NUMBER
#undef TEXT
#undef BYTES
};

#define INPUT(key, name, kind, word) _Static_assert(key == INPUT_##name, "rows are in the order of their keys");
#include "server/inputs/inputs.def"
#undef INPUT

const char *inputs_word(enum input_field field) { return table[field].word; }
enum input_kind inputs_kind(enum input_field field) { return table[field].kind; }

uint64_t inputs_checksum(const void *bytes, size_t size) { return XXH3_64bits(bytes, size); }

/* --- writing ------------------------------------------------------------------------------------------------------ */

static uint8_t *put_head(uint8_t *at, enum input_field field, size_t size) {
  uint32_t n = (uint32_t)size;
  at[0] = (uint8_t)field;
  memcpy(at + 1, &n, sizeof n);
  return at + HEAD;
}

/* There is room for all eight bytes. */
static uint8_t *put_number(uint8_t *at, enum input_field field, uint64_t number) {
  size_t n = 8 - (size_t)__builtin_clzll(number | 1) / 8;
  memcpy(put_head(at, field, n), &number, sizeof number);
  return at + HEAD + n;
}

size_t inputs_most(const struct inputs *in, enum input_field first, enum input_field end) {
  size_t most = 0;
  for (enum input_field i = first; i < end; i++) most += HEAD + sizeof in->fields[i].number + in->fields[i].size;
  return most;
}

/* Each request has a dozen: room is made once for all. */
void inputs_encode(const struct inputs *in, enum input_field first, enum input_field end, struct buffer *out) {
  uint8_t *at = buffer_reserve(out, inputs_most(in, first, end));
  for (enum input_field i = first; i < end; i++) {
    const struct input_value *v = &in->fields[i];
    if (!v->is_there) continue;
    if (table[i].kind == INPUT_IS_NUMBER)
      at = put_number(at, i, v->number);
    else
      at = mempcpy(put_head(at, i, v->size), v->bytes, v->size);
  }
  out->size = (size_t)(at - out->bytes);
}

void inputs_print(const struct inputs *in, struct buffer *out) {
  size_t start = out->size;
  buffer_append(out, magic, sizeof magic);
  inputs_encode(in, 0, INPUT_COUNT, out);
  uint64_t sum = inputs_checksum(out->bytes + start, out->size - start);
  buffer_append(out, &sum, sizeof sum);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool take_number(struct input_value *v, const uint8_t *bytes, size_t size) {
  if (!size || size > sizeof v->number || !bytes[size - 1]) return false;
  memcpy(&v->number, bytes, size);
  return true;
}

bool inputs_decode(struct inputs *in, const void *bytes, size_t size) {
  const uint8_t *at = bytes, *end = at + size;
  int last = -1;
  while (at < end) {
    uint32_t n;
    if (end - at < HEAD || at[0] >= INPUT_COUNT || at[0] <= last) return false;
    struct input_value *v = &in->fields[last = at[0]];
    memcpy(&n, at + 1, sizeof n);
    at += HEAD;
    if (!n || n > (size_t)(end - at)) return false;
    *v = (struct input_value){.is_there = true};
    bool is_number = table[last].kind == INPUT_IS_NUMBER;
    if (is_number && !take_number(v, at, n)) return false;
    if (!is_number) v->bytes = at, v->size = n;
    if (table[last].kind == INPUT_IS_TEXT && memchr(at, 0, n)) return false;
    at += n;
  }
  return true;
}

bool inputs_parse(struct inputs *in, const void *bytes, size_t size, struct gw_error *err) {
  uint64_t sum;
  const uint8_t *at = bytes;
  *in = (struct inputs){0};
  if (size < sizeof magic + SUM || memcmp(at, magic, sizeof magic) != 0)
    return error_set(err, GW_ERROR_INVALID, "these are no inputs of an invocation");
  memcpy(&sum, at + size - SUM, SUM);
  if (sum != inputs_checksum(at, size - SUM))
    return error_set(err, GW_ERROR_INVALID, "the inputs are damaged: their checksum is another");
  return inputs_decode(in, at + sizeof magic, size - sizeof magic - SUM) ||
         error_set(err, GW_ERROR_INVALID, "the inputs have a field that is none, twice, or out of order");
}
