/* A fault on purpose, to see that tests and the server notice when the tiers do not agree. */
#ifndef TESTS_BREAK_OPCODE_H
#define TESTS_BREAK_OPCODE_H

#include "runtime/precise/private.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* From now on the precise tier does something else for the instruction called `text`: what the next one of the same signature and
 * immediate does. */
static inline bool break_opcode(const char *text) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  int op = 0;
  while (op < OP_COUNT && strcmp(op_table[op].text, text) != 0) op++;
  if (op == OP_COUNT) return false;
  struct precise_handlers *table = (struct precise_handlers *)(op_table[op].prefix == 0xfd ? precise_vector : precise_scalar);
  for (int other = (op + 1) % OP_COUNT; other != op; other = (other + 1) % OP_COUNT) {
    bool is_alike = strcmp(op_table[other].signature, op_table[op].signature) == 0 &&
                    op_table[other].immediate == op_table[op].immediate && op_table[other].prefix == op_table[op].prefix;
    if (!is_alike || !table[other].plain || table[other].plain == table[op].plain) continue;
    uintptr_t first = (uintptr_t)&table[op] & ~(page - 1), end = (uintptr_t)&table[op + 1];
    if (mprotect((void *)first, end - first, PROT_READ | PROT_WRITE)) return false;
    __asm__ volatile("" : "+r"(table)); /* or the compiler drops a store to what is const */
    table[op] = table[other];
    fprintf(stderr, "%s does what %s does\n", text, op_table[other].text);
    return true;
  }
  return false;
}

#endif
