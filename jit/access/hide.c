/* Loops are compiled best with plain loads, but a plain load is gone when LLVM finds that nothing depends on it: it is multiplied
 * by what another loop left as 0, compared with a counter that begins at 0, or added to a sum that nobody wants. All of that LLVM
 * may learn late, when nobody looks any more.
 *
 * So what comes from outside and meets such a load in a loop goes through an empty piece of inline assembly in front of the
 * loop, of which LLVM knows nothing. A sum goes through one behind the loop, so that it is wanted. Neither costs an instruction.
 * What the loop makes itself, and not from what it reads, cannot be hidden: then the load stays volatile. */
#include "jit/access/hide.h"

#include "base/array.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum {
  MOST_DEPTH = HIDDEN_DEPTH,
  MOST_LOADS = 128,
  MOST_UNROLLED = 2000 /* instructions */,
  MOST_TRIED = 100 /* rounds */,
  MOST_TERMS = 64
};
#define READS_ALL 0x555 /* of the attribute `memory`: two bits for each kind of memory */

/* What LLVM may know of a value: constants were folded when the load was looked at. */
enum knowledge { CONSTANT, KNOWN, UNKNOWN };

static bool is_inside(const struct hidden *h, LLVMValueRef v) {
  return LLVMIsAInstruction(v) && value_set_has(&h->loop, LLVMGetBasicBlockTerminator(LLVMGetInstructionParent(v)));
}

/* The only block outside of the loop that leads into it, or NULL. */
static LLVMBasicBlockRef block_before(struct hidden *h) {
  LLVMBasicBlockRef found = NULL;
  for (size_t i = 0; i < h->loop.n; i++) {
    LLVMValueRef block = LLVMBasicBlockAsValue(LLVMGetInstructionParent(h->loop.list[i]));
    for (LLVMUseRef use = LLVMGetFirstUse(block); use; use = LLVMGetNextUse(use)) {
      LLVMBasicBlockRef from = LLVMGetInstructionParent(LLVMGetUser(use));
      if (value_set_has(&h->loop, LLVMGetBasicBlockTerminator(from)) || from == found) continue;
      if (found) return NULL;
      found = from;
    }
  }
  return found;
}

/* --- loops that are unrolled ------------------------------------------------------------------------------------------ */

static bool is_among(LLVMValueRef *ends, size_t n, LLVMBasicBlockRef block) {
  LLVMValueRef end = LLVMGetBasicBlockTerminator(block);
  for (size_t i = 0; i < n; i++)
    if (ends[i] == end) return true;
  return false;
}

/* What a phi takes from outside of the loop, if it is a constant. */
static LLVMValueRef constant_start(LLVMValueRef phi, LLVMValueRef *ends, size_t n) {
  for (unsigned i = 0; i < LLVMCountIncoming(phi); i++)
    if (LLVMIsAConstantInt(LLVMGetIncomingValue(phi, i)) && !is_among(ends, n, LLVMGetIncomingBlock(phi, i)))
      return LLVMGetIncomingValue(phi, i);
  return NULL;
}

/* Whether `v` follows from constants in each round; `*phi` is what it counts with. */
static bool is_computed(LLVMValueRef v, LLVMValueRef *ends, size_t n, LLVMValueRef *phi, int depth) {
  if (LLVMIsConstant(v)) return true;
  if (!LLVMIsAInstruction(v) || LLVMIsALoadInst(v) || depth == 4 || !is_among(ends, n, LLVMGetInstructionParent(v))) return false;
  if (LLVMIsAPHINode(v)) return (*phi = v) && constant_start(v, ends, n);
  int n_operands = LLVMIsACallInst(v) ? (int)LLVMGetNumArgOperands(v) : LLVMGetNumOperands(v);
  for (int i = 0; i < n_operands; i++)
    if (!is_computed(LLVMGetOperand(v, (unsigned)i), ends, n, phi, depth + 1)) return false;
  return true;
}

/* How often control goes round, or how often LLVM tries to follow. */
static uint64_t rounds_of(LLVMValueRef condition, LLVMValueRef phi, LLVMValueRef *ends, size_t n) {
  LLVMValueRef bound = LLVMIsAICmpInst(condition) ? LLVMGetOperand(condition, 1) : NULL;
  if (!bound || !LLVMIsAConstantInt(bound)) return MOST_TRIED;
  for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
    LLVMValueRef next = LLVMGetIncomingValue(phi, i);
    if (!value_is_addition(next) || LLVMGetOperand(next, 0) != phi || !LLVMIsAConstantInt(LLVMGetOperand(next, 1))) continue;
    int64_t step = LLVMConstIntGetSExtValue(LLVMGetOperand(next, 1)),
            way = LLVMConstIntGetSExtValue(bound) - LLVMConstIntGetSExtValue(constant_start(phi, ends, n));
    return step ? (uint64_t)llabs(way / step) + 1 : MOST_TRIED;
  }
  return MOST_TRIED;
}

