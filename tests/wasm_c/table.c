/* Tables: read, written, grown, and called through. */
#include "example.h"

static wasm_trap_t *negate(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  results->data[0] = i32(-args->data[0].of.i32);
  return NULL;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_extern_vec_t exports;
  wasm_instance_t *instance = start(store,
                                    "(module (table (export \"table\") 2 10 funcref)"
                                    "(func (export \"call\") (param i32 i32) (result i32)"
                                    " (call_indirect (param i32) (result i32) (local.get 0) (local.get 1)))"
                                    "(func $f (export \"f\") (param i32) (result i32) (local.get 0))"
                                    "(func (export \"g\") (param i32) (result i32) (i32.const 666))"
                                    "(elem (i32.const 1) $f))",
                                    NULL, 0, &exports);
  wasm_table_t *table = wasm_extern_as_table(exports.data[0]);
  wasm_func_t *call = func_at(&exports, 1), *f = func_at(&exports, 2), *g = func_at(&exports, 3);
  wasm_functype_t *type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  wasm_func_t *h = wasm_func_new(store, type, negate);
  wasm_functype_delete(type);
  CHECK(wasm_table_size(table) == 2 && wasm_table_get(table, 0) == NULL && wasm_table_get(table, 2) == NULL);
  wasm_ref_t *entry = wasm_table_get(table, 1);
  CHECK(entry && wasm_ref_same(entry, wasm_func_as_ref(f)));
  wasm_ref_delete(entry);
  CHECK(traps(call, 2, 0, 0));
  CHECK(call_i32(call, 2, 7, 1) == 7);
  CHECK(wasm_table_set(table, 0, wasm_func_as_ref(g)) && wasm_table_set(table, 1, NULL));
  CHECK(!wasm_table_set(table, 2, wasm_func_as_ref(f)));
  CHECK(call_i32(call, 2, 7, 0) == 666 && traps(call, 2, 7, 1));
  CHECK(wasm_table_grow(table, 5, wasm_func_as_ref(h)) && wasm_table_size(table) == 7);
  CHECK(call_i32(call, 2, 7, 6) == -7);
  CHECK(!wasm_table_grow(table, 5, NULL) && wasm_table_grow(table, 3, NULL));
  wasm_limits_t limits = {4, 4};
  wasm_tabletype_t *table_type = wasm_tabletype_new(wasm_valtype_new_funcref(), &limits);
  wasm_table_t *own_table = wasm_table_new(store, table_type, wasm_func_as_ref(g));
  wasm_tabletype_delete(table_type);
  entry = wasm_table_get(own_table, 3);
  CHECK(wasm_ref_as_func(entry) == g && wasm_ref_as_table(entry) == NULL);
  wasm_ref_delete(entry);
  CHECK(!wasm_table_grow(own_table, 1, NULL));
  wasm_table_delete(own_table);
  wasm_func_delete(h);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
