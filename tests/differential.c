/* differential: runs every export of a module in a fixed order and prints what happened, for comparison with another engine.
 *
 *   differential [-O LEVEL] [--gas on|off] [--show-gas] [--exact] [--precise|--baseline|--mixed SEED] [--slice N]... FILE.wasm...
 *
 * Every file is compiled once and run once for each --slice (one: not sliced). "@ FILE SLICE" stands before each run when there
 * are several. Then one line per exported function: name, results as bit patterns (any NaN is "nan") or the trap's name; then a
 * digest of the memory. Arguments are small numbers derived from the position, the same as in differential.js. Imported functions
 * return zeros. --mixed runs baseline code, and compiles sets of functions that follow from the seed between calls and slices.
 */
#include "base/buffer.h"
#include "frontend/module.h"
#include "gasworks.h"
#include "tests/mixed.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_SETS = 4, /* for --mixed, of a file */
  MAX_MODULE = 16 << 20,
  MAX_VALUES = 2048,
  MAX_IMPORTS = 256,
  MAX_SLICES = 8,
  GAS_LIMIT = 2000000000
};

struct driver {
  struct gw_engine_options engine;
  struct gw_engine *compiler;
  bool show_gas;
  enum gw_tier tier;
  uint64_t random; /* of --mixed */
  int n_sets;
  struct gw_module *compiled;
  uint64_t slices[MAX_SLICES];
  int n_slices;
  char **paths; /* the front of argv */
  int n_paths;
  const struct module *module;
  struct gw_store *store;
  union gw_value values[MAX_VALUES];
  char signatures[MAX_IMPORTS][64];
  struct gw_host_func imports[MAX_IMPORTS];
  size_t n_imports;
};

/* --- imports: everything a random module asks for exists and does nothing ---------------------------------------- */

static enum gw_trap zero(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller;
  size_t n = strcspn(env, "_");
  if (n) memset(values, 0, n * sizeof *values);
  return GW_TRAP_NONE;
}

static char letter_of(val_type t) {
  static const char letters[] = {[VAL_I32] = 'i', [VAL_I64] = 'I', [VAL_F32] = 'f', [VAL_F64] = 'F', [VAL_V128] = 'v'};
  return val_kind(t) < sizeof letters && letters[val_kind(t)] ? letters[val_kind(t)] : 'r';
}

static bool give_func(struct driver *d, const struct import *import, struct gw_extern *out) {
  const struct func_type *type = &d->module->types[d->module->funcs[import->index].type].func;
  if (d->n_imports == MAX_IMPORTS || type->n_params + type->n_results + 2 > sizeof d->signatures[0]) return false;
  char *at = d->signatures[d->n_imports];
  struct gw_host_func *host = &d->imports[d->n_imports++];
  *host = (struct gw_host_func){"env", "f", at, zero};
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {host, at}};
  for (uint32_t i = 0; i < type->n_results; i++) *at++ = letter_of(type->results[i]);
  *at++ = '_';
  for (uint32_t i = 0; i < type->n_params; i++) *at++ = letter_of(type->params[i]);
  *at = '\0';
  return true;
}

static bool resolve(void *env, const struct gw_import *wanted, struct gw_extern *out) {
  struct driver *d = env;
  for (uint32_t i = 0; i < d->module->n_imports; i++) {
    const struct import *import = &d->module->imports[i];
    bool is_it = import->field.size == wanted->field_size && import->module.size == wanted->module_size &&
                 memcmp(import->module.bytes, wanted->module, wanted->module_size) == 0 &&
                 memcmp(import->field.bytes, wanted->field, wanted->field_size) == 0;
    if (is_it) return import->kind == EXTERN_FUNC && give_func(d, import, out);
  }
  return false;
}

/* --- functions compiled by themselves ------------------------------------------------------------------------------ */