bool hidden_is_short(LLVMValueRef *ends, size_t n) {
  uint64_t size = 0;
  for (size_t i = 0; i < n && size <= MOST_UNROLLED; i++)
    for (LLVMValueRef v = ends[i]; v && !LLVMIsAPHINode(v); v = LLVMGetPreviousInstruction(v)) size++;
  for (size_t i = 0; i < n && size <= MOST_UNROLLED; i++) {
    LLVMValueRef phi = NULL;
    if (!LLVMIsABranchInst(ends[i]) || !LLVMIsConditional(ends[i])) continue;
    LLVMValueRef condition = LLVMGetCondition(ends[i]);
    if (!is_computed(condition, ends, n, &phi, 0) || !phi) continue;
    uint64_t rounds = rounds_of(condition, phi, ends, n);
    if (rounds <= MOST_UNROLLED && rounds * size <= MOST_UNROLLED) return true;
  }
  return false;
}

/* --- the loop at hand ------------------------------------------------------------------------------------------------- */

/* Whether the bits are, or are a part of, a float's that is infinite or no number. */
static bool is_no_number(LLVMValueRef constant) {
  LLVMTypeRef type = LLVMTypeOf(constant);
  LLVMBool is_inexact;
  if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) {
    bool is = false;
    for (unsigned i = 0; i < LLVMGetVectorSize(type); i++) {
      LLVMValueRef lane = LLVMGetAggregateElement(constant, i);
      is |= !lane || is_no_number(lane);
    }
    return is;
  }
  if (LLVMIsAConstantFP(constant)) return !isfinite(LLVMConstRealGetDouble(constant, &is_inexact));
  if (!LLVMIsAConstantInt(constant)) return false;
  uint64_t bits = LLVMConstIntGetZExtValue(constant);
  bool is = false;
  for (int at = (int)LLVMGetIntTypeWidth(type) - 8; at >= 0; at -= 32) {
    uint64_t top = bits >> at & 0xff, below = at ? bits >> (at - 8) & 0xff : 0xff;
    is |= (top & 0x7f) == 0x7f && below >= 0x80; /* the exponent of an f32 is all ones, or that of an f64 */
  }
  return is;
}

void hidden_enter_function(struct hidden *h, LLVMValueRef function) {
  h->no_number_bits = 0;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(function); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (value_is_guest_store(v) && LLVMIsConstant(LLVMGetOperand(v, 0)) && is_no_number(LLVMGetOperand(v, 0))) {
        uint64_t bits = LLVMSizeOfTypeInBits(h->layout, LLVMTypeOf(LLVMGetOperand(v, 0)));
        if (bits > h->no_number_bits) h->no_number_bits = bits;
      }
}

void hidden_enter(struct hidden *h, LLVMValueRef *ends, size_t n) {
  value_set_empty(&h->loop);
  value_set_empty(&h->kept);
  value_set_empty(&h->bases);
  for (size_t i = 0; i < n; i++) value_set_add(&h->loop, ends[i]);
  h->n_uses = 0;
  h->before = block_before(h);
  h->is_short = hidden_is_short(ends, n);
  h->is_parted = false;
}

/* Whether one unknown operand makes the result unknown, whatever the others are. */
static bool mixes(LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMAdd:
  case LLVMSub:
  case LLVMXor:
  case LLVMFAdd:
  case LLVMFSub:
  case LLVMFMul:
  case LLVMFDiv: return true;
  default: return false;
  }
}

/* Whether `v` is made of what a volatile load reads: nobody knows that. */
static bool is_read_outside(LLVMValueRef v, int depth) {
  if (!LLVMIsAInstruction(v) || depth == 4) return false;
  if (value_is_guest_load(v)) return LLVMGetVolatile(v);
  if (LLVMIsACastInst(v) || LLVMIsAFreezeInst(v)) return is_read_outside(LLVMGetOperand(v, 0), depth + 1);
  return mixes(v) && (is_read_outside(LLVMGetOperand(v, 0), depth + 1) || is_read_outside(LLVMGetOperand(v, 1), depth + 1));
}

static bool remember(struct hidden *h, LLVMValueRef user, unsigned operand) {
  LLVMValueRef v = LLVMIsAPHINode(user) ? LLVMGetIncomingValue(user, operand) : LLVMGetOperand(user, operand);
  if (is_read_outside(v, 0)) return true;
  if (!h->before || !value_constraint(h->layout, LLVMTypeOf(v))) return false;
  if (h->n_uses == h->capacity) array_grow(h->uses, h->capacity, 16);
  h->uses[h->n_uses++] = (struct hidden_use){user, operand};
  return true;
}

