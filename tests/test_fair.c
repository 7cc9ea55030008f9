/* Which flow gets the next slice (server/loop/fair.c). */
#include "server/loop/fair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SLICE = 1000, MANY = 100 };

static struct fair fair;
static struct flow flows[3];
static struct waiter waiters[3][MANY];
static uint64_t used[3];
static struct flow crowd[MANY]; /* of one invocation each, which never ends */
static struct waiter crowd_waiters[MANY];

static void begin(void) {
  fair_init(&fair, SLICE);
  for (int i = 0; i < 3; i++) {
    fair_join(&flows[i], &fair, NULL);
    used[i] = 0;
  }
}

static int flow_of(const struct waiter *waiter) {
  int i = 0;
  while (waiter < waiters[i] || waiter >= waiters[i] + MANY) i++;
  return i;
}

/* Runs a slice of whoever is next, who has more to do. */
static int run(uint64_t gas) {
  struct waiter *waiter = fair_next(&fair);
  assert_non_null(waiter);
  int i = flow_of(waiter);
  used[i] += gas;
  fair_charge(&fair, &flows[i], gas);
  fair_push(&fair, &flows[i], waiter);
  return i;
}

static void test_share_by_gas(void **state) {
  (void)state;
  begin();
  fair_push(&fair, &flows[0], &waiters[0][0]);
  for (int i = 0; i < MANY; i++) fair_push(&fair, &flows[1], &waiters[1][i]);
  fair_push(&fair, &flows[2], &waiters[2][0]);
  uint64_t sizes[] = {SLICE, SLICE + 10, SLICE / 3}; /* slices end late, or early */
  for (int i = 0; i < 30000; i++) {
    struct waiter *waiter = fair_next(&fair);
    int at = flow_of(waiter);
    used[at] += sizes[at] + 4 * SLICE / 200; /* what a turn of the loop costs besides */
    fair_charge(&fair, &flows[at], sizes[at]);
    fair_push(&fair, &flows[at], waiter);
  }
  uint64_t share = (used[0] + used[1] + used[2]) / 3;
  for (int i = 0; i < 3; i++) assert_in_range(used[i], share * 99 / 100, share * 101 / 100);
}

/* Invocations of almost no gas, one after the other, have their turn; it ends as others' do. */
static void test_many_small_ones(void **state) {
  (void)state;
  begin();
  fair_push(&fair, &flows[0], &waiters[0][0]);
  fair_push(&fair, &flows[1], &waiters[1][0]);
  int longest = 0, n = 0;
  for (int i = 0; i < 5000; i++) {
    struct waiter *waiter = fair_next(&fair);
    int at = flow_of(waiter);
    fair_charge(&fair, &flows[at], at == 0 ? 1 : SLICE);
    fair_push(&fair, &flows[at], waiter);
    n = at == 0 ? n + 1 : 0;
    if (n > longest) longest = n;
  }
  assert_in_range(longest, 100, 400);
}

static void test_new_ones_come_first(void **state) {
  (void)state;
  begin();
  for (int i = 0; i < MANY; i++) fair_push(&fair, &flows[0], &waiters[0][i]);
  for (int i = 0; i < 10; i++) assert_int_equal(run(SLICE), 0);
  assert_true(fair_may_begin(&fair, &flows[1]));
  fair_charge(&fair, &flows[1], SLICE);
  fair_push(&fair, &flows[1], &waiters[1][0]);
  assert_int_equal(run(SLICE), 1);
  /* One that comes and goes has its quantum once in a round. */
  while (flows[1].deficit > 0) fair_charge(&fair, &flows[1], SLICE);
  assert_false(fair_may_begin(&fair, &flows[1]));
}

/* Others run, until it is time for the next request. */
static void run_others(int n) {
  for (int i = 0; i < n; i++) {
    struct waiter *waiter = fair_next(&fair);
    struct flow *flow = &crowd[waiter - crowd_waiters];
    assert_in_range(waiter - crowd_waiters, 0, MANY - 1);
    fair_charge(&fair, flow, SLICE);
    fair_push(&fair, flow, waiter);
  }
}

static void begin_crowd(void) {
  begin();
  for (int i = 0; i < MANY; i++) {
    fair_join(&crowd[i], &fair, NULL);
    fair_push(&fair, &crowd[i], &crowd_waiters[i]);
  }
}

/* A request of two slices, less often than its flow's share allows: it waits for nothing but the slice that runs, though a round
 * of the others takes several of them. */
static void test_less_than_its_share(void **state) {
  (void)state;
  begin_crowd();
  struct flow *flow = &flows[0];
  struct waiter *waiter = &waiters[0][0];
  for (int i = 0; i < 100; i++) {
    run_others(i % 2 ? 30 : 500);
    assert_true(fair_may_begin(&fair, flow));
    fair_charge(&fair, flow, SLICE);
    fair_push(&fair, flow, waiter);
    assert_ptr_equal(fair_next(&fair), waiter);
    fair_charge(&fair, flow, SLICE);
  }
}

/* One that is idle after every slice and comes again at once gets what one gets that stays. */
static void test_comes_and_goes(void **state) {
  (void)state;
  enum { SLICES = 200000 };
  begin_crowd();
  struct flow *flow = &flows[0];
  struct waiter *waiter = &waiters[0][0];
  int n = 0;
  fair_push(&fair, flow, waiter);
  for (int i = 0; i < SLICES; i++) {
    struct waiter *next = fair_next(&fair);
    if (next == waiter) {
      fair_charge(&fair, flow, SLICE);
      n++;
      run_others(1);
      i++;
      if (!fair_may_begin(&fair, flow)) {
        fair_push(&fair, flow, waiter);
        continue;
      }
      fair_charge(&fair, flow, SLICE);
      n++;
      fair_push(&fair, flow, waiter);
      continue;
    }
    struct flow *other = &crowd[next - crowd_waiters];
    fair_charge(&fair, other, SLICE);
    fair_push(&fair, other, next);
  }
  int share = SLICES / (MANY + 1);
  assert_in_range(n, share * 95 / 100, share * 105 / 100);
}

static void test_ends(void **state) {
  (void)state;
  begin();
  assert_null(fair_next(&fair));
  assert_true(fair_may_begin(&fair, &flows[0]));
  fair_charge(&fair, &flows[0], UINT64_MAX); /* alone: nothing is owed */
  assert_false(flows[0].is_listed);
  fair_push(&fair, &flows[0], &waiters[0][0]);
  fair_push(&fair, &flows[0], &waiters[0][1]);
  fair_charge(&fair, &flows[0], UINT64_MAX);
  fair_remove(&flows[0], &waiters[0][0]);
  assert_ptr_equal(fair_next(&fair), &waiters[0][1]);
  assert_true(flows[0].is_listed);
  assert_null(fair_next(&fair));
  assert_false(flows[0].is_listed);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_share_by_gas),        cmocka_unit_test(test_many_small_ones),
                                     cmocka_unit_test(test_new_ones_come_first), cmocka_unit_test(test_less_than_its_share),
                                     cmocka_unit_test(test_comes_and_goes),      cmocka_unit_test(test_ends)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
