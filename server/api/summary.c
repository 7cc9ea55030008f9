#include "server/api/summary.h"

#include "base/heap.h"
#include "frontend/module.h"
#include "server/api/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a version ---------------------------------------------------------------------------------------------------- */

static cJSON *quarantine_json(const struct function *f) {
  char text[320];
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "since", text_time(f->quarantine_ms, text));
  cJSON_AddStringToObject(json, "signal", function_quarantine_signal(f, text, sizeof text));
  function_describe_quarantine(f, text, sizeof text);
  cJSON_AddStringToObject(json, "detail", text);
  return json;
}

void summary_add_usage(cJSON *json, const struct function *f) {
  static const char *const bands[] = {[BAND_INSIDE] = "inside", [BAND_SLOW] = "slow", [BAND_FAST] = "fast"};
  double gas = 0, ns = 0;
  for (size_t i = 0; i < sizeof f->usage / sizeof *f->usage; i++) {
    gas += (double)atomic_load_explicit(&f->usage[i].gas, memory_order_relaxed);
    ns += (double)atomic_load_explicit(&f->usage[i].cpu_ns, memory_order_relaxed);
  }
  cJSON_AddNumberToObject(json, "gas", gas);
  cJSON_AddNumberToObject(json, "cpu_ms", (double)(uint64_t)(ns * 1e-5) / 10);
  cJSON_AddStringToObject(json, "band", bands[function_band(f)]);
}

cJSON *summary_of_version(const struct function *f) {
  char created[TEXT_TIME_SIZE], path[FUNCTION_PATH_SIZE];
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", function_short_name(f->name));
  cJSON_AddNumberToObject(json, "version", (double)f->version);
  cJSON_AddStringToObject(json, "digest", f->digest);
  cJSON_AddNumberToObject(json, "size", (double)f->size);
  cJSON_AddStringToObject(json, "interface", f->interface == INTERFACE_HANDLE ? "handle" : "cgi");
  cJSON_AddStringToObject(json, "created", text_time(f->created_ms, created));
  cJSON_AddStringToObject(json, "path", function_path(f->name, path));
  cJSON_AddStringToObject(json, "access", f->config.is_private ? "private" : "public");
  cJSON_AddStringToObject(json, "backtraces", f->config.shows_backtraces ? "on" : "off");
  cJSON_AddItemToObject(json, "settings", settings_json(f->settings));
  cJSON_AddStringToObject(json, "tier", function_tier_name(function_next_tier(f)));
  if (function_code_state(f) == CODE_WAITING) cJSON_AddTrueToObject(json, "is_compiling");
  if (function_code_state(f) == CODE_FAILED) cJSON_AddStringToObject(json, "compile_error", f->code_error.message);
  if (function_quarantine(f)) cJSON_AddItemToObject(json, "quarantine", quarantine_json(f));
  cJSON_AddNumberToObject(json, "compile_ms", (double)(uint64_t)(f->compile_ms * 10) / 10);
  return json;
}

/* --- a name ------------------------------------------------------------------------------------------------------- */

static void add_canary(cJSON *json, const struct entry_alias *alias) {
  if (!alias->share) return;
  cJSON_AddNumberToObject(json, "canary", (double)alias->canary);
  cJSON_AddNumberToObject(json, "percent", alias->share * 100.0 / ENTRY_WHOLE);
}

static void add_alias(cJSON *array, const struct entry_alias *alias) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "alias", alias->name);
  cJSON_AddNumberToObject(json, "version", (double)alias->version);
  add_canary(json, alias);
  cJSON_AddItemToArray(array, json);
}

cJSON *summary_of_aliases(const struct entry *e) {
  cJSON *array = cJSON_CreateArray();
  for (size_t i = 0; i < e->n_aliases; i++) add_alias(array, &e->aliases[i]);
  return array;
}

cJSON *summary_of_entry(const struct entry *e) {
  cJSON *json = summary_of_version(entry_live(e));
  add_canary(json, e->aliases);
  if (e->previous) cJSON_AddNumberToObject(json, "previous", (double)e->previous);
  cJSON_AddNumberToObject(json, "revision", (double)e->revision);
  cJSON_AddItemToObject(json, "aliases", summary_of_aliases(e));
  return json;
}

/* --- what a deployment changed ------------------------------------------------------------------------------------ */

/* Imported names, each once: a module may import one a hundred thousand times, but the host has few. */
struct imports {
  const struct import **items;
  size_t n;
};

static bool name_is_same(const struct name *a, const struct name *b) {
  return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static bool has_import(const struct imports *list, const struct import *import) {
  for (size_t i = 0; i < list->n; i++)
    if (name_is_same(&list->items[i]->field, &import->field) && name_is_same(&list->items[i]->module, &import->module))
      return true;
  return false;
}

static struct imports imports_of(const struct function *f) {
  const struct module *m = gw_module_decoded(f->module);
  struct imports list = {.items = heap_new(m->n_imports, sizeof *list.items)};
  for (uint32_t i = 0; i < m->n_imports; i++)
    if (!has_import(&list, &m->imports[i])) list.items[list.n++] = &m->imports[i];
  return list;
}

/* Those that `list` has and `other` has not. */
static void add_missing(cJSON *json, const char *key, const struct imports *list, const struct imports *other) {
  char text[256];
  cJSON *array = cJSON_AddArrayToObject(json, key);
  for (size_t i = 0; i < list->n; i++) {
    const struct import *import = list->items[i];
    if (has_import(other, import)) continue;
    snprintf(text, sizeof text, "%.*s.%.*s", (int)import->module.size, import->module.bytes, (int)import->field.size,
             import->field.bytes);
    cJSON_AddItemToArray(array, cJSON_CreateString(text));
  }
}

cJSON *summary_of_changes(const struct function *from, const struct function *to) {
  cJSON *json = cJSON_CreateObject();
  struct imports before = imports_of(from), after = imports_of(to);
  cJSON_AddNumberToObject(json, "from", (double)from->version);
  cJSON_AddNumberToObject(json, "size", (double)to->size - (double)from->size);
  add_missing(json, "imports_added", &after, &before);
  add_missing(json, "imports_removed", &before, &after);
  free(before.items);
  free(after.items);
  return json;
}
