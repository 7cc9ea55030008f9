#include "instrument/rounds.h"

#include "base/array.h"
#include "base/heap.h"
#include "frontend/walk.h"

#include <stdlib.h>
#include <string.h>

/* Functions with more locals or nesting than people and compilers write are left out; rounds are those of all loops together. */
enum { WINDOW = 4, MOST_LOCALS = 2000, MOST_DEPTH = 200, MOST_ROUNDS = 1 << 26 };

/* What is known of a local at a point, and of its changes since the outermost loop began. */
struct local {
  bool is_known;
  int64_t value;
  uint64_t written; /* offset of the last instruction that wrote it, 0: none */
};

/* A change of a local within a loop. */
struct step {
  uint32_t n; /* writes in the loop, of any kind */
  int64_t by; /* of the last one, if it adds a constant to the local itself; else 0 */
};

struct construct {
  enum op op;
  uint64_t offset;
  /* Loops. */
  struct local *at_start; /* [n_locals] */
  struct step *steps;     /* [n_locals] */
  uint32_t n_back;        /* branches to its start */
  bool has_exit;          /* something inside leaves it */
  bool has_count;
  uint32_t counter;
  enum op compare; /* OP_NOP: with zero, for being unequal */
  int64_t bound;
};

struct finder {
  const struct module *m;
  struct local *locals;
  uint32_t n_locals;
  struct construct *constructs;
  uint32_t n_constructs, capacity;
  struct instruction window[WINDOW]; /* the last instructions, the newest first */
  struct loop_rounds *found;
  size_t n_found;
  uint64_t budget; /* rounds that may still be gone through */
};

/* --- counting --------------------------------------------------------------------------------------------------------- */

static bool holds(enum op compare, int64_t a, int64_t b) {
  switch (compare) {
  case OP_NOP: return a != 0;
  case OP_I32_EQ: return (int32_t)a == (int32_t)b;
  case OP_I32_NE: return (int32_t)a != (int32_t)b;
  case OP_I32_LT_S: return (int32_t)a < (int32_t)b;
  case OP_I32_LT_U: return (uint32_t)a < (uint32_t)b;
  case OP_I32_GT_S: return (int32_t)a > (int32_t)b;
  case OP_I32_GT_U: return (uint32_t)a > (uint32_t)b;
  case OP_I32_LE_S: return (int32_t)a <= (int32_t)b;
  case OP_I32_LE_U: return (uint32_t)a <= (uint32_t)b;
  case OP_I32_GE_S: return (int32_t)a >= (int32_t)b;
  case OP_I32_GE_U: return (uint32_t)a >= (uint32_t)b;
  case OP_I64_EQ: return a == b;
  case OP_I64_NE: return a != b;
  case OP_I64_LT_S: return a < b;
  case OP_I64_LT_U: return (uint64_t)a < (uint64_t)b;
  case OP_I64_GT_S: return a > b;
  case OP_I64_GT_U: return (uint64_t)a > (uint64_t)b;
  case OP_I64_LE_S: return a <= b;
  case OP_I64_LE_U: return (uint64_t)a <= (uint64_t)b;
  case OP_I64_GE_S: return a >= b;
  case OP_I64_GE_U: return (uint64_t)a >= (uint64_t)b;
  default: return false;
  }
}

static bool is_compare(enum op op) { return (op >= OP_I32_EQ && op <= OP_I32_GE_U) || (op >= OP_I64_EQ && op <= OP_I64_GE_U); }

/* Goes through the values: counts are small where they are of interest. 0: too many. */
static uint64_t count_rounds(struct finder *f, const struct construct *c, bool is_32) {
  int64_t value = c->at_start[c->counter].value, by = c->steps[c->counter].by;
  for (uint64_t n = 1; f->budget > 0; n++, f->budget--) {
    value = (int64_t)((uint64_t)value + (uint64_t)by);
    if (is_32) value = (int32_t)value;
    if (!holds(c->compare, value, c->bound)) return n;
  }
  return 0;
}

