/* Who compiles a module: a process that stays, when the module is small (child_batch.c); else, or when that one died of it, a
 * process of its own; and when that one crashed, or the system or its limit of memory ended it, another one without optimisation,
 * which takes less of both. What is said about a module is what its own process came to. */
#include "jit/artifact/child.h"

#include "base/error.h"
#include "jit/artifact/child_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* What was wrong with a process, in `err`. True: with another level it may go well. */
static bool explain(struct child_pool *pool, const struct compile_child *child, int status, int error_fd, struct gw_error *err) {
  char message[256];
  int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  process_read_message(error_fd, message, sizeof message);
  if (process_pool_is_stopping(pool)) return error_set(err, GW_ERROR_UNAVAILABLE, "compiling was ended: the end has begun");
  if (child->is_late)
    return error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %d seconds", process_wall_ms(pool) / 1000);
  if (signal == SIGXCPU)
    return error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %u seconds of CPU time", pool->max_seconds);
  if (!signal && !strstr(message, "out of memory"))
    return error_set(err, GW_ERROR_COMPILE, "%s", message[0] ? message : "the compiler failed without saying why");
  if (strstr(message, "out of memory") || strstr(message, "bad_alloc"))
    error_set(err, GW_ERROR_COMPILE, "the compiler needed more than %llu bytes of memory", (unsigned long long)pool->max_memory);
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

static bool open_files(const struct child_pool *pool, const void *bytes, size_t size, int fds[CHILD_FILES],
                       struct gw_error *err) {
  return process_open_files(pool, bytes, size, fds) ||
         error_set(err, GW_ERROR_IO, "no memory or descriptors for a compiler process: %s", strerror(errno));
}

/* By a process of its own at the key's level. */
static struct artifact *compile_alone(struct child_pool *pool, const void *bytes, size_t size, const struct artifact_key *key,
                                      bool *may_retry, struct gw_error *err) {
  struct artifact *artifact = NULL;
  struct compile_child child;
  int fds[CHILD_FILES];
  *may_retry = false;
  if (open_files(pool, bytes, size, fds, err) && process_start(pool, key->opt_level, fds, &child, err)) {
    int status = process_wait(pool, &child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
      artifact = take_artifact(fds[CHILD_ARTIFACT], key, err);
    else
      *may_retry = explain(pool, &child, status, fds[CHILD_ERROR], err);
  }
  process_close_files(fds);
  return artifact;
}

static enum batch_result compile_in_batch(struct child_pool *pool, const void *bytes, size_t size, const struct artifact_key *key,
                                          struct artifact **artifact, struct gw_error *err) {
  int fds[CHILD_FILES];
  enum batch_result result = BATCH_NONE;
  if (process_open_files(pool, bytes, size, fds)) result = batch_compile(pool, size, fds, err);
  if (result == BATCH_DONE) *artifact = take_artifact(fds[CHILD_ARTIFACT], key, err);
  process_close_files(fds);
  return result;
}

void child_pool_init(struct child_pool *pool) { pthread_mutex_init(&pool->lock, NULL); }

void child_pool_clear(struct child_pool *pool) {
  batch_stop(pool);
  pthread_mutex_destroy(&pool->lock);
}

void child_pool_stop(struct child_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  pool->is_stopping = true;
  for (struct compile_child *c = pool->children; c; c = c->next) kill(c->pid, SIGKILL);
  pthread_mutex_unlock(&pool->lock);
}

struct artifact *child_compile(struct child_pool *pool, const void *bytes, size_t size, const struct artifact_key *key,
                               struct gw_error *err) {
  struct artifact *artifact = NULL;
  struct gw_error first = {0}, second = {0};
  bool may_retry;
  if (compile_in_batch(pool, bytes, size, key, &artifact, err) != BATCH_NONE) return artifact;
  artifact = compile_alone(pool, bytes, size, key, &may_retry, &first);
  if (!artifact && may_retry && key->opt_level) {
    struct artifact_key lower = *key;
    lower.opt_level = 0;
    artifact = compile_alone(pool, bytes, size, &lower, &may_retry, &second);
  }
  if (!artifact) error_set(err, first.code, "%s", first.message);
  return artifact;
}
