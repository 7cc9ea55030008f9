#include "frontend/lines.h"

const struct source_line *lines_find(const struct source_lines *lines, uint64_t offset) {
  size_t low = 0, high = lines->n;
  while (low < high) { /* the first row behind the offset */
    size_t middle = low + (high - low) / 2;
    if (lines->rows[middle].offset > offset)
      high = middle;
    else
      low = middle + 1;
  }
  return low && lines->rows[low - 1].file ? &lines->rows[low - 1] : NULL;
}