static enum knowledge knowledge_of(struct hidden *h, LLVMValueRef v, int depth);

static enum knowledge knowledge_of_operand(struct hidden *h, LLVMValueRef user, unsigned operand, int depth) {
  LLVMValueRef v = LLVMIsAPHINode(user) ? LLVMGetIncomingValue(user, operand) : LLVMGetOperand(user, operand);
  if (LLVMIsConstant(v)) return CONSTANT;
  if (is_inside(h, v)) return knowledge_of(h, v, depth);
  return remember(h, user, operand) ? UNKNOWN : KNOWN;
}

/* A phi that is asked for again, on its way round the loop, says nothing new. */
static enum knowledge knowledge_of(struct hidden *h, LLVMValueRef v, int depth) {
  if (value_is_guest_load(v)) return h->is_short && h->may_be_stored(h->env, v) ? KNOWN : UNKNOWN;
  for (int i = 0; i < depth && LLVMIsAPHINode(v); i++)
    if (h->path[i] == v) return CONSTANT;
  bool is_call = LLVMIsACallInst(v) && !LLVMIsAIntrinsicInst(v);
  if (depth == MOST_DEPTH || !*h->steps_left || LLVMIsALoadInst(v) || is_call) return KNOWN;
  --*h->steps_left;
  h->path[depth] = v;
  bool is_mixed = mixes(v), is_known = false, is_unknown = false;
  unsigned n = LLVMIsAPHINode(v)    ? LLVMCountIncoming(v)
               : LLVMIsACallInst(v) ? LLVMGetNumArgOperands(v)
                                    : (unsigned)LLVMGetNumOperands(v);
  for (unsigned i = 0; i < n; i++) {
    enum knowledge k = knowledge_of_operand(h, v, i, depth + 1);
    is_known |= k == KNOWN;
    is_unknown |= k == UNKNOWN;
  }
  /* a phi that only counts is known, wherever it begins */
  if (LLVMIsAPHINode(v) && !is_known) is_known = !is_unknown;
  if (is_mixed && !h->is_strict) return is_unknown ? UNKNOWN : is_known ? KNOWN : CONSTANT;
  return is_known ? KNOWN : is_unknown ? UNKNOWN : CONSTANT;
}

/* --- what cancels ----------------------------------------------------------------------------------------------------- */

struct leaves {
  LLVMValueRef loads[MOST_LOADS];
  struct hidden_place places[MOST_LOADS];
  uint32_t n;
  bool is_vague, has_others; /* not all were looked at; more than constants is mixed in */
};

/* Sums may be long: values are on a list, not on the stack. */
static void add_leaves(struct hidden *h, struct leaves *l, LLVMValueRef v) {
  struct value_set *seen = &h->seen;
  value_set_empty(seen);
  value_set_add(seen, v);
  while (seen->at < seen->n) {
    LLVMValueRef at = seen->list[seen->at++];
    if (value_is_guest_load(at)) {
      if (l->n == MOST_LOADS || !*h->steps_left) {
        l->is_vague = true;
        return;
      }
      l->places[l->n] = h->place_of(h->env, at);
      l->loads[l->n++] = at;
      continue;
    }
    if (*h->steps_left) --*h->steps_left;
    int n = LLVMIsACallInst(at) ? (int)LLVMGetNumArgOperands(at) : LLVMGetNumOperands(at);
    for (int i = 0; i < n; i++) {
      LLVMValueRef w = LLVMGetOperand(at, (unsigned)i);
      bool is_made_here = is_inside(h, w) && !LLVMIsAPHINode(w);
      if (is_made_here) value_set_add(seen, w);
      l->has_others |= !is_made_here && !LLVMIsConstant(w);
    }
  }
}

/* Whether `v` and `w` may turn out to be made of the same, so that it goes out of their difference. */
static bool may_cancel(struct hidden *h, LLVMValueRef v, LLVMValueRef w) {
  struct leaves a = {.n = 0}, b = {.n = 0};
  if (!is_inside(h, v) || !is_inside(h, w) || LLVMIsAPHINode(v) || LLVMIsAPHINode(w)) return false;
  add_leaves(h, &b, w);
  if (!b.n) return false;
  add_leaves(h, &a, v);
  if (a.is_vague || b.is_vague) return true;
  for (uint32_t i = 0; i < a.n; i++)
    for (uint32_t k = 0; k < b.n; k++) {
      const struct hidden_place *p = &a.places[i], *q = &b.places[k];
      bool is_one = a.loads[i] == b.loads[k];
      if (is_one ? a.has_others || b.has_others : p->is_vague || q->is_vague || (p->sum == q->sum && p->offset == q->offset))
        return true;
    }
  return false;
}

/* --- questions -------------------------------------------------------------------------------------------------------- */

