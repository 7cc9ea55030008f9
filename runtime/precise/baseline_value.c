/* Machine code of instructions that make values: integers, floats, memory and globals; and of branches that compare. */
#include "runtime/precise/emitter.h"

/* --- integers --------------------------------------------------------------------------------------------------------------- */

static bool fits(uint64_t v, enum width w) { return w == W32 || (int64_t)v == (int32_t)v; }

static void emit_bin(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum width w = width_of(k->operand);
  struct x86 *x = e->x;
  int l = emitter_use(e, p->b, k->operand), r = emitter_use(e, p->c, k->operand);
  emitter_done_with(e, p->b);
  emitter_done_with(e, p->c);
  int d = emitter_define(e, p->a, k->result);
  if (d == r && d != l && k->detail != 0x2b) r = l, l = d;
  if (d == l) {
    x86_rr(x, w, k->detail, d, r);
  } else if (d == r) {
    x86_move(x, w, RAX, l);
    x86_rr(x, w, k->detail, RAX, r);
    x86_move(x, w, d, RAX);
  } else if (k->detail == 0x03) {
    x86_rx(x, w, 0x8d, d, l, r, 0, 0);
  } else {
    x86_move(x, w, d, l);
    x86_rr(x, w, k->detail, d, r);
  }
  emitter_finish(e, d);
}

/* The digit of the form with a constant. */
static unsigned digit_of(uint32_t opcode) { return opcode >> 3 & 7; }

static void emit_bin_constant(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum width w = width_of(k->operand);
  struct x86 *x = e->x;
  int32_t v = (int32_t)p->imm;
  int l = emitter_use(e, p->b, k->operand);
  emitter_done_with(e, p->b);
  int d = emitter_define(e, p->a, k->result);
  if (!fits(p->imm, w)) {
    x86_constant(x, RAX, p->imm);
    if (k->detail == 0x2b) { /* by the negative, as l may be d */
      x86_rr(x, W64, 0xf7, 3, RAX);
      x86_rr(x, W64, 0x03, RAX, l);
    } else {
      x86_rr(x, W64, k->detail, RAX, l);
    }
    x86_move(x, W64, d, RAX);
  } else if (k->detail == 0x0faf) {
    x86_rr(x, w, 0x69, d, l);
    x86_u32(x, (uint32_t)v);
  } else if (d != l && k->detail == 0x03) {
    x86_rm(x, w, 0x8d, d, l, v);
  } else {
    if (d != l) x86_move(x, w, d, l);
    x86_ri(x, w, digit_of(k->detail), d, v);
  }
  emitter_finish(e, d);
}

static void emit_shift(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum width w = width_of(k->operand);
  bool is_constant = k->form == FORM_CONSTANT;
  int l = emitter_use(e, p->b, k->operand);
  if (!is_constant) x86_move(e->x, W32, RCX, emitter_use(e, p->c, k->operand));
  emitter_done_with(e, p->b);
  if (!is_constant) emitter_done_with(e, p->c);
  int d = emitter_define(e, p->a, k->result);
  if (d != l) x86_move(e->x, w, d, l);
  if (is_constant) {
    unsigned count = p->imm & (w == W32 ? 31 : 63);
    if (count) x86_shift(e->x, w, k->detail, d, count);
  } else {
    x86_rr(e->x, w, 0xd3, (int)k->detail, d);
  }
  emitter_finish(e, d);
}

/* Compares a with b, or with a constant. */
static void emit_compare(struct emitter *e, int l, bool is_constant, int r, int64_t v, enum width w) {
  if (!is_constant)
    x86_rr(e->x, w, 0x3b, l, r);
  else if (v == 0)
    x86_rr(e->x, w, 0x85, l, l);
  else if (w == W32 || v == (int32_t)v)
    x86_ri(e->x, w, 7, l, (int32_t)v);
  else
    x86_constant(e->x, RAX, (uint64_t)v), x86_rr(e->x, w, 0x3b, l, RAX);
}

static void emit_flag(struct emitter *e, uint32_t a, unsigned condition) {
  int d = emitter_define(e, a, 'i');
  x86_rr(e->x, W8, 0x0f90 | condition, 0, RAX);
  x86_rr(e->x, W8, 0x0fb6, d, RAX);
  emitter_finish(e, d);
}

static bool select_follows(const struct emitter *e, uint32_t condition) {
  uint32_t i = e->i + 1;
  return i < e->n && !e->is_target[i] && e->insns[i].run == do_select && e->insns[i].d == condition && condition >= e->operands;
}

