/* Checkpoints: an invocation that goes on from one is, from outside, the one that ran from the beginning. */
#include "runtime/checkpoint.h"
#include "runtime/sanitizer.h"
#include "tests/short.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

/* What a run sees of the world, and what it did to it. */
struct world {
  int32_t answer;
  uint32_t n_asked, n_same;
  bool is_short; /* test_shortage */
};

static enum gw_trap ask(struct gw_instance *caller, void *env, union gw_value *values) {
  struct world *w = env;
  (void)caller;
  w->n_asked++;
  values[0].u64 = (uint32_t)w->answer;
  return GW_TRAP_NONE;
}

static enum gw_trap same(struct gw_instance *caller, void *env, union gw_value *values) {
  struct world *w = env;
  (void)caller, (void)values;
  w->n_same++;
  return GW_TRAP_NONE;
}

static bool is_same(gw_host_fn fn) { return fn == same; }

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func rows[] = {{"host", "ask", "i_", ask}, {"host", "same", "_", same}};
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&rows[import->field_size == 4], env}};
  return true;
}

#define IMPORTS "(import \"host\" \"ask\" (func $ask (result i32))) (import \"host\" \"same\" (func $same))"

/* Everything that an instance has is changed before the place, looked at behind it, and changed again. The place is below 20
 * calls that have something to do when they return. */
#define EVERYTHING                                                                                                               \
  "(module " IMPORTS "(memory (export \"memory\") 1 8) (table $t 4 funcref) (elem declare func $a $b) (data $d \"xyz\")"         \
  "(type $r (func (result i32))) (global $g (mut i32) (i32.const 1)) (global $w (mut i64) (i64.const 1))"                        \
  "(func $a (type $r) (i32.const 10)) (func $b (type $r) (i32.const 20))"                                                        \
  "(func $expect (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then (unreachable))))"                                \
  "(func $deep (param $n i32) (param $f f64) (result i32) (local $v i32)"                                                        \
  " (if (i32.eqz (local.get $n)) (then (if (i32.eq (local.tee $v (call $ask)) (i32.const 64)) (then (unreachable)))"             \
  "  (if (i32.eq (local.get $v) (i32.const 63)) (then (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))))"              \
  "  (if (i32.eq (local.get $v) (i32.const 65)) (then (drop (i32.load (i32.const 0x600000))))) (return (local.get $v))))"        \
  " (local.set $v (i32.mul (local.get $n) (global.get $g)))"                                                                     \
  " (i32.add (i32.add (call $deep (i32.sub (local.get $n) (i32.const 1)) (f64.mul (local.get $f) (f64.const 1.5)))"              \
  "   (i32.trunc_f64_s (local.get $f))) (local.get $v)))"                                                                        \
  "(func (export \"run\") (result i32) (local $i i32) (local $x i32)"                                                            \
  " (loop $l (i32.store offset=4096 (i32.shl (local.get $i) (i32.const 2)) (i32.mul (local.get $i) (local.get $i)))"             \
  "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))"                              \
  " (call $same) (global.set $g (i32.const 7)) (global.set $w (i64.const -5)) (table.set $t (i32.const 0) (ref.func $a))"        \
  " (call $expect (memory.grow (i32.const 1)) (i32.const 1)) (memory.fill (i32.const 70000) (i32.const 90) (i32.const 50))"      \
  " (memory.init $d (i32.const 100) (i32.const 0) (i32.const 3)) (data.drop $d) (call $same)"                                    \
  " (local.set $x (call $deep (i32.const 20) (f64.const 1.25)))"                                                                 \
  " (call $expect (i32.load (i32.const 8092)) (i32.const 998001)) (call $expect (i32.load8_u (i32.const 70049)) (i32.const 90))" \
  " (call $expect (global.get $g) (i32.const 7)) (call $expect (i32.wrap_i64 (global.get $w)) (i32.const -5))"                   \
  " (call $expect (memory.size) (i32.const 2)) (call $expect (i32.load8_u (i32.const 60000)) (i32.const 0))"                     \
  " (call $expect (i32.load8_u (i32.const 101)) (i32.const 121)) (call $expect (local.get $i) (i32.const 1000))"                 \
  " (call $expect (call_indirect $t (type $r) (i32.const 0)) (i32.const 10))"                                                    \
  " (call $expect (ref.is_null (table.get $t (i32.const 1))) (i32.const 1))"                                                     \
  " (i32.store (i32.const 8092) (i32.const 0)) (i32.store8 (i32.const 60000) (i32.const 1)) (global.set $w (i64.const 9))"       \
  " (global.set $g (i32.const 9)) (table.set $t (i32.const 0) (ref.func $b)) (table.set $t (i32.const 1) (ref.func $b))"         \
  " (call $expect (memory.grow (i32.const 1)) (i32.const 2)) (memory.fill (i32.const 69000) (i32.const 1) (i32.const 100000))"   \
  " (if (i32.eq (call $ask) (i32.const 66)) (then (unreachable)))"                                                               \
  " (if (i32.eq (call $ask) (i32.const 67)) (then (drop (i32.load (i32.const 0x700000)))))"                                      \
  " (if (i32.eq (call $ask) (i32.const 68)) (then (loop $for_ever (br $for_ever))))"                                             \
  " (local.get $x)))"

