/* Counted loops, paid in chunks.
 *
 * A check in every iteration costs a little, and keeps LLVM from vectorising, which costs a lot. But most inner loops count: when
 * they start it is known that they will go round at least so often. Such a loop becomes
 *
 *   chunk:   k = how often it will surely go round, but no more than the counter covers, and at least once
 *   header:  the body, k times, without a look at the counter
 *   settle:  counter -= k * price of an iteration; look; then what the loop's own condition says: leave, or chunk
 *
 * so the body is a plain loop with a known number of iterations. Nearly always k is the whole loop; a limit or slice
 * that ends in the middle only makes more chunks. The loop's own condition is asked after each chunk, so k need not be exact,
 * only never too large.
 *
 * Recognised is a loop without inner loops and calls, with one latch whose condition compares a counter (a phi that a constant is
 * added to in each iteration; any distance from it) with something that does not change:
 *
 *   a(t) = a0 + step * (t - 1)   the value compared in iteration t, modulo 2^width
 *   goes on while a(t) PRED bound
 *   d    = how far a0 is from failing PRED, 0 if it fails at once; then k = ceil(d / |step|) + 1 cannot be too large: up to there
 *          a(t) has neither reached the bound nor wrapped around
 *
 * Prices inside conditional parts of the body stay subtractions without checks. A way out of the middle (a break, a trap) pays
 * for the iterations begun. */
#include "instrument/gas_loop.h"

#include <llvm-c/DebugInfo.h>

#include <string.h>

/* What a conversion makes. */
struct conversion {
  struct loop *loop;
  LLVMBasicBlockRef plan, chunk, enter, settled, paid;
  LLVMBasicBlockRef copies[MAX_BODY]; /* of the body: the loop as it was */
  struct copy {
    LLVMValueRef from, to;
  } values[2 * MAX_INSTRUCTIONS]; /* open addressing */
};

/* Takes the block's markers into the price of every iteration. */
static void absorb_markers(struct gas_pass *p, struct loop *loop, LLVMBasicBlockRef block) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(block), next; v; v = next) {
    next = LLVMGetNextInstruction(v);
    if (!gas_is_marker(p, v)) continue;
    loop->price += gas_marker_price(v);
    LLVMInstructionEraseFromParent(v);
  }
}

/* Blocks that every iteration runs: from the header on as far as nothing branches, and the latch. */
static void absorb_sure_markers(struct gas_pass *p, struct loop *loop) {
  LLVMBasicBlockRef block = loop->header;
  absorb_markers(p, loop, block);
  while (block != loop->latch) {
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block);
    if (LLVMGetNumSuccessors(terminator) != 1) break;
    block = LLVMGetSuccessor(terminator, 0);
    absorb_markers(p, loop, block);
  }
  if (block != loop->latch) absorb_markers(p, loop, loop->latch);
}

/* --- the copy ------------------------------------------------------------------------------------------------------- */

static struct copy *copy_slot(struct conversion *c, LLVMValueRef v) {
  enum { N = sizeof c->values / sizeof c->values[0] };
  size_t i = ((uintptr_t)v >> 4) * 0x9e3779b97f4a7c15ull >> 40;
  while (c->values[i % N].from && c->values[i % N].from != v) i++;
  return &c->values[i % N];
}

static LLVMValueRef copied_value(struct conversion *c, LLVMValueRef v) {
  const struct copy *copy = copy_slot(c, v);
  return copy->from ? copy->to : v;
}

static LLVMBasicBlockRef copied_block(const struct conversion *c, LLVMBasicBlockRef block) {
  for (uint32_t i = 0; i < c->loop->n_body; i++)
    if (c->loop->body[i] == block) return c->copies[i];
  return block == c->loop->exit ? c->paid : block;
}

