/* What a space takes and has cost: the record that stores keep of it (struct store_use). */
#include "runtime/state/private.h"

#include <string.h>
#include <time.h>

uint64_t state_use_now(void) { return (uint64_t)time(NULL); }

/* Earlier versions kept `bytes` alone: nobody knows since when it was so much. */
bool state_use_read(struct store_use *use, const void *value, size_t size, uint64_t now) {
  *use = (struct store_use){.since = now};
  if (size != sizeof *use && size != sizeof use->bytes) return false;
  memcpy(use, value, size);
  return true;
}

void state_use_settle(struct store_use *use, uint64_t now) {
  uint64_t cost;
  if (now <= use->since) return;
  if (__builtin_mul_overflow(use->bytes, now - use->since, &cost) || __builtin_add_overflow(use->rent, cost, &use->rent))
    use->rent = UINT64_MAX;
  use->since = now;
}

void state_use_tell(const struct store_use *use, struct state_seal *seal) { seal->rent = use->rent - use->receipted; }

void state_use_told(struct store_use *use) { use->receipted = use->rent; }
