#include "server/http/head.h"

#include "runtime/host/header.h"

#include <string.h>
#include <strings.h>

enum { MAX_METHOD = 32, MAX_PORT = 65535 };

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_hex(char c) { return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f'); }

static bool is_alnum(char c) { return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z'); }

/* --- the request line -------------------------------------------------------------------------------------------- */

static struct refusal refused(uint32_t status, const char *detail) { return (struct refusal){status, detail}; }

static const struct refusal fine = {0};

static struct refusal check_version(const char *version, size_t size) {
  bool is_http =
      size == 8 && memcmp(version, "HTTP/", 5) == 0 && is_digit(version[5]) && version[6] == '.' && is_digit(version[7]);
  if (!is_http) return refused(400, "the request line does not end in a version of HTTP");
  if (version[5] != '1') return refused(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  return fine;
}

static struct refusal check_target(const char *target, size_t size) {
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)target[i];
    if (c <= 32 || c >= 127 || c == '#') return refused(400, "the request target holds a character that no URI has there");
  }
  return size ? fine : refused(400, "the request has no target");
}

struct refusal head_check_line(const char *line, size_t size) {
  if (size < 2 || line[size - 2] != '\r') return refused(400, "a line of the request ends without CR");
  const char *end = line + size - 2, *space = memchr(line, ' ', size);
  size_t method_size = space ? (size_t)(space - line) : 0;
  if (!header_name_is_valid(line, method_size < MAX_METHOD ? method_size : MAX_METHOD))
    return refused(400, "the request does not begin with a method");
  if (method_size > MAX_METHOD) return refused(501, "the request's method is not known here");
  const char *target = space + 1, *version = memchr(target, ' ', (size_t)(end - target));
  if (!version) return refused(400, "the request line has no version");
  struct refusal bad = check_target(target, (size_t)(version - target));
  return bad.status ? bad : check_version(version + 1, (size_t)(end - version - 1));
}

bool head_may_begin(const char *line, size_t size) {
  const char *space = memchr(line, ' ', size);
  size_t method_size = space ? (size_t)(space - line) : size;
  return header_name_is_valid(line, method_size < MAX_METHOD ? method_size : MAX_METHOD);
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

struct refusal head_follow(struct head_lines *lines, const char *data, size_t size, size_t *used) {
  const char *at = data, *end = data + size;
  while (at < end) {
    if (lines->is_line_start && (*at == ' ' || *at == '\t')) return refused(400, "a line of the request is folded");
    if (lines->is_line_start && *at == '\r') {
      lines->is_under_way = false; /* the parser wants LF behind it */
      at += end - at > 1 ? 2 : 1;
      break;
    }
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    char before = newline > data ? newline[-1] : lines->last;
    if (newline && before != '\r') return refused(400, "a line of the request ends without CR");
    lines->is_line_start = newline != NULL;
    at = newline ? newline + 1 : end;
    lines->last = at[-1];
  }
  *used = (size_t)(at - data);
  return fine;
}

/* --- the target -------------------------------------------------------------------------------------------------- */

/* RFC 3986 section 3.2.2: a name or an IPv4 address. */
static bool is_reg_name(const char *name, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (is_alnum(name[i]) || (name[i] && strchr("-._~!$&'()*+,;=", name[i]))) continue;
    if (name[i] != '%' || size - i < 3 || !is_hex(name[i + 1]) || !is_hex(name[i + 2])) return false;
    i += 2;
  }
  return true;
}

/* An IPv6 address between brackets, or a later version's; not whether it is one that exists. */
static bool is_literal(const char *literal, size_t size) {
  if (size < 4 || literal[0] != '[' || literal[size - 1] != ']') return false;
  for (size_t i = 1; i < size - 1; i++)
    if (!is_alnum(literal[i]) && !strchr(":.-_~", literal[i])) return false;
  return true;
}

static bool is_port(const char *port, size_t size) {
  uint32_t number = 0;
  for (size_t i = 0; i < size; i++) {
    if (!is_digit(port[i])) return false;
    number = number * 10 + (uint32_t)(port[i] - '0');
    if (number > MAX_PORT) return false;
  }
  return true;
}

size_t head_host_without_port(const char *host, size_t size) {
  const char *bracket = size && *host == '[' ? memchr(host, ']', size) : NULL;
  if (bracket) return (size_t)(bracket + 1 - host);
  const char *colon = memchr(host, ':', size);
  return colon ? (size_t)(colon - host) : size;
}

bool head_host_is_valid(const char *host, size_t size) {
  size_t name = head_host_without_port(host, size);
  if (name && *host == '[' ? !is_literal(host, name) : !is_reg_name(host, name)) return false;
  if (memchr(host, ',', name)) return false; /* RFC 3986 allows it; it is more likely two hosts */
  return name == size || (host[name] == ':' && is_port(host + name + 1, size - name - 1));
}

static bool is_scheme(const char *text, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (!is_alnum(text[i]) && !strchr("+-.", text[i])) return false;
  return size && !is_digit(*text);
}

static struct refusal split_absolute(const char *text, bool is_options, struct target *t) {
  const char *colon = strstr(text, "://");
  if (!colon || !is_scheme(text, (size_t)(colon - text))) return refused(400, "the request target has none of the forms of HTTP");
  if (colon - text != 4 || strncasecmp(text, "http", 4) != 0)
    return refused(421, "only targets of the scheme http are served here");
  t->form = TARGET_ABSOLUTE;
  t->host = colon + 3;
  t->host_size = strcspn(t->host, "/?");
  t->path = t->host + t->host_size;
  if (memchr(t->host, '@', t->host_size)) return refused(400, "the request target names a user");
  if (!head_host_without_port(t->host, t->host_size) || !head_host_is_valid(t->host, t->host_size))
    return refused(400, "the request target has no valid host");
  if (is_options && !*t->path) t->form = TARGET_ASTERISK;
  return fine;
}

struct refusal head_split_target(const char *text, bool is_options, struct target *target) {
  *target = (struct target){.form = TARGET_ORIGIN, .path = text};
  if (*text == '/') return fine;
  if (strcmp(text, "*") != 0) return split_absolute(text, is_options, target);
  target->form = TARGET_ASTERISK;
  return is_options ? fine : refused(400, "the target * is for OPTIONS");
}

/* --- transfer codings -------------------------------------------------------------------------------------------- */

static void add_coding(struct codings *state, const char *name, size_t size) {
  bool is_chunked = header_name_is("chunked", name, size);
  if (state->has_chunked) state->is_bad = true; /* twice, or not the last */
  state->has_chunked |= is_chunked;
  state->has_other |= !is_chunked;
}

void head_add_codings(struct codings *state, const char *value) {
  for (;;) {
    size_t size = strcspn(value, ",");
    const char *next = value + size;
    while (size && (*value == ' ' || *value == '\t')) value++, size--;
    while (size && (value[size - 1] == ' ' || value[size - 1] == '\t')) size--;
    if (size) add_coding(state, value, size);
    if (!*next) return;
    value = next + 1;
  }
}

enum coding head_coding(const struct codings *state) {
  if (state->is_bad || !state->has_chunked) return CODING_BAD;
  return state->has_other ? CODING_UNKNOWN : CODING_CHUNKED;
}
