/* What the host attached is given back, once, at the latest with the store. */
#include "example.h"

enum { ROUNDS = 100 };

static int n_live;

static void finalize(void *info) {
  CHECK((size_t)info < 4 * ROUNDS);
  n_live--;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_module_t *module = load(store, "(module (func (export \"f\")) (memory (export \"m\") 1))");
  for (size_t i = 0; i < ROUNDS; i++) {
    wasm_instance_t *instance = wasm_instance_new(store, module, NULL, NULL);
    CHECK(instance);
    wasm_extern_vec_t exports;
    wasm_instance_exports(instance, &exports);
    wasm_foreign_t *foreign = wasm_foreign_new(store);
    wasm_instance_set_host_info_with_finalizer(instance, (void *)(4 * i), finalize);
    wasm_func_set_host_info_with_finalizer(func_at(&exports, 0), (void *)(4 * i + 1), finalize);
    wasm_extern_set_host_info_with_finalizer(exports.data[1], (void *)(4 * i + 2), finalize);
    wasm_foreign_set_host_info_with_finalizer(foreign, (void *)(4 * i + 3), finalize);
    n_live += 4;
    CHECK(wasm_func_get_host_info(func_at(&exports, 0)) == (void *)(4 * i + 1));
    wasm_foreign_delete(foreign);
    wasm_extern_vec_delete(&exports);
    wasm_instance_delete(instance);
  }
  CHECK(n_live == 3 * ROUNDS); /* foreign objects go at once */
  wasm_instance_t *late = wasm_instance_new(store, module, NULL, NULL);
  wasm_module_delete(module);
  wasm_store_delete(store);
  CHECK(n_live == 3 * ROUNDS);
  wasm_instance_delete(late); /* the store waited for it */
  CHECK(n_live == 0);
  wasm_engine_delete(engine);
  return 0;
}
