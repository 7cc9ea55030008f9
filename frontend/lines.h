/* Which source lines a module's code comes from, as whoever reads its debug information tells the compiler. */
#ifndef FRONTEND_LINES_H
#define FRONTEND_LINES_H

#include <stddef.h>
#include <stdint.h>

/* From `offset` of the module up to the next row's. */
struct source_line {
  uint64_t offset;
  const char *file; /* NULL: nobody knows */
  uint32_t line, column;
};

struct source_lines {
  struct source_line *rows; /* sorted by offset */
  size_t n;
};

/* The row of the instruction at `offset` of the module, or NULL where nobody knows. */
const struct source_line *lines_find(const struct source_lines *lines, uint64_t offset);

#endif
