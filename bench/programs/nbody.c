/* Scalar floating point with square roots and divisions: planets that attract each other. */
#include "bench.h"

#include <math.h>

enum { BODIES = 5, STEPS = 20000 };

const uint32_t bench_rounds = 300;

struct body {
  double x, y, z, vx, vy, vz, mass;
};

static struct body bodies[BODIES];

static void attract(struct body *a, struct body *b, double dt) {
  double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
  double square = dx * dx + dy * dy + dz * dz + 0.01;
  double magnitude = dt / (square * sqrt(square));
  a->vx -= dx * b->mass * magnitude;
  a->vy -= dy * b->mass * magnitude;
  a->vz -= dz * b->mass * magnitude;
  b->vx += dx * a->mass * magnitude;
  b->vy += dy * a->mass * magnitude;
  b->vz += dz * a->mass * magnitude;
}

static void step(double dt) {
  for (int i = 0; i < BODIES; i++) {
    for (int j = i + 1; j < BODIES; j++) attract(&bodies[i], &bodies[j], dt);
  }
  for (int i = 0; i < BODIES; i++) {
    struct body *b = &bodies[i];
    b->x += dt * b->vx;
    b->y += dt * b->vy;
    b->z += dt * b->vz;
  }
}

static double unit(uint64_t *seed) { return (double)bench_random(seed) / 4294967296.0 - 0.5; }

uint64_t bench_round(uint64_t seed) {
  uint64_t hash = 0;
  for (int i = 0; i < BODIES; i++) {
    bodies[i] = (struct body){unit(&seed) * 10,
                              unit(&seed) * 10,
                              unit(&seed) * 10,
                              unit(&seed),
                              unit(&seed),
                              unit(&seed),
                              i == 0 ? 40 : 1 + unit(&seed)};
  }
  for (int i = 0; i < STEPS; i++) step(0.001);
  for (int i = 0; i < BODIES; i++) hash = bench_mix_double(hash, bodies[i].x + bodies[i].y + bodies[i].z);
  return hash;
}
