/* Static gas of a module's functions, block by block. */
#ifndef SERVER_CLI_GAS_H
#define SERVER_CLI_GAS_H

#include "frontend/module.h"

#include <stdbool.h>

/* Prints what the default schedule charges for every gas block, in module order. */
void cli_print_gas(const struct module *m, bool is_json);

#endif
