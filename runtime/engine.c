/* Engine options, and the compiler as a shared object that only the first compile opens: mapping libLLVM costs more than
 * everything else that starting a process does. */
#define _GNU_SOURCE /* dladdr1 */
#include "runtime/engine.h"

#include "base/error.h"
#include "runtime/beside.h"
#include "runtime/trap.h"

#include <dlfcn.h>
#include <link.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMPILER_FILE "gasworks-compiler.so"

static struct child_pool compilers(const struct gw_engine *engine) {
  const struct gw_engine_options *o = &engine->options;
  return (struct child_pool){.program = o->compiler_program,
                             .schedule = &engine->schedule,
                             .gas = o->gas,
                             .threads = o->threads,
                             .max_seconds = o->compile_seconds ? o->compile_seconds : GW_COMPILE_DEFAULT_SECONDS,
                             .wall_seconds = o->compile_wall_seconds,
                             .max_memory = o->compile_memory ? o->compile_memory : GW_COMPILE_DEFAULT_MEMORY};
}

struct gw_engine *gw_engine_create(const struct gw_engine_options *options, struct gw_error *err) {
  if (options->opt_level > 3) {
    error_set(err, GW_ERROR_USAGE, "optimisation level %u is not one of 0 to 3", options->opt_level);
    return NULL;
  }
  if (sodium_init() < 0) {
    error_set(err, GW_ERROR_UNAVAILABLE, "libsodium does not start");
    return NULL;
  }
  if (!trap_handlers_install(err)) return NULL;
  struct gw_engine *engine = calloc(1, sizeof *engine);
  if (!engine) {
    error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for an engine");
    return NULL;
  }
  engine->options = *options;
  engine->schedule = options->schedule ? *options->schedule : *schedule_default();
  engine->options.schedule = &engine->schedule;
  engine->compilers = compilers(engine);
  child_pool_init(&engine->compilers);
  pthread_mutex_init(&engine->host_lock, NULL);
  pthread_mutex_init(&engine->beside_lock, NULL);
  pthread_cond_init(&engine->beside_done, NULL);
  return engine;
}

void gw_engine_destroy(struct gw_engine *engine) {
  if (!engine) return;
  beside_wait(engine);
  child_pool_clear(&engine->compilers);
  host_modules_clear(engine);
  pthread_mutex_destroy(&engine->host_lock);
  pthread_mutex_destroy(&engine->beside_lock);
  pthread_cond_destroy(&engine->beside_done);
  free(engine);
}

void gw_engine_stop_compiling(struct gw_engine *engine) { child_pool_stop(&engine->compilers); }

uint64_t gw_engine_memory_bytes(const struct gw_engine *engine) {
  return atomic_load_explicit(&engine->memory_bytes, memory_order_relaxed);
}

/* The file that this code is part of: a shared library, or the program. */
static bool own_file(char *out, size_t size) {
  Dl_info info;
  struct link_map *map = NULL;
  if (dladdr1((void *)own_file, &info, (void **)&map, RTLD_DL_LINKMAP) && map && map->l_name[0])
    return snprintf(out, size, "%s", map->l_name) < (int)size;
  ssize_t n = readlink("/proc/self/exe", out, size - 1);
  out[n > 0 ? n : 0] = 0;
  return n > 0;
}

/* Its directory, without a final slash. */
static bool own_directory(char *out, size_t size) {
  if (!own_file(out, size)) return false;
  char *slash = strrchr(out, '/');
  if (!slash) return false;
  *slash = 0;
  return true;
}

/* Opens `path` if it is there. A file that is there but cannot be loaded is an error. */
static void *open_compiler(const char *path, struct gw_error *err) {
  if (access(path, F_OK)) return NULL;
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) error_set(err, GW_ERROR_COMPILE, "cannot load the compiler: %.250s", dlerror());
  return handle;
}

static void *find_compiler(struct gw_error *err) {
  char directory[2048], path[2200];
  bool has_directory = own_directory(directory, sizeof directory);
  const char *variable = getenv("GASWORKS_COMPILER");
  void *handle = NULL;
  if (has_directory) {
    snprintf(path, sizeof path, "%s/" COMPILER_FILE, directory);
    handle = open_compiler(path, err);
  }
  if (!handle && variable) handle = open_compiler(variable, err);
  static const char *const places[] = {"../lib/gasworks", "gasworks"};
  for (int i = 0; i < 2 && !handle && has_directory; i++) {
    snprintf(path, sizeof path, "%s/%s/" COMPILER_FILE, directory, places[i]);
    handle = open_compiler(path, err);
  }
  if (!handle)
    error_set(err, GW_ERROR_COMPILE,
              "found no " COMPILER_FILE
              " beside the program or libgasworks, in its ../lib/gasworks or gasworks, or at $GASWORKS_COMPILER");
  return handle;
}

static const struct compiler_ops *load(struct gw_error *err) {
  void *handle = find_compiler(err);
  if (!handle) return NULL;
  const struct compiler_ops *ops = dlsym(handle, COMPILER_SYMBOL);
  if (ops && ops->version == COMPILER_VERSION) return ops;
  if (!ops)
    error_set(err, GW_ERROR_COMPILE, COMPILER_FILE " has no symbol " COMPILER_SYMBOL);
  else
    error_set(err, GW_ERROR_COMPILE, COMPILER_FILE " has interface version %u, this program needs %d", ops->version,
              COMPILER_VERSION);
  dlclose(handle);
  return NULL;
}

const struct compiler_ops *compiler_load(struct gw_error *err) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static const struct compiler_ops *loaded;
  pthread_mutex_lock(&lock);
  if (!loaded) {
    struct gw_error first = {0}; /* the caller's may hold an older error */
    loaded = load(&first);
    if (!loaded) error_set(err, first.code, "%s", first.message);
  }
  const struct compiler_ops *ops = loaded;
  pthread_mutex_unlock(&lock);
  return ops;
}
