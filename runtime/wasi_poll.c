/* WASI: poll_oneoff, which is also how programs sleep.
 *
 * On a command line the call waits as long as it is asked to, at most an hour. Where the standard input is a buffer the program
 * runs on a server's event loop, which must not wait: a sleep ends at once there, and a program that insists on the
 * clock pays for its turns in gas. */
#define _GNU_SOURCE /* ppoll */
#include "runtime/wasi_private.h"

#include <errno.h>
#include <poll.h>

enum { EVENT_CLOCK, EVENT_READ, EVENT_WRITE };
enum { ABSTIME = 1, EVENT_SIZE = 32, MAX_SUBSCRIPTIONS = 64 };

static const uint64_t longest_wait_ns = 3600ull * 1000000000;

struct subscription {
  uint64_t userdata;
  uint8_t type;
  enum wasi_errno error; /* known without waiting */
  bool is_ready;
  uint64_t wait_ns;        /* EVENT_CLOCK: from now */
  const struct wasi_fd *f; /* the others */
};

/* Offsets in the guest's struct; the old one had an identifier before the clock's number. */
static void get_clock(struct wasi_call *c, const uint8_t *p, struct subscription *s) {
  const uint8_t *clock = p + (c->is_unstable ? 24 : 16);
  uint64_t timeout = get_u64(clock + 8), now;
  if (!wasi_clock_now(c->wasi, get_u32(clock), &now)) {
    s->error = WASI_EINVAL;
    s->is_ready = true;
    return;
  }
  if (clock[24] & ABSTIME) {
    if (!c->wasi->deterministic) gw_instance_unrepeatable(c->caller);
    timeout = timeout > now ? timeout - now : 0;
  }
  bool may_wait = c->wasi->may_wait && !c->wasi->deterministic;
  s->wait_ns = !may_wait ? 0 : timeout < longest_wait_ns ? timeout : longest_wait_ns;
}

/* Buffers and files never make anyone wait. */
static void get_fd(struct wasi_call *c, const uint8_t *p, struct subscription *s) {
  s->f = wasi_fd(c, (int32_t)get_u32(p + 16), WASI_RIGHT_POLL_FD_READWRITE, &s->error);
  s->is_ready = !s->f || s->f->kind != FD_STREAM;
}

static void get_subscription(struct wasi_call *c, const uint8_t *p, struct subscription *s) {
  *s = (struct subscription){.userdata = get_u64(p), .type = p[8]};
  if (s->type == EVENT_CLOCK) {
    get_clock(c, p, s);
  } else if (s->type <= EVENT_WRITE) {
    get_fd(c, p, s);
  } else {
    s->error = WASI_EINVAL;
    s->is_ready = true;
  }
}

/* Waits for the first of them and marks those that are ready. */
static enum wasi_errno wait_for(struct subscription *s, uint32_t n) {
  struct pollfd fds[MAX_SUBSCRIPTIONS];
  uint64_t wait_ns = UINT64_MAX;
  for (uint32_t i = 0; i < n; i++) {
    bool is_polled = s[i].type != EVENT_CLOCK && !s[i].is_ready;
    fds[i] = (struct pollfd){.fd = is_polled ? s[i].f->host : -1, .events = s[i].type == EVENT_READ ? POLLIN : POLLOUT};
    uint64_t w = s[i].is_ready ? 0 : is_polled ? UINT64_MAX : s[i].wait_ns;
    if (w < wait_ns) wait_ns = w;
  }
  struct timespec timeout = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
  int rc = ppoll(fds, n, wait_ns == UINT64_MAX ? NULL : &timeout, NULL);
  if (rc < 0) return wasi_host_errno(errno);
  for (uint32_t i = 0; i < n; i++) {
    if (fds[i].fd >= 0) s[i].is_ready = fds[i].revents != 0;
    if (s[i].type == EVENT_CLOCK && rc == 0 && s[i].wait_ns <= wait_ns) s[i].is_ready = true;
  }
  return WASI_ESUCCESS;
}

static uint64_t bytes_ready(const struct wasi *w, const struct subscription *s) {
  if (!s->f) return 0;
  if (s->f->kind == FD_INPUT && s->type == EVENT_READ)
    return w->input_offset < w->input_size ? w->input_size - w->input_offset : 0;
  return 1; /* the interface has no "unknown" */
}

static void put_event(const struct wasi *w, uint8_t *out, const struct subscription *s) {
  memset(out, 0, EVENT_SIZE);
  put_u64(out, s->userdata);
  put_u16(out + 8, (uint16_t)s->error);
  out[10] = s->type;
  if (s->type != EVENT_CLOCK) put_u64(out + 16, bytes_ready(w, s));
}

enum wasi_errno wasi_do_poll_oneoff(struct wasi_call *c) {
  uint32_t n = c->v[2].u32;
  uint64_t item_size = c->is_unstable ? 56 : 48;
  if (!n || n > MAX_SUBSCRIPTIONS) return WASI_EINVAL;
  const uint8_t *in = wasi_guest(c, c->v[0].i32, n * item_size);
  uint8_t *out = wasi_guest(c, c->v[1].i32, (uint64_t)n * EVENT_SIZE), *n_out = wasi_guest(c, c->v[3].i32, 4);
  if (!in || !out || !n_out) return WASI_EFAULT;
  if (!wasi_charge(c, n * item_size)) return WASI_ESUCCESS;
  struct subscription s[MAX_SUBSCRIPTIONS];
  for (uint32_t i = 0; i < n; i++) get_subscription(c, in + i * item_size, &s[i]);
  enum wasi_errno e = wait_for(s, n);
  if (e) return e;
  uint32_t events = 0;
  for (uint32_t i = 0; i < n; i++)
    if (s[i].is_ready) put_event(c->wasi, out + EVENT_SIZE * (size_t)events++, &s[i]);
  put_u32(n_out, events);
  return WASI_ESUCCESS;
}
