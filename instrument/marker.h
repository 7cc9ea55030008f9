/* Charge markers: what lowering leaves in the IR for the gas pass (instrument/meter/).
 *
 * A gas block begins with `call void @gw.charge(i64 N)`, or, where the limit has to be looked at (function entries, loop
 * headers), with `call void @gw.charge.check(i64 N)` as the last instruction but one of its LLVM block, followed by an
 * unconditional branch. */
#ifndef INSTRUMENT_MARKER_H
#define INSTRUMENT_MARKER_H

#define GAS_CHARGE "gw.charge"
#define GAS_CHARGE_CHECK "gw.charge.check"
/* Attribute of functions that check the counter before anything else. */
#define GAS_CHECKS "gw-checks"

#endif
