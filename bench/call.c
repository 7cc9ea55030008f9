/* What calls between C and Wasm cost, beside a call through a function pointer: medians of 11 rounds.
 *
 *   cmake --build build/release --target bench_call && build/release/bench_call */
#include "base/clock.h"
#include "gasworks.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 11, CALLS = 2000000 };

/* (module (import "" "h" (func $h (param i32) (result i32)))
 *   (func (export "empty")) (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
 *   (func (export "hosts") (param $n i32) (result i32) (local $x i32)
 *     (loop $l (local.set $x (call $h (local.get $x))) (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
 *     (local.get $x))) */
static const uint8_t module_bytes[] = {
    0,    'a',  's',  'm',  1,    0,   0,    0, 1,    15,   3,    0x60, 1, 0x7f, 1,    0x7f, 0x60, 0,   0,    0x60, 2,
    0x7f, 0x7f, 1,    0x7f, 2,    6,   1,    0, 1,    'h',  0,    0,    3, 4,    3,    1,    2,    0,   7,    23,   3,
    5,    'e',  'm',  'p',  't',  'y', 0,    1, 3,    'a',  'd',  'd',  0, 2,    5,    'h',  'o',  's', 't',  's',  0,
    3,    10,   37,   3,    2,    0,   0x0b, 7, 0,    0x20, 0,    0x20, 1, 0x6a, 0x0b, 24,   1,    1,   0x7f, 3,    0x40,
    0x20, 1,    0x10, 0,    0x21, 1,   0x20, 0, 0x41, 1,    0x6b, 0x22, 0, 0x0d, 0,    0x0b, 0x20, 1,   0x0b};

static enum gw_trap next(struct gw_instance *caller, void *env, union gw_value *values) {
  (void)caller, (void)env;
  values[0].i32++;
  return GW_TRAP_NONE;
}

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) {
  static const struct gw_host_func func = {"", "h", "i_i", next};
  (void)env, (void)import;
  *out = (struct gw_extern){.kind = GW_EXTERN_HOST_FUNC, .of.host.func = &func};
  return true;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

struct bench {
  struct gw_store *store;
  struct func_ref *func;
  union gw_value values[2];
};

static void call_guest(struct bench *b) {
  struct gw_error err = {0};
  for (int i = 0; i < CALLS; i++)
    if (!gw_call(b->store, b->func, b->values, &err)) exit(1);
}

static void call_hosts(struct bench *b) {
  struct gw_error err = {0};
  b->values[0].i32 = CALLS;
  if (!gw_call(b->store, b->func, b->values, &err)) exit(1);
}

static int (*volatile pointer)(int);
static int plus_one(int x) { return x + 1; }

static void call_pointer(struct bench *b) {
  for (int i = 0; i < CALLS; i++) b->values[0].i32 = pointer(b->values[0].i32);
}

static void measure(const char *name, struct bench *b, void (*run)(struct bench *b)) {
  double ns[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    double start = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
    run(b);
    ns[i] = (clock_seconds(CLOCK_THREAD_CPUTIME_ID) - start) * 1e9 / CALLS;
  }
  qsort(ns, ROUNDS, sizeof *ns, compare);
  printf("%-44s %8.2f ns\n", name, ns[ROUNDS / 2]);
}

static struct func_ref *find(struct gw_instance *instance, const char *name, size_t size) {
  struct gw_extern found;
  if (!gw_instance_export(instance, name, size, &found)) exit(1);
  return found.of.func;
}

int main(void) {
  struct gw_error err = {0};
  struct bench b = {0};
  pointer = plus_one;
  measure("C to C through a pointer", &b, call_pointer);
  for (int gas = 1; gas >= 0; gas--) {
    struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.opt_level = 2, .gas = gas}, &err);
    struct gw_module *module = gw_module_create(engine, module_bytes, sizeof module_bytes, &err);
    b.store = gw_store_create(engine, NULL, &err);
    struct gw_instance *instance = module ? gw_instance_create(b.store, module, resolve, NULL, &err) : NULL;
    if (!instance) {
      fprintf(stderr, "%s\n", err.message);
      return 1;
    }
    printf("gas %s\n", gas ? "on" : "off");
    b.func = find(instance, "empty", 5);
    measure("  C to an empty export (gw_call)", &b, call_guest);
    b.func = find(instance, "add", 3);
    measure("  C to an export that adds (gw_call)", &b, call_guest);
    b.func = find(instance, "hosts", 5);
    measure("  Wasm to a host function", &b, call_hosts);
    gw_store_destroy(b.store);
    gw_module_release(module);
    gw_engine_destroy(engine);
  }
}
