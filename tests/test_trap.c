/* Traps by signal and by call, gas limits, slices, cancelling. */
#include "runtime/store.h"
#include "tests/wat.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char text[] =
    "(module $demo"
    "  (type $ii (func (param i32) (result i32)))"
    "  (type $none (func))"
    "  (import \"host\" \"fail\" (func $fail (param i32)))"
    "  (memory (export \"memory\") 1 2)"
    "  (table 4 funcref)"
    "  (elem (i32.const 0) $identity $unreachable)"
    "  (global $g (mut i32) (i32.const 7))"
    "  (func $identity (type $ii) local.get 0)"
    "  (func $unreachable (export \"unreachable\") unreachable)"
    "  (func $load (export \"load\") (param i32) (result i32) (i32.load (local.get 0)))"
    "  (func $load_far (export \"load_far\") (param i32) (result i32) (i32.load offset=0xffffffff (local.get 0)))"
    "  (func $store (export \"store\") (param i32) (i32.store (local.get 0) (i32.const 1)))"
    "  (func $dead (export \"dead\") (param i32) (drop (i64.load (local.get 0))))"
    "  (func $cancel (export \"cancel\") (param i32) (result i32) (local i32)"
    "    (local.set 1 (i32.load (local.get 0))) (i32.xor (local.get 1) (local.get 1)))"
    "  (func $sunk (export \"sunk\") (param i32 i32) (local i32)"
    "    (local.set 2 (i32.load (local.get 0)))"
    "    (if (local.get 1) (then (i32.store (i32.const 0) (local.get 2)))))"
    "  (func $ignores (param i32))"
    "  (func $ignored (export \"ignored\") (param i32) (call $ignores (i32.load (local.get 0))))"
    "  (func $same (export \"same\") (param i32)"
    "    (if (i32.load (local.get 0)) (then (global.set $g (i32.const 5))) (else (global.set $g (i32.const 5)))))"
    "  (func $zero (param i32) (result i32) (i32.const 0))"
    "  (func $masked (export \"masked\") (param i32)"
    "    (i32.store (i32.const 0) (i32.and (call $zero (i32.const 1)) (i32.load (local.get 0)))))"
    "  (func $div (export \"div\") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))"
    "  (func $rem (export \"rem\") (param i32 i32) (result i32) (i32.rem_u (local.get 0) (local.get 1)))"
    "  (func $trunc (export \"trunc\") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))"
    "  (func $deep (export \"deep\") (param i32) (result i32)"
    "    (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))"
    "  (func $indirect (export \"indirect\") (param i32) (result i32)"
    "    (call_indirect (type $ii) (i32.const 5) (local.get 0)))"
    "  (func $fill (export \"fill\") (param i32 i32)"
    "    (memory.fill (local.get 0) (i32.const 1) (local.get 1)))"
    "  (func $grow (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0)))"
    "  (func $ask (export \"ask\") (param i32) (call $fail (local.get 0)) (global.set $g (i32.const 8)))"
    "  (func $ask_and_trap (export \"ask_and_trap\") (param i32) (call $fail (local.get 0)) unreachable)"
    "  (func $get (export \"get\") (result i32) (global.get $g))"
    "  (func $forever (export \"forever\") (loop $l (br $l)))"
    "  (func $count (export \"count\") (param i32) (result i32) (local i32)"
    "    (loop $l" /* with a way out of its middle, so that it looks in every iteration */
    "      (local.set 1 (i32.add (local.get 1) (i32.const 3)))"
    "      (if (i32.eq (local.get 1) (i32.const -1)) (then (return (i32.const 0))))"
    "      (i32.store (i32.const 0) (local.get 1))"
    "      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "    (local.get 1)))";

static struct gw_engine *engine;
static struct gw_module *module;

static enum gw_trap trap_in_other_store(void);

static enum gw_trap host_fail(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  if (values[0].i32 == 1) {
    gw_instance_fail(caller, "the %s said no", "host");
    return GW_TRAP_HOST;
  }
  if (values[0].i32 == 2) return GW_TRAP_EXIT;
  if (values[0].i32 == 4) gw_instance_fail(caller, "got over it");
  if (values[0].i32 == 6) gw_instance_store(caller)->exec.gas = -1; /* as compiled code that has not looked yet */
  if (values[0].i32 == 5) return trap_in_other_store();
  if (values[0].i32 == 3) return gw_instance_charge(caller, UINT64_MAX) ? GW_TRAP_NONE : GW_TRAP_OUT_OF_GAS;
  return GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func row = {"host", "fail", "_i", host_fail};
  (void)env;
  (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &row};
  return true;
}

