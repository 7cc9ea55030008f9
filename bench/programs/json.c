/* Text and a hash table: parses a JSON text that it wrote itself, and counts the keys. */
#include "bench.h"

#include <string.h>

enum { TEXT = 1 << 18, SLOTS = 1 << 12, RECORDS = 2500, KEYS = 1000 };

const uint32_t bench_rounds = 1800;

struct slot {
  const char *key;
  uint32_t size, count;
  uint64_t sum;
};

static char text[TEXT];
static struct slot slots[SLOTS];

static char *write_number(char *at, uint32_t n) {
  char digits[10];
  int size = 0;
  do digits[size++] = (char)('0' + n % 10);
  while (n /= 10);
  while (size) *at++ = digits[--size];
  return at;
}

static char *write_text(char *at, const char *s) {
  while (*s) *at++ = *s++;
  return at;
}

static void write_records(uint64_t seed) {
  char *at = write_text(text, "[");
  for (int i = 0; i < RECORDS; i++) {
    at = write_text(at, "{\"key ");
    at = write_number(at, bench_random(&seed) % KEYS);
    at = write_text(at, "\": ");
    at = write_number(at, bench_random(&seed) >> 8);
    at = write_text(at, ", \"tags\": [true, null, \"a\\\"b\", {}]},\n");
  }
  write_text(at, "0]");
}

static struct slot *find_slot(const char *key, uint32_t size) {
  uint32_t hash = 2166136261u;
  for (uint32_t i = 0; i < size; i++) hash = (hash ^ (uint8_t)key[i]) * 16777619u;
  for (uint32_t at = hash % SLOTS;; at = (at + 1) % SLOTS) {
    struct slot *slot = &slots[at];
    if (!slot->key) {
      slot->key = key;
      slot->size = size;
    }
    if (slot->size == size && memcmp(slot->key, key, size) == 0) return slot;
  }
}

static const char *skip_space(const char *at) {
  while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r') at++;
  return at;
}

/* From behind the opening quote to behind the closing one. */
static const char *skip_string(const char *at) {
  for (; *at != '"'; at++) {
    if (*at == '\\') at++;
  }
  return at + 1;
}

static const char *parse_value(const char *at, uint64_t *number);

static const char *parse_list(const char *at, char close, uint64_t *sum) {
  at = skip_space(at);
  while (*at != close) {
    const char *key = at + 1;
    uint64_t number = 0;
    struct slot *slot = NULL;
    if (close == '}') {
      at = skip_string(key);
      slot = find_slot(key, (uint32_t)(at - key - 1));
      at = skip_space(at) + 1; /* the colon */
    }
    at = skip_space(parse_value(at, &number));
    if (slot) {
      slot->count++;
      slot->sum += number;
    }
    *sum += number;
    if (*at == ',') at = skip_space(at + 1);
  }
  return at + 1;
}

static const char *parse_value(const char *at, uint64_t *number) {
  at = skip_space(at);
  switch (*at) {
  case '{': return parse_list(at + 1, '}', number);
  case '[': return parse_list(at + 1, ']', number);
  case '"': return skip_string(at + 1);
  case 't':
  case 'n': return at + 4;
  default: break;
  }
  for (; *at >= '0' && *at <= '9'; at++) *number = *number * 10 + (uint64_t)(*at - '0');
  return at;
}

uint64_t bench_round(uint64_t seed) {
  uint64_t total = 0, hash = 0;
  memset(slots, 0, sizeof slots);
  write_records(seed);
  parse_value(text, &total);
  for (int i = 0; i < SLOTS; i++) hash = bench_mix(hash, slots[i].sum ^ slots[i].count);
  return hash ^ total;
}
