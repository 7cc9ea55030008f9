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
#include "instrument/gas_internal.h"

#include "base/abi.h"

enum {
  MAX_BODY = 64,         /* blocks of a loop that is converted */
  MAX_PRICE = 1 << 28,   /* of an iteration: k * price stays within 64 bits */
  MAX_OFFSET_STEPS = 64, /* additions of constants followed back to the phi */
};
#define MAX_DISTANCE (1ull << 32) /* of 64-bit counters; k may always be less */

/* How a loop counts. */
struct count {
  LLVMValueRef phi, bound;
  uint64_t step, offset;     /* of the phi per iteration; of what is compared from the phi. Modulo 2^64 */
  LLVMIntPredicate going_on; /* a PRED bound: another iteration */
  bool is_32;
};

struct loop {
  LLVMBasicBlockRef header, latch, exit;
  uint32_t header_number;
  LLVMBasicBlockRef body[MAX_BODY];
  uint32_t n_body;
  bool has_early_exit;
  struct count count;
  uint64_t price, worst_price; /* of every iteration; with all conditional parts */
  LLVMValueRef marker;
  /* made by conversion */
  LLVMBasicBlockRef chunk, settled;
  LLVMValueRef k, left; /* iterations of the chunk; those left, this one included */
};

/* --- recognising --------------------------------------------------------------------------------------------------- */

static bool is_in_body(const struct gas_pass *p, const struct loop *loop, LLVMBasicBlockRef block) {
  uint32_t i = gas_graph_find(&p->graph, block);
  return i != NO_BLOCK && p->graph.blocks[i].member_of == loop->header_number + 1;
}

static LLVMValueRef check_marker(const struct gas_pass *p, LLVMBasicBlockRef block) {
  LLVMValueRef last = LLVMGetPreviousInstruction(LLVMGetBasicBlockTerminator(block));
  bool is_check = last && gas_is_marker(p, last) && LLVMGetCalledValue(last) == p->charge_check;
  return is_check ? last : NULL;
}

static bool add_to_body(struct gas_pass *p, struct loop *loop, LLVMBasicBlockRef block) {
  uint32_t i = gas_graph_find(&p->graph, block);
  if (i == NO_BLOCK || p->graph.blocks[i].member_of == loop->header_number + 1) return true;
  if (loop->n_body == MAX_BODY) return false;
  p->graph.blocks[i].member_of = loop->header_number + 1;
  loop->body[loop->n_body++] = block;
  return true;
}

/* The one block with a back edge to the header, or NULL. */
static LLVMBasicBlockRef find_latch(const struct gas_pass *p, uint32_t header) {
  LLVMBasicBlockRef latch = NULL;
  LLVMValueRef value = LLVMBasicBlockAsValue(p->graph.blocks[header].block);
  for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use)) {
    LLVMBasicBlockRef from = LLVMGetInstructionParent(LLVMGetUser(use));
    uint32_t i = gas_graph_find(&p->graph, from);
    if (i == NO_BLOCK || !gas_graph_is_back_edge(&p->graph, i, header)) continue;
    if (latch) return NULL;
    latch = from;
  }
  return latch;
}

/* Everything from which the latch is reached without passing the header. */
static bool collect_body(struct gas_pass *p, struct loop *loop) {
  if (!add_to_body(p, loop, loop->header) || !add_to_body(p, loop, loop->latch)) return false;
  for (uint32_t i = 1; i < loop->n_body; i++) {
    LLVMValueRef value = LLVMBasicBlockAsValue(loop->body[i]);
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use))
      if (!add_to_body(p, loop, LLVMGetInstructionParent(LLVMGetUser(use)))) return false;
  }
  return true;
}

