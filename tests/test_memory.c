/* Memories that compiled code checks: 64-bit indices and pages of one byte; several in one module. */
#include "instrument/schedule.h"
#include "tests/wat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct gw_engine *engine;
static struct gw_store *store;
static struct gw_instance *instance;

static void begin(struct gw_module *module, const struct gw_store_options *options) {
  struct gw_error err = {0};
  store = gw_store_create(engine, options, &err);
  instance = store ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  gw_module_release(module);
  if (!instance) fail_msg("%s", err.message);
}

static uint64_t call(const char *name, size_t n, uint64_t a, uint64_t b) {
  struct gw_error err = {0};
  union gw_value values[2] = {{.u64 = a}, {.u64 = b}};
  if (!gw_call_export(instance, name, values, n, &err)) fail_msg("%s(%llu): %s", name, (unsigned long long)a, err.message);
  return values[0].u64;
}

static void expect_trap(const char *name, size_t n, uint64_t a, uint64_t b) {
  struct gw_error err = {0};
  union gw_value values[2] = {{.u64 = a}, {.u64 = b}};
  assert_false(gw_call_export(instance, name, values, n, &err));
  assert_int_equal(err.trap, GW_TRAP_MEMORY_OUT_OF_BOUNDS);
}

static void reset(void) {
  struct gw_error err = {0};
  if (!gw_instance_reset(instance, &err)) fail_msg("%s", err.message);
}

/* memory 10 5000 of one-byte pages, 7 at 9; grow [i32] -> [i32], load8_u [i32] -> [i32], store8 [i32 i32] -> [i32] (gives 0) and
 * size [i32] -> [i32]. */
static const char byte_pages[] =
    "\x00\x61sm\x01\x00\x00\x00\x01\x0c\x02`\x01\x7f\x01\x7f`\x02\x7f\x7f\x01\x7f\x03\x05\x04\x00\x00\x01\x00"
    "\x05\x06\x01\x09\x0a\x88'\x00"
    "\x07\x1e\x04\x04grow\x00\x00\x04load\x00\x01\x05store\x00\x02\x04size\x00\x03"
    "\x0a!\x04\x06\x00\x20\x00@\x00\x0b\x07\x00\x20\x00-\x00\x00\x0b\x0b\x00\x20\x00\x20\x01:"
    "\x00\x00\x41\x00\x0b\x04\x00\x3f\x00\x0b"
    "\x0b\x07\x01\x00\x41\x09\x0b\x01\x07";

/* memory i64 1; far: i64.load offset=2^64-1, last: i64.load8_u with that offset; [i64] -> [i64]. */
static const char largest_offset[] =
    "\x00\x61sm\x01\x00\x00\x00\x01\x06\x01`\x01~\x01~\x03\x03\x02\x00\x00"
    "\x05\x03\x01\x04\x01"
    "\x07\x0e\x02\x03\x66\x61r\x00\x00\x04last\x00\x01"
    "\x0a#\x02\x10\x00\x20\x00)"
    "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x0b\x10\x00\x20\x00\x31\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x0b";

static struct gw_module *module_of(const char *bytes, size_t size) {
  struct gw_error err = {0};
  struct gw_module *module = gw_module_create(engine, bytes, size, &err);
  if (!module) fail_msg("%s", err.message);
  return module;
}

