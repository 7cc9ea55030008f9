/* Entries as the state store keeps them: one JSON object each, so that a change of several things is one write. */
#include "base/error.h"
#include "base/heap.h"
#include "server/function/entry.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- writing ------------------------------------------------------------------------------------------------------ */

static const char *interface_name(enum interface i) { return i == INTERFACE_HANDLE ? "handle" : "cgi"; }

static cJSON *version_json(const struct function *f) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "digest", f->digest);
  cJSON_AddNumberToObject(json, "version", (double)f->version);
  cJSON_AddNumberToObject(json, "size", (double)f->size);
  cJSON_AddNumberToObject(json, "created_ms", (double)f->created_ms);
  cJSON_AddNumberToObject(json, "compile_ms", f->compile_ms);
  cJSON_AddStringToObject(json, "interface", interface_name(f->interface));
  if (f->config.is_private) cJSON_AddTrueToObject(json, "private");
  if (f->config.shows_backtraces) cJSON_AddTrueToObject(json, "backtraces");
  if (f->tool) cJSON_AddStringToObject(json, "tool", f->tool);
  if (f->settings) cJSON_AddItemToObject(json, "settings", cJSON_Duplicate(f->settings->record, true));
  if (function_quarantine(f)) {
    cJSON_AddNumberToObject(json, "quarantine", function_quarantine(f));
    cJSON_AddNumberToObject(json, "quarantine_ms", (double)f->quarantine_ms);
  }
  return json;
}

static cJSON *alias_json(const struct entry_alias *alias) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", alias->name);
  cJSON_AddNumberToObject(json, "version", (double)alias->version);
  if (!alias->share) return json;
  cJSON_AddNumberToObject(json, "canary", (double)alias->canary);
  cJSON_AddNumberToObject(json, "share", alias->share);
  return json;
}

char *entry_print(const struct entry *e) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddNumberToObject(json, "revision", (double)e->revision);
  cJSON_AddNumberToObject(json, "last", (double)e->last);
  cJSON_AddNumberToObject(json, "previous", (double)e->previous);
  cJSON *aliases = cJSON_AddArrayToObject(json, "aliases"), *versions = cJSON_AddArrayToObject(json, "versions");
  for (size_t i = 0; i < e->n_aliases; i++) cJSON_AddItemToArray(aliases, alias_json(&e->aliases[i]));
  for (size_t i = 0; i < e->n_versions; i++) cJSON_AddItemToArray(versions, version_json(e->versions[i]));
  char *text = cJSON_PrintUnformatted(json);
  cJSON_Delete(json);
  return text;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static const cJSON *member(const cJSON *json, const char *key) { return cJSON_GetObjectItemCaseSensitive(json, key); }

static double number(const cJSON *json, const char *key) {
  double n = cJSON_GetNumberValue(member(json, key));
  return n >= 0 && n < 9e15 ? n : 0;
}

static uint64_t count(const cJSON *json, const char *key) { return (uint64_t)number(json, key); }

struct owner {
  const struct function_limits *limits;
  struct crash_file *crashes;
  const struct settings_key *key;
};

/* NULL: it is damaged. */
static struct function *read_version(const char *name, const cJSON *json, const struct owner *owner) {
  const char *digest = cJSON_GetStringValue(member(json, "digest")), *interface = cJSON_GetStringValue(member(json, "interface"));
  uint64_t version = count(json, "version");
  if (!digest || !digest_is_hex(digest) || !interface || !version) return NULL;
  struct function *f = function_create(name, owner->limits, owner->crashes);
  memcpy(f->digest, digest, sizeof f->digest);
  f->interface = strcmp(interface, "handle") == 0 ? INTERFACE_HANDLE : INTERFACE_CGI;
  const char *tool = cJSON_GetStringValue(member(json, "tool"));
  f->tool = tool ? strdup(tool) : NULL;
  f->config.is_private = cJSON_IsTrue(member(json, "private"));
  f->config.shows_backtraces = cJSON_IsTrue(member(json, "backtraces"));
  f->version = version;
  f->size = count(json, "size");
  f->created_ms = count(json, "created_ms");
  f->compile_ms = number(json, "compile_ms");
  atomic_store(&f->quarantine, (uint32_t)fmin(number(json, "quarantine"), 64));
  f->quarantine_ms = count(json, "quarantine_ms");
  if (!settings_parse(name, member(json, "settings"), owner->key, &f->settings, &f->error))
    atomic_store(&f->load_state, LOAD_FAILED);
  function_seal_settings(f, owner->key);
  return f;
}

/* They ascend, or the record is none of ours. */
static bool add_version(struct entry *e, const cJSON *json, const struct owner *owner) {
  struct function *f = read_version(e->name, json, owner);
  if (!f) return false;
  bool ok = f->version > e->last;
  entry_add(e, f);
  return ok;
}

static bool add_alias(struct entry *e, const cJSON *json) {
  struct entry_alias alias = {.version = count(json, "version"), .canary = count(json, "canary")};
  const char *name = cJSON_GetStringValue(member(json, "name"));
  if (!name || !entry_alias_is_valid(name, strlen(name))) return false;
  memcpy(alias.name, name, strlen(name) + 1);
  alias.share = (uint32_t)fmin(number(json, "share"), ENTRY_WHOLE);
  return entry_set_alias(e, &alias, NULL);
}

/* What there was before versions: the live one. */
static bool read_single(struct entry *e, const cJSON *json, const struct owner *owner) {
  if (!add_version(e, json, owner)) return false;
  e->aliases->version = e->last;
  return true;
}

static bool read_entry(struct entry *e, const cJSON *json, const struct owner *owner) {
  const cJSON *versions = member(json, "versions"), *item;
  bool ok = true;
  if (!versions) return read_single(e, json, owner);
  cJSON_ArrayForEach(item, versions) ok = ok && add_version(e, item, owner);
  cJSON_ArrayForEach(item, member(json, "aliases")) ok = ok && add_alias(e, item);
  if (!ok || !entry_live(e)) return false;
  e->previous = entry_version(e, count(json, "previous")) ? count(json, "previous") : 0;
  e->revision = count(json, "revision");
  e->last = (uint64_t)fmax(number(json, "last"), (double)e->last);
  return e->revision != 0;
}

/* Nobody knows who might call it, so nobody but who has a token may. */
static struct entry *damaged(const char *name, const cJSON *json, const struct owner *owner) {
  struct entry *e = entry_create(name);
  struct function *f = function_create(name, owner->limits, owner->crashes);
  error_set(&f->error, GW_ERROR_IO, "the stored record of function %s is damaged", name);
  f->config.is_private = true;
  f->version = (uint64_t)fmax(number(json, "last"), number(json, "version"));
  atomic_store(&f->load_state, LOAD_FAILED);
  entry_add(e, f);
  e->aliases->version = f->version;
  e->revision = count(json, "revision");
  return e;
}

struct entry *entry_parse(const char *name, const void *record, size_t size, const struct function_limits *limits,
                          struct crash_file *crashes, const struct settings_key *key) {
  struct owner owner = {limits, crashes, key};
  struct entry *e = entry_create(name);
  cJSON *json = cJSON_ParseWithLength(record, size);
  if (!json || !read_entry(e, json, &owner)) {
    entry_destroy(e);
    e = damaged(name, json, &owner);
  }
  cJSON_Delete(json);
  return e;
}
