/* Machine code of one translated function, in one pass over its instructions (essay in runtime/precise/baseline.c).
 *
 * Registers. r13 leads to the frame's slots, r14 to the store, rdi to memory 0, as in the interpreter; rbx holds the gas counter.
 * rax, rcx, xmm0 and xmm1 are for the instruction under way. All others hold slots: a register knows its slot, a slot its
 * register (`where`). In functions with loops the locals used most have a register for the whole function (`pin`); what is
 * written to one goes to its slot, too, so that slots of locals are always right and a handler needs nothing but slots. Values
 * of other slots wait in registers until somebody else needs the slot: a handler, a call, another way to the same place.
 *
 * Where control comes together, and at every branch, pinned registers hold their locals, no other holds anything, and the
 * counter is in rbx. Handlers keep no register; what was pinned is loaded again when it is used, or at the next branch.
 *
 * What happens rarely is behind the function's code: the end of a charge that was not covered, traps, NaNs, and what the
 * interpreter's handlers run on, which is the instruction itself, followed by one that leads back here. */
#include "runtime/precise/baseline.h"

#include <stddef.h>
#include <stdlib.h>

enum { NO_REG = 255, MOST_PINS = 5, MOST_XMM_PINS = 10 };
#define NO_SLOT UINT32_MAX
#define FIXED_FP R13
#define FIXED_STORE R14
#define FIXED_GAS RBX
#define FIXED_MEMORY RDI

struct reg_state {
  uint32_t slot;
  uint32_t stamp; /* of the instruction that used it last */
  bool is_narrow; /* the upper half is 0 */
  uint32_t pinned_slot;
  char pinned_letter;
};

enum cold_kind { COLD_CHARGE, COLD_ACCESS, COLD_NAN, COLD_TRAP, COLD_HANDLER, COLD_ZERO, COLD_LEAVE, COLD_TABLE };

struct cold {
  uint8_t kind, reg, detail;
  uint32_t insn, from, resume; /* `from`: what jumps here */
  uint32_t first, n;           /* of what is saved: registers and slots */
};

struct saved {
  uint32_t slot, reg;
};

struct jump {
  uint32_t at, insn, table; /* table: where distances count from, or 0 */
};

struct emitter {
  struct baseline_output *out;
  struct x86 *x;
  const struct precise_func *func;
  const struct precise_insn *insns;
  uint32_t n, i, stamp;
  uint32_t n_slots, operands;       /* slots; the first that is no local, hold or header */
  uint8_t *where, *pin, *is_target; /* by slot, with one more: the base of memory 0; by instruction */
  char *letters;                    /* of the types of locals, where known */
  bool is_reachable, has_failed;
  struct reg_state regs[N_REGS];
  uint32_t bound, dirty,
      pinned;      /* registers by their bits: that hold a slot, that a slot lacks, that are for the whole function */
  bool is_guarded; /* memory 0: accesses beyond it fault */
  struct vmctx_layout layout;
  uint32_t n_imported_globals;
  struct cold *colds;
  uint32_t n_colds, colds_capacity;
  struct saved *saved;
  uint32_t n_saved, saved_capacity;
  struct jump *jumps;
  uint32_t n_jumps, jumps_capacity;
};

/* Registers that slots get, in the order in which they are pinned. */
static const uint8_t general_pool[] = {RSI, R8, R9, R10, R11, R12, RDX, R15};
#define BIT(r) (1u << (r))
#define GENERAL (BIT(RSI) | BIT(R8) | BIT(R9) | BIT(R10) | BIT(R11) | BIT(R12) | BIT(RDX) | BIT(R15))
#define XMM_FIRST (XMM0 + 2)
#define XMMS (~0u << XMM_FIRST)
/* r: each register of a set in turn. */
#define EACH_OF(set, r) for (uint32_t left_ = (set), r; left_ && (r = (uint32_t)__builtin_ctz(left_), true); left_ &= left_ - 1)

static void *grown(void *p, uint32_t *capacity, uint32_t n, size_t size) {
  if (n < *capacity) return p;
  *capacity = 2 * n + 32;
  return heap_resize(p, *capacity, size);
}

static bool is_xmm(int r) { return r >= XMM0; }
static bool is_float(char letter) { return letter == 'f' || letter == 'F'; }
static enum width width_of(char letter) { return letter == 'i' ? W32 : W64; }

/* --- slots and registers ------------------------------------------------------------------------------------------------ */

static int32_t header(const struct emitter *e, size_t field) { return (int32_t)(e->func->header + field); }
#define HEADER(field) header(e, offsetof(struct precise_frame, field))
enum { FRAME = offsetof(struct gw_store, precise.frame) };

static void store_slot(struct emitter *e, int r, uint32_t slot) {
  if (is_xmm(r))
    x86_rm(e->x, W32, PF2(0x0f11), r & 15, FIXED_FP, (int32_t)(slot * SLOT_SIZE));
  else
    x86_rm(e->x, W64, 0x89, r, FIXED_FP, (int32_t)(slot * SLOT_SIZE));
}

/* Behind the slots, two that are none: what leads to memory 0, and the vmctx. */
static uint32_t base_slot(const struct emitter *e) { return e->n_slots; }
static uint32_t vmctx_slot(const struct emitter *e) { return e->n_slots + 1; }

static void load_slot(struct emitter *e, int r, uint32_t slot, char letter) {
  if (slot == base_slot(e))
    x86_rm(e->x, W64, 0x8b, r, FIXED_MEMORY, offsetof(struct memory_ctx, base));
  else if (slot == vmctx_slot(e))
    x86_rm(e->x, W64, 0x8b, r, FIXED_FP, HEADER(vmctx));
  else if (is_xmm(r))
    x86_rm(e->x, W32, letter == 'f' ? PF3(0x0f10) : PF2(0x0f10), r & 15, FIXED_FP, (int32_t)(slot * SLOT_SIZE));
  else
    x86_rm(e->x, width_of(letter), 0x8b, r, FIXED_FP, (int32_t)(slot * SLOT_SIZE));
}

static void unbind(struct emitter *e, int r) {
  if (e->bound & BIT(r)) e->where[e->regs[r].slot] = NO_REG;
  e->bound &= ~BIT(r);
  e->dirty &= ~BIT(r);
}

/* Whatever held the slot before has an old value, which must not be written to it later. */
static void bind_slot(struct emitter *e, int r, uint32_t slot, bool is_dirty, bool is_narrow) {
  struct reg_state *s = &e->regs[r];
  if (e->where[slot] != NO_REG && e->where[slot] != r) unbind(e, e->where[slot]);
  s->slot = slot;
  s->is_narrow = is_narrow;
  s->stamp = e->stamp;
  e->bound |= BIT(r);
  e->dirty = is_dirty ? e->dirty | BIT(r) : e->dirty & ~BIT(r);
  e->where[slot] = (uint8_t)r;
}

static void write_back(struct emitter *e, int r) {
  if (e->dirty & BIT(r)) store_slot(e, r, e->regs[r].slot);
  e->dirty &= ~BIT(r);
}

