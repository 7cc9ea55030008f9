/* Products of a matrix, along its rows and along its columns, with vectors: x1 += A y1, x2 += A' y2. */
#include "bench.h"

#include <stdlib.h>

enum { N = 400 };

const uint32_t bench_rounds = 1600;

static void mvt(int n, double *x1, double *x2, double *y1, double *y2, double a[n][n]) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) x1[i] += a[i][j] * y1[j];
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) x2[j] += a[i][j] * y2[i];
}

uint64_t bench_round(uint64_t seed) {
  static double *a, *v[4];
  uint64_t hash = 0;
  if (!a) {
    a = malloc(N * N * sizeof *a);
    for (int k = 0; k < 4; k++) v[k] = malloc(N * sizeof *v[k]);
  }
  for (int i = 0; i < N * N; i++) a[i] = (double)(i * 7 % 1021);
  for (int k = 0; k < 4; k++)
    for (int i = 0; i < N; i++) v[k][i] = (double)(bench_random(&seed) & 1023);
  mvt(N, v[0], v[1], v[2], v[3], (void *)a);
  for (int i = 0; i < N; i++) hash = bench_mix_double(hash, v[0][i] + v[1][i]);
  return hash;
}
