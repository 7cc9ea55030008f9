/* The child is `gasworks compile - --output -`, which sets its own limits before it reads the module from standard input; its
 * artifact goes to standard output, its error to standard error. All three are files in memory, so nobody waits for a pipe. */
#define _GNU_SOURCE /* memfd_create */
#include "runtime/compile_child.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGEST_SCHEDULE = 16384 };

/* Files of one child, by the descriptor that each has there. */
enum child_file { CHILD_MODULE, CHILD_ARTIFACT, CHILD_ERROR, CHILD_SCHEDULE, CHILD_FILES };

static bool write_file(int fd, const void *bytes, size_t size) {
  return fd_write_all(fd, bytes, size) && lseek(fd, 0, SEEK_SET) == 0;
}

static bool open_files(const struct gw_module *module, int fds[CHILD_FILES]) {
  char schedule[LARGEST_SCHEDULE];
  size_t size = schedule_print(&module->engine->schedule, schedule, sizeof schedule);
  for (int i = 0; i < CHILD_FILES; i++) {
    fds[i] = memfd_create("gasworks-compile", MFD_CLOEXEC);
    if (fds[i] < 0) return false;
  }
  return size < sizeof schedule && write_file(fds[CHILD_MODULE], module->bytes, module->size) &&
         write_file(fds[CHILD_SCHEDULE], schedule, size);
}

static void close_files(const int fds[CHILD_FILES]) {
  for (int i = 0; i < CHILD_FILES; i++)
    if (fds[i] >= 0) close(fds[i]);
}

/* The descriptors' order in the child may be anything here: those in the way are moved first. */
static bool place_files(posix_spawn_file_actions_t *actions, int fds[CHILD_FILES]) {
  for (int i = 0; i < CHILD_FILES; i++) {
    if (fds[i] >= CHILD_FILES) continue;
    int moved = fcntl(fds[i], F_DUPFD_CLOEXEC, CHILD_FILES);
    if (moved < 0) return false;
    close(fds[i]);
    fds[i] = moved;
  }
  for (int i = 0; i < CHILD_FILES; i++)
    if (posix_spawn_file_actions_adddup2(actions, fds[i], i)) return false;
  return true;
}

/* -1 with errno set. */
static pid_t spawn(const struct gw_module *module, int fds[CHILD_FILES]) {
  const struct gw_engine_options *o = &module->engine->options;
  char level[16], threads[16], limit_seconds[16], limit_memory[32];
  snprintf(level, sizeof level, "%u", o->opt_level);
  snprintf(threads, sizeof threads, "%u", o->threads);
  snprintf(limit_seconds, sizeof limit_seconds, "%u", o->compile_seconds);
  snprintf(limit_memory, sizeof limit_memory, "%llu", (unsigned long long)o->compile_memory);
  /* clang-format off */
  const char *argv[] = {"gasworks", "compile", "-", "--output", "-", "--nice",
                        "--optimize", level, "--gas", o->gas ? "on" : "off", "--schedule", "/proc/self/fd/3",
                        "--threads", threads, "--max-seconds", limit_seconds, "--max-memory", limit_memory, NULL};
  /* clang-format on */
  char *const environment[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  pid_t pid = -1;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &none); /* the server's threads block signals */
  int problem = place_files(&actions, fds)
                    ? posix_spawn(&pid, o->compiler_program, &actions, &attributes, (char *const *)argv, environment)
                    : errno;
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  errno = problem;
  return problem ? -1 : pid;
}

/* What the child said last, without the program's name before it. */
static void read_message(int fd, char *out, size_t size) {
  static const char prefix[] = "gasworks: ";
  char text[1024];
  off_t end = lseek(fd, 0, SEEK_END), start = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
  ssize_t n = pread(fd, text, sizeof text - 1, start);
  if (n < 0) n = 0;
  while (n && text[n - 1] == '\n') n--;
  text[n] = 0;
  char *line = strrchr(text, '\n');
  line = line ? line + 1 : text;
  if (strncmp(line, prefix, sizeof prefix - 1) == 0) line += sizeof prefix - 1;
  snprintf(out, size, "%s", line);
}

