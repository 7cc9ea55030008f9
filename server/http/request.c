#include "server/http/request.h"

#include "runtime/host/header.h"
#include "server/http/credentials.h"
#include "server/http/propagate.h"
#include "server/http/reply.h"
#include "server/loop/share.h"
#include "server/server.h"

#include <string.h>
#include <strings.h>

enum { KEEP_BODY = 256 << 10 };

/* Refusals found inside a parser callback, which may not reply: the callback notes the reason and stops the parser. */
static int refuse(struct connection *c, uint32_t status, const char *detail) {
  c->refusal = (struct refusal){status, detail};
  return -1;
}

/* Bytes of bodies that are still received, by their clients' addresses. */
static size_t *coming(struct connection *c) { return &c->loop->coming_of_address[c->exchange.caller % ADDRESS_BUCKETS]; }

/* It is no longer received. */
static void body_has_come(struct connection *c) {
  *coming(c) -= c->intake.coming;
  c->intake.coming = 0;
}

/* Whether there is room for more of its body: who sends several slowly leaves some to others. */
static bool has_room(struct connection *c, size_t more) {
  const struct loop *loop = c->loop;
  bool is_only = *coming(c) == c->intake.coming || loop->options->worker_of;
  if (loop->body_bytes + more > LOOP_MAX_BODY_BYTES) return false;
  return is_only || share_allows(*coming(c) + more, loop->body_bytes, LOOP_MAX_BODY_BYTES);
}

void request_forget_body(struct connection *c) {
  struct request *r = &c->exchange.request;
  body_has_come(c);
  c->loop->body_bytes -= r->body.size;
  r->body.size = 0;
  if (r->body.capacity > KEEP_BODY) buffer_clear(&r->body);
}

/* The first byte of a request is there. */
static void begin_request(struct connection *c) {
  struct request *r = &c->exchange.request;
  request_forget_body(c);
  arena_clear(&r->arena);
  c->intake.line.size = c->intake.head.size = 0;
  c->intake.head_bytes = c->intake.extension_bytes = c->intake.trailer_bytes = 0;
  r->n_headers = 0;
  c->intake.has_line = c->intake.is_in_name = c->intake.is_in_value = c->intake.is_head_complete = c->intake.expects_continue =
      r->is_asterisk = false;
  c->intake.lines = (struct head_lines){.is_under_way = true, .is_line_start = true};
  r->method = HTTP_GET;
  r->path = NULL;
  r->query = "";
  trail_begin(&c->exchange.trail, c->loop->access_log, c->loop->access_log || c->loop->tracer);
  c->phase = PHASE_HEAD;
  c->deadline = loop_now(c->loop) + c->loop->options->header_timeout_ms;
}

/* A worker allows for what its front adds. */
static size_t allowance(const struct connection *c, size_t more) { return c->loop->options->worker_of ? more : 0; }

static int append_head(struct connection *c, const char *at, size_t size) {
  struct buffer *head = &c->intake.head;
  if (head->size + size > MAX_HEAD + allowance(c, FRONT_HEAD))
    return refuse(c, 431, "the request's headers are larger than 64 KiB");
  buffer_append(head, at, size);
  return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  if (c->intake.head.size + size > MAX_URL + allowance(c, FRONT_HEAD))
    return refuse(c, 414, "the request target is longer than 8 KiB");
  return append_head(c, at, size);
}

static int on_url_complete(llhttp_t *parser) { return append_head(parser->data, "", 1); }

static int end_value(struct connection *c) {
  struct request *r = &c->exchange.request;
  if (!c->intake.is_in_value) return 0;
  c->intake.is_in_value = false;
  while (c->intake.head.size > c->intake.value_at[r->n_headers]) {
    uint8_t last = c->intake.head.bytes[c->intake.head.size - 1];
    if (last != ' ' && last != '\t') break;
    c->intake.head.size--;
  }
  r->n_headers++;
  return append_head(c, "", 1);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  struct request *r = &c->exchange.request;
  if (c->intake.is_head_complete) return 0; /* trailers are not kept */
  if (!c->intake.is_in_name) {
    if (end_value(c) != 0) return -1;
    if (r->n_headers >= MAX_HEADERS + allowance(c, FRONT_HEADERS)) return refuse(c, 431, "the request has more than 100 headers");
    c->intake.is_in_name = true;
    c->intake.name_at[r->n_headers] = (uint32_t)c->intake.head.size;
  }
  return append_head(c, at, size);
}

