/* Modules that are small to send and long to compile: each ends as code or as one clear error within the compiler's limits, and
 * the server answers meanwhile. How fast it answers is bench/bombs's matter. */
#include "tests/bombs.h"
#include "tests/http_client.h"

#include <time.h>

static void deploy_bomb(uint16_t port, size_t i) {
  struct buffer text = bomb_text(i);
  assert_int_equal(deploy(port, bombs[i].name, (const char *)text.bytes), 201);
  buffer_clear(&text);
}

static void expect_hi(uint16_t port, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/f/%s", name);
  struct reply r = call(port, path);
  assert_int_equal(r.status, 200);
  assert_memory_equal(r.body, "hi", 2);
  reply_clear(&r);
}

/* Whether the compiler is done with it, and then how. */
static bool is_over(uint16_t port, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/v1/functions/%s", name);
  struct reply r = call(port, path);
  bool is_fast = strstr(r.body, "\"tier\":\"fast\""), has_failed = strstr(r.body, "CPU time") || strstr(r.body, "of memory");
  bool is_compiling = strstr(r.body, "\"is_compiling\":true");
  if (!is_fast && !has_failed && !is_compiling) fail_msg("neither code nor a reason: %s", r.body);
  if (!is_compiling) printf("%-16s %s\n", name, is_fast ? "compiled" : "ended by a limit");
  reply_clear(&r);
  return !is_compiling;
}

static void test_bombs(void **state) {
  (void)state;
  char *data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  o.tier = TIER_AUTO;
  o.opt_level = 2;
  o.compiler_program = BUILD_DIR "/gasworks";
  o.compile_seconds = 2;
  o.compile_wall_seconds = 120; /* a busy machine takes its time */
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  for (size_t i = 0; i < BOMBS; i++) deploy_bomb(port, i);
  for (size_t i = 0; i < BOMBS; i++) do
      expect_hi(port, bombs[i].name); /* interpreted until there is code, and for good where there will be none */
    while (!is_over(port, bombs[i].name) && nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL) == 0);
  for (size_t i = 0; i < BOMBS; i++) expect_hi(port, bombs[i].name);
  assert_int_equal(status_of(port, "GET", "/healthz"), 200);
  server_destroy(server);
  remove_data_dir(data_dir);
}

/* Small functions that come behind bombs have code before them: those are put aside. */
static void test_small_ones_do_not_wait(void **state) {
  (void)state;
  enum { COPIES = 3 };
  char *data_dir = make_data_dir(), path[32];
  struct server_options o = test_options(data_dir);
  o.tier = TIER_AUTO;
  o.opt_level = 2;
  o.compiler_program = BUILD_DIR "/gasworks";
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  for (int i = 0; i < COPIES; i++) {
    struct buffer text = bomb_text(SLOW_BOMB);
    snprintf(path, sizeof path, "bomb%d", i);
    assert_int_equal(deploy(port, path, (const char *)text.bytes), 201);
    buffer_clear(&text);
  }
  assert_int_equal(deploy(port, "small", BOMB_HEAD BOMB_TAIL), 201);
  while (!is_over(port, "small")) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  assert_false(is_over(port, "bomb0"));
  assert_false(is_over(port, "bomb1"));
  server_destroy(server);
  remove_data_dir(data_dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_small_ones_do_not_wait), cmocka_unit_test(test_bombs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
