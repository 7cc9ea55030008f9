/* A loaded module: its bytes, its decoded form, and its code once somebody needs that. Shared by reference count. */
#include "runtime/engine.h"

#include "base/error.h"
#include "runtime/precise.h"
#include "runtime/source.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool decode_and_validate(struct gw_module *module, struct gw_error *err) {
  double start = seconds_now();
  if (!module_decode(&module->decoded, module->bytes, module->size, err)) return false;
  double decoded = seconds_now();
  module->seconds_decode = decoded - start;
  bool ok = module_validate(&module->decoded, err);
  module->seconds_validate = seconds_now() - decoded;
  if (!ok) module_clear(&module->decoded);
  return ok;
}

struct gw_module *gw_module_create(struct gw_engine *engine, const void *bytes, size_t size, struct gw_error *err) {
  struct gw_module *module = calloc(1, sizeof *module);
  uint8_t *copy = malloc(size ? size : 1);
  if (!module || !copy) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a module of %zu bytes", size);
    goto fail;
  }
  if (size) memcpy(copy, bytes, size);
  module->references = 1;
  module->engine = engine;
  module->bytes = copy;
  module->size = size;
  if (!decode_and_validate(module, err)) goto fail;
  crypto_generichash(module->digest, sizeof module->digest, copy, size, NULL, 0);
  pthread_mutex_init(&module->compile_lock, NULL);
  pthread_mutex_init(&module->precise_lock, NULL);
  pthread_mutex_init(&module->source_lock, NULL);
  return module;
fail:
  free(copy);
  free(module);
  return NULL;
}

struct gw_module *gw_module_retain(struct gw_module *module) {
  atomic_fetch_add_explicit(&module->references, 1, memory_order_relaxed);
  return module;
}

void gw_module_release(struct gw_module *module) {
  if (!module || atomic_fetch_sub_explicit(&module->references, 1, memory_order_acq_rel) != 1) return;
  for (int i = 0; i < 2; i++) {
    code_destroy(atomic_load(&module->codes[i]));
    gas_blocks_clear(&module->blocks[i]);
  }
  precise_module_destroy(module->precise);
  pthread_mutex_destroy(&module->compile_lock);
  pthread_mutex_destroy(&module->precise_lock);
  source_destroy(module->source);
  pthread_mutex_destroy(&module->source_lock);
  module_clear(&module->decoded);
  free(module->bytes);
  free(module);
}

static struct compile_options compile_options(const struct gw_engine *engine, bool exceptions) {
  return (struct compile_options){
      .opt_level = engine->options.opt_level,
      .gas = engine->options.gas,
      .exceptions = exceptions,
      .verify = engine->options.verify,
      .schedule = &engine->schedule,
  };
}

static struct code *compile(struct gw_module *module, bool exceptions, struct gw_error *err) {
  const struct compiler_ops *ops = compiler_load(err);
  if (!ops) return NULL;
  struct compile_options options = compile_options(module->engine, exceptions);
  if (module->engine->options.profile) options.blocks = &module->blocks[exceptions];
  struct image image;
  if (!ops->compile(&module->decoded, &options, &image, err)) return NULL;
  struct code *code = code_create(&module->decoded, &image, err);
  free(image.bytes);
  free(image.offsets);
  return code;
}

const struct code *module_compile(struct gw_module *module, bool exceptions, struct gw_error *err) {
  _Atomic(struct code *) *variant = &module->codes[exceptions];
  struct code *code = atomic_load_explicit(variant, memory_order_acquire);
  if (code) return code;
  pthread_mutex_lock(&module->compile_lock);
  code = atomic_load(variant);
  if (!code) {
    code = compile(module, exceptions, err);
    atomic_store_explicit(variant, code, memory_order_release);
  }
  pthread_mutex_unlock(&module->compile_lock);
  return code;
}

bool module_interpret(struct gw_module *module, struct gw_error *err) {
  pthread_mutex_lock(&module->precise_lock);
  if (!module->precise) module->precise = precise_module_create(module);
  bool ok = module->precise;
  pthread_mutex_unlock(&module->precise_lock);
  return ok || error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %u functions", module->decoded.n_funcs);
}

bool gw_module_compile(struct gw_module *module, struct gw_error *err) {
  return module_compile(module, module->decoded.has_exceptions, err);
}

char *gw_module_dump(struct gw_module *module, enum gw_dump kind, struct gw_error *err) {
  static const enum dump_kind kinds[] = {[GW_DUMP_IR_FRESH] = DUMP_IR_FRESH, [GW_DUMP_IR] = DUMP_IR, [GW_DUMP_ASM] = DUMP_ASM};
  const struct compiler_ops *ops = compiler_load(err);
  if (!ops) return NULL;
  struct compile_options options = compile_options(module->engine, module->decoded.has_exceptions);
  return ops->dump(&module->decoded, &options, kinds[kind], err);
}

const struct module *gw_module_decoded(const struct gw_module *module) { return &module->decoded; }

const uint8_t *gw_module_digest(const struct gw_module *module) { return module->digest; }

void gw_module_stats(const struct gw_module *module, struct gw_module_stats *out) {
  *out = (struct gw_module_stats){.seconds_decode = module->seconds_decode, .seconds_validate = module->seconds_validate};
  struct gw_module *m = (struct gw_module *)module;
  const struct code *code = atomic_load_explicit(&m->codes[m->decoded.has_exceptions], memory_order_acquire);
  if (!code) return;
  out->seconds_lower = code->seconds.lower;
  out->seconds_charge = code->seconds.charge;
  out->seconds_optimize = code->seconds.optimize;
  out->seconds_emit = code->seconds.emit;
  out->seconds_link = code->seconds.link;
  out->code_bytes = code->code_bytes;
}

const char *gw_module_name(const struct gw_module *module, char *out, size_t size) {
  struct name name = module->decoded.name;
  size_t n = name.size < size - 1 ? name.size : size - 1;
  if (n) memcpy(out, name.bytes, n);
  out[n] = 0;
  return out;
}
