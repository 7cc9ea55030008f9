/* How a line of the access log looks. */
#include "server/observe/access_log.h"

#include "base/json_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NS_PER_SECOND = 1000000000 };

/* --- combined ----------------------------------------------------------------------------------------------------------- */

/* As nginx does: quotes, backslashes and what is not printable ASCII as \xHH, so that a line is a line and its fields stay apart.
 */
static void append_escaped(struct buffer *out, const char *text) {
  static const char hex[] = "0123456789ABCDEF";
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c < 32 || c > 126 || c == '"' || c == '\\')
      buffer_append(out, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
    else
      buffer_append(out, text, 1);
  }
}

static void append_quoted(struct buffer *out, const char *text) {
  buffer_append(out, " \"", 2);
  append_escaped(out, text ? text : "-");
  buffer_append(out, "\"", 1);
}

static void print_second(struct access_lines *lines, time_t second) {
  struct tm tm;
  if (lines->second == second && *lines->when) return;
  lines->second = second;
  strftime(lines->when, sizeof lines->when, "%d/%b/%Y:%H:%M:%S +0000", gmtime_r(&second, &tm));
}

static void print_combined(struct access_lines *lines, const struct access_request *r, const struct trail *trail, uint64_t now_ns,
                           uint64_t took_ns) {
  struct buffer *out = &lines->text;
  print_second(lines, (time_t)(now_ns / NS_PER_SECOND));
  buffer_format(out, "%s - - [%s] \"", r->peer, lines->when);
  if (r->target) {
    buffer_format(out, "%s ", r->method);
    append_escaped(out, r->target);
    buffer_format(out, " HTTP/1.%d", !r->is_http10);
  }
  buffer_format(out, "\" %u %" PRIu64, r->status, r->sent);
  append_quoted(out, r->referer);
  append_quoted(out, r->agent);
  if (trail->has_gas)
    buffer_format(out, " %" PRIu64, trail->gas);
  else
    buffer_append(out, " -", 2);
  buffer_format(out, " %" PRIu64 ".%06u %s %s\n", took_ns / NS_PER_SECOND, (unsigned)(took_ns % NS_PER_SECOND / 1000),
                *trail->id ? trail->id : "-", *trail->context.id ? trail->context.id : "-");
}

/* --- JSON --------------------------------------------------------------------------------------------------------------- */

/* `text` NULL: nothing. */
static void add_text(struct buffer *out, const char *name, const char *text, size_t size) {
  if (!text) return;
  buffer_format(out, ",\"%s\":\"", name);
  json_text_append(out, text, size);
  buffer_append(out, "\"", 1);
}

static void add_string(struct buffer *out, const char *name, const char *text) {
  add_text(out, name, text, text ? strlen(text) : 0);
}

static void add_target(struct buffer *out, const char *target) {
  if (!target) return;
  size_t path = strcspn(target, "?");
  add_text(out, "url.path", target, path);
  if (target[path]) add_string(out, "url.query", target + path + 1);
}

static void add_call(struct buffer *out, const struct access_request *r, const struct trail *trail) {
  if (!trail->is_call) return;
  add_string(out, "faas.name", r->function);
  if (trail->version) buffer_format(out, ",\"faas.version\":\"%" PRIu64 "\"", trail->version);
  add_string(out, "faas.invocation_id", *trail->id ? trail->id : NULL);
  buffer_format(out, ",\"faas.coldstart\":%s", trail->is_cold ? "true" : "false");
  if (trail->has_gas) buffer_format(out, ",\"gasworks.gas\":%" PRIu64, trail->gas);
  add_string(out, "gasworks.tier", trail->tier);
  add_string(out, "gasworks.outcome", trail->outcome);
  add_string(out, "gasworks.trap", trail->trap);
}

static void print_json(struct buffer *out, const struct access_request *r, const struct trail *trail, uint64_t now_ns,
                       uint64_t took_ns) {
  struct tm tm;
  char when[32];
  time_t second = (time_t)(now_ns / NS_PER_SECOND);
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime_r(&second, &tm));
  buffer_format(out, "{\"timestamp\":\"%s.%06uZ\"", when, (unsigned)(now_ns % NS_PER_SECOND / 1000));
  add_string(out, "client.address", r->peer);
  if (r->target) {
    add_string(out, "http.request.method", r->method);
    add_target(out, r->target);
    buffer_format(out, ",\"url.scheme\":\"http\",\"network.protocol.version\":\"1.%d\"", !r->is_http10);
  }
  buffer_format(out,
                ",\"http.response.status_code\":%u,\"http.request.body.size\":%" PRIu64 ",\"http.response.body.size\":%" PRIu64,
                r->status, r->received, r->sent);
  buffer_format(out, ",\"http.server.request.duration\":%" PRIu64 ".%06u", took_ns / NS_PER_SECOND,
                (unsigned)(took_ns % NS_PER_SECOND / 1000));
  add_string(out, "user_agent.original", r->agent);
  if (r->referer) {
    buffer_append_string(out, ",\"http.request.header.referer\":[\"");
    json_text_append(out, r->referer, strlen(r->referer));
    buffer_append_string(out, "\"]");
  }
  add_call(out, r, trail);
  if (*trail->context.id) add_string(out, "trace_id", trail->context.id);
  if (*trail->context.span) add_string(out, "span_id", trail->context.span);
  buffer_append(out, "}\n", 2);
}

void access_log_print(struct access_lines *lines, const struct access_request *request, const struct trail *trail, bool is_json,
                      uint64_t now_ns, uint64_t took_ns) {
  if (is_json)
    print_json(&lines->text, request, trail, now_ns, took_ns);
  else
    print_combined(lines, request, trail, now_ns, took_ns);
}
