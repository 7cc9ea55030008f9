/* The opcode table (opcode.def) as C: enums and look-ups. */
#ifndef FRONTEND_OPCODE_H
#define FRONTEND_OPCODE_H

#include "frontend/feature.h"
#include "frontend/cost.h"

#include <stdint.h>

enum op {
#define OP(id, prefix, code, text, imm, sig, cost, feature, lower) OP_##id,
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

struct op_info {
  const char *text;
  const char *signature; /* "results_operands", "___" or "SPECIAL" */
  uint32_t code;
  uint8_t prefix;
  uint8_t immediate; /* enum immediate */
  uint8_t cost;      /* enum cost */
  uint8_t feature;   /* enum feature */
};

extern const struct op_info op_table[OP_COUNT];

/* Opcode and immediate by encoding; the first 256 are the one-byte opcodes, the rest is op_find's business. */
struct op_slot {
  uint16_t op_plus_one; /* 0: no such instruction */
  uint8_t immediate;
};

extern const struct op_slot op_slots[];

/* The instruction with this encoding (prefix 0: one byte), or OP_COUNT if there is none. */
enum op op_find(uint8_t prefix, uint32_t code);

#endif
