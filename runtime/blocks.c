/* A fresh block of a memory is one fault, which the kernel serves by zeroing 2 MiB. That takes 0.4 ms, and ten times as long on a
 * machine whose host has to find the memory first; with small pages it is 512 faults. No count of gas tells when it happens: an
 * instruction in a thousand may touch a block, or each. So where slices are bounded by time, memories that are not watched
 * (dirty.c), or not yet, and what is grown begin without access rights. The first touch of a block faults (trap.c), the block is
 * opened, and the guest goes on by way of a look at the clock (runtime/arch/x86_64/touched.S), where its slice may end. Between
 * two looks lies one block, then.
 *
 * An interpreter's handler, also one that baseline code runs, opens the block and has the next charge look (slice_look_soon).
 *
 * Who touches memory for the guest opens blocks without a look: helpers and host functions fault as the guest does, and what is
 * handed to the kernel is opened before (gw_memory_data). Open blocks stay so until their pages are given back. */
#include "runtime/blocks.h"

#include <string.h>
#include <sys/mman.h>

void blocks_begin(struct block_set *b, uint8_t *first, size_t n) {
  b->first = first;
  b->n = n;
  memset(b->is_open, 0, block_words(n) * sizeof *b->is_open);
}

/* Its number; b->n where it is none of them. */
static size_t number_of(const struct block_set *b, const uint8_t *address) {
  size_t i = address < b->first ? b->n : (size_t)(address - b->first) / BLOCK;
  return i < b->n ? i : b->n;
}

static bool is_open(const struct block_set *b, size_t i) { return b->is_open[i / 64] >> i % 64 & 1; }

bool blocks_is_closed(const struct block_set *b, const uint8_t *address) {
  size_t i = number_of(b, address);
  return i < b->n && !is_open(b, i);
}

void blocks_close(struct block_set *b, const uint8_t *from) {
  size_t i = from <= b->first ? 0 : ((size_t)(from - b->first) + BLOCK - 1) / BLOCK;
  for (; i < b->n && i % 64; i++) b->is_open[i / 64] &= ~(UINT64_C(1) << i % 64);
  if (i < b->n) memset(&b->is_open[i / 64], 0, (block_words(b->n) - i / 64) * sizeof *b->is_open);
}

/* The one in which the memory ends becomes a huge page, too: for that all of it must be accessible when it is touched. */
static bool give_access(uint8_t *block, uint8_t *end) {
  size_t size = (size_t)(end - block);
  if (size >= BLOCK) return mprotect(block, BLOCK, PROT_READ | PROT_WRITE) == 0;
  if (mprotect(block, BLOCK, PROT_READ | PROT_WRITE)) return false;
  *(volatile uint8_t *)block = 0;
  if (mprotect(block + size, BLOCK - size, PROT_NONE) == 0) return true;
  mprotect(block, BLOCK, PROT_NONE);
  return false;
}

/* A process may have only so many mappings; with all blocks open the memory is one of them. */
static bool give_up(struct block_set *b, uint8_t *end) {
  uint8_t *behind = b->first + b->n * BLOCK;
  if (mprotect(b->first, (size_t)((end < behind ? end : behind) - b->first), PROT_READ | PROT_WRITE)) return false;
  b->n = 0;
  return true;
}

bool blocks_open(struct block_set *b, const uint8_t *address, uint8_t *end) {
  size_t i = number_of(b, address);
  if (i == b->n || address >= end || is_open(b, i)) return false;
  if (!give_access(b->first + i * BLOCK, end)) return give_up(b, end);
  b->is_open[i / 64] |= UINT64_C(1) << i % 64;
  return true;
}

bool blocks_join(struct block_set *b, const uint8_t *from, const uint8_t *to, uint8_t *end) {
  if (!b->n || to <= b->first) return true;
  if (from < b->first) from = b->first;
  for (const uint8_t *at = from; at < to; at = b->first + ((size_t)(at - b->first) / BLOCK + 1) * BLOCK)
    if (blocks_is_closed(b, at) && !blocks_open(b, at, end)) return false;
  return true;
}
