/* Checks move down to where paths part, and become one with the charges there.
 *
 * Nobody checks the counter between two calls, so a charge may as well happen later on each path that leads on from it: where
 * each of these begins with a charge of its own, a subtraction is saved on all of them. A check moves along, and is left out
 * where a path soon returns or traps without calling or going round a loop. In an interpreter's loop that makes one
 * subtraction and one check per instruction, behind the dispatch; in a recursive function the short way out needs no check.
 *
 * Only where most of the ways out gain by it, and a few levels deep, because every edge gets a block of its own.
 *
 * Before that, what the end of a loop charges moves into what its next round charges first, so that a round has one charge on
 * each of its paths. The first round has none before it: what leads to the loop charges that much less, which may be a negative
 * amount. A gas check then comes late by so much, never early. */
#include "instrument/meter/internal.h"

#include "frontend/lower/values.h"

enum {
  MAX_WAYS = 64,      /* out of one block */
  MAX_LEVELS = 4,     /* that one charge moves down */
  MAX_MERGED = 16384, /* gas: what is paid in advance brings no gas check that comes soon */
  MAX_CHAIN = 16,     /* blocks that follow one another without branching */
};

struct way {
  LLVMBasicBlockRef to;
  LLVMValueRef marker; /* first thing there that concerns gas, if nothing else leads there */
  bool is_final;       /* soon returns or traps: needs no check */
};

static LLVMBasicBlockRef only_successor(LLVMBasicBlockRef block) {
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block);
  return LLVMGetNumSuccessors(terminator) == 1 ? LLVMGetSuccessor(terminator, 0) : NULL;
}

/* Whether only `from` leads to `to`. */
static bool is_only_way(LLVMBasicBlockRef from, LLVMBasicBlockRef to) {
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(from);
  for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(to)); use; use = LLVMGetNextUse(use))
    if (LLVMGetUser(use) != terminator) return false;
  return true;
}

/* First marker of a block, unless a call comes before it. */
static LLVMValueRef first_marker(const struct gas_pass *p, LLVMBasicBlockRef block, bool *has_call) {
  *has_call = false;
  for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v)) {
    if (gas_is_marker(p, v)) return v;
    if (!gas_is_call(p, v)) continue;
    *has_call = true;
    return NULL;
  }
  return NULL;
}

/* Last marker of a block, unless a call comes behind it. */
static LLVMValueRef last_marker(const struct gas_pass *p, LLVMBasicBlockRef block) {
  for (LLVMValueRef v = LLVMGetLastInstruction(block); v; v = LLVMGetPreviousInstruction(v)) {
    if (gas_is_marker(p, v)) return v;
    if (gas_is_call(p, v)) return NULL;
  }
  return NULL;
}

static void set_price(struct gas_pass *p, LLVMValueRef marker, uint64_t price) {
  LLVMSetOperand(marker, 0, ir_i64(&p->ir, price));
}

bool gas_checks_at_entry(LLVMValueRef func) {
  return LLVMGetStringAttributeAtIndex(func, LLVMAttributeFunctionIndex, GAS_CHECKS, sizeof GAS_CHECKS - 1);
}

bool gas_is_checking_call(const struct gas_pass *p, LLVMValueRef v) {
  return gas_is_call(p, v) && LLVMIsAFunction(LLVMGetCalledValue(v)) && gas_checks_at_entry(LLVMGetCalledValue(v));
}

/* Whether every way on from the start of `b` comes to such a call, and soon. */
static bool leads_to_check(const struct gas_pass *p, LLVMBasicBlockRef b) {
  enum { FAR = 8 };
  for (int i = 0; i < FAR; i++) {
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (gas_is_checking_call(p, v)) return true;
    LLVMValueRef last = LLVMGetBasicBlockTerminator(b);
    if (LLVMGetNumSuccessors(last) != 1) return false;
    b = LLVMGetSuccessor(last, 0);
  }
  return false;
}

/* Whether something from `v` on, before `end` (NULL: to the end of the block), may fault. */
static bool may_fault(LLVMValueRef v, LLVMValueRef end) {
  for (; v && v != end; v = LLVMGetNextInstruction(v))
    if (value_is_guest_access(v)) return true;
  return false;
}

/* Takes what follows on the straight way into `marker`; returns the block where paths part, or NULL. Not across what may fault:
 * gas must not run out for what comes after a fault. */