/* Prices and ways out of one block of the body; false where the loop does what a counted one must not. */
static bool inspect_block(const struct gas_pass *p, struct loop *loop, LLVMBasicBlockRef block) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v)) {
    if (gas_is_call(p, v)) return false;
    if (!gas_is_marker(p, v)) continue;
    if (v != loop->marker && LLVMGetCalledValue(v) == p->charge_check) return false; /* an inner loop */
    loop->worst_price += gas_marker_price(v);
    if (loop->worst_price > MAX_PRICE) return false;
  }
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block);
  unsigned n = LLVMGetNumSuccessors(terminator);
  for (unsigned i = 0; i < n; i++)
    if (block != loop->latch && !is_in_body(p, loop, LLVMGetSuccessor(terminator, i))) loop->has_early_exit = true;
  return n > 0;
}

/* Follows additions of constants back to a phi of the header. */
static LLVMValueRef strip_offset(const struct loop *loop, LLVMValueRef v, uint64_t *offset) {
  *offset = 0;
  for (int i = 0; i < MAX_OFFSET_STEPS; i++) {
    if (!LLVMIsAInstruction(v)) return NULL;
    LLVMOpcode op = LLVMGetInstructionOpcode(v);
    if (op == LLVMPHI) return LLVMGetInstructionParent(v) == loop->header ? v : NULL;
    if ((op != LLVMAdd && op != LLVMSub) || !LLVMIsAConstantInt(LLVMGetOperand(v, 1))) return NULL;
    uint64_t c = (uint64_t)LLVMConstIntGetSExtValue(LLVMGetOperand(v, 1));
    *offset += op == LLVMAdd ? c : -c;
    v = LLVMGetOperand(v, 0);
  }
  return NULL;
}

static LLVMIntPredicate swap_operands(LLVMIntPredicate p) {
  switch (p) {
  case LLVMIntUGT: return LLVMIntULT;
  case LLVMIntUGE: return LLVMIntULE;
  case LLVMIntULT: return LLVMIntUGT;
  case LLVMIntULE: return LLVMIntUGE;
  case LLVMIntSGT: return LLVMIntSLT;
  case LLVMIntSGE: return LLVMIntSLE;
  case LLVMIntSLT: return LLVMIntSGT;
  case LLVMIntSLE: return LLVMIntSGE;
  default: return p;
  }
}

static LLVMIntPredicate negate(LLVMIntPredicate p) {
  switch (p) {
  case LLVMIntEQ: return LLVMIntNE;
  case LLVMIntNE: return LLVMIntEQ;
  case LLVMIntUGT: return LLVMIntULE;
  case LLVMIntUGE: return LLVMIntULT;
  case LLVMIntULT: return LLVMIntUGE;
  case LLVMIntULE: return LLVMIntUGT;
  case LLVMIntSGT: return LLVMIntSLE;
  case LLVMIntSGE: return LLVMIntSLT;
  case LLVMIntSLT: return LLVMIntSGE;
  default: return LLVMIntSGT; /* SLE */
  }
}

static bool goes_up(const struct count *c) { return (int64_t)c->step > 0; }

/* Whether the counter moves towards failing the condition. */
static bool makes_progress(const struct count *c) {
  switch (c->going_on) {
  case LLVMIntNE: return true;
  case LLVMIntULT:
  case LLVMIntULE:
  case LLVMIntSLT:
  case LLVMIntSLE: return goes_up(c);
  case LLVMIntUGT:
  case LLVMIntUGE:
  case LLVMIntSGT:
  case LLVMIntSGE: return !goes_up(c);
  default: return false;
  }
}

/* The phi's change in one iteration, or 0 if that is not a constant. */
static uint64_t phi_step(const struct loop *loop, LLVMValueRef phi) {
  unsigned n = LLVMCountIncoming(phi);
  for (unsigned i = 0; i < n; i++) {
    if (LLVMGetIncomingBlock(phi, i) != loop->latch) continue;
    uint64_t step;
    return strip_offset(loop, LLVMGetIncomingValue(phi, i), &step) == phi ? step : 0;
  }
  return 0;
}

static bool is_invariant(const struct gas_pass *p, const struct loop *loop, LLVMValueRef v) {
  return !LLVMIsAInstruction(v) || !is_in_body(p, loop, LLVMGetInstructionParent(v));
}

