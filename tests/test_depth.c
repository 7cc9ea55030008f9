/* Deep recursion: the same depth and the same gas on every level and in every tier, and never a crash, whatever the code
 * generator makes of a function's frame: not in host functions at the deepest point, nor in signal handlers there. */
#include "runtime/object.h"
#include "runtime/precise/private.h"
#include "runtime/store.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/time.h>

#include <cmocka.h>

#define LOCALS_8(type) type " " type " " type " " type " " type " " type " " type " " type
#define LOCALS_64(type)                                                                                        \
  LOCALS_8(type)                                                                                               \
  " " LOCALS_8(type) " " LOCALS_8(type) " " LOCALS_8(type) " " LOCALS_8(type) " " LOCALS_8(type) " " LOCALS_8( \
      type) " " LOCALS_8(type)

/* Functions with one parameter that recurse without end when it is not 0. $n counts the calls; host() is called when they are all
 * that fit, or as often as `n` says. */
static const char head[] = "(module (import \"h\" \"host\" (func $host)) (global $n (export \"n\") (mut i32) (i32.const 0))"
                           " (global $most (export \"most\") (mut i32) (i32.const -1))"
                           " (table funcref (elem $indirect)) (type $t (func (param i32) (result i32)))"
                           " (func $same (param i32) (result i32) (local.get 0))"
                           " (func $count (global.set $n (i32.add (global.get $n) (i32.const 1))))"
                           " (func $is_last (result i32) (i32.eq (global.get $n) (global.get $most)))";
#define BEGIN " (call $count) (if (call $is_last) (then (call $host) (return (i32.const 1))))"

static const char fixed[] =
    " (func $plain (export \"plain\") (type $t)" BEGIN "   (i32.add (call $plain (local.get 0)) (i32.const 1)))"
    " (func $locals (export \"locals\") (type $t) (local " LOCALS_64(
        "i64") ")" BEGIN "   (local.set 1 (i64.extend_i32_u (call $locals (local.get 0)))) (i32.wrap_i64 (i64.add (local.get 1) "
               "(local.get 64))))"
               " (func $vectors (export \"vectors\") (type $t) (local " LOCALS_64(
                   "v128") ")" BEGIN
                           "   (local.set 7 (i32x4.splat (call $vectors (local.get 0)))) (i32x4.extract_lane 1 (local.get 7)))"
                           " (func $ping (export \"mutual\") (type $t)" BEGIN "   (call $pong (local.get 0) (f64.const 1)))"
                           " (func $pong (param i32 f64) (result i32) (local " LOCALS_64(
                               "f64") ")" BEGIN "   (i32.add (call $ping (local.get 0)) (i32.trunc_f64_s (local.get 1))))"
                                      " (func $indirect (export \"indirect\") (type $t)" BEGIN
                                      "   (call_indirect (type $t) (local.get 0) (i32.const 0)))";

static const char *const names[] = {"plain", "locals", "vectors", "mutual", "indirect", "calls", "loops", "spills", "holds"};
enum {
  N_NAMES = sizeof names / sizeof names[0],
  N_LEVELS = 4,
  N_ENGINES = N_LEVELS + 2,
  CALLS = 300,
  LOOPS = 50,
  SPILLS = 300,
  HOLDS = 200
};

/* Functions whose frames are far larger than what they have in locals: every call and every loop has its place in the frame
 * without optimisation, and with it products that are the same before and after the call stay on the stack. */
