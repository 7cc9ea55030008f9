/* The handle interface on a guest without an engine, and the CGI interface's two conversions. */
#include "runtime/host/cgi.h"
#include "runtime/host/handler.h"
#include "runtime/host/wasi/wasi.h"

#include "base/arena.h"
#include "instrument/schedule.h"
#include "tests/fake_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <unistd.h>

enum { NONE = -1 };

static struct handler handler;
static const struct handler_header headers[] = {
    {"Content-Type", "text/plain"},
    {"X-One", "1"},
    {"x-one", "2"},
    {"Cookie", "a=b"},
    {"cookie", "c=d"},
    {"Proxy", "evil"},
    {"X_One", "3"},
    {"Host", "h:1"},
    {"X-Empty", ""},
};

static enum gw_trap call_values(const char *name, union gw_value *result, const uint64_t *parameters, size_t n) {
  union gw_value values[8] = {0};
  for (size_t i = 0; i < n; i++) values[i].u64 = parameters[i];
  enum gw_trap trap = guest_call(handler_resolve, &handler, "gasworks", name, values);
  *result = values[0];
  return trap;
}
/* Calls and expects no trap; the value is the i32 result. */
static uint32_t call_ok(const char *name, const uint64_t *parameters, size_t n) {
  union gw_value result;
  enum gw_trap trap = call_values(name, &result, parameters, n);
  if (trap) print_error("%s: %s\n", name, guest.message);
  assert_int_equal(trap, GW_TRAP_NONE);
  return result.u32;
}
static void call_traps(enum gw_trap expected, const char *message, const char *name, const uint64_t *parameters, size_t n) {
  union gw_value result;
  assert_int_equal(call_values(name, &result, parameters, n), expected);
  if (!strstr(guest.message, message)) print_error("got: %s\n", guest.message);
  assert_non_null(strstr(guest.message, message));
}
#define LIST(...) (uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8
#define CALL(name, ...) call_ok(name, LIST(__VA_ARGS__))
#define TRAPS(trap, message, name, ...) call_traps(GW_TRAP_##trap, message, name, LIST(__VA_ARGS__))

static int setup(void **state) {
  (void)state;
  guest_init();
  handler = (struct handler){.method = "POST",
                             .target = "/f/f1/a%2520b?x=1",
                             .path = "/a%20b",
                             .is_http10 = true,
                             .remote_address = "::1",
                             .port = 8080,
                             .query = "x=1",
                             .headers = headers,
                             .n_headers = sizeof headers / sizeof *headers,
                             .body = "0123456789",
                             .body_size = 10};
  handler_reset(&handler);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  handler_clear(&handler);
  guest_clear();
  return 0;
}

static void expect_buffer(const struct buffer *b, const char *expected) {
  assert_int_equal(b->size, strlen(expected));
  if (b->size) assert_memory_equal(b->bytes, expected, b->size);
}

/* --- the request -------------------------------------------------------------------------------------------------- */

static void test_request(void **state) {
  (void)state;
  assert_int_equal(CALL("request_method", 100, 10), 4);
  assert_memory_equal(guest.memory + 100, "POST\0", 5);
  assert_int_equal(CALL("request_path", 100, 3), 6);
  assert_memory_equal(guest.memory + 100, "/a%T", 4);        /* no more than the capacity */
  assert_int_equal(CALL("request_query", UINT32_MAX, 0), 3); /* only the size: the pointer does not matter */
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument out of gasworks.request_path is [65530, +7)", "request_path", 65530, 7);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "gasworks.request_path", "request_path", UINT32_MAX, UINT32_MAX);
}

static uint32_t get_header(const char *name) { return CALL("request_header", 1000, guest_put(1000, name), 100, 20); }