/* p: a = condition ? b : c, under the processor's flags. They stay through moves. */
static void emit_choice(struct emitter *e, const struct precise_insn *p, unsigned condition, int yes, int no) {
  bool is_narrow = e->regs[yes].is_narrow && e->regs[no].is_narrow;
  emitter_done_with(e, p->b);
  emitter_done_with(e, p->c);
  int d = emitter_define(e, p->a, is_xmm(yes) ? 'F' : 'I');
  e->regs[d].is_narrow = is_narrow;
  if (is_xmm(d)) {
    uint32_t over = x86_skip_if(e->x, condition);
    x86_rr(e->x, W32, 0x0f28, XMM0 & 15, no & 15);
    uint32_t end = x86_skip(e->x);
    x86_land(e->x, over);
    x86_rr(e->x, W32, 0x0f28, XMM0 & 15, yes & 15);
    x86_land(e->x, end);
    x86_rr(e->x, W32, 0x0f28, d & 15, XMM0 & 15);
  } else if (d == no) {
    x86_rr(e->x, W64, 0x0f40 | condition, d, yes);
  } else {
    if (d != yes) x86_move(e->x, W64, d, yes);
    x86_rr(e->x, W64, 0x0f40 | (condition ^ 1), d, no);
  }
  emitter_finish(e, d);
}

/* Both of a select's operands in registers of one kind. */
static void use_choices(struct emitter *e, const struct precise_insn *p, int *yes, int *no) {
  uint32_t to = p->a / SLOT_SIZE;
  int r = e->pin[to] != NO_REG ? e->pin[to] : e->where[p->b / SLOT_SIZE];
  char letter = r != NO_REG && is_xmm(r) ? 'F' : 'I';
  *yes = emitter_use(e, p->b, letter);
  *no = emitter_use(e, p->c, letter);
}

/* The condition's result, or the select that takes it. */
static void emit_condition(struct emitter *e, const struct precise_insn *p, unsigned condition) {
  if (!select_follows(e, p->a)) {
    emit_flag(e, p->a, condition);
    return;
  }
  int yes, no;
  e->out->starts[++e->i] = e->x->n;
  e->stamp++;
  p++;
  use_choices(e, p, &yes, &no);
  emit_choice(e, p, condition, yes, no);
}

static void emit_icmp(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  bool is_constant = k->form != FORM_PLAIN, is_test = k->kind == BASELINE_EQZ;
  int l = emitter_use(e, p->b, k->operand), r = is_constant || is_test ? 0 : emitter_use(e, p->c, k->operand);
  emitter_done_with(e, p->b);
  if (!is_constant && !is_test) emitter_done_with(e, p->c);
  emit_compare(e, l, is_constant || is_test, r, is_test ? 0 : (int64_t)p->imm, width_of(k->operand));
  emit_condition(e, p, is_test ? CC_E : k->detail);
}

static void emit_icmp_branch(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  bool is_constant = k->form == FORM_CONSTANT_BRANCH;
  int l = emitter_use(e, p->a, k->operand), r = is_constant ? 0 : emitter_use(e, p->b, k->operand);
  emitter_done_with(e, p->a);
  if (!is_constant) emitter_done_with(e, p->b);
  emitter_settle(e);
  emit_compare(e, l, is_constant, r, (int32_t)p->b, width_of(k->operand));
  emitter_jump_to_insn(e, x86_jump_if(e->x, k->detail ^ k->is_unless), target_of(e, e->i));
}

static void emit_branch_if(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  char letter = k->detail & 16 ? 'I' : 'i';
  int r = emitter_use(e, p->a, letter);
  if (letter == 'i') emitter_done_with(e, p->a); /* references stay, as results */
  emitter_settle(e);
  x86_rr(e->x, width_of(letter), 0x85, r, r);
  emitter_jump_to_insn(e, x86_jump_if(e->x, k->detail & 15), target_of(e, e->i));
}

static void emit_select(struct emitter *e, const struct precise_insn *p) {
  int yes, no, condition = emitter_use(e, p->d, 'i');
  x86_rr(e->x, W32, 0x85, condition, condition);
  emitter_done_with(e, p->d);
  e->stamp++;
  use_choices(e, p, &yes, &no);
  emit_choice(e, p, CC_NE, yes, no);
}

