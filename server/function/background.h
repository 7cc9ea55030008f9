/* Compiles deployed functions while they are called already: a thread for small modules, which gives up early, and one for what
 * is large or takes long. Both take the smallest module first. */
#ifndef SERVER_FUNCTION_BACKGROUND_H
#define SERVER_FUNCTION_BACKGROUND_H

#include "gasworks/error.h"

#include <stdint.h>

struct background;
struct function;

struct background *background_create(struct gw_error *err);
/* Waits for what is being compiled; the rest of the queue is dropped. NULL is allowed. */
void background_destroy(struct background *b);

/* Queues a function whose module is there, and which then becomes CODE_READY or CODE_FAILED. One that nobody else holds when its
 * turn comes is left out: it has been replaced or deleted. Thread-safe. */
void background_compile(struct background *b, struct function *f);

/* Leaves those out at once, as their modules take memory while they wait. Thread-safe. */
void background_drop_unwanted(struct background *b);

struct background_totals {
  uint64_t n_done, n_failed, microseconds;
};
struct background_totals background_totals(struct background *b);

#endif
