/* Modules, instances, and what they export. */
#include "base/error.h"
#include "base/heap.h"
#include "runtime/capi/capi.h"

#include <stdlib.h>

/* --- modules ---------------------------------------------------------------------------------------------------------------- */

/* Takes the module over. */
static wasm_module_t *create(wasm_store_t *store, struct gw_module *made) {
  if (!made) return NULL;
  wasm_module_t *module = capi_new(store, CAPI_MODULE, sizeof *module, NULL);
  module->engine = store->engine;
  module->module = made;
  capi_engine_retain(store->engine);
  return module;
}

wasm_module_t *wasm_module_new(wasm_store_t *store, const wasm_byte_vec_t *binary) {
  return create(store, gw_module_create(store->engine->engine, binary->data, binary->size, capi_error(store)));
}

bool wasm_module_validate(wasm_store_t *store, const wasm_byte_vec_t *binary) {
  struct gw_module *module = gw_module_create(store->engine->engine, binary->data, binary->size, capi_error(store));
  gw_module_release(module);
  return module != NULL;
}

struct gw_module *gw_wasm_module(wasm_module_t *module) {
  return module->module;
}

wasm_shared_module_t *wasm_module_share(const wasm_module_t *module) {
  wasm_shared_module_t *shared = heap_new(1, sizeof *shared);
  shared->engine = module->engine;
  shared->module = gw_module_retain(module->module);
  capi_engine_retain(module->engine);
  return shared;
}

wasm_module_t *wasm_module_obtain(wasm_store_t *store, const wasm_shared_module_t *shared) {
  if (shared->engine != store->engine) return NULL;
  return create(store, gw_module_retain(shared->module));
}

void wasm_shared_module_delete(wasm_shared_module_t *shared) {
  if (!shared) return;
  gw_module_release(shared->module);
  capi_engine_release(shared->engine);
  free(shared);
}

void wasm_module_imports(const wasm_module_t *module, wasm_importtype_vec_t *out) {
  struct gw_named_type t;
  wasm_name_t names[2];
  uint32_t n = 0;
  while (gw_module_import(module->module, n, &t)) n++;
  wasm_importtype_vec_new_uninitialized(out, n);
  for (uint32_t i = 0; i < n; i++) {
    gw_module_import(module->module, i, &t);
    wasm_name_new(&names[0], t.module_size, t.module);
    wasm_name_new(&names[1], t.name_size, t.name);
    out->data[i] = wasm_importtype_new(&names[0], &names[1], capi_externtype(&t.type));
  }
}

void wasm_module_exports(const wasm_module_t *module, wasm_exporttype_vec_t *out) {
  struct gw_named_type t;
  wasm_name_t name;
  uint32_t n = 0;
  while (gw_module_export(module->module, n, &t)) n++;
  wasm_exporttype_vec_new_uninitialized(out, n);
  for (uint32_t i = 0; i < n; i++) {
    gw_module_export(module->module, i, &t);
    wasm_name_new(&name, t.name_size, t.name);
    out->data[i] = wasm_exporttype_new(&name, capi_externtype(&t.type));
  }
}

void wasm_module_serialize(const wasm_module_t *module, wasm_byte_vec_t *out) {
  size_t size = 0;
  void *bytes = gw_module_make_artifact(module->module, NULL, &size, NULL);
  wasm_byte_vec_new(out, bytes ? size : 0, bytes);
  free(bytes);
}

wasm_module_t *wasm_module_deserialize(wasm_store_t *store, const wasm_byte_vec_t *bytes) {
  return create(store, gw_module_load_artifact(store->engine->engine, bytes->data, bytes->size, capi_error(store)));
}

/* --- externals ----------------------------------------------------------------------------------------------------------------
 */

wasm_externkind_t wasm_extern_kind(const wasm_extern_t *it) { return (wasm_externkind_t)it->ref.kind; }

_Static_assert(CAPI_FUNC == (int)WASM_EXTERN_FUNC && CAPI_MEMORY == (int)WASM_EXTERN_MEMORY, "kinds are the same");