static void maybe_compile(struct driver *d, uint32_t one_in) {
  if (d->tier != GW_TIER_MIXED || d->n_sets == MAX_SETS || mixed_below(&d->random, one_in)) return;
  d->n_sets++;
  mixed_compile(d->compiled, &d->random);
}

static bool call_in_slices(struct driver *d, struct func_ref *func, struct gw_error *err) {
  enum gw_status status;
  gw_store_start(d->store, func, d->values);
  while ((status = gw_store_resume(d->store, err)) == GW_STATUS_YIELDED) maybe_compile(d, 8);
  return status == GW_STATUS_DONE;
}

/* --- calls --------------------------------------------------------------------------------------------------------- */

/* References stay null. */
static void make_argument(val_type type, uint32_t seed, union gw_value *out) {
  *out = (union gw_value){0};
  switch (val_kind(type)) {
  case VAL_I32: out->i32 = (int32_t)seed; break;
  case VAL_I64: out->i64 = (int64_t)seed; break;
  case VAL_F32: out->f32 = (float)seed; break;
  case VAL_F64: out->f64 = (double)seed; break;
  default: break;
  }
}

static void print_value(val_type type, const union gw_value *v) {
  switch (val_kind(type)) {
  case VAL_I32: printf(" %" PRIu32, v->u32); break;
  case VAL_I64: printf(" %" PRIu64, v->u64); break;
  case VAL_F32: isnan(v->f32) ? printf(" nan") : printf(" %" PRIu32, v->u32); break;
  case VAL_F64: isnan(v->f64) ? printf(" nan") : printf(" %" PRIu64, v->u64); break;
  default: printf(" %s", v->ref ? "ref" : "null"); break;
  }
}

static bool has_vector(const struct func_type *type) {
  for (uint32_t i = 0; i < type->n_params; i++)
    if (type->params[i] == VAL_V128) return true;
  for (uint32_t i = 0; i < type->n_results; i++)
    if (type->results[i] == VAL_V128) return true;
  return false;
}

static void call(struct driver *d, struct gw_instance *instance, uint32_t position) {
  const struct export *e = &d->module->exports[position];
  const struct func_type *type = &d->module->types[d->module->funcs[e->index].type].func;
  struct gw_extern export;
  struct gw_error err = {0};
  printf("%.*s", (int)e->name.size, e->name.bytes);
  if (type->n_params > MAX_VALUES || type->n_results > MAX_VALUES ||
      !gw_instance_export(instance, e->name.bytes, e->name.size, &export)) {
    printf(" no call\n");
    return;
  }
  if (has_vector(type)) { /* the other engine's host cannot pass any */
    printf(" has vectors\n");
    return;
  }
  for (uint32_t i = 0; i < type->n_params; i++) make_argument(type->params[i], position * 7 + i, &d->values[i]);
  maybe_compile(d, 3);
  if (call_in_slices(d, export.of.func, &err)) {
    for (uint32_t i = 0; i < type->n_results; i++) print_value(type->results[i], &d->values[i]);
  } else {
    printf(" %s", err.code == GW_ERROR_TRAP ? gw_trap_message(err.trap) : err.message);
  }
  if (d->show_gas) printf(" gas %" PRIu64, gw_store_gas_used(d->store));
  printf("\n");
}

/* FNV-1a by words of 4 bytes, so that JavaScript can do it with Math.imul. */
static uint32_t memory_digest(struct gw_instance *instance) {
  uint64_t size = gw_instance_memory_size(instance);
  const uint8_t *bytes = size ? gw_instance_memory(instance, 0, size) : NULL;
  uint32_t hash = 2166136261u, word;
  for (uint64_t i = 0; bytes && i + 4 <= size; i += 4) {
    memcpy(&word, bytes + i, 4);
    hash = (hash ^ word) * 16777619u;
  }
  return hash;
}

