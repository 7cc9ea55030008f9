/* What instrument/meter/check.c puts in order, looked at from the other side, where the engine verifies: from every gas check,
 * every call and the entry of a function, the longest way to the next gas check or call, and to a return. Section 4 of
 * docs/gas.md.
 *
 * A block with a gas check needs nothing behind it to be known; the others are known when all that they lead to is. A cycle of
 * those is an error, but for that of a counted loop. Ways that a constant condition never takes do not count: LLVM takes what
 * lies behind them apart, gas checks included, before it drops it. Bodies of counted loops count here beside their rounds, so
 * sums may be up to twice what instrument/meter/check.c allows. */
#include "base/error.h"
#include "instrument/meter/check.h"

struct frame {
  uint32_t block;
  unsigned next;
};

enum colour { NOT_SEEN, OPEN, DONE };

/* From the start of a block, in instructions. */
struct ahead {
  enum colour colour;
  int64_t late; /* to the next gas check, or call of a function that checks gas, or the end of the function */
  int64_t tail; /* to a return without a gas check or a call of a function that checks gas; NEVER */
  bool has_look;
  bool is_live;   /* the entry leads here */
  uint32_t worst; /* of the counted loop that begins here */
};
#define NEVER (-1)

struct verify {
  struct gas_pass *p;
  struct ahead *blocks; /* [graph.n] */
  struct frame *stack;
  int64_t most_late, most_tail; /* found */
};

static int64_t longer(int64_t a, int64_t b) { return a > b ? a : b; }

static bool is_counted_edge(const struct verify *f, uint32_t from, uint32_t to) {
  return f->blocks[to].worst && gas_graph_is_back_edge(&f->p->graph, from, to);
}

static LLVMBasicBlockRef chosen_case(LLVMValueRef terminator, LLVMValueRef condition) {
  unsigned n = LLVMGetNumSuccessors(terminator);
  for (unsigned i = 1; i < n; i++)
    if (LLVMGetSwitchCaseValue(terminator, i) == condition) return LLVMGetSuccessor(terminator, i);
  return LLVMGetSwitchDefaultDest(terminator);
}

/* The way out of a block with this number, or NO_BLOCK if it is never taken. */
static uint32_t way_out(const struct verify *f, LLVMValueRef terminator, unsigned s) {
  LLVMOpcode op = LLVMGetInstructionOpcode(terminator);
  LLVMBasicBlockRef to = LLVMGetSuccessor(terminator, s);
  bool is_branch = op == LLVMBr && LLVMIsConditional(terminator);
  LLVMValueRef condition = is_branch ? LLVMGetCondition(terminator) : op == LLVMSwitch ? LLVMGetOperand(terminator, 0) : NULL;
  if (condition && LLVMIsUndef(condition)) return NO_BLOCK; /* or poison */
  if (condition && LLVMIsAConstantInt(condition)) {
    unsigned taken = LLVMConstIntGetZExtValue(condition) ? 0 : 1;
    if (to != (is_branch ? LLVMGetSuccessor(terminator, taken) : chosen_case(terminator, condition))) return NO_BLOCK;
  }
  return gas_graph_find(&f->p->graph, to);
}

static int64_t weight(enum gas_event event) {
  return event == GAS_WORK                                     ? 1
         : event == GAS_HELPER_CALL                            ? HELPER
         : event == GAS_LEAF_CALL || event == GAS_UNKNOWN_CALL ? MOST_LEAF
                                                               : 0;
}

/* A loop that may take longer than the function may has a gas check behind it, which counts for all that it does. */
static int64_t loop_weight(const struct verify *f, uint32_t worst) {
  int64_t most = gas_most_late(f->p) - CHECK_BEHIND_LOOP;
  return worst < most ? worst : most;
}

