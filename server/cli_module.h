/* Words about files that are no module for `run`, and about imports that nobody has. */
#ifndef SERVER_CLI_MODULE_H
#define SERVER_CLI_MODULE_H

#include "gasworks.h"

/* What the bytes are, and what to do, where they are something that people take for a module; else NULL. Static. */
const char *cli_file_kind(const void *bytes, size_t size);

/* Resolves every import of a module, before anything is compiled. On failure the error tells the first that is unknown, how many
 * more are, which toolchain they point to and what to do. */
bool cli_check_imports(const struct gw_module *module, gw_resolve_fn resolve, void *env, struct gw_error *err);

/* The file's name in front of an error about it. */
void cli_name_file(struct gw_error *err, const char *path);

#endif
