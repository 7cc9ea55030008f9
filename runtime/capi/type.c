/* Descriptions of what modules want and have. */
#include "base/heap.h"
#include "runtime/capi/capi.h"

#include <stdlib.h>

struct wasm_importtype_t {
  wasm_name_t module, name;
  wasm_externtype_t *type;
};

struct wasm_exporttype_t {
  wasm_name_t name;
  wasm_externtype_t *type;
};

/* --- value types ---------------------------------------------------------------------------------------------------------- */

wasm_valtype_t *wasm_valtype_new(wasm_valkind_t kind) {
  wasm_valtype_t *t = heap_new(1, sizeof *t);
  t->kind = kind;
  return t;
}

wasm_valkind_t wasm_valtype_kind(const wasm_valtype_t *t) { return t->kind; }

wasm_valtype_t *wasm_valtype_copy(const wasm_valtype_t *t) { return wasm_valtype_new(t->kind); }

void wasm_valtype_delete(wasm_valtype_t *t) { free(t); }

/* What wasm.h has no word for, v128 and typed references, is the nearest kind of reference. */
static wasm_valtype_t *valtype(enum gw_type type) {
  static const wasm_valkind_t kinds[] = {
      [GW_I32] = WASM_I32,
      [GW_I64] = WASM_I64,
      [GW_F32] = WASM_F32,
      [GW_F64] = WASM_F64,
      [GW_V128] = WASM_EXTERNREF,
      [GW_FUNCREF] = WASM_FUNCREF,
      [GW_EXTERNREF] = WASM_EXTERNREF,
      [GW_REF] = WASM_FUNCREF,
  };
  return wasm_valtype_new(kinds[type]);
}

/* --- the four ----------------------------------------------------------------------------------------------------------------
 */

wasm_functype_t *wasm_functype_new(wasm_valtype_vec_t *params, wasm_valtype_vec_t *results) {
  wasm_functype_t *t = heap_new(1, sizeof *t);
  t->base.kind = WASM_EXTERN_FUNC;
  t->params = *params;
  t->results = *results;
  return t;
}

const wasm_valtype_vec_t *wasm_functype_params(const wasm_functype_t *t) { return &t->params; }

const wasm_valtype_vec_t *wasm_functype_results(const wasm_functype_t *t) { return &t->results; }

wasm_functype_t *wasm_functype_copy(const wasm_functype_t *t) {
  wasm_valtype_vec_t params, results;
  wasm_valtype_vec_copy(&params, &t->params);
  wasm_valtype_vec_copy(&results, &t->results);
  return wasm_functype_new(&params, &results);
}

void wasm_functype_delete(wasm_functype_t *t) {
  if (!t) return;
  wasm_valtype_vec_delete(&t->params);
  wasm_valtype_vec_delete(&t->results);
  free(t);
}

wasm_globaltype_t *wasm_globaltype_new(wasm_valtype_t *content, wasm_mutability_t mutability) {
  wasm_globaltype_t *t = heap_new(1, sizeof *t);
  t->base.kind = WASM_EXTERN_GLOBAL;
  t->content = content;
  t->mutability = mutability;
  return t;
}

const wasm_valtype_t *wasm_globaltype_content(const wasm_globaltype_t *t) { return t->content; }

wasm_mutability_t wasm_globaltype_mutability(const wasm_globaltype_t *t) { return t->mutability; }

wasm_globaltype_t *wasm_globaltype_copy(const wasm_globaltype_t *t) {
  return wasm_globaltype_new(wasm_valtype_copy(t->content), t->mutability);
}

void wasm_globaltype_delete(wasm_globaltype_t *t) {
  if (t) wasm_valtype_delete(t->content);
  free(t);
}

wasm_tabletype_t *wasm_tabletype_new(wasm_valtype_t *element, const wasm_limits_t *limits) {
  wasm_tabletype_t *t = heap_new(1, sizeof *t);
  t->base.kind = WASM_EXTERN_TABLE;
  t->element = element;
  t->limits = *limits;
  return t;
}

const wasm_valtype_t *wasm_tabletype_element(const wasm_tabletype_t *t) { return t->element; }

const wasm_limits_t *wasm_tabletype_limits(const wasm_tabletype_t *t) { return &t->limits; }

wasm_tabletype_t *wasm_tabletype_copy(const wasm_tabletype_t *t) {
  return wasm_tabletype_new(wasm_valtype_copy(t->element), &t->limits);
}

void wasm_tabletype_delete(wasm_tabletype_t *t) {
  if (t) wasm_valtype_delete(t->element);
  free(t);
}

wasm_memorytype_t *wasm_memorytype_new(const wasm_limits_t *limits) {
  wasm_memorytype_t *t = heap_new(1, sizeof *t);
  t->base.kind = WASM_EXTERN_MEMORY;
  t->limits = *limits;
  return t;
}

const wasm_limits_t *wasm_memorytype_limits(const wasm_memorytype_t *t) { return &t->limits; }

wasm_memorytype_t *wasm_memorytype_copy(const wasm_memorytype_t *t) { return wasm_memorytype_new(&t->limits); }

void wasm_memorytype_delete(wasm_memorytype_t *t) { free(t); }

/* --- any of them ---------------------------------------------------------------------------------------------------------------
 */

wasm_externkind_t wasm_externtype_kind(const wasm_externtype_t *t) { return t->kind; }

