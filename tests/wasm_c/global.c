/* Globals that both sides read and write. */
#include "example.h"

static int32_t get(const wasm_global_t *global) {
  wasm_val_t v;
  wasm_global_get(global, &v);
  CHECK(v.kind == WASM_I32);
  return v.of.i32;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_globaltype_t *types[2] = {wasm_globaltype_new(wasm_valtype_new(WASM_I32), WASM_CONST),
                                 wasm_globaltype_new(wasm_valtype_new(WASM_I32), WASM_VAR)};
  wasm_val_t one = WASM_I32_VAL(1), two = WASM_I32_VAL(2);
  wasm_global_t *constant = wasm_global_new(store, types[0], &one), *variable = wasm_global_new(store, types[1], &two);
  wasm_globaltype_delete(types[0]);
  wasm_globaltype_delete(types[1]);
  wasm_extern_t *imports[2] = {wasm_global_as_extern(constant), wasm_global_as_extern(variable)};
  wasm_extern_vec_t exports;
  wasm_instance_t *instance =
      start(store,
            "(module (import \"\" \"c\" (global $c i32)) (import \"\" \"v\" (global $v (mut i32)))"
            "(global $own (export \"own\") (mut i32) (i32.const 5))"
            "(export \"v\" (global $v))"
            "(func (export \"sum\") (result i32) (i32.add (global.get $c) (i32.add (global.get $v) (global.get $own))))"
            "(func (export \"set\") (param i32) (global.set $v (local.get 0))))",
            imports, 2, &exports);
  wasm_global_t *own_global = wasm_extern_as_global(exports.data[0]), *again = wasm_extern_as_global(exports.data[1]);
  CHECK(wasm_global_same(variable, again));
  CHECK(call_i32(func_at(&exports, 2), 0, 0, 0) == 8);
  wasm_val_t v = WASM_I32_VAL(70);
  wasm_global_set(own_global, &v);
  CHECK(call_i32(func_at(&exports, 2), 0, 0, 0) == 73);
  call_i32(func_at(&exports, 3), 1, 12, 0);
  CHECK(get(variable) == 12 && get(again) == 12 && get(constant) == 1);
  wasm_globaltype_t *type = wasm_global_type(variable);
  CHECK(wasm_globaltype_mutability(type) == WASM_VAR);
  wasm_globaltype_delete(type);
  wasm_global_delete(constant);
  wasm_global_delete(variable);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
