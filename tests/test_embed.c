/* The public API, as an embedder sees it: types, objects, calls back, host functions as values, back traces, WASI, records. */
#include "gasworks.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* What programs were built with stays: a structure that changes here breaks them. */
_Static_assert(sizeof(struct gw_error) == 344 && sizeof(union gw_value) == 16 && sizeof(struct gw_typed_value) == 32, "");
_Static_assert(sizeof(struct gw_engine_options) == 144 && offsetof(struct gw_engine_options, schedule) == 16, "");
_Static_assert(sizeof(struct gw_store_options) == 144 && offsetof(struct gw_store_options, slice_ns) == 48, "");
_Static_assert(sizeof(struct gw_extern) == 24 && sizeof(struct gw_import) == 24 && sizeof(struct gw_host_func) == 32, "");
_Static_assert(sizeof(struct gw_extern_type) == 48 && sizeof(struct gw_named_type) == 80 && sizeof(struct gw_frame) == 424, "");
_Static_assert(sizeof(struct gw_wasi_options) == 144, "");

struct guest {
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_store *store;
  struct gw_instance *instance;
};

static void open_guest(struct guest *g, const char *text, const struct gw_store_options *options, gw_resolve_fn resolve,
                       void *env) {
  struct gw_error err = {0};
  *g = (struct guest){0};
  g->engine = gw_engine_create(&(struct gw_engine_options){.opt_level = 2, .gas = true}, &err);
  g->module = wat_module(g->engine, text);
  g->store = gw_store_create(g->engine, options, &err);
  g->instance = gw_instance_create(g->store, g->module, resolve, env, &err);
  if (!g->instance) fail_msg("%s", err.message);
}

static void close_guest(struct guest *g) {
  gw_store_destroy(g->store);
  gw_module_release(g->module);
  gw_engine_destroy(g->engine);
}

static struct gw_extern find(struct guest *g, const char *name) {
  struct gw_extern found;
  if (!gw_instance_export(g->instance, name, strlen(name), &found)) fail_msg("no export %s", name);
  return found;
}

static void test_types(void **state) {
  (void)state;
  struct guest g;
  struct gw_named_type t;
  open_guest(
      &g,
      "(module (memory (export \"m\") 1 3) (table (export \"t\") 2 funcref) (global (export \"g\") (mut i64) (i64.const 7))"
      "(func (export \"f\") (param i32 f64 externref) (result v128 funcref) (unreachable)))",
      NULL, NULL, NULL);
  assert_true(gw_module_export(g.module, 0, &t));
  assert_int_equal(t.type.kind, GW_EXTERN_MEMORY);
  assert_int_equal(t.type.min, 1);
  assert_int_equal(t.type.max, 3);
  assert_int_equal(t.type.page_size_log2, 16);
  assert_true(gw_module_export(g.module, 1, &t));
  assert_int_equal(t.type.type, GW_FUNCREF);
  assert_true(t.type.max == UINT64_MAX);
  assert_true(gw_module_export(g.module, 2, &t));
  assert_true(t.type.is_mutable && t.type.type == GW_I64);
  assert_true(gw_module_export(g.module, 3, &t));
  assert_int_equal(t.name_size, 1);
  assert_int_equal(t.type.n_params, 3);
  assert_int_equal(gw_func_param(t.type.func, 1), GW_F64);
  assert_int_equal(gw_func_param(t.type.func, 2), GW_EXTERNREF);
  assert_int_equal(gw_func_result(t.type.func, 0), GW_V128);
  assert_false(gw_module_export(g.module, 4, &t));
  assert_false(gw_module_import(g.module, 0, &t));
  struct gw_extern it;
  assert_true(gw_instance_export_at(g.instance, 3, &it));
  assert_int_equal(it.kind, GW_EXTERN_FUNC);
  assert_true(gw_extern_type(&it, &t.type));
  assert_int_equal(t.type.n_results, 2);
  assert_false(gw_instance_export_at(g.instance, 4, &it));
  close_guest(&g);
}

