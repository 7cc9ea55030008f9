/* A call of an export, as steps: whatever the instance needs before, room in the guest for strings and bytes, the function, and
 * that room given back. Each step is an invocation of the store that begins with the gas of those before it, so one limit holds
 * for all. The store runs slices; a call goes from thread to thread between them. */
#include "addon.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES_HERE = 4 << 20 };

#define FAILURE_BIT (UINT64_C(1) << 63)

/* --- steps, on any thread ----------------------------------------------------------------------------------------- */

static bool fail(struct call *call, enum gw_error_code code, const char *message) {
  call->err = (struct gw_error){.code = code, .offset = GW_NO_OFFSET, .func = GW_NO_FUNC};
  strncpy(call->err.message, message, sizeof call->err.message - 1);
  return false;
}

/* By index: names may hold NUL. */
static struct func_ref *export_of(struct call *call) {
  struct func_ref **at = &call->instance->funcs[call->plan->index];
  struct gw_extern found;
  if (!*at && gw_instance_export_at(call->instance->gw, call->plan->index, &found) && found.kind == GW_EXTERN_FUNC)
    *at = found.of.func;
  return *at;
}

static struct func_ref *begin(struct call *call, struct func_ref *func) {
  if (!func)
    fail(call, GW_ERROR_NOT_FOUND,
         "the module does not export gasworks_alloc (i32) -> i32 and gasworks_free (i32, i32), which strings and bytes need");
  return func;
}

static bool reset(struct call *call) {
  struct instance *instance = call->instance;
  if (instance->world && !world_begin(instance->world, &call->input, &call->err)) return false;
  if (!call->is_fresh || !instance->is_used) return true;
  instance->has_started = false;
  if (gw_instance_reset(instance->gw, &call->err)) return true;
  instance->is_broken = true;
  return false;
}

/* The function of this step, with its parameters in values; NULL: nothing to run, or call->err says why not. */
static struct func_ref *enter_step(struct call *call) {
  struct instance *instance = call->instance;
  switch (call->step) {
  case STEP_RESET: reset(call); return NULL;
  case STEP_START: return instance->has_started ? NULL : instance->start;
  case STEP_INITIALIZE: return instance->has_started ? NULL : instance->initialize;
  case STEP_ALLOC:
    instance->has_started = instance->is_used = true;
    if (!call->block.size) return NULL;
    call->values[0].u32 = (uint32_t)call->block.size;
    return begin(call, instance->alloc);
  case STEP_CALL:
    memcpy(call->values, call->arguments, call->n_flat * sizeof call->values[0]);
    return begin(call, export_of(call));
  case STEP_FREE_RESULT:
    if (!call->result.size || call->is_fresh) return NULL;
    call->values[0].u32 = (uint32_t)call->packed;
    call->values[1].u32 = (uint32_t)call->result.size;
    return begin(call, instance->free);
  case STEP_FREE_ARGUMENTS:
    if (!call->block.size || call->is_fresh) return NULL;
    call->values[0].u32 = call->block_at;
    call->values[1].u32 = (uint32_t)call->block.size;
    return begin(call, instance->free);
  case STEP_END: break;
  }
  return NULL;
}

/* Strings and bytes have their place now. */
static bool fill_block(struct call *call) {
  uint32_t at = call->block_at = call->values[0].u32;
  void *to = gw_instance_memory(call->instance->gw, at, call->block.size);
  if (!to) return fail(call, GW_ERROR_INTERFACE, "gasworks_alloc gave an address outside of the memory");
  memcpy(to, call->block.data, call->block.size);
  for (uint32_t i = 0; i < call->n_flat; i++)
    if (call->pointers >> i & 1) call->arguments[i].u32 += at;
  return true;
}

static bool has_bytes(const struct plan *plan) { return plan->results[0] && strchr("syj", plan->results[0]); }

