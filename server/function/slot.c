#include "server/function/slot.h"

#include "base/error.h"
#include "runtime/host/abort.h"
#include "server/function/crash.h"

#include <stdlib.h>
#include <string.h>

enum {
  START_SLICES = 40, /* of a start function, where a deployment tries it */
  KEEP_CAPACITY = 1 << 20,
  CHECKPOINT_GAS = 20000, /* 2 us and more: making one takes some 50 once (docs/bench.md) */
};

static bool slot_resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  struct slot *slot = env;
  if (handler_resolve(&slot->handler, import, out) || abort_resolve(NULL, import, out)) return true;
  return slot->wasi && wasi_resolve(slot->wasi, import, out);
}

static uint64_t start_gas(const struct function_limits *limits) {
  uint64_t gas = limits->slice * START_SLICES;
  return gas && gas < limits->gas_limit ? gas : limits->gas_limit;
}

static bool slot_wasi(struct slot *slot, const struct function_limits *limits, struct gw_error *err) {
  const char *args[] = {slot->function->name, NULL}, *none[] = {NULL};
  const struct settings *settings = slot->function->settings;
  struct wasi_options options = {.args = args,
                                 .env = settings ? settings->env : none,
                                 .stdin_fd = -1,
                                 .stdout_fd = -1,
                                 .stderr_fd = -1,
                                 .output_limit = limits->max_reply,
                                 .clock = slot->handler.clock};
  options.preopens = slot->function->preopens;
  options.n_preopens = slot->function->n_preopens;
  options.has_state = slot->function->has_files;
  if (slot->wasi) return wasi_reset(slot->wasi, &options, err);
  slot->wasi = wasi_create(&options, err);
  return slot->wasi != NULL;
}

static void set_counted(struct slot *slot, uint64_t bytes) {
  atomic_fetch_add_explicit(&slot->function->fate->memory_bytes, bytes - slot->counted_memory, memory_order_relaxed);
  slot->counted_memory = bytes;
}

void slot_count_memory(struct slot *slot) {
  uint64_t bytes = gw_store_memory_bytes(slot->store);
  if (bytes != slot->counted_memory) set_counted(slot, bytes);
}

static void begin_to_count(struct slot *slot) {
  slot->is_counted = true;
  atomic_fetch_add_explicit(&slot->function->fate->n_instances, 1, memory_order_relaxed);
  slot_count_memory(slot);
}

static void end_to_count(struct slot *slot) {
  if (!slot->is_counted) return;
  set_counted(slot, 0);
  atomic_fetch_sub_explicit(&slot->function->fate->n_instances, 1, memory_order_relaxed);
}

uint64_t slot_slowness(const struct slot *slot) { return function_slowness(slot->tier); }

static struct func_ref *find_func(struct gw_instance *instance, const char *name) {
  struct gw_extern found;
  if (!gw_instance_export(instance, name, strlen(name), &found) || found.kind != GW_EXTERN_FUNC) return NULL;
  return found.of.func;
}

struct slot *slot_create(struct gw_engine *engine, struct function *function, enum gw_tier tier,
                         const struct function_limits *limits, struct gw_error *err) {
  struct slot *slot = calloc(1, sizeof *slot);
  if (!slot) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for an instance of function %s", function->name);
    return NULL;
  }
  slot->function = function_retain(function);
  slot->limits = limits;
  slot->tier = tier;
  handler_reset(&slot->handler);
  slot->handler.clock = limits->has_fine_clocks ? NULL : &slot->clock;
  struct gw_store_options options = {.slice = limits->slice,
                                     .measures_cpu = true,
                                     .max_memory_bytes = function_max_memory(function, limits),
                                     .tier = tier,
                                     .defers_start = true,
                                     .slice_ns = limits->slice_ns,
                                     .cpu_limit_ns = function_cpu_limit(function, limits),
                                     .clock = limits->clock};
  options.slice = (limits->slice + function_slowness(tier) - 1) / function_slowness(tier);
  slot->store = gw_store_create(engine, &options, err);
  if (!slot->store) goto fail;
  if (function->uses_wasi && !slot_wasi(slot, limits, err)) goto fail;
  slot->instance = gw_instance_create(slot->store, function->module, slot_resolve, slot, err);
  if (!slot->instance) goto fail;
  slot->start = gw_instance_start(slot->instance);
  slot->instance_gas = gw_instance_gas(slot->instance);
  slot->entry = find_func(slot->instance, function->interface == INTERFACE_HANDLE ? "handle" : "_start");
  if (function->has_initialize) slot->initialize = find_func(slot->instance, "_initialize");
  begin_to_count(slot);
  if (slot->entry) return slot;
  error_set(err, GW_ERROR_INTERFACE, "function %s exports neither handle nor _start", function->name);
fail:
  slot_destroy(slot);
  return NULL;
}

static void trim(struct buffer *b) {
  if (b->capacity > KEEP_CAPACITY) buffer_clear(b);
}

static bool reset(struct slot *slot, struct gw_error *err) {
  struct handler *h = &slot->handler;
  handler_reset(h);
  guest_clock_turn(&slot->clock);
  trim(&h->reply);
  trim(&h->reply_headers);
  trim(&h->log);
  h->txn = NULL;
  h->method = h->target = h->path = h->query = h->remote_address = "";
  h->headers = NULL;
  h->body = NULL;
  h->n_headers = h->body_size = 0;
  if (slot->wasi && !slot_wasi(slot, slot->limits, err)) return false;
  if (checkpoint_is_kept(slot->store)) slot->is_kept = true;
  return gw_instance_reset(slot->instance, err);
}

bool slot_reset(struct slot *slot, struct gw_error *err) {
  const struct function *before = crash_enter(slot->function);
  bool ok = reset(slot, err);
  slot_count_memory(slot);
  crash_enter(before);
  return ok;
}

static bool keep(struct slot *slot, struct gw_error *err) {
  slot->is_kept = true;
  return gw_instance_keep(slot->instance, err);
}

bool slot_try_start(struct slot *slot, const struct function_limits *limits, struct gw_error *err) {
  const struct function *before = crash_enter(slot->function);
  gw_store_set_gas_limit(slot->store, start_gas(limits));
  bool ok = !slot->start || gw_call(slot->store, slot->start, slot->values, err);
  crash_enter(before);
  return ok;
}

bool slot_keep_start(struct slot *slot, uint64_t gas, struct gw_error *err) {
  if (!gw_instance_can_keep(slot->instance)) return true;
  slot->start_gas = gas;
  return keep(slot, err);
}

bool slot_keep(struct slot *slot, uint64_t gas, struct gw_error *err) {
  if (!gw_instance_can_keep(slot->instance)) return true;
  slot->is_initialized = true;
  slot->initialize_gas = gas;
  return keep(slot, err);
}

void slot_want_checkpoint(struct slot *slot) {
  bool is_behind_start = !slot->start || slot->is_kept;
  if (slot->function->interface == INTERFACE_CGI && slot->wasi && is_behind_start)
    checkpoint_want(slot->instance, wasi_is_same, CHECKPOINT_GAS);
}

uint64_t slot_gas_before(const struct slot *slot) {
  return slot->instance_gas + slot->start_gas + slot->initialize_gas + checkpoint_gas(slot->store);
}

void slot_destroy(struct slot *slot) {
  if (!slot) return;
  end_to_count(slot);
  const struct function *before = crash_enter(slot->function);
  gw_store_destroy(slot->store);
  wasi_destroy(slot->wasi);
  handler_clear(&slot->handler);
  buffer_clear(&slot->settings);
  crash_enter(before);
  function_release(slot->function);
  free(slot);
}
