/* Loops whose loads cannot trap, because the range that they read is looked at before.
 *
 * A load in a loop must be plain, or LLVM cannot vectorise the loop; but a plain load goes, and its trap with it, when LLVM finds
 * that nobody needs it, and what it will find no look at fresh IR can tell. So in loops that count, the trap is taken in front:
 * of all addresses that a load will have, a volatile load of one byte reads the highest. Memory is one piece from 0 on, so if
 * that one is inside, all are, and what LLVM does with the loads no longer matters. If it is not, one of the loads would trap,
 * and traps may come early: what the run left behind is not looked at, and the judge (runtime/debug/judge.h) tells gas and place.
 *
 * That holds where the loop
 *   - has one way out, at its end, and nothing in it calls: each round goes on to the next whatever it reads,
 *   - counts by a constant up or down to a bound, so that the number of rounds is known in front,
 *   - and has the load on every way through a round, at an address that moves by a constant.
 *
 * Addresses are 32 bits and wrap. But no memory reaches into the last page of them (access_are_guarded), and addresses of
 * one group that wrap, in steps shorter than that page, meet it on their way: so going around is a trap, too. All is counted in
 * 64 bits, without wrapping, and what lies beyond 32 bits is made the last of all addresses.
 *
 * A counter that is compared for being different may jump over its bound, and one that is less may wrap. Then it goes around all
 * numbers, and addresses that move as fast with it around all of memory. */
#include "frontend/lower/values.h"
#include "instrument/marker.h"
#include "jit/access/access.h"
#include "jit/access/nest.h"

#include <llvm-c/Target.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_BLOCKS = 32,
  MOST_GROUPS = 16,  /* of a loop */
  MOST_CLONES = 128, /* instructions in front of a loop */
  MOST_DEPTH = 12,   /* of an address */
  MOST_STEPS = 1024, /* for the addresses of a loop */
  MOST_STRIDE = 1 << 14,
  MOST_SPREAD = 1 << 15 /* of a group's addresses in one round */
};
#define MOST_OFFSET (1 << 30) /* of an access */
#define LAST_ADDRESS UINT64_C(0xffffffff)

/* Loads at a sum of 32 bits, made of what moves by `stride` in each round and of constants from `low` to `high`; `end` is where
 * the highest ends, from the same sum, with offsets in 64 bits. */
struct group {
  LLVMValueRef base, root, load; /* the memory; the sum without constants, or NULL; one of the loads */
  int64_t stride, low, high, end;
};

struct ranges {
  LLVMBuilderRef builder;
  LLVMTargetDataRef layout;
  LLVMValueRef charge, charge_check; /* markers, or NULL */
  LLVMTypeRef i8, i32, i64;
  struct value_set loop; /* ends of its blocks */
  LLVMBasicBlockRef header, latch, before;
  /* how it counts: a phi, and what is compared is so much more */
  LLVMValueRef phi, bound;
  uint32_t offset;
  int64_t step;
  LLVMIntPredicate going_on;
  LLVMValueRef rounds, is_exact; /* built in front of the loop, in 64 bits: how often it goes on; NULL: always */
  struct group groups[MOST_GROUPS];
  uint32_t n_groups, steps_left;
  LLVMValueRef cloned[MOST_CLONES], clones[MOST_CLONES];
  uint32_t n_clones;
};

static bool is_inside(const struct ranges *r, LLVMValueRef v) {
  return LLVMIsAInstruction(v) && value_set_has(&r->loop, LLVMGetBasicBlockTerminator(LLVMGetInstructionParent(v)));
}

static bool is_block_inside(const struct ranges *r, LLVMBasicBlockRef block) {
  return value_set_has(&r->loop, LLVMGetBasicBlockTerminator(block));
}

/* --- the loop's shape -------------------------------------------------------------------------------------------------- */

