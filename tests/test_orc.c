/* Code that ORC loads into this process (jit/orc.cpp): it goes with its module, is never both writable and executable, and calls
 * itself however far apart its parts lie. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "base/buffer.h"
#include "tests/wat.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { FUNCS = 400, CALLS = 60, N_MODULES = 12, N_THREADS = 3 };

/* Executable memory that is no file's. */
struct maps {
  uint32_t n, n_writable;
  uintptr_t lowest, highest;
};

static struct maps read_maps(uintptr_t from, uintptr_t to) {
  struct maps maps = {.lowest = UINTPTR_MAX};
  FILE *file = fopen("/proc/self/maps", "re");
  char line[512], how[8];
  unsigned long begin, end, inode;
  assert_non_null(file);
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &begin, &end, how, &inode) != 4 || how[2] != 'x') continue;
    if (inode || strchr(line, '[') || begin < from || end > to) continue;
    maps.n++;
    maps.n_writable += how[1] == 'w';
    if (begin < maps.lowest) maps.lowest = begin;
    if (begin > maps.highest) maps.highest = begin;
  }
  fclose(file);
  return maps;
}

/* Several parts, each of which calls all others; `run` adds CALLS. */
static char *write_text(void) {
  struct buffer text = {0};
  char line[96];
  buffer_append_string(&text, "(module");
  for (uint32_t i = 0; i < FUNCS; i++) {
    snprintf(line, sizeof line, "(func (param i32) (result i32) (local.get 0)%s", i % 2 ? "" : "(i32.add (i32.const 1)))");
    buffer_append_string(&text, line);
    for (uint32_t k = 0; i % 2 && k < CALLS; k++) {
      snprintf(line, sizeof line, "(call %u)", (i * 37 + k * 101) % FUNCS / 2 * 2);
      buffer_append_string(&text, line);
    }
    if (i % 2) buffer_append_string(&text, ")");
  }
  snprintf(line, sizeof line, "(func (export \"run\") (param i32) (result i32) (call %d (local.get 0))))", FUNCS - 1);
  buffer_append_string(&text, line);
  buffer_append(&text, "", 1);
  return (char *)text.bytes;
}

static struct gw_engine *make_engine(void) {
  struct gw_error err = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true, .threads = 1}, &err);
  if (!engine) fail_msg("%s", err.message);
  return engine;
}

static struct gw_module *make_module(struct gw_engine *engine, const char *text) {
  struct gw_error err = {0};
  struct gw_module *module = wat_module(engine, text);
  if (!gw_module_compile(module, &err)) fail_msg("%s", err.message);
  return module;
}

static void run_module(struct gw_engine *engine, struct gw_module *module) {
  struct gw_error err = {0};
  union gw_value value = {.u32 = 5};
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){.gas_limit = 100000, .tier = GW_TIER_FAST}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, NULL, NULL, &err);
  if (!instance || !gw_call_export(instance, "run", &value, 1, &err)) fail_msg("%s", err.message);
  assert_int_equal(value.u32, 5 + CALLS);
  gw_store_destroy(store);
}

static void test_code_goes_with_its_module(void **state) {
  (void)state;
  struct gw_engine *engine = make_engine();
  char *text = write_text();
  uint32_t before = read_maps(0, UINTPTR_MAX).n;
  for (uint32_t i = 0; i < N_MODULES; i++) {
    struct gw_module *module = make_module(engine, i % 4 ? "(module (func (export \"run\")))" : text);
    struct maps maps = read_maps(0, UINTPTR_MAX);
    assert_true(maps.n > before);
    assert_int_equal(maps.n_writable, 0);
    if (i % 4 == 0) run_module(engine, module);
    gw_module_release(module);
    assert_int_equal(read_maps(0, UINTPTR_MAX).n, before);
  }
  free(text);
  gw_engine_destroy(engine);
}

static void test_no_functions(void **state) {
  (void)state;
  struct gw_engine *engine = make_engine();
  gw_module_release(make_module(engine, "(module)"));
  gw_module_release(make_module(engine, "(module (memory 1))"));
  gw_engine_destroy(engine);
}

/* Takes what is free above, so that the next mappings lie below; to the process's end. */
static void fill_above(const char *at) {
  for (size_t size = (size_t)1 << 34; size >= 4096; size /= 2)
    for (;;) {
      char *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      assert_ptr_not_equal(p, MAP_FAILED);
      if (p > at) continue;
      munmap(p, size);
      break;
    }
}

/* There in builds with a sanitizer, whose own mappings take the holes before code does. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* What is free of the address space at first are holes of one to three parts, farther apart than a call reaches. Where the parts
 * came to lie together nothing is tested: then it fails, or is skipped under a sanitizer. */
static void test_far_apart(void **state) {
  enum { N = 48, HOLE = 320 << 10 };
  const size_t stride = (size_t)3 << 30;
  (void)state;
  struct gw_engine *engine = make_engine();
  char *text = write_text();
  gw_module_release(make_module(engine, text)); /* LLVM has its own memory now */
  char *at = mmap(NULL, N * stride, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_ptr_not_equal(at, MAP_FAILED);
  fill_above(at);
  for (size_t i = 0; i < N; i++) munmap(at + i * stride + stride / 2, HOLE);
  struct gw_module *module = make_module(engine, text);
  struct maps maps = read_maps((uintptr_t)at, (uintptr_t)at + N * stride);
  bool is_apart = maps.n >= 2 && maps.highest - maps.lowest >= stride / 2;
  run_module(engine, module);
  gw_module_release(module);
  munmap(at, N * stride);
  free(text);
  gw_engine_destroy(engine);
  if (!is_apart && __sanitizer_set_death_callback) skip();
  if (!is_apart) fail_msg("the system put the parts elsewhere");
}

static void *make_and_run(void *text) {
  struct gw_engine *engine = make_engine();
  for (uint32_t i = 0; i < 3; i++) {
    struct gw_module *module = make_module(engine, text);
    run_module(engine, module);
    gw_module_release(module);
  }
  gw_engine_destroy(engine);
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  pthread_t threads[N_THREADS];
  char *text = write_text();
  for (uint32_t i = 0; i < N_THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, make_and_run, text), 0);
  for (uint32_t i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_code_goes_with_its_module),
      cmocka_unit_test(test_no_functions),
      cmocka_unit_test(test_far_apart),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
