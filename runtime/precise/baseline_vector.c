/* Machine code of vector instructions. Vectors stay in slots, which are aligned: an instruction loads its operands to xmm0 and
 * xmm1 and stores its result, and no register ever holds a vector's slot. What SSE4.1 has no few instructions for runs the
 * interpreter's handler. */
#include "runtime/precise/emitter.h"

enum { X0 = 0, X1 = 1 };
#define PXOR P66(0x0fef)
#define POR P66(0x0feb)
#define PAND P66(0x0fdb)
#define PANDN P66(0x0fdf)
#define PCMPEQD P66(0x0f76)
#define PTEST P66(0x0f3817)
#define PSHUFB P66(0x0f3800)

static bool is_wide(const struct baseline_entry *k) { return k->flags & VECTOR_WIDE; }

static void op(struct emitter *e, uint32_t opcode, int to, int from) { x86_rr(e->x, W32, opcode, to, from); }

static void get(struct emitter *e, int to, uint32_t offset) { x86_rm(e->x, W32, 0x0f10, to, FIXED_FP, (int32_t)offset); }

/* A register may still have what the slot held before. */
static void put(struct emitter *e, int from, uint32_t offset) {
  uint8_t r = e->where[offset / SLOT_SIZE];
  if (r != NO_REG) emitter_forget(e, BIT(r));
  x86_rm(e->x, W32, 0x0f11, from, FIXED_FP, (int32_t)offset);
}

static void shift_all(struct emitter *e, uint32_t opcode, unsigned operation, int r, unsigned count) {
  x86_rr(e->x, W32, opcode, (int)operation, r);
  x86_byte(e->x, count);
}

static void shuffle(struct emitter *e, uint32_t opcode, int r) {
  op(e, opcode, r, r);
  x86_byte(e->x, 0);
}

static void negate(struct emitter *e, int r, int scratch) {
  op(e, PCMPEQD, scratch, scratch);
  op(e, PXOR, r, scratch);
}

/* --- two operands ----------------------------------------------------------------------------------------------------------- */

static void get_two(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  bool is_swapped = k->flags & VECTOR_SWAPPED;
  get(e, X0, is_swapped ? p->c : p->b);
  get(e, X1, is_swapped ? p->b : p->c);
}

static void emit_two(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get_two(e, p, k);
  op(e, k->detail, X0, X1);
  if (k->flags & VECTOR_NEGATED) negate(e, X0, X1);
  put(e, X0, p->a);
}

/* x is no more than y where the lesser of both is x, and likewise. */
static void emit_order(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  static const uint32_t equal[] = {P66(0x0f74), P66(0x0f75), P66(0x0f76)};
  get(e, X0, p->b);
  get(e, X1, p->c);
  op(e, k->detail, X1, X0);
  op(e, equal[k->flags >> VECTOR_LANES], X0, X1);
  if (k->flags & VECTOR_NEGATED) negate(e, X0, X1);
  put(e, X0, p->a);
}

static void emit_select(struct emitter *e, const struct precise_insn *p) {
  get(e, X0, p->d);
  get(e, X1, p->b);
  op(e, PAND, X1, X0);
  x86_rm(e->x, W32, PANDN, X0, FIXED_FP, (int32_t)p->c);
  op(e, POR, X0, X1);
  put(e, X0, p->a);
}

static void emit_shift(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  x86_move(e->x, W32, RAX, emitter_use(e, p->c, 'i'));
  emitter_done_with(e, p->c);
  x86_ri(e->x, W32, 4, RAX, k->flags);
  op(e, P66(0x0f6e), X1, RAX);
  get(e, X0, p->b);
  op(e, k->detail, X0, X1);
  put(e, X0, p->a);
}

/* --- one operand ------------------------------------------------------------------------------------------------------------ */

static void emit_one(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get(e, X0, p->b);
  if (k->flags & VECTOR_HIGH) shift_all(e, P66(0x0f73), 3, X0, 8);
  op(e, k->detail, X0, X0);
  put(e, X0, p->a);
}