static void make_text(struct buffer *b) {
  buffer_append_string(b, head);
  buffer_append_string(b, " (memory 1)");
  buffer_append_string(b, fixed);
  buffer_append_string(b, " (func $calls (export \"calls\") (type $t)" BEGIN " (local.set 0 (call $calls (local.get 0)))");
  for (int i = 0; i < CALLS; i++)
    buffer_format(b, " (local.set 0 (i32.xor (call $same (i32.add (local.get 0) (i32.const %d))) (call $same (local.get 0))))",
                  i);
  buffer_append_string(b, " (local.get 0)) (func $loops (export \"loops\") (type $t) (local i32)" BEGIN
                          " (local.set 0 (call $loops (local.get 0)))");
  for (int i = 0; i < LOOPS; i++)
    buffer_format(b,
                  " (loop $l (local.set 1 (i32.add (local.get 1) (i32.const 1)))"
                  " (local.set 0 (i32.mul (local.get 0) (i32.const %d))) (br_if $l (i32.eqz (local.get 0))))",
                  2 * i + 7);
  buffer_append_string(b, " (local.get 0)) (func $spills (export \"spills\") (type $t)" BEGIN);
  for (int half = 0; half < 2; half++) {
    for (int i = 0; i < SPILLS; i++)
      buffer_format(b, " (i32.store offset=%d (i32.const 0) (i32.rem_u (local.get 0) (i32.const %d)))", 4 * i, 2 * i + 3);
    if (!half) buffer_append_string(b, " (drop (call $spills (local.get 0)))");
  }
  buffer_append_string(b, " (local.get 0))");
  /* What catch bodies may rethrow has slots of its own, which the interpreter's frames lie on. */
  buffer_append_string(b, " (func $holds (export \"holds\") (type $t)" BEGIN " (drop (call $holds (local.get 0)))");
  for (int i = 0; i < HOLDS; i++) buffer_append_string(b, " try");
  buffer_append_string(b, " nop");
  for (int i = 0; i < HOLDS; i++) buffer_append_string(b, " catch_all rethrow 0 end");
  buffer_append_string(b, " (local.get 0)))");
  buffer_append(b, "", 1);
}

struct guest {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
};

static char *text;

/* What the host function does at the deepest point. */
static struct {
  struct gw_module *module; /* to be instantiated and run to its own deepest point, or NULL */
  struct gw_engine *engine;
  uint32_t most, n_calls, depth;
} at_host;

enum { NESTED = 6 };

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out);

static union gw_value *cell(struct gw_instance *instance, const char *name) {
  struct gw_extern found;
  assert_true(gw_instance_export(instance, name, strlen(name), &found));
  return found.of.global->cell;
}

/* Calls and gas of a function that recurses until it is at the call number `most`, or for ever. */
struct run {
  uint32_t n_calls;
  uint64_t gas;
  enum gw_trap trap;
};

static struct run run(struct gw_instance *instance, const char *name, uint32_t most) {
  struct gw_error err = {0};
  union gw_value value = {.u32 = 1};
  cell(instance, "n")->u32 = 0;
  cell(instance, "most")->u32 = most;
  bool ok = gw_call_export(instance, name, &value, 1, &err);
  if (!ok && err.code != GW_ERROR_TRAP) fail_msg("%s: %s", name, err.message);
  return (struct run){cell(instance, "n")->u32, gw_store_gas_used(gw_instance_store(instance)), err.trap};
}

static struct gw_instance *open_instance(struct gw_engine *engine, struct gw_module *module, enum gw_tier tier,
                                         uint32_t max_depth) {
  struct gw_error err = {0};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.tier = tier, .max_depth = max_depth}, &err);
  struct gw_instance *instance = store ? gw_instance_create(store, module, resolve, NULL, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  return instance;
}

static __attribute__((noinline)) int use_stack(void) {
  volatile char room[64 << 10];
  for (size_t i = 0; i < sizeof room; i += 1000) room[sizeof room - 1 - i] = 1;
  return room[0];
}

/* Uses the stack, resumes its own store, which is busy, and calls one of another store, whose deepest point calls this again. */
static enum gw_trap host(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env, (void)values;
  struct gw_error err = {0};
  use_stack();
  at_host.n_calls++;
  assert_int_equal(gw_store_resume(gw_instance_store(caller), &err), GW_STATUS_FAILED);
  assert_int_equal(err.code, GW_ERROR_USAGE);
  if (!at_host.module || at_host.depth == NESTED) return GW_TRAP_NONE;
  at_host.depth++;
  for (int i = 0; i < 2; i++) {
    struct gw_instance *inner = open_instance(at_host.engine, at_host.module, gw_instance_store(caller)->options.tier, 0);
    assert_int_equal(run(inner, "plain", at_host.most).trap, GW_TRAP_NONE);
    assert_int_equal(run(inner, "plain", UINT32_MAX).trap, GW_TRAP_STACK_OVERFLOW);
    gw_store_destroy(gw_instance_store(inner));
  }
  at_host.depth--;
  return GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"h", "host", "_", host};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&func, NULL}};
  return true;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static struct gw_engine *engines[N_ENGINES];
static struct gw_module *modules[N_ENGINES];

static enum gw_tier tier_of(int engine) {
  if (engine < N_LEVELS) return GW_TIER_FAST;
  return engine == N_LEVELS ? GW_TIER_BASELINE : GW_TIER_PRECISE;
}

