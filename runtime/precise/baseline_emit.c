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
#include "runtime/precise/emitter.h"

#include <stdlib.h>

/* --- what is behind ------------------------------------------------------------------------------------------------------- */

struct cold *emitter_add_cold(struct emitter *e, enum cold_kind kind, uint32_t from) {
  if (e->n_colds == e->colds_capacity) array_grow(e->colds, e->colds_capacity, 32);
  struct cold *c = &e->colds[e->n_colds++];
  *c = (struct cold){.kind = (uint8_t)kind, .insn = e->i, .from = from, .first = e->n_saved};
  return c;
}

void emitter_add_constant(struct emitter *e, uint32_t from, enum vector_constant which) {
  emitter_add_cold(e, COLD_CONSTANT, from)->detail = (uint8_t)which;
}

void emitter_save(struct emitter *e, struct cold *c, uint32_t slot, int r) {
  if (e->n_saved == e->saved_capacity) array_grow(e->saved, e->saved_capacity, 32);
  e->saved[e->n_saved++] = (struct saved){slot, (uint32_t)r};
  c->n++;
}

void emitter_jump_to_insn(struct emitter *e, uint32_t at, uint32_t insn) {
  if (e->n_jumps == e->jumps_capacity) array_grow(e->jumps, e->jumps_capacity, 32);
  e->jumps[e->n_jumps++] = (struct jump){.at = at, .insn = insn};
}

