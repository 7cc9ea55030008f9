/* Wasm values as text on the command line. */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include "frontend/module.h"
#include "gasworks/value.h"

#include <stdbool.h>
#include <stddef.h>

enum { CLI_VALUE_SIZE = 64 };

/* Numbers in decimal or hexadecimal, signed or unsigned; floats as strtod takes them; vectors as up to 32 hexadecimal digits
 * behind 0x, lane 0 last; references only as "null". */
bool cli_parse_value(const char *text, val_type type, union gw_value *out);

/* Integers signed, floats with as few digits as read back the same, vectors with all their digits; at most CLI_VALUE_SIZE bytes
 * with NUL. */
void cli_print_value(union gw_value value, val_type type, char *out);

#endif
