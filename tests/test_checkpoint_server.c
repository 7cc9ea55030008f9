/* Commands on a server with checkpoints and on one without: nobody who looks at the replies can tell which is which. */
#include "runtime/sanitizer.h"
#include "tests/http_client.h"

#include <pthread.h>

static struct server *with, *without;
static char *directories[2], *bundles;
static struct buffer command; /* checkpoint.c */

/* Compiled with the tools that other tests use. */
static struct buffer build(const char *format) {
  char text[1024], path[] = "/tmp/gasworks-checkpoint-XXXXXX";
  struct buffer bytes = {0};
  struct gw_error err = {0};
  close(mkstemp(path));
  snprintf(text, sizeof text, format, SOURCE_DIR, path);
  if (system(text) != 0) fail_msg("%s", text);
  assert_true(buffer_read_file(&bytes, path, 4 << 20, &err));
  unlink(path);
  return bytes;
}

static void deploy_on_both(const char *name, struct buffer bytes) {
  assert_int_equal(deploy_bytes(server_port(with), name, bytes.bytes, bytes.size), 201);
  assert_int_equal(deploy_bytes(server_port(without), name, bytes.bytes, bytes.size), 201);
}

static void deploy_text(const char *name, const char *text) {
  struct buffer bytes = wat(text);
  deploy_on_both(name, bytes);
  buffer_clear(&bytes);
}

#define WASI(name, type) "(import \"wasi_snapshot_preview1\" \"" name "\" (func $" name " " type "))"
#define SPEND "(loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30000))))"
/* Calls that are the same every time lie before the place; a random number and a fault behind it, so the judge needs their count.
 */
#define RANDOM_FAULT                                                                                                          \
  "(module " WASI("args_sizes_get", "(param i32 i32) (result i32)") WASI("sched_yield", "(result i32)")                       \
      WASI("random_get",                                                                                                      \
           "(param i32 i32) (result i32)") "(memory (export \"memory\") 1) (func (export \"_start\") (local $i i32)"          \
                                           "(drop (call $args_sizes_get (i32.const 0) (i32.const 4))) " SPEND                 \
                                           "(drop (call $sched_yield)) (drop (call $random_get (i32.const 8) (i32.const 4)))" \
                                           "(drop (i32.load (i32.add (i32.const 0x70000000) (i32.load8_u (i32.const 8)))))))"
/* A start function, which is kept first, and a command behind it. */
#define STARTED                                                                                                               \
  "(module " WASI("fd_write",                                                                                                 \
                  "(param i32 i32 i32 i32) (result i32)") "(memory (export \"memory\") 1)"                                    \
                                                          "(data (i32.const 0) \"\\10\\00\\00\\00\\0d\\00\\00\\00\") (data "  \
                                                          "(i32.const 16) \"Status: 2xx\\n\\n\")"                             \
                                                          "(func $start (local $i i32) " SPEND                                \
                                                          " (i32.store8 (i32.const 25) (i32.add (i32.const 48) (i32.load8_u " \
                                                          "(i32.const 300)))))"                                               \
                                                          "(start $start) (func (export \"_start\") (local $i i32) " SPEND    \
                                                          "(i32.store8 (i32.const 26) (i32.add (i32.const 52) (i32.load8_u "  \
                                                          "(i32.const 300))))"                                                \
                                                          "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) "  \
                                                          "(i32.const 8))) (i32.store8 (i32.const 300) (i32.const 1))))"
/* A random number lies before what would otherwise be the place; it is the reply. */
#define DICE                                                                                                                    \
  "(module " WASI("random_get", "(param i32 i32) (result i32)") WASI("environ_sizes_get", "(param i32 i32) (result i32)") WASI( \
      "fd_write",                                                                                                               \
      "(param i32 i32 i32 i32) (result i32)") "(memory (export \"memory\") 1)"                                                  \
                                              "(data (i32.const 0) \"\\10\\00\\00\\00\\08\\00\\00\\00\") (func (export "        \
                                              "\"_start\") (local $i i32) " SPEND                                               \
                                              "(drop (call $random_get (i32.const 16) (i32.const 8))) (i64.store (i32.const "   \
                                              "16) (i64.or (i64.const 0x4040404040404040)"                                      \
                                              " (i64.and (i64.const 0x0f0f0f0f0f0f0f0f) (i64.load (i32.const 16))))) " SPEND    \
                                              "(drop (call $environ_sizes_get (i32.const 100) (i32.const 104)))"                \
                                              "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const "     \
                                              "8)))))"
/* Writes more behind the place than is copied back: its instances are dropped, and later ones have no checkpoint. */
#define FLOOD                                                                                                                 \
  "(module " WASI("environ_sizes_get",                                                                                        \
                  "(param i32 i32) (result i32)") "(memory (export \"memory\") 64)"                                           \
                                                  "(func (export \"_start\") (local $i i32) (if (i32.load (i32.const 5000)) " \
                                                  "(then (unreachable))) " SPEND                                              \
                                                  "(drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))"              \
                                                  "(if (i32.load (i32.const 5000)) (then (unreachable))) (memory.fill "       \
                                                  "(i32.const 4096) (i32.const 1) (i32.const 3000000))))"