/* A register for a slot, free of others: one that has none, else the one that was used longest ago. With none left, which no
 * instruction brings about, the function is given up and stays interpreted. */
static int allocate(struct emitter *e, bool wants_xmm) {
  uint32_t set = (wants_xmm ? XMMS : GENERAL) & ~e->pinned, oldest = UINT32_MAX;
  int found = NO_REG;
  if (set & ~e->bound) return __builtin_ctz(set & ~e->bound);
  EACH_OF(set, r) {
    if (e->regs[r].stamp == e->stamp || e->regs[r].stamp >= oldest) continue;
    oldest = e->regs[r].stamp;
    found = (int)r;
  }
  if (found == NO_REG) {
    e->has_failed = true;
    found = __builtin_ctz(set);
  }
  write_back(e, found);
  unbind(e, found);
  return found;
}

static bool is_pinned(const struct emitter *e, int r) { return e->pinned & BIT(r); }

/* The same value in a register of the other kind, which holds the slot from then on, even if one is pinned to it: an instruction
 * may need two of them at once. The pinned one is loaded again by whoever settles. */
static int change_kind(struct emitter *e, int r, bool wants_xmm) {
  bool is_dirty = e->dirty & BIT(r);
  uint32_t slot = e->regs[r].slot;
  int other = allocate(e, wants_xmm);
  x86_rr(e->x, W64, wants_xmm ? P66(0x0f6e) : P66(0x0f7e), (wants_xmm ? other : r) & 15, (wants_xmm ? r : other) & 15);
  unbind(e, r);
  bind_slot(e, other, slot, is_dirty, false);
  return other;
}

/* The register that holds the operand at byte `offset`, loaded if it has to be. */
static int use(struct emitter *e, uint32_t offset, char letter) {
  uint32_t slot = offset / SLOT_SIZE;
  int r = e->where[slot];
  if (r == NO_REG) {
    r = e->pin[slot] != NO_REG ? e->pin[slot] : allocate(e, is_float(letter));
    bind_slot(e, r, slot, false, letter == 'i');
    load_slot(e, r, slot, letter);
  }
  e->regs[r].stamp = e->stamp;
  if (is_xmm(r) != is_float(letter)) r = change_kind(e, r, is_float(letter));
  if (letter == 'i' && !e->regs[r].is_narrow) {
    x86_move(e->x, W32, r, r);
    e->regs[r].is_narrow = true;
  }
  return r;
}

/* In whatever register it is, or can be loaded to. */
static int use_any(struct emitter *e, uint32_t offset) {
  uint32_t slot = offset / SLOT_SIZE;
  int r = e->where[slot] != NO_REG ? e->where[slot] : e->pin[slot];
  return use(e, offset, r != NO_REG && is_xmm(r) ? 'F' : 'I');
}

static int use_base(struct emitter *e) { return use(e, base_slot(e) * SLOT_SIZE, 'I'); }
static int use_vmctx(struct emitter *e) { return use(e, vmctx_slot(e) * SLOT_SIZE, 'I'); }

/* Operands are read once. */
static void done_with(struct emitter *e, uint32_t offset) {
  uint32_t slot = offset / SLOT_SIZE;
  if (offset >= e->operands && e->where[slot] != NO_REG && e->pin[slot] == NO_REG) unbind(e, e->where[slot]);
}

/* The register for a result at byte `offset`; once it is there, finish. */
static int define(struct emitter *e, uint32_t offset, char letter) {
  uint32_t slot = offset / SLOT_SIZE;
  int r = e->pin[slot] != NO_REG ? e->pin[slot] : e->where[slot];
  if (r == NO_REG || is_xmm(r) != is_float(letter)) {
    if (r != NO_REG) unbind(e, r);
    r = allocate(e, is_float(letter));
  }
  bind_slot(e, r, slot, !is_pinned(e, r), letter == 'i');
  return r;
}

/* A pinned integer of 32 bits is narrow at all times, as ways that come together do not know what the others left. */
static void finish(struct emitter *e, int r) {
  if (!is_pinned(e, r)) return;
  if (e->regs[r].pinned_letter == 'i' && !e->regs[r].is_narrow) {
    x86_move(e->x, W32, r, r);
    e->regs[r].is_narrow = true;
  }
  store_slot(e, r, e->regs[r].slot);
}

static void write_all_back(struct emitter *e) {
  EACH_OF(e->dirty, r) store_slot(e, (int)r, e->regs[r].slot);
  e->dirty = 0;
}

static void bind_pinned(struct emitter *e, int r) {
  bind_slot(e, r, e->regs[r].pinned_slot, false, e->regs[r].pinned_letter == 'i');
}

/* All slots right, all pinned registers loaded. */
static void settle(struct emitter *e) {
  write_all_back(e);
  EACH_OF(e->pinned & ~e->bound, r) {
    bind_pinned(e, (int)r);
    load_slot(e, (int)r, e->regs[r].pinned_slot, e->regs[r].pinned_letter);
  }
}

static void forget(struct emitter *e, uint32_t set) { EACH_OF(set & e->bound, r) unbind(e, (int)r); }

/* Behind handlers and calls the vmctx is in r15. */
static void forget_all(struct emitter *e) {
  forget(e, ~0u);
  if (!is_pinned(e, R15)) bind_slot(e, R15, vmctx_slot(e), false, false);
}

static void free_register(struct emitter *e, int r) {
  write_back(e, r);
  unbind(e, r);
}

/* --- what is behind ------------------------------------------------------------------------------------------------------- */

static struct cold *add_cold(struct emitter *e, enum cold_kind kind, uint32_t from) {
  e->colds = grown(e->colds, &e->colds_capacity, e->n_colds, sizeof *e->colds);
  struct cold *c = &e->colds[e->n_colds++];
  *c = (struct cold){.kind = (uint8_t)kind, .insn = e->i, .from = from, .first = e->n_saved};
  return c;
}

static void save(struct emitter *e, struct cold *c, uint32_t slot, int r) {
  e->saved = grown(e->saved, &e->saved_capacity, e->n_saved, sizeof *e->saved);
  e->saved[e->n_saved++] = (struct saved){slot, (uint32_t)r};
  c->n++;
}

static void jump_to_insn(struct emitter *e, uint32_t at, uint32_t insn) {
  e->jumps = grown(e->jumps, &e->jumps_capacity, e->n_jumps, sizeof *e->jumps);
  e->jumps[e->n_jumps++] = (struct jump){.at = at, .insn = insn};
}

static uint32_t target_of(const struct emitter *e, uint32_t i) { return i + e->insns[i].c; }

static void store_gas(struct emitter *e) { x86_rm(e->x, W64, 0x89, FIXED_GAS, FIXED_STORE, 0); }
static void load_gas(struct emitter *e) { x86_rm(e->x, W64, 0x8b, FIXED_GAS, FIXED_STORE, 0); }
static void load_vmctx(struct emitter *e) {
  if (e->where[vmctx_slot(e)] != R15) load_slot(e, R15, vmctx_slot(e), 'I');
}

