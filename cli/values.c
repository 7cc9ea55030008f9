#include "cli/values.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An integer of `bits` bits in two's complement: -2^(bits-1) to 2^bits - 1. */
static bool parse_integer(const char *text, unsigned bits, uint64_t *out) {
  bool is_negative = *text == '-';
  const char *digits = text + (is_negative || *text == '+');
  if (*digits < '0' || *digits > '9') return false;
  bool is_hex = digits[0] == '0' && (digits[1] | 0x20) == 'x';
  char *end;
  errno = 0;
  uint64_t magnitude = strtoull(digits, &end, is_hex ? 16 : 10);
  if (errno || *end) return false;
  uint64_t max = is_negative ? 1ull << (bits - 1) : UINT64_MAX >> (64 - bits);
  if (magnitude > max) return false;
  *out = is_negative ? 0 - magnitude : magnitude;
  return true;
}

static bool parse_double(const char *text, double *out) {
  char *end;
  *out = strtod(text, &end);
  return *text && !*end;
}

static bool parse_vector(const char *text, uint8_t *out) {
  if (text[0] != '0' || (text[1] | 0x20) != 'x') return false;
  const char *digits = text + 2;
  size_t n = strspn(digits, "0123456789abcdefABCDEF");
  if (n == 0 || n > 32 || digits[n]) return false;
  for (size_t i = 0; i < n; i++) { /* from the last digit */
    int c = digits[n - 1 - i] | 0x20;
    int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    out[i / 2] |= (uint8_t)(digit << (i % 2 * 4));
  }
  return true;
}

bool cli_parse_value(const char *text, val_type type, union gw_value *out) {
  uint64_t bits;
  double number;
  char *end;
  memset(out, 0, sizeof *out);
  switch (val_kind(type)) {
  case VAL_I32:
    if (!parse_integer(text, 32, &bits)) return false;
    out->u32 = (uint32_t)bits;
    return true;
  case VAL_I64: return parse_integer(text, 64, &out->u64);
  case VAL_F32: out->f32 = strtof(text, &end); return *text && !*end;
  case VAL_F64:
    if (!parse_double(text, &number)) return false;
    out->f64 = number;
    return true;
  case VAL_V128: return parse_vector(text, out->v128);
  case VAL_REF: return strcmp(text, "null") == 0;
  default: return false;
  }
}

static bool reads_back(const char *text, double value, bool is_single) {
  return is_single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value;
}

static void print_float(double value, bool is_single, char *out) {
  int max_digits = is_single ? 9 : 17;
  for (int digits = 1; digits <= max_digits; digits++) {
    snprintf(out, CLI_VALUE_SIZE, "%.*g", digits, value);
    if (isnan(value) || reads_back(out, value, is_single)) return;
  }
}

static void print_vector(const uint8_t *bytes, char *out) {
  strcpy(out, "0x");
  for (int i = 15; i >= 0; i--) snprintf(out + 2 + 2 * (15 - i), 3, "%02x", bytes[i]);
}

void cli_print_value(union gw_value value, val_type type, char *out) {
  switch (val_kind(type)) {
  case VAL_I32: snprintf(out, CLI_VALUE_SIZE, "%" PRId32, value.i32); return;
  case VAL_I64: snprintf(out, CLI_VALUE_SIZE, "%" PRId64, value.i64); return;
  case VAL_F32: print_float((double)value.f32, true, out); return;
  case VAL_F64: print_float(value.f64, false, out); return;
  case VAL_V128: print_vector(value.v128, out); return;
  case VAL_REF: snprintf(out, CLI_VALUE_SIZE, value.ref ? "ref" : "null"); return;
  default: snprintf(out, CLI_VALUE_SIZE, "?"); return;
  }
}
