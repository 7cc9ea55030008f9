/* Fitting prices: known ones are found again, bounds hold, what cannot be fitted does not bend the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "instrument/fit.h"

#include <math.h>

enum { N = 40 };

static uint32_t random_state = 12345;

static uint32_t next_random(void) {
  random_state = random_state * 1664525 + 1013904223;
  return random_state >> 8;
}

/* Programs that take exactly what `prices` say, with instructions of `n_classes` classes from COST_LOOP on. */
static void make(struct fit_sample *samples, const uint32_t *prices, int n_classes) {
  for (int p = 0; p < N; p++) {
    samples[p] = (struct fit_sample){.other_gas = next_random() % 1000};
    double gas = samples[p].other_gas;
    for (int c = COST_LOOP; c < COST_LOOP + n_classes; c++) {
      samples[p].instructions[c] = next_random() % 100000 * (next_random() % 4 ? 1 : 100);
      gas += (double)samples[p].instructions[c] * prices[c];
    }
    samples[p].seconds = gas / 1e10;
  }
}

static void test_known(void **state) {
  (void)state;
  struct fit_sample samples[N];
  uint32_t prices[COST_COUNT], rounded[COST_COUNT];
  double exact[COST_COUNT];
  for (int c = 0; c < COST_COUNT; c++) prices[c] = schedule_default()->gas[c];
  for (int c = COST_LOOP; c < COST_LOOP + 8; c++) prices[c] = 10 + 3 * (uint32_t)c;
  make(samples, prices, 8);
  fit_prices(samples, N, prices, exact, rounded);
  for (int c = 0; c < COST_COUNT; c++) {
    assert_int_equal(rounded[c], prices[c]); /* nobody uses the others: they stay */
    assert_true(fabs(exact[c] - prices[c]) < 0.01 * prices[c] + 1e-6);
  }
  struct fit_spread spread = fit_spread(samples, N, rounded);
  assert_true(fabs(spread.mean - 1) < 1e-9 && fabs(spread.deviation - 1) < 1e-9);
}

/* From prices that are far off: most of the spread goes. */
static void test_improves(void **state) {
  (void)state;
  struct fit_sample samples[N];
  uint32_t prices[COST_COUNT] = {0}, wrong[COST_COUNT], rounded[COST_COUNT];
  double exact[COST_COUNT];
  for (int c = 0; c < COST_COUNT; c++) {
    prices[c] = 40 + next_random() % 40;
    wrong[c] = prices[c] * (10 + next_random() % 400) / 100;
  }
  make(samples, prices, 12);
  fit_prices(samples, N, wrong, exact, rounded);
  assert_true(fit_spread(samples, N, rounded).deviation - 1 < (fit_spread(samples, N, wrong).deviation - 1) / 2);
}

/* A program that runs forty times faster than its instructions cost changes little for the others. */
static void test_outlier(void **state) {
  (void)state;
  struct fit_sample samples[N];
  uint32_t prices[COST_COUNT], rounded[COST_COUNT];
  double exact[COST_COUNT];
  for (int c = 0; c < COST_COUNT; c++) prices[c] = 100;
  make(samples, prices, 8);
  samples[0].seconds /= 40;
  fit_prices(samples, N, prices, exact, rounded);
  for (int p = 1; p < N; p++) assert_true(fabs(log(fit_ratio(&samples[p], rounded))) < 0.2);
}

/* Programs that take no time at all: prices go down to the minimum, not below. */
static void test_bounds(void **state) {
  (void)state;
  struct fit_sample samples[N];
  uint32_t prices[COST_COUNT], rounded[COST_COUNT];
  double exact[COST_COUNT];
  for (int c = 0; c < COST_COUNT; c++) prices[c] = cost_least((enum cost)c);
  make(samples, prices, 8);
  for (int c = 0; c < COST_COUNT; c++) prices[c] = 50;
  fit_prices(samples, N, prices, exact, rounded);
  for (int c = 0; c < COST_COUNT; c++) {
    assert_true(exact[c] >= cost_least((enum cost)c));
    assert_true(rounded[c] >= cost_least((enum cost)c));
  }
}

static void test_nothing(void **state) {
  (void)state;
  uint32_t rounded[COST_COUNT];
  double exact[COST_COUNT];
  fit_prices(NULL, 0, schedule_default()->gas, exact, rounded);
  assert_memory_equal(rounded, schedule_default()->gas, sizeof rounded);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_known),  cmocka_unit_test(test_improves), cmocka_unit_test(test_outlier),
      cmocka_unit_test(test_bounds), cmocka_unit_test(test_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