static void emit_not(struct emitter *e, const struct precise_insn *p) {
  get(e, X0, p->b);
  negate(e, X0, X1);
  put(e, X0, p->a);
}

static void emit_negative(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get(e, X1, p->b);
  op(e, PXOR, X0, X0);
  op(e, k->detail, X0, X1);
  put(e, X0, p->a);
}

static void emit_test(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get(e, X0, p->b);
  if (k->detail) { /* lanes that are 0 */
    op(e, PXOR, X1, X1);
    op(e, k->detail, X0, X1);
  }
  op(e, PTEST, X0, X0);
  x86_rr(e->x, W8, 0x0f90 | (k->detail ? CC_E : CC_NE), 0, RAX);
  int to = emitter_define(e, p->a, 'i');
  x86_rr(e->x, W8, 0x0fb6, to, RAX);
  emitter_finish(e, to);
}

/* Of words, whose signs become those of bytes. */
static void emit_bitmask(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get(e, X0, p->b);
  if (k->flags) {
    op(e, PXOR, X1, X1);
    op(e, P66(0x0f63), X0, X1);
  }
  int to = emitter_define(e, p->a, 'i');
  x86_rr(e->x, W32, k->detail, to, X0);
  emitter_finish(e, to);
}

/* --- floats ----------------------------------------------------------------------------------------------------------------- */

/* Compares xmm0 with a register. */
static void compare(struct emitter *e, bool is_f64, int to, int from, unsigned predicate) {
  op(e, is_f64 ? P66(0x0fc2) : 0x0fc2, to, from);
  x86_byte(e->x, predicate);
}

/* Every NaN of xmm0 becomes the canonical one: of all bits, shifted up to the exponent's end and then by the sign. */
static void put_canonical(struct emitter *e, uint32_t offset, bool is_f64) {
  enum { UNORDERED = 3, SHL = 6, SHR = 2 };
  uint32_t by_constant = is_f64 ? P66(0x0f73) : P66(0x0f72);
  put(e, X0, offset);
  compare(e, is_f64, X0, X0, UNORDERED);
  op(e, 0x0f50, RAX, X0);
  x86_rr(e->x, W32, 0x85, RAX, RAX);
  uint32_t over = x86_skip_if(e->x, CC_E);
  op(e, 0x0f28, X1, X0);
  x86_rm(e->x, W32, PANDN, X0, FIXED_FP, (int32_t)offset);
  shift_all(e, by_constant, SHL, X1, is_f64 ? 52 : 23);
  shift_all(e, by_constant, SHR, X1, 1);
  op(e, POR, X0, X1);
  put(e, X0, offset);
  x86_land(e->x, over);
}

static void emit_float(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get_two(e, p, k);
  op(e, k->detail, X0, X1);
  put_canonical(e, p->a, is_wide(k));
}

static void emit_float_compare(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get_two(e, p, k);
  compare(e, is_wide(k), X0, X1, k->detail);
  put(e, X0, p->a);
}

static void emit_float_negative(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get(e, X0, p->b);
  op(e, PCMPEQD, X1, X1);
  shift_all(e, is_wide(k) ? P66(0x0f73) : P66(0x0f72), 6, X1, is_wide(k) ? 63 : 31);
  op(e, PXOR, X0, X1);
  put(e, X0, p->a);
}

/* Also of NaNs, roundings and roots make the canonical one. */
static void emit_float_one(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  unsigned mode = k->flags >> VECTOR_LANES;
  get(e, X0, p->b);
  op(e, k->detail, X0, X0);
  if (mode) x86_byte(e->x, mode - 1);
  put_canonical(e, p->a, is_wide(k));
}

static void op_constant(struct emitter *e, uint32_t opcode, int to, enum vector_constant which) {
  emitter_add_constant(e, x86_rip(e->x, W32, opcode, to), which);
}

static void emit_float_abs(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  get(e, X0, p->b);
  op_constant(e, PAND, X0, is_wide(k) ? CONSTANT_ABS_64 : CONSTANT_ABS_32);
  put(e, X0, p->a);
}

