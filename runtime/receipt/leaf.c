#include "runtime/receipt/leaf.h"

#include "base/error.h"
#include "base/utf8.h"

#include <cbor/callbacks.h>
#include <cbor/streaming.h>

#include <string.h>

#define FIELD(key, name, kind, word) _Static_assert((int)FIELD_##name == (key), "keys ascend by one");
#include "runtime/receipt/leaf.def"
#undef FIELD

enum { MAX_FIELDS = 23 /* so the head of the map is one byte */ };

enum { OUTCOME_AT = 4 /* behind the map's head, 0, the format, 1 */, MAP_HEAD = 0xa0 };

static const struct {
  enum leaf_kind kind;
  const char *word;
} fields[] = {
#define FIELD(key, name, kind, word) {LEAF_##kind, word},
#include "runtime/receipt/leaf.def"
#undef FIELD
};

const char *leaf_field_word(enum leaf_field field) { return fields[field].word; }
enum leaf_kind leaf_field_kind(enum leaf_field field) { return fields[field].kind; }

const char *leaf_outcome_word(uint64_t outcome) {
  static const char *const words[] = {"replied", "trapped", "failed", "cancelled", "repeated", "void"};
  _Static_assert(sizeof words / sizeof *words == OUTCOME_COUNT, "all have words");
  return outcome < OUTCOME_COUNT ? words[outcome] : NULL;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

enum { MAJOR_NUMBER = 0x00, MAJOR_BYTES = 0x40, MAJOR_TEXT = 0x60 };

/* The shortest head of an item (RFC 8949 section 3). Each request writes twenty: libcbor's functions would be a third of a leaf's
 * time. What reads them is libcbor. */
static size_t put_head(uint8_t *out, uint8_t major, uint64_t n) {
  if (n < 24) {
    *out = major | (uint8_t)n;
    return 1;
  }
  unsigned log2 = n < 1 << 8 ? 0 : n < 1 << 16 ? 1 : n < 1ull << 32 ? 2 : 3, size = 1u << log2;
  uint64_t big = __builtin_bswap64(n << (64 - 8 * size));
  *out = major | (uint8_t)(24 + log2);
  memcpy(out + 1, &big, size);
  return 1 + size;
}

static size_t put_bytes(uint8_t *out, const struct leaf_value *value, bool is_text) {
  size_t n = put_head(out, is_text ? MAJOR_TEXT : MAJOR_BYTES, value->size);
  if (value->size) memcpy(out + n, value->bytes, value->size);
  return n + value->size;
}

/* All have one size, so the compiler needs no call to copy them: 150 instructions of a request. */
static size_t put_digest(uint8_t *out, const uint8_t bytes[LEAF_DIGEST_SIZE]) {
  size_t n = put_head(out, MAJOR_BYTES, LEAF_DIGEST_SIZE);
  memcpy(out + n, bytes, LEAF_DIGEST_SIZE);
  return n + LEAF_DIGEST_SIZE;
}

/* Fields from `first` to before `end`, behind the `size` bytes that are there. */
static size_t put_fields(const struct leaf *leaf, unsigned first, unsigned end, uint8_t *out, size_t size) {
  for (unsigned i = first; i < end; i++) {
    const struct leaf_value *value = &leaf->fields[i];
    if (!value->is_there) continue;
    out[0]++;
    size += put_head(out + size, MAJOR_NUMBER, i);
    if (fields[i].kind == LEAF_NUMBER)
      size += put_head(out + size, MAJOR_NUMBER, value->number);
    else if (fields[i].kind == LEAF_DIGEST)
      size += put_digest(out + size, value->bytes);
    else
      size += put_bytes(out + size, value, fields[i].kind == LEAF_TEXT);
  }
  return size;
}

size_t leaf_encode(const struct leaf *leaf, uint8_t out[LEAF_MAX]) {
  size_t behind;
  return leaf_encode_behind(NULL, leaf, out, &behind);
}

_Static_assert(FIELD_SEMANTICS == 5 && LEAF_MAX_HEAD >= 1 + 2 * 3 + 3 + LEAF_MAX_TEXT + 2 * (3 + LEAF_DIGEST_SIZE),
               "a head is the format, outcome, function, module, schedule and semantics");

void leaf_encode_head(const struct leaf *leaf, struct leaf_head *head) {
  head->bytes[0] = MAP_HEAD;
  head->size = put_fields(leaf, 0, FIELD_SEMANTICS + 1, head->bytes, 1);
}

size_t leaf_encode_behind(const struct leaf_head *head, const struct leaf *leaf, uint8_t out[LEAF_MAX], size_t *behind) {
  size_t size = head ? head->size : 1;
  if (head) {
    memcpy(out, head->bytes, size);
    out[OUTCOME_AT] = (uint8_t)leaf->fields[FIELD_OUTCOME].number;
  } else {
    out[0] = MAP_HEAD;
  }
  size = put_fields(leaf, head ? FIELD_SEMANTICS + 1 : 0, FIELD_PREVIOUS, out, size);
  size_t whole = put_fields(leaf, FIELD_PREVIOUS, FIELD_COUNT, out, size);
  *behind = whole - size;
  return whole;
}

size_t leaf_previous_size(uint64_t previous) {
  return previous < 24 ? 2 : previous < 1 << 8 ? 3 : previous < 1 << 16 ? 4 : previous < 1ull << 32 ? 6 : 10;
}

/* The head of an item as put_head writes it. False: it is none. */
static bool take_head(const uint8_t *bytes, size_t size, size_t *at, uint8_t *major, uint64_t *n) {
  if (*at == size) return false;
  uint8_t byte = bytes[(*at)++], info = byte & 31;
  *major = byte & 0xe0;
  *n = info;
  if (info < 24) return true;
  size_t more = (size_t)1 << (info - 24);
  if (info > 27 || size - *at < more) return false;
  for (*n = 0; more; more--) *n = *n << 8 | bytes[(*at)++];
  return true;
}

static bool take_key(const uint8_t *bytes, size_t size, size_t *at, uint64_t *key) {
  uint8_t major;
  return take_head(bytes, size, at, &major, key) && major == MAJOR_NUMBER && *key < FIELD_COUNT;
}

static bool take_value(const uint8_t *bytes, size_t size, size_t *at, struct leaf_value *value) {
  uint8_t major;
  uint64_t n;
  if (!take_head(bytes, size, at, &major, &n)) return false;
  *value = (struct leaf_value){.is_there = true, .number = n};
  if (major == MAJOR_NUMBER) return true;
  if ((major != MAJOR_BYTES && major != MAJOR_TEXT) || n > size - *at) return false;
  *value = (struct leaf_value){.is_there = true, .bytes = bytes + *at, .size = n};
  *at += n;
  return true;
}

bool leaf_read_own(struct leaf *leaf, const uint8_t *bytes, size_t size) {
  size_t at = 1;
  *leaf = (struct leaf){0};
  if (!size || (bytes[0] & 0xe0) != MAP_HEAD) return false;
  while (at < size) {
    uint64_t field;
    if (!take_key(bytes, size, &at, &field) || !take_value(bytes, size, &at, &leaf->fields[field])) return false;
    const struct leaf_value *value = &leaf->fields[field];
    if ((fields[field].kind == LEAF_NUMBER) != !value->bytes) return false;
  }
  return leaf->fields[FIELD_OUTCOME].is_there;
}

size_t leaf_add_previous(uint8_t leaf[LEAF_MAX], size_t size, size_t behind, uint64_t previous) {
  size_t at = size - behind, n = leaf_previous_size(previous);
  memmove(leaf + at + n, leaf + at, behind);
  leaf[0]++;
  leaf[at] = FIELD_PREVIOUS;
  put_head(leaf + at + 1, MAJOR_NUMBER, previous);
  return size + n;
}

void leaf_make_void(uint8_t *out, size_t size) {
  static const uint8_t nothing[LEAF_MAX];
  uint8_t bytes[LEAF_MAX];
  struct leaf leaf = {0};
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_OUTCOME, OUTCOME_VOID);
  leaf_set_bytes(&leaf, FIELD_PAD, nothing, 0);
  size_t least = leaf_encode(&leaf, bytes), more = size - least;
  /* The head of the padding grows by one byte, and by two: a size is left out at each. */
  size_t pad = more < 24 ? more : more < 258 ? more - 1 : more - 2;
  if (more == 257) {
    leaf_set_number(&leaf, FIELD_TIME, 0);
    pad = more - 3;
  }
  leaf.fields[FIELD_PAD].size = pad;
  leaf_encode(&leaf, bytes);
  memcpy(out, bytes, size);
}

