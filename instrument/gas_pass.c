/* The pass. The counter lives in an alloca that mem2reg turns into SSA; exec->gas is only right outside of the function
 * (gas_spill.c). A marker without check just subtracts. A check asks whether the counter went negative; if so the runtime
 * decides: it takes the next slice (and may let others run first), or ends the invocation. Loops whose length is known when they
 * start are paid in chunks and carry no check (gas_loop.c).
 *
 * Between two checks lies straight-line code of one function, leaves that it calls, and chunks of loops that the counter
 * covers; so the notice is late by a bounded amount, and every helper that an outsider could observe looks at the counter
 * itself. */
#include "instrument/gas.h"

#include "base/abi.h"
#include "instrument/gas_internal.h"

bool gas_is_marker(const struct gas_pass *p, LLVMValueRef v) {
  if (LLVMGetInstructionOpcode(v) != LLVMCall) return false;
  LLVMValueRef callee = LLVMGetCalledValue(v);
  return callee == p->charge || callee == p->charge_check;
}

uint64_t gas_marker_price(LLVMValueRef marker) { return LLVMConstIntGetZExtValue(LLVMGetOperand(marker, 0)); }

bool gas_is_call(const struct gas_pass *p, LLVMValueRef v) {
  if (LLVMGetInstructionOpcode(v) != LLVMCall || gas_is_marker(p, v)) return false;
  LLVMValueRef callee = LLVMGetCalledValue(v);
  return !LLVMIsAFunction(callee) || LLVMGetIntrinsicID(callee) == 0;
}

LLVMValueRef gas_subtract(struct gas_pass *p, LLVMValueRef amount) {
  LLVMValueRef left = LLVMBuildLoad2(p->l.builder, p->l.i64, p->counter, "");
  left = LLVMBuildSub(p->l.builder, left, amount, "");
  LLVMBuildStore(p->l.builder, left, p->counter);
  return left;
}

void gas_weigh_unlikely(struct gas_pass *p, LLVMValueRef branch) {
  LLVMContextRef c = p->l.context;
  LLVMMetadataRef fields[3] = {LLVMMDStringInContext2(c, "branch_weights", 14), LLVMValueAsMetadata(lower_i32(&p->l, 1)),
                               LLVMValueAsMetadata(lower_i32(&p->l, 100000))};
  LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(c, "prof", 4), LLVMMetadataAsValue(c, LLVMMDNodeInContext2(c, fields, 3)));
}

void gas_build_check(struct gas_pass *p, LLVMValueRef left, LLVMBasicBlockRef next) {
  struct lower *l = &p->l;
  LLVMValueRef is_negative = LLVMBuildICmp(l->builder, LLVMIntSLT, left, LLVMConstNull(l->i64), "");
  LLVMBasicBlockRef exhausted = LLVMAppendBasicBlockInContext(l->context, p->func, "exhausted");
  gas_weigh_unlikely(p, LLVMBuildCondBr(l->builder, is_negative, exhausted, next));
  LLVMPositionBuilderAtEnd(l->builder, exhausted);
  LLVMValueRef call = lower_call_helper(l, p->vmctx, HELPER_OFFSET_gas_exhausted, helper_signature_gas_exhausted, NULL);
  LLVMSetInstructionCallConv(call, PRESERVE_MOST_CC);
  LLVMBuildBr(l->builder, next);
}

/* A check marker is followed by the branch that ends its block: that becomes the check. */
static void expand_marker(struct gas_pass *p, LLVMValueRef marker) {
  LLVMBuilderRef builder = p->l.builder;
  LLVMPositionBuilderBefore(builder, marker);
  LLVMValueRef left = gas_subtract(p, LLVMGetOperand(marker, 0));
  if (LLVMGetCalledValue(marker) == p->charge_check) {
    LLVMBasicBlockRef block = LLVMGetInstructionParent(marker);
    LLVMValueRef branch = LLVMGetBasicBlockTerminator(block);
    LLVMBasicBlockRef next = LLVMGetSuccessor(branch, 0);
    LLVMInstructionEraseFromParent(branch);
    LLVMPositionBuilderAtEnd(builder, block);
    gas_build_check(p, left, next);
  }
  LLVMInstructionEraseFromParent(marker);
}

static void expand_markers(struct gas_pass *p) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(p->func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b), next; v; v = next) {
      next = LLVMGetNextInstruction(v);
      if (!gas_is_marker(p, v)) continue;
      bool ends_block = LLVMGetCalledValue(v) == p->charge_check;
      expand_marker(p, v);
      if (ends_block) break; /* the terminator has been replaced */
    }
}

/* A direct call of a function that looks at the counter itself. */
static bool is_checking_call(const struct gas_pass *p, LLVMValueRef v) {
  if (!gas_is_call(p, v) || !LLVMIsAFunction(LLVMGetCalledValue(v))) return false;
  return LLVMGetStringAttributeAtIndex(LLVMGetCalledValue(v), LLVMAttributeFunctionIndex, GAS_CHECKS, sizeof GAS_CHECKS - 1);
}

/* Whether every way on from the start of `b` comes to such a call, and soon. */
static bool leads_to_check(const struct gas_pass *p, LLVMBasicBlockRef b) {
  enum { FAR = 8 };
  for (int i = 0; i < FAR; i++) {
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (is_checking_call(p, v)) return true;
    LLVMValueRef last = LLVMGetBasicBlockTerminator(b);
    if (LLVMGetNumSuccessors(last) != 1) return false;
    b = LLVMGetSuccessor(last, 0);
  }
  return false;
}

/* A loop that calls such a function in every round need not look for itself. The first check of a function is its own, on which
 * its callers count. */
static void drop_checks_before_calls(struct gas_pass *p) {
  bool is_first = true;
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(p->func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v)) {
      if (!gas_is_marker(p, v) || LLVMGetCalledValue(v) != p->charge_check) continue;
      LLVMBasicBlockRef next = LLVMGetSuccessor(LLVMGetBasicBlockTerminator(b), 0);
      if (!is_first && leads_to_check(p, next)) LLVMSetOperand(v, (unsigned)LLVMGetNumOperands(v) - 1, p->charge);
      is_first = false;
    }
}

static bool has_marker(const struct gas_pass *p, LLVMValueRef func) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (gas_is_marker(p, v)) return true;
  return false;
}

static void instrument_function(struct gas_pass *p, LLVMValueRef func) {
  if (!has_marker(p, func)) return;
  p->func = func;
  p->vmctx = LLVMGetParam(func, 0);
  LLVMPositionBuilderBefore(p->l.builder, LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(func)));
  p->counter = LLVMBuildAlloca(p->l.builder, p->l.i64, "gas");
  gas_convert_loops(p);
  drop_checks_before_calls(p);
  gas_sink_markers(p);
  expand_markers(p);
  gas_spill_counter(p);
}

void gas_instrument(LLVMModuleRef llvm_module) {
  struct gas_pass p = {.charge = LLVMGetNamedFunction(llvm_module, GAS_CHARGE),
                       .charge_check = LLVMGetNamedFunction(llvm_module, GAS_CHARGE_CHECK)};
  lower_init(&p.l, llvm_module);
  p.l.charge_type = LLVMGlobalGetValueType(p.charge);
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f; f = LLVMGetNextFunction(f))
    if (!LLVMIsDeclaration(f)) instrument_function(&p, f);
  LLVMDisposeBuilder(p.l.builder);
}
