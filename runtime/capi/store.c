/* Engines, stores, and the objects in them. */
#include "base/heap.h"
#include "runtime/capi/capi.h"

#include <stdlib.h>

/* --- engines ------------------------------------------------------------------------------------------------------------ */

wasm_config_t *wasm_config_new(void) {
  wasm_config_t *config = heap_new(1, sizeof *config);
  config->options = (struct gw_engine_options){.opt_level = 2, .gas = true};
  return config;
}

void wasm_config_delete(wasm_config_t *config) { free(config); }

struct gw_engine_options *gw_wasm_config_options(wasm_config_t *config) {
  return &config->options;
}

void gw_wasm_config_set_tier(wasm_config_t *config, enum gw_tier tier) { config->tier = tier; }

wasm_engine_t *wasm_engine_new(void) { return wasm_engine_new_with_config(wasm_config_new()); }

wasm_engine_t *wasm_engine_new_with_config(wasm_config_t *config) {
  struct gw_engine *made = gw_engine_create(&config->options, NULL);
  wasm_engine_t *engine = NULL;
  if (made) {
    engine = heap_new(1, sizeof *engine);
    engine->owners = 1;
    engine->engine = made;
    engine->tier = config->tier;
  }
  wasm_config_delete(config);
  return engine;
}

struct gw_engine *gw_wasm_engine(wasm_engine_t *engine) {
  return engine->engine;
}

void capi_engine_retain(wasm_engine_t *engine) { atomic_fetch_add(&engine->owners, 1); }

void capi_engine_release(wasm_engine_t *engine) {
  if (atomic_fetch_sub(&engine->owners, 1) != 1) return;
  gw_engine_destroy(engine->engine);
  free(engine);
}

void wasm_engine_delete(wasm_engine_t *engine) {
  if (engine) capi_engine_release(engine);
}

/* --- stores --------------------------------------------------------------------------------------------------------------- */

wasm_store_t *wasm_store_new(wasm_engine_t *engine) {
  struct gw_store *made = gw_store_create(engine->engine, &(struct gw_store_options){.tier = engine->tier}, NULL);
  if (!made) return NULL;
  wasm_store_t *store = heap_new(1, sizeof *store);
  store->owners = 1;
  store->engine = engine;
  store->store = made;
  capi_engine_retain(engine);
  return store;
}

struct gw_store *gw_wasm_store(wasm_store_t *store) {
  return store->store;
}

const struct gw_error *gw_wasm_last_error(const wasm_store_t *store) { return &store->last_error; }

/* What it is made of; its memory stays. */
static void clear(struct capi_ref *ref) {
  if (ref->finalizer) ref->finalizer(ref->info);
  ref->finalizer = NULL;
  if (ref->kind == CAPI_FUNC) capi_func_clear((wasm_func_t *)ref);
  if (ref->kind == CAPI_TRAP) capi_trap_clear((wasm_trap_t *)ref);
  if (ref->kind != CAPI_MODULE) return;
  gw_module_release(((wasm_module_t *)ref)->module);
  capi_engine_release(((wasm_module_t *)ref)->engine);
}

/* Finalizers may look at what is left, so memory is freed behind the last of them. */
static void destroy(wasm_store_t *store) {
  wasm_engine_t *engine = store->engine;
  for (struct capi_ref *r = store->objects; r; r = r->next) clear(r);
  gw_store_destroy(store->store);
  for (struct capi_ref *r = store->objects, *next; r; r = next) {
    next = r->next;
    free(r);
  }
  free(store->slots);
  free(store);
  capi_engine_release(engine);
}

static void release_store(wasm_store_t *store) {
  if (--store->owners == 0) destroy(store);
}

void wasm_store_delete(wasm_store_t *store) {
  if (store) release_store(store);
}

/* --- which object stands for which thing ---------------------------------------------------------------------------------- */

static struct capi_ref **slot_of(wasm_store_t *store, const void *thing) {
  size_t mask = store->n_slots - 1;
  size_t i = (size_t)((uintptr_t)thing / 16 * 0x9e3779b97f4a7c15) >> 20 & mask;
  while (store->slots[i] && store->slots[i]->thing != thing) i = (i + 1) & mask;
  return &store->slots[i];
}

static void grow_slots(wasm_store_t *store) {
  struct capi_ref **old = store->slots;
  size_t n = store->n_slots;
  store->n_slots = n ? 2 * n : 64;
  store->slots = heap_new(store->n_slots, sizeof(struct capi_ref *));
  for (size_t i = 0; i < n; i++)
    if (old[i]) *slot_of(store, old[i]->thing) = old[i];
  free(old);
}

void capi_stand_for(struct capi_ref *ref, const void *thing) {
  wasm_store_t *store = ref->store;
  if (2 * store->n_things >= store->n_slots) grow_slots(store);
  ref->thing = thing;
  *slot_of(store, thing) = ref;
  store->n_things++;
}

void *capi_find(wasm_store_t *store, const void *thing) { return store->n_slots ? capi_copy(*slot_of(store, thing)) : NULL; }

/* --- objects ------------------------------------------------------------------------------------------------------------------
 */