static void load_vmctx(struct emitter *e) {
  if (e->where[vmctx_slot(e)] != R15) emitter_load_slot(e, R15, vmctx_slot(e), 'I');
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
void emitter_run_handler(struct emitter *e) {
  emitter_write_all_back(e);
  uint32_t at = run_handler(e);
  emitter_forget_all(e);
  struct cold *c = emitter_add_cold(e, COLD_HANDLER, at);
  c->resume = e->x->n;
  load_gas(e);
}

static void emit_leaving_handler(struct emitter *e) {
  emitter_write_all_back(e);
  uint32_t at = run_handler(e);
  emitter_add_cold(e, COLD_HANDLER, at)->resume = 0;
  e->is_reachable = false;
}

/* Traps by the handler where `from` jumps: it does what it does for the operands, which are put where it looks. */
struct cold *emitter_trap_from(struct emitter *e, uint32_t from, uint32_t offset, int r) {
  struct cold *c = emitter_add_cold(e, COLD_TRAP, from);
  emitter_save(e, c, offset / SLOT_SIZE, r);
  return c;
}

/* --- control ------------------------------------------------------------------------------------------------------- */

static void emit_charge(struct emitter *e, const struct precise_insn *p) {
  struct x86 *x = e->x;
  if (p->imm == 0) return;
  if (p->imm <= INT32_MAX) {
    x86_ri(x, W64, 5, FIXED_GAS, (int32_t)p->imm);
  } else {
    x86_constant(x, RAX, p->imm);
    x86_rr(x, W64, 0x2b, FIXED_GAS, RAX);
  }
  struct cold *c = emitter_add_cold(e, COLD_CHARGE, x86_jump_if(x, CC_S));
  c->resume = x->n;
}

static void emit_branch(struct emitter *e) {
  emitter_settle(e);
  uint32_t to = target_of(e, e->i);
  if (to != e->i + 1) emitter_jump_to_insn(e, x86_jump(e->x), to);
  e->is_reachable = to == e->i + 1;
}

static void emit_branch_table(struct emitter *e, const struct precise_insn *p) {
  struct x86 *x = e->x;
  int index = emitter_use(e, p->a, 'i');
  emitter_done_with(e, p->a);
  emitter_settle(e);
  x86_move(x, W32, RCX, index);
  x86_constant(x, RAX, p->b);
  x86_rr(x, W64, 0x3b, RCX, RAX);
  x86_rr(x, W64, 0x0f43, RCX, RAX); /* not to be guessed: base/speculation.h */
  uint32_t at = x86_rip(x, W64, 0x8d, RAX);
  x86_rx(x, W64, 0x63, RCX, RAX, RCX, 2, 0);
  x86_rr(x, W64, 0x03, RAX, RCX);
  x86_rr(x, W32, 0xff, 4, RAX);
  emitter_add_cold(e, COLD_TABLE, at);
  e->is_reachable = false;
}

/* Back to the caller. Its frame is the current one from here on; the result may lie where this one's header was. */
static void emit_finish(struct emitter *e, const struct precise_insn *p, bool has_result) {
  struct x86 *x = e->x;
  int result = has_result ? emitter_use_any(e, p->a) : 0;
  bool is_late = has_result && e->func->header == 0;
  if (is_late) {
    emitter_move_any(e, XMM0, result);
    x86_move(x, W64, RAX, FIXED_FP);
  } else if (has_result) {
    emitter_store_slot(e, result, 0);
  }
  x86_rm(x, W64, 0x8b, RCX, FIXED_FP, HEADER(caller));
  load_vmctx(e);
  x86_rm(x, W64, 0x8b, R12, FIXED_FP, HEADER(return_pc));
  x86_rm(x, W64, 0x8b, FIXED_FP, FIXED_FP, HEADER(return_fp));
  if (is_late) x86_rm(x, W32, PF2(0x0f11), 0, RAX, 0);
  x86_rm(x, W64, 0x89, RCX, FIXED_STORE, FRAME);
  store_gas(e);
  x86_rm(x, W64, 0x3b, R15, RCX, offsetof(struct precise_frame, vmctx));
  emitter_add_cold(e, COLD_LEAVE, x86_jump_if(x, CC_NE));
  x86_rm(x, W32, 0xff, 4, R12, 0);
  e->is_reachable = false;
}

/* To the function in rax, r12 being loaded at `at`. */
static void emit_way_to(struct emitter *e, const struct precise_insn *p, uint32_t at) {
  struct x86 *x = e->x;
  x86_rm(x, W64, 0x8d, RCX, FIXED_FP, (int32_t)p->a);
  x86_rm(x, W32, 0xff, 4, RAX, offsetof(struct precise_func, fast));
  emitter_forget_all(e);
  struct cold *c = emitter_add_cold(e, COLD_HANDLER, at);
  c->resume = x->n;
  c->detail = 1; /* r12 is what comes behind */
  load_gas(e);
}

static void emit_call(struct emitter *e, const struct precise_insn *p) {
  emitter_write_all_back(e);
  uint32_t at = x86_rip(e->x, W64, 0x8d, R12);
  x86_constant(e->x, RAX, (uintptr_t)p->pointer);
  emit_way_to(e, p, at);
}

/* Functions of other instances and of the host are called by the handler. */
static void emit_call_ref(struct emitter *e, const struct precise_insn *p) {
  const struct precise_module *module = e->func->module;
  uint32_t n_imported = module->module->decoded.n_imported_funcs;
  struct x86 *x = e->x;
  emitter_write_all_back(e);
  x86_move(x, W64, RAX, emitter_use(e, p->c, 'I'));
  x86_rm(x, W64, 0x3b, emitter_use_vmctx(e), RAX, offsetof(struct func_ref, vmctx));
  uint32_t at = x86_rip(x, W64, 0x8d, R12);
  emitter_add_cold(e, COLD_LEAVE, x86_jump_if(x, CC_NE))->detail = 1;
  x86_rm(x, W32, 0x8b, RAX, RAX, offsetof(struct func_ref, index));
  if (n_imported) {
    x86_ri(x, W32, 7, RAX, (int32_t)n_imported);
    emitter_add_cold(e, COLD_LEAVE, x86_jump_if(x, CC_B))->detail = 1;
  }
  x86_rr(x, W64, 0x69, RAX, RAX);
  x86_u32(x, sizeof(struct precise_func));
  x86_constant(x, RCX, (uintptr_t)module->funcs);
  x86_rr(x, W64, 0x03, RAX, RCX);
  emit_way_to(e, p, at);
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
    emitter_add_cold(e, COLD_LEAVE, x86_jump_if(x, CC_S))->detail = 1;
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

/* --- behind the code ----------------------------------------------------------------------------------------------- */

static void mark(struct emitter *e, uint32_t insn) {
  struct baseline_output *out = e->out;
  if (out->n_marks == out->marks_capacity) array_grow(out->marks, out->marks_capacity, 32);
  out->marks[out->n_marks++] = (struct baseline_mark){e->x->n, insn};
}

static void to_stub(struct emitter *e, uint32_t at, uint32_t stub) {
  struct baseline_output *out = e->out;
  if (out->n_stubs == out->stubs_capacity) array_grow(out->stubs, out->stubs_capacity, 32);
  out->stubs[out->n_stubs++] = (struct baseline_mark){at, stub};
}

static void align(struct emitter *e) {
  while (e->x->n % 8) x86_byte(e->x, 0xcc);
}

/* An instruction whose handler is at offset `to`; the rest is not looked at. */
static void place_continuation(struct emitter *e, uint32_t to) {
  struct baseline_output *out = e->out;
  if (out->n_cells == out->cells_capacity) array_grow(out->cells, out->cells_capacity, 32);
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
  EACH_OF(e->pinned, r) emitter_load_slot(e, (int)r, e->regs[r].pinned_slot, e->regs[r].pinned_letter);
  emitter_jump_to_insn(e, x86_jump(e->x), insn);
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
  for (uint32_t i = 0; i < c->n; i++) emitter_store_slot(e, (int)e->saved[c->first + i].reg, e->saved[c->first + i].slot);
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
    emitter_jump_to_insn(e, e->x->n, target_of(e, c->insn + 1 + i));
    e->jumps[e->n_jumps - 1].table = table;
    x86_u32(e->x, 0);
  }
}

/* Aligned, as functions are. */
static void place_constant(struct emitter *e, const struct cold *c) {
  x86_reserve(e->x, X86_ROOM);
  while (e->x->n % 16) x86_byte(e->x, 0xcc);
  x86_patch(e->x, c->from, e->x->n);
  emitter_vector_constant(&e->insns[c->insn], (enum vector_constant)c->detail, e->x->bytes + e->x->n);
  e->x->n += 16;
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
  case COLD_CONSTANT: place_constant(e, c); break;
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

/* --- the pass ------------------------------------------------------------------------------------------------------ */

static void emit_insn(struct emitter *e, const struct precise_insn *p) {
  const struct baseline_entry *k = e->out->entries[e->i];
  switch (k->kind) {
  case BASELINE_CHARGE: emit_charge(e, p); return;
  case BASELINE_BRANCH: emit_branch(e); return;
  case BASELINE_BRANCH_TABLE: emit_branch_table(e, p); return;
  case BASELINE_FINISH:
  case BASELINE_FINISH_ONE: emit_finish(e, p, k->kind == BASELINE_FINISH_ONE); return;
  case BASELINE_THROW:
  case BASELINE_LEAVE: emit_leaving_handler(e); return;
  case BASELINE_CALL: emit_call(e, p); return;
  case BASELINE_CALL_REF: emit_call_ref(e, p); return;
  case BASELINE_ON_EXCEPTION: return; /* it is with the call before */
  default: emitter_value(e, p, k);
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
  emitter_forget_all(e);
  for (e->i = 0; e->i < e->n; e->i++) {
    e->stamp++;
    if (e->is_target[e->i]) {
      if (e->is_reachable) emitter_settle(e);
      emitter_forget(e, ~e->pinned);
      EACH_OF(e->pinned, r) emitter_bind_pinned(e, (int)r);
      e->is_reachable = true;
    }
    e->out->starts[e->i] = e->x->n;
    if (e->is_reachable) emit_insn(e, &e->insns[e->i]);
  }
  e->out->hot_end = e->x->n;
  emitter_forget(e, ~0u);
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
    out->nesting = heap_resize(out->nesting, out->insns_capacity + (size_t)1, sizeof *out->nesting);
  }
  if (slots > out->uses_capacity) {
    out->uses_capacity = (uint32_t)(2 * slots);
    out->uses = heap_resize(out->uses, out->uses_capacity, sizeof *out->uses);
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
  e.saved = out->saved, e.saved_capacity = out->saved_capacity;
  prepare(&e);
  emitter_look_ahead(&e);
  emit_all(&e);
  out->colds = e.colds, out->colds_capacity = e.colds_capacity;
  out->jumps = e.jumps, out->jumps_capacity = e.jumps_capacity;
  out->saved = e.saved, out->saved_capacity = e.saved_capacity;
  return !e.has_failed;
}

void baseline_output_clear(struct baseline_output *out) {
  free(out->code.bytes);
  free(out->starts);
  free(out->entries);
  free(out->scratch);
  free(out->colds);
  free(out->jumps);
  free(out->saved);
  free(out->nesting);
  free(out->uses);
  free(out->marks);
  free(out->cells);
  free(out->stubs);
}
