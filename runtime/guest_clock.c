#include "runtime/guest_clock.h"

static bool read_clock(clockid_t id, uint64_t *ns) {
  struct timespec t;
  if (clock_gettime(id, &t)) return false;
  *ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
  return true;
}

static uint64_t coarse(uint64_t ns) { return ns - ns % GUEST_CLOCK_STEP_NS; }

bool guest_clock_now(struct guest_clock *clock, clockid_t id, uint64_t *ns) {
  if (!clock) return read_clock(id, ns);
  if (!clock->is_read) {
    uint64_t realtime, monotonic;
    if (!read_clock(CLOCK_REALTIME, &realtime) || !read_clock(CLOCK_MONOTONIC, &monotonic)) return false;
    *clock = (struct guest_clock){.is_read = true, .realtime_ns = coarse(realtime), .monotonic_ns = coarse(monotonic)};
  }
  *ns = id == CLOCK_REALTIME ? clock->realtime_ns : clock->monotonic_ns;
  return true;
}
