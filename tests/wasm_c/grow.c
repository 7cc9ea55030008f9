/* A module that grows its memory under the host's eyes, up to its maximum. */
#include "example.h"

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_limits_t limits = {1, 20};
  wasm_memorytype_t *type = wasm_memorytype_new(&limits);
  wasm_memory_t *memory = wasm_memory_new(store, type);
  wasm_memorytype_delete(type);
  wasm_extern_t *imports[1] = {wasm_memory_as_extern(memory)};
  wasm_extern_vec_t exports;
  wasm_instance_t *instance = start(store,
                                    "(module (import \"\" \"m\" (memory 1)) (func (export \"grow\") (param i32) (result i32)"
                                    " (memory.grow (local.get 0))) (func (export \"last\") (i32.store8"
                                    " (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 9))))",
                                    imports, 1, &exports);
  for (int pages = 1; pages < 20; pages++) {
    CHECK(call_i32(func_at(&exports, 0), 1, 1, 0) == pages);
    CHECK((int)wasm_memory_size(memory) == pages + 1);
    call_i32(func_at(&exports, 1), 0, 0, 0);
    CHECK(wasm_memory_data(memory)[wasm_memory_data_size(memory) - 1] == 9);
  }
  CHECK(call_i32(func_at(&exports, 0), 1, 1, 0) == -1);
  wasm_memorytype_t *now = wasm_memory_type(memory);
  CHECK(wasm_memorytype_limits(now)->max == 20);
  wasm_memorytype_delete(now);
  wasm_memory_delete(memory);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
