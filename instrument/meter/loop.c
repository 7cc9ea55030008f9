/* Counted loops, paid in chunks.
 *
 * A check in every iteration costs a little, and keeps LLVM from vectorising, which costs a lot. But most inner loops count: when
 * they start it is known how often they will go round. Such a loop becomes
 *
 *   chunk:   all = how often it will surely go round; on to enter if FREE_GAS pays for that, so nearly always
 *   reckon:  most = what the counter pays for, but at most what CHUNK_GAS does
 *   enter:   k = all, but at most `most`
 *            limit = its own bound, or what makes it stop after k iterations
 *   header:  the body, k times, compares with the limit and does not check the counter
 *   settle:  counter -= k * price of an iteration; look; then what the loop's own condition says: leave, or chunk
 *
 * so the body is a plain loop, and nearly always k is the whole of it. Where k is a constant nothing remains but a charge behind
 * the loop.
 *
 * Recognised is a loop without inner loops and calls, with one latch whose condition compares a counter (a phi that a constant is
 * added to in each iteration; any distance from it) with something that does not change:
 *
 *   a(t) = a0 + step * (t - 1)   the value compared in iteration t, modulo 2^width
 *   goes on while a(t) PRED bound
 *   d    = how far a0 is from failing PRED, 0 if it fails at once; then up to k = ceil(d / |step|) + 1 a(t) has neither reached
 *          the bound nor wrapped around, and k is exact unless the last step jumps over the bound (NE) or wraps; then one
 *          iteration is a chunk
 *
 * A loop with ways out of its middle is left as it is, but for the gas check, if one of these that every iteration passes counts
 * up to a constant that a chunk pays for: every iteration pays for itself, and the gas check is before the loop. LLVM unrolls it
 * as if there were no gas.
 *
 * Prices inside conditional parts of the body stay subtractions without checks. What is paid behind the loop is missing where an
 * access traps in it (docs/gas.md). */
#include "instrument/meter/loop.h"

#include "base/array.h"

#include <stdlib.h>

/* Takes the block's markers into the price of every iteration. */
static void absorb_markers(struct gas_pass *p, struct gas_loop *loop, LLVMBasicBlockRef block) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(block), next; v; v = next) {
    next = LLVMGetNextInstruction(v);
    if (!gas_is_marker(p, v)) continue;
    loop->price += gas_marker_price(v);
    LLVMInstructionEraseFromParent(v);
  }
}

/* Blocks that every iteration runs: from the header on as far as nothing branches, and the latch. */
static void absorb_sure_markers(struct gas_pass *p, struct gas_loop *loop) {
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

/* --- phis ----------------------------------------------------------------------------------------------------------- */

/* The blocks around the loop. */
struct frame {
  LLVMBasicBlockRef chunk, reckon, enter, settle;
};

/* The header's phi becomes one in the chunk (from outside, and from the last chunk) and one in the header (from `enter` or the
 * latch). Returns the chunk's. */
static LLVMValueRef split_phi(struct gas_pass *p, const struct gas_loop *loop, LLVMValueRef v, const struct frame *f) {
  LLVMBuilderRef builder = p->ir.builder;
  LLVMPositionBuilderAtEnd(builder, f->chunk);
  LLVMValueRef outer = LLVMBuildPhi(builder, LLVMTypeOf(v), "");
  LLVMPositionBuilderBefore(builder, v);
  LLVMValueRef inner = LLVMBuildPhi(builder, LLVMTypeOf(v), "");
  LLVMReplaceAllUsesWith(v, inner); /* also where the phi is its own next value */
  unsigned n = LLVMCountIncoming(v);
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef value = LLVMGetIncomingValue(v, i);
    LLVMBasicBlockRef from = LLVMGetIncomingBlock(v, i);
    bool is_latch = from == loop->latch;
    LLVMAddIncoming(is_latch ? inner : outer, &value, &from, 1);
    if (is_latch) LLVMAddIncoming(outer, &value, (LLVMBasicBlockRef[]){f->settle}, 1);
  }
  LLVMAddIncoming(inner, &outer, (LLVMBasicBlockRef[]){f->enter}, 1);
  LLVMInstructionEraseFromParent(v);
  return outer;
}