static bool explain(const struct gw_module *module, int status, int error_fd, struct gw_error *err) {
  const struct gw_engine_options *o = &module->engine->options;
  char message[256];
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (signal == SIGXCPU || signal == SIGKILL)
    return error_set(err, GW_ERROR_COMPILE, "the compiler was ended after %u seconds of CPU time", o->compile_seconds);
  read_message(error_fd, message, sizeof message);
  if (strstr(message, "out of memory") || strstr(message, "bad_alloc"))
    return error_set(err, GW_ERROR_COMPILE, "the compiler needed more than %llu bytes of memory",
                     (unsigned long long)o->compile_memory);
  if (signal) return error_set(err, GW_ERROR_COMPILE, "the compiler crashed: %s", strsignal(signal));
  return error_set(err, GW_ERROR_COMPILE, "%s", message[0] ? message : "the compiler failed without saying why");
}

static struct artifact *take_artifact(int fd, const struct artifact_key *key, struct gw_error *err) {
  struct artifact *a = artifact_map(fd, err);
  if (a && memcmp(a->key, key, sizeof *key) == 0) return a;
  if (a) error_set(err, GW_ERROR_COMPILE, "the compiler made something else than it was asked for: is it of this build?");
  artifact_unmap(a);
  return NULL;
}

/* --- the engine's children ------------------------------------------------------------------------------------------- */

struct compile_child {
  struct compile_child *next;
  pid_t pid;
};

void gw_engine_stop_compiling(struct gw_engine *engine) {
  pthread_mutex_lock(&engine->children_lock);
  engine->is_stopping = true;
  for (struct compile_child *c = engine->children; c; c = c->next) kill(c->pid, SIGKILL);
  pthread_mutex_unlock(&engine->children_lock);
}

/* Under the lock, so that nobody is missed when all are ended. */
static bool start(const struct gw_module *module, int fds[CHILD_FILES], struct compile_child *child, struct gw_error *err) {
  struct gw_engine *engine = module->engine;
  pthread_mutex_lock(&engine->children_lock);
  bool is_stopping = engine->is_stopping;
  child->pid = is_stopping ? -1 : spawn(module, fds);
  if (child->pid >= 0) {
    child->next = engine->children;
    engine->children = child;
  }
  pthread_mutex_unlock(&engine->children_lock);
  if (is_stopping) return error_set(err, GW_ERROR_UNAVAILABLE, "nothing is compiled any more: the end has begun");
  return child->pid >= 0 || error_set(err, GW_ERROR_COMPILE, "cannot start the compiler %.200s: %s",
                                      engine->options.compiler_program, strerror(errno));
}

/* A process is in the list as long as its number is its own. */
static int wait_for(struct gw_engine *engine, struct compile_child *child) {
  siginfo_t info;
  int status = 0;
  while (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOWAIT) && errno == EINTR) {
  }
  pthread_mutex_lock(&engine->children_lock);
  struct compile_child **at = &engine->children;
  while (*at != child) at = &(*at)->next;
  *at = child->next;
  waitpid(child->pid, &status, 0);
  pthread_mutex_unlock(&engine->children_lock);
  return status;
}

struct artifact *compile_in_child(const struct gw_module *module, const struct artifact_key *key, struct gw_error *err) {
  int fds[CHILD_FILES] = {-1, -1, -1, -1};
  struct artifact *artifact = NULL;
  struct compile_child child;
  if (!open_files(module, fds)) {
    error_set(err, GW_ERROR_IO, "no memory or descriptors for a compiler process: %s", strerror(errno));
  } else if (start(module, fds, &child, err)) {
    int status = wait_for(module->engine, &child);
    if (explain(module, status, fds[CHILD_ERROR], err)) artifact = take_artifact(fds[CHILD_ARTIFACT], key, err);
  }
  close_files(fds);
  return artifact;
}
