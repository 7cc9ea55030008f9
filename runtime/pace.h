/* How long a function's gas takes, learned look by look (essay in slice.c). struct gw_pace is in gasworks.h. */
#ifndef RUNTIME_PACE_H
#define RUNTIME_PACE_H

#include "gasworks.h"

/* Gas to the next look at the clock. */
uint64_t pace_look(const struct gw_pace *pace);
/* So much gas took so long. */
void pace_learn(struct gw_pace *pace, uint64_t gas, uint64_t ns);

#endif
