/* Which loops count, and how often they will go round. The essay is in instrument/meter/loop.c. */
#include "instrument/meter/loop.h"

#include <string.h>

/* --- recognising --------------------------------------------------------------------------------------------------- */

bool gas_loop_has(const struct gas_pass *p, const struct gas_loop *loop, LLVMBasicBlockRef block) {
  uint32_t i = gas_graph_find(&p->graph, block);
  return i != NO_BLOCK && p->graph.blocks[i].member_of == loop->header_number + 1;
}

static LLVMValueRef check_marker(const struct gas_pass *p, LLVMBasicBlockRef block) {
  LLVMValueRef last = LLVMGetPreviousInstruction(LLVMGetBasicBlockTerminator(block));
  bool is_check = last && gas_is_marker(p, last) && LLVMGetCalledValue(last) == p->charge_check;
  return is_check ? last : NULL;
}

static bool add_to_body(struct gas_pass *p, struct gas_loop *loop, LLVMBasicBlockRef block) {
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
static bool collect_body(struct gas_pass *p, struct gas_loop *loop) {
  if (!add_to_body(p, loop, loop->header) || !add_to_body(p, loop, loop->latch)) return false;
  for (uint32_t i = 1; i < loop->n_body; i++) {
    LLVMValueRef value = LLVMBasicBlockAsValue(loop->body[i]);
    for (LLVMUseRef use = LLVMGetFirstUse(value); use; use = LLVMGetNextUse(use))
      if (!add_to_body(p, loop, LLVMGetInstructionParent(LLVMGetUser(use)))) return false;
  }
  return true;
}

/* Prices and ways out of one block of the body; false where the loop does what a counted one must not. */
static bool inspect_block(const struct gas_pass *p, struct gas_loop *loop, LLVMBasicBlockRef block) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v)) {
    if (gas_is_call(p, v) || loop->n_instructions++ == MAX_INSTRUCTIONS) return false;
    if (!gas_is_marker(p, v)) continue;
    if (v != loop->marker && LLVMGetCalledValue(v) == p->charge_check) return false; /* an inner loop */
    loop->worst_price += gas_marker_price(v);
    if (loop->worst_price > MAX_PRICE) return false;
  }
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block);
  unsigned n = LLVMGetNumSuccessors(terminator);
  for (unsigned i = 0; i < n; i++)
    if (block != loop->latch && !gas_loop_has(p, loop, LLVMGetSuccessor(terminator, i))) loop->has_side_exits = true;
  return n > 0;
}