static void emit_divide(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k, int l, int r) {
  enum width w = width_of(k->operand);
  struct x86 *x = e->x;
  bool is_constant = k->form == FORM_CONSTANT, is_signed = k->detail & 2, is_rem = k->detail & 1;
  int64_t v = w == W32 ? (int32_t)p->imm : (int64_t)p->imm;
  uint32_t by_minus_one = 0;
  if (!is_constant || v == 0) {
    x86_rr(x, w, 0x85, r, r);
    struct cold *c = emitter_trap_from(e, x86_jump_if(x, CC_E), p->b, l);
    if (!is_constant) emitter_save(e, c, p->c / SLOT_SIZE, r);
  }
  x86_move(x, w, RAX, l);
  if (is_signed && is_rem && (!is_constant || v == -1)) {
    x86_ri(x, w, 7, r, -1);
    by_minus_one = x86_jump_if(x, CC_E);
  } else if (is_signed && (!is_constant || v == -1)) {
    x86_ri(x, w, 7, r, -1);
    uint32_t over = x86_skip_if(x, CC_NE);
    x86_rr(x, w, 0x8b, RDX, RAX); /* the least number is its own negative, and no other but 0 */
    x86_rr(x, w, 0xf7, 3, RDX);
    struct cold *c = emitter_trap_from(e, x86_jump_if(x, CC_O), p->b, l);
    if (!is_constant) emitter_save(e, c, p->c / SLOT_SIZE, r);
    x86_land(x, over);
  }
  if (is_signed)
    x86_opcode(x, w, 0x99, 0, 0, 0, false);
  else
    x86_rr(x, W32, 0x31, RDX, RDX);
  x86_rr(x, w, 0xf7, is_signed ? 7 : 6, r);
  if (by_minus_one) {
    struct cold *c = emitter_add_cold(e, COLD_ZERO, by_minus_one);
    c->resume = x->n;
    c->reg = RDX;
  }
}

static void emit_div(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum width w = width_of(k->operand);
  bool is_constant = k->form == FORM_CONSTANT;
  emitter_free_register(e, RDX);
  e->pinned |= BIT(RDX); /* nobody else gets it */
  int l = emitter_use(e, p->b, k->operand), r = is_constant ? RCX : emitter_use(e, p->c, k->operand);
  if (is_constant) x86_constant(e->x, RCX, p->imm);
  emit_divide(e, p, k, l, r);
  e->stamp++; /* registers of operands may be taken for the result: with those that are pinned there are no others */
  emitter_done_with(e, p->b);
  if (!is_constant) emitter_done_with(e, p->c);
  int d = emitter_define(e, p->a, k->result);
  x86_move(e->x, w, d, k->detail & 1 ? RDX : RAX);
  e->pinned &= ~BIT(RDX);
  emitter_finish(e, d);
}

/* One operand, one result. */
struct unary {
  int from, to;
};

static struct unary begin_unary(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = {.from = emitter_use(e, p->b, k->operand)};
  emitter_done_with(e, p->b);
  u.to = emitter_define(e, p->a, k->result);
  return u;
}

static void emit_bitcount(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  enum width w = width_of(k->operand);
  unsigned bits = w == W32 ? 32 : 64;
  bool is_leading = k->detail == 0;
  x86_constant(e->x, RCX, is_leading ? 2 * bits - 1 : bits);
  x86_rr(e->x, w, is_leading ? 0x0fbd : 0x0fbc, RAX, u.from);
  x86_rr(e->x, w, 0x0f44, RAX, RCX);
  if (is_leading) x86_ri(e->x, w, 6, RAX, (int32_t)bits - 1);
  x86_move(e->x, w, u.to, RAX);
  emitter_finish(e, u.to);
}

static void emit_popcount(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  x86_rr(e->x, width_of(k->operand), PF3(0x0fb8), u.to, u.from);
  emitter_finish(e, u.to);
}

static void emit_extend(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  enum width w = width_of(k->operand);
  if (k->detail == 8) {
    x86_move(e->x, W32, RAX, u.from);
    x86_rr(e->x, w, 0x0fbe, u.to, RAX);
  } else {
    x86_rr(e->x, w, k->detail == 16 ? 0x0fbf : 0x63, u.to, u.from);
  }
  emitter_finish(e, u.to);
}

static void emit_move(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  if (k->kind == BASELINE_EXTEND_SIGNED)
    x86_rr(e->x, W64, 0x63, u.to, u.from);
  else
    x86_move(e->x, W32, u.to, u.from);
  emitter_finish(e, u.to);
}

static void emit_bits(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int from = emitter_use_any(e, p->b);
  emitter_done_with(e, p->b);
  int to = emitter_define(e, p->a, k->result);
  emitter_move_any(e, to, from);
  if (k->result == 'i') e->regs[to].is_narrow = false;
  emitter_finish(e, to);
}

static void emit_copy(struct emitter *e, const struct precise_insn *p) {
  int from = emitter_use_any(e, p->b);
  int pin = e->pin[p->a / SLOT_SIZE];
  int to = emitter_define(e, p->a, is_xmm(pin != NO_REG ? pin : from) ? 'F' : 'I');
  emitter_move_any(e, to, from);
  e->regs[to].is_narrow = !is_xmm(from) && e->regs[from].is_narrow;
  emitter_finish(e, to);
}

