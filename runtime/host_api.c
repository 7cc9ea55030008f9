/* What host functions may ask of the invocation that called them (gasworks.h). */
#include "runtime/instance.h"
#include "runtime/invocation.h"
#include "runtime/slice.h"

#include <stdarg.h>
#include <stdio.h>

bool gw_instance_charge(struct gw_instance *instance, uint64_t gas) {
  return !instance->store->engine->options.gas || slice_take(instance->store, gas) != GAS_OUT;
}

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