/* Ends before it asks for anything, and traps before. */
#define SILENT WASI("proc_exit", "(param i32)") "(memory (export \"memory\") 1) (func (export \"_start\") (local $i i32) " SPEND

static void write_bundle(void) {
  char text[256];
  snprintf(text, sizeof text, "mkdir %s/c && echo from a file >%s/c/file", bundles, bundles);
  assert_int_equal(system(text), 0);
}

static int set_up(void **state) {
  (void)state;
  bundles = make_data_dir();
  write_bundle();
  for (int i = 0; i < 2; i++) {
    directories[i] = make_data_dir();
    struct server_options o = test_options(directories[i]);
    o.max_memory = 8 << 20;
    o.bundles = bundles;
    o.checkpoints = i == 0;
    *(i == 0 ? &with : &without) = start(&o);
  }
  command = build("clang-22 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 %s/tests/guest/checkpoint.c -o %s");
  deploy_on_both("c", command);
  struct buffer rust = build("/usr/bin/rustc --target wasm32-wasi -C opt-level=2 -C panic=abort -C strip=symbols "
                             "%s/tests/guest/checkpoint.rs -o %s");
  deploy_on_both("rust", rust);
  buffer_clear(&rust);
  deploy_text("random", RANDOM_FAULT);
  deploy_text("started", STARTED);
  deploy_text("dice", DICE);
  deploy_text("flood", FLOOD);
  deploy_text("silent", "(module " SILENT "))");
  deploy_text("early", "(module " SILENT " (unreachable)))");
  deploy_text("exit", "(module " SILENT " (call $proc_exit (i32.const 4))))");
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  server_destroy(with);
  server_destroy(without);
  for (int i = 0; i < 2; i++) remove_data_dir(directories[i]);
  remove_data_dir(bundles);
  buffer_clear(&command);
  return 0;
}

static unsigned long long metric(struct server *server, const char *name) {
  struct reply r = call(server_port(server), "/metrics");
  char line[100];
  snprintf(line, sizeof line, "\n%s ", name);
  const char *at = strstr(r.body, line);
  assert_non_null(at);
  unsigned long long value = strtoull(at + strlen(line), NULL, 10);
  reply_clear(&r);
  return value;
}

/* The parts of a head that no two replies share. */
static void drop_line(char *head, const char *name) {
  char *line = strstr(head, name);
  if (line) memmove(line, line + strcspn(line, "\n"), strlen(line + strcspn(line, "\n")) + 1);
}

static void drop_date(char *head) {
  drop_line(head, "Date: ");
  drop_line(head, "Gasworks-Receipt: ");
}

static void expect_same(const char *path, const char *body) {
  struct reply a = request(server_port(with), "POST", path, body, strlen(body));
  struct reply b = request(server_port(without), "POST", path, body, strlen(body));
  drop_date(a.head);
  drop_date(b.head);
  assert_string_equal(a.head, b.head);
  assert_string_equal(a.body, b.body);
  reply_clear(&a);
  reply_clear(&b);
}

static const char *const paths[] = {"/f/c?trap",    "/f/c?fault", "/f/c",      "/f/c?loop",    "/f/c?exit",    "/f/c?grow",
                                    "/f/c?file",    "/f/c?none",  "/f/c?all",  "/f/rust?none", "/f/rust?trap", "/f/rust",
                                    "/f/rust?more", "/f/started", "/f/silent", "/f/early",     "/f/exit",      "/f/flood"};
enum { N_PATHS = sizeof paths / sizeof *paths };

static void test_same_replies(void **state) {
  (void)state;
  char body[32];
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < N_PATHS; i++) {
      snprintf(body, sizeof body, "body %d of %d", i, round);
      expect_same(paths[i], body);
      expect_same("/f/c", body);
    }
  }
  struct reply r = call(server_port(with), "/f/c");
  assert_int_equal(r.status, 200);
  assert_memory_equal(r.body, "fresh c ", 8);
  reply_clear(&r);
  r = call(server_port(with), "/f/started");
  assert_int_equal(r.status, 204);
  reply_clear(&r);
  if (sanitizer_can_restore()) assert_true(metric(with, "gasworks_checkpointed_total") > 2 * N_PATHS);
  assert_int_equal(metric(without, "gasworks_checkpointed_total"), 0);
}

