/* The gas pass: charge markers become a counter. Semantics: docs/gas.md.
 *
 * The contract with lowering: a gas block begins with `call void @gw.charge(i64 N)`, or, where the limit has to be
 * looked at (function entries, loop headers), with `call void @gw.charge.check(i64 N)` as the last instruction but one of its
 * LLVM block, followed by an unconditional branch. */
#ifndef INSTRUMENT_GAS_H
#define INSTRUMENT_GAS_H

#include <llvm-c/Core.h>

#define GAS_CHARGE "gw.charge"
#define GAS_CHARGE_CHECK "gw.charge.check"
/* Attribute of functions that look at the counter before anything else. */
#define GAS_CHECKS "gw-checks"

/* Rewrites every marker of the module. The counter is a local of each function, taken from exec->gas at entry, written back
 * around calls and at returns; a check calls exec->exhausted when the counter is negative. */
void gas_instrument(LLVMModuleRef llvm_module);

#endif
