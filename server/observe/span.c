#include "server/observe/span.h"

#include "base/heap.h"
#include "base/json_text.h"
#include "base/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- keeping ------------------------------------------------------------------------------------------------------------ */

static size_t kept_size(const char *text) { return text ? strnlen(text, SPAN_TEXT) + 1 : 0; }

/* Into the room behind the span. */
static const char *keep(char **room, const char *text) {
  size_t size = kept_size(text);
  if (!size) return NULL;
  char *at = *room;
  memcpy(at, text, size - 1);
  at[size - 1] = 0;
  *room += size;
  return at;
}

struct span *span_create(const struct span_request *request, const struct trail *trail) {
  const struct span_request *r = request;
  size_t room = kept_size(r->target) + kept_size(r->agent) + kept_size(r->peer) + kept_size(r->address) + kept_size(r->function);
  struct span *s = heap_new(1, sizeof *s + room);
  char *at = (char *)(s + 1);
  s->trail = *trail;
  s->request = *r; /* the method's name is static */
  s->request.target = keep(&at, r->target);
  s->request.agent = keep(&at, r->agent);
  s->request.peer = keep(&at, r->peer);
  s->request.address = keep(&at, r->address);
  s->request.function = keep(&at, r->function);
  s->to = clock_ns(CLOCK_MONOTONIC);
  s->since_1970 = clock_ns(CLOCK_REALTIME) - s->to;
  return s;
}

/* --- printing ----------------------------------------------------------------------------------------------------------- */

static bool has_phase(const struct trail *trail, int phase) { return trail->phases[phase].from && trail->phases[phase].to; }

uint32_t span_count(const struct span *span) {
  uint32_t n = 1;
  for (int i = 0; i < TRAIL_PHASES; i++) n += has_phase(&span->trail, i);
  return n;
}

static void begin_attribute(struct buffer *out, const char *name) {
  bool is_first = out->bytes[out->size - 1] == '[';
  buffer_format(out, "%s{\"key\":\"%s\",\"value\":", is_first ? "" : ",", name);
}

static void add_text(struct buffer *out, const char *name, const char *text, size_t size) {
  if (!text) return;
  begin_attribute(out, name);
  buffer_append_string(out, "{\"stringValue\":\"");
  json_text_append(out, text, size);
  buffer_append_string(out, "\"}}");
}

static void add_string(struct buffer *out, const char *name, const char *text) {
  add_text(out, name, text, text ? strlen(text) : 0);
}

static void add_number(struct buffer *out, const char *name, uint64_t n) {
  begin_attribute(out, name);
  buffer_format(out, "{\"intValue\":\"%" PRIu64 "\"}}", n < INT64_MAX ? n : INT64_MAX);
}

static void add_bool(struct buffer *out, const char *name, bool value) {
  begin_attribute(out, name);
  buffer_format(out, "{\"boolValue\":%s}}", value ? "true" : "false");
}

