/* Values of wrong types, and things of another store or engine: refused, and nothing is taken for what it is not. */
#include "example.h"

static wasm_val_t given; /* what the callback gives */
static int n_calls;

static wasm_trap_t *give(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  (void)args;
  n_calls++;
  if (results->size) wasm_val_copy(&results->data[0], &given);
  return NULL;
}

static wasm_func_t *callback(wasm_store_t *store, int has_param, int has_result, wasm_valkind_t kind) {
  wasm_valtype_t *params[1] = {wasm_valtype_new(kind)}, *results[1] = {wasm_valtype_new(kind)};
  wasm_valtype_vec_t in, out, all[2];
  wasm_valtype_vec_new(&all[0], 1, params);
  wasm_valtype_vec_new(&all[1], 1, results);
  if (has_param)
    wasm_valtype_vec_copy(&in, &all[0]);
  else
    wasm_valtype_vec_new_empty(&in);
  if (has_result)
    wasm_valtype_vec_copy(&out, &all[1]);
  else
    wasm_valtype_vec_new_empty(&out);
  wasm_functype_t *type = wasm_functype_new(&in, &out);
  wasm_func_t *func = wasm_func_new(store, type, give);
  wasm_functype_delete(type);
  wasm_valtype_vec_delete(&all[0]);
  wasm_valtype_vec_delete(&all[1]);
  return func;
}

static int is_refused(wasm_func_t *func, wasm_val_t arg) {
  wasm_val_t args[1] = {arg}, results[1] = {WASM_INIT_VAL};
  wasm_val_vec_t in = {1, args}, out = {wasm_func_result_arity(func), results};
  wasm_trap_t *trap = wasm_func_call(func, &in, &out);
  wasm_trap_delete(trap);
  if (!trap) wasm_val_delete(&results[0]);
  return trap != NULL;
}

/* A function as an externref is an object like others. */
static void parameters(wasm_store_t *store, wasm_ref_t *foreign, wasm_ref_t *others) {
  wasm_extern_vec_t exports;
  wasm_func_t *func = callback(store, 0, 0, WASM_I32), *numbers = callback(store, 1, 0, WASM_I64);
  wasm_instance_t *instance = start(store,
                                    "(module (func (export \"e\") (param externref) (result externref) local.get 0)"
                                    "(func (export \"f\") (param funcref) (result funcref) local.get 0))",
                                    NULL, 0, &exports);
  wasm_val_t args[1] = {ref_value(WASM_FUNCREF, wasm_func_as_ref(func))}, results[1] = {WASM_INIT_VAL};
  wasm_val_vec_t in = {1, args}, out = {1, results};
  CHECK(!wasm_func_call(func_at(&exports, 0), &in, &out));
  CHECK(results[0].kind == WASM_EXTERNREF && wasm_ref_same(results[0].of.ref, wasm_func_as_ref(func)));
  wasm_val_delete(&results[0]);
  CHECK(is_refused(func_at(&exports, 0), i32(1)));
  CHECK(is_refused(func_at(&exports, 0), ref_value(WASM_EXTERNREF, others)));
  CHECK(is_refused(func_at(&exports, 1), ref_value(WASM_EXTERNREF, foreign)));
  CHECK(is_refused(func_at(&exports, 1), ref_value(WASM_FUNCREF, others)));
  CHECK(!is_refused(func_at(&exports, 1), ref_value(WASM_EXTERNREF, NULL)));
  n_calls = 0;
  CHECK(is_refused(numbers, i32(1)) && is_refused(numbers, ref_value(WASM_EXTERNREF, foreign)) && n_calls == 0);
  wasm_func_delete(func);
  wasm_func_delete(numbers);
  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(instance);
}

