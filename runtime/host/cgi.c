/* CGI: a request as an environment (RFC 3875 section 4.1), output as a reply (section 6). */
#include "runtime/host/cgi.h"

#include "base/arena.h"
#include "runtime/host/header.h"

#include <string.h>

/* --- the environment ---------------------------------------------------------------------------------------------- */

enum { MAX_ENV = 1 << 20, MAX_HEADERS = 1000, N_FIXED = 14 };

static const char *text(const char *s) { return s ? s : ""; }

/* Names that are not letters, digits and "-" are left out: "A_B" and "A-B" would meet in HTTP_A_B, and a client could forge what
 * a proxy sets. "Proxy" would become HTTP_PROXY, which programs take for the proxy to use. */
static bool header_is_passed(const char *name) {
  size_t size = strlen(name);
  if (header_name_is("Proxy", name, size) || header_name_is("Content-Type", name, size) ||
      header_name_is("Content-Length", name, size))
    return false;
  return size && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static const char *env_name(struct arena *arena, const char *header) {
  char *name = arena_format(arena, "HTTP_%s", header);
  for (char *p = name + 5; *p; p++) {
    if (*p == '-') *p = '_';
    if (*p >= 'a' && *p <= 'z') *p = (char)(*p - 'a' + 'A');
  }
  return name;
}

/* Index of the first header of that name, or n_headers. */
static size_t find_header(const struct handler *h, const char *name) {
  size_t i = 0;
  while (i < h->n_headers && !header_name_is(name, h->headers[i].name, strlen(h->headers[i].name))) i++;
  return i;
}

static const char *header_value(const struct handler *h, const char *name) {
  size_t i = find_header(h, name);
  return i < h->n_headers ? h->headers[i].value : NULL;
}

/* The values of all headers with the name of header `at`, which is the first of them. */
static const char *joined_values(struct arena *arena, const struct handler *h, size_t at) {
  const char *name = h->headers[at].name, *separator = header_name_is("Cookie", name, strlen(name)) ? "; " : ", ";
  struct buffer joined = {0};
  for (size_t i = at; i < h->n_headers; i++) {
    if (!header_name_is(name, h->headers[i].name, strlen(h->headers[i].name))) continue;
    if (i > at) buffer_append_string(&joined, separator);
    buffer_append_string(&joined, h->headers[i].value);
  }
  buffer_append(&joined, "", 1);
  const char *copy = arena_copy(arena, joined.bytes, joined.size);
  buffer_clear(&joined);
  return copy;
}

/* The host without its port; "[::1]:80" is one too. */
static const char *server_name(struct arena *arena, const char *host) {
  if (!host || !*host || *host == ':') host = "localhost";
  size_t size = *host == '[' ? strcspn(host, "]") : strcspn(host, ":");
  if (host[size] == ']') size++;
  return arena_format(arena, "SERVER_NAME=%.*s", (int)size, host);
}

static size_t request_size(const struct handler *h, const char *script) {
  size_t size =
      strlen(text(h->path)) + strlen(text(h->target)) + strlen(text(h->query)) + strlen(text(h->method)) + strlen(script);
  for (size_t i = 0; i < h->n_headers; i++) size += strlen(h->headers[i].name) + strlen(h->headers[i].value) + 16;
  return size;
}

static size_t count(const char *const *texts) {
  size_t n = 0;
  while (texts && texts[n]) n++;
  return n;
}

bool cgi_build_env(struct arena *arena, const struct handler *h, const char *script, const char *const *more,
                   const char ***env_out) {
  size_t n_more = count(more);
  if (h->n_headers > MAX_HEADERS || request_size(h, script) > MAX_ENV) return false;
  const char **env = arena_alloc_array(arena, N_FIXED + h->n_headers + n_more + 1, sizeof *env);
  const char *type = header_value(h, "Content-Type");
  size_t n = 0;
  env[n++] = "GATEWAY_INTERFACE=CGI/1.1";
  env[n++] = h->is_http10 ? "SERVER_PROTOCOL=HTTP/1.0" : "SERVER_PROTOCOL=HTTP/1.1";
  env[n++] = "SERVER_SOFTWARE=gasworks";
  env[n++] = server_name(arena, header_value(h, "Host"));
  env[n++] = arena_format(arena, "SERVER_PORT=%u", h->port);
  env[n++] = arena_format(arena, "REMOTE_ADDR=%s", text(h->remote_address));
  env[n++] = arena_format(arena, "REQUEST_METHOD=%s", text(h->method));
  env[n++] = arena_format(arena, "REQUEST_URI=%s", text(h->target));
  env[n++] = arena_format(arena, "SCRIPT_NAME=%s", script);
  env[n++] = arena_format(arena, "PATH_INFO=%s", text(h->path));
  env[n++] = arena_format(arena, "QUERY_STRING=%s", text(h->query));
  env[n++] = arena_format(arena, "CONTENT_LENGTH=%zu", h->body_size);
  if (type) env[n++] = arena_format(arena, "CONTENT_TYPE=%s", type);
  for (size_t i = 0; i < h->n_headers; i++) {
    const char *name = h->headers[i].name;
    if (!header_is_passed(name) || find_header(h, name) != i) continue;
    env[n++] = arena_format(arena, "%s=%s", env_name(arena, name), joined_values(arena, h, i));
  }
  for (size_t i = 0; i < n_more; i++) env[n++] = more[i];
  *env_out = env;
  return true;
}

/* --- the reply ---------------------------------------------------------------------------------------------------- */

/* One line of output. */
struct line {
  const char *at;
  size_t size; /* without its end */
};

/* Takes the next line, which must have an end: "\n" or "\r\n". */
static bool next_line(const char **at, const char *end, struct line *line) {
  const char *newline = memchr(*at, '\n', (size_t)(end - *at));
  if (!newline) return false;
  line->at = *at;
  line->size = (size_t)(newline - *at);
  if (line->size && newline[-1] == '\r') line->size--;
  *at = newline + 1;
  return true;
}

struct field {
  const char *name, *value;
  size_t name_size, value_size;
};

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* "Token: value", with blanks around the value left out. */
static bool parse_field(const struct line *line, struct field *f) {
  const char *colon = line->size ? memchr(line->at, ':', line->size) : NULL;
  if (!colon) return false;
  const char *value = colon + 1, *end = line->at + line->size;
  while (value < end && is_blank(*value)) value++;
  while (end > value && is_blank(end[-1])) end--;
  *f = (struct field){line->at, value, (size_t)(colon - line->at), (size_t)(end - value)};
  return header_name_is_valid(f->name, f->name_size) && header_value_is_valid(f->value, f->value_size);
}

/* "404" or "404 Not Found"; 0: neither. */
static uint32_t parse_status(const struct field *f) {
  uint32_t status = 0;
  if (f->value_size < 3 || (f->value_size > 3 && f->value[3] != ' ')) return 0;
  for (int i = 0; i < 3; i++) {
    if (f->value[i] < '0' || f->value[i] > '9') return 0;
    status = status * 10 + (uint32_t)(f->value[i] - '0');
  }
  return status >= 200 && status <= 599 ? status : 0;
}

/* What the head of a reply says besides its headers. */
struct head {
  uint32_t status; /* 0: not said */
  bool has_location;
};

static bool take_field(struct handler *h, const struct line *line, struct head *head) {
  struct field f;
  if (!parse_field(line, &f)) return false;
  if (header_name_is("Status", f.name, f.name_size)) {
    head->status = parse_status(&f);
    return head->status != 0;
  }
  head->has_location |= header_name_is("Location", f.name, f.name_size);
  if (!header_is_reserved(f.name, f.name_size)) header_append(&h->reply_headers, f.name, f.name_size, f.value, f.value_size);
  return true;
}

/* Fills status and reply_headers; returns where the body begins, or NULL when the output does not begin with a head. */
static const char *parse_head(struct handler *h, const char *at, const char *end) {
  const char *start = at;
  struct head head = {0};
  struct line line;
  for (;;) {
    if (!next_line(&at, end, &line)) return NULL;
    if (!line.size) break;
    if (at - start > HEADER_MAX_ALL || !take_field(h, &line, &head)) return NULL;
  }
  if (line.at == start) return NULL;
  h->status = head.status ? head.status : head.has_location ? 302 : 200;
  return at;
}

void cgi_parse_reply(struct handler *h, const void *out, size_t size) {
  const char *start = size ? out : "", *end = start + size;
  h->status = 200;
  h->reply_headers.size = h->reply.size = 0;
  const char *body = parse_head(h, start, end);
  if (!body) {
    h->reply_headers.size = 0;
    body = start;
  }
  buffer_append(&h->reply, body, (size_t)(end - body));
}
