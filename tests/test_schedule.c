/* The gas schedule: its text form, and that everything that charges uses the engine's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gasworks.h"
#include "instrument/schedule.h"
#include "runtime/host/wasi/wasi.h"
#include "tests/wat.h"

#include <stdio.h>
#include <string.h>

enum { TEXT = 8192 };

static void test_print(void **state) {
  (void)state;
  const struct schedule *s = schedule_default();
  assert_ptr_equal(s, schedule_default());
  assert_true(s->version >= 1);
  char text[TEXT], first[64], part[10];
  size_t size = schedule_print(s, text, sizeof text);
  assert_true(size < sizeof text && size == strlen(text));
  snprintf(first, sizeof first, "gasworks-schedule %u\ncontrol %u %u\n", s->version, s->gas[COST_CTL], s->latency[COST_CTL]);
  assert_memory_equal(text, first, strlen(first));
  assert_int_equal(schedule_print(s, part, sizeof part), size);
  assert_string_equal(part, "gasworks-");
  assert_int_equal(schedule_print(s, NULL, 0), size);
  static const uint8_t none[32];
  assert_memory_not_equal(&s->digest, none, sizeof none);
}

/* What is printed can be read, and is the same schedule. */
static void test_round_trip(void **state) {
  (void)state;
  struct schedule s = *schedule_default(), read;
  struct gw_error err = {0};
  char text[TEXT];
  for (int c = 0; c < COST_COUNT; c++) s.gas[c] = 1000 + (uint32_t)c;
  for (int c = 0; cost_is_instruction(c); c++) s.latency[c] = 2000 + (uint32_t)c;
  s.version = 4294967295u;
  schedule_seal(&s);
  assert_memory_not_equal(&s.digest, &schedule_default()->digest, sizeof s.digest);
  assert_true(schedule_read(text, schedule_print(&s, text, sizeof text), &read, &err));
  assert_memory_equal(&read, &s, sizeof s);
}

/* Order, blanks and comments are not part of a schedule: the digest is the same. */
static void test_free_form(void **state) {
  (void)state;
  struct schedule s = *schedule_default(), read;
  struct gw_error err = {0};
  char text[TEXT];
  int at = snprintf(text, sizeof text, "# prices\n\n gasworks-schedule\t%u  # the version\r\n", s.version);
  for (int c = COST_COUNT; c-- > 0;)
    at += cost_is_instruction(c)
              ? snprintf(text + at, sizeof text - (size_t)at, "\t%s   00%u\t%u#\n\r\n", cost_name(c), s.gas[c], s.latency[c])
              : snprintf(text + at, sizeof text - (size_t)at, "\t%s   00%u#\n\r\n", cost_name(c), s.gas[c]);
  assert_true(schedule_read(text, (size_t)at - 3, &read, &err)); /* the last line has no end */
  assert_memory_equal(&read, &s, sizeof s);
}

/* The default schedule with `from` replaced by `to`. */
static void expect_refused(const char *from, const char *to, const char *message) {
  char text[TEXT], changed[TEXT + 64];
  struct schedule s = *schedule_default(), read;
  struct gw_error err = {0};
  for (int c = 0; c < COST_COUNT; c++) s.gas[c] = 7;
  for (int c = 0; cost_is_instruction(c); c++) s.latency[c] = 9;
  s.version = 3;
  schedule_print(&s, text, sizeof text);
  const char *found = strstr(text, from);
  assert_non_null(found);
  int size = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(found - text), text, to, found + strlen(from));
  if (schedule_read(changed, (size_t)size, &read, &err)) fail_msg("%s is taken for %s", to, from);
  assert_string_equal(err.message, message);
  assert_int_equal(err.code, GW_ERROR_USAGE);
}

static void test_refused(void **state) {
  (void)state;
  expect_refused("gasworks-schedule 3\n", "", "schedule, line 1: the first line must be \"gasworks-schedule VERSION\"");
  expect_refused("gasworks-schedule 3", "gasworks-schedule 0",
                 "schedule, line 1: gasworks-schedule must be from 1 to 4294967295");
  expect_refused("gasworks-schedule 3", "gasworks-schedule 4294967296",
                 "schedule, line 1: gasworks-schedule must be from 1 to 4294967295");
  expect_refused("gasworks-schedule 3", "gasworks-schedule", "schedule, line 1: not a name and one number or two");
  expect_refused("gasworks-schedule 3", "gasworks-schedule 3 3",
                 "schedule, line 1: the first line must be \"gasworks-schedule VERSION\"");
  expect_refused("const 7 9", "const", "schedule, line 3: not a name and one number or two");
  expect_refused("const 7", "const 7 7", "schedule, line 3: not a name and one number or two");
  expect_refused("const 7 9", "const 7", "schedule, line 3: const takes a price and a latency");
  expect_refused("const 7 9", "const 7 -9", "schedule, line 3: -9 is no number");
  expect_refused("const 7 9", "const 7 1000000001", "schedule, line 3: const must be from 0 to 1000000000");
  expect_refused("host_byte 7", "host_byte 7 9", "schedule, line 48: host_byte takes a price and nothing else");
  expect_refused("const 7", "const -7", "schedule, line 3: -7 is no number");
  expect_refused("const 7", "const 0x7", "schedule, line 3: 0x7 is no number");
  expect_refused("const 7", "const 1000000001", "schedule, line 3: const must be from 0 to 1000000000");
  expect_refused("const 7", "const 99999999999999999999999", "schedule, line 3: const must be from 0 to 1000000000");
  expect_refused("const 7", "constant 7", "schedule, line 3: unknown class constant");
  expect_refused("const 7", "control 7", "schedule, line 3: control stands here a second time");
  expect_refused("const 7 9\n", "", "schedule: no price for const");
  expect_refused("loop 7", "loop 0", "schedule, line 5: loop must be from 1 to 1000000000");
  expect_refused("call 7", "call 0", "schedule, line 8: call must be from 1 to 1000000000");
  expect_refused("host_byte 7", "host_byte 0", "schedule, line 48: host_byte must be from 1 to 1000000000");
}

