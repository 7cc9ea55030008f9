/* Who is let in, and who leaves: places of tenants, of callers and of addresses, and clients that go while their request waits,
 * wherever that is. */
#include "server/usage/price.h"
#include "tests/http_client.h"
#include "tests/late_store.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#define WAT_LOOP "(module (func (export \"handle\") (loop $l (br $l))))"
#define WAT_READ                                                                                                                \
  "(module " IMPORT("state_get",                                                                                                \
                    "(param i32 i32 i32 i32) (result i32)") "(memory (export \"memory\") 1) (func (export \"handle\")"          \
                                                            "(drop (call $state_get (i32.const 0) (i32.const 1) (i32.const 8) " \
                                                            "(i32.const 8)))))"
/* Writes what it has read, and with a body goes on for ever. */
#define WAT_HOLD                                                                                                                 \
  "(module " IMPORT("state_get", "(param i32 i32 i32 i32) (result i32)") IMPORT("state_set", "(param i32 i32 i32 i32)") IMPORT(  \
      "request_body_size",                                                                                                       \
      "(result i32)") "(memory (export \"memory\") 1) (func (export \"handle\") (local $i i32)"                                  \
                      "(drop (call $state_get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8)))"                         \
                      "(loop $w (br_if $w (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200000))))" \
                      "(call $state_set (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8))"                                \
                      "(if (call $request_body_size) (then (loop $l (br $l))))))"

static struct server *server;
static uint16_t port;
static char *data_dir;

static void open_server(struct server_options *o) {
  o->n_loops = 1;
  o->gas_limit = 1000000000000;
  server = start(o);
  port = server_port(server);
}

static void close_server(void) {
  server_destroy(server);
  remove_data_dir(data_dir);
}

static void put(const char *method, const char *path, const char *body, int status) {
  struct reply r = request(port, method, path, body, strlen(body));
  if (r.status != status) fail_msg("%s %s: %d %s", method, path, r.status, r.body);
  reply_clear(&r);
}

static void deploy_to(const char *path, const char *text) {
  struct buffer bytes = wat(text);
  struct reply r = request(port, "PUT", path, bytes.bytes, bytes.size);
  if (r.status != 201) fail_msg("PUT %s: %d %s", path, r.status, r.body);
  reply_clear(&r);
  buffer_clear(&bytes);
}

/* From another address of this machine. */
static int dial_from(const char *address) {
  struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct timeval limit = {.tv_sec = 30};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  inet_pton(AF_INET, address, &from.sin_addr);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  return fd;
}

static int ask_from(const char *address, const char *path) {
  char text[256];
  int fd = dial_from(address);
  snprintf(text, sizeof text, "POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", path);
  send_text(fd, text);
  return fd;
}

/* Whether there is an answer by now; 0: none. */
static int status_soon(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  if (poll(&p, 1, 300) == 0) return 0;
  struct reply r = receive(fd, true);
  int status = r.status;
  reply_clear(&r);
  return status;
}

static double metric(const char *name) {
  char line[128];
  struct reply r = call(port, "/metrics");
  snprintf(line, sizeof line, "\n%s ", name);
  const char *at = strstr(r.body, line);
  double n = at ? strtod(at + strlen(line), NULL) : -1;
  reply_clear(&r);
  return n;
}

static void wait_for(const char *name, double n) {
  double found = -1;
  for (int i = 0; i < 1000 && found != n; i++) {
    usleep(10000);
    found = metric(name);
  }
  if (found != n) fail_msg("%s is %f, not %f", name, found, n);
}

#define RUNNING "gasworks_invocations_running"

/* --- places ------------------------------------------------------------------------------------------------------- */

/* One tenant's endless functions leave room for another's, and so do those that wait for its next second. */
static void test_places_of_tenants(void **state) {
  enum { N = 24, PLACES = 16 };
  int fds[N], n_refused = 0;
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  o.max_running = o.max_running_each = PLACES;
  open_server(&o);
  put("PUT", "/v1/tenants/loud", "", 201);
  deploy_to("/t/loud/v1/functions/loop", WAT_LOOP);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  for (int i = 0; i < N; i++) fds[i] = ask_from("127.0.0.1", "/t/loud/f/loop");
  for (int i = 0; i < N; i++) n_refused += status_soon(fds[i]) == 503;
  assert_in_range(n_refused, N - PLACES + 1, N - PLACES / 2);
  for (int i = 0; i < 4; i++) assert_int_equal(status_of(port, "GET", "/f/hello"), 200);
  put("PATCH", "/t/loud/v1/budget", "{\"gas_per_second\":1000000}", 200);
  wait_for("gasworks_invocations_throttled", N - n_refused);
  int more[PLACES];
  assert_int_equal(deploy(port, "loop", WAT_LOOP), 201);
  for (int i = 0; i < PLACES; i++) more[i] = ask_from("127.0.0.1", "/f/loop");
  wait_for(RUNNING, N - n_refused + PLACES * 3 / 4 + 1); /* as many as if the others were not there */
  for (int i = 0; i < N; i++) close(fds[i]);
  for (int i = 0; i < PLACES; i++) close(more[i]);
  wait_for(RUNNING, 0);
  close_server();
}

