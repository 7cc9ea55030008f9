/* How late the notice may come that nothing is left: section 4 of docs/gas.md.
 *
 * Lowering asks for gas checks where a guest could go on for ever; how long it may go on between two of them is decided here, for
 * every function by itself, so that no way of putting functions together adds up to more than a fixed amount of work. Work is
 * counted in LLVM instructions, whatever the schedule says of them.
 *
 *   late   since the last gas check, or the last call of a function that checks gas at its entry. At most MOST_LATE; in functions
 * that do not check gas at their entry MOST_LEAF, and every call of what may be one of those counts as so much. tail   since the
 * last call that may have been of a function that calls others. At most MOST_TAIL where the function returns, because the returns
 * of as many frames as the logical stack has may follow one another; frames cost 64 bytes and more.
 *
 * Counted loops (instrument/meter/loop.c) go round for CHUNK_GAS at most; behind one that may take longer than a function may
 * otherwise, a gas check follows at once, so there is at most one of them between two gas checks.
 *
 * Where there would be more, the last charge of the block becomes a gas check, or one is put there; never between a tail call and
 * its return, which are one: what the callee does lies between the last call and that return, so the gas check comes before the
 * call. Every cycle of blocks has a gas check, or gets one; so the blocks between gas checks are in an order in which each comes
 * behind what leads to it. */
#include "frontend/lower/values.h"
#include "instrument/meter/check.h"
#include "instrument/meter/loop.h"

enum { NO_CALL = -1 };

/* On the way through a block. */
struct way {
  int32_t late, tail; /* tail: NO_CALL since the last gas check */
};

struct node {
  struct way in, out;
  uint32_t n_open; /* edges from blocks without a gas check that are not done */
  uint32_t worst;  /* work of the counted loop that begins here, or 0 */
  bool is_fixed;   /* out does not depend on in */
  bool is_in_loop; /* of those; gets no gas check */
  bool is_done;
};

struct latency {
  struct gas_pass *p;
  struct node *nodes; /* [graph.n] */
  uint32_t *ready, n_ready;
  int32_t most_late;
};

static bool is_trap(LLVMValueRef call) { return LLVMGetInstructionOpcode(LLVMGetNextInstruction(call)) == LLVMUnreachable; }

enum gas_event gas_event_of(const struct gas_pass *p, LLVMValueRef v) {
  if (LLVMGetInstructionOpcode(v) != LLVMCall) return GAS_WORK;
  LLVMValueRef callee = LLVMGetCalledValue(v);
  if (callee == p->charge_check || (LLVMIsAInlineAsm(callee) && LLVMGetInlineAsmHasSideEffects(callee) && !value_is_hidden(v)))
    return GAS_LOOK;
  if (gas_is_checking_call(p, v)) return GAS_CHECKING_CALL;
  if (!gas_is_call(p, v) || is_trap(v)) return GAS_WORK;
  if (p->handed && !gas_is_handing_call(p, v)) return GAS_HELPER_CALL;
  return LLVMIsAFunction(callee) ? GAS_LEAF_CALL : GAS_UNKNOWN_CALL;
}

static struct way later(struct way a, struct way b) {
  return (struct way){a.late > b.late ? a.late : b.late, a.tail > b.tail ? a.tail : b.tail};
}

static void work(struct way *w, int32_t n) {
  w->late += n;
  if (w->tail != NO_CALL) w->tail += n;
}

static void pass(const struct gas_pass *p, struct way *w, LLVMValueRef v) {
  switch (gas_event_of(p, v)) {
  case GAS_WORK: work(w, 1); return;
  case GAS_LOOK: *w = (struct way){0, NO_CALL}; return;
  case GAS_CHECKING_CALL: *w = (struct way){0, 0}; return;
  case GAS_HELPER_CALL: work(w, HELPER); return;
  case GAS_LEAF_CALL: work(w, MOST_LEAF); return;
  case GAS_UNKNOWN_CALL:
    work(w, MOST_LEAF);
    if (w->tail == NO_CALL) w->tail = 0;
    return;
  }
}

static bool is_charge(const struct gas_pass *p, LLVMValueRef v) {
  return gas_is_marker(p, v) && LLVMGetCalledValue(v) == p->charge;
}

static void check_before(struct gas_pass *p, LLVMValueRef v) {
  LLVMValueRef nothing = ir_i64(&p->ir, 0);
  LLVMPositionBuilderBefore(p->ir.builder, v);
  LLVMBuildCall2(p->ir.builder, p->charge_type, p->charge_check, &nothing, 1, "");
}