static bool recognise_compare(const struct gas_pass *p, struct loop *loop, LLVMValueRef compare, bool exits_when_true) {
  struct count *c = &loop->count;
  LLVMValueRef a = LLVMGetOperand(compare, 0), b = LLVMGetOperand(compare, 1);
  c->going_on = LLVMGetICmpPredicate(compare);
  c->phi = strip_offset(loop, a, &c->offset);
  c->bound = b;
  if (!c->phi) {
    c->going_on = swap_operands(c->going_on);
    c->phi = strip_offset(loop, b, &c->offset);
    c->bound = a;
  }
  if (!c->phi || !is_invariant(p, loop, c->bound)) return false;
  if (exits_when_true) c->going_on = negate(c->going_on);
  LLVMTypeRef type = LLVMTypeOf(c->phi);
  c->is_32 = type == p->l.i32;
  c->step = phi_step(loop, c->phi);
  if (c->is_32) c->step = (uint64_t)(int64_t)(int32_t)c->step;
  return (c->is_32 || type == p->l.i64) && c->step != 0 && c->step != (uint64_t)INT64_MIN && makes_progress(c);
}

static bool recognise_count(const struct gas_pass *p, struct loop *loop) {
  LLVMValueRef branch = LLVMGetBasicBlockTerminator(loop->latch);
  if (LLVMGetInstructionOpcode(branch) != LLVMBr || !LLVMIsConditional(branch)) return false;
  bool exits_when_true = LLVMGetSuccessor(branch, 1) == loop->header;
  loop->exit = LLVMGetSuccessor(branch, exits_when_true ? 0 : 1);
  if (is_in_body(p, loop, loop->exit)) return false;
  LLVMValueRef condition = LLVMGetCondition(branch);
  if (!LLVMIsAICmpInst(condition)) return false;
  return recognise_compare(p, loop, condition, exits_when_true);
}

static bool recognise(struct gas_pass *p, struct loop *loop, uint32_t header) {
  *loop = (struct loop){.header = p->graph.blocks[header].block, .header_number = header};
  loop->marker = check_marker(p, loop->header);
  if (!loop->marker) return false;
  loop->latch = find_latch(p, header);
  if (!loop->latch || !collect_body(p, loop)) return false;
  for (uint32_t i = 0; i < loop->n_body; i++)
    if (!inspect_block(p, loop, loop->body[i])) return false;
  return recognise_count(p, loop);
}

/* --- prices --------------------------------------------------------------------------------------------------------- */

/* Takes the block's markers into the price of every iteration. */
static void absorb_markers(struct gas_pass *p, struct loop *loop, LLVMBasicBlockRef block) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(block), next; v; v = next) {
    next = LLVMGetNextInstruction(v);
    if (!gas_is_marker(p, v)) continue;
    loop->price += gas_marker_price(v);
    LLVMInstructionEraseFromParent(v);
  }
}

/* Blocks that every iteration runs: from the header on and from the latch back, as far as nothing branches. Where there is
 * a way out of the middle only the header is sure to have been paid for. */
static void absorb_sure_markers(struct gas_pass *p, struct loop *loop) {
  LLVMBasicBlockRef block = loop->header;
  absorb_markers(p, loop, block);
  if (loop->has_early_exit) return;
  while (block != loop->latch) {
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block);
    if (LLVMGetNumSuccessors(terminator) != 1) break;
    block = LLVMGetSuccessor(terminator, 0);
    absorb_markers(p, loop, block);
  }
  if (block != loop->latch) absorb_markers(p, loop, loop->latch);
}

/* --- converting ----------------------------------------------------------------------------------------------------- */