static bool take_bytes(struct call *call) {
  call->packed = call->values[0].u64;
  call->is_failure = call->plan->may_fail && (call->packed & FAILURE_BIT);
  size_t size = (size_t)(call->packed >> 32 & INT32_MAX);
  const void *from = gw_instance_memory(call->instance->gw, (uint32_t)call->packed, size);
  if (!from && size) return fail(call, GW_ERROR_INTERFACE, "the function gave bytes outside of the memory");
  call->result = (struct bytes){malloc(size ? size : 1), size};
  if (!call->result.data) return fail(call, GW_ERROR_OUT_OF_MEMORY, "no memory for the function's result");
  if (size) memcpy(call->result.data, from, size);
  return true;
}

static bool leave_step(struct call *call) {
  if (call->step == STEP_ALLOC) return fill_block(call);
  if (call->step != STEP_CALL) return true;
  memcpy(call->arguments, call->values, strlen(call->plan->results) * sizeof call->values[0]);
  return has_bytes(call->plan) || call->plan->may_fail ? take_bytes(call) : true;
}

static void start_step(struct call *call, struct func_ref *func) {
  struct instance *instance = call->instance;
  uint64_t owed = call->gas;
  if (!owed && call->is_fresh) owed = gw_instance_gas(instance->gw);
  gw_store_set_gas_limit(instance->store, call->gas_limit);
  gw_store_owe(instance->store, owed);
  gw_store_start(instance->store, func, call->values);
  call->is_begun = true;
}

/* Brings the store to where it has something to run; false: the call is over. */
static bool advance(struct call *call) {
  while (!call->is_begun && call->step != STEP_END && !call->err.code) {
    struct func_ref *func = enter_step(call);
    if (call->err.code) return false;
    if (func)
      start_step(call, func);
    else
      call->step++;
  }
  return call->is_begun && !call->err.code;
}

static void end_step(struct call *call) {
  call->is_begun = false;
  call->gas = gw_store_gas_used(call->instance->store);
}

enum { MOST_FRAMES = 32 };

static void note_frames(struct call *call) {
  if (call->err.code != GW_ERROR_TRAP) return;
  struct gw_frame frames[MOST_FRAMES];
  size_t n = gw_store_backtrace(call->instance->store, frames, MOST_FRAMES);
  if (!n || !(call->frames = malloc(n * sizeof *frames))) return;
  memcpy(call->frames, frames, n * sizeof *frames);
  call->n_frames = n;
}

static void cancel(struct call *call) {
  if (call->request) {
    request_cancel(call);
  } else if (call->is_begun) {
    if (call->step < STEP_ALLOC) call->instance->is_broken = true;
    gw_store_cancel(call->instance->store);
    end_step(call);
  }
  if (!call->err.code) {
    fail(call, GW_ERROR_TRAP, "cancelled");
    call->err.trap = GW_TRAP_CANCELLED;
  }
}

static enum progress run_request(struct call *call) {
  enum gw_status status = request_run(call);
  if (status == GW_STATUS_YIELDED) return PROGRESS_YIELDED;
  if (status == GW_STATUS_PARKED) return call->host.park ? PROGRESS_PARKED : PROGRESS_ASLEEP;
  if (status == GW_STATUS_FAILED) note_frames(call);
  return PROGRESS_ENDED;
}

/* Whether it has had an effect is known when its commit has ended. */
static bool is_committing(const struct call *call) {
  return call->request && call->is_begun && gw_exchange_is_committing(call->instance->exchange);
}

enum progress call_run(struct call *call) {
  if (atomic_load_explicit(&call->is_cancelled, memory_order_relaxed) && !is_committing(call)) {
    cancel(call);
    return PROGRESS_ENDED;
  }
  if (call->request) return run_request(call);
  while (advance(call)) {
    enum gw_status status = gw_store_resume(call->instance->store, &call->err);
    if (status == GW_STATUS_YIELDED) return PROGRESS_YIELDED;
    if (status == GW_STATUS_PARKED) return PROGRESS_PARKED;
    end_step(call);
    if (status == GW_STATUS_FAILED) note_frames(call);
    if (status == GW_STATUS_FAILED && call->step < STEP_ALLOC) call->instance->is_broken = true; /* it has not started */
    if (status == GW_STATUS_FAILED || !leave_step(call)) break;
    call->step++;
  }
  return PROGRESS_ENDED;
}

/* --- Node's thread ------------------------------------------------------------------------------------------------ */

