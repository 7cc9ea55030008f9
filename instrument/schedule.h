/* The gas schedule: what every class of work costs. docs/gas.md is the normative text. */
#ifndef INSTRUMENT_SCHEDULE_H
#define INSTRUMENT_SCHEDULE_H

#include "base/digest.h"
#include "frontend/price.h"
#include "gasworks/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No price may be greater: products with sizes of work stay below 2^63. */
enum { SCHEDULE_MAX_PRICE = 1000000000 };

struct schedule {
  uint32_t version;
  uint32_t gas[COST_COUNT];     /* by enum cost */
  uint32_t latency[COST_COUNT]; /* the same; 0 for what is no instruction */
  struct digest digest;         /* of the canonical text form */
};

/* The built-in schedule. Static; the digest is filled at the first call (thread-safe). */
const struct schedule *schedule_default(void);

/* Name of a class, as in the schedule's text form. */
const char *cost_name(enum cost c);

/* What every schedule must charge for a class at least: 1 where nothing else bounds how long it goes on, else 0. */
uint32_t cost_least(enum cost c);

/* Whether a class is one of instructions, which have a latency beside their price. */
bool cost_is_instruction(enum cost c);

/* What blocks cost by it. Borrows from the schedule. */
struct price_rates schedule_rates(const struct schedule *s);

/* The canonical text form: "gasworks-schedule VERSION\nNAME GAS [LATENCY]\n...", the latency of instructions. Returns the bytes
 * needed, like snprintf. */
size_t schedule_print(const struct schedule *s, char *out, size_t size);

/* Reads the text form: every class once, in any order; blank lines and comments from '#' on are left out. Checks the prices,
 * fills in the digest, which is that of the canonical text. The error names the line. */
bool schedule_read(const void *bytes, size_t size, struct schedule *out, struct gw_error *err);

/* Whether its prices are such as schedule_read takes, and its digest is theirs. */
bool schedule_is_sound(const struct schedule *s);

/* Fills in the digest of a schedule made by hand. */
void schedule_seal(struct schedule *s);

/* --- instantiate.c: prices of what an instance is made of (docs/gas.md, section 3) --- */

struct module;

/* What it costs to make an instance, or to reset one. Follows from the module alone. UINT64_MAX where that is too small a type.
 */
uint64_t gas_of_instance(const struct module *m, const struct schedule *s);

/* Of `bytes` of a memory, at a price for 64 KiB: smaller pages cost their share, rounded up once. */
uint64_t gas_of_pages(uint64_t bytes, uint64_t price);

#endif
