/* Which flow gets the next slice (server/fair.c). */
#include "server/fair.h"

#include "server/invoke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SLICE = 1000, MANY = 100 };

static struct fair fair;
static struct flow flows[3];
static struct invocation invocations[3][MANY];
static uint64_t used[3];

static void begin(void) {
  fair_init(&fair, SLICE);
  for (int i = 0; i < 3; i++) {
    flows[i] = (struct flow){0};
    used[i] = 0;
  }
}

static int flow_of(const struct invocation *inv) {
  int i = 0;
  while (inv < invocations[i] || inv >= invocations[i] + MANY) i++;
  return i;
}

/* Runs a slice of whoever is next, who has more to do. */
static int run(uint64_t gas) {
  struct invocation *inv = fair_next(&fair);
  assert_non_null(inv);
  int i = flow_of(inv);
  used[i] += gas;
  fair_charge(&fair, &flows[i], gas);
  fair_push(&fair, &flows[i], inv);
  return i;
}

static void test_share_by_gas(void **state) {
  (void)state;
  begin();
  fair_push(&fair, &flows[0], &invocations[0][0]);
  for (int i = 0; i < MANY; i++) fair_push(&fair, &flows[1], &invocations[1][i]);
  fair_push(&fair, &flows[2], &invocations[2][0]);
  uint64_t sizes[] = {SLICE, SLICE + 10, SLICE / 3}; /* slices end late, or early */
  for (int i = 0; i < 30000; i++) {
    struct invocation *inv = fair_next(&fair);
    int at = flow_of(inv);
    used[at] += sizes[at];
    fair_charge(&fair, &flows[at], sizes[at]);
    fair_push(&fair, &flows[at], inv);
  }
  uint64_t share = (used[0] + used[1] + used[2]) / 3;
  for (int i = 0; i < 3; i++) assert_in_range(used[i], share * 99 / 100, share * 101 / 100);
}

static void test_new_ones_come_first(void **state) {
  (void)state;
  begin();
  for (int i = 0; i < MANY; i++) fair_push(&fair, &flows[0], &invocations[0][i]);
  for (int i = 0; i < 10; i++) assert_int_equal(run(SLICE), 0);
  assert_true(fair_may_begin(&fair, &flows[1]));
  fair_charge(&fair, &flows[1], SLICE);
  fair_push(&fair, &flows[1], &invocations[1][0]);
  assert_int_equal(run(SLICE), 1);
  /* One that comes and goes has its quantum once in a round. */
  while (flows[1].deficit > 0) fair_charge(&fair, &flows[1], SLICE);
  assert_false(fair_may_begin(&fair, &flows[1]));
}

static void test_ends(void **state) {
  (void)state;
  begin();
  assert_null(fair_next(&fair));
  assert_true(fair_may_begin(&fair, &flows[0]));
  fair_charge(&fair, &flows[0], UINT64_MAX); /* alone: nothing is owed */
  assert_false(flows[0].is_listed);
  fair_push(&fair, &flows[0], &invocations[0][0]);
  fair_push(&fair, &flows[0], &invocations[0][1]);
  fair_charge(&fair, &flows[0], UINT64_MAX);
  fair_remove(&flows[0], &invocations[0][0]);
  assert_ptr_equal(fair_next(&fair), &invocations[0][1]);
  assert_true(flows[0].is_listed);
  assert_null(fair_next(&fair));
  assert_false(flows[0].is_listed);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_share_by_gas), cmocka_unit_test(test_new_ones_come_first),
                                     cmocka_unit_test(test_ends)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
