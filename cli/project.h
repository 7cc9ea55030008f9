/* function.yaml: what `gasworks dev` does in a function's folder. */
#ifndef CLI_PROJECT_H
#define CLI_PROJECT_H

#include "base/arena.h"
#include "gasworks/error.h"

#include <stdbool.h>

#define PROJECT_FILE "function.yaml"

struct project {
  const char *name, *build, *module; /* the function, a command of the shell, what that makes; paths are from the folder */
};

/* Reads DIRECTORY/function.yaml; the strings are the arena's. An error has the line and column. */
bool project_read(struct project *project, const char *directory, struct arena *arena, struct gw_error *err);

#endif
