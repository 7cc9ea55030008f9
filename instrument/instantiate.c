/* An invocation gets an instance that nobody has used. Making one, and resetting one that was used, are the same to it, so it
 * pays for what both may have to do: memories that will be touched, tables that are filled, segments and globals that are copied.
 * Sizes come from the module, which may say anything; sums that do not fit stay at the greatest number. */
#include "instrument/schedule.h"

#include "frontend/module.h"

enum { PAGE = 65536 };

static void add(uint64_t *sum, uint64_t n, uint64_t price) {
  uint64_t gas;
  if (__builtin_mul_overflow(n, price, &gas) || __builtin_add_overflow(*sum, gas, sum)) *sum = UINT64_MAX;
}

uint64_t gas_of_pages(uint64_t bytes, uint64_t price) {
  uint64_t gas = (bytes % PAGE * price + PAGE - 1) / PAGE;
  add(&gas, bytes / PAGE, price);
  return gas;
}

static void add_memory(uint64_t *sum, const struct limits *l, uint64_t price) {
  uint64_t bytes;
  if (__builtin_mul_overflow(l->min, UINT64_C(1) << l->page_size_log2, &bytes)) bytes = UINT64_MAX;
  add(sum, 1, gas_of_pages(bytes, price));
}

static void add_segments(uint64_t *sum, const struct module *m, const uint32_t *gas) {
  for (uint32_t i = 0; i < m->n_datas; i++) {
    if (m->datas[i].mode != SEGMENT_ACTIVE) continue;
    add(sum, 1, gas[COST_BULK]);
    add(sum, ((uint64_t)m->datas[i].size + 15) / 16, gas[COST_MEMORY_BYTES_16]);
  }
  for (uint32_t i = 0; i < m->n_elems; i++) {
    if (m->elems[i].mode != SEGMENT_ACTIVE) continue;
    add(sum, 1, gas[COST_BULK]);
    add(sum, m->elems[i].n, gas[COST_TABLE_ENTRY]);
  }
}

uint64_t gas_of_instance(const struct module *m, const struct schedule *s) {
  uint64_t sum = 0;
  for (uint32_t i = m->n_imported_memories; i < m->n_memories; i++)
    add_memory(&sum, &m->memories[i].type.limits, s->gas[COST_INITIAL_PAGE]);
  for (uint32_t i = m->n_imported_tables; i < m->n_tables; i++)
    add(&sum, m->tables[i].type.limits.min, s->gas[COST_INITIAL_ENTRY]);
  add(&sum, m->n_globals - m->n_imported_globals, s->gas[COST_INITIAL_GLOBAL]);
  add_segments(&sum, m, s->gas);
  return sum;
}
