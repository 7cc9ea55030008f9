/* Functions as the control plane's JSON has them. */
#ifndef SERVER_API_SUMMARY_H
#define SERVER_API_SUMMARY_H

#include "server/function/entry.h"

#include <cjson/cJSON.h>

/* One version. */
cJSON *summary_of_version(const struct function *function);
/* A name: the live version's members, and where its addresses lead. */
cJSON *summary_of_entry(const struct entry *entry);
/* Where its addresses lead: an array. */
cJSON *summary_of_aliases(const struct entry *entry);
/* What its slices have used since it was loaded, in all tiers. */
void summary_add_usage(cJSON *json, const struct function *function);
/* What a deployment changed: both are loaded. */
cJSON *summary_of_changes(const struct function *from, const struct function *to);

#endif
