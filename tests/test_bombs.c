/* Modules that are small to send and long to compile: each ends as code or as one clear error within the compiler's limits, and
 * the server answers meanwhile. How fast it answers is bench/bombs's matter. */
#include "tests/http_client.h"

#include <time.h>

/* What every bomb has besides: a reply. */
#define HEAD "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 16) \"hi\")"
#define TAIL "(func (export \"handle\") (call $reply (i32.const 16) (i32.const 2))))"

static void large_function(struct buffer *b) {
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32)");
  for (int i = 0; i < 12000; i++)
    buffer_format(b, "(local.set 0 (i32.rem_u (i32.load offset=%d (local.get 0)) (i32.add (local.get 0) (i32.const %d))))",
                  i % 999, i);
  buffer_append_string(b, "(local.get 0))");
}

static void nested_blocks(struct buffer *b) {
  enum { DEPTH = 3000 };
  buffer_append_string(b, "(func (export \"f\") (param i32)");
  for (int i = 0; i < DEPTH; i++) buffer_format(b, "(block (br_if %d (local.get 0))", i);
  for (int i = 0; i < DEPTH; i++) buffer_append_string(b, ")");
  buffer_append_string(b, ")");
}

static void giant_table(struct buffer *b) {
  enum { BLOCKS = 500, TARGETS = 60000 };
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32)");
  for (int i = 0; i < BLOCKS; i++) buffer_append_string(b, "(block ");
  buffer_append_string(b, "(br_table");
  for (int i = 0; i < TARGETS; i++) buffer_format(b, " %d", i * 7919 % BLOCKS);
  buffer_append_string(b, "(local.get 0))");
  for (int i = 0; i < BLOCKS; i++) buffer_format(b, ") (local.set 0 (i32.add (local.get 0) (i32.const %d)))", i);
  buffer_append_string(b, "(local.get 0))");
}

static void many_locals(struct buffer *b) {
  enum { LOCALS = 49000, USED = 6000 };
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32) (local");
  for (int i = 0; i < LOCALS; i++) buffer_append_string(b, " i32");
  buffer_append_string(b, ")(loop $again");
  for (int i = 1; i < USED; i++)
    buffer_format(b, "(local.set %d (i32.add (local.get %d) (local.get %d)))", i * 7, i - 1, (i * 13) % USED);
  buffer_append_string(b, "(br_if $again (local.get 9)))(local.get 11))");
}

/* Every local may come from everywhere at every turn. */
static void phi_web(struct buffer *b) {
  enum { LOCALS = 150, TURNS = 600 };
  buffer_append_string(b, "(func (export \"f\") (param i32) (result i32) (local");
  for (int i = 0; i < LOCALS; i++) buffer_append_string(b, " i32");
  buffer_append_string(b, ")(loop $again");
  for (int i = 0; i < TURNS; i++)
    buffer_format(b,
                  "(if (local.get %d) (then (local.set %d (local.get %d)) (br_if $again (local.get %d))) (else (local.set %d "
                  "(i32.const %d))))",
                  i % LOCALS, (i * 31) % LOCALS, (i * 17 + 3) % LOCALS, (i * 7) % LOCALS, (i * 11) % LOCALS, i);
  buffer_append_string(b, ")(local.get 1))");
}

/* Inlining all of it would make 2^40 calls of one. */
static void calls_of_calls(struct buffer *b) {
  enum { LEVELS = 40 };
  for (int i = 0; i < LEVELS; i++)
    buffer_format(b, "(func $f%d (param i32) (result i32) (i32.add (call $f%d (local.get 0)) (call $f%d (i32.const %d))))", i,
                  i + 1, i + 1, i);
  buffer_format(b, "(func $f%d (param i32) (result i32) (local.get 0)) (export \"f\" (func $f0))", LEVELS);
}

static const struct {
  const char *name;
  void (*make)(struct buffer *b);
} bombs[] = {
    {"large-function", large_function},
    {"nested-blocks", nested_blocks},
    {"giant-table", giant_table},
    {"many-locals", many_locals},
    {"phi-web", phi_web},
    {"calls-of-calls", calls_of_calls},
};
enum { BOMBS = sizeof bombs / sizeof *bombs };

static void deploy_bomb(uint16_t port, size_t i) {
  struct buffer text = {0};
  buffer_append_string(&text, HEAD);
  bombs[i].make(&text);
  buffer_append(&text, TAIL, sizeof TAIL);
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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_bombs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
