#include "base/arena.h"

#include "base/heap.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_chunk {
  struct arena_chunk *next;
  size_t size, used;
  alignas(16) unsigned char bytes[];
};

enum { CHUNK_SIZE = 64 << 10 };

void arena_init(struct arena *a) { *a = (struct arena){0}; }

void arena_clear(struct arena *a) {
  for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  *a = (struct arena){0};
}

void arena_reset(struct arena *a) {
  struct arena_chunk *kept = NULL;
  for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
    next = c->next;
    if (!kept && c->size == CHUNK_SIZE)
      kept = c;
    else
      free(c);
  }
  *a = (struct arena){.chunks = kept};
  if (!kept) return;
  memset(kept->bytes, 0, kept->used);
  kept->used = 0;
  kept->next = NULL;
}

static struct arena_chunk *chunk_create(size_t size) {
  struct arena_chunk *c = heap_new(1, sizeof *c + size);
  c->size = size;
  return c;
}

void *arena_alloc(struct arena *a, size_t size) {
  size = (size + 15) & ~(size_t)15;
  a->used += size;
  struct arena_chunk *c = a->chunks;
  if (c && c->size - c->used >= size) {
    void *p = c->bytes + c->used;
    c->used += size;
    return p;
  }
  if (size > CHUNK_SIZE / 4) { /* a chunk of its own, behind the one that still has room */
    struct arena_chunk *own = chunk_create(size);
    own->used = size;
    if (c) {
      own->next = c->next;
      c->next = own;
    } else {
      a->chunks = own;
    }
    return own->bytes;
  }
  struct arena_chunk *fresh = chunk_create(CHUNK_SIZE);
  fresh->used = size;
  fresh->next = c;
  a->chunks = fresh;
  return fresh->bytes;
}

void *arena_alloc_array(struct arena *a, size_t count, size_t item_size) {
  size_t size;
  if (__builtin_mul_overflow(count, item_size, &size)) heap_missing();
  return arena_alloc(a, size);
}

void *arena_copy(struct arena *a, const void *bytes, size_t size) {
  void *p = arena_alloc(a, size);
  if (size) memcpy(p, bytes, size);
  return p;
}

char *arena_format(struct arena *a, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  char *s = arena_alloc(a, (size_t)n + 1);
  vsnprintf(s, (size_t)n + 1, format, again);
  va_end(again);
  va_end(args);
  return s;
}