static int on_header_field_complete(llhttp_t *parser) {
  struct connection *c = parser->data;
  struct request *r = &c->exchange.request;
  if (c->intake.is_head_complete) return 0;
  c->intake.is_in_name = false;
  if (append_head(c, "", 1) != 0) return -1;
  c->intake.value_at[r->n_headers] = (uint32_t)c->intake.head.size;
  c->intake.is_in_value = true;
  return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  return c->intake.is_head_complete ? 0 : append_head(c, at, size);
}

static int on_header_value_complete(llhttp_t *parser) {
  struct connection *c = parser->data;
  return c->intake.is_head_complete ? 0 : end_value(c);
}

/* Appends to the head, whose strings may move; returns where it is. */
static size_t keep_string(struct connection *c, const char *text, size_t size) {
  size_t at = c->intake.head.size;
  buffer_append(&c->intake.head, text, size);
  buffer_append(&c->intake.head, "", 1);
  return at;
}

/* Where things are in the head. */
struct places {
  size_t target, path, query, host; /* 0: no host, no query */
};

/* The path becomes a string of its own, because it is decoded in place; path and query as they were sent stay. */
static int split_target(struct connection *c, struct places *at) {
  struct request *r = &c->exchange.request;
  struct target t;
  struct refusal bad = head_split_target((const char *)c->intake.head.bytes, r->method == HTTP_OPTIONS, &t);
  if (bad.status) return refuse(c, bad.status, bad.detail);
  size_t begin = (size_t)(t.path - (const char *)c->intake.head.bytes);
  size_t path_size = strcspn(t.path, "?"), rest = strlen(t.path) - path_size;
  r->is_asterisk = t.form == TARGET_ASTERISK;
  buffer_reserve(&c->intake.head, t.host_size + path_size + rest + 8); /* for all of what follows, whose pieces are in it */
  t.path = (const char *)c->intake.head.bytes + begin;
  if (t.host) t.host = t.path - t.host_size;
  bool is_bare = t.form == TARGET_ABSOLUTE && path_size == 0; /* "http://host?query" */
  at->target = begin;
  if (is_bare) {
    at->target = c->intake.head.size;
    buffer_append(&c->intake.head, "/", 1);
    keep_string(c, t.path, rest);
  }
  at->query = rest ? at->target + is_bare + path_size + 1 : 0;
  at->path = is_bare ? keep_string(c, "/", 1) : keep_string(c, t.path, path_size);
  at->host = t.host ? keep_string(c, t.host, t.host_size) : 0;
  return 0;
}

static struct handler_header *find_header(struct request *r, const char *name) {
  for (uint32_t i = 0; i < r->n_headers; i++)
    if (strcasecmp(r->headers[i].name, name) == 0) return &r->headers[i];
  return NULL;
}

/* RFC 9112, 3.2: exactly one Host in HTTP/1.1, which is one. The host of an absolute target takes its place (3.2.2). */
static int check_host(struct connection *c, const char *target_host) {
  struct request *r = &c->exchange.request;
  struct handler_header *host = find_header(r, "host");
  uint32_t n = 0;
  for (uint32_t i = 0; i < r->n_headers; i++) n += strcasecmp(r->headers[i].name, "host") == 0;
  if (n > 1) return refuse(c, 400, "the request has several Host headers");
  if (n == 0 && !r->is_http10) return refuse(c, 400, "the request has no Host header");
  if (host && !head_host_is_valid(host->value, strlen(host->value)))
    return refuse(c, 400, "the Host header holds more or less than a host and a port");
  if (!target_host) return 0;
  if (!host) r->headers[r->n_headers++].name = "Host";
  host = find_header(r, "host");
  if (host) host->value = target_host;
  return 0;
}

