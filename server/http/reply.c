#include "server/http/reply.h"

#include "base/utf8.h"
#include "runtime/host/header.h"
#include "server/http/text.h"
#include "server/loop/loop.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

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
const char *reply_title(uint32_t status, char *out, size_t size) {
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

static void end_reply(struct exchange *x, uint32_t status, const void *body, size_t size) {
  x->ops->end(x, status, body, size, true);
}

void reply_empty(struct exchange *x, uint32_t status) {
  x->ops->begin(x, status);
  end_reply(x, status, NULL, 0);
}

void reply_allow(struct exchange *x, uint32_t status, const char *allow) {
  buffer_format(x->ops->begin(x, status), "Allow: %s\r\n", allow);
  end_reply(x, status, NULL, 0);
}

void reply_json(struct exchange *x, uint32_t status, cJSON *json) { reply_tagged_json(x, status, 0, json); }

void reply_tagged_json(struct exchange *x, uint32_t status, uint64_t revision, cJSON *json) {
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  reply_printed_json(x, status, revision, text);
}

void reply_printed_json(struct exchange *x, uint32_t status, uint64_t revision, char *text) {
  struct buffer *out = x->ops->begin(x, status);
  if (revision) buffer_format(out, "ETag: \"r%llu\"\r\n", (unsigned long long)revision);
  APPEND_LITERAL(out, "Content-Type: application/json\r\nCache-Control: no-store\r\n"); /* a token may be in it */
  end_reply(x, status, text, text ? strlen(text) : 0);
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

cJSON *reply_json_text(const void *bytes, size_t size) {
  const uint8_t *at = bytes, *end = at + size;
  struct buffer text = {0};
  while (at < end) {
    size_t n = *at ? utf8_sequence(at, (size_t)(end - at)) : 0;
    if (n)
      buffer_append(&text, at, n);
    else
      buffer_append(&text, "\xef\xbf\xbd", 3);
    at += n ? n : 1;
  }
  buffer_append(&text, "", 1);
  cJSON *json = cJSON_CreateString((const char *)text.bytes);
  buffer_clear(&text);
  return json;
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
  if (p->log && p->log->size) cJSON_AddItemToObject(json, "log", reply_json_text(p->log->bytes, p->log->size));
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

/* Of this reply and no other. */
static void append_receipt(struct exchange *x, struct buffer *out) {
  if (!*x->receipt) return;
  APPEND_LITERAL(out, "Gasworks-Receipt: ");
  buffer_append_string(out, x->receipt);
  APPEND_LITERAL(out, "\r\n");
  *x->receipt = 0;
}

void reply_counted_json(struct exchange *x, uint64_t gas, cJSON *json) {
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  struct buffer *out = x->ops->begin(x, 200);
  APPEND_LITERAL(out, "Content-Type: application/json\r\nCache-Control: no-store\r\n");
  append_gas(out, gas);
  append_receipt(x, out);
  end_reply(x, 200, text, text ? strlen(text) : 0);
  cJSON_free(text);
}

/* Where the server's files are is for its log, not for whoever called. */
static void hide_paths(struct problem *p) {
  if (p->status != 500 || p->trap || !p->detail || !strchr(p->detail, '/')) return;
  p->detail = "the server's log says why";
}

static void note(struct exchange *x, const struct problem *p) {
  const char *text = p->logged ? p->logged : p->detail ? p->detail : p->title;
  x->loop->service->note(x, p->status, p->function, text);
}

void reply_problem(struct exchange *x, const struct problem *given) {
  char reason_title[64];
  struct problem copy = *given, *p = &copy;
  if (p->status >= 500 || p->status == 402) note(x, p);
  hide_paths(p);
  char *text = problem_text(p, p->title ? p->title : reply_title(p->status, reason_title, sizeof reason_title));
  struct buffer *out = x->ops->begin(x, p->status);
  APPEND_LITERAL(out, "Content-Type: application/problem+json\r\n");
  if (p->has_gas) append_gas(out, p->gas);
  append_receipt(x, out);
  if (p->allow) buffer_format(out, "Allow: %s\r\n", p->allow);
  if (p->challenge) buffer_format(out, "WWW-Authenticate: %s\r\n", p->challenge);
  if (p->retry_after) buffer_format(out, "Retry-After: %u\r\n", p->retry_after);
  end_reply(x, p->status, text, text ? strlen(text) : 0);
  cJSON_free(text);
}

struct problem reply_problem_of(const struct gw_error *err, const char *function, const uint64_t *gas) {
  bool is_trap = err->code == GW_ERROR_TRAP;
  struct problem p = {
      .status = (uint32_t)gw_error_http_status(err),
      .title = gw_error_title(err->code),
      .detail = err->message,
      .function = function,
      .trap = is_trap ? gw_trap_message(err->trap) : NULL,
      .offset = err->code == GW_ERROR_MALFORMED || err->code == GW_ERROR_INVALID ? err->offset : GW_NO_OFFSET,
      .gas = gas ? *gas : 0,
      .has_gas = gas != NULL,
  };
  if (p.status == 503) p.retry_after = 1;
  return p;
}

void reply_error(struct exchange *x, const struct gw_error *err, const char *function, const uint64_t *gas,
                 const char *backtrace) {
  struct problem p = reply_problem_of(err, function, gas);
  p.backtrace = backtrace;
  reply_problem(x, &p);
}

void reply_trap(struct exchange *x, const struct gw_error *err, const char *function, const uint64_t *gas) {
  struct problem p = reply_problem_of(err, function, gas);
  p.detail = p.trap;
  p.logged = err->message;
  reply_problem(x, &p);
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

/* Whether there is a line of this name. */
static bool has_line(const struct buffer *headers, const char *name, size_t size) {
  const char *at = (const char *)headers->bytes, *end = at + headers->size;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    if (!newline) return false;
    if ((size_t)(newline - at) > size && at[size] == ':' && strncasecmp(at, name, size) == 0) return true;
    at = newline + 1;
  }
  return false;
}

/* Of those lines the ones that `headers` has none of the name of; a function that gives one of a name gives all of it. */
static void append_defaults(struct buffer *to, const struct buffer *defaults, const struct buffer *headers) {
  const char *at = (const char *)defaults->bytes, *end = at + defaults->size;
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *colon = memchr(at, ':', (size_t)(end - at));
    if (!has_line(headers, at, (size_t)(colon - at))) buffer_append(to, at, (size_t)(newline + 1 - at));
    at = newline + 1;
  }
}

/* A function that replies nothing to HEAD has not said how long its reply to GET is (RFC 9110, 8.6). */
void reply_function(struct exchange *x, const struct handler *h, const struct buffer *defaults, uint64_t gas) {
  if (h->status >= 500) x->loop->service->note(x, h->status, x->request.address, "is what the function replied");
  x->loop->reply_bytes += h->reply.size;
  struct buffer *out = x->ops->begin(x, h->status);
  bool has_content = !has_no_content(h->status), has_length = h->reply.size || x->request.method != HTTP_HEAD;
  append_gas(out, gas);
  append_receipt(x, out);
  struct buffer all = {0};
  const struct buffer *headers = &h->reply_headers;
  if (defaults && defaults->size) {
    buffer_append(&all, headers->bytes, headers->size);
    append_defaults(&all, defaults, headers);
    headers = &all;
  }
  bool has_type = headers->size && append_function_headers(out, headers, has_content);
  buffer_clear(&all);
  if (!has_type && h->reply.size && has_content) APPEND_LITERAL(out, "Content-Type: text/plain; charset=utf-8\r\n");
  x->ops->end(x, h->status, h->reply.bytes, h->reply.size, has_length);
}

void reply_text(struct exchange *x, uint32_t status, const char *type, const struct buffer *text) {
  struct buffer *out = x->ops->begin(x, status);
  buffer_format(out, "Content-Type: %s\r\n", type);
  end_reply(x, status, text->bytes, text->size);
}
