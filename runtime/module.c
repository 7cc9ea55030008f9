/* A loaded module: its bytes, its decoded form, and its code once somebody needs that. Shared by reference count. */
#define _GNU_SOURCE /* memfd_create */
#include "base/heap.h"
#include "runtime/engine.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "jit/artifact/cache.h"
#include "runtime/compile.h"
#include "runtime/debug/source.h"
#include "runtime/precise/precise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static bool decode_and_validate(struct gw_module *module, struct gw_error *err) {
  const struct artifact *a = module->artifact;
  double start = clock_seconds(CLOCK_MONOTONIC);
  if (!module_decode(&module->decoded, module->bytes, module->size, err)) return false;
  double decoded = clock_seconds(CLOCK_MONOTONIC);
  module->seconds_decode = decoded - start;
  bool ok = true;
  if (a && a->n_offsets != module->decoded.n_funcs + module->decoded.n_types)
    ok = error_set(err, GW_ERROR_ARTIFACT, "the artifact is damaged: it is of a module with other functions");
  ok = ok && (a ? module_validate_with(&module->decoded, a->facts, a->dialect, err) : module_validate(&module->decoded, err));
  module->seconds_validate = clock_seconds(CLOCK_MONOTONIC) - decoded;
  if (!ok) module_clear(&module->decoded);
  return ok;
}

static void destroy(struct gw_module *module) {
  if (module->artifact)
    artifact_unmap(module->artifact);
  else
    free((void *)module->bytes);
  pthread_mutex_destroy(&module->compile_lock);
  pthread_mutex_destroy(&module->precise_lock);
  pthread_mutex_destroy(&module->source_lock);
  free(module->heat);
  free(module);
}

static struct gw_module *create(struct gw_engine *engine, const struct digest *digest) {
  struct gw_module *module = calloc(1, sizeof *module);
  if (!module) return NULL;
  module->references = 1;
  module->engine = engine;
  module->digest = *digest;
  pthread_mutex_init(&module->compile_lock, NULL);
  pthread_mutex_init(&module->precise_lock, NULL);
  pthread_mutex_init(&module->source_lock, NULL);
  return module;
}

/* Takes the artifact over in every case. */
static struct gw_module *create_from_artifact(struct gw_engine *engine, struct artifact *artifact, struct gw_error *err) {
  struct gw_module *module = create(engine, &artifact->key->module);
  if (!module) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a module");
    artifact_unmap(artifact);
    return NULL;
  }
  module->artifact = artifact;
  module->bytes = artifact->module;
  module->size = artifact->module_size;
  if (decode_and_validate(module, err)) {
    if (module_adopt_code(module, err)) return module;
    module_clear(&module->decoded);
  }
  destroy(module);
  return NULL;
}

/* `path` is for messages. */
static struct gw_module *create_from_file(struct gw_engine *engine, int fd, const char *path, struct gw_error *err) {
  struct artifact *artifact = artifact_map(fd, err);
  if (!artifact) return NULL;
  struct artifact_options options = module_artifact_options(engine);
  bool is_natural = !artifact->key->dialect;
  if (!is_natural) error_set(err, GW_ERROR_ARTIFACT, "%s holds code in another dialect than the module's own", path);
  if (!is_natural || !artifact_fits(artifact, &options, err)) {
    artifact_unmap(artifact);
    return NULL;
  }
  return create_from_artifact(engine, artifact, err);
}

struct gw_module *gw_module_open_artifact(struct gw_engine *engine, const char *path, struct gw_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    error_set(err, GW_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    return NULL;
  }
  struct gw_module *module = create_from_file(engine, fd, path, err);
  close(fd);
  return module;
}

/* Code is mapped from files only. */
struct gw_module *gw_module_load_artifact(struct gw_engine *engine, const void *bytes, size_t size, struct gw_error *err) {
  int fd = memfd_create("gasworks-artifact", MFD_CLOEXEC);
  struct gw_module *module = NULL;
  if (fd >= 0 && fd_write_all(fd, bytes, size))
    module = create_from_file(engine, fd, "the artifact", err);
  else
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for an artifact of %zu bytes: %s", size, strerror(errno));
  if (fd >= 0) close(fd);
  return module;
}

