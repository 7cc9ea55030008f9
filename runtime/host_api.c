/* What host functions may ask of the invocation that called them (gasworks.h). */
#include "runtime/host_api.h"

#include "runtime/instance.h"
#include "runtime/invocation.h"
#include "runtime/slice.h"

#include <stdarg.h>
#include <stdio.h>

bool gw_instance_charge(struct gw_instance *instance, uint64_t gas) {
  return !instance->store->engine->options.gas || slice_take(instance->store, gas) != GAS_OUT;
}

static enum host_gas kind_of(enum cost unit) {
  switch (unit) {
  case COST_HOST_BYTE: return HOST_GAS_BYTES;
  case COST_STATE_READ:
  case COST_STATE_WRITE:
  case COST_STATE_BYTE:
  case COST_STATE_COMMIT: return HOST_GAS_STORAGE;
  default: return HOST_GAS_CALLS;
  }
}

bool host_api_charge_gas(struct gw_instance *instance, enum host_gas kind, uint64_t gas) {
  if (!gw_instance_charge(instance, gas)) return false;
  instance->store->host_gas[kind] += gas;
  return true;
}

bool host_api_charge(struct gw_instance *instance, enum cost unit, uint64_t units) {
  return host_api_charge_gas(instance, kind_of(unit), gw_instance_schedule(instance)->gas[unit] * units);
}

void host_api_charge_piece(struct gw_instance *instance, enum host_gas kind, uint64_t gas) {
  instance->store->host_gas[kind] += gas; /* before: it may not come back */
  gw_instance_charge_piece(instance, gas);
}

uint64_t host_api_gas(const struct gw_store *store, enum host_gas kind) { return store->host_gas[kind]; }

bool gw_instance_affords(const struct gw_instance *instance, uint64_t gas) { return slice_affords(instance->store, gas); }

void gw_instance_charge_piece(struct gw_instance *instance, uint64_t gas) { invocation_charge(instance->store, gas, 0); }

const struct schedule *gw_instance_schedule(const struct gw_instance *instance) { return instance->store->schedule; }

void gw_instance_fail(struct gw_instance *instance, const char *format, ...) {
  struct trap *trap = &instance->store->trap;
  va_list args;
  va_start(args, format);
  vsnprintf(trap->message, sizeof trap->message, format, args);
  va_end(args);
}
