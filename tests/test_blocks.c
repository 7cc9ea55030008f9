/* Memory whose blocks are closed until they are touched (runtime/blocks.c): what guest, helpers, host functions and the kernel do
 * with it is compared with plain bytes, and code goes on with all of its registers where a touch interrupted it. */
#include "runtime/object.h"
#include "runtime/store.h"
#include "tests/wat.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
/* behind those */
#include <cmocka.h>

enum { PAGE = 64 << 10, MB = 1 << 20, MOST = 96 * MB };

static uint64_t time_now;
static unsigned n_yields;
static struct gw_engine *engine;
static struct gw_store *store;
static struct gw_instance *instance;

/* Whenever somebody asks, the slice is over. */
static uint64_t fake(void) { return time_now += 1000000; }

static void begin(const char *text, enum gw_tier tier, int level, bool is_closed) {
  struct gw_error err = {0};
  struct gw_store_options options = {.slice = 5000000,
                                     .slice_ns = is_closed ? 1000 : 0,
                                     .clock = is_closed ? fake : NULL,
                                     .tier = tier,
                                     .max_memory_bytes = MOST};
  engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true, .opt_level = level}, &err);
  store = engine ? gw_store_create(engine, &options, &err) : NULL;
  struct gw_module *module = store ? wat_module(engine, text) : NULL;
  instance = module ? gw_instance_create(store, module, NULL, NULL, &err) : NULL;
  if (!instance) fail_msg("%s", err.message);
  gw_module_release(module);
}

static void end(void) {
  gw_store_destroy(store);
  gw_engine_destroy(engine);
}

static enum gw_trap try_call(const char *name, union gw_value *values) {
  struct gw_error err = {0};
  struct gw_extern found;
  enum gw_status status;
  assert_true(gw_instance_export(instance, name, strlen(name), &found));
  gw_store_start(store, found.of.func, values);
  n_yields = 0;
  while ((status = gw_store_resume(store, &err)) == GW_STATUS_YIELDED) n_yields++;
  if (status == GW_STATUS_FAILED && err.trap == GW_TRAP_NONE) fail_msg("%s", err.message);
  return status == GW_STATUS_DONE ? GW_TRAP_NONE : err.trap;
}

static uint64_t call(const char *name, uint64_t a, uint64_t b, uint64_t c) {
  union gw_value values[3] = {{.u64 = a}, {.u64 = b}, {.u64 = c}};
  assert_int_equal(try_call(name, values), GW_TRAP_NONE);
  return values[0].u64;
}

/* --- against plain bytes -------------------------------------------------------------------------------------------- */

#define ACCESSES                                                                                                        \
  "(func (export \"store\") (param $a %1$s) (param $v i64) (i64.store (local.get $a) (local.get $v)))"                  \
  "(func (export \"store8\") (param $a %1$s) (param $v i64) (i64.store8 (local.get $a) (local.get $v)))"                \
  "(func (export \"load\") (param $a %1$s) (result i64) (i64.load (local.get $a)))"                                     \
  "(func (export \"fill\") (param $a %1$s) (param $v i32) (param $n %1$s) (memory.fill (local.get $a) (local.get $v) "  \
  "(local.get $n)))"                                                                                                    \
  "(func (export \"copy\") (param $a %1$s) (param $b %1$s) (param $n %1$s) (memory.copy (local.get $a) (local.get $b) " \
  "(local.get $n)))"                                                                                                    \
  "(func (export \"init\") (param $a %1$s) (memory.init 0 (local.get $a) (i32.const 0) (i32.const 26)))"                \
  "(func (export \"grow\") (param $n %1$s) (result %1$s) (memory.grow (local.get $n)))"                                 \
  "(data \"abcdefghijklmnopqrstuvwxyz\") (data (%1$s.const %2$llu) \"segment\")"

static uint8_t *model;
static uint64_t size, initial, random_state;

static uint64_t any(uint64_t below) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state % below;
}

/* Often near an end of a block or of the memory, as far as the model can know where blocks end. */
static uint64_t any_place(void) {
  uint64_t at = any(size + 1);
  const uint8_t *base = gw_memory_data(store->memories, 0, 0);
  uint64_t to_block = BLOCK - (uintptr_t)(base + at) % BLOCK;
  switch (any(4)) {
  case 0: at += to_block; break;
  case 1: at = size; break;
  default: return at;
  }
  at += any(40);
  return at < 20 ? at : at - 20;
}

