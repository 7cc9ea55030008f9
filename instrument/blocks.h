/* The gas blocks of one compilation, for profiles: what each is made of. Compiled code counts how often it enters each. */
#ifndef INSTRUMENT_BLOCKS_H
#define INSTRUMENT_BLOCKS_H

#include "instrument/schedule.h"

struct gas_block_info {
  uint32_t func;
  uint64_t offset;                   /* of its first instruction; 0: it has none */
  uint32_t instructions[COST_COUNT]; /* of each class */
};

/* In the order of their numbers. Zero-initialise; gas_blocks_clear frees. */
struct gas_blocks {
  struct gas_block_info *items;
  uint32_t n, capacity;
};

/* Adds an empty block and answers its number. */
uint32_t gas_blocks_add(struct gas_blocks *blocks, uint32_t func);
void gas_blocks_clear(struct gas_blocks *blocks);

#endif
