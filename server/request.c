#include "server/request.h"

#include "server/reply.h"

#include <string.h>
#include <strings.h>

enum { KEEP_BODY = 256 << 10 };

/* Refusals found inside a parser callback, which may not reply: the callback notes the reason and stops the parser. */
static int refuse(struct connection *c, uint32_t status, const char *detail) {
  c->refused_status = status;
  c->refused_detail = detail;
  return -1;
}

static void body_forget(struct connection *c) {
  struct request *r = &c->request;
  c->loop->body_bytes -= r->body.size;
  r->body.size = 0;
  if (r->body.capacity > KEEP_BODY) buffer_clear(&r->body);
}

static int on_message_begin(llhttp_t *parser) {
  struct connection *c = parser->data;
  struct request *r = &c->request;
  body_forget(c);
  arena_clear(&r->arena);
  r->head.size = r->head_bytes = 0;
  r->n_headers = 0;
  r->is_in_name = r->is_in_value = r->is_head_complete = r->expects_continue = false;
  r->path = NULL;
  r->query = "";
  c->phase = PHASE_HEAD;
  c->deadline = loop_now(c->loop) + c->loop->options->header_timeout_ms;
  return 0;
}

static int append_head(struct connection *c, const char *at, size_t size) {
  struct buffer *head = &c->request.head;
  if (head->size + size > MAX_HEAD) return refuse(c, 431, "the request's headers are larger than 64 KiB");
  buffer_append(head, at, size);
  return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  if (c->request.head.size + size > MAX_URL) return refuse(c, 414, "the request target is longer than 8 KiB");
  return append_head(c, at, size);
}

static int on_url_complete(llhttp_t *parser) { return append_head(parser->data, "", 1); }

static int end_value(struct connection *c) {
  struct request *r = &c->request;
  if (!r->is_in_value) return 0;
  r->is_in_value = false;
  while (r->head.size > r->value_at[r->n_headers]) {
    uint8_t last = r->head.bytes[r->head.size - 1];
    if (last != ' ' && last != '\t') break;
    r->head.size--;
  }
  r->n_headers++;
  return append_head(c, "", 1);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  struct request *r = &c->request;
  if (r->is_head_complete) return 0; /* trailers are not kept */
  if (!r->is_in_name) {
    if (end_value(c) != 0) return -1;
    if (r->n_headers == MAX_HEADERS) return refuse(c, 431, "the request has more than 100 headers");
    r->is_in_name = true;
    r->name_at[r->n_headers] = (uint32_t)r->head.size;
  }
  return append_head(c, at, size);
}

static int on_header_field_complete(llhttp_t *parser) {
  struct connection *c = parser->data;
  struct request *r = &c->request;
  if (r->is_head_complete) return 0;
  r->is_in_name = false;
  if (append_head(c, "", 1) != 0) return -1;
  r->value_at[r->n_headers] = (uint32_t)r->head.size;
  r->is_in_value = true;
  return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  return c->request.is_head_complete ? 0 : append_head(c, at, size);
}

static int on_header_value_complete(llhttp_t *parser) {
  struct connection *c = parser->data;
  return c->request.is_head_complete ? 0 : end_value(c);
}

const char *request_header(const struct request *r, const char *name) {
  for (uint32_t i = 0; i < r->n_headers; i++)
    if (strcasecmp(r->headers[i].name, name) == 0) return r->headers[i].value;
  return NULL;
}

/* Splits the target into path and query. Both stay percent-encoded. */
static int split_target(struct connection *c) {
  struct request *r = &c->request;
  char *target = (char *)r->head.bytes;
  for (const char *p = target; *p; p++)
    if ((unsigned char)*p <= 32 || *p == 127) return refuse(c, 400, "the request target holds a control character");
  if (strncasecmp(target, "http://", 7) == 0) { /* absolute form */
    char *slash = strchr(target + 7, '/');
    target = slash ? slash : "/";
    if (!slash) {
      r->path = target;
      return 0;
    }
  }
  char *fragment = strchr(target, '#');
  if (fragment) *fragment = 0;
  char *question = strchr(target, '?');
  if (question) {
    *question = 0;
    r->query = question + 1;
  }
  r->path = target;
  return 0;
}

/* RFC 9112, 3.2: exactly one Host in HTTP/1.1. */
static int check_host(struct connection *c) {
  const struct request *r = &c->request;
  uint32_t n = 0;
  for (uint32_t i = 0; i < r->n_headers; i++) n += strcasecmp(r->headers[i].name, "host") == 0;
  if (n > 1) return refuse(c, 400, "the request has several Host headers");
  if (n == 0 && !r->is_http10) return refuse(c, 400, "the request has no Host header");
  return 0;
}

static int check_expectation(struct connection *c) {
  struct request *r = &c->request;
  const char *expect = request_header(r, "expect");
  if (!expect || r->is_http10) return 0;
  if (strcasecmp(expect, "100-continue") != 0) return refuse(c, 417, "the only expectation known is 100-continue");
  r->expects_continue = true;
  return 0;
}