/* What another function, or LLVM, may not do in a loop that is sure to go on. */
static bool is_harmless(const struct ranges *r, LLVMValueRef v) {
  if (!LLVMIsACallInst(v)) return true;
  LLVMValueRef called = LLVMGetCalledValue(v);
  return LLVMIsAIntrinsicInst(v) || called == r->charge || called == r->charge_check || value_is_hidden(v);
}

/* Finds header, latch and the block before; false: there are several of one of them, or other ways on from before. Lowering gives
 * each loop a block to come from, and no pass has taken it yet. */
static bool find_ends(struct ranges *r) {
  for (size_t i = 0; i < r->loop.n; i++) {
    LLVMBasicBlockRef block = LLVMGetInstructionParent(r->loop.list[i]);
    for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(block)); use; use = LLVMGetNextUse(use)) {
      LLVMBasicBlockRef from = LLVMGetInstructionParent(LLVMGetUser(use));
      if (is_block_inside(r, from)) continue;
      if (r->before) return false;
      r->header = block, r->before = from;
    }
  }
  if (!r->before) return false;
  for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(r->header)); use; use = LLVMGetNextUse(use)) {
    LLVMBasicBlockRef from = LLVMGetInstructionParent(LLVMGetUser(use));
    if (from == r->before) continue;
    if (r->latch) return false;
    r->latch = from;
  }
  return r->latch && LLVMGetNumSuccessors(LLVMGetBasicBlockTerminator(r->before)) == 1;
}

/* Whether the latch is the only way out, and nothing else ends a round. */
static bool has_one_exit(const struct ranges *r) {
  for (size_t i = 0; i < r->loop.n; i++) {
    LLVMValueRef end = r->loop.list[i];
    bool is_latch = LLVMGetInstructionParent(end) == r->latch;
    if (!LLVMIsABranchInst(end)) return false; /* br_table may have many ways */
    for (unsigned k = 0; k < LLVMGetNumSuccessors(end) && !is_latch; k++)
      if (!is_block_inside(r, LLVMGetSuccessor(end, k))) return false;
    for (LLVMValueRef v = end; v; v = LLVMGetPreviousInstruction(v))
      if (!is_harmless(r, v)) return false;
  }
  return true;
}

/* Whether each round comes through `block`: without it the latch is not reached. */
static bool is_in_each_round(const struct ranges *r, LLVMBasicBlockRef block) {
  LLVMBasicBlockRef ways[MOST_BLOCKS] = {r->header};
  if (block == r->header || block == r->latch) return true;
  for (size_t at = 0, n = 1; at < n; at++) {
    LLVMValueRef end = LLVMGetBasicBlockTerminator(ways[at]);
    if (ways[at] == r->latch) return false;
    for (unsigned k = 0; k < LLVMGetNumSuccessors(end); k++) {
      LLVMBasicBlockRef to = LLVMGetSuccessor(end, k);
      size_t i = 0;
      while (i < n && ways[i] != to) i++;
      if (i == n && to != block) ways[n++] = to;
    }
  }
  return true;
}

static LLVMValueRef incoming(LLVMValueRef phi, LLVMBasicBlockRef from) {
  for (unsigned i = 0; i < LLVMCountIncoming(phi); i++)
    if (LLVMGetIncomingBlock(phi, i) == from) return LLVMGetIncomingValue(phi, i);
  return NULL;
}

static bool is_header_phi(const struct ranges *r, LLVMValueRef v) {
  return LLVMIsAPHINode(v) && LLVMGetInstructionParent(v) == r->header;
}

/* Takes constants off a sum of 32 bits; `*offset` grows by them. */
static LLVMValueRef strip(LLVMValueRef v, uint32_t *offset) {
  while (value_is_addition(v) && LLVMIsAConstantInt(LLVMGetOperand(v, 1))) {
    *offset += (uint32_t)LLVMConstIntGetZExtValue(LLVMGetOperand(v, 1));
    v = LLVMGetOperand(v, 0);
  }
  return v;
}

/* By what the header's phi grows in each round, or 0. */
static int64_t step_of(const struct ranges *r, LLVMValueRef phi) {
  uint32_t step = 0;
  return strip(incoming(phi, r->latch), &step) == phi ? (int32_t)step : 0;
}