/* On to the instruction that r12 gets the address of. */
static uint32_t run_handler(struct emitter *e) {
  store_gas(e);
  load_vmctx(e);
  uint32_t at = x86_rip(e->x, W64, 0x8d, R12);
  x86_rm(e->x, W32, 0xff, 4, R12, 0);
  return at;
}

/* The instruction's own handler. */
static void emit_handler(struct emitter *e) {
  write_all_back(e);
  uint32_t at = run_handler(e);
  forget_all(e);
  struct cold *c = add_cold(e, COLD_HANDLER, at);
  c->resume = e->x->n;
  load_gas(e);
}

static void emit_leaving_handler(struct emitter *e) {
  write_all_back(e);
  uint32_t at = run_handler(e);
  add_cold(e, COLD_HANDLER, at)->resume = 0;
  e->is_reachable = false;
}

/* Traps by the handler where `from` jumps: it does what it does for the operands, which are put where it looks. */
static struct cold *trap_from(struct emitter *e, uint32_t from, uint32_t offset, int r) {
  struct cold *c = add_cold(e, COLD_TRAP, from);
  save(e, c, offset / SLOT_SIZE, r);
  return c;
}

/* --- integers --------------------------------------------------------------------------------------------------------------- */

static bool fits(uint64_t v, enum width w) { return w == W32 || (int64_t)v == (int32_t)v; }

static void emit_bin(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum width w = width_of(k->operand);
  struct x86 *x = e->x;
  int l = use(e, p->b, k->operand), r = use(e, p->c, k->operand);
  done_with(e, p->b);
  done_with(e, p->c);
  int d = define(e, p->a, k->result);
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
  finish(e, d);
}

/* The digit of the form with a constant. */
static unsigned digit_of(uint32_t opcode) { return opcode >> 3 & 7; }

static void emit_bin_constant(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum width w = width_of(k->operand);
  struct x86 *x = e->x;
  int32_t v = (int32_t)p->imm;
  int l = use(e, p->b, k->operand);
  done_with(e, p->b);
  int d = define(e, p->a, k->result);
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
  finish(e, d);
}

static void emit_shift(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum width w = width_of(k->operand);
  bool is_constant = k->form == FORM_CONSTANT;
  int l = use(e, p->b, k->operand);
  if (!is_constant) x86_move(e->x, W32, RCX, use(e, p->c, k->operand));
  done_with(e, p->b);
  if (!is_constant) done_with(e, p->c);
  int d = define(e, p->a, k->result);
  if (d != l) x86_move(e->x, w, d, l);
  if (is_constant) {
    unsigned count = p->imm & (w == W32 ? 31 : 63);
    if (count) x86_shift(e->x, w, k->detail, d, count);
  } else {
    x86_rr(e->x, w, 0xd3, (int)k->detail, d);
  }
  finish(e, d);
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
  int d = define(e, a, 'i');
  x86_rr(e->x, W8, 0x0f90 | condition, 0, RAX);
  x86_rr(e->x, W8, 0x0fb6, d, RAX);
  finish(e, d);
}

static bool select_follows(const struct emitter *e, uint32_t condition) {
  uint32_t i = e->i + 1;
  return i < e->n && !e->is_target[i] && e->insns[i].run == do_select && e->insns[i].d == condition && condition >= e->operands;
}

/* p: a = condition ? b : c, under the processor's flags. They stay through moves. */
static void emit_choice(struct emitter *e, const struct precise_insn *p, unsigned condition, int yes, int no) {
  bool is_narrow = e->regs[yes].is_narrow && e->regs[no].is_narrow;
  done_with(e, p->b);
  done_with(e, p->c);
  int d = define(e, p->a, is_xmm(yes) ? 'F' : 'I');
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
  finish(e, d);
}

/* Both of a select's operands in registers of one kind. */
static void use_choices(struct emitter *e, const struct precise_insn *p, int *yes, int *no) {
  uint32_t to = p->a / SLOT_SIZE;
  int r = e->pin[to] != NO_REG ? e->pin[to] : e->where[p->b / SLOT_SIZE];
  char letter = r != NO_REG && is_xmm(r) ? 'F' : 'I';
  *yes = use(e, p->b, letter);
  *no = use(e, p->c, letter);
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
  int l = use(e, p->b, k->operand), r = is_constant || is_test ? 0 : use(e, p->c, k->operand);
  done_with(e, p->b);
  if (!is_constant && !is_test) done_with(e, p->c);
  emit_compare(e, l, is_constant || is_test, r, is_test ? 0 : (int64_t)p->imm, width_of(k->operand));
  emit_condition(e, p, is_test ? CC_E : k->detail);
}

static void emit_icmp_branch(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  bool is_constant = k->form == FORM_CONSTANT_BRANCH;
  int l = use(e, p->a, k->operand), r = is_constant ? 0 : use(e, p->b, k->operand);
  done_with(e, p->a);
  if (!is_constant) done_with(e, p->b);
  settle(e);
  emit_compare(e, l, is_constant, r, (int32_t)p->b, width_of(k->operand));
  jump_to_insn(e, x86_jump_if(e->x, k->detail ^ k->is_unless), target_of(e, e->i));
}

static void emit_branch_if(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  char letter = k->detail & 16 ? 'I' : 'i';
  int r = use(e, p->a, letter);
  if (letter == 'i') done_with(e, p->a); /* references stay, as results */
  settle(e);
  x86_rr(e->x, width_of(letter), 0x85, r, r);
  jump_to_insn(e, x86_jump_if(e->x, k->detail & 15), target_of(e, e->i));
}

static void emit_select(struct emitter *e, const struct precise_insn *p) {
  int yes, no, condition = use(e, p->d, 'i');
  x86_rr(e->x, W32, 0x85, condition, condition);
  done_with(e, p->d);
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
    struct cold *c = trap_from(e, x86_jump_if(x, CC_E), p->b, l);
    if (!is_constant) save(e, c, p->c / SLOT_SIZE, r);
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
    struct cold *c = trap_from(e, x86_jump_if(x, CC_O), p->b, l);
    if (!is_constant) save(e, c, p->c / SLOT_SIZE, r);
    x86_land(x, over);
  }
  if (is_signed)
    x86_opcode(x, w, 0x99, 0, 0, 0, false);
  else
    x86_rr(x, W32, 0x31, RDX, RDX);
  x86_rr(x, w, 0xf7, is_signed ? 7 : 6, r);
  if (by_minus_one) {
    struct cold *c = add_cold(e, COLD_ZERO, by_minus_one);
    c->resume = x->n;
    c->reg = RDX;
  }
}

static void emit_div(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum width w = width_of(k->operand);
  bool is_constant = k->form == FORM_CONSTANT;
  free_register(e, RDX);
  e->pinned |= BIT(RDX); /* nobody else gets it */
  int l = use(e, p->b, k->operand), r = is_constant ? RCX : use(e, p->c, k->operand);
  if (is_constant) x86_constant(e->x, RCX, p->imm);
  emit_divide(e, p, k, l, r);
  e->stamp++; /* registers of operands may be taken for the result: with those that are pinned there are no others */
  done_with(e, p->b);
  if (!is_constant) done_with(e, p->c);
  int d = define(e, p->a, k->result);
  x86_move(e->x, w, d, k->detail & 1 ? RDX : RAX);
  e->pinned &= ~BIT(RDX);
  finish(e, d);
}