static int run(struct driver *d, struct gw_module *module) {
  struct gw_error err = {0};
  d->module = gw_module_decoded(module);
  d->n_imports = 0;
  struct gw_instance *instance = gw_instance_create(d->store, module, resolve, d, &err);
  if (!instance) {
    printf("instantiation: %s\n", err.code == GW_ERROR_TRAP ? gw_trap_message(err.trap) : err.message);
    return err.code == GW_ERROR_TRAP ? 0 : 1;
  }
  for (uint32_t i = 0; i < d->module->n_exports; i++) {
    if (d->module->exports[i].kind == EXTERN_FUNC) call(d, instance, i);
  }
  printf("memory %" PRIu64 " %" PRIu32 "\n", gw_instance_memory_size(instance), memory_digest(instance));
  return 0;
}

static int run_slices(struct driver *d, const char *path, struct gw_module *module, struct gw_error *err) {
  int status = 0;
  for (int i = 0; i < d->n_slices && !status; i++) {
    if (d->n_paths * d->n_slices > 1) printf("@ %s %" PRIu64 "\n", path, d->slices[i]);
    struct gw_store_options options = {.gas_limit = GAS_LIMIT, .slice = d->slices[i], .tier = d->tier};
    d->store = gw_store_create(d->compiler, &options, err);
    d->compiled = module;
    status = d->store ? run(d, module) : 1;
    gw_store_destroy(d->store);
  }
  return status;
}

static int run_file(struct driver *d, const char *path) {
  struct gw_error err = {0};
  struct buffer bytes = {0};
  struct gw_module *module = NULL;
  int status = 1;
  d->n_sets = 0;
  if (buffer_read_file(&bytes, path, MAX_MODULE, &err)) module = gw_module_create(d->compiler, bytes.bytes, bytes.size, &err);
  if (module) status = run_slices(d, path, module, &err);
  if (err.code != GW_ERROR_NONE) printf("error: %s\n", err.message);
  gw_module_release(module);
  buffer_clear(&bytes);
  return status;
}

static bool read_arguments(struct driver *d, int argc, char **argv) {
  d->engine = (struct gw_engine_options){.loose_traps = true, .opt_level = 2, .gas = true, .verify = true};
  d->paths = argv;
  for (int i = 1; i < argc; i++) {
    bool has_value = i + 1 < argc;
    if (strcmp(argv[i], "-O") == 0 && has_value)
      d->engine.opt_level = (uint32_t)atoi(argv[++i]);
    else if (strcmp(argv[i], "--gas") == 0 && has_value)
      d->engine.gas = strcmp(argv[++i], "off") != 0;
    else if (strcmp(argv[i], "--slice") == 0 && has_value && d->n_slices < MAX_SLICES)
      d->slices[d->n_slices++] = strtoull(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--exact") == 0)
      d->engine.loose_traps = false;
    else if (strcmp(argv[i], "--precise") == 0)
      d->tier = GW_TIER_PRECISE;
    else if (strcmp(argv[i], "--baseline") == 0)
      d->tier = GW_TIER_BASELINE;
    else if (strcmp(argv[i], "--mixed") == 0 && has_value) {
      d->tier = GW_TIER_MIXED;
      d->random = strtoull(argv[++i], NULL, 10);
    } else if (strcmp(argv[i], "--show-gas") == 0)
      d->show_gas = true;
    else
      d->paths[d->n_paths++] = argv[i];
  }
  if (!d->n_slices) d->n_slices = 1;
  return d->n_paths > 0;
}

int main(int argc, char **argv) {
  static struct driver driver;
  struct driver *d = &driver;
  struct gw_error err = {0};
  int status = 0;
  if (!read_arguments(d, argc, argv)) return 2;
  d->compiler = gw_engine_create(&d->engine, &err);
  if (!d->compiler) {
    printf("error: %s\n", err.message);
    return 1;
  }
  for (int i = 0; i < d->n_paths; i++)
    if (run_file(d, d->paths[i])) status = 1;
  gw_engine_destroy(d->compiler);
  return status;
}
