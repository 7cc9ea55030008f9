/* Budgets for fuzz_bodies.c: a file of its own, as what is private to budget.c has names that others have, too. */
#include "server/api/budget.c"
#include "server/usage/private.h"

void fuzz_budget(const uint8_t *bytes, size_t size);

void fuzz_budget(const uint8_t *bytes, size_t size) {
  static struct usage usage = {.prices = {.of = {1}}};
  struct exchange x = {.request = {.body = {.bytes = (uint8_t *)(uintptr_t)bytes, .size = size}}};
  struct change change = {.exchange = &x, .usage = &usage};
  if (!take_patch(&change)) return;
  for (size_t i = 0; i < N_LIMITS; i++)
    if (*limit_of(&change.budget, i) > (uint64_t)1 << 53) abort();
}