static bool is_tail_call(LLVMValueRef v) { return LLVMIsACallInst(v) && LLVMGetTailCallKind(v) == LLVMTailCallKindMustTail; }

/* Whether a gas check must come before `v`. */
static bool is_due(const struct latency *n, LLVMValueRef v, struct way w) {
  LLVMOpcode op = LLVMGetInstructionOpcode(v);
  if (op == LLVMPHI || op == LLVMUnreachable) return false;
  if (is_tail_call(v)) {
    enum gas_event event = gas_event_of(n->p, v);
    if (event != GAS_CHECKING_CALL) work(&w, event == GAS_HELPER_CALL ? HELPER : MOST_LEAF); /* before the return */
    return w.late > n->most_late || w.tail > MOST_TAIL;
  }
  LLVMValueRef before = op == LLVMRet ? LLVMGetPreviousInstruction(v) : NULL;
  if (before && is_tail_call(before)) return false;
  return w.late > n->most_late || (op == LLVMRet && w.tail > MOST_TAIL);
}

/* From `v` on to the end of its block, with gas checks where they must be. */
static struct way walk(const struct latency *n, LLVMValueRef v, struct way w) {
  struct gas_pass *p = n->p;
  LLVMValueRef charge = NULL; /* since the last gas check or call */
  struct way since = {0};
  for (; v; v = LLVMGetNextInstruction(v)) {
    if (is_due(n, v, w)) {
      if (charge) {
        LLVMSetOperand(charge, (unsigned)LLVMGetNumOperands(charge) - 1, p->charge_check);
        w = (struct way){w.late - since.late, NO_CALL};
      }
      if (!charge || is_due(n, v, w)) {
        check_before(p, v);
        w = (struct way){0, NO_CALL};
      }
      charge = NULL;
    }
    if (is_charge(p, v)) {
      charge = v;
      since = w;
    } else if (gas_event_of(p, v) != GAS_WORK) {
      charge = NULL;
    }
    pass(p, &w, v);
  }
  return w;
}

/* What follows the last gas check or call of a function that checks gas, or NULL. */
static LLVMValueRef last_event(const struct gas_pass *p, LLVMBasicBlockRef block, struct way *w) {
  for (LLVMValueRef v = LLVMGetLastInstruction(block); v; v = LLVMGetPreviousInstruction(v)) {
    enum gas_event event = gas_event_of(p, v);
    if (event != GAS_LOOK && event != GAS_CHECKING_CALL) continue;
    *w = (struct way){0, event == GAS_LOOK ? NO_CALL : 0};
    return LLVMGetNextInstruction(v);
  }
  return NULL;
}

static bool is_counted_edge(const struct latency *n, uint32_t from, uint32_t to) {
  return n->nodes[to].worst && gas_graph_is_back_edge(&n->p->graph, from, to);
}

/* What the block leaves its successors. */
static void leave(struct latency *n, uint32_t i) {
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(n->p->graph.blocks[i].block);
  unsigned n_successors = LLVMGetNumSuccessors(terminator);
  for (unsigned s = 0; s < n_successors; s++) {
    uint32_t to = gas_graph_find(&n->p->graph, LLVMGetSuccessor(terminator, s));
    if (is_counted_edge(n, i, to)) continue;
    n->nodes[to].in = later(n->nodes[to].in, n->nodes[i].out);
    if (!n->nodes[i].is_fixed && --n->nodes[to].n_open == 0 && !n->nodes[to].is_done) n->ready[n->n_ready++] = to;
  }
}

/* --- counted loops ---------------------------------------------------------------------------------------------------- */

static void mark_body(struct latency *n, uint32_t header, uint32_t i) {
  struct gas_graph *g = &n->p->graph;
  uint32_t *list = arena_alloc_array(&g->arena, g->n, sizeof *list), n_list = 0;
  n->nodes[header].is_in_loop = true;
  if (!n->nodes[i].is_in_loop) list[n_list++] = i;
  n->nodes[i].is_in_loop = true;
  while (n_list) {
    LLVMValueRef value = LLVMBasicBlockAsValue(g->blocks[list[--n_list]].block);
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use)) {
      uint32_t from = gas_graph_find(g, LLVMGetInstructionParent(LLVMGetUser(use)));
      if (from == NO_BLOCK || n->nodes[from].is_in_loop) continue;
      n->nodes[from].is_in_loop = true;
      list[n_list++] = from;
    }
  }
}

