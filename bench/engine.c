/* The five functions by which Sightglass drives an engine, so that Gasworks can be measured beside others in their own tool:
 *
 *   cmake --build build/release --target bench_engine
 *   sightglass-cli benchmark --engine build/release/libgasworks_bench.so ... -- BENCHMARK.wasm
 *
 * What the tool calls, and the structure that it hands over by value, are its interface. A benchmark imports bench.start and
 * bench.end around what is to be timed, and WASI; its working directory is its ".". Flags, separated by blanks: O0 to O3, no-gas,
 * loose-traps. All calls come from one thread. Errors are told on standard error, as 0 or -1. */
#include "gasworks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct text {
  const char *bytes;
  size_t size;
};

struct timer {
  void *of;
  void (*start)(void *of), (*end)(void *of);
};

struct bench_config {
  struct text working_dir, stdout_path, stderr_path, stdin_path;
  struct timer compilation, instantiation, execution;
  struct text flags;
};

struct bench {
  struct timer compilation, instantiation, execution;
  char *working_dir, *paths[3]; /* of standard input (or NULL), output and error */
  int streams[3];
  struct gw_engine *engine;
  struct gw_module *module;
  struct gw_wasi *wasi;
  struct gw_store *store;
  struct gw_instance *instance;
};

#define PUBLIC __attribute__((visibility("default")))

PUBLIC int wasm_bench_create(struct bench_config config, void **out);
PUBLIC void wasm_bench_free(void *state);
PUBLIC int wasm_bench_compile(void *state, const uint8_t *bytes, size_t size);
PUBLIC int wasm_bench_instantiate(void *state);
PUBLIC int wasm_bench_execute(void *state);

static int answer(bool ok, const char *what, const struct gw_error *err) {
  if (!ok) fprintf(stderr, "cannot %s: %s\n", what, err->message);
  return ok ? 0 : -1;
}

static char *copy(struct text t) { return t.bytes ? strndup(t.bytes, t.size) : NULL; }

static bool read_flag(struct gw_engine_options *o, const char *flag) {
  if (flag[0] == 'O' && flag[1] >= '0' && flag[1] <= '3' && !flag[2]) {
    o->opt_level = (uint32_t)(flag[1] - '0');
    return true;
  }
  if (strcmp(flag, "no-gas") == 0) return !(o->gas = false);
  return strcmp(flag, "loose-traps") == 0 && (o->loose_traps = true);
}

static bool read_flags(struct gw_engine_options *o, struct text text) {
  char *flags = copy(text), *rest = NULL;
  bool ok = true;
  for (char *f = flags ? strtok_r(flags, " ", &rest) : NULL; f && ok; f = strtok_r(NULL, " ", &rest)) {
    ok = read_flag(o, f);
    if (!ok) fprintf(stderr, "unknown flag %s: O0 to O3, no-gas and loose-traps are known\n", f);
  }
  free(flags);
  return ok;
}

int wasm_bench_create(struct bench_config config, void **out) {
  struct gw_engine_options options = {.opt_level = 2, .gas = true};
  struct gw_error err = {0};
  if (!read_flags(&options, config.flags)) return -1;
  struct gw_engine *engine = gw_engine_create(&options, &err);
  struct bench *b = engine ? calloc(1, sizeof *b) : NULL;
  if (!b) {
    gw_engine_destroy(engine);
    return answer(false, "create an engine", &err);
  }
  *b = (struct bench){.compilation = config.compilation,
                      .instantiation = config.instantiation,
                      .execution = config.execution,
                      .working_dir = copy(config.working_dir),
                      .paths = {copy(config.stdin_path), copy(config.stdout_path), copy(config.stderr_path)},
                      .streams = {-1, -1, -1},
                      .engine = engine};
  *out = b;
  return 0;
}

static void drop_instance(struct bench *b) {
  gw_store_destroy(b->store);
  gw_wasi_destroy(b->wasi);
  for (int i = 0; i < 3; i++) {
    if (b->streams[i] >= 0) close(b->streams[i]);
    b->streams[i] = -1;
  }
  b->store = NULL;
  b->wasi = NULL;
  b->instance = NULL;
}