/* The guest gets nothing that is not of the type it was promised. */
static void results_of_callbacks(wasm_store_t *store, wasm_ref_t *foreign) {
  static const char *const texts[] = {
      "(module (import \"\" \"\" (func $f (result funcref))) (func (export \"g\") (result funcref) (call $f)))",
      "(module (import \"\" \"\" (func $f (result externref))) (func (export \"g\") (result externref) (call $f)))",
      "(module (import \"\" \"\" (func $f (result i64))) (func (export \"g\") (result i64) (call $f)))"};
  static const wasm_valkind_t kinds[] = {WASM_FUNCREF, WASM_EXTERNREF, WASM_I64};
  for (int i = 0; i < 3; i++) {
    wasm_func_t *func = callback(store, 0, 1, kinds[i]);
    wasm_extern_t *imports[1] = {wasm_func_as_extern(func)};
    wasm_extern_vec_t exports;
    wasm_instance_t *instance = start(store, texts[i], imports, 1, &exports);
    given = i == 1 ? i32(0x41414141) : ref_value(WASM_EXTERNREF, foreign);
    CHECK(is_refused(func_at(&exports, 0), i32(0)));
    given = i == 2 ? i32(7) : ref_value(WASM_FUNCREF, NULL);
    CHECK(is_refused(func_at(&exports, 0), i32(0)) == (i == 2));
    wasm_func_delete(func);
    wasm_extern_vec_delete(&exports);
    wasm_instance_delete(instance);
  }
}

static wasm_global_t *global(wasm_store_t *store, wasm_valkind_t kind, wasm_val_t value) {
  wasm_globaltype_t *type = wasm_globaltype_new(wasm_valtype_new(kind), WASM_VAR);
  wasm_global_t *made = wasm_global_new(store, type, &value);
  wasm_globaltype_delete(type);
  return made;
}

static void globals_and_tables(wasm_store_t *store, wasm_ref_t *foreign, wasm_ref_t *others) {
  wasm_val_t got, wrong = i32(0x41414141);
  CHECK(!global(store, WASM_EXTERNREF, i32(5)) && !global(store, WASM_I64, i32(5)));
  CHECK(!global(store, WASM_FUNCREF, ref_value(WASM_EXTERNREF, foreign)));
  CHECK(!global(store, WASM_EXTERNREF, ref_value(WASM_EXTERNREF, others)));
  wasm_global_t *it = global(store, WASM_EXTERNREF, ref_value(WASM_EXTERNREF, foreign));
  wasm_global_set(it, &wrong);
  wasm_global_get(it, &got);
  CHECK(wasm_ref_same(got.of.ref, foreign));
  wasm_val_delete(&got);
  wasm_global_delete(it);

  wasm_limits_t limits = {1, 2};
  wasm_tabletype_t *type = wasm_tabletype_new(wasm_valtype_new(WASM_EXTERNREF), &limits);
  wasm_table_t *table = wasm_table_new(store, type, NULL);
  CHECK(table && !wasm_table_new(store, type, others));
  CHECK(!wasm_table_set(table, 0, others) && !wasm_table_grow(table, 1, others) && wasm_table_set(table, 0, foreign));
  wasm_table_delete(table);
  wasm_tabletype_delete(type);
}

/* Whether the module cannot have that import, or be in that store. */
static int cannot_start(wasm_store_t *store, wasm_module_t *module, wasm_extern_t *import) {
  wasm_trap_t *trap = NULL;
  wasm_extern_vec_t imports = {1, &import};
  CHECK(!wasm_instance_new(store, module, &imports, &trap));
  wasm_trap_delete(trap);
  return trap != NULL;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new(), *other_engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine), *other = wasm_store_new(engine), *far = wasm_store_new(other_engine);
  wasm_foreign_t *foreign = wasm_foreign_new(store), *others = wasm_foreign_new(other);
  parameters(store, wasm_foreign_as_ref(foreign), wasm_foreign_as_ref(others));
  results_of_callbacks(store, wasm_foreign_as_ref(foreign));
  globals_and_tables(store, wasm_foreign_as_ref(foreign), wasm_foreign_as_ref(others));

  wasm_module_t *module = load(store, "(module (import \"\" \"\" (func)))");
  wasm_func_t *func = callback(other, 0, 0, WASM_I32), *far_func = callback(far, 0, 0, WASM_I32);
  CHECK(cannot_start(store, module, wasm_func_as_extern(func)));
  CHECK(cannot_start(far, module, wasm_func_as_extern(far_func)));
  wasm_module_delete(module);
  wasm_func_delete(func);
  wasm_func_delete(far_func);
  wasm_foreign_delete(foreign);
  wasm_foreign_delete(others);
  wasm_store_delete(store);
  wasm_store_delete(other);
  wasm_store_delete(far);
  wasm_engine_delete(engine);
  wasm_engine_delete(other_engine);
  return 0;
}
