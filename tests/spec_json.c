#include "tests/spec.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_JSON = 64 << 20 };

static const char nul_stand_in = (char)0xff;

/* In place; an escaped backslash before "u0000" is no escape of NUL. Returns the new size. */
static size_t replace_nul_escapes(char *text, size_t size) {
  size_t to = 0;
  for (size_t at = 0; at < size;) {
    if (text[at] != '\\') {
      text[to++] = text[at++];
    } else if (size - at >= 6 && memcmp(text + at, "\\u0000", 6) == 0) {
      text[to++] = nul_stand_in;
      at += 6;
    } else {
      text[to++] = text[at++];
      if (at < size) text[to++] = text[at++];
    }
  }
  return to;
}

cJSON *spec_json_read(const char *path) {
  struct buffer text = {0};
  struct gw_error err = {0};
  cJSON *json = NULL;
  if (!buffer_read_file(&text, path, MAX_JSON, &err)) {
    fprintf(stderr, "spec: %s\n", err.message);
    return NULL;
  }
  text.size = replace_nul_escapes((char *)text.bytes, text.size);
  json = cJSON_ParseWithLength((const char *)text.bytes, text.size);
  if (!json) fprintf(stderr, "spec: %s is not JSON\n", path);
  buffer_clear(&text);
  return json;
}

struct spec_name spec_name_get(const cJSON *object, const char *key, struct arena *arena) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  if (!cJSON_IsString(item)) return (struct spec_name){0};
  size_t size = strlen(item->valuestring);
  char *bytes = arena_alloc(arena, size + 1);
  for (size_t i = 0; i < size; i++) {
    bytes[i] = item->valuestring[i] == nul_stand_in ? '\0' : item->valuestring[i];
  }
  return (struct spec_name){bytes, size};
}

bool spec_name_equals(struct spec_name a, struct spec_name b) {
  return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}
