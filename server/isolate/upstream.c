/* A connection to a worker belongs to a loop. Between requests it is in the loop's list, and who needs one of the same tenant
 * takes it; a worker that ended has closed its side, which the loop hears, so none that is there is dead for long. */
#include "server/isolate/upstream.h"

#include "base/heap.h"
#include "runtime/host/header.h"
#include "server/http/reply.h"
#include "server/http/text.h"
#include "server/isolate/supervisor.h"
#include "server/loop/loop.h"
#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* A worker's own lists may be longer than a function's reply. */
enum { MAX_REPLY_HEAD = 128 << 10, MAX_LIST = 64 << 20, MAX_IDLE_UPSTREAMS = 256, KEEP_BYTES = 256 << 10 };

struct upstream {
  uv_pipe_t pipe;        /* first */
  struct upstream *next; /* idle ones */
  struct loop *loop;
  struct exchange *exchange; /* NULL: idle, or closing */
  char tenant[ACCESS_MAX_NAME + 1];
  bool is_idle, is_closing, is_writing, is_complete;
  uv_write_t write;
  struct buffer out; /* the request */
  llhttp_t parser;
  struct buffer head; /* the reply's header lines to pass on */
  struct buffer name, value, body;
  bool is_in_value, has_length, is_kept_alive;
  uint64_t length;
};

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle) {
  struct upstream *u = (struct upstream *)handle;
  buffer_clear(&u->out);
  buffer_clear(&u->head);
  buffer_clear(&u->name);
  buffer_clear(&u->value);
  buffer_clear(&u->body);
  free(u);
}

static void leave_idle(struct upstream *u) {
  struct upstream **at = &u->loop->upstreams;
  if (!u->is_idle) return;
  while (*at != u) at = &(*at)->next;
  *at = u->next;
  u->loop->n_upstreams--;
  u->is_idle = false;
}

static void close_upstream(struct upstream *u) {
  leave_idle(u);
  if (u->exchange) u->exchange->upstream = NULL;
  u->exchange = NULL;
  if (u->is_closing) return;
  u->is_closing = true;
  uv_close((uv_handle_t *)&u->pipe, on_closed);
}

static void refuse(struct exchange *x, const char *detail) {
  reply_problem(x, PROBLEM(.status = 503, .detail = detail, .retry_after = 1));
}

/* The worker has gone, or says what no worker says. */
static void fail(struct upstream *u) {
  struct exchange *x = u->exchange;
  close_upstream(u);
  if (x) refuse(x, "the process of this tenant ended while it answered; it is started again");
}

void upstream_cancel(struct exchange *x, bool with_reply) {
  close_upstream(x->upstream);
  if (with_reply)
    refuse(x, "the server is shutting down");
  else
    x->ops->leave(x);
}

void upstream_close_idle(struct loop *loop) {
  while (loop->upstreams) close_upstream(loop->upstreams);
}

/* --- the reply ---------------------------------------------------------------------------------------------------- */

/* What the front says itself. */
static bool is_own(const char *name) {
  static const char *const own[] = {"date", "connection", "content-length", "keep-alive", "transfer-encoding"};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (strcasecmp(name, own[i]) == 0) return true;
  return false;
}

static struct upstream *of(llhttp_t *parser) { return parser->data; }

static int take(struct buffer *to, const char *at, size_t size) {
  if (to->size + size > MAX_REPLY_HEAD) return -1;
  buffer_append(to, at, size);
  return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t size) { return take(&of(parser)->name, at, size); }

static int on_value(llhttp_t *parser, const char *at, size_t size) { return take(&of(parser)->value, at, size); }

static int on_value_complete(llhttp_t *parser) {
  struct upstream *u = of(parser);
  buffer_append(&u->name, "", 1);
  buffer_append(&u->value, "", 1);
  if (strcasecmp((const char *)u->name.bytes, "gasworks-gas") == 0 && u->exchange) {
    u->exchange->trail.has_gas = true;
    u->exchange->trail.gas = strtoull((const char *)u->value.bytes, NULL, 10);
  }
  if (strcasecmp((const char *)u->name.bytes, "content-length") == 0) {
    u->has_length = true;
    u->length = strtoull((const char *)u->value.bytes, NULL, 10);
  } else if (!is_own((const char *)u->name.bytes)) {
    buffer_format(&u->head, "%s: %s\r\n", (const char *)u->name.bytes, (const char *)u->value.bytes);
  }
  u->name.size = u->value.size = 0;
  return u->head.size > MAX_REPLY_HEAD ? -1 : 0;
}

static int on_headers_complete(llhttp_t *parser) {
  const struct exchange *x = of(parser)->exchange;
  if (parser->status_code < 200 || parser->status_code > 599) return -1; /* another reply would follow, to nobody's request */
  return x && x->request.method == HTTP_HEAD;                            /* 1: no body follows */
}

static int on_body(llhttp_t *parser, const char *at, size_t size) {
  struct upstream *u = of(parser);
  if (u->body.size + size > u->loop->options->max_reply + MAX_LIST) return -1;
  buffer_append(&u->body, at, size);
  return 0;
}

