/* Whether an invocation may begin: places, its tenant's budget, and how long it would wait; and what it holds until it ends. Of
 * the loop's thread. */
#ifndef SERVER_INVOKE_ADMISSION_H
#define SERVER_INVOKE_ADMISSION_H

#include "server/invoke/invoke.h"

struct problem;

/* inv->pool and inv->caller have been looked up. Counts it, or says why it may not, in words that live as long as the server. */
bool admission_begin(struct invocation *inv, struct problem *why);
/* It has been looked up again, and may have been counted as another version's. */
bool admission_again(struct invocation *inv, struct problem *why);
void admission_end(struct invocation *inv);
/* A slice of it has taken so much: gas, or time as gas. */
void admission_count(struct invocation *inv, uint64_t work);
/* Its tenant has used its gas for now: meanwhile the place is another's. At most as many as there are places are away so. */
void admission_pause(struct invocation *inv);
/* False: there is no place for it yet. */
bool admission_go_on(struct invocation *inv);

#endif