struct fixture {
  struct gw_store *store;
  struct gw_instance *instance;
};

static struct fixture open_fixture(uint64_t gas_limit, uint64_t slice) {
  struct gw_error err = {0};
  struct fixture f;
  f.store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = gas_limit, .slice = slice}, &err);
  f.instance = gw_instance_create(f.store, module, resolve, NULL, &err);
  if (!f.instance) fail_msg("%s", err.message);
  return f;
}

static int32_t call(struct fixture *f, const char *name, size_t n, int32_t a, int32_t b) {
  struct gw_error err = {0};
  union gw_value values[2] = {{.i32 = a}, {.i32 = b}};
  if (!gw_call_export(f->instance, name, values, n, &err)) fail_msg("%s: %s", name, err.message);
  return values[0].i32;
}

/* The call must trap so, and the instance must be usable after. */
static void expect_trap(struct fixture *f, const char *name, size_t n, int32_t a, int32_t b, enum gw_trap trap,
                        const char *message) {
  struct gw_error err = {0};
  union gw_value values[2] = {{.i32 = a}, {.i32 = b}};
  assert_false(gw_call_export(f->instance, name, values, n, &err));
  assert_int_equal(err.code, GW_ERROR_TRAP);
  assert_string_equal(gw_trap_message(err.trap), gw_trap_message(trap));
  assert_string_equal(wat_message(&err), message);
  assert_int_equal(call(f, "div", 2, 42, 6), 7);
}