static void test_request_header(void **state) {
  (void)state;
  assert_int_equal(get_header("CONTENT-type"), 10);
  assert_memory_equal(guest.memory + 100, "text/plain", 10);
  assert_int_equal(get_header("x-ONE"), 1); /* the first of them */
  assert_int_equal(guest.memory[100], '1');
  assert_int_equal(get_header("X-Empty"), 0);
  assert_int_equal((int32_t)get_header("X-On"), NONE);
  assert_int_equal((int32_t)get_header(""), NONE);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument name", "request_header", 65535, 2, 0, 0);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument out", "request_header", 0, 2, 65535, 2);
}

static void test_request_headers(void **state) {
  (void)state;
  enum { N = sizeof headers / sizeof *headers };
  uint64_t start = guest_gas_used();
  assert_int_equal((int32_t)get_header("none"), NONE);
  assert_int_equal(guest_gas_used() - start,
                   4 * schedule_default()->gas[COST_HOST_BYTE] + N * schedule_default()->gas[COST_HOST_ITEM]);
  for (uint32_t i = 0; i < N; i++) {
    uint64_t before = guest_gas_used();
    uint32_t name = (uint32_t)strlen(headers[i].name), value = (uint32_t)strlen(headers[i].value);
    assert_int_equal(CALL("request_header_name", i, 100, 20), name);
    assert_memory_equal(guest.memory + 100, headers[i].name, name);
    assert_int_equal(CALL("request_header_value", i, 200, 20), value);
    assert_memory_equal(guest.memory + 200, headers[i].value, value);
    assert_int_equal(guest_gas_used() - before, (name + value) * schedule_default()->gas[COST_HOST_BYTE]);
  }
  assert_int_equal((int32_t)CALL("request_header_name", N, 100, 20), NONE);
  assert_int_equal((int32_t)CALL("request_header_value", UINT32_MAX, 100, 20), NONE);
  assert_int_equal(CALL("request_header_name", 0, UINT32_MAX, 0), 12);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument out of gasworks.request_header_name", "request_header_name", 0, 65535, 2);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument out of gasworks.request_header_value", "request_header_value", 99, 65535, 2);
  assert_int_equal(CALL("request_target", 100, 4), 17);
  assert_memory_equal(guest.memory + 100, "/f/f", 4);
}

static void test_request_body(void **state) {
  (void)state;
  assert_int_equal(CALL("request_body_size", 0), 10);
  uint64_t before = guest_gas_used();
  assert_int_equal(CALL("request_body", 7, 100, 100), 3);
  assert_int_equal(guest_gas_used() - before, 3 * schedule_default()->gas[COST_HOST_BYTE]);
  assert_memory_equal(guest.memory + 100, "789\0", 4);
  assert_int_equal(CALL("request_body", 10, 100, 100), 0);
  assert_int_equal(CALL("request_body", UINT32_MAX, 100, 100), 0);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument out", "request_body", 0, 65500, 100);
  guest.gas = 2;
  TRAPS(OUT_OF_GAS, "", "request_body", 0, 100, 3);
}

/* --- the reply ---------------------------------------------------------------------------------------------------- */

static void set_header(const char *name, const char *value) {
  CALL("reply_header", 1000, guest_put(1000, name), 2000, guest_put(2000, value));
}
static void refuse_header(const char *name, const char *value, const char *message) {
  TRAPS(HOST, message, "reply_header", 1000, guest_put(1000, name), 2000, guest_put(2000, value));
}

static void test_reply(void **state) {
  (void)state;
  assert_int_equal(handler.status, 200);
  CALL("reply_status", 404);
  assert_int_equal(handler.status, 404);
  TRAPS(HOST, "99 is no status", "reply_status", 99);
  TRAPS(HOST, "600 is no status", "reply_status", 600);
  TRAPS(HOST, "100 is no status", "reply_status", 100);
  assert_int_equal(handler.status, 404);
  CALL("reply", 100, guest_put(100, "one"));
  CALL("reply", 100, guest_put(100, "two"));
  CALL("reply", UINT32_MAX, 0);
  expect_buffer(&handler.reply, "onetwo");
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument bytes", "reply", 1, GUEST_BYTES);
  handler_reset(&handler);
  expect_buffer(&handler.reply, "");
  assert_int_equal(handler.status, 200);
  for (int i = 0; i < 256; i++) CALL("reply", 0, GUEST_BYTES);
  TRAPS(HOST, "at most 16 MiB", "reply", 0, 1);
}

