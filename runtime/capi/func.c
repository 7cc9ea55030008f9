/* Functions: those of modules, and callbacks. */
#include "base/heap.h"
#include "runtime/capi/capi.h"

#include <stdlib.h>

enum { FEW = 16 };

/* --- callbacks ------------------------------------------------------------------------------------------------------------ */

static char letter(wasm_valkind_t kind) {
  static const char numbers[] = "iIfF";
  if (kind <= WASM_F64) return numbers[kind];
  return kind == WASM_FUNCREF ? 'R' : 'r';
}

/* "results_params" */
static char *make_signature(const wasm_functype_t *type) {
  char *text = heap_new(1, type->params.size + type->results.size + 2), *at = text;
  for (size_t i = 0; i < type->results.size; i++) *at++ = letter(type->results.data[i]->kind);
  *at++ = '_';
  for (size_t i = 0; i < type->params.size; i++) *at++ = letter(type->params.data[i]->kind);
  return text;
}

static wasm_trap_t *call_callback(const wasm_func_t *func, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  return func->plain ? func->plain(args, results) : func->with_env(func->env, args, results);
}

static wasm_trap_t *refuse(wasm_store_t *store, const char *why) {
  wasm_message_t message;
  wasm_name_new_from_string_nt(&message, why);
  wasm_trap_t *trap = wasm_trap_new(store, &message);
  wasm_name_delete(&message);
  return trap;
}

static wasm_trap_t *set_results(const wasm_func_t *func, const wasm_val_vec_t *results, union gw_value *values) {
  const wasm_valtype_vec_t *types = &func->type->results;
  for (size_t i = 0; i < types->size; i++)
    if (!capi_from_val(func->ref.store, capi_type(types->data[i]->kind), &results->data[i], &values[i]))
      return refuse(func->ref.store, "a callback gave a result of another type");
  return NULL;
}

/* From the guest. Its trap waits in the store until whoever called the guest takes it. */
static enum gw_trap call_from_guest(struct gw_instance *caller, void *env, union gw_value *values) {
  wasm_func_t *func = env;
  wasm_val_vec_t args, results;
  wasm_val_vec_new_uninitialized(&args, func->type->params.size);
  wasm_val_vec_new_uninitialized(&results, func->type->results.size);
  for (size_t i = 0; i < args.size; i++)
    capi_to_val(func->ref.store, capi_type(func->type->params.data[i]->kind), values[i], &args.data[i]);
  for (size_t i = 0; i < results.size; i++) results.data[i].kind = func->type->results.data[i]->kind;
  wasm_trap_t *trap = call_callback(func, &args, &results);
  if (!trap) trap = set_results(func, &results, values);
  wasm_val_vec_delete(&args);
  wasm_val_vec_delete(&results);
  if (!trap) return GW_TRAP_NONE;
  if (func->ref.store->thrown) wasm_trap_delete(func->ref.store->thrown);
  func->ref.store->thrown = trap;
  gw_instance_fail(caller, "%s", trap->message.data);
  return trap->code ? trap->code : GW_TRAP_HOST;
}

static wasm_func_t *create(wasm_store_t *store, const wasm_functype_t *type) {
  wasm_func_t *func = capi_new(store, CAPI_FUNC, sizeof *func, NULL);
  func->type = wasm_functype_copy(type);
  func->signature = make_signature(type);
  func->host = (struct gw_host_func){.module = "", .name = "", .signature = func->signature, .fn = call_from_guest};
  return func;
}

wasm_func_t *wasm_func_new(wasm_store_t *store, const wasm_functype_t *type, wasm_func_callback_t callback) {
  wasm_func_t *func = create(store, type);
  func->plain = callback;
  return func;
}

wasm_func_t *wasm_func_new_with_env(wasm_store_t *store, const wasm_functype_t *type, wasm_func_callback_with_env_t callback,
                                    void *env, void (*finalizer)(void *)) {
  wasm_func_t *func = create(store, type);
  func->with_env = callback;
  func->env = env;
  func->finish = finalizer;
  return func;
}