static void copy_instructions(struct gas_pass *p, struct conversion *c, uint32_t b) {
  LLVMPositionBuilderAtEnd(p->l.builder, c->copies[b]);
  for (LLVMValueRef v = LLVMGetFirstInstruction(c->loop->body[b]); v; v = LLVMGetNextInstruction(v)) {
    LLVMValueRef copy;
    if (LLVMIsAPHINode(v)) {
      copy = LLVMBuildPhi(p->l.builder, LLVMTypeOf(v), "");
    } else {
      copy = LLVMInstructionClone(v);
      LLVMInsertIntoBuilder(p->l.builder, copy);
    }
    *copy_slot(c, v) = (struct copy){v, copy};
  }
}

/* Makes a copied instruction refer to copies. A header's phi gets only what comes from the latch: the plan adds the rest. */
static void connect_copy(struct conversion *c, LLVMValueRef from) {
  LLVMValueRef to = copied_value(c, from);
  if (LLVMIsAPHINode(from)) {
    bool is_header_phi = LLVMGetInstructionParent(from) == c->loop->header;
    unsigned n = LLVMCountIncoming(from);
    for (unsigned i = 0; i < n; i++) {
      LLVMBasicBlockRef block = LLVMGetIncomingBlock(from, i);
      if (is_header_phi && block != c->loop->latch) continue;
      LLVMValueRef value = copied_value(c, LLVMGetIncomingValue(from, i));
      block = copied_block(c, block);
      LLVMAddIncoming(to, &value, &block, 1);
    }
    return;
  }
  unsigned n_successors = LLVMIsATerminatorInst(from) ? LLVMGetNumSuccessors(from) : 0;
  int n = LLVMGetNumOperands(from);
  for (int i = 0; i < n; i++) {
    LLVMValueRef operand = LLVMGetOperand(from, (unsigned)i);
    if (!LLVMValueIsBasicBlock(operand)) LLVMSetOperand(to, (unsigned)i, copied_value(c, operand));
  }
  for (unsigned i = 0; i < n_successors; i++) LLVMSetSuccessor(to, i, copied_block(c, LLVMGetSuccessor(from, i)));
}

static void copy_loop(struct gas_pass *p, struct conversion *c) {
  struct loop *loop = c->loop;
  for (uint32_t i = 0; i < loop->n_body; i++) c->copies[i] = LLVMInsertBasicBlockInContext(p->l.context, c->chunk, "whole");
  for (uint32_t i = 0; i < loop->n_body; i++) copy_instructions(p, c, i);
  for (uint32_t i = 0; i < loop->n_body; i++)
    for (LLVMValueRef v = LLVMGetFirstInstruction(loop->body[i]); v; v = LLVMGetNextInstruction(v)) connect_copy(c, v);
}

/* --- phis ----------------------------------------------------------------------------------------------------------- */

/* Where the exit has no other way in, values of the loop are used behind it directly; a phi there makes room for a second
 * source. */
static void use_by_phi(struct gas_pass *p, const struct loop *loop, LLVMValueRef v) {
  LLVMValueRef phi = NULL;
  for (LLVMUseRef use = LLVMGetFirstUse(v), next; use; use = next) {
    next = LLVMGetNextUse(use);
    LLVMValueRef user = LLVMGetUser(use);
    LLVMBasicBlockRef block = LLVMGetInstructionParent(user);
    if (gas_loop_has(p, loop, block) || user == phi) continue;
    if (block == loop->exit && LLVMIsAPHINode(user)) continue;
    if (!phi) {
      LLVMPositionBuilderBefore(p->l.builder, LLVMGetFirstInstruction(loop->exit));
      phi = LLVMBuildPhi(p->l.builder, LLVMTypeOf(v), "");
    }
    int n = LLVMGetNumOperands(user);
    for (int i = 0; i < n; i++)
      if (LLVMGetOperand(user, (unsigned)i) == v) LLVMSetOperand(user, (unsigned)i, phi);
    next = LLVMGetFirstUse(v); /* the list has changed */
  }
  LLVMBasicBlockRef latch = loop->latch;
  if (phi) LLVMAddIncoming(phi, &v, &latch, 1);
}

static void close_uses(struct gas_pass *p, const struct loop *loop) {
  for (uint32_t b = 0; b < loop->n_body; b++)
    for (LLVMValueRef v = LLVMGetFirstInstruction(loop->body[b]); v; v = LLVMGetNextInstruction(v)) use_by_phi(p, loop, v);
}