/* What it is to the engine. */
static struct gw_extern unwrap(const wasm_extern_t *it) {
  void *thing = (void *)it->ref.thing;
  const wasm_func_t *func = (const wasm_func_t *)it;
  switch (it->ref.kind) {
  case CAPI_GLOBAL: return (struct gw_extern){.kind = GW_EXTERN_GLOBAL, .of.global = thing};
  case CAPI_TABLE: return (struct gw_extern){.kind = GW_EXTERN_TABLE, .of.table = thing};
  case CAPI_MEMORY: return (struct gw_extern){.kind = GW_EXTERN_MEMORY, .of.memory = thing};
  default: break;
  }
  if (!func->type) return (struct gw_extern){.kind = GW_EXTERN_FUNC, .of.func = func->func};
  return (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = &func->host, .env = (void *)func}};
}

static wasm_extern_t *find_or_new(wasm_store_t *store, enum capi_kind kind, void *thing) {
  void *found = capi_find(store, thing);
  return found ? found : capi_new(store, kind, sizeof(wasm_extern_t), thing);
}

/* A tag, which wasm.h does not know: NULL. */
wasm_extern_t *capi_extern(wasm_store_t *store, const struct gw_extern *it) {
  switch (it->kind) {
  case GW_EXTERN_FUNC: return (wasm_extern_t *)capi_func(store, it->of.func);
  case GW_EXTERN_GLOBAL: return find_or_new(store, CAPI_GLOBAL, it->of.global);
  case GW_EXTERN_TABLE: return find_or_new(store, CAPI_TABLE, it->of.table);
  case GW_EXTERN_MEMORY: return find_or_new(store, CAPI_MEMORY, it->of.memory);
  case GW_EXTERN_HOST_FUNC:
  case GW_EXTERN_TAG: break;
  }
  return NULL;
}

wasm_externtype_t *wasm_extern_type(const wasm_extern_t *it) {
  if (it->ref.kind == CAPI_FUNC) return &wasm_func_type((const wasm_func_t *)it)->base;
  struct gw_extern thing = unwrap(it);
  struct gw_extern_type type;
  gw_extern_type(&thing, &type);
  return capi_externtype(&type);
}

/* --- instances
 * ------------------------------------------------------------------------------------------------------------------ */

/* Imports are asked for in the module's order. */
struct supply {
  const wasm_extern_vec_t *imports;
  size_t at;
};

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  struct supply *s = env;
  (void)import;
  if (!s->imports || s->at >= s->imports->size || !s->imports->data[s->at]) return false;
  *out = unwrap(s->imports->data[s->at++]);
  return true;
}

/* The engine says so of all but callbacks. */
static bool are_own(wasm_store_t *store, const wasm_extern_vec_t *imports) {
  for (size_t i = 0; imports && i < imports->size; i++)
    if (imports->data[i] && imports->data[i]->ref.store != store) return false;
  return true;
}

static struct gw_instance *make(wasm_store_t *store, const wasm_module_t *module, const wasm_extern_vec_t *imports) {
  struct supply supply = {.imports = imports};
  struct gw_error *err = capi_error(store);
  if (are_own(store, imports)) return gw_instance_create(store->store, module->module, resolve, &supply, err);
  error_set(err, GW_ERROR_USAGE, "an import belongs to another store");
  return NULL;
}

wasm_instance_t *wasm_instance_new(wasm_store_t *store, const wasm_module_t *module, const wasm_extern_vec_t *imports,
                                   wasm_trap_t **trap) {
  struct gw_instance *made = make(store, module, imports);
  if (made) return capi_new(store, CAPI_INSTANCE, sizeof(wasm_instance_t), made);
  wasm_trap_t *why = capi_trap(store);
  if (trap)
    *trap = why;
  else
    wasm_trap_delete(why);
  return NULL;
}

struct gw_instance *gw_wasm_instance(wasm_instance_t *instance) {
  return (struct gw_instance *)(void *)instance->ref.thing;
}

void wasm_instance_exports(const wasm_instance_t *instance, wasm_extern_vec_t *out) {
  struct gw_instance *it = gw_wasm_instance((wasm_instance_t *)instance);
  struct gw_extern found;
  uint32_t n = 0;
  while (gw_instance_export_at(it, n, &found)) n++;
  wasm_extern_vec_new_uninitialized(out, n);
  for (uint32_t i = 0; i < n; i++) {
    gw_instance_export_at(it, i, &found);
    out->data[i] = capi_extern(instance->ref.store, &found);
  }
}
