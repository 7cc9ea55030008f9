#include "server/observe/context.h"

#include <string.h>
#include <sys/random.h>

/* --- numbers ------------------------------------------------------------------------------------------------------------ */

bool context_source_init(struct context_source *source) { return getentropy(source, sizeof *source) == 0; }

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static void print_hex(char *out, uint64_t n) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < 16; i++) out[i] = digits[n >> (60 - 4 * i) & 15];
  out[16] = 0;
}

/* All zero is no number. */
static void print_number(char *out, uint64_t *state) {
  uint64_t n = next(state);
  print_hex(out, n ? n : 1);
}

void context_add_span(struct context *context, struct context_source *source) { print_number(context->span, &source->state[1]); }

void context_begin(struct context *context, struct context_source *source) {
  *context = (struct context){.flags = CONTEXT_RANDOM};
  context_add_span(context, source);
  print_number(context->id, &source->state[0]);
  print_number(context->id + 16, &source->state[1]);
}

/* --- traceparent, section 3.2 -------------------------------------------------------------------------------------------- */

enum { ID_AT = 3, PARENT_AT = 36, FLAGS_AT = 53, END = 55 };

/* Lower case only. */
static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool is_hex(const char *text, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (hex_digit(text[i]) < 0) return false; /* the end of the text, too */
  return true;
}

static bool is_zero(const char *text, size_t size) { return strspn(text, "0") >= size; }

bool context_parse(struct context *context, const char *value) {
  *context = (struct context){0};
  if (!is_hex(value, 2) || memcmp(value, "ff", 2) == 0 || value[2] != '-') return false;
  if (!is_hex(value + ID_AT, CONTEXT_ID_SIZE) || value[PARENT_AT - 1] != '-' || is_zero(value + ID_AT, CONTEXT_ID_SIZE))
    return false;
  if (!is_hex(value + PARENT_AT, CONTEXT_SPAN_SIZE) || value[FLAGS_AT - 1] != '-' ||
      is_zero(value + PARENT_AT, CONTEXT_SPAN_SIZE))
    return false;
  if (!is_hex(value + FLAGS_AT, 2)) return false;
  bool is_known = memcmp(value, "00", 2) == 0;
  if (value[END] && (is_known || value[END] != '-')) return false;
  memcpy(context->id, value + ID_AT, CONTEXT_ID_SIZE);
  memcpy(context->parent, value + PARENT_AT, CONTEXT_SPAN_SIZE);
  context->flags = (uint8_t)(hex_digit(value[FLAGS_AT + 1]) & (CONTEXT_SAMPLED | CONTEXT_RANDOM));
  return true;
}

void context_print(const struct context *context, char out[CONTEXT_HEADER_SIZE]) {
  memcpy(out, "00-", 3);
  memcpy(out + ID_AT, context->id, CONTEXT_ID_SIZE);
  out[PARENT_AT - 1] = out[FLAGS_AT - 1] = '-';
  memcpy(out + PARENT_AT, *context->span ? context->span : context->parent, CONTEXT_SPAN_SIZE);
  out[FLAGS_AT] = '0';
  out[FLAGS_AT + 1] = (char)('0' + (context->flags & (CONTEXT_SAMPLED | CONTEXT_RANDOM)));
  out[END] = 0;
}

bool context_is_in_ratio(const struct context *context, double ratio) {
  enum { DIGITS = 14 }; /* the last 56 bits, which level 2 promises to be random */
  uint64_t n = 0;
  for (int i = CONTEXT_ID_SIZE - DIGITS; i < CONTEXT_ID_SIZE; i++) n = n << 4 | (uint64_t)hex_digit(context->id[i]);
  return (double)n < ratio * (double)(UINT64_C(1) << (4 * DIGITS));
}

/* --- tracestate, section 3.3 --------------------------------------------------------------------------------------------- */

static bool is_small(char c) { return c >= 'a' && c <= 'z'; }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t key_span(const char *text, size_t size) {
  size_t n = 0;
  while (n < size && (is_small(text[n]) || is_digit(text[n]) || (text[n] && strchr("_-*/", text[n])))) n++;
  return n;
}

/* A name that begins with a letter, or TENANT@SYSTEM. */
static bool is_key(const char *key, size_t size) {
  enum { MOST = 256, MOST_TENANT = 241, MOST_SYSTEM = 14 };
  const char *at = memchr(key, '@', size);
  size_t first = at ? (size_t)(at - key) : size, second = at ? size - first - 1 : 0;
  if (!first || key_span(key, first) != first) return false;
  if (!at) return size <= MOST && is_small(*key);
  return first <= MOST_TENANT && (is_small(*key) || is_digit(*key)) && second && second <= MOST_SYSTEM && is_small(at[1]) &&
         key_span(at + 1, second) == second;
}

/* Printable ASCII without comma and equals sign, no space at the end. */
static bool is_value(const char *value, size_t size) {
  enum { MOST = 256 };
  if (!size || size > MOST || value[size - 1] == ' ') return false;
  for (size_t i = 0; i < size; i++)
    if (value[i] < ' ' || value[i] > '~' || value[i] == ',' || value[i] == '=') return false;
  return true;
}

struct member {
  const char *key;
  size_t key_size;
};

/* False: a member that is none, or too many. An empty one, which is allowed, does not count. */
static bool take_member(struct member *members, size_t *n, const char *text, size_t size) {
  enum { MOST = 32 };
  while (size && strchr(" \t", *text)) text++, size--;
  while (size && strchr(" \t", text[size - 1])) size--;
  if (!size) return true;
  const char *equals = memchr(text, '=', size);
  size_t key_size = equals ? (size_t)(equals - text) : 0;
  if (!equals || *n == MOST || !is_key(text, key_size) || !is_value(equals + 1, size - key_size - 1)) return false;
  for (size_t i = 0; i < *n; i++)
    if (members[i].key_size == key_size && memcmp(members[i].key, text, key_size) == 0) return false;
  members[(*n)++] = (struct member){text, key_size};
  return true;
}

bool context_state_is_valid(const char *value) {
  struct member members[32];
  size_t n = 0;
  for (;;) {
    size_t size = strcspn(value, ",");
    if (!take_member(members, &n, value, size)) return false;
    if (!value[size]) return true;
    value += size + 1;
  }
}
