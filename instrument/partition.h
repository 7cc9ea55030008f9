/* Gas blocks: the one partition of a body that every tier charges by (docs/gas.md section 2).
 *
 * A gas block starts at the function's entry, behind `loop`, behind `if` and `else`, behind the `end` of a block or if,
 * behind every instruction that branches or throws, behind `catch` and `catch_all`, and when it has GAS_BLOCK_MOST instructions
 * and the next one is no `loop`. It is charged the sum of its instructions' costs when it is entered. */
#ifndef INSTRUMENT_PARTITION_H
#define INSTRUMENT_PARTITION_H

#include "frontend/opcode.h"

#include <stdbool.h>

/* So that what is paid in advance is little, and a look comes soon. */
enum { GAS_BLOCK_MOST = 4096 };

/* Whether the next instruction begins a new gas block. `closes` is the opcode that opened the construct which an OP_END
 * closes (OP_BLOCK, OP_LOOP, OP_IF, ...); other opcodes ignore it. Whether the block is full is the caller's
 * to know. The instruction itself belongs to the block it ends, but
 * `loop`: its cost belongs to the block it starts, so that every iteration pays for it. */
static inline bool gas_block_ends_after(enum op op, enum op closes) {
  switch (op) {
  case OP_LOOP:
  case OP_IF:
  case OP_ELSE:
  case OP_BR:
  case OP_BR_IF:
  case OP_BR_TABLE:
  case OP_RETURN:
  case OP_UNREACHABLE:
  case OP_BR_ON_NULL:
  case OP_BR_ON_NON_NULL:
  case OP_BR_ON_CAST:
  case OP_BR_ON_CAST_FAIL:
  case OP_THROW:
  case OP_THROW_REF:
  case OP_RETHROW:
  case OP_RETURN_CALL:
  case OP_RETURN_CALL_INDIRECT:
  case OP_RETURN_CALL_REF:
  case OP_CATCH:
  case OP_CATCH_ALL:
  case OP_DELEGATE: return true;
  case OP_END: return closes != OP_LOOP;
  default: return false;
  }
}

#endif
