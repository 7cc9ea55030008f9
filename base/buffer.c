#include "base/buffer.h"

#include "base/error.h"
#include "base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void buffer_clear(struct buffer *b) {
  free(b->bytes);
  *b = (struct buffer){0};
}

uint8_t *buffer_reserve(struct buffer *b, size_t size) {
  if (b->capacity - b->size < size) {
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity - b->size < size) capacity *= 2;
    b->bytes = heap_resize(b->bytes, capacity, 1);
    b->capacity = capacity;
  }
  return b->bytes + b->size;
}

void buffer_append_more(struct buffer *b, const void *bytes, size_t size) {
  if (!size) return;
  memcpy(buffer_reserve(b, size), bytes, size);
  b->size += size;
}

void buffer_append_string(struct buffer *b, const char *s) { buffer_append(b, s, strlen(s)); }

void buffer_format(struct buffer *b, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  vsnprintf((char *)buffer_reserve(b, (size_t)n + 1), (size_t)n + 1, format, again);
  b->size += (size_t)n;
  va_end(again);
  va_end(args);
}

bool buffer_read_fd(struct buffer *b, int fd, const char *name, size_t limit, struct gw_error *err) {
  ssize_t n;
  do {
    n = read(fd, buffer_reserve(b, 64 << 10), 64 << 10);
    if (n > 0) b->size += (size_t)n;
  } while ((n > 0 && b->size <= limit) || (n < 0 && errno == EINTR));
  if (n == 0) return true;
  if (n < 0)
    error_set(err, GW_ERROR_IO, "cannot read %s: %s", name, strerror(errno));
  else
    error_set(err, GW_ERROR_TOO_LARGE, "%s is larger than the limit of %zu bytes", name, limit);
  buffer_clear(b);
  return false;
}

bool buffer_read_file(struct buffer *b, const char *path, size_t limit, struct gw_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error_set(err, GW_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
  bool ok = buffer_read_fd(b, fd, path, limit, err);
  close(fd);
  return ok;
}

bool buffer_read_plain_file(struct buffer *b, const char *path, size_t limit, struct gw_error *err) {
  struct stat s;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return error_set(err, GW_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
  bool ok = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) ? buffer_read_fd(b, fd, path, limit, err)
                                                     : error_set(err, GW_ERROR_IO, "%s is no plain file", path);
  close(fd);
  return ok;
}

bool fd_write_all(int fd, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  while (size) {
    ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}
