/* Loops that count in every way over the edges of memory: compiled code, which looks at their range in front of them
 * (jit/access/ranges.c), traps where the precise tier does, and nowhere else. Random ones: must_trap.c. */
#include "gasworks.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { N_COMPARISONS = 9, GAS_LIMIT = 8000 };
static const char *const comparisons[N_COMPARISONS] = {"ne", "lt_u", "le_u", "gt_u", "ge_u", "lt_s", "le_s", "gt_s", "ge_s"};
static const int32_t steps[] = {1, -1, 3, 4, -8};
static const int32_t strides[] = {0, 1, 4, -4, 12288, 40000};
static const int32_t addresses[] = {0, 8, 65530, 65532, 65533, 65536, 53248, -1, -4, -8, -65536};
static const struct {
  int32_t start, bound;
} counts[] = {{0, 0},  {0, 1},          {0, 3},
              {0, 4},  {0, 24},         {5, 0},
              {24, 0}, {24, 25},        {0, -1},
              {-2, 2}, {-1, -1},        {INT32_MAX - 9, INT32_MAX},
              {2, -3}, {INT32_MIN, -1}, {INT32_MAX, INT32_MIN}};
#define N(list) (sizeof(list) / sizeof *(list))

/* What else the loop does: nothing; nothing at all if the bound is 0; the load in some rounds only; it is left, traps, or calls
 * what traps in the sixth round. */
enum kind { ALWAYS, UNLESS_0, SOMETIMES, LEFT, TRAPPED, CALLED, N_KINDS };
static const struct {
  const char *before, *at_first, *condition;
} kinds[N_KINDS] = {
    [ALWAYS] = {"", "", ""},
    [UNLESS_0] = {"(br_if $out (i32.eqz (local.get $n)))", "", ""},
    [SOMETIMES] = {"", "", "(br_if $not (i32.and (local.get $i) (i32.const 1)))"},
    [LEFT] = {"", "(br_if $out (i32.eq (local.get $i) (i32.const 5)))", ""},
    [TRAPPED] = {"", "(if (i32.eq (local.get $i) (i32.const 5)) (then (unreachable)))", ""},
    [CALLED] = {"", "(call $six (local.get $i))", ""},
};

/* Reads at an address that moves by `stride`, and its neighbour, while a counter that moves by `step` is yet to be compared with
 * the bound, and wants none of it. */
static size_t add_function(char *to, size_t room, const char *name, const char *comparison, int32_t step, int32_t stride,
                           enum kind kind) {
  return (size_t)snprintf(to, room,
                          "(func (export \"%s\") (param $p i32) (param $i i32) (param $n i32) (result i32)"
                          "  (block $out %s (loop $l %s"
                          "    (block $not %s (drop (i32.load (local.get $p)))"
                          "      (drop (i32.load16_u offset=2 (i32.sub (local.get $p) (i32.const 8)))))"
                          "    (local.set $p (i32.add (local.get $p) (i32.const %d)))"
                          "    (br_if $l (i32.%s (local.tee $i (i32.add (local.get $i) (i32.const %d))) (local.get $n)))))"
                          "  (local.get $i))\n",
                          name, kinds[kind].before, kinds[kind].at_first, kinds[kind].condition, stride, comparison, step);
}

static const char *name_of(size_t comparison, size_t step, size_t stride, size_t kind) {
  static char name[24];
  snprintf(name, sizeof name, "%zu %zu %zu %zu", comparison, step, stride, kind);
  return name;
}

/* Not everything with everything: which kinds of a loop there are. */
static size_t n_kinds_of(size_t comparison, size_t step, size_t stride) {
  if (!step) return comparison < 2 ? N_KINDS : 1;
  return (step + stride) % 2;
}

static char *make_text(void) {
  enum { ROOM = 1 << 20 };
  char *text = test_malloc(ROOM);
  size_t n = (size_t)snprintf(text, ROOM,
                              "(module (memory 1 1)"
                              "(func $never (unreachable)) (func $six (param i32)" /* no leaf */
                              "  (if (i32.eq (local.get 0) (i32.const 5)) (then (call $never))))\n");
  for (size_t c = 0; c < N_COMPARISONS; c++)
    for (size_t s = 0; s < N(steps); s++)
      for (size_t d = 0; d < N(strides); d++)
        for (size_t k = 0; k < n_kinds_of(c, s, d); k++)
          n += add_function(text + n, ROOM - n, name_of(c, s, d, k), comparisons[c], steps[s], strides[d], k);
  snprintf(text + n, ROOM - n, ")");
  return text;
}

struct tier {
  struct gw_store *store;
  struct gw_instance *instance;
};

static struct tier open_tier(struct gw_engine *engine, struct gw_module *module, enum gw_tier tier) {
  struct gw_error err = {0};
  struct tier t = {gw_store_create(engine, &(struct gw_store_options){.tier = tier, .gas_limit = GAS_LIMIT}, &err), NULL};
  t.instance = t.store ? gw_instance_create(t.store, module, NULL, NULL, &err) : NULL;
  if (!t.instance) fail_msg("%s", err.message);
  return t;
}

