/* What the baseline tier makes of whole modules, every function of them, in one process for each:
 *   bench_baseline [--interpreter] FILE.wasm...
 * Prints, for each: megabytes of module and of bodies; the seconds of decoding and validating, and of making code; megabytes of
 * bodies per second of the latter; the code's size beside the bodies'; the peak of the process's memory beside the module's size.
 * Seconds are CPU time of this thread, the only one. --interpreter: translation alone. */
#include "base/buffer.h"
#include "base/clock.h"
#include "frontend/module.h"
#include "gasworks.h"
#include "runtime/engine.h"
#include "runtime/precise/precise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_MODULE = 64 << 20 };

static double mega(double bytes) { return bytes / 1e6; }

static int measure(const char *path, bool is_baseline) {
  struct gw_error err = {0};
  struct buffer file = {0};
  struct gw_engine *engine = gw_engine_create(&(struct gw_engine_options){.gas = true}, &err);
  if (!engine || !buffer_read_file(&file, path, MAX_MODULE, &err)) return fprintf(stderr, "%s: %s\n", path, err.message), 1;
  double start = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
  struct gw_module *module = gw_module_create(engine, file.bytes, file.size, &err);
  double loaded = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
  size_t size = file.size, bodies = 0;
  buffer_clear(&file);
  if (!module) return fprintf(stderr, "%s: %s\n", path, err.message), 1;
  const struct module *m = &module->decoded;
  for (uint32_t i = m->n_imported_funcs; i < m->n_funcs; i++) bodies += (size_t)(m->funcs[i].end - m->funcs[i].body);
  struct precise_module *p = module_interpret(module, is_baseline, &err);
  if (!p) return fprintf(stderr, "%s: %s\n", path, err.message), 1;
  start = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
  precise_module_translate(p);
  double seconds = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - start;
  struct precise_stats stats = precise_module_stats(p);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
  printf("%-18s %8.3f %8.3f %8.3f %8.4f %8.1f %8.2f %8.1f %5u\n", name, mega((double)size), mega((double)bodies), loaded, seconds,
         mega((double)bodies) / seconds, (double)stats.bytes / (double)bodies, (double)usage.ru_maxrss * 1024 / (double)size,
         stats.refused);
  gw_module_release(module);
  gw_engine_destroy(engine);
  return 0;
}

int main(int argc, char **argv) {
  bool is_baseline = true;
  int status = 0, failed = 0;
  printf("%-18s %8s %8s %8s %8s %8s %8s %8s %5s\n", "module", "MB", "bodies", "load s", "code s", "MB/s", "code", "peak",
         "refused");
  fflush(stdout);
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--interpreter") == 0) {
      is_baseline = false;
      continue;
    }
    pid_t child = fork();
    if (child == 0) exit(measure(argv[i], is_baseline));
    if (child < 0 || waitpid(child, &status, 0) < 0 || status) failed = 1;
  }
  return failed;
}
