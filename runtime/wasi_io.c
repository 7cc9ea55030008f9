/* WASI: reading, writing, seeking, listing directories. Every byte moved costs gas: before it moves where the number is known,
 * and right after where only the host's answer tells it (then only the guest's own memory has changed). */
#include "runtime/wasi_private.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- vectors ------------------------------------------------------------------------------------------------------ */

struct vector {
  struct iovec at[WASI_MAX_IOVECS];
  int n;
  uint64_t size; /* of all together, at most UINT32_MAX */
};

/* The guest's iovecs as the host's. Empty ones are left out, or a long row of them would look like the end of the file. */
static enum wasi_errno vector_get(struct wasi_call *c, int32_t ptr, uint32_t count, struct vector *out) {
  out->n = 0;
  out->size = 0;
  if (count > 1024) return WASI_EINVAL;
  const uint8_t *p = wasi_guest(c, ptr, (uint64_t)count * 8);
  if (!p) return WASI_EFAULT;
  for (uint32_t i = 0; i < count && out->n < WASI_MAX_IOVECS; i++, p += 8) {
    uint32_t size = get_u32(p + 4);
    if (!size) continue;
    void *base = wasi_guest(c, (int32_t)get_u32(p), size);
    if (!base) return WASI_EFAULT;
    out->at[out->n++] = (struct iovec){base, size};
    out->size += size;
  }
  return out->size > UINT32_MAX ? WASI_EINVAL : WASI_ESUCCESS;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static enum wasi_errno read_input(struct wasi_call *c, const struct vector *v, uint64_t offset, uint32_t *n) {
  struct wasi *w = c->wasi;
  *n = 0;
  if (offset >= w->input_size) return WASI_ESUCCESS;
  uint64_t left = w->input_size - offset;
  if (!wasi_charge(c, left < v->size ? left : v->size)) return WASI_ESUCCESS;
  for (int i = 0; i < v->n && left; i++) {
    size_t size = v->at[i].iov_len < left ? v->at[i].iov_len : left;
    memcpy(v->at[i].iov_base, w->input + offset + *n, size);
    *n += (uint32_t)size;
    left -= size;
  }
  return WASI_ESUCCESS;
}

static bool would_block(const struct wasi_fd *f, short events) {
  struct pollfd p = {.fd = f->host, .events = events};
  return (f->flags & FDFLAG_NONBLOCK) && poll(&p, 1, 0) == 0;
}

static enum wasi_errno read_host(struct wasi_call *c, const struct wasi_fd *f, const struct vector *v, const uint64_t *offset,
                                 uint32_t *n) {
  if (!v->n) {
    *n = 0;
    return WASI_ESUCCESS;
  }
  if (would_block(f, POLLIN)) return WASI_EAGAIN;
  ssize_t got;
  do got = offset ? preadv(f->host, v->at, v->n, (off_t)*offset) : readv(f->host, v->at, v->n);
  while (got < 0 && errno == EINTR);
  if (got < 0) return wasi_host_errno(errno);
  *n = (uint32_t)got;
  wasi_charge(c, *n);
  return WASI_ESUCCESS;
}

/* `offset` NULL: at the descriptor's own position, which moves on. */
static enum wasi_errno do_read(struct wasi_call *c, const uint64_t *offset, int32_t n_ptr) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, 0, &e);
  if (!f) return e;
  if (f->kind == FD_DIR) return WASI_EISDIR;
  f = wasi_fd(c, c->v[0].i32, WASI_RIGHT_FD_READ | (offset ? WASI_RIGHT_FD_SEEK : 0), &e);
  if (!f) return e;
  if (offset && *offset > INT64_MAX) return WASI_EINVAL;
  uint8_t *n_out = wasi_guest(c, n_ptr, 4);
  if (!n_out) return WASI_EFAULT;
  struct vector v;
  uint32_t n = 0;
  e = vector_get(c, c->v[1].i32, c->v[2].u32, &v);
  if (e) return e;
  if (f->kind == FD_INPUT)
    e = read_input(c, &v, offset ? *offset : c->wasi->input_offset, &n);
  else
    e = read_host(c, f, &v, offset, &n);
  if (e) return e;
  if (f->kind == FD_INPUT && !offset) c->wasi->input_offset += n;
  put_u32(n_out, n);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_read(struct wasi_call *c) { return do_read(c, NULL, c->v[3].i32); }
enum wasi_errno wasi_do_fd_pread(struct wasi_call *c) { return do_read(c, &c->v[3].u64, c->v[4].i32); }

/* --- writing ------------------------------------------------------------------------------------------------------ */

static enum wasi_errno write_buffer(const struct wasi *w, struct buffer *out, const struct vector *v) {
  if (v->size > w->output_limit || out->size > w->output_limit - v->size) return WASI_EFBIG;
  for (int i = 0; i < v->n; i++) buffer_append(out, v->at[i].iov_base, v->at[i].iov_len);
  return WASI_ESUCCESS;
}

