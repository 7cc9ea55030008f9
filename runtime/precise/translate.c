/* From a validated body to instructions of the precise tier.
 *
 * WebAssembly's operand stack is resolved here: every operand has a slot of its own in the frame (struct precise_frame), and an
 * instruction names the slots that it reads and writes. Two things keep instructions few. Reading a local or a constant makes
 * none: the operand is remembered as what it is, and whoever takes it reads the local's slot, or has the constant in the
 * instruction. (When the local is written while such an operand waits, or control flow may come together, the operand is copied
 * to its slot first.) And an instruction whose result goes into a local at once writes it there; a comparison whose result is
 * only branched on becomes part of the branch.
 *
 * Gas: one instruction at the start of each gas block, by the same partition as lowering's. Functions are translated when first
 * called, under the module's lock; nothing here can fail for a reason that the user caused. */
#include "base/heap.h"
#include "runtime/precise/private.h"

#include "frontend/instruction.h"
#include "frontend/types.h"
#include "frontend/walk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum operand_kind { OPERAND_SLOT, OPERAND_LOCAL, OPERAND_CONSTANT };

struct operand {
  uint8_t kind;
  bool is_v128;
  uint32_t local;
  uint64_t bits;
};

#define NONE UINT32_MAX

struct control {
  enum op op;
  bool is_dead; /* all of it */
  bool is_end_reached;
  uint32_t height; /* operands below its own, parameters included in its own */
  struct func_type type;
  val_type storage;
  uint32_t start;     /* of a loop: its first instruction */
  uint32_t patches;   /* branches to its end: each has the next in c, NONE at the last */
  uint32_t otherwise; /* of an if: the branch to its else */
  /* Exceptions. `handler` is a chain of branches to patch, as above, as long as clauses may follow. */
  bool has_handler;
  uint32_t handler;
  uint32_t catch_level, hold; /* bodies around it that hold an exception; which of them it is, or NONE */
  const uint8_t *clauses;     /* of try_table */
  uint32_t n_clauses;
  uint32_t table_stub; /* for br_table: the stub made for this label, in this table */
  uint32_t table_number;
};

struct translator {
  struct precise_func *func;
  const struct module *m;
  const struct func *body;
  const struct schedule *schedule; /* NULL: no gas */
  struct precise_insn *insns;
  uint64_t *offsets; /* of each instruction in the module, where asked for */
  uint32_t n, capacity;
  struct operand *stack;
  uint32_t height, stack_capacity, max_height;
  uint32_t n_locals;     /* with parameters */
  uint32_t *waiting;     /* [n_locals]: operands that are the local */
  uint32_t n_waiting;    /* their sum */
  val_type *local_types; /* [n_locals] */
  struct control *controls;
  uint32_t n_controls, controls_capacity;
  bool is_dead;
  uint32_t charge;              /* the open gas block's instruction, or NONE */
  uint64_t charge_gas;          /* of its instructions so far, each by itself */
  uint32_t charge_instructions; /* of that block so far */
  uint32_t block_start;         /* first instruction of the gas block, where watched */
  uint32_t last;                /* whose result, in a, is the operand on top; NONE where control may arrive in between */
  enum op last_op;              /* what it was made of, or OP_COUNT */
  uint32_t n_holds;             /* slots for what legacy catch bodies hold, below the operands */
  uint32_t n_tables;            /* br_tables so far */
  bool keeps_offsets, watches;
  struct block_prices prices;
  const struct instruction *in;
};

static void *grow(void *p, uint32_t *capacity, uint32_t n, size_t size) {
  if (n < *capacity) return p;
  *capacity = n < 16 ? 32 : 2 * n;
  return heap_resize(p, *capacity, size);
}

/* --- instructions --------------------------------------------------------------------------------------------------- */

/* What comes before the first instruction, the function's frame and the first gas block, happens there. */
static uint64_t offset_now(const struct translator *t) { return t->in ? t->in->offset : (uint64_t)(t->body->body - t->m->bytes); }

static uint32_t emit(struct translator *t, struct precise_insn insn) {
  uint32_t capacity = t->capacity;
  t->insns = grow(t->insns, &t->capacity, t->n, sizeof *t->insns);
  if (t->keeps_offsets && capacity != t->capacity) {
    t->offsets = heap_resize(t->offsets, t->capacity, sizeof *t->offsets);
  }
  if (t->keeps_offsets) t->offsets[t->n] = offset_now(t);
  t->insns[t->n] = insn;
  t->last = NONE;
  return t->n++;
}

#define EMIT(handler, ...) emit(t, (struct precise_insn){.run = do_##handler, __VA_ARGS__})

/* The branch or handler link at `at` goes to the next instruction. */
static void bind(struct translator *t, uint32_t at) {
  t->insns[at].c = t->n - at;
  t->last = NONE;
}

/* So do all of a chain. */
static void bind_all(struct translator *t, uint32_t at) {
  while (at != NONE) {
    uint32_t next = t->insns[at].c;
    bind(t, at);
    at = next;
  }
  t->last = NONE;
}

static void chain(struct translator *t, uint32_t *head, uint32_t at) {
  t->insns[at].c = *head;
  *head = at;
}

/* --- operands ------------------------------------------------------------------------------------------------------- */

static uint32_t local_slot(uint32_t local) { return local * SLOT_SIZE; }

static uint32_t operand_base(const struct translator *t) { return t->func->header + (HEADER_SLOTS + t->n_holds) * SLOT_SIZE; }

/* Every operand's slot that an instruction names is part of the frame. */
static void account(struct translator *t, uint32_t height) {
  if (height > t->max_height) t->max_height = height;
}

static uint32_t stack_slot(struct translator *t, uint32_t position) {
  account(t, position + 1);
  return operand_base(t) + position * SLOT_SIZE;
}

static uint32_t hold_slot(const struct translator *t, uint32_t hold) {
  return t->func->header + (HEADER_SLOTS + hold) * SLOT_SIZE;
}