static struct call *take_call(struct instance *instance) {
  struct call *call = list_pop(&instance->module->engine->unused);
  if (!call) call = allocate(sizeof *call);
  memset(call, 0, offsetof(struct call, values));
  call->instance = instance;
  return call;
}

static void call_free(struct call *call) {
  request_free(call);
  free(call->block.data);
  free(call->result.data);
  free(call->input.data);
  free(call->frames);
  list_push(&call->instance->module->engine->unused, call);
}

/* What a call that failed says: what JavaScript threw within it, the function's own error, or ours. */
static napi_value error_of(napi_env env, struct call *call) {
  napi_value error = NULL;
  if (call->thrown && call->err.trap == GW_TRAP_HOST) napi_get_reference_value(env, call->thrown, &error);
  if (error) return error;
  error =
      call->err.code ? convert_error(env, &call->err, (double)call->gas) : convert_failure(env, &call->result, (double)call->gas);
  if (call->n_frames) napi_set_named_property(env, error, "frames", convert_frames(env, call->frames, call->n_frames));
  if (call->instance->world) world_describe(env, call->instance->world, error);
  if (call->request) request_log(env, call, error);
  return error;
}

static napi_value with_gas(napi_env env, const struct call *call, napi_value value) {
  napi_value object, number;
  napi_create_object(env, &object);
  napi_create_double(env, (double)call->gas, &number);
  napi_set_named_property(env, object, "value", value);
  napi_set_named_property(env, object, "gas", number);
  if (call->instance->world) world_describe(env, call->instance->world, object);
  return object;
}

/* The value of a call that has ended, or NULL with *error. */
static napi_value outcome(napi_env env, struct call *call, napi_value *error) {
  if (call->err.code || call->is_failure) {
    *error = error_of(env, call);
    return NULL;
  }
  if (call->request) return request_reply(env, call);
  napi_value value = convert_results(env, call);
  if (value) return call->wants_gas ? with_gas(env, call, value) : value;
  napi_get_and_clear_last_exception(env, error);
  return NULL;
}

static void open_call(struct call *call) {
  if (!call->is_open) engine_open(call->instance->module->engine);
  call->is_open = true;
}

/* Whoever waits for a promise does not keep the process alive: what will settle it does. */
static void close_call(struct call *call) {
  if (call->is_open) engine_close(call->instance->module->engine);
  call->is_open = false;
}

/* The call lets go of its instance; the one that has it next, or NULL. */
static struct call *leave_instance(napi_env env, struct call *call) {
  struct instance *instance = call->instance;
  struct call *next = list_pop(&instance->waiting);
  instance->gas_used = (double)call->gas;
  instance->current = next;
  if (!next) instance_rest(instance);
  if (call->thrown) napi_delete_reference(env, call->thrown);
  call_free(call);
  instance_release(instance); /* `next` owns it, too */
  return next;
}

/* The call has ended: tells and frees it. */
static struct call *finish(napi_env env, struct call *call) {
  napi_value error = NULL, value = outcome(env, call, &error);
  if (error)
    napi_reject_deferred(env, call->deferred, error);
  else
    napi_resolve_deferred(env, call->deferred, value);
  close_call(call);
  return leave_instance(env, call);
}

static void hand_over(struct call *call) {
  open_call(call);
  engine_queue(call->instance->module->engine, call);
}

/* A host function that waits for an answer is told that nobody does any more. */
static void give_up_answer(struct call *call) {
  if (call->host.answer) call->host.answer->call = NULL;
  call->host.answer = NULL;
  if (call->host.park) gw_park_wake(call->host.park);
  call->host.park = NULL;
  call->is_here = false;
}

/* Node's thread holds a call that is parked. Whether it can be run. The host function itself may have cancelled it. */
static bool answer(napi_env env, struct call *call) {
  if (!atomic_load(&call->is_cancelled)) {
    if (host_answer(env, call)) return true;
    if (!atomic_load(&call->is_cancelled)) {
      close_call(call);
      return false;
    }
  }
  give_up_answer(call);
  return true;
}