static bool is_float(LLVMValueRef v) {
  LLVMTypeKind kind = LLVMGetTypeKind(value_lane_type(LLVMTypeOf(v)));
  return kind == LLVMFloatTypeKind || kind == LLVMDoubleTypeKind;
}

/* Exponents: a float of this bound is less than 2 to its power. */
enum { ENDLESS = INT_MAX, MOST_OF_FLOAT = 127, MOST_OF_DOUBLE = 1023 };

static int bound_of_constant(LLVMValueRef constant) {
  LLVMBool is_inexact;
  int exponent = 0;
  if (LLVMGetTypeKind(LLVMTypeOf(constant)) == LLVMVectorTypeKind) {
    int most = INT_MIN;
    for (unsigned i = 0; i < LLVMGetVectorSize(LLVMTypeOf(constant)); i++) {
      LLVMValueRef lane = LLVMGetAggregateElement(constant, i);
      int bound = lane ? bound_of_constant(lane) : ENDLESS;
      if (bound > most) most = bound;
    }
    return most;
  }
  double number = LLVMIsAConstantFP(constant) ? LLVMConstRealGetDouble(constant, &is_inexact) : INFINITY;
  if (!isfinite(number)) return ENDLESS;
  frexp(number, &exponent);
  return exponent;
}

/* The quotient by one constant is less than 2 to the power of the dividend's bound and this. */
static int bound_of_divisor(LLVMValueRef v) {
  int bound = LLVMIsAConstantFP(v) && !LLVMIsNull(v) ? bound_of_constant(v) : ENDLESS;
  return bound == ENDLESS ? ENDLESS : 1 - bound;
}

static int bound_of(struct hidden *h, LLVMValueRef v, int depth);

static int bound_of_operation(struct hidden *h, LLVMValueRef v, int depth) {
  LLVMOpcode op = LLVMGetInstructionOpcode(v);
  int a = bound_of(h, LLVMGetOperand(v, 0), depth + 1);
  int b = op == LLVMFDiv ? bound_of_divisor(LLVMGetOperand(v, 1)) : bound_of(h, LLVMGetOperand(v, 1), depth + 1);
  if (a == ENDLESS || b == ENDLESS) return ENDLESS;
  return op == LLVMFMul || op == LLVMFDiv ? a + b : (a > b ? a : b) + 1;
}

/* ENDLESS when it goes round the loop: it may grow in each round. */
static int bound_of_phi(struct hidden *h, LLVMValueRef phi, int depth) {
  int most = 0;
  for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
    int bound = bound_of(h, LLVMGetIncomingValue(phi, i), depth + 1);
    if (bound > most) most = bound;
  }
  return most;
}

static int bound_of_made(struct hidden *h, LLVMValueRef v, int depth) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMSIToFP:
  case LLVMUIToFP: return (int)LLVMGetIntTypeWidth(value_lane_type(LLVMTypeOf(LLVMGetOperand(v, 0))));
  case LLVMFPExt:
  case LLVMFPTrunc:
  case LLVMFNeg:
  case LLVMExtractElement:
  case LLVMShuffleVector: return bound_of(h, LLVMGetOperand(v, 0), depth + 1);
  case LLVMInsertElement: return bound_of(h, LLVMGetOperand(v, 1), depth + 1); /* into nothing, to fill a vector with it */
  case LLVMFAdd:
  case LLVMFSub:
  case LLVMFMul:
  case LLVMFDiv: return bound_of_operation(h, v, depth);
  case LLVMPHI: return bound_of_phi(h, v, depth);
  default: return ENDLESS;
  }
}

/* How many bits the smallest of the loads has whose bits `v` is made of, UINT64_MAX: none; 0: it is made of something else, too.
 */
static uint64_t bits_of_loads(const struct hidden *h, LLVMValueRef v, int depth) {
  enum { MOST_MOVES = 4 };
  while (LLVMIsABitCastInst(v) || LLVMIsAFreezeInst(v)) v = LLVMGetOperand(v, 0);
  bool is_phi = LLVMIsAPHINode(v) != NULL;
  if (value_is_guest_load(v)) return LLVMSizeOfTypeInBits(h->layout, LLVMTypeOf(v));
  if (LLVMIsAPoisonValue(v)) return UINT64_MAX;
  bool is_moved = LLVMIsAShuffleVectorInst(v) || LLVMIsAInsertElementInst(v);
  if (depth == MOST_MOVES || !(is_phi || is_moved)) return 0;
  uint64_t least = UINT64_MAX;
  for (unsigned i = 0, n = is_phi ? LLVMCountIncoming(v) : 2; i < n; i++) {
    uint64_t bits = bits_of_loads(h, is_phi ? LLVMGetIncomingValue(v, i) : LLVMGetOperand(v, i), depth + 1);
    if (bits < least) least = bits;
  }
  return least;
}