/* Makes `phi` take what came from block `old` from `new` instead; LLVM's C interface only lets one make it anew. */
static void replace_source(struct gas_pass *p, LLVMValueRef phi, LLVMBasicBlockRef old, LLVMBasicBlockRef new) {
  LLVMPositionBuilderBefore(p->l.builder, phi);
  LLVMValueRef copy = LLVMBuildPhi(p->l.builder, LLVMTypeOf(phi), "");
  unsigned n = LLVMCountIncoming(phi);
  bool has_new = false;
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef value = LLVMGetIncomingValue(phi, i);
    LLVMBasicBlockRef from = LLVMGetIncomingBlock(phi, i);
    if (from == old && has_new) continue; /* several edges from `old` have become one */
    has_new |= from == old;
    if (from == old) from = new;
    LLVMAddIncoming(copy, &value, &from, 1);
  }
  LLVMReplaceAllUsesWith(phi, copy);
  LLVMInstructionEraseFromParent(phi);
}

static void replace_sources(struct gas_pass *p, LLVMBasicBlockRef block, LLVMBasicBlockRef old, LLVMBasicBlockRef new) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(block), next; v && LLVMIsAPHINode(v); v = next) {
    next = LLVMGetNextInstruction(v);
    replace_source(p, v, old, new);
  }
}

/* The header's phis become the chunk's: the chunk has those from outside and from the last chunk, the header one from the
 * chunk and one from the latch. */
static void split_phis(struct gas_pass *p, struct loop *loop, LLVMBasicBlockRef enter) {
  LLVMBuilderRef builder = p->l.builder;
  for (LLVMValueRef v = LLVMGetFirstInstruction(loop->header), next; v && LLVMIsAPHINode(v); v = next) {
    next = LLVMGetNextInstruction(v);
    LLVMPositionBuilderAtEnd(builder, loop->chunk);
    LLVMValueRef outer = LLVMBuildPhi(builder, LLVMTypeOf(v), "");
    LLVMPositionBuilderBefore(builder, v);
    LLVMValueRef inner = LLVMBuildPhi(builder, LLVMTypeOf(v), "");
    unsigned n = LLVMCountIncoming(v);
    for (unsigned i = 0; i < n; i++) {
      LLVMValueRef value = LLVMGetIncomingValue(v, i);
      LLVMBasicBlockRef from = LLVMGetIncomingBlock(v, i);
      bool is_latch = from == loop->latch;
      if (is_latch) LLVMAddIncoming(inner, &value, &from, 1);
      LLVMAddIncoming(outer, &value, is_latch ? &loop->settled : &from, 1);
    }
    LLVMAddIncoming(inner, &outer, &enter, 1);
    if (v == loop->count.phi) loop->count.phi = outer; /* what counting starts from */
    LLVMReplaceAllUsesWith(v, inner);
    LLVMInstructionEraseFromParent(v);
  }
}

static bool includes_equality(LLVMIntPredicate p) {
  return p == LLVMIntULE || p == LLVMIntUGE || p == LLVMIntSLE || p == LLVMIntSGE;
}

/* d of the essay above, in 64 bits. */
static LLVMValueRef build_distance(struct gas_pass *p, const struct count *c) {
  LLVMBuilderRef builder = p->l.builder;
  LLVMTypeRef type = LLVMTypeOf(c->bound);
  uint64_t offset = c->is_32 ? (uint32_t)c->offset : c->offset;
  LLVMValueRef a0 = LLVMBuildAdd(builder, c->phi, LLVMConstInt(type, offset, false), "");
  LLVMValueRef d = goes_up(c) ? LLVMBuildSub(builder, c->bound, a0, "") : LLVMBuildSub(builder, a0, c->bound, "");
  if (c->is_32) d = LLVMBuildZExt(builder, d, p->l.i64, "");
  LLVMValueRef most = lower_i64(&p->l, MAX_DISTANCE);
  if (!c->is_32) d = LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntULT, d, most, ""), d, most, "");
  if (c->going_on == LLVMIntNE) return d;
  if (includes_equality(c->going_on)) d = LLVMBuildAdd(builder, d, lower_i64(&p->l, 1), "");
  LLVMValueRef goes_on = LLVMBuildICmp(builder, c->going_on, a0, c->bound, "");
  return LLVMBuildSelect(builder, goes_on, d, LLVMConstNull(p->l.i64), "");
}

