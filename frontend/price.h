/* What gas blocks cost. A block takes as long as its instructions one beside the other, or as long as those that wait for each
 * other from one round of a loop to the next, whichever is more; and every value that it hands on has to be moved. Each of the
 * three follows from the body and the schedule alone: docs/gas.md, section 2, says how, and every tier charges by it.
 *
 * Thread-safe. Time and memory grow with the size of the body, and with the number of values that branches and calls pass. */
#ifndef FRONTEND_PRICE_H
#define FRONTEND_PRICE_H

#include "base/buffer.h"
#include "frontend/cost.h"
#include "frontend/module.h"

/* Gas by enum cost, of a schedule. */
struct price_rates {
  const uint32_t *gas;     /* [COST_COUNT]; of an instruction: when others run beside it */
  const uint32_t *latency; /* [COST_COUNT]: until its result is there */
};

struct block_price {
  uint64_t offset; /* of its first instruction, in the module */
  uint64_t gas;
  uint64_t sum;   /* of its instructions, without moves and waiting */
  uint32_t moves; /* values */
  uint32_t n_instructions;
};

/* In the order of their offsets. */
struct block_prices {
  struct block_price *items; /* malloc'd, owned; prices_clear frees */
  uint32_t n;
  uint32_t next; /* see price_at */
};

/* Memory for pricing one function after another, by one thread at a time; all zero: none yet. It keeps what the largest one
 * needed, some 200 bytes for each of its instructions. */
struct price_room {
  struct buffer nodes, edges, sets, places, regions, stack, constructs, locals, work;
};
size_t price_room_bytes(const struct price_room *room);
void price_room_clear(struct price_room *room);

/* Of a function that is defined in the module and valid. `room` may be NULL. */
void price_blocks(const struct module *m, uint32_t func, const struct price_rates *rates, struct price_room *room,
                  struct block_prices *out);
void prices_clear(struct block_prices *prices);

/* Of the block that begins at `offset`; offsets must be asked for in ascending order. */
uint64_t price_at(struct block_prices *prices, uint64_t offset);

#endif
