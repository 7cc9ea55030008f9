/* From a part of a validated module to an object file, in stages that both the JIT and the dumps use. */
#ifndef JIT_PIPELINE_H
#define JIT_PIPELINE_H

#include "frontend/lower/lower.h"
#include "jit/compiler.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

/* One compilation. Everything in it belongs to it. */
struct pipeline {
  LLVMContextRef context;
  LLVMModuleRef module;
  LLVMTargetMachineRef machine;
  uint32_t opt_level;
  const char *cpu;
  uint32_t stack_factor; /* of struct image; known when an object file has been emitted */
  struct compile_seconds seconds;
};

enum pipeline_stage { STAGE_LOWERED, STAGE_OPTIMIZED };

/* Lowers, instruments and (STAGE_OPTIMIZED) optimises. `*p` must be cleared in every case. */
bool pipeline_run(struct pipeline *p, const struct module *m, const struct lower_part *part,
                  const struct compile_options *options, enum pipeline_stage stage, struct gw_error *err);

/* The optimised module as an object file or as assembly; NULL with err set. The caller disposes of the buffer. */
LLVMMemoryBufferRef pipeline_emit(struct pipeline *p, LLVMCodeGenFileType type, struct gw_error *err);

void pipeline_clear(struct pipeline *p);

/* CPU seconds of this thread. */
double pipeline_clock(void);

#endif
