/* A module becomes bytes and a module again; damaged bytes do not. */
#include "example.h"

static wasm_trap_t *seven(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  (void)args;
  results->data[0] = i32(7);
  return NULL;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_module_t *module = load(store, "(module (import \"\" \"seven\" (func $s (result i32)))"
                                      "(func (export \"run\") (result i32) (i32.mul (call $s) (i32.const 6))))");
  wasm_byte_vec_t bytes;
  wasm_module_serialize(module, &bytes);
  wasm_module_delete(module);
  CHECK(bytes.size > 100);
  wasm_module_t *again = wasm_module_deserialize(store, &bytes);
  CHECK(again);
  bytes.data[bytes.size / 2] ^= 1;
  CHECK(wasm_module_deserialize(store, &bytes) == NULL);
  bytes.data[bytes.size / 2] ^= 1;
  wasm_byte_vec_t half = {bytes.size / 2, bytes.data};
  CHECK(wasm_module_deserialize(store, &half) == NULL);
  wasm_byte_vec_delete(&bytes);
  wasm_functype_t *type = wasm_functype_new_0_1(wasm_valtype_new_i32());
  wasm_func_t *func = wasm_func_new(store, type, seven);
  wasm_functype_delete(type);
  wasm_extern_t *imports[1] = {wasm_func_as_extern(func)};
  wasm_extern_vec_t vec = WASM_ARRAY_VEC(imports), exports;
  wasm_instance_t *instance = wasm_instance_new(store, again, &vec, NULL);
  CHECK(instance);
  wasm_instance_exports(instance, &exports);
  CHECK(call_i32(func_at(&exports, 0), 0, 0, 0) == 42);
  wasm_func_delete(func);
  wasm_module_delete(again);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