static struct operand *push_operand(struct translator *t) {
  t->stack = grow(t->stack, &t->stack_capacity, t->height, sizeof *t->stack);
  struct operand *o = &t->stack[t->height++];
  account(t, t->height);
  return o;
}

/* A result in its own slot; returns that. */
static uint32_t push(struct translator *t, bool is_v128) {
  *push_operand(t) = (struct operand){.kind = OPERAND_SLOT, .is_v128 = is_v128};
  return stack_slot(t, t->height - 1);
}

static void push_constant(struct translator *t, uint64_t bits) {
  *push_operand(t) = (struct operand){.kind = OPERAND_CONSTANT, .bits = bits};
}

static void push_local(struct translator *t, uint32_t local) {
  bool is_v128 = val_kind(t->local_types[local]) == VAL_V128;
  *push_operand(t) = (struct operand){.kind = OPERAND_LOCAL, .is_v128 = is_v128, .local = local};
  t->waiting[local]++;
  t->n_waiting++;
}

static void forget_waiting(struct translator *t, const struct operand *o) {
  if (o->kind != OPERAND_LOCAL) return;
  t->waiting[o->local]--;
  t->n_waiting--;
}

/* Copies an operand to slot `to`. */
static void emit_copy(struct translator *t, const struct operand *o, uint32_t position, uint32_t to) {
  uint32_t from = o->kind == OPERAND_LOCAL ? local_slot(o->local) : stack_slot(t, position);
  if (o->kind == OPERAND_CONSTANT)
    EMIT(constant, .a = to, .imm = o->bits);
  else if (from != to && o->is_v128)
    EMIT(copy_v128, .a = to, .b = from);
  else if (from != to)
    EMIT(copy, .a = to, .b = from);
}

/* Puts the operand at `position` into its own slot. */
static void settle(struct translator *t, uint32_t position) {
  struct operand *o = &t->stack[position];
  if (o->kind == OPERAND_SLOT) return;
  emit_copy(t, o, position, stack_slot(t, position));
  forget_waiting(t, o);
  o->kind = OPERAND_SLOT;
}

static void settle_top(struct translator *t, uint32_t n) {
  for (uint32_t i = t->height - n; i < t->height; i++) settle(t, i);
}

/* Where control comes together, no operand may be a local: only one of the ways may write it. */
static void settle_locals(struct translator *t) {
  for (uint32_t i = t->height; t->n_waiting && i-- > 0;)
    if (t->stack[i].kind == OPERAND_LOCAL) settle(t, i);
}

/* Takes the operand on top; returns the slot to read it from. */
static uint32_t pop(struct translator *t) {
  uint32_t position = --t->height;
  struct operand *o = &t->stack[position];
  if (o->kind == OPERAND_SLOT) return stack_slot(t, position);
  if (o->kind == OPERAND_CONSTANT) {
    EMIT(constant, .a = stack_slot(t, position), .imm = o->bits);
    return stack_slot(t, position);
  }
  forget_waiting(t, o);
  return local_slot(o->local);
}

static void drop(struct translator *t, uint32_t n) {
  while (n-- > 0) forget_waiting(t, &t->stack[--t->height]);
}

/* Back to `height` operands, all in their slots where they are this construct's. */
static void reset_height(struct translator *t, uint32_t height) {
  if (t->height > height) drop(t, t->height - height);
  t->height = height;
}

static bool is_v128(val_type type) { return val_kind(type) == VAL_V128; }

static void push_types(struct translator *t, const val_type *types, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) push(t, is_v128(types[i]));
}

/* --- gas ------------------------------------------------------------------------------------------------------------ */

/* Watches know what of their block is still ahead of them. Instructions count by their own prices, the rest comes at the end. */
static void settle_watches(struct translator *t) {
  for (uint32_t i = t->charge; i < t->n; i++)
    if (t->insns[i].run == do_watch) t->insns[i].b = (uint32_t)(t->insns[t->charge].imm - t->insns[i].b);
}

static void close_gas_block(struct translator *t) {
  if (t->charge == NONE) return;
  if (t->watches) settle_watches(t);
  t->charge = NONE;
}

static void open_gas_block(struct translator *t) {
  close_gas_block(t);
  t->block_start = t->n;
  if (!t->schedule || t->is_dead) return;
  t->charge_gas = 0;
  t->charge_instructions = 0;
  t->charge = EMIT(charge, .imm = 0);
}

static void count_gas(struct translator *t) {
  if (t->charge == NONE) return;
  if (t->charge_instructions++ == 0) t->insns[t->charge].imm = price_at(&t->prices, t->in->offset);
  t->charge_gas += t->schedule->gas[op_table[t->in->op].cost];
}

/* Before each instruction: all operands are where they belong, so that they can be looked at. */
static void emit_watch(struct translator *t) {
  settle_top(t, t->height);
  bool is_first = t->n == t->block_start + (t->charge != NONE);
  uint32_t what = t->in->op | (is_first ? WATCH_STARTS_BLOCK : 0);
  EMIT(watch, .a = (uint32_t)t->in->offset, .b = (uint32_t)t->charge_gas, .c = t->height, .d = what);
}

static void begin_dead_code(struct translator *t) {
  close_gas_block(t);
  t->is_dead = true;
}

/* --- branches --------------------------------------------------------------------------------------------------------- */

static struct control *label(struct translator *t, uint32_t depth) { return &t->controls[t->n_controls - 1 - depth]; }

static uint32_t branch_arity(const struct control *c) { return c->op == OP_LOOP ? c->type.n_params : c->type.n_results; }

/* Whether operands must move before a branch to `c`. */
static bool needs_moves(const struct translator *t, const struct control *c) {
  uint32_t n = branch_arity(c), from = t->height - n;
  if (n && from != c->height) return true;
  for (uint32_t i = 0; i < n; i++)
    if (t->stack[from + i].kind != OPERAND_SLOT) return true;
  return false;
}

enum { FEW = 4 };

/* Many operands are settled before, as that is done once for all branches that take them. */
static void prepare_moves(struct translator *t, const struct control *c) {
  if (branch_arity(c) > FEW) settle_top(t, branch_arity(c));
}

