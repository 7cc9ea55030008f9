/* How a line of the access log looks. */
#include "server/observe/access_log.h"

#include "base/json_text.h"

#include <stdint.h>
#include <string.h>

enum { NS_PER_SECOND = 1000000000 };

/* --- pieces: no printf, as each request has a dozen of them ------------------------------------------------------------------
 */

#define ADD(out, literal) buffer_append(out, literal, sizeof literal - 1)

static void add_number(struct buffer *out, uint64_t n) {
  char digits[20], *at = digits + sizeof digits;
  do *--at = (char)('0' + n % 10);
  while (n /= 10);
  buffer_append(out, at, (size_t)(digits + sizeof digits - at));
}

/* Six digits. */
static void add_millionths(struct buffer *out, uint64_t n) {
  char digits[7] = ".";
  for (int i = 6; i; i--, n /= 10) digits[i] = (char)('0' + n % 10);
  buffer_append(out, digits, sizeof digits);
}

static void add_seconds(struct buffer *out, uint64_t ns) {
  add_number(out, ns / NS_PER_SECOND);
  add_millionths(out, ns % NS_PER_SECOND / 1000);
}

static void print_second(struct access_lines *lines, time_t second, const char *format) {
  struct tm tm;
  if (lines->second == second && *lines->when) return;
  lines->second = second;
  strftime(lines->when, sizeof lines->when, format, gmtime_r(&second, &tm));
}

/* --- combined ----------------------------------------------------------------------------------------------------------- */

static bool is_plain(unsigned char c) { return c >= 32 && c < 127 && c != '"' && c != '\\'; }

/* As nginx does: quotes, backslashes and what is not printable ASCII as \xHH, so that a line is a line and its fields stay apart.
 */
static void add_escaped(struct buffer *out, const char *text) {
  static const char hex[] = "0123456789ABCDEF";
  while (*text) {
    size_t n = 0;
    while (is_plain((unsigned char)text[n])) n++; /* not at the end */
    buffer_append(out, text, n);
    text += n;
    if (!*text) return;
    unsigned char c = (unsigned char)*text++;
    buffer_append(out, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
  }
}

static void add_quoted(struct buffer *out, const char *text) {
  ADD(out, " \"");
  add_escaped(out, text ? text : "-");
  ADD(out, "\"");
}

static void add_word(struct buffer *out, const char *text) {
  ADD(out, " ");
  buffer_append_string(out, *text ? text : "-");
}

static void print_combined(struct access_lines *lines, const struct access_request *r, const struct trail *trail, uint64_t now_ns,
                           uint64_t took_ns) {
  struct buffer *out = &lines->text;
  print_second(lines, (time_t)(now_ns / NS_PER_SECOND), "%d/%b/%Y:%H:%M:%S +0000");
  buffer_append_string(out, r->peer);
  ADD(out, " - - [");
  buffer_append_string(out, lines->when);
  ADD(out, "] \"");
  if (r->target) {
    buffer_append_string(out, r->method);
    ADD(out, " ");
    add_escaped(out, r->target);
    buffer_append_string(out, r->is_http10 ? " HTTP/1.0" : " HTTP/1.1");
  }
  ADD(out, "\" ");
  add_number(out, r->status);
  ADD(out, " ");
  add_number(out, r->sent);
  add_quoted(out, r->referer);
  add_quoted(out, r->agent);
  ADD(out, " ");
  if (trail->has_gas)
    add_number(out, trail->gas);
  else
    ADD(out, "-");
  ADD(out, " ");
  add_seconds(out, took_ns);
  add_word(out, trail->id);
  add_word(out, trail->context.id);
  ADD(out, "\n");
}

/* --- JSON --------------------------------------------------------------------------------------------------------------- */

static void add_name(struct buffer *out, const char *name) {
  ADD(out, ",\"");
  buffer_append_string(out, name);
  ADD(out, "\":");
}

/* `text` NULL: nothing. */
static void add_text(struct buffer *out, const char *name, const char *text, size_t size) {
  if (!text) return;
  add_name(out, name);
  ADD(out, "\"");
  json_text_append(out, text, size);
  ADD(out, "\"");
}

static void add_string(struct buffer *out, const char *name, const char *text) {
  if (text) add_text(out, name, text, strlen(text));
}

static void add_count(struct buffer *out, const char *name, uint64_t n) {
  add_name(out, name);
  add_number(out, n);
}

static void add_target(struct buffer *out, const char *target) {
  size_t path = strcspn(target, "?");
  add_text(out, "url.path", target, path);
  if (target[path]) add_string(out, "url.query", target + path + 1);
}

static void add_call(struct buffer *out, const struct access_request *r, const struct trail *trail) {
  if (!trail->is_call) return;
  add_string(out, "faas.name", r->function);
  if (trail->version) {
    ADD(out, ",\"faas.version\":\"");
    add_number(out, trail->version);
    ADD(out, "\"");
  }
  add_string(out, "faas.invocation_id", *trail->id ? trail->id : NULL);
  add_name(out, "faas.coldstart");
  buffer_append_string(out, trail->is_cold ? "true" : "false");
  if (trail->has_gas) add_count(out, "gasworks.gas", trail->gas);
  add_string(out, "gasworks.tier", trail->tier);
  add_string(out, "gasworks.outcome", trail->outcome);
  add_string(out, "gasworks.trap", trail->trap);
}

static void print_json(struct access_lines *lines, const struct access_request *r, const struct trail *trail, uint64_t now_ns,
                       uint64_t took_ns) {
  struct buffer *out = &lines->text;
  print_second(lines, (time_t)(now_ns / NS_PER_SECOND), "%Y-%m-%dT%H:%M:%S");
  ADD(out, "{\"timestamp\":\"");
  buffer_append_string(out, lines->when);
  add_millionths(out, now_ns % NS_PER_SECOND / 1000);
  ADD(out, "Z\"");
  add_string(out, "client.address", r->peer);
  if (r->target) {
    add_string(out, "http.request.method", r->method);
    add_target(out, r->target);
    add_string(out, "url.scheme", "http");
    add_string(out, "network.protocol.version", r->is_http10 ? "1.0" : "1.1");
  }
  add_count(out, "http.response.status_code", r->status);
  add_count(out, "http.request.body.size", r->received);
  add_count(out, "http.response.body.size", r->sent);
  add_name(out, "http.server.request.duration");
  add_seconds(out, took_ns);
  add_string(out, "user_agent.original", r->agent);
  if (r->referer) {
    add_name(out, "http.request.header.referer");
    ADD(out, "[\"");
    json_text_append(out, r->referer, strlen(r->referer));
    ADD(out, "\"]");
  }
  add_call(out, r, trail);
  if (*trail->context.id) add_string(out, "trace_id", trail->context.id);
  if (*trail->context.span) add_string(out, "span_id", trail->context.span);
  ADD(out, "}\n");
}

void access_log_print(struct access_lines *lines, const struct access_request *request, const struct trail *trail, bool is_json,
                      uint64_t now_ns, uint64_t took_ns) {
  if (is_json)
    print_json(lines, request, trail, now_ns, took_ns);
  else
    print_combined(lines, request, trail, now_ns, took_ns);
}