/* The exit is reached from both copies now. LLVM's C interface cannot change a phi's source, so each is made anew. */
static void connect_exit(struct gas_pass *p, struct conversion *c) {
  LLVMBuilderRef builder = p->l.builder;
  for (LLVMValueRef v = LLVMGetFirstInstruction(c->loop->exit), next; v && LLVMIsAPHINode(v); v = next) {
    next = LLVMGetNextInstruction(v);
    LLVMPositionBuilderBefore(builder, v);
    LLVMValueRef phi = LLVMBuildPhi(builder, LLVMTypeOf(v), "");
    unsigned n = LLVMCountIncoming(v);
    for (unsigned i = 0; i < n; i++) {
      LLVMValueRef value = LLVMGetIncomingValue(v, i), copy = copied_value(c, value);
      LLVMBasicBlockRef from = LLVMGetIncomingBlock(v, i);
      bool is_latch = from == c->loop->latch;
      LLVMAddIncoming(phi, &value, is_latch ? &c->settled : &from, 1);
      if (is_latch) LLVMAddIncoming(phi, &copy, &c->paid, 1);
    }
    LLVMReplaceAllUsesWith(v, phi);
    LLVMInstructionEraseFromParent(v);
  }
}

/* One phi of the header becomes one each of plan (from outside), chunk (from the plan or the last chunk) and header (from
 * the chunk or the latch). Returns the plan's. */
static LLVMValueRef split_phi(struct gas_pass *p, struct conversion *c, LLVMValueRef v, LLVMValueRef *chunk_phi) {
  LLVMBuilderRef builder = p->l.builder;
  LLVMPositionBuilderAtEnd(builder, c->plan);
  LLVMValueRef plan = LLVMBuildPhi(builder, LLVMTypeOf(v), "");
  LLVMPositionBuilderAtEnd(builder, c->chunk);
  LLVMValueRef chunk = LLVMBuildPhi(builder, LLVMTypeOf(v), "");
  LLVMPositionBuilderBefore(builder, v);
  LLVMValueRef inner = LLVMBuildPhi(builder, LLVMTypeOf(v), "");
  unsigned n = LLVMCountIncoming(v);
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef value = LLVMGetIncomingValue(v, i);
    LLVMBasicBlockRef from = LLVMGetIncomingBlock(v, i);
    if (from == c->loop->latch) {
      LLVMAddIncoming(inner, &value, &from, 1);
      LLVMAddIncoming(chunk, &value, &c->settled, 1);
    } else {
      LLVMAddIncoming(plan, &value, &from, 1);
    }
  }
  LLVMAddIncoming(chunk, &plan, &c->plan, 1);
  LLVMAddIncoming(inner, &chunk, &c->enter, 1);
  LLVMValueRef whole = copied_value(c, v);
  LLVMAddIncoming(whole, &plan, &c->plan, 1);
  LLVMReplaceAllUsesWith(v, inner);
  LLVMInstructionEraseFromParent(v);
  *chunk_phi = chunk;
  return plan;
}

/* --- the parts ------------------------------------------------------------------------------------------------------ */

static LLVMValueRef build_worst(struct gas_pass *p, const struct loop *loop, LLVMValueRef k) {
  return LLVMBuildMul(p->l.builder, k, lower_i64(&p->l, loop->worst_price ? loop->worst_price : 1), "");
}

static LLVMValueRef build_counter(struct gas_pass *p) { return LLVMBuildLoad2(p->l.builder, p->l.i64, p->counter, ""); }