/* --- lanes ------------------------------------------------------------------------------------------------------------------ */

/* rax, or its lower part, into all lanes of xmm0. */
static void splat(struct emitter *e, unsigned size) {
  x86_rr(e->x, size == 8 ? W64 : W32, P66(0x0f6e), X0, RAX);
  if (size == 1) {
    op(e, PXOR, X1, X1);
    op(e, PSHUFB, X0, X1);
    return;
  }
  if (size == 2) shuffle(e, PF2(0x0f70), X0);
  if (size == 8)
    op(e, P66(0x0f6c), X0, X0);
  else
    shuffle(e, P66(0x0f70), X0);
}

static void emit_splat(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  emitter_move_any(e, RAX, emitter_use(e, p->b, k->operand));
  emitter_done_with(e, p->b);
  splat(e, k->detail);
  put(e, X0, p->a);
}

/* From the slot, as any number is loaded. */
static void emit_extract(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int to = emitter_define(e, p->a, k->result);
  bool is_long = k->result == 'I';
  x86_rm(e->x, is_long ? W64 : W32, k->detail, to & 15, FIXED_FP, (int32_t)(p->b + p->c * k->flags));
  emitter_finish(e, to);
}

static void emit_replace(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int from = emitter_use(e, p->c, k->operand);
  emitter_done_with(e, p->c);
  get(e, X0, p->b);
  put(e, X0, p->a);
  enum width w = k->flags == 1 ? W8 : k->flags == 8 && !is_xmm(from) ? W64 : W32;
  x86_rm(e->x, w, k->detail, from & 15, FIXED_FP, (int32_t)(p->a + p->d * k->flags));
}

static uint8_t byte_of(enum vector_constant which, uint8_t lane, int i) {
  switch (which) {
  case CONSTANT_FIRST: return lane < 16 ? lane : 128;
  case CONSTANT_SECOND: return lane < 16 ? 128 : lane - 16;
  case CONSTANT_INDEX: return 128 - 16;
  case CONSTANT_ABS_32: return i % 4 == 3 ? 127 : 255;
  default: return i % 8 == 7 ? 127 : 255;
  }
}

void emitter_vector_constant(const struct precise_insn *p, enum vector_constant which, uint8_t out[16]) {
  const uint8_t *lanes = which <= CONSTANT_SECOND ? p->pointer : NULL;
  for (int i = 0; i < 16; i++) out[i] = byte_of(which, lanes ? lanes[i] : 0, i);
}

/* Operands are side by side. */
static void emit_shuffle(struct emitter *e, const struct precise_insn *p) {
  get(e, X0, p->b);
  get(e, X1, p->b + SLOT_SIZE);
  op_constant(e, PSHUFB, X0, CONSTANT_FIRST);
  op_constant(e, PSHUFB, X1, CONSTANT_SECOND);
  op(e, POR, X0, X1);
  put(e, X0, p->a);
}

static void emit_swizzle(struct emitter *e, const struct precise_insn *p) {
  get(e, X0, p->b);
  get(e, X1, p->c);
  op_constant(e, P66(0x0fdc), X1, CONSTANT_INDEX);
  op(e, PSHUFB, X0, X1);
  put(e, X0, p->a);
}

/* --- memory, moves ---------------------------------------------------------------------------------------------------------- */

static void emit_load(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k, bool is_splat) {
  int index = emitter_use(e, p->b, 'i'), base = emitter_use_base(e);
  int32_t disp;
  emitter_check(e, p->imm, k->size, &index, &disp);
  emitter_done_with(e, p->b);
  x86_rx(e->x, is_splat && k->size == 8 ? W64 : W32, k->detail, is_splat ? RAX : X0, base, index, 0, disp);
  if (is_splat) splat(e, k->size);
  put(e, X0, p->a);
}

static void emit_store(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int index = emitter_use(e, p->a, 'i'), base = emitter_use_base(e);
  int32_t disp;
  emitter_check(e, p->imm, k->size, &index, &disp);
  get(e, X0, p->b);
  x86_rx(e->x, W32, 0x0f11, X0, base, index, 0, disp);
  emitter_done_with(e, p->a);
}

