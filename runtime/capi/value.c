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

enum gw_type capi_type(wasm_valkind_t kind) {
  if (kind <= WASM_F64) return (enum gw_type)kind;
  return kind == WASM_FUNCREF ? GW_FUNCREF : GW_EXTERNREF;
}

_Static_assert(WASM_I32 == (int)GW_I32 && WASM_F64 == (int)GW_F64, "numbers are the same");

static bool ref_fits(const wasm_store_t *store, const wasm_ref_t *ref, bool is_func) {
  return !ref || (ref->ref.store == store && (!is_func || ref->ref.kind == CAPI_FUNC));
}

bool capi_from_ref(wasm_store_t *store, wasm_ref_t *ref, bool is_func, union gw_value *out) {
  if (!ref_fits(store, ref, is_func)) return false;
  void *thing = ref && is_func ? (void *)capi_func_ref((wasm_func_t *)ref) : ref;
  if (ref && !thing) return false;
  if (ref && !is_func) ref->ref.has_escaped = true;
  *out = (union gw_value){.ref = thing};
  return true;
}

wasm_ref_t *capi_to_ref(wasm_store_t *store, bool is_func, void *ref) {
  if (!ref) return NULL;
  return is_func ? (wasm_ref_t *)capi_func(store, ref) : capi_copy(ref);
}

bool capi_fits(const wasm_store_t *store, enum gw_type type, const wasm_val_t *v) {
  if (type != GW_FUNCREF && type != GW_EXTERNREF) return type <= GW_F64 && v->kind == (wasm_valkind_t)type;
  return wasm_valkind_is_ref(v->kind) && ref_fits(store, v->of.ref, type == GW_FUNCREF);
}

bool capi_from_val(wasm_store_t *store, enum gw_type type, const wasm_val_t *v, union gw_value *out) {
  if (!capi_fits(store, type, v)) return false;
  switch (type) {
  case GW_I32: *out = (union gw_value){.i32 = v->of.i32}; return true;
  case GW_I64: *out = (union gw_value){.i64 = v->of.i64}; return true;
  case GW_F32: *out = (union gw_value){.f32 = v->of.f32}; return true;
  case GW_F64: *out = (union gw_value){.f64 = v->of.f64}; return true;
  default: return capi_from_ref(store, v->of.ref, type == GW_FUNCREF, out);
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