/* Transfer-Encoding says how the message came: it is gone when the body is decoded. */
static int check_codings(struct connection *c) {
  struct request *r = &c->exchange.request;
  struct codings codings = {0};
  uint32_t kept = 0;
  for (uint32_t i = 0; i < r->n_headers; i++) {
    if (strcasecmp(r->headers[i].name, "transfer-encoding") == 0)
      head_add_codings(&codings, r->headers[i].value);
    else
      r->headers[kept++] = r->headers[i];
  }
  if (kept == r->n_headers) return 0;
  r->n_headers = kept;
  if (r->is_http10) return refuse(c, 400, "HTTP/1.0 knows no Transfer-Encoding");
  switch (head_coding(&codings)) {
  case CODING_CHUNKED: return 0;
  case CODING_UNKNOWN: return refuse(c, 501, "no transfer coding but chunked is known here");
  case CODING_BAD: break;
  }
  return refuse(c, 400, "Transfer-Encoding is not chunked, once and at its end");
}

static int check_expectation(struct connection *c) {
  struct request *r = &c->exchange.request;
  const char *expect = request_header(r, "expect");
  if (!expect || r->is_http10) return 0;
  if (strcasecmp(expect, "100-continue") != 0) return refuse(c, 417, "the only expectation known is 100-continue");
  c->intake.expects_continue = true;
  return 0;
}

static int check_length(struct connection *c) {
  const llhttp_t *parser = &c->parser;
  if ((parser->flags & F_CONTENT_LENGTH) && parser->content_length > c->loop->service->body_limit(&c->exchange))
    return refuse(c, 413, "the request's body is larger than allowed");
  return 0;
}

static void point_at_strings(struct connection *c, const struct places *at) {
  struct request *r = &c->exchange.request;
  char *head = (char *)c->intake.head.bytes;
  r->target = head + at->target;
  r->path = head + at->path;
  r->query = at->query ? head + at->query : "";
  for (uint32_t i = 0; i < r->n_headers; i++)
    r->headers[i] = (struct handler_header){head + c->intake.name_at[i], head + c->intake.value_at[i]};
}

static int check_head(struct connection *c) {
  struct request *r = &c->exchange.request;
  struct places at;
  if (r->method == HTTP_CONNECT) return refuse(c, 501, "CONNECT is not implemented");
  if (split_target(c, &at) != 0) return -1;
  point_at_strings(c, &at);
  for (uint32_t i = 0; i < r->n_headers; i++)
    if (!header_name_is_valid(r->headers[i].name, strlen(r->headers[i].name)))
      return refuse(c, 400, "a header name holds characters it may not, or is longer than 256 bytes");
  if (check_host(c, at.host ? (const char *)c->intake.head.bytes + at.host : NULL) != 0) return -1;
  return check_expectation(c) != 0 || check_codings(c) != 0 ? -1 : 0;
}

static int on_headers_complete(llhttp_t *parser) {
  struct connection *c = parser->data;
  struct request *r = &c->exchange.request;
  if (end_value(c) != 0) return -1;
  c->intake.is_head_complete = true;
  r->is_http10 = parser->http_minor == 0;
  parser->upgrade = 0; /* no upgrades */
  if (check_head(c) != 0) return -1;
  credentials_take(r, c->loop->options->worker_of != NULL);
  propagate_take(&c->exchange);
  bool has_body = (parser->flags & F_CHUNKED) || parser->content_length > 0;
  if (has_body && !c->loop->service->admit(&c->exchange)) {
    c->is_refused = true;
    return -1;
  }
  if (check_length(c) != 0) return -1;
  if (c->intake.expects_continue && has_body) http1_continue(c);
  c->phase = PHASE_BODY;
  c->came = 0;
  c->deadline = loop_now(c->loop) + c->loop->options->body_timeout_ms;
  return 0;
}

