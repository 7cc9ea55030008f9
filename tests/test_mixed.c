/* The mixed tier: every set of a module's functions compiled by itself, the others in baseline code. Results, gas, depth and
 * traps do not depend on the set, nor on when it is published. */
#include "runtime/compile.h"
#include "runtime/instance.h"
#include "tests/wat.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Arguments of each kind in registers and on the stack, several results, references, recursion from one to the other. */
static const char crossing[] =
    "(module (import \"env\" \"add\" (func $host (param i32 i64 f32 f64) (result i64)))"
    " (memory (export \"memory\") 1) (table funcref (elem $deep $wide $host))"
    " (type $step (func (param i32) (result i32)))"
    " (func $wide (param i32 i64 f32 f64 v128 i32 i64 i32 i64 v128 f32 f64 f32 f64 f32 v128 f64 f32 i32 v128 f64) (result i64)"
    "  (i64.add (i64.extend_i32_s (i32.sub (i32.mul (local.get 0) (i32.const 3)) (i32.sub (local.get 5) (i32.mul (local.get 7)"
    "    (i32.add (local.get 18) (i32.const 5))))))"
    "   (i64.add (i64.mul (local.get 1) (i64.sub (local.get 6) (i64.mul (local.get 8) (i64.const 11))))"
    "    (i64.add (i64.trunc_sat_f64_s (f64.mul (f64.sub (local.get 3) (local.get 11)) (f64.add (local.get 13)"
    "      (f64.mul (local.get 16) (f64.sub (local.get 20) (f64.promote_f32 (f32.mul (f32.add (local.get 2) (local.get 10))"
    "       (f32.sub (local.get 12) (f32.mul (local.get 14) (local.get 17))))))))))"
    "     (i64x2.extract_lane 1 (i64x2.mul (i64x2.sub (local.get 4) (local.get 9)) (i64x2.sub (local.get 15) (local.get "
    "19))))))))"
    " (func $call_wide (param i32) (result i64)"
    "  (call $wide (local.get 0) (i64.const 7) (f32.const 1.5) (f64.const -2.25) (v128.const i64x2 3 4) (i32.const -9)"
    "   (i64.const 11) (i32.const 13) (i64.const -15) (v128.const i64x2 17 19) (f32.const 3) (f64.const 5) (f32.const 7)"
    "   (f64.const 9) (f32.const 11) (v128.const i64x2 23 29) (f64.const 0.5) (f32.const 0.25) (local.get 0)"
    "   (v128.const i64x2 31 37) (f64.const 1.75)))"
    " (func $many (param i32) (result i32 i64 f32 f64)"
    "  (i32.add (local.get 0) (i32.const 1)) (i64.extend_i32_u (local.get 0)) (f32.convert_i32_s (local.get 0))"
    "  (f64.convert_i32_s (i32.mul (local.get 0) (local.get 0))))"
    " (func $one (param i32) (result f64) (local i32 i64 f32 f64) (call $many (local.get 0))"
    "  (local.set 4) (local.set 3) (local.set 2) (local.set 1)"
    "  (f64.add (f64.add (local.get 4) (f64.promote_f32 (local.get 3)))"
    "   (f64.add (f64.convert_i64_s (local.get 2)) (f64.convert_i32_s (local.get 1)))))"
    " (func $deep (type $step) (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))"
    "  (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))"
    "  (i32.add (call $deeper (i32.sub (local.get 0) (i32.const 1))) (i32.const 2)))"
    " (func $deeper (type $step) (local v128 i64)"
    "  (i32.mul (call_indirect (type $step) (local.get 0) (i32.const 0)) (i32.const 3)))"
    " (func $host_too (param i32) (result i64)"
    "  (i64.add (call $host (local.get 0) (i64.const 5) (f32.const 2.5) (f64.const 8))"
    "   (call_indirect (param i32 i64 f32 f64) (result i64) (i32.const 3) (i64.const 6) (f32.const 1) (f64.const 2)"
    "    (i32.const 2))))"
    " (func (export \"run\") (param i32) (result i64) (local i64)"
    "  (loop $l (local.set 1 (i64.add (i64.rotl (local.get 1) (i64.const 7)) (i64.add"
    "    (i64.add (call $call_wide (local.get 0)) (i64.trunc_sat_f64_s (call $one (local.get 0))))"
    "    (i64.add (i64.extend_i32_u (call $deep (i32.and (local.get 0) (i32.const 15)))) (call $host_too (local.get 0))))))"
    "   (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "  (local.get 1))"
    " (func $load (param i32) (result i32) (i32.load (local.get 0)))"
    " (func (export \"fault\") (param i32) (result i64) (i64.extend_i32_u (call $load (i32.const -4))))"
    " (func (export \"exhaust\") (param i32) (result i64) (i64.extend_i32_u (call $deep (i32.const -1)))))";

