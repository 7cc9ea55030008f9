/* Usage, prices and accounts: sums from a log of receipts, exact costs, and what limits refuse. */
#define _GNU_SOURCE /* nftw */
#include "base/buffer.h"
#include "runtime/receipt/receipt.h"
#include "runtime/state/state.h"
#include "server/usage/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

/* --- prices ------------------------------------------------------------------------------------------------------- */

static struct prices prices_of(const char *text) {
  struct prices prices;
  struct gw_error err = {0};
  if (!price_parse(&prices, text, strlen(text), &err)) fail_msg("%s: %s", text, err.message);
  return prices;
}

static void assert_decimal(unsigned __int128 n, unsigned digits, const char *expected) {
  struct buffer text = {0};
  price_append_decimal(&text, n, digits);
  buffer_append(&text, "", 1);
  assert_string_equal((const char *)text.bytes, expected);
  buffer_clear(&text);
}

static void test_amounts(void **state) {
  static const char *const bad[] = {"", ".", "1.", ".5", "-1", "1e3", "1.0000000001", "1234567890", " 1", "1 ", "1,5", "0x1"};
  money m;
  (void)state;
  assert_true(price_parse_money("12.5", &m));
  assert_int_equal(m, 12500000000);
  assert_true(price_parse_money("0.000000001", &m));
  assert_int_equal(m, 1);
  assert_true(price_parse_money("999999999.999999999", &m));
  assert_int_equal(m, 999999999999999999);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (price_parse_money(bad[i], &m)) fail_msg("'%s' is an amount", bad[i]);
  assert_decimal(0, 0, "0");
  assert_decimal(0, 21, "0");
  assert_decimal(1, 21, "0.000000000000000000001");
  assert_decimal(1500, 3, "1.5");
  assert_decimal(1000, 3, "1");
  assert_decimal(UINT64_MAX, 0, "18446744073709551615");
  assert_decimal((unsigned __int128)UINT64_MAX * UINT64_MAX, 0, "340282366920938463426481119284349108225");
}

static void test_costs_are_exact(void **state) {
  struct prices prices = prices_of("{\"currency\":\"EUR\",\"gas\":\"0.000000001\",\"requests\":0.2,\"bytes_out\":\"3\"}");
  struct billed billed = {.n = {[PRICE_GAS] = 1, [PRICE_REQUESTS] = 1000000, [PRICE_SENT] = 500000000, [PRICE_RENT] = 77}};
  (void)state;
  assert_string_equal(prices.currency, "EUR");
  assert_true(price_part(&prices, PRICE_GAS, 1) == 1);
  assert_true(price_part(&prices, PRICE_RENT, 77) == 0);
  assert_decimal(price_of(&prices, &billed), 21, "1.700000000000000000001");
  assert_false(price_is_free(&prices));
  prices = prices_of("{}");
  assert_true(price_is_free(&prices));
}

static void test_wrong_prices(void **state) {
  static const char *const bad[] = {"",
                                    "[]",
                                    "{\"gas\":",
                                    "{\"gas\":-1}",
                                    "{\"gas\":\"1,5\"}",
                                    "{\"gas\":null}",
                                    "{\"gas\":1e300}",
                                    "{\"currency\":\"euro\"}",
                                    "{\"currency\":5}",
                                    "{\"gold\":\"1\"}"};
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct prices prices;
    struct gw_error err = {0};
    if (price_parse(&prices, bad[i], strlen(bad[i]), &err)) fail_msg("%s are prices", bad[i]);
    assert_int_equal(err.code, GW_ERROR_USAGE);
  }
}

/* Whoever reads a bill reads the page. */
static void test_the_page_lists_all(void **state) {
  struct buffer page = {0};
  struct gw_error err = {0};
  char row[128];
  (void)state;
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/usage.md", 1 << 20, &err));
  buffer_append(&page, "", 1);
  for (int i = 0; i < USAGE_COUNT; i++) {
    snprintf(row, sizeof row, "\n| `%s` | ", usage_word((enum usage_quantity)i));
    if (!strstr((const char *)page.bytes, row)) fail_msg("docs/usage.md has no row%s", row);
  }
  for (int i = 0; i < PRICE_COUNT; i++) {
    snprintf(row, sizeof row, "\n| `%s` | 10^%u | ", price_word(i), price_power(i));
    if (!strstr((const char *)page.bytes, row)) fail_msg("docs/usage.md has no row%s", row);
  }
  buffer_clear(&page);
}

/* --- a log and a store -------------------------------------------------------------------------------------------- */

