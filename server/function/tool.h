/* What makes a function a tool for the Model Context Protocol: a JSON object with a description and JSON schemas. It is the
 * module's, from its custom section gasworks.tool, or the owner's, from the setting `tool`. */
#ifndef SERVER_FUNCTION_TOOL_H
#define SERVER_FUNCTION_TOOL_H

#include "gasworks/error.h"

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stddef.h>

struct function;

enum { TOOL_MAX_BYTES = 16 << 10 };
#define TOOL_SECTION "gasworks.tool"

/* Whether it describes a tool. GW_ERROR_REQUEST with what is wrong. */
bool tool_check(const cJSON *tool, struct gw_error *err);
/* What the module has of it, to be freed; NULL: nothing. False, with GW_ERROR_INTERFACE, for a section that is none. `bytes` are
 * a valid module. */
bool tool_read(const void *bytes, size_t size, char **text, struct gw_error *err);
/* Of the version, to be deleted; NULL: it is no tool. */
cJSON *tool_of(const struct function *function);

#endif
