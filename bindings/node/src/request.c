/* Requests: functions for the `handle` interface, each of whose invocations is one transaction. gw_exchange does it in steps; a
 * call with a request runs them instead of those of call.c, on workers only.
 *
 * Where the invocation waits for the store or its commit, no thread holds the call: its instance has it as `asleep`, until the
 * exchange's wake puts it into the engine's queue. A wake may come before the worker has let go, which `is_woken` tells. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* --- waiting, on any thread --------------------------------------------------------------------------------------- */

/* Under locks of the store's: the engine's mutex is the innermost. */
static void wake(void *arg) {
  struct instance *instance = arg;
  struct engine *engine = instance->module->engine;
  pthread_mutex_lock(&engine->mutex);
  if (instance->asleep && !engine->is_stopping) {
    list_push(&engine->ready, instance->asleep);
    instance->asleep = NULL;
    pthread_cond_signal(&engine->has_work);
  } else {
    instance->is_woken = true;
  }
  pthread_mutex_unlock(&engine->mutex);
}

bool request_sleep(struct call *call) {
  struct instance *instance = call->instance;
  if (instance->is_woken) return false;
  instance->asleep = call;
  return true;
}

bool request_rouse(struct call *call) {
  struct instance *instance = call->instance;
  struct engine *engine = instance->module->engine;
  pthread_mutex_lock(&engine->mutex);
  bool is_asleep = instance->asleep == call;
  if (is_asleep) instance->asleep = NULL;
  pthread_mutex_unlock(&engine->mutex);
  return is_asleep;
}

bool request_prepare(struct instance *instance, struct gw_error *err) {
  if (!(instance->exchange = gw_exchange_create(err))) return false;
  gw_exchange_set_wake(instance->exchange, wake, instance);
  return true;
}

/* --- running, on the thread that holds the call ------------------------------------------------------------------- */

static bool start(struct call *call) {
  struct instance *instance = call->instance;
  struct gw_state *state = instance->state ? call->request->state : NULL;
  if (instance->world && !world_begin(instance->world, &call->input, &call->err)) return false;
  gw_store_set_gas_limit(instance->store, call->gas_limit);
  instance->has_started = false; /* what other calls find is nobody's fresh instance */
  instance->is_used = true;
  return call->is_begun =
             gw_exchange_start(instance->exchange, instance->gw, state, instance->space, &call->request->of, &call->err);
}

/* Before its first attempt has begun, the store's gas is that of another call. */
static void end(struct call *call) {
  call->is_begun = false;
  if (call->request->has_gas) call->gas = gw_store_gas_used(call->instance->store);
}

enum gw_status request_run(struct call *call) {
  if (!call->is_begun && !start(call)) return GW_STATUS_FAILED;
  enum gw_status status = gw_exchange_resume(call->instance->exchange, &call->request->reply, &call->err);
  if (status != GW_STATUS_FAILED) call->request->has_gas = true;
  if (status == GW_STATUS_DONE || status == GW_STATUS_FAILED) end(call);
  return status;
}

void request_cancel(struct call *call) {
  if (!call->is_begun) return;
  gw_exchange_cancel(call->instance->exchange);
  end(call);
}

/* --- to and from JavaScript --------------------------------------------------------------------------------------- */

static napi_value at(napi_env env, napi_value array, uint32_t i) {
  napi_value value = NULL;
  napi_get_element(env, array, i, &value);
  return value;
}

static void read_headers(napi_env env, struct request *request, napi_value list) {
  uint32_t n = 0;
  napi_get_array_length(env, list, &n);
  request->headers = allocate(n * sizeof *request->headers);
  for (uint32_t i = 0; i < n; i++)
    request->headers[i] =
        (struct gw_header){convert_string(env, at(env, at(env, list, i), 0)), convert_string(env, at(env, at(env, list, i), 1))};
  request->of.headers = request->headers;
  request->of.n_headers = n;
}

static bool read_body(napi_env env, struct request *request, napi_value value) {
  bool ok;
  const void *from = convert_view(env, value, &request->of.body_size, &ok);
  if (!request->of.body_size) return true;
  if (!(request->body = malloc(request->of.body_size))) return throw_type_error(env, "no memory for the body");
  memcpy(request->body, from, request->of.body_size);
  request->of.body = request->body;
  return true;
}

bool request_read(napi_env env, struct call *call, napi_value value) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) || type != napi_object) return true; /* none */
  struct request *request = call->request = allocate(sizeof *request);
  request->of.method = convert_string(env, at(env, value, 0));
  request->of.path = convert_string(env, at(env, value, 1));
  request->of.query = convert_string(env, at(env, value, 2));
  request->of.target = convert_string(env, at(env, value, 3));
  read_headers(env, request, at(env, value, 4));
  napi_get_value_bool(env, at(env, value, 6), &request->of.only_reads);
  if (!read_body(env, request, at(env, value, 5))) return false;
  if (!call->instance->exchange)
    return throw_type_error(env, "the module exports no function handle without parameters and results");
  if (!call->instance->state) return true;
  if ((request->state = state_use(call->instance->state))) return true;
  napi_throw_error(env, "ERR_GASWORKS_CLOSED", "the state is closed");
  return false;
}

void request_free(struct call *call) {
  struct request *request = call->request;
  if (!request) return;
  if (request->state) state_unuse(call->instance->state, call->instance->module->engine->is_stopping);
  for (size_t i = 0; i < request->of.n_headers; i++) {
    free((char *)request->headers[i].name);
    free((char *)request->headers[i].value);
  }
  free(request->headers);
  free((char *)request->of.method);
  free((char *)request->of.path);
  free((char *)request->of.query);
  free((char *)request->of.target);
  free(request->body);
  free(request);
  call->request = NULL;
}

static void set_number(napi_env env, napi_value object, const char *key, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  napi_set_named_property(env, object, key, value);
}

static void set_text(napi_env env, napi_value object, const char *key, const void *text, size_t size) {
  napi_value value = NULL;
  if (napi_create_string_utf8(env, text ? text : "", size, &value) == napi_ok) napi_set_named_property(env, object, key, value);
}

void request_log(napi_env env, const struct call *call, napi_value object) {
  set_text(env, object, "log", call->request->reply.log, call->request->reply.log_size);
  set_number(env, object, "attempts", call->request->reply.n_attempts);
}

napi_value request_reply(napi_env env, const struct call *call) {
  const struct gw_reply *reply = &call->request->reply;
  napi_value object, body = NULL;
  napi_create_object(env, &object);
  set_number(env, object, "status", reply->status);
  set_text(env, object, "headers", reply->headers, reply->headers_size); /* lib/request.js makes them an object */
  if (napi_create_buffer_copy(env, reply->body_size, reply->body, NULL, &body) != napi_ok) return NULL;
  napi_set_named_property(env, object, "body", body);
  set_number(env, object, "gas", (double)call->gas);
  request_log(env, call, object);
  return object;
}
