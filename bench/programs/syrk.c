/* The same for a triangle, with rows of the second operand as columns: C = beta C + alpha A A'. */
#include "bench.h"

#include <stdlib.h>

enum { N = 200 };

const uint32_t bench_rounds = 200;

static void syrk(int n, double alpha, double beta, double c[n][n], double a[n][n]) {
  for (int i = 0; i < n; i++) {
    for (int j = 0; j <= i; j++) c[i][j] *= beta;
    for (int k = 0; k < n; k++)
      for (int j = 0; j <= i; j++) c[i][j] += alpha * a[i][k] * a[j][k];
  }
}

uint64_t bench_round(uint64_t seed) {
  double *a = malloc(N * N * sizeof *a), *c = calloc(N * N, sizeof *c);
  uint64_t hash = 0;
  for (int i = 0; i < N * N; i++) a[i] = (double)(bench_random(&seed) & 1023);
  syrk(N, 1.5, 1.2, (void *)c, (void *)a);
  for (int i = 0; i < N; i++) hash = bench_mix_double(hash, c[i * N + i / 2]);
  free(a);
  free(c);
  return hash;
}