static void test_byte_pages(void **state) {
  (void)state;
  begin(module_of(byte_pages, sizeof byte_pages - 1), NULL);
  for (int round = 0; round < 3; round++) {
    assert_int_equal((uint32_t)call("size", 1, 0, 0), 10);
    assert_int_equal((uint32_t)call("load", 1, 9, 0), 7);
    expect_trap("load", 1, 10, 0);
    expect_trap("load", 1, UINT32_MAX, 0);
    assert_int_equal((uint32_t)call("grow", 1, 4090, 0), 10);
    for (uint32_t at = 10; at < 4100; at++) assert_int_equal((uint32_t)call("load", 1, at, 0), 0); /* nothing of the last round */
    expect_trap("load", 1, 4100, 0);
    call("store", 2, 10, 1);
    call("store", 2, 4095, 2);
    call("store", 2, 4099, 3);
    call("store", 2, 9, 4);
    expect_trap("store", 2, 4100, 3);
    assert_int_equal((uint32_t)call("grow", 1, 901, 0), UINT32_MAX);
    assert_int_equal((uint32_t)call("grow", 1, 900, 0), 4100);
    assert_int_equal((uint32_t)call("load", 1, 4999, 0), 0);
    expect_trap("load", 1, 5000, 0);
    assert_int_equal(gw_instance_memory_size(instance), 5000);
    reset();
  }
  gw_store_destroy(store);
}

/* A page of 64 KiB has a price; bytes cost their share, rounded up. */
static void test_growth_gas(void **state) {
  (void)state;
  begin(module_of(byte_pages, sizeof byte_pages - 1), NULL);
  call("grow", 1, 0, 0);
  uint64_t base = gw_store_gas_used(store);
  call("grow", 1, 4090, 0);
  assert_int_equal(gw_store_gas_used(store) - base, (4090 * schedule_default()->gas[COST_MEMORY_PAGE] + 65535) / 65536);
  call("grow", 1, 5000, 0); /* fails */
  assert_int_equal(gw_store_gas_used(store), base);
  gw_store_destroy(store);
}

static const char wide[] =
    "(module (memory i64 1 100000) (memory 1) (data (memory 0) (i64.const 65528) \"abcdefgh\")"
    " (func (export \"grow\") (param i64) (result i64) (memory.grow 0 (local.get 0)))"
    " (func (export \"size\") (param i64) (result i64) (memory.size 0))"
    " (func (export \"load\") (param i64) (result i64) (i64.load (local.get 0)))"
    " (func (export \"near\") (param i64) (result i64) (i64.load offset=65528 (local.get 0)))"
    " (func (export \"store\") (param i64 i64) (result i64) (i64.store (local.get 0) (local.get 1)) (i64.const 0))"
    " (func (export \"copy\") (param i64) (result i64) (memory.copy 1 0 (i32.const 8) (local.get 0) (i32.const 8))"
    "   (i64.load 1 (i32.const 8)))"
    " (func (export \"dead\") (param i64) (result i64) (drop (i32.load8_u (local.get 0))) (i64.const 1)))";

static void test_wide_memory(void **state) {
  (void)state;
  begin(wat_module(engine, wide), &(struct gw_store_options){.max_memory_bytes = (UINT64_C(6) << 30) + 65536});
  for (int round = 0; round < 2; round++) {
    assert_int_equal(call("load", 1, 65528, 0), 0x6867666564636261);
    expect_trap("load", 1, 65529, 0);
    expect_trap("load", 1, UINT64_MAX, 0);
    expect_trap("load", 1, UINT64_C(1) << 63, 0);
    assert_int_equal(call("near", 1, 0, 0), 0x6867666564636261);
    expect_trap("near", 1, 1, 0);
    expect_trap("near", 1, UINT64_MAX - 100, 0); /* the sum wraps */
    expect_trap("dead", 1, 65536, 0);
    assert_int_equal(call("copy", 1, 65528, 0), 0x6867666564636261);
    expect_trap("copy", 1, 65529, 0);
    /* Beyond 4 GiB, up to what the store allows, of which the other memory has a page. */
    assert_int_equal(call("grow", 1, (UINT64_C(6) << 30) / 65536, 0), UINT64_MAX);
    assert_int_equal(call("grow", 1, UINT64_MAX, 0), UINT64_MAX);
    assert_int_equal(call("grow", 1, (UINT64_C(6) << 30) / 65536 - 1, 0), 1);
    uint64_t end = UINT64_C(6) << 30;
    assert_int_equal(call("load", 1, end - 8, 0), 0);
    call("store", 2, end - 8, 42);
    assert_int_equal(call("load", 1, end - 8, 0), 42);
    expect_trap("store", 2, end - 7, 42);
    assert_int_equal(call("size", 1, 0, 0), end / 65536);
    reset();
    assert_int_equal(call("size", 1, 0, 0), 1);
  }
  gw_store_destroy(store);
}

