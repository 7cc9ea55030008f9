/* What the server does with instances: the limit of all memories together, and initialised ones that are kept. */
#include "instrument/schedule.h"
#include "server/loop/pressure.h"
#include "server/function/slot.h"
#include "tests/http_client.h"
#include "tests/large.h"

#include <sys/resource.h>

#define LOOP "(module (memory 64) (func (export \"handle\") (loop $l (br $l))))"
/* Replies a digit that only _initialize's one run, and no handler's write, gives. */
#define INITIALIZED                                                                                                \
  "(module " REPLY "(memory (export \"memory\") 1) (global $g (mut i32) (i32.const 48))"                           \
  "(func (export \"_initialize\") (local $i i32) (loop $l (global.set $g (i32.add (global.get $g) (i32.const 1)))" \
  " (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5)))))"                   \
  "(func (export \"handle\") (i32.store8 (i32.const 8) (i32.add (global.get $g) (i32.load8_u (i32.const 9000))))"  \
  "(i32.store8 (i32.const 9000) (i32.const 1)) (global.set $g (i32.const 65)) (call $reply (i32.const 8) (i32.const 1))))"

/* The same by a start function, in a memory that is watched, and in one that is too large for that. */
#define STARTED(pages, more)                                                                                      \
  "(module " REPLY "(memory (export \"memory\") " pages ") (global $g (mut i32) (i32.const 48))"                  \
  "(func $start (local $i i32) (loop $l (global.set $g (i32.add (global.get $g) (i32.const 1)))"                  \
  " (i32.store8 (i32.const 9001) (i32.add (i32.load8_u (i32.const 9001)) (i32.const 1)))"                         \
  " (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000)))) "               \
  " (global.set $g (i32.const 53)) " more ") (start $start)"                                                      \
  "(func (export \"handle\") (i32.store8 (i32.const 8) (i32.add (global.get $g) (i32.load8_u (i32.const 9000))))" \
  "(if (i32.ne (i32.load8_u (i32.const 9001)) (i32.const 0xe8)) (then (unreachable)))"                            \
  "(i32.store8 (i32.const 9001) (i32.const 1))"                                                                   \
  "(i32.store8 (i32.const 9000) (i32.const 1)) (global.set $g (i32.const 65)) (call $reply (i32.const 8) (i32.const 1))))"

/* `name` with a line break in front and a space behind. */
static unsigned long long metric(uint16_t port, const char *name) {
  struct reply r = call(port, "/metrics");
  const char *at = strstr(r.body, name);
  assert_non_null(at);
  unsigned long long value = strtoull(at + strlen(name), NULL, 10);
  reply_clear(&r);
  return value;
}

static unsigned long long gas_total(uint16_t port) { return metric(port, "\ngasworks_gas_total "); }

/* A request that gets no instance uses no gas, whatever the connection's last one used. */
static void check_refused_gas(uint16_t port) {
  int fd = dial(port);
  send_text(fd, "GET /f/hi HTTP/1.1\r\nHost: t\r\n\r\n");
  struct reply r = receive(fd, true);
  assert_int_equal(r.status, 200);
  reply_clear(&r);
  unsigned long long before = gas_total(port);
  assert_true(before > 0);
  send_text(fd, "GET /f/loop HTTP/1.1\r\nHost: t\r\n\r\n");
  r = receive(fd, true);
  assert_int_equal(r.status, 503);
  reply_clear(&r);
  assert_int_equal(gas_total(port), before);
  close(fd);
}

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
  check_refused_gas(port);
  for (int i = 0; i < 2; i++) close(loops[i]);
  assert_int_equal(status_of(port, "GET", "/healthz"), 200);
  server_destroy(server);
  remove_data_dir(directory);
}

static unsigned long long code_bytes(uint16_t port) { return metric(port, "\ngasworks_code_bytes "); }

/* Deploys a function of 40 KB that replies with its letter. */
static void deploy_padded(uint16_t port, const char *name) {
  enum { PADDING = 40000 };
  static char padding[PADDING + 1], text[PADDING + 1000];
  memset(padding, 'a', PADDING);
  snprintf(text, sizeof text,
           "(module " REPLY "(memory (export \"memory\") 1) (data (i32.const 16) \"%s\")"
           "(func (export \"handle\") (i32.store8 (i32.const 8) (i32.const %d)) (call $reply (i32.const 8) (i32.const 1))))",
           padding, name[0]);
  assert_int_equal(deploy(port, name, text), 201);
}

