#include "server/function/entry.h"

#include "base/error.h"
#include "base/heap.h"

#include <stdlib.h>
#include <string.h>

struct entry *entry_create(const char *name) {
  struct entry *e = heap_new(1, sizeof *e);
  memcpy(e->name, name, strlen(name) + 1);
  e->aliases = heap_new(1, sizeof *e->aliases);
  e->n_aliases = 1;
  memcpy(e->aliases->name, ENTRY_LIVE, sizeof ENTRY_LIVE);
  return e;
}

struct entry *entry_copy(const struct entry *entry) {
  struct entry *e = heap_new(1, sizeof *e);
  *e = *entry;
  e->aliases = heap_new(e->n_aliases, sizeof *e->aliases);
  memcpy(e->aliases, entry->aliases, e->n_aliases * sizeof *e->aliases);
  e->versions = heap_new(e->n_versions, sizeof *e->versions);
  for (size_t i = 0; i < e->n_versions; i++) e->versions[i] = function_retain(entry->versions[i]);
  return e;
}

void entry_destroy(struct entry *e) {
  if (!e) return;
  for (size_t i = 0; i < e->n_versions; i++) function_release(e->versions[i]);
  free(e->versions);
  free(e->aliases);
  free(e);
}

/* --- finding ------------------------------------------------------------------------------------------------------ */

static struct function **find_version(const struct entry *e, uint64_t version) {
  for (size_t i = 0; i < e->n_versions; i++)
    if (e->versions[i]->version == version) return &e->versions[i];
  return NULL;
}

struct function *entry_version(const struct entry *e, uint64_t version) {
  struct function **at = find_version(e, version);
  return at ? *at : NULL;
}

struct entry_alias *entry_alias(const struct entry *e, const char *name) {
  for (size_t i = 0; i < e->n_aliases; i++)
    if (strcmp(e->aliases[i].name, name) == 0) return &e->aliases[i];
  return NULL;
}

struct function *entry_live(const struct entry *e) {
  return entry_version(e, e->aliases->version);
}

bool entry_is_led_to(const struct entry *e, uint64_t version) {
  for (size_t i = 0; i < e->n_aliases; i++)
    if (e->aliases[i].version == version || (e->aliases[i].share && e->aliases[i].canary == version)) return true;
  return false;
}

/* --- changing ----------------------------------------------------------------------------------------------------- */

void entry_add(struct entry *e, struct function *f) {
  e->versions = heap_resize(e->versions, e->n_versions + 1, sizeof *e->versions);
  if (e->n_versions) function_share_fate(f, e->versions[0]);
  e->versions[e->n_versions++] = f;
  e->last = f->version;
}

void entry_remove(struct entry *e, uint64_t version) {
  struct function **at = find_version(e, version);
  function_release(*at);
  e->n_versions--;
  memmove(at, at + 1, (size_t)(e->versions + e->n_versions - at) * sizeof *at);
  if (e->previous == version) e->previous = 0;
}

/* Their modules are read again when they are called. */
static void unload_unneeded(struct entry *e) {
  for (size_t i = 0; i < e->n_versions; i++) {
    struct function *f = e->versions[i];
    if (entry_is_led_to(e, f->version) || function_load_state(f) != LOAD_READY) continue;
    e->versions[i] = function_copy(f);
    function_release(f);
  }
}

/* `with_previous`: the one before the live one, too. */
static void trim(struct entry *e, size_t keep, bool with_previous) {
  for (size_t i = 0; i < e->n_versions && e->n_versions > keep;) {
    uint64_t version = e->versions[i]->version;
    if (entry_is_led_to(e, version) || (e->previous == version && !with_previous))
      i++;
    else
      entry_remove(e, version);
  }
}

void entry_trim(struct entry *e, size_t keep) {
  trim(e, keep, false);
  trim(e, keep, true);
  unload_unneeded(e);
}

static bool check_version(const struct entry *e, uint64_t version, struct gw_error *err) {
  return entry_version(e, version) ||
         error_set(err, GW_ERROR_NOT_FOUND, "function %s has no version %llu", e->name, (unsigned long long)version);
}

/* Where it belongs among those that are sorted: behind the live one. */
static struct entry_alias *insert_alias(struct entry *e, const char *name) {
  size_t at = 1;
  while (at < e->n_aliases && strcmp(e->aliases[at].name, name) < 0) at++;
  e->aliases = heap_resize(e->aliases, e->n_aliases + 1, sizeof *e->aliases);
  memmove(e->aliases + at + 1, e->aliases + at, (e->n_aliases - at) * sizeof *e->aliases);
  e->n_aliases++;
  return &e->aliases[at];
}

bool entry_set_alias(struct entry *e, const struct entry_alias *alias, struct gw_error *err) {
  struct entry_alias *to = entry_alias(e, alias->name);
  if (!check_version(e, alias->version, err) || (alias->share && !check_version(e, alias->canary, err))) return false;
  if (!to && e->n_aliases == ENTRY_MAX_ALIASES)
    return error_set(err, GW_ERROR_LIMIT, "function %s has %d aliases, as many as it may", e->name, ENTRY_MAX_ALIASES);
  if (!to) to = insert_alias(e, alias->name);
  if (to == e->aliases && to->version != alias->version && to->version) e->previous = to->version;
  *to = *alias;
  return true;
}

void entry_remove_alias(struct entry *e, struct entry_alias *alias) {
  e->n_aliases--;
  memmove(alias, alias + 1, (size_t)(e->aliases + e->n_aliases - alias) * sizeof *alias);
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

bool entry_alias_is_valid(const char *name, size_t size) {
  return function_name_is_valid(name, size) && name[0] >= 'a' && name[0] <= 'z';
}

uint64_t entry_version_of(const char *text) {
  enum { MAX_DIGITS = 15 };
  size_t size = strlen(text);
  bool is_version = *text != '0' && size && size <= MAX_DIGITS && strspn(text, "0123456789") == size;
  return is_version ? strtoull(text, NULL, 10) : 0;
}
