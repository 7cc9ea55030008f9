/* Modules and instances. Compiling and instantiating are work for libuv's pool: both may take long, and neither runs guest code,
 * as start functions belong to the first call. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* --- lifetimes ---------------------------------------------------------------------------------------------------- */

void module_retain(struct module *module) { module->n_owners++; }

void module_release(struct module *module) {
  if (--module->n_owners) return;
  gw_module_release(module->gw);
  engine_release(module->engine);
  free(module);
}

static void link_instance(struct instance *instance) {
  struct engine *engine = instance->module->engine;
  instance->next = engine->instances;
  instance->link = &engine->instances;
  if (instance->next) instance->next->link = &instance->next;
  engine->instances = instance;
}

void instance_release(struct instance *instance) {
  if (--instance->n_owners) return;
  struct module *module = instance->module;
  *instance->link = instance->next;
  if (instance->next) instance->next->link = instance->link;
  gw_store_destroy(instance->store);
  gw_exchange_destroy(instance->exchange);
  world_destroy(instance->world);
  state_release(instance->state);
  free(instance->space);
  for (size_t i = 0; i < instance->n_imports; i++) {
    struct host_import *import = &instance->imports[i];
    if (import->function) napi_delete_reference(module->engine->env, import->function);
    free((char *)import->func.module);
    free((char *)import->func.name);
    free(import->params);
    free(import->results);
  }
  free(instance->imports);
  free(instance->funcs);
  free(instance);
  module_release(module);
}

void instance_busy(struct instance *instance) {
  if (instance->n_imports && instance->self) napi_reference_ref(instance->module->engine->env, instance->self, NULL);
}

void instance_rest(struct instance *instance) {
  if (instance->n_imports && instance->self) napi_reference_unref(instance->module->engine->env, instance->self, NULL);
}

static void finalize_module(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  module_release(data);
}

/* What V8 does not see: a hint for its garbage collector. */
enum { INSTANCE_BYTES = 64 << 10 };

static void finalize_instance(napi_env env, void *data, void *hint) {
  (void)hint;
  int64_t total;
  struct instance *instance = data;
  instance->is_closed = true;
  napi_delete_reference(env, instance->self);
  instance->self = NULL;
  napi_adjust_external_memory(env, -INSTANCE_BYTES, &total);
  instance_release(instance);
}

static void finalize_plan(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  struct plan *plan = data;
  free(plan->name);
  free(plan);
}

/* --- work on libuv's pool ------------------------------------------------------------------------------------------ */

struct job {
  napi_async_work work;
  napi_deferred deferred;
  napi_ref bytes; /* keeps `data` */
  const void *data;
  size_t size;
  struct module *module;
  struct instance *instance;
  struct gw_error err;
};

static napi_value start_job(napi_env env, struct job *job, napi_async_execute_callback run, napi_async_complete_callback done) {
  napi_value promise, name;
  napi_create_promise(env, &job->deferred, &promise);
  napi_create_string_utf8(env, "gasworks", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, NULL, name, run, done, job, &job->work);
  napi_queue_async_work(env, job->work);
  return promise;
}

/* `status` says whether it ran at all. */
static void end_job(napi_env env, napi_status status, struct job *job, napi_value value) {
  if (status == napi_ok && !job->err.code)
    napi_resolve_deferred(env, job->deferred, value);
  else
    napi_reject_deferred(env, job->deferred, convert_error(env, &job->err, 0));
  napi_delete_async_work(env, job->work);
  free(job);
}

/* --- modules ------------------------------------------------------------------------------------------------------ */

static void run_compile(napi_env env, void *data) {
  (void)env;
  struct job *job = data;
  struct module *module = job->module;
  module->gw = gw_module_create(module->engine->gw, job->data, job->size, &job->err);
  if (module->gw && !module->engine->is_precise) gw_module_compile(module->gw, &job->err);
}

static void end_compile(napi_env env, napi_status status, void *data) {
  struct job *job = data;
  struct module *module = job->module;
  napi_value external = NULL;
  napi_delete_reference(env, job->bytes);
  engine_close(module->engine);
  if (status != napi_ok || job->err.code || napi_create_external(env, module, finalize_module, NULL, &external))
    module_release(module);
  end_job(env, status, job, external);
}

/* engine, bytes (which must not change before the promise is settled) */
napi_value js_compile(napi_env env, napi_callback_info info) {
  napi_value v[2];
  size_t n = 2, size;
  void *engine;
  bool ok;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &engine)) return NULL;
  const void *bytes = convert_view(env, v[1], &size, &ok);
  if (!ok) {
    throw_type_error(env, "a module is a typed array, Buffer or ArrayBuffer");
    return NULL;
  }
  struct job *job = allocate(sizeof *job);
  job->data = bytes;
  job->size = size;
  napi_create_reference(env, v[1], 1, &job->bytes);
  job->module = allocate(sizeof *job->module);
  job->module->n_owners = 1;
  job->module->engine = engine;
  engine_retain(engine);
  engine_open(engine);
  return start_job(env, job, run_compile, end_compile);
}

