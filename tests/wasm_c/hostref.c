/* References of the host's go through globals, tables, functions and callbacks, and stay what they are. */
#include "example.h"

static wasm_trap_t *pass(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  wasm_val_copy(&results->data[0], &args->data[0]);
  return NULL;
}

static wasm_ref_t *call_ref(wasm_func_t *func, int32_t index, wasm_ref_t *ref, size_t n_args) {
  wasm_val_t args[2], results[1] = {WASM_INIT_VAL};
  wasm_val_t value = ref_value(WASM_EXTERNREF, ref);
  args[0] = n_args == 2 ? i32(index) : value;
  args[1] = value;
  if (n_args == 1 && !ref) args[0] = index >= 0 ? i32(index) : value;
  wasm_val_vec_t in = {n_args, args}, out = {wasm_func_result_arity(func), results};
  CHECK(wasm_func_call(func, &in, &out) == NULL);
  return results[0].of.ref;
}

static void same(wasm_ref_t *got, wasm_ref_t *wanted) {
  CHECK(got == wanted || (got && wanted && wasm_ref_same(got, wanted)));
  if (got) wasm_ref_delete(got);
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_functype_t *type = wasm_functype_new_1_1(wasm_valtype_new_externref(), wasm_valtype_new_externref());
  wasm_func_t *callback = wasm_func_new(store, type, pass);
  wasm_functype_delete(type);
  wasm_extern_t *imports[1] = {wasm_func_as_extern(callback)};
  wasm_extern_vec_t exports;
  wasm_instance_t *instance =
      start(store,
            "(module (import \"\" \"f\" (func $pass (param externref) (result externref)))"
            "(global $g (export \"g\") (mut externref) (ref.null extern)) (table $t (export \"t\") 10 externref)"
            "(func (export \"global.set\") (param externref) (global.set $g (local.get 0)))"
            "(func (export \"global.get\") (result externref) (global.get $g))"
            "(func (export \"table.set\") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))"
            "(func (export \"table.get\") (param i32) (result externref) (table.get $t (local.get 0)))"
            "(func (export \"pass\") (param externref) (result externref) (call $pass (local.get 0))))",
            imports, 1, &exports);
  wasm_global_t *global = wasm_extern_as_global(exports.data[0]);
  wasm_table_t *table = wasm_extern_as_table(exports.data[1]);
  wasm_foreign_t *foreigns[2] = {wasm_foreign_new(store), wasm_foreign_new(store)};
  wasm_ref_t *refs[3] = {wasm_foreign_as_ref(foreigns[0]), wasm_foreign_as_ref(foreigns[1]), wasm_func_as_ref(callback)};
  wasm_foreign_set_host_info(foreigns[0], &refs[0]);
  CHECK(!wasm_foreign_same(foreigns[0], foreigns[1]));
  for (int i = 0; i < 3; i++) {
    same(call_ref(func_at(&exports, 2), -1, refs[i], 1), NULL);
    same(call_ref(func_at(&exports, 3), 0, NULL, 0), refs[i]);
    wasm_val_t value;
    wasm_global_get(global, &value);
    same(value.of.ref, refs[i]);
    same(call_ref(func_at(&exports, 4), i, refs[i], 2), NULL);
    same(call_ref(func_at(&exports, 5), i, NULL, 1), refs[i]);
    same(wasm_table_get(table, (wasm_table_size_t)i), refs[i]);
    same(call_ref(func_at(&exports, 6), -1, refs[i], 1), refs[i]);
  }
  same(call_ref(func_at(&exports, 6), -1, NULL, 1), NULL);
  CHECK(wasm_table_set(table, 1, NULL));
  same(call_ref(func_at(&exports, 5), 1, NULL, 1), NULL);
  wasm_foreign_delete(foreigns[0]); /* the table still holds it */
  wasm_ref_t *kept = call_ref(func_at(&exports, 5), 0, NULL, 1);
  CHECK(wasm_ref_get_host_info(kept) == &refs[0]);
  wasm_ref_delete(kept);
  wasm_foreign_delete(foreigns[1]);
  wasm_func_delete(callback);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