/* In ascending order: targets never lie above what is still to be moved. The operands stay what they are. */
static void emit_moves(struct translator *t, const struct control *c) {
  uint32_t n = branch_arity(c), from = t->height - n;
  if (n > FEW) {
    if (from != c->height) EMIT(copy_many, .a = stack_slot(t, c->height), .b = stack_slot(t, from), .c = n);
    return;
  }
  for (uint32_t i = 0; i < n; i++) emit_copy(t, &t->stack[from + i], from + i, stack_slot(t, c->height + i));
}

/* The branch instruction at `at` goes to the label. */
static void target(struct translator *t, struct control *c, uint32_t at) {
  c->is_end_reached = true;
  if (c->op == OP_LOOP)
    t->insns[at].c = c->start - at;
  else
    chain(t, &c->patches, at);
}

static void emit_branch(struct translator *t, struct control *c) {
  prepare_moves(t, c);
  emit_moves(t, c);
  target(t, c, EMIT(branch, .a = 0));
}

/* A branch under a condition that `taken` jumps on, and `skipped` does not. */
static void emit_branch_if(struct translator *t, struct control *c, struct precise_insn taken, precise_handler *skipped) {
  if (!needs_moves(t, c)) {
    target(t, c, emit(t, taken));
    return;
  }
  taken.run = skipped;
  uint32_t over = emit(t, taken);
  emit_moves(t, c);
  target(t, c, EMIT(branch, .a = 0));
  bind(t, over);
}

/* The condition on top, as a branch to be. A comparison that was just made is taken back. */
struct condition {
  struct precise_insn insn;
  precise_handler *branch_if, *branch_unless;
};

static struct condition pop_condition(struct translator *t) {
  const struct precise_handlers *h = t->last_op < OP_COUNT ? &precise_scalar[t->last_op] : NULL;
  bool is_fresh = t->last != NONE && t->last == t->n - 1 && t->height && t->stack[t->height - 1].kind == OPERAND_SLOT &&
                  t->insns[t->last].a == stack_slot(t, t->height - 1);
  const struct precise_insn *insn = is_fresh ? &t->insns[t->last] : NULL;
  struct condition c = {.branch_if = do_branch_if, .branch_unless = do_branch_unless};
  if (is_fresh && (t->last_op == OP_I32_EQZ || t->last_op == OP_I64_EQZ)) {
    h = &precise_scalar[t->last_op == OP_I32_EQZ ? OP_I32_EQ : OP_I64_EQ];
    c = (struct condition){{.a = insn->b, .b = 0}, h->constant_branch_if, h->constant_branch_unless};
  } else if (is_fresh && h && h->branch_if && insn->run == h->plain) {
    c = (struct condition){{.a = insn->b, .b = insn->c}, h->branch_if, h->branch_unless};
  } else if (is_fresh && h && h->branch_if && (t->last_op <= OP_I32_GE_U || (int64_t)insn->imm == (int32_t)insn->imm)) {
    c = (struct condition){{.a = insn->b, .b = (uint32_t)insn->imm}, h->constant_branch_if, h->constant_branch_unless};
  } else {
    c.insn.a = pop(t);
    return c;
  }
  t->height--;
  t->n--;
  t->last = NONE;
  return c;
}

static void translate_br_if(struct translator *t, uint32_t depth) {
  struct condition c = pop_condition(t);
  struct control *to = label(t, depth);
  prepare_moves(t, to);
  c.insn.run = c.branch_if;
  emit_branch_if(t, to, c.insn, c.branch_unless);
  open_gas_block(t);
}

static void translate_br_on_null(struct translator *t, uint32_t depth, bool is_on_null) {
  struct control *to = label(t, depth);
  settle(t, t->height - 1);
  struct precise_insn insn = {.run = is_on_null ? do_branch_null : do_branch_not_null, .a = stack_slot(t, t->height - 1)};
  if (is_on_null) t->height--;
  prepare_moves(t, to);
  emit_branch_if(t, to, insn, is_on_null ? do_branch_not_null : do_branch_null);
  t->height += is_on_null ? 1 : -1;
  open_gas_block(t);
}

/* One instruction per entry, behind the table's: a branch to the label, or to a stub that moves operands first; one stub per
 * label. */
static void translate_br_table(struct translator *t) {
  struct gw_error ignored = {0};
  struct reader r;
  reader_init(&r, t->in->list, t->in->list, t->body->end, &ignored);
  uint32_t index = pop(t), n = t->in->count + 1;
  uint32_t *depths = heap_new(n, sizeof *depths);
  for (uint32_t i = 0; i < n; i++) depths[i] = read_u32(&r);
  prepare_moves(t, label(t, depths[0]));
  EMIT(branch_table, .a = index, .b = n - 1);
  uint32_t first = t->n, number = ++t->n_tables;
  for (uint32_t i = 0; i < n; i++) EMIT(branch, .a = 0);
  for (uint32_t i = 0; i < n; i++) {
    struct control *c = label(t, depths[i]);
    if (!needs_moves(t, c)) {
      target(t, c, first + i);
    } else if (c->table_number == number) {
      t->insns[first + i].c = c->table_stub - (first + i);
    } else {
      c->table_number = number;
      c->table_stub = t->n;
      bind(t, first + i);
      emit_moves(t, c);
      target(t, c, EMIT(branch, .a = 0));
    }
  }
  free(depths);
  begin_dead_code(t);
}

/* --- exceptions ------------------------------------------------------------------------------------------------------- */

/* The chain that exceptions thrown inside of the outermost n controls go to, or NULL. */
static uint32_t *handler_within(struct translator *t, uint32_t n) {
  while (n-- > 0)
    if (t->controls[n].has_handler) return &t->controls[n].handler;
  return NULL;
}

/* Behind every call and throw in a try. */
static void emit_on_exception(struct translator *t) {
  uint32_t *handler = handler_within(t, t->n_controls);
  if (handler) chain(t, handler, EMIT(on_exception, .a = 0));
}