static void emit_constant(struct emitter *e, const struct precise_insn *p) {
  int pin = e->pin[p->a / SLOT_SIZE];
  int to = emitter_define(e, p->a, pin != NO_REG && is_xmm(pin) ? 'F' : 'I');
  if (is_xmm(to)) {
    x86_constant(e->x, RAX, p->imm);
    emitter_move_any(e, to, RAX);
  } else {
    x86_constant(e->x, to, p->imm);
    e->regs[to].is_narrow = p->imm <= UINT32_MAX;
  }
  emitter_finish(e, to);
}

/* --- floats -------------------------------------------------------------------------------------------------------- */

static uint32_t scalar_opcode(char letter, uint32_t opcode) { return letter == 'f' ? PF3(opcode) : PF2(opcode); }
static void move_xmm(struct emitter *e, int to, int from) {
  if (to != from) x86_rr(e->x, W32, 0x0f28, to & 15, from & 15);
}

/* Every NaN is the canonical one. */
static void emit_canonical(struct emitter *e, int r, char letter) {
  x86_rr(e->x, W32, letter == 'f' ? 0x0f2e : P66(0x0f2e), r & 15, r & 15);
  struct cold *c = emitter_add_cold(e, COLD_NAN, x86_jump_if(e->x, CC_P));
  c->resume = e->x->n;
  c->reg = (uint8_t)r;
  c->detail = letter == 'f';
}

/* The second operand of a row with two. */
static int second_float(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  if (k->form == FORM_PLAIN) return emitter_use(e, p->c, k->operand);
  x86_constant(e->x, RAX, p->imm);
  x86_rr(e->x, W64, P66(0x0f6e), XMM1 & 15, RAX);
  return XMM1;
}

static void emit_fbin(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int l = emitter_use(e, p->b, k->operand), r = second_float(e, p, k);
  uint32_t opcode = scalar_opcode(k->operand, k->detail);
  emitter_done_with(e, p->b);
  if (k->form == FORM_PLAIN) emitter_done_with(e, p->c);
  int d = emitter_define(e, p->a, k->result);
  if (d == r && d != l) {
    move_xmm(e, XMM0, l);
    x86_rr(e->x, W32, opcode, XMM0 & 15, r & 15);
    move_xmm(e, d, XMM0);
  } else {
    move_xmm(e, d, l);
    x86_rr(e->x, W32, opcode, d & 15, r & 15);
  }
  emit_canonical(e, d, k->result);
  emitter_finish(e, d);
}

/* Zeroes of either sign are equal: the lesser has all signs that there are. */
static void emit_fminmax(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct x86 *x = e->x;
  int l = emitter_use(e, p->b, k->operand), r = second_float(e, p, k);
  bool is_f32 = k->operand == 'f', is_min = k->detail == 0x0f5d;
  emitter_done_with(e, p->b);
  if (k->form == FORM_PLAIN) emitter_done_with(e, p->c);
  int d = emitter_define(e, p->a, k->result);
  move_xmm(e, XMM0, l);
  x86_rr(x, W32, is_f32 ? 0x0f2e : P66(0x0f2e), 0, r & 15);
  struct cold *nan = emitter_add_cold(e, COLD_NAN, x86_jump_if(x, CC_P));
  uint32_t differs = x86_skip_if(x, CC_NE);
  x86_rr(x, W32, is_min ? 0x0f56 : 0x0f54, 0, r & 15);
  uint32_t end = x86_skip(x);
  x86_land(x, differs);
  x86_rr(x, W32, scalar_opcode(k->operand, k->detail), 0, r & 15);
  x86_land(x, end);
  nan->resume = x->n;
  nan->reg = XMM0;
  nan->detail = is_f32;
  move_xmm(e, d, XMM0);
  emitter_finish(e, d);
}

static void emit_copysign(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum { SHL = 4, SHR = 5 };
  struct x86 *x = e->x;
  int l = emitter_use(e, p->b, k->operand), r = second_float(e, p, k);
  enum width w = k->operand == 'f' ? W32 : W64;
  emitter_done_with(e, p->b);
  if (k->form == FORM_PLAIN) emitter_done_with(e, p->c);
  int d = emitter_define(e, p->a, k->result);
  x86_rr(x, w, P66(0x0f7e), l & 15, RAX);
  x86_rr(x, w, P66(0x0f7e), r & 15, RCX);
  x86_shift(x, w, SHL, RAX, 1);
  x86_shift(x, w, SHR, RCX, w == W32 ? 31 : 63);
  x86_rr(x, w, 0x0b, RAX, RCX);
  x86_shift(x, w, 1, RAX, 1); /* ror: the sign that was put lowest */
  x86_rr(x, w, P66(0x0f6e), d & 15, RAX);
  emitter_finish(e, d);
}

/* Compares so that one condition tells, where it can: those of "above" are false for NaNs. */
static unsigned emit_float_flags(struct emitter *e, enum baseline_relation relation, char letter, int l, int r) {
  bool is_swapped = relation == RELATION_OLT || relation == RELATION_OLE;
  x86_rr(e->x, W32, letter == 'f' ? 0x0f2e : P66(0x0f2e), (is_swapped ? r : l) & 15, (is_swapped ? l : r) & 15);
  return relation == RELATION_OLE || relation == RELATION_OGE ? CC_AE : CC_A;
}