/* Methods that the conventions know. */
static bool is_usual(const char *method) {
  static const char *const usual[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
    if (strcmp(method, usual[i]) == 0) return true;
  return false;
}

/* "/f/NAME", or with the tenant's part in front. */
static void print_route(const struct span_request *r, char *out, size_t size) {
  const char *slash = strchr(r->function, '/');
  if (slash)
    snprintf(out, size, "/t/%.*s/f/%s", (int)(slash - r->function), r->function, slash + 1);
  else
    snprintf(out, size, "/f/%s", r->function);
}

static void add_http(struct buffer *out, const struct span_request *r, const char *route) {
  size_t path = strcspn(r->target, "?");
  add_string(out, "http.request.method", is_usual(r->method) ? r->method : "_OTHER");
  if (!is_usual(r->method)) add_string(out, "http.request.method_original", r->method);
  add_string(out, "http.route", route);
  add_text(out, "url.path", r->target, path);
  if (r->target[path]) add_string(out, "url.query", r->target + path + 1);
  add_string(out, "url.scheme", "http");
  add_string(out, "network.protocol.version", r->is_http10 ? "1.0" : "1.1");
  if (r->status) add_number(out, "http.response.status_code", r->status);
  add_number(out, "http.request.body.size", r->received);
  add_number(out, "http.response.body.size", r->sent);
  add_string(out, "user_agent.original", r->agent);
  add_string(out, "client.address", r->peer);
  add_number(out, "server.port", r->port);
}

static void add_call(struct buffer *out, const struct span *span) {
  const struct trail *trail = &span->trail;
  char version[24];
  snprintf(version, sizeof version, "%" PRIu64, trail->version);
  add_string(out, "faas.trigger", "http");
  add_string(out, "faas.name", span->request.function);
  if (trail->version) add_string(out, "faas.version", version);
  if (*trail->id) add_string(out, "faas.invocation_id", trail->id);
  add_bool(out, "faas.coldstart", trail->is_cold);
  add_string(out, "gasworks.address", span->request.address);
  if (trail->has_gas) add_number(out, "gasworks.gas", trail->gas);
  add_string(out, "gasworks.tier", trail->tier);
  add_string(out, "gasworks.outcome", trail->outcome);
  add_string(out, "gasworks.trap", trail->trap);
  if (trail->attempts) add_number(out, "gasworks.conflicts", trail->attempts);
}

/* Of the server's own fault, or the function's (the conventions for servers). */
static bool is_error(const struct span_request *r) { return r->status >= 500; }

static void print_error(struct buffer *out, const struct span *span) {
  char status[16];
  if (!is_error(&span->request)) return;
  snprintf(status, sizeof status, "%u", span->request.status);
  add_string(out, "error.type", span->trail.trap ? span->trail.trap : status);
}

enum kind { KIND_INTERNAL = 1, KIND_SERVER = 2 };

static void begin_span(struct buffer *out, const struct span *span, const char *id, const char *parent, const char *name,
                       enum kind kind) {
  const struct context *context = &span->trail.context;
  bool is_first = out->bytes[out->size - 1] == '[';
  buffer_format(out, "%s{\"traceId\":\"%s\",\"spanId\":\"%s\"", is_first ? "" : ",", context->id, id);
  if (*parent) buffer_format(out, ",\"parentSpanId\":\"%s\"", parent);
  buffer_format(out, ",\"flags\":%u,\"name\":\"", (unsigned)context->flags);
  json_text_append(out, name, strlen(name));
  buffer_format(out, "\",\"kind\":%d", kind);
}

static void add_times(struct buffer *out, const struct span *span, uint64_t from, uint64_t to) {
  buffer_format(out, ",\"startTimeUnixNano\":\"%" PRIu64 "\",\"endTimeUnixNano\":\"%" PRIu64 "\"", span->since_1970 + from,
                span->since_1970 + to);
}

/* Its number is the server span's with the phase's added, which nobody else gives away in this trace. */
static void print_phase(struct buffer *out, const struct span *span, int phase, const char *name) {
  const struct context *context = &span->trail.context;
  char id[CONTEXT_SPAN_SIZE + 1];
  uint64_t n = strtoull(context->span, NULL, 16) + (uint64_t)phase + 1;
  snprintf(id, sizeof id, "%016" PRIx64, n ? n : (uint64_t)TRAIL_PHASES + 1);
  begin_span(out, span, id, context->span, name, KIND_INTERNAL);
  add_times(out, span, span->trail.phases[phase].from, span->trail.phases[phase].to);
  buffer_append(out, "}", 1);
}

static void print_span(struct buffer *out, const struct span *span) {
  static const char *const names[] = {
#define PHASE(name, text, help) text,
#include "server/observe/phase.def"
#undef PHASE
  };
  char route[256], name[320];
  const struct span_request *r = &span->request;
  print_route(r, route, sizeof route);
  snprintf(name, sizeof name, "%s %s", is_usual(r->method) ? r->method : "HTTP", route);
  begin_span(out, span, span->trail.context.span, span->trail.context.parent, name, KIND_SERVER);
  add_times(out, span, span->trail.began, span->to);
  buffer_append_string(out, ",\"attributes\":[");
  add_http(out, r, route);
  add_call(out, span);
  print_error(out, span);
  buffer_format(out, "],\"status\":{%s}}", is_error(r) ? "\"code\":2" : "");
  for (int i = 0; i < TRAIL_PHASES; i++)
    if (has_phase(&span->trail, i)) print_phase(out, span, i, names[i]);
}

void span_print_batch(struct buffer *out, const struct span *spans, const char *resource) {
  buffer_format(out,
                "{\"resourceSpans\":[{\"resource\":{\"attributes\":%s},\"scopeSpans\":[{\"scope\":{\"name\":\"gasworks\","
                "\"version\":\"%s\"},\"spans\":[",
                resource, GASWORKS_VERSION);
  for (const struct span *s = spans; s; s = s->next) print_span(out, s);
  buffer_append_string(out, "]}]}]}");
}