static LLVMBasicBlockRef merge_straight(struct gas_pass *p, LLVMValueRef marker) {
  LLVMBasicBlockRef block = LLVMGetInstructionParent(marker);
  bool has_fault = may_fault(marker, NULL);
  for (int i = 0; i < MAX_CHAIN; i++) {
    LLVMBasicBlockRef next = only_successor(block);
    if (!next) return block;
    if (!is_only_way(block, next)) return NULL;
    for (bool has_call;;) {
      LLVMValueRef other = first_marker(p, next, &has_call);
      if (has_call) return NULL;
      if (!other) break;
      if (LLVMGetCalledValue(other) == p->charge_check) return NULL;
      if (has_fault || may_fault(LLVMGetFirstInstruction(next), other)) return NULL;
      if (gas_marker_price(marker) + gas_marker_price(other) > MAX_MERGED) return NULL;
      set_price(p, marker, gas_marker_price(marker) + gas_marker_price(other));
      LLVMInstructionEraseFromParent(other);
    }
    has_fault |= may_fault(LLVMGetFirstInstruction(next), NULL);
    block = next;
  }
  return NULL;
}

/* Whether the way returns or traps before anything that could take long. */
static bool is_final(const struct gas_pass *p, LLVMBasicBlockRef block) {
  for (int i = 0; block && i < MAX_CHAIN; i++) {
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block);
    if (LLVMGetInstructionOpcode(terminator) == LLVMUnreachable) return true;
    for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v))
      if (gas_is_call(p, v) || (gas_is_marker(p, v) && LLVMGetCalledValue(v) == p->charge_check)) return false;
    if (LLVMGetInstructionOpcode(terminator) == LLVMRet) return true;
    block = only_successor(block);
  }
  return false;
}

/* The distinct ways out of `block`, or 0 where moving charges there would not gain. */
static uint32_t find_ways(const struct gas_pass *p, LLVMBasicBlockRef block, struct way *ways) {
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block);
  unsigned n_successors = LLVMGetNumSuccessors(terminator);
  uint32_t n = 0, n_gaining = 0, n_losing = 0;
  for (unsigned i = 0; i < n_successors; i++) {
    LLVMBasicBlockRef to = LLVMGetSuccessor(terminator, i);
    uint32_t seen = 0;
    while (seen < n && ways[seen].to != to) seen++;
    if (seen < n) continue;
    if (n == MAX_WAYS) return 0;
    bool has_call;
    LLVMValueRef marker = is_only_way(block, to) ? first_marker(p, to, &has_call) : NULL;
    if (marker && LLVMGetCalledValue(marker) == p->charge_check) marker = NULL;
    ways[n] = (struct way){to, marker, is_final(p, to)};
    n_gaining += marker != NULL;
    n_losing += !marker && !ways[n].is_final;
    n++;
  }
  return n_gaining > 0 && n_losing <= n_gaining ? n : 0;
}

void gas_replace_sources(struct gas_pass *p, LLVMBasicBlockRef to, LLVMBasicBlockRef old, LLVMBasicBlockRef new) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(to), next; v && LLVMIsAPHINode(v); v = next) {
    next = LLVMGetNextInstruction(v);
    LLVMPositionBuilderBefore(p->ir.builder, v);
    LLVMValueRef phi = LLVMBuildPhi(p->ir.builder, LLVMTypeOf(v), "");
    unsigned n = LLVMCountIncoming(v);
    bool has_new = false;
    for (unsigned i = 0; i < n; i++) {
      LLVMValueRef value = LLVMGetIncomingValue(v, i);
      LLVMBasicBlockRef from = LLVMGetIncomingBlock(v, i);
      if (from == old && has_new) continue; /* several edges have become one */
      has_new |= from == old;
      LLVMAddIncoming(phi, &value, from == old ? &new : &from, 1);
    }
    LLVMReplaceAllUsesWith(v, phi);
    LLVMInstructionEraseFromParent(v);
  }
}

/* A block on the way with the charge of `marker` and the way's own. Returns its marker. */
static LLVMValueRef charge_way(struct gas_pass *p, LLVMBasicBlockRef from, const struct way *way, LLVMValueRef marker,
                               bool is_own) {
  LLVMBuilderRef builder = p->ir.builder;
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(from);
  LLVMBasicBlockRef edge = LLVMInsertBasicBlockInContext(p->ir.context, way->to, "");
  unsigned n = LLVMGetNumSuccessors(terminator);
  for (unsigned i = 0; i < n; i++)
    if (LLVMGetSuccessor(terminator, i) == way->to) LLVMSetSuccessor(terminator, i, edge);
  uint64_t price = gas_marker_price(marker) + (way->marker ? gas_marker_price(way->marker) : 0);
  if (way->marker) LLVMInstructionEraseFromParent(way->marker);
  bool is_checked = LLVMGetCalledValue(marker) == p->charge_check && !way->is_final && (is_own || !leads_to_check(p, way->to));
  LLVMValueRef amount = ir_i64(&p->ir, price);
  LLVMPositionBuilderAtEnd(builder, edge);
  LLVMValueRef moved = LLVMBuildCall2(builder, p->charge_type, is_checked ? p->charge_check : p->charge, &amount, 1, "");
  LLVMBuildBr(builder, way->to);
  gas_replace_sources(p, way->to, from, edge);
  return moved;
}

