/* A module's code comes from the cache, from a child process or from the compiler in this process, in this order; what is new
 * goes to the cache. Code in another dialect than the module's own is rare: it is always compiled here. */
#include "runtime/compile.h"

#include "base/error.h"
#include "jit/artifact/cache.h"
#include "runtime/debug/perf_map.h"
#include "runtime/debug/source.h"
#include "runtime/precise/precise.h"

#include <stdlib.h>
#include <string.h>

static struct compile_options compile_options(const struct gw_engine *engine, uint32_t dialect) {
  return (struct compile_options){
      .opt_level = engine->options.opt_level,
      .gas = engine->options.gas,
      .exact = !engine->options.loose_traps,
      .dialect = dialect,
      .verify = engine->options.verify,
      .threads = engine->options.threads,
      .schedule = &engine->schedule,
      .perf = engine->options.perf,
      .progress = engine->options.progress,
      .progress_env = engine->options.progress_env,
  };
}

struct artifact_options module_artifact_options(const struct gw_engine *engine) {
  return (struct artifact_options){.opt_level = engine->options.opt_level,
                                   .gas = engine->options.gas,
                                   .exact = !engine->options.loose_traps,
                                   .schedule = &engine->schedule};
}

struct gw_cache *engine_cache(const struct gw_engine *engine) {
  return engine->options.cache;
}

bool engine_accepts(const struct gw_engine *engine, const struct artifact *a, struct gw_error *err) {
  struct artifact_options options = module_artifact_options(engine);
  if (!artifact_fits(a, &options, err)) return false;
  struct artifact_key key;
  if (a->key->opt_level != options.opt_level || a->key->dialect)
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact was compiled at -O%u, this server's level is %u", a->key->opt_level,
                     options.opt_level);
  if (a->key->exact != options.exact)
    return error_set(err, GW_ERROR_ARTIFACT, "the artifact was compiled with exact traps, this server's code has loose ones");
  if (!artifact_key(&key, &a->key->module, &options, err)) return false;
  if (memcmp(&key, a->key, sizeof key) == 0) return true;
  return error_set(err, GW_ERROR_ARTIFACT, "the artifact was compiled for %.*s, this server wants code for its own CPU",
                   ARTIFACT_CPU_SIZE - 1, a->key->cpu);
}

static void clear_image(struct image *image) {
  free(image->bytes);
  free(image->offsets);
}

/* Takes over `code`, which may be NULL; perf learns of it before it runs. */
static struct code *show_to_perf(const struct gw_module *module, struct code *code, struct gw_error *err) {
  if (!code || !module->engine->options.perf || perf_map_add(&module->decoded, code, err)) return code;
  code_destroy(code);
  return NULL;
}

bool module_adopt_code(struct gw_module *module, struct gw_error *err) {
  struct code *code = show_to_perf(module, code_adopt(&module->decoded, module->artifact, err), err);
  atomic_store(&module->codes[module->decoded.dialect], code);
  return code != NULL;
}

/* Not kept: a cache that cannot be written to is no reason to fail. */
static void keep(const struct gw_module *module, const struct artifact_key *key, const void *bytes, size_t size) {
  if (module->engine->options.cache) cache_store(module->engine->options.cache, key, bytes, size, NULL);
}

/* Whoever keeps artifacts gets one beside the code: an image of the same object files. */
static struct code *compile_here(struct gw_module *module, uint32_t dialect, const struct artifact_key *key,
                                 struct gw_error *err) {
  const struct compiler_ops *ops = compiler_load(err);
  struct image image = {0};
  struct loaded loaded;
  bool is_kept = key && module->engine->options.cache;
  if (!ops) return NULL;
  struct compile_options options = compile_options(module->engine, dialect);
  if (module->engine->options.profile) options.blocks = &module->blocks[dialect];
  struct source_lines lines = {0};
  if (module->engine->options.debug_info) {
    source_read_lines(module, &lines);
    options.lines = &lines;
  }
  bool is_compiled = ops->compile(&module->decoded, &options, is_kept ? &image : NULL, &loaded, err);
  free(lines.rows);
  if (!is_compiled) return NULL;
  struct code *code = code_take(&module->decoded, &loaded, ops->unload, err);
  if (code && is_kept) {
    struct buffer artifact = {0};
    artifact_build(&module->decoded, key, &image, &artifact);
    keep(module, key, artifact.bytes, artifact.size);
    buffer_clear(&artifact);
  }
  clear_image(&image);
  return code;
}

/* Code of an artifact that goes away. */
static struct code *copy_code(const struct gw_module *module, const struct artifact *a, struct gw_error *err) {
  struct image image = artifact_image(a);
  if (a->n_offsets == module->decoded.n_funcs + module->decoded.n_types) return code_create(&module->decoded, &image, err);
  error_set(err, GW_ERROR_COMPILE, "the compiler made code for another module");
  return NULL;
}

static struct code *compile_apart(struct gw_module *module, const struct artifact_key *key, bool *is_slow, struct gw_error *err) {
  struct artifact *artifact = child_compile(&module->engine->compilers, module->bytes, module->size, key, is_slow, err);
  if (!artifact) return NULL;
  struct code *code = copy_code(module, artifact, err);
  if (code) keep(module, artifact->key, artifact->bytes, artifact->size); /* it may be of a lower level */
  artifact_unmap(artifact);
  return code;
}

