#include "jit/pipeline.h"

#include "abi/abi.h"
#include "base/clock.h"
#include "base/error.h"
#include "frontend/lower/lower.h"
#include "instrument/meter/meter.h"
#include "jit/access/access.h"
#include "jit/fixup.h"
#include "jit/machine.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double pipeline_clock(void) { return clock_seconds(CLOCK_THREAD_CPUTIME_ID); }

static bool run_passes(struct pipeline *p, const char *passes, const struct compile_options *options, struct gw_error *err) {
  LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
  LLVMPassBuilderOptionsSetLoopVectorization(o, options->opt_level >= 2);
  LLVMPassBuilderOptionsSetSLPVectorization(o, options->opt_level >= 2);
  LLVMPassBuilderOptionsSetLoopUnrolling(o, options->opt_level >= 2);
  LLVMErrorRef failure = LLVMRunPasses(p->module, passes, p->machine, o);
  LLVMDisposePassBuilderOptions(o);
  if (!failure) return true;
  char *message = LLVMGetErrorMessage(failure);
  error_set(err, GW_ERROR_COMPILE, "LLVM's pass pipeline failed: %s", message);
  LLVMDisposeErrorMessage(message);
  return false;
}

static bool verify(struct pipeline *p, const char *stage, struct gw_error *err) {
  char *message = NULL;
  bool is_broken = LLVMVerifyModule(p->module, LLVMReturnStatusAction, &message);
  if (is_broken) error_set(err, GW_ERROR_COMPILE, "%s made invalid IR: %.200s", stage, message);
  LLVMDisposeMessage(message);
  return !is_broken;
}

static bool is_musttail(LLVMValueRef v) { return v && LLVMIsACallInst(v) && LLVMGetTailCallKind(v) == LLVMTailCallKindMustTail; }

