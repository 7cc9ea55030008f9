/* A program that ends before its module is compiled would find no code the next time either, and so would every run of it. What a
 * thread has compiled until then cannot be kept, so a process of its own begins anew: within limits, with the lowest claim to the
 * processor, in a session of its own, so that neither the shell nor a pipe waits for it, and one at a time for a cache. */
#define _GNU_SOURCE /* memfd_create, posix_spawn_file_actions_addclosefrom_np */
#include "cli/later.h"

#include "frontend/types.h"
#include "jit/artifact/cache.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_SECONDS "300"
#define MOST_MEMORY "4G"

/* A file in memory with the module, as its own file may be gone, or have been standard input; -1 when that fails. */
static int module_file(const struct module *m) {
  int fd = memfd_create("gasworks-module", MFD_CLOEXEC);
  for (size_t at = 0; fd >= 0 && at < m->size;) {
    ssize_t n = write(fd, m->bytes + at, m->size - at);
    if (n <= 0) {
      close(fd);
      return -1;
    }
    at += (size_t)n;
  }
  if (fd >= 0) lseek(fd, 0, SEEK_SET);
  return fd;
}

static void spawn(const char *const *argv, int module) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  pid_t pid;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, module, STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, (char *const *)argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
}

void later_compile(const struct guest *g) {
  if (!g->cache) return;
  char level[16];
  snprintf(level, sizeof level, "%u", g->opt_level);
  /* clang-format off */
  const char *argv[] = {"gasworks", "compile", "-", "--keep", cache_directory(g->cache), "--nice", "--threads", "1", "--optimize", level,
                        "--max-seconds", MOST_SECONDS, "--max-memory", MOST_MEMORY,
                        g->schedule_path ? "--schedule" : NULL, g->schedule_path, NULL};
  /* clang-format on */
  int module = module_file(gw_module_decoded(g->module));
  if (module < 0) return;
  spawn(argv, module);
  close(module);
}
