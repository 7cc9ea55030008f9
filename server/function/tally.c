#include "server/function/tally.h"

#include "base/heap.h"

#include <stdlib.h>

struct tally {
  struct tally_part *_Atomic parts; /* only grows */
};

struct tally *tally_create(void) {
  return heap_new(1, sizeof(struct tally));
}

void tally_destroy(struct tally *tally) {
  struct tally_part *part = atomic_load(&tally->parts);
  while (part) {
    struct tally_part *next = part->next;
    free(part);
    part = next;
  }
  free(tally);
}

/* Only the owner adds its part, so nobody adds it twice. */
struct tally_part *tally_part(struct tally *tally, const void *owner) {
  struct tally_part *first = atomic_load_explicit(&tally->parts, memory_order_acquire), *part = first;
  while (part && part->owner != owner) part = part->next;
  if (part) return part;
  part = heap_new(1, sizeof *part);
  part->owner = owner;
  part->next = first;
  while (!atomic_compare_exchange_weak_explicit(&tally->parts, &part->next, part, memory_order_release, memory_order_relaxed)) {
  }
  return part;
}

static uint64_t value_of(const _Atomic uint64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); }

void tally_sum(const struct tally *tally, struct tally_part *sum) {
  const struct tally_part *part = atomic_load_explicit(&tally->parts, memory_order_acquire);
  *sum = (struct tally_part){0};
  for (; part; part = part->next) {
#define TALLY(name, text, help) tally_add(&sum->name, value_of(&part->name));
#include "server/function/tally.def"
#undef TALLY
    tally_add(&sum->microseconds, value_of(&part->microseconds));
    for (int i = 0; i < TALLY_BUCKETS; i++) tally_add(&sum->latency[i], value_of(&part->latency[i]));
  }
}

/* Up to 4 microseconds each has its own; behind that, the four quarters between two powers of two. */
static int bucket_of(uint64_t us) {
  if (us <= 4) return us ? (int)us - 1 : 0;
  int power = 63 - __builtin_clzll(us - 1);
  if (power > TALLY_TOP) return TALLY_BOUNDS;
  return 4 + 4 * (power - 2) + (int)((us - 1) >> (power - 2) & 3);
}

uint64_t tally_bound(int bucket) {
  if (bucket < 4) return (uint64_t)bucket + 1;
  int power = 2 + (bucket - 4) / 4, quarter = (bucket - 4) % 4;
  return (UINT64_C(1) << power) + (uint64_t)(quarter + 1) * (UINT64_C(1) << (power - 2));
}

void tally_add_latency(struct tally_part *part, uint64_t microseconds) {
  tally_add(&part->microseconds, microseconds);
  tally_add(&part->latency[bucket_of(microseconds)], 1);
}
