/* Loops that vectorise: product of two matrices of doubles. */
#include "bench.h"

enum { N = 200 };

const uint32_t bench_rounds = 220;

static double a[N][N], b[N][N], c[N][N];

uint64_t bench_round(uint64_t seed) {
  uint64_t hash = 0;
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      a[i][j] = (double)(bench_random(&seed) & 1023);
      b[i][j] = (double)(bench_random(&seed) & 1023);
      c[i][j] = 0;
    }
  }
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < N; k++) {
      double x = a[i][k];
      for (int j = 0; j < N; j++) c[i][j] += x * b[k][j];
    }
  }
  for (int i = 0; i < N; i++) hash = bench_mix_double(hash, c[i][i]);
  return hash;
}
