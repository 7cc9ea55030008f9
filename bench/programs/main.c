/* Runs the rounds and prints "CHECKSUM SECONDS". Time is taken in the program: starting and compiling are not measured. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
  uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : bench_rounds;
  struct timespec start, end;
  uint64_t hash = 1;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (uint32_t i = 0; i < rounds; i++) hash = bench_mix(hash, bench_round(hash | 1));
  clock_gettime(CLOCK_MONOTONIC, &end);
  double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
  printf("%016" PRIx64 " %.6f\n", hash, seconds);
  return 0;
}
