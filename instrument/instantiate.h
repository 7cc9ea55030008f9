/* What it costs to make an instance, or to reset one: docs/gas.md, section 3. */
#ifndef INSTRUMENT_INSTANTIATE_H
#define INSTRUMENT_INSTANTIATE_H

#include "frontend/module.h"
#include "instrument/schedule.h"

/* Follows from the module alone. UINT64_MAX where that is too small a type for it. */
uint64_t gas_of_instance(const struct module *m, const struct schedule *s);

/* Of `bytes` of a memory, at a price for 64 KiB: smaller pages cost their share, rounded up once. */
uint64_t gas_of_pages(uint64_t bytes, uint64_t price);

#endif