static void test_objects(void **state) {
  (void)state;
  struct guest g;
  union gw_value v;
  open_guest(
      &g,
      "(module (memory (export \"m\") 1 3) (table (export \"t\") 2 4 funcref) (global (export \"g\") (mut i64) (i64.const 7))"
      "(global (export \"c\") i32 (i32.const 5)) (func $f (export \"f\") (result i32) (i32.load (i32.const 70000)))"
      "(func (export \"through\") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))"
      ")",
      NULL, NULL, NULL);
  struct gw_memory *m = find(&g, "m").of.memory;
  struct gw_table *t = find(&g, "t").of.table;
  struct gw_global *global = find(&g, "g").of.global;
  assert_true(gw_memory_size(m) == 65536 && gw_memory_pages(m) == 1);
  assert_null(gw_memory_data(m, 65535, 2));
  assert_null(gw_memory_data(m, UINT64_MAX, 2));
  assert_false(gw_memory_grow(m, 3));
  assert_true(gw_memory_grow(m, 2));
  memcpy(gw_memory_data(m, 70000, 4), &(int32_t){42}, 4);
  assert_int_equal(gw_table_size(t), 2);
  v.ref = find(&g, "f").of.func;
  assert_true(gw_table_set(t, 1, v));
  assert_false(gw_table_set(t, 2, v));
  assert_true(gw_table_get(t, 0, &v) && v.ref == NULL);
  assert_false(gw_table_get(t, 2, &v));
  v.ref = find(&g, "f").of.func;
  assert_false(gw_table_grow(t, 3, v));
  assert_true(gw_table_grow(t, 2, v));
  struct gw_error err = {0};
  struct gw_typed_value args[1] = {{.type = GW_I32, .of.i32 = 3}}, results[1];
  assert_true(gw_call_typed(g.instance, "through", args, 1, results, 1, &err));
  assert_int_equal(results[0].of.i32, 42);
  assert_int_equal(results[0].type, GW_I32);
  assert_true(gw_global_get(global).i64 == 7);
  assert_true(gw_global_set(global, (union gw_value){.i64 = -8}));
  assert_true(gw_global_get(global).i64 == -8);
  assert_false(gw_global_set(find(&g, "c").of.global, (union gw_value){.i32 = 6}));
  args[0].type = GW_I64;
  assert_false(gw_call_typed(g.instance, "through", args, 1, results, 1, &err));
  assert_string_equal(err.message, "parameter 0 of function \"through\" is i32, and i64 is given");
  close_guest(&g);
}

/* --- host functions that call back ----------------------------------------------------------------------------------- */

struct host {
  struct guest *guest;
  const char *calls;
  enum gw_trap saw;
  int finished;
};

static enum gw_trap call_back(struct gw_instance *caller, void *env, union gw_value *values) {
  struct host *h = env;
  struct gw_error err = {0};
  union gw_value inner[1] = {{.i32 = values[0].i32}};
  (void)caller;
  if (gw_call_export(h->guest->instance, h->calls, inner, 1, &err)) {
    values[0].i32 = inner[0].i32;
    return GW_TRAP_NONE;
  }
  h->saw = err.trap;
  values[0].i32 = -1;
  return err.trap == GW_TRAP_CANCELLED || err.trap == GW_TRAP_STACK_OVERFLOW ? err.trap : GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"h", "back", "i_i", call_back};
  (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = &func, .env = env}};
  return true;
}

#define BACK                                                                                                 \
  "(module (import \"h\" \"back\" (func $back (param i32) (result i32))) (memory (export \"memory\") 1)"     \
  "(func (export \"outer\") (param i32) (result i32) (i32.add (call $back (local.get 0)) (i32.const 100)))"  \
  "(func (export \"double\") (param i32) (result i32) (local $i i32) (loop $l "                              \
  "(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300000))))"          \
  "(i32.add (local.get 0) (local.get 0)))"                                                                   \
  "(func (export \"down\") (param i32) (result i32) (if (result i32) (local.get 0)"                          \
  "(then (i32.add (i32.const 1) (call $back (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 0))))" \
  "(func (export \"trap\") (param i32) (result i32) (i32.load (i32.const 65536)))"                           \
  "(func (export \"spin\") (param i32) (result i32) (loop (br 0)) (unreachable)))"

static int32_t outer_gives(struct guest *g, const char *name, int32_t x, struct gw_error *err) {
  union gw_value values[1] = {{.i32 = x}};
  return gw_call_export(g->instance, name, values, 1, err) ? values[0].i32 : INT32_MIN;
}

