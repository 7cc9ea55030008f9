/* A module that nobody waited for: compiled behind a run's end, for the next one. */
#ifndef CLI_LATER_H
#define CLI_LATER_H

#include "cli/guest.h"

/* Starts a process that compiles the guest's module for its cache, and does not wait for it. Threads of this process may be
 * anywhere. Does nothing without a cache; when it fails, the next run starts as this one did. */
void later_compile(const struct guest *g);

#endif