struct guest {
  struct world world;
  struct gw_store *store;
  struct gw_instance *instance;
  struct func_ref *run;
  union gw_value values[1];
};

static void open_guest(struct guest *g, struct gw_engine *engine, struct gw_module *module, uint64_t slice, bool wants) {
  struct gw_error err = {0};
  struct gw_extern run;
  *g = (struct guest){0};
  g->store = gw_store_create(engine, &(struct gw_store_options){.slice = slice}, &err);
  g->instance = gw_instance_create(g->store, module, resolve, &g->world, &err);
  if (!g->instance) fail_msg("%s", err.message);
  assert_true(gw_instance_export(g->instance, "run", 3, &run));
  g->run = run.of.func;
  if (wants) checkpoint_want(g->instance, is_same, 1);
}

static void close_guest(struct guest *g) { gw_store_destroy(g->store); }

/* How a run ended. */
struct outcome {
  bool is_done;
  enum gw_trap trap;
  uint64_t gas;
  int32_t result;
  uint32_t n_asked;
  char message[200];
};

/* Starts with the limit, from the checkpoint if there is one; returns the gas that lies before it. */
static uint64_t begin(struct guest *g, uint64_t limit, int32_t answer) {
  uint64_t before = checkpoint_gas(g->store);
  g->world.answer = answer;
  g->world.n_asked = 0;
  assert_true(!limit || limit > before);
  gw_store_set_gas_limit(g->store, limit ? limit - before : 0);
  if (checkpoint_is_kept(g->store))
    checkpoint_start(g->store);
  else
    gw_store_start(g->store, g->run, g->values);
  return before;
}

static struct outcome run(struct guest *g, uint64_t limit, int32_t answer) {
  struct gw_error err = {0};
  enum gw_status status;
  struct outcome out = {0};
  uint64_t before = begin(g, limit, answer);
  do status = gw_store_resume(g->store, &err);
  while (status == GW_STATUS_YIELDED);
  out.is_done = status == GW_STATUS_DONE;
  out.trap = out.is_done ? GW_TRAP_NONE : err.trap;
  out.gas = before + gw_store_gas_used(g->store);
  out.result = out.is_done ? g->values[0].i32 : 0;
  out.n_asked = g->world.n_asked;
  if (!out.is_done) snprintf(out.message, sizeof out.message, "%s", err.message);
  err = (struct gw_error){0};
  if (!gw_instance_reset(g->instance, &err)) fail_msg("%s", err.message);
  return out;
}

static void expect_equal(struct outcome a, struct outcome b) {
  assert_int_equal(a.is_done, b.is_done);
  assert_int_equal(a.trap, b.trap);
  assert_int_equal(a.gas, b.gas);
  assert_int_equal(a.result, b.result);
  assert_int_equal(a.n_asked, b.n_asked);
  assert_string_equal(a.message, b.message);
}

static struct gw_engine *make_engine(uint32_t level) {
  struct gw_error err = {0};
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true, .opt_level = level}, &err);
  if (!engine) fail_msg("%s", err.message);
  return engine;
}