/* No clause took it: goes on as if thrown inside of the outermost n controls. */
static void emit_rethrow_within(struct translator *t, uint32_t n) {
  uint32_t *handler = handler_within(t, n);
  if (handler)
    chain(t, handler, EMIT(branch, .a = 0));
  else
    EMIT(unwind, .a = 0);
}

static void emit_clause_charge(struct translator *t) {
  if (t->schedule) EMIT(clause_charge, .imm = t->schedule->gas[COST_BRANCH]);
}

static const struct func_type *tag_type(const struct translator *t, uint32_t tag) {
  return &t->m->types[t->m->tags[tag].type].func;
}

/* Goes on where the pending exception has the tag, with its values on the stack; returns what to patch for where it has not. */
static uint32_t emit_tag(struct translator *t, uint32_t tag) {
  uint32_t at = EMIT(clause_tag, .a = stack_slot(t, t->height), .b = tag);
  push_types(t, tag_type(t, tag)->params, tag_type(t, tag)->n_params);
  return at;
}

/* One clause of a try_table that has just ended. False: no later one can be reached. */
static bool translate_clause(struct translator *t, struct reader *r) {
  uint8_t kind = read_u8(r);
  bool has_tag = kind == CATCH_TAG || kind == CATCH_TAG_REF;
  uint32_t tag = has_tag ? read_u32(r) : 0, depth = read_u32(r), height = t->height, otherwise = NONE;
  emit_clause_charge(t);
  if (has_tag) otherwise = emit_tag(t, tag);
  if (kind == CATCH_TAG_REF || kind == CATCH_EVERY_REF) {
    uint32_t slot = push(t, false);
    EMIT(clause_take, .a = slot);
  } else {
    EMIT(clause_drop, .a = 0);
  }
  emit_branch(t, label(t, depth));
  reset_height(t, height);
  if (otherwise != NONE) bind(t, otherwise);
  return has_tag;
}

/* Out of line behind the body; `c` is off the stack of controls, and operands are those below it. */
static void translate_clauses(struct translator *t, struct control *c) {
  struct gw_error ignored = {0};
  struct reader r;
  if (c->handler == NONE) return; /* nothing in it can throw */
  bind_all(t, c->handler);
  reader_init(&r, c->clauses, c->clauses, t->body->end, &ignored);
  bool is_open = true;
  for (uint32_t i = 0; i < c->n_clauses && is_open; i++) is_open = translate_clause(t, &r);
  if (is_open) emit_rethrow_within(t, t->n_controls);
}

static void translate_throw(struct translator *t) {
  const struct instruction *in = t->in;
  if (in->op == OP_THROW) {
    uint32_t n = tag_type(t, in->index)->n_params;
    settle_top(t, n);
    t->height -= n;
    EMIT(throw_tag, .a = stack_slot(t, t->height), .c = in->index);
  } else if (in->op == OP_THROW_REF) {
    uint32_t slot = pop(t);
    EMIT(throw_ref, .a = slot);
  } else {
    EMIT(rethrow, .a = hold_slot(t, label(t, in->index)->hold));
  }
  emit_on_exception(t);
  begin_dead_code(t);
}

/* --- constructs ------------------------------------------------------------------------------------------------------- */

/* A single result's type lies in the control, which has moved. */
static void repair_types(struct translator *t) {
  for (uint32_t i = 0; i < t->n_controls; i++)
    if (t->controls[i].storage) t->controls[i].type.results = &t->controls[i].storage;
}

static struct control *push_control(struct translator *t, enum op op) {
  const struct control *before = t->controls;
  t->controls = grow(t->controls, &t->controls_capacity, t->n_controls, sizeof *t->controls);
  if (before != t->controls) repair_types(t);
  struct control *c = &t->controls[t->n_controls++];
  *c = (struct control){.op = op, .is_dead = t->is_dead, .patches = NONE, .otherwise = NONE, .handler = NONE, .hold = NONE};
  if (t->n_controls > 1) c->catch_level = c[-1].catch_level + (c[-1].hold != NONE);
  return c;
}

static void translate_block(struct translator *t) {
  const struct instruction *in = t->in;
  struct control *c = push_control(t, in->op);
  if (c->is_dead) return;
  c->type = block_func_type(t->m, in, &c->storage);
  struct condition condition = {0};
  if (in->op == OP_IF) condition = pop_condition(t);
  c->height = t->height - c->type.n_params;
  settle_top(t, c->type.n_params);
  settle_locals(t);
  if (in->op == OP_TRY || (in->op == OP_TRY_TABLE && in->count)) c->has_handler = true;
  c->clauses = in->list;
  c->n_clauses = in->count;
  if (in->op == OP_LOOP) {
    t->last = NONE;
    c->start = t->n;
    open_gas_block(t);
    count_gas(t);
  } else if (in->op == OP_IF) {
    condition.insn.run = condition.branch_unless;
    c->otherwise = emit(t, condition.insn);
    open_gas_block(t);
  }
}

/* The way that falls out of a construct's body has its results in their slots. */
static void fall_out(struct translator *t, struct control *c) {
  settle_top(t, c->type.n_results);
  c->is_end_reached = true;
}

static void translate_else(struct translator *t) {
  struct control *c = label(t, 0);
  if (c->is_dead) return;
  if (!t->is_dead) {
    fall_out(t, c);
    chain(t, &c->patches, EMIT(branch, .a = 0));
    close_gas_block(t);
  }
  t->is_dead = false;
  reset_height(t, c->height);
  bind(t, c->otherwise);
  c->otherwise = NONE;
  push_types(t, c->type.params, c->type.n_params);
  c->op = OP_ELSE;
  open_gas_block(t);
}

static void translate_catch(struct translator *t) {
  struct control *c = label(t, 0);
  if (c->is_dead) return;
  if (!t->is_dead) {
    fall_out(t, c);
    chain(t, &c->patches, EMIT(branch, .a = 0));
  }
  close_gas_block(t);
  t->is_dead = false;
  reset_height(t, c->height);
  c->op = t->in->op;
  c->has_handler = false;
  bind_all(t, c->handler);
  c->handler = NONE;
  emit_clause_charge(t);
  if (t->in->op == OP_CATCH) c->handler = emit_tag(t, t->in->index);
  if (c->handler != NONE) t->insns[c->handler].c = NONE; /* a chain of one */
  if (t->body->has_rethrow) {
    c->hold = c->catch_level;
    EMIT(clause_hold, .a = hold_slot(t, c->hold), .c = c->catch_level);
  } else {
    EMIT(clause_drop, .a = 0);
  }
  open_gas_block(t);
}

