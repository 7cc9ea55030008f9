/* WASI: the table of descriptors and what they are. */
#include "runtime/wasi_private.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
  RIGHTS_ANY = WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_POLL_FD_READWRITE,
  RIGHTS_SEEKABLE = WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL | WASI_RIGHT_FD_ADVISE,
  RIGHTS_FILE = RIGHTS_ANY | RIGHTS_SEEKABLE | WASI_RIGHT_FD_READ | WASI_RIGHT_FD_SYNC,
  RIGHTS_DIR = WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_SYNC | WASI_RIGHT_PATH_OPEN |
               WASI_RIGHT_FD_READDIR | WASI_RIGHT_PATH_READLINK | WASI_RIGHT_PATH_FILESTAT_GET,
};

/* --- the table ---------------------------------------------------------------------------------------------------- */

struct wasi_fd *wasi_fd(struct wasi_call *c, int32_t fd, uint32_t rights, enum wasi_errno *e) {
  struct wasi *w = c->wasi;
  if ((uint32_t)fd >= w->n_fds || w->fds[fd].kind == FD_FREE) {
    *e = WASI_EBADF;
    return NULL;
  }
  if ((w->fds[fd].rights & rights) != rights) {
    *e = WASI_ENOTCAPABLE;
    return NULL;
  }
  return &w->fds[fd];
}

uint32_t wasi_fd_take(struct wasi *wasi) {
  for (uint32_t i = 0; i < wasi->n_fds; i++)
    if (wasi->fds[i].kind == FD_FREE) return i;
  if (wasi->n_fds == WASI_MAX_FDS) return WASI_MAX_FDS;
  uint32_t n = wasi->n_fds ? 2 * wasi->n_fds : 8;
  struct wasi_fd *fds = realloc(wasi->fds, n * sizeof *fds);
  if (!fds) return WASI_MAX_FDS;
  memset(fds + wasi->n_fds, 0, (n - wasi->n_fds) * sizeof *fds);
  wasi->fds = fds;
  uint32_t taken = wasi->n_fds;
  wasi->n_fds = n;
  return taken;
}

void wasi_fd_close(struct wasi_fd *f) {
  if (f->kind == FD_FILE || f->kind == FD_DIR) close(f->host);
  *f = (struct wasi_fd){0};
}

void wasi_close_all(struct wasi *wasi) {
  for (uint32_t i = 0; i < wasi->n_fds; i++) wasi_fd_close(&wasi->fds[i]);
}

/* `host` -1: the input's bytes or an output's buffer. Only what the host can seek may the guest seek: C libraries take a
 * character device without the right to seek for a terminal. */
static struct wasi_fd stream(int host, bool is_input, struct buffer *output) {
  struct wasi_fd f = {.host = host, .rights = RIGHTS_ANY | (is_input ? WASI_RIGHT_FD_READ : WASI_RIGHT_FD_WRITE)};
  if (host >= 0) {
    struct stat st;
    f.kind = FD_STREAM;
    if (!fstat(host, &st) && S_ISREG(st.st_mode)) f.rights |= RIGHTS_SEEKABLE;
  } else {
    f.kind = is_input ? FD_INPUT : FD_OUTPUT;
    if (is_input) f.rights |= RIGHTS_SEEKABLE;
    f.output = output;
  }
  return f;
}

