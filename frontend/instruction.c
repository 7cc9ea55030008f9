#include "frontend/instruction.h"

/* --- types in the binary format (spec 5.3) ------------------------------------------------------------------------ */

/* One-byte forms: `code` is both the heap type and the nullable reference to it. */
static const struct {
  uint8_t code;
  val_type type;
  enum feature feature;
} short_types[] = {
    {0x7f, VAL_I32, FEATURE_MVP},
    {0x7e, VAL_I64, FEATURE_MVP},
    {0x7d, VAL_F32, FEATURE_MVP},
    {0x7c, VAL_F64, FEATURE_MVP},
    {0x7b, VAL_V128, FEATURE_SIMD},
    {0x70, TYPE_FUNCREF, FEATURE_REFERENCE_TYPES},
    {0x6f, TYPE_EXTERNREF, FEATURE_REFERENCE_TYPES},
    {0x74, REF_TYPE(true, HEAP_NOEXN), FEATURE_EXCEPTIONS},
    {0x73, REF_TYPE(true, HEAP_NOFUNC), FEATURE_FUNCTION_REFERENCES},
    {0x72, REF_TYPE(true, HEAP_NOEXTERN), FEATURE_FUNCTION_REFERENCES},
    {0x71, REF_TYPE(true, HEAP_NONE), FEATURE_GC},
    {0x6e, REF_TYPE(true, HEAP_ANY), FEATURE_GC},
    {0x6d, REF_TYPE(true, HEAP_EQ), FEATURE_GC},
    {0x6c, REF_TYPE(true, HEAP_I31), FEATURE_GC},
    {0x6b, REF_TYPE(true, HEAP_STRUCT), FEATURE_GC},
    {0x6a, REF_TYPE(true, HEAP_ARRAY), FEATURE_GC},
    {0x69, REF_TYPE(true, HEAP_EXN), FEATURE_EXCEPTIONS},
};

enum { N_SHORT_TYPES = sizeof short_types / sizeof short_types[0], CODE_REF = 0x64, CODE_REF_NULL = 0x63 };

static val_type short_type(uint8_t code) {
  for (int i = 0; i < N_SHORT_TYPES; i++)
    if (short_types[i].code == code) return short_types[i].type;
  return VAL_BOT;
}

enum feature val_type_feature(val_type t) {
  for (int i = 0; i < N_SHORT_TYPES; i++)
    if (short_types[i].type == t) return short_types[i].feature;
  if (val_kind(t) != VAL_REF || val_heap(t) < HEAP_FIRST) return FEATURE_FUNCTION_REFERENCES;
  enum feature of_nullable = val_type_feature(t | 0x100);
  return of_nullable == FEATURE_REFERENCE_TYPES ? FEATURE_FUNCTION_REFERENCES : of_nullable;
}

/* The proposal's own codes: types of continuations, and instructions. */
enum { CODE_CONT_REF = 0x68, CODE_NO_CONT_REF = 0x75, FIRST_SWITCH = 0xe0, LAST_SWITCH = 0xe6 };

static val_type fail_as_switching(struct reader *r, const uint8_t *at) {
  reader_fail_at(r, GW_ERROR_UNSUPPORTED, at, "unsupported feature: %s", feature_name(FEATURE_STACK_SWITCHING));
  return VAL_BOT;
}

static bool is_cont_type(uint8_t code) { return code == CODE_CONT_REF || code == CODE_NO_CONT_REF; }

val_type read_heap_type(struct reader *r) {
  const uint8_t *at = r->at;
  if (reader_left(r) && (*at & 0xc0) == 0x40) {
    val_type t = short_type(*at);
    if (is_cont_type(*at)) return fail_as_switching(r, at);
    if (val_kind(t) != VAL_REF) {
      reader_fail(r, "malformed heap type %02x", *at);
      return VAL_BOT;
    }
    r->at++;
    return t;
  }
  int64_t index = read_s33(r);
  if (index < 0) reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed heap type");
  if (index >= HEAP_FIRST) reader_fail_at(r, GW_ERROR_INVALID, at, "unknown type %lld", (long long)index);
  return r->failed ? VAL_BOT : REF_TYPE(true, index);
}