/* Thrown in any tier, caught in any, by the first or a later clause, with values; and not caught. */
static const char throwing[] =
    "(module (memory (export \"memory\") 1) (tag $a (param i32)) (tag $b (param i64))"
    " (func $throw (param i32) (if (i32.and (local.get 0) (i32.const 1)) (then (throw $a (local.get 0))))"
    "  (if (i32.and (local.get 0) (i32.const 2)) (then (throw $b (i64.const 40)))))"
    " (func $pass (param i32) (call $throw (local.get 0)))"
    " (func $catch (param i32) (result i64)"
    "  (try (result i64) (do (call $pass (local.get 0)) (i64.const 3))"
    "   (catch $a (i64.extend_i32_s)) (catch $b (i64.add (i64.const 2)))))"
    " (func $again (param i32) (result i64)"
    "  (try (result i64) (do (try (result i64) (do (call $catch (i32.const 2)) (call $pass (local.get 0)) )"
    "   (catch_all (rethrow 0)))) (catch $a (i64.extend_i32_s))))"
    " (func (export \"run\") (param i32) (result i64) (local i64)"
    "  (loop $l (local.set 1 (i64.add (i64.mul (local.get 1) (i64.const 5)) (i64.add (call $catch (local.get 0))"
    "    (call $again (i32.or (local.get 0) (i32.const 1))))))"
    "   (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    "  (local.get 1))"
    " (func (export \"fault\") (param i32) (result i64) (call $pass (i32.const 3)) (i64.const 0))"
    " (func (export \"exhaust\") (param i32) (result i64) (call $pass (i32.const 2)) (i64.const 0)))";

static enum gw_trap add(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  values[0].i64 = values[0].i32 * 3 + values[1].i64 + (int64_t)values[2].f32 + (int64_t)values[3].f64;
  return gw_instance_charge(caller, 77) ? GW_TRAP_NONE : GW_TRAP_OUT_OF_GAS;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func host = {"env", "add", "I_iIfF", add};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &host};
  return true;
}

/* --- one set ---------------------------------------------------------------------------------------------------------- */

struct seen {
  union gw_value value;
  uint64_t gas;
  uint32_t calls; /* that the guest has counted, in memory */
  enum gw_trap trap;
};

struct fixture {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
};

static struct fixture open_fixture(const char *text, enum gw_tier tier, uint32_t level, bool gas, uint64_t slice) {
  struct gw_error err = {0};
  struct fixture f = {0};
  f.engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = gas, .verify = true}, &err);
  f.module = wat_module(f.engine, text);
  f.store = gw_store_create(f.engine, &(struct gw_store_options){.tier = tier, .slice = slice}, &err);
  if (f.store) f.instance = gw_instance_create(f.store, f.module, resolve, NULL, &err);
  if (!f.instance) fail_msg("%s", err.message);
  return f;
}

static void close_fixture(struct fixture *f) {
  gw_store_destroy(f->store);
  gw_module_release(f->module);
  gw_engine_destroy(f->engine);
}

/* Of the module's own functions, bit i is function i. */
static void compile_set(const struct fixture *f, uint32_t set) {
  const struct module *m = gw_module_decoded(f->module);
  uint32_t funcs[32], n = 0;
  struct gw_error err = {0};
  for (uint32_t i = m->n_funcs; i-- > m->n_imported_funcs;)
    if (set >> (i - m->n_imported_funcs) & 1) funcs[n++] = i;
  if (n && !module_compile_functions(f->module, funcs, n, &err)) fail_msg("%s", err.message);
}

/* `late`: published in the middle, after the first yield. */
static struct seen call(const struct fixture *f, const char *name, uint32_t late) {
  struct seen seen = {.value.i32 = 40};
  struct gw_error err = {0};
  struct gw_extern export;
  enum gw_status status;
  assert_true(gw_instance_export(f->instance, name, strlen(name), &export));
  gw_store_start(f->store, export.of.func, &seen.value);
  while ((status = gw_store_resume(f->store, &err)) == GW_STATUS_YIELDED) {
    compile_set(f, late);
    late = 0;
  }
  if (status != GW_STATUS_DONE) {
    seen.value = (union gw_value){0};
    seen.trap = err.trap;
  }
  seen.gas = gw_store_gas_used(f->store);
  memcpy(&seen.calls, gw_instance_memory(f->instance, 0, 4), 4);
  return seen;
}

