/* Every NaN that an operation makes is the positive canonical one (the deterministic profile of the specification).
 *
 * LLVM lets a float operation give any NaN, and processors give others than constant folding. Making each result canonical would
 * be slow and need not be: to arithmetic and comparisons one NaN is as good as another. So results are *dirty* until their bits
 * can be seen, and only there does a `select` put the canonical NaN in place. What sees bits: stores, calls, returns, integer
 * arithmetic, arithmetic on lanes of another width, and the sign operand of copysign.
 *
 * Between a result and what sees it may stand *carriers*, which move bits: phis, selects, bit casts (a v128 is <2 x i64>), lanes
 * taken, put and shuffled; and neg, abs and copysign, which change the sign alone. Three facts about them, found per function:
 *
 *   dirty   shapes (widths of lanes) in which a dirty result may come through
 *   free    shapes in which it may be made canonical, because nothing comes through whose NaNs must stay as they are, such as
 *           what was loaded. A sign operation's result never may
 *   seen    by what: RAW, or arithmetic in a shape. A dirty value of shape F64 minds all but F64
 *
 * A dirty value becomes canonical on the way into something that sees it, or into a carrier that is seen and not free. What is
 * free passes the duty on, so a loop pays nothing for a sum that is stored behind it.
 *
 * This must run before anything that simplifies: LLVM turns x * -1 into a change of the sign. */
#include "base/array.h"
#include "base/heap.h"
#include "base/index_map.h"
#include "frontend/lower/internal.h"
#include "frontend/lower/values.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { F32 = 1, F64 = 2, SHAPES = F32 | F64, RAW = 4 };

/* A dirty result, or a carrier that one comes through. */
struct node {
  LLVMValueRef value, canonical; /* made in `block`, or NULL */
  LLVMBasicBlockRef block;
  uint8_t dirty, free, seen;
  bool is_root, is_queued;
};

/* Intrinsics: those up to MAXIMUM make NaNs, the next two only take them. */
enum { CEIL, FLOOR, TRUNC, ROUNDEVEN, MINIMUM, MAXIMUM, SAT_SIGNED, SAT_UNSIGNED, FABS, COPYSIGN, N_IDS };

struct nans {
  LLVMContextRef context;
  LLVMBuilderRef builder;
  unsigned ids[N_IDS];
  struct node *nodes;
  size_t n, capacity;
  struct index_map numbers; /* of nodes */
  uint32_t *queue;
  size_t n_queue;
};

/* What a use of a value is. */
struct role {
  bool carries, is_sign;
  uint8_t passes; /* carriers: shapes whose lanes stay whole */
  uint8_t sees;   /* apart from what sees a carrier's own value */
};

/* --- nodes ------------------------------------------------------------------------------------------------------------ */

static struct node *find(const struct nans *n, LLVMValueRef v) {
  uint32_t at = index_map_find(&n->numbers, v);
  return at == INDEX_NONE ? NULL : &n->nodes[at];
}

static void grow(struct nans *n) {
  array_grow(n->nodes, n->capacity, 256);
  n->queue = heap_resize(n->queue, n->capacity, sizeof *n->queue);
}

static void enqueue(struct nans *n, struct node *node) {
  if (node->is_queued) return;
  node->is_queued = true;
  n->queue[n->n_queue++] = (uint32_t)(node - n->nodes);
}

static struct node *dequeue(struct nans *n) {
  struct node *node = &n->nodes[n->queue[--n->n_queue]];
  node->is_queued = false;
  return node;
}

static void add_dirty(struct nans *n, LLVMValueRef v, uint8_t dirty, bool is_root) {
  if (n->n == n->capacity) grow(n);
  uint32_t at = index_map_add(&n->numbers, v, (uint32_t)n->n);
  if (at == n->n) n->nodes[n->n++] = (struct node){.value = v, .is_root = is_root, .free = is_root ? dirty : SHAPES};
  struct node *node = &n->nodes[at];
  if (node->dirty == (node->dirty | dirty)) return;
  node->dirty |= dirty;
  enqueue(n, node);
}

/* --- what instructions do ----------------------------------------------------------------------------------------------- */