void capi_func_clear(wasm_func_t *func) {
  if (func->finish) func->finish(func->env);
  wasm_functype_delete(func->type);
  free(func->signature);
}

struct func_ref *capi_func_ref(wasm_func_t *func) {
  wasm_store_t *store = func->ref.store;
  if (func->func) return func->func;
  func->func = gw_func_create(store->store, func->signature, call_from_guest, func, NULL, capi_error(store));
  if (func->func) capi_stand_for(&func->ref, func->func);
  return func->func;
}

/* --- any function ----------------------------------------------------------------------------------------------------------- */

wasm_func_t *capi_func(wasm_store_t *store, struct func_ref *ref) {
  wasm_func_t *func = capi_find(store, ref);
  if (func) return func;
  func = capi_new(store, CAPI_FUNC, sizeof *func, ref);
  func->func = ref;
  return func;
}

static struct gw_extern_type describe(const wasm_func_t *func) {
  struct gw_extern it = {.kind = GW_EXTERN_FUNC, .of.func = func->func};
  struct gw_extern_type type;
  gw_extern_type(&it, &type);
  return type;
}

wasm_functype_t *wasm_func_type(const wasm_func_t *func) {
  if (func->type) return wasm_functype_copy(func->type);
  struct gw_extern_type type = describe(func);
  return capi_functype(&type);
}

size_t wasm_func_param_arity(const wasm_func_t *func) { return func->type ? func->type->params.size : describe(func).n_params; }

size_t wasm_func_result_arity(const wasm_func_t *func) {
  return func->type ? func->type->results.size : describe(func).n_results;
}

static wasm_trap_t *refuse_argument(wasm_store_t *store) { return refuse(store, "an argument is of another type"); }

static bool take_args(const wasm_func_t *func, const struct gw_extern_type *type, const wasm_val_vec_t *args,
                      union gw_value *values) {
  for (uint32_t i = 0; i < type->n_params; i++)
    if (!capi_from_val(func->ref.store, gw_func_param(type->func, i), &args->data[i], &values[i])) return false;
  return true;
}

/* A callback, without a detour through the guest. */
static wasm_trap_t *call_directly(const wasm_func_t *func, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  const wasm_valtype_vec_t *types = &func->type->params;
  for (size_t i = 0; i < types->size; i++)
    if (!capi_fits(func->ref.store, capi_type(types->data[i]->kind), &args->data[i])) return refuse_argument(func->ref.store);
  return call_callback(func, args, results);
}

static wasm_trap_t *call_guest(const wasm_func_t *func, const struct gw_extern_type *type, union gw_value *values,
                               wasm_val_vec_t *results) {
  wasm_store_t *store = func->ref.store;
  if (!gw_call(store->store, func->func, values, capi_error(store))) return capi_trap(store);
  for (uint32_t i = 0; i < type->n_results; i++) capi_to_val(store, gw_func_result(type->func, i), values[i], &results->data[i]);
  return NULL;
}

wasm_trap_t *wasm_func_call(const wasm_func_t *func, const wasm_val_vec_t *args, wasm_val_vec_t *results) {
  union gw_value few[FEW], *values = few;
  size_t n_params = wasm_func_param_arity(func), n_results = wasm_func_result_arity(func);
  if ((args ? args->size : 0) < n_params || (results ? results->size : 0) < n_results)
    return refuse(func->ref.store, "too few arguments, or too little room for results");
  if (func->type) return call_directly(func, args, results);
  struct gw_extern_type type = describe(func);
  size_t n = n_params > n_results ? n_params : n_results;
  if (n > FEW) values = heap_new(n, sizeof *values);
  wasm_trap_t *trap =
      take_args(func, &type, args, values) ? call_guest(func, &type, values, results) : refuse_argument(func->ref.store);
  if (values != few) free(values);
  return trap;
}