/* --- the parts ------------------------------------------------------------------------------------------------------ */

/* What the counter pays for, and one more, so that the check behind finds it used up; but at least what FREE_GAS pays for, or
 * small slices would make loops slow, and at most CHUNK_GAS. It is a minimum that LLVM sees to be one: it must know that a
 * chunk's iterations are few to count them in a vector loop. */
static LLVMValueRef build_most(struct gas_pass *p, const struct gas_loop *loop) {
  LLVMBuilderRef builder = p->ir.builder;
  LLVMValueRef left = LLVMBuildLoad2(builder, p->ir.i64, p->counter, ""), least = ir_i64(&p->ir, FREE_GAS);
  left = LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntSGT, left, least, ""), left, least, "");
  LLVMValueRef paid = LLVMBuildUDiv(builder, left, ir_i64(&p->ir, gas_iteration_work(loop)), "");
  LLVMValueRef next = LLVMBuildAdd(builder, paid, ir_i64(&p->ir, 1), ""), most = ir_i64(&p->ir, loop->most);
  return LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntULT, next, most, ""), next, most, "most");
}

static void weigh(struct gas_pass *p, LLVMValueRef branch, unsigned first, unsigned second) {
  LLVMContextRef c = p->ir.context;
  LLVMMetadataRef fields[3] = {LLVMMDStringInContext2(c, "branch_weights", 14), LLVMValueAsMetadata(ir_i32(&p->ir, first)),
                               LLVMValueAsMetadata(ir_i32(&p->ir, second))};
  LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(c, "prof", 4), LLVMMetadataAsValue(c, LLVMMDNodeInContext2(c, fields, 3)));
}

/* From `chunk` to `enter`: at most so many of all iterations. Few are worth no look at the counter. */
static LLVMValueRef build_reckon(struct gas_pass *p, const struct gas_loop *loop, const struct frame *f, LLVMValueRef all) {
  LLVMBuilderRef builder = p->ir.builder;
  LLVMValueRef few = ir_i64(&p->ir, FREE_GAS / gas_iteration_work(loop));
  LLVMValueRef is_few = LLVMBuildICmp(builder, LLVMIntULE, all, few, "");
  weigh(p, LLVMBuildCondBr(builder, is_few, f->enter, f->reckon), 1000, 1);
  LLVMPositionBuilderAtEnd(builder, f->reckon);
  LLVMValueRef most = build_most(p, loop);
  LLVMBuildBr(builder, f->enter);
  LLVMPositionBuilderAtEnd(builder, f->enter);
  LLVMValueRef either = LLVMBuildPhi(builder, p->ir.i64, "");
  LLVMAddIncoming(either, (LLVMValueRef[]){few, most}, (LLVMBasicBlockRef[]){f->chunk, f->reckon}, 2);
  return either;
}

/* From the end of `chunk` to that of `enter`: chooses *k, and returns what the loop compares its counter with for so many
 * iterations. */
static LLVMValueRef build_chunk(struct gas_pass *p, struct gas_loop *loop, const struct frame *f, LLVMValueRef start,
                                LLVMValueRef *k) {
  struct ir *ir = &p->ir;
  struct count *c = &loop->count;
  LLVMBuilderRef builder = ir->builder;
  LLVMValueRef exact, all = gas_build_iterations(p, c, start, &exact), most = build_reckon(p, loop, f, all);
  LLVMValueRef is_short = LLVMBuildICmp(builder, LLVMIntULE, all, most, "");
  *k = LLVMBuildSelect(builder, exact, all, ir_i64(ir, 1), "");
  *k = LLVMBuildSelect(builder, is_short, *k, most, "k");
  LLVMValueRef limit = gas_build_limit(p, c, start, *k);
  limit = LLVMBuildSelect(builder, LLVMBuildAnd(builder, exact, is_short, ""), c->bound, limit, "limit");
  LLVMBuildBr(builder, loop->header);
  return limit;
}