static void mark_loops(struct latency *n) {
  const struct gas_graph *g = &n->p->graph;
  for (uint32_t i = 0; i < n->p->n_converted; i++) {
    uint32_t header = gas_graph_find(g, n->p->converted[i].header);
    if (header == NO_BLOCK) continue;
    n->nodes[header].worst = n->p->converted[i].worst;
    for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(g->blocks[header].block)); use; use = LLVMGetNextUse(use)) {
      uint32_t from = gas_graph_find(g, LLVMGetInstructionParent(LLVMGetUser(use)));
      if (from != NO_BLOCK && gas_graph_is_back_edge(g, from, header)) mark_body(n, header, from);
    }
  }
}

/* The whole loop is put down to its header: what may take longer than the function may makes a gas check follow the loop, as soon
 * as that is not there anyway. */
static void enter_loop(const struct latency *n, struct node *node) {
  int32_t most = n->most_late - CHECK_BEHIND_LOOP, worst = node->worst < (uint32_t)most ? (int32_t)node->worst : most;
  work(&node->in, worst);
  if (node->in.late > most && node->worst > (uint32_t)most) node->in.late = most;
}

/* --- the function ------------------------------------------------------------------------------------------------------- */

static void visit(struct latency *n, uint32_t i) {
  struct node *node = &n->nodes[i];
  LLVMBasicBlockRef block = n->p->graph.blocks[i].block;
  node->is_done = true;
  if (node->worst) enter_loop(n, node);
  if (node->is_in_loop) {
    node->out = node->in;
  } else {
    struct way out = walk(n, LLVMGetFirstInstruction(block), node->in);
    if (!node->is_fixed) node->out = out;
  }
  if (!node->is_fixed) leave(n, i);
}

/* Nothing is left but what cycles without a gas check lead to. */
static void break_cycle(struct latency *n, uint32_t i) {
  LLVMValueRef v = LLVMGetFirstInstruction(n->p->graph.blocks[i].block);
  while (LLVMIsAPHINode(v)) v = LLVMGetNextInstruction(v);
  check_before(n->p, v);
  visit(n, i);
}

static void count_open_edges(struct latency *n) {
  struct gas_graph *g = &n->p->graph;
  for (uint32_t i = 0; i < g->n; i++) {
    struct node *node = &n->nodes[i];
    LLVMValueRef behind = node->is_in_loop ? NULL : last_event(n->p, g->blocks[i].block, &node->out);
    node->is_fixed = behind != NULL;
    if (behind) node->out = walk(n, behind, node->out);
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(g->blocks[i].block);
    unsigned n_successors = LLVMGetNumSuccessors(terminator);
    for (unsigned s = 0; s < n_successors && !behind; s++) {
      uint32_t to = gas_graph_find(g, LLVMGetSuccessor(terminator, s));
      if (!is_counted_edge(n, i, to)) n->nodes[to].n_open++;
    }
  }
}

/* The most that a way through the function could be. */
static int64_t measure(const struct gas_pass *p) {
  struct way all = {0, NO_CALL};
  int64_t sum = 0;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(p->func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v)) {
      all = (struct way){0, NO_CALL};
      pass(p, &all, v);
      sum += all.late;
    }
  for (uint32_t i = 0; i < p->n_converted; i++) sum += p->converted[i].worst;
  return sum;
}

void gas_bound_latency(struct gas_pass *p) {
  struct latency n = {.p = p, .most_late = gas_most_late(p)};
  if (measure(p) <= MOST_TAIL) return;
  gas_graph_build(&p->graph, p->func);
  struct gas_graph *g = &p->graph;
  n.nodes = arena_alloc_array(&g->arena, g->n, sizeof *n.nodes);
  n.ready = arena_alloc_array(&g->arena, g->n, sizeof *n.ready);
  for (uint32_t i = 0; i < g->n; i++) n.nodes[i].in = (struct way){0, NO_CALL};
  mark_loops(&n);
  count_open_edges(&n);
  for (uint32_t i = 0; i < g->n; i++)
    if (n.nodes[i].is_fixed) leave(&n, i);
  for (uint32_t i = g->n; i-- > 0;)
    if (!n.nodes[i].n_open) n.ready[n.n_ready++] = i;
  for (uint32_t i = 0; i < g->n; i++) {
    while (n.n_ready) visit(&n, n.ready[--n.n_ready]);
    if (!n.nodes[i].is_done) break_cycle(&n, i);
  }
  gas_graph_clear(g);
}
