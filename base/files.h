/* Files that must survive: written aside, synced, renamed. */
#ifndef BASE_FILES_H
#define BASE_FILES_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Makes the directory unless it is there; its parent must be. */
bool directory_make(const char *path, struct gw_error *err);
/* What was made in it, renamed or removed is durable behind this. False: errno says why. */
bool directory_sync(const char *path);
/* Takes the directory for this process: an exclusive lock on `path`/lock until the descriptor is closed. -1 on failure. */
int directory_lock(const char *path, struct gw_error *err);
/* On return the file has exactly these bytes, also after a power failure; before, it has its old ones. `mode` is of open(2). */
bool file_write_durably(const char *path, const void *bytes, size_t size, mode_t mode, struct gw_error *err);
/* The same for a path that a user gave: a device, a pipe or whatever else is no plain file is written to, not replaced. */
bool file_write_named(const char *path, const void *bytes, size_t size, mode_t mode, struct gw_error *err);
/* Removes the directory's plain files that `is_wanted` does not claim. */
void directory_sweep(const char *path, bool (*is_wanted)(void *arg, const char *file_name), void *arg);

#endif
