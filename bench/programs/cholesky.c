/* Dense linear algebra with a triangular shape: Cholesky's factorisation of a positive definite matrix. */
#include "bench.h"

#include <math.h>

enum { N = 200 };

const uint32_t bench_rounds = 900;

static double a[N][N];

static void fill(uint64_t *seed) {
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < i; j++) a[i][j] = (double)(bench_random(seed) & 255) * (1.0 / 256);
    a[i][i] = N;
  }
}

uint64_t bench_round(uint64_t seed) {
  fill(&seed);
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < i; j++) {
      double sum = a[i][j];
      for (int k = 0; k < j; k++) sum -= a[i][k] * a[j][k];
      a[i][j] = sum / a[j][j];
    }
    double rest = a[i][i];
    for (int k = 0; k < i; k++) rest -= a[i][k] * a[i][k];
    a[i][i] = sqrt(rest);
  }
  return bench_mix_double(bench_mix_double(0, a[N - 1][N - 1]), a[N - 1][N / 2]);
}
