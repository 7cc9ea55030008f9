/* Who compiles a module: a process that stays, when the module is small (child_batch.c); else, or when that one could not say
 * anything about it, a process of its own; and when that one crashed, or the system or its limit of memory ended it, another one
 * without optimisation, which takes less of both. What is said about a module is what its own process came to.
 *
 * A module has CPU time by its size. One that optimising takes longer is compiled without, in as much time again, and
 * one that takes longer still has no code. So what a deploy costs is bounded by what was sent, not by what the optimiser makes of
 * it. */
#define _GNU_SOURCE /* memfd_create */
#include "jit/artifact/child.h"

#include "base/buffer.h"
#include "base/error.h"
#include "jit/artifact/child_process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGEST_SHARED = 64 << 10, QUICK_SECONDS = 2, LEAST_SECONDS = 20, BYTES_PER_SECOND = 16 << 10 };

/* One module at one level. */
struct job {
  struct child_pool *pool;
  const void *bytes;
  size_t size;
  uint32_t seconds; /* of CPU time */
  struct artifact_key key;
};

/* What came of it. */
enum result {
  MADE,
  REFUSED, /* the last word */
  SLOW,    /* without optimisation it may go well */
  LOST,    /* at another level, or in a process that had nothing before, it may go well */
  CONFUSED /* in another process it may go well */
};

/* --- what a process says, or its end ------------------------------------------------------------------------------------ */

static enum result take_artifact(int fd, const struct job *job, struct artifact **out, struct gw_error *err) {
  struct artifact *a = artifact_map(fd, err);
  bool is_wanted = a && memcmp(a->key, &job->key, sizeof job->key) == 0;
  if (a && !is_wanted)
    error_set(err, GW_ERROR_COMPILE, "the compiler made something else than it was asked for: is it of this build?");
  if (is_wanted)
    *out = a;
  else
    artifact_unmap(a);
  return is_wanted ? MADE : REFUSED;
}

static enum result refuse(const struct compile_answer *a, struct gw_error *err) {
  *err = (struct gw_error){.code = (enum gw_error_code)a->code, .offset = a->offset, .func = a->func};
  memcpy(err->message, a->message, sizeof err->message);
  return REFUSED;
}

