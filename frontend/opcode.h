/* The opcode table (opcode.def) as C: enums and look-ups. */
#ifndef FRONTEND_OPCODE_H
#define FRONTEND_OPCODE_H

#include "frontend/cost.h"
#include "frontend/feature.h"

#include <stdbool.h>
#include <stdint.h>

enum op {
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) OP_##id,
#include "frontend/opcode.def"
#undef OP
  OP_COUNT
};

/* MEM<bytes>: memarg with that natural alignment; LANE<count>: one lane byte; others are named after what they index. */
enum immediate {
  IMM_NONE,
  IMM_BLOCK,
  IMM_LABEL,
  IMM_BR_TABLE,
  IMM_FUNC,
  IMM_CALL_INDIRECT,
  IMM_TYPE,
  IMM_TAG,
  IMM_TRY_TABLE,
  IMM_SELECT_T,
  IMM_LOCAL,
  IMM_GLOBAL,
  IMM_TABLE,
  IMM_TABLE_INIT,
  IMM_TABLE_COPY,
  IMM_ELEM,
  IMM_MEMORY,
  IMM_MEMORY_INIT,
  IMM_MEMORY_COPY,
  IMM_DATA,
  IMM_I32,
  IMM_I64,
  IMM_F32,
  IMM_F64,
  IMM_V128,
  IMM_SHUFFLE,
  IMM_HEAP_TYPE,
  IMM_BR_ON_CAST,
  IMM_TYPE_FIELD,
  IMM_TYPE_COUNT,
  IMM_TYPE_DATA,
  IMM_TYPE_ELEM,
  IMM_TYPE_TYPE,
  IMM_ZERO_BYTE,
  IMM_MEM1,
  IMM_MEM2,
  IMM_MEM4,
  IMM_MEM8,
  IMM_MEM16,
  IMM_LANE2,
  IMM_LANE4,
  IMM_LANE8,
  IMM_LANE16,
  IMM_MEM1_LANE16,
  IMM_MEM2_LANE8,
  IMM_MEM4_LANE4,
  IMM_MEM8_LANE2,
};

/* What an instruction does to control flow: bits, and the values of the table's column. */
enum op_flow {
  FLOW_OPENS = 1 << 0,        /* a construct, which an instruction that closes ends */
  FLOW_SPLITS = 1 << 1,       /* ends one arm of the innermost construct and begins the next */
  FLOW_CLOSES = 1 << 2,       /* the innermost construct; without one, the body */
  FLOW_BRANCHES = 1 << 3,     /* may go on at the labels in its immediate (walk_labels) */
  FLOW_LEAVES = 1 << 4,       /* the function; by an exception perhaps only constructs of it */
  FLOW_CALLS = 1 << 5,        /* another function */
  FLOW_DEAD_BEHIND = 1 << 6,  /* it never goes on to the instruction behind it */
  FLOW_BLOCK_BEHIND = 1 << 7, /* a gas block begins behind it; not where it closes a loop */
  FLOW_BLOCK_BEFORE = 1 << 8, /* a gas block begins with it */

  FLOW____ = 0,
  FLOW_OPEN = FLOW_OPENS,
  FLOW_OPEN_TABLE = FLOW_OPENS | FLOW_BRANCHES,
  FLOW_OPEN_IF = FLOW_OPENS | FLOW_BLOCK_BEHIND,
  FLOW_OPEN_LOOP = FLOW_OPENS | FLOW_BLOCK_BEFORE,
  FLOW_ARM = FLOW_SPLITS | FLOW_BLOCK_BEHIND,
  FLOW_CLOSE = FLOW_CLOSES | FLOW_BLOCK_BEHIND,
  FLOW_FORK = FLOW_BRANCHES | FLOW_BLOCK_BEHIND,
  FLOW_JUMP = FLOW_BRANCHES | FLOW_DEAD_BEHIND | FLOW_BLOCK_BEHIND,
  FLOW_LEAVE = FLOW_LEAVES | FLOW_DEAD_BEHIND | FLOW_BLOCK_BEHIND,
  FLOW_CALL = FLOW_CALLS,
  FLOW_TAIL_CALL = FLOW_CALLS | FLOW_LEAVE,
  FLOW_STOP = FLOW_DEAD_BEHIND | FLOW_BLOCK_BEHIND,
};

struct op_info {
  const char *text;
  const char *signature; /* "results_operands", "___" or "SPECIAL" */
  uint32_t code;
  uint16_t flow; /* enum op_flow */
  uint8_t prefix;
  uint8_t immediate;             /* enum immediate */
  uint8_t cost;                  /* enum cost */
  uint8_t feature;               /* enum feature */
  uint8_t n_results, n_operands; /* of the signature; n_operands is SPECIAL_OPERANDS where it is "SPECIAL" */
};
enum { SPECIAL_OPERANDS = 255 };

extern const struct op_info op_table[OP_COUNT];

/* Whether the instruction does any of `flow`, bits of enum op_flow. */
static inline bool op_does(enum op op, unsigned flow) { return op_table[op].flow & flow; }

/* Opcode and immediate by encoding; the first 256 are the one-byte opcodes, the rest is op_find's business. */
struct op_slot {
  uint16_t op_plus_one; /* 0: no such instruction */
  uint8_t immediate;
};

extern const struct op_slot op_slots[];

/* The instruction with this encoding (prefix 0: one byte), or OP_COUNT if there is none. */
enum op op_find(uint8_t prefix, uint32_t code);

#endif
