/* Modules in a store that several nodes share: who has no file of one reads it there. Functions block. */
#ifndef SERVER_FUNCTION_STORED_MODULE_H
#define SERVER_FUNCTION_STORED_MODULE_H

#include "base/buffer.h"
#include "runtime/state/state.h"

/* Keeps a module by its digest; nothing where the store is this process's own. */
bool stored_module_keep(struct state_store *state, const char *digest, const void *bytes, size_t size, struct gw_error *err);
/* Appends it. What comes from there is to be compared with the digest. False: err says why. */
bool stored_module_read(struct state_store *state, const char *digest, struct buffer *out, struct gw_error *err);

#endif
