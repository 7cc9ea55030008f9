/* The format is of perf's tools/perf/Documentation/jit-interface.txt: start and size in hexadecimal, then the name. A process has
 * one map, which grows; what is in it is there before the code runs, so that whoever is killed leaves names, too. */
#include "runtime/debug/perf_map.h"

#include "base/buffer.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAME = 512 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static int map = -1;

/* Names are the module's, and a line ends at its end. */
static void append_range(struct buffer *text, const struct module *m, const struct code_range *range) {
  char name[NAME] = "gasworks (thunk)";
  if (range->func != GW_NO_FUNC) func_display_name(m, range->func, name, sizeof name);
  for (char *c = name; *c; c++)
    if ((unsigned char)*c < ' ') *c = '?';
  buffer_format(text, "%" PRIxPTR " %" PRIxPTR " %s\n", range->begin, range->end - range->begin, name);
}

/* Never what somebody else put at that name: perf reads the user's own only. */
static int create(const char *path) {
  unlink(path);
  return open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
}

static bool append(const void *bytes, size_t size, struct gw_error *err) {
  char path[64];
  snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
  pthread_mutex_lock(&lock);
  if (map < 0) map = create(path);
  ssize_t n = map < 0 ? -1 : write(map, bytes, size);
  pthread_mutex_unlock(&lock);
  if (n < 0) return error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
  return (size_t)n == size || error_set(err, GW_ERROR_IO, "cannot write %s: the file system is full", path);
}

bool perf_map_add(const struct module *m, const struct code *code, struct gw_error *err) {
  struct buffer text = {0};
  for (uint32_t i = 0; i < code->n_ranges; i++) append_range(&text, m, &code->ranges[i]);
  bool ok = !text.size || append(text.bytes, text.size, err);
  buffer_clear(&text);
  return ok;
}