static unsigned evenly_kind(LLVMContextRef context) {
  static const char name[] = "gw.evenly";
  return LLVMGetMDKindIDInContext(context, name, sizeof name - 1);
}

bool gas_counts_evenly(LLVMValueRef branch) {
  return LLVMGetMetadata(branch, evenly_kind(LLVMGetTypeContext(LLVMTypeOf(branch))));
}

/* The latch compares with the limit; settle pays, and asks the loop's own condition. */
static void build_settle(struct gas_pass *p, const struct gas_loop *loop, const struct frame *f, LLVMValueRef limit,
                         LLVMValueRef k) {
  LLVMBuilderRef builder = p->ir.builder;
  LLVMValueRef branch = LLVMGetBasicBlockTerminator(loop->latch), compare = LLVMGetCondition(branch);
  LLVMValueRef sides[2] = {LLVMGetOperand(compare, 0), LLVMGetOperand(compare, 1)};
  LLVMIntPredicate predicate = LLVMGetICmpPredicate(compare);
  bool exits_when_true = LLVMGetSuccessor(branch, 1) == loop->header;
  LLVMPositionBuilderAtEnd(builder, f->settle);
  gas_build_check(p, LLVMBuildMul(builder, k, ir_i64(&p->ir, loop->price), ""));
  LLVMValueRef condition = LLVMBuildICmp(builder, predicate, sides[0], sides[1], "");
  if (exits_when_true) condition = LLVMBuildNot(builder, condition, "");
  weigh(p, LLVMBuildCondBr(builder, condition, f->chunk, loop->exit), 1, 100000);
  sides[loop->count.bound == sides[0] ? 0 : 1] = limit;
  if (loop->count.going_on == LLVMIntNE) LLVMSetMetadata(branch, evenly_kind(p->ir.context), p->ir.empty_node);
  LLVMPositionBuilderBefore(builder, branch);
  LLVMSetCondition(branch, LLVMBuildICmp(builder, predicate, sides[0], sides[1], ""));
}

/* A branch to the header from outside of the loop, or NULL. */
static LLVMValueRef find_entry(const struct gas_loop *loop) {
  LLVMValueRef header = LLVMBasicBlockAsValue(loop->header);
  for (LLVMUseRef use = LLVMGetFirstUse(header); use; use = LLVMGetNextUse(use))
    if (LLVMGetInstructionParent(LLVMGetUser(use)) != loop->latch) return LLVMGetUser(use);
  return NULL;
}

static void redirect_entries(const struct gas_loop *loop, LLVMBasicBlockRef to) {
  LLVMValueRef terminator;
  while ((terminator = find_entry(loop))) {
    unsigned n = LLVMGetNumSuccessors(terminator);
    for (unsigned i = 0; i < n; i++)
      if (LLVMGetSuccessor(terminator, i) == loop->header) LLVMSetSuccessor(terminator, i, to);
  }
}

/* Puts a block between the latch and the exit. */
static LLVMBasicBlockRef insert_settle(struct gas_pass *p, const struct gas_loop *loop) {
  LLVMBasicBlockRef settle = LLVMInsertBasicBlockInContext(p->ir.context, loop->exit, "settle");
  LLVMValueRef branch = LLVMGetBasicBlockTerminator(loop->latch);
  LLVMSetSuccessor(branch, LLVMGetSuccessor(branch, 0) == loop->exit ? 0 : 1, settle);
  gas_replace_sources(p, loop->exit, loop->latch, settle);
  return settle;
}

/* A loop that goes round so often is paid for as a whole behind it. */
static void convert_constant(struct gas_pass *p, struct gas_loop *loop, uint64_t n) {
  LLVMValueRef price = ir_i64(&p->ir, n * loop->price);
  LLVMPositionBuilderAtEnd(p->ir.builder, insert_settle(p, loop));
  LLVMBuildCall2(p->ir.builder, p->charge_type, p->charge_check, &price, 1, "");
  LLVMBuildBr(p->ir.builder, loop->exit);
}

