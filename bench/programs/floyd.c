/* Integer minimum in a triple loop: all shortest paths of a graph (Floyd and Warshall). */
#include "bench.h"

enum { N = 180 };

const uint32_t bench_rounds = 90;

static uint32_t paths[N][N];

uint64_t bench_round(uint64_t seed) {
  uint64_t hash = 0;
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) paths[i][j] = 1 + (bench_random(&seed) & 0xffff);
  }
  for (int k = 0; k < N; k++) {
    for (int i = 0; i < N; i++) {
      for (int j = 0; j < N; j++) {
        uint32_t through = paths[i][k] + paths[k][j];
        if (through < paths[i][j]) paths[i][j] = through;
      }
    }
  }
  for (int i = 0; i < N; i++) hash = bench_mix(hash, paths[i][N - 1 - i]);
  return hash;
}
