/* Globals, tables and memories. */
#include "runtime/capi/capi.h"

static const char *type_text(wasm_valkind_t kind) {
  switch (kind) {
  case WASM_I32: return "i32";
  case WASM_I64: return "i64";
  case WASM_F32: return "f32";
  case WASM_F64: return "f64";
  case WASM_FUNCREF: return "funcref";
  }
  return "externref";
}

static uint64_t most(const wasm_limits_t *limits) { return limits->max == wasm_limits_max_default ? UINT64_MAX : limits->max; }

static struct gw_extern_type describe(struct gw_extern it) {
  struct gw_extern_type type;
  gw_extern_type(&it, &type);
  return type;
}

/* --- globals
 * -------------------------------------------------------------------------------------------------------------------- */

static struct gw_global *global_of(const wasm_global_t *global) { return (struct gw_global *)(void *)global->ref.thing; }

static enum gw_type content(const wasm_global_t *global) {
  return describe((struct gw_extern){.kind = GW_EXTERN_GLOBAL, .of.global = global_of(global)}).type;
}

wasm_global_t *wasm_global_new(wasm_store_t *store, const wasm_globaltype_t *type, const wasm_val_t *value) {
  union gw_value v;
  bool is_mutable = type->mutability == WASM_VAR;
  if (!capi_from_val(store, capi_type(type->content->kind), value, &v)) return NULL;
  struct gw_global *made = gw_global_create(store->store, type_text(type->content->kind), is_mutable, v);
  return made ? capi_new(store, CAPI_GLOBAL, sizeof(wasm_global_t), made) : NULL;
}

wasm_globaltype_t *wasm_global_type(const wasm_global_t *global) {
  return wasm_externtype_as_globaltype(wasm_extern_type(wasm_global_as_extern_const(global)));
}

void wasm_global_get(const wasm_global_t *global, wasm_val_t *out) {
  capi_to_val(global->ref.store, content(global), gw_global_get(global_of(global)), out);
}

void wasm_global_set(wasm_global_t *global, const wasm_val_t *value) {
  union gw_value v;
  if (capi_from_val(global->ref.store, content(global), value, &v)) gw_global_set(global_of(global), v);
}

/* --- tables
 * ----------------------------------------------------------------------------------------------------------------------- */

static struct gw_table *table_of(const wasm_table_t *table) { return (struct gw_table *)(void *)table->ref.thing; }

static bool holds_funcs(struct gw_table *table) {
  return describe((struct gw_extern){.kind = GW_EXTERN_TABLE, .of.table = table}).type != GW_EXTERNREF;
}

wasm_table_t *wasm_table_new(wasm_store_t *store, const wasm_tabletype_t *type, wasm_ref_t *init) {
  const wasm_limits_t *l = &type->limits;
  union gw_value entry;
  struct gw_table *made = gw_table_create(store->store, type_text(type->element->kind), l->min, most(l), capi_error(store));
  if (!made || !capi_from_ref(store, init, holds_funcs(made), &entry)) return NULL;
  for (uint32_t i = 0; init && i < l->min; i++) gw_table_set(made, i, entry);
  return capi_new(store, CAPI_TABLE, sizeof(wasm_table_t), made);
}

static bool to_entry(const wasm_table_t *table, wasm_ref_t *ref, union gw_value *out) {
  return capi_from_ref(table->ref.store, ref, holds_funcs(table_of(table)), out);
}

wasm_tabletype_t *wasm_table_type(const wasm_table_t *table) {
  return wasm_externtype_as_tabletype(wasm_extern_type(wasm_table_as_extern_const(table)));
}

wasm_ref_t *wasm_table_get(const wasm_table_t *table, wasm_table_size_t index) {
  union gw_value entry;
  if (!gw_table_get(table_of(table), index, &entry)) return NULL;
  return capi_to_ref(table->ref.store, holds_funcs(table_of(table)), entry.ref);
}

bool wasm_table_set(wasm_table_t *table, wasm_table_size_t index, wasm_ref_t *ref) {
  union gw_value entry;
  return to_entry(table, ref, &entry) && gw_table_set(table_of(table), index, entry);
}

wasm_table_size_t wasm_table_size(const wasm_table_t *table) { return (wasm_table_size_t)gw_table_size(table_of(table)); }

bool wasm_table_grow(wasm_table_t *table, wasm_table_size_t delta, wasm_ref_t *init) {
  union gw_value entry;
  return to_entry(table, init, &entry) && gw_table_grow(table_of(table), delta, entry);
}

/* --- memories
 * --------------------------------------------------------------------------------------------------------------------- */

static struct gw_memory *memory_of(const wasm_memory_t *memory) { return (struct gw_memory *)(void *)memory->ref.thing; }

wasm_memory_t *wasm_memory_new(wasm_store_t *store, const wasm_memorytype_t *type) {
  const wasm_limits_t *l = &type->limits;
  struct gw_memory *made = gw_memory_create(store->store, l->min, most(l), capi_error(store));
  return made ? capi_new(store, CAPI_MEMORY, sizeof(wasm_memory_t), made) : NULL;
}

wasm_memorytype_t *wasm_memory_type(const wasm_memory_t *memory) {
  return wasm_externtype_as_memorytype(wasm_extern_type(wasm_memory_as_extern_const(memory)));
}

byte_t *wasm_memory_data(wasm_memory_t *memory) {
  return gw_memory_data(memory_of(memory), 0, gw_memory_size(memory_of(memory)));
}

size_t wasm_memory_data_size(const wasm_memory_t *memory) { return gw_memory_size(memory_of(memory)); }

wasm_memory_pages_t wasm_memory_size(const wasm_memory_t *memory) {
  return (wasm_memory_pages_t)gw_memory_pages(memory_of(memory));
}

bool wasm_memory_grow(wasm_memory_t *memory, wasm_memory_pages_t delta) { return gw_memory_grow(memory_of(memory), delta); }