static int check_framing(struct connection *c) {
  const llhttp_t *parser = &c->parser;
  if (c->request.is_http10 && (parser->flags & F_TRANSFER_ENCODING)) return refuse(c, 400, "HTTP/1.0 knows no Transfer-Encoding");
  if ((parser->flags & F_CONTENT_LENGTH) && parser->content_length > route_body_limit(c))
    return refuse(c, 413, "the request's body is larger than allowed");
  return 0;
}

/* RFC 9110, 5.1. The parser lets spaces through, which other servers on the way may read differently. */
static bool is_token(const char *name) {
  static const char others[] = "!#$%&'*+-.^_`|~";
  if (!*name) return false;
  for (; *name; name++) {
    char lower = (char)(*name | 32);
    bool is_plain = (lower >= 'a' && lower <= 'z') || (*name >= '0' && *name <= '9');
    if (!is_plain && !strchr(others, *name)) return false;
  }
  return true;
}

static int on_headers_complete(llhttp_t *parser) {
  struct connection *c = parser->data;
  struct request *r = &c->request;
  if (parser->http_major != 1) return refuse(c, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  if (end_value(c) != 0) return -1;
  for (uint32_t i = 0; i < r->n_headers; i++) {
    r->headers[i].name = (const char *)r->head.bytes + r->name_at[i];
    r->headers[i].value = (const char *)r->head.bytes + r->value_at[i];
    if (!is_token(r->headers[i].name)) return refuse(c, 400, "a header name holds characters it may not");
  }
  r->is_head_complete = true;
  r->method = (llhttp_method_t)parser->method;
  r->method_name = llhttp_method_name(r->method);
  r->is_http10 = parser->http_minor == 0;
  parser->upgrade = 0; /* no upgrades, and CONNECT is no tunnel */
  if (split_target(c) != 0 || check_host(c) != 0 || check_expectation(c) != 0 || check_framing(c) != 0) return -1;
  bool has_body = (parser->flags & F_CHUNKED) || parser->content_length > 0;
  if (r->expects_continue && has_body) reply_continue(c);
  c->phase = PHASE_BODY;
  c->deadline = loop_now(c->loop) + c->loop->options->body_timeout_ms;
  return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size) {
  struct connection *c = parser->data;
  struct request *r = &c->request;
  if (r->body.size + size > route_body_limit(c)) return refuse(c, 413, "the request's body is larger than allowed");
  if (c->loop->body_bytes + size > LOOP_MAX_BODY_BYTES) return refuse(c, 503, "too many large requests are under way");
  c->loop->body_bytes += size;
  buffer_append(&r->body, at, size);
  return 0;
}

static int on_message_complete(llhttp_t *parser) {
  struct connection *c = parser->data;
  c->request.is_keep_alive = llhttp_should_keep_alive(parser);
  c->is_complete = true;
  return HPE_PAUSED;
}

static const llhttp_settings_t parser_settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void request_init(struct connection *c) {
  llhttp_init(&c->parser, HTTP_REQUEST, &parser_settings);
  c->parser.data = c;
  c->request.query = "";
}

void request_clear(struct connection *c) {
  body_forget(c);
  buffer_clear(&c->request.body);
  buffer_clear(&c->request.head);
  arena_clear(&c->request.arena);
}

void request_reject(struct connection *c, uint32_t status, const char *detail) {
  c->phase = PHASE_BUSY;
  c->is_rejected = true;
  c->request.is_keep_alive = false;
  if (!c->request.is_head_complete) c->request.method = HTTP_GET;
  reply_problem(c, PROBLEM(.status = status, .detail = detail, .retry_after = status == 503));
}

static void parse_failed(struct connection *c) {
  char detail[200];
  llhttp_errno_t code = llhttp_get_errno(&c->parser);
  if (c->refused_status) {
    request_reject(c, c->refused_status, c->refused_detail);
    return;
  }
  const char *reason = llhttp_get_error_reason(&c->parser);
  snprintf(detail, sizeof detail, "the request is malformed: %s", reason ? reason : llhttp_errno_name(code));
  request_reject(c, code == HPE_INVALID_VERSION ? 505 : 400, detail);
}

size_t request_parse(struct connection *c, const char *data, size_t size) {
  if (llhttp_get_errno(&c->parser) == HPE_PAUSED) llhttp_resume(&c->parser);
  llhttp_errno_t code = llhttp_execute(&c->parser, data, size);
  size_t used = size;
  if (code != HPE_OK) {
    const char *stop = llhttp_get_error_pos(&c->parser);
    used = stop >= data && stop <= data + size ? (size_t)(stop - data) : size;
  }
  if (code == HPE_PAUSED && c->is_complete) {
    c->is_complete = false;
    c->phase = PHASE_BUSY;
    c->deadline = 0;
    c->has_request = true;
    route_request(c);
    return used;
  }
  c->request.head_bytes += c->phase == PHASE_HEAD ? size : 0;
  if (code != HPE_OK)
    parse_failed(c);
  else if (c->request.head_bytes > 2 * MAX_HEAD && c->phase == PHASE_HEAD)
    request_reject(c, 431, "the request's head is larger than 128 KiB");
  return used;
}
