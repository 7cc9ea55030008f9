/* Loops that the producer has unrolled, rolled again.
 *
 * clang unrolls loops when it makes Wasm, and then LLVM cannot vectorise them well: it would have to gather what lies side by
 * side. A loop whose body does the same U times, on neighbours,
 *
 *   loop: c[i] += a * b[i]; c[i + 1] += a * b[i + 1]; i += 2; if (i != n) goto loop
 *
 * becomes the loop of its first part with counters that take a U-th of the steps. The accesses and their order are the same, as
 * indices are sums and multiples of counters, and do not wrap within a round (jit/access/join_offsets.c). So is the number of
 * rounds if the counter meets the bound where it did before, behind a whole number of old rounds: that follows from constants,
 * from low bits that are 0, or the gas pass has seen to it (instrument/meter/loop.c). Gas is paid outside of such loops.
 *
 * Two instructions do the same if everything that they carry is the same (is_alike): LLVM's own text of them decides, so that no
 * mask, predicate, flag or index can be forgotten, now or with a later LLVM. Their operands are compared pair by pair.
 *
 * Recognised are loops of one block, or of a header with nothing but phis and one block, whose phis are counters and that store.
 * Run after access_join_offsets, which writes neighbours' addresses as a common index and different offsets. */
#include "jit/access/access.h"
#include "frontend/lower/values.h"
#include "instrument/meter/meter.h"

#include <string.h>

enum { MOST_BODY = 256, MOST_COUNTERS = 8, MOST_ACCESSES = 128, MOST_DEPTH = 10, MOST_GROWTH = 1 << 15, MOST_PAIRS = 512 };

struct counter {
  LLVMValueRef phi, next;
  int64_t step;
};

struct unrolled {
  LLVMBasicBlockRef header, body;
  struct counter counters[MOST_COUNTERS];
  uint32_t n_counters;
  LLVMValueRef accesses[MOST_ACCESSES]; /* loads and stores, in order */
  uint32_t n_accesses, n_stores;
  uint32_t n_parts;
};

static bool is_inside(const struct unrolled *u, LLVMValueRef v) {
  if (!LLVMIsAInstruction(v)) return false;
  LLVMBasicBlockRef block = LLVMGetInstructionParent(v);
  return block == u->header || block == u->body;
}

/* Of the vmctx. */
static bool is_constant_load(LLVMValueRef v) {
  static const char name[] = "invariant.load";
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(v));
  return LLVMIsALoadInst(v) && LLVMGetMetadata(v, LLVMGetMDKindIDInContext(context, name, sizeof name - 1));
}

static const struct counter *find_counter(const struct unrolled *u, LLVMValueRef phi) {
  for (uint32_t i = 0; i < u->n_counters; i++)
    if (u->counters[i].phi == phi) return &u->counters[i];
  return NULL;
}

static bool is_only_way(LLVMValueRef terminator, LLVMBasicBlockRef to) {
  for (LLVMUseRef use = LLVMGetFirstUse(LLVMBasicBlockAsValue(to)); use; use = LLVMGetNextUse(use))
    if (LLVMGetUser(use) != terminator) return false;
  return true;
}

/* The latch of a loop that begins with `header`, if it has such a form. */
static bool find_body(struct unrolled *u, LLVMBasicBlockRef header) {
  LLVMValueRef first = LLVMGetFirstInstruction(header), terminator = LLVMGetBasicBlockTerminator(header);
  if (!LLVMIsAPHINode(first)) return false;
  *u = (struct unrolled){.header = header, .body = header};
  if (LLVMGetNumSuccessors(terminator) == 1) {
    for (LLVMValueRef v = first; v != terminator; v = LLVMGetNextInstruction(v))
      if (!LLVMIsAPHINode(v)) return false;
    u->body = LLVMGetSuccessor(terminator, 0);
    if (!is_only_way(terminator, u->body)) return false; /* a loop of its own, which counts nothing */
    terminator = LLVMGetBasicBlockTerminator(u->body);
    if (LLVMIsAPHINode(LLVMGetFirstInstruction(u->body))) return false;
  }
  if (!LLVMIsABranchInst(terminator) || LLVMGetNumSuccessors(terminator) != 2) return false;
  return LLVMGetSuccessor(terminator, 0) == header || LLVMGetSuccessor(terminator, 1) == header;
}

