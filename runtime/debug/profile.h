/* Who spent the gas of an invocation: exact, not sampled. Only on engines with options.profile, whose code reports every call and
 * counts how often it enters every gas block. */
#ifndef RUNTIME_DEBUG_PROFILE_H
#define RUNTIME_DEBUG_PROFILE_H

#include "instrument/schedule.h"

#include <stdbool.h>
#include <stdint.h>

struct gw_store;
struct gw_instance;

/* One way of calls that led to a function. Calls of a function by itself are no way of their own. */
struct profile_node {
  const struct gw_instance *instance; /* NULL: the root, what was spent outside of functions */
  uint32_t func;                      /* index in the instance's module; imported ones are host functions */
  uint32_t parent, child, sibling;    /* numbers of nodes; 0: none */
  uint32_t nested;                    /* how often the function that is running has called itself */
  uint64_t gas, calls;                /* its own, without what it called */
};

/* nodes[0] is the root. */
struct profile {
  struct profile_node *nodes;
  uint32_t n, capacity, current;
  uint64_t seen; /* gas that has been put down already */
};

/* The last invocation's nodes; the sum of their gas is gw_store_gas_used. Valid until the next one starts. */
const struct profile *profile_of_store(const struct gw_store *store);

/* The gas blocks of its code and in `counts` how often it has entered each; a block whose function was inlined stands in several
 * rows. Both live as long as the instance. NULL without a profile. */
struct gas_blocks;
const struct gas_blocks *profile_blocks(const struct gw_instance *instance, const uint64_t **counts);

/* --- for the runtime --- */
void profile_begin(struct gw_store *store);
void profile_end(struct gw_store *store);
void profile_enter(struct gw_store *store, const struct gw_instance *instance, uint32_t func);
void profile_leave(struct gw_store *store);
void profile_clear(struct profile *profile);
/* The code of the instance is known (or another than before): its blocks get their counters. */
void profile_attach(struct gw_instance *instance);

#endif
