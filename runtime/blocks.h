/* Blocks of a memory that are closed until they are touched for the first time (essay in blocks.c). */
#ifndef RUNTIME_BLOCKS_H
#define RUNTIME_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BLOCK = 2 << 20 }; /* bytes, and a block's alignment: what a huge page backs */

/* Blocks from `first` on; those before it are no business of this. All zero: none is ever closed. */
struct block_set {
  uint8_t *first;
  size_t n;
  uint64_t *is_open; /* a bit for each */
};

/* Words of is_open for n blocks. */
static inline size_t block_words(size_t n) { return (n + 63) / 64; }

/* From now on the blocks are closed: n of them at `first`. The caller sees to it that they have no access rights. */
void blocks_begin(struct block_set *b, uint8_t *first, size_t n);
/* So again those that begin at `from` or behind. */
void blocks_close(struct block_set *b, const uint8_t *from);
/* Whether this address lies in a closed block. */
bool blocks_is_closed(const struct block_set *b, const uint8_t *address);
/* Opens the closed block that holds this address, of a memory that ends at `end`, a whole host page. Where the system refuses,
 * all are opened for good, in one mapping. False: it is open, or there is none, or even that is refused. Safe in a signal
 * handler. */
bool blocks_open(struct block_set *b, const uint8_t *address, uint8_t *end);
/* Opens all that holds some of [from, to). False: the system refuses. */
bool blocks_join(struct block_set *b, const uint8_t *from, const uint8_t *to, uint8_t *end);

#endif