/* What was random is what the precise tier is given when it judges; a wrong count of calls would make the tiers disagree. */
static void test_judge(void **state) {
  (void)state;
  for (int i = 0; i < 6; i++) {
    const char *path = i % 2 ? "/f/c?random" : "/f/random";
    struct reply a = call(server_port(with), path), b = call(server_port(without), path);
    char gas[2][32];
    assert_int_equal(a.status, b.status);
    assert_non_null(strstr(a.body, "out of bounds memory access"));
    assert_true(header(&a, "Gasworks-Gas", gas[0], sizeof gas[0]) && header(&b, "Gasworks-Gas", gas[1], sizeof gas[1]));
    assert_string_equal(gas[0], gas[1]);
    reply_clear(&a);
    reply_clear(&b);
  }
  assert_int_equal(metric(with, "gasworks_tier_disagreements_total"), 0);
}

static void test_random(void **state) {
  (void)state;
  struct reply r[4];
  for (int i = 0; i < 4; i++) {
    r[i] = call(server_port(with), "/f/dice");
    assert_int_equal(r[i].size, 8);
    for (int k = 0; k < i; k++) assert_string_not_equal(r[i].body, r[k].body);
  }
  for (int i = 0; i < 4; i++) reply_clear(&r[i]);
}

/* Four requests of a function that floods its memory: each one that had a checkpoint before it is the last of its instance. */
static void test_flood(void **state) {
  (void)state;
  unsigned long long before = metric(with, "gasworks_checkpointed_total");
  for (int i = 0; i < 4; i++) expect_same("/f/flood", "");
  assert_int_equal(metric(with, "gasworks_checkpointed_total"), before);
}

/* A slot with a long reply gives the buffer back, and is used again with its checkpoint. */
static void test_long_reply(void **state) {
  (void)state;
  static const char *const calls[] = {"/f/c", "/f/c", "/f/c?long", "/f/c", "/f/c"};
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  struct server *server = start(&o);
  assert_int_equal(deploy_bytes(server_port(server), "c", command.bytes, command.size), 201);
  for (int i = 0; i < 5; i++) assert_int_equal(status_of(server_port(server), "GET", calls[i]), 200);
  if (sanitizer_can_restore()) assert_int_equal(metric(server, "gasworks_checkpointed_total"), 4);
  server_destroy(server);
  remove_data_dir(directory);
}

static void *call_many(void *arg) {
  int *bad = arg;
  char expected[64];
  for (int i = 0; i < 20; i++) {
    char body[40];
    snprintf(body, sizeof body, "%p %d", arg, i);
    struct reply r = request(server_port(with), "POST", i % 5 == 4 ? "/f/c?trap" : "/f/c?none", body, strlen(body));
    snprintf(expected, sizeof expected, " %s\n", body);
    bool is_right = i % 5 == 4 ? r.status == 500 || r.status == 502
                               : r.status == 200 && memcmp(r.body, "fresh c ", 8) == 0 && strstr(r.body, expected);
    if (!is_right) print_message("%s: %d %s\n", body, r.status, r.body);
    *bad += !is_right;
    reply_clear(&r);
  }
  return NULL;
}

/* Several slots on both loops, each with a checkpoint of its own. */
static void test_several_slots(void **state) {
  (void)state;
  enum { THREADS = 6 };
  pthread_t threads[THREADS];
  int bad[THREADS] = {0};
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, call_many, &bad[i]);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(bad[i], 0);
  }
}

/* What the gas limit allows: nothing, the beginning, the beginning and a little, all. */
static void test_gas_limits(void **state) {
  (void)state;
  char gas[32];
  struct reply r = call(server_port(without), "/f/started");
  assert_true(header(&r, "Gasworks-Gas", gas, sizeof gas));
  uint64_t all = strtoull(gas, NULL, 10);
  reply_clear(&r);
  struct buffer bytes = wat(STARTED);
  for (int i = -8; i < 5; i++) {
    struct reply last = {0};
    for (int has = 0; has < 2; has++) {
      char *directory = make_data_dir();
      struct server_options o = test_options(directory);
      o.n_loops = 1;
      o.checkpoints = has;
      o.gas_limit = i == -8 ? all / 2 : i == -7 ? all * 3 / 4 : all + (uint64_t)(int64_t)i;
      struct server *server = start(&o);
      assert_int_equal(deploy_bytes(server_port(server), "f", bytes.bytes, bytes.size), 201);
      for (int k = 0; k < 3; k++) {
        r = call(server_port(server), "/f/f");
        drop_date(r.head);
        if (last.status) {
          assert_string_equal(r.head, last.head);
          assert_string_equal(r.body, last.body);
        }
        reply_clear(&last);
        last = r;
      }
      server_destroy(server);
      remove_data_dir(directory);
    }
    assert_int_equal(last.status == 204, i >= 0);
    reply_clear(&last);
  }
  buffer_clear(&bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_replies), cmocka_unit_test(test_judge),
                                     cmocka_unit_test(test_random),       cmocka_unit_test(test_flood),
                                     cmocka_unit_test(test_long_reply),   cmocka_unit_test(test_several_slots),
                                     cmocka_unit_test(test_gas_limits)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
