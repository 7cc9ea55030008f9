/* The host module that the suite's scripts import. */
#include "tests/spec.h"

#include <string.h>

static enum gw_trap print(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller;
  (void)env;
  (void)values;
  return GW_TRAP_NONE;
}

static const struct gw_host_func funcs[] = {
    {"spectest", "print", "_", print},           {"spectest", "print_i32", "_i", print},
    {"spectest", "print_i64", "_I", print},      {"spectest", "print_f32", "_f", print},
    {"spectest", "print_f64", "_F", print},      {"spectest", "print_i32_f32", "_if", print},
    {"spectest", "print_f64_f64", "_FF", print},
};

static const struct {
  const char *name, *type;
  union gw_value value;
} globals[] = {
    {"global_i32", "i32", {.i32 = 666}},
    {"global_i64", "i64", {.i64 = 666}},
    {"global_f32", "f32", {.f32 = 666.6f}},
    {"global_f64", "f64", {.f64 = 666.6}},
};

enum { N_FUNCS = sizeof funcs / sizeof funcs[0], N_GLOBALS = sizeof globals / sizeof globals[0] };

bool spectest_init(struct spectest *t, struct gw_store *store, struct gw_error *err) {
  *t = (struct spectest){0};
  t->memory = gw_memory_create(store, 1, 2, err);
  t->table = gw_table_create(store, "funcref", 10, 20, err);
  t->table64 = gw_table_create(store, "i64 funcref", 10, 20, err);
  for (int i = 0; i < N_GLOBALS; i++) {
    t->globals[i] = gw_global_create(store, globals[i].type, false, globals[i].value);
    if (!t->globals[i]) return false;
  }
  return t->memory && t->table && t->table64;
}

static bool field_is(const struct gw_import *import, const char *name) {
  return import->field_size == strlen(name) && memcmp(import->field, name, import->field_size) == 0;
}

bool spectest_resolve(const struct spectest *t, const struct gw_import *import, struct gw_extern *out) {
  for (int i = 0; i < N_FUNCS; i++) {
    if (!field_is(import, funcs[i].name)) continue;
    *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &funcs[i]};
    return true;
  }
  for (int i = 0; i < N_GLOBALS; i++) {
    if (!field_is(import, globals[i].name)) continue;
    *out = (struct gw_extern){.kind = GW_EXTERN_GLOBAL, .of.global = t->globals[i]};
    return true;
  }
  if (field_is(import, "memory"))
    *out = (struct gw_extern){.kind = GW_EXTERN_MEMORY, .of.memory = t->memory};
  else if (field_is(import, "table"))
    *out = (struct gw_extern){.kind = GW_EXTERN_TABLE, .of.table = t->table};
  else if (field_is(import, "table64"))
    *out = (struct gw_extern){.kind = GW_EXTERN_TABLE, .of.table = t->table64};
  else
    return false;
  return true;
}
