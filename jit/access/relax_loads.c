/* Which guest loads LLVM may treat as plain loads.
 *
 * A guest load must trap when it is out of bounds, even if nobody uses what it reads, and whichever way the code goes on after
 * it. But LLVM deletes a plain load that no effect depends on, and may sink one into the only branch that uses it. If every load
 * were volatile, nothing could be folded, hoisted or vectorised. So loads are born volatile, a first simplification folds what is
 * the same whatever they read (x ^ x), and then a load becomes plain if something in its own block needs its value:
 *
 *   - a store to memory that no other store of the function may overwrite, nor the same in a loop's next round, a call, a result,
 * or the address of another load; and in an innermost loop, as what LLVM finds later elsewhere, nobody knows,
 *   - or a phi that takes it round a loop, to be a part of the next round's value.
 *
 * Between the two lie instructions of the block that need all of what they take. A select does not need its arms: LLVM makes
 * branches of selects, and sinks into a branch what only it uses. For the same reason other phis do not count.
 *
 * What else such an instruction takes may turn out to make the load needless: jit/access/hide.c sees to that.
 *
 * The loads left over decide branches, or are selected; producers put most others next to their uses. What LLVM's code generator
 * does with either kind of load is the business of jit/access/pin.c.
 *
 * LLVM also narrows a load of which only some bits or lanes matter, and then its other bytes would not trap. Where no use needs
 * the whole value, a `freeze` stands between: it costs nothing, can be vectorised, and nothing is narrowed through it. The code
 * generator sees through that of a vector, and for CPUs without AVX-512 it even narrows volatile ones (pmovzx and its like read
 * half of the bytes), so vectors needed in part are loaded in two volatile halves. */
#include "base/heap.h"
#include "frontend/lower/values.h"
#include "jit/access/access.h"
#include "jit/access/hide.h"
#include "jit/access/nest.h"

#include <llvm-c/Target.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_STEPS = 4096,
  MOST_STEPS_OF_FUNCTION = 1 << 20,
  MOST_BLOCKS = 16,
  MOST_DEPTH = 10,
  MOST_SHIFT = 16,
  MOST_EQUAL = 16,
  N_SETS = 10
};

/* What is known of a function. */
struct marks {
  LLVMTargetDataRef layout;
  struct value_set live, whole;  /* what an effect depends on; what it needs in full */
  struct value_set idle;         /* stores that may be dead */
  struct value_set anchored;     /* of the block at hand */
  struct value_set seen, ways;   /* of one question: values; ends of blocks */
  struct value_set rings, lines; /* ends of blocks in loops and in none, where it was asked */
  struct value_set innermost;    /* ends of blocks in loops without others inside */
  struct nest_loops nest;        /* where the blocks of such a loop end in there */
  struct value_set read;         /* values of the block at hand that are made of what it reads */
  struct hidden hidden;          /* of the innermost loop at hand */
  uint64_t *stored;              /* [n_stored]: sums of stores' places in any round of their innermost loop, ascending */
  size_t n_stored;
  bool is_innermost; /* the block at hand */
  size_t steps_left; /* for all questions about the function */
};

/* LLVM looks into functions of the module, and drops the arguments that they do not use: as a use, such a call proves nothing. */
static bool keeps_operands(LLVMValueRef v) {
  return LLVMGetInstructionOpcode(v) != LLVMCall || !LLVMIsAFunction(LLVMGetCalledValue(v)) || LLVMIsAIntrinsicInst(v);
}

static bool has_guest_loads(LLVMValueRef func) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (value_is_guest_load(v)) return true;
  return false;
}

/* Adds to `live` everything that an effect depends on. */
static void mark_live(LLVMValueRef func, struct value_set *live) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (value_has_effect(v)) value_set_add(live, v);
  while (live->at < live->n) {
    LLVMValueRef v = live->list[live->at++];
    int n = keeps_operands(v) ? LLVMGetNumOperands(v) : 0;
    for (int i = 0; i < n; i++) value_set_add(live, LLVMGetOperand(v, (unsigned)i));
  }
}

/* Whether `v`, if all of it matters, needs all of its operands, as far as LLVM could tell. */
static bool needs_whole_operands(LLVMValueRef v) {
  size_t size; /* a rotation by what is read needs five bits of it */
  if (LLVMIsAIntrinsicInst(v) && strncmp(LLVMGetValueName2(LLVMGetCalledValue(v), &size), "llvm.fsh", 8) == 0)
    return LLVMIsConstant(LLVMGetOperand(v, 2));
  bool has_constant =
      LLVMGetNumOperands(v) == 2 && (LLVMIsConstant(LLVMGetOperand(v, 0)) || LLVMIsConstant(LLVMGetOperand(v, 1)));
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMTrunc:
  case LLVMShl:
  case LLVMLShr:
  case LLVMAShr:
  case LLVMExtractElement:
  case LLVMShuffleVector: return false;
  case LLVMAnd: /* by a constant: a mask, or may become one */
  case LLVMOr:
  case LLVMXor:
  case LLVMMul:
  case LLVMUDiv:
  case LLVMSDiv:
  case LLVMURem:
  case LLVMSRem: return !has_constant;
  case LLVMICmp: return !has_constant || LLVMGetICmpPredicate(v) == LLVMIntEQ || LLVMGetICmpPredicate(v) == LLVMIntNE;
  default: return true;
  }
}

