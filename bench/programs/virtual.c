/* Calls through tables: objects of six kinds, each with its functions, in an order that cannot be predicted. */
#include "bench.h"

enum { OBJECTS = 20000, KINDS = 6 };

const uint32_t bench_rounds = 2300;

struct object;

struct methods {
  uint32_t (*area)(const struct object *o);
  void (*grow)(struct object *o, uint32_t by);
};

struct object {
  const struct methods *methods;
  uint32_t a, b;
};

static struct object objects[OBJECTS];

static uint32_t square_area(const struct object *o) { return o->a * o->a; }
static uint32_t box_area(const struct object *o) { return o->a * o->b; }
static uint32_t triangle_area(const struct object *o) { return o->a * o->b / 2; }
static uint32_t frame_area(const struct object *o) { return 2 * (o->a + o->b); }
static uint32_t cross_area(const struct object *o) { return (o->a ^ o->b) & 1023; }
static uint32_t point_area(const struct object *o) { return (uint32_t)(o->methods != 0); }

static void grow_both(struct object *o, uint32_t by) {
  o->a += by;
  o->b += by;
}
static void grow_first(struct object *o, uint32_t by) { o->a += by; }
static void grow_second(struct object *o, uint32_t by) { o->b ^= by; }

static const struct methods kinds[KINDS] = {
    {square_area, grow_first}, {box_area, grow_both},     {triangle_area, grow_both},
    {frame_area, grow_second}, {cross_area, grow_second}, {point_area, grow_first},
};

uint64_t bench_round(uint64_t seed) {
  if (!objects[0].methods) {
    for (int i = 0; i < OBJECTS; i++)
      objects[i] = (struct object){&kinds[bench_random(&seed) % KINDS], bench_random(&seed) & 255, bench_random(&seed) & 255};
  }
  uint64_t sum = 0;
  uint32_t by = (uint32_t)seed & 7;
  for (int i = 0; i < OBJECTS; i++) {
    struct object *o = &objects[i];
    sum += o->methods->area(o);
    if (o->a & 1) o->methods->grow(o, by);
  }
  return bench_mix(seed, sum);
}