void leaf_void(uint8_t *leaf) { leaf[OUTCOME_AT] = OUTCOME_VOID; }

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* What the callbacks for one item found. */
struct item {
  enum { ITEM_OTHER, ITEM_NUMBER, ITEM_TEXT, ITEM_BYTES, ITEM_MAP } kind;
  uint64_t number;
  const uint8_t *bytes;
  size_t size;
};

static void on_number(void *arg, uint64_t number) { *(struct item *)arg = (struct item){.kind = ITEM_NUMBER, .number = number}; }
static void on_8(void *arg, uint8_t n) { on_number(arg, n); }
static void on_16(void *arg, uint16_t n) { on_number(arg, n); }
static void on_32(void *arg, uint32_t n) { on_number(arg, n); }
static void on_bytes(void *arg, cbor_data bytes, size_t size) {
  *(struct item *)arg = (struct item){.kind = ITEM_BYTES, .bytes = bytes, .size = size};
}
static void on_text(void *arg, cbor_data bytes, size_t size) {
  *(struct item *)arg = (struct item){.kind = ITEM_TEXT, .bytes = bytes, .size = size};
}
static void on_map(void *arg, size_t size) { *(struct item *)arg = (struct item){.kind = ITEM_MAP, .number = size}; }

static bool read_item(const uint8_t *bytes, size_t size, size_t *at, struct item *item) {
  struct cbor_callbacks callbacks = cbor_empty_callbacks;
  callbacks.uint8 = on_8;
  callbacks.uint16 = on_16;
  callbacks.uint32 = on_32;
  callbacks.uint64 = on_number;
  callbacks.byte_string = on_bytes;
  callbacks.string = on_text;
  callbacks.map_start = on_map;
  *item = (struct item){0};
  struct cbor_decoder_result result = cbor_stream_decode(bytes + *at, size - *at, &callbacks, item);
  *at += result.read;
  return result.status == CBOR_DECODER_FINISHED && item->kind != ITEM_OTHER;
}