/* Adds to `whole` everything of which an effect needs all bits. */
static void mark_whole(const struct value_set *live, struct value_set *whole) {
  for (size_t i = 0; i < live->n; i++)
    if (value_has_effect(live->list[i])) value_set_add(whole, live->list[i]);
  while (whole->at < whole->n) {
    LLVMValueRef v = whole->list[whole->at++];
    int n = keeps_operands(v) && needs_whole_operands(v) ? LLVMGetNumOperands(v) : 0;
    for (int i = 0; i < n; i++) value_set_add(whole, LLVMGetOperand(v, (unsigned)i));
  }
}

/* --- stores that may turn out to be dead --------------------------------------------------------------------------- */

/* When a place is looked at: at any time; in the first round of the loops around it, which LLVM takes apart; or in all rounds,
 * from where a counter starts, with what it counts by; or in any round of the innermost loop. */
enum when { ALWAYS, AT_FIRST, IN_ROUNDS, IN_INNERMOST };

/* Where a guest access begins and ends. `sum` stands for what is added to the constant: two of them are the same if they are made
 * of the same values as often. */
struct place {
  uint64_t sum;
  int64_t offset, end;
  uint32_t stride; /* by which the innermost loop moves it in each round */
  bool is_uneven;  /* by what else, nobody knows */
  enum when when;
  bool is_vague; /* not all of it was looked at: it may be any other */
  LLVMValueRef store;
};

