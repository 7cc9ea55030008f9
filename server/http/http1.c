/* Replies as HTTP/1.1 has them: from an exchange to bytes in its connection's `out`. */
#include "server/http/connection.h"
#include "server/http/observe.h"
#include "server/http/reply.h"
#include "server/http/text.h"
#include "server/server.h"

#include <time.h>

static void append_date(struct loop *loop, struct buffer *out) {
  time_t now = time(NULL);
  if (now != loop->date_second) {
    struct tm tm;
    loop->date_second = now;
    strftime(loop->date, sizeof loop->date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
  }
  APPEND_LITERAL(out, "Date: ");
  buffer_append_string(out, loop->date);
}

/* Status line and the headers every reply has. The caller adds its own. */
static struct buffer *begin(struct exchange *x, uint32_t status) {
  struct connection *c = connection_of(x);
  struct buffer *out = &c->out;
  char title[64];
  if (status == 200) {
    APPEND_LITERAL(out, "HTTP/1.1 200 OK\r\n");
  } else {
    APPEND_LITERAL(out, "HTTP/1.1 ");
    append_number(out, status);
    APPEND_LITERAL(out, " ");
    buffer_append_string(out, reply_title(status, title, sizeof title));
    APPEND_LITERAL(out, "\r\n");
  }
  append_date(c->loop, out);
  APPEND_LITERAL(out, "\r\n");
  if (x->is_sandboxed) APPEND_LITERAL(out, "Content-Security-Policy: sandbox\r\nX-Content-Type-Options: nosniff\r\n");
  if (loop_is_ending(c->loop)) c->is_keep_alive = false;
  if (!c->is_keep_alive)
    APPEND_LITERAL(out, "Connection: close\r\n");
  else if (x->request.is_http10)
    APPEND_LITERAL(out, "Connection: keep-alive\r\n");
  return out;
}

static void end(struct exchange *x, uint32_t status, const void *body, size_t size, bool has_length) {
  struct connection *c = connection_of(x);
  metrics_add(&c->loop->metrics.replies[status / 100 < 6 ? status / 100 : 5], 1);
  struct buffer *out = &c->out;
  if (has_no_content(status)) size = 0;
  if (has_length && status != 204 && status != 304) {
    APPEND_LITERAL(out, "Content-Length: ");
    append_number(out, size);
    APPEND_LITERAL(out, "\r\n");
  }
  APPEND_LITERAL(out, "\r\n");
  if (x->request.method == HTTP_HEAD) size = 0;
  if (size) buffer_append(out, body, size);
  if (x->trail.is_kept) observe_end(x, status, size);
  connection_replied(c);
}

static void leave(struct exchange *x) {
  if (x->trail.is_kept) observe_end(x, 0, 0);
  connection_replied(connection_of(x));
}

static const char *peer(struct exchange *x) {
  struct connection *c = connection_of(x);
  struct sockaddr_storage address;
  int size = sizeof address;
  if (*c->address) return c->address;
  if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &size) == 0)
    uv_ip_name((struct sockaddr *)&address, c->address, sizeof c->address);
  return c->address;
}

void http1_continue(struct connection *c) { APPEND_LITERAL(&c->out, "HTTP/1.1 100 Continue\r\n\r\n"); }

const struct exchange_ops http1_ops = {.begin = begin, .end = end, .leave = leave, .peer = peer};
