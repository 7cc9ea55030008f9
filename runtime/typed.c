/* Calls with values that say their types. */
#include "base/error.h"
#include "runtime/describe.h"
#include "runtime/instance.h"

#include <stdlib.h>
#include <string.h>

enum { FEW = 16 };

static const char *const names[] = {"i32", "i64", "f32", "f64", "v128", "funcref", "externref", "another reference"};

static bool check(const struct gw_store *store, const struct module *m, const char *name, const struct func_type *type,
                  const struct gw_typed_value *args, size_t n_args, size_t n_results, struct gw_error *err) {
  if (n_args != type->n_params || n_results != type->n_results)
    return error_set(err, GW_ERROR_USAGE,
                     "function \"%.100s\" takes %u parameters and gives %u results, not %zu parameters and %zu results", name,
                     type->n_params, type->n_results, n_args, n_results);
  for (uint32_t i = 0; i < type->n_params; i++) {
    enum gw_type wanted = describe_type(type->params[i]);
    if (wanted != args[i].type && !(wanted == GW_REF && args[i].type == GW_FUNCREF))
      return error_set(err, GW_ERROR_USAGE, "parameter %u of function \"%.100s\" is %s, and %s is given", i, name, names[wanted],
                       args[i].type <= GW_REF ? names[args[i].type] : "no type");
    if (!describe_allows(store, type->params[i], m, args[i].of))
      return error_set(err, GW_ERROR_USAGE, "parameter %u of function \"%.100s\" may not be this reference", i, name);
  }
  return true;
}

static void call(struct gw_store *store, struct func_ref *func, const struct func_type *type, union gw_value *values,
                 const struct gw_typed_value *args, struct gw_typed_value *results, struct gw_error *err) {
  for (uint32_t i = 0; i < type->n_params; i++) values[i] = args[i].of;
  if (!gw_call(store, func, values, err)) return;
  for (uint32_t i = 0; i < type->n_results; i++)
    results[i] = (struct gw_typed_value){.type = describe_type(type->results[i]), .of = values[i]};
}

bool gw_call_typed(struct gw_instance *instance, const char *name, const struct gw_typed_value *args, size_t n_args,
                   struct gw_typed_value *results, size_t n_results, struct gw_error *err) {
  struct gw_extern found;
  struct gw_error own = {0};
  union gw_value few[FEW], *values = few;
  if (!gw_instance_export(instance, name, strlen(name), &found) || found.kind != GW_EXTERN_FUNC)
    return error_set(err, GW_ERROR_NOT_FOUND, "no function is exported as \"%.100s\"", name);
  const struct func_type *type = describe_func(found.of.func);
  const struct module *m = &found.of.func->vmctx->instance->module->decoded;
  if (!check(instance->store, m, name, type, args, n_args, n_results, err)) return false;
  size_t n = n_args > n_results ? n_args : n_results;
  if (n > FEW) values = calloc(n, sizeof *values);
  if (!values) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %zu values", n);
  call(instance->store, found.of.func, type, values, args, results, &own);
  if (values != few) free(values);
  if (own.code && err && !err->code) *err = own;
  return !own.code;
}
