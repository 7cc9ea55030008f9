/* WASI: poll_oneoff, which is also how programs sleep.
 *
 * On a command line the call waits as long as it is asked to. Where the standard input is a buffer the program runs on a server's
 * event loop, which must not wait: a sleep ends at once there, and a program that insists on the clock pays for its turns in gas.
 * To a deterministic guest every descriptor is ready, and a sleep moves its own clock. */
#define _GNU_SOURCE /* ppoll */
#include "runtime/host/wasi/private.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { EVENT_CLOCK, EVENT_READ, EVENT_WRITE };
enum { ABSTIME = 1, HANGUP = 1, EVENT_SIZE = 32, MAX_SUBSCRIPTIONS = 1024 };

struct subscription {
  uint64_t userdata;
  uint8_t type;
  enum wasi_errno error; /* known without waiting */
  bool is_ready, has_hung_up;
  uint64_t wait_ns;        /* EVENT_CLOCK: from now */
  const struct wasi_fd *f; /* the others */
};

/* Offsets in the guest's struct; the old one had an identifier before the clock's number. */
static void get_clock(struct wasi_call *c, const uint8_t *p, struct subscription *s) {
  const uint8_t *clock = p + (c->is_unstable ? 24 : 16);
  uint64_t timeout = get_u64(clock + 8), now;
  if (!wasi_clock_now(c->wasi, get_u32(clock), &now) || (clock[24] & ~ABSTIME) || clock[25]) {
    s->error = WASI_EINVAL;
    s->is_ready = true;
    return;
  }
  if (clock[24] & ABSTIME) {
    if (!c->wasi->deterministic) gw_instance_unrepeatable(c->caller);
    timeout = timeout > now ? timeout - now : 0;
  }
  s->wait_ns = c->wasi->may_wait || c->wasi->deterministic ? timeout : 0;
}

