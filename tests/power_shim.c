/* A disk that fails, is full, or loses what was not synced, for a server under test (LD_PRELOAD; power.py). Its environment:
 *
 * POWER_ROOT=DIR: only files below it are meant, but for those in DIR/.power, where the shadow and the control file are.
 *
 * POWER_SHADOW=DIR: keeps there what each file held when it was synced last, and what each directory listed: KEY.file, KEY.list
 * (lines "KEY NAME"). A key is the inode, which others may get later, and when it was made. From these and from what the files
 * hold now power.py makes what a power failure could have left.
 *
 * POWER_CONTROL=FILE, read at each call: "eio" lets syncs fail, "full" lets what takes room fail, "hang" lets syncs wait until it
 * says something else, "files" lets no file be opened, as where a process has as many descriptors as it may. */
#define _GNU_SOURCE /* RTLD_NEXT, SEEK_DATA */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of the shadow */

static const char *root, *shadow, *control;

/* The server forgets its environment. */
__attribute__((constructor)) static void begin(void) {
  const char *names[] = {"POWER_ROOT", "POWER_SHADOW", "POWER_CONTROL"};
  const char **to[] = {&root, &shadow, &control};
  for (int i = 0; i < 3; i++) *to[i] = getenv(names[i]) ? strdup(getenv(names[i])) : NULL;
}

static bool is_meant(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0 || !root) return false;
  path[n] = 0;
  return strncmp(path, root, strlen(root)) == 0 && !strstr(path, "/.power/");
}

/* Whether the control file says the word. */
static bool is_told(const char *word) {
  char text[64] = "";
  int fd = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return false;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  return n > 0 && strstr(text, word);
}

/* --- the shadow ---------------------------------------------------------------------------------------------------- */

