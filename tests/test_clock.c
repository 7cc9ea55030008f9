/* What functions see of time: on a server it goes in milliseconds and stands still within a slice, unless it is told otherwise.
 */
#include "runtime/guest_clock.h"
#include "tests/http_client.h"

/* Replies with nine numbers: of each clock the time before and behind as many rounds of a loop as the body has 100,000s of
 * bytes, and what the first one says of its own steps. Slices are a million of gas. */
#define WASI_CLOCK(id, at) "(drop (call $time (i32.const " #id ") (i64.const 1) (i32.const " #at ")))"
static const char clocks[] = "(module " REPLY IMPORT("clock_ms", "(result i64)")
    IMPORT("request_body_size",
           "(result i32)") "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func $time (param i32 i64 i32) (result i32)))"
                           "(import \"wasi_snapshot_preview1\" \"clock_res_get\" (func $res (param i32 i32) (result i32)))"
                           "(memory (export \"memory\") 1)"
                           "(func (export \"handle\") (local $i i32)"
                           "  (local.set $i (i32.mul (i32.add (call $request_body_size) (i32.const 1)) (i32.const 50000)))"
                           "  (i64.store (i32.const 0) (call $clock_ms))" WASI_CLOCK(0, 8) WASI_CLOCK(1, 16)
                               WASI_CLOCK(2, 24) "  (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
                                                 "  (i64.store (i32.const 32) (call $clock_ms))" WASI_CLOCK(0, 40)
                                                     WASI_CLOCK(1, 48)
                                                         WASI_CLOCK(3, 56) "  (drop (call $res (i32.const 0) (i32.const 64)))"
                                                                           "  (call $reply (i32.const 0) (i32.const 72))))";
enum { MS, REALTIME, MONOTONIC, CPU, N_CLOCKS, SHORT = 0, LONG = 200 };

struct times {
  uint64_t before[N_CLOCKS], behind[N_CLOCKS], step;
};

static struct times read_times(struct server *server, size_t rounds) {
  static const char body[LONG];
  struct times t;
  struct reply r = request(server_port(server), "POST", "/f/clocks", body, rounds);
  assert_int_equal(r.status, 200);
  assert_int_equal(r.size, sizeof t);
  memcpy(&t, r.body, sizeof t);
  reply_clear(&r);
  return t;
}

/* In compiled code or in the interpreter, whose slices are shorter. */
static struct server *start_with(const char *data_dir, bool has_fine_clocks, enum tier_choice tier) {
  struct server_options o = test_options(data_dir);
  o.has_fine_clocks = has_fine_clocks;
  o.tier = tier;
  o.slice_us = 0; /* slices by gas alone: where they end is known */
  if (tier == TIER_PRECISE) o.slice = 16000000;
  struct server *server = start(&o);
  assert_int_equal(deploy(server_port(server), "clocks", clocks), 201);
  return server;
}

static uint64_t now_ns(void) {
  uint64_t ns;
  assert_true(guest_clock_now(NULL, CLOCK_REALTIME, &ns));
  return ns;
}

static void test_coarse(void **state) {
  (void)state;
  static const enum tier_choice tiers[] = {TIER_FAST, TIER_PRECISE};
  for (size_t k = 0; k < 2; k++) {
    char *directory = make_data_dir();
    struct server *server = start_with(directory, false, tiers[k]);
    for (int round = 0; round < 20; round++) {
      uint64_t start = now_ns();
      struct times t = read_times(server, SHORT);
      assert_int_equal(t.step, GUEST_CLOCK_STEP_NS);
      for (int i = 0; i < N_CLOCKS; i++) {
        assert_int_equal(t.before[i], t.behind[i]);
        if (i != MS) assert_int_equal(t.before[i] % GUEST_CLOCK_STEP_NS, 0);
      }
      assert_int_equal(t.before[MS], t.before[REALTIME] / 1000000);
      assert_int_equal(t.before[CPU], t.before[MONOTONIC]); /* how busy the process is, is nobody's business */
      assert_true(t.before[REALTIME] + GUEST_CLOCK_STEP_NS > start && t.before[REALTIME] <= now_ns());
    }
    server_destroy(server);
    remove_data_dir(directory);
  }
}

/* A function that runs for many slices sees the time go, or a loop that waits for a time would never end. */
static void test_goes_on(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server *server = start_with(directory, false, TIER_FAST);
  struct times t = {0};
  for (int round = 0; round < 50 && t.before[MONOTONIC] == t.behind[MONOTONIC]; round++) t = read_times(server, LONG);
  for (int i = 0; i < N_CLOCKS; i++) assert_true(t.behind[i] > t.before[i]);
  server_destroy(server);
  remove_data_dir(directory);
}

static void test_fine(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server *server = start_with(directory, true, TIER_FAST);
  struct times t = read_times(server, SHORT);
  assert_int_equal(t.step, 1);
  assert_true(t.behind[REALTIME] > t.before[REALTIME] && t.behind[MONOTONIC] > t.before[MONOTONIC]);
  assert_true(t.before[CPU] != t.before[MONOTONIC]);
  server_destroy(server);
  remove_data_dir(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_coarse), cmocka_unit_test(test_goes_on), cmocka_unit_test(test_fine)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
