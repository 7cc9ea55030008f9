/* Host functions in JavaScript. The guest's fiber parks with the parameters in place; Node's thread calls the function, at once
 * or when its promise is settled, leaves the results where the parameters were, and wakes the fiber. JavaScript never runs on a
 * fiber, whose stack V8 does not know. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* On the fiber. */
enum gw_trap host_call(struct gw_instance *caller, void *env, union gw_value *values) {
  struct host_import *import = env;
  struct call *call = import->instance->current;
  if (!gw_instance_charge(caller, import->instance->module->engine->host_call_gas)) return GW_TRAP_OUT_OF_GAS;
  gw_instance_unrepeatable(caller);
  call->host.import = import;
  call->host.values = values;
  call->host.has_failed = false;
  call->host.park = gw_park_begin(caller);
  enum gw_trap trap = gw_park_here(caller);
  if (trap != GW_TRAP_NONE) return trap;
  if (!call->host.has_failed) return GW_TRAP_NONE;
  gw_instance_fail(caller, "%s", call->host.message);
  return GW_TRAP_HOST;
}

static void wake(struct call *call) {
  struct gw_park *park = call->host.park;
  call->host.park = NULL;
  call->is_here = false;
  gw_park_wake(park);
}

/* What was thrown goes to whoever made the call. */
static void note_thrown(napi_env env, struct call *call, napi_value thrown) {
  call->host.has_failed = true;
  if (call->thrown) napi_delete_reference(env, call->thrown);
  call->thrown = NULL;
  strcpy(call->host.message, "a host function threw");
  napi_valuetype type; /* references to primitive values need an object around them, symbols have no text */
  napi_value text, ignored;
  if (napi_typeof(env, thrown, &type) == napi_ok && type != napi_object && type != napi_function) {
    if (napi_coerce_to_string(env, thrown, &text) != napi_ok) {
      napi_get_and_clear_last_exception(env, &ignored);
      napi_create_string_utf8(env, "a host function threw a symbol", NAPI_AUTO_LENGTH, &text);
    }
    if (napi_create_error(env, NULL, text, &thrown) != napi_ok) return;
  }
  napi_create_reference(env, thrown, 1, &call->thrown);
}

static void note_exception(napi_env env, struct call *call) {
  napi_value thrown;
  if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok) note_thrown(env, call, thrown);
}

static bool take_result(napi_env env, struct call *call, napi_value result) {
  const char *results = call->host.import->results;
  size_t n = strlen(results);
  bool is_array = false;
  if (n <= 1) return !n || convert_to_wasm(env, results[0], result, call->host.values);
  if (napi_is_array(env, result, &is_array) || !is_array)
    return throw_type_error(env, "the value is not an array of %zu results", n);
  for (uint32_t i = 0; i < n; i++) {
    napi_value item;
    if (napi_get_element(env, result, i, &item) || !convert_to_wasm(env, results[i], item, call->host.values + i)) return false;
  }
  return true;
}

static void free_answer(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  struct answer *answer = data;
  struct call *call = answer->call;
  free(answer);
  if (!call) return;
  call->host.answer = NULL; /* the promise is gone, and nobody can settle it */
  call->host.has_failed = true;
  strcpy(call->host.message, "a host function gave a promise that can never be settled");
  wake(call);
  call_resume(call);
}

/* lib/index.js calls js_settle with the answer when the promise is settled. */
static bool attach(napi_env env, struct call *call, napi_value promise) {
  struct shared *shared;
  napi_value function, undefined, argv[2] = {promise};
  struct answer *answer = allocate(sizeof *answer);
  answer->call = call;
  napi_get_instance_data(env, (void **)&shared);
  napi_get_undefined(env, &undefined);
  if (napi_create_external(env, answer, free_answer, NULL, &argv[1])) {
    free(answer);
    return false;
  }
  call->host.answer = answer;
  napi_get_reference_value(env, shared->attach, &function);
  if (napi_call_function(env, undefined, function, 2, argv, NULL) == napi_ok) return true;
  answer->call = NULL;
  call->host.answer = NULL;
  return false;
}

/* True: the call has its answer. */
static bool settle(napi_env env, struct call *call, napi_value result) {
  bool is_promise = false;
  if (napi_is_promise(env, result, &is_promise) == napi_ok && is_promise && attach(env, call, result)) return false;
  if (is_promise || !take_result(env, call, result)) note_exception(env, call);
  wake(call);
  return true;
}

bool host_answer(napi_env env, struct call *call) {
  napi_value function, undefined, argv[MAX_PARAMS], result;
  struct host_import *import = call->host.import;
  size_t n = strlen(import->params);
  call->is_here = true;
  napi_handle_scope scope;
  napi_open_handle_scope(env, &scope);
  napi_get_undefined(env, &undefined);
  napi_get_reference_value(env, import->function, &function);
  for (size_t i = 0; i < n; i++) argv[i] = convert_to_js(env, import->params[i], call->host.values[i]);
  bool is_answered = true;
  if (napi_call_function(env, undefined, function, n, argv, &result) == napi_ok) {
    is_answered = settle(env, call, result);
  } else {
    note_exception(env, call);
    wake(call);
  }
  napi_close_handle_scope(env, scope);
  return is_answered;
}

/* answer, whether the promise was fulfilled, its value or reason. */
napi_value js_settle(napi_env env, napi_callback_info info) {
  napi_value v[3];
  size_t n = 3;
  void *data;
  bool is_fulfilled;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &data) || napi_get_value_bool(env, v[1], &is_fulfilled)) return NULL;
  struct answer *answer = data;
  struct call *call = answer->call;
  if (!call) return NULL; /* it was cancelled */
  answer->call = NULL;
  call->host.answer = NULL;
  if (!is_fulfilled)
    note_thrown(env, call, v[2]);
  else if (!take_result(env, call, v[2]))
    note_exception(env, call);
  wake(call);
  call_resume(call);
  return NULL;
}
