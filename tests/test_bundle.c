/* Files of functions (`serve --bundles`): each sees its own, only to read, and leaves no descriptor behind. */
#include "tests/host_fds.h"
#include "tests/http_client.h"

#define WASI(name, type) "(import \"wasi_snapshot_preview1\" \"" name "\" (func $" name " " type " (result i32)))"
/* Replies what the first 100 bytes of a file are, or a byte: A and the errno of opening it. Traps behind the opening when
 * there is a body. Leaves the file open. */
#define WAT_PAGE(path, size, oflags)                                                                                             \
  "(module " WASI("path_open", "(param i32 i32 i32 i32 i32 i64 i64 i32 i32)") WASI("fd_read", "(param i32 i32 i32 i32)") WASI(   \
      "fd_write",                                                                                                                \
      "(param i32 i32 i32 i32)") "(memory (export \"memory\") 1) (data (i32.const 0) \"" path "\")"                              \
                                 "(data (i32.const 64) \"\\00\\04\\00\\00\\64\\00\\00\\00\") (data (i32.const 72) "              \
                                 "\"\\00\\04\\00\\00\")"                                                                         \
                                 "(func (export \"_start\") (local $e i32)"                                                      \
                                 "(local.set $e (call $path_open (i32.const 3) (i32.const 1) (i32.const 0) (i32.const " size ")" \
                                 "  (i32.const " oflags ") (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 96)))"           \
                                 "(if (local.get $e) (then (i32.store8 (i32.const 1024) (i32.add (i32.const 65) (local.get "     \
                                 "$e)))"                                                                                         \
                                 "                         (i32.store (i32.const 76) (i32.const 1)))"                            \
                                 " (else (drop (call $fd_read (i32.load (i32.const 96)) (i32.const 64) (i32.const 1) "           \
                                 "(i32.const 76)))))"                                                                            \
                                 "(drop (call $fd_read (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 80)))"              \
                                 "(if (i32.load (i32.const 80)) (then unreachable))"                                             \
                                 "(drop (call $fd_write (i32.const 1) (i32.const 72) (i32.const 1) (i32.const 100)))))"

enum { ERRNO_NOENT = 44, ERRNO_ROFS = 69, ERRNO_NOTCAPABLE = 76 };

static char *data_dir, *bundles;

static void run_shell(const char *format, const char *directory) {
  char command[512];
  snprintf(command, sizeof command, format, directory);
  assert_int_equal(system(command), 0);
}

static struct server *start_with(const char *directory, enum tier_choice tier) {
  struct server_options o = test_options(data_dir);
  o.bundles = directory;
  o.tier = tier;
  return start(&o);
}

static int set_up(void **state) {
  (void)state;
  data_dir = make_data_dir();
  bundles = make_data_dir();
  run_shell("cd %s && mkdir a b c && echo page of a >a/page && echo page of b >b/page && ln -s ../a/page b/link", bundles);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  remove_data_dir(data_dir);
  remove_data_dir(bundles);
  return 0;
}

static void expect_body(uint16_t port, const char *path, const char *body) {
  struct reply r = call(port, path);
  if (r.status != 200 || strcmp(r.body, body) != 0) fail_msg("%s: %d, not %s but %s", path, r.status, body, r.body);
  reply_clear(&r);
}

static void expect_errno(uint16_t port, const char *path, int code) {
  struct reply r = call(port, path);
  assert_int_equal((unsigned char)r.body[0], 'A' + code);
  reply_clear(&r);
}

static void test_bundles(void **state) {
  (void)state;
  for (int tier = TIER_FAST; tier <= TIER_PRECISE; tier++) {
    struct server *server = start_with(bundles, (enum tier_choice)tier);
    uint16_t port = server_port(server);
    deploy(port, "a", WAT_PAGE("page", "4", "0"));
    deploy(port, "b", WAT_PAGE("page", "4", "0"));
    deploy(port, "none", WAT_PAGE("page", "4", "0"));
    expect_body(port, "/f/a", "page of a\n");
    expect_body(port, "/f/b", "page of b\n");
    expect_errno(port, "/f/none", ERRNO_NOENT); /* all that it has is its /state */
    deploy(port, "b", WAT_PAGE("../a/page", "9", "0"));
    expect_errno(port, "/f/b", ERRNO_NOTCAPABLE);
    deploy(port, "b", WAT_PAGE("link", "4", "0"));
    expect_errno(port, "/f/b", ERRNO_NOTCAPABLE);
    deploy(port, "b", WAT_PAGE("new", "3", "1"));
    expect_errno(port, "/f/b", ERRNO_ROFS);
    server_destroy(server);
  }
  run_shell("test ! -e %s/b/new", bundles);
}

/* Also after traps, which the judge looks into, on the same files. */
static void test_no_descriptor_stays(void **state) {
  (void)state;
  struct server *server = start_with(bundles, TIER_FAST);
  uint16_t port = server_port(server);
  deploy(port, "a", WAT_PAGE("page", "4", "0"));
  int before = 0;
  for (int i = 0; i < 200; i++) {
    struct reply r = request(port, "POST", "/f/a", "x", i & 1);
    assert_int_equal(r.status, i & 1 ? 500 : 200);
    if (i & 1) assert_non_null(strstr(r.body, "unreachable"));
    reply_clear(&r);
    if (i == 20) before = count_host_fds();
  }
  assert_in_range(count_host_fds(), 1, before + 4); /* connections come and go */
  server_destroy(server);
}

/* After a restart the bundle is opened when the function is loaded; without the option there are no files. */
static void test_restart(void **state) {
  (void)state;
  struct server *server = start_with(bundles, TIER_AUTO);
  assert_int_equal(deploy(server_port(server), "a", WAT_PAGE("page", "4", "0")), 201);
  server_destroy(server);
  server = start_with(bundles, TIER_AUTO);
  expect_body(server_port(server), "/f/a", "page of a\n");
  server_destroy(server);
  server = start_with(NULL, TIER_AUTO);
  assert_int_equal(status_of(server_port(server), "GET", "/f/a"), 200);
  expect_errno(server_port(server), "/f/a", ERRNO_NOENT);
  server_destroy(server);
  struct server_options o = test_options(data_dir);
  struct gw_error err = {0};
  o.bundles = "/no/such/directory";
  assert_null(server_start(&o, &err));
  assert_non_null(strstr(err.message, "/no/such/directory"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_bundles, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_no_descriptor_stays, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("bundle", tests, NULL, NULL);
}