/* Of floats; 0 for other types. */
static uint8_t shape_of(LLVMValueRef v) {
  LLVMTypeKind kind = LLVMGetTypeKind(value_lane_type(LLVMTypeOf(v)));
  return kind == LLVMFloatTypeKind ? F32 : kind == LLVMDoubleTypeKind ? F64 : 0;
}

static unsigned lane_bits(LLVMTypeRef type) {
  type = value_lane_type(type);
  switch (LLVMGetTypeKind(type)) {
  case LLVMFloatTypeKind: return 32;
  case LLVMDoubleTypeKind: return 64;
  case LLVMIntegerTypeKind: return LLVMGetIntTypeWidth(type);
  default: return 0;
  }
}

/* Which of `ids` a call is of; N_IDS: none. */
static int intrinsic_of(const struct nans *n, LLVMValueRef call) {
  LLVMValueRef callee = LLVMGetCalledValue(call);
  unsigned id = LLVMIsAFunction(callee) ? LLVMGetIntrinsicID(callee) : 0;
  int i = 0;
  while (i < N_IDS && !(id && n->ids[i] == id)) i++;
  return i;
}

/* Operations that make NaNs. */
static bool is_root(const struct nans *n, LLVMValueRef v) {
  switch (LLVMGetInstructionOpcode(v)) {
  case LLVMFAdd:
  case LLVMFSub:
  case LLVMFMul:
  case LLVMFDiv:
  case LLVMFPTrunc:
  case LLVMFPExt: return true;
  case LLVMCall: return intrinsic_of(n, v) <= MAXIMUM;
  default: return false;
  }
}

/* Shapes that stay whole where pieces of so many bits are moved. */
static uint8_t pieces(unsigned bits) { return bits % 64 == 0 ? SHAPES : bits % 32 == 0 ? F32 : 0; }

/* Whether a shuffle moves groups of `k` lanes as they are. */
static bool moves_groups(LLVMValueRef v, unsigned k) {
  unsigned count = LLVMGetNumMaskElements(v);
  if (count % k) return false;
  for (unsigned i = 0; i < count; i++) {
    int first = LLVMGetMaskValue(v, i - i % k);
    if (first < 0 || first % (int)k || LLVMGetMaskValue(v, i) != first + (int)(i % k)) return false;
  }
  return true;
}

static uint8_t shuffled_pieces(LLVMValueRef v) {
  unsigned bits = lane_bits(LLVMTypeOf(v));
  uint8_t passes = pieces(bits);
  if (bits < 64 && moves_groups(v, 64 / bits)) return SHAPES;
  if (bits < 32 && moves_groups(v, 32 / bits)) return F32;
  return passes;
}

static struct role carrier(uint8_t passes) {
  return (struct role){.carries = true, .passes = passes, .sees = (passes & F64 ? 0 : F32) | (passes & F32 ? 0 : F64)};
}

static struct role signs(uint8_t shape) {
  struct role r = carrier(shape);
  r.is_sign = true;
  return r;
}

static struct role call_role(const struct nans *n, LLVMValueRef user, LLVMValueRef v) {
  int id = intrinsic_of(n, user);
  if (id == N_IDS) return (struct role){.sees = RAW};
  if (id < FABS) return (struct role){.sees = shape_of(v)};
  struct role r = signs(shape_of(user));
  if (id == COPYSIGN && LLVMGetOperand(user, 1) == v) r.sees |= RAW;
  return r;
}

/* What `user` does with its operand `v`. Before anything is simplified, vectors are chosen between by scalars or in their own
 * lanes. */
static struct role role_of(const struct nans *n, LLVMValueRef user, LLVMValueRef v) {
  LLVMTypeRef type = LLVMTypeOf(v);
  switch (LLVMGetInstructionOpcode(user)) {
  case LLVMPHI:
  case LLVMBitCast:
  case LLVMFreeze: return carrier(SHAPES);
  case LLVMSelect:
    return carrier(LLVMGetTypeKind(LLVMTypeOf(LLVMGetOperand(user, 0))) == LLVMVectorTypeKind ? pieces(lane_bits(type)) : SHAPES);
  case LLVMExtractElement: return carrier(pieces(lane_bits(type)));
  case LLVMInsertElement: return carrier(pieces(lane_bits(LLVMTypeOf(user))));
  case LLVMShuffleVector: return carrier(shuffled_pieces(user));
  case LLVMFNeg: return signs(shape_of(user));
  case LLVMFAdd:
  case LLVMFSub:
  case LLVMFMul:
  case LLVMFDiv:
  case LLVMFPTrunc:
  case LLVMFPExt:
  case LLVMFCmp:
  case LLVMFPToSI:
  case LLVMFPToUI: return (struct role){.sees = shape_of(v)};
  case LLVMCall: return call_role(n, user, v);
  default: return (struct role){.sees = RAW};
  }
}

