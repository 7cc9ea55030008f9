/* A growing byte buffer. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buffer {
  uint8_t *bytes; /* malloc'd, owned */
  size_t size, capacity;
};

/* `*b` all zero is an empty buffer. */
void buffer_clear(struct buffer *b);
/* Takes what buffer_append has no room for. */
void buffer_append_more(struct buffer *b, const void *bytes, size_t size);
static inline void buffer_append(struct buffer *b, const void *bytes, size_t size) {
  if (size == 0 || b->capacity - b->size < size) {
    buffer_append_more(b, bytes, size);
    return;
  }
  memcpy(b->bytes + b->size, bytes, size);
  b->size += size;
}
void buffer_append_string(struct buffer *b, const char *s);
void buffer_format(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for `size` more bytes; returns where they go. The caller adds to `size` itself. */
uint8_t *buffer_reserve(struct buffer *b, size_t size);

/* The whole file (a regular one of at most `limit` bytes) into a fresh buffer. */
struct gw_error;
bool buffer_read_file(struct buffer *b, const char *path, size_t limit, struct gw_error *err);
/* Likewise, and never waits: a pipe or a device is refused. */
bool buffer_read_plain_file(struct buffer *b, const char *path, size_t limit, struct gw_error *err);
/* The rest of an open file, which `name` stands for in errors. */
bool buffer_read_fd(struct buffer *b, int fd, const char *name, size_t limit, struct gw_error *err);

/* All bytes to the descriptor; false with errno set. */
bool fd_write_all(int fd, const void *bytes, size_t size);

#endif