static char directory[64];
static struct state_store *store;
static struct receipt_log *receipts;
static struct usage *usage;
static struct prices prices;

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw) {
  (void)s, (void)type, (void)ftw;
  return remove(path);
}

static void open_all(void) {
  char path[96];
  struct gw_error err = {0};
  snprintf(path, sizeof path, "%s/receipts", directory);
  struct receipt_options options = {.directory = path, .period_ms = 20};
  snprintf(path + 48, sizeof path - 48, "%s/state", directory);
  store = state_store_open(path + 48, 64 << 20, false, &err);
  assert_non_null(store);
  receipts = receipt_log_open(&options, NULL, 0, &err);
  if (!receipts) fail_msg("%s", err.message);
  struct usage_options of = {.log = receipts, .state = store, .prices = &prices};
  usage = usage_open(&of, &err);
  if (!usage) fail_msg("%s", err.message);
}

static void close_all(void) {
  assert_true(usage_close(usage, NULL, NULL));
  receipt_log_close(receipts);
  state_store_close(store);
}

static int set_up(void **state) {
  (void)state;
  snprintf(directory, sizeof directory, "/tmp/gasworks-usage-XXXXXX");
  if (!mkdtemp(directory)) return -1;
  prices = prices_of("{\"currency\":\"EUR\",\"gas\":\"1\"}");
  open_all();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  close_all();
  return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct leaf leaf_of(const char *function, enum leaf_outcome outcome, uint64_t time, uint64_t gas) {
  struct leaf leaf = {0};
  leaf_set_number(&leaf, FIELD_FORMAT, LEAF_FORMAT);
  leaf_set_number(&leaf, FIELD_OUTCOME, outcome);
  leaf_set_bytes(&leaf, FIELD_FUNCTION, function, strlen(function));
  leaf_set_number(&leaf, FIELD_TIME, time);
  leaf_set_number(&leaf, FIELD_COMPUTE, gas);
  leaf_set_number(&leaf, FIELD_VERSION, 1);
  return leaf;
}

static void add(const char *function, enum leaf_outcome outcome, uint64_t time, uint64_t gas) {
  struct leaf leaf = leaf_of(function, outcome, time, gas);
  uint8_t bytes[LEAF_MAX];
  struct receipt_place place;
  size_t behind, size = leaf_encode_behind(NULL, &leaf, bytes, &behind);
  while (!receipt_log_reserve(receipts, receipt_log_chain(receipts, function), bytes, size, behind, &place)) usleep(1000);
  receipt_log_fill(&place, bytes);
}

static void settle(void) {
  struct gw_error err = {0};
  if (!usage_settle(usage, &err)) fail_msg("%s", err.message);
}

static void print_row(void *arg, const struct usage_row *row) {
  buffer_format(arg, "%u %s %llu %llu %llu %llu;", row->day, row->function, (unsigned long long)row->version,
                (unsigned long long)row->sum.n[USAGE_REQUESTS], (unsigned long long)row->sum.n[USAGE_FAILURES],
                (unsigned long long)usage_gas(&row->sum));
}

static void expect_rows(uint32_t first, uint32_t last, const char *expected) {
  struct buffer text = {0};
  struct gw_error err = {0};
  assert_true(usage_each(usage, first, last, print_row, &text, &err));
  buffer_append(&text, "", 1);
  assert_string_equal((const char *)text.bytes, expected);
  buffer_clear(&text);
}

static void test_rows_are_sums_of_leaves(void **state) {
  enum { DAY = USAGE_DAY_SECONDS };
  struct usage_sum sum;
  uint64_t stored;
  (void)state;
  add("f", OUTCOME_REPLIED, DAY - 1, 5);
  add("f", OUTCOME_VOID, DAY, 1000);
  add("f", OUTCOME_TRAPPED, DAY, 7);
  add("f", OUTCOME_REPEATED, DAY, 0);
  add("t/g", OUTCOME_CANCELLED, DAY + 1, 11);
  settle();
  expect_rows(0, 0, "0 f 1 1 0 5;");
  expect_rows(0, 9, "0 f 1 1 0 5;1 f 1 2 1 7;1 t/g 1 1 1 11;");
  assert_int_equal(usage_as_of(usage), 5);
  close_all(); /* and goes on */
  open_all();
  add("f", OUTCOME_REPLIED, DAY, 13);
  settle();
  expect_rows(1, 1, "1 f 1 3 1 20;1 t/g 1 1 1 11;");
  assert_true(usage_of_function(usage, "f", &sum, &stored));
  assert_int_equal(usage_gas(&sum), 25);
  assert_false(usage_of_function(usage, "g", &sum, &stored));
}

/* More rows than are stored at once. */
static void test_many_rows(void **state) {
  char name[16];
  struct buffer text = {0};
  struct gw_error err = {0};
  size_t n = 0;
  (void)state;
  for (int i = 0; i < 6000; i++) {
    snprintf(name, sizeof name, "f%d", i);
    add(name, OUTCOME_REPLIED, 0, 1);
  }
  settle();
  assert_true(usage_each(usage, 0, 0, print_row, &text, &err));
  for (size_t i = 0; i < text.size; i++) n += text.bytes[i] == ';';
  assert_int_equal(n, 6000);
  buffer_clear(&text);
}

/* --- accounts ----------------------------------------------------------------------------------------------------- */

static void put_budget(const void *arg, struct budget *budget) { *budget = *(const struct budget *)arg; }

static void set_budget(const struct budget *budget) {
  struct gw_error err = {0};
  if (!usage_change_budget(usage, "t", put_budget, budget, &err)) fail_msg("%s", err.message);
}

static struct account *account_of_t(void) { return usage_account(usage, "t/f"); }

/* The status that another invocation gets; 0: it may. */
static uint32_t begin(uint64_t memory, struct account_refusal *why) {
  return account_begin(account_of_t(), memory, why) ? 0 : why->status;
}

static void end(uint64_t memory) { account_end(account_of_t(), memory); }

static void test_counts_are_limited(void **state) {
  struct account_refusal why;
  (void)state;
  set_budget(&(struct budget){.concurrency = 2, .memory = 100});
  assert_int_equal(begin(60, &why), 0);
  assert_int_equal(begin(60, &why), 429);
  assert_int_equal(begin(101, &why), 402); /* it never may */
  assert_int_equal(begin(40, &why), 0);
  assert_int_equal(begin(0, &why), 429);
  end(60);
  assert_int_equal(begin(61, &why), 429);
  assert_int_equal(begin(60, &why), 0);
  set_budget(&(struct budget){0});
  assert_int_equal(begin(1000, &why), 0);
  struct account_view view;
  account_look(account_of_t(), &view);
  assert_int_equal(view.n_running, 3);
  for (int i = 0; i < 3; i++) end((uint64_t[]){40, 60, 1000}[i]);
}

static void test_a_rate_is_paid_for(void **state) {
  struct account_refusal why;
  (void)state;
  set_budget(&(struct budget){.gas_per_second = 1000});
  assert_int_equal(begin(0, &why), 0);
  account_charge(account_of_t(), 50000);
  assert_int_equal(begin(0, &why), 429);
  assert_in_range(why.retry_after, 45, 50);
  assert_in_range(account_wait_ns(account_of_t()), 45000000000, 50000000000);
  account_bill(account_of_t(), 50000, NULL);
  assert_int_equal(begin(0, &why), 429); /* what was charged must be paid, whatever came of it */
  set_budget(&(struct budget){0});
  assert_int_equal(begin(0, &why), 0);
  end(0);
  end(0);
}

static void bill(uint64_t gas) {
  struct leaf leaf = leaf_of("t/f", OUTCOME_REPLIED, 0, gas);
  struct usage_sum sum = usage_of_leaf(&leaf);
  add("t/f", OUTCOME_REPLIED, 0, gas);
  account_bill(account_of_t(), 0, &sum);
}

static void expect_spent(uint64_t gas) {
  struct account_view view;
  account_look(account_of_t(), &view);
  assert_true(view.spent == price_part(usage_prices(usage), PRICE_GAS, gas));
}

/* What was used before is free; a restart changes nothing; other prices count from then on. */
static void test_a_balance_is_used_up(void **state) {
  struct account_refusal why;
  struct budget budget = {.has_credit = true, .credit = 1000}; /* a million gas */
  (void)state;
  bill(123456);
  set_budget(&budget);
  expect_spent(0);
  bill(999998);
  assert_int_equal(begin(0, &why), 0);
  end(0);
  account_charge(account_of_t(), 2);
  assert_true(account_is_spent(account_of_t()));
  account_bill(account_of_t(), 2, NULL);
  assert_false(account_is_spent(account_of_t()));
  settle();
  close_all();
  open_all();
  expect_spent(999998);
  assert_false(account_is_spent(account_of_t()));
  close_all();
  prices = prices_of("{\"currency\":\"EUR\",\"gas\":\"0.5\"}"); /* half */
  open_all();
  bill(3);
  assert_false(account_is_spent(account_of_t()));
  bill(1);
  assert_true(account_is_spent(account_of_t()));
  assert_int_equal(begin(0, &why), 402);
  close_all();
  open_all();
  assert_true(account_is_spent(account_of_t()));
  budget.credit++;
  set_budget(&budget);
  assert_false(account_is_spent(account_of_t()));
  struct gw_error err = {0};
  assert_true(usage_forget_budget(usage, "t", &err));
  close_all();
  open_all();
  struct account_view view;
  account_look(account_of_t(), &view);
  assert_false(view.budget.has_credit);
}

static void print_table(void *arg, const struct usage_row *row) {
  uint64_t from;
  const struct prices *of = usage_prices_at(usage, row->table, &from);
  assert_non_null(of);
  assert_true(!row->table == !from);
  buffer_format(arg, "%u %s %llu at %llu;", row->day, row->function, (unsigned long long)usage_gas(&row->sum),
                (unsigned long long)of->of[PRICE_GAS]);
}

/* What was used costs what it did then, on the day of the change, too; also what is added only when prices are others already,
 * and when an older table comes back. */
static void test_prices_of_the_past_stay(void **state) {
  enum { DAY = USAGE_DAY_SECONDS };
  struct buffer text = {0};
  struct gw_error err = {0};
  (void)state;
  add("t/f", OUTCOME_REPLIED, DAY, 5);
  close_all();
  prices = prices_of("{\"currency\":\"EUR\",\"gas\":\"2\"}");
  open_all();
  add("t/f", OUTCOME_REPLIED, DAY, 7);
  settle();
  close_all();
  open_all(); /* the same ones */
  add("t/f", OUTCOME_REPLIED, DAY, 11);
  add("t/g", OUTCOME_REPLIED, 2 * DAY, 13);
  close_all();
  prices = prices_of("{\"currency\":\"EUR\",\"gas\":\"1\"}");
  open_all();
  add("t/f", OUTCOME_REPLIED, 3 * DAY, 17);
  settle();
  assert_true(usage_each(usage, 0, 9, print_table, &text, &err));
  buffer_append(&text, "", 1);
  assert_string_equal((const char *)text.bytes, "1 t/f 5 at 1000000000;1 t/f 18 at 2000000000;2 t/g 13 at 2000000000;"
                                                "3 t/f 17 at 1000000000;");
  buffer_clear(&text);
  uint64_t from;
  assert_null(usage_prices_at(usage, 4, &from));
}

/* Who is given a higher rate does not wait for years, because a low one was set by mistake. */
static void test_another_rate_counts_for_what_is_not_paid(void **state) {
  struct account_refusal why;
  (void)state;
  set_budget(&(struct budget){.gas_per_second = 1});
  account_charge(account_of_t(), 5000000);
  assert_int_equal(begin(0, &why), 429);
  assert_true(why.retry_after > 4000000);
  set_budget(&(struct budget){.gas_per_second = 500000});
  assert_in_range(account_wait_ns(account_of_t()), 8000000000, 10000000000);
  set_budget(&(struct budget){.gas_per_second = 50000});
  assert_in_range(account_wait_ns(account_of_t()), 80000000000, 100000000000);
  set_budget(&(struct budget){.gas_per_second = 1000000000});
  assert_int_equal(account_wait_ns(account_of_t()), 0);
  set_budget(&(struct budget){0});
}

/* What a power failure takes of the log was used before a balance began, and is in no sum any more. */
static void test_nothing_is_less_than_nothing(void **state) {
  struct leaf leaf = leaf_of("t/f", OUTCOME_REPLIED, 0, 5000);
  struct usage_sum sum = usage_of_leaf(&leaf);
  (void)state;
  account_bill(account_of_t(), 0, &sum); /* its receipt never comes to the disk */
  set_budget(&(struct budget){.has_credit = true, .credit = 1000});
  close_all();
  open_all();
  expect_spent(0);
  bill(1000);
  expect_spent(1000);
}

int main(void) {
#define WITH_LOG(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_amounts),
      cmocka_unit_test(test_costs_are_exact),
      cmocka_unit_test(test_wrong_prices),
      cmocka_unit_test(test_the_page_lists_all),
      WITH_LOG(test_rows_are_sums_of_leaves),
      WITH_LOG(test_many_rows),
      WITH_LOG(test_counts_are_limited),
      WITH_LOG(test_a_rate_is_paid_for),
      WITH_LOG(test_a_balance_is_used_up),
      WITH_LOG(test_prices_of_the_past_stay),
      WITH_LOG(test_another_rate_counts_for_what_is_not_paid),
      WITH_LOG(test_nothing_is_less_than_nothing),
  };
  return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