/* The sum of index, offset and size may not fit into 64 bits. */
static void test_largest_offset(void **state) {
  (void)state;
  begin(module_of(largest_offset, sizeof largest_offset - 1), NULL);
  static const uint64_t indices[] = {0, 1, 8, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63};
  for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
    expect_trap("far", 1, indices[i], 0);
    expect_trap("last", 1, indices[i], 0);
  }
  gw_store_destroy(store);
}

/* A 64-bit memory whose minimum does not fit is an error at instantiation. */
static void test_wide_minimum(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct gw_module *module = wat_module(engine, "(module (memory i64 0x100000001))");
  store = gw_store_create(engine, NULL, &err);
  assert_null(gw_instance_create(store, module, NULL, NULL, &err));
  assert_int_equal(err.code, GW_ERROR_LIMIT);
  gw_module_release(module);
  gw_store_destroy(store);
}

/* Where a memory has all indices, the neighbour of the last one is the first; where it started smaller, the last page stays out
 * of reach. */
static void test_last_page(void **state) {
  (void)state;
  static const char functions[] =
      " (data (i32.const 0) \"\\07\") (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0)))"
      " (func (export \"pair\") (param i32) (result i32)"
      "  (i32.add (i32.mul (i32.load8_u (local.get 0)) (i32.const 10)) (i32.load8_u (i32.add (local.get 0) (i32.const 1)))))"
      " (func (export \"store\") (param i32 i32) (result i32) (i32.store8 (local.get 0) (local.get 1)) (i32.const 0)))";
  char text[1000];
  for (int is_whole = 0; is_whole < 2; is_whole++) {
    snprintf(text, sizeof text, "(module (memory %d)%s", is_whole ? 65536 : 1, functions);
    begin(wat_module(engine, text), NULL);
    if (!is_whole) {
      assert_int_equal((uint32_t)call("grow", 1, 65535, 0), UINT32_MAX);
      assert_int_equal(call("grow", 1, 65534, 0), 1);
    }
    assert_int_equal((uint32_t)call("grow", 1, 1, 0), UINT32_MAX);
    uint32_t last = is_whole ? UINT32_MAX : UINT32_MAX - 65536;
    call("store", 2, last, 3);
    if (is_whole)
      assert_int_equal(call("pair", 1, last, 0), 37);
    else
      expect_trap("pair", 1, last, 0);
    assert_int_equal(call("pair", 1, last - 1, 0), 3);
    if (!is_whole) expect_trap("pair", 1, UINT32_MAX, 0);
    gw_store_destroy(store);
  }
}

static int setup(void **state) {
  struct gw_error err = {0};
  uint32_t level = (uint32_t)(uintptr_t)*state;
  engine =
      gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .opt_level = level, .gas = true, .verify = true}, &err);
  return engine ? 0 : -1;
}

static int setup_unoptimized(void **state) {
  *state = (void *)(uintptr_t)0;
  return setup(state);
}

static int setup_optimized(void **state) {
  *state = (void *)(uintptr_t)2;
  return setup(state);
}

static int teardown(void **state) {
  (void)state;
  gw_engine_destroy(engine);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_byte_pages),     cmocka_unit_test(test_growth_gas),   cmocka_unit_test(test_wide_memory),
      cmocka_unit_test(test_largest_offset), cmocka_unit_test(test_wide_minimum), cmocka_unit_test(test_last_page),
  };
  int failed = cmocka_run_group_tests_name("-O0", tests, setup_unoptimized, teardown);
  return failed + cmocka_run_group_tests_name("-O2", tests, setup_optimized, teardown);
}