/* plan, and what pays for the whole loop behind its copy. */
static void build_plan(struct gas_pass *p, struct conversion *c, LLVMValueRef start) {
  struct lower *l = &p->l;
  LLVMBuilderRef builder = l->builder;
  LLVMPositionBuilderAtEnd(builder, c->plan);
  LLVMValueRef exact, k = gas_build_iterations(p, &c->loop->count, start, &exact);
  LLVMValueRef is_scarce = LLVMBuildICmp(builder, LLVMIntSGT, build_worst(p, c->loop, k), build_counter(p), "");
  LLVMValueRef must_chunk = LLVMBuildOr(builder, is_scarce, LLVMBuildNot(builder, exact, ""), "");
  gas_weigh_unlikely(p, LLVMBuildCondBr(builder, must_chunk, c->chunk, copied_block(c, c->loop->header)));
  LLVMPositionBuilderAtEnd(builder, c->paid);
  gas_subtract(p, LLVMBuildMul(builder, k, lower_i64(l, c->loop->price), ""));
  LLVMBuildBr(builder, c->loop->exit);
}

/* chunk: chooses k, which the counter may not cover. Returns it, as a phi of `enter`. */
static LLVMValueRef build_chunk(struct gas_pass *p, struct conversion *c, LLVMValueRef start) {
  struct lower *l = &p->l;
  LLVMBuilderRef builder = l->builder;
  LLVMBasicBlockRef scarce = LLVMInsertBasicBlockInContext(l->context, c->enter, "scarce");
  LLVMPositionBuilderAtEnd(builder, c->chunk);
  LLVMValueRef sure = gas_build_iterations(p, &c->loop->count, start, NULL), gas = build_counter(p);
  LLVMValueRef is_scarce = LLVMBuildICmp(builder, LLVMIntSGT, build_worst(p, c->loop, sure), gas, "");
  LLVMBuildCondBr(builder, is_scarce, scarce, c->enter);
  LLVMPositionBuilderAtEnd(builder, scarce);
  LLVMValueRef one = lower_i64(l, 1);
  LLVMValueRef covered = LLVMBuildSDiv(builder, gas, lower_i64(l, c->loop->worst_price ? c->loop->worst_price : 1), "");
  LLVMValueRef is_some = LLVMBuildICmp(builder, LLVMIntSGT, covered, one, "");
  covered = LLVMBuildSelect(builder, is_some, covered, one, "");
  LLVMBuildBr(builder, c->enter);
  LLVMPositionBuilderAtEnd(builder, c->enter);
  LLVMValueRef k = LLVMBuildPhi(builder, l->i64, "k");
  LLVMAddIncoming(k, &sure, &c->chunk, 1);
  LLVMAddIncoming(k, &covered, &scarce, 1);
  LLVMBuildBr(builder, c->loop->header);
  return k;
}

/* The chunks' copy of a loop runs rarely, and mostly to where a slice ends: it may become vectors, but not many copies of them,
 * which would be most of what the compiler has to do. */
static void keep_small(struct gas_pass *p, LLVMValueRef branch) {
  static const char unroll[] = "llvm.loop.unroll.disable", interleave[] = "llvm.loop.interleave.count";
  LLVMContextRef context = p->l.context;
  LLVMMetadataRef word = LLVMMDStringInContext2(context, unroll, sizeof unroll - 1);
  LLVMMetadataRef one[2] = {LLVMMDStringInContext2(context, interleave, sizeof interleave - 1),
                            LLVMValueAsMetadata(lower_i32(&p->l, 1))};
  LLVMMetadataRef self = LLVMTemporaryMDNode(context, NULL, 0);
  LLVMMetadataRef fields[3] = {self, LLVMMDNodeInContext2(context, &word, 1), LLVMMDNodeInContext2(context, one, 2)};
  LLVMMetadataRef node = LLVMMDNodeInContext2(context, fields, 3);
  LLVMMetadataReplaceAllUsesWith(self, node);
  LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(context, "llvm.loop", 9), LLVMMetadataAsValue(context, node));
}