/* Those of two tenants that waited for their next second go on at the same moment, and no more of them than have places. */
static void test_places_after_a_wait(void **state) {
  enum { N = 40, PLACES = 32, ALONE = 25 /* of them one tenant gets alone */ };
  static const char *const loud[] = {"/t/loud/v1/functions/loop", "/t/louder/v1/functions/loop"};
  static const char *const calls[] = {"/t/loud/f/loop", "/t/louder/f/loop"};
  static const char *const budgets[] = {"/t/loud/v1/budget", "/t/louder/v1/budget"};
  int fds[2][N];
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  o.max_running = o.max_running_each = PLACES;
  open_server(&o);
  put("PUT", "/v1/tenants/loud", "", 201);
  put("PUT", "/v1/tenants/louder", "", 201);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  for (int t = 0; t < 2; t++) {
    deploy_to(loud[t], WAT_LOOP);
    for (int i = 0; i < N; i++) fds[t][i] = ask_from("127.0.0.1", calls[t]);
    wait_for(RUNNING, (t + 1) * ALONE);
    put("PATCH", budgets[t], "{\"gas_per_second\":1000000}", 200);
    wait_for("gasworks_invocations_throttled", (t + 1) * ALONE);
  }
  for (int t = 0; t < 2; t++) put("PATCH", budgets[t], "{\"gas_per_second\":null}", 200);
  usleep(200000);
  for (int i = 0; i < 4; i++) assert_int_equal(status_of(port, "GET", "/f/hello"), 200);
  assert_true(metric("gasworks_invocations_throttled") > 0);
  for (int t = 0; t < 2; t++)
    for (int i = 0; i < N; i++) close(fds[t][i]);
  wait_for(RUNNING, 0);
  wait_for("gasworks_invocations_throttled", 0);
  close_server();
}

/* One address takes no more than its part of a function's places, and of connections. */
static void test_places_of_callers(void **state) {
  enum { N = 24, PLACES = 16, CONNECTIONS = 64 };
  int fds[N], many[2 * CONNECTIONS], n_refused = 0;
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  o.max_running_each = PLACES;
  o.max_connections = CONNECTIONS;
  open_server(&o);
  assert_int_equal(deploy(port, "loop", WAT_LOOP), 201);
  for (int i = 0; i < N; i++) fds[i] = ask_from("127.0.0.2", "/f/loop");
  for (int i = 0; i < N; i++) n_refused += status_soon(fds[i]) == 503;
  assert_in_range(n_refused, N - PLACES + 1, N - PLACES / 2);
  int other = ask_from("127.0.0.3", "/f/loop");
  assert_int_equal(status_soon(other), 0); /* it runs */
  close(other);
  for (int i = 0; i < N; i++) close(fds[i]);
  wait_for(RUNNING, 0);
  for (int i = 0; i < 2 * CONNECTIONS; i++) many[i] = dial_from("127.0.0.2");
  usleep(200000);
  assert_int_equal(status_of(port, "GET", "/healthz"), 200);
  for (int i = 0; i < 2 * CONNECTIONS; i++) close(many[i]);
  close_server();
}

/* Who sends many large bodies, and never their ends, leaves room for another's. */
static void test_room_for_bodies(void **state) {
  enum { BODY = 16 << 20, N = 34 };
  char head[128];
  int fds[N];
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  o.max_body = BODY;
  open_server(&o);
  assert_int_equal(deploy(port, "hello", WAT_HELLO), 201);
  char *bytes = calloc(1, BODY - 1);
  snprintf(head, sizeof head, "POST /f/hello HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", BODY);
  for (int i = 0; i < N; i++) {
    fds[i] = dial_from("127.0.0.2");
    send_text(fds[i], head);
    size_t sent = 0;
    for (ssize_t n; sent < BODY - 1 && (n = send(fds[i], bytes + sent, BODY - 1 - sent, MSG_NOSIGNAL)) > 0;) sent += (size_t)n;
  }
  int other = dial_from("127.0.0.3");
  send_text(other, "POST /f/hello HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n");
  assert_int_equal(send(other, bytes, 1000000, MSG_NOSIGNAL), 1000000);
  assert_int_equal(status_soon(other), 200);
  for (int i = 0; i < N; i++) close(fds[i]);
  wait_for("gasworks_request_bytes", 0); /* a client that may send more has nothing there */
  close(other);
  free(bytes);
  close_server();
}

