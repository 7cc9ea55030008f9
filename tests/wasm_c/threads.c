/* One shared module, a store for each thread. */
#include "example.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 5 };

struct worker {
  wasm_engine_t *engine;
  wasm_shared_module_t *module;
  int number, n_calls;
};

static wasm_trap_t *note(void *env, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  struct worker *w = (struct worker *)env;
  (void)results;
  CHECK(args->data[0].of.i32 == w->number);
  w->n_calls++;
  return NULL;
}

static void *run(void *arg) {
  struct worker *w = (struct worker *)arg;
  for (int i = 0; i < ROUNDS; i++) {
    wasm_store_t *store = wasm_store_new(w->engine);
    wasm_module_t *module = wasm_module_obtain(store, w->module);
    wasm_functype_t *type = wasm_functype_new_1_0(wasm_valtype_new_i32());
    wasm_func_t *func = wasm_func_new_with_env(store, type, note, w, NULL);
    wasm_functype_delete(type);
    wasm_val_t value = i32(w->number);
    wasm_globaltype_t *global_type = wasm_globaltype_new(wasm_valtype_new_i32(), WASM_CONST);
    wasm_global_t *global = wasm_global_new(store, global_type, &value);
    wasm_globaltype_delete(global_type);
    wasm_extern_t *imports[2] = {wasm_func_as_extern(func), wasm_global_as_extern(global)};
    wasm_extern_vec_t vec = WASM_ARRAY_VEC(imports), exports;
    wasm_instance_t *instance = wasm_instance_new(store, module, &vec, NULL);
    CHECK(instance);
    wasm_instance_exports(instance, &exports);
    call_i32(func_at(&exports, 0), 0, 0, 0);
    wasm_extern_vec_delete(&exports);
    wasm_instance_delete(instance);
    wasm_global_delete(global);
    wasm_func_delete(func);
    wasm_module_delete(module);
    wasm_store_delete(store);
  }
  return NULL;
}

int main(void) {
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  wasm_module_t *module = load(store, "(module (import \"\" \"f\" (func $f (param i32))) (import \"\" \"g\" (global $g i32))"
                                      "(func (export \"run\") (call $f (global.get $g))))");
  wasm_shared_module_t *shared = wasm_module_share(module);
  wasm_module_delete(module);
  wasm_store_delete(store);
  pthread_t threads[THREADS];
  struct worker workers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    struct worker w = {engine, shared, i, 0};
    workers[i] = w;
    CHECK(pthread_create(&threads[i], NULL, run, &workers[i]) == 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    CHECK(workers[i].n_calls == ROUNDS);
  }
  wasm_shared_module_delete(shared);
  wasm_engine_delete(engine);
  return 0;
}
