/* What debug information may ask of libdw. Private to source.c. */
#ifndef RUNTIME_DEBUG_SOURCE_CHECK_H
#define RUNTIME_DEBUG_SOURCE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The contents of a custom section; .bytes is NULL where a module has none. */
struct debug_bytes {
  const uint8_t *bytes;
  size_t size;
};

/* Whether .debug_info and .debug_abbrev look as compilers write them: so many units and declarations, each with so many
 * attributes, that libdw's time for one call and its memory are no more than proportional to their size. Everything odd is
 * refused. Time: proportional to the sections' size and to MOST_DECLARATIONS. Thread-safe. */
bool debug_is_ordinary(struct debug_bytes info, struct debug_bytes abbrev);

/* Size of the line program at `offset` of .debug_line: libdw makes a row of about a hundred bytes of each of its bytes at worst.
 * SIZE_MAX where there is none. */
size_t debug_line_size(struct debug_bytes line, uint64_t offset);

#endif
