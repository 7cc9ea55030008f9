/* The file is read, not polled with a trigger: triggers need a capability for windows below two seconds, each is a task of the
 * kernel, and a loop wakes up for its deadlines anyway. */
#include "server/pressure.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHARE = 20, US_PER_MS = 1000 };

static int open_file(const char *path) { return open(path, O_RDONLY | O_CLOEXEC); }

/* "0::/path" names this process's group in the unified hierarchy. */
static int open_own_group(void) {
  char line[512], path[600];
  int fd = -1;
  FILE *groups = fopen("/proc/self/cgroup", "re");
  if (!groups) return -1;
  while (fd < 0 && fgets(line, sizeof line, groups)) {
    if (strncmp(line, "0::/", 4) != 0) continue;
    line[strcspn(line, "\n")] = 0;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.pressure", line + 3);
    fd = open_file(path);
  }
  fclose(groups);
  return fd;
}

static bool read_total(const struct pressure *p, uint64_t *total) {
  char text[256];
  ssize_t n = pread(p->fd, text, sizeof text - 1, 0);
  if (n <= 0) return false;
  text[n] = 0;
  const char *at = strncmp(text, "some ", 5) == 0 ? strstr(text, "total=") : NULL;
  return at && sscanf(at, "total=%" SCNu64, total) == 1;
}

void pressure_open(struct pressure *p, const char *path) {
  *p = (struct pressure){.fd = path ? open_file(path) : open_own_group()};
  if (p->fd < 0 && !path) p->fd = open_file("/proc/pressure/memory");
  if (p->fd >= 0 && !read_total(p, &p->total)) pressure_close(p); /* a kernel that has switched it off */
}

void pressure_close(struct pressure *p) {
  if (p->fd >= 0) close(p->fd);
  p->fd = -1;
}

bool pressure_is_high(struct pressure *p, uint64_t now_ms) {
  uint64_t total;
  if (p->fd < 0 || now_ms <= p->at_ms || !read_total(p, &total)) return false;
  uint64_t waited = total > p->total ? total - p->total : 0, passed = (now_ms - p->at_ms) * US_PER_MS;
  bool is_first = p->at_ms == 0;
  p->total = total;
  p->at_ms = now_ms;
  return !is_first && waited > passed / SHARE;
}
