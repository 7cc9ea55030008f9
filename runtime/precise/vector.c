/* Vector instructions of the precise tier, made from the LOWER column of opcode.def as runtime/precise/scalar.c makes the scalar
 * ones: each kind of row is a value in terms of clang's vectors. Shapes are the column's: i8x16 to f64x2. */
#include "runtime/arch/x86_64/lanes.h"
#include "runtime/precise/private.h"

#include <string.h>

typedef lanes_bytes i8x16;
typedef uint16_t i16x8 __attribute__((vector_size(16)));
typedef uint32_t i32x4 __attribute__((vector_size(16)));
typedef uint64_t i64x2 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef double f64x2 __attribute__((vector_size(16)));
typedef int8_t s_i8x16 __attribute__((vector_size(16)));
typedef int16_t s_i16x8 __attribute__((vector_size(16)));
typedef int32_t s_i32x4 __attribute__((vector_size(16)));
typedef int64_t s_i64x2 __attribute__((vector_size(16)));
/* Halves. */
typedef uint8_t i8x8 __attribute__((vector_size(8)));
typedef int8_t s_i8x8 __attribute__((vector_size(8)));
typedef uint16_t i16x4 __attribute__((vector_size(8)));
typedef int16_t s_i16x4 __attribute__((vector_size(8)));
typedef uint32_t i32x2 __attribute__((vector_size(8)));
typedef int32_t s_i32x2 __attribute__((vector_size(8)));
typedef float f32x2 __attribute__((vector_size(8)));

/* Per shape: lanes; a lane; the signed form; half a vector of it and the vector of twice as wide lanes. */
enum { N_i8x16 = 16, N_i16x8 = 8, N_i32x4 = 4, N_i64x2 = 2, N_f32x4 = 4, N_f64x2 = 2 };
#define LANE_i8x16 uint8_t
#define LANE_i16x8 uint16_t
#define LANE_i32x4 uint32_t
#define LANE_i64x2 uint64_t
#define LANE_f32x4 uint32_t /* floats move as bits */
#define LANE_f64x2 uint64_t
#define BITS_i8x16 i8x16
#define BITS_i16x8 i16x8
#define BITS_i32x4 i32x4
#define BITS_i64x2 i64x2
#define BITS_f32x4 i32x4
#define BITS_f64x2 i64x2
#define HALF_i8x16 i8x8
#define HALF_i16x8 i16x4
#define HALF_i32x4 i32x2
#define WIDE_i8x16 i16x8
#define WIDE_i16x8 i32x4
#define WIDE_i32x4 i64x2

static inline i64x2 get(const union gw_value *slot) {
  i64x2 v;
  memcpy(&v, slot->v128, sizeof v);
  return v;
}

static inline void set(union gw_value *slot, i64x2 v) { memcpy(slot->v128, &v, sizeof v); }

/* --- handlers around values: x, y, z are the operands in the row's shape ------------------------------------------------- */

#define OPERANDS_v_v(shape) shape x = (shape)get(&SLOT(pc->b));
#define OPERANDS_v_vv(shape) OPERANDS_v_v(shape) shape y = (shape)get(&SLOT(pc->c));
#define OPERANDS_v_vvv(shape) OPERANDS_v_vv(shape) shape z = (shape)get(&SLOT(pc->d));
#define OPERANDS_v_vi(shape) OPERANDS_v_v(shape) const union gw_value *y = &SLOT(pc->c);
#define OPERANDS_v_vI OPERANDS_v_vi
#define OPERANDS_v_vf OPERANDS_v_vi
#define OPERANDS_v_vF OPERANDS_v_vi
#define OPERANDS_v_i(shape) const union gw_value *x = &SLOT(pc->b);
#define OPERANDS_v_I OPERANDS_v_i
#define OPERANDS_v_f OPERANDS_v_i
#define OPERANDS_v_F OPERANDS_v_i
#define OPERANDS_i_v OPERANDS_v_v
#define OPERANDS_I_v OPERANDS_v_v
#define OPERANDS_f_v OPERANDS_v_v
#define OPERANDS_F_v OPERANDS_v_v

#define VECTOR(id, sig, shape, ...)                                \
  static HANDLER(plain_##id) {                                     \
    OPERANDS_##sig(shape) set(&SLOT(pc->a), (i64x2)(__VA_ARGS__)); \
    NEXT;                                                          \
  }
