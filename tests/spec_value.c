/* Values of the suite: numbers are decimal bit patterns in strings, results may be patterns for NaNs and references. */
#include "tests/spec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const cJSON *json, const char *key) {
  const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
  return s ? s : "";
}

static bool type_is(const cJSON *json, const char *type) { return strcmp(text_of(json, "type"), type) == 0; }

/* Bits per number or lane, 0 for other types. */
static unsigned width_of(const char *type) {
  if (strcmp(type, "i8") == 0) return 8;
  if (strcmp(type, "i16") == 0) return 16;
  if (strcmp(type, "i32") == 0 || strcmp(type, "f32") == 0) return 32;
  if (strcmp(type, "i64") == 0 || strcmp(type, "f64") == 0) return 64;
  return 0;
}

static uint64_t bits_at(const void *bytes, unsigned width) {
  uint64_t bits = 0;
  memcpy(&bits, bytes, width / 8);
  return bits;
}

static bool read_v128(const cJSON *json, union gw_value *out) {
  unsigned width = width_of(text_of(json, "lane_type"));
  const cJSON *lanes = cJSON_GetObjectItemCaseSensitive(json, "value"), *lane;
  if (width == 0 || cJSON_GetArraySize(lanes) != (int)(128 / width)) return false;
  uint8_t *at = out->v128;
  cJSON_ArrayForEach(lane, lanes) {
    uint64_t bits = strtoull(cJSON_GetStringValue(lane), NULL, 10);
    memcpy(at, &bits, width / 8);
    at += width / 8;
  }
  return true;
}

/* Host reference number n is the pointer n + 1, so that number 0 is not null. */
static void *host_ref(const char *number) { return (void *)(uintptr_t)(strtoull(number, NULL, 10) + 1); } // NOLINT

bool spec_value_read(const cJSON *json, union gw_value *out) {
  memset(out, 0, sizeof *out);
  if (type_is(json, "v128")) return read_v128(json, out);
  const char *value = text_of(json, "value");
  if (width_of(text_of(json, "type"))) {
    out->u64 = strtoull(value, NULL, 10);
    return true;
  }
  if (strcmp(value, "null") == 0) return true;
  if (!type_is(json, "externref") || value[0] == '\0') return false;
  out->ref = host_ref(value);
  return true;
}

static bool number_matches(const char *pattern, unsigned width, uint64_t bits) {
  uint64_t sign = 1ull << (width - 1);
  uint64_t quiet = width == 32 ? 0x7fc00000u : 0x7ff8000000000000u;
  if (strcmp(pattern, "nan:canonical") == 0) return (bits & ~sign) == quiet;
  if (strcmp(pattern, "nan:arithmetic") == 0) return (bits & quiet) == quiet;
  return bits == strtoull(pattern, NULL, 10);
}

static bool v128_matches(const cJSON *pattern, const union gw_value *got) {
  unsigned width = width_of(text_of(pattern, "lane_type"));
  const cJSON *lanes = cJSON_GetObjectItemCaseSensitive(pattern, "value"), *lane;
  if (width == 0 || cJSON_GetArraySize(lanes) != (int)(128 / width)) return false;
  const uint8_t *at = got->v128;
  cJSON_ArrayForEach(lane, lanes) {
    if (!number_matches(cJSON_GetStringValue(lane), width, bits_at(at, width))) return false;
    at += width / 8;
  }
  return true;
}

static bool is_any_of(const cJSON *patterns, const union gw_value *got) {
  const cJSON *pattern;
  cJSON_ArrayForEach(pattern, patterns) {
    if (spec_value_matches(pattern, got)) return true;
  }
  return false;
}

bool spec_value_matches(const cJSON *pattern, const union gw_value *got) {
  if (type_is(pattern, "either")) return is_any_of(cJSON_GetObjectItemCaseSensitive(pattern, "values"), got);
  if (type_is(pattern, "v128")) return v128_matches(pattern, got);
  unsigned width = width_of(text_of(pattern, "type"));
  if (width) return number_matches(text_of(pattern, "value"), width, bits_at(got, width));
  if (type_is(pattern, "refnull")) return got->ref == NULL;
  const char *value = text_of(pattern, "value");
  if (value[0] == '\0') return got->ref != NULL;
  return got->ref == (strcmp(value, "null") == 0 ? NULL : host_ref(value));
}

void spec_value_print(const cJSON *pattern, const union gw_value *got, char *out, size_t size) {
  unsigned width = width_of(text_of(pattern, "type"));
  char *expected = cJSON_PrintUnformatted(pattern);
  if (width) {
    uint64_t bits = bits_at(got, width);
    snprintf(out, size, "expected %s, got %" PRIu64 " (0x%" PRIx64 ")", expected, bits, bits);
  } else if (type_is(pattern, "v128")) {
    uint64_t low = bits_at(got->v128, 64), high = bits_at(got->v128 + 8, 64);
    snprintf(out, size, "expected %s, got 0x%016" PRIx64 "%016" PRIx64, expected, high, low);
  } else {
    snprintf(out, size, "expected %s, got reference %p", expected, got->ref);
  }
  cJSON_free(expected);
}
