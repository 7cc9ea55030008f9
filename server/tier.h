/* How modules are run, as options say it. */
#ifndef SERVER_TIER_H
#define SERVER_TIER_H

#include "gasworks.h"

enum tier_choice {
  TIER_FAST,     /* compiled before the first call */
  TIER_PRECISE,  /* interpreted, never compiled */
  TIER_AUTO,     /* baseline code until compiled */
  TIER_BASELINE, /* machine code made function by function, without the compiler */
  TIER_UNTOLD,   /* the user has not said: what the other options need */
};

/* For arrays by enum gw_tier. */
enum { N_TIERS = GW_TIER_BASELINE + 1 };

#endif
