/* Who compiles a module: a process that stays, when the module is small (compile_batch.c); else, or when that one died of it, a
 * process of its own; and when that one crashed, or the system or its limit of memory ended it, another one without optimisation,
 * which takes less of both. What is said about a module is what its own process came to. */
#include "runtime/compile_child.h"

#include "base/error.h"
#include "runtime/compile_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* What was wrong with a process, in `err`. True: with another level it may go well. */
static bool explain(struct gw_engine *engine, const struct compile_child *child, int status, int error_fd, struct gw_error *err) {
  const struct gw_engine_options *o = &engine->options;
  char message[256];
  int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  process_read_message(error_fd, message, sizeof message);
  if (process_engine_is_stopping(engine)) return error_set(err, GW_ERROR_UNAVAILABLE, "compiling was ended: the end has begun");
  if (child->is_late)
    return error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %d seconds", process_wall_ms(engine) / 1000);
  if (signal == SIGXCPU)
    return error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %u seconds of CPU time", o->compile_seconds);
  if (!signal && !strstr(message, "out of memory"))
    return error_set(err, GW_ERROR_COMPILE, "%s", message[0] ? message : "the compiler failed without saying why");
  if (strstr(message, "out of memory") || strstr(message, "bad_alloc"))
    error_set(err, GW_ERROR_COMPILE, "the compiler needed more than %llu bytes of memory", (unsigned long long)o->compile_memory);
  else if (signal == SIGKILL)
    error_set(err, GW_ERROR_COMPILE, "the compiler was killed by the system, which does that when memory is short");
  else
    error_set(err, GW_ERROR_COMPILE, "the compiler crashed: %s", strsignal(signal));
  return true;
}

static struct artifact *take_artifact(int fd, const struct artifact_key *key, struct gw_error *err) {
  struct artifact *a = artifact_map(fd, err);
  if (a && memcmp(a->key, key, sizeof *key) == 0) return a;
  if (a) error_set(err, GW_ERROR_COMPILE, "the compiler made something else than it was asked for: is it of this build?");
  artifact_unmap(a);
  return NULL;
}

static bool open_files(const struct gw_module *module, int fds[CHILD_FILES], struct gw_error *err) {
  return process_open_files(module->engine, module, fds) ||
         error_set(err, GW_ERROR_IO, "no memory or descriptors for a compiler process: %s", strerror(errno));
}

/* By a process of its own at the key's level. */
static struct artifact *compile_alone(const struct gw_module *module, const struct artifact_key *key, bool *may_retry,
                                      struct gw_error *err) {
  struct gw_engine *engine = module->engine;
  struct artifact *artifact = NULL;
  struct compile_child child;
  int fds[CHILD_FILES];
  *may_retry = false;
  if (open_files(module, fds, err) && process_start(engine, key->opt_level, fds, &child, err)) {
    int status = process_wait(engine, &child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
      artifact = take_artifact(fds[CHILD_ARTIFACT], key, err);
    else
      *may_retry = explain(engine, &child, status, fds[CHILD_ERROR], err);
  }
  process_close_files(fds);
  return artifact;
}

static enum batch_result compile_in_batch(const struct gw_module *module, const struct artifact_key *key,
                                          struct artifact **artifact, struct gw_error *err) {
  int fds[CHILD_FILES];
  enum batch_result result = BATCH_NONE;
  if (process_open_files(module->engine, module, fds)) result = batch_compile(module->engine, module, fds, err);
  if (result == BATCH_DONE) *artifact = take_artifact(fds[CHILD_ARTIFACT], key, err);
  process_close_files(fds);
  return result;
}

struct artifact *compile_in_child(const struct gw_module *module, const struct artifact_key *key, struct gw_error *err) {
  struct artifact *artifact = NULL;
  struct gw_error first = {0}, second = {0};
  bool may_retry;
  if (compile_in_batch(module, key, &artifact, err) != BATCH_NONE) return artifact;
  artifact = compile_alone(module, key, &may_retry, &first);
  if (!artifact && may_retry && key->opt_level) {
    struct artifact_key lower = *key;
    lower.opt_level = 0;
    artifact = compile_alone(module, &lower, &may_retry, &second);
  }
  if (!artifact) error_set(err, first.code, "%s", first.message);
  return artifact;
}