static val_type read_type(struct reader *r, bool must_be_ref, const char *what) {
  const uint8_t *at = r->at;
  uint8_t code = read_u8(r);
  if (r->failed) return VAL_BOT;
  if (code == CODE_REF_NULL) return read_heap_type(r);
  if (code == CODE_REF) {
    val_type t = read_heap_type(r);
    return r->failed ? VAL_BOT : t & ~0x100u;
  }
  val_type t = short_type(code);
  if (t != VAL_BOT && (!must_be_ref || val_kind(t) == VAL_REF)) return t;
  if (is_cont_type(code)) return fail_as_switching(r, at);
  /* A value type starts with a negative one-byte number; a longer or positive one is told as what it breaks. */
  reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed %s type %02x", what, code);
  return VAL_BOT;
}

val_type read_val_type(struct reader *r) { return read_type(r, false, "value"); }

val_type read_ref_type(struct reader *r) { return read_type(r, true, "reference"); }

/* --- immediates (spec 5.4) ---------------------------------------------------------------------------------------- */

/* Bit 6 of the flags tells that a memory index follows (multi-memory); the bits below are the alignment. */
static void read_memarg(struct reader *r, struct instruction *in) {
  const uint8_t *at = r->at;
  uint32_t flags = read_u32(r);
  if (flags >= 0x80) reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed memop flags");
  in->mem.align = flags & 0x3f;
  in->mem.memory = flags & 0x40 ? read_u32(r) : 0;
  in->mem.offset = read_u64(r);
}

static void read_block_type(struct reader *r, struct instruction *in) {
  const uint8_t *at = r->at;
  in->block.has_index = false;
  in->block.result = VAL_BOT;
  if (reader_left(r) && *at == 0x40) {
    r->at++;
  } else if (reader_left(r) && (*at & 0xc0) == 0x40) {
    in->block.result = read_val_type(r);
  } else {
    int64_t index = read_s33(r);
    if (index < 0) reader_fail_at(r, GW_ERROR_MALFORMED, at, "malformed block type");
    in->block.has_index = true;
    in->index = (uint32_t)index;
  }
}

static void read_br_table(struct reader *r, struct instruction *in) {
  in->count = read_u32(r);
  in->list = r->at;
  if (in->count > reader_left(r)) reader_fail_end(r);
  for (uint32_t i = 0; i < in->count && !r->failed; i++) read_u32(r);
  read_u32(r);
}

static void read_try_table(struct reader *r, struct instruction *in) {
  read_block_type(r, in);
  in->count = read_u32(r);
  in->list = r->at;
  for (uint32_t i = 0; i < in->count && !r->failed; i++) {
    uint8_t kind = read_u8(r);
    if (kind > 3) reader_fail(r, "malformed catch clause");
    if (kind < 2) read_u32(r); /* the tag */
    read_u32(r);
  }
}

static void read_select_types(struct reader *r, struct instruction *in) {
  in->count = read_u32(r);
  in->type = VAL_BOT;
  for (uint32_t i = 0; i < in->count && !r->failed; i++) {
    val_type t = read_val_type(r);
    if (i == 0) in->type = t;
  }
}

static void read_br_on_cast(struct reader *r, struct instruction *in) {
  uint8_t flags = read_u8(r);
  if (flags > 3) reader_fail(r, "malformed br_on_cast flags");
  in->index = read_u32(r);
  in->type = read_heap_type(r) & ~(flags & 1 ? 0 : 0x100u);
  in->index2 = read_heap_type(r) & ~(flags & 2 ? 0 : 0x100u);
}

static void read_zero_byte(struct reader *r) {
  if (read_u8(r) != 0) reader_fail(r, "zero byte expected");
}

static void read_two_indices(struct reader *r, struct instruction *in) {
  in->index = read_u32(r);
  in->index2 = read_u32(r);
}