static void test_messages(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 0);
  static const struct {
    const char *name;
    size_t n;
    int32_t a, b;
    enum gw_trap trap;
    const char *message;
  } cases[] = {
      {"unreachable", 0, 0, 0, GW_TRAP_UNREACHABLE, "unreachable in function unreachable (module demo)"},
      {"load", 1, 65533, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function load (module demo) at address 0x10000, memory size 65536"},
      {"load", 1, -1, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function load (module demo) at address 0xffffffff, memory size 65536"},
      {"load_far", 1, -1, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function load_far (module demo) at address 0x1fffffffe, memory size 65536"},
      {"store", 1, 65536, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function store (module demo) at address 0x10000, memory size 65536"},
      {"dead", 1, 1 << 20, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function dead (module demo) at address 0x100000, memory size 65536"},
      {"cancel", 1, -6, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function cancel (module demo) at address 0xfffffffa, memory size 65536"},
      {"sunk", 2, 65533, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function sunk (module demo) at address 0x10000, memory size 65536"},
      {"ignored", 1, -4, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function ignored (module demo) at address 0xfffffffc, memory size 65536"},
      {"same", 1, -4, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function same (module demo) at address 0xfffffffc, memory size 65536"},
      {"masked", 1, -4, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
       "out of bounds memory access in function masked (module demo) at address 0xfffffffc, memory size 65536"},
      {"div", 2, 1, 0, GW_TRAP_INTEGER_DIVIDE_BY_ZERO, "integer divide by zero in function div (module demo)"},
      {"div", 2, INT32_MIN, -1, GW_TRAP_INTEGER_OVERFLOW, "integer overflow in function div (module demo)"},
      {"rem", 2, 1, 0, GW_TRAP_INTEGER_DIVIDE_BY_ZERO, "integer divide by zero in function rem (module demo)"},
      {"deep", 1, 0, 0, GW_TRAP_STACK_OVERFLOW, "call stack exhausted in function deep (module demo)"},
      {"indirect", 1, 1, 0, GW_TRAP_INDIRECT_CALL_TYPE, "indirect call type mismatch in function indirect (module demo)"},
      {"indirect", 1, 2, 0, GW_TRAP_UNINITIALIZED_ELEMENT, "uninitialized element in function indirect (module demo)"},
      {"indirect", 1, 4, 0, GW_TRAP_UNDEFINED_ELEMENT, "undefined element in function indirect (module demo)"},
      {"indirect", 1, -1, 0, GW_TRAP_UNDEFINED_ELEMENT, "undefined element in function indirect (module demo)"},
      {"fill", 2, 65535, 2, GW_TRAP_MEMORY_OUT_OF_BOUNDS, "out of bounds memory access in function fill (module demo)"},
      {"fill", 2, -1, -1, GW_TRAP_MEMORY_OUT_OF_BOUNDS, "out of bounds memory access in function fill (module demo)"},
      {"ask", 1, 1, 0, GW_TRAP_HOST, "the host said no"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    expect_trap(&f, cases[i].name, cases[i].n, cases[i].a, cases[i].b, cases[i].trap, cases[i].message);
  assert_int_equal(call(&f, "indirect", 1, 0, 0), 5);
  gw_store_destroy(f.store);
}

static void test_repeated(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 0);
  for (int i = 0; i < 2000; i++) {
    struct gw_error err = {0};
    union gw_value values[1] = {{.i32 = i % 2 ? -1 : 0}};
    const char *name = i % 2 ? "load" : i % 64 ? "unreachable" : "deep";
    assert_false(gw_call_export(f.instance, name, values, name[0] != 'u', &err));
  }
  assert_int_equal(call(&f, "div", 2, 8, 2), 4);
  gw_store_destroy(f.store);
}

/* On the guest's fiber: another store runs, traps by signal, and this one goes on. */
static enum gw_trap trap_in_other_store(void) {
  struct fixture f = open_fixture(0, 0);
  union gw_value values[1] = {{.i32 = -1}};
  struct gw_error err = {0};
  bool ok = gw_call_export(f.instance, "load", values, 1, &err);
  gw_store_destroy(f.store);
  return !ok && err.trap == GW_TRAP_MEMORY_OUT_OF_BOUNDS ? GW_TRAP_NONE : GW_TRAP_HOST;
}

static void test_nested_stores(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 0);
  call(&f, "ask", 1, 5, 0);
  assert_int_equal(call(&f, "get", 1, 0, 0), 8);
  expect_trap(&f, "load", 1, -1, 0, GW_TRAP_MEMORY_OUT_OF_BOUNDS,
              "out of bounds memory access in function load (module demo) at address 0xffffffff, memory size 65536");
  gw_store_destroy(f.store);
}

/* A sentence of a failure that did not end the invocation is not the next trap's. */
static void test_forgotten_message(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 0);
  expect_trap(&f, "ask_and_trap", 1, 4, 0, GW_TRAP_UNREACHABLE, "unreachable in function ask_and_trap (module demo)");
  gw_store_destroy(f.store);
}

static void test_exit_is_success(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 0);
  call(&f, "ask", 1, 2, 0);
  assert_int_equal(call(&f, "get", 1, 0, 0), 7); /* what stands behind the call did not run */
  call(&f, "ask", 1, 0, 0);
  assert_int_equal(call(&f, "get", 1, 0, 0), 8);
  gw_store_destroy(f.store);
}

static void test_grow_limit(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 0);
  assert_int_equal(call(&f, "grow", 1, 2, 0), -1);
  assert_int_equal(call(&f, "grow", 1, -1, 0), -1);
  assert_int_equal(call(&f, "grow", 1, 1, 0), 1);
  assert_int_equal(call(&f, "load", 1, 131068, 0), 0);
  assert_int_equal(call(&f, "grow", 1, 1, 0), -1);
  assert_int_equal(gw_instance_memory_size(f.instance), 131072);
  assert_non_null(gw_instance_memory(f.instance, 131071, 1));
  assert_null(gw_instance_memory(f.instance, 131071, 2));
  assert_null(gw_instance_memory(f.instance, UINT64_MAX, 2));
  gw_store_destroy(f.store);
}

/* --- gas ---------------------------------------------------------------------------------------------------------- */

static uint64_t gas_of(const char *name, int32_t argument, uint64_t limit, uint64_t slice, enum gw_trap *trap) {
  struct fixture f = open_fixture(limit, slice);
  struct gw_error err = {0};
  union gw_value values[2] = {{.i32 = argument}, {.i32 = 60000}};
  size_t n = !strcmp(name, "forever") ? 0 : !strcmp(name, "fill") ? 2 : 1;
  bool ok = gw_call_export(f.instance, name, values, n, &err);
  *trap = ok ? GW_TRAP_NONE : err.trap;
  uint64_t used = gw_store_gas_used(f.store);
  gw_store_destroy(f.store);
  return used;
}

/* Just enough succeeds, one less runs out with exactly the limit used; the same in slices of any size. */
static void test_gas_exact(void **state) {
  (void)state;
  static const char *const names[] = {"count", "ask", "fill", "grow"};
  static const uint64_t slices[] = {0, 1, 7, 100, 1000000};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    int32_t argument = names[i][0] == 'c' ? 500 : names[i][0] == 'g' ? 1 : 0;
    enum gw_trap trap;
    uint64_t used = gas_of(names[i], argument, 0, 0, &trap);
    assert_int_equal(trap, GW_TRAP_NONE);
    assert_true(used > 0);
    for (size_t k = 0; k < sizeof slices / sizeof slices[0]; k++) {
      assert_int_equal(gas_of(names[i], argument, used, slices[k], &trap), used);
      assert_int_equal(trap, GW_TRAP_NONE);
      assert_int_equal(gas_of(names[i], argument, used - 1, slices[k], &trap), used - 1);
      assert_int_equal(trap, GW_TRAP_OUT_OF_GAS);
      assert_int_equal(gas_of(names[i], argument, used + 1, slices[k], &trap), used);
    }
  }
}

static void test_gas_endless(void **state) {
  (void)state;
  enum gw_trap trap;
  assert_int_equal(gas_of("forever", 0, 1000000, 0, &trap), 1000000);
  assert_int_equal(trap, GW_TRAP_OUT_OF_GAS);
  assert_int_equal(gas_of("forever", 0, 1000000, 999, &trap), 1000000);
  assert_int_equal(trap, GW_TRAP_OUT_OF_GAS);
  assert_int_equal(gas_of("ask", 3, 1000000, 1000, &trap), 1000000); /* a host function charges more than there is */
  assert_int_equal(trap, GW_TRAP_OUT_OF_GAS);
}

/* Compiled code may find out late that the limit was passed; then the end does. */
static void test_gas_overdrawn_at_end(void **state) {
  (void)state;
  enum gw_trap trap;
  assert_int_equal(gas_of("ask", 6, 1000000, 0, &trap), 1000000);
  assert_int_equal(trap, GW_TRAP_OUT_OF_GAS);
}

/* A bulk operation that cannot be paid has no effect. */
static void test_gas_before_effect(void **state) {
  (void)state;
  struct fixture f = open_fixture(1000, 0);
  struct gw_error err = {0};
  union gw_value values[2] = {{.i32 = 0}, {.i32 = 65536}};
  assert_false(gw_call_export(f.instance, "fill", values, 2, &err));
  assert_int_equal(err.trap, GW_TRAP_OUT_OF_GAS);
  assert_string_equal(wat_message(&err), "out of gas in function fill (module demo)");
  gw_store_set_gas_limit(f.store, 0);
  assert_int_equal(call(&f, "load", 1, 0, 0), 0);
  assert_int_equal(call(&f, "load", 1, 65532, 0), 0);
  gw_store_destroy(f.store);
}

static void test_slices(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 1000);
  struct gw_extern count;
  struct gw_error err = {0};
  union gw_value values[1] = {{.i32 = 10000}};
  assert_true(gw_instance_export(f.instance, "count", 5, &count));
  gw_store_start(f.store, count.of.func, values);
  uint64_t steps = 0, used = 0;
  enum gw_status status;
  while ((status = gw_store_resume(f.store, &err)) == GW_STATUS_YIELDED) {
    steps++;
    assert_true(gw_store_gas_used(f.store) > used);
    used = gw_store_gas_used(f.store);
  }
  assert_int_equal(status, GW_STATUS_DONE);
  assert_int_equal(values[0].i32, 30000);
  assert_true(steps >= gw_store_gas_used(f.store) / 1000 - 1 && steps <= gw_store_gas_used(f.store) / 1000 + 1);
  assert_int_equal(gw_store_resume(f.store, &err), GW_STATUS_FAILED);
  assert_int_equal(err.code, GW_ERROR_USAGE);
  gw_store_destroy(f.store);
}

static void test_cancel(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 1000);
  struct gw_extern forever;
  struct gw_error err = {0};
  assert_true(gw_instance_export(f.instance, "forever", 7, &forever));
  for (int i = 0; i < 100; i++) {
    gw_store_start(f.store, forever.of.func, NULL);
    for (int k = 0; k < 5; k++) assert_int_equal(gw_store_resume(f.store, &err), GW_STATUS_YIELDED);
    assert_false(gw_call(f.store, forever.of.func, NULL, &(struct gw_error){0}));
    gw_store_cancel(f.store);
  }
  gw_store_cancel(f.store);
  assert_int_equal(call(&f, "div", 2, 9, 3), 3);
  gw_store_destroy(f.store);
}

/* Steps of one invocation on changing threads, with a fault at the end. */
static void *resume_on_thread(void *arg) {
  struct gw_error err = {0};
  return (void *)(intptr_t)gw_store_resume(arg, &err);
}

static void test_threads_take_turns(void **state) {
  (void)state;
  struct fixture f = open_fixture(0, 3000);
  struct gw_extern count;
  union gw_value values[1] = {{.i32 = 10000}};
  assert_true(gw_instance_export(f.instance, "count", 5, &count));
  gw_store_start(f.store, count.of.func, values);
  void *status;
  do {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, resume_on_thread, f.store), 0);
    pthread_join(thread, &status);
  } while ((intptr_t)status == GW_STATUS_YIELDED);
  assert_int_equal((intptr_t)status, GW_STATUS_DONE);
  assert_int_equal(values[0].i32, 30000);
  gw_store_destroy(f.store);
}

