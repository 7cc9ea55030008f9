/* A persistent counter for every path: GET shows it, POST adds one, DELETE forgets it. */
#include "gasworks_util.h"

enum { MAX_KEY = 64 };

static uint64_t parse(const char *digits, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++) value = value * 10 + (uint64_t)(digits[i] - '0');
  return value;
}

static void reply_count(uint64_t count) {
  char digits[21];
  gw_reply_type("text/plain; charset=utf-8");
  gw_reply_text(gw_decimal(count, digits));
  gw_reply_text("\n");
}

GW_HANDLER(void) {
  char method[8] = "", key[MAX_KEY + 1] = "", digits[21];
  gw_request_method(method, sizeof method - 1);
  size_t key_size = gw_request_path(key, MAX_KEY);
  if (key_size > MAX_KEY) {
    gw_reply_error(414, "the counter's name is longer than 64 bytes");
    return;
  }
  if (key_size == 0) key[key_size++] = '/';
  if (strcmp(method, "DELETE") == 0) {
    gw_state_delete(key, key_size);
    gw_reply_status(204);
    return;
  }
  size_t size = gw_state_get(key, key_size, digits, sizeof digits);
  uint64_t count = size == GW_NONE || size > 20 ? 0 : parse(digits, size);
  if (strcmp(method, "POST") == 0) {
    const char *text = gw_decimal(++count, digits);
    gw_state_set(key, key_size, text, strlen(text));
  }
  reply_count(count);
}
