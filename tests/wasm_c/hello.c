/* A callback that a module calls. */
#include "example.h"

static int n_calls;

static wasm_trap_t *hello(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  (void)args, (void)results;
  n_calls++;
  return NULL;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_functype_t *type = wasm_functype_new_0_0();
  wasm_func_t *func = wasm_func_new(store, type, hello);
  wasm_functype_delete(type);
  wasm_extern_t *imports[1] = {wasm_func_as_extern(func)};
  wasm_extern_vec_t exports;
  wasm_instance_t *instance = start(
      store, "(module (import \"\" \"hello\" (func $h)) (func (export \"run\") (call $h) (call $h)))", imports, 1, &exports);
  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  CHECK(wasm_func_call(func_at(&exports, 0), &none, &none) == NULL);
  CHECK(n_calls == 2);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