/* Equal or not, in al. */
static void emit_float_equal(struct emitter *e, bool is_equal) {
  x86_rr(e->x, W8, is_equal ? 0x0f9b : 0x0f9a, 0, RAX);
  x86_rr(e->x, W8, is_equal ? 0x0f94 : 0x0f95, 0, RCX);
  x86_rr(e->x, W8, is_equal ? 0x22 : 0x0a, RAX, RCX);
}

static bool branch_follows(const struct emitter *e, uint32_t condition) {
  uint32_t i = e->i + 1;
  return i < e->n && !e->is_target[i] && (e->insns[i].run == do_branch_if || e->insns[i].run == do_branch_unless) &&
         e->insns[i].a == condition && condition >= e->operands;
}

static void emit_float_branch(struct emitter *e, enum baseline_relation relation, unsigned condition) {
  uint32_t i = ++e->i, to = target_of(e, i);
  bool is_unless = e->insns[i].run == do_branch_unless;
  e->out->starts[i] = e->x->n;
  if (relation != RELATION_OEQ && relation != RELATION_UNE) {
    emitter_jump_to_insn(e, x86_jump_if(e->x, condition ^ is_unless), to);
  } else if ((relation == RELATION_OEQ) != is_unless) { /* where they are equal, and no NaN */
    uint32_t over = x86_skip_if(e->x, CC_P);
    emitter_jump_to_insn(e, x86_jump_if(e->x, CC_E), to);
    x86_land(e->x, over);
  } else {
    emitter_jump_to_insn(e, x86_jump_if(e->x, CC_P), to);
    emitter_jump_to_insn(e, x86_jump_if(e->x, CC_NE), to);
  }
}

static void emit_fcmp(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum baseline_relation relation = (enum baseline_relation)k->detail;
  int l = emitter_use(e, p->b, k->operand), r = second_float(e, p, k);
  emitter_done_with(e, p->b);
  if (k->form == FORM_PLAIN) emitter_done_with(e, p->c);
  if (branch_follows(e, p->a)) {
    emitter_settle(e);
    emit_float_branch(e, relation, emit_float_flags(e, relation, k->operand, l, r));
    return;
  }
  unsigned condition = emit_float_flags(e, relation, k->operand, l, r);
  if (relation != RELATION_OEQ && relation != RELATION_UNE) {
    emit_condition(e, p, condition);
    return;
  }
  emit_float_equal(e, relation == RELATION_OEQ);
  int d = emitter_define(e, p->a, 'i');
  x86_rr(e->x, W8, 0x0fb6, d, RAX);
  emitter_finish(e, d);
}

static void emit_float_unary(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  struct x86 *x = e->x;
  int to = u.to & 15, from = u.from & 15;
  switch (k->kind) {
  case BASELINE_ROUND:
    x86_rr(x, W32, P66(k->operand == 'f' ? 0x0f3a0a : 0x0f3a0b), to, from);
    x86_byte(x, k->detail);
    break;
  case BASELINE_SQRT: x86_rr(x, W32, scalar_opcode(k->operand, 0x0f51), to, from); break;
  default: /* to the other type */
    x86_rr(x, W32, 0x0f57, 0, 0);
    x86_rr(x, W32, scalar_opcode(k->operand, 0x0f5a), 0, from);
    move_xmm(e, u.to, XMM0);
    break;
  }
  emit_canonical(e, u.to, k->result);
  emitter_finish(e, u.to);
}

/* Signs are bits. */
static void emit_sign(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  bool is_neg = k->kind == BASELINE_FNEG, is_f32 = k->operand == 'f';
  uint64_t sign = is_f32 ? UINT64_C(0x80000000) : UINT64_C(0x8000000000000000);
  x86_constant(e->x, RAX, is_neg ? sign : sign - 1);
  x86_rr(e->x, W64, P66(0x0f6e), XMM1 & 15, RAX);
  move_xmm(e, u.to, u.from);
  x86_rr(e->x, W32, is_neg ? 0x0f57 : 0x0f54, u.to & 15, XMM1 & 15);
  emitter_finish(e, u.to);
}

static void emit_from_integer(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  bool is_unsigned = k->kind == BASELINE_FROM_UNSIGNED;
  if (is_unsigned && k->operand == 'I') {
    emitter_run_handler(e);
    return;
  }
  struct unary u = begin_unary(e, p, k);
  x86_rr(e->x, W32, 0x0f57, u.to & 15, u.to & 15);
  x86_rr(e->x, is_unsigned ? W64 : width_of(k->operand), scalar_opcode(k->result, 0x0f2a), u.to & 15, u.from);
  emitter_finish(e, u.to);
}