/* Everything that sees `v` as an operand of `user`. */
static uint8_t seen_in(const struct nans *n, const struct role *r, LLVMValueRef user) {
  const struct node *node = r->carries ? find(n, user) : NULL;
  return r->sees | (node ? node->seen : 0);
}

/* --- the three facts ----------------------------------------------------------------------------------------------------- */

static void spread_dirt(struct nans *n) {
  while (n->n_queue) {
    struct node node = *dequeue(n); /* nodes move when there are more */
    for (LLVMUseRef use = LLVMGetFirstUse(node.value); use; use = LLVMGetNextUse(use)) {
      LLVMValueRef user = LLVMGetUser(use);
      struct role r = role_of(n, user, node.value);
      if (r.carries && node.dirty & r.passes) add_dirty(n, user, node.dirty & r.passes, false);
    }
  }
}

static uint8_t free_lane(uint64_t bits, unsigned width) {
  uint8_t shapes = 0;
  bool is_nan = (bits & 0x7fffffffffffffff) > 0x7ff0000000000000;
  if (width == 64 && (!is_nan || bits == VALUE_NAN_F64)) shapes |= F64;
  for (unsigned i = 0; i < width; i += 32) {
    uint32_t half = (uint32_t)(bits >> i);
    if ((half & 0x7fffffff) > 0x7f800000 && half != VALUE_NAN_F32) return shapes;
  }
  return shapes | F32;
}

static uint8_t free_constant(LLVMValueRef v) {
  if (LLVMIsUndef(v) || LLVMIsNull(v)) return SHAPES; /* undef: poison, too */
  LLVMTypeRef type = LLVMTypeOf(v);
  if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) {
    uint8_t shapes = SHAPES;
    for (unsigned i = 0; i < LLVMGetVectorSize(type) && shapes; i++) {
      LLVMValueRef lane = LLVMGetAggregateElement(v, i);
      shapes &= lane ? free_constant(lane) : 0;
    }
    return shapes;
  }
  unsigned width = lane_bits(type);
  if (width != 32 && width != 64) return 0;
  if (LLVMIsAConstantFP(v)) v = LLVMConstBitCast(v, LLVMIntTypeInContext(LLVMGetTypeContext(type), width));
  return LLVMIsAConstantInt(v) ? free_lane(LLVMConstIntGetZExtValue(v), width) : 0;
}

static uint8_t free_in(const struct nans *n, LLVMValueRef v) {
  if (LLVMIsConstant(v)) return free_constant(v);
  const struct node *node = find(n, v);
  if (node) return node->free;
  return LLVMIsASIToFPInst(v) || LLVMIsAUIToFPInst(v) ? shape_of(v) : 0;
}

/* Of a carrier: what all operands allow that it carries. */
static uint8_t free_carrier(const struct nans *n, LLVMValueRef v) {
  uint8_t shapes = SHAPES;
  if (LLVMIsAPHINode(v)) {
    for (unsigned i = 0, count = LLVMCountIncoming(v); i < count && shapes; i++) shapes &= free_in(n, LLVMGetIncomingValue(v, i));
    return shapes;
  }
  LLVMOpcode op = LLVMGetInstructionOpcode(v);
  struct role r = role_of(n, v, LLVMGetOperand(v, op == LLVMSelect ? 1 : 0));
  if (r.is_sign) return 0;
  int first = op == LLVMSelect ? 1 : 0, end = op == LLVMSelect ? 3 : op == LLVMInsertElement || op == LLVMShuffleVector ? 2 : 1;
  for (int i = first; i < end; i++) shapes &= r.passes & free_in(n, LLVMGetOperand(v, (unsigned)i));
  return shapes;
}