static bool open_preopen(struct wasi *wasi, const struct wasi_preopen *p, struct gw_error *err) {
  uint32_t fd = wasi_fd_take(wasi);
  if (fd == WASI_MAX_FDS) return error_set(err, GW_ERROR_USAGE, "too many directories for the guest");
  int host = open(p->host_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (host < 0) return error_set(err, GW_ERROR_IO, "cannot open the directory %s: %s", p->host_path, strerror(errno));
  wasi->fds[fd] = (struct wasi_fd){.kind = FD_DIR,
                                   .host = host,
                                   .rights = RIGHTS_DIR,
                                   .inheriting = RIGHTS_DIR | RIGHTS_FILE,
                                   .preopen = wasi_keep_string(wasi, p->guest_path)};
  return true;
}

bool wasi_open_all(struct wasi *wasi, const struct wasi_options *o, struct gw_error *err) {
  if (!wasi->n_fds && wasi_fd_take(wasi) == WASI_MAX_FDS)
    return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for descriptors");
  wasi->fds[0] = stream(o->stdin_fd, true, NULL);
  wasi->fds[1] = stream(o->stdout_fd, false, &wasi->out);
  wasi->fds[2] = stream(o->stderr_fd, false, &wasi->error_out);
  for (size_t i = 0; i < o->n_preopens; i++)
    if (!open_preopen(wasi, &o->preopens[i], err)) return false;
  return true;
}

/* --- closing, moving, preopened directories ----------------------------------------------------------------------- */

enum wasi_errno wasi_do_fd_close(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, 0, &e);
  if (!f) return e;
  wasi_fd_close(f);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_renumber(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *from = wasi_fd(c, c->v[0].i32, 0, &e);
  struct wasi_fd *to = from ? wasi_fd(c, c->v[1].i32, 0, &e) : NULL;
  if (!to) return e;
  if (from == to) return WASI_ESUCCESS;
  wasi_fd_close(to);
  *to = *from;
  *from = (struct wasi_fd){0};
  return WASI_ESUCCESS;
}

static struct wasi_fd *preopen(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, 0, &e);
  return f && f->preopen ? f : NULL;
}

enum wasi_errno wasi_do_fd_prestat_get(struct wasi_call *c) {
  struct wasi_fd *f = preopen(c);
  if (!f) return WASI_EBADF; /* this is how programs find the end of the list */
  uint8_t *out = wasi_guest(c, c->v[1].i32, 8);
  if (!out) return WASI_EFAULT;
  put_u32(out, 0); /* a directory */
  put_u32(out + 4, (uint32_t)strlen(f->preopen));
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_prestat_dir_name(struct wasi_call *c) {
  struct wasi_fd *f = preopen(c);
  if (!f) return WASI_EBADF;
  size_t size = strlen(f->preopen);
  if (c->v[2].u32 < size) return WASI_ENAMETOOLONG;
  void *out = wasi_guest(c, c->v[1].i32, size);
  if (!out) return WASI_EFAULT;
  if (wasi_charge(c, size)) memcpy(out, f->preopen, size);
  return WASI_ESUCCESS;
}

/* --- what a descriptor is ----------------------------------------------------------------------------------------- */

enum wasi_filetype wasi_filetype(mode_t mode) {
  switch (mode & S_IFMT) {
  case S_IFBLK: return FILETYPE_BLOCK;
  case S_IFCHR: return FILETYPE_CHARACTER;
  case S_IFDIR: return FILETYPE_DIRECTORY;
  case S_IFREG: return FILETYPE_REGULAR;
  case S_IFSOCK: return FILETYPE_SOCKET_STREAM;
  case S_IFLNK: return FILETYPE_SYMLINK;
  default: return FILETYPE_UNKNOWN;
  }
}

/* Buffers look like regular files: to a C library a reason to write in large pieces. */
static bool fd_stat(const struct wasi *wasi, const struct wasi_fd *f, struct stat *st) {
  if (f->kind != FD_INPUT && f->kind != FD_OUTPUT) return !fstat(f->host, st);
  *st = (struct stat){.st_mode = S_IFREG, .st_nlink = 1};
  st->st_size = (off_t)(f->kind == FD_INPUT ? wasi->input_size : f->output->size);
  return true;
}

enum wasi_errno wasi_do_fd_fdstat_get(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, 0, &e);
  if (!f) return e;
  uint8_t *out = wasi_guest(c, c->v[1].i32, 24);
  if (!out) return WASI_EFAULT;
  struct stat st;
  if (!fd_stat(c->wasi, f, &st)) return wasi_host_errno(errno);
  memset(out, 0, 24);
  out[0] = (uint8_t)wasi_filetype(st.st_mode);
  put_u16(out + 2, f->flags);
  put_u64(out + 8, f->rights);
  put_u64(out + 16, f->inheriting);
  return WASI_ESUCCESS;
}

