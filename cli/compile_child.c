/* gasworks compile-child: what a process started by jit/artifact/child.c does. The first request tells it its limits and prices;
 * then the compiler is loaded and the walls go up (server/walls.c), and only then is a module read.
 *
 * Whatever can still speak when the process must end says so in an answer. Who finds no memory calls abort, be it LLVM, the C++
 * library or we; errno tells that from other reasons. What cannot speak, the signal that ended it tells the parent. */
#define _GNU_SOURCE /* prctl */
#include "cli/compile_child.h"

#include "base/buffer.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/limits.h"
#include "jit/artifact/child_protocol.h"
#include "runtime/engine.h"
#include "server/walls.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKET = STDIN_FILENO, IDLE_MS = 10000 };

struct child {
  struct compile_request first; /* its module_size is 0 */
  struct gw_engine *engine;     /* NULL before the first request */
};

/* --- answers ----------------------------------------------------------------------------------------------------------- */

static atomic_bool is_asked; /* and has not answered */

static bool answer(enum compile_outcome outcome, const struct gw_error *err) {
  struct compile_answer a;
  child_answer_init(&a, outcome, err);
  return atomic_exchange(&is_asked, false) && child_send_answer(SOCKET, &a);
}

/* What there was no memory for may go well in another process. What was used wrongly was not used by whoever waits. */
static bool answer_failure(struct gw_error *err) {
  if (err->code == GW_ERROR_OUT_OF_MEMORY) return answer(COMPILE_OUT_OF_MEMORY, &(struct gw_error){0});
  if (err->code == GW_ERROR_USAGE) err->code = GW_ERROR_COMPILE;
  return answer(COMPILE_REFUSED, err);
}

/* On any thread, in a signal handler, too. Of several the first one speaks, and the others wait until it has. */
static void end_with(enum compile_outcome outcome, const struct gw_error *err) {
  static atomic_bool is_ending;
  while (atomic_exchange(&is_ending, true)) poll(NULL, 0, -1);
  answer(outcome, err);
  _exit(1);
}

static void on_abort(int signal) {
  (void)signal;
  if (errno == ENOMEM) end_with(COMPILE_OUT_OF_MEMORY, &(struct gw_error){0});
}

static void on_fatal(const char *reason) {
  struct gw_error err = {0};
  snprintf(err.message, sizeof err.message, "%s", reason);
  end_with(COMPILE_CRASHED, &err);
}

/* --- before the first module ------------------------------------------------------------------------------------------- */

/* The parent may have ended before the system was told. */
static bool follow_parent(uint32_t parent, struct gw_error *err) {
  bool ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && (uint32_t)getppid() == parent;
  return ok || error_set(err, GW_ERROR_UNAVAILABLE, "process %u is not the parent", parent);
}

static bool make_engine(struct child *c, struct gw_error *err) {
  const struct compile_request *r = &c->first;
  c->engine = gw_engine_create(
      &(struct gw_engine_options){
          .opt_level = r->opt_level, .gas = r->gas, .loose_traps = !r->exact, .threads = r->threads, .schedule = &r->schedule},
      err);
  return c->engine != NULL;
}

/* It has all it needs when the compiler is loaded. */
static bool prepare(struct child *c, const struct compile_request *r, struct gw_error *err) {
  c->first = *r;
  c->first.module_size = 0;
  if (!follow_parent(r->parent, err) || !cli_limit_memory(r->max_memory, err)) return false;
  cli_be_nice();
  const struct compiler_ops *ops = make_engine(c, err) ? compiler_load(err) : NULL;
  if (!ops) return false;
  ops->on_fatal(on_fatal);
  return walls_around_compiler(err);
}

/* Limits and walls cannot be set a second time, but that of CPU time can: it is one of each module. */
static bool is_like_first(const struct child *c, const struct compile_request *r) {
  struct compile_request other = *r;
  other.module_size = 0;
  other.max_seconds = c->first.max_seconds;
  return memcmp(&other, &c->first, sizeof other) == 0;
}

/* --- modules ----------------------------------------------------------------------------------------------------------- */

static struct gw_module *load(const struct child *c, const struct compile_request *r, int fd, struct gw_error *err) {
  struct buffer bytes = {0};
  struct gw_module *module = NULL;
  if (!buffer_read_fd(&bytes, fd, "the module to compile", CHILD_LARGEST_MODULE, err)) return NULL;
  if (bytes.size == r->module_size)
    module = gw_module_create(c->engine, bytes.bytes, bytes.size, err);
  else
    error_set(err, GW_ERROR_COMPILE, "the module to compile has %zu bytes instead of %llu", bytes.size,
              (unsigned long long)r->module_size);
  buffer_clear(&bytes);
  return module;
}

static bool make(const struct child *c, const struct compile_request *r, const int fds[CHILD_FILES], struct gw_error *err) {
  struct gw_module *module = load(c, r, fds[CHILD_MODULE], err);
  size_t size = 0;
  void *artifact = module ? gw_module_make_artifact(module, NULL, &size, err) : NULL;
  bool ok = artifact && (fd_write_all(fds[CHILD_ARTIFACT], artifact, size) ||
                         error_set(err, GW_ERROR_IO, "cannot write the artifact: %s", strerror(errno)));
  free(artifact);
  gw_module_release(module);
  return ok;
}

static bool check(const struct child *c, const struct compile_request *r, size_t size, const int fds[CHILD_FILES],
                  struct gw_error *err) {
  if (!child_request_check(r, size, err)) return false;
  if (c->engine && !is_like_first(c, r))
    return error_set(err, GW_ERROR_COMPILE, "the compiler's request differs from the first one of its process");
  return fds[CHILD_ARTIFACT] >= 0 || error_set(err, GW_ERROR_COMPILE, "the compiler's request came without its files");
}

/* False: this process must not go on. */
static bool serve(struct child *c, const struct compile_request *r, size_t size, const int fds[CHILD_FILES]) {
  struct gw_error err = {0};
  atomic_store(&is_asked, true);
  bool is_sound = check(c, r, size, fds, &err) && (c->engine || prepare(c, r, &err)) && cli_limit_time(r->max_seconds, &err);
  if (is_sound && make(c, r, fds, &err)) return answer(COMPILE_MADE, &err);
  return answer_failure(&err) && is_sound;
}

static ssize_t receive(struct compile_request *r, int fds[CHILD_FILES]) {
  struct pollfd next = {.fd = SOCKET, .events = POLLIN};
  return poll(&next, 1, IDLE_MS) == 1 ? child_receive_request(SOCKET, r, fds) : 0;
}

int cli_compile_child(void) {
  struct child c = {0};
  struct compile_request r;
  int fds[CHILD_FILES], type;
  socklen_t type_size = sizeof type;
  ssize_t size;
  if (getsockopt(SOCKET, SOL_SOCKET, SO_TYPE, &type, &type_size) || type != SOCK_SEQPACKET)
    return cli_misuse(NULL, "%s is for processes that have modules compiled", CHILD_VERB);
  signal(SIGABRT, on_abort);
  bool ok = true;
  while (ok && (size = receive(&r, fds)) > 0) {
    ok = serve(&c, &r, (size_t)size, fds);
    for (int i = 0; i < CHILD_FILES; i++)
      if (fds[i] >= 0) close(fds[i]);
  }
  _exit(!ok); /* what libraries do at the end, such as looking for leaks, walls forbid */
}