static enum result lose(struct gw_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
static enum result lose(struct gw_error *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_vset(err, GW_ERROR_COMPILE, GW_NO_OFFSET, format, args);
  va_end(args);
  return LOST;
}

static enum result judge_answer(const struct job *job, const struct child_reply *reply, int artifact, struct artifact **out,
                                struct gw_error *err) {
  const struct compile_answer *a = &reply->answer;
  if (!child_answer_check(a, reply->size, err)) return CONFUSED;
  switch ((enum compile_outcome)a->outcome) {
  case COMPILE_MADE: return take_artifact(artifact, job, out, err);
  case COMPILE_OUT_OF_MEMORY:
    return lose(err, "the compiler needed more than %llu bytes of memory", (unsigned long long)job->pool->max_memory);
  case COMPILE_CRASHED: return lose(err, "the compiler crashed: %s", a->message);
  default: return refuse(a, err);
  }
}

static enum result judge_time(const struct job *job, struct gw_error *err) {
  error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %u seconds of CPU time", job->seconds);
  return SLOW;
}

static enum result judge_end(const struct job *job, bool is_late, int status, const char *last_words, struct gw_error *err) {
  int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (child_pool_is_stopping(job->pool))
    error_set(err, GW_ERROR_UNAVAILABLE, "compiling was ended: the end has begun");
  else if (is_late)
    error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %u seconds", child_pool_wall_seconds(job->pool));
  else if (signal == SIGXCPU)
    return judge_time(job, err);
  else if (signal == SIGKILL)
    return lose(err, "the compiler was killed by the system, which does that when memory is short");
  else if (signal)
    return lose(err, "the compiler crashed: %s", strsignal(signal));
  else {
    error_set(err, GW_ERROR_COMPILE, "%s", last_words[0] ? last_words : "the compiler failed without saying why");
    return CONFUSED;
  }
  return REFUSED;
}

/* --- a process and a module -------------------------------------------------------------------------------------------- */

static bool open_files(const struct job *job, int fds[CHILD_FILES], struct gw_error *err) {
  for (int i = 0; i < CHILD_FILES; i++) fds[i] = memfd_create("gasworks-compile", MFD_CLOEXEC);
  bool ok = fds[CHILD_ARTIFACT] >= 0 && fds[CHILD_MODULE] >= 0 && fd_write_all(fds[CHILD_MODULE], job->bytes, job->size) &&
            lseek(fds[CHILD_MODULE], 0, SEEK_SET) == 0;
  return ok || error_set(err, GW_ERROR_IO, "no memory or descriptors for a compiler process: %s", strerror(errno));
}

static void close_files(const int fds[CHILD_FILES]) {
  for (int i = 0; i < CHILD_FILES; i++)
    if (fds[i] >= 0) close(fds[i]);
}

static void fill_request(const struct job *job, struct compile_request *r) {
  const struct child_pool *pool = job->pool;
  child_request_init(r);
  r->opt_level = job->key.opt_level;
  r->gas = pool->gas;
  r->exact = job->key.exact;
  r->threads = pool->threads;
  r->max_seconds = job->seconds;
  r->max_memory = pool->max_memory;
  r->parent = (uint32_t)getpid();
  r->module_size = job->size;
  r->schedule = *pool->schedule;
}

/* The limit of time by the clock is the last word. */
static enum result bury(const struct job *job, struct child_process *p, bool is_late, struct gw_error *err) {
  struct child_pool *pool = job->pool;
  char last_words[256];
  is_late = is_late || !child_process_wait(pool, p);
  child_process_last_words(p, last_words, sizeof last_words);
  int status = child_process_destroy(pool, p);
  return judge_end(job, is_late, status, last_words, err);
}

static struct child_process *ask_new(const struct job *job, const struct compile_request *request, const int fds[CHILD_FILES],
                                     struct child_reply *reply, struct gw_error *err) {
  struct child_process *p = child_process_create(job->pool, err);
  if (p) child_process_ask(job->pool, p, request, fds, reply);
  return p;
}

/* One that was idle, if it has not ended meanwhile. */
static struct child_process *ask_idle(const struct job *job, const struct compile_request *request, const int fds[CHILD_FILES],
                                      struct child_reply *reply) {
  struct child_process *p;
  while ((p = child_batch_take(job->pool))) {
    child_process_ask(job->pool, p, request, fds, reply);
    if (reply->word != CHILD_GONE) break;
    child_process_destroy(job->pool, p);
  }
  return p;
}

static enum result have_compiled(const struct job *job, bool is_shared, const int fds[CHILD_FILES], struct artifact **out,
                                 struct gw_error *err) {
  struct compile_request request;
  struct child_reply reply;
  fill_request(job, &request);
  struct child_process *p = is_shared ? ask_idle(job, &request, fds, &reply) : NULL;
  if (!p) p = ask_new(job, &request, fds, &reply, err);
  if (!p) return REFUSED;
  if (reply.word != CHILD_SPOKE) return bury(job, p, reply.word == CHILD_LATE, err);
  enum result result = judge_answer(job, &reply, fds[CHILD_ARTIFACT], out, err);
  if (is_shared && (result == MADE || result == REFUSED))
    child_batch_return(job->pool, p);
  else
    child_process_destroy(job->pool, p);
  return result;
}

static enum result attempt(const struct job *job, bool is_shared, struct artifact **out, struct gw_error *err) {
  int fds[CHILD_FILES];
  enum result result = open_files(job, fds, err) ? have_compiled(job, is_shared, fds, out, err) : REFUSED;
  close_files(fds);
  return result;
}

static uint32_t budget(const struct child_pool *pool, size_t size, bool is_quick) {
  uint64_t seconds = is_quick ? QUICK_SECONDS : LEAST_SECONDS + size / BYTES_PER_SECOND;
  return seconds < pool->max_seconds ? (uint32_t)seconds : pool->max_seconds;
}

struct artifact *child_compile(struct child_pool *pool, const void *bytes, size_t size, const struct artifact_key *key,
                               bool *is_slow, struct gw_error *err) {
  struct job job = {.pool = pool, .bytes = bytes, .size = size, .seconds = budget(pool, size, is_slow), .key = *key};
  struct gw_error said = {0}, of_others = {0};
  struct artifact *artifact = NULL;
  enum result result = CONFUSED;
  if (size <= LARGEST_SHARED) result = attempt(&job, true, &artifact, &said);
  if (result == LOST || result == CONFUSED) {
    said = (struct gw_error){0};
    result = attempt(&job, false, &artifact, &said);
  }
  bool is_open = result == LOST || result == SLOW;
  if (is_slow) *is_slow = is_open;
  if (is_open && !is_slow && job.key.opt_level) {
    job.key.opt_level = 0;
    attempt(&job, false, &artifact, &of_others);
  }
  if (!artifact && err && err->code == GW_ERROR_NONE) *err = said;
  return artifact;
}

/* --- the pool ---------------------------------------------------------------------------------------------------------- */

void child_pool_init(struct child_pool *pool) { pthread_mutex_init(&pool->lock, NULL); }

void child_pool_clear(struct child_pool *pool) {
  for (struct child_process *p; (p = child_batch_take(pool));) child_process_destroy(pool, p);
  pthread_mutex_destroy(&pool->lock);
}

void child_pool_stop(struct child_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  pool->is_stopping = true;
  for (struct child_process *p = pool->processes; p; p = p->next) kill(p->pid, SIGKILL);
  pthread_mutex_unlock(&pool->lock);
}