/* The flags are the guest's own: the host's open file may be shared with other processes. */
enum wasi_errno wasi_do_fd_fdstat_set_flags(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, WASI_RIGHT_FD_FDSTAT_SET_FLAGS, &e);
  if (!f) return e;
  if (c->v[1].u32 & ~(uint32_t)(FDFLAG_APPEND | FDFLAG_NONBLOCK)) return WASI_ENOTSUP;
  f->flags = (uint16_t)c->v[1].u32;
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_fdstat_set_rights(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, 0, &e);
  if (!f) return e;
  if ((c->v[1].u64 & ~(uint64_t)f->rights) || (c->v[2].u64 & ~(uint64_t)f->inheriting)) return WASI_ENOTCAPABLE;
  f->rights = (uint32_t)c->v[1].u64;
  f->inheriting = (uint32_t)c->v[2].u64;
  return WASI_ESUCCESS;
}

static uint64_t time_ns(struct timespec t) { return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec; }

enum wasi_errno wasi_put_filestat(struct wasi_call *c, int32_t ptr, const struct stat *st) {
  size_t size = c->is_unstable ? 56 : 64, tail = c->is_unstable ? 24 : 32; /* nlink was 4 bytes */
  uint8_t *out = wasi_guest(c, ptr, size);
  if (!out) return WASI_EFAULT;
  memset(out, 0, size);
  put_u64(out, st->st_dev);
  put_u64(out + 8, st->st_ino);
  out[16] = (uint8_t)wasi_filetype(st->st_mode);
  if (c->is_unstable)
    put_u32(out + 20, (uint32_t)st->st_nlink);
  else
    put_u64(out + 24, st->st_nlink);
  put_u64(out + tail, (uint64_t)st->st_size);
  put_u64(out + tail + 8, time_ns(st->st_atim));
  put_u64(out + tail + 16, time_ns(st->st_mtim));
  put_u64(out + tail + 24, time_ns(st->st_ctim));
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_filestat_get(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, WASI_RIGHT_FD_FILESTAT_GET, &e);
  if (!f) return e;
  struct stat st;
  if (!fd_stat(c->wasi, f, &st)) return wasi_host_errno(errno);
  return wasi_put_filestat(c, c->v[1].i32, &st);
}

/* --- advice, syncing, and what is refused ------------------------------------------------------------------------- */

enum wasi_errno wasi_do_fd_advise(struct wasi_call *c) {
  enum wasi_errno e;
  if (!wasi_fd(c, c->v[0].i32, WASI_RIGHT_FD_ADVISE, &e)) return e;
  return c->v[3].u32 <= 5 ? WASI_ESUCCESS : WASI_EINVAL;
}

/* Nothing the guest can write has to reach a disk. */
enum wasi_errno wasi_do_fd_sync(struct wasi_call *c) {
  enum wasi_errno e;
  return wasi_fd(c, c->v[0].i32, 0, &e) ? WASI_ESUCCESS : e;
}

static enum wasi_errno refuse(struct wasi_call *c, int32_t fd, enum wasi_errno why) {
  enum wasi_errno e;
  return wasi_fd(c, fd, 0, &e) ? why : e;
}

enum wasi_errno wasi_do_refuse_fd(struct wasi_call *c) { return refuse(c, c->v[0].i32, WASI_EROFS); }
enum wasi_errno wasi_do_refuse_path(struct wasi_call *c) { return refuse(c, c->v[0].i32, WASI_EROFS); }
enum wasi_errno wasi_do_path_symlink(struct wasi_call *c) { return refuse(c, c->v[2].i32, WASI_EROFS); }
enum wasi_errno wasi_do_refuse_sock(struct wasi_call *c) { return refuse(c, c->v[0].i32, WASI_ENOTSUP); }
