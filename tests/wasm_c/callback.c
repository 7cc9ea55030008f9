/* Callbacks with parameters, results and an environment; one that calls back into the module. */
#include "example.h"

static wasm_trap_t *print(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  CHECK(args->size == 1 && results->size == 1);
  wasm_val_copy(&results->data[0], &args->data[0]);
  return NULL;
}

static wasm_trap_t *closure(void *env, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  (void)args;
  results->data[0] = i32(*(int *)env);
  return NULL;
}

static int n_finished;
static wasm_func_t *inner;

static wasm_trap_t *again(const wasm_val_vec_t *args, wasm_val_vec_t *results) { return wasm_func_call(inner, args, results); }

static void finish(void *env) {
  CHECK(*(int *)env == 42);
  n_finished++;
}

int main(void) {
  static int number = 42;
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_functype_t *type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  wasm_functype_t *closure_type = wasm_functype_new_0_1(wasm_valtype_new_i32());
  wasm_func_t *funcs[3] = {wasm_func_new(store, type, print),
                           wasm_func_new_with_env(store, closure_type, closure, &number, finish),
                           wasm_func_new(store, type, again)};
  wasm_functype_delete(type);
  wasm_functype_delete(closure_type);
  wasm_extern_t *imports[3];
  for (int i = 0; i < 3; i++) imports[i] = wasm_func_as_extern(funcs[i]);
  wasm_extern_vec_t exports;
  wasm_instance_t *instance =
      start(store,
            "(module (import \"\" \"print\" (func $print (param i32) (result i32)))"
            "(import \"\" \"closure\" (func $closure (result i32)))"
            "(import \"\" \"again\" (func $again (param i32) (result i32)))"
            "(func (export \"run\") (param i32 i32) (result i32)"
            " (i32.add (call $print (i32.add (local.get 0) (local.get 1))) (call $closure)))"
            "(func (export \"outer\") (param i32) (result i32) (i32.add (i32.const 1) (call $again (local.get 0))))"
            "(func (export \"inner\") (param i32) (result i32) (i32.div_u (i32.const 100) (local.get 0))))",
            imports, 3, &exports);
  CHECK(call_i32(func_at(&exports, 0), 2, 3, 4) == 49);
  inner = func_at(&exports, 2);
  CHECK(call_i32(func_at(&exports, 1), 1, 5, 0) == 21);
  CHECK(traps(func_at(&exports, 1), 1, 0, 0)); /* the inner trap goes through */
  CHECK(call_i32(func_at(&exports, 1), 1, 50, 0) == 3);
  CHECK(call_i32(funcs[0], 1, 7, 0) == 7); /* without a module between */
  for (int i = 0; i < 3; i++) wasm_func_delete(funcs[i]);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  CHECK(n_finished == 1);
  return 0;
}