/* Compiled code may notice late that a load had faulted, and does not say what it had charged. */
static void compare(const struct seen *want, const struct seen *got, uint32_t set, const char *name) {
  bool is_fault = want->trap == GW_TRAP_MEMORY_OUT_OF_BOUNDS;
  if (want->trap != got->trap || want->value.i64 != got->value.i64 || want->calls != got->calls ||
      (!is_fault && want->gas != got->gas))
    fail_msg("%s, set %x: %s %lld gas %llu calls %u, it must be %s %lld gas %llu calls %u", name, set, gw_trap_message(got->trap),
             (long long)got->value.i64, (unsigned long long)got->gas, got->calls, gw_trap_message(want->trap),
             (long long)want->value.i64, (unsigned long long)want->gas, want->calls);
}

static const char *const names[] = {"run", "fault", "exhaust", "run"};
enum { N_NAMES = sizeof names / sizeof names[0] };

static void run_all(const struct fixture *f, struct seen *out, uint32_t late) {
  for (int i = 0; i < N_NAMES; i++) out[i] = call(f, names[i], i ? 0 : late);
}

static void check_sets(const char *text, uint32_t level, bool gas, uint64_t slice, uint32_t step) {
  struct seen want[N_NAMES], got[N_NAMES];
  struct fixture f = open_fixture(text, GW_TIER_PRECISE, level, gas, 0);
  const struct module *m = gw_module_decoded(f.module);
  uint32_t end = 1u << (m->n_funcs - m->n_imported_funcs);
  run_all(&f, want, 0);
  close_fixture(&f);
  for (uint32_t set = 0; set < end; set += step) {
    f = open_fixture(text, GW_TIER_MIXED, level, gas, slice);
    bool is_late = slice && set % 2;
    if (!is_late) compile_set(&f, set);
    run_all(&f, got, is_late ? set : 0);
    for (int i = 0; i < N_NAMES; i++) compare(&want[i], &got[i], set, names[i]);
    close_fixture(&f);
  }
}

static void test_crossing(void **state) {
  (void)state;
  check_sets(crossing, 2, true, 0, 37);
  check_sets(crossing, 0, true, 0, 211);
  check_sets(crossing, 1, false, 0, 193);
}

static void test_published_late(void **state) {
  (void)state;
  check_sets(crossing, 2, true, 500, 97);
}

static void test_exceptions(void **state) {
  (void)state;
  check_sets(throwing, 2, true, 0, 5);
  check_sets(throwing, 0, true, 100, 13);
}

/* --- under load ------------------------------------------------------------------------------------------------------- */

struct runner {
  struct fixture f; /* with a store of its own */
  const struct seen *want;
  bool ok;
};

/* Nothing is asserted on a thread. */
static void *run_again(void *arg) {
  struct runner *r = arg;
  enum { TIMES = 30 };
  r->ok = true;
  for (int i = 0; i < TIMES && r->ok; i++) {
    struct seen got = call(&r->f, "run", 0);
    r->ok = got.trap == r->want->trap && got.value.i64 == r->want->value.i64 && got.gas == r->want->gas;
  }
  return NULL;
}

static void open_runner(struct runner *r, const struct fixture *shared, const struct seen *want) {
  struct gw_error err = {0};
  *r = (struct runner){.f = *shared, .want = want};
  r->f.store = gw_store_create(shared->engine, &(struct gw_store_options){.tier = GW_TIER_MIXED, .slice = 300}, &err);
  if (r->f.store) r->f.instance = gw_instance_create(r->f.store, r->f.module, resolve, NULL, &err);
  if (!r->f.instance) fail_msg("%s", err.message);
}

/* Stores on other threads run the module while sets of its functions are published, one after the other. All have baseline code
 * before: TSan does not see how machine code finds what another thread has just translated. */