/* Of modules for which there is no room those are forgotten that nobody calls, and read again for the next call. */
static void test_cold_code(void **state) {
  (void)state;
  char *directory = make_data_dir(), path[16];
  struct server_options o = test_options(directory);
  o.memory_limit = 8 << 20; /* of which a quarter is for modules: two of these */
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  static const char *const names[] = {"a", "b", "c", "d", "e"};
  deploy_padded(port, "a");
  unsigned long long one = code_bytes(port), at_end = 0;
  for (int i = 1; i < 5; i++) deploy_padded(port, names[i]);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 5; i++) {
      usleep(1200000);
      snprintf(path, sizeof path, "/f/%s", names[i]);
      for (int k = 0; k < 4; k++) { /* on all loops */
        struct reply r = call(port, path);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, names[i]);
        reply_clear(&r);
      }
    }
  }
  for (int i = 0; i < 100 && (at_end = code_bytes(port)) > 2 * one; i++) usleep(100000);
  assert_true(one > 0);
  assert_int_equal(at_end, 2 * one);
  server_destroy(server);
  remove_data_dir(directory);
}

/* Versions that were replaced before the compiler came to them take no memory while it is busy with another module. */
static void test_replaced_code(void **state) {
  (void)state;
  enum { PADDING = 200000, N = 8 };
  static char padding[PADDING + 1], text[PADDING + 1000];
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.tier = TIER_AUTO;
  o.keep_versions = 1;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  struct buffer slow = make_large(100);
  slow.size -= 2; /* its last parenthesis, and the end */
  buffer_append_string(&slow, "(func (export \"handle\")))");
  buffer_append(&slow, "", 1);
  assert_int_equal(deploy(port, "slow", (char *)slow.bytes), 201);
  unsigned long long before = code_bytes(port);
  memset(padding, 'a', PADDING);
  for (int i = 0; i < N; i++) {
    padding[0] = (char)('a' + i);
    snprintf(text, sizeof text, "(module (memory (export \"memory\") 4) (data (i32.const 16) \"%s\") (func (export \"handle\")))",
             padding);
    assert_int_equal(deploy(port, "a", text), i ? 200 : 201);
  }
  assert_in_range(code_bytes(port), before, before + 3 * 20 * PADDING);
  buffer_clear(&slow);
  server_destroy(server);
  remove_data_dir(directory);
}

/* Five requests, each on a fresh instance: the same reply, and the same gas, which is returned. */
static unsigned long long expect_initialized(enum tier_choice tier, const char *text) {
  char *directory = make_data_dir(), first[32] = "", gas[32];
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.tier = tier;
  o.max_memory = 64 << 20;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  assert_int_equal(deploy(port, "f", text), 201);
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
  return strtoull(first, NULL, 10);
}

