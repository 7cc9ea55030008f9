/* From a place in a module to its source: the DWARF that producers leave in custom sections, read by elfutils' libdw. */
#ifndef RUNTIME_SOURCE_H
#define RUNTIME_SOURCE_H

#include "gasworks.h"

#include <stddef.h>
#include <stdint.h>

/* One level of inlining. Strings belong to the module, and may be NULL; line and column are 0 where unknown. */
struct source_place {
  const char *function, *file;
  uint32_t line, column;
};

/* Where the instruction at `offset` of the module comes from: the place itself, then those where what it is in was inlined. Fills
 * places[0..most), returns how many; 0 when the module does not say. The first call for a module opens its debug information,
 * and copies it: beyond MAX_DEBUG_BYTES it is not read. Thread-safe; takes the module's source_lock. */
size_t source_find(struct gw_module *module, uint64_t offset, struct source_place *places, size_t most);

enum { MAX_DEBUG_BYTES = 16 << 20 };

struct source_info;
void source_destroy(struct source_info *info);

#endif