/* Until it ends, waits for a promise, or it is time. */
static enum progress run_here(napi_env env, struct call *call, uint64_t deadline) {
  enum progress progress = call_run(call);
  while (progress == PROGRESS_PARKED) {
    if (!answer(env, call)) return PROGRESS_PARKED;
    if (clock_ns() > deadline) return PROGRESS_YIELDED;
    progress = call_run(call);
  }
  return progress;
}

/* Until when; 0: not at all. */
static uint64_t may_run_here(struct call *call) {
  struct instance *instance = call->instance;
  struct engine *engine = instance->module->engine;
  if (call->request || !engine->starts_here || engine->is_stopping || gw_store_memory_bytes(instance->store) > MOST_BYTES_HERE)
    return 0;
  return call->block.size > MOST_BYTES_HERE ? 0 : engine_deadline(engine);
}

/* Runs the call that has its instance, and those that wait for it, here or by handing them over. */
static void go_on(napi_env env, struct call *call) {
  while (call) {
    uint64_t deadline = may_run_here(call);
    enum progress progress = deadline ? run_here(env, call, deadline) : PROGRESS_YIELDED;
    if (progress == PROGRESS_YIELDED) hand_over(call);
    if (progress != PROGRESS_ENDED) return;
    call = finish(env, call);
  }
}

void call_returned(napi_env env, struct call *call) {
  if (!call->host.park)
    go_on(env, finish(env, call));
  else if (answer(env, call))
    hand_over(call);
}

void call_cancel(struct call *call) {
  atomic_store(&call->is_cancelled, true);
  if (!call->host.answer && !request_rouse(call)) return; /* somebody holds it, and will see */
  give_up_answer(call);
  hand_over(call);
}

void call_resume(struct call *call) { hand_over(call); }

void call_drop(struct call *call) {
  struct instance *instance = call->instance;
  request_rouse(call);
  give_up_answer(call);
  cancel(call);
  call_free(call);
  instance_release(instance);
}

/* --- entry points ------------------------------------------------------------------------------------------------- */

enum { WANTS_GAS = 1, IS_FRESH = 2 };

static bool read_input(napi_env env, napi_value value, struct bytes *out) {
  bool ok;
  const void *from = convert_view(env, value, &out->size, &ok);
  if (!ok || !out->size) return true; /* none */
  if (!(out->data = malloc(out->size))) return throw_type_error(env, "no memory for the input");
  memcpy(out->data, from, out->size);
  return true;
}

/* instance, plan, gas limit (0: the instance's), flags, id, input or null, arguments... */
static struct call *read_call(napi_env env, napi_callback_info info, napi_value *this_instance) {
  enum { FIXED = 6 };
  napi_value v[FIXED + MAX_PARAMS];
  size_t n = FIXED + MAX_PARAMS;
  void *instance = NULL, *plan = NULL;
  double gas_limit = 0;
  uint32_t flags = 0, id = 0;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (n < FIXED || napi_get_value_external(env, v[0], &instance) || napi_get_value_external(env, v[1], &plan) ||
      napi_get_value_double(env, v[2], &gas_limit) || napi_get_value_uint32(env, v[3], &flags) ||
      napi_get_value_uint32(env, v[4], &id)) {
    throw_type_error(env, "not an instance and a function of it");
    return NULL;
  }
  *this_instance = v[0];
  struct call *call = take_call(instance);
  call->plan = plan;
  call->gas_limit = gas_limit > 0 ? (uint64_t)gas_limit : call->instance->gas_limit;
  call->wants_gas = flags & WANTS_GAS;
  call->is_fresh = flags & IS_FRESH;
  call->id = id;
  if ((!call->instance->world || read_input(env, v[5], &call->input)) && convert_arguments(env, call, v + FIXED, n - FIXED))
    return call;
  call_free(call);
  return NULL;
}

static bool is_usable(napi_env env, const struct instance *instance) {
  if (!instance->is_closed && !instance->is_broken && !instance->module->engine->is_stopping) return true;
  napi_throw_error(env, "ERR_GASWORKS_CLOSED", instance->is_broken ? "the instance did not start" : "the instance is closed");
  return false;
}