/* No text makes it read too far or take what it cannot print. */
static void test_cut_short(void **state) {
  (void)state;
  char text[TEXT];
  schedule_print(schedule_default(), text, sizeof text);
  size_t last = (size_t)(strrchr(text, ' ') - text); /* the last price: a part of it is one, too */
  for (size_t n = 0; n <= last; n++) {
    struct schedule read;
    struct gw_error err = {0};
    char *cut = malloc(n ? n : 1); /* exactly as long: the sanitizer sees what runs over */
    assert_non_null(cut);
    memcpy(cut, text, n);
    assert_false(schedule_read(cut, n, &read, &err));
    assert_true(err.message[0]);
    free(cut);
  }
}

/* --- who charges by it -------------------------------------------------------------------------------------------- */

static const char *const module_text =
    "(module (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) (result i32)))"
    " (memory (export \"memory\") 1 4) (table $t 1 100 funcref)"
    " (func (export \"run\") (result i32)"
    "  (memory.fill (i32.const 0) (i32.const 1) (i32.const 33))"
    "  (drop (memory.grow (i32.const 2)))"
    "  (drop (table.grow $t (ref.null func) (i32.const 5)))"
    "  (call $random (i32.const 0) (i32.const 64))))";

static bool resolve(void *env, const struct gw_import *import, struct gw_extern *out) { return wasi_resolve(env, import, out); }

static uint64_t gas_by(const struct schedule *s) {
  struct gw_error err = {0};
  union gw_value value = {0};
  static const char *const none[] = {NULL};
  struct wasi_options options = {.args = none, .env = none, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
  struct wasi *wasi = wasi_create(&options, &err);
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true, .schedule = s}, &err);
  struct gw_module *module = wat_module(engine, module_text);
  struct gw_store *store = gw_store_create(engine, &(struct gw_store_options){0}, &err);
  struct gw_instance *instance = gw_instance_create(store, module, resolve, wasi, &err);
  if (!instance || !gw_call_export(instance, "run", &value, 1, &err)) fail_msg("%s", err.message);
  uint64_t gas = gw_store_gas_used(store);
  gw_store_destroy(store);
  gw_module_release(module);
  gw_engine_destroy(engine);
  wasi_destroy(wasi);
  return gas;
}

/* Every class that the module uses, and how often: one price is raised, the sum follows. */
static void test_everybody_charges(void **state) {
  (void)state;
  static const struct {
    enum cost class;
    unsigned times;
  } rows[] = {
      {COST_BULK, 2},        {COST_MEMORY_GROW, 1},       {COST_MEMORY_BYTES_16, 3},
      {COST_MEMORY_PAGE, 2}, {COST_TABLE_ENTRY, 5},       {COST_CALL, 1},
      {COST_HOST_CALL, 1},   {COST_HOST_RANDOM_BYTE, 64}, {COST_REF, 1},
      {COST_CONST, 7},       {COST_HOST_SYSTEM_CALL, 1},  {COST_HOST_BYTE, 0},
      {COST_CTL, 3},         {COST_CALL_INDIRECT, 0},     {COST_MOVE, 3},
  };
  struct schedule s = *schedule_default();
  for (int c = 0; c < COST_COUNT; c++) s.gas[c] = cost_least(c);
  uint64_t least = gas_by(&s), sum = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct schedule raised = s;
    raised.gas[rows[i].class] += 1000;
    assert_int_equal(gas_by(&raised) - least, 1000 * rows[i].times);
    sum += rows[i].times * s.gas[rows[i].class];
  }
  assert_int_equal(least, sum);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_print),   cmocka_unit_test(test_round_trip), cmocka_unit_test(test_free_form),
      cmocka_unit_test(test_refused), cmocka_unit_test(test_cut_short),  cmocka_unit_test(test_everybody_charges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