static LLVMIntPredicate swapped(LLVMIntPredicate p) {
  static const LLVMIntPredicate to[] = {LLVMIntULT, LLVMIntULE, LLVMIntUGT, LLVMIntUGE,
                                        LLVMIntSLT, LLVMIntSLE, LLVMIntSGT, LLVMIntSGE};
  return p < LLVMIntUGT ? p : to[p - LLVMIntUGT];
}

static LLVMIntPredicate negated(LLVMIntPredicate p) {
  static const LLVMIntPredicate to[] = {LLVMIntNE,  LLVMIntEQ,  LLVMIntULE, LLVMIntULT, LLVMIntUGE,
                                        LLVMIntUGT, LLVMIntSLE, LLVMIntSLT, LLVMIntSGE, LLVMIntSGT};
  return to[p - LLVMIntEQ];
}

static bool is_of_bounds_above(LLVMIntPredicate p) {
  return p == LLVMIntULT || p == LLVMIntULE || p == LLVMIntSLT || p == LLVMIntSLE;
}

static bool includes_bound(LLVMIntPredicate p) {
  return p == LLVMIntULE || p == LLVMIntUGE || p == LLVMIntSLE || p == LLVMIntSGE;
}

static bool is_signed(LLVMIntPredicate p) { return p >= LLVMIntSGT; }

/* Whether the latch compares a counter with a bound that it moves to. */
static bool finds_count(struct ranges *r) {
  LLVMValueRef end = LLVMGetBasicBlockTerminator(r->latch);
  if (!LLVMIsABranchInst(end) || !LLVMIsConditional(end) || !LLVMIsAICmpInst(LLVMGetCondition(end))) return false;
  LLVMValueRef compare = LLVMGetCondition(end), side[2] = {LLVMGetOperand(compare, 0), LLVMGetOperand(compare, 1)};
  if (LLVMTypeOf(side[0]) != r->i32 || LLVMGetSuccessor(end, 0) == LLVMGetSuccessor(end, 1)) return false;
  r->going_on = LLVMGetICmpPredicate(compare);
  int at = is_inside(r, side[0]) ? 0 : 1;
  if (at) r->going_on = swapped(r->going_on);
  if (LLVMGetSuccessor(end, 0) != r->header) r->going_on = negated(r->going_on);
  r->offset = 0;
  r->phi = strip(side[at], &r->offset), r->bound = side[1 - at];
  if (!is_header_phi(r, r->phi) || is_inside(r, r->bound)) return false;
  r->step = step_of(r, r->phi);
  if (!r->step || llabs(r->step) > MOST_STRIDE || r->going_on == LLVMIntEQ) return false;
  return r->going_on == LLVMIntNE || is_of_bounds_above(r->going_on) == (r->step > 0);
}

/* --- addresses ----------------------------------------------------------------------------------------------------------- */

/* Finds by how much `v` grows in each round; false: not always by the same, or it cannot be computed in front of the loop. */
static bool find_stride(struct ranges *r, LLVMValueRef v, int64_t *stride, int depth) {
  int64_t of[2] = {0, 0};
  *stride = 0;
  if (LLVMIsAConstantInt(v) || (!is_inside(r, v) && !LLVMIsAConstant(v))) return true;
  if (depth == MOST_DEPTH || !r->steps_left || LLVMTypeOf(v) != r->i32) return false;
  r->steps_left--;
  if (is_header_phi(r, v)) return (*stride = step_of(r, v)) != 0;
  if (!LLVMIsABinaryOperator(v)) return false;
  for (unsigned i = 0; i < 2; i++)
    if (!find_stride(r, LLVMGetOperand(v, i), &of[i], depth + 1)) return false;
  LLVMValueRef by = LLVMGetOperand(v, 1);
  int64_t times = LLVMIsAConstantInt(by) ? LLVMConstIntGetSExtValue(by) : 0;
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMAdd: *stride = of[0] + of[1]; break;
  case LLVMSub: *stride = of[0] - of[1]; break;
  case LLVMOr:
    if (!LLVMGetIsDisjoint(v)) return !of[0] && !of[1];
    *stride = of[0] + of[1];
    break;
  case LLVMMul:
    if (!times || llabs(times) > MOST_STRIDE) return !of[0] && !of[1];
    *stride = of[0] * times;
    break;
  case LLVMShl:
    if (!LLVMIsAConstantInt(by) || times < 0 || times > 14) return !of[0] && !of[1];
    *stride = of[0] * (INT64_C(1) << times);
    break;
  case LLVMAnd:
  case LLVMXor:
  case LLVMLShr:
  case LLVMAShr: return !of[0] && !of[1];
  default: return false;
  }
  return llabs(*stride) <= INT32_MAX;
}