/* Follows additions of constants back to a phi of the header. */
static LLVMValueRef strip_offset(const struct gas_loop *loop, LLVMValueRef v, uint64_t *offset) {
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
static uint64_t phi_step(const struct gas_loop *loop, LLVMValueRef phi) {
  unsigned n = LLVMCountIncoming(phi);
  for (unsigned i = 0; i < n; i++) {
    if (LLVMGetIncomingBlock(phi, i) != loop->latch) continue;
    uint64_t step;
    return strip_offset(loop, LLVMGetIncomingValue(phi, i), &step) == phi ? step : 0;
  }
  return 0;
}

static bool is_invariant(const struct gas_pass *p, const struct gas_loop *loop, LLVMValueRef v) {
  return !LLVMIsAInstruction(v) || !gas_loop_has(p, loop, LLVMGetInstructionParent(v));
}

static bool recognise_compare(const struct gas_pass *p, struct gas_loop *loop, LLVMValueRef compare, bool exits_when_true) {
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
  c->is_32 = type == p->ir.i32;
  c->step = phi_step(loop, c->phi);
  if (c->is_32) c->step = (uint64_t)(int64_t)(int32_t)c->step;
  return (c->is_32 || type == p->ir.i64) && c->step != 0 && c->step != (uint64_t)INT64_MIN && makes_progress(c);
}

/* Whether the loop counts until it leaves from the end of `block`. */
static bool recognise_count(const struct gas_pass *p, struct gas_loop *loop, LLVMBasicBlockRef block) {
  LLVMValueRef branch = LLVMGetBasicBlockTerminator(block);
  if (LLVMGetInstructionOpcode(branch) != LLVMBr || !LLVMIsConditional(branch)) return false;
  bool exits_when_true = gas_loop_has(p, loop, LLVMGetSuccessor(branch, 1));
  loop->exit = LLVMGetSuccessor(branch, exits_when_true ? 0 : 1);
  if (gas_loop_has(p, loop, loop->exit)) return false;
  LLVMValueRef condition = LLVMGetCondition(branch);
  if (!LLVMIsAICmpInst(condition)) return false;
  return recognise_compare(p, loop, condition, exits_when_true);
}

/* The one way on from `block` inside of the loop, or NULL. */
static LLVMBasicBlockRef only_way_inside(const struct gas_pass *p, const struct gas_loop *loop, LLVMBasicBlockRef block) {
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(block);
  LLVMBasicBlockRef way = NULL;
  unsigned n = LLVMGetNumSuccessors(terminator);
  for (unsigned i = 0; i < n; i++) {
    LLVMBasicBlockRef to = LLVMGetSuccessor(terminator, i);
    if (!gas_loop_has(p, loop, to) || to == way) continue;
    if (way) return NULL;
    way = to;
  }
  return way;
}

/* Whether some way out that every iteration passes ends the loop after a constant number of iterations. */
static bool recognise_bounded(struct gas_pass *p, struct gas_loop *loop) {
  for (LLVMBasicBlockRef b = loop->header; b; b = b == loop->latch ? NULL : only_way_inside(p, loop, b))
    if (recognise_count(p, loop, b) && gas_constant_iterations(p, loop)) return true;
  return recognise_count(p, loop, loop->latch) && gas_constant_iterations(p, loop);
}

/* Whether `v` depends on `phi` within one iteration. */
static bool depends_on(const struct gas_pass *p, const struct gas_loop *loop, LLVMValueRef v, LLVMValueRef phi) {
  LLVMValueRef list[MAX_INSTRUCTIONS];
  uint32_t n = 1;
  list[0] = v;
  for (uint32_t at = 0; at < n; at++) {
    if (list[at] == phi) return true;
    bool is_header_phi = LLVMIsAPHINode(list[at]) && LLVMGetInstructionParent(list[at]) == loop->header;
    int n_operands = is_header_phi ? 0 : LLVMGetNumOperands(list[at]);
    for (int i = 0; i < n_operands; i++) {
      LLVMValueRef operand = LLVMGetOperand(list[at], (unsigned)i);
      if (is_invariant(p, loop, operand)) continue;
      uint32_t seen = 0;
      while (seen < n && list[seen] != operand) seen++;
      if (seen < n) continue;
      if (n == MAX_INSTRUCTIONS) return true;
      list[n++] = operand;
    }
  }
  return false;
}

/* Whether `v` is the greater or smaller, of integers, of the phi and something. */
static bool is_extreme(LLVMValueRef v, LLVMValueRef phi) {
  static const char *const names[] = {"llvm.smax", "llvm.smin", "llvm.umax", "llvm.umin"};
  unsigned id = LLVMIsAIntrinsicInst(v) ? LLVMGetIntrinsicID(LLVMGetCalledValue(v)) : 0;
  if (!id || LLVMGetNumArgOperands(v) != 2 || (LLVMGetOperand(v, 0) != phi && LLVMGetOperand(v, 1) != phi)) return false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (id == LLVMLookupIntrinsicID(names[i], strlen(names[i]))) return true;
  return false;
}

/* One operation that may be reordered, right on the phi: LLVM vectorises it as a reduction. */
static bool is_reduction(LLVMValueRef v, LLVMValueRef phi) {
  if (!LLVMIsAInstruction(v)) return false;
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMAdd:
  case LLVMMul:
  case LLVMAnd:
  case LLVMOr:
  case LLVMXor: return LLVMGetOperand(v, 0) == phi || LLVMGetOperand(v, 1) == phi;
  case LLVMSub: return LLVMGetOperand(v, 0) == phi;
  case LLVMCall: return is_extreme(v, phi);
  case LLVMSelect:
    return (LLVMGetOperand(v, 1) == phi || is_reduction(LLVMGetOperand(v, 1), phi)) &&
           (LLVMGetOperand(v, 2) == phi || is_reduction(LLVMGetOperand(v, 2), phi));
  case LLVMPHI:
    for (unsigned i = 0; i < LLVMCountIncoming(v); i++) {
      LLVMValueRef incoming = LLVMGetIncomingValue(v, i);
      bool is_direct = incoming == phi || (!LLVMIsAPHINode(incoming) && is_reduction(incoming, phi));
      if (!is_direct) return false;
    }
    return true;
  default: return false;
  }
}