static void test_reply_header(void **state) {
  (void)state;
  set_header("X-A", "1");
  set_header("Set-Cookie", "a\tb");
  set_header("X-Empty", "");
  static const char expected[] = "X-A: 1\r\nSet-Cookie: a\tb\r\nX-Empty: \r\n";
  refuse_header("", "1", "token");
  refuse_header("A B", "1", "token");
  refuse_header("A:", "1", "token");
  refuse_header("A\r\nB", "1", "token");
  refuse_header("\xc3\xa4", "1", "token");
  refuse_header("A", "1\r\nB: 2", "control characters");
  refuse_header("A", "1\n", "control characters");
  refuse_header("A", "\x7f", "control characters");
  set_header("content-LENGTH", "1"); /* the server's are dropped */
  set_header("Transfer-Encoding", "chunked");
  set_header("Connection", "close");
  set_header("date", "yesterday");
  set_header("Gasworks-Gas", "0");
  guest_put(1000, "A");
  TRAPS(HOST, "control characters", "reply_header", 1000, 1, 40000, 1); /* a NUL */
  expect_buffer(&handler.reply_headers, expected);
  memset(guest.memory + 2000, 'v', 8193);
  TRAPS(HOST, "8192", "reply_header", 1000, 1, 2000, 8193);
  for (int i = 0; i < 7; i++) CALL("reply_header", 1000, 1, 2000, 8192);
  TRAPS(HOST, "65536", "reply_header", 1000, 1, 2000, 8192);
}

/* --- log, gas, clock ---------------------------------------------------------------------------------------------- */

static void test_log(void **state) {
  (void)state;
  CALL("log", 100, guest_put(100, "one"));
  CALL("log", 100, guest_put(100, "two\n"));
  CALL("log", 100, 0);
  expect_buffer(&handler.log, "one\ntwo\n\n");
  for (int i = 0; i < 5; i++) CALL("log", 0, 30000);
  assert_in_range(handler.log.size, 65536, 65536 + 100);
  handler.log.bytes[handler.log.size - 1] = 0;
  assert_non_null(strstr((char *)handler.log.bytes + 65536, "the rest was dropped"));
  size_t size = handler.log.size;
  CALL("log", 0, 10);
  assert_int_equal(handler.log.size, size);
}

/* With a deterministic guest's WASI beside it, the interface has that one's clock and numbers. */
static void test_deterministic_world(void **state) {
  (void)state;
  struct gw_error err = {0};
  uint64_t first = 0;
  for (uint64_t seed = 0; seed < 3; seed++) { /* 0, 0, 2 */
    struct wasi_options options = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .deterministic = true, .seed = seed & 2};
    union gw_value now;
    handler.world = wasi_create(&options, &err);
    assert_non_null(handler.world);
    assert_int_equal(call_values("clock_ms", &now, LIST(0)), GW_TRAP_NONE);
    assert_int_equal(now.u64, 946684800000);
    CALL("random", 100, 16);
    assert_true(guest_u64(100) != guest_u64(108));
    if (seed == 0) first = guest_u64(100);
    assert_true((guest_u64(100) == first) == (seed < 2));
    assert_false(guest.is_unrepeatable);
    wasi_destroy(handler.world);
    handler.world = NULL;
  }
}