/* --- modules that are sent ---------------------------------------------------------------------------------------------- */

/* A module of another content each time, with so many bytes of data. */
static struct buffer module_of(unsigned n, unsigned bytes) {
  struct buffer text = {0};
  buffer_format(&text, "(module (memory (export \"memory\") 20) (func (export \"handle\")) (data (i32.const 0) \"%u%0*u\"))", n,
                (int)bytes, 0);
  buffer_append(&text, "", 1);
  struct buffer module = wat((const char *)text.bytes);
  buffer_clear(&text);
  return module;
}

static int send_module(const char *method, const char *path, const struct buffer *module, bool *is_told_when) {
  char after[16];
  struct reply r = request(port, method, path, module->bytes, module->size);
  int status = r.status;
  *is_told_when = header(&r, "retry-after", after, sizeof after);
  reply_clear(&r);
  return status;
}

/* How many of `most` are taken before the tenant has to wait. */
static int count_taken(const char *method, const char *path, unsigned bytes, int most, int refusal) {
  static unsigned serial;
  int n = 0, status = 0;
  bool is_told_when = false;
  for (; n < most && status != refusal; n++) {
    struct buffer module = module_of(serial++, bytes);
    status = send_module(method, path, &module, &is_told_when);
    buffer_clear(&module);
    if (status >= 300 && status != refusal) fail_msg("%s %s: %d", method, path, status);
  }
  assert_true(status != refusal || is_told_when == (refusal == 429));
  return n;
}

/* Who sends modules to be decoded and compiled pays for that by their size: many small ones, large ones, deployed, run or
 * profiled. */
static void test_modules_are_paid_for(void **state) {
  struct prices prices = {.currency = "EUR", .of = {[PRICE_GAS] = 1000000000}};
  bool is_told_when;
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  o.prices = &prices;
  o.max_memory = 4 << 20;
  open_server(&o);
  put("PUT", "/v1/tenants/poor", "", 201);
  assert_int_equal(count_taken("PUT", "/t/poor/v1/functions/f", 10, 20, 429), 20); /* without a budget nobody counts */
  put("PATCH", "/t/poor/v1/budget", "{\"gas_per_second\":100000}", 200);
  usleep(1100000);
  assert_in_range(count_taken("PUT", "/t/poor/v1/functions/f", 10, 40, 429), 2, 20);
  assert_int_equal(status_of(port, "GET", "/t/poor/f/f"), 429);
  assert_int_equal(status_of(port, "GET", "/t/poor/v1/functions/f/profile"), 429);
  put("PATCH", "/t/poor/v1/functions/f", "{\"env\":{\"A\":\"1\"}}", 429);
  assert_int_equal(deploy(port, "other", WAT_HELLO), 201); /* of another tenant */
  put("PATCH", "/t/poor/v1/budget", "{\"gas_per_second\":10000000}", 200);
  usleep(1100000);
  assert_in_range(count_taken("POST", "/t/poor/v1/run", 900000, 40, 429), 2, 10);
  put("PATCH", "/t/poor/v1/budget", "{\"gas_per_second\":null,\"credit\":\"0.0002\"}", 200);
  assert_in_range(count_taken("POST", "/t/poor/v1/run", 900000, 40, 402), 3, 4);
  struct buffer module = module_of(0, 10);
  assert_int_equal(send_module("PUT", "/t/poor/v1/functions/f", &module, &is_told_when), 402);
  buffer_clear(&module);
  struct reply r = call(port, "/t/poor/v1/usage?by=function&format=csv");
  if (!strstr(r.body, "+load")) fail_msg("%s", r.body);
  reply_clear(&r);
  close_server();
}

/* --- leaving ------------------------------------------------------------------------------------------------------ */

enum { N_WAITING = 3 };

/* So many requests that wait, with this budget of the default tenant; then their clients go, as a process does that is killed, or
 * one that has read enough. */