/* Takes an address apart; false: it is of another form, or may move in another way. */
static bool take_apart(struct ranges *r, LLVMValueRef load, struct group *g) {
  LLVMValueRef p = LLVMGetOperand(load, 0), index = NULL;
  uint32_t constant = 0;
  *g = (struct group){.load = load};
  for (; value_is_byte_gep(p) && is_inside(r, p); p = LLVMGetOperand(p, 0)) {
    LLVMValueRef by = LLVMGetOperand(p, 1);
    if (LLVMIsAConstantInt(by) && LLVMConstIntGetZExtValue(by) + (uint64_t)g->end <= MOST_OFFSET)
      g->end += (int64_t)LLVMConstIntGetZExtValue(by);
    else if (!index && LLVMIsAZExtInst(by))
      index = LLVMGetOperand(by, 0);
    else
      return false;
  }
  g->base = p;
  if (index) {
    if (LLVMTypeOf(index) != r->i32) return false;
    g->root = strip(index, &constant);
    if (!find_stride(r, g->root, &g->stride, 0) || llabs(g->stride) > MOST_STRIDE) return false;
  }
  g->low = g->high = (int32_t)constant;
  g->end += g->low + (int64_t)LLVMStoreSizeOfType(r->layout, LLVMTypeOf(load));
  return true;
}

/* Whether the base can be computed in front of the loop: it is there, or read from what does not change. */
static bool is_base(const struct ranges *r, LLVMValueRef base, int depth) {
  if (!is_inside(r, base)) return true;
  if (depth == MOST_DEPTH) return false;
  if (LLVMIsALoadInst(base)) {
    unsigned kind = LLVMGetMDKindIDInContext(LLVMGetTypeContext(LLVMTypeOf(base)), "invariant.load", 14);
    return LLVMGetMetadata(base, kind) && is_base(r, LLVMGetOperand(base, 0), depth + 1);
  }
  return value_is_byte_gep(base) && LLVMIsAConstantInt(LLVMGetOperand(base, 1)) && is_base(r, LLVMGetOperand(base, 0), depth + 1);
}

/* Adds what the load reads to a group; false: the loop has too many. */
static bool add_to_group(struct ranges *r, const struct group *of) {
  for (uint32_t i = 0; i < r->n_groups; i++) {
    struct group *g = &r->groups[i];
    int64_t low = g->low < of->low ? g->low : of->low, high = g->high > of->high ? g->high : of->high;
    if (g->base != of->base || g->root != of->root || high - low > MOST_SPREAD) continue;
    g->low = low, g->high = high;
    if (of->end > g->end) g->end = of->end;
    return true;
  }
  if (r->n_groups == MOST_GROUPS) return false;
  r->groups[r->n_groups++] = *of;
  return true;
}

/* --- in front of the loop ------------------------------------------------------------------------------------------------- */

static LLVMValueRef number(const struct ranges *r, uint64_t v) { return LLVMConstInt(r->i64, v, false); }

