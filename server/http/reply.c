#include "server/http/reply.h"

#include "runtime/host/header.h"
#include "server/http/connection.h"
#include "server/loop/loop.h"
#include "server/server.h"

#include <string.h>
#include <time.h>

/* llhttp_status_name ends the process when it does not know the status, which is a function's to choose. */
static const char *reason(uint32_t status) {
  switch (status) {
#define STATUS(number, name, text) \
  case number: return #text;
    HTTP_STATUS_MAP(STATUS)
#undef STATUS
  default: return "Unknown";
  }
}

/* Reason phrases as people write them, from llhttp's NOT_FOUND. */
static const char *title_of(uint32_t status, char *out, size_t size) {
  const char *name = reason(status);
  bool is_first = true;
  size_t n = 0;
  for (; *name && n + 1 < size; name++) {
    char c = *name == '_' ? ' ' : *name;
    if (!is_first && c >= 'A' && c <= 'Z') c = (char)(c | 32);
    is_first = *name == '_';
    out[n++] = c;
  }
  out[n] = 0;
  return out;
}

static void append_number(struct buffer *out, uint64_t n) {
  char digits[20], *at = digits + sizeof digits;
  do *--at = (char)('0' + n % 10);
  while (n /= 10);
  buffer_append(out, at, (size_t)(digits + sizeof digits - at));
}

#define APPEND_LITERAL(out, text) buffer_append(out, text, sizeof text - 1)

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

/* Status line and the headers every reply has. The caller adds its own, then calls end_reply. */
static struct buffer *begin_reply(struct connection *c, uint32_t status) {
  struct buffer *out = &c->out;
  char title[64];
  if (status == 200) {
    APPEND_LITERAL(out, "HTTP/1.1 200 OK\r\n");
  } else {
    APPEND_LITERAL(out, "HTTP/1.1 ");
    append_number(out, status);
    APPEND_LITERAL(out, " ");
    buffer_append_string(out, title_of(status, title, sizeof title));
    APPEND_LITERAL(out, "\r\n");
  }
  append_date(c->loop, out);
  APPEND_LITERAL(out, "\r\n");
  if (c->loop->is_stopping || server_is_draining(c->loop->server)) c->request.is_keep_alive = false;
  if (!c->request.is_keep_alive)
    APPEND_LITERAL(out, "Connection: close\r\n");
  else if (c->request.is_http10)
    APPEND_LITERAL(out, "Connection: keep-alive\r\n");
  return out;
}

/* RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5. */
static bool has_no_content(uint32_t status) { return status == 204 || status == 205 || status == 304; }

/* `has_length`: whether a GET would have this body too. */
static void end_content(struct connection *c, uint32_t status, const void *body, size_t size, bool has_length) {
  metrics_add(&c->loop->metrics.replies[status / 100 < 6 ? status / 100 : 5], 1);
  struct buffer *out = &c->out;
  if (has_no_content(status)) size = 0;
  if (has_length && status != 204 && status != 304) {
    APPEND_LITERAL(out, "Content-Length: ");
    append_number(out, size);
    APPEND_LITERAL(out, "\r\n");
  }
  APPEND_LITERAL(out, "\r\n");
  if (size && c->request.method != HTTP_HEAD) buffer_append(out, body, size);
  connection_replied(c);
}

static void end_reply(struct connection *c, uint32_t status, const void *body, size_t size) {
  end_content(c, status, body, size, true);
}

void reply_empty(struct connection *c, uint32_t status) {
  begin_reply(c, status);
  end_reply(c, status, NULL, 0);
}

void reply_allow(struct connection *c, uint32_t status, const char *allow) {
  buffer_format(begin_reply(c, status), "Allow: %s\r\n", allow);
  end_reply(c, status, NULL, 0);
}

void reply_json(struct connection *c, uint32_t status, cJSON *json) {
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  struct buffer *out = begin_reply(c, status);
  APPEND_LITERAL(out, "Content-Type: application/json\r\n");
  end_reply(c, status, text, text ? strlen(text) : 0);
  cJSON_free(text);
}

/* "urn:gasworks:problem:" and the title in lower case with dashes. */
static void problem_type(const char *title, char *out, size_t size) {
  size_t n = (size_t)snprintf(out, size, "urn:gasworks:problem:");
  for (; *title && n + 1 < size; title++) {
    char c = *title;
    if (c >= 'A' && c <= 'Z') c = (char)(c | 32);
    bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (is_plain)
      out[n++] = c;
    else if (out[n - 1] != '-')
      out[n++] = '-';
  }
  out[n] = 0;
}

/* An array of its lines, without what aligns them. */
static cJSON *backtrace_lines(const char *text) {
  cJSON *array = cJSON_CreateArray();
  char line[512];
  for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
    const char *at = text + strspn(text, " ");
    snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
    cJSON_AddItemToArray(array, cJSON_CreateString(line));
  }
  return array;
}

