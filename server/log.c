#include "server/log.h"

#include "base/buffer.h"

#include <string.h>
#include <unistd.h>

enum { MAX_LINES_PER_SECOND = 200, MAX_LINE = 512 };

/* True when one more line fits this second's share. */
static bool log_allows(struct log *log, uint64_t now_ms, struct buffer *out) {
  if (log->second != now_ms / 1000) {
    if (log->dropped) buffer_format(out, "[server] %llu log lines of functions dropped\n", (unsigned long long)log->dropped);
    *log = (struct log){.second = now_ms / 1000};
  }
  if (log->lines < MAX_LINES_PER_SECOND) {
    log->lines++;
    return true;
  }
  log->dropped++;
  return false;
}

/* Terminal escapes and the like have no business in a log. */
static void append_line(struct buffer *out, const char *name, const char *line, size_t size) {
  buffer_format(out, "[%s] ", name);
  if (size > MAX_LINE) size = MAX_LINE;
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)line[i];
    char safe = (c < 32 && c != '\t') || c == 127 ? '?' : (char)c;
    buffer_append(out, &safe, 1);
  }
  buffer_append(out, "\n", 1);
}

void log_function(struct log *log, uint64_t now_ms, const char *name, const void *text, size_t size) {
  if (!size) return;
  struct buffer out = {0};
  const char *at = text, *end = at + size;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
    if (log_allows(log, now_ms, &out))
      append_line(&out, name, at, (size_t)(stop - at));
    else if (log->dropped > 100000)
      break;
    at = stop + 1;
  }
  /* A log that cannot be written is lost: there is nowhere to say so. */
  if (out.size && write(STDERR_FILENO, out.bytes, out.size) < 0) {
  }
  buffer_clear(&out);
}