/* What does not fit, the handler looks at: it traps. */
static void emit_trunc(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int from = emitter_use(e, p->b, k->operand);
  x86_rr(e->x, W64, scalar_opcode(k->operand, 0x0f2c), RAX, from & 15);
  x86_rr(e->x, k->detail ? W32 : W64, k->detail ? 0x8b : 0x63, RCX, RAX);
  x86_rr(e->x, W64, 0x3b, RCX, RAX);
  emitter_trap_from(e, x86_jump_if(e->x, CC_NE), p->b, from);
  emitter_done_with(e, p->b);
  int to = emitter_define(e, p->a, 'i');
  x86_move(e->x, W32, to, RAX);
  emitter_finish(e, to);
}

/* A number of the row's type, in xmm1. */
static void load_number(struct emitter *e, char letter, double v) {
  uint64_t bits = 0;
  float narrow = (float)v;
  letter == 'f' ? memcpy(&bits, &narrow, sizeof narrow) : memcpy(&bits, &v, sizeof v);
  x86_constant(e->x, RCX, bits);
  x86_rr(e->x, W64, P66(0x0f6e), XMM1 & 15, RCX);
}

/* Compares as comisd does. */
static void compare_xmm(struct emitter *e, char letter, int l, int r) {
  x86_rr(e->x, W32, letter == 'f' ? 0x0f2e : P66(0x0f2e), l & 15, r & 15);
}

/* The least number is what comes of all that do not fit, too. */
static void emit_trunc_long(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct x86 *x = e->x;
  int from = emitter_use(e, p->b, k->operand);
  x86_rr(x, W64, scalar_opcode(k->operand, 0x0f2c), RAX, from & 15);
  x86_ri(x, W64, 7, RAX, 1);
  uint32_t over = x86_skip_if(x, CC_NO);
  load_number(e, k->operand, -0x1p63);
  compare_xmm(e, k->operand, from, XMM1);
  emitter_trap_from(e, x86_jump_if(x, CC_P), p->b, from);
  emitter_trap_from(e, x86_jump_if(x, CC_NE), p->b, from);
  x86_land(x, over);
  emitter_done_with(e, p->b);
  int to = emitter_define(e, p->a, 'I');
  x86_move(x, W64, to, RAX);
  emitter_finish(e, to);
}

/* rax becomes 0 where the operand is a NaN. */
static void zero_for_nan(struct emitter *e, char letter, int from, enum width w) {
  x86_constant(e->x, RCX, 0);
  compare_xmm(e, letter, from, from);
  x86_rr(e->x, w, 0x0f40 | CC_P, RAX, RCX);
}

/* As f64, which has all of these numbers. minsd and maxsd give their second operand where one is a NaN; what is too little, and
 * NaNs, become the least number. */
static void emit_trunc_sat(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  struct x86 *x = e->x;
  if (k->operand == 'f') {
    x86_rr(x, W32, 0x0f57, 0, 0);
    x86_rr(x, W32, PF3(0x0f5a), 0, u.from & 15);
  } else {
    move_xmm(e, XMM0, u.from);
  }
  if (k->detail) {
    x86_rr(x, W32, 0x0f57, XMM1 & 15, XMM1 & 15);
    x86_rr(x, W32, PF2(0x0f5f), XMM0 & 15, XMM1 & 15);
    load_number(e, 'F', UINT32_MAX);
    x86_rr(x, W32, PF2(0x0f5d), XMM0 & 15, XMM1 & 15);
    x86_rr(x, W64, PF2(0x0f2c), RAX, XMM0 & 15);
  } else {
    load_number(e, 'F', INT32_MAX);
    x86_rr(x, W32, PF2(0x0f5d), XMM1 & 15, XMM0 & 15);
    x86_rr(x, W32, PF2(0x0f2c), RAX, XMM1 & 15);
    zero_for_nan(e, 'F', XMM0, W32);
  }
  x86_move(x, W32, u.to, RAX);
  emitter_finish(e, u.to);
}

/* What does not fit becomes the least number, and one less than that is the greatest. */
static void emit_trunc_sat_long(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  struct x86 *x = e->x;
  x86_rr(x, W64, scalar_opcode(k->operand, 0x0f2c), RAX, u.from & 15);
  load_number(e, k->operand, 0x1p63);
  x86_constant(x, RCX, 0);
  compare_xmm(e, k->operand, u.from, XMM1);
  x86_rr(x, W8, 0x0f90 | CC_AE, 0, RCX);
  x86_rr(x, W64, 0x2b, RAX, RCX);
  zero_for_nan(e, k->operand, u.from, W64);
  x86_move(x, W64, u.to, RAX);
  emitter_finish(e, u.to);
}

