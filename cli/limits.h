/* Limits that this process sets itself before it compiles. */
#ifndef CLI_LIMITS_H
#define CLI_LIMITS_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stdint.h>

/* CPU seconds from now. SIGXCPU comes then, SIGKILL a little later. */
bool cli_limit_time(uint32_t seconds, struct gw_error *err);
/* Bytes of address space; and no file that is larger than an artifact, and no core dump. */
bool cli_limit_memory(uint64_t bytes, struct gw_error *err);
/* Everything else on the machine goes first. */
void cli_be_nice(void);

#endif
