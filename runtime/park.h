/* Parking: a host function whose answer comes from elsewhere, later, leaves its thread to others.
 *
 *   ask(..., park_wake, park_begin(store));   // park_wake(park) is called once, by anybody, when the answer is there
 *   park_here(store);                         // the fiber is suspended; gw_store_resume says GW_STATUS_PARKED
 *   take the answer
 *
 * While it is parked nothing of the guest happens, so gas, records and profiles are those of an answer at once. When the
 * invocation is cancelled, park_here does not return; what was asked for may still be answered then, as whoever comes last frees
 * the park. */
#ifndef RUNTIME_PARK_H
#define RUNTIME_PARK_H

#include "gasworks.h"

struct park; /* one wait */

/* On the fiber. Must be followed by park_here or park_return, and park_wake must be called exactly once. */
struct park *park_begin(struct gw_store *store);
void park_here(struct gw_store *store);
/* The same, but it returns in every case: false when the invocation is to end. */
bool park_return(struct gw_store *store);
/* From any thread; struct park *. The caller lets go of it. */
void park_wake(void *park);

/* --- for the runtime --- */
/* Woken or interrupted: the fiber may go on. */
bool park_is_woken(struct park *park);
/* Nobody runs the fiber any more: whoever wakes it tells, unless that has happened already (false). */
bool park_leave(struct park *park);
/* The store's end of it: nobody is told from here on. */
void park_end(struct gw_store *store);

#endif
