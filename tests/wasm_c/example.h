/* What the programs for wasm.h share. They use nothing else of Gasworks, and are C and C++ at once. */
#ifndef TESTS_WASM_C_EXAMPLE_H
#define TESTS_WASM_C_EXAMPLE_H

#include "../check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasm.h>

static inline FILE *open_file(const char *path, const char *mode) {
  FILE *f = fopen(path, mode);
  CHECK(f);
  return f;
}

/* The binary form of a module in the text format; the caller deletes it. */
static inline void assemble(const char *text, wasm_byte_vec_t *out) {
  char source[] = "/tmp/gasworks-example-XXXXXX", binary[64], command[256];
  int fd = mkstemp(source);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
  snprintf(binary, sizeof binary, "%s.wasm", source);
  snprintf(command, sizeof command, "wat2wasm %s -o %s", source, binary);
  CHECK(system(command) == 0);
  FILE *f = open_file(binary, "rb");
  fseek(f, 0, SEEK_END);
  wasm_byte_vec_new_uninitialized(out, (size_t)ftell(f));
  rewind(f);
  CHECK(fread(out->data, 1, out->size, f) == out->size);
  fclose(f);
  unlink(source);
  unlink(binary);
}

static inline wasm_module_t *load(wasm_store_t *store, const char *text) {
  wasm_byte_vec_t binary;
  assemble(text, &binary);
  wasm_module_t *module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  CHECK(module);
  return module;
}

/* An instance of a module that may go at once; `exports` are the caller's. */
static inline wasm_instance_t *start(wasm_store_t *store, const char *text, wasm_extern_t **imports, size_t n,
                                     wasm_extern_vec_t *exports) {
  wasm_extern_vec_t vec = {n, imports};
  wasm_trap_t *trap = NULL;
  wasm_module_t *module = load(store, text);
  wasm_instance_t *instance = wasm_instance_new(store, module, &vec, &trap);
  wasm_module_delete(module);
  CHECK(instance && !trap);
  wasm_instance_exports(instance, exports);
  return instance;
}

static inline wasm_func_t *func_at(const wasm_extern_vec_t *exports, size_t i) {
  CHECK(i < exports->size);
  wasm_func_t *func = wasm_extern_as_func(exports->data[i]);
  CHECK(func);
  return func;
}

static inline wasm_val_t i32(int32_t x) {
  wasm_val_t v;
  v.kind = WASM_I32;
  v.of.i32 = x;
  return v;
}

static inline wasm_val_t ref_value(wasm_valkind_t kind, wasm_ref_t *ref) {
  wasm_val_t v;
  v.kind = kind;
  v.of.ref = ref;
  return v;
}

/* Up to two numbers in, one out. */
static inline int32_t call_i32(wasm_func_t *func, size_t n, int32_t a, int32_t b) {
  wasm_val_t args[2] = {i32(a), i32(b)}, results[1] = {i32(-1)};
  wasm_val_vec_t in = {n, args}, out = {wasm_func_result_arity(func), results};
  wasm_trap_t *trap = wasm_func_call(func, &in, &out);
  CHECK(!trap);
  return results[0].of.i32;
}

static inline wasm_trap_t *trap_of(wasm_func_t *func, size_t n, int32_t a, int32_t b) {
  wasm_val_t args[2] = {i32(a), i32(b)}, results[1] = {i32(-1)};
  wasm_val_vec_t in = {n, args}, out = {wasm_func_result_arity(func), results};
  return wasm_func_call(func, &in, &out);
}

static inline int traps(wasm_func_t *func, size_t n, int32_t a, int32_t b) {
  wasm_trap_t *trap = trap_of(func, n, a, b);
  wasm_trap_delete(trap);
  return trap != NULL;
}

#endif