/* The bound of a float that is made of counters and constants alone; ENDLESS: it may be no number. What is read may be what the
 * function stored before; that it is finite and grows too large then is left out. */
static int bound_of(struct hidden *h, LLVMValueRef v, int depth) {
  if (LLVMIsConstant(v)) return bound_of_constant(v);
  uint64_t bits = bits_of_loads(h, v, 0);
  if (bits) return bits > h->no_number_bits ? 0 : ENDLESS;
  if (!is_inside(h, v)) return ENDLESS;
  for (int i = 0; i < depth; i++)
    if (h->path[i] == v) return ENDLESS;
  if (depth == MOST_DEPTH || !*h->steps_left) return ENDLESS;
  --*h->steps_left;
  h->path[depth] = v;
  int bound = bound_of_made(h, v, depth);
  bool is_double = LLVMGetTypeKind(value_lane_type(LLVMTypeOf(v))) == LLVMDoubleTypeKind;
  return bound > (is_double ? MOST_OF_DOUBLE : MOST_OF_FLOAT) ? ENDLESS : bound;
}

static bool is_number(struct hidden *h, LLVMValueRef v) { return bound_of(h, v, 0) != ENDLESS; }

/* Whether `v` is what memory holds as a float, or is made of that: it may be a NaN or infinite. An integer made a float is not.
 */
static bool may_be_no_number(const struct hidden *h, LLVMValueRef v, int depth) {
  if (!LLVMIsAInstruction(v) || !is_float(v) || depth == MOST_DEPTH) return false;
  if (bits_of_loads(h, v, 0)) return true;
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMFNeg:
  case LLVMFPExt:
  case LLVMFPTrunc:
  case LLVMFreeze:
  case LLVMExtractElement:
  case LLVMShuffleVector: return may_be_no_number(h, LLVMGetOperand(v, 0), depth + 1);
  case LLVMFAdd:
  case LLVMFSub:
  case LLVMFMul:
  case LLVMFDiv:
    return may_be_no_number(h, LLVMGetOperand(v, 0), depth + 1) || may_be_no_number(h, LLVMGetOperand(v, 1), depth + 1);
  case LLVMCall: return LLVMIsAIntrinsicInst(v) && may_be_no_number(h, LLVMGetOperand(v, 0), depth + 1);
  default: return false;
  }
}

/* Whether the result depends on the float `v`, whatever number the float `w` is: 0 times an integer is 0, and some comparisons
 * are true for all numbers. */
static bool outlasts(struct hidden *h, LLVMValueRef user, LLVMValueRef v, LLVMValueRef w) {
  LLVMOpcode op = LLVMGetInstructionOpcode(user);
  if (op == LLVMFCmp || !is_float(w)) return false;
  bool is_for_any = op == LLVMFAdd || op == LLVMFSub || op == LLVMSelect;
  return (is_for_any || may_be_no_number(h, v, 0)) && is_number(h, w);
}

/* Whether a counter is added to what `v` is made of, so that bits of `v` may be known once its worth is. Terms from outside are
 * remembered. */
static bool has_known_terms(struct hidden *h, LLVMValueRef v) {
  struct value_set *seen = &h->seen;
  value_set_empty(seen);
  value_set_add(seen, v);
  while (seen->at < seen->n && seen->at < MOST_TERMS) {
    LLVMValueRef at = seen->list[seen->at++];
    if (value_is_guest_load(at)) continue;
    int n = LLVMIsACallInst(at) ? (int)LLVMGetNumArgOperands(at) : LLVMGetNumOperands(at);
    for (int i = 0; i < n; i++) {
      LLVMValueRef w = LLVMGetOperand(at, (unsigned)i);
      if (is_inside(h, w) && !LLVMIsAPHINode(w))
        value_set_add(seen, w);
      else if (knowledge_of_operand(h, at, (unsigned)i, 0) == KNOWN)
        return true;
    }
  }
  return false;
}

static bool is_cast_or_outside(struct hidden *h, LLVMValueRef v) {
  return LLVMIsConstant(v) || !is_inside(h, v) || LLVMIsACastInst(v);
}

/* Whether `user` compares sums of integers that were made floats: LLVM makes them integers again, whose bounds it knows. */
static bool compares_integers(struct hidden *h, LLVMValueRef user) {
  if (LLVMGetInstructionOpcode(user) != LLVMFCmp) return false;
  LLVMValueRef a = LLVMGetOperand(user, 0), b = LLVMGetOperand(user, 1);
  if (may_be_no_number(h, a, 0) || may_be_no_number(h, b, 0)) return false;
  return !is_cast_or_outside(h, a) || !is_cast_or_outside(h, b);
}