/* Backwards through a block. `is_last`: what it leads to is known, so that what was found may be kept. */
static void scan(struct verify *f, uint32_t i, bool is_last) {
  struct ahead *block = &f->blocks[i];
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(f->p->graph.blocks[i].block);
  int64_t late = 0, tail = LLVMGetInstructionOpcode(terminator) == LLVMRet ? 0 : NEVER;
  unsigned n = LLVMGetNumSuccessors(terminator);
  for (unsigned s = 0; s < n; s++) {
    uint32_t to = way_out(f, terminator, s);
    if (to == NO_BLOCK || is_counted_edge(f, i, to)) continue;
    late = longer(late, f->blocks[to].late);
    tail = longer(tail, f->blocks[to].tail);
  }
  block->has_look = false;
  for (LLVMValueRef v = terminator; v; v = LLVMGetPreviousInstruction(v)) {
    enum gas_event event = gas_event_of(f->p, v);
    bool is_reset = event == GAS_LOOK || event == GAS_CHECKING_CALL;
    if (is_last && (event == GAS_CHECKING_CALL || event == GAS_UNKNOWN_CALL)) f->most_tail = longer(f->most_tail, tail);
    if (is_last && is_reset) f->most_late = longer(f->most_late, late);
    late = is_reset ? 0 : late + weight(event);
    tail = is_reset || tail == NEVER ? NEVER : tail + weight(event);
    block->has_look |= is_reset;
  }
  int64_t rounds = loop_weight(f, block->worst);
  block->late = late + rounds;
  block->tail = tail == NEVER ? NEVER : tail + rounds;
}

/* Depth first from `start`. False: a cycle. */
static bool walk(struct verify *f, uint32_t start) {
  uint32_t depth = 0;
  if (f->blocks[start].colour == NOT_SEEN) f->stack[depth++] = (struct frame){start, 0};
  while (depth) {
    struct frame *top = &f->stack[depth - 1];
    struct ahead *block = &f->blocks[top->block];
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(f->p->graph.blocks[top->block].block);
    if (top->next == 0) scan(f, top->block, false);
    if (block->has_look || top->next == LLVMGetNumSuccessors(terminator)) {
      if (!block->has_look) scan(f, top->block, false);
      block->colour = DONE;
      depth--;
      continue;
    }
    block->colour = OPEN;
    uint32_t to = way_out(f, terminator, top->next++);
    if (to == NO_BLOCK || f->blocks[to].colour == DONE || is_counted_edge(f, top->block, to)) continue;
    if (f->blocks[to].colour == OPEN) return false;
    f->stack[depth++] = (struct frame){to, 0};
  }
  return true;
}

static void mark_live(struct verify *f) {
  uint32_t *list = arena_alloc_array(&f->p->graph.arena, f->p->graph.n, sizeof *list), n = 0;
  list[n++] = 0;
  f->blocks[0].is_live = true;
  while (n) {
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(f->p->graph.blocks[list[--n]].block);
    for (unsigned s = 0; s < LLVMGetNumSuccessors(terminator); s++) {
      uint32_t to = way_out(f, terminator, s);
      if (to == NO_BLOCK || f->blocks[to].is_live) continue;
      f->blocks[to].is_live = true;
      list[n++] = to;
    }
  }
}

static bool measure(struct verify *f) {
  struct gas_graph *g = &f->p->graph;
  for (uint32_t i = 0; i < f->p->n_converted; i++) {
    uint32_t header = gas_graph_find(g, f->p->converted[i].header);
    if (header != NO_BLOCK) f->blocks[header].worst = f->p->converted[i].worst;
  }
  mark_live(f);
  for (uint32_t i = 0; i < g->n; i++)
    if (f->blocks[i].is_live && !walk(f, i)) return false;
  for (uint32_t i = 0; i < g->n; i++)
    if (f->blocks[i].is_live) scan(f, i, true);
  f->most_late = longer(f->most_late, f->blocks[0].late);
  return true;
}

bool gas_verify_latency(struct gas_pass *p, struct gw_error *err) {
  struct verify f = {.p = p};
  size_t size;
  const char *name = LLVMGetValueName2(p->func, &size);
  gas_graph_build(&p->graph, p->func);
  f.blocks = arena_alloc_array(&p->graph.arena, p->graph.n, sizeof *f.blocks);
  f.stack = arena_alloc_array(&p->graph.arena, p->graph.n, sizeof *f.stack);
  bool ok = measure(&f) || error_set(err, GW_ERROR_COMPILE, "a loop of function %s never checks gas", name);
  gas_graph_clear(&p->graph);
  if (ok && f.most_late > 2 * gas_most_late(p) + MOST_LEAF)
    ok = error_set(err, GW_ERROR_COMPILE, "function %s may do %lld instructions between two gas checks", name,
                   (long long)f.most_late);
  if (ok && f.most_tail > 2 * MOST_TAIL)
    ok = error_set(err, GW_ERROR_COMPILE, "function %s may do %lld instructions behind a call", name, (long long)f.most_tail);
  return ok;
}