static void expect_same(const char *name, const struct run *first, const struct run *other, int engine) {
  if (other->n_calls != first->n_calls || other->gas != first->gas || other->trap != first->trap)
    fail_msg("%s, engine %d: %u calls, %llu gas, trap %d; at -O0 %u calls, %llu gas, trap %d", name, engine, other->n_calls,
             (unsigned long long)other->gas, (int)other->trap, first->n_calls, (unsigned long long)first->gas, (int)first->trap);
}

/* One call more than fits is one too many; as many as fit cost the same gas everywhere, and leave room for a host function. */
static void compare(const char *name, uint32_t max_depth) {
  struct run deepest[2], overflow;
  for (int e = 0; e < N_ENGINES; e++) {
    struct gw_instance *instance = open_instance(engines[e], modules[e], tier_of(e), max_depth);
    struct run endless = run(instance, name, UINT32_MAX);
    if (e == 0) overflow = endless;
    assert_int_equal(endless.trap, GW_TRAP_STACK_OVERFLOW);
    expect_same(name, &overflow, &(struct run){endless.n_calls, overflow.gas, endless.trap}, e);
    deepest[e > 0] = run(instance, name, overflow.n_calls - 1);
    expect_same(name, &deepest[0], &deepest[e > 0], e);
    assert_int_equal(deepest[e > 0].trap, GW_TRAP_NONE);
    gw_store_destroy(gw_instance_store(instance));
  }
  assert_true(overflow.n_calls > 100);
}

static void test_same_everywhere(void **state) {
  (void)state;
  for (int i = 0; i < N_NAMES; i++) compare(names[i], 0);
}

static void test_largest_depth(void **state) {
  (void)state;
  compare("plain", UINT32_MAX);
  compare("locals", UINT32_MAX);
}

/* A small leaf is free, a large one is not: it would run off the stack that callers left. */
static void test_large_leaf(void **state) {
  (void)state;
  enum { OPERANDS = 5000 };
  struct buffer b = {0};
  buffer_append_string(&b, "(module (func $leaf (export \"leaf\") (param i32) (result i32)");
  for (int i = 0; i < OPERANDS; i++) buffer_append_string(&b, " (local.get 0)");
  for (int i = 1; i < OPERANDS; i++) buffer_append_string(&b, " i32.add");
  buffer_append_string(&b, ") (func (export \"small\") (param i32) (result i32) (local.get 0)))");
  buffer_append(&b, "", 1);
  for (int e = 0; e < N_ENGINES; e++) {
    struct gw_error err = {0};
    struct gw_module *module = wat_module(engines[e], (char *)b.bytes);
    uint32_t cost = func_depth_cost(gw_module_decoded(module), 0);
    assert_int_equal(cost, func_frame_cost(gw_module_decoded(module), 0));
    assert_int_equal(func_depth_cost(gw_module_decoded(module), 1), 0);
    for (uint32_t room = 0; room < 2; room++) {
      struct gw_store *store =
          gw_store_create(engines[e], &(struct gw_store_options){.tier = tier_of(e), .max_depth = cost - 1 + room}, &err);
      struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
      union gw_value value = {.u32 = 1};
      assert_int_equal(gw_call_export(instance, "leaf", &value, 1, &err), room);
      assert_int_equal(err.trap, room ? GW_TRAP_NONE : GW_TRAP_STACK_OVERFLOW);
      if (room) assert_int_equal(value.u32, OPERANDS);
      err = (struct gw_error){0};
      gw_store_destroy(store);
    }
    gw_module_release(module);
  }
  buffer_clear(&b);
}

/* A host function's results in a tail call are no operands of the caller, but they lie in its frame. The last function that fits
 * makes one, at every depth around the end of the interpreter's stack. */
static enum gw_trap many(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env;
  for (uint32_t i = 0; i < 1000; i++) values[i] = (union gw_value){.u64 = i};
  return GW_TRAP_NONE;
}

static bool resolve_many(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"h", "many", NULL, many};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&func, NULL}};
  return true;
}

