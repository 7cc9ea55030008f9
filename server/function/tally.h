/* What is counted of one function: the rows of tally.def and how long requests took. All versions of a name have one tally, so it
 * outlives any of them. Each loop counts in a part of its own, without locks; who asks adds them up. */
#ifndef SERVER_FUNCTION_TALLY_H
#define SERVER_FUNCTION_TALLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Latencies: four buckets for each power of two of microseconds, up to 2^27 (134 s), and one for what took longer. So a quantile
 * is at most a quarter too high. */
enum { TALLY_TOP = 26, TALLY_BOUNDS = 4 + 4 * (TALLY_TOP - 1), TALLY_BUCKETS = TALLY_BOUNDS + 1 };

struct tally_part {
  struct tally_part *next;
  const void *owner; /* whose thread alone counts here */
#define TALLY(name, text, help) _Atomic uint64_t name;
#include "server/function/tally.def"
#undef TALLY
  _Atomic uint64_t microseconds; /* of all requests together */
  _Atomic uint64_t latency[TALLY_BUCKETS];
};

struct tally;

struct tally *tally_create(void);
void tally_destroy(struct tally *tally);
/* The owner's part, made when it is first asked for. It lives as long as the tally. */
struct tally_part *tally_part(struct tally *tally, const void *owner);
/* All parts added up, to be read only. Any thread. */
void tally_sum(const struct tally *tally, struct tally_part *sum);

/* A request took so long. Of the part's owner. */
void tally_add_latency(struct tally_part *part, uint64_t microseconds);
/* The most microseconds that a bucket below TALLY_BOUNDS holds. */
uint64_t tally_bound(int bucket);

static inline void tally_add(_Atomic uint64_t *counter, uint64_t n) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
