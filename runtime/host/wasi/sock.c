/* WASI: sockets. There is no way to make one: they are standard streams that happen to be sockets (as inetd(8) starts programs),
 * and what these accept. */
#define _GNU_SOURCE /* accept4 */
#include "runtime/host/wasi/private.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RIFLAG_PEEK = 1, RIFLAG_WAITALL = 2, ROFLAG_TRUNCATED = 1, SDFLAG_RD = 1, SDFLAG_WR = 2 };

enum wasi_errno wasi_do_sock_accept(struct wasi_call *c) {
  uint8_t *out = wasi_guest(c, c->v[2].i32, 4);
  if (!out) return WASI_EFAULT;
  if (c->v[1].u32 & ~(uint32_t)FDFLAG_NONBLOCK) return WASI_EINVAL;
  if (wasi_would_block(c->f, POLLIN)) return WASI_EAGAIN;
  uint32_t fd = wasi_fd_take(c->wasi);
  if (fd == WASI_MAX_FDS) return WASI_EMFILE;
  int listening = c->wasi->fds[c->v[0].u32].host, host;
  do host = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
  while (host < 0 && errno == EINTR);
  if (host < 0) return wasi_host_errno(errno);
  struct wasi_fd connection = {
      .kind = FD_SOCKET, .ops = &wasi_host_ops, .host = host, .is_socket = true, .flags = (uint16_t)c->v[1].u32};
  connection.rights = wasi_stream_rights(true, true, true);
  c->wasi->fds[fd] = connection;
  put_u32(out, fd);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_sock_recv(struct wasi_call *c) {
  uint32_t flags = c->v[3].u32;
  uint8_t *n_out = wasi_guest(c, c->v[4].i32, 4), *flags_out = wasi_guest(c, c->v[5].i32, 2);
  if (!n_out || !flags_out) return WASI_EFAULT;
  if (flags & ~(uint32_t)(RIFLAG_PEEK | RIFLAG_WAITALL)) return WASI_EINVAL;
  struct wasi_vector v;
  enum wasi_errno e = wasi_vector_get(c, c->v[1].i32, c->v[2].u32, &v);
  if (e) return e;
  if (wasi_would_block(c->f, POLLIN)) return WASI_EAGAIN;
  struct msghdr message = {.msg_iov = v.at, .msg_iovlen = (size_t)v.n};
  int host_flags = (flags & RIFLAG_PEEK ? MSG_PEEK : 0) | (flags & RIFLAG_WAITALL ? MSG_WAITALL : 0);
  ssize_t got;
  do got = recvmsg(c->f->host, &message, host_flags);
  while (got < 0 && errno == EINTR);
  if (got < 0) return wasi_host_errno(errno);
  if (!wasi_charge(c, (uint64_t)got)) return WASI_TRAPPED;
  put_u32(n_out, (uint32_t)got);
  put_u16(flags_out, message.msg_flags & MSG_TRUNC ? ROFLAG_TRUNCATED : 0);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_sock_send(struct wasi_call *c) {
  uint8_t *n_out = wasi_guest(c, c->v[4].i32, 4);
  if (!n_out) return WASI_EFAULT;
  if (c->v[3].u32) return WASI_EINVAL; /* no flags are defined */
  struct wasi_vector v;
  enum wasi_errno e = wasi_vector_get(c, c->v[1].i32, c->v[2].u32, &v);
  if (e) return e;
  if (wasi_would_block(c->f, POLLOUT)) return WASI_EAGAIN;
  if (!wasi_charge(c, v.size)) return WASI_TRAPPED;
  struct msghdr message = {.msg_iov = v.at, .msg_iovlen = (size_t)v.n};
  ssize_t put;
  do put = sendmsg(c->f->host, &message, MSG_NOSIGNAL);
  while (put < 0 && errno == EINTR);
  if (put < 0) return wasi_host_errno(errno);
  put_u32(n_out, (uint32_t)put);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_sock_shutdown(struct wasi_call *c) {
  static const int hows[] = {[SDFLAG_RD] = SHUT_RD, [SDFLAG_WR] = SHUT_WR, [SDFLAG_RD | SDFLAG_WR] = SHUT_RDWR};
  uint32_t how = c->v[1].u32;
  if (!how || how > (SDFLAG_RD | SDFLAG_WR)) return WASI_EINVAL;
  return shutdown(c->f->host, hows[how]) ? wasi_host_errno(errno) : WASI_ESUCCESS;
}