/* All phis are counters with two sources; what uses them outside is their next value, which ends the same. */
static bool find_counters(struct unrolled *u) {
  for (LLVMValueRef v = LLVMGetFirstInstruction(u->header); LLVMIsAPHINode(v); v = LLVMGetNextInstruction(v)) {
    if (u->n_counters == MOST_COUNTERS || LLVMCountIncoming(v) != 2) return false;
    if (LLVMGetTypeKind(LLVMTypeOf(v)) != LLVMIntegerTypeKind || LLVMGetIntTypeWidth(LLVMTypeOf(v)) > 64) return false;
    LLVMValueRef next = LLVMGetIncomingValue(v, LLVMGetIncomingBlock(v, 0) == u->body ? 0 : 1);
    if (!is_inside(u, next) || LLVMGetInstructionOpcode(next) != LLVMAdd || LLVMGetOperand(next, 0) != v) return false;
    if (!LLVMIsAConstantInt(LLVMGetOperand(next, 1))) return false;
    u->counters[u->n_counters++] = (struct counter){v, next, LLVMConstIntGetSExtValue(LLVMGetOperand(next, 1))};
  }
  return u->n_counters > 0;
}

/* An intrinsic that computes, and nothing else. */
static bool is_pure_call(LLVMValueRef v) {
  static const char name[] = "memory";
  if (!LLVMIsAIntrinsicInst(v)) return false;
  unsigned kind = LLVMGetEnumAttributeKindForName(name, sizeof name - 1);
  LLVMAttributeRef memory = LLVMGetEnumAttributeAtIndex(LLVMGetCalledValue(v), LLVMAttributeFunctionIndex, kind);
  return memory && LLVMGetEnumAttributeValue(memory) == 0;
}

/* Whether it has no effect but its result. */
static bool only_computes(LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMCall: return is_pure_call(v);
  case LLVMFence:
  case LLVMAtomicCmpXchg:
  case LLVMAtomicRMW:
  case LLVMVAArg:
  case LLVMAlloca: return false;
  default: return true;
  }
}

static bool find_accesses(struct unrolled *u) {
  uint32_t n = 0;
  for (LLVMValueRef v = LLVMGetFirstInstruction(u->body); v; v = LLVMGetNextInstruction(v)) {
    LLVMOpcode op = LLVMGetInstructionOpcode(v);
    if (++n > MOST_BODY || !only_computes(v)) return false;
    if ((op != LLVMLoad && op != LLVMStore) || is_constant_load(v)) continue;
    if (u->n_accesses == MOST_ACCESSES || LLVMGetVolatile(v) || !value_is_guest_access(v)) return false;
    u->accesses[u->n_accesses++] = v;
    u->n_stores += op == LLVMStore;
  }
  return u->n_stores > 1;
}

/* --- what changes how ------------------------------------------------------------------------------------------------- */

/* By how much an i32 grows in a round; false where that is no constant. */
static bool growth(const struct unrolled *u, LLVMValueRef v, int64_t *out, int depth) {
  int64_t a, b;
  *out = 0;
  if (!is_inside(u, v)) return true;
  const struct counter *counter = find_counter(u, v);
  if (counter) {
    *out = counter->step;
    return true;
  }
  if (depth == MOST_DEPTH) return false;
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMAdd:
  case LLVMSub:
    if (!growth(u, LLVMGetOperand(v, 0), &a, depth + 1) || !growth(u, LLVMGetOperand(v, 1), &b, depth + 1)) return false;
    *out = LLVMGetInstructionOpcode(v) == LLVMAdd ? a + b : a - b;
    break;
  case LLVMShl:
  case LLVMMul:
    if (!LLVMIsAConstantInt(LLVMGetOperand(v, 1)) || !growth(u, LLVMGetOperand(v, 0), &a, depth + 1)) return false;
    b = LLVMConstIntGetSExtValue(LLVMGetOperand(v, 1));
    if (LLVMGetInstructionOpcode(v) == LLVMShl && (b < 0 || b > 30)) return false;
    if (LLVMGetInstructionOpcode(v) == LLVMShl) b = INT64_C(1) << b;
    *out = a * b;
    break;
  default: return false;
  }
  return *out >= INT32_MIN && *out <= INT32_MAX;
}

/* base + zext(index) + offset */
struct place {
  LLVMValueRef base, index;
  int64_t offset;
};