/* Whether bounds of operands may be enough for the result. */
static bool asks_for_bounds(LLVMValueRef user) {
  switch (LLVMGetInstructionOpcode(user)) {
  case LLVMICmp:
  case LLVMCall:
  case LLVMUDiv:
  case LLVMSDiv:
  case LLVMURem:
  case LLVMSRem:
  case LLVMShl:
  case LLVMLShr:
  case LLVMAShr:
  case LLVMAnd:
  case LLVMOr: return true;
  default: return false;
  }
}

/* Whether operands of `user` other than numbers to add, and those of floats that are no NaN, may make `v` needless. A sum of what
 * is read, which has bounds, and of what turns out to be a constant has bounds, too. */
static bool others_are_unknown(struct hidden *h, LLVMValueRef user, LLVMValueRef v) {
  bool is_sum = mixes(user) && !is_float(user);
  if (compares_integers(h, user)) return false;
  h->is_strict = asks_for_bounds(user);
  if (h->is_strict && is_inside(h, v) && has_known_terms(h, v)) return false;
  unsigned n = LLVMIsACallInst(user) ? LLVMGetNumArgOperands(user) : (unsigned)LLVMGetNumOperands(user);
  for (unsigned i = 0; i < n; i++) {
    LLVMValueRef w = LLVMGetOperand(user, i);
    if (w == v) continue;
    if (!is_float(w) && may_cancel(h, v, w)) return false;
    if (is_sum) continue;
    if (knowledge_of_operand(h, user, i, 0) == KNOWN && !outlasts(h, user, v, w)) return false;
  }
  return true;
}

bool hidden_can_keep(struct hidden *h, LLVMValueRef user, LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(user)) {
  case LLVMStore:
  case LLVMRet:
  case LLVMGetElementPtr:
  case LLVMInsertElement:
  case LLVMExtractElement:
  case LLVMShuffleVector: return true;
  case LLVMCall:
    if (!LLVMIsAIntrinsicInst(user)) return true;
    break;
  default:
    if (LLVMGetNumOperands(user) == 1) return true;
  }
  size_t n = h->n_uses;
  bool is_kept = others_are_unknown(h, user, v);
  h->is_strict = false;
  if (!is_kept) h->n_uses = n;
  return is_kept;
}

/* Whether something can be put on every way out of the loop. */
static bool can_leave(struct hidden *h) {
  for (size_t i = 0; i < h->loop.n; i++)
    if (!LLVMIsABranchInst(h->loop.list[i]) && !LLVMIsAUnreachableInst(h->loop.list[i])) return false;
  return true;
}

bool hidden_can_keep_round(struct hidden *h, LLVMValueRef phi, LLVMValueRef v) {
  size_t n = h->n_uses;
  if (!is_inside(h, phi) || !is_inside(h, v) || !value_constraint(h->layout, LLVMTypeOf(v)) || !can_leave(h)) return false;
  bool is_of_header = false;
  for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) is_of_header |= LLVMGetIncomingBlock(phi, i) == h->before;
  if (!is_of_header) return false;
  for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
    LLVMValueRef start = LLVMGetIncomingValue(phi, i);
    if (is_inside(h, start) || (LLVMIsConstant(start) && mixes(v))) continue; /* 0 stays 0 when it is rotated */
    if (!remember(h, phi, i)) {
      h->n_uses = n;
      return false;
    }
  }
  value_set_add(&h->kept, phi);
  return true;
}

/* --- stores that put back what was read ------------------------------------------------------------------------------- */

/* Whether counters make `v` in a way that may come to nothing: a mask, a shift, a comparison. */
static bool is_bent(struct hidden *h, LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMPHI:
  case LLVMGetElementPtr:
  case LLVMAdd:
  case LLVMSub:
  case LLVMZExt:
  case LLVMLoad: return false;
  case LLVMShl:
  case LLVMMul:
    if (LLVMIsConstant(LLVMGetOperand(v, 1))) return false;
    break;
  default: break;
  }
  return knowledge_of(h, v, 0) == KNOWN;
}

/* Remembers what comes into the loop to be part of the address; false: some of it cannot be hidden. Changes `bent` by each value
 * of which LLVM may find out what it is. */
static bool remember_bases(struct hidden *h, LLVMValueRef address, uint64_t *bent) {
  struct value_set *seen = &h->seen;
  value_set_empty(seen);
  value_set_add(seen, address);
  while (seen->at < seen->n) {
    LLVMValueRef v = seen->list[seen->at++];
    unsigned n = LLVMIsAPHINode(v) ? LLVMCountIncoming(v) : (unsigned)LLVMGetNumOperands(v);
    bool is_outside = !is_inside(h, v);
    if (is_outside && LLVMGetTypeKind(LLVMTypeOf(v)) != LLVMPointerTypeKind) {
      if (is_read_outside(v, 0)) continue;
      if (!h->before || !value_constraint(h->layout, LLVMTypeOf(v))) return false;
      value_set_add(&h->bases, v);
    }
    if (is_outside || LLVMIsALoadInst(v)) continue;
    if (!*h->steps_left) return false;
    --*h->steps_left;
    if (is_bent(h, v)) *bent ^= (uintptr_t)v;
    for (unsigned i = 0; i < n; i++) value_set_add(seen, LLVMIsAPHINode(v) ? LLVMGetIncomingValue(v, i) : LLVMGetOperand(v, i));
  }
  return true;
}