static enum wasi_errno write_host(const struct wasi_fd *f, const struct vector *v, uint32_t *n) {
  *n = 0;
  if (!v->n) return WASI_ESUCCESS;
  if (would_block(f, POLLOUT)) return WASI_EAGAIN;
  ssize_t put;
  do put = writev(f->host, v->at, v->n);
  while (put < 0 && errno == EINTR);
  if (put < 0) return wasi_host_errno(errno);
  *n = (uint32_t)put;
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_write(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, WASI_RIGHT_FD_WRITE, &e);
  if (!f) return e;
  uint8_t *n_out = wasi_guest(c, c->v[3].i32, 4);
  if (!n_out) return WASI_EFAULT;
  struct vector v;
  e = vector_get(c, c->v[1].i32, c->v[2].u32, &v);
  if (e) return e;
  if (!wasi_charge(c, v.size)) return WASI_ESUCCESS;
  uint32_t n = (uint32_t)v.size;
  e = f->kind == FD_OUTPUT ? write_buffer(c->wasi, f->output, &v) : write_host(f, &v, &n);
  if (!e) put_u32(n_out, n);
  return e;
}

/* --- seeking ------------------------------------------------------------------------------------------------------ */

enum { SEEK_TO_START, SEEK_FROM_HERE, SEEK_FROM_END };

static enum wasi_errno seek_input(struct wasi *w, int64_t delta, uint32_t whence, uint64_t *at) {
  const int64_t from[] = {0, (int64_t)w->input_offset, (int64_t)w->input_size};
  int64_t to;
  if (__builtin_add_overflow(from[whence], delta, &to) || to < 0) return WASI_EINVAL;
  *at = w->input_offset = (uint64_t)to;
  return WASI_ESUCCESS;
}

static enum wasi_errno seek(struct wasi_call *c, struct wasi_fd *f, int64_t delta, uint32_t whence, int32_t out_ptr) {
  static const int host_whence[] = {SEEK_SET, SEEK_CUR, SEEK_END};
  if (whence > SEEK_FROM_END) return WASI_EINVAL;
  uint8_t *out = wasi_guest(c, out_ptr, 8);
  if (!out) return WASI_EFAULT;
  uint64_t at = 0;
  if (f->kind == FD_INPUT) {
    enum wasi_errno e = seek_input(c->wasi, delta, whence, &at);
    if (e) return e;
  } else {
    off_t to = lseek(f->host, delta, host_whence[whence]);
    if (to < 0) return wasi_host_errno(errno);
    at = (uint64_t)to;
  }
  put_u64(out, at);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_seek(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, WASI_RIGHT_FD_SEEK, &e);
  if (!f) return e;
  uint32_t whence = c->v[2].u32;
  if (c->is_unstable && whence <= SEEK_FROM_END) whence = (whence + 1) % 3; /* there: here, end, start */
  return seek(c, f, c->v[1].i64, whence, c->v[3].i32);
}

enum wasi_errno wasi_do_fd_tell(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, WASI_RIGHT_FD_TELL, &e);
  return f ? seek(c, f, 0, SEEK_FROM_HERE, c->v[1].i32) : e;
}

/* --- directories -------------------------------------------------------------------------------------------------- */

/* What getdents64(2) gives. */
struct host_dirent {
  uint64_t d_ino;
  int64_t d_off; /* where the next one begins: the cookie */
  unsigned short d_reclen;
  unsigned char d_type;
  char d_name[];
};

enum { DIRENT_SIZE = 24 };

/* One entry into [out, out + room), cut off where it ends; returns the bytes written. */
static size_t put_dirent(uint8_t *out, size_t room, const struct host_dirent *d) {
  uint8_t head[DIRENT_SIZE] = {0};
  size_t name_size = strlen(d->d_name);
  put_u64(head, (uint64_t)d->d_off);
  put_u64(head + 8, d->d_ino);
  put_u32(head + 16, (uint32_t)name_size);
  head[20] = (uint8_t)wasi_filetype(DTTOIF(d->d_type));
  size_t n_head = room < DIRENT_SIZE ? room : DIRENT_SIZE;
  memcpy(out, head, n_head);
  size_t n_name = room - n_head < name_size ? room - n_head : name_size;
  memcpy(out + n_head, d->d_name, n_name);
  return n_head + n_name;
}

/* Fills the guest's buffer; fewer bytes than it has room for mean the end of the directory. */
static enum wasi_errno list(const struct wasi_fd *f, uint64_t cookie, uint8_t *out, size_t room, size_t *used) {
  _Alignas(8) char entries[4096];
  *used = 0;
  if (lseek(f->host, (off_t)cookie, SEEK_SET) < 0) return wasi_host_errno(errno);
  while (*used < room) {
    long n = syscall(SYS_getdents64, f->host, entries, sizeof entries);
    if (n < 0) return wasi_host_errno(errno);
    if (n == 0) break;
    for (long at = 0; at < n && *used < room;) {
      const struct host_dirent *d = (const void *)(entries + at);
      *used += put_dirent(out + *used, room - *used, d);
      at += d->d_reclen;
    }
  }
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_readdir(struct wasi_call *c) {
  enum wasi_errno e;
  struct wasi_fd *f = wasi_fd(c, c->v[0].i32, WASI_RIGHT_FD_READDIR, &e);
  if (!f) return e;
  if (f->kind != FD_DIR) return WASI_ENOTDIR;
  uint8_t *out = wasi_guest(c, c->v[1].i32, c->v[2].u32), *used_out = wasi_guest(c, c->v[4].i32, 4);
  if (!out || !used_out) return WASI_EFAULT;
  size_t used;
  e = list(f, c->v[3].u64, out, c->v[2].u32, &used);
  if (e || !wasi_charge(c, used)) return e;
  put_u32(used_out, (uint32_t)used);
  return WASI_ESUCCESS;
}
