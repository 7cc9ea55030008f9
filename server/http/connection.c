/* The life of a connection.
 *
 * Bytes are parsed straight from the loop's read buffer. A request that can be answered at once leaves its reply in `out`, and
 * parsing goes on, so a batch of pipelined requests becomes one write. A request that takes longer (a slice was
 * not enough, a commit, a compilation) holds the connection in PHASE_BUSY: what arrives meanwhile waits in `in`, and beyond
 * IN_LIMIT the socket is not read. The same holds while the client does not take its replies.
 *
 * A turn is TURN_REQUESTS or TURN_NS: then the other connections of the loop get theirs, and what is left in `in` is parsed in
 * a later round of the loop, one connection's turn a round.
 *
 * The end of a client that is not read cannot be seen: it stands behind what was not read. So as long as one request runs the
 * limit grows a little with each tick, up to IN_MAX; who sends more behind a running request is disconnected.
 *
 * Memory: `has_request` means that a handler will call connection_replied later, whatever happened to the socket; the struct
 * is freed when the handle is closed and no handler has it. */
#define _GNU_SOURCE /* POLLRDHUP */
#include "server/http/reply.h"
#include "server/http/request.h"
#include "server/loop/share.h"
#include "server/server.h"

#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
  IN_LIMIT = 128 << 10,
  IN_STEP = 512 << 10,
  IN_MAX = 16 << 20,
  TURN_REQUESTS = 32,
  TURN_NS = 1000000,
  OUT_LIMIT = 256 << 10, /* pipelined replies are written when they exceed this */
  KEEP_CAPACITY = 64 << 10,
  BYTES_PER_SECOND = 1000, /* that a client must send of a body, or take of a reply */
  DRAIN_MS = 2000,
  DRAIN_LIMIT = 64 << 20,
  EOF_GRACE_MS = 1000, /* a client that closed its sending side may still want the reply */
};

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);
static void on_more(uv_idle_t *handle);

/* --- turns -------------------------------------------------------------------------------------------------------- */

static void wait_for_turn(struct connection *c) {
  struct loop *loop = c->loop;
  if (c->is_ready) return;
  c->is_ready = true;
  c->next_ready = NULL;
  if (loop->last_ready)
    loop->last_ready->next_ready = c;
  else
    loop->ready = c;
  loop->last_ready = c;
  if (!uv_is_active((uv_handle_t *)&loop->more)) uv_idle_start(&loop->more, on_more);
}

static void leave_turns(struct connection *c) {
  struct loop *loop = c->loop;
  struct connection *previous = NULL;
  if (!c->is_ready) return;
  for (struct connection *other = loop->ready; other != c; other = other->next_ready) previous = other;
  if (previous)
    previous->next_ready = c->next_ready;
  else
    loop->ready = c->next_ready;
  if (loop->last_ready == c) loop->last_ready = previous;
  c->is_ready = false;
}

/* The clock is looked at only where requests are pipelined. */
static bool turn_is_over(struct connection *c) {
  if (!c->n_replied) return false;
  if (c->n_replied >= TURN_REQUESTS) return true;
  uint64_t now = uv_hrtime();
  if (!c->turn_ends) c->turn_ends = now + TURN_NS;
  return now >= c->turn_ends;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static void forget_behind(struct connection *c) {
  c->loop->behind_bytes -= c->in_more;
  c->in_more = 0;
}

static void connection_free(struct connection *c) {
  struct loop *loop = c->loop;
  if (c->previous)
    c->previous->next = c->next;
  else
    loop->connections = c->next;
  if (c->next) c->next->previous = c->previous;
  loop->n_connections--;
  loop->n_of_address[c->exchange.caller % ADDRESS_BUCKETS]--;
  request_clear(c);
  loop->service->forget(&c->exchange);
  buffer_clear(&c->in);
  buffer_clear(&c->out);
  buffer_clear(&c->writing);
  free(c);
}

static void on_closed(uv_handle_t *handle) {
  struct connection *c = handle->data;
  c->is_closed = true;
  if (!c->has_request) connection_free(c);
}

static void connection_close(struct connection *c) {
  if (c->phase == PHASE_CLOSING) return;
  c->phase = PHASE_CLOSING;
  c->deadline = 0;
  leave_turns(c);
  forget_behind(c);
  uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void connection_abort(struct connection *c) {
  if (c->phase == PHASE_CLOSING) return;
  connection_close(c);
  if (c->has_request) c->loop->service->cancel(&c->exchange, false);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  struct connection *c = handle->data;
  (void)suggested;
  *buf = uv_buf_init(c->loop->read_buffer, READ_BUFFER_SIZE);
}

static struct connection *connection_create(struct loop *loop) {
  struct connection *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->loop = loop;
  uv_tcp_init(&loop->uv, &c->tcp);
  c->tcp.data = c;
  request_init(c);
  c->next = loop->connections;
  if (c->next) c->next->previous = c;
  loop->connections = c;
  loop->n_connections++;
  loop->n_of_address[c->exchange.caller % ADDRESS_BUCKETS]++;
  return c;
}

/* The part of the client's address that it cannot choose: all of IPv4, the network of IPv6. */
static uint64_t caller_of(const struct connection *c) {
  enum { NETWORK = 8 };
  struct sockaddr_storage address;
  int size = sizeof address;
  if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &size) != 0) return 0;
  if (address.ss_family == AF_INET6) return share_key(&((struct sockaddr_in6 *)&address)->sin6_addr, NETWORK);
  const struct in_addr *v4 = &((struct sockaddr_in *)&address)->sin_addr;
  return share_key(v4, sizeof *v4);
}