/* Once for each kind of opcode: what is read for most of them is a number or nothing. */
__attribute__((always_inline)) static inline void read_immediate(struct reader *r, struct instruction *in,
                                                                 enum immediate immediate) {
  switch (immediate) {
  case IMM_NONE: break;
  case IMM_BLOCK: read_block_type(r, in); break;
  case IMM_LABEL:
  case IMM_FUNC:
  case IMM_TYPE:
  case IMM_TAG:
  case IMM_LOCAL:
  case IMM_GLOBAL:
  case IMM_TABLE:
  case IMM_ELEM:
  case IMM_MEMORY:
  case IMM_DATA: in->index = read_u32(r); break;
  case IMM_CALL_INDIRECT:
  case IMM_TABLE_INIT:
  case IMM_TABLE_COPY:
  case IMM_MEMORY_INIT:
  case IMM_MEMORY_COPY:
  case IMM_TYPE_FIELD:
  case IMM_TYPE_COUNT:
  case IMM_TYPE_DATA:
  case IMM_TYPE_ELEM:
  case IMM_TYPE_TYPE: read_two_indices(r, in); break;
  case IMM_BR_TABLE: read_br_table(r, in); break;
  case IMM_TRY_TABLE: read_try_table(r, in); break;
  case IMM_SELECT_T: read_select_types(r, in); break;
  case IMM_I32: in->value.i64 = read_s32(r); break;
  case IMM_I64: in->value.i64 = read_s64(r); break;
  case IMM_F32: in->value.bits = read_f32_bits(r); break;
  case IMM_F64: in->value.bits = read_f64_bits(r); break;
  case IMM_V128:
  case IMM_SHUFFLE: in->value.v128 = read_bytes(r, 16); break;
  case IMM_HEAP_TYPE: in->type = read_heap_type(r); break;
  case IMM_BR_ON_CAST: read_br_on_cast(r, in); break;
  case IMM_ZERO_BYTE: read_zero_byte(r); break;
  case IMM_LANE2:
  case IMM_LANE4:
  case IMM_LANE8:
  case IMM_LANE16: in->lane = read_u8(r); break;
  case IMM_MEM1:
  case IMM_MEM2:
  case IMM_MEM4:
  case IMM_MEM8:
  case IMM_MEM16: read_memarg(r, in); break;
  case IMM_MEM1_LANE16:
  case IMM_MEM2_LANE8:
  case IMM_MEM4_LANE4:
  case IMM_MEM8_LANE2:
    read_memarg(r, in);
    in->lane = read_u8(r);
    break;
  }
}

/* The slow half of instruction_read: opcodes with a prefix, and bytes that are none. */
static void read_prefixed(struct reader *r, struct instruction *in, uint8_t prefix) {
  const uint8_t *at = r->at - 1;
  if (prefix >= FIRST_SWITCH && prefix <= LAST_SWITCH) {
    fail_as_switching(r, at);
    return;
  }
  if (prefix < 0xfb || prefix > 0xfe) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "illegal opcode %02x", prefix);
    return;
  }
  uint32_t code = read_u32(r);
  in->op = op_find(prefix, code);
  if (in->op == OP_COUNT) {
    reader_fail_at(r, GW_ERROR_MALFORMED, at, "illegal opcode %02x %02x", prefix, code);
    in->op = OP_UNREACHABLE;
    return;
  }
  read_immediate(r, in, op_table[in->op].immediate);
}

bool instruction_read(struct reader *r, struct instruction *in) {
  in->op = OP_UNREACHABLE;
  in->offset = (uint64_t)(r->at - r->start);
  uint8_t byte = read_u8(r);
  if (r->failed) return false;
  const struct op_slot *slot = &op_slots[byte];
  if (slot->op_plus_one) {
    in->op = (enum op)(slot->op_plus_one - 1);
    read_immediate(r, in, slot->immediate);
  } else {
    read_prefixed(r, in, byte);
  }
  return !r->failed;
}

struct func_type block_func_type(const struct module *m, const struct instruction *in, val_type *storage) {
  if (in->block.has_index) return m->types[in->index].func;
  *storage = in->block.result;
  return (struct func_type){.n_results = in->block.result != VAL_BOT, .results = storage};
}
