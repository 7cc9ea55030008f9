/* The classes of work that have a price, by the table in cost.def. What each costs is the schedule's (instrument/schedule.h). */
#ifndef FRONTEND_COST_H
#define FRONTEND_COST_H

enum cost {
#define COST(id, name, gas, latency, least) COST_##id,
#include "frontend/cost.def"
#undef COST
  COST_COUNT
};

#endif