/* --- memory, globals ----------------------------------------------------------------------------------------------- */

static unsigned log_of(unsigned size) { return (unsigned)__builtin_ctz(size); }

void emitter_check(struct emitter *e, uint64_t offset, uint8_t size, int *index, int32_t *disp) {
  struct x86 *x = e->x;
  if (e->is_guarded && offset <= INT32_MAX) {
    *disp = (int32_t)offset;
    return;
  }
  x86_constant(x, RAX, offset + size);
  x86_rr(x, W64, 0x03, RAX, *index);
  *index = RAX;
  *disp = -(int32_t)size;
  if (e->is_guarded) return;
  x86_rm(x, W64, 0x3b, RAX, FIXED_MEMORY, offsetof(struct memory_ctx, bytes));
  emitter_add_cold(e, COLD_ACCESS, x86_jump_if(x, CC_A))->detail = (uint8_t)log_of(size);
}

static void emit_load(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int index = emitter_use(e, p->b, 'i'), base = emitter_use_base(e);
  int32_t disp;
  emitter_check(e, p->imm, k->size, &index, &disp);
  emitter_done_with(e, p->b);
  int to = emitter_define(e, p->a, k->result);
  bool extends = k->detail != 0x8b && k->detail != 0x0fb6 && k->detail != 0x0fb7; /* by its sign */
  enum width w = k->result == 'I' && (extends || k->size == 8) ? W64 : W32;
  x86_rx(e->x, w, k->detail, to & 15, base, index, 0, disp);
  emitter_finish(e, to);
}

static void emit_store(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int index = emitter_use(e, p->a, 'i'), value = emitter_use(e, p->b, k->operand), base = emitter_use_base(e);
  int32_t disp;
  emitter_check(e, p->imm, k->size, &index, &disp);
  enum width w = k->size == 1 ? W8 : k->size == 8 && !is_xmm(value) ? W64 : W32;
  x86_rx(e->x, w, k->detail, value & 15, base, index, 0, disp);
  emitter_done_with(e, p->a);
  emitter_done_with(e, p->b);
}

int emitter_global_at(struct emitter *e, const struct precise_insn *p, int32_t *disp) {
  uint32_t index = (p->b - e->layout.globals) / (uint32_t)sizeof(void *);
  int vmctx = emitter_use_vmctx(e);
  *disp = 0;
  if (index >= e->n_imported_globals) {
    *disp = (int32_t)(e->layout.cells + (index - e->n_imported_globals) * SLOT_SIZE);
    return vmctx;
  }
  x86_rm(e->x, W64, 0x8b, RAX, vmctx, (int32_t)p->b);
  return RAX;
}

static void emit_global_set(struct emitter *e, const struct precise_insn *p) {
  int32_t disp;
  int value = emitter_use_any(e, p->a), at = emitter_global_at(e, p, &disp);
  if (is_xmm(value))
    x86_rm(e->x, W32, PF2(0x0f11), value & 15, at, disp);
  else
    x86_rm(e->x, W64, 0x89, value, at, disp);
  emitter_done_with(e, p->a);
}

static void emit_global_get(struct emitter *e, const struct precise_insn *p) {
  int32_t disp;
  int at = emitter_global_at(e, p, &disp), pin = e->pin[p->a / SLOT_SIZE];
  int to = emitter_define(e, p->a, pin != NO_REG && is_xmm(pin) ? 'F' : 'I');
  if (is_xmm(to))
    x86_rm(e->x, W32, PF2(0x0f10), to & 15, at, disp);
  else
    x86_rm(e->x, W64, 0x8b, to, at, disp);
  e->regs[to].is_narrow = false;
  emitter_finish(e, to);
}

/* --- tables, references -------------------------------------------------------------------------------------------- */

/* The index follows from its check: base/speculation.h. Where there is no entry, the handler says why. */
static void emit_table_get(struct emitter *e, const struct precise_insn *p, bool is_called) {
  struct x86 *x = e->x;
  int index = emitter_use(e, p->b, p->d ? 'I' : 'i'), vmctx = emitter_use_vmctx(e);
  x86_move(x, p->d ? W64 : W32, RCX, index);
  x86_rm(x, W64, 0x8b, RAX, vmctx, (int32_t)(e->layout.tables + p->c * sizeof(void *)));
  x86_rm(x, W64, 0x3b, RCX, RAX, offsetof(struct table_ctx, size));
  emitter_trap_from(e, x86_jump_if(x, CC_AE), p->b, RCX);
  x86_rm(x, W64, 0x0f43, RCX, RAX, offsetof(struct table_ctx, size));
  x86_rm(x, W64, 0x8b, RAX, RAX, offsetof(struct table_ctx, entries));
  emitter_done_with(e, p->b);
  int to = emitter_define(e, p->a, 'I');
  x86_rx(x, W64, 0x8b, to, RAX, RCX, 3, 0);
  if (is_called) {
    x86_rr(x, W64, 0x85, to, to);
    emitter_trap_from(e, x86_jump_if(x, CC_E), p->b, RCX);
  }
  emitter_finish(e, to);
}

