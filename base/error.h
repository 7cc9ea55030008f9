/* Recording errors. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "gasworks/error.h"

#include <stdarg.h>
#include <stdbool.h>

/* Records the error unless one is recorded already; always returns false, so that a failing function can
 * `return error_set(...)`. `err` may be NULL. */
bool error_set(struct gw_error *err, enum gw_error_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with a byte offset in the module; the message gets " (at byte 0x...)" appended. */
bool error_at(struct gw_error *err, enum gw_error_code code, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

bool error_vset(struct gw_error *err, enum gw_error_code code, uint64_t offset, const char *format, va_list args);

#endif