static bool may_be_same_place(struct hidden *h, LLVMValueRef load, LLVMValueRef store) {
  enum hidden_relation relation = h->relation(h->env, load, store);
  if (relation == HIDDEN_SAME || (relation == HIDDEN_FAR && h->is_short)) return true;
  if (relation == HIDDEN_APART) return false;
  uint64_t bent = 0;
  if (!remember_bases(h, LLVMGetOperand(load, 0), &bent) || !remember_bases(h, LLVMGetOperand(store, 1), &bent)) return true;
  return relation == HIDDEN_OUTSIDE && bent;
}

/* Whether `v` may turn out to be no more than what is read where `store` writes. Where more is needed for it than numbers that
 * are 0, hidden_can_keep sees to it. */
static bool may_be_read_there(struct hidden *h, LLVMValueRef v, LLVMValueRef store, int depth) {
  if (!is_inside(h, v) || LLVMIsAPHINode(v) || LLVMIsACallInst(v)) return false;
  if (value_is_guest_load(v)) return may_be_same_place(h, v, store);
  if (depth == MOST_DEPTH || !*h->steps_left) return true;
  --*h->steps_left;
  if (LLVMIsACastInst(v) || LLVMIsAFreezeInst(v)) return may_be_read_there(h, LLVMGetOperand(v, 0), store, depth + 1);
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMShl: return LLVMIsConstant(LLVMGetOperand(v, 1)) && may_be_read_there(h, LLVMGetOperand(v, 0), store, depth + 1);
  case LLVMAdd:
  case LLVMSub:
  case LLVMXor:
  case LLVMOr: break;
  default: return false;
  }
  bool is_read[2];
  for (unsigned i = 0; i < 2; i++) is_read[i] = may_be_read_there(h, LLVMGetOperand(v, i), store, depth + 1);
  if (is_read[0] && is_read[1]) return true;
  for (unsigned i = 0; i < 2; i++)
    if (is_read[i] && knowledge_of_operand(h, v, 1 - i, 0) == KNOWN) return true;
  return false;
}

bool hidden_may_put_back(struct hidden *h, LLVMValueRef store) {
  return may_be_read_there(h, LLVMGetOperand(store, 0), store, 0);
}

bool hidden_can_part(struct hidden *h) {
  h->is_parted = h->is_short && can_leave(h);
  return h->is_parted;
}

/* --- hiding ----------------------------------------------------------------------------------------------------------- */

static void hide(struct hidden *h, const struct hidden_use *use) {
  bool is_phi = LLVMIsAPHINode(use->user) != NULL;
  LLVMValueRef v = is_phi ? LLVMGetIncomingValue(use->user, use->operand) : LLVMGetOperand(use->user, use->operand);
  if (value_is_hidden(v)) return; /* by another question */
  LLVMPositionBuilderBefore(h->builder, LLVMGetBasicBlockTerminator(h->before));
  LLVMSetOperand(use->user, use->operand, value_hide(h->builder, h->layout, v));
}

static LLVMBasicBlockRef only_predecessor(LLVMBasicBlockRef block) {
  LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(block));
  return use && !LLVMGetNextUse(use) ? LLVMGetInstructionParent(LLVMGetUser(use)) : NULL;
}

/* Makes phis of `to` take from `by` what they took from `from`. */
static void redirect_phis(struct hidden *h, LLVMBasicBlockRef to, LLVMBasicBlockRef from, LLVMBasicBlockRef by) {
  for (LLVMValueRef phi = LLVMGetFirstInstruction(to), next; phi && LLVMIsAPHINode(phi); phi = next) {
    next = LLVMGetNextInstruction(phi);
    LLVMPositionBuilderBefore(h->builder, phi);
    LLVMValueRef other = LLVMBuildPhi(h->builder, LLVMTypeOf(phi), "");
    for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
      LLVMValueRef v = LLVMGetIncomingValue(phi, i);
      LLVMBasicBlockRef block = LLVMGetIncomingBlock(phi, i);
      if (block == from) block = by;
      LLVMAddIncoming(other, &v, &block, 1);
    }
    LLVMReplaceAllUsesWith(phi, other);
    LLVMInstructionEraseFromParent(phi);
  }
}

