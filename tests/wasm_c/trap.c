/* Traps of callbacks and of the module itself: message, origin, trace. */
#include "example.h"

static wasm_trap_t *fail(void *env, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  (void)args, (void)results;
  wasm_name_t message;
  wasm_name_new_from_string_nt(&message, "callback abort");
  wasm_trap_t *trap = wasm_trap_new((wasm_store_t *)env, &message);
  wasm_name_delete(&message);
  return trap;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_functype_t *type = wasm_functype_new_0_1(wasm_valtype_new_i32());
  wasm_func_t *func = wasm_func_new_with_env(store, type, fail, store, NULL);
  wasm_functype_delete(type);
  wasm_extern_t *imports[1] = {wasm_func_as_extern(func)};
  wasm_extern_vec_t exports;
  wasm_instance_t *instance = start(store,
                                    "(module (import \"\" \"callback\" (func $c (result i32)))"
                                    "(func (export \"callback\") (result i32) (call $c))"
                                    "(func (export \"unreachable\") (result i32) (unreachable) (i32.const 1)))",
                                    imports, 1, &exports);
  static const char *const messages[] = {"callback abort", "unreachable"};
  for (size_t i = 0; i < 2; i++) {
    wasm_trap_t *trap = trap_of(func_at(&exports, i), 0, 0, 0);
    CHECK(trap);
    wasm_name_t message;
    wasm_trap_message(trap, &message);
    CHECK(message.size && message.data[message.size - 1] == 0);
    CHECK(strncmp(message.data, messages[i], strlen(messages[i])) == 0);
    wasm_name_delete(&message);
    wasm_frame_t *origin = wasm_trap_origin(trap);
    wasm_frame_vec_t trace;
    wasm_trap_trace(trap, &trace);
    CHECK(i == 0 || (origin && trace.size >= 1));
    if (origin) {
      CHECK(wasm_frame_func_index(origin) == wasm_frame_func_index(trace.data[0]));
      CHECK(wasm_frame_func_index(origin) == i + 1);
      CHECK(wasm_instance_same(wasm_frame_instance(origin), instance));
      CHECK(wasm_frame_module_offset(origin) >= wasm_frame_func_offset(origin));
    }
    wasm_frame_vec_delete(&trace);
    wasm_frame_delete(origin);
    wasm_trap_t *copy = wasm_trap_copy(trap);
    CHECK(wasm_trap_same(trap, copy));
    wasm_trap_delete(copy);
    wasm_trap_delete(trap);
  }
  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
