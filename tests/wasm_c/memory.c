/* Memories: read, written and grown by both sides. */
#include "example.h"

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_extern_vec_t exports;
  wasm_instance_t *instance = start(store,
                                    "(module (memory (export \"memory\") 2 3)"
                                    "(func (export \"size\") (result i32) (memory.size))"
                                    "(func (export \"load\") (param i32) (result i32) (i32.load8_s (local.get 0)))"
                                    "(func (export \"store\") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))"
                                    "(data (i32.const 0x1000) \"\\01\\02\\03\\04\"))",
                                    NULL, 0, &exports);
  wasm_memory_t *memory = wasm_extern_as_memory(exports.data[0]), *copy = wasm_memory_copy(memory);
  wasm_func_t *size = func_at(&exports, 1), *load_byte = func_at(&exports, 2), *store_byte = func_at(&exports, 3);
  CHECK(wasm_memory_same(memory, copy));
  wasm_memory_delete(copy);
  CHECK(wasm_memory_size(memory) == 2 && wasm_memory_data_size(memory) == 2 * MEMORY_PAGE_SIZE);
  CHECK(wasm_memory_data(memory)[0x1003] == 4 && call_i32(load_byte, 1, 0x1002, 0) == 3);
  CHECK(call_i32(load_byte, 1, 0x1ffff, 0) == 0 && traps(load_byte, 1, 0x20000, 0));
  wasm_memory_data(memory)[0x1003] = 5;
  call_i32(store_byte, 2, 0x1002, 6);
  CHECK(traps(store_byte, 2, 0x20000, 0));
  CHECK(wasm_memory_data(memory)[0x1002] == 6 && call_i32(load_byte, 1, 0x1003, 0) == 5);
  CHECK(wasm_memory_grow(memory, 1) && wasm_memory_size(memory) == 3 && call_i32(size, 0, 0, 0) == 3);
  CHECK(call_i32(load_byte, 1, 0x20000, 0) == 0);
  CHECK(!wasm_memory_grow(memory, 1) && wasm_memory_grow(memory, 0));
  wasm_limits_t limits = {5, 5};
  wasm_memorytype_t *type = wasm_memorytype_new(&limits);
  wasm_memory_t *own_memory = wasm_memory_new(store, type);
  wasm_memorytype_delete(type);
  CHECK(wasm_memory_size(own_memory) == 5 && !wasm_memory_grow(own_memory, 1) && wasm_memory_grow(own_memory, 0));
  wasm_memory_delete(own_memory);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
