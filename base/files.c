#include "base/files.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool directory_sync(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  bool ok = fsync(fd) == 0;
  int saved = errno;
  close(fd);
  errno = saved;
  return ok;
}

static bool sync_parent(struct arena *arena, const char *path) {
  char *parent = arena_format(arena, "%s", path), *slash = strrchr(parent, '/');
  if (slash) *slash = 0;
  return directory_sync(!slash ? "." : *parent ? parent : "/");
}

/* Also what was made before: it may not have been synced. */
bool directory_make(const char *path, struct gw_error *err) {
  struct stat st;
  struct arena arena = {0};
  bool is_there = mkdir(path, 0700) == 0 || (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode));
  if (!is_there)
    return error_set(err, GW_ERROR_IO, "cannot make directory %s: %s", path, strerror(errno == EEXIST ? ENOTDIR : errno));
  sync_parent(&arena, path); /* whose parent cannot be read, or not be synced: what is in it says so when it is written */
  arena_clear(&arena);
  return true;
}

int directory_lock(const char *path, struct gw_error *err) {
  struct arena arena = {0};
  int fd = open(arena_format(&arena, "%s/lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  arena_clear(&arena);
  if (fd < 0) {
    error_set(err, GW_ERROR_IO, "cannot open %s/lock: %s", path, strerror(errno));
    return -1;
  }
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  error_set(err, GW_ERROR_UNAVAILABLE, "data directory %s is in use by another process", path);
  close(fd);
  return -1;
}

bool file_write_durably(const char *path, const void *bytes, size_t size, mode_t mode, struct gw_error *err) {
  struct arena arena = {0};
  char *aside = arena_format(&arena, "%s.tmp", path);
  bool ok = false;
  unlink(aside); /* what a crash has left, or somebody who would like to read what is written */
  int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd >= 0) {
    ok = fd_write_all(fd, bytes, size) && fsync(fd) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
  }
  ok = ok && rename(aside, path) == 0 && sync_parent(&arena, path);
  if (!ok) {
    error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0) unlink(aside);
  }
  arena_clear(&arena);
  return ok;
}

/* A plain file, also behind a link, or none yet. Behind the links of /dev and /proc are descriptors. */
static bool is_plain(const char *path) {
  struct stat st;
  if (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0) return false;
  return stat(path, &st) != 0 || S_ISREG(st.st_mode);
}

bool file_write_named(const char *path, const void *bytes, size_t size, mode_t mode, struct gw_error *err) {
  if (is_plain(path)) return file_write_durably(path, bytes, size, mode, err);
  int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
  bool ok = fd >= 0 && fd_write_all(fd, bytes, size);
  if (!ok) error_set(err, GW_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  return ok;
}

void directory_sweep(const char *path, bool (*is_wanted)(void *arg, const char *file_name), void *arg) {
  DIR *directory = opendir(path);
  if (!directory) return;
  struct dirent *entry;
  while ((entry = readdir(directory)))
    if (entry->d_type == DT_REG && !is_wanted(arg, entry->d_name)) unlinkat(dirfd(directory), entry->d_name, 0);
  closedir(directory);
}
