/* Static gas of a module's functions, block by block. */
#ifndef CLI_GAS_H
#define CLI_GAS_H

#include "frontend/module.h"
#include "instrument/schedule.h"

#include <stdbool.h>

/* Prints what the schedule charges for every gas block, in module order. */
void cli_print_gas(const struct module *m, const struct schedule *s, bool is_json);

/* Reads the schedule of --schedule; NULL: the built-in one. */
bool cli_read_schedule(const char *path, struct schedule *out, struct gw_error *err);

#endif