/* UTF-8, as CBOR wants it, and nothing that ends a line or a text. */
static bool is_text(const uint8_t *bytes, size_t size) {
  for (size_t i = 0, n; i < size; i += n) {
    n = utf8_sequence(bytes + i, size - i);
    if (!n || bytes[i] < ' ' || bytes[i] == 0x7f) return false;
  }
  return true;
}

static bool value_fits(enum leaf_field field, const struct item *item) {
  switch (fields[field].kind) {
  case LEAF_NUMBER: return item->kind == ITEM_NUMBER;
  case LEAF_TEXT: return item->kind == ITEM_TEXT && item->size <= LEAF_MAX_TEXT && is_text(item->bytes, item->size);
  case LEAF_DIGEST: return item->kind == ITEM_BYTES && item->size == LEAF_DIGEST_SIZE;
  case LEAF_BYTES: return item->kind == ITEM_BYTES;
  }
  return false;
}

static bool read_field(struct leaf *leaf, const uint8_t *bytes, size_t size, size_t *at) {
  struct item key, value;
  if (!read_item(bytes, size, at, &key) || key.kind != ITEM_NUMBER || key.number >= FIELD_COUNT) return false;
  if (!read_item(bytes, size, at, &value) || !value_fits((enum leaf_field)key.number, &value)) return false;
  leaf->fields[key.number] = (struct leaf_value){true, value.number, value.bytes, value.size};
  return true;
}

/* The last field of each format. */
static const uint8_t last_fields[] = {[1] = FIELD_PREVIOUS, [2] = FIELD_SETTINGS, [3] = FIELD_CPU};
_Static_assert(sizeof last_fields == LEAF_FORMAT + 1 && FIELD_CPU == FIELD_COUNT - 1, "a new field is a new format");

static bool has_known_format(const struct leaf *leaf) {
  uint64_t format = leaf->fields[FIELD_FORMAT].number;
  if (!leaf->fields[FIELD_OUTCOME].is_there || format < 1 || format > LEAF_FORMAT) return false;
  for (int i = last_fields[format] + 1; i < FIELD_COUNT; i++)
    if (leaf->fields[i].is_there) return false;
  return true;
}

bool leaf_decode(struct leaf *leaf, const uint8_t *bytes, size_t size, struct gw_error *err) {
  struct item map;
  uint8_t again[LEAF_MAX];
  size_t at = 0;
  *leaf = (struct leaf){0};
  bool ok = size <= LEAF_MAX && read_item(bytes, size, &at, &map) && map.kind == ITEM_MAP && map.number <= MAX_FIELDS;
  for (uint64_t i = 0; ok && i < map.number; i++) ok = read_field(leaf, bytes, size, &at);
  if (!ok) return error_set(err, GW_ERROR_MALFORMED, "this is no leaf of the log: it is not a map of the known fields");
  /* Canonical is what the encoder makes of it; so are order, lengths of numbers, and that nothing follows. */
  if (leaf_encode(leaf, again) != size || memcmp(again, bytes, size) != 0)
    return error_set(err, GW_ERROR_MALFORMED, "this is no leaf of the log: its CBOR is not canonical");
  if (!has_known_format(leaf)) return error_set(err, GW_ERROR_MALFORMED, "the leaf's format is not one of 1 to %d", LEAF_FORMAT);
  return true;
}
