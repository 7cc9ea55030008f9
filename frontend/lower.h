/* Lowering: a validated module becomes LLVM IR. */
#ifndef FRONTEND_LOWER_H
#define FRONTEND_LOWER_H

#include "frontend/module.h"
#include "instrument/blocks.h"
#include "instrument/cost.h"

#include <llvm-c/Core.h>

/* The constant array of code addresses that stands for the module: n_funcs functions (thunks for imported ones), then an entry
 * thunk (or null) per type, then the end of the code. */
#define LOWER_CODE_TABLE "gw.code"

struct lower_options {
  bool gas;                        /* emit charge markers (instrument/gas.h) */
  bool exceptions;                 /* look for a pending exception after calls */
  const struct schedule *schedule; /* prices of the markers */
  struct gas_blocks *blocks;       /* to be filled when the runtime wants a profile, or NULL */
};

/* A fresh LLVM module in `context`, owned by the caller. Cannot fail on a validated module. */
LLVMModuleRef lower_module(LLVMContextRef context, const struct module *m, const struct lower_options *options);

/* Makes plain loads of the volatile guest loads that an effect depends on (lower_loads.c). Run on simplified SSA form, before
 * anything that moves instructions. */
void lower_relax_loads(LLVMModuleRef llvm_module);

/* After that: vectors that are still volatile are loaded so that the code generator cannot narrow them. */
void lower_pin_vectors(LLVMModuleRef module);

#endif