static void *trap_often(void *arg) {
  (void)arg;
  struct fixture f = open_fixture(0, 0);
  for (int i = 0; i < 500; i++) {
    struct gw_error err = {0};
    union gw_value values[1] = {{.i32 = -i - 1}};
    if (gw_call_export(f.instance, "load", values, 1, &err)) return "no trap";
    if (err.trap != GW_TRAP_MEMORY_OUT_OF_BOUNDS) return "wrong trap";
    values[0].i32 = 100;
    if (!gw_call_export(f.instance, "count", values, 1, &(struct gw_error){0}) || values[0].i32 != 300) return "wrong result";
  }
  gw_store_destroy(f.store);
  return NULL;
}

static void test_threads_at_once(void **state) {
  (void)state;
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, trap_often, NULL), 0);
  for (int i = 0; i < 2; i++) {
    void *why;
    pthread_join(threads[i], &why);
    if (why) fail_msg("%s", (char *)why);
  }
}

/* --- faults that are not the guest's -------------------------------------------------------------------------------- */

static void crash(const int *nowhere) {
  /* Volatile, or the compiler takes the fault away. */
  *(volatile int *)nowhere = 1;
}

static int status_of_child(void (*run)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    if (!freopen("/dev/null", "w", stderr)) _exit(99);
    signal(SIGSEGV, SIG_DFL); /* instead of cmocka's handler, behind ours */
    gw_store_create(engine, &(struct gw_store_options){0}, &(struct gw_error){0});
    run();
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return status;
}