static void test_gas_clock_random(void **state) {
  (void)state;
  union gw_value result;
  guest.gas = guest.limit - 1000;
  assert_int_equal(call_values("gas_left", &result, LIST(0)), GW_TRAP_NONE);
  assert_int_equal(result.u64, guest.limit - 1000);
  assert_false(guest.is_unrepeatable);
  assert_int_equal(call_values("clock_ms", &result, LIST(0)), GW_TRAP_NONE);
  assert_true(result.u64 > 1600000000000);
  assert_true(guest.is_unrepeatable);
  guest.is_unrepeatable = false;
  CALL("random", 100, 16);
  assert_true(guest_u64(100) != guest_u64(108));
  assert_true(guest.is_unrepeatable);
  CALL("random", UINT32_MAX, 0);
}

/* --- state -------------------------------------------------------------------------------------------------------- */

static void on_commit(void *arg, enum state_outcome outcome, const struct gw_error *err) {
  (void)err;
  *(int *)arg = (int)outcome;
}

/* In test_state: keyvalue at 100, "key" is "value". */
static void test_numbers(const uint32_t *gas) {
  uint64_t before = guest_gas_used();
  assert_int_equal(CALL("state_exists", 100, 3), 1);
  assert_int_equal(guest_gas_used() - before, gas[COST_STATE_READ] + 3 * gas[COST_STATE_BYTE]);
  assert_int_equal(CALL("state_exists", 100, 4), 0);
  TRAPS(HOST, "1 to 480 bytes, this one has 0", "state_exists", 0, 0);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument key", "state_exists", 65535, 2);
  before = guest_gas_used();
  CALL("state_add", 100, 4, 1000);
  assert_int_equal(guest_gas_used() - before, gas[COST_STATE_READ] + gas[COST_STATE_WRITE] + 12 * gas[COST_STATE_BYTE]);
  assert_int_equal(CALL("state_get", 100, 4, 200, 8), 8);
  assert_int_equal(guest_u64(200), 1000);
  TRAPS(HOST, "only a value of 8 bytes is a number, this one has 5", "state_add", 100, 3, 1);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument key", "state_add", 65535, 2, 1);
}

/* There are "key", with 5 bytes, and "keyv", with 8. */
static void test_scans(const uint32_t *gas) {
  const uint64_t read = gas[COST_STATE_READ], byte = gas[COST_STATE_BYTE], met = gas[COST_HOST_ENTRY],
                 unit = gas[COST_MEMORY_BYTES_16];
  uint64_t before = guest_gas_used();
  assert_int_equal(CALL("state_scan", 0, 0, 0, 0, 0, 0, 200, 100), 16 + 20);
  assert_int_equal(guest_gas_used() - before, read + 36 * byte + 2 * met + 2 * unit);
  assert_memory_equal(guest.memory + 200, "\3\0\0\0\5\0\0\0keyvalue\4\0\0\0\10\0\0\0keyv\350\3", 30);
  before = guest_gas_used();
  assert_int_equal(CALL("state_scan", 100, 3, 100, 4, 3, 1, 200, 100), 11);
  assert_int_equal(guest_gas_used() - before, read + (7 + 11) * byte + met);
  assert_memory_equal(guest.memory + 200, "\3\0\0\0\5\0\0\0key", 11);
  before = guest_gas_used();
  assert_int_equal((int32_t)CALL("state_scan", 0, 0, 0, 0, 0, 0, 200, 15), -16);
  assert_int_equal(guest_gas_used() - before, read + met + unit);
  assert_int_equal(CALL("state_scan", 0, 0, 0, 0, 1, 0, 0, 0), (uint32_t)-20);
  assert_int_equal(CALL("state_scan", 100, 8, 0, 0, 0, 0, 200, 100), 0);
  TRAPS(HOST, "flags are 1 (backwards) and 2 (keys alone)", "state_scan", 0, 0, 0, 0, 4, 0, 200, 100);
  TRAPS(HOST, "at most 481 bytes, this one has 482", "state_scan", 0, 482, 0, 0, 0, 0, 200, 100);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument first", "state_scan", 65535, 2, 0, 0, 0, 0, 200, 100);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument end", "state_scan", 0, 0, 65535, 2, 0, 0, 200, 100);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument out", "state_scan", 0, 0, 0, 0, 0, 0, 200, UINT32_MAX);
  guest.gas = read + met;
  TRAPS(OUT_OF_GAS, "", "state_scan", 0, 0, 0, 0, 0, 0, 200, 100);
  guest.gas = guest.limit;
}