/* One operand, one result. */
struct unary {
  int from, to;
};

static struct unary begin_unary(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = {.from = use(e, p->b, k->operand)};
  done_with(e, p->b);
  u.to = define(e, p->a, k->result);
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
  finish(e, u.to);
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
  finish(e, u.to);
}

static void emit_move(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  struct unary u = begin_unary(e, p, k);
  if (k->kind == BASELINE_EXTEND_SIGNED)
    x86_rr(e->x, W64, 0x63, u.to, u.from);
  else
    x86_move(e->x, W32, u.to, u.from);
  finish(e, u.to);
}

/* Bits as they are, from one kind of register to another, or the same. */
static void move_any(struct emitter *e, int to, int from) {
  if (to == from) return;
  if (is_xmm(to) && is_xmm(from))
    x86_rr(e->x, W32, 0x0f28, to & 15, from & 15);
  else if (is_xmm(to))
    x86_rr(e->x, W64, P66(0x0f6e), to & 15, from);
  else if (is_xmm(from))
    x86_rr(e->x, W64, P66(0x0f7e), from & 15, to);
  else
    x86_move(e->x, W64, to, from);
}

static void emit_bits(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int from = use_any(e, p->b);
  done_with(e, p->b);
  int to = define(e, p->a, k->result);
  move_any(e, to, from);
  if (k->result == 'i') e->regs[to].is_narrow = false;
  finish(e, to);
}

static void emit_copy(struct emitter *e, const struct precise_insn *p) {
  int from = use_any(e, p->b);
  int pin = e->pin[p->a / SLOT_SIZE];
  int to = define(e, p->a, is_xmm(pin != NO_REG ? pin : from) ? 'F' : 'I');
  move_any(e, to, from);
  e->regs[to].is_narrow = !is_xmm(from) && e->regs[from].is_narrow;
  finish(e, to);
}

static void emit_constant(struct emitter *e, const struct precise_insn *p) {
  int pin = e->pin[p->a / SLOT_SIZE];
  int to = define(e, p->a, pin != NO_REG && is_xmm(pin) ? 'F' : 'I');
  if (is_xmm(to)) {
    x86_constant(e->x, RAX, p->imm);
    move_any(e, to, RAX);
  } else {
    x86_constant(e->x, to, p->imm);
    e->regs[to].is_narrow = p->imm <= UINT32_MAX;
  }
  finish(e, to);
}

/* --- floats -------------------------------------------------------------------------------------------------------------------
 */

static uint32_t scalar_opcode(char letter, uint32_t opcode) { return letter == 'f' ? PF3(opcode) : PF2(opcode); }
static void move_xmm(struct emitter *e, int to, int from) {
  if (to != from) x86_rr(e->x, W32, 0x0f28, to & 15, from & 15);
}

/* Every NaN is the canonical one. */
static void emit_canonical(struct emitter *e, int r, char letter) {
  x86_rr(e->x, W32, letter == 'f' ? 0x0f2e : P66(0x0f2e), r & 15, r & 15);
  struct cold *c = add_cold(e, COLD_NAN, x86_jump_if(e->x, CC_P));
  c->resume = e->x->n;
  c->reg = (uint8_t)r;
  c->detail = letter == 'f';
}

/* The second operand of a row with two. */
static int second_float(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  if (k->form == FORM_PLAIN) return use(e, p->c, k->operand);
  x86_constant(e->x, RAX, p->imm);
  x86_rr(e->x, W64, P66(0x0f6e), XMM1 & 15, RAX);
  return XMM1;
}

static void emit_fbin(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int l = use(e, p->b, k->operand), r = second_float(e, p, k);
  uint32_t opcode = scalar_opcode(k->operand, k->detail);
  done_with(e, p->b);
  if (k->form == FORM_PLAIN) done_with(e, p->c);
  int d = define(e, p->a, k->result);
  if (d == r && d != l) {
    move_xmm(e, XMM0, l);
    x86_rr(e->x, W32, opcode, XMM0 & 15, r & 15);
    move_xmm(e, d, XMM0);
  } else {
    move_xmm(e, d, l);
    x86_rr(e->x, W32, opcode, d & 15, r & 15);
  }
  emit_canonical(e, d, k->result);
  finish(e, d);
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
    jump_to_insn(e, x86_jump_if(e->x, condition ^ is_unless), to);
  } else if ((relation == RELATION_OEQ) != is_unless) { /* where they are equal, and no NaN */
    uint32_t over = x86_skip_if(e->x, CC_P);
    jump_to_insn(e, x86_jump_if(e->x, CC_E), to);
    x86_land(e->x, over);
  } else {
    jump_to_insn(e, x86_jump_if(e->x, CC_P), to);
    jump_to_insn(e, x86_jump_if(e->x, CC_NE), to);
  }
}

static void emit_fcmp(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  enum baseline_relation relation = (enum baseline_relation)k->detail;
  int l = use(e, p->b, k->operand), r = second_float(e, p, k);
  done_with(e, p->b);
  if (k->form == FORM_PLAIN) done_with(e, p->c);
  if (branch_follows(e, p->a)) {
    settle(e);
    emit_float_branch(e, relation, emit_float_flags(e, relation, k->operand, l, r));
    return;
  }
  unsigned condition = emit_float_flags(e, relation, k->operand, l, r);
  if (relation != RELATION_OEQ && relation != RELATION_UNE) {
    emit_condition(e, p, condition);
    return;
  }
  emit_float_equal(e, relation == RELATION_OEQ);
  int d = define(e, p->a, 'i');
  x86_rr(e->x, W8, 0x0fb6, d, RAX);
  finish(e, d);
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
  finish(e, u.to);
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
  finish(e, u.to);
}

static void emit_from_integer(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  bool is_unsigned = k->kind == BASELINE_FROM_UNSIGNED;
  if (is_unsigned && k->operand == 'I') {
    emit_handler(e);
    return;
  }
  struct unary u = begin_unary(e, p, k);
  x86_rr(e->x, W32, 0x0f57, u.to & 15, u.to & 15);
  x86_rr(e->x, is_unsigned ? W64 : width_of(k->operand), scalar_opcode(k->result, 0x0f2a), u.to & 15, u.from);
  finish(e, u.to);
}

/* What does not fit, the handler looks at: it traps. */
static void emit_trunc(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int from = use(e, p->b, k->operand);
  x86_rr(e->x, W64, scalar_opcode(k->operand, 0x0f2c), RAX, from & 15);
  x86_rr(e->x, k->detail ? W32 : W64, k->detail ? 0x8b : 0x63, RCX, RAX);
  x86_rr(e->x, W64, 0x3b, RCX, RAX);
  trap_from(e, x86_jump_if(e->x, CC_NE), p->b, from);
  done_with(e, p->b);
  int to = define(e, p->a, 'i');
  x86_move(e->x, W32, to, RAX);
  finish(e, to);
}