static void test_calls_back(void **state) {
  (void)state;
  for (int tier = 0; tier < 2; tier++) {
    struct guest g;
    struct host h = {.guest = &g, .calls = "double"};
    struct gw_error err = {0};
    open_guest(&g, BACK, &(struct gw_store_options){.tier = (enum gw_tier)tier}, resolve, &h);
    assert_int_equal(outer_gives(&g, "outer", 21, &err), 142);
    uint64_t gas = gw_store_gas_used(g.store);
    assert_int_equal(outer_gives(&g, "double", 21, &err), 42);
    assert_true(gas > gw_store_gas_used(g.store)); /* the inner call is paid for */
    h.calls = "trap";
    assert_int_equal(outer_gives(&g, "outer", 21, &err), 99);
    assert_int_equal(h.saw, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
    assert_int_equal(err.code, GW_ERROR_NONE);
    h.calls = "down";
    assert_int_equal(outer_gives(&g, "down", GW_MOST_NESTED, &err), GW_MOST_NESTED);
    assert_int_equal(outer_gives(&g, "down", GW_MOST_NESTED + 1, &err), INT32_MIN);
    assert_int_equal(err.trap, GW_TRAP_STACK_OVERFLOW);
    err = (struct gw_error){0};
    h.calls = "spin";
    gw_store_set_gas_limit(g.store, 1000000);
    assert_int_equal(outer_gives(&g, "outer", 1, &err), INT32_MIN);
    assert_int_equal(err.trap, GW_TRAP_OUT_OF_GAS);
    assert_int_equal(gw_store_gas_used(g.store), 1000000);
    close_guest(&g);
  }
}

/* The inner call yields on the outer one's behalf; both end when it is cancelled. */
static void test_slices(void **state) {
  (void)state;
  for (int tier = 0; tier < 2; tier++) {
    struct guest g;
    struct host h = {.guest = &g, .calls = "double"};
    struct gw_error err = {0};
    union gw_value values[1] = {{.i32 = 4}};
    enum gw_status status;
    int yields = 0;
    open_guest(&g, BACK, &(struct gw_store_options){.tier = (enum gw_tier)tier, .slice = 2000}, resolve, &h);
    gw_store_start(g.store, find(&g, "outer").of.func, values);
    while ((status = gw_store_resume(g.store, &err)) == GW_STATUS_YIELDED) yields++;
    assert_int_equal(status, GW_STATUS_DONE);
    assert_int_equal(values[0].i32, 108);
    assert_true(yields >= 3);
    h.calls = "spin";
    gw_store_start(g.store, find(&g, "outer").of.func, values);
    for (int i = 0; i < 3; i++) assert_int_equal(gw_store_resume(g.store, &err), GW_STATUS_YIELDED);
    gw_store_cancel(g.store);
    assert_int_equal(h.saw, GW_TRAP_CANCELLED);
    h.calls = "double";
    assert_int_equal(outer_gives(&g, "outer", 1, &err), 102);
    close_guest(&g);
  }
}

/* --- host functions as values ------------------------------------------------------------------------------------------ */

static enum gw_trap add_env(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller;
  values[0].i64 = values[0].i32 + *(int *)env;
  return GW_TRAP_NONE;
}

static void finish(void *env) { *(int *)env = -1; }

static void test_host_func(void **state) {
  (void)state;
  static int added[2];
  for (int tier = 0; tier < 2; tier++) {
    struct guest g;
    struct gw_error err = {0};
    union gw_value values[1] = {{.i32 = 5}};
    open_guest(
        &g,
        "(module (table (export \"t\") 4 funcref)"
        "(func (export \"f\") (param i32) (result i64) (call_indirect (param i32) (result i64) (local.get 0) (local.get 0))))",
        &(struct gw_store_options){.tier = (enum gw_tier)tier}, NULL, NULL);
    for (int i = 0; i < 2; i++) {
      added[i] = 10 + i;
      struct func_ref *func = gw_func_create(g.store, "I_i", add_env, &added[i], finish, &err);
      if (!func) fail_msg("%s", err.message);
      assert_true(gw_table_set(find(&g, "t").of.table, (uint64_t)i, (union gw_value){.ref = func}));
      values[0].i32 = 5;
      assert_true(gw_call(g.store, func, values, &err));
      assert_int_equal(values[0].i64, 15 + i);
    }
    values[0].i32 = 1;
    assert_true(gw_call_export(g.instance, "f", values, 1, &err));
    assert_int_equal(values[0].i64, 12);
    assert_null(gw_func_create(g.store, "nonsense", add_env, NULL, NULL, &err));
    assert_string_equal(err.message, "\"nonsense\" is no signature of a host function");
    close_guest(&g);
    assert_int_equal(added[0], -1);
    assert_int_equal(added[1], -1);
  }
}

/* Code with loose traps is not for who wants exact ones; the other way round it is. */
static void test_artifacts(void **state) {
  (void)state;
  for (int is_loose = 0; is_loose < 2; is_loose++) {
    struct gw_error err = {0};
    struct gw_engine *maker = gw_engine_create(&(struct gw_engine_options){.opt_level = 2, .loose_traps = is_loose}, &err);
    struct gw_engine *user = gw_engine_create(&(struct gw_engine_options){.opt_level = 2, .loose_traps = !is_loose}, &err);
    struct gw_module *module = wat_module(maker, "(module (func (export \"f\") (result i32) (i32.const 7)))");
    size_t size;
    void *bytes = gw_module_make_artifact(module, NULL, &size, &err);
    assert_non_null(bytes);
    struct gw_module *loaded = gw_module_load_artifact(user, bytes, size, &err);
    assert_int_equal(loaded != NULL, !is_loose);
    if (is_loose) assert_string_equal(err.message, "the artifact was compiled with loose traps, and exact ones are wanted");
    assert_null(gw_module_load_artifact(maker, bytes, size / 2, &err));
    gw_module_release(loaded);
    gw_module_release(module);
    free(bytes);
    gw_engine_destroy(user);
    gw_engine_destroy(maker);
  }
}

/* --- traps, WASI, records ------------------------------------------------------------------------------------------------ */

static void test_backtrace(void **state) {
  (void)state;
  for (int tier = 0; tier < 2; tier++) {
    struct guest g;
    struct gw_error err = {0};
    struct gw_frame frames[4];
    open_guest(&g,
               "(module (memory 1) (func $inner (param i32) (i32.store (local.get 0) (i32.const 1)))"
               "(func $middle (param i32) (call $inner (local.get 0)) (i32.store (i32.const 8) (i32.const 1)))"
               "(func (export \"f\") (call $middle (i32.const 65533)) (i32.store (i32.const 4) (i32.const 1))))",
               &(struct gw_store_options){.tier = (enum gw_tier)tier}, NULL, NULL);
    assert_int_equal(gw_store_backtrace(g.store, frames, 4), 0);
    assert_false(gw_call_export(g.instance, "f", NULL, 0, &err));
    size_t n = gw_store_backtrace(g.store, frames, 4);
    assert_int_equal(n, tier == GW_TIER_PRECISE ? 3 : 1);
    if (tier == GW_TIER_PRECISE) {
      assert_string_equal(frames[0].function, "inner");
      assert_string_equal(frames[1].function, "middle");
      assert_int_equal(frames[2].func, 2);
      assert_true(frames[0].offset != GW_NO_OFFSET && frames[0].offset < frames[1].offset);
      assert_int_equal(gw_store_backtrace(g.store, frames, 1), 3);
    }
    assert_true(frames[0].instance == g.instance);
    close_guest(&g);
  }
}

static void test_wasi(void **state) {
  (void)state;
  struct gw_error err = {0};
  const char *const args[] = {"prog", "one", NULL};
  struct gw_wasi_options options = {.args = args, .stdin_bytes = "abcdefgh", .stdin_size = 8};
  struct gw_wasi *wasi = gw_wasi_create(&options, &err);
  struct guest g;
  size_t size;
  open_guest(
      &g,
      "(module (import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))"
      "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $write (param i32 i32 i32 i32) (result i32)))"
      "(import \"wasi_snapshot_preview1\" \"args_sizes_get\" (func $args (param i32 i32) (result i32)))"
      "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
      "(memory (export \"memory\") 1) (data (i32.const 0) \"\\20\\00\\00\\00\\05\\00\\00\\00\")"
      "(func (export \"_start\") (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))"
      "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"
      "(drop (call $args (i32.const 12) (i32.const 16))) (call $exit (i32.add (i32.const 40) (i32.load (i32.const 12))))))",
      NULL, gw_wasi_resolve, wasi);
  for (int i = 0; i < 2; i++) {
    if (!gw_call_export(g.instance, "_start", NULL, 0, &err)) fail_msg("%s", err.message);
    const char *out = gw_wasi_stdout(wasi, &size);
    assert_int_equal(size, 5);
    assert_memory_equal(out, "abcde", 5);
    gw_wasi_stderr(wasi, &size);
    assert_int_equal(size, 0);
    assert_int_equal(gw_wasi_exit_code(wasi), 42);
    assert_true(gw_wasi_reset(wasi, &options, &err) && gw_instance_reset(g.instance, &err));
  }
  close_guest(&g);
  gw_wasi_destroy(wasi);
}

static int answers;

static enum gw_trap next_answer(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env;
  memcpy(gw_instance_memory(caller, 16, 4), &(int){100 + answers}, 4);
  values[0].i32 = ++answers;
  return GW_TRAP_NONE;
}

static bool resolve_answer(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"h", "next", "i_", next_answer};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &func};
  return true;
}