/* Whether its client may have it beside those that it and others have already. */
static bool may_stay(struct connection *c) {
  struct loop *loop = c->loop;
  loop->n_of_address[c->exchange.caller % ADDRESS_BUCKETS]--;
  c->exchange.caller = caller_of(c);
  uint32_t *own = &loop->n_of_address[c->exchange.caller % ADDRESS_BUCKETS];
  return share_allows((*own)++, loop->n_connections - 1, loop->options->max_connections);
}

static void begin_connection(struct connection *c, bool is_open) {
  struct loop *loop = c->loop;
  if (!is_open || loop->is_stopping) {
    connection_close(c);
    return;
  }
  uv_tcp_nodelay(&c->tcp, 1); /* fails where it is no TCP, which has no delay */
  c->deadline = loop_now(loop) + loop->options->header_timeout_ms;
  uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

void connection_accept(struct loop *loop) {
  struct connection *c = connection_create(loop);
  if (c) begin_connection(c, uv_accept((uv_stream_t *)&loop->listener, (uv_stream_t *)&c->tcp) == 0 && may_stay(c));
}

void connection_adopt(struct loop *loop, int fd) {
  struct connection *c = connection_create(loop);
  bool is_open = c && uv_tcp_open(&c->tcp, fd) == 0;
  if (!is_open) close(fd);
  if (c) begin_connection(c, is_open && loop->n_connections <= loop->options->max_connections);
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static void go_on(struct connection *c);

static void on_shutdown(uv_shutdown_t *request, int status) {
  (void)request;
  (void)status;
}

/* Everything queued is with the kernel. */
static void all_written(struct connection *c) {
  bool has_input = c->in.size > c->in_at;
  if (c->phase == PHASE_LAST && (c->is_rejected || has_input) && !c->has_eof) {
    /* closing now would reset the connection under the reply, because there is unread input */
    c->phase = PHASE_DRAINING;
    c->deadline = loop_now(c->loop) + DRAIN_MS;
    uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown);
    return;
  }
  bool is_idle_at_stop = c->loop->is_stopping && c->phase == PHASE_IDLE;
  bool is_abandoned = c->has_eof && c->phase < PHASE_BUSY;
  if (c->phase == PHASE_LAST || ((is_idle_at_stop || is_abandoned) && !has_input)) connection_close(c);
}

static void on_written(uv_write_t *write, int status) {
  struct connection *c = write->data;
  c->is_writing = false;
  c->writing.size = 0;
  if (c->writing.capacity > KEEP_CAPACITY) buffer_clear(&c->writing);
  if (status < 0)
    connection_abort(c);
  else
    go_on(c);
}

/* Bytes that the client has not taken: here, and with the kernel. */
static size_t untaken(struct connection *c) {
  uv_os_fd_t fd;
  int with_kernel = 0;
  if (uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 || ioctl(fd, SIOCOUTQ, &with_kernel) != 0) with_kernel = 0;
  return uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) + (size_t)with_kernel;
}

