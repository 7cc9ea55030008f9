#include "server/api/route.h"

#include "runtime/state/state.h"
#include "server/api/logs.h"
#include "server/api/query.h"
#include "server/function/function.h"
#include "server/http/credentials.h"
#include "server/http/head.h"
#include "server/http/reply.h"
#include "server/invoke/invoke.h"
#include "server/isolate/upstream.h"
#include "server/loop/loop.h"
#include "server/server.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

_Static_assert((int)EXCHANGE_MAX_ADDRESS == (int)FUNCTION_MAX_ADDRESS, "requests have room for an address");
_Static_assert((int)ACCESS_MAX_NAME == (int)FUNCTION_MAX_NAME, "tenants and functions have names of one kind");

enum who { WHO_ALL, WHO_CALLERS, WHO_TENANT, WHO_OPERATOR, WHO_SERVER };
enum methods { METHODS_ANY, METHODS_GET, METHODS_PUT, METHODS_POST, METHODS_PATCH, METHODS_DELETE };
enum body { BODY_SMALL, BODY_CALL, BODY_MODULE };
enum at { AT_FRONT, AT_WORKER };

enum { SMALL_BODY = 64 << 10 };

static const struct route {
  enum methods methods;
  const char *path;
  enum who who;
  enum scope scope;
  enum body body;
  enum at at;
  void (*answer)(struct exchange *x, const struct place *place);
} routes[] = {
#define ROUTE(name, methods, path, who, scope, body, at) \
  {METHODS_##methods, path, WHO_##who, SCOPE_##scope, BODY_##body, AT_##at, route_##name},
#include "server/api/routes.def"
#undef ROUTE
};

enum { N_ROUTES = sizeof routes / sizeof *routes };

/* --- matching ---------------------------------------------------------------------------------------------------- */

/* A segment of the path. */
struct span {
  const char *at;
  size_t size;
};

struct match {
  const struct route *route; /* NULL: nothing is there, or not for this method */
  bool is_known;             /* there is something for other methods */
  bool allows[METHODS_DELETE + 1];
  bool has_tenant;
  struct span tenant, name, word;
  const char *rest;
};

static bool method_fits(enum methods methods, llhttp_method_t method) {
  switch (methods) {
  case METHODS_ANY: return true;
  case METHODS_GET: return method == HTTP_GET || method == HTTP_HEAD;
  case METHODS_PUT: return method == HTTP_PUT;
  case METHODS_POST: return method == HTTP_POST;
  case METHODS_PATCH: return method == HTTP_PATCH;
  case METHODS_DELETE: return method == HTTP_DELETE;
  }
  return false;
}

static bool is_end(const char *pattern, const char *path) { return !*pattern && (!*path || strcmp(path, "/") == 0); }

static bool path_fits(const char *pattern, const char *path, struct match *m) {
  m->name = m->word = (struct span){0};
  while (*pattern) {
    if (pattern[0] == '/' && pattern[1] == '.') { /* ... */
      m->rest = path;
      return !*path || *path == '/';
    }
    if (*pattern != '{') {
      if (*pattern++ != *path++) return false;
      continue;
    }
    size_t size = strcspn(path, "/");
    *(m->name.size ? &m->word : &m->name) = (struct span){path, size};
    if (!size) return false;
    path += size;
    pattern += 2;
  }
  return is_end(pattern, path);
}

/* "/t/NAME/..." becomes "/...". */
static const char *take_tenant(const char *path, struct match *m) {
  if (strncmp(path, "/t/", 3) != 0) return path;
  m->has_tenant = true;
  m->tenant = (struct span){path + 3, strcspn(path + 3, "/")};
  return path + 3 + m->tenant.size;
}

static struct match match(const struct request *r) {
  struct match m = {0};
  const char *path = take_tenant(r->path, &m);
  for (size_t i = 0; i < N_ROUTES && !m.route; i++) {
    const struct route *route = &routes[i];
    if (m.has_tenant && (route->who == WHO_ALL || route->who == WHO_SERVER)) continue;
    if (!path_fits(route->path, path, &m)) continue;
    m.is_known = m.allows[route->methods] = true;
    if (method_fits(route->methods, r->method)) m.route = route;
  }
  return m;
}

/* --- who may ----------------------------------------------------------------------------------------------------- */

enum { MAX_SEGMENT = 3 * (2 * ACCESS_MAX_NAME + 1) };

static bool decode_segment(const struct span *span, char out[MAX_SEGMENT + 1]) {
  if (!span->size || span->size > MAX_SEGMENT) return false;
  memcpy(out, span->at, span->size);
  out[span->size] = 0;
  return query_percent_decode(out);
}

static bool copy_name(const char *text, char out[ACCESS_MAX_NAME + 1]) {
  size_t size = strlen(text);
  if (!function_name_is_valid(text, size)) return false;
  memcpy(out, text, size + 1);
  return true;
}

/* Decodes a segment; false where it is no name. */
static bool take_name(const struct span *span, char out[ACCESS_MAX_NAME + 1]) {
  char text[MAX_SEGMENT + 1];
  return decode_segment(span, text) && copy_name(text, out);
}

/* The same of NAME, NAME@ALIAS and NAME@VERSION. */
static bool take_address(const struct span *span, struct place *place) {
  char text[MAX_SEGMENT + 1];
  if (!decode_segment(span, text)) return false;
  char *at = strchr(text, '@');
  if (at) *at++ = 0;
  return copy_name(text, place->name) && (!at || copy_name(at, place->word));
}

/* The segments of the path that are names. */
static bool take_names(const struct match *m, struct place *place) {
  if (m->route->who == WHO_CALLERS) return take_address(&m->name, place);
  return (!m->name.size || take_name(&m->name, place->name)) && (!m->word.size || take_name(&m->word, place->word));
}

/* Why a request is refused, before anything of it was looked up. */
struct denial {
  uint32_t status; /* 0: it is not */
  const char *challenge;
  char detail[192];
};

static const char *scope_word(enum scope scope) {
  uint32_t bit = 0;
  const char *text = "";
  for (unsigned i = 0; bit != scope && (text = access_scope_text(i, &bit)); i++) {
  }
  return text;
}

__attribute__((format(printf, 4, 5))) static bool deny(struct denial *d, uint32_t status, const char *challenge,
                                                       const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(d->detail, sizeof d->detail, format, args);
  va_end(args);
  d->status = status;
  d->challenge = challenge;
  return false;
}

/* A tenant that is another's is, to its token, none. `name`: of the tenant that the path names. */
static bool check_tenant(struct exchange *x, const struct match *m, char name[ACCESS_MAX_NAME + 1], struct denial *d) {
  const char *own = x->pass.who.tenant;
  if (!m->has_tenant) return true;
  bool is_name = take_name(&m->tenant, name), is_there = is_name && access_has_tenant(x->loop->access, name);
  if (is_there && (!*own || strcmp(own, name) == 0)) return true;
  return deny(d, 404, NULL, is_name ? "no tenant is called %s" : "the path names no tenant", name);
}

/* In an order in which each answer tells nothing that who gets it may not know. */
static bool check_access(struct exchange *x, const struct match *m, char tenant[ACCESS_MAX_NAME + 1], struct denial *d) {
  const struct route *route = m->route;
  if (route->who == WHO_ALL || route->who == WHO_CALLERS) return true;
  struct refusal bad = credentials_check_origin(x);
  if (bad.status) return deny(d, bad.status, NULL, "%s", bad.detail);
  if (!credentials_check(x)) {
    if (!x->request.token) return deny(d, 401, "Bearer", "this needs a token, in a header: Authorization: Bearer TOKEN");
    return deny(d, 401, "Bearer error=\"invalid_token\"", "the token is not good here: wrong, expired or revoked");
  }
  const struct identity *who = &x->pass.who;
  if (!access_allows(who, who->tenant, strlen(who->tenant), route->scope))
    return deny(d, 403, "Bearer error=\"insufficient_scope\"", "this needs a token with the scope %s", scope_word(route->scope));
  if ((route->who == WHO_SERVER || route->who == WHO_OPERATOR) && *who->tenant)
    return deny(d, 403, NULL, "this needs a token of the server, not of a tenant");
  return check_tenant(x, m, tenant, d);
}

static void answer_denied(struct exchange *x, const struct denial *d) {
  metrics_add(&x->loop->metrics.denied, 1);
  reply_problem(x, PROBLEM(.status = d->status, .detail = d->detail, .challenge = d->challenge));
}

static bool admit(struct exchange *x) {
  struct match m = match(&x->request);
  char tenant[ACCESS_MAX_NAME + 1];
  struct denial denial;
  return x->request.is_asterisk || !m.route || check_access(x, &m, tenant, &denial);
}

static size_t body_limit(const struct exchange *x) {
  if (!x->request.path || x->request.is_asterisk) return SMALL_BODY;
  struct match m = match(&x->request);
  switch (m.route ? m.route->body : BODY_SMALL) {
  case BODY_CALL: return x->loop->options->max_body;
  case BODY_MODULE: return x->loop->options->max_module;
  case BODY_SMALL: break;
  }
  return SMALL_BODY;
}

/* --- answering --------------------------------------------------------------------------------------------------- */

/* OPTIONS * is about the server (RFC 9110, 9.3.7): what it takes somewhere. */
static void answer_server(struct exchange *x) { reply_allow(x, 204, "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"); }

static void answer_unknown(struct exchange *x, const struct match *m) {
  static const char *const words[] = {"", "GET, HEAD", "PUT", "POST", "PATCH", "DELETE"};
  char allow[64] = "", detail[128];
  if (!m->is_known) {
    reply_problem(x, PROBLEM(.status = 404, .detail = "nothing is at this path; functions are at /f/NAME, their management at "
                                                      "/v1/functions"));
    return;
  }
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (m->allows[i]) snprintf(allow + strlen(allow), sizeof allow - strlen(allow), "%s%s", *allow ? ", " : "", words[i]);
  snprintf(detail, sizeof detail, "%s is not allowed here, only %s", x->request.method_name, allow);
  reply_problem(x, PROBLEM(.status = 405, .detail = detail, .allow = allow));
}

static void answer_no_name(struct exchange *x, const struct match *m) {
  if (m->route->who == WHO_CALLERS)
    reply_problem(x, PROBLEM(.status = 404, .detail = "there is no function of this name"));
  else
    reply_problem(x,
                  PROBLEM(.status = 400, .detail = "a name has 1 to 63 characters of a-z, 0-9, _ and -, the first one a letter "
                                                   "or digit"));
}

/* To the tenant's process: under its own path, and with what who sent it may do there. A tenant that is not there gets its answer
 * from a process, too, that has none of its functions: nobody can tell it from one without that function. */
static void forward(struct exchange *x, const struct match *m, const char *tenant) {
  struct buffer target = {0};
  uint32_t scopes = 0, bit;
  bool is_known = (x->request.token || x->loop->options->is_insecure) && credentials_check(x);
  for (unsigned i = 0; is_known && access_scope_text(i, &bit); i++)
    if (access_allows(&x->pass.who, tenant, strlen(tenant), bit)) scopes |= bit;
  if (!m->has_tenant && strcmp(tenant, DEFAULT_TENANT) != 0) buffer_format(&target, "/t/%s", tenant);
  buffer_append(&target, x->request.target, strlen(x->request.target) + 1);
  bool is_there = access_has_tenant(x->loop->access, tenant);
  upstream_forward(x, is_there ? tenant : DEFAULT_TENANT, (const char *)target.bytes, scopes);
  buffer_clear(&target);
}

static void set_address(struct exchange *x, const struct place *place) {
  function_full_name(place->tenant, place->name, x->request.address);
  if (*place->word) {
    size_t size = strlen(x->request.address);
    x->request.address[size] = '@';
    memcpy(x->request.address + size + 1, place->word, strlen(place->word) + 1);
  }
}

/* For the access log and a span, which the front makes. */
static void note_call(struct exchange *x, const struct place *place) {
  x->trail.is_call = true;
  set_address(x, place);
}

static void begin(struct exchange *x) {
  x->word = NULL;
  x->is_sandboxed = false;
  if (x->request.is_asterisk) {
    answer_server(x);
    return;
  }
  struct match m = match(&x->request);
  struct place place = {.tenant = DEFAULT_TENANT, .rest = m.rest ? x->request.path + (m.rest - x->request.path) : NULL};
  char tenant[ACCESS_MAX_NAME + 1] = "";
  struct denial denial;
  bool is_call = m.route && m.route->who == WHO_CALLERS;
  x->is_sandboxed = is_call && credentials_is_ui_host(x);
  if (!m.route) {
    answer_unknown(x, &m);
  } else if (!check_access(x, &m, tenant, &denial)) {
    answer_denied(x, &denial);
  } else if (!take_names(&m, &place) || (is_call && m.has_tenant && !take_name(&m.tenant, tenant))) {
    answer_no_name(x, &m);
  } else {
    place.is_server = m.route->who == WHO_TENANT && !m.has_tenant && !*x->pass.who.tenant;
    if (m.has_tenant)
      place.tenant = tenant;
    else if (m.route->who == WHO_TENANT && !place.is_server)
      place.tenant = x->pass.who.tenant;
    if (x->loop->supervisor && m.route->at == AT_WORKER) {
      if (is_call) note_call(x, &place);
      forward(x, &m, place.tenant);
    } else {
      m.route->answer(x, &place);
    }
  }
}

static void cancel(struct exchange *x, bool with_reply) {
  if (x->pending)
    *x->pending = (struct pending){.is_cancelled = true, .wants_reply = with_reply};
  else if (x->upstream)
    upstream_cancel(x, with_reply);
  else if (x->watch)
    logs_cancel(x, with_reply);
  else
    invoke_cancel(x, with_reply);
}

/* A worker looks itself. */
static void tick(struct exchange *x) {
  if (!x->upstream && !x->watch) invoke_tick(x);
}

const struct exchange_service route_service = {.body_limit = body_limit,
                                               .admit = admit,
                                               .begin = begin,
                                               .cancel = cancel,
                                               .tick = tick,
                                               .forget = invoke_forget,
                                               .note = invoke_note};

/* --- what needs no more than a line ------------------------------------------------------------------------------ */

/* The worker of a script at /f/NAME would see the requests to all of /f/: a browser takes the folder that the script is in. Pages
 * cannot set this header. */
static bool is_worker_of_all(const struct request *r, const char *rest) {
  const char *is = request_header(r, "service-worker");
  return is && strcasecmp(is, "script") == 0 && !*rest;
}

void route_call(struct exchange *x, const struct place *place) {
  if (is_worker_of_all(&x->request, place->rest)) {
    reply_problem(
        x, PROBLEM(.status = 403, .detail = "the script of a service worker is below the name of its function: /f/NAME/..."));
    return;
  }
  if (!query_percent_decode(place->rest)) {
    reply_problem(x, PROBLEM(.status = 400, .detail = "the path holds a broken percent escape"));
    return;
  }
  set_address(x, place);
  x->request.rest = place->rest;
  invoke_begin(x);
}

/* NULL: nothing is wrong. */
static void answer_health(struct exchange *x, const char *trouble) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "status", trouble ? trouble : "ok");
  reply_json(x, trouble ? 503 : 200, json);
}

void route_healthz(struct exchange *x, const struct place *place) {
  (void)place;
  answer_health(x, NULL);
}

void route_readyz(struct exchange *x, const struct place *place) {
  (void)place;
  bool is_away = x->loop->state && state_store_is_away(x->loop->state);
  answer_health(x, loop_is_ending(x->loop) ? "stopping" : is_away ? "no database" : NULL);
}