static uint64_t mix(const void *p) { return ((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15ull; }

/* A counter of a loop. */
struct counter {
  LLVMValueRef start, step;
};

/* `start` is NULL when it is none. */
static struct counter counter_of(LLVMValueRef v) {
  if (!LLVMIsAPHINode(v) || LLVMCountIncoming(v) != 2) return (struct counter){0};
  for (unsigned i = 0; i < 2; i++) {
    LLVMValueRef next = LLVMGetIncomingValue(v, i);
    if (value_is_addition(next) && (LLVMGetOperand(next, 0) == v || LLVMGetOperand(next, 1) == v))
      return (struct counter){LLVMGetIncomingValue(v, 1 - i), LLVMGetOperand(next, LLVMGetOperand(next, 0) == v)};
  }
  return (struct counter){0};
}

static LLVMValueRef start_of(LLVMValueRef v) { return counter_of(v).start; }

static bool is_counter(LLVMValueRef v) {
  if (start_of(v)) return true;
  return value_is_addition(v) && (start_of(LLVMGetOperand(v, 0)) || start_of(LLVMGetOperand(v, 1)));
}

/* What `v` is compared with for equality by the user of `use`, or NULL. Counters are left out: that one is equal to its bound is
 * known behind its loop alone. */
static LLVMValueRef equal_by(LLVMUseRef use, LLVMValueRef v) {
  LLVMValueRef compare = LLVMGetUser(use);
  if (!LLVMIsAICmpInst(compare)) return NULL;
  if (LLVMGetICmpPredicate(compare) != LLVMIntEQ && LLVMGetICmpPredicate(compare) != LLVMIntNE) return NULL;
  LLVMValueRef other = LLVMGetOperand(compare, LLVMGetOperand(compare, 0) == v);
  return LLVMIsConstant(other) || is_counter(other) || is_counter(v) ? NULL : other;
}

/* A number of the value, the same for the same factors, masks and the like in any order: LLVM puts them in one. */
static uint64_t chain_of(struct marks *m, LLVMValueRef v, LLVMOpcode op, int depth, bool *is_vague) {
  bool is_link = LLVMIsAInstruction(v) && LLVMGetInstructionOpcode(v) == op;
  if (LLVMIsAConstantInt(v)) return LLVMConstIntGetZExtValue(v) * 0xbf58476d1ce4e5b9ull;
  if (!is_link) return mix(v);
  if (depth == MOST_DEPTH || !m->steps_left) {
    *is_vague = true;
    return mix(v);
  }
  m->steps_left--;
  return chain_of(m, LLVMGetOperand(v, 0), op, depth + 1, is_vague) + chain_of(m, LLVMGetOperand(v, 1), op, depth + 1, is_vague);
}

static uint64_t own_number(struct marks *m, LLVMValueRef v, bool *is_vague) {
  if (!LLVMIsAInstruction(v)) return mix(v);
  LLVMOpcode op = LLVMGetInstructionOpcode(v);
  if (op != LLVMMul && op != LLVMAnd && op != LLVMOr && op != LLVMXor) return mix(v);
  return (chain_of(m, v, op, 0, is_vague) + (uint64_t)op) * 0x94d049bb133111ebull;
}

/* A number of the value that all those have, too, which it is compared with for equality, however indirectly: behind such a
 * comparison LLVM may put one for the other. Of too many equals it says so. */
static uint64_t number_of(struct marks *m, LLVMValueRef v, bool *is_vague) {
  LLVMValueRef equal[MOST_EQUAL] = {v};
  uint64_t number = own_number(m, v, is_vague);
  for (size_t at = 0, n = 1; at < n; at++) {
    uint64_t own = own_number(m, equal[at], is_vague);
    if (own < number) number = own;
    for (LLVMUseRef use = LLVMGetFirstUse(equal[at]); use && m->steps_left; use = LLVMGetNextUse(use)) {
      LLVMValueRef other = equal_by(use, equal[at]);
      m->steps_left--;
      size_t i = 0;
      while (other && i < n && equal[i] != other) i++;
      if (!other || i < n) continue;
      if (n < MOST_EQUAL)
        equal[n++] = other;
      else
        *is_vague = true;
    }
  }
  return number;
}

static bool is_innermost(const struct marks *m, LLVMBasicBlockRef block) {
  return value_set_has(&m->innermost, LLVMGetBasicBlockTerminator(block));
}

/* Adds to `p` what the counter `phi` counts by: two counters of one loop by the same are one to LLVM. */
static void add_rounds(struct marks *m, struct place *p, LLVMValueRef phi, uint64_t times) {
  LLVMValueRef step = counter_of(phi).step;
  LLVMBasicBlockRef header = LLVMGetInstructionParent(phi);
  if (!LLVMIsAConstantInt(step)) {
    p->is_uneven = true;
    p->sum += times * number_of(m, step, &p->is_vague) * mix(header);
    return;
  }
  uint32_t stride = (uint32_t)(times * (uint64_t)LLVMConstIntGetSExtValue(step));
  p->sum += stride * mix(header);
  if (is_innermost(m, header)) p->stride += stride;
}

/* Adds `times` the number `v`. */
static void add_value(struct marks *m, struct place *p, LLVMValueRef v, uint64_t times, int depth) {
  LLVMValueRef start = p->when == ALWAYS ? NULL : start_of(v),
               by = LLVMIsAInstruction(v) && LLVMGetNumOperands(v) == 2 ? LLVMGetOperand(v, 1) : NULL;
  bool is_deep = depth == MOST_DEPTH || !m->steps_left, is_by_constant = by && LLVMIsAConstantInt(by);
  if (m->steps_left) m->steps_left--;
  if (start && p->when == IN_INNERMOST && !is_innermost(m, LLVMGetInstructionParent(v))) start = NULL;
  if (start && p->when == IN_ROUNDS && !is_deep) add_rounds(m, p, v, times);
  if (LLVMIsAConstantInt(v)) {
    p->offset = (int64_t)((uint64_t)p->offset + times * (uint64_t)LLVMConstIntGetSExtValue(v));
  } else if (!is_deep && (start || LLVMIsAZExtInst(v))) {
    add_value(m, p, start ? start : LLVMGetOperand(v, 0), times, depth + 1);
  } else if (!is_deep && value_is_addition(v)) {
    add_value(m, p, LLVMGetOperand(v, 0), times, depth + 1);
    add_value(m, p, by, times, depth + 1);
  } else if (!is_deep && by && LLVMGetInstructionOpcode(v) == LLVMSub) {
    add_value(m, p, LLVMGetOperand(v, 0), times, depth + 1);
    add_value(m, p, by, -times, depth + 1);
  } else if (!is_deep && is_by_constant && LLVMGetInstructionOpcode(v) == LLVMShl && LLVMConstIntGetZExtValue(by) < 32) {
    add_value(m, p, LLVMGetOperand(v, 0), times << LLVMConstIntGetZExtValue(by), depth + 1);
  } else if (!is_deep && is_by_constant && LLVMGetInstructionOpcode(v) == LLVMMul) {
    add_value(m, p, LLVMGetOperand(v, 0), times * (uint64_t)LLVMConstIntGetSExtValue(by), depth + 1);
  } else {
    if (is_deep && (by || LLVMIsAZExtInst(v))) p->is_vague = true; /* another order of the same terms ends elsewhere */
    p->sum += times * number_of(m, v, &p->is_vague);
  }
}

/* Memories are not told apart. */
static struct place place_of(struct marks *m, enum when when, LLVMValueRef pointer, LLVMTypeRef type) {
  struct place p = {.when = when};
  for (; value_is_byte_gep(pointer); pointer = LLVMGetOperand(pointer, 0)) add_value(m, &p, LLVMGetOperand(pointer, 1), 1, 0);
  p.offset = (int32_t)p.offset; /* indices wrap, and constants of them are signed or not as it comes */
  p.end = p.offset + (int64_t)LLVMStoreSizeOfType(m->layout, type);
  return p;
}

static int compare_places(const void *a, const void *b) {
  const struct place *p = a, *q = b;
  if (p->sum != q->sum) return p->sum < q->sum ? -1 : 1;
  return (p->offset > q->offset) - (p->offset < q->offset);
}

/* Whether the store writes back what was read there, be it in the first round alone. */
static bool is_idle(struct marks *m, LLVMValueRef store) {
  LLVMValueRef v = LLVMGetOperand(store, 0);
  while (LLVMIsACastInst(v) || LLVMIsAFreezeInst(v)) v = LLVMGetOperand(v, 0);
  if (!value_is_guest_load(v)) return false;
  struct place from = place_of(m, AT_FIRST, LLVMGetOperand(v, 0), LLVMTypeOf(v));
  struct place to = place_of(m, AT_FIRST, LLVMGetOperand(store, 1), LLVMTypeOf(LLVMGetOperand(store, 0)));
  return from.is_vague || to.is_vague || (from.sum == to.sum && from.offset == to.offset);
}

/* Whether control can come back to `block` other than through `around`, if that is not NULL; true when it takes too long to tell.
 */
static bool comes_back(struct marks *m, LLVMBasicBlockRef block, LLVMBasicBlockRef around) {
  struct value_set *ways = &m->ways;
  value_set_empty(ways);
  value_set_add(ways, LLVMGetBasicBlockTerminator(block));
  while (ways->at < ways->n) {
    LLVMValueRef last = ways->list[ways->at++];
    for (unsigned i = 0; i < LLVMGetNumSuccessors(last); i++) {
      LLVMBasicBlockRef to = LLVMGetSuccessor(last, i);
      if (to == around) continue;
      if (to == block || !m->steps_left) return true;
      m->steps_left--;
      value_set_add(ways, LLVMGetBasicBlockTerminator(to));
    }
  }
  return false;
}

static bool is_in_loop(struct marks *m, LLVMBasicBlockRef block) {
  LLVMValueRef end = LLVMGetBasicBlockTerminator(block);
  if (value_set_has(&m->rings, end)) return true;
  if (value_set_has(&m->lines, end)) return false;
  bool found = comes_back(m, block, NULL);
  value_set_add(found ? &m->rings : &m->lines, end);
  return found;
}

/* Instructions that give other results for other operands, within the rounds that LLVM may look at together. */
static bool is_one_to_one(LLVMValueRef v) {
  LLVMValueRef by = LLVMGetNumOperands(v) == 2 ? LLVMGetOperand(v, 1) : NULL;
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMAdd:
  case LLVMSub:
  case LLVMZExt:
  case LLVMGetElementPtr: return true;
  case LLVMOr: return LLVMGetIsDisjoint(v);
  case LLVMShl: return LLVMIsAConstantInt(by) && LLVMConstIntGetZExtValue(by) <= MOST_SHIFT;
  case LLVMMul: return LLVMIsAConstantInt(by) && !(LLVMConstIntGetZExtValue(by) >> MOST_SHIFT);
  default: return value_is_guest_load(v);
  }
}

/* Whether what its counters count by adds up to 0, as indices wrap. */
static bool is_standing(struct marks *m, LLVMValueRef access, unsigned address) {
  struct place p =
      place_of(m, IN_ROUNDS, LLVMGetOperand(access, address), LLVMInt8TypeInContext(LLVMGetTypeContext(LLVMTypeOf(access))));
  return is_innermost(m, LLVMGetInstructionParent(access)) && !p.stride && !p.is_uneven;
}

/* Whether a loop may come to the access again with the same address: no counter that the address is made of lies on every way
 * round.
 */
static bool is_fixed(struct marks *m, LLVMValueRef access, unsigned address) {
  struct value_set *seen = &m->seen;
  LLVMBasicBlockRef block = LLVMGetInstructionParent(access);
  if (!is_in_loop(m, block)) return false;
  value_set_empty(seen);
  value_set_add(seen, LLVMGetOperand(access, address));
  while (seen->at < seen->n && seen->n < MOST_STEPS && m->steps_left) {
    LLVMValueRef at = seen->list[seen->at++];
    m->steps_left--;
    struct counter counter = counter_of(at); /* a step that is not known may turn out to be 0 */
    if (counter.start && LLVMIsAConstantInt(counter.step) && !comes_back(m, block, LLVMGetInstructionParent(at)))
      return is_standing(m, access, address);
    int n = is_one_to_one(at) ? LLVMGetNumOperands(at) : 0;
    for (int i = 0; i < n; i++) value_set_add(seen, LLVMGetOperand(at, (unsigned)i));
  }
  return true;
}

/* Adds to `idle` those of n places that overlap. */
static void mark_overlaps(struct marks *m, struct place *places, uint32_t n) {
  struct place *last = places;
  qsort(places, n, sizeof *places, compare_places);
  for (uint32_t i = 1; i < n; i++) {
    if (places[i].sum == last->sum && places[i].offset < last->end && places[i].store != last->store) {
      value_set_add(&m->idle, last->store);
      value_set_add(&m->idle, places[i].store);
    }
    if (places[i].sum != last->sum || places[i].end > last->end) last = &places[i];
  }
}

/* Adds to `idle` the stores that another one of the same loop overwrites in another round: LLVM takes rounds apart. `places` has
 * room for two of each store. */
static void mark_overlaps_of_rounds(struct marks *m, struct place *places) {
  uint32_t n = 0;
  for (size_t i = 0; i < m->live.n; i++) {
    LLVMValueRef store = m->live.list[i];
    if (!value_is_guest_store(store)) continue;
    struct place p = place_of(m, IN_ROUNDS, LLVMGetOperand(store, 1), LLVMTypeOf(LLVMGetOperand(store, 0)));
    int64_t size = p.end - p.offset, stride = p.stride > INT32_MAX ? (int64_t)UINT32_MAX + 1 - p.stride : (int64_t)p.stride;
    p.store = store;
    if (p.is_vague) value_set_add(&m->idle, store);
    if (!stride && !p.is_uneven) continue; /* not in an innermost loop, or compared already */
    p.offset = p.is_uneven ? 0 : ((p.offset % stride) + stride) % stride;
    p.end = p.offset + size;
    places[n++] = p;
    p.offset -= stride, p.end -= stride;
    places[n++] = p;
  }
  for (uint32_t i = 0; i < n && !m->steps_left; i++) value_set_add(&m->idle, places[i].store);
  mark_overlaps(m, places, n);
}

/* In a loop that LLVM may unroll as a whole all addresses may become constants, so stores are idle where there are several that
 * move differently. */
static void mark_overlaps_when_unrolled(struct marks *m, const struct value_set *ends, size_t from, size_t to) {
  LLVMValueRef first = NULL;
  bool are_same = true;
  for (int pass = 0; pass < 2 && (!pass || !are_same); pass++)
    for (size_t i = from; i < to; i++)
      for (LLVMValueRef v = ends->list[i]; v; v = LLVMGetPreviousInstruction(v)) {
        if (!value_is_guest_store(v)) continue;
        if (!first) first = v;
        if (pass)
          value_set_add(&m->idle, v);
        else if (v != first)
          are_same &= place_of(m, IN_ROUNDS, LLVMGetOperand(v, 1), LLVMTypeOf(LLVMGetOperand(v, 0))).sum ==
                      place_of(m, IN_ROUNDS, LLVMGetOperand(first, 1), LLVMTypeOf(LLVMGetOperand(first, 0))).sum;
      }
}

static int compare_sums(const void *a, const void *b) {
  const uint64_t *p = a, *q = b;
  return (*p > *q) - (*p < *q);
}

static void mark_stored(struct marks *m, uint32_t n_stores) {
  free(m->stored);
  m->stored = heap_new((size_t)n_stores + 1, sizeof *m->stored);
  m->n_stored = 0;
  for (size_t i = 0; i < m->live.n; i++) {
    LLVMValueRef v = m->live.list[i];
    if (!value_is_guest_store(v)) continue;
    m->stored[m->n_stored++] = place_of(m, IN_INNERMOST, LLVMGetOperand(v, 1), LLVMTypeOf(LLVMGetOperand(v, 0))).sum;
  }
  qsort(m->stored, m->n_stored, sizeof *m->stored, compare_sums);
}

static bool may_be_stored(void *env, LLVMValueRef load) {
  struct marks *m = env;
  struct place p = place_of(m, IN_INNERMOST, LLVMGetOperand(load, 0), LLVMTypeOf(load));
  return p.is_vague || bsearch(&p.sum, m->stored, m->n_stored, sizeof p.sum, compare_sums);
}

/* Adds to `idle` the stores that LLVM may find dead: what they write may be overwritten, or was there before. Of a store that a
 * loop repeats at one address only the last counts, where no load between may read it. So it is with a global's, which no guest
 * load reads. First rounds are compared within a block, as loops may well write one after another to the same array. */
static void mark_idle(struct marks *m) {
  uint32_t n = 0, n_stores = 0;
  for (size_t i = 0; i < m->live.n; i++) n_stores += LLVMIsAStoreInst(m->live.list[i]) != NULL;
  struct place *places = heap_new(2 * (size_t)n_stores + 1, sizeof *places);
  for (size_t i = 0; i < m->live.n; i++) {
    LLVMValueRef store = m->live.list[i];
    if (!LLVMIsAStoreInst(store)) continue;
    bool is_global = !value_is_guest_access(store);
    if (is_global || !is_innermost(m, LLVMGetInstructionParent(store)) || is_idle(m, store) || is_fixed(m, store, 1))
      value_set_add(&m->idle, store);
    for (enum when when = ALWAYS; !is_global && when <= AT_FIRST; when++) {
      struct place *p = &places[n++];
      *p = place_of(m, when, LLVMGetOperand(store, 1), LLVMTypeOf(LLVMGetOperand(store, 0)));
      p->store = store;
      if (p->is_vague) value_set_add(&m->idle, store);
      if (when == AT_FIRST) p->sum ^= mix(LLVMGetInstructionParent(store));
    }
  }
  for (uint32_t i = 0; i < n && !m->steps_left; i++) value_set_add(&m->idle, places[i].store); /* not all is known of them */
  mark_overlaps(m, places, n);
  mark_overlaps_of_rounds(m, places);
  mark_stored(m, n_stores);
  free(places);
  for (size_t from = 0, l = 0; from < m->innermost.n; from = m->nest.ends[l++])
    if (hidden_is_short(m->innermost.list + from, m->nest.ends[l] - from))
      mark_overlaps_when_unrolled(m, &m->innermost, from, m->nest.ends[l]);
}

/* --- anchors --------------------------------------------------------------------------------------------------------- */

/* Whether control that is in `from` comes to `to` without a choice. */
static bool leads_to(LLVMBasicBlockRef from, LLVMBasicBlockRef to) {
  for (int i = 0; from != to; i++) {
    LLVMValueRef last = LLVMGetBasicBlockTerminator(from);
    if (i == MOST_BLOCKS || LLVMGetNumSuccessors(last) != 1) return false;
    from = LLVMGetSuccessor(last, 0);
  }
  return true;
}

/* Whether all guest loads that `v` is made of move with a counter of the block's loop: none reads again what it read before. */
static bool reads_ahead(struct marks *m, LLVMValueRef v, int depth) {
  if (!LLVMIsAInstruction(v) || LLVMIsAPHINode(v)) return true;
  if (value_is_guest_load(v)) return !is_fixed(m, v, 0);
  if (depth == MOST_DEPTH || !m->steps_left) return false;
  m->steps_left--;
  for (int i = 0, n = LLVMGetNumOperands(v); i < n; i++)
    if (!reads_ahead(m, LLVMGetOperand(v, (unsigned)i), depth + 1)) return false;
  return true;
}

/* Whether `v` is made of `phi` in a way that forgets nothing, however many rounds LLVM sees at once: what is shifted out, or
 * taken away from itself, was not needed. */
static bool keeps(struct marks *m, LLVMValueRef v, LLVMValueRef phi, int depth) {
  if (v == phi) return true;
  if (!LLVMIsAInstruction(v) || LLVMIsAPHINode(v) || depth == MOST_DEPTH || !m->steps_left) return false;
  m->steps_left--;
  int first = 0, end = LLVMGetNumOperands(v);
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMXor:
    if (!reads_ahead(m, v, 0)) return false;
    break;
  case LLVMSub: end = 1; break;
  case LLVMSelect: first = 1; break;
  case LLVMCall: end = LLVMIsAIntrinsicInst(v) ? (int)LLVMGetNumArgOperands(v) : 0; break;
  case LLVMMul:
  case LLVMAnd:
  case LLVMOr: end = LLVMIsConstant(LLVMGetOperand(v, 1)) ? 0 : end; break;
  case LLVMAdd:
  case LLVMFAdd:
  case LLVMFSub:
  case LLVMFMul:
  case LLVMFDiv:
  case LLVMFNeg:
  case LLVMFreeze:
  case LLVMBitCast: break;
  default: return false;
  }
  for (int i = first; i < end; i++)
    if (keeps(m, LLVMGetOperand(v, (unsigned)i), phi, depth + 1))
      return hidden_can_keep(&m->hidden, v, LLVMGetOperand(v, (unsigned)i));
  return false;
}

