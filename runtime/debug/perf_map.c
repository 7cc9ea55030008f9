/* The format is of perf's tools/perf/Documentation/jit-interface.txt: start and size in hexadecimal, then the name. */
#include "runtime/debug/perf_map.h"

#include "base/error.h"
#include "jit/artifact/code.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAME = 512 };

/* Names are the module's, and a line ends at its end. */
static void write_range(FILE *file, const struct module *m, const struct code_range *range) {
  char name[NAME] = "gasworks (thunk)";
  if (range->func != GW_NO_FUNC) func_display_name(m, range->func, name, sizeof name);
  for (char *c = name; *c; c++)
    if ((unsigned char)*c < ' ') *c = '?';
  fprintf(file, "%" PRIxPTR " %" PRIxPTR " %s\n", range->begin, range->end - range->begin, name);
}

/* Never what somebody else put at that name: perf reads the user's own only. */
static FILE *create(const char *path) {
  unlink(path);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  return fd < 0 ? NULL : fdopen(fd, "w");
}

bool perf_map_write(const struct gw_module *module, struct gw_error *err) {
  char path[64];
  snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
  FILE *file = create(path);
  if (!file) return error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
  for (uint32_t d = 0; d < N_DIALECTS; d++) {
    const struct code *code = atomic_load(&module->codes[d]);
    for (uint32_t i = 0; code && i < code->n_ranges; i++) write_range(file, &module->decoded, &code->ranges[i]);
  }
  return fclose(file) == 0 || error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
}
