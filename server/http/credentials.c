#include "server/http/credentials.h"

#include "server/http/head.h"
#include "server/loop/loop.h"
#include "server/server.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char PREFIX[] = TOKEN_PREFIX;

/* What stands behind "Bearer ", when it is one of ours. */
static const char *bearer(const char *value) {
  if (strncasecmp(value, "bearer ", 7) != 0) return NULL;
  value += 7;
  value += strspn(value, " ");
  return strncmp(value, PREFIX, sizeof PREFIX - 1) == 0 ? value : NULL;
}

/* What the front says: "SCOPES PORT ADDRESS". Whoever else could say it does not reach a worker. */
static void take_identity(struct request *r, const char *value) {
  char *end;
  r->scopes = (uint32_t)strtoul(value, &end, 10);
  r->port = (uint16_t)strtoul(end, &end, 10);
  r->peer = end + (*end == ' ');
}

void credentials_take(struct request *r, bool is_worker) {
  uint32_t kept = 0;
  r->token = r->peer = NULL;
  r->scopes = 0;
  for (uint32_t i = 0; i < r->n_headers; i++) {
    const char *name = r->headers[i].name;
    bool is_own = (*name | 32) == 'g' && strcasecmp(name, "gasworks-authorization") == 0;
    if (is_worker && (*name | 32) == 'g' && strcasecmp(name, "gasworks-identity") == 0) {
      take_identity(r, r->headers[i].value);
      continue;
    }
    bool may_be = is_own || ((*name | 32) == 'a' && strcasecmp(name, "authorization") == 0);
    const char *token = may_be ? bearer(r->headers[i].value) : NULL;
    if (token && (is_own || !r->token)) r->token = token;
    if (!token && !is_own) r->headers[kept++] = r->headers[i];
  }
  r->n_headers = kept;
}

bool credentials_check(struct exchange *x) {
  struct loop *loop = x->loop;
  if (loop->options->worker_of) {
    x->pass = (struct pass){.who = {.scopes = x->request.scopes}};
    return x->request.scopes != 0;
  }
  if (loop->options->is_insecure) {
    x->pass = (struct pass){.who = {.scopes = SCOPE_ADMIN}};
    return credentials_check_origin(x).status == 0; /* a private function is not for web pages of elsewhere, either */
  }
  return access_check(loop->access, x->request.token ? x->request.token : "", &x->pass);
}

bool credentials_allow(struct exchange *x, const char *function, enum scope scope) {
  const char *slash = strchr(function, '/'), *tenant = slash ? function : DEFAULT_TENANT;
  size_t size = slash ? (size_t)(slash - function) : strlen(tenant);
  return credentials_check(x) && access_allows(&x->pass.who, tenant, size, scope);
}

/* --- web pages ---------------------------------------------------------------------------------------------------- */

static bool is_address(const char *host, size_t size) {
  char text[INET6_ADDRSTRLEN];
  struct in6_addr address;
  if (size >= 2 && host[0] == '[' && host[size - 1] == ']') host++, size -= 2;
  if (size == 0 || size >= sizeof text) return false;
  memcpy(text, host, size);
  text[size] = 0;
  return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_name(const char *host, size_t size, const char *name) {
  return strlen(name) == size && strncasecmp(host, name, size) == 0;
}

/* A page whose own name has been made to point here can send anything but another Host. An address is no name. */
static bool host_is_ours(const struct server_options *o, const char *host) {
  size_t size = head_host_without_port(host, strlen(host));
  bool is_ours = size == 0 || is_address(host, size) || is_name(host, size, "localhost");
  is_ours = is_ours || (o->ui_host && is_name(host, size, o->ui_host));
  for (size_t i = 0; i < o->n_hosts && !is_ours; i++) is_ours = is_name(host, size, o->hosts[i]);
  return is_ours;
}

/* "http://HOST" of the Host itself. */
static bool origin_is_host(const char *origin, const char *host) {
  const char *colon = strstr(origin, "://");
  bool is_web =
      colon && (is_name(origin, (size_t)(colon - origin), "http") || is_name(origin, (size_t)(colon - origin), "https"));
  return is_web && host && strcasecmp(colon + 3, host) == 0;
}

bool credentials_is_ui_host(const struct exchange *x) {
  const char *name = x->loop->options->ui_host, *host = name ? request_header(&x->request, "host") : NULL;
  return host && is_name(host, head_host_without_port(host, strlen(host)), name);
}

/* Pages have the functions' origin there, as the dashboard has one of its own. Scripts cannot leave these headers out. */
static bool is_of_page_elsewhere(const struct exchange *x) {
  const struct request *r = &x->request;
  if (!x->loop->options->ui_host || credentials_is_ui_host(x)) return false;
  return request_header(r, "sec-fetch-site") || request_header(r, "origin");
}

struct refusal credentials_check_origin(const struct exchange *x) {
  const struct request *r = &x->request;
  const char *host = request_header(r, "host");
  if (host && !host_is_ours(x->loop->options, host))
    return (struct refusal){421, "this server is not called by the name in Host; `gasworks serve --host NAME` makes it be"};
  if (is_of_page_elsewhere(x))
    return (struct refusal){403, "web pages may do this by the name of the dashboard alone (`gasworks serve --ui-host`)"};
  for (uint32_t i = 0; i < r->n_headers; i++)
    if (strcasecmp(r->headers[i].name, "origin") == 0 && !origin_is_host(r->headers[i].value, host))
      return (struct refusal){403, "web pages of other origins may not do this"};
  return (struct refusal){0};
}