/* --- memory, globals
 * ------------------------------------------------------------------------------------------------------------- */

static unsigned log_of(unsigned size) { return (unsigned)__builtin_ctz(size); }

/* Checks the access whose index is in *index, where no guard does. What is accessed is [base + *index + *disp]. */
static void emit_check(struct emitter *e, uint64_t offset, uint8_t size, int *index, int32_t *disp) {
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
  add_cold(e, COLD_ACCESS, x86_jump_if(x, CC_A))->detail = (uint8_t)log_of(size);
}

static void emit_load(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int index = use(e, p->b, 'i'), base = use_base(e);
  int32_t disp;
  emit_check(e, p->imm, k->size, &index, &disp);
  done_with(e, p->b);
  int to = define(e, p->a, k->result);
  bool extends = k->detail != 0x8b && k->detail != 0x0fb6 && k->detail != 0x0fb7; /* by its sign */
  enum width w = k->result == 'I' && (extends || k->size == 8) ? W64 : W32;
  x86_rx(e->x, w, k->detail, to & 15, base, index, 0, disp);
  finish(e, to);
}

static void emit_store(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  int index = use(e, p->a, 'i'), value = use(e, p->b, k->operand), base = use_base(e);
  int32_t disp;
  emit_check(e, p->imm, k->size, &index, &disp);
  enum width w = k->size == 1 ? W8 : k->size == 8 && !is_xmm(value) ? W64 : W32;
  x86_rx(e->x, w, k->detail, value & 15, base, index, 0, disp);
  done_with(e, p->a);
  done_with(e, p->b);
}

/* Where global `index` is: of its own in the vmctx, else where that says. */
static int global_at(struct emitter *e, const struct precise_insn *p, int32_t *disp) {
  uint32_t index = (p->b - e->layout.globals) / (uint32_t)sizeof(void *);
  int vmctx = use_vmctx(e);
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
  int value = use_any(e, p->a), at = global_at(e, p, &disp);
  if (is_xmm(value))
    x86_rm(e->x, W32, PF2(0x0f11), value & 15, at, disp);
  else
    x86_rm(e->x, W64, 0x89, value, at, disp);
  done_with(e, p->a);
}

static void emit_global_get(struct emitter *e, const struct precise_insn *p) {
  int32_t disp;
  int at = global_at(e, p, &disp), pin = e->pin[p->a / SLOT_SIZE];
  int to = define(e, p->a, pin != NO_REG && is_xmm(pin) ? 'F' : 'I');
  if (is_xmm(to))
    x86_rm(e->x, W32, PF2(0x0f10), to & 15, at, disp);
  else
    x86_rm(e->x, W64, 0x8b, to, at, disp);
  e->regs[to].is_narrow = false;
  finish(e, to);
}

/* --- control -------------------------------------------------------------------------------------------------------------------
 */

static void emit_charge(struct emitter *e, const struct precise_insn *p) {
  struct x86 *x = e->x;
  if (p->imm == 0) return;
  if (p->imm <= INT32_MAX) {
    x86_ri(x, W64, 5, FIXED_GAS, (int32_t)p->imm);
  } else {
    x86_constant(x, RAX, p->imm);
    x86_rr(x, W64, 0x2b, FIXED_GAS, RAX);
  }
  struct cold *c = add_cold(e, COLD_CHARGE, x86_jump_if(x, CC_S));
  c->resume = x->n;
}

static void emit_branch(struct emitter *e) {
  settle(e);
  uint32_t to = target_of(e, e->i);
  if (to != e->i + 1) jump_to_insn(e, x86_jump(e->x), to);
  e->is_reachable = to == e->i + 1;
}

static void emit_branch_table(struct emitter *e, const struct precise_insn *p) {
  struct x86 *x = e->x;
  int index = use(e, p->a, 'i');
  done_with(e, p->a);
  settle(e);
  x86_move(x, W32, RCX, index);
  x86_constant(x, RAX, p->b);
  x86_rr(x, W64, 0x3b, RCX, RAX);
  x86_rr(x, W64, 0x0f43, RCX, RAX); /* not to be guessed: base/speculation.h */
  uint32_t at = x86_rip(x, W64, 0x8d, RAX);
  x86_rx(x, W64, 0x63, RCX, RAX, RCX, 2, 0);
  x86_rr(x, W64, 0x03, RAX, RCX);
  x86_rr(x, W32, 0xff, 4, RAX);
  add_cold(e, COLD_TABLE, at);
  e->is_reachable = false;
}

/* Back to the caller. Its frame is the current one from here on; the result may lie where this one's header was. */
static void emit_finish(struct emitter *e, const struct precise_insn *p, bool has_result) {
  struct x86 *x = e->x;
  int result = has_result ? use_any(e, p->a) : 0;
  bool is_late = has_result && e->func->header == 0;
  if (is_late) {
    move_any(e, XMM0, result);
    x86_move(x, W64, RAX, FIXED_FP);
  } else if (has_result) {
    store_slot(e, result, 0);
  }
  x86_rm(x, W64, 0x8b, RCX, FIXED_FP, HEADER(caller));
  load_vmctx(e);
  x86_rm(x, W64, 0x8b, R12, FIXED_FP, HEADER(return_pc));
  x86_rm(x, W64, 0x8b, FIXED_FP, FIXED_FP, HEADER(return_fp));
  if (is_late) x86_rm(x, W32, PF2(0x0f11), 0, RAX, 0);
  x86_rm(x, W64, 0x89, RCX, FIXED_STORE, FRAME);
  store_gas(e);
  x86_rm(x, W64, 0x3b, R15, RCX, offsetof(struct precise_frame, vmctx));
  add_cold(e, COLD_LEAVE, x86_jump_if(x, CC_NE));
  x86_rm(x, W32, 0xff, 4, R12, 0);
  e->is_reachable = false;
}

static void emit_call(struct emitter *e, const struct precise_insn *p) {
  struct x86 *x = e->x;
  write_all_back(e);
  x86_rm(x, W64, 0x8d, RCX, FIXED_FP, (int32_t)p->a);
  uint32_t at = x86_rip(x, W64, 0x8d, R12);
  x86_constant(x, RAX, (uintptr_t)p->pointer);
  x86_rm(x, W32, 0xff, 4, RAX, offsetof(struct precise_func, fast));
  forget_all(e);
  struct cold *c = add_cold(e, COLD_HANDLER, at);
  c->resume = x->n;
  c->detail = 1; /* r12 is what comes behind */
  load_gas(e);
}

/* Like the interpreter's `enter`, for callers that are machine code: r12 is where to return to, r13 the caller's slots, rcx the
 * new ones, rax the function. */
