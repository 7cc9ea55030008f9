/* Several results, of modules and of callbacks. */
#include "example.h"

static wasm_trap_t *turn(const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  for (size_t i = 0; i < 4; i++) wasm_val_copy(&results->data[i], &args->data[3 - i]);
  return NULL;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_valtype_t *params[4] = {wasm_valtype_new_i32(), wasm_valtype_new_i64(), wasm_valtype_new_f32(), wasm_valtype_new_f64()};
  wasm_valtype_t *results[4] = {wasm_valtype_new_f64(), wasm_valtype_new_f32(), wasm_valtype_new_i64(), wasm_valtype_new_i32()};
  wasm_valtype_vec_t ps, rs;
  wasm_valtype_vec_new(&ps, 4, params);
  wasm_valtype_vec_new(&rs, 4, results);
  wasm_functype_t *type = wasm_functype_new(&ps, &rs);
  wasm_func_t *func = wasm_func_new(store, type, turn);
  wasm_functype_delete(type);
  wasm_extern_t *imports[1] = {wasm_func_as_extern(func)};
  wasm_extern_vec_t exports;
  wasm_instance_t *instance = start(store,
                                    "(module (import \"\" \"f\" (func $f (param i32 i64 f32 f64) (result f64 f32 i64 i32)))"
                                    "(func $g (export \"g\") (param i32 i64 f32 f64) (result f64 f32 i64 i32)"
                                    " (call $f (local.get 0) (local.get 1) (local.get 2) (local.get 3))))",
                                    imports, 1, &exports);
  wasm_val_t args[4] = {WASM_I32_VAL(1), WASM_I64_VAL(2), WASM_F32_VAL(3.5f), WASM_F64_VAL(4.25)}, out[4];
  wasm_val_vec_t in = WASM_ARRAY_VEC(args), got = WASM_ARRAY_VEC(out);
  CHECK(wasm_func_call(func_at(&exports, 0), &in, &got) == NULL);
  CHECK(out[0].kind == WASM_F64 && out[0].of.f64 == 4.25 && out[1].kind == WASM_F32 && out[1].of.f32 == 3.5f);
  CHECK(out[2].kind == WASM_I64 && out[2].of.i64 == 2 && out[3].kind == WASM_I32 && out[3].of.i32 == 1);
  args[1].kind = WASM_I32; /* another type than the function's */
  wasm_trap_t *trap = wasm_func_call(func_at(&exports, 0), &in, &got);
  CHECK(trap);
  wasm_trap_delete(trap);
  wasm_func_delete(func);
  wasm_instance_delete(instance);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
