#include "base/json_text.h"

#include "base/utf8.h"

/* Of one sequence of UTF-8. */
static void append_sequence(struct buffer *out, const char *text, size_t size) {
  static const char hex[] = "0123456789abcdef";
  unsigned char c = (unsigned char)*text;
  char escaped[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
  if (c == '"' || c == '\\')
    buffer_append(out, (char[]){'\\', (char)c}, 2);
  else if (c < 32 || c == 127)
    buffer_append(out, escaped, sizeof escaped);
  else
    buffer_append(out, text, size);
}

/* How many bytes stand for themselves. */
static size_t plain_span(const char *text, size_t size) {
  size_t n = 0;
  while (n < size && text[n] >= ' ' && text[n] < 127 && text[n] != '"' && text[n] != '\\') n++;
  return n;
}

void json_text_append(struct buffer *out, const char *text, size_t size) {
  for (size_t i = 0; i < size;) {
    size_t plain = plain_span(text + i, size - i);
    buffer_append(out, text + i, plain);
    i += plain;
    if (i == size) return;
    size_t n = utf8_sequence((const uint8_t *)text + i, size - i);
    append_sequence(out, n ? text + i : "?", n ? n : 1);
    i += n ? n : 1;
  }
}