/* There is "key", with 5 bytes, and 100 KiB of memory are "keyvalue" and zeros. */
static void test_large(const uint32_t *gas) {
  const uint64_t read = gas[COST_STATE_READ], byte = gas[COST_STATE_BYTE], write = gas[COST_STATE_WRITE],
                 whole = read + STATE_CHUNK / 16 * gas[COST_MEMORY_BYTES_16];
  uint64_t before = guest_gas_used();
  assert_int_equal(CALL("state_size", 100, 3), 5);
  assert_int_equal(guest_gas_used() - before, read + 3 * byte + 5 * gas[COST_HOST_BYTE]);
  assert_int_equal((int32_t)CALL("state_size", 100, 7), NONE);
  assert_int_equal((int32_t)CALL("state_read", 100, 7, 0, 200, 10), NONE);
  assert_int_equal(CALL("state_read", 100, 3, 3, 200, 10), 2);
  assert_memory_equal(guest.memory + 200, "ue", 2);
  assert_int_equal(CALL("state_read", 100, 3, 5, 200, 10), 0);
  assert_int_equal(CALL("state_read", 100, 3, UINT64_MAX, 200, 10), 0);
  before = guest_gas_used();
  CALL("state_write", 100, 8, STATE_CHUNK - 2, 100, 8); /* in two chunks, each in part */
  assert_int_equal(guest_gas_used() - before, 3 * write + read + 2 * whole + 16 * byte);
  before = guest_gas_used();
  assert_int_equal(CALL("state_read", 100, 8, STATE_CHUNK - 3, 200, 100), 9);
  assert_int_equal(guest_gas_used() - before, read + 2 * whole + (8 + 9) * byte);
  assert_memory_equal(guest.memory + 200, "\0keyvalue", 9);
  before = guest_gas_used();
  CALL("state_write", 100, 8, 0, 1024, STATE_CHUNK);
  assert_int_equal(guest_gas_used() - before, 2 * write + read + (8 + STATE_CHUNK) * byte);
  before = guest_gas_used();
  CALL("state_resize", 100, 8, 3);
  assert_int_equal(guest_gas_used() - before, 2 * write + read + whole + 8 * byte + 2 * gas[COST_HOST_ITEM]);
  assert_int_equal(CALL("state_size", 100, 8), 3);
  assert_int_equal(CALL("state_get", 100, 8, 200, 2), 3);
  TRAPS(HOST, "only a value of 8 bytes is a number, this one has 3", "state_add", 100, 8, 1);
  TRAPS(HOST, "at most 1073741824 bytes", "state_write", 100, 8, 1 << 30, 200, 1);
  TRAPS(HOST, "at most 1073741824 bytes", "state_write", 100, 8, UINT64_MAX, 200, 1);
  TRAPS(HOST, "at most 1073741824 bytes", "state_resize", 100, 8, UINT64_MAX);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument bytes", "state_write", 100, 8, 0, 65535, 2);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument out", "state_read", 100, 8, 0, 65535, 2);
  TRAPS(HOST, "1 to 480 bytes, this one has 0", "state_size", 100, 0);
  guest.gas = write + read + 9 * byte;
  TRAPS(OUT_OF_GAS, "", "state_write", 100, 8, 0, 200, 1);
  guest.gas = guest.limit;
  CALL("state_delete", 100, 8);
}