/* What no clause of a legacy try took. */
static void finish_try(struct translator *t, struct control *c) {
  if (c->handler == NONE) return;
  bind_all(t, c->handler);
  emit_rethrow_within(t, t->in->op == OP_DELEGATE ? t->n_controls - t->in->index : t->n_controls);
}

static bool has_clauses(const struct control *c) {
  return c->op == OP_TRY || c->op == OP_CATCH || c->op == OP_CATCH_ALL || (c->op == OP_TRY_TABLE && c->n_clauses);
}

static void translate_end(struct translator *t) {
  struct control c = *label(t, 0);
  t->n_controls--;
  if (c.is_dead) return;
  if (c.op == OP_LOOP) return; /* straight on, or dead */
  if (!t->is_dead) fall_out(t, &c);
  if (c.op == OP_IF) { /* without else: parameters are results */
    c.is_end_reached = true;
    chain(t, &c.patches, c.otherwise);
  }
  close_gas_block(t);
  if (has_clauses(&c) && c.handler != NONE) {
    if (!t->is_dead) chain(t, &c.patches, EMIT(branch, .a = 0));
    reset_height(t, c.height);
    if (c.op == OP_TRY_TABLE) {
      translate_clauses(t, &c);
    } else {
      finish_try(t, &c);
    }
  }
  bind_all(t, c.patches);
  if (!c.is_end_reached) {
    t->is_dead = true;
    return;
  }
  t->is_dead = false;
  reset_height(t, c.height);
  push_types(t, c.type.results, c.type.n_results);
  if (t->n_controls) open_gas_block(t);
}

/* --- calls ------------------------------------------------------------------------------------------------------------ */

/* Arguments into their slots, results behind; returns the slot of the first. */
static uint32_t arrange_call(struct translator *t, const struct func_type *type) {
  settle_top(t, type->n_params);
  t->height -= type->n_params;
  return stack_slot(t, t->height);
}

static void finish_call(struct translator *t, const struct func_type *type, bool is_tail) {
  if (is_tail) {
    account(t, t->height + type->n_results); /* a host function leaves them where its arguments were */
    begin_dead_code(t);
    return;
  }
  emit_on_exception(t);
  push_types(t, type->results, type->n_results);
}

static void translate_call(struct translator *t, uint32_t index, bool is_tail) {
  const struct func *callee = &t->m->funcs[index];
  const struct func_type *type = &t->m->types[callee->type].func;
  uint32_t at = arrange_call(t, type);
  if (callee->import != NO_INDEX)
    emit(t,
         (struct precise_insn){.run = is_tail ? do_tail_call_import : do_call_import, .a = at, .b = type->n_params, .c = index});
  else
    emit(t,
         (struct precise_insn){
             .run = is_tail ? do_tail_call : do_call, .a = at, .b = type->n_params, .pointer = &t->func->module->funcs[index]});
  finish_call(t, type, is_tail);
}

/* The reference is on top: it is kept where it is, above the arguments. */
static void translate_call_ref(struct translator *t, uint32_t type_index, bool is_tail, uint32_t ref) {
  const struct func_type *type = &t->m->types[type_index].func;
  uint32_t at = arrange_call(t, type);
  emit(t, (struct precise_insn){.run = is_tail ? do_tail_call_ref : do_call_ref, .a = at, .b = type->n_params, .c = ref});
  finish_call(t, type, is_tail);
}

static void translate_call_indirect(struct translator *t, bool is_tail) {
  uint32_t type = t->in->index, table = t->in->index2;
  bool is_64 = t->m->tables[table].type.limits.is_64;
  uint32_t index = pop(t), ref = push(t, false);
  EMIT(table_func, .a = ref, .b = index, .c = table, .d = is_64);
  if (!val_type_matches(t->m, t->m->tables[table].type.elem, REF_TYPE(true, type)))
    EMIT(check_type, .a = ref, .b = type, .c = t->m->types[type].is_final);
  t->height--;
  translate_call_ref(t, type, is_tail, ref);
}

static void translate_call_func_ref(struct translator *t, bool is_tail) {
  settle(t, t->height - 1);
  uint32_t ref = pop(t);
  EMIT(ref_non_null, .a = ref, .c = GW_TRAP_NULL_FUNCTION);
  translate_call_ref(t, t->in->index, is_tail, ref);
}

static void emit_finish(struct translator *t, const struct func_type *type) {
  if (type->n_results == 0) {
    EMIT(finish, .a = 0);
  } else if (type->n_results == 1 && !is_v128(type->results[0])) {
    uint32_t slot = pop(t);
    EMIT(finish_one, .a = slot);
  } else {
    settle_top(t, type->n_results);
    t->height -= type->n_results;
    EMIT(finish_many, .a = stack_slot(t, t->height), .c = type->n_results);
  }
}

static void translate_return(struct translator *t) {
  emit_finish(t, &t->controls[0].type);
  begin_dead_code(t);
}

/* --- what the opcode table describes ------------------------------------------------------------------------------------ */

/* The address operand, and whether the access needs the slower handler. */
static precise_handler *choose_access(struct translator *t, const struct precise_handlers *h) {
  uint32_t memory = t->in->mem.memory;
  bool is_64 = t->m->memories[memory].type.limits.is_64;
  if (memory == 0 && !is_64) return h->plain;
  EMIT(memory_select, .c = memory, .d = is_64);
  return h->elsewhere;
}

static bool is_access(enum op op) {
  enum immediate i = op_table[op].immediate;
  return (i >= IMM_MEM1 && i <= IMM_MEM16) || (i >= IMM_MEM1_LANE16 && i <= IMM_MEM8_LANE2);
}

