/* wasm.h over gasworks.h.
 *
 * Everything that belongs to a store is a struct capi_ref: a function, a table, an instance ... Handles are counted, and all
 * handles to one thing are one pointer: a table keeps which object stands for which thing of the engine's, so that identity is
 * that of the engine. What an engine's store makes lives as long as the store, so objects go with it, and the store goes with the
 * last handle. Traps, foreign objects that no guest has seen, and modules go with their own last handle. */
#ifndef RUNTIME_CAPI_CAPI_H
#define RUNTIME_CAPI_CAPI_H

#include "gasworks_wasm.h"

#include <stdatomic.h>

enum capi_kind { CAPI_FUNC, CAPI_GLOBAL, CAPI_TABLE, CAPI_MEMORY, CAPI_INSTANCE, CAPI_MODULE, CAPI_TRAP, CAPI_FOREIGN };

struct wasm_config_t {
  struct gw_engine_options options;
  enum gw_tier tier;
};

struct wasm_engine_t {
  atomic_size_t owners; /* its handle, stores and modules */
  struct gw_engine *engine;
  enum gw_tier tier;
};

/* First in every object. */
struct capi_ref {
  enum capi_kind kind;
  bool has_escaped; /* a guest may hold it: it stays until the store goes */
  size_t handles;
  wasm_store_t *store;
  struct capi_ref *next; /* of the store */
  const void *thing;     /* of the engine's, or NULL */
  void *info;
  void (*finalizer)(void *info);
};

struct wasm_store_t {
  size_t owners; /* its handle, and all handles to objects in it */
  wasm_engine_t *engine;
  struct gw_store *store;
  struct capi_ref *objects;
  struct capi_ref **slots; /* by thing: open addressing */
  size_t n_slots, n_things;
  wasm_trap_t *thrown; /* by a callback, on its way to who called the guest */
  struct gw_error last_error;
};

struct wasm_ref_t {
  struct capi_ref ref;
};

struct wasm_func_t {
  struct capi_ref ref;      /* thing: the struct func_ref */
  struct func_ref *func;    /* NULL until a callback is needed as a value */
  wasm_functype_t *type;    /* of a callback, or NULL */
  char *signature;          /* of a callback, as gasworks.h has it */
  struct gw_host_func host; /* to link it directly */
  wasm_func_callback_t plain;
  wasm_func_callback_with_env_t with_env;
  void *env;
  void (*finish)(void *env);
};

struct wasm_global_t {
  struct capi_ref ref;
};

struct wasm_table_t {
  struct capi_ref ref;
};

struct wasm_memory_t {
  struct capi_ref ref;
};

/* Any of the four: its kind says which. */
struct wasm_extern_t {
  struct capi_ref ref;
};

struct wasm_instance_t {
  struct capi_ref ref;
};

struct wasm_foreign_t {
  struct capi_ref ref;
};

struct wasm_module_t {
  struct capi_ref ref;
  wasm_engine_t *engine;
  struct gw_module *module; /* one reference */
};

struct wasm_shared_module_t {
  wasm_engine_t *engine;
  struct gw_module *module; /* one reference */
};

struct wasm_frame_t {
  wasm_instance_t *instance; /* borrowed from the store, or NULL */
  uint32_t func;
  size_t func_offset, module_offset;
};

struct wasm_trap_t {
  struct capi_ref ref;
  enum gw_trap code;
  wasm_message_t message;
  wasm_frame_vec_t trace;
};

/* Descriptions. An externtype is one of the four, each of which begins with its kind. */
struct wasm_externtype_t {
  wasm_externkind_t kind;
};

struct wasm_valtype_t {
  wasm_valkind_t kind;
};

struct wasm_functype_t {
  struct wasm_externtype_t base;
  wasm_valtype_vec_t params, results;
};

struct wasm_globaltype_t {
  struct wasm_externtype_t base;
  wasm_valtype_t *content;
  wasm_mutability_t mutability;
};

struct wasm_tabletype_t {
  struct wasm_externtype_t base;
  wasm_valtype_t *element;
  wasm_limits_t limits;
};

struct wasm_memorytype_t {
  struct wasm_externtype_t base;
  wasm_limits_t limits;
};

/* store.c */
void capi_engine_retain(wasm_engine_t *engine);
void capi_engine_release(wasm_engine_t *engine);
/* An object of `size` bytes with one handle. `thing` may be NULL; there must be no object for it yet. */
void *capi_new(wasm_store_t *store, enum capi_kind kind, size_t size, const void *thing);
/* The object that stands for `thing`, with one more handle, or NULL. */
void *capi_find(wasm_store_t *store, const void *thing);
/* One more handle; NULL is allowed. */
void *capi_copy(struct capi_ref *ref);
void capi_delete(struct capi_ref *ref);
/* From now on `thing` leads to the object. */
void capi_stand_for(struct capi_ref *ref, const void *thing);

/* type.c */
wasm_externtype_t *capi_externtype(const struct gw_extern_type *type);
wasm_functype_t *capi_functype(const struct gw_extern_type *type);

/* value.c */
enum gw_type capi_type(wasm_valkind_t kind);
/* Whether it is of that type, and if it is a reference, of this store. NULL is of every type of references. */
bool capi_fits(const wasm_store_t *store, enum gw_type type, const wasm_val_t *v);
/* False, with *out untouched: it does not fit, or is a callback that cannot be compiled. */
bool capi_from_val(wasm_store_t *store, enum gw_type type, const wasm_val_t *v, union gw_value *out);
void capi_to_val(wasm_store_t *store, enum gw_type type, union gw_value value, wasm_val_t *out);
/* What a reference is in the guest: a function where one is wanted, or the object itself. */
bool capi_from_ref(wasm_store_t *store, wasm_ref_t *ref, bool is_func, union gw_value *out);
wasm_ref_t *capi_to_ref(wasm_store_t *store, bool is_func, void *ref);

/* func.c */
struct func_ref *capi_func_ref(wasm_func_t *func); /* NULL: it cannot be compiled; see last_error */
wasm_func_t *capi_func(wasm_store_t *store, struct func_ref *ref);
void capi_func_clear(wasm_func_t *func);

/* trap.c: of store->last_error, or what a callback threw. */
wasm_trap_t *capi_trap(wasm_store_t *store);
void capi_trap_clear(wasm_trap_t *trap);

/* instance.c */
wasm_extern_t *capi_extern(wasm_store_t *store, const struct gw_extern *it);

/* Forgets the last error. */
static inline struct gw_error *capi_error(wasm_store_t *store) {
  store->last_error = (struct gw_error){.code = GW_ERROR_NONE};
  return &store->last_error;
}

#endif
