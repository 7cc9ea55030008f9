/* Names of Rust and C++ symbols as their authors wrote them. */
#ifndef BASE_DEMANGLE_H
#define BASE_DEMANGLE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes what the mangled name of `n` bytes means to `out` (size > 0), cut to fit at a whole character and NUL-terminated. False,
 * with an empty `out`, when it is none, or longer than a few hundred bytes. Thread-safe. */
bool demangle(const char *name, size_t n, char *out, size_t size);

#endif
