/* Views of a profile: gas by function, and folded stacks. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include "base/buffer.h"
#include "gasworks.h"

#include <cjson/cJSON.h>

#include <stdbool.h>

/* The functions of the store's only instance that spent gas, most first, on standard error. */
void cli_print_profile(const struct gw_instance *instance);

/* The same as an array of objects. */
cJSON *cli_json_profile(const struct gw_instance *instance);

/* What a function is called in those lines. */
void cli_append_frame(struct buffer *line, const struct module *m, uint32_t func);

/* Reads a profile of the module: such lines, or what `run --profile --json` prints. Returns the gas of each function, [n_funcs],
 * which the caller frees; NULL with `err` set. */
uint64_t *cli_read_profile(const struct module *m, const char *path, struct gw_error *err);

/* One line "outer;inner GAS" for each way of calls that spent gas: what flame graphs are drawn from. */
bool cli_write_folded(const struct gw_instance *instance, const char *path, struct gw_error *err);

#endif
