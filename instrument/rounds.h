/* Loops that go round a known number of times, as far as a look at the instructions shows. */
#ifndef INSTRUMENT_ROUNDS_H
#define INSTRUMENT_ROUNDS_H

#include "frontend/module.h"

struct loop_rounds {
  uint64_t offset; /* of the `loop` instruction in the module */
  uint64_t rounds; /* each time that it is entered */
  bool is_exact;   /* false: it may be left before */
};

/* The function's loops that count: whose counter, a local, starts at a constant, changes by a constant once in every round, and
 * is compared with a constant at the end. In the order of their ends, malloc'd; *n is their number. Counts beyond 2^26 are left
 * out. */
struct loop_rounds *find_loop_rounds(const struct module *m, uint32_t func, size_t *n);

#endif