/* Whether the phi takes `v` round a loop to where the next value is made of it, like a sum: then all rounds need it. */
static bool is_accumulator(struct marks *m, LLVMValueRef phi, LLVMValueRef v) {
  if (!m->is_innermost || !value_set_has(&m->live, phi)) return false;
  for (unsigned i = 0; i < LLVMCountIncoming(phi); i++)
    if (LLVMGetIncomingValue(phi, i) == v && !leads_to(LLVMGetInstructionParent(v), LLVMGetIncomingBlock(phi, i))) return false;
  return keeps(m, v, phi, 0) && hidden_can_keep_round(&m->hidden, phi, v);
}

/* Whether the result may turn out not to depend on `v`, for what the other operands are. In innermost loops jit/access/hide.c
 * sees to that. */
static bool may_forget(const struct marks *m, LLVMValueRef user, LLVMValueRef v) {
  bool is_sum = false;
  switch (LLVMGetInstructionOpcode(user)) {
  case LLVMAdd:
  case LLVMSub:
  case LLVMXor: is_sum = true; break;
  case LLVMCall:
    if (!LLVMIsAIntrinsicInst(user)) return false;
    break;
  case LLVMMul:
  case LLVMOr:
  case LLVMShl:
  case LLVMLShr:
  case LLVMAShr:
  case LLVMUDiv:
  case LLVMSDiv:
  case LLVMURem:
  case LLVMSRem:
  case LLVMICmp:
  case LLVMFCmp:
  case LLVMSelect: break;
  default: return false;
  }
  int n = LLVMIsACallInst(user) ? (int)LLVMGetNumArgOperands(user) : LLVMGetNumOperands(user);
  for (int i = 0; i < n; i++) {
    LLVMValueRef w = LLVMGetOperand(user, (unsigned)i);
    if (w == v || LLVMIsConstant(w)) continue;
    if (!is_sum || (LLVMIsAInstruction(w) && value_set_has(&m->read, w))) return true;
  }
  return false;
}

