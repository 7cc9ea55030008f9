/* A request's body as the JSON object that the control plane wants. */
#ifndef SERVER_API_BODY_H
#define SERVER_API_BODY_H

#include "server/http/exchange.h"

#include <cjson/cJSON.h>

/* An empty body is an empty object. NULL for what is none, with GW_ERROR_REQUEST. */
cJSON *body_parse(const struct request *request, struct gw_error *err);
/* Whether it has no members but those of the NULL-terminated list. */
bool body_check_keys(const cJSON *json, const char *const *known, struct gw_error *err);

#endif
