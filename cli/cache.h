/* The command line's cache. */
#ifndef CLI_CACHE_H
#define CLI_CACHE_H

#include "gasworks.h"

/* Opens the cache in `directory`: NULL is $GASWORKS_CACHE, $XDG_CACHE_HOME/gasworks or ~/.cache/gasworks. NULL with `err` set;
 * without an error where none of these is known, or `directory` is "off". */
struct gw_cache *cli_open_cache(const char *directory, struct gw_error *err);

#endif