#define VIEWS(name, its_kind)                                                                                                    \
  wasm_externtype_t *wasm_##name##_as_externtype(wasm_##name##_t *t) { return &t->base; }                                        \
  const wasm_externtype_t *wasm_##name##_as_externtype_const(const wasm_##name##_t *t) { return &t->base; }                      \
  wasm_##name##_t *wasm_externtype_as_##name(wasm_externtype_t *t) { return t->kind == its_kind ? (wasm_##name##_t *)t : NULL; } \
  const wasm_##name##_t *wasm_externtype_as_##name##_const(const wasm_externtype_t *t) {                                         \
    return t->kind == its_kind ? (const wasm_##name##_t *)t : NULL;                                                              \
  }

VIEWS(functype, WASM_EXTERN_FUNC)
VIEWS(globaltype, WASM_EXTERN_GLOBAL)
VIEWS(tabletype, WASM_EXTERN_TABLE)
VIEWS(memorytype, WASM_EXTERN_MEMORY)

wasm_externtype_t *wasm_externtype_copy(const wasm_externtype_t *t) {
  switch (t->kind) {
  case WASM_EXTERN_FUNC: return &wasm_functype_copy((const wasm_functype_t *)t)->base;
  case WASM_EXTERN_GLOBAL: return &wasm_globaltype_copy((const wasm_globaltype_t *)t)->base;
  case WASM_EXTERN_TABLE: return &wasm_tabletype_copy((const wasm_tabletype_t *)t)->base;
  }
  return &wasm_memorytype_copy((const wasm_memorytype_t *)t)->base;
}

void wasm_externtype_delete(wasm_externtype_t *t) {
  if (!t) return;
  switch (t->kind) {
  case WASM_EXTERN_FUNC: wasm_functype_delete((wasm_functype_t *)t); return;
  case WASM_EXTERN_GLOBAL: wasm_globaltype_delete((wasm_globaltype_t *)t); return;
  case WASM_EXTERN_TABLE: wasm_tabletype_delete((wasm_tabletype_t *)t); return;
  }
  wasm_memorytype_delete((wasm_memorytype_t *)t);
}

wasm_functype_t *capi_functype(const struct gw_extern_type *type) {
  wasm_valtype_vec_t params, results;
  wasm_valtype_vec_new_uninitialized(&params, type->n_params);
  wasm_valtype_vec_new_uninitialized(&results, type->n_results);
  for (uint32_t i = 0; i < type->n_params; i++) params.data[i] = valtype(gw_func_param(type->func, i));
  for (uint32_t i = 0; i < type->n_results; i++) results.data[i] = valtype(gw_func_result(type->func, i));
  return wasm_functype_new(&params, &results);
}

static uint32_t cut(uint64_t n) { return n < wasm_limits_max_default ? (uint32_t)n : wasm_limits_max_default; }

/* A tag, which wasm.h does not know, is told as the function that it is thrown by. */
wasm_externtype_t *capi_externtype(const struct gw_extern_type *type) {
  wasm_limits_t limits = {.min = cut(type->min), .max = cut(type->max)};
  switch (type->kind) {
  case GW_EXTERN_GLOBAL: return &wasm_globaltype_new(valtype(type->type), type->is_mutable ? WASM_VAR : WASM_CONST)->base;
  case GW_EXTERN_TABLE: return &wasm_tabletype_new(valtype(type->type), &limits)->base;
  case GW_EXTERN_MEMORY: return &wasm_memorytype_new(&limits)->base;
  case GW_EXTERN_FUNC:
  case GW_EXTERN_HOST_FUNC:
  case GW_EXTERN_TAG: break;
  }
  return &capi_functype(type)->base;
}

/* --- imports and exports
 * --------------------------------------------------------------------------------------------------------- */

wasm_importtype_t *wasm_importtype_new(wasm_name_t *module, wasm_name_t *name, wasm_externtype_t *type) {
  wasm_importtype_t *t = heap_new(1, sizeof *t);
  *t = (wasm_importtype_t){.module = *module, .name = *name, .type = type};
  return t;
}

const wasm_name_t *wasm_importtype_module(const wasm_importtype_t *t) { return &t->module; }

const wasm_name_t *wasm_importtype_name(const wasm_importtype_t *t) { return &t->name; }

const wasm_externtype_t *wasm_importtype_type(const wasm_importtype_t *t) { return t->type; }

wasm_importtype_t *wasm_importtype_copy(const wasm_importtype_t *t) {
  wasm_name_t module, name;
  wasm_name_copy(&module, &t->module);
  wasm_name_copy(&name, &t->name);
  return wasm_importtype_new(&module, &name, wasm_externtype_copy(t->type));
}

void wasm_importtype_delete(wasm_importtype_t *t) {
  if (!t) return;
  wasm_name_delete(&t->module);
  wasm_name_delete(&t->name);
  wasm_externtype_delete(t->type);
  free(t);
}

wasm_exporttype_t *wasm_exporttype_new(wasm_name_t *name, wasm_externtype_t *type) {
  wasm_exporttype_t *t = heap_new(1, sizeof *t);
  *t = (wasm_exporttype_t){.name = *name, .type = type};
  return t;
}

const wasm_name_t *wasm_exporttype_name(const wasm_exporttype_t *t) { return &t->name; }

const wasm_externtype_t *wasm_exporttype_type(const wasm_exporttype_t *t) { return t->type; }

wasm_exporttype_t *wasm_exporttype_copy(const wasm_exporttype_t *t) {
  wasm_name_t name;
  wasm_name_copy(&name, &t->name);
  return wasm_exporttype_new(&name, wasm_externtype_copy(t->type));
}

void wasm_exporttype_delete(wasm_exporttype_t *t) {
  if (!t) return;
  wasm_name_delete(&t->name);
  wasm_externtype_delete(t->type);
  free(t);
}
