/* What the server does with instances: the limit of all memories together, and initialised ones that are kept. */
#include "tests/http_client.h"

#define LOOP "(module (memory 64) (func (export \"handle\") (loop $l (br $l))))"
/* Replies a digit that only _initialize's one run, and no handler's write, gives. */
#define INITIALIZED                                                                                                \
  "(module " REPLY "(memory (export \"memory\") 1) (global $g (mut i32) (i32.const 48))"                           \
  "(func (export \"_initialize\") (local $i i32) (loop $l (global.set $g (i32.add (global.get $g) (i32.const 1)))" \
  " (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5)))))"                   \
  "(func (export \"handle\") (i32.store8 (i32.const 8) (i32.add (global.get $g) (i32.load8_u (i32.const 9000))))"  \
  "(i32.store8 (i32.const 9000) (i32.const 1)) (global.set $g (i32.const 65)) (call $reply (i32.const 8) (i32.const 1))))"

static void test_memory_limit(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.gas_limit = 1000000000000;
  o.max_memory = 4 << 20;
  o.memory_limit = 10 << 20;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  int loops[2];
  assert_int_equal(deploy(port, "loop", LOOP), 201);
  assert_int_equal(deploy(port, "hi", INITIALIZED), 201);
  for (int i = 0; i < 2; i++) {
    loops[i] = dial(port);
    send_text(loops[i], "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  }
  usleep(100000);
  struct reply r = call(port, "/f/loop");
  assert_int_equal(r.status, 503);
  assert_non_null(strstr(r.body, "the server's memory limit of 10485760 bytes is reached"));
  reply_clear(&r);
  r = call(port, "/f/hi");
  assert_int_equal(r.status, 200);
  reply_clear(&r);
  for (int i = 0; i < 2; i++) close(loops[i]);
  assert_int_equal(status_of(port, "GET", "/healthz"), 200);
  server_destroy(server);
  remove_data_dir(directory);
}

static void expect_initialized(enum tier_choice tier) {
  char *directory = make_data_dir(), first[32] = "", gas[32];
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.tier = tier;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  assert_int_equal(deploy(port, "f", INITIALIZED), 201);
  for (int i = 0; i < 5; i++) {
    struct reply r = call(port, "/f/f");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "5");
    assert_true(header(&r, "Gasworks-Gas", gas, sizeof gas));
    if (!first[0]) strcpy(first, gas);
    assert_string_equal(gas, first);
    reply_clear(&r);
  }
  server_destroy(server);
  remove_data_dir(directory);
}

static void test_initialized(void **state) {
  (void)state;
  expect_initialized(TIER_FAST);
  expect_initialized(TIER_PRECISE);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_limit), cmocka_unit_test(test_initialized)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
