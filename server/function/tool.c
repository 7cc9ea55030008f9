#include "server/function/tool.h"

#include "base/error.h"
#include "base/heap.h"
#include "server/function/function.h"

#include <stdlib.h>
#include <string.h>

static const cJSON *member(const cJSON *json, const char *key) { return cJSON_GetObjectItemCaseSensitive(json, key); }

static bool bad(struct gw_error *err, const char *why) { return error_set(err, GW_ERROR_REQUEST, "%s", why); }

/* Of an object: what calls pass is one, and so is what they give back. */
static bool is_schema(const cJSON *schema) {
  const char *type = cJSON_GetStringValue(member(schema, "type"));
  return !schema || (cJSON_IsObject(schema) && type && strcmp(type, "object") == 0);
}

static bool is_small(const cJSON *tool) {
  char *text = cJSON_PrintUnformatted(tool);
  bool ok = text && strlen(text) <= TOOL_MAX_BYTES;
  cJSON_free(text);
  return ok;
}

bool tool_check(const cJSON *tool, struct gw_error *err) {
  static const char *const known[] = {"title", "description", "inputSchema", "outputSchema", "annotations"};
  const cJSON *item;
  if (!cJSON_IsObject(tool)) return bad(err, "a tool is an object with description and inputSchema");
  cJSON_ArrayForEach(item, tool) {
    bool is_known = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) is_known |= strcmp(item->string, known[i]) == 0;
    if (!is_known) return error_set(err, GW_ERROR_REQUEST, "a tool has no %.64s", item->string);
  }
  if (!cJSON_IsString(member(tool, "description"))) return bad(err, "a tool's description is a text");
  if (member(tool, "title") && !cJSON_IsString(member(tool, "title"))) return bad(err, "a tool's title is a text");
  if (!is_schema(member(tool, "inputSchema"))) return bad(err, "a tool's inputSchema has the type object");
  if (!is_schema(member(tool, "outputSchema"))) return bad(err, "a tool's outputSchema has the type object");
  if (member(tool, "annotations") && !cJSON_IsObject(member(tool, "annotations")))
    return bad(err, "a tool's annotations are an object");
  return is_small(tool) || bad(err, "a tool is described in 16 KiB at most");
}

/* --- the section -------------------------------------------------------------------------------------------------- */

struct reader {
  const uint8_t *at, *end;
};

static uint32_t read_leb(struct reader *r) {
  uint32_t n = 0;
  for (unsigned shift = 0; r->at < r->end && shift < 32; shift += 7) {
    uint8_t byte = *r->at++;
    n |= (uint32_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) break;
  }
  return n;
}

static struct reader take(struct reader *r, uint32_t size) {
  size_t left = (size_t)(r->end - r->at);
  struct reader part = {r->at, r->at + (size < left ? size : left)};
  r->at = part.end;
  return part;
}

/* The first section of this name; nothing where there is none. */
static struct reader find_section(const uint8_t *bytes, size_t size) {
  struct reader r = {bytes + 8, bytes + size};
  while (r.at < r.end) {
    uint8_t id = *r.at++;
    struct reader section = take(&r, read_leb(&r));
    if (id != 0) continue;
    struct reader name = take(&section, read_leb(&section));
    size_t n = (size_t)(name.end - name.at);
    if (n == sizeof TOOL_SECTION - 1 && memcmp(name.at, TOOL_SECTION, n) == 0) return section;
  }
  return (struct reader){0};
}

bool tool_read(const void *bytes, size_t size, char **text, struct gw_error *err) {
  struct reader section = size > 8 ? find_section(bytes, size) : (struct reader){0};
  struct gw_error why = {0};
  *text = NULL;
  if (!section.at) return true;
  size_t n = (size_t)(section.end - section.at);
  cJSON *json = n <= 2 * TOOL_MAX_BYTES ? cJSON_ParseWithLength((const char *)section.at, n) : NULL;
  bool ok = json && tool_check(json, &why);
  if (ok) *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  return ok || error_set(err, GW_ERROR_INTERFACE, "the module's section " TOOL_SECTION " describes no tool: %.200s",
                         *why.message ? why.message : "it is no JSON of at most 32 KiB");
}

cJSON *tool_of(const struct function *f) {
  const cJSON *own = f->settings ? member(f->settings->record, "tool") : NULL;
  if (cJSON_IsFalse(own)) return NULL;
  if (own) return cJSON_Duplicate(own, true);
  return f->tool ? cJSON_Parse(f->tool) : NULL;
}