/* Trailers are lines like those of a head, and nothing is known of them yet: the parser stops before them. */
static int on_chunk_header(llhttp_t *parser) {
  struct connection *c = parser->data;
  struct request *r = &c->exchange.request;
  size_t limit = c->loop->service->body_limit(&c->exchange);
  if (parser->content_length > limit || r->body.size + parser->content_length > limit)
    return refuse(c, 413, "the request's body is larger than allowed");
  if (parser->content_length) return 0;
  c->intake.lines = (struct head_lines){.is_under_way = true, .is_line_start = true};
  return HPE_PAUSED;
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  (void)at;
  c->intake.extension_bytes += size + 1;
  if (c->intake.extension_bytes > MAX_EXTENSIONS)
    return refuse(c, 413, "the extensions of the request's chunks are longer than 16 KiB");
  return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  struct request *r = &c->exchange.request;
  if (r->body.size + size > c->loop->service->body_limit(&c->exchange))
    return refuse(c, 413, "the request's body is larger than allowed");
  if (!has_room(c, size)) return refuse(c, 503, "too many large requests are under way");
  c->loop->body_bytes += size;
  c->intake.coming += size;
  *coming(c) += size;
  buffer_append(&r->body, at, size);
  return 0;
}

static int on_message_complete(llhttp_t *parser) {
  struct connection *c = parser->data;
  c->is_keep_alive = llhttp_should_keep_alive(parser);
  c->is_complete = true;
  body_has_come(c);
  return HPE_PAUSED;
}