static void expect_to_leave(const char *place, const char *path, int n_others, const char *budget) {
  for (int is_reset = 0; is_reset < 2; is_reset++) {
    int fds[N_WAITING];
    double before = metric("gasworks_cancelled_total");
    for (int i = 0; i < N_WAITING; i++) fds[i] = ask_from("127.0.0.1", path);
    wait_for(RUNNING, n_others + N_WAITING);
    if (budget) put("PATCH", "/v1/budget", budget, 200);
    if (budget) wait_for("gasworks_invocations_throttled", N_WAITING);
    for (int i = 0; i < N_WAITING; i++) {
      struct linger at_once = {.l_onoff = is_reset};
      setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      close(fds[i]);
    }
    print_message("%s, %s\n", place, is_reset ? "reset" : "closed");
    wait_for(RUNNING, n_others);
    assert_true(metric("gasworks_cancelled_total") == before + N_WAITING);
    if (budget) put("PATCH", "/v1/budget", "{\"gas_per_second\":null}", 200);
  }
}

static void test_leaving(void **state) {
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  open_server(&o);
  assert_int_equal(deploy(port, "loop", WAT_LOOP), 201);
  expect_to_leave("those that wait for a slice", "/f/loop", 0, NULL);
  expect_to_leave("those whose tenant has used its gas", "/f/loop", 0, "{\"gas_per_second\":1000}");
  close_server();
}

static void hold(struct late_store *late, bool is_held) {
  pthread_mutex_lock(&late->mutex);
  late->is_held = is_held;
  pthread_cond_broadcast(&late->changed);
  pthread_mutex_unlock(&late->mutex);
}

/* In front of the store's answers. */
static void test_leaving_the_store(void **state) {
  struct late_data disk = {0};
  struct gw_error err = {0};
  struct late_store *late = late_store_open(&disk);
  struct state_store *states = state_store_create(&late->store, &err);
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  o.state = states;
  open_server(&o);
  assert_int_equal(deploy(port, "read", WAT_READ), 201);
  assert_int_equal(status_of(port, "GET", "/f/read"), 200);
  hold(late, true);
  expect_to_leave("those that are parked", "/f/read", 0, NULL);
  hold(late, false);
  close_server();
  state_store_close(states);
  late_data_clear(&disk);
}

static void *conflict(void *arg) {
  for (int i = 0; i < 30; i++) status_of(port, "POST", arg);
  return NULL;
}

/* Behind one that holds what they read, and goes on. */
static void test_leaving_a_lane(void **state) {
  char path[] = "/f/hold";
  pthread_t threads[4];
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  open_server(&o);
  assert_int_equal(deploy(port, "hold", WAT_HOLD), 201);
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, conflict, path);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  int first = dial(port);
  send_text(first, "POST /f/hold HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx");
  wait_for(RUNNING, 1);
  expect_to_leave("those in a lane", "/f/hold", 1, NULL);
  close(first);
  wait_for(RUNNING, 0);
  close_server();
}

/* While the module is read: a pipe stands in its file's place. */
static void test_leaving_a_load(void **state) {
  char path[256];
  glob_t found;
  data_dir = make_data_dir();
  struct server_options o = test_options(data_dir);
  (void)state;
  open_server(&o);
  struct buffer module = wat(WAT_HELLO);
  assert_int_equal(deploy_bytes(port, "hello", module.bytes, module.size), 201);
  server_destroy(server);
  snprintf(path, sizeof path, "%s/modules/*.wasm", data_dir);
  assert_int_equal(glob(path, 0, NULL, &found), 0);
  assert_int_equal(unlink(found.gl_pathv[0]), 0);
  assert_int_equal(mkfifo(found.gl_pathv[0], 0600), 0);
  open_server(&o);
  expect_to_leave("those whose module is loaded", "/f/hello", 0, NULL);
  int fd = open(found.gl_pathv[0], O_WRONLY | O_CLOEXEC);
  assert_int_equal(write(fd, module.bytes, module.size), module.size);
  close(fd);
  assert_int_equal(status_of(port, "GET", "/f/hello"), 200);
  globfree(&found);
  buffer_clear(&module);
  close_server();
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_places_of_tenants),    cmocka_unit_test(test_places_of_callers),
                                     cmocka_unit_test(test_places_after_a_wait),  cmocka_unit_test(test_room_for_bodies),
                                     cmocka_unit_test(test_modules_are_paid_for), cmocka_unit_test(test_leaving),
                                     cmocka_unit_test(test_leaving_the_store),    cmocka_unit_test(test_leaving_a_lane),
                                     cmocka_unit_test(test_leaving_a_load)};
  return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