/* Of an i32, like every index. */
static bool is_extended(LLVMValueRef v) {
  LLVMTypeRef from = LLVMIsAZExtInst(v) ? LLVMTypeOf(LLVMGetOperand(v, 0)) : NULL;
  return from && LLVMGetTypeKind(from) == LLVMIntegerTypeKind && LLVMGetIntTypeWidth(from) == 32;
}

static struct place place_of(LLVMValueRef access) {
  LLVMValueRef at = LLVMGetOperand(access, LLVMGetInstructionOpcode(access) == LLVMStore ? 1 : 0);
  struct place p = {.base = at};
  if (value_is_byte_gep(at) && LLVMIsAConstantInt(LLVMGetOperand(at, 1))) {
    p.offset = LLVMConstIntGetSExtValue(LLVMGetOperand(at, 1));
    p.base = at = LLVMGetOperand(at, 0);
  }
  if (value_is_byte_gep(at) && is_extended(LLVMGetOperand(at, 1))) {
    p.base = LLVMGetOperand(at, 0);
    p.index = LLVMGetOperand(LLVMGetOperand(at, 1), 0);
  }
  return p;
}

/* Whether part `part` reads or writes what the first part would in its place, `part` rounds later. */
static bool is_neighbour(const struct unrolled *u, LLVMValueRef first, LLVMValueRef other, uint32_t part) {
  struct place a = place_of(first), b = place_of(other);
  int64_t grows = 0;
  if (a.base != b.base || a.index != b.index || (is_inside(u, a.base) && !is_constant_load(a.base))) return false;
  if (a.offset < 0) return false; /* the last page of indices would not trap */
  if (!a.index || !growth(u, a.index, &grows, 0) || grows < 0 || grows > MOST_GROWTH) return false;
  return grows % u->n_parts == 0 && b.offset - a.offset == grows / u->n_parts * part;
}

/* --- what is the same ------------------------------------------------------------------------------------------------- */

/* `v` as text, with poison for all operands but constants. */
static char *text_of(LLVMValueRef v) {
  LLVMValueRef copy = LLVMInstructionClone(v);
  for (int i = 0; i < LLVMGetNumOperands(copy); i++) {
    LLVMValueRef operand = LLVMGetOperand(copy, (unsigned)i);
    if (!LLVMIsConstant(operand)) LLVMSetOperand(copy, (unsigned)i, LLVMGetPoison(LLVMTypeOf(operand)));
  }
  char *text = LLVMPrintValueToString(copy);
  LLVMDeleteInstruction(copy);
  return text;
}

/* Whether two instructions differ in nothing but what they are given: opcode, types, flags, predicates, masks, alignment, callee.
 */
static bool is_alike(LLVMValueRef a, LLVMValueRef b) {
  if (a == b) return true;
  if (LLVMGetInstructionOpcode(a) != LLVMGetInstructionOpcode(b) || LLVMGetNumOperands(a) != LLVMGetNumOperands(b)) return false;
  for (int i = 0; i < LLVMGetNumOperands(a); i++)
    if (LLVMTypeOf(LLVMGetOperand(a, (unsigned)i)) != LLVMTypeOf(LLVMGetOperand(b, (unsigned)i))) return false;
  char *first = text_of(a), *second = text_of(b);
  bool same = strcmp(first, second) == 0;
  LLVMDisposeMessage(first);
  LLVMDisposeMessage(second);
  return same;
}

/* Values that must be the same in the first part and in another one. Each pair is looked at once. */
struct pairs {
  struct {
    LLVMValueRef first, other;
  } list[MOST_PAIRS];
  uint32_t n;
};

static bool add_pair(struct pairs *p, LLVMValueRef first, LLVMValueRef other) {
  for (uint32_t i = 0; i < p->n; i++)
    if (p->list[i].first == first && p->list[i].other == other) return true;
  if (p->n == MOST_PAIRS) return false;
  p->list[p->n].first = first;
  p->list[p->n++].other = other;
  return true;
}

/* Loads are compared where they are accesses. */
static bool is_same_load(const struct unrolled *u, LLVMValueRef first, LLVMValueRef other, uint32_t part) {
  for (uint32_t i = 0, q = u->n_accesses / u->n_parts; i < q; i++)
    if (u->accesses[i] == first) return u->accesses[i + part * q] == other;
  return false;
}

/* Whether `other` computes in a part what `first` computes in the first one. One instruction in both roles must be the same in
 * all rounds, though computed in each. */
