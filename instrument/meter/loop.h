/* Counted loops: what instrument/meter/count.c recognises and instrument/meter/loop.c converts. */
#ifndef INSTRUMENT_METER_LOOP_H
#define INSTRUMENT_METER_LOOP_H

#include "instrument/meter/internal.h"

enum {
  MAX_BODY = 16,              /* blocks of a loop that is converted */
  MAX_INSTRUCTIONS = 400,     /* of its body */
  CHUNK_GAS = 1 << 20,        /* of iterations that run without a gas check */
  FREE_GAS = 1 << 14,         /* of those that run whatever the counter has */
  MAX_PRICE = CHUNK_GAS / 16, /* of an iteration */
  MAX_OFFSET_STEPS = 64,      /* additions of constants followed back to the phi */
};
#define MAX_DISTANCE (1ull << 32) /* of 64-bit counters */

/* How a loop counts. */
struct count {
  LLVMValueRef phi, bound;
  uint64_t step, offset;     /* of the phi per iteration; of what is compared from the phi. Modulo 2^64 */
  LLVMIntPredicate going_on; /* a PRED bound: another iteration */
  bool is_32;
};

struct gas_loop {
  LLVMBasicBlockRef header, latch, exit;
  uint32_t header_number;
  LLVMBasicBlockRef body[MAX_BODY];
  uint32_t n_body, n_instructions;
  struct count count;
  uint64_t price, worst_price; /* of every iteration; with all conditional parts */
  uint64_t most;               /* iterations in a chunk */
  bool has_side_exits;         /* ways out of it other than the latch's */
  LLVMValueRef marker;
};

/* Gas of an iteration; at least an eighth of its instructions, which a schedule may make free. */
static inline uint64_t gas_iteration_work(const struct gas_loop *loop) {
  uint64_t least = loop->n_instructions / 8 + 1;
  return loop->worst_price > least ? loop->worst_price : least;
}

/* The iterations of the whole loop if that is a constant, and few enough to be run at once; otherwise 0. With ways out of its
 * middle it may go round less often. */
uint64_t gas_constant_iterations(struct gas_pass *p, const struct gas_loop *loop);
/* Whether block number `header` begins a loop that counts and that LLVM might vectorise, or that has ways out of its middle but
 * whose iterations are few by a constant; fills *loop. */
bool gas_recognise_loop(struct gas_pass *p, struct gas_loop *loop, uint32_t header);
bool gas_loop_has(const struct gas_pass *p, const struct gas_loop *loop, LLVMBasicBlockRef block);

/* Builds k for the phi's value `start`, and, where exact is not NULL, whether it is exact. In 64 bits. */
LLVMValueRef gas_build_iterations(struct gas_pass *p, const struct count *c, LLVMValueRef start, LLVMValueRef *exact);
/* Builds a bound with which the loop goes round k times. */
LLVMValueRef gas_build_limit(struct gas_pass *p, const struct count *c, LLVMValueRef start, LLVMValueRef k);

#endif