static void flush(struct connection *c) {
  if (c->is_writing || c->phase >= PHASE_DRAINING) return;
  if (c->out.size) {
    uv_buf_t buf = uv_buf_init((char *)c->out.bytes, (unsigned)c->out.size);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n < 0 && n != UV_EAGAIN) {
      connection_abort(c);
      return;
    }
    size_t written = n < 0 ? 0 : (size_t)n;
    if (written < c->out.size) {
      struct buffer spare = c->writing;
      c->writing = c->out;
      c->out = spare;
      c->is_writing = true;
      c->write.data = c;
      c->deadline = c->phase == PHASE_BUSY ? 0 : loop_now(c->loop) + c->loop->options->idle_timeout_ms;
      buf = uv_buf_init((char *)c->writing.bytes + written, (unsigned)(c->writing.size - written));
      if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        c->is_writing = false;
        connection_abort(c);
        return;
      }
      c->queued = untaken(c);
      return;
    }
    c->out.size = 0;
    if (c->out.capacity > KEEP_CAPACITY) buffer_clear(&c->out);
  }
  all_written(c);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static bool can_parse(const struct connection *c) { return c->phase < PHASE_BUSY && !c->is_writing; }

static size_t parse(struct connection *c, const char *data, size_t size) {
  size_t used = 0;
  c->is_parsing = true;
  c->n_replied = 0;
  c->turn_ends = 0;
  while (used < size && can_parse(c)) {
    if (c->phase == PHASE_IDLE && turn_is_over(c)) {
      wait_for_turn(c);
      break;
    }
    used += request_parse(c, data + used, size - used);
    if (c->out.size > OUT_LIMIT) flush(c);
  }
  c->is_parsing = false;
  return used;
}

static void set_reading(struct connection *c) {
  if (c->phase == PHASE_CLOSING || c->has_eof) return;
  bool is_full = c->in.size - c->in_at > IN_LIMIT + c->in_more && c->phase < PHASE_DRAINING;
  if (is_full && !c->is_read_stopped) uv_read_stop((uv_stream_t *)&c->tcp);
  if (!is_full && c->is_read_stopped) uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
  c->is_read_stopped = is_full;
}

/* Whether the client of a running request, which is not read, is there: see the top. */
static void look_behind(struct connection *c) {
  struct loop *loop = c->loop;
  struct pollfd look = {.events = POLLRDHUP};
  if (uv_fileno((uv_handle_t *)&c->tcp, &look.fd) != 0 || poll(&look, 1, 0) < 0) return;
  if (look.revents & (POLLERR | POLLHUP)) {
    connection_abort(c);
  } else if (look.revents & POLLRDHUP) {
    if (!c->deadline) c->deadline = loop_now(loop) + EOF_GRACE_MS;
  } else if (c->in_more >= IN_MAX) {
    connection_abort(c);
  } else if (loop->behind_bytes < LOOP_MAX_BEHIND) {
    c->in_more += IN_STEP;
    loop->behind_bytes += IN_STEP;
    set_reading(c);
  }
}

/* After a reply or a write: takes what waits in `in`, writes, tidies up. */
static void go_on(struct connection *c) {
  struct loop *loop = c->loop;
  if (c->phase == PHASE_CLOSING) return;
  if (c->in.size > c->in_at && !c->is_ready) c->in_at += parse(c, (char *)c->in.bytes + c->in_at, c->in.size - c->in_at);
  flush(c);
  if (c->in_at == c->in.size) {
    c->in_at = c->in.size = 0;
    if (c->in.capacity > KEEP_CAPACITY) buffer_clear(&c->in);
  }
  set_reading(c);
  loop->ops->clean(loop);
}

/* Parses what the first one has that waits for its turn. */
static void on_more(uv_idle_t *handle) {
  struct loop *loop = handle->data;
  struct connection *c = loop->ready;
  if (c) {
    leave_turns(c);
    go_on(c);
  }
  if (!loop->ready) uv_idle_stop(&loop->more);
}

