/* What a module imports and exports, from the module and from its instance. */
#include "example.h"

static void print_limits(char *out, const wasm_limits_t *l) {
  char text[40];
  snprintf(text, sizeof text, " %u", l->min);
  strcat(out, text);
  if (l->max == wasm_limits_max_default) return;
  snprintf(text, sizeof text, " %u", l->max);
  strcat(out, text);
}

static const char *kind_name(wasm_valkind_t kind) {
  static const char *const numbers[] = {"i32", "i64", "f32", "f64"};
  if (wasm_valkind_is_num(kind)) return numbers[kind];
  return kind == WASM_FUNCREF ? "funcref" : "externref";
}

static void print_types(char *out, const wasm_valtype_vec_t *types) {
  for (size_t i = 0; i < types->size; i++) strcat(strcat(out, " "), kind_name(wasm_valtype_kind(types->data[i])));
}

static void print(char *out, const wasm_externtype_t *type) {
  const wasm_functype_t *func = wasm_externtype_as_functype_const(type);
  const wasm_globaltype_t *global = wasm_externtype_as_globaltype_const(type);
  const wasm_tabletype_t *table = wasm_externtype_as_tabletype_const(type);
  const wasm_memorytype_t *memory = wasm_externtype_as_memorytype_const(type);
  out[0] = 0;
  if (func) {
    print_types(strcat(out, "func"), wasm_functype_params(func));
    print_types(strcat(out, " ->"), wasm_functype_results(func));
  } else if (global) {
    strcat(out, wasm_globaltype_mutability(global) == WASM_VAR ? "global mut " : "global ");
    strcat(out, kind_name(wasm_valtype_kind(wasm_globaltype_content(global))));
  } else if (table) {
    strcat(strcat(out, "table "), kind_name(wasm_valtype_kind(wasm_tabletype_element(table))));
    print_limits(out, wasm_tabletype_limits(table));
  } else if (memory) {
    print_limits(strcat(out, "memory"), wasm_memorytype_limits(memory));
  }
}

int main(void) {
  static const char *const wanted[] = {"func i32 f64 externref -> f32 i64", "global f64", "table funcref 0 50", "memory 1",
                                       "global mut i64"};
  wasm_engine_t *engine = wasm_engine_new();
  wasm_store_t *store = wasm_store_new(engine);
  const char *text = "(module (func (export \"func\") (param i32 f64 externref) (result f32 i64) (unreachable))"
                     "(global (export \"global\") f64 (f64.const 0)) (table (export \"table\") 0 50 funcref)"
                     "(memory (export \"memory\") 1) (global (export \"variable\") (mut i64) (i64.const 0)))";
  wasm_module_t *module = load(store, text);
  wasm_exporttype_vec_t types, copies;
  wasm_importtype_vec_t imports;
  wasm_module_exports(module, &types);
  wasm_module_imports(module, &imports);
  CHECK(imports.size == 0 && types.size == 5);
  wasm_exporttype_vec_copy(&copies, &types);
  wasm_exporttype_vec_delete(&types);
  wasm_extern_vec_t exports;
  wasm_instance_t *instance = start(store, text, NULL, 0, &exports);
  for (size_t i = 0; i < copies.size; i++) {
    char out[200];
    print(out, wasm_exporttype_type(copies.data[i]));
    CHECK(strcmp(out, wanted[i]) == 0);
    wasm_externtype_t *type = wasm_extern_type(exports.data[i]);
    print(out, type);
    CHECK(strcmp(out, wanted[i]) == 0);
    CHECK(wasm_externtype_kind(type) == wasm_extern_kind(exports.data[i]));
    wasm_externtype_delete(type);
  }
  CHECK(wasm_exporttype_name(copies.data[4])->size == 8);
  wasm_module_t *importer = load(store, "(module (import \"a\" \"bc\" (memory 2 3)))");
  wasm_module_imports(importer, &imports);
  CHECK(imports.size == 1 && wasm_importtype_module(imports.data[0])->size == 1);
  CHECK(memcmp(wasm_importtype_name(imports.data[0])->data, "bc", 2) == 0);
  wasm_importtype_vec_delete(&imports);
  wasm_module_delete(importer);
  wasm_exporttype_vec_delete(&copies);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
