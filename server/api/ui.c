/* GET /ui/...: the dashboard's files. They need no token and hold no data: the page asks the other routes, with the user's token.
 *
 * Functions are of the same origin unless the dashboard has a name of its own (`serve --ui-host`), and what they reply may be a
 * page with scripts. What keeps those from the token (docs/http.md tells why so):
 *   - The token is in the memory of the page, in no cookie. It is kept in the tab's storage, where the user wishes, only by a
 * name of its own: pages of functions have no scripts there.
 *   - No page can frame this one, and none keeps a handle to it (Cross-Origin-Opener-Policy; app.js looks, too). Browsers
 * heed that in secure contexts alone: by plain HTTP elsewhere the page warns (signin.js).
 *   - A function cannot put a service worker between (`Service-Worker-Allowed` is the server's, runtime/host/header.c), nor
 *     before another function (route.c).
 *   - A token in an address is taken only when the user says so: else a link would sign somebody in as another.
 *   - Scripts come from here alone, and text never becomes HTML (Trusted Types). */
#include "server/api/route.h"
#include "server/http/credentials.h"
#include "server/http/head.h"
#include "server/http/reply.h"
#include "server/http/text.h"
#include "server/loop/loop.h"
#include "server/server.h"
#include "server/ui/ui.h"

#include <string.h>

static const char SAFE[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "Cross-Origin-Opener-Policy: noopener-allow-popups\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), geolocation=(), microphone=()\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n";

/* The tag is the whole file's, so whoever names it has it. */
static bool has_it(const struct request *r, const char *tag) {
  const char *given = request_header(r, "If-None-Match");
  return given && (strcmp(given, "*") == 0 || strstr(given, tag));
}

static void send_file(struct exchange *x, const struct ui_file *file) {
  char tag[UI_TAG_SIZE];
  bool is_known = has_it(&x->request, ui_tag(file, tag));
  uint32_t status = is_known ? 304 : 200;
  struct buffer *out = x->ops->begin(x, status);
  buffer_format(out, "ETag: %s\r\nCache-Control: no-cache\r\n", tag);
  if (!is_known) buffer_format(out, "Content-Type: %s\r\n", file->type);
  APPEND_LITERAL(out, SAFE);
  if (credentials_is_ui_host(x)) APPEND_LITERAL(out, "Gasworks-Origin: own\r\n"); /* api.js asks */
  x->ops->end(x, status, file->bytes, is_known ? 0 : (size_t)(file->end - file->bytes), true);
}

/* By the dashboard's own name, with the port that the client has. What stands behind a # goes along. */
static void send_to_own_name(struct exchange *x) {
  const char *host = request_header(&x->request, "host");
  const char *port = host ? host + head_host_without_port(host, strlen(host)) : "";
  buffer_format(x->ops->begin(x, 307), "Location: //%s%s/ui/\r\nCache-Control: no-store\r\n", x->loop->options->ui_host, port);
  x->ops->end(x, 307, NULL, 0, true);
}

/* Names in the page are relative to /ui/. */
static void send_on(struct exchange *x) {
  APPEND_LITERAL(x->ops->begin(x, 308), "Location: ui/\r\n");
  x->ops->end(x, 308, NULL, 0, true);
}

void route_ui(struct exchange *x, const struct place *place) {
  bool is_elsewhere = x->loop->options->ui_host && !credentials_is_ui_host(x);
  struct refusal bad = is_elsewhere ? (struct refusal){0} : credentials_check_origin(x);
  const struct ui_file *file = *place->rest ? ui_find(place->rest + 1) : NULL;
  if (bad.status)
    reply_problem(x, PROBLEM(.status = bad.status, .detail = bad.detail));
  else if (is_elsewhere)
    send_to_own_name(x);
  else if (!*place->rest)
    send_on(x);
  else if (file)
    send_file(x, file);
  else
    reply_problem(x, PROBLEM(.status = 404, .detail = "the dashboard has no such file; it is at /ui/"));
}
