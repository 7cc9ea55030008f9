/* Moving data: a matrix of 32-bit numbers transposed in tiles, rows reversed, and transposed back plainly. */
#include "bench.h"

enum { N = 512, TILE = 16 };

const uint32_t bench_rounds = 700;

static uint32_t from[N][N], to[N][N];

static void transpose_tile(int row, int column) {
  for (int i = row; i < row + TILE; i++)
    for (int j = column; j < column + TILE; j++) to[j][i] = from[i][j];
}

static void reverse_rows(void) {
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N / 2; j++) {
      uint32_t other = to[i][N - 1 - j];
      to[i][N - 1 - j] = to[i][j];
      to[i][j] = other;
    }
  }
}

uint64_t bench_round(uint64_t seed) {
  for (int i = 0; i < N; i++) from[i][bench_random(&seed) % N] += bench_random(&seed);
  for (int i = 0; i < N; i += TILE)
    for (int j = 0; j < N; j += TILE) transpose_tile(i, j);
  reverse_rows();
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) from[i][j] = to[j][i] + (uint32_t)i;
  return bench_mix(bench_mix(seed, from[1][2]), from[N - 3][N / 2]);
}