/* Whether an effect in the value's own block depends on it; `anchored` holds the answer for all later instructions of the
 * block. */
static bool is_anchored(LLVMValueRef v, struct marks *m) {
  if (value_has_effect(v)) return !value_set_has(&m->idle, v);
  LLVMBasicBlockRef block = LLVMGetInstructionParent(v);
  for (LLVMUseRef use = LLVMGetFirstUse(v); use; use = LLVMGetNextUse(use)) {
    LLVMValueRef user = LLVMGetUser(use);
    if (LLVMGetInstructionOpcode(user) == LLVMPHI ? is_accumulator(m, user, v)
        : value_is_guest_load(user)               ? LLVMGetInstructionParent(user) == block
                                    : value_set_has(&m->anchored, user) && keeps_operands(user) && value_needs(user, v) &&
                                          (m->is_innermost ? hidden_can_keep(&m->hidden, user, v) : !may_forget(m, user, v)))
      return true;
  }
  return false;
}

static bool is_byte(LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v);
  return LLVMGetTypeKind(type) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(type) == 8;
}

/* Puts a freeze between a load and its uses. */
static void freeze(LLVMBuilderRef builder, LLVMValueRef load) {
  LLVMPositionBuilderBefore(builder, LLVMGetNextInstruction(load));
  LLVMValueRef frozen = LLVMBuildFreeze(builder, load, "");
  LLVMReplaceAllUsesWith(load, frozen);
  LLVMSetOperand(frozen, 0, load);
}

