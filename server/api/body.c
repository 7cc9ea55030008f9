#include "server/api/body.h"

#include "base/error.h"

#include <string.h>

cJSON *body_parse(const struct request *r, struct gw_error *err) {
  cJSON *json = r->body.size ? cJSON_ParseWithLength((const char *)r->body.bytes, r->body.size) : cJSON_CreateObject();
  if (cJSON_IsObject(json)) return json;
  cJSON_Delete(json);
  error_set(err, GW_ERROR_REQUEST, "the body is no JSON object");
  return NULL;
}

bool body_check_keys(const cJSON *json, const char *const *known, struct gw_error *err) {
  const cJSON *item;
  cJSON_ArrayForEach(item, json) {
    bool is_known = false;
    for (size_t i = 0; known[i]; i++) is_known |= strcmp(item->string, known[i]) == 0;
    if (!is_known) return error_set(err, GW_ERROR_REQUEST, "%.64s is nothing that is known here", item->string);
  }
  return true;
}
