/* What is said about a trap. */
#ifndef RUNTIME_REPORT_H
#define RUNTIME_REPORT_H

#include "gasworks/error.h"

struct gw_store;

/* Makes the error that the embedder sees of store->trap. */
void report_error(const struct gw_store *store, struct gw_error *err);
/* Without the byte in the module where that was, which takes as long as translating the function. */
void report_briefly(const struct gw_store *store, struct gw_error *err);

#endif
