/* What functions log, on standard error: one line each, prefixed with the function's name, at a bounded rate. */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include <stddef.h>
#include <stdint.h>

/* A token bucket; one per loop. */
struct log {
  uint64_t second, lines, dropped;
};

/* Splits `text` into lines, replaces control characters, and writes "[name] line". `now_ms`: any monotonic clock. */
void log_function(struct log *log, uint64_t now_ms, const char *name, const void *text, size_t size);

#endif