static void set_text(napi_env env, napi_value object, const char *key, const char *text, size_t size) {
  napi_value value;
  napi_create_string_utf8(env, text, size, &value);
  napi_set_named_property(env, object, key, value);
}

/* A letter for each parameter or result; x for what does not cross. */
static char letter(enum gw_type type) {
  static const char letters[] = {[GW_I32] = 'i', [GW_I64] = 'I', [GW_F32] = 'f', [GW_F64] = 'F'};
  return type < sizeof letters ? letters[type] : 'x';
}

static void set_letters(napi_env env, napi_value object, const char *key, const struct gw_extern_type *type,
                        enum gw_type (*get)(const struct func_type *, uint32_t), uint32_t n) {
  char *text = allocate(n + 1);
  for (uint32_t i = 0; i < n; i++) text[i] = letter(get(type->func, i));
  set_text(env, object, key, text, n);
  free(text);
}

static napi_value describe(napi_env env, const struct gw_named_type *it) {
  static const char *const kinds[] = {
      [GW_EXTERN_FUNC] = "function", [GW_EXTERN_TABLE] = "table",        [GW_EXTERN_MEMORY] = "memory",
      [GW_EXTERN_GLOBAL] = "global", [GW_EXTERN_HOST_FUNC] = "function", [GW_EXTERN_TAG] = "tag"};
  napi_value object;
  napi_create_object(env, &object);
  if (it->module) set_text(env, object, "module", it->module, it->module_size);
  set_text(env, object, "name", it->name, it->name_size);
  set_text(env, object, "kind", kinds[it->type.kind], NAPI_AUTO_LENGTH);
  if (it->type.kind != GW_EXTERN_FUNC) return object;
  set_letters(env, object, "params", &it->type, gw_func_param, it->type.n_params);
  set_letters(env, object, "results", &it->type, gw_func_result, it->type.n_results);
  return object;
}

static napi_value list_types(napi_env env, const struct module *module,
                             bool (*get)(const struct gw_module *, uint32_t, struct gw_named_type *), uint32_t *n) {
  napi_value list;
  struct gw_named_type it;
  napi_create_array(env, &list);
  for (*n = 0; get(module->gw, *n, &it); ++*n) napi_set_element(env, list, *n, describe(env, &it));
  return list;
}

/* module: {imports: [{module, name, kind, params, results}], exports: [{name, kind, params, results}]} */
napi_value js_types(napi_env env, napi_callback_info info) {
  napi_value v[1], out;
  size_t n = 1;
  uint32_t n_imports;
  void *data;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &data)) return NULL;
  struct module *module = data;
  napi_create_object(env, &out);
  napi_set_named_property(env, out, "imports", list_types(env, module, gw_module_import, &n_imports));
  napi_set_named_property(env, out, "exports", list_types(env, module, gw_module_export, &module->n_exports));
  return out;
}

/* name, index of the export, kinds of parameters, kinds of results, whether it may fail */
napi_value js_plan(napi_env env, napi_callback_info info) {
  napi_value v[5], external = NULL;
  size_t n = 5, size;
  struct plan *plan = allocate(sizeof *plan);
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  plan->name = convert_string(env, v[0]);
  napi_get_value_uint32(env, v[1], &plan->index);
  napi_get_value_string_utf8(env, v[2], plan->params, sizeof plan->params, &size);
  napi_get_value_string_utf8(env, v[3], plan->results, sizeof plan->results, &size);
  napi_get_value_bool(env, v[4], &plan->may_fail);
  napi_create_external(env, plan, finalize_plan, NULL, &external);
  return external;
}

/* --- instances ---------------------------------------------------------------------------------------------------- */

static bool resolve(void *env, const struct gw_import *wanted, struct gw_extern *out) {
  struct instance *instance = env;
  for (size_t i = 0; i < instance->n_imports; i++) {
    struct host_import *import = &instance->imports[i];
    const struct gw_host_func *f = &import->func;
    if (strlen(f->module) != wanted->module_size || memcmp(f->module, wanted->module, wanted->module_size) ||
        strlen(f->name) != wanted->field_size || memcmp(f->name, wanted->field, wanted->field_size))
      continue;
    *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {f, import}};
    return true;
  }
  if (instance->exchange && gw_exchange_resolve(instance->exchange, wanted, out)) return true;
  return instance->world && gw_wasi_resolve(instance->world->wasi, wanted, out);
}

