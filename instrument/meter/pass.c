/* The pass. The counter lives in an alloca that mem2reg turns into SSA; calls hand it over, in a register or in
 * exec->gas (instrument/meter/spill.c). A marker without check just subtracts. A check asks whether the counter went negative; if
 * so the runtime decides: it takes the next slice (and may let others run first), or ends the invocation. Loops whose length is
 * known when they start are paid in chunks and carry no check (instrument/meter/loop.c).
 *
 * Between two checks lies straight-line code of one function, leaves that it calls, and chunks of loops, of
 * CHUNK_GAS; so the notice is late by a bounded amount, and every helper that an outsider could observe checks the counter
 * itself. */
#include "instrument/meter/meter.h"

#include "abi/abi.h"
#include "base/error.h"
#include "instrument/meter/internal.h"

#include <stdlib.h>
#include <string.h>

bool gas_is_marker(const struct gas_pass *p, LLVMValueRef v) {
  if (LLVMGetInstructionOpcode(v) != LLVMCall) return false;
  LLVMValueRef callee = LLVMGetCalledValue(v);
  return callee == p->charge || callee == p->charge_check;
}

uint64_t gas_marker_price(LLVMValueRef marker) { return LLVMConstIntGetZExtValue(LLVMGetOperand(marker, 0)); }

bool gas_is_call(const struct gas_pass *p, LLVMValueRef v) {
  if (LLVMGetInstructionOpcode(v) != LLVMCall || gas_is_marker(p, v)) return false;
  LLVMValueRef callee = LLVMGetCalledValue(v);
  if (LLVMIsAInlineAsm(callee)) return false; /* a check, or what hides or clamps a value */
  return !LLVMIsAFunction(callee) || LLVMGetIntrinsicID(callee) == 0;
}

void gas_subtract(struct gas_pass *p, LLVMValueRef amount) {
  LLVMValueRef left = LLVMBuildLoad2(p->ir.builder, p->ir.i64, p->counter, "");
  left = LLVMBuildSub(p->ir.builder, left, amount, "");
  LLVMBuildStore(p->ir.builder, left, p->counter);
}

static void add_call_attribute(const struct ir *ir, LLVMValueRef call, const char *name, uint64_t value) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(ir->context, kind, value));
}

/* What a check does to memory, as LLVM numbers it: two bits a kind (arguments, inaccessible, errno, other), 1 reads, 2 writes. It
 * reads all, so that no store that comes before it is moved behind it: a store that faults must do so before gas runs out. */
enum { CHECK_MEMORY = 1 | 3 << 2 | 1 << 4 | 1 << 6 };

#define STRING(x) #x
#define NUMBER(x) STRING(x)

/* The cold part lies behind the function, in subsection 1 of its section. The distance behind its call leads back, to where the
 * runtime says that the invocation was (runtime/arch/x86_64/exhausted.S). */
void gas_build_check(struct gas_pass *p, LLVMValueRef amount) {
  static const char text[] = "subq $2, $0\n\tjs 2f\n1:\n\t.subsection 1\n2:\n\tmovq $0, %gs:0\n\tcallq *%gs:" NUMBER(
      EXEC_EXHAUSTED) "\n\t.long 1b-.\n\tmovq %gs:0, $0\n\tjmp 1b\n\t.previous";
  static const char constraints[] = "=r,0,e,~{flags}";
  struct ir *ir = &p->ir;
  long long known = LLVMIsAConstantInt(amount) ? LLVMConstIntGetSExtValue(amount) : INT64_MAX;
  bool is_small = known >= INT32_MIN && known <= INT32_MAX;
  if (!is_small) gas_subtract(p, amount);
  LLVMTypeRef params[2] = {ir->i64, ir->i64}, type = LLVMFunctionType(ir->i64, params, 2, false);
  LLVMValueRef check = LLVMGetInlineAsm(type, text, sizeof text - 1, constraints, sizeof constraints - 1, true, false,
                                        LLVMInlineAsmDialectATT, false);
  LLVMValueRef args[2] = {LLVMBuildLoad2(ir->builder, ir->i64, p->counter, ""), is_small ? amount : LLVMConstNull(ir->i64)};
  LLVMValueRef left = LLVMBuildCall2(ir->builder, type, check, args, 2, "");
  add_call_attribute(ir, left, "nounwind", 0);
  add_call_attribute(ir, left, "memory", CHECK_MEMORY);
  LLVMBuildStore(ir->builder, left, p->counter);
}

static void expand_marker(struct gas_pass *p, LLVMValueRef marker) {
  LLVMBuilderRef builder = p->ir.builder;
  LLVMPositionBuilderBefore(builder, marker);
  if (LLVMGetCalledValue(marker) == p->charge_check)
    gas_build_check(p, LLVMGetOperand(marker, 0));
  else
    gas_subtract(p, LLVMGetOperand(marker, 0));
  LLVMInstructionEraseFromParent(marker);
}

static void expand_markers(struct gas_pass *p) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(p->func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b), next; v; v = next) {
      next = LLVMGetNextInstruction(v);
      if (!gas_is_marker(p, v)) continue;
      expand_marker(p, v);
    }
}

/* Whether the function charges, or calls helpers that may charge what was handed over to it. */
static bool needs_counter(const struct gas_pass *p, LLVMValueRef func) {
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(func); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
      if (gas_is_marker(p, v) || (p->handed && gas_is_call(p, v))) return true;
  return false;
}

static bool instrument_function(struct gas_pass *p, LLVMValueRef func, bool must_verify, struct gw_error *err) {
  p->func = func;
  p->n_converted = 0;
  p->handed = ir_handed(&p->ir, func);
  if (!needs_counter(p, func)) return true;
  LLVMPositionBuilderBefore(p->ir.builder, LLVMGetFirstInstruction(LLVMGetEntryBasicBlock(func)));
  p->counter = LLVMBuildAlloca(p->ir.builder, p->ir.i64, "gas");
  gas_convert_loops(p);
  gas_sink_markers(p);
  gas_bound_latency(p);
  bool ok = !must_verify || gas_verify_latency(p, err);
  expand_markers(p);
  gas_spill_counter(p);
  return ok;
}

bool gas_instrument(LLVMModuleRef llvm_module, bool must_verify, struct gw_error *err) {
  struct gas_pass p = {.charge = LLVMGetNamedFunction(llvm_module, GAS_CHARGE),
                       .charge_check = LLVMGetNamedFunction(llvm_module, GAS_CHARGE_CHECK)};
  ir_init(&p.ir, llvm_module);
  p.charge_type = LLVMGlobalGetValueType(p.charge);
  bool ok = true;
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm_module); f && ok; f = LLVMGetNextFunction(f))
    if (!LLVMIsDeclaration(f)) ok = instrument_function(&p, f, must_verify, err);
  LLVMDisposeBuilder(p.ir.builder);
  free(p.converted);
  return ok;
}
