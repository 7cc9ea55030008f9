/* From a place in a module to its source: the DWARF that producers leave in custom sections, read by elfutils' libdw. */
#ifndef RUNTIME_DEBUG_SOURCE_H
#define RUNTIME_DEBUG_SOURCE_H

#include "frontend/lines.h"
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
 * and copies it: beyond MAX_DEBUG_BYTES, or when it is not as compilers write it, it is not read. Line tables that are needed
 * stay in memory, MAX_LINE_BYTES of them, which may become a hundred times as much in hostile ones. Ordinary lookups take less
 * than a millisecond, the first one some more; hostile debug information costs about half a second of work, since libdw cannot be
 * interrupted, and then a twentieth of the time: until that is over, the answer is 0. Thread-safe; takes the module's
 * source_lock. */
size_t source_find(struct gw_module *module, uint64_t offset, struct source_place *places, size_t most);

/* All lines of the module, in rows that the caller frees; their strings belong to the module. None where it does not say, or
 * asks for more than source_find accepts; a part where it has more line tables than MAX_ALL_LINE_BYTES, or where reading them
 * takes seconds. For whoever debugs: it keeps all of the tables in memory. Thread-safe; takes the module's source_lock. */
void source_read_lines(struct gw_module *module, struct source_lines *out);

enum { MAX_DEBUG_BYTES = 16 << 20, MAX_LINE_BYTES = 1 << 20, MAX_ALL_LINE_BYTES = 4 << 20 };

struct source_info;
void source_destroy(struct source_info *info);

#endif