static void test_state(void **state) {
  (void)state;
  TRAPS(HOST, "gasworks.state_get: this invocation has no state", "state_get", 0, 1, 0, 0);
  char directory[] = "/tmp/gasworks-handler-XXXXXX", path[64];
  assert_non_null(mkdtemp(directory));
  struct gw_error err = {0};
  struct state_store *store = state_store_open(directory, 1 << 20, false, &err);
  assert_non_null(store);
  handler.txn = state_txn_begin(store, "f");
  const uint32_t *gas = schedule_default()->gas;
  guest_put(100, "keyvalue");
  assert_int_equal((int32_t)CALL("state_get", 100, 3, 200, 10), NONE);
  uint64_t before = guest_gas_used();
  CALL("state_set", 100, 3, 103, 5);
  assert_int_equal(guest_gas_used() - before, gas[COST_STATE_COMMIT] + gas[COST_STATE_WRITE] + 8 * gas[COST_STATE_BYTE]);
  before = guest_gas_used();
  CALL("state_set", 100, 3, 103, 5);
  assert_int_equal(guest_gas_used() - before, gas[COST_STATE_WRITE] + 8 * gas[COST_STATE_BYTE]);
  before = guest_gas_used();
  assert_int_equal(CALL("state_get", 100, 3, 200, 2), 5);
  assert_int_equal(guest_gas_used() - before, gas[COST_STATE_READ] + 5 * gas[COST_STATE_BYTE] + 5 * gas[COST_HOST_BYTE]);
  assert_memory_equal(guest.memory + 200, "va\0", 3);
  TRAPS(HOST, "1 to 480 bytes, this one has 0", "state_set", 100, 0, 0, 0);
  TRAPS(HOST, "1 to 480 bytes, this one has 481", "state_delete", 100, 481);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument value", "state_set", 100, 3, 65535, 2);
  TRAPS(MEMORY_OUT_OF_BOUNDS, "argument key", "state_delete", 65535, 2);
  test_numbers(gas);
  test_scans(gas);
  test_large(gas);
  guest.gas = gas[COST_STATE_WRITE];
  TRAPS(OUT_OF_GAS, "", "state_delete", 100, 3);
  guest.gas = guest.limit;
  assert_int_equal(CALL("state_get", 100, 3, 200, 10), 5);
  CALL("state_delete", 100, 3);
  assert_int_equal((int32_t)CALL("state_get", 100, 3, 200, 10), NONE);
  CALL("state_set", 100, 3, 103, 5);
  int outcome = -1;
  state_txn_commit(handler.txn, on_commit, &outcome);
  handler.txn = NULL;
  state_store_close(store);
  assert_int_equal(outcome, STATE_COMMITTED);
  snprintf(path, sizeof path, "%s/data.mdb", directory), unlink(path);
  snprintf(path, sizeof path, "%s/lock.mdb", directory), unlink(path);
  rmdir(directory);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

/* Every function of the table, as `before` NAME `after`. */
struct mention {
  const char *path, *before, *after;
};

static const char *const names[] = {
#define FUNCTION(name, signature, handler) #name,
#include "runtime/host/handler.def"
#undef FUNCTION
};
enum { N_NAMES = sizeof names / sizeof *names };

static struct buffer read_page(const char *path) {
  char full[256];
  struct buffer page = {0};
  struct gw_error err = {0};
  snprintf(full, sizeof full, SOURCE_DIR "/%s", path);
  if (!buffer_read_file(&page, full, 1 << 20, &err)) fail_msg("%s", err.message);
  buffer_append(&page, "", 1);
  return page;
}

static size_t count(const char *text, const char *what) {
  size_t n = 0;
  while ((text = strstr(text, what))) n++, text++;
  return n;
}

static void check_mentions(const struct mention *m) {
  char text[128];
  struct buffer page = read_page(m->path);
  for (size_t i = 0; i < N_NAMES; i++) {
    snprintf(text, sizeof text, "%s%s%s", m->before, names[i], m->after);
    if (!strstr((const char *)page.bytes, text)) fail_msg("%s does not have %s", m->path, names[i]);
  }
  buffer_clear(&page);
}

/* What guests can import is in the SDK of every language, and nothing else. */
static void test_table_matches_the_sdks(void **state) {
  (void)state;
  static const struct mention sdks[] = {
      {"sdk/c/gasworks_guest.h", "\nGW_IMPORT(", ")"},
      {"sdk/rust/gasworks.rs", "\n        pub fn ", "("},
      {"sdk/assemblyscript/gasworks.ts", "\n@external(\"gasworks\", \"", "\")"},
  };
  for (size_t i = 0; i < sizeof sdks / sizeof *sdks; i++) {
    check_mentions(&sdks[i]);
    struct buffer page = read_page(sdks[i].path);
    size_t n = count((const char *)page.bytes, sdks[i].before);
    if (n != N_NAMES) fail_msg("%s declares %zu functions, handler.def has %d", sdks[i].path, n, N_NAMES);
    buffer_clear(&page);
  }
}

static void test_table_resolves(void **state) {
  (void)state;
  struct gw_extern found;
  for (size_t i = 0; i < N_NAMES; i++) {
    struct gw_import import = {"gasworks", names[i], 8, (uint32_t)strlen(names[i])};
    assert_true(handler_resolve(&handler, &import, &found));
    assert_true(found.kind == GW_EXTERN_HOST_FUNC && found.of.host.env == &handler);
  }
  struct gw_import import = {"gasworks", "reply_", 8, 6};
  assert_false(handler_resolve(&handler, &import, &found));
  import = (struct gw_import){"gasworks2", "reply", 9, 5};
  assert_false(handler_resolve(&handler, &import, &found));
}

/* Both pages say what host functions cost: no class of theirs is missing. */
static void test_table_is_documented(void **state) {
  (void)state;
  static const char *const pages[] = {"docs/interface.md", "docs/gas.md"};
  check_mentions(&(struct mention){"docs/interface.md", "| `", "("});
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
    struct buffer page = read_page(pages[i]);
    for (int c = COST_HOST_CALL; c < COST_COUNT; c++) {
      char text[64];
      snprintf(text, sizeof text, "`%s`", cost_name((enum cost)c));
      if (!strstr((const char *)page.bytes, text)) fail_msg("%s does not say what costs %s", pages[i], text);
    }
    buffer_clear(&page);
  }
}

