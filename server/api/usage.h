/* Usage as the control plane's JSON has it. */
#ifndef SERVER_API_USAGE_H
#define SERVER_API_USAGE_H

#include "server/usage/usage.h"

#include <cjson/cJSON.h>

/* Exactly, where cJSON would go through a double. */
void usage_add_exact(cJSON *json, const char *name, uint64_t n);
/* Members for each quantity, and "gas" of all kinds. Numbers are exact. */
void usage_add_sum(cJSON *json, const struct usage_sum *sum);

#endif