/* Whether nothing that goes round the loop forbids running iterations side by side. */
static bool may_be_vectorised(const struct gas_pass *p, const struct gas_loop *loop) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(loop->header); v && LLVMIsAPHINode(v); v = LLVMGetNextInstruction(v)) {
    if (phi_step(loop, v) != 0) continue;
    for (unsigned i = 0; i < LLVMCountIncoming(v); i++) {
      if (LLVMGetIncomingBlock(v, i) != loop->latch) continue;
      LLVMValueRef next = LLVMGetIncomingValue(v, i);
      if (!is_invariant(p, loop, next) && !is_reduction(next, v) && depends_on(p, loop, next, v)) return false;
    }
  }
  return true;
}

bool gas_recognise_loop(struct gas_pass *p, struct gas_loop *loop, uint32_t header) {
  *loop = (struct gas_loop){.header = p->graph.blocks[header].block, .header_number = header};
  loop->marker = check_marker(p, loop->header);
  if (!loop->marker) return false;
  loop->latch = find_latch(p, header);
  if (!loop->latch || !collect_body(p, loop)) return false;
  for (uint32_t i = 0; i < loop->n_body; i++)
    if (!inspect_block(p, loop, loop->body[i])) return false;
  loop->most = CHUNK_GAS / gas_iteration_work(loop);
  if (loop->has_side_exits) return recognise_bounded(p, loop);
  return recognise_count(p, loop, loop->latch) && may_be_vectorised(p, loop);
}

/* --- how often ------------------------------------------------------------------------------------------------------ */

static bool includes_equality(LLVMIntPredicate p) {
  return p == LLVMIntULE || p == LLVMIntUGE || p == LLVMIntSLE || p == LLVMIntSGE;
}

/* The greatest bound from which the last step cannot wrap around (the least one where the counter goes down). */
static LLVMValueRef last_safe_bound(const struct count *c) {
  bool is_signed =
      c->going_on == LLVMIntSLT || c->going_on == LLVMIntSLE || c->going_on == LLVMIntSGT || c->going_on == LLVMIntSGE;
  uint64_t step = goes_up(c) ? c->step : -c->step, most, least;
  uint64_t jump = includes_equality(c->going_on) ? step : step - 1;
  if (is_signed) {
    most = c->is_32 ? INT32_MAX : INT64_MAX;
    least = c->is_32 ? (uint32_t)INT32_MIN : (uint64_t)INT64_MIN;
  } else {
    most = c->is_32 ? UINT32_MAX : UINT64_MAX;
    least = 0;
  }
  uint64_t safe = goes_up(c) ? most - jump : least + jump;
  return LLVMConstInt(LLVMTypeOf(c->bound), c->is_32 ? (uint32_t)safe : safe, false);
}

static LLVMIntPredicate safe_bound_predicate(LLVMIntPredicate going_on) {
  switch (going_on) {
  case LLVMIntULT:
  case LLVMIntULE: return LLVMIntULE;
  case LLVMIntUGT:
  case LLVMIntUGE: return LLVMIntUGE;
  case LLVMIntSLT:
  case LLVMIntSLE: return LLVMIntSLE;
  default: return LLVMIntSGE;
  }
}

/* Whether ceil(d / step) + 1 is the number itself and not only at most that. */
static LLVMValueRef build_exact(struct gas_pass *p, const struct count *c, LLVMValueRef d) {
  LLVMBuilderRef builder = p->ir.builder;
  uint64_t step = goes_up(c) ? c->step : -c->step;
  LLVMValueRef exact;
  if (c->going_on == LLVMIntNE) { /* otherwise it jumps over the bound */
    LLVMValueRef rest = LLVMBuildURem(builder, d, ir_i64(&p->ir, step), "");
    exact = LLVMBuildICmp(builder, LLVMIntEQ, rest, ir_i64(&p->ir, 0), "");
  } else {
    exact = LLVMBuildICmp(builder, safe_bound_predicate(c->going_on), c->bound, last_safe_bound(c), "");
  }
  if (c->is_32) return exact;
  return LLVMBuildAnd(builder, exact, LLVMBuildICmp(builder, LLVMIntULT, d, ir_i64(&p->ir, MAX_DISTANCE), ""), "");
}

