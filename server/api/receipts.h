/* A leaf of the log of receipts as JSON. Any thread. */
#ifndef SERVER_API_RECEIPTS_H
#define SERVER_API_RECEIPTS_H

#include "runtime/receipt/leaf.h"

#include <cjson/cJSON.h>

/* Its fields by their words. Delete it. */
cJSON *receipts_fields(const struct leaf *leaf);

#endif
