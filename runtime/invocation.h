/* The one invocation that a store may have under way; gasworks.h has what embedders call. */
#ifndef RUNTIME_INVOCATION_H
#define RUNTIME_INVOCATION_H

#include <stdbool.h>
#include <stdint.h>

struct gw_store;

/* On the fiber: lets the resumer go on and returns when resumed. Does not return when the invocation was cancelled. */
void invocation_yield(struct gw_store *store);

/* On the fiber: whether it was cancelled, or another thread interrupts it, which ends with this answer. */
bool invocation_is_to_end(struct gw_store *store);

/* On the fiber: takes gas, and yields where a slice ends. Without enough of it the invocation traps; `pc` as in trap_raise. */
void invocation_charge(struct gw_store *store, uint64_t gas, uintptr_t pc);

/* Gives the stack back that the first invocation opened. */
void invocation_close_stack(struct gw_store *store);

#endif