static void emit_constant(struct emitter *e, const struct precise_insn *p) {
  uint64_t halves[2];
  memcpy(halves, p->pointer, sizeof halves);
  x86_constant(e->x, RAX, halves[0]);
  op(e, PXOR, X0, X0);
  if (halves[0]) x86_rr(e->x, W64, P66(0x0f6e), X0, RAX);
  if (halves[1]) {
    x86_constant(e->x, RAX, halves[1]);
    x86_rr(e->x, W64, P66(0x0f6e), X1, RAX);
    op(e, P66(0x0f6c), X0, X1);
  }
  put(e, X0, p->a);
}

static void emit_copy(struct emitter *e, const struct precise_insn *p) {
  get(e, X0, p->b);
  put(e, X0, p->a);
}

static void emit_global(struct emitter *e, const struct precise_insn *p, bool is_set) {
  int32_t disp;
  int at = emitter_global_at(e, p, &disp);
  if (is_set) get(e, X0, p->a);
  x86_rm(e->x, W32, is_set ? 0x0f11 : 0x0f10, X0, at, disp);
  if (!is_set) put(e, X0, p->a);
}

static void emit_choice(struct emitter *e, const struct precise_insn *p) {
  int condition = emitter_use(e, p->d, 'i');
  x86_rr(e->x, W32, 0x85, condition, condition);
  emitter_done_with(e, p->d);
  get(e, X0, p->b);
  uint32_t over = x86_skip_if(e->x, CC_NE);
  get(e, X0, p->c);
  x86_land(e->x, over);
  put(e, X0, p->a);
}

void emitter_vector(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  switch (k->kind) {
  case BASELINE_VECTOR_TWO: emit_two(e, p, k); return;
  case BASELINE_VECTOR_ORDER: emit_order(e, p, k); return;
  case BASELINE_VECTOR_SELECT: emit_select(e, p); return;
  case BASELINE_VECTOR_SHIFT: emit_shift(e, p, k); return;
  case BASELINE_VECTOR_ONE: emit_one(e, p, k); return;
  case BASELINE_VECTOR_NOT: emit_not(e, p); return;
  case BASELINE_VECTOR_NEGATIVE: emit_negative(e, p, k); return;
  case BASELINE_VECTOR_TEST: emit_test(e, p, k); return;
  case BASELINE_VECTOR_BITMASK: emit_bitmask(e, p, k); return;
  case BASELINE_VECTOR_FLOAT: emit_float(e, p, k); return;
  case BASELINE_VECTOR_FCMP: emit_float_compare(e, p, k); return;
  case BASELINE_VECTOR_FNEG: emit_float_negative(e, p, k); return;
  case BASELINE_VECTOR_FONE: emit_float_one(e, p, k); return;
  case BASELINE_VECTOR_FABS: emit_float_abs(e, p, k); return;
  case BASELINE_VECTOR_SHUFFLE: emit_shuffle(e, p); return;
  case BASELINE_VECTOR_SWIZZLE: emit_swizzle(e, p); return;
  case BASELINE_VECTOR_SPLAT: emit_splat(e, p, k); return;
  case BASELINE_VECTOR_EXTRACT: emit_extract(e, p, k); return;
  case BASELINE_VECTOR_REPLACE: emit_replace(e, p, k); return;
  case BASELINE_VECTOR_LOAD: emit_load(e, p, k, false); return;
  case BASELINE_VECTOR_LOAD_SPLAT: emit_load(e, p, k, true); return;
  case BASELINE_VECTOR_STORE: emit_store(e, p, k); return;
  case BASELINE_VECTOR_CONSTANT: emit_constant(e, p); return;
  case BASELINE_VECTOR_COPY: emit_copy(e, p); return;
  case BASELINE_VECTOR_GLOBAL_GET: emit_global(e, p, false); return;
  case BASELINE_VECTOR_GLOBAL_SET: emit_global(e, p, true); return;
  default: emit_choice(e, p); return;
  }
}