static void check_trap(bool is_within, const char *name, uint64_t a, uint64_t b, uint64_t c) {
  union gw_value values[3] = {{.u64 = a}, {.u64 = b}, {.u64 = c}};
  assert_int_equal(try_call(name, values), is_within ? GW_TRAP_NONE : GW_TRAP_MEMORY_OUT_OF_BOUNDS);
}

static void bulk(uint64_t at, uint64_t n) {
  uint64_t from = any_place();
  switch (any(3)) {
  case 0:
    check_trap(at + n <= size, "fill", at, from & 255, n);
    if (at + n <= size) memset(model + at, (int)(from & 255), n);
    return;
  case 1:
    check_trap(at + n <= size && from + n <= size, "copy", at, from, n);
    if (at + n <= size && from + n <= size) memmove(model + at, model + from, n);
    return;
  default:
    check_trap(at + 26 <= size, "init", at, 0, 0);
    if (at + 26 <= size) memcpy(model + at, "abcdefghijklmnopqrstuvwxyz", 26);
  }
}

/* What a host function does: the kernel writes. It fails where the process itself would fault. */
static void from_kernel(uint64_t at, uint64_t n) {
  static int zeros = -1;
  if (zeros < 0) zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  void *to = gw_memory_data(store->memories, at, n);
  assert_int_equal(to != NULL, at + n <= size);
  if (!to) return;
  assert_int_equal(read(zeros, to, n), n);
  memset(model + at, 0, n);
}

static void grow(uint64_t pages) {
  bool fits = size + pages * PAGE <= MOST;
  uint64_t before = call("grow", pages, 0, 0);
  assert_int_equal((uint32_t)before, fits ? (uint32_t)(size / PAGE) : UINT32_MAX);
  if (fits) size += pages * PAGE;
}

static void compare(void) {
  assert_int_equal(gw_memory_size(store->memories), size);
  for (uint64_t at = 0; at < size; at += MB) {
    uint64_t n = size - at < MB ? size - at : MB;
    assert_memory_equal(gw_memory_data(store->memories, at, n), model + at, n);
  }
}

static void put_segment(void) {
  size = initial;
  memset(model, 0, MOST);
  memcpy(model + initial - 100, "segment", 7);
}

static void start_again(void) {
  struct gw_error err = {0};
  if (!gw_instance_reset(instance, &err)) fail_msg("%s", err.message);
  put_segment();
}

static void step(void) {
  uint64_t at = any_place(), value = any(UINT64_MAX);
  switch (any(12)) {
  case 0: bulk(at, any(3 * BLOCK)); break;
  case 1: bulk(at, any(100)); break;
  case 2: from_kernel(at, any(any(2) ? 100 : 2 * BLOCK)); break;
  case 3: grow(any(any(2) ? 3 : 70)); break;
  case 4: any(6) ? compare() : start_again(); break;
  case 5: check_trap(at < size, "store8", at, value, 0); break;
  case 6:
  case 7:
    check_trap(at + 8 <= size, "load", at, 0, 0);
    if (at + 8 <= size) assert_memory_equal(&(uint64_t){call("load", at, 0, 0)}, model + at, 8);
    break;
  default:
    check_trap(at + 8 <= size, "store", at, value, 0);
    if (at + 8 <= size) memcpy(model + at, &value, 8);
    return;
  }
  if (at < size && gw_memory_data(store->memories, at, 1)) model[at] = *(uint8_t *)gw_memory_data(store->memories, at, 1);
}

static void against_bytes(const char *index, uint64_t pages, enum gw_tier tier, bool is_closed, int n_steps) {
  char accesses[2048], text[2500];
  initial = pages * PAGE;
  snprintf(accesses, sizeof accesses, ACCESSES, index, (unsigned long long)(initial - 100));
  snprintf(text, sizeof text, "(module (memory %s %llu) %s)", strcmp(index, "i64") == 0 ? "i64" : "", (unsigned long long)pages,
           accesses);
  begin(text, tier, 2, is_closed);
  put_segment();
  compare();
  for (int i = 0; i < n_steps; i++) step();
  compare();
  end();
}

