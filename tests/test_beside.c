/* Functions that take long to translate are translated on another thread, while their invocation is parked (runtime/beside.h). */
#include "runtime/report.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
/* behind those */
#include <cmocka.h>

enum { N_ADDITIONS = 4000 };

static char text[64 * N_ADDITIONS];
static struct gw_engine *engine;
static struct gw_module *module;
static struct gw_store *store;
static atomic_int n_wakes;

/* `long` calls a function of some 28 KB, `short` one of a few bytes. */
static int write_text(void **state) {
  (void)state;
  size_t n = (size_t)snprintf(text, sizeof text, "(module (func $long (param i32) (result i32)");
  for (int i = 0; i < N_ADDITIONS; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "(local.set 0 (i32.add (local.get 0) (i32.const 1)))");
  snprintf(text + n, sizeof text - n,
           "(local.get 0)) (func $short (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))"
           "(func (export \"trap\") (param i32) (result i32) unreachable)"
           "(func (export \"long\") (param i32) (result i32) (call $long (local.get 0)))"
           "(func (export \"short\") (param i32) (result i32) (call $short (local.get 0))))");
  return 0;
}

static void on_wake(void *arg) {
  (void)arg;
  n_wakes++;
}

static struct gw_instance *begin(enum gw_tier tier, bool is_told) {
  struct gw_error err = {0};
  struct gw_store_options options = {.slice = 5000000, .slice_ns = 500000, .tier = tier};
  engine = gw_engine_create(&(struct gw_engine_options){.gas = true}, &err);
  module = wat_module(engine, text);
  store = gw_store_create(engine, &options, &err);
  n_wakes = 0;
  if (is_told) gw_store_set_wake(store, on_wake, NULL);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance) fail_msg("%s", err.message);
  return instance;
}

static void end(void) {
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

static void start(struct gw_instance *instance, const char *name, union gw_value *value) {
  struct gw_extern found;
  assert_true(gw_instance_export(instance, name, strlen(name), &found));
  value->i32 = 7;
  gw_store_start(store, found.of.func, value);
}

/* How often it was parked until it was done. */
static int call(struct gw_instance *instance, const char *name, int32_t expected) {
  struct gw_error err = {0};
  union gw_value value;
  enum gw_status status;
  int n_parked = 0;
  start(instance, name, &value);
  while ((status = gw_store_resume(store, &err)) != GW_STATUS_DONE) {
    assert_int_not_equal(status, GW_STATUS_FAILED);
    n_parked += status == GW_STATUS_PARKED;
    while (n_wakes < n_parked) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
  }
  assert_int_equal(value.i32, expected);
  return n_parked;
}

static void test_parks(void **state) {
  (void)state;
  for (enum gw_tier tier = GW_TIER_PRECISE; tier <= GW_TIER_BASELINE; tier++) {
    struct gw_instance *instance = begin(tier, false);
    assert_int_equal(call(instance, "long", 7 + N_ADDITIONS), 0);
    uint64_t gas = gw_store_gas_used(store);
    end();
    instance = begin(tier, true);
    assert_int_equal(call(instance, "short", 8), 0);
    assert_in_range(call(instance, "long", 7 + N_ADDITIONS), 0, 1); /* the other thread may be faster */
    assert_int_equal(gw_store_gas_used(store), gas);
    assert_int_equal(call(instance, "long", 7 + N_ADDITIONS), 0);
    assert_int_equal(gw_store_gas_used(store), gas);
    end();
  }
}

/* Nobody waits for the thread but the engine: store and module are gone before. */
static void test_cancel(void **state) {
  (void)state;
  int n_parked = 0;
  for (int i = 0; i < 40; i++) {
    struct gw_error err = {0};
    union gw_value value;
    start(begin(i & 1 ? GW_TIER_PRECISE : GW_TIER_BASELINE, true), "long", &value);
    n_parked += gw_store_resume(store, &err) == GW_STATUS_PARKED;
    gw_store_cancel(store);
    end();
  }
  assert_true(n_parked > 0);
}

/* Who is told of a wake gets the trap without its offset, as finding that is translating again. It is there for who asks. */
static void test_report(void **state) {
  (void)state;
  for (enum gw_tier tier = GW_TIER_PRECISE; tier <= GW_TIER_BASELINE; tier++) {
    struct gw_error err[3] = {0};
    union gw_value value;
    for (int is_told = 0; is_told < 2; is_told++) {
      start(begin(tier, is_told), "trap", &value);
      assert_int_equal(gw_store_resume(store, &err[is_told]), GW_STATUS_FAILED);
      if (is_told) report_error(store, &err[2]);
      end();
    }
    assert_int_not_equal(err[0].offset, GW_NO_OFFSET);
    assert_int_equal(err[1].offset, GW_NO_OFFSET);
    assert_int_equal(err[1].func, err[0].func);
    assert_int_equal(err[1].trap, GW_TRAP_UNREACHABLE);
    assert_int_equal(err[2].offset, err[0].offset);
    assert_string_equal(err[2].message, err[0].message);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_parks), cmocka_unit_test(test_cancel), cmocka_unit_test(test_report)};
  return cmocka_run_group_tests_name("beside", tests, write_text, NULL);
}
