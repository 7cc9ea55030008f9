/* A module as it is compiled for another CPU than this one, by way of an artifact. */
#ifndef TESTS_FOR_CPU_H
#define TESTS_FOR_CPU_H

#include "base/buffer.h"
#include "base/error.h"
#include "gasworks.h"

#include <stdlib.h>
#include <unistd.h>

/* Takes the reference to `module` and returns one to the other module, or NULL, and `err` says why. */
static inline struct gw_module *module_for_cpu(struct gw_engine *engine, struct gw_module *module, const char *cpu,
                                               struct gw_error *err) {
  char path[] = "/tmp/gasworks-for-cpu-XXXXXX";
  size_t size = 0;
  struct gw_module *made = NULL;
  void *artifact = gw_module_make_artifact(module, cpu, &size, err);
  int fd = artifact ? mkstemp(path) : -1;
  if (fd >= 0 && fd_write_all(fd, artifact, size))
    made = gw_module_open_artifact(engine, path, err);
  else if (artifact)
    error_set(err, GW_ERROR_IO, "cannot write %s", path);
  if (fd >= 0) close(fd), unlink(path);
  free(artifact);
  gw_module_release(module);
  return made;
}

#endif
