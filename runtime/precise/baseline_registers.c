/* Which register holds which slot, while a function is emitted (essay in runtime/precise/baseline_emit.c). */
#include "runtime/precise/emitter.h"

void emitter_store_slot(struct emitter *e, int r, uint32_t slot) {
  if (is_xmm(r))
    x86_rm(e->x, W32, PF2(0x0f11), r & 15, FIXED_FP, (int32_t)(slot * SLOT_SIZE));
  else
    x86_rm(e->x, W64, 0x89, r, FIXED_FP, (int32_t)(slot * SLOT_SIZE));
}

void emitter_load_slot(struct emitter *e, int r, uint32_t slot, char letter) {
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
  if (e->dirty & BIT(r)) emitter_store_slot(e, r, e->regs[r].slot);
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
int emitter_use(struct emitter *e, uint32_t offset, char letter) {
  uint32_t slot = offset / SLOT_SIZE;
  int r = e->where[slot];
  if (r == NO_REG) {
    r = e->pin[slot] != NO_REG ? e->pin[slot] : allocate(e, is_float(letter));
    bind_slot(e, r, slot, false, letter == 'i');
    emitter_load_slot(e, r, slot, letter);
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
int emitter_use_any(struct emitter *e, uint32_t offset) {
  uint32_t slot = offset / SLOT_SIZE;
  int r = e->where[slot] != NO_REG ? e->where[slot] : e->pin[slot];
  return emitter_use(e, offset, r != NO_REG && is_xmm(r) ? 'F' : 'I');
}

int emitter_use_base(struct emitter *e) { return emitter_use(e, base_slot(e) * SLOT_SIZE, 'I'); }
int emitter_use_vmctx(struct emitter *e) { return emitter_use(e, vmctx_slot(e) * SLOT_SIZE, 'I'); }

/* Operands are read once. */
void emitter_done_with(struct emitter *e, uint32_t offset) {
  uint32_t slot = offset / SLOT_SIZE;
  if (offset >= e->operands && e->where[slot] != NO_REG && e->pin[slot] == NO_REG) unbind(e, e->where[slot]);
}

/* The register for a result at byte `offset`; once it is there, finish. */
int emitter_define(struct emitter *e, uint32_t offset, char letter) {
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
void emitter_finish(struct emitter *e, int r) {
  if (!is_pinned(e, r)) return;
  if (e->regs[r].pinned_letter == 'i' && !e->regs[r].is_narrow) {
    x86_move(e->x, W32, r, r);
    e->regs[r].is_narrow = true;
  }
  emitter_store_slot(e, r, e->regs[r].slot);
}

void emitter_write_all_back(struct emitter *e) {
  EACH_OF(e->dirty, r) emitter_store_slot(e, (int)r, e->regs[r].slot);
  e->dirty = 0;
}

void emitter_bind_pinned(struct emitter *e, int r) {
  bind_slot(e, r, e->regs[r].pinned_slot, false, e->regs[r].pinned_letter == 'i');
}

/* All slots right, all pinned registers loaded. */
void emitter_settle(struct emitter *e) {
  emitter_write_all_back(e);
  EACH_OF(e->pinned & ~e->bound, r) {
    emitter_bind_pinned(e, (int)r);
    emitter_load_slot(e, (int)r, e->regs[r].pinned_slot, e->regs[r].pinned_letter);
  }
}

void emitter_forget(struct emitter *e, uint32_t set) { EACH_OF(set & e->bound, r) unbind(e, (int)r); }

/* Behind handlers and calls the vmctx is in r15. */
void emitter_forget_all(struct emitter *e) {
  emitter_forget(e, ~0u);
  if (!is_pinned(e, R15)) bind_slot(e, R15, vmctx_slot(e), false, false);
}

void emitter_free_register(struct emitter *e, int r) {
  write_back(e, r);
  unbind(e, r);
}

/* Bits as they are, from one kind of register to another, or the same. */
void emitter_move_any(struct emitter *e, int to, int from) {
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