static void test_published_under_load(void **state) {
  (void)state;
  enum { THREADS = 3 };
  pthread_t threads[THREADS];
  struct runner runners[THREADS];
  struct fixture f = open_fixture(crossing, GW_TIER_PRECISE, 1, true, 0);
  struct seen want = call(&f, "run", 0);
  struct gw_error err = {0};
  precise_module_translate(module_interpret(f.module, PRECISE_MIXED, &err));
  for (int i = 0; i < THREADS; i++) {
    open_runner(&runners[i], &f, &want);
    assert_int_equal(pthread_create(&threads[i], NULL, run_again, &runners[i]), 0);
  }
  for (uint32_t func = 0; func < 8; func++) compile_set(&f, 1u << func);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_true(runners[i].ok);
    gw_store_destroy(runners[i].f.store);
  }
  close_fixture(&f);
}

/* --- what is not mixed ------------------------------------------------------------------------------------------------ */

static void test_refused(void **state) {
  (void)state;
  static const char tail[] = "(module (func $f (export \"f\") (return_call $f)))";
  struct gw_error err = {0};
  uint32_t func = 0;
  struct fixture f = open_fixture(tail, GW_TIER_MIXED, 1, true, 0);
  assert_false(module_compile_functions(f.module, &func, 1, &err));
  assert_int_equal(err.code, GW_ERROR_USAGE);
  close_fixture(&f);
}

/* A module that throws when it is called by one that knows no exceptions, and one with tail calls: neither that one's code nor
 * theirs is compiled where it would not hold. */
static const char caller[] =
    "(module (import \"env\" \"f\" (func $f (param i32) (result i64)))"
    " (func $inner (param i32) (result i64) (call $f (local.get 0)))"
    " (func (export \"run\") (param i32) (result i64) (i64.add (call $inner (local.get 0)) (i64.const 1))))";
static const char callee[] = "(module (tag $t) (func $throw (throw $t))"
                             " (func (export \"f\") (param i32) (result i64)"
                             "  (if (i32.gt_u (local.get 0) (i32.const 100)) (then (call $throw))) (i64.const 5)))";
static const char tailing[] = "(module (func $g (param i32) (result i64)"
                              "  (if (result i64) (local.get 0) (then (return_call $g (i32.sub (local.get 0) (i32.const 1))))"
                              "   (else (i64.const 6))))"
                              " (func (export \"f\") (param i32) (result i64) (return_call $g (local.get 0))))";

static bool give_f(void *env, const struct gw_import *import, struct gw_extern *out) {
  return gw_instance_export(env, import->field, import->field_size, out);
}

static struct gw_instance *join(const struct fixture *f, struct gw_module *module, struct gw_instance *exporter) {
  struct gw_error err = {0};
  struct gw_instance *instance = gw_instance_create(f->store, module, give_f, exporter, &err);
  if (!instance) fail_msg("%s", err.message);
  return instance;
}

static void call_across(const char *text, int32_t n, int64_t result, enum gw_trap trap) {
  struct fixture f = open_fixture("(module (memory 1) (func (export \"f\")))", GW_TIER_MIXED, 2, true, 0);
  struct gw_module *exporter = wat_module(f.engine, text), *importer = wat_module(f.engine, caller);
  struct gw_error err = {0};
  uint32_t funcs[] = {1, 2};
  if (!module_compile_functions(importer, funcs, 2, &err)) fail_msg("%s", err.message);
  struct gw_instance *instance = join(&f, importer, join(&f, exporter, NULL));
  for (int i = 0; i < 2; i++) {
    union gw_value v = {.i32 = n};
    err = (struct gw_error){0};
    bool ok = gw_call_export(instance, "run", &v, 1, &err);
    assert_int_equal(ok, !trap);
    if (ok) assert_int_equal(v.i64, result);
    if (!ok) assert_int_equal(err.trap, trap);
    struct gw_module *late = wat_module(f.engine, callee); /* from here on, if not before, the store has exceptions */
    join(&f, late, NULL);
    gw_module_release(late);
  }
  gw_module_release(exporter);
  gw_module_release(importer);
  close_fixture(&f);
}

static void test_apart(void **state) {
  (void)state;
  call_across(callee, 7, 6, GW_TRAP_NONE);
  call_across(callee, 200, 0, GW_TRAP_EXCEPTION);
  call_across(tailing, 3000, 7, GW_TRAP_NONE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crossing), cmocka_unit_test(test_published_late), cmocka_unit_test(test_exceptions),
      cmocka_unit_test(test_refused),  cmocka_unit_test(test_apart),          cmocka_unit_test(test_published_under_load),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
