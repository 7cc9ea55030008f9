/* Ending an invocation from another thread, and host functions whose answers come later, through the public API. */
#include "gasworks.h"
#include "tests/wat.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>

#include <cmocka.h>

#define MODULE                                                                                                                 \
  "(module (import \"t\" \"ask\" (func $ask (param i32) (result i32)))"                                                        \
  "(memory (export \"memory\") 1)"                                                                                             \
  "(func (export \"spin\") (drop (call $ask (i32.const -1))) (loop $l (i32.store (i32.const 0) (i32.add (i32.load (i32.const " \
  "0)) (i32.const 1))) (br $l)))"                                                                                              \
  "(func (export \"spin_host\") (loop $l (drop (call $ask (i32.const -1))) (br $l)))"                                          \
  "(func (export \"twice\") (param i32) (result i32) (i32.add (call $ask (local.get 0)) (call $ask (i32.const 5))))"           \
  "(func (export \"same\") (param i32) (result i32) (local.get 0)))"

/* Belongs to the host function and to the thread that answers. */
struct question {
  atomic_int owners;
  struct gw_park *park;
  int asked, answer;
};

struct world {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
  atomic_int wakes, n_asked, n_cancelled, n_freed;
  atomic_bool has_begun; /* the guest has called the host, and waits if it is to wait */
  atomic_bool is_held;   /* questions wait until it is false */
  bool goes_on;          /* the host function ignores that it was cancelled */
};

static struct world w;

static void pause_ms(int ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL); }

static void let_go(struct question *q) {
  if (atomic_fetch_sub(&q->owners, 1) != 1) return;
  free(q);
  w.n_freed++;
}

static void *answer(void *arg) {
  struct question *q = arg;
  do pause_ms(1);
  while (w.is_held);
  q->answer = 2 * q->asked;
  gw_park_wake(q->park);
  let_go(q);
  return NULL;
}

static enum gw_trap ask(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  w.has_begun = w.has_begun || values[0].i32 < 0;
  if (values[0].i32 < 0) return GW_TRAP_NONE;
  struct question *q = calloc(1, sizeof *q);
  q->owners = 2;
  q->asked = values[0].i32;
  q->park = gw_park_begin(caller);
  w.n_asked++;
  w.has_begun = true;
  pthread_t thread;
  pthread_create(&thread, NULL, answer, q);
  pthread_detach(thread);
  enum gw_trap trap = gw_park_here(caller);
  values[0].i32 = trap ? 0 : q->answer;
  let_go(q);
  if (trap) w.n_cancelled++;
  return w.goes_on ? GW_TRAP_NONE : trap;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"t", "ask", "i_i", ask};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &func};
  return true;
}

/* Tiers, from the first. */
enum { N_TESTED = GW_TIER_BASELINE + 1 };

static void open_world(enum gw_tier tier, bool gas) {
  struct gw_error err = {0};
  memset(&w, 0, sizeof w);
  w.engine = gw_engine_create(&(struct gw_engine_options){.opt_level = 2, .gas = gas}, &err);
  w.module = wat_module(w.engine, MODULE);
  w.store = gw_store_create(w.engine, &(struct gw_store_options){.tier = tier}, &err);
  w.instance = gw_instance_create(w.store, w.module, resolve, NULL, &err);
  if (!w.instance) fail_msg("%s", err.message);
}

static void close_world(void) {
  gw_store_destroy(w.store);
  gw_module_release(w.module);
  gw_engine_destroy(w.engine);
  w.is_held = false;
  for (int i = 0; i < 5000 && w.n_freed < w.n_asked; i++) pause_ms(1); /* the last answers */
  assert_int_equal(w.n_freed, w.n_asked);
}

static void *interrupt_soon(void *arg) {
  do pause_ms(5);
  while (!w.has_begun);
  gw_store_interrupt(arg);
  return NULL;
}

/* The call, interrupted by another thread after a few milliseconds. */
static void interrupted_call(const char *name, union gw_value *values, size_t n) {
  struct gw_error err = {0};
  pthread_t thread;
  pthread_create(&thread, NULL, interrupt_soon, w.store);
  assert_false(gw_call_export(w.instance, name, values, n, &err));
  pthread_join(thread, NULL);
  assert_int_equal(err.code, GW_ERROR_TRAP);
  assert_int_equal(err.trap, GW_TRAP_CANCELLED);
}

static void twice_gives(int x, int wanted) {
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = x}};
  if (!gw_call_export(w.instance, "twice", values, 1, &err)) fail_msg("%s", err.message);
  assert_int_equal(values[0].i32, wanted);
}

static void test_endless(void **state) {
  (void)state;
  for (int tier = 0; tier < N_TESTED; tier++) {
    open_world((enum gw_tier)tier, true);
    interrupted_call("spin", NULL, 0);
    assert_true(gw_store_gas_used(w.store) > 0);
    twice_gives(3, 16);
    close_world();
  }
}

/* Without gas only host calls look. */
static void test_without_gas(void **state) {
  (void)state;
  for (int tier = 0; tier < N_TESTED; tier++) {
    open_world((enum gw_tier)tier, false);
    interrupted_call("spin_host", NULL, 0);
    close_world();
  }
}

