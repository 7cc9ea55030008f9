#include "frontend/opcode.h"

/* Of a signature: one letter each, and no more than two results. "___" has none of either, "SPECIAL" has SPECIAL_OPERANDS. */
#define IS_SPECIAL(text) ((text)[0] == 'S')
#define IS_NONE(text) ((text)[0] == '_' && (text)[1] == '_')
#define RESULTS(text) (IS_SPECIAL(text) || (text)[0] == '_' ? 0 : (text)[1] == '_' ? 1 : 2)
#define OPERANDS(text) (IS_SPECIAL(text) ? SPECIAL_OPERANDS : IS_NONE(text) ? 0 : sizeof(text) - 2 - RESULTS(text))

const struct op_info op_table[OP_COUNT] = {
#define OP(id, prefix_, code_, text_, imm, sig, cost_, flow_, feature_, lower) \
  [OP_##id] = {.text = text_,                                                  \
               .signature = #sig,                                              \
               .n_results = RESULTS(#sig),                                     \
               .n_operands = OPERANDS(#sig),                                   \
               .code = code_,                                                  \
               .prefix = prefix_,                                              \
               .immediate = IMM_##imm,                                         \
               .cost = COST_##cost_,                                           \
               .flow = FLOW_##flow_,                                           \
               .feature = FEATURE_##feature_},
#include "frontend/opcode.def"
#undef OP
};

/* Where the codes of each prefix start in op_slots. */
enum {
  SLOTS_FB = 256,
  SLOTS_FC = SLOTS_FB + 0x20,
  SLOTS_FD = SLOTS_FC + 0x20,
  SLOTS_FE = SLOTS_FD + 0x120,
  SLOTS_END = SLOTS_FE + 0x80
};

#define SLOT(prefix, code)                \
  ((prefix) == 0      ? (code)            \
   : (prefix) == 0xfb ? SLOTS_FB + (code) \
   : (prefix) == 0xfc ? SLOTS_FC + (code) \
   : (prefix) == 0xfd ? SLOTS_FD + (code) \
                      : SLOTS_FE + (code))

const struct op_slot op_slots[SLOTS_END] = {
#define OP(id, prefix, code, text, imm, ...) [SLOT(prefix, code)] = {OP_##id + 1, IMM_##imm},
#include "frontend/opcode.def"
#undef OP
};

static enum op find_between(uint32_t start, uint32_t end, uint32_t code) {
  if (code >= end - start || !op_slots[start + code].op_plus_one) return OP_COUNT;
  return (enum op)(op_slots[start + code].op_plus_one - 1);
}

enum op op_find(uint8_t prefix, uint32_t code) {
  switch (prefix) {
  case 0: return find_between(0, SLOTS_FB, code);
  case 0xfb: return find_between(SLOTS_FB, SLOTS_FC, code);
  case 0xfc: return find_between(SLOTS_FC, SLOTS_FD, code);
  case 0xfd: return find_between(SLOTS_FD, SLOTS_FE, code);
  case 0xfe: return find_between(SLOTS_FE, SLOTS_END, code);
  default: return OP_COUNT;
  }
}