/* A sequence of answers in one instance with checkpoint and one without. */
static void compare(const char *text, const int32_t *answers, size_t n, bool is_kept) {
  for (uint32_t level = 0; level <= 2; level += 2) {
    struct gw_engine *engine = make_engine(level);
    struct gw_module *module = wat_module(engine, text);
    for (uint64_t slice = 0; slice < 100000; slice = slice * 300 + 1) {
      struct guest with, without;
      open_guest(&with, engine, module, slice, true);
      open_guest(&without, engine, module, slice, false);
      for (size_t i = 0; i < n; i++) {
        expect_equal(run(&with, 1000000, answers[i]), run(&without, 1000000, answers[i]));
        assert_int_equal(checkpoint_is_kept(with.store), is_kept && sanitizer_can_restore());
      }
      if (checkpoint_is_kept(with.store)) assert_int_equal(with.world.n_same * n, without.world.n_same);
      close_guest(&with);
      close_guest(&without);
    }
    gw_module_release(module);
    gw_engine_destroy(engine);
  }
}

static void test_everything(void **state) {
  (void)state;
  static const int32_t answers[] = {1, 2, 63, 64, 3, 66, 65, 65, 4, 67, 67, 4, 68, 5, 64, 66, -1};
  compare(EVERYTHING, answers, sizeof answers / sizeof *answers, true);
}