static void find_free(struct nans *n) {
  for (size_t i = 0; i < n->n; i++) enqueue(n, &n->nodes[i]);
  while (n->n_queue) {
    struct node *node = dequeue(n);
    uint8_t shapes = node->is_root ? node->free : node->free & free_carrier(n, node->value);
    if (shapes == node->free) continue;
    node->free = shapes;
    for (LLVMUseRef use = LLVMGetFirstUse(node->value); use; use = LLVMGetNextUse(use)) {
      struct node *user = find(n, LLVMGetUser(use));
      if (user && !user->is_root && user->free) enqueue(n, user);
    }
  }
}

static void find_seen(struct nans *n) {
  for (size_t i = 0; i < n->n; i++) {
    struct node *node = &n->nodes[i];
    for (LLVMUseRef use = LLVMGetFirstUse(node->value); use; use = LLVMGetNextUse(use))
      node->seen |= role_of(n, LLVMGetUser(use), node->value).sees;
    enqueue(n, node);
  }
  while (n->n_queue) {
    const struct node *node = dequeue(n);
    if (node->is_root) continue;
    for (int i = 0, count = LLVMGetNumOperands(node->value); i < count; i++) {
      struct node *operand = find(n, LLVMGetOperand(node->value, (unsigned)i));
      if (!operand || operand->seen == (operand->seen | node->seen)) continue;
      operand->seen |= node->seen;
      enqueue(n, operand);
    }
  }
}

/* --- making canonical ----------------------------------------------------------------------------------------------------- */

/* The type of all of `v` in lanes of a shape. */
static LLVMTypeRef shaped(const struct nans *n, LLVMValueRef v, uint8_t shape) {
  LLVMTypeRef type = LLVMTypeOf(v),
              lane = shape == F32 ? LLVMFloatTypeInContext(n->context) : LLVMDoubleTypeInContext(n->context);
  bool is_vector = LLVMGetTypeKind(type) == LLVMVectorTypeKind;
  unsigned lanes = lane_bits(type) * (is_vector ? LLVMGetVectorSize(type) : 1) / (shape == F32 ? 32 : 64);
  return lanes == 1 && !is_vector ? lane : LLVMVectorType(lane, lanes);
}

static LLVMValueRef nan_of(LLVMTypeRef type) {
  LLVMTypeRef lane = value_lane_type(type), bits = LLVMIntTypeInContext(LLVMGetTypeContext(type), lane_bits(lane));
  LLVMValueRef v = LLVMConstBitCast(LLVMConstInt(bits, lane_bits(lane) == 32 ? VALUE_NAN_F32 : VALUE_NAN_F64, false), lane);
  LLVMValueRef lanes[8]; /* of two vectors side by side, at most */
  if (lane == type) return v;
  unsigned count = LLVMGetVectorSize(type);
  for (unsigned i = 0; i < count; i++) lanes[i] = v;
  return LLVMConstVector(lanes, count);
}

/* Where the builder stands. */
static LLVMValueRef make_canonical(const struct nans *n, const struct node *node) {
  LLVMValueRef v = node->value, x = v;
  LLVMTypeRef type = shaped(n, v, node->dirty);
  if (LLVMIsABitCastInst(v) && LLVMTypeOf(LLVMGetOperand(v, 0)) == type)
    x = LLVMGetOperand(v, 0);
  else if (LLVMTypeOf(v) != type)
    x = LLVMBuildBitCast(n->builder, v, type, "");
  LLVMValueRef is_nan = LLVMBuildFCmp(n->builder, LLVMRealUNO, x, x, "");
  x = LLVMBuildSelect(n->builder, is_nan, nan_of(type), x, "");
  return type == LLVMTypeOf(v) ? x : LLVMBuildBitCast(n->builder, x, LLVMTypeOf(v), "");
}

/* The operand's node, if `user` must get it canonical. */
static struct node *must_change(const struct nans *n, LLVMValueRef user, LLVMValueRef operand) {
  struct node *node = find(n, operand);
  if (!node || !(node->dirty & node->free)) return NULL;
  struct role r = role_of(n, user, operand);
  if (!(seen_in(n, &r, user) & ~node->dirty)) return NULL;
  const struct node *carries = r.carries ? find(n, user) : NULL;
  return carries && carries->free & node->dirty ? NULL : node;
}