static bool is_same(const struct unrolled *u, LLVMValueRef first, LLVMValueRef other, uint32_t part, struct pairs *p) {
  p->n = 0;
  add_pair(p, first, other);
  for (uint32_t at = 0; at < p->n; at++) {
    first = p->list[at].first;
    other = p->list[at].other;
    if (!is_inside(u, first) || !is_inside(u, other)) {
      if (first != other) return false;
      continue;
    }
    LLVMOpcode op = LLVMGetInstructionOpcode(first);
    if (op == LLVMLoad) {
      if (first == other || !is_same_load(u, first, other, part)) return false;
      continue;
    }
    if (op == LLVMPHI || op == LLVMGetElementPtr || (op == LLVMFreeze && first == other) || !is_alike(first, other)) return false;
    for (int i = 0; i < LLVMGetNumOperands(first); i++)
      if (!add_pair(p, LLVMGetOperand(first, (unsigned)i), LLVMGetOperand(other, (unsigned)i))) return false;
  }
  return true;
}

static bool are_parts_same(const struct unrolled *u) {
  struct pairs pairs;
  uint32_t q = u->n_accesses / u->n_parts;
  for (uint32_t i = q; i < u->n_accesses; i++) {
    LLVMValueRef first = u->accesses[i % q], other = u->accesses[i];
    if (!is_alike(first, other) || !is_neighbour(u, first, other, i / q)) return false;
    if (LLVMGetInstructionOpcode(first) != LLVMStore) continue;
    if (!is_same(u, LLVMGetOperand(first, 0), LLVMGetOperand(other, 0), i / q, &pairs)) return false;
  }
  return true;
}

/* --- the ends --------------------------------------------------------------------------------------------------------- */

static LLVMValueRef start_of(const struct unrolled *u, LLVMValueRef phi) {
  return LLVMGetIncomingValue(phi, LLVMGetIncomingBlock(phi, 0) == u->body ? 1 : 0);
}

/* How many of the low bits are 0, at least. */
static unsigned zero_bits(LLVMValueRef v, int depth) {
  if (LLVMIsAConstantInt(v)) {
    uint64_t c = LLVMConstIntGetZExtValue(v);
    return c ? (unsigned)__builtin_ctzll(c) : 64;
  }
  if (!LLVMIsAInstruction(v) || depth == MOST_DEPTH) return 0;
  LLVMOpcode op = LLVMGetInstructionOpcode(v);
  if (op != LLVMAnd && op != LLVMShl && op != LLVMMul && op != LLVMAdd && op != LLVMSub) return 0;
  unsigned a = zero_bits(LLVMGetOperand(v, 0), depth + 1), b = zero_bits(LLVMGetOperand(v, 1), depth + 1);
  if (op == LLVMShl)
    return LLVMIsAConstantInt(LLVMGetOperand(v, 1)) ? a + (unsigned)LLVMConstIntGetZExtValue(LLVMGetOperand(v, 1)) : a;
  if (op == LLVMMul) return a + b;
  return op == LLVMAnd ? (a > b ? a : b) : a < b ? a : b;
}

/* Whether `bound` - `start` is a multiple of `step`. */
static bool is_multiple(LLVMValueRef start, LLVMValueRef bound, int64_t step) {
  if (LLVMIsAConstantInt(start) && LLVMIsAConstantInt(bound)) {
    int64_t way = LLVMConstIntGetSExtValue(bound) - LLVMConstIntGetSExtValue(start);
    return way % step == 0 && way / step > 0;
  }
  if (step & (step - 1)) return false; /* not a power of two, or negative: counting modulo 2^n would not keep multiples */
  bool is_sum = LLVMIsAInstruction(bound) && LLVMGetInstructionOpcode(bound) == LLVMAdd;
  unsigned n = (unsigned)__builtin_ctzll((uint64_t)step);
  if (is_sum && LLVMGetOperand(bound, 0) == start) return zero_bits(LLVMGetOperand(bound, 1), 0) >= n;
  if (is_sum && LLVMGetOperand(bound, 1) == start) return zero_bits(LLVMGetOperand(bound, 0), 0) >= n;
  return zero_bits(start, 0) >= n && zero_bits(bound, 0) >= n;
}

