/* Words about imports that nobody has, and the names of files. */
#ifndef CLI_MODULE_H
#define CLI_MODULE_H

#include "gasworks.h"

/* Resolves every import of a module, before anything is compiled. On failure the error tells the first that is unknown, how many
 * more are, which toolchain they point to and what to do. */
bool cli_check_imports(const struct gw_module *module, gw_resolve_fn resolve, void *env, struct gw_error *err);

/* The file's name in front of an error about it. */
void cli_name_file(struct gw_error *err, const char *path);

#endif
