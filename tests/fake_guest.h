/* A guest without an engine: memory of one page and a gas counter behind the gw_instance_* functions that host functions use, so
 * that they can be tested alone. Include once per program. */
#ifndef TESTS_FAKE_GUEST_H
#define TESTS_FAKE_GUEST_H

#include "gasworks.h"
#include "runtime/host_api.h"
#include "runtime/park.h"
#include "instrument/schedule.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUEST_BYTES = 65536 };

static struct {
  uint8_t *memory; /* of GUEST_BYTES, on the heap: the sanitizer sees what runs over */
  uint64_t gas, limit;
  char message[320];
  bool is_unrepeatable;
} guest;

static inline void guest_init(void) {
  free(guest.memory);
  guest.memory = calloc(1, GUEST_BYTES);
  guest.gas = guest.limit = 1 << 30;
  guest.message[0] = 0;
  guest.is_unrepeatable = false;
}

static inline void guest_clear(void) {
  free(guest.memory);
  guest.memory = NULL;
}

static inline uint64_t guest_gas_used(void) { return guest.limit - guest.gas; }

void *gw_instance_memory(struct gw_instance *instance, uint64_t offset, uint64_t size) {
  (void)instance;
  return offset <= GUEST_BYTES && size <= GUEST_BYTES - offset ? guest.memory + offset : NULL;
}

uint64_t gw_instance_memory_size(const struct gw_instance *instance) {
  (void)instance;
  return GUEST_BYTES;
}

bool gw_instance_charge(struct gw_instance *instance, uint64_t gas) {
  (void)instance;
  if (gas > guest.gas) return false;
  guest.gas -= gas;
  return true;
}

bool gw_instance_affords(const struct gw_instance *instance, uint64_t gas) {
  (void)instance;
  return gas <= guest.gas;
}

void gw_instance_charge_piece(struct gw_instance *instance, uint64_t gas) { gw_instance_charge(instance, gas); }
bool host_api_charge_gas(struct gw_instance *instance, enum host_gas kind, uint64_t gas) {
  (void)kind;
  return gw_instance_charge(instance, gas);
}
bool host_api_charge(struct gw_instance *instance, enum cost unit, uint64_t units) {
  return gw_instance_charge(instance, gw_instance_schedule(instance)->gas[unit] * units);
}
void host_api_charge_piece(struct gw_instance *instance, enum host_gas kind, uint64_t gas) {
  host_api_charge_gas(instance, kind, gas);
}

void gw_instance_unrepeatable(struct gw_instance *instance) {
  (void)instance;
  guest.is_unrepeatable = true;
}

const struct schedule *gw_instance_schedule(const struct gw_instance *instance) {
  (void)instance;
  return schedule_default();
}

void gw_instance_fail(struct gw_instance *instance, const char *format, ...) {
  (void)instance;
  va_list args;
  va_start(args, format);
  vsnprintf(guest.message, sizeof guest.message, format, args);
  va_end(args);
}

struct gw_store *gw_instance_store(const struct gw_instance *instance) {
  (void)instance;
  return NULL;
}

uint64_t gw_store_gas_used(const struct gw_store *store) {
  (void)store;
  return guest_gas_used();
}

uint64_t gw_store_gas_limit(const struct gw_store *store) {
  (void)store;
  return guest.limit;
}

/* What is asked of the store's other threads is waited for. One wait at a time. */
static struct {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool is_woken;
} guest_park = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

struct park *park_begin(struct gw_store *store) {
  (void)store;
  guest_park.is_woken = false;
  return NULL;
}

void park_here(struct gw_store *store) {
  (void)store;
  pthread_mutex_lock(&guest_park.mutex);
  while (!guest_park.is_woken) pthread_cond_wait(&guest_park.cond, &guest_park.mutex);
  pthread_mutex_unlock(&guest_park.mutex);
}

void park_wake(void *park) {
  (void)park;
  pthread_mutex_lock(&guest_park.mutex);
  guest_park.is_woken = true;
  pthread_cond_signal(&guest_park.cond);
  pthread_mutex_unlock(&guest_park.mutex);
}

/* --- calling host functions --------------------------------------------------------------------------------------- */

/* Calls `module`.`name`, parameters and result in `values`; an import that does not resolve ends the program. */
static inline enum gw_trap guest_call(gw_resolve_fn resolve, void *env, const char *module, const char *name,
                                      union gw_value *values) {
  struct gw_import import = {module, name, (uint32_t)strlen(module), (uint32_t)strlen(name)};
  struct gw_extern found;
  if (!resolve(env, &import, &found)) {
    fprintf(stderr, "no function %s.%s\n", module, name);
    abort();
  }
  guest.message[0] = 0;
  return found.of.host.func->fn(NULL, found.of.host.env, values);
}

/* A function of WASI; narrow parameters keep their low bits. Answers the errno, and the trap in `*trap`. */
static inline uint32_t guest_call_wasi(gw_resolve_fn resolve, void *wasi, const char *name, const uint64_t *parameters, size_t n,
                                       enum gw_trap *trap) {
  union gw_value values[12] = {0};
  for (size_t i = 0; i < n; i++) values[i].u64 = parameters[i];
  *trap = guest_call(resolve, wasi, "wasi_snapshot_preview1", name, values);
  return values[0].u32;
}

/* Puts a string without its NUL into guest memory. */
static inline uint32_t guest_put(uint32_t at, const char *s) {
  memcpy(guest.memory + at, s, strlen(s));
  return (uint32_t)strlen(s);
}

static inline uint32_t guest_u32(uint32_t at) {
  uint32_t x;
  memcpy(&x, guest.memory + at, sizeof x);
  return x;
}

static inline uint64_t guest_u64(uint32_t at) {
  uint64_t x;
  memcpy(&x, guest.memory + at, sizeof x);
  return x;
}

static inline void guest_put_u32(uint32_t at, uint32_t x) { memcpy(guest.memory + at, &x, sizeof x); }
static inline void guest_put_u64(uint32_t at, uint64_t x) { memcpy(guest.memory + at, &x, sizeof x); }

#endif
