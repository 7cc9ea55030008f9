/* A stencil over two arrays of doubles: heat spreading over a plate. */
#include "bench.h"

enum { N = 250, STEPS = 10 };

const uint32_t bench_rounds = 1800;

static double plates[2][N][N];

static void relax(double to[N][N], double from[N][N]) {
  for (int i = 1; i < N - 1; i++) {
    for (int j = 1; j < N - 1; j++)
      to[i][j] = 0.2 * (from[i][j] + from[i - 1][j] + from[i + 1][j] + from[i][j - 1] + from[i][j + 1]);
  }
}

uint64_t bench_round(uint64_t seed) {
  for (int i = 0; i < N; i++) plates[0][0][i] = plates[1][0][i] = (double)(bench_random(&seed) & 255);
  for (int i = 0; i < STEPS; i += 2) {
    relax(plates[1], plates[0]);
    relax(plates[0], plates[1]);
  }
  return bench_mix_double(0, plates[0][2][N / 2]);
}
