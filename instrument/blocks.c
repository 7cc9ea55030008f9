#include "instrument/blocks.h"

#include "base/array.h"

#include <stdlib.h>

uint32_t gas_blocks_add(struct gas_blocks *blocks, uint32_t func) {
  if (blocks->n == blocks->capacity) array_grow(blocks->items, blocks->capacity, 256);
  blocks->items[blocks->n] = (struct gas_block_info){.func = func};
  return blocks->n++;
}

void gas_blocks_clear(struct gas_blocks *blocks) {
  free(blocks->items);
  *blocks = (struct gas_blocks){0};
}
