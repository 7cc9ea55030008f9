/* A start function that traps: there is no instance, and the trap says why. Neither is there one whose imports do not fit. */
#include "example.h"

static wasm_trap_t *failure(wasm_store_t *store, const char *text, const wasm_extern_vec_t *imports) {
  wasm_trap_t *trap = NULL;
  wasm_module_t *module = load(store, text);
  CHECK(wasm_instance_new(store, module, imports, &trap) == NULL);
  CHECK(wasm_instance_new(store, module, imports, NULL) == NULL);
  wasm_module_delete(module);
  CHECK(trap);
  return trap;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_extern_vec_t none = WASM_EMPTY_VEC;
  wasm_trap_t *trap = failure(store, "(module (func $start (unreachable)) (start $start))", &none);
  wasm_message_t message;
  wasm_trap_message(trap, &message);
  CHECK(strncmp(message.data, "unreachable", 11) == 0);
  wasm_byte_vec_delete(&message);
  wasm_frame_t *origin = wasm_trap_origin(trap);
  CHECK(origin && wasm_frame_func_index(origin) == 0);
  wasm_frame_delete(origin);
  wasm_trap_delete(trap);
  trap = failure(store, "(module (import \"a\" \"b\" (func)))", &none);
  wasm_trap_message(trap, &message);
  CHECK(strstr(message.data, "unknown import a.b"));
  wasm_byte_vec_delete(&message);
  wasm_trap_delete(trap);
  wasm_byte_vec_t nonsense;
  wasm_byte_vec_new(&nonsense, 8, "nonsense");
  CHECK(!wasm_module_validate(store, &nonsense) && wasm_module_new(store, &nonsense) == NULL);
  wasm_byte_vec_delete(&nonsense);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
