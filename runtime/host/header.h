/* Header lines of a reply, whichever interface they come from. */
#ifndef RUNTIME_HOST_HEADER_H
#define RUNTIME_HOST_HEADER_H

#include "base/buffer.h"

enum { HEADER_MAX_NAME = 256, HEADER_MAX_VALUE = 8192, HEADER_MAX_ALL = 64 << 10 };

/* A token (RFC 9110 section 5.6.2) of at most HEADER_MAX_NAME bytes. */
bool header_name_is_valid(const void *name, size_t size);
/* At most HEADER_MAX_VALUE bytes, no control characters but tabs. */
bool header_value_is_valid(const void *value, size_t size);
/* Whether the server alone sets it: framing, the connection, Date, its own Gasworks-* headers, and Service-Worker-Allowed, by
 * which a function's page would get hold of requests to other paths. A function's are dropped. */
bool header_is_reserved(const void *name, size_t size);
/* Compares with a NUL-terminated name, ignoring case. */
bool header_name_is(const char *expected, const void *name, size_t size);
/* Appends "Name: value\r\n". */
void header_append(struct buffer *out, const void *name, size_t name_size, const void *value, size_t value_size);

#endif
