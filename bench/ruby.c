/* A large real module from a cold start: ruby.wasm of npm's @ruby/3.4-wasm-wasi runs a script.
 *   bench_ruby [--tier fast|precise|baseline] [-O LEVEL] [--dir DIR] FILE.wasm SCRIPT       DIR is the directory / of the script
 * Prints what the script prints; then, on standard error, seconds and memory. The module is a library with an interface of its
 * own (canonical ABI of wit-bindgen 0.3): strings are a pointer and a size, lists of them likewise, in memory that it gives.
 * Objects of JavaScript, which it could use in a browser, are missing here. */
#include "base/buffer.h"
#include "gasworks.h"
#include "runtime/host/wasi/wasi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_MODULE = 64 << 20, MAX_DEPTH = 16 << 20 };

#define RUBY_INIT "ruby-init: func(args: list<string>) -> ()"
#define RUBY_EVAL "rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>"

struct ruby {
  struct wasi *wasi;
  struct gw_instance *instance;
};

static _Noreturn void fail(const char *what, const char *why) {
  fprintf(stderr, "bench_ruby: %s: %s\n", what, why);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- the host ---------------------------------------------------------------------------------------------------------- */

/* Handles of Ruby objects are the objects' own numbers. */
static enum gw_trap keep(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env, (void)values;
  return GW_TRAP_NONE;
}

static enum gw_trap refuse(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)env, (void)values;
  gw_instance_fail(caller, "the script wants an object of JavaScript");
  return GW_TRAP_HOST;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func keeps = {"", "", NULL, keep}, refuses = {"", "", NULL, refuse};
  static const char prefix[] = "resource_";
  struct ruby *ruby = env;
  if (wasi_resolve(ruby->wasi, import, out)) return true;
  bool is_handle = import->field_size >= sizeof prefix && memcmp(import->field, prefix, sizeof prefix - 1) == 0;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host = {.func = is_handle ? &keeps : &refuses}};
  return true;
}

/* --- calls ------------------------------------------------------------------------------------------------------------- */

static void call(struct ruby *ruby, const char *name, union gw_value *values, size_t n) {
  struct gw_error err = {0};
  if (!gw_call_export(ruby->instance, name, values, n, &err)) fail(name, err.message);
}

/* Bytes in memory of the guest's; returns where. */
static uint32_t give(struct ruby *ruby, const void *bytes, uint32_t size, uint32_t align) {
  union gw_value values[4] = {{.u32 = 0}, {.u32 = 0}, {.u32 = align}, {.u32 = size}};
  call(ruby, "cabi_realloc", values, 4);
  void *to = gw_instance_memory(ruby->instance, values[0].u32, size);
  if (!to) fail("cabi_realloc", "gave memory that is not there");
  memcpy(to, bytes, size);
  return values[0].u32;
}

static void initialize(struct ruby *ruby) {
  static const char *const arguments[] = {"ruby.wasm", "--disable-gems", "-EUTF-8", "-e_=0"};
  enum { N = sizeof arguments / sizeof *arguments };
  uint32_t list[2 * N];
  call(ruby, "_initialize", NULL, 0);
  for (int i = 0; i < N; i++) {
    list[2 * i + 1] = (uint32_t)strlen(arguments[i]) + 1; /* with its NUL */
    list[2 * i] = give(ruby, arguments[i], list[2 * i + 1], 1);
  }
  call(ruby, RUBY_INIT, (union gw_value[]){{.u32 = give(ruby, list, sizeof list, 4)}, {.u32 = N}}, 2);
}

/* Whether the script ended without an exception. */
static bool evaluate(struct ruby *ruby, const char *script) {
  uint32_t size = (uint32_t)strlen(script) + 1, state;
  union gw_value values[2] = {{.u32 = give(ruby, script, size, 1)}, {.u32 = size}};
  call(ruby, RUBY_EVAL, values, 2);
  const uint8_t *result = gw_instance_memory(ruby->instance, values[0].u32, 8);
  if (!result) fail("rb-eval-string-protect", "gave a result that is not there");
  memcpy(&state, result + 4, sizeof state);
  return state == 0;
}

/* --- the run ------------------------------------------------------------------------------------------------------------- */

struct times {
  double start, loaded, compiled, initialized, ended;
};

static void report(const struct times *t, const struct gw_store *store) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  fprintf(stderr,
          "load %.3f s, compile %.3f s, initialize %.3f s, script %.3f s, together %.3f s; peak memory %ld KB; gas %llu\n",
          t->loaded - t->start, t->compiled - t->loaded, t->initialized - t->compiled, t->ended - t->initialized,
          t->ended - t->start, usage.ru_maxrss, (unsigned long long)gw_store_gas_used(store));
}

static int run(const char *path, const char *script, enum gw_tier tier, uint32_t level, const char *directory) {
  static const char *const arguments[] = {"ruby", NULL}, *const env[] = {NULL};
  struct gw_error err = {0};
  struct buffer bytes = {0};
  struct ruby ruby = {0};
  struct times t = {.start = now()};
  struct wasi_options wasi = {.args = arguments, .env = env, .stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2};
  struct wasi_preopen preopen = {.guest_path = "/", .host_path = directory};
  wasi.preopens = &preopen;
  wasi.n_preopens = directory != NULL;
  struct gw_engine *engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = true}, &err);
  if (!engine || !buffer_read_file(&bytes, path, MAX_MODULE, &err)) fail(path, err.message);
  struct gw_module *module = gw_module_create(engine, bytes.bytes, bytes.size, &err);
  buffer_clear(&bytes);
  if (!module) fail(path, err.message);
  t.loaded = now();
  if (tier == GW_TIER_FAST && !gw_module_compile(module, &err)) fail(path, err.message);
  t.compiled = now();
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.tier = tier, .max_depth = MAX_DEPTH}, &err);
  ruby.wasi = wasi_create(&wasi, &err);
  if (store && ruby.wasi) ruby.instance = gw_instance_create(store, module, resolve, &ruby, &err);
  if (!ruby.instance) fail(path, err.message);
  initialize(&ruby);
  t.initialized = now();
  bool ok = evaluate(&ruby, script);
  t.ended = now();
  report(&t, store);
  gw_store_destroy(store);
  wasi_destroy(ruby.wasi);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return ok ? 0 : 1;
}

int main(int argc, char **argv) {
  enum gw_tier tier = GW_TIER_PRECISE;
  uint32_t level = 1;
  const char *directory = NULL;
  int at = 1;
  for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
    if (strcmp(argv[at], "--tier") == 0)
      tier = strcmp(argv[at + 1], "fast") == 0       ? GW_TIER_FAST
             : strcmp(argv[at + 1], "baseline") == 0 ? GW_TIER_BASELINE
                                                     : GW_TIER_PRECISE;
    else if (strcmp(argv[at], "-O") == 0)
      level = (uint32_t)strtoul(argv[at + 1], NULL, 10);
    else if (strcmp(argv[at], "--dir") == 0)
      directory = argv[at + 1];
  }
  if (argc - at != 2 || level > 3)
    return fputs("usage: bench_ruby [--tier fast|precise|baseline] [-O LEVEL] [--dir DIR] FILE.wasm SCRIPT\n", stderr), 2;
  return run(argv[at], argv[at + 1], tier, level, directory);
}