static bool local_is_32(const struct finder *f, const struct func *func, uint32_t local) {
  const struct func_type *type = &f->m->types[func->type].func;
  if (local < type->n_params) return val_kind(type->params[local]) == VAL_I32;
  local -= type->n_params;
  for (uint32_t i = 0; i < func->n_runs; local -= func->runs[i++].count)
    if (local < func->runs[i].count) return val_kind(func->runs[i].type) == VAL_I32;
  return false;
}

static void end_loop(struct finder *f, const struct func *func, const struct construct *c) {
  bool counts = c->has_count && c->n_back == 1 && c->at_start[c->counter].is_known && c->steps[c->counter].n == 1 &&
                c->steps[c->counter].by != 0;
  uint64_t rounds = counts ? count_rounds(f, c, local_is_32(f, func, c->counter)) : 0;
  if (!rounds) return;
  f->found = heap_resize(f->found, (f->n_found + 1), sizeof *f->found);
  f->found[f->n_found++] = (struct loop_rounds){.offset = c->offset, .rounds = rounds, .is_exact = !c->has_exit};
}

/* --- following -------------------------------------------------------------------------------------------------------- */

static bool is_constant(const struct instruction *in) { return in->op == OP_I32_CONST || in->op == OP_I64_CONST; }

/* A write: of a constant, of the local and a constant together, or of something else. window[0] is what came before it. */
static void write_local(struct finder *f, const struct instruction *in) {
  const struct instruction *w = f->window;
  struct local *l = &f->locals[in->index];
  bool is_sum = w[0].op == OP_I32_ADD || w[0].op == OP_I64_ADD, is_difference = w[0].op == OP_I32_SUB || w[0].op == OP_I64_SUB;
  bool is_step = (is_sum || is_difference) && is_constant(&w[1]) && w[2].op == OP_LOCAL_GET && w[2].index == in->index;
  l->is_known = is_constant(&w[0]);
  l->value = w[0].value.i64;
  l->written = in->offset;
  for (uint32_t i = 0; i < f->n_constructs; i++) {
    if (f->constructs[i].op != OP_LOOP) continue;
    struct step *step = &f->constructs[i].steps[in->index];
    bool is_every_round = i + 1 == f->n_constructs; /* not in a block that may be skipped, or a loop inside */
    step->n++;
    step->by = !is_step || !is_every_round ? 0 : is_sum ? w[1].value.i64 : -w[1].value.i64;
  }
}

/* Control comes together here: what was written since `offset` was perhaps not. */
static void forget_since(struct finder *f, uint64_t offset) {
  for (uint32_t i = 0; i < f->n_locals; i++)
    if (f->locals[i].written >= offset) f->locals[i].is_known = false;
}

static bool reads_local(const struct instruction *in) { return in->op == OP_LOCAL_GET || in->op == OP_LOCAL_TEE; }

/* The condition of a branch back, if it is one of those that count. What changes the local has come before. */
static void take_condition(struct finder *f, struct construct *c) {
  const struct instruction *w = f->window;
  if (reads_local(&w[0])) {
    c->counter = w[0].index;
    c->compare = OP_NOP;
    c->has_count = true;
  } else if (is_compare(w[0].op) && is_constant(&w[1]) && reads_local(&w[2])) {
    c->counter = w[2].index;
    c->compare = w[0].op;
    c->bound = w[1].value.i64;
    c->has_count = true;
  }
  if (c->has_count && c->steps[c->counter].n != 1) c->has_count = false;
}

/* Out of all constructs. */
static void leave(struct finder *f) {
  for (uint32_t i = 0; i < f->n_constructs; i++) f->constructs[i].has_exit = true;
}