/* A promise of what the call gives, when its instance has time for it; frees it with an exception. */
static napi_value begin_call(napi_env env, struct call *call) {
  napi_value promise;
  struct instance *instance = call->instance;
  if (!is_usable(env, instance) || napi_create_promise(env, &call->deferred, &promise)) {
    call_free(call);
    return NULL;
  }
  instance->n_owners++;
  if (instance->current) {
    list_push(&instance->waiting, call);
    return promise;
  }
  instance->current = call;
  instance_busy(instance);
  go_on(env, call);
  return promise;
}

napi_value js_call(napi_env env, napi_callback_info info) {
  napi_value object;
  struct call *call = read_call(env, info, &object);
  return call ? begin_call(env, call) : NULL;
}

/* instance, request (request.c), gas limit (0: the instance's), id, input or null */
napi_value js_handle(napi_env env, napi_callback_info info) {
  napi_value v[5];
  size_t n = 5;
  void *instance;
  double gas_limit = 0;
  uint32_t id = 0;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &instance) || napi_get_value_double(env, v[2], &gas_limit) ||
      napi_get_value_uint32(env, v[3], &id))
    return NULL;
  struct call *call = take_call(instance);
  call->gas_limit = gas_limit > 0 ? (uint64_t)gas_limit : call->instance->gas_limit;
  call->id = id;
  if (request_read(env, call, v[1]) && read_input(env, v[4], &call->input)) return begin_call(env, call);
  call_free(call);
  return NULL;
}

static void run_to_end(napi_env env, struct call *call) {
  for (;;) {
    enum progress progress = call_run(call);
    if (progress == PROGRESS_ENDED) return;
    if (progress == PROGRESS_YIELDED || host_answer(env, call)) continue;
    give_up_answer(call);
    cancel(call);
    fail(call, GW_ERROR_USAGE, "a host function gave a promise, which only an asynchronous call can wait for");
    return;
  }
}

/* The same on Node's thread, to its end; wants a gas limit. */
napi_value js_call_sync(napi_env env, napi_callback_info info) {
  napi_value object, error = NULL;
  struct call *call = read_call(env, info, &object);
  if (!call) return NULL;
  struct instance *instance = call->instance;
  bool is_free = is_usable(env, instance);
  if (is_free && (instance->current || !call->gas_limit)) {
    napi_throw_error(env, "ERR_GASWORKS_USAGE",
                     instance->current ? "another call of the instance is under way" : "a synchronous call needs a gas limit");
    is_free = false;
  }
  if (!is_free) {
    call_free(call);
    return NULL;
  }
  instance->n_owners++;
  instance->current = call;
  instance_busy(instance);
  run_to_end(env, call);
  napi_value value = outcome(env, call, &error);
  go_on(env, leave_instance(env, call));
  if (error) napi_throw(env, error);
  return value;
}

/* Those that have this id, or all: id 0. */
static void cancel_waiting(napi_env env, struct instance *instance, uint32_t id) {
  for (struct call *call = instance->waiting.first, *next; call; call = next) {
    next = call->next;
    if (id && call->id != id) continue;
    list_remove(&instance->waiting, call);
    cancel(call);
    napi_reject_deferred(env, call->deferred, error_of(env, call));
    call_free(call);
    instance_release(instance);
  }
}

/* instance, id: the call with this id ends as cancelled, if it is still there. */
napi_value js_abort(napi_env env, napi_callback_info info) {
  napi_value v[2];
  size_t n = 2;
  void *data;
  uint32_t id;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &data) || napi_get_value_uint32(env, v[1], &id)) return NULL;
  struct instance *instance = data;
  if (instance->current && instance->current->id == id) {
    call_cancel(instance->current);
    return NULL;
  }
  cancel_waiting(env, instance, id);
  return NULL;
}

/* instance: its calls end as cancelled, and it takes no more. */
napi_value js_close(napi_env env, napi_callback_info info) {
  napi_value v[1];
  size_t n = 1;
  void *data;
  napi_get_cb_info(env, info, &n, v, NULL, NULL);
  if (napi_get_value_external(env, v[0], &data)) return NULL;
  struct instance *instance = data;
  instance->is_closed = true;
  cancel_waiting(env, instance, 0);
  if (instance->current) call_cancel(instance->current);
  return NULL;
}