/* A block on the way out of the loop by the `i`th successor of `end`. */
static LLVMBasicBlockRef block_behind(struct hidden *h, LLVMValueRef end, unsigned i) {
  LLVMBasicBlockRef from = LLVMGetInstructionParent(end), to = LLVMGetSuccessor(end, i);
  if (only_predecessor(to) == from) return to;
  LLVMValueRef function = LLVMGetBasicBlockParent(from);
  LLVMBasicBlockRef block = LLVMAppendBasicBlockInContext(LLVMGetTypeContext(LLVMTypeOf(function)), function, "");
  LLVMMoveBasicBlockAfter(block, from);
  LLVMPositionBuilderAtEnd(h->builder, block);
  LLVMBuildBr(h->builder, to);
  LLVMSetSuccessor(end, i, block);
  redirect_phis(h, to, from, block);
  return block;
}

static void want(struct hidden *h, LLVMBasicBlockRef block, LLVMValueRef v) {
  LLVMValueRef at = LLVMGetFirstInstruction(block);
  while (LLVMIsAPHINode(at)) at = LLVMGetNextInstruction(at);
  LLVMPositionBuilderBefore(h->builder, at);
  value_hide(h->builder, h->layout, v);
}

/* What the phi takes round from the block of `end`, or itself: on the way out of there it has not been taken yet. */
static LLVMValueRef value_at(LLVMValueRef phi, LLVMValueRef end) {
  for (unsigned i = 0; i < LLVMCountIncoming(phi); i++)
    if (LLVMGetIncomingBlock(phi, i) == LLVMGetInstructionParent(end)) return LLVMGetIncomingValue(phi, i);
  return phi;
}

/* Puts `by` in place of `v` in the loop. */
static void replace_inside(struct hidden *h, LLVMValueRef v, LLVMValueRef by) {
  struct value_set *users = &h->seen;
  value_set_empty(users);
  for (LLVMUseRef use = LLVMGetFirstUse(v); use; use = LLVMGetNextUse(use))
    if (is_inside(h, LLVMGetUser(use))) value_set_add(users, LLVMGetUser(use));
  for (size_t k = 0; k < users->n; k++) {
    LLVMValueRef user = users->list[k];
    bool is_phi = LLVMIsAPHINode(user) != NULL;
    unsigned n = is_phi ? LLVMCountIncoming(user) : (unsigned)LLVMGetNumOperands(user);
    for (unsigned i = 0; i < n; i++)
      if (LLVMGetOperand(user, i) == v && (!is_phi || LLVMGetIncomingBlock(user, i) == h->before)) LLVMSetOperand(user, i, by);
  }
}

static void hide_bases(struct hidden *h) {
  for (size_t i = 0; i < h->bases.n; i++) {
    LLVMPositionBuilderBefore(h->builder, LLVMGetBasicBlockTerminator(h->before));
    replace_inside(h, h->bases.list[i], value_hide(h->builder, h->layout, h->bases.list[i]));
  }
}

/* What reads all memory, to LLVM, and is nothing. */
static void part(struct hidden *h, LLVMBasicBlockRef block) {
  LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(LLVMGetBasicBlockParent(block)));
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), NULL, 0, false);
  LLVMValueRef at = LLVMGetFirstInstruction(block);
  while (LLVMIsAPHINode(at)) at = LLVMGetNextInstruction(at);
  LLVMPositionBuilderBefore(h->builder, at);
  LLVMValueRef call = LLVMBuildCall2(
      h->builder, type, LLVMGetInlineAsm(type, "", 0, "", 0, true, false, LLVMInlineAsmDialectATT, false), NULL, 0, "");
  unsigned memory = LLVMGetEnumAttributeKindForName("memory", 6), nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
  LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context, memory, READS_ALL));
  LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context, nounwind, 0));
}

void hidden_leave(struct hidden *h) {
  for (size_t i = 0; i < h->n_uses; i++) hide(h, &h->uses[i]);
  hide_bases(h);
  for (size_t i = 0; i < h->loop.n && (h->kept.n || h->is_parted); i++) {
    LLVMValueRef end = h->loop.list[i];
    for (unsigned k = 0; k < LLVMGetNumSuccessors(end); k++) {
      if (value_set_has(&h->loop, LLVMGetBasicBlockTerminator(LLVMGetSuccessor(end, k)))) continue;
      LLVMBasicBlockRef behind = block_behind(h, end, k);
      for (size_t p = 0; p < h->kept.n; p++) want(h, behind, value_at(h->kept.list[p], end));
      if (h->is_parted) part(h, behind);
    }
  }
}

void hidden_free(struct hidden *h) {
  value_set_free(&h->loop);
  value_set_free(&h->kept);
  value_set_free(&h->seen);
  value_set_free(&h->bases);
  free(h->uses);
}