static void check_results_of_tail_calls(enum gw_tier tier) {
  enum { MOST_LOCALS = 2000, STEP = 125 };
  struct gw_engine *engine = engines[N_ENGINES - 1];
  for (int locals = 0; locals <= MOST_LOCALS; locals += STEP) {
    struct gw_error err = {0};
    struct buffer b = {0};
    buffer_append_string(&b, "(module (type $r (func (result");
    for (int i = 0; i < 1000; i++) buffer_append_string(&b, " i64");
    buffer_append_string(&b, "))) (import \"h\" \"many\" (func $many (type $r))) (func $last (export \"last\") (type $r) (local");
    for (int i = 0; i < locals; i++) buffer_append_string(&b, " i64");
    buffer_append_string(&b, ") (return_call $many)))");
    buffer_append(&b, "", 1);
    struct gw_module *module = wat_module(engine, (char *)b.bytes);
    uint32_t cost = func_frame_cost(gw_module_decoded(module), 1);
    struct gw_store_options options = {.tier = tier, .max_depth = cost};
    struct gw_store *store = gw_store_create(engine, &options, &err);
    struct gw_instance *instance = gw_instance_create(store, module, resolve_many, NULL, &err);
    static union gw_value values[1000];
    assert_true(gw_call_export(instance, "last", values, 1000, &err));
    assert_int_equal(values[999].u64, 999);
    const struct precise_func *func = &module->precise[tier == GW_TIER_BASELINE]->funcs[1];
    assert_true(func->frame_bytes >= func->header + (HEADER_SLOTS + 1000) * SLOT_SIZE);
    gw_store_destroy(store);
    gw_module_release(module);
    buffer_clear(&b);
  }
}

static void test_results_of_tail_calls(void **state) {
  (void)state;
  check_results_of_tail_calls(GW_TIER_PRECISE);
  check_results_of_tail_calls(GW_TIER_BASELINE);
}

/* The arguments of a tail call lie on the frame that it replaces, when there turns out to be no stack for the next one. */
static void check_tail_call_without_stack(enum gw_tier tier) {
  struct gw_engine *engine = engines[N_ENGINES - 1];
  struct gw_error err = {0};
  struct buffer b = {0};
  buffer_append_string(&b, "(module (func $large (param");
  for (int i = 0; i < 30; i++) buffer_append_string(&b, " i64");
  buffer_append_string(&b, ") (local");
  for (int i = 0; i < 5000; i++) buffer_append_string(&b, " i64");
  buffer_append_string(&b, ") (call $f)) (func $f (export \"f\") (return_call $large");
  for (int i = 0; i < 30; i++) buffer_append_string(&b, " (i64.const -1)");
  buffer_append_string(&b, ")))");
  buffer_append(&b, "", 1);
  struct gw_module *module = wat_module(engine, (char *)b.bytes);
  struct gw_store_options options = {.tier = tier, .max_depth = 4096};
  struct gw_store *store = gw_store_create(engine, &options, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  assert_false(gw_call_export(instance, "f", NULL, 0, &err));
  assert_int_equal(err.trap, GW_TRAP_STACK_OVERFLOW);
  gw_store_destroy(store);
  gw_module_release(module);
  buffer_clear(&b);
}

static void test_tail_call_without_stack(void **state) {
  (void)state;
  check_tail_call_without_stack(GW_TIER_PRECISE);
  check_tail_call_without_stack(GW_TIER_BASELINE);
}

/* Guests choose how large native frames are; beyond a limit there is no compiled code, and the interpreter runs all the same. */
static void test_frames_beyond_the_limit(void **state) {
  (void)state;
  enum { ALIVE = 4000 };
  struct gw_error err = {0};
  struct buffer b = {0};
  buffer_append_string(&b, "(module (memory 1) (func $f (export \"f\") (param i32) (result i32)");
  for (int half = 0; half < 2; half++) {
    for (int i = 0; i < ALIVE; i++)
      buffer_format(&b, " (i32.store offset=%d (i32.const 0) (i32.rem_u (local.get 0) (i32.const %d)))", 4 * i, 2 * i + 3);
    if (!half) buffer_append_string(&b, " (if (local.get 0) (then (drop (call $f (i32.const 0)))))");
  }
  buffer_append_string(&b, " (local.get 0)))");
  buffer_append(&b, "", 1);
  struct gw_module *module = wat_module(engines[2], (char *)b.bytes);
  assert_false(gw_module_compile(module, &err));
  assert_int_equal(err.code, GW_ERROR_LIMIT);
  assert_non_null(strstr(err.message, "native frame"));
  err = (struct gw_error){0};
  struct gw_store *store = gw_store_create(engines[2], &(struct gw_store_options){.tier = GW_TIER_PRECISE}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  union gw_value value = {.u32 = 9};
  assert_true(gw_call_export(instance, "f", &value, 1, &err));
  assert_int_equal(value.u32, 9);
  gw_store_destroy(store);
  gw_module_release(module);
  buffer_clear(&b);
}

static void test_nested_hosts(void **state) {
  (void)state;
  for (int e = 0; e < N_ENGINES; e += e ? 1 : N_LEVELS) {
    struct gw_instance *instance = open_instance(engines[e], modules[e], tier_of(e), 0);
    uint32_t most = run(instance, "plain", UINT32_MAX).n_calls - 1, before = at_host.n_calls;
    at_host.engine = engines[e];
    at_host.module = modules[e];
    at_host.most = most;
    assert_int_equal(run(instance, "plain", most).trap, GW_TRAP_NONE);
    assert_int_equal(at_host.n_calls - before, (1 << (NESTED + 1)) - 1);
    at_host.module = NULL;
    gw_store_destroy(gw_instance_store(instance));
  }
}

static volatile sig_atomic_t n_signals;

static void on_signal(int number) {
  (void)number;
  use_stack();
  n_signals++;
}

static void on_signal_aside(int number) { /* its stack is small */
  (void)number;
  n_signals++;
}

/* A profiler's timer, whose handler runs wherever the guest is: on the signal stack, or on the guest's own. */
static void test_signals(void **state) {
  (void)state;
  enum { ROUNDS = 30 };
  for (int on_stack = 0; on_stack < 2; on_stack++) {
    struct sigaction action = {.sa_handler = on_stack ? on_signal_aside : on_signal, .sa_flags = on_stack ? SA_ONSTACK : 0}, old;
    struct itimerval timer = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
    n_signals = 0;
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int e = 0; e < N_ENGINES; e++) {
      struct gw_instance *instance = open_instance(engines[e], modules[e], tier_of(e), 0);
      for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(run(instance, names[i % N_NAMES], UINT32_MAX).trap, GW_TRAP_STACK_OVERFLOW);
      gw_store_destroy(gw_instance_store(instance));
    }
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &old, NULL);
    assert_true(n_signals > 10);
  }
}

