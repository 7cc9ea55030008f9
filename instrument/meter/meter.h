/* The gas pass: charge markers (instrument/marker.h) become a counter. Semantics: docs/gas.md. */
#ifndef INSTRUMENT_METER_METER_H
#define INSTRUMENT_METER_METER_H

#include "gasworks/error.h"
#include "instrument/marker.h"

#include <llvm-c/Core.h>
#include <stdbool.h>

/* Whether the loop that this branch closes leaves when its counter is equal to a limit that whole rounds lead to, because
 * gas_instrument chose the limit. */
bool gas_counts_evenly(LLVMValueRef branch);

/* Rewrites every marker of the module. `must_verify`: makes sure of how late the notice may come (instrument/meter/verify.c),
 * which is the only error that there can be. The counter is a local of each function, taken from exec->gas at entry, written back
 * around calls and at returns; a check calls exec->exhausted when the counter is negative. */
bool gas_instrument(LLVMModuleRef llvm_module, bool must_verify, struct gw_error *err);

#endif
