/* For tests of leaks: how many descriptors this process has open, and a few that looking needs. */
#ifndef TESTS_HOST_FDS_H
#define TESTS_HOST_FDS_H

#include <dirent.h>

static inline int count_host_fds(void) {
  DIR *fds = opendir("/proc/self/fd");
  int n = 0;
  while (readdir(fds)) n++;
  closedir(fds);
  return n;
}

#endif