/* `v` as it is in the first round. */
static LLVMValueRef clone(struct ranges *r, LLVMValueRef v) {
  if (!is_inside(r, v)) return v;
  if (is_header_phi(r, v)) return incoming(v, r->before);
  for (uint32_t i = 0; i < r->n_clones; i++)
    if (r->cloned[i] == v) return r->clones[i];
  LLVMValueRef copy = LLVMInstructionClone(v);
  for (unsigned i = 0; i < (unsigned)LLVMGetNumOperands(v); i++) LLVMSetOperand(copy, i, clone(r, LLVMGetOperand(v, i)));
  LLVMInsertIntoBuilder(r->builder, copy);
  if (r->n_clones < MOST_CLONES) r->cloned[r->n_clones] = v, r->clones[r->n_clones++] = copy;
  return copy;
}

/* Builds `rounds` and `is_exact` from what is compared at the end of the first round. */
static void build_rounds(struct ranges *r) {
  LLVMBuilderRef b = r->builder;
  bool is_up = r->step > 0;
  uint64_t step = (uint64_t)llabs(r->step), jump = step - !includes_bound(r->going_on);
  LLVMValueRef first = LLVMBuildAdd(b, incoming(r->phi, r->before), LLVMConstInt(r->i32, r->offset, false), "");
  LLVMValueRef way = is_up ? LLVMBuildSub(b, r->bound, first, "") : LLVMBuildSub(b, first, r->bound, "");
  way = LLVMBuildZExt(b, way, r->i64, "");
  r->is_exact = NULL;
  if (r->going_on == LLVMIntNE) {
    if (step > 1) r->is_exact = LLVMBuildICmp(b, LLVMIntEQ, LLVMBuildURem(b, way, number(r, step), ""), number(r, 0), "");
    r->rounds = LLVMBuildUDiv(b, way, number(r, step), "");
    return;
  }
  LLVMValueRef rounds = LLVMBuildUDiv(b, LLVMBuildAdd(b, way, number(r, jump), ""), number(r, step), "");
  LLVMValueRef goes_on = LLVMBuildICmp(b, r->going_on, first, r->bound, "");
  r->rounds = LLVMBuildSelect(b, goes_on, rounds, number(r, 0), "");
  if (!jump) return;
  LLVMOpcode extend = is_signed(r->going_on) ? LLVMSExt : LLVMZExt;
  LLVMValueRef last = LLVMBuildMul(b, r->rounds, number(r, (uint64_t)r->step), "");
  last = LLVMBuildAdd(b, last, LLVMBuildCast(b, extend, first, r->i64, ""), "");
  r->is_exact = LLVMBuildICmp(b, LLVMIntEQ, LLVMBuildCast(b, extend, LLVMBuildTrunc(b, last, r->i32, ""), r->i64, ""), last, "");
}

static LLVMValueRef smaller(const struct ranges *r, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildSelect(r->builder, LLVMBuildICmp(r->builder, LLVMIntULT, a, b, ""), a, b, "");
}

/* The highest address of the group in all rounds, or the last of all. */
static LLVMValueRef highest(struct ranges *r, const struct group *g) {
  LLVMBuilderRef b = r->builder;
  LLVMValueRef first = LLVMConstInt(r->i32, (uint32_t)g->low, false);
  if (g->root) first = LLVMBuildAdd(b, clone(r, g->root), first, "");
  first = LLVMBuildZExt(b, first, r->i64, "");
  LLVMValueRef spread = number(r, (uint64_t)(g->end - g->low - 1)), at = LLVMBuildAdd(b, first, spread, "");
  if (!g->stride) return smaller(r, at, number(r, LAST_ADDRESS));
  LLVMValueRef way = LLVMBuildMul(b, r->rounds, number(r, (uint64_t)g->stride), "");
  if (g->stride > 0) {
    at = smaller(r, LLVMBuildAdd(b, at, way, ""), number(r, LAST_ADDRESS));
  } else {
    LLVMValueRef lowest = LLVMBuildAdd(b, first, way, "");
    LLVMValueRef is_around = LLVMBuildICmp(b, LLVMIntSLT, lowest, number(r, 0), "");
    at = LLVMBuildSelect(b, is_around, number(r, LAST_ADDRESS), smaller(r, at, number(r, LAST_ADDRESS)), "");
  }
  return r->is_exact ? LLVMBuildSelect(b, r->is_exact, at, number(r, LAST_ADDRESS), "") : at;
}