/* --- CGI ---------------------------------------------------------------------------------------------------------- */

static void expect_env(const char **env, const char *expected) {
  for (; *env; env++)
    if (!strcmp(*env, expected)) return;
  fail_msg("no %s", expected);
}

static void test_cgi_env(void **state) {
  (void)state;
  static const char *const expected[] = {"GATEWAY_INTERFACE=CGI/1.1",
                                         "SERVER_PROTOCOL=HTTP/1.0",
                                         "SERVER_PORT=8080",
                                         "REMOTE_ADDR=::1",
                                         "REQUEST_URI=/f/f1/a%2520b?x=1",
                                         "REQUEST_METHOD=POST",
                                         "SCRIPT_NAME=/f/f1",
                                         "PATH_INFO=/a%20b",
                                         "QUERY_STRING=x=1",
                                         "CONTENT_LENGTH=10",
                                         "CONTENT_TYPE=text/plain",
                                         "HTTP_X_ONE=1, 2",
                                         "HTTP_COOKIE=a=b; c=d",
                                         "HTTP_HOST=h:1",
                                         "HTTP_X_EMPTY=",
                                         "SERVER_NAME=h",
                                         "SERVER_SOFTWARE=gasworks"};
  enum { N = sizeof expected / sizeof *expected };
  struct arena arena = {0};
  const char **env;
  assert_true(cgi_build_env(&arena, &handler, "/f/f1", NULL, &env));
  for (size_t i = 0; i < N; i++) expect_env(env, expected[i]);
  size_t n = 0;
  while (env[n]) n++;
  assert_int_equal(n, N); /* and nothing else: no HTTP_PROXY, no second HTTP_X_ONE */
  char *huge = malloc((1 << 20) + 1);
  memset(huge, 'x', 1 << 20);
  huge[1 << 20] = 0;
  handler.query = huge;
  assert_false(cgi_build_env(&arena, &handler, "/f/f1", NULL, &env));
  free(huge);
  arena_clear(&arena);
}