/* d of the essay, in 64 bits. */
static LLVMValueRef build_distance(struct gas_pass *p, const struct count *c, LLVMValueRef start) {
  LLVMBuilderRef builder = p->ir.builder;
  LLVMTypeRef type = LLVMTypeOf(c->bound);
  uint64_t offset = c->is_32 ? (uint32_t)c->offset : c->offset;
  LLVMValueRef a0 = LLVMBuildAdd(builder, start, LLVMConstInt(type, offset, false), "");
  LLVMValueRef d = goes_up(c) ? LLVMBuildSub(builder, c->bound, a0, "") : LLVMBuildSub(builder, a0, c->bound, "");
  if (c->is_32) d = LLVMBuildZExt(builder, d, p->ir.i64, "");
  LLVMValueRef most = ir_i64(&p->ir, MAX_DISTANCE);
  if (!c->is_32) d = LLVMBuildSelect(builder, LLVMBuildICmp(builder, LLVMIntULT, d, most, ""), d, most, "");
  if (c->going_on == LLVMIntNE) return d;
  if (includes_equality(c->going_on)) d = LLVMBuildAdd(builder, d, ir_i64(&p->ir, 1), "");
  LLVMValueRef goes_on = LLVMBuildICmp(builder, c->going_on, a0, c->bound, "");
  return LLVMBuildSelect(builder, goes_on, d, LLVMConstNull(p->ir.i64), "");
}

LLVMValueRef gas_build_iterations(struct gas_pass *p, const struct count *c, LLVMValueRef start, LLVMValueRef *exact) {
  LLVMBuilderRef builder = p->ir.builder;
  uint64_t step = goes_up(c) ? c->step : -c->step;
  LLVMValueRef d = build_distance(p, c, start);
  if (exact) *exact = build_exact(p, c, d);
  if (step > 1) {
    d = LLVMBuildAdd(builder, d, ir_i64(&p->ir, step - 1), "");
    d = LLVMBuildUDiv(builder, d, ir_i64(&p->ir, step), "");
  }
  return LLVMBuildAdd(builder, d, ir_i64(&p->ir, 1), "k");
}

LLVMValueRef gas_build_limit(struct gas_pass *p, const struct count *c, LLVMValueRef start, LLVMValueRef k) {
  LLVMBuilderRef builder = p->ir.builder;
  LLVMTypeRef type = LLVMTypeOf(c->bound);
  uint64_t back = c->step + (includes_equality(c->going_on) ? (goes_up(c) ? 1 : UINT64_MAX) : 0);
  if (c->is_32) k = LLVMBuildTrunc(builder, k, p->ir.i32, "");
  LLVMValueRef way = LLVMBuildMul(builder, k, LLVMConstInt(type, c->is_32 ? (uint32_t)c->step : c->step, false), "");
  uint64_t offset = c->offset - back;
  way = LLVMBuildAdd(builder, way, LLVMConstInt(type, c->is_32 ? (uint32_t)offset : offset, false), "");
  return LLVMBuildAdd(builder, start, way, "");
}

/* What enters the header's phi from outside, or NULL if that differs. */
static LLVMValueRef entry_value(const struct gas_loop *loop, LLVMValueRef phi) {
  LLVMValueRef entry = NULL;
  unsigned n = LLVMCountIncoming(phi);
  for (unsigned i = 0; i < n; i++) {
    if (LLVMGetIncomingBlock(phi, i) == loop->latch) continue;
    LLVMValueRef value = LLVMGetIncomingValue(phi, i);
    if (entry && entry != value) return NULL;
    entry = value;
  }
  return entry;
}

uint64_t gas_constant_iterations(struct gas_pass *p, const struct gas_loop *loop) {
  LLVMValueRef start = entry_value(loop, loop->count.phi);
  if (!start || !LLVMIsAConstantInt(start) || !LLVMIsAConstantInt(loop->count.bound)) return 0;
  LLVMValueRef exact, k = gas_build_iterations(p, &loop->count, start, &exact);
  if (!LLVMIsAConstantInt(k) || !LLVMIsAConstantInt(exact) || !LLVMConstIntGetZExtValue(exact)) return 0;
  uint64_t n = LLVMConstIntGetZExtValue(k);
  return n <= FREE_GAS / gas_iteration_work(loop) ? n : 0;
}