static const llhttp_settings_t parser_settings = {
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void request_init(struct connection *c) {
  llhttp_init(&c->parser, HTTP_REQUEST, &parser_settings);
  c->parser.data = c;
  c->exchange.ops = &http1_ops;
  c->exchange.loop = c->loop;
  c->exchange.request.query = "";
}

void request_clear(struct connection *c) {
  request_forget_body(c);
  buffer_clear(&c->exchange.request.body);
  buffer_clear(&c->intake.head);
  buffer_clear(&c->intake.line);
  arena_clear(&c->exchange.request.arena);
}

void request_reject(struct connection *c, uint32_t status, const char *detail) {
  c->phase = PHASE_BUSY;
  c->is_rejected = true;
  c->is_keep_alive = false;
  reply_problem(&c->exchange, PROBLEM(.status = status, .detail = detail, .retry_after = status == 503));
}

/* The service says why it does not want the rest. */
static void begin_refused(struct connection *c) {
  c->phase = PHASE_BUSY;
  c->is_rejected = c->has_request = true;
  c->is_keep_alive = false;
  c->deadline = 0;
  c->loop->service->begin(&c->exchange);
}

static void parse_failed(struct connection *c, llhttp_errno_t code) {
  char detail[200];
  if (c->is_refused) {
    begin_refused(c);
  } else if (c->refusal.status) {
    request_reject(c, c->refusal.status, c->refusal.detail);
  } else if (!c->intake.has_line && code != HPE_INVALID_URL) { /* head_check_line has seen all the rest of the line */
    request_reject(c, 501, "the request's method is not known here");
  } else {
    const char *reason = llhttp_get_error_reason(&c->parser);
    snprintf(detail, sizeof detail, "the request is malformed: %s", reason ? reason : llhttp_errno_name(code));
    request_reject(c, 400, detail);
  }
}

/* Gives the parser bytes; returns how many it took. */
static size_t feed(struct connection *c, const char *data, size_t size) {
  if (llhttp_get_errno(&c->parser) == HPE_PAUSED) llhttp_resume(&c->parser);
  llhttp_errno_t code = llhttp_execute(&c->parser, data, size);
  if (code == HPE_OK) return size;
  const char *stop = llhttp_get_error_pos(&c->parser);
  if (code != HPE_PAUSED)
    parse_failed(c, code);
  else if (c->is_complete)
    c->phase = PHASE_BUSY;
  return stop >= data && stop <= data + size ? (size_t)(stop - data) : size;
}

/* A request line with its end. Minor versions beyond 1 are read as 1 (RFC 9110, 2.5), which the parser does not know. */
static void take_line(struct connection *c, const char *line, size_t size) {
  struct refusal bad = head_check_line(line, size);
  if (bad.status) {
    request_reject(c, bad.status, bad.detail);
    return;
  }
  if (line[size - 3] > '1') {
    feed(c, line, size - 3);
    if (c->phase == PHASE_HEAD) feed(c, "1\r\n", 3);
  } else {
    feed(c, line, size);
  }
  if (c->phase != PHASE_HEAD) return;
  c->intake.has_line = true;
  c->exchange.request.method = (llhttp_method_t)c->parser.method;
  c->exchange.request.method_name = llhttp_method_name(c->exchange.request.method);
}

/* The line's end has not come. */
static void keep_line(struct connection *c, const char *data, size_t size) {
  struct buffer *line = &c->intake.line;
  buffer_append(line, data, size);
  const char *begin = (const char *)line->bytes;
  size_t most = MAX_URL + 64 + allowance(c, FRONT_HEAD);
  if (!head_may_begin(begin, line->size))
    request_reject(c, 400, "the request does not begin with a method");
  else if (line->size > most && !memchr(begin, ' ', 64))
    request_reject(c, 501, "the request's method is not known here");
  else if (line->size > most)
    request_reject(c, 414, "the request target is longer than 8 KiB");
}

/* Empty lines before a request are passed over (RFC 9112, 2.2). Returns how much was used of them. */
static size_t skip_empty(struct connection *c, const char *data, size_t size) {
  size_t at = 0;
  while (at < size && (data[at] == '\r' || data[at] == '\n')) {
    if ((data[at] == '\n') != c->has_empty_cr) {
      begin_request(c);
      request_reject(c, 400, "an empty line before the request does not end in CRLF");
      return size;
    }
    c->has_empty_cr = data[at++] == '\r';
  }
  return at;
}

/* What stands before the header lines. */
static size_t parse_line(struct connection *c, const char *data, size_t size) {
  struct buffer *kept = &c->intake.line;
  size_t skipped = 0;
  if (c->phase == PHASE_IDLE) {
    skipped = skip_empty(c, data, size);
    if (skipped == size) return size;
    begin_request(c);
    if (c->has_empty_cr) request_reject(c, 400, "an empty line before the request does not end in CRLF");
    if (c->has_empty_cr) return size;
  }
  const char *at = data + skipped, *newline = memchr(at, '\n', size - skipped);
  size_t used = newline ? (size_t)(newline + 1 - at) : size - skipped;
  if (!newline) {
    keep_line(c, at, used);
  } else if (kept->size) {
    buffer_append(kept, at, used);
    take_line(c, (const char *)kept->bytes, kept->size);
    buffer_clear(kept);
  } else {
    take_line(c, at, used);
  }
  return skipped + used;
}

/* Lines of the head, or trailers. */
static size_t parse_lines(struct connection *c, const char *data, size_t size) {
  size_t used = 0;
  struct refusal bad = head_follow(&c->intake.lines, data, size, &used);
  if (bad.status) {
    request_reject(c, bad.status, bad.detail);
    return size;
  }
  size_t *bytes = c->intake.is_head_complete ? &c->intake.trailer_bytes : &c->intake.head_bytes;
  *bytes += used;
  if (c->intake.head_bytes > 2 * MAX_HEAD)
    request_reject(c, 431, "the request's head is larger than 128 KiB");
  else if (c->intake.trailer_bytes > MAX_TRAILERS)
    request_reject(c, 431, "the request's trailers are larger than 16 KiB");
  else
    return feed(c, data, used);
  return size;
}

size_t request_parse(struct connection *c, const char *data, size_t size) {
  size_t used;
  if (c->phase == PHASE_IDLE || !c->intake.has_line)
    used = parse_line(c, data, size);
  else if (c->intake.lines.is_under_way)
    used = parse_lines(c, data, size);
  else
    used = feed(c, data, size);
  if (!c->is_complete) return used;
  c->is_complete = false;
  c->deadline = 0;
  c->has_request = true;
  c->loop->service->begin(&c->exchange);
  return used;
}