/* The latch counts k down; the chunk's end pays, looks, and asks the loop's own condition. */
static void build_settle(struct gas_pass *p, struct conversion *c, LLVMValueRef k) {
  struct lower *l = &p->l;
  struct loop *loop = c->loop;
  LLVMBuilderRef builder = l->builder;
  LLVMBasicBlockRef settle = LLVMAppendBasicBlockInContext(l->context, p->func, "settle");
  LLVMValueRef branch = LLVMGetBasicBlockTerminator(loop->latch), condition = LLVMGetCondition(branch);
  bool exits_when_true = LLVMGetSuccessor(branch, 1) == loop->header;
  LLVMPositionBuilderBefore(builder, LLVMGetFirstInstruction(loop->header));
  LLVMValueRef left = LLVMBuildPhi(builder, l->i64, "left");
  LLVMPositionBuilderBefore(builder, branch);
  LLVMValueRef next = LLVMBuildSub(builder, left, lower_i64(l, 1), "");
  LLVMValueRef is_more = LLVMBuildICmp(builder, LLVMIntNE, next, LLVMConstNull(l->i64), "");
  keep_small(p, LLVMBuildCondBr(builder, is_more, loop->header, settle));
  LLVMInstructionEraseFromParent(branch);
  LLVMAddIncoming(left, &k, &c->enter, 1);
  LLVMAddIncoming(left, &next, &loop->latch, 1);
  LLVMPositionBuilderAtEnd(builder, settle);
  gas_build_check(p, gas_subtract(p, LLVMBuildMul(builder, k, lower_i64(l, loop->price), "")), c->settled);
  LLVMPositionBuilderAtEnd(builder, c->settled);
  if (exits_when_true) condition = LLVMBuildNot(builder, condition, "");
  gas_weigh_unlikely(p, LLVMBuildCondBr(builder, condition, c->chunk, loop->exit));
}

/* A branch to the header from outside of the loop, or NULL. */
static LLVMValueRef find_entry(const struct loop *loop) {
  LLVMValueRef header = LLVMBasicBlockAsValue(loop->header);
  for (LLVMUseRef use = LLVMGetFirstUse(header); use; use = LLVMGetNextUse(use))
    if (LLVMGetInstructionParent(LLVMGetUser(use)) != loop->latch) return LLVMGetUser(use);
  return NULL;
}

static void redirect_entries(const struct loop *loop, LLVMBasicBlockRef to) {
  LLVMValueRef terminator;
  while ((terminator = find_entry(loop))) {
    unsigned n = LLVMGetNumSuccessors(terminator);
    for (unsigned i = 0; i < n; i++)
      if (LLVMGetSuccessor(terminator, i) == loop->header) LLVMSetSuccessor(terminator, i, to);
  }
}

static void convert(struct gas_pass *p, struct conversion *c) {
  LLVMContextRef context = p->l.context;
  struct loop *loop = c->loop;
  absorb_sure_markers(p, loop);
  c->plan = LLVMInsertBasicBlockInContext(context, loop->header, "plan");
  c->chunk = LLVMInsertBasicBlockInContext(context, loop->header, "chunk");
  c->enter = LLVMInsertBasicBlockInContext(context, loop->header, "enter");
  c->paid = LLVMInsertBasicBlockInContext(context, c->chunk, "paid");
  c->settled = LLVMAppendBasicBlockInContext(context, p->func, "settled");
  close_uses(p, loop);
  copy_loop(p, c);
  redirect_entries(loop, c->plan);
  connect_exit(p, c);
  LLVMValueRef plan_start = NULL, chunk_start = NULL;
  for (LLVMValueRef v = LLVMGetFirstInstruction(loop->header), next; v && LLVMIsAPHINode(v); v = next) {
    next = LLVMGetNextInstruction(v);
    bool is_counter = v == loop->count.phi;
    LLVMValueRef chunk_phi, plan_phi = split_phi(p, c, v, &chunk_phi);
    if (is_counter) plan_start = plan_phi, chunk_start = chunk_phi;
  }
  build_plan(p, c, plan_start);
  build_settle(p, c, build_chunk(p, c, chunk_start));
}

void gas_convert_loops(struct gas_pass *p) {
  gas_graph_build(&p->graph, p->func);
  struct loop loop;
  for (uint32_t i = 0; i < p->graph.n; i++) {
    if (!gas_recognise_loop(p, &loop, i)) continue;
    struct conversion *c = arena_alloc(&p->graph.arena, sizeof *c);
    c->loop = &loop;
    convert(p, c);
  }
  gas_graph_clear(&p->graph);
}