/* The system gives addresses for a few instances only: idle ones of other functions give theirs. */
static void test_no_more_addresses(void **state) {
  (void)state;
  enum { FUNCTIONS = 12, INSTANCES = 6 };
  char *directory = make_data_dir(), name[8], path[16];
  struct server_options o = test_options(directory);
  struct rlimit before, limit;
  unsigned long pages = 0;
  o.n_loops = 1;
  struct server *server = start(&o);
  for (int i = 0; i < FUNCTIONS; i++) {
    snprintf(name, sizeof name, "f%d", i);
    assert_int_equal(deploy(server_port(server), name, INITIALIZED), 201);
  }
  FILE *statm = fopen("/proc/self/statm", "r");
  assert_true(statm && fscanf(statm, "%lu", &pages) == 1);
  fclose(statm);
  getrlimit(RLIMIT_AS, &before);
  limit = (struct rlimit){pages * 4096 + ((rlim_t)INSTANCES << 33), before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
  for (int i = 0; i < FUNCTIONS; i++) {
    snprintf(path, sizeof path, "/f/f%d", i);
    assert_int_equal(status_of(server_port(server), "GET", path), 200);
  }
  setrlimit(RLIMIT_AS, &before);
  server_destroy(server);
  remove_data_dir(directory);
}

static void put_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_true(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* Idle instances go after 30 seconds, but soon when the kernel says that tasks wait for memory. */
static void test_pressure(void **state) {
  (void)state;
  struct gw_error err = {0};
  char *directory = make_data_dir(), path[] = "/tmp/gasworks-pressure-XXXXXX";
  close(mkstemp(path));
  put_file(path, "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.pressure_file = path;
  o.engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  if (!o.engine) fail_msg("%s", err.message);
  struct server *server = start(&o);
  assert_int_equal(deploy(server_port(server), "f", INITIALIZED), 201);
  struct reply r = call(server_port(server), "/f/f");
  reply_clear(&r);
  usleep(2500000);
  assert_int_equal(gw_engine_memory_bytes(o.engine), 65536);
  put_file(path, "some avg10=9.00 avg60=0.00 avg300=0.00 total=900000\n");
  for (int i = 0; i < 50 && gw_engine_memory_bytes(o.engine); i++) usleep(100000);
  assert_int_equal(gw_engine_memory_bytes(o.engine), 0);
  r = call(server_port(server), "/f/f");
  assert_int_equal(r.status, 200);
  reply_clear(&r);
  server_destroy(server);
  gw_engine_destroy(o.engine);
  unlink(path);
  remove_data_dir(directory);
}

/* A twentieth of the time is the limit, and what is no file of PSI never does. */
static void test_pressure_file(void **state) {
  (void)state;
  char path[] = "/tmp/gasworks-pressure-XXXXXX";
  struct pressure p;
  close(mkstemp(path));
  put_file(path, "nothing of the kind");
  pressure_open(&p, path);
  assert_int_equal(p.fd, -1);
  assert_false(pressure_is_high(&p, 1000));
  put_file(path, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n");
  pressure_open(&p, path);
  assert_false(pressure_is_high(&p, 1000));
  assert_false(pressure_is_high(&p, 2000));
  put_file(path, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1040000\n");
  assert_false(pressure_is_high(&p, 3000));
  put_file(path, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1100000\n");
  assert_true(pressure_is_high(&p, 4000));
  assert_false(pressure_is_high(&p, 5000));
  pressure_close(&p);
  unlink(path);
}

static void test_initialized(void **state) {
  (void)state;
  assert_int_equal(expect_initialized(TIER_FAST, INITIALIZED), expect_initialized(TIER_PRECISE, INITIALIZED));
}

/* Kept or run again for every request, a start function is paid for by every request. */
static void test_started(void **state) {
  (void)state;
  const uint64_t pages = 299 * (uint64_t)schedule_default()->gas[COST_INITIAL_PAGE];
  unsigned long long gas = expect_initialized(TIER_FAST, STARTED("1", ""));
  assert_true(gas > 10000);
  assert_int_equal(expect_initialized(TIER_PRECISE, STARTED("1", "")), gas);
  assert_int_equal(expect_initialized(TIER_FAST, STARTED("300", "")), gas + pages);
  assert_true(expect_initialized(TIER_FAST, STARTED("1", "(call $reply (i32.const 0) (i32.const 0))")) > gas);
}

/* The image is behind the start function, so a slot that is kept does not run it again. */
static void test_start_runs_once(void **state) {
  (void)state;
  struct gw_error err = {0};
  struct buffer bytes = wat(STARTED("1", ""));
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.loose_traps = true, .gas = true}, &err);
  struct fate fate = {.refs = 2};
  struct function f = {.name = "f", .refs = 2, .interface = INTERFACE_HANDLE, .bundle = {.host_fd = -1}, .fate = &fate};
  struct function_limits limits = {.gas_limit = 1000000, .slice = 1000000};
  f.module = engine ? gw_module_create(engine, bytes.bytes, bytes.size, &err) : NULL;
  struct slot *slot = f.module ? slot_create(engine, &f, GW_TIER_FAST, &limits, &err) : NULL;
  if (!slot) fail_msg("%s", err.message);
  for (int i = 0; i < 2; i++) {
    assert_true(slot_reset(slot, &err));
    assert_true(slot_try_start(slot, &limits, &err));
  }
  uint64_t gas = gw_store_gas_used(slot->store);
  assert_int_equal(slot->start_gas, 0);
  assert_false(slot->is_kept);
  assert_true(slot_keep_start(slot, gas, &err));
  assert_true(slot->is_kept);
  assert_true(slot_reset(slot, &err));
  assert_int_equal(slot->start_gas, gas);
  slot_destroy(slot);
  gw_module_release(f.module);
  gw_engine_destroy(engine);
  buffer_clear(&bytes);
}

#define EMPTY(pages) "(module (memory (export \"memory\") " pages ") (func (export \"handle\")))"

/* An invocation pays for its instance, fresh or used. `limit` 0: enough; else what is left decides. */
static void expect_instance_gas(const char *text, uint64_t limit, int status, uint64_t want) {
  char *directory = make_data_dir(), gas[32];
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  o.max_memory = 64 << 20;
  if (limit) o.gas_limit = limit;
  struct server *server = start(&o);
  assert_int_equal(deploy(server_port(server), "f", text), 201);
  for (int i = 0; i < 3; i++) {
    struct reply r = call(server_port(server), "/f/f");
    assert_int_equal(r.status, status);
    assert_true(header(&r, "Gasworks-Gas", gas, sizeof gas));
    assert_int_equal(strtoull(gas, NULL, 10), want);
    reply_clear(&r);
  }
  server_destroy(server);
  remove_data_dir(directory);
}

static void test_instance_gas(void **state) {
  (void)state;
  const uint64_t page = schedule_default()->gas[COST_INITIAL_PAGE];
  expect_instance_gas(EMPTY("17"), 0, 200, 17 * page);
  expect_instance_gas(EMPTY("300"), 0, 200, 300 * page); /* not watched */
  expect_instance_gas(EMPTY("17"), 17 * page, 200, 17 * page);
  expect_instance_gas(EMPTY("17"), 17 * page - 1, 402, 17 * page - 1);
  expect_instance_gas(EMPTY("17"), 1, 402, 1);
}

/* Replies what page 300 holds, and has written to it: 64 MiB, which worker threads make and reset. */
#define HEAVY                                                                              \
  "(module " REPLY "(memory (export \"memory\") 1024) (func (export \"handle\")"           \
  "(i32.store8 (i32.const 8) (i32.add (i32.const 53) (i32.load8_u (i32.const 19660800))))" \
  "(i32.store8 (i32.const 19660800) (i32.const 1)) (call $reply (i32.const 8) (i32.const 1))))"

static void send_heavy(uint16_t port, int n) {
  int fds[8];
  for (int i = 0; i < n; i++) {
    fds[i] = dial(port);
    send_text(fds[i], "GET /f/heavy HTTP/1.1\r\nHost: t\r\n\r\n");
  }
  for (int i = 0; i < n; i++) {
    struct reply r = receive(fds[i], true);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "5");
    reply_clear(&r);
    close(fds[i]);
  }
}

/* One of 300,000 globals, whose instances are made and reset there, too: it replies the 5 of the last, and changes it. */
static void test_many_globals(void **state) {
  (void)state;
  enum { N = 300000 };
  static const char global[] = "(global (mut i32) (i32.const 53))";
  char *directory = make_data_dir(), *text = malloc(N * sizeof global + 1000), *at = text;
  assert_non_null(text);
  at += sprintf(at, "(module " REPLY "(memory (export \"memory\") 1)");
  for (int i = 0; i < N; i++) at += sprintf(at, "%s", global);
  sprintf(at,
          "(func (export \"handle\") (i32.store8 (i32.const 8) (global.get %d)) (global.set %d (i32.const 54))"
          "(call $reply (i32.const 8) (i32.const 1))))",
          N - 1, N - 1);
  struct server_options o = test_options(directory);
  o.n_loops = 1;
  struct server *server = start(&o);
  assert_int_equal(deploy(server_port(server), "heavy", text), 201);
  for (int k = 0; k < 4; k++) send_heavy(server_port(server), 4);
  server_destroy(server);
  remove_data_dir(directory);
  free(text);
}

/* Also where none is kept, and where the limit has room for one only: then they come one after another. */
static void test_heavy(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    char *directory = make_data_dir();
    struct server_options o = test_options(directory);
    o.n_loops = 1;
    o.max_memory = 64 << 20;
    if (i == 1) o.max_idle = 0;
    if (i == 2) o.memory_limit = 100 << 20;
    struct server *server = start(&o);
    uint16_t port = server_port(server);
    assert_int_equal(deploy(port, "heavy", HEAVY), 201);
    for (int k = 0; k < 4; k++) send_heavy(port, i == 2 ? 1 : 8);
    int fd = dial(port); /* one that does not wait for its instance */
    send_text(fd, "GET /f/heavy HTTP/1.1\r\nHost: t\r\n\r\n");
    close(fd);
    server_destroy(server);
    remove_data_dir(directory);
  }
}

/* One with room for large functions, with this one. */
static struct server *start_with(const char *directory, uint32_t n_loops, const char *name, const char *text) {
  struct server_options o = test_options(directory);
  o.n_loops = n_loops;
  o.max_memory = 64 << 20;
  struct server *server = start(&o);
  assert_int_equal(deploy(server_port(server), name, text), 201);
  return server;
}

/* Clients leave while worker threads read where their invocations trapped, or make the instance that judges a large one. */
static void leave_trap(const char *text) {
  char *directory = make_data_dir();
  struct server *server = start_with(directory, 2, "trap", text);
  uint16_t port = server_port(server);
  for (int i = 0; i < 100; i++) {
    int fd = dial(port);
    send_text(fd, "GET /f/trap HTTP/1.1\r\nHost: t\r\n\r\n");
    usleep((unsigned)i * 10);
    close(fd);
  }
  assert_int_equal(status_of(port, "GET", "/f/trap"), 500);
  for (int i = 0; i < 20; i++) {
    int fd = dial(port);
    send_text(fd, "GET /f/trap HTTP/1.1\r\nHost: t\r\n\r\n");
    close(fd);
  }
  server_destroy(server);
  remove_data_dir(directory);
}

#define LARGE_TRAP \
  "(module (memory 512) (table 100000 funcref) (func (export \"handle\") (i32.store (i32.const 40000000) (i32.const 1))))"

static void test_leave_trap(void **state) {
  (void)state;
  leave_trap("(module (func (export \"handle\") unreachable))");
  leave_trap(LARGE_TRAP);
}

/* What takes long to make is judged as anything else is. */
static void test_heavy_trap(void **state) {
  (void)state;
  char *directory = make_data_dir();
  struct server *server = start_with(directory, 2, "trap", LARGE_TRAP);
  uint16_t port = server_port(server);
  for (int i = 0; i < 10; i++) {
    struct reply r = call(port, "/f/trap");
    assert_int_equal(r.status, 500);
    assert_non_null(strstr(r.body, " at byte 0x"));
    reply_clear(&r);
  }
  server_destroy(server);
  remove_data_dir(directory);
}

#define LATE_TRAP(trap)                              \
  "(module (func (export \"handle\") (local $i i32)" \
  "(loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000000)))) " trap "))"

static _Atomic bool is_over;

static void *call_trap(void *arg) {
  const uint16_t *port = arg;
  while (!is_over) assert_int_equal(status_of(*port, "GET", "/f/trap"), 500);
  return NULL;
}

/* One that is replaced while it runs is judged by its own code. */
static void test_replaced_trap(void **state) {
  (void)state;
  static const char *const texts[] = {LATE_TRAP("unreachable"), LATE_TRAP("(drop (i32.div_u (i32.const 1) (i32.const 0)))")};
  pthread_t callers[4];
  char *directory = make_data_dir();
  struct server *server = start_with(directory, 1, "trap", texts[0]);
  uint16_t port = server_port(server);
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&callers[i], NULL, call_trap, &port), 0);
  for (int i = 1; i < 12; i++) assert_int_equal(deploy(port, "trap", texts[i % 2]), 200);
  is_over = true;
  for (int i = 0; i < 4; i++) pthread_join(callers[i], NULL);
  struct reply r = call(port, "/metrics");
  assert_non_null(strstr(r.body, "gasworks_tier_disagreements_total 0"));
  reply_clear(&r);
  server_destroy(server);
  remove_data_dir(directory);
}

