/* The gas schedule: what every class of work costs. docs/gas.md is the normative text. */
#ifndef INSTRUMENT_COST_H
#define INSTRUMENT_COST_H

#include <stddef.h>
#include <stdint.h>

enum cost {
#define COST(id, name, gas) COST_##id,
#include "instrument/cost.def"
#undef COST
  COST_COUNT
};

struct schedule {
  uint32_t version;
  uint32_t gas[COST_COUNT]; /* by enum cost */
  uint8_t digest[32];       /* BLAKE2b-256 of the canonical text form */
};

/* The built-in schedule, version 1. Static; the digest is filled at the first call (thread-safe). */
const struct schedule *schedule_default(void);

/* Name of a class, as in the schedule's text form. */
const char *cost_name(enum cost c);

/* The canonical text form: "gasworks-schedule VERSION\nNAME GAS\n...". Returns the bytes needed, like snprintf. */
size_t schedule_print(const struct schedule *s, char *out, size_t size);

#endif
