#include "server/api/route.h"

#include "server/api/control.h"
#include "server/api/metrics.h"
#include "server/function/function.h"
#include "server/http/reply.h"
#include "server/invoke/invoke.h"
#include "server/server.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)EXCHANGE_MAX_NAME >= (int)FUNCTION_MAX_NAME, "a function's name fits");

static const char FUNCTIONS[] = "/v1/functions";

enum { SMALL_BODY = 64 << 10 };

static size_t body_limit(const struct exchange *x) {
  const char *path = x->request.path;
  if (path && strncmp(path, "/f/", 3) == 0) return x->loop->options->max_body;
  if (path && strncmp(path, FUNCTIONS, sizeof FUNCTIONS - 1) == 0) return x->loop->options->max_module;
  return SMALL_BODY;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes in place. False for a broken escape or an escaped NUL. */
static bool percent_decode(char *text) {
  char *to = text;
  for (const char *from = text; *from; to++) {
    if (*from != '%') {
      *to = *from++;
      continue;
    }
    int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
    if (low < 0 || (high | low) == 0) return false;
    *to = (char)(high << 4 | low);
    from += 3;
  }
  *to = 0;
  return true;
}

static void method_not_allowed(struct exchange *x, const char *allow) {
  char detail[96];
  snprintf(detail, sizeof detail, "%s is not allowed here, only %s", x->request.method_name, allow);
  reply_problem(x, PROBLEM(.status = 405, .detail = detail, .allow = allow));
}

static bool is_read(const struct exchange *x) { return x->request.method == HTTP_GET || x->request.method == HTTP_HEAD; }

static void route_health(struct exchange *x, bool is_ready) {
  if (!is_read(x)) {
    method_not_allowed(x, "GET, HEAD");
    return;
  }
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "status", is_ready ? "ok" : "stopping");
  reply_json(x, is_ready ? 200 : 503, json);
}

static void route_metrics(struct exchange *x) {
  if (!is_read(x)) {
    method_not_allowed(x, "GET, HEAD");
    return;
  }
  struct metrics sum = {0};
  struct buffer text = {0};
  x->loop->ops->sum(x->loop, &sum);
  metrics_print(&sum, x->loop->registry, &text);
  reply_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
  buffer_clear(&text);
}

/* /v1/functions/NAME, /v1/functions/NAME/quarantine */
static void route_function(struct exchange *x, char *name) {
  char *slash = strchr(name, '/');
  bool is_quarantine = slash && strcmp(slash, "/quarantine") == 0;
  if (is_quarantine) *slash = 0;
  if (!percent_decode(name) || !function_name_is_valid(name, strlen(name))) {
    reply_problem(x, PROBLEM(.status = 400, .detail = "a function name has 1 to 63 characters of a-z, 0-9, _ and -, the "
                                                      "first one a letter or digit"));
    return;
  }
  if (is_quarantine) {
    if (x->request.method == HTTP_DELETE)
      control_lift(x, name);
    else
      method_not_allowed(x, "DELETE");
    return;
  }
  switch (x->request.method) {
  case HTTP_GET:
  case HTTP_HEAD: control_get(x, name); break;
  case HTTP_PUT: control_put(x, name); break;
  case HTTP_DELETE: control_delete(x, name); break;
  default: method_not_allowed(x, "GET, HEAD, PUT, DELETE"); break;
  }
}

/* /f/NAME and /f/NAME/... */
static void route_call(struct exchange *x, char *name) {
  char *slash = strchr(name, '/');
  size_t size = slash ? (size_t)(slash - name) : strlen(name);
  if (!function_name_is_valid(name, size)) {
    reply_problem(x, PROBLEM(.status = 404, .detail = "there is no function of this name"));
    return;
  }
  memcpy(x->request.name, name, size);
  x->request.name[size] = 0;
  if (slash && !percent_decode(slash)) {
    reply_problem(x, PROBLEM(.status = 400, .detail = "the path holds a broken percent escape"));
    return;
  }
  x->request.rest = slash ? slash : "";
  invoke_begin(x);
}

/* OPTIONS * is about the server (RFC 9110, 9.3.7): what it takes somewhere. */
static void route_server(struct exchange *x) { reply_allow(x, 204, "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"); }

static void begin(struct exchange *x) {
  char *path = x->request.path;
  size_t n = sizeof FUNCTIONS - 1;
  if (x->request.is_asterisk) {
    route_server(x);
    return;
  }
  if (strncmp(path, "/f/", 3) == 0) {
    route_call(x, path + 3);
  } else if (strncmp(path, FUNCTIONS, n) == 0 && path[n] == '/' && path[n + 1]) {
    route_function(x, path + n + 1);
  } else if (strncmp(path, FUNCTIONS, n) == 0 && (path[n] == 0 || strcmp(path + n, "/") == 0)) {
    if (is_read(x))
      control_list(x);
    else
      method_not_allowed(x, "GET, HEAD");
  } else if (strcmp(path, "/metrics") == 0) {
    route_metrics(x);
  } else if (strcmp(path, "/healthz") == 0) {
    route_health(x, true);
  } else if (strcmp(path, "/readyz") == 0) {
    route_health(x, !loop_is_ending(x->loop));
  } else {
    reply_problem(x, PROBLEM(.status = 404, .detail = "nothing is at this path; functions are at /f/NAME, their management at "
                                                      "/v1/functions"));
  }
}

const struct exchange_service route_service = {
    .body_limit = body_limit, .begin = begin, .cancel = invoke_cancel, .forget = invoke_forget, .note = invoke_note};
