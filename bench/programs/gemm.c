/* Dense linear algebra as PolyBench has it, arrays on the heap: C = beta C + alpha A B. */
#include "bench.h"

#include <stdlib.h>

enum { N = 200 };

const uint32_t bench_rounds = 190;

static void gemm(int n, double alpha, double beta, double c[n][n], double a[n][n], double b[n][n]) {
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) c[i][j] *= beta;
    for (int k = 0; k < n; k++)
      for (int j = 0; j < n; j++) c[i][j] += alpha * a[i][k] * b[k][j];
  }
}

uint64_t bench_round(uint64_t seed) {
  double *a = malloc(N * N * sizeof *a), *b = malloc(N * N * sizeof *b), *c = calloc(N * N, sizeof *c);
  uint64_t hash = 0;
  for (int i = 0; i < N * N; i++) {
    a[i] = (double)(bench_random(&seed) & 1023);
    b[i] = (double)(bench_random(&seed) & 1023);
  }
  gemm(N, 1.5, 1.2, (void *)c, (void *)a, (void *)b);
  for (int i = 0; i < N; i++) hash = bench_mix_double(hash, c[i * N + i]);
  free(a);
  free(b);
  free(c);
  return hash;
}