/* Each time that somebody asks for the time is a millisecond later. */
static uint64_t slow_clock(void) {
  static _Atomic uint64_t now;
  return now += 1000000;
}

/* Time for gas, by tier: 30 ns for a gas of compiled code are too many, and for one of the interpreter few. */
static void test_band(void **state) {
  (void)state;
  static const uint64_t slow[] = {[GW_TIER_FAST] = 2100000000, [GW_TIER_BASELINE] = 6300000000, [GW_TIER_PRECISE] = 33600000000};
  static const struct function_limits limits = {0};
  for (int tier = GW_TIER_FAST; tier <= GW_TIER_BASELINE; tier++) {
    struct function *f = function_create("f", &limits, NULL);
    assert_int_equal(function_band(f), BAND_INSIDE);
    function_count(f, (enum gw_tier)tier, 1000000000, slow[tier] / 21 * 19);
    assert_int_equal(function_band(f), BAND_INSIDE);
    function_count(f, (enum gw_tier)tier, 0, slow[tier] / 21 * 2);
    assert_int_equal(function_band(f), BAND_SLOW);
    function_count(f, (enum gw_tier)((tier + 1) % 3), UINT64_C(1000000000000), 1000);
    assert_int_equal(function_band(f), BAND_SLOW);
    function_release(f);
    f = function_create("f", &limits, NULL);
    function_count(f, (enum gw_tier)tier, 100000000000, slow[tier] / 5);
    assert_int_equal(function_band(f), BAND_FAST);
    function_release(f);
  }
}