static enum gw_trap raise_signal(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env, (void)values;
  raise(SIGALRM);
  return GW_TRAP_NONE;
}

static bool resolve_raise(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"h", "host", "_", raise_signal};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&func, NULL}};
  return true;
}

/* The handler at the very deepest point. */
static void test_signal_at_deepest(void **state) {
  (void)state;
  for (int e = 0; e < N_ENGINES; e++) {
    struct gw_error err = {0};
    struct sigaction action = {.sa_handler = on_signal}, old;
    struct gw_store *store = gw_store_create(engines[e], &(struct gw_store_options){.tier = tier_of(e)}, &err);
    struct gw_instance *instance = store ? gw_instance_create(store, modules[e], resolve_raise, NULL, &err) : NULL;
    if (!instance) fail_msg("%s", err.message);
    sigaction(SIGALRM, &action, &old);
    for (int i = 0; i < N_NAMES; i++) {
      uint32_t before = (uint32_t)n_signals, most = run(instance, names[i], UINT32_MAX).n_calls - 1;
      assert_int_equal(run(instance, names[i], most).trap, GW_TRAP_NONE);
      assert_int_equal((uint32_t)n_signals, before + 1);
    }
    sigaction(SIGALRM, &old, NULL);
    gw_store_destroy(store);
  }
}

static int setup(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct buffer b = {0};
  make_text(&b);
  text = (char *)b.bytes;
  for (int e = 0; e < N_ENGINES; e++) {
    uint32_t level = tier_of(e) == GW_TIER_FAST ? (uint32_t)e : 0;
    engines[e] = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = true}, &err);
    if (!engines[e]) wat_fail("engine", err.message);
    modules[e] = wat_module(engines[e], text);
  }
  free(text);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  for (int e = 0; e < N_ENGINES; e++) {
    gw_module_release(modules[e]);
    gw_engine_destroy(engines[e]);
  }
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_same_everywhere),
      cmocka_unit_test(test_largest_depth),
      cmocka_unit_test(test_nested_hosts),
      cmocka_unit_test(test_large_leaf),
      cmocka_unit_test(test_results_of_tail_calls),
      cmocka_unit_test(test_tail_call_without_stack),
      cmocka_unit_test(test_frames_beyond_the_limit),
      cmocka_unit_test(test_signals),
      cmocka_unit_test(test_signal_at_deepest),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
