#include "base/cpu_clock.h"

#include "base/clock.h"

enum { SUSPECT_NS = 200000 };

static _Thread_local uint64_t asked; /* what the thread's clock said last */

/* A function of its own: no address of a thread-local variable stays in a fiber's frame. */
__attribute__((noinline)) static uint64_t ask_thread(void) {
  uint64_t now = clock_ns(CLOCK_THREAD_CPUTIME_ID), lap = now - asked;
  asked = now;
  return lap;
}

static uint64_t now_of(const struct cpu_clock *clock) { return clock->now ? clock->now() : clock_ns(CLOCK_MONOTONIC); }

void cpu_clock_begin(struct cpu_clock *clock, bool is_long) {
  if (is_long && !clock->now) ask_thread();
  clock->at = now_of(clock);
}

uint64_t cpu_clock_lap(struct cpu_clock *clock) {
  uint64_t now = now_of(clock), lap = now - clock->at;
  clock->at = now;
  if (lap < SUSPECT_NS || clock->now) return lap;
  uint64_t most = ask_thread();
  clock->at = now_of(clock);
  return lap < most ? lap : most;
}