/* Subtypes are the handler's matter. */
static void emit_check_type(struct emitter *e, const struct precise_insn *p) {
  if (!p->c) {
    emitter_run_handler(e);
    return;
  }
  int ref = emitter_use(e, p->a, 'I');
  x86_rm(e->x, W32, 0x81, 7, ref, offsetof(struct func_ref, type_id));
  x86_u32(e->x, e->func->module->module->decoded.types[p->b].canonical);
  emitter_trap_from(e, x86_jump_if(e->x, CC_NE), p->a, ref);
}

static void emit_non_null(struct emitter *e, const struct precise_insn *p) {
  int ref = emitter_use(e, p->a, 'I');
  x86_rr(e->x, W64, 0x85, ref, ref);
  emitter_trap_from(e, x86_jump_if(e->x, CC_E), p->a, ref);
}

static void emit_ref_func(struct emitter *e, const struct precise_insn *p) {
  int vmctx = emitter_use_vmctx(e), to = emitter_define(e, p->a, 'I');
  x86_rm(e->x, W64, 0x8b, to, vmctx, (int32_t)(e->layout.funcs + p->c * sizeof(void *)));
  emitter_finish(e, to);
}

/* --- all of them --------------------------------------------------------------------------------------------------- */

void emitter_value(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  switch (k->kind) {
  case BASELINE_BIN: k->form == FORM_CONSTANT ? emit_bin_constant(e, p, k) : emit_bin(e, p, k); return;
  case BASELINE_SHIFT: emit_shift(e, p, k); return;
  case BASELINE_ICMP:
  case BASELINE_EQZ: k->form >= FORM_BRANCH ? emit_icmp_branch(e, p, k) : emit_icmp(e, p, k); return;
  case BASELINE_DIV: emit_div(e, p, k); return;
  case BASELINE_BITCOUNT: emit_bitcount(e, p, k); return;
  case BASELINE_POPCOUNT: emit_popcount(e, p, k); return;
  case BASELINE_EXTEND: emit_extend(e, p, k); return;
  case BASELINE_WRAP:
  case BASELINE_EXTEND_SIGNED:
  case BASELINE_EXTEND_UNSIGNED: emit_move(e, p, k); return;
  case BASELINE_FROM_SIGNED:
  case BASELINE_FROM_UNSIGNED: emit_from_integer(e, p, k); return;
  case BASELINE_BITS: emit_bits(e, p, k); return;
  case BASELINE_FBIN: emit_fbin(e, p, k); return;
  case BASELINE_FMINMAX: emit_fminmax(e, p, k); return;
  case BASELINE_COPYSIGN: emit_copysign(e, p, k); return;
  case BASELINE_FCMP: emit_fcmp(e, p, k); return;
  case BASELINE_ROUND:
  case BASELINE_SQRT:
  case BASELINE_DEMOTE:
  case BASELINE_PROMOTE: emit_float_unary(e, p, k); return;
  case BASELINE_FABS:
  case BASELINE_FNEG: emit_sign(e, p, k); return;
  case BASELINE_TRUNC: emit_trunc(e, p, k); return;
  case BASELINE_TRUNC_LONG: emit_trunc_long(e, p, k); return;
  case BASELINE_TRUNC_SAT: emit_trunc_sat(e, p, k); return;
  case BASELINE_TRUNC_SAT_LONG: emit_trunc_sat_long(e, p, k); return;
  case BASELINE_LOAD: emit_load(e, p, k); return;
  case BASELINE_STORE: emit_store(e, p, k); return;
  case BASELINE_CONSTANT: emit_constant(e, p); return;
  case BASELINE_COPY: emit_copy(e, p); return;
  case BASELINE_SELECT: emit_select(e, p); return;
  case BASELINE_BRANCH_IF: emit_branch_if(e, p, k); return;
  case BASELINE_TABLE_GET: emit_table_get(e, p, k->detail); return;
  case BASELINE_CHECK_TYPE: emit_check_type(e, p); return;
  case BASELINE_NON_NULL: emit_non_null(e, p); return;
  case BASELINE_REF_FUNC: emit_ref_func(e, p); return;
  case BASELINE_GLOBAL_GET: emit_global_get(e, p); return;
  case BASELINE_GLOBAL_SET: emit_global_set(e, p); return;
  default:
    if (k->kind >= BASELINE_VECTOR_TWO && k->kind <= BASELINE_VECTOR_CHOICE)
      emitter_vector(e, p, k);
    else
      emitter_run_handler(e);
  }
}