/* Small memories are watched up to where they begin, large ones not at all. */
static void test_against_bytes(void **state) {
  (void)state;
  static const uint64_t pages[] = {1, 32, 33, 255, 256, 257, 288, 330, 640};
  random_state = 88172645463325252u;
  model = malloc(MOST);
  assert_non_null(model);
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
    for (int kind = 0; kind < 6; kind++) against_bytes(kind & 1 ? "i64" : "i32", pages[i], (enum gw_tier)(kind >> 1), true, 150);
  against_bytes("i32", 288, GW_TIER_FAST, false, 150);
  free(model);
}

/* --- registers ------------------------------------------------------------------------------------------------------ */

enum { N_LIVE = 24, N_ROUNDS = 30 };

/* Many values of each kind live across stores to fresh blocks, some on comparisons that were made before. */
static void write_live(char *text, size_t room) {
  size_t n = 0;
#define PUT(...) n += (size_t)snprintf(text + n, room - n, __VA_ARGS__)
  PUT("(module (memory 1280) (func (export \"live\") (param $seed i64) (result i64) (local $i i32)");
  for (int i = 0; i < N_LIVE; i++) PUT("(local $a%d i64) (local $f%d f64) (local $v%d v128)", i, i, i);
  for (int i = 0; i < N_LIVE; i++)
    PUT("(local.set $a%d (i64.add (local.get $seed) (i64.const %d)))"
        "(local.set $f%d (f64.add (f64.convert_i64_u (local.get $seed)) (f64.const %d.5)))"
        "(local.set $v%d (i32x4.splat (i32.wrap_i64 (local.get $a%d))))",
        i, i, i, i, i, i);
  PUT("(loop $l");
  for (int i = 0; i < N_LIVE; i++)
    PUT("(local.set $a%d (i64.xor (i64.mul (local.get $a%d) (i64.const 3)) (local.get $a%d)))"
        "(local.set $f%d (f64.add (local.get $f%d) (local.get $f%d)))"
        "(local.set $v%d (i32x4.add (local.get $v%d) (local.get $v%d)))",
        i, (i + 1) % N_LIVE, (i + 5) % N_LIVE, i, (i + 1) % N_LIVE, i, i, (i + 1) % N_LIVE, (i + 3) % N_LIVE);
  PUT("(i64.store (i32.mul (local.get $i) (i32.const 2097152)) (i64.extend_i32_u (i64.lt_u (local.get $a3) (local.get $a7))))"
      "(local.set $a1 (select (local.get $a2) (local.get $a1) (i64.lt_s (local.get $a4) (local.get $a5))))"
      "(local.set $a2 (i64.add (local.get $a2) (i64.load offset=1048576 (i32.mul (local.get $i) (i32.const 2097152)))))"
      "(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const %d))))",
      N_ROUNDS);
  PUT("(i64.const 0)");
  for (int i = 0; i < N_LIVE; i++)
    PUT("(local.get $a%d) (i64.mul (i64.const 31)) (i64.add) (i64.reinterpret_f64 (local.get $f%d)) (i64.xor)"
        "(i64x2.extract_lane 1 (local.get $v%d)) (i64.add)",
        i, i, i);
  PUT("))");
#undef PUT
  assert_true(n < room);
}

static void check_live(const char *text, enum gw_tier tier, int level) {
  begin(text, tier, level, false);
  uint64_t expected = call("live", 12345, 0, 0), gas = gw_store_gas_used(store);
  end();
  begin(text, tier, level, true);
  assert_int_equal(call("live", 12345, 0, 0), expected);
  assert_int_equal(gw_store_gas_used(store), gas);
  assert_true(n_yields >= N_ROUNDS - 1); /* the first block may be open */
  end();
}

static void test_registers(void **state) {
  (void)state;
  size_t room = 64 << 10;
  char *text = malloc(room);
  assert_non_null(text);
  write_live(text, room);
  for (int level = 0; level <= 3; level++) check_live(text, GW_TIER_FAST, level);
  check_live(text, GW_TIER_BASELINE, 0);
  check_live(text, GW_TIER_PRECISE, 0);
  free(text);
}

/* --- ends ----------------------------------------------------------------------------------------------------------- */

static const char walk[] =
    "(module (memory 640) (func (export \"walk\") (param $step i32) (local $i i32)"
    " (loop $l (i32.store (local.get $i) (i32.const 7))"
    "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (local.get $step))) (i32.const 41943040))))))";