/* `is_own`: it is the function's own check, on which callers count. */
static void sink(struct gas_pass *p, LLVMValueRef marker, bool is_own, int level) {
  LLVMBasicBlockRef block = merge_straight(p, marker);
  struct way ways[MAX_WAYS];
  bool may_part = block && level < MAX_LEVELS && LLVMGetCalledValue(marker) == p->charge_check;
  uint32_t n = may_part ? find_ways(p, block, ways) : 0;
  for (uint32_t i = 0; i < n; i++) {
    LLVMValueRef moved = charge_way(p, block, &ways[i], marker, is_own);
    if (ways[i].marker) sink(p, moved, is_own, level + 1);
  }
  if (n) LLVMInstructionEraseFromParent(marker);
}

/* The first check of a function is its own, on which its callers count; or NULL. */
static LLVMValueRef own_check(const struct gas_pass *p) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(p->func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (gas_is_marker(p, v) && LLVMGetCalledValue(v) == p->charge_check) return v;
  return NULL;
}

/* A loop that calls such a function in every round need not check gas itself. */
static void drop_checks_before_calls(struct gas_pass *p, LLVMValueRef own) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(p->func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v)) {
      if (v == own || !gas_is_marker(p, v) || LLVMGetCalledValue(v) != p->charge_check) continue;
      LLVMBasicBlockRef next = LLVMGetSuccessor(LLVMGetBasicBlockTerminator(b), 0);
      if (leads_to_check(p, next)) LLVMSetOperand(v, (unsigned)LLVMGetNumOperands(v) - 1, p->charge);
    }
}

/* Adds to what is charged at the end of a block that leads to one other. */
static void charge_end(struct gas_pass *p, LLVMBasicBlockRef block, uint64_t price) {
  LLVMValueRef marker = last_marker(p, block), amount = ir_i64(&p->ir, price);
  if (marker) {
    set_price(p, marker, gas_marker_price(marker) + price);
    return;
  }
  LLVMPositionBuilderBefore(p->ir.builder, LLVMGetBasicBlockTerminator(block));
  LLVMBuildCall2(p->ir.builder, p->charge_type, p->charge, &amount, 1, "");
}

/* The one way back to a loop's header, if all others that lead there lead nowhere else; or NULL. */
static LLVMBasicBlockRef find_way_back(const struct gas_pass *p, uint32_t header) {
  LLVMBasicBlockRef latch = NULL, block = p->graph.blocks[header].block;
  for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(block)); use; use = LLVMGetNextUse(use)) {
    LLVMBasicBlockRef from = LLVMGetInstructionParent(LLVMGetUser(use));
    uint32_t i = gas_graph_find(&p->graph, from);
    if (i == NO_BLOCK || from == latch) return NULL;
    if (!gas_graph_is_back_edge(&p->graph, i, header)) {
      if (only_successor(from) != block) return NULL;
    } else {
      if (latch) return NULL;
      latch = from;
    }
  }
  return latch;
}

/* What the end of a loop charges becomes one with what the next round charges first. The first round has nothing before it: what
 * leads to the loop charges that much less. */
static void rotate(struct gas_pass *p, uint32_t header) {
  bool has_call;
  LLVMBasicBlockRef block = p->graph.blocks[header].block, latch = find_way_back(p, header), exit = NULL;
  LLVMValueRef first = first_marker(p, block, &has_call), last = latch && latch != block ? last_marker(p, latch) : NULL;
  if (!first || !last || LLVMGetCalledValue(last) == p->charge_check) return;
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(latch);
  unsigned n = LLVMGetNumSuccessors(terminator);
  if (n > 2) return;
  for (unsigned i = 0; i < n; i++)
    if (LLVMGetSuccessor(terminator, i) != block) exit = LLVMGetSuccessor(terminator, i);
  uint64_t price = gas_marker_price(last);
  if (exit) charge_way(p, latch, &(struct way){.to = exit}, last, false);
  LLVMInstructionEraseFromParent(last);
  set_price(p, first, gas_marker_price(first) + price);
  for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(block)); use; use = LLVMGetNextUse(use)) {
    LLVMBasicBlockRef from = LLVMGetInstructionParent(LLVMGetUser(use));
    if (from != latch) charge_end(p, from, -price);
  }
}

static void rotate_loops(struct gas_pass *p) {
  gas_graph_build(&p->graph, p->func);
  for (uint32_t i = 1; i < p->graph.n; i++) rotate(p, i);
  gas_graph_clear(&p->graph);
}

void gas_sink_markers(struct gas_pass *p) {
  LLVMValueRef own = own_check(p);
  drop_checks_before_calls(p, own);
  rotate_loops(p);
  gas_graph_build(&p->graph, p->func);
  for (uint32_t i = 0; i < p->graph.n; i++) {
    LLVMValueRef marker = last_marker(p, p->graph.blocks[i].block);
    if (marker) sink(p, marker, marker == own, 0);
  }
  gas_graph_clear(&p->graph);
}
