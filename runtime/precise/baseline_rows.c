/* What the baseline tier makes of each instruction: the LOWER column of opcode.def, read as machine code. */
#include "base/heap.h"
#include "runtime/precise/baseline.h"

#include <pthread.h>

#define ROW_KIND(kind, ...) \
  { BASELINE_##kind, __VA_ARGS__ }
#define ___ ROW_KIND(HANDLER, 0)
#define BIN(op) ROW_KIND(BIN, BIN_##op)
#define BIN_Add 0x03
#define BIN_Sub 0x2b
#define BIN_Mul 0x0faf
#define BIN_And 0x23
#define BIN_Or 0x0b
#define BIN_Xor 0x33
#define SHIFT(op) ROW_KIND(SHIFT, SHIFT_##op)
#define SHIFT_Shl 4
#define SHIFT_LShr 5
#define SHIFT_AShr 7
#define ROT(op) ROW_KIND(SHIFT, ROT_##op)
#define ROT_fshl 0
#define ROT_fshr 1
#define ICMP(p) ROW_KIND(ICMP, ICMP_##p)
#define ICMP_EQ CC_E
#define ICMP_NE CC_NE
#define ICMP_SLT CC_L
#define ICMP_SGT CC_G
#define ICMP_SLE CC_LE
#define ICMP_SGE CC_GE
#define ICMP_ULT CC_B
#define ICMP_UGT CC_A
#define ICMP_ULE CC_BE
#define ICMP_UGE CC_AE
#define EQZ() ROW_KIND(EQZ, 0)
#define DIV(op) ROW_KIND(DIV, DIV_##op)
#define DIV_SDiv 2
#define DIV_UDiv 0
#define DIV_SRem 3
#define DIV_URem 1
#define BITCOUNT(op) BITCOUNT_##op
#define BITCOUNT_ctlz ROW_KIND(BITCOUNT, 0)
#define BITCOUNT_cttz ROW_KIND(BITCOUNT, 1)
#define BITCOUNT_ctpop ROW_KIND(POPCOUNT, 0)
#define EXTEND(type) ROW_KIND(EXTEND, EXTEND_##type)
#define EXTEND_i8 8
#define EXTEND_i16 16
#define EXTEND_i32 32
#define CAST(op, to) CAST_##op
#define CAST_Trunc ROW_KIND(WRAP, 0)
#define CAST_SExt ROW_KIND(EXTEND_SIGNED, 0)
#define CAST_ZExt ROW_KIND(EXTEND_UNSIGNED, 0)
#define CAST_SIToFP ROW_KIND(FROM_SIGNED, 0)
#define CAST_UIToFP ROW_KIND(FROM_UNSIGNED, 0)
#define CAST_BitCast ROW_KIND(BITS, 0)
#define FBIN(op) ROW_KIND(FBIN, FBIN_##op)
#define FBIN_FAdd 0x0f58
#define FBIN_FSub 0x0f5c
#define FBIN_FMul 0x0f59
#define FBIN_FDiv 0x0f5e
#define FCMP(p) ROW_KIND(FCMP, RELATION_##p)
#define FMINMAX(op) ROW_KIND(FMINMAX, FMINMAX_##op)
#define FMINMAX_minimum 0x0f5d
#define FMINMAX_maximum 0x0f5f
#define FUN(name) FUN_##name
#define FUN_ceil ROW_KIND(ROUND, 2)
#define FUN_floor ROW_KIND(ROUND, 1)
#define FUN_trunc ROW_KIND(ROUND, 3)
#define FUN_roundeven ROW_KIND(ROUND, 0)
#define FUN_sqrt ROW_KIND(SQRT, 0)
#define FABS() ROW_KIND(FABS, 0)
#define FNEG() ROW_KIND(FNEG, 0)
#define COPYSIGN() ROW_KIND(COPYSIGN, 0)
#define DEMOTE() ROW_KIND(DEMOTE, 0)
#define PROMOTE() ROW_KIND(PROMOTE, 0)
#define TRUNC(to, sign) TRUNC_##to##_##sign
#define TRUNC_i32_SIGNED ROW_KIND(TRUNC, 0)
#define TRUNC_i32_UNSIGNED ROW_KIND(TRUNC, 1)
#define TRUNC_i64_SIGNED ROW_KIND(TRUNC_LONG, 0)
#define TRUNC_i64_UNSIGNED ___
#define TRUNC_SAT(to, sign) TRUNC_SAT_##to##_##sign
#define TRUNC_SAT_i32_SIGNED ROW_KIND(TRUNC_SAT, 0)
#define TRUNC_SAT_i32_UNSIGNED ROW_KIND(TRUNC_SAT, 1)
#define TRUNC_SAT_i64_SIGNED ROW_KIND(TRUNC_SAT_LONG, 0)
#define TRUNC_SAT_i64_UNSIGNED ___
#define WIDE(op) ___
#define WIDE_MUL(how) ___
/* detail: opcode, | 1 << 16: with REX.W. */
#define LOAD(type, extension) ROW_KIND(LOAD, LOAD_##type##_##extension)
#define LOAD_i8_SEXT 0x0fbe
#define LOAD_i8_ZEXT 0x0fb6
#define LOAD_i16_SEXT 0x0fbf
#define LOAD_i16_ZEXT 0x0fb7
#define LOAD_i32_NONE 0x8b
#define LOAD_i32_SEXT 0x63
#define LOAD_i32_ZEXT 0x8b
#define LOAD_i64_NONE 0x8b
#define LOAD_f32_NONE PF3(0x0f10)
#define LOAD_f64_NONE PF2(0x0f10)
#define STORE(type) ROW_KIND(STORE, STORE_##type)
#define STORE_i8 0x88
#define STORE_i16 P66(0x89)
#define STORE_i32 0x89
#define STORE_i64 0x89
#define STORE_f32 PF3(0x0f11)
#define STORE_f64 PF2(0x0f11)

#define PREFIX_0(...) __VA_ARGS__
#define PREFIX_0xfb(...) ___
#define PREFIX_0xfc(...) __VA_ARGS__
#define PREFIX_0xfd(...) ___
#define PREFIX_0xfe(...) ___

static const struct baseline_row rows[OP_COUNT] = {
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) [OP_##id] = PREFIX_##prefix(lower),
#include "frontend/opcode.def"
#undef OP
};

/* Handlers by address: open addressing. */
enum { N_ENTRIES = 8192 };
static struct baseline_entry entries[N_ENTRIES];

static struct baseline_entry *place_of(precise_handler *run) {
  size_t i = ((uintptr_t)run >> 4) * 0x9e3779b97f4a7c15u >> 51;
  while (entries[i].run && entries[i].run != run) i = (i + 1) % N_ENTRIES;
  return &entries[i];
}

static void enter(precise_handler *run, struct baseline_entry entry) {
  if (!run) return;
  entry.run = run;
  *place_of(run) = entry;
}

static uint8_t access_size(enum op op) {
  switch (op_table[op].immediate) {
  case IMM_MEM1: return 1;
  case IMM_MEM2: return 2;
  case IMM_MEM4: return 4;
  case IMM_MEM8: return 8;
  default: return 16;
  }
}

static void enter_op(enum op op) {
  const struct precise_handlers *h = &precise_scalar[op];
  const char *operands = strchr(op_table[op].signature, '_');
  if (!h->plain || rows[op].kind == BASELINE_HANDLER) return;
  if (rows[op].kind == BASELINE_POPCOUNT && !__builtin_cpu_supports("popcnt")) return;
  struct baseline_entry e = {.kind = rows[op].kind, .detail = rows[op].detail, .size = access_size(op)};
  e.result = op_table[op].signature[0];
  e.operand = e.kind == BASELINE_STORE ? operands[2] : operands[1];
  enter(h->plain, e);
  e.form = FORM_CONSTANT;
  enter(h->constant, e);
  e.form = FORM_BRANCH;
  enter(h->branch_if, e);
  e.is_unless = true;
  enter(h->branch_unless, e);
  e.form = FORM_CONSTANT_BRANCH;
  enter(h->constant_branch_unless, e);
  e.is_unless = false;
  enter(h->constant_branch_if, e);
}

static void enter_control(precise_handler *run, enum baseline_kind kind, uint32_t detail) {
  enter(run, (struct baseline_entry){.kind = (uint8_t)kind, .detail = detail});
}

static void enter_all(void) {
  for (int op = 0; op < OP_COUNT; op++) enter_op((enum op)op);
  enter_control(do_charge, BASELINE_CHARGE, 0);
  enter_control(do_constant, BASELINE_CONSTANT, 0);
  enter_control(do_copy, BASELINE_COPY, 0);
  enter_control(do_select, BASELINE_SELECT, 0);
  enter_control(do_branch, BASELINE_BRANCH, 0);
  enter_control(do_branch_if, BASELINE_BRANCH_IF, CC_NE);
  enter_control(do_branch_unless, BASELINE_BRANCH_IF, CC_E);
  enter_control(do_branch_null, BASELINE_BRANCH_IF, CC_E | 16);
  enter_control(do_branch_not_null, BASELINE_BRANCH_IF, CC_NE | 16);
  enter_control(do_branch_table, BASELINE_BRANCH_TABLE, 0);
  enter_control(do_unreachable, BASELINE_LEAVE, 0);
  enter_control(do_finish, BASELINE_FINISH, 0);
  enter_control(do_finish_one, BASELINE_FINISH_ONE, 0);
  enter_control(do_finish_many, BASELINE_LEAVE, 0);
  enter_control(do_call, BASELINE_CALL, 0);
  enter_control(do_call_import, BASELINE_CALL_HANDLER, 0);
  enter_control(do_call_ref, BASELINE_CALL_REF, 0);
  enter_control(do_tail_call, BASELINE_LEAVE, 0);
  enter_control(do_tail_call_import, BASELINE_LEAVE, 0);
  enter_control(do_tail_call_ref, BASELINE_LEAVE, 0);
  enter_control(do_table_func, BASELINE_TABLE_GET, 1);
  enter_control(do_table_get, BASELINE_TABLE_GET, 0);
  enter_control(do_check_type, BASELINE_CHECK_TYPE, 0);
  enter_control(do_ref_non_null, BASELINE_NON_NULL, 0);
  enter_control(do_ref_func, BASELINE_REF_FUNC, 0);
  enter(do_ref_is_null, (struct baseline_entry){.kind = BASELINE_EQZ, .result = 'i', .operand = 'I'});
  enter_control(do_global_get, BASELINE_GLOBAL_GET, 0);
  enter_control(do_global_set, BASELINE_GLOBAL_SET, 0);
  enter_control(do_throw_tag, BASELINE_THROW, 0);
  enter_control(do_throw_ref, BASELINE_THROW, 0);
  enter_control(do_rethrow, BASELINE_THROW, 0);
  enter_control(do_unwind, BASELINE_LEAVE, 0);
  enter_control(do_on_exception, BASELINE_ON_EXCEPTION, 0);
  enter_control(do_clause_tag, BASELINE_CLAUSE_TAG, 0);
}

void baseline_rows_init(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, enter_all);
}

const struct baseline_entry *baseline_find(precise_handler *run) {
  static const struct baseline_entry handler = {.kind = BASELINE_HANDLER};
  const struct baseline_entry *e = place_of(run);
  return e->run ? e : &handler;
}
