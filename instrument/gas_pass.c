/* The counter lives in an alloca that mem2reg turns into SSA. exec->gas is only right outside of the function: it is read at
 * entry and after calls, written before calls and returns.
 *
 * A marker without check just subtracts. A check asks whether the counter went negative; if so the runtime decides: it takes
 * the next slice (and may let others run first), or ends the invocation. Between two checks lies straight-line code of one
 * function, and leaves that it calls, so the notice is late by a bounded amount, and every helper that an outsider could observe
 * looks at the counter itself. */
#include "base/abi.h"
#include "frontend/lower_internal.h"
#include "instrument/gas.h"

#include <stdlib.h>
#include <string.h>

struct gas_pass {
  struct lower l; /* types and accesses; has no Wasm module here */
  LLVMValueRef charge, charge_check;
  /* of the current function */
  LLVMValueRef func, counter, vmctx;
};

static LLVMValueRef exec_gas(struct gas_pass *p) {
  return lower_offset(&p->l, lower_load_constant(&p->l, p->l.ptr, p->vmctx, offsetof(struct vmctx, exec)),
                      offsetof(struct exec_ctx, gas));
}

static void fill(struct gas_pass *p) {
  LLVMBuildStore(p->l.builder, lower_load(&p->l, ALIAS_EXEC, p->l.i64, exec_gas(p), ""), p->counter);
}

static void spill(struct gas_pass *p) {
  lower_store(&p->l, ALIAS_EXEC, LLVMBuildLoad2(p->l.builder, p->l.i64, p->counter, ""), exec_gas(p));
}

static void subtract(struct gas_pass *p, LLVMValueRef marker) {
  LLVMValueRef left = LLVMBuildLoad2(p->l.builder, p->l.i64, p->counter, "");
  LLVMBuildStore(p->l.builder, LLVMBuildSub(p->l.builder, left, LLVMGetOperand(marker, 0), ""), p->counter);
}

static void weigh_unlikely(struct gas_pass *p, LLVMValueRef branch) {
  LLVMContextRef c = p->l.context;
  LLVMTypeRef i32 = LLVMInt32TypeInContext(c);
  LLVMMetadataRef fields[3] = {LLVMMDStringInContext2(c, "branch_weights", 14), LLVMValueAsMetadata(LLVMConstInt(i32, 1, false)),
                               LLVMValueAsMetadata(LLVMConstInt(i32, 100000, false))};
  LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(c, "prof", 4), LLVMMetadataAsValue(c, LLVMMDNodeInContext2(c, fields, 3)));
}

/* The marker is followed by the branch that ends its block: that becomes the check. */
static void check(struct gas_pass *p, LLVMValueRef marker) {
  struct lower *l = &p->l;
  LLVMValueRef branch = LLVMGetBasicBlockTerminator(LLVMGetInstructionParent(marker));
  LLVMBasicBlockRef next = LLVMGetSuccessor(branch, 0);
  LLVMPositionBuilderBefore(l->builder, branch);
  LLVMValueRef left = LLVMBuildLoad2(l->builder, l->i64, p->counter, "");
  LLVMValueRef is_negative = LLVMBuildICmp(l->builder, LLVMIntSLT, left, LLVMConstNull(l->i64), "");
  LLVMBasicBlockRef exhausted = LLVMAppendBasicBlockInContext(l->context, p->func, "exhausted");
  weigh_unlikely(p, LLVMBuildCondBr(l->builder, is_negative, exhausted, next));
  LLVMInstructionEraseFromParent(branch);
  LLVMPositionBuilderAtEnd(l->builder, exhausted);
  lower_call_helper(l, p->vmctx, HELPER_OFFSET_gas_exhausted, "_", NULL); /* spilled and filled as every call is */
  LLVMBuildBr(l->builder, next);
}

static bool is_marker(const struct gas_pass *p, LLVMValueRef callee) { return callee == p->charge || callee == p->charge_check; }

static bool touches_gas(LLVMValueRef call) {
  LLVMValueRef callee = LLVMGetCalledValue(call);
  return !LLVMIsAFunction(callee) || LLVMGetIntrinsicID(callee) == 0;
}

/* Its return must follow at once: the callee has the counter from here on. */
static bool is_tail_call(LLVMValueRef v) { return v && LLVMIsACallInst(v) && LLVMGetTailCallKind(v) == LLVMTailCallKindMustTail; }

static void rewrite(struct gas_pass *p, LLVMValueRef v, LLVMValueRef next) {
  LLVMBuilderRef builder = p->l.builder;
  LLVMOpcode op = LLVMGetInstructionOpcode(v);
  LLVMPositionBuilderBefore(builder, v);
  if (op == LLVMRet) {
    if (!is_tail_call(LLVMGetPreviousInstruction(v))) spill(p);
  } else if (op == LLVMCall && is_marker(p, LLVMGetCalledValue(v))) {
    subtract(p, v);
    if (LLVMGetCalledValue(v) == p->charge_check) check(p, v);
    LLVMInstructionEraseFromParent(v);
  } else if (op == LLVMCall && touches_gas(v)) {
    spill(p);
    if (LLVMGetInstructionOpcode(next) == LLVMUnreachable || is_tail_call(v)) return;
    LLVMPositionBuilderBefore(builder, next);
    fill(p);
  }
}

static bool has_marker(const struct gas_pass *p, LLVMValueRef func) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (LLVMGetInstructionOpcode(v) == LLVMCall && is_marker(p, LLVMGetCalledValue(v))) return true;
  return false;
}

static void instrument_function(struct gas_pass *p, LLVMValueRef func) {
  if (!has_marker(p, func)) return;
  p->func = func;
  p->vmctx = LLVMGetParam(func, 0);
  LLVMBuilderRef builder = p->l.builder;
  LLVMValueRef first = LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(func));
  LLVMPositionBuilderBefore(builder, first);
  p->counter = LLVMBuildAlloca(builder, p->l.i64, "gas");
  fill(p);
  /* Blocks that checks append hold one helper call and come last, so they are rewritten too. */
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = b == LLVMGetEntryBasicBlock(func) ? first : LLVMGetFirstInstruction(b), next; v; v = next) {
      next = LLVMGetNextInstruction(v);
      bool was_branch_before_check = next && LLVMIsATerminatorInst(next) && LLVMGetInstructionOpcode(v) == LLVMCall &&
                                     LLVMGetCalledValue(v) == p->charge_check;
      rewrite(p, v, next);
      if (was_branch_before_check) break; /* the terminator has been replaced */
    }
}

void gas_instrument(LLVMModuleRef llvm_module) {
  struct gas_pass p = {.charge = LLVMGetNamedFunction(llvm_module, GAS_CHARGE),
                       .charge_check = LLVMGetNamedFunction(llvm_module, GAS_CHARGE_CHECK)};
  lower_init(&p.l, llvm_module);
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f))
    if (!LLVMIsDeclaration(f)) instrument_function(&p, f);
  LLVMDisposeBuilder(p.l.builder);
}