/* A volatile load of 64 bits at `load`'s address and `offset` on, in front of it. */
static LLVMValueRef load_half(LLVMBuilderRef builder, LLVMValueRef load, uint64_t offset) {
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(load));
  LLVMTypeRef i64 = LLVMInt64TypeInContext(context), i8 = LLVMInt8TypeInContext(context);
  unsigned tbaa = LLVMGetMDKindIDInContext(context, "tbaa", 4);
  LLVMValueRef at = LLVMConstInt(i64, offset, false);
  LLVMValueRef v = LLVMBuildLoad2(builder, i64, LLVMBuildGEP2(builder, i8, LLVMGetOperand(load, 0), &at, 1, ""), "");
  LLVMSetAlignment(v, VALUE_GUEST_ALIGNMENT);
  LLVMSetVolatile(v, true);
  if (LLVMGetMetadata(load, tbaa)) LLVMSetMetadata(v, tbaa, LLVMGetMetadata(load, tbaa));
  return v;
}

/* Loads the vector in two halves; returns the last instruction that stands in place of `load`. */
static LLVMValueRef load_in_halves(LLVMBuilderRef builder, LLVMValueRef load) {
  LLVMTypeRef type = LLVMTypeOf(load), i32 = LLVMInt32TypeInContext(LLVMGetTypeContext(type));
  LLVMValueRef v = LLVMGetPoison(type);
  LLVMPositionBuilderBefore(builder, load);
  for (unsigned i = 0; i < 2; i++)
    v = LLVMBuildInsertElement(builder, v, load_half(builder, load, 8 * i), LLVMConstInt(i32, i, false), "");
  LLVMReplaceAllUsesWith(load, v);
  LLVMInstructionEraseFromParent(load);
  return v;
}