static void emit_entry(struct emitter *e) {
  struct x86 *x = e->x;
  int32_t cost = e->func->cost;
  x86_rm(x, W64, 0x8b, RDX, FIXED_STORE, FRAME);
  x86_rm(x, W32, 0x8b, RSI, RDX, offsetof(struct precise_frame, depth));
  x86_rm(x, W64, 0x8b, R15, RDX, offsetof(struct precise_frame, vmctx));
  x86_move(x, W32, R8, RSI);
  if (cost) {
    x86_ri(x, W32, 5, R8, cost);
    add_cold(e, COLD_LEAVE, x86_jump_if(x, CC_S))->detail = 1;
  }
  x86_rm(x, W64, 0x89, R12, RCX, HEADER(return_pc));
  x86_rm(x, W64, 0x89, R13, RCX, HEADER(return_fp));
  x86_rm(x, W64, 0x89, RDX, RCX, HEADER(caller));
  x86_rm(x, W64, 0x89, R15, RCX, HEADER(vmctx));
  x86_rm(x, W64, 0x89, RAX, RCX, HEADER(func));
  x86_rm(x, W32, 0x89, RSI, RCX, HEADER(depth_in));
  x86_rm(x, W32, 0x89, R8, RCX, HEADER(depth));
  x86_rm(x, W64, 0x8d, RDX, RCX, HEADER(return_pc));
  x86_rm(x, W64, 0x89, RDX, FIXED_STORE, FRAME);
  x86_move(x, W64, FIXED_FP, RCX);
}

enum { FEW_LOCALS = 12 };

static void emit_zeroes(struct emitter *e) {
  struct x86 *x = e->x;
  int32_t at = (int32_t)(e->func->n_params * SLOT_SIZE);
  uint32_t n = e->func->n_zero;
  if (n) x86_rr(x, W32, 0x0f57, 0, 0);
  if (n <= FEW_LOCALS) {
    for (uint32_t i = 0; i < n; i++) x86_rm(x, W32, 0x0f11, 0, FIXED_FP, at + (int32_t)(i * SLOT_SIZE));
    return;
  }
  x86_rm(x, W64, 0x8d, RCX, FIXED_FP, at);
  x86_constant(x, RAX, n);
  uint32_t loop = x->n;
  x86_rm(x, W32, 0x0f11, 0, RCX, 0);
  x86_ri(x, W64, 0, RCX, SLOT_SIZE);
  x86_ri(x, W32, 5, RAX, 1);
  x86_patch(x, x86_jump_if(x, CC_NE), loop);
}

/* --- behind the code
 * ------------------------------------------------------------------------------------------------------------ */

static void mark(struct emitter *e, uint32_t insn) {
  struct baseline_output *out = e->out;
  out->marks = grown(out->marks, &out->marks_capacity, out->n_marks, sizeof *out->marks);
  out->marks[out->n_marks++] = (struct baseline_mark){e->x->n, insn};
}

static void to_stub(struct emitter *e, uint32_t at, uint32_t stub) {
  struct baseline_output *out = e->out;
  out->stubs = grown(out->stubs, &out->stubs_capacity, out->n_stubs, sizeof *out->stubs);
  out->stubs[out->n_stubs++] = (struct baseline_mark){at, stub};
}

static void align(struct emitter *e) {
  while (e->x->n % 8) x86_byte(e->x, 0xcc);
}

/* An instruction whose handler is at offset `to`; the rest is not looked at. */
static void place_continuation(struct emitter *e, uint32_t to) {
  struct baseline_output *out = e->out;
  out->cells = grown(out->cells, &out->cells_capacity, out->n_cells, sizeof *out->cells);
  out->cells[out->n_cells++] = e->x->n;
  x86_reserve(e->x, X86_ROOM);
  x86_u64(e->x, to);
}

static void place_insn(struct emitter *e, const struct precise_insn *insn) {
  x86_reserve(e->x, X86_ROOM);
  memcpy(e->x->bytes + e->x->n, insn, sizeof *insn);
  e->x->n += (uint32_t)sizeof *insn;
}

static void fill(struct emitter *e, uint32_t n) {
  x86_reserve(e->x, X86_ROOM);
  for (uint32_t i = 0; i < n; i++) x86_byte(e->x, 0xcc);
}

/* From a handler to a label: everything as it is at branches. Returns where it begins. */
static uint32_t place_way_in(struct emitter *e, uint32_t insn) {
  uint32_t begin = e->x->n;
  load_gas(e);
  EACH_OF(e->pinned, r) load_slot(e, (int)r, e->regs[r].pinned_slot, e->regs[r].pinned_letter);
  jump_to_insn(e, x86_jump(e->x), insn);
  return begin;
}

/* [instruction][where it goes on], and where it may jump: [instruction, which jumps by 2][goes on][jumps]. */
static void place_handler(struct emitter *e, const struct cold *c) {
  struct precise_insn insn = e->insns[c->insn];
  bool jumps = insn.run == do_clause_tag, is_caught = c->insn + 1 < e->n && e->insns[c->insn + 1].run == do_on_exception;
  uint32_t way_in = 0;
  if (jumps) way_in = place_way_in(e, target_of(e, c->insn));
  if (is_caught) way_in = place_way_in(e, target_of(e, c->insn + 1));
  align(e);
  mark(e, c->insn);
  x86_patch(e->x, c->from, e->x->n + (c->detail ? (uint32_t)sizeof insn : 0));
  if (jumps) insn.c = 2;
  place_insn(e, &insn);
  if (is_caught) {
    struct precise_insn on_exception = e->insns[c->insn + 1];
    on_exception.c = 2;
    place_insn(e, &on_exception);
  }
  place_continuation(e, c->resume);
  if (!is_caught && !jumps) return;
  fill(e, sizeof insn - 8);
  place_continuation(e, way_in);
}

static void place_trap(struct emitter *e, const struct cold *c) {
  x86_patch(e->x, c->from, e->x->n);
  for (uint32_t i = 0; i < c->n; i++) store_slot(e, (int)e->saved[c->first + i].reg, e->saved[c->first + i].slot);
  uint32_t at = run_handler(e);
  align(e);
  x86_patch(e->x, at, e->x->n);
  place_insn(e, &e->insns[c->insn]);
  place_continuation(e, 0);
}

static void place_charge(struct emitter *e, const struct cold *c) {
  x86_patch(e->x, c->from, e->x->n);
  to_stub(e, x86_call(e->x), STUB_CHARGE);
  x86_patch(e->x, x86_jump(e->x), c->resume);
}

static void place_table(struct emitter *e, const struct cold *c) {
  uint32_t n = e->insns[c->insn].b + 1;
  while (e->x->n % 4) x86_byte(e->x, 0xcc);
  uint32_t table = e->x->n;
  x86_patch(e->x, c->from, table);
  for (uint32_t i = 0; i < n; i++) {
    x86_reserve(e->x, X86_ROOM);
    jump_to_insn(e, e->x->n, target_of(e, c->insn + 1 + i));
    e->jumps[e->n_jumps - 1].table = table;
    x86_u32(e->x, 0);
  }
}

static void place_nan(struct emitter *e, const struct cold *c) {
  x86_patch(e->x, c->from, e->x->n);
  x86_constant(e->x, RAX, c->detail ? UINT64_C(0x7fc00000) : UINT64_C(0x7ff8000000000000));
  x86_rr(e->x, W64, P66(0x0f6e), c->reg & 15, RAX);
  x86_patch(e->x, x86_jump(e->x), c->resume);
}

