#include "runtime/host/header.h"

#include <string.h>
#include <strings.h>

static bool is_token_char(uint8_t c) {
  bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  return is_alnum || (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool header_name_is_valid(const void *name, size_t size) {
  const uint8_t *p = name;
  for (size_t i = 0; i < size; i++)
    if (!is_token_char(p[i])) return false;
  return size >= 1 && size <= HEADER_MAX_NAME;
}

bool header_value_is_valid(const void *value, size_t size) {
  const uint8_t *p = value;
  for (size_t i = 0; i < size; i++)
    if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f) return false;
  return size <= HEADER_MAX_VALUE;
}

bool header_name_is(const char *expected, const void *name, size_t size) {
  return strlen(expected) == size && !strncasecmp(expected, name, size);
}

bool header_is_reserved(const void *name, size_t size) {
  static const char *const reserved[] = {"Connection",       "Content-Length",         "Date", "Keep-Alive",
                                         "Proxy-Connection", "Service-Worker-Allowed", "TE",   "Trailer",
                                         "Upgrade",          "Transfer-Encoding"};
  static const char own[] = "Gasworks-";
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (header_name_is(reserved[i], name, size)) return true;
  return size >= sizeof own - 1 && !strncasecmp(own, name, sizeof own - 1);
}

void header_append(struct buffer *out, const void *name, size_t name_size, const void *value, size_t value_size) {
  buffer_append(out, name, name_size);
  buffer_append(out, ": ", 2);
  buffer_append(out, value, value_size);
  buffer_append(out, "\r\n", 2);
}