static enum gw_trap host_crash(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env, (void)values;
  crash((int *)gw_instance_memory(caller, 0, 0) + (1 << 20)); /* behind the guest's memory, but not guest code */
  return GW_TRAP_NONE;
}

static bool resolve_crash(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func row = {"host", "fail", "_i", host_crash};
  (void)env;
  (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &row};
  return true;
}

static void run_host_crash(void) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){0}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, resolve_crash, NULL, &err);
  union gw_value values[1] = {{.i32 = 0}};
  gw_call_export(instance, "ask", values, 1, &err);
}

static void run_plain_crash(void) { crash((int *)16); }
static void run_sent_signal(void) { raise(SIGSEGV); }

static void test_host_faults_stay_faults(void **state) {
  (void)state;
  void (*const runs[])(void) = {run_plain_crash, run_sent_signal, run_host_crash};
  for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
    int status = status_of_child(runs[i]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  }
}

/* What the tests before measured at one level must be the same at the other. */
static void test_gas_same_on_levels(void **state) {
  (void)state;
  static uint64_t expected[3];
  static const char *const names[] = {"count", "ask", "fill"};
  for (size_t i = 0; i < 3; i++) {
    enum gw_trap trap;
    uint64_t used = gas_of(names[i], 50, 0, 0, &trap);
    assert_int_equal(trap, GW_TRAP_NONE);
    if (expected[i]) assert_int_equal(used, expected[i]);
    expected[i] = used;
  }
}

static int run_at_level(uint32_t level) {
  struct gw_error err = {0};
  engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = true, .verify = true}, &err);
  if (!engine) wat_fail("engine", err.message);
  module = wat_module(engine, text);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_messages),
      cmocka_unit_test(test_repeated),
      cmocka_unit_test(test_exit_is_success),
      cmocka_unit_test(test_grow_limit),
      cmocka_unit_test(test_gas_exact),
      cmocka_unit_test(test_gas_endless),
      cmocka_unit_test(test_gas_before_effect),
      cmocka_unit_test(test_slices),
      cmocka_unit_test(test_cancel),
      cmocka_unit_test(test_threads_take_turns),
      cmocka_unit_test(test_threads_at_once),
      cmocka_unit_test(test_host_faults_stay_faults),
      cmocka_unit_test(test_gas_same_on_levels),
      cmocka_unit_test(test_nested_stores),
      cmocka_unit_test(test_gas_overdrawn_at_end),
      cmocka_unit_test(test_forgotten_message),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return failed;
}

int main(void) { return run_at_level(2) + run_at_level(0); }