/* CPU time ends it as cancelled, whose run it is: the function's own, in any tier, or the judge's. */
static void cpu_limit(enum tier_choice tier) {
  char *directory = make_data_dir();
  struct server_options o = test_options(directory);
  o.tier = tier;
  o.n_loops = 1;
  o.clock = slow_clock;
  o.max_memory = 4 << 20;
  o.cpu_limit_ms = 20;
  struct server *server = start(&o);
  uint16_t port = server_port(server);
  assert_int_equal(deploy(port, "loop", LOOP), 201);
  assert_int_equal(deploy(port, "hi", INITIALIZED), 201);
  struct reply r = call(port, "/f/loop");
  assert_int_equal(r.status, 503);
  assert_non_null(strstr(r.body, "it used more than 20 ms of CPU time"));
  reply_clear(&r);
  r = call(port, "/f/hi");
  assert_int_equal(r.status, 200);
  reply_clear(&r);
  r = call(port, "/metrics");
  assert_non_null(strstr(r.body, "\ngasworks_tier_disagreements_total 0\n"));
  reply_clear(&r);
  server_destroy(server);
  remove_data_dir(directory);
}

static void test_cpu_limit(void **state) {
  (void)state;
  cpu_limit(TIER_FAST);
  cpu_limit(TIER_BASELINE);
}

