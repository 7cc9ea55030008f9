/* WASI: reading, writing, seeking. Every byte moved costs gas: before it moves where the number is known,
 * and right after where only the host's answer tells it (then only the guest's own memory has changed). */
#define _GNU_SOURCE /* pwritev2 */
#include "runtime/host/wasi/private.h"

#include "instrument/schedule.h"
#include "runtime/host_api.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* --- vectors ------------------------------------------------------------------------------------------------------ */

/* The system takes longer for many pieces than for one. */
static bool charge_pieces(struct wasi_call *c, int pieces) {
  enum { PER_CALL = 8 };
  bool is_ours = c->f->kind == FD_FILE || c->f->kind == FD_SOCKET;
  return !is_ours || wasi_charge_for(c, COST_HOST_SYSTEM_CALL, (uint64_t)pieces / PER_CALL);
}

enum wasi_errno wasi_vector_get(struct wasi_call *c, int32_t ptr, uint32_t count, struct wasi_vector *out) {
  out->n = 0;
  out->size = 0;
  if (count > WASI_MAX_VECTORS) return WASI_EINVAL;
  const uint8_t *p = wasi_guest(c, ptr, (uint64_t)count * 8);
  if (!p) return WASI_EFAULT;
  if (!wasi_charge_for(c, COST_HOST_ITEM, count)) return WASI_TRAPPED;
  for (uint32_t i = 0; i < count && out->n < WASI_MAX_IOVECS; i++, p += 8) {
    uint32_t size = get_u32(p + 4);
    if (!size) continue;
    void *base = wasi_guest(c, (int32_t)get_u32(p), size);
    if (!base) return WASI_EFAULT;
    out->at[out->n++] = (struct iovec){base, size};
    out->size += size;
  }
  if (out->size > UINT32_MAX) return WASI_EINVAL;
  return charge_pieces(c, out->n) ? WASI_ESUCCESS : WASI_TRAPPED;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static enum wasi_errno read_input(struct wasi_call *c, const struct wasi_vector *v, uint64_t offset, uint32_t *n) {
  struct wasi *w = c->wasi;
  if (offset >= w->input_size) return WASI_ESUCCESS;
  uint64_t left = w->input_size - offset;
  if (!wasi_charge(c, left < v->size ? left : v->size)) return WASI_TRAPPED;
  for (int i = 0; i < v->n && left; i++) {
    size_t size = v->at[i].iov_len < left ? v->at[i].iov_len : left;
    memcpy(v->at[i].iov_base, w->input + offset + *n, size);
    *n += (uint32_t)size;
    left -= size;
  }
  return WASI_ESUCCESS;
}

bool wasi_would_block(const struct wasi_fd *f, short events) {
  struct pollfd p = {.fd = f->host, .events = events};
  return (f->flags & FDFLAG_NONBLOCK) && poll(&p, 1, 0) == 0;
}

/* What is left of the vector behind `n` bytes. */
static void advance(struct wasi_vector *v, size_t n) {
  int skipped = 0;
  for (; skipped < v->n && n >= v->at[skipped].iov_len; skipped++) n -= v->at[skipped].iov_len;
  v->n -= skipped;
  memmove(v->at, v->at + skipped, (size_t)v->n * sizeof *v->at);
  if (v->n) v->at[0] = (struct iovec){(char *)v->at[0].iov_base + n, v->at[0].iov_len - n};
}

enum { READ_PIECE = 128 << 10 };

/* The part of the vector that one system call reads, in `piece`; returns its bytes. */
static size_t cut(const struct wasi_vector *v, struct wasi_vector *piece) {
  size_t size = 0;
  for (piece->n = 0; piece->n < v->n && size < READ_PIECE; piece->n++) {
    struct iovec part = v->at[piece->n];
    if (part.iov_len > READ_PIECE - size) part.iov_len = READ_PIECE - size;
    piece->at[piece->n] = part;
    size += part.iov_len;
  }
  return size;
}

/* Parts of a vector may be the same memory, so a guest of any size can ask for 4 GiB at once. Each piece is paid for when it is
 * there, and others may run before the next. What an error leaves unread is told by the next call. */
static enum wasi_errno read_file(struct wasi_call *c, struct wasi_vector *v, const uint64_t *offset, uint32_t *n) {
  const uint64_t price = gw_instance_schedule(c->caller)->gas[COST_HOST_BYTE];
  while (v->n) {
    struct wasi_vector piece;
    size_t size = cut(v, &piece);
    ssize_t got;
    do got = offset ? preadv(c->f->host, piece.at, piece.n, (off_t)(*offset + *n)) : readv(c->f->host, piece.at, piece.n);
    while (got < 0 && errno == EINTR);
    if (got < 0) return *n ? WASI_ESUCCESS : wasi_host_errno(errno);
    *n += (uint32_t)got;
    host_api_charge_piece(c->caller, HOST_GAS_BYTES, (uint64_t)got * price);
    if ((size_t)got < size) break;
    advance(v, (size_t)got);
  }
  return WASI_ESUCCESS;
}

/* How many bytes a pipe gives at a time depends on the other end: a deterministic guest gets all it asked for, or the end. */
static enum wasi_errno read_stream(struct wasi_call *c, struct wasi_vector *v, const uint64_t *offset, uint32_t *n) {
  const struct wasi_fd *f = c->f;
  bool wants_all = f->kind == FD_STREAM && c->wasi->deterministic;
  if (v->n && !wants_all && wasi_would_block(f, POLLIN)) return WASI_EAGAIN;
  ssize_t got = 1;
  for (bool is_first = true; v->n && got > 0 && (is_first || wants_all); is_first = false) {
    do got = offset ? preadv(f->host, v->at, v->n, (off_t)*offset) : readv(f->host, v->at, v->n);
    while (got < 0 && errno == EINTR);
    if (got < 0) return wasi_host_errno(errno);
    *n += (uint32_t)got;
    advance(v, (size_t)got);
  }
  return wasi_charge(c, *n) ? WASI_ESUCCESS : WASI_TRAPPED;
}

static enum wasi_errno host_read(struct wasi_call *c, struct wasi_vector *v, const uint64_t *offset, uint32_t *n) {
  return c->f->kind == FD_FILE ? read_file(c, v, offset, n) : read_stream(c, v, offset, n);
}

/* `offset` NULL: at the descriptor's own position, which moves on. */
static enum wasi_errno do_read(struct wasi_call *c, const uint64_t *offset, int32_t n_ptr) {
  struct wasi *w = c->wasi;
  if (offset && *offset > INT64_MAX) return WASI_EINVAL;
  uint8_t *n_out = wasi_guest(c, n_ptr, 4);
  if (!n_out) return WASI_EFAULT;
  struct wasi_vector v;
  uint32_t n = 0;
  enum wasi_errno e = wasi_vector_get(c, c->v[1].i32, c->v[2].u32, &v);
  if (e) return e;
  e = c->f->kind == FD_INPUT ? read_input(c, &v, offset ? *offset : w->input_offset, &n) : c->f->ops->read(c, &v, offset, &n);
  if (e) return e;
  if (c->f->kind == FD_INPUT && !offset) w->input_offset += n;
  put_u32(n_out, n);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_fd_read(struct wasi_call *c) { return do_read(c, NULL, c->v[3].i32); }
enum wasi_errno wasi_do_fd_pread(struct wasi_call *c) { return do_read(c, &c->v[3].u64, c->v[4].i32); }

/* --- writing ------------------------------------------------------------------------------------------------------ */

static enum wasi_errno write_buffer(struct wasi *w, struct buffer *out, const struct wasi_vector *v) {
  if (v->size > w->output_limit || out->size > w->output_limit - v->size) {
    w->was_cut |= out == &w->out;
    return WASI_EFBIG;
  }
  for (int i = 0; i < v->n; i++) buffer_append(out, v->at[i].iov_base, v->at[i].iov_len);
  return WASI_ESUCCESS;
}

/* Flags go with each write instead of into the open file, so that fd_fdstat_set_flags can change them all, and a write at an
 * offset goes there even when others are appended. */
static int write_flags(const struct wasi_fd *f, bool is_at_offset) {
  int flags = f->flags & FDFLAG_APPEND && !is_at_offset ? RWF_APPEND : 0;
  if (f->flags & FDFLAG_DSYNC) flags |= RWF_DSYNC;
  if (f->flags & (FDFLAG_SYNC | FDFLAG_RSYNC)) flags |= RWF_SYNC;
  return flags;
}

static enum wasi_errno host_write(struct wasi_call *c, const struct wasi_vector *v, const uint64_t *at, uint32_t *n) {
  const struct wasi_fd *f = c->f;
  off_t offset = at ? (off_t)*at : -1; /* -1: at the file's own position */
  *n = 0;
  if (!v->n) return WASI_ESUCCESS;
  if (wasi_would_block(f, POLLOUT)) return WASI_EAGAIN;
  ssize_t put;
  do
    put = f->kind == FD_FILE || offset >= 0 ? pwritev2(f->host, v->at, v->n, offset, write_flags(f, offset >= 0))
                                            : writev(f->host, v->at, v->n);
  while (put < 0 && errno == EINTR);
  if (put < 0) return wasi_host_errno(errno);
  *n = (uint32_t)put;
  return WASI_ESUCCESS;
}

static enum wasi_errno do_write(struct wasi_call *c, const uint64_t *offset, int32_t n_ptr) {
  uint8_t *n_out = wasi_guest(c, n_ptr, 4);
  if (!n_out) return WASI_EFAULT;
  struct wasi_vector v;
  enum wasi_errno e = wasi_vector_get(c, c->v[1].i32, c->v[2].u32, &v);
  if (e) return e;
  if (!wasi_charge(c, v.size)) return WASI_TRAPPED;
  uint32_t n = (uint32_t)v.size;
  e = c->f->kind == FD_OUTPUT ? write_buffer(c->wasi, c->f->output, &v) : c->f->ops->write(c, &v, offset, &n);
  if (!e) put_u32(n_out, n);
  return e;
}

enum wasi_errno wasi_do_fd_write(struct wasi_call *c) { return do_write(c, NULL, c->v[3].i32); }

enum wasi_errno wasi_do_fd_pwrite(struct wasi_call *c) {
  return c->v[3].u64 > INT64_MAX ? WASI_EINVAL : do_write(c, &c->v[3].u64, c->v[4].i32);
}

/* --- seeking ------------------------------------------------------------------------------------------------------ */

static enum wasi_errno seek_input(struct wasi *w, int64_t delta, uint32_t whence, uint64_t *at) {
  const int64_t from[] = {0, (int64_t)w->input_offset, (int64_t)w->input_size};
  int64_t to;
  if (__builtin_add_overflow(from[whence], delta, &to) || to < 0) return WASI_EINVAL;
  *at = w->input_offset = (uint64_t)to;
  return WASI_ESUCCESS;
}

static enum wasi_errno host_seek(struct wasi_call *c, int64_t delta, uint32_t whence, uint64_t *at) {
  static const int host_whence[] = {SEEK_SET, SEEK_CUR, SEEK_END};
  off_t to = lseek(c->f->host, delta, host_whence[whence]);
  if (to < 0) return wasi_host_errno(errno);
  *at = (uint64_t)to;
  return WASI_ESUCCESS;
}

static enum wasi_errno seek(struct wasi_call *c, struct wasi_fd *f, int64_t delta, uint32_t whence, int32_t out_ptr) {
  if (whence > SEEK_FROM_END) return WASI_EINVAL;
  uint8_t *out = wasi_guest(c, out_ptr, 8);
  if (!out) return WASI_EFAULT;
  uint64_t at = 0;
  enum wasi_errno e = f->kind == FD_INPUT ? seek_input(c->wasi, delta, whence, &at) : f->ops->seek(c, delta, whence, &at);
  if (!e) put_u64(out, at);
  return e;
}

enum wasi_errno wasi_do_fd_seek(struct wasi_call *c) {
  uint32_t whence = c->v[2].u32;
  if (c->is_unstable && whence <= SEEK_FROM_END) whence = (whence + 1) % 3; /* there: here, end, start */
  return seek(c, c->f, c->v[1].i64, whence, c->v[3].i32);
}

enum wasi_errno wasi_do_fd_tell(struct wasi_call *c) { return seek(c, c->f, 0, SEEK_FROM_HERE, c->v[1].i32); }

/* --- the host's files --------------------------------------------------------------------------------------------- */

const struct wasi_ops wasi_host_ops = {.read = host_read,
                                       .write = host_write,
                                       .seek = host_seek,
                                       .set_size = wasi_host_set_size,
                                       .allocate = wasi_host_allocate,
                                       .set_times = wasi_host_set_times,
                                       .sync = wasi_host_sync,
                                       .stat = wasi_host_stat};