/* What somebody else has compiled since this module was created. */
static struct code *find_cached(const struct gw_module *module, const struct artifact_key *key) {
  struct gw_cache *cache = module->engine->options.cache;
  struct artifact *artifact = cache ? cache_find(cache, key) : NULL;
  struct code *code = artifact ? copy_code(module, artifact, NULL) : NULL;
  artifact_unmap(artifact);
  return code;
}

static struct code *compile(struct gw_module *module, uint32_t dialect, bool *is_slow, struct gw_error *err) {
  const struct gw_engine_options *options = &module->engine->options;
  bool is_natural = dialect == module->decoded.dialect && !options->profile && !options->verify && !options->debug_info;
  struct artifact_options wanted = module_artifact_options(module->engine);
  struct artifact_key key;
  if (!is_natural) return compile_here(module, dialect, NULL, err);
  if (!artifact_key(&key, &module->digest, &wanted, err)) return NULL;
  struct code *code = find_cached(module, &key);
  if (code) return code;
  return options->compiler_program ? compile_apart(module, &key, is_slow, err) : compile_here(module, dialect, &key, err);
}

static const struct code *compile_once(struct gw_module *module, uint32_t dialect, bool *is_slow, struct gw_error *err) {
  _Atomic(struct code *) *compiled = &module->codes[dialect];
  struct code *code = atomic_load_explicit(compiled, memory_order_acquire);
  if (code) return code;
  pthread_mutex_lock(&module->compile_lock);
  code = atomic_load(compiled);
  if (!code) {
    code = show_to_perf(module, compile(module, dialect, is_slow, err), err);
    atomic_store_explicit(compiled, code, memory_order_release);
  }
  pthread_mutex_unlock(&module->compile_lock);
  return code;
}

const struct code *module_compile(struct gw_module *module, uint32_t dialect, struct gw_error *err) {
  return compile_once(module, dialect, NULL, err);
}

bool gw_module_compile_quickly(struct gw_module *module, bool *is_slow, struct gw_error *err) {
  *is_slow = false;
  return compile_once(module, module->decoded.dialect, is_slow, err);
}

bool gw_module_compile(struct gw_module *module, struct gw_error *err) {
  return module_compile(module, module->decoded.dialect, err);
}

bool module_is_compiled(const struct gw_module *module) {
  return atomic_load_explicit(&module->codes[module->decoded.dialect], memory_order_acquire) != NULL;
}

bool module_can_mix(const struct gw_module *module) { return !(module->decoded.dialect & DIALECT_TAIL_CALLS); }

/* Stacks of the mixed tier are opened before anybody knows of larger frames. */
static bool check_frames(const struct code *code, struct gw_error *err) {
  return code->stack_factor <= MIXED_STACK_FACTOR ||
         error_set(err, GW_ERROR_LIMIT, "a function's native frame has %u times the bytes that its operands and locals cost",
                   code->stack_factor);
}

bool module_compile_functions(struct gw_module *module, const uint32_t *funcs, uint32_t n, struct gw_error *err) {
  const struct compiler_ops *ops = compiler_load(err);
  struct precise_module *precise = module_interpret(module, PRECISE_MIXED, err);
  struct loaded loaded;
  if (!ops || !precise) return false;
  if (!module_can_mix(module)) return error_set(err, GW_ERROR_USAGE, "a module with tail calls is compiled as a whole");
  struct compile_options options = compile_options(module->engine, module->decoded.dialect);
  options.only = funcs;
  options.n_only = n;
  if (!ops->compile(&module->decoded, &options, NULL, &loaded, err)) return false;
  struct code *code = show_to_perf(module, code_take(&module->decoded, &loaded, ops->unload, err), err);
  if (!code) return false;
  if (!check_frames(code, err)) {
    code_destroy(code);
    return false;
  }
  return precise_module_publish(precise, code) || error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %u functions", n);
}

void module_set_heat(struct gw_module *module, uint64_t *heat) {
  free(module->heat);
  module->heat = heat;
}

void *gw_module_make_artifact(struct gw_module *module, const char *cpu, size_t *size, struct gw_error *err) {
  const struct compiler_ops *ops = compiler_load(err);
  struct artifact_options wanted = module_artifact_options(module->engine);
  struct artifact_key key;
  struct image image;
  struct buffer artifact = {0};
  wanted.cpu = cpu;
  if (!ops || !artifact_key(&key, &module->digest, &wanted, err)) return NULL;
  struct compile_options options = compile_options(module->engine, module->decoded.dialect);
  options.cpu = cpu;
  options.heat = module->heat;
  if (!ops->compile(&module->decoded, &options, &image, NULL, err)) return NULL;
  artifact_build(&module->decoded, &key, &image, &artifact);
  module->seconds = image.seconds;
  clear_image(&image);
  *size = artifact.size;
  return artifact.bytes;
}

char *gw_module_dump(struct gw_module *module, enum gw_dump kind, const char *cpu, struct gw_error *err) {
  static const enum dump_kind kinds[] = {[GW_DUMP_IR_FRESH] = DUMP_IR_FRESH, [GW_DUMP_IR] = DUMP_IR, [GW_DUMP_ASM] = DUMP_ASM};
  const struct compiler_ops *ops = compiler_load(err);
  if (!ops) return NULL;
  struct compile_options options = compile_options(module->engine, module->decoded.dialect);
  options.cpu = cpu;
  return ops->dump(&module->decoded, &options, kinds[kind], err);
}
