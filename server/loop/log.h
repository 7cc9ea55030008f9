/* What functions log, and how requests failed, on standard error: one line each, prefixed with the function's name. A thread of
 * its own writes, so that a reader that stalls stops nobody: then lines are lost, and the log says how many. Each function has
 * its own bounded rate on each loop, so a noisy one takes nothing from others. */
#ifndef SERVER_LOOP_LOG_H
#define SERVER_LOOP_LOG_H

#include "gasworks/error.h"

#include <stddef.h>
#include <stdint.h>

struct log_writer;

/* What one function may log: lines in a second. All zero at first; of one loop. */
struct log_share {
  uint64_t second, lines, dropped;
};

/* Writes to `fd`, which stays the caller's. */
struct log_writer *log_writer_create(int fd, struct gw_error *err);
/* Waits for what is queued, but no longer than a second for a reader that stalls. NULL is allowed. */
void log_writer_destroy(struct log_writer *writer);

/* Splits `text` into lines, replaces control characters, and queues "[name] line". `now_ms`: any monotonic clock. Any thread. */
void log_function(struct log_writer *writer, struct log_share *share, uint64_t now_ms, const char *name, const void *text,
                  size_t size);
/* Queues "[name] TIME request ID: STATUS TEXT". Any thread. */
void log_failure(struct log_writer *writer, struct log_share *share, uint64_t now_ms, const char *name, const char *id,
                 uint32_t status, const char *text);

#endif
