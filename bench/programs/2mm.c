/* Two dense products in a row, single precision, the inner loop along the rows: D = (A * B) * C + D / 2. */
#include "bench.h"

enum { N = 160 };

const uint32_t bench_rounds = 700;

static float a[N][N], b[N][N], c[N][N], d[N][N], product[N][N];

static void multiply(float out[N][N], float x[N][N], float y[N][N]) {
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < N; k++) {
      float factor = x[i][k];
      for (int j = 0; j < N; j++) out[i][j] += factor * y[k][j];
    }
  }
}

uint64_t bench_round(uint64_t seed) {
  float *const matrices[] = {a[0], b[0], c[0]};
  for (int m = 0; m < 3; m++)
    for (int i = 0; i < N * N; i++) matrices[m][i] = (float)(bench_random(&seed) & 255) * (1.0f / 4096);
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      product[i][j] = 0;
      d[i][j] *= 0.5f;
    }
  }
  multiply(product, a, b);
  multiply(d, product, c);
  return bench_mix_double(0, d[N / 2][N / 3]);
}