static void place_cold(struct emitter *e, const struct cold *c) {
  if (c->kind != COLD_HANDLER) mark(e, c->insn);
  switch ((enum cold_kind)c->kind) {
  case COLD_CHARGE: place_charge(e, c); break;
  case COLD_ACCESS:
    x86_patch(e->x, c->from, e->x->n);
    to_stub(e, x86_call(e->x), STUB_ACCESS + c->detail);
    break;
  case COLD_NAN: place_nan(e, c); break;
  case COLD_TRAP: place_trap(e, c); break;
  case COLD_HANDLER: place_handler(e, c); break;
  case COLD_ZERO:
    x86_patch(e->x, c->from, e->x->n);
    x86_rr(e->x, W32, 0x31, c->reg, c->reg);
    x86_patch(e->x, x86_jump(e->x), c->resume);
    break;
  case COLD_LEAVE: to_stub(e, c->from, c->detail ? STUB_CALL : STUB_LEAVE); break;
  case COLD_TABLE: place_table(e, c); break;
  }
}

static void resolve_jumps(struct emitter *e) {
  for (uint32_t i = 0; i < e->n_jumps; i++) {
    const struct jump *j = &e->jumps[i];
    uint32_t to = e->out->starts[j->insn];
    if (j->table) {
      uint32_t distance = to - j->table;
      memcpy(e->x->bytes + j->at, &distance, sizeof distance);
    } else {
      x86_patch(e->x, j->at, to);
    }
  }
}

/* --- what gets a register
 * ---------------------------------------------------------------------------------------------------------- */

struct counts {
  struct emitter *e;
  uint32_t *uses;
  uint32_t weight;
};

static void count(struct counts *c, uint32_t offset, char letter) {
  uint32_t slot = offset / SLOT_SIZE;
  if (offset >= c->e->func->header && slot < c->e->n_slots) return;
  c->uses[slot] += c->weight;
  if (letter) c->e->letters[slot] = letter;
}

static void count_insn(struct counts *c, const struct precise_insn *p, const struct baseline_entry *k) {
  switch (k->kind) {
  case BASELINE_BIN:
  case BASELINE_SHIFT:
  case BASELINE_ICMP:
  case BASELINE_DIV:
  case BASELINE_FBIN:
  case BASELINE_FCMP:
    if (k->form <= FORM_CONSTANT) count(c, p->b, k->operand);
    count(c, p->a, k->form <= FORM_CONSTANT ? k->result : k->operand);
    if (k->form == FORM_PLAIN) count(c, p->c, k->operand);
    if (k->form == FORM_BRANCH) count(c, p->b, k->operand);
    return;
  case BASELINE_LOAD:
    count(c, p->b, 'i');
    count(c, p->a, k->result);
    count(c, base_slot(c->e) * SLOT_SIZE, 'I');
    return;
  case BASELINE_STORE:
    count(c, p->a, 'i');
    count(c, p->b, k->operand);
    count(c, base_slot(c->e) * SLOT_SIZE, 'I');
    return;
  case BASELINE_COPY:
    count(c, p->a, 0);
    count(c, p->b, 0);
    return;
  case BASELINE_SELECT:
    count(c, p->a, 0);
    count(c, p->b, 0);
    count(c, p->c, 0);
    count(c, p->d, 'i');
    return;
  case BASELINE_BRANCH_IF: count(c, p->a, k->detail & 16 ? 'I' : 'i'); return;
  case BASELINE_BRANCH_TABLE: count(c, p->a, 'i'); return;
  case BASELINE_CONSTANT:
  case BASELINE_FINISH_ONE:
  case BASELINE_GLOBAL_GET:
  case BASELINE_GLOBAL_SET: count(c, p->a, 0); return;
  default:
    if (k->kind < BASELINE_EQZ || k->kind > BASELINE_TRUNC) return;
    count(c, p->b, k->operand);
    count(c, p->a, k->result);
  }
}

/* Instructions that may go elsewhere, by c. */
static bool is_branch(const struct baseline_entry *k) {
  return k->kind == BASELINE_BRANCH || k->kind == BASELINE_BRANCH_IF || k->kind == BASELINE_ON_EXCEPTION ||
         k->kind == BASELINE_CLAUSE_TAG || k->form >= FORM_BRANCH;
}

/* How often an instruction runs, guessed from the loops around it. */
enum { MOST_NESTING = 5 };

static bool find_targets(struct emitter *e, int32_t *nesting) {
  bool has_loop = false;
  for (uint32_t i = e->n; i-- > 0;) {
    const struct baseline_entry *k = e->out->entries[i] = baseline_find(e->insns[i].run);
    if (!is_branch(k)) continue;
    uint32_t to = target_of(e, i);
    if (!e->is_target[to]) e->is_target[to] = 1;
    if (to > i) continue;
    has_loop = true;
    if (e->is_target[to] == 2) continue; /* one level for each header, as far as its last branch */
    e->is_target[to] = 2;
    nesting[to]++;
    nesting[i + 1]--;
  }
  return has_loop;
}

/* The slot used most of those of one kind of register. */
static uint32_t find_most_used(const struct emitter *e, const uint32_t *uses, bool is_xmm_wanted) {
  uint32_t best = e->n_slots, n_locals = e->func->header / SLOT_SIZE;
  for (uint32_t slot = 0; slot < n_locals; slot++)
    if (uses[slot] > (best == e->n_slots && is_xmm_wanted ? 0 : uses[best]) && is_float(e->letters[slot]) == is_xmm_wanted)
      best = slot;
  return best == e->n_slots && (is_xmm_wanted || !uses[best]) ? NO_SLOT : best;
}

static bool pin_best(struct emitter *e, uint32_t *uses, bool is_xmm_wanted, int r) {
  uint32_t slot = find_most_used(e, uses, is_xmm_wanted);
  if (slot == NO_SLOT) return false;
  uses[slot] = 0;
  e->pin[slot] = (uint8_t)r;
  e->pinned |= BIT(r);
  e->regs[r].pinned_slot = slot;
  e->regs[r].pinned_letter = e->letters[slot];
  return true;
}

static void choose_pins(struct emitter *e, uint32_t *uses) {
  for (int i = 0; i < MOST_PINS && pin_best(e, uses, false, general_pool[i]); i++) continue;
  for (int i = 0; i < MOST_XMM_PINS && pin_best(e, uses, true, XMM_FIRST + i); i++) continue;
}

static void look_ahead(struct emitter *e) {
  int32_t *nesting = heap_new(e->n + 1, sizeof *nesting);
  if (find_targets(e, nesting)) {
    struct counts c = {.e = e, .uses = heap_new(e->n_slots + 1, sizeof *c.uses)};
    int32_t level = 0;
    for (uint32_t i = 0; i < e->n; i++) {
      level += nesting[i];
      if (level <= 0) continue;
      c.weight = 1u << 3 * (level < MOST_NESTING ? level : MOST_NESTING);
      count_insn(&c, &e->insns[i], e->out->entries[i]);
    }
    choose_pins(e, c.uses);
    free(c.uses);
  }
  free(nesting);
}