static void translate_access(struct translator *t, const struct precise_handlers *h, const char *signature) {
  bool has_lane = op_table[t->in->op].immediate >= IMM_MEM1_LANE16, is_store = signature[0] == '_';
  uint32_t value = 0;
  if (has_lane || is_store) value = pop(t);
  uint32_t address = pop(t);
  if (has_lane) EMIT(lane_select, .a = value, .b = t->in->lane);
  struct precise_insn insn = {.run = choose_access(t, h), .imm = t->in->mem.offset};
  insn.a = is_store ? address : push(t, signature[0] == 'v');
  insn.b = is_store ? value : address;
  uint32_t at = emit(t, insn);
  if (is_store) return;
  t->last = at;
  t->last_op = t->in->op;
}

/* The second operand as a constant, where the first is none. */
static bool translate_constant_operand(struct translator *t, const struct precise_handlers *h) {
  const struct operand *o = &t->stack[t->height - 1];
  if (!h->constant || o->kind != OPERAND_CONSTANT) return false;
  uint64_t bits = o->bits;
  drop(t, 1);
  struct precise_insn insn = {.run = h->constant, .imm = bits};
  insn.b = pop(t);
  insn.a = push(t, false);
  t->last = emit(t, insn);
  return true;
}

static void translate_wide(struct translator *t, const struct precise_handlers *h, uint32_t n) {
  settle_top(t, n);
  t->height -= n;
  emit(t, (struct precise_insn){.run = h->plain, .a = stack_slot(t, t->height), .b = stack_slot(t, t->height)});
  push(t, false);
  push(t, false);
}

/* Both operands side by side, in b; the mask is the module's bytes. */
static void translate_shuffle(struct translator *t, const struct precise_handlers *h) {
  settle_top(t, 2);
  t->height -= 2;
  uint32_t slot = push(t, true);
  emit(t, (struct precise_insn){.run = h->plain, .a = slot, .b = slot, .pointer = t->in->value.v128});
}

static bool translate_described(struct translator *t) {
  enum op op = t->in->op;
  const struct precise_handlers *h = op_table[op].prefix == 0xfd ? &precise_vector[op] : &precise_scalar[op];
  t->last_op = op;
  if (!h->plain) return false;
  const char *signature = op_table[op].signature;
  uint32_t n = op_table[op].n_operands;
  if (is_access(op)) {
    translate_access(t, h, signature);
  } else if (op == OP_I8X16_SHUFFLE) {
    translate_shuffle(t, h);
  } else if (op_table[op].n_results == 2) {
    translate_wide(t, h, n);
  } else if (n != 2 || !translate_constant_operand(t, h)) {
    uint32_t slots[4] = {0};
    for (uint32_t i = n; i-- > 0;) slots[i] = pop(t);
    if (op_table[op].immediate != IMM_NONE) slots[n] = t->in->lane;
    struct precise_insn insn = {.run = h->plain, .b = slots[0], .c = slots[1], .d = slots[2]};
    insn.a = push(t, signature[0] == 'v');
    t->last = emit(t, insn);
  }
  return true;
}

/* --- everything else ---------------------------------------------------------------------------------------------------- */

/* Operands that wait as this local are copied before it changes. */
static void release_local(struct translator *t, uint32_t local) {
  for (uint32_t i = t->height; t->waiting[local] && i-- > 0;)
    if (t->stack[i].kind == OPERAND_LOCAL && t->stack[i].local == local) settle(t, i);
}

static void translate_local_set(struct translator *t, uint32_t local, bool is_tee) {
  uint32_t position = t->height - 1, last = t->last, to = local_slot(local);
  struct operand o = t->stack[position];
  bool is_fresh = last != NONE && last == t->n - 1 && o.kind == OPERAND_SLOT && t->insns[last].a == stack_slot(t, position);
  drop(t, 1);
  if (is_fresh && !t->waiting[local]) {
    t->insns[last].a = to;
    t->last = NONE;
  } else {
    release_local(t, local);
    emit_copy(t, &o, position, to);
  }
  if (is_tee) push_local(t, local);
}

static void translate_select(struct translator *t) {
  uint32_t condition = pop(t);
  bool wide = t->stack[t->height - 1].is_v128;
  uint32_t b = pop(t), a = pop(t), to = push(t, wide);
  emit(t, (struct precise_insn){.run = wide ? do_select_v128 : do_select, .a = to, .b = a, .c = b, .d = condition});
}

static void translate_global(struct translator *t, uint32_t index, bool is_set) {
  struct vmctx_counts counts = module_vmctx_counts(t->m);
  uint32_t offset = vmctx_layout(&counts).globals + index * (uint32_t)sizeof(void *);
  bool wide = is_v128(t->m->globals[index].type.type);
  struct precise_insn insn = {.b = offset};
  insn.run = is_set ? (wide ? do_global_set_v128 : do_global_set) : wide ? do_global_get_v128 : do_global_get;
  insn.a = is_set ? pop(t) : push(t, wide);
  uint32_t at = emit(t, insn);
  t->last_op = OP_COUNT;
  if (!is_set) t->last = at;
}

/* The top n operands into their slots; index i of them is widened to 64 bits unless bit i of `wide` says that it is. */
static uint32_t arrange_bulk(struct translator *t, uint32_t n, uint32_t wide) {
  settle_top(t, n);
  t->height -= n;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t slot = stack_slot(t, t->height + i);
    if (!(wide >> i & 1)) emit(t, (struct precise_insn){.run = precise_scalar[OP_I64_EXTEND_I32_U].plain, .a = slot, .b = slot});
  }
  return stack_slot(t, t->height);
}

static bool memory_is_64(const struct translator *t, uint32_t i) { return t->m->memories[i].type.limits.is_64; }
static bool table_is_64(const struct translator *t, uint32_t i) { return t->m->tables[i].type.limits.is_64; }

static uint32_t copy_widths(bool to, bool from) { return (uint32_t)to | (uint32_t)from << 1 | (uint32_t)(to && from) << 2; }

