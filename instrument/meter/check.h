/* How much work may lie between two checks the counter (instrument/meter/check.c), in LLVM instructions. */
#ifndef INSTRUMENT_METER_CHECK_H
#define INSTRUMENT_METER_CHECK_H

#include "instrument/meter/internal.h"

enum {
  MOST_LATE = 1 << 14,    /* in a function that checks gas at its entry */
  MOST_LEAF = 512,        /* in one that does not; so a call of one counts */
  MOST_TAIL = 128,        /* between the last call and a return */
  HELPER = 64,            /* a call of a helper, which checks itself where it could take long */
  CHECK_BEHIND_LOOP = 32, /* within so many instructions a gas check follows a counted loop that may take long */
};

/* What an instruction does about gas checks. */
enum gas_event {
  GAS_WORK,
  GAS_LOOK,
  GAS_CHECKING_CALL, /* of a function that checks gas at its entry */
  GAS_HELPER_CALL,
  GAS_LEAF_CALL,    /* of one that does not */
  GAS_UNKNOWN_CALL, /* through a pointer: of any function, and in stores with tail calls of a helper */
};

enum gas_event gas_event_of(const struct gas_pass *p, LLVMValueRef v);

static inline int32_t gas_most_late(const struct gas_pass *p) { return gas_checks_at_entry(p->func) ? MOST_LATE : MOST_LEAF; }

#endif
