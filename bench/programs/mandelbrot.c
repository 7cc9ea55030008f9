/* Floating point in registers, a loop with a data-dependent end: the Mandelbrot set. */
#include "bench.h"

enum { WIDTH = 128, HEIGHT = 128, ITERATIONS = 400 };

const uint32_t bench_rounds = 90;

static uint32_t escape_time(double cx, double cy) {
  double x = 0, y = 0;
  for (uint32_t i = 0; i < ITERATIONS; i++) {
    double xx = x * x, yy = y * y;
    if (xx + yy > 4) return i;
    y = 2 * x * y + cy;
    x = xx - yy + cx;
  }
  return ITERATIONS;
}

uint64_t bench_round(uint64_t seed) {
  double shift = (double)(seed & 255) / 100000;
  uint64_t sum = 0;
  for (int row = 0; row < HEIGHT; row++) {
    for (int column = 0; column < WIDTH; column++)
      sum += escape_time(-2 + shift + 2.5 * column / WIDTH, -1.25 + 2.5 * row / HEIGHT);
  }
  return sum;
}