/* ceil(d / |step|) + 1 */
static LLVMValueRef build_sure_iterations(struct gas_pass *p, const struct count *c) {
  LLVMBuilderRef builder = p->l.builder;
  uint64_t step = goes_up(c) ? c->step : -c->step;
  LLVMValueRef d = build_distance(p, c);
  if (step > 1) {
    d = LLVMBuildAdd(builder, d, lower_i64(&p->l, step - 1), "");
    d = LLVMBuildUDiv(builder, d, lower_i64(&p->l, step), "");
  }
  return LLVMBuildAdd(builder, d, lower_i64(&p->l, 1), "k");
}

/* chunk: chooses k; leaves for the header by way of the block returned. */
static void build_chunk(struct gas_pass *p, struct loop *loop, LLVMBasicBlockRef enter) {
  struct lower *l = &p->l;
  LLVMBuilderRef builder = l->builder;
  LLVMBasicBlockRef scarce = LLVMInsertBasicBlockInContext(l->context, enter, "scarce");
  LLVMPositionBuilderAtEnd(builder, loop->chunk);
  LLVMValueRef sure = build_sure_iterations(p, &loop->count);
  LLVMValueRef worst = lower_i64(l, loop->worst_price ? loop->worst_price : 1);
  LLVMValueRef gas = LLVMBuildLoad2(builder, l->i64, p->counter, "");
  LLVMValueRef is_scarce = LLVMBuildICmp(builder, LLVMIntSGT, LLVMBuildMul(builder, sure, worst, ""), gas, "");
  gas_weigh_unlikely(p, LLVMBuildCondBr(builder, is_scarce, scarce, enter));
  LLVMPositionBuilderAtEnd(builder, scarce);
  LLVMValueRef covered = LLVMBuildSDiv(builder, gas, worst, ""), one = lower_i64(l, 1);
  LLVMValueRef is_some = LLVMBuildICmp(builder, LLVMIntSGT, covered, one, "");
  covered = LLVMBuildSelect(builder, is_some, covered, one, "");
  LLVMBuildBr(builder, enter);
  LLVMPositionBuilderAtEnd(builder, enter);
  loop->k = LLVMBuildPhi(builder, l->i64, "k");
  LLVMAddIncoming(loop->k, &sure, &loop->chunk, 1);
  LLVMAddIncoming(loop->k, &covered, &scarce, 1);
  LLVMBuildBr(builder, loop->header);
}

/* The latch counts `left` down; the chunk's end pays, looks, and asks the loop's own condition. */
static void build_settle(struct gas_pass *p, struct loop *loop, LLVMBasicBlockRef enter) {
  struct lower *l = &p->l;
  LLVMBuilderRef builder = l->builder;
  LLVMBasicBlockRef settle = LLVMAppendBasicBlockInContext(l->context, p->func, "settle");
  LLVMValueRef branch = LLVMGetBasicBlockTerminator(loop->latch), condition = LLVMGetCondition(branch);
  bool exits_when_true = LLVMGetSuccessor(branch, 1) == loop->header;
  LLVMPositionBuilderBefore(builder, LLVMGetFirstInstruction(loop->header));
  loop->left = LLVMBuildPhi(builder, l->i64, "left");
  LLVMPositionBuilderBefore(builder, branch);
  LLVMValueRef next = LLVMBuildSub(builder, loop->left, lower_i64(l, 1), "");
  LLVMValueRef is_more = LLVMBuildICmp(builder, LLVMIntNE, next, LLVMConstNull(l->i64), "");
  LLVMBuildCondBr(builder, is_more, loop->header, settle);
  LLVMInstructionEraseFromParent(branch);
  LLVMAddIncoming(loop->left, &loop->k, &enter, 1);
  LLVMAddIncoming(loop->left, &next, &loop->latch, 1);
  LLVMPositionBuilderAtEnd(builder, settle);
  LLVMValueRef left = gas_subtract(p, LLVMBuildMul(builder, loop->k, lower_i64(l, loop->price), ""));
  gas_build_check(p, left, loop->settled);
  LLVMPositionBuilderAtEnd(builder, loop->settled);
  if (exits_when_true) condition = LLVMBuildNot(builder, condition, "");
  gas_weigh_unlikely(p, LLVMBuildCondBr(builder, condition, loop->chunk, loop->exit));
}

