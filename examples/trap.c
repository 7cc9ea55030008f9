/* Every way to fail: ?kind=unreachable, oob, div, stack, loop; ?kind=grow shows what a refused memory.grow gives.
 * Each invocation first counts itself in the state, so the count shows that trapped ones left nothing behind. */
#include "gasworks_util.h"

static const char attempts[] = "attempts";

static uint64_t count_attempt(void) {
  uint64_t count = 0;
  gw_state_get(attempts, sizeof attempts - 1, &count, sizeof count);
  count++;
  gw_state_set(attempts, sizeof attempts - 1, &count, sizeof count);
  return count;
}

static __attribute__((noinline)) void hit_unreachable(void) { __builtin_trap(); }

static __attribute__((noinline)) void read_out_of_bounds(void) {
  volatile const uint8_t *beyond = (volatile const uint8_t *)0xfffffff0u;
  (void)*beyond;
}

static __attribute__((noinline)) int32_t divide(volatile const int32_t *a, volatile const int32_t *b) { return *a / *b; }

static void divide_by_zero(void) {
  volatile int32_t one = 1, zero = 0;
  one = divide(&one, &zero);
}

/* The empty assembly keeps the recursion a real one, and without use of the stack that C keeps in linear memory: running out
 * of that one would be an access out of bounds. */
static __attribute__((noinline)) uint32_t recurse(uint32_t n) {
  if (n == 0) return 0;
  uint32_t below = recurse(n + 1);
  __asm__ volatile("" : "+r"(below));
  return below + n;
}

static void overflow_stack(void) {
  volatile uint32_t sink = recurse(1);
  (void)sink;
}

static __attribute__((noinline)) void loop_for_ever(void) {
  for (volatile uint32_t i = 0;; i++) {
  }
}

static void grow_beyond_limit(void) {
  gw_reply_text(__builtin_wasm_memory_grow(0, 65535) == (size_t)-1 ? "memory.grow gave -1\n" : "memory.grow succeeded\n");
}

static const struct {
  const char *name;
  void (*run)(void);
} kinds[] = {
    {"unreachable", hit_unreachable}, {"oob", read_out_of_bounds}, {"div", divide_by_zero},
    {"stack", overflow_stack},        {"loop", loop_for_ever},     {"grow", grow_beyond_limit},
};

GW_HANDLER(void) {
  char kind[16] = "", digits[21];
  uint64_t count = count_attempt();
  gw_query("kind", kind, sizeof kind);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(kind, kinds[i].name) == 0) kinds[i].run();
  gw_reply_text(gw_decimal(count, digits));
  gw_reply_text(" invocations succeeded\n");
}