/* Every limit around the place and around the end, on an instance that has its checkpoint and on one that has to find it. */
static void test_limits(void **state) {
  (void)state;
  struct gw_engine *engine = make_engine(2);
  struct gw_module *module = wat_module(engine, EVERYTHING);
  struct guest kept, without;
  open_guest(&kept, engine, module, 0, true);
  open_guest(&without, engine, module, 0, false);
  uint64_t all = run(&kept, 0, 1).gas, place = checkpoint_gas(kept.store);
  assert_true(!sanitizer_can_restore() || (place > 4000 && place < all));
  for (uint64_t limit = place > 40 ? place - 40 : 1; limit < all + 4; limit += limit < place + 120 || limit + 40 > all ? 1 : 17) {
    struct guest fresh;
    struct outcome expected = run(&without, limit, 1);
    open_guest(&fresh, engine, module, 0, true);
    expect_equal(run(&fresh, limit, 1), expected);
    assert_true(limit > place || !checkpoint_is_kept(fresh.store));
    expect_equal(run(&fresh, limit, 1), expected);
    close_guest(&fresh);
    if (limit > place) expect_equal(run(&kept, limit, 1), expected);
  }
  close_guest(&kept);
  close_guest(&without);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* With slices of one gas the first thing behind the place is a yield, inside of the host call. */
static void test_cancel(void **state) {
  (void)state;
  struct gw_engine *engine = make_engine(2);
  struct gw_module *module = wat_module(engine, EVERYTHING);
  struct guest with, without;
  struct gw_error err = {0};
  open_guest(&with, engine, module, 1, true);
  open_guest(&without, engine, module, 1, false);
  struct outcome expected = run(&without, 0, 3);
  enum gw_status status = GW_STATUS_YIELDED;
  int most = 0;
  for (; status == GW_STATUS_YIELDED; most++) {
    begin(&with, 0, 2);
    for (int i = 0; i < most && status == GW_STATUS_YIELDED; i++) status = gw_store_resume(with.store, &err);
    if (checkpoint_is_kept(with.store) && most == 1) assert_int_equal(with.world.n_asked, 0);
    gw_store_cancel(with.store);
    assert_true(gw_instance_reset(with.instance, &err));
    expect_equal(run(&with, 0, 3), expected);
  }
  assert_int_equal(status, GW_STATUS_DONE);
  assert_true(most > 8);
  close_guest(&with);
  close_guest(&without);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

#define BODY(text) "(module " IMPORTS "(tag $e (param i32)) (memory 1) (global $g (mut i32) (i32.const 0))" text ")"
/* One was thrown and caught; one is thrown through the place's frames and caught above them; one is held at the place. */
#define CAUGHT \
  BODY("(func (export \"run\") (result i32) (drop (try (result i32) (do (throw $e (i32.const 4))) (catch $e))) (call $ask))")
#define THROWS_BEHIND                                                                                                  \
  BODY("(func $in (param i32) (result i32) (if (local.get 0) (then (return (i32.add (call $in (i32.sub (local.get 0) " \
       "(i32.const 1))) (i32.const 1))))) (throw $e (call $ask)))"                                                     \
       "(func (export \"run\") (result i32) (try (result i32) (do (call $in (i32.const 9))) (catch $e "                \
       "(if (i32.eq (global.get $g) (i32.const 1)) (then unreachable)) (global.set $g (i32.const 1)))))")
#define HELD                                                                                                        \
  BODY("(func (export \"run\") (result i32) (try (result i32) (do (try (result i32) (do (throw $e (i32.const 4))) " \
       "(catch $e (if (i32.eq (call $ask) (i32.const 5)) (then (rethrow 1)))))) (catch_all (i32.const 8))))")

/* Tail calls have another convention for gas, and the frames of those that made them are gone. */
#define TAIL                                                                                                             \
  "(module " IMPORTS "(memory 1) (func $last (param i32) (result i32) (i32.add (call $ask) (local.get 0)))"              \
  "(func $count (param i32 i32) (result i32) (i32.store (i32.const 8) (i32.add (local.get 1) (i32.load (i32.const 8))))" \
  " (if (i32.eqz (local.get 0)) (then (return_call $last (local.get 1))))"                                               \
  " (return_call $count (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 3))))"                   \
  "(func (export \"run\") (result i32) (if (i32.load (i32.const 8)) (then (unreachable)))"                               \
  " (i32.add (call $count (i32.const 1000) (i32.const 1)) (call $count (i32.const 10) (i32.load (i32.const 8))))))"

static void test_tail_calls(void **state) {
  (void)state;
  static const int32_t answers[] = {1, 5, 2};
  compare(TAIL, answers, 3, true);
}

static void test_exceptions(void **state) {
  (void)state;
  static const int32_t answers[] = {1, 5, 2, 5, 5};
  compare(CAUGHT, answers, 5, true);
  compare(THROWS_BEHIND, answers, 5, true);
  compare(HELD, answers, 5, false);
}

/* What is kept counts as memory, for as long as the store lives. */
static void test_bytes(void **state) {
  (void)state;
  struct gw_engine *engine = make_engine(2);
  struct gw_module *module = wat_module(engine, EVERYTHING);
  struct guest g;
  open_guest(&g, engine, module, 0, true);
  run(&g, 0, 1);
  uint64_t bytes = gw_engine_memory_bytes(engine);
  if (checkpoint_is_kept(g.store)) assert_in_range(bytes, 2 * 65536 + 500, 2 * 65536 + 65536);
  run(&g, 0, 1);
  assert_int_equal(gw_engine_memory_bytes(engine), bytes);
  if (checkpoint_is_kept(g.store)) { /* nothing may move what its frames point to */
    struct gw_error err = {0};
    assert_null(gw_instance_create(g.store, module, resolve, &g, &err));
    assert_int_equal(err.code, GW_ERROR_USAGE);
  }
  close_guest(&g);
  assert_int_equal(gw_engine_memory_bytes(engine), 0);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* The page says of which functions of WASI the place may lie behind. */
static void test_page(void **state) {
  (void)state;
  static const struct {
    const char *name;
    bool is_same;
  } functions[] = {
#define SAME true
#define ___ false
#define WASI(name, signature, fd, kind, same, calls, rights) {#name, same},
#include "runtime/host/wasi/wasi.def"
#undef WASI
#undef ___
#undef SAME
  };
  struct buffer page = {0};
  struct gw_error err = {0};
  char name[64];
  assert_true(buffer_read_file(&page, SOURCE_DIR "/docs/wasi.md", 1 << 20, &err));
  buffer_append(&page, "", 1);
  char *at = strstr((char *)page.bytes, "**Before the request.**"), *end = at ? strstr(at, "\n\n") : NULL;
  assert_non_null(end);
  *end = 0;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    snprintf(name, sizeof name, "`%s`", functions[i].name);
    if (functions[i].is_same != (strstr(at, name) != NULL)) fail_msg("docs/wasi.md and wasi.def differ about %s", name);
  }
  buffer_clear(&page);
}

/* Is called before and after the guest grows. */
static enum gw_trap same_but_short(struct gw_instance *caller, void *env, union gw_value *values) {
  struct world *w = env;
  (void)caller, (void)values;
  if (w->is_short) be_short(w->n_same % 2 ? UINT64_MAX : 6 << 20);
  w->n_same++;
  return GW_TRAP_NONE;
}

static bool is_same_but_short(gw_host_fn fn) { return fn == same_but_short; }

static bool resolve_short(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func row = {"host", "same", "_", same_but_short};
  if (import->field_size != 4) return resolve(env, import, out);
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {&row, env}};
  return true;
}

#define GREEDY                                                                                                \
  "(module " IMPORTS "(memory 1) (func (export \"initialize\") (result i32) (memory.grow (i32.const 32768)))" \
  "(func (export \"run\") (result i32) (local $before i32) (call $same)"                                      \
  " (local.set $before (memory.grow (i32.const 200))) (call $same) (drop (call $ask)) (local.get $before)))"

/* The system refuses once: that is one invocation's answer, not that of all that come after. */
static void test_shortage(void **state) {
  (void)state;
  struct gw_engine *engine = make_engine(2);
  struct gw_module *module = wat_module(engine, GREEDY);
  struct guest g = {0};
  struct gw_error err = {0};
  struct gw_extern found;
  g.store = gw_store_create(engine, NULL, &err);
  g.instance = gw_instance_create(g.store, module, resolve_short, &g.world, &err);
  assert_true(g.instance && gw_instance_export(g.instance, "run", 3, &found));
  g.run = found.of.func;
  be_short(1 << 30);
  bool ok = gw_call_export(g.instance, "initialize", g.values, 1, &err);
  be_short(UINT64_MAX);
  assert_true(ok && g.values[0].i32 == -1);
  assert_false(gw_instance_can_keep(g.instance));
  assert_true(gw_instance_reset(g.instance, &err));
  assert_true(gw_instance_can_keep(g.instance));
  checkpoint_want(g.instance, is_same_but_short, 1);
  for (int i = 0; i < 3; i++) {
    g.world.is_short = i == 0;
    assert_int_equal(run(&g, 0, 1).result, i ? 1 : -1);
    assert_int_equal(checkpoint_is_kept(g.store), i && sanitizer_can_restore());
  }
  close_guest(&g);
  gw_module_release(module);
  gw_engine_destroy(engine);
}

/* Where there is nothing to keep, or it cannot be kept. */
static void test_refused(void **state) {
  (void)state;
  static const int32_t answers[] = {1, 2, 3};
  compare("(module " IMPORTS "(func (export \"run\") (result i32) (call $same) (i32.const 4)))", answers, 3, false);
  compare("(module " IMPORTS "(memory 300) (func (export \"run\") (result i32) (call $ask)))", answers, 3, false);
  compare("(module " IMPORTS "(table $t 1 funcref) (func (export \"run\") (result i32)"
          "(drop (table.grow $t (ref.null func) (i32.const 1))) (i32.add (call $ask) (table.size $t))))",
          answers, 3, false);
  compare("(module " IMPORTS "(table funcref (elem $d)) (type $t (func (param i32) (result i32)))"
          "(func $d (type $t) (if (i32.eqz (local.get 0)) (then (return (call $ask))))"
          "(i32.add (i32.const 1) (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))))"
          "(func (export \"run\") (result i32) (call $d (i32.const 8000))))",
          answers, 3, false);
  compare("(module " IMPORTS "(func (export \"run\") (result i32) (unreachable)))", answers, 3, false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_everything), cmocka_unit_test(test_limits),     cmocka_unit_test(test_cancel),
      cmocka_unit_test(test_exceptions), cmocka_unit_test(test_tail_calls), cmocka_unit_test(test_bytes),
      cmocka_unit_test(test_page),       cmocka_unit_test(test_refused),    cmocka_unit_test(test_shortage)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