static enum gw_trap call(struct tier *t, const char *name, int32_t address, int32_t start, int32_t bound, uint64_t gas,
                         int32_t *result) {
  struct gw_error err = {0};
  union gw_value values[3] = {{.i32 = address}, {.i32 = start}, {.i32 = bound}};
  gw_store_set_gas_limit(t->store, gas);
  bool is_done = gw_call_export(t->instance, name, values, 3, &err);
  *result = is_done ? values[0].i32 : 0;
  return is_done ? GW_TRAP_NONE : err.trap;
}

static void compare(struct tier *precise, struct tier *fast, const char *name, int32_t address, int32_t start, int32_t bound) {
  int32_t expected, got;
  enum gw_trap trap = call(precise, name, address, start, bound, GAS_LIMIT, &expected);
  enum gw_trap other = call(fast, name, address, start, bound, GAS_LIMIT, &got);
  bool is_same = trap == GW_TRAP_OUT_OF_GAS ? other != GW_TRAP_NONE : trap == other && expected == got;
  if (!is_same)
    fail_msg("%s(%d, %d, %d): %s, %d; in the precise tier %s, %d", name, address, start, bound, gw_trap_message(other), got,
             gw_trap_message(trap), expected);
}

/* Of all addresses and counts every `by`th, others for each function. */
static void compare_function(struct tier *precise, struct tier *fast, const char *name, size_t first, size_t by) {
  for (size_t i = first % by; i < N(addresses) * N(counts); i += by) {
    size_t address = (i + i / N(addresses)) % N(addresses), count = i / N(addresses);
    compare(precise, fast, name, addresses[address], counts[count].start, counts[count].bound);
  }
}

/* Who jumps over a bound goes on, and at a large stride soon comes to the memory's end. */
static bool may_jump_over(size_t step, size_t stride) { return llabs(steps[step]) > 1 && strides[stride] > 4096; }

static void compare_all(struct tier *precise, struct tier *fast) {
  size_t n = 0;
  for (size_t c = 0; c < N_COMPARISONS; c++)
    for (size_t s = 0; s < N(steps); s++)
      for (size_t d = 0; d < N(strides); d++)
        for (size_t k = 0; k < n_kinds_of(c, s, d); k++)
          compare_function(precise, fast, name_of(c, s, d, k), n++, may_jump_over(s, d) ? 1 : 11);
}

static void test_edges(void **state) {
  (void)state;
  char *text = make_text();
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true, .verify = true}, &err);
  struct gw_module *module = wat_module(engine, text);
  struct tier precise = open_tier(engine, module, GW_TIER_PRECISE), fast = open_tier(engine, module, GW_TIER_FAST);
  compare_all(&precise, &fast);
  gw_store_destroy(precise.store);
  gw_store_destroy(fast.store);
  gw_module_release(module);
  gw_engine_destroy(engine);
  test_free(text);
}

/* --- limits of what is looked at --------------------------------------------------------------------------------------- */

/* One loop in both tiers, with gas enough: whether it traps, and how. */
static void check_one(const char *memory, const char *comparison, int32_t step, int32_t stride, const int32_t args[3],
                      enum gw_trap wanted) {
  char text[2048];
  size_t n = (size_t)snprintf(text, sizeof text, "(module (memory %s)", memory);
  n += add_function(text + n, sizeof text - n, "f", comparison, step, stride, ALWAYS);
  snprintf(text + n, sizeof text - n, ")");
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true, .verify = true}, &err);
  struct gw_module *module = wat_module(engine, text);
  static const enum gw_tier tiers[] = {GW_TIER_PRECISE, GW_TIER_FAST};
  for (size_t i = 0; i < N(tiers); i++) {
    int32_t result;
    struct tier tier = open_tier(engine, module, tiers[i]);
    enum gw_trap trap = call(&tier, "f", args[0], args[1], args[2], UINT64_C(1) << 32, &result);
    if (trap != wanted) fail_msg("%s by %d and %d, tier %zu: %s", comparison, step, stride, i, gw_trap_message(trap));
    gw_store_destroy(tier.store);
  }
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* Long steps of addresses leap over the last page, which no memory has, and go on from the beginning. The memory has all others,
 * of which three are touched. */
static void test_long_strides(void **state) {
  (void)state;
  check_one("65535 65535", "ne", 1, 131072, (int32_t[]){-131072 + 64, 0, 3}, GW_TRAP_NONE);
  check_one("65535 65535", "lt_u", 1, 131072, (int32_t[]){-65536 + 64, 0, 3}, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  check_one("65535 65535", "ne", 1, -131072, (int32_t[]){64, 0, 3}, GW_TRAP_NONE);
}

/* The counter goes around all numbers, misses its bound the first time, and meets it 300,000 rounds after the beginning.
 * Addresses step by less, so they have not gone around. */
static void test_short_strides(void **state) {
  enum { STEP = 16381, ROUNDS = 300000 };
  int32_t start = (int32_t)(0u - (uint32_t)STEP * ROUNDS);
  (void)state;
  check_one("16 16", "ne", STEP, 1, (int32_t[]){64, start, 0}, GW_TRAP_NONE);
  check_one("4 4", "ne", STEP, 1, (int32_t[]){64, start, 0}, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
  check_one("16 16", "ne", -STEP, 1, (int32_t[]){64, -start, 0}, GW_TRAP_NONE);
  check_one("16 16", "lt_u", STEP, 1, (int32_t[]){64, start - 1, -1}, GW_TRAP_NONE);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_edges), cmocka_unit_test(test_long_strides),
                                     cmocka_unit_test(test_short_strides)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