/* A branch over `depth` constructs: back to a loop, or out of those that it leaves. */
static void branch(struct finder *f, uint32_t depth, bool is_conditional) {
  if (depth >= f->n_constructs) {
    leave(f);
    return;
  }
  uint32_t target = f->n_constructs - 1 - depth;
  for (uint32_t i = target + 1; i < f->n_constructs; i++) f->constructs[i].has_exit = true;
  if (f->constructs[target].op != OP_LOOP) return;
  struct construct *c = &f->constructs[target];
  c->n_back++;
  if (is_conditional && depth == 0) take_condition(f, c);
}

static void branch_to_labels(struct finder *f, const struct walk *w) {
  struct walk_labels labels;
  uint32_t label;
  walk_labels(w, &labels);
  while (walk_next_label(&labels, &label)) branch(f, label, w->in.op == OP_BR_IF);
}

static void open_construct(struct finder *f, const struct instruction *in) {
  if (f->n_constructs == f->capacity) array_grow(f->constructs, f->capacity, 16);
  struct construct *c = &f->constructs[f->n_constructs++];
  *c = (struct construct){.op = in->op, .offset = in->offset};
  if (in->op != OP_LOOP) return;
  c->at_start = heap_new(f->n_locals, sizeof *c->at_start);
  c->steps = heap_new(f->n_locals, sizeof *c->steps);
  memcpy(c->at_start, f->locals, f->n_locals * sizeof *f->locals);
  for (uint32_t i = 0; i < f->n_locals; i++) f->locals[i].is_known = false; /* the next round may come with something else */
}

static void close_construct(struct finder *f, const struct func *func) {
  struct construct *c = &f->constructs[--f->n_constructs];
  if (c->op == OP_LOOP) end_loop(f, func, c);
  forget_since(f, c->offset);
  free(c->at_start);
  free(c->steps);
}

/* Where the module has exceptions, any call may end by one. */
static bool may_leave(const struct finder *f, enum op op) {
  return op_does(op, FLOW_LEAVES) || (op_does(op, FLOW_CALLS) && f->m->dialect & DIALECT_EXCEPTIONS);
}

static void follow(struct finder *f, const struct func *func, const struct walk *w) {
  const struct instruction *in = &w->in;
  if (op_does(in->op, FLOW_BRANCHES)) branch_to_labels(f, w);
  if (may_leave(f, in->op)) leave(f);
  if (op_does(in->op, FLOW_OPENS)) open_construct(f, in);
  if (op_does(in->op, FLOW_SPLITS)) forget_since(f, f->constructs[f->n_constructs - 1].offset);
  if (op_does(in->op, FLOW_CLOSES) && f->n_constructs) close_construct(f, func);
  if (in->op == OP_LOCAL_SET || in->op == OP_LOCAL_TEE) write_local(f, in);
}

struct loop_rounds *find_loop_rounds(const struct module *m, uint32_t func, size_t *n) {
  const struct func *body = &m->funcs[func];
  uint32_t n_params = m->types[body->type].func.n_params;
  struct finder f = {.m = m, .n_locals = n_params + body->n_locals};
  struct walk w;
  *n = 0;
  if (f.n_locals > MOST_LOCALS) return NULL;
  f.budget = MOST_ROUNDS;
  f.locals = heap_new(f.n_locals, sizeof *f.locals);
  for (uint32_t i = n_params; i < f.n_locals; i++) f.locals[i].is_known = true; /* 0 */
  walk_begin(&w, m, func);
  while (f.n_constructs < MOST_DEPTH && walk_next(&w)) {
    follow(&f, body, &w);
    memmove(f.window + 1, f.window, (WINDOW - 1) * sizeof *f.window);
    f.window[0] = w.in;
  }
  walk_end(&w);
  for (uint32_t i = 0; i < f.n_constructs; i++) { /* it was left in the middle */
    free(f.constructs[i].at_start);
    free(f.constructs[i].steps);
  }
  free(f.locals);
  free(f.constructs);
  *n = f.n_found;
  return f.found;
}