/* A memory that will be watched is closed until it is: the first request touches all of it. */
static void test_before_watching(void **state) {
  (void)state;
  struct gw_error err = {0};
  for (enum gw_tier tier = GW_TIER_FAST; tier <= GW_TIER_BASELINE; tier++) {
    begin("(module (memory 192) (func (export \"walk\") (param $step i32) (local $i i32)"
          " (loop $l (i32.store (local.get $i) (i32.const 7))"
          "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (local.get $step))) (i32.const 12582912))))))",
          tier, 2, true);
    call("walk", BLOCK, 0, 0);
    assert_in_range(n_yields, 4, 6); /* the first block may be open */
    for (int i = 0; i < 2; i++) {    /* the first one faults at pages that are watched */
      assert_true(gw_instance_reset(instance, &err));
      call("walk", BLOCK, 0, 0);
    }
    assert_int_equal(n_yields, 0);
    end();
  }
}

/* An instruction that has no code of its own in the baseline tier. */
static void test_handlers(void **state) {
  (void)state;
  for (enum gw_tier tier = GW_TIER_PRECISE; tier <= GW_TIER_BASELINE; tier++) {
    begin("(module (memory 640) (func (export \"walk\") (param $step i32) (local $i i32)"
          " (loop $l (v128.store (local.get $i) (v128.const i32x4 1 2 3 4))"
          "  (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (local.get $step))) (i32.const 41943040))))))",
          tier, 0, true);
    call("walk", BLOCK, 0, 0);
    uint64_t gas = gw_store_gas_used(store);
    assert_true(n_yields >= 18);
    call("walk", BLOCK, 0, 0);
    assert_true(n_yields < 5);
    assert_int_equal(gw_store_gas_used(store), gas);
    end();
  }
}

/* One that is cancelled at a touch leaves an instance like any other. */
static void check_cancel(enum gw_tier tier) {
  struct gw_error err = {0};
  struct gw_extern found;
  union gw_value values[1] = {{.u64 = 4096}};
  begin(walk, tier, 2, true);
  assert_true(gw_instance_export(instance, "walk", 4, &found));
  gw_store_start(store, found.of.func, values);
  for (int i = 0; i < 5; i++) assert_int_equal(gw_store_resume(store, &err), GW_STATUS_YIELDED);
  gw_store_cancel(store);
  assert_true(gw_instance_reset(instance, &err));
  call("walk", BLOCK, 0, 0);
  assert_true(n_yields >= 12); /* some were opened before */
  call("walk", BLOCK, 0, 0);
  assert_true(n_yields < 10); /* all is open */
  assert_true(gw_instance_reset(instance, &err));
  for (uint64_t at = 0; at < 640 * PAGE; at += 4096) assert_int_equal(*(uint32_t *)gw_memory_data(store->memories, at, 4), 0);
  end();
}

static void test_cancel(void **state) {
  (void)state;
  for (enum gw_tier tier = GW_TIER_FAST; tier <= GW_TIER_BASELINE; tier++) check_cancel(tier);
}

/* The system has no more mappings: then the rest opens at once, in one. */
static void test_no_mappings(void **state) {
  (void)state;
  enum { MANY = 70000 };
  static void *taken[MANY];
  size_t n = 0;
  begin(walk, GW_TIER_FAST, 2, true);
  call("walk", 640 * PAGE, 0, 0); /* the stack is a mapping, too */
  for (; n < MANY; n++) {
    taken[n] = mmap(NULL, 4096, n & 1 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (taken[n] == MAP_FAILED) break;
  }
  for (int i = 0; n < MANY && i < 12; i++) munmap(taken[--n], 4096); /* sanitizers need some */
  union gw_value values[1] = {{.u64 = 2 * BLOCK}};
  enum gw_trap trap = n < MANY ? try_call("walk", values) : GW_TRAP_NONE;
  for (size_t i = 0; i < n; i++) munmap(taken[i], 4096);
  if (n == MANY) skip(); /* this system sets no limit that is worth reaching */
  assert_int_equal(trap, GW_TRAP_NONE);
  for (uint64_t at = 0; at < 640 * PAGE; at += 2 * BLOCK)
    assert_int_equal(*(uint32_t *)gw_memory_data(store->memories, at, 4), 7);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_bytes), cmocka_unit_test(test_registers),   cmocka_unit_test(test_handlers),
      cmocka_unit_test(test_cancel),        cmocka_unit_test(test_no_mappings), cmocka_unit_test(test_before_watching),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