static void translate_bulk(struct translator *t) {
  const struct instruction *in = t->in;
  uint32_t i = in->index, k = in->index2, at;
  switch (in->op) {
  case OP_MEMORY_FILL:
    at = arrange_bulk(t, 3, memory_is_64(t, i) ? 5 : 0);
    EMIT(memory_fill, .a = at, .c = i);
    return;
  case OP_MEMORY_COPY:
    at = arrange_bulk(t, 3, copy_widths(memory_is_64(t, i), memory_is_64(t, k)));
    EMIT(memory_copy, .a = at, .c = i, .d = k);
    return;
  case OP_MEMORY_INIT:
    at = arrange_bulk(t, 3, memory_is_64(t, k));
    EMIT(memory_init, .a = at, .c = k, .d = i);
    return;
  case OP_TABLE_FILL: /* the reference is whole */
    at = arrange_bulk(t, 3, table_is_64(t, i) ? 7 : 2);
    EMIT(table_fill, .a = at, .c = i);
    return;
  case OP_TABLE_COPY:
    at = arrange_bulk(t, 3, copy_widths(table_is_64(t, i), table_is_64(t, k)));
    EMIT(table_copy, .a = at, .c = i, .d = k);
    return;
  case OP_TABLE_INIT:
    at = arrange_bulk(t, 3, table_is_64(t, k));
    EMIT(table_init, .a = at, .c = k, .d = i);
    return;
  case OP_TABLE_GROW:
    at = arrange_bulk(t, 2, table_is_64(t, i) ? 3 : 1);
    EMIT(table_grow, .a = at, .c = i, .d = table_is_64(t, i));
    push(t, false);
    return;
  case OP_DATA_DROP: EMIT(data_drop, .c = i); return;
  default: EMIT(elem_drop, .c = i); return;
  }
}

static void translate_table(struct translator *t) {
  uint32_t i = t->in->index, value, index;
  bool is_64 = table_is_64(t, i);
  switch (t->in->op) {
  case OP_TABLE_GET:
    index = pop(t);
    value = push(t, false);
    EMIT(table_get, .a = value, .b = index, .c = i, .d = is_64);
    return;
  case OP_TABLE_SET:
    value = pop(t);
    index = pop(t);
    EMIT(table_set, .a = index, .b = value, .c = i, .d = is_64);
    return;
  default:
    value = push(t, false);
    EMIT(table_size, .a = value, .c = i);
    return;
  }
}

static void translate_memory(struct translator *t) {
  uint32_t i = t->in->index;
  if (t->in->op == OP_MEMORY_SIZE) {
    uint32_t slot = push(t, false);
    EMIT(memory_size, .a = slot, .c = i);
    return;
  }
  uint32_t pages = pop(t), slot = push(t, false);
  EMIT(memory_grow, .a = slot, .b = pages, .c = i, .d = memory_is_64(t, i));
}

static void translate_reference(struct translator *t) {
  uint32_t slot, ref;
  switch (t->in->op) {
  case OP_REF_NULL: push_constant(t, 0); return;
  case OP_REF_FUNC:
    slot = push(t, false);
    EMIT(ref_func, .a = slot, .c = t->in->index);
    return;
  case OP_REF_IS_NULL:
    ref = pop(t);
    slot = push(t, false);
    EMIT(ref_is_null, .a = slot, .b = ref);
    return;
  default: /* OP_REF_AS_NON_NULL: the operand stays */
    settle(t, t->height - 1);
    EMIT(ref_non_null, .a = stack_slot(t, t->height - 1), .c = GW_TRAP_NULL_REFERENCE);
    return;
  }
}

static void translate_other(struct translator *t) {
  const struct instruction *in = t->in;
  uint32_t slot;
  switch (in->op) {
  case OP_NOP: return;
  case OP_DROP: drop(t, 1); return;
  case OP_I32_CONST: push_constant(t, (uint32_t)in->value.i64); return;
  case OP_I64_CONST: push_constant(t, (uint64_t)in->value.i64); return;
  case OP_F32_CONST:
  case OP_F64_CONST: push_constant(t, in->value.bits); return;
  case OP_V128_CONST:
    slot = push(t, true);
    EMIT(constant_v128, .a = slot, .pointer = in->value.v128);
    return;
  case OP_LOCAL_GET: push_local(t, in->index); return;
  case OP_LOCAL_SET:
  case OP_LOCAL_TEE: translate_local_set(t, in->index, in->op == OP_LOCAL_TEE); return;
  case OP_GLOBAL_GET:
  case OP_GLOBAL_SET: translate_global(t, in->index, in->op == OP_GLOBAL_SET); return;
  case OP_SELECT:
  case OP_SELECT_T: translate_select(t); return;
  case OP_CALL: translate_call(t, in->index, false); return;
  case OP_CALL_INDIRECT: translate_call_indirect(t, false); return;
  case OP_CALL_REF: translate_call_func_ref(t, false); return;
  case OP_TABLE_GET:
  case OP_TABLE_SET:
  case OP_TABLE_SIZE: translate_table(t); return;
  case OP_MEMORY_SIZE:
  case OP_MEMORY_GROW: translate_memory(t); return;
  case OP_REF_NULL:
  case OP_REF_FUNC:
  case OP_REF_IS_NULL:
  case OP_REF_AS_NON_NULL: translate_reference(t); return;
  default: translate_bulk(t); return;
  }
}

