/* Vectors: one set of functions for each type of elements. */
#include "base/heap.h"
#include "runtime/capi/capi.h"

#include <stdlib.h>

#define VECTOR(name, element, copy_element, delete_element)                                     \
  void wasm_##name##_vec_new_empty(wasm_##name##_vec_t *out) {                                  \
    out->size = 0;                                                                              \
    out->data = NULL;                                                                           \
  }                                                                                             \
  void wasm_##name##_vec_new_uninitialized(wasm_##name##_vec_t *out, size_t size) {             \
    out->size = size;                                                                           \
    out->data = size ? heap_new(size, sizeof(element)) : NULL;                                  \
  }                                                                                             \
  void wasm_##name##_vec_new(wasm_##name##_vec_t *out, size_t size, element const elements[]) { \
    wasm_##name##_vec_new_uninitialized(out, size);                                             \
    if (size) memcpy(out->data, elements, size * sizeof(element));                              \
  }                                                                                             \
  void wasm_##name##_vec_copy(wasm_##name##_vec_t *out, const wasm_##name##_vec_t *from) {      \
    wasm_##name##_vec_new_uninitialized(out, from->size);                                       \
    for (size_t i = 0; i < from->size; i++) copy_element(&out->data[i], &from->data[i]);        \
  }                                                                                             \
  void wasm_##name##_vec_delete(wasm_##name##_vec_t *v) {                                       \
    for (size_t i = 0; i < v->size; i++) delete_element(&v->data[i]);                           \
    free(v->data);                                                                              \
    v->size = 0;                                                                                \
    v->data = NULL;                                                                             \
  }

/* Of pointers. */
#define OBJECTS(name)                                                            \
  static void copy_##name(wasm_##name##_t **out, wasm_##name##_t *const *from) { \
    *out = *from ? wasm_##name##_copy(*from) : NULL;                             \
  }                                                                              \
  static void delete_##name(wasm_##name##_t **x) { wasm_##name##_delete(*x); }   \
  VECTOR(name, wasm_##name##_t *, copy_##name, delete_##name)

static void copy_byte(wasm_byte_t *out, const wasm_byte_t *from) { *out = *from; }

static void delete_byte(wasm_byte_t *byte) { (void)byte; }

VECTOR(byte, wasm_byte_t, copy_byte, delete_byte)
VECTOR(val, wasm_val_t, wasm_val_copy, wasm_val_delete)
OBJECTS(valtype)
OBJECTS(functype)
OBJECTS(globaltype)
OBJECTS(tabletype)
OBJECTS(memorytype)
OBJECTS(externtype)
OBJECTS(importtype)
OBJECTS(exporttype)
OBJECTS(frame)
OBJECTS(extern)
