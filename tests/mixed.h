/* For generators of modules: random sets of functions, compiled by themselves for stores of the mixed tier. */
#ifndef TESTS_MIXED_H
#define TESTS_MIXED_H

#include "base/heap.h"
#include "frontend/module.h"
#include "runtime/compile.h"

#include <stdio.h>
#include <stdlib.h>

static inline uint32_t mixed_below(uint64_t *random, uint32_t n) {
  *random = *random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((*random >> 33) % n);
}

/* Each function with the same chance, in any order. What cannot be mixed stays in baseline code; any other failure ends the
 * program. */
static inline void mixed_compile(struct gw_module *module, uint64_t *random) {
  const struct module *m = gw_module_decoded(module);
  uint32_t n = 0, chance = 1 + mixed_below(random, 3);
  uint32_t *funcs = heap_new((size_t)m->n_funcs + 1, sizeof *funcs);
  struct gw_error err = {0};
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++)
    if (mixed_below(random, 4) < chance) funcs[n++] = i;
  for (uint32_t i = n; i > 1; i--) {
    uint32_t k = mixed_below(random, i), func = funcs[k];
    funcs[k] = funcs[i - 1];
    funcs[i - 1] = func;
  }
  if (module_can_mix(module) && !module_compile_functions(module, funcs, n, &err)) {
    printf("a set of functions is not compiled: %s\n", err.message);
    if (err.code != GW_ERROR_LIMIT) exit(1); /* frames may be too large */
  }
  free(funcs);
}

#endif