/* Whether a gas check comes so soon before `block`, on the only way there. */
static bool follows_check(const struct gas_pass *p, LLVMBasicBlockRef block) {
  enum { FAR = 8 };
  for (int i = 0; block && i < FAR; i++) {
    for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v))
      if (gas_is_marker(p, v) && LLVMGetCalledValue(v) == p->charge_check) return true;
    LLVMBasicBlockRef before = NULL;
    for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(block)); use; use = LLVMGetNextUse(use)) {
      LLVMBasicBlockRef from = LLVMGetInstructionParent(LLVMGetUser(use));
      if (before && before != from) return false;
      before = from;
    }
    block = before;
  }
  return false;
}

static LLVMBasicBlockRef only_entry(const struct gas_loop *loop) {
  LLVMBasicBlockRef entry = NULL;
  for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(loop->header)); use; use = LLVMGetNextUse(use)) {
    LLVMBasicBlockRef from = LLVMGetInstructionParent(LLVMGetUser(use));
    if (from == loop->latch || from == entry) continue;
    if (entry) return NULL;
    entry = from;
  }
  return entry;
}

static void note_converted(struct gas_pass *p, const struct gas_loop *loop, uint64_t iterations) {
  if (p->n_converted == p->converted_capacity) array_grow(p->converted, p->converted_capacity, 16);
  p->converted[p->n_converted].header = loop->header;
  p->converted[p->n_converted++].worst = (uint32_t)(iterations * gas_iteration_work(loop));
}

/* A loop that leaves from its middle, but soon. */
static void convert_bounded(struct gas_pass *p, struct gas_loop *loop) {
  LLVMBasicBlockRef entry = only_entry(loop);
  if (!entry) return;
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(entry);
  bool is_checked = follows_check(p, entry);
  if (!is_checked && LLVMGetNumSuccessors(terminator) != 1) return;
  LLVMSetOperand(loop->marker, (unsigned)LLVMGetNumOperands(loop->marker) - 1, p->charge);
  note_converted(p, loop, gas_constant_iterations(p, loop));
  if (is_checked) return;
  LLVMValueRef nothing = ir_i64(&p->ir, 0);
  LLVMPositionBuilderBefore(p->ir.builder, terminator);
  LLVMBuildCall2(p->ir.builder, p->charge_type, p->charge_check, &nothing, 1, "");
}

static void convert_chunks(struct gas_pass *p, struct gas_loop *loop) {
  LLVMContextRef context = p->ir.context;
  struct frame f = {.chunk = LLVMInsertBasicBlockInContext(context, loop->header, "chunk"),
                    .reckon = LLVMInsertBasicBlockInContext(context, loop->header, "reckon"),
                    .enter = LLVMInsertBasicBlockInContext(context, loop->header, "enter"),
                    .settle = insert_settle(p, loop)};
  redirect_entries(loop, f.chunk);
  LLVMValueRef start = NULL, k;
  for (LLVMValueRef v = LLVMGetFirstInstruction(loop->header), next; v && LLVMIsAPHINode(v); v = next) {
    next = LLVMGetNextInstruction(v);
    bool is_counter = v == loop->count.phi;
    LLVMValueRef outer = split_phi(p, loop, v, &f);
    if (is_counter) start = outer;
  }
  LLVMPositionBuilderAtEnd(p->ir.builder, f.chunk);
  LLVMValueRef limit = build_chunk(p, loop, &f, start, &k);
  build_settle(p, loop, &f, limit, k);
}

static void convert(struct gas_pass *p, struct gas_loop *loop) {
  if (loop->has_side_exits) {
    convert_bounded(p, loop);
    return;
  }
  uint64_t n = gas_constant_iterations(p, loop);
  note_converted(p, loop, n ? n : loop->most);
  absorb_sure_markers(p, loop);
  if (n) {
    convert_constant(p, loop, n);
    return;
  }
  convert_chunks(p, loop);
}

void gas_convert_loops(struct gas_pass *p) {
  gas_graph_build(&p->graph, p->func);
  struct gas_loop loop;
  for (uint32_t i = 0; i < p->graph.n; i++) {
    if (gas_recognise_loop(p, &loop, i)) convert(p, &loop);
  }
  gas_graph_clear(&p->graph);
}