void wasm_bench_free(void *state) {
  struct bench *b = state;
  drop_instance(b);
  gw_module_release(b->module);
  gw_engine_destroy(b->engine);
  for (int i = 0; i < 3; i++) free(b->paths[i]);
  free(b->working_dir);
  free(b);
}

int wasm_bench_compile(void *state, const uint8_t *bytes, size_t size) {
  struct bench *b = state;
  struct gw_error err = {0};
  gw_module_release(b->module);
  b->compilation.start(b->compilation.of);
  b->module = gw_module_create(b->engine, bytes, size, &err);
  bool ok = b->module && gw_module_compile(b->module, &err);
  b->compilation.end(b->compilation.of);
  return answer(ok, "compile", &err);
}

static enum gw_trap start_timer(struct gw_instance *caller, void *env, union gw_value *values) {
  const struct timer *t = env;
  (void)caller, (void)values;
  t->start(t->of);
  return GW_TRAP_NONE;
}

static enum gw_trap end_timer(struct gw_instance *caller, void *env, union gw_value *values) {
  const struct timer *t = env;
  (void)caller, (void)values;
  t->end(t->of);
  return GW_TRAP_NONE;
}

static bool is_named(const struct gw_import *import, const struct gw_host_func *func) {
  return import->module_size == strlen(func->module) && memcmp(import->module, func->module, import->module_size) == 0 &&
         import->field_size == strlen(func->name) && memcmp(import->field, func->name, import->field_size) == 0;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func funcs[] = {{"bench", "start", "_", start_timer}, {"bench", "end", "_", end_timer}};
  struct bench *b = env;
  for (int i = 0; i < 2; i++) {
    if (!is_named(import, &funcs[i])) continue;
    *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = &funcs[i], .env = &b->execution}};
    return true;
  }
  return gw_wasi_resolve(b->wasi, import, out);
}

static bool open_streams(struct bench *b) {
  static const int flags[] = {O_RDONLY, O_WRONLY | O_CREAT | O_TRUNC, O_WRONLY | O_CREAT | O_TRUNC};
  for (int i = 0; i < 3; i++) {
    if (!b->paths[i]) continue;
    b->streams[i] = open(b->paths[i], flags[i] | O_CLOEXEC, 0666);
    if (b->streams[i] < 0) perror(b->paths[i]);
    if (b->streams[i] < 0) return false;
  }
  return true;
}

static bool open_wasi(struct bench *b, struct gw_error *err) {
  static const char *const args[] = {"benchmark", NULL};
  static const char name[] = "WASM_BENCH_USE_SMALL_WORKLOAD";
  char small[64];
  const char *value = getenv(name), *const env[] = {value ? small : NULL, NULL};
  snprintf(small, sizeof small, "%s=%s", name, value ? value : "");
  struct gw_wasi_directory directory = {.guest_path = ".", .host_path = b->working_dir};
  b->wasi = gw_wasi_create(
      &(struct gw_wasi_options){
          .args = args, .env = env, .directories = &directory, .n_directories = b->working_dir != NULL, .streams = b->streams},
      err);
  return b->wasi != NULL;
}

int wasm_bench_instantiate(void *state) {
  struct bench *b = state;
  struct gw_error err = {0};
  drop_instance(b);
  if (!b->module || !open_streams(b) || !open_wasi(b, &err)) return answer(false, "prepare WASI", &err);
  b->instantiation.start(b->instantiation.of);
  b->store = gw_store_create(b->engine, NULL, &err);
  if (b->store) b->instance = gw_instance_create(b->store, b->module, resolve, b, &err);
  b->instantiation.end(b->instantiation.of);
  return answer(b->instance, "instantiate", &err);
}

int wasm_bench_execute(void *state) {
  struct bench *b = state;
  struct gw_error err = {0};
  bool ok = b->instance && gw_call_export(b->instance, "_start", NULL, 0, &err) && gw_wasi_exit_code(b->wasi) == 0;
  return answer(ok, "execute", &err);
}
