/* The file is read, not polled with a trigger: triggers need a capability for windows below two seconds, each is a task of the
 * kernel, and a loop wakes up for its deadlines anyway. */
#include "server/loop/pressure.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHARE = 20, US_PER_MS = 1000 };

static int open_file(const char *path) { return open(path, O_RDONLY | O_CLOEXEC); }

enum { GROUP_SIZE = 512 };

/* "0::/path" names this process's group in the unified hierarchy. */
static bool find_own_group(char path[GROUP_SIZE]) {
  char line[GROUP_SIZE];
  bool is_found = false;
  FILE *groups = fopen("/proc/self/cgroup", "re");
  if (!groups) return false;
  while (!is_found && fgets(line, sizeof line, groups)) {
    is_found = strncmp(line, "0::/", 4) == 0;
    line[strcspn(line, "\n")] = 0;
    if (is_found) snprintf(path, GROUP_SIZE, "%s", line + 3);
  }
  fclose(groups);
  return is_found;
}

static int open_own_group(void) {
  char group[GROUP_SIZE], path[GROUP_SIZE + 64];
  if (!find_own_group(group)) return -1;
  snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.pressure", group);
  return open_file(path);
}

/* "max" is no number and no limit. */
static uint64_t read_limit(const char *group) {
  char path[GROUP_SIZE + 64];
  uint64_t bytes = UINT64_MAX;
  snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
  FILE *file = fopen(path, "re");
  if (!file) return UINT64_MAX;
  if (fscanf(file, "%" SCNu64, &bytes) != 1) bytes = UINT64_MAX;
  fclose(file);
  return bytes;
}

uint64_t pressure_default_limit(void) {
  char group[GROUP_SIZE];
  uint64_t least = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
  bool has_group = find_own_group(group);
  while (has_group) { /* up to the root, whose file is there where it is the root of a container */
    uint64_t limit = read_limit(strcmp(group, "/") == 0 ? "" : group);
    if (limit < least) least = limit;
    char *slash = strrchr(group, '/');
    has_group = slash && group[0] && strcmp(group, "/") != 0;
    if (slash) slash[slash == group ? 1 : 0] = 0;
  }
  return least / 4 * 3;
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