/* The function of that name that takes so many i32 and gives so many, or NULL. */
static struct func_ref *export_func(struct instance *instance, const char *name, uint32_t n_params, uint32_t n_results) {
  struct gw_extern found;
  struct gw_extern_type type;
  if (!gw_instance_export(instance->gw, name, strlen(name), &found) || found.kind != GW_EXTERN_FUNC) return NULL;
  if (!gw_extern_type(&found, &type) || type.n_params != n_params || type.n_results != n_results) return NULL;
  for (uint32_t i = 0; i < n_params; i++)
    if (gw_func_param(type.func, i) != GW_I32) return NULL;
  for (uint32_t i = 0; i < n_results; i++)
    if (gw_func_result(type.func, i) != GW_I32) return NULL;
  return found.of.func;
}

static void run_instantiate(napi_env env, void *data) {
  (void)env;
  struct job *job = data;
  struct instance *instance = job->instance;
  if (job->err.code) return;
  instance->gw = gw_instance_create(instance->store, instance->module->gw, resolve, instance, &job->err);
  if (!instance->gw) return;
  instance->start = gw_instance_start(instance->gw);
  instance->alloc = export_func(instance, "gasworks_alloc", 1, 1);
  instance->free = export_func(instance, "gasworks_free", 2, 0);
  instance->initialize = export_func(instance, "_initialize", 0, 0);
}

static void end_instantiate(napi_env env, napi_status status, void *data) {
  struct job *job = data;
  struct instance *instance = job->instance;
  napi_value external = NULL;
  int64_t total;
  engine_close(instance->module->engine);
  if (status != napi_ok || job->err.code || napi_create_external(env, instance, finalize_instance, NULL, &external))
    instance_release(instance);
  else {
    napi_create_reference(env, external, 0, &instance->self);
    napi_adjust_external_memory(env, INSTANCE_BYTES, &total);
  }
  end_job(env, status, job, external);
}

static napi_value element(napi_env env, napi_value array, uint32_t i) {
  napi_value value = NULL;
  napi_get_element(env, array, i, &value);
  return value;
}

/* imports: [[module, name, params, results, function], ...] */
static void read_imports(napi_env env, struct instance *instance, napi_value list) {
  uint32_t n = 0;
  napi_get_array_length(env, list, &n);
  instance->imports = allocate(n * sizeof *instance->imports);
  for (uint32_t i = 0; i < n; i++) {
    napi_value row = element(env, list, i);
    struct host_import *import = &instance->imports[i];
    import->instance = instance;
    import->func = (struct gw_host_func){
        .module = convert_string(env, element(env, row, 0)), .name = convert_string(env, element(env, row, 1)), .fn = host_call};
    import->params = convert_string(env, element(env, row, 2));
    import->results = convert_string(env, element(env, row, 3));
    napi_create_reference(env, element(env, row, 4), 0, &import->function);
  }
  instance->n_imports = n;
}

/* Slices are bounded by gas alone: a look at the clock of a thread takes longer than a small call. */
static struct gw_store *create_store(const struct engine *engine, double gas_limit, double max_memory, struct gw_error *err) {
  return gw_store_create(engine->gw,
                         &(struct gw_store_options){.gas_limit = gas_limit > 0 ? (uint64_t)gas_limit : 0,
                                                    .max_memory_bytes = max_memory > 0 ? (uint64_t)max_memory : 0,
                                                    .slice = engine->slice,
                                                    .tier = engine->is_precise ? GW_TIER_PRECISE : GW_TIER_FAST,
                                                    .defers_start = true},
                         err);
}

/* module, imports, gas limit (0: none), bytes of memory (0: the default limit), world (wasi.c) or null, whether it handles
 * requests, their state and its space or null */
napi_value js_instantiate(napi_env env, napi_callback_info info) {
  napi_value v[8];
  size_t n = 8;
  void *data, *state = NULL;
  bool handles = false;
  double gas_limit = 0, max_memory = 0;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &data) || napi_get_value_double(env, v[2], &gas_limit) ||
      napi_get_value_double(env, v[3], &max_memory))
    return NULL;
  struct module *module = data;
  struct job *job = allocate(sizeof *job);
  struct instance *instance = job->instance = allocate(sizeof *instance);
  instance->n_owners = 1;
  instance->module = module;
  instance->gas_limit = gas_limit > 0 ? (uint64_t)gas_limit : 0;
  instance->funcs = allocate(module->n_exports * sizeof(struct func_ref *));
  list_init(&instance->waiting);
  module_retain(module);
  link_instance(instance);
  read_imports(env, instance, v[1]);
  engine_open(module->engine);
  instance->store = create_store(module->engine, gas_limit, max_memory, &job->err);
  instance->world = world_create(env, v[4], &job->err);
  napi_get_value_bool(env, v[5], &handles);
  if (handles && !job->err.code) request_prepare(instance, &job->err);
  if (napi_get_value_external(env, v[6], &state) == napi_ok) {
    state_retain(instance->state = state);
    instance->space = convert_string(env, v[7]);
  }
  return start_job(env, job, run_instantiate, end_instantiate);
}
