#include "instrument/blocks.h"

#include <stdlib.h>

uint32_t gas_blocks_add(struct gas_blocks *blocks, uint32_t func) {
  if (blocks->n == blocks->capacity) {
    blocks->capacity = blocks->capacity ? blocks->capacity * 2 : 256;
    blocks->items = realloc(blocks->items, blocks->capacity * sizeof *blocks->items);
    if (!blocks->items) abort();
  }
  blocks->items[blocks->n] = (struct gas_block_info){.func = func};
  return blocks->n++;
}

void gas_blocks_clear(struct gas_blocks *blocks) {
  free(blocks->items);
  *blocks = (struct gas_blocks){0};
}
