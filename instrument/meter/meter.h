/* The gas pass: charge markers become a counter. Semantics: docs/gas.md.
 *
 * The contract with lowering: a gas block begins with `call void @gw.charge(i64 N)`, or, where the limit has to be
 * looked at (function entries, loop headers), with `call void @gw.charge.check(i64 N)` as the last instruction but one of its
 * LLVM block, followed by an unconditional branch. */
#ifndef INSTRUMENT_METER_METER_H
#define INSTRUMENT_METER_METER_H

#include "gasworks/error.h"

#include <llvm-c/Core.h>
#include <stdbool.h>

#define GAS_CHARGE "gw.charge"
#define GAS_CHARGE_CHECK "gw.charge.check"
/* Attribute of functions that look at the counter before anything else. */
#define GAS_CHECKS "gw-checks"

/* Whether the loop that this branch closes leaves when its counter is equal to a limit that whole rounds lead to, because
 * gas_instrument chose the limit. */
bool gas_counts_evenly(LLVMValueRef branch);

/* Rewrites every marker of the module. `must_verify`: makes sure of how late the notice may come (instrument/meter/verify.c),
 * which is the only error that there can be. The counter is a local of each function, taken from exec->gas at entry, written back
 * around calls and at returns; a check calls exec->exhausted when the counter is negative. */
bool gas_instrument(LLVMModuleRef llvm_module, bool must_verify, struct gw_error *err);

#endif