/* What v128.load reads; other vector loads are of 64 bits, all of them needed. */
static bool is_v128(LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v);
  if (LLVMGetTypeKind(type) != LLVMVectorTypeKind || LLVMGetVectorSize(type) != 2) return false;
  LLVMTypeRef lane = LLVMGetElementType(type);
  return LLVMGetTypeKind(lane) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(lane) == 64;
}

void access_pin_vectors(LLVMModuleRef llvm_module) {
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(llvm_module));
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
        if (value_is_guest_load(v) && LLVMGetVolatile(v) && is_v128(v)) v = load_in_halves(builder, v);
  LLVMDisposeBuilder(builder);
}

static void mark_read(struct marks *m, LLVMBasicBlockRef block) {
  value_set_empty(&m->read);
  for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v)) {
    bool is_read = value_is_guest_load(v);
    for (int i = 0, n = LLVMIsAPHINode(v) ? 0 : LLVMGetNumOperands(v); i < n && !is_read; i++)
      is_read = LLVMIsAInstruction(LLVMGetOperand(v, (unsigned)i)) && value_set_has(&m->read, LLVMGetOperand(v, (unsigned)i));
    if (is_read) value_set_add(&m->read, v);
  }
}

static void relax_in_block(LLVMBuilderRef builder, LLVMBasicBlockRef block, struct marks *m) {
  value_set_empty(&m->anchored);
  mark_read(m, block);
  for (LLVMValueRef v = LLVMGetLastInstruction(block); v; v = LLVMGetPreviousInstruction(v)) {
    if (!value_set_has(&m->read, v) || !is_anchored(v, m)) continue;
    value_set_add(&m->anchored, v);
    if (!value_is_guest_load(v)) continue;
    bool is_whole = value_set_has(&m->whole, v) || is_byte(v);
    if (!is_whole && LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind) continue;
    LLVMSetVolatile(v, false);
    if (!is_whole) freeze(builder, v);
  }
}