static int on_complete(llhttp_t *parser) {
  struct upstream *u = of(parser);
  u->is_complete = true;
  u->is_kept_alive = llhttp_should_keep_alive(parser);
  return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void make_idle(struct upstream *u) {
  struct loop *loop = u->loop;
  if (!u->is_kept_alive || u->is_writing || loop->is_stopping || loop->n_upstreams >= MAX_IDLE_UPSTREAMS) {
    close_upstream(u);
    return;
  }
  u->is_idle = true;
  u->next = loop->upstreams;
  loop->upstreams = u;
  loop->n_upstreams++;
}

/* The reply goes out, and the connection back, before the client's next request wants one. */
static void deliver(struct upstream *u) {
  struct exchange *x = u->exchange;
  uint32_t status = u->parser.status_code;
  struct buffer head = u->head, body = u->body;
  bool has_length = u->has_length;
  size_t size = x->request.method == HTTP_HEAD ? (size_t)u->length : body.size;
  u->head = u->body = (struct buffer){0};
  u->exchange = NULL;
  x->upstream = NULL;
  make_idle(u);
  buffer_append(x->ops->begin(x, status), head.bytes, head.size);
  x->ops->end(x, status, body.bytes, size, has_length);
  buffer_clear(&head);
  buffer_clear(&body);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  struct upstream *u = (struct upstream *)handle;
  (void)suggested;
  *buf = uv_buf_init(u->loop->read_buffer, READ_BUFFER_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf) {
  struct upstream *u = (struct upstream *)stream;
  if (size == 0 || u->is_closing) return;
  if (size < 0 || !u->exchange) {
    fail(u);
    return;
  }
  llhttp_errno_t code = llhttp_execute(&u->parser, buf->base, (size_t)size);
  if (u->is_complete)
    deliver(u);
  else if (code != HPE_OK)
    fail(u);
}

/* --- the request -------------------------------------------------------------------------------------------------- */

/* What is about the connection, and what only we may say. */
static bool is_passed(const char *name) {
  static const char *const kept[] = {"connection",     "keep-alive",        "proxy-connection",      "te", "upgrade", "expect",
                                     "content-length", "gasworks-identity", "gasworks-authorization"};
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (strcasecmp(name, kept[i]) == 0) return false;
  return true;
}

static void write_request(struct exchange *x, const char *target, uint32_t scopes, struct buffer *out) {
  const struct request *r = &x->request;
  buffer_format(out, "%s %s HTTP/1.%d\r\n", r->method_name, target, !r->is_http10);
  for (uint32_t i = 0; i < r->n_headers; i++)
    if (is_passed(r->headers[i].name)) buffer_format(out, "%s: %s\r\n", r->headers[i].name, r->headers[i].value);
  buffer_format(out, "Gasworks-Identity: %u %u %s\r\n", scopes, x->loop->port, x->ops->peer(x));
  if (r->is_http10) APPEND_LITERAL(out, "Connection: keep-alive\r\n");
  bool has_length = false;
  for (uint32_t i = 0; i < r->n_headers; i++) has_length |= strcasecmp(r->headers[i].name, "content-length") == 0;
  if (r->body.size || has_length) buffer_format(out, "Content-Length: %zu\r\n", r->body.size);
  APPEND_LITERAL(out, "\r\n");
  buffer_append(out, r->body.bytes, r->body.size);
}

static void on_written(uv_write_t *write, int status) {
  struct upstream *u = write->data;
  u->is_writing = false;
  if (status < 0 && !u->is_closing) fail(u);
}

static void send_out(struct upstream *u) {
  uv_buf_t buf = uv_buf_init((char *)u->out.bytes, (unsigned)u->out.size);
  int n = uv_try_write((uv_stream_t *)&u->pipe, &buf, 1);
  if (n == (int)u->out.size) return;
  if (n < 0 && n != UV_EAGAIN) {
    fail(u);
    return;
  }
  size_t written = n < 0 ? 0 : (size_t)n;
  buf = uv_buf_init((char *)u->out.bytes + written, (unsigned)(u->out.size - written));
  u->write.data = u;
  u->is_writing = true;
  if (uv_write(&u->write, (uv_stream_t *)&u->pipe, &buf, 1, on_written) != 0) {
    u->is_writing = false;
    fail(u);
  }
}

static struct upstream *take_idle(struct loop *loop, const char *tenant) {
  struct upstream *u = loop->upstreams;
  while (u && strcmp(u->tenant, tenant) != 0) u = u->next;
  if (u) leave_idle(u);
  return u;
}

static struct upstream *open_upstream(struct loop *loop, const char *tenant) {
  int fd = supervisor_connect(loop->supervisor, tenant);
  if (fd < 0) return NULL;
  struct upstream *u = heap_new(1, sizeof *u);
  u->loop = loop;
  snprintf(u->tenant, sizeof u->tenant, "%s", tenant);
  uv_pipe_init(&loop->uv, &u->pipe, 0);
  if (uv_pipe_open(&u->pipe, fd) != 0) {
    close(fd);
    close_upstream(u);
    return NULL;
  }
  uv_read_start((uv_stream_t *)&u->pipe, on_alloc, on_read);
  return u;
}

void upstream_forward(struct exchange *x, const char *tenant, const char *target, uint32_t scopes) {
  struct upstream *u = take_idle(x->loop, tenant);
  if (!u) u = open_upstream(x->loop, tenant);
  if (!u) {
    refuse(x, "the process of this tenant is being started");
    return;
  }
  u->exchange = x;
  x->upstream = u;
  u->is_complete = u->has_length = false;
  u->length = 0;
  u->head.size = u->name.size = u->value.size = u->out.size = 0;
  if (u->out.capacity > KEEP_BYTES) buffer_clear(&u->out);
  llhttp_init(&u->parser, HTTP_RESPONSE, &settings);
  u->parser.data = u;
  write_request(x, target, scopes, &u->out);
  send_out(u);
}
