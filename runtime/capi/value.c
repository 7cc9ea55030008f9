/* Values, and the references among them. */
#include "runtime/capi/capi.h"

void wasm_val_copy(wasm_val_t *out, const wasm_val_t *v) {
  *out = *v;
  if (wasm_valkind_is_ref(v->kind)) out->of.ref = v->of.ref ? wasm_ref_copy(v->of.ref) : NULL;
}

void wasm_val_delete(wasm_val_t *v) {
  if (!wasm_valkind_is_ref(v->kind)) return;
  wasm_ref_delete(v->of.ref);
  v->of.ref = NULL;
}

void *capi_from_ref(wasm_ref_t *ref, bool is_func) {
  if (!ref) return NULL;
  if (is_func) return ref->ref.kind == CAPI_FUNC ? capi_func_ref((wasm_func_t *)ref) : NULL;
  ref->ref.has_escaped = true;
  return ref;
}

wasm_ref_t *capi_to_ref(wasm_store_t *store, bool is_func, void *ref) {
  if (!ref) return NULL;
  return is_func ? (wasm_ref_t *)capi_func(store, ref) : capi_copy(ref);
}

union gw_value capi_from_val(const wasm_val_t *v) {
  switch (v->kind) {
  case WASM_I32: return (union gw_value){.i32 = v->of.i32};
  case WASM_I64: return (union gw_value){.i64 = v->of.i64};
  case WASM_F32: return (union gw_value){.f32 = v->of.f32};
  case WASM_F64: return (union gw_value){.f64 = v->of.f64};
  default: return (union gw_value){.ref = capi_from_ref(v->of.ref, v->kind == WASM_FUNCREF)};
  }
}

void capi_to_val(wasm_store_t *store, enum gw_type type, union gw_value value, wasm_val_t *out) {
  switch (type) {
  case GW_I32: *out = (wasm_val_t){.kind = WASM_I32, .of.i32 = value.i32}; return;
  case GW_I64: *out = (wasm_val_t){.kind = WASM_I64, .of.i64 = value.i64}; return;
  case GW_F32: *out = (wasm_val_t){.kind = WASM_F32, .of.f32 = value.f32}; return;
  case GW_F64: *out = (wasm_val_t){.kind = WASM_F64, .of.f64 = value.f64}; return;
  case GW_FUNCREF: *out = (wasm_val_t){.kind = WASM_FUNCREF, .of.ref = capi_to_ref(store, true, value.ref)}; return;
  case GW_EXTERNREF: *out = (wasm_val_t){.kind = WASM_EXTERNREF, .of.ref = capi_to_ref(store, false, value.ref)}; return;
  case GW_V128:
  case GW_REF: *out = (wasm_val_t){.kind = WASM_EXTERNREF}; return; /* nothing that wasm.h has a word for */
  }
}
