/* Key files: one line of hexadecimal digits, the secret half (128) or the public one (64). */
#ifndef CLI_KEY_H
#define CLI_KEY_H

#include "gasworks/error.h"

#include <stdbool.h>
#include <stdint.h>

bool cli_read_secret_key(const char *path, uint8_t out[64], struct gw_error *err);
bool cli_read_public_key(const char *path, uint8_t out[32], struct gw_error *err);

#endif
