/* WASI: the table of descriptors. */
#define _GNU_SOURCE /* O_PATH */
#include "runtime/host/wasi/private.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* --- rights ------------------------------------------------------------------------------------------------------- */

static uint32_t rights_where(uint32_t files, uint32_t dirs, uint32_t writes) {
  enum { FILES = 1, DIRS = 2, BOTH = 3, SOCKETS = 0 };
  static const struct {
    uint32_t right, of, writes;
  } table[] = {
#define RIGHT(name, bit, of, writes) {WASI_RIGHT_##name, of, writes},
#include "runtime/host/wasi/right.def"
#undef RIGHT
  };
  uint32_t rights = 0, of = (files ? FILES : 0) | (dirs ? DIRS : 0);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if ((table[i].of & of) && table[i].writes >= writes) rights |= table[i].right;
  return rights;
}

uint32_t wasi_rights_of(enum wasi_fd_kind kind) { return rights_where(kind == FD_FILE, kind == FD_DIR, 0); }
uint32_t wasi_rights_to_write(void) { return rights_where(1, 1, 1); }

uint32_t wasi_stream_rights(bool reads, bool writes, bool is_socket) {
  uint32_t rights = WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_POLL_FD_READWRITE |
                    WASI_RIGHT_FD_SYNC | WASI_RIGHT_FD_DATASYNC;
  if (reads || is_socket) rights |= WASI_RIGHT_FD_READ;
  if (writes || is_socket) rights |= WASI_RIGHT_FD_WRITE;
  if (is_socket) rights |= WASI_RIGHT_SOCK_SHUTDOWN | WASI_RIGHT_SOCK_ACCEPT;
  return rights;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static enum wasi_errno check_kind(const struct wasi_fd *f, enum wasi_need need) {
  switch (need) {
  case NEEDS_ANY_W: return f->is_readonly ? WASI_EROFS : WASI_ESUCCESS;
  case NEEDS_FILE: return f->kind == FD_DIR ? WASI_EISDIR : WASI_ESUCCESS;
  case NEEDS_FILE_W: return f->kind == FD_DIR ? WASI_EISDIR : f->is_readonly ? WASI_EROFS : WASI_ESUCCESS;
  case NEEDS_DIR: return f->kind != FD_DIR ? WASI_ENOTDIR : WASI_ESUCCESS;
  case NEEDS_DIR_W: return f->kind != FD_DIR ? WASI_ENOTDIR : f->is_readonly ? WASI_EROFS : WASI_ESUCCESS;
  case NEEDS_SOCKET: return f->is_socket ? WASI_ESUCCESS : WASI_ENOTSOCK;
  case NEEDS_ANY: break;
  }
  return WASI_ESUCCESS;
}

struct wasi_fd *wasi_fd(struct wasi_call *c, int32_t fd, enum wasi_need need, uint32_t rights, enum wasi_errno *e) {
  struct wasi *w = c->wasi;
  bool is_open = (uint32_t)fd < w->n_fds && w->fds[fd].kind != FD_FREE;
  *e = is_open ? check_kind(&w->fds[fd], need) : WASI_EBADF;
  if (!*e && (w->fds[fd].rights & rights) != rights) *e = WASI_ENOTCAPABLE;
  return *e ? NULL : &w->fds[fd];
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
  if (f->ops == &wasi_host_ops && !f->is_borrowed) close(f->host);
  if (f->ops == &wasi_state_ops) wasi_state_close(f);
  wasi_listing_free(f->listing);
  *f = (struct wasi_fd){0};
}

void wasi_close_all(struct wasi *wasi) {
  for (uint32_t i = 0; i < wasi->n_fds; i++) wasi_fd_close(&wasi->fds[i]);
}

/* --- streams and preopened directories ---------------------------------------------------------------------------- */

/* Only what the host can seek may the guest seek: C libraries take a character device without the right to seek for a terminal. A
 * deterministic guest does not learn what a stream is. */
static struct wasi_fd host_stream(const struct wasi *wasi, int host, bool is_input) {
  struct wasi_fd f = {.kind = FD_STREAM, .ops = &wasi_host_ops, .host = host, .is_borrowed = true};
  struct stat st;
  bool is_known = fstat(host, &st) == 0;
  f.is_socket = is_known && S_ISSOCK(st.st_mode);
  f.rights = wasi_stream_rights(is_input, !is_input, f.is_socket);
  if (is_known && S_ISREG(st.st_mode) && !wasi->deterministic)
    f.rights |= WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL | WASI_RIGHT_FD_ADVISE;
  return f;
}

static struct wasi_fd input_stream(const struct wasi *wasi, int host) {
  if (host >= 0) return host_stream(wasi, host, true);
  struct wasi_fd f = {.kind = FD_INPUT, .rights = wasi_stream_rights(true, false, false)};
  f.rights |= WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL | WASI_RIGHT_FD_ADVISE;
  return f;
}

static struct wasi_fd output_stream(const struct wasi *wasi, int host, struct buffer *output) {
  if (host >= 0) return host_stream(wasi, host, false);
  return (struct wasi_fd){.kind = FD_OUTPUT, .rights = wasi_stream_rights(false, true, false), .output = output};
}

/* Nothing else keeps a guest inside: not where the kernel is too old, nor under a filter of system calls that lacks it. */
bool wasi_can_confine(int host, const char *path, struct gw_error *err) {
  int probe = wasi_open_beneath(host, ".", O_PATH | O_DIRECTORY, 0);
  if (probe < 0)
    return error_set(err, GW_ERROR_IO, "the program gets no directory %s: this system cannot keep it inside (openat2: %s)", path,
                     strerror(errno));
  close(probe);
  return true;
}

static bool open_preopen(struct wasi *wasi, const struct wasi_preopen *p, struct gw_error *err) {
  uint32_t fd = wasi_fd_take(wasi);
  if (fd == WASI_MAX_FDS) return error_set(err, GW_ERROR_USAGE, "too many directories for the guest");
  uint32_t lost = p->is_readonly ? wasi_rights_to_write() : 0;
  struct wasi_fd f = {.kind = FD_DIR, .ops = &wasi_host_ops, .dir = &wasi_host_dir, .host = p->host_fd};
  f.is_borrowed = !p->host_path;
  f.is_readonly = p->is_readonly;
  f.rights = wasi_rights_of(FD_DIR) & ~lost;
  f.inheriting = (wasi_rights_of(FD_DIR) | wasi_rights_of(FD_FILE)) & ~lost;
  if (p->host_path) f.host = open(p->host_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (f.host < 0) return error_set(err, GW_ERROR_IO, "cannot open the directory %s: %s", p->host_path, strerror(errno));
  f.preopen = wasi_keep_string(wasi, p->guest_path);
  wasi->fds[fd] = f;
  return !p->host_path || wasi_can_confine(f.host, p->host_path, err);
}

static bool open_state(struct wasi *wasi, struct gw_error *err) {
  uint32_t fd = wasi_fd_take(wasi);
  if (fd == WASI_MAX_FDS) return error_set(err, GW_ERROR_USAGE, "too many directories for the guest");
  struct wasi_fd f = wasi_state_root();
  if (!f.state) return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for descriptors");
  f.rights = wasi_rights_of(FD_DIR);
  f.inheriting = f.rights | wasi_rights_of(FD_FILE);
  f.preopen = wasi_keep_string(wasi, WASI_STATE_PATH);
  wasi->fds[fd] = f;
  return true;
}

bool wasi_open_all(struct wasi *wasi, const struct wasi_options *o, struct gw_error *err) {
  if (!wasi->n_fds && wasi_fd_take(wasi) == WASI_MAX_FDS)
    return error_set(err, GW_ERROR_OUT_OF_MEMORY, "no memory for descriptors");
  wasi->fds[0] = input_stream(wasi, o->stdin_fd);
  wasi->fds[1] = output_stream(wasi, o->stdout_fd, &wasi->out);
  wasi->fds[2] = output_stream(wasi, o->stderr_fd, &wasi->error_out);
  for (size_t i = 0; i < o->n_preopens; i++)
    if (!open_preopen(wasi, &o->preopens[i], err)) return false;
  return !o->has_state || open_state(wasi, err);
}

/* This is how programs find the directories, and the end of the list. */
enum wasi_errno wasi_do_fd_prestat_get(struct wasi_call *c) {
  if (!c->f->preopen) return WASI_EBADF;
  uint8_t *out = wasi_guest(c, c->v[1].i32, 8);
  if (!out) return WASI_EFAULT;
  put_u32(out, 0); /* a directory */
  put_u32(out + 4, (uint32_t)strlen(c->f->preopen));
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_prestat_dir_name(struct wasi_call *c) {
  if (!c->f->preopen) return WASI_EBADF;
  size_t size = strlen(c->f->preopen);
  if (c->v[2].u32 < size) return WASI_ENAMETOOLONG;
  void *out = wasi_guest(c, c->v[1].i32, size);
  if (!out) return WASI_EFAULT;
  if (!wasi_charge(c, size)) return WASI_TRAPPED;
  memcpy(out, c->f->preopen, size);
  return WASI_ESUCCESS;
}

/* --- closing, moving, flags and rights ---------------------------------------------------------------------------- */

enum wasi_errno wasi_do_fd_close(struct wasi_call *c) {
  wasi_fd_close(c->f);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_renumber(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *to = wasi_fd(c, c->v[1].i32, NEEDS_ANY, 0, &e);
  if (!to || to == c->f) return e;
  wasi_fd_close(to);
  *to = *c->f;
  *c->f = (struct wasi_fd){0};
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_fdstat_get(struct wasi_call *c) {
  uint8_t *out = wasi_guest(c, c->v[1].i32, 24);
  if (!out) return WASI_EFAULT;
  enum wasi_filetype type;
  enum wasi_errno e = wasi_fd_filetype(c->wasi, c->f, &type);
  if (e) return e;
  memset(out, 0, 24);
  out[0] = (uint8_t)type;
  put_u16(out + 2, c->f->flags);
  put_u64(out + 8, c->f->rights);
  put_u64(out + 16, c->f->inheriting);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_fdstat_set_flags(struct wasi_call *c) {
  if (c->v[1].u32 & ~(uint32_t)FDFLAGS_ALL) return WASI_EINVAL;
  c->f->flags = (uint16_t)c->v[1].u32;
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_fdstat_set_rights(struct wasi_call *c) {
  uint64_t rights = c->v[1].u64, inheriting = c->v[2].u64;
  if ((rights & ~(uint64_t)c->f->rights) || (inheriting & ~(uint64_t)c->f->inheriting)) return WASI_ENOTCAPABLE;
  c->f->rights = (uint32_t)rights;
  c->f->inheriting = (uint32_t)inheriting;
  return WASI_ESUCCESS;
}