/* Whether the loop ends when some counter is equal to a bound that a whole number of rounds leads to. */
static bool ends_evenly(const struct unrolled *u) {
  LLVMValueRef terminator = LLVMGetBasicBlockTerminator(u->body), compare = LLVMGetCondition(terminator);
  if (!LLVMIsAICmpInst(compare) || LLVMGetInstructionParent(compare) != u->body) return false;
  LLVMIntPredicate goes_on = LLVMGetSuccessor(terminator, 0) == u->header ? LLVMIntNE : LLVMIntEQ;
  if (LLVMGetICmpPredicate(compare) != goes_on) return false;
  for (uint32_t i = 0; i < u->n_counters; i++) {
    const struct counter *c = &u->counters[i];
    bool is_first = LLVMGetOperand(compare, 0) == c->next;
    LLVMValueRef bound = LLVMGetOperand(compare, is_first ? 1 : 0);
    if ((!is_first && LLVMGetOperand(compare, 1) != c->next) || is_inside(u, bound) || !c->step) continue;
    return gas_counts_evenly(terminator) || is_multiple(start_of(u, c->phi), bound, c->step);
  }
  return false;
}

/* Counters may be used inside of the loop, their next values by themselves, the comparison and outside; nothing else outside. */
static bool is_closed(const struct unrolled *u) {
  LLVMValueRef compare = LLVMGetCondition(LLVMGetBasicBlockTerminator(u->body));
  for (uint32_t i = 0; i < u->n_counters; i++) {
    for (LLVMUseRef use = LLVMGetFirstUse(u->counters[i].phi); use; use = LLVMGetNextUse(use))
      if (!is_inside(u, LLVMGetUser(use))) return false;
    for (LLVMUseRef use = LLVMGetFirstUse(u->counters[i].next); use; use = LLVMGetNextUse(use)) {
      LLVMValueRef user = LLVMGetUser(use); /* the gas pass leaves the comparison that was there before */
      bool is_dead = LLVMIsAICmpInst(user) && !LLVMGetFirstUse(user);
      if (is_inside(u, user) && user != u->counters[i].phi && user != compare && !is_dead) return false;
    }
    if (u->counters[i].step % u->n_parts != 0) return false;
  }
  for (LLVMValueRef v = LLVMGetFirstInstruction(u->body); v; v = LLVMGetNextInstruction(v)) {
    bool is_next = false;
    for (uint32_t i = 0; i < u->n_counters; i++) is_next |= u->counters[i].next == v || u->counters[i].phi == v;
    for (LLVMUseRef use = is_next ? NULL : LLVMGetFirstUse(v); use; use = LLVMGetNextUse(use))
      if (!is_inside(u, LLVMGetUser(use))) return false;
  }
  return true;
}

/* What was known of values of the old rounds need not hold in between. */
static void forget_range(LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMAdd:
  case LLVMSub:
  case LLVMMul:
  case LLVMShl:
    LLVMSetNUW(v, false);
    LLVMSetNSW(v, false);
    return;
  case LLVMZExt: LLVMSetNNeg(v, false); return;
  case LLVMICmp: LLVMSetICmpSameSign(v, false); return;
  default: return;
  }
}

static void roll(struct unrolled *u) {
  for (uint32_t i = 0; i < u->n_counters; i++) {
    const struct counter *c = &u->counters[i];
    LLVMSetOperand(c->next, 1, LLVMConstInt(LLVMTypeOf(c->phi), (uint64_t)(c->step / u->n_parts), true));
  }
  for (LLVMValueRef v = LLVMGetFirstInstruction(u->body); v; v = LLVMGetNextInstruction(v)) forget_range(v);
  for (uint32_t i = u->n_accesses / u->n_parts; i < u->n_accesses; i++)
    if (LLVMGetInstructionOpcode(u->accesses[i]) == LLVMStore) LLVMInstructionEraseFromParent(u->accesses[i]);
}

static bool try_parts(struct unrolled *u) {
  for (u->n_parts = 8; u->n_parts > 1; u->n_parts--)
    if (u->n_accesses % u->n_parts == 0 && u->n_stores % u->n_parts == 0 && is_closed(u) && are_parts_same(u)) return true;
  return false;
}

void access_reroll_loops(LLVMModuleRef module) {
  struct unrolled u;
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      if (find_body(&u, b) && find_counters(&u) && find_accesses(&u) && ends_evenly(&u) && try_parts(&u)) roll(&u);
}