/* Buffers and files never make anyone wait. */
static void get_fd(struct wasi_call *c, const uint8_t *p, struct subscription *s) {
  s->f = wasi_fd(c, (int32_t)get_u32(p + 16), NEEDS_ANY, WASI_RIGHT_POLL_FD_READWRITE, &s->error);
  s->is_ready = !s->f || !(s->f->kind == FD_STREAM || s->f->kind == FD_SOCKET) || c->wasi->deterministic;
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

/* What one may ask the system for: a clock of CPU time, or how much there is to read. */
static uint64_t calls_for(const struct wasi_call *c, const uint8_t *p) {
  enum { DESCRIPTOR_CALLS = 2 };
  if (p[8] == EVENT_CLOCK) return wasi_clock_calls(get_u32(p + (c->is_unstable ? 24 : 16)));
  return p[8] <= EVENT_WRITE ? DESCRIPTOR_CALLS : 0;
}

static bool charge_subscriptions(struct wasi_call *c, const uint8_t *in, uint64_t item_size, uint32_t n) {
  if (!wasi_charge(c, n * item_size) || !wasi_charge_for(c, COST_HOST_ITEM, n)) return false;
  uint64_t calls = 0;
  for (uint32_t i = 0; i < n; i++) calls += calls_for(c, in + i * item_size);
  return wasi_charge_for(c, COST_HOST_SYSTEM_CALL, calls);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

/* How long until the first of them is known to be over; UINT64_MAX: only a descriptor can end it. */
static uint64_t shortest_wait(const struct subscription *s, uint32_t n) {
  uint64_t wait_ns = UINT64_MAX;
  for (uint32_t i = 0; i < n; i++) {
    uint64_t w = s[i].is_ready ? 0 : s[i].type == EVENT_CLOCK ? s[i].wait_ns : UINT64_MAX;
    if (w < wait_ns) wait_ns = w;
  }
  return wait_ns;
}

static void mark_clocks(struct subscription *s, uint32_t n, uint64_t waited_ns) {
  for (uint32_t i = 0; i < n; i++)
    if (s[i].type == EVENT_CLOCK && !s[i].error) s[i].is_ready = s[i].wait_ns <= waited_ns;
}

/* poll(2) for at most wait_ns; a signal only makes it look at the time. */
static int poll_for(struct pollfd *fds, uint32_t n, uint64_t wait_ns) {
  uint64_t start = clock_ns(CLOCK_MONOTONIC);
  for (;;) {
    uint64_t waited = clock_ns(CLOCK_MONOTONIC) - start, left = waited < wait_ns ? wait_ns - waited : 0;
    struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    int rc = ppoll(fds, n, wait_ns == UINT64_MAX ? NULL : &timeout, NULL);
    if (rc >= 0 || errno != EINTR) return rc;
  }
}

/* Waits for the first of them and marks those that are ready. */
static enum wasi_errno wait_for(struct subscription *s, struct pollfd *fds, uint32_t n) {
  uint64_t wait_ns = shortest_wait(s, n);
  for (uint32_t i = 0; i < n; i++) {
    bool is_polled = s[i].type != EVENT_CLOCK && !s[i].is_ready;
    fds[i] = (struct pollfd){.fd = is_polled ? s[i].f->host : -1, .events = s[i].type == EVENT_READ ? POLLIN : POLLOUT};
  }
  int rc = poll_for(fds, n, wait_ns);
  if (rc < 0) return wasi_host_errno(errno);
  mark_clocks(s, n, rc ? 0 : wait_ns);
  for (uint32_t i = 0; i < n; i++) {
    if (fds[i].fd < 0) continue;
    s[i].is_ready = fds[i].revents != 0;
    s[i].has_hung_up = fds[i].revents & POLLHUP;
    if (fds[i].revents & POLLNVAL) s[i].error = WASI_EBADF;
  }
  return WASI_ESUCCESS;
}

static void wait_virtually(struct wasi *w, struct subscription *s, uint32_t n) {
  uint64_t wait_ns = shortest_wait(s, n);
  if (wait_ns == UINT64_MAX) wait_ns = UINT64_MAX - w->elapsed_ns;
  if (__builtin_add_overflow(w->elapsed_ns, wait_ns, &w->elapsed_ns)) w->elapsed_ns = UINT64_MAX;
  mark_clocks(s, n, wait_ns);
}

/* --- answering ---------------------------------------------------------------------------------------------------- */

static uint64_t bytes_ready(const struct wasi *w, const struct subscription *s) {
  if (s->type != EVENT_READ) return 1; /* the interface has no "unknown" */
  if (s->f->kind == FD_INPUT) return w->input_offset < w->input_size ? w->input_size - w->input_offset : 0;
  if (s->f->kind == FD_OUTPUT || w->deterministic) return 1;
  if (s->f->kind == FD_FILE) {
    struct stat st;
    if (s->f->ops == &wasi_state_ops)
      return !s->f->ops->stat(s->f, &st) && s->f->position < (uint64_t)st.st_size ? (uint64_t)st.st_size - s->f->position : 0;
    off_t at = lseek(s->f->host, 0, SEEK_CUR);
    return !fstat(s->f->host, &st) && at >= 0 && at < st.st_size ? (uint64_t)(st.st_size - at) : 0;
  }
  int n = 1;
  return ioctl(s->f->host, FIONREAD, &n) || n < 0 ? 1 : (uint64_t)n;
}

static void put_event(const struct wasi *w, uint8_t *out, const struct subscription *s) {
  memset(out, 0, EVENT_SIZE);
  put_u64(out, s->userdata);
  put_u16(out + 8, (uint16_t)s->error);
  out[10] = s->type;
  if (s->type == EVENT_CLOCK || s->error) return;
  put_u64(out + 16, bytes_ready(w, s));
  put_u16(out + 24, s->has_hung_up ? HANGUP : 0);
}

static enum wasi_errno poll_all(struct wasi_call *c, const uint8_t *in, size_t item_size, uint32_t n, struct subscription *s,
                                struct pollfd *fds) {
  for (uint32_t i = 0; i < n; i++) get_subscription(c, in + i * item_size, &s[i]);
  if (!c->wasi->deterministic) return wait_for(s, fds, n);
  wait_virtually(c->wasi, s, n);
  return WASI_ESUCCESS;
}

enum wasi_errno wasi_do_poll_oneoff(struct wasi_call *c) {
  uint32_t n = c->v[2].u32, events = 0;
  uint64_t item_size = c->is_unstable ? 56 : 48;
  if (!n || n > MAX_SUBSCRIPTIONS) return WASI_EINVAL;
  const uint8_t *in = wasi_guest(c, c->v[0].i32, n * item_size);
  uint8_t *out = wasi_guest(c, c->v[1].i32, (uint64_t)n * EVENT_SIZE), *n_out = wasi_guest(c, c->v[3].i32, 4);
  if (!in || !out || !n_out) return WASI_EFAULT;
  if (!charge_subscriptions(c, in, item_size, n)) return WASI_TRAPPED;
  struct subscription *s = malloc(n * sizeof *s);
  struct pollfd *fds = malloc(n * sizeof *fds);
  enum wasi_errno e = s && fds ? poll_all(c, in, item_size, n, s, fds) : WASI_ENOMEM;
  for (uint32_t i = 0; !e && i < n; i++)
    if (s[i].is_ready) put_event(c->wasi, out + EVENT_SIZE * (size_t)events++, &s[i]);
  if (!e) put_u32(n_out, events);
  free(s);
  free(fds);
  return e;
}