/* Looked at every few thousand gas, time flies. */
static uint64_t fast_clock(void) {
  static _Atomic uint64_t now;
  return now += 100000000;
}

/* Compiled code traps in front of this loop, before a million rounds that the judge would interpret. */
#define COUNTED                                                                                         \
  "(module (memory (export \"memory\") 16 16) (func (export \"handle\") (local $i i32) (local $x i32) " \
  "(loop $l (local.set $x (i32.add (local.get $x) (i32.load8_u (local.get $i)))) "                      \
  "(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1048577)))) "   \
  "(i32.store (i32.const 0) (local.get $x))))"

/* A judgement has a limit of CPU time, also where invocations have none: beyond it the trap stands as compiled code saw it. */
static void test_late_judge(void **state) {
  (void)state;
  static const uint32_t limits_ms[] = {0, 20000};
  for (int i = 0; i < 2; i++) {
    char *directory = make_data_dir();
    struct server_options o = test_options(directory);
    o.n_loops = 1;
    o.opt_level = 2;
    o.clock = fast_clock;
    o.cpu_limit_ms = limits_ms[i];
    struct server *server = start(&o);
    uint16_t port = server_port(server);
    assert_int_equal(deploy(port, "counted", COUNTED), 201);
    struct reply r = call(port, "/f/counted");
    assert_int_equal(r.status, 500);
    assert_non_null(strstr(r.body, "out of bounds memory access in function handle"));
    assert_null(strstr(r.body, "at byte"));
    reply_clear(&r);
    r = call(port, "/metrics");
    assert_non_null(strstr(r.body, "\ngasworks_judgements_total 1\n"));
    assert_non_null(strstr(r.body, "\ngasworks_tier_disagreements_total 0\n"));
    reply_clear(&r);
    server_destroy(server);
    remove_data_dir(directory);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_memory_limit), cmocka_unit_test(test_heavy),         cmocka_unit_test(test_many_globals),
      cmocka_unit_test(test_heavy_trap),   cmocka_unit_test(test_replaced_trap), cmocka_unit_test(test_cpu_limit),
      cmocka_unit_test(test_band),         cmocka_unit_test(test_leave_trap),    cmocka_unit_test(test_late_judge),
      cmocka_unit_test(test_initialized),  cmocka_unit_test(test_started),       cmocka_unit_test(test_no_more_addresses),
      cmocka_unit_test(test_pressure),     cmocka_unit_test(test_pressure_file), cmocka_unit_test(test_start_runs_once),
      cmocka_unit_test(test_instance_gas), cmocka_unit_test(test_cold_code),     cmocka_unit_test(test_replaced_code)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