#define SCALAR(id, sig, shape, ...)                        \
  static HANDLER(plain_##id) {                             \
    OPERANDS_##sig(shape) SLOT(pc->a).u64 = (__VA_ARGS__); \
    NEXT;                                                  \
  }
/* `v` is the result, made by statements. */
#define LOOP(id, sig, shape, result, ...) \
  static HANDLER(plain_##id) {            \
    OPERANDS_##sig(shape) result v = {0}; \
    __VA_ARGS__                           \
    set(&SLOT(pc->a), (i64x2)v);          \
    NEXT;                                 \
  }

/* --- memory ------------------------------------------------------------------------------------------------------------ */

#define READER(name, where, type, ...)       \
  static HANDLER(name) {                     \
    type m;                                  \
    const void *from = where(sizeof m);      \
    memcpy(&m, from, sizeof m);              \
    set(&SLOT(pc->a), (i64x2)(__VA_ARGS__)); \
    NEXT;                                    \
  }
#define HERE(size) precise_address(pc, store, memory, &SLOT(pc->b), size)
#define ELSEWHERE(size) precise_address_elsewhere(pc, store, &SLOT(pc->b), size)
#define READERS(id, type, ...)                \
  READER(plain_##id, HERE, type, __VA_ARGS__) \
  READER(elsewhere_##id, ELSEWHERE, type, __VA_ARGS__)

#define VLOAD() VLOAD_, 0
#define DEF_VLOAD_(id, sig, unused) READERS(id, i64x2, m)
#define VLOAD_EXTEND(shape, how) VLOAD_EXTEND_, shape, how
#define DEF_VLOAD_EXTEND_(id, sig, shape, how) \
  READERS(id, NARROWER_##how##_##shape, __builtin_convertvector(m, WIDER_##how##_##shape))
#define NARROWER_SExt_i16x8 s_i8x8
#define NARROWER_ZExt_i16x8 i8x8
#define NARROWER_SExt_i32x4 s_i16x4
#define NARROWER_ZExt_i32x4 i16x4
#define NARROWER_SExt_i64x2 s_i32x2
#define NARROWER_ZExt_i64x2 i32x2
#define WIDER_SExt_i16x8 s_i16x8
#define WIDER_ZExt_i16x8 i16x8
#define WIDER_SExt_i32x4 s_i32x4
#define WIDER_ZExt_i32x4 i32x4
#define WIDER_SExt_i64x2 s_i64x2
#define WIDER_ZExt_i64x2 i64x2
#define VLOAD_SPLAT(shape) VLOAD_SPLAT_, shape
#define DEF_VLOAD_SPLAT_(id, sig, shape) READERS(id, LANE_##shape, m - (shape){0})
#define VLOAD_ZERO(shape) VLOAD_ZERO_, shape
#define DEF_VLOAD_ZERO_(id, sig, shape) READERS(id, LANE_##shape, (shape){m})

/* The vector and the lane were selected by the instruction before. */
#define VLOAD_LANE(shape) VLOAD_LANE_, shape
#define DEF_VLOAD_LANE_(id, sig, shape) \
  READERS(id, LANE_##shape, with_lane_##shape((shape)get(&store->precise.vector), store->precise.lane, m))
#define WITH_LANE(shape)                                                          \
  static inline shape with_lane_##shape(shape v, uint32_t lane, LANE_##shape x) { \
    BITS_##shape bits = (BITS_##shape)v;                                          \
    bits[lane] = x;                                                               \
    return (shape)bits;                                                           \
  }
WITH_LANE(i8x16)
WITH_LANE(i16x8)
WITH_LANE(i32x4)
WITH_LANE(i64x2)
WITH_LANE(f32x4)
WITH_LANE(f64x2)

#define WRITER(name, address, type, ...) \
  static HANDLER(name) {                 \
    type v = (__VA_ARGS__);              \
    memcpy(address, &v, sizeof v);       \
    NEXT;                                \
  }
#define WRITERS(id, type, ...)                                                                      \
  WRITER(plain_##id, precise_address(pc, store, memory, &SLOT(pc->a), sizeof v), type, __VA_ARGS__) \
  WRITER(elsewhere_##id, precise_address_elsewhere(pc, store, &SLOT(pc->a), sizeof v), type, __VA_ARGS__)
#define VSTORE() VSTORE_, 0
#define DEF_VSTORE_(id, sig, unused) WRITERS(id, i64x2, get(&SLOT(pc->b)))
#define VSTORE_LANE(shape) VSTORE_LANE_, shape
#define DEF_VSTORE_LANE_(id, sig, shape) WRITERS(id, LANE_##shape, ((shape)get(&store->precise.vector))[store->precise.lane])

/* --- lanes ------------------------------------------------------------------------------------------------------------- */

#define LANE_OF(shape, slot) (*(const LANE_##shape *)(const void *)(slot)) /* little endian */
#define VSPLAT(shape) VSPLAT_, shape
#define DEF_VSPLAT_(id, sig, shape) VECTOR(id, sig, shape, LANE_OF(shape, x) - (BITS_##shape){0})
#define VEXTRACT(shape, how) VEXTRACT_, shape, how
#define DEF_VEXTRACT_(id, sig, shape, how) SCALAR(id, sig, BITS_##shape, EXTRACT_##how(shape, x[pc->c]))
#define EXTRACT_NONE(shape, lane) lane
#define EXTRACT_ZExt(shape, lane) lane
#define EXTRACT_SExt(shape, lane) (uint32_t)((s_##shape)x)[pc->c]
#define VREPLACE(shape) VREPLACE_, shape
#define DEF_VREPLACE_(id, sig, shape) VECTOR(id, sig, shape, with_lane_##shape(x, pc->d, LANE_OF(shape, y)))

/* Operands side by side in b. Indices of one are no lanes of the other. */
#define VSHUFFLE() VSHUFFLE_, 0
#define DEF_VSHUFFLE_(id, sig, unused)                                                            \
  static HANDLER(plain_##id) {                                                                    \
    i8x16 mask;                                                                                   \
    memcpy(&mask, pc->pointer, sizeof mask);                                                      \
    i8x16 low = (i8x16)get(&SLOT(pc->b)), high = (i8x16)get(&SLOT(pc->b) + 1);                    \
    set(&SLOT(pc->a), (i64x2)(lanes_select(low, mask) | lanes_select(high, (i8x16)(mask - 16)))); \
    NEXT;                                                                                         \
  }
#define VSWIZZLE() VSWIZZLE_, 0
#define DEF_VSWIZZLE_(id, sig, unused) VECTOR(id, sig, i8x16, lanes_select(x, y))

/* --- bits and tests -------------------------------------------------------------------------------------------------------- */

#define VNOT() VNOT_, 0
#define DEF_VNOT_(id, sig, unused) VECTOR(id, sig, i64x2, ~x)
#define VANDNOT() VANDNOT_, 0
#define DEF_VANDNOT_(id, sig, unused) VECTOR(id, sig, i64x2, x & ~y)
#define VBITSELECT() VBITSELECT_, 0
#define DEF_VBITSELECT_(id, sig, unused) VECTOR(id, sig, i64x2, (x & z) | (y & ~z))
#define VANY_TRUE() VANY_TRUE_, 0
#define DEF_VANY_TRUE_(id, sig, unused) SCALAR(id, sig, i64x2, (x[0] | x[1]) != 0)
#define VALL_TRUE(shape) VALL_TRUE_, shape
#define DEF_VALL_TRUE_(id, sig, shape) SCALAR(id, sig, shape, all_true_##shape(x))
#define VBITMASK(shape) VBITMASK_, shape
#define DEF_VBITMASK_(id, sig, shape) SCALAR(id, sig, shape, bitmask_##shape(x))
#define TESTS(shape)                                                                    \
  static inline uint32_t all_true_##shape(shape x) {                                    \
    uint32_t all = 1;                                                                   \
    for (int i = 0; i < N_##shape; i++) all &= x[i] != 0;                               \
    return all;                                                                         \
  }                                                                                     \
  static inline uint32_t bitmask_##shape(shape x) {                                     \
    uint32_t mask = 0;                                                                  \
    for (int i = 0; i < N_##shape; i++) mask |= (uint32_t)(((s_##shape)x)[i] < 0) << i; \
    return mask;                                                                        \
  }
TESTS(i8x16)
TESTS(i16x8)
TESTS(i32x4)
TESTS(i64x2)

#define VICMP(shape, p) VICMP_, shape, p
#define DEF_VICMP_(id, sig, shape, p) VECTOR(id, sig, shape, VICMP_##p(shape))
#define VICMP_EQ(shape) x == y
#define VICMP_NE(shape) x != y
#define VICMP_SLT(shape) (s_##shape) x < (s_##shape)y
#define VICMP_SGT(shape) (s_##shape) x > (s_##shape)y
#define VICMP_SLE(shape) (s_##shape) x <= (s_##shape)y
#define VICMP_SGE(shape) (s_##shape) x >= (s_##shape)y
#define VICMP_ULT(shape) x < y
#define VICMP_UGT(shape) x > y
#define VICMP_ULE(shape) x <= y
#define VICMP_UGE(shape) x >= y
#define VFCMP(shape, p) VFCMP_, shape, p
#define DEF_VFCMP_(id, sig, shape, p) VECTOR(id, sig, shape, VFCMP_##p)
#define VFCMP_OEQ x == y
#define VFCMP_UNE x != y
#define VFCMP_OLT x < y
#define VFCMP_OGT x > y
#define VFCMP_OLE x <= y
#define VFCMP_OGE x >= y

/* --- integers ----------------------------------------------------------------------------------------------------------------
 */

#define VBIN(shape, op) VBIN_, shape, op
#define DEF_VBIN_(id, sig, shape, op) VECTOR(id, sig, shape, VBIN_##op)
#define VBIN_Add x + y
#define VBIN_Sub x - y
#define VBIN_Mul x *y
#define VBIN_And x &y
#define VBIN_Or x | y
#define VBIN_Xor x ^ y
#define VNEG(shape) VNEG_, shape
#define DEF_VNEG_(id, sig, shape) VECTOR(id, sig, shape, (shape){0} - x)
#define VABS(shape) VABS_, shape
#define DEF_VABS_(id, sig, shape) VECTOR(id, sig, shape, (shape)__builtin_elementwise_abs((s_##shape)x))
#define VSHIFT(shape, op) VSHIFT_, shape, op
#define DEF_VSHIFT_(id, sig, shape, op) VECTOR(id, sig, shape, VSHIFT_##op(shape))
#define AMOUNT(shape) ((LANE_##shape)(y->u32 & (128 / N_##shape - 1)))
#define VSHIFT_Shl(shape) x << (AMOUNT(shape) - (shape){0})
#define VSHIFT_LShr(shape) x >> (AMOUNT(shape) - (shape){0})
#define VSHIFT_AShr(shape) (shape)((s_##shape)x >> (s_##shape)(AMOUNT(shape) - (shape){0}))

/* NaNs that an operation makes become the canonical one. */
#define CANONICAL(shape, nan)                                                             \
  static inline shape canonical_##shape(shape v) {                                        \
    BITS_##shape is_nan = (BITS_##shape)(v != v);                                         \
    return (shape)(((BITS_##shape)v & ~is_nan) | (((nan) - (BITS_##shape){0}) & is_nan)); \
  }
CANONICAL(f32x4, UINT32_C(0x7fc00000))
CANONICAL(f64x2, UINT64_C(0x7ff8000000000000))
/* See runtime/precise/scalar.c. */
#define ROOT(shape, least)                                                                                          \
  static inline shape root_##shape(shape x) {                                                                       \
    BITS_##shape is_nan = (BITS_##shape) ~(x > (least) + (shape){0});                                               \
    return (shape)(((BITS_##shape)__builtin_elementwise_sqrt(x) & ~is_nan) | ((BITS_##shape)NAN_##shape & is_nan)); \
  }
#define NAN_f32x4 (UINT32_C(0x7fc00000) - (i32x4){0})
#define NAN_f64x2 (UINT64_C(0x7ff8000000000000) - (i64x2){0})
ROOT(f32x4, -0x1p-149f)
ROOT(f64x2, -0x1p-1074)

/* Intrinsics by name. */
#define VFUN(shape, ...) VFUN_, shape, __VA_ARGS__
#define DEF_VFUN_(id, sig, shape, ...) VFUN_NAMED(id, sig, shape, #__VA_ARGS__)
#define VFUN_NAMED(id, sig, shape, name) VECTOR(id, sig, shape, function_##shape(name, VFUN_ARGS_##sig))
#define VFUN_ARGS_v_v x, x
#define VFUN_ARGS_v_vv x, y

/* All that rows name, picked by the name, which is constant: the compiler keeps one. */
#define IS(text) (__builtin_strcmp(name, text) == 0)
#define SMALL_FUNCTIONS(shape)                                                                 \
  if (IS("sadd.sat")) return (shape)__builtin_elementwise_add_sat((s_##shape)x, (s_##shape)y); \
  if (IS("uadd.sat")) return __builtin_elementwise_add_sat(x, y);                              \
  if (IS("ssub.sat")) return (shape)__builtin_elementwise_sub_sat((s_##shape)x, (s_##shape)y); \
  if (IS("usub.sat")) return __builtin_elementwise_sub_sat(x, y);                              \
  if (IS("ctpop")) return __builtin_elementwise_popcount(x);                                   \
  if (IS("smin")) return (shape)__builtin_elementwise_min((s_##shape)x, (s_##shape)y);         \
  if (IS("smax")) return (shape)__builtin_elementwise_max((s_##shape)x, (s_##shape)y);         \
  if (IS("umin")) return __builtin_elementwise_min(x, y);                                      \
  if (IS("umax")) return __builtin_elementwise_max(x, y);
#define FLOAT_FUNCTIONS(shape)                                                       \
  if (IS("ceil")) return canonical_##shape(__builtin_elementwise_ceil(x));           \
  if (IS("floor")) return canonical_##shape(__builtin_elementwise_floor(x));         \
  if (IS("trunc")) return canonical_##shape(__builtin_elementwise_trunc(x));         \
  if (IS("roundeven")) return canonical_##shape(__builtin_elementwise_roundeven(x)); \
  if (IS("sqrt")) return root_##shape(x);                                            \
  if (IS("fabs")) return __builtin_elementwise_abs(x);
#define FUNCTIONS(shape, cases)                                                                             \
  static inline __attribute__((always_inline)) shape function_##shape(const char *name, shape x, shape y) { \
    (void)y;                                                                                                \
    cases(shape) __builtin_unreachable();                                                                   \
  }
FUNCTIONS(i8x16, SMALL_FUNCTIONS)
FUNCTIONS(i16x8, SMALL_FUNCTIONS)
FUNCTIONS(i32x4, SMALL_FUNCTIONS)
FUNCTIONS(f32x4, FLOAT_FUNCTIONS)
FUNCTIONS(f64x2, FLOAT_FUNCTIONS)

/* A lane of twice the width as what it is extended from. */
#define SIGNED_LANE_i8x16 int8_t
#define SIGNED_LANE_i16x8 int16_t
#define SIGNED_LANE_i32x4 int32_t
#define UP_SExt(shape, v) ((int64_t)(SIGNED_LANE_##shape)(v))
#define UP_ZExt(shape, v) ((int64_t)(v))
#define EACH(n) for (int i = 0; i < (n); i++)
#define FROM_LOW(shape) 0
#define FROM_HIGH(shape) (N_##shape / 2)

#define VAVGR(shape) VAVGR_, shape
#define DEF_VAVGR_(id, sig, shape) VECTOR(id, sig, shape, (x | y) - ((x ^ y) >> 1))
#define VNARROW(shape, sign) VNARROW_, shape, sign
#define DEF_VNARROW_(id, sig, shape, sign) \
  VECTOR(id, sig, shape, halves_##shape(CLAMPED_##sign(shape, x), CLAMPED_##sign(shape, y)))
/* Of lanes that hold `bits` bits each when they are narrow. */
#define CLAMPED_SIGNED(shape, v) between_##shape(v, -(1 << (NARROW_BITS(shape) - 1)), (1 << (NARROW_BITS(shape) - 1)) - 1)
#define CLAMPED_UNSIGNED(shape, v) between_##shape(v, 0, (1 << NARROW_BITS(shape)) - 1)
#define NARROW_BITS(shape) (64 / N_##shape)
#define BETWEEN(shape)                                                                                              \
  static inline shape between_##shape(shape v, int low, int high) {                                                 \
    s_##shape least = (SIGNED_LANE_##shape)low - (s_##shape){0}, most = (SIGNED_LANE_##shape)high - (s_##shape){0}; \
    return (shape)__builtin_elementwise_min(__builtin_elementwise_max((s_##shape)v, least), most);                  \
  }
BETWEEN(i16x8)
BETWEEN(i32x4)
/* The lower half of each lane. */
static inline i8x16 halves_i16x8(i16x8 x, i16x8 y) {
  return __builtin_shufflevector((i8x16)x, (i8x16)y, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
static inline i16x8 halves_i32x4(i32x4 x, i32x4 y) {
  return __builtin_shufflevector((i16x8)x, (i16x8)y, 0, 2, 4, 6, 8, 10, 12, 14);
}
static inline int64_t clamp(int64_t v, int64_t low, int64_t high) { return v < low ? low : v > high ? high : v; }
static inline int64_t clamp_SIGNED(int64_t v, int bits) {
  return clamp(v, -(INT64_C(1) << (bits - 1)), (INT64_C(1) << (bits - 1)) - 1);
}

#define VEXTEND(shape, half, how) VEXTEND_, shape, half, how
#define DEF_VEXTEND_(id, sig, shape, half, how) \
  LOOP(id, sig, shape, WIDE_##shape, EACH(N_##shape / 2) v[i] = (WIDE_LANE_##shape)UP_##how(shape, x[FROM_##half(shape) + i]);)
#define WIDE_LANE_i8x16 uint16_t
#define WIDE_LANE_i16x8 uint32_t
#define WIDE_LANE_i32x4 uint64_t
#define VEXTMUL(shape, half, how) VEXTMUL_, shape, half, how
#define DEF_VEXTMUL_(id, sig, shape, half, how)                                                              \
  LOOP(id, sig, shape, WIDE_##shape,                                                                         \
       EACH(N_##shape / 2) v[i] = (WIDE_LANE_##shape)((uint64_t)UP_##how(shape, x[FROM_##half(shape) + i]) * \
                                                      (uint64_t)UP_##how(shape, y[FROM_##half(shape) + i]));)
#define VEXTADD(shape, how) VEXTADD_, shape, how
#define DEF_VEXTADD_(id, sig, shape, how) \
  LOOP(id, sig, shape, WIDE_##shape,      \
       EACH(N_##shape / 2) v[i] = (WIDE_LANE_##shape)(UP_##how(shape, x[2 * i]) + UP_##how(shape, x[2 * i + 1]));)
#define PRODUCT(i) ((int64_t)(int16_t)x[i] * (int16_t)y[i])
#define VDOT() VDOT_, 0
#define DEF_VDOT_(id, sig, unused) LOOP(id, sig, i16x8, i32x4, EACH(4) v[i] = (uint32_t)(PRODUCT(2 * i) + PRODUCT(2 * i + 1));)
#define VQ15MULR() VQ15MULR_, 0
#define DEF_VQ15MULR_(id, sig, unused) \
  LOOP(id, sig, i16x8, i16x8, EACH(8) v[i] = (uint16_t)clamp_SIGNED((PRODUCT(i) + 0x4000) >> 15, 16);)
/* Pairs of products of bytes, saturated. */
static inline int64_t byte_dot(i8x16 x, i8x16 y, int i) {
  int64_t sum = (int8_t)x[2 * i] * (int8_t)y[2 * i] + (int8_t)x[2 * i + 1] * (int8_t)y[2 * i + 1];
  return clamp_SIGNED(sum, 16);
}
#define VRELAXED_DOT() VRELAXED_DOT_, 0
#define DEF_VRELAXED_DOT_(id, sig, unused) LOOP(id, sig, i8x16, i16x8, EACH(8) v[i] = (uint16_t)byte_dot(x, y, i);)
#define VRELAXED_DOT_ADD() VRELAXED_DOT_ADD_, 0
#define DEF_VRELAXED_DOT_ADD_(id, sig, unused) \
  LOOP(id, sig, i8x16, i32x4, EACH(4) v[i] = (uint32_t)(byte_dot(x, y, 2 * i) + byte_dot(x, y, 2 * i + 1)) + ((i32x4)z)[i];)

/* --- floats: one operation at a time, as the processor does it; NaNs become canonical --------------------------------
 */

#define VFBIN(shape, op) VFBIN_, shape, op
#define DEF_VFBIN_(id, sig, shape, op) VECTOR(id, sig, shape, canonical_##shape(VFBIN_##op))
#define VFBIN_FAdd x + y
#define VFBIN_FSub x - y
#define VFBIN_FMul x *y
#define VFBIN_FDiv x / y
#define VFNEG(shape) VFNEG_, shape
#define DEF_VFNEG_(id, sig, shape) VECTOR(id, sig, shape, -x)
#define VFMINMAX(shape, name) VFMINMAX_, shape, name
#define DEF_VFMINMAX_(id, sig, shape, name) \
  LOOP(id, sig, shape, shape, EACH(N_##shape) v[i] = name##_of(x[i], y[i]); v = canonical_##shape(v);)
/* As in runtime/precise/scalar.c. */
#define MINMAX(name, type, zero, relation)  \
  static inline type name(type x, type y) { \
    if (x != x || y != y) return x + y;     \
    if (x == y) return (zero) ? x : y;      \
    return x relation y ? x : y;            \
  }
MINMAX(minimum_f32, float, __builtin_signbit(x), <)
MINMAX(minimum_f64, double, __builtin_signbit(x), <)
MINMAX(maximum_f32, float, !__builtin_signbit(x), >)
MINMAX(maximum_f64, double, !__builtin_signbit(x), >)
#define minimum_of(x, y) _Generic((x), float : minimum_f32, double : minimum_f64)(x, y)
#define maximum_of(x, y) _Generic((x), float : maximum_f32, double : maximum_f64)(x, y)

/* Bits pass as they are. */
#define VPMIN(shape) VPMIN_, shape
#define DEF_VPMIN_(id, sig, shape) VECTOR(id, sig, shape, ((i64x2)(y < x) & (i64x2)y) | (~(i64x2)(y < x) & (i64x2)x))
#define VPMAX(shape) VPMAX_, shape
#define DEF_VPMAX_(id, sig, shape) VECTOR(id, sig, shape, ((i64x2)(y > x) & (i64x2)y) | (~(i64x2)(y > x) & (i64x2)x))

#define VMADD(shape, is_negated) VMADD_, shape, is_negated
#define DEF_VMADD_(id, sig, shape, is_negated) VECTOR(id, sig, shape, canonical_##shape(((is_negated) ? -x : x) * y + z))

#define VCONVERT(to, op) VCONVERT_, to, op
#define DEF_VCONVERT_(id, sig, to, op) VECTOR(id, sig, i32x4, convert_##to##_##op(x))
static inline f32x4 convert_f32x4_SIToFP(i32x4 x) { return __builtin_convertvector((s_i32x4)x, f32x4); }
static inline f32x4 convert_f32x4_UIToFP(i32x4 x) { return __builtin_convertvector(x, f32x4); }
static inline f64x2 convert_f64x2_SIToFP(i32x4 x) { return (f64x2){(int32_t)x[0], (int32_t)x[1]}; }
static inline f64x2 convert_f64x2_UIToFP(i32x4 x) { return (f64x2){x[0], x[1]}; }

#define VTRUNC_SAT(shape, sign) VTRUNC_SAT_, shape, sign
#define DEF_VTRUNC_SAT_(id, sig, shape, sign) LOOP(id, sig, shape, i32x4, EACH(N_##shape) v[i] = saturate_##sign(x[i]);)
static inline uint32_t saturate_SIGNED(double v) {
  return v != v ? 0 : v <= -0x1p31 ? (uint32_t)INT32_MIN : v >= 0x1p31 ? INT32_MAX : (uint32_t)(int32_t)v;
}
static inline uint32_t saturate_UNSIGNED(double v) { return !(v > -1) ? 0 : v >= 0x1p32 ? UINT32_MAX : (uint32_t)v; }

#define VDEMOTE() VDEMOTE_, 0
#define DEF_VDEMOTE_(id, sig, unused) VECTOR(id, sig, f64x2, canonical_f32x4((f32x4){(float)x[0], (float)x[1]}))
#define VPROMOTE() VPROMOTE_, 0
#define DEF_VPROMOTE_(id, sig, unused) VECTOR(id, sig, f32x4, canonical_f64x2((f64x2){x[0], x[1]}))

/* --- the table
 * -------------------------------------------------------------------------------------------------------------------- */

#define VCONST() NONE_, 0
#define DEF_NONE_(id, sig, ...)
#define DEF(id, sig, kind, ...) DEF_##kind(id, sig, __VA_ARGS__)
#define ROW_0(id, ...)
#define ROW_0xfb(id, ...)
#define ROW_0xfc(id, ...)
#define ROW_0xfd(id, ...) DEF(id, __VA_ARGS__)
#define ROW_0xfe(id, ...)
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) ROW_##prefix(id, sig, lower)
#include "frontend/opcode.def"
#undef OP

#define HAS_PLAIN(id) [OP_##id] = {.plain = plain_##id},
#define HAS_ACCESSES(id) [OP_##id] = {.plain = plain_##id, .elsewhere = elsewhere_##id},
#define TABLE_NONE_(id)
#define TABLE_VLOAD_ HAS_ACCESSES
#define TABLE_VLOAD_EXTEND_ HAS_ACCESSES
#define TABLE_VLOAD_SPLAT_ HAS_ACCESSES
#define TABLE_VLOAD_ZERO_ HAS_ACCESSES
#define TABLE_VLOAD_LANE_ HAS_ACCESSES
#define TABLE_VSTORE_ HAS_ACCESSES
#define TABLE_VSTORE_LANE_ HAS_ACCESSES
#define TABLE_VSPLAT_ HAS_PLAIN
#define TABLE_VEXTRACT_ HAS_PLAIN
#define TABLE_VREPLACE_ HAS_PLAIN
#define TABLE_VSHUFFLE_ HAS_PLAIN
#define TABLE_VSWIZZLE_ HAS_PLAIN
#define TABLE_VNOT_ HAS_PLAIN
#define TABLE_VANDNOT_ HAS_PLAIN
#define TABLE_VBITSELECT_ HAS_PLAIN
#define TABLE_VANY_TRUE_ HAS_PLAIN
#define TABLE_VALL_TRUE_ HAS_PLAIN
#define TABLE_VBITMASK_ HAS_PLAIN
#define TABLE_VICMP_ HAS_PLAIN
#define TABLE_VFCMP_ HAS_PLAIN
#define TABLE_VBIN_ HAS_PLAIN
#define TABLE_VNEG_ HAS_PLAIN
#define TABLE_VABS_ HAS_PLAIN
#define TABLE_VSHIFT_ HAS_PLAIN
#define TABLE_VFUN_ HAS_PLAIN
#define TABLE_VAVGR_ HAS_PLAIN
#define TABLE_VNARROW_ HAS_PLAIN
#define TABLE_VEXTEND_ HAS_PLAIN
#define TABLE_VEXTMUL_ HAS_PLAIN
#define TABLE_VEXTADD_ HAS_PLAIN
#define TABLE_VDOT_ HAS_PLAIN
#define TABLE_VQ15MULR_ HAS_PLAIN
#define TABLE_VRELAXED_DOT_ HAS_PLAIN
#define TABLE_VRELAXED_DOT_ADD_ HAS_PLAIN
#define TABLE_VFBIN_ HAS_PLAIN
#define TABLE_VFNEG_ HAS_PLAIN
#define TABLE_VFMINMAX_ HAS_PLAIN
#define TABLE_VPMIN_ HAS_PLAIN
#define TABLE_VPMAX_ HAS_PLAIN
#define TABLE_VMADD_ HAS_PLAIN
#define TABLE_VCONVERT_ HAS_PLAIN
#define TABLE_VTRUNC_SAT_ HAS_PLAIN
#define TABLE_VDEMOTE_ HAS_PLAIN
#define TABLE_VPROMOTE_ HAS_PLAIN

#undef DEF
#define DEF(id, sig, kind, ...) TABLE_##kind(id)
const struct precise_handlers precise_vector[OP_COUNT] = {
#define OP(id, prefix, code, text, imm, sig, cost, flow, feature, lower) ROW_##prefix(id, sig, lower)
#include "frontend/opcode.def"
#undef OP
};