static void look(struct ranges *r, const struct group *g) {
  LLVMContextRef context = LLVMGetTypeContext(r->i8);
  unsigned tbaa = LLVMGetMDKindIDInContext(context, "tbaa", 4);
  LLVMValueRef at = highest(r, g), base = clone(r, g->base);
  LLVMValueRef v = LLVMBuildLoad2(r->builder, r->i8, LLVMBuildGEP2(r->builder, r->i8, base, &at, 1, ""), "");
  LLVMSetAlignment(v, VALUE_GUEST_ALIGNMENT);
  LLVMSetVolatile(v, true);
  if (LLVMGetMetadata(g->load, tbaa)) LLVMSetMetadata(v, tbaa, LLVMGetMetadata(g->load, tbaa));
}

/* --- loops ------------------------------------------------------------------------------------------------------------------ */

/* Whether the range of this load can be looked at in front of the loop. */
static bool takes(struct ranges *r, LLVMValueRef load) {
  struct group g;
  if (!take_apart(r, load, &g) || !is_base(r, g.base, 0)) return false;
  /* going around all numbers, it must go around memory */
  if (g.stride && llabs(g.stride) < llabs(r->step)) return false;
  return add_to_group(r, &g);
}

static void check_loop(struct ranges *r, LLVMValueRef *ends, size_t n) {
  value_set_empty(&r->loop);
  for (size_t i = 0; i < n; i++) value_set_add(&r->loop, ends[i]);
  r->header = r->latch = r->before = NULL;
  r->n_groups = r->n_clones = 0;
  r->steps_left = MOST_STEPS;
  if (n > MOST_BLOCKS || !find_ends(r) || !has_one_exit(r) || !finds_count(r)) return;
  for (size_t i = 0; i < n; i++)
    for (LLVMValueRef v = is_in_each_round(r, LLVMGetInstructionParent(ends[i])) ? ends[i] : NULL; v;
         v = LLVMGetPreviousInstruction(v))
      if (value_is_guest_load(v) && takes(r, v)) LLVMSetVolatile(v, false);
  if (!r->n_groups) return;
  LLVMPositionBuilderBefore(r->builder, LLVMGetBasicBlockTerminator(r->before));
  build_rounds(r);
  for (uint32_t i = 0; i < r->n_groups; i++) look(r, &r->groups[i]);
}

bool access_are_guarded(const struct module *m) {
  for (uint32_t i = 0; i < m->n_memories; i++) {
    const struct limits *limits = &m->memories[i].type.limits;
    if (i < m->n_imported_memories || limits->is_64 || limits->page_size_log2 != 16 || limits->min >= MEMORY_MAX_PAGES_32)
      return false;
  }
  return true;
}

void access_check_ranges(LLVMModuleRef module) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  struct ranges r = {.builder = LLVMCreateBuilderInContext(context),
                     .layout = LLVMGetModuleDataLayout(module),
                     .charge = LLVMGetNamedFunction(module, GAS_CHARGE),
                     .charge_check = LLVMGetNamedFunction(module, GAS_CHARGE_CHECK),
                     .i8 = LLVMInt8TypeInContext(context),
                     .i32 = LLVMInt32TypeInContext(context),
                     .i64 = LLVMInt64TypeInContext(context)};
  struct value_set innermost = {0};
  struct nest_loops nest = {0};
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f)) {
    value_set_empty(&innermost);
    if (LLVMCountBasicBlocks(f)) nest_find_innermost(f, &innermost, &nest);
    for (size_t from = 0, l = 0; from < innermost.n; from = nest.ends[l++])
      check_loop(&r, innermost.list + from, nest.ends[l] - from);
  }
  value_set_free(&r.loop);
  value_set_free(&innermost);
  nest_free(&nest);
  LLVMDisposeBuilder(r.builder);
}
