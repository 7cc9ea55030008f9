/* Addresses in linear memories, and their bounds.
 *
 * Behind a 32-bit memory of 64 KiB pages lie 8 GiB without access rights: every index plus every offset ends there or in the
 * memory, so there is no check and an access outside of it faults. Neither 64-bit indices nor sizes that end within a host page
 * can be guarded so. Those memories are checked, by one comparison of the index with how many indices are good:
 *   index < bytes - (offset + access size - 1), or none where that is below zero
 * The right side changes only when the memory grows, so LLVM takes it out of loops; it is a plain subtraction where the declared
 * minimum covers it, as memories never shrink. */
#include "frontend/lower/internal.h"

static const struct limits *limits_of(const struct lower_func *f, uint32_t memory) {
  return &f->l->m->memories[memory].type.limits;
}

static bool is_checked(const struct limits *limits) { return limits->is_64 || limits->page_size_log2 != 16; }

/* The struct memory_ctx. */
static LLVMValueRef memory_context(const struct lower_func *f, uint32_t memory) {
  const struct lower *l = f->l;
  return ir_load_constant(&l->ir, l->ir.ptr, f->vmctx, l->layout.memories + (uint64_t)memory * sizeof(void *));
}

static LLVMValueRef memory_base(const struct lower_func *f, uint32_t memory) {
  const struct lower *l = f->l;
  if (memory == 0) return ir_load_constant(&l->ir, l->ir.ptr, f->vmctx, offsetof(struct vmctx, memory0));
  return ir_load_constant(&l->ir, l->ir.ptr, memory_context(f, memory), offsetof(struct memory_ctx, base));
}

static LLVMValueRef memory_bytes(const struct lower_func *f, uint32_t memory) {
  const struct lower *l = f->l;
  return ir_load(&l->ir, ALIAS_TABLE, l->ir.i64, ir_offset(&l->ir, memory_context(f, memory), offsetof(struct memory_ctx, bytes)),
                 "");
}

/* Traps unless [index + offset, index + offset + size) lies in the memory. */
static void check_bounds(struct lower_func *f, uint32_t memory, LLVMValueRef index, uint64_t offset, uint32_t size) {
  const struct lower *l = f->l;
  const struct limits *limits = limits_of(f, memory);
  uint64_t reach, least;
  if (__builtin_add_overflow(offset, size - 1, &reach)) reach = UINT64_MAX;
  if (__builtin_mul_overflow(limits->min, UINT64_C(1) << limits->page_size_log2, &least)) least = UINT64_MAX;
  LLVMValueRef args[2] = {memory_bytes(f, memory), ir_i64(&l->ir, reach)};
  LLVMValueRef good = reach <= least ? LLVMBuildNUWSub(l->ir.builder, args[0], args[1], "")
                                     : ir_intrinsic(&l->ir, "llvm.usub.sat", l->ir.i64, args, 2);
  lower_trap_if(f, LLVMBuildICmp(l->ir.builder, LLVMIntUGE, index, good, ""), GW_TRAP_MEMORY_OUT_OF_BOUNDS);
}

LLVMValueRef lower_address(struct lower_func *f, const struct instruction *in, LLVMValueRef index, uint32_t access_size) {
  const struct lower *l = f->l;
  const struct limits *limits = limits_of(f, in->mem.memory);
  if (!limits->is_64) index = LLVMBuildZExt(l->ir.builder, index, l->ir.i64, "");
  if (is_checked(limits)) check_bounds(f, in->mem.memory, index, in->mem.offset, access_size);
  LLVMValueRef base = memory_base(f, in->mem.memory);
  return ir_offset(&l->ir, LLVMBuildInBoundsGEP2(l->ir.builder, l->ir.i8, base, &index, 1, ""), in->mem.offset);
}

LLVMValueRef lower_memory_size(struct lower_func *f, uint32_t memory) {
  const struct lower *l = f->l;
  const struct limits *limits = limits_of(f, memory);
  LLVMValueRef pages = LLVMBuildLShr(l->ir.builder, memory_bytes(f, memory), ir_i64(&l->ir, limits->page_size_log2), "");
  return limits->is_64 ? pages : LLVMBuildTrunc(l->ir.builder, pages, l->ir.i32, "");
}