/* --- the pass
 * ----------------------------------------------------------------------------------------------------------------------- */

static void emit_value(struct emitter *e, const struct precise_insn *p, const struct baseline_entry *k) {
  switch (k->kind) {
  case BASELINE_BIN: k->form == FORM_CONSTANT ? emit_bin_constant(e, p, k) : emit_bin(e, p, k); return;
  case BASELINE_SHIFT: emit_shift(e, p, k); return;
  case BASELINE_ICMP:
  case BASELINE_EQZ: k->form >= FORM_BRANCH ? emit_icmp_branch(e, p, k) : emit_icmp(e, p, k); return;
  case BASELINE_DIV: emit_div(e, p, k); return;
  case BASELINE_BITCOUNT: emit_bitcount(e, p, k); return;
  case BASELINE_EXTEND: emit_extend(e, p, k); return;
  case BASELINE_WRAP:
  case BASELINE_EXTEND_SIGNED:
  case BASELINE_EXTEND_UNSIGNED: emit_move(e, p, k); return;
  case BASELINE_FROM_SIGNED:
  case BASELINE_FROM_UNSIGNED: emit_from_integer(e, p, k); return;
  case BASELINE_BITS: emit_bits(e, p, k); return;
  case BASELINE_FBIN: emit_fbin(e, p, k); return;
  case BASELINE_FCMP: emit_fcmp(e, p, k); return;
  case BASELINE_ROUND:
  case BASELINE_SQRT:
  case BASELINE_DEMOTE:
  case BASELINE_PROMOTE: emit_float_unary(e, p, k); return;
  case BASELINE_FABS:
  case BASELINE_FNEG: emit_sign(e, p, k); return;
  case BASELINE_TRUNC: emit_trunc(e, p, k); return;
  case BASELINE_LOAD: emit_load(e, p, k); return;
  case BASELINE_STORE: emit_store(e, p, k); return;
  default: emit_handler(e);
  }
}

static void emit_insn(struct emitter *e, const struct precise_insn *p) {
  const struct baseline_entry *k = e->out->entries[e->i];
  switch (k->kind) {
  case BASELINE_CHARGE: emit_charge(e, p); return;
  case BASELINE_CONSTANT: emit_constant(e, p); return;
  case BASELINE_COPY: emit_copy(e, p); return;
  case BASELINE_SELECT: emit_select(e, p); return;
  case BASELINE_BRANCH: emit_branch(e); return;
  case BASELINE_BRANCH_IF: emit_branch_if(e, p, k); return;
  case BASELINE_BRANCH_TABLE: emit_branch_table(e, p); return;
  case BASELINE_FINISH:
  case BASELINE_FINISH_ONE: emit_finish(e, p, k->kind == BASELINE_FINISH_ONE); return;
  case BASELINE_THROW:
  case BASELINE_LEAVE: emit_leaving_handler(e); return;
  case BASELINE_CALL: emit_call(e, p); return;
  case BASELINE_GLOBAL_GET: emit_global_get(e, p); return;
  case BASELINE_GLOBAL_SET: emit_global_set(e, p); return;
  case BASELINE_ON_EXCEPTION: return; /* it is with the call before */
  default: emit_value(e, p, k);
  }
}

static void emit_head(struct emitter *e) {
  place_continuation(e, sizeof(struct precise_insn));
  fill(e, sizeof(struct precise_insn) - 8);
  load_gas(e);
  uint32_t over = x86_jump(e->x);
  e->out->fast = e->x->n;
  emit_entry(e);
  emit_zeroes(e);
  x86_patch(e->x, over, e->x->n);
}

static void emit_all(struct emitter *e) {
  emit_head(e);
  e->is_reachable = true;
  forget_all(e);
  for (e->i = 0; e->i < e->n; e->i++) {
    e->stamp++;
    if (e->is_target[e->i]) {
      if (e->is_reachable) settle(e);
      forget(e, ~e->pinned);
      EACH_OF(e->pinned, r) bind_pinned(e, (int)r);
      e->is_reachable = true;
    }
    e->out->starts[e->i] = e->x->n;
    if (e->is_reachable) emit_insn(e, &e->insns[e->i]);
  }
  e->out->hot_end = e->x->n;
  forget(e, ~0u);
  for (uint32_t i = 0; i < e->n_colds; i++) {
    e->i = e->colds[i].insn;
    place_cold(e, &e->colds[i]);
  }
  resolve_jumps(e);
}

/* What is known of slots and instructions begins anew, in memory that the last function may have left. */
static void prepare(struct emitter *e) {
  struct baseline_output *out = e->out;
  size_t slots = (size_t)e->n_slots + 2, size = 3 * slots + e->n;
  out->code.n = out->n_marks = out->n_cells = out->n_stubs = 0;
  out->n_insns = e->n;
  if (e->n > out->insns_capacity) {
    out->insns_capacity = 2 * e->n;
    out->starts = heap_resize(out->starts, out->insns_capacity, sizeof *out->starts);
    out->entries = heap_resize(out->entries, out->insns_capacity, sizeof *out->entries);
  }
  if (size > out->scratch_capacity) {
    out->scratch_capacity = 2 * size;
    out->scratch = heap_resize(out->scratch, out->scratch_capacity, 1);
  }
  e->where = out->scratch;
  e->pin = e->where + slots;
  e->letters = (char *)e->pin + slots;
  e->is_target = (uint8_t *)e->letters + slots;
  memset(e->where, NO_REG, 2 * slots);
  memset(e->letters, 0, slots + e->n);
}

bool baseline_emit(struct baseline_output *out, const struct precise_func *func, const struct precise_insn *insns, uint32_t n) {
  const struct module *m = &func->module->module->decoded;
  struct vmctx_counts counts = module_vmctx_counts(m);
  struct emitter e = {.out = out, .x = &out->code, .func = func, .insns = insns, .n = n, .layout = vmctx_layout(&counts)};
  e.n_imported_globals = m->n_imported_globals;
  e.is_guarded = m->n_memories && m->memories[0].type.limits.page_size_log2 == 16;
  e.n_slots = func->frame_bytes / SLOT_SIZE;
  e.operands = func->operands;
  e.colds = out->colds, e.colds_capacity = out->colds_capacity;
  e.jumps = out->jumps, e.jumps_capacity = out->jumps_capacity;
  prepare(&e);
  look_ahead(&e);
  emit_all(&e);
  out->colds = e.colds, out->colds_capacity = e.colds_capacity;
  out->jumps = e.jumps, out->jumps_capacity = e.jumps_capacity;
  free(e.saved);
  return !e.has_failed;
}

void baseline_output_clear(struct baseline_output *out) {
  free(out->code.bytes);
  free(out->starts);
  free(out->entries);
  free(out->scratch);
  free(out->colds);
  free(out->jumps);
  free(out->marks);
  free(out->cells);
  free(out->stubs);
}
