/* Nodes that share a store: what one has changed reaches the others. */
#ifndef SERVER_OTHERS_H
#define SERVER_OTHERS_H

#include "runtime/state/state.h"
#include "server/access/access.h"
#include "server/function/registry.h"

/* A thread that looks four times a second whether there is something new, and after half a minute anyway. NULL: err says why. All
 * must outlive it. */
struct others *others_watch(struct state_store *state, struct access *access, struct registry *registry, struct gw_error *err);
/* NULL is ignored. */
void others_end(struct others *others);

#endif