static void test_record(void **state) {
  (void)state;
  struct guest g;
  struct gw_error err = {0};
  union gw_value values[1];
  struct gw_record *record = gw_record_create(1 << 16);
  answers = 0;
  open_guest(&g,
             "(module (import \"h\" \"next\" (func $next (result i32))) (memory (export \"memory\") 1)"
             "(func (export \"f\") (result i32) (i32.add (i32.mul (i32.const 1000) (call $next)) (i32.add (i32.load (i32.const "
             "16)) (call $next)))))",
             NULL, resolve_answer, NULL);
  gw_record_attach(g.store, record);
  gw_record_begin(record);
  assert_true(gw_call_export(g.instance, "f", values, 1, &err));
  int first = values[0].i32;
  uint64_t gas = gw_store_gas_used(g.store);
  assert_int_equal(answers, 2);
  assert_true(gw_record_replay(record) && gw_instance_reset(g.instance, &err));
  assert_true(gw_call_export(g.instance, "f", values, 1, &err));
  assert_int_equal(values[0].i32, first);
  assert_int_equal(gw_store_gas_used(g.store), gas);
  assert_int_equal(answers, 2);
  assert_false(gw_record_has_parted(record));
  assert_false(gw_call_export(g.instance, "f", values, 1, &err)); /* asks for more than was answered */
  assert_true(gw_record_has_parted(record));
  close_guest(&g);
  gw_record_destroy(record);
}