static struct hidden_place place_in_rounds(void *env, LLVMValueRef load) {
  struct place p = place_of(env, IN_ROUNDS, LLVMGetOperand(load, 0), LLVMTypeOf(load));
  return (struct hidden_place){p.sum, p.offset, p.is_vague};
}

static enum hidden_relation relation(void *env, LLVMValueRef load, LLVMValueRef store) {
  struct place at[2][2];
  for (int i = 0; i < 2; i++) {
    enum when when = i ? IN_ROUNDS : AT_FIRST;
    at[i][0] = place_of(env, when, LLVMGetOperand(load, 0), LLVMTypeOf(load));
    at[i][1] = place_of(env, when, LLVMGetOperand(store, 1), LLVMTypeOf(LLVMGetOperand(store, 0)));
    if (at[i][0].is_vague || at[i][1].is_vague) return HIDDEN_SAME;
    if (at[i][0].sum == at[i][1].sum && at[i][0].offset < at[i][1].end && at[i][1].offset < at[i][0].end) return HIDDEN_SAME;
  }
  if (at[1][0].is_uneven || at[1][1].is_uneven || at[1][0].stride != at[1][1].stride) return HIDDEN_FAR;
  return at[1][0].sum == at[1][1].sum ? HIDDEN_APART : HIDDEN_OUTSIDE;
}

/* Adds to `idle` the stores of the loop at hand that LLVM may find to write what is there, or to be overwritten behind it. */
static void mark_idle_in_loop(struct marks *m, LLVMValueRef *ends, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (LLVMValueRef v = ends[i]; v; v = LLVMGetPreviousInstruction(v)) {
      if (!value_is_guest_store(v) || value_set_has(&m->idle, v)) continue;
      bool is_overwritten = m->hidden.is_short && !hidden_can_part(&m->hidden);
      if (is_overwritten || hidden_may_put_back(&m->hidden, v)) value_set_add(&m->idle, v);
    }
}

/* Innermost loops one after another, whose blocks stand together, behind all else: what stays volatile there is unknown to them.
 */
static void relax_in_function(LLVMBuilderRef builder, LLVMValueRef function, struct marks *m) {
  struct value_set *ends = &m->innermost;
  m->is_innermost = false;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(function); b; b = LLVMGetNextBasicBlock(b))
    if (!is_innermost(m, b)) relax_in_block(builder, b, m);
  m->is_innermost = true;
  hidden_enter_function(&m->hidden, function);
  for (size_t from = 0, l = 0; from < ends->n; from = m->nest.ends[l++]) {
    size_t to = m->nest.ends[l];
    hidden_enter(&m->hidden, ends->list + from, to - from);
    mark_idle_in_loop(m, ends->list + from, to - from);
    for (size_t i = from; i < to; i++) relax_in_block(builder, LLVMGetInstructionParent(ends->list[i]), m);
    hidden_leave(&m->hidden);
  }
}

void access_relax_loads(LLVMModuleRef llvm_module) {
  struct marks m = {.layout = LLVMGetModuleDataLayout(llvm_module)};
  struct value_set *sets[] = {&m.live, &m.whole, &m.idle,  &m.anchored,  &m.seen,
                              &m.ways, &m.rings, &m.lines, &m.innermost, &m.read};
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(llvm_module));
  m.hidden = (struct hidden){.builder = builder,
                             .layout = m.layout,
                             .steps_left = &m.steps_left,
                             .place_of = place_in_rounds,
                             .may_be_stored = may_be_stored,
                             .relation = relation,
                             .env = &m};
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f)) {
    if (!has_guest_loads(f)) continue;
    value_set_empty(&m.live);
    value_set_empty(&m.whole);
    value_set_empty(&m.idle);
    value_set_empty(&m.rings);
    value_set_empty(&m.lines);
    value_set_empty(&m.innermost);
    nest_find_innermost(f, &m.innermost, &m.nest);
    m.steps_left = MOST_STEPS_OF_FUNCTION;
    mark_live(f, &m.live);
    mark_idle(&m);
    mark_whole(&m.live, &m.whole);
    relax_in_function(builder, f, &m);
  }
  for (int i = 0; i < N_SETS; i++) value_set_free(sets[i]);
  hidden_free(&m.hidden);
  free(m.stored);
  nest_free(&m.nest);
  LLVMDisposeBuilder(builder);
}
