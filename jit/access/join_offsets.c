/* Addresses of neighbours.
 *
 * Wasm adds indices modulo 2^32, so LLVM must take an access at x and one at x + 8 for two that may lie anywhere. When a producer
 * has unrolled a loop, that keeps it from being vectorised, and every address needs an addition of its own.
 *
 * But a memory that ends at least one page before 2^32 (most_pages in runtime/memory.c) makes the access at x trap when x lies in
 * the last 64 KiB of indices. So behind that access x + C, for C up to 64 KiB, does not wrap: it is computed in 64 bits, from x,
 * which addressing modes and LLVM's analysis of loops understand. Should LLVM put the second access first, and x lie there, then
 * it faults as well, behind the memory.
 *
 * Run on simplified SSA form, on modules with one memory of their own that qualifies. */
#include "jit/access/access.h"
#include "frontend/lower/values.h"

enum {
  MOST_KNOWN = 16, /* indices that a block remembers */
  MOST_DISTANCE = 1 << 16,
};
#define MOST_OFFSET (INT64_C(1) << 31) /* of an access, so that it stays in the reservation with a distance on top */

/* An i32 as something plus a constant. */
struct sum {
  LLVMValueRef of;
  int64_t plus;
};

struct known {
  struct sum sum;
  LLVMValueRef index; /* i64: zext of it */
};

struct access {
  LLVMValueRef base, index; /* pointer; i64: zext */
  int64_t offset;
};

static struct sum sum_of(LLVMValueRef v) {
  if (value_is_addition(v) && LLVMIsAConstantInt(LLVMGetOperand(v, 1)))
    return (struct sum){LLVMGetOperand(v, 0), (int32_t)LLVMConstIntGetSExtValue(LLVMGetOperand(v, 1))};
  return (struct sum){v, 0};
}

/* base + zext(i32) + constant. */
static bool read_access(LLVMValueRef v, struct access *out) {
  if (!value_is_guest_access(v)) return false;
  LLVMValueRef at = LLVMGetOperand(v, LLVMIsAStoreInst(v) ? 1 : 0);
  out->offset = 0;
  if (value_is_byte_gep(at) && LLVMIsAConstantInt(LLVMGetOperand(at, 1))) {
    out->offset = LLVMConstIntGetSExtValue(LLVMGetOperand(at, 1));
    at = LLVMGetOperand(at, 0);
  }
  if (!value_is_byte_gep(at)) return false;
  out->base = LLVMGetOperand(at, 0);
  out->index = LLVMGetOperand(at, 1);
  return out->offset >= 0 && out->offset < MOST_OFFSET && LLVMIsAZExtInst(out->index) &&
         LLVMTypeOf(LLVMGetOperand(out->index, 0)) == LLVMInt32TypeInContext(LLVMGetTypeContext(LLVMTypeOf(v)));
}

/* The least known index from which `sum` is not far up, or NULL. */
static const struct known *find(const struct known *known, uint32_t n, struct sum sum) {
  const struct known *best = NULL;
  for (uint32_t i = 0; i < n; i++) {
    int64_t distance = sum.plus - known[i].sum.plus;
    if (known[i].sum.of == sum.of && distance >= 0 && distance < MOST_DISTANCE && (!best || known[i].sum.plus < best->sum.plus))
      best = &known[i];
  }
  return best;
}

static void rewrite(LLVMBuilderRef b, LLVMValueRef v, const struct access *access, const struct known *from, int64_t distance) {
  LLVMTypeRef i64 = LLVMTypeOf(access->index), i8 = LLVMInt8TypeInContext(LLVMGetTypeContext(i64));
  LLVMPositionBuilderBefore(b, v);
  LLVMValueRef index = LLVMBuildInBoundsGEP2(b, i8, access->base, (LLVMValueRef[]){from->index}, 1, "");
  LLVMValueRef offset = LLVMConstInt(i64, (uint64_t)(access->offset + distance), false);
  LLVMSetOperand(v, LLVMGetInstructionOpcode(v) == LLVMStore ? 1 : 0, LLVMBuildInBoundsGEP2(b, i8, index, &offset, 1, ""));
}

static void join_in_block(LLVMBuilderRef b, LLVMBasicBlockRef block) {
  struct known known[MOST_KNOWN];
  uint32_t n = 0;
  struct access access;
  for (LLVMValueRef v = LLVMGetFirstInstruction(block); v; v = LLVMGetNextInstruction(v)) {
    if (!read_access(v, &access)) continue;
    struct sum sum = sum_of(LLVMGetOperand(access.index, 0));
    const struct known *from = find(known, n, sum);
    if (!from && n < MOST_KNOWN) known[n++] = (struct known){sum, access.index};
    if (from && from->sum.plus != sum.plus) rewrite(b, v, &access, from, sum.plus - from->sum.plus);
  }
}

bool access_spares_last_page(const struct module *m) {
  if (m->n_memories != 1 || m->n_imported_memories) return false;
  const struct limits *limits = &m->memories[0].type.limits;
  return !limits->is_64 && limits->page_size_log2 == 16 && limits->min < MEMORY_MAX_PAGES_32;
}

void access_join_offsets(LLVMModuleRef module) {
  LLVMBuilderRef b = LLVMCreateBuilderInContext(LLVMGetModuleContext(module));
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(f); block; block = LLVMGetNextBasicBlock(block))
      join_in_block(b, block);
  LLVMDisposeBuilder(b);
}
