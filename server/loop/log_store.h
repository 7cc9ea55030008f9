/* What each function logged, kept for its owner: the newest lines, in two files of the data directory for each function. Loops
 * put lines into memory, a thread writes them. A function that talks much loses lines of its own only. */
#ifndef SERVER_LOOP_LOG_STORE_H
#define SERVER_LOOP_LOG_STORE_H

#include "base/buffer.h"
#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_store;

enum { LOG_MAX_TEXT = 8192 };

/* One line, or several of one kind. */
struct log_event {
  const char *request; /* of the invocation, as the log on standard error has it */
  uint64_t version;    /* of the function */
  const char *kind;    /* "log", "failure" or "trap" */
  uint32_t status;     /* of a failure; 0: none */
  const char *trace;   /* that the request belongs to: its number; "": none */
};

/* Makes `directory`. `size`: bytes that are kept of each function, about; 0: nothing is kept. */
struct log_store *log_store_open(const char *directory, uint64_t size, struct gw_error *err);
/* Writes what waits. NULL: nothing. */
void log_store_close(struct log_store *store);

/* Splits `text` into lines; each is one JSON object with "seq", "time", "request", "version", "kind", "text", and perhaps
 * "trace_id", cut at LOG_MAX_TEXT bytes ("is_cut"). Never waits for the disk. Any thread. */
void log_store_add(struct log_store *store, const char *function, const struct log_event *event, const void *text, size_t size);
/* The number of the newest line of the function; numbers ascend, over restarts too. 0: none since the start. Any thread. */
uint64_t log_store_last(struct log_store *store, const char *function);
/* Appends lines, each with its line feed: the first `limit` behind number `after`, or with `after` 0 the last `limit`. Reads
 * files: worker threads only. */
bool log_store_read(struct log_store *store, const char *function, uint64_t after, size_t limit, struct buffer *out,
                    struct gw_error *err);
/* The function is no more. Worker threads only. */
void log_store_remove(struct log_store *store, const char *function);
/* Removes files of functions that are none (any more): a process may have died between a function's end and its log's. At start.
 */
void log_store_sweep(struct log_store *store, bool (*is_wanted)(void *arg, const char *function), void *arg);
/* Lines that were lost, of all functions: they came faster than the disk takes them, or it is full. */
uint64_t log_store_lost(struct log_store *store);

#endif