/* A way out of the middle pays for the iterations begun: k - left + 1. */
static void pay_early_exit(struct gas_pass *p, struct loop *loop, LLVMBasicBlockRef from, unsigned successor) {
  struct lower *l = &p->l;
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(from);
  LLVMBasicBlockRef to = LLVMGetSuccessor(terminator, successor);
  LLVMBasicBlockRef pay = LLVMAppendBasicBlockInContext(l->context, p->func, "leave");
  unsigned n = LLVMGetNumSuccessors(terminator);
  for (unsigned i = successor; i < n; i++)
    if (LLVMGetSuccessor(terminator, i) == to) LLVMSetSuccessor(terminator, i, pay);
  replace_sources(p, to, from, pay);
  LLVMPositionBuilderAtEnd(l->builder, pay);
  LLVMValueRef begun = LLVMBuildSub(l->builder, loop->k, loop->left, "");
  begun = LLVMBuildAdd(l->builder, begun, lower_i64(l, 1), "");
  gas_subtract(p, LLVMBuildMul(l->builder, begun, lower_i64(l, loop->price), ""));
  LLVMBuildBr(l->builder, to);
}

static void pay_early_exits(struct gas_pass *p, struct loop *loop) {
  for (uint32_t b = 0; b < loop->n_body; b++) {
    if (loop->body[b] == loop->latch) continue;
    LLVMValueRef terminator = LLVMGetBasicBlockTerminator(loop->body[b]);
    for (unsigned i = 0; i < LLVMGetNumSuccessors(terminator); i++) {
      LLVMBasicBlockRef to = LLVMGetSuccessor(terminator, i);
      uint32_t number = gas_graph_find(&p->graph, to);
      if (number != NO_BLOCK && !is_in_body(p, loop, to)) pay_early_exit(p, loop, loop->body[b], i);
    }
  }
}

/* A branch to the header from outside of the loop, or NULL. */
static LLVMValueRef find_entry(const struct loop *loop) {
  LLVMValueRef header = LLVMBasicBlockAsValue(loop->header);
  for (LLVMUseRef use = LLVMGetFirstUse(header); use; use = LLVMGetNextUse(use))
    if (LLVMGetInstructionParent(LLVMGetUser(use)) != loop->latch) return LLVMGetUser(use);
  return NULL;
}

static void redirect_entries(const struct loop *loop) {
  LLVMValueRef terminator;
  while ((terminator = find_entry(loop))) {
    unsigned n = LLVMGetNumSuccessors(terminator);
    for (unsigned i = 0; i < n; i++)
      if (LLVMGetSuccessor(terminator, i) == loop->header) LLVMSetSuccessor(terminator, i, loop->chunk);
  }
}

static void convert(struct gas_pass *p, struct loop *loop) {
  struct lower *l = &p->l;
  absorb_sure_markers(p, loop);
  loop->chunk = LLVMInsertBasicBlockInContext(l->context, loop->header, "chunk");
  LLVMBasicBlockRef enter = LLVMInsertBasicBlockInContext(l->context, loop->header, "enter");
  loop->settled = LLVMAppendBasicBlockInContext(l->context, p->func, "settled");
  redirect_entries(loop);
  split_phis(p, loop, enter);
  build_chunk(p, loop, enter);
  build_settle(p, loop, enter);
  replace_sources(p, loop->exit, loop->latch, loop->settled);
  pay_early_exits(p, loop);
}

void gas_convert_loops(struct gas_pass *p) {
  gas_graph_build(&p->graph, p->func);
  struct loop *loop = arena_alloc(&p->graph.arena, sizeof *loop);
  for (uint32_t i = 0; i < p->graph.n; i++)
    if (recognise(p, loop, i)) convert(p, loop);
  gas_graph_clear(&p->graph);
}
