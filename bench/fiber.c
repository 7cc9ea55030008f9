/* What a switch of stacks takes: bench_fiber. Prints nanoseconds of one fiber_resume with its fiber_suspend, and of a run on a
 * fiber from its start to its end; the least of ten rounds. */
#include "runtime/fiber.h"

#include <stdio.h>
#include <time.h>

enum { ROUNDS = 10, SWITCHES = 1000000 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void suspend_for_ever(void *arg) {
  for (;;) fiber_suspend(arg);
}

static void end_at_once(void *arg) { fiber_end(arg); }

int main(void) {
  struct fiber f, g;
  double pair = 1e9, run = 1e9;
  if (!fiber_open(&f, 1 << 20, NULL) || !fiber_open(&g, 1 << 20, NULL)) return 1;
  fiber_start(&f, suspend_for_ever, &f);
  for (int round = 0; round < ROUNDS; round++) {
    double start = now();
    for (int i = 0; i < SWITCHES; i++) fiber_resume(&f);
    double between = now();
    for (int i = 0; i < SWITCHES; i++) {
      fiber_start(&g, end_at_once, &g);
      fiber_resume(&g);
    }
    double end = now();
    if ((between - start) / SWITCHES < pair) pair = (between - start) / SWITCHES;
    if ((end - between) / SWITCHES < run) run = (end - between) / SWITCHES;
  }
  printf("resume and suspend %.1f ns, start to end %.1f ns\n", pair, run);
  return 0;
}
