/* Types in the public API's words, and what an embedder may put where. */
#ifndef RUNTIME_DESCRIBE_H
#define RUNTIME_DESCRIBE_H

#include "frontend/module.h"
#include "gasworks.h"

enum gw_type describe_type(val_type t);
const struct func_type *describe_func(const struct func_ref *func);
/* Whether the reference, or value of another type, may stand where `type` of `module` (NULL: the host's) is wanted. */
bool describe_allows(const struct gw_store *store, val_type type, const struct module *module, union gw_value value);

#endif
