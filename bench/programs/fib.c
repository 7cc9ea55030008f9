/* Calls: the doubly recursive Fibonacci function. */
#include "bench.h"

const uint32_t bench_rounds = 250;

static __attribute__((noinline)) uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

uint64_t bench_round(uint64_t seed) { return fib(28 + (uint32_t)(seed & 1)); }