static void on_eof(struct connection *c) {
  c->has_eof = true;
  if (c->phase == PHASE_DRAINING)
    connection_close(c);
  else if (c->phase == PHASE_BUSY)
    c->deadline = loop_now(c->loop) + EOF_GRACE_MS;
  else
    go_on(c);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf) {
  struct connection *c = stream->data;
  if (size == 0 || c->phase == PHASE_CLOSING) return;
  if (size == UV_EOF) {
    on_eof(c);
    return;
  }
  if (size < 0) {
    connection_abort(c);
    return;
  }
  if (c->phase >= PHASE_LAST) {
    c->drained += (size_t)size;
    if (c->drained > DRAIN_LIMIT) connection_abort(c);
    return;
  }
  if (c->phase == PHASE_BODY) c->came += (size_t)size;
  size_t used = c->in.size > c->in_at ? 0 : parse(c, buf->base, (size_t)size);
  buffer_append(&c->in, buf->base + used, (size_t)size - used);
  go_on(c);
}

void connection_replied(struct connection *c) {
  c->has_request = false;
  c->n_replied++;
  forget_behind(c);
  request_forget_body(c); /* the next request may be long in coming */
  if (c->phase == PHASE_CLOSING) {
    if (c->is_closed) connection_free(c);
    return;
  }
  c->phase = c->is_keep_alive ? PHASE_IDLE : PHASE_LAST;
  c->deadline = loop_now(c->loop) + c->loop->options->idle_timeout_ms;
  if (!c->is_parsing) go_on(c);
}

/* --- time -------------------------------------------------------------------------------------------------------- */

/* Closes a connection that waits for a request; others when their reply is out. */
static void stop(struct connection *c) {
  if (c->phase == PHASE_IDLE && !c->is_writing && c->in.size == c->in_at) connection_close(c);
}

/* Enough came or went since the last look: the rate is told in docs/http.md. */
static bool is_moving(struct connection *c, uint32_t timeout_ms) {
  size_t before = c->queued, moved = c->came;
  c->came = 0;
  if (c->is_writing) {
    c->queued = untaken(c);
    moved = c->queued < before ? before - c->queued : 0;
  }
  return moved >= (size_t)timeout_ms * BYTES_PER_SECOND / 1000;
}

/* Checks the deadline. */
static void tick(struct connection *c) {
  if (c->is_read_stopped && c->phase == PHASE_BUSY) look_behind(c);
  if (c->phase == PHASE_BUSY) c->loop->service->tick(&c->exchange);
  if (!c->deadline || loop_now(c->loop) < c->deadline) return;
  const struct server_options *o = c->loop->options;
  uint32_t timeout = c->is_writing ? o->idle_timeout_ms : c->phase == PHASE_BODY ? o->body_timeout_ms : 0;
  if (timeout && c->phase != PHASE_BUSY && is_moving(c, timeout)) {
    c->deadline = loop_now(c->loop) + timeout;
    return;
  }
  c->deadline = 0;
  bool is_receiving = c->phase == PHASE_HEAD || c->phase == PHASE_BODY;
  if (is_receiving && !c->is_writing)
    request_reject(c, 408, "the request did not arrive in time");
  else
    connection_abort(c);
}

/* --- all of a loop ------------------------------------------------------------------------------------------------ */

void connections_tick(struct loop *loop) {
  for (struct connection *c = loop->connections, *next; c; c = next) {
    next = c->next;
    tick(c);
  }
}

void connections_stop(struct loop *loop) {
  for (struct connection *c = loop->connections; c; c = c->next) stop(c);
}

void connections_cancel(struct loop *loop, bool is_last) {
  for (struct connection *c = loop->connections, *next; c; c = next) {
    next = c->next; /* closing is never finished within these calls */
    if (is_last || !c->has_request)
      connection_abort(c);
    else
      loop->service->cancel(&c->exchange, true);
  }
}

/* Counts what waits; the connection with the most of it, or NULL. */
static struct connection *count_replies(struct loop *loop) {
  struct connection *largest = NULL;
  size_t most = 0;
  loop->reply_bytes = 0;
  for (struct connection *c = loop->connections; c; c = c->next) {
    size_t waiting = c->phase == PHASE_CLOSING ? 0 : c->out.size + c->writing.size;
    loop->reply_bytes += waiting;
    if (waiting > most) {
      most = waiting;
      largest = c;
    }
  }
  return largest;
}

/* Those who have the most waiting are dropped. */
void connections_shed(struct loop *loop) {
  struct connection *largest;
  while ((largest = count_replies(loop)) && loop->reply_bytes > loop->options->max_waiting) connection_abort(largest);
}
