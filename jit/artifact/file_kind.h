/* Words about files that people take for a module. */
#ifndef JIT_ARTIFACT_FILE_KIND_H
#define JIT_ARTIFACT_FILE_KIND_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>

/* False, with `err` telling what the bytes are and what to do, for a component, a text form, a native program or an archive. What
 * is true may still be malformed. Thread-safe. */
bool file_is_module(const void *bytes, size_t size, struct gw_error *err);

#endif
