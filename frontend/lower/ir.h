/* The IR kit: LLVM's types, a builder, and what lowering, the passes over IR and the gas pass make alike. */
#ifndef FRONTEND_LOWER_IR_H
#define FRONTEND_LOWER_IR_H

#include "abi/abi.h"
#include "frontend/module.h"

#include <llvm-c/Core.h>

/* What a memory access touches. Kinds never alias one another; told to LLVM as TBAA siblings. */
enum alias { ALIAS_GUEST, ALIAS_GLOBAL, ALIAS_TABLE, ALIAS_ENTRY, ALIAS_EXEC, ALIAS_COUNT };

/* One LLVM module that is worked on. */
struct ir {
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMBuilderRef builder;
  LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr, void_type;
  LLVMValueRef alias_tags[ALIAS_COUNT], empty_node;
  unsigned tbaa_kind, invariant_kind;
  /* Whatever an access out of bounds ends comes behind all stores before it and ahead of all others: stores to what outlives the
   * function are volatile, and loads of guest memory stay so. */
  bool is_exact;
};

/* Fills in context, builder (the caller disposes of it), types and alias facts for work on `module`. */
void ir_init(struct ir *ir, LLVMModuleRef module);
LLVMTypeRef ir_type(const struct ir *ir, val_type t);
LLVMValueRef ir_i32(const struct ir *ir, uint32_t v);
LLVMValueRef ir_i64(const struct ir *ir, uint64_t v);
/* Address of a place in the running struct exec_ctx. */
LLVMValueRef ir_exec(const struct ir *ir, uint64_t offset);
/* Of exec_ctx.results[i]. */
LLVMValueRef ir_result(const struct ir *ir, uint32_t i);
LLVMValueRef ir_offset(const struct ir *ir, LLVMValueRef base, uint64_t offset);
/* A load of something that never changes while the function runs. */
LLVMValueRef ir_load_constant(const struct ir *ir, LLVMTypeRef type, LLVMValueRef base, uint64_t offset);
LLVMValueRef ir_load(const struct ir *ir, enum alias alias, LLVMTypeRef type, LLVMValueRef address, const char *name);
LLVMValueRef ir_store(const struct ir *ir, enum alias alias, LLVMValueRef value, LLVMValueRef address);
/* `type` picks the overload; NULL: there is only one. */
LLVMValueRef ir_intrinsic(const struct ir *ir, const char *name, LLVMTypeRef type, LLVMValueRef *args, unsigned n);
/* The same with a result type that also picks the overload. */
LLVMValueRef ir_intrinsic2(const struct ir *ir, const char *name, LLVMTypeRef result, LLVMTypeRef type, LLVMValueRef arg);
/* Keeps LLVM's passes, mem2reg included, away from a function. */
void ir_set_unoptimized(const struct ir *ir, LLVMValueRef func);
void ir_add_attribute(const struct ir *ir, LLVMValueRef func, LLVMAttributeIndex at, const char *name, uint64_t value);
void ir_add_string_attribute(const struct ir *ir, LLVMValueRef func, const char *name, const char *value);

/* What marks the handed-over counter among parameters. */
LLVMAttributeRef ir_handed_attribute(const struct ir *ir);
/* The place of the handed-over counter in a function: its last parameter if that is one; or NULL. */
LLVMValueRef ir_handed(const struct ir *ir, LLVMValueRef func);
/* Marks the last argument of a call as the handed-over counter. */
void ir_hand_over(const struct ir *ir, LLVMValueRef call);
/* The handed-over counter as a number (i64). */
LLVMValueRef ir_load_handed(const struct ir *ir, LLVMValueRef handed);
void ir_store_handed(const struct ir *ir, LLVMValueRef value, LLVMValueRef handed);
/* Calls helpers->ID through vmctx. `offset` and `signature` come from helper.def. */
LLVMValueRef ir_call_helper(const struct ir *ir, LLVMValueRef vmctx, size_t offset, const char *signature, LLVMValueRef *args);
LLVMTypeRef ir_helper_type(const struct ir *ir, const char *signature, unsigned *n_params);

#define HELPER(id, result, params, sig, flags)                \
  enum { HELPER_OFFSET_##id = offsetof(struct helpers, id) }; \
  __attribute__((unused)) static const char helper_signature_##id[] = sig;
#include "abi/helper.def"
#undef HELPER

#endif
