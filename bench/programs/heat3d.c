/* A stencil in three dimensions: heat spreading in a block. */
#include "bench.h"

enum { N = 48, STEPS = 8 };

const uint32_t bench_rounds = 800;

static double blocks[2][N][N][N];

static void relax(double to[N][N][N], double from[N][N][N]) {
  for (int i = 1; i < N - 1; i++) {
    for (int j = 1; j < N - 1; j++) {
      for (int k = 1; k < N - 1; k++) {
        double here = from[i][j][k];
        double across = from[i - 1][j][k] - 2 * here + from[i + 1][j][k];
        double along = from[i][j - 1][k] - 2 * here + from[i][j + 1][k];
        double up = from[i][j][k - 1] - 2 * here + from[i][j][k + 1];
        to[i][j][k] = here + 0.125 * (across + along + up);
      }
    }
  }
}

uint64_t bench_round(uint64_t seed) {
  for (int j = 0; j < N; j++)
    for (int k = 0; k < N; k++) blocks[0][0][j][k] = blocks[1][0][j][k] = (double)(bench_random(&seed) & 255);
  for (int i = 0; i < STEPS; i += 2) {
    relax(blocks[1], blocks[0]);
    relax(blocks[0], blocks[1]);
  }
  return bench_mix_double(0, blocks[0][2][N / 2][N / 2]);
}
