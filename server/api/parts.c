#define _GNU_SOURCE /* memmem */
#include "server/api/parts.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool bad(struct gw_error *err, const char *why) { return error_set(err, GW_ERROR_REQUEST, "%s", why); }

/* RFC 2046 section 5.1.1, but for blanks. */
static bool is_boundary(const char *text, size_t size) {
  if (!size || size > PARTS_MAX_BOUNDARY) return false;
  for (size_t i = 0; i < size; i++)
    if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == ';') return false;
  return true;
}

bool parts_boundary(const char *type, char out[PARTS_MAX_BOUNDARY + 1]) {
  static const char KIND[] = "multipart/form-data", KEY[] = "boundary=";
  if (!type || strncasecmp(type, KIND, sizeof KIND - 1) != 0) return false;
  const char *at = strcasestr(type + sizeof KIND - 1, KEY);
  if (!at) return false;
  at += sizeof KEY - 1;
  bool is_quoted = *at == '"';
  at += is_quoted;
  size_t size = strcspn(at, is_quoted ? "\"" : "; \t");
  if (!is_boundary(at, size) || (is_quoted && at[size] != '"')) return false;
  memcpy(out, at, size);
  out[size] = 0;
  return true;
}

/* What is left of the body. */
struct rest {
  const uint8_t *at;
  size_t size;
};

static void skip(struct rest *rest, size_t size) {
  rest->at += size;
  rest->size -= size;
}

static bool takes(struct rest *rest, const char *text) {
  size_t size = strlen(text);
  if (rest->size < size || memcmp(rest->at, text, size) != 0) return false;
  skip(rest, size);
  return true;
}

/* `name="WORD"` of a Content-Disposition. */
static bool take_name(const char *line, char out[PARTS_MAX_WORD + 1]) {
  const char *at = strcasestr(line, " name=\"");
  if (!at) return false;
  at += 7;
  size_t size = strcspn(at, "\"");
  if (!size || size > PARTS_MAX_WORD || !at[size]) return false;
  memcpy(out, at, size);
  out[size] = 0;
  return true;
}

/* One header line of a part, without its end. Others than these two mean nothing here. */
static bool take_line(const char *line, struct part *part) {
  static const char DISPOSITION[] = "Content-Disposition:", TYPE[] = "Content-Type:";
  if (strncasecmp(line, DISPOSITION, sizeof DISPOSITION - 1) == 0) return take_name(line, part->name);
  if (strncasecmp(line, TYPE, sizeof TYPE - 1) != 0) return true;
  const char *value = line + sizeof TYPE - 1;
  value += strspn(value, " \t");
  if (strlen(value) > PARTS_MAX_WORD) return false;
  for (const char *c = value; *c; c++)
    if (*c < ' ' || *c > '~') return false;
  memcpy(part->type, value, strlen(value) + 1);
  return true;
}

static bool take_head(struct rest *rest, struct part *part) {
  char line[1024];
  *part = (struct part){0};
  while (!takes(rest, "\r\n")) {
    const uint8_t *end = memmem(rest->at, rest->size < sizeof line ? rest->size : sizeof line, "\r\n", 2);
    if (!end) return false;
    size_t size = (size_t)(end - rest->at);
    memcpy(line, rest->at, size);
    line[size] = 0;
    if (strlen(line) != size || !take_line(line, part)) return false;
    skip(rest, size + 2);
  }
  return *part->name;
}

bool parts_read(const char *boundary, const void *body, size_t size, struct part *parts, size_t most, size_t *n,
                struct gw_error *err) {
  char mark[PARTS_MAX_BOUNDARY + 8];
  int mark_size = snprintf(mark, sizeof mark, "\r\n--%s", boundary);
  struct rest rest = {body, size};
  *n = 0;
  if (!takes(&rest, mark + 2)) return bad(err, "the multipart body does not begin with its boundary");
  while (!takes(&rest, "--")) {
    if (*n == most) return bad(err, "the multipart body has more parts than are known here");
    struct part *part = &parts[*n];
    if (!takes(&rest, "\r\n") || !take_head(&rest, part)) return bad(err, "a part of the multipart body has no head with a name");
    const uint8_t *end = memmem(rest.at, rest.size, mark, (size_t)mark_size);
    if (!end) return bad(err, "the multipart body ends within a part");
    part->bytes = rest.at;
    part->size = (size_t)(end - rest.at);
    skip(&rest, part->size + (size_t)mark_size);
    ++*n;
  }
  return true;
}