static int wrong_trap;

static enum gw_trap trap_wrongly(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env, (void)values;
  return (enum gw_trap)wrong_trap;
}

static bool resolve_wrongly(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func row = {.fn = trap_wrongly};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &row};
  return true;
}

/* Numbers that are no trap's, types that are none, functions of another store, modules of another engine. */
static void test_mismatches(void **state) {
  (void)state;
  static const int traps[] = {GW_TRAP_COUNT, 999, -1};
  static const char text[] = "(module (import \"h\" \"f\" (func $f)) (func (export \"f\") (call $f)))";
  for (int i = 0; i < 6; i++) {
    struct guest g;
    struct gw_error err = {0};
    wrong_trap = traps[i % 3];
    open_guest(&g, text, &(struct gw_store_options){.tier = (enum gw_tier)(i / 3)}, resolve_wrongly, NULL);
    assert_false(gw_call_export(g.instance, "f", NULL, 0, &err));
    assert_int_equal(err.trap, GW_TRAP_HOST);
    assert_int_equal(gw_error_http_status(&err), 500);
    close_guest(&g);
  }
  struct guest a, b;
  struct gw_error err = {0};
  open_guest(&a, text, NULL, resolve_wrongly, NULL);
  open_guest(&b, text, NULL, resolve_wrongly, NULL);
  assert_null(gw_instance_create(a.store, b.module, resolve_wrongly, NULL, &err));
  assert_int_equal(err.code, GW_ERROR_USAGE);
  union gw_value func = {.ref = find(&b, "f").of.func}, none = {.ref = NULL};
  assert_null(gw_global_create(a.store, "funcref", true, func));
  assert_null(gw_global_create(a.store, "number", true, none));
  assert_null(gw_global_create(a.store, "", true, none));
  assert_non_null(gw_global_create(b.store, "funcref", true, func));
  close_guest(&a);
  close_guest(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_types),      cmocka_unit_test(test_objects),   cmocka_unit_test(test_calls_back),
      cmocka_unit_test(test_slices),     cmocka_unit_test(test_host_func), cmocka_unit_test(test_backtrace),
      cmocka_unit_test(test_wasi),       cmocka_unit_test(test_record),    cmocka_unit_test(test_artifacts),
      cmocka_unit_test(test_mismatches),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