/* All entries of one block, which stand side by side, must have the same value. */
static void change_phi(const struct nans *n, LLVMValueRef phi) {
  LLVMBasicBlockRef last = NULL;
  LLVMValueRef last_value = NULL, last_made = NULL;
  for (unsigned i = 0, count = LLVMCountIncoming(phi); i < count; i++) {
    LLVMValueRef v = LLVMGetIncomingValue(phi, i);
    LLVMBasicBlockRef from = LLVMGetIncomingBlock(phi, i);
    const struct node *node = must_change(n, phi, v);
    if (!node) continue;
    if (from != last || v != last_value) {
      LLVMPositionBuilderBefore(n->builder, LLVMGetBasicBlockTerminator(from));
      last_made = make_canonical(n, node);
    }
    last = from;
    last_value = v;
    LLVMSetOperand(phi, i, last_made);
  }
}

static void change_operands(const struct nans *n, LLVMBasicBlockRef block, LLVMValueRef user) {
  for (int i = 0, count = LLVMGetNumOperands(user); i < count; i++) {
    struct node *node = must_change(n, user, LLVMGetOperand(user, (unsigned)i));
    if (!node) continue;
    if (node->block != block) {
      LLVMPositionBuilderBefore(n->builder, user);
      node->canonical = make_canonical(n, node);
      node->block = block;
    }
    LLVMSetOperand(user, (unsigned)i, node->canonical);
  }
}

static void find_roots(struct nans *n, LLVMValueRef func) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (is_root(n, v)) add_dirty(n, v, shape_of(v), true);
}

static void change_function(struct nans *n, LLVMValueRef func) {
  index_map_empty(&n->numbers);
  n->n = 0;
  find_roots(n, func);
  if (!n->n) return;
  spread_dirt(n);
  find_free(n);
  find_seen(n);
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (LLVMIsAPHINode(v))
        change_phi(n, v);
      else
        change_operands(n, b, v);
}

void lower_canonical_nans(LLVMModuleRef llvm_module) {
  static const char *const names[N_IDS] = {
      "llvm.ceil",    "llvm.floor",      "llvm.trunc",      "llvm.roundeven", "llvm.minimum",
      "llvm.maximum", "llvm.fptosi.sat", "llvm.fptoui.sat", "llvm.fabs",      "llvm.copysign",
  };
  struct nans n = {.context = LLVMGetModuleContext(llvm_module)};
  for (int i = 0; i < N_IDS; i++) n.ids[i] = LLVMLookupIntrinsicID(names[i], strlen(names[i]));
  n.builder = LLVMCreateBuilderInContext(n.context);
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f)) change_function(&n, f);
  LLVMDisposeBuilder(n.builder);
  free(n.nodes);
  index_map_free(&n.numbers);
  free(n.queue);
}

LLVMValueRef lower_root(struct lower_func *f, LLVMValueRef v) {
  const struct lower *l = f->l;
  LLVMTypeRef type = LLVMTypeOf(v), lane = value_lane_type(type);
  unsigned bits = lane_bits(type), n = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetVectorSize(type) : 0;
  LLVMValueRef least = LLVMConstReal(lane, bits == 32 ? -0x1p-149 : -0x1p-1074), lanes[4] = {least, least, least, least};
  LLVMValueRef is_number = LLVMBuildFCmp(l->ir.builder, LLVMRealOGT, v, n ? LLVMConstVector(lanes, n) : least, "");
  LLVMValueRef root = ir_intrinsic(&l->ir, "llvm.sqrt", type, &v, 1);
  return LLVMBuildSelect(l->ir.builder, is_number, root, nan_of(type), "");
}

LLVMValueRef lower_folded(LLVMValueRef v) {
  if (!LLVMIsConstant(v) || free_constant(v) & shape_of(v)) return v;
  LLVMTypeRef type = LLVMTypeOf(v);
  if (LLVMGetTypeKind(type) != LLVMVectorTypeKind) return nan_of(type);
  LLVMValueRef lanes[4];
  unsigned count = LLVMGetVectorSize(type);
  for (unsigned i = 0; i < count; i++) lanes[i] = lower_folded(LLVMGetAggregateElement(v, i));
  return LLVMConstVector(lanes, count);
}