/* A guaranteed tail call is found again by what stands right before the return (soften_tail_calls). */
static bool verify_tail_calls(struct pipeline *p, struct gw_error *err) {
  size_t size;
  for (LLVMValueRef f = LLVMGetFirstFunction(p->module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
      for (LLVMValueRef v = LLVMGetFirstInstruction(b); v; v = LLVMGetNextInstruction(v))
        if (is_musttail(v) && LLVMGetInstructionOpcode(LLVMGetNextInstruction(v)) != LLVMRet)
          return error_set(err, GW_ERROR_COMPILE, "something stands between a tail call and its return in function %s",
                           LLVMGetValueName2(f, &size));
  return true;
}

static void lower(struct pipeline *p, const struct module *m, const struct lower_part *part,
                  const struct compile_options *options) {
  struct lower_options lower_options = {.gas = options->gas,
                                        .exact = options->exact,
                                        .inlining = options->opt_level > 0,
                                        .dialect = options->dialect,
                                        .schedule = options->schedule,
                                        .blocks = options->blocks,
                                        .lines = options->lines};
  p->module = lower_module(p->context, m, &lower_options, part);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(p->machine);
  LLVMSetModuleDataLayout(p->module, layout);
  LLVMDisposeTargetData(layout);
  LLVMSetTarget(p->module, machine_triple());
}

/* Neighbours are found before loads are made one, as they may turn out to be the same. */
static bool simplify(struct pipeline *p, bool is_joined, const struct compile_options *options, struct gw_error *err) {
  if (!run_passes(p, "function(early-cse),ipsccp,function(instcombine<no-verify-fixpoint>)", options, err)) return false;
  if (is_joined) access_join_offsets(p->module);
  access_hold_loads(p->module);
  bool is_done = run_passes(p, "function(early-cse<memssa>,instcombine<no-verify-fixpoint>)", options, err);
  access_release_loads(p->module);
  return is_done;
}

static void relax(struct pipeline *p, const struct module *m) {
  if (access_are_checked(m)) {
    access_free_loads(p->module);
    return;
  }
  if (access_are_guarded(m)) access_check_ranges(p->module);
  access_relax_loads(p->module);
}

/* What precedes LLVM's own pipeline: SSA form, NaNs, loads that are as free as they may be, gas, and loops as they were written.
 */
static bool charge(struct pipeline *p, const struct module *m, const struct compile_options *options, struct gw_error *err) {
  if (options->verify && !verify(p, "lowering", err)) return false;
  bool is_optimized = options->opt_level > 0; /* without, all loads stay volatile */
  if (!run_passes(p, "function(mem2reg)", options, err)) return false;
  lower_canonical_nans(p->module);
  bool is_joined = is_optimized && access_spares_last_page(m);
  if (is_optimized && !simplify(p, is_joined, options, err)) return false;
  if (is_optimized && !options->exact) relax(p, m);
  if (is_optimized && !options->gas && !access_are_checked(m)) access_keep_stores(p->module);
  access_pin_vectors(p->module);
  if (options->gas && !gas_instrument(p->module, options->verify, err)) return false;
  if (is_joined && !options->exact) access_reroll_loops(p->module);
  return !options->verify || verify(p, "the gas pass", err);
}

/* The code generator tells about frames beyond what lowering allows for (warn-stack-size). What it calls an error ends the
 * process, as without a handler. */
static void on_diagnostic(LLVMDiagnosticInfoRef info, void *env) {
  struct pipeline *p = env;
  unsigned long long size, limit;
  char *text = LLVMGetDiagInfoDescription(info);
  const char *numbers = strstr(text, "stack frame size (");
  if (numbers && sscanf(numbers, "stack frame size (%llu) exceeds limit (%llu)", &size, &limit) == 2) {
    uint64_t factor = (size + ABI_FRAME_HEAD) * ABI_STACK_FACTOR / (limit + ABI_FRAME_HEAD) + 1;
    if (factor > p->stack_factor) p->stack_factor = factor < UINT32_MAX ? (uint32_t)factor : UINT32_MAX;
  } else if (LLVMGetDiagInfoSeverity(info) == LLVMDSError) {
    fprintf(stderr, "error: %s\n", text);
    exit(1);
  }
  LLVMDisposeMessage(text);
}

bool pipeline_run(struct pipeline *p, const struct module *m, const struct lower_part *part,
                  const struct compile_options *options, enum pipeline_stage stage, struct gw_error *err) {
  static const char *const passes[] = {"function(mem2reg)", "default<O1>", "default<O2>", "default<O3>"};
  double start = pipeline_clock();
  *p = (struct pipeline){.context = LLVMContextCreate(), .opt_level = options->opt_level, .cpu = options->cpu};
  p->stack_factor = ABI_STACK_FACTOR;
  LLVMContextSetDiagnosticHandler(p->context, on_diagnostic, p);
  p->machine = machine_take(p->opt_level, p->cpu, err);
  if (!p->machine) return false;
  lower(p, m, part, options);
  double lowered = pipeline_clock();
  p->seconds.lower = lowered - start;
  if (!charge(p, m, options, err)) return false;
  double charged = pipeline_clock();
  p->seconds.charge = charged - lowered;
  if (stage == STAGE_LOWERED) return true;
  if (!run_passes(p, passes[options->opt_level], options, err)) return false;
  p->seconds.optimize = pipeline_clock() - charged;
  return !options->verify || (verify(p, "optimisation", err) && verify_tail_calls(p, err));
}

/* musttail keeps the passes from parting a tail call and its return, but LLVM 22's x86-64 code generator takes such a call for
 * one that needs no stack arguments moved. Marked as `tail`, the convention's own guarantee holds, and it moves them. */
static void soften_tail_calls(LLVMModuleRef module) {
  for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b)) {
      LLVMValueRef last = LLVMGetBasicBlockTerminator(b), call = last ? LLVMGetPreviousInstruction(last) : NULL;
      if (is_musttail(call)) LLVMSetTailCallKind(call, LLVMTailCallKindTail);
    }
}

LLVMMemoryBufferRef pipeline_emit(struct pipeline *p, LLVMCodeGenFileType type, struct gw_error *err) {
  double start = pipeline_clock();
  LLVMMemoryBufferRef buffer = NULL;
  char *message = NULL;
  if (p->opt_level > 0) access_pin_loads(p->module); /* without, the code generator does as it is told */
  if (p->opt_level > 0 && machine_has_avx512vl(p->cpu)) fixup_nans(p->module);
  if (machine_has_avx512dq(p->cpu)) fixup_quiet_operands(p->module, p->opt_level > 0);
  soften_tail_calls(p->module);
  if (LLVMTargetMachineEmitToMemoryBuffer(p->machine, p->module, type, &message, &buffer)) {
    error_set(err, GW_ERROR_COMPILE, "LLVM's code generator failed: %s", message);
    LLVMDisposeMessage(message);
    return NULL;
  }
  p->seconds.emit = pipeline_clock() - start;
  return buffer;
}

void pipeline_clear(struct pipeline *p) {
  if (p->module) LLVMDisposeModule(p->module);
  if (p->machine) machine_return(p->machine, p->opt_level, p->cpu);
  if (p->context) LLVMContextDispose(p->context);
  *p = (struct pipeline){0};
}