void *capi_new(wasm_store_t *store, enum capi_kind kind, size_t size, const void *thing) {
  struct capi_ref *ref = heap_new(1, size);
  ref->kind = kind;
  ref->handles = 1;
  ref->store = store;
  ref->next = store->objects;
  store->objects = ref;
  store->owners++;
  if (thing) capi_stand_for(ref, thing);
  return ref;
}

void *capi_copy(struct capi_ref *ref) {
  if (!ref) return NULL;
  ref->handles++;
  ref->store->owners++;
  return ref;
}

static void unlink_object(struct capi_ref *ref) {
  struct capi_ref **at = &ref->store->objects;
  while (*at != ref) at = &(*at)->next;
  *at = ref->next;
}

void capi_delete(struct capi_ref *ref) {
  if (!ref) return;
  wasm_store_t *store = ref->store;
  bool is_alone = ref->kind == CAPI_TRAP || ref->kind == CAPI_MODULE || ref->kind == CAPI_FOREIGN;
  if (--ref->handles == 0 && is_alone && !ref->has_escaped) {
    unlink_object(ref);
    clear(ref);
    free(ref);
  }
  release_store(store);
}

/* --- the same for every kind of reference -------------------------------------------------------------------------------------
 */

#define REFERENCE(name)                                                                                        \
  void wasm_##name##_delete(wasm_##name##_t *x) { capi_delete((struct capi_ref *)x); }                         \
  wasm_##name##_t *wasm_##name##_copy(const wasm_##name##_t *x) { return capi_copy((struct capi_ref *)x); }    \
  bool wasm_##name##_same(const wasm_##name##_t *x, const wasm_##name##_t *y) { return x == y; }               \
  void *wasm_##name##_get_host_info(const wasm_##name##_t *x) { return ((const struct capi_ref *)x)->info; }   \
  void wasm_##name##_set_host_info(wasm_##name##_t *x, void *info) {                                           \
    wasm_##name##_set_host_info_with_finalizer(x, info, NULL);                                                 \
  }                                                                                                            \
  void wasm_##name##_set_host_info_with_finalizer(wasm_##name##_t *x, void *info, void (*finalizer)(void *)) { \
    ((struct capi_ref *)x)->info = info;                                                                       \
    ((struct capi_ref *)x)->finalizer = finalizer;                                                             \
  }

static bool is_kind(const wasm_ref_t *ref, enum capi_kind kind) { return ref && ref->ref.kind == kind; }

static bool is_extern(const wasm_ref_t *ref) { return ref && ref->ref.kind <= CAPI_MEMORY; }

#define KIND(name, test)                                                                                   \
  REFERENCE(name)                                                                                          \
  wasm_ref_t *wasm_##name##_as_ref(wasm_##name##_t *x) { return (wasm_ref_t *)x; }                         \
  const wasm_ref_t *wasm_##name##_as_ref_const(const wasm_##name##_t *x) { return (const wasm_ref_t *)x; } \
  wasm_##name##_t *wasm_ref_as_##name(wasm_ref_t *ref) { return test ? (wasm_##name##_t *)ref : NULL; }    \
  const wasm_##name##_t *wasm_ref_as_##name##_const(const wasm_ref_t *ref) { return test ? (const wasm_##name##_t *)ref : NULL; }

REFERENCE(ref)
KIND(func, is_kind(ref, CAPI_FUNC))
KIND(global, is_kind(ref, CAPI_GLOBAL))
KIND(table, is_kind(ref, CAPI_TABLE))
KIND(memory, is_kind(ref, CAPI_MEMORY))
KIND(instance, is_kind(ref, CAPI_INSTANCE))
KIND(module, is_kind(ref, CAPI_MODULE))
KIND(trap, is_kind(ref, CAPI_TRAP))
KIND(foreign, is_kind(ref, CAPI_FOREIGN))
KIND(extern, is_extern(ref))

#define EXTERN(name, its_kind)                                                                                      \
  wasm_extern_t *wasm_##name##_as_extern(wasm_##name##_t *x) { return (wasm_extern_t *)x; }                         \
  const wasm_extern_t *wasm_##name##_as_extern_const(const wasm_##name##_t *x) { return (const wasm_extern_t *)x; } \
  wasm_##name##_t *wasm_extern_as_##name(wasm_extern_t *x) {                                                        \
    return x && x->ref.kind == its_kind ? (wasm_##name##_t *)x : NULL;                                              \
  }                                                                                                                 \
  const wasm_##name##_t *wasm_extern_as_##name##_const(const wasm_extern_t *x) {                                    \
    return x && x->ref.kind == its_kind ? (const wasm_##name##_t *)x : NULL;                                        \
  }

EXTERN(func, CAPI_FUNC)
EXTERN(global, CAPI_GLOBAL)
EXTERN(table, CAPI_TABLE)
EXTERN(memory, CAPI_MEMORY)

wasm_foreign_t *wasm_foreign_new(wasm_store_t *store) { return capi_new(store, CAPI_FOREIGN, sizeof(wasm_foreign_t), NULL); }