static void test_parked_in_a_call(void **state) {
  (void)state;
  for (int i = 0; i < 2 * N_TESTED; i++) {
    union gw_value values[1] = {{.i32 = 3}};
    open_world((enum gw_tier)(i % N_TESTED), true);
    w.is_held = true;
    w.goes_on = i >= N_TESTED; /* it ends all the same */
    interrupted_call("twice", values, 1);
    assert_int_equal(w.n_cancelled, 1);
    assert_int_equal(w.n_asked, 1);
    close_world();
  }
}

static void count(void *arg) { ++*(atomic_int *)arg; }

static struct func_ref *find(const char *name) {
  struct gw_extern found;
  assert_true(gw_instance_export(w.instance, name, strlen(name), &found));
  return found.of.func;
}

/* In steps: parked, woken, parked again, done. */
static void test_steps(void **state) {
  (void)state;
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = 4}};
  enum gw_status status;
  int parks = 0;
  open_world(GW_TIER_FAST, true);
  gw_store_set_wake(w.store, count, &w.wakes);
  gw_store_start(w.store, find("twice"), values);
  while ((status = gw_store_resume(w.store, &err)) == GW_STATUS_PARKED) {
    parks++;
    gw_store_wait(w.store);
  }
  assert_int_equal(status, GW_STATUS_DONE);
  assert_int_equal(values[0].i32, 18);
  assert_in_range(parks, 1, 2); /* an answer may be faster */
  assert_in_range(w.wakes, 1, parks);
  close_world();
}

/* Interrupted while it is parked: whoever resumes is woken, and it ends. */
static void test_interrupt_wakes(void **state) {
  (void)state;
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = 4}};
  open_world(GW_TIER_FAST, true);
  w.is_held = true;
  gw_store_set_wake(w.store, count, &w.wakes);
  gw_store_start(w.store, find("twice"), values);
  assert_int_equal(gw_store_resume(w.store, &err), GW_STATUS_PARKED);
  assert_int_equal(w.wakes, 0);
  gw_store_interrupt(w.store);
  assert_int_equal(w.wakes, 1);
  assert_int_equal(gw_store_resume(w.store, &err), GW_STATUS_FAILED);
  assert_int_equal(err.trap, GW_TRAP_CANCELLED);
  close_world();
  assert_int_equal(w.wakes, 1); /* the answer came to nobody */
}

/* The owner cancels: the host function lets go, and nobody is woken later. */
static void test_cancel(void **state) {
  (void)state;
  for (int i = 0; i < N_TESTED; i++) {
    struct gw_error err = {0};
    union gw_value values[1] = {{.i32 = 4}};
    open_world((enum gw_tier)i, true);
    w.is_held = true;
    gw_store_set_wake(w.store, count, &w.wakes);
    gw_store_start(w.store, find("twice"), values);
    assert_int_equal(gw_store_resume(w.store, &err), GW_STATUS_PARKED);
    gw_store_cancel(w.store);
    assert_int_equal(w.n_cancelled, 1);
    gw_store_set_wake(w.store, NULL, NULL);
    w.is_held = false;
    twice_gives(1, 12);
    close_world();
    assert_int_equal(w.wakes, 0);
  }
}

/* One that comes too early ends the next invocation, unless it is taken back. */
static void test_stays(void **state) {
  (void)state;
  struct gw_error err = {0};
  open_world(GW_TIER_FAST, true);
  gw_store_interrupt(w.store);
  assert_true(gw_store_clear_interrupt(w.store));
  assert_false(gw_store_clear_interrupt(w.store));
  twice_gives(1, 12);
  gw_store_interrupt(w.store);
  assert_false(gw_call_export(w.instance, "spin", NULL, 0, &err));
  assert_int_equal(err.trap, GW_TRAP_CANCELLED);
  assert_false(gw_store_clear_interrupt(w.store));
  twice_gives(1, 12);
  close_world();
}

/* Also one that is over at once. */
static void test_ends_short_ones(void **state) {
  (void)state;
  for (int tier = 0; tier < N_TESTED; tier++) {
    struct gw_error err = {0};
    union gw_value values[1] = {{.i32 = 4}};
    open_world((enum gw_tier)tier, true);
    gw_store_interrupt(w.store);
    assert_false(gw_call_export(w.instance, "same", values, 1, &err));
    assert_int_equal(err.trap, GW_TRAP_CANCELLED);
    assert_false(gw_store_clear_interrupt(w.store));
    assert_true(gw_call_export(w.instance, "same", values, 1, NULL));
    close_world();
  }
}

/* Answers and interrupts at the same time. */
static void test_race(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    struct gw_error err = {0};
    union gw_value values[1] = {{.i32 = 3}};
    pthread_t thread;
    open_world((enum gw_tier)(i % N_TESTED), true);
    pthread_create(&thread, NULL, interrupt_soon, w.store);
    bool ok = gw_call_export(w.instance, "twice", values, 1, &err);
    pthread_join(thread, NULL);
    if (ok) assert_int_equal(values[0].i32, 16);
    if (!ok) assert_int_equal(err.trap, GW_TRAP_CANCELLED);
    assert_int_equal(gw_store_clear_interrupt(w.store), ok);
    close_world();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_endless),         cmocka_unit_test(test_without_gas),     cmocka_unit_test(test_parked_in_a_call),
      cmocka_unit_test(test_steps),           cmocka_unit_test(test_cancel),          cmocka_unit_test(test_stays),
      cmocka_unit_test(test_ends_short_ones), cmocka_unit_test(test_interrupt_wakes), cmocka_unit_test(test_race),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