/* Of the file `name` in the directory, or of the descriptor where that is "". */
static void key_of(int fd, const char *name, char key[64]) {
  struct statx st = {0};
  if (statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &st)) abort();
  snprintf(key, 64, "%llu-%lld.%09u", (unsigned long long)st.stx_ino, (long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

static void shadow_path(int fd, const char *word, char path[4096]) {
  char key[64];
  key_of(fd, "", key);
  snprintf(path, 4096, "%s/%s.%s", shadow, key, word);
}

static int open_shadow(int fd, const char *word, int flags) {
  char path[4096];
  shadow_path(fd, word, path);
  return open(path, flags | O_CREAT | O_CLOEXEC, 0600);
}

/* What was written to KEY.new takes its place all at once: this process may be killed at any moment. */
static void take_place(int fd, const char *word) {
  char from[4096], to[4096];
  shadow_path(fd, "new", from);
  shadow_path(fd, word, to);
  if (rename(from, to)) abort();
}

static void copy_range(int from, int to, off_t at, off_t end) {
  static char piece[1 << 16];
  while (at < end) {
    ssize_t n = pread(from, piece, end - at < (off_t)sizeof piece ? (size_t)(end - at) : sizeof piece, at);
    if (n <= 0 || syscall(SYS_pwrite64, to, piece, n, at) != n) return;
    at += n;
  }
}

/* fd may be open for writing only. */
static void keep_file(int fd, const struct stat *st) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int from = open(link, O_RDONLY | O_CLOEXEC), to = open_shadow(fd, "new", O_WRONLY | O_TRUNC);
  off_t at = 0, end;
  while (from >= 0 && to >= 0 && (at = lseek(from, at, SEEK_DATA)) >= 0) {
    end = lseek(from, at, SEEK_HOLE);
    copy_range(from, to, at, end);
    at = end;
  }
  if (to >= 0 && ftruncate(to, st->st_size)) abort();
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  if (from >= 0 && to >= 0) take_place(fd, "file");
}

static void keep_list(int fd) {
  char key[64];
  DIR *directory = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  int to = open_shadow(fd, "new", O_WRONLY | O_TRUNC);
  for (struct dirent *entry; directory && (entry = readdir(directory));)
    if (entry->d_name[0] != '.') {
      key_of(fd, entry->d_name, key);
      dprintf(to, "%s %s\n", key, entry->d_name);
    }
  if (directory) closedir(directory);
  close(to);
  take_place(fd, "list");
}

static int sync_now(int fd) {
  struct stat st;
  if (!is_meant(fd)) return 0;
  while (is_told("hang")) usleep(10000);
  if (is_told("eio")) {
    errno = EIO;
    return -1;
  }
  if (!shadow || fstat(fd, &st)) return 0;
  pthread_mutex_lock(&mutex);
  if (S_ISDIR(st.st_mode))
    keep_list(fd);
  else
    keep_file(fd, &st);
  pthread_mutex_unlock(&mutex);
  return 0;
}

int fsync(int fd) { return sync_now(fd); }
int fdatasync(int fd) { return sync_now(fd); }

/* What is written through a descriptor that syncs each write. */
static void keep_write(int fd, const void *bytes, size_t size, off_t at) {
  if (!shadow || !(fcntl(fd, F_GETFL) & O_DSYNC) || !is_meant(fd)) return;
  pthread_mutex_lock(&mutex);
  int to = open_shadow(fd, "file", O_WRONLY);
  if (to < 0 || syscall(SYS_pwrite64, to, bytes, size, at) != (ssize_t)size) abort();
  close(to);
  pthread_mutex_unlock(&mutex);
}

/* --- descriptors --------------------------------------------------------------------------------------------------- */

static int open_now(int at, const char *path, int flags, va_list rest) {
  bool is_below = root && strncmp(path, root, strlen(root)) == 0 && !strstr(path, "/.power/");
  if (is_below && is_told("files")) return errno = EMFILE, -1;
  return (int)syscall(SYS_openat, at, path, flags, flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0);
}

int openat64(int at, const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  int fd = open_now(at, path, flags, rest);
  va_end(rest);
  return fd;
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  int fd = open_now(AT_FDCWD, path, flags, rest);
  va_end(rest);
  return fd;
}
int open(const char *path, int flags, ...) __attribute__((alias("open64")));
int openat(int at, const char *path, int flags, ...) __attribute__((alias("openat64")));

/* --- room ---------------------------------------------------------------------------------------------------------- */

static bool has_no_room(int fd) { return is_meant(fd) && is_told("full"); }

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at) {
  if (has_no_room(fd)) return errno = ENOSPC, -1;
  ssize_t n = syscall(SYS_pwrite64, fd, bytes, size, at);
  if (n > 0) keep_write(fd, bytes, (size_t)n, at);
  return n;
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return pwrite64(fd, bytes, size, at); }

ssize_t write(int fd, const void *bytes, size_t size) {
  if (has_no_room(fd)) return errno = ENOSPC, -1;
  off_t at = lseek(fd, 0, SEEK_CUR);
  ssize_t n = syscall(SYS_write, fd, bytes, size);
  if (n > 0 && at >= 0) keep_write(fd, bytes, (size_t)n, at);
  return n;
}

ssize_t writev(int fd, const struct iovec *pieces, int n) {
  if (has_no_room(fd)) return errno = ENOSPC, -1;
  return syscall(SYS_writev, fd, pieces, n);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int n, off_t at) {
  ssize_t done = 0;
  for (int i = 0; i < n; i++) {
    ssize_t piece = pwrite64(fd, pieces[i].iov_base, pieces[i].iov_len, at + done);
    if (piece < 0) return done ? done : piece;
    done += piece;
    if ((size_t)piece < pieces[i].iov_len) break;
  }
  return done;
}
ssize_t pwritev64(int fd, const struct iovec *pieces, int n, off_t at) { return pwritev(fd, pieces, n, at); }

int posix_fallocate64(int fd, off_t at, off_t size) {
  if (has_no_room(fd)) return ENOSPC;
  return syscall(SYS_fallocate, fd, 0, at, size) ? errno : 0;
}
int posix_fallocate(int fd, off_t at, off_t size) { return posix_fallocate64(fd, at, size); }
