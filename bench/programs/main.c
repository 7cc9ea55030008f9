/* Runs the rounds and prints "CHECKSUM SECONDS CPU_SECONDS". Time is taken in the program: starting and compiling are not
 * measured. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef __wasi__
#include <wasi/api.h>
#endif

/* Seconds of this process on a processor: less noisy than what a clock on the wall says. */
static double cpu_seconds(void) {
#ifdef __wasi__ /* whose libc does not pass this clock on */
  __wasi_timestamp_t ns = 0;
  if (__wasi_clock_time_get(__WASI_CLOCKID_PROCESS_CPUTIME_ID, 1, &ns)) return 0;
  return (double)ns * 1e-9;
#else
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
#endif
}

int main(int argc, char **argv) {
  uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : bench_rounds;
  struct timespec start, end;
  uint64_t hash = 1;
  double cpu_start = cpu_seconds();
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (uint32_t i = 0; i < rounds; i++) hash = bench_mix(hash, bench_round(hash | 1));
  clock_gettime(CLOCK_MONOTONIC, &end);
  double cpu = cpu_seconds() - cpu_start;
  double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
  printf("%016" PRIx64 " %.6f %.6f\n", hash, seconds, cpu);
  return 0;
}
