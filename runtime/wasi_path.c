/* WASI: paths, for reading only. The kernel resolves them: openat2(2) with RESOLVE_BENEATH follows neither "..", nor an absolute
 * path, nor a symbolic link out of the directory, whoever renames things meanwhile. */
#define _GNU_SOURCE /* O_PATH */
#include "runtime/wasi_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOKUP_FOLLOW = 1 };
enum { OFLAG_CREAT = 1, OFLAG_DIRECTORY = 2, OFLAG_EXCL = 4, OFLAG_TRUNC = 8 };

/* The guest's path, with a NUL behind it. Look at c->trap too. */
static enum wasi_errno get_path(struct wasi_call *c, int32_t ptr, uint32_t size, char path[WASI_MAX_PATH]) {
  const char *p = wasi_guest(c, ptr, size);
  if (!p) return WASI_EFAULT;
  if (size >= WASI_MAX_PATH) return WASI_ENAMETOOLONG;
  if (memchr(p, 0, size)) return WASI_EILSEQ;
  memcpy(path, p, size);
  path[size] = 0;
  if (!size) return WASI_ENOENT;
  wasi_charge(c, size);
  return WASI_ESUCCESS;
}

/* EAGAIN: something was renamed while the kernel looked. */
static int open_beneath(int directory, const char *path, int flags) {
  struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  long fd = -1;
  for (int tries = 0; tries < 16; tries++) {
    fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return (int)fd;
}

/* Opens what two parameters of the call, starting with `path_at`, name beneath the descriptor in the first one. */
static enum wasi_errno open_named(struct wasi_call *c, int path_at, uint32_t right, int flags, int *host) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, 0, &e);
  if (!f) return e;
  if (f->kind != FD_DIR) return WASI_ENOTDIR;
  if (!wasi_fd(c, c->v[0].i32, right, &e)) return e;
  char path[WASI_MAX_PATH];
  e = get_path(c, c->v[path_at].i32, c->v[path_at + 1].u32, path);
  if (e || c->trap) return e;
  *host = open_beneath(f->host, path, flags);
  return *host < 0 ? wasi_host_errno(errno) : WASI_ESUCCESS;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* Devices, pipes and sockets in a directory are none of the guest's business. */
static enum wasi_errno kind_of(int host, enum wasi_fd_kind *kind) {
  struct stat st;
  if (fstat(host, &st)) return wasi_host_errno(errno);
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return WASI_EACCES;
  *kind = S_ISDIR(st.st_mode) ? FD_DIR : FD_FILE;
  return WASI_ESUCCESS;
}

enum { READ_RIGHTS_DIR = WASI_RIGHT_PATH_OPEN | WASI_RIGHT_FD_READDIR | WASI_RIGHT_PATH_READLINK | WASI_RIGHT_PATH_FILESTAT_GET };

/* A file keeps what rights make sense for it, of those the directory hands on and the guest asked for. */
static void install(struct wasi_call *c, uint32_t fd, enum wasi_fd_kind kind, int host) {
  const struct wasi_fd *parent = &c->wasi->fds[c->v[0].i32];
  uint32_t no_sense = kind == FD_DIR ? WASI_RIGHT_FD_READ | WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL : READ_RIGHTS_DIR;
  struct wasi_fd f = {.kind = kind, .host = host, .flags = c->v[7].u32 & (FDFLAG_APPEND | FDFLAG_NONBLOCK)};
  f.rights = parent->inheriting & (uint32_t)c->v[5].u64 & ~no_sense;
  f.inheriting = parent->inheriting & (uint32_t)c->v[6].u64;
  c->wasi->fds[fd] = f;
}

enum wasi_errno wasi_do_path_open(struct wasi_call *c) {
  uint32_t oflags = c->v[4].u32;
  uint8_t *out = wasi_guest(c, c->v[8].i32, 4);
  if (!out) return WASI_EFAULT;
  bool wants_writing = (oflags & (OFLAG_CREAT | OFLAG_EXCL | OFLAG_TRUNC)) || (c->v[5].u64 & WASI_RIGHT_FD_WRITE);
  enum wasi_errno e;
  if (wants_writing) return wasi_fd(c, c->v[0].i32, 0, &e) ? WASI_EROFS : e;
  /* NONBLOCK: opening a pipe would wait for its writer */
  int flags = O_RDONLY | O_NOCTTY | O_NONBLOCK;
  if (oflags & OFLAG_DIRECTORY) flags |= O_DIRECTORY;
  if (!(c->v[1].u32 & LOOKUP_FOLLOW)) flags |= O_NOFOLLOW;
  int host = -1;
  e = open_named(c, 2, WASI_RIGHT_PATH_OPEN, flags, &host);
  if (e || c->trap) return e;
  enum wasi_fd_kind kind = FD_FREE;
  e = kind_of(host, &kind);
  uint32_t fd = e ? WASI_MAX_FDS : wasi_fd_take(c->wasi);
  if (fd == WASI_MAX_FDS) {
    close(host);
    return e ? e : WASI_EMFILE;
  }
  install(c, fd, kind, host);
  put_u32(out, fd);
  return WASI_ESUCCESS;
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

enum wasi_errno wasi_do_path_filestat_get(struct wasi_call *c) {
  int host = -1, flags = O_PATH | (c->v[1].u32 & LOOKUP_FOLLOW ? 0 : O_NOFOLLOW);
  enum wasi_errno e = open_named(c, 2, WASI_RIGHT_PATH_FILESTAT_GET, flags, &host);
  if (e || c->trap) return e;
  struct stat st;
  e = fstat(host, &st) ? wasi_host_errno(errno) : wasi_put_filestat(c, c->v[4].i32, &st);
  close(host);
  return e;
}

enum wasi_errno wasi_do_path_readlink(struct wasi_call *c) {
  uint32_t capacity = c->v[4].u32;
  char *out = wasi_guest(c, c->v[3].i32, capacity);
  uint8_t *used_out = wasi_guest(c, c->v[5].i32, 4);
  if (!out || !used_out) return WASI_EFAULT;
  int host = -1;
  enum wasi_errno e = open_named(c, 1, WASI_RIGHT_PATH_READLINK, O_PATH | O_NOFOLLOW, &host);
  if (e || c->trap) return e;
  char target[WASI_MAX_PATH];
  ssize_t n = readlinkat(host, "", target, sizeof target);
  /* an open descriptor of something else than a link gives ENOENT here */
  if (n < 0) e = errno == ENOENT ? WASI_EINVAL : wasi_host_errno(errno);
  close(host);
  if (n < 0) return e;
  if ((size_t)n > capacity) n = (ssize_t)capacity;
  if (!wasi_charge(c, (uint64_t)n)) return WASI_ESUCCESS;
  memcpy(out, target, (size_t)n);
  put_u32(used_out, (uint32_t)n);
  return WASI_ESUCCESS;
}