/* Instructions that open, close or leave constructs. */
static bool translate_control(struct translator *t) {
  const struct instruction *in = t->in;
  unsigned flow = op_table[in->op].flow;
  if (flow & FLOW_OPENS) translate_block(t);
  if (flow & FLOW_SPLITS) in->op == OP_ELSE ? translate_else(t) : translate_catch(t);
  if (flow & FLOW_CLOSES) translate_end(t);
  if (flow & (FLOW_OPENS | FLOW_SPLITS | FLOW_CLOSES) || t->is_dead) return true;
  switch (in->op) {
  case OP_UNREACHABLE:
    EMIT(unreachable, .a = 0);
    begin_dead_code(t);
    return true;
  case OP_BR:
    if (label(t, in->index) == t->controls) {
      translate_return(t);
      return true;
    }
    emit_branch(t, label(t, in->index));
    begin_dead_code(t);
    return true;
  case OP_BR_IF: translate_br_if(t, in->index); return true;
  case OP_BR_ON_NULL:
  case OP_BR_ON_NON_NULL: translate_br_on_null(t, in->index, in->op == OP_BR_ON_NULL); return true;
  case OP_BR_TABLE: translate_br_table(t); return true;
  case OP_RETURN: translate_return(t); return true;
  case OP_RETURN_CALL: translate_call(t, in->index, true); return true;
  case OP_RETURN_CALL_INDIRECT: translate_call_indirect(t, true); return true;
  case OP_RETURN_CALL_REF: translate_call_func_ref(t, true); return true;
  case OP_THROW:
  case OP_THROW_REF:
  case OP_RETHROW: translate_throw(t); return true;
  default: return false;
  }
}

static void translate_body(struct translator *t) {
  struct gw_error ignored = {0};
  struct reader r;
  struct instruction in;
  reader_init(&r, t->m->bytes, t->body->body, t->body->end, &ignored);
  struct control *c = push_control(t, OP_BLOCK);
  const struct func_type *type = &t->m->types[t->body->type].func;
  c->type = (struct func_type){.n_results = type->n_results, .results = type->results};
  open_gas_block(t);
  while (t->n_controls && instruction_read(&r, &in)) {
    t->in = &in;
    if (in.op != OP_LOOP && t->charge != NONE && t->charge_instructions == GAS_BLOCK_MOST) open_gas_block(t);
    if (t->watches && !t->is_dead) emit_watch(t);
    if (in.op != OP_LOOP) count_gas(t);
    if (!translate_control(t) && !translate_described(t)) translate_other(t);
  }
  assert(!r.failed);
  close_gas_block(t);
  if (!t->is_dead) emit_finish(t, type);
  EMIT(unreachable, .a = 0); /* what a last call or throw looks at */
}

static void lay_out_locals(struct translator *t, struct precise_room *room) {
  const struct func_type *type = &t->m->types[t->body->type].func;
  uint32_t n = 0;
  t->n_locals = type->n_params + t->body->n_locals;
  if (2 * t->n_locals > room->locals_capacity) {
    room->locals_capacity = 4 * t->n_locals;
    room->locals = heap_resize(room->locals, room->locals_capacity, sizeof *room->locals);
  }
  t->waiting = room->locals;
  t->local_types = t->waiting + t->n_locals;
  if (t->n_locals) memset(t->waiting, 0, t->n_locals * sizeof *t->waiting);
  for (; n < type->n_params; n++) t->local_types[n] = type->params[n];
  for (uint32_t i = 0; i < t->body->n_runs; i++)
    for (uint32_t k = 0; k < t->body->runs[i].count; k++) t->local_types[n++] = t->body->runs[i].type;
}

/* How many bodies of catch clauses can be open at once: no more than tries around each other. */
static uint32_t count_holds(const struct translator *t) {
  struct walk w;
  uint32_t level = 0, most = 0;
  if (!t->body->has_rethrow) return 0;
  walk_begin(&w, t->m, t->func->index);
  while (walk_next(&w)) {
    level += w.in.op == OP_TRY;
    level -= w.opened_by == OP_TRY;
    if (level > most) most = level;
  }
  walk_end(&w);
  return most;
}

/* n instructions are what is run of a function, or become machine code. */
static void keep(struct precise_func *func, const struct precise_insn *insns, uint32_t n) {
  struct baseline *baseline = func->module->baseline;
  if (baseline && baseline_compile(baseline, func, insns, n)) return;
  struct precise_insn *exact = heap_resize(NULL, n, sizeof *exact);
  memcpy(exact, insns, n * sizeof *exact);
  atomic_store_explicit(&func->code, exact, memory_order_release);
}

static void use_room(struct translator *t, const struct precise_room *room) {
  t->insns = room->insns, t->capacity = room->insns_capacity;
  t->stack = room->stack, t->stack_capacity = room->stack_capacity;
  t->controls = room->controls, t->controls_capacity = room->controls_capacity;
}

static void return_room(const struct translator *t, struct precise_room *room) {
  room->insns = t->insns, room->insns_capacity = t->capacity;
  room->stack = t->stack, room->stack_capacity = t->stack_capacity;
  room->controls = t->controls, room->controls_capacity = t->controls_capacity;
}

void precise_room_clear(struct precise_room *room) {
  price_room_clear(&room->prices);
  free(room->insns);
  free(room->stack);
  free(room->controls);
  free(room->locals);
  *room = (struct precise_room){0};
}

void precise_translate(struct precise_func *func, struct precise_listing *listing) {
  const struct gw_module *module = func->module->module;
  const struct module *m = &module->decoded;
  struct translator t = {.func = func, .m = m, .body = &m->funcs[func->index], .charge = NONE, .last = NONE, .last_op = OP_COUNT};
  struct price_rates rates = schedule_rates(&module->engine->schedule);
  struct precise_room own = {0}, *room = listing ? &own : &func->module->room;
  use_room(&t, room);
  if (module->engine->options.gas) {
    t.schedule = &module->engine->schedule;
    price_blocks(m, func->index, &rates, &room->prices, &t.prices);
  }
  t.keeps_offsets = listing;
  t.watches = module->engine->options.watch;
  lay_out_locals(&t, room);
  t.n_holds = count_holds(&t);
  translate_body(&t);
  prices_clear(&t.prices);
  if (listing) {
    *listing = (struct precise_listing){t.insns, t.offsets, t.n};
    t.insns = NULL;
    return_room(&t, room);
    precise_room_clear(room);
    return;
  }
  return_room(&t, room);
  func->n_insns = t.n;
  func->operands = operand_base(&t);
  func->frame_bytes = operand_base(&t) + t.max_height * SLOT_SIZE;
  assert(func->frame_bytes <= PRECISE_FRAME_BEYOND(func_frame_cost(m, func->index)));
  keep(func, t.insns, t.n);
}