/* What the cache holds saves validating and compiling. */
static struct gw_module *find_cached(struct gw_engine *engine, const struct digest *digest) {
  struct artifact_options options = module_artifact_options(engine);
  struct artifact_key key;
  if (!engine->options.cache || engine->options.profile || !artifact_key(&key, digest, &options, NULL)) return NULL;
  struct artifact *artifact = cache_find(engine->options.cache, &key);
  return artifact ? create_from_artifact(engine, artifact, NULL) : NULL;
}

struct gw_module *gw_module_create(struct gw_engine *engine, const void *bytes, size_t size, struct gw_error *err) {
  struct digest digest = digest_of(bytes, size);
  struct gw_module *module = find_cached(engine, &digest);
  if (module) return module;
  uint8_t *copy = malloc(size ? size : 1);
  module = copy ? create(engine, &digest) : NULL;
  if (!module) {
    free(copy);
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for a module of %zu bytes", size);
    return NULL;
  }
  if (size) memcpy(copy, bytes, size);
  module->bytes = copy;
  module->size = size;
  if (decode_and_validate(module, err)) return module;
  destroy(module);
  return NULL;
}

struct gw_module *gw_module_retain(struct gw_module *module) {
  atomic_fetch_add_explicit(&module->references, 1, memory_order_relaxed);
  return module;
}

void gw_module_release(struct gw_module *module) {
  if (!module || atomic_fetch_sub_explicit(&module->references, 1, memory_order_acq_rel) != 1) return;
  for (int i = 0; i < N_DIALECTS; i++) {
    code_destroy(atomic_load(&module->codes[i]));
    gas_blocks_clear(&module->blocks[i]);
  }
  for (int i = 0; i < N_PRECISE_KINDS; i++) precise_module_destroy(module->precise[i]);
  source_destroy(module->source);
  module_clear(&module->decoded);
  destroy(module);
}

struct precise_module *module_interpret(struct gw_module *module, enum precise_kind kind, struct gw_error *err) {
  _Atomic(struct precise_module *) *p = &module->precise[kind];
  struct precise_module *precise = atomic_load_explicit(p, memory_order_acquire);
  if (precise) return precise; /* whoever has the lock may be translating for a second */
  pthread_mutex_lock(&module->precise_lock);
  precise = atomic_load_explicit(p, memory_order_relaxed);
  if (!precise) precise = precise_module_create(module, kind);
  atomic_store_explicit(p, precise, memory_order_release);
  pthread_mutex_unlock(&module->precise_lock);
  if (!precise) error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for %u functions", module->decoded.n_funcs);
  return precise;
}

const struct module *gw_module_decoded(const struct gw_module *module) { return &module->decoded; }

const uint8_t *gw_module_digest(const struct gw_module *module) { return module->digest.bytes; }

void gw_module_stats(const struct gw_module *module, struct gw_module_stats *out) {
  *out = (struct gw_module_stats){.seconds_decode = module->seconds_decode, .seconds_validate = module->seconds_validate};
  struct gw_module *m = (struct gw_module *)module;
  const struct code *code = atomic_load_explicit(&m->codes[m->decoded.dialect], memory_order_acquire);
  const struct compile_seconds *seconds = code ? &code->seconds : &m->seconds;
  out->seconds_lower = seconds->lower;
  out->seconds_charge = seconds->charge;
  out->seconds_optimize = seconds->optimize;
  out->seconds_emit = seconds->emit;
  out->seconds_link = seconds->link;
  if (code) out->code_bytes = code->code_bytes;
  precise_add_published(m->precise[PRECISE_MIXED], out);
  pthread_mutex_lock(&m->precise_lock);
  bool is_mixed = m->precise[PRECISE_MIXED];
  struct precise_stats baseline = precise_module_stats(m->precise[is_mixed ? PRECISE_MIXED : PRECISE_BASELINE]);
  pthread_mutex_unlock(&m->precise_lock);
  out->baseline_functions = baseline.functions;
  out->baseline_refused = baseline.refused;
  out->baseline_bytes = baseline.bytes;
  out->seconds_baseline = baseline.seconds;
}

const char *gw_module_name(const struct gw_module *module, char *out, size_t size) {
  struct name name = module->decoded.name;
  size_t n = name.size < size - 1 ? name.size : size - 1;
  if (n) memcpy(out, name.bytes, n);
  out[n] = 0;
  return out;
}
