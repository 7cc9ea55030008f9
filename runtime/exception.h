/* Exceptions of one store: who owns each, and when it is freed. */
#ifndef RUNTIME_EXCEPTION_H
#define RUNTIME_EXCEPTION_H

#include "abi/abi.h"

#include <stdbool.h>

struct gw_store;
struct gw_tag;

/* A store's exceptions. Zero-initialised: none. */
struct exceptions {
  struct exception_box *all;
  struct exception_box *held; /* stack of those that legacy catch bodies may rethrow, innermost first */
  uint64_t bytes, counted;    /* counted: how many of them the store holds */
};

/* One with room for the tag's values. `pc`: where in guest code it is thrown. NULL: too many live ones, or no memory. */
struct exception *exception_create(struct exceptions *all, const struct gw_tag *tag, uintptr_t pc);

/* Its owner has no more use for it. Does nothing to a shared one. */
void exception_destroy(struct exceptions *all, struct exception *e);

/* A legacy catch body that may rethrow keeps what it caught: `depth` and `level` of nesting name the body. The result is what
 * the body owns from now on; NULL: too many live ones. */
struct exception *exception_hold(struct exceptions *all, struct exception *e, uint32_t depth, uint32_t level);

/* What a catch body holds is thrown again: a copy, which its catcher owns; the body still holds `e`. NULL: too many live ones. */
struct exception *exception_rethrow(struct exceptions *all, struct exception *e);

/* Return address of the throw, in guest code. */
uintptr_t exception_place(const struct exception *e);

/* When an invocation has ended, or an instance was reset: frees those that no global, table or result (with has_results: of
 * store->func, in store->values) leads to. */
void exceptions_collect(struct gw_store *store, bool has_results);

void exceptions_clear(struct gw_store *store);

#endif