static char *problem_text(const struct problem *p, const char *title) {
  char type[128];
  cJSON *json = cJSON_CreateObject();
  problem_type(title, type, sizeof type);
  cJSON_AddStringToObject(json, "type", type);
  cJSON_AddStringToObject(json, "title", title);
  cJSON_AddNumberToObject(json, "status", p->status);
  if (p->detail) cJSON_AddStringToObject(json, "detail", p->detail);
  if (p->function) cJSON_AddStringToObject(json, "function", p->function);
  if (p->trap) cJSON_AddStringToObject(json, "trap", p->trap);
  if (p->backtrace && *p->backtrace) cJSON_AddItemToObject(json, "backtrace", backtrace_lines(p->backtrace));
  if (p->has_gas) cJSON_AddNumberToObject(json, "gas", (double)p->gas);
  if (p->offset != GW_NO_OFFSET) cJSON_AddNumberToObject(json, "offset", (double)p->offset);
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  return text;
}

static void append_gas(struct buffer *out, uint64_t gas) {
  APPEND_LITERAL(out, "Gasworks-Gas: ");
  append_number(out, gas);
  APPEND_LITERAL(out, "\r\n");
}

/* Where the server's files are is for its log, not for whoever called. */
static void hide_paths(struct problem *p) {
  if (p->status != 500 || p->trap || !p->detail || !strchr(p->detail, '/')) return;
  p->detail = "the server's log says why";
}

void reply_problem(struct connection *c, const struct problem *given) {
  char reason_title[64];
  struct problem copy = *given, *p = &copy;
  if (p->status >= 500 || p->status == 402) invoke_log_failure(c, p->status, p->function, p->detail ? p->detail : p->title);
  hide_paths(p);
  char *text = problem_text(p, p->title ? p->title : title_of(p->status, reason_title, sizeof reason_title));
  struct buffer *out = begin_reply(c, p->status);
  APPEND_LITERAL(out, "Content-Type: application/problem+json\r\n");
  if (p->has_gas) append_gas(out, p->gas);
  if (p->allow) buffer_format(out, "Allow: %s\r\n", p->allow);
  if (p->retry_after) buffer_format(out, "Retry-After: %u\r\n", p->retry_after);
  end_reply(c, p->status, text, text ? strlen(text) : 0);
  cJSON_free(text);
}

void reply_error(struct connection *c, const struct gw_error *err, const char *function, const uint64_t *gas,
                 const char *backtrace) {
  bool is_trap = err->code == GW_ERROR_TRAP;
  struct problem p = {
      .status = (uint32_t)gw_error_http_status(err),
      .title = gw_error_title(err->code),
      .detail = err->message,
      .function = function,
      .trap = is_trap ? gw_trap_message(err->trap) : NULL,
      .backtrace = backtrace,
      .offset = err->code == GW_ERROR_MALFORMED || err->code == GW_ERROR_INVALID ? err->offset : GW_NO_OFFSET,
      .gas = gas ? *gas : 0,
      .has_gas = gas != NULL,
  };
  if (p.status == 503) p.retry_after = 1;
  reply_problem(c, &p);
}

/* Copies the function's header lines, without Content-Type where there is no content; true when there is one among them. */
static bool append_function_headers(struct buffer *out, const struct buffer *headers, bool has_content) {
  const char *at = (const char *)headers->bytes, *end = at + headers->size;
  bool has_type = false;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *colon = memchr(at, ':', (size_t)(end - at));
    if (!newline || !colon || colon > newline) break;
    bool is_type = header_name_is("Content-Type", at, (size_t)(colon - at));
    if (has_content || !is_type) buffer_append(out, at, (size_t)(newline + 1 - at));
    has_type |= is_type;
    at = newline + 1;
  }
  return has_type;
}

/* A function that replies nothing to HEAD has not said how long its reply to GET is (RFC 9110, 8.6). */
void reply_function(struct connection *c, const struct handler *h, uint64_t gas) {
  if (h->status >= 500) invoke_log_failure(c, h->status, c->request.name, "is what the function replied");
  c->loop->reply_bytes += h->reply.size;
  struct buffer *out = begin_reply(c, h->status);
  bool has_content = !has_no_content(h->status), has_length = h->reply.size || c->request.method != HTTP_HEAD;
  append_gas(out, gas);
  bool has_type = h->reply_headers.size && append_function_headers(out, &h->reply_headers, has_content);
  if (!has_type && h->reply.size && has_content) APPEND_LITERAL(out, "Content-Type: text/plain; charset=utf-8\r\n");
  end_content(c, h->status, h->reply.bytes, h->reply.size, has_length);
}

void reply_text(struct connection *c, uint32_t status, const char *type, const struct buffer *text) {
  struct buffer *out = begin_reply(c, status);
  buffer_format(out, "Content-Type: %s\r\n", type);
  end_reply(c, status, text->bytes, text->size);
}

void reply_continue(struct connection *c) { APPEND_LITERAL(&c->out, "HTTP/1.1 100 Continue\r\n\r\n"); }