static void test_cgi_reply(void **state) {
  (void)state;
  static const struct {
    const char *out;
    uint32_t status;
    const char *headers, *body;
  } cases[] = {
      {"", 200, "", ""},
      {"plain text", 200, "", "plain text"},
      {"plain text\n\nwith lines\n", 200, "", "plain text\n\nwith lines\n"},
      {"\nbody", 200, "", "\nbody"},
      {"A: 1\n\nbody", 200, "A: 1\r\n", "body"},
      {"A: 1\r\nB:2 \r\n\r\nbody\n", 200, "A: 1\r\nB: 2\r\n", "body\n"},
      {"Status: 404 Not Found\n\n", 404, "", ""},
      {"status:503\nA: 1\n\nx", 503, "A: 1\r\n", "x"},
      {"Status: 99\n\nx", 200, "", "Status: 99\n\nx"},
      {"Status: 4044\n\nx", 200, "", "Status: 4044\n\nx"},
      {"Status: fine\n\nx", 200, "", "Status: fine\n\nx"},
      {"Location: /x\n\n", 302, "Location: /x\r\n", ""},
      {"Location: /x\nStatus: 301\n\n", 301, "Location: /x\r\n", ""},
      {"Content-Length: 99\nConnection: close\nA: 1\n\nbody", 200, "A: 1\r\n", "body"},
      {"A: 1\nbody without a blank line", 200, "", "A: 1\nbody without a blank line"},
      {"A: 1", 200, "", "A: 1"},
      {"A: 1\n", 200, "", "A: 1\n"},
      {"A: 1\nnot a header\n\nx", 200, "", "A: 1\nnot a header\n\nx"},
      {"A : 1\n\nx", 200, "", "A : 1\n\nx"},
      {"A: 1\rB: 2\n\nx", 200, "", "A: 1\rB: 2\n\nx"},
      {": 1\n\nx", 200, "", ": 1\n\nx"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *copy = malloc(strlen(cases[i].out) + 1); /* exactly its bytes: the sanitizer sees what runs over */
    memcpy(copy, cases[i].out, strlen(cases[i].out));
    cgi_parse_reply(&handler, copy, strlen(cases[i].out));
    free(copy);
    assert_int_equal(handler.status, cases[i].status);
    expect_buffer(&handler.reply_headers, cases[i].headers);
    expect_buffer(&handler.reply, cases[i].body);
  }
}

/* Too many header lines are no head. */
static void test_cgi_reply_is_bounded(void **state) {
  (void)state;
  struct buffer out = {0};
  for (int i = 0; i < 10000; i++) buffer_append_string(&out, "Name: value\n");
  buffer_append_string(&out, "\n");
  cgi_parse_reply(&handler, out.bytes, out.size);
  assert_int_equal(handler.reply_headers.size, 0);
  assert_int_equal(handler.reply.size, out.size);
  buffer_clear(&out);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(request),
      TEST(request_header),
      TEST(request_headers),
      TEST(request_body),
      TEST(reply),
      TEST(reply_header),
      TEST(log),
      TEST(gas_clock_random),
      TEST(deterministic_world),
      TEST(state),
      TEST(table_matches_the_sdks),
      TEST(table_resolves),
      TEST(table_is_documented),
      TEST(cgi_env),
      TEST(cgi_reply),
      TEST(cgi_reply_is_bounded),
  };
  return cmocka_run_group_tests_name("handler", tests, NULL, NULL);
}
