/* What lib/index.js sees: functions over externals. Their arguments are checked there as far as users give them. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

static void finalize_engine(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  engine_release(data);
}

static napi_value get(napi_env env, napi_value object, const char *key) {
  napi_value value = NULL;
  napi_get_named_property(env, object, key, &value);
  return value;
}

static double get_number(napi_env env, napi_value object, const char *key) {
  double number = 0;
  napi_get_value_double(env, get(env, object, key), &number);
  return number;
}

static bool get_bool(napi_env env, napi_value object, const char *key) {
  bool flag = false;
  napi_get_value_bool(env, get(env, object, key), &flag);
  return flag;
}

/* {workers, optLevel, slice, niceness, hostCallGas, startsHere, isPrecise, looseTraps, threads, cache, compiler}, all given */
static napi_value create(napi_env env, napi_callback_info info) {
  napi_value o, external = NULL;
  size_t n = 1;
  struct gw_error err = {0};
  napi_get_cb_info(env, info, &n, &o, NULL, NULL);
  struct engine wanted = {
      .options = {.opt_level = (uint32_t)get_number(env, o, "optLevel"),
                  .gas = true,
                  .loose_traps = get_bool(env, o, "looseTraps"),
                  .threads = (uint32_t)get_number(env, o, "threads")},
      .slice = (uint64_t)get_number(env, o, "slice"),
      .host_call_gas = (uint64_t)get_number(env, o, "hostCallGas"),
      .niceness = (int)get_number(env, o, "niceness"),
      .starts_here = get_bool(env, o, "startsHere"),
      .is_precise = get_bool(env, o, "isPrecise"),
      .compiler = convert_string(env, get(env, o, "compiler")),
  };
  char *cache = convert_string(env, get(env, o, "cache"));
  struct engine *engine = engine_create(env, &wanted, (size_t)get_number(env, o, "workers"), cache, &err);
  free(cache);
  if (!engine)
    napi_throw(env, convert_error(env, &err, 0));
  else
    napi_create_external(env, engine, finalize_engine, NULL, &external);
  return external;
}

static void free_shared(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  free(data);
}

/* class of errors, attach(promise, answer), on_turn() */
static napi_value prepare(napi_env env, napi_callback_info info) {
  napi_value v[3];
  size_t n = 3;
  struct shared *shared = allocate(sizeof *shared);
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  napi_create_reference(env, v[0], 1, &shared->error_class);
  napi_create_reference(env, v[1], 1, &shared->attach);
  napi_create_reference(env, v[2], 1, &shared->on_turn);
  napi_set_instance_data(env, shared, free_shared, NULL);
  return NULL;
}

static struct instance *instance_of(napi_env env, napi_value value) {
  void *data = NULL;
  napi_get_value_external(env, value, &data);
  return data;
}

/* instance: what its last call used */
static napi_value gas_used(napi_env env, napi_callback_info info) {
  napi_value v[1], out;
  size_t n = 1;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  napi_create_double(env, instance_of(env, v[0])->gas_used, &out);
  return out;
}

/* instance: whether it takes calls no more */
static napi_value is_broken(napi_env env, napi_callback_info info) {
  napi_value v[1], out;
  size_t n = 1;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  const struct instance *instance = instance_of(env, v[0]);
  napi_get_boolean(env, instance->is_broken || instance->is_closed, &out);
  return out;
}

/* The place of [offset, offset + size) in memory 0 while no guest code of the instance can run, or NULL with an exception. */
static uint8_t *memory_at(napi_env env, struct instance *instance, double offset, double size) {
  uint8_t *at = NULL;
  if (instance->current && !instance->current->is_here)
    napi_throw_error(env, "ERR_GASWORKS_USAGE", "the memory belongs to the call that is under way");
  else if (instance->is_closed)
    napi_throw_error(env, "ERR_GASWORKS_CLOSED", "the instance is closed");
  else if (offset < 0 || size < 0 || !(at = gw_instance_memory(instance->gw, (uint64_t)offset, (uint64_t)size)))
    napi_throw_range_error(env, "ERR_GASWORKS_MEMORY", "outside of the memory");
  return at;
}

/* instance, offset, size: a copy as a Buffer */
static napi_value read_memory(napi_env env, napi_callback_info info) {
  napi_value v[3], out = NULL;
  size_t n = 3;
  double offset = -1, size = -1;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  napi_get_value_double(env, v[1], &offset);
  napi_get_value_double(env, v[2], &size);
  const uint8_t *at = memory_at(env, instance_of(env, v[0]), offset, size);
  if (at) napi_create_buffer_copy(env, (size_t)size, at, NULL, &out);
  return out;
}

/* instance, offset, bytes */
static napi_value write_memory(napi_env env, napi_callback_info info) {
  napi_value v[3];
  size_t n = 3, size;
  double offset = -1;
  bool ok;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  napi_get_value_double(env, v[1], &offset);
  const void *bytes = convert_view(env, v[2], &size, &ok);
  if (!ok) {
    throw_type_error(env, "the value is not a typed array, Buffer or ArrayBuffer");
    return NULL;
  }
  uint8_t *at = memory_at(env, instance_of(env, v[0]), offset, (double)size);
  if (at && size) memcpy(at, bytes, size);
  return NULL;
}

/* instance: bytes of its memory 0 */
static napi_value memory_size(napi_env env, napi_callback_info info) {
  napi_value v[1], out;
  size_t n = 1;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  napi_create_double(env, (double)gw_instance_memory_size(instance_of(env, v[0])->gw), &out);
  return out;
}

NAPI_MODULE_INIT() {
  static const struct {
    const char *name;
    napi_callback function;
  } functions[] = {
      {"prepare", prepare},
      {"create", create},
      {"compile", js_compile},
      {"types", js_types},
      {"plan", js_plan},
      {"instantiate", js_instantiate},
      {"call", js_call},
      {"callSync", js_call_sync},
      {"abort", js_abort},
      {"settle", js_settle},
      {"endTurn", js_end_turn},
      {"gasUsed", gas_used},
      {"close", js_close},
      {"isBroken", is_broken},
      {"readMemory", read_memory},
      {"writeMemory", write_memory},
      {"memorySize", memory_size},
      {"handle", js_handle},
      {"openState", js_open_state},
      {"closeState", js_close_state},
      {"beginTxn", js_begin_txn},
      {"txnOp", js_txn_op},
      {"abortTxn", js_abort_txn},
  };
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function)) return NULL;
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
