/* Loads that the code generator may not touch.
 *
 * A guest load must trap when it is out of bounds, whatever happens to its value, and LLVM's code generator breaks that even for
 * volatile loads. It makes a branch of a conditional move and loads in one arm only. With AVX-512 it folds a load into an
 * instruction under a mask, which reads, and faults, only where the mask is set. It sinks a load into the only successor that
 * uses it. And it narrows vectors, and numbers whose bits it changes in memory, and leaves out
 * stores that a later one covers.
 *
 * So this runs last, on what it will see. A load is *firm* if an instruction of its own block needs the value as it is: through
 * arithmetic, to a store, a call, a return, the block's branch or the address of another access. Selects need only their
 * condition, and an `and` may be one in disguise. Every other load is pinned: its value goes through an empty piece of inline
 * assembly, which costs no instruction, but wants it in a register where the load stands. Where no register holds such a value,
 * its last byte is read, too. */
#include "jit/access/access.h"
#include "frontend/lower/values.h"

#include <llvm-c/Target.h>

enum { MOST_STORES = 64 /* of a block that are remembered */ };

/* Bytes behind an address. */
struct range {
  LLVMValueRef base;
  int64_t offset, end;
};

struct pin {
  LLVMContextRef context;
  LLVMBuilderRef builder;
  LLVMTypeRef i8, i64;
  LLVMTargetDataRef layout;
  struct value_set firm;            /* of the block at hand: what an effect needs */
  struct range stores[MOST_STORES]; /* behind the instruction at hand, the nearest ones */
  uint32_t n_stores;                /* how many there were */
};

static struct range range_of(const struct pin *p, LLVMValueRef store) {
  struct range r = {.base = LLVMGetOperand(store, 1)};
  while (value_is_byte_gep(r.base) && LLVMIsAConstantInt(LLVMGetOperand(r.base, 1))) {
    r.offset += LLVMConstIntGetSExtValue(LLVMGetOperand(r.base, 1));
    r.base = LLVMGetOperand(r.base, 0);
  }
  r.end = r.offset + (int64_t)LLVMStoreSizeOfType(p->layout, LLVMTypeOf(LLVMGetOperand(store, 0)));
  return r;
}

/* Whether a store behind this one, of its block, writes to the same place; remembers it for those before. */
static bool is_covered(struct pin *p, LLVMValueRef store) {
  struct range r = range_of(p, store);
  bool found = false;
  for (uint32_t i = 0; i < p->n_stores && i < MOST_STORES && !found; i++) {
    const struct range *other = &p->stores[i];
    found = other->base == r.base && other->offset < r.end && r.offset < other->end;
  }
  p->stores[p->n_stores++ % MOST_STORES] = r;
  return found;
}

/* A branch's condition and an access's address are needed, too: each load is firm or pinned. */
static bool is_effect(LLVMValueRef v) {
  return value_has_effect(v) || LLVMIsABranchInst(v) || LLVMIsASwitchInst(v) || value_is_guest_load(v);
}

/* `v`'s users in its own block are in `p->firm` already. A phi of the block itself takes the value round a loop. */
static bool is_firm(const struct pin *p, LLVMValueRef v) {
  LLVMBasicBlockRef block = LLVMGetInstructionParent(v);
  for (LLVMUseRef use = LLVMGetFirstUse(v); use; use = LLVMGetNextUse(use)) {
    LLVMValueRef user = LLVMGetUser(use);
    if (!LLVMIsAInstruction(user) || LLVMGetInstructionParent(user) != block) continue;
    if (LLVMIsAPHINode(user) || (value_set_has(&p->firm, user) && value_needs(user, v))) return true;
  }
  return false;
}

/* Reads the last byte of what `load` reads, in front of it. */
static void touch(struct pin *p, LLVMValueRef load) {
  unsigned long long size = LLVMStoreSizeOfType(p->layout, LLVMTypeOf(load));
  LLVMValueRef at = LLVMConstInt(p->i64, size - 1, false);
  LLVMPositionBuilderBefore(p->builder, load);
  LLVMValueRef v = LLVMBuildLoad2(p->builder, p->i8, LLVMBuildGEP2(p->builder, p->i8, LLVMGetOperand(load, 0), &at, 1, ""), "");
  LLVMSetAlignment(v, VALUE_GUEST_ALIGNMENT);
  LLVMSetVolatile(v, true);
  value_hide(p->builder, p->layout, v);
}

static void pin_load(struct pin *p, LLVMValueRef load) {
  if (!value_constraint(p->layout, LLVMTypeOf(load))) {
    touch(p, load);
    return;
  }
  LLVMPositionBuilderBefore(p->builder, LLVMGetNextInstruction(load));
  LLVMValueRef pinned = value_hide(p->builder, p->layout, load);
  LLVMReplaceAllUsesWith(load, pinned);
  LLVMSetOperand(pinned, 0, load);
}

/* What changes bits of a number is done in memory, by a shorter load and store, if only one byte changes; but not for a volatile
 * store. */
static bool may_be_narrowed(LLVMValueRef store) {
  LLVMValueRef v = LLVMGetOperand(store, 0);
  if (!LLVMIsAInstruction(v) || LLVMGetTypeKind(LLVMTypeOf(v)) != LLVMIntegerTypeKind) return false;
  LLVMOpcode op = LLVMGetInstructionOpcode(v);
  return (op == LLVMAnd || op == LLVMOr || op == LLVMXor) && value_is_guest_access(store);
}

static void pin_in_block(struct pin *p, LLVMBasicBlockRef block) {
  value_set_empty(&p->firm);
  p->n_stores = 0;
  for (LLVMValueRef v = LLVMGetLastInstruction(block), before; v; v = before) {
    before = LLVMGetPreviousInstruction(v);
    bool firm = is_firm(p, v);
    bool is_lost = LLVMIsAStoreInst(v) && is_covered(p, v);
    if (firm || (is_effect(v) && !is_lost)) value_set_add(&p->firm, v);
    if (!firm && value_is_guest_load(v)) pin_load(p, v);
    if (LLVMIsAStoreInst(v) && may_be_narrowed(v)) LLVMSetVolatile(v, true);
  }
}

void access_pin_loads(LLVMModuleRef module) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  struct pin p = {.context = context,
                  .builder = LLVMCreateBuilderInContext(context),
                  .i8 = LLVMInt8TypeInContext(context),
                  .i64 = LLVMInt64TypeInContext(context),
                  .layout = LLVMGetModuleDataLayout(module)};
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b)) pin_in_block(&p, b);
  value_set_free(&p.firm);
  LLVMDisposeBuilder(p.builder);
}
