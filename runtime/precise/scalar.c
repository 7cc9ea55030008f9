/* Scalar instructions of the precise tier: handlers made from the LOWER column of opcode.def, which says for every instruction
 * what lowering makes of it. Here each kind of row is a value in C, and the handlers around it differ in where operands come from
 * and where the result goes.
 *
 * Results of 32 bits are written as 64, so that a later copy reads what one store wrote. */
#include "runtime/precise/private.h"

#include <math.h>
#include <string.h>

/* --- types by the letters of signatures ----------------------------------------------------------------------------- */

#define TYPE_i uint32_t
#define TYPE_I uint64_t
#define TYPE_f float
#define TYPE_F double
#define GET_i(slot) ((slot).u32)
#define GET_I(slot) ((slot).u64)
#define GET_f(slot) ((slot).f32)
#define GET_F(slot) ((slot).f64)
#define SET_i(slot, v) ((slot).u64 = (uint32_t)(v))
#define SET_I(slot, v) ((slot).u64 = (uint64_t)(v))
#define SET_f(slot, v) ((slot).u64 = bits_of((union gw_value){.f32 = (v)}))
#define SET_F(slot, v) ((slot).f64 = (v))

static inline uint64_t bits_of(union gw_value v) { return v.u32; }

/* Result and operands of a signature. */
#define R_i_i i
#define A_i_i i
#define R_i_I i
#define A_i_I I
#define R_i_f i
#define A_i_f f
#define R_i_F i
#define A_i_F F
#define R_I_i I
#define A_I_i i
#define R_I_I I
#define A_I_I I
#define R_I_f I
#define A_I_f f
#define R_I_F I
#define A_I_F F
#define R_f_i f
#define A_f_i i
#define R_f_I f
#define A_f_I I
#define R_f_f f
#define A_f_f f
#define R_f_F f
#define A_f_F F
#define R_F_i F
#define A_F_i i
#define R_F_I F
#define A_F_I I
#define R_F_f F
#define A_F_f f
#define R_F_F F
#define A_F_F F
#define R_i_ii i
#define A_i_ii i
#define R_i_II i
#define A_i_II I
#define R_i_ff i
#define A_i_ff f
#define R_i_FF i
#define A_i_FF F
#define R_I_II I
#define A_I_II I
#define R_f_ff f
#define A_f_ff f
#define R_F_FF F
#define A_F_FF F
#define V__ii i
#define V__iI I
#define V__if f
#define V__iF F

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define RESULT(sig) PASTE(TYPE_, R_##sig)
#define OPERAND(sig) PASTE(TYPE_, A_##sig)
#define SET_RESULT(sig, v) PASTE(SET_, R_##sig)(SLOT(pc->a), v)
#define GET_OPERAND(sig, slot) PASTE(GET_, A_##sig)(slot)
#define IMMEDIATE(sig) PASTE(GET_, A_##sig)((union gw_value){.u64 = pc->imm})

/* --- values --------------------------------------------------------------------------------------------------------- */

#define BINARY(id, sig, expression)                                                             \
  static inline RESULT(sig) value_##id(OPERAND(sig) x, OPERAND(sig) y) { return (expression); } \
  static HANDLER(plain_##id) {                                                                  \
    SET_RESULT(sig, value_##id(GET_OPERAND(sig, SLOT(pc->b)), GET_OPERAND(sig, SLOT(pc->c))));  \
    NEXT;                                                                                       \
  }                                                                                             \
  static HANDLER(constant_##id) {                                                               \
    SET_RESULT(sig, value_##id(GET_OPERAND(sig, SLOT(pc->b)), IMMEDIATE(sig)));                 \
    NEXT;                                                                                       \
  }

/* A comparison of integers, also as the condition of a branch. */
#define BRANCH(name, id, sig, truth, other)                              \
  static HANDLER(name##_##id) {                                          \
    if (value_##id(GET_OPERAND(sig, SLOT(pc->a)), other) == truth) JUMP; \
    NEXT;                                                                \
  }
#define COMPARISON(id, sig, expression)                                         \
  BINARY(id, sig, expression)                                                   \
  BRANCH(branch_if, id, sig, 1, GET_OPERAND(sig, SLOT(pc->b)))                  \
  BRANCH(branch_unless, id, sig, 0, GET_OPERAND(sig, SLOT(pc->b)))              \
  BRANCH(constant_branch_if, id, sig, 1, (OPERAND(sig))(int64_t)(int32_t)pc->b) \
  BRANCH(constant_branch_unless, id, sig, 0, (OPERAND(sig))(int64_t)(int32_t)pc->b)

#define UNARY(id, sig, expression)                                              \
  static inline RESULT(sig) value_##id(OPERAND(sig) x) { return (expression); } \
  static HANDLER(plain_##id) {                                                  \
    SET_RESULT(sig, value_##id(GET_OPERAND(sig, SLOT(pc->b))));                 \
    NEXT;                                                                       \
  }

/* Sets `bad` to a trap where there is no value. */
#define PARTIAL_BINARY(id, sig, bad, expression)                                       \
  static HANDLER(plain_##id) {                                                         \
    OPERAND(sig) x = GET_OPERAND(sig, SLOT(pc->b)), y = GET_OPERAND(sig, SLOT(pc->c)); \
    enum gw_trap trap = bad;                                                           \
    if (__builtin_expect(trap != GW_TRAP_NONE, 0)) precise_trap(pc, store, trap);      \
    SET_RESULT(sig, expression);                                                       \
    NEXT;                                                                              \
  }                                                                                    \
  static HANDLER(constant_##id) {                                                      \
    OPERAND(sig) x = GET_OPERAND(sig, SLOT(pc->b)), y = IMMEDIATE(sig);                \
    enum gw_trap trap = bad;                                                           \
    if (__builtin_expect(trap != GW_TRAP_NONE, 0)) precise_trap(pc, store, trap);      \
    SET_RESULT(sig, expression);                                                       \
    NEXT;                                                                              \
  }

#define SIGNED_TYPE_i int32_t
#define SIGNED_TYPE_I int64_t
#define AS_SIGNED(sig, v) ((PASTE(SIGNED_TYPE_, A_##sig))(v))
#define BITS(sig) (8 * sizeof(OPERAND(sig)))

#define BIN(op) BIN_, op
#define DEF_BIN_(id, sig, op) BINARY(id, sig, BIN_##op)
#define BIN_Add x + y
#define BIN_Sub x - y
#define BIN_Mul x *y
#define BIN_And x &y
#define BIN_Or x | y
#define BIN_Xor x ^ y

#define SHIFT(op) SHIFT_, op
#define DEF_SHIFT_(id, sig, op) BINARY(id, sig, SHIFT_##op(sig))
#define SHIFT_Shl(sig) x << (y & (BITS(sig) - 1))
#define SHIFT_LShr(sig) x >> (y & (BITS(sig) - 1))
#define SHIFT_AShr(sig) (OPERAND(sig))(AS_SIGNED(sig, x) >> (y & (BITS(sig) - 1)))

#define ROT(op) ROT_, op
#define DEF_ROT_(id, sig, op) BINARY(id, sig, ROT_##op(sig))
#define ROT_fshl(sig) x << (y & (BITS(sig) - 1)) | x >> (-y & (BITS(sig) - 1))
#define ROT_fshr(sig) x >> (y & (BITS(sig) - 1)) | x << (-y & (BITS(sig) - 1))

#define ICMP(p) ICMP_, p
#define DEF_ICMP_(id, sig, p) COMPARISON(id, sig, ICMP_##p(sig))
#define ICMP_EQ(sig) x == y
#define ICMP_NE(sig) x != y
#define ICMP_SLT(sig) AS_SIGNED(sig, x) < AS_SIGNED(sig, y)
#define ICMP_SGT(sig) AS_SIGNED(sig, x) > AS_SIGNED(sig, y)
#define ICMP_SLE(sig) AS_SIGNED(sig, x) <= AS_SIGNED(sig, y)
#define ICMP_SGE(sig) AS_SIGNED(sig, x) >= AS_SIGNED(sig, y)
#define ICMP_ULT(sig) x < y
#define ICMP_UGT(sig) x > y
#define ICMP_ULE(sig) x <= y
#define ICMP_UGE(sig) x >= y

#define EQZ() EQZ_, 0
#define DEF_EQZ_(id, sig, unused) UNARY(id, sig, x == 0)

#define DIV(op) DIV_, op
#define DEF_DIV_(id, sig, op) PARTIAL_BINARY(id, sig, DIV_BAD_##op(sig), DIV_##op(sig))
#define LEAST(sig) ((OPERAND(sig))1 << (BITS(sig) - 1))
#define BY_ZERO (y == 0 ? GW_TRAP_INTEGER_DIVIDE_BY_ZERO : GW_TRAP_NONE)
#define DIV_BAD_SDiv(sig) (x == LEAST(sig) && y == (OPERAND(sig)) - 1 ? GW_TRAP_INTEGER_OVERFLOW : BY_ZERO)
#define DIV_BAD_UDiv(sig) BY_ZERO
#define DIV_BAD_SRem(sig) BY_ZERO
#define DIV_BAD_URem(sig) BY_ZERO
#define DIV_SDiv(sig) AS_SIGNED(sig, x) / AS_SIGNED(sig, y)
#define DIV_UDiv(sig) x / y
#define DIV_SRem(sig) (y == (OPERAND(sig)) - 1 ? 0 : AS_SIGNED(sig, x) % AS_SIGNED(sig, y))
#define DIV_URem(sig) x % y

#define BITCOUNT(op) BITCOUNT_, op
#define DEF_BITCOUNT_(id, sig, op) UNARY(id, sig, BITCOUNT_##op(sig))
#define IS_64(sig) (sizeof(OPERAND(sig)) == 8)
#define BITCOUNT_ctlz(sig) x == 0 ? BITS(sig) : IS_64(sig) ? (unsigned)__builtin_clzll(x) : (unsigned)__builtin_clz((uint32_t)x)
#define BITCOUNT_cttz(sig) x == 0 ? BITS(sig) : (unsigned)__builtin_ctzll(x)
#define BITCOUNT_ctpop(sig) (unsigned)__builtin_popcountll(x)

#define EXTEND(type) EXTEND_, type
#define DEF_EXTEND_(id, sig, type) UNARY(id, sig, (RESULT(sig))AS_SIGNED(sig, (SIGNED_##type)x))
#define SIGNED_i8 int8_t
#define SIGNED_i16 int16_t
#define SIGNED_i32 int32_t

#define CAST(op, to) CAST_##op, to
#define DEF_CAST_Trunc(id, sig, to) UNARY(id, sig, (uint32_t)x)
#define DEF_CAST_SExt(id, sig, to) UNARY(id, sig, (uint64_t)(int64_t)(int32_t)x)
#define DEF_CAST_ZExt(id, sig, to) UNARY(id, sig, x)
#define DEF_CAST_SIToFP(id, sig, to) UNARY(id, sig, (RESULT(sig))AS_SIGNED(sig, x))
#define DEF_CAST_UIToFP(id, sig, to) UNARY(id, sig, (RESULT(sig))x)
/* The bits stay where they are. */
#define DEF_CAST_BitCast(id, sig, to)  \
  static HANDLER(plain_##id) {         \
    SLOT(pc->a).u64 = SLOT(pc->b).u64; \
    NEXT;                              \
  }

/* --- floats: the compiler's arithmetic is that of the processor, but every NaN that it makes becomes the canonical one ------ */

#define CANONICAL(sig, v) PASTE(canonical_, R_##sig)(v)
static inline float canonical_f(float v) { return __builtin_expect(v != v, 0) ? __builtin_nanf("") : v; }
static inline double canonical_F(double v) { return __builtin_expect(v != v, 0) ? __builtin_nan("") : v; }

#define FBIN(op) FBIN_, op
#define DEF_FBIN_(id, sig, op) BINARY(id, sig, CANONICAL(sig, FBIN_##op))
#define FBIN_FAdd x + y
#define FBIN_FSub x - y
#define FBIN_FMul x *y
#define FBIN_FDiv x / y

#define FCMP(p) FCMP_, p
#define DEF_FCMP_(id, sig, p) BINARY(id, sig, FCMP_##p)
#define FCMP_OEQ x == y
#define FCMP_UNE x != y
#define FCMP_OLT x < y
#define FCMP_OGT x > y
#define FCMP_OLE x <= y
#define FCMP_OGE x >= y

/* A sum with a NaN is a NaN; zeros differ in their signs only. */
#define FMINMAX(op) FMINMAX_, op
#define DEF_FMINMAX_(id, sig, op) BINARY(id, sig, x != x || y != y ? CANONICAL(sig, x + y) : FMINMAX_##op)
#define FMINMAX_minimum x == y ? (__builtin_signbit(x) ? x : y) : x < y ? x : y
#define FMINMAX_maximum x == y ? (__builtin_signbit(x) ? y : x) : x > y ? x : y

/* A root's operand is compared: LLVM 22 folds "the root if it is no NaN, else this NaN" to the root. */
#define ROOT_f(x) ((x) > -0x1p-149f ? __builtin_sqrtf(x) : __builtin_nanf(""))
#define ROOT_F(x) ((x) > -0x1p-1074 ? __builtin_sqrt(x) : __builtin_nan(""))
#define FUN_f(name) __builtin_##name##f
#define FUN_F(name) __builtin_##name
#define FUN(name) FUN_, name
#define DEF_FUN_(id, sig, name) UNARY(id, sig, FUN_##name(sig))
#define ROUND(sig, name) CANONICAL(sig, PASTE(FUN_, A_##sig)(name)(x))
#define FUN_ceil(sig) ROUND(sig, ceil)
#define FUN_floor(sig) ROUND(sig, floor)
#define FUN_trunc(sig) ROUND(sig, trunc)
#define FUN_roundeven(sig) ROUND(sig, roundeven)
#define FUN_sqrt(sig) PASTE(ROOT_, A_##sig)(x)
/* Signs are bits: NaNs pass as they are. */
#define SIGN(sig) (PASTE(SIGN_, A_##sig))
#define SIGN_f UINT32_C(0x80000000)
#define SIGN_F UINT64_C(0x8000000000000000)
#define RAW(sig, slot) PASTE(RAW_, A_##sig)(slot)
#define RAW_f(slot) ((slot).u32)
#define RAW_F(slot) ((slot).u64)
#define SIGNS(id, expression)       \
  static HANDLER(plain_##id) {      \
    SLOT(pc->a).u64 = (expression); \
    NEXT;                           \
  }
#define FABS() FABS_, 0
#define DEF_FABS_(id, sig, unused) SIGNS(id, RAW(sig, SLOT(pc->b)) & ~SIGN(sig))
#define FNEG() FNEG_, 0
#define DEF_FNEG_(id, sig, unused) SIGNS(id, RAW(sig, SLOT(pc->b)) ^ SIGN(sig))
#define COPYSIGN() COPYSIGN_, 0
#define DEF_COPYSIGN_(id, sig, unused) SIGNS(id, (RAW(sig, SLOT(pc->b)) & ~SIGN(sig)) | (RAW(sig, SLOT(pc->c)) & SIGN(sig)))

#define DEMOTE() DEMOTE_, 0
#define DEF_DEMOTE_(id, sig, unused) UNARY(id, sig, CANONICAL(sig, (float)x))
#define PROMOTE() PROMOTE_, 0
#define DEF_PROMOTE_(id, sig, unused) UNARY(id, sig, CANONICAL(sig, (double)x))

/* Bounds of what can be truncated: above LOW (or, from f32 to signed, from it on), below HIGH. */
#define HIGH_i32_SIGNED 0x1p31
#define HIGH_i32_UNSIGNED 0x1p32
#define HIGH_i64_SIGNED 0x1p63
#define HIGH_i64_UNSIGNED 0x1p64
#define IS_ABOVE_i32_SIGNED(x) ((double)(x) > -0x1p31 - 1)
#define IS_ABOVE_i32_UNSIGNED(x) ((x) > -1)
#define IS_ABOVE_i64_SIGNED(x) ((x) >= -0x1p63)
#define IS_ABOVE_i64_UNSIGNED(x) ((x) > -1)
#define INT_i32_SIGNED int32_t
#define INT_i32_UNSIGNED uint32_t
#define INT_i64_SIGNED int64_t
#define INT_i64_UNSIGNED uint64_t
#define MIN_i32_SIGNED INT32_MIN
#define MIN_i32_UNSIGNED 0
#define MIN_i64_SIGNED INT64_MIN
#define MIN_i64_UNSIGNED 0
#define MAX_i32_SIGNED INT32_MAX
#define MAX_i32_UNSIGNED UINT32_MAX
#define MAX_i64_SIGNED INT64_MAX
#define MAX_i64_UNSIGNED UINT64_MAX

#define TRUNC(to, sign) TRUNC_, to, sign
#define DEF_TRUNC_(id, sig, to, sign)                                                          \
  static HANDLER(plain_##id) {                                                                 \
    OPERAND(sig) x = GET_OPERAND(sig, SLOT(pc->b));                                            \
    if (__builtin_expect(!(IS_ABOVE_##to##_##sign(x) && x < HIGH_##to##_##sign), 0))           \
      precise_trap(pc, store, x != x ? GW_TRAP_INVALID_CONVERSION : GW_TRAP_INTEGER_OVERFLOW); \
    SET_RESULT(sig, (INT_##to##_##sign)x);                                                     \
    NEXT;                                                                                      \
  }
#define TRUNC_SAT(to, sign) TRUNC_SAT_, to, sign
#define DEF_TRUNC_SAT_(id, sig, to, sign)                                                 \
  UNARY(id, sig,                                                                          \
        (RESULT(sig))(x != x                       ? 0                                    \
                      : !IS_ABOVE_##to##_##sign(x) ? (INT_##to##_##sign)MIN_##to##_##sign \
                      : !(x < HIGH_##to##_##sign)  ? (INT_##to##_##sign)MAX_##to##_##sign \
                                                   : (INT_##to##_##sign)x))

/* --- wide arithmetic: a = low, a + 1 slot = high; operands from b on ---------------------------------------------------- */

#define OPERANDS ((const union gw_value *)&SLOT(pc->b))
#define WIDE_HANDLER(id, expression)                   \
  static HANDLER(plain_##id) {                         \
    unsigned __int128 v = (expression);                \
    SLOT(pc->a).u64 = (uint64_t)v;                     \
    SLOT(pc->a + SLOT_SIZE).u64 = (uint64_t)(v >> 64); \
    NEXT;                                              \
  }
static inline unsigned __int128 wide(const union gw_value *low) { return (unsigned __int128)low[1].u64 << 64 | low[0].u64; }
#define WIDE(op) WIDE_, op
#define DEF_WIDE_(id, sig, op) WIDE_HANDLER(id, WIDE_##op)
#define WIDE_Add wide(OPERANDS) + wide(OPERANDS + 2)
#define WIDE_Sub wide(OPERANDS) - wide(OPERANDS + 2)
#define WIDE_MUL(how) WIDE_MUL_, how
#define DEF_WIDE_MUL_(id, sig, how) WIDE_HANDLER(id, (unsigned __int128)(WIDE_MUL_##how(0) * WIDE_MUL_##how(1)))
#define WIDE_MUL_SExt(i) ((__int128)OPERANDS[i].i64)
#define WIDE_MUL_ZExt(i) ((unsigned __int128)OPERANDS[i].u64)

/* --- memory ----------------------------------------------------------------------------------------------------------- */

#define NARROW_i8_NONE uint8_t
#define NARROW_i8_SEXT int8_t
#define NARROW_i8_ZEXT uint8_t
#define NARROW_i16_NONE uint16_t
#define NARROW_i16_SEXT int16_t
#define NARROW_i16_ZEXT uint16_t
#define NARROW_i32_NONE uint32_t
#define NARROW_i32_SEXT int32_t
#define NARROW_i32_ZEXT uint32_t
#define NARROW_i64_NONE uint64_t
/* Floats move as bits. */
#define NARROW_f32_NONE uint32_t
#define NARROW_f64_NONE uint64_t
#define WIDEN_i uint32_t
#define WIDEN_I uint64_t
#define WIDEN_f uint32_t
#define WIDEN_F uint64_t

#define LOAD_HANDLER(name, sig, type, address)   \
  static HANDLER(name) {                         \
    type v;                                      \
    memcpy(&v, address, sizeof v);               \
    SLOT(pc->a).u64 = (PASTE(WIDEN_, R_##sig))v; \
    NEXT;                                        \
  }
#define LOAD(type, extension) LOAD_, type, extension
#define DEF_LOAD_(id, sig, type, extension) LOADS(id, sig, NARROW_##type##_##extension)
#define LOADS(id, sig, type)                                                                          \
  LOAD_HANDLER(plain_##id, sig, type, precise_address(pc, store, memory, &SLOT(pc->b), sizeof(type))) \
  LOAD_HANDLER(elsewhere_##id, sig, type, precise_address_elsewhere(pc, store, &SLOT(pc->b), sizeof(type)))

#define STORE_HANDLER(name, type, address) \
  static HANDLER(name) {                   \
    type v = (type)SLOT(pc->b).u64;        \
    memcpy(address, &v, sizeof v);         \
    NEXT;                                  \
  }
#define STORE(type) STORE_, type
#define DEF_STORE_(id, sig, type) STORES(id, NARROW_##type##_NONE)
#define STORES(id, type)                                                                          \
  STORE_HANDLER(plain_##id, type, precise_address(pc, store, memory, &SLOT(pc->a), sizeof(type))) \
  STORE_HANDLER(elsewhere_##id, type, precise_address_elsewhere(pc, store, &SLOT(pc->a), sizeof(type)))

/* --- the table -------------------------------------------------------------------------------------------------------- */

#define ___ NONE_, 0
#define DEF_NONE_(id, sig, ...)
#define DEF_0(id, sig, ...)
#define DEF(id, sig, kind, ...) DEF_##kind(id, sig, __VA_ARGS__)
#define ROW(id, ...) DEF(id, __VA_ARGS__)
#define ROW_0(id, sig, ...) ROW(id, sig, __VA_ARGS__)
#define ROW_0xfb(id, ...)
#define ROW_0xfc(id, sig, ...) ROW(id, sig, __VA_ARGS__)
#define ROW_0xfd(id, ...)
#define ROW_0xfe(id, ...)
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) ROW_##prefix(id, sig, lower)
#include "frontend/opcode.def"
#undef OP

/* Which handlers each kind has. */
#define HAS_PLAIN(id) [OP_##id] = {.plain = plain_##id},
#define HAS_BOTH(id) [OP_##id] = {.plain = plain_##id, .constant = constant_##id},
#define HAS_BRANCHES(id)                                      \
  [OP_##id] = {.plain = plain_##id,                           \
               .constant = constant_##id,                     \
               .branch_if = branch_if_##id,                   \
               .branch_unless = branch_unless_##id,           \
               .constant_branch_if = constant_branch_if_##id, \
               .constant_branch_unless = constant_branch_unless_##id},
#define HAS_ACCESSES(id) [OP_##id] = {.plain = plain_##id, .elsewhere = elsewhere_##id},
#define TABLE_NONE_(id)
#define TABLE_0(id)
#define TABLE_BIN_ HAS_BOTH
#define TABLE_SHIFT_ HAS_BOTH
#define TABLE_ROT_ HAS_BOTH
#define TABLE_ICMP_ HAS_BRANCHES
#define TABLE_EQZ_ HAS_PLAIN
#define TABLE_DIV_ HAS_BOTH
#define TABLE_BITCOUNT_ HAS_PLAIN
#define TABLE_EXTEND_ HAS_PLAIN
#define TABLE_CAST_Trunc HAS_PLAIN
#define TABLE_CAST_SExt HAS_PLAIN
#define TABLE_CAST_ZExt HAS_PLAIN
#define TABLE_CAST_SIToFP HAS_PLAIN
#define TABLE_CAST_UIToFP HAS_PLAIN
#define TABLE_CAST_BitCast HAS_PLAIN
#define TABLE_FBIN_ HAS_BOTH
#define TABLE_FCMP_ HAS_BOTH
#define TABLE_FMINMAX_ HAS_BOTH
#define TABLE_FUN_ HAS_PLAIN
#define TABLE_FABS_ HAS_PLAIN
#define TABLE_FNEG_ HAS_PLAIN
#define TABLE_COPYSIGN_ HAS_PLAIN
#define TABLE_DEMOTE_ HAS_PLAIN
#define TABLE_PROMOTE_ HAS_PLAIN
#define TABLE_TRUNC_ HAS_PLAIN
#define TABLE_TRUNC_SAT_ HAS_PLAIN
#define TABLE_WIDE_ HAS_PLAIN
#define TABLE_WIDE_MUL_ HAS_PLAIN
#define TABLE_LOAD_ HAS_ACCESSES
#define TABLE_STORE_ HAS_ACCESSES

#undef DEF
#define DEF(id, sig, kind, ...) TABLE_##kind(id)
const struct precise_handlers precise_scalar[OP_COUNT] = {
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) ROW_##prefix(id, sig, lower)
#include "frontend/opcode.def"
#undef OP
};
