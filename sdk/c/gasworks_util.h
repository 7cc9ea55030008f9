/* Conveniences over gasworks_guest.h: query parameters and replies from C strings. Freestanding but for <string.h>. */
#ifndef GASWORKS_UTIL_H
#define GASWORKS_UTIL_H

#include "gasworks_guest.h"

#include <stdbool.h>
#include <string.h>

static inline void gw_reply_text(const char *text) { gw_reply(text, strlen(text)); }

static inline void gw_reply_type(const char *media_type) { gw_reply_header("Content-Type", 12, media_type, strlen(media_type)); }

/* A reply that is an error: the status and one sentence. */
static inline void gw_reply_error(uint32_t status, const char *sentence) {
  gw_reply_status(status);
  gw_reply_type("text/plain; charset=utf-8");
  gw_reply_text(sentence);
  gw_reply_text("\n");
}

/* The decimal digits of `value`; returns where they begin in `out`, which is NUL-terminated. */
static inline char *gw_decimal(uint64_t value, char out[21]) {
  char *at = out + 20;
  *at = 0;
  do {
    *--at = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  return at;
}

/* A pair of what gw_state_scan wrote. */
struct gw_pair {
  const uint8_t *key, *value;
  uint32_t key_size, value_size;
};

/* Takes the next pair from `*at`, which begins as the buffer; false at its end. `flags` are those of the scan: with GW_SCAN_KEYS
 * value is NULL. */
static inline bool gw_next_pair(const uint8_t **at, const uint8_t *end, uint32_t flags, struct gw_pair *pair) {
  if (*at >= end) return false;
  memcpy(&pair->key_size, *at, 4);
  memcpy(&pair->value_size, *at + 4, 4);
  pair->key = *at + 8;
  pair->value = flags & GW_SCAN_KEYS ? NULL : pair->key + pair->key_size;
  *at = pair->key + pair->key_size + (pair->value ? pair->value_size : 0);
  return true;
}

/* Finds NAME=VALUE in the query string, as it was sent (percent escapes are left alone). Cuts the value to `capacity` - 1. */
static inline bool gw_query(const char *name, char *out, size_t capacity) {
  char query[1024];
  size_t size = gw_request_query(query, sizeof query - 1), name_size = strlen(name);
  if (size == GW_NONE || capacity == 0) return false;
  query[size < sizeof query - 1 ? size : sizeof query - 1] = 0;
  for (const char *at = query; *at;) {
    size_t pair = strcspn(at, "&");
    if (pair > name_size && strncmp(at, name, name_size) == 0 && at[name_size] == '=') {
      size_t value = pair - name_size - 1;
      if (value > capacity - 1) value = capacity - 1;
      memcpy(out, at + name_size + 1, value);
      out[value] = 0;
      return true;
    }
    at += pair;
    if (*at) at++;
  }
  return false;
}

/* The same as a number; `fallback` when it is absent, not a decimal number, or greater than `max`. */
static inline uint64_t gw_query_number(const char *name, uint64_t fallback, uint64_t max) {
  char text[21];
  if (!gw_query(name, text, sizeof text) || !*text) return fallback;
  uint64_t value = 0;
  for (const char *at = text; *at; at++) {
    if (*at < '0' || *at > '9' || value > max / 10) return fallback;
    value = value * 10 + (uint64_t)(*at - '0');
  }
  return value <= max ? value : fallback;
}

#endif
